/**
 * Manifests: `u16` header version (big-endian), then a FlatBuffer, then perhaps a seal of ours (versioned-body.ts).
 *
 * ```
 * ManifestV1                                        ManifestV2
 * 0 manifest_id u64, always 0                       0 to 6 the same
 * 1 external_dbs [ExternalDb], absent if empty      7 last_compacted_l0_sst_view_id Ulid, absent
 * 2 initialized bool                                8 ssts [CompactedSsTableV2]: 0 id, 1 info, 2 format_version
 * 3 writer_epoch u64   4 compactor_epoch u64        9 l0 [CompactedSsTableView]: 0 id, 1 sst_id, 2 visible_range
 * 5 replay_after_wal_id u64                        10 compacted [SortedRunV2]: 0 id u32, 1 ssts [View]
 * 6 wal_id_last_seen u64                           11 last_l0_clock_tick i64
 * 7 l0_last_compacted Ulid, absent                 12 checkpoints [Checkpoint]
 * 8 l0 [CompactedSsTable]                          13 last_l0_seq u64
 * 9 compacted [SortedRun]: 0 id u32, 1 ssts        14 recent_snapshot_min_seq u64
 * 10 last_l0_clock_tick i64                        15 sequence_tracker [u8]
 * 11 checkpoints [Checkpoint]                      16 segments [Segment]: 0 prefix, 1 last compacted, 2 l0, 3 compacted
 * 12 last_l0_seq u64                               17 segment_extractor_name string
 * 13 wal_object_store_uri string
 * 14 recent_snapshot_min_seq u64                   Checkpoint  0 id Uuid, 1 manifest_id u64, 2 expire_time_s u32,
 * 15 sequence_tracker [u8]                                     3 create_time_s u32, 4 5 metadata union, 6 name string
 * ```
 *
 * Version 1 repeats a table's info in every list entry; version 2 lists each table once and refers to it by id. Both decode to one
 * value. Encoding takes the version from the value and reproduces SlateDB's bytes, so a manifest of SlateDB that does not re-encode
 * to itself is damaged or of a version this program does not know.
 *
 * The first manifest of a database of SlateDB 0.12.1, version 1:
 *
 * ```example slatedb-0.12.1/tiny db/manifest/00000000000000000001.manifest 0
 * 00 01                                            version=1
 * 28 00 00 00                                      root table at +40
 * 24 00 20 00 00 00 00 00 07 00 00 00 00 00 00 00  vtable: 36 bytes, ManifestV1 of 32
 * 00 00 00 00 08 00 0c 00 18 00 10 00 00 00 00 00  fields at - - 7 - - - - - 8 12 24 16 - - - 20
 * 00 00 14 00
 * 24 00 00 00                                      ManifestV1: vtable 36 bytes before
 * 00 00 00                                         padding
 * 01                                               initialized=true
 * 34 00 00 00                                      l0 at +52
 * 2c 00 00 00                                      compacted at +44
 * 24 00 00 00                                      checkpoints at +36
 * 0c 00 00 00                                      sequence_tracker at +12
 * 00 00 00 00 00 00 00 80                          last_l0_clock_tick=-9223372036854775808
 * 0d 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00  length 13 sequence_tracker=01000000000000000000000000
 * 00
 * 00 00 00                                         padding
 * 00 00 00 00                                      checkpoints: 0 entries
 * 00 00 00 00                                      compacted: 0 entries
 * 00 00 00 00                                      l0: 0 entries
 * ```
 *
 * One table in level 0, by SlateDB 0.17, version 2:
 *
 * ```example slatedb-0.17.0/tiny db/manifest/00000000000000000003.manifest 0
 * 00 02                                            version=2
 * 30 00 00 00                                      root table at +48
 * 00 00 00 00 00 00                                padding
 * 26 00 50 00 00 00 00 00 07 00 20 00 00 00 28 00  vtable: 38 bytes, ManifestV2 of 80
 * 30 00 00 00 08 00 0c 00 10 00 38 00 14 00 40 00  fields at - - 7 32 - 40 48 - 8 12 16 56 20 64 72 24 28
 * 48 00 18 00 1c 00
 * 26 00 00 00                                      ManifestV2: vtable 38 bytes before
 * 00 00 00                                         padding
 * 01                                               initialized=true
 * c8 00 00 00                                      ssts at +200
 * 74 00 00 00                                      l0 at +116
 * 6c 00 00 00                                      compacted at +108
 * 60 00 00 00                                      checkpoints at +96
 * 38 00 00 00                                      sequence_tracker at +56
 * 5c 00 00 00                                      segments at +92
 * 01 00 00 00 00 00 00 00                          writer_epoch=1
 * 01 00 00 00 00 00 00 00                          replay_after_wal_id=1
 * 02 00 00 00 00 00 00 00                          wal_id_last_seen=2
 * c6 b0 43 fd a1 01 00 00                          last_l0_clock_tick=1795250434246
 * 03 00 00 00 00 00 00 00                          last_l0_seq=3
 * 03 00 00 00 00 00 00 00                          recent_snapshot_min_seq=3
 * 1d 00 00 00 01 01 00 00 00 00 00 00 01 00 00 00  sequence_tracker=010100000000000001000000000000000100000001000000006b015902
 * 00 00 00 00 01 00 00 00 01 00 00 00 00 6b 01 59
 * 02
 * 00 00 00                                         padding
 * 00 00 00 00                                      checkpoints: 0 entries
 * 00 00 00 00                                      segments: 0 entries
 * 00 00 00 00                                      compacted: 0 entries
 * 01 00 00 00 0c 00 00 00                          l0: 1 entries
 * 08 00 0c 00 04 00 08 00                          vtable: 8 bytes, CompactedSsTableView of 12, fields at 4 8
 * 08 00 00 00                                      CompactedSsTableView l0: vtable 8 bytes before
 * 10 00 00 00                                      id at +16
 * 24 00 00 00                                      sst_id at +36
 * 08 00 18 00 04 00 0c 00                          vtable: 8 bytes, Ulid of 24, fields at 4 12
 * 08 00 00 00                                      Ulid id: vtable 8 bytes before
 * ef f0 c6 b0 43 fd a1 01                          high=0x01a1fd43b0c6f0ef
 * a1 fd 71 1a d7 74 a5 d3                          low=0xd3a574d71a71fda1
 * 00 00 00 00                                      padding
 * 58 ff ff ff                                      Ulid sst_id: vtable 168 bytes after
 * ef f0 c6 b0 43 fd a1 01                          high=0x01a1fd43b0c6f0ef
 * a1 fd 71 1a d7 74 a5 d3                          low=0xd3a574d71a71fda1
 * 01 00 00 00 10 00 00 00                          ssts: 1 entries
 * 00 00                                            padding
 * 0a 00 12 00 08 00 0c 00 06 00                    vtable: 10 bytes, CompactedSsTableV2 of 18, fields at 8 12 6
 * 0a 00 00 00                                      CompactedSsTableV2 ssts: vtable 10 bytes before
 * 00 00                                            padding
 * 02 00                                            format_version=2
 * 80 00 00 00                                      id at +128
 * 20 00 00 00                                      info at +32
 * 00 00                                            padding
 * 1a 00 40 00 08 00 10 00 18 00 20 00 28 00 00 00  vtable: 26 bytes, SsTableInfo of 64
 * 00 00 0c 00 30 00 38 00 07 00                    fields at 8 16 24 32 40 - - 12 48 56 7
 * 1a 00 00 00                                      SsTableInfo info: vtable 26 bytes before
 * 00 00 00                                         padding
 * 01                                               filter_format=1
 * 40 00 00 00                                      first_entry at +64
 * 34 00 00 00                                      last_entry at +52
 * 77 00 00 00 00 00 00 00                          index_offset=119
 * 34 00 00 00 00 00 00 00                          index_len=52
 * 5e 00 00 00 00 00 00 00                          filter_offset=94
 * 19 00 00 00 00 00 00 00                          filter_len=25
 * ab 00 00 00 00 00 00 00                          stats_offset=171
 * 5c 00 00 00 00 00 00 00                          stats_len=92
 * 04 00 00 00 70 65 61 72                          length 4 last_entry="pear"
 * 05 00 00 00 61 70 70 6c 65                       length 5 first_entry="apple"
 * 00 00 00                                         padding
 * 08 00 14 00 04 00 0c 00                          vtable: 8 bytes, Ulid of 20, fields at 4 12
 * 08 00 00 00                                      Ulid id: vtable 8 bytes before
 * ef f0 c6 b0 43 fd a1 01                          high=0x01a1fd43b0c6f0ef
 * a1 fd 71 1a d7 74 a5 d3                          low=0xd3a574d71a71fda1
 * ```
 *
 * A decoded manifest is well-formed, not yet plausible: order of runs, references to objects and comparison with earlier
 * manifests are checked by its readers.
 */
