/**
 * Turns a frozen memtable into an L0 table: which versions are kept, what has expired, and the bytes.
 *
 * Kept of each key, newest first: every version above the retention bound, then the first one at or below it; merge operands
 * at or below the bound do not end the walk. A value that had expired at the time given becomes a tombstone with the same sequence
 * number; an expired merge operand is left out. Without a time nothing is taken for expired: who reads expired rows, through a
 * snapshot or with an older sequence number, goes on seeing what was there.
 */
import { runSliced } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import type { BlockCodec } from '../format/codecs.ts';
import { chooseRowsPerCheck } from '../format/row-checks.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../format/row-flags.ts';
import { type BuiltTable, TableBuilder, type TableFacts } from '../format/table-builder.ts';
import type { FilterForm } from '../format/table-info.ts';
import type { Memtable } from './memtable.ts';

const ROWS_PER_STEP = 256;
const NO_VALUE = new Uint8Array(0);

export interface TableFormat {
  blockBytes: number;
  codec: BlockCodec;
  filter: { form: FilterForm; bitsPerKey: number; minKeys: number };
}

/** As `retainAbove`: every version is kept. */
export const RETAIN_ALL = -1;

/** The table, or undefined if no version is kept. Works in slices. */
export async function buildTable(
  table: Memtable,
  retainAbove: number,
  expiredAtMs: number | undefined,
  format: TableFormat,
  clock: Clock,
  makeSeal: (facts: TableFacts) => Uint8Array,
): Promise<BuiltTable | undefined> {
  await runSliced(clock, () => table.orderStep());
  const ids = table.orderedIds();
  const averageRow = table.rowCount === 0 ? 1 : table.dataBytes / table.rowCount;
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: format.blockBytes,
    codec: format.codec,
    filter: format.filter,
    rowsPerCheck: chooseRowsPerCheck(averageRow),
    capacityBytes: Math.ceil(table.dataBytes * 1.1) + table.rowCount * 12 + 4096,
    capacityRows: table.rowCount,
  });
  const retention = new Retention(table, retainAbove, expiredAtMs ?? Number.NEGATIVE_INFINITY, builder);
  let i = 0;
  await runSliced(clock, () => {
    const end = Math.min(ids.length, i + ROWS_PER_STEP);
    for (; i < end; i++) retention.visit(ids[i]);
    return i === ids.length;
  });
  if (builder.rowCount === 0) return undefined;
  await runSliced(clock, () => builder.finishStep());
  return builder.finish(makeSeal);
}

/** Walks versions in row order and adds those that are kept. */
class Retention {
  readonly #table: Memtable;
  readonly #bound: number;
  readonly #builder: TableBuilder;
  readonly #nowMs: number;
  #previous = -1;
  /** The rest of the current key is dropped. */
  #closed = false;

  constructor(table: Memtable, bound: number, nowMs: number, builder: TableBuilder) {
    this.#table = table;
    this.#bound = bound;
    this.#builder = builder;
    this.#nowMs = nowMs;
  }

  visit(id: number): void {
    const table = this.#table;
    const previous = this.#previous;
    const isSameKey = previous >= 0 && table.older(previous) === id;
    if (!isSameKey) this.#closed = false;
    this.#previous = id;
    if (this.#closed) return;
    const seq = table.seqOf(id);
    // The same version replayed twice: the later one counts, it came first here.
    if (isSameKey && table.seqOf(previous) === seq) return;
    const flags = table.flagsOf(id);
    if (seq <= this.#bound && (flags & FLAG_MERGE) === 0) this.#closed = true;
    const hasExpired = (flags & FLAG_EXPIRE) !== 0 && table.expireTsOf(id) <= this.#nowMs;
    if (!hasExpired) table.addTo(this.#builder, id);
    else if ((flags & FLAG_MERGE) === 0) this.#addTombstone(id, seq);
  }

  #addTombstone(id: number, seq: number): void {
    const table = this.#table;
    this.#builder.add(
      table.keyBufOf(id),
      table.keyStartOf(id),
      table.keyLengthOf(id),
      NO_VALUE,
      0,
      0,
      seq,
      FLAG_TOMBSTONE | (table.flagsOf(id) & FLAG_CREATE),
      table.createTsOf(id),
      NO_TS,
    );
  }
}
