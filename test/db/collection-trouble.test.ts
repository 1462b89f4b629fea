/** The collector of an open database where something is wrong: clocks, stores, other processes, repairs, and the end of the database itself. */
import { describe, expect, it } from 'vitest';
import { sstRepair } from '../../src/admin.ts';
import { type Clock, sleep } from '../../src/common/clock.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { ManualClock } from '../../src/common/manual-clock.ts';
import { nextInt } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { MANIFEST_BOUNDARY_PATH } from '../../src/format/object-names.ts';
import { commitAsCollector } from '../../src/gc/manifest-commit.ts';
import type { DbEvent } from '../../src/index.ts';
import { databaseStores } from '../../src/lsm/manifest/database-stores.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { rejection, rowsOf, World } from '../support/database.ts';
import { forwarding } from '../support/forwarding-store.ts';
import { endJob, leaveOrphan, pathsOf, writeTables } from '../support/garbage.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** The same time, of a machine that is wrong about it. */
function shifted(clock: ManualClock, offMs: number): Clock {
  return {
    nowMs: () => clock.nowMs() + offMs,
    monotonicMs: () => clock.monotonicMs(),
    setTimer: (ms, fn) => clock.setTimer(ms, fn),
    yieldToLoop: () => clock.yieldToLoop(),
  };
}

/** A world whose new lines lead to `store`. */
function worldOn(make: (world: World) => ObjectStore): World {
  const world = new World();
  world.store = make(world);
  return world;
}

const warnings = ({ log }: World) =>
  log.flatMap(({ level, message }) => (level === 'warn' || level === 'error' ? [message] : []));
const lastRound = (db: Db) => db.upkeep().collector!.lastRound;

describe('a clock that is wrong', () => {
  it.each([-HOUR_MS, HOUR_MS])('by %i ms, the store’s, changes nothing: ages are by one clock', async (offMs) => {
    const world = worldOn(({ clock }) => new MemoryStore({ clock: shifted(clock, offMs) }));
    const db = await world.open();
    await writeTables(world, db, 6);
    const before = await pathsOf(world.store);
    await world.clock.advance(4 * MINUTE_MS);
    expect((await pathsOf(world.store)).filter((path) => !before.includes(path))).toEqual([]);
    expect(await pathsOf(world.store)).toEqual(before);
    await world.clock.advance(HOUR_MS);
    expect(await pathsOf(world.store, 'manifest/')).toHaveLength(3);
    expect(db.upkeep().collector).toMatchObject({ phase: 'idle', failures: 0 });
    expect(await rowsOf(world, db)).toHaveLength(6);
    await world.run(db.close());
  });

  it.each([-HOUR_MS, HOUR_MS])(
    'by %i ms from one moment on, the host’s, makes nothing old before its time',
    async (offMs) => {
      const world = new World();
      let hostMs = 0;
      const { clock } = world;
      const host = { ...shifted(clock, 0), nowMs: () => clock.nowMs() + hostMs };
      const db = await world.open({ clock: host });
      await writeTables(world, db, 6);
      hostMs = offMs;
      await clock.advance(4 * MINUTE_MS);
      expect(db.upkeep().collector?.rounds).toBeGreaterThan(0);
      expect(await world.paths('manifest/')).toHaveLength(8);
      await clock.advance(HOUR_MS);
      expect(await world.paths('manifest/')).toHaveLength(3);
      await world.run(db.close());
    },
  );
});

