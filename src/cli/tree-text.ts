/**
 * The shape of a database drawn for a terminal: a line for each table of level 0 and each sorted run, with a bar for its size and its keys
 * over a ruler. Where the line is too short for both, the keys follow by themselves.
 *
 * Always holds: words and characters say everything that colour says.
 */
import type { TreeLevel, TreeReport, TreeShape, TreeTable, TreeTotals } from '../admin.ts';
import { isoTime } from '../common/clock.ts';
import { treeTotals } from '../tools/tree-report.ts';
import { findingsText } from './finding-text.ts';
import { type KeyRuler, keyRuler } from './key-ruler.ts';
import { shortId } from './maps.ts';
import { PLAIN, widthOf } from './paint.ts';
import {
  age,
  count,
  duration,
  facts,
  keyRangeText,
  keyText,
  number,
  percent,
  seqRangeText,
  shortCount,
  size,
  table,
  type View,
  visible,
  wrap,
} from './words.ts';

/** Tables of level 0, and runs, that get a line each. */
const MOST_LINES = 12;
/** More trees are only summed up. */
const MOST_TREES = 4;
const WIDEST_BAR = 24;
const LEAST_BAR = 6;
/** A ruler that is narrower than this gets lines of its own. */
const LEAST_RULER = 26;
const WIDEST_RULER = 96;
const GAP = 2;

/** One line of the drawing. */
interface Row {
  level: string;
  name: string;
  totals: TreeTotals;
  tables: readonly TreeTable[];
}

/** What all trees are drawn by. */
interface Scale {
  nowMs: number;
  /** Bytes of the largest row, which fills a bar. */
  most: number;
  /** Whether the ends of tables were read. */
  isRead: boolean;
}

/** @param lists name every table */
export function treeText(report: TreeReport, view: View, lists: boolean): string[] {
  const { paint, columns } = view;
  const { totals, trees } = report;
  const isSummed = trees.length > MOST_TREES && !lists;
  const drawn = isSummed ? [] : trees.map((tree) => ({ tree, rows: rowsOf(tree) }));
  const scale: Scale = {
    nowMs: report.nowMs,
    most: drawn.flatMap(({ rows }) => rows).reduce((most, row) => Math.max(most, row.totals.bytes), 1),
    isRead: !isUnread(report),
  };
  return [
    ...wrap(headline(report), columns).map((line) => paint('bold', line)),
    '',
    ...facts(paint, aboutTree(report)),
    ...(isSummed ? segmentsText(report, view) : []),
    ...drawn.flatMap(({ tree, rows }) => shapeText(tree, rows, scale, view)),
    ...(totals.views === 0 ? [] : legend(report, view, isSummed)),
    ...(lists ? trees.flatMap((tree) => tablesText(tree, report, view)) : []),
    ...findingsText(report.findings, view),
  ];
}

function headline({ totals, trees }: TreeReport): string {
  if (totals.views === 0) return 'No tables: all rows, if there are any, are in the log.';
  const l0 = trees.reduce((n, tree) => n + tree.l0.tables.length, 0);
  const runs = trees.flatMap((tree) => tree.runs);
  const inRuns = treeTotals(runs.flatMap((run) => run.tables));
  const where = [
    `${count(l0, 'table')} in level 0`,
    runs.length === 0 ? 'no sorted runs' : `${tablesWords(inRuns)} in ${count(runs.length, 'sorted run')}`,
  ].join(', ');
  const of = trees.some((tree) => tree.prefix !== undefined) ? ` of ${count(trees.length, 'tree')}` : '';
  const isEmpty = totals.uncounted === totals.views;
  const rows = isEmpty ? '' : `, ${totals.uncounted > 0 ? 'at least ' : ''}${count(totals.rows, 'row')}`;
  return `${where}${of}: ${size(totals.bytes)}${rows}.`;
}

/** Several views may show parts of one table. */
function tablesWords({ tables, views }: TreeTotals): string {
  return tables === views ? count(tables, 'table') : `${count(views, 'view')} of ${count(tables, 'table')}`;
}

