/**
 * Builds a table or WAL object in memory: rows are encoded straight into one growing output buffer, blocks are closed by
 * SlateDB's rule, everything after them is appended at the end (table-layout.ts draws the whole).
 *
 * ```
 * blocks   closed before a row with which rows + 2 * restarts + 2 bytes would exceed the limit, the restart of the row included;
 *          an empty block takes any row, and a row that is larger than the limit is alone in its block
 * limit    blockBytes; in an aligned table blockBytes - 4, so that with its checksum a block of several rows fits one unit
 * unit     in an aligned table each block begins at a multiple of blockBytes; zeros before it, its length in the index
 * ```
 *
 * Two blocks of an aligned table with units of 64 bytes; in the index: offset 0, length 61, and offset 64, length 0 (that block
 * ends with its unit, which looks the same as one without padding):
 *
 * ```example
 * 00 01 28                                         offset=0 encoded_len=61 shared=0 unshared=1 value_len=40
 * "a"                                              key="a"
 * "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"       value="vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"
 * 00 00 00 00 00 00 00 08 00                       seq=8 flags=0x00
 * 00 00 00 01                                      the restart row at 0, and their number
 * 59 73 75 f9                                      crc=0x597375f9
 * 00 00 00                                         padding up to 64
 * 00 01 2b                                         offset=64 shared=0 unshared=1 value_len=43
 * "b"                                              key="b"
 * "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"    value="wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww"
 * 00 00 00 00 00 00 00 09 00                       seq=9 flags=0x00
 * 00 00 00 01                                      the restart row at 0, and their number
 * 6e 53 af b0                                      crc=0x6e53afb0
 * ```
 *
 * Adding a row allocates nothing. The key of the row before is kept over block borders, because one comparison with it gives
 * the shared prefix, the separator of a new block and the proof that rows come in order. Hashes for the filter are collected
 * while adding and turned into bits in bounded steps (table-ending.ts), so that no call stalls the caller for long.
 *
 * A large table need not be held whole: `drain` hands out what is finished of it, and the builder goes on in new memory. Positions
 * in the buffer then count from the first byte that is still there; `#base` is its offset in the object.
 *
 * Invariants:
 * 1. tables hold rows by (key ascending, seq descending), WAL objects by seq ascending;
 * 2. blocks obey the limit on the uncompressed size (rows, offsets, count), except one that holds a single larger row;
 * 3. aligned tables are not compressed and are never WAL objects, as with SlateDB 0.18;
 * 4. `finishStep` ends in bounded time, whatever the size of the table; `finish` does the steps that are left;
 * 5. everything that leaves was written here: the memory is not zeroed first;
 * 6. what was drained, and then the bytes of the finished table, are together the bytes without draining.
 */
import { assertThat, present } from '../common/assert.ts';
import { commonBytes, copyWords, EMPTY_BYTES, viewOf, WORD_COPY_BYTES } from '../common/bytes.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { KeyHashes } from './bloom.ts';
import { crc32 } from './checksum.ts';
import type { BlockCodec } from './codecs.ts';
import { ExpiryBuckets } from './expiry-buckets.ts';
import { CRC_BYTES, writeCrc } from './framing.ts';
import { IndexBuilder } from './index-block.ts';
import { encodeInfo } from './info-block.ts';
import { RowChecks, type RowsPerCheck } from './row-checks.ts';
import {
  MAX_ROW_OVERHEAD,
  putInt64,
  putUint16,
  putVarint,
  RESTART_INTERVAL,
  varintBytes,
  writeInt64,
} from './row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, FLAGS_KNOWN, NO_TS } from './row-flags.ts';
import { StatsBuilder } from './stats-block.ts';
import { type SectionPlace, TableEnding, type TableFacts } from './table-ending.ts';
import type { FilterForm, TableInfo, TableType } from './table-info.ts';
import { encodeFooter } from './table-layout.ts';

export type { TableFacts } from './table-ending.ts';

