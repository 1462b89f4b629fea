/**
 * Salvage: the rows of a block that cannot be healed.
 *
 * ```
 * checks      | 0: rows 0-3 | 1: rows 4-7 | 2: rows 8-11 | 3: rows 12-15 | 4: rows 16-19 ...       row 16 is a restart row
 * block       | holds       | damaged, lengths wrong     | holds         | holds
 * found by      in place      fails, then searched for    the search       the list of restart rows, or in place
 * ```
 *
 * Rows under a check that holds are as good as those of an intact block, wherever they are. Step by step:
 * 1. from the front, as long as checks hold: each says where the next one begins;
 * 2. after a check that fails: if the next check begins with a restart row, at the place that the list after the rows names;
 * 3. else every place up to the next listed restart row is tried: where a legal row begins, the rows of one check are read and
 *    hashed, and the place counts only if a check that is still open has that hash (in WAL objects also that sequence number);
 * 4. the key prefix that such a row shares comes from the last verified key, or from the rows between as they are: the hash covers
 *    the prefix, so a wrong one does not pass;
 * 5. from what was found it goes on as in 1.
 *
 * All other rows are a guess, and are called that: `suspectRows` gives those that parse, fit the bounds and are in order between
 * verified rows, each with the reason why it is not trusted. No reader and no repair uses one unless the caller asks for it.
 *
 * The work is bounded as for healing (`workPerMib`): a block made to cost much loses rows, never time.
 */
import { assertThat } from '../common/assert.ts';
import { compareBytes, copyBytes, EMPTY_BYTES } from '../common/bytes.ts';
import { readInt64 } from './block-cursor.ts';
import { type BlockBounds, type BlockForm, workLimit } from './block-healing.ts';
import { type BlockProof, hasChecks, plainRowBytes } from './block-proof.ts';
import { CheckWalk, RowReader, RunningKey } from './check-walk.ts';
import { RESTART_INTERVAL } from './row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE, NO_TS } from './row-flags.ts';

interface RowContent {
  key: Uint8Array;
  /** Empty for a tombstone. */
  value: Uint8Array;
  seq: number;
  /** See row-flags.ts. */
  flags: number;
  /** Milliseconds, or NO_TS. */
  createTs: number;
  expireTs: number;
}

/** A row under a check that holds. */
export interface SalvagedRow extends RowContent {
  /** Position among the rows of the block. Between two rows with consecutive ordinals there was never another. */
  ordinal: number;
  trust: 'verified';
}

/** A row that nothing confirms. */
export interface SuspectRow extends RowContent {
  /** Unknown where rows before it in the block could not be counted. */
  ordinal: number | undefined;
  trust: 'suspect';
  /** Why it is not trusted, for people. */
  reason: string;
}

/** What looking at a place costs where no row can be, in bytes hashed. */
const PLACE_WORK = 64;

/**
 * Rows that are verified by a check of the seal, by ordinal. Key and value are copies. Empty for compressed blocks, blocks
 * of format version 1 and seals without checks. A wrong row passes with odds below 1e-10 per damaged block.
 * @param payload the stored block without its checksum; may be cut at its end
 */
export function salvageBlock(payload: Uint8Array, how: BlockForm & { proof: BlockProof }): SalvagedRow[] {
  return verifiedSpans(payload, how, how.proof).flatMap((span) => rowsOf(payload, span));
}

function rowsOf(payload: Uint8Array, span: Span): SalvagedRow[] {
  const rows: SalvagedRow[] = [];
  const key = new RunningKey();
  key.set(span.keyBefore);
  const reader = new RowReader();
  let p = span.start;
  for (let ordinal = span.ordinal; p < span.end; ordinal++) {
    p = reader.read(payload, p, span.end, key.length);
    assertThat(p > 0, 'rows of a check that holds can be read');
    key.take(payload, reader);
    rows.push({ ordinal, ...contentOf(payload, reader, key), trust: 'verified' });
  }
  return rows;
}

