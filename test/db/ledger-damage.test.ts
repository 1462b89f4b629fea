/**
 * Damage to the ledger of losses itself: a row that is recorded as lost never becomes one that was never there, and there is a
 * way to go on where the losses cannot be known again.
 */
import { describe, expect, it } from 'vitest';
import { LEDGER_PREFIX, ledgerPath } from '../../src/format/object-names.ts';
import { readLedger } from '../../src/lsm/tree/damage-ledger.ts';
import { damageAcknowledge, damageList } from '../../src/tools/damage-list.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { rejection, type World } from '../support/database.ts';
import { keyOf, numbers, overwrite, TABLE_OPTIONS, tablesOf, tablesWorld } from '../support/table-database.ts';
import { toolOptions } from '../support/tool-laws.ts';

const STRICT = { corruptionPolicy: 'strict' } as const;
const VERSION_1 = ledgerPath(1);

/** The block of the table that holds these rows is gone, and a repair has recorded it; gives the lost keys. */
async function loseBlock(world: World, table: number, accept: 'mark' | 'accept' = 'mark'): Promise<string[]> {
  const { ref, path } = (await tablesOf(world))[table];
  const location = { store: world.memory, path: '' };
  const { blocks } = await world.run(sstInspect(location, ref.id, { clock: world.clock }));
  await overwrite(world, path, blocks[1].offset, blocks[1].storedBytes);
  const options = { ...toolOptions(world), apply: true, acceptLoss: true, onLoss: accept, liveCheckMs: 0 };
  expect(await world.run(sstRepair(location, ref.id, options))).toMatchObject({ applied: true, outcome: 'salvaged' });
  const reader = await world.openReader();
  const lost: string[] = [];
  for (const i of numbers(0, 80)) {
    const got = await world.run(reader.get(keyOf(i), STRICT).catch(() => null));
    if (got === null) lost.push(keyOf(i));
  }
  await world.run(reader.close());
  expect(lost.length).toBeGreaterThan(0);
  return lost;
}

async function worldWithLoss(): Promise<{ world: World; lost: string[] }> {
  const world = await tablesWorld([numbers(0, 40), numbers(40, 80)]);
  await world.remove(...(await world.paths('wal/')));
  return { world, lost: await loseBlock(world, 0) };
}

async function flip(world: World, path: string, ...bits: number[]): Promise<void> {
  const bytes = Uint8Array.from(await world.bytes(path));
  for (const bit of bits) bytes[bit >> 3] ^= 1 << (bit & 7);
  await world.replace(path, bytes);
}

const place = (world: World) => ({ store: world.memory, path: '' });
/** Without what is said of the tables that were repaired. */
async function doctor(world: World) {
  const report = await world.run(verify(place(world), toolOptions(world)));
  return { ...report, findings: report.findings.filter((f) => f.object.path.startsWith(LEDGER_PREFIX)) };
}

/** What a strict get gives in a reader and in a database, for each key. */
async function expectErrors(world: World, keys: readonly string[], naming?: string): Promise<void> {
  for (const handle of [await world.openReader(), await world.open(TABLE_OPTIONS)]) {
    for (const key of keys) {
      const error = await rejection(world.run(handle.get(key, STRICT)));
      expect(error, key).toMatchObject({ code: 'LOST_DATA' });
      if (naming !== undefined) {
        expect(error.message).toContain(naming);
        expect(error.hint?.commands.join('\n')).toContain('damage ack LOCATION f-');
        expect(await world.run(handle.get(key))).toBeUndefined();
      }
    }
    if (naming !== undefined) {
      expect(handle.corruptions().counts.possiblyStale).toBe(keys.length);
      expect(handle.corruptions().lost).toMatchObject([{ level: 'unknown', object: naming }]);
    }
    await world.run(handle.close());
  }
}

