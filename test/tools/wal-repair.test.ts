/** Repairing a damaged log: nothing changes without `apply`, what can be had is kept whole, and what is lost is written down. */
import { beforeAll, describe, expect, it } from 'vitest';
import { WalCorruptionError } from '../../src/common/errors.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, walPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { readLedger } from '../../src/lsm/tree/damage-ledger.ts';
import { damageAcknowledge } from '../../src/tools/damage-list.ts';
import type { RepairReport, WalObjectReport } from '../../src/tools/reports.ts';
import { type WalInspectOptions, walInspect } from '../../src/tools/wal-inspect.ts';
import { type WalRepairOptions, walRepair } from '../../src/tools/wal-repair.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { alwaysOvertaken, type Line, rejection, rowsOf, text, World, worldOfFixture } from '../support/database.ts';
import {
  digests,
  expectCrashesConverge,
  expectDryRun,
  expectUnchanged,
  type ToolCall,
  toolOptions,
} from '../support/tool-laws.ts';

const names = (n: number) => Array.from({ length: n }, (_, i) => `key-${String(i).padStart(3, '0')}`);
const rows = (keys: readonly string[]) => keys.map((k) => `${k}=value of ${k}`);
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

/** A fence, then one row in each object, its seq one below the object's id. */
async function sealedLog(objects: number): Promise<World> {
  const world = new World();
  await world.writeAndCrash(names(objects - 1));
  return world;
}

/** The same with all but the last row in a table: one object is after the replay point. */
async function flushedLog(objects: number, options: OpenOptions = {}): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect(options);
  const keys = names(objects - 1);
  for (const key of keys) {
    if (key === keys.at(-1)) await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put(key, `value of ${key}`));
  }
  line.cut();
  return world;
}

function repair(world: World, options: WalRepairOptions = {}, line = world.line()): Promise<RepairReport> {
  const { clock } = world;
  return world.run(walRepair({ store: line, path: '' }, { clock, logger: QUIET, liveCheckMs: 0, ...options }));
}

const inspectOn = async (world: World, line: Line) => (await inspect(world, {}, line)).map((r) => r.state);
const planOn = async (world: World, line: Line) => [(await repair(world, {}, line)).outcome];

async function inspect(
  world: World,
  options: WalInspectOptions = {},
  line: Line = world.line(),
): Promise<WalObjectReport[]> {
  const { clock } = world;
  const reports: WalObjectReport[] = [];
  const all = walInspect({ store: line, path: '' }, { clock, logger: QUIET, ...options });
  const collect = async () => {
    for await (const report of all) reports.push(report);
  };
  await world.run(collect());
  return reports;
}

/** Changes bytes in the middle of an object's first block: wider than anything heals. */
async function burst(world: World, id: number, at: number, length: number): Promise<void> {
  const bytes = (await world.bytes(walPath(id))).slice();
  for (let i = at; i < at + length; i++) bytes[i] ^= 0x5a + i;
  await world.replace(walPath(id), bytes);
}

async function cut(world: World, id: number, length: number): Promise<void> {
  await world.replace(walPath(id), (await world.bytes(walPath(id))).slice(0, length));
}