/** Copies of key and value: rows outlive the block, which may be large. */
function contentOf(payload: Uint8Array, row: RowReader, key: RunningKey): RowContent {
  const { flags, seq, valueStart, valueLength } = row;
  const hasExpiry = (flags & FLAG_EXPIRE) !== 0;
  return {
    key: key.copy(),
    value: copyBytes(payload.subarray(valueStart, valueStart + valueLength)),
    seq,
    flags,
    createTs: (flags & FLAG_CREATE) !== 0 ? readInt64(payload, row.timesStart + (hasExpiry ? 8 : 0)) : NO_TS,
    expireTs: hasExpiry ? readInt64(payload, row.timesStart) : NO_TS,
  };
}

/** Rows of one check that holds. */
interface Span {
  start: number;
  end: number;
  ordinal: number;
  /** The key before the first row; it has at least the prefix that this row shares. */
  keyBefore: Uint8Array;
}

function verifiedSpans(payload: Uint8Array, how: BlockForm, proof: BlockProof | undefined): Span[] {
  if (proof === undefined || how.codec.name !== 'none' || how.formatVersion !== 2 || !hasChecks(proof)) return [];
  const rowsEnd = plainRowBytes(proof);
  if (rowsEnd <= 0) return [];
  return new Salvage(payload, rowsEnd, proof, workLimit(how, payload.length)).run();
}

/** The search for checks that hold, over one block; makes the spans in ascending order. */
class Salvage {
  readonly #payload: Uint8Array;
  readonly #rowsEnd: number;
  readonly #proof: BlockProof;
  readonly #walk: CheckWalk;
  readonly #spans: Span[] = [];
  readonly #workLimit: number;
  /** No row that is still to be found begins before it. */
  #low = 0;

  constructor(payload: Uint8Array, rowsEnd: number, proof: BlockProof, workLimitBytes: number) {
    // A plain view also when a Buffer came in: hot loops then meet one kind of object only.
    this.#payload = new Uint8Array(payload.buffer, payload.byteOffset, payload.length);
    this.#rowsEnd = rowsEnd;
    this.#proof = proof;
    this.#walk = new CheckWalk(this.#payload, Math.min(rowsEnd, payload.length), proof);
    this.#workLimit = workLimitBytes;
  }

  run(): Span[] {
    const walk = this.#walk;
    let check = 0;
    /** Whether the rows of `check` must begin at `#low`. */
    let placed = true;
    while (check < walk.checkCount && walk.work <= this.#workLimit) {
      const restart = walk.restartOf(check);
      const listed = restart < 0 ? -1 : this.#listed(restart);
      if (placed && this.#take(check, this.#low)) check++;
      else if (listed >= this.#low && this.#take(check, listed)) {
        check++;
        placed = true;
      } else {
        const { found, end } = this.#search(check, listed);
        placed = found !== undefined;
        check = found === undefined ? end : found + 1;
      }
    }
    return this.#spans;
  }

  /** First check of the next restart group. */
  #nextGroup(check: number): number {
    const perGroup = RESTART_INTERVAL / this.#proof.rowsPerCheck;
    return (Math.floor(check / perGroup) + 1) * perGroup;
  }

  /** The position of a restart row according to the list after the rows; -1 if that is cut off or impossible. */
  #listed(restart: number): number {
    const at = this.#rowsEnd + 2 * restart;
    if (at + 2 > this.#payload.length) return -1;
    const offset = this.#payload[at] * 256 + this.#payload[at + 1];
    return offset < this.#walk.end ? offset : -1;
  }

