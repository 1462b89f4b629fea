/**
 * Tables that SlateDB (0.12.1, 0.17.0 and 0.18.0, live) wrote and something damaged: inspected and repaired here, then opened, read and
 * written on by the same SlateDB. It must read every row that could be had, and nothing else.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { tablePath } from '../../src/format/object-names.ts';
import { listManifestIds, readManifest } from '../../src/lsm/manifest/manifest-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { type SstRepairOptions, sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { describeHandoversInDirectory, type SharedPlace } from '../support/handover-places.ts';
import type { LiveSlateDb } from '../support/live-slatedb.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const COMPACTION_LIMIT_MS = 60_000;
const PUT_ID = '00000000000000000000000000';
const keyOf = (i: number) => `key-${String(i).padStart(4, '0')}`;
const contentOf = (i: number, version: number) => `v${version}-${i}-${'x'.repeat(60)}`;

describeHandoversInDirectory(({ version, makeSlate, makePlace }) => {
  const started: LiveSlateDb[] = [];
  const expected = new Map<string, string>();
  let place: SharedPlace;
  let root: ObjectStore;

  beforeEach(async () => {
    place = await makePlace();
    root = prefixedStore(place.ours.store, place.ours.path);
    expected.clear();
  });
  afterEach(async () => {
    for (const slate of started.splice(0)) await slate.crash();
    await place.dispose();
  });

  function newSlate(): LiveSlateDb {
    const slate = makeSlate();
    started.push(slate);
    return slate;
  }

  /** Three tables; each later one has every second key of the one before again. */
  async function written(): Promise<void> {
    const slate = newSlate();
    await slate.open(place.slate, { blockBytes: 1024 });
    for (const turn of [0, 1, 2]) {
      const ops = [];
      for (let i = 0; i < 200; i += 2 ** turn) {
        ops.push({ put: keyOf(i), value: contentOf(i, turn) });
        expected.set(keyOf(i), contentOf(i, turn));
      }
      await slate.write(ops);
      await slate.flush('memtable');
    }
    await slate.close();
  }

  async function newestManifest() {
    const id = (await listManifestIds(root)).at(-1)!;
    return (await readManifest(root, id))!.manifest;
  }

  async function damage(
    id: string,
    change: (bytes: Uint8Array, blocks: { offset: number; storedBytes: number }[]) => void,
  ) {
    const path = tablePath(id as Parameters<typeof tablePath>[0]);
    const { bytes } = (await root.get(path))!;
    change(bytes, (await sstInspect(place.ours, id)).blocks);
    await root.put(path, bytes, { condition: 'any', putId: PUT_ID });
  }

  function repair(id: string, options: SstRepairOptions = {}) {
    return sstRepair(place.ours, id, { apply: true, acceptLoss: true, liveCheckMs: 0, logger: QUIET, ...options });
  }

  /** SlateDB reads what is expected, by scan and by get, writes, and reads that, too. */
  async function expectBySlate(): Promise<void> {
    const slate = newSlate();
    await slate.open(place.slate);
    await expectRows(slate);
    await slate.put('key-9999', 'written after the repair');
    expected.set('key-9999', 'written after the repair');
    await slate.flush('memtable');
    await slate.close();
    const again = newSlate();
    await again.open(place.slate);
    await expectRows(again);
    await again.close();
  }

  async function expectRows(slate: LiveSlateDb): Promise<void> {
    const rows = (await slate.scan()).map((r) => [text(r.key), text(r.value)]);
    expect(rows).toEqual([...expected].sort(([a], [b]) => (a < b ? -1 : 1)));
    const keys = Array.from({ length: 200 }, (_, i) => keyOf(i));
    expect((await slate.getMany(keys)).map(text)).toEqual(keys.map((key) => expected.get(key)));
  }

  it('index, filter, stats, info block and footer: every row comes back', async () => {
    await written();
    for (const { table } of (await newestManifest()).l0) {
      await damage(table.id, (bytes) => bytes.fill(0x55, table.info.filterOffset));
      expect((await sstInspect(place.ours, table.id)).findings.length).toBeGreaterThan(0);
      expect(await repair(table.id)).toMatchObject({ outcome: 'reconstructed', applied: true, lostKeys: [] });
    }
    expect((await verify(place.ours, { logger: QUIET })).findings.filter((f) => f.severity === 'error')).toEqual([]);
    await expectBySlate();
  });

  it('one inverted bit in a block: undone', async () => {
    await written();
    const [{ table }] = (await newestManifest()).l0;
    await damage(table.id, (bytes, blocks) => {
      bytes[blocks[1].offset + 300] ^= 4;
    });
    expect((await sstInspect(place.ours, table.id)).blocks[1].diagnosis).toMatch(/can be repaired \(probable\)/);
    expect(await repair(table.id, { sources: ['reread', 'heal', 'rebuild'] })).toMatchObject({ outcome: 'healed' });
    await expectBySlate();
  });

  it('a ruined block: its rows are still in the log', async () => {
    await written();
    const { l0 } = await newestManifest();
    for (const { table } of [l0[0], l0[2]]) {
      await damage(table.id, (bytes, blocks) => bytes.fill(0xee, blocks[1].offset, blocks[3].offset));
      expect(await repair(table.id)).toMatchObject({
        outcome: 'reconstructed',
        applied: true,
        lostKeys: [],
        shadowed: 0,
      });
    }
    await expectBySlate();
  });

  it('a ruined block of which nothing is left: all other rows', async () => {
    await written();
    const { table } = (await newestManifest()).l0[2];
    const { blocks } = await sstInspect(place.ours, table.id);
    await damage(table.id, (bytes) => bytes.fill(0xee, blocks[1].offset, blocks[2].offset));
    const report = await repair(table.id, { sources: ['reread', 'heal', 'rebuild', 'salvage'] });
    expect(report).toMatchObject({ outcome: 'salvaged', applied: true });
    expect(report.rows.lost).toBe(blocks[1].rows);
    const [first, last] = [text(blocks[1].firstKey), text(blocks[1].lastKey)];
    for (const [key, value] of expected)
      if (value.startsWith('v0') && key >= first! && key <= last!) expected.delete(key);
    await expectBySlate();
  });

  it('a ruined block of a sorted run: its rows are still in what was compacted', async () => {
    await written();
    await compacted();
    const { runs } = await newestManifest();
    const { table } = runs[0].views[0];
    await damage(table.id, (bytes, blocks) => bytes.fill(0xee, blocks[1].offset, blocks[2].offset));
    const report = await repair(table.id, { sources: ['reread', 'heal', 'rebuild', 'inputs'] });
    expect(report).toMatchObject({ outcome: 'reconstructed', applied: true, lostKeys: [] });
    await expectBySlate();
  });

  async function compacted(): Promise<void> {
    const slate = newSlate();
    if (version !== '0.12.1') {
      await slate.compactAll(place.slate, { blockBytes: 1024 });
      return;
    }
    await slate.open(place.slate, { compactor: true, blockBytes: 1024 });
    for (let i = 0; i < 3; i++) {
      await slate.put(`more-${i}`, 'x');
      expected.set(`more-${i}`, 'x');
      await slate.flush('memtable');
    }
    const limit = Date.now() + COMPACTION_LIMIT_MS;
    while ((await newestManifest()).runs.length === 0) {
      if (Date.now() > limit) throw new Error('SlateDB did not compact in time');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await slate.close();
  }
});

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}
