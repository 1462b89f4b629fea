/**
 * Whether a job can be done without rewriting a row: its tables become those of the destination as they are. For keys that are loaded
 * in ascending order this makes one rewrite out of one for each level of size.
 *
 * ```
 * T1  no two tables of the job have a key in common, except neighbours in one run, which may divide the versions of a key
 * T2  each is whole: of this database, not cut, in one view only
 * T3  none is smaller than a quarter of a full table: many small ones would cost every scan a request each
 * T4  a rewrite would give nothing back: no tombstone, no operand to fold, no row that expires; known, not supposed
 * ```
 *
 * Source: `enable_trivial_move` of SlateDB, which asks for T1 alone.
 */
import { repeatedIds } from '../lsm/manifest/view-ids.ts';
import { compareStarts, endsBefore } from '../lsm/rows/shown-range.ts';
import type { Proposal, TreeFacts, ViewFacts } from './scheduling.ts';

const LEAST_SHARE = 1 / 4;

/** `proposal` is valid and has its sources in `tree`. `maxSstBytes`: the size of a full table. */
export function isTrivialMove(proposal: Proposal, tree: TreeFacts, maxSstBytes: number): boolean {
  const runs = tree.runs.filter(({ id }) => proposal.runs.includes(id));
  const sources = [...proposal.l0.map((view) => [view]), ...runs.map(({ views }) => views)];
  const views = sources.flat();
  const tables = [...tree.l0, ...tree.runs.flatMap((run) => run.views)].map((view) => view.tableId);
  const shared = repeatedIds(tables);
  const isMovable = (view: ViewFacts) => isWhole(view) && !shared.has(view.tableId) && hasNothingToGain(view);
  const isLarge = views.every(({ bytes }) => bytes >= LEAST_SHARE * maxSstBytes);
  return views.length > 0 && isLarge && views.every(isMovable) && areDisjoint(sources);
}

/** T2, but for other views of the table. */
function isWhole({ visibleRange, isExternal }: ViewFacts): boolean {
  return visibleRange === undefined && !isExternal;
}

/** T4. */
function hasNothingToGain({ rows }: ViewFacts): boolean {
  return rows !== undefined && rows.deletes === 0 && rows.merges === 0 && rows.expiring?.length === 0;
}

/** T1. */
function areDisjoint(sources: readonly (readonly ViewFacts[])[]): boolean {
  const views = sources.flatMap((source, i) => source.map((view) => ({ view, source: i })));
  views.sort((a, b) => compareStarts(a.view.shown.start, b.view.shown.start));
  return views.every(({ view, source }, i) => {
    const before = views.at(i - 1);
    if (i === 0 || before === undefined || before.source === source) return true;
    return endsBefore(before.view.shown.end, view.shown.start);
  });
}
