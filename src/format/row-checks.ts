/**
 * Row checks: an xxHash32 over every few rows as they are in the uncompressed block.
 *
 * ```
 * block    row 0  row 1  row 2  row 3 | row 4  row 5  ...        rows per check: 4
 *          '---- check 0, seed 0 ----'  '-- check 1, seed = xxHash32 of the prefix that row 4 shares with row 3, 0 if none --'
 * ```
 *
 * They show which rows of a damaged block are whole, and prove a healed block.
 * 1. The first row of a check may share a prefix with a row outside of it; that prefix goes into the seed, so a check proves full
 *    keys.
 * 2. The number of rows per check divides the restart interval of 16, therefore no check crosses a restart row.
 * 3. Every block begins a new check, the last check of a block may have fewer rows.
 * 4. A check covers 640 bytes of rows at most, unless it is a single row: that bounds what one damaged spot loses.
 * 5. WAL objects have one check per row, because their rows have no second copy.
 */
import { xxHash32View } from './checksum.ts';

export type RowsPerCheck = 0 | 1 | 2 | 4 | 8 | 16;

/** Bytes of rows that one check may cover: bounds both what checks cost and what one damaged spot loses. */
const CHECK_BYTES = 640;

/** The checks of a table, block after block; every block begins a new one. */
export interface CollectedChecks {
  /** xxHash32 per check. */
  checks: Uint32Array;
  /** WAL objects only: sequence number of the first row of each check. */
  firstSeqs?: Float64Array;
  /** WAL objects only: 1 if that row continues the batch of the row before it. */
  continuations?: Uint8Array;
}

/** The largest number of rows per check that keeps a check within its bytes; rows as stored in the uncompressed block. */
export function chooseRowsPerCheck(averageStoredRowBytes: number): 1 | 2 | 4 | 8 | 16 {
  if (16 * averageStoredRowBytes <= CHECK_BYTES) return 16;
  if (8 * averageStoredRowBytes <= CHECK_BYTES) return 8;
  if (4 * averageStoredRowBytes <= CHECK_BYTES) return 4;
  return 2 * averageStoredRowBytes <= CHECK_BYTES ? 2 : 1;
}

/** Collects the checks of a table while it is built. */
export class RowChecks {
  readonly #rowsPerCheck: number;
  readonly #withSeqs: boolean;
  #checks: Uint32Array;
  #firstSeqs = new Float64Array(0);
  #continuations = new Uint8Array(0);
  #count = 0;
  /** Rows, start and seed of the open check. */
  #rows = 0;
  #start = 0;
  #seed = 0;
  #lastSeq = -1;

  /** `capacity`: checks that are expected, as growing means copying. */
  constructor(rowsPerCheck: RowsPerCheck, withSeqs: boolean, capacity: number) {
    this.#rowsPerCheck = rowsPerCheck;
    this.#withSeqs = withSeqs;
    const length = Math.max(64, capacity);
    this.#checks = new Uint32Array(length);
    if (withSeqs) {
      this.#firstSeqs = new Float64Array(length);
      this.#continuations = new Uint8Array(length);
    }
  }

  /** Takes the row encoded at `out[start, end)`, whose key begins with `key[0, shared)` of the row before. */
  row(out: DataView, start: number, end: number, key: DataView, shared: number, seq: number): void {
    if (this.#rows === 0) {
      if (this.#count === this.#checks.length) this.#grow();
      this.#start = start;
      this.#seed = shared === 0 ? 0 : xxHash32View(key, 0, shared, 0);
      if (this.#withSeqs) {
        this.#firstSeqs[this.#count] = seq;
        this.#continuations[this.#count] = seq === this.#lastSeq ? 1 : 0;
      }
    }
    this.#lastSeq = seq;
    if (++this.#rows === this.#rowsPerCheck) this.endBlock(out, end);
  }

  /** Ends the open check, if any, with the rows that end at `end`. */
  endBlock(out: DataView, end: number): void {
    if (this.#rows === 0) return;
    this.#checks[this.#count++] = xxHash32View(out, this.#start, end, this.#seed);
    this.#rows = 0;
  }

  /** The rows of the open check are so many bytes nearer to the start of their buffer now. */
  move(bytes: number): void {
    this.#start -= bytes;
  }

  finish(): CollectedChecks {
    const n = this.#count;
    return {
      checks: this.#checks.subarray(0, n),
      ...(this.#withSeqs && {
        firstSeqs: this.#firstSeqs.subarray(0, n),
        continuations: this.#continuations.subarray(0, n),
      }),
    };
  }

  #grow(): void {
    const length = 2 * this.#checks.length;
    const checks = new Uint32Array(length);
    checks.set(this.#checks);
    this.#checks = checks;
    if (!this.#withSeqs) return;
    const firstSeqs = new Float64Array(length);
    firstSeqs.set(this.#firstSeqs);
    this.#firstSeqs = firstSeqs;
    const continuations = new Uint8Array(length);
    continuations.set(this.#continuations);
    this.#continuations = continuations;
  }
}
