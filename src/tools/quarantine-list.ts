/** Quarantine, for operators: what is kept of damaged objects, and putting a copy back where its original is gone. */
import { at, inspectLogObjects, inspectManifest, inspectTable, LIST_COPIES } from '../common/advice.ts';
import { ConflictError, InvalidArgumentError } from '../common/errors.ts';
import { type ChecksOf, checkedOptions, describeValue } from '../common/option-checks.ts';
import { makeUlid } from '../common/ulid.ts';
import {
  isRepairId,
  parseManifestPath,
  parseQuarantinePath,
  parseTablePath,
  parseWalPath,
  QUARANTINE_PREFIX,
  quarantinePath,
  roleOfPath,
} from '../format/object-names.ts';
import { whyCopy } from '../lsm/manifest/live-set.ts';
import { readLedger } from '../lsm/tree/damage-ledger.ts';
import { unansweredError } from '../recovery/fence.ts';
import { assertRemains, newestIfReadable } from './database-state.ts';
import {
  assertReviewed,
  damagedObject,
  planHash,
  REPAIR_CHECKS,
  type RepairOptions,
  type RepairPlan,
  repairIdentity,
  sha256Hex,
} from './repair-plan.ts';
import type { Evidence, QuarantineEntry, RepairReport } from './reports.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';

/** Every copy, by repair. Rejects with `InvalidArgumentError` where no database is. Three LISTs and two GETs, mostly. */
export async function quarantineList(target: Target, options: ToolOptions = {}): Promise<QuarantineEntry[]> {
  return withTarget(target, checkedOptions('quarantineList', options, TOOL_CHECKS), async (opened) => {
    const copies = await listCopies(opened, QUARANTINE_PREFIX);
    if (copies.length === 0) await assertRemains(opened);
    return copies;
  });
}

async function listCopies(target: ToolTarget, prefix: string): Promise<QuarantineEntry[]> {
  const { stores } = target;
  const { entries } = await readLedger(stores.main, await newestIfReadable(target));
  const copies: QuarantineEntry[] = [];
  for await (const { path, size, lastModifiedMs } of stores.main.list(prefix)) {
    const copy = parseQuarantinePath(path);
    if (copy === undefined) continue;
    const { repairId, original: from } = copy;
    const neededBy = whyCopy(entries, repairId).map((reason) => reason.ledgerId);
    copies.push({ repairId, from, to: path, bytes: size, storedAtMs: lastModifiedMs, neededBy });
  }
  return copies;
}

/** Options of `quarantineRestore`. */
export interface QuarantineRestoreOptions extends ToolOptions, Pick<RepairOptions, 'apply'> {}

const CHECKS: ChecksOf<QuarantineRestoreOptions> = { ...TOOL_CHECKS, apply: REPAIR_CHECKS.apply };

/**
 * Puts the copies of one repair back where their originals are gone, byte for byte: for looking at them with other tools, or
 * before another repair. An original that is there is never overwritten, and no manifest changes: what the database reads
 * stays what it is. Without `apply` it says what it would do.
 *
 * Rejects with `InvalidArgumentError` if nothing is kept of this repair, with `ConflictError` (`PLAN_CHANGED`),
 * `UnavailableError`. Two requests for each copy, with `apply` three.
 */
export async function quarantineRestore(
  target: Target,
  repairId: string,
  given: QuarantineRestoreOptions = {},
): Promise<RepairReport> {
  const options = checkedOptions('quarantineRestore', given, CHECKS);
  if (typeof repairId !== 'string' || !isRepairId(repairId)) {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `quarantineRestore needs the id of a repair, such as r-0123456789abcdef01234567, not ${describeValue(repairId)}; quarantineList shows them.`,
    );
  }
  return withTarget(target, options, async (opened) => {
    const copies = await listCopies(opened, quarantinePath(repairId, ''));
    if (copies.length === 0) {
      throw new InvalidArgumentError(
        'BAD_ARGUMENT',
        `${opened.where}: no copy is kept of repair ${repairId}. The list of repairs: ${at(LIST_COPIES, opened.label)}`,
      );
    }
    return restore(opened, repairId, copies, options.apply ?? false);
  });
}

