/** A manifest in words, and the tables it names as a map of the key space. */
import type { KeyRange, ManifestReport } from '../admin.ts';
import { l0Of, runsOf, type TableView } from '../format/manifest-types.ts';
import type { Finding } from '../index.ts';
import { findingCounts, findingsText } from './finding-text.ts';
import { damagedRanges, type KeyLine, keyMap } from './maps.ts';
import { capital, notCheckedText, tableLabel } from './sst-text.ts';
import { count, facts, number, size, type View, visible } from './words.ts';

/** With more lines a map is no longer readable. */
const MOST_TABLES_SHOWN = 24;

interface NamedTable {
  level: string;
  id: string;
  extent: KeyRange | undefined;
}

export function manifestText(report: ManifestReport, view: View): string[] {
  const { paint } = view;
  const tables = drawnTables(report);
  return [
    paint('bold', visible(report.path)),
    '',
    ...facts(paint, aboutManifest(report, view)),
    ...tablesMap(tables, report.findings, view),
    ...(report.changes.length === 0
      ? []
      : ['', 'Changed since the manifest before', ...report.changes.map((c) => `  ${visible(c)}`)]),
    ...findingsText(report.findings, view),
    '',
    `${capital(findingCounts(report.findings))}.`,
    ...notCheckedText(report.notChecked, view),
  ];
}

function aboutManifest(report: ManifestReport, view: View): [string, string | undefined][] {
  const { manifest: m, seal } = report;
  const doubt = (text: string) => view.paint('yellow', text);
  const sealed = !report.sealed ? 'none' : seal?.state === 'bad' ? doubt('damaged') : 'good';
  const about: [string, string | undefined][] = [
    ['id', number(report.id)],
    ['size', size(report.size)],
    ['seal', sealed],
    ['chain', report.chain === 'broken' ? doubt('broken: the manifest before is not the one it knew') : report.chain],
    ['encoding', report.canonical ? 'canonical' : doubt('not what an encoder writes')],
  ];
  if (m === undefined) return about;
  const l0 = l0Of(m);
  const runs = runsOf(m);
  const inRuns = runs.reduce((n, r) => n + r.views.length, 0);
  return [
    ...about,
    ['epochs', `writer ${number(m.writerEpoch)}, compactor ${number(m.compactorEpoch)}`],
    ['log', `replayed from object ${number(m.replayAfterWalId + 1)} on`],
    ['tables', `${number(l0.length)} in level 0, ${number(inRuns)} in ${count(runs.length, 'run')}`],
    ['last seq', `${number(m.lastL0Seq)} in tables`],
    ['checkpoints', m.checkpoints.length === 0 ? undefined : number(m.checkpoints.length)],
    ['other databases', m.externalDbs.length === 0 ? undefined : m.externalDbs.map((d) => visible(d.path)).join(', ')],
  ];
}

/** Newest first, as reads ask them. */
function drawnTables({ manifest }: ManifestReport): NamedTable[] {
  if (manifest === undefined) return [];
  const named = (level: string, view: TableView): NamedTable => {
    const { firstEntry: gte, lastEntry: lte } = view.table.info;
    return { level, id: view.table.id, extent: gte !== undefined ? { gte, lte } : undefined };
  };
  const runs = runsOf(manifest).flatMap((run) => run.views.map((v) => named(`run ${run.id}`, v)));
  return [...l0Of(manifest).map((v) => named('L0', v)), ...runs];
}

/** Damaged tables first if there are too many for a map. */
function tablesMap(tables: readonly NamedTable[], findings: readonly Finding[], view: View): string[] {
  const of = (t: NamedTable) => findings.filter((f) => f.object.role === 'table' && f.object.id === t.id);
  const lines = tables.flatMap((t): KeyLine[] => {
    if (t.extent === undefined) return [];
    return [{ label: tableLabel(t.level, t.id), extent: t.extent, damaged: damagedRanges(of(t)) }];
  });
  const damagedOnly = lines.filter((l) => l.damaged.length > 0);
  const shown = lines.length <= MOST_TABLES_SHOWN ? lines : damagedOnly.slice(0, MOST_TABLES_SHOWN);
  if (shown.length === 0) return [];
  const hidden = lines.length - shown.length;
  const rest = hidden > 0 ? [view.paint('dim', `${count(hidden, 'table')} more not drawn.`)] : [];
  return ['', ...keyMap(shown, view), ...rest];
}

/** The places of findings in the key space, drawn over the tables of the newest manifest; nothing where no finding names keys. */
export function damageMap(report: ManifestReport, findings: readonly Finding[], view: View): string[] {
  return damagedRanges(findings).length === 0 ? [] : tablesMap(drawnTables(report), findings, view);
}
