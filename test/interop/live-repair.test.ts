/**
 * Repairs beside live processes: a SlateDB (0.12.1, 0.17.0 and 0.18.0) that writes, flushes and compacts, and a ShaleDB that writes and
 * flushes. Asked to refuse, a repair sees them and changes nothing. Asked to take over, it fences writer and compactor, also in
 * the middle of a compaction; they are fenced, and nothing that they still do brings back what was repaired.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FencedError, isCorruption } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { type CompactionJob, decodeCompactions } from '../../src/format/compactions-codec.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import {
  compactionsPath,
  manifestPath,
  parseCompactionsPath,
  tablePath,
  walPath,
} from '../../src/format/object-names.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { readWalObject } from '../../src/lsm/wal/wal-object.ts';
import { open, openReader } from '../../src/open.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { RepairOptions } from '../../src/tools/repair-plan.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { rejection } from '../support/database.ts';
import { testEnvironment } from '../support/environment.ts';
import { CONCAT, gathered } from '../support/golden-database.ts';
import { describeHandoversInDirectory, inDirectory, type SharedPlace } from '../support/handover-places.ts';
import { contentOf, LiveLoad } from '../support/live-load.ts';
import type { LiveSlateDb, SlateDbOpenOptions, SlateDbPlace } from '../support/live-slatedb.ts';
import { slateDb012 } from '../support/slatedb-012.ts';
import { slateDb017 } from '../support/slatedb-017.ts';
import { slateDb018 } from '../support/slatedb-018.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const LIMIT_MS = 90_000;
const LIVE_CHECK_MS = 2000;
const TRIES = 20;
const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
/** Memtables of some 15 large rows. */
const SETTINGS = { flush_interval: '2ms', l0_sst_size_bytes: 32_768, manifest_poll_interval: '100ms' };
const SLATE: SlateDbOpenOptions = { settings: SETTINGS, compactor: true, mergeOperator: 'concat' };
const OFTEN = { interval: '100ms', min_age: '200ms' };
const COLLECTED = { manifest_options: OFTEN, wal_options: OFTEN, compacted_options: OFTEN };
const COLLECTED_SINCE_017 = {
  ...COLLECTED,
  wal_fence_options: OFTEN,
  compactions_options: OFTEN,
  detach_options: { interval: '100ms' },
};
const COLLECTOR: Record<LiveSlateDb['version'], Record<string, unknown>> = {
  '0.12.1': { garbage_collector_options: COLLECTED },
  '0.17.0': { garbage_collector_options: COLLECTED_SINCE_017 },
  '0.18.0': { garbage_collector_options: COLLECTED_SINCE_017 },
};
const ROUNDS = 12;
const UNFINISHED: readonly CompactionJob['status'][] = ['submitted', 'scheduled', 'running', 'compacted'];
/** From 0.17 on it first reports that the new tables are there, and writes its manifest up to a second later. */
const UNDER_WAY: readonly CompactionJob['status'][] = ['running', 'compacted'];

/** One database and what is in its store. */
class Watched {
  readonly place: SharedPlace;
  readonly root: ObjectStore;

  constructor(place: SharedPlace) {
    this.place = place;
    this.root = prefixedStore(place.ours.store, place.ours.path);
  }

  async newest(): Promise<{ id: number; bytes: Uint8Array; manifest: Manifest }> {
    const id = (await listManifestIds(this.root)).at(-1)!;
    const { bytes } = (await this.root.get(manifestPath(id)))!;
    return { id, bytes, manifest: loadManifest(id, bytes).manifest };
  }

  /** Every manifest that can be read. */
  async manifests(): Promise<Manifest[]> {
    const loaded: Manifest[] = [];
    for (const id of await listManifestIds(this.root)) {
      const got = await this.root.get(manifestPath(id));
      try {
        if (got !== undefined) loaded.push(loadManifest(id, got.bytes).manifest);
      } catch (error) {
        // One was damaged by the test.
        if (!isCorruption(error)) throw error;
      }
    }
    return loaded;
  }

  /** Ids of the objects of the log after the replay point that hold rows. */
  async filledLog(): Promise<number[]> {
    const ids: number[] = [];
    for (let id = (await this.newest()).manifest.replayAfterWalId + 1; ; id++) {
      const got = await this.root.get(walPath(id));
      if (got === undefined) return ids;
      if (((await readWalObject(id, got.bytes)).object?.rowCount ?? 0) > 0) ids.push(id);
    }
  }