import { assertThat } from '../common/assert.ts';
import { equalBytes } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import type { Ulid } from '../common/ulid.ts';
import {
  buildEmbeddedTables,
  buildRange,
  buildTableInfo,
  buildUlid,
  buildUlids,
  buildUuid,
  readEmbeddedTables,
  readTableRef,
  readUlid,
  readUlids,
  readUuid,
  readVisibleRange,
  requireUlid,
  requireUuid,
} from './flat-tables.ts';
import { FlatBuilder, FlatReader, type FlatRef } from './flatbuffer.ts';
import {
  type Checkpoint,
  type ExternalDb,
  type Manifest,
  type Segment,
  type SortedRun,
  type TableRef,
  type TableView,
  type Tree,
  tablesOf,
} from './manifest-types.ts';
import { bodyEnd, decodeHeaderVersion, VERSION_HEADER_BYTES } from './versioned-body.ts';

const V1_SLOTS = 16;
const V2_SLOTS = 18;
const RUN_SLOTS = 2;
const TABLE_V2_SLOTS = 3;
const VIEW_SLOTS = 3;
const SEGMENT_SLOTS = 4;
const EXTERNAL_DB_SLOTS = 4;
const CHECKPOINT_SLOTS = 7;
const WRITER_CHECKPOINT_SLOTS = 1;
const WRITER_CHECKPOINT = 1;

