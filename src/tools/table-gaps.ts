/**
 * Gaps of a damaged table: stretches of blocks that cannot be used, and what can be found of the rows that were in them.
 *
 * A gap is bounded by the last row before and the first row after it; only rows strictly between them are put into it, so what
 * comes from elsewhere can neither break the order nor repeat a version. How many rows a gap had is known from the seal or from
 * the stats, else it is estimated, and the result says so.
 */
import { present } from '../common/assert.ts';
import { compareBytes, copyBytes, EMPTY_BYTES } from '../common/bytes.ts';
import { IncompatibleError } from '../common/errors.ts';
import { inRange, type KeyRange } from '../common/key-range.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Block, decodeBlock, MAX_BLOCK_BYTES } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { hasChecks } from '../format/block-proof.ts';
import { crc32 } from '../format/checksum.ts';
import { NO_CODEC } from '../format/codecs.ts';
import { CRC_BYTES, readCrc } from '../format/framing.ts';
import type { TableRef } from '../format/manifest-types.ts';
import { type SalvagedRow, type SuspectRow, salvageBlock, suspectRows } from '../format/salvage.ts';
import { TableBuilder } from '../format/table-builder.ts';
import type { TableInfo } from '../format/table-info.ts';
import type { TableAnatomy } from '../lsm/table/table-anatomy.ts';
import type { RepairView } from './repair-plan.ts';
import type { Acceptance } from './reports.ts';
import { countChecks } from './row-audit.ts';
import {
  type Candidates,
  inputCandidates,
  LogRows,
  NO_CANDIDATES,
  type TreePlace,
  withoutOldVersions,
} from './row-sources.ts';
import { type ExaminedBlock, readableBlock } from './table-blocks.ts';
import { compareRows, type LooseRow, sortedRows } from './table-rebuild.ts';

export interface GapChoices {
  sources: readonly string[];
  accept: Acceptance;
}

type Edge = Pick<LooseRow, 'key' | 'seq'>;

export interface TableGap {
  blocks: ExaminedBlock[];
  after: Edge | undefined;
  before: Edge | undefined;
  /** The range of the rows, both ends included. */
  keys: KeyRange;
  /** Rows of the gap, if known. */
  rowCount: number | undefined;
  /** The same by the size of the gap. */
  estimatedRows: number;
}

export interface GapResult {
  gap: TableGap;
  /** Sorted. */
  rows: LooseRow[];
  suspectRows: number;
  /** The least that is lost. */
  lostRows: number;
  /** The most; undefined: nothing says how many rows the gap had. */
  lostAtMost: number | undefined;
  isExact: boolean;
  /** Empty if nothing is lost. */
  lostKeys: KeyRange[];
}

/** Whether a block's rows are put back as they are. */
export function isTrusted({ trust, healed }: ExaminedBlock, { sources, accept }: GapChoices): boolean {
  if (trust === 'good') return true;
  if (trust === 'bad' || !sources.includes('heal')) return false;
  return trust === 'verified' || accept !== 'verified' || healed?.kind === 'bit';
}

const LARGEST_BLOCK_BYTES = 65_536;

/** All gaps, in order. A table without blocks is one gap. */
export function gapsOf(
  blocks: readonly ExaminedBlock[],
  tail: TableAnatomy | undefined,
  named: TableInfo,
  choices: GapChoices,
): TableGap[] {
  if (blocks.length === 0) {
    const keys = { gte: named.firstEntry ?? EMPTY_BYTES, lte: named.lastEntry };
    const rowCount = tail === undefined || tail.isForeign ? undefined : tail.seal?.lineage?.rows;
    return [{ blocks: [], after: undefined, before: undefined, keys, rowCount, estimatedRows: 1 }];
  }
  const gaps: TableGap[] = [];
  const density = rowsPerByte(blocks);
  for (let i = 0; i < blocks.length; i++) {
    if (isTrusted(blocks[i], choices)) continue;
    const first = i;
    while (i + 1 < blocks.length && !isTrusted(blocks[i + 1], choices)) i++;
    const bad = blocks.slice(first, i + 1);
    const after = first === 0 ? undefined : edges(blocks[first - 1]).last;
    const before = i + 1 === blocks.length ? undefined : edges(blocks[i + 1]).first;
    const bytes = bad.reduce((n, b) => n + b.place.end - b.place.start, 0);
    gaps.push({
      blocks: bad,
      after,
      before,
      keys: keysOfGap(bad, after, before, named),
      rowCount: countOf(bad),
      estimatedRows: Math.max(1, Math.round(bytes * density)),
    });
  }
  return gaps;
}

function rowsPerByte(blocks: readonly ExaminedBlock[]): number {
  let rows = 0;
  let bytes = 0;
  for (const { block, place } of blocks) {
    if (block === undefined) continue;
    rows += block.rowCount;
    bytes += place.end - place.start;
  }
  return bytes === 0 ? 0.01 : rows / bytes;
}

