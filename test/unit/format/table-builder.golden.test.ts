// Every table and WAL object of the fixtures: read completely, and built again from its rows.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import { checkBlockOrder, decodeBlock } from '../../../src/format/block.ts';
import { BlockCursor } from '../../../src/format/block-cursor.ts';
import { type BlockCodec, loadCodec } from '../../../src/format/codecs.ts';
import { decodeFilter } from '../../../src/format/filter.ts';
import { unframeUnit, verifyCrc } from '../../../src/format/framing.ts';
import { decodeIndex, type TableIndex } from '../../../src/format/index-block.ts';
import { decodeInfo } from '../../../src/format/info-block.ts';
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../src/format/row-flags.ts';
import { sipHash13, sipHigh, sipLow } from '../../../src/format/siphash.ts';
import { TableBuilder } from '../../../src/format/table-builder.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';
import { blockEnd, decodeFooter, FOOTER_BYTES } from '../../../src/format/table-layout.ts';

const GOLDEN = fileURLToPath(new URL('../../golden', import.meta.url));
const LIMIT = 1 << 20;

interface ExpectedRow {
  kind: 'Value' | 'Tombstone' | 'Merge';
  key: unknown;
  value: unknown;
  seq: string;
  create_ts: string | null;
  expire_ts: string | null;
}

interface ExpectedTable {
  object: string;
  size: number;
  block_row_counts?: number[];
  block_sizes?: number[];
  rows?: ExpectedRow[] | 'omitted';
  row_count?: number;
}

interface Stored {
  name: string;
  bytes: Uint8Array;
  info: TableInfo;
  infoOffset: number;
  formatVersion: 1 | 2;
  codec: BlockCodec;
  index: TableIndex;
}

interface Row {
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

function tablePaths(): string[] {
  return (readdirSync(GOLDEN, { recursive: true }) as string[])
    .filter((name) => name.endsWith('.sst') && !name.endsWith(`${sep}.sst`))
    .map((name) => join(GOLDEN, name))
    .filter((path) => readFileSync(path).length > FOOTER_BYTES)
    .sort();
}

async function readStored(path: string): Promise<Stored> {
  const bytes = new Uint8Array(readFileSync(path));
  const { infoOffset, formatVersion } = decodeFooter(bytes, bytes.length);
  const info = decodeInfo(verifyCrc(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES), 'info'));
  const codec = await loadCodec(info.codec);
  const indexBytes = bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength);
  const index = decodeIndex(unframeUnit(indexBytes, codec, 'index', LIMIT));
  return { name: relative(GOLDEN, path), bytes, info, infoOffset, formatVersion, codec, index };
}

function payloads({ bytes, info, index, codec }: Stored): Uint8Array[] {
  return Array.from({ length: index.blockCount }, (_, i) =>
    unframeUnit(bytes.subarray(index.offset(i), blockEnd(info, index, i)), codec, 'block', LIMIT),
  );
}

/** Filter and stats before compression. */
function sections({ bytes, info, codec }: Stored): string[] {
  const { filterOffset, filterLength, statsOffset, statsLength } = info;
  return [
    filterLength > 0 ? bytes.subarray(filterOffset, filterOffset + filterLength) : undefined,
    statsLength > 0 ? bytes.subarray(statsOffset, statsOffset + statsLength) : undefined,
  ].map((unit) => (unit === undefined ? '' : toHex(unframeUnit(unit, codec, 'filter', LIMIT))));
}

function readRows(stored: Stored): Row[][] {
  return payloads(stored).map((payload) => {
    const rows: Row[] = [];
    const cursor = new BlockCursor();
    cursor.attach(decodeBlock(payload, stored.formatVersion));
    while (cursor.next()) {
      rows.push({
        key: cursor.key.slice(0, cursor.keyLength),
        value: payload.slice(cursor.valueStart, cursor.valueStart + cursor.valueLength),
        seq: cursor.seq,
        flags: cursor.flags,
        createTs: cursor.createTs,
        expireTs: cursor.expireTs,
      });
    }
    return rows;
  });
}

