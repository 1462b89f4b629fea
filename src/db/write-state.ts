/**
 * What the parts of a writer share: memtables, watermarks, and the one way to fail.
 *
 * Everything in here moves through methods, each of which asserts the rules that it could break. Where one is broken, the handle
 * fails and nothing moves: what is durable was durable before, and nothing that is not so is acknowledged.
 *
 * 1. Watermarks: `lastSeq` (assigned) >= `sentSeq` (may be in the store) >= `durableSeq` (in a WAL object, or without a WAL in a table
 *    that the manifest names) >= `last_l0_seq` of the manifest in use. Without a WAL a manifest comes into use before its rows are called
 *    durable: in between its `last_l0_seq` is only <= `sentSeq`.
 * 2. None of them falls, but `sentSeq` to `durableSeq` where the store is known to have refused what was sent (`refused`).
 * 3. Writes are numbered without a gap, and a number is taken when its rows are in the active memtable.
 * 4. Frozen memtables have rows, stand in the order of their numbers, and leave from the oldest on, when the manifest in use
 *    covers all rows of one. The WAL object with the last row of one is set once, when all its rows are durable; these ids do not fall.
 * 5. A view for readers is replaced as a whole, so that a row is never seen in no place or counted as gone while it moves from
 *    memtable to table.
 * 6. Memory of objects under way is counted up before it is counted down: never below 0.
 * 7. Create times of rows do not fall.
 * 8. The first cause ends the handle, once.
 *
 * All runs between two promises: no method waits, so no other call comes in between.
 */

import { ruleBroken } from '../common/assert.ts';
import type { Clock } from '../common/clock.ts';
import type { WriteOutcome } from '../common/error-kind.ts';
import {
  ClosedError,
  type DbError,
  FencedError,
  InternalError,
  InvalidArgumentError,
  isDbError,
  UnavailableError,
} from '../common/errors.ts';
import type { EventListener } from '../common/events.ts';
import type { Logger } from '../common/logger.ts';
import { asSentence } from '../common/sentence.ts';
import type { TrackerPair } from '../format/sequence-tracker.ts';
import { Memtable } from '../lsm/memtable/memtable.ts';
import type { ReadView } from '../lsm/read/point-lookup.ts';
import type { TreeView } from '../lsm/tree/table-store.ts';
import { WriteCounts } from './counts.ts';
import { DurabilityWaiters, type WriteResult } from './durability-waiters.ts';
import type { WriterSettings } from './open-options.ts';
import type { Parts } from './options.ts';
import { Turns } from './turns.ts';

/** A memtable that takes no more rows and is on its way to a table. */
export interface FrozenMemtable {
  readonly table: Memtable;
  /** WAL object with its last rows; known once they are durable, undefined without a WAL. */
  readonly lastWalId: number | undefined;
  readonly trackerPairs: readonly TrackerPair[];
}

/** Hears of memtables that are about to leave: what the manifest in use holds of their rows is in tables only then. */
export type LeaveListener = (leaving: readonly Memtable[]) => void;

/** A clock that was so far ahead was wrong, or this one is: machines agree to a few seconds, and a few minutes do no harm. */
const FAR_AHEAD_MS = 10 * 60_000;
/** Of the budget: how far the memory of a memtable can be ahead of its rows. */
const MEMTABLE_CHUNK_PART = 1 / 64;

export interface WriteStateOptions
  extends Pick<WriterSettings, 'memoryBytes' | 'timeoutMs' | 'walEnabled'>,
    Pick<Parts, 'clock' | 'logger' | 'onEvent'> {
  /** Name of the store with the path of the database, for messages. */
  where: string;
  /** Of the manifest in use. */
  tree: TreeView;
  lastSeq: number;
  /** Greatest create time of any row that is stored. */
  lastTickMs: number;
  /** For the hash of one memtable. */
  memtableSeed(): number;
}

