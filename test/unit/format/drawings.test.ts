/**
 * The worked examples in the headers of the codecs: each is read out of its comment, decoded by the real decoder, compared with
 * the values that the comment states, and encoded again to the same bytes.
 *
 * An example is a fenced block marked `example`, perhaps with the fixture, object and offset that its bytes are from. Each line
 * has bytes (hex, or a JSON string) and, after two spaces, what they are; `name=value` is a claim that is checked.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { finish } from '../../../src/common/async.ts';
import { concatBytes, fromHex, toHex } from '../../../src/common/bytes.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import { type Block, decodeBlock, restartOffset } from '../../../src/format/block.ts';
import { BlockCursor, readInt64 } from '../../../src/format/block-cursor.ts';
import { BloomBuilder, decodeBloom, KeyHashes } from '../../../src/format/bloom.ts';
import { decodeBoundary, encodeBoundary } from '../../../src/format/boundary.ts';
import { crc32, xxHash32 } from '../../../src/format/checksum.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { decodeCompactions, encodeCompactions } from '../../../src/format/compactions-codec.ts';
import { errorsAt, errorWidth, syndromeOf } from '../../../src/format/crc-syndrome.ts';
import { readExpiry, writeExpiry } from '../../../src/format/expiry-buckets.ts';
import { decodeFilter, encodeFilter } from '../../../src/format/filter.ts';
import { buildRange, buildUlid, readUlid, requireRange } from '../../../src/format/flat-tables.ts';
import { FlatBuilder, FlatReader } from '../../../src/format/flatbuffer.ts';
import { frameUnit, readCrc, unframeUnit } from '../../../src/format/framing.ts';
import { decodeIndex } from '../../../src/format/index-block.ts';
import { decodeInfo, encodeInfo } from '../../../src/format/info-block.ts';
import { readJobs, writeJobs } from '../../../src/format/jobs-record.ts';
import { decodeManifest, encodeManifest } from '../../../src/format/manifest-codec.ts';
import { type Bound, type Manifest, tablesOf, viewsOf } from '../../../src/format/manifest-types.ts';
import {
  compactionsPath,
  manifestPath,
  parseCompactionsPath,
  parseManifestPath,
  parseTablePath,
  parseWalPath,
  tablePath,
  walPath,
} from '../../../src/format/object-names.ts';
import { putInt64, putUint16, putVarint, varintBytes } from '../../../src/format/row-encoding.ts';
import { type BlockRow, blockOfRows } from '../../../src/format/rows-block.ts';
import { decodeSeal, encodeSeal, type SealInput } from '../../../src/format/seal.ts';
import { SealReader, SealWriter } from '../../../src/format/seal-bytes.ts';
import { readManifestRecord, readRows, writeManifestRecord, writeRows } from '../../../src/format/seal-records.ts';
import { decodeTracker, encodeTracker } from '../../../src/format/sequence-tracker.ts';
import { decodeIdentity, decodeSidecar, encodeIdentity } from '../../../src/format/sidecar.ts';
import { sipHash13, sipHigh, sipLow } from '../../../src/format/siphash.ts';
import { decodeStats, StatsBuilder } from '../../../src/format/stats-block.ts';
import { TableBuilder } from '../../../src/format/table-builder.ts';
import { CODECS, type FormatVersion, type TableInfo } from '../../../src/format/table-info.ts';
import { decodeFooter, encodeFooter } from '../../../src/format/table-layout.ts';
import { decodeTuple, encodeTuple, type TupleElement } from '../../../src/format/tuple-key.ts';
import { findUnitEnd } from '../../../src/format/unit-walk.ts';
import { decodeHeaderVersion } from '../../../src/format/versioned-body.ts';
import { zstdOutputBound } from '../../../src/format/zstd-frame.ts';
import { readWalObject } from '../../../src/lsm/wal/wal-object.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';
import { encodeIndex, entriesOf } from '../../support/index-payload.ts';
import { encodeVersion1, encodeVersion2, type SampleRow } from './block-samples.ts';

const SRC = fileURLToPath(new URL('../../../src/', import.meta.url));

interface Example {
  bytes: Uint8Array;
  /** `name=value`, in the order of the lines. */
  claims: string[];
  source: { fixture: string; path: string; offset: number } | undefined;
}

