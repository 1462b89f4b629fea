/**
 * What a scheduler sees and says: the trees of one manifest with what is known of their tables, the jobs that are under way, and
 * the jobs that it proposes. Plain data, so that a scheduler is a pure function: the same input, the same answer.
 *
 * ```
 * tree     l0  C B A          newest first: A is the oldest
 *          run 7 ...          after level 0, newest first
 *          run 4 ...          the oldest data of the tree
 * ```
 *
 * 1. The position is the order, ids are only names (manifest-types.ts).
 * 2. Nothing here says that a proposal is valid; the coordinator checks each one before it makes a job of it.
 */
import type { KeyRange } from '../common/key-range.ts';
import type { Ulid } from '../common/ulid.ts';
import { ulidTimeMs } from '../common/ulid.ts';
import type { ExpiryBucket } from '../format/expiry-buckets.ts';
import type { BytesRange, Manifest, TableView } from '../format/manifest-types.ts';
import type { SealRecords } from '../format/seal-records.ts';
import type { TableStats } from '../format/stats-block.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import { treesByName } from '../lsm/manifest/view-ids.ts';
import { shownRange } from '../lsm/rows/shown-range.ts';
import { visibleBytes } from '../lsm/tree/visible-bytes.ts';

/** What the tail of a table says of its rows; for a view that is cut, too, of the whole table. */
export interface RowFacts {
  /** Rows with a value. */
  puts: number;
  /** Tombstones. */
  deletes: number;
  /** Merge operands. */
  merges: number;
  /** Keys and values of all rows, bytes, before compression. */
  rowBytes: number;
  /** Of the rows that expire: how many bytes of them (as `rowBytes` counts) must have expired by when. Absent: it is not known. */
  expiring?: readonly ExpiryBucket[];
  /** The greatest sequence number. Absent: it is not known. */
  maxSeq?: number;
}

/** A view of level 0 or of a run. What names it, as a source, is (view id, table id, range): ids alone can be ambiguous. */
export interface ViewFacts {
  /** Its id in the manifest. */
  viewId: Ulid;
  /** The table of which it shows keys. */
  tableId: Ulid;
  /** Keys that it shows at most; undefined: all of the table. */
  visibleRange: BytesRange | undefined;
  /** The keys that it shows: those of the table, cut by the visible range. */
  shown: BytesRange;
  /** Data and index, bytes; of a view that is cut, an estimate of the part that is visible (visible-bytes.ts). */
  bytes: number;
  /** By its name: when the flush or the job began that made the table, ms since the epoch. */
  madeAtMs: number;
  /** Absent: it is not known, as of tables from before SlateDB 0.12. */
  rows: RowFacts | undefined;
  /** The table is stored below the root of another database. */
  isExternal: boolean;
}

/** A sorted run. */
export interface RunFacts {
  /** Unique in its tree; newer runs have greater ones. */
  id: number;
  /** Of all its views. */
  bytes: number;
  /** Ascending by key; none in an empty run. */
  views: readonly ViewFacts[];
}

/** How a tree is stored. */
export interface TreeFacts {
  /** `''`: the root tree; else the prefix of the segment in hex. */
  name: string;
  /** Newest first. */
  l0: readonly ViewFacts[];
  /** Newest first. */
  runs: readonly RunFacts[];
}

/** A job that is under way, whichever process it belongs to. */
export interface ActiveJob {
  /** Its id. */
  id: Ulid;
  /** As `TreeFacts.name`. */
  tree: string;
  /** Its sources of level 0. */
  l0ViewIds: readonly Ulid[];
  /** Its sources below: ids of runs. */
  runs: readonly number[];
  /** Undefined: the job drains a segment. */
  destination: number | undefined;
}

