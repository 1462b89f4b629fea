/** The order of a repair, with a small one: an unsealed L0 table is written again under another name, or dropped as lost. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { DbError } from '../../src/common/errors.ts';
import type { Manifest, TableView } from '../../src/format/manifest-types.ts';
import { manifestPath, tablePath } from '../../src/format/object-names.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { readLedger } from '../../src/lsm/tree/damage-ledger.ts';
import { damagedObject, type RepairOptions, type RepairPlan, type RepairTask } from '../../src/tools/repair-plan.ts';
import { runRepair } from '../../src/tools/repair-run.ts';
import type { RepairReport } from '../../src/tools/reports.ts';
import { type ToolOptions, withTarget } from '../../src/tools/target.ts';
import { type Line, rejection, rowsOf, type World, worldOfFixture } from '../support/database.ts';
import { digests, expectCrashesConverge, expectDryRun, expectUnchanged, toolOptions } from '../support/tool-laws.ts';

const NOTHING = { rows: { recovered: 0, probable: 0, suspect: 0, lost: 0, lostExact: true }, shadowed: 0 };

async function newestManifest(world: World): Promise<Manifest> {
  const id = (await listManifestIds(world.memory)).at(-1)!;
  return loadManifest(id, await world.bytes(manifestPath(id))).manifest;
}

/** Copies table `id`, or with `drop` gives it up. */
function task(id: string, drop: boolean, options: RepairOptions): RepairTask {
  return {
    ...options,
    tool: 'sstRepair',
    settings: { id, drop },
    namesOneObject: true,
    plan: async ({ target, manifest }): Promise<RepairPlan> => {
      const view = manifest.manifest.l0.find((v) => v.table.id === id);
      const base = { before: [], lostKeys: [], lostSeqs: [], nextSteps: [], ...NOTHING };
      if (view === undefined)
        return { ...base, outcome: 'obsolete', damaged: [], losses: [], tables: [], dropped: [], edit: (m) => m };
      const { bytes } = (await target.stores.main.get(tablePath(view.table.id)))!;
      const replaced = (m: Manifest, by: TableView[]): Manifest | undefined =>
        m.l0.some((v) => v.table.id === id)
          ? { ...m, l0: m.l0.flatMap((v) => (v.table.id === id ? by : [v])) }
          : undefined;
      const damaged = [damagedObject(tablePath(view.table.id), 'main', bytes)];
      if (drop) {
        const loss = {
          id: 'f-1',
          object: damaged[0].path,
          level: 'l0' as const,
          keys: [],
          seqs: [{ min: 1n, max: 2n }],
          exact: false,
          state: 'open' as const,
        };
        return {
          ...base,
          outcome: 'salvaged',
          damaged,
          losses: [loss],
          tables: [],
          dropped: [view.table.id],
          edit: (m) => replaced(m, []),
        };
      }
      return {
        ...base,
        outcome: 'reconstructed',
        damaged,
        losses: [],
        tables: [
          {
            replaces: view.table.id,
            summary: { bytes: bytes.length },
            build: async (naming) => ({ bytes, table: { ...view.table, id: naming.id } }),
          },
        ],
        dropped: [],
        edit: (m, made) => replaced(m, [{ ...view, viewId: made.tables[0].id, table: made.tables[0] }]),
      };
    },
  };
}

