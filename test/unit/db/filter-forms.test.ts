/**
 * The filter form of tables in the manifests we write, as a script. `ours` or `slatedb` with tables: such a manifest comes into use;
 * `learn`: before a commit; `write` with tables: what our manifest says of them. A table is a letter with the form that is said of it:
 * `aL` legacy, `aC` composite, `a-` without a filter; below `objects` the forms that the objects themselves have.
 */
import { describe, expect, it } from 'vitest';
import { CorruptionError, UnavailableError } from '../../../src/common/errors.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import { FilterForms } from '../../../src/db/filter-forms.ts';
import type { TableView } from '../../../src/format/manifest-types.ts';
import type { FilterForm, TableInfo } from '../../../src/format/table-info.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import type { LoadedManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { EMPTY_TREE, type TreeView } from '../../../src/lsm/tree/table-store.ts';

const FORMS: Record<string, FilterForm> = { L: 'legacy', C: 'composite' };

function viewOf(word: string): TableView {
  const [name, form] = word;
  const id = name as Ulid;
  const info = { filterLength: form === '-' ? 0 : 10, filterForm: FORMS[form] ?? 'legacy' } as TableInfo;
  return { viewId: id, table: { id, info, formatVersion: 2 }, visibleRange: undefined };
}

class World {
  readonly forms = new FilterForms();
  readonly asked: string[] = [];
  readonly #objects: Map<string, string>;
  #current: string[] = [];

  constructor(objects: string) {
    this.#objects = new Map(words(objects).map((word) => [word[0], word[1]]));
  }

  tree(): TreeView {
    const l0 = this.#current.map((word) => {
      const view = viewOf(word);
      const loadMeta = async () => {
        this.asked.push(view.table.id);
        const form = this.#objects.get(view.table.id);
        if (form === '!') throw new CorruptionError('damaged', []);
        if (form === '?') throw new UnavailableError('STORE_DOWN', 'away');
        return { info: { filterForm: FORMS[form ?? 'L'] } };
      };
      return { view, reader: { loadMeta } as never };
    });
    return { ...EMPTY_TREE, trees: [{ prefix: undefined, l0, runs: [] }] };
  }

  async do(line: string): Promise<string> {
    const [what, ...tables] = words(line);
    const manifest = { ...emptyManifest(2, false), l0: tables.map(viewOf) };
    if (what === 'learn') {
      await this.forms.learn(this.tree());
      return `asked ${this.asked.splice(0).join('')}`.trim();
    }
    if (what === 'write') return this.forms.correct(manifest).l0.map(wordOf).join(' ');
    this.#current = tables;
    this.forms.note({ manifest, seal: what === 'ours' ? {} : undefined } as LoadedManifest);
    return '';
  }
}

const words = (line: string) => line.trim().split(/\s+/);
const wordOf = ({ table }: TableView) =>
  table.id + (table.info.filterLength === 0 ? '-' : table.info.filterForm === 'legacy' ? 'L' : 'C');

const SCRIPTS: [string, string, string][] = [
  [
    'are asked of tables that a manifest of SlateDB calls legacy, each once',
    'aC bL',
    `slatedb aL bL c- dC
     learn => asked ab
     write aL bL c- dC => aC bL c- dC
     slatedb aL bL
     learn => asked
     write aL bL eL => aC bL eL`,
  ],
  [
    'are not asked where all manifests were ours',
    'aC',
    `ours aL
     learn => asked
     write aL => aL`,
  ],
  [
    'that a manifest called composite stay so, also where SlateDB says otherwise while ours is on its way',
    'aC',
    `ours aC
     learn => asked
     slatedb aL
     write aL => aC
     learn => asked`,
  ],
  [
    'of a new table of SlateDB are right in the manifest after the one that was on its way',
    'aC bC',
    `ours aC
     learn => asked
     slatedb aL bL
     write aL bL => aC bL
     learn => asked b
     write aL bL => aC bC`,
  ],
  [
    'stay what the manifest says where the table is damaged: reading it reports the damage',
    'a! bC',
    `slatedb aL bL
     learn => asked ab
     write aL bL => aL bC
     learn => asked`,
  ],
];

describe('filter forms', () => {
  it.each(SCRIPTS)('%s', async (_, objects, script) => {
    const world = new World(objects);
    for (const step of script.split('\n')) {
      const [line, expected = ''] = step.split('=>').map((part) => part.trim());
      expect([line, await world.do(line)]).toEqual([line, expected]);
    }
  });

  it('are asked again after a failure of the store', async () => {
    const world = new World('a?');
    await world.do('slatedb aL');
    await expect(world.do('learn')).rejects.toThrow('away');
    world.asked.length = 0;
    await expect(world.do('learn')).rejects.toThrow('away');
    expect(world.asked).toEqual(['a']);
  });
});
