/**
 * Scans against a model that has no read-ahead: any mix of `next`, `nextBatch` and `seek`, with ranges, limits and both directions,
 * over rows in memory, in tables, in both, and with damage that the scan goes past.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Db, ScanOptions } from '../../src/index.ts';
import { rejection, text, World } from '../support/database.ts';

const KEYS = 400;
const keyOf = (n: number) => `k${String(n).padStart(3, '0')}`;

type Step = { call: 'next' } | { call: 'batch'; count: number } | { call: 'seek'; to: number };

/** What is left of a scan, in its order; calls as they are documented. */
class Model {
  readonly #isReverse: boolean;
  #left: string[];
  #limit: number;
  #reached: string | undefined;

  constructor(keys: readonly string[], options: ScanOptions) {
    this.#isReverse = options.reverse ?? false;
    const { gte, lt } = options as { gte: string; lt: string };
    this.#left = keys.filter((key) => key >= gte && key < lt);
    if (this.#isReverse) this.#left.reverse();
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
  }

  take(count: number): string[] {
    const rows = this.#left.splice(0, Math.min(count, this.#limit));
    this.#limit -= rows.length;
    this.#reached = rows[rows.length - 1] ?? this.#reached;
    return rows;
  }

  isBack(key: string): boolean {
    return this.#reached !== undefined && this.#isBefore(key, this.#reached);
  }

  seek(key: string): void {
    this.#reached = key;
    this.#left = this.#left.filter((k) => !this.#isBefore(k, key));
  }

  #isBefore(a: string, b: string): boolean {
    return this.#isReverse ? a > b : a < b;
  }
}

const key = fc.integer({ min: 0, max: KEYS - 1 });
const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constant<Step>({ call: 'next' }) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 200 }).map<Step>((count) => ({ call: 'batch', count })) },
    { weight: 4, arbitrary: key.map<Step>((to) => ({ call: 'seek', to })) },
  ),
  { minLength: 1, maxLength: 25 },
);
const scans = fc.record({
  from: fc.integer({ min: 0, max: KEYS }),
  to: fc.integer({ min: 0, max: KEYS }),
  reverse: fc.boolean(),
  limit: fc.option(fc.integer({ min: 0, max: 300 }), { nil: undefined }),
  steps,
});

async function play(
  world: World,
  db: Db,
  keys: readonly string[],
  given: typeof scans extends fc.Arbitrary<infer T> ? T : never,
) {
  const { from, to, reverse, limit } = given;
  const range = { gte: keyOf(Math.min(from, to)), lt: keyOf(Math.max(from, to)) };
  const options: ScanOptions = { ...range, reverse, ...(limit !== undefined && { limit }) };
  const model = new Model(keys, options);
  const scan = db.scan(options);
  for (const step of given.steps) {
    if (step.call === 'next') {
      const { value } = await world.run(scan.next());
      expect(value === undefined ? [] : [text(value.key)]).toEqual(model.take(1));
    } else if (step.call === 'batch') {
      const rows = await world.run(scan.nextBatch(step.count));
      expect(rows.map((row) => text(row.key))).toEqual(model.take(step.count));
      // Results belong to the caller.
      for (const row of rows) row.key.fill(0);
      rows.length = 0;
    } else {
      const target = keyOf(step.to);
      if (target < range.gte || target >= range.lt || model.isBack(target)) {
        expect(await world.run(rejection(scan.seek(target)))).toMatchObject({ code: 'BAD_ARGUMENT' });
      } else {
        await world.run(scan.seek(target));
        model.seek(target);
      }
    }
  }
  expect((await world.run(scan.nextBatch(KEYS + 1))).map((row) => text(row.key))).toEqual(model.take(KEYS + 1));
  expect(await world.run(scan.next())).toEqual({ done: true, value: undefined });
}

describe.each(['memory', 'tables', 'both'] as const)('a scan over %s', (where) => {
  it('gives the rows that the model gives', async () => {
    const world = new World();
    const db = await world.open({ sstBlockSizeBytes: 1024 });
    const keys: string[] = [];
    for (let n = 0; n < KEYS; n++) {
      if (n % 7 === 3) continue;
      keys.push(keyOf(n));
      void db.put(keyOf(n), 'v'.repeat(20), { awaitDurable: false });
      if (where === 'both' && n === KEYS / 2) await world.run(db.flush({ type: 'memtable' }));
    }
    for (let n = 0; n < KEYS; n += 7) void db.put(keyOf(n), 'again', { awaitDurable: false });
    if (where === 'tables') await world.run(db.flush({ type: 'memtable' }));
    else await world.run(db.flush());
    await fc.assert(
      fc.asyncProperty(scans, (given) => play(world, db, keys, given)),
      { numRuns: 150 },
    );
  });
});

it('a seek to the last row handed out gives the next one, wherever the read-ahead ends', async () => {
  const world = new World();
  const db = await world.open();
  for (let n = 0; n < KEYS; n++) void db.put(keyOf(n), 'v', { awaitDurable: false });
  for (const reverse of [false, true]) {
    for (const count of [1, 127, 128, 129, 256]) {
      const scan = db.scan({ reverse });
      const rows = await world.run(scan.nextBatch(count));
      const at = (n: number) => keyOf(reverse ? KEYS - 1 - n : n);
      await world.run(scan.seek(at(count - 1)));
      expect([text(rows[rows.length - 1].key), text((await world.run(scan.next())).value?.key)]).toEqual([
        at(count - 1),
        at(count),
      ]);
    }
  }
});

it('a seek back is refused and changes nothing', async () => {
  const world = new World();
  const db = await world.open();
  for (let n = 0; n < KEYS; n++) void db.put(keyOf(n), 'v', { awaitDurable: false });
  const scan = db.scan();
  await world.run(scan.next());
  await world.run(scan.seek(keyOf(300)));
  for (const back of [0, 5, 299]) {
    expect(await world.run(rejection(scan.seek(keyOf(back))))).toMatchObject({ code: 'BAD_ARGUMENT' });
  }
  await world.run(scan.seek(keyOf(300)));
  expect(text((await world.run(scan.next())).value?.key)).toBe(keyOf(300));
});