const FENCE = /^ \* ```example(?: (\S+) (\S+) (\S+))?$/;
const LINE = /^ \* (\S+(?: \S+)*)(?: {2,}(.*))?$/;
const CLAIM = /(?:^|\s)([a-z0-9_.]+)=("[^"]*"|[^\s:,;]+)/g;

/** The examples in the first comment of a file of `src/`. */
function examplesIn(path: string): Example[] {
  const text = readFileSync(SRC + path, 'utf8');
  const lines = text.slice(0, text.indexOf('*/')).split('\n');
  const found: Example[] = [];
  for (let i = 0; i < lines.length; i++) {
    const fence = FENCE.exec(lines[i]);
    if (fence === null) continue;
    const parts: Uint8Array[] = [];
    const claims: string[] = [];
    for (i++; lines[i] !== ' * ```'; i++) {
      const line = LINE.exec(lines[i]);
      if (line === null) throw new Error(`${path}: no line of an example: ${lines[i]}`);
      parts.push(bytesOf(line[1]));
      for (const [, name, value] of (line[2] ?? '').matchAll(CLAIM)) claims.push(`${name}=${value}`);
    }
    const [, fixture, object, offset] = fence;
    const source = fixture === undefined ? undefined : { fixture, path: object, offset: Number(offset) };
    found.push({ bytes: concatBytes(...parts), claims, source });
  }
  return found;
}

function bytesOf(column: string): Uint8Array {
  if (column.startsWith('"')) return new TextEncoder().encode(JSON.parse(column));
  const hex = column.replaceAll(' ', '');
  if (!/^([0-9a-f]{2})+$/.test(hex)) throw new Error(`no bytes: ${column}`);
  return fromHex(hex);
}

type Fact = [name: string, value: unknown];

interface Reading {
  facts: Fact[];
  /** The same bytes, from what was decoded; undefined where several stored forms stand for one value. */
  again: Uint8Array | undefined;
}

/** As the comments write it; hashes and halves of ids come as text. */
function written(value: unknown): string {
  if (!(value instanceof Uint8Array)) return String(value);
  return value.every((b) => b >= 0x20 && b < 0x7f) ? `"${Buffer.from(value).toString()}"` : toHex(value);
}

/** What is absent means that, so neither side has to say it. */
const isDefault = (claim: string) => /=(0|0x0+|""|false|undefined)$/.test(claim);

const hex8 = (n: number) => `0x${(n >>> 0).toString(16).padStart(8, '0')}`;

// ---- rows

function rowsOf(block: Block): SampleRow[] {
  const cursor = new BlockCursor();
  cursor.attach(block);
  const rows: SampleRow[] = [];
  for (let ok = cursor.first(); ok; ok = cursor.next()) {
    rows.push({
      key: cursor.key.slice(0, cursor.keyLength),
      value: block.bytes.slice(cursor.valueStart, cursor.valueStart + cursor.valueLength),
      seq: cursor.seq,
      flags: cursor.flags,
      createTs: cursor.createTs,
      expireTs: cursor.expireTs,
    });
  }
  return rows;
}

function prefix(a: Uint8Array, b: Uint8Array): number {
  let n = 0;
  while (n < a.length && a[n] === b[n]) n++;
  return n;
}

/** Each row as a block stores it; `sharesWith` is the index of the row with which row i shares a prefix, -1 for none. */
function rowFacts(rows: readonly SampleRow[], sharesWith: (i: number) => number): Fact[] {
  return rows.flatMap((row, i): Fact[] => {
    const shared = sharesWith(i) < 0 ? 0 : prefix(row.key, rows[sharesWith(i)].key);
    return [
      ['shared', shared],
      ['unshared', row.key.length - shared],
      ['value_len', row.value.length],
      ['key', row.key],
      ['value', row.value],
      ['seq', row.seq],
      ['flags', `0x${row.flags.toString(16).padStart(2, '0')}`],
      ...(Number.isFinite(row.expireTs) ? [['expire_ts', row.expireTs] as Fact] : []),
      ...(Number.isFinite(row.createTs) ? [['create_ts', row.createTs] as Fact] : []),
    ];
  });
}

function blockFacts(block: Block, rows: readonly SampleRow[]): Fact[] {
  const sharesWith = (i: number) => (block.formatVersion === 1 ? Math.min(0, i - 1) : i % 16 === 0 ? -1 : i - 1);
  const offsets = Array.from({ length: block.restartCount }, (_, i): Fact => ['offset', restartOffset(block, i)]);
  return [...rowFacts(rows, sharesWith), ...offsets, ['offsets', block.restartCount]];
}

