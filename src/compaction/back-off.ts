/** How long to wait after failures in a row: twice as long each time, from 1 s to 5 min; one success ends it. */
import type { Clock } from '../common/clock.ts';

const FIRST_MS = 1000;
const MOST_MS = 300_000;

export class BackOff {
  readonly #clock: Clock;
  #failures = 0;
  /** By the monotonic clock. */
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get failures(): number {
    return this.#failures;
  }

  /** How long to wait from now, whole ms; 0: not at all. */
  get waitMs(): number {
    return Math.max(0, Math.ceil(this.#untilMs - this.#clock.monotonicMs()));
  }

  fail(): void {
    this.#untilMs = this.#clock.monotonicMs() + Math.min(MOST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures++;
  }

  succeed(): void {
    this.#failures = 0;
    this.#untilMs = Number.NEGATIVE_INFINITY;
  }
}
