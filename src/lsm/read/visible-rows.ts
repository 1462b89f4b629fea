/**
 * From all versions of all keys to the rows a reader sees: for each key the newest version at or below a sequence number;
 * tombstones and (if asked for) expired rows hidden, merge operands folded.
 *
 * `fill` works in memory until it has enough rows, the range ends, or something must be fetched, so that a scan pays for
 * one promise per batch. Rows are copied once, into memory that belongs to the caller.
 *
 * Invariants:
 * 1. Rows come in strictly ascending (reverse: descending) key order, never more than were asked for.
 * 2. No row is made from versions around a damaged stretch, and none is forgotten at the end.
 * 3. The reader goes on after a damaged stretch only once its error was handed out, or goes into it, once, if asked to: then its rows
 *    are flagged, unless they are newer than all that may be missing.
 */
import { assertThat } from '../../common/assert.ts';
import { compareSlice, copyBytes, EMPTY_BYTES, equalBytes, keySuccessor, type OwnBytes } from '../../common/bytes.ts';
import { CorruptionError } from '../../common/errors.ts';
import { lastKeyOf } from '../../common/key-range.ts';
import { NO_TS } from '../../format/row-flags.ts';
import { FLAG_DAMAGED, type MayBeDamaged } from '../rows/damage-row.ts';
import { concerns, Gap } from '../rows/damaged-block.ts';
import type { MergeCursor } from '../rows/merge-cursor.ts';
import type { MergeOperator } from '../rows/merge-operator.ts';
import { copyOutOf } from '../rows/result-slab.ts';
import { BLOCKED, END, type RowCursor } from '../rows/row-cursor.ts';
import {
  canExpire,
  decidedFrom,
  FLAGS_NOT_ALWAYS_SEEN,
  foldVersions,
  isOperand,
  isSeen,
  type Version,
} from '../rows/visibility.ts';
import { Row, type ScanRow } from './scan-row.ts';

/** Half-open range of keys: from `gte` (undefined: the first) up to, not including, `lt` (undefined: the last). */
export interface ScanRange {
  gte: Uint8Array | undefined;
  lt: Uint8Array | undefined;
}

export interface VisibleRowsOptions {
  range: ScanRange;
  reverse: boolean;
  maxSeq: number;
  /** Rows that expired at or before this time are hidden; undefined: none are. */
  nowMs: number | undefined;
  mergeOperator: MergeOperator | undefined;
  /** Rows that are older may lack a newer version, which is lost: they are flagged. Default: none. */
  staleBelow?: number;
  /** Values are not read: each is given empty. Default: they are. */
  keysOnly?: boolean;
}

export type FillResult = 'more' | 'blocked' | 'done';

/** Flags that make a row anything but a plain value without expiry. */
const SPECIAL = FLAGS_NOT_ALWAYS_SEEN | FLAG_DAMAGED;

export class VisibleRows {
  readonly #merge: MergeCursor;
  readonly #options: VisibleRowsOptions;
  /** Key whose remaining versions are to be skipped or gathered. */
  #key: OwnBytes = EMPTY_BYTES;
  #hasKey = false;
  #lastKey: OwnBytes | undefined;
  /** Forward: operands of the current key, newest first. Reverse: its versions since the last base, oldest first. */
  #versions: Version[] = [];
  #seekTo: Uint8Array | undefined;
  #mustSeek = true;
  #mustMove = false;
  #done = false;
  /** The stretch whose error was thrown last, and where a seek finds what is in it. */
  #thrown: { gap: Gap; seekTo: Uint8Array | undefined } | undefined;
  readonly #staleBelow: number;
  /** Stretches from which rows are wanted nevertheless. */
  #included: Gap[] = [];

  constructor(merge: MergeCursor, options: VisibleRowsOptions) {
    this.#merge = merge;
    this.#options = options;
    this.#staleBelow = options.staleBelow ?? -1;
    this.#seekTo = options.reverse ? options.range.lt : options.range.gte;
  }

  /** Key of the last row that was given, in memory of its own. */
  get lastKey(): Uint8Array | undefined {
    return this.#lastKey;
  }

  /** Goes on at `key`: forward at the first row at or above it, reverse at the last row at or below it. */
  seek(key: Uint8Array): void {
    this.#thrown = undefined;
    this.#restart(this.#options.reverse ? keySuccessor(key) : key);
  }

  /** Whether an error was thrown last that `include` can go into. */
  get canInclude(): boolean {
    return this.#thrown !== undefined;
  }

  /** Goes back into the stretch whose error was thrown last, for what other sources hold of it. */
  include(): void {
    const thrown = this.#thrown;
    if (thrown === undefined) return;
    assertThat(!this.#included.includes(thrown.gap), 'a stretch is gone into once: then it stops no walk any more');
    this.#thrown = undefined;
    this.#included.push(thrown.gap);
    this.#restart(thrown.seekTo);
  }

  #restart(seekTo: Uint8Array | undefined): void {
    this.#merge.reset();
    this.#seekTo = seekTo;
    this.#mustSeek = true;
    this.#mustMove = false;
    this.#hasKey = false;
    this.#versions = [];
    this.#done = false;
  }

