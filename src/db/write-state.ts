/**
 * What the parts of a writer share: memtables, watermarks, and the one way to fail.
 *
 * Watermarks, never falling: `lastSeq` (assigned) >= `durableSeq` (in a WAL object, or without a WAL in a table that the
 * manifest names) >= the manifest's `last_l0_seq`. A view for readers is replaced as a whole, so that a row is never seen in
 * no place or counted as gone while it moves from memtable to table.
 */
import type { Clock } from '../common/clock.ts';
import {
  ClosedError,
  type DbError,
  FencedError,
  InternalError,
  InvalidArgumentError,
  isDbError,
  UnavailableError,
  type WriteOutcome,
} from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { TrackerPair } from '../format/sequence-tracker.ts';
import { Memtable } from '../lsm/memtable/memtable.ts';
import type { ReadView } from '../lsm/read/point-lookup.ts';
import type { TreeView } from '../lsm/tree/table-store.ts';
import { DurabilityWaiters } from './durability-waiters.ts';
import type { ResolvedOptions } from './options.ts';
import { Turns } from './turns.ts';

/** A memtable that takes no more rows and is on its way to a table. */
export interface FrozenMemtable {
  table: Memtable;
  /** WAL object with its last rows; known once they are durable, undefined without a WAL. */
  lastWalId: number | undefined;
  trackerPairs: TrackerPair[];
}

/** What an open snapshot reads: rows up to a sequence number, of which those are gone that had expired at a time. */
export interface Pin {
  readonly seq: number;
  readonly nowMs: number;
}

/** A clock that was so far ahead was wrong, or this one is: machines agree to a few seconds, and a few minutes do no harm. */
const FAR_AHEAD_MS = 10 * 60_000;
/** Of the budget: how far the memory of a memtable can be ahead of its rows. */
const MEMTABLE_CHUNK_PART = 1 / 64;

export class WriteState {
  readonly options: ResolvedOptions;
  /** Name of the store with the path of the database, for messages. */
  readonly where: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly waiters: DurabilityWaiters;
  readonly turns: Turns;
  active: Memtable;
  /** Oldest first. */
  frozen: FrozenMemtable[] = [];
  /** Pairs sampled for the active memtable. */
  trackerPairs: TrackerPair[] = [];
  view: ReadView;
  lastSeq: number;
  durableSeq: number;
  /** Highest sequence number that was sent to the store; above it nothing can have been applied. */
  sentSeq: number;
  /** Greatest create time of any row: never falls, so the wall clock may be less. */
  lastTickMs: number;
  /** The wall clock when the last row was numbered: what times to live count from. */
  nowMs = 0;
  #isTickTold = false;
  /** Bytes of encoded objects in memory: WAL objects and tables under way. */
  inFlightBytes = 0;
  /** Of the open snapshots. */
  readonly pins = new Set<Pin>();
  /** Up to when flushes have taken rows for expired: no later snapshot may see those. */
  expiredToMs = Number.NEGATIVE_INFINITY;
  /** Why no further call is served. */
  ended: DbError | undefined;
  readonly #memtableSeed: () => number;
  #spaceListeners: (() => void)[] = [];
  #endListeners: ((error: DbError) => void)[] = [];

  constructor(
    options: ResolvedOptions,
    where: string,
    tree: TreeView,
    start: { lastSeq: number; lastTickMs: number },
    memtableSeed: () => number,
  ) {
    this.options = options;
    this.where = where;
    this.clock = options.clock;
    this.logger = options.logger;
    this.waiters = new DurabilityWaiters(options.clock, options.timeoutMs);
    this.turns = new Turns(options.clock);
    this.#memtableSeed = memtableSeed;
    this.active = this.newMemtable();
    this.view = { memtables: [this.active], tree };
    this.lastSeq = start.lastSeq;
    this.durableSeq = start.lastSeq;
    this.sentSeq = start.lastSeq;
    this.lastTickMs = start.lastTickMs;
  }

