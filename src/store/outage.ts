/**
 * Knows whether the store answers at all, for all calls of one `retryingStore`.
 *
 * Calls that failed wait alone, each longer than before. While no call is answered, one of them tests three times a second whether
 * the store is back, and the first answer wakes the others. So the load on a store in trouble stays small, however many calls
 * wait, and it is used again at once. The same budget of three requests a second serves requests that hang: such a request is
 * sent once more, because the connection may be dead although the store is well.
 *
 * Invariant: the tests of all calls together are at least `LOOK_MS` apart.
 */
import { onAbort } from '../common/abort.ts';
import type { Clock } from '../common/clock.ts';
import { nextFloat, type Random } from '../common/random.ts';

/** No answer to any call for this long, although one waited for an answer, is an outage. */
const OUTAGE_MS = 1000;
/** Least time between two tests. With one request in eight failing, five tests within two seconds are enough. */
const LOOK_MS = 300;
/** A small request without an answer for so long hangs, unless the store is slow by nature. */
const HANG_MS = 500;
/** Calls woken after an outage, and tests, spread over this time. */
const SPREAD_MS = 100;
/** So many times the usual time of an answer is slow by nature. */
const PATIENCE_FACTOR = 4;
/** Weight of the last answer in the usual time. */
const TYPICAL_WEIGHT = 1 / 8;
/** Timers may fire slightly early. */
const TIMER_TOLERANCE_MS = 1;

/** Why a wait ended: its time was up or it is this call's turn to test the store, the store is back, or the signal. */
export type WaitEnd = 'over' | 'back' | 'aborted';

export class Outage {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #waiting = new Set<() => void>();
  #failingSinceMs: number | undefined;
  #lastAnswerMs = Number.NEGATIVE_INFINITY;
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #backSinceMs = Number.NEGATIVE_INFINITY;
  #typicalMs: number | undefined;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Time after which a small request hangs. A store that is slow by nature is not asked twice. */
  get patienceMs(): number {
    return Math.max(HANG_MS, PATIENCE_FACTOR * (this.#typicalMs ?? 0));
  }

  /** Time until the next test may be made, with a random part. */
  nextLookInMs(): number {
    const waitMs = Math.max(0, this.#lastLookMs + LOOK_MS - this.#clock.monotonicMs());
    return waitMs + nextFloat(this.#random) * SPREAD_MS;
  }

  /** Whether a request without an answer, sent then, is to be sent once more: as a test, or since the store is known to be back. */
  mayRepeat(sentMs: number): boolean {
    this.#failing(sentMs);
    return this.#backSinceMs > sentMs || this.#takeLook();
  }

  /**
   * Waits before the next attempt: `delayMs`, or less if the store answers another call after an outage, or if in an outage it
   * is this call's turn to test the store, which it never is before `aloneMs` have passed.
   */
  async wait(delayMs: number, aloneMs: number, signal: AbortSignal | undefined): Promise<WaitEnd> {
    if (signal?.aborted) return 'aborted';
    const end = await this.#interruptibleWait(delayMs, aloneMs, signal);
    // All who waited are woken by one answer: they do not all come in the same moment.
    if (end === 'back') await new Promise<void>((resolve) => this.#clock.setTimer(this.#spreadMs(), resolve));
    return end;
  }

  #interruptibleWait(delayMs: number, aloneMs: number, signal: AbortSignal | undefined): Promise<WaitEnd> {
    const clock = this.#clock;
    const startMs = clock.monotonicMs();
    this.#failing(startMs);
    return new Promise((resolve) => {
      const end = (why: WaitEnd) => {
        timer.cancel();
        this.#waiting.delete(wake);
        leave?.();
        resolve(why);
      };
      const wake = () => end('back');
      const nextTick = (nowMs: number) => {
        const lookMs = Math.max(startMs + aloneMs - nowMs, this.#outageInMs(nowMs), this.nextLookInMs());
        return clock.setTimer(Math.min(startMs + delayMs - nowMs, lookMs), onTick);
      };
      const onTick = () => {
        const nowMs = clock.monotonicMs();
        if (nowMs + TIMER_TOLERANCE_MS > startMs + delayMs) return end('over');
        // Others may have been answered in the meantime; this call still waits.
        this.#failing(nowMs);
        const isTurn = nowMs + TIMER_TOLERANCE_MS > startMs + aloneMs && this.#outageInMs(nowMs) < TIMER_TOLERANCE_MS;
        if (isTurn && this.#takeLook()) return end('over');
        timer = nextTick(nowMs);
      };
      let timer = nextTick(startMs);
      this.#waiting.add(wake);
      const leave = signal && onAbort(signal, () => end('aborted'));
    });
  }

  /** The store answered after so long. Single failures between answers are no outage: a call that met one keeps to its backoff. */
  answered(tookMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const wasOutage = this.#outageInMs(nowMs) <= 0;
    this.#typicalMs =
      this.#typicalMs === undefined ? tookMs : this.#typicalMs + (tookMs - this.#typicalMs) * TYPICAL_WEIGHT;
    this.#lastAnswerMs = nowMs;
    this.#failingSinceMs = undefined;
    if (!wasOutage) return;
    this.#backSinceMs = nowMs;
    for (const wake of [...this.#waiting]) wake();
  }

  /** A call has waited for an answer since then and has none. */
  #failing(sinceMs: number): void {
    this.#failingSinceMs ??= Math.max(sinceMs, this.#lastAnswerMs);
  }

  /** How long the failures must go on to be an outage. */
  #outageInMs(nowMs: number): number {
    return this.#failingSinceMs === undefined ? OUTAGE_MS : this.#failingSinceMs + OUTAGE_MS - nowMs;
  }

  #takeLook(): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lastLookMs < LOOK_MS - TIMER_TOLERANCE_MS) return false;
    this.#lastLookMs = nowMs;
    return true;
  }

  #spreadMs(): number {
    return nextFloat(this.#random) * SPREAD_MS;
  }
}