/** Restart offsets are u16. */
const MAX_TARGET_BYTES = 65_536;
/** Smaller blocks would be offsets and checksums for the most part; SlateDB allows 1,024 and more. */
export const MIN_BLOCK_BYTES = 64;
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
  /** Expected size of the object, or of what is kept between two drains, and most rows that it may have; good guesses save copies. */
  capacityBytes: number;
  capacityRows?: number;
  /** Used for the object if it is large enough; what is in it is overwritten. */
  memory?: Uint8Array;
}

export interface BuiltTable {
  /** The whole object, or what was not drained of it; may share a larger buffer, which nothing else uses. */
  bytes: Uint8Array;
  /** Of the whole object. */
  sizeBytes: number;
  info: TableInfo;
  facts: TableFacts;
}

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
  readonly #capacityBytes: number;

  #out: Uint8Array;
  #outView: DataView;
  /** Offset in the object of the first byte of `#out`: what was drained ends there. */
  #base = 0;
  /** Positions in `#out`. */
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

  readonly #hashes: KeyHashes | undefined;

  #rowCount = 0;
  #minSeq = Number.MAX_SAFE_INTEGER;
  #maxSeq = 0;
  #maxCreateTs = NO_TS;
  #batches = 0;
  #deletes = 0;
  #merges = 0;
  #rawKeyBytes = 0;
  #rawValueBytes = 0;
  /** Of tables; nobody asks when rows of the log expire. */
  readonly #expiry = new ExpiryBuckets();
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

  /** From the first step after the rows on. */
  #ending: TableEnding | undefined;
  #isFinished = false;

  constructor(options: TableBuilderOptions) {
    const { blockBytes, filter } = options;
    assertThat(blockBytes >= MIN_BLOCK_BYTES && blockBytes <= MAX_TARGET_BYTES, 'a block size is legal', {
      blockBytes,
    });
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
    if (this.#sorted && this.#minFilterKeys < Number.POSITIVE_INFINITY) {
      this.#hashes = new KeyHashes(options.capacityRows);
    }
    this.#rowsPerCheck = options.rowsPerCheck;
    if (options.rowsPerCheck > 0) {
      const checks = Math.ceil((options.capacityRows ?? 0) / options.rowsPerCheck);
      this.#checks = new RowChecks(options.rowsPerCheck, !this.#sorted, checks);
    }
    this.#stats = this.#sorted ? new StatsBuilder() : undefined;
    this.#restarts = new Uint16Array(blockBytes >>> 5);
    const { memory } = options;
    const capacityBytes = Math.max(1024, options.capacityBytes);
    this.#capacityBytes = capacityBytes;
    this.#out = memory !== undefined && memory.length >= options.capacityBytes ? memory : allocate(capacityBytes);
    this.#outView = viewOf(this.#out);
  }

  get rowCount(): number {
    return this.#rowCount;
  }

  /** Bytes of the object so far: finished blocks as stored, the open one before compression. */
  get storedBytes(): number {
    return this.#base + this.#at;
  }

  /** Bytes that `drain` would hand out. */
  get drainableBytes(): number {
    return this.#ending === undefined ? this.#blockStart : this.#at;
  }

  /**
   * Hands out what is finished of the object and was not handed out before: whole blocks, after the rows also parts of the end. The
   * bytes begin their buffer, which is the caller's from now on; the builder goes on in another one.
   */
  drain(): Uint8Array {
    assertThat(!this.#isFinished, 'a finished table has handed out its bytes');
    const end = this.drainableBytes;
    const out = this.#out;
    const rest = out.subarray(end, this.#at);
    this.#out = allocate(Math.max(this.#capacityBytes, rest.length));
    this.#out.set(rest);
    this.#outView = viewOf(this.#out);
    this.#base += end;
    this.#at -= end;
    this.#blockStart -= end;
    this.#checks?.move(end);
    return out.subarray(0, end);
  }

  /**
   * Appends a row. FLAG_CREATE and FLAG_EXPIRE in `flags` decide which times are stored; a tombstone has no value. Key and
   * value are copied. A caller whose rows come from several buffers by turns gives the views that it has of them.
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
    keyView?: DataView,
    valueView?: DataView,
  ): void {
    if ((flags & FLAG_TOMBSTONE) !== 0) valueLength = 0;
    if (keys !== this.#keySource) {
      this.#keySource = keys;
      this.#keyView = keyView ?? viewOf(keys);
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
    if (valueLength > 0) {
      if (values !== this.#valueSource) {
        this.#valueSource = values;
        this.#valueView = valueView ?? (values === keys ? this.#keyView : viewOf(values));
      }
      this.#putValue(values, valueStart, valueLength, p);
      p += valueLength;
    }
    const outView = this.#outView;
    writeInt64(outView, p, seq);
    out[p + 8] = flags;
    p = this.#putTimes(p + 9, flags, createTs, expireTs, keyLength + valueLength);
    this.#at = p;
    if (this.#checks !== undefined) this.#checks.row(outView, rowStart, p, this.#lastKeyView, shared, seq);
    if (this.#hashes !== undefined) this.#hashes.add(keys, keyStart, keyLength);
    this.#count(keyLength, valueLength, seq, flags);
  }

  #putValue(values: Uint8Array, valueStart: number, valueLength: number, at: number): void {
    if (valueLength <= WORD_COPY_BYTES) copyWords(this.#outView, at, this.#valueView, valueStart, valueLength);
    else if (valueLength === values.length) this.#out.set(values, at);
    else this.#out.set(new Uint8Array(values.buffer, values.byteOffset + valueStart, valueLength), at);
  }

  /** @param dataBytes of key and value, which expire with the row */
  #putTimes(at: number, flags: number, createTs: number, expireTs: number, dataBytes: number): number {
    let p = at;
    if ((flags & FLAG_EXPIRE) !== 0) {
      writeInt64(this.#outView, p, expireTs);
      p += 8;
      if (this.#sorted && (flags & FLAG_TOMBSTONE) === 0) this.#expiry.add(expireTs, dataBytes);
    }
    if ((flags & FLAG_CREATE) !== 0) {
      writeInt64(this.#outView, p, createTs);
      if (createTs > this.#maxCreateTs) this.#maxCreateTs = createTs;
      p += 8;
    }
    return p;
  }

  /**
   * Invariant 1, for every row, with the one comparison that is needed anyway. Returns how many bytes its key shares with the last
   * one of the table.
   */
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
    if (!inOrder || !legal || this.#ending !== undefined) this.#refuse(inOrder, legal, keyLength, seq, flags);
    return common;
  }

  /** The slow path of `#placeAfterLast`: which rule was broken. Always throws. */
  #refuse(inOrder: boolean, legal: boolean, keyLength: number, seq: number, flags: number): void {
    const details = { rowCount: this.#rowCount, keyLength, seq, flags, lastSeq: this.#lastSeq };
    assertThat(this.#ending === undefined, 'no row is added to a finished table', details);
    assertThat(legal, 'a row has a legal key, sequence number and flags', details);
    assertThat(inOrder, 'rows of a table come in order', details);
  }

  /** SlateDB's rule, and so the one on which byte-identical tables rest: invariant 2. */
  #fits(rowBytes: number, isRestart: boolean): boolean {
    const rowsBytes = this.#at - this.#blockStart;
    return rowsBytes + 2 * this.#restartCount + 2 + rowBytes + (isRestart ? 2 : 0) <= this.#blockBytes;
  }

  /**
   * Notes the separator of a new block; `common` bytes of its first key are those of the last key before it. The separator is the first key cut to one byte more than it shares with the last key before, as SlateDB makes it; the whole key
   * where both are equal, nothing in the first block; in a WAL object the sequence number.
   */
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

  /** Writes the suffix and keeps the whole key for the next row; `common` bytes of it are there already. */
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

  /** Facts for stats and seal. A batch is a run of rows of one sequence number, which is what it is in a WAL object. */
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

  /** Appends offsets and count, frames, pads, and gives index and stats their entries. Needs at least one row. */
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
    this.#index.add(this.#base + this.#blockStart, separator, 0, separator.length, isPadded ? storedBytes : 0);
    this.#blockStoredBytes.push(storedBytes);
    this.#blockRowCounts.push(this.#blockRows);
    this.#blockStart = this.#at;
    this.#blockRows = 0;
    this.#restartCount = 0;
  }

  /** Zeros up to the next multiple of the unit. */
  #pad(): void {
    if (this.#unitBytes === 0) return;
    const end = Math.ceil(this.storedBytes / this.#unitBytes) * this.#unitBytes - this.#base;
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

  /** Room for so much more output. */
  #reserve(bytes: number): void {
    if (this.#at + bytes > this.#out.length) this.#grow(this.#at + bytes);
  }

  #grow(needed: number): void {
    const grown = allocate(Math.max(2 * this.#out.length, needed));
    grown.set(this.#out.subarray(0, this.#at));
    this.#out = grown;
    this.#outView = viewOf(grown);
  }

  /** Works on the end of the table for a bounded time; true when only `finish` is left to do. */
  finishStep(): boolean {
    if (this.#ending !== undefined) return this.#ending.step();
    if (this.#blockRows > 0) this.#closeBlock();
    this.#ending = new TableEnding({
      isSorted: this.#sorted,
      filter: { form: this.#filterForm, bitsPerKey: this.#bitsPerKey },
      hashes: this.#rowCount >= this.#minFilterKeys ? this.#hashes : undefined,
      index: this.#index,
      stats: this.#stats,
      rows: {
        rowsPerCheck: this.#rowsPerCheck,
        blockStoredBytes: this.#blockStoredBytes,
        blockRows: this.#blockRowCounts,
        ...(this.#checks?.finish() ?? { checks: new Uint32Array(0) }),
      },
      counts: {
        rowCount: this.#rowCount,
        minSeq: this.#rowCount > 0 ? this.#minSeq : 0,
        maxSeq: this.#maxSeq,
        maxCreateTs: this.#maxCreateTs,
        batches: this.#batches,
        puts: this.#rowCount - this.#deletes - this.#merges,
        deletes: this.#deletes,
        merges: this.#merges,
        expiry: { buckets: this.#expiry.buckets },
        rawKeyBytes: this.#rawKeyBytes,
        rawValueBytes: this.#rawValueBytes,
      },
      offset: () => this.storedBytes,
      append: (payload) => this.#appendUnit(payload),
    });
    return false;
  }

  /**
   * Appends seal, info block and footer. Does what `finishStep` was not called for.
   * @param makeSeal gives the seal, which is stored as it is
   */
  finish(makeSeal?: (facts: TableFacts) => Uint8Array): BuiltTable {
    assertThat(!this.#isFinished, 'a table is finished once');
    while (!this.finishStep());
    const ending = present(this.#ending, 'the end of a table is made before it is finished');
    this.#isFinished = true;
    const info: TableInfo = {
      firstEntry: this.#firstEntry,
      lastEntry: this.#sorted && this.#rowCount > 0 ? copySlice(this.#lastKey, 0, this.#lastKeyLength) : undefined,
      indexOffset: ending.index.offset,
      indexLength: ending.index.length,
      filterOffset: ending.filter.offset,
      filterLength: ending.filter.length,
      codec: this.#codec.name,
      tableType: this.#tableType,
      statsOffset: ending.stats.offset,
      statsLength: ending.stats.length,
      filterForm: this.#filterForm,
    };
    const facts = ending.facts(info);
    if (makeSeal !== undefined) this.#append(makeSeal(facts));
    const infoOffset = this.storedBytes;
    const encodedInfo = encodeInfo(info);
    this.#append(encodedInfo);
    this.#reserve(CRC_BYTES);
    writeCrc(this.#out, this.#at, crc32(encodedInfo));
    this.#at += CRC_BYTES;
    this.#append(encodeFooter({ infoOffset, formatVersion: 2 }));
    const bytes = this.#out.subarray(0, this.#at);
    this.#out = EMPTY_BYTES;
    return { bytes, sizeBytes: this.storedBytes, info, facts };
  }

  /** Appends a unit and frames it. */
  #appendUnit(payload: Uint8Array): SectionPlace {
    const offset = this.storedBytes;
    const start = this.#at;
    this.#append(payload);
    this.#frameInPlace(start);
    return { offset, length: this.storedBytes - offset };
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#out.set(bytes, this.#at);
    this.#at += bytes.length;
  }
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
