/**
 * Whether what a scheduler proposes, or what was submitted to the compactor, can become a job. A scheduler may be anyone's code,
 * and a job that breaks a rule here would lose rows at its commit, so each is checked before it begins, and by the commit again.
 *
 * ```
 * tree  l0 t4 t3 t2 t1   runs r9 r7 r2        in this order, newest first
 * valid    t2 t1                        into a fresh run
 *          t4 t3 t2 t1 r9 r7            into r7
 *          r7 r2                        into r2
 * not      t4 t3     t1 r7     r9 r2    P4: t2 t1, r9 and r7 are between, or older
 * ```
 *
 * P1. The tree exists, there are sources, and each is in the tree: tables by (view id, table id, range), runs by id.
 * P2. A view of level 0 has an id of its own: jobs are stored with ids alone.
 * P3. No source is named twice, and none is in use by another job; one job with tables of level 0 at a time in a tree.
 * P4. Sources are consecutive, and tables of level 0 the oldest end of it: the marker makes writers drop everything at and after it.
 * P5. The table of the marker, which is that of the newest source of level 0, has no other view among those that stay there: writers of
 *     SlateDB up to 0.17 cut at the first view of it.
 * P6. With runs among the sources the destination is the one with the lowest id, as SlateDB infers it from the sources; else it is
 *     greater than each id in use in any tree, because readers and checkpoints name runs by id.
 * P7. No source was found damaged.
 * P8. A drain names a segment, not the root tree; of level 0 at least everything that is older than a table that it names.
 */
import type { Ulid } from '../common/ulid.ts';
import { isSameView } from '../lsm/manifest/tree-edits.ts';
import type { ActiveJob, Proposal, RunFacts, SchedulerInput, TreeFacts, ViewFacts } from './scheduling.ts';

/** Ids of runs are u32. */
const MAX_RUN_ID = 0xffff_ffff;

/** Which rule does not hold. */
export type ProposalFault =
  | 'unknown-tree'
  | 'no-sources'
  | 'missing-source'
  | 'ambiguous-source'
  | 'repeated-source'
  | 'source-in-use'
  | 'second-l0-job'
  | 'not-consecutive'
  | 'not-oldest-end'
  | 'ambiguous-marker'
  | 'wrong-destination'
  | 'destination-not-fresh'
  | 'destination-in-use'
  | 'damaged-source'
  | 'drains-root';

export interface InvalidProposal {
  fault: ProposalFault;
  /** A sentence for the error of the caller, with the names that it gave. */
  message: string;
}

/** What is to become a job, or drain a segment, as a compactions file names it. */
export type SubmittedJob = Omit<ActiveJob, 'id'>;

type Situation = Pick<SchedulerInput, 'trees' | 'active' | 'avoid'>;

/** P1 to P5 and P7; undefined: the proposal can become a job. */
export function findFault(situation: Situation, proposal: Proposal): InvalidProposal | undefined {
  const tree = situation.trees.find(({ name }) => name === proposal.tree);
  if (tree === undefined) return invalid('unknown-tree', `There is no tree ${treeText(proposal.tree)}.`);
  const { l0, runs } = proposal;
  if (l0.length + runs.length === 0) return invalid('no-sources', 'A compaction needs sources.');
  return (
    findUnnamed(tree, l0, runs) ??
    findConflict(
      situation.active.filter((job) => job.tree === tree.name),
      l0.map((view) => view.viewId),
      runs,
    ) ??
    findDisorder(tree, l0, runs) ??
    findDamaged(situation.avoid, tree, l0, runs)
  );
}

/**
 * What was submitted with ids: P1 to P7, or P8 where it drains.
 * @param fresh the lowest id that a new run may have (`freshRunId`)
 */
export function findSubmissionFault(
  situation: Situation,
  job: SubmittedJob,
  fresh: number,
): InvalidProposal | undefined {
  if (job.destination === undefined) return findDrainFault(situation, job);
  const tree = situation.trees.find(({ name }) => name === job.tree);
  const l0 = tree === undefined ? [] : viewsById(tree, job.l0ViewIds);
  if (!Array.isArray(l0)) return l0;
  const proposal = { tree: job.tree, l0, runs: job.runs, reason: 'submitted' };
  return findFault(situation, proposal) ?? findDestinationFault(situation, proposal, job.destination, fresh);
}

