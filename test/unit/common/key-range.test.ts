/** Ranges of keys: an open upper end is a kind of its own, and how it is stored where only keys can be. */
import { describe, expect, it } from 'vitest';
import {
  AscendingRanges,
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

describe('ascending ranges', () => {
  const key = (text: string) => new TextEncoder().encode(text);

  it.each([
    ['', 'a:- b:-'],
    ['b-c', 'a:- b:+ bb:+ c:+ c1:- d:-'],
    ['b-c e-e', 'c:+ c1:- e:+ e1:-'],
    ['b-c e-', 'a:- e:+ zzz:+'],
    ['b-c e-f', 'g:-'],
  ])('%s have %s', (ranges, asked) => {
    const found = new AscendingRanges(
      ranges
        .split(' ')
        .filter(Boolean)
        .map((range) => {
          const [gte, lte] = range.split('-');
          return { gte: key(gte), lte: lte === '' ? undefined : key(lte) };
        }),
    );
    const answers = asked.split(' ').map((word) => {
      const [name] = word.split(':');
      // In a larger buffer, as a cursor has it.
      return `${name}:${found.include(key(`${name}zz`), name.length) ? '+' : '-'}`;
    });
    expect(answers.join(' ')).toBe(asked);
  });
});