describe('a log that a writer of ours left', () => {
  it('is clean if nothing is wrong with it', async () => {
    const world = await sealedLog(4);
    const before = await world.versions();
    for (const apply of [true, false, { planHash: 'p-any' }]) {
      const report = await repair(world, { apply, acceptLoss: true });
      expect(report).toMatchObject({ outcome: 'clean', applied: false });
      expect(report).not.toHaveProperty('planHash');
    }
    expect(await world.versions()).toEqual(before);
  });

  it('gets the rows of an object back that are in the place of a fence of zero bytes, and the fence in theirs', async () => {
    const world = new World();
    for (const key of names(3)) {
      const { db, line } = await world.connect({ compatibility: 'slatedb-0.17' });
      await world.run(db.put(key, `value of ${key}`));
      line.cut();
    }
    const moved = await world.bytes(walPath(2));
    await world.replace(walPath(2), await world.bytes(walPath(5)));
    await world.replace(walPath(5), moved);
    expect((await world.bytes(walPath(2))).length).toBe(0);
    expect(await repair(world, { apply: true, acceptLoss: true })).toMatchObject({
      applied: true,
      rows: { recovered: 3 },
    });
    expect(await rowsOf(world, await world.open())).toEqual(rows(names(3)));
  });

  it('is not called older than its log because a live writer commits while it is looked at', async () => {
    const world = new World();
    const { db } = await world.connect();
    await world.run(db.put('early', 'in a table'));
    const line = world.line();
    const list = line.list.bind(line);
    let isOvertaken = false;
    line.list = async function* (prefix, options) {
      if (prefix === 'wal/' && !isOvertaken) {
        isOvertaken = true;
        await db.flush({ type: 'memtable' });
        await db.put('late', 'in the log');
      }
      yield* list(prefix, options);
    };
    const report = await repair(world, { apply: true, acceptLoss: true, ifLiveWriter: 'fence' }, line);
    expect(isOvertaken).toBe(true);
    expect(report).toMatchObject({ outcome: 'clean', applied: false });
    await world.run(db.put('still', 'its own'));
  });

  it('takes no fence of a writer that comes in the meantime for an emptied object', async () => {
    const seen: string[][] = [];
    for (const look of [inspectOn, planOn]) {
      const world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
      const line = world.line();
      const head = line.head.bind(line);
      line.head = async (path, options) => {
        if (path === walPath(5) && (await world.paths('wal/')).length === 4) {
          const { manifest } = loadManifest(2, await world.bytes(manifestPath(2)));
          await world.replace(manifestPath(3), encodeManifest({ ...manifest, writerEpoch: 2 }));
          await world.replace(walPath(5), new Uint8Array(0));
        }
        return head(path, options);
      };
      seen.push(await look(world, line));
      expect(await world.paths('wal/')).toHaveLength(5);
    }
    expect(seen).toEqual([['fence', 'ok', 'ok', 'ok', 'ambiguous-empty'], ['clean']]);
  });

  it.each([
    ['slatedb-0.12.1/l0-and-wal', 4, { recovered: 0 }, [{ min: 69n, max: 69n }], [4]],
    ['slatedb-0.12.1/wal-only-crash', 3, { recovered: 6 }, [{ min: 3n, max: 6n }], [3]],
    ['slatedb-0.17.0/crash-fences', 3, { recovered: 5 }, [{ min: 2n, max: 2n }], [3, 4]],
    ['slatedb-0.17.0/crash-fences', 8, { recovered: 7 }, [{ min: 6n, max: 7n }], [7, 8]],
  ])(
    'of %s says what is lost with object %d emptied, also after it has claimed the database itself',
    async (name, id, rows, lostSeqs, accused) => {
      const world = await worldOfFixture(name);
      await world.replace(walPath(id), new Uint8Array(0));
      const report = await repair(world, { apply: true, acceptLoss: true });
      expect(report).toMatchObject({ outcome: 'salvaged', applied: true, lostSeqs });
      expect(report.rows).toMatchObject({ ...rows, lostExact: false });
      expect(report.before.filter((f) => f.severity === 'error').map((f) => f.object.path)).toEqual(
        accused.map(walPath),
      );
      expect(report.ledgerIds).toHaveLength(1);
    },
  );

  it('gives way to a writer that commits whenever it is looked at', async () => {
    const world = new World();
    const { db } = await world.connect();
    await world.run(db.put('early', 'in a table'));
    const { line, lists } = alwaysOvertaken(world, db);
    const error = await rejection(repair(world, { apply: true, acceptLoss: true, ifLiveWriter: 'fence' }, line));
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'DEADLINE' });
    expect(error.message).toMatch(
      /changed 20 times in a row .* Stop the processes that use it, then run this again\.$/,
    );
    expect(lists()).toBe(20);
    await world.run(db.put('still', 'its own'));
  });

  it('ends where the newest manifest is listed but never there', async () => {
    const world = await sealedLog(4);
    const line = world.line();
    const get = line.get.bind(line);
    let reads = 0;
    line.get = async (path, options) => {
      if (!path.startsWith('manifest/')) return get(path, options);
      reads++;
      return undefined;
    };
    const error = await rejection(repair(world, { apply: true, acceptLoss: true }, line));
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'DEADLINE' });
    expect(reads).toBe(20);
  });

  it.each([3, 6])(
    'with object %d emptied says that its row is lost, and uses its number for nothing else',
    async (id) => {
      const world = await sealedLog(6);
      await cut(world, id, 0);
      const report = await repair(world, { apply: true, acceptLoss: true });
      const seq = BigInt(id - 1);
      expect(report).toMatchObject({ outcome: 'salvaged', rows: { lost: 1 }, lostSeqs: [{ min: seq, max: seq }] });
      expect(report.ledgerIds).toHaveLength(1);
      const db = await world.open();
      expect(await rowsOf(world, db)).toEqual(rows(names(5).filter((_, i) => i !== id - 2)));
      expect((await world.run(db.put('new', 'value'))).seq).toBe(6n);
    },
  );

  it('with an object cut to ten bytes loses that object and nothing else', async () => {
    const world = await sealedLog(6);
    await cut(world, 4, 10);
    const before = await digests(world);
    expect(await rejection(world.open())).toBeInstanceOf(WalCorruptionError);
    const planned = await repair(world);
    expect(planned).toMatchObject({
      applied: false,
      outcome: 'salvaged',
      rows: { recovered: 4, lost: 1 },
      lostSeqs: [{ min: 3n, max: 3n }],
    });
    expect(await digests(world)).toEqual(before);
    const done = await repair(world, { apply: { planHash: planned.planHash! }, acceptLoss: true });
    expect(done).toMatchObject({ applied: true, repairId: planned.repairId, lostSeqs: [{ min: 3n, max: 3n }] });
    expect(done.evidence).toMatchObject([{ from: walPath(4), bytes: 10 }]);
    await expectUnchanged(world, before);
    const db = await world.open();
    expect(await rowsOf(world, db)).toEqual(rows(names(5).filter((_, i) => i !== 2)));
    const { seq } = await world.run(db.put('later', 'x'));
    // The number of the lost row is not used again.
    expect(seq).toBe(6n);
    const { entries } = await world.run(readLedger(world.memory));
    expect(entries).toMatchObject([
      { level: 'wal', object: walPath(4), seqs: [{ min: 3n, max: 3n }], state: 'open', repairId: done.repairId },
    ]);
  });

  it('with a bit turned is healed without loss', async () => {
    const world = await sealedLog(6);
    await burst(world, 4, 3, 1);
    expect(await repair(world, { apply: true, acceptLoss: true })).toMatchObject({
      applied: true,
      outcome: 'healed',
      rows: { recovered: 5, lost: 0, expected: 5, lostExact: true },
      lostSeqs: [],
      ledgerIds: [],
    });
    expect(await rowsOf(world, await world.open())).toEqual(rows(names(5)));
  });

  it('with an object gone from its middle keeps both sides', async () => {
    const world = await sealedLog(6);
    await world.remove(walPath(4));
    const done = await repair(world, { apply: true, acceptLoss: true });
    expect(done).toMatchObject({
      outcome: 'salvaged',
      lostSeqs: [{ min: 3n, max: 3n }],
      rows: { recovered: 4, lost: 1 },
    });
    expect(await rowsOf(world, await world.open())).toEqual(rows(names(5).filter((_, i) => i !== 2)));
  });

  it('with mode truncate keeps what is before the first loss', async () => {
    const world = await sealedLog(6);
    await world.remove(walPath(4));
    const done = await repair(world, { apply: true, acceptLoss: true, mode: 'truncate' });
    expect(done).toMatchObject({ rows: { recovered: 2, lost: 3 }, lostSeqs: [{ min: 3n, max: 5n }] });
    const db = await world.open();
    expect(await rowsOf(world, db)).toEqual(rows(names(2)));
    expect((await world.run(db.put('later', 'x'))).seq).toBe(6n);
  });

  it('with mode truncate records each dropped object on its own, and acknowledging one ends no other', async () => {
    const world = await sealedLog(7);
    await cut(world, 4, 10);
    const done = await repair(world, { apply: true, acceptLoss: true, mode: 'truncate' });
    const { entries } = await readLedger(world.memory);
    expect(entries.map((e) => e.object)).toEqual([4, 5, 6, 7].map(walPath));
    // Of the first nothing is left that counts its rows.
    expect(entries.map((e) => [e.rows, e.exact])).toEqual([
      [1, false],
      [1, true],
      [1, true],
      [1, true],
    ]);
    expect(new Set(done.ledgerIds).size).toBe(4);
    expect(entries.map((e) => e.id)).toEqual(done.ledgerIds);
    const place = { store: world.memory, path: '' };
    await world.run(damageAcknowledge(place, entries[1].id, 'known', { clock: world.clock }));
    expect((await readLedger(world.memory)).entries.map((e) => e.state)).toEqual([
      'open',
      'acknowledged',
      'open',
      'open',
    ]);
  });

  it('with two objects in each other’s place loses nothing', async () => {
    const world = await sealedLog(6);
    const [third, fourth] = [await world.bytes(walPath(3)), await world.bytes(walPath(4))];
    await world.replace(walPath(3), fourth);
    await world.replace(walPath(4), third);
    expect(await repair(world, { apply: true, acceptLoss: true })).toMatchObject({
      outcome: 'reconstructed',
      rows: { recovered: 5, lost: 0 },
    });
    expect(await rowsOf(world, await world.open())).toEqual(rows(names(5)));
  });

  it.each(['last', 'middle'])('with its %s object emptied is not taken for one with a fence', async (where) => {
    const world = await sealedLog(6);
    const id = where === 'last' ? 6 : 4;
    await world.replace(walPath(id), new Uint8Array(0));
    expect(await rejection(world.open())).toBeInstanceOf(WalCorruptionError);
    const done = await repair(world, { apply: true, acceptLoss: true });
    expect(done).toMatchObject({ outcome: 'salvaged', rows: { recovered: 4, lost: 1 } });
    expect(done.lostSeqs).toEqual([{ min: BigInt(id - 1), max: BigInt(id - 1) }]);
    expect(await rowsOf(world, await world.open())).toEqual(rows(names(5).filter((_, i) => i !== id - 2)));
  });

  it.each([{}, { compatibility: 'slatedb-0.17' }] as OpenOptions[])(
    'with the only object after its tables emptied is refused, and the number of the lost row is not used again: %j',
    async (options) => {
      const world = await flushedLog(4, options);
      await cut(world, 4, 0);
      const before = await world.versions();
      expect(await rejection(world.open(options))).toMatchObject({ name: 'WalCorruptionError', code: 'TRUNCATED' });
      expect(await rejection(world.openReader())).toBeInstanceOf(WalCorruptionError);
      expect(await world.versions()).toEqual(before);
      expect(await repair(world, { apply: true, acceptLoss: true })).toMatchObject({
        outcome: 'salvaged',
        rows: { recovered: 0, lost: 1, lostExact: false },
        lostSeqs: [{ min: 3n, max: 3n }],
      });
      const db = await world.open(options);
      expect(await rowsOf(world, db)).toEqual(rows(names(2)));
      expect((await world.run(db.put('new', 'value'))).seq).toBe(4n);
    },
  );

  it('with its last object emptied and those before it gone never says that nothing is lost', async () => {
    const world = await sealedLog(2);
    await world.remove(walPath(1));
    await cut(world, 2, 0);
    expect((await rejection(world.open())).message).toMatch(/others may be lost/);
    const done = await repair(world, { apply: true, acceptLoss: true });
    expect(done).toMatchObject({
      outcome: 'salvaged',
      rows: { recovered: 0, lost: 1, lostExact: false },
      // Nothing says which of the two was the fence.
      lostSeqs: [{ min: 1n, max: 2n }],
    });
    expect(done.ledgerIds).toHaveLength(1);
    const db = await world.open();
    expect((await world.run(db.put('new', 'value'))).seq).toBe(3n);
  });

  it('of which a fence is gone says that nothing proves it whole', async () => {
    const world = await sealedLog(3);
    await world.remove(walPath(1));
    expect((await rejection(world.open())).message).toMatch(/2 rows can be kept, others may be lost/);
    const planned = await repair(world);
    expect(planned).toMatchObject({ outcome: 'salvaged', rows: { recovered: 2, lost: 0, lostExact: false } });
    expect(planned.nextSteps.join(' ')).toMatch(/nothing proves/);
  });

  it('with nothing but zero-byte fences after its tables is opened', async () => {
    const options: OpenOptions = { compatibility: 'slatedb-0.17' };
    const world = await flushedLog(4, options);
    await world.run((await world.open(options)).close());
    for (let times = 0; times < 3; times++) await world.writeAndCrash([], options);
    const fences = (await world.paths('wal/')).slice(-3);
    expect(await Promise.all(fences.map(async (path) => (await world.bytes(path)).length))).toEqual([0, 0, 0]);
    expect(await repair(world)).toMatchObject({ outcome: 'clean' });
    expect(await rowsOf(world, await world.open(options))).toEqual(rows(names(3)));
  });

  it('with its last object emptied and those before it exchanged does not take it for a fence', async () => {
    const world = await sealedLog(3);
    const [fence, row] = [await world.bytes(walPath(1)), await world.bytes(walPath(2))];
    await world.replace(walPath(1), row);
    await world.replace(walPath(2), fence);
    await cut(world, 3, 0);
    const done = await repair(world, { apply: true, acceptLoss: true });
    expect(done).toMatchObject({
      outcome: 'salvaged',
      rows: { recovered: 1, lost: 1, lostExact: false },
      lostSeqs: [{ min: 2n, max: 2n }],
    });
    const db = await world.open();
    expect(await rowsOf(world, db)).toEqual(rows(names(1)));
    expect((await world.run(db.put('new', 'value'))).seq).toBe(3n);
  });

  it.each([
    ['healed', 12, 2],
    ['not healed', 12, 30],
  ])('with an emptied object before a damaged one that is %s does not take it for a fence', async (_, at, length) => {
    const world = new World();
    const { db, line } = await world.connect({ compatibility: 'slatedb-0.17' });
    for (const key of names(2)) await world.run(db.put(key, `value of ${key}`));
    line.cut();
    await cut(world, 2, 0);
    await burst(world, 3, at, length);
    const done = await repair(world, { apply: true, acceptLoss: true });
    expect(done).toMatchObject({ outcome: 'salvaged', applied: true });
    expect(done.lostSeqs[0].min).toBe(1n);
    expect(done.ledgerIds.length).toBeGreaterThan(0);
  });

  it.each([
    ['after what tables hold', true],
    ['at its very beginning', false],
  ])('with a fence and an emptied object %s does not take both for fences', async (_, hasTables) => {
    const options: OpenOptions = { compatibility: 'slatedb-0.17' };
    const world = new World();
    if (hasTables) await world.run((await world.open(options)).close());
    await world.writeAndCrash(['row'], options);
    const last = (await world.paths('wal/')).at(-1) as string;
    await world.replace(last, new Uint8Array(0));
    const before = await world.versions();
    expect(await rejection(world.open(options))).toMatchObject({ code: 'TRUNCATED' });
    expect(await world.versions()).toEqual(before);
    expect(await repair(world, { apply: true, acceptLoss: true })).toMatchObject({
      outcome: 'salvaged',
      rows: { lost: 1 },
      lostSeqs: [{ min: 1n }],
    });
  });

  it('without a row, of which every opening left a fence of zero bytes, is opened', async () => {
    const options: OpenOptions = { compatibility: 'slatedb-0.17' };
    const world = new World();
    for (let times = 0; times < 4; times++) await world.writeAndCrash([], options);
    expect(await world.paths('wal/')).toHaveLength(4);
    expect(await repair(world)).toMatchObject({ outcome: 'clean' });
    expect(await rowsOf(world, await world.open(options))).toEqual([]);
  });

  it('refuses to lose more than maxLoss', async () => {
    const world = await sealedLog(6);
    await cut(world, 4, 10);
    const before = await world.versions();
    expect(await rejection(repair(world, { apply: true, maxLoss: { rows: 0 } }))).toBeInstanceOf(WalCorruptionError);
    expect(await rejection(repair(world, { apply: true, maxLoss: { walObjects: 0 } }))).toBeInstanceOf(
      WalCorruptionError,
    );
    expect(await world.versions()).toEqual(before);
    expect(await repair(world, { apply: true, maxLoss: { walObjects: 1 } })).toMatchObject({ applied: true });
  });

  it('repaired once is not repaired again', async () => {
    const world = await sealedLog(6);
    await cut(world, 4, 10);
    const done = await repair(world, { apply: true, acceptLoss: true });
    const before = await world.versions();
    const again = await repair(world, { apply: true, acceptLoss: true });
    expect(again).toMatchObject({ alreadyDone: true, repairId: done.repairId, outcome: done.outcome, rows: done.rows });
    expect(await world.versions()).toEqual(before);
  });
});

