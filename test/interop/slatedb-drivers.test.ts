/** The live SlateDBs that the other interop tests lean on: each writes, crashes, reopens and is fenced as it should. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWithS3, describeWithSlateDb017, describeWithSlateDb018 } from '../support/environment.ts';
import type { LiveSlateDb, SlateDbBatchOp, SlateDbPlace } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));
const key = (i: number) => `key${String(i).padStart(6, '0')}`;

function driverSuite(make: () => LiveSlateDb, placeOf: () => Promise<SlateDbPlace>): void {
  const open: LiveSlateDb[] = [];
  let place: SlateDbPlace;

  const started = () => {
    const db = make();
    open.push(db);
    return db;
  };

  beforeEach(async () => {
    place = await placeOf();
  });
  afterEach(async () => {
    for (const db of open.splice(0)) await db.crash();
  });

  it('keeps its rows over a close', async () => {
    const db = started();
    await db.open(place);
    const { seq } = await db.put('pear', 'green');
    expect((await db.put('apple', 'red', { ttlMs: 86_400_000 })).seq).toBe(seq + 1n);
    await db.put('fig', 'blue', { awaitDurable: false });
    await db.delete('fig');
    await db.flush('memtable');
    await db.write([{ put: 'a', value: '1' }, { delete: 'pear' }]);
    await db.close();

    await db.open(place);
    const rows = await db.scan();
    expect(rows.map((r) => [text(r.key), text(r.value)])).toEqual([
      ['a', '1'],
      ['apple', 'red'],
    ]);
    expect(rows[1]!.expireTs).toBeTypeOf('bigint');
    expect(rows[0]!.expireTs).toBeUndefined();
    expect((await db.getMany(['a', 'fig'])).map(text)).toEqual(['1', undefined]);
    expect((await db.scan({ gte: 'ab', lt: 'b' })).length).toBe(1);
    await db.close();
  });

  it('keeps durable rows over a crash, and shows them in the WAL and to a reader', async () => {
    const db = started();
    await db.open(place);
    await db.put('durable', 'yes');
    await db.crash();
    expect((await db.walRows(place)).flatMap((o) => o.rows).map((r) => [r.kind, text(r.key), text(r.value)])).toEqual([
      ['value', 'durable', 'yes'],
    ]);
    expect((await db.readerScan(place)).map((r) => text(r.key))).toEqual(['durable']);
    await db.open(place);
    expect(text(await db.get('durable'))).toBe('yes');
    await db.close();
  });

  it('learns that it was fenced', async () => {
    const first = started();
    const second = started();
    await first.open(place);
    await first.put('k', '1');
    await second.open(place);
    await second.put('k', '2');
    await expect(first.put('k', '3')).rejects.toMatchObject({ fenced: true, kind: 'Closed' });
    expect(text(await second.get('k'))).toBe('2');
    await second.close();
  });

  it('passes ten thousand rows, with merges', async () => {
    const db = started();
    await db.open(place, { mergeOperator: 'concat', settings: { min_filter_keys: 0 } });
    const ops: SlateDbBatchOp[] = Array.from({ length: 10_000 }, (_, i) => ({ put: key(i), value: `value ${i}` }));
    await db.write(ops);
    await db.merge(key(7), '!');
    const rows = await db.scan();
    expect(rows.length).toBe(10_000);
    expect(text(rows[7]!.value)).toBe('value 7!');
    await db.close();
  });

  it('reports an error of the child instead of hanging', async () => {
    const db = started();
    await expect(db.open(place, { settings: { flush_interval: 'no duration' } })).rejects.toMatchObject({
      kind: 'Invalid',
    });
    await expect(db.scan()).rejects.toMatchObject({ kind: 'Driver' });
  });
}

function inDirectory(): () => Promise<SlateDbPlace> {
  const made: string[] = [];
  afterEach(() => {
    for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
  });
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'shaledb-interop-'));
    made.push(directory);
    return { directory, path: 'db' };
  };
}

describe('SlateDB 0.12.1 in a directory', () => {
  driverSuite(slateDb012, inDirectory());
});

describeWithS3('SlateDB 0.12.1 on S3', (s3) => {
  driverSuite(slateDb012, async () => ({ s3, bucket: await s3.freshBucket(), path: 'db' }));
});

/** What releases with a compactor that can be given what to merge do besides. */
function mergingSuite(make: () => LiveSlateDb, place: () => Promise<SlateDbPlace>): void {
  it('merges everything into one sorted run', async () => {
    const db = make();
    const at = await place();
    await db.open(at);
    for (let i = 0; i < 3; i++) {
      await db.write([
        { put: `k${i}`, value: 'v' },
        { put: 'same', value: String(i) },
      ]);
      await db.flush('memtable');
    }
    await db.close();
    expect((await db.manifests(at)).at(-1)!.l0.length).toBe(3);
    const manifest = await db.compactAll(at);
    expect(manifest.l0).toEqual([]);
    expect(manifest.sortedRuns.map((run) => run.tables)).toEqual([1]);
    expect((await db.readerScan(at)).map((r) => text(r.value))).toEqual(['v', 'v', 'v', '2']);
  });
}

describeWithSlateDb017('SlateDB 0.17.0 in a directory', () => {
  const place = inDirectory();
  driverSuite(slateDb017, place);
  mergingSuite(slateDb017, place);
});

describeWithSlateDb018('SlateDB 0.18.0 in a directory', () => {
  const place = inDirectory();
  driverSuite(slateDb018, place);
  mergingSuite(slateDb018, place);
});

describeWithS3('with S3', (s3) => {
  const inBucket = async () => ({ s3, bucket: await s3.freshBucket(), path: 'db' });
  describeWithSlateDb017('SlateDB 0.17.0 on S3', () => driverSuite(slateDb017, inBucket));
  describeWithSlateDb018('SlateDB 0.18.0 on S3', () => driverSuite(slateDb018, inBucket));
});