async function restore(
  target: ToolTarget,
  repairId: string,
  copies: readonly QuarantineEntry[],
  apply: boolean | { planHash: string },
): Promise<RepairReport> {
  const { main } = target.stores;
  const gone: QuarantineEntry[] = [];
  const evidence: Evidence[] = [];
  for (const copy of copies) {
    if ((await storeOf(target, copy.from).head(copy.from)) !== undefined) continue;
    const got = await main.get(copy.to);
    if (got === undefined) continue;
    gone.push(copy);
    evidence.push({ from: copy.to, to: copy.from, sha256: sha256Hex(got.bytes), bytes: got.bytes.length });
  }
  const plan: RepairPlan = {
    outcome: gone.length === 0 ? 'clean' : 'reconstructed',
    before: [],
    rows: { recovered: 0, probable: 0, suspect: 0, lost: 0, lostAtMost: 0, lostExact: true },
    lostKeys: [],
    lostSeqs: [],
    shadowed: 0,
    nextSteps: [],
    damaged: evidence.map((e) => ({ ...damagedObject(e.from, 'main', undefined), sha256: e.sha256, bytes: e.bytes })),
    losses: [],
    tables: [],
    dropped: [],
    edit: () => undefined,
  };
  const hash = planHash(repairIdentity({ tool: 'quarantineRestore', settings: { repairId } }, plan), plan);
  if (gone.length > 0) assertReviewed(target.where, apply, hash);
  if (apply !== false) for (const e of evidence) await putBack(target, e);
  const { outcome, before, rows, lostKeys, lostSeqs, shadowed } = plan;
  return {
    schemaVersion: 1,
    tool: 'quarantineRestore',
    repairId,
    ...(gone.length > 0 && { planHash: hash }),
    applied: apply !== false && gone.length > 0,
    alreadyDone: gone.length === 0,
    outcome,
    before,
    rows,
    lostKeys,
    lostSeqs,
    shadowed,
    evidence,
    newObjects: evidence.map((e) => e.to),
    ledgerIds: [],
    missingConsent: [],
    nextSteps: nextSteps(evidence, apply !== false, hash),
    requests: target.requests(),
    tookMs: target.tookMs(),
  };
}

/** More originals are not named one by one. */
const MOST_NAMED = 5;

function nextSteps(evidence: readonly Evidence[], isApplied: boolean, hash: string): string[] {
  if (evidence.length === 0) return ['Every original of this repair is where it was, so nothing is put back.'];
  if (!isApplied) return [`To do exactly this, run it again with --apply --plan ${hash}.`];
  return [
    'The originals are there again as they were, with their damage. The database goes on reading what the repair put in their place: nothing that it reads has changed.',
    ...evidence.slice(0, MOST_NAMED).flatMap(({ to }) => inspectCommand(to)),
  ];
}

/** The command that inspects an object of a database; none for the small ones. */
function inspectCommand(path: string): string[] {
  const [wal, table, manifest] = [parseWalPath(path), parseTablePath(path), parseManifestPath(path)];
  if (wal !== undefined) return [inspectLogObjects(wal, wal)];
  if (table !== undefined) return [inspectTable(table)];
  return manifest === undefined ? [] : [inspectManifest(manifest)];
}

async function putBack(target: ToolTarget, { from, to, sha256 }: Evidence): Promise<void> {
  const { stores, clock, random, where } = target;
  const got = await stores.main.get(from);
  if (got === undefined || sha256Hex(got.bytes) !== sha256) {
    throw new ConflictError('PLAN_CHANGED', `${where}: the copy ${from} changed in the meantime; run it again.`);
  }
  const putId = makeUlid(clock.nowMs(), random);
  const answer = await storeOf(target, to).put(to, got.bytes, { condition: 'if-absent', putId });
  if (answer.outcome === 'unknown') throw unansweredError(where, to, answer.cause);
}

function storeOf({ stores }: ToolTarget, path: string) {
  return roleOfPath(path) === 'wal' ? stores.wal : stores.main;
}
