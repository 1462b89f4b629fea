/**
 * Healing of damaged data blocks: finding the bytes that were written from those that are stored.
 *
 * ```
 * evidence              damage                                                   result
 * row checks (seal)     up to 4 bytes in a row, 3 where it is compressed         proven: all checks, the form and the CRC hold
 *                       anything after the rows: offsets, count, checksum        proven: it follows from the rows
 * none                  one bit, or else one byte                                probable: exactly one such change is legal
 * any                   wider, or too expensive to look for                      not healed; salvage.ts saves rows under checks
 * ```
 *
 * How, with checks:
 * 1. the checksum of a block leaves, for each place, one error of up to four bytes that could have been made there
 *    (crc-syndrome.ts);
 * 2. checks are walked from the front; the first one that fails has the first damaged byte in its rows, which leaves some hundreds
 *    of places instead of thousands;
 * 3. narrow errors are tried before wide ones: each is xored in, the check hashed again, and taken out if it does not hold;
 * 4. what passes is decoded whole, and its checksum computed again.
 *
 * Each check is 32 further bits, of a hash that is independent of the CRC. Wider damage passes for a small one with the odds of one
 * check: bytes of that check / 2^32, some 1e-7 per block. In compressed data a wrong byte moves everything after it, so step 2 says
 * nothing: every place is tried, and each attempt decompresses the block.
 *
 * Pure functions: nothing is read or written, the bytes that come in are never changed.
 */
import { compareBytes, copyBytes, equalBytes } from '../common/bytes.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { type Block, checkBlockOrder, decodeBlock } from './block.ts';
import { BlockCursor } from './block-cursor.ts';
import { type BlockProof, hasChecks, plainRowBytes, trailerBytes } from './block-proof.ts';
import { CheckWalk } from './check-walk.ts';
import { crc32 } from './checksum.ts';
import type { BlockCodec } from './codecs.ts';
import { applyError, endSyndromes, errorsAt, errorWidth, MAX_ERROR_BYTES, syndromeOf } from './crc-syndrome.ts';
import { CRC_BYTES, readCrc, writeCrc } from './framing.ts';
import { putUint16 } from './row-encoding.ts';
import type { FormatVersion } from './table-info.ts';

export { type BlockProof, blockProof } from './block-proof.ts';

/** What is known about a block from elsewhere. Every member narrows what is taken for it. */
export interface BlockBounds {
  /** Rows by key and descending sequence number (tables), or by sequence number (WAL objects). */
  order?: 'keys' | 'seqs';
  /** Separator of the block and of the next one in the index of a table: every key is at or above, at or below it. */
  separator?: Uint8Array;
  nextSeparator?: Uint8Array;
  minSeq?: number;
  maxSeq?: number;
  rowCount?: number;
}

export interface BlockForm {
  codec: BlockCodec;
  formatVersion: FormatVersion;
  /** Most bytes an uncompressed block may have. */
  maxBytes: number;
  /** Most work per started MiB of the block, in bytes hashed; `REPAIR_WORK_PER_MIB` if absent. */
  workPerMib?: number;
}

export interface ByteChange {
  /** In the stored bytes. */
  offset: number;
  was: number;
  is: number;
}

export interface Healed {
  /** A copy with the damage undone, checksum included. */
  stored: Uint8Array;
  /** `proven`: row checks confirm it. `probable`: only the checksum, the form of the content and the smallness speak for it. */
  trust: 'proven' | 'probable';
  /** Ascending by offset. */
  changes: ByteChange[];
  /** One bit, one byte, 2 to 4 bytes; or any number after what the checks prove (offsets, count, checksum). */
  kind: 'bit' | 'byte' | 'bytes' | 'trailer';
}

/** Wider errors are not looked for: in compressed blocks each of thousands would have to be decompressed. */
const MAX_COMPRESSED_ERROR_BYTES = 3;

/**
 * Work per started MiB of a block, in bytes hashed. For a repair it is enough for 4 damaged bytes in rows of 15 KiB, for 3 in
 * rows of 256 KiB; for a read, which holds up the event loop, for 4 in rows of 5 KiB, for 3 in rows of 90 KiB.
 */
