/**
 * The memtable: the rows that are not in a table object yet, all versions of them.
 *
 * Put together from an append-only log of rows (memtable-log), a hash index for point reads (memtable-index) and a key order
 * that is built only when a scan or the flush asks for it (memtable-order). Rows leave only with the whole table.
 *
 * Invariants:
 * 1. Seqs never fall.
 * 2. One batch (equal seqs) never holds a key twice.
 * 3. After `freeze` nothing changes but the order.
 */
import { assertThat, ruleBroken } from '../../common/assert.ts';
import { isReadable, trueLength } from '../../common/bytes.ts';
import { memoryGone } from '../../common/errors.ts';
import { FLAG_TOMBSTONE, NO_TS } from '../../format/row-flags.ts';
import { FlushRows } from './flush-rows.ts';
import { MemtableCursor } from './memtable-cursor.ts';
import { MemtableIndex } from './memtable-index.ts';
import {
  AHEAD_ROWS,
  CHUNK_BYTES,
  checkRowBounds,
  HEADER_BYTES,
  MemtableLog,
  type RowSink,
  WORD_ID,
  WORD_VALUE_LENGTH,
} from './memtable-log.ts';
import { MemtableOrder } from './memtable-order.ts';

const MARK_BYTES = 16 * 1024;

/** A place between two rows, and the bytes of keys and values before it. */
export interface RowPosition {
  readonly row: number;
  readonly bytes: number;
}

export const FIRST_ROW: RowPosition = { row: 0, bytes: 0 };

export interface MemtableOptions {
  /** Key of the hash index; a random number keeps users from choosing colliding keys. Any 32-bit number. */
  hashSeed?: number;
  /** Bits kept of each hash: 32; tests lower it to force collisions. */
  hashBits?: number;
  /** How much memory is taken at once, at most and by default 1 MiB. */
  maxChunkBytes?: number;
}

export class Memtable {
  readonly #log: MemtableLog;
  readonly #index: MemtableIndex;
  readonly #order: MemtableOrder;
  #dataBytes = 0;
  /** Bytes of keys and values. */
  #rowBytes = 0;
  /** Ends of batches, at least `MARK_BYTES` of keys and values apart. */
  readonly #marks: RowPosition[] = [];
  #nextMark = MARK_BYTES;
  #firstSeq = -1;
  #lastSeq = -1;
  #maxCreateTs = NO_TS;
  #frozen = false;
  /** The row found last, whose fields are likely to be asked for next. */
  #foundId = -1;
  #foundPlace = 0;
  #toFlush: FlushRows | undefined = undefined;

  constructor(options: MemtableOptions = {}) {
    this.#log = new MemtableLog(Math.min(CHUNK_BYTES, options.maxChunkBytes ?? CHUNK_BYTES));
    this.#index = new MemtableIndex(this.#log, options.hashSeed ?? 0, options.hashBits ?? 32);
    this.#order = new MemtableOrder(this.#log);
  }

  /** Number of row versions. */
  get rowCount(): number {
    return this.#log.rowCount;
  }

  /** Number of distinct keys. */
  get keyCount(): number {
    return this.#log.keyCount;
  }

  /** Memory held, in bytes, including typed arrays not yet filled, the hash index and the order. */
  get memoryBytes(): number {
    const flushBytes = this.#toFlush?.memoryBytes ?? 0;
    return this.#log.memoryBytes + this.#index.memoryBytes + this.#order.memoryBytes + flushBytes;
  }

  /** Key + value + 8 for the seq + 8 per timestamp, summed over all rows: the size estimate by which tables are frozen. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** The seq of the first row, -1 while there is none. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  /** The seq of the last row, -1 while there is none. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Whether a read up to `maxSeq` may see a row of this table. Once false it stays false for any read that has begun. */
  reaches(maxSeq: number): boolean {
    return this.#firstSeq >= 0 && this.#firstSeq <= maxSeq;
  }

