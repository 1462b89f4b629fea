/** What a repair may lose: nothing without consent, no more than was consented to, judged by the most that can be lost. */
import { describe, expect, it } from 'vitest';
import { CorruptionError, InvalidArgumentError, WalCorruptionError } from '../../src/common/errors.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { walPath } from '../../src/format/object-names.ts';
import type { LossOptions } from '../../src/tools/repair-plan.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { rejection, rowsOf, World } from '../support/database.ts';
import { numbers, overwrite, tablesOf, tablesWorld } from '../support/table-database.ts';
import { toolOptions } from '../support/tool-laws.ts';

/** A log of a batch of 2 rows in each object; the object in the middle is gone, and with it `rows` rows of one number each. */
async function logWithLostObject(rowsPerBatch: number): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect();
  for (let n = 0; n < 5; n++) {
    const batch = new WriteBatch();
    for (let i = 0; i < rowsPerBatch; i++) batch.put(`key-${n}-${i}`, 'v');
    await world.run(db.write(batch));
  }
  line.cut();
  await world.remove(walPath(4));
  return world;
}

/** The call leaves every object as it was, and adds none. */
async function expectUnchanged<T>(world: World, call: () => Promise<T>): Promise<T> {
  const before = await world.versions();
  const answer = await call();
  expect(await world.versions()).toEqual(before);
  return answer;
}

function repair(world: World, consent: LossOptions & { apply?: boolean | { planHash: string } }) {
  return world.run(walRepair({ store: world.line(), path: '' }, { ...toolOptions(world), liveCheckMs: 0, ...consent }));
}

describe('a log object that is gone with batches of many rows', () => {
  it('is reported with the least that is lost, and without a most', async () => {
    const world = await logWithLostObject(20);
    const plan = await repair(world, {});
    expect(plan.rows).toMatchObject({ lost: 1, lostExact: false });
    expect(plan.rows.lostAtMost).toBeUndefined();
    expect(plan).toMatchObject({ outcome: 'salvaged', missingConsent: ['loss'] });
    expect(plan.nextSteps.join('\n')).toContain('at least 1, and nothing says how many at most');
    // Only what works is named.
    expect(plan.nextSteps.join('\n')).toContain('--max-lost-objects 1 (maxLoss: { walObjects: 1 })');
    expect(plan.nextSteps.join('\n')).not.toContain('--max-lost-rows');
    expect(plan.nextSteps.join('\n')).toContain(`--plan ${plan.planHash} --accept-loss`);
  });

  it('exceeds every limit of rows, and changes nothing', async () => {
    const world = await logWithLostObject(20);
    for (const rows of [0, 1, 20, Number.MAX_SAFE_INTEGER]) {
      for (const acceptLoss of [true, false]) {
        const error = await expectUnchanged(world, () =>
          rejection(repair(world, { apply: true, acceptLoss, maxLoss: { rows } })),
        );
        expect(error).toBeInstanceOf(WalCorruptionError);
        expect(String(error)).toContain('nothing says how many at most');
      }
    }
  });

  const refused: [string, LossOptions][] = [
    ['no word', {}],
    ['acceptLoss false', { acceptLoss: false }],
    ['a maxLoss that limits nothing', { maxLoss: {} }],
    ['acceptLoss false and a limit that covers it', { acceptLoss: false, maxLoss: { walObjects: 1 } }],
  ];
  it.each(refused)('is not repaired with %s: no claim, no fence, no sidecar, no copy', async (_, consent) => {
    const world = await logWithLostObject(2);
    const { planHash } = await repair(world, {});
    for (const apply of [true, { planHash: planHash! }]) {
      const report = await expectUnchanged(world, () => repair(world, { apply, ...consent }));
      expect(report).toMatchObject({
        outcome: 'consent-needed',
        applied: false,
        alreadyDone: false,
        missingConsent: ['loss'],
        planHash,
      });
      expect(report.nextSteps.join('\n')).toContain('acceptLoss: true');
    }
  });

  const given: [string, LossOptions][] = [
    ['acceptLoss', { acceptLoss: true }],
    ['a limit of objects that covers it', { maxLoss: { walObjects: 1 } }],
    ['both', { acceptLoss: true, maxLoss: { walObjects: 1 } }],
  ];
  it.each(given)('is repaired with %s, and asks no more', async (_, consent) => {
    const world = await logWithLostObject(2);
    const { planHash } = await repair(world, {});
    const report = await repair(world, { apply: { planHash: planHash! }, ...consent });
    expect(report).toMatchObject({ applied: true, outcome: 'salvaged', missingConsent: [] });
    expect(await rowsOf(world, await world.open())).toHaveLength(8);
  });

  it('counts every object of which rows may be lost', async () => {
    const world = await logWithLostObject(2);
    await world.remove(walPath(3));
    expect(await rejection(repair(world, { apply: true, maxLoss: { walObjects: 1 } }))).toBeInstanceOf(
      WalCorruptionError,
    );
    expect(await repair(world, { apply: true, maxLoss: { walObjects: 2 } })).toMatchObject({ applied: true });
  });
});

