/**
 * The manifest as a value, one shape for both stored versions. In version 1 the view id of a table is the table id.
 *
 * Ids, epochs and sequence numbers are safe integers; a stored one beyond 2^53 - 1 is refused by the codec. The clock tick
 * stays a bigint because it starts at -2^63.
 */
import type { Ulid } from '../common/ulid.ts';
import type { FormatVersion, TableInfo } from './table-info.ts';

export type Bound = { kind: 'unbounded' } | { kind: 'included' | 'excluded'; key: Uint8Array };

export interface BytesRange {
  start: Bound;
  end: Bound;
}

export interface TableRef {
  id: Ulid;
  info: TableInfo;
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

export interface Segment extends Tree {
  prefix: Uint8Array;
}

/** A UUID as 36 lower-case characters. */
export type Uuid = string;

export interface Checkpoint {
  id: Uuid;
  manifestId: number;
  /** 0: never. */
  expireTimeS: number;
  createTimeS: number;
  /** Never written by SlateDB; kept when it was read. */
  writerEpoch: number | undefined;
  name: string | undefined;
}

export interface ExternalDb {
  path: string;
  sourceCheckpointId: Uuid;
  finalCheckpointId: Uuid | undefined;
  tableIds: Ulid[];
}

export interface Manifest extends Tree {
  /** Version of the stored form this was read from, or is to be written in. */
  headerVersion: 1 | 2;
  externalDbs: ExternalDb[];
  initialized: boolean;
  writerEpoch: number;
  compactorEpoch: number;
  replayAfterWalId: number;
  walIdLastSeen: number;
  lastL0ClockTick: bigint;
  checkpoints: Checkpoint[];
  lastL0Seq: number;
  recentSnapshotMinSeq: number;
  /** Version 1 only; the empty string marks a separate WAL store. */
  walStoreUri: string | undefined;
  sequenceTracker: Uint8Array | undefined;
  /** Version 2: present (often empty) or absent. */
  segments: Segment[] | undefined;
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
