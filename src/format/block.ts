/**
 * Data blocks: the validated bytes of one block, in either stored version.
 *
 * Version 2: rows share a prefix with the row before, restart rows share nothing and are listed at the end. Version 1: rows
 * share a prefix with the first row of the block, and every row is listed. A block is validated in one pass when it enters
 * memory; cursors and lookups then read it without a single check, which is what makes them fast.
 *
 * Invariants of a `Block`: at least one row; rows fill `bytes[0, rowsEnd)` exactly; every listed offset is the start of a
 * row (version 2: that shares nothing), ascending, the first one 0; key lengths 1 to 65,535; sequence numbers are safe
 * integers; flags are legal. The order of rows is not checked here, because rows of the write-ahead log have none by key.
 */
import { describeBytes } from '../common/bytes.ts';
import { type CorruptionError, damage, IncompatibleError } from '../common/errors.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, FLAGS_KNOWN } from './row-flags.ts';
import type { FormatVersion } from './table-info.ts';

/** Most bytes one block may unpack to: the largest value and some room for its row. */
export const MAX_BLOCK_BYTES = 256 * 1024 * 1024 + 128 * 1024;

/** The high half of 2^53 - 1. */
const MAX_SEQ_HIGH = 0x1fffff;

export class Block {
  /** The uncompressed payload, without checksum. */
  readonly bytes: Uint8Array;
  readonly formatVersion: FormatVersion;
  /** Where the rows end and the array of offsets (u16 BE each) begins. */
  readonly rowsEnd: number;
  /** Number of listed offsets: restart rows in version 2, all rows in version 1. */
  readonly restartCount: number;
  readonly rowCount: number;

  constructor(
    bytes: Uint8Array,
    formatVersion: FormatVersion,
    rowsEnd: number,
    restartCount: number,
    rowCount: number,
  ) {
    this.bytes = bytes;
    this.formatVersion = formatVersion;
    this.rowsEnd = rowsEnd;
    this.restartCount = restartCount;
    this.rowCount = rowCount;
  }
}

/** Offset of the `index`-th listed row. */
export function restartOffset(block: Block, index: number): number {
  const at = block.rowsEnd + 2 * index;
  return (block.bytes[at] << 8) | block.bytes[at + 1];
}

/**
 * Validates a payload whole.
 * @throws CorruptionError MALFORMED
 * @throws IncompatibleError FORMAT_TOO_NEW for row flags or sequence numbers that only a newer program knows
 */
export function decodeBlock(payload: Uint8Array, formatVersion: FormatVersion): Block {
  const walk = new RowWalk(payload, formatVersion);
  walkRows(walk, formatVersion, undefined);
  return new Block(payload, formatVersion, walk.rowsEnd, walk.restartCount, walk.rowCount);
}

/**
 * Checks the order of a block of a compacted table: keys ascending, versions of one key by descending sequence number.
 * @throws CorruptionError OUT_OF_ORDER
 */
export function checkBlockOrder(block: Block): void {
  const walk = new RowWalk(block.bytes, block.formatVersion);
  walkRows(walk, block.formatVersion, new OrderCheck(block.bytes.length));
}

function walkRows(walk: RowWalk, formatVersion: FormatVersion, order: OrderCheck | undefined): void {
  if (formatVersion === 1) walkVersion1(walk, order);
  else walkVersion2(walk, order);
}

function walkVersion2(walk: RowWalk, order: OrderCheck | undefined): void {
  const { bytes, rowsEnd } = walk;
  let keyLength = 0;
  let restart = 0;
  let nextRestart = walk.listed(0);
  let p = 0;
  if (nextRestart !== 0) throw walk.malformed(rowsEnd, 'the first listed row is not at 0');
  while (p < rowsEnd) {
    const row = p;
    // Numbers below 128 are nearly all there are.
    let shared = bytes[p];
    if (shared < 0x80) p++;
    else {
      p = walk.readVarint(p);
      shared = walk.varint;
    }
    let unshared = p < rowsEnd ? bytes[p] : 0x80;
    if (unshared < 0x80) p++;
    else {
      p = walk.readVarint(p);
      unshared = walk.varint;
    }
    let valueLength = p < rowsEnd ? bytes[p] : 0x80;
    if (valueLength < 0x80) p++;
    else {
      p = walk.readVarint(p);
      valueLength = walk.varint;
    }
    if (row === nextRestart) {
      if (shared !== 0) throw walk.malformed(row, 'a listed row shares a prefix');
      nextRestart = walk.listed(++restart);
    } else if (shared > keyLength) {
      throw walk.malformed(row, `${shared} bytes shared with a key of ${keyLength}`);
    }
    keyLength = shared + unshared;
    if (keyLength === 0 || keyLength > MAX_KEY_BYTES) throw walk.malformed(row, `key of ${keyLength} bytes`);
    const suffix = p;
    p = walk.readTail(p + unshared + valueLength);
    if (order !== undefined) order.next(bytes, shared, shared, 0, suffix, unshared, walk.seq);
    walk.rowCount++;
  }
  if (restart !== walk.restartCount)
    throw walk.malformed(rowsEnd + 2 * restart, 'listed offset is not the start of a row');
}

