/**
 * The append-only log of a memtable: row versions one after the other in chunks of memory, each a header, its key and its
 * value.
 *
 * Why so: nothing is an object per row, so the garbage collector has nothing to mark; header, key and value are side by
 * side, so a random read meets one cold place instead of three (a cache and a TLB miss each); and memory grows by chunks, so
 * no put ever waits for a large copy.
 *
 * A row is known by its *place* (chunk and offset, one int32) inside the memtable and by its *id* (0, 1, 2, ... in arrival
 * order) outside. Versions of one key form a ring through the `link` word: every version links to the next older one, and
 * the oldest (the key's *root*) holds the complement of the newest. The hash index and the key order hold roots only, so
 * overwriting a key changes neither of them.
 *
 * A batch lays its rows out in the same way, with room for the headers, so that its memory can become a chunk as it is.
 *
 * Header, in int32 words: id, link, key length (16 bits) | flags (8) | has-expiry (1), value length; then as float64: seq,
 * creation time and, only if the row expires, expiry time.
 *
 * Invariants:
 * 1. Seqs never fall from one id to the next.
 * 2. A row is complete, within its chunk, and has a place, before a link, the hash index or `rowCount` knows of it.
 * 3. The bytes of a row never move or change, but for the link of a root.
 * 4. Key and value are taken first of all, because only that can throw for a reason of the caller's (an array whose memory is gone): a
 *    row that is refused leaves no trace.
 */
import { assertThat, ruleBroken } from '../../common/assert.ts';
import { copyWords, EMPTY_BYTES, viewOf, WORD_COPY_BYTES } from '../../common/bytes.ts';
import { NO_TS } from '../../format/row-flags.ts';

/** Places count in units of 8 bytes: the low 17 bits are the place within a chunk of 1 MiB, the others number the chunk. */
export const CHUNK_SHIFT = 17;
export const UNIT_MASK = (1 << CHUNK_SHIFT) - 1;
export const CHUNK_BYTES = 8 << CHUNK_SHIFT;
const MAX_CHUNKS = 1 << (31 - CHUNK_SHIFT);
const FIRST_CHUNK_BYTES = 1 << 14;
/** Memory below this is not worth a chunk; the number of chunks is limited, and half of it is kept for rows that are copied. */
const MIN_ADOPTED_BYTES = 1 << 14;
const MAX_ADOPTED_CHUNKS = MAX_CHUNKS >> 1;
/** Words after a place's first word, `(place & UNIT_MASK) << 1`. */
export const WORD_ID = 0;
export const WORD_LINK = 1;
export const WORD_KEY = 2;
export const WORD_VALUE_LENGTH = 3;
/** Doubles after a place's first double, `place & UNIT_MASK`. */
export const DOUBLE_SEQ = 2;
export const DOUBLE_CREATE = 3;
export const DOUBLE_EXPIRE = 4;
export const HEADER_BYTES = 32;
const EXPIRE_BYTES = 8;
/** Bit of the key word: the header has an expiry time. Shifted right by 21 it is the expiry's 8 bytes. */
export const HAS_EXPIRE = 1 << 24;
export const EXPIRE_TO_BYTES = 21;

/** int32 words per cache line. */
const LINE_WORDS = 16;
/** Rows whose memory is asked for at once by those who visit many. */
export const AHEAD_ROWS = 16;
/** int32 words of a header and the first 16 bytes of a key. */
const KEY_WORDS = 12;

/** Places per page of the table from ids to places. */
const PAGE_SHIFT = 13;
const PAGE_ROWS = 1 << PAGE_SHIFT;
const PAGE_MASK = PAGE_ROWS - 1;
const FIRST_PAGE_ROWS = 256;

/** What takes rows one by one, as a table builder does. Key and value are parts of buffers that it must not change. */
export interface RowSink {
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
  ): void;
}

