/**
 * The cursor over a memtable: all versions with a seq up to a limit, in row order or its reverse.
 *
 * The table may grow between two calls; rows added since may show or not.
 *
 * Invariants:
 * 1. It never shows a row above its limit, nor one twice.
 * 2. It skips no row that was there when it was created.
 * 3. When the key order has changed under it, it finds its place again from the key it stands on.
 */

import { assertThat } from '../../common/assert.ts';
import { EMPTY_BYTES } from '../../common/bytes.ts';
import { NO_TS } from '../../format/row-flags.ts';
import type { RowCursor } from '../rows/row-cursor.ts';
import { END, ROW } from '../rows/row-cursor.ts';
import type { MemtableLog } from './memtable-log.ts';
import {
  CHUNK_SHIFT,
  DOUBLE_CREATE,
  DOUBLE_EXPIRE,
  DOUBLE_SEQ,
  EXPIRE_TO_BYTES,
  HAS_EXPIRE,
  HEADER_BYTES,
  UNIT_MASK,
  WORD_KEY,
  WORD_LINK,
  WORD_VALUE_LENGTH,
} from './memtable-log.ts';
import type { MemtableOrder } from './memtable-order.ts';

/** Rows whose memory is touched ahead of the cursor: few after a seek, as many scans are short, then twice as many each time. */
const FIRST_AHEAD_ROWS = 2;
const MAX_AHEAD_ROWS = 16;
const NO_PLACES = new Int32Array(0);

export class MemtableCursor implements RowCursor {
  status = END;
  keyBuf: Uint8Array = EMPTY_BYTES;
  keyStart = 0;
  keyLength = 0;
  valueBuf: Uint8Array = EMPTY_BYTES;
  valueStart = 0;
  valueLength = 0;
  keyView: DataView | undefined = undefined;
  valueView: DataView | undefined = undefined;
  seq = 0;
  flags = 0;
  createTs = NO_TS;
  expireTs = NO_TS;
  readonly #log: MemtableLog;
  readonly #order: MemtableOrder;
  readonly #reverse: boolean;
  readonly #maxSeq: number;
  #orderVersion = -1;
  #leaf = 0;
  #position = 0;
  #leafPlaces: Int32Array = NO_PLACES;
  #leafBase = 0;
  #leafCount = 0;
  /** Rows to go before the memory of the next ones is touched, and how many those will be. */
  #untilAhead = 0;
  #aheadRows = FIRST_AHEAD_ROWS;
  /** Root of the current key, and the link of the current version. A root never links forward, whatever is written. */
  #root = -1;
  #link = -1;
  /** Reverse only: the newer versions of the current key still to come, newest first. */
  #newer: number[] = [];

  constructor(log: MemtableLog, order: MemtableOrder, reverse: boolean, maxSeq: number) {
    this.#log = log;
    this.#order = order;
    this.#reverse = reverse;
    assertThat(!Number.isNaN(maxSeq), 'a cursor has a limit');
    this.#maxSeq = maxSeq;
  }