  async compactions(): Promise<{ compactorEpoch: number; jobs: CompactionJob[] } | undefined> {
    let id: number | undefined;
    for await (const { path } of this.root.list('compactions/')) id = parseCompactionsPath(path) ?? id;
    const got = id === undefined ? undefined : await this.root.get(compactionsPath(id));
    return got && decodeCompactions(got.bytes).compactions;
  }

  async jobs(statuses: readonly CompactionJob['status'][]): Promise<CompactionJob[]> {
    return ((await this.compactions())?.jobs ?? []).filter((job) => statuses.includes(job.status));
  }

  async change(path: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
    const { bytes } = (await this.root.get(path))!;
    await this.root.put(path, change(bytes), { condition: 'any', putId: PUT_ID });
  }

  /** What the manifests name that are there: how often was flushed, and what was merged. */
  async history(): Promise<{ flushed: number; merged: number }> {
    const l0 = new Set<string>();
    const merged = new Set<string>();
    for (const m of await this.manifests()) {
      for (const view of m.l0) l0.add(view.table.id);
      for (const run of m.runs) for (const view of run.views) merged.add(view.table.id);
    }
    return { flushed: l0.size, merged: merged.size };
  }
}

function tablesOf({ l0, runs }: Manifest): Set<string> {
  return new Set([...l0, ...runs.flatMap((run) => run.views)].map((view) => view.table.id));
}

async function until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (const limit = Date.now() + LIMIT_MS; ; ) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > limit) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** For what comes only if others do their part: no test waits forever without saying for what. */
async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), LIMIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The place for a tool, and the names of what it wrote or deleted. */
function observed({ ours }: SharedPlace): { location: SharedPlace['ours']; changed: string[] } {
  const { store } = ours;
  const changed: string[] = [];
  const watching: ObjectStore = {
    name: store.name,
    ...(store.conformance !== undefined && { conformance: store.conformance }),
    get: (path, o) => store.get(path, o),
    head: (path, o) => store.head(path, o),
    list: (prefix, o) => store.list(prefix, o),
    delete: (paths, o) => {
      changed.push(...paths);
      return store.delete(paths, o);
    },
    put: (path, bytes, o) => {
      changed.push(path);
      return store.put(path, bytes, o);
    },
  };
  return { location: { ...ours, store: watching }, changed };
}

type Tool = (location: SharedPlace['ours'], options: RepairOptions) => Promise<RepairReport>;

/** Damages an object that is in use; what comes back repairs it. */
type Damage = (db: Watched) => Promise<Tool>;

const MORE = { logger: QUIET };

const DAMAGES: Record<string, Damage> = {
  'walRepair: an object of the log': async (db) => {
    const ids = await db.filledLog();
    expect(ids.length).toBeGreaterThan(2);
    await db.change(walPath(ids[ids.length >> 1]), (bytes) => bytes.map((b, i) => (i >= 4 && i < 14 ? b ^ 0x5a : b)));
    return (location, options) => walRepair(location, { ...MORE, acceptLoss: true, ...options });
  },
  'sstRepair: an L0 table': async (db) => {
    const { manifest } = await db.newest();
    return ruinTable(db, manifest.l0.at(-1)!.table.id);
  },
  'sstRepair: a table of a sorted run': async (db) => {
    const { manifest } = await db.newest();
    return ruinTable(db, manifest.runs[0].views[0].table.id);
  },
  'manifestRepair: the newest manifest': async (db) => {
    const { id } = await db.newest();
    await db.change(manifestPath(id), (bytes) => bytes.subarray(0, bytes.length >> 1));
    return (location, options) => manifestRepair(location, { ...MORE, ...options });
  },
};

async function ruinTable(db: Watched, id: string): Promise<Tool> {
  const { blocks } = await sstInspect(db.place.ours, id);
  const { offset, storedBytes } = blocks[blocks.length >> 1];
  await db.change(tablePath(id as Parameters<typeof tablePath>[0]), (bytes) => {
    const changed = new Uint8Array(bytes);
    return changed.fill(0xee, offset, offset + storedBytes);
  });
  return (location, options) => sstRepair(location, id, { ...MORE, acceptLoss: true, ...options });
}

const KINDS = Object.keys(DAMAGES);
/** What our writer has beside it: a table stays in L0 only where nobody merges, and only a compactor makes runs. */
const KINDS_OF_OURS = KINDS.map((kind) => ({ kind, compactor: kind.includes('L0 table') ? (false as const) : {} }));

const started: LiveSlateDb[] = [];
const directories: string[] = [];
let db: Watched;
let load: LiveLoad;
beforeEach(async () => {
  db = new Watched(await inDirectory());
  load = new LiveLoad();
});
afterEach(async () => {
  for (const slate of started.splice(0)) await slate.crash();
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
  await db.place.dispose();
});

