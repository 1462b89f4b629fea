/**
 * Seals: a row of records and a fixed tail that this program puts into every object it writes, at places where SlateDB does
 * not look. In tables and WAL objects a seal is between the last section and the info block, in manifests and compactions
 * files after the FlatBuffer.
 *
 * ```
 * seal     records | tail
 * record   u16 tag | u32 length | payload            seal-records.ts; unknown tags are skipped; identity comes first
 * tail     u32 seal length | u16 version | u16 kind | u32 CRC-32 | 8 bytes magic                  20 bytes; all big-endian
 * kind     1 wal, 2 fence, 3 table, 4 manifest, 5 compactions
 * ```
 *
 * The CRC covers the seal up to itself; in manifests and compactions files, whose own form has no checksum, everything from
 * the start of the object. A seal is part of the one PUT of its object; nothing is ever appended later.
 *
 * The seal of a fence, WAL object 7, of epoch 3:
 *
 * ```example
 * 00 01 00 00 00 50                                tag=1 length=80: identity
 * 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  database_id=000102030405060708090a0b0c0d0e0f
 * 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 07  object_id=00000000000000000000000000000007
 * 01 a1 ee 56 5e 01 00 00 00 00 00 00 00 00 00 01  put_id=01M7Q5CQG10000000000000001
 * 00 00 00 00 00 00 00 03                          epoch=3
 * 01 02 00 00                                      role=1 format_version=2, codec none, unused
 * 00 00 01 a1 f8 60 3b 50                          written_at_ms=1795168418640
 * 00 00 00 00 00 00 00 05                          newest_manifest_id=5
 * 00 00 01 00                                      unused, software=0.1.0
 * 00 02 00 00 00 29                                tag=2 length=41: wal
 * 01                                               predecessor_kind=1: its seal
 * f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 fa fb fc fd fe ff  predecessor_digest=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
 * 00 00 00 00 00 00 00 2a 00 00 00 00 00 00 00 2a  first_seq=42 last_seq=42: the greatest before the fence
 * 00 00 00 00 00 00 00 00                          no rows, no batches
 * 00 07 00 00 00 08                                tag=7 length=8: owner
 * 64 62 31 3a 34 37 31 31                          owner="db1:4711"
 * 00 00 00 a7 00 01 00 02                          seal_length=167 version=1 kind=2
 * 49 2c be 9c                                      crc=0x492cbe9c
 * 89 53 48 4c 53 45 41 4c                          magic
 * ```
 *
 * 1. A bad seal only takes proofs away: `BAD_SEAL` says nothing about the data, `BAD_CHECKSUM` says that a manifest's content is
 *    in doubt.
 * 2. A seal is found from its end, so whatever is before it may have any length.
 * 3. A version of the tail above ours may have longer records; version 1 has them exactly as they are drawn.
 */
import { createHash } from 'node:crypto';
import { finish, type Steps } from '../common/async.ts';
import { crcText, damage } from '../common/damage.ts';
import { type CorruptionError, isCorruption } from '../common/errors.ts';
import { crc32, xxHash32 } from './checksum.ts';
import { readExpiry, writeExpiry } from './expiry-buckets.ts';
import { readJobs, writeJobs } from './jobs-record.ts';
import { SealReader, SealWriter } from './seal-bytes.ts';
import {
  DIGEST_BYTES,
  type ManifestRecord,
  readIdentity,
  readLineage,
  readManifestRecord,
  readOwner,
  readRepair,
  readRows,
  readWal,
  type SealRecords,
  TAG,
  writeIdentity,
  writeLineage,
  writeManifestRecord,
  writeOwner,
  writeRepair,
  writeRows,
  writeWal,
} from './seal-records.ts';

export const SEAL_TAIL_BYTES = 20;
const VERSION = 1;
/** The last bytes of every seal. */
export const SEAL_MAGIC: Uint8Array = Uint8Array.of(0x89, 0x53, 0x48, 0x4c, 0x53, 0x45, 0x41, 0x4c);
/** How far before the end of a seal its checksum stands. */
export const SEAL_CRC_FROM_END = SEAL_MAGIC.length + 4;
const MIN_BODY_BYTES = 2;
/** Tag and length. */
const RECORD_HEADER_BYTES = 6;
/** The hash of the body, in the payload of the manifest record. */
const BODY_HASH_AT = 24;
/** Payload of the identity record, and two fields in it: of a manifest both hold its id. */
const IDENTITY_BYTES = 80;
const OBJECT_ID_AT = 16;
const NEWEST_MANIFEST_ID_AT = 68;

