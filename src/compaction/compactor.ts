/**
 * The role of the compactor: when it claims, works, waits and stops. What is done in a round is the coordinator's.
 *
 * ```
 * idle -> working -> idle              rounds have a cause: a manifest, a job that is done, a time that has come, a request
 *      -> retrying -> working          after a failure, 1 s to 5 min
 *      -> fenced -> working            another compactor has the epoch (takeover.ts)
 *      -> paused -> idle               for a repair, which takes the epoch
 *      -> stopped, failed              for good
 * ```
 *
 * 1. Rounds run one at a time. One without anything to do sends no request, and the first with something to do claims.
 * 2. Being fenced ends the jobs, and this role alone: the database is served as before.
 * 3. A failure of a job makes no other job begin until a wait is over, but what is done is committed; one of the store makes all wait. A
 *    damaged table makes nothing wait but the jobs that need it.
 * 4. No failure is lost: it is in the state and in an event until a job succeeds.
 */
import { abortError, onAbort, stopIfAborted, untilAborted } from '../common/abort.ts';
import { describeThrown } from '../common/callbacks.ts';
import type { Timer } from '../common/clock.ts';
import type {
  CompactionJobState,
  CompactionReport,
  CompactorEvent,
  CompactorPhase,
  CompactorRole,
  CompactorState,
  RoundCause,
} from '../common/compactor-role.ts';
import {
  ClosedError,
  type DbError,
  FencedError,
  InternalError,
  isDbError,
  ManifestCorruptionError,
} from '../common/errors.ts';
import { makeUlid } from '../common/ulid.ts';
import { compactorFenced, type JobsFile } from '../lsm/manifest/compactions-store.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import { BackOff } from './back-off.ts';
import { claimAsCompactor, withChoosableViews } from './claim.ts';
import { type CompactionPlan, inputTables } from './compaction-plan.ts';
import { Coordinator, type CoordinatorOptions, type RoundAnswer } from './coordinator.ts';
import { DamageMarks, tablesInError } from './damage-marks.ts';
import { FullCompaction } from './full-compaction.ts';
import type { JobChoice } from './job-choice.ts';
import { Planner, type PlannerOptions } from './planner.ts';
import { TakeoverWait } from './takeover.ts';

export interface CompactorOptions
  extends Omit<CoordinatorOptions, 'manifests' | 'planner' | 'worker' | 'onDone' | 'onFailed'>,
    Omit<PlannerOptions, 'manifests' | 'marks'> {
  manifests: Pick<ManifestLog, 'current' | 'commit' | 'refresh'>;
  /** How long the other compactor may commit nothing while level 0 is full, ms. */
  takeoverMs: number;
}

const NO_TREES: ReadonlySet<string> = new Set();
/** Before the claim the compactions file is not read. */
const NO_JOBS: JobsFile = {
  compactions: { headerVersion: 2, compactorEpoch: 0, jobs: [], hasUnknownFields: false },
  running: [],
};

export class Compactor implements CompactorRole {
  readonly #options: CompactorOptions;
  readonly #planner: Planner;
  readonly #marks: DamageMarks;
  /** After failures of rounds, and of jobs. */
  readonly #roundBackOff: BackOff;
  readonly #jobBackOff: BackOff;
  #isStarted = false;
  /** It has ended for good. */
  #ended: { phase: 'stopped' | 'failed'; error: DbError } | undefined;
  #pauses = 0;
  /** Of the claim that is held. */
  #coordinator: Coordinator | undefined;
  #fencing: { error: DbError; wait: TakeoverWait } | undefined;
  #full: FullCompaction | undefined;
  /** Requests for a compaction of everything, one after the other. */
  #requests: Promise<unknown> = Promise.resolve();
  #lastError: DbError | undefined;
  #isDue = false;
  #rounds: Promise<void> | undefined;
  #timer: Timer | undefined;

  constructor(options: CompactorOptions) {
    const { clock } = options.author;
    this.#options = options;
    this.#marks = new DamageMarks(clock);
    this.#planner = new Planner({ ...options, marks: this.#marks });
    this.#roundBackOff = new BackOff(clock);
    this.#jobBackOff = new BackOff(clock);
  }

