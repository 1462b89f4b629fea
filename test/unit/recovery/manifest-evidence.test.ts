/**
 * What a manifest of SlateDB is compared with: its requests and results, on a copy of a golden database. The rules themselves are
 * tested in manifest-cross-check.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { tablesOf } from '../../../src/format/manifest-types.ts';
import { manifestPath, tablePath, walPath } from '../../../src/format/object-names.ts';
import { type LoadedManifest, loadManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { crossCheckManifest } from '../../../src/recovery/manifest-evidence.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { forwarding } from '../../support/forwarding-store.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';

const golden = (path: string) => goldenBytes('slatedb-0.17.0/tiny', `db/${path}`);
const load = (id: number) => loadManifest(id, golden(manifestPath(id)));
const newest = load(5);
const before = load(4);
const isNew = (id: string) => !tablesOf(before.manifest).some((t) => t.id === id);
const newTables = tablesOf(newest.manifest).filter((t) => isNew(t.id));

/** A store with these objects of the database, and what is asked of it. */
async function storeOf(paths: string[]): Promise<{ store: ObjectStore; requests: string[] }> {
  const memory = new MemoryStore({ clock: new ManualClock() });
  for (const path of paths) {
    await memory.put(path, golden(path), { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  }
  const requests: string[] = [];
  const store: ObjectStore = {
    ...forwarding(memory),
    get: (path, options) => {
      requests.push(`get ${path}`);
      return memory.get(path, options);
    },
    list: (prefix, options) => {
      requests.push(`list ${prefix}`);
      return memory.list(prefix, options);
    },
  };
  return { store, requests };
}

const check = async (paths: string[], loaded: LoadedManifest, boundary = 0) => {
  const { store, requests } = await storeOf(paths);
  return { ...(await crossCheckManifest({ main: store, wal: store }, loaded, boundary)), requests };
};
const ALL = [manifestPath(4), manifestPath(5), ...newTables.map((t) => tablePath(t.id))];
const changed = (change: Partial<LoadedManifest['manifest']>): LoadedManifest => ({
  ...newest,
  manifest: { ...newest.manifest, ...change },
});

describe('a sound manifest without a seal', () => {
  it('is compared with the one before it, its replay point and its new tables, and nothing speaks against it', async () => {
    const { broken, isDoubtNew, requests } = await check(ALL, newest);
    expect([broken, isDoubtNew]).toEqual([[], true]);
    const { replayAfterWalId } = newest.manifest;
    const log = replayAfterWalId > 0 ? [`get ${walPath(replayAfterWalId)}`] : [];
    expect(requests.sort()).toEqual(
      [`get ${manifestPath(4)}`, ...log, ...newTables.map((t) => `get ${tablePath(t.id)}`)].sort(),
    );
  });

  it('is not compared with one that a collector may have deleted', async () => {
    const { broken, isDoubtNew, requests } = await check(ALL, newest, 4);
    expect([broken, isDoubtNew, requests.includes(`get ${manifestPath(4)}`)]).toEqual([[], false, false]);
  });

  it('is not doubted for what is gone: tables, log and the manifest before', async () => {
    expect((await check([], newest)).broken).toEqual([]);
  });
});

describe('a manifest that contradicts the one before it', () => {
  const bad = changed({ writerEpoch: newest.manifest.writerEpoch + 7 });

  it('is damaged; one LIST asks whether both are of one history', async () => {
    const { broken, requests } = await check(ALL, bad);
    expect(broken).toContain('the writer epoch rose by more than 1');
    expect(requests.filter((r) => r.startsWith('list'))).toEqual(['list manifest/']);
  });
});

describe('a manifest that says something else of a new table than the table', () => {
  it('is damaged if it is one field', async () => {
    const [view, ...others] = newest.manifest.l0;
    const table = { ...view.table, info: { ...view.table.info, lastEntry: Uint8Array.of(0) } };
    const { broken } = await check(
      [manifestPath(5), tablePath(table.id)],
      changed({ l0: [{ ...view, table }, ...others] }),
      4,
    );
    expect(broken).toEqual([`lastEntry of table ${table.id} is not what the table itself says`]);
  });
});