export class WriteState {
  /** Name of the store with the path of the database, for messages. */
  readonly where: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counts: WriteCounts;
  readonly waiters: DurabilityWaiters;
  readonly turns: Turns;
  #active: Memtable;
  #frozen: readonly FrozenMemtable[] = [];
  /** Pairs sampled for the active memtable. */
  #trackerPairs: TrackerPair[] = [];
  #view: ReadView;
  #lastSeq: number;
  #sentSeq: number;
  #durableSeq: number;
  /** Of the manifest in use. */
  #lastL0Seq: number;
  #lastTickMs: number;
  #nowMs = 0;
  #isTickReported = false;
  #inFlightBytes = 0;
  #ended: DbError | undefined;
  readonly #onEvent: EventListener;
  readonly #hasLog: boolean;
  readonly #maxChunkBytes: number;
  readonly #memtableSeed: () => number;
  #spaceListeners: (() => void)[] = [];
  #endListeners: ((error: DbError) => void)[] = [];
  readonly #leaveListeners = new Set<LeaveListener>();

  constructor(options: WriteStateOptions) {
    this.where = options.where;
    this.clock = options.clock;
    this.logger = options.logger;
    this.counts = new WriteCounts(options.clock);
    this.waiters = new DurabilityWaiters(options.clock, options.timeoutMs);
    this.turns = new Turns(options.clock);
    this.#onEvent = options.onEvent;
    this.#hasLog = options.walEnabled;
    this.#maxChunkBytes = Math.floor(options.memoryBytes * MEMTABLE_CHUNK_PART);
    this.#memtableSeed = options.memtableSeed;
    this.#active = this.#newMemtable();
    this.#view = { memtables: [this.#active], tree: options.tree };
    this.#lastSeq = options.lastSeq;
    this.#sentSeq = options.lastSeq;
    this.#durableSeq = options.lastSeq;
    this.#lastL0Seq = options.lastSeq;
    this.#lastTickMs = options.lastTickMs;
  }

  // ---- the state

  get active(): Memtable {
    return this.#active;
  }

  /** Oldest first. */
  get frozen(): readonly FrozenMemtable[] {
    return this.#frozen;
  }

  /** What readers see. */
  get view(): ReadView {
    return this.#view;
  }

  /** The newest number that a write has. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Highest sequence number that was sent to the store; above it nothing can have been applied. */
  get sentSeq(): number {
    return this.#sentSeq;
  }

  get durableSeq(): number {
    return this.#durableSeq;
  }

  /** Greatest create time of any row: never falls, so the wall clock may be less. */
  get lastTickMs(): number {
    return this.#lastTickMs;
  }

  /** The wall clock when the last row was numbered: what times to live count from. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Why no further call is served. */
  get ended(): DbError | undefined {
    return this.#ended;
  }

