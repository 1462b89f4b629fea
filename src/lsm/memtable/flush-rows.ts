/**
 * The rows of a frozen memtable as a flush visits them: all versions, each key's newest first, the keys in their order. Of the memtable
 * itself, or of a copy of its log on another thread (log-copy.ts).
 *
 * Invariants:
 * 1. Each version of the log is visited once.
 */
import { assertThat } from '../../common/assert.ts';
import type { MemtableLog } from './memtable-log.ts';
import type { MemtableOrder } from './memtable-order.ts';

/** Rows written per step of the order. */
const STEP_ROWS = 8192;

/** What a memtable knows of its rows. */
export interface RowsSummary {
  /** Key + value + 8 for the seq + 8 per timestamp, summed over all rows. */
  readonly dataBytes: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export class FlushRows implements RowsSummary {
  readonly log: MemtableLog;
  readonly dataBytes: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly #order: MemtableOrder;
  #places: Int32Array | undefined = undefined;
  #written = 0;
  #leaf = 0;
  #position = 0;
  #place = -1;

  /** Of a log to which no row is added any more. */
  constructor(log: MemtableLog, order: MemtableOrder, { dataBytes, firstSeq, lastSeq }: RowsSummary) {
    this.log = log;
    this.#order = order;
    this.dataBytes = dataBytes;
    this.firstSeq = firstSeq;
    this.lastSeq = lastSeq;
  }

  get rowCount(): number {
    return this.log.rowCount;
  }

  /** Of the places in their order. */
  get memoryBytes(): number {
    return this.#places?.byteLength ?? 0;
  }

  /** One step of about a millisecond towards `places`; true when they are there. */
  step(): boolean {
    if (this.#places === undefined) {
      if (!this.#order.step()) return false;
      this.#order.finish();
      this.#places = new Int32Array(this.rowCount);
      return this.rowCount === 0;
    }
    return this.#written === this.rowCount || this.#writeSome();
  }

  #writeSome(): boolean {
    // biome-ignore lint/style/noNonNullAssertion: one step of a flush (bench/micro/memtable.mjs); made by the step before.
    const places = this.#places!;
    const log = this.log;
    const leaves = this.#order.leaves;
    const limit = Math.min(places.length, this.#written + STEP_ROWS);
    let place = this.#place;
    let at = this.#written;
    while (at < limit) {
      if (place < 0) {
        let leaf = leaves[this.#leaf];
        if (this.#position === leaf.count) {
          this.#position = 0;
          leaf = leaves[++this.#leaf];
        }
        place = log.headAt(leaf.places[leaf.base + this.#position++]);
      }
      places[at++] = place;
      place = log.olderAt(place);
    }
    this.#place = place;
    this.#written = at;
    return at === places.length;
  }

  /** The places of all rows by (key ascending, seq descending), once `step` has returned true. Not to be written to. */
  places(): Int32Array {
    const places = this.#places;
    assertThat(places !== undefined && this.#written === places.length, 'the flush order is read once it is complete');
    return places;
  }
}
