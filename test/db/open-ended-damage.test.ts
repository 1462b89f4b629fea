/**
 * Damage of which nobody knows where it ends in key order, as in tables of writers that do not say their last key: it concerns every
 * key above its lower end, however many bytes of 0xff it has.
 */
import { describe, expect, it } from 'vitest';
import { findingText } from '../../src/cli/finding-text.ts';
import { PLAIN } from '../../src/cli/paint.ts';
import { keyRangeText } from '../../src/cli/words.ts';
import { fromBase64Url, keySuccessor, toBase64Url } from '../../src/common/bytes.ts';
import type { CorruptionError, DbError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { lastKeyOf } from '../../src/common/key-range.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { NO_CODEC } from '../../src/format/codecs.ts';
import { frameUnit } from '../../src/format/framing.ts';
import { encodeInfo } from '../../src/format/info-block.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import { ledgerPath } from '../../src/format/object-names.ts';
import { decodeSidecar, encodeSidecar } from '../../src/format/sidecar.ts';
import { FOOTER_BYTES } from '../../src/format/table-layout.ts';
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import { decodeLedger, encodeLedger, type LedgerEntry } from '../../src/lsm/tree/damage-ledger.ts';
import { damageList } from '../../src/tools/damage-list.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { type SstRepairOptions, sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { flip, type Layout, ruin, scanAll, tablesOf, unseal } from '../support/damaged-tables.ts';
import { rejection, text, toolAccess, World } from '../support/database.ts';
import { gathered } from '../support/golden-database.ts';
import { toolOptions } from '../support/tool-laws.ts';

const OPTIONS: OpenOptions = { sstBlockSizeBytes: 1024, minFilterKeys: 1_000_000 };
const ff = (length: number) => new Uint8Array(length).fill(0xff);
/** What the stored form has where there is no upper end. */
const STAND_IN = toBase64Url(ff(32));
const HIGH = [33, 40, 65_535];

const low = (i: number) => `key-${String(i).padStart(4, '0')}`;
const contentOf = (key: string, version: string) => `${version} of ${key} ${'x'.repeat(40)}`;

/** Rows up to the greatest key, written as one table by a writer that is dead. `isFull`: else only the keys of 0xff. */
async function addTable(world: World, version: string, isFull: boolean): Promise<void> {
  const { db, line } = await world.connect(OPTIONS);
  const batch = new WriteBatch();
  for (let i = 0; isFull && i < 60; i++) batch.put(low(i), contentOf(low(i), version));
  for (const length of HIGH) batch.put(ff(length), contentOf(`ff*${length}`, version));
  await world.run(db.write(batch));
  await world.run(db.flush({ type: 'memtable' }));
  line.cut();
}

/** Makes the newest table one of a writer that neither seals it nor says its last key. */
async function forgetEnd(world: World): Promise<void> {
  const [sealed] = await tablesOf(world);
  await unseal(world, sealed);
  const info = { ...sealed.ref.info, lastEntry: undefined };
  const bytes = await world.bytes(sealed.path);
  const footer = bytes.slice(-FOOTER_BYTES);
  const infoOffset = new DataView(footer.buffer).getUint32(4);
  await world.replace(
    sealed.path,
    Buffer.concat([bytes.subarray(0, infoOffset), frameUnit(encodeInfo(info), NO_CODEC), footer]),
  );
  const paths = await world.paths('manifest/');
  const { manifest } = decodeManifest(await world.bytes(paths.at(-1)!));
  const [view, ...others] = manifest.l0;
  const table = { ...view.table, info };
  await world.replace(paths.at(-1)!, encodeManifest({ ...manifest, l0: [{ ...view, table }, ...others] }));
  await world.remove(...paths.slice(0, -1));
}

/** A table of which no byte of the last blocks is right: those that hold the keys of 0xff. */
async function damagedWorld(versions = ['v']): Promise<{ world: World; table: Layout }> {
  const world = new World();
  for (const [i, version] of versions.entries()) await addTable(world, version, i === versions.length - 1);
  await forgetEnd(world);
  const [table] = await tablesOf(world);
  const lastLow = table.blocks.findLastIndex((b) => b.firstKey.startsWith('key-'));
  for (const block of table.blocks.slice(lastLow)) await ruin(world, table.path, block);
  return { world, table };
}

const findingsOf = (world: World): Promise<Finding[]> =>
  world.run(gathered(sstCheck({ store: world.store, path: '' }, { clock: world.clock })));

const repair = (world: World, id: string, options: SstRepairOptions = {}) =>
  world.run(sstRepair({ store: world.store, path: '' }, id, { clock: world.clock, liveCheckMs: 0, ...options }));

describe('damage without a known upper end', () => {
  it.each([...HIGH, 50])('is met by a read of %i bytes of 0xff, whether the key was there or not', async (length) => {
    const { world } = await damagedWorld();
    const reader = await world.openReader();
    const error = (await rejection(world.run(reader.get(ff(length))))) as CorruptionError;
    expect(error).toMatchObject({ name: 'CorruptionError', code: 'BAD_CHECKSUM' });
    if (length === 65_535) expect(error.findings[0].affects.keys).toMatchObject({ lte: undefined });
    expect(text(await world.run(reader.get(low(0))))).toBe(contentOf(low(0), 'v'));
  });

  it.each(HIGH)(
    'flags an older version of %i bytes of 0xff, and refuses it where the policy is strict',
    async (length) => {
      const { world } = await damagedWorld(['old', 'new']);
      const reader = await world.openReader();
      const meta = await world.run(reader.getWithMeta(ff(length)));
      expect(meta).toMatchObject({ possiblyStale: true });
      expect(text(meta?.value)).toBe(contentOf(`ff*${length}`, 'old'));
      const error = await rejection(world.run(reader.get(ff(length), { corruptionPolicy: 'strict' })));
      expect(error).toMatchObject({ name: 'CorruptionError', possiblyStale: { seq: expect.any(BigInt) } });
    },
  );

  it.each([false, true])('stops a scan that begins above 32 bytes of 0xff (reverse: %s)', async (reverse) => {
    const { world } = await damagedWorld(['old', 'new']);
    const reader = await world.openReader();
    const { rows, errors } = await scanAll(world, reader, { gte: ff(36), reverse });
    expect([rows.length, errors.length > 0]).toEqual([0, true]);
    const scan = reader.scan({ gte: ff(36), reverse });
    const shown: ScanRow[] = [];
    for (let met = 0; ; met++) {
      const next = await world.run(scan.nextBatch(10).catch((error: DbError) => error));
      if (!Array.isArray(next)) await world.run(scan.resume('include'));
      else if (next.length > 0) shown.push(...next);
      else break;
      expect(met).toBeLessThan(20);
    }
    const lengths = reverse ? [65_535, 40] : [40, 65_535];
    expect(shown.map((r) => [r.key.length, r.possiblyStale])).toEqual(lengths.map((n) => [n, true]));
  });

  it('says in a scan up to which key it may go: to the last one that can exist', async () => {
    const { world } = await damagedWorld();
    const reader = await world.openReader();
    const { errors } = await scanAll(world, reader, {});
    const ends = errors.map((e) => e.error.resumeAfter!);
    expect(ends.at(-1)).toEqual(lastKeyOf({ gte: ff(1), lte: undefined }));
    const rest = await scanAll(world, reader, { gt: ends.at(-1)! });
    expect([rest.rows, rest.errors]).toEqual([[], []]);
    // Of the caller's own: what it does with it changes nothing for others.
    ends.at(-1)!.fill(0);
    expect(lastKeyOf({ gte: ff(1), lte: undefined })[0]).toBe(0xff);
  });

  it('is found by checks, which say so in words', async () => {
    const { world, table } = await damagedWorld();
    const found = (await findingsOf(world)).filter((f) => f.code === 'BAD_CHECKSUM');
    const last = found.at(-1)!;
    expect(last.object.path).toBe(table.path);
    expect(last.affects.keys).toMatchObject({ lte: undefined });
    expect(keyRangeText(last.affects.keys!)).toMatch(/^keys .* and up, without an upper end$/);
    const view = { paint: PLAIN, columns: 200, redactKeys: false, location: 'file:///db' };
    expect(findingText(last, view).join('\n')).toMatch(/affects {3}keys .* and up, without an upper end/);
    const report = await world.run(verify({ store: world.store, path: '' }, { clock: world.clock, level: 'rows' }));
    expect(report.verdict).toBe('corrupt');
    expect(report.findings.some((f) => f.affects.keys !== undefined && f.affects.keys.lte === undefined)).toBe(true);
  });

  it('of a table that is gone concerns all keys from its first one on', async () => {
    const { world, table } = await damagedWorld();
    await world.remove(table.path);
    const [finding] = (await findingsOf(world)).filter((f) => f.code === 'MISSING_OBJECT');
    expect(text(finding.affects.keys?.gte)).toBe(low(0));
    expect(finding.affects.keys).toMatchObject({ lte: undefined });
    const reader = await world.openReader();
    for (const length of HIGH)
      expect(await rejection(world.run(reader.get(ff(length))))).toMatchObject({ code: 'MISSING_OBJECT' });
  });

  it('of one bit is undone, whatever keys the block holds', async () => {
    const world = new World();
    await addTable(world, 'v', true);
    await forgetEnd(world);
    const [table] = await tablesOf(world);
    await flip(world, table.path, table.blocks.at(-1)!.offset + table.blocks.at(-1)!.length - 10);
    const [finding] = (await findingsOf(world)).filter((f) => f.code === 'BAD_CHECKSUM');
    expect(finding.remedy).toBe('heals-probably');
    const report = await repair(world, table.ref.id, { apply: true });
    expect(report).toMatchObject({ outcome: 'healed', lostKeys: [] });
    const reader = await world.openReader();
    for (const length of HIGH)
      expect(text(await world.run(reader.get(ff(length))))).toBe(contentOf(`ff*${length}`, 'v'));
  });
});

describe('a loss without a known upper end', () => {
  async function lost() {
    const { world, table } = await damagedWorld();
    const given = {
      apply: true,
      acceptLoss: true,
      onLoss: 'mark' as const,
      sources: ['heal' as const, 'salvage' as const],
    };
    const report = await repair(world, table.ref.id, given);
    return { world, table, report, given };
  }

  it('is reported open, also by a report that is read again', async () => {
    const { world, table, report, given } = await lost();
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true });
    expect(report.lostKeys.at(-1)).toMatchObject({ lte: undefined });
    const again = await repair(world, table.ref.id, { ...given, apply: { planHash: report.planHash! } });
    expect(again).toMatchObject({ alreadyDone: true });
    expect([again.lostKeys, again.before]).toEqual([report.lostKeys, report.before]);
    // Programs from before ranges could be open read these too: there a key stands at every upper end.
    const stored = (await world.paths('shale/repairs/')).filter((p) => /\/(plan|report)-1$/.test(p));
    expect(stored).toHaveLength(2);
    for (const path of stored) {
      const { value } = decodeSidecar(
        await world.bytes(path),
        path.includes('plan-') ? 'repair-plan' : 'repair-report',
      );
      const kept = path.includes('plan-') ? (value as { report: object }).report : value;
      expect((kept as { lostKeys: { lte: unknown }[] }).lostKeys.at(-1)!.lte).toEqual({ $bytes: STAND_IN });
      const ranges = (kept as { before: { affects: { keys?: object } }[] }).before.flatMap((f) => f.affects.keys ?? []);
      expect(ranges.length).toBeGreaterThan(0);
      for (const range of ranges) expect(range).toHaveProperty('lte');
    }
  });

  it.each([false, true])('is in the ledger and met by reads (after opening again: %s)', async (isReader) => {
    const { world } = await lost();
    const entries = await world.run(damageList({ store: world.store, path: '' }, toolOptions(world)));
    expect(entries.flatMap((e) => e.keys).some((k) => k.lte === undefined)).toBe(true);
    const db = isReader ? await world.openReader() : await world.open(OPTIONS);
    for (const length of [...HIGH, 50])
      expect(await rejection(world.run(db.get(ff(length))))).toMatchObject({ code: 'LOST_DATA' });
    for (const reverse of [false, true]) {
      const { rows, errors } = await scanAll(world, db, { gte: ff(36), reverse });
      expect([rows.length, errors.length]).toEqual([0, 1]);
      expect(errors[0].error.code).toBe('LOST_DATA');
      const from = keySuccessor(errors[0].error.resumeAfter!);
      if (!reverse) expect(from).toHaveLength(65_536);
    }
  });
});

