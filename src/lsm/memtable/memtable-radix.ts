/**
 * Sorts rows of a memtable log by key, in bounded steps.
 *
 * Each group of rows is ordered by the 64 bits after its common prefix with an LSD radix sort (a comparison sort by keys in
 * memory costs ten times that and cannot pause). Rows that tie form smaller groups, which are sorted alike from where the
 * tie ends: so `orders/...` beside `users/...` costs a second round, not a comparison sort.
 *
 * The sort is a generator that yields after a bounded amount of work; the loops themselves are plain functions over a
 * slice. Keys must be distinct and must not change; rows appended in the meantime are not included.
 */
import { assertThat } from '../../common/assert.ts';
import type { MemtableLog } from './memtable-log.ts';
import {
  AHEAD_ROWS,
  CHUNK_SHIFT,
  EXPIRE_TO_BYTES,
  HAS_EXPIRE,
  HEADER_BYTES,
  UNIT_MASK,
  WORD_KEY,
  WORD_LINK,
} from './memtable-log.ts';

/** Work per step, in units of about 50 ns: one key read from memory, or a few prefixes moved. */
const STEP_UNITS = 8192;
/** Rows per slice in passes that read keys and in passes over prefixes only. */
const KEY_SLICE = 2048;
const PREFIX_SLICE = 8192;
const KEY_BYTES_PER_UNIT = 64;
/** Key bytes compared per slice: with long keys a slice has fewer rows. */
const SLICE_KEY_BYTES = 1 << 18;
const PREFIX_BYTES = 8;
/** Keys looked at to guess the common prefix of all. */
const SAMPLE_KEYS = 64;
/** Groups up to this size are sorted by insertion. */
const INSERTION_ROWS = 16;
/** From here on 16-bit digits: fewer passes pay for the larger table of counts. */
const WIDE_DIGIT_ROWS = 8192;

export class KeySorter {
  readonly #log: MemtableLog;
  /** The places of the keys' roots: in arrival order at first, in key order at last. */
  readonly places: Int32Array;
  readonly #high: Uint32Array;
  readonly #low: Uint32Array;
  readonly #scratch: Int32Array;
  /** The order so far of the group being sorted, as row numbers within the group, and where the next pass writes it. */
  #order: Uint32Array;
  #nextOrder: Uint32Array;
  /** Which prefix bits differ within the group. */
  #highBits = 0;
  #lowBits = 0;
  #tieStart = 0;
  #units = 0;
  readonly #rowCount: number;
  #collected = 0;
  /** How far all keys collected agree; at first, what the sample says. */
  #common = 0;
  #guessWrong = false;

  /** Will sort the keys that `log` has now. */
  constructor(log: MemtableLog) {
    const n = log.keyCount;
    this.#log = log;
    this.#rowCount = log.rowCount;
    this.places = new Int32Array(unzeroed(n));
    this.#high = new Uint32Array(unzeroed(n));
    this.#low = new Uint32Array(unzeroed(n));
    this.#order = new Uint32Array(unzeroed(n));
    this.#nextOrder = new Uint32Array(unzeroed(n));
    this.#scratch = new Int32Array(unzeroed(n));
  }

  /** Bytes held while sorting. */
  get memoryBytes(): number {
    return this.places.length * 24;
  }

