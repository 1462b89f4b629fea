/**
 * Time as a parameter. All waiting and all reading of time in this package goes through a `Clock`, so that tests and the
 * simulator own it. Wall time may jump; monotonic time never falls, but stands still while a machine is suspended.
 */
import { abortError, onAbort } from './abort.ts';

export interface Timer {
  cancel(): void;
  /** Whether the timer keeps the process alive. */
  setRef(ref: boolean): void;
}

export interface Clock {
  /** Milliseconds since the Unix epoch, whole. */
  nowMs(): number;
  /** Milliseconds of a clock that never falls. */
  monotonicMs(): number;
  /** Calls `fn` once after `delayMs`; `ref` false lets the process end meanwhile. */
  setTimer(delayMs: number, fn: () => void, ref?: boolean): Timer;
  /** Resolves after timers and I/O had their turn. */
  yieldToLoop(): Promise<void>;
}

/**
 * Taken when this file is loaded: a test framework that fakes timers later (`vi.useFakeTimers()` takes `setImmediate`, too) would
 * otherwise stop the work of every open database without a word. `Date` is not taken: whoever fakes it wants rows to expire.
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