function countOf(bad: readonly ExaminedBlock[]): number | undefined {
  let sum = 0;
  for (const { proof, bounds } of bad) {
    const count = proof?.rowCount ?? bounds.rowCount;
    if (count === undefined) return undefined;
    sum += count;
  }
  return sum;
}

function edges(b: ExaminedBlock): { first: Edge; last: Edge } {
  const rows = new BlockCursor();
  rows.attach(readableBlock(b));
  rows.first();
  const first = { key: copyBytes(rows.key.subarray(0, rows.keyLength)), seq: rows.seq };
  rows.last();
  return { first, last: { key: copyBytes(rows.key.subarray(0, rows.keyLength)), seq: rows.seq } };
}

function keysOfGap(
  bad: readonly ExaminedBlock[],
  after: Edge | undefined,
  before: Edge | undefined,
  named: TableInfo,
): KeyRange {
  const low = [bad[0].bounds.separator, after?.key, named.firstEntry].filter((k) => k !== undefined);
  const high = [bad[bad.length - 1].bounds.nextSeparator, before?.key, named.lastEntry].filter((k) => k !== undefined);
  const gte = low.reduce((a, b) => (compareBytes(a, b) < 0 ? b : a), EMPTY_BYTES);
  const lte = high.reduce<Uint8Array | undefined>(
    (a, b) => (a === undefined || compareBytes(b, a) < 0 ? b : a),
    undefined,
  );
  return { gte, lte };
}

interface Subject {
  id: Ulid;
  ref: TableRef;
  place: TreePlace;
  tail: TableAnatomy | undefined;
}

/** Fills the gaps of one table from what the choices allow. */
export class GapFiller {
  readonly #view: RepairView;
  readonly #subject: Subject;
  readonly #choices: GapChoices;
  #log: LogRows | undefined;

  constructor(view: RepairView, subject: Subject, choices: GapChoices) {
    this.#view = view;
    this.#subject = subject;
    this.#choices = choices;
  }

  async fill(gap: TableGap, all: readonly TableGap[]): Promise<GapResult> {
    const found: LooseRow[] = [];
    let newest: LooseRow[] = [];
    for (const source of ['wal', 'inputs'] as const) {
      if (!this.#choices.sources.includes(source)) continue;
      const { rows, isComplete, isNewest } = await this.#candidates(source, gap, all);
      const fitting = rows.filter((row) => isInGap(gap, row));
      const exact = sameCount(fitting, gap.rowCount);
      if (exact !== undefined && (isComplete || isProven(exact, gap))) return completeGap(gap, exact);
      if (isComplete && (gap.rowCount === undefined || fitting.length >= gap.rowCount))
        return completeGap(gap, fitting);
      if (isNewest) newest = newestVersions(fitting, gap);
      for (const row of fitting) found.push(row);
    }
    return this.#salvage(gap, found, newest);
  }

  async #candidates(source: 'wal' | 'inputs', gap: TableGap, all: readonly TableGap[]): Promise<Candidates> {
    const { target, manifest } = this.#view;
    const { id, tail, place } = this.#subject;
    if (source === 'inputs') {
      if (place.level === 'l0') return NO_CANDIDATES;
      return inputCandidates(target.stores.main, id, tail, gap.keys);
    }
    const ranges = all.map((g) => g.keys);
    this.#log ??= new LogRows(target.stores, manifest.manifest, ranges);
    const lineage = tail === undefined || tail.isForeign ? undefined : tail.seal?.lineage;
    const { minSeq: min = 0, maxSeq: max = 0, maxCreateTs = 0 } = lineage ?? {};
    const seqs = lineage === undefined ? undefined : { min, max, maxCreateTs };
    const isUnsealed = tail?.ownInfo !== undefined && !tail.isForeign && tail.sealPlace === undefined;
    return this.#log.candidates(place, seqs, gap.keys, isUnsealed);
  }

