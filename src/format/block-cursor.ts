/**
 * Walking over and looking into validated blocks, without allocating per row and without checks (decoding made them).
 *
 * ```
 * version 2, restart rows marked         key buffer while walking forward       stack when stepping back from row 3
 *   row 0 *  shared 0  "apple"           a p p l e                              start of row 0
 *   row 1    shared 4  "y"               a p p l y                              start of row 1
 *   row 2    shared 2  "t"               a p t                                  start of row 2     top: the row to go to
 *   row 3    shared 1  "xe"              a x e
 * ```
 *
 * * **Forward**: one key buffer; each row overwrites what it does not share with the row before. The buffer always has the key of
 *   the current row.
 * * **Backward**: rows have no length in front and no link to the row before. So the starts of the rows since the last restart are
 *   collected once per restart interval, and the key of the row to go to is put together from the suffixes on the stack: each gives
 *   the part that no later one replaces. A whole scan backwards reads each row twice.
 * * **Seek**: binary search over the restart rows for the first whose key is not less than the target, one restart back, then
 *   forward. One back also where a restart key equals the target: newer versions of it may end the interval before.
 * * **Point lookup** (`findInBlock`) rebuilds no keys at all: it carries how many bytes of the target the row before matched. A row
 *   that shares more than that differs from the target at the same place as the row before, and is skipped without being compared.
 *
 * Version 1 lists every row and shares with the first one only, so a row is reached by its number and none of this is needed.
 *
 * Invariants:
 * 1. a cursor reads only inside of a validated block, so no read is checked; on other bytes it would return garbage, not fail;
 * 2. the key buffer and the fields are those of the current row until the next move; callers copy what they keep;
 * 3. `seek`, `seekBefore` and `findInBlock` need rows in order (tables), the other moves do not (WAL objects).
 */
import { EMPTY_BYTES, viewOf } from '../common/bytes.ts';
import { Block, restartOffset } from './block.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE, NO_TS } from './row-flags.ts';

const NO_BLOCK = new Block(EMPTY_BYTES, 2, 0, 0, 0);

/** Bytes from which a native copy beats a loop. */
const COPY_BYTES = 48;

/** An i64 BE rounded to the nearest double; sequence numbers are below 2^53, so they are exact. */
export function readInt64(b: Uint8Array, p: number): number {
  const high = (b[p] << 24) | (b[p + 1] << 16) | (b[p + 2] << 8) | b[p + 3];
  const low = ((b[p + 4] << 24) | (b[p + 5] << 16) | (b[p + 6] << 8) | b[p + 7]) >>> 0;
  return high * 4294967296 + low;
}

let varint = 0;

/** Reads an unsigned LEB128 number into `varint`; returns the position after it. */
function readVarint(b: Uint8Array, p: number): number {
  let value = b[p] & 0x7f;
  let scale = 128;
  while (b[p++] >= 0x80) {
    value += (b[p] & 0x7f) * scale;
    scale *= 128;
  }
  varint = value;
  return p;
}

/** Position after the version-2 row whose flags stand at `flagsAt`. */
function rowEnd(flags: number, flagsAt: number): number {
  return flagsAt + 1 + ((flags & FLAG_EXPIRE) << 2) + ((flags & FLAG_CREATE) << 1);
}

const NO_STACK = new Int32Array(0);
const FIRST_STACK_ROWS = 32;

const KEY_BUFFER_BYTES = 256;
const KEY_SLAB_BYTES = 64 * KEY_BUFFER_BYTES;
let keySlab = new ArrayBuffer(0);
let keySlabUsed = 0;

/** A part of memory that many cursors share and none uses again: memory of its own would cost a cursor over 100 rows a tenth of its time. */
function newKeyBuffer(): Uint8Array {
  if (keySlabUsed === keySlab.byteLength) {
    keySlab = new ArrayBuffer(KEY_SLAB_BYTES);
    keySlabUsed = 0;
  }
  const buffer = new Uint8Array(keySlab, keySlabUsed, KEY_BUFFER_BYTES);
  keySlabUsed += KEY_BUFFER_BYTES;
  return buffer;
}

