/**
 * The records of a seal: what each says and its bytes. All integers big-endian.
 *
 * ```
 * 1 identity, 80   16 database id | 16 object id | 16 put id, ULID | u64 epoch | u8 role | u8 format version | u8 codec | u8 0 |
 *                  i64 written at, ms | u64 newest manifest id | u8 0 | u8 x 3 software version
 * 2 wal, 41        u8 kind of predecessor | 16 digest of it | u64 first seq | u64 last seq | u32 rows | u32 batches
 * 3 lineage        u8 level 0 | u64 min seq | u64 max seq | i64 greatest create_ts | u64 rows | u64 replay point
 *                  u8 level 1 | the same four | 16 compaction | u32 run | u32 ordinal | u8 flags | u32 n | n x 16 inputs
 * 4 rows           u8 rows per check | u8 algorithm = 1 | u32 blocks | per block: varint stored bytes | varint rows |
 *                  its checks, u32 xxHash32 each; in WAL objects each after a pair of (distance of its seq, continues its batch)
 * 5 manifest, 69   u64 previous id | 16 its digest | u32 xxHash32 of the body | u64 wal tail | u64 its seq | 16 its digest |
 *                  u64 ledger version | u8 flags: 1 clean close, 2 by a repair
 * 6 repair         16 repair id | u32 n | n x (16 from | 16 to, zeros: dropped)
 * 7 owner          host:pid, UTF-8, at most 128 bytes
 * 8 jobs           jobs-record.ts
 * 9 expiry         u8 n <= 16 | n x (i64 time, ms | u64 bytes), see expiry-buckets.ts
 * ```
 *
 * The rows record of a WAL object with one block of three rows, of which the last two are one batch (hashes made up):
 *
 * ```example
 * 01                                  rows_per_check=1
 * 01                                  xxHash32
 * 00 00 00 01                         blocks=1
 * 5e                                  stored_bytes=94
 * 03                                  rows=3
 * 52                                  pair of (41, 0): first_seq=41 continues=0
 * 11 11 11 11                         check=0x11111111
 * 02                                  pair of (1, 0): first_seq=42 continues=0
 * 22 22 22 22                         check=0x22222222
 * 01                                  pair of (0, 1): first_seq=42 continues=1
 * 33 33 33 33                         check=0x33333333
 * ```
 *
 * The manifest record of manifest 5, whose writer closed it in order:
 *
 * ```example
 * 00 00 00 00 00 00 00 04                          previous_manifest_id=4
 * f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff  previous_digest=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
 * 0a 0b 0c 0d                                      body_hash=0x0a0b0c0d: at 24, where `hashOfBody` reads it
 * 00 00 00 00 00 00 00 07                          wal_tail=7
 * 00 00 00 00 00 00 00 2a                          wal_tail_seq=42
 * e0 e1 e2 e3 e4 e5 e6 e7 e8 e9 ea eb ec ed ee ef  wal_tail_digest=e0e1e2e3e4e5e6e7e8e9eaebecedeeef
 * 00 00 00 00 00 00 00 00                          ledger_version=0
 * 01                                               clean_close=true
 * ```
 *
 * 1. Records of a known tag have exactly the length stated here; new facts get new tags, so this never changes.
 * 2. A record that does not fit is `BAD_SEAL`: it takes proofs away, it never makes data unreadable.
 * 3. No array is allocated by a count alone: each is bounded by the bytes that are left of the record.
 */
import { assertThat, present } from '../common/assert.ts';
import type { Steps } from '../common/async.ts';
import { EMPTY_BYTES, TWO_POW_32 } from '../common/bytes.ts';
import { type Ulid, ulidFromBytes, ulidToBytes } from '../common/ulid.ts';
import type { ExpiryRecord } from './expiry-buckets.ts';
import type { JobsRecord } from './jobs-record.ts';
import type { RowsPerCheck } from './row-checks.ts';
import type { SealReader, SealWriter } from './seal-bytes.ts';
import { CODECS, type Codec } from './table-info.ts';

/** Bytes of a digest: the first half of a SHA-256. */
export const DIGEST_BYTES = 16;
const ZERO_16 = new Uint8Array(16);
const MAX_OWNER_BYTES = 128;

export type AuthorRole = 'none' | 'writer' | 'compactor' | 'tool' | 'reader' | 'collector';
const ROLES: readonly AuthorRole[] = ['none', 'writer', 'compactor', 'tool', 'reader', 'collector'];

