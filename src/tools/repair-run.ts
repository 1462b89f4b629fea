/**
 * The order in which every repair changes a database, so that it can be cut off at any moment and done again:
 *
 * plan → (without `apply` it ends here) → signs of life → (without consent to what is lost it ends here) → copies in quarantine, verified → the plan object → both epochs and a
 * fence in the log → the plan again, now that no other process writes → new tables, read back → ledger → are all new tables there →
 * one manifest → report.
 *
 * Nothing is overwritten or deleted. Until the one manifest is written the database is what it was but for its epochs; once it
 * is, doing it again gives the stored report.
 */

import { type Clock, isoTime } from '../common/clock.ts';
import { IncompatibleError, isCorruption, UnavailableError } from '../common/errors.ts';
import { makeUlid, type Ulid } from '../common/ulid.ts';
import type { Manifest, TableRef } from '../format/manifest-types.ts';
import { plannedTablePath, tablePath } from '../format/object-names.ts';
import type { RepairRecord } from '../format/seal-records.ts';
import { Author } from '../lsm/manifest/author.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { type CommitOptions, type ManifestChange, ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { greatestUlid } from '../lsm/manifest/table-order.ts';
import { appendLedger } from '../lsm/tree/damage-ledger.ts';
import { assertExpectedEpoch, type Fence, unansweredError } from '../recovery/fence.ts';
import type { Place } from '../recovery/place.ts';
import type { ToolAccess } from '../recovery/tool-access.ts';
import { assertRewritable, lookAroundTarget, readDatabase } from './database-state.ts';
import { claimCompactor, ownDatabase, toolAuthor } from './own-database.ts';
import { plannedEvidence, putIntoQuarantine } from './quarantine.ts';
import { consentAdvice, isConsented } from './repair-consent.ts';
import { type Attempt, listRepairs, readAttempt, writeAttempt, writeReport } from './repair-files.ts';
import { RepairHistory } from './repair-history.ts';
import {
  assertReviewed,
  planHash,
  type RepairIdentity,
  type RepairPlan,
  type RepairTask,
  repairIdentity,
} from './repair-plan.ts';
import type { RepairReport } from './reports.ts';
import { assertNobodyWrites, DEFAULT_LIVE_CHECK_MS, IDLE_WRITER_NOTE } from './signs-of-life.ts';
import { MAX_ROUNDS, type ToolTarget, tooManyOthers } from './target.ts';

/** An attempt not older than this is continued: no collector deletes tables as recent as its own. */
const RESUME_MS = 120_000;

/** A database that this process may change, and how it commits. */
interface Held {
  manifest(): LoadedManifest;
  fence: Fence | undefined;
  author: Author;
  commit(change: ManifestChange, options: CommitOptions): Promise<LoadedManifest>;
}

/** A plan with its names. */
interface Named {
  plan: RepairPlan;
  identity: RepairIdentity;
  hash: string;
}

interface First {
  manifest: LoadedManifest;
  named: Named;
}

/**
 * Runs a repair, or says what it would do. Rejects with `ConflictError` (`LIVE_WRITER`, `PLAN_CHANGED`), `FencedError` if
 * another process takes the database over in the meantime, `InvalidArgumentError`, `ManifestCorruptionError` if no good manifest is the
 * newest, `IncompatibleError`, `UnavailableError` (the store; run it again).
 */
export function runRepair(target: ToolTarget, task: RepairTask): Promise<RepairReport> {
  return duringPause(target, () => new RepairRun(target, task).run((view) => task.plan(view)));
}

/**
 * The same for a repair of manifests: there is no good newest one to begin with, and the one that claims the database is the
 * repair.
 */
export function runManifestRepair(
  target: ToolTarget,
  task: Omit<RepairTask, 'plan'>,
  plan: () => Promise<RepairPlan>,
): Promise<RepairReport> {
  return duringPause(target, () => new RepairRun(target, task).runOnManifests(plan));
}

/** A plan, too, rests on objects that the upkeep of the open database would replace or delete in the meantime. */
async function duringPause({ openDb }: ToolTarget, repair: () => Promise<RepairReport>): Promise<RepairReport> {
  const resume = await openDb?.pauseUpkeep();
  try {
    return await repair();
  } finally {
    resume?.();
  }
}