/**
 * One row at a time of one block, forward and backward. After `first`, `last`, `seek`, `seekBefore`, `next` or `prev`
 * returned true the fields describe that row, until the next move. After one returned false there is no current row:
 * only `first`, `last`, `seek` and `seekBefore` make sense.
 */
export class BlockCursor {
  block: Block = NO_BLOCK;
  /** The key is `key[0, keyLength)`; the buffer is replaced when it grows. */
  key: Uint8Array = newKeyBuffer();
  /** A view of `key`. */
  keyView: DataView = viewOf(this.key);
  keyLength = 0;
  /** The value is `block.bytes[valueStart, valueStart + valueLength)`. */
  valueStart = 0;
  valueLength = 0;
  seq = 0;
  flags = 0;
  /** Milliseconds, or NO_TS. */
  createTs = NO_TS;
  expireTs = NO_TS;

  /** Start of the current row; -1 without one. */
  #row = -1;
  /** Start of the next row. */
  #nextRow = 0;
  /** Bytes the current row shares with the one before it (version 1: with the first of the block). */
  #shared = 0;
  /** Version 1: ordinal of the current row. */
  #index = -1;
  /** Version 2: starts of the rows from a restart on up to the one before `#stackTop`. */
  #stack = NO_STACK;
  #stackSize = 0;
  #stackTop = -1;

  /** Takes another block and stands before its first row. */
  attach(block: Block): void {
    this.block = block;
    this.#row = -1;
    this.#nextRow = 0;
    this.#index = -1;
    this.#stackSize = 0;
  }

  /** To the first row; always true, as a block has rows. */
  first(): boolean {
    if (this.block.formatVersion === 1) return this.#readIndex(0);
    this.#readRow(0);
    return true;
  }

