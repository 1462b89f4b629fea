/**
 * The calls that wait for a write to become durable.
 *
 * 1. Each waiter is answered exactly once: durable, or an error that says whether the write can still take effect.
 * 2. Waiters stand in the order of their sequence numbers, several of one among them, so one pass from the front releases a group.
 * 3. What was released stays released, and no call waits for it: a later one would never be answered.
 * 4. While a call waits, a timer runs; all wait equally long, so the first to give up is the first in the list.
 *
 * Asserted where waiters come and are released; not where they get a failure or give up, because that is how a handle ends.
 */
import { isAborted, onAbort } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import type { Clock, Timer } from '../common/clock.ts';
import { AbortError, type DbError, UnavailableError } from '../common/errors.ts';

/** What a write resolves to. */
export interface WriteResult {
  /** Sequence number of the write; all rows of a batch share it. */
  seq: bigint;
}

interface Waiter {
  seq: number;
  deadlineMs: number;
  resolve(result: WriteResult): void;
  reject(error: unknown): void;
  done: boolean;
  /** Takes back what listens to its signal. */
  leave: (() => void) | undefined;
}

export class DurabilityWaiters {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #queue: Waiter[] = [];
  #head = 0;
  #timer: Timer | undefined;
  /** Everything up to here is durable. */
  #releasedTo = -1;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  get isEmpty(): boolean {
    return this.#head === this.#queue.length;
  }

  /** Waits until everything up to `seq` is durable. A caller with a signal holds its listener: a write that is applied must not be refused. */
  add(seq: number, signal?: AbortSignal): Promise<WriteResult> {
    const last = this.isEmpty ? seq : this.#queue[this.#queue.length - 1].seq;
    const isInOrder = seq >= last && seq > this.#releasedTo;
    assertThat(isInOrder, 'who waits for durability comes in the order of the writes, before they are durable');
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        seq,
        deadlineMs: this.#clock.monotonicMs() + this.#timeoutMs,
        resolve,
        reject,
        done: false,
        leave: undefined,
      };
      this.#queue.push(waiter);
      if (this.#timer === undefined) this.#arm(this.#timeoutMs);
      if (signal !== undefined) this.#onAbort(waiter, signal);
    });
  }

  #onAbort(waiter: Waiter, signal: AbortSignal): void {
    const abort = () => {
      if (settle(waiter)) waiter.reject(aborted(signal));
    };
    if (isAborted(signal)) abort();
    else waiter.leave = onAbort(signal, abort);
  }

  /** Everything up to `seq` is durable. */
  release(seq: number): void {
    assertThat(seq >= this.#releasedTo, 'what is durable stays durable');
    this.#releasedTo = seq;
    const queue = this.#queue;
    while (this.#head < queue.length && queue[this.#head].seq <= seq) {
      const waiter = queue[this.#head++];
      if (settle(waiter)) waiter.resolve({ seq: BigInt(waiter.seq) });
    }
    this.#trim();
    assertThat(this.isEmpty === (this.#timer === undefined), 'a timer runs exactly while a call waits');
  }

  /** Rejects all waiters up to `seq`; `errorOf` makes the error of each. */
  fail(seq: number, errorOf: (seq: number) => DbError): void {
    const queue = this.#queue;
    while (this.#head < queue.length && queue[this.#head].seq <= seq) {
      const waiter = queue[this.#head++];
      if (settle(waiter)) waiter.reject(errorOf(waiter.seq));
    }
    this.#trim();
  }

  #trim(): void {
    if (this.isEmpty) {
      this.#queue = [];
      this.#head = 0;
      this.#timer?.cancel();
      this.#timer = undefined;
    } else if (this.#head > 4096) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  #arm(delayMs: number): void {
    this.#timer = this.#clock.setTimer(delayMs, () => this.#expire());
  }

  /** Answers those whose time is up; all wait equally long, so they stand in front. */
  #expire(): void {
    this.#timer = undefined;
    const now = this.#clock.monotonicMs();
    const queue = this.#queue;
    while (this.#head < queue.length && queue[this.#head].deadlineMs <= now) {
      const waiter = queue[this.#head++];
      if (!settle(waiter)) continue;
      waiter.reject(
        new UnavailableError(
          'WRITE_OUTCOME_UNKNOWN',
          `The store did not confirm the write within ${this.#timeoutMs} ms (option timeoutMs). It stays queued and may become durable: read it back before writing it again.`,
          { outcome: 'unknown', details: { seq: waiter.seq } },
        ),
      );
    }
    if (!this.isEmpty) this.#arm(Math.max(1, queue[this.#head].deadlineMs - now));
    this.#trim();
  }
}

/** False if it was answered already. */
function settle(waiter: Waiter): boolean {
  if (waiter.done) return false;
  waiter.done = true;
  waiter.leave?.();
  return true;
}

function aborted(signal: AbortSignal): AbortError {
  return new AbortError('The wait was aborted; the write had been admitted and may become durable.', {
    outcome: 'unknown',
    cause: signal.reason,
  });
}
