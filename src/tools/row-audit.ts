/**
 * What must hold between the rows of a table and everything that is said about them elsewhere: order, separators of the index,
 * bounds and counts of seal and stats, row checks, and that no filter denies a key which is there.
 *
 * Blocks come in order; damaged ones are left out, and what cannot be compared without them is not compared.
 */
import { present } from '../common/assert.ts';
import { compareBytes, copyBytes, describeBytes } from '../common/bytes.ts';
import { damage } from '../common/damage.ts';
import { type CorruptionError, isCorruption } from '../common/errors.ts';
import type { FindingPlace } from '../common/finding.ts';
import { type Block, checkBlockOrder } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { type BlockProof, blockProof } from '../format/block-proof.ts';
import { xxHash32 } from '../format/checksum.ts';
import type { UnitPlace } from '../format/frame-search.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE } from '../format/row-flags.ts';
import { sipHash13, sipHigh, sipLow } from '../format/siphash.ts';
import type { TableAnatomy } from '../lsm/table/table-anatomy.ts';

/** Times that the seal does not bound. */
const SEQ_TAIL_BYTES = 9;

export interface RowLimits {
  /** Greatest sequence number that any table of the manifest may hold. */
  maxSeq?: number;
}

type Report = (error: CorruptionError, offset: number, index: number | undefined) => void;

/** Checks of a block that hold and that do not. Only version 2 has any. */
export function countChecks(block: Block, proof: BlockProof): { good: number; bad: number } {
  const result = { good: 0, bad: 0 };
  if (proof.rowsPerCheck === 0) return result;
  const rows = new BlockCursor();
  rows.attach(block);
  let start = 0;
  let seed = 0;
  let inCheck = 0;
  let check = 0;
  let previousKey: Uint8Array = new Uint8Array(0);
  let end = 0;
  const close = () => {
    if (xxHash32(block.bytes, start, end, seed) === proof.checks[check]) result.good++;
    else result.bad++;
    check++;
    inCheck = 0;
  };
  for (let more = rows.first(); more; more = rows.next()) {
    if (inCheck === 0) {
      start = end;
      const shared = readVarint(block.bytes, start);
      seed = shared === 0 ? 0 : xxHash32(previousKey, 0, Math.min(shared, previousKey.length), 0);
    }
    const { flags } = rows;
    end = rows.valueStart + rows.valueLength + SEQ_TAIL_BYTES;
    end += (flags & FLAG_EXPIRE ? 8 : 0) + (flags & FLAG_CREATE ? 8 : 0);
    if (++inCheck < proof.rowsPerCheck) continue;
    // The next check may begin with a row that shares a prefix with this one.
    previousKey = copyBytes(rows.key.subarray(0, rows.keyLength));
    close();
  }
  if (inCheck > 0) close();
  result.bad += Math.max(0, proof.checks.length - check);
  return result;
}

function readVarint(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes[at++];
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
  }
}

/** First and last key of a block. */
export function edgeKeys(block: Block): { first: Uint8Array; last: Uint8Array } {
  const rows = new BlockCursor();
  rows.attach(block);
  rows.first();
  const first = copyBytes(rows.key.subarray(0, rows.keyLength));
  rows.last();
  return { first, last: copyBytes(rows.key.subarray(0, rows.keyLength)) };
}

/** Goes over the good blocks of one table. */
export class RowAudit {
  readonly #tail: TableAnatomy;
  readonly #limits: RowLimits;
  readonly #report: Report;
  readonly #rows = new BlockCursor();
  /** Block, key and sequence number of the last row seen. */
  #last: { block: number; key: Uint8Array; seq: number } | undefined;
  #blocks = 0;
  #puts = 0;
  #deletes = 0;
  #merges = 0;
  #keyBytes = 0;
  #valueBytes = 0;
  #isDenied = false;
  #minSeq = Number.POSITIVE_INFINITY;
  #maxSeq = 0;

  constructor(tail: TableAnatomy, limits: RowLimits, report: Report) {
    this.#tail = tail;
    this.#limits = limits;
    this.#report = report;
  }

  get rowCount(): number {
    return this.#puts + this.#deletes + this.#merges;
  }