describe('a damaged log object whose seal says what it held', () => {
  async function damagedLog(): Promise<World> {
    const world = new World();
    const { db, line } = await world.connect();
    for (let n = 0; n < 3; n++) {
      const batch = new WriteBatch();
      for (let i = 0; i < 7; i++) batch.put(`key-${n}-${i}`, 'v'.repeat(20));
      await world.run(db.write(batch));
    }
    line.cut();
    const bytes = (await world.bytes(walPath(3))).slice();
    for (let i = 20; i < 90; i++) bytes[i] ^= 0x35 + i;
    await world.replace(walPath(3), bytes);
    return world;
  }

  it('is judged by that number', async () => {
    const world = await damagedLog();
    const { rows } = await repair(world, {});
    expect(rows).toMatchObject({ lost: 7, lostAtMost: 7, lostExact: true });
    expect(await rejection(repair(world, { apply: true, maxLoss: { rows: 6 } }))).toBeInstanceOf(WalCorruptionError);
    expect(await repair(world, { apply: true, maxLoss: { rows: 7 } })).toMatchObject({ applied: true });
  });

  it('needs no consent where everything is found again', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c']);
    const one = (await world.bytes(walPath(3))).slice();
    one[4] ^= 1;
    await world.replace(walPath(3), one);
    expect(await repair(world, { apply: true })).toMatchObject({
      applied: true,
      outcome: 'healed',
      missingConsent: [],
    });
  });
});

describe('a damaged table', () => {
  it('is replaced with a loss only by consent', async () => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await overwrite(world, path, 20, 300);
    const call = (o: object) =>
      world.run(sstRepair({ store: world.line(), path: '' }, ref.id, { ...toolOptions(world), liveCheckMs: 0, ...o }));
    const plan = await call({ sources: ['rebuild'] });
    expect(plan).toMatchObject({ outcome: 'salvaged', missingConsent: ['loss'], rows: { lostExact: true } });
    const { lost } = plan.rows;
    expect(lost).toBeGreaterThan(1);
    const sources = ['rebuild'];
    const report = await expectUnchanged(world, () => call({ sources, apply: true }));
    expect(report).toMatchObject({ outcome: 'consent-needed', applied: false, missingConsent: ['loss'] });
    const error = await expectUnchanged(world, () =>
      rejection(call({ sources, apply: true, maxLoss: { rows: lost - 1 } })),
    );
    expect(error).toBeInstanceOf(CorruptionError);
    expect(await call({ sources, apply: true, maxLoss: { rows: lost } })).toMatchObject({
      applied: true,
      outcome: 'salvaged',
      missingConsent: [],
    });
  });
});

describe('a live writer', () => {
  const consents: [string, LossOptions][] = [
    ['no consent', {}],
    ['a limit that is exceeded', { maxLoss: { rows: 0 } }],
    ['a consent', { acceptLoss: true }],
  ];
  it.each(consents)('is reported before the loss, with %s', async (_, consent) => {
    const world = await tablesWorld([numbers(0, 100)]);
    const [{ ref, path }] = await tablesOf(world);
    await overwrite(world, path, 20, 300);
    const how = { ...toolOptions(world), apply: true, sources: ['rebuild'] as const, ...consent };
    const call = () => sstRepair({ store: world.line(), path: '' }, ref.id, { ...how, liveCheckMs: 1000 });
    // Somebody else writes while the repair checks.
    world.clock.setTimer(
      500,
      () => void world.memory.put(walPath(90), Uint8Array.of(1), { condition: 'if-absent', putId: 'p' }),
    );
    expect(await rejection(world.run(call()))).toMatchObject({ code: 'LIVE_WRITER' });
    expect(await world.paths('shale/repairs/')).toEqual([]);
  });
});

describe('options', () => {
  const bad: [string, object][] = [
    ['acceptLoss of another type', { acceptLoss: 'yes' }],
    ['a limit that is no number', { maxLoss: { rows: '5' } }],
    ['a misspelt limit', { maxLoss: { row: 5 } }],
    ['maxLoss that is no object', { maxLoss: 0 }],
  ];
  it.each(bad)('%s is refused before anything is read', async (_, options) => {
    const world = await logWithLostObject(2);
    const call = async () => repair(world, { apply: true, ...options });
    expect(await rejection(call())).toBeInstanceOf(InvalidArgumentError);
  });
});
