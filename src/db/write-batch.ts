/**
 * A batch of writes that is applied whole or not at all, under one sequence number.
 *
 * Operations are copied into one arena and one table of numbers as they are added, so that a batch costs no object per row.
 * The arena is laid out like a memtable's memory (lsm/memtable/memtable-log.ts), which takes a well filled one over when the batch is
 * applied instead of copying its rows.
 *
 * Before it is applied it is put in key order and folded to one row per key: a later put or delete of a key replaces what
 * came before, merges are combined by the merge operator (with a value that precedes them in the batch).
 *
 * 1. What was added to an arena never changes, and is within it.
 * 2. Folding gives each key one row at most, and at least one key stays.
 */
import { assertThat } from '../common/assert.ts';
import { commonBytes, EMPTY_BYTES, type OwnBytes, trueLength, viewOf } from '../common/bytes.ts';
import { InvalidArgumentError, memoryGone } from '../common/errors.ts';
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../format/row-flags.ts';
import { EXPECTED_KEYS } from '../lsm/memtable/memtable-index.ts';
import { HEADER_BYTES } from '../lsm/memtable/memtable-log.ts';
import { type MergeOperator, missingOperator } from '../lsm/rows/merge-operator.ts';
import { foldParts, isOperand, rowPartsOf, type Version } from '../lsm/rows/visibility.ts';
import { type Bytes, toKey, toValue } from './keys.ts';
import {
  type BatchDeleteOptions,
  type BatchPutOptions,
  batchDeleteOptions,
  batchPutOptions,
  type Own,
  type TtlOptions,
  ttlOptions,
} from './write-options.ts';

/** The row that a conditional write asks for: none, or the one with this sequence number. */
export type Expected = 'absent' | bigint;

interface KeyCondition {
  key: Uint8Array;
  expected: Expected;
}

const NO_CONDITIONS: readonly KeyCondition[] = [];

const NO_TTL: Own<TtlOptions> = { ttlMs: undefined, expireAtMs: undefined };
const NO_OPERATIONS = new Int32Array(0);
const LEAST_ARENA_BYTES = 1024;
/** An arena is given to a memtable if at most this part of it is unused. */
const MAX_UNUSED_PART = 1 / 8;
const LEAST_OPERATIONS = 32;
/** The largest size that is expected of the next batch because the last one had it. */
const MAX_EXPECTED_BYTES = 1 << 20;

/** Up to this length a loop copies faster than `set`. */
const SHORT_KEY_BYTES = 24;

/** Columns of an operation in the table of numbers. */
const KEY_START = 0;
const KEY_LENGTH = 1;
const VALUE_LENGTH = 2;
const FLAGS = 3;
const COLUMNS = 4;

/** What the batch applied last held, rounded up: programs write batches of like size, and growing means copying. */
let expectedBytes = 0;
let expectedOperations = 0;

/**
 * Arenas from this size on are cut from slabs, whose parts one after the other become one chunk of a memtable; larger ones than
 * a quarter of a slab are memory of their own.
 */
const MIN_CUT_BYTES = 1 << 14;
const ARENA_SLAB_BYTES = 1 << 20;
const MAX_CUT_BYTES = ARENA_SLAB_BYTES >> 2;

let slab: Uint8Array = EMPTY_BYTES;
let slabUsed = 0;

/** Memory that is not zeroed: every byte is written before it is read. */
function allocate(bytes: number): Uint8Array {
  if (bytes < MIN_CUT_BYTES || bytes > MAX_CUT_BYTES) return new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer);
  if (slabUsed + bytes > slab.length) {
    slab = new Uint8Array(Buffer.allocUnsafeSlow(ARENA_SLAB_BYTES).buffer);
    slabUsed = 0;
  }
  const at = slabUsed;
  slabUsed += bytes;
  return new Uint8Array(slab.buffer, at, bytes);
}

