/**
 * What differs between two manifests, in words. Pure.
 *
 * Invariants:
 * 1. Manifests that are stored differently differ in words: each field of the format has its own, a law of the tests changes every one.
 * 2. No text holds keys: what belongs to a segment has its prefix beside it, so that who shows it can hide it.
 */

import { toHex } from '../common/bytes.ts';
import { isoTime } from '../common/clock.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import {
  type Checkpoint,
  type ExternalDb,
  type Manifest,
  NO_TICK,
  type Segment,
  type SortedRun,
  type TableRef,
  type TableView,
  type Tree,
} from '../format/manifest-types.ts';
import { decodeTracker } from '../format/sequence-tracker.ts';
import { differingFields } from '../format/table-info.ts';

/** One difference. */
export interface ManifestDifference {
  /** In words, without keys. */
  text: string;
  /** The prefix of the segment to whose tree it belongs; absent: the root tree, or the database as a whole. */
  segment?: Uint8Array;
}

/** The words of a difference, where the prefix is not shown. */
export function changeText({ text, segment }: ManifestDifference): string {
  return segment === undefined ? text : `in a segment: ${text}`;
}

/** All differences, most important first: numbers, tables, checkpoints, then what seldom changes. */
export function manifestChanges(before: Manifest, now: Manifest): ManifestDifference[] {
  return [
    ...numberChanges(before, now).map((text) => ({ text })),
    ...segmentChanges(before.segments, now.segments).map((text) => ({ text })),
    ...treePairs(before, now).flatMap(({ segment, a, b }) =>
      treeChanges(a, b).map((text) => ({ text, ...(segment !== undefined && { segment }) })),
    ),
    ...checkpointChanges(before.checkpoints, now.checkpoints).map((text) => ({ text })),
    ...externalChanges(before.externalDbs, now.externalDbs).map((text) => ({ text })),
    ...otherChanges(before, now).map((text) => ({ text })),
  ];
}

const changed = (name: string, before: unknown, now: unknown): string => `${name}: ${before} → ${now}`;

function numberChanges(before: Manifest, now: Manifest): string[] {
  const numbers = [
    ['writerEpoch', 'writer epoch'],
    ['compactorEpoch', 'compactor epoch'],
    ['replayAfterWalId', 'replay point'],
    ['walIdLastSeen', 'last WAL id seen'],
    ['lastL0Seq', 'last sequence number in tables'],
    ['lastL0ClockTick', 'last clock tick in tables'],
    ['recentSnapshotMinSeq', 'least sequence number of snapshots'],
    ['headerVersion', 'header version'],
    ['initialized', 'initialized'],
  ] as const;
  return numbers.flatMap(([field, name]) => {
    if (before[field] === now[field]) return [];
    const [a, b] =
      field === 'lastL0ClockTick' ? [tickText(before[field]), tickText(now[field])] : [before[field], now[field]];
    return [changed(name, a, b)];
  });
}

/** Ticks are ms since the epoch, unless a program counts otherwise. */
export function tickText(tick: bigint): string {
  if (tick === NO_TICK) return 'none';
  const isTime = tick >= 0n && tick < MAX_TIME_MS;
  return isTime ? isoTime(Number(tick)) : String(tick);
}

/** The end of the year 9999. */
const MAX_TIME_MS = 253_402_300_800_000n;

// ---- trees

interface TreePair {
  segment: Uint8Array | undefined;
  a: Tree;
  b: Tree;
}

const NO_TREE: Tree = { l0: [], runs: [], lastCompacted: undefined };

function treePairs(before: Manifest, now: Manifest): TreePair[] {
  const prefixes = new Map<string, Uint8Array>();
  for (const { prefix } of [...(before.segments ?? []), ...(now.segments ?? [])]) prefixes.set(toHex(prefix), prefix);
  const of = (segments: readonly Segment[] | undefined, name: string) =>
    segments?.find(({ prefix }) => toHex(prefix) === name) ?? NO_TREE;
  return [
    { segment: undefined, a: before, b: now },
    ...[...prefixes].map(([name, segment]) => ({ segment, a: of(before.segments, name), b: of(now.segments, name) })),
  ];
}

function segmentChanges(before: readonly Segment[] | undefined, now: readonly Segment[] | undefined): string[] {
  if (before?.length === now?.length && before !== undefined) {
    const names = (list: readonly Segment[] | undefined) => list?.map(({ prefix }) => toHex(prefix)).join();
    return names(before) === names(now) ? [] : ['the segments are others'];
  }
  const text = (list: readonly Segment[] | undefined) => list?.length ?? 'no list';
  return before === now ? [] : [changed('segments', text(before), text(now))];
}

function treeChanges(before: Tree, now: Tree): string[] {
  return [
    ...viewChanges('L0 table', before.l0, now.l0, ''),
    ...runChanges(before.runs, now.runs),
    ...(before.lastCompacted === now.lastCompacted
      ? []
      : [
          changed(
            'newest L0 table that a compaction consumed',
            before.lastCompacted ?? 'none',
            now.lastCompacted ?? 'none',
          ),
        ]),
  ];
}

