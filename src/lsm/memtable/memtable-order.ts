/**
 * The key order of a memtable, built when a read needs it and caught up afterwards.
 *
 * Puts never touch it. The first scan or the flush sorts all keys by radix; later scans insert the keys that are new since,
 * or sort again if those are many. It is a list of leaves (a B+tree of height two) holding the places of roots in key
 * order: after a sort, leaves are parts of one sorted array, and a leaf gets an array of its own when the first key is inserted
 * into it.
 *
 * A search reads few keys, as each is a cache miss: it compares 48 bits of the leaves' first keys after the part that those have in
 * common, then, within the leaf, 32 bits after a prefix common to the leaf, and whole keys only where these tie.
 *
 * Invariants:
 * 1. Leaves are never empty, and ascending.
 * 2. Every root below `orderedTo` is in exactly one leaf, none above is.
 * 3. `version` changes whenever a position (leaf, index) may have changed its meaning.
 */
import { assertThat } from '../../common/assert.ts';
import type { MemtableLog } from './memtable-log.ts';
import { WORD_LINK } from './memtable-log.ts';
import { commonLength, KeySorter, paddedWord } from './memtable-radix.ts';

/** Keys per leaf after a sort, and at most. */
const LEAF_KEYS = 128;
const LEAF_CAPACITY = 256;
/** Sort again rather than insert if at least this share of all keys is new. */
const RESORT_SHARE = 0.25;
/** Keys inserted, rows passed over, and leaves made per step. */
const STEP_INSERTS = 512;
const STEP_PASSED_ROWS = 16_384;
const LEAVES_PER_STEP = 1024;
/** So few new rows are left to the cursor itself: preparing in steps must end even while puts go on. */
const SMALL_REMAINDER = 256;
/** A split leaf keeps its depth as long as at most one in so many neighbours ties. */
const TIES_PER_KEY = 1 / 16;
/** A leaf apart from its arrays, and its entry in the top level. */
const LEAF_BYTES = 100;

class Leaf {
  /** The leaf's places are `places[base, base + count)`: a part of the sorted array, or an array of the leaf's own. */
  places: Int32Array;
  base: number;
  count: number;
  owned: boolean;
  /** A number of bytes that all keys of the leaf have in common. */
  depth = 0;
  /** The four bytes of each key after `depth`; made by the first search in the leaf. */
  prefixes: Uint32Array | undefined = undefined;

  constructor(places: Int32Array, base: number, count: number, owned: boolean) {
    this.places = places;
    this.base = base;
    this.count = count;
    this.owned = owned;
  }

  get first(): number {
    return this.places[this.base];
  }

  get last(): number {
    return this.places[this.base + this.count - 1];
  }
}

export class MemtableOrder {
  leaves: Leaf[] = [];
  version = 0;
  /** Rows with a lower id are in order. */
  orderedTo = 0;
  /** Result of the last search: a position, possibly one past the last key of its leaf. */
  leafAt = 0;
  indexAt = 0;
  readonly #log: MemtableLog;
  #orderedKeys = 0;
  #leafBytes = 0;
  #sortedBytes = 0;
  #sortingBytes = 0;
  #sorting: Generator<void, void> | undefined = undefined;
  /** 48 bits of each leaf's first key after the first `#topDepth` bytes, which all of them share. */
  #top = new Float64Array(16);
  #topDepth = 0;

  constructor(log: MemtableLog) {
    this.#log = log;
  }

  get memoryBytes(): number {
    return this.#sortedBytes + this.#leafBytes + this.#sortingBytes + this.#top.byteLength;
  }

  /** True if every row is in order. */
  get complete(): boolean {
    return this.orderedTo === this.#log.rowCount;
  }

