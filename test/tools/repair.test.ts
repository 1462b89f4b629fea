/** `repair`: all steps in one plan, nothing without apply or consent, the same hash after an interruption, nothing for the healthy. */
import { describe, expect, it } from 'vitest';
import { type RepairAllOptions, type RepairAllReport, repair, verify } from '../../src/admin.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { rejection, rowsOf, type World } from '../support/database.ts';
import { keyOf, numbers, tablesOf, tablesWorld } from '../support/table-database.ts';

/** Two tables of several blocks, and a log with three objects after them. */
async function world(): Promise<World> {
  const made = await tablesWorld([numbers(0, 60), numbers(70, 110)], { sstBlockSizeBytes: 1024 });
  const { db, line } = await made.connect({ minFilterKeys: 1 });
  for (const i of [1, 2, 3]) await made.run(db.write(new WriteBatch().put(keyOf(i), `tail ${i}`)));
  line.cut();
  return made;
}

async function flip(made: World, path: string, at: number): Promise<void> {
  const bytes = await made.bytes(path);
  await made.replace(path, bytes.with(at, bytes[at] ^ 1));
}

async function zero(made: World, path: string, from: number, to: number): Promise<void> {
  await made.replace(path, (await made.bytes(path)).fill(0, from, to));
}

const damageManifest = async (made: World) => flip(made, (await made.paths('manifest/')).at(-1)!, 60);
const damageTables = async (made: World) => {
  for (const { path } of await tablesOf(made)) await zero(made, path, 40, 900);
};
/** The second last object is followed by another: a hole is damage for certain. */
const damageLog = async (made: World) => {
  const path = (await made.paths('wal/')).at(-2)!;
  await zero(made, path, 0, (await made.bytes(path)).length);
};

function call(made: World, options: RepairAllOptions = {}, store = made.line()): Promise<RepairAllReport> {
  return repair({ store, path: '' }, { clock: made.clock, liveCheckMs: 0, random: made.random(), ...options });
}
const run = (made: World, options: RepairAllOptions = {}) => made.run(call(made, options));
const tools = ({ steps }: RepairAllReport) => steps.map(({ tool }) => tool);

describe('a plan', () => {
  it('has every step, in order, and changes nothing', async () => {
    const made = await world();
    await damageLog(made);
    await damageTables(made);
    await damageManifest(made);
    const before = await made.versions();
    const line = made.line();
    const plan = await made.run(call(made, {}, line));
    expect(tools(plan)).toEqual(['manifestRepair', 'sstRepair', 'sstRepair', 'walRepair']);
    expect(plan).toMatchObject({ applied: false, verdict: 'corrupt', isWhole: true });
    expect(plan.planHash).toMatch(/^p-[0-9a-f]{24}$/);
    expect(await made.versions()).toEqual(before);
    expect(line.requests.filter(({ op }) => op === 'put' || op === 'delete')).toEqual([]);
    expect((await run(made)).planHash).toBe(plan.planHash);
  });

  it.each([
    ['the manifest', damageManifest, ['manifestRepair']],
    ['tables', damageTables, ['sstRepair', 'sstRepair']],
    ['the log', damageLog, ['walRepair']],
  ] as const)('of %s alone is that step', async (_, damage, steps) => {
    const made = await world();
    await damage(made);
    const plan = await run(made);
    expect(tools(plan)).toEqual(steps);
    const { planHash } = plan;
    const report = await run(made, { apply: { planHash: planHash! }, acceptLoss: true });
    expect(report).toMatchObject({ applied: true, planHash });
    expect(report.after?.verdict).not.toBe('corrupt');
    expect(tools(report)).toEqual(steps);
  });

  it('of more damage than there is room for has the first steps', async () => {
    const made = await tablesWorld([numbers(0, 15_000)]);
    const { db, line } = await made.connect();
    for (const i of [1, 2, 3]) await made.run(db.write(new WriteBatch().put(keyOf(i), `tail ${i}`)));
    line.cut();
    await damageTables(made);
    await damageLog(made);
    const plan = await run(made, { planBytes: 1 << 20 });
    expect([plan.isWhole, tools(plan)]).toEqual([false, ['sstRepair']]);
    await expect(run(made, { planBytes: 1 })).rejects.toMatchObject({ code: 'BAD_OPTION' });
    await run(made, { planBytes: 1 << 20, apply: true, acceptLoss: true });
    expect(tools(await run(made, { planBytes: 1 << 20 }))).toEqual(['walRepair']);
  });
});

