/** Repairs of tables: what comes back of every kind of damage, what is lost and recorded, and that nothing else ever changes. */
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/common/finding.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath } from '../../src/format/object-names.ts';
import { sealRange } from '../../src/format/table-layout.ts';
import { type LoadedManifest, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { readLedger } from '../../src/lsm/tree/damage-ledger.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { type SstRepairOptions, sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { rejection, rowsOf, text, World } from '../support/database.ts';
import { gathered } from '../support/golden-database.ts';
import {
  contentOf,
  damageAt,
  keyOf,
  numbers,
  overwrite,
  type SectionName,
  TABLE_OPTIONS,
  tablesOf,
  tablesWorld,
} from '../support/table-database.ts';

const CHECKPOINT = '01234567-89ab-4def-8123-456789abcdef';
const NO_WAIT = { liveCheckMs: 0 } as const;

function repair(world: World, id: string, options: SstRepairOptions = {}, store = world.store): Promise<RepairReport> {
  const all = { clock: world.clock, ...NO_WAIT, ...options };
  return world.run(sstRepair({ store, path: '' }, id, all));
}

async function newestOf(world: World): Promise<LoadedManifest> {
  const path = (await world.paths('manifest/')).at(-1)!;
  return loadManifest(parseManifestPath(path)!, await world.bytes(path));
}

const findingsOf = (world: World): Promise<Finding[]> =>
  world.run(gathered(sstCheck({ store: world.store, path: '' }, { clock: world.clock })));

async function rowsAfter(world: World, options: OpenOptions = {}): Promise<string[]> {
  const db = await world.open({ ...TABLE_OPTIONS, ...options });
  const rows = await rowsOf(world, db);
  await world.run(db.close());
  return rows;
}

const rowsOfVersion = (keys: readonly number[], version: string) =>
  keys.map((i) => `${keyOf(i)}=${contentOf(i, version)}`);

/** Without the log: what was in it can then come only from tables. */
async function withoutLog(world: World): Promise<void> {
  await world.remove(...(await world.paths('wal/')));
}

/** Where block `i` is. */
async function blockPlace(
  world: World,
  id: string,
  i: number,
): Promise<{ offset: number; length: number; rows: number }> {
  const { blocks } = await world.run(sstInspect({ store: world.memory, path: '' }, id, { clock: world.clock }));
  return { offset: blocks[i].offset, length: blocks[i].storedBytes, rows: blocks[i].rows! };
}

const SECTIONS: readonly SectionName[] = ['filter', 'index', 'stats', 'seal', 'info', 'footer'];

describe('parts after the blocks', () => {
  it.each(SECTIONS)('%s: made again, byte for byte, no row unreadable before and none lost after', async (section) => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path, sections }] = await tablesOf(world);
    const pristine = await world.bytes(path);
    const { offset, length } = sections[section];
    for (const at of [offset, offset + (length >> 1), offset + length - 1]) {
      const copy = await world.copy();
      await withoutLog(copy);
      await damageAt(copy, path, at);
      const report = await repair(copy, ref.id, { apply: true, acceptLoss: true });
      expect(report).toMatchObject({ outcome: 'reconstructed', applied: true, lostKeys: [] });
      expect(report.rows).toMatchObject({ expected: 100, recovered: 100, lost: 0, lostExact: true });
      const [made] = await tablesOf(copy);
      expect(made.ref.id).not.toBe(ref.id);
      const bytes = await copy.bytes(made.path);
      const { start } = sealRange(made.ref.info, made.sections.info.offset);
      expect(Buffer.compare(bytes.subarray(0, start), pristine.subarray(0, start)), `${section} at ${at}`).toBe(0);
      expect(made.ref.info).toEqual(ref.info);
      expect(await rowsAfter(copy)).toEqual(rowsOfVersion(numbers(0, 100), 'v0'));
    }
  });

  it('all of them at once, of a compressed table', async () => {
    const world = await tablesWorld([numbers(0, 100)], { compressionCodec: 'lz4' });
    const [{ ref, path, size, sections }] = await tablesOf(world);
    await withoutLog(world);
    await overwrite(world, path, sections.filter.offset, size - sections.filter.offset);
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'reconstructed', applied: true, lostKeys: [] });
    expect(await rowsAfter(world)).toEqual(rowsOfVersion(numbers(0, 100), 'v0'));
  });
});

