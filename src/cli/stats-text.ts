/** A database in numbers, on one page. */
import type { CheckpointStats, DirectoryStats, OwnerStats, StatsReport, Tally } from '../admin.ts';
import { isoTime } from '../common/clock.ts';
import type { TreeTotals } from '../tools/tree-report.ts';
import { findingsText } from './finding-text.ts';
import {
  age,
  count,
  dateText,
  duration,
  facts,
  number,
  percent,
  shortCount,
  size,
  table,
  type View,
  visible,
  wrap,
} from './words.ts';

/** More are only counted. */
const MOST_CHECKPOINTS = 10;

export function statsText(report: StatsReport, view: View): string[] {
  const { paint, columns } = view;
  const { checkpoints, level0, runs, nowMs } = report;
  return [
    ...wrap(headline(report), columns).map((line) => paint('bold', line)),
    '',
    ...facts(paint, aboutDatabase(report)),
    '',
    ...levelsTable(report, view),
    ...section(facts(paint, aboutCost(report))),
    ...section(checkpoints.length === 0 ? [] : checkpointsText(checkpoints, nowMs, view)),
    '',
    ...directoriesTable(report, view),
    '',
    ...facts(paint, [
      [
        'rows',
        level0.uncounted + runs.uncounted === 0
          ? undefined
          : `of ${count(level0.uncounted + runs.uncounted, 'table')} not known`,
      ],
      ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
    ]),
    ...findingsText(report.findings, view),
  ];
}

/** With an empty line before it, if there is anything. */
function section(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines];
}

function headline({ level0, runs, log, total }: StatsReport): string {
  const tables = `${size(level0.bytes + runs.bytes)} in ${count(level0.views + runs.views, 'table')}`;
  const inLog = log === undefined ? '' : `, ${size(log.bytes)} in the log`;
  const waste =
    total.unneeded === undefined || total.unneeded.objects === 0 ? '' : `, ${size(total.unneeded.bytes)} unneeded`;
  return `${tables}${inLog}${waste}.`;
}

type Facts = [string, string | undefined][];

function aboutDatabase(report: StatsReport): Facts {
  const { manifestId, writtenAtMs, nowMs, headerVersion, initialized, databaseId, writer, compactor, seqs, parents } =
    report;
  const closed = writer.closed === true ? ', closed in order' : '';
  const durable = seqs.durable === undefined ? '' : `, ${number(seqs.durable)} durable in the log`;
  return [
    ['manifest', `${number(manifestId)}, the newest, of version ${headerVersion}`],
    ['written', writtenAtMs === undefined ? undefined : `${isoTime(writtenAtMs)} (${age(nowMs - writtenAtMs)} ago)`],
    ['database', databaseId],
    ['state', initialized ? undefined : 'a clone that is still being set up'],
    ['writer', `${ownerText(writer)}${closed}`],
    ['compactor', ownerText(compactor)],
    ['log', logText(report)],
    ['seqs', `up to ${number(seqs.inTables)} in tables${durable}`],
    [
      'snapshots',
      seqs.snapshots > 0n && seqs.snapshots < seqs.inTables ? `from seq ${number(seqs.snapshots)} on` : undefined,
    ],
    ['segments', report.trees > 1 ? `tables in ${count(report.trees, 'tree')}` : undefined],
    ['clone of', parents.length === 0 ? undefined : parents.map(visible).join(', ')],
  ];
}

function ownerText({ epoch, owner }: OwnerStats): string {
  if (epoch === 0n) return 'none yet';
  return `epoch ${number(epoch)}${owner === undefined ? '' : `, ${visible(owner)}`}`;
}

function logText({ log }: StatsReport): string {
  if (log === undefined) return 'in another store, not listed';
  const last = log.lastWalId === undefined ? 'no object' : `the last object is ${number(log.lastWalId)}`;
  return `replayed from object ${number(log.replayAfterWalId + 1n)} on; ${last}`;
}

