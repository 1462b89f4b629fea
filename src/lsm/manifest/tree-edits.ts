/**
 * The edits of trees that a compactor makes, as pure functions from manifest to manifest. Whether a job may be committed at all is
 * decided before (compaction/commit.ts); here its sources go and its result takes their place.
 *
 * Invariants:
 * 1. Only what is named as a source goes: a view of level 0 by (view id, table id, range), for an id alone can be ambiguous; a run by
 *    its id and all its views.
 * 2. The marker becomes the newest source of level 0, and stays without one. As that view was in level 0 until then, the marker
 *    never goes back.
 * 3. A result takes the place of its sources: the position is the order. One of level 0 alone is the newest run of its tree.
 * 4. No empty run is made, and those among the sources or next to them go, because SlateDB's scheduler never steps over one; but one
 *    that a job which is under way names stays.
 * 5. A table of a parent leaves the list of this parent with its last view. The entry stays, also without tables: its checkpoint in the
 *    parent has still to be given up.
 * 6. What an edit is not about stays as it is: a change may be applied again on top of a manifest of another role.
 */
import { assertThat } from '../../common/assert.ts';
import { equalBytes } from '../../common/bytes.ts';
import type { Ulid } from '../../common/ulid.ts';
import {
  type Bound,
  type BytesRange,
  type ExternalDb,
  type Manifest,
  type SortedRun,
  type TableView,
  type Tree,
  tablesOf,
} from '../../format/manifest-types.ts';
import { changeTrees } from './manifest-edits.ts';
import { treesByName } from './view-ids.ts';

/** What names a view as a source. */
export interface SourceView {
  viewId: Ulid;
  tableId: Ulid;
  visibleRange: BytesRange | undefined;
}

export interface SourceRun {
  id: number;
  views: readonly SourceView[];
}

/** A stretch of a tree. */
export interface TreeSources {
  /** `''` for the root tree, else the prefix of the segment in hex. */
  tree: string;
  /** Newest first. */
  l0: readonly SourceView[];
  /** Newest first. */
  runs: readonly SourceRun[];
}

/** Sources, and the run that was made of them. */
export interface MergedRun extends TreeSources {
  destination: number;
  /** Views of the run, ascending by key; none: no row was left. */
  outputs: readonly TableView[];
}

export function sourceViewOf({ viewId, table, visibleRange }: TableView): SourceView {
  return { viewId, tableId: table.id, visibleRange };
}

/** Whether both name the same view: ids alone do not. */
export function isSameView(a: SourceView, b: SourceView): boolean {
  return a.viewId === b.viewId && a.tableId === b.tableId && isSameRange(a.visibleRange, b.visibleRange);
}

function isSameRange(a: BytesRange | undefined, b: BytesRange | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return isSameBound(a.start, b.start) && isSameBound(a.end, b.end);
}

function isSameBound(a: Bound, b: Bound): boolean {
  if (a.kind === 'unbounded' || b.kind === 'unbounded') return a.kind === b.kind;
  return a.kind === b.kind && equalBytes(a.key, b.key);
}

// ---- where sources are

/** Places of sources in their tree; an end is that of the one after. Empty runs among the sources are between the places. */
export interface Stretch {
  l0From: number;
  runsFrom: number;
  runsTo: number;
}

/**
 * Where the sources are; or, as a sentence, why they are not there as they were when they were named: each of them, level 0 from its
 * oldest end, and consecutive, as if runs without views were not there.
 */
export function findStretch(tree: Tree, sources: TreeSources): Stretch | string {
  const { l0, runs } = sources;
  const l0From = findOldest(tree.l0, l0);
  if (typeof l0From === 'string') return l0From;
  if (runs.length === 0) return { l0From, runsFrom: 0, runsTo: 0 };
  const runsFrom = tree.runs.findIndex(({ id }) => id === runs[0].id);
  if (runsFrom < 0) return `run ${runs[0].id} is gone`;
  if (l0.length > 0 && tree.runs.slice(0, runsFrom).some((run) => run.views.length > 0)) {
    return `a run is between level 0 and run ${runs[0].id}`;
  }
  const runsTo = findRuns(tree.runs, runsFrom, runs);
  return typeof runsTo === 'string' ? runsTo : { l0From, runsFrom, runsTo };
}

/** Place of the newest source in level 0; the length of level 0 without sources. */
function findOldest(l0: readonly TableView[], sources: readonly SourceView[]): number | string {
  const from = l0.length - sources.length;
  for (const [i, source] of sources.entries()) {
    if (from >= 0 && isSameView(sourceViewOf(l0[from + i]), source)) continue;
    const isThere = l0.some((view) => isSameView(sourceViewOf(view), source));
    return isThere ? 'other tables of level 0 are older than a source' : `table ${source.tableId} is not in level 0`;
  }
  return from;
}

/** Place after the last source. */
function findRuns(runs: readonly SortedRun[], from: number, sources: readonly SourceRun[]): number | string {
  let at = from;
  for (const source of sources) {
    while (at < runs.length && runs[at].id !== source.id && runs[at].views.length === 0) at++;
    const run = runs[at];
    if (run?.id !== source.id) {
      return runs.some(({ id }) => id === source.id)
        ? `run ${source.id} does not follow the other sources`
        : `run ${source.id} is gone`;
    }
    if (!hasViews(run, source)) return `run ${source.id} has other tables`;
    at++;
  }
  return at;
}