describe('a store', () => {
  it('whose lists have no dates loses nothing to a collector, which says so once', async () => {
    const world = worldOn(({ memory }) => ({
      ...forwarding(memory),
      async *list(prefix, options) {
        for await (const object of memory.list(prefix, options)) yield { ...object, lastModifiedMs: 0, storeTimeMs: 0 };
      },
      conformance: 'known',
    }));
    const db = await world.open();
    await writeTables(world, db, 6);
    await world.clock.advance(HOUR_MS);
    await writeTables(world, db, 6, 'later');
    await world.clock.advance(HOUR_MS);
    expect(await world.paths('manifest/')).toHaveLength(14);
    expect(lastRound(db)!.notes).toEqual([expect.stringContaining('do not say when objects were written')]);
    expect(warnings(world).filter((text) => text.includes('do not say when objects were written'))).toHaveLength(1);
    expect(db.upkeep().collector).toMatchObject({ phase: 'idle', failures: 0, rounds: 2 });
    await world.run(db.close());
  });

  it('that does not honour If-Match keeps its manifests, reports the price once, and loses the rest', async () => {
    const world = worldOn(({ memory }) => ({
      ...forwarding(memory),
      // As if every condition on a version held.
      put: (path, bytes, options) => {
        const { condition } = options;
        return memory.put(path, bytes, { ...options, condition: typeof condition === 'object' ? 'any' : condition });
      },
    }));
    const orphan = await leaveOrphan(world);
    const db = await world.open();
    await writeTables(world, db, 6);
    await endJob(world.memory, world.clock);
    await world.clock.advance(HOUR_MS);
    await writeTables(world, db, 6, 'later');
    await world.clock.advance(HOUR_MS);
    const manifests = await world.paths('manifest/');
    expect(manifests[0]).toMatch(/manifest\/0*1\.manifest/);
    expect(await world.memory.head(MANIFEST_BOUNDARY_PATH)).toBeUndefined();
    expect(await world.memory.head(orphan)).toBeUndefined();
    expect(db.upkeep().collector!.deleted).toMatchObject({ manifest: { objects: 0 }, table: { objects: 1 } });
    expect(warnings(world).filter((text) => text.includes('If-Match'))).toEqual([
      expect.stringContaining('They cost their storage'),
    ]);
    await world.run(db.close());
  });

  it('that refuses deletions in the middle of a round fails it, again and again, until it allows them', async () => {
    const world = new World();
    const events: DbEvent[] = [];
    const db = await world.open({ onEvent: (event) => void events.push(event) });
    await writeTables(world, db, 6);
    const rule = { action: 'status:403' as const, op: 'delete' as const };
    world.faults.add(rule);
    await world.clock.advance(HOUR_MS);
    const { collector } = db.upkeep();
    expect(collector).toMatchObject({ phase: 'retrying', lastError: { code: 'STORE_DENIED' } });
    expect(collector!.failures).toBeGreaterThan(3);
    expect(collector!.nextRoundAtMs).toBeGreaterThan(world.clock.nowMs());
    expect(await world.paths('manifest/')).toHaveLength(8);
    const troubles = events.flatMap((e) => (e.type === 'collector' && e.event.type === 'trouble' ? [e.event] : []));
    expect(troubles).toHaveLength(collector!.failures);
    expect(troubles[1]!.retryInMs).toBeGreaterThan(troubles[0]!.retryInMs);
    expect(warnings(world).filter((text) => text.includes('a collection failed'))).toHaveLength(1);
    await writeTables(world, db, 1, 'while it fails');
    world.faults.clear();
    await world.clock.advance(2 * HOUR_MS);
    expect(db.upkeep().collector).toMatchObject({ phase: 'idle', failures: 0, lastError: undefined });
    expect(await world.paths('manifest/')).toHaveLength(3);
    expect(await rowsOf(world, db)).toHaveLength(7);
    await world.run(db.close());
  });

  it('with rubbish in the boundary file keeps its manifests, and a finding says why, once', async () => {
    const world = new World();
    const db = await world.open();
    await writeTables(world, db, 6);
    await world.replace(MANIFEST_BOUNDARY_PATH, new TextEncoder().encode('rubbish'));
    await world.clock.advance(3 * HOUR_MS);
    expect(await world.paths('manifest/')).toHaveLength(8);
    expect(db.upkeep().collector!.deleted.manifest.objects).toBe(0);
    expect(lastRound(db)!.stopped).toContain(MANIFEST_BOUNDARY_PATH);
    expect(world.log.filter(({ message }) => message === 'met by the collector')).toHaveLength(1);
    await world.memory.delete([MANIFEST_BOUNDARY_PATH]);
    await world.clock.advance(3 * HOUR_MS);
    expect(await world.paths('manifest/')).toHaveLength(3);
    await world.run(db.close());
  });
});

describe('the end of the database', () => {
  it('does not wait for a round: it is cut off, sends nothing more, and the next opening finishes its work', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    await writeTables(world, db, 6);
    let isStuck = false;
    const list = line.list.bind(line);
    line.list = async function* (prefix, options) {
      if (prefix === 'compacted/') {
        isStuck = true;
        await new Promise(() => undefined);
      }
      yield* list(prefix, options);
    };
    await world.clock.advance(2 * MINUTE_MS);
    expect([isStuck, db.upkeep().collector?.phase]).toEqual([true, 'working']);
    const beforeMs = world.clock.monotonicMs();
    await world.run(db.close());
    expect(world.clock.monotonicMs() - beforeMs).toBeLessThan(1000);
    line.take();
    await world.clock.advance(24 * HOUR_MS);
    expect(line.take()).toEqual([]);
    const again = await world.open();
    await world.clock.advance(HOUR_MS);
    expect(await world.paths('manifest/')).toHaveLength(3);
    expect(await rowsOf(world, again)).toHaveLength(6);
    await world.run(again.close());
  });

  it('cuts off a round before it flushes what is in memory', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    await writeTables(world, db, 6);
    const list = line.list.bind(line);
    line.list = async function* (prefix, options) {
      if (prefix === 'compacted/') await sleep(world.clock, 10_000);
      yield* list(prefix, options);
    };
    while (db.upkeep().collector?.phase !== 'working') await world.clock.advance(1000);
    await world.run(db.put('late', 'value'));
    const put = line.put.bind(line);
    line.put = async (path, bytes, options) => {
      if (path.startsWith('compacted/')) await sleep(world.clock, 5000);
      return put(path, bytes, options);
    };
    line.take();
    await world.clock.advance(6000);
    await world.run(db.close());
    const sent = line.take().map((request) => request.split('/')[0]);
    // The list that was under way is answered while the table is stored; what would follow is not sent.
    expect(sent).toContain('put compacted');
    expect(sent).not.toContain('list wal');
  });

  it.each([1, 4, 9, 14, 18, 22])(
    'at request %i of a round leaves a database that opens and is collected',
    async (n) => {
      const world = new World();
      const { db, line } = await world.connect();
      await writeTables(world, db, 6);
      await world.clock.advance(4 * MINUTE_MS);
      line.take();
      line.cutAt(n, n % 2 === 0 ? 'after' : 'before');
      await world.clock.advance(20 * MINUTE_MS);
      const again = await world.open();
      await world.clock.advance(HOUR_MS);
      expect(await world.paths('manifest/')).toHaveLength(3);
      expect(await rowsOf(world, again)).toHaveLength(6);
      await world.run(again.close());
    },
  );

  it('by another writer comes before its collector deletes anything more', async () => {
    const world = new World();
    const { db: first, line } = await world.connect();
    await writeTables(world, first, 6);
    // Its own look for takeovers is over: it does not write any more.
    await world.clock.advance(5000);
    const second = await world.open({ gc: false });
    line.take();
    const before = await world.paths();
    await world.clock.advance(2 * HOUR_MS);
    expect(await world.paths()).toEqual(before);
    expect(line.take().filter((request) => request.startsWith('delete'))).toEqual([]);
    expect(await rejection(world.run(first.put('k', 'v')))).toMatchObject({ code: 'WRITER_FENCED' });
    const sent = line.requests.length;
    await world.clock.advance(24 * HOUR_MS);
    expect(line.requests.length).toBe(sent);
    await world.run(second.close());
    await world.run(first.close());
  });
});