  newMemtable(): Memtable {
    const maxChunkBytes = Math.floor(this.options.memoryBytes * MEMTABLE_CHUNK_PART);
    return new Memtable({ hashSeed: this.#memtableSeed(), maxChunkBytes });
  }

  /** Memory that only a flush can free, in bytes. */
  get unflushedBytes(): number {
    let bytes = this.inFlightBytes + this.active.memoryBytes;
    for (const f of this.frozen) bytes += f.table.memoryBytes;
    return bytes;
  }

  /** Replaces what readers see. */
  refreshView(tree: TreeView = this.view.tree): void {
    const memtables = [this.active];
    for (let i = this.frozen.length - 1; i >= 0; i--) memtables.push(this.frozen[i].table);
    this.view = { memtables, tree };
  }

  /** Milliseconds for a new row: never less than those of an earlier one. Sets `nowMs`. */
  nextTickMs(): number {
    const now = this.clock.nowMs();
    this.nowMs = now;
    if (now > this.lastTickMs) this.lastTickMs = now;
    else if (this.lastTickMs - now > FAR_AHEAD_MS) this.#warnOfTick(now);
    return this.lastTickMs;
  }

  /** Says once that rows of the future are stored: create times stand still until the clock has come that far. */
  checkTick(): void {
    const now = this.clock.nowMs();
    if (this.lastTickMs - now > FAR_AHEAD_MS) this.#warnOfTick(now);
  }

  #warnOfTick(nowMs: number): void {
    if (this.#isTickTold) return;
    this.#isTickTold = true;
    const aheadMs = this.lastTickMs - nowMs;
    this.logger.warn(
      `rows were written with a clock that was ${Math.round(aheadMs / 1000)} s ahead of this one: either was wrong. Create times stay at the later one until this clock has reached it; expiry goes by this clock`,
      { storedTick: this.lastTickMs, now: nowMs },
    );
    this.options.onEvent({ type: 'clock', storedTickMs: this.lastTickMs, nowMs });
  }

  /** Lowest sequence number that some snapshot may still read; `otherwise` without snapshots. */
  oldestSnapshot(otherwise: number): number {
    let oldest = otherwise;
    for (const { seq } of this.pins) if (seq < oldest) oldest = seq;
    return oldest;
  }

  /** Pins the present state. Its time is never before that of a flush under way, also where the clock was put back. */
  pin(): Pin {
    const pin = { seq: this.lastSeq, nowMs: Math.max(this.clock.nowMs(), this.expiredToMs) };
    this.pins.add(pin);
    return pin;
  }

  /** Up to when, but not later than `latestMs`, a table that is built now may leave out what has expired. */
  expireTo(latestMs: number): number {
    let toMs = Math.min(latestMs, this.clock.nowMs());
    for (const { nowMs } of this.pins) if (nowMs < toMs) toMs = nowMs;
    this.expiredToMs = Math.max(this.expiredToMs, toMs);
    return toMs;
  }

  /** Resolves at the next moment at which memory may have been freed. */
  onSpace(listener: () => void): void {
    this.#spaceListeners.push(listener);
  }

  spaceFreed(): void {
    const listeners = this.#spaceListeners;
    this.#spaceListeners = [];
    for (const listener of listeners) listener();
  }

  onEnd(listener: (error: DbError) => void): void {
    if (this.ended !== undefined) listener(this.ended);
    else this.#endListeners.push(listener);
  }

  assertServing(): void {
    if (this.ended !== undefined) throw this.ended;
  }

  /** Stops everything because of `cause`. The first cause counts. */
  fail(cause: unknown): void {
    if (this.ended !== undefined) return;
    if (cause instanceof FencedError) this.#end(cause);
    else {
      const error = isDbError(cause) ? cause : new InternalError(`Unexpected failure: ${String(cause)}`, { cause });
      this.#end(
        new ClosedError('FAILED', `${this.where}: the database stopped working: ${error.message} Open it again.`, {
          cause: error,
        }),
      );
    }
  }

  /** Stops everything because the user asked for it. */
  close(): void {
    if (this.ended === undefined) this.#end(new ClosedError('CLOSED', `${this.where}: the database is closed.`));
  }

  /** Why everything stopped, for one who waits for `seq`. */
  endedFor(seq: number): DbError {
    return endedWaiter(this.ended as DbError, seq > this.sentSeq ? 'not-applied' : 'unknown');
  }

  #end(error: DbError): void {
    this.ended = error;
    this.waiters.fail(Number.POSITIVE_INFINITY, (seq) => this.endedFor(seq));
    const listeners = this.#endListeners;
    this.#endListeners = [];
    for (const listener of listeners) listener(error);
    this.spaceFreed();
  }
}

/** Whether trying again cannot help: another owner, a state that nothing may be built on, or a bug. */
export function isFinal(error: unknown): boolean {
  return !isDbError(error) || ['fenced', 'corruption', 'incompatible', 'internal'].includes(error.kind);
}

/** What a waiting writer is told when everything stops. */
export function endedWaiter(error: DbError, outcome: WriteOutcome): DbError {
  const fields = { outcome, cause: error.cause ?? error, details: { ...error.details } };
  return error instanceof FencedError
    ? new FencedError(error.code, error.message, fields)
    : new ClosedError(error.code, error.message, fields);
}

/** A failure of the store while writing, for those who wait for the write: it stays queued, so it may still be applied. */
export function unsettledWrite(cause: unknown, seq: number): DbError {
  const details = { ...(isDbError(cause) ? cause.details : {}), seq };
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\.?$/, '.');
  const message = `The write is not known to be durable: ${reason} It stays queued and may become durable; read it back before writing it again.`;
  const fields = { outcome: 'unknown' as const, cause, details };
  if (cause instanceof InvalidArgumentError) return new InvalidArgumentError(cause.code, message, fields);
  const code = cause instanceof UnavailableError ? cause.code : 'WRITE_OUTCOME_UNKNOWN';
  return new UnavailableError(code, message, fields);
}
