/** A block made of single rows: what reading it gives, also where rows are beyond the reach of a 16-bit offset. */
import { describe, expect, it } from 'vitest';
import { restartOffset } from '../../../src/format/block.ts';
import { BlockCursor } from '../../../src/format/block-cursor.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE } from '../../../src/format/row-flags.ts';
import { blockOfRows } from '../../../src/format/rows-block.ts';
import { type SampleRow, sampleRow, utf8 } from './block-samples.ts';

function readBack(rows: readonly SampleRow[]): SampleRow[] {
  const cursor = new BlockCursor();
  const block = blockOfRows(rows);
  cursor.attach(block);
  const found: SampleRow[] = [];
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { seq, flags, createTs, expireTs } = cursor;
    const key = cursor.key.slice(0, cursor.keyLength);
    const value = block.bytes.slice(cursor.valueStart, cursor.valueStart + cursor.valueLength);
    found.push({ key, value, seq, flags, createTs, expireTs });
  }
  return found;
}

describe('a block of rows', () => {
  it('gives every row as it was, whatever its flags', () => {
    const rows = [
      sampleRow('a', 9),
      sampleRow('a', 8, { flags: FLAG_CREATE, createTs: 5 }),
      sampleRow('ab', 2 ** 53 - 1, { flags: FLAG_CREATE | FLAG_EXPIRE, createTs: -1, expireTs: 2 ** 40 }),
      sampleRow('ac', 1, { flags: FLAG_TOMBSTONE, value: utf8('') }),
      sampleRow(new Uint8Array(65_535).fill(200), 3, { flags: FLAG_EXPIRE, expireTs: 7, value: utf8('') }),
    ];
    expect(readBack(rows)).toEqual(rows);
  });

  it('lists every 16th row, and none that begins above 65,535', () => {
    const rows = Array.from({ length: 64 }, (_, i) =>
      sampleRow(`key-${String(i).padStart(3, '0')}`, 1, { value: new Uint8Array(2000).fill(i) }),
    );
    const block = blockOfRows(rows);
    expect(Array.from({ length: block.restartCount }, (_, i) => restartOffset(block, i))).toEqual([0, 32_320, 64_640]);
    expect(readBack(rows)).toEqual(rows);
  });

  it('finds rows beyond the last listed one', () => {
    const rows = Array.from({ length: 64 }, (_, i) =>
      sampleRow(`key-${String(i).padStart(3, '0')}`, 1, { value: new Uint8Array(2000) }),
    );
    const cursor = new BlockCursor();
    cursor.attach(blockOfRows(rows));
    expect(cursor.seek(utf8('key-063'))).toBe(true);
    expect(cursor.prev()).toBe(true);
    expect(Buffer.from(cursor.key.subarray(0, cursor.keyLength)).toString()).toBe('key-062');
  });
});