describe('a ledger with an open loss', () => {
  it('keeps the loss through single flipped bits, and says that its object is damaged', async () => {
    const { world, lost } = await worldWithLoss();
    const bits = 8 * (await world.bytes(VERSION_1)).length;
    const before = (await readLedger(world.memory)).entries;
    for (let bit = 3; bit < bits; bit += 401) {
      const copy = await world.copy();
      await flip(copy, VERSION_1, bit);
      expect((await readLedger(copy.memory)).entries, `bit ${bit}`).toEqual(before);
      await expectErrors(copy, lost.slice(0, 1));
      const report = await doctor(copy);
      expect(report.findings, `bit ${bit}`).toMatchObject([{ severity: 'warning', object: { path: VERSION_1 } }]);
      expect(report.ledger).toEqual(before);
    }
  });

  it.each(['gone', 'damaged in two places'])(
    'that is %s: losses are unknown, until that is acknowledged',
    async (how) => {
      const { world, lost } = await worldWithLoss();
      if (how === 'gone') await world.remove(VERSION_1);
      else await flip(world, VERSION_1, 700, 1500);
      await expectErrors(world, lost, VERSION_1);
      const report = await doctor(world);
      expect(report).toMatchObject({
        verdict: 'corrupt',
        findings: [{ severity: 'error', object: { path: VERSION_1 } }],
        ledger: [{ level: 'unknown', state: 'open', object: VERSION_1 }],
      });
      const [{ id }] = report.ledger;
      expect(report.nextSteps.join('\n')).toContain(`damage ack LOCATION ${id}`);
      expect(await world.run(damageList(place(world), toolOptions(world)))).toMatchObject([{ id, state: 'open' }]);
      await world.run(damageAcknowledge(place(world), id, 'all written again', toolOptions(world)));
      const after = await doctor(world);
      expect(after).toMatchObject({ verdict: 'clean', ledger: [], nextSteps: [] });
      expect(after.findings.filter((f) => f.severity !== 'note')).toEqual([]);
      const db = await world.open(TABLE_OPTIONS);
      expect(await world.run(db.get(lost[0], STRICT))).toBeUndefined();
      await world.run(db.close());
    },
  );

  it('does not go back to what an older version says', async () => {
    const { world, lost } = await worldWithLoss();
    // Its position among the tables after the first repair: the other one.
    const all = await loseBlock(world, 1);
    const newer = all.filter((key) => !lost.includes(key));
    expect(newer.length).toBeGreaterThan(0);
    await flip(world, ledgerPath(2), 700, 1500);
    const reader = await world.openReader();
    for (const key of all) {
      expect(await rejection(world.run(reader.get(key, STRICT))), key).toMatchObject({ code: 'LOST_DATA' });
    }
    expect((await doctor(world)).ledger).toMatchObject([
      { level: 'l0', state: 'open' },
      { level: 'unknown', object: ledgerPath(2), state: 'open' },
    ]);
    // A repair of something else names the version that cannot be read again, and forgets nothing.
    const db = await world.open(TABLE_OPTIONS);
    await world.run(db.put('other', 'row'));
    await world.run(db.close());
    await expectErrors(world, [newer[0]]);
  });

  it('is not worse for a version that a newer one has overtaken', async () => {
    const { world } = await worldWithLoss();
    const [{ id }] = (await readLedger(world.memory)).entries;
    await world.run(damageAcknowledge(place(world), id, 'accepted', toolOptions(world)));
    await flip(world, VERSION_1, 700, 1500);
    const report = await doctor(world);
    expect(report).toMatchObject({ verdict: 'clean', nextSteps: [], ledger: [] });
    expect(report.findings).toMatchObject([{ severity: 'note', object: { path: VERSION_1 }, hint: { commands: [] } }]);
  });

  it('counts again, open, where only its acknowledgement cannot be read', async () => {
    const { world, lost } = await worldWithLoss();
    const [{ id }] = (await readLedger(world.memory)).entries;
    await world.run(damageAcknowledge(place(world), id, 'accepted', toolOptions(world)));
    await flip(world, ledgerPath(2), 700, 1500);
    await expectErrors(world, lost);
    expect((await doctor(world)).ledger).toMatchObject([{ id, state: 'open' }]);
    await world.run(damageAcknowledge(place(world), id, 'accepted again', toolOptions(world)));
    expect(await doctor(world)).toMatchObject({ verdict: 'clean', nextSteps: [] });
  });
});
