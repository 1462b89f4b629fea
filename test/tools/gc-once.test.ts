/** Collections called by an operator: on closed and open databases, on those that SlateDB wrote, with every option checked first. */
import { describe, expect, it } from 'vitest';
import { type GcReport, gcOnce } from '../../src/admin.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import type { Db } from '../../src/db/db.ts';
import { IDENTITY_PATH, manifestPath } from '../../src/format/object-names.ts';
import { commitAsCollector } from '../../src/gc/manifest-commit.ts';
import { databaseStores } from '../../src/lsm/manifest/database-stores.ts';
import { readManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open } from '../../src/open.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { rejection, rowsOf, World, worldOfFixture } from '../support/database.ts';
import { CONCAT } from '../support/golden-database.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

function collect(world: World, options: Parameters<typeof gcOnce>[1] = {}, target?: Db): Promise<GcReport> {
  const { clock } = world;
  return world.run(
    gcOnce(target ?? { store: world.line(), path: '' }, { clock, random: world.random(), logger: QUIET, ...options }),
  );
}

/** What was deleted, by class. */
const deleted = ({ classes }: GcReport) =>
  Object.fromEntries(classes.flatMap((c) => (c.deleted.objects > 0 ? [[c.class, c.deleted.objects]] : [])));

async function writeTables(world: World, db: Db, tables: number): Promise<void> {
  for (let i = 0; i < tables; i++) {
    await world.run(db.put(`key-${i}`, 'value'.repeat(200)));
    await world.run(db.flush({ type: 'memtable' }));
  }
}

describe('a collection on a database of this process', () => {
  it('deletes the log and the manifests that nothing needs, and rows stay readable', async () => {
    const world = new World();
    const db = await world.open();
    await writeTables(world, db, 6);
    await world.clock.advance(600_000);
    const before = await world.versions();
    const plan = await collect(world, {}, db);
    expect(await world.versions()).toEqual(before);
    expect(plan).toMatchObject({ applied: false, findings: [], notes: [] });
    const report = await collect(world, { apply: true }, db);
    expect(Object.keys(deleted(report))).toEqual(['manifest', 'log']);
    expect(report.objects.map(({ path }) => path)).toEqual(
      plan.objects.filter(({ state }) => state === 'goes').map(({ path }) => path),
    );
    expect((await world.paths('manifest/')).length).toBe(3);
    await writeTables(world, db, 2);
    expect((await rowsOf(world, db)).length).toBe(6);
    await world.run(db.close());
    const again = await world.open();
    expect((await rowsOf(world, again)).length).toBe(6);
    await world.run(again.close());
  });

  it('finds nothing more when it is called again', async () => {
    const world = new World();
    const db = await world.open();
    await writeTables(world, db, 4);
    await world.run(db.close());
    await world.clock.advance(600_000);
    expect(Object.keys(deleted(await collect(world, { apply: true })))).toEqual(['manifest', 'log']);
    const second = await collect(world, { apply: true });
    expect([deleted(second), second.stopped, second.nextDueAtMs]).toEqual([{}, undefined, undefined]);
  });

  it('makes a writer that stalled before the collection learn that its manifest does not count', async () => {
    const world = new World();
    const first = await world.connect();
    await world.run(first.db.put('a', '1'));
    const held = world.line();
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const put = held.put.bind(held);
    held.put = async (path, bytes, options) => {
      if (path.startsWith('manifest/')) await gate;
      return put(path, bytes, options);
    };
    // An opening that waits with its claim of the next manifest.
    const stalled = world.opening({}, held);
    stalled.catch(() => undefined);
    await world.clock.advance(10);
    const id = (await world.paths('manifest/')).length + 1;
    await writeTables(world, first.db, 5);
    await world.run(first.db.close());
    world.clock.jumpWallMs(600_000);
    await collect(world, { apply: true });
    expect(await world.memory.head(manifestPath(id))).toBeUndefined();
    release();
    const db = await world.run(stalled);
    expect((await rowsOf(world, db)).length).toBe(6);
    await world.run(db.close());
  });
});

