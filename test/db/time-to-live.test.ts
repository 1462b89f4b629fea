/** Expiry goes by the wall clock, also where a clock was once far ahead; and a flush hides nothing that somebody can still see. */
import { describe, expect, it } from 'vitest';
import type { DbEvent } from '../../src/common/events.ts';
import { type Snapshot, WriteBatch } from '../../src/index.ts';
import { rowsOf, text, World } from '../support/database.ts';

const DAY_MS = 86_400_000;
const YEARS_75_MS = 75 * 365 * DAY_MS;

/** A database in which one row was written by a clock 75 years ahead. */
async function withRowOfTheFuture(world: World, options = {}) {
  const db = await world.open(options);
  world.clock.jumpWallMs(YEARS_75_MS);
  await world.run(db.put('once', 'v'));
  world.clock.jumpWallMs(-YEARS_75_MS);
  return db;
}

describe('a time to live after a clock that was far ahead', () => {
  it.each(['the same handle', 'a handle opened again'] as const)('counts from now, in %s', async (where) => {
    const world = new World();
    let db = await withRowOfTheFuture(world);
    if (where !== 'the same handle') {
      await world.run(db.close());
      db = await world.open();
    }
    await world.run(db.put('put', 'v', { ttlMs: 1000 }));
    await world.run(db.write(new WriteBatch().put('batch', 'v', { ttlMs: 1000 }).put('stays', 'v')));
    const meta = await world.run(db.getWithMeta('put'));
    expect(meta?.expireTs).toBeLessThanOrEqual(world.clock.nowMs() + 1000);
    // Create times never fall.
    expect(meta?.createTs).toBeGreaterThan(world.clock.nowMs() + YEARS_75_MS - DAY_MS);
    await world.clock.advance(1001);
    expect(await rowsOf(world, db)).toEqual(['once=v', 'stays=v']);
  });

  it('keeps a row alive until then, also over a flush', async () => {
    const world = new World();
    const db = await withRowOfTheFuture(world);
    await world.run(db.put('k', 'v', { ttlMs: 60_000 }));
    await world.run(db.flush({ type: 'memtable' }));
    expect(text(await world.run(db.get('k')))).toBe('v');
    await world.clock.advance(60_001);
    expect(await world.run(db.get('k'))).toBeUndefined();
  });

  it('is reported once, in the log and as an event, by the opening and by the handle that saw the clock go back', async () => {
    const world = new World();
    const events: DbEvent[] = [];
    const onEvent = (event: DbEvent) => void events.push(event);
    const warnings = () => world.log.filter((l) => l.message.includes('ahead of this one')).length;
    const db = await withRowOfTheFuture(world, { onEvent });
    expect(warnings()).toBe(0);
    for (const key of ['a', 'b', 'c']) await world.run(db.put(key, 'v'));
    expect([warnings(), events.map((e) => e.type)]).toEqual([1, ['clock']]);
    await world.run(db.close());
    const again = await world.open({ onEvent });
    for (const key of ['a', 'b', 'c']) await world.run(again.put(key, 'v'));
    expect([warnings(), events.map((e) => e.type)]).toEqual([2, ['clock', 'clock']]);
  });

  it('says nothing where clocks differ by seconds', async () => {
    const world = new World();
    const db = await world.open();
    world.clock.jumpWallMs(5000);
    await world.run(db.put('a', 'v'));
    world.clock.jumpWallMs(-5000);
    await world.run(db.put('b', 'v'));
    await world.run(db.close());
    await world.open();
    expect(world.log.filter((l) => l.level === 'warn')).toEqual([]);
  });
});

describe('with hideExpired: false a flush', () => {
  const OPTIONS = {
    hideExpired: false,
    mergeOperator: {
      merge: (_k: unknown, e: Uint8Array | undefined, o: Uint8Array) => Buffer.concat([e ?? Buffer.alloc(0), o]),
    },
  };

  it('leaves a snapshot what it sees, although it has expired since', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await world.run(db.put('a', 'old', { ttlMs: 1000 }));
    await world.run(db.merge('m', 'one', { ttlMs: 1000 }));
    await world.run(db.merge('m', 'two', { ttlMs: 5000 }));
    const snapshot = db.snapshot();
    await world.run(db.put('a', 'new', { ttlMs: 1000 }));
    const later = db.snapshot();
    await world.clock.advance(2000);
    await world.run(db.put('last', 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    expect(await rowsOf(world, snapshot)).toEqual(['a=old', 'm=onetwo']);
    expect(await rowsOf(world, later)).toEqual(['a=new', 'm=onetwo']);
    expect(text(await world.run(snapshot.get('a')))).toBe('old');
  });

  it('leaves it to a snapshot, too, that is opened while the table is under way', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await world.run(db.put('a', 'old', { ttlMs: 1000 }));
    await world.clock.advance(2000);
    await world.run(db.put('last', 'v'));
    world.faults.add({ action: 'stall', op: 'put', path: /compacted/ });
    const flushed = db.flush({ type: 'memtable' });
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    const snapshot = db.snapshot();
    expect(text(await world.run(snapshot.get('a')))).toBe('old');
    world.faults.clear();
    await world.run(flushed);
    expect(text(await world.run(snapshot.get('a')))).toBe('old');
  });
});

const APPEND = {
  merge: (_k: unknown, e: Uint8Array | undefined, o: Uint8Array) => Buffer.concat([e ?? Buffer.alloc(0), o]),
};

