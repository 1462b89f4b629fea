/**
 * What unions of SlateDB before 0.18 do to level 0, and how it is put right.
 *
 * A union of 0.16 or 0.17 lists one table of its parent several times under one view id, with disjoint ranges. All rows are
 * there, but a compaction picks its sources by view id: 0.16 and 0.17 then merge one of the views and remove them all, and 0.18
 * never compacts them. Before that, fresh view ids are enough. Afterwards the view that was removed without being merged is put
 * back into the run that the compaction made: the table is the parent's, which a checkpoint there still pins.
 *
 * Invariants:
 * 1. A view is called lost only if older manifests show how it went: two views of one id in one level 0, none in the next
 *    manifest, and in the run made there no row of the one and rows of another.
 * 2. A view is put back only where that cannot bring back what was deleted or overwritten: no newer source of that compaction
 *    had a row in its range, and the run still is what that compaction made of it.
 * 3. Where a table that would show it cannot be read, nothing is called lost and nothing sound: that is reported.
 */
import { createHash } from 'node:crypto';
import { makeHint } from '../common/advice.ts';
import { compareBytes, toHex } from '../common/bytes.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { SeededRandom } from '../common/random.ts';
import type { Ulid } from '../common/ulid.ts';
import {
  type BytesRange,
  type ExternalDb,
  type Manifest,
  type SortedRun,
  type TableView,
  type Tree,
  viewsOf,
  viewsOfTree,
} from '../format/manifest-types.ts';
import { manifestPath } from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import { putViewBack } from '../lsm/manifest/manifest-edits.ts';
import { type LoadedManifest, manifestFindingObject } from '../lsm/manifest/manifest-store.ts';
import {
  ambiguousViews,
  manifestRepairHint,
  treesByName,
  UNION_FAULT,
  withUniqueViewIds,
} from '../lsm/manifest/view-ids.ts';
import { rangesOverlap, shownRange, showsKey } from '../lsm/rows/shown-range.ts';
import { tablePlace } from '../lsm/tree/parents.ts';
import { rowsInRange } from './table-range.ts';
import type { LooseRow } from './table-rebuild.ts';

/** A view whose rows a compaction dropped. */
export interface LostView {
  /** The last manifest that named it, and the one that no longer does. */
  namedBy: number;
  droppedBy: number;
  tree: string;
  /** The run that the compaction made. */
  run: SortedRun;
  view: TableView;
  /** The database that the table belongs to, as the last manifest named it. */
  external: ExternalDb | undefined;
  rows: LooseRow[];
  /** Why it cannot be put back, as sentences; empty if it can. */
  obstacles: string[];
}

/** A view of which it is unknown whether a compaction dropped its rows. */
export interface UnclearView {
  droppedBy: number;
  view: TableView;
  /** Path of the database that its table belongs to, if that is another one. */
  parent: string | undefined;
}

/** What became of views that shared an id. */
export interface ViewsLookedFor {
  lost: LostView[];
  unclear: UnclearView[];
}

/**
 * Views that compactions lost and that are not back, and those of which the tables that would show it cannot be read. `manifests`: all that can be read, newest first. No request where no
 * manifest has an ambiguous id; else the GETs of the rows of these tables, of the runs made of them and of newer sources.
 */
export async function findLostViews(
  stores: DatabaseStores,
  manifests: readonly LoadedManifest[],
): Promise<ViewsLookedFor> {
  const newest = manifests[0];
  const all: ViewsLookedFor = { lost: [], unclear: [] };
  for (let i = 0; i + 1 < manifests.length; i++) {
    const after = manifests[i];
    const before = manifests[i + 1];
    if (before.id !== after.id - 1 || before.manifest.headerVersion === 1) continue;
    for (const [name, tree] of treesByName(before.manifest)) {
      for (const views of ambiguousViews(tree)) {
        const then = treesByName(after.manifest).get(name);
        const now = treesByName(newest.manifest).get(name);
        if (then === undefined || now === undefined || then.l0.some((v) => v.viewId === views[0].viewId)) continue;
        const laterManifests = manifests.slice(0, i);
        const step: Step = { stores, before, after, newest, laterManifests, tree, then, now, name };
        const { lost, unclear } = await lostAmong(step, views);
        all.lost.push(...lost);
        all.unclear.push(...unclear);
      }
    }
  }
  return all;
}

/** Two manifests that follow each other, and a tree in them and in the newest. */
interface Step {
  stores: DatabaseStores;
  before: LoadedManifest;
  after: LoadedManifest;
  newest: LoadedManifest;
  /** Manifests after `after`. */
  laterManifests: readonly LoadedManifest[];
  tree: Tree;
  then: Tree;
  now: Tree;
  name: string;
}