function aboutTree(report: TreeReport): [string, string | undefined][] {
  const { totals, manifestId, writtenAtMs, nowMs, trees } = report;
  const written =
    writtenAtMs === undefined ? '' : `, written ${isoTime(writtenAtMs)} (${age(nowMs - writtenAtMs)} ago)`;
  const most = trees.reduce((n, tree) => Math.max(n, tree.tablesPerGet), 0);
  const isRead = totals.views > 0 && !isUnread(report);
  const seals = totals.sealed === 0 ? 'none' : `${number(totals.sealed)} of ${count(totals.views, 'table')} have one`;
  return [
    ['manifest', `${number(manifestId)}, the newest${written}`],
    ['gets', totals.views === 0 ? undefined : `of one key ask at most ${count(most, 'table')}`],
    ['seals', isRead ? seals : undefined],
    ['tables', isUnread(report) ? 'not read: sizes are a little too small, rows and damage are not known' : undefined],
    ['cost', `${count(report.requests, 'request')}, ${duration(report.tookMs)}`],
  ];
}

/** Whether no end of a table was read. */
function isUnread({ trees }: Pick<TreeReport, 'trees'>): boolean {
  const tables = trees.flatMap(tablesOfShape);
  return tables.length > 0 && tables.every(({ state }) => state === 'unread');
}

function tablesOfShape({ l0, runs }: TreeShape): TreeTable[] {
  return [...l0.tables, ...runs.flatMap((run) => run.tables)];
}

// ---- one tree

function shapeText(tree: TreeShape, rows: readonly Row[], scale: Scale, view: View): string[] {
  const head =
    tree.prefix === undefined ? [] : [view.paint('bold', `segment ${keyText(tree.prefix, view.redactKeys)}`)];
  if (rows.length === 0) return tree.prefix === undefined ? [] : ['', ...head, 'No tables.'];
  const natural = widthOfTable(rows, scale);
  const tables = tablesOfShape(tree);
  const room = view.columns - natural - 2 * GAP;
  const bar = Math.min(WIDEST_BAR, room - LEAST_RULER >= LEAST_BAR ? LEAST_BAR + Math.floor(room / 8) : room + GAP);
  const rulerWidth = Math.min(WIDEST_RULER, room - bar);
  const inline = rulerWidth >= LEAST_RULER ? keyRuler(tables, rulerWidth, view) : undefined;
  const lines = drawTable(rows, scale, bar >= LEAST_BAR ? bar : 0, view, inline);
  if (inline !== undefined) return ['', ...head, ...lines];
  return ['', ...head, ...lines, ...separateRuler(rows, tables, view)];
}

function separateRuler(rows: readonly Row[], tables: readonly TreeTable[], view: View): string[] {
  const levels = Math.max(...rows.map((row) => row.level.length)) + GAP;
  const labels = rows.map((row) => row.level.padEnd(levels) + row.name);
  const margin = Math.max(...labels.map((label) => label.length)) + GAP;
  const ruler = keyRuler(tables, Math.max(LEAST_BAR, Math.min(WIDEST_RULER, view.columns - margin)), view);
  if (ruler === undefined) return [];
  const { paint } = view;
  return [
    '',
    paint('dim', `${'keys'.padEnd(margin)}${ruler.head}`),
    ...rows.map((row, i) => `${labels[i].padEnd(margin)}${ruler.line(row.tables)}`.trimEnd()),
  ];
}

function rowsOf({ l0, runs }: TreeShape): Row[] {
  const rows: Row[] = folded(l0.tables, 'table').map(([name, tables]) => ({ level: 'L0', name, ...summed(tables) }));
  const shown = runs.length <= MOST_LINES ? runs : runs.slice(0, MOST_LINES - 1);
  for (const { id, tables } of shown) rows.push({ level: `run ${id}`, name: nameOfRun(tables), ...summed(tables) });
  const rest = runs.slice(shown.length);
  if (rest.length > 0)
    rows.push({ level: 'runs', name: `${number(rest.length)} older`, ...summed(rest.flatMap((run) => run.tables)) });
  return rows;
}

