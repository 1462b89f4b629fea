/** How many requests compaction has under way (`compactor.maxRequestsInFlight`), counted in the store: over all jobs, and beside reads. */
import { describe, expect, it } from 'vitest';
import type { DbEvent } from '../../src/common/events.ts';
import type { Scheduler } from '../../src/compaction/scheduling.ts';
import type { Db } from '../../src/db/db.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { rowsOf, World } from '../support/database.ts';
import { forwarding } from '../support/forwarding-store.ts';

const TABLES = 8;

/** Counts what is under way of tables. */
function counting(world: World): { now: number; most: number } {
  const seen = { now: 0, most: 0 };
  const inner = latencyStore(world.memory, { clock: world.clock, latencyMs: 20 });
  const counted = <T>(path: string, call: Promise<T>): Promise<T> => {
    if (!path.startsWith('compacted/')) return call;
    seen.most = Math.max(seen.most, ++seen.now);
    return call.finally(() => seen.now--);
  };
  const { upload: _, ...plain } = forwarding(inner);
  const store: ObjectStore = {
    ...plain,
    conformance: 'known',
    get: (path, options) => counted(path, inner.get(path, options)),
    head: (path, options) => counted(path, inner.head(path, options)),
    put: (path, bytes, options) => counted(path, inner.put(path, bytes, options)),
  };
  world.store = store;
  return seen;
}

/** Level 0 into one run, and beside it the run that is there into itself: two jobs at a time. */
const twoJobs: Scheduler = ({ trees, active, slots }) => {
  const { l0, runs } = trees[0]!;
  if (l0.length < TABLES || active.length > 0) return { proposals: [] };
  const proposals = [
    { tree: '', l0, runs: [], reason: 'level 0' },
    { tree: '', l0: [], runs: [runs[0]!.id], reason: 'again' },
  ];
  return { proposals: proposals.slice(0, slots) };
};

async function load(world: World, db: Db, table: number): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await world.run(db.put(`key ${String(i * TABLES + table).padStart(4, '0')}`, `${table}`, { awaitDurable: false }));
  }
  await world.run(db.flush({ type: 'memtable' }));
}

/** A database with a run of its own and a full level 0. */
async function prepared(): Promise<World> {
  const world = new World();
  const db = await world.open({ compactor: {} });
  await load(world, db, 0);
  await world.run(db.compact());
  await world.run(db.close());
  const other = await world.open();
  for (let i = 0; i < TABLES; i++) await load(world, other, i);
  await world.run(other.close());
  return world;
}

async function merged(maxRequestsInFlight: number | undefined, l0MaxSsts = 1000) {
  const world = await prepared();
  const seen = counting(world);
  const jobs: string[] = [];
  const onEvent = (event: DbEvent) => {
    if (event.type === 'compactor' && event.event.type === 'committed') jobs.push(event.event.outcome.job.reason);
  };
  const limit = maxRequestsInFlight === undefined ? {} : { maxRequestsInFlight };
  const options: OpenOptions = { compactor: { scheduler: twoJobs, ...limit }, l0MaxSsts, gc: false, onEvent };
  const db = await world.open(options);
  await world.clock.advance(10_000);
  expect(jobs.sort()).toEqual(['again', 'level 0']);
  const { most } = seen;
  expect(await rowsOf(world, db)).toHaveLength(20 * TABLES);
  return most;
}

describe('all jobs of a compactor together have under way', () => {
  it.each([1, 2, 5])('at most %i requests, if that is the limit', async (limit) => {
    expect(await merged(limit)).toBe(limit);
  });

  it('8, where nothing is said', async () => {
    expect(await merged(undefined)).toBe(8);
  });

  it('more, where more is allowed', async () => {
    expect(await merged(100)).toBeGreaterThan(8);
  });
});

describe('reads come first', () => {
  /** The most requests of jobs while so many reads wait for their answers. */
  async function beside(reads: number, l0MaxSsts: number): Promise<number> {
    const world = await prepared();
    const seen = counting(world);
    const { store } = world;
    let isHeld = false;
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    // Of reads: they stay under way.
    const get: ObjectStore['get'] = async (path, options) => {
      if (isHeld) await held;
      return store.get(path, options);
    };
    world.store = { ...store, name: store.name, get };
    let mayWork = false;
    const scheduler: Scheduler = (input) =>
      mayWork ? twoJobs(input) : { proposals: [], wakeAtMs: world.clock.nowMs() + 100 };
    const db = await world.open({ compactor: { scheduler }, l0MaxSsts, gc: false });
    isHeld = true;
    // In different tables, of which nothing is in memory.
    const reading = Array.from({ length: reads }, (_, i) => db.get(`key ${String(i).padStart(4, '0')}`));
    await world.clock.advance(10);
    isHeld = false;
    mayWork = true;
    await world.clock.advance(1000);
    const { most } = seen;
    release();
    await world.run(Promise.all(reading));
    await world.run(db.close());
    return most;
  }

  it.each([
    [0, 8],
    [1, 7],
    [3, 5],
    [5, 3],
  ])('%i that are under way leave %i requests to the jobs', async (reads, left) => {
    expect(await beside(reads, 1000)).toBe(left);
  });

  it('but not where level 0 is nearly full', async () => {
    expect(await beside(3, TABLES + 2)).toBe(8);
    expect(await beside(3, TABLES + 3)).toBe(5);
  });
});
