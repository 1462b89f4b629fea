/**
 * Makes an unreliable store bounded in time and its puts settled: transient failures are tried again with full-jitter
 * exponential backoff until a deadline, and a put whose answer was lost is decided by proof.
 *
 * Invariants:
 * - A refusal of the first attempt of a put is final: it is never retried and never hidden (fencing rests on it), unless the
 *   object in the place has the put id of this very put (`proveRefusal`). A put that resumes an earlier call is in doubt from
 *   its start.
 * - All attempts of a put send the same bytes and the same put id. A refusal after an attempt without an answer is settled
 *   by reading the object: the put id in its metadata, else all of its bytes, which hold the put id themselves. Empty bytes
 *   without metadata prove nothing and count as another's. An `If-Match` put of bytes without a put id counts as applied
 *   when the object has exactly these bytes, whoever wrote them: the state is the wanted one.
 * - `unknown` is given only if the deadline, the caller's signal or a lasting failure ended the put while in doubt. An error
 *   that is not from the store vocabulary says nothing about a put, so it leaves it in doubt.
 * - No call lasts longer than its deadline, even if the store below ignores signals and never answers.
 */
import { type Clock, SYSTEM_CLOCK, sleep } from '../common/clock.ts';
import { type DbError, isDbError } from '../common/errors.ts';
import { nextFloat, type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { cancelledError, checkSignal, comparePaths, rangeBounds } from './object-path.ts';
import {
  type CallOptions,
  type GetOptions,
  type GetResult,
  type ListedObject,
  type ListOptions,
  type ObjectHead,
  type ObjectStore,
  PUT_ID_METADATA,
  type PutOptions,
  type PutOutcome,
} from './object-store.ts';
import { isTransient, type StoreErrorClass, storeError, storeErrorClass } from './store-error.ts';

export interface RetryOptions {
  clock?: Clock;
  random?: Random;
  /** Deadline of one call; of a list, of each step that makes no progress. 60,000 if absent. */
  timeoutMs?: number;
  /** Limit of one attempt, to which 1 ms per KiB moved is added. 15,000 if absent. */
  attemptTimeoutMs?: number;
  /** Bounds of the backoff: 50 ms, doubled with each attempt up to 5,000 ms; a random part of it is waited. */
  baseDelayMs?: number;
  maxDelayMs?: number;
  /** Told before each wait. Must not throw. */
  onRetry?: (event: RetryEvent) => void;
}

export interface RetryEvent {
  op: 'get' | 'head' | 'put' | 'list' | 'delete';
  path: string;
  /** Attempts made so far. */
  attempts: number;
  delayMs: number;
  error: DbError;
}

/** Failures without any answer between them for so long are an outage. */
const OUTAGE_MS = 1000;
/** In an outage one of the calls that wait tries at least this often. */
const PROBE_MS = 500;
/** Calls woken after an outage spread over this time. */
const WAKE_SPREAD_MS = 100;
/** Slowest line for which attempt limits leave room: 1 MiB per second. */
const BYTES_PER_MS = 1024;
/** A range longer than any block means "to the end" and says nothing about how much will come. */
const MAX_COUNTED_BYTES = 512 * 1024 * 1024;

export function retryingStore(store: ObjectStore, options: RetryOptions = {}): ObjectStore {
  return new RetryingStore(store, options);
}

type Settings = Required<Omit<RetryOptions, 'onRetry'>> & Pick<RetryOptions, 'onRetry'>;

class RetryingStore implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly #store: ObjectStore;
  readonly #settings: Settings;
  readonly #outage: Outage;

  constructor(store: ObjectStore, options: RetryOptions) {
    this.#store = store;
    this.#settings = {
      clock: options.clock ?? SYSTEM_CLOCK,
      random: options.random ?? SYSTEM_RANDOM,
      timeoutMs: options.timeoutMs ?? 60_000,
      attemptTimeoutMs: options.attemptTimeoutMs ?? 15_000,
      baseDelayMs: options.baseDelayMs ?? 50,
      maxDelayMs: options.maxDelayMs ?? 5000,
      ...(options.onRetry === undefined ? {} : { onRetry: options.onRetry }),
    };
    this.#outage = new Outage(this.#settings);
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
  }

  get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const call = this.#call('get', path, options);
    const range = options?.range;
    const asked = range === undefined ? 0 : 'suffix' in range ? range.suffix : range.length;
    return call.run(asked > MAX_COUNTED_BYTES ? 0 : asked, (signal) => this.#checkedGet(path, { ...options, signal }));
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    return this.#call('head', path, options).run(0, (signal) => this.#store.head(path, { ...options, signal }));
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    const call = this.#call('delete', paths[0] ?? '', options);
    return call.run(0, (signal) => this.#store.delete(paths, { ...options, signal }));
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const call = this.#call('put', path, options);
    let doubt: { cause: unknown } | undefined = options.resumed === true ? { cause: undefined } : undefined;
    for (;;) {
      let failure: DbError;
      try {
        const answer = await call.attempt(bytes.length, (signal) =>
          this.#store.put(path, bytes, { ...options, signal }),
        );
        if (answer.outcome === 'applied') return answer;
        if (answer.outcome === 'refused') {
          if (doubt === undefined && options.proveRefusal !== true) return answer;
          return await this.#prove(call, bytes, options, doubt !== undefined);
        }
        doubt = { cause: answer.cause };
        failure = call.asStoreError(answer.cause);
        // In doubt means retry, whatever the cause.
        if (!isTransient(failure)) failure = call.error('unavailable', 'the answer to a put was lost', failure);
      } catch (error) {
        failure = call.asStoreError(error);
        const surelyNotApplied = failure === error && !call.gaveUpOnAttempt;
        if (!surelyNotApplied) doubt = { cause: failure };
        if (!isTransient(failure)) {
          if (doubt === undefined) throw failure;
          return { outcome: 'unknown', cause: failure };
        }
      }
      try {
        await call.pause(failure);
      } catch (final) {
        if (doubt === undefined) throw final;
        return { outcome: 'unknown', cause: doubt.cause };
      }
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    const call = this.#call('list', prefix, options);
    let startAfter = options.startAfter;
    let steps: ListSteps | undefined;
    try {
      for (;;) {
        let result: IteratorResult<ListedObject>;
        try {
          steps ??= listSteps(this.#store, prefix, { ...options, ...(startAfter === undefined ? {} : { startAfter }) });
          const { iterator, abort } = steps;
          result = await call.attempt(0, () => iterator.next(), abort);
        } catch (error) {
          steps?.abort();
          steps = undefined;
          const failure = call.asStoreError(error);
          if (!isTransient(failure)) throw failure;
          await call.pause(failure);
          continue;
        }
        if (result.done) {
          steps = undefined;
          return;
        }
        // Not tried again: what a list out of order has left out is not behind its last object.
        this.#checkListed(call, prefix, startAfter, result.value);
        startAfter = result.value.path;
        yield result.value;
        call.restart();
      }
    } finally {
      steps?.abort();
    }
  }

  #call(op: RetryEvent['op'], path: string, options: CallOptions | undefined): Call {
    return new Call(this.#settings, this.#outage, this.name, op, path, options?.signal);
  }

  /** A body shorter or longer than the object's size demands never reaches the caller. */
  async #checkedGet(path: string, options: GetOptions): Promise<GetResult | undefined> {
    const result = await this.#store.get(path, options);
    if (result === undefined) return undefined;
    const { start, end } = rangeBounds(options.range, result.size);
    if (result.bytes.length === end - start) return result;
    const message = `${result.bytes.length} bytes came for the ${end - start} that were asked for`;
    throw storeError({ cls: 'malformed-response', message, store: this.name, path });
  }

  #checkListed(call: Call, prefix: string, startAfter: string | undefined, object: ListedObject): void {
    const { path } = object;
    if (path.startsWith(prefix) && (startAfter === undefined || comparePaths(path, startAfter) > 0)) return;
    throw call.error('malformed-response', `the list is not in order at ${JSON.stringify(path)}`);
  }

  /**
   * Whose object is in the place that refused us? Perhaps our own: a proxy on the way may have sent the put twice, and the answer
   * to the second is the one that came. Without an attempt in doubt only the put id can say so; equal bytes need not be ours.
   */
  async #prove(call: Call, bytes: Uint8Array, options: PutOptions, inDoubt: boolean): Promise<PutOutcome> {
    const { path } = call;
    const others: PutOutcome = inDoubt ? { outcome: 'refused', afterUnknown: true } : { outcome: 'refused' };
    try {
      const head = await call.run(0, (signal) => this.#store.head(path, { signal }));
      if (head === undefined) return others;
      const { etag, storeTimeMs } = head;
      const ours: PutOutcome = { outcome: 'applied', attempt: 'earlier', etag, storeTimeMs };
      const putId = head.metadata[PUT_ID_METADATA];
      if (putId !== undefined) return putId === options.putId ? ours : others;
      if (!inDoubt || bytes.length === 0 || head.size !== bytes.length) return others;
      // Bytes that differ may have been damaged on the way; that is looked at once more, because it would end a writer.
      for (let look = 1; look <= 2; look++) {
        const found = await call.run(bytes.length, (signal) => this.#checkedGet(path, { signal }));
        if (found === undefined) return others;
        if (Buffer.compare(found.bytes, bytes) === 0) return { ...ours, etag: found.etag };
      }
      return others;
    } catch (cause) {
      return { outcome: 'unknown', cause };
    }
  }
}

interface ListSteps {
  iterator: AsyncIterator<ListedObject>;
  abort(): void;
}

function listSteps(store: ObjectStore, prefix: string, options: ListOptions): ListSteps {
  const controller = new AbortController();
  const iterator = store.list(prefix, { ...options, signal: controller.signal })[Symbol.asyncIterator]();
  const abort = () => {
    controller.abort();
    iterator.return?.().catch(() => undefined);
  };
  return { iterator, abort };
}

/** One call with all its attempts: its deadline, its backoff and its errors. */
class Call {
  readonly path: string;
  /** The last attempt ended because its time was up, not because the store said anything. */
  gaveUpOnAttempt = false;
  readonly #settings: Settings;
  readonly #outage: Outage;
  readonly #store: string;
  readonly #op: RetryEvent['op'];
  readonly #signal: AbortSignal | undefined;
  #deadlineMs: number;
  #attempts = 0;
  /** Waits since the last sign that the store is well. */
  #waits = 0;

  constructor(
    settings: Settings,
    outage: Outage,
    store: string,
    op: RetryEvent['op'],
    path: string,
    signal: AbortSignal | undefined,
  ) {
    this.#settings = settings;
    this.#outage = outage;
    this.#store = store;
    this.#op = op;
    this.path = path;
    this.#signal = signal;
    this.#deadlineMs = settings.clock.monotonicMs() + settings.timeoutMs;
  }

  /** Progress was made: the deadline and the backoff start anew. */
  restart(): void {
    this.#deadlineMs = this.#settings.clock.monotonicMs() + this.#settings.timeoutMs;
    this.#attempts = 0;
    this.#waits = 0;
  }

  error(cls: StoreErrorClass, message: string, cause?: unknown): DbError {
    return storeError({ cls, message, store: this.#store, path: this.path, cause });
  }

  /** Errors of the store vocabulary as they are; anything else that a store may throw becomes `unavailable`. */
  asStoreError(error: unknown): DbError {
    if (isDbError(error) && (storeErrorClass(error) !== undefined || error.kind !== 'unavailable')) return error;
    const message = error instanceof Error ? error.message : String(error);
    return this.error('unavailable', message, error);
  }

  /** Runs to success, a lasting failure or the deadline. */
  async run<T>(bytes: number, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (;;) {
      let failure: DbError;
      try {
        return await this.attempt(bytes, send);
      } catch (error) {
        failure = this.asStoreError(error);
        if (!isTransient(failure)) throw failure;
      }
      await this.pause(failure);
    }
  }

  /** One attempt, given up when its time is up or the caller aborts, whether or not the store heeds its signal. */
  attempt<T>(bytes: number, send: (signal: AbortSignal) => Promise<T>, abandon?: () => void): Promise<T> {
    const { clock, attemptTimeoutMs } = this.#settings;
    const remainingMs = this.#deadlineMs - clock.monotonicMs();
    const limitMs = Math.max(0, Math.min(attemptTimeoutMs + bytes / BYTES_PER_MS, remainingMs));
    const callerSignal = this.#signal;
    this.gaveUpOnAttempt = false;
    return new Promise<T>((resolve, reject) => {
      checkSignal(this.#store, this.path, callerSignal === undefined ? undefined : { signal: callerSignal });
      this.#attempts++;
      const controller = new AbortController();
      const finish = () => {
        timer.cancel();
        callerSignal?.removeEventListener('abort', onAbort);
      };
      const giveUp = (error: unknown) => {
        finish();
        this.gaveUpOnAttempt = true;
        reject(error);
        controller.abort(error);
        abandon?.();
      };
      const onAbort = () => giveUp(cancelledError(this.#store, this.path, callerSignal));
      const timer = clock.setTimer(limitMs, () => {
        giveUp(this.error('timeout', `no answer within ${Math.round(limitMs)} ms`));
      });
      callerSignal?.addEventListener('abort', onAbort, { once: true });
      const onValue = (value: T) => {
        finish();
        if (!isUnknown(value)) this.#outage.answered();
        resolve(value);
      };
      const onError = (error: unknown) => {
        finish();
        reject(error);
      };
      try {
        send(controller.signal).then(onValue, onError);
      } catch (error) {
        onError(error);
      }
    });
  }

  /** Waits before the next attempt; throws the call's final error if none is left. */
  async pause(error: DbError): Promise<void> {
    const { clock, random, baseDelayMs, maxDelayMs, onRetry } = this.#settings;
    const ownCeilingMs = Math.min(maxDelayMs, baseDelayMs * 2 ** Math.min(30, this.#waits++));
    const asked = error.details['retryAfterMs'];
    const probes = typeof asked !== 'number' && this.#outage.wantsProbe();
    const ceilingMs = probes ? Math.min(PROBE_MS, ownCeilingMs) : ownCeilingMs;
    const delayMs = Math.max(1, nextFloat(random) * ceilingMs, typeof asked === 'number' ? asked : 0);
    if (clock.monotonicMs() + delayMs >= this.#deadlineMs) throw this.#final(error);
    onRetry?.({ op: this.#op, path: this.path, attempts: this.#attempts, delayMs, error });
    const wake = new AbortController();
    const stopListening = followAbort(this.#signal, wake);
    // A store that asked for time gets it, whatever it answers to others.
    const leave = this.#outage.wait(typeof asked === 'number' ? undefined : () => wake.abort(), probes);
    try {
      await sleep(clock, delayMs, wake.signal);
    } catch {
      if (this.#signal?.aborted) throw cancelledError(this.#store, this.path, this.#signal);
      // All who waited are woken by one answer: they do not all come in the same moment.
      this.#waits = 0;
      await sleep(clock, nextFloat(random) * WAKE_SPREAD_MS);
    } finally {
      leave();
      stopListening();
    }
  }

  #final(error: DbError): DbError {
    const where = `${this.#store} (${this.path}): `;
    const reason = error.message.startsWith(where) ? error.message.slice(where.length) : error.message;
    const { httpStatus, providerCode } = error.details as { httpStatus?: number; providerCode?: string };
    return storeError({
      cls: storeErrorClass(error) ?? 'unavailable',
      message: `${this.#op} given up after ${this.#attempts} attempts within ${this.#settings.timeoutMs} ms; last: ${reason}`,
      store: this.#store,
      path: this.path,
      attempts: this.#attempts,
      ...(httpStatus === undefined ? {} : { httpStatus }),
      ...(providerCode === undefined ? {} : { providerCode }),
      cause: error,
    });
  }
}

function isUnknown(value: unknown): boolean {
  return (value as { outcome?: string } | null | undefined)?.outcome === 'unknown';
}

/** Aborts `target` when `signal` aborts; the function returned ends that. */
function followAbort(signal: AbortSignal | undefined, target: AbortController): () => void {
  if (signal === undefined) return () => undefined;
  const onAbort = () => target.abort();
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  return () => signal.removeEventListener('abort', onAbort);
}

/**
 * Knows whether the store answers anybody. Calls wait alone, each longer than before; in an outage one of them looks twice a
 * second whether the store is back, and the first answer wakes the others. So the load on a store in trouble stays small and it is
 * used again at once.
 */
class Outage {
  readonly #settings: Settings;
  readonly #waiting = new Set<() => void>();
  #failingSinceMs: number | undefined;
  #isProbed = false;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** Whether there is an outage and no call that waits will look after it soon. */
  wantsProbe(): boolean {
    return !this.#isProbed && this.#failedForMs() >= OUTAGE_MS;
  }

  /**
   * A call failed and waits; `wake` ends its wait early, `probes` says that it is the one that looks whether the store is back.
   * The function returned says that it waits no more.
   */
  wait(wake: (() => void) | undefined, probes: boolean): () => void {
    this.#failingSinceMs ??= this.#settings.clock.monotonicMs();
    if (probes) this.#isProbed = true;
    if (wake !== undefined) this.#waiting.add(wake);
    return () => {
      if (probes) this.#isProbed = false;
      if (wake !== undefined) this.#waiting.delete(wake);
    };
  }

  #failedForMs(): number {
    return this.#failingSinceMs === undefined ? 0 : this.#settings.clock.monotonicMs() - this.#failingSinceMs;
  }

  /** The store answered. Single failures between answers are no outage: whoever met one keeps to its backoff. */
  answered(): void {
    const failedForMs = this.#failedForMs();
    this.#failingSinceMs = undefined;
    if (failedForMs >= OUTAGE_MS) for (const wake of [...this.#waiting]) wake();
  }
}
