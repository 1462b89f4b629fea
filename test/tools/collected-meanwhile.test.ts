/** A writer flushes and a collector deletes while a tool reads: what moves is not called missing or unknown. */
import { expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { walPath } from '../../src/format/object-names.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { World } from '../support/database.ts';
import { gathered } from '../support/golden-database.ts';

const OBJECTS = 40;
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

interface Neighbour {
  world: World;
  db: Db;
  store: ObjectStore;
  hasActed(): boolean;
}

/** A log of many objects, and a store that lets its writer, or a collector, act before it answers the first request like `at`. */
async function beside(at: RegExp, act: (db: Db, world: World) => Promise<void> = collect): Promise<Neighbour> {
  const world = new World();
  const db = await world.open();
  for (let i = 0; i < OBJECTS; i++) await world.run(db.put(`key-${i}`, 'value'));
  const line = world.line();
  let acted: Promise<void> | undefined;
  const before = async (request: string) => {
    if (at.test(request)) acted ??= act(db, world);
    await acted;
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
  return { world, db, store, hasActed: () => acted !== undefined };
}

async function collect(db: Db, world: World): Promise<void> {
  await db.flush({ type: 'memtable' });
  await world.remove(...Array.from({ length: OBJECTS }, (_, i) => walPath(i + 1)));
}

it('by a check of the tables', async () => {
  const { world, store, hasActed } = await beside(/^list wal\//);
  const check = sstCheck({ store, path: '' }, { clock: world.clock, logger: QUIET });
  expect(await world.run(gathered(check))).toEqual([]);
  expect(hasActed()).toBe(true);
});

it('by an inspection of the log', async () => {
  const { world, store, hasActed } = await beside(/^get wal\//);
  const reports = walInspect({ store, path: '' }, { clock: world.clock, logger: QUIET });
  const found = await world.run(gathered(reports));
  expect(found.filter((r) => r.state === 'missing' || r.findings.length > 0)).toEqual([]);
  expect(found.some((r) => r.state === 'obsolete')).toBe(true);
  expect(hasActed()).toBe(true);
});

it('by a repair of the log, which then fences nobody', async () => {
  const { world, db, store, hasActed } = await beside(/^get wal\//);
  const options = { clock: world.clock, logger: QUIET, apply: true, acceptLoss: true, ifLiveWriter: 'fence' } as const;
  expect(await world.run(walRepair({ store, path: '' }, options))).toMatchObject({ outcome: 'clean', applied: false });
  expect(hasActed()).toBe(true);
  expect(await world.run(db.put('afterwards', 'value'))).toMatchObject({ seq: BigInt(OBJECTS + 1) });
});

it('by a repair of a manifest, which then knows the rows of a new table from the log', async () => {
  const { world, store, hasActed } = await beside(/^list compacted\//, async (db) => {
    for (let i = 0; i < 3; i++) await db.put(`more-${i}`, 'value');
    await db.flush({ type: 'memtable' });
  });
  const newest = (await world.paths('manifest/')).at(-1)!;
  await world.replace(newest, (await world.bytes(newest)).subarray(0, 40));
  const planned = await world.run(manifestRepair({ store, path: '' }, { clock: world.clock, logger: QUIET }));
  expect(planned).toMatchObject({ outcome: 'reconstructed', rows: { lost: 0 } });
  expect(planned.nextSteps.join(' ')).toMatch(/the log after it, \d+ to \d+, is whole/);
  expect(hasActed()).toBe(true);
});