/** Record 1, in every seal: which object of which database this is and who wrote it when. */
export interface IdentityRecord {
  /** 16 random bytes. */
  databaseId: Uint8Array;
  /** 16 bytes: a table's ULID, else `numberObjectId` of the id. */
  objectId: Uint8Array;
  /** The same as in the metadata of the PUT. */
  putId: Ulid;
  /** Epoch of the author: writer or compactor epoch, else 0. */
  epoch: number;
  role: AuthorRole;
  /** Of the footer; 0 in manifests and compactions files. */
  formatVersion: 0 | 1 | 2;
  codec: Codec;
  writtenAtMs: number;
  /** Newest manifest id the author knew; in a manifest its own id. */
  newestManifestId: number;
  software: readonly [major: number, minor: number, patch: number];
}

/** Record 2, in WAL objects and fences: the link to the object before and what this one holds. */
export interface WalRecord {
  /** `seal`: the predecessor has one; `object`: it has none, so it was digested whole; `unknown`: it was not read. */
  predecessorKind: 'unknown' | 'seal' | 'object';
  /** 16 bytes; of the predecessor's seal or of the whole predecessor; zeros if unknown. */
  predecessorDigest: Uint8Array;
  firstSeq: number;
  /**
   * Never below `firstSeq`, nor below the `lastSeq` of the predecessor. In a fence both are the greatest sequence number before
   * it, 0 if there is none.
   */
  lastSeq: number;
  rows: number;
  batches: number;
}

/** Record 3, in tables: where the rows come from. */
export type LineageRecord = LevelZeroLineage | RunLineage;

interface LineageFacts {
  minSeq: number;
  maxSeq: number;
  /** Greatest create_ts in ms; `-Infinity` if no row has one. */
  maxCreateTs: number;
  rows: number;
}

export interface LevelZeroLineage extends LineageFacts {
  level: 'l0';
  /** The replay point that the manifest gets together with this table. */
  replayAfterWalId: number;
}

export interface RunLineage extends LineageFacts {
  level: 'run';
  compactionId: Ulid;
  destinationRun: number;
  /** Position of this table among the outputs. */
  ordinal: number;
  isLastOutput: boolean;
  /** Whether tombstones were dropped. */
  isBottom: boolean;
  inputs: readonly Ulid[];
}

/**
 * Record 4, in tables and WAL data: the table of blocks and a hash of every group of rows. Arrays over blocks have one entry
 * per data block, arrays over checks one per check, all blocks in order: `ceil(rows / rowsPerCheck)` of them in a block,
 * none if `rowsPerCheck` is 0.
 */
export interface RowsRecord {
  rowsPerCheck: RowsPerCheck;
  /** Stored bytes of each block, checksum included. */
  blockStoredBytes: ArrayLike<number>;
  blockRows: ArrayLike<number>;
  /** xxHash32 per check. */
  checks: Uint32Array;
  /** WAL data only: sequence number of the first row of each check. Never descends. */
  firstSeqs?: Float64Array;
  /** WAL data only: 1 where that row continues the batch of the row before it. */
  continuations?: Uint8Array;
  /** The same as `RowsWriter` writes it, where that was done already. */
  encoded?: Uint8Array;
}

/** Record 5, in manifests. */
export interface ManifestRecord {
  previousManifestId: number;
  /** 16 bytes, of the whole previous manifest, seal included; zeros if there is none. */
  previousDigest: Uint8Array;
  /** xxHash32 of all bytes before the seal. */
  bodyHash: number;
  /** Last WAL object that was known to be durable; zeros if unknown. */
  walTail: { id: number; lastSeq: number; digest: Uint8Array };
  ledgerVersion: number;
  isCleanClose: boolean;
  isRepair: boolean;
}

/** Record 6, in what a repair wrote: which tables replace which. */
export interface RepairRecord {
  /** 16 bytes. */
  repairId: Uint8Array;
  /** `to` is absent for a table that was dropped. */
  pairs: readonly { from: Ulid; to: Ulid | undefined }[];
}

/** Record 7, in fences and in manifests that claim an epoch. */
export interface OwnerRecord {
  /** `host:pid`; longer texts are cut to 128 bytes. */
  hostPid: string;
}

export interface SealRecords {
  identity: IdentityRecord;
  wal?: WalRecord;
  lineage?: LineageRecord;
  rows?: RowsRecord;
  manifest?: ManifestRecord;
  repair?: RepairRecord;
  owner?: OwnerRecord;
  jobs?: JobsRecord;
  expiry?: ExpiryRecord;
}

