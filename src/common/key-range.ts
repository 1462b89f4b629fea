/**
 * Ranges of keys with both ends included, as damage and losses name them.
 *
 * 1. An unknown upper end is open: `lte` is undefined, and the range holds every key from `gte` on. No key stands for it:
 *    keys have up to 65,535 bytes, so above any shorter one there is another.
 * 2. In order, an open end stands where the greatest key that can exist would: `lastKeyOf`.
 * 3. What is stored (the damage ledger, plans and reports of repairs) has a key at every upper end, and 32 bytes of 0xff mean that it is
 *    open, as they did when no other form existed: so older programs read what this one writes, and this one what they wrote. A range
 *    that really ends with that very key is read as open: more than what is lost is then named, never less.
 */
import { compareBytes, compareSlice, equalBytes } from './bytes.ts';

/** What two bytes of a stored row can say. */
export const MAX_KEY_BYTES = 65_535;

/** Keys from `gte` to `lte`, both included; `lte` undefined: to the last key there is. */
export interface KeyRange {
  /** The first key. */
  gte: Uint8Array;
  /** The last key; undefined: every key from `gte` on. */
  lte: Uint8Array | undefined;
}

/** No key is greater. */
const GREATEST_KEY = new Uint8Array(MAX_KEY_BYTES).fill(0xff);
const STORED_OPEN_END = new Uint8Array(32).fill(0xff);

export function inRange(key: Uint8Array, { gte, lte }: KeyRange): boolean {
  return compareBytes(key, gte) >= 0 && (lte === undefined || compareBytes(key, lte) <= 0);
}

/** The key at which the range ends; of an open one the greatest that can exist. To be read, never handed out: it is shared. */
export function lastKeyOf({ lte }: KeyRange): Uint8Array {
  return lte ?? GREATEST_KEY;
}

/** Whether every key of the range is less than `key`. */
export function endsBelow(range: KeyRange, key: Uint8Array): boolean {
  return compareBytes(lastKeyOf(range), key) < 0;
}

export function sameRange(a: KeyRange, b: KeyRange): boolean {
  return equalBytes(a.gte, b.gte) && equalBytes(lastKeyOf(a), lastKeyOf(b));
}

/** The form in which ranges are stored. */
export function toStoredRange({ gte, lte = STORED_OPEN_END }: KeyRange): { gte: Uint8Array; lte: Uint8Array } {
  return { gte, lte };
}

export function fromStoredRange({ gte, lte }: KeyRange): KeyRange {
  return { gte, lte: lte === undefined || equalBytes(lte, STORED_OPEN_END) ? undefined : lte };
}

/** Ascending, disjoint ranges that are asked about ascending keys: each range is passed once. */
export class AscendingRanges {
  readonly #ranges: readonly KeyRange[];
  #next = 0;

  constructor(ranges: readonly KeyRange[]) {
    this.#ranges = ranges;
  }

  /** Whether a range has the key `keys[0, length)`, which is not less than the one before it. */
  include(keys: Uint8Array, length: number): boolean {
    while (this.#next < this.#ranges.length) {
      const { gte, lte } = this.#ranges[this.#next];
      if (lte !== undefined && compareSlice(keys, 0, length, lte) > 0) this.#next++;
      else return compareSlice(keys, 0, length, gte) >= 0;
    }
    return false;
  }
}