describe('applied', () => {
  it('it does all steps, and the database opens with all that could be kept', async () => {
    const made = await world();
    await damageLog(made);
    await damageTables(made);
    await damageManifest(made);
    const plan = await run(made);
    const refused = await run(made, { apply: { planHash: plan.planHash! } });
    expect(refused).toMatchObject({ applied: false, outcome: 'consent-needed', missingConsent: ['loss'] });
    const report = await run(made, { apply: { planHash: plan.planHash! }, acceptLoss: true });
    expect(report.applied).toBe(true);
    expect(report.steps.every(({ applied }) => applied)).toBe(true);
    expect(report.steps.map(({ planHash }) => planHash)).toEqual(plan.steps.map(({ planHash }) => planHash));
    expect(report.steps.map(({ rows }) => rows)).toEqual(plan.steps.map(({ rows }) => rows));
    expect(report.after?.verdict).toBe('degraded');
    const reader = await made.openReader();
    const keys = await rowsOf(made, { scan: (o) => reader.scan({ ...o, onCorruption: 'skip' }) });
    expect(keys.length).toBeGreaterThan(60);
    const again = await run(made, { apply: true, acceptLoss: true });
    expect(again).toMatchObject({ applied: false, steps: [] });
  });

  it.each([
    ['after the first step', 1],
    ['after the second step', 2],
  ])('and cut off %s, it goes on by the same hash', async (_, steps) => {
    const made = await world();
    await damageTables(made);
    await damageLog(made);
    await damageManifest(made);
    const { planHash, steps: planned } = await run(made);
    const target = { store: made.line(), path: '' };
    const common = { clock: made.clock, random: made.random(), liveCheckMs: 0, apply: true };
    await made.run(manifestRepair(target, common));
    const table = planned[1].before.find(({ object }) => object.role === 'table')!.object.id;
    if (steps > 1) await made.run(sstRepair(target, table, { ...common, acceptLoss: true }));
    const report = await run(made, { apply: { planHash: planHash! }, acceptLoss: true });
    expect(report.applied).toBe(true);
    expect(report.steps.length).toBe(4 - steps);
    await expect(run(made, { apply: { planHash: planHash! } })).resolves.toMatchObject({ steps: [], applied: false });
  });

  it('and cut off at every request, it goes on by the same hash', async () => {
    const base = await world();
    await damageTables(base);
    await damageManifest(base);
    const { planHash } = await run(base);
    for (let n = 1; ; n += 19) {
      const made = await base.copy();
      const line = made.line();
      line.cutAt(n, 'after');
      const first = await made.run(
        call(made, { apply: true, acceptLoss: true, timeoutMs: 1000 }, line).then(undefined, () => undefined),
      );
      const report = await run(made, { apply: { planHash: planHash! }, acceptLoss: true });
      expect(
        (await made.run(verify({ store: made.line(), path: '' }, { clock: made.clock }))).verdict,
        `cut at ${n}`,
      ).not.toBe('corrupt');
      if (first !== undefined) {
        expect(report.steps).toEqual([]);
        break;
      }
    }
  }, 120_000);

  it('by another hash changes nothing', async () => {
    const made = await world();
    await damageTables(made);
    const before = await made.versions();
    const wrong = { apply: { planHash: 'p-000000000000000000000000' }, acceptLoss: true };
    expect(await rejection(run(made, wrong))).toMatchObject({ code: 'PLAN_CHANGED' });
    expect(await made.versions()).toEqual(before);
  });
});

it('of an open database is refused', async () => {
  const made = await world();
  const db = await made.open();
  expect(await rejection(made.run(repair(db as never)))).toMatchObject({ code: 'BAD_ARGUMENT' });
});

it('without a manifest says that nothing helps', async () => {
  const made = await world();
  await made.remove(...(await made.paths('manifest/')));
  const report = await run(made, { apply: true, acceptLoss: true });
  expect(report).toMatchObject({ applied: false, outcome: 'unrecoverable' });
  expect(report).not.toHaveProperty('planHash');
});
