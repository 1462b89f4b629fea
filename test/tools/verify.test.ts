/** That no damage goes unseen: every byte, every length, every object of a small database, and none where there is none. */
import { describe, expect, it } from 'vitest';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath, parseWalPath } from '../../src/format/object-names.ts';
import { findManifestSeal } from '../../src/format/seal.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import type { VerifyReport } from '../../src/tools/reports.ts';
import { type VerifyOptions, verify } from '../../src/tools/verify.ts';
import { rejection, World, worldOfFixture } from '../support/database.ts';
import { goldenFixtures } from '../support/golden-fixtures.ts';
import { keyOf, numbers, tablesWorld } from '../support/table-database.ts';

const CHECKPOINT = '01234567-89ab-cdef-0123-456789abcdef';

/** Damage is tried at every so many bytes and lengths; with 1 (four minutes) nothing went unseen either. */
const STRIDE = 17;

function check(world: World, options: VerifyOptions = {}, path = ''): Promise<VerifyReport> {
  return world.run(verify({ store: world.memory, path }, { clock: world.clock, ...options }));
}

/** Two tables of several blocks, a log with two objects after them, an older writer's manifests; all sealed. */
async function smallWorld(): Promise<World> {
  const world = await tablesWorld([numbers(0, 24), numbers(8, 16)], { sstBlockSizeBytes: 1024 });
  const { db, line } = await world.connect({ minFilterKeys: 1 });
  for (const i of [1, 2]) await world.run(db.write(new WriteBatch().put(keyOf(i), `tail ${i}`).delete(keyOf(i + 30))));
  line.cut();
  return world;
}

const summary = (r: VerifyReport) => r.findings.map((f) => `${f.severity} ${f.code} ${f.object.path} ${f.at.unit}`);

/** Objects that must be there: what is before the replay point may have been collected, and older manifests too. */
async function neededPaths(world: World): Promise<string[]> {
  const manifests = await world.paths('manifest/');
  return [
    ...(await world.paths('compacted/')),
    ...(await world.paths('wal/')).slice(-2, -1),
    manifests.at(-1)!,
    'shale/identity',
  ];
}

/** What SlateDB itself left in a bad state, by fixture. */
const NAMED_STATES: Readonly<Record<string, string[]>> = {
  'slatedb-0.17.0/union-same-views': ['warning MANIFEST_INCONSISTENT manifest/00000000000000000004.manifest object'],
  'slatedb-0.17.0/union-same-views-lossy': ['error LOST_DATA manifest/00000000000000000011.manifest object'],
};

describe('a sound database', () => {
  it('is clean: written here', async () => {
    const report = await check(await smallWorld());
    expect(summary(report)).toEqual([]);
    expect(report).toMatchObject({ verdict: 'clean', nextSteps: [], ledger: [] });
    expect(report.sst.objects).toBe(2);
    expect(report.wal.rows).toBeGreaterThan(3);
  });

  it.each(goldenFixtures().map((f) => f.name))('is clean: %s', async (name) => {
    const fixture = goldenFixtures().find((f) => f.name === name)!;
    if (typeof fixture.expected.db_path !== 'string') return;
    const world = await worldOfFixture(name, '');
    const report = await check(world, {}, fixture.expected.db_path);
    expect(summary(report).filter((s) => !s.startsWith('note'))).toEqual(NAMED_STATES[name] ?? []);
  });
});

const unsealed = goldenFixtures().find((f) => f.expected.db_path === 'db')!;

describe('numbers of an unsealed manifest that are far too large', () => {
  it.each(['replayAfterWalId', 'walIdLastSeen', 'writerEpoch', 'lastL0Seq'] as const)(
    '%s: the check ends',
    async (field) => {
      const world = await worldOfFixture(unsealed.name);
      const newest = (await world.paths('manifest/')).at(-1)!;
      const { manifest } = loadManifest(parseManifestPath(newest)!, await world.bytes(newest));
      await world.replace(newest, encodeManifest({ ...manifest, walIdLastSeen: 2 ** 41, [field]: 2 ** 41 }));
      expect((await check(world)).verdict).not.toBe('clean');
    },
  );
});

