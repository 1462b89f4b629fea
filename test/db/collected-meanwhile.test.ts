/** A writer flushes and a collector deletes while a tool looks at the log: what is no longer needed is not called missing. */
import { expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { walPath } from '../../src/format/object-names.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { World } from '../support/database.ts';
import { gathered } from '../support/golden-database.ts';

const OBJECTS = 40;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

/** A log of many objects, and a store that collects most of them before it answers the first request like `at`. */
async function collecting(at: RegExp): Promise<{ world: World; db: Db; store: ObjectStore; hasCollected(): boolean }> {
  const world = new World();
  const db = await world.open();
  for (let i = 0; i < OBJECTS; i++) await world.run(db.put(`key-${i}`, 'value'));
  const line = world.line();
  let collected: Promise<void> | undefined;
  const collect = async () => {
    await db.flush({ type: 'memtable' });
    await world.remove(...Array.from({ length: OBJECTS }, (_, i) => walPath(i + 1)));
  };
  const before = async (request: string) => {
    if (at.test(request)) collected ??= collect();
    await collected;
  };
  const store: ObjectStore = {
    name: line.name,
    put: (path, bytes, o) => line.put(path, bytes, o),
    delete: (paths, o) => line.delete(paths, o),
    head: async (path, o) => {
      await before(`head ${path}`);
      return line.head(path, o);
    },
    get: async (path, o) => {
      await before(`get ${path}`);
      return line.get(path, o);
    },
    list: async function* (prefix, o) {
      await before(`list ${prefix}`);
      yield* line.list(prefix, o);
    },
  };
  return { world, db, store, hasCollected: () => collected !== undefined };
}

it('by a check of the tables', async () => {
  const { world, store, hasCollected } = await collecting(/^list wal\//);
  const check = sstCheck({ store, path: '' }, { clock: world.clock, logger: QUIET });
  expect(await world.run(gathered(check))).toEqual([]);
  expect(hasCollected()).toBe(true);
});

it('by an inspection of the log', async () => {
  const { world, store, hasCollected } = await collecting(/^get wal\//);
  const reports = walInspect({ store, path: '' }, { clock: world.clock, logger: QUIET });
  const found = await world.run(gathered(reports));
  expect(found.filter((r) => r.state === 'missing' || r.findings.length > 0)).toEqual([]);
  expect(found.some((r) => r.state === 'obsolete')).toBe(true);
  expect(hasCollected()).toBe(true);
});

it('by a repair of the log, which then fences nobody', async () => {
  const { world, db, store, hasCollected } = await collecting(/^get wal\//);
  const options = { clock: world.clock, logger: QUIET, apply: true, ifLiveWriter: 'fence' } as const;
  expect(await world.run(walRepair({ store, path: '' }, options))).toMatchObject({ outcome: 'clean', applied: false });
  expect(hasCollected()).toBe(true);
  expect(await world.run(db.put('afterwards', 'value'))).toMatchObject({ seq: BigInt(OBJECTS + 1) });
});
