/**
 * The edits of a manifest, as pure functions from manifest to manifest: the change functions of commits are made of them, whichever role
 * makes them. A manifest is never changed in place.
 *
 * Invariants:
 * 1. New tables come first in level 0, newest first; the tables that were there keep their order.
 * 2. The replay point, the last WAL id seen, the clock tick, the last sequence number in tables and the epochs never go back.
 * 3. A run stays where it is in its tree. One that loses its last view goes with it; one that was empty before stays, because a
 *    compaction that is under way names it.
 * 4. What an edit is not about stays as it is: a change may be applied again on top of a manifest of another role.
 */
import { assertThat } from '../../common/assert.ts';
import { toHex } from '../../common/bytes.ts';
import type { Random } from '../../common/random.ts';
import type { Ulid } from '../../common/ulid.ts';
import {
  type ExternalDb,
  type Manifest,
  NO_TICK,
  type TableRef,
  type TableView,
  type Tree,
  tablesOf,
  viewsOfTree,
} from '../../format/manifest-types.ts';
import { encodeTracker } from '../../format/sequence-tracker.ts';
import { compareStarts, shownRange } from '../rows/shown-range.ts';
import { freshViewId } from './view-ids.ts';

/** The manifest of a database without rows, under no writer. */
export function emptyManifest(headerVersion: 1 | 2, hasWalStore: boolean): Manifest {
  return {
    headerVersion,
    externalDbs: [],
    initialized: true,
    writerEpoch: 0,
    compactorEpoch: 0,
    replayAfterWalId: 0,
    walIdLastSeen: 0,
    lastCompacted: undefined,
    l0: [],
    runs: [],
    lastL0ClockTick: NO_TICK,
    checkpoints: [],
    lastL0Seq: 0,
    recentSnapshotMinSeq: 0,
    walStoreUri: headerVersion === 1 && hasWalStore ? '' : undefined,
    sequenceTracker: encodeTracker({ seqs: [], timesS: [] }),
    segments: headerVersion === 2 ? [] : undefined,
    segmentExtractorName: undefined,
    unviewedTables: [],
    hasUnknownFields: false,
  };
}

// ---- rows of the log that are in tables

/** All rows up to a point of the log, and the tables that hold those which no table held. */
export interface FlushedRows {
  /** Newest first; none if nothing was left of the rows. */
  views: readonly TableView[];
  /** The last WAL object whose rows are all in tables. */
  replayAfterWalId: number;
  /** The last WAL object that is known to exist. */
  walIdLastSeen: number;
  /** The greatest sequence number in tables. */
  lastSeq: number;
  /** The latest time at which a row of the tables was created, ms; not finite if they have none. */
  maxCreateTs: number;
  /** From which on versions are kept for snapshots; as it was if absent. */
  recentSnapshotMinSeq?: number;
  /** As it was if absent. */
  sequenceTracker?: Uint8Array;
}

/** Tables at the beginning of level 0, and the replay point after the rows that they hold. */
export function addFlushedRows(m: Manifest, rows: FlushedRows): Manifest {
  const { views, lastSeq, maxCreateTs, recentSnapshotMinSeq, sequenceTracker } = rows;
  assertThat(lastSeq >= m.lastL0Seq, 'rows in tables stay there', { lastSeq, lastL0Seq: m.lastL0Seq });
  const tick = BigInt(Number.isFinite(maxCreateTs) ? Math.trunc(maxCreateTs) : 0);
  return {
    ...moveReplayPoint(m, rows.replayAfterWalId, rows.walIdLastSeen),
    l0: [...views, ...m.l0],
    lastL0Seq: lastSeq,
    lastL0ClockTick: m.lastL0ClockTick === NO_TICK || tick > m.lastL0ClockTick ? tick : m.lastL0ClockTick,
    ...(recentSnapshotMinSeq !== undefined && { recentSnapshotMinSeq }),
    ...(sequenceTracker !== undefined && { sequenceTracker }),
  };
}

/** The replay point at `walId` or where it is, if that is further. `seenId`: the last WAL object that is known to exist. */
export function moveReplayPoint(m: Manifest, walId: number, seenId = walId): Manifest {
  return {
    ...m,
    replayAfterWalId: Math.max(m.replayAfterWalId, walId),
    walIdLastSeen: Math.max(m.walIdLastSeen, seenId),
  };
}