  /**
   * What is left in the damaged blocks themselves, besides what was found elsewhere, of which the table had `newest` for sure.
   * The others may be versions that it had not kept: none of them stands for a row that is lost.
   */
  #salvage(gap: TableGap, found: readonly LooseRow[], newest: readonly LooseRow[]): GapResult {
    const { sources, accept } = this.#choices;
    const canSalvage = sources.includes('salvage');
    const verified = canSalvage ? gap.blocks.map((b) => this.#verified(b)) : gap.blocks.map(() => []);
    const suspect = canSalvage ? gap.blocks.flatMap((b) => this.#suspect(b)).filter((row) => isInGap(gap, row)) : [];
    const putBack = accept === 'suspect' ? suspect : [];
    const rowsInGap = verified.flat().filter((row) => isInGap(gap, row));
    const rows = sortedRows([...rowsInGap.map(toLooseRow), ...found, ...putBack.map(toLooseRow)]);
    const had = sortedRows([...rowsInGap.map(toLooseRow), ...newest, ...putBack.map(toLooseRow)]).length;
    const missing = Math.max(0, (gap.rowCount ?? Math.max(gap.estimatedRows, rows.length + 1)) - had);
    // What was found elsewhere may be just what the gap had; a bad block of which nothing is left had a row at least.
    const isBare = rows.length === 0 && missing > 0;
    const lostRows = gap.rowCount === undefined ? (isBare ? 1 : 0) : Math.max(0, gap.rowCount - rows.length);
    const lostAtMost = gap.rowCount === undefined ? undefined : missing;
    const isExact = lostRows === lostAtMost && putBack.length === 0;
    const isSparse =
      gap.blocks.length === 1 && found.length === 0 && putBack.length === 0 && gap.rowCount !== undefined;
    const lostKeys = missing === 0 ? [] : isSparse ? holesOf(gap, verified[0]) : [gap.keys];
    const putBackOf = new Set(putBack);
    return {
      gap,
      rows,
      suspectRows: suspect.filter((row) => !putBackOf.has(row)).length,
      lostRows,
      lostAtMost,
      isExact,
      lostKeys,
    };
  }

  #verified(b: ExaminedBlock): SalvagedRow[] {
    const payload = payloadOf(b);
    if (payload === undefined || b.proof === undefined) return [];
    return salvageBlock(payload, { ...this.#form(), proof: b.proof });
  }

  #suspect(b: ExaminedBlock): SuspectRow[] {
    const payload = payloadOf(b);
    if (payload === undefined) return [];
    return suspectRows(payload, {
      ...this.#form(),
      bounds: b.bounds,
      ...(b.proof !== undefined && { proof: b.proof }),
    });
  }

  #form() {
    const { tail } = this.#subject;
    const { codec, formatVersion } = present(tail, 'a table with blocks has an end');
    return { codec, formatVersion, maxBytes: MAX_BLOCK_BYTES };
  }
}

function payloadOf({ stored, error }: ExaminedBlock): Uint8Array | undefined {
  if (stored.length <= CRC_BYTES || error instanceof IncompatibleError) return undefined;
  return stored.subarray(0, stored.length - CRC_BYTES);
}

function toLooseRow({ key, value, seq, flags, createTs, expireTs }: LooseRow): LooseRow {
  return { key, value, seq, flags, createTs, expireTs };
}

function isInGap({ after, before, keys }: TableGap, row: Edge): boolean {
  if (after !== undefined && compareRows(after, row) >= 0) return false;
  if (before !== undefined && compareRows(row, before) >= 0) return false;
  return inRange(row.key, keys);
}

function completeGap(gap: TableGap, rows: LooseRow[]): GapResult {
  return { gap, rows, suspectRows: 0, lostRows: 0, lostAtMost: 0, isExact: true, lostKeys: [] };
}

/** The rows, with or without old versions, if that gives exactly as many as there were. */
function sameCount(rows: LooseRow[], count: number | undefined): LooseRow[] | undefined {
  if (count === undefined || rows.length < count) return undefined;
  if (rows.length === count) return rows;
  const newest = withoutOldVersions(rows);
  return newest.length === count ? newest : undefined;
}

/** Those of the rows that the table must have had. A key that goes on from the block before may have only older ones here. */
function newestVersions(rows: readonly LooseRow[], { after }: TableGap): LooseRow[] {
  return withoutOldVersions(rows).filter((row) => after === undefined || compareBytes(row.key, after.key) !== 0);
}

/** Whether these are the very rows of the one block of the gap: its row checks or its checksum say so. */
function isProven(rows: readonly LooseRow[], { blocks }: TableGap): boolean {
  if (blocks.length !== 1 || rows.length === 0) return false;
  const [{ proof, stored }] = blocks;
  const block = encodeBlock(rows);
  if (block === undefined) return false;
  if (proof !== undefined && hasChecks(proof)) return countChecks(block, proof).bad === 0;
  // The stored checksum may be what is damaged; by chance it never fits.
  return stored.length > CRC_BYTES && crc32(block.bytes) === readCrc(stored, stored.length - CRC_BYTES);
}

/** The rows as one block; undefined if they are too many. */
function encodeBlock(rows: readonly LooseRow[]): Block | undefined {
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: LARGEST_BLOCK_BYTES,
    codec: NO_CODEC,
    rowsPerCheck: 0,
    capacityBytes: LARGEST_BLOCK_BYTES,
  });
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  const { bytes, facts } = builder.finish();
  if (facts.rows.blockRows.length !== 1) return undefined;
  return decodeBlock(bytes.subarray(0, facts.rows.blockStoredBytes[0] - CRC_BYTES), 2);
}

/** Ranges in which rows are missing, between those that were verified. */
function holesOf(gap: TableGap, verified: readonly SalvagedRow[]): KeyRange[] {
  const holes: KeyRange[] = [];
  let from = gap.keys.gte;
  let next = 0;
  for (const { ordinal, key } of verified) {
    if (ordinal > next) holes.push({ gte: from, lte: key });
    from = key;
    next = ordinal + 1;
  }
  if (next < (gap.rowCount ?? 0)) holes.push({ gte: from, lte: gap.keys.lte });
  return holes;
}