  *run(): Generator<void, void> {
    if (this.#rowCount === 0) return;
    this.#sampleCommonPrefix();
    for (let from = 0; from < this.#rowCount; ) {
      const to = Math.min(this.#rowCount, from + rowsPerSlice(this.#common));
      this.#collect(from, to);
      if (this.#spend(to - from)) yield;
      from = to;
    }
    const groups: number[] = [];
    const count = this.places.length;
    assertThat(this.#collected === count, 'each key has one root, and is sorted once');
    if (this.#guessWrong) yield* this.#sortGroup(0, count, this.#common, groups);
    else yield* this.#sortPrefixes(0, count, this.#common, groups);
    while (groups.length > 0) {
      // biome-ignore lint/style/noNonNullAssertion: hot loop of sorting (bench/micro/memtable.mjs); groups are pushed by threes.
      const depth = groups.pop()!;
      // biome-ignore lint/style/noNonNullAssertion: hot loop of sorting (bench/micro/memtable.mjs); groups are pushed by threes.
      const end = groups.pop()!;
      // biome-ignore lint/style/noNonNullAssertion: hot loop of sorting (bench/micro/memtable.mjs); groups are pushed by threes.
      const begin = groups.pop()!;
      let start = begin;
      for (let from = begin; from < end; from += KEY_SLICE) {
        const to = Math.min(end, from + KEY_SLICE);
        start = this.#shortKeysFirst(begin, start, from, to, depth);
        if (this.#spend(to - from)) yield;
      }
      assertThat(start - begin <= PREFIX_BYTES, 'distinct keys that end in one word have distinct lengths');
      if (end - start <= INSERTION_ROWS) this.#insertionSort(start, end, depth);
      else yield* this.#sortGroup(start, end, depth, groups);
    }
  }

  #sampleCommonPrefix(): void {
    const log = this.#log;
    const first = log.placeOf(0);
    this.#common = log.keyLengthAt(first);
    const step = Math.max(1, Math.floor(this.#rowCount / SAMPLE_KEYS));
    for (let id = step; id < this.#rowCount; id += step) {
      const place = log.placeOf(id);
      this.#common = commonLength(
        log.bytesAt(place),
        log.keyStartAt(place),
        log.bytesAt(first),
        log.keyStartAt(first),
        Math.min(this.#common, log.keyLengthAt(place)),
      );
    }
  }

  /**
   * Takes the roots among rows [from, to) and, while the guess of the common prefix holds, the 8 bytes after it: one walk
   * through memory that is far larger than the caches.
   */
  #collect(from: number, to: number): void {
    const log = this.#log;
    const places = this.places;
    const highWords = this.#high;
    const lowWords = this.#low;
    const order = this.#order;
    const first = log.placeOf(0);
    const firstBytes = log.bytesAt(first);
    const firstStart = log.keyStartAt(first);
    let common = this.#common;
    let n = this.#collected;
    let bytesCompared = 0;
    let highBits = this.#highBits;
    let lowBits = this.#lowBits;
    for (let id = from; id < to; id++) {
      if ((id - from) % AHEAD_ROWS === 0) log.touchKeys(id, Math.min(to, id + AHEAD_ROWS));
      const place = log.placeOf(id);
      const chunk = place >>> CHUNK_SHIFT;
      const unit = place & UNIT_MASK;
      const words = log.words[chunk];
      if (words[(unit << 1) + WORD_LINK] >= 0) continue;
      const key = words[(unit << 1) + WORD_KEY];
      const length = key & 0xffff;
      const start = (unit << 3) + HEADER_BYTES + ((key & HAS_EXPIRE) >> EXPIRE_TO_BYTES);
      const bytes = log.bytes[chunk];
      const same = commonLength(bytes, start, firstBytes, firstStart, Math.min(common, length));
      bytesCompared += same;
      if (same < common) {
        common = same;
        this.#guessWrong = true;
      }
      const high = paddedWord(bytes, start + common, length - common);
      const low = paddedWord(bytes, start + common + 4, length - common - 4);
      highWords[n] = high;
      lowWords[n] = low;
      order[n] = n;
      highBits |= high ^ highWords[0];
      lowBits |= low ^ lowWords[0];
      places[n++] = place;
    }
    this.#highBits = highBits;
    this.#lowBits = lowBits;
    this.#common = common;
    this.#collected = n;
    this.#units += bytesCompared / KEY_BYTES_PER_UNIT;
  }

  /** Counts work; true when the step has done its share. */
  #spend(units: number): boolean {
    this.#units += units;
    if (this.#units < STEP_UNITS) return false;
    this.#units = 0;
    return true;
  }

  /**
   * In a group whose first `depth` bytes tie when padded with zeros, keys shorter than `depth` are prefixes of all longer
   * ones: moves those among rows [from, to) into their order at the group's front, which reaches from `begin` to `front` so
   * far, and returns how far it reaches then. There are fewer than nine in all, as keys are distinct.
   */
  #shortKeysFirst(begin: number, front: number, from: number, to: number, depth: number): number {
    const places = this.places;
    const log = this.#log;
    for (let i = from; i < to; i++) {
      const place = places[i];
      const length = log.keyLengthAt(place);
      if (length >= depth) continue;
      let at = front++;
      places[i] = places[at];
      for (; at > begin && log.keyLengthAt(places[at - 1]) > length; at--) places[at] = places[at - 1];
      places[at] = place;
    }
    return front;
  }

  #insertionSort(start: number, end: number, depth: number): void {
    const places = this.places;
    const log = this.#log;
    let bytesCompared = 0;
    for (let i = start + 1; i < end; i++) {
      const place = places[i];
      const buf = log.bytesAt(place);
      const keyStart = log.keyStartAt(place);
      const keyLength = log.keyLengthAt(place);
      let at = i;
      for (; at > start && log.compareKey(places[at - 1], buf, keyStart, keyLength, depth) > 0; at--) {
        places[at] = places[at - 1];
      }
      places[at] = place;
      bytesCompared += (i - at + 1) * (keyLength - depth);
    }
    this.#units += bytesCompared / KEY_BYTES_PER_UNIT;
  }

  *#sortGroup(start: number, end: number, depth: number, groups: number[]): Generator<void, void> {
    const count = end - start;
    let common = this.#log.keyLengthAt(this.places[start]);
    for (let from = start + 1; from < end && common > depth; ) {
      const to = Math.min(end, from + rowsPerSlice(common - depth));
      common = this.#commonPrefix(from, to, depth, common);
      if (this.#spend(to - from)) yield;
      from = to;
    }
    this.#highBits = 0;
    this.#lowBits = 0;
    for (let from = 0; from < count; from += KEY_SLICE) {
      const to = Math.min(count, from + KEY_SLICE);
      this.#readPrefixes(start, from, to, common);
      if (this.#spend(to - from)) yield;
    }
    yield* this.#sortPrefixes(start, end, common, groups);
  }

  /** Sorts a group whose prefixes at `common` have been read. */
  *#sortPrefixes(start: number, end: number, common: number, groups: number[]): Generator<void, void> {
    const count = end - start;
    yield* this.#radixPasses(count);
    for (let from = 0; from < count; from += PREFIX_SLICE) {
      const to = Math.min(count, from + PREFIX_SLICE);
      gather(this.places, start, this.#order, this.#scratch, from, to);
      if (this.#spend((to - from) >> 2)) yield;
    }
    for (let from = 0; from < count; from += PREFIX_SLICE) {
      const to = Math.min(count, from + PREFIX_SLICE);
      this.places.set(this.#scratch.subarray(from, to), start + from);
      if (this.#spend((to - from) >> 4)) yield;
    }
    this.#tieStart = 0;
    for (let from = 1; from <= count; from += PREFIX_SLICE) {
      const to = Math.min(count + 1, from + PREFIX_SLICE);
      this.#resolveTies(start, count, from, to, common, groups);
      if (this.#spend((to - from) >> 2)) yield;
    }
    assertThat(this.#tieStart === count, 'each row of a group is in one run of ties');
  }

  *#radixPasses(count: number): Generator<void, void> {
    const bits = count >= WIDE_DIGIT_ROWS ? 16 : 8;
    const mask = (1 << bits) - 1;
    const counts = new Uint32Array(1 << bits);
    for (let shift = 0; shift < 64; shift += bits) {
      const words = shift < 32 ? this.#low : this.#high;
      const wordShift = shift & 31;
      const differing = shift < 32 ? this.#lowBits : this.#highBits;
      if (((differing >>> wordShift) & mask) === 0) continue;
      counts.fill(0);
      for (let from = 0; from < count; from += PREFIX_SLICE) {
        const to = Math.min(count, from + PREFIX_SLICE);
        countDigits(words, from, to, wordShift, mask, counts);
        if (this.#spend((to - from) >> 4)) yield;
      }
      toOffsets(counts);
      for (let from = 0; from < count; from += PREFIX_SLICE) {
        const to = Math.min(count, from + PREFIX_SLICE);
        scatter(words, this.#order, this.#nextOrder, from, to, wordShift, mask, counts);
        if (this.#spend((to - from) >> 2)) yield;
      }
      const swap = this.#order;
      this.#order = this.#nextOrder;
      this.#nextOrder = swap;
    }
  }

  /**
   * Closes the runs of equal prefixes that end at one of [from, to): small ones are sorted at once, others become groups. The
   * run that is open at `from` begins at `#tieStart`.
   */
  #resolveTies(start: number, count: number, from: number, to: number, common: number, groups: number[]): void {
    const order = this.#order;
    const high = this.#high;
    const low = this.#low;
    let tieStart = this.#tieStart;
    let row = order[from - 1];
    for (let i = from; i < to; i++) {
      const previous = row;
      if (i < count) {
        row = order[i];
        if (low[row] === low[previous] && high[row] === high[previous]) continue;
      }
      const rows = i - tieStart;
      if (rows > INSERTION_ROWS) groups.push(start + tieStart, start + i, common + PREFIX_BYTES);
      else if (rows > 1) this.#insertionSort(start + tieStart, start + i, common);
      tieStart = i;
    }
    this.#tieStart = tieStart;
  }

  /** How far rows [from, to) agree with the row before them: between `depth`, which is known, and `common`. */
  #commonPrefix(from: number, to: number, depth: number, common: number): number {
    const log = this.#log;
    const first = this.places[from - 1];
    const firstBytes = log.bytesAt(first);
    const firstStart = log.keyStartAt(first) + depth;
    let bytesCompared = 0;
    for (let i = from; i < to && common > depth; i++) {
      const place = this.places[i];
      const limit = Math.min(common, log.keyLengthAt(place)) - depth;
      const same = commonLength(log.bytesAt(place), log.keyStartAt(place) + depth, firstBytes, firstStart, limit);
      common = depth + same;
      bytesCompared += same;
    }
    this.#units += bytesCompared / KEY_BYTES_PER_UNIT;
    return common;
  }

  /** Reads the 8 bytes at `depth` of the keys of rows [from, to) of the group at `start`; the order begins as it is. */
  #readPrefixes(start: number, from: number, to: number, depth: number): void {
    const log = this.#log;
    const places = this.places;
    const high = this.#high;
    const low = this.#low;
    const order = this.#order;
    let highBits = this.#highBits;
    let lowBits = this.#lowBits;
    for (let i = from; i < to; i++) {
      const place = places[start + i];
      const bytes = log.bytesAt(place);
      const at = log.keyStartAt(place) + depth;
      const left = log.keyLengthAt(place) - depth;
      high[i] = paddedWord(bytes, at, left);
      low[i] = paddedWord(bytes, at + 4, left - 4);
      highBits |= high[i] ^ high[0];
      lowBits |= low[i] ^ low[0];
      order[i] = i;
    }
    this.#highBits = highBits;
    this.#lowBits = lowBits;
  }
}

/** Rows in a slice of a pass that compares up to `bytes` of each key. */
function rowsPerSlice(bytes: number): number {
  return Math.min(KEY_SLICE, Math.ceil(SLICE_KEY_BYTES / (bytes + 1)));
}

/** Memory for `words` 32-bit words, all of which will be written before they are read: zeroing large arrays takes long. */
function unzeroed(words: number): ArrayBuffer {
  return Buffer.allocUnsafeSlow(words * 4).buffer;
}

/** How many of the first `limit` bytes are equal. */
export function commonLength(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, limit: number): number {
  let same = 0;
  while (same < limit && a[aStart + same] === b[bStart + same]) same++;
  return same;
}

/** Four bytes at `start` as a big-endian word, zeros in place of those beyond the `left` that there are. */
export function paddedWord(bytes: Uint8Array, start: number, left: number): number {
  if (left >= 4) {
    return ((bytes[start] << 24) | (bytes[start + 1] << 16) | (bytes[start + 2] << 8) | bytes[start + 3]) >>> 0;
  }
  let word = 0;
  for (let i = 0; i < left; i++) word |= bytes[start + i] << (24 - 8 * i);
  return word >>> 0;
}

function countDigits(
  words: Uint32Array,
  from: number,
  to: number,
  shift: number,
  mask: number,
  counts: Uint32Array,
): void {
  for (let i = from; i < to; i++) counts[(words[i] >>> shift) & mask]++;
}

function toOffsets(counts: Uint32Array): void {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i];
    counts[i] = sum;
    sum += count;
  }
}

function scatter(
  words: Uint32Array,
  order: Uint32Array,
  target: Uint32Array,
  from: number,
  to: number,
  shift: number,
  mask: number,
  offsets: Uint32Array,
): void {
  for (let i = from; i < to; i++) {
    const row = order[i];
    target[offsets[(words[row] >>> shift) & mask]++] = row;
  }
}

function gather(
  places: Int32Array,
  start: number,
  order: Uint32Array,
  target: Int32Array,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) target[i] = places[start + order[i]];
}