  /** Of the rows so far. */
  get seqs(): { min: number; max: number } | undefined {
    return this.rowCount === 0 ? undefined : { min: this.#minSeq, max: this.#maxSeq };
  }

  /** A block whose checksum holds. */
  block(i: number, place: UnitPlace, block: Block): void {
    const wrong = (code: 'OUT_OF_ORDER' | 'SEQ_RANGE' | 'COUNT_MISMATCH' | 'BAD_CHECKSUM', what: string, more = {}) => {
      const at: FindingPlace = { unit: 'block', offset: 0, length: place.end - place.start };
      this.#report(damage(code, at, what, more), place.start, i);
    };
    this.#blocks++;
    try {
      checkBlockOrder(block);
    } catch (error) {
      if (!isCorruption(error)) throw error;
      wrong('OUT_OF_ORDER', error.message);
    }
    const before = { puts: this.#puts, deletes: this.#deletes, merges: this.#merges };
    const { first, last, range } = this.#walk(block);
    this.#compareEdges(i, first, last, wrong);
    this.#compareRange(range, wrong);
    const counts = [this.#puts - before.puts, this.#deletes - before.deletes, this.#merges - before.merges];
    this.#compareCounts(i, block, counts, wrong);
    this.#compareChecks(i, place, block, wrong);
  }

  #walk(block: Block) {
    const rows = this.#rows;
    const { filter, ownInfo } = this.#tail;
    const range = { minSeq: Number.POSITIVE_INFINITY, maxSeq: 0, maxCreateTs: Number.NEGATIVE_INFINITY };
    let first: { key: Uint8Array; seq: number } | undefined;
    rows.attach(block);
    for (let more = rows.first(); more; more = rows.next()) {
      const { flags, seq } = rows;
      first ??= { key: copyBytes(rows.key.subarray(0, rows.keyLength)), seq };
      if ((flags & FLAG_TOMBSTONE) !== 0) this.#deletes++;
      else if ((flags & FLAG_MERGE) !== 0) this.#merges++;
      else this.#puts++;
      this.#keyBytes += rows.keyLength;
      this.#valueBytes += rows.valueLength;
      if (seq < range.minSeq) range.minSeq = seq;
      if (seq > range.maxSeq) range.maxSeq = seq;
      if (rows.createTs > range.maxCreateTs) range.maxCreateTs = rows.createTs;
      if (filter !== undefined && !this.#isDenied) {
        sipHash13(rows.key, 0, rows.keyLength);
        if (!filter.mayContain(sipLow, sipHigh))
          this.#deny(ownInfo !== undefined, rows.key.subarray(0, rows.keyLength));
      }
    }
    if (range.minSeq < this.#minSeq) this.#minSeq = range.minSeq;
    if (range.maxSeq > this.#maxSeq) this.#maxSeq = range.maxSeq;
    const last = { key: copyBytes(rows.key.subarray(0, rows.keyLength)), seq: rows.seq };
    return { first: present(first, 'an audited block has rows'), last, range };
  }

  #deny(isOwnForm: boolean, key: Uint8Array): void {
    const { info } = this.#tail;
    this.#isDenied = true;
    // Without the object's own info block the form of the filter is not known for sure.
    if (!isOwnForm || info === undefined) return;
    const at: FindingPlace = { unit: 'filter', offset: 0, length: info.filterLength };
    const what = `the filter denies the key ${describeBytes(key)}, which is there`;
    this.#report(damage('MALFORMED', at, what), info.filterOffset, undefined);
  }

  #compareEdges(
    i: number,
    first: { key: Uint8Array; seq: number },
    last: { key: Uint8Array; seq: number },
    wrong: (code: 'OUT_OF_ORDER', what: string, more?: object) => void,
  ): void {
    const before = this.#last;
    this.#last = { block: i, ...last };
    if (before !== undefined) {
      const order = compareBytes(before.key, first.key);
      if (order > 0 || (order === 0 && before.seq <= first.seq)) {
        wrong('OUT_OF_ORDER', `block ${i} does not begin after the end of block ${before.block}`);
      }
    }
    const { index, info } = this.#tail;
    const separator = index !== undefined && i < index.blockCount ? index.firstKey(i) : undefined;
    const next = index !== undefined && i + 1 < index.blockCount ? index.firstKey(i + 1) : undefined;
    const lowest = i === 0 ? info?.firstEntry : separator;
    const isLastBlock = index !== undefined && i + 1 === index.blockCount;
    const highest = isLastBlock ? info?.lastEntry : next;
    const isBelow = lowest !== undefined && compareBytes(first.key, lowest) < 0;
    const isAbove = highest !== undefined && compareBytes(last.key, highest) > 0;
    if (isBelow || isAbove) {
      wrong('OUT_OF_ORDER', `block ${i} holds keys outside of what the index says`, {
        expected: `${describeBytes(lowest ?? new Uint8Array(0))} to ${describeBytes(highest ?? new Uint8Array(0))}`,
        found: `${describeBytes(first.key)} to ${describeBytes(last.key)}`,
      });
    } else if (i === 0 && info?.firstEntry !== undefined && compareBytes(first.key, info.firstEntry) !== 0) {
      wrong('OUT_OF_ORDER', 'the first key is not the one the info block names');
    } else if (isLastBlock && info?.lastEntry !== undefined && compareBytes(last.key, info.lastEntry) !== 0) {
      wrong('OUT_OF_ORDER', 'the last key is not the one the info block names');
    }
  }

  #compareRange(
    range: { minSeq: number; maxSeq: number; maxCreateTs: number },
    wrong: (code: 'SEQ_RANGE', what: string, more: object) => void,
  ): void {
    const lineage = this.#tail.isForeign ? undefined : this.#tail.seal?.lineage;
    const least = lineage?.minSeq ?? 0;
    const greatest = Math.min(
      lineage?.maxSeq ?? Number.MAX_SAFE_INTEGER,
      this.#limits.maxSeq ?? Number.MAX_SAFE_INTEGER,
    );
    if (range.minSeq < least || range.maxSeq > greatest) {
      wrong('SEQ_RANGE', 'sequence numbers outside of those of the table', {
        expected: `${least}..${greatest}`,
        found: `${range.minSeq}..${range.maxSeq}`,
      });
    }
    if (lineage !== undefined && range.maxCreateTs > lineage.maxCreateTs) {
      wrong('SEQ_RANGE', 'a row newer than the newest of the table', {
        expected: `at most ${lineage.maxCreateTs} ms`,
        found: `${range.maxCreateTs} ms`,
      });
    }
  }

  #compareCounts(
    i: number,
    block: Block,
    counts: number[],
    wrong: (code: 'COUNT_MISMATCH', what: string, more: object) => void,
  ): void {
    const sealed = this.#tail.seal?.rows?.blockRows[i];
    if (sealed !== undefined && sealed !== block.rowCount) {
      wrong('COUNT_MISMATCH', 'the block does not hold the rows the seal counts', {
        expected: `${sealed} rows`,
        found: `${block.rowCount} rows`,
      });
    }
    const stated = this.#tail.stats?.blocks?.[i];
    if (stated !== undefined && counts.some((n, kind) => n !== stated[kind])) {
      wrong('COUNT_MISMATCH', 'the block does not hold the rows the stats count', {
        expected: `${stated.join(', ')} puts, deletes, merges`,
        found: counts.join(', '),
      });
    }
  }

