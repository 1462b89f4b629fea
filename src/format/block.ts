/**
 * Data blocks: the validated bytes of one block, in either stored version.
 *
 * A block is the unit of reading, of compression and of the checksum (framing.ts). It is validated in one pass when it enters
 * memory; cursors and lookups then read it without a single check, which is what makes them fast.
 *
 * ```
 * block         rows, back to back | offsets, u16 BE each | u16 BE number of offsets
 *               0                  ^ rowsEnd               no padding anywhere; the number of rows is not stored
 *
 * row, v2       varint shared | varint unshared | varint value_len | key suffix | value |
 *               u64 BE seq | u8 flags | i64 BE expire_ts, with flag 0x02 | i64 BE create_ts, with flag 0x04
 * offsets, v2   of restart rows only: every 16th as SlateDB and this program write it, any as they are read
 *
 * row, v1       u16 BE shared | u16 BE unshared | key suffix |
 *               u64 BE seq | u8 flags | i64 BE expire_ts, with flag 0x02 | i64 BE create_ts, with flag 0x04 |
 *               u32 BE value_len | value                                    both absent in a tombstone (flag 0x01)
 * offsets, v1   of every row
 * ```
 *
 * `shared` counts key bytes taken from the row before (version 2; 0 in a restart row) or from the first row of the block
 * (version 1). Varints are unsigned LEB128 below 2^32. Nothing in a block says which version it has: that is in the footer of the
 * object and in the manifest's entry for the table, where it is absent for tables from before SlateDB 0.11, which means 1.
 *
 * Version 2, from a table of SlateDB 0.12.1:
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 0
 * 00 05 03                    shared=0 unshared=5 value_len=3
 * 61 70 70 6c 65              key="apple"
 * 72 65 64                    value="red"
 * 00 00 00 00 00 00 00 02     seq=2
 * 06                          flags=0x06: both times are stored
 * 00 00 01 a1 fd 86 97 50     expire_ts=1795254818640
 * 00 00 01 a1 f8 60 3b 50     create_ts=1795168418640
 * 04 01 00                    shared=4 unshared=1 value_len=0
 * 79                          key="apply"
 * 00 00 00 00 00 00 00 03     seq=3
 * 05                          flags=0x05: a tombstone, and its creation time
 * 00 00 01 a1 f8 60 3b 51     create_ts=1795168418641
 * 00 04 05                    shared=0 unshared=4 value_len=5
 * 70 65 61 72                 key="pear"
 * 67 72 65 65 6e              value="green"
 * 00 00 00 00 00 00 00 01     seq=1
 * 04                          flags=0x04
 * 00 00 01 a1 f8 60 3b 50     create_ts=1795168418640
 * 00 00                       offset=0 of the only restart row
 * 00 01                       offsets=1
 * ```
 *
 * Version 1, from an object of the log:
 *
 * ```example constructed/v1-blocks db/wal/00000000000000000001.sst 86
 * 00 00 00 02                 shared=0 unshared=2
 * 61 61                       key="aa"
 * 00 00 00 00 00 00 00 99     seq=153
 * 04                          flags=0x04
 * 00 00 01 a1 ee 56 5e 99     create_ts=1795000000153
 * 00 00 00 02                 value_len=2
 * 77 32                       value="w2"
 * 00 00 00 02                 shared=0 unshared=2
 * 7a 7a                       key="zz"
 * 00 00 00 00 00 00 00 9a     seq=154
 * 05                          flags=0x05: a tombstone ends with its times
 * 00 00 01 a1 ee 56 5e 9a     create_ts=1795000000154
 * 00 00 00 1d                 offset=0 offset=29
 * 00 02                       offsets=2
 * ```
 *
 * Invariants of a `Block`:
 * 1. it has at least one row, and the rows fill `bytes[0, rowsEnd)` exactly;
 * 2. every offset is the start of a row (version 2: of one that shares nothing), offsets ascend, and the first one is 0;
 * 3. keys have 1 to 65,535 bytes, values below 2^32;
 * 4. sequence numbers are safe integers: one above 2^53 - 1 is refused as too new, never rounded;
 * 5. flags are known, and no row is both a tombstone and a merge operand.
 *
 * Not checked here: that rows ascend. Rows of the log have no order by key; `checkBlockOrder` checks the blocks of tables.
 */
import { describeBytes, viewOf } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import { type CorruptionError, IncompatibleError } from '../common/errors.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { MAX_SEQ_HIGH } from './row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, FLAGS_KNOWN } from './row-flags.ts';
import type { FormatVersion } from './table-info.ts';

/** The largest value: 256 MiB; the format could hold 4 GiB, memory could not. */
export const MAX_VALUE_BYTES = 256 * 1024 * 1024;
/** Most bytes one block may unpack to: the largest value and some room for its row. */
export const MAX_BLOCK_BYTES = MAX_VALUE_BYTES + 128 * 1024;

export class Block {
  /** The uncompressed payload, without checksum. */
  readonly bytes: Uint8Array;
  readonly formatVersion: FormatVersion;
  /** Where the rows end and the array of offsets (u16 BE each) begins. */
  readonly rowsEnd: number;
  /** Number of listed offsets: restart rows in version 2, all rows in version 1. */
  readonly restartCount: number;
  readonly rowCount: number;
  #view: DataView | undefined = undefined;

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

  /** A view of `bytes`, made when it is first asked for. */
  get view(): DataView {
    this.#view ??= viewOf(this.bytes);
    return this.#view;
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

/**
 * The hot loop of opening a table: 1 pass, no allocation, lengths below 128 without a call. Every position that is read was checked
 * against `rowsEnd` before; a read beyond it would be of the offsets, not outside of memory.
 */
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

/** Rows of version 1 are all listed, so each must begin where the list says and where the row before it ends. */
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

  /** Offset of the `index`-th listed row, or -1 after the last. */
  listed(index: number): number {
    if (index >= this.restartCount) return -1;
    const at = this.rowsEnd + 2 * index;
    return (this.bytes[at] << 8) | this.bytes[at + 1];
  }

  /** Reads an unsigned LEB128 u32 into `varint`; returns the position after it. */
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

  /** Reads seq, flags and times at `p`; returns the position after them. */
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
  /** For the error only: where in the block is not known any more. */
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
        `Row ${this.#rows} of the block (key ${describeBytes(this.#key.subarray(0, keyLength))}, seq ${seq}) is not after ` +
          `the row before it (seq ${this.#seq}).`,
      );
    }
    this.#seq = seq;
    this.#rows++;
  }

  /** Order of the previous key against this one. Bytes that both are known to share are not looked at. */
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

  /** Makes this key the previous one; only what differs from it is copied. */
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
