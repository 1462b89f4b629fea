/** The compactor of an open database, over the memory store and in virtual time. */
import { describe, expect, it } from 'vitest';
import type { DbEvent } from '../../src/common/events.ts';
import type { Db } from '../../src/db/db.ts';
import { tableBytes } from '../../src/lsm/tree/visible-bytes.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { flip, tablesOf } from '../support/damaged-tables.ts';
import { rejection, World } from '../support/database.ts';
import { newestManifest as storedManifest } from '../support/table-database.ts';

const HOUR_MS = 3_600_000;
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);

async function flush(world: World, db: Db, rows: Record<string, string | undefined>): Promise<void> {
  for (const [key, value] of Object.entries(rows)) {
    await world.run(value === undefined ? db.delete(key) : db.put(key, value));
  }
  await world.run(db.flush({ type: 'memtable' }));
  await world.clock.advance(1000);
}

async function rowsOf(world: World, db: Pick<Db, 'scan'>): Promise<Record<string, string>> {
  const rows: Record<string, string> = {};
  const scan = db.scan();
  for (let row = await world.run(scan.next()); !row.done; row = await world.run(scan.next())) {
    rows[text(row.value.key)!] = text(row.value.value)!;
  }
  return rows;
}

const shape = (db: Db) => db.upkeep().trees.map(({ l0Tables, runs }) => [l0Tables, runs]);

async function compacted(options: OpenOptions = {}) {
  const world = new World();
  const { db, line } = await world.connect({ compactor: {}, ...options });
  const model: Record<string, string> = {};
  for (let i = 0; i < 8; i++) {
    const rows = { [`k${i}`]: `value ${i}`, shared: `version ${i}` };
    Object.assign(model, rows);
    await flush(world, db, rows);
  }
  await world.clock.advance(10_000);
  return { world, db, line, model };
}

describe('an open database', () => {
  it('merges its tables by itself, and reads the same rows', async () => {
    const { world, db, model } = await compacted();
    expect(shape(db)).toEqual([[0, 2]]);
    expect(await rowsOf(world, db)).toEqual(model);
    const { compactor } = db.upkeep();
    expect(compactor).toMatchObject({ phase: 'idle', epoch: 1, failures: 0, lastError: undefined, jobs: [] });
    expect(compactor!.spent.get).toBeGreaterThan(8);
    await world.run(db.close());
    expect(await rowsOf(world, await world.open())).toEqual(model);
  });

  it('says how much more it stores and writes than was asked for', async () => {
    const { world, db } = await compacted();
    const { trees, liveBytes, amplification, compactor } = db.upkeep();
    const lowest = (await storedManifest(world)).runs
      .at(-1)!
      .views.reduce((sum, view) => sum + tableBytes(view.table.info), 0);
    expect(trees[0].bytes).toBe(liveBytes);
    expect(amplification.space).toBeCloseTo(liveBytes / lowest, 10);
    const flushed = db.requestCounts().byRole.table.bytesOut;
    expect(amplification.write).toBeCloseTo(1 + compactor!.spent.bytesOut / flushed, 10);
    expect(amplification.write).toBeGreaterThan(1.5);
    await world.run(db.compact());
    expect(db.upkeep().amplification.space).toBe(1);
  });

  it('knows no amplification before there is a table', async () => {
    const { db } = await new World().connect({ compactor: {} });
    expect(db.upkeep().amplification).toEqual({ space: undefined, write: undefined });
  });

  it('merges nothing if that is switched off', async () => {
    const { db } = await compacted({ compactor: false });
    expect(shape(db)).toEqual([[8, 0]]);
    expect(db.upkeep().compactor).toBeUndefined();
  });

  it('deletes what was merged an hour later, and then asks for nothing', async () => {
    const { world, db, line, model } = await compacted();
    await world.clock.advance(HOUR_MS);
    // The last three manifests stay, one of which still has the four tables of the second job.
    expect(await world.paths('compacted/')).toHaveLength(6);
    line.take();
    await world.clock.advance(HOUR_MS);
    expect(line.take()).toEqual([]);
    expect(await rowsOf(world, db)).toEqual(model);
  });

  it('keeps what an open snapshot sees', async () => {
    const world = new World();
    const db = await world.open({ compactor: {} });
    await flush(world, db, { a: 'old', b: 'old' });
    const snapshot = db.snapshot();
    for (let i = 0; i < 7; i++) await flush(world, db, { a: `new ${i}`, b: i % 2 === 0 ? undefined : 'again' });
    await world.clock.advance(2 * HOUR_MS);
    expect(shape(db)[0]![0]).toBeLessThan(8);
    expect([text(await world.run(snapshot.get('a'))), text(await world.run(snapshot.get('b')))]).toEqual([
      'old',
      'old',
    ]);
    expect(await rowsOf(world, db)).toEqual({ a: 'new 6' });
  });

  it('reports claims, jobs and commits', async () => {
    const events: DbEvent[] = [];
    await compacted({ compactor: {}, onEvent: (event) => events.push(event) });
    const reported = events.flatMap((event) => (event.type === 'compactor' ? [event.event.type] : []));
    expect(reported).toEqual(['claimed', 'started', 'committed', 'started', 'committed']);
  });

  it('gives back what has expired', async () => {
    const world = new World();
    const db = await world.open({ compactor: {} });
    for (let i = 0; i < 4; i++) {
      await world.run(db.put(`expires ${i}`, 'x'.repeat(100), { ttlMs: 1000 }));
      await flush(world, db, { [`stays ${i}`]: 'y' });
      await world.clock.advance(5000);
    }
    await world.clock.advance(HOUR_MS);
    expect(Object.keys(await rowsOf(world, db))).toEqual(['stays 0', 'stays 1', 'stays 2', 'stays 3']);
    const [tree] = db.upkeep().trees;
    expect(tree).toMatchObject({ l0Tables: 0, runs: 1 });
  });
});