export const REPAIR_WORK_PER_MIB = 2 ** 28;
export const READ_WORK_PER_MIB = 2 ** 25;
/** Decompressing a byte costs as much as hashing so many. */
const DECOMPRESSION_WORK = 16;

/** Whether a decoded block agrees with what is known about it. */
export function blockFits(block: Block, bounds: BlockBounds): boolean {
  const { order, separator, nextSeparator, minSeq = 0, maxSeq = Number.POSITIVE_INFINITY, rowCount } = bounds;
  if (rowCount !== undefined && rowCount !== block.rowCount) return false;
  if (order === 'keys' && !inOrder(block)) return false;
  const row = new BlockCursor();
  row.attach(block);
  let lastSeq = 0;
  for (let more = row.first(); more; more = row.next()) {
    if (row.seq < minSeq || row.seq > maxSeq || (order === 'seqs' && row.seq < lastSeq)) return false;
    lastSeq = row.seq;
    if (separator === undefined && nextSeparator === undefined) continue;
    const key = row.key.subarray(0, row.keyLength);
    if (separator !== undefined && compareBytes(key, separator) < 0) return false;
    if (nextSeparator !== undefined && compareBytes(key, nextSeparator) > 0) return false;
  }
  return true;
}

function inOrder(block: Block): boolean {
  try {
    checkBlockOrder(block);
    return true;
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return false;
  }
}

/** What decoding gives, or undefined for bytes that are not what they should be. */
export function tryDecode<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    return undefined;
  }
}

/**
 * The block as it was written, or undefined if that cannot be determined; also for a block whose checksum holds.
 *
 * With checks in `proof`: up to 4 consecutive damaged bytes of an uncompressed block (3 of a compressed one), or any damage
 * after the rows; accepted only if all row checks, the form and the checksum hold; `proven`. Without: one bit, or else one
 * byte, if exactly one such change gives a block of legal form within `bounds`; `probable`.
 *
 * Bounded by `workPerMib`: damage in very large rows may stay.
 */
export function healBlock(
  stored: Uint8Array,
  how: BlockForm & { proof?: BlockProof; bounds?: BlockBounds },
): Healed | undefined {
  const end = stored.length - CRC_BYTES;
  const { proof } = how;
  if (end <= 0 || (proof !== undefined && proof.storedBytes !== stored.length)) return undefined;
  const syndrome = syndromeOf(stored, end, readCrc(stored, end));
  if (syndrome === 0) return undefined;
  // A plain view also when a Buffer came in: hot loops then meet one kind of object only.
  const plain = new Uint8Array(stored.buffer, stored.byteOffset, stored.length);
  if (proof === undefined || proof.rowsPerCheck === 0 || how.formatVersion !== 2) {
    const bounds = proof === undefined ? how.bounds : { ...how.bounds, rowCount: proof.rowCount };
    return healByChecksum(plain, end, (bytes) => isLikely(bytes.subarray(0, end), how, bounds ?? {}));
  }
  if (!hasChecks(proof)) return undefined;
  return how.codec.name === 'none'
    ? healPlain(plain, syndrome, how, proof)
    : healCompressed(plain, syndrome, how, proof);
}

function isLikely(body: Uint8Array, how: BlockForm, bounds: BlockBounds): boolean {
  return (
    tryDecode(() => blockFits(decodeBlock(how.codec.decompress(body, how.maxBytes), how.formatVersion), bounds)) ??
    false
  );
}

// ---- with row checks

/** Walks checks from the front for as long as they hold; returns the first that does not, or the number of checks. */
function walkChecks(walk: CheckWalk): { check: number; at: number; restarts: number[] } {
  const restarts: number[] = [];
  let check = 0;
  let at = 0;
  for (; check < walk.checkCount; check++) {
    const next = walk.verify(check, at);
    if (next < 0) break;
    if (walk.restartOf(check) >= 0) restarts.push(at);
    walk.pass(check, at);
    at = next;
  }
  return { check, at, restarts };
}

/** What follows from the rows of a block and stands after them; undefined if the offsets cannot be expressed. */
function encodeTrailer(restarts: readonly number[]): Uint8Array | undefined {
  if (restarts.length > 0xffff || restarts[restarts.length - 1] > 0xffff) return undefined;
  const trailer = new Uint8Array(2 * restarts.length + 2);
  let p = 0;
  for (const offset of restarts) p = putUint16(trailer, p, offset);
  putUint16(trailer, p, restarts.length);
  return trailer;
}

