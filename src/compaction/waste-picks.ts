/**
 * Jobs that SlateDB does not choose: they give back space. A gigabyte that nobody needs costs as much a month as 29 rewrites of it
 * ($0.023 of storage against 64 PUTs and 1,024 GETs, $0.0008), so where size alone asks for no merge, waste does.
 *
 * ```
 * W1  space        all runs, and level 0 if it has 16 MiB or more, where what is above the lowest run, and what its tombstones hide in
 *                  it, is more than maxSpaceAmplification of the lowest
 * W2  tombstones   a run, or tables of level 0, of which more than half of the rows and more than 10,000 are tombstones: merged with the
 *                  next older run, if what may be given back pays for the rewrite within a month; at the bottom rewritten alone
 * W3  expired      a run, or tables of level 0, half of whose bytes must have expired: rewritten alone
 * W4  empty        runs without tables
 * ```
 *
 * A job takes whole runs, so what counts for W2 and W3 is the run, not one table of it. Of level 0 the longest stretch at its oldest end
 * counts. What is not known (tables from before SlateDB 0.12 have no counts, other programs record no expiry) asks for nothing.
 *
 * 1. Each job leaves fewer sources, or is a rewrite that gives back what asked for it: so work ends. A rewrite for tombstones alone
 *    would change nothing above the barrier, and none does for keys of which every version is kept; there none is chosen.
 */

import type { KeyRange } from '../common/key-range.ts';
import type { BytesRange } from '../format/manifest-types.ts';
import { countedRows } from '../format/stats-block.ts';
import { rangesOverlap } from '../lsm/rows/shown-range.ts';
import type { Proposal, RunFacts, SchedulerInput, ViewFacts } from './scheduling.ts';
import type { TreePlan } from './tree-plan.ts';

/** Less in level 0 is not worth a job: its requests cost as much as two months of 2 MB, and size alone merges it soon. */
const MUCH_L0_BYTES = 16 * 1024 * 1024;
/** Fewer tombstones are not worth a job. */
const MANY_TOMBSTONES = 10_000;
const TOMBSTONE_SHARE = 0.5;
const EXPIRED_SHARE = 0.5;
/** What a month of a byte costs, in rewrites of a byte. */
const REWRITES_PER_MONTH = 29;

type Limits = Pick<SchedulerInput, 'nowMs' | 'barrier' | 'lastSeq' | 'keptWhole' | 'options'>;

/** The first of W1 to W4 that asks for a job of the tree. */
export function pickWaste(plan: TreePlan, limits: Limits): Proposal | undefined {
  return (
    pickForSpace(plan, limits) ?? pickForTombstones(plan, limits) ?? pickForExpiry(plan, limits) ?? pickEmptyRuns(plan)
  );
}

/** W1. Each job for it writes at most 1 + 1 / maxSpaceAmplification times what has been flushed since the one before. */
function pickForSpace(plan: TreePlan, { options }: Limits): Proposal | undefined {
  const lowest = plan.runs.at(-1)?.run;
  if (lowest === undefined) return undefined;
  const above = plan.runs.slice(0, -1).map(({ run }) => run);
  const oldest = plan.oldestL0(1, options.maxCompactionSources) ?? [];
  const l0 = sum(oldest, ({ bytes }) => bytes) >= MUCH_L0_BYTES ? oldest : [];
  const from = l0.length > 0 ? -1 : 0;
  if (l0.length + above.length === 0 || !plan.areFree(from, above.length)) return undefined;
  const views = [...l0, ...above.flatMap((run) => run.views)];
  const bytes = sum(l0, (view) => view.bytes) + sum(above, (run) => run.bytes);
  const isMuch = bytes + hiddenBytes(countRows(views).deletes, lowest) > options.maxSpaceAmplification * lowest.bytes;
  return isMuch ? plan.proposal('space', l0, plan.stretch(from, above.length)) : undefined;
}

// ---- W2

function pickForTombstones(plan: TreePlan, limits: Limits): Proposal | undefined {
  const { runs } = plan;
  const l0 = longestL0(plan, limits, hasManyTombstones);
  if (l0 !== undefined && runs.length === 0) {
    if (canDropTombstones(l0, limits)) return plan.proposal('tombstones', l0, []);
  } else if (l0 !== undefined && plan.areFree(-1, 0) && pays(l0, runs[0].run)) {
    return plan.proposal('tombstones', l0, plan.stretch(-1, 0));
  }
  for (const [i, { run }] of runs.entries()) {
    if (!plan.isFreeRun(run) || !hasManyTombstones(run.views)) continue;
    if (i === runs.length - 1) {
      if (canDropTombstones(run.views, limits)) return plan.proposal('tombstones', [], plan.stretch(i, i));
    } else if (plan.areFree(i, i + 1) && pays(run.views, runs[i + 1].run)) {
      return plan.proposal('tombstones', [], plan.stretch(i, i + 1));
    }
  }
  return undefined;
}

function hasManyTombstones(views: readonly ViewFacts[]): boolean {
  const { rows, deletes } = countRows(views);
  return deletes > MANY_TOMBSTONES && deletes > TOMBSTONE_SHARE * rows;
}