  seek(key: Uint8Array | undefined): number {
    const order = this.#order;
    this.#bringInOrder();
    this.#newer.length = 0;
    this.#aheadRows = FIRST_AHEAD_ROWS;
    if (key === undefined) {
      order.leafAt = this.#reverse ? order.leaves.length : 0;
      order.indexAt = 0;
    } else {
      order.lowerBound(key, 0, key.length);
    }
    this.#standAt(order.leafAt, order.indexAt);
    if (this.#reverse) this.#position--;
    return this.#settle();
  }

  next(): number {
    if (this.status !== ROW) return END;
    if (this.#reverse) {
      // biome-ignore lint/style/noNonNullAssertion: hot loop of a scan (bench/micro/memtable.mjs); the length was just compared.
      if (this.#newer.length > 0) return this.#show(this.#newer.pop()!);
    } else {
      if (this.#link >= 0) return this.#show(this.#link);
    }
    if (this.#order.version !== this.#orderVersion) this.#findPlaceAgain();
    this.#position += this.#reverse ? -1 : 1;
    return this.#settle();
  }

  async load(): Promise<void> {}

  /** Rows above the limit need no order, so a cursor over an old snapshot does not pay for new puts. */
  #bringInOrder(): void {
    const order = this.#order;
    if (order.complete || this.#log.seqAt(this.#log.placeOf(order.orderedTo)) > this.#maxSeq) return;
    order.finish();
  }

  #findPlaceAgain(): void {
    const log = this.#log;
    const root = this.#root;
    this.#order.lowerBound(log.bytesAt(root), log.keyStartAt(root), log.keyLengthAt(root));
    this.#standAt(this.#order.leafAt, this.#order.indexAt);
    const found = this.#leafPlaces[this.#leafBase + this.#position];
    assertThat(found === root, 'a cursor finds its place again where its key is (memtable-cursor 3)');
  }

  #standAt(leaf: number, position: number): void {
    this.#orderVersion = this.#order.version;
    this.#position = position;
    this.#enterLeaf(leaf);
  }

  #enterLeaf(leaf: number): void {
    const leaves = this.#order.leaves;
    this.#leaf = leaf;
    this.#untilAhead = 0;
    if (leaf >= 0 && leaf < leaves.length) {
      this.#leafPlaces = leaves[leaf].places;
      this.#leafBase = leaves[leaf].base;
      this.#leafCount = leaves[leaf].count;
    } else {
      this.#leafCount = 0;
    }
  }

  /** From the current place in the cursor's direction, shows the first row within the limit. */
  #settle(): number {
    for (;;) {
      if (this.#position < 0 || this.#position >= this.#leafCount) {
        if (!this.#crossLeaf()) {
          this.status = END;
          return END;
        }
      }
      if (this.#untilAhead-- === 0) this.#touchAhead();
      const root = this.#leafPlaces[this.#leafBase + this.#position];
      const entry = this.#reverse ? this.#oldest(root) : this.#newest(root);
      if (entry >= 0) {
        this.#root = root;
        return this.#show(entry);
      }
      this.#position += this.#reverse ? -1 : 1;
    }
  }

  /** Asks memory for the next rows of the leaf at once: halves the time of a scan. */
  #touchAhead(): void {
    const log = this.#log;
    const places = this.#leafPlaces;
    const base = this.#leafBase;
    const rows = this.#aheadRows;
    const from = this.#reverse ? Math.max(0, this.#position - rows + 1) : this.#position;
    const to = this.#reverse ? this.#position + 1 : Math.min(this.#leafCount, from + rows);
    for (let i = from; i < to; i++) log.touch(places[base + i]);
    this.#untilAhead = to - from - 1;
    this.#aheadRows = Math.min(MAX_AHEAD_ROWS, rows * 2);
  }

  #crossLeaf(): boolean {
    const leaves = this.#order.leaves;
    if (this.#reverse) {
      const leaf = this.#leaf - 1;
      if (leaf < 0) return false;
      this.#position = leaves[leaf].count - 1;
      this.#enterLeaf(leaf);
    } else {
      const leaf = this.#leaf + 1;
      if (leaf >= leaves.length) return false;
      this.#position = 0;
      this.#enterLeaf(leaf);
    }
    assertThat(this.#leafCount > 0, 'leaves are never empty (memtable-order 1)');
    return true;
  }

  /** The newest version within the limit, or -1. */
  #newest(root: number): number {
    const log = this.#log;
    let entry = log.headAt(root);
    while (entry >= 0 && log.seqAt(entry) > this.#maxSeq) entry = log.olderAt(entry);
    return entry;
  }

  /** The oldest version if it is within the limit, else -1; stacks the newer ones. */
  #oldest(root: number): number {
    const log = this.#log;
    if (log.seqAt(root) > this.#maxSeq) return -1;
    for (let entry = log.headAt(root); entry !== root; entry = log.olderAt(entry)) {
      if (log.seqAt(entry) <= this.#maxSeq) this.#newer.push(entry);
    }
    return root;
  }

  #show(entry: number): number {
    const log = this.#log;
    const chunk = entry >>> CHUNK_SHIFT;
    const unit = entry & UNIT_MASK;
    const at = unit << 1;
    const words = log.words[chunk];
    const doubles = log.doubles[chunk];
    const bytes = log.bytes[chunk];
    const key = words[at + WORD_KEY];
    const start = (unit << 3) + HEADER_BYTES + ((key & HAS_EXPIRE) >> EXPIRE_TO_BYTES);
    const length = key & 0xffff;
    this.#link = words[at + WORD_LINK];
    const view = log.views[chunk];
    this.keyView = view;
    this.valueView = view;
    this.keyBuf = bytes;
    this.keyStart = start;
    this.keyLength = length;
    this.valueBuf = bytes;
    this.valueStart = start + length;
    this.valueLength = words[at + WORD_VALUE_LENGTH];
    this.flags = (key >>> 16) & 0xff;
    this.seq = doubles[unit + DOUBLE_SEQ];
    this.createTs = doubles[unit + DOUBLE_CREATE];
    this.expireTs = (key & HAS_EXPIRE) === 0 ? NO_TS : doubles[unit + DOUBLE_EXPIRE];
    this.status = ROW;
    return ROW;
  }
}
