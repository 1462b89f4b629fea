/**
 * The shape of a database as a report: its trees, with level 0 and the sorted runs of each. Pure, from a manifest and from what the ends
 * of its tables say.
 *
 * Invariants:
 * 1. Every view of the manifest is in the report once, in the order in which reads ask it.
 * 2. Sums count what views show: of a cut view the part of its table's bytes and rows that its range is estimated to have.
 */

import { assertThat } from '../common/assert.ts';
import { compareBytes, EMPTY_BYTES } from '../common/bytes.ts';
import type { Finding } from '../common/finding.ts';
import type { KeyRange } from '../common/key-range.ts';
import type { SeqRange } from '../common/seq-range.ts';
import { type Ulid, ulidTimeMs } from '../common/ulid.ts';
import { type Bound, type Manifest, type TableView, treesOf, viewsOf, viewsOfTree } from '../format/manifest-types.ts';
import { tablePath } from '../format/object-names.ts';
import type { LineageRecord } from '../format/seal-records.ts';
import type { TableStats } from '../format/stats-block.ts';
import { countedRows } from '../format/stats-block.ts';
import type { Codec } from '../format/table-info.ts';
import { sectionsEnd } from '../format/table-layout.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import { compareStarts, endsBefore, shownRange } from '../lsm/rows/shown-range.ts';
import { tableBytes, visibleBytes } from '../lsm/tree/visible-bytes.ts';

/**
 * What a table is, as far as its end was read. `damaged`: see the findings. `missing`: it is not in the store. `unknown`: in a form or at a
 * place that this program cannot read. `unread`: nobody asked.
 */
export type TableState = 'ok' | 'damaged' | 'missing' | 'unknown' | 'unread';

/** Rows of a table, as its statistics count them. */
export interface TreeRows {
  /** Values. */
  puts: number;
  /** Tombstones. */
  deletes: number;
  /** Merge operands. */
  merges: number;
  /** Bytes of all keys, each row counted. */
  keyBytes: number;
  /** Bytes of all values and operands. */
  valueBytes: number;
}

/** A table as a tree shows it. */
export interface TreeTable {
  /** Its ULID. */
  id: string;
  /** Id of the view, where that is another one. */
  viewId?: string;
  /** Below the root of the database, or with `parent` of the store. */
  path: string;
  /** Path of the database that owns it, if this one is a clone and reads it there. */
  parent?: string;
  /** The time in its id, ms since the epoch: when it was made, by the clock of the process that made it. */
  createdAtMs: number;
  /** Bytes of the object; where its end was not read, without what is after its last section: seal, info block and footer. */
  bytes: number;
  /** Bytes of the part that is shown: all of `bytes`, or of a view that is cut an estimate. */
  shownBytes: number;
  /** Keys that it shows are within this range; absent in a table without rows. */
  keys?: KeyRange;
  /** Whether the view shows only a part of the table. */
  cut: boolean;
  /** How its blocks are compressed. */
  codec: Codec;
  /** Rows of the whole table; absent where they were not read, and in tables from before SlateDB 0.12, which have no counts. */
  rows?: TreeRows;
  /** Sequence numbers of its rows, as its seal has them; absent without a seal. */
  seqs?: SeqRange;
  /** `none`: SlateDB writes tables without. `unread`: its end was not read, or cannot be. */
  seal: 'ok' | 'bad' | 'none' | 'unread';
  /** Whether it is there and its end is intact; its blocks were not read. */
  state: TableState;
}

/** What is known of a table from its end. */
export interface TableEnd {
  state: TableState;
  /** Of the object; undefined: it was not read, or is not there. */
  bytes: number | undefined;
  seal: TreeTable['seal'];
  stats: Omit<TableStats, 'blocks'> | undefined;
  lineage: LineageRecord | undefined;
}

export const UNREAD_END: TableEnd = {
  state: 'unread',
  bytes: undefined,
  seal: 'unread',
  stats: undefined,
  lineage: undefined,
};

