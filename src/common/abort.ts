/**
 * Aborts as a caller asks for them: one listener on each signal, however many calls wait with it, and one way to end a wait.
 *
 * A signal may live as long as the process and be given to every call. So a listener is removed as soon as its wait is over,
 * and a thousand waits at once are one listener: Node warns of a leak from eleven on.
 *
 * Invariants:
 * 1. Nothing in this package but this file adds a listener to a signal (a test of the source holds this).
 * 2. A signal is the caller's object and may throw: when it is asked or listened to, that is an `InvalidArgumentError` (`BAD_OPTION`) and
 *    no call waits with it; when its listener is removed, that has no effect, as the listener does nothing any more.
 */
import { AbortError, InvalidArgumentError } from './errors.ts';

interface Waiting {
  calls: Set<() => void>;
  listener(): void;
}

const WAITING = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls `call` once when `signal`, which is not aborted yet, aborts. Returns the function that cancels this; it may be called
 * again. `call` must not throw, and must be another function each time. Throws `BAD_OPTION` if the signal does; not while another call
 * waits with the same signal, as no code of the caller runs then.
 */
export function onAbort(signal: AbortSignal, call: () => void): () => void {
  const { calls } = WAITING.get(signal) ?? listenTo(signal);
  calls.add(call);
  return () => {
    if (calls.delete(call) && calls.size === 0) leave(signal, calls);
  };
}

function listenTo(signal: AbortSignal): Waiting {
  const calls = new Set<() => void>();
  const listener = () => {
    leave(signal, calls);
    const all = [...calls];
    calls.clear();
    for (const call of all) call();
  };
  const waiting = { calls, listener };
  askingSignal(() => signal.addEventListener('abort', listener, { once: true }));
  WAITING.set(signal, waiting);
  return waiting;
}

function leave(signal: AbortSignal, calls: Set<() => void>): void {
  const waiting = WAITING.get(signal);
  if (waiting?.calls !== calls) return;
  WAITING.delete(signal);
  try {
    signal.removeEventListener('abort', waiting.listener);
  } catch {
    // This wait is over already, perhaps as one of many writes that end now: an error thrown by the signal must not reach the others.
  }
}

/** Keeps the one listener on `signal` until the function that it returns is called: until then `onAbort` runs no code of the caller. */
export function holdListener(signal: AbortSignal): () => void {
  return onAbort(signal, () => undefined);
}

/** Throws `BAD_OPTION` if the signal throws when it is asked. */
export function isAborted(signal: AbortSignal): boolean {
  return askingSignal(() => signal.aborted);
}

function askingSignal<T>(ask: () => T): T {
  try {
    return ask();
  } catch (cause) {
    const fault = 'signal threw an exception when it was asked or listened to';
    throw new InvalidArgumentError('BAD_OPTION', `The ${fault}; see the cause.`, {
      cause,
      details: { faults: [fault] },
    });
  }
}

/** What a call rejects with that its signal has ended; the signal's reason is the cause. */
export function abortError(signal: AbortSignal): AbortError {
  return new AbortError('The operation was aborted by its signal.', { cause: signal.reason });
}

/** Rejects with `AbortError` once the signal is given. */
export function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal !== undefined && isAborted(signal)) throw abortError(signal);
}

/**
 * `work`, or a rejection as soon as the signal aborts. It ends the wait, not the work, which others may share and which no longer has
 * to be awaited. Without a signal it is `work` itself.
 */
export function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  errorOf: (signal: AbortSignal) => unknown = abortError,
): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    let leave: (() => void) | undefined;
    // First, so that a rejection of the work is always handled, whatever the signal does.
    work.then(
      (value) => {
        leave?.();
        resolve(value);
      },
      (error) => {
        leave?.();
        reject(error);
      },
    );
    const abort = () => reject(errorOf(signal));
    if (isAborted(signal)) abort();
    else leave = onAbort(signal, abort);
  });
}
