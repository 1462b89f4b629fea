/**
 * What holds in every manifest, and from one manifest to the next. Checked before each write and after each read; a broken
 * rule means a damaged object or a bug of whoever wrote it, never something to go on from.
 */
import { compareBytes } from '../common/bytes.ts';
import type { Manifest, Tree } from '../format/manifest-types.ts';

/** Broken rules of one manifest, as sentences; empty if it is sound. */
export function brokenRules(m: Manifest): string[] {
  const broken: string[] = [];
  checkTree(m, 'the root tree', broken);
  for (const [i, s] of (m.segments ?? []).entries()) {
    checkTree(s, `segment ${i}`, broken);
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
  const views = new Set<string>();
  for (const view of [...tree.l0, ...tree.runs.flatMap((r) => r.views)]) {
    if (views.has(view.viewId)) broken.push(`${name} lists view ${view.viewId} twice`);
    views.add(view.viewId);
  }
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

/** Fields that never go back. */
export function fieldsGoneBack(previous: Manifest, next: Manifest): string[] {
  const fields = ['writerEpoch', 'compactorEpoch', 'replayAfterWalId', 'lastL0Seq', 'lastL0ClockTick'] as const;
  return fields.filter((f) => next[f] < previous[f]).map((f) => `${f} went from ${previous[f]} to ${next[f]}`);
}