function readBlock(bytes: Uint8Array, version: FormatVersion): Reading {
  const block = decodeBlock(bytes, version);
  const rows = rowsOf(block);
  return { facts: blockFacts(block, rows), again: version === 1 ? encodeVersion1(rows) : encodeVersion2(rows) };
}

function readRowsBlock(bytes: Uint8Array): Reading {
  const block = decodeBlock(bytes, 2);
  const rows = rowsOf(block);
  const offsets: Fact[] = [
    ['offset', restartOffset(block, 0)],
    ['offsets', block.restartCount],
  ];
  return { facts: [...rowFacts(rows, () => -1), ...offsets], again: blockOfRows(rows satisfies BlockRow[]).bytes };
}

function readNumbers(bytes: Uint8Array): Reading {
  const facts: Fact[] = [];
  const out = new Uint8Array(bytes.length);
  // Five varints, a u16, then times; varints are read as the first field of a row.
  let p = 0;
  for (let i = 0; i < 5; i++) {
    const value = varintAt(bytes, p);
    facts.push(['varint', value]);
    expect(varintBytes(value)).toBe(putVarint(out, p, value) - p);
    p += varintBytes(value);
  }
  facts.push(['u16', (bytes[p] << 8) | bytes[p + 1]]);
  p = putUint16(out, p, (bytes[p] << 8) | bytes[p + 1]);
  for (; p < bytes.length; p += 8) {
    facts.push(['i64', BigInt(readInt64(bytes, p))]);
    putInt64(out, p, readInt64(bytes, p));
  }
  return { facts, again: out };
}

function varintAt(bytes: Uint8Array, p: number): number {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    value += (bytes[p] & 0x7f) * scale;
    if (bytes[p++] < 0x80) return value;
  }
}

// ---- sections of tables

function infoFacts(info: TableInfo): Fact[] {
  return [
    ['first_entry', info.firstEntry],
    ['last_entry', info.lastEntry],
    ['index_offset', info.indexOffset],
    ['index_len', info.indexLength],
    ['filter_offset', info.filterOffset],
    ['filter_len', info.filterLength],
    ['compression_format', CODECS.indexOf(info.codec)],
    ['sst_type', info.tableType === 'wal' ? 1 : 0],
    ['stats_offset', info.statsOffset],
    ['stats_len', info.statsLength],
    ['filter_format', info.filterForm === 'composite' ? 1 : 0],
  ];
}

function indexFacts(payload: Uint8Array): Fact[] {
  return entriesOf(decodeIndex(payload)).flatMap((e): Fact[] => [
    ['offset', e.offset],
    ['first_key', e.firstKey],
    ['encoded_len', e.encodedLength],
  ]);
}

function readStats(bytes: Uint8Array): Reading {
  const stats = decodeStats(bytes);
  const counts = ([puts, deletes, merges]: readonly number[]): Fact[] => [
    ['num_puts', puts],
    ['num_deletes', deletes],
    ['num_merges', merges],
  ];
  const builder = new StatsBuilder();
  for (const block of stats.blocks ?? []) builder.addBlock(...block);
  const facts: Fact[] = [
    ...counts([stats.puts, stats.deletes, stats.merges]),
    ['raw_key_size', stats.rawKeyBytes],
    ['raw_val_size', stats.rawValueBytes],
    ...(stats.blocks ?? []).flatMap(counts),
  ];
  return { facts, again: builder.finish(stats) };
}

/** The bits are made again from the keys that the header names. */
function readBloom(bytes: Uint8Array): Reading {
  const filter = decodeBloom(bytes)!;
  const hashes = new KeyHashes();
  for (const key of ['apple', 'apply', 'pear']) hashes.add(Buffer.from(key), 0, key.length);
  const builder = new BloomBuilder(3, 10);
  expect(hashes.addTo(builder, 3)).toBe(true);
  const facts: Fact[] = [
    ['probes', filter.probes],
    ['bits', toHex(filter.bits)],
  ];
  return { facts, again: builder.finish() };
}

function readFilter(bytes: Uint8Array): Reading {
  const filter = decodeFilter(bytes, 'composite')!;
  const bloom = concatBytes(Uint8Array.of(filter.probes >> 8, filter.probes), filter.bits);
  const facts: Fact[] = [
    ['filters', 1],
    ['name', '"_bf"'],
    ['data_len', bloom.length],
    ['probes', filter.probes],
    ['bits', toHex(filter.bits)],
  ];
  return { facts, again: encodeFilter('composite', bloom) };
}