/** A log of one object with batches of three rows, and one row between them. */
async function batchedLog(batches: number): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect({ flushIntervalMs: 1000 });
  for (let i = 0; i < batches; i++) {
    const batch = new WriteBatch();
    for (const part of ['a', 'b', 'c']) batch.put(`batch-${String(i).padStart(3, '0')}-${part}`, 'v'.repeat(40));
    void world.run(db.write(batch, { awaitDurable: false }));
  }
  await world.run(db.flush());
  line.cut();
  return world;
}

describe('batches', () => {
  let world: World;
  let id = 0;
  beforeAll(async () => {
    world = await batchedLog(40);
    id = (await inspect(world)).findIndex((r) => r.rows.verified > 0) + 1;
  });

  it('of which a row is lost are dropped whole, the others are kept', async () => {
    const copy = await world.copy();
    await burst(copy, id, 2000, 24);
    const [report] = (await inspect(copy)).filter((r) => r.state === 'damaged');
    expect(report.batches.total).toBe(40);
    expect(report.batches.intact + report.batches.partial + report.batches.lost).toBe(40);
    expect(report.rows.lost + report.rows.suspect).toBeGreaterThan(0);
    const done = await repair(copy, { apply: true, acceptLoss: true });
    expect(done.rows.recovered).toBe(3 * report.batches.intact);
    const kept = new Map<string, number>();
    for (const row of await rowsOf(copy, await copy.open())) {
      kept.set(row.slice(0, 9), (kept.get(row.slice(0, 9)) ?? 0) + 1);
    }
    expect([...kept.values()].every((n) => n === 3)).toBe(true);
    expect(kept.size).toBe(report.batches.intact);
  });

  it('are kept as far as they go if that is asked for', async () => {
    const copy = await world.copy();
    await burst(copy, id, 2000, 24);
    const [report] = (await inspect(copy)).filter((r) => r.state === 'damaged');
    const done = await repair(copy, { apply: true, acceptLoss: true, onPartialBatch: 'keep-verified-rows' });
    expect(done.rows).toMatchObject({ recovered: report.rows.verified, lost: 120 - report.rows.verified });
    expect(await rowsOf(copy, await copy.open())).toHaveLength(report.rows.verified);
  });
});