export type TableSealKind = 'wal' | 'fence' | 'table';
export type ManifestSealKind = 'manifest' | 'compactions';
export type SealKind = TableSealKind | ManifestSealKind;
const TABLE_KINDS: readonly SealKind[] = ['wal', 'fence', 'table'];
const KINDS: readonly (SealKind | undefined)[] = [undefined, 'wal', 'fence', 'table', 'manifest', 'compactions'];

/** Seal of a table, WAL object or fence. */
export type SealInput = Omit<SealRecords, 'manifest'> & { kind: TableSealKind };

/** Seal of a manifest or compactions file; the hash of the body is computed. */
export type ManifestSealInput = Pick<SealRecords, 'identity' | 'repair' | 'owner' | 'jobs'> & {
  kind: ManifestSealKind;
  manifest?: Omit<ManifestRecord, 'bodyHash'>;
};

/** What this program stores at the end of each object beside SlateDB's own parts: who wrote it, and what proves that it is whole. */
export interface Seal extends SealRecords {
  /** Of which kind of object it is. */
  kind: SealKind;
  /** Of the form of the seal. */
  version: number;
}

export interface SealRange {
  start: number;
  end: number;
}

/** Digest of a sealed object's seal, records and tail: first 16 bytes of SHA-256. Binds content, identity, predecessor. */
export function sealDigest(seal: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(seal).digest().subarray(0, DIGEST_BYTES));
}

/** Digest of a whole object, sealed or not: first 16 bytes of SHA-256. */
export function objectDigest(object: Uint8Array): Uint8Array {
  return sealDigest(object);
}

// ---- writing

/** The bytes of a seal that goes between the last section and the info block. */
export function encodeSeal(seal: SealInput): Uint8Array {
  const bytes = encodeRecords(seal, seal.kind);
  writeCrc(bytes, 0);
  return bytes;
}

/** The whole object: `body` (header and FlatBuffer) and after it a seal whose CRC covers both. */
export function appendManifestSeal(body: Uint8Array, seal: ManifestSealInput): Uint8Array {
  const { manifest, ...others } = seal;
  const records: SealRecords = { ...others };
  if (manifest !== undefined) records.manifest = { ...manifest, bodyHash: xxHash32(body, 0, body.length) };
  const tail = encodeRecords(records, seal.kind);
  const object = new Uint8Array(body.length + tail.length);
  object.set(body);
  object.set(tail, body.length);
  writeCrc(object, 0);
  return object;
}

/** Records and tail with the CRC left open. */
function encodeRecords(r: SealRecords, kind: SealKind): Uint8Array {
  const { wal, lineage, rows, manifest, repair, owner, jobs, expiry } = r;
  const w = new SealWriter();
  w.record(TAG.identity, () => writeIdentity(w, r.identity));
  if (wal !== undefined) w.record(TAG.wal, () => writeWal(w, wal));
  if (lineage !== undefined) w.record(TAG.lineage, () => writeLineage(w, lineage));
  if (rows !== undefined) w.record(TAG.rows, () => writeRows(w, rows, kind === 'wal'));
  if (manifest !== undefined) w.record(TAG.manifest, () => writeManifestRecord(w, manifest));
  if (repair !== undefined) w.record(TAG.repair, () => writeRepair(w, repair));
  if (owner !== undefined) w.record(TAG.owner, () => writeOwner(w, owner));
  if (jobs !== undefined) w.record(TAG.jobs, () => writeJobs(w, jobs));
  if (expiry !== undefined) w.record(TAG.expiry, () => writeExpiry(w, expiry));
  w.u32(w.length + SEAL_TAIL_BYTES);
  w.u16(VERSION);
  w.u16(KINDS.indexOf(kind));
  w.u32(0);
  w.bytes(SEAL_MAGIC);
  return w.finish();
}

/** Fills in the CRC of `bytes` from `start` to the CRC field, which stands before the magic bytes. */
function writeCrc(bytes: Uint8Array, start: number): void {
  const at = bytes.length - SEAL_CRC_FROM_END;
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).setUint32(at, crc32(bytes, start, at));
}

// ---- reading

/**
 * Decodes and verifies the seal `bytes[start, end)`. Throws damage: `BAD_SEAL`, or `BAD_CHECKSUM` if the object before a
 * manifest's seal is not what was sealed.
 * @param bytes for manifests and compactions files the whole object
 * @param allowed the kinds that can be at this place; without it those of tables and WAL objects
 */