export interface DecodedManifest {
  manifest: Manifest;
  /** Length of header and FlatBuffer: where a seal begins. Bytes after it that are no seal are `BAD_SEAL`. */
  bodyBytes: number;
}

/**
 * Decodes a whole manifest object; a seal may follow the FlatBuffer and is not looked at. Throws damage (`TRUNCATED`,
 * `MALFORMED`, `MANIFEST_INCONSISTENT`) or `FORMAT_TOO_NEW`.
 */
export function decodeManifest(bytes: Uint8Array): DecodedManifest {
  const headerVersion = decodeHeaderVersion(bytes, 'manifest');
  const reader = new FlatReader(bytes, 'object', VERSION_HEADER_BYTES);
  const manifest = headerVersion === 1 ? decodeV1(reader) : decodeV2(reader);
  manifest.hasUnknownFields = reader.hasUnknownFields;
  return { manifest, bodyBytes: bodyEnd(reader) };
}

/** Header and FlatBuffer in the form that `headerVersion` says, without a seal. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const out = manifest.headerVersion === 1 ? encodeV1(manifest) : encodeV2(manifest);
  out[1] = manifest.headerVersion;
  return out;
}

/** Whether a manifest that decodes has exactly the bytes that SlateDB (and this program) would write for it. */
export function isCanonicalManifest(bytes: Uint8Array): boolean {
  const { manifest, bodyBytes } = decodeManifest(bytes);
  return equalBytes(encodeManifest(manifest), bytes.subarray(0, bodyBytes));
}

// ---- reading