class RepairRun {
  readonly #target: ToolTarget;
  readonly #task: Omit<RepairTask, 'plan'>;
  readonly #guard: EpochGuard;
  readonly #history: RepairHistory;

  constructor(target: ToolTarget, task: Omit<RepairTask, 'plan'>) {
    this.#target = target;
    this.#task = task;
    this.#guard = new EpochGuard(target.clock, target.stores.latestStoreTimesMs);
    this.#history = new RepairHistory(target, task);
  }

  async run(makePlan: RepairTask['plan']): Promise<RepairReport> {
    const { openDb } = this.#target;
    const planNow = async (m: LoadedManifest, fence: Fence | undefined) =>
      this.#named(await makePlan({ target: this.#target, manifest: m, fence }));
    const { manifest, named: first } = await this.#planFirst(planNow);
    this.#assertExpected(manifest);
    const { apply = false } = this.#task;
    if (first.plan.outcome === 'unrecoverable') return this.#report(first);
    if (first.plan.outcome === 'consent-needed') {
      if (apply !== false) await this.#assertNobodyWrites();
      return this.#report(first);
    }
    if (isNothingToDo(first.plan)) return (await this.#history.finishedBefore(manifest)) ?? this.#report(first);
    if (apply === false) return this.#report(first, [...this.#applyHint(first), ...first.plan.nextSteps]);
    this.#assertReviewed(first);
    assertRewritable(this.#target, manifest);
    // Before consent is asked for: it would be given for a repair that is refused nevertheless.
    await this.#assertNobodyWrites();
    if (!isConsented(first.plan, this.#task.consent)) return this.#unconsented(first);
    await putIntoQuarantine(this.#target, first.identity.text, first.plan.damaged);
    let attempt = await this.#begin(first, manifest);
    const held = openDb === undefined ? await this.#own(first) : await this.#hold(openDb);
    const second = await planNow(held.manifest(), held.fence);
    if (isNothingToDo(second.plan)) return (await this.#history.committed(attempt)) ?? this.#report(second);
    if (!isConsented(second.plan, this.#task.consent)) return this.#unconsented(second);
    if (second.hash !== first.hash) {
      this.#assertReviewed(second);
      await putIntoQuarantine(this.#target, second.identity.text, second.plan.damaged);
      attempt = await this.#begin(second, manifest);
    }
    return this.#carryOut(second, attempt, held);
  }

  /** What is wrong is decided by a manifest that was still the newest afterwards: a live writer may commit while we read. */
  async #planFirst(planNow: (m: LoadedManifest, fence: undefined) => Promise<Named>): Promise<First> {
    const { openDb } = this.#target;
    const newest = async () => openDb?.manifest() ?? (await readDatabase(this.#target, this.#guard)).newest;
    let manifest = await newest();
    for (let round = 0; round < MAX_ROUNDS; round++) {
      try {
        return { manifest, named: await planNow(manifest, undefined) };
      } catch (error) {
        if (!isCorruption(error)) throw error;
        const again = await newest();
        if (again.id === manifest.id) throw error;
        manifest = again;
      }
    }
    throw tooManyOthers(this.#target);
  }

  async runOnManifests(makePlan: () => Promise<RepairPlan>): Promise<RepairReport> {
    const target = this.#target;
    const { openDb } = target;
    let hasLooked = false;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const named = this.#named(await makePlan());
      const { takeover, nextSteps } = named.plan;
      if (named.plan.outcome === 'clean') {
        if (openDb !== undefined) return (await this.#history.finishedBefore(openDb.manifest())) ?? this.#report(named);
        const state = await readDatabase(target, this.#guard);
        return (await this.#history.finishedBefore(state.newest, () => this.#fenceAgain(state))) ?? this.#report(named);
      }
      if (takeover === undefined) return this.#report(named);
      if ((this.#task.apply ?? false) === false) return this.#report(named, [...this.#applyHint(named), ...nextSteps]);
      this.#assertReviewed(named);
      assertRewritable(target, takeover.previous);
      if (!hasLooked) await this.#assertNobodyWrites();
      hasLooked = true;
      await putIntoQuarantine(target, named.identity.text, named.plan.damaged);
      const attempt = await this.#begin(named, takeover.previous);
      const repair = repairRecord(named, attempt);
      // What the handle remembers is the newest manifest, whatever is stored; the compactor must learn of a changed tree.
      if (openDb !== undefined) {
        if (named.plan.changesTree) await this.#hold(openDb);
        const edit: ManifestChange = (m) => named.plan.edit(m, { tables: [], fence: undefined }) ?? { ...m };
        return this.#finish(named, attempt, (await openDb.commit(edit, { repair })).id);
      }
      const owned = await ownDatabase(target, this.#guard, await lookAroundTarget(target, this.#guard), {
        ...takeover,
        greatestSeq: named.plan.greatestSeq,
        repair,
      });
      if (owned !== undefined) return this.#finish(named, attempt, owned.claimed.id);
    }
    throw tooManyOthers(target);
  }

  #named(plan: RepairPlan): Named {
    assertAllKnown(this.#target, plan);
    const identity = repairIdentity(this.#task, plan);
    return { plan, identity, hash: planHash(identity, plan) };
  }

  /** Not asked of an open database, which is the writer, nor where the repair is to take the database over. */
  async #assertNobodyWrites(): Promise<void> {
    const { ifLiveWriter, liveCheckMs = DEFAULT_LIVE_CHECK_MS } = this.#task;
    if (ifLiveWriter === 'fence' || this.#target.openDb !== undefined) return;
    await assertNobodyWrites(this.#target, liveCheckMs);
  }

  #assertReviewed({ hash }: Named): void {
    assertReviewed(this.#target.where, this.#task.apply, hash);
  }

  #applyHint({ plan, hash }: Named): string[] {
    const isMissing = this.#isUnaccepted(plan);
    const accept = isMissing ? ' --accept-loss' : '';
    return [
      IDLE_WRITER_NOTE,
      `To do exactly this, run it again with --apply --plan ${hash}${accept}.`,
      ...(isMissing ? [consentAdvice(plan)] : []),
    ];
  }

  /** For a plan that is only shown: whether applying it would need more than was said. */
  #isUnaccepted(plan: RepairPlan): boolean {
    try {
      return !isConsented(plan, this.#task.consent);
    } catch (error) {
      if (!isCorruption(error)) throw error;
      return true;
    }
  }

  #unconsented(named: Named): RepairReport {
    return { ...this.#report(named, [consentAdvice(named.plan), IDLE_WRITER_NOTE]), outcome: 'consent-needed' };
  }

  #assertExpected(newest: LoadedManifest): void {
    assertExpectedEpoch(this.#target.where, newest, this.#task.expectedEpoch);
  }

  // ---- attempts

  /** Goes on with the last attempt at this plan if it is young, else begins one with new names. */
  async #begin(named: Named, manifest: LoadedManifest): Promise<Attempt> {
    const { text } = named.identity;
    const { clock, random } = this.#target;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const last = (await listRepairs(this.#target, text)).get(text)?.plans.at(-1) ?? 0;
      const stored = last === 0 ? undefined : await readAttempt(this.#target, text, last);
      if (stored?.planHash === named.hash && stored.ageMs <= RESUME_MS) return stored;
      const atMs = clock.nowMs();
      let after = greatestUlid(manifest.manifest);
      const names = named.plan.tables.map(() => {
        const id = makeUlid(atMs, random, after);
        after = id;
        return { id, putId: makeUlid(atMs, random) };
      });
      const attempt: Attempt = {
        repairId: text,
        planHash: named.hash,
        number: last + 1,
        tool: this.#task.tool,
        settings: this.#task.settings,
        atMs,
        baseManifestId: manifest.id,
        names,
        report: { ...this.#report(named), newObjects: names.map((n) => tablePath(n.id)) },
      };
      if (await writeAttempt(this.#target, attempt)) return attempt;
    }
    throw tooManyOthers(this.#target);
  }

  // ---- owning

  async #own(named: Named): Promise<Held> {
    const target = this.#target;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const state = await readDatabase(target, this.#guard);
      this.#assertExpected(state.newest);
      assertRewritable(target, state.newest);
      const owned = await ownDatabase(target, this.#guard, state, {
        manifest: state.newest.manifest,
        id: state.newest.id + 1,
        previous: state.newest,
        greatestSeq: named.plan.greatestSeq,
      });
      if (owned === undefined) continue;
      const { claimed, fence, author } = owned;
      const log = new ManifestLog({
        store: target.stores.main,
        author,
        guard: this.#guard,
        epoch: claimed.manifest.writerEpoch,
        current: claimed,
        hasBoundary: state.boundary.exists,
        witness: () => ({ id: fence.id, lastSeq: fence.lastSeq, digest: fence.digest.bytes }),
        onAdopt: () => undefined,
      });
      const commit = async (change: ManifestChange, options: CommitOptions) => {
        await log.commit(change, options);
        return log.current;
      };
      return { manifest: () => log.current, fence, author, commit };
    }
    throw tooManyOthers(target);
  }

  /** An open database is ours already; only the compactor must learn of it. */
  async #hold(openDb: ToolAccess): Promise<Held> {
    await openDb.refresh();
    const author = toolAuthor(this.#target, openDb.author.databaseId);
    const manifest = await claimCompactor(this.#target, openDb, author);
    return {
      manifest: () => manifest,
      fence: undefined,
      author,
      commit: (change, options) => openDb.commit(change, options),
    };
  }

  /**
   * For a repair of manifests that was cut off after its manifest: perhaps there is no fence in the log yet. Nothing is done
   * if another process was faster, as that one has claimed the database.
   */
  async #fenceAgain(state: Place): Promise<void> {
    const { newest } = state;
    const repair = newest.seal?.repair;
    await ownDatabase(this.#target, this.#guard, state, {
      manifest: newest.manifest,
      id: newest.id + 1,
      previous: newest,
      greatestSeq: undefined,
      ...(repair !== undefined && { repair }),
    });
  }

  // ---- changing

  async #carryOut(named: Named, attempt: Attempt, held: Held): Promise<RepairReport> {
    const { plan } = named;
    const record = repairRecord(named, attempt);
    const tables = await this.#makeTables(plan, attempt, held, record);
    const ledgerVersion =
      plan.losses.length === 0 ? undefined : await this.#recordLosses(named, attempt, held.manifest());
    await this.#assertAllThere(attempt);
    let isWanted = true;
    const edit = (newest: Manifest) => {
      const edited = plan.edit(newest, { tables, fence: held.fence });
      isWanted = edited !== undefined;
      return edited;
    };
    const committed = await held.commit(edit, {
      repair: record,
      ...(ledgerVersion !== undefined && { ledgerVersion }),
    });
    if (!isWanted) return { ...this.#report(named), outcome: 'obsolete' };
    return this.#finish(named, attempt, committed.id);
  }

  async #finish({ identity }: Named, attempt: Attempt, manifestId: number): Promise<RepairReport> {
    const done = { repairId: identity.text, applied: true, manifestId: BigInt(manifestId), missingConsent: [] };
    const report: RepairReport = { ...attempt.report, ...this.#costs(), ...done };
    await writeReport(this.#target, attempt.number, report);
    return report;
  }

  async #makeTables(plan: RepairPlan, attempt: Attempt, { author }: Held, repair: RepairRecord): Promise<TableRef[]> {
    const { clock, random, owner } = this.#target;
    // The bytes of a table are the same whenever the attempt is continued: its clock stands at the moment of the plan.
    const maker = new Author({
      clock: stoppedAt(attempt.atMs, clock),
      random,
      owner,
      databaseId: author.databaseId,
      role: 'tool',
    });
    const tables: TableRef[] = [];
    for (const [i, planned] of plan.tables.entries()) {
      const { id, putId } = attempt.names[i];
      const naming = { id, putId, author: maker, epoch: 0 as const, newestManifestId: attempt.baseManifestId, repair };
      const { bytes, table } = await planned.build(naming);
      await this.#putTable(id, putId, bytes);
      tables.push(table);
    }
    return tables;
  }

  async #putTable(id: Ulid, putId: Ulid, bytes: Uint8Array): Promise<void> {
    const { stores, where } = this.#target;
    const path = tablePath(id);
    const answer = await stores.main.put(path, bytes, { condition: 'if-absent', putId });
    if (answer.outcome === 'unknown') throw unansweredError(where, path, answer.cause);
    const back = await stores.main.get(path);
    if (back !== undefined && Buffer.compare(back.bytes, bytes) === 0) return;
    throw new UnavailableError(
      'STORE_DOWN',
      `${where}: the new table ${path} does not read back as what was written. The database still uses the old one; run the repair again.`,
    );
  }

  async #recordLosses({ plan, identity }: Named, attempt: Attempt, manifest: LoadedManifest): Promise<number> {
    const at = isoTime(attempt.atMs);
    const added = plan.losses.map((loss) => ({ ...loss, repairId: identity.text, at }));
    return appendLedger(
      this.#target.stores.main,
      (entries) => {
        const known = new Set(entries.map((e) => `${e.repairId} ${e.id}`));
        const missing = added.filter((e) => !known.has(`${e.repairId} ${e.id}`));
        return missing.length === 0 ? undefined : [...entries, ...missing];
      },
      this.#target,
      manifest,
    );
  }

  /** A collector takes tables that no manifest names; one that is gone must not be named. */
  async #assertAllThere({ names }: Attempt): Promise<void> {
    const { stores, where } = this.#target;
    for (const { id } of names) {
      if ((await stores.main.head(tablePath(id))) !== undefined) continue;
      throw new UnavailableError(
        'STORE_DOWN',
        `${where}: the new table ${tablePath(id)} is gone again, a collector may have deleted it. The database still uses the old one; run the repair again.`,
      );
    }
  }

  // ---- reporting

  #costs(): Pick<RepairReport, 'requests' | 'tookMs'> {
    return { requests: this.#target.requests(), tookMs: this.#target.tookMs() };
  }

  #report({ plan, identity, hash }: Named, nextSteps: string[] = plan.nextSteps): RepairReport {
    const { outcome, before, rows, batches, lostKeys, lostSeqs, shadowed, losses } = plan;
    return {
      schemaVersion: 1,
      tool: this.#task.tool,
      repairId: identity.text,
      ...(hasPlan(plan) && { planHash: hash }),
      applied: false,
      alreadyDone: false,
      outcome,
      before,
      rows,
      ...(batches !== undefined && { batches }),
      lostKeys,
      lostSeqs,
      shadowed,
      evidence: plannedEvidence(identity.text, plan.damaged),
      newObjects: plan.tables.map((_, i) => plannedTablePath(i + 1)),
      ledgerIds: losses.map((loss) => loss.id),
      missingConsent: [...(plan.missingConsent ?? []), ...(this.#isUnaccepted(plan) ? (['loss'] as const) : [])],
      nextSteps,
      ...this.#costs(),
    };
  }
}

/** What this program cannot read is not repaired, nor anything because of it. */
function assertAllKnown({ where }: ToolTarget, { before, outcome }: RepairPlan): void {
  const unknown = before.find((f) => f.severity === 'unknown');
  if (unknown === undefined || outcome === 'obsolete') return;
  // Nothing is repaired: the report itself says what could not be looked at.
  if (outcome === 'clean' && unknown.code === 'OUT_OF_REACH') return;
  const code = unknown.code === 'CODEC_MISSING' ? unknown.code : 'FORMAT_TOO_NEW';
  throw new IncompatibleError(
    code,
    `${where}: ${unknown.object.path} cannot be checked by this program: ${unknown.found}. It is not repaired, and nothing was changed.`,
    { details: { path: unknown.object.path } },
  );
}

/** Whether anything would be done, with this consent or another one. */
function hasPlan({ outcome }: RepairPlan): boolean {
  return !['clean', 'obsolete', 'unrecoverable'].includes(outcome);
}

function isNothingToDo(plan: RepairPlan): boolean {
  return !hasPlan(plan) || plan.outcome === 'consent-needed';
}

function repairRecord({ plan, identity }: Named, attempt: Attempt): RepairRecord {
  const replaced = plan.tables.flatMap(({ replaces }, i) =>
    replaces === undefined ? [] : [{ from: replaces, to: attempt.names[i].id }],
  );
  return { repairId: identity.bytes, pairs: [...replaced, ...plan.dropped.map((from) => ({ from, to: undefined }))] };
}

function stoppedAt(atMs: number, clock: Clock): Clock {
  return {
    nowMs: () => atMs,
    monotonicMs: () => clock.monotonicMs(),
    setTimer: (delayMs, fn, ref) => clock.setTimer(delayMs, fn, ref),
    yieldToLoop: () => clock.yieldToLoop(),
  };
}
