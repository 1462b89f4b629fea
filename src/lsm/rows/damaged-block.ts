/**
 * What is left of a block that cannot be read whole: stretches of rows that are proven, and gaps between them.
 *
 * Invariants:
 * 1. Parts are in key order, at least one; no row is proven twice.
 * 2. A gap names all keys of which it may hold a version, its edges included (an edge is the key of the proven row next to it, or what
 *    the index says about the block), and says what is wrong.
 * 3. The seqs of a gap bound all its versions.
 */

import { assertThat } from '../../common/assert.ts';
import { CorruptionError } from '../../common/errors.ts';
import type { Finding } from '../../common/finding.ts';
import { inRange, type KeyRange, sameRange } from '../../common/key-range.ts';
import type { SeqRange } from '../../common/seq-range.ts';
import type { Block } from '../../format/block.ts';
import { type BlockRow, blockOfRows } from '../../format/rows-block.ts';

/** Where nothing says which sequence numbers the versions have. */
export const ANY_SEQ: SeqRange<number> = { min: 0, max: Number.POSITIVE_INFINITY };

/** Keys some versions of which cannot be read. */
export class Gap {
  readonly keys: KeyRange;
  readonly seqs: SeqRange<number>;
  readonly error: CorruptionError;
  /** What the stretch holds if the only small change that makes its checksum hold is the right one. */
  readonly probable: Block | undefined;

  constructor(
    keys: KeyRange,
    seqs: SeqRange<number>,
    error: CorruptionError,
    more: { probable?: Block | undefined; rows?: number | undefined } = {},
  ) {
    assertThat(error.findings.length > 0, 'a gap says what is wrong');
    this.keys = keys;
    this.seqs = seqs;
    this.probable = more.probable;
    const affects = {
      keys: { gte: keys.gte, lte: keys.lte },
      ...(more.rows !== undefined && { rows: more.rows }),
      ...(seqs.max < Number.POSITIVE_INFINITY && { seqs: { min: BigInt(seqs.min), max: BigInt(seqs.max) } }),
    };
    const findings: Finding[] = error.findings.map((f) => ({ ...f, affects: { ...f.affects, ...affects } }));
    this.error = new CorruptionError(error.message, findings, { details: { ...error.details } });
  }

  /** Whether it is the same damage, perhaps read again. */
  equals(other: Gap): boolean {
    return this.error.findings[0]?.id === other.error.findings[0]?.id && sameRange(this.keys, other.keys);
  }
}

/** Whether the gap may hold a version of `key` that a read up to `maxSeq` could see. */
export function concerns({ keys, seqs }: Gap, key: Uint8Array, maxSeq: number): boolean {
  return seqs.min <= maxSeq && inRange(key, keys);
}

export function gapsAt(gaps: readonly Gap[], key: Uint8Array, maxSeq: number): Gap[] {
  return gaps.filter((gap) => concerns(gap, key, maxSeq));
}

export class DamagedBlock {
  readonly parts: readonly (Block | Gap)[];

  constructor(parts: readonly (Block | Gap)[]) {
    assertThat(parts.length > 0, 'what is left of a block is named, be it one gap');
    this.parts = parts;
  }
}

export interface ProvenRow extends BlockRow {
  /** Position among all rows of the block: between two that follow each other there was never another. */
  ordinal: number;
}

/**
 * The block as its proven rows and the gaps around them.
 * @param rows by ordinal
 * @param rowCount rows the block had
 */
export function partsOf(rows: readonly ProvenRow[], rowCount: number, whole: Gap): DamagedBlock {
  if (rows.length === 0) return new DamagedBlock([whole]);
  assertThat(rows[0].ordinal >= 0 && rows[rows.length - 1].ordinal < rowCount, 'a proven row is one of the block');
  const parts: (Block | Gap)[] = [];
  const gap = (gte: Uint8Array, lte: Uint8Array | undefined, lost: number) => {
    assertThat(lost > 0, 'a gap between proven rows has lost a row, and no row is proven twice');
    return new Gap({ gte, lte }, whole.seqs, whole.error, { rows: lost });
  };
  if (rows[0].ordinal > 0) parts.push(gap(whole.keys.gte, rows[0].key, rows[0].ordinal));
  let start = 0;
  for (let i = 1; i <= rows.length; i++) {
    if (i < rows.length && rows[i].ordinal === rows[i - 1].ordinal + 1) continue;
    parts.push(blockOfRows(rows.slice(start, i)));
    const last = rows[i - 1];
    if (i < rows.length) parts.push(gap(last.key, rows[i].key, rows[i].ordinal - last.ordinal - 1));
    else if (last.ordinal < rowCount - 1) parts.push(gap(last.key, whole.keys.lte, rowCount - 1 - last.ordinal));
    start = i;
  }
  return new DamagedBlock(parts);
}
