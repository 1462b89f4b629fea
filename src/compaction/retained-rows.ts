/**
 * What a compaction writes of each key: V6 to V12 of `lsm/rows/visibility`, applied to versions as they come, newest first.
 *
 * ```
 * version -> V6 V7 V8 -> V9 fold: waits for the older versions that go into it -> V11 filter -> V10 tombstone at the bottom: waits
 *            (gone)                                                                            for an older version -> sink
 * ```
 *
 * Nearly every version is a value that stays, and goes from its stretch to the sink without a copy in between. Only what waits is
 * copied: operands until their fold is complete, tombstones until it is known whether an older version stays.
 *
 * Invariants:
 * 1. Each version gets exactly one fate: `counts` add up at the end of every key.
 * 2. Rows reach the sink in row order.
 * 3. What waits belongs to one key; at the end of a key nothing waits.
 * 4. However many versions a key has, what waits is bounded: operands by `FOLD_PARTS`, by `FOLD_BYTES` and twice the largest result of a
 *    fold; tombstones that follow each other by some bytes for each.
 */
import { assertThat } from '../common/assert.ts';
import { copyBytes, EMPTY_BYTES, unsharedBytes } from '../common/bytes.ts';
import { AscendingRanges } from '../common/key-range.ts';
import { MAX_VALUE_BYTES } from '../format/block.ts';
import { FLAG_TOMBSTONE, NO_TS } from '../format/row-flags.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import {
  beginsFold,
  EXPIRED,
  expiryOf,
  type Fate,
  foldParts,
  goesAtBottom,
  isFiltered,
  isGone,
  isOperand,
  isValue,
  joinsFold,
  KEEP,
  MAKE_TOMBSTONE,
  REPEATED,
  RETAIN_ALL,
  Retention,
  tombstoneFlags,
  type Version,
} from '../lsm/rows/visibility.ts';
import { askFilter, type CompactionFilter } from './compaction-filter.ts';
import { type CompactionPlan, type MergeCounts, NO_ROWS } from './compaction-plan.ts';

/** Operands that are folded at once, as in SlateDB, and the bytes from which fewer are. */
const FOLD_PARTS = 100;
const FOLD_BYTES = 1 << 20;

/** A version where it is stored: the key in a buffer of its cursor, the value in its stretch. */
export interface StoredVersion {
  /** The key is `key[0, keyLength)`. */
  readonly key: Uint8Array;
  readonly keyView: DataView;
  readonly keyLength: number;
  /** The value is `bytes[valueStart, valueStart + valueLength)`. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly valueStart: number;
  readonly valueLength: number;
  readonly seq: number;
  readonly flags: number;
  readonly createTs: number;
  readonly expireTs: number;
}

/** Takes rows in row order, as `TableBuilder.add` does. */
export interface VersionSink {
  add(
    keys: Uint8Array,
    keyStart: number,
    keyLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
    keyView?: DataView,
    valueView?: DataView,
  ): void;
}

export type RowRules = Pick<CompactionPlan, 'barrier' | 'tickMs' | 'isBottom' | 'keptWhole' | 'keptTombstones'> & {
  operator: MergeOperator | undefined;
  filter: CompactionFilter | undefined;
};

/** Why a version is a tombstone. */
const STORED = 0;
const BY_EXPIRY = 1;
const BY_FILTER = 2;

/** A version that waits, in memory of its own. */
interface HeldVersion extends Version {
  cause: typeof STORED | typeof BY_EXPIRY | typeof BY_FILTER;
}

export class RetainedRows {
  readonly counts: MergeCounts = { ...NO_ROWS };
  /** A tombstone went, or a value at the bottom. */
  droppedTombstones = false;
  /** Where rows go. */
  sink: VersionSink;
  readonly #rules: RowRules;
  readonly #filter: CompactionFilter | undefined;
  /** V6 to V8, and V8 alone for keys of which every version is kept. */
  readonly #retention: Retention;
  readonly #repetition = new Retention(RETAIN_ALL, undefined);
  readonly #keptWhole: AscendingRanges;
  readonly #keptTombstones: AscendingRanges;
  readonly #hasRanges: boolean;
  /** Of the current key. */
  #isWhole = false;
  #isBottom: boolean;

