/** Reads over losses that repairs wrote down: what is gone never reads as "was never there". */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, tablePath } from '../../src/format/object-names.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { appendLedger, type LedgerEntry } from '../../src/lsm/tree/damage-ledger.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { tablesOf } from '../support/damaged-tables.ts';
import { rejection, text, toolAccess, World } from '../support/database.ts';
import { toolOptions } from '../support/tool-laws.ts';

const utf8 = (s: string) => new TextEncoder().encode(s);

const ENTRY: LedgerEntry = {
  id: 'f-0123456789abcdef',
  repairId: 'r-0123456789abcdef01234567',
  object: tablePath('01M7Q5CQG10000000000000001' as Parameters<typeof tablePath>[0]),
  level: 'l0',
  at: '2026-01-01T00:00:00.000Z',
  keys: [{ gte: utf8('b'), lte: utf8('d') }],
  seqs: [{ min: 2n, max: 3n }],
  rows: 2,
  exact: true,
  state: 'open',
};

/** Writes the ledger and has the database take it over, as a repair does. */
async function record(world: World, db: Db, ...entries: LedgerEntry[]): Promise<void> {
  const means = { clock: world.clock, random: new SeededRandom(7) };
  const ledgerVersion = await world.run(appendLedger(world.memory, () => entries, means));
  await world.run(toolAccess(db).commit((m) => ({ ...m }), { ledgerVersion }));
}

/** Keys a to e with seqs 1 to 5 in a table. */
async function withRows(): Promise<{ world: World; db: Db }> {
  const world = new World();
  const db = await world.open();
  for (const key of ['a', 'b', 'c', 'd', 'e']) await world.run(db.put(key, `value of ${key}`));
  await world.run(db.flush({ type: 'memtable' }));
  return { world, db };
}

