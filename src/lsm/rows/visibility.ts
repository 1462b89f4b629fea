/**
 * The rules about versions of a key, each written here and nowhere else: what has expired, how versions become the row that a reader
 * sees, and which versions a rewrite (flush, compaction) keeps. Pure functions of flags, sequence number, expiry and two bounds; the
 * callers bring the cursors.
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
 * Sources: `Result row` of merges and the retention of flush and compaction in SlateDB; V4 hides at once what a SlateDB reader sees
 * until a rewrite drops it.
 */
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../format/row-flags.ts';
import { foldOperands, type MergeOperator } from './merge-operator.ts';

/** One version of a key, in memory of its own. */
export interface Version {
  flags: number;
  value: Uint8Array;
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

/** V3; false for an operand. */
export function isSeen({ flags, expireTs }: Pick<Version, 'flags' | 'expireTs'>, nowMs: number | undefined): boolean {
  return (flags & (FLAG_TOMBSTONE | FLAG_MERGE)) === 0 && !hasExpired(flags, expireTs, nowMs);
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
  const parts: Version[] = [];
  let base: Version | undefined;
  for (const version of versions) {
    if (!isOperand(version.flags)) {
      if (isSeen(version, nowMs)) base = version;
      break;
    }
    if (!hasExpired(version.flags, version.expireTs, nowMs)) parts.push(version);
  }
  if (parts.length === 0) return base;
  const operands = parts.map((part) => part.value).reverse();
  const value = foldOperands(operator, key, base?.value, operands);
  if (base !== undefined) parts.push(base);
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

/** What becomes of a version in a rewrite. */
export const KEEP = 0;
export const DROP = 1;
/** Without value and expiry, at the same place. */
export const MAKE_TOMBSTONE = 2;
export type Fate = typeof KEEP | typeof DROP | typeof MAKE_TOMBSTONE;

/** V7. `nowMs` undefined: nothing is taken for expired. */
export function fateByExpiry(flags: number, expireTs: number, nowMs: number | undefined): Fate {
  if (!hasExpired(flags, expireTs, nowMs)) return KEEP;
  return isOperand(flags) ? DROP : MAKE_TOMBSTONE;
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
    this.#barrier = barrier;
    this.#nowMs = nowMs;
  }

  /** @param isSameKey the version before it was one of the same key */
  next(isSameKey: boolean, seq: number, flags: number, expireTs: number): Fate {
    if (!isSameKey) {
      this.#isClosed = false;
      this.#seq = NO_SEQ;
    }
    if (this.#isClosed || seq === this.#seq) return DROP;
    this.#seq = seq;
    if (seq <= this.#barrier && !isOperand(flags)) this.#isClosed = true;
    return fateByExpiry(flags, expireTs, this.#nowMs);
  }
}

const NO_SEQ = -1;
