/**
 * How a damaged manifest of SlateDB is recognised. Those carry no checksum, and most inverted bits of one still
 * decode; but a manifest continues the one before it, and the log must agree with it.
 *
 * 1. Each rule holds in whatever a writer, compactor, collector or reader of SlateDB makes of its predecessor; a rule that is
 *    only likely is none, because a sound database that is refused is worse than damage that goes unseen. Not rules, although
 *    they look like some: a flush that keeps no row moves `last_l0_seq` without a table; a table flushed in the middle of a
 *    replay takes `wal_id_last_seen` back; a writer without a log leaves `last_l0_seq` above every row of it; views and runs are
 *    renumbered when 0.12.1 rewrites a version 2.
 * 2. Pure: no request, and the same manifests give the same answer.
 *
 * Not asserted: what is compared was written by others, and may be damaged.
 */
import { equalBytes, toHex } from '../common/bytes.ts';
import { unknownFinding } from '../common/damage.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { encodeInfo } from '../format/info-block.ts';
import { encodeManifest } from '../format/manifest-codec.ts';
import {
  type Bound,
  l0Of,
  type Manifest,
  type TableView,
  type Tree,
  tablesOf,
  treesOf,
  viewsOf,
} from '../format/manifest-types.ts';
import { objectDigest } from '../format/seal.ts';
import { decodeTracker, encodeTracker, type SequenceTracker } from '../format/sequence-tracker.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import { decreasedFields } from '../lsm/manifest/manifest-rules.ts';
import { type LoadedManifest, manifestFindingObject } from '../lsm/manifest/manifest-store.ts';

/** Above 8192 pairs SlateDB drops every second one; a tracker with fewer than half of that has only been added to. */
const NEVER_THINNED_PAIRS = 4096;

/**
 * Seen with 0.12.1, and read in its source: each table that it flushes in the middle of a replay is noted with the last object but one of the
 * replay so far, so the rows between are in no table and, if it ends before its next flush, are not replayed again. Fixed in 0.13.
 */
const LEFT_OUT_BY_SLATEDB_012 =
  ' (damage, or SlateDB 0.12 ended in the middle of a recovery and no longer finds these rows; if it still runs, its next memtable flush saves them)';

export interface ManifestEvidence {
  /** The manifest with the id before; undefined if it is gone or damaged itself. */
  previous: Manifest | undefined;
  /** The newest object with rows at or before the replay point; undefined if none was found whole. */
  replayed: { id: number; maxSeq: number } | undefined;
}

/** Broken rules, as sentences; empty if nothing contradicts the manifest. */
export function contradictions(id: number, m: Manifest, { previous, replayed }: ManifestEvidence): string[] {
  const broken: string[] = [];
  // A flush may come between the end of an upload to the log and the note of it: then the last id seen is too low by one.
  if (m.replayAfterWalId > m.walIdLastSeen + 1) {
    broken.push(`the replay point ${m.replayAfterWalId} is after the last WAL id seen, ${m.walIdLastSeen}`);
  }
  if (replayed !== undefined && replayed.id <= m.replayAfterWalId && replayed.maxSeq > m.lastL0Seq) {
    const cause = m.headerVersion === 1 ? LEFT_OUT_BY_SLATEDB_012 : '';
    broken.push(
      `WAL object ${replayed.id}, of which all rows should be in tables, has rows up to ${replayed.maxSeq}; last_l0_seq is ${m.lastL0Seq}${cause}`,
    );
  }
  for (const c of m.checkpoints) {
    if (c.manifestId > id) broken.push(`checkpoint ${c.id} names manifest ${c.manifestId}, which is not yet written`);
  }
  // A clone copies its parent's state first and is given a log of its own when it is finished.
  if (previous?.initialized) broken.push(...successionFaults(previous, m));
  return broken;
}

function successionFaults(previous: Manifest, m: Manifest): string[] {
  const broken = decreasedFields(previous, m);
  if (m.writerEpoch > previous.writerEpoch + 1) broken.push('the writer epoch rose by more than 1');
  if (m.compactorEpoch > previous.compactorEpoch + 1) broken.push('the compactor epoch rose by more than 1');
  if (!m.initialized) broken.push('the database is no longer set up');
  const isFirstForm = m.headerVersion === 1 && previous.headerVersion === 1;
  if (isFirstForm && (m.walStoreUri === undefined) !== (previous.walStoreUri === undefined))
    broken.push('the log moved to or from a store of its own');
  const before = l0TableIds(previous);
  const now = l0TableIds(m);
  if (![...now].some((table) => !before.has(table))) broken.push(...noFlushFaults(previous, m));
  const hasSegments = (m.segments?.length ?? 0) > 0 || (previous.segments?.length ?? 0) > 0;
  if (!hasSegments && isEqualBelowL0(previous, m) && [...before].some((table) => !now.has(table))) {
    broken.push('tables vanished without a compaction');
  }
  return [...broken, ...changedTableFaults(previous, m), ...changedViewFaults(previous, m)];
}

