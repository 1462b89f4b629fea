/**
 * Walks the rows of one sorted source of tables: an L0 table, or a sorted run with its tables one after another.
 *
 * Read-ahead adapts: the first request of a walk brings 16 KiB, each further one in the same direction twice as much up to
 * 1 MiB, and from 64 KiB on the next stretch is fetched while half of this one is still to be handed out. So a long scan
 * costs few requests and a short one wastes little (3,000 rows of 200 B cold: one request for the metadata, six for data).
 * A known end of the scan limits what is fetched. The cursor holds its stretch itself, so a full cache cannot take it away.
 *
 * Invariants:
 * 1. After a move `status` is ROW, END or BLOCKED.
 * 2. BLOCKED has moved nothing: after `load()` the same call is made again, and meets what was loaded for it. That is kept here,
 *    because nothing else need keep it (a gap is in no cache, and a full cache gives up metadata and blocks at once).
 * 3. Rows outside of a view's visible range do not exist.
 * 4. Each gap in what can be read is shown as one damage row (damage-row.ts), and the next move goes on after it: with the rows a
 *    probable healing has for it, if these are wanted.
 */
import { assertThat } from '../../common/assert.ts';
import { compareBytes, EMPTY_BYTES, keySuccessor } from '../../common/bytes.ts';
import { isCorruption } from '../../common/errors.ts';
import { endsBelow, lastKeyOf } from '../../common/key-range.ts';
import { Block } from '../../format/block.ts';
import { BlockCursor } from '../../format/block-cursor.ts';
import { NO_TS } from '../../format/row-flags.ts';
import { blockEnd } from '../../format/table-layout.ts';
import { DAMAGE_SEQ, FLAG_DAMAGED, type MayBeDamaged } from '../rows/damage-row.ts';
import { Gap } from '../rows/damaged-block.ts';
import { BLOCKED, END, ROW, type RowCursor } from '../rows/row-cursor.ts';
import { compareToLast, endBound, startBound, startsBefore, type TableHandle } from './table-handle.ts';
import type { LoadedBlock, TableMeta } from './table-reader.ts';

const FIRST_STRETCH_BYTES = 16 * 1024;
const MAX_STRETCH_BYTES = 1024 * 1024;
const PREFETCH_FROM_BYTES = 64 * 1024;

/** A move checks the table that it leaves and those that it passes, few of which have no row to show. */
const HELD_METAS = 8;

interface Stretch {
  table: number;
  from: number;
  to: number;
  blocks: LoadedBlock[];
}

export interface TableCursorOptions {
  reverse: boolean;
  /** Forward: no row at or above it is wanted; reverse: none below it. Only limits what is fetched. */
  limitKey?: Uint8Array;
  /** Whether rows of probable healings are shown after the damage row of their gap. */
  useProbable?: boolean;
}

export class TableCursor implements RowCursor, MayBeDamaged {
  status: number = END;
  keyBuf: Uint8Array = EMPTY_BYTES;
  keyStart = 0;
  keyLength = 0;
  valueBuf: Uint8Array = EMPTY_BYTES;
  valueStart = 0;
  valueLength = 0;
  keyView: DataView | undefined = undefined;
  seq = 0;
  flags = 0;
  createTs: number = NO_TS;
  expireTs: number = NO_TS;
  damage: Gap | undefined;

  readonly #handles: readonly TableHandle[];
  readonly #reverse: boolean;
  readonly #limitKey: Uint8Array | undefined;
  readonly #useProbable: boolean;
  readonly #rows = new BlockCursor();
  #table = 0;
  #block = 0;
  /** The current block, and which of its parts is current; a whole block is its own only part. */
  #parts: readonly (Block | Gap)[] = [];
  #part = 0;
  /** Whether the current table is one gap. */
  #isTableGap = false;
  /** What must be fetched before the last call can succeed. */
  #wanted: { table: number; block: number } | undefined;
  /** Metadata of the current table, or why it cannot be had. */
  #meta: TableMeta | Gap | undefined;
  #metaOf = -1;
  /** What the last moves and loads met before that, the oldest first; a table that is a gap for good. Most scans need neither. */
  #held: Map<number, TableMeta> | undefined;
  #tableGaps: Map<number, Gap> | undefined;
  #stretch: Stretch | undefined;
  /** The stretch just before: a move that finds nothing in its last block goes on in the next one. */
  #stretchBefore: Stretch | undefined;
  #stretchBytes = FIRST_STRETCH_BYTES;
  #ahead: { table: number; from: number; to: number; blocks: Promise<LoadedBlock[]> } | undefined;
  /** True while a damage row is shown. */
  #atDamage = false;
  /** Rows that a probable healing has before (reverse: after) this key are not wanted. */
  #gapTarget: Uint8Array | undefined;