export class MemtableLog {
  rowCount = 0;
  keyCount = 0;
  /** Kept only so that `touch` is not optimised away. */
  touched = 0;
  /** Bytes held by chunks and by the places of ids. */
  memoryBytes = 0;
  /** The chunks, as several views of the same memory each. */
  readonly bytes: Uint8Array[] = [];
  readonly words: Int32Array[] = [];
  readonly doubles: Float64Array[] = [];
  readonly views: DataView[] = [];
  /** The buffer that a part of was copied last, and a view of it: a batch is one buffer. */
  #source: Uint8Array = EMPTY_BYTES;
  #sourceView = viewOf(EMPTY_BYTES);
  readonly #places: Int32Array[] = [];
  #placeCapacity = 0;
  #chunk = -1;
  #chunkUsed = 0;
  #chunkBytes = 0;
  /** The buffer that a part of was taken over last, and its chunk. */
  #adoptedBuffer: ArrayBuffer | undefined = undefined;
  #adoptedChunk = -1;
  /** Where the row reserved last goes. */
  #nextPlace = 0;

  readonly #maxChunkBytes: number;
  /** A row longer than this gets a chunk of its own, so that at most a quarter of a chunk is left unused. */
  readonly #largeRowBytes: number;

  /** `maxChunkBytes`: how much memory is taken at once, at most `CHUNK_BYTES`; more only for a single row. */
  constructor(maxChunkBytes: number) {
    this.#maxChunkBytes = Math.max(FIRST_CHUNK_BYTES, maxChunkBytes);
    this.#largeRowBytes = this.#maxChunkBytes >> 2;
  }

  /** A log with the rows of another one, in this memory: chunks, and pages with the places of the rows. None is added to it. */
  static of(
    chunks: readonly ArrayBuffer[],
    pages: readonly Int32Array[],
    rowCount: number,
    keyCount: number,
  ): MemtableLog {
    const log = new MemtableLog(0);
    for (const chunk of chunks) log.#addChunk(chunk);
    log.#places.push(...pages);
    log.memoryBytes = [...chunks, ...pages].reduce((sum, { byteLength }) => sum + byteLength, 0);
    log.rowCount = rowCount;
    log.keyCount = keyCount;
    const placed = pages.reduce((sum, { length }) => sum + length, 0);
    assertThat(placed === rowCount && keyCount <= rowCount, 'every row has a place (memtable-log 2)', {
      placed,
      rowCount,
    });
    return log;
  }

