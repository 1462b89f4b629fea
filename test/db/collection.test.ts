/** What an open database collects by itself, when, and what that costs; in virtual time, in memory and in a directory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deferred } from '../../src/common/async.ts';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { SYSTEM_RANDOM } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import type { Db } from '../../src/db/db.ts';
import { tablesOf } from '../../src/format/manifest-types.ts';
import {
  COMPACTIONS_BOUNDARY_PATH,
  MANIFEST_BOUNDARY_PATH,
  manifestPath,
  tablePath,
  walPath,
} from '../../src/format/object-names.ts';
import type { DbEvent } from '../../src/index.ts';
import { readManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open } from '../../src/open.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { rowsOf, thrown, toolAccess, World } from '../support/database.ts';
import { endJob, leaveOrphan, pathsOf, pin, writeTables } from '../support/garbage.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** Tables stay as they are written: these tests are about the collector. */
const ALONE: OpenOptions = { compactor: false };

const deleted = (db: Db) =>
  Object.fromEntries(
    Object.entries(db.upkeep().collector!.deleted).flatMap(([name, { objects }]) =>
      objects > 0 ? [[name, objects]] : [],
    ),
  );

describe('an open database', () => {
  it('deletes everything that nothing needs within an hour, and asks for nothing in the second one', async () => {
    const world = new World();
    const orphans = [await leaveOrphan(world), await leaveOrphan(world)];
    const { db, line } = await world.connect(ALONE);
    await writeTables(world, db, 8);
    await endJob(world.memory, world.clock);
    const pinned = await pin(world, db, 1200);
    await writeTables(world, db, 8, 'later');
    await world.clock.advance(HOUR_MS);
    expect(await world.paths('manifest/')).toHaveLength(3);
    expect(await world.memory.head(manifestPath(pinned))).toBeUndefined();
    for (const orphan of orphans) expect(await world.memory.head(orphan)).toBeUndefined();
    const { collector, trees } = db.upkeep();
    expect(collector).toMatchObject({ phase: 'idle', failures: 0, lastError: undefined, nextRoundAtMs: undefined });
    expect(Object.keys(deleted(db))).toEqual(['manifest', 'table', 'log']);
    expect(deleted(db)['table']).toBe(2);
    expect(trees).toMatchObject([{ tree: '', l0Tables: 16, runs: 0, tables: 16 }]);
    expect(await world.paths('compacted/')).toHaveLength(16);
    line.take();
    await world.clock.advance(HOUR_MS);
    expect(line.take()).toEqual([]);
    expect(await rowsOf(world, db)).toHaveLength(17);
    await world.run(db.close());
  });

  it('with a compactor is one run of tables after an hour, and asks for nothing in the second one', async () => {
    const world = new World();
    const orphans = [await leaveOrphan(world), await leaveOrphan(world)];
    const { db, line } = await world.connect({ compactor: {}, gc: {} });
    for (let i = 0; i < 20; i++) {
      await writeTables(world, db, 1, `${i}`);
      await world.clock.advance(5000);
    }
    await world.run(db.compact());
    await world.clock.advance(HOUR_MS);
    const { collector, trees, liveBytes } = db.upkeep();
    expect(collector).toMatchObject({ phase: 'idle', failures: 0, lastError: undefined });
    for (const orphan of orphans) expect(await world.memory.head(orphan)).toBeUndefined();
    expect(trees).toMatchObject([{ tree: '', l0Tables: 0, runs: 1 }]);
    // Nothing is stored but what the newest three manifests name, and the table up to which level 0 was compacted: its id is the cutoff.
    const names = new Set<string>();
    const manifests = await world.paths('manifest/');
    for (const path of manifests) {
      const { manifest } = (await readManifest(world.memory, Number(/\d+/.exec(path))))!;
      for (const { id } of tablesOf(manifest)) names.add(tablePath(id));
      if (path === manifests.at(-1)) names.add(tablePath(manifest.lastCompacted!));
    }
    expect(manifests).toHaveLength(3);
    expect(await world.paths('compacted/')).toEqual([...names].sort());
    expect(liveBytes).toBeGreaterThan(0);
    line.take();
    await world.clock.advance(HOUR_MS);
    expect(line.take()).toEqual([]);
    expect(await rowsOf(world, db)).toHaveLength(21);
    await world.run(db.close());
  });

  it('keeps all that a checkpoint needs for as long as it lasts', async () => {
    const world = new World();
    const db = await world.open(ALONE);
    await writeTables(world, db, 2);
    const pinned = await pin(world, db, 0);
    await writeTables(world, db, 6, 'later');
    await world.clock.advance(HOUR_MS);
    const { manifest } = (await readManifest(world.memory, pinned))!;
    const tables = manifest.l0.map(({ table }) => tablePath(table.id));
    expect(tables).toHaveLength(2);
    for (const path of tables) expect(await world.memory.head(path)).toBeDefined();
    expect(await world.paths('manifest/')).toHaveLength(4);
    await world.run(toolAccess(db).commit((m) => ({ ...m, checkpoints: [] }), {}));
    await world.clock.advance(HOUR_MS);
    expect(await world.memory.head(manifestPath(pinned))).toBeUndefined();
    await world.run(db.close());
  });

  it('leaves objects alone that are not its own, wherever they are', async () => {
    const world = new World();
    const foreign = [
      'compacted/notes.txt',
      'compacted/01ARZ3NDEKTSV4RRFFQ69G5FAV.bak',
      'manifest/old',
      'wal/x',
      'shale/y',
    ];
    await leaveOrphan(world);
    for (const path of foreign) await world.replace(path, new Uint8Array(9));
    const db = await world.open(ALONE);
    await writeTables(world, db, 6);
    await endJob(world.memory, world.clock);
    await world.clock.advance(HOUR_MS);
    expect(deleted(db)['table']).toBe(1);
    for (const path of foreign) expect(await world.memory.head(path), path).toBeDefined();
    await world.run(db.close());
  });

  it('deletes no table while no compactor says which jobs there are', async () => {
    const world = new World();
    const orphan = await leaveOrphan(world);
    const db = await world.open(ALONE);
    await writeTables(world, db, 4);
    await world.clock.advance(HOUR_MS);
    expect(await world.memory.head(orphan)).toBeDefined();
    await world.run(db.close());
  });

  it('reads the boundary with each commit as soon as its collector has made it', async () => {
    const world = new World();
    const { db, line } = await world.connect(ALONE);
    const boundaryReads = () => line.take().filter((request) => request === `get ${MANIFEST_BOUNDARY_PATH}`).length;
    await writeTables(world, db, 4);
    await world.clock.advance(2 * MINUTE_MS);
    await world.clock.advance(db.upkeep().collector!.nextRoundAtMs! - world.clock.nowMs() - 20_000);
    await writeTables(world, db, 1, 'a');
    line.take();
    await writeTables(world, db, 1, 'b');
    expect(boundaryReads()).toBe(0);
    // Sooner than a writer asks for the boundary of a collector elsewhere.
    await world.clock.advance(30_000);
    expect(await world.memory.head(MANIFEST_BOUNDARY_PATH)).toBeDefined();
    expect(await world.memory.head(COMPACTIONS_BOUNDARY_PATH)).toBeUndefined();
    line.take();
    await writeTables(world, db, 2, 'c');
    expect(boundaryReads()).toBe(2);
    await world.run(db.close());
  });

  it('pays for a round what RFC 0007 says', async () => {
    const world = new World();
    const { db } = await world.connect();
    const nextRound = async () => {
      const { rounds, spent, deleted: before } = db.upkeep().collector!;
      while (db.upkeep().collector!.rounds === rounds) await world.clock.advance(1000);
      const { spent: after, deleted: now } = db.upkeep().collector!;
      const [get, head, put, list] = (['get', 'head', 'put', 'list'] as const).map((op) => after[op] - spent[op]);
      const ofLog = now.log.objects - before.log.objects;
      return { round: { list, get, head, put, delete: after.delete - spent.delete }, ofLog };
    };
    await writeTables(world, db, 6);
    // All is young. Two needed manifests and the identity are read once, the quarantine is listed once a day.
    expect((await nextRound()).round).toEqual({ list: 5 + 1, get: 2 + 3, head: 1, put: 0, delete: 0 });
    // Manifests and the log go: small objects are read, a boundary rises, all is observed again, two classes are deleted.
    const { round, ofLog } = await nextRound();
    expect(ofLog).toBe(3);
    // The fence of the opening is small, too, and stays.
    expect(round).toEqual({ list: 5 + 3, get: 2 + ofLog + 1 + 2 + 2, head: 1 + 1, put: 1, delete: 2 });
    await world.clock.advance(HOUR_MS);
    expect(db.upkeep().collector?.phase).toBe('idle');
    // A commit has its price once: the manifest before the newest three goes, and a log object.
    await writeTables(world, db, 1, 'later');
    const last = await nextRound();
    expect(last).toEqual({
      round: { list: 5 + 3, get: 2 + last.ofLog + 1 + 2 + 2, head: 1 + 1, put: 1, delete: 2 },
      ofLog: 1,
    });
    expect(db.upkeep().collector?.phase).toBe('idle');
    await world.run(db.close());
  });

  it('counts what its collector asks for under its name', async () => {
    const world = new World();
    const { db } = await world.connect(ALONE);
    await writeTables(world, db, 5);
    const before = db.requestCounts();
    expect(before.byRole['collector']).toBeUndefined();
    expect(db.upkeep().collector!.spent).toMatchObject({ get: 0, list: 0, delete: 0 });
    await world.clock.advance(HOUR_MS);
    const after = db.requestCounts();
    const { spent } = db.upkeep().collector!;
    expect(after.byRole['collector']).toEqual(spent);
    expect([after.list - before.list, after.delete, after.get - before.get]).toEqual([
      spent.list + 1,
      spent.delete,
      spent.get,
    ]);
    expect(spent.bytesIn).toBeGreaterThan(0);
    expect(world.clock.pendingTimers).toBe(0);
    await world.run(db.close());
  });

  it('says what its collector does as it happens, after the words of the log', async () => {
    const world = new World();
    const events: DbEvent[] = [];
    const db = await world.open({ ...ALONE, onEvent: (event) => void events.push(event) });
    await writeTables(world, db, 5);
    await world.clock.advance(HOUR_MS);
    const rounds = events.flatMap((e) => (e.type === 'collector' && e.event.type === 'round' ? [e.event.round] : []));
    expect(rounds.length).toBe(db.upkeep().collector!.rounds);
    expect(rounds.at(-1)).toEqual(db.upkeep().collector!.lastRound);
    expect(world.log.map(({ level, message }) => `${level} ${message}`)).toContain('info garbage was collected');
    await world.run(db.close());
  });

  it('does what the options say: another age, more manifests, fences, nothing', async () => {
    const rest = async (gc: Parameters<World['open']>[0]) => {
      const world = new World();
      for (let i = 0; i < 3; i++) await world.run((await world.open({ gc: false })).close());
      const db = await world.open({ ...gc, ...ALONE });
      await writeTables(world, db, 6);
      await world.clock.advance(26 * HOUR_MS);
      const left = [(await world.paths('manifest/')).length, (await world.paths('wal/')).length];
      await world.run(db.close());
      return left;
    };
    const all = await rest({ gc: false });
    const [manifests, log] = await rest({});
    expect(manifests).toBe(3);
    expect(await rest({ gc: { recentManifests: 5 } })).toEqual([5, log! + 2]);
    expect(await rest({ gc: { minAgeMs: 48 * HOUR_MS } })).toEqual(all);
    expect(await rest({ gc: { dryRun: true } })).toEqual(all);
    const [, withoutFences] = await rest({ gc: { fences: 'collect' } });
    expect(withoutFences).toBeLessThan(log!);
  });

  it('deletes without a boundary file where no other process is said to be', async () => {
    const world = new World();
    const db = await world.open({ ...ALONE, gc: { boundaryFiles: 'off' } });
    await writeTables(world, db, 5);
    await world.clock.advance(HOUR_MS);
    expect(await world.paths('manifest/')).toHaveLength(3);
    expect(await world.paths('gc/')).toEqual([]);
    await world.run(db.close());
  });

  it('works again at most once in an interval', async () => {
    const world = new World();
    const roundsIn = async (intervalMs: number) => {
      const db = await world.open({ ...ALONE, gc: { intervalMs } });
      for (let i = 0; i < 60; i++) {
        await writeTables(world, db, 1);
        await world.clock.advance(MINUTE_MS);
      }
      const { rounds } = db.upkeep().collector!;
      await world.run(db.close());
      return rounds;
    };
    const [often, seldom] = [await roundsIn(2 * MINUTE_MS), await roundsIn(20 * MINUTE_MS)];
    expect([often > 20, often <= 31, seldom >= 2, seldom <= 4]).toEqual([true, true, true, true]);
  });

  it('has no upkeep before it serves, and none that was switched off', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c', 'd']);
    const damaged = (await world.bytes(walPath(3))).map((byte, i) => (i === 20 ? byte ^ 4 : byte));
    await world.replace(walPath(3), damaged);
    // An opening that may repair loads them: that takes real time, in which virtual time would run away.
    await Promise.all([import('../../src/tools/wal-repair.ts'), import('../../src/tools/sst-check.ts')]);
    const db = await world.open({ walAutoRecovery: true });
    expect(thrown(() => db.upkeep()).code).toBe('RECOVERING');
    await world.run(db.ready());
    expect(db.upkeep().collector?.phase).toBe('waiting');
    await world.run(db.close());
    expect(thrown(() => db.upkeep()).code).toBe('CLOSED');
    const without = await world.open({ gc: false });
    expect(without.upkeep().collector).toBeUndefined();
    await world.run(without.close());
  });
});

