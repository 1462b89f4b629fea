/**
 * Aborts as a caller asks for them: one listener on each signal, however many calls wait with it, and one way to end a wait.
 *
 * A signal may live as long as the process and be given to every call. So whoever listens leaves again as soon as it is settled,
 * and a thousand waits at once are one listener: Node warns of a leak from eleven on.
 *
 * Invariant: nothing in this package but this file adds a listener to a signal (a test of the source holds this).
 */
import { AbortError } from './errors.ts';

interface Waiting {
  calls: Set<() => void>;
  listener(): void;
}

const WAITING = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls `call` once when `signal`, which is not aborted yet, aborts. Returns the function that takes it back; harmless when called
 * again. `call` must not throw, and must be another function each time.
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
  WAITING.set(signal, waiting);
  signal.addEventListener('abort', listener, { once: true });
  return waiting;
}

function leave(signal: AbortSignal, calls: Set<() => void>): void {
  const waiting = WAITING.get(signal);
  if (waiting?.calls !== calls) return;
  WAITING.delete(signal);
  signal.removeEventListener('abort', waiting.listener);
}

/** What a call rejects with that its signal has ended; the signal's reason is the cause. */
export function abortError(signal: AbortSignal): AbortError {
  return new AbortError('The operation was aborted by its signal.', { cause: signal.reason });
}

/** Rejects with `AbortError` once the signal is given. */
export function stopIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

/**
 * `work`, or a rejection as soon as the signal aborts. It ends the wait, not the work, which others may share and which nobody has
 * to await any more. Without a signal it is `work` itself.
 */
export function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  errorOf: (signal: AbortSignal) => unknown = abortError,
): Promise<T> {
  if (signal === undefined) return work;
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(errorOf(signal));
    const leave = signal.aborted ? undefined : onAbort(signal, abort);
    if (leave === undefined) abort();
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
  });
}
