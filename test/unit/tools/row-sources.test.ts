/** Rows for a table that lost some: of what is cut off by a view nothing comes back. */
import { describe, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../../src/common/clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { decodeManifest, encodeManifest } from '../../../src/format/manifest-codec.ts';
import type { Manifest, TableView } from '../../../src/format/manifest-types.ts';
import { manifestPath, tablePath } from '../../../src/format/object-names.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { inputCandidates, rowsOfOthers } from '../../../src/tools/row-sources.ts';
import type { LooseRow } from '../../../src/tools/table-rebuild.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';

const FIXTURE = 'slatedb-0.17.0/union-same-views-lossy';
const bytesOf = (text: string) => new TextEncoder().encode(text);
const ALL = { gte: bytesOf('k'), lte: bytesOf('l') };
const manifestOf = (id: number) => decodeManifest(goldenBytes(FIXTURE, `union/${manifestPath(id)}`)).manifest;
const keysOf = (rows: readonly LooseRow[]) => rows.map(({ key }) => Buffer.from(key).toString());

/** 200 rows, k0000 to k0199, seen through [.., k0100) and [k0100, ..]. */
const union = manifestOf(4);
const [low, high] = union.l0;

/** A database whose manifest 2 has what a compaction made of manifest 1. */
async function compacted(before: Manifest, after: Manifest) {
  const store = new MemoryStore();
  const put = (path: string, bytes: Uint8Array) =>
    store.put(path, bytes, { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  await put(tablePath(low.table.id), goldenBytes(FIXTURE, `parent/${tablePath(low.table.id)}`));
  await put(manifestPath(1), encodeManifest(before));
  await put(manifestPath(2), encodeManifest(after));
  const place = { location: { store, path: '' }, isRootAssumed: false };
  return databaseStores(place, { clock: SYSTEM_CLOCK, random: new SeededRandom(1), timeoutMs: 1000 });
}

const own = (l0: TableView[], runs: Manifest['runs']): Manifest => ({ ...union, externalDbs: [], l0, runs });
const [output] = manifestOf(14).runs.at(-1)!.views;

describe('rows from the inputs of a compaction', () => {
  it('are those that their views showed', async () => {
    const stores = await compacted(own([low], []), own([], [{ id: 0, views: [output] }]));
    const found = await inputCandidates(stores.main, output.table.id, undefined, ALL);
    expect(found.isComplete).toBe(true);
    expect(keysOf(found.rows)).toEqual(Array.from({ length: 100 }, (_, i) => `k${String(i).padStart(4, '0')}`));
  });

  it('come once from a table with two views', async () => {
    const stores = await compacted(own([low, high], []), own([], [{ id: 0, views: [output] }]));
    const found = await inputCandidates(stores.main, output.table.id, undefined, ALL);
    expect(new Set(keysOf(found.rows)).size).toBe(200);
    expect(found.rows.length).toBe(200);
  });
});

describe('rows of other tables', () => {
  it('are those that their views show', async () => {
    const stores = await compacted(own([low, high], []), own([low, high], []));
    const rows = async (...views: TableView[]) => keysOf((await rowsOfOthers(stores.main, views, ALL))!);
    expect((await rows(high)).slice(0, 2)).toEqual(['k0100', 'k0101']);
    expect((await rows(low)).length).toBe(100);
    expect((await rows(low, high)).length).toBe(200);
  });
});
