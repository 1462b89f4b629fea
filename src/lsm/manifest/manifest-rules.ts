/**
 * What holds in every manifest, and from one manifest to the next. Checked before each write and after each read; a broken
 * rule means a damaged object or a bug of the program that wrote it, never something to go on from.
 */
import { compareBytes } from '../../common/bytes.ts';
import { type BytesRange, type Manifest, type TableView, type Tree, viewsOfTree } from '../../format/manifest-types.ts';
import { compareStarts, endsBefore, rangesOverlap, shownRange } from '../rows/shown-range.ts';

/** Broken rules of one manifest, as sentences; empty if it is sound. */
export function brokenRules(m: Manifest): string[] {
  const broken: string[] = [];
  checkTree(m, 'the root tree', broken);
  checkViews(m, 'the root tree', broken);
  for (const [i, s] of (m.segments ?? []).entries()) {
    checkTree(s, `segment ${i}`, broken);
    checkViews(s, `segment ${i}`, broken);
    const next = m.segments?.[i + 1];
    if (next !== undefined && compareBytes(s.prefix, next.prefix) >= 0) broken.push('segment prefixes do not ascend');
  }
  if (m.lastL0Seq < m.recentSnapshotMinSeq) broken.push('recent_snapshot_min_seq is above last_l0_seq');
  const ids = new Set<string>();
  for (const c of m.checkpoints) {
    if (ids.has(c.id)) broken.push(`checkpoint ${c.id} is listed twice`);
    ids.add(c.id);
  }
  return broken;
}

/**
 * The position of a run says how new it is, its id is only a name: ids descend in what SlateDB up to 0.18 writes, but nothing
 * rests on it. A run may be empty. The versions of a key may end one table and begin the next one.
 */
function checkTree(tree: Tree, name: string, broken: string[]): void {
  const ids = new Set<number>();
  for (const run of tree.runs) {
    if (ids.has(run.id)) broken.push(`${name} lists run ${run.id} twice`);
    ids.add(run.id);
    for (let i = 1; i < run.views.length; i++) {
      if (comesAfter(run.views[i - 1], run.views[i])) broken.push(`tables of run ${run.id} of ${name} overlap`);
    }
  }
}

/** Whether keys of `before` are beyond where `next` begins. */
function comesAfter(before: TableView, next: TableView): boolean {
  const { end } = shownRange(before);
  const { start } = shownRange(next);
  if (end.kind === 'unbounded' || start.kind === 'unbounded' || endsBefore(end, start)) return false;
  return before.table.id === next.table.id || compareBytes(end.key, start.key) > 0;
}

/**
 * No row twice. View ids alone do not name a view: version 1 stores none, so that the views of one table all carry the table's
 * id, and SlateDB before 0.18 lists the views of a table in a union under one id. Only their ranges distinguish them.
 */
function checkViews(tree: Tree, name: string, broken: string[]): void {
  const ranges = new Map<string, BytesRange[]>();
  for (const view of viewsOfTree(tree)) {
    const others = ranges.get(view.viewId);
    if (others === undefined) ranges.set(view.viewId, [shownRange(view)]);
    else others.push(shownRange(view));
  }
  for (const [id, list] of ranges) if (!areDisjoint(list)) broken.push(`${name} lists view ${id} twice`);
}

function areDisjoint(ranges: BytesRange[]): boolean {
  ranges.sort((a, b) => compareStarts(a.start, b.start));
  return ranges.every((range, i) => i === 0 || !rangesOverlap(ranges[i - 1], range));
}

/** Fields that never go back. */
export function decreasedFields(previous: Manifest, next: Manifest): string[] {
  const fields = ['writerEpoch', 'compactorEpoch', 'replayAfterWalId', 'lastL0Seq', 'lastL0ClockTick'] as const;
  return fields.filter((f) => next[f] < previous[f]).map((f) => `${f} went from ${previous[f]} to ${next[f]}`);
}
