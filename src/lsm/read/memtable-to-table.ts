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
import { finishSliced, type Steps } from '../../common/async.ts';
import { EMPTY_BYTES } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
import type { BlockCodec } from '../../format/codecs.ts';
import { chooseRowsPerCheck } from '../../format/row-checks.ts';
import { NO_TS } from '../../format/row-flags.ts';
import { encodeSeal } from '../../format/seal.ts';
import type { IdentityRecord } from '../../format/seal-records.ts';
import { type BuiltTable, TableBuilder, type TableFacts } from '../../format/table-builder.ts';
import type { FilterForm } from '../../format/table-info.ts';
import type { FlushRows } from '../memtable/flush-rows.ts';
import type { Memtable } from '../memtable/memtable.ts';
import type { MemtableLog } from '../memtable/memtable-log.ts';
import { isGone, KEEP, RETAIN_ALL, Retention, tombstoneFlags } from '../rows/visibility.ts';

const ROWS_PER_STEP = 256;

export interface TableFormat {
  blockBytes: number;
  codec: BlockCodec;
  filter: { form: FilterForm; bitsPerKey: number; minKeys: number };
}

/** What a flush keeps, as plain data. */
export interface FlushPlan {
  /** Of V6 in visibility.ts. */
  barrier: number;
  /** Up to when what has expired may go; undefined: nothing may. */
  expiredAtMs: number | undefined;
}

/** What the seal of a flushed table says beside what is in it, as plain data. */
export interface FlushedSeal {
  identity: IdentityRecord;
  /** Where a replay begins once the table is named. */
  replayAfterWalId: number;
}

export function sealOfFlushed({ identity, replayAfterWalId }: FlushedSeal, facts: TableFacts): Uint8Array {
  const { minSeq, maxSeq, maxCreateTs, rowCount, rows, expiry } = facts;
  return encodeSeal({
    kind: 'table',
    identity,
    lineage: { level: 'l0', minSeq, maxSeq, maxCreateTs, rows: rowCount, replayAfterWalId },
    rows,
    expiry,
  });
}

/** The table, or undefined if no version is kept. Works in slices. */
export async function buildFlushedTable(
  table: Memtable,
  plan: FlushPlan,
  format: TableFormat,
  clock: Clock,
  makeSeal: (facts: TableFacts) => Uint8Array,
): Promise<BuiltTable | undefined> {
  const unsealed = await finishSliced(clock, unsealedTable(table.toFlush, plan, format));
  return unsealed?.finish(makeSeal);
}

/** All of a table but its end. */
export interface UnsealedTable {
  /** The seal may depend on what has become of the rows. One step. */
  finish(makeSeal: (facts: TableFacts) => Uint8Array): BuiltTable;
}

/** Builds it step by step, each some tenth of a millisecond; undefined: no version is kept. */
export function* unsealedTable(
  rows: FlushRows,
  { barrier, expiredAtMs }: FlushPlan,
  format: TableFormat,
): Steps<UnsealedTable | undefined> {
  while (!rows.step()) yield;
  const places = rows.places();
  const { rowCount, dataBytes, firstSeq, lastSeq } = rows;
  assertThat(places.length === rowCount, 'a flush visits every version once (memtable-to-table 1)');
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: format.blockBytes,
    codec: format.codec,
    filter: format.filter,
    rowsPerCheck: chooseRowsPerCheck(rowCount === 0 ? 1 : dataBytes / rowCount),
    capacityBytes: Math.ceil(dataBytes * 1.1) + rowCount * 12 + 4096,
    capacityRows: rowCount,
  });
  const kept = new KeptRows(rows.log, new Retention(barrier, expiredAtMs), builder);
  for (let i = 0; i < rowCount; ) {
    const end = Math.min(rowCount, i + ROWS_PER_STEP);
    for (; i < end; i++) kept.visit(places[i]);
    yield;
  }
  assertThat(builder.rowCount <= rowCount, 'a flush adds no version of its own (memtable-to-table 1)');
  if (builder.rowCount === 0) return undefined;
  while (!builder.finishStep()) yield;
  return {
    finish: (makeSeal) =>
      builder.finish((facts) => {
        const { minSeq, maxSeq } = facts;
        const isOfTable = minSeq >= firstSeq && maxSeq <= lastSeq && minSeq <= maxSeq;
        assertThat(isOfTable, 'a table has the numbers of its memtable (memtable-to-table 2)', { minSeq, maxSeq });
        const keepsAll = barrier === RETAIN_ALL && expiredAtMs === undefined;
        assertThat(!keepsAll || facts.rowCount === rowCount, 'with that barrier every version is kept');
        return makeSeal(facts);
      }),
  };
}

/** Walks versions in row order and adds those that are kept. */
class KeptRows {
  readonly #log: MemtableLog;
  readonly #retention: Retention;
  readonly #builder: TableBuilder;
  #previous = -1;

  constructor(log: MemtableLog, retention: Retention, builder: TableBuilder) {
    this.#log = log;
    this.#retention = retention;
    this.#builder = builder;
  }

  visit(place: number): void {
    const log = this.#log;
    const isSameKey = this.#previous >= 0 && log.olderAt(this.#previous) === place;
    this.#previous = place;
    const seq = log.seqAt(place);
    const fate = this.#retention.next(isSameKey, seq, log.flagsAt(place), log.expireTsAt(place));
    if (isGone(fate)) return;
    if (fate === KEEP) log.addTo(this.#builder, place);
    else this.#addTombstone(place, seq);
  }

  #addTombstone(place: number, seq: number): void {
    const log = this.#log;
    this.#builder.add(
      log.bytesAt(place),
      log.keyStartAt(place),
      log.keyLengthAt(place),
      EMPTY_BYTES,
      0,
      0,
      seq,
      tombstoneFlags(log.flagsAt(place)),
      log.createTsAt(place),
      NO_TS,
    );
  }
}