/** The fields 0 to 6, alike in both versions. */
function decodeCommon(reader: FlatReader, root: number) {
  return {
    externalDbs: decodeExternalDbs(reader, reader.vector(root, 1, 4)),
    initialized: reader.bool(root, 2),
    writerEpoch: reader.u64(root, 3),
    compactorEpoch: reader.u64(root, 4),
    replayAfterWalId: reader.u64(root, 5),
    walIdLastSeen: reader.u64(root, 6),
    hasUnknownFields: false,
  };
}

/** Slot 0, the id, is 0 in all manifests: the name of the object has it. The other slots: see the drawing. */
function decodeV1(reader: FlatReader): Manifest {
  const root = reader.root(V1_SLOTS);
  const l0 = reader.requiredVector(root, 8, 4, 'l0');
  const runs = reader.requiredVector(root, 9, 4, 'compacted');
  return {
    headerVersion: 1,
    ...decodeCommon(reader, root),
    lastCompacted: readUlid(reader, root, 7),
    l0: decodeViewsV1(reader, l0),
    runs: decodeRuns(reader, runs, decodeViewsV1),
    lastL0ClockTick: reader.i64(root, 10),
    checkpoints: decodeCheckpoints(reader, reader.requiredVector(root, 11, 4, 'checkpoints')),
    lastL0Seq: reader.u64(root, 12),
    walStoreUri: reader.string(root, 13),
    recentSnapshotMinSeq: reader.u64(root, 14),
    sequenceTracker: reader.byteVector(root, 15),
    segments: undefined,
    segmentExtractorName: undefined,
    unviewedTables: [],
  };
}

/** The tables come first: views refer to them by id. Tables that no view names are kept, so that rewriting drops nothing. */
function decodeV2(reader: FlatReader): Manifest {
  const root = reader.root(V2_SLOTS);
  const tables = decodeTables(reader, reader.requiredVector(root, 8, 4, 'ssts'));
  const viewed = new Set<Ulid>();
  const decodeViews = (r: FlatReader, vector: number) => decodeViewsV2(r, vector, tables, viewed);
  const common = decodeCommon(reader, root);
  const tree = decodeTree(reader, root, 7, 9, decodeViews);
  const segments = decodeSegments(reader, reader.vector(root, 16, 4), decodeViews);
  return {
    headerVersion: 2,
    ...common,
    ...tree,
    lastL0ClockTick: reader.i64(root, 11),
    checkpoints: decodeCheckpoints(reader, reader.requiredVector(root, 12, 4, 'checkpoints')),
    lastL0Seq: reader.u64(root, 13),
    walStoreUri: undefined,
    recentSnapshotMinSeq: reader.u64(root, 14),
    sequenceTracker: reader.byteVector(root, 15),
    segments,
    segmentExtractorName: reader.string(root, 17),
    unviewedTables: [...tables.values()].filter((t) => !viewed.has(t.id)),
  };
}

type ViewsDecoder = (reader: FlatReader, vector: number) => TableView[];

/** The fields of a tree in version 2; the sorted runs follow `l0`. */
function decodeTree(
  reader: FlatReader,
  table: number,
  lastCompactedSlot: number,
  l0Slot: number,
  decodeViews: ViewsDecoder,
): Tree {
  return {
    lastCompacted: readUlid(reader, table, lastCompactedSlot),
    l0: decodeViews(reader, reader.requiredVector(table, l0Slot, 4, 'l0')),
    runs: decodeRuns(reader, reader.requiredVector(table, l0Slot + 1, 4, 'compacted'), decodeViews),
  };
}

function decodeSegments(reader: FlatReader, vector: number, decodeViews: ViewsDecoder): Segment[] | undefined {
  if (vector === 0) return undefined;
  const segments: Segment[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, SEGMENT_SLOTS);
    const prefix = reader.requiredByteVector(at, 0, 'prefix');
    segments.push({ prefix, ...decodeTree(reader, at, 1, 2, decodeViews) });
  }
  return segments;
}

/** Version 1 has no views: each entry is a table with a range, and stands for a view of the table's id. */
function decodeViewsV1(reader: FlatReader, vector: number): TableView[] {
  return readEmbeddedTables(reader, vector).map((e) => ({ viewId: e.table.id, ...e }));
}

