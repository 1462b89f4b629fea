/**
 * The objects of the golden databases, one by one, as the engine reads them: rows of WAL objects, rows and metadata of tables
 * (also of those that no manifest names any more), the newest manifest.
 */
import { describe, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { toHex } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import type { Block } from '../../src/format/block.ts';
import type { BloomFilter } from '../../src/format/filter.ts';
import { decodeInfo } from '../../src/format/info-block.ts';
import { parseTablePath, parseWalPath } from '../../src/format/object-names.ts';
import type { TableStats } from '../../src/format/stats-block.ts';
import type { TableInfo } from '../../src/format/table-info.ts';
import { decodeFooter, FOOTER_BYTES } from '../../src/format/table-layout.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { type TableMeta, TableReader } from '../../src/lsm/table/table-reader.ts';
import { readWalObject } from '../../src/lsm/wal/wal-object.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import {
  type GoldenBytes,
  type GoldenRow,
  goldenBytesOf,
  goldenInMemory,
  rowsOfBlock,
} from '../support/golden-database.ts';
import { type GoldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';

/** What `expected.json` says about a table or WAL object; constructed ones come with less. */
interface ExpectedObject {
  object: string;
  size: number;
  format_version?: number;
  info_block_offset?: string;
  info?: unknown;
  index?: unknown[];
  block_row_counts?: number[];
  block_sizes?: number[];
  filter?: ExpectedFilter | ExpectedFilter[] | null;
  stats?: unknown;
  rows: GoldenRow[] | 'omitted';
  row_count?: number;
}

interface ExpectedFilter {
  name?: string;
  num_probes: number;
  bits: GoldenBytes;
}

const fixtures = goldenFixtures();
const WHOLE_KEY_FILTER = '_bf';
const text = (n: number) => String(n);
const hex = (bytes: Uint8Array | undefined) => (bytes === undefined ? null : goldenBytesOf(bytes));

function expectedObjects({ expected }: GoldenFixture, directory: 'wal' | 'compacted'): ExpectedObject[] {
  const all: ExpectedObject[] = [
    ...(expected.wal ?? []),
    ...(expected.compacted_ssts ?? []),
    ...(expected.objects ?? []),
  ];
  return all.filter((o) => o.object.includes(`${directory}/`) && o.object.endsWith('.sst'));
}

function bytesOf(fixture: GoldenFixture, path: string): Uint8Array {
  const found = fixture.objects.find((o) => o.path === path);
  if (found === undefined) throw new Error(`${fixture.name} has no ${path}`);
  return found.bytes;
}

function infoFields(info: TableInfo) {
  return {
    first_entry: hex(info.firstEntry),
    last_entry: hex(info.lastEntry),
    index_offset: text(info.indexOffset),
    index_len: text(info.indexLength),
    filter_offset: text(info.filterOffset),
    filter_len: text(info.filterLength),
    compression_format: info.codec,
    sst_type: info.tableType,
    stats_offset: text(info.statsOffset),
    stats_len: text(info.statsLength),
    filter_format: info.filterForm,
  };
}

function statsFields(stats: TableStats | undefined) {
  if (stats === undefined) return null;
  return {
    num_puts: text(stats.puts),
    num_deletes: text(stats.deletes),
    num_merges: text(stats.merges),
    raw_key_size: text(stats.rawKeyBytes),
    raw_val_size: text(stats.rawValueBytes),
    block_stats: stats.blocks ?? [],
  };
}

/** The filter that answers for whole keys; one without bits cannot be asked and counts as none. */
function usableFilter(expected: ExpectedObject['filter']): { num_probes: number; bits: GoldenBytes } | null {
  const list = expected === undefined || expected === null ? [] : Array.isArray(expected) ? expected : [expected];
  const found = list.find((f) => f.name === undefined || f.name === WHOLE_KEY_FILTER);
  return found === undefined || found.bits === '' ? null : { num_probes: found.num_probes, bits: found.bits };
}

function filterFields(filter: BloomFilter | undefined) {
  return filter === undefined ? null : { num_probes: filter.probes, bits: goldenBytesOf(filter.bits) };
}

function expectRows(blocks: readonly Block[], expected: ExpectedObject): void {
  const perBlock = blocks.map(rowsOfBlock);
  const rows = perBlock.flat();
  if (expected.rows !== 'omitted') expect(rows).toEqual(expected.rows);
  if (expected.row_count !== undefined) expect(rows.length).toBe(expected.row_count);
  if (expected.block_row_counts !== undefined) {
    expect(perBlock.map((r) => r.length)).toEqual(expected.block_row_counts);
    expect(blocks.map((b) => b.rowCount)).toEqual(expected.block_row_counts);
  }
  if (expected.block_sizes !== undefined) expect(blocks.map((b) => b.bytes.length)).toEqual(expected.block_sizes);
}

/** Checks footer and info block; the info, for what is named in it. */
function expectTail(bytes: Uint8Array, expected: ExpectedObject): { info: TableInfo; formatVersion: 1 | 2 } {
  expect(bytes.length).toBe(expected.size);
  const { infoOffset, formatVersion } = decodeFooter(bytes.subarray(bytes.length - FOOTER_BYTES), bytes.length);
  const info = decodeInfo(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES - 4));
  expect(formatVersion).toBe(expected.format_version);
  if (expected.info_block_offset !== undefined) expect(text(infoOffset)).toBe(expected.info_block_offset);
  if (expected.info !== undefined) expect(infoFields(info)).toEqual(expected.info);
  return { info, formatVersion };
}