describe('a damaged block', () => {
  it('is healed where the checks of the seal prove it', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    const { offset } = await blockPlace(world, ref.id, 2);
    await overwrite(world, path, offset + 100, 3);
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'healed', applied: true, lostKeys: [], ledgerIds: [] });
    expect(await rowsAfter(world)).toEqual(rowsOfVersion(numbers(0, 100), 'v0'));
  });

  it('is filled from the log as long as that is there', async () => {
    const world = await tablesWorld([numbers(0, 100), numbers(0, 100, 2)]);
    const [newer, older] = await tablesOf(world);
    for (const { ref, path } of [newer, older]) {
      const { offset, length } = await blockPlace(world, ref.id, 1);
      await overwrite(world, path, offset, length);
      const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
      expect(report).toMatchObject({
        outcome: 'reconstructed',
        applied: true,
        lostKeys: [],
        ledgerIds: [],
        shadowed: 0,
      });
    }
    const expected = numbers(0, 100).map((i) => `${keyOf(i)}=${contentOf(i, i % 2 === 0 ? 'v1' : 'v0')}`);
    expect(await rowsAfter(world)).toEqual(expected);
  });

  it('is not called complete from a log of which an object was emptied; what is written later is newer than the loss', async () => {
    const world = new World();
    const { db, line } = await world.connect(TABLE_OPTIONS);
    for (const key of ['a', 'b', 'c']) await world.run(db.put(key, `value of ${key}`));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [{ ref, path }] = await tablesOf(world);
    await world.replace(path, new Uint8Array(0));
    await world.replace('wal/00000000000000000003.sst', new Uint8Array(0));
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true });
    expect(report.lostKeys).not.toEqual([]);
    const again = await world.open(TABLE_OPTIONS);
    expect(await rejection(world.run(again.get('b')))).toMatchObject({ code: 'LOST_DATA' });
    await world.run(again.put('b', 'written later'));
    expect(text(await world.run(again.get('b', { corruptionPolicy: 'strict' })))).toBe('written later');
  });

  it('is not called complete because the log still has as many rows, of which the table had not kept all', async () => {
    const world = new World();
    const { db, line } = await world.connect(TABLE_OPTIONS);
    for (const [key, version] of ['a1', 'x1', 'b1', 'b2', 'b3', 'c1']) {
      await world.run(db.put(key, `${version} of ${key} ${'#'.repeat(40)}`));
    }
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [{ ref, path }] = await tablesOf(world);
    await overwrite(world, path, 0, (await blockPlace(world, ref.id, 0)).length);
    // What is before it in the log is no longer used: the only copy of a.
    await world.replace('wal/00000000000000000003.sst', new Uint8Array(7));
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true, rows: { lostExact: false } });
    expect(report.lostKeys).not.toEqual([]);
    const again = await world.open(TABLE_OPTIONS);
    expect(await rejection(world.run(again.get('a', { corruptionPolicy: 'strict' })))).toMatchObject({
      code: 'LOST_DATA',
    });
  });

  describe.each([
    ['missing', async (world: World, path: string) => world.remove(path)],
    ['damaged', async (world: World, path: string) => overwrite(world, path, 0, (await world.bytes(path)).length)],
    ['emptied', async (world: World, path: string) => world.replace(path, new Uint8Array(0))],
  ])('with an object of the log after it %s', (_, harm) => {
    /** A table of which the log has all rows, one that is written last, a harmed object after both, and rows after that. */
    async function harmedWorld(): Promise<World> {
      const world = await tablesWorld([numbers(0, 100), numbers(100, 150)]);
      const [first] = (await world.paths('wal/')).slice(-1);
      const { db, line } = await world.connect(TABLE_OPTIONS);
      for (const key of ['w1', 'w2', 'w3']) await world.run(db.put(key, 'in the log'));
      line.cut();
      const later = (await world.paths('wal/')).filter((path) => path > first);
      // Its fence, then the three rows.
      await harm(world, later[2]);
      const [, older] = await tablesOf(world);
      const { offset, length } = await blockPlace(world, older.ref.id, 1);
      await overwrite(world, older.path, offset, length);
      return world;
    }
    const repairs = {
      log: (world: World) =>
        world.run(
          walRepair(
            { store: world.store, path: '' },
            { clock: world.clock, ...NO_WAIT, apply: true, acceptLoss: true },
          ),
        ),
      table: async (world: World, id: string) => repair(world, id, { apply: true, acceptLoss: true }),
    };

    it('loses no row, whichever is repaired first', async () => {
      const found: string[][] = [];
      for (const order of [['table', 'log'] as const, ['log', 'table'] as const]) {
        const world = await harmedWorld();
        const [, { ref }] = await tablesOf(world);
        for (const what of order) {
          const report = await repairs[what](world, ref.id);
          if (what === 'table') expect(report).toMatchObject({ outcome: 'reconstructed', applied: true, lostKeys: [] });
        }
        found.push(await rowsAfter(world));
      }
      expect(found[1]).toEqual(found[0]);
      expect(found[0].slice(0, 150)).toEqual([
        ...rowsOfVersion(numbers(0, 100), 'v0'),
        ...rowsOfVersion(numbers(100, 150), 'v1'),
      ]);
    });

    it('is said to be repaired before the log', async () => {
      const world = await harmedWorld();
      const { nextSteps } = await world.run(verify({ store: world.store, path: '' }, { clock: world.clock }));
      const at = (command: string) => nextSteps.findIndex((step) => step.startsWith(command));
      expect(at('shaledb sst repair')).toBeGreaterThanOrEqual(0);
      expect(at('shaledb wal repair')).toBeGreaterThan(at('shaledb sst repair'));
    });

    it('takes nothing from before an object that another one says was replaced', async () => {
      const world = await harmedWorld();
      await repairs.log(world);
      const [first, second, third] = await world.paths('wal/');
      await world.replace(second, await world.bytes(third));
      await world.remove(first);
      const { ref } = (await tablesOf(world)).at(-1)!;
      expect(await repair(world, ref.id)).toMatchObject({ outcome: 'salvaged', applied: false });
    });
  });

  it('does not bring back from the log what had expired when the table was written', async () => {
    const world = new World();
    const { db, line } = await world.connect(TABLE_OPTIONS);
    await world.run(db.put('gone', 'x'.repeat(50), { ttlMs: 10 }));
    await world.run(db.put('here', 'y'.repeat(50)));
    world.clock.jumpWallMs(60_000);
    await world.run(db.put('later', 'z'.repeat(50)));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [{ ref, path }] = await tablesOf(world);
    await world.remove(path);
    expect(await repair(world, ref.id, { apply: true, acceptLoss: true })).toMatchObject({ outcome: 'reconstructed' });
    const [made] = await tablesOf(world);
    const { rows } = await world.run(sstInspect({ store: world.memory, path: '' }, made.ref.id, { rows: true }));
    const ops: string[] = [];
    for await (const { key, op } of rows!) ops.push(`${op} ${text(key)}`);
    expect(ops).toEqual(['delete gone', 'put here', 'put later']);
  });

  it('gives the rows under checks that hold; the others stand in the ledger', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    const { offset, rows } = await blockPlace(world, ref.id, 2);
    await overwrite(world, path, offset + 200, 100);
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true, shadowed: 0 });
    expect(report.rows.lost).toBeGreaterThan(0);
    expect(report.rows.lost).toBeLessThan(rows / 2 + 1);
    expect(report.rows).toMatchObject({ expected: 100, recovered: 100 - report.rows.lost, lostExact: true });
    const ledger = await world.run(readLedger(world.memory));
    expect(ledger.entries).toMatchObject([{ object: path, level: 'l0', rows: report.rows.lost, state: 'open' }]);
    expect(ledger.entries[0].id).toBe(report.before[0].id);
    const [made] = await tablesOf(world);
    const inspected = await world.run(
      sstInspect({ store: world.memory, path: '' }, made.ref.id, { clock: world.clock }),
    );
    expect(inspected.findings).toEqual([]);
    expect(inspected.blocks.reduce((n, b) => n + b.rows!, 0)).toBe(report.rows.recovered);
  });

  it('loses nothing unasked', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    const { offset, length } = await blockPlace(world, ref.id, 2);
    await overwrite(world, path, offset, length);
    const before = await world.versions();
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true, onLoss: 'refuse' });
    expect(report).toMatchObject({ outcome: 'consent-needed', applied: false });
    expect(await world.versions()).toEqual(before);
    const accepted = await repair(world, ref.id, { apply: true, acceptLoss: true, onLoss: 'accept' });
    expect(accepted).toMatchObject({ outcome: 'salvaged', applied: true });
    expect((await world.run(readLedger(world.memory))).entries[0].state).toBe('acknowledged');
  });

  it('needs consent where older versions would show through', async () => {
    const world = await tablesWorld([numbers(0, 100), numbers(0, 100)]);
    const [newer] = await tablesOf(world);
    await withoutLog(world);
    const { offset, length, rows } = await blockPlace(world, newer.ref.id, 2);
    await overwrite(world, newer.path, offset, length);
    const refused = await repair(world, newer.ref.id, { apply: true, acceptLoss: true });
    expect(refused).toMatchObject({ outcome: 'consent-needed', applied: false });
    expect(refused.shadowed).toBeGreaterThanOrEqual(rows);
    expect(refused.nextSteps[0]).toMatch(/accept-resurrection/);
    const done = await repair(world, newer.ref.id, { apply: true, acceptLoss: true, acceptResurrection: true });
    expect(done).toMatchObject({ outcome: 'salvaged', applied: true });
  });
});

