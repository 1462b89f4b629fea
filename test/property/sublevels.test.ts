/**
 * Sublevels against maps of their own: any mix of writes, batches over several of them, deletions of ranges and reads, with names and
 * keys that begin with each other's bytes. No level sees what another one wrote.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Sublevel } from '../../src/index.ts';
import { World } from '../support/database.ts';

const NAMES = ['a', 'ab', 'b', 'a\u00ff', '\u{10ffff}'];
/** Levels, and levels within them. */
const PATHS = [...NAMES.map((name) => [name]), ['a', 'a'], ['a', 'b'], ['b', 'a']];
const KEYS = ['a', 'b', 'ab', '\u0001', 'z\u0000', '\u{10ffff}', 'a/b'];

const level = fc.integer({ min: 0, max: PATHS.length - 1 });
const key = fc.constantFrom(...KEYS);
const value = fc.integer({ min: 0, max: 99 }).map(String);
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant('put' as const), level, key, value }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('delete' as const), level, key }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('batch' as const),
      through: level,
      writes: fc.array(fc.record({ level, key, value: fc.option(value) }), { maxLength: 6 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('clear' as const), level, from: fc.option(key) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('flush' as const) }) },
);

const order = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

it('no level sees what another one wrote', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const world = new World();
      const db = await world.open();
      const run = <T>(promise: Promise<T>) => world.run(promise);
      const encodings = { keyEncoding: 'utf8', valueEncoding: 'utf8' } as const;
      const levels = PATHS.map(([first, ...rest]) =>
        rest.reduce<Sublevel<string, string>>((of, name) => of.sublevel(name), db.sublevel(first, encodings)),
      );
      const models = PATHS.map(() => new Map<string, string>());
      const options = { awaitDurable: false };
      for (const s of steps) {
        if (s.type === 'put') {
          await run(levels[s.level].put(s.key, s.value, options));
          models[s.level].set(s.key, s.value);
        } else if (s.type === 'delete') {
          await run(levels[s.level].delete(s.key, options));
          models[s.level].delete(s.key);
        } else if (s.type === 'batch') {
          const batch = levels[s.through].batch();
          for (const { level: to, key: k, value: v } of s.writes) {
            const sublevel = levels[to];
            if (v === null) batch.delete(k, { sublevel });
            else batch.put(k, v, { sublevel });
            if (v === null) models[to].delete(k);
            else models[to].set(k, v);
          }
          await run(batch.write(options));
        } else if (s.type === 'clear') {
          const { from } = s;
          const cleared = levels[s.level];
          await run(from === null ? cleared.clear(options) : cleared.deleteRange({ gte: from }, options));
          for (const k of [...models[s.level].keys()])
            if (from === null || order(k, from) >= 0) models[s.level].delete(k);
        } else await run(db.flush({ type: 'memtable' }));
      }
      const snapshot = db.snapshot();
      for (const [i, [first, ...rest]] of PATHS.entries()) {
        const wanted = [...models[i]].sort(([a], [b]) => order(a, b));
        const seen = rest.reduce((of, name) => of.sublevel(name), snapshot.sublevel(first, encodings));
        for (const reads of [levels[i], seen]) {
          const rows = await run(reads.scan().toArray());
          expect(rows.map((row) => [row.key, row.value])).toEqual(wanted);
          expect(await run(reads.keys({ reverse: true }).toArray())).toEqual(wanted.map(([k]) => k).reverse());
          expect(await run(reads.count())).toBe(wanted.length);
        }
      }
      const total = models.reduce((sum, model) => sum + model.size, 0);
      expect(await run(db.count())).toBe(total);
      await run(db.close());
    }),
    { numRuns: 60 },
  );
}, 120_000);