function runChanges(before: readonly SortedRun[], now: readonly SortedRun[]): string[] {
  const older = new Map(before.map((run) => [run.id, run]));
  const newer = new Map(now.map((run) => [run.id, run]));
  const kept = (runs: readonly SortedRun[]) => runs.map(({ id }) => id).filter((id) => older.has(id) && newer.has(id));
  return [
    ...now.filter(({ id }) => !older.has(id)).map(({ id }) => `run ${id} added`),
    ...before.filter(({ id }) => !newer.has(id)).map(({ id }) => `run ${id} removed`),
    ...(kept(before).join() === kept(now).join() ? [] : ['the runs are in another order']),
    ...[...new Set([...older.keys(), ...newer.keys()])].flatMap((id) =>
      viewChanges('table', older.get(id)?.views ?? [], newer.get(id)?.views ?? [], ` run ${id}`),
    ),
  ];
}

/** @param of the place, with a space before it; empty where the noun says it */
function viewChanges(noun: string, before: readonly TableView[], now: readonly TableView[], of: string): string[] {
  const older = countOf(before);
  const newer = countOf(now);
  const isMore = (view: TableView, here: Map<string, number>, there: Map<string, number>) =>
    (here.get(viewKey(view)) ?? 0) > (there.get(viewKey(view)) ?? 0);
  const added = now.filter((view) => isMore(view, newer, older));
  const removed = before.filter((view) => isMore(view, older, newer));
  const isRecut = (view: TableView, others: readonly TableView[]) =>
    others.some((other) => viewName(other) === viewName(view));
  const keys = (views: readonly TableView[], others: Map<string, number>) =>
    views.map(viewKey).filter((key) => others.has(key));
  const [to, from] = of === '' ? ['', ''] : [` to${of}`, ` from${of}`];
  return [
    ...added.map((view) =>
      isRecut(view, removed)
        ? `${noun} ${viewName(view)}${of === '' ? '' : ` of${of}`} shows another part of its keys`
        : `${noun} ${viewName(view)} added${to}`,
    ),
    ...removed.filter((view) => !isRecut(view, added)).map((view) => `${noun} ${viewName(view)} removed${from}`),
    ...(keys(before, newer).join() === keys(now, older).join()
      ? []
      : [`the ${noun}s${of === '' ? '' : ` of${of}`} are in another order`]),
    ...infoChanges(before, now),
  ];
}

function countOf(views: readonly TableView[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const view of views) counts.set(viewKey(view), (counts.get(viewKey(view)) ?? 0) + 1);
  return counts;
}

/** What distinguishes views: ids alone may be shared by views of one table. */
function viewKey({ viewId, table, visibleRange }: TableView): string {
  const bound = (of: 'start' | 'end') => {
    const b = visibleRange?.[of];
    return b === undefined || b.kind === 'unbounded' ? '-' : `${b.kind}${toHex(b.key)}`;
  };
  return `${viewId} ${table.id} ${visibleRange === undefined ? '' : `${bound('start')} ${bound('end')}`}`;
}

function viewName({ viewId, table }: TableView): string {
  return viewId === table.id ? table.id : `${table.id} (view ${viewId})`;
}

/** A table never changes: what a manifest says about one that both list should not either. */
function infoChanges(before: readonly TableView[], now: readonly TableView[]): string[] {
  const older = new Map(before.map(({ table }) => [table.id, table]));
  const seen = new Set<string>();
  return now.flatMap(({ table }) => {
    const other = older.get(table.id);
    if (other === undefined || seen.has(table.id)) return [];
    seen.add(table.id);
    const fields = refDifferences(other, table);
    return fields.length === 0 ? [] : [`what is stated about table ${table.id} differs in ${fields.join(', ')}`];
  });
}

function refDifferences(a: TableRef, b: TableRef): string[] {
  return [
    ...differingFields(a.info, b.info),
    ...(a.info.tableType === b.info.tableType ? [] : ['tableType']),
    ...(a.info.filterForm === b.info.filterForm ? [] : ['filterForm']),
    ...(a.formatVersion === b.formatVersion ? [] : ['formatVersion']),
  ];
}

// ---- what lists hold

function checkpointChanges(before: readonly Checkpoint[], now: readonly Checkpoint[]): string[] {
  const name = (c: Checkpoint) =>
    `checkpoint ${c.name === undefined ? c.id : `${c.name} (${c.id})`} on manifest ${c.manifestId}`;
  const older = new Map(before.map((c) => [c.id, c]));
  const newer = new Map(now.map((c) => [c.id, c]));
  const kept = (list: readonly Checkpoint[]) => list.map(({ id }) => id).filter((id) => older.has(id) && newer.has(id));
  return [
    ...now.filter(({ id }) => !older.has(id)).map((c) => `${name(c)} added, ${expiryText(c)}`),
    ...before.filter(({ id }) => !newer.has(id)).map((c) => `${name(c)} removed`),
    ...now.flatMap((c) => {
      const was = older.get(c.id);
      return was === undefined ? [] : checkpointFields(was, c).map((text) => `${name(c)}: ${text}`);
    }),
    ...(kept(before).join() === kept(now).join() ? [] : ['the checkpoints are in another order']),
  ];
}