function readFrame(bytes: Uint8Array): Reading {
  const payload = unframeUnit(bytes, NO_CODEC, 'filter', 100);
  const facts: Fact[] = [
    ['payload', toHex(payload)],
    ['crc', hex8(readCrc(bytes, payload.length))],
  ];
  return { facts, again: frameUnit(payload, NO_CODEC) };
}

function readFooter(bytes: Uint8Array): Reading {
  const footer = decodeFooter(bytes, 374 + 2);
  const facts: Fact[] = [
    ['info_offset', footer.infoOffset],
    ['format_version', footer.formatVersion],
  ];
  return { facts, again: encodeFooter(footer) };
}

/** The data blocks of a table whose units have 64 bytes, with the entries of the index that a builder makes for the same rows. */
function readAligned(bytes: Uint8Array): Reading {
  const options = { tableType: 'compacted', blockBytes: 64, codec: NO_CODEC, isAligned: true } as const;
  const builder = new TableBuilder({ ...options, rowsPerCheck: 0, capacityBytes: 1024 });
  const blocks = [bytes.subarray(0, 61), bytes.subarray(64, 128)];
  const rows = blocks.flatMap((stored) => rowsOf(decodeBlock(unframeUnit(stored, NO_CODEC, 'block', 100), 2)));
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  const { bytes: table, info } = builder.finish();
  const index = table.subarray(info.indexOffset, info.indexOffset + info.indexLength - 4);
  const facts: Fact[] = [
    ...rowFacts(rows, () => -1),
    ...blocks.map((stored): Fact => ['crc', hex8(readCrc(stored, stored.length - 4))]),
    ...indexFacts(index).filter(([name]) => name !== 'first_key'),
  ];
  return { facts, again: table.subarray(0, 128) };
}

async function readWal(bytes: Uint8Array): Promise<Reading> {
  const { object, index, findings } = await readWalObject(2, bytes);
  expect(findings).toEqual([]);
  const [block] = object!.blocks;
  const rows = rowsOf(block);
  const { infoOffset, formatVersion } = decodeFooter(bytes, bytes.length);
  const info = decodeInfo(bytes.subarray(infoOffset, bytes.length - 14));
  const payload = bytes.subarray(info.indexOffset, info.indexOffset + info.indexLength - 4);
  const builder = new TableBuilder({
    tableType: 'wal',
    blockBytes: 4096,
    codec: NO_CODEC,
    rowsPerCheck: 0,
    capacityBytes: 512,
  });
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  expect(index!.blockCount).toBe(1);
  const crcs = [info.indexOffset - 4, info.indexOffset + info.indexLength - 4, bytes.length - 14];
  const facts: Fact[] = [
    ...blockFacts(block, rows),
    ...crcs.map((at): Fact => ['crc', hex8(readCrc(bytes, at))]),
    ...indexFacts(payload),
    ...infoFacts(info),
    ['info_offset', infoOffset],
    ['format_version', formatVersion],
  ];
  return { facts, again: builder.finish().bytes };
}

// ---- manifests, compactions files and their parts

function halves(id: Ulid): Fact[] {
  const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  let n = 0n;
  for (const c of id) n = n * 32n + BigInt(alphabet.indexOf(c));
  const text = n.toString(16).padStart(32, '0');
  return [
    ['high', `0x${text.slice(0, 16)}`],
    ['low', `0x${text.slice(16)}`],
  ];
}

/** For manifests without runs, checkpoints, segments and ranges, as those of the examples are. */
function manifestFacts(m: Manifest): Fact[] {
  expect([m.runs, m.checkpoints, m.externalDbs, m.segments ?? []]).toEqual([[], [], [], []]);
  const views = m.headerVersion === 2 ? viewsOf(m).map((view) => view.viewId) : [];
  return [
    ['version', m.headerVersion],
    ['initialized', m.initialized],
    ['writer_epoch', m.writerEpoch],
    ['compactor_epoch', m.compactorEpoch],
    ['replay_after_wal_id', m.replayAfterWalId],
    ['wal_id_last_seen', m.walIdLastSeen],
    ['last_l0_clock_tick', m.lastL0ClockTick],
    ['last_l0_seq', m.lastL0Seq],
    ['recent_snapshot_min_seq', m.recentSnapshotMinSeq],
    ['sequence_tracker', m.sequenceTracker],
    ...views.flatMap(halves),
    ...tablesOf(m).flatMap(({ id, info, formatVersion }): Fact[] => [
      ...halves(id),
      // A version 2 view names its table by id.
      ...(m.headerVersion === 2 ? halves(id) : []),
      ['format_version', formatVersion],
      ...infoFacts(info),
    ]),
  ];
}

