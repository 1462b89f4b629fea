/**
 * Whether a job can be done without rewriting a row: its tables become those of the destination as they are. For keys that are loaded
 * in ascending order this makes one rewrite out of one for each level of size.
 *
 * ```
 * T1  no two tables of the job have a key in common, except neighbours in one run, which may divide the versions of a key
 * T2  each is whole: of this database, not cut, in one view only
 * T3  none is smaller than a quarter of a full table: many small ones would cost every scan a request each
 * T4  a rewrite would give nothing back: no tombstone, no operand to fold, no row that expires; known, not supposed
 * T5  something changes: a run alone would go into itself, which is proposed to have it written again
 * ```
 *
 * What T4 does not see: versions within one table that a snapshot needed when it was written. They go when the table is merged.
 *
 * Source: `enable_trivial_move` of SlateDB, which asks for T1 alone.
 */
import type { Ulid } from '../common/ulid.ts';
import { repeatedIds } from '../lsm/manifest/view-ids.ts';
import { compareStarts, endsBefore } from '../lsm/rows/shown-range.ts';
import type { Proposal, TreeFacts, ViewFacts } from './scheduling.ts';

const LEAST_SHARE = 1 / 4;

/** `proposal` is valid and has its sources in `tree`. `fullBytes`: the size of a full table. */
export function isTrivialMove(proposal: Proposal, tree: TreeFacts, fullBytes: number): boolean {
  const views = movableViews(proposal, tree, fullBytes);
  return views.length > 0 && views.every(hasNothingToGain);
}

/** The tables of which nothing is known, where that alone decides whether the job is a move. */
export function tablesToKnow(proposal: Proposal, tree: TreeFacts, fullBytes: number): Ulid[] {
  const views = movableViews(proposal, tree, fullBytes);
  const unknown = views.filter(({ rows }) => rows === undefined);
  const isOpen = views.every((view) => unknown.includes(view) || hasNothingToGain(view));
  return isOpen ? unknown.map(({ tableId }) => tableId) : [];
}

/** Those of all sources, if all rules but T4 hold; else none. */
function movableViews(proposal: Proposal, tree: TreeFacts, fullBytes: number): ViewFacts[] {
  const runs = tree.runs.filter(({ id }) => proposal.runs.includes(id));
  const sources = [...proposal.l0.map((view) => [view]), ...runs.map(({ views }) => views)];
  const views = sources.flat();
  const tables = [...tree.l0, ...tree.runs.flatMap((run) => run.views)].map((view) => view.tableId);
  const shared = repeatedIds(tables);
  const isMovable = (view: ViewFacts) =>
    isWhole(view) && !shared.has(view.tableId) && view.bytes >= LEAST_SHARE * fullBytes;
  const isChange = proposal.l0.length > 0 || proposal.runs.length > 1;
  return isChange && views.every(isMovable) && areDisjoint(sources) ? views : [];
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