function checkpointFields(was: Checkpoint, c: Checkpoint): string[] {
  return [
    ...(was.expireTimeS === c.expireTimeS ? [] : [`${expiryText(c)} instead of ${expiryText(was)}`]),
    ...(was.name === c.name ? [] : [changed('name', was.name ?? 'none', c.name ?? 'none')]),
    ...(was.manifestId === c.manifestId ? [] : [changed('manifest', was.manifestId, c.manifestId)]),
    ...(was.createTimeS === c.createTimeS
      ? []
      : [changed('created', isoTime(was.createTimeS * 1000), isoTime(c.createTimeS * 1000))]),
    ...(was.writerEpoch === c.writerEpoch
      ? []
      : [changed('writer epoch', was.writerEpoch ?? 'none', c.writerEpoch ?? 'none')]),
  ];
}

/** Until when a checkpoint counts. */
export function expiryText({ expireTimeS }: Pick<Checkpoint, 'expireTimeS'>): string {
  return expireTimeS === 0 ? 'without end' : `until ${isoTime(expireTimeS * 1000)}`;
}

function externalChanges(before: readonly ExternalDb[], now: readonly ExternalDb[]): string[] {
  const key = (db: ExternalDb) => `${db.path} at checkpoint ${db.sourceCheckpointId}`;
  const older = new Map(before.map((db) => [key(db), db]));
  const newer = new Map(now.map((db) => [key(db), db]));
  const fields = [
    ...now
      .filter((db) => !older.has(key(db)))
      .map((db) => `other database ${key(db)} added, ${db.tableIds.length} tables`),
    ...before.filter((db) => !newer.has(key(db))).map((db) => `other database ${key(db)} removed`),
    ...now.flatMap((db) => {
      const was = older.get(key(db));
      if (was === undefined) return [];
      return [
        ...(was.finalCheckpointId === db.finalCheckpointId
          ? []
          : [
              changed(
                `other database ${key(db)}: final checkpoint`,
                was.finalCheckpointId ?? 'none',
                db.finalCheckpointId ?? 'none',
              ),
            ]),
        ...listChanges(`table of ${db.path}`, was.tableIds, db.tableIds),
      ];
    }),
  ];
  const isSameOrder = before.map(key).join() === now.map(key).join();
  return fields.length > 0 || isSameOrder ? fields : ['the other databases are in another order'];
}

function listChanges(noun: string, before: readonly string[], now: readonly string[]): string[] {
  const changes = [
    ...now.filter((id) => !before.includes(id)).map((id) => `${noun} ${id} added`),
    ...before.filter((id) => !now.includes(id)).map((id) => `${noun} ${id} removed`),
  ];
  return changes.length > 0 || before.join() === now.join()
    ? changes
    : [`the list of each ${noun} is in another order`];
}

function otherChanges(before: Manifest, now: Manifest): string[] {
  const ids = (m: Manifest) => m.unviewedTables.map(({ id }) => id);
  return [
    ...listChanges('table without a view', ids(before), ids(now)),
    ...infoOfUnviewed(before, now),
    ...(before.segmentExtractorName === now.segmentExtractorName
      ? []
      : [changed('extractor of segments', before.segmentExtractorName ?? 'none', now.segmentExtractorName ?? 'none')]),
    ...(before.walStoreUri === now.walStoreUri
      ? []
      : [changed('store of the log', uriText(before.walStoreUri), uriText(now.walStoreUri))]),
    ...trackerChanges(before.sequenceTracker, now.sequenceTracker),
    ...(before.hasUnknownFields === now.hasUnknownFields
      ? []
      : [changed('fields that this program does not know', before.hasUnknownFields, now.hasUnknownFields)]),
  ];
}

function infoOfUnviewed(before: Manifest, now: Manifest): string[] {
  const view = (table: TableRef): TableView => ({ viewId: table.id, table, visibleRange: undefined });
  return infoChanges(before.unviewedTables.map(view), now.unviewedTables.map(view));
}

/** The empty text marks a store of its own. */
export function uriText(uri: string | undefined): string {
  if (uri === undefined) return 'that of the tables';
  return uri === '' ? 'another one' : uri;
}

function trackerChanges(before: Uint8Array | undefined, now: Uint8Array | undefined): string[] {
  const hex = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : toHex(bytes));
  if (hex(before) === hex(now)) return [];
  const [a, b] = [trackerText(before), trackerText(now)];
  return [a === b ? `sequence tracker: ${b}, with other pairs than before` : changed('sequence tracker', a, b)];
}

/** How many pairs of sequence number and time it has, and the last of them. */
export function trackerText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return 'none';
  try {
    const { seqs, timesS } = decodeTracker(bytes);
    const last = seqs.length - 1;
    const end = last < 0 ? '' : ` up to ${seqs[last]} at ${tickText(BigInt(timesS[last]) * 1000n)}`;
    return `version ${bytes[0]}, ${seqs.length} ${seqs.length === 1 ? 'pair' : 'pairs'}${end}`;
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    return `${bytes.length} bytes that cannot be decoded`;
  }
}
