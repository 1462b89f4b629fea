/**
 * Turns of the event loop for all other work: a loop of awaited calls that are answered from memory, or refused, would never let timers
 * and I/O have theirs, because a promise that is settled at once takes none.
 *
 * Invariants:
 * 1. No asynchronous method of a handle settles but through here, or after something that went through the event loop (a law forbids
 *    promises that are settled from the beginning everywhere else in this room).
 * 2. One turn is under way at a time, and ends the count of all calls before it.
 *
 * Not asserted: a check here would be a cost of every read.
 *
 * One count for each handle, shared by whatever is made from it (snapshots, scans, writes): a loop may make a new one of those for
 * each call.
 */
import type { Clock } from '../common/clock.ts';

/**
 * After so many rows written or read in memory a call is answered through the event loop. Half a millisecond of single calls; a
 * larger batch ends its turn.
 */
export const ROWS_PER_TURN = 512;

/** What a call that is refused counts: its error costs as much as some reads. */
const ROWS_OF_REFUSAL = 16;

export class Turns {
  readonly #clock: Clock;
  #rows = 0;
  /** Under way: every call that is due waits for it, however many those are. */
  #turn: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The value, at once or, when it is time, through the event loop. A call that gives no row counts as one. */
  give<T>(value: T, rows = 1): Promise<T> {
    this.#rows += rows;
    if (this.#rows < ROWS_PER_TURN) return Promise.resolve(value);
    return this.#afterTurn(value);
  }

  /** Apart, so that the usual answer makes no closure. */
  #afterTurn<T>(value: T): Promise<T> {
    return this.take().then(() => value);
  }

  /** The rejection of a call that is refused or aborted, at once or, when it is time, through the event loop. */
  refuse(error: unknown): Promise<never> {
    this.#rows += ROWS_OF_REFUSAL;
    if (this.#rows < ROWS_PER_TURN) return Promise.reject(error);
    return this.take().then(() => {
      throw error;
    });
  }

  /** What work comes to that may end without the event loop, and does not count itself. */
  after<T>(work: Promise<T>): Promise<T> {
    return work.then(
      (value) => this.give(value),
      (error) => this.refuse(error),
    );
  }

  /** Counts rows of a call that goes on. */
  note(rows: number): void {
    this.#rows += rows;
  }

  get isDue(): boolean {
    return this.#rows >= ROWS_PER_TURN;
  }

  /**
   * Lets all other work have a turn. Calls are due until that has happened: a call whose promise is not awaited must not use up the
   * turn of those that follow it.
   */
  take(): Promise<void> {
    this.#turn ??= this.#clock.yieldToLoop().then(() => {
      this.#rows = 0;
      this.#turn = undefined;
    });
    return this.#turn;
  }
}
