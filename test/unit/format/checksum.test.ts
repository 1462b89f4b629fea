/** CRC-32 by the runtime and by the package, xxHash32 against a plain implementation. */
import { describe, expect, it } from 'vitest';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { crc32, crc32Portable, xxHash32 } from '../../../src/format/checksum.ts';
import { utf8 } from './block-samples.ts';

describe('crc32', () => {
  it('gives the standard check value, unsigned', () => {
    expect(crc32(utf8('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
  });

  it('covers only the given range, also of a view into a larger buffer', () => {
    const bytes = utf8('xx123456789yy');
    expect(crc32(bytes, 2, 11)).toBe(0xcbf43926);
    expect(crc32(bytes.subarray(1), 1, 10)).toBe(0xcbf43926);
    expect(crc32(bytes, 4, 4)).toBe(0);
    expect(crc32(bytes.subarray(2), 0, 9)).toBe(0xcbf43926);
  });

  it('is the same by the package as by the runtime', () => {
    const random = new SeededRandom(1);
    for (let n = 0; n < 300; n++) {
      const bytes = new Uint8Array(n);
      random.fill(bytes);
      expect(crc32Portable(bytes)).toBe(crc32(bytes));
    }
  });
});

/** The algorithm as its specification writes it, in 64-bit integers. */
function slowXxHash32(bytes: Uint8Array, seed: number): number {
  const mask = 0xffffffffn;
  const [p1, p2, p3, p4, p5] = [2654435761n, 2246822519n, 3266489917n, 668265263n, 374761393n];
  const rotate = (x: bigint, n: bigint) => ((x << n) | (x >> (32n - n))) & mask;
  const word = (at: number) => {
    let w = 0n;
    for (let i = 3; i >= 0; i--) w = (w << 8n) | BigInt(bytes[at + i]);
    return w;
  };
  const s = BigInt(seed);
  let at = 0;
  let hash = (s + p5) & mask;
  if (bytes.length >= 16) {
    const lanes = [(s + p1 + p2) & mask, (s + p2) & mask, s & mask, (s - p1) & mask];
    for (; at + 16 <= bytes.length; at += 16) {
      for (let i = 0; i < 4; i++) lanes[i] = (rotate((lanes[i] + word(at + 4 * i) * p2) & mask, 13n) * p1) & mask;
    }
    hash = (rotate(lanes[0], 1n) + rotate(lanes[1], 7n) + rotate(lanes[2], 12n) + rotate(lanes[3], 18n)) & mask;
  }
  hash = (hash + BigInt(bytes.length)) & mask;
  for (; at + 4 <= bytes.length; at += 4) hash = (rotate((hash + word(at) * p3) & mask, 17n) * p4) & mask;
  for (; at < bytes.length; at++) hash = (rotate((hash + BigInt(bytes[at]) * p5) & mask, 11n) * p1) & mask;
  hash = ((hash ^ (hash >> 15n)) * p2) & mask;
  hash = ((hash ^ (hash >> 13n)) * p3) & mask;
  return Number(hash ^ (hash >> 16n));
}

describe('xxHash32', () => {
  it.each([
    ['', 0, 0x02cc5d05],
    ['123456789', 0, 0x937bad67],
    ['123456789', 1, 0xf261918c],
    ['abc'.repeat(20), 0, 0x8103b399],
    ['appl', 0, 0x2e9f1f9a],
  ])('of %j with seed %i is the published value', (text, seed, expected) => {
    const bytes = utf8(`..${text}..`);
    expect(xxHash32(bytes, 2, bytes.length - 2, seed)).toBe(expected);
  });

  it('agrees with the specification for every length, place and seed', () => {
    const random = new SeededRandom(2);
    const bytes = new Uint8Array(400);
    random.fill(bytes);
    for (let length = 0; length < 150; length++) {
      const start = nextInt(random, 200);
      const seed = random.nextUint32();
      expect(xxHash32(bytes.subarray(1), start, start + length, seed)).toBe(
        slowXxHash32(bytes.slice(1 + start, 1 + start + length), seed),
      );
    }
  });
});