function viewsById(tree: TreeFacts, ids: readonly Ulid[]): ViewFacts[] | InvalidProposal {
  const found: ViewFacts[] = [];
  for (const id of ids) {
    const [view, other] = tree.l0.filter(({ viewId }) => viewId === id);
    if (view === undefined) return missing(`view ${id}`, tree);
    if (other !== undefined) return ambiguous(id);
    found.push(view);
  }
  return found;
}

/** P6. */
function findDestinationFault(
  { active }: Situation,
  proposal: Proposal,
  destination: number,
  fresh: number,
): InvalidProposal | undefined {
  if (active.some((job) => job.destination === destination)) {
    return invalid('destination-in-use', `Run ${destination} is the destination of another compaction.`);
  }
  const expected = destinationOf(proposal, fresh);
  if (proposal.runs.length > 0) {
    if (destination === expected) return undefined;
    const message = `With runs among its sources a compaction goes into the lowest of them, ${expected}, not ${destination}.`;
    return invalid('wrong-destination', message);
  }
  if (destination >= fresh && destination <= MAX_RUN_ID) return undefined;
  return invalid(
    'destination-not-fresh',
    `Run ${destination} cannot be new: ids of new runs are from ${fresh} to ${MAX_RUN_ID}.`,
  );
}

/** P1 to P3 and P8. */
function findDrainFault(situation: Situation, job: SubmittedJob): InvalidProposal | undefined {
  const tree = situation.trees.find(({ name }) => name === job.tree);
  if (tree?.name === '') return invalid('drains-root', 'Only segments are drained, not the root tree.');
  if (tree === undefined) return invalid('unknown-tree', `There is no tree ${treeText(job.tree)}.`);
  if (job.l0ViewIds.length + job.runs.length === 0) return invalid('no-sources', 'A drain needs sources.');
  const l0 = viewsById(tree, job.l0ViewIds);
  if (!Array.isArray(l0)) return l0;
  const fault =
    findUnnamed(tree, l0, job.runs) ??
    findConflict(
      situation.active.filter(({ tree: name }) => name === tree.name),
      job.l0ViewIds,
      job.runs,
    );
  if (fault !== undefined) return fault;
  const newest = tree.l0.findIndex((view) => l0.includes(view));
  const left = newest < 0 ? undefined : tree.l0.slice(newest).find((view) => !l0.includes(view));
  if (left !== undefined) return invalid('not-oldest-end', `Table ${left.tableId} is older than one that is drained.`);
  return isMarkerUnique(tree.l0, l0) ? undefined : ambiguousMarker(l0[0]);
}

// ---- the rules

/** P1, P2 and the first part of P3. */
function findUnnamed(tree: TreeFacts, l0: readonly ViewFacts[], runs: readonly number[]): InvalidProposal | undefined {
  for (const view of l0) {
    if (!tree.l0.some((other) => isSameView(view, other))) return missing(`table ${view.tableId}`, tree);
    if (tree.l0.filter(({ viewId }) => viewId === view.viewId).length > 1) return ambiguous(view.viewId);
  }
  const unknown = runs.find((id) => !tree.runs.some((run) => run.id === id));
  if (unknown !== undefined) return missing(`run ${unknown}`, tree);
  const names = [...l0.map((view) => view.viewId), ...runs];
  const repeated = names.find((name, i) => names.indexOf(name) < i);
  return repeated === undefined ? undefined : invalid('repeated-source', `Source ${repeated} is named twice.`);
}