async function expectTable(bytes: Uint8Array, expected: ExpectedObject): Promise<void> {
  const { info, formatVersion } = expectTail(bytes, expected);
  const store = new MemoryStore();
  const id = parseTablePath(expected.object.slice(expected.object.indexOf('compacted/'))) as Ulid;
  await store.put(expected.object, bytes, { condition: 'any', putId: id });
  const findings: unknown[] = [];
  const cache = new BlockCache({ capacityBytes: 1 << 24 });
  const context = { cache, clock: SYSTEM_CLOCK, onFinding: (f: unknown) => findings.push(f) };
  const reader = new TableReader({ id, info, formatVersion }, expected.object, store, context);
  const meta = await reader.loadMeta();
  expectMeta(meta, expected);
  const blocks: Block[] = [];
  for (let i = 0; i < meta.index.blockCount; i++) blocks.push((await reader.loadBlock(i, meta)) as Block);
  expectRows(blocks, expected);
  expect(findings).toEqual([]);
}

function expectMeta({ index, filter, stats }: TableMeta, expected: ExpectedObject): void {
  if (expected.index !== undefined) {
    const entries = Array.from({ length: index.blockCount }, (_, i) => ({
      offset: text(index.offset(i)),
      first_key: goldenBytesOf(index.firstKey(i)),
      ...(index.encodedLength(i) > 0 && { encoded_len: index.encodedLength(i) }),
    }));
    expect(entries).toEqual(expected.index);
  }
  if (expected.filter !== undefined) expect(filterFields(filter)).toEqual(usableFilter(expected.filter));
  if (expected.stats !== undefined) expect(statsFields(stats)).toEqual(expected.stats);
}

it('all tables and WAL objects of the databases are described', () => {
  for (const fixture of fixtures) {
    const described = [...expectedObjects(fixture, 'wal'), ...expectedObjects(fixture, 'compacted')].map(
      (o) => o.object,
    );
    const stored = fixture.objects
      .map((o) => o.path)
      .filter((path) => path.endsWith('.sst') && !path.startsWith('parent/wal/'));
    expect(described.sort(), fixture.name).toEqual(stored.sort());
  }
  const count = (directory: 'wal' | 'compacted') => fixtures.flatMap((f) => expectedObjects(f, directory)).length;
  expect({ wal: count('wal'), compacted: count('compacted') }).toEqual({ wal: 272, compacted: 210 });
});

describe.each(fixtures)('$name', (fixture) => {
  it('has the WAL rows that are expected', async () => {
    for (const expected of expectedObjects(fixture, 'wal')) {
      const bytes = bytesOf(fixture, expected.object);
      const id = parseWalPath(expected.object.slice(expected.object.indexOf('wal/', expected.object.indexOf('db'))))!;
      const { object, findings, incompatible } = await readWalObject(id, bytes);
      expect({ findings, incompatible }).toEqual({ findings: [], incompatible: undefined });
      expect(object?.rowCount).toBe((expected.rows as GoldenRow[]).length);
      expect(object?.kind).toBe(bytes.length === 0 ? 'empty' : object?.rowCount === 0 ? 'fence' : 'rows');
      if (bytes.length > 0) expectTail(bytes, expected);
      expectRows(object!.blocks, expected);
    }
  });

  it('has the tables that are expected', async () => {
    for (const expected of expectedObjects(fixture, 'compacted')) {
      await expectTable(bytesOf(fixture, expected.object), expected);
    }
  });

  it('has the newest manifest that is expected', async () => {
    const { store, path: rootPath } = await goldenInMemory(fixture);
    const root = prefixedStore(store, rootPath);
    const id = (await listManifestIds(root)).at(-1)!;
    const path = fixture.objects
      .map((o) => o.path)
      .filter((p) => p.includes('/manifest/') && !p.startsWith('parent'))
      .at(-1)!;
    const { manifest, seal } = loadManifest(id, bytesOf(fixture, path));
    expect(Number(path.slice(-29, -9))).toBe(id);
    expect(seal).toBeUndefined();
    const latest = fixture.expected.latest_manifest;
    if (latest === undefined) return;
    expect(path.endsWith(latest.object)).toBe(true);
    expect({
      header_version: manifest.headerVersion,
      writer_epoch: text(manifest.writerEpoch),
      compactor_epoch: text(manifest.compactorEpoch),
      replay_after_wal_id: text(manifest.replayAfterWalId),
      wal_id_last_seen: text(manifest.walIdLastSeen),
      last_l0_clock_tick: String(manifest.lastL0ClockTick),
      last_l0_seq: text(manifest.lastL0Seq),
      recent_snapshot_min_seq: text(manifest.recentSnapshotMinSeq),
      sequence_tracker_hex: toHex(manifest.sequenceTracker!),
      initialized: manifest.initialized,
      l0: manifest.l0.map((v) => v.viewId),
      compacted: manifest.runs.map((r) => ({ id: r.id, ssts: r.views.map((v) => v.viewId) })),
      checkpoints: manifest.checkpoints.map((c) => c.id),
    }).toEqual({
      header_version: latest.header_version,
      writer_epoch: latest.writer_epoch,
      compactor_epoch: latest.compactor_epoch,
      replay_after_wal_id: latest.replay_after_wal_id,
      wal_id_last_seen: latest.wal_id_last_seen,
      last_l0_clock_tick: latest.last_l0_clock_tick,
      last_l0_seq: latest.last_l0_seq,
      recent_snapshot_min_seq: latest.recent_snapshot_min_seq,
      sequence_tracker_hex: latest.sequence_tracker_hex,
      initialized: latest.initialized,
      l0: latest.l0.map((v: { id: string }) => v.id),
      compacted: latest.compacted.map((r: { id: number; ssts: { id: string }[] }) => ({
        id: r.id,
        ssts: r.ssts.map((v) => v.id),
      })),
      checkpoints: latest.checkpoints.map((c: { id: string }) => c.id),
    });
  });
});