  /** One bounded step; true when at most a handful of rows is left to `finish`. */
  step(): boolean {
    if (this.#sorting === undefined) {
      if (this.#log.rowCount - this.orderedTo <= SMALL_REMAINDER) return true;
      const newKeys = this.#log.keyCount - this.#orderedKeys;
      if (newKeys <= SMALL_REMAINDER || newKeys < this.#log.keyCount * RESORT_SHARE) {
        this.#insertSome(STEP_INSERTS, STEP_PASSED_ROWS);
        return this.#log.rowCount - this.orderedTo <= SMALL_REMAINDER;
      }
      this.#sorting = this.#sortAll();
    }
    if (this.#sorting.next().done === true) {
      this.#sorting = undefined;
      this.#sortingBytes = 0;
    }
    return false;
  }

  /** Brings all rows in order at once: for callers that did not, or could not, prepare in steps. */
  finish(): void {
    while (!this.step());
    this.#insertSome(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    const isEach = this.complete && this.#orderedKeys === this.#log.keyCount;
    assertThat(isEach, 'every root is in the order once (memtable-order 2)');
  }

  *#sortAll(): Generator<void, void> {
    const log = this.#log;
    const to = log.rowCount;
    const sorter = new KeySorter(log);
    this.#sortingBytes = sorter.memoryBytes;
    yield* sorter.run();
    const places = sorter.places;
    const keys = places.length;
    const leafCount = Math.ceil(keys / LEAF_KEYS);
    const top = new Float64Array(Math.max(16, leafCount + (leafCount >> 2)));
    const topDepth = this.#commonPrefix(places[0], places[(leafCount - 1) * LEAF_KEYS]);
    const leaves: Leaf[] = [];
    for (let from = 0; from < keys; from += LEAF_KEYS) {
      const end = Math.min(keys, from + LEAF_KEYS);
      const leaf = new Leaf(places, from, end - from, false);
      top[leaves.length] = this.#topPrefix(leaf, topDepth);
      leaves.push(leaf);
      if (leaves.length % LEAVES_PER_STEP === 0) yield;
    }
    assertThat(leaves.length === leafCount && keys > 0, 'leaves are never empty (memtable-order 1)');
    assertThat(to >= this.orderedTo, 'what is in order stays so (memtable-order 2)');
    this.leaves = leaves;
    this.#top = top;
    this.#topDepth = topDepth;
    this.#sortedBytes = places.byteLength;
    this.#leafBytes = leaves.length * LEAF_BYTES;
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
    const bytes = log.bytesAt(place);
    const start = log.keyStartAt(place);
    const length = log.keyLengthAt(place);
    if (this.leaves.length === 0) {
      this.#insertFirst(place);
    } else {
      this.lowerBound(bytes, start, length);
      let leaf = this.leaves[this.leafAt];
      let at = this.indexAt;
      if (leaf.count === LEAF_CAPACITY) {
        this.#split(this.leafAt, at);
        if (at > leaf.count) {
          at -= leaf.count;
          leaf = this.leaves[this.leafAt + 1];
        }
      }
      this.#insertAt(leaf, at, place, bytes, start, length);
    }
    this.#orderedKeys++;
  }

