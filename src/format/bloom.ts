/**
 * The Bloom filter of tables: enhanced double hashing over one SipHash-1-3 per row.
 *
 * ```
 * u16 BE probes | bits, to the end of the payload       m = 8 * bytes; bit p is bit p mod 8 (lowest first) of byte p div 8
 *
 * probes of a hash   a = low half mod m, d = high half mod m        halves of the hash as unsigned 32-bit numbers
 *                    for i = 0 .. probes - 1:  d = (d + i) mod m;  probe i is a;  a = (a + d) mod m
 * size               bytes = ceil(rows * bits per key / 8)          every version of a key counts as a row
 * probes             trunc(f32(bits per key) * f32(0.69))           10 bits give 6, 16 give 11, 100 give 69
 * ```
 *
 * The modulus is the number of stored bits, not rows times bits per key, and the number of probes is computed in single precision:
 * in double precision 100 bits per key give 68. Both decide whether SlateDB finds its keys.
 *
 * Over the rows "apple", "apply" and "pear" with 10 bits per key; "apple" probes 4, 12, 21, 0, 14 and 0 again:
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 94
 * 00 06                       probes=6
 * 95 7d 30 18                 bits=957d3018
 * ```
 *
 * Hash halves are reduced as unsigned 32-bit numbers and then kept below the modulus by subtraction: `a + d` stays below 2^33, so
 * doubles are exact and no remainder is computed per probe.
 */
import { assertThat } from '../common/assert.ts';
import { sipHash13, sipHigh, sipLow } from './siphash.ts';

/** Filters of more bits are neither made nor used: positions are 32-bit numbers. */
const MAX_FILTER_BITS = 2 ** 32 - 8;

export const PROBES_BYTES = 2;

/** Number of probes for this many bits per key, in single precision: 300 bits give 207, not 206. */
export function probeCount(bitsPerKey: number): number {
  return Math.trunc(Math.fround(bitsPerKey * Math.fround(0.69)));
}

/** A filter that can be asked; it shares memory with the payload it was made from. */
export class BloomFilter {
  readonly bits: Uint8Array;
  readonly probes: number;
  readonly #modulus: number;

  /** `bits` is not empty, so the modulus is not 0, and has at most 2^32 - 8 bits, so every position is a u32. */
  constructor(bits: Uint8Array, probes: number) {
    this.bits = bits;
    this.probes = probes;
    this.#modulus = bits.length * 8;
  }

  /** False if no row has a key of this hash; the halves are those of `sipHash13`, signed or unsigned. */
  mayContain(sipLow: number, sipHigh: number): boolean {
    const { bits, probes } = this;
    const m = this.#modulus;
    let position = (sipLow >>> 0) % (m >>> 0);
    let delta = (sipHigh >>> 0) % (m >>> 0);
    for (let i = 0; i < probes; i++) {
      delta += i;
      if (delta >= m) delta %= m;
      if ((bits[position >>> 3] & (1 << (position & 7))) === 0) return false;
      position += delta;
      if (position >= m) position -= m;
    }
    return true;
  }
}

/** The filter in this payload, or undefined if none can be asked: cut, without bits or without probes. */
export function decodeBloom(payload: Uint8Array): BloomFilter | undefined {
  const bytes = payload.length - PROBES_BYTES;
  if (bytes <= 0 || bytes * 8 > MAX_FILTER_BITS) return undefined;
  const probes = (payload[0] << 8) | payload[1];
  if (probes === 0) return undefined;
  return new BloomFilter(new Uint8Array(payload.buffer, payload.byteOffset + PROBES_BYTES, bytes), probes);
}

/** Collects hashes into a filter; keys may be added in as many slices as the caller likes. */
export class BloomBuilder {
  readonly #payload: Uint8Array;
  readonly #bits: Uint8Array;
  readonly #probes: number;

  /** @param keyCount hashes that will be added: one per row, every version of a key counts */
  constructor(keyCount: number, bitsPerKey: number) {
    const bytes = Math.ceil((keyCount * bitsPerKey) / 8);
    assertThat(bytes * 8 <= MAX_FILTER_BITS, 'a filter has less than 2^32 bits', { keyCount, bitsPerKey });
    this.#probes = probeCount(bitsPerKey);
    this.#payload = new Uint8Array(PROBES_BYTES + bytes);
    this.#payload[0] = this.#probes >>> 8;
    this.#payload[1] = this.#probes;
    this.#bits = this.#payload.subarray(PROBES_BYTES);
  }

  /** Adds the hashes `[from, to)`: halves as `sipHash13` leaves them. About 50 ns each. */
  addRange(lows: Int32Array, highs: Int32Array, from: number, to: number): void {
    const bits = this.#bits;
    const probes = this.#probes;
    const m = bits.length * 8;
    if (m === 0) return;
    for (let k = from; k < to; k++) {
      let position = (lows[k] >>> 0) % (m >>> 0);
      let delta = (highs[k] >>> 0) % (m >>> 0);
      for (let i = 0; i < probes; i++) {
        delta += i;
        if (delta >= m) delta %= m;
        bits[position >>> 3] |= 1 << (position & 7);
        position += delta;
        if (position >= m) position -= m;
      }
    }
  }

  /** The payload: number of probes and bits. */
  finish(): Uint8Array {
    return this.#payload;
  }
}

/**
 * The hashes of a table's rows, collected while its size is not known yet: 8 bytes per row, next to some 100 of the row itself.
 * Keys are not kept.
 */
export class KeyHashes {
  #lows: Int32Array;
  #highs: Int32Array;
  #count = 0;
  #used = 0;

  /** @param capacity most rows that are expected, as growing means copying; 0: not known */
  constructor(capacity = 0) {
    this.#lows = new Int32Array(Math.max(1024, capacity));
    this.#highs = new Int32Array(Math.max(1024, capacity));
  }

  /** Hashes the key `bytes[start, start + length)`. */
  add(bytes: Uint8Array, start: number, length: number): void {
    const n = this.#count++;
    if (n === this.#lows.length) {
      this.#lows = doubled(this.#lows);
      this.#highs = doubled(this.#highs);
    }
    sipHash13(bytes, start, length);
    this.#lows[n] = sipLow;
    this.#highs[n] = sipHigh;
  }

  /** Adds at most so many more hashes to `bloom`; true when there are none left. */
  addTo(bloom: BloomBuilder, most: number): boolean {
    const end = Math.min(this.#count, this.#used + most);
    bloom.addRange(this.#lows, this.#highs, this.#used, end);
    this.#used = end;
    return end === this.#count;
  }
}

function doubled(hashes: Int32Array): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(2 * hashes.length);
  grown.set(hashes);
  return grown;
}
