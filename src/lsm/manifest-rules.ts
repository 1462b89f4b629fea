/**
 * What holds in every manifest, and from one manifest to the next. Checked before each write and after each read; a broken
 * rule means a damaged object or a bug of whoever wrote it, never something to go on from.
 */
import { compareBytes } from '../common/bytes.ts';
import type { Bound, BytesRange, Manifest, Tree } from '../format/manifest-types.ts';

/** Broken rules of one manifest, as sentences; empty if it is sound. */
export function brokenRules(m: Manifest): string[] {
  const broken: string[] = [];
  checkTree(m, 'the root tree', broken);
  checkViews(m, m, 'the root tree', broken);
  for (const [i, s] of (m.segments ?? []).entries()) {
    checkTree(s, `segment ${i}`, broken);
    checkViews(m, s, `segment ${i}`, broken);
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

function checkTree(tree: Tree, name: string, broken: string[]): void {
  for (let i = 1; i < tree.runs.length; i++) {
    if (tree.runs[i].id >= tree.runs[i - 1].id) broken.push(`sorted runs of ${name} do not descend`);
  }
  for (const run of tree.runs) {
    for (let i = 1; i < run.views.length; i++) {
      const before = run.views[i - 1].table.info.lastEntry;
      const first = run.views[i].table.info.firstEntry;
      const isCut = run.views[i].visibleRange !== undefined || run.views[i - 1].visibleRange !== undefined;
      if (!isCut && before !== undefined && first !== undefined && compareBytes(before, first) > 0) {
        broken.push(`tables of run ${run.id} of ${name} overlap`);
      }
    }
  }
}

/**
 * No row twice. Version 1 stores no view ids: there the views of one table all carry the table's id (SlateDB 0.12.1 writes
 * this over a version 2 with several views of a table), and only their ranges tell them apart.
 */
function checkViews(m: Manifest, tree: Tree, name: string, broken: string[]): void {
  const ranges = new Map<string, (BytesRange | undefined)[]>();
  for (const view of [...tree.l0, ...tree.runs.flatMap((r) => r.views)]) {
    const others = ranges.get(view.viewId);
    if (others === undefined) ranges.set(view.viewId, [view.visibleRange]);
    else others.push(view.visibleRange);
  }
  for (const [id, list] of ranges) {
    if (list.length > 1 && (m.headerVersion > 1 || !areDisjoint(list))) broken.push(`${name} lists view ${id} twice`);
  }
}

function areDisjoint(ranges: readonly (BytesRange | undefined)[]): boolean {
  const sorted = ranges.filter((r) => r !== undefined).sort((a, b) => compareStarts(a.start, b.start));
  if (sorted.length < ranges.length) return false;
  return sorted.every((range, i) => i === 0 || endsBefore(sorted[i - 1].end, range.start));
}

function compareStarts(a: Bound, b: Bound): number {
  if (a.kind === 'unbounded' || b.kind === 'unbounded')
    return Number(b.kind === 'unbounded') - Number(a.kind === 'unbounded');
  return compareBytes(a.key, b.key);
}

function endsBefore(end: Bound, start: Bound): boolean {
  if (end.kind === 'unbounded' || start.kind === 'unbounded') return false;
  const c = compareBytes(end.key, start.key);
  return c < 0 || (c === 0 && (end.kind === 'excluded' || start.kind === 'excluded'));
}

/** Fields that never go back. */
export function fieldsGoneBack(previous: Manifest, next: Manifest): string[] {
  const fields = ['writerEpoch', 'compactorEpoch', 'replayAfterWalId', 'lastL0Seq', 'lastL0ClockTick'] as const;
  return fields.filter((f) => next[f] < previous[f]).map((f) => `${f} went from ${previous[f]} to ${next[f]}`);
}
