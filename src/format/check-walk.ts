/**
 * Walks rows of a block that may be damaged and compares them with the row checks of the seal. Format version 2 only, which
 * is the only one that is written with checks.
 *
 * ```
 * verify(check, at)    reads rowsOf(check) rows at `at`, hashes them with the shared prefix as seed, compares hash and seq
 * pass(check, at)      takes the running key over rows that were verified
 * key                  the key before the check that comes next
 * ```
 *
 * Nothing about the bytes is trusted. A row is legal only if
 * 1. its three lengths are varints of at most five bytes below 2^32;
 * 2. it shares no more than the key before it has, and its key has 1 to 65,535 bytes;
 * 3. key, value, sequence number, flags and times end within the rows' part of the block;
 * 4. its sequence number is at most 2^53 - 1 and its flags are legal (row-flags.ts).
 * A row that is not legal says where the damage is at the latest: `suspectEnd`. That is what bounds the search of a repair.
 *
 * The caller bounds the work: `work` counts the bytes that were hashed, and for each attempt as much as 512 of them.
 */
import { viewOf } from '../common/bytes.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import type { BlockProof } from './block-proof.ts';
import { xxHash32View } from './checksum.ts';
import { MAX_SEQ_HIGH, RESTART_INTERVAL } from './row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, FLAGS_KNOWN } from './row-flags.ts';

/** Three lengths of at most five bytes. */
const MAX_HEADER_BYTES = 15;
/** Sequence number and flags. */
const FIXED_TAIL_BYTES = 9;
/** What an attempt costs besides hashing, in bytes hashed: reading rows, some 10 ns each. */
const ATTEMPT_WORK = 512;

/** Reads single rows; the fields describe the row that was read last. */
export class RowReader {
  shared = 0;
  suffixStart = 0;
  unshared = 0;
  valueStart = 0;
  valueLength = 0;
  seq = 0;
  flags = 0;
  /** Where the times begin. */
  timesStart = 0;
  /** Whether the row's lengths were legal as far as its key; then `shared`, `suffixStart` and `unshared` are set. */
  hasKey = false;
  /** After a failure: damage that made the row illegal begins before this place. */
  suspectEnd = 0;
  #varint = 0;

  /** Position after the row at `start`, or -1 if no legal row ends at or before `end`. `keyLength`: of the row before. */
  read(b: Uint8Array, start: number, end: number, keyLength: number): number {
    this.suspectEnd = Math.min(end, start + MAX_HEADER_BYTES);
    this.hasKey = false;
    let p = this.#readVarint(b, start, end);
    const shared = this.#varint;
    if (p < 0 || shared > keyLength) return -1;
    p = this.#readVarint(b, p, end);
    const unshared = this.#varint;
    if (p < 0 || shared + unshared === 0 || shared + unshared > MAX_KEY_BYTES) return -1;
    p = this.#readVarint(b, p, end);
    const valueLength = this.#varint;
    if (p < 0 || p + unshared > end) return -1;
    this.hasKey = true;
    this.shared = shared;
    this.suffixStart = p;
    this.unshared = unshared;
    const tail = p + unshared + valueLength;
    if (tail + FIXED_TAIL_BYTES > end) return -1;
    this.suspectEnd = tail + FIXED_TAIL_BYTES;
    const high = ((b[tail] << 24) | (b[tail + 1] << 16) | (b[tail + 2] << 8) | b[tail + 3]) >>> 0;
    const flags = b[tail + 8];
    if (high > MAX_SEQ_HIGH || (flags & ~FLAGS_KNOWN) !== 0) return -1;
    if ((flags & FLAG_TOMBSTONE) !== 0 && (flags & FLAG_MERGE) !== 0) return -1;
    const times = tail + FIXED_TAIL_BYTES;
    const next = times + (flags & FLAG_EXPIRE ? 8 : 0) + (flags & FLAG_CREATE ? 8 : 0);
    if (next > end) return -1;
    this.valueStart = p + unshared;
    this.valueLength = valueLength;
    this.seq =
      high * 4294967296 + (((b[tail + 4] << 24) | (b[tail + 5] << 16) | (b[tail + 6] << 8) | b[tail + 7]) >>> 0);
    this.flags = flags;
    this.timesStart = times;
    this.suspectEnd = next;
    return next;
  }

  #readVarint(b: Uint8Array, p: number, end: number): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5 && p < end; i++) {
      const byte = b[p++];
      if (byte < 0x80) {
        if (i === 4 && byte > 0x0f) return -1;
        this.#varint = value + byte * scale;
        return p;
      }
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
    return -1;
  }
}