function walkVersion1(walk: RowWalk, order: OrderCheck | undefined): void {
  const { bytes, rowsEnd, restartCount } = walk;
  let firstKeyLength = 0;
  let previousShared = 0;
  let p = 0;
  for (let i = 0; i < restartCount; i++) {
    const row = p;
    if (walk.listed(i) !== row) throw walk.malformed(rowsEnd + 2 * i, 'listed offset is not the start of a row');
    if (p + 4 > rowsEnd) throw walk.malformed(row, 'row cut');
    const shared = (bytes[p] << 8) | bytes[p + 1];
    const unshared = (bytes[p + 2] << 8) | bytes[p + 3];
    if (shared > firstKeyLength) throw walk.malformed(row, `${shared} bytes shared with a key of ${firstKeyLength}`);
    const keyLength = shared + unshared;
    if (keyLength === 0 || keyLength > MAX_KEY_BYTES) throw walk.malformed(row, `key of ${keyLength} bytes`);
    const suffix = p + 4;
    p = walk.readTail(suffix + unshared);
    if ((walk.flags & FLAG_TOMBSTONE) === 0) {
      p += 4 + (((bytes[p] << 24) | (bytes[p + 1] << 16) | (bytes[p + 2] << 8) | bytes[p + 3]) >>> 0);
      if (p > rowsEnd) throw walk.malformed(row, 'row cut');
    }
    if (i === 0) firstKeyLength = keyLength;
    if (order !== undefined) {
      // Both rows begin with the first key's bytes as far as both share it; the first key's suffix starts at byte 4.
      order.next(bytes, Math.min(previousShared, shared), shared, 4, suffix, unshared, walk.seq);
    }
    previousShared = i === 0 ? keyLength : shared;
    walk.rowCount++;
  }
  if (p !== rowsEnd) throw walk.malformed(p, 'bytes between the last row and the offsets');
}

/** The state of one validating pass over the rows. */
class RowWalk {
  readonly bytes: Uint8Array;
  readonly rowsEnd: number;
  readonly restartCount: number;
  rowCount = 0;
  /** Set by `readVarint`. */
  varint = 0;
  /** Set by `readTail`. */
  seq = 0;
  flags = 0;

  constructor(bytes: Uint8Array, formatVersion: FormatVersion) {
    this.bytes = bytes;
    if (formatVersion !== 1 && formatVersion !== 2) {
      throw new IncompatibleError('FORMAT_TOO_NEW', `Tables of format version ${formatVersion} are not known.`);
    }
    if (bytes.length < 2) throw this.malformed(0, 'shorter than its trailer');
    this.restartCount = (bytes[bytes.length - 2] << 8) | bytes[bytes.length - 1];
    this.rowsEnd = bytes.length - 2 - 2 * this.restartCount;
    if (this.restartCount === 0) throw this.malformed(bytes.length - 2, 'no rows');
    if (this.rowsEnd <= 0) throw this.malformed(bytes.length - 2, `no room for ${this.restartCount} offsets`);
  }

  malformed(at: number, what: string): CorruptionError {
    const { length } = this.bytes;
    return damage(
      'MALFORMED',
      { unit: 'block', offset: 0, length },
      `The block is malformed at byte ${at} of ${length} (uncompressed): ${what}.`,
    );
  }

  /** Offset of the `index`-th listed row, or -1 behind the last. */
  listed(index: number): number {
    if (index >= this.restartCount) return -1;
    const at = this.rowsEnd + 2 * index;
    return (this.bytes[at] << 8) | this.bytes[at + 1];
  }

