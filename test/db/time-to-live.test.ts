/** Expiry goes by the wall clock, also where a clock was once far ahead; and a flush hides nothing that somebody can still see. */
import { describe, expect, it } from 'vitest';
import type { DbEvent } from '../../src/common/events.ts';
import { WriteBatch } from '../../src/index.ts';
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

  it('is told of once, in the log and as an event, by the opening and by the handle that saw the clock go back', async () => {
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
