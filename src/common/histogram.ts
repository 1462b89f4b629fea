/**
 * Counts of values by size, and their sum: what a distribution over time is drawn from.
 *
 * Bounds are fixed when it is made, so histograms of several processes can be added. A value counts at the first bound that is not
 * below it. Nothing is allocated after that.
 */
import { assertThat } from './assert.ts';

/** From 1 ms, what a local directory takes, to the default deadline of a call, in seconds. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
/** Of work on many objects, in seconds: up to a day. */
export const WORK_BOUNDS: readonly number[] = [0.01, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 7200, 86_400];

export class Histogram {
  readonly bounds: readonly number[];
  /** By bound; the last one is of values above all of them. */
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    assertThat(
      bounds.every((bound, i) => i === 0 || bound > bounds[i - 1]),
      'bounds of a histogram rise',
      { bounds },
    );
    this.bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** A value below 0, as a clock that was put back makes one, counts as 0. */
  observe(value: number): void {
    const size = Math.max(0, value);
    let at = 0;
    while (at < this.bounds.length && size > this.bounds[at]) at++;
    this.#counts[at]++;
    this.#sum += size;
  }

  /** Adds what another one has counted, which has the same bounds. */
  add(other: Histogram): void {
    assertThat(
      other.bounds.length === this.bounds.length && other.bounds.every((bound, i) => bound === this.bounds[i]),
      'only histograms with the same bounds are added',
    );
    for (let i = 0; i < this.#counts.length; i++) this.#counts[i] += other.#counts[i];
    this.#sum += other.#sum;
  }

  get count(): number {
    return this.#counts.reduce((sum, n) => sum + n, 0);
  }

  /** Of all values. */
  get sum(): number {
    return this.#sum;
  }

  /** For each bound how many values were not above it. */
  cumulative(): number[] {
    let sum = 0;
    return this.bounds.map((_, i) => {
      sum += this.#counts[i];
      return sum;
    });
  }
}
