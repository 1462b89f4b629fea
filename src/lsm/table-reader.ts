/**
 * One immutable table: its metadata (index, filter) and blocks, fetched on demand, each once however many readers wait.
 *
 * Offsets come from the manifest's copy of the info block, so no footer is read first; one open-ended GET from the filter on
 * brings filter, index, stats, seal, info block and footer together, and with it the proof that the object is the one that
 * was named. A point read of a cold table costs two requests, of a warm one none.
 *
 * Invariants: a block enters memory only after its checksum held and its structure was walked once; damage to filter, stats
 * or seal never makes rows unreadable (it is reported through `onFinding`); `blocks[i]` and slot `i + 1` of the cache
 * describe the same block, slot 0 is the metadata.
 */
import { copyBytes, EMPTY_BYTES } from '../common/bytes.ts';
import {
  CorruptionError,
  damage,
  type Finding,
  type FindingObject,
  IncompatibleError,
  isCorruption,
  locateFindings,
  makeFinding,
} from '../common/errors.ts';
import { ulidFromBytes } from '../common/ulid.ts';
import { type Block, decodeBlock, MAX_BLOCK_BYTES } from '../format/block.ts';
import { type BlockCodec, loadCodec } from '../format/codecs.ts';
import { type BloomFilter, decodeFilter } from '../format/filter.ts';
import { decodeUnit, unframeUnit } from '../format/framing.ts';
import { decodeIndex, type TableIndex } from '../format/index-block.ts';
import { decodeInfo } from '../format/info-block.ts';
import type { TableRef } from '../format/manifest-types.ts';
import { decodeSeal, type Seal } from '../format/seal.ts';
import { decodeStats, type TableStats } from '../format/stats-block.ts';
import { isSameTable, type TableInfo } from '../format/table-info.ts';
import {
  blockEnd,
  checkIndexLayout,
  checkLayout,
  decodeFooter,
  FOOTER_BYTES,
  type Footer,
  sealRange,
} from '../format/table-layout.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { BlockCache, CacheOwner } from './block-cache.ts';
import { readVerified } from './verified-read.ts';

export { MAX_BLOCK_BYTES };

/** More than any table's tail: the range is cut at the end of the object. */
const OPEN_END = 2 ** 40;
/** A damaged block or tail is read once more before it is called damaged. */
const REREAD_AT_ONCE: readonly number[] = [0];
const NO_WAIT = (): Promise<void> => Promise.resolve();

export interface TableMeta {
  /** From the object itself where that is intact, else the manifest's copy. */
  info: TableInfo;
  index: TableIndex;
  filter: BloomFilter | undefined;
  stats: TableStats | undefined;
  seal: Seal | undefined;
  codec: BlockCodec;
  memoryBytes: number;
}

export interface TableReaderContext {
  cache: BlockCache;
  /** Damage that is no error for the caller. */
  onFinding(finding: Finding): void;
}

export class TableReader implements CacheOwner {
  readonly ref: TableRef;
  readonly path: string;
  readonly #store: ObjectStore;
  readonly #context: TableReaderContext;
  touched: Uint8Array = new Uint8Array(1);
  cachedBytes = 0;
  disposed = false;
  meta: TableMeta | undefined;
  blocks: (Block | undefined)[] = [];
  #metaLoading: Promise<TableMeta> | undefined;
  readonly #loading = new Map<number, Promise<Block>>();
  #size: number | undefined;
  #sealed = false;

  constructor(ref: TableRef, path: string, store: ObjectStore, context: TableReaderContext) {
    this.ref = ref;
    this.path = path;
    this.#store = store;
    this.#context = context;
  }

  /** Drops everything held for this table. */
  dispose(): void {
    this.#context.cache.release(this);
    this.meta = undefined;
    this.blocks = [];
  }

  evict(slot: number): void {
    if (slot === 0) this.meta = undefined;
    else this.blocks[slot - 1] = undefined;
  }