/** Some rows are only in the log, one object of which is damaged between two others. */
async function untilLogged(): Promise<void> {
  await load.goesOn(12);
  await until('three objects of the log', async () => (await db.filledLog()).length > 2);
}

function newSlate(make: () => LiveSlateDb): LiveSlateDb {
  const slate = make();
  started.push(slate);
  return slate;
}

function copied(): SlateDbPlace & { directory: string } {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-copy-'));
  directories.push(directory);
  cpSync((db.place.slate as { directory: string }).directory, directory, { recursive: true });
  return { directory, path: db.place.slate.path };
}

/** Errors that `verify` finds. What was replaced may be pinned by a checkpoint that the compactor of 0.17 made. */
async function errorsInUse(): Promise<Finding[]> {
  const inUse = tablesOf((await db.newest()).manifest);
  const isReplaced = ({ object }: Finding) => object.role === 'table' && !inUse.has(object.id);
  const { findings } = await verify(db.place.ours, { logger: QUIET });
  return findings.filter((f) => f.severity === 'error' && !isReplaced(f));
}

async function expectBy(reader: Pick<LiveSlateDb, 'scan' | 'getMany'>): Promise<void> {
  const rows = await reader.scan();
  load.settle(contentOf(rows));
  const values = await reader.getMany(rows.map((row) => row.key));
  load.settle(contentOf(rows.map(({ key }, i) => ({ key, value: values[i]! }))));
}

/** Ours and every SlateDB open what is there, each a copy of its own, and read the rows that there must be. */
async function expectEverywhere(writtenBy: LiveSlateDb['version'] | 'ours', lost: RepairReport['lostSeqs']) {
  const reader = await openReader(db.place.ours, { logger: QUIET, mergeOperator: CONCAT });
  load.settle(contentOf(await gathered(reader.scan())), lost);
  await reader.close();
  const { directory, path } = copied();
  const ours = await open({ store: new LocalStore(directory), path }, { logger: QUIET, mergeOperator: CONCAT });
  await expectBy({ scan: () => gathered(ours.scan()) as never, getMany: (keys) => ours.getMany(keys) });
  await ours.close();

  if (!('missing' in testEnvironment().slateDb018)) {
    const newest = newSlate(slateDb018);
    await newest.open(copied(), SLATE);
    await expectBy(newest);
    await newest.close();
  }
  const forNewer = copied();
  if (!('missing' in testEnvironment().slateDb017)) {
    const newer = newSlate(slateDb017);
    await newer.open(forNewer, SLATE);
    await expectBy(newer);
    // 0.12.1 cannot open what is in the log of 0.17, so that is written into tables.
    await newer.merge('merged', '');
    await newer.close();
  }
  const older = newSlate(slateDb012);
  // Nor does its compactor know the files of the compactors since.
  if (writtenBy === '0.17.0' || writtenBy === '0.18.0') await older.open(forNewer, { ...SLATE, compactor: false });
  else await older.open(copied(), SLATE);
  await expectBy(older);
  await older.close();
}

