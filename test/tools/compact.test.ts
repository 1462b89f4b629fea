/** Compactions of everything that an operator calls: on closed and open databases, on those that SlateDB wrote, beside others, and interrupted. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type CompactCallOptions, type CompactReport, compact, type Target } from '../../src/admin.ts';
import { sleep } from '../../src/common/clock.ts';
import type { Db } from '../../src/db/db.ts';
import { tablesOf, treesOf } from '../../src/format/manifest-types.ts';
import { tablePath } from '../../src/format/object-names.ts';
import { COMPACTIONS_FORM, findNewestCompactions, jobsOf } from '../../src/lsm/manifest/compactions-store.ts';
import { type LoadedManifest, listManifestIds, readManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open, openReader } from '../../src/open.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { type Line, rejection, rowsOf, World } from '../support/database.ts';
import { CONCAT } from '../support/golden-database.ts';
import { goldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

function calling(world: World, options: CompactCallOptions = {}, target?: Target, line: Line = world.line()) {
  const { clock } = world;
  return compact(target ?? { store: line, path: '' }, { clock, random: world.random(), logger: QUIET, ...options });
}

const called = (world: World, options: CompactCallOptions = {}, target?: Target): Promise<CompactReport> =>
  world.run(calling(world, options, target));

/** Tables of level 0, each with some rows that the later ones overwrite or delete. */
async function writeTables(world: World, db: Db, tables: number): Promise<void> {
  for (let i = 0; i < tables; i++) {
    await world.run(db.put(`key-${i}`, `value ${i} `.repeat(50)));
    await world.run(db.put('shared', `version ${i}`));
    if (i > 0) await world.run(db.delete(`key-${i - 1}`));
    await world.run(db.flush({ type: 'memtable' }));
  }
}

async function closedWorld(tables = 5, options: OpenOptions = {}): Promise<World> {
  const world = new World();
  const db = await world.open(options);
  await writeTables(world, db, tables);
  await world.run(db.close());
  return world;
}

const ROWS_OF_5 = [`key-4=${'value 4 '.repeat(50)}`, 'shared=version 4'];

async function newest(world: World): Promise<LoadedManifest> {
  return (await readManifest(world.memory, (await listManifestIds(world.memory)).at(-1)!))!;
}

/** Tables of level 0, and tables of each run, tree by tree. */
const shapeOf = ({ manifest }: LoadedManifest) =>
  treesOf(manifest).map(({ l0, runs }) => [l0.length, ...runs.map(({ views }) => views.length)]);

async function readRows(world: World): Promise<string[]> {
  const reader = await world.openReader({ mergeOperator: CONCAT });
  const rows = await rowsOf(world, reader);
  await world.run(reader.close());
  return rows;
}

async function jobStates(world: World): Promise<string[]> {
  const id = await findNewestCompactions(world.memory);
  if (id === undefined) return [];
  const { compactions, running } = jobsOf((await COMPACTIONS_FORM.read(world.memory, id))!);
  return [...compactions.jobs.map(({ status }) => status), ...running.map(() => 'running here')];
}

describe('a dry run', () => {
  it('says what would be merged and what it costs, and changes nothing', async () => {
    const world = await closedWorld();
    const before = await world.versions();
    const report = await called(world);
    expect(await world.versions()).toEqual(before);
    expect(report).toMatchObject({ schemaVersion: 1, applied: false, outcome: 'planned', jobs: [], findings: [] });
    const [tree] = report.trees;
    expect(tree!.before).toMatchObject({ l0Tables: 5, runs: 0, tables: 5, rows: 14, tombstones: 4 });
    expect(tree!.after).toBeUndefined();
    expect(tree!.estimate).toEqual(report.estimate);
    expect(report.estimate.bytesRead).toBeLessThanOrEqual(tree!.before.bytes);
  });

  it('of an open database does not flush it', async () => {
    const world = new World();
    const db = await world.open({ compactor: {} });
    await writeTables(world, db, 2);
    await world.run(db.put('late', 'in memory'));
    const before = await world.versions();
    expect(await called(world, {}, db)).toMatchObject({ outcome: 'planned', trees: [{ before: { l0Tables: 2 } }] });
    expect(await world.versions()).toEqual(before);
    await world.run(db.close());
  });

  it('shows damaged tables', async () => {
    const world = await closedWorld(3);
    const table = tablesOf((await newest(world)).manifest)[1]!;
    await world.remove(tablePath(table.id));
    const report = await called(world);
    expect(report.findings).toMatchObject([{ code: 'MISSING_OBJECT', object: { id: table.id } }]);
    expect(report.trees[0]!.before.rows).toBeUndefined();
  });
});

