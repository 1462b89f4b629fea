/**
 * How many bytes of a table must have expired by when, in at most 16 numbers, counted while its rows come in the order of their keys.
 *
 * ```
 * width    a power of two, in ms: the smallest with which all times are in 16 neighbouring cells [i x width, (i + 1) x width)
 * bucket   the bytes of the rows in one cell, and the latest of their times: by then all of them have expired
 * record   u8 n <= 16 | n x (i64 latest time, ms | u64 bytes)        record 9 of the seal of a table; big-endian, times ascend
 * ```
 *
 * Times 5, 6 and 40 with 10 bytes each: the width is 4, the cells are 1, 1 and 10, the buckets 20 bytes by 6 and 10 bytes by 40.
 *
 * The expiry record of a table with rows of 1,200 bytes that have expired by one time, and of 64 more by another an hour later:
 *
 * ```example
 * 02                                               buckets=2
 * 00 00 01 a1 f8 60 3b 5a                          by_ms=1795168418650
 * 00 00 00 00 00 00 04 b0                          bytes=1200
 * 00 00 01 a1 f8 97 29 da                          by_ms=1795172018650
 * 00 00 00 00 00 00 00 40                          bytes=64
 * ```
 *
 * 1. Width and cells follow from the times alone, not from their order.
 * 2. A bucket never says that rows have expired that have not.
 */
import { assertThat } from '../common/assert.ts';
import type { SealReader, SealWriter } from './seal-bytes.ts';

export const MAX_EXPIRY_BUCKETS = 16;

/** Rows with so many bytes of keys and values expire at or before a time, and after that of the bucket before. */
export interface ExpiryBucket {
  byMs: number;
  bytes: number;
}

/**
 * Record 9, in tables: how many bytes of keys and values, as the stats block counts them, must have expired by when. None if no row
 * expires; a table without this record says nothing of it.
 */
export interface ExpiryRecord {
  /** At most 16, in the order of their times. */
  buckets: readonly ExpiryBucket[];
}

export class ExpiryBuckets {
  #width = 1;
  /** The cell of the first bucket. */
  #first = 0;
  /** How many cells there are from the first that has rows to the last. */
  #count = 0;
  readonly #bytes = new Float64Array(MAX_EXPIRY_BUCKETS);
  readonly #latestMs = new Float64Array(MAX_EXPIRY_BUCKETS);

  /** A row that expires at `expireTs`, ms since the epoch; clipped to 64 bits, as it is stored. */
  add(expireTs: number, bytes: number): void {
    let i = Math.floor(expireTs / this.#width) - this.#first;
    if (!(i >= 0 && i < this.#count)) {
      expireTs = Math.min(Math.max(expireTs, -(2 ** 63)), 2 ** 63);
      i = this.#include(expireTs);
    }
    this.#bytes[i] += bytes;
    if (expireTs > this.#latestMs[i]) this.#latestMs[i] = expireTs;
  }

  /** Makes cells wider until those with rows and that of `expireTs` are neighbours; gives the place of the latter. */
  #include(expireTs: number): number {
    assertThat(Number.isFinite(expireTs), 'a row that expires has a time', { expireTs });
    if (this.#count === 0) {
      this.#first = Math.floor(expireTs / this.#width);
      this.#count = 1;
      this.#latestMs.fill(Number.NEGATIVE_INFINITY);
      return 0;
    }
    for (;;) {
      const cell = Math.floor(expireTs / this.#width);
      const first = Math.min(cell, this.#first);
      const last = Math.max(cell, this.#first + this.#count - 1);
      if (last - first < MAX_EXPIRY_BUCKETS) {
        this.#moveTo(first, last - first + 1, (i) => i);
        return cell - first;
      }
      this.#width *= 2;
      const half = Math.floor(this.#first / 2);
      this.#moveTo(half, Math.floor((this.#first + this.#count - 1) / 2) - half + 1, (i) => Math.floor(i / 2));
    }
  }

  /** The rows of each cell into the one that `cellOf` says, of `count` from `first` on. */
  #moveTo(first: number, count: number, cellOf: (cell: number) => number): void {
    const bytes = this.#bytes.slice(0, this.#count);
    const latestMs = this.#latestMs.slice(0, this.#count);
    const before = this.#first;
    this.#bytes.fill(0);
    this.#latestMs.fill(Number.NEGATIVE_INFINITY);
    for (let i = 0; i < bytes.length; i++) {
      const to = cellOf(before + i) - first;
      this.#bytes[to] += bytes[i];
      this.#latestMs[to] = Math.max(this.#latestMs[to], latestMs[i]);
    }
    this.#first = first;
    this.#count = count;
  }

  /** Those with rows, ascending. */
  get buckets(): ExpiryBucket[] {
    const found: ExpiryBucket[] = [];
    for (let i = 0; i < this.#count; i++) {
      const byMs = this.#latestMs[i];
      if (byMs !== Number.NEGATIVE_INFINITY) found.push({ byMs, bytes: this.#bytes[i] });
    }
    return found;
  }
}

// ---- the record

/** 1 byte and 16 for each bucket. */
export function writeExpiry(w: SealWriter, { buckets }: ExpiryRecord): void {
  assertThat(buckets.length <= MAX_EXPIRY_BUCKETS, 'an expiry record has at most 16 buckets', {
    count: buckets.length,
  });
  w.u8(buckets.length);
  for (const { byMs, bytes } of buckets) {
    w.i64(byMs);
    w.u64(bytes);
  }
}

export function readExpiry(r: SealReader): ExpiryRecord {
  const count = r.u8();
  if (count > MAX_EXPIRY_BUCKETS) throw r.bad('The expiry record has too many buckets');
  const buckets: ExpiryBucket[] = [];
  for (let i = 0; i < count; i++) {
    const bucket = { byMs: r.i64(), bytes: r.u64() };
    if (i > 0 && bucket.byMs <= buckets[i - 1].byMs) throw r.bad('The times of the expiry record do not ascend');
    buckets.push(bucket);
  }
  return { buckets };
}
