/**
 * A handle that exists before its database serves: every read and write waits until the log was replayed, and repaired where
 * that is needed, or until its own deadline.
 *
 * Invariants:
 * 1. Calls reach the database in the order in which they were made, with or without a signal: all that wait are made in one step, before
 *    any other can be.
 * 2. If the recovery fails every call rejects with its error.
 * 3. Once the database serves, no call waits, and only one call is in between.
 */
import { isAborted, onAbort, untilAborted } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import { deferred, ignoreRejection } from '../common/async.ts';
import { copyBytes, isBytes, trueBytes } from '../common/bytes.ts';
import type { Clock } from '../common/clock.ts';
import { AbortError, memoryGone, UnavailableError } from '../common/errors.ts';
import type { Metrics } from '../common/metrics.ts';
import { isPlainObject, isSignal, readingArgument } from '../common/option-checks.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { RepairReport } from '../recovery/repair-report.ts';
import { TOOL_ACCESS, type ToolAccess, type ToolHandle } from '../recovery/tool-access.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import { ByteReads } from './byte-reads.ts';
import type { CorruptionReport } from './corruption-watch.ts';
import type { Batch, Db } from './db.ts';
import type { EncodingOptions } from './encoding.ts';
import { storeMetrics } from './handle-metrics.ts';
import { LateReads, type Waiting } from './late-reads.ts';
import type { PinnedSnapshot } from './pinned-snapshot.ts';
import { BYTES_CODEC } from './row-codec.ts';
import type { ServingDb } from './serving-db.ts';
import { Turns } from './turns.ts';
import type { UpkeepState } from './upkeep.ts';
import { WriteBatch } from './write-batch.ts';
import { type ByteDb, CodedBatch, writeLevel } from './write-level.ts';
import { type CloseOptions, waitOptions } from './write-options.ts';

/** What a recovery ends with: the database, and the report if anything was repaired. */
export interface Recovered {
  db: ServingDb;
  report: RepairReport | undefined;
}

/** What a handle shows of its stores. */
type ShownStores = Pick<DatabaseStores, 'main' | 'path' | 'counts' | 'meters'>;

/** A call that waits: it is made, or refused, once. */
interface WaitingCall {
  make(db: ServingDb): void;
  refuse(error: unknown): void;
}

/** The handle of a database that `recovery` makes ready. Calls wait at most `timeoutMs`. */
export function recoveringDb(
  recovery: Promise<Recovered>,
  stores: ShownStores,
  clock: Clock,
  timeoutMs: number,
): HandleOfDb {
  ignoreRejection(recovery);
  return new RecoveringDb(recovery, stores, clock, timeoutMs);
}

/** A database in bytes, for what wraps it. */
export type HandleOfDb = ByteDb & ToolHandle;

class RecoveringDb extends ByteReads implements Db, ToolHandle {
  readonly #recovery: Promise<Recovered>;
  readonly #stores: ShownStores;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  /** Of calls that do not reach the database. */
  readonly #turns: Turns;
  #db: ServingDb | undefined;
  /** Why there will be no database. */
  #failure: { error: unknown } | undefined;
  /** In the order in which they came. */
  readonly #waiting = new Set<WaitingCall>();

  constructor(recovery: Promise<Recovered>, stores: ShownStores, clock: Clock, timeoutMs: number) {
    const turns = new Turns(clock);
    const waiting: Waiting = {
      turns,
      served: () => this.#db?.raw,
      call: (args, make) => this.#call(args, (db, own) => make(db.raw, own)),
      own: (argument) => copied(argument) as typeof argument,
    };
    super(new LateReads(waiting));
    this.#recovery = recovery;
    this.#stores = stores;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#turns = turns;
    ignoreRejection(
      recovery.then(
        ({ db }) => this.#serve(db),
        (error) => this.#fail(error),
      ),
    );
  }