/** The block size a fixture was written with, its filter settings, as far as its expected.json says. */
function settings(stored: Stored): { blockBytes: number; isAligned: boolean; minKeys: number; bitsPerKey: number } {
  const options = fixtureOf(stored).expected.options ?? {};
  const isWal = stored.name.includes(`${sep}wal${sep}`);
  // The block size of the log is SlateDB's own from 0.16 on, whatever tables have.
  const wide = isWal && /^slatedb-0\.1[78]\./.test(stored.name);
  return {
    blockBytes: wide ? 65_536 : (options['sst_block_size'] ?? 4096),
    // Settings changed between the openings of some fixtures: what the object has decides.
    isAligned: Array.from({ length: stored.index.blockCount }, (_, i) => stored.index.encodedLength(i)).some(
      (n) => n > 0,
    ),
    minKeys: stored.info.filterLength > 0 ? 0 : Number.POSITIVE_INFINITY,
    bitsPerKey: 10,
  };
}

interface Expected {
  options?: Record<string, number>;
  wal?: ExpectedTable[];
  compacted_ssts?: ExpectedTable[];
  objects?: ExpectedTable[];
}

function fixtureOf(stored: Stored): { directory: string; expected: Expected } {
  const directory = join(GOLDEN, ...stored.name.split(sep).slice(0, 2));
  return { directory, expected: JSON.parse(readFileSync(join(directory, 'expected.json'), 'utf8')) as Expected };
}

function rebuild(stored: Stored): Uint8Array {
  const { blockBytes, isAligned, minKeys, bitsPerKey } = settings(stored);
  const builder = new TableBuilder({
    tableType: stored.info.tableType,
    blockBytes,
    isAligned,
    codec: stored.codec,
    filter: { form: stored.info.filterForm, bitsPerKey, minKeys },
    rowsPerCheck: 4,
    capacityBytes: 100,
  });
  // Keys and values at odd places of larger buffers, as arenas give them.
  for (const row of readRows(stored).flat()) {
    const keys = new Uint8Array(row.key.length + 9);
    keys.set(row.key, 3);
    const values = new Uint8Array(row.value.length + 9);
    values.set(row.value, 5);
    const { seq, flags, createTs, expireTs } = row;
    builder.add(keys, 3, row.key.length, values, 5, row.value.length, seq, flags, createTs, expireTs);
  }
  return builder.finish().bytes;
}

const stored = await Promise.all(tablePaths().map(readStored));
/** Filters over key prefixes are read around, not written. */
const foreignFilters = (s: Stored) => s.name.startsWith(join('slatedb-0.17.0', 'filters'));
const bySlateDb = (s: Stored) => s.formatVersion === 2 && s.name.startsWith('slatedb-');

describe('tables written by SlateDB', () => {
  it('are there', () => {
    expect(stored.length).toBeGreaterThan(80);
  });

  it.each(stored.filter((s) => bySlateDb(s) && s.info.codec === 'none' && !foreignFilters(s)).map((s) => [s.name, s]))(
    '%s is built again byte for byte',
    (_name, s) => {
      const built = rebuild(s);
      expect(Buffer.compare(built, s.bytes) === 0 || toHex(built)).toBe(true);
    },
  );

  it.each(stored.filter((s) => bySlateDb(s) && (s.info.codec !== 'none' || foreignFilters(s))).map((s) => [s.name, s]))(
    '%s is built again with the same blocks',
    (_name, s) => {
      const built = rebuild(s);
      const { infoOffset } = decodeFooter(built, built.length);
      const info = decodeInfo(verifyCrc(built.subarray(infoOffset, built.length - FOOTER_BYTES), 'info'));
      expect(info.codec).toBe(s.info.codec);
      const indexBytes = built.subarray(info.indexOffset, info.indexOffset + info.indexLength);
      const index = decodeIndex(unframeUnit(indexBytes, s.codec, 'index', LIMIT));
      expect(payloads({ ...s, bytes: built, info, index }).map(toHex)).toEqual(payloads(s).map(toHex));
      expect(index.blockCount).toBe(s.index.blockCount);
      if (!foreignFilters(s)) expect(sections({ ...s, bytes: built, info })).toEqual(sections(s));
      for (let i = 0; i < index.blockCount; i++) expect(index.firstKey(i)).toEqual(s.index.firstKey(i));
    },
  );
});

