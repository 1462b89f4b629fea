/**
 * The manifest as a value, one shape for both stored versions. In version 1 the view id of a table is the table id.
 *
 * ```
 * Manifest = Tree + what concerns the whole database
 *   l0        newest first             view, view, view ...            a view: a table, perhaps cut to a range of keys
 *   runs      newest data first        run: views by key, ascending    |  a run: views that do not overlap
 *   segments  with a key prefix each   Tree, Tree ...                  then the root tree is empty
 * a key is looked for in l0 in order, then in runs in order: the first visible version decides
 * ```
 *
 * Each field has one role that writes it. A role that finds a newer manifest takes the others' fields from it and keeps its own:
 *
 * ```
 * writer      l0 (adds), writerEpoch, replayAfterWalId, walIdLastSeen, lastL0Seq, lastL0ClockTick, recentSnapshotMinSeq, tracker
 * compactor   runs, lastCompacted, compactorEpoch; l0 up to lastCompacted is cut
 * anyone      checkpoints
 * creator     initialized, walStoreUri, segmentExtractorName; externalDbs, from which writers drop what they no longer use
 * ```
 *
 * Ids, epochs and sequence numbers are safe integers; a stored one beyond 2^53 - 1 is refused by the codec. The clock tick
 * stays a bigint because it starts at -2^63.
 */
import type { Ulid } from '../common/ulid.ts';
import type { FormatVersion, TableInfo } from './table-info.ts';

/** One end of a range of keys; an included or excluded key may be empty. */
export type Bound = { kind: 'unbounded' } | { kind: 'included' | 'excluded'; key: Uint8Array };

/** Never empty: the codec refuses a range without keys, because SlateDB crashes on it. */
export interface BytesRange {
  start: Bound;
  end: Bound;
}

/** A table as a manifest lists it: with a copy of its info, so that no footer is read before the first block. */
export interface TableRef {
  /** Also its object's name. The time in it counts for collectors: it is at or after the start of the flush that made the table. */
  id: Ulid;
  info: TableInfo;
  /** Of its blocks. Not stored means 1. */
  formatVersion: FormatVersion;
}

export interface TableView {
  /** Not always unique: SlateDB before 0.18 lists the views of one table in a union under one id. Then their ranges are disjoint. */
  viewId: Ulid;
  table: TableRef;
  /** Keys outside of it count as absent. */
  visibleRange: BytesRange | undefined;
}

export interface SortedRun {
  /** A name, not an order: releases to come may give a newer run a lower id. */
  id: number;
  /**
   * Ascending by the keys that they show; the versions of one key may continue in the next table. One table may have several
   * views with disjoint ranges, and there may be none at all: both while SlateDB 0.18 compacts in steps.
   */
  views: TableView[];
}

/** One LSM tree: the root tree or a segment's. */
export interface Tree {
  /** Newest first. */
  l0: TableView[];
  /** Newest first: the position is the order. No two have one id. */
  runs: SortedRun[];
  /** View id (version 1: table id) of the newest L0 table that compaction has consumed. */
  lastCompacted: Ulid | undefined;
}

/** The tree of all keys with a prefix. Prefixes ascend, and none is a prefix of another. */
export interface Segment extends Tree {
  prefix: Uint8Array;
}

/** A UUID as 36 lower-case characters. */
export type Uuid = string;

/** Pins a manifest, and with it all that this manifest names, for a reader or a clone. */
export interface Checkpoint {
  id: Uuid;
  /** What is read at it: that manifest, and the log after its replay point up to its `walIdLastSeen`, which is exact then. */
  manifestId: number;
  /** Seconds since the epoch; 0: never. */
  expireTimeS: number;
  createTimeS: number;
  /** Never written by SlateDB; kept when it was read. */
  writerEpoch: number | undefined;
  name: string | undefined;
}