describe('a compaction at a location', () => {
  it('merges everything into one run, and reads the same rows', async () => {
    const world = await closedWorld();
    const { id } = await newest(world);
    const report = await called(world, { apply: true });
    expect(report).toMatchObject({ applied: true, outcome: 'compacted', rowsIn: 14, rowsOut: 2, findings: [] });
    expect(report.trees).toMatchObject([
      { before: { l0Tables: 5, runs: 0 }, after: { l0Tables: 0, runs: 1, tables: 1 } },
    ]);
    expect(report.jobs).toMatchObject([{ job: { reason: 'everything', l0Tables: 5 }, rowsIn: 14, rowsOut: 2 }]);
    expect([report.bytesRead > 0, report.bytesWritten > 0]).toEqual([true, true]);
    const after = await newest(world);
    expect([shapeOf(after), after.id, report.manifestId]).toEqual([[[0, 1]], id + 2, BigInt(id + 2)]);
    expect(await jobStates(world)).toEqual(['completed']);
    expect(await readRows(world)).toEqual(ROWS_OF_5);
  });

  it('claims only the epoch of the compactor', async () => {
    const world = await closedWorld();
    const before = (await newest(world)).manifest;
    await called(world, { apply: true });
    const { manifest, seal } = await newest(world);
    expect([manifest.writerEpoch, manifest.compactorEpoch]).toEqual([before.writerEpoch, before.compactorEpoch + 1]);
    expect(seal!.identity.role).toBe('compactor');
  });

  it('leaves nothing to do: a second one writes nothing and waits for nothing', async () => {
    const world = await closedWorld();
    await called(world, { apply: true });
    const before = await world.versions();
    const startMs = world.clock.monotonicMs();
    const report = await called(world, { apply: true });
    expect(report).toMatchObject({ applied: true, outcome: 'nothing-to-do', jobs: [], rowsIn: 0 });
    expect(await called(world)).toMatchObject({ applied: false, outcome: 'nothing-to-do' });
    expect(await world.versions()).toEqual(before);
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(1000);
  });

  it('of an empty database has nothing to do', async () => {
    const world = new World();
    await world.run((await world.open()).close());
    const before = await world.versions();
    const report = await called(world, { apply: true });
    expect(report).toMatchObject({ outcome: 'nothing-to-do', trees: [{ before: { tables: 0 } }] });
    expect(await world.versions()).toEqual(before);
  });

  it('where there is no database is refused', async () => {
    for (const apply of [true, false])
      expect(await rejection(called(new World(), { apply }))).toMatchObject({ code: 'NOT_A_DATABASE' });
  });

  it('costs about what the dry run said', async () => {
    const world = await closedWorld(8);
    const { estimate } = await called(world);
    const report = await called(world, { apply: true, liveCheckMs: 0 });
    expect(report.estimate).toEqual(estimate);
    const spent = report.requests;
    expect(spent).toBeGreaterThanOrEqual(estimate.requests - 5);
    expect(spent).toBeLessThanOrEqual(estimate.requests + 20);
    expect(report.bytesRead).toBeGreaterThanOrEqual(estimate.bytesRead / 2);
    expect(report.bytesWritten).toBeLessThan(estimate.mostBytesWritten);
  });

  it('writes tables in the form that is wanted, else in that of the newest one', async () => {
    const codecs = async (world: World) => tablesOf((await newest(world)).manifest).map(({ info }) => info.codec);
    const world = await closedWorld(3, { compressionCodec: 'zlib' });
    const other = await world.copy();
    await called(world, { apply: true });
    await called(other, { apply: true, compressionCodec: 'lz4' });
    expect([await codecs(world), await codecs(other)]).toEqual([['zlib'], ['lz4']]);
    expect(await readRows(other)).toEqual(await readRows(world));
  });

  it('writes composite filters where the newest table has them, as its readers know them', async () => {
    const world = await closedWorld(3, { compatibility: 'slatedb-0.17', minFilterKeys: 0 });
    await called(world, { apply: true });
    const { manifest } = await newest(world);
    expect(manifest.headerVersion).toBe(2);
    expect(tablesOf(manifest).map(({ info }) => info.filterForm)).toEqual(['composite']);
  });

  it('keeps to a small memory, small tables and a rate, and asks the filter', async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 0; i < 4; i++) {
      for (let k = 0; k < 40; k++) await world.run(db.put(`key-${k}`, `${i}`.repeat(3000), { awaitDurable: false }));
      await world.run(db.flush({ type: 'memtable' }));
    }
    await world.run(db.close());
    const startMs = world.clock.monotonicMs();
    const report = await called(world, {
      apply: true,
      liveCheckMs: 0,
      memoryBytes: 8 << 20,
      maxSstBytes: 64 << 10,
      bytesPerSecond: 100_000,
      verifyOutputs: 'all',
      compactionFilter: { decide: ({ key }) => (Buffer.from(key).toString() === 'key-7' ? 'drop' : 'keep') },
    });
    expect(report).toMatchObject({ rowsIn: 160, rowsOut: 39 });
    expect(report.trees[0]!.after!.tables).toBe(2);
    expect(world.clock.monotonicMs() - startMs).toBeGreaterThan(3000);
  });

  it('folds operands with the operator, and leaves them without', async () => {
    const make = async () => {
      const world = new World();
      const db = await world.open({ mergeOperator: CONCAT });
      for (const part of ['a', 'b', 'c']) {
        await world.run(db.merge('key', part));
        await world.run(db.flush({ type: 'memtable' }));
      }
      await world.run(db.close());
      return world;
    };
    const [plain, folding] = [await make(), await make()];
    expect(await called(plain, { apply: true })).toMatchObject({ rowsIn: 3, rowsOut: 3 });
    expect(await called(folding, { apply: true, mergeOperator: CONCAT })).toMatchObject({ rowsIn: 3, rowsOut: 1 });
    for (const world of [plain, folding]) expect(await readRows(world)).toEqual(['key=abc']);
  });

  it('loads filter and operator of modules, and refuses what is none before anything is written', async () => {
    const module = new URL('../support/dropping-filter.mjs', import.meta.url);
    const world = new World();
    const db = await world.open({ mergeOperator: CONCAT });
    for (const key of ['key-1', 'key-2']) {
      await world.run(db.put(key, 'value'));
      await world.run(db.merge('merged', key));
      await world.run(db.flush({ type: 'memtable' }));
    }
    await world.run(db.close());
    const before = await world.versions();
    const wrong: CompactCallOptions[] = [
      { compactionFilter: { module, export: 'notOne' } },
      { mergeOperator: { module, export: 'absent' } },
    ];
    for (const options of wrong) {
      const call = calling(world, { apply: true, liveCheckMs: 0, ...options });
      expect(await rejection(call)).toMatchObject({ code: 'BAD_OPTION' });
    }
    expect(await world.versions()).toEqual(before);
    const options = { compactionFilter: { module }, mergeOperator: { module, export: 'appending' } };
    const report = await calling(world, { apply: true, liveCheckMs: 0, ...options });
    expect(report).toMatchObject({ rowsIn: 4, rowsOut: 2 });
    expect(await readRows(world)).toEqual(['key-2=value', 'merged=key-1key-2']);
  });

  it('merges on threads in a directory, and reads the same', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'shaledb-compact-'));
    try {
      const url = pathToFileURL(directory);
      const db = await open(url, { logger: QUIET, compactor: false });
      for (let i = 0; i < 3; i++) {
        await db.put('key', `version ${i}`);
        await db.flush({ type: 'memtable' });
      }
      await db.close();
      const report = await compact(url, { apply: true, liveCheckMs: 0, threads: 1, logger: QUIET });
      expect(report).toMatchObject({ outcome: 'compacted', rowsIn: 3, rowsOut: 1 });
      const reader = await openReader(url, { logger: QUIET });
      expect(Buffer.from((await reader.get('key'))!).toString()).toBe('version 2');
      await reader.close();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('says how far it has come, and goes on if that throws', async () => {
    const world = await closedWorld();
    const seen: unknown[] = [];
    const onProgress: CompactCallOptions['onProgress'] = (progress) => {
      seen.push(progress);
      throw new Error('of the caller');
    };
    const errors: string[] = [];
    const logger = { ...QUIET, error: (message: string) => void errors.push(message) };
    const report = await called(world, { apply: true, liveCheckMs: 0, bytesPerSecond: 1024, onProgress, logger });
    expect(report.outcome).toBe('compacted');
    expect(seen.length).toBeGreaterThan(1);
    expect(seen[0]).toMatchObject({ treesDone: 0, trees: 1, bytesRead: 0, bytesWritten: 0 });
    expect(errors).toContain('the onProgress function threw');
  });
});