function readManifest(bytes: Uint8Array): Reading {
  const { manifest, bodyBytes } = decodeManifest(bytes);
  expect(bodyBytes).toBe(bytes.length);
  return { facts: manifestFacts(manifest), again: encodeManifest(manifest) };
}

function readCompactions(bytes: Uint8Array): Reading {
  const { compactions } = decodeCompactions(bytes);
  const [{ id, spec, status, outputs }] = compactions.jobs;
  expect([spec.kind, status, outputs]).toEqual(['tiered', 'submitted', []]);
  if (spec.kind !== 'tiered') throw new Error('another kind of job');
  const facts: Fact[] = [
    ['version', compactions.headerVersion],
    ['compactor_epoch', compactions.compactorEpoch],
    ['spec_type', 1],
    ['destination', spec.destination],
    ['segment', spec.segment],
    ...[id, ...(spec.l0ViewIds ?? [])].flatMap(halves),
  ];
  return { facts, again: encodeCompactions(compactions) };
}

function readTracker(bytes: Uint8Array): Reading {
  const tracker = decodeTracker(bytes);
  const facts: Fact[] = [
    ['version', bytes[0]],
    ...[1, 2, 3].map((): Fact => ['count', tracker.seqs.length]),
    ...tracker.seqs.map((seq): Fact => ['seq', seq]),
    ...tracker.timesS.map((timeS): Fact => ['time_s', timeS]),
  ];
  return { facts, again: encodeTracker(tracker) };
}

/** A buffer whose root table refers, by its only field, to the root table of `bytes`: ids and ranges are read through a field. */
function referringTo(bytes: Uint8Array): FlatReader {
  const table = fromHex('0c0000000000060008000400060000000000000000000000');
  const out = concatBytes(table, bytes);
  const view = new DataView(out.buffer);
  view.setUint32(16, table.length - 16 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true), true);
  return new FlatReader(out, 'object');
}

function readUlidTable(bytes: Uint8Array): Reading {
  const reader = referringTo(bytes);
  const id = readUlid(reader, reader.root(1), 0)!;
  const builder = new FlatBuilder();
  return { facts: halves(id), again: builder.finish(buildUlid(builder, id)) };
}

function readRangeTable(bytes: Uint8Array): Reading {
  const reader = referringTo(bytes);
  const range = requireRange(reader, reader.root(1), 0, 'range');
  const builder = new FlatBuilder();
  const facts = [range.start, range.end].flatMap((bound): Fact[] => [
    ['bound_type', ['unknown', 'unbounded', 'included', 'excluded'].indexOf(bound.kind)],
    ['key', bound.kind === 'unbounded' ? undefined : bound.key],
  ]);
  return { facts, again: builder.finish(buildRange(builder, range)) };
}

function readFlatBuffer(bytes: Uint8Array): Reading {
  const reader = new FlatReader(bytes, 'stats');
  const value = reader.u64(reader.root(1), 0);
  const builder = new FlatBuilder();
  builder.startTable();
  builder.addU64(0, value);
  return { facts: [['slot_0', value]], again: builder.finish(builder.endTable()) };
}

// ---- seals and sidecars

function readSealBytes(bytes: Uint8Array): Reading {
  const r = new SealReader(bytes, 0, bytes.length);
  const [a, b, pair] = [r.varint(), r.varint(), r.varintHigh()];
  const bit = r.lowBit;
  const time = r.i64();
  const w = new SealWriter();
  w.varint(a);
  w.varint(b);
  w.varintOfPair(pair, bit);
  w.i64(time);
  const facts: Fact[] = [
    ['varint', a],
    ['varint', b],
    ['pair', pair],
    ['bit', bit],
    ['i64', BigInt(time)],
  ];
  return { facts, again: w.finish() };
}

