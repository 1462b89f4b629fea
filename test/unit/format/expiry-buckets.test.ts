/** The bytes of a table that expire, in at most 16 buckets: the example, and against a plain count. */
import { expect, it } from 'vitest';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { ExpiryBuckets, MAX_EXPIRY_BUCKETS } from '../../../src/format/expiry-buckets.ts';

function bucketsOf(rows: readonly (readonly [byMs: number, bytes: number])[]) {
  const buckets = new ExpiryBuckets();
  for (const [byMs, bytes] of rows) buckets.add(byMs, bytes);
  return buckets.buckets.map(({ byMs, bytes }) => [byMs, bytes]);
}

it('the example', () => {
  const expected = [
    [6, 20],
    [40, 10],
  ];
  expect(
    bucketsOf([
      [5, 10],
      [6, 10],
      [40, 10],
    ]),
  ).toEqual(expected);
  expect(
    bucketsOf([
      [40, 10],
      [6, 10],
      [5, 10],
    ]),
  ).toEqual(expected);
});

it('nothing that expires makes no bucket', () => expect(bucketsOf([])).toEqual([]));

it('sixteen times in a row have a bucket each, seventeen share', () => {
  const times = (count: number) => Array.from({ length: count }, (_, i) => [100 + i, 1] as const);
  expect(bucketsOf(times(16))).toEqual(times(16));
  expect(bucketsOf(times(17)).map(([, bytes]) => bytes)).toEqual([2, 2, 2, 2, 2, 2, 2, 2, 1]);
});

it.each([
  ['0 and before the epoch', [0, -1, -1_000_000]],
  ['as far apart as times can be', [-(2 ** 63), 0, 2 ** 63]],
  ['beyond what is stored', [7, Number.POSITIVE_INFINITY]],
  ['of a row that has expired long ago, and of one that does not for ages', [1, 253_402_300_799_999]],
])('times of any kind: %s', (_, times) => {
  const found = bucketsOf(times.map((time) => [time, 7]));
  expect(found.map(([byMs]) => byMs)).toEqual([...new Set(found.map(([byMs]) => byMs))].sort((a, b) => a! - b!));
  expect(found.reduce((sum, [, bytes]) => sum + bytes!, 0)).toBe(7 * times.length);
  expect(found.at(-1)![0]).toBe(Math.min(2 ** 63, Math.max(...times)));
});

it('a row without a time is refused', () => expect(() => new ExpiryBuckets().add(Number.NaN, 1)).toThrow(/has a time/));

it('on random rows: in any order the same, no byte lost, none expired too early, and none late by more than the cells are wide', () => {
  for (let seed = 0; seed < 500; seed++) {
    const random = new SeededRandom(seed);
    const span = 2 ** nextInt(random, 40);
    const start = nextInt(random, 1000) * 1_000_000_000;
    const rows = Array.from({ length: 1 + nextInt(random, 200) }, () => {
      return [start + Math.floor((nextInt(random, 1_000_000) / 1_000_000) * span), nextInt(random, 100)] as const;
    });
    const found = bucketsOf(rows);
    expect(found.length).toBeLessThanOrEqual(MAX_EXPIRY_BUCKETS);
    expect(bucketsOf([...rows].reverse())).toEqual(found);
    const times = rows.map(([byMs]) => byMs);
    const width = (2 * (Math.max(...times) - Math.min(...times) + 1)) / (MAX_EXPIRY_BUCKETS - 1) + 1;
    for (const [i, [byMs, bytes]] of found.entries()) {
      const after = found[i - 1]?.[0] ?? Number.NEGATIVE_INFINITY;
      const inside = rows.filter(([time]) => time > after && time <= byMs!);
      expect(bytes).toBe(inside.reduce((sum, [, size]) => sum + size, 0));
      expect(byMs! - Math.min(...inside.map(([time]) => time))).toBeLessThan(width);
    }
    expect(found.at(-1)![0]).toBe(Math.max(...times));
  }
});