  constructor(handles: readonly TableHandle[], options: TableCursorOptions) {
    assertThat(handles.length > 0, 'a source has a table');
    this.#handles = handles;
    this.#reverse = options.reverse;
    this.#limitKey = options.limitKey;
    this.#useProbable = options.useProbable ?? false;
  }

  /** Made only for those who copy values: a merge of tables hands on whole blocks of bytes. */
  get valueView(): DataView {
    return this.#rows.block.view;
  }

  seek(key: Uint8Array | undefined): number {
    this.#atDamage = false;
    return this.#reverse ? this.#seekReverse(key) : this.#seekForward(key);
  }

  next(): number {
    if (this.#atDamage) return this.#passDamage();
    return this.#reverse ? this.#stepReverse() : this.#stepForward();
  }

  // ---- forward

  #seekForward(key: Uint8Array | undefined): number {
    const handles = this.#handles;
    let lo = 0;
    if (key !== undefined) {
      let hi = handles.length;
      while (lo < hi) {
        const mid = (lo + hi) >>> 1;
        if (compareToLast(handles[mid], key) < 0) lo = mid + 1;
        else hi = mid;
      }
    }
    for (let t = lo; t < handles.length; t++) {
      const status = this.#enterForward(t, key);
      if (status !== END) return status;
    }
    return this.#end();
  }

  /** First visible row of table `t` at or after `key`; END if it has none. */
  #enterForward(t: number, key: Uint8Array | undefined): number {
    const handle = this.#handles[t];
    const start = startBound(handle);
    let target = key;
    if (start.kind !== 'unbounded' && (target === undefined || compareBytes(target, start.key) < 0)) target = start.key;
    const meta = this.#metaFor(t);
    if (meta === undefined) return this.#needBlock(t, -1);
    if (meta instanceof Gap) return this.#showTableGap(t, meta);
    const first = target === undefined ? 0 : meta.index.findStart(target);
    for (let b = first; b < meta.index.blockCount; b++) {
      const block = this.#blockFor(t, b);
      if (block === undefined) return this.#needBlock(t, b);
      this.#table = t;
      this.#setBlock(b, block);
      for (let p = 0; p < this.#parts.length; p++) {
        this.#part = p;
        const part = this.#parts[p];
        if (part instanceof Gap) {
          if (target !== undefined && endsBelow(part.keys, target)) continue;
          return this.#showDamage(part, target);
        }
        this.#rows.attach(part);
        if (target === undefined ? this.#rows.first() : this.#rows.seek(target)) {
          if (start.kind === 'excluded' && target === start.key && !this.#skipEqual(start.key)) continue;
          return this.#arrive();
        }
      }
    }
    return END;
  }