function readRowsRecord(bytes: Uint8Array): Reading {
  const r = new SealReader(bytes, 0, bytes.length);
  const record = finish(readRows(r, true));
  expect(r.remaining).toBe(0);
  const w = new SealWriter();
  writeRows(w, record, true);
  const facts: Fact[] = [
    ['rows_per_check', record.rowsPerCheck],
    ['blocks', record.blockRows.length],
    ...Array.from(record.blockStoredBytes, (n): Fact => ['stored_bytes', n]),
    ...Array.from(record.blockRows, (n): Fact => ['rows', n]),
    ...Array.from(record.checks, (n): Fact => ['check', hex8(n)]),
    ...Array.from(record.firstSeqs ?? [], (n): Fact => ['first_seq', n]),
    ...Array.from(record.continuations ?? [], (n): Fact => ['continues', n]),
  ];
  return { facts, again: w.finish() };
}

function readManifestRecordBytes(bytes: Uint8Array): Reading {
  const r = new SealReader(bytes, 0, bytes.length);
  const record = readManifestRecord(r);
  expect(r.remaining).toBe(0);
  const w = new SealWriter();
  writeManifestRecord(w, record);
  const facts: Fact[] = [
    ['previous_manifest_id', record.previousManifestId],
    ['previous_digest', toHex(record.previousDigest)],
    ['body_hash', hex8(record.bodyHash)],
    ['wal_tail', record.walTail.id],
    ['wal_tail_seq', record.walTail.lastSeq],
    ['wal_tail_digest', toHex(record.walTail.digest)],
    ['ledger_version', record.ledgerVersion],
    ['clean_close', record.isCleanClose],
    ['by_repair', record.isRepair],
  ];
  return { facts, again: w.finish() };
}

function readExpiryRecord(bytes: Uint8Array): Reading {
  const r = new SealReader(bytes, 0, bytes.length);
  const record = readExpiry(r);
  expect(r.remaining).toBe(0);
  const w = new SealWriter();
  writeExpiry(w, record);
  const facts = record.buckets.flatMap(({ byMs, bytes: size }): Fact[] => [
    ['by_ms', byMs],
    ['bytes', size],
  ]);
  return { facts: [['buckets', record.buckets.length], ...facts], again: w.finish() };
}

function readJobsRecord(bytes: Uint8Array): Reading {
  const r = new SealReader(bytes, 0, bytes.length);
  const record = readJobs(r);
  expect(r.remaining).toBe(0);
  const w = new SealWriter();
  writeJobs(w, record);
  const kindOf = (bound: Bound) => ['unbounded', 'included', 'excluded'].indexOf(bound.kind);
  const keyOf = (bound: Bound): Fact[] => (bound.kind === 'unbounded' ? [] : [['key', bound.key]]);
  const facts: Fact[] = [
    ['jobs', record.jobs.length],
    ...record.jobs.flatMap((job): Fact[] => [
      ['id', job.id],
      ['segment', job.segment],
      ['destination', job.destination],
      ['bottom', job.isBottom],
      ['retention_seq', job.retentionMinSeq],
      ['tick_ms', job.tickMs],
      ['sources_digest', toHex(job.sourcesDigest)],
      ['views', job.l0ViewIds.length],
      ...job.l0ViewIds.map((id): Fact => ['view', id]),
      ['runs', job.runs.length],
      ...job.runs.map((id): Fact => ['run', id]),
      ['parts', job.parts.length],
      ...job.parts.flatMap(({ range, status, outputs }): Fact[] => [
        ['start_kind', kindOf(range.start)],
        ...keyOf(range.start),
        ['end_kind', kindOf(range.end)],
        ...keyOf(range.end),
        ['completed', status === 'completed'],
        ['outputs', outputs.length],
        ...outputs.flatMap((output): Fact[] => [
          ['table', output.tableId],
          ['bytes', output.bytes],
        ]),
      ]),
    ]),
  ];
  return { facts, again: w.finish() };
}