/** Tables of a clone that are stored below the root of another database. */
export interface ExternalDb {
  /** Root of that database in the same store. */
  path: string;
  /** The checkpoints in that database which keep the tables: of the cloning, and the lasting one once it has been made. */
  sourceCheckpointId: Uuid;
  finalCheckpointId: Uuid | undefined;
  /** Each table once, however many views it has. A table that is in no such list is below the own root. */
  tableIds: Ulid[];
}

/** What a manifest says: the tables of the database, how far they hold its rows, who owns it, and what else needs them. */
export interface Manifest extends Tree {
  /** Version of the stored form this was read from, or is to be written in. */
  headerVersion: 1 | 2;
  /** Of a clone or a union: the databases whose tables it reads. */
  externalDbs: ExternalDb[];
  /** False only while a clone is being made; such a place is not yet a database. */
  initialized: boolean;
  /** Number of openings by writers. A writer that reads a greater one than its own is fenced. */
  writerEpoch: number;
  /** The same of compactors. */
  compactorEpoch: number;
  /** Rows of the log up to this object are all in tables; replay begins with the next id. */
  replayAfterWalId: number;
  /** The greatest id that the author knew. More may exist: it is a hint everywhere but at a checkpoint. */
  walIdLastSeen: number;
  /** Greatest creation time, in ms, of the rows in tables; `NO_TICK` without any. No later row may have a smaller one. */
  lastL0ClockTick: bigint;
  /** Manifests that are kept, with all that they need, until they expire or are deleted. */
  checkpoints: Checkpoint[];
  /** Greatest sequence number of the rows in tables; replay skips rows up to it. */
  lastL0Seq: number;
  /** The lowest sequence number that a snapshot of the writer may still read: of each key, the version below it is kept. */
  recentSnapshotMinSeq: number;
  /** Version 1 only; the empty string marks a separate WAL store. */
  walStoreUri: string | undefined;
  /** As stored, see sequence-tracker.ts: one that cannot be decoded is carried along. */
  sequenceTracker: Uint8Array | undefined;
  /** Version 2: present (often empty) or absent. */
  segments: Segment[] | undefined;
  /** Which function gives the prefix of a key; SlateDB refuses to open with another one. */
  segmentExtractorName: string | undefined;
  /** Tables in `ssts` of version 2 that no view names; kept. */
  unviewedTables: TableRef[];
  /** Whether the stored form had fields this program does not know; such a manifest must not be rewritten. */
  hasUnknownFields: boolean;
}

/** The trees of a manifest: the root tree, then those of its segments. */
export function treesOf(manifest: Manifest): Tree[] {
  return [manifest, ...(manifest.segments ?? [])];
}

/** All views of one tree, in the order in which they are read. */
export function viewsOfTree(tree: Tree): TableView[] {
  return [...tree.l0, ...tree.runs.flatMap((run) => run.views)];
}

/** What is read one after the other: a table of level 0, or a run. */
export interface Source {
  level: 'l0' | 'run';
  views: readonly TableView[];
}

/** The sources of one tree, newest first. */
export function sourcesOf(tree: Tree): Source[] {
  return [
    ...tree.l0.map((view): Source => ({ level: 'l0', views: [view] })),
    ...tree.runs.map(({ views }): Source => ({ level: 'run', views })),
  ];
}

/** Level 0 of a manifest, tree by tree. */
export function l0Of(manifest: Manifest): TableView[] {
  return treesOf(manifest).flatMap((tree) => tree.l0);
}

/** The runs of a manifest, tree by tree. */
export function runsOf(manifest: Manifest): SortedRun[] {
  return treesOf(manifest).flatMap((tree) => tree.runs);
}

/** All views of a manifest, tree by tree, in the order in which they are read. */
export function viewsOf(manifest: Manifest): TableView[] {
  return treesOf(manifest).flatMap(viewsOfTree);
}

/** The tables of these views; one that several views name as often. */
export function tablesOf(manifest: Manifest): TableRef[] {
  return viewsOf(manifest).map((view) => view.table);
}

/** The tick of a database without rows: -2^63. */
export const NO_TICK = -(2n ** 63n);