  /** The latest creation time of all rows, `NO_TS` if none has one. */
  get maxCreateTs(): number {
    return this.#maxCreateTs;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /**
   * Appends a version and returns its id (0, 1, 2, ... in arrival order). Key and value are copied. `seq` must not be below
   * the last one; `value` is empty for tombstones; timestamps are `NO_TS` where absent.
   */
  add(key: Uint8Array, value: Uint8Array, seq: number, flags: number, createTs: number, expireTs: number): number {
    return this.addSlice(key, 0, trueLength(key), value, 0, trueLength(value), seq, flags, createTs, expireTs);
  }

  /** `add` from parts of larger buffers. */
  addSlice(
    keyBuf: Uint8Array,
    keyStart: number,
    keyLength: number,
    valueBuf: Uint8Array,
    valueStart: number,
    valueLength: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
  ): number {
    if (this.#frozen || seq < this.#lastSeq) this.#refuse(seq);
    checkRowBounds(keyLength, valueLength, flags);
    // Memory that is gone has the length 0. Nothing is reserved yet, and no code of the caller runs from here on.
    const isThere = keyStart + keyLength <= keyBuf.length && valueStart + valueLength <= valueBuf.length;
    const isEmpty = valueLength === 0 && (flags & FLAG_TOMBSTONE) === 0;
    if (!isThere || (isEmpty && !isReadable(valueBuf))) throw memoryGone('key or value');
    const log = this.#log;
    const expires = expireTs !== NO_TS;
    const place = log.reserve(keyLength + valueLength, expires);
    const at = log.take(keyBuf, keyStart, keyLength, valueBuf, valueStart, valueLength, expires);
    // Found by the copy: memory that another thread shares may change between two reads.
    const root = this.#index.findOrClaim(keyBuf, keyStart, log.bytesAt(place), at, keyLength, place);
    this.#count(keyLength + valueLength, seq, createTs, expireTs);
    return log.append(keyLength, valueLength, seq, flags, createTs, expireTs, root);
  }

  /**
   * Takes the memory of a batch over, in which rows are stored as in this table (memtable-log.ts), and returns a number for
   * `addAdopted`; -1 if it cannot: then the rows are to be copied with `addSlice`. Its rows must not change any more.
   */
  adopt(memory: Uint8Array): number {
    return this.#frozen ? -1 : this.#log.adopt(memory);
  }

  /** `addSlice` for a row in adopted memory `rows`, its value right after its key; it does not expire. */
  addAdopted(
    adopted: number,
    rows: Uint8Array,
    keyStart: number,
    keyLength: number,
    valueLength: number,
    seq: number,
    flags: number,
    createTs: number,
  ): number {
    if (this.#frozen || seq < this.#lastSeq) this.#refuse(seq);
    checkRowBounds(keyLength, valueLength, flags);
    const log = this.#log;
    const place = adopted + ((keyStart - HEADER_BYTES) >> 3);
    log.reserveAt(place);
    const root = this.#index.findOrClaim(rows, keyStart, rows, keyStart, keyLength, place);
    this.#count(keyLength + valueLength, seq, createTs, NO_TS);
    return log.append(keyLength, valueLength, seq, flags, createTs, NO_TS, root);
  }

  /**
   * Announces which keys will be added next, in this order: `count` parts of one buffer. Memory is asked for all of their places
   * at once; one after the other each would be waited for.
   */
  expectKeys(buf: Uint8Array, starts: Int32Array, lengths: Int32Array, count: number): void {
    this.#index.expect(buf, starts, lengths, count);
  }

  #count(keyAndValueBytes: number, seq: number, createTs: number, expireTs: number): void {
    if (this.#firstSeq < 0) this.#firstSeq = seq;
    if (this.#rowBytes >= this.#nextMark && seq !== this.#lastSeq) {
      this.#marks.push(this.end);
      this.#nextMark = this.#rowBytes + MARK_BYTES;
    }
    this.#rowBytes += keyAndValueBytes;
    this.#lastSeq = seq;
    let bytes = keyAndValueBytes + 8;
    if (createTs !== NO_TS) {
      bytes += 8;
      if (createTs > this.#maxCreateTs) this.#maxCreateTs = createTs;
    }
    if (expireTs !== NO_TS) bytes += 8;
    this.#dataBytes += bytes;
  }

  #refuse(seq: number): never {
    throw ruleBroken(
      this.#frozen ? 'no row is added to a frozen memtable (memtable 3)' : 'seqs of a memtable never fall (memtable 1)',
      { seq, lastSeq: this.#lastSeq },
    );
  }

  /** The newest version of `key` with a seq up to `maxSeq`, or -1. */
  find(key: Uint8Array, maxSeq: number): number {
    if (this.#firstSeq < 0) return -1;
    const root = this.#index.find(key, 0, key.length);
    if (root < 0) return -1;
    const place = this.#log.newestAt(root, maxSeq);
    if (place < 0) return -1;
    this.#foundPlace = place;
    this.#foundId = this.#log.wordAt(place, WORD_ID);
    return this.#foundId;
  }

  #placeOf(id: number): number {
    return id === this.#foundId ? this.#foundPlace : this.#log.placeOf(id);
  }

  /** The next older version of the same key, or -1. */
  older(id: number): number {
    const place = this.#log.olderAt(this.#placeOf(id));
    return place < 0 ? -1 : this.#log.wordAt(place, WORD_ID);
  }

  seqOf(id: number): number {
    return this.#log.seqAt(this.#placeOf(id));
  }

  flagsOf(id: number): number {
    return this.#log.flagsAt(this.#placeOf(id));
  }

  createTsOf(id: number): number {
    return this.#log.createTsAt(this.#placeOf(id));
  }

  expireTsOf(id: number): number {
    return this.#log.expireTsAt(this.#placeOf(id));
  }

  /** The buffer that holds both key and value of a row; the bytes of a row never change. */
  keyBufOf(id: number): Uint8Array {
    return this.#log.bytesAt(this.#placeOf(id));
  }

  keyStartOf(id: number): number {
    return this.#log.keyStartAt(this.#placeOf(id));
  }

  keyLengthOf(id: number): number {
    return this.#log.keyLengthAt(this.#placeOf(id));
  }

  valueBufOf(id: number): Uint8Array {
    return this.#log.bytesAt(this.#placeOf(id));
  }

  /** A view of the same buffer. */
  valueViewOf(id: number): DataView {
    return this.#log.viewAt(this.#placeOf(id));
  }

  valueStartOf(id: number): number {
    const place = this.#placeOf(id);
    return this.#log.keyStartAt(place) + this.#log.keyLengthAt(place);
  }

  valueLengthOf(id: number): number {
    return this.#log.wordAt(this.#placeOf(id), WORD_VALUE_LENGTH);
  }

  /** Hands a row to a sink, which must copy what it keeps. */
  addTo(sink: RowSink, id: number): void {
    this.#log.addTo(sink, this.#placeOf(id));
  }

  /** `addTo` for rows `from` up to, not including, `to`, in the order of their arrival. */
  addRangeTo(sink: RowSink, from: number, to: number): void {
    const log = this.#log;
    assertThat(from >= 0 && from <= to && to <= log.rowCount, 'rows that are handed on are in the memtable');
    for (let id = from; id < to; id++) {
      if ((id - from) % AHEAD_ROWS === 0) log.touchRange(id, Math.min(to, id + AHEAD_ROWS));
      log.addTo(sink, log.placeOf(id));
    }
  }

  /** Where the rows so far end. */
  get end(): RowPosition {
    return { row: this.rowCount, bytes: this.#rowBytes };
  }

  /**
   * Where a group of rows from `from` on ends: after whole batches that reach `limitBytes` of keys, values and
   * `rowOverheadBytes` each, not more than `MARK_BYTES` later, or after the last row. `from` is where another one ended.
   */
  groupFrom(from: RowPosition, limitBytes: number, rowOverheadBytes: number): { to: RowPosition; bytes: number } {
    const sizeTo = (p: RowPosition) => p.bytes - from.bytes + (p.row - from.row) * rowOverheadBytes;
    const mark = this.#marks.find((m) => m.row > from.row && sizeTo(m) >= limitBytes);
    const to = mark ?? this.end;
    assertThat(to.row >= from.row && to.bytes >= from.bytes, 'a group begins where another one ended');
    return { to, bytes: sizeTo(to) };
  }

  /** No row may be added afterwards; gives back unused memory. */
  freeze(): void {
    if (this.#frozen) return;
    assertThat(this.#firstSeq <= this.#lastSeq, 'seqs of a memtable never fall (memtable 1)');
    assertThat(this.keyCount <= this.rowCount, 'each key has a version');
    this.#frozen = true;
    this.#log.trim();
  }

  /**
   * All versions with a seq up to `maxSeq` in row order. `seek` brings the keys in order if they are not; callers that must
   * not stall call `prepareOrderStep` until it returns true first.
   */
  cursor(options: { reverse: boolean; maxSeq: number }): MemtableCursor {
    return new MemtableCursor(this.#log, this.#order, options.reverse, options.maxSeq);
  }

  /** One step of about a millisecond towards the key order; true when what is left costs less than another step. */
  prepareOrderStep(): boolean {
    return this.#order.step();
  }

  /** The rows as a flush visits them. The table must be frozen. */
  get toFlush(): FlushRows {
    assertThat(this.#frozen, 'only a frozen memtable is brought in the order of a flush (memtable 3)');
    this.#toFlush ??= new FlushRows(this.#log, this.#order, this);
    return this.#toFlush;
  }
}