  // ---- the role

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.poke('start');
  }

  async stop(): Promise<void> {
    this.#ended ??= { phase: 'stopped', error: new ClosedError('CLOSED', 'The compactor was stopped.') };
    await this.#interrupt();
    this.#full?.reject(this.#ended.error);
  }

  async pause(): Promise<() => void> {
    this.#pauses++;
    await this.#interrupt();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#pauses--;
      this.poke('resume');
    };
  }

  poke(cause: RoundCause): void {
    if (!this.#mayWork) return;
    // Someone waits for it.
    if (cause === 'request') this.#roundBackOff.succeed();
    this.#isDue = true;
    this.#rounds ??= this.#runRounds();
  }

  compactAll(signal?: AbortSignal): Promise<CompactionReport> {
    const report = this.#requests.then(() => this.#compactAllNow(signal));
    this.#requests = report.catch(() => undefined);
    // Whose turn has not come can leave at once, too.
    return untilAborted(report, signal);
  }

  state(): CompactorState {
    const retryInMs = Math.max(this.#roundBackOff.waitMs, this.#jobBackOff.waitMs);
    return {
      phase: this.#phase(retryInMs),
      epoch: this.#coordinator?.epoch,
      jobs: this.#coordinator?.jobs ?? [],
      lastError: this.#ended?.phase === 'failed' ? this.#ended.error : (this.#fencing?.error ?? this.#lastError),
      failures: this.#roundBackOff.failures + this.#jobBackOff.failures,
      retryInMs: retryInMs === 0 ? undefined : retryInMs,
      damagedTables: [...this.#marks.tables].map(([table, error]) => ({ table, error })),
      scheduler: this.#planner.isDefault ? 'default' : 'given',
    };
  }

  #phase(retryInMs: number): CompactorPhase {
    if (this.#ended !== undefined) return this.#ended.phase;
    if (this.#pauses > 0) return 'paused';
    if (this.#fencing !== undefined) return 'fenced';
    if (retryInMs > 0) return 'retrying';
    return (this.#coordinator?.jobs.length ?? 0) > 0 ? 'working' : 'idle';
  }

  get #mayWork(): boolean {
    return this.#isStarted && this.#ended === undefined && this.#pauses === 0;
  }

  /** Ends what is under way, the claim as well. */
  async #interrupt(): Promise<void> {
    this.#timer?.cancel();
    const coordinator = this.#coordinator;
    await this.#dropClaim();
    await this.#rounds;
    await coordinator?.leave().catch((error: unknown) => {
      // Another compactor reads from the manifest what became of them.
      this.#options.logger.debug('the ends of compactions could not be noted', { error: String(error) });
    });
    this.#full?.restart();
  }

  async #dropClaim(): Promise<void> {
    const coordinator = this.#coordinator;
    this.#coordinator = undefined;
    await coordinator?.cancel();
  }

  // ---- rounds

  async #runRounds(): Promise<void> {
    // Not within the call that is the cause.
    await undefined;
    while (this.#isDue && this.#mayWork && this.#roundBackOff.waitMs === 0) {
      this.#isDue = false;
      try {
        await this.#round();
        this.#roundBackOff.succeed();
      } catch (error) {
        await this.#roundFailed(isDbError(error) ? error : new InternalError(describeThrown(error), { cause: error }));
      }
    }
    this.#rounds = undefined;
    // A timer may come a little before its time.
    if (this.#isDue) this.#wakeIn(this.#roundBackOff.waitMs);
  }

  async #round(): Promise<void> {
    const { manifests } = this.#options;
    this.#marks.adopt(manifests.current);
    if (this.#fencing !== undefined && !(await this.#mayClaimAgain(this.#fencing.wait))) return;
    if (this.#coordinator === undefined && !(await this.#claim())) return;
    const coordinator = this.#coordinator;
    if (coordinator === undefined) return;
    const { id, manifest, seal } = manifests.current;
    if (manifest.compactorEpoch > coordinator.epoch) {
      throw compactorFenced(`manifest ${id}`, manifest.compactorEpoch, coordinator.epoch, seal?.owner?.hostPid);
    }
    const answer = await coordinator.round(() => ({ mayBegin: this.#mayBegin, wholeTrees: this.#wholeTrees }));
    if (answer !== undefined && this.#mayWork) this.#noteAnswer(answer);
  }

  get #mayBegin(): boolean {
    return this.#jobBackOff.waitMs === 0;
  }

  get #wholeTrees(): ReadonlySet<string> {
    return this.#full?.trees ?? NO_TREES;
  }

  #noteAnswer({ choice, staleAtMs }: RoundAnswer): void {
    this.#countVerdicts(choice);
    this.#full?.note(choice, [...this.#marks.tables.values()][0]);
    const nowMs = this.#options.author.clock.nowMs();
    const inMs = (atMs: number | undefined) => (atMs === undefined || atMs <= nowMs ? undefined : atMs - nowMs);
    const stale = staleAtMs === undefined ? undefined : Math.max(0, staleAtMs - nowMs);
    this.#wakeIn(inMs(choice.wakeAtMs), stale, this.#marks.nextEndMs, this.#jobBackOff.waitMs || undefined);
  }

  #countVerdicts(choice: JobChoice): void {
    const { logger, onEvent } = this.#options;
    this.#planner.count(choice, (error, isReplaced) => {
      logger.warn(
        isReplaced ? 'the scheduler of compactions is replaced by the default one' : 'a proposed compaction is invalid',
        { error: error.message },
      );
      this.#lastError = error;
      onEvent({ type: 'invalid', error, isReplaced });
      if (isReplaced) this.poke('time');
    });
  }

  /** A round after the least of these times, in whole ms: what is left by rounding alone would be waited for again and again. */
  #wakeIn(...waitsMs: (number | undefined)[]): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const waits = waitsMs.filter((ms) => ms !== undefined);
    if (waits.length === 0 || !this.#mayWork) return;
    this.#timer = this.#options.author.clock.setTimer(Math.ceil(Math.min(...waits)), () => this.poke('time'), false);
  }

  async #roundFailed(error: DbError): Promise<void> {
    if (error instanceof FencedError && error.code === 'COMPACTOR_FENCED') {
      await this.#becomeFenced(error);
    } else if (
      error instanceof FencedError ||
      error instanceof ManifestCorruptionError ||
      error instanceof ClosedError
    ) {
      await this.#fail(error);
    } else {
      const { logger, onEvent } = this.#options;
      this.#roundBackOff.fail();
      this.#lastError = error;
      const retryInMs = this.#roundBackOff.waitMs;
      logger.warn('compaction has trouble; it will be tried again', { error: error.message, retryInMs });
      onEvent({ type: 'trouble', error, retryInMs });
      this.#full?.fail(error, error.message);
      this.#wakeIn(retryInMs);
    }
  }

  /** The database serves no more either. */
  async #fail(error: DbError): Promise<void> {
    this.#ended ??= { phase: 'failed', error };
    this.#full?.fail(error, error.message);
    this.#options.onEvent({ type: 'failed', error });
    await this.#dropClaim();
  }

  // ---- the claim

  /** Claims, if there is something to do. */
  async #claim(): Promise<boolean> {
    const options = this.#options;
    const { clock, random } = options.author;
    // As the claim makes it: views that share an id could not be chosen.
    await this.#planner.prepare((m) => withChoosableViews(m, random));
    const slots = this.#mayBegin || this.#wholeTrees.size > 0 ? options.maxConcurrentCompactions : 0;
    const drawId = () => makeUlid(clock.nowMs(), random);
    const bounds = { file: NO_JOBS, slots, leastRunId: 0, wholeTrees: this.#wholeTrees, drawId };
    const choice = this.#planner.choose(bounds);
    if (!this.#mayWork) return false;
    if (choice.jobs.length === 0) {
      this.#noteAnswer({ choice, staleAtMs: undefined });
      return false;
    }
    this.#countVerdicts(choice);
    const claim = await claimAsCompactor(options);
    if (!this.#mayWork) return false;
    this.#coordinator = new Coordinator(
      {
        ...options,
        planner: this.#planner,
        worker: makeUlid(clock.nowMs(), random),
        onEvent: (event) => this.#noteEvent(event),
        onDone: () => this.poke('job'),
        onFailed: (job, plan, error) => this.#jobFailed(job, plan, error),
      },
      claim,
    );
    options.onEvent({ type: 'claimed', epoch: claim.epoch });
    return true;
  }

  async #becomeFenced(error: FencedError): Promise<void> {
    const { manifests, author, schedulerOptions, takeoverMs, logger, onEvent } = this.#options;
    const { l0MaxSsts } = schedulerOptions;
    const { manifest } = manifests.current;
    const wait = new TakeoverWait(author.clock, { l0MaxSsts, takeoverMs }, manifest);
    this.#fencing = { error, wait };
    logger.warn('another compactor has taken over; this one waits', { error: error.message });
    onEvent({ type: 'fenced', error });
    this.#full?.fail(error, error.message);
    await this.#dropClaim();
    this.#wakeIn(wait.look(manifest));
  }

  async #mayClaimAgain(wait: TakeoverWait): Promise<boolean> {
    const { manifests } = this.#options;
    let waitMs = wait.look(manifests.current.manifest);
    if (waitMs === 0) {
      await manifests.refresh();
      waitMs = wait.look(manifests.current.manifest);
    }
    if (waitMs !== 0) {
      this.#wakeIn(waitMs);
      return false;
    }
    this.#fencing = undefined;
    return true;
  }

  // ---- jobs

  #noteEvent(event: CompactorEvent): void {
    this.#options.onEvent(event);
    if (event.type !== 'committed') return;
    this.#jobBackOff.succeed();
    this.#lastError = undefined;
    this.#full?.committed(event.outcome);
  }

  #jobFailed(job: CompactionJobState, plan: CompactionPlan, error: DbError): void {
    const { logger } = this.#options;
    this.#full?.failed(job.id, error);
    if (error.kind === 'aborted') return;
    this.#lastError = error;
    const tables = tablesInError(error, inputTables(plan));
    if (tables.length > 0) {
      this.#marks.note(tables, error);
      logger.error('a compaction has ended, because a table cannot be read', {
        job: job.id,
        tables,
        error: error.message,
      });
    } else {
      this.#jobBackOff.fail();
      logger.warn('a compaction has failed', { job: job.id, error: error.message });
    }
  }

  async #compactAllNow(signal: AbortSignal | undefined): Promise<CompactionReport> {
    stopIfAborted(signal);
    if (this.#ended !== undefined) throw this.#ended.error;
    const full = new FullCompaction(this.#options.manifests.current.manifest);
    const leave =
      signal &&
      onAbort(signal, () => {
        full.reject(abortError(signal));
        this.#coordinator?.endJobs(full.jobs, abortError(signal));
      });
    this.#full = full;
    const { error } = this.#fencing ?? {};
    if (error !== undefined) full.fail(error, error.message);
    this.poke('request');
    try {
      return await full.report;
    } finally {
      leave?.();
      this.#full = undefined;
    }
  }
}
