/**
 * The index block: per data block its offset, a separator key and, where zeros follow the block, its length. In WAL objects the
 * separators are sequence numbers, 8 bytes big-endian.
 *
 * ```
 * SsTableIndex   0 block_meta   [BlockMeta], required
 * BlockMeta      0 offset       u64
 *                1 first_key    [u8], required
 *                2 encoded_len  u32, absent = 0: the block ends where the next one begins. Since SlateDB 0.18
 * ```
 *
 * A separator is a key between two blocks: last key of the block before <= separator <= first key of its block. SlateDB and this
 * program cut the first key to one byte more than it has in common with the last key before; that of block 0 is empty.
 *
 * Of an aligned table of SlateDB 0.18: two padded blocks. A FlatBuffer is built back to front, so the second block comes first.
 *
 * ```example slatedb-0.18.0/aligned db/compacted/01M8KD9XPQM0NB7QW37C2S8SH6.sst 12313
 * 0c 00 00 00                                      root table at +12
 * 00 00                                            padding
 * 06 00 08 00 04 00                                vtable: 6 bytes, SsTableIndex of 8, fields at 4
 * 06 00 00 00                                      SsTableIndex: vtable 6 bytes before
 * 04 00 00 00                                      block_meta at +4
 * 02 00 00 00 38 00 00 00 10 00 00 00              block_meta: 2 entries
 * 00 00                                            padding
 * 0a 00 14 00 0c 00 04 00 08 00                    vtable: 10 bytes, BlockMeta of 20, fields at 12 4 8
 * 0a 00 00 00                                      BlockMeta block_meta[1]: vtable 10 bytes before
 * 10 00 00 00                                      first_key at +16
 * 3d 00 00 00                                      encoded_len=61
 * 00 20 00 00 00 00 00 00                          offset=8192
 * 01 00 00 00 72                                   length 1 first_key="r"
 * 00                                               padding
 * 0a 00 0c 00 00 00 04 00 08 00                    vtable: 10 bytes, BlockMeta of 12, fields at - 4 8
 * 0a 00 00 00                                      BlockMeta block_meta[0]: vtable 10 bytes before
 * 08 00 00 00                                      first_key at +8
 * a8 13 00 00                                      encoded_len=5032
 * 00 00 00 00                                      length 0 first_key=""
 * ```
 *
 * A field that is not known here may decide which bytes are a block, as the third one did for programs before it: such an index
 * is refused as too new, and never taken for damage.
 *
 * All separators are stored in one arena next to typed arrays, so that a cached index costs its bytes and not one JavaScript
 * object per block. Invariants of a decoded index:
 * 1. offsets strictly ascend;
 * 2. separators never descend;
 * 3. what `encodedLength` says was not compared with the offsets: `checkIndexLayout` does that.
 */
import { assertThat } from '../common/assert.ts';
import { finish, type Steps } from '../common/async.ts';
import { compareSlice } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import { IncompatibleError } from '../common/errors.ts';
import { FlatBuilder, FlatReader, type FlatRef } from './flatbuffer.ts';

const INDEX_SLOTS = 1;
const BLOCK_META_SLOTS = 3;

export class TableIndex {
  readonly blockCount: number;
  readonly #offsets: Float64Array;
  readonly #keys: Uint8Array;
  /** Where separator i begins in the arena; one entry more than blocks. */
  readonly #keyStarts: Uint32Array;
  /** Undefined where no block has a length, as in all tables that are not aligned. */
  readonly #lengths: Uint32Array | undefined;

  /** Use `decodeIndex`; the arrays are taken over, not copied. */
  constructor(offsets: Float64Array, keys: Uint8Array, keyStarts: Uint32Array, lengths?: Uint32Array) {
    assertThat(keyStarts.length === offsets.length + 1, 'an index has one separator per block');
    assertThat(
      lengths === undefined || lengths.length === offsets.length,
      'an index has lengths for all blocks or none',
    );
    this.blockCount = offsets.length;
    this.#offsets = offsets;
    this.#keys = keys;
    this.#keyStarts = keyStarts;
    this.#lengths = lengths;
  }

  /** Bytes of memory that this index holds. */
  get memoryBytes(): number {
    const lengths = this.#lengths?.byteLength ?? 0;
    return this.#offsets.byteLength + this.#keys.byteLength + this.#keyStarts.byteLength + lengths;
  }

  /** Stored length of block `i`, checksum included, as the index states it; 0: it ends where the next one begins. */
  encodedLength(i: number): number {
    return this.#lengths === undefined ? 0 : this.#lengths[i];
  }

  /** Offset of data block `i` in the object. */
  offset(i: number): number {
    return this.#offsets[i];
  }

  /** The separator of block `i` as a view of the arena; do not change it. */
  firstKey(i: number): Uint8Array {
    return this.#keys.subarray(this.#keyStarts[i], this.#keyStarts[i + 1]);
  }

