/**
 * What a compaction job is, and what came of it, as plain data: both can cross a thread by structured cloning.
 *
 * ```
 * plan     made from one manifest, which names every source; nothing of it changes while the job runs
 *          sources, newest first  ->  merge  ->  tables of one run, in key order
 * result   the tables, and what became of every row: in = out + superseded + repeated + expired + folded + tombstones + filtered
 * ```
 *
 * 1. A plan says all that decides about rows. Code that has to be called (merge operator, filter) is given beside it.
 * 2. A result says all that the commit has to check again: whether a tombstone went (then the destination must still be the lowest
 *    run), and whether versions did (then no new loss may overlap the job).
 */
import { assertThat } from '../common/assert.ts';
import { compareBytes } from '../common/bytes.ts';
import { type KeyRange, lastKeyOf } from '../common/key-range.ts';
import type { Ulid } from '../common/ulid.ts';
import type { TableRef, TableView } from '../format/manifest-types.ts';
import type { Codec, FilterForm } from '../format/table-info.ts';

/** A table as the job reads it. */
export interface PlannedView {
  /** As the manifest lists it: rows outside of its visible range do not exist for the job. */
  view: TableView;
  /** Path of the parent that the table belongs to (`ownersOf`); undefined: this database. */
  owner: string | undefined;
}

/** What is read one table after the other: a table of level 0, or a whole run. */
export interface PlannedSource {
  level: 'l0' | 'run';
  /** Of a run: its id. */
  runId: number | undefined;
  /** Ascending by key; one of level 0, any number of a run, also none. */
  views: readonly PlannedView[];
}

/** The form in which tables are written, by the profile and the options. */
export interface OutputForm {
  /** Limit of a block before compression, bytes. */
  blockBytes: number;
  codec: Codec;
  filter: { form: FilterForm; bitsPerKey: number; minKeys: number };
  /** A table ends with the key with which its blocks have at least so many bytes. */
  maxSstBytes: number;
}

export interface CompactionPlan {
  /** No table that the job writes has a lower name. */
  jobId: Ulid;
  /** The manifest that the job was planned on: barrier and tick are its. */
  manifestId: number;
  /** Prefix of the segment whose tree it is; undefined: the root tree. */
  segment: Uint8Array | undefined;
  /** A consecutive stretch of the tree, newest first: of two versions of a key that of an earlier source is newer. */
  sources: readonly PlannedSource[];
  /** Id of the run that the job makes. */
  destination: number;
  /** The lowest sequence number that a snapshot may still ask for (`recentSnapshotMinSeq`). */
  barrier: number;
  /** What expires at or before it has expired (`lastL0ClockTick`), ms since the epoch; undefined: nothing has. */
  tickMs: number | undefined;
  /** No source of the tree is older than the destination. */
  isBottom: boolean;
  /** Keys of open losses: every version is kept as it is. Ascending, disjoint. */
  keptWhole: readonly KeyRange[];
  /** Keys of older sources that are damaged or lost: tombstones are kept also at the bottom. Ascending, disjoint. */
  keptTombstones: readonly KeyRange[];
  output: OutputForm;
}

/** What became of the rows that the views of a job show. Each row has one fate. */
export interface MergeCounts {
  rowsIn: number;
  rowsOut: number;
  /** Older than the version that the oldest snapshot sees (V6). */
  superseded: number;
  /** The same key and sequence number twice (V8). */
  repeated: number;
  /** Operands that had expired (V7). */
  expired: number;
  /** Went into a newer version of their key (V9). */
  folded: number;
  /** Tombstones that hid nothing any more, also those that values became which had expired (V10). */
  tombstones: number;
  /** By the filter, at the bottom; elsewhere it makes tombstones (V11). */
  filtered: number;
  /** Of the rows that are left: values that became tombstones, as they had expired or by the filter. */
  madeTombstones: number;
  /** Of the rows that are left: those that got another value from the filter. */
  replaced: number;
}

/** A table that a job has written. */
export interface JobOutput {
  table: TableRef;
  /** Of the whole object. */
  sizeBytes: number;
  rows: number;
  minSeq: number;
  maxSeq: number;
  /** Greatest creation time, ms since the epoch; `NO_TS`: no row has one. */
  maxCreateTs: number;
  firstKey: Uint8Array;
  lastKey: Uint8Array;
}

export interface JobResult {
  jobId: Ulid;
  /** In key order: the views of the run, from the first to the last. None, if no row was left. */
  outputs: readonly JobOutput[];
  counts: MergeCounts;
  /** Stored bytes of the data blocks that were read. */
  bytesIn: number;
  /** Stored bytes of the objects that were written. */
  bytesOut: number;
  /** A tombstone was dropped, or a value was at the bottom: an older version of its key would live again. */
  droppedTombstones: boolean;
  /** A version was dropped, folded, or is another one now: a loss that is recorded later can no longer be placed among them. */
  changedVersions: boolean;
}

export const NO_ROWS: Readonly<MergeCounts> = Object.freeze({
  rowsIn: 0,
  rowsOut: 0,
  superseded: 0,
  repeated: 0,
  expired: 0,
  folded: 0,
  tombstones: 0,
  filtered: 0,
  madeTombstones: 0,
  replaced: 0,
});

/** Rows that are not written. */
export function rowsGone(counts: MergeCounts): number {
  const { superseded, repeated, expired, folded, tombstones, filtered } = counts;
  return superseded + repeated + expired + folded + tombstones + filtered;
}

/** Every row that came in went out or has a fate. */
export function assertRowsAddUp(counts: MergeCounts): void {
  const details = { ...counts };
  assertThat(counts.rowsIn === counts.rowsOut + rowsGone(counts), 'rows of a job add up', details);
  assertThat(counts.madeTombstones + counts.replaced <= counts.rowsOut, 'rows that were changed are left', details);
}

/** Tables that the job reads, each once. */
export function inputTables(plan: CompactionPlan): Ulid[] {
  return [...new Set(plan.sources.flatMap(({ views }) => views.map(({ view }) => view.table.id)))];
}

/** What the code that makes plans has to hold; whether the manifest still has the sources is checked by the commit. */
export function assertPlan(plan: CompactionPlan): void {
  const { sources, barrier, destination, output } = plan;
  assertThat(sources.length > 0, 'a job has a source');
  const firstRun = sources.findIndex(({ level }) => level === 'run');
  const levelZero = firstRun < 0 ? sources : sources.slice(0, firstRun);
  const runs = firstRun < 0 ? [] : sources.slice(firstRun);
  assertThat(
    levelZero.every(({ runId, views }) => runId === undefined && views.length === 1),
    'a source of level 0 is one table',
  );
  assertThat(
    runs.every(({ level, runId }) => level === 'run' && runId !== undefined),
    'sources of level 0 come before runs, and runs have ids',
  );
  assertThat(Number.isSafeInteger(barrier) && barrier >= 0, 'a barrier is a sequence number', { barrier });
  assertThat(isUint32(destination), 'a run has an id of 32 bits', { destination });
  assertThat(output.maxSstBytes >= output.blockBytes, 'a table has room for a block', { ...output });
  assertAscending(plan.keptWhole);
  assertAscending(plan.keptTombstones);
}

function isUint32(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n < 2 ** 32;
}

function assertAscending(ranges: readonly KeyRange[]): void {
  for (const [i, { gte }] of ranges.entries()) {
    const isAfter = i === 0 || compareBytes(lastKeyOf(ranges[i - 1]), gte) < 0;
    assertThat(isAfter, 'key ranges of a plan ascend and are disjoint', { index: i });
  }
}