  /** The key of what waits. */
  #key: Uint8Array = EMPTY_BYTES;
  /** Whether something of the current key waits. */
  #isWaiting = false;
  /** Parts of the open fold, newest first, with their bytes and the expiry of all. */
  #fold: HeldVersion[] = [];
  #foldBytes = 0;
  /** Twice what the last group became: results that grow are not copied for each operand. */
  #foldLimitBytes = FOLD_BYTES;
  #foldExpiry = NO_TS;
  /** Tombstones at the bottom of which it is not known whether an older version stays, newest first. */
  #tombstones: HeldVersion[] = [];

  constructor(rules: RowRules, sink: VersionSink) {
    this.#rules = rules;
    this.sink = sink;
    this.#filter = rules.filter;
    this.#retention = new Retention(rules.barrier, rules.tickMs);
    this.#keptWhole = new AscendingRanges(rules.keptWhole);
    this.#keptTombstones = new AscendingRanges(rules.keptTombstones);
    this.#hasRanges = rules.keptWhole.length + rules.keptTombstones.length > 0;
    this.#isBottom = rules.isBottom;
  }

  /** To be called before the first version of each key, after the end of the one before. */
  beginKey(key: Uint8Array, keyLength: number): void {
    if (!this.#hasRanges) return;
    this.#isWhole = this.#keptWhole.include(key, keyLength);
    this.#isBottom = this.#rules.isBottom && !this.#isWhole && !this.#keptTombstones.include(key, keyLength);
  }

  /** The next version of the key; `isSameKey`: it is not the first one. */
  take(row: StoredVersion, isSameKey: boolean): void {
    this.counts.rowsIn++;
    const retention = this.#isWhole ? this.#repetition : this.#retention;
    const { flags } = row;
    const fate = retention.next(isSameKey, row.seq, flags, row.expireTs);
    const isPlain = fate === KEEP && isValue(flags);
    if (isPlain && !this.#isWaiting && this.#filter === undefined) this.#put(row);
    else if (isGone(fate)) this.#count(fate);
    else this.#keep(row, fate);
  }

  #count(fate: Fate): void {
    if (fate === EXPIRED) this.counts.expired++;
    else if (fate === REPEATED) this.counts.repeated++;
    else this.counts.superseded++;
  }

  /** A version that V6 to V8 leave, with what makes it more than a plain value. */
  #keep(row: StoredVersion, fate: Fate): void {
    const { barrier, operator } = this.#rules;
    const isMade = fate === MAKE_TOMBSTONE;
    const flags = isMade ? tombstoneFlags(row.flags) : row.flags;
    const expireTs = isMade ? NO_TS : row.expireTs;
    const cause = isMade ? BY_EXPIRY : STORED;
    if (this.#fold.length > 0) {
      if (joinsFold(this.#foldExpiry, flags, expireTs)) {
        this.#join(copyOf(row, flags, expireTs, cause));
        return;
      }
      this.#closeFold();
    }
    if (!this.#isWhole && operator !== undefined && beginsFold(flags, row.seq, barrier)) {
      this.#wait(row);
      this.#foldExpiry = expiryOf(flags, expireTs);
      this.#join(copyOf(row, flags, expireTs, cause));
    } else if (this.#mustHold(flags, row.seq)) {
      this.#wait(row);
      this.#place(copyOf(row, flags, expireTs, cause));
    } else if (isMade) {
      this.#flushTombstones();
      this.counts.madeTombstones++;
      this.counts.rowsOut++;
      const { key, keyLength, keyView, seq, createTs } = row;
      this.sink.add(key, 0, keyLength, EMPTY_BYTES, 0, 0, seq, flags, createTs, NO_TS, keyView);
    } else this.#put(row);
  }

  /** Whether more than the sink decides about a version: it goes on as a copy. */
  #mustHold(flags: number, seq: number): boolean {
    if (goesAtBottom(flags)) return this.#isBottom;
    return this.#filter !== undefined && !this.#isWhole && isFiltered(flags, seq, this.#rules.barrier);
  }

  /** From here to the sink. */
  #put(row: StoredVersion): void {
    if (this.#tombstones.length > 0) this.#flushTombstones();
    this.counts.rowsOut++;
    this.sink.add(
      row.key,
      0,
      row.keyLength,
      row.bytes,
      row.valueStart,
      row.valueLength,
      row.seq,
      row.flags,
      row.createTs,
      row.expireTs,
      row.keyView,
      row.view,
    );
  }

  // ---- what waits

  #wait({ key, keyLength }: StoredVersion): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#key = copyBytes(key.subarray(0, keyLength));
  }