// ---- epochs

/** A claim: epochs above those of the manifest for the roles that are named. `logEnd`: the last WAL object that exists. */
export function claimEpochs(
  m: Manifest,
  { writer = m.writerEpoch, compactor = m.compactorEpoch }: { writer?: number; compactor?: number },
  logEnd = 0,
): Manifest {
  assertThat(writer >= m.writerEpoch && compactor >= m.compactorEpoch, 'an epoch never goes back', {
    writer,
    compactor,
  });
  return {
    ...m,
    writerEpoch: writer,
    compactorEpoch: compactor,
    walIdLastSeen: Math.max(m.walIdLastSeen, logEnd),
  };
}

// ---- tables and views

/**
 * Every view of table `id` as `change` says; without it where `change` answers undefined. Undefined if the manifest does not name
 * the table.
 */
export function changeTable(
  m: Manifest,
  id: Ulid,
  change: (view: TableView) => TableView | undefined,
): Manifest | undefined {
  if (!tablesOf(m).some((table) => table.id === id)) return undefined;
  return changeViews(m, (view) => (view.table.id === id ? change(view) : view));
}

/** Every view as `change` says. */
function changeViews(m: Manifest, change: (view: TableView) => TableView | undefined): Manifest {
  const views = (list: readonly TableView[]) => list.flatMap((view) => change(view) ?? []);
  return changeTrees(m, (tree) => ({
    ...tree,
    l0: views(tree.l0),
    runs: tree.runs
      .map((run) => ({ ...run, views: views(run.views) }))
      .filter((run, i) => run.views.length > 0 || tree.runs[i].views.length === 0),
  }));
}

/** The manifest with each table reference changed by `change`, wherever it is named. */
export function describeTables(m: Manifest, change: (table: TableRef) => TableRef): Manifest {
  const changed = changeViews(m, (view) => {
    const table = change(view.table);
    return table === view.table ? view : { ...view, table };
  });
  return { ...changed, unviewedTables: m.unviewedTables.map(change) };
}

/** `change` of the root tree and of each segment's. `name`: `''`, else the prefix of the segment in hex. */
export function changeTrees(m: Manifest, change: <T extends Tree>(tree: T, name: string) => T): Manifest {
  return { ...change(m, ''), segments: m.segments?.map((segment) => change(segment, toHex(segment.prefix))) };
}

/** A view that a compaction lost, and where it belongs. */
export interface ViewToPutBack {
  /** `''` for the root tree, else the prefix of the segment in hex. */
  tree: string;
  run: { id: number };
  view: TableView;
  /** The other database that its table belongs to. */
  external: ExternalDb | undefined;
}

/** The view in its run again, in the order of keys, under an id of its own. No change where the run is gone. */
export function putViewBack(m: Manifest, { tree, run, view, external }: ViewToPutBack, random: Random): Manifest {
  const put = <T extends Tree>(t: T): T => {
    const taken = new Set(viewsOfTree(t).map((v) => v.viewId));
    if (t.lastCompacted !== undefined) taken.add(t.lastCompacted);
    const back = { ...view, viewId: freshViewId(view.viewId, taken, random) };
    assertThat(
      back.table.id === view.table.id && !viewsOfTree(t).some((v) => v.viewId === back.viewId),
      'a view has an id of its own',
    );
    const byKey = (a: TableView, b: TableView) => compareStarts(shownRange(a).start, shownRange(b).start);
    return {
      ...t,
      runs: t.runs.map((r) => (r.id === run.id ? { ...r, views: [...r.views, back].sort(byKey) } : r)),
    };
  };
  const changed = changeTrees(m, (t, name) => (name === tree ? put(t) : t));
  return external === undefined
    ? changed
    : { ...changed, externalDbs: withTable(m.externalDbs, external, view.table.id) };
}

/** The entry may be gone with its last table. */
function withTable(dbs: readonly ExternalDb[], external: ExternalDb, table: Ulid): ExternalDb[] {
  const isIt = (db: ExternalDb) => db.path === external.path && db.sourceCheckpointId === external.sourceCheckpointId;
  if (!dbs.some(isIt)) return [...dbs, { ...external, tableIds: [table] }];
  return dbs.map((db) =>
    isIt(db) && !db.tableIds.includes(table) ? { ...db, tableIds: [...db.tableIds, table] } : db,
  );
}
