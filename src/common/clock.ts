/**
 * Time as a parameter. All waiting and all reading of time in this package goes through a `Clock`, so that tests and the
 * simulator own it. Wall time may jump; monotonic time never falls, but stands still while a machine is suspended.
 */
import { abortError, onAbort } from './abort.ts';
import { InvalidArgumentError } from './errors.ts';

/** A timer that was set. */
export interface Timer {
  /** Its function is not called any more; no effect once it was. */
  cancel(): void;
  /** Whether the timer keeps the process alive. */
  setRef(ref: boolean): void;
}

/** Time as this package sees it: the wall, a monotonic clock, timers, and a turn of the event loop. */
export interface Clock {
  /** Milliseconds since the Unix epoch. The part after the point is cut off; what is no number fails the call that asked. */
  nowMs(): number;
  /** Milliseconds of a clock that never falls. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs`; `ref` false lets the process end before that. */
  setTimer(delayMs: number, fn: () => void, ref?: boolean): Timer;
  /** Resolves after timers and I/O had their turn. */
  yieldToLoop(): Promise<void>;
}

/**
 * Taken when this file is loaded: a test framework that fakes timers later (`vi.useFakeTimers()` takes `setImmediate`, too) would
 * otherwise stop the work of every open database without a word. `Date` is used as it is: a test that fakes it wants rows to expire.
 */
const { setTimeout, clearTimeout, setImmediate } = globalThis;
const monotonicMs = performance.now.bind(performance);

class SystemClock implements Clock {
  nowMs(): number {
    return Date.now();
  }
  monotonicMs(): number {
    return monotonicMs();
  }
  setTimer(delayMs: number, fn: () => void, ref = true): Timer {
    const handle = setTimeout(fn, Math.min(delayMs, 0x7fffffff));
    if (!ref) handle.unref();
    return {
      cancel: () => clearTimeout(handle),
      setRef: (on) => void (on ? handle.ref() : handle.unref()),
    };
  }
  yieldToLoop(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
}

export const SYSTEM_CLOCK: Clock = new SystemClock();

/**
 * A clock of the caller's, as all code of this package gets it: its wall time is a whole number. Times go into objects of which the
 * whole counts as damaged, for good, if a time in it is no whole number.
 */
export class CheckedClock implements Clock {
  readonly #given: Clock;

  constructor(given: Clock) {
    this.#given = given;
  }

  /** Throws `BAD_OPTION` where the clock gives no number that a time can be. */
  nowMs(): number {
    const given: unknown = this.#given.nowMs();
    const whole = typeof given === 'number' ? Math.floor(given) : Number.NaN;
    if (Number.isSafeInteger(whole)) return whole;
    const message = `clock.nowMs() must return milliseconds since the epoch as a number, not ${String(given)}`;
    throw new InvalidArgumentError('BAD_OPTION', message, { details: { faults: [message] } });
  }

  monotonicMs(): number {
    return this.#given.monotonicMs();
  }

  setTimer(delayMs: number, fn: () => void, ref?: boolean): Timer {
    return this.#given.setTimer(delayMs, fn, ref);
  }

  yieldToLoop(): Promise<void> {
    return this.#given.yieldToLoop();
  }
}

/** Resolves after `delayMs`, or rejects with `AbortError` as soon as the signal aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal, ref = true): Promise<void> {
  if (signal?.aborted) return Promise.reject(abortError(signal));
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(
      delayMs,
      () => {
        leave?.();
        resolve();
      },
      ref,
    );
    const leave =
      signal &&
      onAbort(signal, () => {
        timer.cancel();
        reject(abortError(signal));
      });
  });
}

/** Wall time as ISO 8601 text. */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