describe('damage of a sealed database', () => {
  it('one bit of bytes of every object', async () => {
    const world = await smallWorld();
    const unseen: string[] = [];
    let flips = 0;
    for (const path of await world.paths()) {
      const pristine = await world.bytes(path);
      for (let at = flips % STRIDE; at < pristine.length; at += STRIDE) {
        const bytes = pristine.slice();
        bytes[at] ^= 1 << ((at * 5) % 8);
        await world.replace(path, bytes);
        const report = await check(world);
        if (report.findings.length === 0) unseen.push(`${path} byte ${at}`);
        flips++;
      }
      await world.replace(path, pristine);
    }
    expect(flips).toBeGreaterThan(5000 / STRIDE);
    expect(unseen).toEqual([]);
  }, 300_000);

  it('lengths to which an object can be cut', async () => {
    const world = await smallWorld();
    const unseen: string[] = [];
    for (const path of await world.paths()) {
      const pristine = await world.bytes(path);
      for (let length = 0; length < pristine.length; length += length < 11 ? 1 : STRIDE) {
        await world.replace(path, pristine.subarray(0, length));
        if ((await check(world)).findings.length === 0) unseen.push(`${path} cut to ${length}`);
      }
      await world.replace(path, pristine);
    }
    // A manifest without exactly its seal is a manifest of SlateDB; of one that claims an epoch nothing else speaks.
    expect(unseen.filter((u) => !u.startsWith('manifest/'))).toEqual([]);
    expect(unseen.filter((u) => u.startsWith('manifest/')).length).toBeLessThan(6);
  }, 300_000);

  it('the seal of the manifest of a flush, or of a close, that is gone to the byte', async () => {
    for (const closes of [false, true]) {
      const world = new World();
      const { db, line } = await world.connect();
      await world.run(db.put('a', '1'));
      await world.run(db.flush({ type: 'memtable' }));
      if (closes) await world.run(db.close());
      line.cut();
      const newest = (await world.paths('manifest/')).at(-1)!;
      const bytes = await world.bytes(newest);
      await world.replace(newest, bytes.subarray(0, findManifestSeal(bytes)!.start));
      expect(summary(await check(world))).toEqual([`warning TRUNCATED ${newest} seal`]);
    }
  });

  it('an object that is gone, or holds the bytes of another of its kind', async () => {
    const world = await smallWorld();
    const paths = await world.paths();
    for (const path of await neededPaths(world)) {
      const pristine = await world.bytes(path);
      await world.remove(path);
      expect(summary(await check(world)).length, `${path} gone`).toBeGreaterThan(0);
      await world.replace(path, pristine);
    }
    for (const path of paths) {
      const pristine = await world.bytes(path);
      const kind = path.slice(0, path.indexOf('/'));
      for (const other of paths.filter((p) => p !== path && p.startsWith(`${kind}/`) && kind !== 'shale')) {
        await world.replace(path, await world.bytes(other));
        expect(summary(await check(world)).length, `${other} as ${path}`).toBeGreaterThan(0);
      }
      await world.replace(path, pristine);
    }
    expect(summary(await check(world))).toEqual([]);
  }, 300_000);
});

it('says what to do next, worst first, and writes nothing', async () => {
  const world = await smallWorld();
  const [table] = await world.paths('compacted/');
  const bytes = await world.bytes(table);
  bytes.fill(0xee, 100, 200);
  await world.replace(table, bytes);
  const before = await world.versions();
  const report = await check(world);
  expect(report.verdict).toBe('corrupt');
  expect(report.nextSteps).toContain(`shaledb sst repair LOCATION ${table.slice('compacted/'.length, -4)}`);
  expect(await world.versions()).toEqual(before);
});

it.each(['gone', 'damaged'])(
  'says of an identity that is %s that the next opening writes it again, and so it is',
  async (how) => {
    const world = await smallWorld();
    const pristine = await world.bytes('shale/identity');
    if (how === 'gone') await world.remove('shale/identity');
    else await world.replace('shale/identity', pristine.subarray(0, 20));
    const report = await check(world);
    expect(report.findings.map((f) => f.hint.summary).join()).toContain('the next opening for writing writes it again');
    const { db, line } = await world.connect();
    await world.run(db.close());
    line.cut();
    expect(await world.bytes('shale/identity')).toEqual(pristine);
    expect(summary(await check(world))).toEqual([]);
  },
);

it('rejects where no database is', async () => {
  expect((await rejection(check(new World()))).code).toBe('NOT_A_DATABASE');
});

it('probes the store if asked to, and leaves no object', async () => {
  const world = await smallWorld();
  const before = await world.versions();
  expect((await check(world, { probe: true })).store).toEqual({ suitable: true, problems: [] });
  expect(await world.versions()).toEqual(before);
});

describe('a damaged object of the log from which nothing is replayed', () => {
  /** The newest manifest replays nothing; the one before replays all from `after` on, and a checkpoint may keep it. */
  async function flushedWorld(hasCheckpoint: boolean): Promise<{ world: World; path: string }> {
    const world = await smallWorld();
    const paths = await world.paths('wal/');
    const [path, last] = paths.slice(-2);
    const id = parseManifestPath((await world.paths('manifest/')).at(-1)!)!;
    const { manifest } = loadManifest(id, await world.bytes(manifestPath(id)));
    const seen = { ...manifest, walIdLastSeen: parseWalPath(last)! };
    await world.replace(manifestPath(id + 1), encodeManifest(seen));
    const checkpoint = { id: CHECKPOINT, manifestId: id + 1, expireTimeS: 0, createTimeS: 1, writerEpoch: undefined };
    const checkpoints = hasCheckpoint ? [{ ...checkpoint, name: undefined }] : [];
    const flushed = { ...seen, replayAfterWalId: seen.walIdLastSeen, checkpoints };
    await world.replace(manifestPath(id + 2), encodeManifest(flushed));
    const bytes = await world.bytes(path);
    bytes[20] ^= 1;
    await world.replace(path, bytes);
    return { world, path };
  }

  it.each([
    [false, /^Nothing is replayed from wal\/\d+\.sst any more/],
    [true, new RegExp(`^The newest state does not need this object of the log, only checkpoint ${CHECKPOINT}`)],
  ])('is named with the checkpoint that keeps it, if one does: %s', async (hasCheckpoint, summary) => {
    const { world, path } = await flushedWorld(hasCheckpoint);
    const { findings } = await check(world);
    const found = findings.filter((f) => f.object.path === path);
    expect(found.map((f) => f.severity)).toEqual(['warning']);
    expect(found[0]!.hint.summary).toMatch(summary);
  });
});
