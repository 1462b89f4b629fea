/**
 * Turns of the event loop for everybody else: a loop of awaited calls that are answered from memory would never let timers and I/O
 * have theirs, because a promise that is resolved at once takes none.
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

export class Turns {
  readonly #clock: Clock;
  #rows = 0;
  /** Under way: whoever is due waits for it, however many calls that is. */
  #turn: Promise<void> | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The value, at once or, when it is time, through the event loop. A call that gives no row counts as one. */
  give<T>(value: T, rows = 1): Promise<T> {
    this.#rows += rows;
    if (this.#rows < ROWS_PER_TURN) return Promise.resolve(value);
    return this.take().then(() => value);
  }

  /** Counts rows of a call that goes on. */
  note(rows: number): void {
    this.#rows += rows;
  }

  get isDue(): boolean {
    return this.#rows >= ROWS_PER_TURN;
  }

  /**
   * Lets everybody else have a turn. Calls are due until that has happened: a call whose promise nobody awaits must not use up the
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
