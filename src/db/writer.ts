/**
 * The write path: checks, admits, numbers and inserts writes, and says when they are durable.
 *
 * 1. A write is one step without a promise in between: sequence number, memtable, view. So batches are whole for every reader,
 *    and the commit order is the order of the calls (asserted by `WriteState`). Durability is another matter (wal-flusher.ts).
 * 2. Back-pressure: while `maxUnflushedBytes` are held by memtables and uploads, writes queue in order of arrival until memory
 *    is freed or `writeTimeoutMs` is over; such a write is not applied. One that is admitted is applied and acknowledged in that moment.
 * 3. While a write waits for memory, something is on its way that frees some.
 * 4. A memtable is frozen when it is large, and also when its log has many objects (`boundLog`): an opening reads each of
 *    them. Not while another one waits for its table: until that is named, a further one would let go of no object.
 * 5. What depends on rows that are there (`Decision`) is decided in the step of 1, after every wait: no other write comes in between.
 */
import { holdListener, isAborted, onAbort } from '../common/abort.ts';
import { present } from '../common/assert.ts';
import { type Deferred, deferred, ignoreRejection } from '../common/async.ts';
import { EMPTY_BYTES, trueLength } from '../common/bytes.ts';
import { AbortError, InvalidArgumentError, isDbError, UnavailableError } from '../common/errors.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../format/row-flags.ts';
import { TrackerSampler } from '../format/sequence-tracker.ts';
import { type MergeOperator, missingOperator } from '../lsm/rows/merge-operator.ts';
import type { WriteResult } from './durability-waiters.ts';
import type { WriterSettings } from './open-options.ts';
import type { TableFlusher } from './table-flusher.ts';
import type { WalFlusher } from './wal-flusher.ts';
import type { BatchRowVisitor, WriteBatch } from './write-batch.ts';
import type { Own, TtlOptions, WriteOptions } from './write-options.ts';
import { endedWaiter, type FrozenMemtable, type WriteState } from './write-state.ts';

/** Rows between two reads of the time for the sequence tracker. */
const TRACKER_ROWS = 256;

/** A write that is decided in the step in which it would get its number (writer 5). */
export interface Decision {
  /** Memory that it needs as things are now. */
  bytes(): number;
  /** What is written; undefined: nothing. What it throws refuses the write. */
  rows(): DecidedRow | WriteBatch | undefined;
}

/** One put or deletion. */
export interface DecidedRow {
  key: Uint8Array;
  /** undefined: the key is deleted. */
  value: Uint8Array | undefined;
}

interface Queued {
  bytes(): number;
  apply(): void;
  admitted: Deferred<void>;
  /** The wait is over: takes back what would end it, its timer and what listens to its signal, and counts it. Called once. */
  disarm(): void;
}

export interface WriterParts {
  state: WriteState;
  /** undefined without a log. */
  wal: WalFlusher | undefined;
  tables: TableFlusher;
  settings: Pick<
    WriterSettings,
    | 'awaitDurable'
    | 'defaultTtlMs'
    | 'flushIntervalMs'
    | 'l0SstSizeBytes'
    | 'maxUnflushedBytes'
    | 'maxWalFlushesBeforeL0Flush'
    | 'writeTimeoutMs'
  >;
  mergeOperator: MergeOperator | undefined;
  /** Rows were written: keep an eye on the manifest. */
  onWrite(): void;
}

export class Writer {
  readonly #state: WriteState;
  readonly #wal: WalFlusher | undefined;
  readonly #tables: TableFlusher;
  readonly #settings: WriterParts['settings'];
  readonly #mergeOperator: MergeOperator | undefined;
  readonly #onWrite: () => void;
  readonly #sampler = new TrackerSampler();
  #queue: Queued[] = [];
  #rowsSinceSample = 0;

  constructor(options: WriterParts) {
    this.#state = options.state;
    this.#wal = options.wal;
    this.#tables = options.tables;
    this.#settings = options.settings;
    this.#mergeOperator = options.mergeOperator;
    this.#onWrite = options.onWrite;
    options.state.onEnd((error) => {
      this.#cancelFlush();
      const queue = this.#queue;
      this.#queue = [];
      for (const q of queue) {
        q.disarm();
        q.admitted.reject(endedWaiter(error, 'not-applied'));
      }
    });
  }