/** Where the sources of a drain are: of level 0 its oldest end, and any runs. Or why not, as a sentence. */
export function findDrained(tree: Tree, sources: TreeSources): { l0From: number; runs: SortedRun[] } | string {
  const l0From = findOldest(tree.l0, sources.l0);
  if (typeof l0From === 'string') return l0From;
  const runs: SortedRun[] = [];
  for (const source of sources.runs) {
    const run = tree.runs.find(({ id }) => id === source.id);
    if (run === undefined) return `run ${source.id} is gone`;
    if (!hasViews(run, source)) return `run ${source.id} has other tables`;
    runs.push(run);
  }
  return { l0From, runs };
}

function hasViews(run: SortedRun, { views }: SourceRun): boolean {
  return run.views.length === views.length && run.views.every((view, i) => isSameView(sourceViewOf(view), views[i]));
}

// ---- the edits

/**
 * The sources out, the results in. All sources are where `findStretch` wants them. `named`: ids of runs that jobs which are still under
 * way name.
 */
export function commitJobs(m: Manifest, merged: readonly MergedRun[], named: ReadonlySet<number>): Manifest {
  return merged.reduce((edited, one) => commitJob(edited, one, named), m);
}

function commitJob(m: Manifest, merged: MergedRun, named: ReadonlySet<number>): Manifest {
  const { l0, destination, outputs } = merged;
  return changeTree(m, merged.tree, (tree) => {
    const stretch = findStretch(tree, merged);
    assertThat(typeof stretch !== 'string', 'the sources of a job are where they were', { stretch });
    const { before, kept, after } = splitRuns(tree.runs, stretch, merged, named);
    const result = outputs.length === 0 ? [] : [{ id: destination, views: [...outputs] }];
    return {
      ...tree,
      l0: tree.l0.slice(0, stretch.l0From),
      lastCompacted: l0.length === 0 ? tree.lastCompacted : l0[0].viewId,
      runs: [
        ...before,
        ...kept.filter(({ id }) => id > destination),
        ...result,
        ...kept.filter(({ id }) => id < destination),
        ...after,
      ],
    };
  });
}

/** Runs before the sources, after them, and those without views between them that have to stay. */
function splitRuns(
  runs: readonly SortedRun[],
  stretch: Stretch,
  { runs: sources }: TreeSources,
  named: ReadonlySet<number>,
): { before: SortedRun[]; kept: SortedRun[]; after: SortedRun[] } {
  let { runsFrom, runsTo } = stretch;
  while (runsFrom > 0 && runs[runsFrom - 1].views.length === 0) runsFrom--;
  while (runsTo < runs.length && runs[runsTo].views.length === 0) runsTo++;
  const isSource = (id: number) => sources.some((source) => source.id === id);
  return {
    before: runs.slice(0, runsFrom),
    kept: runs.slice(runsFrom, runsTo).filter(({ id }) => named.has(id) && !isSource(id)),
    after: runs.slice(runsTo),
  };
}

/** The sources out, with all their rows: SlateDB's drain of a segment. They are where `findDrained` wants them. */
export function drainSegment(m: Manifest, sources: TreeSources): Manifest {
  assertThat(sources.tree !== '', 'only segments are drained');
  return changeTree(m, sources.tree, (tree) => {
    const found = findDrained(tree, sources);
    assertThat(typeof found !== 'string', 'the sources of a drain are where they were', { found });
    const lastCompacted = sources.l0.length === 0 ? tree.lastCompacted : sources.l0[0].viewId;
    const runs = tree.runs.filter((run) => !found.runs.includes(run));
    return { ...tree, l0: tree.l0.slice(0, found.l0From), lastCompacted, runs };
  });
}

/**
 * Level 0 of every tree without its marker and what is older than that: those rows are in runs already. SlateDB's rule for a writer
 * that finds its list in a newer manifest.
 */
export function cutL0AtMarker(m: Manifest): Manifest {
  const cut = changeTrees(m, (tree) => {
    const at = tree.l0.findIndex(({ viewId }) => viewId === tree.lastCompacted);
    return at < 0 ? tree : { ...tree, l0: tree.l0.slice(0, at) };
  });
  return withoutLostTables(m, cut);
}

function changeTree(m: Manifest, name: string, change: <T extends Tree>(tree: T) => T): Manifest {
  assertThat(treesByName(m).has(name), 'the tree is there', { name });
  const changed = changeTrees(m, (tree, other) => (other === name ? change(tree) : tree));
  return withoutLostTables(m, changed);
}

/** Invariant 5. */
function withoutLostTables(before: Manifest, after: Manifest): Manifest {
  const left = new Set([...tablesOf(after), ...after.unviewedTables].map(({ id }) => id));
  const lost = new Set(
    tablesOf(before)
      .map(({ id }) => id)
      .filter((id) => !left.has(id)),
  );
  const isTouched = ({ tableIds }: ExternalDb) => tableIds.some((id) => lost.has(id));
  if (!after.externalDbs.some(isTouched)) return after;
  const externalDbs = after.externalDbs.map((db) =>
    isTouched(db) ? { ...db, tableIds: db.tableIds.filter((id) => !lost.has(id)) } : db,
  );
  return { ...after, externalDbs };
}
