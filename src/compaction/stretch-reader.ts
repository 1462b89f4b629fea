/**
 * Reads one input of a job: its tables, one after the other, in stretches of whole blocks, one stretch ahead of what is merged.
 *
 * ```
 * table      index (one GET of its end)  ->  blocks that can hold keys of the job  ->  stretches of `stretchBytes`, one GET each
 * bad block  read again, and again if that is bad too; repaired if its seal proves it, as reads do; else its damage ends the job
 * ```
 *
 * 1. A stretch has whole blocks, at least one, in the order of the table, without a hole.
 * 2. At most two stretches are in memory or on their way: the one that was given last is the merge's.
 * 3. What is not proven is never given in place of a block that is bad.
 * 4. After `close` no request is under way.
 */
import { assertThat, present } from '../common/assert.ts';
import { ignoreRejection } from '../common/async.ts';
import { damage, locate } from '../common/damage.ts';
import { type DbError, IncompatibleError } from '../common/errors.ts';
import type { Finding, FindingCode, FindingObject } from '../common/finding.ts';
import { CRC_BYTES } from '../format/framing.ts';
import type { TableIndex } from '../format/index-block.ts';
import type { Bound, TableRef, TableView } from '../format/manifest-types.ts';
import { countedRows } from '../format/stats-block.ts';
import { blockEnd } from '../format/table-layout.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { DamagedBlock, Gap } from '../lsm/rows/damaged-block.ts';
import { isAbove, isBelow, shownRange } from '../lsm/rows/shown-range.ts';
import { BlockCache } from '../lsm/table/block-cache.ts';
import { type TableMeta, TableReader, type TableReaderContext } from '../lsm/table/table-reader.ts';
import { tablePlace } from '../lsm/tree/parents.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { storeError } from '../store/store-error.ts';
import type { PlannedSource, PlannedView } from './compaction-plan.ts';
import { rangeAfter } from './merge-step.ts';
import type { BadBlock, BlockStretch, HealedBlock } from './stretch-cursor.ts';
import type { Throttle } from './throttle.ts';

/** What is read for a job is not kept for reads: one job would push out all that they need. */
const NO_CACHE_BYTES = 1;

export interface StretchReaderOptions {
  /** Calls end by the signal of the job. */
  stores: Pick<DatabaseStores, 'main' | 'whole'>;
  throttle: Throttle;
  clock: TableReaderContext['clock'];
  /** Only what comes after this key is read; undefined: everything. */
  after: Uint8Array | undefined;
  /** Of damage that costs no row. */
  onFinding(finding: Finding): void;
}

/** The table that is read now. */
interface OpenTable {
  number: number;
  reader: TableReader;
  index: TableIndex;
  /** The next block, and the last one that can hold a key of the job. */
  next: number;
  last: number;
}

/** Rows of a table, and the bytes of its blocks, if its end says so. */
export interface TableSize {
  rows: number;
  bytes: number;
  /** Merge operands among the rows, as far as it says so. */
  operands: number;
}

export class StretchReader {
  readonly #views: readonly PlannedView[];
  readonly #options: StretchReaderOptions;
  #stretchBytes = 0;
  #nextView = 0;
  #table: OpenTable | undefined;
  #ahead: Promise<BlockStretch | undefined> | undefined;
  #isClosed = false;
  /** The block that was healed last: a second time it is not. */
  #healed: { table: number; block: number } | undefined;
  /** Stored bytes of all stretches that were read. */
  bytesRead = 0;

  constructor(source: PlannedSource, options: StretchReaderOptions) {
    this.#views = source.views;
    this.#options = options;
  }

  /** Reads the end of the first table, for its size; undefined: it does not say it, or there is none. One GET. */
  async open(): Promise<TableSize | undefined> {
    const meta = await this.#openTable();
    const table = this.#table;
    if (meta === undefined || table === undefined) return undefined;
    const { stats, seal } = meta;
    const rows = seal?.lineage?.rows ?? (stats && countedRows(stats));
    const bytes = blockEnd(meta.info, table.index, table.index.blockCount - 1);
    return rows === undefined || rows === 0 ? undefined : { rows, bytes, operands: stats?.merges ?? 0 };
  }