export const TAG = {
  identity: 1,
  wal: 2,
  lineage: 3,
  rows: 4,
  manifest: 5,
  repair: 6,
  owner: 7,
  jobs: 8,
  expiry: 9,
} as const;

/** The object id of a WAL object, manifest or compactions file. */
export function numberObjectId(id: number): Uint8Array {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setUint32(8, Math.floor(id / TWO_POW_32));
  view.setUint32(12, id % TWO_POW_32);
  return out;
}

/** The object id of a table. */
export function tableObjectId(id: Ulid): Uint8Array {
  return ulidToBytes(id);
}

/** Number of checks of a block. */
export function checksOfBlock(rows: number, rowsPerCheck: RowsPerCheck): number {
  return rowsPerCheck === 0 ? 0 : Math.ceil(rows / rowsPerCheck);
}

/** Index of the first check of each block, and as last entry the number of all checks. */
export function checkStarts(record: RowsRecord): Uint32Array {
  const starts = new Uint32Array(record.blockRows.length + 1);
  for (let i = 0; i < record.blockRows.length; i++) {
    starts[i + 1] = starts[i] + checksOfBlock(record.blockRows[i], record.rowsPerCheck);
  }
  return starts;
}

// ---- writing

/** 80 bytes. Fields are fixed forever: seals of other places (`hashOfBody`) count on where they are. */
export function writeIdentity(w: SealWriter, r: IdentityRecord): void {
  w.fixed(r.databaseId, 16);
  w.fixed(r.objectId, 16);
  w.bytes(ulidToBytes(r.putId));
  w.u64(r.epoch);
  w.u8(ROLES.indexOf(r.role));
  w.u8(r.formatVersion);
  w.u8(CODECS.indexOf(r.codec));
  w.u8(0);
  w.i64(r.writtenAtMs);
  w.u64(r.newestManifestId);
  w.u8(0);
  for (const part of r.software) w.u8(part);
}

const PREDECESSOR_KINDS = ['unknown', 'seal', 'object'] as const;

/** 41 bytes. */
export function writeWal(w: SealWriter, r: WalRecord): void {
  w.u8(PREDECESSOR_KINDS.indexOf(r.predecessorKind));
  w.fixed(r.predecessorDigest, DIGEST_BYTES);
  w.u64(r.firstSeq);
  w.u64(r.lastSeq);
  w.u32(r.rows);
  w.u32(r.batches);
}

const LAST_OUTPUT = 1;
const BOTTOM = 2;

/** 41 bytes of level 0; of a run 62 and 16 for each input. */
export function writeLineage(w: SealWriter, r: LineageRecord): void {
  w.u8(r.level === 'l0' ? 0 : 1);
  w.u64(r.minSeq);
  w.u64(r.maxSeq);
  w.i64(r.maxCreateTs);
  w.u64(r.rows);
  if (r.level === 'l0') {
    w.u64(r.replayAfterWalId);
    return;
  }
  w.bytes(ulidToBytes(r.compactionId));
  w.u32(r.destinationRun);
  w.u32(r.ordinal);
  w.u8((r.isLastOutput ? LAST_OUTPUT : 0) | (r.isBottom ? BOTTOM : 0));
  w.u32(r.inputs.length);
  for (const input of r.inputs) w.bytes(ulidToBytes(input));
}

const XX_HASH_32 = 1;

/** Writes a rows record in bounded steps: that of a large object has a check for every few of its rows. */
export class RowsWriter {
  readonly #writer: SealWriter;
  readonly #record: RowsRecord;
  readonly #isWal: boolean;
  #block = 0;
  #check = 0;
  #seq = 0;

  /** `isWal`: whether sequence numbers are part of the record. */
  constructor(w: SealWriter, r: RowsRecord, isWal: boolean) {
    this.#writer = w;
    this.#record = r;
    this.#isWal = isWal;
    const { rowsPerCheck, blockStoredBytes, blockRows, checks, firstSeqs, continuations } = r;
    assertThat(blockStoredBytes.length === blockRows.length, 'the rows record has one length per block');
    if (isWal && rowsPerCheck > 0) {
      const complete = firstSeqs?.length === checks.length && continuations?.length === checks.length;
      assertThat(complete, 'the rows record of a WAL object has one sequence number per check');
    }
    w.u8(rowsPerCheck);
    w.u8(XX_HASH_32);
    w.u32(blockRows.length);
  }

