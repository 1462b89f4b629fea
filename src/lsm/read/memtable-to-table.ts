/**
 * Turns a frozen memtable into an L0 table. Which versions are kept, and what becomes of those that have expired, `visibility` says;
 * without a time nothing is taken for expired, for readers that still see what was there: through a snapshot, or because they read
 * expired rows.
 *
 * Invariants:
 * 1. Every version of the memtable is visited once, and none is added.
 * 2. A table has the sequence numbers of its memtable.
 */
import { assertThat } from '../../common/assert.ts';
import { runSliced } from '../../common/async.ts';
import { EMPTY_BYTES } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
import type { BlockCodec } from '../../format/codecs.ts';
import { chooseRowsPerCheck } from '../../format/row-checks.ts';
import { NO_TS } from '../../format/row-flags.ts';
import { type BuiltTable, TableBuilder, type TableFacts } from '../../format/table-builder.ts';
import type { FilterForm } from '../../format/table-info.ts';
import type { Memtable } from '../memtable/memtable.ts';
import { isGone, KEEP, RETAIN_ALL, Retention, tombstoneFlags } from '../rows/visibility.ts';

const ROWS_PER_STEP = 256;

export interface TableFormat {
  blockBytes: number;
  codec: BlockCodec;
  filter: { form: FilterForm; bitsPerKey: number; minKeys: number };
}

/** The table, or undefined if no version is kept. Works in slices. */
export async function buildFlushedTable(
  table: Memtable,
  barrier: number,
  expiredAtMs: number | undefined,
  format: TableFormat,
  clock: Clock,
  makeSeal: (facts: TableFacts) => Uint8Array,
): Promise<BuiltTable | undefined> {
  await runSliced(clock, () => table.orderStep());
  const ids = table.orderedIds();
  assertThat(ids.length === table.rowCount, 'a flush visits every version once (memtable-to-table 1)');
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
  const rows = new KeptRows(table, new Retention(barrier, expiredAtMs), builder);
  let i = 0;
  await runSliced(clock, () => {
    const end = Math.min(ids.length, i + ROWS_PER_STEP);
    for (; i < end; i++) rows.visit(ids[i]);
    return i === ids.length;
  });
  assertThat(builder.rowCount <= ids.length, 'a flush adds no version of its own (memtable-to-table 1)');
  if (builder.rowCount === 0) return undefined;
  await runSliced(clock, () => builder.finishStep());
  return builder.finish((facts) => {
    const { minSeq, maxSeq } = facts;
    const isOfTable = minSeq >= table.firstSeq && maxSeq <= table.lastSeq && minSeq <= maxSeq;
    assertThat(isOfTable, 'a table has the numbers of its memtable (memtable-to-table 2)', { minSeq, maxSeq });
    const keepsAll = barrier === RETAIN_ALL && expiredAtMs === undefined;
    assertThat(!keepsAll || facts.rowCount === ids.length, 'with that barrier every version is kept');
    return makeSeal(facts);
  });
}

/** Walks versions in row order and adds those that are kept. */
class KeptRows {
  readonly #table: Memtable;
  readonly #retention: Retention;
  readonly #builder: TableBuilder;
  #previous = -1;

  constructor(table: Memtable, retention: Retention, builder: TableBuilder) {
    this.#table = table;
    this.#retention = retention;
    this.#builder = builder;
  }

  visit(id: number): void {
    const table = this.#table;
    const isSameKey = this.#previous >= 0 && table.older(this.#previous) === id;
    this.#previous = id;
    const seq = table.seqOf(id);
    const fate = this.#retention.next(isSameKey, seq, table.flagsOf(id), table.expireTsOf(id));
    if (isGone(fate)) return;
    if (fate === KEEP) table.addTo(this.#builder, id);
    else this.#addTombstone(id, seq);
  }

  #addTombstone(id: number, seq: number): void {
    const table = this.#table;
    this.#builder.add(
      table.keyBufOf(id),
      table.keyStartOf(id),
      table.keyLengthOf(id),
      EMPTY_BYTES,
      0,
      0,
      seq,
      tombstoneFlags(table.flagsOf(id)),
      table.createTsOf(id),
      NO_TS,
    );
  }
}
