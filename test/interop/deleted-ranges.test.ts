/** Ranges that we delete, read by SlateDB (0.12.1, 0.17.0 and 0.18.0, live): it finds none of their rows, and all others. */
import { describe, expect, it } from 'vitest';
import { open } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { gathered } from '../support/golden-database.ts';
import { describeHandovers, expectManifestsToContinue, Handover } from '../support/handover-places.ts';
import { type RowChange, toBatch } from '../support/handover-rows.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const ROWS = 600;
const keyOf = (i: number) => `k${String(i).padStart(4, '0')}`;
const rowsOf = (from: number, to: number, value: string): RowChange[] =>
  Array.from({ length: to - from }, (_, i) => ({ put: keyOf(from + i), value: `${value}${from + i}` }));
const keys = (rows: readonly { key: Uint8Array }[]) => rows.map(({ key }) => new TextDecoder().decode(key));
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => keyOf(from + i));

describeHandovers((partners) => {
  const handover = new Handover(partners, ({ ours }) => expectManifestsToContinue(ours));
  const options: OpenOptions = {
    logger: QUIET,
    compatibility: partners.version === '0.12.1' ? 'slatedb-0.12' : 'auto',
    mergeOperator: { merge: (_key, before, operand) => Buffer.concat([before ?? Buffer.alloc(0), operand]) },
    compactor: {},
  };

  describe('a range that is deleted', () => {
    it('has no row for SlateDB: in runs, level 0, the log, merged, expired, and of SlateDB itself', async () => {
      const { place } = handover;
      const slate = handover.newSlate();
      await slate.open(place.slate, { mergeOperator: 'concat' });
      await slate.write(rowsOf(0, ROWS / 2, 'theirs '), { awaitDurable: true });
      await slate.flush('memtable');
      await slate.close();

      const db = await open(place.ours, options);
      await db.compact();
      await db.write(toBatch(rowsOf(ROWS / 4, ROWS, 'ours ')));
      await db.flush({ type: 'memtable' });
      for (let i = 100; i < 110; i++) await db.merge(keyOf(i), '+', { awaitDurable: false });
      await db.put(keyOf(200), 'expires', { ttlMs: 1 });
      const result = await db.deleteRange({ gte: keyOf(50), lt: keyOf(550) }, { batchSize: 70 });
      expect(result.deleted).toBe(500);
      await db.put(keyOf(300), 'written again');
      await db.close();

      const left = [...numbers(0, 50), keyOf(300), ...numbers(550, ROWS)];
      const after = handover.newSlate();
      await after.open(place.slate, { mergeOperator: 'concat' });
      expect(keys(await after.scan())).toEqual(left);
      expect(await after.getMany([keyOf(50), keyOf(105), keyOf(200), keyOf(549)].map((k) => Buffer.from(k)))).toEqual(
        Array(4).fill(undefined),
      );
      await after.write(rowsOf(90, 100, 'theirs again '), { awaitDurable: true });
      await after.close();

      const again = await open(place.ours, options);
      expect(keys(await gathered(again.scan()))).toEqual([...numbers(0, 50), ...numbers(90, 100), ...left.slice(50)]);
      expect((await again.clear()).deleted).toBe(left.length + 10);
      await again.compact();
      await again.close();
      const last = handover.newSlate();
      await last.open(place.slate, { mergeOperator: 'concat' });
      expect(await last.scan()).toEqual([]);
      await last.close();
    });
  });
});
