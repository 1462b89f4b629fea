/**
 * The default scheduler on random trees, with jobs that take their time and end in any order: every proposal is valid, and without writes
 * work ends, because each job leaves less to do. At rest nothing is left that a rule asks for.
 *
 * A job here does to the facts of tables what a merge does to tables: expired rows become tombstones, at the bottom they and the other
 * tombstones go, as far as barrier and losses allow; a part of the rest is superseded.
 */
import { describe, expect, it } from 'vitest';
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import { destinationOf, findFault, freshRunId } from '../../src/compaction/proposal.ts';
import { pickJobs } from '../../src/compaction/scheduler.ts';
import type { ActiveJob, RunFacts, SchedulerInput, TreeFacts, ViewFacts } from '../../src/compaction/scheduling.ts';
import { rangesOverlap } from '../../src/lsm/rows/shown-range.ts';
import { randomCase } from '../support/random-trees.ts';
import { DEFAULTS, inputOf, parseTrees } from '../support/tree-notation.ts';

const TREES = 10_000;
const BATCHES = 10;
/** Of the numbers that random trees have as sequence numbers and times. */
const NUMBERS = 25;

/** Jobs that a tree can take: each leaves a source less, or is the one rewrite of a run for tombstones or for expiry. */
const jobsFor = (trees: readonly TreeFacts[]) => 4 * sourceCount(trees) + 4;
const sourceCount = (trees: readonly TreeFacts[]) => trees.reduce((n, { l0, runs }) => n + l0.length + runs.length, 0);

