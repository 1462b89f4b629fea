/**
 * The commit of finished compactions: whether their results may take the place of their sources, decided on the manifest on which the
 * change is applied, each time it is applied. One manifest carries the results of all jobs that are finished by then, and a
 * checkpoint on its predecessor, which keeps the sources for readers that still use them.
 *
 * ```
 * manifest N      l0 C B A   run 4 ..                    the newest when N + 1 was created, so no collector has it
 * manifest N + 1  l0 C   run 5 X Y   run 4 ..   checkpoint on N, for 900 s
 * ```
 *
 * A job is committed only if
 * C1. the compactor's epoch is ours: compared by the log of manifests before each application;
 * C2. every source is there, by (view id, table id, range), consecutive, and those of level 0 are its oldest end: the marker makes
 *     writers drop everything at and after it;
 * C3. its destination is a source, or the id of no run: it would overwrite that one;
 * C4. only its sources go; the marker becomes the newest of them, and never goes back (tree-edits 1 and 2): flushes go on while it runs;
 * C5. its destination is still the lowest run, if a tombstone was dropped: else an older version would live again;
 * C6. no loss that it did not know overlaps it, if versions were dropped or folded: gaps compare sequence numbers;
 * C7. an output without rows makes no run (tree-edits 4): SlateDB never steps over an empty one;
 * C8. a new run has a greater id than the others of its tree: SlateDB's compactor expects descending ids;
 * C9. the table of the marker has no other view in what stays of level 0: SlateDB's writers up to 0.17 cut at the first of them.
 *
 * A rule that does not hold ends its job, whose outputs are then garbage; the others are committed without it.
 *
 * The checkpoint is dated when the change is applied, and its bytes stay the same until an answer comes. After an outage it may have expired
 * before it is stored; then another manifest gives it its lifetime (`renewal`).
 */
import { assertThat } from '../common/assert.ts';
import type { KeyRange } from '../common/key-range.ts';
import type { Ulid } from '../common/ulid.ts';
import type { BytesRange, Manifest, TableView, Tree, Uuid } from '../format/manifest-types.ts';
import { runsOf } from '../format/manifest-types.ts';
import { addCheckpoint, dropExpiredCheckpoints, refreshCheckpoint } from '../lsm/manifest/checkpoint-edits.ts';
import { COMMIT_CHECKPOINT_S } from '../lsm/manifest/live-set.ts';
import {
  commitJobs,
  drainSegment,
  findDrained,
  findStretch,
  type MergedRun,
  type Stretch,
} from '../lsm/manifest/tree-edits.ts';
import { treesByName } from '../lsm/manifest/view-ids.ts';
import { rangesOverlap, shownRange } from '../lsm/rows/shown-range.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';

/** A checkpoint that was dated at most so long before it was known to be stored is not renewed. */
const LATE_S = 60;

/** A job that is done, as the commit sees it. */
export interface FinishedJob extends MergedRun {
  id: Ulid;
  /** It drains a segment: its sources go, with all their rows and without a result. */
  isDrain: boolean;
  /** Of a job without runs among its sources. */
  hasFreshDestination: boolean;
  droppedTombstones: boolean;
  /** A version was dropped, folded or changed. */
  changedVersions: boolean;
  /** Ids of the open losses whose keys it kept as they were. */
  knownLosses: ReadonlySet<string>;
}

/** Losses that are neither acknowledged nor restored. */
export interface OpenLosses {
  /** Of the ledger that they are from. */
  version: number;
  open: readonly LedgerEntry[];
}

export interface BrokenRule {
  rule: 'C2' | 'C3' | 'C5' | 'C6' | 'C8' | 'C9';
  /** A sentence. */
  message: string;
}

