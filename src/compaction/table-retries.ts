/**
 * How long a job goes on with a table that its store does not take. What can be sent again was (retrying-store.ts, retrying-upload.ts), but
 * the bytes of a table that grows are gone once they were sent, so the table is merged and written again, under another name.
 *
 * 1. Failures without a table in between count together. Up to `timeoutMs` of failing calls, with what was cleaned up after them, and of
 *    waits are spent on them; the merging does not count, so a table that takes long is not given up at its first failure.
 * 2. A call without a clear answer may have taken `timeoutMs` by itself: so there are three of those at least.
 * 3. Waits are random and their limit grows with each failure, as between requests.
 */
import { type Clock, sleep } from '../common/clock.ts';
import { type DbError, UnavailableError } from '../common/errors.ts';
import { nextFloat, type Random } from '../common/random.ts';
import { storeError, storeErrorClass } from '../store/store-error.ts';

const FIRST_WAIT_MS = 50;
const MOST_WAIT_MS = 5000;
const LEAST_UNKNOWN = 3;

export interface TableRetryOptions {
  clock: Clock;
  random: Random;
  timeoutMs: number;
  signal: AbortSignal;
  jobId: string;
  store: string;
}

/** A call of an upload that came to nothing. */
export class TableNotStored {
  /** Undefined: no answer says whether the table is stored. */
  readonly error: DbError | undefined;
  /** When the call began, by the monotonic clock. */
  readonly sinceMs: number;

  constructor(error: DbError | undefined, sinceMs: number) {
    this.error = error;
    this.sinceMs = sinceMs;
  }
}

export class TableRetries {
  readonly #options: TableRetryOptions;
  #failures = 0;
  #spentMs = 0;

  constructor(options: TableRetryOptions) {
    this.#options = options;
  }

  /** A table is stored. */
  progress(): void {
    this.#failures = 0;
    this.#spentMs = 0;
  }

  /**
   * Waits before the table is written again. Rejects when the time is up: with the class of the store's error, or without one with
   * `COMPACTION_FAILED`; and with `AbortError`.
   */
  async failed({ error, sinceMs }: TableNotStored): Promise<void> {
    const { clock, random, timeoutMs, signal } = this.#options;
    this.#spentMs += clock.monotonicMs() - sinceMs;
    const most = Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(30, this.#failures++));
    const waitMs = Math.max(1, nextFloat(random) * most);
    const isEarly = error === undefined && this.#failures < LEAST_UNKNOWN;
    if (!isEarly && this.#spentMs + waitMs >= timeoutMs) throw this.#final(error);
    this.#spentMs += waitMs;
    await sleep(clock, waitMs, signal);
  }

  #final(error: DbError | undefined): DbError {
    const { jobId, store, timeoutMs } = this.#options;
    const times = `${this.#failures} ${this.#failures === 1 ? 'attempt' : 'attempts'}`;
    if (error === undefined) {
      const message = `Compaction ${jobId} has ended: in ${times} no answer of ${store} said whether a table was stored. It is begun again.`;
      return new UnavailableError('COMPACTION_FAILED', message, { details: { job: jobId } });
    }
    if (this.#failures === 1) return error;
    return storeError({
      cls: storeErrorClass(error) ?? 'unavailable',
      message: `a table of compaction ${jobId} was given up after ${times} within ${timeoutMs} ms; last: ${error.message}`,
      store,
      attempts: this.#failures,
      cause: error,
    });
  }
}