  /** Begins to read ahead, in stretches of so many bytes. */
  begin(stretchBytes: number): void {
    assertThat(this.#ahead === undefined && stretchBytes > 0, 'an input is begun once');
    this.#stretchBytes = stretchBytes;
    this.#readAhead();
  }

  /** The next stretch; undefined: there is none. Rejects with what the store says, and with damage that leaves no index. */
  async next(): Promise<BlockStretch | undefined> {
    const stretch = await present(this.#ahead, 'an input is begun before it is read');
    if (stretch !== undefined && !this.#isClosed) this.#readAhead();
    return stretch;
  }

  #readAhead(): void {
    const ahead = this.#read();
    ignoreRejection(ahead);
    this.#ahead = ahead;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#ahead?.catch(() => undefined);
  }

  // ---- tables

  /** The next table that can hold a key of the job; undefined: there is none. */
  async #openTable(): Promise<TableMeta | undefined> {
    while (this.#nextView < this.#views.length) {
      const number = this.#nextView++;
      const planned = this.#views[number];
      const { start, end } = keysOf(planned.view, this.#options.after);
      const { firstEntry, lastEntry } = planned.view.table.info;
      if (lastEntry !== undefined && isBelow(lastEntry, start)) continue;
      if (firstEntry !== undefined && isAbove(firstEntry, end)) continue;
      const reader = this.#readerOf(planned);
      await this.#options.throttle.take(0);
      const meta = await reader.loadMeta();
      const { index } = meta;
      const next = start.kind === 'unbounded' ? 0 : index.findStart(start.key);
      const last = lastBlock(index, end);
      if (last < next) continue;
      this.#table = { number, reader, index, next, last };
      return meta;
    }
    this.#table = undefined;
    return undefined;
  }

  #readerOf({ view: { table }, owner }: PlannedView): TableReader {
    return readerWithoutCache(table, tablePlace(this.#options.stores, owner, table.id), this.#options);
  }

  // ---- stretches

  async #read(): Promise<BlockStretch | undefined> {
    if (this.#isClosed) return undefined;
    if (this.#table === undefined || this.#table.next > this.#table.last) await this.#openTable();
    const table = this.#table;
    if (table === undefined) return undefined;
    const { index, reader, number, next: first } = table;
    const { info } = reader.ref;
    const base = index.offset(first);
    let last = first;
    while (last < table.last && blockEnd(info, index, last + 1) - base <= this.#stretchBytes) last++;
    const bytes = await this.#get(table, base, blockEnd(info, index, last) - base, first);
    const places = new Uint32Array(2 * (last - first + 1));
    for (let i = first; i <= last; i++) {
      const at = 2 * (i - first);
      places[at] = index.offset(i) - base;
      places[at + 1] = blockEnd(info, index, i) - base;
      if (places[at + 1] - places[at] <= CRC_BYTES) throw await this.#damageOf(table, i, 'MALFORMED', TOO_SHORT);
    }
    table.next = last + 1;
    this.bytesRead += bytes.length;
    return { table: number, block: first, bytes, places, mayMove: this.#isOurs(table, bytes) };
  }

  /** So many bytes, in memory of their own, from block `first` on. An answer that is too short is asked for once more. */
  async #get(table: OpenTable, offset: number, length: number, first: number): Promise<Uint8Array> {
    const { throttle, stores } = this.#options;
    const { index, number, reader } = table;
    const { store, path } = tablePlace(stores, this.#views[number].owner, reader.ref.id);
    let missing = first;
    for (let attempt = 0; attempt < 2; attempt++) {
      await throttle.take(length);
      const got = await store.get(path, { range: { offset, length } });
      if (got?.bytes.length === length) return got.bytes;
      const end = offset + (got?.bytes.length ?? 0);
      for (missing = first; blockEnd(reader.ref.info, index, missing) <= end; missing++);
    }
    throw await this.#damageOf(table, missing, 'TRUNCATED', 'The object ends inside this block.');
  }

  /** A store that is not known may have given out its own memory; with a part of a buffer the rest would go, too. */
  #isOurs({ number }: OpenTable, bytes: Uint8Array): boolean {
    const { stores } = this.#options;
    const { view, owner } = this.#views[number];
    const { store } = tablePlace(stores, owner, view.table.id);
    return store.conformance === 'known' && bytes.length === bytes.buffer.byteLength;
  }

  // ---- what is bad

  /**
   * The rows of a bad block, if they are proven. Rejects with the damage, `IncompatibleError` for what only a newer program knows, and what
   * the store says. Two GETs, and one of the end of the table.
   */
  async heal({ table: number, block, isBegun, code, message, isTooNew }: BadBlock): Promise<HealedBlock> {
    const planned = this.#views[number];
    const reader = this.#readerOf(planned);
    const { path } = reader;
    if (isTooNew) throw new IncompatibleError(code, `${path}: ${message}`, { details: { path } });
    const meta = await reader.loadMeta();
    const loaded = await reader.loadBlock(block, meta);
    if (loaded instanceof DamagedBlock) throw damageIn(loaded);
    const isAgain = this.#healed?.table === number && this.#healed.block === block;
    if (isBegun || isAgain) throw locatedDamage(reader, meta.index, block, code, message);
    this.#healed = { table: number, block };
    return { table: number, block, payload: loaded.bytes, formatVersion: loaded.formatVersion };
  }

  /** The damage that a read of the block finds; what the store says otherwise. */
  async #damageOf({ reader, index }: OpenTable, block: number, code: FindingCode, message: string): Promise<DbError> {
    const loaded = await reader.loadBlock(block, await reader.loadMeta());
    if (loaded instanceof DamagedBlock) return damageIn(loaded);
    if (code === 'MALFORMED') return locatedDamage(reader, index, block, code, message);
    const said = 'a range of the table came short, although the object is whole';
    const cls = 'malformed-response';
    return storeError({ cls, message: said, store: this.#options.stores.main.name, path: reader.path });
  }
}

export function readerWithoutCache(
  table: TableRef,
  { store, path }: { store: ObjectStore; path: string },
  { clock, onFinding }: Pick<TableReaderContext, 'clock' | 'onFinding'>,
): TableReader {
  const cache = new BlockCache({ capacityBytes: NO_CACHE_BYTES });
  return new TableReader(table, path, store, { cache, clock, onFinding });
}

const TOO_SHORT = 'The index gives the block fewer bytes than a checksum has.';

function keysOf(view: TableView, after: Uint8Array | undefined): { start: Bound; end: Bound } {
  return rangeAfter(view, after) ?? shownRange(view);
}

/** The last block that can hold a key which is not above `end`. */
function lastBlock(index: TableIndex, end: Bound): number {
  let low = 0;
  let high = index.blockCount;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isAbove(index.firstKey(middle), end)) high = middle;
    else low = middle + 1;
  }
  return low - 1;
}

function damageIn({ parts }: DamagedBlock): DbError {
  const gap = parts.find((part) => part instanceof Gap);
  return present(gap, 'a damaged block has a gap').error;
}

function locatedDamage(reader: TableReader, index: TableIndex, block: number, code: string, message: string): DbError {
  const { id, info } = reader.ref;
  const object: FindingObject = { role: 'table', path: reader.path, id, sealed: false };
  const offset = index.offset(block);
  const length = blockEnd(info, index, block) - offset;
  const error = damage(code as FindingCode, { unit: 'block', offset: 0, length }, message);
  return locate(error, { object, during: 'compaction', offset, index: block });
}
