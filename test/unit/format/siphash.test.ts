/** SipHash-1-3 against a 64-bit implementation and the vectors of SlateDB. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../src/common/random.ts';
import { sipHash13, sipHigh, sipLow } from '../../../src/format/siphash.ts';
import { utf8 } from './block-samples.ts';

function hash(bytes: Uint8Array, start = 0, length = bytes.length): bigint {
  sipHash13(bytes, start, length);
  return (BigInt(sipHigh >>> 0) << 32n) | BigInt(sipLow >>> 0);
}

/** SipHash-1-3 under the zero key in 64-bit integers. */
function slowHash(bytes: Uint8Array): bigint {
  const mask = (1n << 64n) - 1n;
  const rotate = (x: bigint, n: bigint) => ((x << n) | (x >> (64n - n))) & mask;
  let [v0, v1, v2, v3] = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];
  const round = () => {
    v0 = (v0 + v1) & mask;
    v1 = rotate(v1, 13n) ^ v0;
    v0 = rotate(v0, 32n);
    v2 = (v2 + v3) & mask;
    v3 = rotate(v3, 16n) ^ v2;
    v0 = (v0 + v3) & mask;
    v3 = rotate(v3, 21n) ^ v0;
    v2 = (v2 + v1) & mask;
    v1 = rotate(v1, 17n) ^ v2;
    v2 = rotate(v2, 32n);
  };
  const words = Math.floor(bytes.length / 8) + 1;
  for (let w = 0; w < words; w++) {
    let word = w === words - 1 ? BigInt(bytes.length & 255) << 56n : 0n;
    for (let i = 0; i < 8 && 8 * w + i < bytes.length; i++) word |= BigInt(bytes[8 * w + i]) << BigInt(8 * i);
    v3 ^= word;
    round();
    v0 ^= word;
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return v0 ^ v1 ^ v2 ^ v3;
}

describe('sipHash13', () => {
  it.each([
    ['', 0xd1fba762150c532cn],
    ['a', 0x407448d2b89b1813n],
    ['apple', 0xe4305d08716d0e44n],
    ['apply', 0x5635d7ef4b8fee1cn],
    ['pear', 0x3410c01eb41f8faan],
    ['key00000', 0xfafd4d5e9bebc739n],
    ['0123456789abcdef', 0x1d42b30f7e060c24n],
    ['x'.repeat(100), 0x12de6d6e12e5750cn],
  ])('of %j is the value that SlateDB computes', (text, expected) => {
    expect(hash(utf8(text))).toBe(expected);
  });

  it('agrees with a 64-bit implementation for every length and place', () => {
    const bytes = new Uint8Array(700);
    new SeededRandom(3).fill(bytes);
    for (let length = 0; length < 300; length++) {
      expect(hash(bytes, length, length)).toBe(slowHash(bytes.slice(length, 2 * length)));
    }
  });

  it('leaves int32 halves, which never allocate', () => {
    sipHash13(utf8('a'), 0, 1);
    expect([sipLow, sipHigh]).toEqual([sipLow | 0, sipHigh | 0]);
  });
});