async function lostAmong(step: Step, views: readonly TableView[]): Promise<ViewsLookedFor> {
  const found: ViewsLookedFor = { lost: [], unclear: [] };
  const run = step.then.runs.find((r) => isNewRun(r, step.tree));
  if (run === undefined) return found;
  const looked = await Promise.all(views.map((view) => findRows(step, view, run.views, step.after)));
  // Where none was merged the compaction did something else.
  if (!looked.some((l) => l.state === 'there' || l.state === 'unread')) return found;
  const isProven = looked.some((l) => l.state === 'there');
  for (const [i, view] of views.entries()) {
    const { state } = looked[i];
    if ((state !== 'dropped' && state !== 'unread') || step.laterManifests.some((m) => isShown(m, step.name, view)))
      continue;
    const now = await findRows(step, view, viewsOfTree(step.now), step.newest);
    if (now.state !== 'dropped' && now.state !== 'unread') continue;
    if (!isProven || state === 'unread' || now.state === 'unread') {
      const parent = ownersOf(step.before.manifest).get(view.table.id);
      // Once for each table: its views share the doubt.
      if (!found.unclear.some((u) => u.view.table.id === view.table.id))
        found.unclear.push({ droppedBy: step.after.id, view, parent });
      continue;
    }
    found.lost.push({
      namedBy: step.before.id,
      droppedBy: step.after.id,
      tree: step.name,
      run,
      view,
      external: externalOf(step.before.manifest, view.table.id),
      rows: now.rows,
      obstacles: await obstaclesTo(step, view, run),
    });
  }
  return found;
}

/** Whether a run has a table that it did not have before. */
function isNewRun(run: SortedRun, before: Tree): boolean {
  const had = new Set(before.runs.find((r) => r.id === run.id)?.views.map((v) => v.table.id));
  return run.views.some((view) => !had.has(view.table.id));
}

/** Whether a manifest shows the table where the view did: then it was put back, whatever became of it since. */
function isShown(m: LoadedManifest, name: string, view: TableView): boolean {
  const tree = treesByName(m.manifest).get(name);
  const all = tree === undefined ? [] : viewsOfTree(tree);
  return all.some((v) => v.table.id === view.table.id && rangesOverlap(shownRange(v), shownRange(view)));
}

/**
 * Searches rows of a view in others: `there` if one of them is, `dropped` with those that are neither there nor overwritten if
 * none is and some are not, `unread` if that cannot be read, else `overwritten`.
 */
async function findRows(
  step: Step,
  view: TableView,
  others: readonly TableView[],
  { manifest }: LoadedManifest,
): Promise<{ state: 'there' | 'dropped' | 'overwritten' | 'unread'; rows: LooseRow[] }> {
  const rows = await rowsShown(step.stores, step.before.manifest, view, shownRange(view));
  const found = await Promise.all(
    others
      .filter((v) => rangesOverlap(shownRange(v), shownRange(view)))
      .map((v) => rowsShown(step.stores, manifest, v, shownRange(view))),
  );
  const readable = found.flatMap((f) => (f === undefined ? [] : [f]));
  if (rows === undefined || readable.length < found.length) return { state: 'unread', rows: [] };
  const newestSeqs = new Map<string, number>();
  const names = new Set<string>();
  for (const row of readable.flat()) {
    names.add(nameOf(row));
    const key = toHex(row.key);
    newestSeqs.set(key, Math.max(newestSeqs.get(key) ?? 0, row.seq));
  }
  if (rows.some((row) => names.has(nameOf(row)))) return { state: 'there', rows: [] };
  const missing = rows.filter((row) => (newestSeqs.get(toHex(row.key)) ?? 0) < row.seq);
  return missing.length > 0 ? { state: 'dropped', rows: missing } : { state: 'overwritten', rows: [] };
}

function nameOf({ key, seq }: LooseRow): string {
  return `${seq} ${toHex(key)}`;
}

/** Invariant 2, as sentences. */
async function obstaclesTo(step: Step, view: TableView, run: SortedRun): Promise<string[]> {
  const { stores, before, tree, then, now } = step;
  const obstacles: string[] = [];
  const at = now.runs.find((r) => r.id === run.id);
  if (at === undefined || at.views.map((v) => v.table.id).join() !== run.views.map((v) => v.table.id).join()) {
    obstacles.push(`run ${run.id} was compacted again since manifest ${step.after.id}`);
  } else if (at.views.some((v) => rangesOverlap(shownRange(v), shownRange(view)))) {
    obstacles.push(`tables of run ${run.id} hold keys of the same range`);
  }
  const left = new Set(then.l0.map((v) => v.viewId));
  for (const source of tree.l0.slice(0, tree.l0.indexOf(view))) {
    if (left.has(source.viewId) || source.viewId === view.viewId) continue;
    if (!rangesOverlap(shownRange(source), shownRange(view))) continue;
    const rows = await rowsShown(stores, before.manifest, source, shownRange(view));
    if (rows === undefined)
      obstacles.push(`table ${source.table.id}, which was compacted together with it, cannot be read`);
    else if (rows.length > 0) obstacles.push(`table ${source.table.id} changed ${rows.length} rows of the same range`);
  }
  const { store, path } = tablePlace(stores, ownersOf(before.manifest).get(view.table.id), view.table.id);
  if ((await store.head(path)) === undefined) obstacles.push(`its table ${path} is gone`);
  return obstacles;
}