describe('a table that is damaged', () => {
  it('is healed on the way if its seal proves it, and reported', async () => {
    const events: DbEvent[] = [];
    const world = new World();
    const db = await world.open({ compactor: {}, onEvent: (event) => events.push(event) });
    for (let i = 0; i < 3; i++) await flush(world, db, { [`k${i}`]: 'v'.repeat(50) });
    const [first] = await tablesOf(world);
    await flip(world, first!.path, first!.blocks[0]!.offset + 3);
    await flush(world, db, { k3: 'v' });
    await world.clock.advance(10_000);
    expect(shape(db)).toEqual([[0, 1]]);
    expect(events.some(({ type }) => type === 'finding')).toBe(true);
    expect(Object.keys(await rowsOf(world, db))).toEqual(['k0', 'k1', 'k2', 'k3']);
  });

  it('is left alone if nothing proves what was there, and a write that waits names it and the command', async () => {
    const world = new World();
    const db = await world.open({
      compactor: {},
      l0MaxSsts: 8,
      writeTimeoutMs: 1000,
      l0SstSizeBytes: 4096,
      maxUnflushedBytes: 20_000,
    });
    for (let i = 0; i < 3; i++) await flush(world, db, { [`k${i}`]: 'v'.repeat(50) });
    const first = (await tablesOf(world)).at(-1);
    const { offset } = first!.blocks[0]!;
    for (let at = offset + 4; at < offset + 40; at++) await flip(world, first!.path, at);
    await flush(world, db, { k3: 'v' });
    await world.clock.advance(10_000);
    expect(shape(db)).toEqual([[4, 0]]);
    const { compactor } = db.upkeep();
    expect(compactor!.damagedTables.map(({ table }) => first!.path.includes(table))).toEqual([true]);
    const writing = (async () => {
      for (let i = 0; i < 40; i++) await db.put(`more ${i}`, 'x'.repeat(3000));
    })();
    const error = await rejection(world.run(writing));
    expect(error).toMatchObject({ code: 'OVERLOADED' });
    expect(error.message).toMatch(/Level 0 has 8 tables.* Table \S+ cannot be merged: .*`shaledb sst repair LOCATION /);
  });
});

describe('a full level 0', () => {
  const FULL: OpenOptions = { l0MaxSsts: 2, l0SstSizeBytes: 4096, maxUnflushedBytes: 60_000 };

  async function full(options: OpenOptions = {}) {
    const world = new World();
    const { db, line } = await world.connect({ ...FULL, ...options });
    for (let i = 0; i < 8; i++) await world.run(db.put(`k${i}`, 'x'.repeat(3000), { awaitDurable: false }));
    return { world, db, line };
  }

  it('is the reason that a flush gives which waits for it in vain', async () => {
    const { world, db } = await full({ timeoutMs: 2000 });
    const error = await rejection(world.run(db.flush({ type: 'memtable' })));
    expect(error).toMatchObject({ code: 'DEADLINE', outcome: 'unknown' });
    expect(error.message).toMatch(
      /within 2000 ms .option timeoutMs.. Level 0 has 2 tables, the limit is 2 .option l0MaxSsts.. \S/,
    );
    await world.run(db.flush());
  });

  it('does not hold up close: rows that are durable in the log need no table', async () => {
    const { world, db } = await full();
    const startMs = world.clock.monotonicMs();
    await world.run(db.close());
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(1000);
    expect(Object.keys(await rowsOf(world, await world.open(FULL)))).toHaveLength(8);
  });

  it('does not hold up close without a log either', async () => {
    const { world, db } = await full({ walEnabled: false });
    await world.run(db.close());
    expect(Object.keys(await rowsOf(world, await world.open({ ...FULL, walEnabled: false })))).toHaveLength(8);
  });

  it('does not hold up a takeover that has more to replay than memory holds', async () => {
    const { world, line } = await full();
    await world.clock.advance(1000);
    line.cut();
    const db = await world.open({ ...FULL, maxUnflushedBytes: 10_000 });
    expect(Object.keys(await rowsOf(world, db))).toHaveLength(8);
  });

  const NOTHING_CHOSEN = { ...FULL, compactor: { scheduler: () => ({ proposals: [] }) } };

  it('is merged by compact, before what waits for a place there', async () => {
    const { world, db } = await full(NOTHING_CHOSEN);
    await world.clock.advance(5000);
    expect(shape(db)).toEqual([[2, 0]]);
    const { jobs } = await world.run(db.compact());
    expect(jobs.length).toBe(2);
    expect(shape(db)).toEqual([[0, 1]]);
    expect(Object.keys(await rowsOf(world, db))).toHaveLength(8);
    // The limit counts as before.
    for (let i = 0; i < 8; i++) await world.run(db.put(`l${i}`, 'x'.repeat(3000), { awaitDurable: false }));
    await world.clock.advance(5000);
    expect(shape(db)).toEqual([[2, 1]]);
  });

  it('makes compact fail with the cause where nothing can be merged, and gets no further tables', async () => {
    const decide = () => {
      throw new Error('no decision');
    };
    const { world, db } = await full({ ...FULL, compactor: { compactionFilter: { decide }, minCompactionSources: 8 } });
    await world.clock.advance(5000);
    const error = await rejection(world.run(db.compact()));
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED', message: expect.stringContaining('filter threw') });
    expect(error).toHaveProperty('cause.cause.message', 'no decision');
    expect(shape(db)).toEqual([[2, 0]]);
  });

  it('makes compact fail in time where no table can be stored', async () => {
    const { world, db } = await full({ ...NOTHING_CHOSEN, l0MaxSsts: 100, timeoutMs: 3000 });
    world.faults.add({ action: 'status:403', op: 'put', path: /^compacted\// });
    await world.run(db.put('one', 'more', { awaitDurable: false }));
    const startMs = world.clock.monotonicMs();
    const error = await rejection(world.run(db.compact()));
    expect(error).toMatchObject({ code: 'COMPACTION_FAILED', cause: { code: 'DEADLINE' } });
    expect(world.clock.monotonicMs() - startMs).toBeLessThan(4000);
  });
});