  /** To the last row; reads the rows after the last restart, 16 at most in what SlateDB writes. */
  last(): boolean {
    const { block } = this;
    if (block.formatVersion === 1) return this.#readIndex(block.rowCount - 1);
    this.#readRow(restartOffset(block, block.restartCount - 1));
    while (this.#nextRow < block.rowsEnd) this.#readRow(this.#nextRow);
    return true;
  }

  /** To the next row; false at the end, and then there is no current row. */
  next(): boolean {
    if (this.block.formatVersion === 1) return this.#readIndex(this.#index + 1);
    const next = this.#nextRow;
    if (next >= this.block.rowsEnd) {
      this.#row = -1;
      return false;
    }
    this.#readRow(next);
    return true;
  }

  /** To the row before; false at the start. The first step of a restart interval collects the stack. */
  prev(): boolean {
    if (this.block.formatVersion === 1) return this.#readIndex(this.#index - 1);
    if (this.#row <= 0) {
      this.#row = -1;
      return false;
    }
    if (this.#stackTop !== this.#row || this.#stackSize === 0) this.#fillStack();
    this.#readPrevious();
    return true;
  }

  /** The first row whose key is `target` or greater: the newest version of that key. Needs rows in order. */
  seek(target: Uint8Array): boolean {
    if (this.block.formatVersion === 1) return this.#readIndex(this.#listedBefore(target));
    const listed = this.#listedBefore(target);
    this.#readRow(listed === 0 ? 0 : restartOffset(this.block, listed - 1));
    while (this.#compareKey(target) < 0) {
      if (this.#nextRow >= this.block.rowsEnd) {
        this.#row = -1;
        return false;
      }
      this.#readRow(this.#nextRow);
    }
    return true;
  }

  /** The last row whose key is less than `target`. Needs rows in order. */
  seekBefore(target: Uint8Array): boolean {
    const listed = this.#listedBefore(target);
    if (listed === 0) {
      this.#row = -1;
      return false;
    }
    if (this.block.formatVersion === 1) return this.#readIndex(listed - 1);
    this.#readRow(restartOffset(this.block, listed - 1));
    while (this.#nextRow < this.block.rowsEnd) {
      this.#readRow(this.#nextRow);
      if (this.#compareKey(target) >= 0) return this.prev();
    }
    return true;
  }

  /** Number of listed rows whose key is less than `target`. */
  #listedBefore(target: Uint8Array): number {
    const { block } = this;
    let low = 0;
    let high = block.restartCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareListed(block, restartOffset(block, middle), target) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #compareKey(target: Uint8Array): number {
    const { key, keyLength } = this;
    const n = Math.min(keyLength, target.length);
    for (let i = 0; i < n; i++) {
      const d = key[i] - target[i];
      if (d !== 0) return d;
    }
    return keyLength - target.length;
  }

  /** Version 2: reads the row at `row`; the key buffer must hold the key before it, as far as it is shared. */
  #readRow(row: number): void {
    const b = this.block.bytes;
    let p = row;
    let shared = b[p++];
    if (shared >= 0x80) {
      p = readVarint(b, p - 1);
      shared = varint;
    }
    let unshared = b[p++];
    if (unshared >= 0x80) {
      p = readVarint(b, p - 1);
      unshared = varint;
    }
    let valueLength = b[p++];
    if (valueLength >= 0x80) {
      p = readVarint(b, p - 1);
      valueLength = varint;
    }
    const keyLength = shared + unshared;
    if (keyLength > this.key.length) this.#growKey(keyLength);
    const key = this.key;
    if (unshared < COPY_BYTES) for (let i = 0; i < unshared; i++) key[shared + i] = b[p + i];
    else key.set(new Uint8Array(b.buffer, b.byteOffset + p, unshared), shared);
    p += unshared;
    this.#row = row;
    this.#shared = shared;
    this.keyLength = keyLength;
    this.valueStart = p;
    this.valueLength = valueLength;
    p += valueLength;
    this.seq = readInt64(b, p);
    const flags = b[p + 8];
    this.flags = flags;
    this.#nextRow = this.#readTimes(b, p + 9, flags);
  }

  /** Reads the times that `flags` announces at `p`; returns the position after them. */
  #readTimes(b: Uint8Array, p: number, flags: number): number {
    if ((flags & FLAG_EXPIRE) !== 0) {
      this.expireTs = readInt64(b, p);
      p += 8;
    } else this.expireTs = NO_TS;
    if ((flags & FLAG_CREATE) !== 0) {
      this.createTs = readInt64(b, p);
      p += 8;
    } else this.createTs = NO_TS;
    return p;
  }

  /** Version 2: collects the rows between the current one and the last restart before it. */
  #fillStack(): void {
    const { block } = this;
    const b = block.bytes;
    let low = 0;
    let high = block.restartCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (restartOffset(block, middle) < this.#row) low = middle + 1;
      else high = middle;
    }
    let p = restartOffset(block, low - 1);
    let size = 0;
    while (p < this.#row) {
      if (size === this.#stack.length) {
        const grown = new Int32Array(Math.max(FIRST_STACK_ROWS, 2 * size));
        grown.set(this.#stack);
        this.#stack = grown;
      }
      this.#stack[size++] = p;
      p = readVarint(b, p);
      p = readVarint(b, p);
      const unshared = varint;
      p = readVarint(b, p) + unshared + varint + 8;
      p = rowEnd(b[p], p);
    }
    this.#stackSize = size;
  }