/** The rows of a view within a range; undefined if some of them cannot be read. */
async function rowsShown(
  stores: DatabaseStores,
  m: Manifest,
  view: TableView,
  range: BytesRange,
): Promise<LooseRow[] | undefined> {
  const { firstEntry, lastEntry } = view.table.info;
  if (firstEntry === undefined || lastEntry === undefined) return undefined;
  const { store, path } = tablePlace(stores, ownersOf(m).get(view.table.id), view.table.id);
  const { id, info, formatVersion } = view.table;
  const read = await rowsInRange(store, { id, path, info, formatVersion }, { gte: firstEntry, lte: lastEntry });
  if (read === undefined || !read.isWhole) return undefined;
  const shown = { ...view, visibleRange: range };
  return read.rows.filter(({ key }) => showsKey(view, key) && showsKey(shown, key));
}

function externalOf(m: Manifest, table: Ulid): ExternalDb | undefined {
  return m.externalDbs.find((db) => db.tableIds.includes(table));
}

// ---- what is said, and done

/** The loss, as an error of the manifest that no longer names the view. */
export function lostViewFinding(lost: LostView, during: Finding['during']): Finding {
  const { droppedBy, view, rows, run, obstacles } = lost;
  const keys = rows.map((r) => r.key).sort(compareBytes);
  const seqs = rows.map((r) => r.seq);
  return makeFinding({
    code: 'LOST_DATA',
    object: manifestFindingObject(droppedBy, { path: manifestPath(droppedBy) }),
    at: WHOLE_OBJECT,
    affects: {
      keys: { gte: keys[0], lte: keys[keys.length - 1] },
      seqs: { min: BigInt(Math.min(...seqs)), max: BigInt(Math.max(...seqs)) },
      rows: rows.length,
    },
    expected: `the rows of table ${view.table.id}, which manifest ${lost.namedBy} showed, in run ${run.id}`,
    found: `none of ${rows.length} rows; ${UNION_FAULT}`,
    remedy: obstacles.length === 0 ? 'rebuilds' : 'none',
    during,
    hint: manifestRepairHint(
      obstacles.length === 0
        ? `The compaction that manifest ${droppedBy} ends lost ${rows.length} rows. Table ${view.table.id} still has them; a repair puts them back.`
        : `The compaction that manifest ${droppedBy} ends lost ${rows.length} rows. They cannot be put back safely: ${obstacles.join('; ')}.`,
    ),
  });
}

/** That it is unknown, for the manifest that no longer names the view. */
export function unclearViewFinding({ droppedBy, view, parent }: UnclearView, during: Finding['during']): Finding {
  const of = parent === undefined ? '' : ` of the database ${parent}`;
  return makeFinding({
    code: 'OUT_OF_REACH',
    severity: 'unknown',
    object: manifestFindingObject(droppedBy, { path: manifestPath(droppedBy) }),
    at: WHOLE_OBJECT,
    found: `table ${view.table.id}${of}, or a table that was made of it, cannot be read; ${UNION_FAULT}`,
    during,
    hint: makeHint(
      `Whether the compaction that manifest ${droppedBy} ends lost rows is unknown. If the table is below another root, state it (--root on the command line, the option root of tools); if it is gone, compare with the database that it belonged to.`,
      'unknown',
    ),
  });
}

/** Changes to a manifest that put the ids and, where that is safe, the lost views right; the same for the same manifest. */
export function withRepairedViews(m: Manifest, lost: readonly LostView[]): Manifest {
  const ids = lost.map(({ tree, view }) => `${tree} ${view.viewId} ${JSON.stringify(view.visibleRange)}`);
  const seed = createHash('sha256')
    .update(JSON.stringify([treeText(m), ids]))
    .digest()
    .readUInt32BE(0);
  const random = new SeededRandom(seed);
  let repaired = withUniqueViewIds(m, random);
  for (const one of lost) if (one.obstacles.length === 0) repaired = putViewBack(repaired, one, random);
  return repaired;
}

function treeText(m: Manifest): string[] {
  return viewsOf(m).map((view) => view.viewId);
}
