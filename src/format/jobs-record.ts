/**
 * Record 8 of a seal, in compactions files: the jobs on which the author of the file works itself. A file of version 1 cannot show some
 * of them (compaction/job-list.ts); whichever process claims the database next knows by the record which jobs were interrupted, and a
 * collector which tables they have stored. SlateDB ignores the record, and drops it when it writes the file. All integers big-endian.
 *
 * ```
 * jobs     u32 n | n x job
 * job      16 id, ULID | u32 length, prefix of the segment; 0: the root tree | u32 destination run | u8 flags: 1 bottom |
 *          u64 retention seq | i64 tick, ms; -2^63: none | 16 digest of the sources |
 *          u32 n, n x 16 views of level 0 | u32 n, n x u32 runs | u32 n, n x part
 * part     bound | bound | u8 status: 0 in progress, 1 completed | u32 n | n x (16 table, ULID | u64 its bytes)
 * bound    u8 kind: 0 unbounded, 1 included, 2 excluded | the last two: u32 length, key
 * ```
 *
 * A job of one table of level 0 and run 5 into run 5, whose keys below "m" are in one table so far:
 *
 * ```example
 * 00 00 00 01                                      jobs=1
 * 01 a1 ee 56 5e 01 00 00 00 00 00 00 00 00 00 01  id=01M7Q5CQG10000000000000001
 * 00 00 00 00                                      the root tree
 * 00 00 00 05                                      destination=5
 * 01                                               bottom=true
 * 00 00 00 00 00 00 00 2a                          retention_seq=42
 * 00 00 01 a1 f8 60 3b 50                          tick_ms=1795168418640
 * f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff  sources_digest=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
 * 00 00 00 01                                      views=1
 * 01 a1 ee 56 5e 01 00 00 00 00 00 00 00 00 00 02  view=01M7Q5CQG10000000000000002
 * 00 00 00 01 00 00 00 05                          runs=1 run=5
 * 00 00 00 01                                      parts=1
 * 00                                               start_kind=0: unbounded
 * 02 00 00 00 01 6d                                end_kind=2 key="m"
 * 00                                               completed=false
 * 00 00 00 01                                      outputs=1
 * 01 a1 ee 56 5e 01 00 00 00 00 00 00 00 00 00 03  table=01M7Q5CQG10000000000000003
 * 00 00 00 00 00 00 10 00                          bytes=4096
 * ```
 *
 * The sources are named by ids, which a later manifest may use for others: the digest shows whether they are the same.
 */
import { createHash } from 'node:crypto';
import { concatBytes, EMPTY_BYTES } from '../common/bytes.ts';
import { type Ulid, ulidToBytes } from '../common/ulid.ts';
import type { Bound, BytesRange, TableView } from './manifest-types.ts';
import { type SealReader, SealWriter } from './seal-bytes.ts';

const SOURCES_DIGEST_BYTES = 16;
const BOTTOM_FLAG = 1;
const BOUNDS = ['unbounded', 'included', 'excluded'] as const;
const STATUSES = ['in-progress', 'completed'] as const;
/** The least that an item of a list takes. */
const MIN_JOB_BYTES = 16 + 4 + 4 + 1 + 8 + 8 + SOURCES_DIGEST_BYTES + 3 * 4;
const MIN_PART_RECORD_BYTES = 2 + 1 + 4;
const OUTPUT_BYTES = 16 + 8;

export interface JobsRecord {
  jobs: readonly RunningJob[];
}

/** A job on which the author of a compactions file works. */
export interface RunningJob {
  id: Ulid;
  /** Empty: the root tree. */
  segment: Uint8Array;
  destination: number;
  /** No source of its tree is older than the destination, so tombstones go. */
  isBottom: boolean;
  /** The barrier of its rows. */
  retentionMinSeq: number;
  /** What expires at or before has expired; `-Infinity`: nothing has. */
  tickMs: number;
  /** `digestOfSources`, 16 bytes. */
  sourcesDigest: Uint8Array;
  l0ViewIds: readonly Ulid[];
  runs: readonly number[];
  parts: readonly RunningPart[];
}

/** A part of a job's keys, and what is stored of it so far. */
export interface RunningPart {
  range: BytesRange;
  status: (typeof STATUSES)[number];
  outputs: readonly { tableId: Ulid; bytes: number }[];
}