function levelsTable({ log, level0, runs }: StatsReport, { paint }: View): string[] {
  const row = (name: string, parts: string, { bytes, rows, tombstones, uncounted, views }: TreeTotals) => [
    name,
    parts,
    size(bytes),
    uncounted === views && views > 0 ? '-' : `${uncounted > 0 ? '>' : ''}${number(rows)}`,
    uncounted === views && views > 0 ? '-' : `${number(tombstones)} (${percent(tombstones, rows)})`,
  ];
  const rows = [
    log === undefined ? ['log', '-', '-', '-', '-'] : ['log', count(log.objects, 'object'), size(log.bytes), '-', '-'],
    row('level 0', count(level0.views, 'table'), level0),
    row('sorted runs', `${count(runs.views, 'table')} in ${count(runs.runs, 'run')}`, runs),
  ];
  return table(paint, ['in use', '', '>bytes', '>rows', '>tombstones'], rows);
}

function aboutCost({ amplification: { space, stored }, gets }: StatsReport): Facts {
  const hasTables = gets.tables > 0;
  const ofGets = [
    `of one key ask at most ${count(gets.tables, 'table')}: ${count(gets.cold, 'request')} with nothing in memory`,
    `${count(gets.warm, 'request')} with indexes and filters in memory`,
  ];
  const ofSpace = [
    space === undefined ? [] : `tables are about ${space.toFixed(2)} times what a full compaction would leave`,
    stored === undefined ? [] : `the store holds ${stored.toFixed(2)} times what is needed`,
  ].flat();
  return [...under('space', ofSpace), ...under('gets', hasTables ? ofGets : [])];
}

/** Several lines under one name. */
function under(name: string, texts: readonly string[]): Facts {
  return texts.map((text, i) => [i === 0 ? name : '', text]);
}

function checkpointsText(checkpoints: readonly CheckpointStats[], nowMs: number, { paint }: View): string[] {
  const rows = checkpoints
    .slice(0, MOST_CHECKPOINTS)
    .map((c) => [visible(c.name ?? c.id), number(c.manifestId), age(nowMs - c.createdAtMs), expiryOf(c, nowMs)]);
  const more = checkpoints.length - MOST_CHECKPOINTS;
  return [
    ...table(paint, ['checkpoint', '>manifest', '>age', 'until (UTC)'], rows),
    ...(more > 0 ? [`and ${number(more)} more.`] : []),
  ];
}

function expiryOf({ expiresAtMs }: CheckpointStats, nowMs: number): string {
  if (expiresAtMs === undefined) return 'without end';
  return `${dateText(expiresAtMs)}${expiresAtMs < nowMs ? ', expired' : ''}`;
}

/** From so many columns on all of the table has room. */
const COLUMNS_FOR_ALL = 90;

function directoriesTable({ directories, total }: StatsReport, { paint, columns }: View): string[] {
  const hasForeign = total.foreign.objects > 0;
  const hasYoung = (total.young?.objects ?? 0) > 0;
  const isWide = columns >= COLUMNS_FOR_ALL || !(hasForeign || hasYoung);
  const objects = (tally: Tally | undefined) => (tally === undefined ? '?' : shortCount(tally.objects));
  const bytes = (tally: Tally | undefined) => (tally === undefined ? '?' : size(tally.bytes));
  const row = (name: string, { stored, needed, unneeded, young, foreign }: Omit<DirectoryStats, 'directory'>) => [
    name,
    objects(stored),
    bytes(stored),
    ...(isWide ? [objects(needed)] : []),
    bytes(needed),
    objects(unneeded),
    bytes(unneeded),
    ...(hasYoung ? [bytes(young)] : []),
    ...(hasForeign ? [shortCount(foreign.objects)] : []),
  ];
  const heads = [
    'stored in',
    '>objects',
    '>bytes',
    ...(isWide ? ['>needed', '>bytes'] : ['>needed']),
    '>unneeded',
    '>bytes',
    ...(hasYoung ? ['>young'] : []),
    ...(hasForeign ? ['>foreign'] : []),
  ];
  return table(paint, heads, [...directories.map((d) => row(d.directory, d)), row('together', total)]);
}