function readSeal(bytes: Uint8Array): Reading {
  const seal = decodeSeal(bytes, 0, bytes.length);
  const { identity, wal, owner } = seal;
  const facts: Fact[] = [
    ...([1, 2, 7] as const).map((tag): Fact => ['tag', tag]),
    ...[80, 41, owner!.hostPid.length].map((length): Fact => ['length', length]),
    ['database_id', toHex(identity.databaseId)],
    ['object_id', toHex(identity.objectId)],
    ['put_id', identity.putId],
    ['epoch', identity.epoch],
    ['role', ['none', 'writer'].indexOf(identity.role)],
    ['format_version', identity.formatVersion],
    ['written_at_ms', identity.writtenAtMs],
    ['newest_manifest_id', identity.newestManifestId],
    ['software', identity.software.join('.')],
    ['predecessor_kind', ['unknown', 'seal', 'object'].indexOf(wal!.predecessorKind)],
    ['predecessor_digest', toHex(wal!.predecessorDigest)],
    ['first_seq', wal!.firstSeq],
    ['last_seq', wal!.lastSeq],
    ['owner', `"${owner!.hostPid}"`],
    ['seal_length', bytes.length],
    ['version', seal.version],
    ['kind', ['', 'wal', 'fence'].indexOf(seal.kind)],
    ['crc', hex8(readCrc(bytes, bytes.length - 12))],
  ];
  return { facts, again: encodeSeal(seal as SealInput) };
}

function readIdentitySidecar(bytes: Uint8Array): Reading {
  const { version } = decodeSidecar(bytes, 'identity');
  const identity = decodeIdentity(bytes);
  const json = bytes.subarray(bytes.indexOf(0x0a) + 1);
  const facts: Fact[] = [
    ['kind', 'identity'],
    ['version', version],
    ['crc', hex8(crc32(json))],
    ['json_bytes', json.length],
    ['database_id', toHex(identity.databaseId)],
    ['created_at_ms', identity.createdAtMs],
    ['creator', `"${identity.creator}"`],
    ['separate_wal_store', identity.separateWalStore],
  ];
  return { facts, again: encodeIdentity(identity) };
}

// ---- keys

function readTuple(bytes: Uint8Array): Reading {
  const tuple = decodeTuple(bytes);
  const shown = (element: TupleElement) => (element instanceof Uint8Array ? toHex(element) : element);
  const facts = tuple.map((element): Fact => {
    if (typeof element === 'string') return ['string', toHex(new TextEncoder().encode(element))];
    return [element === null ? 'null' : element instanceof Uint8Array ? 'bytes' : typeof element, shown(element)];
  });
  return { facts, again: encodeTuple(tuple) };
}

// ---- the rest

async function readCompressed(bytes: Uint8Array, codec: 'snappy' | 'lz4'): Promise<Reading> {
  const { decompress } = await loadCodec(codec);
  const text = decompress(bytes, 100);
  expect(Buffer.from(text).toString()).toBe('hello hello hello hello');
  return { facts: [['length', text.length]], again: undefined };
}

async function readZstd(bytes: Uint8Array): Promise<Reading> {
  const { decompress } = await loadCodec('zstd');
  const bound = zstdOutputBound(bytes);
  if (typeof bound === 'string') throw new Error(bound);
  expect(bound.exact).toBe(true);
  const facts: Fact[] = [
    ['content', bound.bytes],
    ['text', decompress(bytes, 100)],
  ];
  return { facts, again: undefined };
}

function readSums(bytes: Uint8Array): Reading {
  const facts: Fact[] = [
    ['crc', hex8(crc32(bytes))],
    ['xx', hex8(xxHash32(bytes, 0, bytes.length))],
  ];
  return { facts, again: undefined };
}

/** The error at the place that the header names must be the one that it names. */
function readSyndrome(bytes: Uint8Array): Reading {
  const end = bytes.length - 4;
  const syndrome = syndromeOf(bytes, end, readCrc(bytes, end));
  const errors = errorsAt(syndrome, 0, end, end);
  expect(errors[4]).toBe(0x6d);
  expect(Array.from(errors, errorWidth).filter((width) => width === 1)).toHaveLength(1);
  const facts: Fact[] = [
    ['syndrome', hex8(syndrome)],
    ['crc', hex8(readCrc(bytes, end))],
  ];
  return { facts, again: undefined };
}

function readHash(bytes: Uint8Array): Reading {
  sipHash13(bytes, 0, bytes.length);
  return { facts: [['hash', hex8(sipHigh) + hex8(sipLow).slice(2)]], again: undefined };
}

function readName<T>(bytes: Uint8Array, name: string, parse: (path: string) => T | undefined, make: (id: T) => string) {
  const id = parse(Buffer.from(bytes).toString());
  if (id === undefined) throw new Error('no name');
  return { facts: [[name, id] as Fact], again: new TextEncoder().encode(make(id)) };
}

type Read = (bytes: Uint8Array) => Reading | Promise<Reading>;