/** `ssts` of version 2. An id that is listed twice could have two infos, of which nothing says which one is right. */
function decodeTables(reader: FlatReader, vector: number): Map<Ulid, TableRef> {
  const tables = new Map<Ulid, TableRef>();
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, TABLE_V2_SLOTS);
    const table = readTableRef(reader, at, 2);
    if (tables.has(table.id)) throw inconsistent(at, `Table ${table.id} is listed twice`);
    tables.set(table.id, table);
  }
  return tables;
}

function inconsistent(offset: number, message: string) {
  return damage('MANIFEST_INCONSISTENT', { unit: 'object', offset, length: 4 }, message);
}

/**
 * Views of one list. View ids are not compared: SlateDB before 0.18 lists two views of one table under one id, with disjoint
 * ranges, and that is read as it is (manifest-rules of `lsm` look at the ranges).
 */
function decodeViewsV2(
  reader: FlatReader,
  vector: number,
  tables: ReadonlyMap<Ulid, TableRef>,
  viewed: Set<Ulid>,
): TableView[] {
  const views: TableView[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, VIEW_SLOTS);
    const viewId = requireUlid(reader, at, 0, 'id');
    const tableId = requireUlid(reader, at, 1, 'sst_id');
    const table = tables.get(tableId);
    if (table === undefined) throw inconsistent(at, `View ${viewId} names the unknown table ${tableId}`);
    viewed.add(tableId);
    views.push({ viewId, table, visibleRange: readVisibleRange(reader, at, 2, table.info) });
  }
  return views;
}

/** Their order is the order of the data, newest first; ids are kept as they are. A run may be empty. */
function decodeRuns(reader: FlatReader, vector: number, decodeViews: ViewsDecoder): SortedRun[] {
  const runs: SortedRun[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, RUN_SLOTS);
    runs.push({ id: reader.u32(at, 0), views: decodeViews(reader, reader.requiredVector(at, 1, 4, 'ssts')) });
  }
  return runs;
}

function decodeExternalDbs(reader: FlatReader, vector: number): ExternalDb[] {
  const databases: ExternalDb[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, EXTERNAL_DB_SLOTS);
    const path = reader.string(at, 0);
    const tableIds = readUlids(reader, at, 3);
    if (path === undefined) throw reader.malformed(at, 'Required field path is absent');
    if (tableIds === undefined) throw reader.malformed(at, 'Required field sst_ids is absent');
    databases.push({
      path,
      sourceCheckpointId: requireUuid(reader, at, 1, 'source_checkpoint_id'),
      finalCheckpointId: readUuid(reader, at, 2),
      tableIds,
    });
  }
  return databases;
}

/** All of them, also those that have expired: only a collector removes them. */
function decodeCheckpoints(reader: FlatReader, vector: number): Checkpoint[] {
  const checkpoints: Checkpoint[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, CHECKPOINT_SLOTS);
    checkpoints.push({
      id: requireUuid(reader, at, 0, 'id'),
      manifestId: reader.u64(at, 1),
      expireTimeS: reader.u32(at, 2),
      createTimeS: reader.u32(at, 3),
      writerEpoch: decodeCheckpointEpoch(reader, at),
      name: reader.string(at, 6),
    });
  }
  return checkpoints;
}

/** The metadata union of a checkpoint. A kind that is not known counts as an unknown field. */
function decodeCheckpointEpoch(reader: FlatReader, checkpoint: number): number | undefined {
  const kind = reader.u8(checkpoint, 4);
  const isWriter = kind === WRITER_CHECKPOINT;
  const value = reader.table(checkpoint, 5, WRITER_CHECKPOINT_SLOTS);
  if ((kind === 0) !== (value === 0)) throw reader.malformed(checkpoint, 'The metadata of a checkpoint is incomplete');
  if (kind !== 0 && !isWriter) reader.hasUnknownFields = true;
  return isWriter ? reader.u64(value, 0) : undefined;
}

// ---- writing