/** Whether an uncompressed payload is exactly what the checks say, in rows and after them. */
function isProven(payload: Uint8Array, proof: BlockProof): boolean {
  const rowsEnd = payload.length - trailerBytes(proof);
  if (rowsEnd <= 0) return false;
  const walk = new CheckWalk(payload, rowsEnd, proof);
  const { check, at, restarts } = walkChecks(walk);
  if (check < walk.checkCount || at !== rowsEnd) return false;
  const trailer = encodeTrailer(restarts);
  if (trailer === undefined || !equalBytes(trailer, payload.subarray(rowsEnd))) return false;
  return tryDecode(() => decodeBlock(payload, 2))?.rowCount === proof.rowCount;
}

function healPlain(stored: Uint8Array, syndrome: number, how: BlockForm, proof: BlockProof): Healed | undefined {
  const rowsEnd = plainRowBytes(proof);
  if (rowsEnd <= 0) return undefined;
  const end = stored.length - CRC_BYTES;
  const work = copyBytes(stored);
  const payload = work.subarray(0, end);
  const walk = new CheckWalk(work, rowsEnd, proof);
  const { check, at, restarts } = walkChecks(walk);
  if (check === walk.checkCount) {
    const trailer = encodeTrailer(restarts);
    if (at !== rowsEnd || trailer === undefined) return undefined;
    work.set(trailer, rowsEnd);
    return healedIf(isProven(payload, proof), stored, work, 'trailer');
  }
  // Damage that begins before the failing check would have spoilt the one before: its first byte is in this one.
  const errors = errorsAt(syndrome, at, walk.suspectEnd, end);
  const limit = workLimit(how, stored.length);
  for (let width = 1; width <= MAX_ERROR_BYTES; width++) {
    for (let i = 0; i < errors.length; i++) {
      const error = errors[i];
      if ((error & 0xff) === 0 || errorWidth(error) !== width) continue;
      if (walk.work > limit) return undefined;
      applyError(work, at + i, error);
      if (walk.verify(check, at) >= 0 && isProven(payload, proof)) return healedIf(true, stored, work);
      applyError(work, at + i, error);
    }
  }
  return undefined;
}

/** The last test before a block is called healed: its checksum, computed again. */
function healedIf(proven: boolean, stored: Uint8Array, work: Uint8Array, kind?: 'trailer'): Healed | undefined {
  const end = work.length - CRC_BYTES;
  const crc = crc32(work, 0, end);
  // Where the rows are proven and nothing else is known, the checksum follows from them.
  if (kind === 'trailer') writeCrc(work, end, crc);
  return proven && crc === readCrc(work, end) ? describeHealed(stored, work, 'proven', kind) : undefined;
}

export function workLimit({ workPerMib = REPAIR_WORK_PER_MIB }: BlockForm, bytes: number): number {
  return workPerMib * Math.ceil(bytes / 2 ** 20);
}

function healCompressed(stored: Uint8Array, syndrome: number, how: BlockForm, proof: BlockProof): Healed | undefined {
  const end = stored.length - CRC_BYTES;
  const work = copyBytes(stored);
  const body = work.subarray(0, end);
  let left = workLimit(how, stored.length);
  const holds = (): boolean => {
    const payload = tryDecode(() => how.codec.decompress(body, how.maxBytes));
    left -= DECOMPRESSION_WORK * (payload?.length ?? body.length);
    return payload !== undefined && isProven(payload, proof);
  };
  // Some bytes of compressed data do not matter: rows that are right do not say where the damage is. The smallest error is
  // taken for the true one, in the body or in the checksum.
  const isHarmless = holds();
  const crcWidth = widthInChecksum(syndrome);
  const errors = errorsAt(syndrome, 0, end, end);
  for (let width = 1; width <= MAX_COMPRESSED_ERROR_BYTES; width++) {
    if (isHarmless && crcWidth === width) break;
    for (let p = 0; p + width <= end; p++) {
      const error = errors[p];
      if ((error & 0xff) === 0 || errorWidth(error) !== width) continue;
      if (left <= 0) return undefined;
      applyError(work, p, error);
      if (holds()) return healedIf(true, stored, work);
      applyError(work, p, error);
    }
  }
  if (isHarmless) return healedIf(true, stored, work, 'trailer');
  return healBorder(stored, work, syndrome, holds, () => left > 0);
}

