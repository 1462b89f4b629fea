/**
 * The jobs that SlateDB 0.17 and 0.18 choose by size, on the same tree the same ones, in the same order. Sources of like size are
 * merged, so that a row is rewritten about once each time the data above it has grown by `minCompactionSources`.
 *
 * ```
 * Z1  level 0: with at least min tables all of them, but at most the max oldest ones, into a fresh run
 * Z2  runs: from the first run, else the second ... on: as long as the next run is at most threshold x the smallest one so far; at
 *     least min runs, into the oldest of them. Z4 lets none be longer than max
 * Z3  consolidation: if more runs than its threshold would be left, from the first run, else the second ... on: two or more, whatever
 *     their sizes, at most max, and not more than reach the threshold
 * Z4  a pick waits if the run after its result would join it (at most threshold x its size) and begins a series (Z2) of max runs or
 *     more: those come first
 * Z5  no source is in two jobs; a series ends before a source that is in use
 * Z6  trees with most tables in level 0 first, otherwise in the order of the manifest; one pick for each in turn, until none is found
 *     or the slots are used
 * ```
 *
 * Sizes are compared as SlateDB does, in single precision: the product is rounded to 24 bits and cut to a whole number.
 *
 * What differs from SlateDB:
 * - Runs without tables do not count (tree-plan.ts 3). SlateDB takes them for the smallest run of a series, so none goes past one.
 * - Two views under one id, a table whose id is the marker of what stays, and damage make a stretch shorter, or end it.
 * - With a minimum or maximum of 1 a run is not merged with itself again and again.
 */
import { assertThat } from '../common/assert.ts';
import type { Proposal, SchedulerOptions } from './scheduling.ts';
import type { TreePlan } from './tree-plan.ts';

/** Fewer runs than this are no merge. */
const LEAST_RUNS = 2;

/** `slots` more jobs at most, each of which is taken in its plan. The plans are in the order of Z6. */
export function pickBySize(plans: readonly TreePlan[], slots: number, options: SchedulerOptions): Proposal[] {
  const pickers = plans.map((plan) => new SizeTieredPicker(plan, options));
  const picked: Proposal[] = [];
  for (let before = -1; before < picked.length; ) {
    before = picked.length;
    for (const picker of pickers) {
      if (picked.length >= slots) return picked;
      const pick = picker.pick();
      if (pick === undefined) continue;
      picker.plan.take(pick);
      picked.push(pick);
    }
  }
  return picked;
}

/** Z1 and Z4 alone. */
export function pickL0(plan: TreePlan, options: SchedulerOptions, reason: string): Proposal | undefined {
  return new SizeTieredPicker(plan, options).pickL0(reason);
}

class SizeTieredPicker {
  readonly plan: TreePlan;
  readonly #options: SchedulerOptions;
  /** For each run of the plan: how many runs there are in the series that begins with it (Z4). */
  readonly #seriesLengths: readonly number[];

  constructor(plan: TreePlan, options: SchedulerOptions) {
    this.plan = plan;
    this.#options = options;
    this.#seriesLengths = plan.runs.map((_, i) => this.#seriesLength(i));
  }

  pick(): Proposal | undefined {
    const { plan } = this;
    const l0 = this.pickL0('l0');
    if (l0 !== undefined) return l0;
    const bySize = this.#pickRuns();
    if (bySize !== undefined) return plan.proposal('size', [], bySize);
    const consolidated = this.#consolidate();
    return consolidated && plan.proposal('consolidation', [], consolidated);
  }

  /** Z1. */
  pickL0(reason: string): Proposal | undefined {
    const { plan } = this;
    const { minCompactionSources: min, maxCompactionSources: max } = this.#options;
    if (plan.tree.l0.length < min) return undefined;
    const l0 = plan.oldestL0(Math.min(min, max), max);
    if (l0 === undefined) return undefined;
    const bytes = l0.reduce((sum, view) => sum + view.bytes, 0);
    return this.#mayPrecede(bytes, 0) ? plan.proposal(reason, l0, []) : undefined;
  }

  /** Z2. */
  #pickRuns(): number[] | undefined {
    const { minCompactionSources: min, maxCompactionSources: max, includeSizeThreshold } = this.#options;
    const { plan } = this;
    for (let from = 0; from < plan.runs.length; from++) {
      const to = this.#end(from, includeSizeThreshold, plan.runs.length);
      // Whatever joins the series of the first run joins that of the second, which Z4 keeps shorter than max.
      assertThat(to - from <= Math.max(max, 1), 'a series of like runs is not longer than a job', { from, to, max });
      if (to - from >= Math.max(min, LEAST_RUNS)) return plan.stretch(from, to - 1);
    }
    return undefined;
  }

  /** Z3. A threshold of 1 could never be reached without merging a run with itself; SlateDB takes it for 0. */
  #consolidate(): number[] | undefined {
    const { maxCompactionSources: max, sortedRunConsolidationThreshold: threshold } = this.#options;
    const { plan } = this;
    const surplus = plan.runCountAfter - threshold;
    if (threshold < LEAST_RUNS || surplus <= 0) return undefined;
    const most = Math.min(max, surplus + 1);
    for (let from = 0; from < plan.runs.length; from++) {
      const to = this.#end(from, undefined, most);
      if (to - from >= LEAST_RUNS) return plan.stretch(from, to - 1);
    }
    return undefined;
  }

  /** Where a series ends that begins with run `from`: Z2 without `threshold`, Z4, Z5. */
  #end(from: number, threshold: number | undefined, most: number): number {
    const { runs } = this.plan;
    const last = Math.min(runs.length, from + most);
    let least = Number.POSITIVE_INFINITY;
    let total = 0;
    let i = from;
    for (; i < last; i++) {
      const { bytes } = runs[i].run;
      if (threshold !== undefined && i > from && bytes > scaled(least, threshold)) break;
      least = Math.min(least, bytes);
      total += bytes;
      if (!this.plan.areFree(Math.max(from, i - 1), i)) break;
      if (!this.#mayPrecede(total, i + 1)) break;
    }
    return i;
  }

  /** Z4: whether a result of `bytes` may come before run `next`. */
  #mayPrecede(bytes: number, next: number): boolean {
    const { runs } = this.plan;
    if (next >= runs.length) return true;
    const { includeSizeThreshold, maxCompactionSources } = this.#options;
    const joins = runs[next].run.bytes <= scaled(bytes, includeSizeThreshold);
    return !joins || this.#seriesLengths[next] < maxCompactionSources;
  }

  /** Whether its runs are in use does not matter, but no job takes it past damage: nothing is to wait for such a series. */
  #seriesLength(from: number): number {
    const { runs } = this.plan;
    let least = Number.POSITIVE_INFINITY;
    let i = from;
    for (; i < runs.length; i++) {
      const { bytes, views } = runs[i].run;
      if (i > from && bytes > scaled(least, this.#options.includeSizeThreshold)) break;
      if (this.plan.isAvoided(views)) break;
      least = Math.min(least, bytes);
    }
    return i - from;
  }
}

/** `bytes` x `factor` in single precision, cut to a whole number. */
function scaled(bytes: number, factor: number): number {
  return Math.trunc(Math.fround(Math.fround(bytes) * Math.fround(factor)));
}