/** Children in the order in which SlateDB creates them: l0, last compacted, runs, checkpoints, databases, uri, tracker. */
function encodeV1(m: Manifest): Uint8Array {
  assertThat(m.segments === undefined || m.segments.length === 0, 'a version 1 manifest has no segments');
  assertThat(m.segmentExtractorName === undefined, 'a version 1 manifest has no segment extractor');
  const builder = new FlatBuilder(capacityFor(m));
  const l0 = buildEmbeddedTables(builder, m.l0);
  const lastCompacted = buildOptionalUlid(builder, m.lastCompacted);
  const runs = buildRuns(builder, m.runs, buildEmbeddedTables);
  const checkpoints = buildCheckpoints(builder, m.checkpoints);
  const externalDbs = buildExternalDbs(builder, m.externalDbs);
  const uri = m.walStoreUri === undefined ? undefined : builder.string(m.walStoreUri);
  const tracker = m.sequenceTracker === undefined ? undefined : builder.byteVector(m.sequenceTracker);
  builder.startTable();
  addCommon(builder, m, externalDbs);
  builder.addRef(7, lastCompacted);
  builder.addRef(8, l0);
  builder.addRef(9, runs);
  builder.addI64(10, m.lastL0ClockTick);
  builder.addRef(11, checkpoints);
  builder.addU64(12, m.lastL0Seq);
  builder.addRef(13, uri);
  builder.addU64(14, m.recentSnapshotMinSeq);
  builder.addRef(15, tracker);
  return builder.finish(builder.endTable(), VERSION_HEADER_BYTES);
}

/** Children in the order in which SlateDB creates them. `segments` is stored as it was read: absent, empty or filled. */
function encodeV2(m: Manifest): Uint8Array {
  const builder = new FlatBuilder(capacityFor(m));
  const tables = builder.tableVector(allTables(m).map((table) => buildTableV2(builder, table)));
  const l0 = buildViews(builder, m.l0);
  const lastCompacted = buildOptionalUlid(builder, m.lastCompacted);
  const runs = buildRuns(builder, m.runs, buildViews);
  const segments = m.segments && builder.tableVector(m.segments.map((s) => buildSegment(builder, s)));
  const extractor = m.segmentExtractorName === undefined ? undefined : builder.string(m.segmentExtractorName);
  const checkpoints = buildCheckpoints(builder, m.checkpoints);
  const externalDbs = buildExternalDbs(builder, m.externalDbs);
  const tracker = m.sequenceTracker === undefined ? undefined : builder.byteVector(m.sequenceTracker);
  builder.startTable();
  addCommon(builder, m, externalDbs);
  builder.addRef(7, lastCompacted);
  builder.addRef(8, tables);
  builder.addRef(9, l0);
  builder.addRef(10, runs);
  builder.addI64(11, m.lastL0ClockTick);
  builder.addRef(12, checkpoints);
  builder.addU64(13, m.lastL0Seq);
  builder.addU64(14, m.recentSnapshotMinSeq);
  builder.addRef(15, tracker);
  builder.addRef(16, segments);
  builder.addRef(17, extractor);
  return builder.finish(builder.endTable(), VERSION_HEADER_BYTES);
}

function addCommon(builder: FlatBuilder, m: Manifest, externalDbs: FlatRef | undefined): void {
  builder.addRef(1, externalDbs);
  builder.addBool(2, m.initialized);
  builder.addU64(3, m.writerEpoch);
  builder.addU64(4, m.compactorEpoch);
  builder.addU64(5, m.replayAfterWalId);
  builder.addU64(6, m.walIdLastSeen);
}

/** A guess of the size that saves most of the growing. */
function capacityFor(m: Manifest): number {
  const runTables = m.runs.reduce((n, run) => n + run.views.length, 0);
  return 1024 + 192 * (m.l0.length + runTables);
}

