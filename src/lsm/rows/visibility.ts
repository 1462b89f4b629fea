/**
 * The rules about versions of a key, each written here and nowhere else: what has expired, how versions become the row that a reader
 * sees, which versions a rewrite (flush, compaction) keeps, and what a compaction makes of those. Pure functions of flags, sequence
 * number, expiry and two bounds; the callers bring the cursors.
 *
 * Versions of a key are always given newest first, each sequence number once. A *base* is a version that is no merge operand: a value
 * or a tombstone.
 *
 * Rules:
 * V1. A version has expired at a time if it has an expiry and that is at or before it. Without a time nothing has expired.
 * V2. What a reader sees of a key ends at its first base; older versions never matter.
 * V3. A base is seen if it is a value that has not expired.
 * V4. Operands that have expired are as if they had never been written. The others are folded, oldest first, over the base if that is
 *     seen, else over nothing. Without any of them the base alone is the row.
 * V5. The row of a fold has the greatest sequence number and create time of the parts that went into it, and the earliest of their
 *     expiries. So a rewrite that drops what has expired changes no row.
 * V6. A rewrite keeps every version above its barrier, then those down to the first base at or below it; the rest of the key goes.
 * V7. A rewrite that knows a time makes a value that has expired a tombstone with the same sequence number and create time, because
 *     older versions may exist elsewhere; an operand that has expired goes.
 * V8. A version that is met twice (the same key and sequence number) is kept once: the first that is met.
 *
 * A compaction goes on with what V6 to V8 leave of a key:
 * V9. An operand at or below the barrier is folded with the older versions, down to the first base and this included, as long as all of
 *     them have one expiry (none is one, too; a tombstone has none). The result has the newest sequence number; over a base it is a value,
 *     without one it stays an operand: older versions may exist elsewhere. Operands above the barrier stay apart, as a snapshot may be
 *     between them, and so do those of different expiries, as each ends at its time. Without an operator nothing is folded.
 * V10. At the bottom, where no older version exists elsewhere, a tombstone that is the oldest version left goes; then the next may be it.
 * V11. A filter is asked about values at or below the barrier, before V10: what it drops becomes a tombstone (V7), what it replaces keeps
 *     its number.
 * V12. Of keys that an open loss covers every version is kept as it is: V6, V7 and V9 to V11 are off. Where older data of the tree is
 *     damaged or lost, V10 is off.
 *
 * Sources: `Result row` of merges and the retention of flush and compaction in SlateDB; V4 hides at once what a SlateDB reader sees
 * until a rewrite drops it.
 */
import { assertThat, present } from '../../common/assert.ts';
import type { OwnBytes } from '../../common/bytes.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../format/row-flags.ts';
import { foldOperands, type MergeOperator } from './merge-operator.ts';

/** One version of a key, in memory of its own. */
export interface Version {
  flags: number;
  value: OwnBytes;
  seq: number;
  /** ms since the epoch, or `NO_TS`. */
  createTs: number;
  expireTs: number;
}

/** What a reader sees of a key. */
export type SeenRow = Omit<Version, 'flags'>;

/** Whether `hasExpired` depends on the time at all: asking a clock costs more than a read from memory. */
export function canExpire(flags: number): boolean {
  return (flags & FLAG_EXPIRE) !== 0;
}

/** V1. `nowMs` undefined: nothing is taken for expired. */
export function hasExpired(flags: number, expireTs: number, nowMs: number | undefined): boolean {
  return canExpire(flags) && nowMs !== undefined && expireTs <= nowMs;
}

export function isOperand(flags: number): boolean {
  return (flags & FLAG_MERGE) !== 0;
}

/** A base that is seen unless it has expired: no tombstone and no operand. */
export function isValue(flags: number): boolean {
  return (flags & (FLAG_TOMBSTONE | FLAG_MERGE)) === 0;
}

/** V3; false for an operand. */
export function isSeen({ flags, expireTs }: Pick<Version, 'flags' | 'expireTs'>, nowMs: number | undefined): boolean {
  return isValue(flags) && !hasExpired(flags, expireTs, nowMs);
}

/** The same, asking for the time only where it matters. */
export function isSeenNow(flags: number, expireTs: number, now: (() => number) | undefined): boolean {
  return isValue(flags) && (!canExpire(flags) || !hasExpired(flags, expireTs, now?.()));
}

/** Flags of which none is set on a version that is seen at any time (V3): most rows, known by one comparison. */
export const FLAGS_NOT_ALWAYS_SEEN = FLAG_TOMBSTONE | FLAG_MERGE | FLAG_EXPIRE;

interface Parts<V> {
  /** That have not expired, newest first. */
  operands: V[];
  /** If it is seen. */
  base: V | undefined;
}

/** V2 to V4: what goes into the row of a key. `versions` may go on after the first base. */
export function rowPartsOf<V extends Pick<Version, 'flags' | 'expireTs'>>(
  versions: readonly V[],
  nowMs: number | undefined,
): Parts<V> {
  const parts: Parts<V> = { operands: [], base: undefined };
  for (const version of versions) {
    if (!isOperand(version.flags)) {
      if (isSeen(version, nowMs)) parts.base = version;
      break;
    }
    if (!hasExpired(version.flags, version.expireTs, nowMs)) parts.operands.push(version);
  }
  return parts;
}

/**
 * The row that versions of one key make (V2 to V5); undefined if there is none to see. `versions` may go on after the
 * first base.
 *
 * Throws `MERGE_OPERATOR_MISSING` if operands that have not expired are met without an operator, and what the operator throws.
 */
