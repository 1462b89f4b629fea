/** Collection beside an open database on a real server: its dates, its If-Match, its deletes, and two collectors at once. */
import { expect, it } from 'vitest';
import { gcOnce } from '../../src/admin.ts';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { MANIFEST_BOUNDARY_PATH } from '../../src/format/object-names.ts';
import { type CollectorRound, open } from '../../src/index.ts';
import { S3Store } from '../../src/s3.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { describeWithS3 } from '../support/environment.ts';
import { endJob, pathsOf } from '../support/garbage.ts';

describeWithS3('a database whose garbage is collected while it is open', (s3) => {
  it('keeps its rows and the newest three manifests, also with a second collector at the same time', async () => {
    const store = new S3Store({
      bucket: await s3.freshBucket(),
      endpoint: s3.endpoint,
      region: s3.region,
      forcePathStyle: true,
      credentials: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    });
    const root = prefixedStore(store, 'db');
    const location = { store, path: 'db' };
    const unsafe = { minAgeMs: 0, allowUnsafeMinAge: true };
    const rounds: CollectorRound[] = [];
    let onRound: () => void = () => undefined;
    const db = await open(location, {
      compactor: false,
      gc: { ...unsafe, intervalMs: 10_000 },
      logger: SILENT_LOGGER,
      onEvent: (event) => {
        if (event.type !== 'collector' || event.event.type !== 'round') return;
        rounds.push(event.event.round);
        onRound();
      },
    });
    const nextRound = () =>
      new Promise<void>((resolve) => {
        onRound = resolve;
      });
    const write = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        await db.put(`key-${i}`, `value ${i}`);
        await db.flush({ type: 'memtable' });
      }
    };
    const first = nextRound();
    await write(0, 8);
    await endJob(root, SYSTEM_CLOCK);
    await first;
    const other = gcOnce(location, { ...unsafe, apply: true, logger: SILENT_LOGGER });
    await write(8, 12);
    await other;
    // The first round that begins after the last commit.
    while ((await pathsOf(root, 'manifest/')).length > 3) await nextRound();
    expect(rounds.flatMap(({ stopped, findings, notes }) => [stopped ?? [], findings, notes].flat())).toEqual([]);
    expect((await other).findings).toEqual([]);
    expect(await root.head(MANIFEST_BOUNDARY_PATH)).toBeDefined();
    expect(db.upkeep().collector).toMatchObject({ failures: 0 });
    expect(await pathsOf(root, 'compacted/')).toHaveLength(12);
    await db.close();
    const again = await open(location, { logger: SILENT_LOGGER });
    const keys = (await again.scan().nextBatch(100)).map(({ key }) => new TextDecoder().decode(key));
    expect(keys).toHaveLength(12);
    await again.close();
  });
});