  put(key: Uint8Array, value: Uint8Array, o: Own<WriteOptions> | undefined): Promise<WriteResult> {
    return this.#single(key, value, 0, o);
  }

  delete(key: Uint8Array, o: Own<WriteOptions> | undefined): Promise<WriteResult> {
    return this.#single(key, EMPTY_BYTES, FLAG_TOMBSTONE, o);
  }

  merge(key: Uint8Array, operand: Uint8Array, o: Own<WriteOptions> | undefined): Promise<WriteResult> {
    if (this.#mergeOperator === undefined) throw missingOperator();
    return this.#single(key, operand, FLAG_MERGE, o);
  }

  #single(key: Uint8Array, value: Uint8Array, flags: number, o: Own<WriteOptions> | undefined): Promise<WriteResult> {
    stopBeforeApplied(o);
    const bytes = trueLength(key) + trueLength(value) + ROW_BYTES;
    if (this.#mustQueue(bytes)) {
      const k = new Uint8Array(key);
      const v = new Uint8Array(value);
      return this.#queued(
        () => bytes,
        o,
        () => {
          this.#insert(k, v, flags, o);
          return this.#acknowledge(o, 1);
        },
      );
    }
    const leave = holdOf(o);
    try {
      this.#insert(key, value, flags, o);
      return this.#acknowledge(o, 1);
    } finally {
      leave?.();
    }
  }

  write(batch: WriteBatch, o: Own<WriteOptions> | undefined): Promise<WriteResult> {
    stopBeforeApplied(o);
    if (batch.length === 0) return this.#state.turns.give({ seq: BigInt(this.#state.lastSeq) });
    const { bytes, folded: ready } = this.prepared(batch, o);
    if (this.#mustQueue(bytes)) {
      const copy = ready === batch ? batch.copy() : ready;
      return this.#queued(
        () => bytes,
        o,
        () => {
          this.#insertRows(copy, o);
          return this.#acknowledge(o, 1);
        },
      );
    }
    const leave = holdOf(o);
    try {
      this.#insertRows(ready, o);
      return this.#acknowledge(o, ready.length);
    } finally {
      leave?.();
    }
  }

  /** A batch as it is inserted, and the memory that it needs; throws `BATCH_TOO_LARGE` if it can never have that. */
  prepared(batch: WriteBatch, o: Own<WriteOptions> | undefined): { bytes: number; folded: WriteBatch } {
    const bytes = batch.byteLength + batch.length * ROW_BYTES;
    const { maxUnflushedBytes } = this.#settings;
    if (bytes > maxUnflushedBytes) {
      throw new InvalidArgumentError(
        'BATCH_TOO_LARGE',
        `The batch needs about ${bytes} bytes of memory; the limit is ${maxUnflushedBytes} (option maxUnflushedBytes). Divide it, or raise the limit.`,
      );
    }
    return { bytes, folded: batch.folded(this.#mergeOperator, this.#ttlOf(o)) };
  }

  /** Whether a write of this size would not have to wait. */
  hasRoomFor(bytes: number): boolean {
    return !this.#mustQueue(bytes);
  }

  /** Writes what is decided when memory for it is there; resolves with undefined if that is nothing. */
  decided(decision: Decision, o: Own<WriteOptions> | undefined): Promise<WriteResult | undefined> {
    stopBeforeApplied(o);
    if (this.#mustQueue(decision.bytes())) {
      return this.#queued(
        () => decision.bytes(),
        o,
        () => this.#decide(decision, o),
      );
    }
    const leave = holdOf(o);
    try {
      return this.#decide(decision, o);
    } finally {
      leave?.();
    }
  }

  #decide(decision: Decision, o: Own<WriteOptions> | undefined): Promise<WriteResult | undefined> {
    const rows = decision.rows();
    if (rows === undefined) return this.#state.turns.give(undefined);
    if (!('key' in rows)) this.#insertRows(rows, o);
    else if (rows.value === undefined) this.#insert(rows.key, EMPTY_BYTES, FLAG_TOMBSTONE, o);
    else this.#insert(rows.key, rows.value, 0, o);
    return this.#acknowledge(o, 'key' in rows ? 1 : rows.length);
  }

  /** Resolves when everything that was written so far is durable; begins that at once. */
  allDurable(): Promise<void> {
    const state = this.#state;
    const { lastSeq } = state;
    if (state.durableSeq >= lastSeq) return state.turns.give(undefined);
    if (this.#wal === undefined) this.#flushWithoutLog();
    else this.#wal.rowsAdded(true);
    return state.untilDurable(lastSeq, undefined).then(() => undefined);
  }

  /** Resolves when no write waits to be admitted. */
  async drained(): Promise<void> {
    while (this.#queue.length > 0) await this.#queue[this.#queue.length - 1].admitted.promise.catch(() => undefined);
  }

  /**
   * Makes the active memtable immutable, if it has rows.
   * @param replayedTo in a replay, the WAL object with its last rows
   */
  freeze(replayedTo?: number): FrozenMemtable | undefined {
    const state = this.#state;
    const { rowCount, lastSeq } = state.active;
    if (rowCount === 0) return undefined;
    const isDurable = this.#wal !== undefined && state.durableSeq >= lastSeq;
    const frozen = state.freeze(replayedTo ?? (isDurable ? this.#wal?.lastDurableId : undefined));
    if (isDurable) this.#wal?.startAt(state.active, state.active.end);
    else this.#wal?.rowsAdded(true);
    this.#tables.advance();
    return frozen;
  }

  /**
   * Freezes the active memtable if the log has as many objects as `maxWalFlushesBeforeL0Flush` that are in no table. For the moments
   * at which that can have become so: an object is durable, a table was named, the log was replayed.
   */
  boundLog(): void {
    const state = this.#state;
    if (this.#wal === undefined || state.frozen.length > 0 || state.ended !== undefined) return;
    const objects = this.#wal.lastDurableId - this.#tables.replayAfterWalId;
    state.mustHold(objects >= 0, 'the replay point is not after the last durable object (table-flusher 4)');
    if (objects >= this.#settings.maxWalFlushesBeforeL0Flush) this.freeze();
  }

  #mustQueue(bytes: number): boolean {
    const state = this.#state;
    return this.#queue.length > 0 || state.unflushedBytes + bytes > this.#settings.maxUnflushedBytes;
  }

  #insert(key: Uint8Array, value: Uint8Array, kind: number, o: Own<WriteOptions> | undefined): void {
    const state = this.#state;
    const tick = state.nextTickMs();
    const expireTs = kind === FLAG_TOMBSTONE ? NO_TS : this.#expiry(o?.ttlMs, o?.expireAtMs);
    const flags = kind | FLAG_CREATE | (expireTs === NO_TS ? 0 : FLAG_EXPIRE);
    const seq = state.lastSeq + 1;
    try {
      state.active.add(key, value, seq, flags, tick, expireTs);
    } catch (error) {
      throw notInserted(state, error);
    }
    state.assigned(seq);
    this.#inserted(1, key.length + value.length, tick, o);
  }

  #insertRows(batch: WriteBatch, o: Own<WriteOptions> | undefined): void {
    const state = this.#state;
    const tick = state.nextTickMs();
    const seq = state.lastSeq + 1;
    const { active } = state;
    let count = 0;
    // A row that expires has a longer header than a batch leaves room for.
    const canExpire = batch.hasTtls || this.#expiry(o?.ttlMs, o?.expireAtMs) !== NO_TS;
    const adopted = canExpire ? -1 : batch.offerArena((arena) => active.adopt(arena));
    const add: BatchRowVisitor = (keys, keyStart, keyLength, values, valueStart, valueLength, kind, ttl) => {
      count++;
      if (adopted >= 0) {
        active.addAdopted(adopted, keys, keyStart, keyLength, valueLength, seq, kind | FLAG_CREATE, tick);
        return;
      }
      const given = ttl ?? o;
      const expireTs = kind === FLAG_TOMBSTONE ? NO_TS : this.#expiry(given?.ttlMs, given?.expireAtMs);
      const flags = kind | FLAG_CREATE | (expireTs === NO_TS ? 0 : FLAG_EXPIRE);
      active.addSlice(keys, keyStart, keyLength, values, valueStart, valueLength, seq, flags, tick, expireTs);
    };
    try {
      batch.forEachRow(add, (...keys) => active.expectKeys(...keys));
    } catch (error) {
      // Memory ran out, say. Rows that are there cannot be taken back, and half a batch must never be seen.
      const refusal = notInserted(state, error);
      if (active.lastSeq === seq) state.fail(refusal);
      throw state.ended === undefined ? refusal : endedWaiter(state.ended, 'not-applied');
    }
    state.assigned(seq);
    this.#inserted(count, batch.byteLength, tick, o);
  }

  /** By the wall clock of this row, not by its create time, which a clock that was once far ahead may have fixed in the future. */
  #expiry(ttlMs: number | undefined, expireAtMs: number | undefined): number {
    if (expireAtMs !== undefined) return expireAtMs;
    const ttl = ttlMs ?? this.#settings.defaultTtlMs;
    if (ttl === undefined || ttl === Number.POSITIVE_INFINITY) return NO_TS;
    const at = this.#state.nowMs + ttl;
    return at > Number.MAX_SAFE_INTEGER ? NO_TS : at;
  }

  /** The time to live of operations of a write that were given none. */
  #ttlOf(o: Own<WriteOptions> | undefined): Own<TtlOptions> {
    const { ttlMs = this.#settings.defaultTtlMs, expireAtMs } = o ?? {};
    return expireAtMs === undefined ? { ttlMs, expireAtMs } : { ttlMs: undefined, expireAtMs };
  }

  #inserted(rows: number, bytes: number, tick: number, o: Own<WriteOptions> | undefined): void {
    const state = this.#state;
    const { counts } = state;
    counts.writes++;
    counts.rows += rows;
    counts.bytes += bytes;
    this.#rowsSinceSample -= rows;
    if (this.#rowsSinceSample <= 0) {
      this.#rowsSinceSample = TRACKER_ROWS;
      const pair = this.#sampler.sample(state.lastSeq, tick);
      if (pair !== undefined) state.sampled(pair);
    }
    const awaited = o?.awaitDurable ?? this.#settings.awaitDurable;
    this.#onWrite();
    if (state.active.dataBytes >= this.#settings.l0SstSizeBytes) this.freeze();
    if (this.#wal !== undefined) this.#wal.rowsAdded(awaited);
    else if (awaited) this.#flushWithoutLog();
  }

  #flushScheduled = false;
  #cancelFlush: () => void = () => undefined;

  /** Without a log a durable write has to become a table; writes of the same interval share it. */
  #flushWithoutLog(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    const timer = this.#state.clock.setTimer(this.#settings.flushIntervalMs, () => {
      this.#flushScheduled = false;
      if (this.#state.ended === undefined) this.freeze();
    });
    this.#cancelFlush = () => timer.cancel();
  }

  #acknowledge(o: Own<WriteOptions> | undefined, rows: number): Promise<WriteResult> {
    const state = this.#state;
    const seq = state.lastSeq;
    if (o?.awaitDurable ?? this.#settings.awaitDurable) return state.untilDurable(seq, o?.signal);
    return state.turns.give({ seq: BigInt(seq) }, rows);
  }

  /** `apply` acknowledges in the same moment: of those who wait for durability, none may come before one whose write is older. */
  async #queued<T>(bytes: () => number, o: Own<WriteOptions> | undefined, apply: () => Promise<T>): Promise<T> {
    const leave = holdOf(o);
    try {
      let acknowledged: Promise<T> | undefined;
      await this.#admission(bytes, o?.signal, () => {
        acknowledged = apply();
        ignoreRejection(acknowledged);
      });
      // Not awaited: a call that waits in there has a listener of its own already.
      return present(acknowledged, 'a write is acknowledged in the moment in which it is admitted (writer 2)');
    } catch (error) {
      return this.#state.turns.refuse(error);
    } finally {
      leave?.();
    }
  }

  /** Waits for memory, in order of arrival; `apply` runs in the moment of admission. */
  #admission(bytes: () => number, signal: AbortSignal | undefined, apply: () => void): Promise<void> {
    const state = this.#state;
    const { counts } = state;
    const { writeTimeoutMs, maxUnflushedBytes } = this.#settings;
    const admitted = deferred<void>();
    counts.queued++;
    const queuedMs = counts.nowMs;
    const giveUp = (error: Error) => {
      const at = this.#queue.indexOf(entry);
      if (at < 0) return;
      this.#queue.splice(at, 1);
      entry.disarm();
      admitted.reject(error);
    };
    const timer = state.clock.setTimer(writeTimeoutMs, () =>
      giveUp(overloaded(state, writeTimeoutMs, maxUnflushedBytes, this.#tables.stall)),
    );
    const leave = signal && onAbort(signal, () => giveUp(notApplied(signal)));
    const entry: Queued = {
      bytes,
      apply,
      admitted,
      disarm: () => {
        counts.queueTimes.observe(counts.secondsSince(queuedMs));
        timer.cancel();
        leave?.();
      },
    };
    this.#queue.push(entry);
    if (this.#queue.length === 1) this.#waitForSpace();
    return admitted.promise;
  }

  #waitForSpace(): void {
    const state = this.#state;
    // What fills the memory must be on its way out, or nothing would ever free any.
    if (state.frozen.length === 0) this.freeze();
    else this.#wal?.rowsAdded(true);
    this.#tables.advance();
    state.mustHold(this.#queue.length > 0, 'memory is waited for while a write waits for it (writer 3)');
    state.onSpace(() => this.#admit());
  }

  #admit(): void {
    const state = this.#state;
    if (state.ended !== undefined) return;
    while (this.#queue.length > 0) {
      const bytes = this.#queue[0].bytes();
      const hasRoom = state.unflushedBytes + bytes <= this.#settings.maxUnflushedBytes;
      // A memtable of its own is enough for the largest batch that is let in at all.
      const isAlone = state.frozen.length === 0 && state.active.rowCount === 0;
      if (!hasRoom && !isAlone) break;
      const entry = this.#queue.shift() as Queued;
      entry.disarm();
      try {
        entry.apply();
        entry.admitted.resolve();
      } catch (error) {
        entry.admitted.reject(error);
      }
    }
    if (this.#queue.length > 0) this.#waitForSpace();
  }
}

/** Memory a row takes in a memtable besides key and value, roughly. */
export const ROW_BYTES = 64;

function stopBeforeApplied(o: Own<WriteOptions> | undefined): void {
  const signal = o?.signal;
  if (signal !== undefined && isAborted(signal)) throw notApplied(signal);
}

/** Listens to the signal before anything is applied: one that cannot be listened to refuses the write with nothing done. */
function holdOf(o: Own<WriteOptions> | undefined): (() => void) | undefined {
  return o?.signal && holdListener(o.signal);
}

function notApplied(signal: AbortSignal): AbortError {
  return new AbortError('The write was aborted before it was admitted; it was not applied.', {
    outcome: 'not-applied',
    cause: signal.reason,
  });
}

/** The fault of a write that the memtable did not take. */
function notInserted(state: WriteState, cause: unknown): unknown {
  if (isDbError(cause) && cause.kind === 'internal') state.fail(cause);
  if (isDbError(cause) || !(cause instanceof RangeError)) return cause;
  const message = `${state.where}: the process has no memory left for the write (${cause.message}). It was not applied. Lower memoryBytes, or give the process more.`;
  return new UnavailableError('OVERLOADED', message, { outcome: 'not-applied', cause });
}

function overloaded(
  state: WriteState,
  timeoutMs: number,
  maxUnflushedBytes: number,
  stall: string | undefined,
): UnavailableError {
  return new UnavailableError(
    'OVERLOADED',
    `${state.where}: the write was not admitted within ${timeoutMs} ms (option writeTimeoutMs): ${state.unflushedBytes} bytes wait to be flushed, the limit is ${maxUnflushedBytes} (option maxUnflushedBytes). It was not applied.${stall === undefined ? '' : ` ${stall}`}`,
    { outcome: 'not-applied', details: { unflushedBytes: state.unflushedBytes } },
  );
}
