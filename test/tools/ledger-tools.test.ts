/** The ledger of losses and the quarantine, as operators use them. */
import { describe, expect, it } from 'vitest';
import { ledgerPath, manifestPath } from '../../src/format/object-names.ts';
import {
  appendLedger,
  decodeLedger,
  encodeLedger,
  type LedgerEntry,
  readLedger,
} from '../../src/lsm/tree/damage-ledger.ts';
import { damageAcknowledge, damageList } from '../../src/tools/damage-list.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { quarantineList, quarantineRestore } from '../../src/tools/quarantine-list.ts';
import { rejection, thrown, World } from '../support/database.ts';
import { toolOptions } from '../support/tool-laws.ts';

function entry(id: string): LedgerEntry {
  return {
    id,
    repairId: 'r-0123456789abcdef01234567',
    object: 'compacted/x.sst',
    level: 'l0',
    at: '2026-01-02T03:04:05.678Z',
    keys: [{ gte: Uint8Array.of(0, 255), lte: Uint8Array.of(1) }],
    seqs: [{ min: 1n, max: 2n ** 63n }],
    rows: 3,
    exact: true,
    state: 'open',
  };
}

const tools = (world: World) => ({ clock: world.clock, random: world.random() });

async function worldWith(...ids: string[]): Promise<World> {
  const world = new World();
  for (const id of ids) await world.run(appendLedger(world.memory, (entries) => [...entries, entry(id)], tools(world)));
  return world;
}

describe('the ledger', () => {
  it('keeps what was written, version by version', async () => {
    const world = await worldWith('f-1', 'f-2');
    expect(await readLedger(world.memory)).toEqual({ version: 2, entries: [entry('f-1'), entry('f-2')], damage: [] });
    expect(await world.paths('shale/damage/')).toEqual([ledgerPath(1), ledgerPath(2)]);
  });

  it('loses no entry when several append at once', async () => {
    const world = new World();
    const append = (id: string) => appendLedger(world.line(), (entries) => [...entries, entry(id)], tools(world));
    await world.run(Promise.all(['f-1', 'f-2', 'f-3', 'f-4'].map(append)));
    const { version, entries } = await readLedger(world.memory);
    expect(version).toBe(4);
    expect(entries.map((e) => e.id).sort()).toEqual(['f-1', 'f-2', 'f-3', 'f-4']);
  });

  it('never takes a version that cannot be read for none', async () => {
    const world = await worldWith('f-1', 'f-2');
    const bytes = await world.bytes(ledgerPath(2));
    bytes[bytes.length - 3] ^= 1;
    bytes[bytes.length - 30] ^= 1;
    await world.replace(ledgerPath(2), bytes);
    const { version, entries, damage } = await readLedger(world.memory);
    expect({ version, entries }).toMatchObject({
      version: 2,
      entries: [{ id: 'f-1' }, { level: 'unknown', object: ledgerPath(2), keys: [], seqs: [], state: 'open' }],
    });
    expect(damage[0].findings[0]).toMatchObject({
      code: 'BAD_CHECKSUM',
      severity: 'error',
      object: { path: ledgerPath(2), role: 'sidecar' },
    });
    // What is written above it keeps the unknown loss.
    await appendLedger(world.memory, (all) => [...all, entry('f-3')], tools(world));
    const after = await readLedger(world.memory);
    expect(after).toMatchObject({ version: 3, damage: [] });
    expect(after.entries.map((e) => `${e.level} ${e.state}`)).toEqual(['l0 open', 'unknown open', 'l0 open']);
    expect(after.entries[1].id).toBe(entries[1].id);
  });

  it('is healed of single flipped bits, in every byte but few and at every place in it', async () => {
    const world = await worldWith('f-1');
    const whole = await world.bytes(ledgerPath(1));
    for (let bit = 0; bit < 8 * whole.length; bit += 5) {
      const bytes = Uint8Array.from(whole);
      bytes[bit >> 3] ^= 1 << (bit & 7);
      await world.replace(ledgerPath(1), bytes);
      const { entries, damage } = await readLedger(world.memory);
      expect(entries, `bit ${bit}`).toEqual([entry('f-1')]);
      expect(damage[0].findings[0], `bit ${bit}`).toMatchObject({ severity: 'warning' });
    }
  });

  it('refuses entries that are incomplete', () => {
    expect(decodeLedger(encodeLedger([entry('f-1')]))).toEqual([entry('f-1')]);
    const spoil: Partial<Record<keyof LedgerEntry, unknown>>[] = [
      { state: 'gone' },
      { level: 'x' },
      { object: 3 },
      { exact: 'yes' },
    ];
    for (const part of spoil) {
      const bytes = encodeLedger([{ ...entry('f-1'), ...part } as LedgerEntry]);
      expect(thrown(() => decodeLedger(bytes))).toMatchObject({ code: 'MALFORMED' });
    }
  });

  it('is listed and acknowledged', async () => {
    const world = await worldWith('f-1', 'f-2');
    const target = { store: world.line(), path: '' };
    const options = toolOptions(world);
    expect((await world.run(damageList(target, options))).map((e) => e.id)).toEqual(['f-1', 'f-2']);
    await world.run(damageAcknowledge(target, 'f-2', 'restored by hand, J.', options));
    const [first, second] = await world.run(damageList(target, options));
    expect([first.state, second.state, second.note]).toEqual(['open', 'acknowledged', 'restored by hand, J.']);
    await world.run(damageAcknowledge(target, 'f-2', 'restored by hand, J.', options));
    expect(await world.paths('shale/damage/')).toHaveLength(3);
    const again = await rejection(world.run(damageAcknowledge(target, 'f-2', 'another reason', options)));
    expect(again).toMatchObject({ code: 'BAD_ARGUMENT', message: /already acknowledged, .*restored by hand, J\./ });
    expect(await world.paths('shale/damage/')).toHaveLength(3);
    const error = await rejection(world.run(damageAcknowledge(target, 'f-9', 'note', options)));
    expect(error).toMatchObject({ code: 'BAD_ARGUMENT', message: /open are f-1/ });
    expect(await rejection(world.run(damageAcknowledge(target, 'f-1', ' ', options)))).toMatchObject({
      code: 'BAD_ARGUMENT',
    });
  });
});