export interface JobsCommit {
  jobs: readonly FinishedJob[];
  losses: OpenLosses;
  /** Runs that jobs which are still under way name. */
  namedRuns: ReadonlySet<number>;
  /** Of the checkpoint on the predecessor: by it the commit is recognised when its answer was lost. */
  checkpointId: Uuid;
  /** Time of the store. */
  nowS(): number;
  /** Whether the outputs were there a moment ago: a process that stood still may have lost them to a collector. */
  areOutputsSeen(): boolean;
  /** Puts what the tables' own info blocks say in place of what the manifest says. */
  correct(manifest: Manifest): Manifest;
}

/** What has to be looked at again before a commit can be decided. */
export type Postponed = 'losses' | 'outputs';

/** One attempt to commit jobs; its change may be applied several times, and what the last application decided counts. */
export class CommitAttempt {
  readonly #options: JobsCommit;
  #refused: ReadonlyMap<Ulid, BrokenRule> | undefined;
  #manifestId: number | undefined;
  #postponed: Postponed | undefined;
  #expireTimeS = 0;

  constructor(options: JobsCommit) {
    assertThat(options.jobs.length > 0, 'a commit has a job');
    this.#options = options;
  }

  /** The jobs that a rule has ended. */
  get refused(): ReadonlyMap<Ulid, BrokenRule> {
    assertThat(this.#refused !== undefined, 'a commit was decided');
    return this.#refused;
  }

  /** The manifest with the results; undefined: no job was committed. */
  get manifestId(): number | undefined {
    return this.#manifestId;
  }

  /** Nothing was decided: a manifest names a newer ledger of losses than the one that was read, or the outputs were seen long ago. */
  get postponed(): Postponed | undefined {
    return this.#postponed;
  }

  /** For the log of manifests. Undefined: no job may be committed, or all that may are. */
  readonly change = (m: Manifest, id: number, ledgerVersion: number): Manifest | undefined => {
    const { losses, checkpointId, jobs, namedRuns, areOutputsSeen } = this.#options;
    // Ours, of which no answer came: it was decided then.
    if (this.#refused !== undefined && m.checkpoints.some((c) => c.id === checkpointId)) return undefined;
    this.#postponed = ledgerVersion > losses.version ? 'losses' : areOutputsSeen() ? undefined : 'outputs';
    if (this.#postponed !== undefined) return undefined;
    const refused = new Map<Ulid, BrokenRule>();
    let next = m;
    for (const job of jobs) {
      const broken = findBrokenRule(next, job, losses);
      if (broken !== undefined) refused.set(job.id, broken);
      else next = job.isDrain ? drainSegment(next, job) : commitJobs(next, [job], namedRuns);
    }
    this.#refused = refused;
    this.#manifestId = refused.size === jobs.length ? undefined : id + 1;
    return this.#manifestId === undefined ? undefined : this.#withCheckpoint(next, id);
  };

  /** For the log of manifests, after the commit: gives its checkpoint the lifetime that it lost while no answer came. Undefined: it lost none. */
  get renewal(): ((m: Manifest) => Manifest | undefined) | undefined {
    const { checkpointId, correct, nowS } = this.#options;
    const expireTimeS = nowS() + COMMIT_CHECKPOINT_S;
    if (this.#manifestId === undefined || expireTimeS - this.#expireTimeS <= LATE_S) return undefined;
    return (m) => {
      const renewed = refreshCheckpoint(m, checkpointId, expireTimeS);
      return renewed && correct(renewed);
    };
  }

  #withCheckpoint(m: Manifest, predecessorId: number): Manifest {
    const { checkpointId: id, correct, nowS } = this.#options;
    const createTimeS = nowS();
    this.#expireTimeS = createTimeS + COMMIT_CHECKPOINT_S;
    const times = { createTimeS, expireTimeS: this.#expireTimeS };
    const checkpoint = { id, manifestId: predecessorId, ...times, writerEpoch: undefined, name: undefined };
    return correct(addCheckpoint(dropExpiredCheckpoints(m, createTimeS) ?? m, checkpoint, predecessorId + 1));
  }
}

/** The first rule that does not hold; undefined: the job may be committed on this manifest. */
export function findBrokenRule(m: Manifest, job: FinishedJob, losses: OpenLosses): BrokenRule | undefined {
  const tree = treesByName(m).get(job.tree);
  if (tree === undefined) return broken('C2', 'its segment is gone');
  if (job.isDrain) return findDrainFault(tree, job);
  const stretch = findStretch(tree, job);
  if (typeof stretch === 'string') return broken('C2', stretch);
  return (
    findDestinationFault(m, tree, job) ??
    findOlderData(tree, stretch, job) ??
    findNewLoss(viewsOfStretch(tree, stretch), job, losses) ??
    findOtherView(tree, stretch.l0From, job)
  );
}

function broken(rule: BrokenRule['rule'], message: string): BrokenRule {
  return { rule, message };
}

/** C2, C5 and C9 of a drain, whose runs may be any: what is older than a source would live again. */
function findDrainFault(tree: Tree, job: FinishedJob): BrokenRule | undefined {
  const drained = findDrained(tree, job);
  if (typeof drained === 'string') return broken('C2', drained);
  const { l0From, runs } = drained;
  const newest = job.l0.length > 0 ? 0 : tree.runs.findIndex((run) => runs.includes(run));
  const older = tree.runs.slice(newest).find((run) => run.views.length > 0 && !runs.includes(run));
  if (older !== undefined) return broken('C5', `run ${older.id} is older than what is drained`);
  return findOtherView(tree, l0From, job);
}

/** C3 and C8. */
function findDestinationFault(m: Manifest, tree: Tree, job: FinishedJob): BrokenRule | undefined {
  const { destination, runs, hasFreshDestination } = job;
  assertThat(hasFreshDestination === (runs.length === 0), 'a job with runs among its sources goes into one of them');
  const isSource = runs.some(({ id }) => id === destination);
  if (isSource) return undefined;
  if (!hasFreshDestination || runsOf(m).some(({ id }) => id === destination)) {
    return broken('C3', `run ${destination} is there and is no source`);
  }
  const above = tree.runs.find(({ id }) => id > destination);
  return above === undefined
    ? undefined
    : broken('C8', `run ${above.id} has a greater id than the new run ${destination}`);
}

/** C5. */
function findOlderData(tree: Tree, { runsTo }: Stretch, job: FinishedJob): BrokenRule | undefined {
  if (!job.droppedTombstones) return undefined;
  const older = tree.runs.slice(runsTo).find(({ views }) => views.length > 0);
  return older === undefined ? undefined : broken('C5', `tombstones were dropped, and run ${older.id} is older`);
}

/** C6. */
function findNewLoss(views: readonly TableView[], job: FinishedJob, { open }: OpenLosses): BrokenRule | undefined {
  if (!job.changedVersions && !job.droppedTombstones) return undefined;
  const ranges = views.map(shownRange);
  const isNew = ({ id, keys }: LedgerEntry) =>
    !job.knownLosses.has(id) &&
    (keys.length === 0 || keys.some((lost) => ranges.some((range) => rangesOverlap(range, asBounds(lost)))));
  const loss = open.find(isNew);
  return loss === undefined
    ? undefined
    : broken('C6', `the loss ${loss.id} was recorded since, and may be of its keys`);
}

/** C9. */
function findOtherView(tree: Tree, l0From: number, { l0 }: FinishedJob): BrokenRule | undefined {
  if (l0.length === 0) return undefined;
  const other = tree.l0.slice(0, l0From).find(({ table }) => table.id === l0[0].tableId);
  return other && broken('C9', `table ${other.table.id}, of the marker, has another view that stays in level 0`);
}

function viewsOfStretch(tree: Tree, { l0From, runsFrom, runsTo }: Stretch): TableView[] {
  return [...tree.l0.slice(l0From), ...tree.runs.slice(runsFrom, runsTo).flatMap(({ views }) => views)];
}

function asBounds({ gte, lte }: KeyRange): BytesRange {
  return {
    start: { kind: 'included', key: gte },
    end: lte === undefined ? { kind: 'unbounded' } : { kind: 'included', key: lte },
  };
}
