/** A memtable against a sorted list: whatever is added, found and scanned in between, with many, few and no bits of hash. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes } from '../../../../src/common/bytes.ts';
import { NO_TS } from '../../../../src/format/row-flags.ts';
import { Memtable } from '../../../../src/lsm/memtable/memtable.ts';
import type { MemtableCursor } from '../../../../src/lsm/memtable/memtable-cursor.ts';
import { WORD_ID } from '../../../../src/lsm/memtable/memtable-log.ts';
import { END, ROW } from '../../../../src/lsm/rows/row-cursor.ts';
import {
  inRowOrder,
  type ModelRow,
  rowAt,
  rowUnder,
  seekIndex,
  standsOn,
  visibleRows,
  withoutId,
} from './memtable-model.ts';

/** Keys that collide, nest and tie: few byte values, short, some with a long common start. */
const keyArbitrary = fc
  .tuple(
    fc.constantFrom(0, 0, 0, 7, 8, 9, 40),
    fc.array(fc.constantFrom(0, 1, 0x61, 0x62, 0xfe, 0xff), { minLength: 1, maxLength: 6 }),
  )
  .map(([common, tail]) => new Uint8Array([...new Array(common).fill(0x70), ...tail]));

const timestamp = fc.oneof(fc.constant(NO_TS), fc.integer({ min: 0, max: 2e12 }), fc.constantFrom(-(2 ** 63), 2 ** 63));

type Command =
  | { do: 'batch'; rows: { key: Uint8Array; value: Uint8Array; flags: number; createTs: number; expireTs: number }[] }
  | { do: 'find'; key: Uint8Array; seq: number }
  | { do: 'open'; reverse: boolean; seq: number; key: Uint8Array | undefined }
  | { do: 'seek'; cursor: number; key: Uint8Array | undefined }
  | { do: 'next'; cursor: number; times: number }
  | { do: 'prepare' };

const keyOrNone = fc.option(keyArbitrary, { nil: undefined, freq: 4 });
/** How far below the newest seq. */
const age = fc.constantFrom(0, 0, 0, 1, 2, 5, 20);

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('batch' as const),
      rows: fc.uniqueArray(
        fc.record({
          key: keyArbitrary,
          value: fc.uint8Array({ maxLength: 30 }),
          flags: fc.integer({ min: 0, max: 15 }),
          createTs: timestamp,
          expireTs: timestamp,
        }),
        { minLength: 1, maxLength: 30, selector: (r) => Buffer.from(r.key).toString('hex') },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('find' as const), key: keyArbitrary, seq: age }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('open' as const), reverse: fc.boolean(), seq: age, key: keyOrNone }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('seek' as const), cursor: fc.nat(), key: keyOrNone }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('next' as const), cursor: fc.nat(), times: fc.integer({ min: 1, max: 8 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('prepare' as const) }) },
);

/** What an open cursor has promised: the rows that were visible when it was sought, from where it stands. */
interface OpenCursor {
  cursor: MemtableCursor;
  reverse: boolean;
  maxSeq: number;
}

class Run {
  readonly table: Memtable;
  readonly rows: ModelRow[] = [];
  readonly cursors: OpenCursor[] = [];

  constructor(hashBits: number) {
    this.table = new Memtable({ hashSeed: 99, hashBits });
  }

  execute(c: Command): void {
    if (c.do === 'batch') this.batch(c.rows);
    else if (c.do === 'find') this.find(c.key, this.table.lastSeq - c.seq);
    else if (c.do === 'prepare') this.table.prepareOrderStep();
    else if (c.do === 'open') {
      const maxSeq = this.table.lastSeq - c.seq;
      this.cursors.push({ cursor: this.table.cursor({ reverse: c.reverse, maxSeq }), reverse: c.reverse, maxSeq });
      this.seek(this.cursors.at(-1)!, c.key);
    } else if (this.cursors.length > 0) {
      const cursor = this.cursors[c.cursor % this.cursors.length];
      if (c.do === 'seek') this.seek(cursor, c.key);
      else for (let i = 0; i < c.times; i++) this.next(cursor);
    }
  }

  batch(rows: (Command & { do: 'batch' })['rows']): void {
    const seq = this.table.lastSeq + 1;
    for (const r of rows) {
      const row = { id: this.rows.length, seq, ...r };
      expect(this.table.add(r.key, r.value, seq, r.flags, r.createTs, r.expireTs)).toBe(row.id);
      this.rows.push(row);
    }
  }

