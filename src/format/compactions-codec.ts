/**
 * Compactions files: the jobs of a compactor, replaced as a whole like manifests. Reads and data never depend on them; SlateDB
 * needs them to resume jobs, and its collector deletes no table while there is none.
 *
 * ```
 * u16 BE header version, 1 or 2 | FlatBuffer | seal of ours                            versioned-body.ts
 * CompactionsV1              0 compactor_epoch u64   1 recent_compactions [Compaction]
 * Compaction                 0 id Ulid   1 2 spec union: 1 tiered, 2 drain   4 output_ssts [CompactedSsTable]   5 worker WorkerSpec
 *                            3 status u8: 0 submitted, 1 running, 2 completed, 3 failed, 4 compacted, 5 scheduled
 *                            6 7 ctx union: 1 TieredCompactionContext
 * TieredCompactionSpec       0 ssts, no longer used   1 sorted_runs [u32]   2 l0_view_ids [Ulid]   3 segment [u8]
 *                            4 destination u32, with header version 2; version 1 infers it from the sources
 * DrainSegmentSpec           0 segment [u8], not empty   1 l0_view_ids [Ulid]   2 sorted_runs [u32]
 * WorkerSpec                 0 worker_id string   1 last_heartbeat_ms u64
 * TieredCompactionContext    0 subcompactions [Subcompaction]   1 retention_min_seq u64
 * Subcompaction              0 range BytesRange   1 output_ssts [CompactedSsTable]   2 status u8: 0 in progress, 1 completed
 * ```
 *
 * A job of SlateDB 0.18 that was submitted: three level 0 views into run 0. Ids in vectors are built in order, so they are stored
 * in reverse.
 *
 * ```example slatedb-0.18.0/aligned-compacted db/compactions/00000000000000000004.compactions 0
 * 00 02                                            version=2
 * 10 00 00 00                                      root table at +16
 * 00 00 00 00                                      padding
 * 08 00 10 00 08 00 04 00                          vtable: 8 bytes, CompactionsV1 of 16, fields at 8 4
 * 08 00 00 00                                      CompactionsV1: vtable 8 bytes before
 * 0c 00 00 00                                      recent_compactions at +12
 * 01 00 00 00 00 00 00 00                          compactor_epoch=1
 * 01 00 00 00 14 00 00 00                          recent_compactions: 1 entries
 * 00 00                                            padding
 * 0e 00 14 00 08 00 07 00 0c 00 00 00 10 00        vtable: 14 bytes, Compaction of 20, fields at 8 7 12 - 16
 * 0e 00 00 00                                      Compaction recent_compactions: vtable 14 bytes before
 * 00 00 00                                         padding
 * 01                                               spec_type=1
 * 94 00 00 00                                      id at +148
 * 18 00 00 00                                      spec at +24
 * 04 00 00 00                                      output_ssts at +4
 * 00 00 00 00                                      output_ssts: 0 entries
 * 0c 00 0c 00 00 00 00 00 04 00 08 00              vtable: 12 bytes, TieredCompactionSpec of 12, fields at - - 4 8
 * 0c 00 00 00                                      TieredCompactionSpec spec: vtable 12 bytes before
 * 0c 00 00 00                                      l0_view_ids at +12
 * 04 00 00 00                                      segment at +4
 * 00 00 00 00                                      length 0 segment=""
 * 03 00 00 00 44 00 00 00 20 00 00 00 04 00 00 00  l0_view_ids: 3 entries
 * d0 ff ff ff                                      Ulid l0_view_ids[2]: vtable 48 bytes after
 * fd 13 ba 41 d7 26 a2 01                          high=0x01a226d741ba13fd
 * d5 f0 e4 3b 92 93 e1 14                          low=0x14e193923be4f0d5
 * 00 00 00 00                                      padding
 * e8 ff ff ff                                      Ulid l0_view_ids[1]: vtable 24 bytes after
 * 03 ba c1 41 d7 26 a2 01                          high=0x01a226d741c1ba03
 * f0 83 ba 4b 0e fc f7 e9                          low=0xe9f7fc0e4bba83f0
 * 00 00 00 00                                      padding
 * 08 00 18 00 04 00 0c 00                          vtable: 8 bytes, Ulid of 24, fields at 4 12
 * 08 00 00 00                                      Ulid l0_view_ids[0]: vtable 8 bytes before
 * a4 ae c7 41 d7 26 a2 01                          high=0x01a226d741c7aea4
 * 78 d9 f9 c8 c9 86 ad 71                          low=0x71ad86c9c8f9d978
 * 00 00 00 00                                      padding
 * 08 00 14 00 04 00 0c 00                          vtable: 8 bytes, Ulid of 20, fields at 4 12
 * 08 00 00 00                                      Ulid id: vtable 8 bytes before
 * 9e aa e0 41 d7 26 a2 01                          high=0x01a226d741e0aa9e
 * f5 fa 4e 41 b6 71 91 ae                          low=0xae9171b6414efaf5
 * ```
 *
 * Lossless: what was absent stays absent (`undefined`), what was an empty vector stays one, so that a file of SlateDB is
 * rewritten without changing jobs that are not ours.
 */
