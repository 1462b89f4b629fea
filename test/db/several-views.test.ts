/** One table listed under several views: written on without a row lost, or refused before anything is written. */
import { describe, expect, it } from 'vitest';
import { IncompatibleError } from '../../src/common/errors.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import type { Bound, Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { type LoadedManifest, listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open, openReader } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import type { MemoryStore } from '../../src/store/memory-store.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { gathered, goldenInMemory } from '../support/golden-database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
const UNION = 'slatedb-0.17.0/union-same-views';

async function newest({ store, path }: DatabaseLocation): Promise<LoadedManifest> {
  const root = prefixedStore(store, path);
  const id = (await listManifestIds(root)).at(-1)!;
  return loadManifest(id, (await root.get(manifestPath(id)))!.bytes);
}

/** The union with one manifest more, as a process leaves it that makes `change`. */
async function unionWith(change: (manifest: Manifest) => Manifest): Promise<DatabaseLocation> {
  const location = await goldenInMemory(goldenFixture(UNION));
  const { id, manifest } = await newest(location);
  await prefixedStore(location.store, location.path).put(manifestPath(id + 1), encodeManifest(change(manifest)), {
    condition: 'if-absent',
    putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
  });
  return location;
}

/** As SlateDB 0.12.1 to 0.15 write it over a union. */
const asVersion1 = (m: Manifest): Manifest => ({ ...m, headerVersion: 1, segments: undefined });

async function objectsOf({ store }: DatabaseLocation): Promise<string[]> {
  const objects: string[] = [];
  for await (const { path, etag } of (store as MemoryStore).list('')) objects.push(`${path} ${etag}`);
  return objects;
}

async function refusalOf(location: DatabaseLocation, options: OpenOptions): Promise<unknown> {
  const before = await objectsOf(location);
  const error = await open(location, { logger: SILENT, ...options }).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(await objectsOf(location)).toEqual(before);
  return error;
}

describe('manifests of version 1, which store no view ids', () => {
  it('are not written over several views of one table; the error names the remedy', async () => {
    const location = await goldenInMemory(goldenFixture(UNION));
    const { manifest } = await newest(location);
    const error = await refusalOf(location, { compatibility: 'slatedb-0.12' });
    expect(error).toBeInstanceOf(IncompatibleError);
    expect(error).toMatchObject({
      code: 'PROFILE_UNSUITABLE',
      message: expect.stringMatching(/compatibility 'slatedb-0.12' .*Leave the option out, or .*'slatedb-0.17'/),
      details: { tables: [manifest.l0[0].table.id], headerVersion: 2 },
    });
  });

  it.each(['auto', 'slatedb-0.12'] as const)('are not gone on with as %s', async (compatibility) => {
    const location = await unionWith(asVersion1);
    const error = await refusalOf(location, { compatibility });
    expect(error).toBeInstanceOf(IncompatibleError);
    expect(error).toMatchObject({
      code: 'PROFILE_UNSUITABLE',
      message: expect.stringMatching(/Open it with compatibility 'slatedb-0.17'/),
    });
    // A reader needs no ids.
    const reader = await openReader(location, { logger: SILENT });
    expect((await gathered(reader.scan())).length).toBe(200);
    await reader.close();
  });

  it('become version 2 with an id for each view', async () => {
    const location = await unionWith(asVersion1);
    const { id, manifest } = await newest(location);
    expect(new Set(manifest.l0.map((view) => view.viewId)).size).toBe(1);
    const db = await open(location, { logger: SILENT, compatibility: 'slatedb-0.17' });
    await db.put('k0000', 'newer');
    await db.flush({ type: 'memtable' });
    await db.close();
    const claimed = decodeManifest(
      (await prefixedStore(location.store, location.path).get(manifestPath(id + 1)))!.bytes,
    ).manifest;
    expect(claimed.headerVersion).toBe(2);
    expect(new Set(claimed.l0.map((view) => view.viewId)).size).toBe(2);
    expect(claimed.l0.map((view) => view.visibleRange)).toEqual(manifest.l0.map((view) => view.visibleRange));
    expect((await newest(location)).manifest.l0.slice(1)).toEqual(claimed.l0);
    const reader = await openReader(location, { logger: SILENT });
    const rows = await gathered(reader.scan());
    expect(rows.length).toBe(200);
    expect(Buffer.from(rows[0].value).toString()).toBe('newer');
    await reader.close();
  });
});

describe('a table that is written', () => {
  it('has an id above those of the views', async () => {
    const location = await unionWith((m) => {
      const later = `7ZZZZZZZZZ${m.l0[0].viewId.slice(10)}` as Manifest['l0'][0]['viewId'];
      return { ...m, l0: [{ ...m.l0[0], viewId: later }, m.l0[1]] };
    });
    const [view] = (await newest(location)).manifest.l0;
    const db = await open(location, { logger: SILENT });
    await db.put('k', 'v');
    await db.flush({ type: 'memtable' });
    await db.close();
    const [made] = (await newest(location)).manifest.l0;
    expect(made.table.id > view.viewId).toBe(true);
  });
});

describe('what no program writes', () => {
  const cutAt = (text: string): Bound => ({ kind: 'excluded', key: new TextEncoder().encode(text) });

  it.each([
    [
      'views of one id with a key in common',
      /lists view \w+ twice/,
      (m: Manifest): Manifest => {
        const [first, second] = m.l0;
        return { ...m, l0: [{ ...first, visibleRange: { ...first.visibleRange!, end: cutAt('k0150') } }, second] };
      },
    ],
    [
      'two runs of one id',
      /lists run 4 twice/,
      (m: Manifest): Manifest => ({ ...m, l0: [], runs: m.l0.map((view) => ({ id: 4, views: [view] })) }),
    ],
  ])('is damage: %s', async (_name, message, change) => {
    const location = await unionWith(change);
    const error = await refusalOf(location, {});
    expect(error).toMatchObject({ code: 'MANIFEST_INCONSISTENT', message: expect.stringMatching(message) });
    await expect(openReader(location, { logger: SILENT })).rejects.toMatchObject({ code: 'MANIFEST_INCONSISTENT' });
  });
});