describe('a repair', () => {
  let world: World;
  let id: string;
  let rows: string[];
  beforeAll(async () => {
    world = await worldOfFixture('slatedb-0.12.1/l0-and-wal');
    id = (await newestManifest(world)).l0[0].table.id;
    rows = await rowsOf(world, await world.openReader());
  });

  const call =
    (options: RepairOptions, drop = false) =>
    (line: Line, tool: ToolOptions): Promise<RepairReport> =>
      withTarget({ store: line, path: '' }, tool, (target) => runRepair(target, task(id, drop, options)));

  it('without apply says what it would do and changes nothing', async () => {
    const report = await expectDryRun(world, call({}));
    expect(report).toMatchObject({
      outcome: 'reconstructed',
      applied: false,
      newObjects: ['compacted/<new table 1>.sst'],
    });
    expect(report.evidence).toMatchObject([{ from: tablePath(id as never), bytes: expect.any(Number) }]);
    expect(report.nextSteps.join('\n')).toContain(report.planHash);
  });

  it('keeps a copy, takes the database over, names the new table and reports what it did', async () => {
    const copy = await world.copy();
    const before = await digests(copy);
    const old = await newestManifest(copy);
    const report = await copy.run(call({ apply: true })(copy.line(), toolOptions(copy)));
    expect(report).toMatchObject({ applied: true, alreadyDone: false, outcome: 'reconstructed' });
    await expectUnchanged(copy, before);
    const now = await newestManifest(copy);
    expect(now.l0.map((v) => tablePath(v.table.id))).toEqual([
      report.newObjects[0],
      ...old.l0.slice(1).map((v) => tablePath(v.table.id)),
    ]);
    expect(now).toMatchObject({ writerEpoch: old.writerEpoch + 1, compactorEpoch: old.compactorEpoch + 1 });
    const { seal } = loadManifest(Number(report.manifestId), await copy.bytes(manifestPath(Number(report.manifestId))));
    expect(seal).toMatchObject({ manifest: { isRepair: true }, repair: { pairs: [{ from: id }] } });
    expect(await copy.bytes(report.evidence[0].to)).toEqual(await copy.bytes(tablePath(id as never)));
    expect(await rowsOf(copy, await copy.open())).toEqual(rows);
    const again = await copy.run(call({ apply: true })(copy.line(), toolOptions(copy)));
    expect(again).toMatchObject({ ...report, alreadyDone: true, requests: again.requests, tookMs: again.tookMs });
  });

  it('writes what is lost to the ledger', async () => {
    const copy = await world.copy();
    const report = await copy.run(call({ apply: true }, true)(copy.line(), toolOptions(copy)));
    const { version, entries } = await readLedger(copy.memory);
    expect({ version, entries }).toMatchObject({
      version: 1,
      entries: [{ id: 'f-1', repairId: report.repairId, state: 'open' }],
    });
    const { seal } = loadManifest(Number(report.manifestId), await copy.bytes(manifestPath(Number(report.manifestId))));
    expect(seal?.manifest?.ledgerVersion).toBe(1);
  });

  it.each([false, true])('cut off at any request and run again ends the same (loss: %s)', async (drop) => {
    const total = await expectCrashesConverge(world, call({ apply: true }, drop), async (w) => {
      const { l0, runs } = await newestManifest(w);
      const ledger = (await readLedger(w.memory)).entries.map((e) => e.id);
      return { l0: l0.length, runs: runs.length, ledger, rows: await rowsOf(w, await w.openReader()) };
    });
    expect(total).toBeGreaterThan(30);
  });

  it('does what was reviewed or nothing', async () => {
    const copy = await world.copy();
    const before = await copy.versions();
    const dry = await copy.run(call({})(copy.line(), toolOptions(copy)));
    const error = await rejection(copy.run(call({ apply: { planHash: 'p-other' } })(copy.line(), toolOptions(copy))));
    expect(error).toMatchObject({ name: 'ConflictError', code: 'PLAN_CHANGED' });
    expect(await copy.versions()).toEqual(before);
    const report = await copy.run(call({ apply: { planHash: dry.planHash! } })(copy.line(), toolOptions(copy)));
    expect(report).toMatchObject({ applied: true, planHash: dry.planHash });
    // The same once more is the report; another plan was not done.
    const again = (planHash: string) => copy.run(call({ apply: { planHash } })(copy.line(), toolOptions(copy)));
    expect(await again(dry.planHash!)).toMatchObject({ applied: true, alreadyDone: true });
    expect(await rejection(again('p-other'))).toMatchObject({ name: 'ConflictError', code: 'PLAN_CHANGED' });
  });

  it('refuses beside a writer that writes, or fences it', async () => {
    const copy = await world.copy();
    const { db } = await copy.connect();
    let isDone = false;
    let refusal: DbError | undefined;
    const writing = (async () => {
      for (let i = 0; !isDone && refusal === undefined; i++) {
        await db.put(`k${i}`, 'v').catch((error: DbError) => (refusal = error));
        await new Promise<void>((resolve) => copy.clock.setTimer(100, resolve));
      }
    })();
    const refused = rejection(copy.run(call({ apply: true })(copy.line(), toolOptions(copy))));
    expect(await refused).toMatchObject({ name: 'ConflictError', code: 'LIVE_WRITER' });
    expect(await copy.paths('shale/repairs/')).toEqual([]);
    const report = await copy.run(call({ apply: true, ifLiveWriter: 'fence' })(copy.line(), toolOptions(copy)));
    expect(report).toMatchObject({ applied: true });
    await copy.clock.advance(5000);
    isDone = true;
    await copy.run(writing);
    expect(refusal).toMatchObject({ name: 'FencedError', owner: 'tool:1' });
  });

  it('beside another repair of the same is done once, and both get its report', async () => {
    const copy = await world.copy();
    const both = [1, 2].map(() => call({ apply: true })(copy.line(), toolOptions(copy)));
    const ended = await copy.run(Promise.allSettled(both));
    const reports = ended.flatMap((e) => (e.status === 'fulfilled' ? [e.value] : []));
    expect(reports.filter((r) => r.applied && !r.alreadyDone).length).toBe(1);
    for (const e of ended) if (e.status === 'rejected') expect(e.reason).toMatchObject({ kind: /fenced|conflict/ });
    const again = await copy.run(call({ apply: true })(copy.line(), toolOptions(copy)));
    expect(again).toMatchObject({ applied: true, alreadyDone: true, outcome: 'reconstructed' });
    expect(await rowsOf(copy, await copy.open())).toEqual(rows);
  });

  it('through an open database fences nobody but a compactor', async () => {
    const copy = await world.copy();
    const db = await copy.open();
    const { writerEpoch, compactorEpoch } = await newestManifest(copy);
    const report = await copy.run(
      withTarget(db, toolOptions(copy), (target) => runRepair(target, task(id, false, { apply: true }))),
    );
    expect(report).toMatchObject({ applied: true });
    expect(await newestManifest(copy)).toMatchObject({ writerEpoch, compactorEpoch: compactorEpoch + 1 });
    await copy.run(db.put('still', 'mine'));
    expect(await rowsOf(copy, db)).toHaveLength(rows.length + 1);
    await copy.run(db.flush({ type: 'memtable' }));
    expect((await newestManifest(copy)).l0.some((v) => v.table.id === id)).toBe(false);
  });

  it.each([
    ['status:507', 'STORE_FULL'],
    ['status:403', 'STORE_DENIED'],
  ] as const)('that may not write (%s) changes nothing', async (action, code) => {
    const copy = await world.copy();
    const before = await copy.versions();
    copy.faults.add({ action, op: 'put' });
    const error = await rejection(copy.run(call({ apply: true })(copy.line(), toolOptions(copy))));
    expect(error).toMatchObject({ code });
    expect(await copy.versions()).toEqual(before);
  });
});