describe('a log that SlateDB left', () => {
  it.each(['wal-only-crash', 'tiny'])('with an object of %s damaged is repaired as far as it can be', async (name) => {
    const whole = await worldOfFixture(`slatedb-0.12.1/${name}`);
    const reports = await inspect(whole);
    const needed = reports.filter((r) => r.neededForRecovery && r.state === 'ok');
    for (const { id } of needed) {
      const copy = await whole.copy();
      await burst(copy, Number(id), 10, 6);
      expect(await rejection(copy.open())).toBeInstanceOf(WalCorruptionError);
      const before = await digests(copy);
      const done = await repair(copy, { apply: true, acceptLoss: true });
      expect(done).toMatchObject({ applied: true, outcome: 'salvaged' });
      expect(done.rows.lost).toBeGreaterThan(0);
      await expectUnchanged(copy, before);
      await copy.open();
    }
  });
});

describe('inspecting', () => {
  it('describes every object, also from bytes alone', async () => {
    const world = await sealedLog(4);
    await burst(world, 3, 3, 1);
    const before = await world.versions();
    const reports = await inspect(world, { rows: 'full' });
    expect(reports.map((r) => [r.id, r.state, r.sealed, r.neededForRecovery, r.alsoIn])).toEqual([
      [1n, 'fence', true, true, 'live-writer-maybe'],
      [2n, 'ok', true, true, 'live-writer-maybe'],
      [3n, 'damaged', true, true, 'live-writer-maybe'],
      [4n, 'ok', true, true, 'live-writer-maybe'],
    ]);
    expect(reports[1]).toMatchObject({
      chain: 'unknown',
      rows: { total: 1, verified: 1 },
      batches: { total: 1, intact: 1 },
    });
    expect(reports[2].findings[0]).toMatchObject({ remedy: 'heals' });
    const entries: unknown[] = [];
    const all = async () => {
      for await (const e of reports[2].entries ?? []) entries.push([text(e.key), text(e.value), e.seq, e.op, e.trust]);
    };
    await world.run(all());
    expect(entries).toEqual([['key-001', 'value of key-001', 2n, 'put', 'verified']]);
    const raw = [{ id: 3n, bytes: await world.bytes(walPath(3)) }];
    for await (const report of walInspect(undefined, { raw })) {
      expect(report).toMatchObject({ state: 'damaged', rows: { total: 1, verified: 1, lost: 0 } });
    }
    expect(await world.versions()).toEqual(before);
  });

  it('goes on where the newest manifest is damaged', async () => {
    const world = await sealedLog(4);
    const newest = (await world.paths('manifest/')).at(-1)!;
    await world.replace(newest, (await world.bytes(newest)).slice(0, 40));
    expect((await inspect(world)).map((r) => r.state)).toEqual(['fence', 'ok', 'ok', 'ok']);
  });
});