/** SlateDB's names, where it has one. */
export interface SchedulerOptions {
  /** Fewer tables of level 0, or runs, are not merged by size. */
  minCompactionSources: number;
  /** At most so many become one at a time. */
  maxCompactionSources: number;
  /** A run joins a merge if it is at most this many times as large as the smallest one that is in it. */
  includeSizeThreshold: number;
  /** If there are more runs than this, some are merged whatever their sizes are; 0: never. */
  sortedRunConsolidationThreshold: number;
  /** How large, in parts of the lowest run, the runs above it may be together. */
  maxSpaceAmplification: number;
  /** How many tables of level 0 stop the flushes. */
  l0MaxSsts: number;
}

/** All that a scheduler may look at: a copy, which it may change. */
export interface SchedulerInput {
  /** The root tree first. */
  trees: readonly TreeFacts[];
  /** Whose sources are taken. */
  active: readonly ActiveJob[];
  /** How many proposals can become jobs now. */
  slots: number;
  /** Tables that no job may read for now, because they were found damaged. */
  avoid: ReadonlySet<Ulid>;
  /** What expires at or before this time expires in a job that is planned now; below every time: nothing does. */
  nowMs: number;
  /** The lowest sequence number that a snapshot may still ask for: above it jobs keep every version. */
  barrier: number;
  /** The greatest sequence number of the rows in tables. */
  lastSeq: number;
  /** Keys of which jobs keep every version as it is, because rows of them were lost. */
  keptWhole: readonly KeyRange[];
  /** As set, with their defaults. */
  options: SchedulerOptions;
}

/**
 * Sources that are to become one run: a consecutive stretch of a tree. Where it goes follows from it: with runs among the sources
 * into the one of them with the lowest id, else into a run with a fresh id.
 */
export interface Proposal {
  /** As `TreeFacts.name`. */
  tree: string;
  /** Of level 0: the oldest ones, newest first, as the input has them. */
  l0: readonly ViewFacts[];
  /** Ids, newest first. With tables of level 0: those that follow directly. */
  runs: readonly number[];
  /** For the log: why, such as `size` or `tombstones`. */
  reason: string;
}

/** The answer of a scheduler. */
export interface Schedule {
  /** The most urgent one first; those after the slots are ignored. */
  proposals: readonly Proposal[];
  /** When time alone would change the answer, ms since the epoch: then it is asked again. Absent, or Infinity: never. */
  wakeAtMs?: number;
}

/** Chooses what is merged; must answer at once, and alike for the same input. */
export type Scheduler = (input: SchedulerInput) => Schedule;

// ---- the trees of a manifest

/** Of the stats block of a table and its seal; undefined without stats: then nothing is counted. */
export function rowFacts(
  stats: TableStats | undefined,
  seal: Pick<SealRecords, 'lineage' | 'expiry'> | undefined,
): RowFacts | undefined {
  if (stats === undefined) return undefined;
  const { puts, deletes, merges, rawKeyBytes, rawValueBytes } = stats;
  return {
    puts,
    deletes,
    merges,
    rowBytes: rawKeyBytes + rawValueBytes,
    ...(seal?.expiry !== undefined && { expiring: seal.expiry.buckets }),
    ...(seal?.lineage !== undefined && { maxSeq: seal.lineage.maxSeq }),
  };
}

/** `rowsOf`: what is known of the rows of a table. */
export function treeFacts(manifest: Manifest, rowsOf: (table: Ulid) => RowFacts | undefined): TreeFacts[] {
  const owners = ownersOf(manifest);
  const factsOf = (view: TableView): ViewFacts => ({
    viewId: view.viewId,
    tableId: view.table.id,
    visibleRange: view.visibleRange,
    shown: shownRange(view),
    bytes: visibleBytes(view),
    madeAtMs: ulidTimeMs(view.table.id),
    rows: rowsOf(view.table.id),
    isExternal: owners.has(view.table.id),
  });
  return [...treesByName(manifest)].map(([name, tree]) => ({
    name,
    l0: tree.l0.map(factsOf),
    runs: tree.runs.map(({ id, views }) => {
      const facts = views.map(factsOf);
      return { id, views: facts, bytes: facts.reduce((sum, { bytes }) => sum + bytes, 0) };
    }),
  }));
}
