/** The memory and the order of rows in a batch: what is kept of the bytes given, and how many thousand keys are sorted. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WriteBatch } from '../../../src/db/write-batch.ts';
import { FLAG_TOMBSTONE } from '../../../src/format/row-flags.ts';

type Row = [key: string, value: string | undefined];

function rowsOf(batch: WriteBatch): Row[] {
  const rows: Row[] = [];
  batch.forEachRow((keys, keyStart, keyLength, values, valueStart, valueLength, flags) => {
    const key = Buffer.from(keys.slice(keyStart, keyStart + keyLength)).toString('hex');
    const value = Buffer.from(values.slice(valueStart, valueStart + valueLength)).toString('hex');
    rows.push([key, flags & FLAG_TOMBSTONE ? undefined : value]);
  });
  return rows;
}

/** What the rows of a batch are by definition: the last operation of each key, in byte order of the keys. */
function expectedRows(operations: readonly Row[]): Row[] {
  // Hexadecimal digits order like the bytes, and a prefix comes first in both.
  return [...new Map(operations)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function fill(batch: WriteBatch, operations: readonly Row[]): WriteBatch {
  for (const [key, value] of operations) {
    if (value === undefined) batch.delete(Buffer.from(key, 'hex'));
    else batch.put(Buffer.from(key, 'hex'), Buffer.from(value, 'hex'));
  }
  return batch;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
/** Few different bytes, so that prefixes, ties and repetitions abound. */
const key = fc
  .array(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), { minLength: 1, maxLength: 9 })
  .map((b) => hex(Uint8Array.from(b)));
const wideKey = fc.uint8Array({ minLength: 1, maxLength: 12 }).map(hex);
const value = fc.option(fc.uint8Array({ maxLength: 140 }).map(hex), { nil: undefined });

describe('rows of a batch', () => {
  it.each([
    ['keys that repeat and begin alike', key],
    ['keys of all bytes', wideKey],
  ])('with %s come in byte order, the last operation of each key', (_, anyKey) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyKey, value), { maxLength: 80 }), (operations) => {
        expect(rowsOf(fill(new WriteBatch(), operations))).toEqual(expectedRows(operations));
      }),
      { numRuns: 300 },
    );
  });

  it('come in byte order when many thousand keys share what is compared first', () => {
    const operations = Array.from(
      { length: 5000 },
      (_, i): Row => [
        Buffer.from(`key${(i * 7919) % 4000}/${'x'.repeat(i % 3)}`).toString('hex'),
        i % 5 === 0 ? undefined : i.toString(16).padStart(8, '0'),
      ],
    );
    expect(rowsOf(fill(new WriteBatch(), operations))).toEqual(expectedRows(operations));
    const tied = Array.from(
      { length: 300 },
      (_, i): Row => [`0000000000${((i * 37) % 256).toString(16).padStart(4, '0')}`, '01'],
    );
    const withOther: Row[] = [...tied, ['ff', '02'], ['00', '03']];
    expect(rowsOf(fill(new WriteBatch(), withOther))).toEqual(expectedRows(withOther));
  });

  it('are those of the batch, whatever was sorted before and however often', () => {
    const a = fill(new WriteBatch(), [
      ['02', 'aa'],
      ['01', 'bb'],
      ['02', 'cc'],
    ]);
    const many = Array.from(
      { length: 70_000 },
      (_, i): Row => [((i * 48271) % 70_001).toString(16).padStart(8, '0'), '00'],
    );
    const b = fill(new WriteBatch(), many);
    for (let i = 0; i < 2; i++) {
      expect(rowsOf(a)).toEqual([
        ['01', 'bb'],
        ['02', 'cc'],
      ]);
      expect(rowsOf(b)).toEqual(expectedRows(many));
    }
    expect(rowsOf(fill(a.clear(), [['03', 'dd']]))).toEqual([['03', 'dd']]);
  });

  it('keep the bytes given, though many batches share memory of which the unused ends go on', () => {
    const rowsFor = (n: number): Row[] =>
      Array.from({ length: 150 + (n % 3) }, (_, i) => [`${1000 + i}`, (n * 1000 + i).toString(16).padStart(240, '0')]);
    const batches = Array.from({ length: 40 }, (_, n) => {
      const batch = fill(new WriteBatch(), rowsFor(n));
      rowsOf(batch);
      if (n % 2 === 0) batch.offerArena(() => n);
      // After what was given away there is another's memory.
      if (n % 4 === 0) batch.put(Uint8Array.of(0xff, 0xff), new Uint8Array(120));
      return batch;
    });
    batches.forEach((batch, n) => {
      const more: Row[] = n % 4 === 0 ? [['ffff', '00'.repeat(120)]] : [];
      expect(rowsOf(batch)).toEqual(expectedRows([...rowsFor(n), ...more]));
    });
  });

  it('keep the bytes given, though the caller changes them afterwards', () => {
    const batch = new WriteBatch();
    const k = Uint8Array.of(1, 2);
    const v = new Uint8Array(200).fill(7);
    batch.put(k, v);
    k.fill(9);
    v.fill(9);
    expect(rowsOf(batch)).toEqual([['0102', '07'.repeat(200)]]);
  });
});