  /** Fetches what `fill` was blocked on. */
  load(): Promise<void> {
    return this.#merge.load();
  }

  /** Adds rows to `out` until it has `limit`, never more. Throws `CorruptionError` at a damaged stretch; the next call goes on after it. */
  fill(out: ScanRow[], limit: number): FillResult {
    if (this.#done) return 'done';
    this.#thrown = undefined;
    const from = out.length;
    try {
      const result = this.#fill(out, limit);
      assertThat(out.length <= Math.max(limit, from), 'no more rows are given than were asked for');
      assertThat(result !== 'done' || this.#versions.length === 0, 'no version waits for its row at the end');
      return result;
    } finally {
      if (out.length > from) {
        // The key at hand was given away with its row, and the caller may change it.
        const { key } = out[out.length - 1];
        this.#lastKey = copyBytes(key);
        if (this.#key === key) this.#key = this.#lastKey;
      }
      if (this.#included.length > 0 || this.#staleBelow >= 0) {
        for (let i = from; i < out.length; i++) if (this.#mayBeStale(out[i])) out[i].possiblyStale = true;
      }
    }
  }

  #fill(out: ScanRow[], limit: number): FillResult {
    if (this.#mustSeek) {
      if (this.#merge.seek(this.#seekTo) === BLOCKED) return 'blocked';
      this.#mustSeek = false;
    } else if (this.#mustMove) {
      if (this.#merge.next() === BLOCKED) return 'blocked';
      this.#mustMove = false;
    }
    return this.#options.reverse ? this.#fillReverse(out, limit) : this.#fillForward(out, limit);
  }

  #advance(): boolean {
    if (this.#merge.next() !== BLOCKED) return true;
    this.#mustMove = true;
    return false;
  }

  #fillForward(out: ScanRow[], limit: number): FillResult {
    const { maxSeq, range } = this.#options;
    const end = range.lt;
    const merge = this.#merge;
    while (out.length < limit) {
      if (merge.status === END) return this.#finish(out);
      const row = merge.row;
      if (this.#hasKey && this.#isSameKey(row)) {
        // A stretch that begins with the key at hand: it may hold more versions of it, and surely other keys.
        if ((row.flags & FLAG_DAMAGED) !== 0) this.#meetDamage(row);
        else if (this.#versions.length > 0 && row.seq <= maxSeq) this.#gatherOlder(row, out);
        if (!this.#advance()) return 'blocked';
        continue;
      }
      if (this.#versions.length > 0) {
        this.#emitFolded(out);
        if (out.length === limit) return 'more';
      }
      if (end !== undefined && compareSlice(row.keyBuf, row.keyStart, row.keyLength, end) >= 0)
        return this.#finish(out);
      if ((row.flags & FLAG_DAMAGED) !== 0) {
        this.#meetDamage(row);
        if (!this.#advance()) return 'blocked';
        continue;
      }
      if (row.seq > maxSeq) {
        if (!this.#advance()) return 'blocked';
        continue;
      }
      const key = copyOutOf(row.keyView, row.keyBuf, row.keyStart, row.keyLength);
      this.#key = key;
      this.#hasKey = true;
      if ((row.flags & SPECIAL) === 0) {
        out.push(new Row(key, this.#valueOf(row), BigInt(row.seq)));
      } else this.#special(row, key, out);
      if (!this.#advance()) return 'blocked';
    }
    return 'more';
  }

  #isSameKey(row: RowCursor): boolean {
    const key = this.#key;
    const { keyBuf, keyStart, keyLength } = row;
    if (keyLength !== key.length) return false;
    // Neighbours begin alike and mostly differ in their last byte.
    if (keyLength > 0 && keyBuf[keyStart + keyLength - 1] !== key[keyLength - 1]) return false;
    return compareSlice(keyBuf, keyStart, keyLength, key) === 0;
  }

  #special(row: RowCursor, key: OwnBytes, out: ScanRow[]): void {
    if (isOperand(row.flags)) {
      this.#versions.push(this.#version(row));
      return;
    }
    if (!isSeen(row, this.#options.nowMs)) return;
    const seen = new Row(key, this.#valueOf(row), BigInt(row.seq));
    // No tombstone and no operand: what makes it special is its expiry.
    if (canExpire(row.flags)) seen.expireTs = row.expireTs;
    out.push(seen);
  }

  #valueOf(row: RowCursor): OwnBytes {
    if (this.#options.keysOnly === true) return EMPTY_BYTES;
    return copyOutOf(row.valueView, row.valueBuf, row.valueStart, row.valueLength);
  }

  /** An older version of a key whose newest visible one is an operand. */
  #gatherOlder(row: RowCursor, out: ScanRow[]): void {
    this.#versions.push(this.#version(row));
    if (!isOperand(row.flags)) this.#emitFolded(out);
  }

  #emitFolded(out: ScanRow[]): void {
    const versions = this.#versions;
    this.#versions = [];
    this.#checkFold(versions);
    this.#push(versions, out);
  }

  #fillReverse(out: ScanRow[], limit: number): FillResult {
    const { maxSeq, range } = this.#options;
    const start = range.gte;
    const merge = this.#merge;
    while (out.length < limit) {
      if (merge.status === END) return this.#finish(out);
      const row = merge.row;
      const sameKey = this.#hasKey && this.#isSameKey(row);
      if (!sameKey) {
        this.#emitNewest(out);
        if (start !== undefined && compareSlice(row.keyBuf, row.keyStart, row.keyLength, start) < 0) {
          this.#hasKey = false;
          return this.#finish(out);
        }
        if ((row.flags & FLAG_DAMAGED) !== 0) this.#meetDamage(row);
        this.#key = copyOutOf(row.keyView, row.keyBuf, row.keyStart, row.keyLength);
        this.#hasKey = true;
      } else if ((row.flags & FLAG_DAMAGED) !== 0) this.#meetDamage(row);
      if ((row.flags & FLAG_DAMAGED) === 0 && row.seq <= maxSeq) {
        if (!isOperand(row.flags)) this.#versions = [];
        this.#versions.push(this.#version(row));
      }
      if (!this.#advance()) return 'blocked';
    }
    return 'more';
  }

  /** Reverse: all versions of the current key have been seen. */
  #emitNewest(out: ScanRow[]): void {
    if (this.#versions.length === 0) return;
    const versions = this.#versions.reverse();
    this.#versions = [];
    this.#checkFold(versions);
    this.#push(versions, out);
  }

  /** The row that the versions of the key at hand make, newest first. */
  #push(versions: readonly Version[], out: ScanRow[]): void {
    const { nowMs, mergeOperator } = this.#options;
    const seen = foldVersions(versions, this.#key, nowMs, mergeOperator);
    if (seen === undefined) return;
    const row = new Row(this.#key, seen.value, BigInt(seen.seq));
    if (seen.expireTs !== NO_TS) row.expireTs = seen.expireTs;
    if (decidedFrom(versions) < this.#staleBelow) row.possiblyStale = true;
    out.push(row);
  }

  #finish(out: ScanRow[]): FillResult {
    if (this.#versions.length > 0) {
      if (this.#options.reverse) this.#emitNewest(out);
      else this.#emitFolded(out);
    }
    this.#done = true;
    return 'done';
  }

  #version(row: RowCursor): Version {
    return {
      flags: row.flags,
      value: this.#valueOf(row),
      seq: row.seq,
      createTs: row.createTs,
      expireTs: row.expireTs,
    };
  }

  #mayBeStale(row: ScanRow): boolean {
    if (Number(row.seq) < this.#staleBelow) return true;
    return this.#included.some((gap) => concerns(gap, row.key, this.#options.maxSeq) && gap.seqs.max > Number(row.seq));
  }

  /** Operands are never folded over a stretch that may hold an operand or a value between them: then the key is damage. */
  #checkFold(versions: readonly Version[]): void {
    if (this.#included.length === 0 || versions.every((v) => !isOperand(v.flags))) return;
    const oldest = decidedFrom(versions);
    const key = this.#key;
    const around = this.#included.find((gap) => concerns(gap, key, this.#options.maxSeq) && gap.seqs.max > oldest);
    if (around !== undefined) this.#throwDamage(new Gap({ gte: key, lte: key }, around.seqs, around.error), false);
  }

  #meetDamage(row: RowCursor): void {
    const gap = (row as unknown as MayBeDamaged).damage as Gap;
    if (gap.seqs.min > this.#options.maxSeq || this.#included.some((other) => other.equals(gap))) return;
    this.#throwDamage(gap, true);
  }

  /** Hands the damage out, and makes the next call go on after it. */
  #throwDamage(gap: Gap, canInclude: boolean): never {
    const { reverse } = this.#options;
    const edge = reverse ? gap.keys.gte : lastKeyOf(gap.keys);
    const thrown = { gap, seekTo: this.#placeBefore(gap) };
    this.#restart(reverse ? edge : keySuccessor(edge));
    if (reverse && edge.length === 0) this.#done = true;
    if (canInclude) this.#thrown = thrown;
    throw new CorruptionError(
      gap.error.message,
      gap.error.findings.map((f) => ({ ...f, during: 'scan' as const })),
      { details: { ...gap.error.details }, resumeAfter: gap.keys.lte === undefined ? copyBytes(edge) : edge },
    );
  }

  /** Where a seek goes on that leaves out nothing but what was handed out. */
  #placeBefore(gap: Gap): Uint8Array | undefined {
    if (!this.#hasKey) return this.#seekTo;
    const isPending = this.#versions.length > 0;
    if (!this.#options.reverse) return isPending ? this.#key : keySuccessor(this.#key);
    // In reverse a key is handed out when the next one is met; the damage may be met as its own oldest version.
    const isOwn = isPending || equalBytes(lastKeyOf(gap.keys), this.#key);
    return isOwn ? keySuccessor(this.#key) : this.#key;
  }
}