/** Sums over tables. */
export interface TreeTotals {
  /** Tables; one that several views show counts once. */
  tables: number;
  /** Views. */
  views: number;
  /** Bytes that are shown. */
  bytes: number;
  /** Rows that are counted, tombstones and operands among them. */
  rows: number;
  /** Tombstones among them. */
  tombstones: number;
  /** Views of tables whose rows are not known. */
  uncounted: number;
  /** Views of tables with an intact seal. */
  sealed: number;
  /** Views of tables that are damaged, missing, or cannot be read. */
  faulty: number;
  /** When the oldest of them was made, ms since the epoch; absent without tables. */
  oldestMs?: number;
  /** When the newest of them was made, ms since the epoch; absent without tables. */
  newestMs?: number;
  /** From the least to the greatest key; `lte` is absent where one of the tables does not say its last key. Absent without rows. */
  keys?: KeyRange;
}

/** Level 0, or a sorted run. */
export interface TreeLevel {
  /** Of its tables. */
  totals: TreeTotals;
  /** Of level 0 newest first, of a run by key. */
  tables: TreeTable[];
}

/** A sorted run: tables whose keys do not overlap. */
export interface TreeRun extends TreeLevel {
  /** A name, not an order. */
  id: bigint;
}

/** One LSM tree. */
export interface TreeShape {
  /** Of the tree of a segment: the prefix of all its keys. Absent: the root tree. */
  prefix?: Uint8Array;
  /** Of all its tables. */
  totals: TreeTotals;
  /** Level 0: newest first. */
  l0: TreeLevel;
  /** Newest data first. */
  runs: TreeRun[];
  /** How many tables a read of one key asks at most: those of level 0 and of runs that may all have the same key. */
  tablesPerGet: number;
}

/** What a database looks like. */
export interface TreeReport {
  schemaVersion: 1;
  /** The manifest that it shows, the newest. */
  manifestId: bigint;
  /** When that was written, by the clock of its author, ms since the epoch; absent where it has no seal. */
  writtenAtMs?: number;
  /** The time by which ages count, ms since the epoch: the clock of this process. */
  nowMs: number;
  /** Of all trees. */
  totals: TreeTotals;
  /** The root tree, then those of segments by their prefixes. A root tree without tables is left out where there are segments. */
  trees: TreeShape[];
  /** What is wrong with tables, and what cannot be read. */
  findings: Finding[];
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}

/** The trees of a manifest and their sums. `ends`: by table; of the others nothing was read. */
export function treeShapes(
  manifest: Manifest,
  ends: ReadonlyMap<Ulid, TableEnd>,
): Pick<TreeReport, 'trees' | 'totals'> {
  const owners = ownersOf(manifest);
  const level = (views: readonly TableView[]): TreeLevel => {
    const tables = views.map((view) => treeTable(view, owners.get(view.table.id), ends.get(view.table.id)));
    return { totals: treeTotals(tables), tables };
  };
  const shapes = treesOf(manifest).map((tree): TreeShape => {
    const l0 = level(tree.l0);
    const runs = tree.runs.map((run) => ({ id: BigInt(run.id), ...level(run.views) }));
    const tables = [...l0.tables, ...runs.flatMap((run) => run.tables)];
    return { totals: treeTotals(tables), l0, runs, tablesPerGet: tablesPerGet(viewsOfTree(tree)) };
  });
  const segments = manifest.segments ?? [];
  segments.forEach(({ prefix }, i) => {
    shapes[i + 1] = { prefix, ...shapes[i + 1] };
  });
  const trees = segments.length > 0 && shapes[0].totals.views === 0 ? shapes.slice(1) : shapes;
  const all = trees.flatMap(({ l0, runs }) => [...l0.tables, ...runs.flatMap((run) => run.tables)]);
  assertThat(all.length === viewsOf(manifest).length, 'every view is in the report (tree-report 1)');
  return { trees, totals: treeTotals(all) };
}

