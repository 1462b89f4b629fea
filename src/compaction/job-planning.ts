/**
 * How sources become a job: its plan, made from one manifest; what of it the seal of the compactions file keeps; and what the
 * commit needs to know of it when it is done.
 *
 * 1. A plan is made of what the manifest has, never of what a proposal says of it: the proposal only names the sources.
 * 2. Barrier and tick are those of the manifest, so that two jobs on one manifest decide alike.
 * 3. Keys of open losses are kept as they are, all of them where the keys of a loss are not known: gaps compare sequence numbers.
 */
import { assertThat, present } from '../common/assert.ts';
import { compareBytes, EMPTY_BYTES, fromHex, toHex } from '../common/bytes.ts';
import { type KeyRange, lastKeyOf } from '../common/key-range.ts';
import type { Ulid } from '../common/ulid.ts';
import type { CompactionJob } from '../format/compactions-codec.ts';
import { digestOfSources, type RunningJob } from '../format/jobs-record.ts';
import type { Bound, Manifest, SortedRun, TableView, Tree } from '../format/manifest-types.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import {
  isSameView,
  type SourceRun,
  type SourceView,
  sourceViewOf,
  type TreeSources,
} from '../lsm/manifest/tree-edits.ts';
import { treesByName } from '../lsm/manifest/view-ids.ts';
import { compareStarts, shownRange } from '../lsm/rows/shown-range.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';
import type { FinishedJob, OpenLosses } from './commit.ts';
import {
  assertPlan,
  type CompactionPlan,
  type JobResult,
  type OutputForm,
  type PlannedSource,
} from './compaction-plan.ts';
import { activeJob } from './job-list.ts';
import type { ActiveJob, Proposal } from './scheduling.ts';

type NamedSources = Pick<ActiveJob, 'tree' | 'l0ViewIds' | 'runs'>;

/** What a plan is made of besides its sources. */
export interface PlanSetting {
  manifest: { id: number; manifest: Manifest };
  losses: OpenLosses;
  output: OutputForm;
  /** What expires at or before has expired, ms since the epoch; undefined: nothing has. */
  tickMs: number | undefined;
}

/** The plan of a proposal that is valid on this manifest. */
export function planJob(
  jobId: Ulid,
  proposal: Pick<Proposal, 'tree' | 'l0' | 'runs'>,
  destination: number,
  { manifest: { id, manifest }, losses, output, tickMs }: PlanSetting,
): CompactionPlan {
  const tree = present(treesByName(manifest).get(proposal.tree), 'the tree of a valid proposal is there');
  const l0 = proposal.l0.map((source) => viewNamed(tree, source));
  const runs = proposal.runs.map((runId) => runNamed(tree, runId));
  const owners = ownersOf(manifest);
  const planned = (views: readonly TableView[]) => views.map((view) => ({ view, owner: owners.get(view.table.id) }));
  const plan: CompactionPlan = {
    jobId,
    manifestId: id,
    segment: proposal.tree === '' ? undefined : fromHex(proposal.tree),
    sources: [
      ...l0.map((view): PlannedSource => ({ level: 'l0', runId: undefined, views: planned([view]) })),
      ...runs.map((run): PlannedSource => ({ level: 'run', runId: run.id, views: planned(run.views) })),
    ],
    destination,
    barrier: manifest.recentSnapshotMinSeq,
    tickMs,
    isBottom: isBottom(tree, proposal.runs),
    keptWhole: keptWhole(losses.open),
    // An older source, which might be damaged, is none of the job's at the bottom; what repairs lost of one is kept whole.
    keptTombstones: [],
    output,
  };
  assertPlan(plan);
  return plan;
}

function viewNamed({ l0 }: Tree, source: SourceView): TableView {
  const found = l0.find((view) => isSameView(sourceViewOf(view), source));
  return present(found, 'the sources of a valid proposal are there (job-planning 1)');
}

function runNamed({ runs }: Tree, runId: number): SortedRun {
  const found = runs.find(({ id }) => id === runId);
  return present(found, 'the sources of a valid proposal are there (job-planning 1)');
}

/** Whether no row of the tree is older than the sources. */
function isBottom(tree: Tree, sources: readonly number[]): boolean {
  const last = tree.runs.findLastIndex(({ id }) => sources.includes(id));
  return tree.runs.slice(last + 1).every(({ views }) => views.length === 0);
}

