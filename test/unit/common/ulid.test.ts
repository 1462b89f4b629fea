/** ULIDs: order by time, and names that two processes never share. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../src/common/random.ts';
import { isUlid, makeUlid, type Ulid, ulidFromBytes, ulidToBytes } from '../../../src/common/ulid.ts';

const NOW_MS = 1_750_000_000_000;
const timeOf = (id: Ulid) => id.slice(0, 10);

describe('a ULID after another one', () => {
  const before = makeUlid(NOW_MS, new SeededRandom(1));

  it('is above it also when the clock has gone back, at the same millisecond', () => {
    for (const clockMs of [NOW_MS, NOW_MS - 1, NOW_MS - 3_600_000]) {
      let after = before;
      const random = new SeededRandom(2);
      for (let i = 0; i < 1000; i++) {
        const next = makeUlid(clockMs, random, after);
        expect(isUlid(next) && next > after).toBe(true);
        after = next;
      }
      expect(timeOf(after)).toBe(timeOf(before));
    }
  });

  it('is not the one that another process draws after the same', () => {
    const drawn = new Set(Array.from({ length: 1000 }, (_, i) => makeUlid(NOW_MS - 1, new SeededRandom(i), before)));
    expect(drawn.size).toBe(1000);
  });

  it('keeps its value as bytes', () => {
    expect(ulidFromBytes(ulidToBytes(before))).toBe(before);
  });
});
