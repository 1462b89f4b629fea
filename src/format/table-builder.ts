/**
 * Builds a table or WAL object in memory: rows are encoded straight into one growing output buffer, blocks are closed by
 * SlateDB's rule, everything behind them is appended at the end.
 *
 * Adding a row allocates nothing. The key of the row before is kept over block borders, because one comparison with it gives
 * the shared prefix, the separator of a new block and the proof that rows come in order. Hashes for the filter are collected
 * while adding and turned into bits in bounded steps, so that no call stalls the caller for long.
 *
 * Invariants: compacted tables hold rows by (key ascending, seq descending), WAL objects by seq ascending; blocks obey the
 * limit on the uncompressed size (rows, offsets, count), except one that holds a single larger row. An aligned table has, as
 * SlateDB 0.18 writes it, zeros after each block up to the next multiple of the block size; the limit of its blocks is 4 bytes
 * lower, so that with the checksum a block of several rows never needs a second unit. A block that ends there by itself is not
 * told apart from one without padding: its length in the index is 0.
 */
import { assertThat } from '../common/assert.ts';
import { commonBytes, copyWords, EMPTY_BYTES, viewOf, WORD_COPY_BYTES } from '../common/bytes.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { BloomBuilder, KeyHashes } from './bloom.ts';
import { crc32 } from './checksum.ts';
import type { BlockCodec } from './codecs.ts';
import { encodeFilter } from './filter.ts';
import { CRC_BYTES, writeCrc } from './framing.ts';
import { IndexBuilder } from './index-block.ts';
import { encodeInfo } from './info-block.ts';
import { RowChecks, type RowsPerCheck } from './row-checks.ts';
import { putInt64, putUint16, putVarint, varintBytes, writeInt64 } from './row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, FLAGS_KNOWN, NO_TS } from './row-flags.ts';
import { SealWriter } from './seal-bytes.ts';
import { type RowsRecord, RowsWriter } from './seal-records.ts';
import { StatsBuilder } from './stats-block.ts';
import type { FilterForm, TableInfo, TableType } from './table-info.ts';
import { encodeFooter } from './table-layout.ts';

/** Every so many rows of a block one is stored with its whole key. */
const RESTART_INTERVAL = 16;
/** Restart offsets are u16. */
const MAX_BLOCK_BYTES = 65_536;
const MIN_BLOCK_BYTES = 64;
/** Bytes of a row besides key and value, at most: three varints, seq, flags, two times. */
const MAX_ROW_OVERHEAD = 15 + 9 + 16;
/** Keys that one step adds to the filter, and checks that one writes to the rows record: well below 1 ms. */
const FILTER_KEYS_PER_STEP = 1024;
const CHECKS_PER_STEP = 4096;
const SEQ_BYTES = 8;

export interface TableBuilderOptions {
  tableType: TableType;
  /** Limit of a block before compression: rows, offsets and count; at most 65,536. */
  blockBytes: number;
  codec: BlockCodec;
  /**
   * Blocks begin at multiples of `blockBytes`, as with SlateDB's `sst_block_alignment`. Only tables without compression: SlateDB
   * refuses the combination, and never aligns WAL objects. Programs before SlateDB 0.18 take such blocks for damaged.
   */
  isAligned?: boolean;
  /** WAL objects have no filter, but their info block states the form. Without it the form is `legacy`. */
  filter?: { form: FilterForm; bitsPerKey: number; minKeys: number };
  /** 0: no row checks. */
  rowsPerCheck: RowsPerCheck;
  /** Expected size of the object, and number of its rows if checks are made; good guesses save copies. */
  capacityBytes: number;
  capacityRows?: number;
  /** Used for the object if it is large enough; what is in it is overwritten. */
  memory?: Uint8Array;
}

/** What is known about the rows of a finished table; the seal is made from it. */
export interface TableFacts {
  /** What the seal records about blocks and rows. */
  rows: RowsRecord;
  rowCount: number;
  /** 0 without rows. */
  minSeq: number;
  maxSeq: number;
  /** Greatest create_ts, or NO_TS. */
  maxCreateTs: number;
  /** Runs of rows with one sequence number; in a WAL object the number of batches. */
  batches: number;
  puts: number;
  deletes: number;
  merges: number;
  /** The info block; it does not depend on the seal. */
  info: TableInfo;
}