/** The keys of which every version is kept as it is (job-planning 3): ascending, disjoint. */
export function keptWhole(open: readonly LedgerEntry[]): KeyRange[] {
  return disjoint(open.flatMap(keysOf));
}

function keysOf({ keys }: LedgerEntry): readonly KeyRange[] {
  return keys.length > 0 ? keys : [{ gte: EMPTY_BYTES, lte: undefined }];
}

/** The same keys as ranges that ascend and do not overlap. */
function disjoint(ranges: readonly KeyRange[]): KeyRange[] {
  const joined: KeyRange[] = [];
  for (const range of [...ranges].sort((a, b) => compareBytes(a.gte, b.gte))) {
    const last = joined.at(-1);
    if (last === undefined || compareBytes(lastKeyOf(last), range.gte) < 0) joined.push(range);
    else if (compareBytes(lastKeyOf(range), lastKeyOf(last)) > 0)
      joined[joined.length - 1] = { ...last, lte: range.lte };
  }
  return joined;
}

/** What the seal of the compactions file keeps of a job that begins. */
export function runningJobOf({
  jobId,
  segment,
  sources,
  destination,
  barrier,
  tickMs,
  isBottom,
}: CompactionPlan): RunningJob {
  return {
    id: jobId,
    segment: segment ?? EMPTY_BYTES,
    destination,
    isBottom,
    retentionMinSeq: barrier,
    tickMs: tickMs ?? Number.NEGATIVE_INFINITY,
    sourcesDigest: digestOfSources(sources.map(({ views }) => views.map(({ view }) => view))),
    l0ViewIds: sources
      .filter(({ level }) => level === 'l0')
      .flatMap(({ views }) => views.map(({ view }) => view.viewId)),
    runs: sources.flatMap(({ runId }) => runId ?? []),
    parts: [],
  };
}

/** The sources of a job as edits of trees name them. */
export function sourcesOfPlan({ segment, sources }: CompactionPlan): TreeSources {
  const views = (source: PlannedSource) => source.views.map(({ view }) => sourceViewOf(view));
  return {
    tree: segment === undefined ? '' : toHex(segment),
    l0: sources.filter(({ level }) => level === 'l0').flatMap(views),
    runs: sources.flatMap((source): SourceRun[] =>
      source.runId === undefined ? [] : [{ id: source.runId, views: views(source) }],
    ),
  };
}

/** The sources that a job of another process names by their ids; or, as a sentence, why they are not there. */
export function sourcesNamed(manifest: Manifest, { tree: name, l0ViewIds, runs }: NamedSources): TreeSources | string {
  const tree = treesByName(manifest).get(name);
  if (tree === undefined) return 'its segment is gone';
  const l0: SourceView[] = [];
  for (const id of l0ViewIds) {
    const found = tree.l0.filter(({ viewId }) => viewId === id);
    if (found.length !== 1) return found.length === 0 ? `view ${id} is gone` : `several views have the id ${id}`;
    l0.push(sourceViewOf(found[0]));
  }
  const missing = runs.find((id) => !tree.runs.some((run) => run.id === id));
  if (missing !== undefined) return `run ${missing} is gone`;
  const found = tree.runs.filter(({ id }) => runs.includes(id));
  const order = (view: SourceView) => tree.l0.findIndex((other) => isSameView(sourceViewOf(other), view));
  return {
    tree: name,
    l0: l0.sort((a, b) => order(a) - order(b)),
    runs: found.map(({ id, views }) => ({ id, views: views.map(sourceViewOf) })),
  };
}

/** A job and its result for the commit. `knownLosses`: those that the plan was made with. */
export function finishedJobOf(plan: CompactionPlan, result: JobResult, knownLosses: ReadonlySet<string>): FinishedJob {
  assertOutputs(plan, result);
  const sources = sourcesOfPlan(plan);
  return {
    id: plan.jobId,
    isDrain: false,
    ...sources,
    destination: plan.destination,
    hasFreshDestination: sources.runs.length === 0,
    outputs: result.outputs.map(({ table }) => ({ viewId: table.id, table, visibleRange: undefined })),
    droppedTombstones: result.droppedTombstones,
    changedVersions: result.changedVersions,
    knownLosses,
  };
}