export function decodeSeal(bytes: Uint8Array, start: number, end: number, allowed = TABLE_KINDS): Seal {
  return finish(decodeSealSteps(bytes, start, end, allowed));
}

/** `decodeSeal` in steps: the rows record of a table of 256 MiB is a megabyte. */
export function* decodeSealSteps(bytes: Uint8Array, start: number, end: number, allowed = TABLE_KINDS): Steps<Seal> {
  const bad = (message: string, more?: { expected: string; found: string }) => badSeal(start, end, message, more);
  if (start < 0 || end > bytes.length || end - start < SEAL_TAIL_BYTES) throw bad('The seal is too short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tail = end - SEAL_TAIL_BYTES;
  if (!endsWithMagic(bytes, end)) throw bad('The seal does not end with its magic bytes');
  if (view.getUint32(tail) !== end - start) throw bad('The seal does not have the length it states');
  const version = view.getUint16(tail + 4);
  const kind = KINDS[view.getUint16(tail + 6)];
  if (version === 0) throw bad('The seal has version 0');
  if (kind === undefined || !allowed.includes(kind)) throw bad('The seal is of the wrong kind');
  const isManifest = kind === 'manifest' || kind === 'compactions';
  const stored = view.getUint32(tail + 8);
  const computed = crc32(bytes, isManifest ? 0 : start, tail + 8);
  const read = () => readRecordSteps(bytes, start, tail, kind, version);
  if (stored !== computed) {
    const more = { expected: crcText(stored), found: crcText(computed) };
    if (isManifest && !isBodyProven(bytes, start, () => finish(read()))) {
      const at = { unit: 'object', offset: 0, length: end } as const;
      throw damage('BAD_CHECKSUM', at, `The content does not match the checksum of its seal`, more);
    }
    throw bad('The seal does not match its checksum', more);
  }
  return { kind, version, ...(yield* read()) };
}

function badSeal(
  start: number,
  end: number,
  message: string,
  more?: { expected: string; found: string },
): CorruptionError {
  return damage(
    'BAD_SEAL',
    { unit: 'seal', offset: Math.max(0, start), length: Math.max(0, end - start) },
    message,
    more,
  );
}

/** Whether the hash in the manifest record proves the body although the CRC over body and seal is wrong. */
function isBodyProven(bytes: Uint8Array, start: number, read: () => SealRecords): boolean {
  try {
    const manifest = read().manifest;
    return manifest !== undefined && xxHash32(bytes, 0, start) === manifest.bodyHash;
  } catch {
    // Unreadable records prove nothing; the caller reports the mismatch.
    return false;
  }
}

/**
 * The records from the start of a seal up to its tail. Unknown tags are skipped with their length; a known one that comes twice, or
 * is longer than its payload in a seal of our version, is `BAD_SEAL`.
 */
function* readRecordSteps(
  bytes: Uint8Array,
  start: number,
  end: number,
  kind: SealKind,
  version: number,
): Steps<SealRecords> {
  const records: Partial<SealRecords> = {};
  const outer = new SealReader(bytes, start, end);
  const seen = new Set<number>();
  while (outer.remaining > 0) {
    const tag = outer.u16();
    const length = outer.u32();
    if (length > outer.remaining) throw outer.bad('A record reaches past the end of the seal');
    if (seen.size === 0 && tag !== TAG.identity) throw outer.bad('The seal does not begin with the identity record');
    const isRepeated = seen.size === seen.add(tag).size;
    const payload = new SealReader(bytes, outer.position, outer.position + length);
    outer.skip(length);
    if (!(yield* readRecord(payload, tag, records, kind))) continue;
    if (isRepeated) throw payload.bad('The seal has two records of one kind');
    if (payload.remaining > 0 && version <= VERSION) throw payload.bad('A record of the seal is too long');
  }
  if (records.identity === undefined) throw outer.bad('The seal has no identity record');
  return records as SealRecords;
}

/** Reads one record into `records`; false if its tag is unknown. */
function* readRecord(payload: SealReader, tag: number, records: Partial<SealRecords>, kind: SealKind): Steps<boolean> {
  switch (tag) {
    case TAG.identity:
      records.identity = readIdentity(payload);
      return true;
    case TAG.wal:
      records.wal = readWal(payload);
      return true;
    case TAG.lineage:
      records.lineage = readLineage(payload);
      return true;
    case TAG.rows:
      records.rows = yield* readRows(payload, kind === 'wal');
      return true;
    case TAG.manifest:
      records.manifest = readManifestRecord(payload);
      return true;
    case TAG.repair:
      records.repair = readRepair(payload);
      return true;
    case TAG.owner:
      records.owner = readOwner(payload);
      return true;
    case TAG.jobs:
      records.jobs = readJobs(payload);
      return true;
    case TAG.expiry:
      records.expiry = readExpiry(payload);
      return true;
    default:
      return false;
  }
}

/** Not a proof: eight bytes may occur by chance or by intent. Length, kind and checksum follow. */
function endsWithMagic(bytes: Uint8Array, end: number): boolean {
  if (end < SEAL_MAGIC.length) return false;
  for (let i = 0; i < SEAL_MAGIC.length; i++) if (bytes[end - SEAL_MAGIC.length + i] !== SEAL_MAGIC[i]) return false;
  return true;
}

/**
 * The place of the seal of a manifest or compactions file according to its tail; `undefined` without magic bytes or with a length
 * that cannot be right. Nothing is verified.
 */
export function findManifestSeal(bytes: Uint8Array): SealRange | undefined {
  const end = bytes.length;
  if (end < MIN_BODY_BYTES + SEAL_TAIL_BYTES || !endsWithMagic(bytes, end)) return undefined;
  const length = new DataView(bytes.buffer, bytes.byteOffset, end).getUint32(end - SEAL_TAIL_BYTES);
  if (length < SEAL_TAIL_BYTES || length > end - MIN_BODY_BYTES) return undefined;
  return { start: end - length, end };
}

/** Length of the body and its hash as the seal of a manifest states them; `undefined` if it cannot be read. Nothing is verified. */
export function statedManifestBody(bytes: Uint8Array): { bytes: number; hash: number } | undefined {
  const range = findManifestSeal(bytes);
  if (range === undefined) return undefined;
  try {
    const { manifest } = finish(readRecordSteps(bytes, range.start, range.end - SEAL_TAIL_BYTES, 'manifest', VERSION));
    return manifest === undefined ? undefined : { bytes: range.start, hash: manifest.bodyHash };
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return undefined;
  }
}

/**
 * What a seal of a manifest that cannot be trusted as a whole may still say of the body before it, read at the places where
 * this program writes it, whatever the frames of the records say. `undefined` if there is no room for it.
 * @param bodyBytes where the body ends by its own form
 */
export function hashOfBody(
  bytes: Uint8Array,
  bodyBytes: number,
): { at: number; namesId(id: number): boolean } | undefined {
  const identity = bodyBytes + RECORD_HEADER_BYTES;
  const at = identity + IDENTITY_BYTES + RECORD_HEADER_BYTES + BODY_HASH_AT;
  if (at + 4 > bytes.length - SEAL_TAIL_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // An object id of 16 bytes has a number in its low half. Two places, so that damage of a few bytes leaves one of them.
  const ids = [view.getBigUint64(identity + OBJECT_ID_AT + 8), view.getBigUint64(identity + NEWEST_MANIFEST_ID_AT)];
  return { at, namesId: (id) => ids.includes(BigInt(id)) };
}

/**
 * The bytes of a manifest that something besides the checksum says: its body and the hash of it, and what the form of the seal
 * leaves no choice for. `bytes` has a seal in `range` that decodes.
 */
export function provenPlaces(bytes: Uint8Array, { start, end }: SealRange): SealRange[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tail = end - SEAL_TAIL_BYTES;
  const places = [
    { start: 0, end: start + RECORD_HEADER_BYTES },
    { start: tail, end: tail + 4 },
    { start: tail + 6, end: tail + 8 },
  ];
  for (let at = start; at < tail; at += RECORD_HEADER_BYTES + view.getUint32(at + 2)) {
    if (view.getUint16(at) !== TAG.manifest) continue;
    const payload = at + RECORD_HEADER_BYTES;
    places.push({ start: at, end: payload }, { start: payload + BODY_HASH_AT, end: payload + BODY_HASH_AT + 4 });
  }
  return places;
}

/**
 * The seal after the body of a manifest or compactions file, `undefined` if the object ends with its body. Throws like
 * `decodeSeal`; bytes after the body that are not exactly one seal are `BAD_SEAL`.
 */
export function decodeManifestSeal(bytes: Uint8Array, bodyBytes: number, kind: ManifestSealKind): Seal | undefined {
  if (bodyBytes === bytes.length) return undefined;
  const range = findManifestSeal(bytes);
  if (range?.start !== bodyBytes) {
    throw badSeal(bodyBytes, bytes.length, `The bytes after the ${kind} are not a seal`);
  }
  return decodeSeal(bytes, range.start, range.end, [kind]);
}
