/** `reader.refresh()`: what it reads again and what it keeps, over a growing log, flushes, collectors, takeovers and damage. */
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../src/common/clock.ts';
import type { Db } from '../../src/db/db.ts';
import type { Reader } from '../../src/db/reader.ts';
import type { ReaderOptions } from '../../src/db/reader-options.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { manifestPath, parseManifestPath, walPath } from '../../src/format/object-names.ts';
import { Author } from '../../src/lsm/manifest/author.ts';
import { loadManifest, NO_WITNESS, sealManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { type Line, World } from '../support/database.ts';
import { CONCAT } from '../support/golden-database.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);

interface Pair {
  world: World;
  db: Db;
  reader: Reader;
  line: Line;
}

/** `rows` rows in the log, each in an object of its own after the fence, and a reader that has read them. */
async function readerOf(rows: number, options: ReaderOptions = {}, world = new World()): Promise<Pair> {
  const db = await world.open({ mergeOperator: CONCAT });
  await write(world, db, 0, rows);
  const line = world.line();
  const reader = await world.openReader({ mergeOperator: CONCAT, ...options }, line);
  line.take();
  return { world, db, reader, line };
}

async function write(world: World, db: Db, from: number, to: number): Promise<void> {
  await world.run(
    (async () => {
      for (let i = from; i < to; i++) await db.put(`key-${i}`, `value ${i}`);
    })(),
  );
}

async function refresh({ world, reader }: Pair): Promise<void> {
  await world.run(reader.refresh());
}

/** Ids of the objects of the log that were fetched since the last look. */
function logReads(line: Line): number[] {
  const reads = line.take().filter((r) => r.startsWith('get wal/'));
  return reads.map((r) => Number(/\d+/.exec(r)?.[0])).sort((a, b) => a - b);
}

async function rowsOf({ world, reader }: Pick<Pair, 'world' | 'reader'>): Promise<string[]> {
  const rows = await world.run(reader.scan().nextBatch(1000));
  return rows.map(({ key, value, seq }) => `${text(key)}=${text(value)}@${seq}`);
}

/** What the reader shows is what one shows that is opened now. */
async function expectFresh(pair: Pair, options: ReaderOptions = {}): Promise<void> {
  const fresh = await pair.world.openReader({ mergeOperator: CONCAT, ...options });
  expect(await rowsOf(pair)).toEqual(await rowsOf({ world: pair.world, reader: fresh }));
}

describe('requests of a refresh', () => {
  it('with nothing new are those of an opening without the GETs of the log', async () => {
    const pair = await readerOf(20);
    await refresh(pair);
    const again = pair.line.take();
    await pair.world.openReader({}, pair.line);
    const opening = pair.line.take();
    expect(opening.filter((r) => r.startsWith('get wal/')).length).toBe(21);
    expect(again).toEqual(opening.filter((r) => !r.startsWith('get wal/')));
    expect(again.filter((r) => r.startsWith('head'))).toEqual([22, 23, 24].map((id) => `head ${walPath(id)}`));
  });

  it('with k new objects have k GETs more, each time', async () => {
    const pair = await readerOf(5);
    let rows = 5;
    for (const k of [1, 3, 0, 7]) {
      await write(pair.world, pair.db, rows, rows + k);
      await refresh(pair);
      expect(logReads(pair.line)).toEqual(Array.from({ length: k }, (_, i) => rows + 2 + i));
      rows += k;
      await expectFresh(pair);
    }
  });

  it('take as many round trips as an opening', async () => {
    const world = new World();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 20 });
    const pair = await readerOf(3, {}, world);
    const before = world.clock.monotonicMs();
    await refresh(pair);
    expect(world.clock.monotonicMs() - before).toBe(4 * 20);
  });

  it('after a flush fetch nothing of what tables or the reader have', async () => {
    const pair = await readerOf(5);
    await write(pair.world, pair.db, 5, 8);
    await pair.world.run(pair.db.flush({ type: 'memtable' }));
    await write(pair.world, pair.db, 8, 10);
    await refresh(pair);
    // 2 to 9 are in the table; 10 and 11 are new.
    expect(logReads(pair.line)).toEqual([10, 11]);
    await expectFresh(pair);
    await write(pair.world, pair.db, 10, 11);
    await refresh(pair);
    expect(logReads(pair.line)).toEqual([12]);
    await expectFresh(pair);
  });

  it('after a flush of a part fetch nothing of the other part again', async () => {
    const pair = await readerOf(5);
    // The table is held up, so that rows come after its memtable before the manifest names it.
    pair.world.faults.add({ action: 'stall', op: 'put', path: /^compacted\// });
    const flushed = pair.db.flush({ type: 'memtable' });
    await write(pair.world, pair.db, 5, 8);
    await refresh(pair);
    expect(logReads(pair.line)).toEqual([7, 8, 9]);
    pair.world.faults.clear();
    await pair.world.run(flushed);
    await refresh(pair);
    expect(logReads(pair.line)).toEqual([]);
    await expectFresh(pair);
  });

  it('after a takeover fetch the fence of the new writer and its rows', async () => {
    const pair = await readerOf(5);
    const successor = await pair.world.open();
    await write(pair.world, successor, 5, 6);
    await refresh(pair);
    expect(logReads(pair.line)).toEqual([7, 8]);
    await expectFresh(pair);
  });

  it('fetch all again where lists give no ETags', async () => {
    const world = new World();
    const { store } = world;
    world.store = new Proxy(store, {
      get(target, name) {
        if (name !== 'list') return Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name);
        return async function* (...args: Parameters<typeof store.list>) {
          for await (const object of target.list(...args)) yield { ...object, etag: '' };
        };
      },
    });
    const pair = await readerOf(3, {}, world);
    await refresh(pair);
    expect(new Set(logReads(pair.line))).toEqual(new Set([1, 2, 3, 4]));
    await expectFresh(pair);
  });
});