describe('a log in a store of its own', () => {
  it.each([[-3_600_000], [3_600_000]])('whose clock differs by %i ms is collected by that clock', async (offMs) => {
    const world = new World();
    const { clock } = world;
    const other = new ManualClock(clock.nowMs() + offMs);
    const log = new MemoryStore({ clock: other });
    const location = { store: world.memory, path: '', walStore: { store: log, path: 'log' } };
    const parts = { clock, random: world.random(), logger: QUIET };
    const db = await world.run(open(location, { ...parts, compactor: false }));
    await writeTables(world, db, 4);
    await world.run(db.close());
    const pass = (ms: number) => {
      for (const c of [clock, other]) c.jumpWallMs(ms);
    };
    const collected = async () => deleted(await world.run(gcOnce(location, { ...parts, apply: true })));
    pass(200_000);
    expect(await collected()).toEqual({});
    pass(200_000);
    expect(Object.keys(await collected())).toEqual(['manifest', 'log']);
    const again = await world.run(open(location, { ...parts, compactor: false }));
    expect((await rowsOf(world, again)).length).toBe(4);
    await world.run(again.close());
  });
});

describe('a collection on a database of SlateDB', () => {
  it.each([
    'slatedb-0.12.1/compacted',
    'slatedb-0.17.0/collected',
    'slatedb-0.18.0/compacted',
    'slatedb-0.18.0/crash-fences',
  ])('%s: what is left is all that it reads', async (name) => {
    const world = await worldOfFixture(name);
    const reader = await world.openReader({ mergeOperator: CONCAT });
    const rows = await rowsOf(world, reader);
    await world.run(reader.close());
    await world.clock.advance(100_000_000);
    const report = await collect(world, { apply: true, fences: 'collect' });
    expect([report.stopped, report.findings]).toEqual([undefined, []]);
    const again = await world.openReader({ mergeOperator: CONCAT });
    expect(await rowsOf(world, again)).toEqual(rows);
    await world.run(again.close());
    expect((await collect(world, { apply: true })).stopped).toBeUndefined();
  });

  it('gives it an identity before it writes a manifest', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/collected');
    const place = { location: { store: world.memory, path: '' }, isRootAssumed: false };
    const { clock } = world;
    const stores = databaseStores(place, { clock, random: world.random(), timeoutMs: 1000 });
    const parts = { stores, clock, random: world.random(), owner: 'gc:1' };
    const newest = await world.run(commitAsCollector(parts, (m) => ({ ...m, checkpoints: [] })));
    expect(await world.memory.head(IDENTITY_PATH)).toBeDefined();
    const next = await world.run(commitAsCollector(parts, (m) => ({ ...m, checkpoints: [] })));
    expect(next.id).toBe(newest.id + 1);
    const { seal } = (await readManifest(world.memory, next.id))!;
    expect(seal?.identity).toMatchObject({ role: 'collector', epoch: 0, databaseId: newest.seal!.identity.databaseId });
    const db = await world.open();
    await world.run(db.close());
  });
});

describe('the options of a collection', () => {
  it.each([
    [{ minAgeMs: 1000 }, 'minAgeMs must be a whole number from 180000'],
    [{ minAgeMs: 1000, apply: 1 }, 'apply must be true or false'],
    [{ fence: 'keep' }, 'fence is unknown (did you mean fences?)'],
  ])('are checked before anything is read: %j', async (options, fault) => {
    const world = new World();
    const line = world.line();
    const error = await rejection(gcOnce({ store: line, path: '' }, options as never));
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    expect(error.message).toContain(`gcOnce: `);
    expect(error.message).toContain(fault);
    expect(line.requests).toEqual([]);
  });

  it('a place without a database is an error', async () => {
    expect(await rejection(collect(new World()))).toMatchObject({ code: 'NOT_A_DATABASE' });
  });
});