  #insertFirst(place: number): void {
    const places = new Int32Array(LEAF_CAPACITY);
    places[0] = place;
    const leaf = new Leaf(places, 0, 1, true);
    leaf.prefixes = new Uint32Array(LEAF_CAPACITY);
    leaf.depth = this.#log.keyLengthAt(place);
    this.leaves.push(leaf);
    this.#leafBytes += LEAF_BYTES + places.byteLength * 2;
    this.#fillTop();
  }

  #insertAt(leaf: Leaf, at: number, place: number, bytes: Uint8Array, start: number, length: number): void {
    if (!leaf.owned) this.#own(leaf);
    // biome-ignore lint/style/noNonNullAssertion: hot loop of an insertion (bench/micro/memtable.mjs); leaves have prefixes once they are in order.
    const prefixes = leaf.prefixes!;
    const { places, count } = leaf;
    if (at < count) {
      places.copyWithin(at + 1, at, count);
      prefixes.copyWithin(at + 1, at, count);
    }
    places[at] = place;
    leaf.count = count + 1;
    // Only the very first leaf is ever entered at its start.
    if (at === 0) this.#setTop(0);
    if (at === 0 || at === count) {
      const depth = this.#commonPrefix(places[0], places[count]);
      if (depth < leaf.depth) {
        this.#fillPrefixes(leaf, depth);
        return;
      }
    }
    prefixes[at] = paddedWord(bytes, start + leaf.depth, length - leaf.depth);
  }

  #own(leaf: Leaf): void {
    const places = new Int32Array(LEAF_CAPACITY);
    const prefixes = new Uint32Array(LEAF_CAPACITY);
    this.#leafBytes += places.byteLength + prefixes.byteLength;
    places.set(leaf.places.subarray(leaf.base, leaf.base + leaf.count));
    leaf.places = places;
    leaf.base = 0;
    leaf.owned = true;
    const old = leaf.prefixes;
    leaf.prefixes = prefixes;
    if (old === undefined) {
      this.#fillPrefixes(leaf, this.#commonPrefix(leaf.first, leaf.last));
    } else {
      prefixes.set(old);
      this.#leafBytes -= old.byteLength;
    }
  }

  /** Splits a full leaf in half; or, if the insertion is at the end of all (ascending keys), leaves it almost full. */
  #split(leafAt: number, insertAt: number): void {
    const leaf = this.leaves[leafAt];
    assertThat(leaf.count === LEAF_CAPACITY, 'a leaf is split when it is full');
    if (!leaf.owned) this.#own(leaf);
    const atEnd = insertAt === leaf.count && leafAt === this.leaves.length - 1;
    const keep = atEnd ? leaf.count - 1 : leaf.count >> 1;
    const places = new Int32Array(LEAF_CAPACITY);
    places.set(leaf.places.subarray(keep, leaf.count));
    const right = new Leaf(places, 0, leaf.count - keep, true);
    right.prefixes = new Uint32Array(LEAF_CAPACITY);
    // biome-ignore lint/style/noNonNullAssertion: hot loop of an insertion (bench/micro/memtable.mjs); leaves have prefixes once they are in order.
    right.prefixes.set(leaf.prefixes!.subarray(keep, leaf.count));
    right.depth = leaf.depth;
    assertThat(keep > 0 && right.count > 0, 'leaves are never empty (memtable-order 1)');
    leaf.count = keep;
    this.leaves.splice(leafAt + 1, 0, right);
    this.#leafBytes += LEAF_BYTES + places.byteLength * 2;
    this.#insertTop(leafAt + 1);
    this.#deepen(leaf);
    this.#deepen(right);
  }

  /** Takes the prefixes further back in the keys if too many of them tie. */
  #deepen(leaf: Leaf): void {
    // biome-ignore lint/style/noNonNullAssertion: hot loop of an insertion (bench/micro/memtable.mjs); leaves have prefixes once they are in order.
    const prefixes = leaf.prefixes!;
    let ties = 0;
    for (let i = 1; i < leaf.count; i++) if (prefixes[i] === prefixes[i - 1]) ties++;
    if (leaf.count > 1 && ties <= leaf.count * TIES_PER_KEY) return;
    this.#fillPrefixes(leaf, this.#commonPrefix(leaf.first, leaf.last));
  }

  #fillPrefixes(leaf: Leaf, depth: number): void {
    const log = this.#log;
    const { places, base, count } = leaf;
    // biome-ignore lint/style/noNonNullAssertion: hot loop of an insertion (bench/micro/memtable.mjs); leaves have prefixes once they are in order.
    const prefixes = leaf.prefixes!;
    leaf.depth = depth;
    for (let i = 0; i < count; i++) {
      const place = places[base + i];
      prefixes[i] = paddedWord(log.bytesAt(place), log.keyStartAt(place) + depth, log.keyLengthAt(place) - depth);
    }
  }

  #commonPrefix(a: number, b: number): number {
    const log = this.#log;
    const limit = Math.min(log.keyLengthAt(a), log.keyLengthAt(b));
    return commonLength(log.bytesAt(a), log.keyStartAt(a), log.bytesAt(b), log.keyStartAt(b), limit);
  }

  // ---- top level

  #fillTop(): void {
    const leaves = this.leaves;
    this.#topDepth = this.#commonPrefix(leaves[0].first, leaves[leaves.length - 1].first);
    for (let i = 0; i < leaves.length; i++) this.#top[i] = this.#topPrefix(leaves[i], this.#topDepth);
  }

  /** Enters the first key of an outermost leaf, which may have less in common with the others, or of any leaf. */
  #setTop(at: number): void {
    const leaves = this.leaves;
    if (at === 0 || at === leaves.length - 1) {
      const depth = this.#commonPrefix(leaves[0].first, leaves[leaves.length - 1].first);
      if (depth < this.#topDepth) {
        this.#fillTop();
        return;
      }
    }
    this.#top[at] = this.#topPrefix(leaves[at], this.#topDepth);
  }

  #insertTop(at: number): void {
    const count = this.leaves.length;
    if (count > this.#top.length) {
      const top = new Float64Array(count * 2);
      top.set(this.#top);
      this.#top = top;
    }
    this.#top.copyWithin(at + 1, at, count - 1);
    this.#setTop(at);
  }

  #topPrefix(leaf: Leaf, depth: number): number {
    const log = this.#log;
    const first = leaf.first;
    return prefix48(log.bytesAt(first), log.keyStartAt(first) + depth, log.keyLengthAt(first) - depth);
  }

  // ---- search

  /** Finds the position of the first key >= `bytes[start, start + length)` into `leafAt` and `indexAt`. */
  lowerBound(bytes: Uint8Array, start: number, length: number): void {
    const leaf = this.#lastLeafUpTo(bytes, start, length);
    this.leafAt = leaf < 0 ? 0 : leaf;
    this.indexAt = leaf < 0 ? 0 : this.#lowerBoundIn(this.leaves[leaf], bytes, start, length);
  }

  /** The last leaf whose first key is <= the given key, or -1. */
  #lastLeafUpTo(bytes: Uint8Array, start: number, length: number): number {
    const log = this.#log;
    const leaves = this.leaves;
    let high = leaves.length;
    if (high === 0) return -1;
    const depth = this.#topDepth;
    const common = this.#sharedWithFirst(leaves[0], bytes, start, Math.min(length, depth));
    if (common < depth) {
      return log.compareKey(leaves[0].first, bytes, start, length, common) > 0 ? -1 : high - 1;
    }
    const prefix = prefix48(bytes, start + depth, length - depth);
    const top = this.#top;
    let low = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = top[middle];
      if (
        other < prefix ||
        (other === prefix && log.compareKey(leaves[middle].first, bytes, start, length, depth) <= 0)
      ) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low - 1;
  }

  /** The leaf's first key is known to be <= the key that is searched. */
  #lowerBoundIn(leaf: Leaf, bytes: Uint8Array, start: number, length: number): number {
    let prefixes = leaf.prefixes;
    if (prefixes === undefined) {
      prefixes = leaf.prefixes = new Uint32Array(leaf.owned ? LEAF_CAPACITY : leaf.count);
      this.#leafBytes += prefixes.byteLength;
      this.#fillPrefixes(leaf, this.#commonPrefix(leaf.first, leaf.last));
    }
    const depth = leaf.depth;
    // A key that differs from the leaf's common prefix is greater than all of it, as it is not less than the first.
    if (this.#sharedWithFirst(leaf, bytes, start, Math.min(length, depth)) < depth) return leaf.count;
    const prefix = paddedWord(bytes, start + depth, length - depth);
    const { places, base } = leaf;
    let low = 0;
    let high = leaf.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = prefixes[middle];
      if (
        other < prefix ||
        (other === prefix && this.#log.compareKey(places[base + middle], bytes, start, length, depth) < 0)
      ) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /** How many of the first `limit` bytes a key shares with a leaf's first key. */
  #sharedWithFirst(leaf: Leaf, bytes: Uint8Array, start: number, limit: number): number {
    const log = this.#log;
    const first = leaf.first;
    return commonLength(
      log.bytesAt(first),
      log.keyStartAt(first),
      bytes,
      start,
      Math.min(limit, log.keyLengthAt(first)),
    );
  }
}

/** Six bytes at `start` as a number, zeros in place of those beyond the `left` that there are. */
function prefix48(bytes: Uint8Array, start: number, left: number): number {
  return paddedWord(bytes, start, left) * 0x10000 + (paddedWord(bytes, start + 4, left - 4) >>> 16);
}
