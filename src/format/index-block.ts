/**
 * The index block: per data block its offset and a separator key. In WAL objects the separators are sequence numbers, 8
 * bytes big-endian.
 *
 * All separators lie in one arena next to two typed arrays, so that a cached index costs its bytes and not one JavaScript
 * object per block. Invariants of a decoded index: offsets strictly ascend, separators never descend.
 */
import { assertThat } from '../common/assert.ts';
import { compareSlice } from '../common/bytes.ts';
import { damage } from '../common/errors.ts';
import { FlatBuilder, FlatReader, type FlatRef } from './flatbuffer.ts';

const INDEX_SLOTS = 1;
const BLOCK_META_SLOTS = 2;

export class TableIndex {
  readonly blockCount: number;
  readonly #offsets: Float64Array;
  readonly #keys: Uint8Array;
  /** Where separator i begins in the arena; one entry more than blocks. */
  readonly #keyStarts: Uint32Array;

  /** Use `decodeIndex`; the arrays are taken over, not copied. */
  constructor(offsets: Float64Array, keys: Uint8Array, keyStarts: Uint32Array) {
    assertThat(keyStarts.length === offsets.length + 1, 'an index has one separator per block');
    this.blockCount = offsets.length;
    this.#offsets = offsets;
    this.#keys = keys;
    this.#keyStarts = keyStarts;
  }

  /** Bytes of memory that this index holds. */
  get memoryBytes(): number {
    return this.#offsets.byteLength + this.#keys.byteLength + this.#keyStarts.byteLength;
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

/** Throws damage `MALFORMED`, or `OUT_OF_ORDER` if offsets or separators do not ascend. */
export function decodeIndex(payload: Uint8Array): TableIndex {
  const reader = new FlatReader(payload, 'index');
  const vector = reader.requiredVector(reader.root(INDEX_SLOTS), 0, 4, 'block_meta');
  const count = reader.count(vector);
  const offsets = new Float64Array(count);
  const keyStarts = new Uint32Array(count + 1);
  // Separators cannot hold more bytes than the payload; the arena is cut to size at the end.
  let arena = new Uint8Array(payload.length);
  let used = 0;
  for (let i = 0; i < count; i++) {
    const meta = reader.element(vector, i, BLOCK_META_SLOTS);
    offsets[i] = reader.u64(meta, 0);
    const key = reader.requiredVector(meta, 1, 1, 'first_key');
    const length = reader.count(key);
    if (used + length > arena.length) throw reader.malformed(key, 'Separators of the index overlap');
    arena.set(payload.subarray(key + 4, key + 4 + length), used);
    used += length;
    keyStarts[i + 1] = used;
  }
  arena = arena.slice(0, used);
  const index = new TableIndex(offsets, arena, keyStarts);
  for (let i = 1; i < count; i++) {
    if (offsets[i] > offsets[i - 1] && index.compareFirstKey(i, index.firstKey(i - 1)) >= 0) continue;
    const at = { unit: 'index', index: i, offset: 0, length: payload.length } as const;
    throw damage('OUT_OF_ORDER', at, `Entry ${i} of the index is not behind the one before it`);
  }
  return index;
}

/**
 * Makes the payload, byte for byte what SlateDB makes of the same entries. The entries are encoded as they come, so that the
 * end of a large table has no long step left.
 */
export class IndexBuilder {
  readonly #builder = new FlatBuilder();
  readonly #metas: FlatRef[] = [];

  /** Adds a block: its offset and the separator `keys[start, start + length)`, which is copied. */
  add(offset: number, keys: Uint8Array, start: number, length: number): void {
    const builder = this.#builder;
    const key = builder.byteVectorOf(keys, start, length);
    builder.startTable();
    builder.addU64(0, offset);
    builder.addRef(1, key);
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