  /** Writes about `limit` checks; true when the record is complete. */
  step(limit: number): boolean {
    const w = this.#writer;
    const { rowsPerCheck, blockStoredBytes, blockRows, checks, firstSeqs, continuations } = this.#record;
    const stop = this.#check + limit;
    while (this.#block < blockRows.length && this.#check < stop) {
      const rows = blockRows[this.#block];
      w.varint(blockStoredBytes[this.#block]);
      w.varint(rows);
      const end = this.#check + checksOfBlock(rows, rowsPerCheck);
      assertThat(end <= checks.length, 'the rows record has all checks');
      w.checks(checks, this.#check, end, this.#isWal ? firstSeqs : undefined, continuations ?? EMPTY_BYTES, this.#seq);
      if (this.#isWal && end > this.#check) this.#seq = present(firstSeqs, 'the record of a log has numbers')[end - 1];
      this.#check = end;
      this.#block++;
    }
    if (this.#block < blockRows.length) return false;
    assertThat(this.#check === checks.length, 'the rows record has no more checks than rows');
    return true;
  }
}

/** `isWal`: whether sequence numbers are part of the record. */
export function writeRows(w: SealWriter, r: RowsRecord, isWal: boolean): void {
  if (r.encoded !== undefined) {
    w.bytes(r.encoded);
    return;
  }
  const writer = new RowsWriter(w, r, isWal);
  while (!writer.step(Number.POSITIVE_INFINITY));
}

const CLEAN_CLOSE = 1;
const BY_REPAIR = 2;

/** 69 bytes; `hashOfBody` reads the hash of the body at its place, also where the frame of the record is damaged. */
export function writeManifestRecord(w: SealWriter, r: ManifestRecord): void {
  w.u64(r.previousManifestId);
  w.fixed(r.previousDigest, DIGEST_BYTES);
  w.u32(r.bodyHash);
  w.u64(r.walTail.id);
  w.u64(r.walTail.lastSeq);
  w.fixed(r.walTail.digest, DIGEST_BYTES);
  w.u64(r.ledgerVersion);
  w.u8((r.isCleanClose ? CLEAN_CLOSE : 0) | (r.isRepair ? BY_REPAIR : 0));
}

/** 20 bytes and 32 for each pair. A ULID of zeros is no table: it stands for one that was dropped. */
export function writeRepair(w: SealWriter, r: RepairRecord): void {
  w.fixed(r.repairId, 16);
  w.u32(r.pairs.length);
  for (const { from, to } of r.pairs) {
    w.bytes(ulidToBytes(from));
    w.bytes(to === undefined ? ZERO_16 : ulidToBytes(to));
  }
}

/** The text itself: its length is that of the record. */
export function writeOwner(w: SealWriter, r: OwnerRecord): void {
  const text = new Uint8Array(MAX_OWNER_BYTES);
  // `encodeInto` never writes half of a character.
  const { written } = new TextEncoder().encodeInto(r.hostPid, text);
  w.bytes(text.subarray(0, written));
}

// ---- reading

/** Roles and codecs that are not known are `BAD_SEAL`: a newer program would give new facts a new tag. */
export function readIdentity(r: SealReader): IdentityRecord {
  const databaseId = r.bytes(16);
  const objectId = r.bytes(16);
  const putId = r.ulid();
  const epoch = r.u64();
  const role = r.choice(ROLES, 'role');
  const formatVersion = r.choice([0, 1, 2] as const, 'format version');
  const codec = r.choice(CODECS, 'codec');
  r.u8();
  const writtenAtMs = r.i64();
  const newestManifestId = r.u64();
  r.u8();
  const software = [r.u8(), r.u8(), r.u8()] as const;
  return {
    databaseId,
    objectId,
    putId,
    epoch,
    role,
    formatVersion,
    codec,
    writtenAtMs,
    newestManifestId,
    software,
  };
}

export function readWal(r: SealReader): WalRecord {
  return {
    predecessorKind: r.choice(PREDECESSOR_KINDS, 'kind of predecessor'),
    predecessorDigest: r.bytes(DIGEST_BYTES),
    firstSeq: r.u64(),
    lastSeq: r.u64(),
    rows: r.u32(),
    batches: r.u32(),
  };
}

export function readLineage(r: SealReader): LineageRecord {
  const level = r.choice(['l0', 'run'] as const, 'level');
  const minSeq = r.u64();
  const maxSeq = r.u64();
  const createTs = r.i64();
  const maxCreateTs = createTs === -(2 ** 63) ? Number.NEGATIVE_INFINITY : createTs;
  const rows = r.u64();
  if (level === 'l0') return { level, minSeq, maxSeq, maxCreateTs, rows, replayAfterWalId: r.u64() };
  const compactionId = r.ulid();
  const destinationRun = r.u32();
  const ordinal = r.u32();
  const flags = r.u8();
  const count = r.u32();
  if (count * 16 > r.remaining) throw r.bad('The lineage record is too short');
  const inputs: Ulid[] = [];
  for (let i = 0; i < count; i++) inputs.push(r.ulid());
  return {
    level,
    minSeq,
    maxSeq,
    maxCreateTs,
    rows,
    compactionId,
    destinationRun,
    ordinal,
    isLastOutput: (flags & LAST_OUTPUT) !== 0,
    isBottom: (flags & BOTTOM) !== 0,
    inputs,
  };
}

/** Divisors of the restart interval, see row-checks.ts; 0: no checks. */
const ROWS_PER_CHECK: readonly number[] = [0, 1, 2, 4, 8, 16];

/** Blocks that are read in one step: about half a millisecond. */
const BLOCKS_PER_STEP = 1024;

export function* readRows(r: SealReader, isWal: boolean): Steps<RowsRecord> {
  const rowsPerCheck = r.u8() as RowsPerCheck;
  if (!ROWS_PER_CHECK.includes(rowsPerCheck)) throw r.bad('The rows record has an unknown number of rows per check');
  if (r.u8() !== XX_HASH_32) throw r.bad('The rows record has an unknown algorithm');
  const blocks = r.u32();
  // Two varints per block and four bytes per check: no array can outgrow the record, and reading stops at its end.
  if (blocks * 2 > r.remaining) throw r.bad('The rows record is too short for its blocks');
  const withSeqs = isWal && rowsPerCheck > 0;
  const blockStoredBytes = new Float64Array(blocks);
  const blockRows = new Float64Array(blocks);
  const checks = new Uint32Array(Math.floor(r.remaining / 4));
  const firstSeqs = new Float64Array(withSeqs ? checks.length : 0);
  const continuations = new Uint8Array(firstSeqs.length);
  let check = 0;
  let seq = 0;
  for (let block = 0; block < blocks; block++) {
    if (block % BLOCKS_PER_STEP === BLOCKS_PER_STEP - 1) yield;
    blockStoredBytes[block] = r.varint();
    blockRows[block] = r.varint();
    const count = checksOfBlock(blockRows[block], rowsPerCheck);
    for (const end = check + count; check < end; check++) {
      if (withSeqs) {
        seq += r.varintHigh();
        if (!Number.isSafeInteger(seq)) throw r.bad('A sequence number of the rows record is too large');
        firstSeqs[check] = seq;
        continuations[check] = r.lowBit;
      }
      checks[check] = r.u32();
    }
  }
  const record = { rowsPerCheck, blockStoredBytes, blockRows, checks: checks.slice(0, check) };
  if (!withSeqs) return record;
  return { ...record, firstSeqs: firstSeqs.slice(0, check), continuations: continuations.slice(0, check) };
}

export function readManifestRecord(r: SealReader): ManifestRecord {
  const previousManifestId = r.u64();
  const previousDigest = r.bytes(DIGEST_BYTES);
  const bodyHash = r.u32();
  const walTail = { id: r.u64(), lastSeq: r.u64(), digest: r.bytes(DIGEST_BYTES) };
  const ledgerVersion = r.u64();
  const flags = r.u8();
  return {
    previousManifestId,
    previousDigest,
    bodyHash,
    walTail,
    ledgerVersion,
    isCleanClose: (flags & CLEAN_CLOSE) !== 0,
    isRepair: (flags & BY_REPAIR) !== 0,
  };
}

export function readRepair(r: SealReader): RepairRecord {
  const repairId = r.bytes(16);
  const count = r.u32();
  if (count * 32 > r.remaining) throw r.bad('The repair record is too short');
  const pairs: { from: Ulid; to: Ulid | undefined }[] = [];
  for (let i = 0; i < count; i++) {
    const from = r.ulid();
    const to = r.bytes(16);
    pairs.push({ from, to: to.some((b) => b !== 0) ? ulidFromBytes(to) : undefined });
  }
  return { repairId, pairs };
}

export function readOwner(r: SealReader): OwnerRecord {
  if (r.remaining > MAX_OWNER_BYTES) throw r.bad('The owner record is too long');
  const text = r.bytes(r.remaining);
  try {
    return { hostPid: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text) };
  } catch {
    throw r.bad('The owner record is not UTF-8');
  }
}