/**
 * A table never changes, so neither does what a manifest records about it, nor in which database it is stored; but SlateDB 0.12.1
 * forgets the form of filters.
 */
function changedTableFaults(previous: Manifest, m: Manifest): string[] {
  const before = new Map(tablesOf(previous).map((t) => [t.id, t]));
  const [ownersBefore, owners] = [ownersOf(previous), ownersOf(m)];
  return tablesOf(m).flatMap((now) => {
    const then = before.get(now.id);
    if (then === undefined) return [];
    const { filterForm } = then.info;
    const isSame =
      now.formatVersion === then.formatVersion &&
      equalBytes(encodeInfo({ ...now.info, filterForm }), encodeInfo(then.info));
    return [
      ...(isSame ? [] : [`table ${now.id} is described otherwise than in the manifest before`]),
      ...(ownersBefore.get(now.id) === owners.get(now.id)
        ? []
        : [`table ${now.id} is said to be stored elsewhere than in the manifest before`]),
    ];
  });
}

/**
 * A view never changes: a writer that cuts a range out of one gives each piece an id of its own. Several views may share an id (unions of 0.16
 * and 0.17). Version 1 stores no ids.
 */
function changedViewFaults(previous: Manifest, m: Manifest): string[] {
  if (m.headerVersion === 1 || previous.headerVersion !== m.headerVersion) return [];
  const before = new Map<string, Set<string>>();
  for (const view of viewsOf(previous)) {
    const places = before.get(view.viewId) ?? new Set<string>();
    before.set(view.viewId, places.add(placeOf(view)));
  }
  return viewsOf(m)
    .filter((view) => before.get(view.viewId)?.has(placeOf(view)) === false)
    .map((view) => `view ${view.viewId} of table ${view.table.id} shows another range than in the manifest before`);
}

/** Without a new table: what only a flush changes, and then never alone. */
function noFlushFaults(previous: Manifest, m: Manifest): string[] {
  const hasMoved = (['replayAfterWalId', 'lastL0ClockTick'] as const).filter((f) => m[f] !== previous[f]);
  if (m.lastL0Seq === previous.lastL0Seq) return hasMoved.map((f) => `${f} moved, but nothing was flushed`);
  const isAlone =
    hasMoved.length === 0 &&
    m.walIdLastSeen === previous.walIdLastSeen &&
    m.recentSnapshotMinSeq === previous.recentSnapshotMinSeq &&
    equalBytes(m.sequenceTracker ?? new Uint8Array(0), previous.sequenceTracker ?? new Uint8Array(0));
  return isAlone ? ['lastL0Seq moved, but nothing was flushed'] : [];
}

/** Version 1 names views by their tables, whatever version 2 called them: only table ids can be compared. */
function l0TableIds(m: Manifest): Set<string> {
  return new Set(l0Of(m).map((view) => view.table.id));
}

function isEqualBelowL0(a: Tree, b: Tree): boolean {
  return a.lastCompacted === b.lastCompacted && runsText(a) === runsText(b);
}

function runsText(tree: Tree): string {
  return tree.runs.map((run) => `${run.id}:${run.views.map((view) => view.table.id).join('+')}`).join(' ');
}

/**
 * Whether a manifest without a seal had one: it follows one of our writer, has the same writer epoch, and either nothing new
 * (a close) or a new table, which only that writer adds.
 */
export function hasLostItsSeal({ manifest, seal }: LoadedManifest, previous: LoadedManifest | undefined): boolean {
  if (seal !== undefined || previous?.seal?.identity.role !== 'writer') return false;
  if (manifest.writerEpoch !== previous.manifest.writerEpoch) return false;
  const before = l0TableIds(previous.manifest);
  if ([...l0TableIds(manifest)].some((table) => !before.has(table))) return true;
  return equalBytes(encodeManifest(manifest), encodeManifest(previous.manifest));
}

/**
 * What a changed bit may be the reason for, as sentences, although the manifest can be used: an encoding that a newer SlateDB
 * may have chosen, and a sequence tracker, on which no row depends, that does not fit.
 */
export function doubts({ manifest, digest }: LoadedManifest, previous: LoadedManifest | undefined): string[] {
  const found: string[] = [];
  if (!manifest.hasUnknownFields && !equalBytes(objectDigest(encodeManifest(manifest)), digest)) {
    found.push('it is not encoded as known versions of SlateDB do');
  }
  const tracker = trackerOf(manifest);
  if (tracker === undefined) {
    if (newerTracker(manifest) === undefined) found.push('its sequence tracker cannot be decoded');
  } else {
    if (!isSoundTracker(tracker, manifest)) found.push('its sequence tracker contradicts itself');
    const before = previous === undefined ? undefined : trackerOf(previous.manifest);
    if (before !== undefined && !hasOnlyGrown(before, tracker))
      found.push('its sequence tracker forgot or changed pairs');
  }
  return found;
}

