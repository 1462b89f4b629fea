/** A copy of a memtable's rows: the same rows in the same order, in memory of its own that can go to another thread. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finish } from '../../../../src/common/async.ts';
import { InternalError } from '../../../../src/common/errors.ts';
import type { FlushRows } from '../../../../src/lsm/memtable/flush-rows.ts';
import { copyLog, logCopyBytes, memoryOfCopy, rowsOfCopy } from '../../../../src/lsm/memtable/log-copy.ts';
import { Memtable } from '../../../../src/lsm/memtable/memtable.ts';
import { MemtableLog } from '../../../../src/lsm/memtable/memtable-log.ts';
import { frozenMemtable, memtableRowsArb } from '../../../support/random-memtables.ts';

/** In the order of a flush. */
function allRows(rows: FlushRows): unknown[] {
  while (!rows.step());
  const found: unknown[] = [];
  const sink = {
    add(keys: Uint8Array, keyAt: number, keyLength: number, values: Uint8Array, at: number, ...rest: number[]) {
      const [valueLength, ...others] = rest;
      const hex = (bytes: Uint8Array, start: number, length: number) =>
        Buffer.from(bytes.slice(start, start + length)).toString('hex');
      found.push([hex(keys, keyAt, keyLength), hex(values, at, valueLength!), ...others]);
    },
  };
  for (const place of rows.places()) rows.log.addTo(sink, place);
  return found;
}

describe('a copy of the rows of a memtable', () => {
  it('has the same rows in the same order, also once it has gone to another thread, and leaves the memtable readable', () => {
    fc.assert(
      fc.property(memtableRowsArb, fc.nat(200), (rows, adopted) => {
        const table = frozenMemtable(rows, adopted);
        const copy = finish(copyLog(table.toFlush));
        const gone = structuredClone(copy, { transfer: memoryOfCopy(copy) });
        expect([...copy.chunks, ...copy.places].every(({ byteLength }) => byteLength === 0)).toBe(true);
        const there = rowsOfCopy(gone);
        const { dataBytes, firstSeq, lastSeq, rowCount } = table;
        expect(there).toMatchObject({ dataBytes, firstSeq, lastSeq, rowCount });
        expect(allRows(there)).toEqual(allRows(table.toFlush));
      }),
      { numRuns: 60 },
    );
  });

  it('has as many bytes as it was said to have, and is made in steps of at most 128 KiB', () => {
    const table = new Memtable();
    const key = (i: number) => new TextEncoder().encode(`key-${i}`);
    for (let i = 0; i < 20_000; i++) table.add(key(i), new Uint8Array(60), i + 1, 0, 0, 0);
    // A row in a chunk of its own.
    table.add(key(20_000), new Uint8Array(3 << 20).fill(7), 20_001, 0, 0, 0);
    table.freeze();
    const expected = logCopyBytes(table.toFlush);
    const steps = copyLog(table.toFlush);
    let count = 0;
    let next = steps.next();
    for (; next.done !== true; next = steps.next()) count++;
    const bytes = memoryOfCopy(next.value).reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(bytes).toBe(expected);
    expect(expected).toBeGreaterThan(5 << 20);
    expect(count).toBeGreaterThanOrEqual(expected / (128 << 10));
  });

  it('is refused if a row has no place', () => {
    expect(() => MemtableLog.of([], [new Int32Array(3)], 4, 4)).toThrow(InternalError);
    expect(() => MemtableLog.of([], [new Int32Array(3)], 3, 4)).toThrow(InternalError);
  });
});