function treeTable(view: TableView, parent: string | undefined, end: TableEnd = UNREAD_END): TreeTable {
  const { id, info } = view.table;
  const bytes = end.bytes ?? sectionsEnd(info);
  const shownBytes = Math.round(bytes * shareOf(view));
  const keys = keysOf(view);
  const { stats, lineage } = end;
  const path = tablePath(id);
  return {
    id,
    ...(view.viewId !== id && { viewId: view.viewId }),
    path: parent === undefined || parent === '' ? path : `${parent}/${path}`,
    ...(parent !== undefined && { parent }),
    createdAtMs: ulidTimeMs(id),
    bytes,
    shownBytes,
    ...(keys !== undefined && { keys }),
    cut: shownBytes !== bytes,
    codec: info.codec,
    ...(stats !== undefined && {
      rows: {
        puts: stats.puts,
        deletes: stats.deletes,
        merges: stats.merges,
        keyBytes: stats.rawKeyBytes,
        valueBytes: stats.rawValueBytes,
      },
    }),
    ...(lineage !== undefined && { seqs: { min: BigInt(lineage.minSeq), max: BigInt(lineage.maxSeq) } }),
    seal: end.seal,
    state: end.state,
  };
}

/** The part of the table that the view shows, from 0 to 1. */
function shareOf(view: TableView): number {
  const whole = tableBytes(view.table.info);
  return whole === 0 ? 1 : visibleBytes(view) / whole;
}

function keysOf(view: TableView): KeyRange | undefined {
  if (view.table.info.firstEntry === undefined) return undefined;
  const { start, end } = shownRange(view);
  const gte = start.kind === 'unbounded' ? EMPTY_BYTES : start.key;
  return { gte, lte: end.kind === 'unbounded' ? undefined : end.key };
}

/** Sums over tables as a tree shows them. */
export function treeTotals(tables: readonly TreeTable[]): TreeTotals {
  const sum = (of: (table: TreeTable) => number) => tables.reduce((n, table) => n + of(table), 0);
  const share = ({ bytes, shownBytes }: TreeTable) => (bytes === 0 ? 1 : shownBytes / bytes);
  const times = tables.map((table) => table.createdAtMs);
  const keys = tables.flatMap((table) => table.keys ?? []);
  return {
    tables: new Set(tables.map((table) => table.id)).size,
    views: tables.length,
    bytes: sum((table) => table.shownBytes),
    rows: Math.round(sum((table) => (table.rows ? countedRows(table.rows) : 0) * share(table))),
    tombstones: Math.round(sum((table) => (table.rows?.deletes ?? 0) * share(table))),
    uncounted: tables.filter((table) => table.rows === undefined).length,
    sealed: tables.filter((table) => table.seal === 'ok').length,
    faulty: tables.filter(({ state }) => state !== 'ok' && state !== 'unread').length,
    ...(times.length > 0 && {
      oldestMs: times.reduce((a, b) => Math.min(a, b)),
      newestMs: times.reduce((a, b) => Math.max(a, b)),
    }),
    ...(keys.length > 0 && { keys: keys.reduce(joined) }),
  };
}

function joined(a: KeyRange, b: KeyRange): KeyRange {
  const gte = compareBytes(a.gte, b.gte) <= 0 ? a.gte : b.gte;
  if (a.lte === undefined || b.lte === undefined) return { gte, lte: undefined };
  return { gte, lte: compareBytes(a.lte, b.lte) >= 0 ? a.lte : b.lte };
}

/** The most of these views that may all have one key: those of one run seldom do, those of level 0 and of different runs often. */
export function tablesPerGet(views: readonly TableView[]): number {
  const ranges = views.filter((view) => view.table.info.firstEntry !== undefined).map(shownRange);
  const starts = ranges.map(({ start }) => start).sort(compareStarts);
  const ends = ranges.map(({ end }) => end).sort(compareEnds);
  let most = 0;
  let ended = 0;
  starts.forEach((start, i) => {
    while (ended < i && endsBefore(ends[ended], start)) ended++;
    most = Math.max(most, i + 1 - ended);
  });
  return most;
}

/** Negative: `a` ends at a lesser key than `b`. */
function compareEnds(a: Bound, b: Bound): number {
  if (a.kind === 'unbounded' || b.kind === 'unbounded')
    return Number(a.kind === 'unbounded') - Number(b.kind === 'unbounded');
  const c = compareBytes(a.key, b.key);
  return c !== 0 ? c : Number(b.kind === 'excluded') - Number(a.kind === 'excluded');
}
