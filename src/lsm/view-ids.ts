/**
 * Ids of views: where one table has several views, and what to do where level 0 lists several views under one id.
 *
 * Such ids are legal to read, as long as no key is shown twice; SlateDB before 0.18 writes them in unions. But a compaction
 * picks its sources by view id: SlateDB before 0.18 then takes one of the views and removes them all, which loses the rows of
 * the others, and 0.18 never compacts them. In version 1 of manifests ids are not stored: several views of one table always
 * come back under one id. So that version is never written for such a tree, and going from it to version 2 gives ids again.
 */
import type { Random } from '../common/random.ts';
import { makeUlid, type Ulid, ulidTimeMs } from '../common/ulid.ts';
import type { Manifest, TableView, Tree } from '../format/manifest-types.ts';

const treesOf = (m: Manifest): Tree[] => [m, ...(m.segments ?? [])];
const viewsOf = (tree: Tree): TableView[] => [...tree.l0, ...tree.runs.flatMap((run) => run.views)];

function repeated(ids: readonly Ulid[]): Set<Ulid> {
  const seen = new Set<Ulid>();
  return new Set(ids.filter((id) => seen.has(id) || !seen.add(id)));
}

/** Tables that have more than one view in one tree. */
export function tablesWithSeveralViews(manifest: Manifest): Ulid[] {
  const tables = treesOf(manifest).flatMap((tree) => [...repeated(viewsOf(tree).map((view) => view.table.id))]);
  return [...new Set(tables)];
}

/**
 * The manifest with an id of its own for every view of level 0. An id that several views of a tree's level 0 have is replaced in
 * all of them, as unions of SlateDB 0.18 do: by one of the same time, because collectors compare the times of views and tables.
 */
export function withUniqueViewIds(manifest: Manifest, random: Random): Manifest {
  const { segments } = manifest;
  return {
    ...manifest,
    ...uniqueInTree(manifest, random),
    segments: segments?.map((segment) => ({ ...segment, ...uniqueInTree(segment, random) })),
  };
}

function uniqueInTree(tree: Tree, random: Random): Pick<Tree, 'l0'> {
  const ambiguous = repeated(tree.l0.map((view) => view.viewId));
  const taken = new Set(viewsOf(tree).map((view) => view.viewId));
  if (tree.lastCompacted !== undefined) taken.add(tree.lastCompacted);
  const l0 = tree.l0.map((view) =>
    ambiguous.has(view.viewId) ? { ...view, viewId: freshViewId(view.viewId, taken, random) } : view,
  );
  return { l0 };
}

/** Adds the new id to `taken`. */
function freshViewId(old: Ulid, taken: Set<Ulid>, random: Random): Ulid {
  for (;;) {
    const id = makeUlid(ulidTimeMs(old), random);
    if (taken.has(id)) continue;
    taken.add(id);
    return id;
  }
}