  #newMemtable(): Memtable {
    return new Memtable({ hashSeed: this.#memtableSeed(), maxChunkBytes: this.#maxChunkBytes });
  }

  /** Memory that only a flush can free, in bytes. */
  get unflushedBytes(): number {
    let bytes = this.#inFlightBytes + this.#active.memoryBytes;
    for (const f of this.#frozen) bytes += f.table.memoryBytes;
    return bytes;
  }

  // ---- rules

  /** Where a rule does not hold, the handle fails, and the call that met it as well. */
  mustHold(condition: boolean, rule: string): void {
    if (!condition) this.broken(rule);
  }

  /** For rules with details: they are only made when they are needed. */
  broken(rule: string, details: Record<string, unknown> = {}): never {
    const [lastSeq, sentSeq, durableSeq, lastL0Seq] = [this.#lastSeq, this.#sentSeq, this.#durableSeq, this.#lastL0Seq];
    const error = ruleBroken(rule, { ...details, lastSeq, sentSeq, durableSeq, lastL0Seq });
    this.fail(error);
    throw error;
  }

  // ---- moves of the watermarks

  /** The rows of a write are in the active memtable, under the next number. */
  assigned(seq: number): void {
    if (seq !== this.#lastSeq + 1 || this.#active.lastSeq !== seq) {
      this.broken('writes are numbered without a gap, after they are in the memtable', {
        seq,
        row: this.#active.lastSeq,
      });
    }
    this.#lastSeq = seq;
  }

  /** All rows of an object of the log that were in no table are in the active memtable. */
  replayed(maxSeq: number, maxCreateTs: number): void {
    this.mustHold(
      this.#sentSeq === this.#lastSeq && this.#durableSeq === this.#lastSeq,
      'a replay is over before the first write',
    );
    this.#lastTickMs = Math.max(this.#lastTickMs, maxCreateTs);
    this.#lastSeq = Math.max(this.#lastSeq, maxSeq);
    this.#sentSeq = this.#lastSeq;
    this.#durableSeq = this.#lastSeq;
  }

  /** Rows up to `seq` are about to be sent to the store. */
  sending(seq: number): void {
    if (seq > this.#lastSeq) this.broken('nothing is sent that has no number', { seq });
    if (seq > this.#sentSeq) this.#sentSeq = seq;
  }

  /** What was sent after the last durable row is known to be refused: nothing of it can have been applied. */
  refused(): void {
    this.#sentSeq = this.#durableSeq;
  }

  /** Rows up to `seq` are durable; resolves the calls that wait for them. */
  madeDurable(seq: number): void {
    if (seq > this.#sentSeq) this.broken('nothing is durable that was not sent', { seq });
    if (seq > this.#durableSeq) this.#durableSeq = seq;
    this.waiters.release(this.#durableSeq);
  }

  // ---- moves of rows

  /**
   * Makes the active memtable, which has rows, immutable, and puts an empty one in its place.
   * @param lastWalId where all its rows are durable, the WAL object with the last of them
   */
  freeze(lastWalId: number | undefined): FrozenMemtable {
    const table = this.#active;
    const before = this.#frozen.at(-1);
    const isNext = before === undefined || before.table.lastSeq < table.firstSeq;
    if (table.rowCount === 0 || !isNext || table.lastSeq > this.#lastSeq) {
      this.broken('memtables are frozen with rows, in the order of their numbers', { row: table.lastSeq });
    }
    const frozen: FrozenMemtable = { table, lastWalId: undefined, trackerPairs: this.#trackerPairs };
    if (lastWalId !== undefined) this.#setWalId(frozen, lastWalId, before);
    table.freeze();
    this.counts.freezes++;
    this.#trackerPairs = [];
    this.#frozen = [...this.#frozen, frozen];
    this.#active = this.#newMemtable();
    this.refreshView();
    return frozen;
  }

  /** The last rows of a frozen memtable are durable, in WAL object `walId`. */
  tableDurable(frozen: FrozenMemtable, walId: number): void {
    this.#setWalId(frozen, walId, this.#frozen[this.#frozen.indexOf(frozen) - 1]);
  }

  #setWalId(frozen: FrozenMemtable, walId: number, before: FrozenMemtable | undefined): void {
    const isOnce = frozen.lastWalId === undefined;
    const isNext = before === undefined || before.lastWalId === undefined || before.lastWalId <= walId;
    if (!isOnce || !isNext || frozen.table.lastSeq > this.#durableSeq) {
      this.broken('the last WAL object of a memtable is set once, in order, when its rows are durable', {
        walId,
        had: frozen.lastWalId,
        row: frozen.table.lastSeq,
      });
    }
    (frozen as { lastWalId: number | undefined }).lastWalId = walId;
  }

  /**
   * Another manifest is in use. One step for readers: its tables come into the view, and the memtables whose rows they hold leave it.
   * @param lastL0Seq its `last_l0_seq`
   */
  adopt(tree: TreeView, lastL0Seq: number): void {
    const most = this.#hasLog ? this.#durableSeq : this.#sentSeq;
    if (lastL0Seq < this.#lastL0Seq || lastL0Seq > most) {
      this.broken('rows in tables stay there, and were durable before', { next: lastL0Seq });
    }
    this.#lastL0Seq = lastL0Seq;
    const staying = this.#frozen.filter((f) => f.table.lastSeq > lastL0Seq);
    if (this.#leaveListeners.size > 0 && staying.length < this.#frozen.length) {
      const leaving = this.#frozen.slice(0, this.#frozen.length - staying.length).map((f) => f.table);
      for (const listener of this.#leaveListeners) listener(leaving);
    }
    this.#frozen = staying;
    this.refreshView(tree);
  }

  /** Calls `listener` in the step in which memtables leave the view, before they do. Returns what ends that. */
  onLeave(listener: LeaveListener): () => void {
    this.#leaveListeners.add(listener);
    return () => this.#leaveListeners.delete(listener);
  }

  /** Replaces what readers see. */
  refreshView(tree: TreeView = this.#view.tree): void {
    const memtables = [this.#active];
    for (let i = this.#frozen.length - 1; i >= 0; i--) memtables.push(this.#frozen[i].table);
    this.#view = { memtables, tree };
  }

  /** When a row of the active memtable was written. */
  sampled(pair: TrackerPair): void {
    this.#trackerPairs.push(pair);
  }

  // ---- memory

  /** Counts memory of an encoded object: of the WAL, or of a table under way. */
  hold(bytes: number): void {
    this.mustHold(bytes >= 0, 'memory that is held is counted from 0 up');
    this.#inFlightBytes += bytes;
  }

  letGo(bytes: number): void {
    if (bytes > this.#inFlightBytes) {
      this.broken('no more memory is let go than is held', { bytes, held: this.#inFlightBytes });
    }
    this.#inFlightBytes -= bytes;
  }

  // ---- time

  /** Milliseconds for a new row: never less than those of an earlier one. Sets `nowMs`. */
  nextTickMs(): number {
    const now = this.clock.nowMs();
    this.#nowMs = now;
    if (now > this.#lastTickMs) this.#lastTickMs = now;
    else if (this.#lastTickMs - now > FAR_AHEAD_MS) this.#warnOfTick(now);
    return this.#lastTickMs;
  }

  /** Says once that rows of the future are stored: create times stand still until the clock has come that far. */
  checkTick(): void {
    const now = this.clock.nowMs();
    if (this.#lastTickMs - now > FAR_AHEAD_MS) this.#warnOfTick(now);
  }

  #warnOfTick(nowMs: number): void {
    if (this.#isTickReported) return;
    this.#isTickReported = true;
    const aheadMs = this.#lastTickMs - nowMs;
    this.logger.warn(
      `rows were written with a clock that was ${Math.round(aheadMs / 1000)} s ahead of this one: either was wrong. Create times stay at the later one until this clock has reached it; expiry uses this clock`,
      { storedTick: this.#lastTickMs, now: nowMs },
    );
    this.#onEvent({ type: 'clock', storedTickMs: this.#lastTickMs, nowMs });
  }

  // ---- listeners and the end

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
    if (this.#ended !== undefined) listener(this.#ended);
    else this.#endListeners.push(listener);
  }

  assertServing(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  /** Stops everything because of `cause`. The first cause counts. */
  fail(cause: unknown): void {
    if (this.#ended !== undefined) return;
    if (cause instanceof FencedError) this.#end(cause);
    else {
      const error = isDbError(cause) ? cause : new InternalError(`Unexpected failure: ${String(cause)}`, { cause });
      this.#end(
        new ClosedError(
          'FAILED',
          `${this.where}: the database stopped working: ${asSentence(error.message)} Open it again.`,
          {
            cause: error,
          },
        ),
      );
    }
  }

  /** Stops everything because the user asked for it. */
  close(): void {
    if (this.#ended === undefined) this.#end(new ClosedError('CLOSED', `${this.where}: the database is closed.`));
  }

  /** Resolves when the write `seq`, which is applied, is durable. */
  untilDurable(seq: number, signal: AbortSignal | undefined): Promise<WriteResult> {
    // Everything stopped in that moment: nothing would answer this waiter.
    if (this.#ended !== undefined) return this.turns.refuse(this.endedFor(seq));
    try {
      // A wait without a signal ends by the store or by a timer.
      return signal === undefined ? this.waiters.add(seq) : this.turns.after(this.waiters.add(seq, signal));
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  /** Why everything stopped, for one who waits for `seq`. */
  endedFor(seq: number): DbError {
    return endedWaiter(this.#ended as DbError, seq > this.#sentSeq ? 'not-applied' : 'unknown');
  }

  #end(error: DbError): void {
    this.#ended = error;
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

/** The error for a waiting write when everything stops. */
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