export interface BuiltTable {
  /** The whole object; may share a larger buffer, which nothing else uses. */
  bytes: Uint8Array;
  info: TableInfo;
  facts: TableFacts;
}

const NO_UNIT: UnitPlace = { offset: 0, length: 0 };

/** One table; `add` rows in order, `finishStep` until true, `finish`. */
export class TableBuilder {
  readonly #tableType: TableType;
  readonly #blockBytes: number;
  /** To which blocks are aligned; 0: they are not. */
  readonly #unitBytes: number;
  readonly #codec: BlockCodec;
  readonly #filterForm: FilterForm;
  readonly #bitsPerKey: number;
  readonly #minFilterKeys: number;
  readonly #sorted: boolean;
  readonly #rowsPerCheck: RowsPerCheck;
  readonly #checks: RowChecks | undefined;

  #out: Uint8Array;
  #outView: DataView;
  #at = 0;
  #blockStart = 0;
  #blockRows = 0;
  readonly #restarts: Uint16Array;
  #restartCount = 0;

  #lastKey = new Uint8Array(256);
  #lastKeyView = viewOf(this.#lastKey);
  #lastKeyLength = 0;
  /** The buffers that keys and values came from last, and views of them: callers hand in few large ones. */
  #keySource: Uint8Array = EMPTY_BYTES;
  #keyView = viewOf(EMPTY_BYTES);
  #valueSource: Uint8Array = EMPTY_BYTES;
  #valueView = viewOf(EMPTY_BYTES);
  #lastSeq = 0;

  #hashes: KeyHashes | undefined;

  #rowCount = 0;
  #minSeq = Number.MAX_SAFE_INTEGER;
  #maxSeq = 0;
  #maxCreateTs = NO_TS;
  #batches = 0;
  #deletes = 0;
  #merges = 0;
  #rawKeyBytes = 0;
  #rawValueBytes = 0;
  #firstEntry: Uint8Array | undefined;
  readonly #index = new IndexBuilder();
  /** Of the open block; it enters the index with the length of the block. */
  #separator: Uint8Array = EMPTY_BYTES;
  /** Tables have stats, WAL objects have none. */
  readonly #stats: StatsBuilder | undefined;
  /** Counts at the start of the block. */
  #deletesBefore = 0;
  #mergesBefore = 0;
  readonly #blockStoredBytes: number[] = [];
  readonly #blockRowCounts: number[] = [];

  #phase: 'rows' | 'filter' | 'index' | 'stats' | 'checks' | 'ready' | 'done' = 'rows';
  #rowsRecord: RowsRecord | undefined;
  #sealWriter = new SealWriter();
  #rowsWriter: RowsWriter | undefined;
  #bloom: BloomBuilder | undefined;
  #filterPlace = NO_UNIT;
  #indexPlace = NO_UNIT;
  #statsPlace = NO_UNIT;