  /** Version 2: moves to the row on top of the stack. */
  #readPrevious(): void {
    const b = this.block.bytes;
    const stack = this.#stack;
    const top = this.#stackSize - 1;
    const row = stack[top];
    // The current key begins with the bytes it shares with the previous one. What that one shares beyond them stands in
    // the rows before it: each gives the part of its suffix that no later one replaces.
    const known = this.#shared;
    readVarint(b, row);
    let missingEnd = varint;
    if (missingEnd > this.key.length) this.#growKey(missingEnd);
    for (let i = top - 1; missingEnd > known; i--) {
      let p = readVarint(b, stack[i]);
      const shared = varint;
      if (shared >= missingEnd) continue;
      p = readVarint(b, p);
      p = readVarint(b, p);
      const from = Math.max(shared, known);
      const { key } = this;
      for (let k = from; k < missingEnd; k++) key[k] = b[p + k - shared];
      missingEnd = from;
    }
    this.#readRow(row);
    this.#stackSize = top;
    this.#stackTop = row;
  }

  /** Version 1: reads the row with this ordinal; false outside the block. */
  #readIndex(index: number): boolean {
    const { block } = this;
    if (index < 0 || index >= block.rowCount) return false;
    const b = block.bytes;
    let p = restartOffset(block, index);
    const shared = (b[p] << 8) | b[p + 1];
    const unshared = (b[p + 2] << 8) | b[p + 3];
    p += 4;
    const keyLength = shared + unshared;
    if (keyLength > this.key.length) this.#growKey(keyLength);
    const { key } = this;
    // The first row shares nothing, so its key stands whole at byte 4.
    for (let i = 0; i < shared; i++) key[i] = b[4 + i];
    for (let i = 0; i < unshared; i++) key[shared + i] = b[p + i];
    p += unshared;
    this.#index = index;
    this.keyLength = keyLength;
    this.seq = readInt64(b, p);
    const flags = b[p + 8];
    this.flags = flags;
    p = this.#readTimes(b, p + 9, flags);
    if ((flags & FLAG_TOMBSTONE) === 0) {
      this.valueLength = ((b[p] << 24) | (b[p + 1] << 16) | (b[p + 2] << 8) | b[p + 3]) >>> 0;
      p += 4;
    } else this.valueLength = 0;
    this.valueStart = p;
    return true;
  }

  #growKey(keyLength: number): void {
    const grown = new Uint8Array(2 * keyLength);
    grown.set(this.key);
    this.key = grown;
    this.keyView = viewOf(grown);
  }
}

/** Compares the key of the listed row at `row` with `target`; leaves in `seqAt` where its sequence number stands. */
function compareListed(block: Block, row: number, target: Uint8Array): number {
  const b = block.bytes;
  if (block.formatVersion === 1) return compareListed1(b, row, target);
  let p = row;
  while (b[p++] >= 0x80);
  let length = b[p++];
  if (length >= 0x80) {
    p = readVarint(b, p - 1);
    length = varint;
  }
  let valueLength = b[p++];
  if (valueLength >= 0x80) {
    p = readVarint(b, p - 1);
    valueLength = varint;
  }
  seqAt = p + length + valueLength;
  const n = Math.min(length, target.length);
  for (let i = 0; i < n; i++) {
    const d = b[p + i] - target[i];
    if (d !== 0) return d;
  }
  return length - target.length;
}

/** Where the row that was last compared has its sequence number. */
let seqAt = 0;

function compareListed1(b: Uint8Array, row: number, target: Uint8Array): number {
  const shared = (b[row] << 8) | b[row + 1];
  const unshared = (b[row + 2] << 8) | b[row + 3];
  const length = shared + unshared;
  const suffix = row + 4 - shared;
  seqAt = row + 4 + unshared;
  const n = Math.min(length, target.length);
  for (let i = 0; i < n; i++) {
    const d = (i < shared ? b[4 + i] : b[suffix + i]) - target[i];
    if (d !== 0) return d;
  }
  return length - target.length;
}

/** Result of a point lookup: a greater key follows in this block, so the key is not here and in no later block. */
export const ABSENT = 0;
/** The row was found. */
export const FOUND = 1;
/** The block ended first: the key may continue in the next one. */
export const UNDECIDED = 2;

/** Where `findInBlock` puts the row it found; made once and used again. */
export class FoundRow {
  bytes: Uint8Array = EMPTY_BYTES;
  /** A view of `bytes`. */
  view: DataView = NO_BLOCK.view;
  valueStart = 0;
  valueLength = 0;
  seq = 0;
  flags = 0;
  createTs = NO_TS;
  expireTs = NO_TS;
  /** Start of the row in the block. */
  rowOffset = 0;
}

