/** Small pieces for asynchronous code: deferred results, bounded concurrency, work in slices. */
import type { Clock } from './clock.ts';

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T | PromiseLike<T>): void;
  reject(reason: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T | PromiseLike<T>) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}

/** Marks a rejection as handled: the code that needs it awaits the same promise later. */
export function ignoreRejection(promise: Promise<unknown>): void {
  promise.catch(() => undefined);
}

/** How long one slice of a long computation may hold the event loop. */
export const SLICE_MS = 2;

/** Runs `step` until it returns true (done), giving the event loop a turn after every `sliceMs` of work. */
export async function runSliced(clock: Clock, step: () => boolean, sliceMs = SLICE_MS): Promise<void> {
  let start = clock.monotonicMs();
  while (!step()) {
    if (clock.monotonicMs() - start >= sliceMs) {
      await clock.yieldToLoop();
      start = clock.monotonicMs();
    }
  }
}

/** A computation that can rest: each step ends where it yields, and the result is what it returns. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** A rest, and then `compute` in one step. */
export function* inOneStep<T>(compute: () => T): Steps<T> {
  yield;
  return compute();
}

/** All steps at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** All steps, giving the event loop a turn after every `SLICE_MS` of work. */
export async function finishSliced<T>(clock: Pick<Clock, 'monotonicMs' | 'yieldToLoop'>, steps: Steps<T>): Promise<T> {
  let start = clock.monotonicMs();
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (clock.monotonicMs() - start < SLICE_MS) continue;
    await clock.yieldToLoop();
    start = clock.monotonicMs();
  }
}

/**
 * Applies `fn` to all items with at most `limit` under way, results in order. The first failure rejects, after the calls
 * that were already under way have ended, so nothing goes on in the background.
 */
export async function mapLimit<T, R>(
  items: readonly T[],
  limit: number,
  fn: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  let failed = false;
  let failure: unknown;
  const worker = async () => {
    while (!failed && next < items.length) {
      const i = next++;
      try {
        results[i] = await fn(items[i], i);
      } catch (error) {
        if (!failed) failure = error;
        failed = true;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failed) throw failure;
  return results;
}
