/** Writing manifests where no writer is open: as which database, and without an epoch. */
import { describe, expect, it } from 'vitest';
import { IDENTITY_PATH } from '../../../src/format/object-names.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { EpochGuard } from '../../../src/lsm/manifest/epoch-guard.ts';
import { listManifestIds, readManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { readStoredIdentity } from '../../../src/recovery/place.ts';
import { logWithoutWriter } from '../../../src/recovery/unowned-log.ts';
import { World, worldOfFixture } from '../../support/database.ts';

async function begin(world: World) {
  const line = world.line();
  const { clock } = world;
  const random = world.random();
  const place = { location: { store: line, path: '' }, isRootAssumed: false };
  const stores = databaseStores(place, { clock, random, timeoutMs: 1000 });
  const current = (await readManifest(world.memory, (await listManifestIds(world.memory)).at(-1)!))!;
  const stamp = new EpochGuard(clock, stores.latestStoreTimesMs).stamp();
  const open = () => world.run(logWithoutWriter({ stores, clock, random, owner: 'me:1' }, 'compactor', current, stamp));
  return { line, open, current };
}

describe('a log of manifests without a writer', () => {
  it('names the database as the newest seal does, and asks nothing', async () => {
    const world = new World();
    await world.run((await world.open()).close());
    const { line, open, current } = await begin(world);
    const log = await open();
    expect(log.author.databaseId).toEqual(current.seal!.identity.databaseId);
    expect(line.requests).toEqual([]);
  });

  it('makes an identity where SlateDB alone wrote, and uses what is there then', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/collected');
    const { open } = await begin(world);
    const first = await open();
    const { identity } = await world.run(readStoredIdentity(world.memory, 'check'));
    expect(identity!.value.databaseId).toEqual(first.author.databaseId);
    const bytes = await world.bytes(IDENTITY_PATH);
    expect((await open()).author.databaseId).toEqual(first.author.databaseId);
    expect(await world.bytes(IDENTITY_PATH)).toEqual(bytes);
  });

  it('writes the next manifest, and leaves the epochs as they are', async () => {
    const world = new World();
    await world.run((await world.open()).close());
    const { open, current } = await begin(world);
    const log = await open();
    await world.run(log.commit((m) => ({ ...m, checkpoints: [] })));
    expect(log.current.id).toBe(current.id + 1);
    const epochs = ({ manifest }: typeof current) => [manifest.writerEpoch, manifest.compactorEpoch];
    expect(epochs(log.current)).toEqual(epochs(current));
    expect(log.current.seal!.identity.role).toBe('compactor');
  });
});