describe('a compaction of an open database', () => {
  it('goes through its own compactor, with what was in memory', async () => {
    const world = new World();
    const db = await world.open({ compactor: {} });
    await writeTables(world, db, 3);
    await world.run(db.put('late', 'in memory'));
    const report = await called(world, { apply: true }, db);
    expect(report).toMatchObject({ outcome: 'compacted', jobs: [{ job: { l0Tables: 4 } }] });
    expect(report.trees).toMatchObject([{ before: { l0Tables: 3 }, after: { l0Tables: 0, runs: 1 } }]);
    expect(await rowsOf(world, db)).toContain('late=in memory');
    expect(await called(world, { apply: true }, db)).toMatchObject({ outcome: 'nothing-to-do' });
    await world.run(db.close());
  });

  it('that has no compactor is refused, with the command for a closed one', async () => {
    const world = new World();
    const db = await world.open();
    const error = await rejection(called(world, { apply: true }, db));
    expect(error.code).toBe('BAD_ARGUMENT');
    expect(error.message).toContain('shaledb compact LOCATION');
    await world.run(db.close());
  });

  it('takes no options that its opening decides', async () => {
    const world = new World();
    const db = await world.open({ compactor: {} });
    for (const option of [{ memoryBytes: 8 << 20 }, { compressionCodec: 'lz4' as const }, { mergeOperator: CONCAT }]) {
      const error = await rejection(called(world, option, db));
      expect(error).toMatchObject({ code: 'BAD_OPTION' });
      expect(error.message).toContain(Object.keys(option)[0]);
    }
    await world.run(db.close());
  });
});