describe('a busy writer', () => {
  it.each([
    ['alone', { compactor: false }],
    ['with a compactor', { compactor: {} }],
  ] as const)(
    '%s and the collector never take each other for a fault, however requests interleave',
    async (_, role) => {
      const world = new World();
      const random = world.random();
      world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: () => nextInt(random, 400) });
      const db = await world.open({ ...role, gc: { minAgeMs: 0, allowUnsafeMinAge: true, intervalMs: 10_000 } });
      for (let i = 0; i < 400; i++) {
        await world.run(db.put(`key-${i % 50}`, `value ${i}`));
        if (i % 3 === 0) await world.run(db.flush({ type: 'memtable' }));
        await world.clock.advance(nextInt(random, 2000));
      }
      const { collector } = db.upkeep();
      expect(collector).toMatchObject({ failures: 0, lastError: undefined });
      expect(collector!.rounds).toBeGreaterThan(30);
      expect(collector!.deleted.log.objects).toBeGreaterThan(80);
      expect(warnings(world).filter((text) => !text.includes('tables in level 0'))).toEqual([]);
      await world.clock.advance(HOUR_MS);
      expect(db.upkeep().collector).toMatchObject({ phase: 'idle', failures: 0 });
      expect(await world.paths('manifest/')).toHaveLength(3);
      expect(await rowsOf(world, db)).toHaveLength(50);
      await world.run(db.close());
    },
  );
});

describe('others beside the database', () => {
  it('whose manifests a round meets are what is read from then on', async () => {
    const world = new World();
    const db = await world.open();
    await writeTables(world, db, 2);
    await world.clock.advance(5000);
    const before = db.upkeep().manifestId;
    // As a compactor elsewhere would commit: the writer is not asked.
    const place = { location: { store: world.memory, path: '' }, isRootAssumed: false };
    const { clock } = world;
    const stores = databaseStores(place, { clock, random: world.random(), timeoutMs: 1000 });
    const parts = { stores, clock, random: world.random(), owner: 'other:1' };
    await world.run(commitAsCollector(parts, (m) => ({ ...m })));
    expect(db.upkeep().manifestId).toBe(before);
    await world.clock.advance(20 * MINUTE_MS);
    expect(db.upkeep().manifestId).toBe(before + 1n);
    await world.run(db.close());
  });

  it('repair it while its collector rests, also one that is in the middle of a round', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    await writeTables(world, db, 6);
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const phases: string[] = [];
    let isRepairing = false;
    const list = line.list.bind(line);
    line.list = async function* (prefix, options) {
      if (isRepairing) phases.push(db.upkeep().collector!.phase);
      else if (prefix === 'wal/') await gate;
      yield* list(prefix, options);
    };
    await world.clock.advance(2 * MINUTE_MS);
    expect(db.upkeep().collector?.phase).toBe('working');
    const table = (await world.paths('compacted/'))[0]!.replace(/^compacted\/|\.sst$/g, '');
    isRepairing = true;
    const report = await world.run(sstRepair(db, table, { logger: SILENT_LOGGER }));
    isRepairing = false;
    expect(new Set(phases)).toEqual(new Set(['paused']));
    expect(report.outcome).toBe('clean');
    release();
    expect(db.upkeep().collector).toMatchObject({ phase: 'waiting', failures: 0 });
    await world.clock.advance(HOUR_MS);
    expect(db.upkeep().collector).toMatchObject({ phase: 'idle', failures: 0 });
    expect(await world.paths('manifest/')).toHaveLength(3);
    await world.run(db.close());
  });
});