function summed(tables: readonly TreeTable[]): Pick<Row, 'totals' | 'tables'> {
  return { tables, totals: treeTotals(tables) };
}

function nameOfRun(tables: readonly TreeTable[]): string {
  if (tables.length === 0) return 'empty';
  if (tables.length === 1) return shortId(tables[0].id);
  return treeTotals(tables).tables === tables.length ? count(tables.length, 'table') : count(tables.length, 'view');
}

/** Each of the newest tables of level 0, and the others together. */
function folded(tables: readonly TreeTable[], noun: string): [string, readonly TreeTable[]][] {
  const most = tables.length <= MOST_LINES ? tables.length : MOST_LINES - 1;
  const named = tables.slice(0, most).map((one): [string, TreeTable[]] => [shortId(one.id), [one]]);
  const rest = tables.slice(most);
  return rest.length === 0 ? named : [...named, [`${number(rest.length)} older ${noun}s`, rest]];
}

// ---- the table of a tree

const HEADS = ['level', 'tables', '', '>size', '>rows', '>deletes', '>age', 'seal'];

/** Without bars. */
function widthOfTable(rows: readonly Row[], scale: Scale): number {
  return Math.max(...drawTable(rows, scale, 0, { paint: PLAIN }).map(widthOf));
}

function drawTable(
  rows: readonly Row[],
  { nowMs, most, isRead }: Scale,
  bar: number,
  { paint }: Pick<View, 'paint'>,
  ruler?: KeyRuler,
): string[] {
  const hasFaults = rows.some(({ totals }) => totals.faulty > 0);
  const keep = (cells: readonly string[]) =>
    cells.filter((_, i) => (i !== 2 || bar > 0) && (isRead || !ONLY_READ.includes(i)));
  const heads = [...keep(HEADS), ...(hasFaults ? ['state'] : []), ...(ruler === undefined ? [] : [ruler.head])];
  const lines = rows.map(({ level, name, totals, tables }) => [
    ...keep([
      level,
      name,
      paint('cyan', barOf(totals.bytes, most, bar)),
      size(totals.bytes),
      rowsCell(totals),
      totals.uncounted === totals.views ? '-' : percent(totals.tombstones, totals.rows),
      totals.newestMs === undefined ? '-' : age(nowMs - totals.newestMs),
      sealCell(tables),
    ]),
    ...(hasFaults ? [paint(totals.faulty > 0 ? 'red' : 'dim', stateCell(tables))] : []),
    ...(ruler === undefined ? [] : [ruler.line(tables)]),
  ]);
  return table(paint, heads, lines);
}

/** Columns of `HEADS` that say nothing where the ends of tables were not read. */
const ONLY_READ: readonly number[] = [4, 5, 7];

/** As long as the share of the largest: whatever is there is to be seen. */
function barOf(bytes: number, most: number, width: number): string {
  if (bytes === 0 || width === 0) return '';
  const length = (bytes / most) * width;
  return length < 0.5 ? '.' : '#'.repeat(Math.round(length));
}

function rowsCell({ rows, uncounted, views }: TreeTotals): string {
  if (uncounted === views) return views === 0 ? '0' : '-';
  return `${uncounted > 0 ? '>' : ''}${shortCount(rows)}`;
}

function sealCell(tables: readonly TreeTable[]): string {
  const of = (seal: TreeTable['seal']) => tables.filter((one) => one.seal === seal).length;
  if (of('bad') > 0) return 'bad';
  if (of('unread') === tables.length) return '-';
  if (of('ok') === tables.length) return 'yes';
  return of('ok') === 0 ? 'no' : `${of('ok')}/${tables.length}`;
}

const FAULTS = ['missing', 'damaged', 'unknown'] as const;