  #compareChecks(
    i: number,
    place: UnitPlace,
    block: Block,
    wrong: (code: 'BAD_CHECKSUM', what: string, more?: object) => void,
  ): void {
    const record = this.#tail.seal?.rows;
    const proof = record === undefined || block.formatVersion !== 2 ? undefined : blockProof(record, i);
    if (proof === undefined) return;
    const bad = proof.storedBytes === place.end - place.start ? countChecks(block, proof).bad : 0;
    if (proof.storedBytes !== place.end - place.start) wrong('BAD_CHECKSUM', 'the seal states another length');
    else if (bad > 0) wrong('BAD_CHECKSUM', `${bad} row checks of the seal do not hold although the checksum does`);
  }

  /** After the last block; `isComplete` if no block was left out. */
  finish(isComplete: boolean): void {
    if (!isComplete) return;
    const { stats, seal, index, info, isForeign } = this.#tail;
    const mismatch = (unit: 'stats' | 'seal', offset: number, expected: string, found: string) =>
      this.#report(
        damage('COUNT_MISMATCH', { unit, offset: 0, length: 0 }, `the ${unit} counts other rows`, { expected, found }),
        offset,
        undefined,
      );
    const found = [this.#puts, this.#deletes, this.#merges, this.#keyBytes, this.#valueBytes].join(', ');
    if (stats !== undefined && info !== undefined) {
      const expected = [stats.puts, stats.deletes, stats.merges, stats.rawKeyBytes, stats.rawValueBytes].join(', ');
      if (expected !== found) mismatch('stats', info.statsOffset, expected, found);
      const blocks = stats.blocks?.length ?? 0;
      if (blocks !== this.#blocks) mismatch('stats', info.statsOffset, `${blocks} blocks`, `${this.#blocks} blocks`);
    }
    if (seal === undefined || isForeign) return;
    const offset = this.#tail.sealPlace?.start ?? 0;
    const rows = seal.lineage?.rows;
    if (rows !== undefined && rows !== this.rowCount) mismatch('seal', offset, `${rows} rows`, `${this.rowCount} rows`);
    const blocks = seal.rows?.blockRows.length;
    if (blocks !== undefined && index !== undefined && blocks !== index.blockCount) {
      mismatch('seal', offset, `${blocks} blocks`, `${index.blockCount} blocks`);
    }
  }
}
