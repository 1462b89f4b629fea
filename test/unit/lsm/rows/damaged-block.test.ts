/**
 * What is left of a damaged block, as data: the block has four rows `a b c d`, of which those before the arrow are proven; after it
 * the parts: a letter for each proven row, in brackets the keys of a gap and how many rows it lost.
 */
import { describe, expect, it } from 'vitest';
import { CorruptionError } from '../../../../src/common/errors.ts';
import { makeFinding } from '../../../../src/common/finding.ts';
import { BlockCursor } from '../../../../src/format/block-cursor.ts';
import { NO_TS } from '../../../../src/format/row-flags.ts';
import { concerns, Gap, gapsAt, partsOf } from '../../../../src/lsm/rows/damaged-block.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? '' : new TextDecoder().decode(bytes));
const finding = makeFinding({
  code: 'BAD_CHECKSUM',
  object: { role: 'table', path: 't', id: 't', sealed: true },
  at: { unit: 'block', offset: 0, length: 9 },
});
const ERROR = new CorruptionError('damaged', [finding]);
const whole = (lte: Uint8Array | undefined = utf8('d')) => new Gap({ gte: utf8('a'), lte }, { min: 3, max: 9 }, ERROR);
const row = (ordinal: number, key = 'abcd'[ordinal]) => ({
  ordinal,
  key: utf8(key),
  value: utf8(key),
  seq: 3,
  flags: 0,
  createTs: NO_TS,
  expireTs: NO_TS,
});

function partsText(gap: Gap, ordinals: number[]): string {
  const { parts } = partsOf(
    ordinals.map((ordinal) => row(ordinal)),
    4,
    gap,
  );
  return parts
    .map((part) => {
      if (part instanceof Gap) {
        const rows = part.error.findings[0].affects?.rows;
        return `[${text(part.keys.gte)}-${text(part.keys.lte)}${rows === undefined ? '' : ` ${rows}`}]`;
      }
      const cursor = new BlockCursor();
      cursor.attach(part);
      let keys = '';
      for (let ok = cursor.first(); ok; ok = cursor.next()) keys += text(cursor.key.slice(0, cursor.keyLength));
      return keys;
    })
    .join(' ');
}

describe('a damaged block', () => {
  it.each([
    ['', '[a-d]'],
    ['abcd', 'abcd'],
    ['bcd', '[a-b 1] bcd'],
    ['abc', 'abc [c-d 1]'],
    ['ad', 'a [a-d 2] d'],
    ['b', '[a-b 1] b [b-d 2]'],
    ['ac', 'a [a-c 1] c [c-d 1]'],
  ])('%s => %s', (proven, parts) => {
    expect(
      partsText(
        whole(),
        [...proven].map((key) => 'abcd'.indexOf(key)),
      ),
    ).toBe(parts);
  });

  it('of a table whose last key nobody knows has no last key either', () => {
    const gap = new Gap({ gte: utf8('a'), lte: undefined }, { min: 3, max: 9 }, ERROR);
    expect(partsText(gap, [0])).toBe('a [a- 3]');
  });

  it('has no proven row that the block did not have, and none twice', () => {
    expect(() => partsOf([row(4, 'e')], 4, whole())).toThrow(/a proven row is one of the block/);
    expect(() => partsOf([row(0), row(0)], 4, whole())).toThrow(/no row is proven twice/);
  });
});

describe('a gap', () => {
  it('concerns the keys within its edges, for reads that could see one of its rows', () => {
    const gap = whole();
    expect(['a', 'd', 'e'].map((key) => concerns(gap, utf8(key), 5))).toEqual([true, true, false]);
    expect([2, 3].map((maxSeq) => gapsAt([gap], utf8('b'), maxSeq).length)).toEqual([0, 1]);
  });

  it('is the same as one that was read again, and not the same elsewhere', () => {
    expect([whole().equals(whole()), whole().equals(whole(utf8('c')))]).toEqual([true, false]);
  });

  it('says what is wrong', () => {
    expect(() => new Gap({ gte: utf8('a'), lte: undefined }, { min: 0, max: 1 }, new CorruptionError('x', []))).toThrow(
      /a gap says what is wrong/,
    );
  });
});