  constructor(options: TableBuilderOptions) {
    const { blockBytes, filter } = options;
    assertThat(blockBytes >= MIN_BLOCK_BYTES && blockBytes <= MAX_BLOCK_BYTES, 'a block size is legal', { blockBytes });
    this.#tableType = options.tableType;
    this.#sorted = options.tableType === 'compacted';
    const isAligned = options.isAligned ?? false;
    assertThat(!isAligned || (this.#sorted && options.codec.name === 'none'), 'only plain tables are aligned');
    this.#unitBytes = isAligned ? blockBytes : 0;
    this.#blockBytes = isAligned ? blockBytes - CRC_BYTES : blockBytes;
    this.#codec = options.codec;
    this.#filterForm = filter?.form ?? 'legacy';
    this.#bitsPerKey = filter?.bitsPerKey ?? 0;
    this.#minFilterKeys = filter === undefined ? Number.POSITIVE_INFINITY : filter.minKeys;
    if (this.#sorted && this.#minFilterKeys < Number.POSITIVE_INFINITY) this.#hashes = new KeyHashes();
    this.#rowsPerCheck = options.rowsPerCheck;
    if (options.rowsPerCheck > 0) {
      const checks = Math.ceil((options.capacityRows ?? 0) / options.rowsPerCheck);
      this.#checks = new RowChecks(options.rowsPerCheck, !this.#sorted, checks);
    }
    this.#stats = this.#sorted ? new StatsBuilder() : undefined;
    this.#restarts = new Uint16Array(blockBytes >>> 5);
    const { capacityBytes, memory } = options;
    this.#out =
      memory !== undefined && memory.length >= capacityBytes ? memory : allocate(Math.max(1024, capacityBytes));
    this.#outView = viewOf(this.#out);
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Bytes of the object so far: finished blocks as stored, the open one before compression. */
  get storedBytes(): number {
    return this.#at;
  }

  /**
   * Appends a row. FLAG_CREATE and FLAG_EXPIRE in `flags` decide which times are stored; a tombstone has no value. Key and
   * value are copied.
   */
  add(
    keys: Uint8Array,
    keyStart: number,
    keyLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
  ): void {
    if ((flags & FLAG_TOMBSTONE) !== 0) valueLength = 0;
    if (keys !== this.#keySource) {
      this.#keySource = keys;
      this.#keyView = viewOf(keys);
    }
    const common = this.#placeAfterLast(keys, keyStart, keyLength, seq, flags);
    let isRestart = this.#blockRows % RESTART_INTERVAL === 0;
    let shared = isRestart ? 0 : common;
    const tailBytes = 9 + (flags & FLAG_EXPIRE ? 8 : 0) + (flags & FLAG_CREATE ? 8 : 0);
    const rowBytes =
      varintBytes(shared) + varintBytes(keyLength - shared) + varintBytes(valueLength) + keyLength - shared;
    if (this.#blockRows === 0) this.#openBlock(keys, keyStart, keyLength, seq, common);
    else if (!this.#fits(rowBytes + valueLength + tailBytes, isRestart)) {
      this.#closeBlock();
      this.#openBlock(keys, keyStart, keyLength, seq, common);
      isRestart = true;
      shared = 0;
    }
    const needed = this.#at + keyLength + valueLength + MAX_ROW_OVERHEAD;
    if (needed > this.#out.length) this.#grow(needed);

    const out = this.#out;
    const rowStart = this.#at;
    if (isRestart) this.#restarts[this.#restartCount++] = rowStart - this.#blockStart;
    // Numbers below 128 are nearly all there are; calls for them would cost more than the rest of this.
    let p = rowStart;
    const unshared = keyLength - shared;
    if (shared < 0x80) out[p++] = shared;
    else p = putVarint(out, p, shared);
    if (unshared < 0x80) out[p++] = unshared;
    else p = putVarint(out, p, unshared);
    if (valueLength < 0x80) out[p++] = valueLength;
    else p = putVarint(out, p, valueLength);
    p = this.#putKey(keys, keyStart, keyLength, shared, common, p);
    const outView = this.#outView;
    if (valueLength <= WORD_COPY_BYTES) {
      if (values !== this.#valueSource) {
        this.#valueSource = values;
        this.#valueView = values === keys ? this.#keyView : viewOf(values);
      }
      copyWords(outView, p, this.#valueView, valueStart, valueLength);
    } else if (valueLength === values.length) out.set(values, p);
    else out.set(new Uint8Array(values.buffer, values.byteOffset + valueStart, valueLength), p);
    p += valueLength;
    writeInt64(outView, p, seq);
    out[p + 8] = flags;
    p += 9;
    if ((flags & FLAG_EXPIRE) !== 0) {
      writeInt64(outView, p, expireTs);
      p += 8;
    }
    if ((flags & FLAG_CREATE) !== 0) {
      writeInt64(outView, p, createTs);
      if (createTs > this.#maxCreateTs) this.#maxCreateTs = createTs;
      p += 8;
    }
    this.#at = p;
    if (this.#checks !== undefined) this.#checks.row(outView, rowStart, p, this.#lastKeyView, shared, seq);
    if (this.#hashes !== undefined) this.#hashes.add(keys, keyStart, keyLength);
    this.#count(keyLength, valueLength, seq, flags);
  }

  /** Checks the order of the row; returns how many bytes its key shares with the last one of the table. */
  #placeAfterLast(keys: Uint8Array, keyStart: number, keyLength: number, seq: number, flags: number): number {
    const last = this.#lastKey;
    const lastLength = this.#lastKeyLength;
    const n = keyLength < lastLength ? keyLength : lastLength;
    const common = commonBytes(this.#lastKeyView, 0, this.#keyView, keyStart, n);
    let inOrder: boolean;
    if (!this.#sorted) inOrder = seq >= this.#lastSeq;
    else if (common < n) inOrder = keys[keyStart + common] > last[common];
    else inOrder = keyLength > lastLength || (keyLength === lastLength && seq < this.#lastSeq);
    const legal =
      keyLength > 0 &&
      keyLength <= MAX_KEY_BYTES &&
      seq <= Number.MAX_SAFE_INTEGER &&
      (flags & ~FLAGS_KNOWN) === 0 &&
      (flags & (FLAG_TOMBSTONE | FLAG_MERGE)) !== (FLAG_TOMBSTONE | FLAG_MERGE);
    if (!inOrder || !legal || this.#phase !== 'rows') this.#refuse(inOrder, legal, keyLength, seq, flags);
    return common;
  }

  #refuse(inOrder: boolean, legal: boolean, keyLength: number, seq: number, flags: number): void {
    const details = { rowCount: this.#rowCount, keyLength, seq, flags, lastSeq: this.#lastSeq };
    assertThat(this.#phase === 'rows', 'no row is added to a finished table', details);
    assertThat(legal, 'a row has a legal key, sequence number and flags', details);
    assertThat(inOrder, 'rows of a table come in order', details);
  }

  #fits(rowBytes: number, isRestart: boolean): boolean {
    const rowsBytes = this.#at - this.#blockStart;
    return rowsBytes + 2 * this.#restartCount + 2 + rowBytes + (isRestart ? 2 : 0) <= this.#blockBytes;
  }

  /** Notes the separator of a new block; `common` bytes of its first key are those of the last key before it. */
  #openBlock(keys: Uint8Array, keyStart: number, keyLength: number, seq: number, common: number): void {
    if (!this.#sorted) {
      const separator = new Uint8Array(SEQ_BYTES);
      putInt64(separator, 0, seq);
      this.#separator = separator;
      if (this.#rowCount === 0) this.#firstEntry = separator;
      return;
    }
    // Equal keys: the whole key. Otherwise the first key differs at `common` or is longer, because keys ascend.
    const separatorBytes = this.#rowCount === 0 ? 0 : common < keyLength ? common + 1 : keyLength;
    this.#separator = copySlice(keys, keyStart, separatorBytes);
    if (this.#rowCount === 0) this.#firstEntry = copySlice(keys, keyStart, keyLength);
  }

  /** Writes the key's suffix and keeps the key; the kept one has `common` of its bytes already. */
  #putKey(keys: Uint8Array, keyStart: number, keyLength: number, shared: number, common: number, p: number): number {
    if (keyLength > this.#lastKey.length) {
      const grown = new Uint8Array(Math.min(2 * keyLength, MAX_KEY_BYTES + 1));
      grown.set(this.#lastKey);
      this.#lastKey = grown;
      this.#lastKeyView = viewOf(grown);
    }
    this.#lastKeyLength = keyLength;
    const unshared = keyLength - shared;
    if (unshared <= WORD_COPY_BYTES) {
      copyWords(this.#outView, p, this.#keyView, keyStart + shared, unshared);
      copyWords(this.#lastKeyView, common, this.#keyView, keyStart + common, keyLength - common);
      return p + unshared;
    }
    this.#out.set(new Uint8Array(keys.buffer, keys.byteOffset + keyStart + shared, unshared), p);
    this.#lastKey.set(new Uint8Array(keys.buffer, keys.byteOffset + keyStart + common, keyLength - common), common);
    return p + unshared;
  }

  #count(keyLength: number, valueLength: number, seq: number, flags: number): void {
    if (this.#rowCount === 0 || seq !== this.#lastSeq) this.#batches++;
    this.#lastSeq = seq;
    if (seq < this.#minSeq) this.#minSeq = seq;
    if (seq > this.#maxSeq) this.#maxSeq = seq;
    if ((flags & FLAG_TOMBSTONE) !== 0) this.#deletes++;
    else if ((flags & FLAG_MERGE) !== 0) this.#merges++;
    this.#rawKeyBytes += keyLength;
    this.#rawValueBytes += valueLength;
    this.#blockRows++;
    this.#rowCount++;
  }

  #closeBlock(): void {
    const trailer = this.#at + 2 * this.#restartCount + 2 + CRC_BYTES;
    if (trailer > this.#out.length) this.#grow(trailer);
    const out = this.#out;
    if (this.#checks !== undefined) this.#checks.endBlock(this.#outView, this.#at);
    let p = this.#at;
    for (let i = 0; i < this.#restartCount; i++) p = putUint16(out, p, this.#restarts[i]);
    p = putUint16(out, p, this.#restartCount);
    this.#at = p;
    this.#frameInPlace(this.#blockStart);
    const deletes = this.#deletes - this.#deletesBefore;
    const merges = this.#merges - this.#mergesBefore;
    this.#stats?.addBlock(this.#blockRows - deletes - merges, deletes, merges);
    this.#deletesBefore = this.#deletes;
    this.#mergesBefore = this.#merges;
    const storedBytes = this.#at - this.#blockStart;
    this.#pad();
    const isPadded = this.#at > this.#blockStart + storedBytes;
    const separator = this.#separator;
    this.#index.add(this.#blockStart, separator, 0, separator.length, isPadded ? storedBytes : 0);
    this.#blockStoredBytes.push(storedBytes);
    this.#blockRowCounts.push(this.#blockRows);
    this.#blockStart = this.#at;
    this.#blockRows = 0;
    this.#restartCount = 0;
  }

  /** Zeros up to the next multiple of the unit. */
  #pad(): void {
    if (this.#unitBytes === 0) return;
    const end = Math.ceil(this.#at / this.#unitBytes) * this.#unitBytes;
    this.#reserve(end - this.#at);
    this.#out.fill(0, this.#at, end);
    this.#at = end;
  }

  /** Replaces the payload from `start` to the end of the output by its frame. */
  #frameInPlace(start: number): void {
    if (this.#codec.name !== 'none') {
      const body = this.#codec.compress(this.#out.subarray(start, this.#at));
      this.#at = start;
      this.#reserve(body.length + CRC_BYTES);
      this.#out.set(body, start);
      this.#at += body.length;
    } else this.#reserve(CRC_BYTES);
    writeCrc(this.#out, this.#at, crc32(this.#out, start, this.#at));
    this.#at += CRC_BYTES;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes > this.#out.length) this.#grow(this.#at + bytes);
  }

  #grow(needed: number): void {
    const grown = allocate(Math.max(2 * this.#out.length, needed));
    grown.set(this.#out.subarray(0, this.#at));
    this.#out = grown;
    this.#outView = viewOf(grown);
  }

  /**
   * Works on the end of the table for a bounded time: closes the last block, adds some keys to the filter, or appends the
   * filter, the index or the stats (for these two only the vector of references is left, some nanoseconds per block), or encodes
   * some of the row checks for the seal. True when only `finish` is left to do.
   */
  finishStep(): boolean {
    switch (this.#phase) {
      case 'rows':
        if (this.#blockRows > 0) this.#closeBlock();
        if (this.#hashes !== undefined && this.#rowCount >= this.#minFilterKeys) {
          this.#bloom = new BloomBuilder(this.#rowCount, this.#bitsPerKey);
        }
        this.#phase = 'filter';
        break;
      case 'filter':
        if (this.#filterStep()) this.#phase = 'index';
        break;
      case 'index':
        this.#indexPlace = this.#appendUnit(this.#index.finish());
        this.#phase = 'stats';
        break;
      case 'stats':
        if (this.#stats !== undefined) this.#statsPlace = this.#appendUnit(this.#finishStats(this.#stats));
        this.#rowsRecord = {
          rowsPerCheck: this.#rowsPerCheck,
          blockStoredBytes: this.#blockStoredBytes,
          blockRows: this.#blockRowCounts,
          ...(this.#checks?.finish() ?? { checks: new Uint32Array(0) }),
        };
        this.#rowsWriter = new RowsWriter(this.#sealWriter, this.#rowsRecord, !this.#sorted);
        this.#phase = 'checks';
        break;
      case 'checks':
        if (this.#rowsWriter?.step(CHECKS_PER_STEP)) this.#phase = 'ready';
        break;
    }
    return this.#phase === 'ready' || this.#phase === 'done';
  }

  /** Adds some of the keys to the filter; with the last of them, or without a filter, appends it and returns true. */
  #filterStep(): boolean {
    if (this.#bloom === undefined) {
      this.#filterPlace = { offset: this.#at, length: 0 };
    } else {
      if (!this.#hashes?.addTo(this.#bloom, FILTER_KEYS_PER_STEP)) return false;
      this.#filterPlace = this.#appendUnit(encodeFilter(this.#filterForm, this.#bloom.finish()));
    }
    this.#bloom = undefined;
    this.#hashes = undefined;
    return true;
  }

  /**
   * Appends seal, info block and footer. Does what `finishStep` was not called for.
   * @param makeSeal gives the seal, which is stored as it is
   */
  finish(makeSeal?: (facts: TableFacts) => Uint8Array): BuiltTable {
    assertThat(this.#phase !== 'done', 'a table is finished once');
    while (!this.finishStep());
    this.#phase = 'done';
    const info: TableInfo = {
      firstEntry: this.#firstEntry,
      lastEntry: this.#sorted && this.#rowCount > 0 ? copySlice(this.#lastKey, 0, this.#lastKeyLength) : undefined,
      indexOffset: this.#indexPlace.offset,
      indexLength: this.#indexPlace.length,
      filterOffset: this.#filterPlace.offset,
      filterLength: this.#filterPlace.length,
      codec: this.#codec.name,
      tableType: this.#tableType,
      statsOffset: this.#statsPlace.offset,
      statsLength: this.#statsPlace.length,
      filterForm: this.#filterForm,
    };
    const facts = this.#facts(info);
    if (makeSeal !== undefined) this.#append(makeSeal(facts));
    const infoOffset = this.#at;
    const encodedInfo = encodeInfo(info);
    this.#append(encodedInfo);
    this.#reserve(CRC_BYTES);
    writeCrc(this.#out, this.#at, crc32(encodedInfo));
    this.#at += CRC_BYTES;
    this.#append(encodeFooter({ infoOffset, formatVersion: 2 }));
    const bytes = this.#out.subarray(0, this.#at);
    this.#out = EMPTY_BYTES;
    return { bytes, info, facts };
  }

  #finishStats(stats: StatsBuilder): Uint8Array {
    return stats.finish({
      puts: this.#rowCount - this.#deletes - this.#merges,
      deletes: this.#deletes,
      merges: this.#merges,
      rawKeyBytes: this.#rawKeyBytes,
      rawValueBytes: this.#rawValueBytes,
    });
  }

  #facts(info: TableInfo): TableFacts {
    return {
      rows: { ...this.#rowsRecord!, encoded: this.#sealWriter.finish() },
      rowCount: this.#rowCount,
      minSeq: this.#rowCount > 0 ? this.#minSeq : 0,
      maxSeq: this.#maxSeq,
      maxCreateTs: this.#maxCreateTs,
      batches: this.#batches,
      puts: this.#rowCount - this.#deletes - this.#merges,
      deletes: this.#deletes,
      merges: this.#merges,
      info,
    };
  }

  /** Appends a unit and frames it. */
  #appendUnit(payload: Uint8Array): UnitPlace {
    const offset = this.#at;
    this.#append(payload);
    this.#frameInPlace(offset);
    return { offset, length: this.#at - offset };
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#out.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}

/** Where a unit behind the blocks lies, checksum included. */
interface UnitPlace {
  offset: number;
  length: number;
}

/** Memory that is not zeroed and not from a pool: every byte of it that leaves is written first. */
function allocate(bytes: number): Uint8Array {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, bytes);
}

function copySlice(bytes: Uint8Array, start: number, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  for (let i = 0; i < length; i++) copy[i] = bytes[start + i];
  return copy;
}
