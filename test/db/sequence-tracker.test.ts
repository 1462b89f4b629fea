/** The form of the sequence tracker: version 2, which SlateDB before 0.18 does not open, is kept and never begun. */
import { describe, expect, it } from 'vitest';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { decodeTracker, encodeTracker } from '../../src/format/sequence-tracker.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open } from '../../src/open.ts';
import type { DatabaseLocation } from '../../src/store/location.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { clockFrom, goldenInMemory } from '../support/golden-database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };
/** After all pairs of the fixtures. */
const NOW = 1_795_950_000_000;
const FAR = 2 ** 40;

const rootOf = ({ store, path }: DatabaseLocation) => prefixedStore(store, path);

async function manifests(location: DatabaseLocation): Promise<{ id: number; manifest: Manifest }[]> {
  const root = rootOf(location);
  const ids = await listManifestIds(root);
  return Promise.all(ids.map(async (id) => loadManifest(id, (await root.get(manifestPath(id)))!.bytes)));
}

/** The fixture with one manifest more. */
async function withManifest(name: string, change: (manifest: Manifest) => Manifest): Promise<DatabaseLocation> {
  const location = await goldenInMemory(goldenFixture(name));
  const { id, manifest } = (await manifests(location)).at(-1)!;
  await rootOf(location).put(manifestPath(id + 1), encodeManifest(change(manifest)), {
    condition: 'if-absent',
    putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
  });
  return location;
}

/** Opens, writes, flushes and closes; the trackers of all manifests that this wrote, with their versions. */
async function trackersWritten(location: DatabaseLocation, options: OpenOptions) {
  const before = (await manifests(location)).at(-1)!.id;
  const db = await open(location, { clock: clockFrom(NOW), logger: SILENT, ...options });
  await db.put('k', 'v');
  await db.flush({ type: 'memtable' });
  await db.close();
  const written = (await manifests(location)).filter(({ id }) => id > before);
  expect(written.length).toBeGreaterThan(1);
  return written.map(({ manifest: { sequenceTracker } }) => ({
    version: sequenceTracker![0],
    seqs: decodeTracker(sequenceTracker!).seqs,
  }));
}

describe('a tracker of version 2', () => {
  const FIXTURE = 'slatedb-0.18.0/tracker-v2';

  it.each(['auto', 'slatedb-0.17'] as const)('keeps its form and its pairs as %s', async (compatibility) => {
    const location = await goldenInMemory(goldenFixture(FIXTURE));
    const written = await trackersWritten(location, { compatibility });
    const last = Number(goldenFixture(FIXTURE).expected.latest_manifest.last_l0_seq);
    for (const { version, seqs } of written) {
      expect(version).toBe(2);
      expect(seqs.slice(0, 3)).toEqual([1, FAR, FAR + 1]);
    }
    expect(written.at(-1)!.seqs.at(-1)).toBeGreaterThan(last);
  });

  it('becomes version 1 with the claim as slatedb-0.12, without the pairs before the jump', async () => {
    const location = await goldenInMemory(goldenFixture(FIXTURE));
    const written = await trackersWritten(location, { compatibility: 'slatedb-0.12' });
    expect(written.map(({ version }) => version)).toEqual(written.map(() => 1));
    for (const { seqs } of written) expect(seqs.includes(1)).toBe(false);
    expect(written.at(-1)!.seqs.length).toBeGreaterThan(written[0].seqs.length);
  });

  it('is written where a manifest that came after the opening has it', async () => {
    const location = await goldenInMemory(goldenFixture('slatedb-0.17.0/tiny'));
    const db = await open(location, { clock: clockFrom(NOW), logger: SILENT, compatibility: 'slatedb-0.17' });
    const { id, manifest } = (await manifests(location)).at(-1)!;
    const pairs = { seqs: [1, FAR], timesS: [1_795_000_000, 1_795_000_001] };
    const theirs = { ...manifest, sequenceTracker: encodeTracker(pairs) };
    await rootOf(location).put(manifestPath(id + 1), encodeManifest(theirs), {
      condition: 'if-absent',
      putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV',
    });
    await db.put('k', 'v');
    await db.flush({ type: 'memtable' });
    await db.close();
    expect((await manifests(location)).at(-1)!.manifest.sequenceTracker![0]).toBe(2);
  });
});

describe('a tracker of version 1', () => {
  it.each(['auto', 'slatedb-0.12', 'slatedb-0.17'] as const)(
    'stays version 1 as %s: pairs before a jump that needs more are dropped',
    async (compatibility) => {
      const location = await withManifest('slatedb-0.17.0/tiny', (m) => ({
        ...m,
        lastL0Seq: FAR,
        recentSnapshotMinSeq: FAR,
        replayAfterWalId: m.walIdLastSeen,
        sequenceTracker: encodeTracker({ seqs: [1], timesS: [1_795_000_000] }),
      }));
      const written = await trackersWritten(location, { compatibility });
      expect(written.map(({ version }) => version)).toEqual(written.map(() => 1));
      expect(written.at(-1)!.seqs).toEqual([FAR + 1]);
    },
  );
});