/** The rest of P3. `jobs`: those of the tree. */
function findConflict(
  jobs: readonly ActiveJob[],
  l0ViewIds: readonly Ulid[],
  runs: readonly number[],
): InvalidProposal | undefined {
  for (const job of jobs) {
    const view = l0ViewIds.find((id) => job.l0ViewIds.includes(id));
    const run = runs.find((id) => id === job.destination || job.runs.includes(id));
    const used = view ?? run;
    if (used !== undefined) return invalid('source-in-use', `Source ${used} is in use by compaction ${job.id}.`);
  }
  const l0Job = l0ViewIds.length === 0 ? undefined : jobs.find((job) => job.l0ViewIds.length > 0);
  if (l0Job === undefined) return undefined;
  return invalid('second-l0-job', `Compaction ${l0Job.id} has tables of level 0 already.`);
}

/** P4 and P5. */
function findDisorder(tree: TreeFacts, l0: readonly ViewFacts[], runs: readonly number[]): InvalidProposal | undefined {
  const places = [
    ...l0.map((view) => tree.l0.findIndex((other) => isSameView(view, other))),
    ...runs.map((id) => tree.l0.length + tree.runs.findIndex((run) => run.id === id)),
  ];
  const gap = places.findIndex((place, i) => i > 0 && place !== places[i - 1] + 1);
  if (gap > 0) {
    const names = [...l0.map((view) => view.tableId), ...runs];
    const message = `Sources are to be consecutive, newest first: ${names[gap]} does not follow ${names[gap - 1]} directly.`;
    return invalid('not-consecutive', message);
  }
  if (l0.length === 0) return undefined;
  if (!isSameView(l0[l0.length - 1], tree.l0[tree.l0.length - 1])) {
    const { tableId } = tree.l0[tree.l0.length - 1];
    return invalid('not-oldest-end', `Of level 0 the oldest tables are taken first, and table ${tableId} is older.`);
  }
  return isMarkerUnique(tree.l0, l0) ? undefined : ambiguousMarker(l0[0]);
}

/** P5: `sources` are tables of `l0`, newest first. */
export function isMarkerUnique(l0: readonly ViewFacts[], sources: readonly ViewFacts[]): boolean {
  if (sources.length === 0) return true;
  const { tableId } = sources[0];
  return !l0.some((view) => view.tableId === tableId && !sources.some((source) => isSameView(source, view)));
}

/** P7. */
function findDamaged(
  avoid: ReadonlySet<Ulid>,
  tree: TreeFacts,
  l0: readonly ViewFacts[],
  runs: readonly number[],
): InvalidProposal | undefined {
  const views = [...l0, ...tree.runs.filter(({ id }) => runs.includes(id)).flatMap((run: RunFacts) => run.views)];
  const damaged = views.find((view) => avoid.has(view.tableId));
  if (damaged === undefined) return undefined;
  return invalid('damaged-source', `Table ${damaged.tableId} was found damaged.`);
}

// ---- where a job goes

/**
 * The id of the next new run (P6): one more than those of all runs, of the runs that jobs are to make, and of those that finished
 * jobs made, though they may be gone.
 */
export function freshRunId(
  trees: readonly TreeFacts[],
  active: readonly Pick<ActiveJob, 'destination'>[],
  finished: readonly number[],
): number {
  let last = -1;
  for (const { runs } of trees) for (const { id } of runs) last = Math.max(last, id);
  for (const { destination } of active) last = Math.max(last, destination ?? -1);
  for (const id of finished) last = Math.max(last, id);
  return last + 1;
}

/** P6. */
export function destinationOf({ runs }: Pick<Proposal, 'runs'>, fresh: number): number {
  return runs.length === 0 ? fresh : Math.min(...runs);
}

// ---- texts

function invalid(fault: ProposalFault, message: string): InvalidProposal {
  return { fault, message };
}

const treeText = (name: string) => (name === '' ? 'of the root' : `of segment ${name}`);

function missing(source: string, { name }: TreeFacts): InvalidProposal {
  return invalid('missing-source', `There is no ${source} in the tree ${treeText(name)}.`);
}

function ambiguous(viewId: Ulid): InvalidProposal {
  return invalid('ambiguous-source', `Several views of level 0 have the id ${viewId}.`);
}

function ambiguousMarker({ tableId }: ViewFacts): InvalidProposal {
  return invalid(
    'ambiguous-marker',
    `Table ${tableId}, the newest source of level 0, has another view that would stay.`,
  );
}
