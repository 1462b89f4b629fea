/**
 * One immutable table: its metadata (index, filter) and blocks, fetched on demand, each once however many readers wait.
 *
 * Offsets come from the manifest's copy of the info block, so no footer is read first; one open-ended GET from the filter on
 * brings filter, index, stats, seal, info block and footer together, and with it the proof that the object is the one that
 * was named. A point read of a cold table costs two requests, of a warm one none.
 *
 * Invariants:
 * 1. A block is fetched once, however many wait for it. It stays in memory only if its checksum held, or its row checks prove that it
 *    is repaired, and its structure was walked.
 * 2. Damage after the blocks never makes rows unreadable: it is reported through `onFinding`.
 * 3. `blocks[i]` and slot `i + 1` of the cache describe the same block, slot 0 is the metadata.
 * 4. Of a damaged block what is proven is given, and the rest is named.
 */

import { assertThat } from '../../common/assert.ts';
import { finishSliced } from '../../common/async.ts';
import { copyBytes, EMPTY_BYTES } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
import { damage, locate, locateFindings } from '../../common/damage.ts';
import { CorruptionError, isCorruption } from '../../common/errors.ts';
import { type Finding, type FindingObject, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import type { KeyRange } from '../../common/key-range.ts';
import type { SeqRange } from '../../common/seq-range.ts';
import { type Block, decodeBlock, MAX_BLOCK_BYTES } from '../../format/block.ts';
import { type BlockProof, blockProof } from '../../format/block-healing.ts';
import { type BlockCodec, loadCodec } from '../../format/codecs.ts';
import type { BloomFilter } from '../../format/filter.ts';
import { decodeUnit } from '../../format/framing.ts';
import type { TableIndex } from '../../format/index-block.ts';
import type { TableRef } from '../../format/manifest-types.ts';
import type { Seal } from '../../format/seal.ts';
import type { TableStats } from '../../format/stats-block.ts';
import type { TableInfo } from '../../format/table-info.ts';
import { blockEnd, dataEnd } from '../../format/table-layout.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { ANY_SEQ, DamagedBlock, Gap } from '../rows/damaged-block.ts';
import type { BlockCache, CacheOwner } from './block-cache.ts';
import { recoverBlock, withTableAdvice } from './block-recovery.ts';
import { type RebuiltIndex, rebuildIndex } from './index-rebuild.ts';
import { TableReadCounts } from './read-counts.ts';
import { tableHint } from './table-hint.ts';
import { decodeTail, refuseOther, type TableTail, type TailOptions } from './table-tail.ts';
import { readVerified } from './verified-read.ts';

export { MAX_BLOCK_BYTES };

/** More bytes than any object has: a range of so many is cut at the end of the object. */
export const OPEN_END = 2 ** 40;
/** A damaged block or tail is read once more before it is called damaged. */
const REREAD_AT_ONCE: readonly number[] = [0];
const NO_WAIT = (): Promise<void> => Promise.resolve();

export type LoadedBlock = Block | DamagedBlock;

export interface TableMeta {
  /** From the object itself where that is intact, else the manifest's copy. */
  info: TableInfo;
  index: TableIndex;
  /** False for an index that was made again and may count several blocks as one: then no block is kept under its number. */
  isLayoutCertain: boolean;
  filter: BloomFilter | undefined;
  stats: TableStats | undefined;
  seal: Seal | undefined;
  codec: BlockCodec;
  memoryBytes: number;
}

export interface TableReaderContext {
  cache: BlockCache;
  clock: Pick<Clock, 'monotonicMs' | 'yieldToLoop'>;
  /** Shared by all tables of a handle; default: its own, which nothing reads. */
  counts?: TableReadCounts;
  /** Damage that is no error for the caller. */
  onFinding(finding: Finding): void;
}

export class TableReader implements CacheOwner {
  readonly ref: TableRef;
  readonly path: string;
  readonly counts: TableReadCounts;
  readonly #store: ObjectStore;
  readonly #context: TableReaderContext;
  touched: Uint8Array = new Uint8Array(1);
  cachedBytes = 0;
  disposed = false;
  meta: TableMeta | undefined;
  blocks: (Block | undefined)[] = [];
  #metaLoading: Promise<TableMeta> | undefined;
  /** By offset in the object. */
  readonly #loading = new Map<number, Promise<LoadedBlock>>();
  #size: number | undefined;
  #sealed = false;

  constructor(ref: TableRef, path: string, store: ObjectStore, context: TableReaderContext) {
    this.ref = ref;
    this.path = path;
    this.#store = store;
    this.#context = context;
    this.counts = context.counts ?? new TableReadCounts();
  }

  /** Drops everything held for this table. */
  dispose(): void {
    assertThat(!this.disposed, 'a reader is dropped once');
    this.#context.cache.release(this);
    this.meta = undefined;
    this.blocks = [];
  }

  evict(slot: number): void {
    if (slot === 0) this.meta = undefined;
    // A slot beyond them is of an index that was rebuilt since, with fewer blocks.
    else if (slot <= this.blocks.length) this.blocks[slot - 1] = undefined;
  }

  /** Index and filter; one GET if they are not in memory. */
  loadMeta(): Promise<TableMeta> {
    if (this.meta !== undefined) {
      this.touched[0] = 1;
      this.counts.metaHits++;
      return Promise.resolve(this.meta);
    }
    this.counts.metaMisses++;
    this.#metaLoading ??= this.#fetchMeta().finally(() => {
      this.#metaLoading = undefined;
    });
    return this.#metaLoading;
  }

  async #fetchMeta(): Promise<TableMeta> {
    const codec = await loadCodec(this.ref.info.codec);
    const base = this.ref.info.filterOffset;
    const options = { ref: this.ref, codec, maxBytes: MAX_BLOCK_BYTES };
    const tail = await readVerified({
      read: async () => {
        const got = await this.#store.get(this.path, { range: { offset: base, length: OPEN_END } });
        if (got === undefined) return undefined;
        this.#size = got.size;
        return got.bytes;
      },
      decode: async (bytes) => {
        const tail = await this.#decodeTail(bytes, base, options);
        if (tail.damages.length > 0) throw tail.damages[0];
        return tail;
      },
      recover: async (bytes, error, reads) => {
        // Another table in this place has nothing for us; anything else takes away a help, never a row.
        if (error.code === 'IDENTITY_MISMATCH') return undefined;
        const tail = await this.#decodeTail(bytes, base, options);
        this.#sealed = tail.seal !== undefined;
        for (const damage of tail.damages) this.#report(damage, reads);
        return tail;
      },
      missing: () => this.#missing(),
      location: { object: this.#object(), during: 'get', affects: { keys: this.keyRange() } },
      store: this.#store.name,
      rereads: REREAD_AT_ONCE,
      wait: NO_WAIT,
    });
    this.#sealed = tail.seal !== undefined;
    const { info, filter, stats, seal } = tail;
    const rebuilt = tail.index === undefined ? await this.#rebuildIndex(codec, tail) : undefined;
    const index = tail.index ?? (rebuilt as RebuiltIndex).index;
    const isLayoutCertain = rebuilt?.isCertain ?? true;
    const { indexLength, filterLength } = this.ref.info;
    const memoryBytes = 512 + indexLength * 2 + filterLength + (stats?.blocks?.length ?? 0) * 48;
    const meta = { info, index, isLayoutCertain, filter, stats, seal, codec, memoryBytes };
    if (this.disposed) return meta;
    this.meta = meta;
    const slots = meta.index.blockCount + 1;
    if (this.touched.length !== slots || !isLayoutCertain) {
      this.touched = new Uint8Array(slots);
      this.blocks = new Array<Block | undefined>(meta.index.blockCount).fill(undefined);
    }
    assertThat(this.blocks.length + 1 === this.touched.length, 'block i has slot i + 1 of the cache (table-reader 3)');
    this.#context.cache.insert(this, 0, meta.memoryBytes);
    return meta;
  }

  /** In slices: what follows the blocks of a large table is megabytes. */
  #decodeTail(bytes: Uint8Array, base: number, options: TailOptions): Promise<TableTail> {
    return finishSliced(this.#context.clock, decodeTail(bytes, base, this.#size as number, options));
  }

  /**
   * Reads all data blocks, twice if some are bad: an answer that came damaged must not make a good block look bad. Without a
   * seal the whole object, whose end may say that it is another table.
   */
  async #rebuildIndex(codec: BlockCodec, { seal, stats }: TableTail): Promise<RebuiltIndex> {
    const blockCount = stats?.blocks?.length;
    const options = { ref: this.ref, codec, rows: seal?.rows, blockCount, maxBytes: MAX_BLOCK_BYTES };
    const length = dataEnd(this.ref.info);
    let best: RebuiltIndex | undefined;
    for (let attempt = 0; attempt < 2 && best?.badBlocks !== 0; attempt++) {
      const whole = await this.#readRange(0, seal === undefined ? Math.max(length, this.#size ?? 0) : length);
      if (whole === undefined) throw this.#missing();
      if (whole.length === this.#size) this.#refuseOther(whole, codec);
      const data = whole.subarray(0, length);
      const rebuilt = rebuildIndex(data, options);
      if (best === undefined || rebuilt.badBlocks < best.badBlocks) best = rebuilt;
    }
    return best as RebuiltIndex;
  }

  /** What was read is all of the object. It may end before this table does: then the tail did not show which table it is. */
  #refuseOther(whole: Uint8Array, codec: BlockCodec): void {
    try {
      refuseOther(whole, whole.length, { ref: this.ref, codec, maxBytes: MAX_BLOCK_BYTES });
    } catch (error) {
      if (!isCorruption(error)) throw error;
      throw locate(error, { object: this.#object(), during: 'get', affects: { keys: this.keyRange() } });
    }
  }

  /** Damage that takes away a help or a proof, not rows. */
  #report(error: CorruptionError, reads: Finding['reads']): void {
    const located = locateFindings(error, { object: this.#object(), during: 'get', reads });
    for (const f of located) {
      const hint = tableHint(this.ref.id, 'rebuilds');
      this.#context.onFinding({ ...f, severity: 'warning', remedy: 'rebuilds', origin: 'at-rest', hint });
    }
  }

  /** Block `i` if it is in memory. Does not count: what was read ahead is found here, too. */
  blockNow(i: number, meta: TableMeta): Block | undefined {
    const cached = meta.isLayoutCertain ? this.blocks[i] : undefined;
    if (cached !== undefined) this.touched[i + 1] = 1;
    return cached;
  }

  /**
   * One block, or what is left of it; one GET if it is not in memory, and one more if it is damaged. `meta` must be loaded.
   * Rejects with what the store says only.
   */
  loadBlock(i: number, meta: TableMeta): Promise<LoadedBlock> {
    const cached = this.blockNow(i, meta);
    if (cached !== undefined) {
      this.counts.blockHits++;
      return Promise.resolve(cached);
    }
    this.counts.blockMisses++;
    assertThat(i >= 0 && i < meta.index.blockCount, 'a block that is asked for is in the index');
    const offset = meta.index.offset(i);
    const running = this.#loading.get(offset);
    if (running !== undefined) return running;
    const length = blockEnd(this.ref.info, meta.index, i) - offset;
    return this.#start(
      offset,
      this.#fetchBlock(i, meta, () => this.#readRange(offset, length)),
    );
  }

  #start(offset: number, fetch: Promise<LoadedBlock>): Promise<LoadedBlock> {
    assertThat(!this.#loading.has(offset), 'a block is fetched once, however many wait for it (table-reader 1)');
    const promise = fetch.finally(() => {
      this.#loading.delete(offset);
    });
    this.#loading.set(offset, promise);
    return promise;
  }

  /**
   * The blocks `from` to `to` (inclusive) with one GET for each stretch that is not in memory. One bad block does not take its
   * neighbours with it.
   */
  async loadRange(from: number, to: number, meta: TableMeta): Promise<LoadedBlock[]> {
    const inIndex = from >= 0 && from <= to && to < meta.index.blockCount;
    assertThat(inIndex, 'a stretch of blocks is in the index', { from, to });
    const out = new Array<Promise<LoadedBlock>>(to - from + 1);
    const isHere = (i: number) => this.blockNow(i, meta) !== undefined || this.#loading.has(meta.index.offset(i));
    for (let i = from; i <= to; i++) {
      if (isHere(i)) {
        out[i - from] = this.loadBlock(i, meta);
        continue;
      }
      let end = i;
      while (end < to && !isHere(end + 1)) end++;
      this.#loadStretch(i, end, meta, out, from);
      i = end;
    }
    const settled = await Promise.allSettled(out);
    return settled.map((s) => {
      if (s.status === 'fulfilled') return s.value;
      throw s.reason;
    });
  }

  #loadStretch(first: number, last: number, meta: TableMeta, out: Promise<LoadedBlock>[], from: number): void {
    this.counts.blockMisses += last - first + 1;
    const base = meta.index.offset(first);
    const length = blockEnd(this.ref.info, meta.index, last) - base;
    assertThat(length > 0, 'a stretch that is fetched has bytes');
    const shared = this.#readRange(base, length);
    for (let i = first; i <= last; i++) {
      const offset = meta.index.offset(i);
      const blockLength = blockEnd(this.ref.info, meta.index, i) - offset;
      let isFirstRead = true;
      const read = async () => {
        if (!isFirstRead) return this.#readRange(offset, blockLength);
        isFirstRead = false;
        const bytes = await shared;
        if (bytes === undefined) return undefined;
        const start = Math.min(offset - base, bytes.length);
        // A copy, so that a cached block does not keep the whole stretch alive.
        return copyBytes(bytes.subarray(start, Math.min(start + blockLength, bytes.length)));
      };
      const promise = this.#start(offset, this.#fetchBlock(i, meta, read));
      promise.catch(() => undefined);
      out[i - from] = promise;
    }
  }

  async #readRange(offset: number, length: number): Promise<Uint8Array | undefined> {
    const got = await this.#store.get(this.path, { range: { offset, length } });
    if (got === undefined) return undefined;
    this.#size = got.size;
    return got.bytes;
  }

  async #fetchBlock(i: number, meta: TableMeta, read: () => Promise<Uint8Array | undefined>): Promise<LoadedBlock> {
    const offset = meta.index.offset(i);
    const length = blockEnd(this.ref.info, meta.index, i) - offset;
    const keys = this.blockKeyRange(i, meta);
    const seqs = seqsOf(meta);
    let block: LoadedBlock;
    try {
      block = await readVerified<LoadedBlock>({
        read,
        decode: (stored) => this.#decodeBlock(stored, length, i, meta),
        recover: (stored, error) =>
          recoverBlock(stored, error, {
            tableId: this.ref.id,
            info: this.ref.info,
            codec: meta.codec,
            formatVersion: this.ref.formatVersion,
            maxBytes: MAX_BLOCK_BYTES,
            proof: proofOf(meta, i, length),
            keys,
            seqs,
            onHealed: (findings) => {
              for (const f of findings) this.#context.onFinding(f);
            },
          }),
        missing: () => this.#missing(),
        location: { object: this.#object(), during: 'get', offset, index: i, affects: { keys } },
        store: this.#store.name,
        rereads: REREAD_AT_ONCE,
        wait: NO_WAIT,
      });
    } catch (error) {
      if (!isCorruption(error)) throw error;
      return new DamagedBlock([new Gap(keys, seqs, error)]);
    }
    if (block instanceof DamagedBlock) return block;
    if (this.disposed || !meta.isLayoutCertain || this.blocks.length !== meta.index.blockCount) return block;
    this.blocks[i] = block;
    this.#context.cache.insert(this, i + 1, block.bytes.length + 200);
    return block;
  }

  #decodeBlock(stored: Uint8Array, length: number, i: number, meta: TableMeta): Block {
    if (stored.length < length) {
      const place = { unit: 'block', index: i, offset: 0, length } as const;
      throw damage('TRUNCATED', place, 'the object ends inside this block', {
        expected: `${length} bytes`,
        found: `${stored.length} bytes`,
      });
    }
    return decodeUnit(stored, meta.codec, 'block', MAX_BLOCK_BYTES, (payload) =>
      decodeBlock(payload, this.ref.formatVersion),
    );
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

  /** The whole table as one gap, for a table of which not even the blocks can be found. */
  gap(error: CorruptionError): Gap {
    return new Gap(this.keyRange(), ANY_SEQ, withTableAdvice(error, 'none', this.ref.id));
  }

  #missing(): CorruptionError {
    const finding = makeFinding({
      code: 'MISSING_OBJECT',
      object: this.#object(),
      at: WHOLE_OBJECT,
      affects: { keys: this.keyRange() },
      during: 'get',
      remedy: 'none',
      hint: tableHint(this.ref.id, 'none'),
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
  keyRange(): KeyRange {
    const { firstEntry, lastEntry } = this.ref.info;
    return { gte: firstEntry ?? EMPTY_BYTES, lte: lastEntry };
  }

  /** Keys block `i` may hold, from the separators of the index. */
  blockKeyRange(i: number, meta: TableMeta): KeyRange {
    const whole = this.keyRange();
    const first = i === 0 ? whole.gte : meta.index.firstKey(i);
    const last = i + 1 < meta.index.blockCount ? meta.index.firstKey(i + 1) : whole.lte;
    return { gte: first, lte: last };
  }
}

/** Sequence numbers of all rows, by the seal. */
function seqsOf(meta: TableMeta): SeqRange<number> {
  const lineage = meta.seal?.lineage;
  return lineage === undefined ? ANY_SEQ : { min: lineage.minSeq, max: lineage.maxSeq };
}

/** What the seal says about block `i`, if it means the same stretch of the object. */
function proofOf(meta: TableMeta, i: number, length: number): BlockProof | undefined {
  const rows = meta.seal?.rows;
  const proof = rows === undefined ? undefined : blockProof(rows, i);
  return proof?.storedBytes === length ? proof : undefined;
}