describe('what a refreshed reader shows', () => {
  it('is what one shows that is opened then, over hundreds of refreshes, flushes and merges', async () => {
    const pair = await readerOf(0);
    const { world, db } = pair;
    for (let i = 0; i < 300; i++) {
      await world.run(i % 3 === 0 ? db.delete(`key-${i % 7}`) : db.merge(`key-${i % 7}`, `${i},`));
      if (i % 41 === 40) await world.run(db.flush({ type: 'memtable' }));
      if (i % 2 === 0) continue;
      await refresh(pair);
      expect(logReads(pair.line).length).toBeLessThanOrEqual(2);
      if (i % 11 === 0) await expectFresh(pair);
    }
    await expectFresh(pair);
  });

  it('does not change reads that began before, while the log grows and moves into tables under them', async () => {
    const pair = await readerOf(500);
    const { world, db, reader } = pair;
    const scan = reader.scan();
    const first = await world.run(scan.nextBatch(10));
    await write(world, db, 500, 520);
    await world.run(db.put('key-499', 'overwritten'));
    await world.run(db.put('key-9999', 'new, and last in the order'));
    await refresh(pair);
    await world.run(db.flush({ type: 'memtable' }));
    await write(world, db, 520, 530);
    await refresh(pair);
    const rest = await world.run(scan.nextBatch(1000));
    const rows = [...first, ...rest].map((row) => `${text(row.key)}=${text(row.value)}`);
    const keys = Array.from({ length: 500 }, (_, i) => `key-${i}`).sort();
    expect(rows).toEqual(keys.map((key) => `${key}=${key.replace('key-', 'value ')}`));
    expect(text(await world.run(reader.get('key-499')))).toBe('overwritten');
  });

  it('shows no row of a refresh before it has ended', async () => {
    const world = new World();
    let reader: Reader | undefined;
    let isLooking = false;
    let nowMs = 0;
    const seen: number[] = [];
    /** Every step of the replay ends its slice, and a read comes in between. */
    const clock: Clock = {
      nowMs: () => world.clock.nowMs(),
      monotonicMs: () => {
        nowMs += 100;
        return nowMs;
      },
      setTimer: (ms, fn) => world.clock.setTimer(ms, fn),
      async yieldToLoop() {
        if (reader === undefined || isLooking) return;
        isLooking = true;
        seen.push((await reader.scan().nextBatch(5000)).length);
        isLooking = false;
      },
    };
    const pair = await readerOf(2, { clock }, world);
    ({ reader } = pair);
    const batch = new WriteBatch();
    for (let i = 0; i < 2000; i++) batch.put(`new-${i}`, 'x');
    await world.run(pair.db.write(batch));
    await refresh(pair);
    expect(seen.length).toBeGreaterThan(3);
    expect(new Set(seen)).toEqual(new Set([2]));
    expect((await world.run(reader.scan().nextBatch(5000))).length).toBe(2002);
  });

  it('stays within the memory budget: beyond it refresh rejects, and goes on when the writer has flushed', async () => {
    const pair = await readerOf(1, { memoryBytes: 8 * 1024 * 1024 });
    const { world, db, reader } = pair;
    for (let i = 0; i < 12; i++) await world.run(db.put(`large-${i}`, new Uint8Array(1024 * 1024)));
    for (let times = 0; times < 2; times++) {
      await expect(world.run(reader.refresh())).rejects.toMatchObject({ code: 'OVERLOADED' });
      expect(await rowsOf(pair)).toEqual(['key-0=value 0@1']);
    }
    await world.run(db.flush({ type: 'memtable' }));
    await refresh(pair);
    expect(await world.run(reader.has('large-11'))).toBe(true);
  });

  it('is right where the budget is too small to keep what was read', async () => {
    const pair = await readerOf(4000, { memoryBytes: 8 * 1024 * 1024 });
    await write(pair.world, pair.db, 4000, 4001);
    await refresh(pair);
    expect(logReads(pair.line).length).toBe(4002);
    expect(await pair.world.run(pair.reader.has('key-4000'))).toBe(true);
  });
});

