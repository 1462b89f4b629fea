/**
 * What attempts at repairs need that are not known to be done. The plan of an attempt is written before anything is changed and names
 * the tables that it makes and the objects that it is about (tools/repair-files.ts has the rest of it).
 *
 * Invariants:
 * 1. An attempt is open until a report of its repair is there with its number or a later one: a run that was cut off after its manifest
 *    is completed by the next one, and a late request may still make the tables of an earlier attempt count.
 * 2. A plan that cannot be read is never taken for one that needs nothing.
 */
import { makeHint } from '../common/advice.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { fromPlain } from '../common/plain.ts';
import { isUlid } from '../common/ulid.ts';
import { parseRepairFilePath, repairFilePath } from '../format/object-names.ts';
import { decodeSidecar } from '../format/sidecar.ts';
import type { OpenPlan } from '../lsm/manifest/live-set.ts';
import { readTwice } from '../lsm/table/verified-read.ts';
import type { ObjectStore } from '../store/object-store.ts';

/** In the first line of a plan. */
export const PLAN_KIND = 'repair-plan';

/** The numbers of the plans and reports of one repair, ascending. */
export interface RepairFiles {
  plans: number[];
  reports: number[];
}

/** Plans and reports by repair; other paths are passed over. */
export function repairFilesOf(paths: Iterable<string>): Map<string, RepairFiles> {
  const repairs = new Map<string, RepairFiles>();
  for (const path of paths) {
    const name = parseRepairFilePath(path);
    if (name === undefined) continue;
    const files = repairs.get(name.repairId) ?? { plans: [], reports: [] };
    files[name.kind === 'plan' ? 'plans' : 'reports'].push(name.number);
    repairs.set(name.repairId, files);
  }
  for (const { plans, reports } of repairs.values()) {
    plans.sort((a, b) => a - b);
    reports.sort((a, b) => a - b);
  }
  return repairs;
}

/** The attempts that are not known to be done. */
export function openAttempts(repairs: ReadonlyMap<string, RepairFiles>): Pick<OpenPlan, 'repairId' | 'number'>[] {
  return [...repairs].flatMap(([repairId, { plans, reports }]) =>
    plans.filter((number) => number > (reports.at(-1) ?? 0)).map((number) => ({ repairId, number })),
  );
}

/** What the attempt needs; undefined: its plan cannot be read, or is gone. One GET, two if it is damaged. */
export async function readOpenPlan(
  store: ObjectStore,
  { repairId, number }: Pick<OpenPlan, 'repairId' | 'number'>,
): Promise<OpenPlan | undefined> {
  try {
    const needs = await readTwice(store, repairFilePath(repairId, 'plan', number), ({ bytes }) =>
      needsOf(fromPlain(decodeSidecar(bytes, PLAN_KIND).value)),
    );
    return needs && { repairId, number, ...needs };
  } catch (error) {
    // Plain data that is none is no damage that `decodeSidecar` can see.
    if (isCorruption(error) || error instanceof IncompatibleError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Undefined: it is no plan. */
function needsOf(value: unknown): Pick<OpenPlan, 'tables' | 'objects'> | undefined {
  const { names, report } = (value ?? {}) as { names?: unknown; report?: { evidence?: unknown } };
  const tables = textsOf(names, 'id')?.filter(isUlid);
  const objects = textsOf(report?.evidence, 'from');
  if (tables === undefined || objects === undefined || tables.length !== (names as unknown[]).length) return undefined;
  return { tables, objects };
}

function textsOf(list: unknown, member: string): string[] | undefined {
  if (!Array.isArray(list)) return undefined;
  const texts = list.map((item: unknown) => (item as Record<string, unknown> | null | undefined)?.[member]);
  return texts.every((text) => typeof text === 'string') ? texts : undefined;
}

/** The finding for a plan that cannot be read; `summary` says what follows from it. */
export function unreadPlan(path: string, summary: string): Finding {
  return makeFinding({
    code: 'MALFORMED',
    severity: 'warning',
    object: { role: 'sidecar', path, id: path, sealed: false },
    at: WHOLE_OBJECT,
    during: 'check',
    remedy: 'none',
    hint: makeHint(summary, 'none'),
  });
}
