/**
 * The hash index of a memtable: open addressing with linear probing from a 32-bit key hash to the key's root row.
 *
 * A slot is a pair (hash, root place + 1), so a miss touches the table only, and growing needs no keys. The table is cut
 * into segments by the top bits of the hash which double one at a time, so the longest stall is that of one segment (0.2 ms
 * at a million keys). Within a segment a key's place follows the next bits of its hash: growing reads and writes memory in
 * order.
 */
import { assertThat } from '../../common/assert.ts';
import { halfSipHash13 } from './memtable-hash.ts';
import type { MemtableLog } from './memtable-log.ts';

const SEGMENT_BITS = 6;
const SEGMENTS = 1 << SEGMENT_BITS;
const SEGMENT_SHIFT = 32 - SEGMENT_BITS;
const FIRST_SLOTS = 8;
const MAX_LOAD = 0.8;
/** Keys whose places are asked for at once: about as many as memory answers together. */
export const EXPECTED_KEYS = 32;

export class MemtableIndex {
  memoryBytes = 0;
  readonly #log: MemtableLog;
  readonly #k0: number;
  readonly #k1: number;
  readonly #hashMask: number;
  readonly #segments: Int32Array[] = [];
  readonly #used = new Int32Array(SEGMENTS);
  /** Keys that are expected: the buffer that holds them, their starts and hashes, and which of them is next. */
  #expectedIn: Uint8Array | undefined = undefined;
  readonly #expectedStarts = new Int32Array(EXPECTED_KEYS);
  readonly #expectedHashes = new Int32Array(EXPECTED_KEYS);
  #expectedCount = 0;
  #nextExpected = 0;
  /** Kept only so that reading ahead is not optimised away. */
  touched = 0;

  /** `hashBits` below 32 keeps only the top bits of each hash: tests force collisions with it. */
  constructor(log: MemtableLog, seed: number, hashBits: number) {
    this.#log = log;
    this.#k0 = seed | 0;
    this.#k1 = Math.imul(seed ^ (seed >>> 16), 0x85ebca6b) ^ 0x5bd1e995;
    this.#hashMask = hashBits >= 32 ? -1 : hashBits <= 0 ? 0 : -1 << (32 - hashBits);
    for (let i = 0; i < SEGMENTS; i++) this.#segments.push(new Int32Array(FIRST_SLOTS * 2));
    this.memoryBytes = SEGMENTS * FIRST_SLOTS * 8 + this.#used.byteLength;
  }

  #hash(buf: Uint8Array, start: number, length: number): number {
    return halfSipHash13(buf, start, length, this.#k0, this.#k1) & this.#hashMask;
  }

  /**
   * Announces up to `EXPECTED_KEYS` keys that `findOrClaim` will be called for next, in this order, and asks memory for their
   * slots. Their bytes must not change until then.
   */
  expect(buf: Uint8Array, starts: Int32Array, lengths: Int32Array, count: number): void {
    const n = Math.min(count, EXPECTED_KEYS);
    assertThat(starts.length >= n && lengths.length >= n, 'each expected key has a start and a length');
    const hashes = this.#expectedHashes;
    for (let i = 0; i < n; i++) {
      this.#expectedStarts[i] = starts[i];
      hashes[i] = this.#hash(buf, starts[i], lengths[i]);
    }
    this.#expectedIn = buf;
    this.#expectedCount = n;
    this.#nextExpected = 0;
    // A loop of its own, so short that the processor has many of these reads under way at once.
    let touched = 0;
    for (let i = 0; i < n; i++) {
      const segment = this.#segments[hashes[i] >>> SEGMENT_SHIFT];
      touched ^= segment[firstSlot(hashes[i], segment.length)];
    }
    this.touched = touched;
  }

  /** The hash of a key to add, of those expected by where it came from: all before it are passed over. */
  #hashOfNext(source: Uint8Array, sourceStart: number, buf: Uint8Array, start: number, length: number): number {
    if (source === this.#expectedIn) {
      while (this.#nextExpected < this.#expectedCount) {
        const at = this.#nextExpected++;
        if (this.#expectedStarts[at] === sourceStart) return this.#expectedHashes[at];
      }
    }
    this.#expectedIn = undefined;
    return this.#hash(buf, start, length);
  }

  /** The root of a key, or -1. Asks memory for the row's value, too. */
  find(buf: Uint8Array, start: number, length: number): number {
    const hash = this.#hash(buf, start, length);
    const segment = this.#segments[hash >>> SEGMENT_SHIFT];
    const end = segment.length;
    let at = firstSlot(hash, end);
    for (;;) {
      const entry = segment[at + 1];
      if (entry === 0) return -1;
      if (segment[at] === hash) {
        this.#log.touch(entry - 1);
        if (this.#log.keyEquals(entry - 1, buf, start, length)) return entry - 1;
      }
      at += 2;
      if (at === end) at = 0;
    }
  }

  /**
   * The root of the key at `start` of `buf`, which was copied from `source` or is there; if it has none, the row at `place` becomes
   * its root and is returned. Whatever throws has changed nothing.
   */
  findOrClaim(
    source: Uint8Array,
    sourceStart: number,
    buf: Uint8Array,
    start: number,
    length: number,
    place: number,
  ): number {
    const hash = this.#hashOfNext(source, sourceStart, buf, start, length);
    const number = hash >>> SEGMENT_SHIFT;
    let segment = this.#segments[number];
    if (this.#used[number] >= (segment.length >> 1) * MAX_LOAD) segment = this.#grow(number);
    const end = segment.length;
    let at = firstSlot(hash, end);
    for (;;) {
      const entry = segment[at + 1];
      if (entry === 0) break;
      if (segment[at] === hash && this.#log.keyEquals(entry - 1, buf, start, length)) return entry - 1;
      at += 2;
      if (at === end) at = 0;
    }
    segment[at] = hash;
    segment[at + 1] = place + 1;
    this.#used[number]++;
    return place;
  }

  #grow(number: number): Int32Array {
    const old = this.#segments[number];
    const segment = new Int32Array(old.length * 2);
    const end = segment.length;
    let moved = 0;
    for (let from = 0; from < old.length; from += 2) {
      const entry = old[from + 1];
      if (entry === 0) continue;
      const hash = old[from];
      let at = firstSlot(hash, end);
      while (segment[at + 1] !== 0) {
        at += 2;
        if (at === end) at = 0;
      }
      segment[at] = hash;
      segment[at + 1] = entry;
      moved++;
    }
    assertThat(moved === this.#used[number], 'a segment that grows keeps each of its keys');
    this.#segments[number] = segment;
    this.memoryBytes += segment.byteLength - old.byteLength;
    return segment;
  }
}

/** Where probing starts in a segment of `words` words, a power of two: by the hash bits below the segment number. */
function firstSlot(hash: number, words: number): number {
  return ((hash << SEGMENT_BITS) >>> Math.clz32(words - 1)) & -2;
}