describeHandoversInDirectory(({ version, makeSlate }) => {
  /** A writer with its compactor, at work. */
  async function startLoad(more: Record<string, unknown> = {}) {
    const slate = newSlate(makeSlate);
    await slate.open(db.place.slate, { ...SLATE, settings: { ...SETTINGS, ...more } });
    const stopping = new AbortController();
    const ended = load.run(slate, stopping.signal);
    await until('two compactions', async () => (await db.history()).merged >= 2);
    return { slate, ended, stop: () => stopping.abort() };
  }

  /** The same database, calm, under a load whose writer does not look at manifests and has no compactor that does. */
  async function blindLoad(): Promise<{ slate: LiveSlateDb; ended: Promise<unknown> }> {
    const { slate, ended, stop } = await startLoad();
    await calm(slate);
    stop();
    await ended;
    await slate.close();
    await slate.open(db.place.slate, {
      ...SLATE,
      compactor: false,
      // Nor a memtable that is flushed, which reads the manifest too.
      settings: { ...SETTINGS, manifest_poll_interval: '1h', l0_sst_size_bytes: 64 << 20 },
    });
    const again = load.run(slate);
    await load.goesOn(12);
    return { slate, ended: again };
  }

  /** No compaction is due, one or two tables stand before the runs, and some rows are only in the log. */
  async function calm(slate: LiveSlateDb): Promise<void> {
    load.setSize('small');
    await until('a calm tree', async () => {
      await slate.flush('memtable');
      await until('the end of compactions', async () => {
        const { l0 } = (await db.newest()).manifest;
        return l0.length < 4 && (await db.jobs(UNFINISHED)).length === 0;
      });
      const { l0, runs } = (await db.newest()).manifest;
      return l0.length >= 1 && l0.length <= 2 && runs.length > 0;
    });
    await untilLogged();
  }

  /**
   * The process learned that it is fenced, or ended where a damaged manifest was read that it had listed before. Whatever it
   * still tries, what the repair wrote is what counts; afterwards the process is gone.
   */
  async function expectToStand(slate: LiveSlateDb, kind: string, { manifestId }: RepairReport, ended: unknown) {
    const isAtDamage = kind.startsWith('manifestRepair') && /manifest.*RangeOutOfBounds/.test(String(ended));
    if (!isAtDamage) expect(ended).toMatchObject({ fenced: true });
    const refusal = isAtDamage ? { name: 'SlateDbError' } : { fenced: true };
    const standing = await db.newest();
    expect(BigInt(standing.id)).toBe(manifestId);
    expect((await db.compactions())?.compactorEpoch).toBe(standing.manifest.compactorEpoch);
    const tries = [
      () => slate.flush('memtable'),
      () => slate.put('key-000', 'too late'),
      () => slate.flush('wal'),
      () => slate.merge('merged', 'too late'),
    ];
    for (let i = 0; i < TRIES; i++) {
      await expect(tries[i % tries.length]()).rejects.toMatchObject(refusal);
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await db.newest()).id).toBe(standing.id);
    }
    await slate.crash();
    expect((await db.compactions())?.compactorEpoch).toBe(standing.manifest.compactorEpoch);
    expect(await db.newest()).toEqual(standing);
    expect(await errorsInUse()).toEqual([]);
  }

  /** A new SlateDB goes on where the repair left off: it flushes, merges, and has every row. */
  async function expectToGoOn(): Promise<void> {
    const { merged } = await db.history();
    const slate = newSlate(makeSlate);
    await slate.open(db.place.slate, SLATE);
    const stop = new AbortController();
    load.setSize('large');
    const ended = load.run(slate, stop.signal);
    await until('two more compactions', async () => (await db.history()).merged >= merged + 2);
    stop.abort();
    expect(await ended).toBeUndefined();
    await expectBy(slate);
    // Rows that 0.12.1 has replayed and not yet put into a table are no longer found when it ends (left-out-rows.test.ts).
    await slate.flush('memtable');
    await slate.close();
    const reader = await openReader(db.place.ours, { logger: QUIET, mergeOperator: CONCAT });
    load.settle(contentOf(await gathered(reader.scan())));
    await reader.close();
  }

  it.each(KINDS)('%s: refused beside a live writer, then taken over', async (kind) => {
    // 0.12.1 ends by itself at its next look at a damaged manifest.
    const isBlind = version === '0.12.1' && kind.startsWith('manifestRepair');
    const { slate, ended } = isBlind ? await blindLoad() : await startLoad();
    if (!isBlind) await calm(slate);
    const repair = await DAMAGES[kind](db);
    const { location, changed } = observed(db.place);
    const error = await rejection(repair(location, { apply: true, liveCheckMs: LIVE_CHECK_MS }));
    expect({ code: error.code, changed }, error.message).toEqual({ code: 'LIVE_WRITER', changed: [] });
    await load.goesOn(3);

    const report = await repair(db.place.ours, { apply: true, ifLiveWriter: 'fence' });
    expect(report.applied).toBe(true);
    await expectToStand(slate, kind, report, await within('the writer is fenced', ended));
    await expectEverywhere(version, report.lostSeqs);
    await expectToGoOn();
  });

  it.each(KINDS)('%s: taken over in the middle of a compaction', async (kind) => {
    const { slate, ended } = await startLoad();
    await until('a compaction under way', async () => {
      if ((await db.jobs(UNDER_WAY)).length === 0) return false;
      await slate.pause();
      const { l0 } = (await db.newest()).manifest;
      const isOpen = (await db.jobs(UNDER_WAY)).some(({ spec }) => {
        const inputs = spec.l0ViewIds ?? [];
        return inputs.length > 0 && inputs.every((id) => l0.some((view) => view.viewId === id));
      });
      // One object of the log is damaged between two others.
      const isReady = isOpen && (await db.filledLog()).length > 2;
      if (!isReady) slate.resume();
      return isReady;
    });
    const repair = await DAMAGES[kind](db);
    const report = await repair(db.place.ours, { apply: true, ifLiveWriter: 'fence' });
    expect(report.applied).toBe(true);
    slate.resume();
    await expectToStand(slate, kind, report, await within('the writer is fenced', ended));
    await expectEverywhere(version, report.lostSeqs);
    await expectToGoOn();
  });

  it.each(['cut to ten bytes', 'gone'])(
    'an object of the log is %s: flushed as advised, a live writer loses nothing',
    async (what) => {
      const { slate, stop, ended } = await startLoad();
      await calm(slate);
      const { replayAfterWalId } = (await db.newest()).manifest;
      // With the fourth id after the replay point 0.17's search for the end of the log stops.
      const path = walPath(replayAfterWalId + 4);
      if (what === 'gone') await db.root.delete([path]);
      else await db.change(path, (bytes) => bytes.subarray(0, 10));
      expect((await errorsInUse()).map((f) => f.object.path)).toContain(path);
      // Its rows are lost if the repair goes ahead: consent alone does not make it do so beside a writer that still has them.
      const repair = { logger: QUIET, apply: true, acceptLoss: true };
      const refused = await rejection(walRepair(db.place.ours, { ...repair, liveCheckMs: LIVE_CHECK_MS }));
      expect({ code: refused.code, hint: refused.hint?.summary }).toEqual({
        code: 'LIVE_WRITER',
        hint: expect.stringMatching(/^Flush the running writer/),
      });

      stop();
      expect(await ended).toBeUndefined();
      await slate.flush('memtable');
      expect(await walRepair(db.place.ours, repair)).toMatchObject({ outcome: 'clean', applied: false });
      expect(await errorsInUse()).toEqual([]);
      await slate.crash();
      await expectEverywhere(version, []);
    },
  );

  it('whatever only reads sees no damage beside a writer, a compactor and a collector, and changes nothing', async () => {
    const { slate, ended, stop } = await startLoad(COLLECTOR[version]);
    const { location, changed } = observed(db.place);
    const options = { logger: QUIET };
    const before = await db.history();
    for (let round = 0; round < ROUNDS; round++) {
      const { manifest } = await db.newest();
      const { findings } = await verify(location, options);
      expect(findings.filter((f) => f.severity === 'error')).toEqual([]);
      expect(await walRepair(location, options)).toMatchObject({ outcome: 'clean' });
      expect(await manifestRepair(location, options)).toMatchObject({ outcome: 'clean' });
      const table = manifest.runs[0].views[0].table.id;
      expect((await sstRepair(location, table, options)).outcome).toMatch(/clean|obsolete/);
      await load.goesOn(20);
    }
    expect(changed).toEqual([]);
    const after = await db.history();
    const collected = (await listManifestIds(db.root))[0];
    expect({
      flushed: after.flushed > before.flushed,
      merged: after.merged > before.merged,
      collected: collected > 1,
    }).toEqual({ flushed: true, merged: true, collected: true });
    stop();
    expect(await ended).toBeUndefined();
    await expectBy(slate);
    await slate.close();
  });
});