/** How each example is read, by file and in the order in which they are in its header. */
const READERS: Record<string, Read[]> = {
  'format/block.ts': [(bytes) => readBlock(bytes, 2), (bytes) => readBlock(bytes, 1)],
  'format/bloom.ts': [readBloom],
  'format/boundary.ts': [
    (bytes) => ({ facts: [['boundary', decodeBoundary(bytes)]], again: encodeBoundary(decodeBoundary(bytes)) }),
  ],
  'format/checksum.ts': [readSums, readSums],
  'format/codecs.ts': [(bytes) => readCompressed(bytes, 'snappy'), (bytes) => readCompressed(bytes, 'lz4')],
  'format/compactions-codec.ts': [readCompactions],
  'format/crc-syndrome.ts': [readSyndrome],
  'format/expiry-buckets.ts': [readExpiryRecord],
  'format/filter.ts': [readFilter],
  'format/flat-tables.ts': [readUlidTable, readRangeTable],
  'format/flatbuffer.ts': [readFlatBuffer],
  'format/framing.ts': [readFrame],
  'format/index-block.ts': [
    (bytes) => ({ facts: indexFacts(bytes), again: encodeIndex(entriesOf(decodeIndex(bytes))) }),
  ],
  'format/info-block.ts': [(bytes) => ({ facts: infoFacts(decodeInfo(bytes)), again: encodeInfo(decodeInfo(bytes)) })],
  'format/jobs-record.ts': [readJobsRecord],
  'format/manifest-codec.ts': [readManifest, readManifest],
  'format/object-names.ts': [
    (bytes) => readName(bytes, 'manifest', parseManifestPath, manifestPath),
    (bytes) => readName(bytes, 'wal', parseWalPath, walPath),
    (bytes) => readName(bytes, 'table', parseTablePath, tablePath),
    (bytes) => readName(bytes, 'compactions', parseCompactionsPath, compactionsPath),
  ],
  'format/row-encoding.ts': [readNumbers],
  'format/rows-block.ts': [readRowsBlock],
  'format/seal-bytes.ts': [readSealBytes],
  'format/seal-records.ts': [readRowsRecord, readManifestRecordBytes],
  'format/seal.ts': [readSeal],
  'format/sequence-tracker.ts': [readTracker, readTracker],
  'format/sidecar.ts': [readIdentitySidecar],
  'format/siphash.ts': [readHash, readHash],
  'format/stats-block.ts': [readStats],
  'format/table-builder.ts': [readAligned],
  'format/table-layout.ts': [readFooter],
  'format/tuple-key.ts': [readTuple],
  'format/unit-walk.ts': [(bytes) => ({ facts: [['end', findUnitEnd(bytes, 0, bytes.length)]], again: undefined })],
  'format/versioned-body.ts': [
    (bytes) => ({
      facts: [['version', decodeHeaderVersion(bytes, 'example')]],
      again: encodeCompactions(decodeCompactions(bytes).compactions),
    }),
  ],
  'format/zstd-frame.ts': [readZstd],
  'lsm/wal/wal-object.ts': [readWal],
};

describe('the worked examples of the codecs', () => {
  it('are exactly those that are read here', () => {
    const paths = [
      ...readdirSync(`${SRC}format`).map((name) => `format/${name}`),
      ...readdirSync(`${SRC}lsm/wal`).map((name) => `lsm/wal/${name}`),
    ];
    const found = paths.map((path) => [path, examplesIn(path).length]).filter(([, count]) => count !== 0);
    expect(found).toEqual(Object.entries(READERS).map(([path, readers]) => [path, readers.length]));
  });

  for (const [path, readers] of Object.entries(READERS)) {
    it.each(examplesIn(path).map((example, i) => ({ example, read: readers[i], number: i + 1 })))(
      `${path}, $number: decodes to what it states and encodes to the same bytes`,
      async ({ example, read }) => {
        if (example.source !== undefined) {
          const { fixture, path: object, offset } = example.source;
          const stored = goldenBytes(fixture, object).subarray(offset, offset + example.bytes.length);
          expect(toHex(example.bytes)).toBe(toHex(stored));
        }
        const { facts, again } = await read(example.bytes);
        const found = facts.map(([name, value]) => `${name}=${written(value)}`);
        const order = (claims: string[]) => claims.filter((claim) => !isDefault(claim)).sort();
        expect(order(example.claims)).toEqual(order(found));
        if (again !== undefined) expect(toHex(again)).toBe(toHex(example.bytes));
      },
    );
  }
});