/**
 * What is legal but rare, as sentences that say why no row depends on it. Where damage looks the same as what a program of
 * SlateDB may have done, this at least names the field.
 */
export function oddities({ manifest }: LoadedManifest, previous: LoadedManifest | undefined): string[] {
  const found: string[] = [];
  if (manifest.hasUnknownFields) {
    found.push('it has fields that this program does not know; no row that this program reads depends on them');
  }
  const before = previous?.manifest;
  if (before !== undefined && manifest.walIdLastSeen < before.walIdLastSeen) {
    found.push(
      `wal_id_last_seen went back from ${before.walIdLastSeen} to ${manifest.walIdLastSeen}, as a flush in the middle of a replay takes it; the log itself says where it ends`,
    );
  }
  found.push(...oddViews(manifest, before), ...oddRuns(manifest));
  return found;
}

/** SlateDB up to 0.18 always gives newer runs higher ids. */
function oddRuns(m: Manifest): string[] {
  return treesOf(m).flatMap((tree) =>
    tree.runs
      .filter((run, i) => i > 0 && run.id > tree.runs[i - 1].id)
      .map((run) => `run ${run.id} has a higher id than a newer one; runs are read in the order of their places`),
  );
}

/** Version 1 stores no view ids: what is read from it says nothing of them. */
function oddViews(m: Manifest, previous: Manifest | undefined): string[] {
  if (m.headerVersion === 1) return [];
  const before = new Map<string, string>();
  if (previous?.headerVersion === m.headerVersion) {
    for (const view of viewsOf(previous)) before.set(placeOf(view), view.viewId);
  }
  return viewsOf(m)
    .filter(
      (view) =>
        view.viewId !== (before.get(placeOf(view)) ?? (view.visibleRange === undefined ? view.table.id : view.viewId)),
    )
    .map((view) => `the view of table ${view.table.id} is called ${view.viewId}; rows are found by the table's name`);
}

/** A view by what it shows, whatever it is called. */
function placeOf({ table, visibleRange }: TableView): string {
  const bound = (b: Bound) => (b.kind === 'unbounded' ? '' : `${b.kind}:${toHex(b.key)}`);
  return visibleRange === undefined ? table.id : `${table.id} ${bound(visibleRange.start)} ${bound(visibleRange.end)}`;
}

/** That the sequence tracker has a form of a newer program, which is no doubt about the manifest: writers refuse it, readers need it not. */
export function newerTrackerFindings(loaded: LoadedManifest, during: Finding['during']): Finding[] {
  const { id, manifest, sizeBytes, seal } = loaded;
  const error = newerTracker(manifest);
  if (error === undefined) return [];
  const object = manifestFindingObject(id, { size: sizeBytes, sealed: seal !== undefined });
  const summary =
    'A newer program wrote the sequence tracker: rows can be read; to write, use a newer version. Nothing is known to be damaged, and nothing is repaired.';
  return [unknownFinding(error, { object, during, summary })];
}

/** Why the sequence tracker cannot be checked; undefined if it can. */
export function newerTracker({ sequenceTracker }: Manifest): IncompatibleError | undefined {
  if (sequenceTracker === undefined) return undefined;
  try {
    decodeTracker(sequenceTracker);
  } catch (error) {
    if (error instanceof IncompatibleError) return error;
    if (!isCorruption(error)) throw error;
  }
  return undefined;
}

function trackerOf({ sequenceTracker }: Manifest): SequenceTracker | undefined {
  if (sequenceTracker === undefined) return { seqs: [], timesS: [] };
  try {
    return decodeTracker(sequenceTracker);
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

function isSoundTracker(tracker: SequenceTracker, { sequenceTracker, lastL0Seq }: Manifest): boolean {
  const ascends = (values: readonly number[]) => values.every((value, i) => i === 0 || value >= values[i - 1]);
  const { seqs, timesS } = tracker;
  if (!ascends(seqs) || !ascends(timesS) || (seqs.at(-1) ?? 0) > lastL0Seq) return false;
  return sequenceTracker === undefined || equalBytes(encodeTracker(tracker), sequenceTracker);
}

function hasOnlyGrown(before: SequenceTracker, now: SequenceTracker): boolean {
  if (now.seqs.length > NEVER_THINNED_PAIRS || before.seqs.length > NEVER_THINNED_PAIRS) return true;
  return before.seqs.every((seq, i) => now.seqs[i] === seq && now.timesS[i] === before.timesS[i]);
}
