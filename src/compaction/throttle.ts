/**
 * How many bytes in a second compaction may read and write, all jobs of a process together.
 *
 * 1. Who waits goes on in the order in which he came.
 * 2. Bytes of a second that were not used are not saved up for later than the next one: a pause makes no burst.
 */
import { stopIfAborted } from '../common/abort.ts';
import { type Clock, sleep } from '../common/clock.ts';

/** Bytes that may be taken before the time for them has passed, ms of them. */
const BURST_MS = 1000;

export interface Throttle {
  /** Resolves when so many bytes may be read or written; 0: of which it is not known. Rejects when the job is ended. */
  take(bytes: number): Promise<void>;
}

/** One for all jobs; `bytesPerSecond` undefined: no limit. */
export class ByteRate {
  readonly #clock: Clock;
  readonly #bytesPerMs: number | undefined;
  /** Monotonic time at which all that was taken has passed. */
  #paidMs = 0;

  constructor(clock: Clock, bytesPerSecond: number | undefined) {
    this.#clock = clock;
    this.#bytesPerMs = bytesPerSecond === undefined ? undefined : bytesPerSecond / 1000;
    this.#paidMs = clock.monotonicMs();
  }

  /** For a job that `signal` ends. */
  of(signal: AbortSignal): Throttle {
    return {
      take: (bytes) => this.#take(bytes, signal),
    };
  }

  async #take(bytes: number, signal: AbortSignal): Promise<void> {
    stopIfAborted(signal);
    if (this.#bytesPerMs === undefined) return;
    const nowMs = this.#clock.monotonicMs();
    const startMs = Math.max(this.#paidMs, nowMs - BURST_MS);
    this.#paidMs = startMs + bytes / this.#bytesPerMs;
    const waitMs = startMs - nowMs;
    if (waitMs > 0) await sleep(this.#clock, waitMs, signal);
    stopIfAborted(signal);
  }
}