  find(key: Uint8Array, maxSeq: number): void {
    const versions = this.rows.filter((r) => r.seq <= maxSeq && compareBytes(r.key, key) === 0).reverse();
    let id = this.table.find(key, maxSeq);
    for (const v of versions) {
      expect(id).toBe(v.id);
      expect(rowAt(this.table, id)).toEqual(v);
      id = this.table.older(id);
    }
    expect(id).toBe(-1);
  }

  // A cursor's limit never exceeds the seqs that exist when it is made, so rows added later are never visible to it and its
  // exact sequence of rows is known.
  seek(open: OpenCursor, key: Uint8Array | undefined): void {
    const visible = visibleRows(this.rows, open.reverse, open.maxSeq);
    open.cursor.seek(key);
    this.expectAt(open, visible, seekIndex(visible, key, open.reverse));
  }

  next(open: OpenCursor): void {
    const visible = visibleRows(this.rows, open.reverse, open.maxSeq);
    const at = open.cursor.status === ROW ? visible.findIndex((r) => standsOn(open.cursor, r)) : visible.length;
    expect(at).toBeGreaterThanOrEqual(0);
    open.cursor.next();
    this.expectAt(open, visible, Math.min(at + 1, visible.length));
  }

  expectAt(open: OpenCursor, visible: ModelRow[], index: number): void {
    expect(open.cursor.status).toBe(index < visible.length ? ROW : END);
    if (index < visible.length) expect(rowUnder(open.cursor)).toEqual(withoutId(visible[index]));
  }

  finish(): void {
    for (const open of this.cursors) while (open.cursor.status === ROW) this.next(open);
    this.table.freeze();
    const flushed = this.table.toFlush;
    while (!flushed.step());
    const ids = Array.from(flushed.places(), (place) => flushed.log.wordAt(place, WORD_ID));
    expect(ids).toEqual(inRowOrder(this.rows).map((r) => r.id));
    expect(this.table.keyCount).toBe(new Set(this.rows.map((r) => Buffer.from(r.key).toString('hex'))).size);
  }
}

describe('a memtable against a sorted list', () => {
  it.each([32, 4, 0])('answers alike whatever is added, found and scanned in between (hash bits %i)', (hashBits) => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 60, size: 'max' }), (commands) => {
        const run = new Run(hashBits);
        for (const c of commands) run.execute(c);
        run.finish();
      }),
      { numRuns: 60 },
    );
  });

  it('shows a cursor with a limit in the future every row that was there, none twice, in order, whatever is added', () => {
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(keyArbitrary, { minLength: 1, maxLength: 80 }),
        fc.array(fc.tuple(keyArbitrary, fc.boolean()), { maxLength: 80 }),
        (reverse, before, additions) => {
          const during = [...additions];
          const table = new Memtable();
          const rows: ModelRow[] = [];
          const add = (key: Uint8Array) => {
            const row = {
              id: rows.length,
              key,
              value: key,
              seq: rows.length,
              flags: 0,
              createTs: NO_TS,
              expireTs: NO_TS,
            };
            table.add(key, key, row.seq, 0, NO_TS, NO_TS);
            rows.push(row);
          };
          before.forEach(add);
          const there = before.length;
          const cursor = table.cursor({ reverse, maxSeq: Number.MAX_SAFE_INTEGER });
          const other = table.cursor({ reverse: !reverse, maxSeq: Number.MAX_SAFE_INTEGER });
          const shown: ModelRow[] = [];
          let status = cursor.seek(undefined);
          while (status === ROW) {
            shown.push(rows.find((r) => standsOn(cursor, r))!);
            const addition = during.shift();
            if (addition !== undefined) add(addition[0]);
            // Another cursor's seek changes the order under this one.
            if (addition?.[1]) other.seek(addition[0]);
            status = cursor.next();
          }
          const inOrder = inRowOrder(shown);
          expect(shown).toEqual(reverse ? inOrder.reverse() : inOrder);
          expect(new Set(shown).size).toBe(shown.length);
          expect(shown.filter((r) => r.id < there).length).toBe(there);
        },
      ),
      { numRuns: 300 },
    );
  });
});