describe('a compaction beside another process', () => {
  /** A writer that goes on writing. */
  async function writing(options: OpenOptions) {
    const world = new World();
    const db = await world.open(options);
    await writeTables(world, db, 3);
    let isOver = false;
    const loop = (async () => {
      for (let i = 0; !isOver; i++) {
        await db.put(`busy-${i % 10}`, `${i}`);
        await sleep(world.clock, 100);
      }
    })();
    return {
      world,
      db,
      async end() {
        isOver = true;
        await world.run(loop);
      },
    };
  }

  it('that writes is refused, and says what to do', async () => {
    const { world, db, end } = await writing({ compactor: {} });
    const before = (await newest(world)).id;
    const error = await rejection(called(world, { apply: true }));
    expect(error.code).toBe('LIVE_WRITER');
    expect(error.message).toContain('db.compact()');
    expect((await newest(world)).id).toBe(before);
    await end();
    await world.run(db.close());
  });

  it('fences the compactor of that process and no writer, if that is wanted', async () => {
    const { world, db, end } = await writing({ compactor: {} });
    const report = await called(world, { apply: true, ifLiveWriter: 'fence' });
    expect(report.outcome).toBe('compacted');
    await end();
    await writeTables(world, db, 4);
    await world.clock.advance(10_000);
    expect(db.upkeep().compactor!.phase).not.toBe('failed');
    expect(await rowsOf(world, db)).toContain('shared=version 3');
    await world.run(db.put('still', 'writes'));
    await world.run(db.close());
    expect(await readRows(world)).toContain('still=writes');
  });

  it('that takes the epoch ends it, and the rows are there', async () => {
    const world = await closedWorld();
    const slow = calling(world, { apply: true, liveCheckMs: 0, bytesPerSecond: 1024 });
    const failure = rejection(slow);
    await world.clock.advance(1000);
    await called(world, { apply: true, ifLiveWriter: 'fence' });
    await world.clock.advance(1000);
    expect(await world.run(failure)).toMatchObject({ code: 'COMPACTION_FAILED', cause: expect.anything() });
    expect(await readRows(world)).toEqual(ROWS_OF_5);
    expect(shapeOf(await newest(world))).toEqual([[0, 1]]);
  });
});