/** Every table that a view or `unviewedTables` names, once, in the order of ids. */
function allTables(m: Manifest): TableRef[] {
  const tables = new Map<Ulid, TableRef>();
  const add = (table: TableRef) => {
    if (!tables.has(table.id)) tables.set(table.id, table);
  };
  tablesOf(m).forEach(add);
  m.unviewedTables.forEach(add);
  return [...tables.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

function buildOptionalUlid(builder: FlatBuilder, id: Ulid | undefined): FlatRef | undefined {
  return id === undefined ? undefined : buildUlid(builder, id);
}

function buildTableV2(builder: FlatBuilder, table: TableRef): FlatRef {
  const id = buildUlid(builder, table.id);
  const info = buildTableInfo(builder, table.info);
  builder.startTable();
  builder.addRef(0, id);
  builder.addRef(1, info);
  builder.addOptionalU16(2, table.formatVersion);
  return builder.endTable();
}

/** Children in SlateDB's order: id of the table, range, id of the view. */
function buildViews(builder: FlatBuilder, views: readonly TableView[]): FlatRef {
  return builder.tableVector(
    views.map(({ viewId, table, visibleRange }) => {
      const tableId = buildUlid(builder, table.id);
      const range = visibleRange === undefined ? undefined : buildRange(builder, visibleRange);
      const id = buildUlid(builder, viewId);
      builder.startTable();
      builder.addRef(0, id);
      builder.addRef(1, tableId);
      builder.addRef(2, range);
      return builder.endTable();
    }),
  );
}

function buildRuns(
  builder: FlatBuilder,
  runs: readonly SortedRun[],
  buildList: (builder: FlatBuilder, views: readonly TableView[]) => FlatRef,
): FlatRef {
  return builder.tableVector(
    runs.map((run) => {
      const views = buildList(builder, run.views);
      builder.startTable();
      builder.addU32(0, run.id);
      builder.addRef(1, views);
      return builder.endTable();
    }),
  );
}

function buildSegment(builder: FlatBuilder, segment: Segment): FlatRef {
  const prefix = builder.byteVector(segment.prefix);
  const l0 = buildViews(builder, segment.l0);
  const lastCompacted = buildOptionalUlid(builder, segment.lastCompacted);
  const runs = buildRuns(builder, segment.runs, buildViews);
  builder.startTable();
  builder.addRef(0, prefix);
  builder.addRef(1, lastCompacted);
  builder.addRef(2, l0);
  builder.addRef(3, runs);
  return builder.endTable();
}

/** Absent where there are none: SlateDB never stores an empty list here. */
function buildExternalDbs(builder: FlatBuilder, databases: readonly ExternalDb[]): FlatRef | undefined {
  if (databases.length === 0) return undefined;
  return builder.tableVector(
    databases.map((database) => {
      const path = builder.string(database.path);
      const source = buildUuid(builder, database.sourceCheckpointId);
      const final =
        database.finalCheckpointId === undefined ? undefined : buildUuid(builder, database.finalCheckpointId);
      const tableIds = buildUlids(builder, database.tableIds);
      builder.startTable();
      builder.addRef(0, path);
      builder.addRef(1, source);
      builder.addRef(2, final);
      builder.addRef(3, tableIds);
      return builder.endTable();
    }),
  );
}

function buildCheckpoints(builder: FlatBuilder, checkpoints: readonly Checkpoint[]): FlatRef {
  return builder.tableVector(
    checkpoints.map((checkpoint) => {
      const id = buildUuid(builder, checkpoint.id);
      const metadata =
        checkpoint.writerEpoch === undefined ? undefined : buildWriterCheckpoint(builder, checkpoint.writerEpoch);
      const name = checkpoint.name === undefined ? undefined : builder.string(checkpoint.name);
      builder.startTable();
      builder.addRef(0, id);
      builder.addU64(1, checkpoint.manifestId);
      builder.addU32(2, checkpoint.expireTimeS);
      builder.addU32(3, checkpoint.createTimeS);
      builder.addU8(4, metadata === undefined ? 0 : WRITER_CHECKPOINT);
      builder.addRef(5, metadata);
      builder.addRef(6, name);
      return builder.endTable();
    }),
  );
}

function buildWriterCheckpoint(builder: FlatBuilder, epoch: number): FlatRef {
  builder.startTable();
  builder.addU64(0, epoch);
  return builder.endTable();
}