  /** Reads an unsigned LEB128 u32 into `varint`; returns the position behind it. */
  readVarint(p: number): number {
    const { bytes, rowsEnd } = this;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5; i++) {
      if (p >= rowsEnd) throw this.malformed(p, 'row cut');
      const byte = bytes[p++];
      if (byte < 0x80) {
        if (i === 4 && byte > 0x0f) break;
        this.varint = value + byte * scale;
        return p;
      }
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
    throw this.malformed(p - 1, 'number beyond 32 bits');
  }

  /** Reads seq, flags and times at `p`; returns the position behind them. */
  readTail(p: number): number {
    const { bytes, rowsEnd } = this;
    if (p + 9 > rowsEnd) throw this.malformed(p, 'row cut');
    const high = ((bytes[p] << 24) | (bytes[p + 1] << 16) | (bytes[p + 2] << 8) | bytes[p + 3]) >>> 0;
    if (high > MAX_SEQ_HIGH) {
      throw new IncompatibleError('FORMAT_TOO_NEW', 'A row has a sequence number above 2^53 - 1.');
    }
    const low = ((bytes[p + 4] << 24) | (bytes[p + 5] << 16) | (bytes[p + 6] << 8) | bytes[p + 7]) >>> 0;
    this.seq = high * 4294967296 + low;
    const flags = bytes[p + 8];
    if ((flags & ~FLAGS_KNOWN) !== 0) {
      throw new IncompatibleError('FORMAT_TOO_NEW', `A row has the unknown flags 0x${flags.toString(16)}.`);
    }
    if ((flags & FLAG_TOMBSTONE) !== 0 && (flags & FLAG_MERGE) !== 0) {
      throw this.malformed(p + 8, 'row is both a tombstone and a merge operand');
    }
    this.flags = flags;
    p += 9 + (flags & FLAG_EXPIRE ? 8 : 0) + (flags & FLAG_CREATE ? 8 : 0);
    if (p > rowsEnd) throw this.malformed(p, 'row cut');
    return p;
  }
}

/** Compares each row with the one before it, whose key it keeps. */
class OrderCheck {
  readonly #blockBytes: number;
  #key = new Uint8Array(256);
  #keyLength = 0;
  #seq = 0;
  #rows = 0;

  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes;
  }

  /**
   * @param same bytes that this key is known to have in common with the previous one
   * @param shared length of the shared prefix; its bytes from `same` on are at `bytes[prefixStart + same...]`
   */
  next(
    bytes: Uint8Array,
    same: number,
    shared: number,
    prefixStart: number,
    suffixStart: number,
    suffixLength: number,
    seq: number,
  ): void {
    const keyLength = shared + suffixLength;
    const order = this.#compare(bytes, same, shared, prefixStart, suffixStart, keyLength);
    this.#keep(bytes, same, shared, prefixStart, suffixStart, keyLength);
    if (this.#rows > 0 && (order > 0 || (order === 0 && this.#seq <= seq))) {
      throw damage(
        'OUT_OF_ORDER',
        { unit: 'block', offset: 0, length: this.#blockBytes },
        `Row ${this.#rows} of the block (key ${describeBytes(this.#key.subarray(0, keyLength))}, seq ${seq}) is not behind ` +
          `the row before it (seq ${this.#seq}).`,
      );
    }
    this.#seq = seq;
    this.#rows++;
  }

  /** Order of the previous key against this one. */
  #compare(
    bytes: Uint8Array,
    same: number,
    shared: number,
    prefixStart: number,
    suffixStart: number,
    keyLength: number,
  ): number {
    const n = Math.min(keyLength, this.#keyLength);
    for (let i = same; i < n; i++) {
      const d = this.#key[i] - (i < shared ? bytes[prefixStart + i] : bytes[suffixStart + i - shared]);
      if (d !== 0) return d;
    }
    return this.#keyLength - keyLength;
  }

  #keep(
    bytes: Uint8Array,
    same: number,
    shared: number,
    prefixStart: number,
    suffixStart: number,
    keyLength: number,
  ): void {
    if (keyLength > this.#key.length) {
      const grown = new Uint8Array(2 * keyLength);
      grown.set(this.#key);
      this.#key = grown;
    }
    for (let i = same; i < shared; i++) this.#key[i] = bytes[prefixStart + i];
    for (let i = shared; i < keyLength; i++) this.#key[i] = bytes[suffixStart + i - shared];
    this.#keyLength = keyLength;
  }
}