  /** A call that code of the caller makes in the meantime, a getter of its options say, comes after all that wait. */
  #serve(db: ServingDb): void {
    for (const call of this.#waiting) call.make(db);
    this.#db = db;
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    for (const call of this.#waiting) call.refuse(error);
  }

  get path(): string {
    return this.#stores.path;
  }

  get store(): { readonly name: string } {
    return { name: this.#stores.main.name };
  }

  ready(): Promise<RepairReport | undefined> {
    return this.#turns.after(this.#recovery.then(({ report }) => report));
  }

  readonly put: Db['put'] = (...args) => this.#call(args, (db, a) => db.put(...a));
  readonly delete: Db['delete'] = (...args) => this.#call(args, (db, a) => db.delete(...a));
  readonly merge: Db['merge'] = (...args) => this.#call(args, (db, a) => db.merge(...a));
  readonly write: Db['write'] = (...args) => this.#call(args, (db, a) => db.write(...a));
  readonly touch: Db['touch'] = (...args) => this.#call(args, (db, a) => db.touch(...a));
  readonly deleteRange: Db['deleteRange'] = (...args) => this.#call(args, (db, a) => db.deleteRange(...a));
  readonly clear: Db['clear'] = (...args) => this.#call(args, (db, a) => db.clear(...a));
  readonly estimateSize: Db['estimateSize'] = (...args) => this.#call(args, (db, a) => db.estimateSize(...a));
  readonly compact: Db['compact'] = (...args) => this.#call(args, (db, a) => db.compact(...a));
  readonly flush: Db['flush'] = (...args) => this.#call(args, (db, a) => db.flush(...a));

  override readonly sublevel: Db['sublevel'] = (name: string, options?: EncodingOptions) =>
    writeLevel(this, BYTES_CODEC, '', name, options);

  batch(): Batch {
    return new CodedBatch(this, BYTES_CODEC);
  }

  snapshot(): PinnedSnapshot {
    return this.#served().snapshot();
  }

  corruptions(): CorruptionReport {
    return this.#served().corruptions();
  }

  upkeep(): UpkeepState {
    return this.#served().upkeep();
  }

  [TOOL_ACCESS](): ToolAccess {
    return this.#served()[TOOL_ACCESS]();
  }

  requestCounts(): RequestCountsByRole {
    return this.#stores.counts();
  }

  metrics(): Metrics {
    return this.#db === undefined ? storeMetrics(this.#stores, 'db') : this.#db.metrics();
  }

  /** Ends the recovery's database, once it is there: what a recovery has begun it ends. */
  close(options?: CloseOptions): Promise<void> {
    let signal: AbortSignal | undefined;
    try {
      ({ signal } = waitOptions('close', options));
    } catch (error) {
      return this.#turns.refuse(error);
    }
    const closed = this.#recovery.then(
      ({ db }) => db.close(),
      () => undefined,
    );
    return this.#turns.after(untilAborted(closed, signal));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #served(): ServingDb {
    if (this.#db === undefined) throw this.#recovering('wait for ready() first');
    return this.#db;
  }

  /** Arguments belong to the caller again when the call returns. */
  #call<A extends readonly unknown[], T>(args: A, call: (db: ServingDb, args: A) => Promise<T>): Promise<T> {
    try {
      if (this.#db !== undefined) {
        assertThat(this.#waiting.size === 0, 'no call waits once the database serves (recovering-db 3)');
        return call(this.#db, args);
      }
      const own = args.map(copied) as readonly unknown[] as A;
      return this.#wait(signalOf(own), (db) => call(db, own));
    } catch (error) {
      return this.#turns.refuse(error);
    }
  }

  #wait<T>(signal: AbortSignal | undefined, call: (db: ServingDb) => Promise<T>): Promise<T> {
    if (signal !== undefined && isAborted(signal)) throw notMade(signal);
    if (this.#failure !== undefined) throw this.#failure.error;
    const { promise, resolve } = deferred<T>();
    const end = (result: () => Promise<T>) => {
      if (!this.#waiting.delete(waiting)) return;
      timer.cancel();
      leave?.();
      try {
        resolve(result());
      } catch (error) {
        // The others are made nevertheless.
        resolve(this.#turns.refuse(error));
      }
    };
    const waiting: WaitingCall = {
      make: (db) => end(() => call(db)),
      refuse: (error) => end(() => this.#turns.refuse(error)),
    };
    const leave = signal && onAbort(signal, () => waiting.refuse(notMade(signal)));
    const timer = this.#clock.setTimer(this.#timeoutMs, () =>
      waiting.refuse(this.#recovering(`it was not ready within ${this.#timeoutMs} ms (option timeoutMs)`)),
    );
    this.#waiting.add(waiting);
    return promise;
  }

  #recovering(what: string): UnavailableError {
    return new UnavailableError('RECOVERING', `${this.#stores.main.name}: the log is being recovered; ${what}.`, {
      outcome: 'not-applied',
    });
  }
}

/** The signal among the options of a call, which come last. Those are checked when the call is made. */
function signalOf(args: readonly unknown[]): AbortSignal | undefined {
  const options = args[args.length - 1];
  if (typeof options !== 'object' || options === null) return undefined;
  const { signal } = options as { signal?: unknown };
  return isSignal(signal) ? (signal as AbortSignal) : undefined;
}

function notMade(signal: AbortSignal): AbortError {
  return new AbortError('The call was aborted before the database served; it was not made.', {
    outcome: 'not-applied',
    cause: signal.reason,
  });
}

/** What is no argument of any call stays what it is: the database refuses it. */
function copied(argument: unknown): unknown {
  if (isBytes(argument)) return ownBytes(argument);
  if (WriteBatch.isBatch(argument)) return argument.copy();
  return readingArgument('the call', () => {
    if (Array.isArray(argument)) return copiedKeys(argument);
    if (!isPlainObject(argument)) return argument;
    const members = Object.getOwnPropertyDescriptors(argument) as Record<string, PropertyDescriptor>;
    // Bounds of a range.
    for (const member of Object.values(members)) if (isBytes(member.value)) member.value = ownBytes(member.value);
    return Object.create(Object.getPrototypeOf(argument), members) as unknown;
  });
}

/** Up to the first that is no key: an array may be sparse, and longer than memory. */
function copiedKeys(keys: readonly unknown[]): readonly unknown[] {
  const own: unknown[] = [];
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i];
    own.push(isBytes(key) ? ownBytes(key) : key);
    if (!isBytes(key) && typeof key !== 'string') break;
  }
  return own;
}

function ownBytes(bytes: Uint8Array): Uint8Array {
  const own = trueBytes(bytes);
  if (own === undefined) throw memoryGone('argument');
  return copyBytes(own);
}