describe('an object', () => {
  it('that is gone is made again from the log', async () => {
    const world = await tablesWorld([numbers(0, 100), numbers(0, 50)]);
    const [newer, older] = await tablesOf(world);
    await world.remove(older.path);
    const report = await repair(world, older.ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'reconstructed', applied: true });
    await world.remove(newer.path);
    await repair(world, newer.ref.id, { apply: true, acceptLoss: true });
    const expected = numbers(0, 100).map((i) => `${keyOf(i)}=${contentOf(i, i < 50 ? 'v1' : 'v0')}`);
    expect(await rowsAfter(world)).toEqual(expected);
  });

  it('that is gone is not called made again from a log whose last object is emptied, with a damaged one after it', async () => {
    const world = await tablesWorld([[0], [1]]);
    const { line } = await world.connect(TABLE_OPTIONS);
    line.cut();
    const [{ ref, path }] = await tablesOf(world);
    await world.remove(path);
    const [last, next] = (await world.paths('wal/')).slice(-2);
    await world.replace(last, new Uint8Array(0));
    await overwrite(world, next, 0, 20);
    const report = await repair(world, ref.id);
    expect(report).toMatchObject({ outcome: 'salvaged', applied: false });
    expect(report.lostKeys).toHaveLength(1);
  });

  it('that is gone is not filled with rows of a table above it that was given up', async () => {
    const world = await tablesWorld([numbers(0, 10), [0, 9], [5], [5]]);
    const [newest, above, gone, oldest] = await tablesOf(world);
    const [a, b] = [await world.bytes(newest.path), await world.bytes(oldest.path)];
    await world.replace(newest.path, b);
    await world.replace(oldest.path, a);
    await world.remove(gone.path);
    for (const { ref } of [newest, oldest])
      expect(await repair(world, ref.id, { apply: true, acceptLoss: true, acceptResurrection: true })).toMatchObject({
        outcome: 'salvaged',
      });
    const report = await repair(world, gone.ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'reconstructed', applied: true });
    const [first, second] = await tablesOf(world);
    expect(first.ref.id).toBe(above.ref.id);
    const rows = await world.run(
      sstInspect({ store: world.memory, path: '' }, second.ref.id, { clock: world.clock, rows: true }),
    );
    const seqs: number[] = [];
    for await (const row of rows.rows!) if (text(row.key) === keyOf(5)) seqs.push(Number(row.seq));
    // Number 3 is in the table above, 4 in the one that was given up.
    expect(seqs).toEqual([1]);
  });

  it('that is gone for good leaves its entry in the ledger and none in the manifest', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    await world.remove(path);
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true, newObjects: [] });
    expect(await tablesOf(world)).toEqual([]);
    expect((await world.run(readLedger(world.memory))).entries.length).toBe(1);
  });

  it('that holds the bytes of another table is not believed', async () => {
    const world = await tablesWorld([numbers(0, 100), numbers(0, 100)]);
    const [newer, older] = await tablesOf(world);
    await world.replace(older.path, await world.bytes(newer.path));
    const report = await repair(world, older.ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'reconstructed', applied: true });
    expect(await rowsAfter(world)).toEqual(rowsOfVersion(numbers(0, 100), 'v1'));
  });

  it.each([
    ['in a block', 30],
    ['just after a block', 0],
  ])('that was cut %s keeps the blocks before the cut, and reports what is gone', async (_, further) => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    const { offset } = await blockPlace(world, ref.id, 3);
    await world.replace(path, (await world.bytes(path)).subarray(0, offset + further));
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true });
    expect(report.rows.recovered).toBeGreaterThan(20);
    expect(report.rows.lost).toBeGreaterThan(0);
    expect(report.lostKeys).toHaveLength(1);
    expect(report.ledgerIds.length).toBeGreaterThan(0);
  });

  it('that is sound needs nothing; one that no manifest names is obsolete; another name is refused', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    expect(await repair(world, ref.id, { apply: true, acceptLoss: true })).toMatchObject({
      outcome: 'clean',
      applied: false,
    });
    await damageAt(world, path, 10);
    await repair(world, ref.id, { apply: true, acceptLoss: true });
    const again = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(again).toMatchObject({ alreadyDone: true, applied: true });
    expect((await rejection(repair(world, '01ARZ3NDEKTSV4RRFFQ69G5FAV'))).code).toBe('BAD_ARGUMENT');
    const sources = ['versions'] as unknown as SstRepairOptions['sources'] & object;
    expect((await rejection(repair(world, ref.id, { sources }))).code).toBe('BAD_OPTION');
  });

  it('that only a checkpoint keeps is none for a repair: checks and repairs say so, and name the checkpoint', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    const { id, manifest } = await newestOf(world);
    const checkpoint = { id: CHECKPOINT, manifestId: id, expireTimeS: 0, createTimeS: 1 };
    const checkpoints = [{ ...checkpoint, writerEpoch: undefined, name: undefined }];
    const merged = { ...manifest, checkpoints, l0: [], lastCompacted: ref.id };
    await world.replace(manifestPath(id + 1), encodeManifest(merged));
    await damageAt(world, path, 10);

    const [hint] = (await findingsOf(world)).filter((f) => f.object.path === path).map((f) => f.hint);
    expect(hint).toMatchObject({ commands: [], lossIfRepaired: 'none' });
    expect(hint.summary).toMatch(
      `The newest state does not need this table, only checkpoint ${CHECKPOINT}: a read at that point meets the damage`,
    );
    const report = await repair(world, ref.id, { apply: true, acceptLoss: true });
    expect(report).toMatchObject({ outcome: 'obsolete', applied: false, nextSteps: [hint.summary] });
  });
});

