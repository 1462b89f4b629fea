/**
 * What follows the blocks of a table: filter, index and stats are appended, and the record of rows for the seal is written, in steps of
 * bounded time.
 *
 * ```
 * filter -> index -> stats -> checks -> ready      never back; stays in `filter` and `checks` for as many steps as there are keys, checks
 * ```
 *
 * Index and stats were encoded as the blocks came: for them only the vector of references is left, some nanoseconds per block.
 */
import { present } from '../common/assert.ts';
import { BloomBuilder, type KeyHashes } from './bloom.ts';
import type { ExpiryRecord } from './expiry-buckets.ts';
import { encodeFilter } from './filter.ts';
import type { IndexBuilder } from './index-block.ts';
import { SealWriter } from './seal-bytes.ts';
import { type RowsRecord, RowsWriter } from './seal-records.ts';
import type { StatsBuilder } from './stats-block.ts';
import type { FilterForm, TableInfo } from './table-info.ts';

/** Keys that one step adds to the filter, and checks that one writes to the rows record: well below 1 ms. */
const FILTER_KEYS_PER_STEP = 1024;
const CHECKS_PER_STEP = 4096;

/** The place of a unit after the blocks, checksum included. */
export interface SectionPlace {
  offset: number;
  length: number;
}

const NO_UNIT: SectionPlace = { offset: 0, length: 0 };

interface RowCounts {
  rowCount: number;
  /** 0 without rows. */
  minSeq: number;
  maxSeq: number;
  /** Greatest create_ts, or NO_TS. */
  maxCreateTs: number;
  /** Runs of rows with one sequence number; in a WAL object the number of batches. */
  batches: number;
  puts: number;
  deletes: number;
  merges: number;
  /** When which part of the rows of a table must have expired. */
  expiry: ExpiryRecord;
}

/** What is known about the rows of a finished table; the seal is made from it. */
export interface TableFacts extends RowCounts {
  /** What the seal records about blocks and rows. */
  rows: RowsRecord;
  /** The info block; it does not depend on the seal. */
  info: TableInfo;
}

interface EndingParts {
  /** Tables are, objects of the log are not. */
  isSorted: boolean;
  filter: { form: FilterForm; bitsPerKey: number };
  /** Undefined: the table gets no filter. */
  hashes: KeyHashes | undefined;
  index: IndexBuilder;
  stats: StatsBuilder | undefined;
  rows: RowsRecord;
  counts: RowCounts & { rawKeyBytes: number; rawValueBytes: number };
  /** Where the next unit would begin in the object. */
  offset(): number;
  /** Appends a unit, framed. */
  append(payload: Uint8Array): SectionPlace;
}

export class TableEnding {
  /** Places of what was appended; a unit that is left out has the length 0. */
  filter: SectionPlace = NO_UNIT;
  index: SectionPlace = NO_UNIT;
  stats: SectionPlace = NO_UNIT;
  readonly #parts: EndingParts;
  readonly #sealWriter = new SealWriter();
  #phase: 'filter' | 'index' | 'stats' | 'checks' | 'ready' = 'filter';
  #hashes: KeyHashes | undefined;
  #bloom: BloomBuilder | undefined;
  #rowsWriter: RowsWriter | undefined;

  constructor(parts: EndingParts) {
    this.#parts = parts;
    this.#hashes = parts.hashes;
    if (parts.hashes !== undefined) this.#bloom = new BloomBuilder(parts.counts.rowCount, parts.filter.bitsPerKey);
  }

  /** True when nothing is left to do. */
  step(): boolean {
    const { append, index, stats, counts, rows, isSorted } = this.#parts;
    switch (this.#phase) {
      case 'filter':
        if (this.#filterStep()) this.#phase = 'index';
        break;
      case 'index':
        this.index = append(index.finish());
        this.#phase = 'stats';
        break;
      case 'stats':
        if (stats !== undefined) this.stats = append(stats.finish(counts));
        this.#rowsWriter = new RowsWriter(this.#sealWriter, rows, !isSorted);
        this.#phase = 'checks';
        break;
      case 'checks':
        if (this.#rowsWriter?.step(CHECKS_PER_STEP)) this.#phase = 'ready';
        break;
    }
    return this.#phase === 'ready';
  }

  /** Adds some of the keys to the filter; with the last of them, or without a filter, appends it and returns true. */
  #filterStep(): boolean {
    const { append, offset, filter } = this.#parts;
    if (this.#bloom === undefined) {
      this.filter = { offset: offset(), length: 0 };
      return true;
    }
    if (!this.#hashes?.addTo(this.#bloom, FILTER_KEYS_PER_STEP)) return false;
    this.filter = append(encodeFilter(filter.form, this.#bloom.finish()));
    this.#bloom = undefined;
    this.#hashes = undefined;
    return true;
  }

  /** To be asked once, when all steps are done. */
  facts(info: TableInfo): TableFacts {
    const { rawKeyBytes: _keys, rawValueBytes: _values, ...counts } = this.#parts.counts;
    present(this.#rowsWriter, 'facts are complete when the checks are written');
    return { ...counts, rows: { ...this.#parts.rows, encoded: this.#sealWriter.finish() }, info };
  }
}
