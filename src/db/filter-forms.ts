/**
 * Puts the filter form of tables right in the manifests we write.
 *
 * SlateDB 0.12.1 does not know composite filters: its manifests call every filter legacy, and from then on newer versions
 * read composite filters wrongly and miss rows. The object's own info block is right, so it is asked once for every table
 * that a manifest of SlateDB calls legacy before such a table is named again. Manifests of ours are right already.
 */
import { mapLimit } from '../common/async.ts';
import { isCorruption } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import type { Manifest, TableRef, TableView } from '../format/manifest-types.ts';
import type { FilterForm } from '../format/table-info.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { TreeView } from '../lsm/tree/table-store.ts';

const PARALLEL = 8;

export class FilterForms {
  readonly #known = new Map<Ulid, FilterForm>();
  #isDoubtful = false;

  /** A manifest came into use; what SlateDB wrote has to be checked. */
  note(loaded: LoadedManifest): void {
    if (loaded.seal === undefined) this.#isDoubtful = true;
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
    const view = (v: TableView): TableView => {
      const table = ref(v.table);
      return table === v.table ? v : { ...v, table };
    };
    return {
      ...m,
      l0: m.l0.map(view),
      runs: m.runs.map((r) => ({ ...r, views: r.views.map(view) })),
      unviewedTables: m.unviewedTables.map(ref),
    };
  }
}

function isDoubtful(table: TableRef): boolean {
  return table.info.filterLength > 0 && table.info.filterForm === 'legacy';
}