import { equalBytes } from '../common/bytes.ts';
import { IncompatibleError } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import {
  buildEmbeddedTables,
  buildRange,
  buildUlid,
  buildUlids,
  type EmbeddedTable,
  readEmbeddedTables,
  readUlids,
  requireRange,
  requireUlid,
} from './flat-tables.ts';
import { FlatBuilder, FlatReader, type FlatRef } from './flatbuffer.ts';
import type { BytesRange } from './manifest-types.ts';
import { bodyEnd, decodeHeaderVersion, VERSION_HEADER_BYTES } from './versioned-body.ts';

const ROOT_SLOTS = 2;
const JOB_SLOTS = 8;
const TIERED_SLOTS = 5;
const DRAIN_SLOTS = 3;
const WORKER_SLOTS = 2;
const CONTEXT_SLOTS = 2;
const SUBCOMPACTION_SLOTS = 3;
const TIERED_SPEC = 1;
const DRAIN_SPEC = 2;
const TIERED_CONTEXT = 1;

export type JobStatus = 'submitted' | 'running' | 'completed' | 'failed' | 'compacted' | 'scheduled';
const STATUSES: readonly JobStatus[] = ['submitted', 'running', 'completed', 'failed', 'compacted', 'scheduled'];

/** Merges views and whole sorted runs into one run. */
export interface TieredSpec {
  kind: 'tiered';
  /** Of a field that is no longer in use. */
  deprecatedTables: Ulid[] | undefined;
  l0ViewIds: Ulid[] | undefined;
  runs: number[] | undefined;
  /** Absent or empty: the root tree. */
  segment: Uint8Array | undefined;
  /** Id of the resulting run; header version 1 does not store it, there it is inferred from the sources. */
  destination: number;
}

/** Removes all data of a segment. */
export interface DrainSpec {
  kind: 'drain';
  segment: Uint8Array;
  l0ViewIds: Ulid[] | undefined;
  runs: number[] | undefined;
}

export type SubcompactionStatus = 'in-progress' | 'completed';
const SUBCOMPACTION_STATUSES: readonly SubcompactionStatus[] = ['in-progress', 'completed'];

/** A part of a job's keys with what is stored of it so far. */
export interface Subcompaction {
  range: BytesRange;
  outputs: EmbeddedTable[] | undefined;
  /**
   * Written by SlateDB from 0.18 on. Completed: every row of the range is in the outputs, also where there are none; it is not
   * run again. Releases before lose it when they rewrite the file; then the range is resumed after its last output.
   */
  status: SubcompactionStatus;
}

export interface CompactionJob {
  id: Ulid;
  spec: TieredSpec | DrainSpec;
  /** A stored status that is not known counts as `submitted`. */
  status: JobStatus;
  /** The stored number of an unknown status. */
  unknownStatus?: number;
  /** Tables that are complete so far. A note of progress; which tables a run has is only in the manifest. */
  outputs: EmbeddedTable[] | undefined;
  /** Who works on it, and when it was last heard of; SlateDB 0.14 and later. Kept as it is after the job has ended. */
  worker: { workerId: string | undefined; lastHeartbeatMs: number } | undefined;
  /** Parts of the job by key, and the version bound of its rows: what another worker needs to go on. */
  context: { subcompactions: Subcompaction[] | undefined; retentionMinSeq: number } | undefined;
}

export interface Compactions {
  headerVersion: 1 | 2;
  compactorEpoch: number;
  jobs: CompactionJob[];
  /** Whether there were fields this program does not know; such a file must not be rewritten. */
  hasUnknownFields: boolean;
}

export interface DecodedCompactions {
  compactions: Compactions;
  /** Length of header and FlatBuffer: where a seal begins. */
  bodyBytes: number;
}

/**
 * Decodes a whole compactions file; a seal may follow and is not looked at. Throws damage `TRUNCATED` or `MALFORMED`,
 * `FORMAT_TOO_NEW` for an unknown header version, kind of job or status of a part of a job.
 */
export function decodeCompactions(bytes: Uint8Array): DecodedCompactions {
  const headerVersion = decodeHeaderVersion(bytes, 'compactions file');
  const reader = new FlatReader(bytes, 'object', VERSION_HEADER_BYTES);
  const root = reader.root(ROOT_SLOTS);
  const vector = reader.requiredVector(root, 1, 4, 'recent_compactions');
  const jobs: CompactionJob[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    jobs.push(decodeJob(reader, reader.element(vector, i, JOB_SLOTS), headerVersion));
  }
  const compactorEpoch = reader.u64(root, 0);
  const bodyBytes = bodyEnd(reader);
  return { compactions: { headerVersion, compactorEpoch, jobs, hasUnknownFields: reader.hasUnknownFields }, bodyBytes };
}

