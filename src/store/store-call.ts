/**
 * One call to an unreliable store: its attempts, its deadline, its backoff and its errors.
 *
 * An attempt is usually one request. If that hangs it is sent once more beside the first (`Outage` says when, so that all calls
 * together do so three times a second at most), and the first useful answer counts. The eldest request keeps its place until the
 * attempt's time is up, because the store may only be slow; the younger one is replaced by the next.
 *
 * Invariants: at most two requests of a call are under way; no attempt outlasts its limit or the deadline, even if the store
 * ignores signals and never answers; what is not waited for any more is aborted.
 */
import { onAbort } from '../common/abort.ts';
import type { Clock, Timer } from '../common/clock.ts';
import { type DbError, isDbError } from '../common/errors.ts';
import { nextFloat, type Random } from '../common/random.ts';
import { cancelledError, checkSignal } from './object-path.ts';
import type { Outage } from './outage.ts';
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

/** What is left of a wait by rounding alone must not become a wait of its own, again and again. */
const LEAST_TIMER_MS = 1;
/** Slowest line for which attempt limits leave room: 1 MiB per second. */
const BYTES_PER_MS = 1024;
/**
 * A store that asked for time is left alone by this call for so long, even in an outage. Longer only while others are answered:
 * some servers ask for minutes as long as they start.
 */
const ASKED_ALONE_MS = 1000;

/** One request. Its signal is made when the store reads it, which not all do: an AbortController is dear. */
export class StoreRequest {
  readonly sentMs: number;
  /** Called when the answer is of no use any more. */
  onAbort: (() => void) | undefined;
  #controller: AbortController | undefined;
  #aborted: { reason: unknown } | undefined;

  constructor(sentMs: number) {
    this.sentMs = sentMs;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#aborted ??= { reason };
    this.#controller?.abort(reason);
    this.onAbort?.();
  }

  /** `options` with this request's signal. */
  options<T extends object>(options: T | undefined): T & { readonly signal: AbortSignal } {
    const request = this;
    return {
      ...(options as T),
      get signal() {
        return request.signal;
      },
    };
  }
}

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

  /** Progress was made: the deadline and the backoff start anew. */
  restart(): void {
    this.#deadlineMs = this.#settings.clock.monotonicMs() + this.#settings.timeoutMs;
    this.#requests = 0;
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
  attempt<T>(bytes: number, send: (request: StoreRequest) => Promise<T>, canRepeat = true): Promise<T> {
    const { clock, attemptTimeoutMs } = this.#settings;
    const outage = this.#outage;
    const moveMs = bytes / BYTES_PER_MS;
    const startMs = clock.monotonicMs();
    const limitMs = Math.max(0, Math.min(attemptTimeoutMs + moveMs, this.#deadlineMs - startMs));
    const callerSignal = this.#signal;
    this.leftUnanswered = false;
    return new Promise<T>((resolve, reject) => {
      checkSignal(this.#store, this.path, callerSignal === undefined ? undefined : { signal: callerSignal });
      /** Under way, the eldest first. */
      let underway: StoreRequest[] = [];
      let timer: Timer;
      const finish = (reason: unknown) => {
        timer?.cancel();
        leave?.();
        const useless = underway;
        underway = [];
        for (const request of useless) drop(request, reason);
      };
      const drop = (request: StoreRequest, reason: unknown) => {
        this.leftUnanswered = true;
        request.abort(reason);
      };
      const giveUp = (error: unknown) => {
        reject(error);
        finish(error);
      };
      let leave: (() => void) | undefined;
      /** False if nobody waits for this request's answer any more. */
      const take = (request: StoreRequest): boolean => {
        const at = underway.indexOf(request);
        if (at >= 0) underway.splice(at, 1);
        return at >= 0;
      };
      const onValue = (request: StoreRequest, value: T) => {
        if (!take(request)) return;
        if (isUnknown(value)) {
          this.leftUnanswered = true;
          if (underway.length > 0) return;
        } else outage.answered(clock.monotonicMs() - request.sentMs);
        finish(undefined);
        resolve(value);
      };
      const onError = (request: StoreRequest, error: unknown) => {
        if (!take(request)) return;
        const failure = this.asStoreError(error);
        if (failure !== error) this.leftUnanswered = true;
        if (underway.length > 0 && isTransient(failure)) return;
        finish(error);
        reject(error);
      };
      const sendOnce = () => {
        this.#requests++;
        const request = new StoreRequest(clock.monotonicMs());
        underway.push(request);
        try {
          send(request).then(
            (value) => onValue(request, value),
            (error) => onError(request, error),
          );
        } catch (error) {
          onError(request, error);
        }
      };
      const patienceMs = outage.patienceMs + moveMs;
      const onTimer = () => {
        const leftMs = startMs + limitMs - clock.monotonicMs();
        if (leftMs <= 0) return giveUp(this.error('timeout', `no answer within ${Math.round(limitMs)} ms`));
        const youngest = underway[underway.length - 1];
        if (clock.monotonicMs() - youngest.sentMs >= patienceMs && outage.mayRepeat(youngest.sentMs)) {
          if (underway.length > 1) drop(underway.pop() as StoreRequest, undefined);
          sendOnce();
        }
        if (underway.length === 0) return;
        const patientMs = underway[underway.length - 1].sentMs + patienceMs - clock.monotonicMs();
        const waitMs = Math.min(Math.max(outage.nextLookInMs(), patientMs), leftMs);
        timer = clock.setTimer(Math.max(LEAST_TIMER_MS, waitMs), onTimer);
      };
      if (callerSignal !== undefined) {
        leave = onAbort(callerSignal, () => giveUp(cancelledError(this.#store, this.path, callerSignal)));
      }
      timer = clock.setTimer(canRepeat ? Math.min(patienceMs, limitMs) : limitMs, onTimer);
      sendOnce();
    });
  }

  /** Waits before the next attempt; throws the call's final error if none is left. */
  async pause(error: DbError): Promise<void> {
    const { clock, random, baseDelayMs, maxDelayMs, onRetry } = this.#settings;
    const ceilingMs = Math.min(maxDelayMs, baseDelayMs * 2 ** Math.min(30, this.#waits++));
    const asked = error.details['retryAfterMs'];
    const askedMs = typeof asked === 'number' ? asked : 0;
    const ownMs = Math.max(1, nextFloat(random) * ceilingMs);
    const leftMs = this.#deadlineMs - clock.monotonicMs();
    if (ownMs >= leftMs) throw this.#final(error);
    // A wait that outlasts the deadline is begun all the same if the store asked for it: it may be back before.
    const delayMs = Math.min(leftMs, Math.max(ownMs, askedMs));
    onRetry?.({ op: this.#op, path: this.path, attempts: this.#requests, delayMs, error });
    const end = await this.#outage.wait(delayMs, Math.min(askedMs, ASKED_ALONE_MS), this.#signal);
    if (end === 'aborted') throw cancelledError(this.#store, this.path, this.#signal);
    if (clock.monotonicMs() >= this.#deadlineMs) throw this.#final(error);
    if (end === 'back') this.#waits = 0;
  }

  #final(error: DbError): DbError {
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

function isUnknown(value: unknown): boolean {
  return (value as { outcome?: string } | null | undefined)?.outcome === 'unknown';
}