describe('the quarantine', () => {
  async function repaired() {
    const world = new World();
    const { db, line } = await world.connect();
    await world.run(db.put('a', 'value'));
    line.cut();
    const bytes = new Uint8Array(20);
    await world.replace(manifestPath(2), bytes);
    const target = { store: world.line(), path: '' };
    const report = await world.run(manifestRepair(target, { ...toolOptions(world), apply: true }));
    return { world, target, report, bytes };
  }

  it('keeps copies, which are listed', async () => {
    const { world, target, report, bytes } = await repaired();
    const copies = await world.run(quarantineList(target, toolOptions(world)));
    expect(copies).toEqual([
      {
        repairId: report.repairId,
        from: manifestPath(2),
        to: report.evidence[0].to,
        bytes: 20,
        storedAtMs: expect.any(Number),
        neededBy: [],
      },
    ]);
    expect(await world.bytes(copies[0].to)).toEqual(bytes);
  });

  it('gives a copy back where its original is gone, and never overwrites one', async () => {
    const { world, target, report, bytes } = await repaired();
    const restore = (apply: boolean) =>
      world.run(quarantineRestore(target, report.repairId, { ...toolOptions(world), apply }));
    expect(await restore(true)).toMatchObject({ outcome: 'clean', applied: false, alreadyDone: true });
    await world.remove(manifestPath(2));
    const before = await world.versions();
    expect(await restore(false)).toMatchObject({
      outcome: 'reconstructed',
      applied: false,
      newObjects: [manifestPath(2)],
    });
    expect(await world.versions()).toEqual(before);
    expect(await restore(true)).toMatchObject({ outcome: 'reconstructed', applied: true });
    expect(await world.bytes(manifestPath(2))).toEqual(bytes);
    expect(await restore(true)).toMatchObject({ alreadyDone: true });
    const error = await rejection(
      world.run(quarantineRestore(target, 'r-00000000000000000000000f', toolOptions(world))),
    );
    expect(error).toMatchObject({ code: 'BAD_ARGUMENT', message: /quarantine list/ });
  });
});