class Model {
  readonly #random: SeededRandom;
  readonly trees: { name: string; l0: readonly ViewFacts[]; runs: readonly RunFacts[] }[];
  readonly input: SchedulerInput;
  readonly active: ActiveJob[] = [];
  nowMs: number;
  jobs = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    const random = this.#random;
    const { trees, options } = randomCase(random, { withOddities: true });
    const { maxConcurrent = 1 + nextInt(random, 4), ...settings } = options ?? {};
    const kept = nextInt(random, 4) === 0 ? [{ gte: Uint8Array.of(0x62 + nextInt(random, 20)), lte: undefined }] : [];
    this.nowMs = nextInt(random, NUMBERS) - 5;
    this.input = inputOf(parseTrees(trees), {
      slots: maxConcurrent,
      nowMs: this.nowMs,
      barrier: nextInt(random, NUMBERS),
      lastSeq: nextInt(random, NUMBERS),
      keptWhole: kept,
      options: {
        ...settings,
        maxSpaceAmplification: [0.1, 1, 2][nextInt(random, 3)]!,
        l0MaxSsts: [2, 5, 8, 20][nextInt(random, 4)]!,
      },
    });
    this.trees = this.input.trees.map((tree) => ({ ...tree }));
  }

  /** The input of now. */
  get now(): SchedulerInput {
    const { trees, active, nowMs } = this;
    return { ...this.input, trees, active, nowMs, slots: this.input.slots - active.length };
  }

  /** Asks the scheduler; every proposal begins. False: there was none. */
  plan(): boolean {
    const { proposals } = pickJobs(this.now);
    expect(proposals.length).toBeLessThanOrEqual(Math.max(0, this.now.slots));
    for (const proposal of proposals) {
      expect(findFault(this.now, proposal)).toBeUndefined();
      const l0ViewIds = proposal.l0.map((view) => view.viewId);
      const destination = destinationOf(proposal, freshRunId(this.trees, this.active, []));
      const id = makeUlid(++this.jobs, this.#random);
      this.active.push({ id, tree: proposal.tree, l0ViewIds, runs: proposal.runs, destination });
    }
    return proposals.length > 0;
  }

  /** One of the active jobs ends. */
  finishOne(): void {
    const [job] = this.active.splice(nextInt(this.#random, this.active.length), 1);
    const tree = this.trees.find(({ name }) => name === job!.tree)!;
    const isSource = (run: RunFacts) => job!.runs.includes(run.id);
    const views = [
      ...tree.l0.filter(({ viewId }) => job!.l0ViewIds.includes(viewId)),
      ...tree.runs.filter(isSource).flatMap((run) => run.views),
    ];
    const last = tree.runs.findLastIndex(isSource);
    const isBottom = tree.runs.slice(job!.runs.length === 0 ? 0 : last + 1).length === 0;
    const output = this.#merge(views, isBottom);
    const run = output && { id: job!.destination!, bytes: output.bytes, views: [output] };
    const [newer, older] =
      job!.runs.length === 0 ? [[], tree.runs] : [tree.runs.slice(0, last), tree.runs.slice(last + 1)];
    tree.runs = [...newer.filter((other) => !isSource(other)), ...(run === undefined ? [] : [run]), ...older];
    tree.l0 = tree.l0.filter(({ viewId }) => !job!.l0ViewIds.includes(viewId));
  }

  /** The one table that is made of `views`; undefined: it would have no row. */
  #merge(views: readonly ViewFacts[], isBottom: boolean): ViewFacts | undefined {
    if (views.length === 0) return undefined;
    const { barrier, lastSeq, keptWhole } = this.input;
    const isKept = keptWhole.some(({ gte }) =>
      views.some(({ shown }) =>
        rangesOverlap({ start: { kind: 'included', key: gte }, end: { kind: 'unbounded' } }, shown),
      ),
    );
    const known = views.map(({ bytes, rows }) => rows ?? { puts: 9, deletes: 0, merges: 0, rowBytes: bytes });
    const maxSeq = Math.max(...views.map(({ rows }) => rows?.maxSeq ?? lastSeq));
    let [puts, deletes, bytes] = [0, 0, 0];
    const expiring: { byMs: number; bytes: number }[] = [];
    for (const [i, rows] of known.entries()) {
      const gone = isKept
        ? 0
        : sumOf((rows.expiring ?? []).filter(({ byMs }) => byMs <= this.nowMs).map((e) => e.bytes));
      const share = rows.rowBytes === 0 ? 0 : Math.min(1, gone / rows.rowBytes);
      const expired = Math.floor(rows.puts * share);
      puts += rows.puts - expired;
      deletes += rows.deletes + expired;
      bytes += views[i]!.bytes * (1 - share);
      expiring.push(...(rows.expiring ?? []).filter(({ byMs }) => isKept || byMs > this.nowMs));
    }
    if (isBottom && !isKept && maxSeq <= barrier) {
      bytes *= puts / Math.max(1, puts + deletes);
      deletes = 0;
    }
    if (!isKept && nextInt(this.#random, 2) === 0) {
      puts *= 0.9;
      bytes *= 0.9;
    }
    if (puts + deletes === 0) return undefined;
    const whole = Math.max(1, Math.round(bytes));
    const rows = { puts, deletes, merges: 0, rowBytes: whole, expiring, maxSeq };
    const id = makeUlid(1000 + this.jobs, this.#random);
    const [first] = views;
    return { ...first!, viewId: id, tableId: id, visibleRange: undefined, bytes: whole, isExternal: false, rows };
  }

  /** Until neither the scheduler nor a job has anything to do. Jobs end in any order, some of them before others begin. */
  runToRest(): void {
    const limit = this.jobs + jobsFor(this.trees);
    for (;;) {
      const isNew = this.plan();
      expect(this.jobs, 'work ends').toBeLessThanOrEqual(limit);
      if (!isNew && this.active.length === 0) return;
      for (let n = 1 + nextInt(this.#random, 2); n > 0 && this.active.length > 0; n--) this.finishOne();
    }
  }

  expectRest(): void {
    const { minCompactionSources, sortedRunConsolidationThreshold: most } = { ...DEFAULTS, ...this.input.options };
    for (const { l0, runs } of this.trees) {
      const isDamaged = [...l0, ...runs.flatMap((run) => run.views)].some((view) => this.input.avoid.has(view.tableId));
      if (isDamaged) continue;
      expect(l0.length).toBeLessThan(Math.max(minCompactionSources, 2));
      expect(runs.every((run) => run.views.length > 0)).toBe(true);
      if (most >= 2) expect(runs.length).toBeLessThanOrEqual(most);
      const above = sumOf(runs.slice(0, -1).map((run) => run.bytes));
      if (runs.length > 1)
        expect(above).toBeLessThanOrEqual(this.input.options.maxSpaceAmplification * runs.at(-1)!.bytes);
    }
  }
}

function sumOf(list: readonly number[]): number {
  return list.reduce((total, n) => total + n, 0);
}

describe('on random trees the scheduler proposes only valid jobs, and work ends', () => {
  it.each(Array.from({ length: BATCHES }, (_, i) => (i * TREES) / BATCHES))('seeds from %d', (from) => {
    for (let seed = from; seed < from + TREES / BATCHES; seed++) {
      try {
        const model = new Model(seed);
        model.runToRest();
        model.expectRest();
        for (let wake = 0; wake < NUMBERS; wake++) {
          const { wakeAtMs } = pickJobs(model.now);
          if (wakeAtMs === undefined) break;
          expect(wakeAtMs).toBeGreaterThan(model.nowMs);
          model.nowMs = wakeAtMs;
          expect(model.plan(), 'at that time there is something to do, unless what is damaged keeps it').toBe(
            model.active.length > 0,
          );
          model.runToRest();
        }
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
});
