/** How long the log can become: objects that are in no table, by count, over writes, crashes and openings. */
import { expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath, walPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { World } from '../support/database.ts';

const LIMIT = 10;
const LIMITED: OpenOptions = { maxWalFlushesBeforeL0Flush: LIMIT };

/** `count` rows, one after the other, each under a PUT of its own. */
async function write(world: World, db: Db, count: number, from = 0): Promise<void> {
  await world.run(
    (async () => {
      for (let i = from; i < from + count; i++) await db.put(`key-${i}`, `value ${i}`);
    })(),
  );
}

async function newestManifest(world: World) {
  const path = (await world.paths('manifest/')).at(-1)!;
  return loadManifest(parseManifestPath(path)!, await world.bytes(path)).manifest;
}

/** Objects of the log that an opening has to read. */
async function logLength(world: World): Promise<number> {
  const { replayAfterWalId } = await newestManifest(world);
  return (await world.paths('wal/')).filter((path) => path > walPath(replayAfterWalId)).length;
}

/** What a compactor does that puts each table of L0 into a run of its own. */
async function makeRoom(world: World): Promise<void> {
  const manifest = await newestManifest(world);
  const { l0 } = manifest;
  const runs = l0.map((view, i) => ({ id: l0.length - 1 - i, views: [view] }));
  const next = { ...manifest, l0: [], runs, lastCompacted: l0[0].viewId, compactorEpoch: 1 };
  await world.replace(manifestPath((await world.paths('manifest/')).length + 1), encodeManifest(next));
}

const named = (requests: string[]) => requests.map((r) => r.replace(/[0-9A-Z]{26}/, '*'));

it('below the limit nothing is written but the log', async () => {
  const world = new World();
  const { db, line } = await world.connect(LIMITED);
  line.take();
  // With the fence of the opening that is one object less than the limit.
  await write(world, db, LIMIT - 2);
  await world.clock.advance(0);
  expect(line.take()).toEqual(Array.from({ length: LIMIT - 2 }, (_, i) => `put ${walPath(i + 2)}`));
});

it('at the limit the memtable becomes a table, and the replay point moves to the last of its objects', async () => {
  const world = new World();
  const { db, line } = await world.connect(LIMITED);
  await write(world, db, LIMIT - 2);
  line.take();
  await write(world, db, 1, LIMIT);
  await world.clock.advance(0);
  expect(named(line.take())).toEqual([
    `put ${walPath(LIMIT)}`,
    'put compacted/*.sst',
    'put manifest/00000000000000000003.manifest',
  ]);
  expect(await newestManifest(world)).toMatchObject({ replayAfterWalId: LIMIT, lastL0Seq: LIMIT - 1 });
  expect(await logLength(world)).toBe(0);
});

it('rows that are on no object yet when the limit is reached are in a last object of the same table', async () => {
  const world = new World();
  world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 20 });
  const { db } = await world.connect({ ...LIMITED, flushIntervalMs: 10_000 });
  await write(world, db, LIMIT - 2);
  const last = db.put('awaited', 'value');
  await world.clock.advance(10);
  // The object of the limit is under way.
  await world.run(db.put('not awaited', 'value', { awaitDurable: false }));
  await world.run(last);
  expect((await newestManifest(world)).l0.length).toBe(0);
  await world.clock.advance(100);
  const { replayAfterWalId, l0, lastL0Seq } = await newestManifest(world);
  expect(l0.length).toBe(1);
  expect([replayAfterWalId, lastL0Seq]).toEqual([LIMIT + 1, LIMIT]);
});

it('many small durable writes leave as many tables as whole limits, and at most one limit of the log', async () => {
  const world = new World();
  const db = await world.open({ ...LIMITED, compactor: false });
  await write(world, db, 10 * LIMIT);
  await world.clock.advance(0);
  expect((await newestManifest(world)).l0.length).toBe(10);
  expect(await logLength(world)).toBe(1);
});

it('by default the limit is 4,096 objects', async () => {
  const world = new World();
  const db = await world.open();
  await write(world, db, 4094);
  await world.clock.advance(0);
  expect((await newestManifest(world)).l0.length).toBe(0);
  await write(world, db, 1);
  await world.clock.advance(0);
  expect((await newestManifest(world)).l0.length).toBe(1);
});

it('a database that is killed again and again after a write flushes what was replayed', async () => {
  const world = new World();
  for (let life = 0; life < 100; life++) {
    await world.writeAndCrash([`key-${life}`], LIMITED);
    // A fence and a row each life; the last one may have reached the limit and been killed in the midst of its table.
    expect(await logLength(world)).toBeLessThan(LIMIT + 4);
  }
  const db = await world.open(LIMITED);
  for (let life = 0; life < 100; life++) expect(await world.run(db.has(`key-${life}`))).toBe(true);
});

it('a database that is killed again and again before it writes moves the replay point over its fences', async () => {
  const world = new World();
  await world.writeAndCrash(['key'], LIMITED);
  for (let life = 0; life < 100; life++) {
    const { line } = await world.connect(LIMITED);
    await world.clock.advance(0);
    line.cut();
    expect(await logLength(world)).toBeLessThanOrEqual(LIMIT);
  }
  expect((await newestManifest(world)).l0.length).toBe(1);
  const planned = manifestRepair({ store: world.line(), path: '' }, { clock: world.clock });
  expect(await world.run(planned)).toMatchObject({ outcome: 'clean' });
  expect(await world.run((await world.open()).get('key'))).toBeDefined();
});

it('an opening below the limit sends the requests that it sends without one, at the limit a table and a manifest more', async () => {
  const requests: string[][] = [];
  for (const limit of [LIMIT, LIMIT - 1, 1_000_000]) {
    const world = new World();
    const keys = Array.from({ length: LIMIT - 3 }, (_, i) => `key-${i}`);
    await world.writeAndCrash(keys, { maxWalFlushesBeforeL0Flush: limit });
    const { line } = await world.connect({ maxWalFlushesBeforeL0Flush: limit });
    await world.clock.advance(1000);
    requests.push(named(line.take()));
  }
  const [below, at, unlimited] = requests;
  expect(below).toEqual(unlimited);
  expect(at).toEqual([...unlimited, 'put compacted/*.sst', 'put manifest/00000000000000000004.manifest']);
});

it('without a log of its own the fences of its openings are passed all the same', async () => {
  const world = new World();
  for (let life = 0; life < 3 * LIMIT; life++) {
    const { line } = await world.connect({ ...LIMITED, walEnabled: false });
    await world.clock.advance(0);
    line.cut();
    expect(await logLength(world)).toBeLessThanOrEqual(LIMIT);
  }
});

it('while flushing pauses at l0MaxSsts writes go on, one memtable takes them all, and the log is flushed once there is room', async () => {
  const world = new World();
  const { db, line } = await world.connect({ ...LIMITED, l0MaxSsts: 2, compactor: false });
  await write(world, db, 6 * LIMIT);
  await world.clock.advance(0);
  expect((await newestManifest(world)).l0.length).toBe(2);
  // The third table waits; the rows after it are in one memtable, however many limits they are.
  expect(await logLength(world)).toBe(4 * LIMIT + 1);
  line.take();
  await makeRoom(world);
  await world.run(db.put('last', 'value'));
  await world.clock.advance(2000);
  expect(named(line.take()).filter((r) => r.startsWith('put compacted/'))).toEqual([
    'put compacted/*.sst',
    'put compacted/*.sst',
  ]);
  expect(await logLength(world)).toBe(0);
  expect(await world.run(db.get(`key-${6 * LIMIT - 1}`))).toBeDefined();
});