function stateCell(tables: readonly TreeTable[]): string {
  const parts = FAULTS.flatMap((state) => {
    const of = tables.filter((one) => one.state === state).length;
    return of === 0 ? [] : [tables.length === 1 ? state : `${of} ${state}`];
  });
  return parts.length === 0 ? 'ok' : parts.join(', ');
}

// ---- many trees, many tables

/** One line for each tree. */
function segmentsText({ trees }: TreeReport, view: View): string[] {
  const most = trees.reduce((n, tree) => Math.max(n, tree.totals.bytes), 1);
  const rows = trees.map((tree) => [
    tree.prefix === undefined ? 'no segment' : keyText(tree.prefix, view.redactKeys),
    view.paint('cyan', barOf(tree.totals.bytes, most, LEAST_BAR * 2)),
    size(tree.totals.bytes),
    rowsCell(tree.totals),
    number(tree.l0.tables.length),
    number(tree.runs.length),
    number(tree.totals.views),
    tree.totals.faulty === 0 ? '' : view.paint('red', `${number(tree.totals.faulty)} faulty`),
  ]);
  return ['', ...table(view.paint, ['segment', '', '>size', '>rows', '>L0', '>runs', '>tables', ''], rows)];
}

function tablesText(tree: TreeShape, report: TreeReport, view: View): string[] {
  const of = tree.prefix === undefined ? '' : `, segment ${keyText(tree.prefix, view.redactKeys)}`;
  const levels: [string, TreeLevel][] = [
    [`Level 0${of}`, tree.l0],
    ...tree.runs.map((run): [string, TreeLevel] => [`Run ${run.id}${of}`, run]),
  ];
  return levels.flatMap(([name, { tables }]) =>
    tables.length === 0 ? [] : ['', view.paint('bold', name), ...tables.flatMap((one) => tableText(one, report, view))],
  );
}

function tableText(one: TreeTable, { nowMs }: TreeReport, view: View): string[] {
  const { rows, keys, seqs, parent, viewId } = one;
  const counts =
    rows === undefined
      ? undefined
      : `${count(rows.puts + rows.deletes + rows.merges, 'row')}${one.cut ? ' in all' : ''}, ${count(rows.deletes, 'tombstone')}`;
  const sizeText = one.cut ? `about ${size(one.shownBytes)} of ${size(one.bytes)}` : size(one.bytes);
  const parts = [
    sizeText,
    counts,
    `${age(nowMs - one.createdAtMs)} old`,
    SEALS[one.seal],
    one.state === 'ok' || one.state === 'unread' ? undefined : one.state,
  ];
  const more = [
    keys === undefined ? undefined : keyRangeText(keys, view.redactKeys),
    seqs === undefined ? undefined : seqRangeText(seqs),
    viewId === undefined ? undefined : `view ${viewId}`,
    parent === undefined ? undefined : `of the database ${visible(parent)}`,
  ];
  const joined = (texts: readonly (string | undefined)[]) => texts.filter((text) => text !== undefined).join(', ');
  return [
    `  ${view.paint('cyan', one.id)}`,
    ...[joined(parts), joined(more)].flatMap((text) =>
      text === '' ? [] : wrap(text, view.columns - INDENT).map((line) => ' '.repeat(INDENT) + line),
    ),
  ];
}

const INDENT = 6;

const SEALS: Readonly<Record<TreeTable['seal'], string | undefined>> = {
  ok: 'sealed',
  bad: 'damaged seal',
  none: 'no seal',
  unread: undefined,
};

// ---- what the characters mean

function legend({ totals }: TreeReport, { paint, columns }: View, isSummed: boolean): string[] {
  const texts = isSummed
    ? ['Each segment is a tree. --tables draws them all and names their tables.']
    : [
        'L0: newest first; runs: newest data first, which is the order of reads. # size, linear. [--] keys of a table, | of a narrow one.',
        ...(totals.faulty > 0 ? ['X damaged or missing, ? cannot be read.'] : []),
      ];
  return ['', ...wrap(texts.join(' '), columns).map((line) => paint('dim', line))];
}
