/**
 * One tree while jobs are chosen for it: which of its sources are still free, and what a stretch of them is as a proposal.
 *
 * ```
 * l0    t5 t4 t3 t2 t1        the oldest end: t1, t2 t1, t3 t2 t1 ...
 * runs  r9 r7 r6 r2           r7 and r6 are a stretch; with a run without tables between them, it belongs to the stretch
 * ```
 *
 * Invariants:
 * 1. A source is free if no active job and no proposal of this call has it, and none of its tables is to be avoided.
 * 2. Tables of level 0 are only ever taken from the oldest end, and by one job at a time.
 * 3. Runs without tables do not count: whatever is chosen, is chosen as if they were not there. They go with the stretch around or before them.
 */
import type { Ulid } from '../common/ulid.ts';
import { repeatedIds } from '../lsm/manifest/view-ids.ts';
import { isMarkerUnique } from './proposal.ts';
import type { ActiveJob, Proposal, RunFacts, SchedulerInput, TreeFacts, ViewFacts } from './scheduling.ts';

/** A run with tables, and its place among the runs of the tree. */
export interface PlannedRun {
  run: RunFacts;
  index: number;
}

export class TreePlan {
  readonly tree: TreeFacts;
  /** Those with tables, newest first. */
  readonly runs: readonly PlannedRun[];
  readonly #avoid: ReadonlySet<Ulid>;
  readonly #usedRuns = new Set<number>();
  /** The runs that there will be when all jobs are done, by id; one that is not there yet by a number below 0. */
  readonly #runsAfter: Set<number>;
  #hasL0Job = false;
  #freshRuns = 0;

  constructor(tree: TreeFacts, { active, avoid }: Pick<SchedulerInput, 'active' | 'avoid'>) {
    this.tree = tree;
    this.runs = tree.runs.flatMap((run, index) => (run.views.length === 0 ? [] : { run, index }));
    this.#avoid = avoid;
    this.#runsAfter = new Set(this.runs.map(({ run }) => run.id));
    for (const job of active) if (job.tree === tree.name) this.#use(job);
  }

  #use({ l0ViewIds, runs, destination }: Pick<ActiveJob, 'l0ViewIds' | 'runs' | 'destination'>): void {
    if (l0ViewIds.length > 0) this.#hasL0Job = true;
    for (const id of runs) {
      this.#usedRuns.add(id);
      this.#runsAfter.delete(id);
    }
    if (destination === undefined) return;
    this.#usedRuns.add(destination);
    this.#runsAfter.add(destination);
  }

  /** From now on the sources of `proposal` are in use. */
  take({ l0, runs }: Proposal): void {
    const destination = runs.length === 0 ? -++this.#freshRuns : Math.min(...runs);
    this.#use({ l0ViewIds: l0.map((view) => view.viewId), runs, destination });
  }

  /** How many runs the tree has when all jobs are done. */
  get runCountAfter(): number {
    return this.#runsAfter.size;
  }

  /** Whether a job with tables of level 0 is active or chosen. */
  get hasL0Job(): boolean {
    return this.#hasL0Job;
  }

  /** Whether the runs from one place among `runs` to another are free, and those without tables between them; -1: from the newest on. */
  areFree(from: number, to: number): boolean {
    return this.#between(from, to).every((run) => this.isFreeRun(run));
  }

  isFreeRun({ id, views }: RunFacts): boolean {
    return !this.#usedRuns.has(id) && !this.isAvoided(views);
  }

  isAvoided(views: readonly ViewFacts[]): boolean {
    return this.#avoid.size > 0 && views.some((view) => this.#avoid.has(view.tableId));
  }

  /**
   * How many tables of level 0 can be taken from its oldest end, at most. A view whose id another one has as well cannot be named as
   * a source.
   */
  get freeL0(): number {
    if (this.#hasL0Job) return 0;
    const { l0 } = this.tree;
    const repeated = repeatedIds(l0.map((view) => view.viewId));
    const last = l0.findLastIndex((view) => repeated.has(view.viewId) || this.#avoid.has(view.tableId));
    return l0.length - 1 - last;
  }

  /**
   * As many tables of the oldest end as possible, from `least` to `most`; where the marker would be ambiguous then, fewer, else
   * more. Undefined: there is no such stretch.
   */
  oldestL0(least: number, most: number): ViewFacts[] | undefined {
    const { l0 } = this.tree;
    const free = this.freeL0;
    const slice = (count: number) => l0.slice(l0.length - count);
    const fits = (count: number) => isMarkerUnique(l0, slice(count));
    for (let count = Math.min(most, free); count >= least; count--) if (fits(count)) return slice(count);
    for (let count = most + 1; count <= free; count++) if (fits(count)) return slice(count);
    return undefined;
  }

  /** The ids of those that `areFree` is about, and of runs without tables that follow: so nothing is older than a stretch at the bottom. */
  stretch(from: number, to: number): number[] {
    const { runs } = this.tree;
    let end = this.runs[to].index + 1;
    while (end < runs.length && runs[end].views.length === 0 && this.isFreeRun(runs[end])) end++;
    return [...this.#between(from, to), ...runs.slice(this.runs[to].index + 1, end)].map(({ id }) => id);
  }

  #between(from: number, to: number): readonly RunFacts[] {
    return this.tree.runs.slice(from < 0 ? 0 : this.runs[from].index, this.runs[to].index + 1);
  }

  proposal(reason: string, l0: readonly ViewFacts[], runs: readonly number[]): Proposal {
    return { tree: this.tree.name, l0, runs, reason };
  }
}