  /** Makes room for one more row and returns its place. All that can fail for want of memory happens here. */
  reserve(keyAndValueBytes: number, expires: boolean): number {
    if (this.rowCount === this.#placeCapacity) this.#growPlaces();
    const length = HEADER_BYTES + (expires ? EXPIRE_BYTES : 0) + keyAndValueBytes;
    if (length > this.#largeRowBytes) {
      this.#nextPlace = this.#pushChunk((length + 7) & ~7) << CHUNK_SHIFT;
    } else {
      if (this.#chunkUsed + length > this.#chunkBytes) this.#nextChunk(length);
      this.#nextPlace = (this.#chunk << CHUNK_SHIFT) | (this.#chunkUsed >> 3);
    }
    return this.#nextPlace;
  }

  /**
   * Takes memory over in which rows are stored already, each at a multiple of 8 bytes after `HEADER_BYTES` for its header. Keys and
   * values in it must not change any more. Returns the place of its beginning, -1 if it cannot be addressed or is not worth it.
   * All parts of one buffer that are taken over in turn are one chunk: the fewer there are, the more of them a cache knows.
   */
  adopt(memory: Uint8Array): number {
    const { length, byteOffset } = memory;
    const buffer = memory.buffer as ArrayBuffer;
    const fits = length >= MIN_ADOPTED_BYTES && buffer.byteLength <= CHUNK_BYTES;
    if (!fits || buffer.byteLength % 8 !== 0 || byteOffset % 8 !== 0) return -1;
    if (buffer !== this.#adoptedBuffer) {
      if (this.bytes.length >= MAX_ADOPTED_CHUNKS) return -1;
      this.#adoptedBuffer = buffer;
      this.#adoptedChunk = this.#addChunk(buffer);
    }
    this.memoryBytes += length;
    return (this.#adoptedChunk << CHUNK_SHIFT) | (byteOffset >> 3);
  }

  /** `reserve` for a row stored at `place` of memory that was taken over. */
  reserveAt(place: number): void {
    if (this.rowCount === this.#placeCapacity) this.#growPlaces();
    this.#nextPlace = place;
  }

  #growPlaces(): void {
    const old = this.#placeCapacity;
    const page = old >>> PAGE_SHIFT;
    const rows = old < PAGE_ROWS ? Math.max(FIRST_PAGE_ROWS, old * 2) : PAGE_ROWS;
    assertThat(this.#places.length === page || page === 0, 'pages of places are full before the next one begins');
    const places = new Int32Array(rows);
    this.memoryBytes += places.byteLength;
    if (page === 0 && old > 0) {
      places.set(this.#places[0]);
      this.memoryBytes -= this.#places[0].byteLength;
    }
    this.#places[page] = places;
    this.#placeCapacity = (page << PAGE_SHIFT) + rows;
  }

  #nextChunk(length: number): void {
    const bytes = Math.max(FIRST_CHUNK_BYTES, Math.min(this.#chunkBytes * 2, this.#maxChunkBytes), (length + 7) & ~7);
    assertThat(length <= bytes && bytes <= CHUNK_BYTES, 'a row fits into its chunk, and its place into an int32');
    this.#chunk = this.#pushChunk(bytes);
    this.#chunkUsed = 0;
    this.#chunkBytes = bytes;
  }

  #pushChunk(byteLength: number): number {
    assertThat(this.bytes.length < MAX_CHUNKS, 'a memtable is frozen before it outgrows its address space');
    // Not zeroed; and not kept as a `Buffer`, so that all byte accesses of the engine see one type.
    const chunk = this.#addChunk(Buffer.allocUnsafeSlow(byteLength).buffer);
    this.memoryBytes += byteLength;
    return chunk;
  }

  #addChunk(memory: ArrayBuffer): number {
    const chunk = this.bytes.length;
    this.bytes.push(new Uint8Array(memory));
    this.words.push(new Int32Array(memory));
    this.doubles.push(new Float64Array(memory));
    this.views.push(new DataView(memory));
    return chunk;
  }

  /**
   * Copies key and value to where `reserve` said. Nothing is changed yet that counts: the same place is given to the next row if
   * this one does not come. Returns where the key starts in `bytesAt(place)`.
   */
  take(
    keyBuf: Uint8Array,
    keyStart: number,
    keyLength: number,
    valueBuf: Uint8Array,
    valueStart: number,
    valueLength: number,
    expires: boolean,
  ): number {
    const place = this.#nextPlace;
    const chunk = place >>> CHUNK_SHIFT;
    const start = ((place & UNIT_MASK) << 3) + HEADER_BYTES + (expires ? EXPIRE_BYTES : 0);
    const bytes = this.bytes[chunk];
    this.#copy(bytes, chunk, start, keyBuf, keyStart, keyLength);
    this.#copy(bytes, chunk, start + keyLength, valueBuf, valueStart, valueLength);
    return start;
  }

  /**
   * Writes the header of the row for which `reserve` or `reserveAt` was called last, whose key and value are there: with this the
   * row exists. `root` is the place of the oldest version of its key, or the row's own place if the key is new. Returns its id.
   */
  append(
    keyLength: number,
    valueLength: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
    root: number,
  ): number {
    const id = this.rowCount;
    const place = this.#nextPlace;
    const chunk = place >>> CHUNK_SHIFT;
    const unit = place & UNIT_MASK;
    const words = this.words[chunk];
    const doubles = this.doubles[chunk];
    const at = unit << 1;
    const expires = expireTs !== NO_TS;
    words[at + WORD_ID] = id;
    words[at + WORD_KEY] = keyLength | (flags << 16) | (expires ? HAS_EXPIRE : 0);
    words[at + WORD_VALUE_LENGTH] = valueLength;
    doubles[unit + DOUBLE_SEQ] = seq;
    doubles[unit + DOUBLE_CREATE] = createTs;
    if (expires) doubles[unit + DOUBLE_EXPIRE] = expireTs;
    if (root === place) {
      words[at + WORD_LINK] = ~place;
      this.keyCount++;
    } else {
      const rootWords = this.words[root >>> CHUNK_SHIFT];
      const rootLink = ((root & UNIT_MASK) << 1) + WORD_LINK;
      words[at + WORD_LINK] = ~rootWords[rootLink];
      rootWords[rootLink] = ~place;
    }
    this.#places[id >>> PAGE_SHIFT][id & PAGE_MASK] = place;
    if (chunk === this.#chunk) {
      const header = HEADER_BYTES + (expires ? EXPIRE_BYTES : 0);
      this.#chunkUsed = ((unit << 3) + header + keyLength + valueLength + 7) & ~7;
    }
    this.rowCount = id + 1;
    return id;
  }

  #copy(target: Uint8Array, chunk: number, at: number, source: Uint8Array, start: number, length: number): void {
    if (length === source.length) {
      target.set(source, at);
    } else if (length <= WORD_COPY_BYTES) {
      if (source !== this.#source) {
        this.#source = source;
        this.#sourceView = viewOf(source);
      }
      copyWords(this.views[chunk], at, this.#sourceView, start, length);
    } else {
      target.set(new Uint8Array(source.buffer, source.byteOffset + start, length), at);
    }
  }

  /** The places of the rows, in the order of their arrival: pages that are full but for the last one. Not to be written to. */
  get placePages(): readonly Int32Array[] {
    return this.#places;
  }

  placeOf(id: number): number {
    return this.#places[id >>> PAGE_SHIFT][id & PAGE_MASK];
  }

  wordAt(place: number, word: number): number {
    return this.words[place >>> CHUNK_SHIFT][((place & UNIT_MASK) << 1) + word];
  }

  seqAt(place: number): number {
    return this.doubles[place >>> CHUNK_SHIFT][(place & UNIT_MASK) + DOUBLE_SEQ];
  }

  createTsAt(place: number): number {
    return this.doubles[place >>> CHUNK_SHIFT][(place & UNIT_MASK) + DOUBLE_CREATE];
  }

  expireTsAt(place: number): number {
    if ((this.wordAt(place, WORD_KEY) & HAS_EXPIRE) === 0) return NO_TS;
    return this.doubles[place >>> CHUNK_SHIFT][(place & UNIT_MASK) + DOUBLE_EXPIRE];
  }

  viewAt(place: number): DataView {
    return this.views[place >>> CHUNK_SHIFT];
  }

  /** The memory that holds a row's key and value. */
  bytesAt(place: number): Uint8Array {
    return this.bytes[place >>> CHUNK_SHIFT];
  }

  keyLengthAt(place: number): number {
    return this.wordAt(place, WORD_KEY) & 0xffff;
  }

  flagsAt(place: number): number {
    return (this.wordAt(place, WORD_KEY) >>> 16) & 0xff;
  }

  keyStartAt(place: number): number {
    return ((place & UNIT_MASK) << 3) + HEADER_BYTES + ((this.wordAt(place, WORD_KEY) & HAS_EXPIRE) >> EXPIRE_TO_BYTES);
  }

  /** The newest version of the key whose root is given. */
  headAt(root: number): number {
    return ~this.wordAt(root, WORD_LINK);
  }

  /** The next older version, or -1. */
  olderAt(place: number): number {
    const link = this.wordAt(place, WORD_LINK);
    return link < 0 ? -1 : link;
  }

  /** The newest version up to `maxSeq` of the key whose root is given, or -1. */
  newestAt(root: number, maxSeq: number): number {
    let link = ~this.wordAt(root, WORD_LINK);
    while (link >= 0) {
      const chunk = link >>> CHUNK_SHIFT;
      const unit = link & UNIT_MASK;
      if (this.doubles[chunk][unit + DOUBLE_SEQ] <= maxSeq) break;
      link = this.words[chunk][(unit << 1) + WORD_LINK];
    }
    return link < 0 ? -1 : link;
  }

  /**
   * Reads from the first cache lines of a row that will be wanted. Rows may be anywhere in memory: lines asked for together come
   * together, asked for one after the other each is waited for.
   */
  touch(place: number): void {
    const words = this.words[place >>> CHUNK_SHIFT];
    const at = (place & UNIT_MASK) << 1;
    let touched = words[at];
    if (at + LINE_WORDS < words.length) touched ^= words[at + LINE_WORDS];
    if (at + 2 * LINE_WORDS < words.length) touched ^= words[at + 2 * LINE_WORDS];
    this.touched = touched;
  }

  /** `touch` for rows `from` up to, not including, `to`, in the order of their arrival. */
  touchRange(from: number, to: number): void {
    for (let id = from; id < to; id++) this.touch(this.placeOf(id));
  }

  /** `touchRange` for their headers and the beginnings of their keys only. */
  touchKeys(from: number, to: number): void {
    let touched = 0;
    for (let id = from; id < to; id++) {
      const place = this.placeOf(id);
      const words = this.words[place >>> CHUNK_SHIFT];
      const at = (place & UNIT_MASK) << 1;
      touched ^= words[at];
      if (at + KEY_WORDS < words.length) touched ^= words[at + KEY_WORDS];
    }
    this.touched = touched;
  }

  /** Whether the row's key is `buf[start, start + length)`. */
  keyEquals(place: number, buf: Uint8Array, start: number, length: number): boolean {
    const chunk = place >>> CHUNK_SHIFT;
    const unit = place & UNIT_MASK;
    const key = this.words[chunk][(unit << 1) + WORD_KEY];
    if ((key & 0xffff) !== length) return false;
    const bytes = this.bytes[chunk];
    const from = (unit << 3) + HEADER_BYTES + ((key & HAS_EXPIRE) >> EXPIRE_TO_BYTES);
    for (let i = 0; i < length; i++) if (bytes[from + i] !== buf[start + i]) return false;
    return true;
  }

  /** Compares the row's key with `buf[start, start + length)`, knowing that the first `depth` bytes are equal. */
  compareKey(place: number, buf: Uint8Array, start: number, length: number, depth: number): number {
    const bytes = this.bytesAt(place);
    const ownStart = this.keyStartAt(place);
    const ownLength = this.keyLengthAt(place);
    const n = Math.min(ownLength, length);
    for (let i = depth; i < n; i++) {
      const d = bytes[ownStart + i] - buf[start + i];
      if (d !== 0) return d;
    }
    return ownLength - length;
  }

  /** Hands the row to a sink, which must copy what it keeps. */
  addTo(sink: RowSink, place: number): void {
    const chunk = place >>> CHUNK_SHIFT;
    const unit = place & UNIT_MASK;
    const words = this.words[chunk];
    const doubles = this.doubles[chunk];
    const bytes = this.bytes[chunk];
    const key = words[(unit << 1) + WORD_KEY];
    const expires = (key & HAS_EXPIRE) !== 0;
    const start = (unit << 3) + HEADER_BYTES + (expires ? EXPIRE_BYTES : 0);
    const keyLength = key & 0xffff;
    sink.add(
      bytes,
      start,
      keyLength,
      bytes,
      start + keyLength,
      words[(unit << 1) + WORD_VALUE_LENGTH],
      doubles[unit + DOUBLE_SEQ],
      (key >>> 16) & 0xff,
      doubles[unit + DOUBLE_CREATE],
      expires ? doubles[unit + DOUBLE_EXPIRE] : NO_TS,
    );
  }

  /** Gives back what the last chunk and the last page do not use. No row may be appended afterwards. */
  trim(): void {
    this.#adoptedBuffer = undefined;
    this.#source = EMPTY_BYTES;
    this.#sourceView = viewOf(EMPTY_BYTES);
    if (this.#chunk >= 0) {
      assertThat(this.#chunkUsed <= this.#chunkBytes, 'rows end within their chunk (memtable-log 2)');
      const bytes = this.bytes[this.#chunk].slice(0, this.#chunkUsed);
      this.bytes[this.#chunk] = bytes;
      this.words[this.#chunk] = new Int32Array(bytes.buffer);
      this.doubles[this.#chunk] = new Float64Array(bytes.buffer);
      this.views[this.#chunk] = viewOf(bytes);
      this.memoryBytes -= this.#chunkBytes - bytes.length;
      this.#chunkBytes = bytes.length;
    }
    const page = this.#places.length - 1;
    assertThat(this.rowCount <= this.#placeCapacity, 'every row has a place (memtable-log 2)');
    if (page >= 0) {
      const places = this.#places[page].slice(0, this.rowCount - (page << PAGE_SHIFT));
      this.memoryBytes -= this.#places[page].byteLength - places.byteLength;
      this.#places[page] = places;
    }
  }
}

/** Bounds that the header relies on; a caller that breaks them has a bug. */
export function checkRowBounds(keyLength: number, valueLength: number, flags: number): void {
  if (keyLength < 1 || keyLength > 0xffff || valueLength < 0 || valueLength > 0x7fff0000 || flags >>> 8 !== 0) {
    throw ruleBroken('a memtable row is within the bounds of its header', { keyLength, valueLength, flags });
  }
}