describe('an object that was read before', () => {
  it('and is damaged since is found, and what was read stays served', async () => {
    const pair = await readerOf(5);
    const { world, reader, line } = pair;
    const whole = await world.bytes(walPath(3));
    const damaged = whole.slice();
    damaged[10] ^= 1;
    await world.replace(walPath(3), damaged);
    await write(world, pair.db, 5, 6);
    const shown = await rowsOf(pair);
    line.take();
    for (let times = 0; times < 2; times++) {
      await expect(world.run(reader.refresh())).rejects.toMatchObject({
        code: 'BAD_CHECKSUM',
        wal: { damagedIds: [3n], recoverableRows: 6 },
      });
      expect(await rowsOf(pair)).toEqual(shown);
      // Refused is what is stored now, all of it.
      expect(new Set(logReads(line))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7]));
    }
    await world.replace(walPath(3), whole);
    await refresh(pair);
    await expectFresh(pair);
    line.take();
    await refresh(pair);
    expect(logReads(line)).toEqual([]);
  });

  it('and rots without that a list shows it is not read again: its verified rows are served on', async () => {
    const pair = await readerOf(5);
    const { world, reader, line } = pair;
    world.faults.add({ action: 'flip', op: 'get', path: walPath(3) });
    await write(world, pair.db, 5, 6);
    await refresh(pair);
    expect(logReads(line)).toEqual([7]);
    expect(text(await world.run(reader.get('key-1')))).toBe('value 1');
    expect(text(await world.run(reader.get('key-5')))).toBe('value 5');
  });

  it('and vanished since is found as at an opening', async () => {
    const pair = await readerOf(5);
    const { world, reader } = pair;
    await world.remove(walPath(3));
    const refused = await world.run(reader.refresh()).catch((error: unknown) => error);
    const opening = await world.openReader().catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'MISSING_OBJECT', wal: { missingIds: [3n] } });
    expect((refused as Error).message).toBe((opening as Error).message);
    expect((await rowsOf(pair)).length).toBe(5);
  });

  it('and was collected after a flush is not missed', async () => {
    const pair = await readerOf(5);
    const { world, db } = pair;
    await write(world, db, 5, 7);
    await world.run(db.flush({ type: 'memtable' }));
    await world.remove(...[1, 2, 3, 4, 5, 6, 7, 8].map(walPath));
    await write(world, db, 7, 8);
    await refresh(pair);
    expect(logReads(pair.line)).toEqual([9]);
    await expectFresh(pair);
  });

  it('and was lost in a repair since is not shown any more', async () => {
    const pair = await readerOf(5);
    const { world, line } = pair;
    await world.replace(walPath(3), new Uint8Array(200));
    const options = {
      clock: world.clock,
      logger: QUIET,
      apply: true,
      acceptLoss: true,
      ifLiveWriter: 'fence',
    } as const;
    await world.run(walRepair({ store: world.line(), path: '' }, options));
    await refresh(pair);
    await expectFresh(pair);
    expect((await rowsOf(pair)).length).toBe(4);
    line.take();
    await refresh(pair);
    expect(logReads(line)).toEqual([]);
  });

  it('and is before the replay point now, although its rows are in no table, is not shown any more', async () => {
    const pair = await readerOf(5);
    const { world } = pair;
    const [path] = (await world.paths('manifest/')).slice(-1);
    const previous = loadManifest(parseManifestPath(path)!, await world.bytes(path));
    const { databaseId } = previous.seal!.identity;
    const author = new Author({ clock: world.clock, random: world.random(), owner: 'o', databaseId, role: 'writer' });
    const manifest = { ...previous.manifest, replayAfterWalId: 4 };
    const id = previous.id + 1;
    const { bytes } = sealManifest({ id, manifest, previous, author, epoch: 1, witness: NO_WITNESS });
    await world.replace(manifestPath(id), bytes);
    await refresh(pair);
    await expectFresh(pair);
    expect((await rowsOf(pair)).length).toBe(2);
  });

  it('and was replaced by another one gives way to it', async () => {
    const pair = await readerOf(5);
    const { world } = pair;
    // The same history up to object 4, then another one: as if a backup had been put back and written on.
    const other = new World(7);
    for (const path of await world.paths()) await other.replace(path, await world.bytes(path));
    await other.remove(walPath(5), walPath(6));
    const db = await other.open();
    await other.run(db.put('other', 'history'));
    await other.run(db.put('other', 'history, longer'));
    await other.run(db.put('other', 'history, longest'));
    for (const path of await other.paths()) await world.replace(path, await other.bytes(path));
    await refresh(pair);
    expect(new Set(logReads(pair.line))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7, 8]));
    await expectFresh(pair);
    expect(await world.run(pair.reader.has('key-4'))).toBe(false);
  });
});

