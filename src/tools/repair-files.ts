/**
 * What a repair writes down about itself: `shale/repairs/<repairId>/plan-<n>` before it changes anything, `report-<n>` when
 * it is done. `n` counts attempts: each has names of its own for what it makes, so an attempt that was cut off long ago, whose
 * tables a collector may delete at any moment, is never continued.
 *
 * Both are made by create-if-absent and never deleted. One that is damaged counts as absent.
 */
import { assertThat } from '../common/assert.ts';
import { isCorruption } from '../common/errors.ts';
import { fromStoredRange, type KeyRange, toStoredRange } from '../common/key-range.ts';
import { fromPlain, toPlain } from '../common/plain.ts';
import { isUlid, makeUlid, type Ulid } from '../common/ulid.ts';
import { REPAIRS_PREFIX, repairFilePath } from '../format/object-names.ts';
import { decodeSidecar, encodeSidecar } from '../format/sidecar.ts';
import { unansweredError } from '../recovery/fence.ts';
import { PLAN_KIND, type RepairFiles, repairFilesOf } from '../recovery/repair-plans.ts';
import type { RepairTask } from './repair-plan.ts';
import type { RepairReport } from './reports.ts';
import type { ToolTarget } from './target.ts';

const REPORT_KIND = 'repair-report';

/** One attempt at a repair. */
export interface Attempt {
  repairId: string;
  planHash: string;
  /** From 1. */
  number: number;
  tool: RepairReport['tool'];
  settings: RepairTask['settings'];
  /** Wall time of the plan, ms; all that is made in this attempt says this time. */
  atMs: number;
  baseManifestId: number;
  /** One for each table of the plan. */
  names: { id: Ulid; putId: Ulid }[];
  /** What the report will say, as far as it is known beforehand. */
  report: RepairReport;
}

export interface StoredAttempt extends Attempt {
  /** Milliseconds since it was written, by the store's clock. */
  ageMs: number;
}

/** The numbers of all plans and reports by repair. One LIST. */
export async function listRepairs(target: ToolTarget, repairId = ''): Promise<Map<string, RepairFiles>> {
  const paths: string[] = [];
  for await (const { path } of target.stores.main.list(`${REPAIRS_PREFIX}${repairId}`)) paths.push(path);
  return repairFilesOf(paths);
}

/** The number of an attempt that is not begun; writes its plan. False: another process took the number. */
export async function writeAttempt(target: ToolTarget, attempt: Attempt): Promise<boolean> {
  assertThat(Number.isSafeInteger(attempt.atMs), 'the time of an attempt is in whole ms, as it is read back');
  const stored = { ...attempt, report: withRanges(attempt.report, toStoredRange) };
  const bytes = encodeSidecar(PLAN_KIND, 1, toPlain(stored));
  return create(target, repairFilePath(attempt.repairId, 'plan', attempt.number), bytes);
}

/** Undefined if it is absent or damaged. A HEAD and a GET. */
export async function readAttempt(
  target: ToolTarget,
  repairId: string,
  number: number,
): Promise<StoredAttempt | undefined> {
  const { main } = target.stores;
  const path = repairFilePath(repairId, 'plan', number);
  const head = await main.head(path);
  const attempt = head && toAttempt(await readPlain(target, path, PLAN_KIND));
  if (head === undefined || attempt === undefined) return undefined;
  if (attempt.repairId !== repairId || attempt.number !== number) return undefined;
  return { ...attempt, ageMs: head.storeTimeMs - head.lastModifiedMs };
}

function toAttempt(value: unknown): Attempt | undefined {
  const { names, settings, atMs, baseManifestId, report: stored } = (value ?? {}) as Partial<Attempt>;
  const report = toReport(stored);
  if (!Array.isArray(names) || !names.every((n) => isUlid(String(n?.id)) && isUlid(String(n?.putId)))) return undefined;
  if (typeof settings !== 'object' || settings === null || report === undefined) return undefined;
  if (!Number.isSafeInteger(atMs) || !Number.isSafeInteger(baseManifestId)) return undefined;
  return { ...(value as Attempt), report };
}

export async function writeReport(target: ToolTarget, number: number, report: RepairReport): Promise<void> {
  const stored = withRanges(report, toStoredRange);
  await create(
    target,
    repairFilePath(report.repairId, 'report', number),
    encodeSidecar(REPORT_KIND, 1, toPlain(stored)),
  );
}

/** Undefined if it is absent or damaged. */
export async function readReport(
  target: ToolTarget,
  repairId: string,
  number: number,
): Promise<RepairReport | undefined> {
  return toReport(await readPlain(target, repairFilePath(repairId, 'report', number), REPORT_KIND));
}

/** Our own writing, and its checksum holds: only that it is a report at all is looked at. */
function toReport(value: unknown): RepairReport | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { tool, repairId, before, rows, lostKeys } = value as Record<string, unknown>;
  const isReport =
    typeof tool === 'string' && typeof repairId === 'string' && Array.isArray(before) && typeof rows === 'object';
  if (!isReport || !Array.isArray(lostKeys)) return undefined;
  // Reports of versions before it was written down are those of repairs that were done.
  return withRanges({ missingConsent: [], ...(value as Omit<RepairReport, 'missingConsent'>) }, fromStoredRange);
}

/** The report with another form of all its ranges of keys. */
function withRanges(report: RepairReport, change: (keys: KeyRange) => KeyRange): RepairReport {
  const before = report.before.map((finding) => {
    const { keys } = finding.affects;
    return keys === undefined ? finding : { ...finding, affects: { ...finding.affects, keys: change(keys) } };
  });
  return { ...report, before, lostKeys: report.lostKeys.map(change) };
}

async function readPlain(target: ToolTarget, path: string, kind: string): Promise<unknown> {
  const got = await target.stores.main.get(path);
  if (got === undefined) return undefined;
  try {
    return fromPlain(decodeSidecar(got.bytes, kind).value);
  } catch (error) {
    // A bigint that is none is no damage that `decodeSidecar` can see.
    if (!isCorruption(error) && !(error instanceof SyntaxError)) throw error;
    target.logger.warn('what a repair wrote down cannot be read', { path, error: String(error) });
    return undefined;
  }
}

/** False if the object exists. */
async function create(target: ToolTarget, path: string, bytes: Uint8Array): Promise<boolean> {
  const { stores, clock, random } = target;
  const putId = makeUlid(clock.nowMs(), random);
  const answer = await stores.main.put(path, bytes, { condition: 'if-absent', putId });
  if (answer.outcome === 'unknown') throw unansweredError(target.where, path, answer.cause);
  return answer.outcome === 'applied';
}
