import { describe, expect, it } from 'vitest';
import {
  endsBelow,
  fromStoredRange,
  inRange,
  type KeyRange,
  lastKeyOf,
  MAX_KEY_BYTES,
  sameRange,
  toStoredRange,
} from '../../../src/common/key-range.ts';

const ff = (length: number) => new Uint8Array(length).fill(0xff);
const LOW = Uint8Array.of(1);
const OPEN: KeyRange = { gte: LOW, lte: undefined };

describe('a range without an upper end', () => {
  it.each([1, 32, 33, 40, MAX_KEY_BYTES])('holds a key of %i bytes of 0xff and does not end below it', (length) => {
    expect([inRange(ff(length), OPEN), endsBelow(OPEN, ff(length))]).toEqual([true, false]);
  });

  it('ends where keys end, and begins where it says', () => {
    expect(endsBelow(OPEN, ff(MAX_KEY_BYTES + 1))).toBe(true);
    expect(lastKeyOf(OPEN)).toHaveLength(MAX_KEY_BYTES);
    expect(inRange(Uint8Array.of(0, 9), OPEN)).toBe(false);
  });

  it('is no range that ends with a long key', () => {
    const long = { gte: LOW, lte: ff(40) };
    expect([sameRange(OPEN, long), sameRange(OPEN, { ...OPEN }), sameRange(long, { ...long })]).toEqual([
      false,
      true,
      true,
    ]);
  });
});

describe('the stored form of a range', () => {
  it('has a key at every end, and comes back as it was', () => {
    expect(toStoredRange(OPEN)).toEqual({ gte: LOW, lte: ff(32) });
    for (const range of [OPEN, { gte: LOW, lte: ff(31) }, { gte: LOW, lte: ff(33) }, { gte: LOW, lte: ff(40) }]) {
      expect(fromStoredRange(toStoredRange(range))).toEqual(range);
    }
  });

  it('that ends with the key that stands for an open end is taken for open: never for less than it was', () => {
    expect(fromStoredRange(toStoredRange({ gte: LOW, lte: ff(32) }))).toEqual(OPEN);
  });
});
