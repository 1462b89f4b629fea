/**
 * Walks the rows of one input of a merge: the tables of a source, one after the other, in stretches of whole blocks as they are stored.
 *
 * ```
 * feed     stretch: blocks 4 5 6 of table 0      stretch: blocks 7 8, the last ones      stretch: blocks 0 1 of table 1      end
 * next     row row row ... BLOCKED               row row ...                             row ...                             END
 *          a block that is not good: BAD, then its rows from elsewhere (`heal`), or nothing more
 * ```
 *
 * A block is checked once, when it is entered: its checksum. Its rows are then read where they are, each with the checks that keep a read
 * inside of the block; nothing is copied but the key, which rows share parts of. Without compression one `DataView` serves a whole
 * stretch.
 *
 * What is not here: whether rows ascend. The merge compares each row with the one before it anyway, and reports what does not.
 *
 * Invariants:
 * 1. Stretches of a table follow each other without a hole, tables in their order.
 * 2. At ROW the fields are those of a legal row, until the next move. Its key has the prefix that all keys of the job share.
 * 3. Rows outside of a view's visible range do not exist.
 * 4. Nothing outside of the rows of a block is taken for a row, whatever its bytes are.
 */
import { assertThat } from '../common/assert.ts';
import { copyWords, EMPTY_BYTES, viewOf, WORD_COPY_BYTES } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { type Block, decodeBlock, MAX_BLOCK_BYTES } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { crc32 } from '../format/checksum.ts';
import type { BlockCodec } from '../format/codecs.ts';
import { CRC_BYTES, readCrc, unframeUnit } from '../format/framing.ts';
import type { BytesRange } from '../format/manifest-types.ts';
import { MAX_SEQ_HIGH } from '../format/row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, FLAGS_KNOWN, NO_TS } from '../format/row-flags.ts';
import { type BlockRow, blockOfRows } from '../format/rows-block.ts';
import type { FormatVersion } from '../format/table-info.ts';
import { BLOCKED, END, ROW } from '../lsm/rows/row-cursor.ts';
import { isAbove, isBelow } from '../lsm/rows/shown-range.ts';
import type { StoredVersion } from './retained-rows.ts';

/** The next block is not good: see `bad`. */
export const BAD = -2;

/** Whole blocks of one table as they are stored; can be transferred to another thread. */
export interface BlockStretch {
  /** Position of the table among those of the input. */
  table: number;
  /** Number in the table of the first block. */
  block: number;
  bytes: Uint8Array;
  /** For each block where it begins in `bytes` and where it ends, checksum included. */
  places: Uint32Array;
  /** Nobody else has the memory, which is a buffer of its own: it can go to another thread without a copy. */
  mayMove?: boolean;
}

/** A block whose rows were got from elsewhere. */
export interface HealedBlock {
  table: number;
  block: number;
  /** Uncompressed, without checksum. */
  payload: Uint8Array;
  formatVersion: FormatVersion;
}

/** Why a block cannot be merged, as plain data. */
export interface BadBlock {
  input: number;
  table: number;
  block: number;
  /** Some of its rows have gone on: a healed block can no longer take its place. */
  isBegun: boolean;
  /** Of the error. */
  code: string;
  message: string;
  /** Only a newer program knows it: no damage. */
  isTooNew: boolean;
}

/** How the blocks of a table are read. */
export interface CursorTable {
  codec: BlockCodec;
  formatVersion: FormatVersion;
  /** Keys that exist; undefined: all. */
  range: BytesRange | undefined;
}

/** Three lengths of one byte, sequence number and flags: a row that shares its whole key. */
const MIN_ROW_BYTES = 12;
const SEQ_AND_FLAGS_BYTES = 9;
const SIGN = 0x8000_0000;

export class StretchCursor implements StoredVersion {
  /** Number of the input: of equal rows that of the lower one comes first. */
  readonly input: number;
  key: Uint8Array = new Uint8Array(256);
  keyView: DataView = viewOf(this.key);
  keyLength = 0;
  /** The eight bytes of the key after the common prefix, as two numbers with the order of the bytes; zeros where it is shorter. */
  high = 0;
  low = 0;
  bytes: Uint8Array = EMPTY_BYTES;
  view: DataView = viewOf(EMPTY_BYTES);
  valueStart = 0;
  valueLength = 0;
  seq = 0;
  flags = 0;
  createTs: number = NO_TS;
  expireTs: number = NO_TS;
  bad: BadBlock | undefined;
  /** Stored bytes of the blocks that were entered. */
  bytesIn = 0;