describe('every repair of the log', () => {
  const calls =
    (apply: boolean, options: WalRepairOptions = {}): ToolCall =>
    (line, tool) =>
      walRepair(
        { store: line, path: '' },
        { ...tool, liveCheckMs: 0, ...options, ...(apply && { apply: true, acceptLoss: true }) },
      );

  const damages: [string, (world: World) => Promise<void>, WalRepairOptions][] = [
    ['a burst', (w) => burst(w, 3, 2, 20), {}],
    ['a hole', (w) => w.remove(walPath(3)), {}],
    ['an emptied end', (w) => w.replace(walPath(4), new Uint8Array(0)), {}],
    ['a burst, truncating', (w) => burst(w, 3, 2, 20), { mode: 'truncate' }],
  ];

  it.each(damages)('of %s plans without changing anything', async (_, damage, options) => {
    const world = await sealedLog(4);
    await damage(world);
    await expectDryRun(world, calls(false, options));
  });

  it.each(damages)(
    'of %s, cut off at any request and run again, ends where it would have',
    async (_, damage, options) => {
      const world = await sealedLog(4);
      await damage(world);
      const judge = async (w: World) => {
        const db = await w.open();
        const ledger = await w.run(readLedger(w.memory));
        return [await rowsOf(w, db), ledger.entries.map((e) => [e.object, e.seqs, e.state])];
      };
      expect(await expectCrashesConverge(world, calls(true, options), judge)).toBeGreaterThan(20);
    },
  );

  it('of a database that SlateDB left converges', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
    await burst(world, 3, 10, 6);
    await expectDryRun(world, calls(false));
    await expectCrashesConverge(world, calls(true), async (w) => rowsOf(w, await w.open()));
  });

  it.each([
    ['in the log', sealedLog],
    ['in tables, but for its last,', flushedLog],
  ])('of a log whose rows are %s opens for nobody between its claim and its end', async (_, make) => {
    const world = await make(4);
    await world.replace(walPath(4), new Uint8Array(0));
    const rehearsal = await world.copy();
    const counted = rehearsal.line();
    await rehearsal.run(calls(true)(counted, toolOptions(rehearsal)));
    const requests = counted.take();
    const claim = requests.findIndex((r) => r.startsWith('put manifest/'));
    const last = requests.length - 1 - [...requests].reverse().findIndex((r) => r.startsWith('put manifest/'));
    expect(claim).toBeLessThan(last);
    for (let n = claim + 1; n <= last; n++) {
      const copy = await world.copy();
      const line = copy.line();
      line.cutAt(n, 'after');
      calls(true)(line, toolOptions(copy)).catch(() => undefined);
      while (!line.isCut) await copy.clock.advance(500);
      expect(await rejection(copy.open()), requests[n - 1]).toBeInstanceOf(WalCorruptionError);
    }
  });
});

describe('a database that is open', () => {
  it('repairs its log by flushing, and loses nothing', async () => {
    const world = new World();
    const { db } = await world.connect();
    for (const key of names(5)) await world.run(db.put(key, `value of ${key}`));
    await burst(world, 3, 2, 20);
    const { clock } = world;
    expect(await world.run(walRepair(db, { clock }))).toMatchObject({ applied: false, rows: { lost: 0 } });
    expect(await world.run(walRepair(db, { clock, apply: true, acceptLoss: true }))).toMatchObject({
      applied: true,
      rows: { lost: 0 },
    });
    expect(await world.run(walRepair(db, { clock }))).toMatchObject({ outcome: 'clean' });
    await world.run(db.put('more', 'value of more'));
    await world.run(db.close());
    expect(await rowsOf(world, await world.open())).toEqual(rows([...names(5), 'more']));
  });
});