describe('a recorded loss', () => {
  it('flags what is older, leaves what is newer, and takes the place of what is not there', async () => {
    const { world, db } = await withRows();
    await record(world, db, ENTRY);
    for (const reader of [db, await world.openReader()]) {
      const meta = (key: string) => world.run(reader.getWithMeta(key));
      expect(await meta('a')).toMatchObject({ possiblyStale: false });
      expect(await meta('b')).toMatchObject({ possiblyStale: true, findings: [{ code: 'LOST_DATA', id: ENTRY.id }] });
      // No lost row has a greater seq than these.
      expect(await meta('c')).toMatchObject({ possiblyStale: false, seq: 3n });
      expect(await meta('d')).toMatchObject({ possiblyStale: false });
      const error = await rejection(world.run(reader.get('bb')));
      expect(error).toMatchObject({ name: 'CorruptionError', code: 'LOST_DATA' });
      expect(error.hint?.commands[1]).toContain(`shaledb damage ack LOCATION ${ENTRY.id}`);
      expect(await world.run(reader.get('aa'))).toBeUndefined();
      expect(await rejection(world.run(reader.get('b', { corruptionPolicy: 'strict' })))).toMatchObject({
        possiblyStale: { seq: 2n },
      });
      expect(reader.corruptions().lost).toEqual([ENTRY]);
    }
  });

  it('no longer matters to a key that is written or deleted again', async () => {
    const { world, db } = await withRows();
    await record(world, db, ENTRY);
    await world.run(db.put('b', 'again'));
    await world.run(db.delete('bb'));
    for (let flushed = 0; flushed < 2; flushed++) {
      expect(await world.run(db.getWithMeta('b'))).toMatchObject({ possiblyStale: false });
      expect(await world.run(db.get('bb'))).toBeUndefined();
      await world.run(db.flush({ type: 'memtable' }));
    }
  });

  it.each([false, true])('stops a scan where it begins (reverse: %s)', async (reverse) => {
    const { world, db } = await withRows();
    await record(world, db, ENTRY);
    const keys = (rows: { key: Uint8Array }[]) => rows.map((r) => text(r.key)).join('');
    const scan = db.scan({ reverse });
    expect(keys(await world.run(scan.nextBatch(10)))).toBe(reverse ? 'e' : 'a');
    expect(await rejection(world.run(scan.nextBatch(10)))).toMatchObject({ code: 'LOST_DATA' });
    await world.run(scan.resume('include'));
    const rows = await world.run(scan.nextBatch(10));
    expect(keys(rows)).toBe(reverse ? 'dcba' : 'bcde');
    expect(rows.filter((r) => r.possiblyStale).map((r) => text(r.key))).toEqual(['b']);
    const skipping = db.scan({ reverse, onCorruption: 'skip' });
    expect(keys(await world.run(skipping.nextBatch(10)))).toBe(reverse ? 'ea' : 'ae');
    expect(skipping.findings).toHaveLength(1);
    expect(keys(await world.run(db.scan({ gte: 'e' }).nextBatch(10)))).toBe('e');
  });

  it('is found again by the next opening, and ends when it is acknowledged', async () => {
    const { world, db } = await withRows();
    await record(world, db, ENTRY);
    await world.run(db.close());
    const next = await world.open();
    expect(await rejection(world.run(next.get('bb')))).toMatchObject({ code: 'LOST_DATA' });
    const reader = await world.openReader();
    await record(world, next, { ...ENTRY, state: 'acknowledged', note: 'known' });
    expect(await world.run(next.get('bb'))).toBeUndefined();
    expect(await rejection(world.run(reader.get('bb')))).toMatchObject({ code: 'LOST_DATA' });
    await world.run(reader.refresh());
    expect(await world.run(reader.get('bb'))).toBeUndefined();
    expect(reader.corruptions().lost).toEqual([]);
  });

  it('of rows of the log, whose keys nobody knows, stays listed, and a miss is no error', async () => {
    const { world, db } = await withRows();
    const entry: LedgerEntry = { ...ENTRY, level: 'wal', object: 'wal/00000000000000000002.sst', keys: [] };
    await record(world, db, entry);
    expect(await world.run(db.get('bb'))).toBeUndefined();
    expect(db.corruptions().lost).toEqual([entry]);
  });

  it('of a table that is still in use changes nothing: the table speaks for itself', async () => {
    const { world, db } = await withRows();
    const [table] = await tablesOf(world);
    await record(world, db, { ...ENTRY, object: table.path });
    expect(await world.run(db.get('bb'))).toBeUndefined();
    expect(await world.run(db.getWithMeta('b'))).toMatchObject({ possiblyStale: false });
  });
});

it('stays a loss after SlateDB has written a manifest, which names no ledger', async () => {
  const { world, db } = await withRows();
  await record(world, db, ENTRY);
  await world.run(db.close());
  const [newest] = (await listManifestIds(world.memory)).slice(-1);
  const { manifest } = loadManifest(newest, await world.bytes(manifestPath(newest)));
  await world.replace(manifestPath(newest + 1), encodeManifest(manifest));
  for (let opening = 0; opening < 3; opening++) {
    const { db: next, line } = await world.connect();
    expect(next.corruptions().lost).toEqual([ENTRY]);
    expect(await rejection(world.run(next.get('bb')))).toMatchObject({ code: 'LOST_DATA' });
    // Dies right after its claim, the second time after a manifest of its own.
    if (opening === 1) await world.run(next.flush({ type: 'memtable' }));
    line.cut();
  }
});

it('stays a loss after a repair that goes back to a manifest from before it', async () => {
  const { world, db } = await withRows();
  await record(world, db, ENTRY);
  await world.run(db.close());
  for (const id of (await listManifestIds(world.memory)).slice(3)) {
    const { seal } = loadManifest(id, await world.bytes(manifestPath(id)));
    if ((seal?.manifest?.ledgerVersion ?? 0) > 0) await world.replace(manifestPath(id), new Uint8Array(0));
  }
  const place = { store: world.line(), path: '' };
  const report = await world.run(manifestRepair(place, { ...toolOptions(world), apply: true }));
  expect(report).toMatchObject({ applied: true });
  const next = await world.open();
  expect(next.corruptions().lost).toEqual([ENTRY]);
});