describe('rows of the fixtures', () => {
  it.each(stored.map((s) => [s.name, s]))('%s has the expected rows', (_name, s) => {
    const { directory, expected } = fixtureOf(s);
    const object = relative(join(directory, 'store'), join(GOLDEN, s.name)).split(sep).join('/');
    const lists = [...(expected.wal ?? []), ...(expected.compacted_ssts ?? []), ...(expected.objects ?? [])];
    const table = lists.find(
      (t) => t.object === object || `main/${t.object}` === object || `wal/${t.object}` === object,
    );
    // Parents of clones are listed by what the clone uses of them only.
    if (!s.name.includes(`${sep}parent${sep}`)) expect(table?.size).toBe(s.bytes.length);
    const blocks = readRows(s);
    const rows = blocks.flat();
    if (table?.block_row_counts !== undefined) expect(blocks.map((b) => b.length)).toEqual(table.block_row_counts);
    if (table?.block_sizes !== undefined) expect(payloads(s).map((p) => p.length)).toEqual(table.block_sizes);
    if (table?.row_count !== undefined) expect(rows.length).toBe(table.row_count);
    if (!Array.isArray(table?.rows)) return;
    expect(rows.map(plainRow)).toEqual(table.rows.map((r) => ({ ...r, key: short(r.key), value: short(r.value) })));
  });

  it.each(stored.filter((s) => s.info.tableType === 'compacted').map((s) => [s.name, s]))(
    '%s is in order, forward and backward',
    (_name, s) => {
      for (const payload of payloads(s)) {
        const block = decodeBlock(payload, s.formatVersion);
        if (dirname(s.name).endsWith('compacted')) checkBlockOrder(block);
        const forward: string[] = [];
        const backward: string[] = [];
        const cursor = new BlockCursor();
        const text = () => `${toHex(cursor.key.subarray(0, cursor.keyLength))} ${cursor.seq} ${cursor.valueStart}`;
        cursor.attach(block);
        for (let on = cursor.first(); on; on = cursor.next()) forward.push(text());
        for (let on = cursor.last(); on; on = cursor.prev()) backward.push(text());
        expect(backward.reverse()).toEqual(forward);
        expect(forward.length).toBe(block.rowCount);
      }
    },
  );

  it.each(stored.filter((s) => s.info.filterLength > 0 && s.index.blockCount > 0).map((s) => [s.name, s]))(
    '%s: the filter, if usable, contains every key',
    (_name, s) => {
      const { filterOffset, filterLength, filterForm } = s.info;
      const filter = decodeFilter(
        unframeUnit(s.bytes.subarray(filterOffset, filterOffset + filterLength), s.codec, 'filter', LIMIT),
        filterForm,
      );
      if (!foreignFilters(s)) expect(filter).toBeDefined();
      for (const row of readRows(s).flat()) {
        sipHash13(row.key, 0, row.key.length);
        expect(filter?.mayContain(sipLow, sipHigh) ?? true).toBe(true);
      }
    },
  );
});

function plainRow(row: Row): ExpectedRow {
  const tombstone = (row.flags & FLAG_TOMBSTONE) !== 0;
  return {
    kind: tombstone ? 'Tombstone' : (row.flags & FLAG_MERGE) !== 0 ? 'Merge' : 'Value',
    key: short(toHex(row.key)),
    value: tombstone ? null : short(toHex(row.value)),
    seq: String(row.seq),
    create_ts: row.createTs === NO_TS ? null : String(row.createTs),
    expire_ts: row.expireTs === NO_TS ? null : String(row.expireTs),
  };
}

/** Long byte strings are given by length and digest; comparing the length is enough here. */
function short(bytes: unknown): unknown {
  if (typeof bytes === 'string' && bytes.length > 600) return bytes.length / 2;
  return typeof bytes === 'object' && bytes !== null ? (bytes as { len: number }).len : bytes;
}
