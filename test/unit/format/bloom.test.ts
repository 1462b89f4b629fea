/** Bloom filters: bytes and probes as SlateDB makes them, and how often a filter is wrong. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { BloomBuilder, decodeBloom, probeCount } from '../../../src/format/bloom.ts';
import { sipHash13, sipHigh, sipLow } from '../../../src/format/siphash.ts';
import { utf8 } from './block-samples.ts';

function hashes(keys: readonly string[]): [Int32Array, Int32Array] {
  const lows = new Int32Array(keys.length);
  const highs = new Int32Array(keys.length);
  keys.forEach((key, i) => {
    sipHash13(utf8(key), 0, key.length);
    lows[i] = sipLow;
    highs[i] = sipHigh;
  });
  return [lows, highs];
}

function build(keys: readonly string[], bitsPerKey = 10): Uint8Array {
  const builder = new BloomBuilder(keys.length, bitsPerKey);
  builder.addRange(...hashes(keys), 0, keys.length);
  return builder.finish();
}

/** The probes as the format describes them, in 64-bit integers. */
function slowProbes(low: number, high: number, probes: number, bits: number): number[] {
  const m = BigInt(bits);
  let a = BigInt(low >>> 0) % m;
  let d = BigInt(high >>> 0) % m;
  return Array.from({ length: probes }, (_, i) => {
    d = (d + BigInt(i)) % m;
    const probe = a;
    a = (a + d) % m;
    return Number(probe);
  });
}

describe('probeCount', () => {
  it.each([
    [1, 0],
    [2, 1],
    [5, 3],
    [7, 4],
    [10, 6],
    [16, 11],
    [20, 13],
    [29, 20],
    [100, 69],
    [200, 138],
    [300, 207],
  ])('for %i bits per key is %i', (bits, probes) => {
    expect(probeCount(bits)).toBe(probes);
  });
});

describe('BloomBuilder', () => {
  it('makes the bytes that SlateDB makes', () => {
    expect(toHex(build(['apple', 'apply', 'pear']))).toBe('0006957d3018');
  });

  it('of no keys is only the number of probes', () => {
    expect(toHex(build([]))).toBe('0006');
  });

  it('sets exactly the bits of the probes, also where delta passes the modulus several times', () => {
    const random = new SeededRandom(4);
    for (const [keyCount, bitsPerKey] of [
      [1, 100],
      [1, 2],
      [1, 7],
      [3, 10],
      [40, 16],
    ]) {
      const lows = Int32Array.from({ length: keyCount }, () => random.nextUint32() | 0);
      const highs = Int32Array.from({ length: keyCount }, () => random.nextUint32() | 0);
      const builder = new BloomBuilder(keyCount, bitsPerKey);
      for (let i = 0; i < keyCount; i++) builder.addRange(lows, highs, i, i + 1);
      const payload = builder.finish();
      const expected = new Uint8Array(payload.length - 2);
      for (let i = 0; i < keyCount; i++) {
        for (const p of slowProbes(lows[i], highs[i], probeCount(bitsPerKey), expected.length * 8)) {
          expected[p >>> 3] |= 1 << (p & 7);
        }
      }
      expect(toHex(payload.subarray(2))).toBe(toHex(expected));
    }
  });

  it('probes with 64-bit arithmetic for a large modulus', () => {
    // The published probes of this hash with 7 probes and 1,000,000 bits.
    const payload = new Uint8Array(2 + 125_000);
    payload[1] = 7;
    for (const p of [928559, 107781, 287004, 466229, 645457, 824689, 3926]) payload[2 + (p >>> 3)] |= 1 << (p & 7);
    expect(decodeBloom(payload)?.mayContain(0xdeadbeef, 0xdf77ef56)).toBe(true);
    expect(slowProbes(0xdeadbeef, 0xdf77ef56, 7, 1_000_000)[6]).toBe(3926);
  });
});

describe('BloomFilter', () => {
  it('contains every key that was added and about 1 % of others', () => {
    const keys = Array.from({ length: 5000 }, (_, i) => `key-${i}`);
    const filter = decodeBloom(build(keys))!;
    const [lows, highs] = hashes(keys);
    for (let i = 0; i < keys.length; i++) expect(filter.mayContain(lows[i], highs[i])).toBe(true);
    const [otherLows, otherHighs] = hashes(keys.map((k) => `not-${k}`));
    const wrong = keys.filter((_, i) => filter.mayContain(otherLows[i], otherHighs[i])).length;
    expect(wrong).toBeGreaterThan(5);
    expect(wrong).toBeLessThan(100);
  });

  it('follows its probes also where there are more of them than bits', () => {
    const random = new SeededRandom(8);
    for (let n = 0; n < 300; n++) {
      const payload = Uint8Array.of(0, 40, random.nextUint32() | 0x55);
      const low = random.nextUint32();
      const high = random.nextUint32();
      const expected = slowProbes(low, high, 40, 8).every((p) => (payload[2] & (1 << p)) !== 0);
      expect(decodeBloom(payload)?.mayContain(low, high)).toBe(expected);
    }
  });

  it('takes hash halves signed or unsigned', () => {
    const filter = decodeBloom(build(['pear']))!;
    sipHash13(utf8('pear'), 0, 4);
    expect(filter.mayContain(sipLow, sipHigh)).toBe(true);
    expect(filter.mayContain(sipLow >>> 0, sipHigh >>> 0)).toBe(true);
  });

  it('cannot be made from a payload without bits or without probes', () => {
    expect(decodeBloom(fromHex(''))).toBeUndefined();
    expect(decodeBloom(fromHex('00'))).toBeUndefined();
    expect(decodeBloom(fromHex('0006'))).toBeUndefined();
    expect(decodeBloom(fromHex('0000ff'))).toBeUndefined();
  });
});