  /** Order of the separator of block `i` against `key`. */
  compareFirstKey(i: number, key: Uint8Array): number {
    const start = this.#keyStarts[i];
    return compareSlice(this.#keys, start, this.#keyStarts[i + 1] - start, key);
  }

  /**
   * The block in which a search for `key` begins: the last one whose separator is strictly less, else block 0. Strictly,
   * because a separator may equal a key of which newer versions end the block before.
   */
  findStart(key: Uint8Array): number {
    let low = 0;
    let high = this.blockCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.compareFirstKey(middle, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : low - 1;
  }
}

/** Entries that are decoded in one step: about half a millisecond. */
const ENTRIES_PER_STEP = 1024;

/**
 * Throws damage `MALFORMED`, or `OUT_OF_ORDER` if offsets or separators do not ascend.
 * @throws IncompatibleError FORMAT_TOO_NEW for fields that only a newer program knows
 */
export function decodeIndex(payload: Uint8Array): TableIndex {
  return finish(decodeIndexSteps(payload));
}

/** `decodeIndex` in steps: a table of 256 MiB has 65,000 entries, which at once would hold the event loop for some 50 ms. */
export function* decodeIndexSteps(payload: Uint8Array): Steps<TableIndex> {
  const decoder = new IndexDecoder(payload);
  while (!decoder.readSome()) yield;
  const index = decoder.index();
  while (!decoder.checkSome(index)) yield;
  return index;
}

class IndexDecoder {
  readonly #payload: Uint8Array;
  readonly #reader: FlatReader;
  readonly #vector: number;
  readonly #count: number;
  readonly #offsets: Float64Array;
  readonly #keyStarts: Uint32Array;
  #lengths: Uint32Array | undefined;
  /** Separators cannot hold more bytes than the payload; it is cut to size at the end. */
  readonly #arena: Uint8Array;
  #used = 0;
  #read = 0;
  #checked = 1;

  constructor(payload: Uint8Array) {
    this.#payload = payload;
    const reader = new FlatReader(payload, 'index');
    this.#reader = reader;
    this.#vector = reader.requiredVector(reader.root(INDEX_SLOTS), 0, 4, 'block_meta');
    this.#count = reader.count(this.#vector);
    this.#offsets = new Float64Array(this.#count);
    this.#keyStarts = new Uint32Array(this.#count + 1);
    this.#arena = new Uint8Array(payload.length);
  }

  /** True when all entries are read. */
  readSome(): boolean {
    const reader = this.#reader;
    const payload = this.#payload;
    const arena = this.#arena;
    const end = Math.min(this.#count, this.#read + ENTRIES_PER_STEP);
    let used = this.#used;
    for (let i = this.#read; i < end; i++) {
      const meta = reader.element(this.#vector, i, BLOCK_META_SLOTS);
      this.#offsets[i] = reader.u64(meta, 0);
      const key = reader.requiredVector(meta, 1, 1, 'first_key');
      const length = reader.count(key);
      if (used + length > arena.length) throw reader.malformed(key, 'Separators of the index overlap');
      arena.set(payload.subarray(key + 4, key + 4 + length), used);
      used += length;
      this.#keyStarts[i + 1] = used;
      const stated = reader.u32(meta, 2);
      if (stated === 0) continue;
      this.#lengths ??= new Uint32Array(this.#count);
      this.#lengths[i] = stated;
    }
    this.#used = used;
    this.#read = end;
    return end === this.#count;
  }

  index(): TableIndex {
    if (this.#reader.hasUnknownFields) {
      const message =
        'The index has fields that only a newer program knows, and they may decide which bytes are a block';
      throw new IncompatibleError('FORMAT_TOO_NEW', message);
    }
    return new TableIndex(this.#offsets, this.#arena.slice(0, this.#used), this.#keyStarts, this.#lengths);
  }

  /** True when the order of all entries is checked. */
  checkSome(index: TableIndex): boolean {
    const offsets = this.#offsets;
    const end = Math.min(this.#count, this.#checked + ENTRIES_PER_STEP);
    for (let i = this.#checked; i < end; i++) {
      if (offsets[i] > offsets[i - 1] && index.compareFirstKey(i, index.firstKey(i - 1)) >= 0) continue;
      const at = { unit: 'index', index: i, offset: 0, length: this.#payload.length } as const;
      throw damage('OUT_OF_ORDER', at, `Entry ${i} of the index is not after the one before it`);
    }
    this.#checked = end;
    return end >= this.#count;
  }
}

/**
 * Makes the payload, byte for byte what SlateDB makes of the same entries. The entries are encoded as they come, so that the
 * end of a large table has no long step left.
 */
export class IndexBuilder {
  readonly #builder = new FlatBuilder();
  readonly #metas: FlatRef[] = [];

  /**
   * Adds a block: its offset and the separator `keys[start, start + length)`, which is copied.
   * @param encodedLength its stored length with checksum where zeros follow it, else 0
   */
  add(offset: number, keys: Uint8Array, start: number, length: number, encodedLength = 0): void {
    const builder = this.#builder;
    const key = builder.byteVectorOf(keys, start, length);
    builder.startTable();
    builder.addU64(0, offset);
    builder.addRef(1, key);
    builder.addU32(2, encodedLength);
    this.#metas.push(builder.endTable());
  }

  /** The payload. Ends the builder. */
  finish(): Uint8Array {
    const builder = this.#builder;
    const vector = builder.tableVector(this.#metas);
    builder.startTable();
    builder.addRef(0, vector);
    return builder.finish(builder.endTable());
  }
}