/** Whether a rewrite at the bottom drops every tombstone: no snapshot asks for older versions, and no loss keeps them. */
function canDropTombstones(views: readonly ViewFacts[], limits: Limits): boolean {
  const { barrier, lastSeq } = limits;
  return views.every(({ rows }) => (rows?.maxSeq ?? lastSeq) <= barrier) && !areKeptWhole(views, limits);
}

/** Whether merging `views` into `older` gives back within a month what the rewrite costs. */
function pays(views: readonly ViewFacts[], older: RunFacts): boolean {
  const bytes = sum(views, (view) => view.bytes);
  const givenBack = Math.max(bytes, hiddenBytes(countRows(views).deletes, older));
  return givenBack * REWRITES_PER_MONTH >= bytes + older.bytes;
}

/** As if each tombstone hid one row of the run; nothing where the number of its rows is not known. */
function hiddenBytes(tombstones: number, { bytes, views }: RunFacts): number {
  const { rows } = countRows(views);
  return rows === 0 ? 0 : bytes * Math.min(1, tombstones / rows);
}

/** Rows that are known; of tables without counts none. */
function countRows(views: readonly ViewFacts[]): { rows: number; deletes: number } {
  const known = views.flatMap(({ rows }) => rows ?? []);
  return {
    rows: sum(known, countedRows),
    deletes: sum(known, ({ deletes }) => deletes),
  };
}

// ---- W3

function pickForExpiry(plan: TreePlan, limits: Limits): Proposal | undefined {
  const l0 = longestL0(plan, limits, (views) => isExpired(views, limits));
  if (l0 !== undefined) return plan.proposal('expired', l0, []);
  const i = plan.runs.findIndex(({ run }) => plan.isFreeRun(run) && isExpired(run.views, limits));
  return i < 0 ? undefined : plan.proposal('expired', [], plan.stretch(i, i));
}

function isExpired(views: readonly ViewFacts[], limits: Limits): boolean {
  return (expiryTime(views) ?? Number.POSITIVE_INFINITY) <= limits.nowMs && !areKeptWhole(views, limits);
}

/**
 * When half of the bytes of `views` must have expired; undefined: never. The part of a table that has expired counts for the part of it
 * that is visible.
 */
function expiryTime(views: readonly ViewFacts[]): number | undefined {
  const steps = views.flatMap(({ bytes, rows }) =>
    (rows?.expiring ?? []).map((part) => ({ byMs: part.byMs, bytes: (bytes * part.bytes) / (rows?.rowBytes || 1) })),
  );
  const needed = EXPIRED_SHARE * sum(views, ({ bytes }) => bytes);
  let expired = 0;
  for (const { byMs, bytes } of steps.sort((a, b) => a.byMs - b.byMs)) {
    expired += bytes;
    if (expired >= needed) return byMs;
  }
  return undefined;
}

/** When W3 will ask for a job of the tree that it does not ask for now; undefined: not as long as nothing else changes. */
export function nextExpiry(plan: TreePlan, limits: Limits): number | undefined {
  const stretches = [...oldestStretches(plan, limits), ...plan.runs.map(({ run }) => run.views)];
  const times = stretches
    .filter((views) => !areKeptWhole(views, limits))
    .flatMap((views) => expiryTime(views) ?? [])
    .filter((time) => time > limits.nowMs);
  return times.length === 0 ? undefined : Math.min(...times);
}

// ---- W4

/** The first stretch of them: those that follow each other go in one job. */
function pickEmptyRuns(plan: TreePlan): Proposal | undefined {
  const { runs } = plan.tree;
  const isEmpty = (run: RunFacts) => run.views.length === 0 && plan.isFreeRun(run);
  const from = runs.findIndex(isEmpty);
  if (from < 0) return undefined;
  const length = runs.slice(from).findIndex((run) => !isEmpty(run));
  const stretch = runs.slice(from, length < 0 ? undefined : from + length);
  return plan.proposal(
    'empty',
    [],
    stretch.map(({ id }) => id),
  );
}

// ---- stretches

/** Of level 0, that can be taken: the oldest table, the two oldest ... up to as many as a job takes. */
function oldestStretches(plan: TreePlan, { options }: Limits): ViewFacts[][] {
  const stretches: ViewFacts[][] = [];
  for (let count = 1; count <= Math.min(plan.tree.l0.length, options.maxCompactionSources); count++) {
    const l0 = plan.oldestL0(count, count);
    if (l0?.length === count) stretches.push(l0);
  }
  return stretches;
}

function longestL0(
  plan: TreePlan,
  limits: Limits,
  isWanted: (views: readonly ViewFacts[]) => boolean,
): ViewFacts[] | undefined {
  return oldestStretches(plan, limits).findLast(isWanted);
}

/** Whether some key of `views` is one of which every version is kept: a rewrite of them alone might give back nothing. */
function areKeptWhole(views: readonly ViewFacts[], { keptWhole }: Limits): boolean {
  return keptWhole.some((keys) => views.some(({ shown }) => rangesOverlap(boundsOf(keys), shown)));
}

function boundsOf({ gte, lte }: KeyRange): BytesRange {
  return {
    start: { kind: 'included', key: gte },
    end: lte === undefined ? { kind: 'unbounded' } : { kind: 'included', key: lte },
  };
}

function sum<T>(list: readonly T[], bytesOrRows: (item: T) => number): number {
  return list.reduce((total, item) => total + bytesOrRows(item), 0);
}