  /** Takes the rows of a check at a place, if it holds there. What follows begins after them. */
  #take(check: number, at: number): boolean {
    const walk = this.#walk;
    const end = walk.verify(check, at);
    if (end < 0) return false;
    const ordinal = check * this.#proof.rowsPerCheck;
    this.#spans.push({ start: at, end, ordinal, keyBefore: walk.key.copy() });
    walk.pass(check, at);
    this.#low = end;
    return true;
  }

  /**
   * Searches the rows of this check or a later one, up to the next restart row that is listed, and takes the first that
   * holds. The prefix that a first row shares comes from the last verified key, or from the rows between as they stand.
   * `end`: the check with which to go on if none is found.
   */
  #search(check: number, listed: number): { found?: number; end: number } {
    const walk = this.#walk;
    const from = Math.max(this.#low, listed);
    let end = this.#nextGroup(check);
    while (end < walk.checkCount && this.#listed(walk.restartOf(end)) <= from) end = this.#nextGroup(end);
    end = Math.min(end, walk.checkCount);
    const to = end < walk.checkCount ? this.#listed(walk.restartOf(end)) : walk.end;
    const verified = new RunningKey();
    verified.copyFrom(walk.key);
    // Whatever is found, the row before it is not the last one that was verified.
    walk.lastSeq = -1;
    const between = new UnverifiedRows(this.#payload, from, walk.end, walk.key);
    const row = new RowReader();
    for (let at = from; at < to && walk.work <= this.#workLimit; at++) {
      walk.work += PLACE_WORK;
      // Most places are sorted out by their first row, and keys are only compared where there is one.
      if (row.read(this.#payload, at, walk.end, Number.POSITIVE_INFINITY) < 0) continue;
      for (const key of row.shared === 0 ? [verified] : [verified, between.keyBefore(at)]) {
        walk.key.copyFrom(key);
        const found = this.#checkAt(at, check, end);
        if (found !== undefined) return { found, end };
      }
    }
    walk.key.copyFrom(verified);
    return { end };
  }

  /** Takes the rows at a place if one of these checks holds there; returns which. */
  #checkAt(at: number, from: number, to: number): number | undefined {
    const walk = this.#walk;
    const { checks } = this.#proof;
    // The last check of a block may cover fewer rows.
    for (const rows of new Set([walk.rowsOf(from), walk.rowsOf(to - 1)])) {
      const end = walk.readRows(at, rows, walk.key.length);
      if (end < 0) continue;
      const hash = walk.hash(at, end);
      for (let check = from; check < to; check++) {
        if (checks[check] === hash && walk.rowsOf(check) === rows && this.#take(check, at)) return check;
      }
    }
    return undefined;
  }
}

/** Follows rows as they stand, in step with a search, to know the key before a place. */
class UnverifiedRows {
  readonly #payload: Uint8Array;
  readonly #end: number;
  readonly #row = new RowReader();
  readonly #key = new RunningKey();
  #at: number;

  constructor(payload: Uint8Array, at: number, end: number, key: RunningKey) {
    this.#payload = payload;
    this.#at = at;
    this.#end = end;
    this.#key.copyFrom(key);
  }

  /** Key of the last row that begins before `at`; places must ascend. */
  keyBefore(at: number): RunningKey {
    while (this.#at >= 0 && this.#at < at) {
      const next = this.#row.read(this.#payload, this.#at, this.#end, this.#key.length);
      // The key may be right although the rest is not.
      if (this.#row.hasKey) this.#key.take(this.#payload, this.#row);
      this.#at = next;
    }
    return this.#key;
  }
}

/**
 * Rows that parse and fit, besides those verified, in the order of their positions. Never to be put back unasked: any byte of
 * them may be wrong. Empty for compressed blocks and blocks of format version 1.
 * @param payload the stored block without its checksum; may be cut at its end
 */
export function suspectRows(
  payload: Uint8Array,
  how: BlockForm & { proof?: BlockProof; bounds?: BlockBounds },
): SuspectRow[] {
  if (how.codec.name !== 'none' || how.formatVersion !== 2) return [];
  const { proof, bounds = {} } = how;
  const spans = verifiedSpans(payload, how, proof);
  const rowsEnd = Math.min(proof === undefined ? statedRowsEnd(payload) : plainRowBytes(proof), payload.length);
  const listed = listedRows(payload, rowsEnd, proof);
  const out: SuspectRow[] = [];
  let from: RowPlace = { start: 0, ordinal: 0, key: EMPTY_BYTES };
  let before: SalvagedRow | undefined;
  for (const span of [...spans, undefined]) {
    const verified = span === undefined ? [] : rowsOf(payload, span);
    const gap = suspectsBetween(
      payload,
      from,
      listed,
      span?.start ?? rowsEnd,
      proof === undefined ? NO_CHECK : BAD_CHECK,
    );
    out.push(...gap.filter((row) => fits(row, bounds) && isBetween(row, before, verified[0], bounds.order)));
    if (span === undefined) break;
    before = verified[verified.length - 1];
    from = { start: span.end, ordinal: before.ordinal + 1, key: before.key };
  }
  return out;
}

const NO_CHECK = 'its block is damaged, and it has no check of its own';
const BAD_CHECK = 'its check does not hold';
const ASTRAY = 'its check does not hold, and the lengths of the rows around it do not add up';

/** A place where a row begins. */
interface RowPlace {
  start: number;
  ordinal: number | undefined;
  /** Key before it. */
  key: Uint8Array;
}

/** Rows from a place up to `end` as they stand; where they go astray, from the next restart row that is listed. */
function suspectsBetween(
  payload: Uint8Array,
  from: RowPlace,
  listed: readonly RowPlace[],
  end: number,
  reason: string,
): SuspectRow[] {
  const out: SuspectRow[] = [];
  const places = [from, ...listed.filter(({ start }) => start > from.start && start < end)];
  let ordinal = from.ordinal;
  for (let i = 0; i < places.length && places[i].start < end; i++) {
    const stop = i + 1 < places.length ? places[i + 1].start : end;
    const rows: SuspectRow[] = [];
    const row = new RowReader();
    const key = new RunningKey();
    key.set(places[i].key);
    if (i > 0) ordinal ??= places[i].ordinal;
    let at = places[i].start;
    while (at < stop) {
      at = row.read(payload, at, stop, key.length);
      if (at < 0) break;
      key.take(payload, row);
      rows.push({ ordinal, ...contentOf(payload, row, key), trust: 'suspect', reason });
      if (ordinal !== undefined) ordinal++;
    }
    if (at !== stop) {
      ordinal = undefined;
      for (const astray of rows) astray.reason = reason === BAD_CHECK ? ASTRAY : reason;
    }
    out.push(...rows);
  }
  return out;
}

/** Where the rows of a block end that says so itself; all of it where that cannot be. */
function statedRowsEnd(payload: Uint8Array): number {
  const end = payload.length;
  const count = end < 2 ? 0 : payload[end - 2] * 256 + payload[end - 1];
  const rowsEnd = end - 2 - 2 * count;
  return count > 0 && rowsEnd > 0 ? rowsEnd : end;
}

/** The restart rows listed after the rows, as far as their offsets ascend. */
function listedRows(payload: Uint8Array, rowsEnd: number, proof: BlockProof | undefined): RowPlace[] {
  const places: RowPlace[] = [];
  let last = -1;
  for (let i = 0, at = rowsEnd; at + 4 <= payload.length; i++, at += 2) {
    const start = payload[at] * 256 + payload[at + 1];
    if (start <= last || start >= rowsEnd) continue;
    last = start;
    // Other writers may have other intervals.
    places.push({ start, ordinal: proof === undefined ? undefined : i * RESTART_INTERVAL, key: EMPTY_BYTES });
  }
  return places;
}

/** What is known of the block from its neighbours and the index; it narrows what is offered, it proves nothing. */
function fits(row: SuspectRow, { separator, nextSeparator, minSeq = 0, maxSeq = Infinity }: BlockBounds): boolean {
  return (
    row.seq >= minSeq &&
    row.seq <= maxSeq &&
    (separator === undefined || compareBytes(row.key, separator) >= 0) &&
    (nextSeparator === undefined || compareBytes(row.key, nextSeparator) <= 0)
  );
}

/** Whether the key of a row is between those of the verified rows around it. */
function isBetween(
  row: RowContent,
  before: RowContent | undefined,
  next: RowContent | undefined,
  order: BlockBounds['order'],
): boolean {
  const follows = (a: RowContent | undefined, b: RowContent | undefined) => {
    if (a === undefined || b === undefined || order === undefined) return true;
    if (order === 'seqs') return a.seq <= b.seq;
    const d = compareBytes(a.key, b.key);
    return d < 0 || (d === 0 && a.seq > b.seq);
  };
  return follows(before, row) && follows(row, next);
}