  readonly #tables: readonly CursorTable[];
  /** What every key begins with, and its length. */
  readonly #prefix: Uint8Array;
  readonly #skip: number;
  #queue: BlockStretch[] = [];
  #isEnded = false;
  #stretch: BlockStretch | undefined;
  #table = -1;
  /** Number of the current block in its table, and in its stretch. */
  #block = -1;
  #place = 0;
  #isClipped = false;
  /** Of the table that is cut: a row that exists was met, so those that follow are after its start; and the rank of its end. */
  #isBegun = false;
  #endHigh = 0;
  #endLow = 0;
  /** Position of the next row, and where rows end. */
  #at = 0;
  #rowsEnd = 0;
  #rowsStart = 0;
  #varint = 0;

  /** @param prefix what all keys that exist begin with */
  constructor(input: number, tables: readonly CursorTable[], prefix: Uint8Array) {
    this.input = input;
    this.#tables = tables;
    this.#prefix = prefix;
    this.#skip = prefix.length;
  }

  // ---- what comes in

  /** Whether nothing is left that could be merged without another stretch. */
  get isStarving(): boolean {
    return !this.#isEnded && this.#queue.length === 0;
  }

  feed(stretch: BlockStretch): void {
    const last = this.#queue.at(-1) ?? this.#stretch;
    const { table, block, places, bytes } = stretch;
    const continues = last !== undefined && table === last.table ? block === last.block + last.places.length / 2 : true;
    const isAfter = last === undefined || table >= last.table;
    assertThat(!this.#isEnded && continues && isAfter, 'stretches follow each other (stretch-cursor 1)', {
      table,
      block,
    });
    assertThat(
      table < this.#tables.length && places.length > 0,
      'a stretch is of a table of its input and has a block',
    );
    let end = 0;
    for (let i = 0; i < places.length; i += 2) {
      assertThat(places[i] >= end && places[i + 1] > places[i] + CRC_BYTES, 'blocks of a stretch follow each other');
      end = places[i + 1];
    }
    assertThat(end <= bytes.length, 'blocks are in their stretch', { end, length: bytes.length });
    // A plain view also where a Buffer came in: the hot path then meets one kind of object only.
    const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#queue.push({ table, block, places, bytes: plain });
  }

  end(): void {
    this.#isEnded = true;
  }

  /** The rows of the block that is bad. */
  heal({ table, block, payload, formatVersion }: HealedBlock): void {
    const { bad } = this;
    assertThat(bad?.table === table && bad.block === block && !bad.isBegun, 'what is healed is bad and was not begun');
    this.bad = undefined;
    this.#enterPayload(payload, formatVersion);
  }

  // ---- moving

  /** To the next row. ROW, END, BLOCKED (the next stretch is needed) or BAD. */
  next(): number {
    if (this.#at < this.#rowsEnd && !this.#isClipped) return this.#readRow() ? ROW : BAD;
    return this.#nextShown();
  }

  #nextShown(): number {
    for (;;) {
      if (this.bad !== undefined) return BAD;
      while (this.#at < this.#rowsEnd) {
        if (!this.#readRow()) return BAD;
        if (!this.#isClipped || this.#isWellInRange()) return ROW;
        if (!this.#isInRange()) continue;
        this.#isBegun = true;
        return this.#hasPrefix(0) || this.#foreign() ? ROW : BAD;
      }
      if (!this.#toNextBlock()) return this.#isEnded ? END : BLOCKED;
      if (!this.#enterBlock()) return BAD;
    }
  }

  /** What is true of most rows that exist, without a comparison of keys. A row that goes back is reported by the merge, so the start counts once. */
  #isWellInRange(): boolean {
    const isBelowEnd = this.high < this.#endHigh || (this.high === this.#endHigh && this.low < this.#endLow);
    return this.#isBegun && isBelowEnd && this.#hasPrefix(0);
  }

  #isInRange(): boolean {
    const { range } = this.#tables[this.#table];
    const key = this.key.subarray(0, this.keyLength);
    return range === undefined || !(isBelow(key, range.start) || isAbove(key, range.end));
  }

  /** To the place of the next block; false: there is none yet. */
  #toNextBlock(): boolean {
    this.#block++;
    this.#place += 2;
    if (this.#stretch !== undefined && this.#place < this.#stretch.places.length) return true;
    const next = this.#queue.shift();
    this.#stretch = next ?? this.#stretch;
    if (next === undefined) {
      this.#block--;
      this.#place -= 2;
      return false;
    }
    if (next.table !== this.#table) this.#enterTable(next.table);
    this.#block = next.block;
    this.#place = 0;
    return true;
  }

  #enterTable(table: number): void {
    this.#table = table;
    const { range } = this.#tables[table];
    this.#isClipped = range !== undefined;
    this.#isBegun = false;
    if (range === undefined) return;
    const { end } = range;
    [this.#endHigh, this.#endLow] = end.kind === 'unbounded' ? [Infinity, 0] : this.#rankOf(end.key);
  }

  /** As `high` and `low` are of a key, of one that begins as all do; below all others of one that does not. */
  #rankOf(key: Uint8Array): [high: number, low: number] {
    const isOurs = key.length >= this.#skip && this.#prefix.every((byte, i) => key[i] === byte);
    const at = (i: number) => (this.#skip + i < key.length ? key[this.#skip + i] : 0);
    const word = (i: number) => ((at(i) << 24) | (at(i + 1) << 16) | (at(i + 2) << 8) | at(i + 3)) ^ SIGN;
    return isOurs ? [word(0), word(4)] : [-Infinity, 0];
  }

  /** Checks the block and stands before its first row; false: it is bad. */
  #enterBlock(): boolean {
    const { bytes, places } = this.#stretch as BlockStretch;
    const start = places[this.#place];
    const end = places[this.#place + 1];
    const { codec, formatVersion } = this.#tables[this.#table];
    this.bytesIn += end - start;
    this.#leaveRows();
    const bodyEnd = end - CRC_BYTES;
    if (codec.name === 'none' && formatVersion === 2 && crc32(bytes, start, bodyEnd) === readCrc(bytes, bodyEnd)) {
      if (bytes !== this.bytes) {
        this.bytes = bytes;
        this.view = viewOf(bytes);
      }
      return this.#enterRows(start, bodyEnd);
    }
    try {
      const payload = unframeUnit(bytes.subarray(start, end), codec, 'block', MAX_BLOCK_BYTES);
      return this.#enterPayload(payload, formatVersion);
    } catch (error) {
      return this.#fail(error);
    }
  }

  #enterPayload(payload: Uint8Array, formatVersion: FormatVersion): boolean {
    try {
      this.bytes = formatVersion === 2 ? payload : asVersion2(decodeBlock(payload, 1)).bytes;
    } catch (error) {
      return this.#fail(error);
    }
    this.view = viewOf(this.bytes);
    return this.#enterRows(0, this.bytes.length);
  }

  /** Rows, restart offsets and their number are in `bytes[start, end)`. */
  #enterRows(start: number, end: number): boolean {
    this.#rowsStart = start;
    this.#at = start;
    this.keyLength = 0;
    const restarts = end - start < 2 ? 0 : this.view.getUint16(end - 2);
    this.#rowsEnd = end - 2 - 2 * restarts;
    if (restarts > 0 && this.#rowsEnd > start) return true;
    this.#rowsEnd = end;
    return this.#malformed();
  }

  /** Reads the row at `#at`; false: it is not legal. The hot path: numbers below 128 are nearly all there are. */
  #readRow(): boolean {
    const { bytes, view } = this;
    const end = this.#rowsEnd;
    let p = this.#at;
    if (p + MIN_ROW_BYTES > end) return this.#malformed();
    let shared = bytes[p++];
    if (shared >= 0x80) {
      p = this.#readVarint(p - 1);
      if (p < 0) return this.#malformed();
      shared = this.#varint;
    }
    let unshared = p < end ? bytes[p++] : 0x80;
    if (unshared >= 0x80) {
      p = this.#readVarint(p - 1);
      if (p < 0) return this.#malformed();
      unshared = this.#varint;
    }
    let valueLength = p < end ? bytes[p++] : 0x80;
    if (valueLength >= 0x80) {
      p = this.#readVarint(p - 1);
      if (p < 0) return this.#malformed();
      valueLength = this.#varint;
    }
    const keyLength = shared + unshared;
    let tail = p + unshared + valueLength;
    if (shared > this.keyLength || keyLength === 0 || keyLength > MAX_KEY_BYTES || tail + SEQ_AND_FLAGS_BYTES > end) {
      return this.#malformed();
    }
    this.#copySuffix(p, shared, unshared);
    this.keyLength = keyLength;
    this.valueStart = p + unshared;
    this.valueLength = valueLength;
    const seqHigh = view.getUint32(tail);
    const flags = bytes[tail + 8];
    if (seqHigh > MAX_SEQ_HIGH || (flags & ~FLAGS_KNOWN) !== 0) return this.#malformed();
    this.seq = seqHigh * 4294967296 + view.getUint32(tail + 4);
    this.flags = flags;
    tail += SEQ_AND_FLAGS_BYTES;
    if ((flags & (FLAG_TOMBSTONE | FLAG_MERGE)) === (FLAG_TOMBSTONE | FLAG_MERGE)) return this.#malformed();
    const next = tail + ((flags & FLAG_EXPIRE) << 2) + ((flags & FLAG_CREATE) << 1);
    if (next > end) return this.#malformed();
    if ((flags & FLAG_EXPIRE) !== 0) {
      this.expireTs = view.getInt32(tail) * 4294967296 + view.getUint32(tail + 4);
      tail += 8;
    } else this.expireTs = NO_TS;
    this.createTs = (flags & FLAG_CREATE) !== 0 ? view.getInt32(tail) * 4294967296 + view.getUint32(tail + 4) : NO_TS;
    this.#at = next;
    if (shared < this.#skip && !this.#isClipped && !this.#hasPrefix(shared)) return this.#foreign();
    this.#rank();
    return true;
  }

  /** Puts what is not shared into the key. */
  #copySuffix(p: number, shared: number, unshared: number): void {
    const length = shared + unshared;
    if (length > this.key.length) {
      const grown = new Uint8Array(2 * length);
      grown.set(this.key);
      this.key = grown;
      this.keyView = viewOf(grown);
    }
    if (unshared <= WORD_COPY_BYTES) copyWords(this.keyView, shared, this.view, p, unshared);
    else this.key.set(this.bytes.subarray(p, p + unshared), shared);
  }

  /** Sets `high` and `low`. */
  #rank(): void {
    const at = this.#skip;
    if (this.keyLength >= at + 8) {
      this.high = this.keyView.getInt32(at) ^ SIGN;
      this.low = this.keyView.getInt32(at + 4) ^ SIGN;
      return;
    }
    let high = 0;
    let low = 0;
    for (let i = 0; i < 4; i++) {
      high = (high << 8) | (at + i < this.keyLength ? this.key[at + i] : 0);
      low = (low << 8) | (at + 4 + i < this.keyLength ? this.key[at + 4 + i] : 0);
    }
    this.high = high ^ SIGN;
    this.low = low ^ SIGN;
  }

  /** Whether the key begins as all do; its first `known` bytes are those of a key that does. */
  #hasPrefix(known: number): boolean {
    if (this.keyLength < this.#skip) return false;
    for (let i = known; i < this.#skip; i++) if (this.key[i] !== this.#prefix[i]) return false;
    return true;
  }

  /** Reads an unsigned LEB128 u32 into `#varint`; the position after it, or -1. */
  #readVarint(p: number): number {
    const { bytes } = this;
    const end = this.#rowsEnd;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5 && p < end; i++) {
      const byte = bytes[p++];
      if (byte < 0x80) {
        if (i === 4 && byte > 0x0f) return -1;
        this.#varint = value + byte * scale;
        return p;
      }
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
    return -1;
  }

  // ---- what is not good

  /** The rows are not legal; which rule they break, decoding the whole block says. Always false. */
  #malformed(): boolean {
    const start = this.#rowsStart;
    const payload = this.bytes.subarray(start, this.#payloadEnd());
    try {
      decodeBlock(payload, 2);
    } catch (error) {
      return this.#fail(error);
    }
    return this.#fail(
      damage('MALFORMED', { unit: 'block', offset: 0, length: payload.length }, 'The rows of the block are not legal.'),
    );
  }

  /** Where the list of restart rows ends. */
  #payloadEnd(): number {
    const { bytes, places } = this.#stretch as BlockStretch;
    return this.bytes === bytes ? places[this.#place + 1] - CRC_BYTES : this.bytes.length;
  }

  /** Always false. */
  #fail(error: unknown): boolean {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    this.bad = {
      input: this.input,
      table: this.#table,
      block: this.#block,
      isBegun: this.#at > this.#rowsStart,
      code: error.code,
      message: error.message,
      isTooNew: error instanceof IncompatibleError,
    };
    this.#leaveRows();
    return false;
  }

  #leaveRows(): void {
    this.#at = 0;
    this.#rowsEnd = 0;
    this.#rowsStart = 0;
  }

  /** The current row has a key that is not between the first and the last one of its table. Always false. */
  #foreign(): boolean {
    const message = 'The block has a key outside of the range that the manifest states for the table.';
    return this.#fail(damage('OUT_OF_ORDER', { unit: 'block', offset: 0, length: 0 }, message));
  }

  /** The current row cannot be where it is, as the merge has found. */
  refuse(message: string): void {
    this.#at = this.#rowsEnd;
    this.#fail(damage('OUT_OF_ORDER', { unit: 'block', offset: 0, length: 0 }, message));
  }
}

/** The same rows as a block of version 2. */
function asVersion2(block: Block): Block {
  const rows: BlockRow[] = [];
  const cursor = new BlockCursor();
  cursor.attach(block);
  for (let more = cursor.first(); more; more = cursor.next()) {
    const { key, keyLength, valueStart, valueLength, seq, flags, createTs, expireTs } = cursor;
    const value = block.bytes.subarray(valueStart, valueStart + valueLength);
    rows.push({ key: key.slice(0, keyLength), value, seq, flags, createTs, expireTs });
  }
  return blockOfRows(rows);
}