describe('the ledger', () => {
  const entry: LedgerEntry = {
    id: 'f-0123456789abcdef',
    repairId: 'r-0123456789abcdef01234567',
    object: 'compacted/01M7Q5CQG10000000000000001.sst',
    level: 'l0',
    at: '2026-01-01T00:00:00.000Z',
    keys: [
      { gte: ff(1), lte: undefined },
      { gte: ff(1), lte: ff(40) },
    ],
    seqs: [],
    exact: false,
    state: 'open',
  };

  it('stores the key that always stood for an open end, and reads it as one', () => {
    const bytes = encodeLedger([entry]);
    const { value } = decodeSidecar(bytes, 'damage');
    const [{ keys }] = (value as { entries: { keys: { gte: string; lte: string }[] }[] }).entries;
    expect(keys.map((k) => k.lte)).toEqual([STAND_IN, toBase64Url(ff(40))]);
    expect(fromBase64Url(keys[0].lte)).toEqual(ff(32));
    expect(decodeLedger(bytes)).toEqual([entry]);
    expect(encodeLedger(decodeLedger(bytes))).toEqual(bytes);
  });

  it('of an older program is an open loss above 32 bytes of 0xff as well', async () => {
    const world = new World();
    await addTable(world, 'v', true);
    const stored = { ...entry, keys: [{ gte: toBase64Url(ff(2)), lte: STAND_IN }] };
    const bytes = encodeSidecar('damage', 1, { entries: [stored] });
    await world.memory.put(ledgerPath(1), bytes, { condition: 'if-absent', putId: 'p' });
    const db = await world.open(OPTIONS);
    await world.run(toolAccess(db).commit((m) => ({ ...m }), { ledgerVersion: 1 }));
    const reader = await world.openReader();
    for (const length of HIGH)
      expect(await world.run(reader.getWithMeta(ff(length)))).toMatchObject({ possiblyStale: true });
    expect(await rejection(world.run(reader.get(ff(50))))).toMatchObject({ code: 'LOST_DATA' });
  });
});
