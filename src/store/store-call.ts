/**
 * One call to an unreliable store: its attempts, its deadline, its backoff and its errors.
 *
 * 1. No attempt (store-attempt.ts) outlasts the deadline, and none begins after it.
 * 2. An error that is given up with is that of the last attempt with a whole limit: one that the deadline cut short says nothing of
 *    the store.
 */
import type { Clock } from '../common/clock.ts';
import { type DbError, isDbError } from '../common/errors.ts';
import { nextFloat, type Random } from '../common/random.ts';
import { cancelledError, checkSignal } from './object-path.ts';
import type { Outage } from './outage.ts';
import { StoreAttempt, type StoreRequest } from './store-attempt.ts';
import { isTransient, type StoreErrorClass, storeError, storeErrorClass } from './store-error.ts';

export interface RetryEvent {
  op: 'get' | 'head' | 'put' | 'list' | 'delete';
  path: string;
  /** Requests sent so far. */
  attempts: number;
  /** Longest wait; it ends early if the store answers another call after an outage, or if this call is to look after it. */
  delayMs: number;
  error: DbError;
}

export interface CallSettings {
  clock: Clock;
  random: Random;
  timeoutMs: number;
  attemptTimeoutMs: number;
  baseDelayMs: number;
  maxDelayMs: number;
  onRetry?: (event: RetryEvent) => void;
}

/** Slowest line for which attempt limits leave room: 1 MiB per second. */
export const MOVED_BYTES_PER_MS = 1024;
/**
 * A store that asked for time is left alone by this call for so long, even in an outage. Longer only while others are answered:
 * some servers ask for minutes as long as they start.
 */
const ASKED_ALONE_MS = 1000;

export class StoreCall {
  readonly path: string;
  /** The last attempt left a request without an answer, so a put may have been applied, or still be. */
  leftUnanswered = false;
  readonly #settings: CallSettings;
  readonly #outage: Outage;
  readonly #store: string;
  readonly #op: RetryEvent['op'];
  readonly #signal: AbortSignal | undefined;
  #deadlineMs: number;
  #requests = 0;
  /** Waits since the last sign that the store is well. */
  #waits = 0;
  /** The last attempt had less time than an attempt has, because the deadline was near. */
  #wasCutShort = false;
  /** What the last attempt but those cut short came to: that one says nothing of the store. */
  #failure: DbError | undefined;

  constructor(
    settings: CallSettings,
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

  /** Progress was made: the deadline and the backoff start again. */
  restart(): void {
    this.#deadlineMs = this.#settings.clock.monotonicMs() + this.#settings.timeoutMs;
    this.#requests = 0;
    this.#waits = 0;
    this.#failure = undefined;
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
  async run<T>(bytes: number, send: (request: StoreRequest) => Promise<T>): Promise<T> {
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

  /** One attempt, given up when its time is up or the caller aborts. `canRepeat`: the request may be sent twice at once. */
  async attempt<T>(bytes: number, send: (request: StoreRequest) => Promise<T>, canRepeat = true): Promise<T> {
    const { clock, attemptTimeoutMs } = this.#settings;
    const moveMs = bytes / MOVED_BYTES_PER_MS;
    const wholeMs = attemptTimeoutMs + moveMs;
    const limitMs = Math.max(0, Math.min(wholeMs, this.#deadlineMs - clock.monotonicMs()));
    const attempt = new StoreAttempt<T>({
      clock,
      outage: this.#outage,
      limitMs,
      moveMs,
      canRepeat,
      signal: this.#signal,
      send: (request) => {
        this.#requests++;
        return send(request);
      },
      asStoreError: (error) => this.asStoreError(error),
      timeout: () => this.error('timeout', `no answer within ${Math.round(limitMs)} ms`),
      cancelled: (signal) => cancelledError(this.#store, this.path, signal),
    });
    try {
      checkSignal(this.#store, this.path, this.#signal === undefined ? undefined : { signal: this.#signal });
      return await attempt.run();
    } finally {
      this.leftUnanswered = attempt.leftUnanswered;
      this.#wasCutShort = attempt.isOverdue && limitMs < wholeMs;
    }
  }

  /** Waits before the next attempt; throws the call's final error if none is left. */
  async pause(error: DbError): Promise<void> {
    const { clock, random, baseDelayMs, maxDelayMs, onRetry } = this.#settings;
    const ceilingMs = Math.min(maxDelayMs, baseDelayMs * 2 ** Math.min(30, this.#waits++));
    const asked = error.details['retryAfterMs'];
    const askedMs = typeof asked === 'number' ? asked : 0;
    const ownMs = Math.max(1, nextFloat(random) * ceilingMs);
    if (!this.#wasCutShort) this.#failure = error;
    const leftMs = this.#deadlineMs - clock.monotonicMs();
    if (ownMs >= leftMs) throw this.#final(error);
    // A wait that outlasts the deadline is begun nevertheless if the store asked for it: it may be back before.
    const delayMs = Math.min(leftMs, Math.max(ownMs, askedMs));
    onRetry?.({ op: this.#op, path: this.path, attempts: this.#requests, delayMs, error });
    const end = await this.#outage.wait(delayMs, Math.min(askedMs, ASKED_ALONE_MS), this.#signal);
    if (end === 'aborted') throw cancelledError(this.#store, this.path, this.#signal);
    if (clock.monotonicMs() >= this.#deadlineMs) throw this.#final(error);
    if (end === 'back') this.#waits = 0;
  }

  #final(last: DbError): DbError {
    const error = this.#wasCutShort ? (this.#failure ?? last) : last;
    const where = `${this.#store} (${this.path}): `;
    const reason = error.message.startsWith(where) ? error.message.slice(where.length) : error.message;
    const { httpStatus, providerCode } = error.details as { httpStatus?: number; providerCode?: string };
    return storeError({
      cls: storeErrorClass(error) ?? 'unavailable',
      message: `${this.#op} given up after ${this.#requests} ${this.#requests === 1 ? 'attempt' : 'attempts'} within ${this.#settings.timeoutMs} ms; last: ${reason}`,
      store: this.#store,
      path: this.path,
      attempts: this.#requests,
      ...(httpStatus === undefined ? {} : { httpStatus }),
      ...(providerCode === undefined ? {} : { providerCode }),
      cause: error,
    });
  }
}