  #join(part: HeldVersion): void {
    this.#fold.push(part);
    this.#foldBytes += part.value.length;
    if (!isOperand(part.flags)) this.#closeFold();
    else if (this.#fold.length === FOLD_PARTS || this.#foldBytes > this.#foldLimitBytes) this.#shrinkFold();
  }

  /** One operand in place of those that wait; an operator may fold in groups. */
  #shrinkFold(): void {
    if (this.#fold.length === 1) return;
    const folded = this.#folded();
    if (folded === undefined) return;
    this.#fold = [folded];
    this.#foldBytes = folded.value.length;
    this.#foldLimitBytes = Math.max(FOLD_BYTES, 2 * this.#foldBytes);
  }

  #closeFold(): void {
    const [first] = this.#fold;
    const folded = this.#fold.length === 1 ? first : this.#folded();
    this.#fold = [];
    this.#foldBytes = 0;
    if (folded !== undefined) this.#place(folded);
  }

  /** What the parts become; undefined if that is more than a row can have: then they have gone on one by one. */
  #folded(): HeldVersion | undefined {
    const parts = this.#fold;
    const folded = foldParts(parts, this.#key, this.#rules.operator);
    if (folded.value.length <= MAX_VALUE_BYTES) {
      this.counts.folded += parts.length - 1;
      return { ...folded, cause: STORED };
    }
    this.#fold = [];
    this.#foldBytes = 0;
    for (const part of parts) this.#place(part);
    return undefined;
  }

  /** V11 and V10; nothing comes here of a key of which every version is kept. */
  #place(version: HeldVersion): void {
    const { flags, seq } = version;
    const isAsked = isFiltered(flags, seq, this.#rules.barrier);
    const left = this.#filter !== undefined && isAsked ? this.#filtered(this.#filter, version) : version;
    if (this.#isBottom && goesAtBottom(left.flags)) this.#tombstones.push(left);
    else {
      this.#flushTombstones();
      this.#putHeld(left);
    }
  }

  #filtered(filter: CompactionFilter, version: HeldVersion): HeldVersion {
    const { value, seq, createTs, expireTs, flags } = version;
    const verdict = askFilter(filter, {
      key: copyBytes(this.#key),
      value: copyBytes(value),
      seq: BigInt(seq),
      createTs: createTs === NO_TS ? undefined : createTs,
      expireTs: expiryOf(flags, expireTs) === NO_TS ? undefined : expireTs,
    });
    if (verdict === 'keep') return version;
    if (verdict !== 'drop') {
      this.counts.replaced++;
      return { ...version, value: unsharedBytes(verdict.replace) };
    }
    return { ...version, value: EMPTY_BYTES, flags: tombstoneFlags(flags), expireTs: NO_TS, cause: BY_FILTER };
  }

  #flushTombstones(): void {
    if (this.#tombstones.length === 0) return;
    const tombstones = this.#tombstones;
    this.#tombstones = [];
    for (const tombstone of tombstones) this.#putHeld(tombstone);
  }

  #putHeld({ value, seq, flags, createTs, expireTs, cause }: HeldVersion): void {
    const key = this.#key;
    if (cause !== STORED && (flags & FLAG_TOMBSTONE) !== 0) this.counts.madeTombstones++;
    this.counts.rowsOut++;
    this.sink.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }

  /** No version of the current key follows. */
  endKey(): void {
    if (this.#isWaiting) this.#endWaiting();
  }

  #endWaiting(): void {
    if (this.#fold.length > 0) this.#closeFold();
    for (const { cause } of this.#tombstones) {
      if (cause === BY_FILTER) this.counts.filtered++;
      else this.counts.tombstones++;
      this.droppedTombstones = true;
    }
    this.#tombstones = [];
    this.#isWaiting = false;
    assertThat(this.#fold.length === 0, 'at the end of a key nothing waits (retained-rows 3)');
  }
}

/** The version in memory of its own, of other flags if it became a tombstone. */
function copyOf(row: StoredVersion, flags: number, expireTs: number, cause: HeldVersion['cause']): HeldVersion {
  const { bytes, valueStart, valueLength, seq, createTs } = row;
  const isTombstone = (flags & FLAG_TOMBSTONE) !== 0;
  const value = isTombstone ? EMPTY_BYTES : copyBytes(bytes.subarray(valueStart, valueStart + valueLength));
  return { value, seq, flags, createTs, expireTs, cause };
}
