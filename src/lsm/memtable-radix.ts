/**
 * Sorts rows of a memtable log by key, in bounded steps.
 *
 * Each group of rows is ordered by the 64 bits behind its common prefix with an LSD radix sort (a comparison sort by keys in
 * memory costs ten times that and cannot pause). Rows that tie form smaller groups, which are sorted alike from where the
 * tie ends: so `orders/...` beside `users/...` costs a second round, not a comparison sort.
 *
 * The sort is a generator that yields after a bounded amount of work; the loops themselves are plain functions over a
 * slice. Keys must be distinct and must not change; rows appended meanwhile are not looked at.
 */
import type { MemtableLog } from './memtable-log.ts';
import {
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
    this.places = new Int32Array(n);
    this.#high = new Uint32Array(n);
    this.#low = new Uint32Array(n);
    this.#order = new Uint32Array(n);
    this.#nextOrder = new Uint32Array(n);
    this.#scratch = new Int32Array(n);
  }

  /** Bytes held while sorting. */
  get memoryBytes(): number {
    return this.places.length * 24;
  }

  *run(): Generator<void, void> {
    if (this.#rowCount === 0) return;
    this.#sampleCommonPrefix();
    for (let from = 0; from < this.#rowCount; from += KEY_SLICE) {
      const to = Math.min(this.#rowCount, from + KEY_SLICE);
      this.#collect(from, to);
      if (this.#spend(to - from)) yield;
    }
    const groups: number[] = [];
    const count = this.places.length;
    if (this.#guessWrong) yield* this.#sortGroup(0, count, this.#common, groups);
    else yield* this.#sortPrefixes(0, count, this.#common, groups);
    while (groups.length > 0) {
      const depth = groups.pop()!;
      const end = groups.pop()!;
      const start = this.#shortKeysFirst(groups.pop()!, end, depth);
      if (end - start <= INSERTION_ROWS) this.#insertionSort(start, end, depth);
      else yield* this.#sortGroup(start, end, depth, groups);
      if (this.#spend(end - start)) yield;
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
   * Takes the roots among rows [from, to) and, while the guess of the common prefix holds, the 8 bytes behind it: one walk
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
   * ones: orders them to the front and returns where the others begin. There are fewer than nine, as keys are distinct.
   */
  #shortKeysFirst(start: number, end: number, depth: number): number {
    if (depth === 0) return start;
    const places = this.places;
    const log = this.#log;
    let front = start;
    for (let i = start; i < end; i++) {
      const place = places[i];
      const length = log.keyLengthAt(place);
      if (length >= depth) continue;
      let at = front++;
      places[i] = places[at];
      for (; at > start && log.keyLengthAt(places[at - 1]) > length; at--) places[at] = places[at - 1];
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
    for (let from = start + 1; from < end && common > depth; from += KEY_SLICE) {
      const to = Math.min(end, from + KEY_SLICE);
      common = this.#commonPrefix(from, to, depth, common);
      if (this.#spend(to - from)) yield;
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
    this.places.set(this.#scratch.subarray(0, count), start);
    for (let from = 0; from < count; ) {
      const tieEnd = this.#nextTie(from, Math.min(count, from + PREFIX_SLICE), count);
      const tieRows = tieEnd - this.#tieStart;
      const tieAt = start + this.#tieStart;
      if (tieRows > INSERTION_ROWS) groups.push(tieAt, start + tieEnd, common + PREFIX_BYTES);
      else if (tieRows > 1) this.#insertionSort(tieAt, start + tieEnd, common);
      if (this.#spend(((this.#tieStart - from) >> 2) + tieRows)) yield;
      from = tieEnd;
    }
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
   * Finds the next run of equal prefixes that begins in [from, limit): its start goes to `#tieStart`, its end is returned. If
   * there is none, an empty run at `limit`.
   */
  #nextTie(from: number, limit: number, count: number): number {
    const order = this.#order;
    const high = this.#high;
    const low = this.#low;
    for (let at = from; at < limit; at++) {
      const h = high[order[at]];
      const l = low[order[at]];
      let end = at + 1;
      while (end < count && low[order[end]] === l && high[order[end]] === h) end++;
      if (end > at + 1) {
        this.#tieStart = at;
        return end;
      }
    }
    this.#tieStart = limit;
    return limit;
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