/** Gives the end of the memory that was allocated last back; what is left of it is returned. */
function shortened(memory: Uint8Array, bytes: number): Uint8Array {
  const kept = memory.subarray(0, bytes);
  if (memory.buffer === slab.buffer && memory.byteOffset + memory.length === slabUsed)
    slabUsed -= memory.length - bytes;
  return kept;
}

function isSameTtl(a: Own<TtlOptions>, b: Own<TtlOptions>): boolean {
  const never = Number.POSITIVE_INFINITY;
  return a.expireAtMs === b.expireAtMs && (a.ttlMs ?? never) === (b.ttlMs ?? never);
}

/** Rows are stored at multiples of 8 bytes. */
function aligned(bytes: number): number {
  // Not with bits: sizes up to 2^31 - 1 are rounded up.
  return Math.ceil(bytes / 8) * 8;
}

/**
 * Operations that `Db.write` applies whole or not at all. They are copied in when they are added, so the caller's bytes are its own
 * again; no request. The methods that add throw `InvalidArgumentError`, and have added nothing then.
 */
export class WriteBatch {
  #arena: Uint8Array = EMPTY_BYTES;
  #view: DataView = viewOf(EMPTY_BYTES);
  #used = 0;
  #ops = NO_OPERATIONS;
  #count = 0;
  /** Of keys and values. */
  #bytes = 0;
  /** A memtable holds the arena, too. */
  #isGiven = false;
  /** Of operations that were given one: each says one of the two. */
  #ttls: Map<number, Own<TtlOptions>> | undefined;
  #hasMerges = false;
  #conditions = NO_CONDITIONS;

  /** Number of operations added. */
  get length(): number {
    return this.#count;
  }

  /** Bytes of all keys and values. */
  get byteLength(): number {
    return this.#bytes;
  }

  /**
   * A batch of this copy of the package, whatever its prototype.
   * @internal
   */
  static isBatch(value: unknown): value is WriteBatch {
    return typeof value === 'object' && value !== null && #arena in value;
  }

  /**
   * Adds a value. With a condition, `ifAbsent` or `ifSeq`, the whole batch is applied only if it holds, as those of all its other keys,
   * for what is there before the batch.
   */
  put(key: Bytes, value: Bytes, options?: BatchPutOptions): this {
    const o = options === undefined ? undefined : batchPutOptions(options);
    this.#add(toKey(key), toValue(value), 0, o);
    if (o !== undefined) this.#expect(o.ifAbsent === true ? 'absent' : o.ifSeq);
    return this;
  }

  /** Deletes a key. The condition `ifSeq` is as that of `put`; a time to live is refused (`BAD_OPTION`). */
  delete(key: Bytes, options?: BatchDeleteOptions): this {
    const ifSeq = options === undefined ? undefined : batchDeleteOptions(options);
    this.#add(toKey(key), EMPTY_BYTES, FLAG_TOMBSTONE, undefined);
    this.#expect(ifSeq);
    return this;
  }

