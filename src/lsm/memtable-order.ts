/**
 * The key order of a memtable, built when somebody needs it and caught up afterwards.
 *
 * Puts never touch it. The first scan or the flush sorts all keys by radix; later scans insert the keys that are new since,
 * or sort again if those are many. It is a list of leaves (a B+tree of height two) holding the places of roots in key order: after a
 * sort, leaves are views of one sorted array, and a leaf becomes an array of its own when the first key is inserted into it.
 * A searched leaf keeps 32 bits of each key behind the leaf's own common prefix, so that a search reads few keys.
 *
 * Invariants: leaves are never empty and ascending; every root below `orderedTo` is in exactly one leaf, none above is;
 * `version` changes whenever a place (leaf, position) may have changed its meaning.
 */

import type { MemtableLog } from './memtable-log.ts';
import { WORD_LINK } from './memtable-log.ts';
import { KeySorter, paddedWord } from './memtable-radix.ts';

/** Keys per leaf after a sort, and at most. */
const LEAF_KEYS = 128;
const LEAF_CAPACITY = 256;
/** Sort again rather than insert if at least this share of all keys is new. */
const RESORT_SHARE = 0.25;
/** Keys inserted, rows passed over and rows collected per step. */
const STEP_INSERTS = 1024;
const STEP_ROWS = 32_768;
/** So few new rows are left to the cursor itself: steps must end even while puts go on. */
const SMALL_REMAINDER = 256;
const LEAF_OBJECT_BYTES = 256;

class Leaf {
  places: Int32Array;
  count: number;
  /** False while `places` is a view of the sorted array. */
  owned: boolean;
  /** Bytes that all keys of the leaf have in common, and the four bytes of each behind them; made by the first search. */
  depth = 0;
  prefixes: Uint32Array | undefined = undefined;
  /** The first key. */
  firstBytes: Uint8Array;
  firstStart: number;
  firstLength: number;

  constructor(log: MemtableLog, places: Int32Array, count: number, owned: boolean) {
    this.places = places;
    this.count = count;
    this.owned = owned;
    const first = places[0];
    this.firstBytes = log.bytesAt(first);
    this.firstStart = log.keyStartAt(first);
    this.firstLength = log.keyLengthAt(first);
  }
}

export class MemtableOrder {
  leaves: Leaf[] = [];
  version = 0;
  /** Rows with a lower id are in order. */
  orderedTo = 0;
  /** Result of the last search: a place, possibly one past the last key of its leaf. */
  leafAt = 0;
  positionAt = 0;
  readonly #log: MemtableLog;
  #orderedKeys = 0;
  #sortedBytes = 0;
  #leafBytes = 0;
  #sort: Generator<void, void> | undefined = undefined;
  #sortBytes = 0;

  constructor(log: MemtableLog) {
    this.#log = log;
  }

  get memoryBytes(): number {
    return this.#sortedBytes + this.#leafBytes + this.#sortBytes;
  }

  /** True if every row is in order. */
  get complete(): boolean {
    return this.orderedTo === this.#log.rowCount;
  }

