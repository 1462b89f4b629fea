/**
 * One attempt of a call to an unreliable store: usually one request. If that hangs it is sent once more beside the first (`Outage` says
 * when, so that all calls together do so three times a second at most), and the first useful answer counts. The oldest request keeps
 * its place until the attempt's time is up, because the store may only be slow; the later one is replaced by the next.
 *
 * 1. At most two requests are under way.
 * 2. No attempt outlasts its limit, even if the store ignores signals and never answers.
 * 3. What is not waited for any more is aborted.
 */
import { onAbort } from '../common/abort.ts';
import { assertThat, present } from '../common/assert.ts';
import { type Deferred, deferred } from '../common/async.ts';
import type { Clock, Timer } from '../common/clock.ts';
import type { DbError } from '../common/errors.ts';
import type { Outage } from './outage.ts';
import { isTransient } from './store-error.ts';

/** What is left of a wait by rounding alone must not become a wait of its own, again and again. */
const LEAST_TIMER_MS = 1;

/** One request. Its signal is made when the store reads it, which not all do: an AbortController is expensive to create. */
export class StoreRequest {
  readonly sentMs: number;
  /** Called when the answer is no longer needed. */
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

export interface AttemptOptions<T> {
  clock: Clock;
  outage: Outage;
  /** Given up after that. */
  limitMs: number;
  /** Of it, for the bytes on their way: so much later a request counts as hanging. */
  moveMs: number;
  /** The request may be sent twice at once. */
  canRepeat: boolean;
  signal: AbortSignal | undefined;
  send(request: StoreRequest): Promise<T>;
  asStoreError(error: unknown): DbError;
  timeout(): DbError;
  cancelled(signal: AbortSignal): Error;
}

export class StoreAttempt<T> {
  /** A request stays without an answer, so a put may have been applied, or still be. */
  leftUnanswered = false;
  /** It ended because its time was up. */
  isOverdue = false;
  readonly #o: AttemptOptions<T>;
  readonly #result: Deferred<T> = deferred<T>();
  /** Under way, the oldest first. */
  #underway: StoreRequest[] = [];
  readonly #startMs: number;
  /** After so long without an answer a request may be sent once more. */
  readonly #patienceMs: number;
  #timer: Timer | undefined;
  #leave: (() => void) | undefined;

  constructor(options: AttemptOptions<T>) {
    this.#o = options;
    this.#startMs = options.clock.monotonicMs();
    this.#patienceMs = options.outage.patienceMs + options.moveMs;
  }

  /** To be called once. */
  run(): Promise<T> {
    const { clock, signal, canRepeat, limitMs, cancelled } = this.#o;
    if (signal !== undefined) this.#leave = onAbort(signal, () => this.#giveUp(cancelled(signal)));
    const waitMs = canRepeat ? Math.min(this.#patienceMs, limitMs) : limitMs;
    this.#timer = clock.setTimer(waitMs, () => this.#onTimer());
    this.#sendOnce();
    return this.#result.promise;
  }

  #sendOnce(): void {
    const request = new StoreRequest(this.#o.clock.monotonicMs());
    this.#underway.push(request);
    assertThat(this.#underway.length <= 2, 'at most two requests are under way (store-attempt 1)');
    try {
      this.#o.send(request).then(
        (value) => this.#onValue(request, value),
        (error) => this.#onError(request, error),
      );
    } catch (error) {
      this.#onError(request, error);
    }
  }

  /** False if no call waits for this request's answer any more. */
  #take(request: StoreRequest): boolean {
    const at = this.#underway.indexOf(request);
    if (at >= 0) this.#underway.splice(at, 1);
    return at >= 0;
  }

  #onValue(request: StoreRequest, value: T): void {
    if (!this.#take(request)) return;
    if (isUnknown(value)) {
      this.leftUnanswered = true;
      if (this.#underway.length > 0) return;
    } else this.#o.outage.answered(this.#o.clock.monotonicMs() - request.sentMs);
    this.#end(undefined);
    this.#result.resolve(value);
  }

  #onError(request: StoreRequest, error: unknown): void {
    if (!this.#take(request)) return;
    const failure = this.#o.asStoreError(error);
    if (failure !== error) this.leftUnanswered = true;
    if (this.#underway.length > 0 && isTransient(failure)) return;
    this.#giveUp(error);
  }

  #onTimer(): void {
    const { clock, outage, limitMs } = this.#o;
    const leftMs = this.#startMs + limitMs - clock.monotonicMs();
    if (leftMs <= 0) {
      this.isOverdue = true;
      this.#giveUp(this.#o.timeout());
      return;
    }
    const latest = this.#latest();
    const patienceMs = this.#patienceMs;
    if (clock.monotonicMs() - latest.sentMs >= patienceMs && outage.mayRepeat(latest.sentMs)) {
      if (this.#underway.length > 1) {
        this.#underway.pop();
        this.#drop(latest, undefined);
      }
      this.#sendOnce();
    }
    if (this.#underway.length === 0) return;
    const patientMs = this.#latest().sentMs + patienceMs - clock.monotonicMs();
    const waitMs = Math.min(Math.max(outage.nextLookInMs(), patientMs), leftMs);
    this.#timer = clock.setTimer(Math.max(LEAST_TIMER_MS, waitMs), () => this.#onTimer());
  }

  #latest(): StoreRequest {
    return present(this.#underway.at(-1), 'a request is under way until the attempt ends');
  }

  #giveUp(error: unknown): void {
    this.#result.reject(error);
    this.#end(error);
  }

  #end(reason: unknown): void {
    this.#timer?.cancel();
    this.#leave?.();
    const useless = this.#underway;
    this.#underway = [];
    for (const request of useless) this.#drop(request, reason);
  }

  #drop(request: StoreRequest, reason: unknown): void {
    this.leftUnanswered = true;
    request.abort(reason);
  }
}

function isUnknown(value: unknown): boolean {
  return (value as { outcome?: string } | null | undefined)?.outcome === 'unknown';
}