  /** Of the operation that was added last. */
  #expect(expected: Expected | undefined): void {
    if (expected === undefined) return;
    const condition = { key: this.#keyOf(this.#count - 1), expected };
    if (this.#conditions === NO_CONDITIONS) this.#conditions = [condition];
    else (this.#conditions as KeyCondition[]).push(condition);
  }

  /**
   * Of the operations, in the order in which they were added; about the rows before the batch.
   * @internal
   */
  get conditions(): readonly KeyCondition[] {
    return this.#conditions;
  }

  /** Adds a merge operand; needs the database's merge operator when it is written. */
  merge(key: Bytes, operand: Bytes, options?: TtlOptions): this {
    const ttl = options === undefined ? undefined : ttlOptions('merge', options);
    this.#add(toKey(key), toValue(operand), FLAG_MERGE, ttl);
    this.#hasMerges = true;
    return this;
  }

  /** Forgets all operations. */
  clear(): this {
    if (this.#isGiven) this.#replaceArena(EMPTY_BYTES);
    this.#used = 0;
    this.#count = 0;
    this.#bytes = 0;
    this.#ttls = undefined;
    this.#hasMerges = false;
    this.#conditions = NO_CONDITIONS;
    return this;
  }

  /** All that can fail comes first, the copies of the caller's bytes last of it: then nothing was added. */
  #add(key: Uint8Array, value: Uint8Array, flags: number, ttl: Own<TtlOptions> | undefined): this {
    const at = this.#used + HEADER_BYTES;
    // Each asked once, and of the array itself: memory that is not the caller's must never be written.
    const keyLength = trueLength(key);
    const valueLength = trueLength(value);
    const end = aligned(at + keyLength + valueLength);
    if (end > this.#arena.length) this.#growArena(end);
    const o = this.#count * COLUMNS;
    if (o === this.#ops.length) this.#growOps();
    this.#copyIn(key, keyLength, at);
    this.#copyIn(value, valueLength, at + keyLength);
    this.#used = end;
    this.#bytes += keyLength + valueLength;
    if (ttl?.ttlMs !== undefined || ttl?.expireAtMs !== undefined) {
      this.#ttls ??= new Map();
      this.#ttls.set(this.#count, ttl);
    }
    this.#ops[o + KEY_START] = at;
    this.#ops[o + KEY_LENGTH] = keyLength;
    this.#ops[o + VALUE_LENGTH] = valueLength;
    this.#ops[o + FLAGS] = flags;
    this.#count++;
    return this;
  }

  /** The arena has the room. */
  #copyIn(bytes: Uint8Array, length: number, at: number): void {
    const arena = this.#arena;
    if (length <= SHORT_KEY_BYTES) {
      for (let i = 0; i < length; i++) arena[at + i] = bytes[i];
      return;
    }
    try {
      arena.set(bytes, at);
    } catch (error) {
      // Seen once, of compiled code, for an array whose memory had just been transferred although its length was not 0.
      throw error instanceof TypeError ? memoryGone('key or value') : error;
    }
  }

  #growArena(needed: number): void {
    if (needed > MAX_ARENA_BYTES) {
      throw new InvalidArgumentError('BATCH_TOO_LARGE', `A batch holds at most ${MAX_ARENA_BYTES} bytes; divide it.`);
    }
    const bytes = Math.max(needed, LEAST_ARENA_BYTES, expectedBytes, this.#arena.length * 4);
    const arena = allocate(Math.min(MAX_ARENA_BYTES, aligned(bytes)));
    arena.set(this.#arena.subarray(0, this.#used));
    this.#replaceArena(arena);
  }

  #replaceArena(arena: Uint8Array): void {
    this.#arena = arena;
    this.#view = viewOf(arena);
    this.#isGiven = false;
  }

  #growOps(): void {
    const ops = new Int32Array(Math.max(LEAST_OPERATIONS, expectedOperations, this.#count * 4) * COLUMNS);
    ops.set(this.#ops);
    this.#ops = ops;
  }

  /** An independent copy. */
  copy(): WriteBatch {
    const copy = new WriteBatch();
    copy.#replaceArena(this.#arena.slice(0, this.#used));
    copy.#used = this.#used;
    copy.#ops = this.#ops.slice();
    copy.#count = this.#count;
    copy.#bytes = this.#bytes;
    copy.#ttls = this.#ttls === undefined ? undefined : new Map(this.#ttls);
    copy.#hasMerges = this.#hasMerges;
    copy.#conditions = this.#conditions === NO_CONDITIONS ? NO_CONDITIONS : [...this.#conditions];
    return copy;
  }

  /**
   * A batch with the same effect in which no two operations need the merge operator: this one if it has no merges, else a
   * new one with the merges of each key combined. The operator runs here, so that its exceptions leave no trace.
   * @param otherwise the time to live of operations that were given none
   * @internal
   */
  folded(operator: MergeOperator | undefined, otherwise: Own<TtlOptions> = NO_TTL): WriteBatch {
    if (!this.#hasMerges) return this;
    if (operator === undefined) throw missingOperator();
    const out = new WriteBatch();
    // A copy: the operator may write batches of its own, and they sort in the same memory.
    const order = this.#sorted().slice(0, this.#count);
    for (let i = 0; i < order.length; ) {
      let end = i + 1;
      while (end < order.length && this.#compare(order[i], order[end]) === 0) end++;
      this.#foldInto(out, order.subarray(i, end), operator, otherwise);
      i = end;
    }
    assertThat(out.#count > 0 && out.#count <= this.#count, 'folding gives each key one row (write-batch 2)');
    return out;
  }

  /** Adds the effect of all operations of one key, given in the order they were added. */
  #foldInto(out: WriteBatch, ops: Uint32Array, operator: MergeOperator, otherwise: Own<TtlOptions>): void {
    const last = ops[ops.length - 1];
    const key = this.#keyOf(last);
    // Most keys have one operation; and a put or delete is all that is seen of its key, whatever came before.
    if (ops.length === 1 || !isOperand(this.#flagsOf(last))) {
      out.#add(key, this.#valueOf(last), this.#flagsOf(last), this.#ttls?.get(last));
      return;
    }
    const versions = Array.from(ops, (op) => this.#versionOf(op)).reverse();
    // Nothing in a batch has expired.
    const { operands, base } = rowPartsOf(versions, undefined);
    this.#checkSameTtl(base === undefined ? operands : [...operands, base], otherwise);
    const { value, flags } = foldParts(versions, key, operator);
    out.#add(key, toValue(value), flags, this.#ttls?.get(last));
  }

  /** An operation as a version of its key; its number among all operations stands for a sequence number, which all of a batch share. */
  #versionOf(op: number): Version {
    return { flags: this.#flagsOf(op), value: this.#valueOf(op), seq: op, createTs: NO_TS, expireTs: NO_TS };
  }

  /** One row has one expiry: parts may name it in different words, but not different ones. */
  #checkSameTtl(parts: readonly Version[], otherwise: Own<TtlOptions>): void {
    const ttlOf = ({ seq: op }: Version) => this.#ttls?.get(op) ?? otherwise;
    const first = ttlOf(parts[0]);
    if (parts.every((part) => isSameTtl(ttlOf(part), first))) return;
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      'Merges of one key in one batch must all have the same time to live.',
    );
  }

  /**
   * Whether an operation was given a time to live of its own.
   * @internal
   */
  get hasTtls(): boolean {
    return this.#ttls !== undefined;
  }

  /**
   * Offers the arena to a memtable, if it is well filled and no memtable has it yet: what was added to it will not change.
   * `take` returns a negative number if it does not want it; so does this.
   * @internal
   */
  offerArena(take: (arena: Uint8Array) => number): number {
    const unused = this.#arena.length - this.#used;
    if (this.#isGiven || unused > this.#arena.length * MAX_UNUSED_PART) return -1;
    assertThat(unused >= 0, 'what was added is within its arena (write-batch 1)');
    const taken = take(this.#arena.subarray(0, this.#used));
    if (taken >= 0) {
      this.#replaceArena(shortened(this.#arena, this.#used));
      this.#isGiven = true;
    }
    return taken;
  }

  /**
   * Calls `row` for each row in key order, one per key: the last operation of each key. Before that, `ahead` is called with the
   * keys of some rows that come next, among them such as are replaced. Neither may touch any batch.
   * @internal
   */
  forEachRow(row: BatchRowVisitor, ahead?: KeysAheadVisitor): void {
    const order = this.#sorted();
    const arena = this.#arena;
    const ops = this.#ops;
    const ttls = this.#ttls;
    const n = this.#count;
    for (let i = 0; i < n; i++) {
      if (ahead !== undefined && i % EXPECTED_KEYS === 0) this.#announce(order, i, ahead);
      const op = order[i];
      if (i + 1 < n && scratch.ties[i] !== 0 && this.#compare(op, order[i + 1]) === 0) continue;
      const o = op * COLUMNS;
      const start = ops[o + KEY_START];
      const keyLength = ops[o + KEY_LENGTH];
      const ttl = ttls === undefined ? undefined : ttls.get(op);
      row(arena, start, keyLength, arena, start + keyLength, ops[o + VALUE_LENGTH], ops[o + FLAGS], ttl);
    }
    expectedBytes = Math.min(MAX_EXPECTED_BYTES, this.#used + (this.#used >>> 3));
    expectedOperations = Math.min(MAX_EXPECTED_BYTES >>> 6, n + (n >>> 3));
    if (n > MAX_KEPT_ROWS) scratch = new SortMemory(FIRST_SORT_ROWS);
  }

  #announce(order: Uint32Array, from: number, ahead: KeysAheadVisitor): void {
    const count = Math.min(EXPECTED_KEYS, this.#count - from);
    for (let i = 0; i < count; i++) {
      const o = order[from + i] * COLUMNS;
      aheadStarts[i] = this.#ops[o + KEY_START];
      aheadLengths[i] = this.#ops[o + KEY_LENGTH];
    }
    ahead(this.#arena, aheadStarts, aheadLengths, count);
  }

  #flagsOf(op: number): number {
    return this.#ops[op * COLUMNS + FLAGS];
  }

  #keyOf(op: number): Uint8Array {
    const start = this.#ops[op * COLUMNS + KEY_START];
    return this.#arena.slice(start, start + this.#ops[op * COLUMNS + KEY_LENGTH]);
  }

  #valueOf(op: number): OwnBytes {
    const start = this.#ops[op * COLUMNS + KEY_START] + this.#ops[op * COLUMNS + KEY_LENGTH];
    return this.#arena.slice(start, start + this.#ops[op * COLUMNS + VALUE_LENGTH]);
  }

  #compare(x: number, y: number): number {
    const ops = this.#ops;
    const i = ops[x * COLUMNS + KEY_START];
    const j = ops[y * COLUMNS + KEY_START];
    const lengthX = ops[x * COLUMNS + KEY_LENGTH];
    const lengthY = ops[y * COLUMNS + KEY_LENGTH];
    const n = lengthX < lengthY ? lengthX : lengthY;
    const common = commonBytes(this.#view, i, this.#view, j, n);
    return common < n ? this.#arena[i + common] - this.#arena[j + common] : lengthX - lengthY;
  }

  /**
   * Operations by (key, order of adding), in shared memory that the next call overwrites: the first `length` entries of
   * `scratch.order`. `scratch.ties[i]` is 0 where entry i certainly has another key than the next one.
   */
  #sorted(): Uint32Array {
    const n = this.#count;
    if (n > scratch.order.length) scratch = new SortMemory(n);
    const { order, ties } = scratch;
    let isSorted = true;
    for (let i = 0; i < n; i++) {
      order[i] = i;
      ties[i] = 1;
      if (isSorted && i > 0) isSorted = this.#compare(i - 1, i) <= 0;
    }
    if (!isSorted) this.#sortByPrefix(n);
    return scratch.order;
  }

  /**
   * Sorts by the four bytes after the common prefix: three stable counting passes over 11 bits each (20 ns per row in all;
   * a native sort of doubles took 60, one with a comparator 500). Then puts right what these bytes do not decide.
   */
  #sortByPrefix(n: number): void {
    const { prefixes, counts, ties } = scratch;
    const common = this.#commonPrefix();
    counts.fill(0);
    for (let i = 0; i < n; i++) {
      const at = this.#ops[i * COLUMNS + KEY_START] + common;
      const left = this.#ops[i * COLUMNS + KEY_LENGTH] - common;
      let x = 0;
      if (left >= 4) x = this.#view.getUint32(at);
      else for (let b = 0; b < 4; b++) x = (x << 8) | (b < left ? this.#arena[at + b] : 0);
      prefixes[i] = x;
      counts[x & DIGIT_MASK]++;
      counts[DIGITS + ((x >>> DIGIT_BITS) & DIGIT_MASK)]++;
      counts[2 * DIGITS + (x >>> (2 * DIGIT_BITS))]++;
    }
    for (let pass = 0; pass < PASSES; pass++) scratch.countingPass(n, pass);
    const { order } = scratch;
    for (let i = 0; i < n; ) {
      const prefix = prefixes[order[i]];
      let end = i + 1;
      while (end < n && prefixes[order[end]] === prefix) end++;
      ties[end - 1] = 0;
      if (end > i + 1) this.#sortRun(order, i, end);
      i = end;
    }
  }

  /** Sorts operations whose prefixes are equal. */
  #sortRun(order: Uint32Array, from: number, to: number): void {
    if (to - from > INSERTION_ROWS) {
      order.subarray(from, to).sort((x, y) => this.#compare(x, y) || x - y);
      return;
    }
    for (let i = from + 1; i < to; i++) {
      const op = order[i];
      let at = i;
      for (; at > from && this.#compare(order[at - 1], op) > 0; at--) order[at] = order[at - 1];
      order[at] = op;
    }
  }

  #commonPrefix(): number {
    const ops = this.#ops;
    const first = ops[KEY_START];
    let common = ops[KEY_LENGTH];
    for (let o = COLUMNS; o < this.#count * COLUMNS && common > 0; o += COLUMNS) {
      const limit = common < ops[o + KEY_LENGTH] ? common : ops[o + KEY_LENGTH];
      common = commonBytes(this.#view, ops[o + KEY_START], this.#view, first, limit);
    }
    return common;
  }
}

const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;
const DIGIT_MASK = DIGITS - 1;
const PASSES = 3;
/** Runs up to this length are sorted by insertion. */
const INSERTION_ROWS = 16;

/** Memory for sorting, shared by all batches: a sort is over before anything else runs. */
class SortMemory {
  order: Uint32Array;
  readonly ties: Uint8Array;
  readonly prefixes: Uint32Array;
  readonly counts = new Uint32Array(PASSES * DIGITS);
  #spare: Uint32Array;

  constructor(rows: number) {
    this.order = new Uint32Array(rows);
    this.#spare = new Uint32Array(rows);
    this.ties = new Uint8Array(rows);
    this.prefixes = new Uint32Array(rows);
  }

  /** Sorts `order` by one digit of the prefixes; `counts` says how often each occurs. */
  countingPass(n: number, pass: number): void {
    const { counts, prefixes, order } = this;
    const base = pass * DIGITS;
    const shift = pass * DIGIT_BITS;
    // Equal digits everywhere: nothing to do, and common in short keys.
    if (counts[base + ((prefixes[0] >>> shift) & DIGIT_MASK)] === n) return;
    let sum = 0;
    for (let d = base; d < base + DIGITS; d++) {
      const count = counts[d];
      counts[d] = sum;
      sum += count;
    }
    const out = this.#spare;
    for (let i = 0; i < n; i++) {
      const op = order[i];
      out[counts[base + ((prefixes[op] >>> shift) & DIGIT_MASK)]++] = op;
    }
    this.order = out;
    this.#spare = order;
  }
}

const FIRST_SORT_ROWS = 1024;
/** Memory for more rows is given back. */
const MAX_KEPT_ROWS = 1 << 16;

let scratch = new SortMemory(FIRST_SORT_ROWS);

const aheadStarts = new Int32Array(EXPECTED_KEYS);
const aheadLengths = new Int32Array(EXPECTED_KEYS);

/** Offsets are 31-bit. */
const MAX_ARENA_BYTES = 2 ** 31 - 8;

/** Receives one row: key and value as slices, flags (tombstone, merge or neither) and the expiry it was given. */
export type BatchRowVisitor = (
  keys: Uint8Array,
  keyStart: number,
  keyLength: number,
  values: Uint8Array,
  valueStart: number,
  valueLength: number,
  flags: number,
  ttl: Own<TtlOptions> | undefined,
) => void;

/** Receives keys: `count` parts of one buffer. The arrays are used again. */
export type KeysAheadVisitor = (keys: Uint8Array, starts: Int32Array, lengths: Int32Array, count: number) => void;
