/**
 * A compaction of everything: one job for each tree that is not one run. It is done when each of these jobs is; the first that fails
 * fails it. A pause of the compactor ends its jobs, and they begin again afterwards.
 *
 * 1. It ends once: with the report, or with the first error.
 * 2. It resolves after the round that committed the last job has noted the ends of all in the compactions file: who stops the compactor then
 *    leaves no job that seems to run. What goes wrong after the last commit is no failure of it.
 */
import { deferred, ignoreRejection } from '../common/async.ts';
import type { CompactionOutcome, CompactionReport } from '../common/compactor-role.ts';
import { type DbError, UnavailableError } from '../common/errors.ts';
import type { Manifest } from '../format/manifest-types.ts';
import { treesByName } from '../lsm/manifest/view-ids.ts';
import { EVERYTHING, type JobChoice } from './job-choice.ts';

export class FullCompaction {
  readonly #end = deferred<CompactionReport>();
  /** Trees whose job has not begun. */
  readonly #waiting: Set<string>;
  /** Trees by the jobs that run. */
  readonly #running = new Map<string, string>();
  readonly #outcomes: CompactionOutcome[] = [];
  /** All of them are in a manifest. */
  #isCommitted = false;

  constructor(manifest: Manifest) {
    this.#waiting = new Set(treesByName(manifest).keys());
    ignoreRejection(this.#end.promise);
  }

  get report(): Promise<CompactionReport> {
    return this.#end.promise;
  }

  /** Trees that wait for their job. */
  get trees(): ReadonlySet<string> {
    return this.#waiting;
  }

  /** Jobs that run for it. */
  get jobs(): ReadonlySet<string> {
    return new Set(this.#running.keys());
  }

  /** A round has begun what was chosen. `damage`: what was found in tables that no job reads. */
  note({ jobs, whole }: JobChoice, damage: DbError | undefined): void {
    for (const { id, proposal } of jobs) {
      if (proposal.reason !== EVERYTHING) continue;
      this.#waiting.delete(proposal.tree);
      this.#running.set(id, proposal.tree);
    }
    for (const { tree, fault } of whole) {
      this.#waiting.delete(tree);
      if (fault !== undefined) this.fail(damage, fault.message);
    }
    this.#endIfDone();
  }

  committed(outcome: CompactionOutcome): void {
    if (!this.#running.delete(outcome.job.id)) return;
    this.#outcomes.push(outcome);
    this.#isCommitted = this.#waiting.size === 0 && this.#running.size === 0;
  }

  /** A job has ended without a result; it may be another's. */
  failed(id: string, error: DbError): void {
    if (this.#running.delete(id)) this.fail(error, error.message);
  }

  fail(cause: DbError | undefined, why: string): void {
    const { retryable = false, hint } = cause ?? {};
    const fields = { retryable, cause, ...(hint !== undefined && { hint }) };
    this.reject(new UnavailableError('COMPACTION_FAILED', `The compaction of everything has failed: ${why}`, fields));
  }

  reject(error: DbError): void {
    if (this.#isCommitted) this.#endIfDone();
    this.#end.reject(error);
  }

  /** Its jobs were ended: they begin again. */
  restart(): void {
    for (const tree of this.#running.values()) this.#waiting.add(tree);
    this.#running.clear();
  }

  #endIfDone(): void {
    if (this.#waiting.size === 0 && this.#running.size === 0) this.#end.resolve({ jobs: [...this.#outcomes] });
  }
}