/** Header and FlatBuffer in the form that `headerVersion` says, without a seal. Version 1 loses destinations. */
export function encodeCompactions(compactions: Compactions): Uint8Array {
  const builder = new FlatBuilder();
  const jobs = builder.tableVector(compactions.jobs.map((job) => buildJob(builder, job, compactions.headerVersion)));
  builder.startTable();
  builder.addU64(0, compactions.compactorEpoch);
  builder.addRef(1, jobs);
  const out = builder.finish(builder.endTable(), VERSION_HEADER_BYTES);
  out[1] = compactions.headerVersion;
  return out;
}

/** Whether a file that decodes has exactly the bytes that SlateDB (and this program) would write for it. */
export function isCanonicalCompactions(bytes: Uint8Array): boolean {
  const { compactions, bodyBytes } = decodeCompactions(bytes);
  return equalBytes(encodeCompactions(compactions), bytes.subarray(0, bodyBytes));
}

// ---- reading

/** One job. A status that is not known is kept as a number: a job is only resumed by who knows what it means. */
function decodeJob(reader: FlatReader, job: number, headerVersion: 1 | 2): CompactionJob {
  const id = requireUlid(reader, job, 0, 'id');
  const spec = decodeSpec(reader, job, headerVersion);
  const status = reader.u8(job, 3);
  return {
    id,
    spec,
    status: STATUSES[status] ?? 'submitted',
    ...(status >= STATUSES.length && { unknownStatus: status }),
    outputs: decodeTables(reader, job, 4),
    worker: decodeWorker(reader, reader.table(job, 5, WORKER_SLOTS)),
    context: decodeContext(reader, job),
  };
}

function decodeTables(reader: FlatReader, table: number, slot: number): EmbeddedTable[] | undefined {
  const vector = reader.vector(table, slot, 4);
  return vector === 0 ? undefined : readEmbeddedTables(reader, vector);
}

function decodeSpec(reader: FlatReader, job: number, headerVersion: 1 | 2): TieredSpec | DrainSpec {
  const kind = reader.u8(job, 1);
  if (kind === 0) throw reader.malformed(job, 'A compaction has no specification');
  if (kind !== TIERED_SPEC && kind !== DRAIN_SPEC) {
    throw new IncompatibleError('FORMAT_TOO_NEW', `Unknown kind of compaction ${kind}`, { details: { offset: job } });
  }
  const spec = reader.requiredTable(job, 2, kind === TIERED_SPEC ? TIERED_SLOTS : DRAIN_SLOTS, 'spec');
  if (kind === DRAIN_SPEC) {
    const segment = reader.requiredByteVector(spec, 0, 'segment');
    if (segment.length === 0) throw reader.malformed(spec, 'A job drains a segment without a prefix');
    return { kind: 'drain', segment, l0ViewIds: readUlids(reader, spec, 1), runs: decodeRunIds(reader, spec, 2) };
  }
  const runs = decodeRunIds(reader, spec, 1);
  return {
    kind: 'tiered',
    deprecatedTables: readUlids(reader, spec, 0),
    l0ViewIds: readUlids(reader, spec, 2),
    runs,
    segment: reader.byteVector(spec, 3),
    destination: headerVersion === 1 ? inferDestination(runs ?? []) : reader.u32(spec, 4),
  };
}

/** SlateDB's rule for header version 1: the lowest sorted run among the sources, or 0. */
function inferDestination(runs: readonly number[]): number {
  return runs.reduce((least, run) => Math.min(least, run), runs[0] ?? 0);
}

/** Absent where a job has no runs among its sources; an empty vector is kept as one. */
function decodeRunIds(reader: FlatReader, table: number, slot: number): number[] | undefined {
  const vector = reader.vector(table, slot, 4);
  if (vector === 0) return undefined;
  const ids: number[] = [];
  for (let i = 0; i < reader.count(vector); i++) ids.push(reader.elementU32(vector, i));
  return ids;
}

function decodeWorker(reader: FlatReader, worker: number): CompactionJob['worker'] {
  if (worker === 0) return undefined;
  return { workerId: reader.string(worker, 0), lastHeartbeatMs: reader.u64(worker, 1) };
}

