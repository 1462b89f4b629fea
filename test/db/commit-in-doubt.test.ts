/**
 * Manifest commits that land in an id which a collector has already deleted, although, from where the writer stands, nothing
 * was wrong: other roles write manifests under the same epoch, and answers get lost.
 */
import { describe, expect, it } from 'vitest';
import { deferred } from '../../src/common/async.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath } from '../../src/format/object-names.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { rejection, rowsOf, World } from '../support/database.ts';
import { forwarding } from '../support/forwarding-store.ts';

const LONG_MS = 3600 * 1000;

/** A store with some of its methods replaced. */
function withMethods(store: ObjectStore, methods: Partial<ObjectStore>): ObjectStore {
  return { ...forwarding(store), conformance: 'known', ...methods };
}

/** Other roles (readers with checkpoints, a compactor) write two manifests in which nothing changes that matters here. */
async function othersWrite(world: World): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const newest = (await world.paths('manifest/')).pop()!;
    const { manifest } = decodeManifest(await world.bytes(newest));
    await world.replace(manifestPath(parseManifestPath(newest)! + 1), encodeManifest(manifest));
  }
}

/** A collector leaves the newest manifest. */
async function collectManifests(world: World): Promise<void> {
  await world.remove(...(await world.paths('manifest/')).slice(0, -1));
}

describe('a manifest that lands in a collected id', () => {
  it('after its writer slept is written again on top of those of other roles', async () => {
    const world = new World();
    const held = deferred<void>();
    const arrived = deferred<void>();
    const store = world.store;
    world.store = withMethods(store, {
      put: async (path, bytes, o) => {
        if (path === manifestPath(3)) {
          arrived.resolve();
          await held.promise;
        }
        return store.put(path, bytes, o);
      },
    });
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1'));
    const flush = db.flush({ type: 'memtable' });
    await world.clock.settle();
    await arrived.promise;
    await othersWrite(world);
    world.clock.jumpWallMs(LONG_MS);
    await collectManifests(world);
    held.resolve();
    await world.run(flush);
    expect(await rowsOf(world, db)).toEqual(['a=1']);
    await world.run(db.put('b', '2'));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    world.store = store;
    expect(await rowsOf(world, await world.open())).toEqual(['a=1', 'b=2']);
  });

  it('although PUTs of the log confirm the epoch all the time is written again', async () => {
    const world = new World();
    const { db, line } = await world.connect({ manifestPollIntervalMs: 60_000, timeoutMs: 5000 });
    await world.run(db.put('a', '1'));
    await othersWrite(world);
    world.faults.add({ action: 'fail-before', op: 'list', path: 'manifest/' });
    for (let i = 0; i < 20; i++) {
      await world.clock.advance(30_000);
      await world.run(db.put('b', String(i)));
    }
    await collectManifests(world);
    await world.clock.advance(10_000);
    world.faults.clear();
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('c', '3'));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    expect(await rowsOf(world, await world.open())).toEqual(['a=1', 'b=19', 'c=3']);
  });

  it('when an unanswered commit is settled is confirmed to nobody who was overtaken in the meantime', async () => {
    const world = new World();
    const options = { walEnabled: false, flushIntervalMs: 10, timeoutMs: 5000 };
    const { store } = world;
    let isCutOff = false;
    world.store = withMethods(store, {
      put: async (path, bytes, o) =>
        isCutOff && path.startsWith('manifest/')
          ? { outcome: 'unknown', cause: new Error('no answer') }
          : store.put(path, bytes, o),
      async *list(prefix, o) {
        if (isCutOff) throw new Error('no answer');
        yield* store.list(prefix, o);
      },
    });
    const a = await world.open({ ...options, owner: 'host-a:1' });
    world.store = store;
    await world.run(a.put('a', '1'));
    isCutOff = true;
    expect(await rejection(world.run(a.put('a', '2')))).toMatchObject({ outcome: 'unknown' });
    const b = await world.open({ ...options, owner: 'host-b:2' });
    await world.run(b.put('b', '1'));
    await world.clock.advance(LONG_MS);
    await collectManifests(world);
    isCutOff = false;
    // Its own next attempt.
    await world.clock.advance(20_000);
    expect(await rejection(world.run(a.flush({ type: 'memtable' })))).toMatchObject({ name: 'FencedError' });
    expect(await rowsOf(world, await world.open())).toEqual(['a=1', 'b=1']);
  });
});
