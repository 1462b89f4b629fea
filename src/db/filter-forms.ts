/**
 * Puts the filter form of tables right in the manifests we write.
 *
 * SlateDB 0.12.1 does not know composite filters: its manifests call every filter legacy, and from then on newer versions
 * read composite filters wrongly and miss rows.
 *
 * 1. What a manifest in use called composite is composite in every later manifest of ours, whatever comes in between.
 * 2. Of any other table that a manifest of SlateDB calls legacy the object's own info block, which is right, is asked once before such a
 *    table is named again; where that manifest comes while one of ours is on its way, before the one after it.
 *
 * Not asserted: what others wrote is corrected, and is no rule of ours.
 */

import { mapLimit } from '../common/async.ts';
import { isCorruption } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, type TableRef, tablesOf } from '../format/manifest-types.ts';
import type { FilterForm } from '../format/table-info.ts';
import { describeTables } from '../lsm/manifest/manifest-edits.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { TreeView } from '../lsm/tree/table-store.ts';

const PARALLEL = 8;

export class FilterForms {
  readonly #known = new Map<Ulid, FilterForm>();
  #isDoubtful = false;

  /** A manifest came into use; what SlateDB calls legacy has to be checked. */
  note({ manifest, seal }: LoadedManifest): void {
    if (seal === undefined) this.#isDoubtful = true;
    for (const { id, info } of tablesOf(manifest)) {
      if (info.filterForm === 'composite') this.#known.set(id, 'composite');
    }
  }

  /** Asks the tables that have not been asked. At most one GET for each, none where all manifests were ours. */
  async learn(tree: TreeView): Promise<void> {
    if (!this.#isDoubtful) return;
    const handles = tree.trees.flatMap((t) => [...t.l0, ...t.runs.flat()]);
    const open = handles.filter((h) => isDoubtful(h.view.table) && !this.#known.has(h.view.table.id));
    await mapLimit(open, PARALLEL, async ({ reader, view }) => {
      try {
        this.#known.set(view.table.id, (await reader.loadMeta()).info.filterForm);
      } catch (error) {
        // A damaged table stays as the manifest has it; reading it reports the damage.
        if (!isCorruption(error)) throw error;
        this.#known.set(view.table.id, view.table.info.filterForm);
      }
    });
    this.#isDoubtful = false;
  }

  /** The manifest with what the tables themselves say. */
  correct(m: Manifest): Manifest {
    const ref = (t: TableRef): TableRef => {
      const form = this.#known.get(t.id);
      return form === undefined || form === t.info.filterForm ? t : { ...t, info: { ...t.info, filterForm: form } };
    };
    return describeTables(m, ref);
  }
}

function isDoubtful(table: TableRef): boolean {
  return table.info.filterLength > 0 && table.info.filterForm === 'legacy';
}
