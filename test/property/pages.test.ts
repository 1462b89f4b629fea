/** Pages of a range while its rows are written and deleted: a row that does not change is on exactly one page, and pages are in order. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { text, World } from '../support/database.ts';

const KEYS = 60;
const keyOf = (n: number) => `k${String(n).padStart(2, '0')}`;

const edit = fc.record({
  key: fc.integer({ min: 0, max: KEYS - 1 }).map(keyOf),
  kind: fc.constantFrom('put', 'delete', 'flush'),
});
const runs = fc.record({
  first: fc.uniqueArray(fc.integer({ min: 0, max: KEYS - 1 }).map(keyOf), { maxLength: KEYS }),
  /** What happens before each page but the first. */
  edits: fc.array(fc.array(edit, { maxLength: 6 }), { minLength: 40, maxLength: 40 }),
  size: fc.integer({ min: 1, max: 9 }),
  reverse: fc.boolean(),
  prefix: fc.constantFrom('', 'k', 'k1'),
});

it('a row that does not change is on exactly one page, whatever is written in between', async () => {
  await fc.assert(
    fc.asyncProperty(runs, async ({ first, edits, size, reverse, prefix }) => {
      const world = new World();
      const db = await world.open({ flushIntervalMs: 1 });
      for (const key of first) await world.run(db.put(key, 'x', { awaitDurable: false }));
      const unchanged = new Set(first.filter((key) => key.startsWith(prefix)));
      const shown: string[] = [];
      let after: Uint8Array | string | undefined;
      for (const changes of [[], ...edits]) {
        for (const { key, kind } of changes) {
          if (kind === 'flush') await world.run(db.flush({ type: 'memtable' }));
          else {
            unchanged.delete(key);
            const options = { awaitDurable: false };
            await world.run(kind === 'put' ? db.put(key, 'y', options) : db.delete(key, options));
          }
        }
        const page = await world.run(db.page({ prefix, reverse, ...(after !== undefined && { after }) }, { size }));
        expect(page.rows.length).toBeLessThanOrEqual(size);
        shown.push(...page.rows.map((row) => text(row.key) as string));
        after = page.after;
        if (!page.more) break;
      }
      expect(shown).toEqual([...new Set(shown)].sort((a, b) => (a < b === reverse ? 1 : -1)));
      expect([...unchanged].filter((key) => !shown.includes(key))).toEqual([]);
      await world.run(db.close());
    }),
    { numRuns: 60 },
  );
}, 120_000);
