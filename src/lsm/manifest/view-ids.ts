/**
 * Ids of views: where one table has several views, and what to do where level 0 lists several views under one id.
 *
 * Such ids are legal to read, as long as no key is shown twice; SlateDB before 0.18 writes them in unions. But a compaction
 * picks its sources by view id: SlateDB before 0.18 then takes one of the views and removes them all, which loses the rows of
 * the others, and 0.18 never compacts them. In version 1 of manifests ids are not stored: several views of one table always
 * come back under one id. So that version is never written for such a tree, and going from it to version 2 gives ids again.
 */
import { type Hint, makeHint, REPAIR_MANIFEST } from '../../common/advice.ts';
import { toHex } from '../../common/bytes.ts';
import { type Finding, makeFinding } from '../../common/finding.ts';
import type { Random } from '../../common/random.ts';
import { makeUlid, type Ulid, ulidTimeMs } from '../../common/ulid.ts';
import { type Manifest, type TableView, type Tree, treesOf, viewsOfTree } from '../../format/manifest-types.ts';
import { type LoadedManifest, manifestFindingObject } from './manifest-store.ts';

/** Ids that occur more than once. */
export function repeatedIds(ids: readonly Ulid[]): Set<Ulid> {
  const seen = new Set<Ulid>();
  return new Set(ids.filter((id) => seen.has(id) || !seen.add(id)));
}

/** Tables that have more than one view in one tree. */
export function tablesWithSeveralViews(manifest: Manifest): Ulid[] {
  const tables = treesOf(manifest).flatMap((tree) => [...repeatedIds(viewsOfTree(tree).map((view) => view.table.id))]);
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
  const ambiguous = repeatedIds(tree.l0.map((view) => view.viewId));
  const taken = new Set(viewsOfTree(tree).map((view) => view.viewId));
  if (tree.lastCompacted !== undefined) taken.add(tree.lastCompacted);
  const l0 = tree.l0.map((view) =>
    ambiguous.has(view.viewId) ? { ...view, viewId: freshViewId(view.viewId, taken, random) } : view,
  );
  return { l0 };
}

/** An id of the time of `old`, as SlateDB 0.18 makes them for changed views. Adds it to `taken`. */
export function freshViewId(old: Ulid, taken: Set<Ulid>, random: Random): Ulid {
  for (;;) {
    const id = makeUlid(ulidTimeMs(old), random);
    if (taken.has(id)) continue;
    taken.add(id);
    return id;
  }
}

// ---- findings

/** For findings. */
export const UNION_FAULT =
  'a fault of unions made by SlateDB 0.16 and 0.17: several views in level 0 have one id, and compactions take views by their ids';

export const manifestRepairHint = (summary: string): Hint => makeHint(summary, 'none', [REPAIR_MANIFEST]);

/** Trees by name: `''` for the root tree, else the prefix of the segment in hex. */
export function treesByName(m: Manifest): Map<string, Tree> {
  return new Map<string, Tree>([['', m], ...(m.segments ?? []).map((s) => [toHex(s.prefix), s] as [string, Tree])]);
}

/** Views of level 0 that share their id, by id. */
export function ambiguousViews(tree: Tree): TableView[][] {
  return [...repeatedIds(tree.l0.map((view) => view.viewId))].map((id) => tree.l0.filter((v) => v.viewId === id));
}

/** A warning for each view id that several views of a level 0 have: no row is lost yet. */
export function ambiguousViewFindings(
  { id, manifest, sizeBytes, seal }: LoadedManifest,
  during: Finding['during'],
): Finding[] {
  if (manifest.headerVersion === 1) return [];
  return [...treesByName(manifest).values()].flatMap(ambiguousViews).map((views, i) =>
    makeFinding({
      code: 'MANIFEST_INCONSISTENT',
      severity: 'warning',
      object: manifestFindingObject(id, { size: sizeBytes, sealed: seal !== undefined }),
      // The number makes several of them distinct.
      at: { unit: 'object', index: i, offset: i, length: sizeBytes },
      expected: 'an id of its own for each view of level 0',
      found: `${views.length} views of ${tablesText(views)} under one id, ${views[0].viewId}: ${UNION_FAULT}`,
      during,
      hint: manifestRepairHint(
        'All rows are there. The next compaction by SlateDB 0.16 or 0.17 would lose some of them, and 0.18 never compacts these tables; a repair gives the views ids of their own.',
      ),
    }),
  );
}

function tablesText(views: readonly TableView[]): string {
  const tables = [...new Set(views.map((view) => view.table.id))];
  return tables.length === 1 ? `table ${tables[0]}` : `tables ${tables.join(', ')}`;
}