describe('a snapshot judges expiry by the moment in which it was made', () => {
  /** What each kind of read through `snapshot` finds of the keys `a` (a value), `m` (operands) and `gone` (expired before). */
  async function readings(world: World, snapshot: Snapshot) {
    const keys = ['a', 'm', 'gone'];
    const texts = async (values: Promise<(Uint8Array | undefined)[]>) => (await world.run(values)).map(text);
    const each = await texts(Promise.all(keys.map((key) => snapshot.get(key))));
    const all: Record<string, unknown> = {
      many: await texts(snapshot.getMany(keys)),
      has: await world.run(Promise.all(keys.map((key) => snapshot.has(key)))),
      meta: await texts(Promise.all(keys.map(async (key) => (await snapshot.getWithMeta(key))?.value))),
      scan: await rowsOf(world, snapshot),
      reverse: (await world.run(snapshot.scan({ reverse: true }).nextBatch(9))).map((r) => text(r.key)),
    };
    return { get: each, ...all };
  }

  const STEADY = {
    get: ['1', 'xy', undefined],
    many: ['1', 'xy', undefined],
    has: [true, true, false],
    meta: ['1', 'xy', undefined],
    scan: ['a=1', 'm=xy'],
    reverse: ['m', 'a'],
  };

  async function prepared(world: World) {
    const db = await world.open({ mergeOperator: APPEND });
    await world.run(db.put('gone', '0', { ttlMs: 500 }));
    await world.clock.advance(600);
    await world.run(db.put('a', '1', { ttlMs: 1000 }));
    await world.run(db.merge('m', 'x', { ttlMs: 1000 }));
    await world.run(db.merge('m', 'y', { ttlMs: 5000 }));
    return db;
  }

  it.each(['memory', 'tables'])('whatever expires while it is open, rows in %s', async (where) => {
    const world = new World();
    const db = await prepared(world);
    if (where === 'tables') await world.run(db.flush({ type: 'memtable' }));
    const snapshot = db.snapshot();
    const begun = snapshot.scan();
    await world.clock.advance(2000);
    expect(await readings(world, snapshot)).toEqual(STEADY);
    expect(await rowsOf(world, db)).toEqual(['m=y']);
    await world.clock.advance(60_000);
    expect(await readings(world, snapshot)).toEqual(STEADY);
    expect((await world.run(begun.nextBatch(9))).map((row) => text(row.value))).toEqual(['1', 'xy']);
    expect(await rowsOf(world, db)).toEqual([]);
    expect(await rowsOf(world, db.snapshot())).toEqual([]);
  });

  it('and no flush takes from it what has expired since', async () => {
    const world = new World();
    const db = await prepared(world);
    const snapshot = db.snapshot();
    await world.clock.advance(60_000);
    const later = db.snapshot();
    await world.run(db.put('last', 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    expect(await readings(world, snapshot)).toEqual(STEADY);
    expect(await rowsOf(world, later)).toEqual([]);
    expect(await rowsOf(world, db)).toEqual(['last=v']);
  });

  it('also where the clock is put back during a flush that drops what has expired', async () => {
    const world = new World();
    const db = await prepared(world);
    await world.clock.advance(60_000);
    await world.run(db.put('last', 'v'));
    world.faults.add({ action: 'stall', op: 'put', path: /compacted/ });
    const flushed = db.flush({ type: 'memtable' });
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    world.clock.jumpWallMs(-60_000);
    const snapshot = db.snapshot();
    const before = await rowsOf(world, snapshot);
    world.faults.clear();
    await world.run(flushed);
    expect(await rowsOf(world, snapshot)).toEqual(before);
  });

  it('and flushes drop what has expired again once it is closed', async () => {
    const world = new World();
    const db = await world.open();
    const snapshots = [db.snapshot(), db.snapshot()];
    await world.run(db.put('a', 'x'.repeat(5000), { ttlMs: 1000 }));
    await world.clock.advance(2000);
    for (const snapshot of [...snapshots, ...snapshots]) await snapshot.close();
    await world.run(db.put('last', 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    const [path] = await world.paths('compacted/');
    expect((await world.bytes(path)).length).toBeLessThan(3000);
  });
});

describe('getMany reads one state, however long it takes', () => {
  /** More keys than are looked up at once, all of them in tables that are not in memory. */
  async function cold(world: World, ttlMs: number | undefined) {
    const keys = Array.from({ length: 40 }, (_, i) => `k${i + 10}`);
    let db = await world.open();
    for (const key of keys) await world.run(db.put(key, 'v', ttlMs === undefined ? {} : { ttlMs }));
    await world.run(db.close());
    db = await world.open({ mergeOperator: APPEND });
    await world.run(db.merge('operand', 'x'));
    keys.push('operand');
    const release = () => world.faults.clear();
    world.faults.add({ action: 'stall', op: 'get', path: /compacted/ });
    const many = db.getMany(keys);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    return { db, keys, many, release };
  }

  it('by one time', async () => {
    const world = new World();
    const { keys, many, release } = await cold(world, 10_000);
    world.clock.jumpWallMs(20_000);
    release();
    expect((await world.run(many)).map(text)).toEqual([...keys.slice(1).map(() => 'v'), 'x']);
  });

  it('by one view: what is overwritten and flushed in the meantime does not vanish', async () => {
    const world = new World();
    const { db, keys, many, release } = await cold(world, undefined);
    for (const key of keys) await world.run(db.put(key, 'w'));
    await world.run(db.flush({ type: 'memtable' }));
    release();
    expect((await world.run(many)).map(text)).toEqual([...keys.slice(1).map(() => 'v'), 'x']);
  });
});

it('a flush drops what has expired where no read shows it', async () => {
  const world = new World();
  const db = await world.open();
  await world.run(db.put('a', 'x'.repeat(5000), { ttlMs: 1000 }));
  await world.clock.advance(2000);
  await world.run(db.put('last', 'v'));
  await world.run(db.flush({ type: 'memtable' }));
  const [path] = await world.paths('compacted/');
  expect((await world.bytes(path)).length).toBeLessThan(3000);
});
