/** The order of the inputs of a merge: keys of all lengths around the eight bytes that are compared as numbers, versions, equal rows. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareBytes, concatBytes } from '../../../src/common/bytes.ts';
import { InternalError } from '../../../src/common/errors.ts';
import { MergeHeap } from '../../../src/compaction/merge-heap.ts';
import { StretchCursor } from '../../../src/compaction/stretch-cursor.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { ROW } from '../../../src/lsm/rows/row-cursor.ts';
import { stretchesOf, tableOf } from '../../support/merge-inputs.ts';
import { rowOfModel } from '../../support/version-model.ts';

const utf8 = (s: string) => new TextEncoder().encode(s);

interface Row {
  key: Uint8Array;
  seq: number;
}

/** An input with these rows, before its first one. */
function cursorOver(input: number, rows: readonly Row[], prefix: Uint8Array): StretchCursor {
  const model = rowOfModel({ key: '', seq: 0, kind: 'put', value: 'v', expires: undefined, created: undefined });
  const table = tableOf(rows.map(({ key, seq }) => ({ ...model, key, seq })));
  const cursor = new StretchCursor(input, [{ codec: NO_CODEC, formatVersion: 2, range: undefined }], prefix);
  for (const stretch of stretchesOf(table, 0, () => 2)) cursor.feed(stretch);
  cursor.end();
  return cursor;
}

function merged(inputs: readonly (readonly Row[])[], prefix: Uint8Array): string[] {
  const heap = new MergeHeap(prefix.length);
  inputs.forEach((rows, i) => {
    const cursor = cursorOver(i, rows, prefix);
    if (rows.length > 0 && cursor.next() === ROW) heap.add(cursor);
  });
  const out: string[] = [];
  for (let top = heap.top; top !== undefined; top = heap.top) {
    out.push(`${Buffer.from(top.key.subarray(0, top.keyLength)).toString('hex')}@${top.seq} of ${top.input}`);
    if (top.next() === ROW) heap.settle();
    else heap.remove();
  }
  expect(heap.size).toBe(0);
  return out;
}

const byte = fc.constantFrom(0, 1, 0x7f, 0x80, 0xff);
/** Mostly alike, so that what decides is after the first eight bytes as well. */
const alike = fc.constantFrom(...new Array<number>(12).fill(0), 1, 0x80);
const rowArb = fc.record({
  key: fc.array(alike, { minLength: 1, maxLength: 11 }).map((bytes) => Uint8Array.from(bytes)),
  seq: fc.integer({ min: 1, max: 4 }),
});

describe('the heap', () => {
  it('has the least row on top: by key, the newest version first, of equal ones that of the newer input', () => {
    const a = (key: string, seq: number): Row => ({ key: utf8(key), seq });
    expect(
      merged([[a('b', 2), a('c', 1)], [a('a', 9), a('b', 5), a('b', 2)], [], [a('b', 2), a('bb', 1)]], utf8('')).map(
        (row) => row.replace(/^(\w+)/, (hex) => Buffer.from(hex, 'hex').toString()),
      ),
    ).toEqual(['a@9 of 1', 'b@5 of 1', 'b@2 of 0', 'b@2 of 1', 'b@2 of 3', 'bb@1 of 3', 'c@1 of 0']);
  });

  it('has that order whatever the bytes are and however many all begin with', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(rowArb, { maxLength: 12 }), { minLength: 1, maxLength: 9 }),
        byte,
        fc.integer({ min: 0, max: 9 }),
        (all, fill, length) => {
          const prefix = new Uint8Array(length).fill(fill);
          const order = (x: Row, y: Row) => compareBytes(x.key, y.key) || y.seq - x.seq;
          const inputs = all.map((rows) =>
            rows
              .map(({ key, seq }) => ({ key: concatBytes(prefix, key), seq }))
              .sort(order)
              .filter((row, i, sorted) => i === 0 || order(sorted[i - 1], row) !== 0),
          );
          const expected = inputs
            .flatMap((rows, input) => rows.map((row) => ({ ...row, input })))
            .sort((x, y) => order(x, y) || x.input - y.input)
            .map(({ key, seq, input }) => `${Buffer.from(key).toString('hex')}@${seq} of ${input}`);
          expect(merged(inputs, prefix)).toEqual(expected);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('that is empty has nothing to take away', () => {
    expect(() => new MergeHeap(0).remove()).toThrow(InternalError);
  });
});
