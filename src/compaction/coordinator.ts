/**
 * The jobs of a compactor under one claim: from the choice over the run to the commit, and their notes in the compactions file. What ends
 * the claim drops this object; the next claim goes on from what the file says.
 *
 * ```
 * compactions file: running    all jobs that begin, and the ends of those before: one PUT
 * tables                       runJob
 * compactions file: compacted  in version 2, with the ends of jobs before: one PUT
 * manifest                     results and checkpoint of all jobs that are done by then: one PUT
 * compactions file: completed, or failed
 *
 * moves (trivial-move.ts)      manifest, in the round in which they were chosen: one PUT for all
 * ```
 *
 * 1. A job is in the compactions file before its first table is stored: collectors and the next compactor know of it.
 * 2. The manifest is written before the end of its jobs is: a crash between the two leaves jobs whose sources are gone.
 * 3. A move stands in no compactions file: nothing that it stores needs protection, and its one PUT leaves nothing half done. As an output of a
 *    listed job its tables would be older than the job, which SlateDB's compactor refuses for good (job-list J4).
 * 4. After `cancel` nothing begins, and nothing is written but, by `leave`, the ends of jobs: SlateDB's compactor would wait for a job that
 *    seems to run although its sources are gone.
 * 5. A stored output that waits in the file is committed, or its job ended, before another job begins: the commit of the process that stored it
 *    may have taken a source away, and a new run may get the id of that source.
 */