export function foldVersions(
  versions: readonly Version[],
  key: Uint8Array,
  nowMs: number | undefined,
  operator: MergeOperator | undefined,
): SeenRow | undefined {
  const { operands, base } = rowPartsOf(versions, nowMs);
  if (operands.length === 0) return base;
  const values = operands.map((part) => part.value).reverse();
  const value = foldOperands(operator, key, base?.value, values);
  const parts = base === undefined ? operands : [...operands, base];
  return { value, seq: parts[0].seq, createTs: latestOf(parts), expireTs: firstExpiryOf(parts) };
}

function latestOf(parts: readonly Version[]): number {
  return parts.reduce((latest, { createTs }) => Math.max(latest, createTs), NO_TS);
}

function firstExpiryOf(parts: readonly Version[]): number {
  let first = NO_TS;
  for (const { flags, expireTs } of parts) {
    if (canExpire(flags) && (first === NO_TS || expireTs < first)) first = expireTs;
  }
  return first;
}

/** Sequence number above which something unknown would change what is seen of these versions; -1: anything would. */
export function decidedFrom(versions: readonly Version[]): number {
  const last = versions.at(-1);
  return last === undefined || isOperand(last.flags) ? -1 : last.seq;
}

// ---- rewrites

/** What becomes of a version in a rewrite: it stays, ... */
export const KEEP = 0;
/** ... it stays without value and expiry, ... */
export const MAKE_TOMBSTONE = 1;
/** ... or it goes: by V6, by V8, or an operand by V7. */
export const SUPERSEDED = 2;
export const REPEATED = 3;
export const EXPIRED = 4;
export type Fate = typeof KEEP | typeof MAKE_TOMBSTONE | typeof SUPERSEDED | typeof REPEATED | typeof EXPIRED;

/** Whether a version of this fate is left out. */
export function isGone(fate: Fate): boolean {
  return fate >= SUPERSEDED;
}

/** V7. `nowMs` undefined: nothing is taken for expired. */
export function fateByExpiry(flags: number, expireTs: number, nowMs: number | undefined): Fate {
  if (!hasExpired(flags, expireTs, nowMs)) return KEEP;
  return isOperand(flags) ? EXPIRED : MAKE_TOMBSTONE;
}

/** Of the tombstone that a value becomes. */
export function tombstoneFlags(flags: number): number {
  return FLAG_TOMBSTONE | (flags & FLAG_CREATE);
}

/** As a barrier: every version is kept. */
export const RETAIN_ALL = -1;
/** As a barrier: of each key only what a reader of the newest state needs. */
export const RETAIN_NEWEST = Number.POSITIVE_INFINITY;

/** V6 to V8, for one walk over versions in row order. */
export class Retention {
  readonly #barrier: number;
  readonly #nowMs: number | undefined;
  #seq = NO_SEQ;
  /** The rest of the current key goes. */
  #isClosed = false;

  /**
   * @param barrier the lowest sequence number that a reader may still ask for
   * @param nowMs when values and operands count as expired; undefined: none do
   */
  constructor(barrier: number, nowMs: number | undefined) {
    assertThat(barrier >= RETAIN_ALL, 'a barrier is a sequence number, or keeps all versions');
    this.#barrier = barrier;
    this.#nowMs = nowMs;
  }

  /** @param isSameKey the version before it was one of the same key */
  next(isSameKey: boolean, seq: number, flags: number, expireTs: number): Fate {
    if (!isSameKey) {
      this.#isClosed = false;
      this.#seq = NO_SEQ;
    }
    if (this.#isClosed) return SUPERSEDED;
    if (seq === this.#seq) return REPEATED;
    this.#seq = seq;
    if (seq <= this.#barrier && !isOperand(flags)) this.#isClosed = true;
    return fateByExpiry(flags, expireTs, this.#nowMs);
  }
}

const NO_SEQ = -1;

// ---- compactions

/** When a version expires; `NO_TS`: never. */
export function expiryOf(flags: number, expireTs: number): number {
  return canExpire(flags) ? expireTs : NO_TS;
}

/** V9. Whether a version that is left begins a fold, into which older ones of its expiry go. */
export function beginsFold(flags: number, seq: number, barrier: number): boolean {
  return isOperand(flags) && seq <= barrier;
}

/** V9. Whether the next older version goes into the fold whose parts have this expiry. With a base the fold is complete. */
export function joinsFold(foldExpiry: number, flags: number, expireTs: number): boolean {
  return expiryOf(flags, expireTs) === foldExpiry;
}

/**
 * V9. The one version that the parts of a fold become: operands, newest first, and perhaps a base. They may go on after the first base,
 * and none of them counts as expired.
 */
export function foldParts(parts: readonly Version[], key: Uint8Array, operator: MergeOperator | undefined): Version {
  const row = present(foldVersions(parts, key, undefined, operator), 'a fold has an operand');
  const isBased = parts.some(({ flags }) => !isOperand(flags));
  const times = (row.createTs === NO_TS ? 0 : FLAG_CREATE) | (row.expireTs === NO_TS ? 0 : FLAG_EXPIRE);
  return { ...row, flags: (isBased ? 0 : FLAG_MERGE) | times };
}

/** V10, of the oldest version left of a key. */
export function goesAtBottom(flags: number): boolean {
  return (flags & FLAG_TOMBSTONE) !== 0;
}

/** V11. Whether a filter is asked about a version that is left. */
export function isFiltered(flags: number, seq: number, barrier: number): boolean {
  return seq <= barrier && isValue(flags);
}