/** First 16 bytes of the SHA-256 over view id, table id and visible range of each view, source by source, newest first. */
export function digestOfSources(sources: readonly (readonly TableView[])[]): Uint8Array {
  const w = new SealWriter();
  for (const views of sources) {
    w.u32(views.length);
    for (const { viewId, table, visibleRange } of views) {
      w.bytes(concatBytes(ulidToBytes(viewId), ulidToBytes(table.id)));
      w.u8(visibleRange === undefined ? 0 : 1);
      if (visibleRange !== undefined) writeRange(w, visibleRange);
    }
  }
  const digest = createHash('sha256').update(w.finish()).digest();
  return new Uint8Array(digest.subarray(0, SOURCES_DIGEST_BYTES));
}

// ---- writing

export function writeJobs(w: SealWriter, { jobs }: JobsRecord): void {
  w.u32(jobs.length);
  for (const job of jobs) writeJob(w, job);
}

function writeJob(w: SealWriter, job: RunningJob): void {
  w.bytes(ulidToBytes(job.id));
  writeText(w, job.segment);
  w.u32(job.destination);
  w.u8(job.isBottom ? BOTTOM_FLAG : 0);
  w.u64(job.retentionMinSeq);
  w.i64(job.tickMs);
  w.fixed(job.sourcesDigest, SOURCES_DIGEST_BYTES);
  w.u32(job.l0ViewIds.length);
  for (const id of job.l0ViewIds) w.bytes(ulidToBytes(id));
  w.u32(job.runs.length);
  for (const id of job.runs) w.u32(id);
  w.u32(job.parts.length);
  for (const { range, status, outputs } of job.parts) {
    writeRange(w, range);
    w.u8(STATUSES.indexOf(status));
    w.u32(outputs.length);
    for (const { tableId, bytes } of outputs) {
      w.bytes(ulidToBytes(tableId));
      w.u64(bytes);
    }
  }
}

function writeRange(w: SealWriter, { start, end }: BytesRange): void {
  for (const bound of [start, end]) {
    w.u8(BOUNDS.indexOf(bound.kind));
    if (bound.kind !== 'unbounded') writeText(w, bound.key);
  }
}

function writeText(w: SealWriter, bytes: Uint8Array): void {
  w.u32(bytes.length);
  w.bytes(bytes);
}

// ---- reading

/** Throws `BAD_SEAL`. */
export function readJobs(r: SealReader): JobsRecord {
  return { jobs: readList(r, MIN_JOB_BYTES, () => readJob(r)) };
}

function readJob(r: SealReader): RunningJob {
  return {
    id: r.ulid(),
    segment: readText(r),
    destination: r.u32(),
    isBottom: (r.u8() & BOTTOM_FLAG) !== 0,
    retentionMinSeq: r.u64(),
    tickMs: readTick(r),
    sourcesDigest: r.bytes(SOURCES_DIGEST_BYTES),
    l0ViewIds: readList(r, 16, () => r.ulid()),
    runs: readList(r, 4, () => r.u32()),
    parts: readList(r, MIN_PART_RECORD_BYTES, () => ({
      range: { start: readBound(r), end: readBound(r) },
      status: r.choice(STATUSES, 'status of a part of a job'),
      outputs: readList(r, OUTPUT_BYTES, () => ({ tableId: r.ulid(), bytes: r.u64() })),
    })),
  };
}

function readTick(r: SealReader): number {
  const tickMs = r.i64();
  return tickMs === -(2 ** 63) ? Number.NEGATIVE_INFINITY : tickMs;
}

function readBound(r: SealReader): Bound {
  const kind = r.choice(BOUNDS, 'kind of bound');
  return kind === 'unbounded' ? { kind } : { kind, key: readText(r) };
}

function readText(r: SealReader): Uint8Array {
  const length = r.u32();
  return length === 0 ? EMPTY_BYTES : r.bytes(length);
}

/** A list with its count before it; a count that the record cannot hold allocates nothing. */
function readList<T>(r: SealReader, minBytes: number, read: () => T): T[] {
  const count = r.u32();
  if (count * minBytes > r.remaining) throw r.bad('The record of jobs is too short');
  return Array.from({ length: count }, read);
}
