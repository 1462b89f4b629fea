/**
 * Every manifest of every golden database, beside the one before it: what is held against a damaged manifest never holds of
 * one that SlateDB wrote.
 */
import { describe, expect, it } from 'vitest';
import { parseManifestPath } from '../../src/format/object-names.ts';
import { contradictions, doubts } from '../../src/recovery/manifest-cross-check.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { openReader } from '../../src/open.ts';
import { goldenInMemory, goldenReadOptions } from '../support/golden-database.ts';
import { type GoldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';

/** The constructed ones are by other builders. */
const fixtures = goldenFixtures().filter(({ name }) => name.startsWith('slatedb-'));

/** The manifests of each database of a fixture (a clone has its parent beside it), by id. */
function manifestsOf({ objects }: GoldenFixture): Map<number, LoadedManifest>[] {
  const databases = new Map<string, Map<number, LoadedManifest>>();
  for (const { path, bytes } of objects) {
    const at = path.indexOf('manifest/');
    const id = at < 0 ? undefined : parseManifestPath(path.slice(at));
    if (id === undefined) continue;
    const root = path.slice(0, at);
    databases.set(root, (databases.get(root) ?? new Map()).set(id, loadManifest(id, bytes)));
  }
  return [...databases.values()];
}

it('445 manifests are here, 388 of them with the one before', () => {
  const all = fixtures.flatMap(manifestsOf);
  const pairs = all.map((byId) => [...byId.keys()].filter((id) => byId.has(id - 1)).length);
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
  expect([sum(all.map((byId) => byId.size)), sum(pairs)]).toEqual([445, 388]);
});

describe.each(fixtures)('$name', (fixture) => {
  it('has manifests that each continue the one before', () => {
    for (const byId of manifestsOf(fixture)) {
      for (const [id, loaded] of byId) {
        const previous = byId.get(id - 1);
        const broken = contradictions(id, loaded.manifest, { previous: previous?.manifest, replayed: undefined });
        expect({ id, broken, doubts: doubts(loaded, previous) }).toEqual({ id, broken: [], doubts: [] });
      }
    }
  });

  it('is opened without a word, or with one about what SlateDB did', async () => {
    const said: string[] = [];
    const say = (message: string) => void said.push(message);
    const logger = { debug() {}, info: say, warn: say, error: say };
    const reader = await openReader(await goldenInMemory(fixture), { ...goldenReadOptions(fixture.expected), logger });
    await reader.close();
    // Some have zero-byte fences after objects without a seal, about which nothing more can be known.
    const expected = fixture.name === 'slatedb-0.17.0/union-same-views' ? ['views of level 0 share an id'] : [];
    expect(said.filter((message) => message !== 'about the log')).toEqual(expected);
  });
});

it('may be made before the writer has noted the log object at its replay point, but not two objects before', () => {
  const { objects } = fixtures.find(({ name }) => name === 'slatedb-0.15.0/tiny')!;
  const { bytes } = objects.find(({ path }) => path.endsWith('/manifest/00000000000000000004.manifest'))!;
  const { manifest } = loadManifest(4, bytes);
  const brokenWith = (walIdLastSeen: number) =>
    contradictions(4, { ...manifest, walIdLastSeen }, { previous: undefined, replayed: undefined });
  expect(manifest.replayAfterWalId).toBe(3);
  expect([3, 2].flatMap(brokenWith)).toEqual([]);
  expect(brokenWith(1)).toEqual(['the replay point 3 is after the last WAL id seen, 1']);
});