import { assertThat } from '../common/assert.ts';
import { describeThrown } from '../common/callbacks.ts';
import type { CompactionJobState, CompactionOutcome, CompactorEvent } from '../common/compactor-role.ts';
import { type DbError, isDbError, UnavailableError } from '../common/errors.ts';
import { asSentence } from '../common/sentence.ts';
import { makeUlid, type Ulid } from '../common/ulid.ts';
import type { CompactionJob } from '../format/compactions-codec.ts';
import type { RunningJob } from '../format/jobs-record.ts';
import { type JobsFile, jobsOf } from '../lsm/manifest/compactions-store.ts';
import { FENCE_VALIDITY_MS, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { findStretch } from '../lsm/manifest/tree-edits.ts';
import { treesByName } from '../lsm/manifest/view-ids.ts';
import type { ClaimOptions, CompactorClaim } from './claim.ts';
import { type CommitDecision, Committer, type CommitterOptions, type DoneJob } from './committer.ts';
import { type CompactionPlan, type JobResult, NO_ROWS } from './compaction-plan.ts';
import { type ChosenJob, type JobChoice, SUBMITTED } from './job-choice.ts';
import {
  activeJobs,
  type EndedJob,
  endJobs,
  greatestJobId,
  nextStaleMs,
  noteCompacted,
  reclaimJobs,
  startJobs,
  waitingJobs,
} from './job-list.ts';
import {
  drainOf,
  finishedJobOf,
  foreignJob,
  isCommitted,
  movedJobOf,
  runningJobOf,
  sourcesOfPlan,
} from './job-planning.ts';
import type { Planner } from './planner.ts';
import type { ActiveJob } from './scheduling.ts';

export interface CoordinatorOptions extends ClaimOptions, Pick<CommitterOptions, 'latestStoreTimeMs'> {
  planner: Planner;
  /** Id of this process among workers. */
  worker: Ulid;
  maxConcurrentCompactions: number;
  runJob(plan: CompactionPlan, signal: AbortSignal): Promise<JobResult>;
  /** Must not throw. */
  onEvent(event: CompactorEvent): void;
  /** A job is done or has failed: a round has something to do. */
  onDone(): void;
  /** A job of ours has ended without a result. */
  onFailed(job: CompactionJobState, plan: CompactionPlan, error: DbError): void;
}

/** What a round may begin. */
export interface RoundBounds {
  /** Whether jobs may begin that nobody waits for. */
  mayBegin: boolean;
  wholeTrees: ReadonlySet<string>;
}

export interface RoundAnswer {
  choice: JobChoice;
  /** When a worker of another process has to be looked at again, ms since the epoch. */
  staleAtMs: number | undefined;
}

interface Work {
  plan: CompactionPlan;
  state: CompactionJobState;
  knownLosses: ReadonlySet<string>;
  abort: AbortController;
  /** Why it is to end, where that was decided here. */
  endedBy: DbError | undefined;
  settled: Promise<void>;
  /** The compactions file says that its tables are stored. */
  isNoted: boolean;
}

/** A job that is done, of ours with what it did. */
interface Done extends DoneJob {
  work: Work | undefined;
  result: JobResult | undefined;
}

export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #claim: CompactorClaim;
  readonly #committer: Committer;
  readonly #works = new Map<Ulid, Work>();
  /** Our jobs that have begun and whose end is not noted: SlateDB drops the record of them when it writes the file. */
  readonly #ours = new Map<Ulid, RunningJob>();
  #done: Done[] = [];
  /** Ends that are not yet in the compactions file. */
  #ended: EndedJob[] = [];
  #leastRunId = 0;
  #refreshedAt: Stamp;
  #isCancelled = false;
  /** Jobs of ours that `cancel` has ended. */
  #cutOff: Ulid[] = [];

  constructor(options: CoordinatorOptions, claim: CompactorClaim) {
    this.#options = options;
    this.#claim = claim;
    this.#refreshedAt = options.guard.stamp();
    const { planner } = options;
    const openLosses: CommitterOptions['openLosses'] = (manifest) => planner.openLosses(manifest);
    this.#committer = new Committer({ ...options, epoch: claim.epoch, openLosses });
  }

  get epoch(): number {
    return this.#claim.epoch;
  }

  get jobs(): CompactionJobState[] {
    return [...this.#works.values()].map(({ state }) => state);
  }

  /** Ends all jobs; resolves when none is under way any more. */
  async cancel(): Promise<void> {
    this.#isCancelled = true;
    const works = [...this.#works.values()];
    this.#cutOff.push(...works.filter(({ state }) => state.reason !== SUBMITTED).map(({ plan }) => plan.jobId));
    for (const { abort } of works) abort.abort();
    await Promise.all(works.map(({ settled }) => settled));
  }

  /**
   * Notes how jobs have ended, after `cancel` and when no round runs: those that were cut off as failed. Those that others have submitted stay, the next
   * compactor does them, and so do those of which it is not known whether they were committed.
   */
  async leave(): Promise<void> {
    assertThat(this.#isCancelled, 'jobs are cut off before their ends are noted (coordinator 4)');
    for (const id of this.#cutOff) this.#ended.push({ id, status: 'failed', outputs: [] });
    this.#cutOff = [];
    await this.#writeEnds();
  }

  /** Ends jobs as failed. */
  endJobs(ids: ReadonlySet<string>, error: DbError): void {
    for (const [id, work] of this.#works) if (ids.has(id)) this.#end(work, error);
  }

  #end(work: Work, error: DbError): void {
    work.endedBy ??= error;
    work.abort.abort(error);
  }

  /** Commits what is done, notes what has ended, and begins what is chosen. Undefined: it was cancelled. */
  async round(bounds: () => RoundBounds): Promise<RoundAnswer | undefined> {
    this.#endLostJobs();
    await this.#refresh();
    this.#takeCompacted();
    await this.#commitDone();
    if (this.#isCancelled) return undefined;
    const answer = await this.#begin(bounds());
    if (this.#isCancelled || answer === undefined) return answer;
    const { drains, jobs } = answer.choice;
    if (drains.length === 0 && !jobs.some(({ isMove }) => isMove)) return answer;
    for (const drain of drains) this.#takeDrain(drain);
    await this.#commitDone();
    if (this.#isCancelled) return undefined;
    await this.#writeEnds();
    return answer;
  }

  /** Jobs of which another process has changed the sources cannot be committed any more. */
  #endLostJobs(): void {
    const trees = treesByName(this.#options.manifests.current.manifest);
    for (const work of this.#works.values()) {
      const sources = sourcesOfPlan(work.plan);
      const tree = trees.get(sources.tree);
      const stretch = tree === undefined ? 'its segment is gone' : findStretch(tree, sources);
      if (typeof stretch === 'string') this.#end(work, failed(work.plan.jobId, `its sources were changed: ${stretch}`));
    }
  }

  /** The newest file, with our jobs. */
  get #file(): JobsFile {
    return { ...jobsOf(this.#claim.log.current), running: [...this.#ours.values()] };
  }

  /** What others submit and what their workers do is seen once a minute, while there are rounds at all. */
  async #refresh(): Promise<void> {
    const { guard } = this.#options;
    if (guard.ageMs(this.#refreshedAt) <= FENCE_VALIDITY_MS) return;
    const stamp = guard.stamp();
    await this.#claim.log.refresh();
    this.#refreshedAt = stamp;
  }

  // ---- commits

  #isKnown(id: Ulid): boolean {
    return this.#done.some(({ finished }) => finished.id === id) || this.#ended.some((job) => job.id === id);
  }

  /** Jobs that workers of other processes have done. */
  #takeCompacted(): void {
    const { manifest } = this.#options.manifests.current;
    for (const entry of waitingJobs(this.#file).compacted) {
      if (this.#isKnown(entry.id)) continue;
      const finished = foreignJob(manifest, entry);
      if (typeof finished !== 'string') {
        this.#done.push({
          finished,
          outputBytes: finished.outputs.map(() => undefined),
          isMove: false,
          work: undefined,
          result: undefined,
        });
      } else if (isCommitted(manifest, entry)) this.#endForeign(entry, 'completed', 'it was committed before');
      else this.#endForeign(entry, 'failed', finished);
    }
  }

  #endForeign({ id }: Pick<CompactionJob, 'id'>, status: EndedJob['status'], why: string): void {
    this.#options.logger.info(`a compaction of another process is ${status}`, { job: id, why });
    this.#ended.push({ id, status, outputs: [] });
  }

  #takeDrain(job: ActiveJob): void {
    if (this.#isKnown(job.id)) return;
    const finished = drainOf(this.#options.manifests.current.manifest, job);
    if (typeof finished === 'string') this.#endForeign(job, 'failed', finished);
    else this.#done.push({ finished, outputBytes: [], isMove: false, work: undefined, result: undefined });
  }

  async #commitDone(): Promise<void> {
    // One that is done in the meantime waits for the next round: the file does not say yet that it is (coordinator 2).
    const done = [...this.#done];
    if (done.length === 0) return;
    await this.#noteCompacted(done);
    if (this.#isCancelled) return;
    await this.#committer.commit(done, this.#namedRuns(done), (decision) => this.#decided(decision));
  }

  /** Jobs of ours that are done (job-list J7); in version 1, which has no word for it, they are not listed (job-list J2). */
  async #noteCompacted(done: readonly Done[]): Promise<void> {
    const open = done.filter(({ work }) => work !== undefined && !work.isNoted);
    if (open.length === 0 || this.#file.compactions.headerVersion === 1) return;
    const tables = new Map(open.map(({ finished: { id, outputs } }) => [id, outputs.map(({ table }) => table)]));
    await this.#claim.log.commit(({ compactions }) =>
      noteCompacted({ compactions, running: [...this.#ours.values()] }, tables),
    );
    for (const { work } of open) if (work !== undefined) work.isNoted = true;
  }

  /** Runs that jobs name which neither have ended nor are being committed. */
  #namedRuns(done: readonly Done[]): Set<number> {
    const isEnding = (id: Ulid) =>
      done.some(({ finished }) => finished.id === id) || this.#ended.some((job) => job.id === id);
    const others = activeJobs(this.#file).filter(({ id }) => !isEnding(id));
    return new Set(
      others.flatMap(({ runs, destination }) => [...runs, ...(destination === undefined ? [] : [destination])]),
    );
  }

  #decided({ id, manifestId, error }: CommitDecision): void {
    const job = this.#done.find(({ finished }) => finished.id === id);
    assertThat(job !== undefined, 'what was decided was to be committed');
    this.#done = this.#done.filter((other) => other !== job);
    const { finished, work, result, isMove } = job;
    if (work === undefined || result === undefined) {
      this.#endForeign(
        { id },
        error === undefined ? 'completed' : 'failed',
        error?.message ?? `manifest ${manifestId}`,
      );
      return;
    }
    if (error !== undefined) {
      this.#failed(work, error);
      return;
    }
    const outputs = finished.outputs.map(({ table }) => table);
    if (!isMove) this.#ended.push({ id, status: 'completed', outputs });
    const outcome = outcomeOf(work, result, manifestId);
    this.#options.onEvent({
      type: 'committed',
      outcome: { ...outcome, tablesMoved: isMove ? outputs.length : 0 },
    });
  }

  #failed(work: Work, error: DbError): void {
    const id = work.plan.jobId;
    // A move is in no file (coordinator 3).
    if (this.#ours.has(id)) this.#ended.push({ id, status: 'failed', outputs: [] });
    this.#options.onEvent({ type: 'ended', job: work.state, error });
    this.#options.onFailed(work.state, work.plan, error);
  }

  // ---- what begins

  async #begin(bounds: RoundBounds): Promise<RoundAnswer | undefined> {
    const { planner, worker, author, maxConcurrentCompactions } = this.#options;
    await planner.prepare();
    if (this.#isCancelled) return undefined;
    const running = this.#works.size + this.#done.length;
    const slots = bounds.mayBegin || bounds.wholeTrees.size > 0 ? Math.max(0, maxConcurrentCompactions - running) : 0;
    await planner.prepareMoves({ ...bounds, file: this.#file, slots, leastRunId: this.#leastRunId });
    if (this.#isCancelled) return undefined;
    let choice: JobChoice | undefined;
    let plans: CompactionPlan[] = [];
    await this.#claim.log.commit(({ compactions }) => {
      const stored = { compactions, running: [...this.#ours.values()] };
      const nowMs = author.clock.nowMs();
      let file = this.#ended.length === 0 ? stored : endJobs(stored, this.#ended);
      file = reclaimJobs(file, nowMs) ?? file;
      let greatest = greatestJobId(file);
      const drawId = () => {
        greatest = makeUlid(nowMs, author.random, greatest);
        return greatest;
      };
      choice = planner.choose({ ...bounds, file, slots, leastRunId: this.#leastRunId, drawId });
      const { jobs } = choice;
      plans = jobs.map((job) => planner.plan(job));
      if (choice.failed.length > 0)
        file = endJobs(
          file,
          choice.failed.map(({ id }) => ({ id, status: 'failed', outputs: [] })),
        );
      const merges = plans.filter((_, i) => !jobs[i].isMove);
      if (merges.length > 0) file = startJobs(file, merges.map(runningJobOf), worker, nowMs);
      return file === stored ? undefined : file;
    });
    assertThat(choice !== undefined, 'jobs were chosen');
    this.#noteEnds();
    for (const { id, fault } of choice.failed) {
      this.#options.logger.warn('a compaction that was submitted is invalid', { job: id, fault: fault.message });
    }
    if (this.#isCancelled) return undefined;
    for (const [i, plan] of plans.entries()) {
      const work = this.#workOf(plan, choice.jobs[i]);
      if (choice.jobs[i].isMove) this.#takeMove(work);
      else this.#launch(work);
    }
    return { choice, staleAtMs: nextStaleMs(this.#file) };
  }

  async #writeEnds(): Promise<void> {
    if (this.#ended.length === 0) return;
    await this.#claim.log.commit(({ compactions }) =>
      endJobs({ compactions, running: [...this.#ours.values()] }, this.#ended),
    );
    this.#noteEnds();
  }

  #noteEnds(): void {
    for (const { id } of this.#ended) this.#ours.delete(id);
    this.#ended = [];
  }

  #workOf(plan: CompactionPlan, { proposal: { tree, l0, runs, reason }, isMove }: ChosenJob): Work {
    const { author, planner, onEvent } = this.#options;
    const { jobId: id, destination } = plan;
    const startedAtMs = author.clock.nowMs();
    const state = { id, tree, l0Tables: l0.length, runs, destination, reason, startedAtMs };
    this.#leastRunId = Math.max(this.#leastRunId, destination + 1);
    onEvent({ type: 'started', job: state });
    return {
      plan,
      state,
      knownLosses: planner.knownLosses,
      abort: new AbortController(),
      endedBy: undefined,
      settled: Promise.resolve(),
      isNoted: isMove,
    };
  }

  #launch(work: Work): void {
    const { plan } = work;
    this.#works.set(plan.jobId, work);
    this.#ours.set(plan.jobId, runningJobOf(plan));
    work.settled = this.#run(work);
  }

  /** It is done as soon as it is committed. */
  #takeMove(work: Work): void {
    const { plan } = work;
    const finished = movedJobOf(plan);
    const changes = { droppedTombstones: false, changedVersions: false };
    const result = { jobId: plan.jobId, outputs: [], counts: NO_ROWS, bytesIn: 0, bytesOut: 0, ...changes };
    this.#done.push({ finished, outputBytes: [], isMove: true, work, result });
  }

  async #run(work: Work): Promise<void> {
    const { plan, knownLosses, abort } = work;
    try {
      const result = await this.#options.runJob(plan, abort.signal);
      if (this.#isCancelled) return;
      if (work.endedBy !== undefined) throw work.endedBy;
      const outputBytes = result.outputs.map(({ sizeBytes }) => sizeBytes);
      const finished = finishedJobOf(plan, result, knownLosses);
      this.#done.push({ finished, outputBytes, isMove: false, work, result });
    } catch (error) {
      if (this.#isCancelled) return;
      this.#failed(work, work.endedBy ?? asDbError(plan.jobId, error));
    } finally {
      this.#works.delete(plan.jobId);
    }
    this.#options.onDone();
  }
}

function outcomeOf(
  { state }: Work,
  { counts, bytesIn, bytesOut, outputs }: JobResult,
  manifestId: number,
): Omit<CompactionOutcome, 'tablesMoved'> {
  const { rowsIn, rowsOut } = counts;
  return { job: state, manifestId, tables: outputs.length, rowsIn, rowsOut, bytesIn, bytesOut };
}

function failed(id: Ulid, why: string, cause?: unknown): UnavailableError {
  return new UnavailableError('COMPACTION_FAILED', `Compaction ${id} has ended: ${asSentence(why)}`, {
    details: { job: id },
    cause,
  });
}

/** What a merge operator or a filter throws is no error of ours. */
function asDbError(id: Ulid, error: unknown): DbError {
  return isDbError(error) ? error : failed(id, describeThrown(error), error);
}
