/**
 * The order of tables by their ids. A table's ULID begins with the time at which it was named, and roles that do not know of a table
 * yet decide by that time: a collector deletes a table that no manifest names only where its time is below that of the newest table
 * of level 0, or of the compactor's marker where level 0 is empty, and SlateDB refuses a new table of level 0 below them.
 *
 * Invariants:
 * 1. The id of a new table exceeds every id in the manifest that its author knew: of tables with views, of views (one becomes the marker),
 *    and the marker itself, in all trees.
 * 2. So tables of level 0 get ascending ids in the order of their commits. This is not so between level 0 and a run: a compaction can
 *    name its output after a flush named a table, and commit before it.
 */
import type { Ulid } from '../../common/ulid.ts';
import { type Manifest, type Tree, treesOf, viewsOf } from '../../format/manifest-types.ts';

/**
 * What the id of a new table must exceed; undefined if the manifest names nothing.
 * @param drawn an id that its author has drawn since
 */
export function greatestUlid(manifest: Manifest, drawn?: Ulid): Ulid | undefined {
  return [
    ...treesOf(manifest).map((tree) => tree.lastCompacted),
    ...viewsOf(manifest).flatMap((view) => [view.viewId, view.table.id]),
  ].reduce(greater, drawn);
}

/** What the id of a table exceeds that came to level 0 of this tree after the manifest; undefined if it never had a table. */
export function newestLevelZeroId({ l0, lastCompacted }: Pick<Tree, 'l0' | 'lastCompacted'>): Ulid | undefined {
  return l0.map((view) => view.table.id).reduce<Ulid | undefined>(greater, lastCompacted);
}

function greater(a: Ulid | undefined, b: Ulid | undefined): Ulid | undefined {
  return a === undefined || (b !== undefined && b > a) ? b : a;
}
