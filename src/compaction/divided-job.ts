/**
 * Carries out a job in ranges of its keys that are merged at the same time, each on a thread of its own where there are threads: the sources are
 * cut, each range is a merge with its own readers and tables, and together they are one result for one commit.
 *
 * ```
 * sources    a....................z          ends of all tables  ->  ranges (subcompactions.ts)
 *            a...........m                   (.., g)   a..f  a..f         ->  tables 1 2      \
 *               d.................z          [g, ..)   g..z  g..m  g..z   ->  tables 3 4 5     ->  result 1 2 3 4 5
 * ```
 *
 * 1. All versions of a key are in one range, so each decision about rows is that of the whole job.
 * 2. Barrier, tick, bottom, losses and names are those of the job; of a range only the sources are its own, those without a key in it are left out.
 * 3. The first range that fails ends the others; what they have stored is garbage.
 * 4. Where the job is small, or its memory, there are fewer ranges, at least one: then nothing is read besides.
 * 5. The same plan, memory and tables give the same ranges.
 */
import { onAbort, stopIfAborted } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import type { Finding } from '../common/finding.ts';
import type { BytesRange } from '../format/manifest-types.ts';
import { withSignal } from '../lsm/manifest/database-stores.ts';
import { holdsRange, intersection, rangesOverlap, shownRange } from '../lsm/rows/shown-range.ts';
import { tablePlace } from '../lsm/tree/parents.ts';
import { visibleBytes } from '../lsm/tree/visible-bytes.ts';
import {
  assertRowsAddUp,
  type CompactionPlan,
  type JobResult,
  type MergeCounts,
  NO_ROWS,
  type PlannedView,
} from './compaction-plan.ts';
import { mostRanges } from './job-memory.ts';
import { type JobRunOptions, namesOf, runJob } from './job-run.ts';
import { sealsOf } from './output-seal.ts';
import { readerWithoutCache } from './stretch-reader.ts';
import { planSubcompactions, sampleOf } from './subcompactions.ts';

const ENDS_IN_FLIGHT = 8;

export interface DividedJobOptions extends JobRunOptions {
  /** Ranges at the same time, at least one. */
  maxSubcompactions: number;
}

/**
 * Rejects as `runJob` does. Besides its requests, if there is more than one range: a GET of the end of each table, and one more of each for
 * each range but the first that has keys of it.
 */
export async function runDividedJob(
  plan: CompactionPlan,
  given: DividedJobOptions,
  signal: AbortSignal,
): Promise<JobResult> {
  const options = { ...given, onFinding: onceEach(given.onFinding) };
  const { shareBytes, merges, maxSubcompactions } = options;
  const { maxSstBytes } = plan.output;
  const needs = { shareBytes, inputs: plan.sources.length, maxSstBytes, room: merges.room };
  const most = mostRanges(needs, bytesOf(plan), maxSubcompactions);
  if (most <= 1) return runJob(plan, options, signal);
  const ranges = await rangesOf(plan, options, signal, most);
  if (ranges.length === 1) return runJob(plan, options, signal);
  return runRanges(plan, ranges, options, signal);
}

function bytesOf({ sources }: CompactionPlan): number {
  return sources.flatMap(({ views }) => views).reduce((sum, { view }) => sum + visibleBytes(view), 0);
}

/** Each range reads the ends of tables: what is wrong there is said once. */
function onceEach(onFinding: (finding: Finding) => void): (finding: Finding) => void {
  const said = new Set<string>();
  return (finding) => {
    const name = `${finding.severity} ${finding.id}`;
    if (!said.has(name)) onFinding(finding);
    said.add(name);
  };
}

/** Reads the ends of all tables, some at a time, and keeps a sample of each. */
async function rangesOf(
  { sources }: CompactionPlan,
  { stores, rate, author: { clock }, onFinding }: DividedJobOptions,
  signal: AbortSignal,
  most: number,
): Promise<BytesRange[]> {
  const ofJob = withSignal(stores, signal);
  const throttle = rate.of(signal);
  const views = sources.flatMap((source) => source.views);
  const samples = await mapLimit(views, ENDS_IN_FLIGHT, async ({ view, owner }) => {
    await throttle.take(0);
    const reader = readerWithoutCache(view.table, tablePlace(ofJob, owner, view.table.id), { clock, onFinding });
    const { index } = await reader.loadMeta();
    return sampleOf({ view, index });
  });
  return planSubcompactions(samples, most);
}

async function runRanges(
  plan: CompactionPlan,
  ranges: readonly BytesRange[],
  options: DividedJobOptions,
  signal: AbortSignal,
): Promise<JobResult> {
  stopIfAborted(signal);
  const stop = new AbortController();
  const leave = onAbort(signal, () => stop.abort(signal.reason));
  const shared = { ...sealsOf(plan), isLastRange: false };
  const names = namesOf(plan, options);
  const shareBytes = Math.floor(options.shareBytes / ranges.length);
  let failure: { error: unknown } | undefined;
  const run = async (range: BytesRange, i: number): Promise<JobResult | undefined> => {
    const seals = { ...shared, range: i, isLastRange: i === ranges.length - 1 };
    try {
      return await runJob(partOf(plan, range), { ...options, shareBytes }, stop.signal, { seals, names });
    } catch (error) {
      failure ??= { error };
      stop.abort(error);
      return undefined;
    }
  };
  const results = await Promise.all(ranges.map(run));
  leave();
  if (failure !== undefined) throw failure.error;
  return joined(
    plan,
    results.filter((result) => result !== undefined),
  );
}

/** The job of the keys in a range: a source without any of them is left out. */
export function partOf(plan: CompactionPlan, range: BytesRange): CompactionPlan {
  const cut = (planned: PlannedView): PlannedView[] => {
    const { view, owner } = planned;
    const shown = shownRange(view);
    if (!rangesOverlap(shown, range)) return [];
    // Rows of a view that is cut are compared with its bounds.
    if (holdsRange(range, shown)) return [planned];
    const { visibleRange } = view;
    const left = visibleRange === undefined ? range : intersection(visibleRange, range);
    return [{ view: { ...view, visibleRange: left }, owner }];
  };
  const sources = plan.sources.map((source) => ({ ...source, views: source.views.flatMap(cut) }));
  return { ...plan, sources: sources.filter(({ views }) => views.length > 0) };
}

function joined({ jobId }: CompactionPlan, parts: readonly JobResult[]): JobResult {
  const sum = (of: (part: JobResult) => number) => parts.reduce((total, part) => total + of(part), 0);
  const counts: MergeCounts = { ...NO_ROWS };
  for (const name of Object.keys(NO_ROWS) as (keyof MergeCounts)[]) counts[name] = sum((part) => part.counts[name]);
  assertRowsAddUp(counts);
  const outputs = parts.flatMap((part) => [...part.outputs]);
  assertThat(new Set(outputs.map(({ table }) => table.id)).size === outputs.length, 'ranges share no table');
  return {
    jobId,
    outputs,
    counts,
    bytesIn: sum(({ bytesIn }) => bytesIn),
    bytesOut: sum(({ bytesOut }) => bytesOut),
    droppedTombstones: parts.some(({ droppedTombstones }) => droppedTombstones),
    changedVersions: parts.some(({ changedVersions }) => changedVersions),
  };
}