/** The context union of a job. A kind that is not known counts as an unknown field. */
function decodeContext(reader: FlatReader, job: number): CompactionJob['context'] {
  const kind = reader.u8(job, 6);
  const context = reader.table(job, 7, CONTEXT_SLOTS);
  if ((kind === 0) !== (context === 0)) throw reader.malformed(job, 'The context of a compaction is incomplete');
  if (kind === 0) return undefined;
  if (kind !== TIERED_CONTEXT) {
    reader.hasUnknownFields = true;
    return undefined;
  }
  const vector = reader.vector(context, 0, 4);
  return {
    subcompactions: vector === 0 ? undefined : decodeSubcompactions(reader, vector),
    retentionMinSeq: reader.u64(context, 1),
  };
}

function decodeSubcompactions(reader: FlatReader, vector: number): Subcompaction[] {
  const subcompactions: Subcompaction[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, SUBCOMPACTION_SLOTS);
    const range = requireRange(reader, at, 0, 'range');
    const outputs = decodeTables(reader, at, 1);
    subcompactions.push({ range, outputs, status: decodeSubcompactionStatus(reader, at) });
  }
  return subcompactions;
}

/** Unlike the status of a job, an unknown one has no number to fall back to: it decides whether a range is run again. */
function decodeSubcompactionStatus(reader: FlatReader, at: number): SubcompactionStatus {
  const status = reader.u8(at, 2);
  const known = SUBCOMPACTION_STATUSES[status];
  if (known !== undefined) return known;
  throw new IncompatibleError('FORMAT_TOO_NEW', `Unknown status ${status} of a part of a compaction`, {
    details: { offset: at },
  });
}

// ---- writing

/** Children in SlateDB's order: id, spec, worker, context, outputs. */
function buildJob(builder: FlatBuilder, job: CompactionJob, headerVersion: 1 | 2): FlatRef {
  const id = buildUlid(builder, job.id);
  const spec =
    job.spec.kind === 'tiered' ? buildTiered(builder, job.spec, headerVersion) : buildDrain(builder, job.spec);
  const worker = job.worker && buildWorker(builder, job.worker);
  const context = job.context && buildContext(builder, job.context);
  const outputs = job.outputs && buildEmbeddedTables(builder, job.outputs);
  builder.startTable();
  builder.addRef(0, id);
  builder.addU8(1, job.spec.kind === 'tiered' ? TIERED_SPEC : DRAIN_SPEC);
  builder.addRef(2, spec);
  builder.addU8(3, job.unknownStatus ?? STATUSES.indexOf(job.status));
  builder.addRef(4, outputs);
  builder.addRef(5, worker);
  builder.addU8(6, context === undefined ? 0 : TIERED_CONTEXT);
  builder.addRef(7, context);
  return builder.endTable();
}

/** The destination is stored with header version 2 only; `segment` also where it is empty, as SlateDB 0.13 and later do. */
function buildTiered(builder: FlatBuilder, spec: TieredSpec, headerVersion: 1 | 2): FlatRef {
  const tables = spec.deprecatedTables && buildUlids(builder, spec.deprecatedTables);
  const views = spec.l0ViewIds && buildUlids(builder, spec.l0ViewIds);
  const runs = spec.runs && builder.u32Vector(spec.runs);
  const segment = spec.segment && builder.byteVector(spec.segment);
  builder.startTable();
  builder.addRef(0, tables);
  builder.addRef(1, runs);
  builder.addRef(2, views);
  builder.addRef(3, segment);
  if (headerVersion === 2) builder.addU32(4, spec.destination);
  return builder.endTable();
}

function buildDrain(builder: FlatBuilder, spec: DrainSpec): FlatRef {
  const segment = builder.byteVector(spec.segment);
  const views = spec.l0ViewIds && buildUlids(builder, spec.l0ViewIds);
  const runs = spec.runs && builder.u32Vector(spec.runs);
  builder.startTable();
  builder.addRef(0, segment);
  builder.addRef(1, views);
  builder.addRef(2, runs);
  return builder.endTable();
}

function buildWorker(builder: FlatBuilder, worker: NonNullable<CompactionJob['worker']>): FlatRef {
  const id = worker.workerId === undefined ? undefined : builder.string(worker.workerId);
  builder.startTable();
  builder.addRef(0, id);
  builder.addU64(1, worker.lastHeartbeatMs);
  return builder.endTable();
}

function buildContext(builder: FlatBuilder, context: NonNullable<CompactionJob['context']>): FlatRef {
  const subcompactions = context.subcompactions?.map((sub) => {
    const range = buildRange(builder, sub.range);
    const outputs = sub.outputs && buildEmbeddedTables(builder, sub.outputs);
    builder.startTable();
    builder.addRef(0, range);
    builder.addRef(1, outputs);
    builder.addU8(2, SUBCOMPACTION_STATUSES.indexOf(sub.status));
    return builder.endTable();
  });
  const vector = subcompactions && builder.tableVector(subcompactions);
  builder.startTable();
  builder.addRef(0, vector);
  builder.addU64(1, context.retentionMinSeq);
  return builder.endTable();
}