describe('a compaction that does not come to its end', () => {
  it('is ended by its signal at once, and the next one does it', async () => {
    const world = await closedWorld();
    const controller = new AbortController();
    const line = world.line();
    const options = { apply: true, liveCheckMs: 0, bytesPerSecond: 1024, signal: controller.signal };
    const failure = rejection(calling(world, options, undefined, line));
    await world.clock.advance(1500);
    controller.abort();
    expect(await world.run(failure)).toMatchObject({ code: 'ABORTED' });
    await world.clock.settle();
    line.take();
    await world.clock.advance(3_600_000);
    expect(line.take()).toEqual([]);
    expect(await readRows(world)).toEqual(ROWS_OF_5);
    expect(await called(world, { apply: true })).toMatchObject({ outcome: 'compacted', rowsOut: 2 });
    expect(await readRows(world)).toEqual(ROWS_OF_5);
  });

  it('leaves a sound database wherever its process dies', async () => {
    const first = await closedWorld(3);
    const rows = await readRows(first);
    const whole = await first.copy();
    const line = whole.line();
    await whole.run(calling(whole, { apply: true, liveCheckMs: 0 }, undefined, line));
    const writes = line.requests.flatMap(({ op }, i) => (op === 'put' ? [i + 1] : []));
    expect(writes.length).toBeGreaterThanOrEqual(6);
    for (const n of writes) {
      for (const where of ['before', 'after'] as const) {
        const world = await first.copy();
        const dying = world.line();
        dying.cutAt(n, where);
        calling(world, { apply: true, liveCheckMs: 0 }, undefined, dying).catch(() => undefined);
        await world.clock.advance(3_600_000);
        expect(dying.isCut).toBe(true);
        expect(await readRows(world), `${where} ${n}`).toEqual(rows);
        const again = await called(world, { apply: true });
        expect(again.trees[0]!.after, `${where} ${n}`).toMatchObject({ l0Tables: 0, runs: 1 });
        expect(await readRows(world), `${where} ${n}`).toEqual(rows);
        // Where all was merged before it died, nothing is claimed any more: the next compactor ends the job.
        if (again.outcome === 'nothing-to-do') continue;
        const states = await jobStates(world);
        expect(
          states.filter((state) => state.startsWith('running')),
          `${where} ${n}`,
        ).toEqual([]);
      }
    }
  });

  it('names the damaged table and its repair', async () => {
    const world = await closedWorld(3);
    const { id, info } = tablesOf((await newest(world)).manifest)[1]!;
    const bytes = await world.bytes(tablePath(id));
    bytes.fill(0, 0, info.indexOffset);
    await world.replace(tablePath(id), bytes);
    const error = await rejection(called(world, { apply: true }));
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED', details: { table: id }, cause: { kind: 'corruption' } });
    expect(error.hint!.commands).toEqual([`shaledb sst repair LOCATION ${id}`]);
    expect(error.message).toContain(`Table ${id} cannot be merged`);
    expect(shapeOf(await newest(world))).toEqual([[3]]);
  });

  it('names the cause where the store fails', async () => {
    const world = await closedWorld(3);
    const line = world.line();
    const put = line.put.bind(line);
    line.put = (path, bytes, options) =>
      path.startsWith('compacted/') ? Promise.reject(new Error('disk full')) : put(path, bytes, options);
    const error = await rejection(world.run(calling(world, { apply: true, timeoutMs: 1000 }, undefined, line)));
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED', cause: expect.anything() });
    expect(await readRows(world)).toEqual(['key-2=' + 'value 2 '.repeat(50), 'shared=version 2']);
  });

  it('that is refused because a filter throws leaves everything as it was', async () => {
    const world = await closedWorld(3);
    const compactionFilter = {
      decide: () => {
        throw new Error('of the caller');
      },
    };
    const error = await rejection(called(world, { apply: true, compactionFilter }));
    expect(error.code).toBe('COMPACTION_FAILED');
    expect(error.cause).toMatchObject({ cause: { message: 'of the caller' } });
    expect(shapeOf(await newest(world))).toEqual([[3]]);
  });
});