/**
 * Searches the newest row of `key` with a sequence number of at most `maxSeq`. Needs rows in order. On FOUND, `out`
 * describes it; its value shares memory with the block.
 */
export function findInBlock(block: Block, key: Uint8Array, maxSeq: number, out: FoundRow): 0 | 1 | 2 {
  let low = 0;
  let high = block.restartCount;
  // Versions of one key may fill many restart intervals, so the search is for (key, maxSeq), not for the key alone.
  while (low < high) {
    const middle = (low + high) >>> 1;
    const d = compareListed(block, restartOffset(block, middle), key);
    if (d < 0 || (d === 0 && readInt64(block.bytes, seqAt) > maxSeq)) low = middle + 1;
    else high = middle;
  }
  if (block.formatVersion === 1) return found1(block, low, key, out);
  return findFrom(block, low === 0 ? 0 : restartOffset(block, low - 1), key, maxSeq, out);
}

function findFrom(block: Block, start: number, key: Uint8Array, maxSeq: number, out: FoundRow): 0 | 1 | 2 {
  const b = block.bytes;
  const rowsEnd = block.rowsEnd;
  const wanted = key.length;
  /** Bytes that the key of the row before, which is less than the target or equal to it, has in common with it. */
  let matched = 0;
  let p = start;
  while (p < rowsEnd) {
    const row = p;
    let shared = b[p++];
    if (shared >= 0x80) {
      p = readVarint(b, p - 1);
      shared = varint;
    }
    let unshared = b[p++];
    if (unshared >= 0x80) {
      p = readVarint(b, p - 1);
      unshared = varint;
    }
    let valueLength = b[p++];
    if (valueLength >= 0x80) {
      p = readVarint(b, p - 1);
      valueLength = varint;
    }
    const valueStart = p + unshared;
    const tail = valueStart + valueLength;
    // A row that shares more than matched differs from the target where the one before did, and is less as well.
    if (shared <= matched) {
      const n = Math.min(unshared, wanted - shared);
      let i = 0;
      while (i < n && b[p + i] === key[shared + i]) i++;
      matched = shared + i;
      if (i < n) {
        if (b[p + i] > key[matched]) return ABSENT;
      } else if (unshared > n) return ABSENT;
      else if (matched === wanted && readInt64(b, tail) <= maxSeq) {
        out.rowOffset = row;
        out.valueStart = valueStart;
        out.valueLength = valueLength;
        fillFound(block, tail, out);
        return FOUND;
      }
    }
    p = rowEnd(b[tail + 8], tail + 8);
  }
  return UNDECIDED;
}

/** Fills in what stands after the value (version 1: after the key); returns the position after it. */
function fillFound(block: Block, tail: number, out: FoundRow): number {
  const b = block.bytes;
  out.bytes = b;
  out.view = block.view;
  out.seq = readInt64(b, tail);
  const flags = b[tail + 8];
  out.flags = flags;
  let p = tail + 9;
  if ((flags & FLAG_EXPIRE) !== 0) {
    out.expireTs = readInt64(b, p);
    p += 8;
  } else out.expireTs = NO_TS;
  if ((flags & FLAG_CREATE) !== 0) {
    out.createTs = readInt64(b, p);
    p += 8;
  } else out.createTs = NO_TS;
  return p;
}

/** Version 1: every row is listed, so the search has found the row already if it is there. */
function found1(block: Block, index: number, key: Uint8Array, out: FoundRow): 0 | 1 | 2 {
  if (index === block.rowCount) return UNDECIDED;
  const row = restartOffset(block, index);
  if (compareListed(block, row, key) !== 0) return ABSENT;
  const b = block.bytes;
  let p = fillFound(block, seqAt, out);
  out.rowOffset = row;
  out.valueLength = 0;
  if ((out.flags & FLAG_TOMBSTONE) === 0) {
    out.valueLength = ((b[p] << 24) | (b[p + 1] << 16) | (b[p + 2] << 8) | b[p + 3]) >>> 0;
    p += 4;
  }
  out.valueStart = p;
  return FOUND;
}
