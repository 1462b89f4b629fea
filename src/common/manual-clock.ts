/**
 * Time that a test owns: it stands still until the test advances it, and then every timer fires in order, at exactly its time.
 *
 * Invariants: two timers of the same moment fire in the order in which they were set; between two timers everything that
 * can run without time passing has run (microtasks and `yieldToLoop`). Real I/O is not waited for, except while no timer
 * is pending.
 */
import { present } from './assert.ts';
import { type Clock, SYSTEM_CLOCK, type Timer } from './clock.ts';

interface PendingTimer {
  dueMs: number;
  order: number;
  fn: () => void;
  cancelled: boolean;
}

/** Virtual time after which `runUntilSettled` gives up: 10 days. */
const DEFAULT_LIMIT_MS = 10 * 24 * 3600 * 1000;
/** Real time that `runUntilSettled` waits for I/O when no timer is pending. */
const IDLE_LIMIT_MS = 5000;

/** A clock for tests; give the same one to the database, its stores and your own code. */
export class ManualClock implements Clock {
  #monotonicMs = 0;
  #wallOffsetMs: number;
  #order = 0;
  #yielding = 0;
  /** A binary heap by (dueMs, order); cancelled timers stay until they surface. */
  readonly #heap: PendingTimer[] = [];

  /** `startMs`: wall time at the start, ms since the epoch. */
  constructor(startMs = 1_700_000_000_000) {
    this.#wallOffsetMs = startMs;
  }

  nowMs(): number {
    return Math.floor(this.#wallOffsetMs + this.#monotonicMs);
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const dueMs = this.#monotonicMs + Math.max(0, delayMs);
    const timer: PendingTimer = { dueMs, order: this.#order++, fn, cancelled: false };
    this.#push(timer);
    return {
      cancel() {
        timer.cancelled = true;
      },
      setRef() {},
    };
  }

  /** Resolves in the order of the calls, without moving time. */
  async yieldToLoop(): Promise<void> {
    this.#yielding++;
    await SYSTEM_CLOCK.yieldToLoop();
    this.#yielding--;
  }

  /** Moves wall time alone, as an operator or NTP would. */
  jumpWallMs(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
  }

  /** Lets `ms` pass: fires all timers that fall due, in order, and lets everything run that they set going. */
  async advance(ms: number): Promise<void> {
    const target = this.#monotonicMs + ms;
    await this.settle();
    for (;;) {
      const next = this.#peek();
      if (next === undefined || next.dueMs > target) break;
      this.#fireNext();
      await this.settle();
    }
    this.#monotonicMs = Math.max(this.#monotonicMs, target);
    await this.settle();
  }

  /**
   * Lets time jump from timer to timer until `promise` settles, and gives back what it gives. Throws a plain `Error` when
   * nothing can settle it any more, or after `limitMs` of virtual time.
   */
  async runUntilSettled<T>(promise: Promise<T>, limitMs = DEFAULT_LIMIT_MS): Promise<T> {
    let settled = false;
    const onSettled = () => {
      settled = true;
    };
    promise.then(onSettled, onSettled);
    const endMs = this.#monotonicMs + limitMs;
    await this.settle();
    while (!settled) {
      if (this.#peek() === undefined) await this.#waitForIo(() => settled);
      else if (this.#monotonicMs >= endMs) throw new Error(`Not settled after ${limitMs} ms of virtual time.`);
      else this.#fireNext();
      await this.settle();
    }
    return promise;
  }

  /** Lets everything run that needs no time. */
  async settle(): Promise<void> {
    do await SYSTEM_CLOCK.yieldToLoop();
    while (this.#yielding > 0);
  }

  /** Number of timers not yet fired or cancelled. */
  get pendingTimers(): number {
    return this.#heap.filter((timer) => !timer.cancelled).length;
  }

  /** Without timers only real I/O (an import, a file) can settle the promise. */
  async #waitForIo(done: () => boolean): Promise<void> {
    const start = SYSTEM_CLOCK.monotonicMs();
    while (!done() && this.#peek() === undefined) {
      if (SYSTEM_CLOCK.monotonicMs() - start > IDLE_LIMIT_MS) {
        throw new Error('Deadlock: the promise has not settled and no timer is pending.');
      }
      await this.settle();
    }
  }

  #fireNext(): void {
    const timer = present(this.#pop(), 'a timer that is due is in the queue');
    this.#monotonicMs = Math.max(this.#monotonicMs, timer.dueMs);
    timer.fn();
  }

  #peek(): PendingTimer | undefined {
    while (this.#heap.length > 0 && this.#heap[0].cancelled) this.#pop();
    return this.#heap[0];
  }

  #push(timer: PendingTimer): void {
    const heap = this.#heap;
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(timer, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = timer;
  }

  #pop(): PendingTimer | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (child >= heap.length || isBefore(last, heap[child])) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function isBefore(a: PendingTimer, b: PendingTimer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