describe('a repair', () => {
  async function damaged(): Promise<{ world: World; id: string; path: string }> {
    const world = await tablesWorld([numbers(0, 40)]);
    const [{ ref, path }] = await tablesOf(world);
    await withoutLog(world);
    const { offset } = await blockPlace(world, ref.id, 1);
    await overwrite(world, path, offset + 200, 100);
    return { world, id: ref.id, path };
  }

  it('changes nothing without apply, and says what it would do', async () => {
    const { world, id } = await damaged();
    const before = await world.versions();
    const line = world.line();
    const report = await repair(world, id, {}, line);
    expect(report).toMatchObject({ applied: false, outcome: 'salvaged' });
    expect(line.take().filter((r) => /^(put|delete)/.test(r))).toEqual([]);
    expect(await world.versions()).toEqual(before);
  });

  it('leaves every object as it was and a copy of what was damaged', async () => {
    const { world, id, path } = await damaged();
    const before = await world.versions();
    const original = await world.bytes(path);
    const report = await repair(world, id, { apply: true, acceptLoss: true });
    const after = new Set(await world.versions());
    expect(before.filter((v) => !after.has(v))).toEqual([]);
    expect(report.evidence.map((e) => e.from)).toEqual([path]);
    expect(await world.bytes(report.evidence[0].to)).toEqual(original);
  });

  it('cut off at any request and done again ends the same', async () => {
    const { world, id } = await damaged();
    const whole = await world.copy();
    const line = whole.line();
    const expected = await repair(whole, id, { apply: true, acceptLoss: true }, line);
    const requests = line.requests.length;
    const rows = await keysInTable(whole);
    expect(requests).toBeGreaterThan(20);
    for (let n = 1; n <= requests; n++) {
      for (const where of ['before', 'after'] as const) {
        const copy = await world.copy();
        const doomed = copy.line();
        doomed.cutAt(n, where);
        const run = sstRepair({ store: doomed, path: '' }, id, {
          clock: copy.clock,
          ...NO_WAIT,
          apply: true,
          acceptLoss: true,
        });
        run.catch(() => undefined);
        await copy.run(Promise.race([run, isCut(doomed, copy)]));
        const report = await repair(copy, id, { apply: true, acceptLoss: true });
        const at = `cut ${where} request ${n}`;
        expect(report, at).toMatchObject({ applied: true, repairId: expected.repairId, planHash: expected.planHash });
        expect({ ...report.rows, keys: report.lostKeys }, at).toEqual({ ...expected.rows, keys: expected.lostKeys });
        expect((await copy.run(readLedger(copy.memory))).entries.length, at).toBe(1);
        expect(await keysInTable(copy), at).toEqual(rows);
      }
    }
  });
});

/** Of the only table. A scan would stop at the range in the ledger. */
async function keysInTable(world: World): Promise<string[]> {
  const [{ ref }] = await tablesOf(world);
  const { rows } = await world.run(sstInspect({ store: world.memory, path: '' }, ref.id, { rows: true }));
  const keys: string[] = [];
  for await (const { key } of rows!) keys.push(text(key)!);
  return keys;
}

async function isCut(line: { isCut: boolean }, world: World): Promise<void> {
  while (!line.isCut) await world.clock.yieldToLoop();
}