  /** One bounded step; true when at most a handful of rows is left to `finish`. */
  step(): boolean {
    if (this.#sort === undefined) {
      if (this.#log.rowCount - this.orderedTo <= SMALL_REMAINDER) return true;
      const newKeys = this.#log.keyCount - this.#orderedKeys;
      if (newKeys <= SMALL_REMAINDER || newKeys < this.#log.keyCount * RESORT_SHARE) {
        this.#insertSome(STEP_INSERTS, STEP_ROWS);
        return this.#log.rowCount - this.orderedTo <= SMALL_REMAINDER;
      }
      this.#sort = this.#sortAll();
    }
    if (this.#sort.next().done === true) this.#sort = undefined;
    return false;
  }

  /** Brings all rows in order at once: for callers that did not, or could not, prepare in steps. */
  finish(): void {
    while (!this.step());
    this.#insertSome(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  }

  *#sortAll(): Generator<void, void> {
    const log = this.#log;
    const to = log.rowCount;
    const places = new Int32Array(log.keyCount);
    this.#sortBytes = places.byteLength;
    let keys = 0;
    for (let from = 0; from < to; from += STEP_ROWS) {
      const limit = Math.min(to, from + STEP_ROWS);
      for (let id = from; id < limit; id++) {
        const place = log.placeOf(id);
        if (log.wordAt(place, WORD_LINK) < 0) places[keys++] = place;
      }
      yield;
    }
    const sorter = new KeySorter(log, places);
    this.#sortBytes += sorter.memoryBytes;
    yield* sorter.run();
    const leaves: Leaf[] = [];
    for (let at = 0; at < keys; at += LEAF_KEYS) {
      const end = Math.min(keys, at + LEAF_KEYS);
      leaves.push(new Leaf(log, places.subarray(at, end), end - at, false));
      if (leaves.length % 1024 === 0) yield;
    }
    this.leaves = leaves;
    this.#sortedBytes = places.byteLength;
    this.#leafBytes = leaves.length * LEAF_OBJECT_BYTES;
    this.#sortBytes = 0;
    this.#orderedKeys = keys;
    this.orderedTo = to;
    this.version++;
  }

  #insertSome(maxKeys: number, maxRows: number): void {
    const log = this.#log;
    const to = Math.min(log.rowCount, this.orderedTo + maxRows);
    let keys = 0;
    while (this.orderedTo < to && keys < maxKeys) {
      const place = log.placeOf(this.orderedTo);
      if (log.wordAt(place, WORD_LINK) < 0) {
        if (keys++ === 0) this.version++;
        this.#insert(place);
      }
      this.orderedTo++;
    }
  }

  #insert(place: number): void {
    const log = this.#log;
    this.#orderedKeys++;
    if (this.leaves.length === 0) {
      const places = new Int32Array(LEAF_CAPACITY);
      places[0] = place;
      const leaf = new Leaf(log, places, 1, true);
      leaf.depth = leaf.firstLength;
      leaf.prefixes = new Uint32Array(LEAF_CAPACITY);
      this.leaves.push(leaf);
      this.#leafBytes += LEAF_OBJECT_BYTES + places.byteLength * 2;
      return;
    }
    const bytes = log.bytesAt(place);
    const start = log.keyStartAt(place);
    const length = log.keyLengthAt(place);
    this.lowerBound(bytes, start, length);
    let leaf = this.leaves[this.leafAt];
    let at = this.positionAt;
    if (leaf.count === LEAF_CAPACITY) {
      this.#split(this.leafAt, at);
      if (at > leaf.count) {
        at -= leaf.count;
        leaf = this.leaves[this.leafAt + 1];
      }
    }
    this.#insertAt(leaf, at, place, bytes, start, length);
  }

