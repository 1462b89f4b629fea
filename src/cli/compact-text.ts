/** What a compaction of everything did, or would do, in words. */

import type { CompactedTree, CompactionLevels, CompactProgress, CompactReport } from '../admin.ts';
import { findingsText } from './finding-text.ts';
import type { Style } from './paint.ts';
import { count, duration, facts, keyText, number, percent, size, table, type View, visible, wrap } from './words.ts';

/** How far it has come, in a line. */
export function compactProgressText({
  treesDone,
  trees,
  bytesRead,
  bytesExpected,
  bytesWritten,
}: CompactProgress): string {
  const which = trees === 1 ? '' : `, ${number(treesDone)} of ${number(trees)} trees done`;
  return `merging: ${size(bytesRead)} of about ${size(bytesExpected)} read, ${size(bytesWritten)} written${which}`;
}

/** More trees are only counted. */
const MOST_TREES_SHOWN = 20;

/** @param again the command without `--apply` */
export function compactText(report: CompactReport, view: View, again: string): string[] {
  const { paint } = view;
  return [
    paint('bold', paint(...headline(report))),
    '',
    ...treesText(report, view),
    '',
    ...facts(paint, [...(report.applied ? doneFacts(report) : plannedFacts(report)), costOf(report)]),
    ...findingsText(report.findings, view),
    ...nextText(report, view, again),
  ];
}

function headline(report: CompactReport): [Style, string] {
  const { outcome, trees, jobs, estimate } = report;
  switch (outcome) {
    case 'nothing-to-do':
      return ['green', 'Nothing to merge: each tree is one run, or empty.'];
    case 'planned': {
      const merged = trees.filter((tree) => tree.estimate !== undefined).length;
      return ['yellow', `To merge: ${count(merged, 'tree')}, ${size(estimate.bytesRead)}.`];
    }
    case 'compacted':
      return [
        'green',
        `Merged: ${count(jobs.length, 'tree')}, ${size(report.bytesRead)} into ${size(report.bytesWritten)}.`,
      ];
  }
}

function treesText({ trees, applied }: CompactReport, view: View): string[] {
  const merged = trees.filter((tree) => tree.estimate !== undefined);
  const shown = merged.length === 0 ? trees : merged;
  const named = shown.length > 1 || shown.some(({ prefix }) => prefix !== undefined);
  const rows = shown.slice(0, MOST_TREES_SHOWN).flatMap((tree) => rowsOf(tree, named, view));
  const heads = ['', '>level 0', '>runs', '>tables', '>bytes', ...(applied ? [] : ['>rows', '>tombstones'])];
  const more = shown.length - MOST_TREES_SHOWN;
  return [
    ...table(view.paint, heads, rows),
    ...(more > 0 ? [`and ${count(more, 'tree')} more (--json has all).`] : []),
  ];
}

function rowsOf({ prefix, before, after }: CompactedTree, named: boolean, view: View): string[][] {
  const name = !named ? '' : prefix === undefined ? 'root ' : `${keyText(prefix, view.redactKeys)} `;
  const line = (when: string, levels: CompactionLevels) => [
    `${name}${when}`,
    number(levels.l0Tables),
    number(levels.runs),
    number(levels.tables),
    size(levels.bytes),
    ...(after === undefined ? [known(levels.rows), known(levels.tombstones)] : []),
  ];
  return after === undefined ? [line('now', before)] : [line('before', before), line('after', after)];
}

function known(value: number | undefined): string {
  return value === undefined ? 'unknown' : number(value);
}

type Fact = readonly [string, string | undefined];

function doneFacts({ jobs, rowsIn, rowsOut, manifestId }: CompactReport): Fact[] {
  const gone = rowsIn - rowsOut;
  const rows = `${number(rowsIn)} in, ${number(rowsOut)} left: ${percent(gone, rowsIn)} were no longer needed`;
  return [
    ['manifest', `${number(manifestId)}, the newest`],
    ['rows', jobs.length === 0 ? undefined : rows],
  ];
}

function plannedFacts({ outcome, estimate, manifestId }: CompactReport): Fact[] {
  const { bytesRead, mostBytesWritten, requests } = estimate;
  const isPlan = outcome === 'planned';
  return [
    ['manifest', `${number(manifestId)}, the newest`],
    ['reads', isPlan ? `about ${size(bytesRead)}` : undefined],
    ['writes', isPlan ? `at most about ${size(mostBytesWritten)}` : undefined],
    ['requests', isPlan ? `about ${number(requests)}` : undefined],
  ];
}

function costOf({ requests, tookMs, applied }: CompactReport): Fact {
  return [applied ? 'cost' : 'looked', `${count(requests, 'request')}, ${duration(tookMs)}`];
}

function nextText(report: CompactReport, { paint, columns }: View, again: string): string[] {
  const { outcome, applied, findings } = report;
  if (outcome === 'planned' && findings.some(({ severity }) => severity === 'error' || severity === 'unknown'))
    return ['', ...wrap('Nothing was changed. What was found has to be repaired before this can be merged.', columns)];
  if (outcome === 'planned')
    return ['', `Nothing was changed. To merge: ${paint('cyan', visible(`${again} --apply`))}`];
  if (!applied || outcome !== 'compacted') return [];
  return [
    '',
    ...wrap('The tables that were merged are kept for readers for a while; a collector deletes them later.', columns),
  ];
}