  /** Index and filter; one GET if they are not in memory. */
  loadMeta(): Promise<TableMeta> {
    if (this.meta !== undefined) {
      this.touched[0] = 1;
      return Promise.resolve(this.meta);
    }
    this.#metaLoading ??= this.#fetchMeta().finally(() => {
      this.#metaLoading = undefined;
    });
    return this.#metaLoading;
  }

  async #fetchMeta(): Promise<TableMeta> {
    const codec = await loadCodec(this.ref.info.codec);
    const base = this.ref.info.filterOffset;
    const meta = await readVerified({
      read: async () => {
        const got = await this.#store.get(this.path, { range: { offset: base, length: OPEN_END } });
        if (got === undefined) return undefined;
        this.#size = got.size;
        return got.bytes;
      },
      decode: (bytes) => this.#decodeTail(bytes, base, codec),
      missing: () => this.#missing(),
      location: { object: this.#object(), during: 'get', affects: { keys: this.keyRange() } },
      store: this.#store.name,
      rereads: REREAD_AT_ONCE,
      wait: NO_WAIT,
    });
    if (this.disposed) return meta;
    this.meta = meta;
    const slots = meta.index.blockCount + 1;
    if (this.touched.length !== slots) {
      this.touched = new Uint8Array(slots);
      this.blocks = new Array<Block | undefined>(meta.index.blockCount).fill(undefined);
    }
    this.#context.cache.insert(this, 0, meta.memoryBytes);
    return meta;
  }

  /** Everything behind the data blocks. `base` is where `tail` begins in the object. */
  #decodeTail(tail: Uint8Array, base: number, codec: BlockCodec): TableMeta {
    const named = this.ref.info;
    const size = base + tail.length;
    const needed = Math.max(named.indexOffset + named.indexLength, named.statsOffset + named.statsLength);
    if (size < needed + FOOTER_BYTES) {
      throw damage('TRUNCATED', { unit: 'object', offset: size, length: 0 }, 'the table is cut short', {
        expected: `at least ${needed + FOOTER_BYTES} bytes`,
        found: `${size} bytes`,
      });
    }
    const section = (offset: number, length: number) => tail.subarray(offset - base, offset - base + length);
    const { info, seal } = this.#checkIdentity(tail, base, size);
    const index = at(named.indexOffset, () =>
      decodeUnit(section(named.indexOffset, named.indexLength), codec, 'index', MAX_BLOCK_BYTES, decodeIndex),
    );
    checkIndexLayout(named, index);
    const filter =
      named.filterLength === 0
        ? undefined
        : this.#optional(named.filterOffset, () =>
            decodeUnit(section(named.filterOffset, named.filterLength), codec, 'filter', MAX_BLOCK_BYTES, (payload) =>
              decodeFilter(payload, info.filterForm),
            ),
          );
    const stats =
      named.statsLength === 0
        ? undefined
        : this.#optional(named.statsOffset, () =>
            decodeUnit(section(named.statsOffset, named.statsLength), codec, 'stats', MAX_BLOCK_BYTES, decodeStats),
          );
    const memoryBytes = 512 + named.indexLength * 2 + named.filterLength + (stats?.blocks?.length ?? 0) * 48;
    return { info, index, filter, stats, seal, codec, memoryBytes };
  }

  /** Compares the object's own info block and seal with what the manifest names. */
  #checkIdentity(tail: Uint8Array, base: number, size: number): { info: TableInfo; seal: Seal | undefined } {
    const named = this.ref.info;
    const own = this.#optional(0, () => {
      const footer = footerOfKnownVersion(tail, size);
      const start = footer.infoOffset - base;
      if (start < 0) {
        const place = { unit: 'footer', offset: size - FOOTER_BYTES, length: 8 } as const;
        throw damage('MALFORMED', place, 'the info block lies among the data');
      }
      const info = at(footer.infoOffset, () =>
        decodeInfo(unframeInfo(tail.subarray(start, tail.length - FOOTER_BYTES))),
      );
      checkLayout(info, footer.infoOffset, size);
      return { info, infoOffset: footer.infoOffset };
    });
    if (own === undefined) return { info: named, seal: undefined };
    if (!isSameTable(own.info, named)) {
      throw damage(
        'IDENTITY_MISMATCH',
        { unit: 'info', offset: own.infoOffset, length: 0 },
        'this is not the table the manifest names',
      );
    }
    const range = sealRange(own.info, own.infoOffset);
    if (range.start === range.end) return { info: own.info, seal: undefined };
    const seal = this.#optional(base, () => decodeSeal(tail, range.start - base, range.end - base, ['table']));
    this.#sealed = seal !== undefined;
    const objectId = seal?.identity.objectId;
    if (objectId !== undefined && ulidFromBytes(objectId) !== this.ref.id) {
      throw damage(
        'IDENTITY_MISMATCH',
        { unit: 'seal', offset: range.start, length: range.end - range.start },
        'this is another table',
        {
          expected: this.ref.id,
          found: ulidFromBytes(objectId),
        },
      );
    }
    return { info: own.info, seal };
  }

  /** Damage here takes away a help or a proof, not rows: it is reported, and `undefined` stands for the part. */
  #optional<T>(offset: number, decode: () => T): T | undefined {
    try {
      return decode();
    } catch (error) {
      if (!isCorruption(error)) throw error;
      const location = { object: this.#object(), during: 'get' as const, offset };
      for (const f of locateFindings(error, location)) {
        this.#context.onFinding({ ...f, severity: 'warning', remedy: 'rebuilds' });
      }
      return undefined;
    }
  }

  /** One block; one GET if it is not in memory. `meta` must be loaded. */
  loadBlock(i: number, meta: TableMeta): Promise<Block> {
    const cached = this.blocks[i];
    if (cached !== undefined) {
      this.touched[i + 1] = 1;
      return Promise.resolve(cached);
    }
    const running = this.#loading.get(i);
    if (running !== undefined) return running;
    const offset = meta.index.offset(i);
    const length = blockEnd(this.ref.info, meta.index, i) - offset;
    const promise = this.#fetchBlock(i, meta, () => this.#readRange(offset, length)).finally(() => {
      this.#loading.delete(i);
    });
    this.#loading.set(i, promise);
    return promise;
  }

  /**
   * The blocks `from` to `to` (inclusive) with one GET for each stretch that is not in memory. Results are the blocks or,
   * for a damaged one, its error: one bad block does not take its neighbours with it.
   */
  async loadRange(from: number, to: number, meta: TableMeta): Promise<(Block | CorruptionError)[]> {
    const out = new Array<Promise<Block>>(to - from + 1);
    for (let i = from; i <= to; i++) {
      if (this.blocks[i] !== undefined || this.#loading.has(i)) {
        out[i - from] = this.loadBlock(i, meta);
        continue;
      }
      let end = i;
      while (end < to && this.blocks[end + 1] === undefined && !this.#loading.has(end + 1)) end++;
      this.#loadStretch(i, end, meta, out, from);
      i = end;
    }
    const settled = await Promise.allSettled(out);
    return settled.map((s) => {
      if (s.status === 'fulfilled') return s.value;
      if (isCorruption(s.reason)) return s.reason;
      throw s.reason;
    });
  }

  #loadStretch(first: number, last: number, meta: TableMeta, out: Promise<Block>[], from: number): void {
    const base = meta.index.offset(first);
    const length = blockEnd(this.ref.info, meta.index, last) - base;
    const shared = this.#readRange(base, length);
    for (let i = first; i <= last; i++) {
      const offset = meta.index.offset(i);
      const blockLength = blockEnd(this.ref.info, meta.index, i) - offset;
      let isFirstLook = true;
      const read = async () => {
        if (!isFirstLook) return this.#readRange(offset, blockLength);
        isFirstLook = false;
        const bytes = await shared;
        if (bytes === undefined) return undefined;
        const start = Math.min(offset - base, bytes.length);
        // A copy, so that a cached block does not keep the whole stretch alive.
        return copyBytes(bytes.subarray(start, Math.min(start + blockLength, bytes.length)));
      };
      const promise = this.#fetchBlock(i, meta, read).finally(() => {
        this.#loading.delete(i);
      });
      promise.catch(() => undefined);
      this.#loading.set(i, promise);
      out[i - from] = promise;
    }
  }

  async #readRange(offset: number, length: number): Promise<Uint8Array | undefined> {
    const got = await this.#store.get(this.path, { range: { offset, length } });
    if (got === undefined) return undefined;
    this.#size = got.size;
    return got.bytes;
  }

  async #fetchBlock(i: number, meta: TableMeta, read: () => Promise<Uint8Array | undefined>): Promise<Block> {
    const offset = meta.index.offset(i);
    const length = blockEnd(this.ref.info, meta.index, i) - offset;
    const block = await readVerified({
      read,
      decode: (stored) => {
        if (stored.length < length) {
          throw damage(
            'TRUNCATED',
            { unit: 'block', index: i, offset: 0, length },
            'the object ends inside this block',
            {
              expected: `${length} bytes`,
              found: `${stored.length} bytes`,
            },
          );
        }
        return decodeUnit(stored, meta.codec, 'block', MAX_BLOCK_BYTES, (payload) =>
          decodeBlock(payload, this.ref.formatVersion),
        );
      },
      missing: () => this.#missing(),
      location: {
        object: this.#object(),
        during: 'get',
        offset,
        index: i,
        affects: { keys: this.blockKeyRange(i, meta) },
      },
      store: this.#store.name,
      rereads: REREAD_AT_ONCE,
      wait: NO_WAIT,
    });
    if (this.disposed || this.blocks.length !== meta.index.blockCount) return block;
    this.blocks[i] = block;
    this.#context.cache.insert(this, i + 1, block.bytes.length + 200);
    return block;
  }

  #object(): FindingObject {
    return {
      role: 'table',
      path: this.path,
      id: this.ref.id,
      sealed: this.#sealed,
      ...(this.#size !== undefined && { size: this.#size }),
    };
  }

  #missing(): CorruptionError {
    const finding = makeFinding({
      code: 'MISSING_OBJECT',
      object: this.#object(),
      at: { unit: 'object', offset: 0, length: 0 },
      affects: { keys: this.keyRange() },
      during: 'get',
    });
    return new CorruptionError(
      `${this.#store.name}: ${this.path}: the table is missing although the manifest names it`,
      [finding],
      {
        details: { store: this.#store.name, path: this.path },
      },
    );
  }

  /** Keys the table may hold, as far as the manifest knows. */
  keyRange(): { gte: Uint8Array; lte: Uint8Array } {
    const { firstEntry, lastEntry } = this.ref.info;
    return { gte: firstEntry ?? EMPTY_BYTES, lte: lastEntry ?? MAX_KEY };
  }

  /** Keys block `i` may hold, from the separators of the index. */
  blockKeyRange(i: number, meta: TableMeta): { gte: Uint8Array; lte: Uint8Array } {
    const whole = this.keyRange();
    const first = i === 0 ? whole.gte : meta.index.firstKey(i);
    const last = i + 1 < meta.index.blockCount ? meta.index.firstKey(i + 1) : whole.lte;
    return { gte: first, lte: last };
  }
}

/** Stands for "no upper end known": greater than any key that text or tools produce. */
const MAX_KEY = new Uint8Array(32).fill(0xff);

/** Gives the findings of a nested unit their absolute offsets. */
function at<T>(offset: number, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!isCorruption(error)) throw error;
    const findings = error.findings.map((f) => ({ ...f, at: { ...f.at, offset: f.at.offset + offset } }));
    throw new CorruptionError(error.message, findings);
  }
}

/** The manifest says which version a table has, so an unknown one in the footer is damage. */
function footerOfKnownVersion(tail: Uint8Array, size: number): Footer {
  try {
    return decodeFooter(tail.subarray(tail.length - FOOTER_BYTES), size);
  } catch (error) {
    if (!(error instanceof IncompatibleError)) throw error;
    throw damage('MALFORMED', { unit: 'footer', offset: size - 2, length: 2 }, error.message);
  }
}

function unframeInfo(stored: Uint8Array): Uint8Array {
  return unframeUnit(stored, NO_CODEC, 'info', MAX_BLOCK_BYTES);
}

const NO_CODEC: BlockCodec = { name: 'none', compress: (b) => b, decompress: (b) => b };