/** A key that grows along the rows: each replaces what it does not share. */
export class RunningKey {
  bytes: Uint8Array = new Uint8Array(256);
  view: DataView = viewOf(this.bytes);
  length = 0;

  set(key: Uint8Array): void {
    this.#reserve(key.length);
    this.bytes.set(key);
    this.length = key.length;
  }

  /** Takes the key of a row whose shared prefix this key has. */
  take(b: Uint8Array, row: RowReader): void {
    this.#reserve(row.shared + row.unshared);
    this.bytes.set(b.subarray(row.suffixStart, row.suffixStart + row.unshared), row.shared);
    this.length = row.shared + row.unshared;
  }

  copyFrom(other: RunningKey): void {
    this.set(other.bytes.subarray(0, other.length));
  }

  copy(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  #reserve(length: number): void {
    if (length <= this.bytes.length) return;
    const grown = new Uint8Array(2 * length);
    grown.set(this.bytes);
    this.bytes = grown;
    this.view = viewOf(grown);
  }
}

/** The rows of one block against its checks; the bytes may be changed between calls. */
export class CheckWalk {
  readonly bytes: Uint8Array;
  readonly proof: BlockProof;
  /** Rows end here at the latest. */
  readonly end: number;
  /** The key before the check that comes next; its prefix goes into that check. */
  readonly key = new RunningKey();
  readonly row = new RowReader();
  /** Bytes hashed so far, with something for every attempt: what bounds the work. */
  work = 0;
  /** After `verify`: damage that spoils the check begins before it. */
  suspectEnd = 0;
  /** Sequence number of the row before the check that comes next; -1 if that row is not known. */
  lastSeq = -1;
  readonly #view: DataView;
  /** Of the first of the rows that were read last. */
  #shared = 0;
  #firstSeq = 0;

  constructor(bytes: Uint8Array, end: number, proof: BlockProof) {
    this.bytes = bytes;
    this.proof = proof;
    this.end = end;
    this.#view = viewOf(bytes);
  }

  get checkCount(): number {
    return this.proof.checks.length;
  }

  rowsOf(check: number): number {
    const { rowsPerCheck, rowCount } = this.proof;
    return Math.min(rowsPerCheck, rowCount - check * rowsPerCheck);
  }

  /** Number of the restart row that the check begins with, or -1. */
  restartOf(check: number): number {
    const ordinal = check * this.proof.rowsPerCheck;
    return ordinal % RESTART_INTERVAL === 0 ? ordinal / RESTART_INTERVAL : -1;
  }

  /** Position after the rows of `check`, which begin at `at`, or -1 if it does not hold. Leaves `key` as it is. */
  verify(check: number, at: number): number {
    const next = this.readRows(at, this.rowsOf(check), this.restartOf(check) >= 0 ? 0 : this.key.length);
    if (next < 0 || this.hash(at, next) !== this.proof.checks[check]) return -1;
    return this.#fitsSeq(check) ? next : -1;
  }

  /** Position after so many rows at `at`, or -1 if not all are legal. `keyLength`: of the row before them. */
  readRows(at: number, rows: number, keyLength: number): number {
    const { row, bytes, end } = this;
    this.work += ATTEMPT_WORK;
    let p = at;
    for (let i = 0; i < rows; i++) {
      p = row.read(bytes, p, end, keyLength);
      if (p < 0) break;
      if (i === 0) {
        this.#shared = row.shared;
        this.#firstSeq = row.seq;
      }
      keyLength = row.shared + row.unshared;
    }
    this.suspectEnd = row.suspectEnd;
    return p;
  }

  /** Hash of the rows `[start, end)` that were just read, with the prefix that the first of them shares with `key`. */
  hash(start: number, end: number): number {
    const shared = this.#shared;
    this.work += end - start + shared;
    const seed = shared === 0 ? 0 : xxHash32View(this.key.view, 0, shared, 0);
    return xxHash32View(this.#view, start, end, seed);
  }

  /** Whether the first row that was just read may be that of `check` by its sequence number. */
  #fitsSeq(check: number): boolean {
    const { firstSeqs, continuations } = this.proof;
    const seq = this.#firstSeq;
    if (firstSeqs !== undefined && firstSeqs[check] !== seq) return false;
    if (continuations === undefined || check === 0 || this.lastSeq < 0) return true;
    return (continuations[check] === 1) === (seq === this.lastSeq);
  }

  /** Takes `key` over the rows of a check that was verified at `at`. */
  pass(check: number, at: number): void {
    let p = at;
    for (let i = 0, n = this.rowsOf(check); i < n; i++) {
      p = this.row.read(this.bytes, p, this.end, this.key.length);
      this.key.take(this.bytes, this.row);
    }
    this.lastSeq = this.row.seq;
  }
}