describe('an object that was damaged', () => {
  it('is looked at again, and no other one', async () => {
    const world = new World();
    const db = await world.open();
    await write(world, db, 0, 6);
    const whole = await world.bytes(walPath(4));
    const damaged = whole.slice();
    damaged[10] ^= 1;
    await world.replace(walPath(4), damaged);
    const line = world.line();
    const reader = await world.openReader({ allowPrefix: true }, line);
    const pair = { world, db, reader, line };
    expect((await rowsOf(pair)).length).toBe(2);
    line.take();
    await refresh(pair);
    expect(new Set(logReads(line))).toEqual(new Set([4]));
    await world.replace(walPath(4), whole);
    await refresh(pair);
    expect(logReads(line)).toEqual([4]);
    await expectFresh(pair);
    await refresh(pair);
    expect(logReads(line)).toEqual([]);
  });

  it('and healed is looked at again, and its rows are shown once', async () => {
    const world = new World();
    const db = await world.open({ mergeOperator: CONCAT });
    for (const part of ['a', 'b', 'c']) await world.run(db.merge('key', part));
    const damaged = await world.bytes(walPath(3));
    damaged[10] ^= 1;
    await world.replace(walPath(3), damaged);
    const line = world.line();
    const options = { healOnOpen: true, mergeOperator: CONCAT };
    const pair = { world, db, line, reader: await world.openReader(options, line) };
    line.take();
    await world.run(db.merge('key', 'd'));
    await refresh(pair);
    expect(new Set(logReads(line))).toEqual(new Set([3, 5]));
    expect(text(await world.run(pair.reader.get('key')))).toBe('abcd');
  });

  it('or missing is looked at again', async () => {
    const world = new World();
    const db = await world.open();
    await write(world, db, 0, 6);
    const whole = await world.bytes(walPath(4));
    await world.remove(walPath(4));
    const line = world.line();
    const pair = { world, db, line, reader: await world.openReader({ allowPrefix: true }, line) };
    expect((await rowsOf(pair)).length).toBe(2);
    await world.replace(walPath(4), whole);
    line.take();
    await refresh(pair);
    expect(logReads(line)).toEqual([4]);
    await expectFresh(pair);
  });
});

describe('a refresh that fails', () => {
  it('on the way changes nothing, and the next one fetches what is left', async () => {
    const pair = await readerOf(5);
    const { world, reader, line } = pair;
    await write(world, pair.db, 5, 8);
    world.faults.add({ action: 'fail-before', op: 'get', path: walPath(8) });
    await expect(world.run(reader.refresh())).rejects.toBeDefined();
    expect((await rowsOf(pair)).length).toBe(5);
    world.faults.clear();
    line.take();
    await refresh(pair);
    expect(logReads(line)).toEqual([8]);
    await expectFresh(pair);
  });

  it('because the newest manifest is not listed shows nothing older and loses nothing that was kept', async () => {
    const pair = await readerOf(5);
    const { world, db, line } = pair;
    await world.run(db.flush({ type: 'memtable' }));
    await write(world, db, 5, 7);
    await refresh(pair);
    const shown = await rowsOf(pair);
    const newest = (await world.paths('manifest/')).at(-1)!;
    const bytes = await world.bytes(newest);
    await world.remove(newest);
    await world.run(pair.reader.refresh()).catch(() => undefined);
    expect(await rowsOf(pair)).toEqual(shown);
    await world.replace(newest, bytes);
    line.take();
    await refresh(pair);
    expect(logReads(line)).toEqual([]);
    await expectFresh(pair);
  });
});

describe('a database that was deleted and created again', () => {
  async function replaced(rows: number): Promise<Pair> {
    const pair = await readerOf(3);
    const { world, db } = pair;
    await world.run(db.flush({ type: 'memtable' }));
    await refresh(pair);
    await world.memory.delete(await world.paths());
    const other = await world.open({ mergeOperator: CONCAT });
    for (let i = 0; i < rows; i++) await world.run(other.put(`other-${i}`, 'x'));
    return pair;
  }

  it.each([1, 3, 12])('is not shown by a reader of the one before, with %s rows', async (rows) => {
    const pair = await replaced(rows);
    const error = await pair.world.run(pair.reader.refresh().catch((e: unknown) => e));
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'VIEW_EXPIRED' });
    expect((error as Error).message).toMatch(/another database is here now/);
    await expect(pair.world.run(pair.reader.get('key-1'))).rejects.toThrow(/another database is here now/);
  });
});
