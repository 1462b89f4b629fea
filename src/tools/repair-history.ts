/**
 * What earlier runs of a repair have done: a repair that was finished gives its report again, and one that was cut off between
 * its manifest and its report is completed.
 */
import { isCorruption } from '../common/errors.ts';
import { manifestPath } from '../format/object-names.ts';
import { ownTables } from '../lsm/manifest/live-set.ts';
import { type LoadedManifest, listManifestIds, loadManifest } from '../lsm/manifest/manifest-store.ts';
import { type Attempt, listRepairs, readAttempt, readReport, writeReport } from './repair-files.ts';
import { assertReviewed, type RepairTask, repairIdText } from './repair-plan.ts';
import type { RepairReport } from './reports.ts';
import type { ToolTarget } from './target.ts';

/** Does what a run that was cut off after its manifest had still to do. */
type Complete = () => Promise<void>;

export class RepairHistory {
  readonly #target: ToolTarget;
  readonly #task: Omit<RepairTask, 'plan'>;

  constructor(target: ToolTarget, task: Omit<RepairTask, 'plan'>) {
    this.#target = target;
    this.#task = task;
  }

  /**
   * The report of an earlier run that repaired this: the one whose manifest is the newest, or, where the settings name one
   * object, any. A run that was cut off between its manifest and its report is completed, unless this is a dry run. Rejects with
   * `PLAN_CHANGED` if what was done is not the plan that this call is about.
   */
  async finishedBefore(newest: LoadedManifest, complete?: Complete): Promise<RepairReport | undefined> {
    const repairs = await listRepairs(this.#target);
    const current = newest.seal?.repair && repairIdText(newest.seal.repair.repairId);
    let other: string | undefined;
    for (const [repairId, { plans, reports }] of repairs) {
      if (repairId !== current && !this.#task.namesOneObject) continue;
      const attempt = await readAttempt(this.#target, repairId, plans.at(-1) ?? 0);
      if (attempt === undefined || !this.#isOurs(attempt)) continue;
      const stored = reports.length === 0 ? undefined : await readReport(this.#target, repairId, reports.at(-1) ?? 0);
      const planHash = stored?.planHash ?? attempt.planHash;
      if (!isSamePlan(this.#task, planHash)) {
        if (stored !== undefined || (await this.#manifestOf(attempt)) !== undefined) other = planHash;
        continue;
      }
      if (stored !== undefined) return { ...stored, ...this.#costs(), alreadyDone: true };
      const done = await this.committed(attempt, complete);
      if (done !== undefined) return done;
    }
    if (other !== undefined) assertReviewed(this.#target.where, this.#task.apply, other);
    return undefined;
  }

  /** The report of an attempt like this one whose run wrote the manifest and ended without a report; undefined if none did. */
  async committed(last: Attempt, complete?: Complete): Promise<RepairReport | undefined> {
    const manifest = await this.#manifestOf(last);
    if (manifest === undefined) return undefined;
    const attempt = await this.#attemptOf(manifest, last);
    const report: RepairReport = { ...attempt.report, applied: true, manifestId: BigInt(manifest.id) };
    if (this.#task.apply !== undefined && this.#task.apply !== false) {
      await complete?.();
      await writeReport(this.#target, attempt.number, report);
    }
    return { ...report, ...this.#costs(), alreadyDone: true };
  }

  #costs(): Pick<RepairReport, 'requests' | 'tookMs'> {
    return { requests: this.#target.requests(), tookMs: this.#target.tookMs() };
  }

  #isOurs({ tool, settings }: Attempt): boolean {
    const text = (s: RepairTask['settings']) => JSON.stringify(Object.entries(s).sort());
    return tool === this.#task.tool && text(settings) === text(this.#task.settings);
  }

  /** The manifest that made the repair count; undefined if none did. */
  async #manifestOf({ repairId, baseManifestId }: Attempt): Promise<LoadedManifest | undefined> {
    const { main } = this.#target.stores;
    for (const id of await listManifestIds(main, baseManifestId)) {
      const got = await main.get(manifestPath(id));
      if (got === undefined) continue;
      try {
        const loaded = loadManifest(id, got.bytes);
        const repair = loaded.seal?.repair;
        if (repair !== undefined && repairIdText(repair.repairId) === repairId) return loaded;
      } catch (error) {
        if (!isCorruption(error)) throw error;
      }
    }
    return undefined;
  }

  /** A late request may have made an earlier attempt count: the one whose tables the manifest names. */
  async #attemptOf({ manifest }: LoadedManifest, last: Attempt): Promise<Attempt> {
    const named = new Set<string>(ownTables(manifest).map((table) => table.id));
    for (let number = last.number; number > 0; number--) {
      const attempt = number === last.number ? last : await readAttempt(this.#target, last.repairId, number);
      if (attempt?.names.every(({ id }) => named.has(id))) return attempt;
    }
    return last;
  }
}

/** Whether this call is about the plan with this hash: it named it, or named none. */
function isSamePlan({ apply }: Pick<RepairTask, 'apply'>, planHash: string): boolean {
  return typeof apply !== 'object' || apply.planHash === planHash;
}