  #insertAt(leaf: Leaf, at: number, place: number, bytes: Uint8Array, start: number, length: number): void {
    if (!leaf.owned) this.#own(leaf);
    const prefixes = leaf.prefixes!;
    const { places, count } = leaf;
    if (at < count) {
      places.copyWithin(at + 1, at, count);
      prefixes.copyWithin(at + 1, at, count);
    }
    places[at] = place;
    leaf.count = count + 1;
    if (at === 0) {
      leaf.firstBytes = bytes;
      leaf.firstStart = start;
      leaf.firstLength = length;
    }
    if (at === 0 || at === count) {
      const depth = this.#commonPrefix(places[0], places[count]);
      if (depth !== leaf.depth) {
        leaf.depth = depth;
        this.#fillPrefixes(leaf);
        return;
      }
    }
    prefixes[at] = paddedWord(bytes, start + leaf.depth, length - leaf.depth);
  }

  #own(leaf: Leaf): void {
    const places = new Int32Array(LEAF_CAPACITY);
    places.set(leaf.places);
    leaf.places = places;
    leaf.owned = true;
    const prefixes = new Uint32Array(LEAF_CAPACITY);
    this.#leafBytes += places.byteLength + prefixes.byteLength;
    if (leaf.prefixes === undefined) {
      leaf.depth = this.#commonPrefix(places[0], places[leaf.count - 1]);
      leaf.prefixes = prefixes;
      this.#fillPrefixes(leaf);
    } else {
      prefixes.set(leaf.prefixes);
      this.#leafBytes -= leaf.prefixes.byteLength;
      leaf.prefixes = prefixes;
    }
  }

  /** Splits a full leaf in half, or, when the insertion is at its very end (ascending keys), leaves it full. */
  #split(leafAt: number, insertAt: number): void {
    const leaf = this.leaves[leafAt];
    const keep = insertAt === leaf.count && leafAt === this.leaves.length - 1 ? leaf.count - 1 : leaf.count >> 1;
    const places = new Int32Array(LEAF_CAPACITY);
    places.set(leaf.places.subarray(keep, leaf.count));
    const right = new Leaf(this.#log, places, leaf.count - keep, true);
    right.prefixes = new Uint32Array(LEAF_CAPACITY);
    leaf.count = keep;
    for (const half of [leaf, right]) {
      half.depth = this.#commonPrefix(half.places[0], half.places[half.count - 1]);
      this.#fillPrefixes(half);
    }
    this.leaves.splice(leafAt + 1, 0, right);
    this.#leafBytes += LEAF_OBJECT_BYTES + places.byteLength * 2;
  }

  #commonPrefix(a: number, b: number): number {
    const log = this.#log;
    const aBytes = log.bytesAt(a);
    const bBytes = log.bytesAt(b);
    const aStart = log.keyStartAt(a);
    const bStart = log.keyStartAt(b);
    const n = Math.min(log.keyLengthAt(a), log.keyLengthAt(b));
    let same = 0;
    while (same < n && aBytes[aStart + same] === bBytes[bStart + same]) same++;
    return same;
  }

  #fillPrefixes(leaf: Leaf): void {
    const log = this.#log;
    const prefixes = leaf.prefixes!;
    for (let i = 0; i < leaf.count; i++) {
      const place = leaf.places[i];
      const start = log.keyStartAt(place) + leaf.depth;
      prefixes[i] = paddedWord(log.bytesAt(place), start, log.keyLengthAt(place) - leaf.depth);
    }
  }

  /** Finds the place of the first key >= `bytes[start, start + length)` into `leafAt` and `positionAt`. */
  lowerBound(bytes: Uint8Array, start: number, length: number): void {
    const leaves = this.leaves;
    let low = 0;
    let high = leaves.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareFirst(leaves[middle], bytes, start, length) <= 0) low = middle + 1;
      else high = middle;
    }
    if (low === 0) {
      this.leafAt = 0;
      this.positionAt = 0;
      return;
    }
    this.leafAt = low - 1;
    this.positionAt = this.#lowerBoundIn(leaves[low - 1], bytes, start, length);
  }

  /** The leaf's first key is known to be <= the key that is searched. */
  #lowerBoundIn(leaf: Leaf, bytes: Uint8Array, start: number, length: number): number {
    let prefixes = leaf.prefixes;
    if (prefixes === undefined) {
      leaf.depth = this.#commonPrefix(leaf.places[0], leaf.places[leaf.count - 1]);
      prefixes = leaf.prefixes = new Uint32Array(leaf.places.length);
      this.#leafBytes += prefixes.byteLength;
      this.#fillPrefixes(leaf);
    }
    const depth = leaf.depth;
    // A key that differs from the leaf's common prefix is greater than all of it, as it is not less than the first.
    if (length < depth) return leaf.count;
    for (let i = 0; i < depth; i++) {
      if (bytes[start + i] !== leaf.firstBytes[leaf.firstStart + i]) return leaf.count;
    }
    const prefix = paddedWord(bytes, start + depth, length - depth);
    let low = 0;
    let high = leaf.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = prefixes[middle];
      if (
        other < prefix ||
        (other === prefix && this.#log.compareKey(leaf.places[middle], bytes, start, length, depth) < 0)
      ) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
}

function compareFirst(leaf: Leaf, bytes: Uint8Array, start: number, length: number): number {
  return compareFrom(0, leaf.firstBytes, leaf.firstStart, leaf.firstLength, bytes, start, length);
}

function compareFrom(
  depth: number,
  a: Uint8Array,
  aStart: number,
  aLength: number,
  b: Uint8Array,
  bStart: number,
  bLength: number,
): number {
  const n = aLength < bLength ? aLength : bLength;
  for (let i = depth; i < n; i++) {
    const d = a[aStart + i] - b[bStart + i];
    if (d !== 0) return d;
  }
  return aLength - bLength;
}