describe('a compaction of a database of SlateDB', () => {
  const fixtures = goldenFixtures().filter(({ name, expected, objects }) => {
    const isOne = expected.db_path === 'db' && objects.some(({ path }) => path.startsWith('db/manifest/'));
    return name.startsWith('slatedb-') && isOne;
  });

  it('is tried on those of every release', () => {
    expect([...new Set(fixtures.map(({ name }) => name.split('/')[0]))].length).toBe(4);
  });

  /** With all that is beside it in its store: the parents of clones. */
  async function worldOf(name: string): Promise<World> {
    const world = new World();
    for (const { path, bytes } of goldenFixture(name).objects) await world.replace(path, bytes);
    return world;
  }

  it.each(fixtures.map(({ name }) => name))('%s reads the same, in one run for each tree', async (name) => {
    const world = await worldOf(name);
    const { clock } = world;
    const place = () => ({ store: world.line(), path: 'db' });
    const parts = { clock, random: world.random(), logger: QUIET, mergeOperator: CONCAT };
    const read = async () => {
      const reader = await world.run(openReader(place(), parts));
      const rows = await rowsOf(world, reader);
      await world.run(reader.close());
      return rows;
    };
    const rows = await read();
    const others = (await world.versions()).filter((line) => !line.startsWith('db/'));
    const plan = await called(world, {}, place());
    const report = await called(world, { apply: true }, place());
    expect(report.outcome).toBe(plan.outcome === 'planned' ? 'compacted' : 'nothing-to-do');
    expect(await read()).toEqual(rows);
    const root = prefixedStore(world.memory, 'db');
    const { manifest } = (await readManifest(root, (await listManifestIds(root)).at(-1)!))!;
    for (const { l0, runs } of treesOf(manifest)) expect([l0.length, runs.length <= 1]).toEqual([0, true]);
    expect((await world.versions()).filter((line) => !line.startsWith('db/'))).toEqual(others);
    // A database with segments cannot be opened for writing.
    if (manifest.segments !== undefined) return;
    const db = await world.run(open(place(), parts));
    expect(await rowsOf(world, db)).toEqual(rows);
    await world.run(db.close());
  });
});
