/** Tables that go into a run as they are (`compactor.trivialMoves`): when, at what cost, and that nothing of them is lost. */
import { describe, expect, it } from 'vitest';
import type { CompactionOutcome } from '../../src/common/compactor-role.ts';
import type { DbEvent } from '../../src/common/events.ts';
import type { Db } from '../../src/db/db.ts';
import type { WriteOptions } from '../../src/db/write-options.ts';
import { tablePath } from '../../src/format/object-names.ts';
import { listManifestIds, readManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { type Line, rowsOf, World } from '../support/database.ts';

const HOUR_MS = 3_600_000;
const KEYS = 40;
const key = (n: number) => `key ${String(n).padStart(5, '0')}`;
const value = (n: number) => `value of ${n} `.padEnd(100, '.');

/** Rows of one flush: keys from `first` on. */
async function load(world: World, db: Db, first: number, more: [key: string, options: WriteOptions][] = []) {
  for (let n = first; n < first + KEYS; n++) await world.run(db.put(key(n), value(n), { awaitDurable: false }));
  for (const [name, options] of more) await world.run(db.put(name, 'x', { ...options, awaitDurable: false }));
  await world.run(db.flush({ type: 'memtable' }));
}

interface Moving {
  world: World;
  db: Db;
  line: Line;
  outcomes: CompactionOutcome[];
}

async function opened(compactor: OpenOptions['compactor'] = {}, others: OpenOptions = {}): Promise<Moving> {
  const world = new World();
  const outcomes: CompactionOutcome[] = [];
  const onEvent = (event: DbEvent) => {
    if (event.type === 'compactor' && event.event.type === 'committed') outcomes.push(event.event.outcome);
  };
  const { db, line } = await world.connect({
    l0SstSizeBytes: 16_384,
    compactor: { trivialMoves: true, ...compactor },
    onEvent,
    ...others,
  });
  return { world, db, line, outcomes };
}

async function loaded(tables: number, compactor: OpenOptions['compactor'] = {}, others: OpenOptions = {}) {
  const moving = await opened(compactor, others);
  for (let i = 0; i < tables; i++) await load(moving.world, moving.db, i * KEYS);
  await moving.world.clock.advance(1000);
  return moving;
}

const expected = (count: number) => Array.from({ length: count * KEYS }, (_, n) => `${key(n)}=${value(n)}`);
const moved = (outcomes: readonly CompactionOutcome[]) => outcomes.map(({ tablesMoved }) => tablesMoved);

async function newest(world: World) {
  const ids = await listManifestIds(world.memory);
  return (await readManifest(world.memory, ids.at(-1)!))!.manifest;
}

describe('tables that were loaded in the order of their keys', () => {
  it('become a run without being written again, and read equal', async () => {
    const { world, db, outcomes } = await loaded(4);
    const before = await world.paths('compacted/');
    const { l0, runs } = await newest(world);
    expect([l0.length, runs.length]).toEqual([0, 1]);
    expect(runs[0]!.views.map(({ table }) => tablePath(table.id))).toEqual(before);
    expect(outcomes).toMatchObject([
      { tables: 0, tablesMoved: 4, rowsIn: 0, rowsOut: 0, bytesIn: 0, bytesOut: 0, job: { l0Tables: 4, runs: [] } },
    ]);
    expect(await rowsOf(world, db)).toEqual(expected(4));
    await world.run(db.close());
    expect(await rowsOf(world, await world.open())).toEqual(expected(4));
  });

  it('cost one manifest, and a GET of the end of each table of which nothing is known', async () => {
    const { world, db, line } = await loaded(3, {}, { gc: false });
    line.take();
    await load(world, db, 3 * KEYS);
    await world.clock.advance(1000);
    const kinds = () => line.take().map((request) => request.replace(/\d{20}|[0-9A-Z]{26}/, 'N'));
    // The first job claims the epoch; the list by which the writer watches for others is no part of a move.
    const first = kinds();
    const claimed = first.lastIndexOf('get compactions/N.compactions');
    expect(first.slice(claimed + 1).filter((request) => request !== 'list manifest/')).toEqual([
      ...Array.from({ length: 4 }, () => 'get compacted/N.sst'),
      'put manifest/N.manifest',
    ]);

    // What was read is known from then on, by reads as well.
    for (let i = 4; i < 7; i++) await load(world, db, i * KEYS);
    await rowsOf(world, db);
    line.take();
    await load(world, db, 7 * KEYS);
    await world.clock.advance(1000);
    const again = kinds().filter((request) => !request.includes('wal/') && request !== 'list manifest/');
    expect(again).toEqual([
      'put compacted/N.sst',
      'put manifest/N.manifest',
      'get compacted/N.sst',
      'put manifest/N.manifest',
    ]);
  });

  it('stand in no compactions file, whose jobs SlateDB would check against the age of their tables', async () => {
    const { world } = await loaded(8, {}, { gc: false });
    expect(await world.paths('compactions/')).toHaveLength(1);
    expect((await newest(world)).runs.map(({ views }) => views.length)).toEqual([4, 4]);
  });

  it('are still there after collectors have had their time, and are read by snapshots from before', async () => {
    const { world, db } = await loaded(3);
    const snapshot = db.snapshot();
    await load(world, db, 3 * KEYS);
    await world.clock.advance(2 * HOUR_MS);
    expect(await rowsOf(world, snapshot)).toEqual(expected(3));
    await snapshot.close();
    expect(await rowsOf(world, db)).toEqual(expected(4));
  });

  it('go into one run in the end: runs are moved as well', async () => {
    const { world, db, outcomes } = await loaded(16);
    const { l0, runs } = await newest(world);
    expect([l0.length, runs.map(({ views }) => views.length)]).toEqual([0, [4, 12]]);
    expect(moved(outcomes)).toEqual([4, 4, 4, 12, 4]);
    expect(await rowsOf(world, db)).toEqual(expected(16));
    const scan = db.scan({ reverse: true });
    expect(await world.run(scan.nextBatch(1000))).toHaveLength(16 * KEYS);
  });

  it.each(['slatedb-0.12', 'slatedb-0.17'] as const)('in the profile %s', async (compatibility) => {
    const { world, db, outcomes } = await loaded(8, {}, { compatibility });
    expect(moved(outcomes)).toEqual([4, 4]);
    await world.run(db.close());
    const again = await world.open({ compatibility, compactor: {} });
    expect(await rowsOf(world, again)).toEqual(expected(8));
    await load(world, again, 0);
    await world.run(again.compact());
    expect(await rowsOf(world, again)).toEqual(expected(8));
  });
});

describe('tables are written again', () => {
  it('where nothing is said', async () => {
    const { outcomes } = await loaded(4, { trivialMoves: false });
    expect(moved(outcomes)).toEqual([0]);
    expect(outcomes[0]!.rowsIn).toBe(4 * KEYS);
  });

  it.each<[what: string, more: [string, WriteOptions][], deleted: string | undefined]>([
    ['keys in common', [[key(0), {}]], undefined],
    ['a key between those of another table', [[`${key(3)}a`, {}]], undefined],
    ['a row that will expire', [[key(900), { ttlMs: HOUR_MS }]], undefined],
    ['a deletion', [], key(900)],
  ])('that have %s', async (_, more, deleted) => {
    const { world, db, outcomes } = await opened();
    for (let i = 0; i < 3; i++) await load(world, db, i * KEYS);
    if (deleted !== undefined) await world.run(db.delete(deleted, { awaitDurable: false }));
    await load(world, db, 3 * KEYS, more);
    await world.clock.advance(1000);
    expect(moved(outcomes)).toEqual([0]);
  });

  it('that are much smaller than a flush makes them', async () => {
    const { outcomes } = await loaded(4, {}, { l0SstSizeBytes: 1 << 20 });
    expect(moved(outcomes)).toEqual([0]);
  });

  it('if everything is to be compacted', async () => {
    const { world, db, outcomes } = await loaded(3);
    const report = await world.run(db.compact());
    expect(report.jobs).toMatchObject([{ tablesMoved: 0, tables: 1, rowsIn: 3 * KEYS }]);
    expect(moved(outcomes)).toEqual([0]);
  });
});

it('a filter has to see every value: with one nothing can be moved', async () => {
  const filter = { decide: () => 'keep' as const };
  const options: OpenOptions = { compactor: { trivialMoves: true, compactionFilter: filter } };
  const error = await open('memory:', options).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'BAD_OPTION', message: expect.stringContaining('trivialMoves') });
});