describe('a database in a local directory', () => {
  it('deletes what nothing needs, and goes on from what is left', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'shaledb-collection-'));
    try {
      const store = new LocalStore(directory);
      const location = { store, path: '' };
      const writer = await open(location, { ...ALONE, gc: false, logger: SILENT_LOGGER });
      for (let i = 0; i < 8; i++) {
        await writer.put(`key-${i}`, 'value');
        await writer.flush({ type: 'memtable' });
      }
      await writer.close();
      const orphan = tablePath(makeUlid(SYSTEM_CLOCK.nowMs() - HOUR_MS, SYSTEM_RANDOM));
      const putId = makeUlid(SYSTEM_CLOCK.nowMs(), SYSTEM_RANDOM);
      await store.put(orphan, new Uint8Array(9), { condition: 'any', putId });
      await endJob(store, SYSTEM_CLOCK);
      const collected = deferred<void>();
      const db = await open(location, {
        ...ALONE,
        gc: { minAgeMs: 0, allowUnsafeMinAge: true, intervalMs: 10_000 },
        logger: SILENT_LOGGER,
        onEvent: (event) => {
          if (event.type === 'collector') collected.resolve();
        },
      });
      await collected.promise;
      expect(db.upkeep().collector).toMatchObject({ failures: 0, lastRound: { stopped: undefined, findings: [] } });
      expect(Object.keys(deleted(db))).toEqual(['manifest', 'table', 'log']);
      expect(await pathsOf(store, 'manifest/')).toHaveLength(3);
      expect(await pathsOf(store, 'compacted/')).toHaveLength(8);
      await db.close();
      const again = await open(location, { ...ALONE, logger: SILENT_LOGGER });
      expect((await again.scan().nextBatch(100)).length).toBe(8);
      await again.close();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