describe('a live ShaleDB', () => {
  it.each(KINDS_OF_OURS)('$kind: refused beside it, then taken over', async ({ kind, compactor }) => {
    const writer = await open(db.place.ours, {
      logger: QUIET,
      mergeOperator: CONCAT,
      flushIntervalMs: 1,
      l0SstSizeBytes: 32_768,
      compatibility: 'slatedb-0.12',
      compactor,
    });
    const ended = load.run(writer);
    await until('three tables', async () => (await db.history()).flushed >= 3);
    if (compactor !== false) await until('a sorted run', async () => (await db.history()).merged > 0);
    load.setSize('small');
    await writer.flush({ type: 'memtable' });
    await until('the end of compactions', async () => (await db.jobs(UNFINISHED)).length === 0);
    await untilLogged();
    const repair = await DAMAGES[kind](db);
    const { location, changed } = observed(db.place);
    const error = await rejection(repair(location, { apply: true, liveCheckMs: LIVE_CHECK_MS }));
    expect({ code: error.code, changed }, error.message).toEqual({ code: 'LIVE_WRITER', changed: [] });
    await load.goesOn(3);

    const report = await repair(db.place.ours, { apply: true, ifLiveWriter: 'fence' });
    expect(report.applied).toBe(true);
    expect(await within('the writer is fenced', ended)).toBeInstanceOf(FencedError);
    const standing = await db.newest();
    expect(BigInt(standing.id)).toBe(report.manifestId);
    await expect(writer.flush({ type: 'memtable' })).rejects.toBeInstanceOf(FencedError);
    await expect(writer.put('key-000', 'too late')).rejects.toBeInstanceOf(FencedError);
    await writer.close();
    expect(await db.newest()).toEqual(standing);
    await expectEverywhere('ours', report.lostSeqs);
  });
});