/** Bytes that an error of the checksum field spans; it is stored with its highest byte first. */
function widthInChecksum(error: number): number {
  return errorWidth(error) - ((31 - Math.clz32(error & -error)) >>> 3);
}

/** Damage over the border: the last one or two bytes of the body and the first two or one of the checksum. */
function healBorder(
  stored: Uint8Array,
  work: Uint8Array,
  syndrome: number,
  holds: () => boolean,
  mayGoOn: () => boolean,
): Healed | undefined {
  const end = stored.length - CRC_BYTES;
  const last = endSyndromes(1);
  const lastButOne = endSyndromes(2);
  for (let byte = 0; byte < (end < 2 ? 1 : 256); byte++) {
    // The checksum is stored with its highest byte first: what the body's error leaves must be in one or two of those.
    const rest = byte === 0 ? 0xffff : 0xff_ffff;
    for (let error = 1; error < 256 && mayGoOn(); error++) {
      const crcError = syndrome ^ lastButOne[byte] ^ last[error];
      if (crcError === 0 || (crcError & rest) !== 0) continue;
      if (end >= 2) work[end - 2] ^= byte;
      work[end - 1] ^= error;
      if (holds()) {
        writeCrc(work, end, crc32(work, 0, end));
        return healedIf(true, stored, work);
      }
      work.set(stored);
    }
  }
  return undefined;
}

// ---- by the checksum alone

/**
 * One bit changed, or else one byte, if exactly one such change is accepted. A bit is preferred: wider damage looks like one
 * with odds of 8 per byte / 2^32 only, like another byte with 255. The checksum of `stored[0, crcAt)` stands at `crcAt`.
 */
export function healByChecksum(
  stored: Uint8Array,
  crcAt: number,
  accepts: (bytes: Uint8Array) => boolean,
): Healed | undefined {
  const storedCrc = readCrc(stored, crcAt);
  const syndrome = syndromeOf(stored, crcAt, storedCrc);
  if (syndrome === 0) return undefined;
  const errors = errorsAt(syndrome, 0, crcAt, crcAt);
  const work = copyBytes(stored);
  for (const bits of [true, false]) {
    const found: Uint8Array[] = [];
    const consider = () => {
      if (found.length < 2 && accepts(work)) found.push(copyBytes(work));
    };
    for (let p = 0; p < crcAt; p++) {
      if (errors[p] > 0xff || isOneBit(errors[p]) !== bits) continue;
      work[p] ^= errors[p];
      consider();
      work[p] = stored[p];
    }
    if (bits ? isOneBit(syndrome) : isOneByte(syndrome) && !isOneBit(syndrome)) {
      writeCrc(work, crcAt, storedCrc ^ syndrome);
      consider();
      writeCrc(work, crcAt, storedCrc);
    }
    if (found.length > 0) return found.length === 1 ? describeHealed(stored, found[0], 'probable') : undefined;
  }
  return undefined;
}

function isOneBit(error: number): boolean {
  return (error & (error - 1)) === 0;
}

/** Whether a u32 differs from 0 in one of its bytes only. */
function isOneByte(value: number): boolean {
  return [0, 8, 16, 24].some((shift) => (value & ~(0xff << shift)) === 0);
}

/** Compares and describes; `work` must be the caller's own. */
export function describeHealed(
  stored: Uint8Array,
  work: Uint8Array,
  trust: Healed['trust'],
  kind?: Healed['kind'],
): Healed {
  const changes: ByteChange[] = [];
  for (let i = 0; i < work.length; i++) {
    if (work[i] !== stored[i]) changes.push({ offset: i, was: stored[i], is: work[i] });
  }
  return { stored: work, trust, changes, kind: kind ?? sizeOf(changes) };
}

function sizeOf(changes: readonly ByteChange[]): 'bit' | 'byte' | 'bytes' {
  if (changes.length > 1) return 'bytes';
  return isOneBit(changes[0].was ^ changes[0].is) ? 'bit' : 'byte';
}