  #setBlock(b: number, block: LoadedBlock): void {
    this.#block = b;
    this.#isTableGap = false;
    this.#parts = block instanceof Block ? [block] : block.parts;
  }

  /** Moves past the rows whose key is `key`, inside this block; false if the block ended. */
  #skipEqual(key: Uint8Array): boolean {
    const rows = this.#rows;
    while (compareBytes(rows.key.subarray(0, rows.keyLength), key) === 0) if (!rows.next()) return false;
    return true;
  }

  #stepForward(): number {
    if (this.#rows.next()) return this.#arrive();
    return this.#nextPartForward();
  }

  #nextPartForward(): number {
    if (this.#part + 1 === this.#parts.length) return this.#nextBlockForward();
    this.#part++;
    return this.#enterPartForward();
  }

  #enterPartForward(): number {
    const part = this.#parts[this.#part];
    if (part instanceof Gap) return this.#showDamage(part);
    this.#rows.attach(part);
    return this.#rows.first() ? this.#arrive() : this.#nextPartForward();
  }

  #nextBlockForward(): number {
    const t = this.#table;
    const meta = this.#metaFor(t);
    if (meta === undefined) return this.#needBlock(t, -1);
    if (!(meta instanceof Gap) && this.#block + 1 < meta.index.blockCount) {
      const b = this.#block + 1;
      const block = this.#blockFor(t, b);
      if (block === undefined) return this.#needBlock(t, b);
      this.#setBlock(b, block);
      this.#part = 0;
      this.#prefetch(t, b, meta);
      return this.#enterPartForward();
    }
    return this.#nextTableForward();
  }

  #nextTableForward(): number {
    for (let t = this.#table + 1; t < this.#handles.length; t++) {
      const status = this.#enterForward(t, undefined);
      if (status !== END) return status;
    }
    return this.#end();
  }

  // ---- reverse

  #seekReverse(key: Uint8Array | undefined): number {
    for (let t = this.#handles.length - 1; t >= 0; t--) {
      if (key !== undefined && !startsBefore(this.#handles[t], key)) continue;
      const status = this.#enterReverse(t, key);
      if (status !== END) return status;
    }
    return this.#end();
  }

  /** Last visible row of table `t` whose key is less than `key`; END if it has none. */
  #enterReverse(t: number, key: Uint8Array | undefined): number {
    const handle = this.#handles[t];
    const end = endBound(handle);
    let target = key;
    // Rows with key equal to an included end are wanted: the least key greater than it is its successor.
    if (end.kind !== 'unbounded' && (target === undefined || compareBytes(target, end.key) > 0)) {
      target = end.kind === 'excluded' ? end.key : keySuccessor(end.key);
      if (key !== undefined && compareBytes(key, target) < 0) target = key;
    }
    const meta = this.#metaFor(t);
    if (meta === undefined) return this.#needBlock(t, -1);
    if (meta instanceof Gap) return this.#showTableGap(t, meta);
    const last = target === undefined ? meta.index.blockCount - 1 : meta.index.findStart(target);
    for (let b = last; b >= 0; b--) {
      const block = this.#blockFor(t, b);
      if (block === undefined) return this.#needBlock(t, b);
      this.#table = t;
      this.#setBlock(b, block);
      for (let p = this.#parts.length - 1; p >= 0; p--) {
        this.#part = p;
        const part = this.#parts[p];
        if (part instanceof Gap) {
          if (target !== undefined && compareBytes(part.keys.gte, target) >= 0) continue;
          return this.#showDamage(part, target);
        }
        this.#rows.attach(part);
        if (target === undefined ? this.#rows.last() : this.#rows.seekBefore(target)) return this.#arrive();
      }
    }
    return END;
  }

  #stepReverse(): number {
    if (this.#rows.prev()) return this.#arrive();
    return this.#nextPartReverse();
  }

  #nextPartReverse(): number {
    if (this.#part === 0) return this.#nextBlockReverse();
    this.#part--;
    return this.#enterPartReverse();
  }

  #enterPartReverse(): number {
    const part = this.#parts[this.#part];
    if (part instanceof Gap) return this.#showDamage(part);
    this.#rows.attach(part);
    return this.#rows.last() ? this.#arrive() : this.#nextPartReverse();
  }

  #nextBlockReverse(): number {
    const t = this.#table;
    const meta = this.#metaFor(t);
    if (meta === undefined) return this.#needBlock(t, -1);
    if (!(meta instanceof Gap) && this.#block > 0) {
      const b = this.#block - 1;
      const block = this.#blockFor(t, b);
      if (block === undefined) return this.#needBlock(t, b);
      this.#setBlock(b, block);
      this.#part = this.#parts.length - 1;
      this.#prefetch(t, b, meta);
      return this.#enterPartReverse();
    }
    return this.#nextTableReverse();
  }

  #nextTableReverse(): number {
    for (let t = this.#table - 1; t >= 0; t--) {
      const status = this.#enterReverse(t, undefined);
      if (status !== END) return status;
    }
    return this.#end();
  }

  // ---- both directions

  /** Publishes the row under the block cursor, or ends this table if it is outside of the visible range. */
  #arrive(): number {
    const rows = this.#rows;
    this.keyBuf = rows.key;
    this.keyView = rows.keyView;
    this.keyStart = 0;
    this.keyLength = rows.keyLength;
    const range = this.#handles[this.#table].view.visibleRange;
    if (range !== undefined && this.#isPastView()) {
      return this.#reverse ? this.#nextTableReverse() : this.#nextTableForward();
    }
    this.valueBuf = (rows.block as Block).bytes;
    this.valueStart = rows.valueStart;
    this.valueLength = rows.valueLength;
    this.seq = rows.seq;
    this.flags = rows.flags;
    this.createTs = rows.createTs;
    this.expireTs = rows.expireTs;
    this.status = ROW;
    return ROW;
  }

  #isPastView(): boolean {
    const key = this.keyBuf.subarray(0, this.keyLength);
    const bound = this.#reverse ? startBound(this.#handles[this.#table]) : endBound(this.#handles[this.#table]);
    if (bound.kind === 'unbounded') return false;
    const c = this.#reverse ? compareBytes(bound.key, key) : compareBytes(key, bound.key);
    return c > 0 || (c === 0 && bound.kind === 'excluded');
  }

  #end(): number {
    this.#stretch = undefined;
    this.#stretchBefore = undefined;
    this.status = END;
    return END;
  }

  #needBlock(table: number, block: number): number {
    this.#wanted = { table, block };
    this.status = BLOCKED;
    return BLOCKED;
  }

  #showTableGap(t: number, gap: Gap): number {
    this.#table = t;
    this.#isTableGap = true;
    return this.#showDamage(gap);
  }

  /** @param target where a seek into the gap was headed */
  #showDamage(gap: Gap, target?: Uint8Array): number {
    this.#gapTarget = target;
    const key = this.#reverse ? lastKeyOf(gap.keys) : gap.keys.gte;
    this.#atDamage = true;
    this.damage = gap;
    this.keyBuf = key;
    this.keyView = undefined;
    this.keyStart = 0;
    this.keyLength = key.length;
    if (this.#handles[this.#table].view.visibleRange !== undefined && this.#isPastView()) {
      this.#atDamage = false;
      return this.#reverse ? this.#nextTableReverse() : this.#nextTableForward();
    }
    this.valueLength = 0;
    this.seq = this.#reverse ? -1 : DAMAGE_SEQ;
    this.flags = FLAG_DAMAGED;
    this.createTs = NO_TS;
    this.expireTs = NO_TS;
    this.status = ROW;
    return ROW;
  }

  #passDamage(): number {
    assertThat(this.damage !== undefined, 'a damage row has its gap (table-cursor 4)');
    this.#atDamage = false;
    const status = this.#afterDamage(this.damage as Gap);
    // Nothing has moved: the same call is made again.
    if (status === BLOCKED) this.#atDamage = true;
    return status;
  }

  #afterDamage({ probable }: Gap): number {
    const target = this.#gapTarget;
    if (this.#reverse) {
      if (this.#isTableGap) return this.#nextTableReverse();
      if (probable === undefined || !this.#useProbable) return this.#nextPartReverse();
      this.#rows.attach(probable);
      const isThere = target === undefined ? this.#rows.last() : this.#rows.seekBefore(target);
      return isThere ? this.#arrive() : this.#nextPartReverse();
    }
    if (this.#isTableGap) return this.#nextTableForward();
    if (probable === undefined || !this.#useProbable) return this.#nextPartForward();
    this.#rows.attach(probable);
    const isThere = target === undefined ? this.#rows.first() : this.#rows.seek(target);
    return isThere ? this.#arrive() : this.#nextPartForward();
  }

  #metaFor(table: number): TableMeta | Gap | undefined {
    if (this.#metaOf === table) return this.#meta;
    const { reader } = this.#handles[table];
    const kept = this.#tableGaps?.get(table) ?? this.#held?.get(table);
    const meta = kept ?? reader.meta;
    if (meta === undefined) return undefined;
    if (kept === undefined) reader.counts.metaHits++;
    reader.touched[0] = 1;
    this.#hold(table, meta);
    return meta;
  }

  /** Makes this the current metadata, and keeps what was it for a while. */
  #hold(table: number, meta: TableMeta | Gap): void {
    if (this.#meta !== undefined) this.#keepMeta(this.#metaOf, this.#meta);
    this.#meta = meta;
    this.#metaOf = table;
  }

  #keepMeta(table: number, meta: TableMeta | Gap): void {
    if (meta instanceof Gap) {
      this.#tableGaps ??= new Map();
      this.#tableGaps.set(table, meta);
      return;
    }
    this.#held ??= new Map();
    this.#held.delete(table);
    this.#held.set(table, meta);
    if (this.#held.size > HELD_METAS) this.#held.delete(this.#held.keys().next().value as number);
  }

  #blockFor(table: number, b: number): LoadedBlock | undefined {
    const held = blockOf(this.#stretch, table, b) ?? blockOf(this.#stretchBefore, table, b);
    if (held !== undefined) return held;
    const { reader } = this.#handles[table];
    const cached = reader.blockNow(b, this.#meta as TableMeta);
    // What was read ahead has counted when it was fetched.
    if (cached !== undefined && !isIn(this.#ahead, table, b)) reader.counts.blockHits++;
    return cached;
  }

  /** Fetches what the last BLOCKED call needs. Damage is kept for the next call; other failures reject. */
  async load(): Promise<void> {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    assertThat(this.status === BLOCKED, 'only a move that was blocked is loaded for (table-cursor 2)');
    const { reader } = this.#handles[wanted.table];
    if (this.#metaFor(wanted.table) === undefined) {
      try {
        this.#hold(wanted.table, await reader.loadMeta());
      } catch (error) {
        if (!isCorruption(error)) throw error;
        this.#hold(wanted.table, reader.gap(error));
      }
    }
    const meta = this.#meta;
    if (wanted.block < 0 || meta === undefined || meta instanceof Gap) return;
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead !== undefined && isIn(ahead, wanted.table, wanted.block)) {
      this.#keep(wanted.table, ahead.from, ahead.to, await ahead.blocks);
      return;
    }
    const { from, to } = this.#stretchAt(wanted.table, wanted.block, meta);
    this.#keep(wanted.table, from, to, await reader.loadRange(from, to, meta));
  }

  #keep(table: number, from: number, to: number, blocks: LoadedBlock[]): void {
    assertThat(blocks.length === to - from + 1, 'a stretch is whole: each of its blocks, or what is left of it');
    this.#stretchBefore = this.#stretch;
    this.#stretch = { table, from, to, blocks };
    this.#stretchBytes = Math.min(this.#stretchBytes * 2, MAX_STRETCH_BYTES);
  }

  /** The blocks to fetch for a walk that needs block `b` next. */
  #stretchAt(table: number, b: number, meta: TableMeta): { from: number; to: number } {
    const { index } = meta;
    assertThat(b >= 0 && b < index.blockCount, 'a walk needs a block of the table next');
    const { info } = this.#handles[table].reader.ref;
    if (this.#reverse) {
      const stop = this.#limitKey === undefined ? 0 : Math.min(b, index.findStart(this.#limitKey));
      const end = blockEnd(info, index, b);
      let from = b;
      while (from > stop && end - index.offset(from - 1) <= this.#stretchBytes) from--;
      return { from, to: b };
    }
    const stop = this.#limitKey === undefined ? index.blockCount - 1 : Math.max(b, index.findStart(this.#limitKey));
    const start = index.offset(b);
    let to = b;
    while (to < stop && blockEnd(info, index, to + 1) - start <= this.#stretchBytes) to++;
    return { from: b, to };
  }

  /** Starts the next request once half of a long stretch is used up. */
  #prefetch(table: number, b: number, meta: TableMeta): void {
    const s = this.#stretch;
    if (s?.table !== table || this.#ahead !== undefined || this.#stretchBytes < PREFETCH_FROM_BYTES) return;
    const used = this.#reverse ? s.to - b : b - s.from;
    if (used * 2 < s.to - s.from) return;
    const nextBlock = this.#reverse ? s.from - 1 : s.to + 1;
    if (nextBlock < 0 || nextBlock >= meta.index.blockCount) return;
    if (this.#limitKey !== undefined) {
      const edge = meta.index.findStart(this.#limitKey);
      if (this.#reverse ? nextBlock < edge : nextBlock > edge) return;
    }
    const { from, to } = this.#stretchAt(table, nextBlock, meta);
    const blocks = this.#handles[table].reader.loadRange(from, to, meta);
    blocks.catch(() => undefined);
    this.#ahead = { table, from, to, blocks };
  }
}

function isIn(part: { table: number; from: number; to: number } | undefined, table: number, b: number): boolean {
  return part?.table === table && b >= part.from && b <= part.to;
}

function blockOf(stretch: Stretch | undefined, table: number, b: number): LoadedBlock | undefined {
  return stretch !== undefined && isIn(stretch, table, b) ? stretch.blocks[b - stretch.from] : undefined;
}