/** A job whose tables only move (trivial-move.ts): the views of its sources, in the order of their keys. Nothing of them changes. */
export function movedJobOf(plan: CompactionPlan): FinishedJob {
  const sources = sourcesOfPlan(plan);
  const views = plan.sources.flatMap((source) => source.views.map(({ view }) => ({ view, shown: shownRange(view) })));
  // Stable: tables of one run that begin with the same key keep their order.
  views.sort((a, b) => compareStarts(a.shown.start, b.shown.start));
  for (const [i, { shown }] of views.entries()) {
    const isAfter = i === 0 || compareEndToStart(views[i - 1].shown.end, shown.start) <= 0;
    assertThat(isAfter, 'tables that move ascend by key', { jobId: plan.jobId, view: i });
  }
  return {
    id: plan.jobId,
    isDrain: false,
    ...sources,
    destination: plan.destination,
    hasFreshDestination: sources.runs.length === 0,
    outputs: views.map(({ view }) => view),
    droppedTombstones: false,
    changedVersions: false,
    knownLosses: new Set(),
  };
}

function compareEndToStart(end: Bound, start: Bound): number {
  return end.kind === 'unbounded' || start.kind === 'unbounded' ? 1 : compareBytes(end.key, start.key);
}

/** What SlateDB checks of names, and what makes a run of tables. */
function assertOutputs({ jobId }: CompactionPlan, { jobId: of, outputs }: JobResult): void {
  assertThat(of === jobId, 'a result is that of its job', { jobId, of });
  const ids = outputs.map(({ table }) => table.id);
  assertThat(
    ids.every((id) => id > jobId) && new Set(ids).size === ids.length,
    'outputs have names of their own, above that of their job',
    { jobId, ids },
  );
  for (const [i, { firstKey, lastKey }] of outputs.entries()) {
    const isAfter = i === 0 || compareBytes(outputs[i - 1].lastKey, firstKey) <= 0;
    assertThat(isAfter && compareBytes(firstKey, lastKey) <= 0, 'outputs ascend by key', { jobId, output: i });
  }
}

// ---- jobs of other processes

/** A job that a worker of another process has done: what it did with versions is not known, nor did it know of losses. */
export function foreignJob(manifest: Manifest, entry: CompactionJob): FinishedJob | string {
  const sources = sourcesNamed(manifest, activeJob(entry));
  if (typeof sources === 'string') return sources;
  if (entry.spec.kind === 'drain') return 'a drain has no result';
  return {
    id: entry.id,
    isDrain: false,
    ...sources,
    destination: entry.spec.destination,
    hasFreshDestination: sources.runs.length === 0,
    outputs: (entry.outputs ?? []).map(({ table, visibleRange }) => ({ viewId: table.id, table, visibleRange })),
    // It drops tombstones only into the lowest run, which is the lowest as long as its tree has runs.
    droppedTombstones: false,
    changedVersions: true,
    knownLosses: new Set(),
  };
}

/** Whether the manifest has the result of a job already: its outputs are the destination, and the other sources are gone. */
export function isCommitted(manifest: Manifest, { spec, outputs }: CompactionJob): boolean {
  if (spec.kind === 'drain' || outputs === undefined || outputs.length === 0) return false;
  const tree = treesByName(manifest).get(toHex(spec.segment ?? EMPTY_BYTES));
  const run = tree?.runs.find(({ id }) => id === spec.destination);
  if (tree === undefined || run?.views.length !== outputs.length) return false;
  const isSame = run.views.every(({ table }, i) => table.id === outputs[i].table.id);
  const isLeft = (id: number) => id !== spec.destination && tree.runs.some((other) => other.id === id);
  return isSame && !spec.runs?.some(isLeft) && !tree.l0.some(({ viewId }) => spec.l0ViewIds?.includes(viewId));
}

/** A drain that is to be committed. */
export function drainOf(manifest: Manifest, job: ActiveJob): FinishedJob | string {
  const sources = sourcesNamed(manifest, job);
  if (typeof sources === 'string') return sources;
  const facts = { droppedTombstones: false, changedVersions: false, knownLosses: new Set<string>() };
  return { id: job.id, isDrain: true, ...sources, destination: 0, hasFreshDestination: false, outputs: [], ...facts };
}
