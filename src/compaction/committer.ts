/**
 * Commits jobs that are done, under one epoch: asks for their outputs, reads the losses that count, and tries until the manifest is
 * written or a rule has ended each of them (commit.ts).
 *
 * 1. An attempt of which no answer came is the next thing that is tried again: only it can say what was committed.
 * 2. Every output that was written is asked for just before a commit: a collector of another program may have taken it while this process
 *    stood still.
 */
import { mapLimit } from '../common/async.ts';
import { type DbError, UnavailableError } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import type { Manifest } from '../format/manifest-types.ts';
import { tablePath } from '../format/object-names.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { freshCheckpointId } from '../lsm/manifest/checkpoint-edits.ts';
import { type EpochGuard, FENCE_VALIDITY_MS } from '../lsm/manifest/epoch-guard.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { CommitAttempt, type FinishedJob, type OpenLosses } from './commit.ts';

const HEADS_IN_FLIGHT = 8;

export interface CommitterOptions {
  manifests: Pick<ManifestLog, 'current' | 'commit'>;
  store: ObjectStore;
  author: Author;
  guard: EpochGuard;
  epoch: number;
  latestStoreTimeMs(): number | undefined;
  openLosses(manifest: LoadedManifest): Promise<OpenLosses>;
  prepareCommit(): Promise<void>;
  correct(manifest: Manifest): Manifest;
}

export interface DoneJob {
  finished: FinishedJob;
  /** Bytes of each output's object, in the order of the views; undefined where they are not known. */
  outputBytes: readonly (number | undefined)[];
  /** Its outputs are tables of its sources: what a manifest names is there. */
  isMove: boolean;
}

/** What became of a job that was to be committed. */
export type CommitDecision =
  | { id: Ulid; manifestId: number; error?: undefined }
  | { id: Ulid; manifestId?: undefined; error: DbError };

interface Attempt {
  change: CommitAttempt;
  jobs: readonly DoneJob[];
}

export class Committer {
  readonly #options: CommitterOptions;
  #attempt: Attempt | undefined;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /**
   * One HEAD for each output that was written, and one manifest if a job may be committed. `onDecided` is called for each job, also if this then rejects;
   * then it is to be called again with the others.
   */
  async commit(
    jobs: readonly DoneJob[],
    namedRuns: ReadonlySet<number>,
    onDecided: (decision: CommitDecision) => void,
  ): Promise<void> {
    const decided = new Set<Ulid>();
    const decide = (decision: CommitDecision) => {
      decided.add(decision.id);
      onDecided(decision);
    };
    if (this.#attempt !== undefined) await this.#run(namedRuns, decide);
    const others = jobs.filter(({ finished }) => !decided.has(finished.id));
    if (others.length === 0) return;
    this.#attempt = await this.#attemptOf(others, namedRuns, decide);
    if (this.#attempt !== undefined) await this.#run(namedRuns, decide);
  }

  async #run(namedRuns: ReadonlySet<number>, decide: (decision: CommitDecision) => void): Promise<void> {
    const { manifests, author, epoch, prepareCommit } = this.#options;
    while (this.#attempt !== undefined) {
      const { change, jobs } = this.#attempt;
      await prepareCommit();
      await manifests.commit(change.change, { asCompactor: { author, epoch } });
      if (change.postponed !== undefined) {
        this.#attempt = await this.#attemptOf(jobs, namedRuns, decide);
        continue;
      }
      if (change.renewal !== undefined) await manifests.commit(change.renewal, { asCompactor: { author, epoch } });
      this.#attempt = undefined;
      for (const { finished } of jobs) decide(this.#decisionOf(finished, change));
    }
  }

  #decisionOf({ id }: FinishedJob, { refused, manifestId }: CommitAttempt): CommitDecision {
    const broken = refused.get(id);
    if (broken === undefined && manifestId !== undefined) return { id, manifestId };
    return {
      id,
      error: notCommitted(id, broken === undefined ? '' : `${broken.rule}: ${broken.message}`, broken?.rule),
    };
  }

  /** Of the jobs whose outputs are there. */
  async #attemptOf(
    jobs: readonly DoneJob[],
    namedRuns: ReadonlySet<number>,
    decide: (decision: CommitDecision) => void,
  ): Promise<Attempt | undefined> {
    const { manifests, guard, author, openLosses, correct, latestStoreTimeMs } = this.#options;
    const losses = await openLosses(manifests.current);
    const seenAt = guard.stamp();
    const whole: DoneJob[] = [];
    for (const job of jobs) {
      const missing = await this.#missingOutput(job);
      if (missing === undefined) whole.push(job);
      else decide({ id: job.finished.id, error: notCommitted(job.finished.id, `its output ${missing} is gone`) });
    }
    if (whole.length === 0) return undefined;
    const nowMs = () => Math.max(latestStoreTimeMs() ?? author.clock.nowMs(), 0);
    const change = new CommitAttempt({
      jobs: whole.map(({ finished }) => finished),
      losses,
      namedRuns,
      checkpointId: freshCheckpointId(author.random),
      nowS: () => Math.floor(nowMs() / 1000),
      areOutputsSeen: () => guard.ageMs(seenAt) <= FENCE_VALIDITY_MS,
      correct,
    });
    return { change, jobs: whole };
  }

  /** The first output that is not there as it was written. */
  async #missingOutput({ finished, outputBytes, isMove }: DoneJob): Promise<Ulid | undefined> {
    const { store } = this.#options;
    if (isMove) return undefined;
    const missing = await mapLimit(finished.outputs, HEADS_IN_FLIGHT, async ({ table }, i) => {
      const head = await store.head(tablePath(table.id));
      const bytes = outputBytes[i];
      return head === undefined || (bytes !== undefined && head.size !== bytes) ? table.id : undefined;
    });
    return missing.find((id) => id !== undefined);
  }
}

function notCommitted(id: Ulid, why: string, rule?: string): UnavailableError {
  return new UnavailableError('COMPACTION_FAILED', `Compaction ${id} was not committed: ${why}.`, {
    details: { job: id, ...(rule !== undefined && { rule }) },
  });
}
