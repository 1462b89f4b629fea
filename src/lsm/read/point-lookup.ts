/**
 * Finding one key: sources from newest to oldest, the first one with a visible version decides.
 *
 * Two forms. `lookupNow` answers from memory without a promise, or says that something must be fetched or gathered;
 * `lookup` then does the whole work. Warm reads so cost no request and no allocation but the result.
 *
 * Reading over damage: a key that is found in a source above all damage is simply returned; one that is found below is
 * returned and flagged; one that is not found, is deleted, or needs merge operands from below damage is an error, because
 * the damaged stretch may hold the truth. Damage counts only where it may hold a version newer than what was found, and one
 * that the read may see. A loss of rows with unknown keys may concern any key: then every answer that is not newer is
 * given flagged, an absence and a fold included, and the caller's policy decides.
 */
import { assertThat } from '../../common/assert.ts';
import { EMPTY_BYTES, type OwnBytes } from '../../common/bytes.ts';
import { CorruptionError, isCorruption } from '../../common/errors.ts';
import { Block } from '../../format/block.ts';
import { ABSENT, FOUND, FoundRow, findInBlock, UNDECIDED } from '../../format/block-cursor.ts';
import { sipHash13, sipHigh, sipLow } from '../../format/siphash.ts';
import type { Memtable } from '../memtable/memtable.ts';
import { concerns, Gap, gapsAt } from '../rows/damaged-block.ts';
import type { MergeOperator } from '../rows/merge-operator.ts';
import { copyOutOf } from '../rows/result-slab.ts';
import {
  decidedFrom,
  FLAGS_NOT_ALWAYS_SEEN,
  foldVersions,
  isOperand,
  isSeen,
  isSeenNow,
  type Version,
} from '../rows/visibility.ts';
import type { TableReadCounts } from '../table/read-counts.ts';
import type { TableHandle } from '../table/table-handle.ts';
import { mayHold } from '../table/table-handle.ts';
import type { TableMeta, TableReader } from '../table/table-reader.ts';
import { lossError, lossesAbove, type UnplacedLoss } from '../tree/lost-ranges.ts';
import { firstInRun, type TreeTables, type TreeView, treeOf } from '../tree/table-store.ts';

export interface ReadView {
  /** Newest first. */
  memtables: readonly Memtable[];
  tree: TreeView;
}

export interface LookupOptions {
  maxSeq: number;
  /** Asked only where a row has an expiry; undefined: expired rows are shown. */
  now: (() => number) | undefined;
  mergeOperator: MergeOperator | undefined;
  /** Whether rows of probable healings may answer, flagged. */
  useProbable: boolean;
}

export interface FoundValue {
  value: OwnBytes;
  seq: number;
  createTs: number;
  expireTs: number;
  /** A newer version may be in a damaged stretch, which this describes. */
  damage: CorruptionError | undefined;
}

/** Nothing was found, or a deletion, and a row that is newer may be lost. */
export interface Absence {
  value: undefined;
  /** Sequence number of the deletion, if there is one. */
  seq: number | undefined;
  damage: CorruptionError;
}

/** The answer needs a fetch or a merge: call `lookup`. */
export const NOT_NOW = Symbol('not now');

/** Scratch for the synchronous path, which never interleaves. */
const scratch = new FoundRow();

/**
 * What the synchronous path has used of tables so far. It counts when there is an answer: where there is none, `lookup` begins from the
 * start and counts all of it.
 */
let usedMetas = 0;
let usedBlocks = 0;
let filterPositives = 0;
let filterNegatives = 0;
let filterFalsePositives = 0;

function forgetUses(): void {
  usedMetas = usedBlocks = filterPositives = filterNegatives = filterFalsePositives = 0;
}

function countUses(counts: TableReadCounts): void {
  counts.metaHits += usedMetas;
  counts.blockHits += usedBlocks;
  counts.filterPositives += filterPositives;
  counts.filterNegatives += filterNegatives;
  counts.filterFalsePositives += filterFalsePositives;
}

/** A copy of the value, undefined for none, or `NOT_NOW`. */
export function lookupNow(
  view: ReadView,
  key: Uint8Array,
  options: LookupOptions,
): OwnBytes | undefined | typeof NOT_NOW {
  const { maxSeq } = options;
  if (view.tree.lost.length > 0 && gapsAt(view.tree.lost, key, maxSeq).length > 0) return NOT_NOW;
  if (view.tree.unplaced.length > 0 && lossesAbove(view.tree.unplaced, -1, maxSeq).length > 0) return NOT_NOW;
  // By index: the iterator of an array costs 1 % of a read from memory.
  const { memtables } = view;
  for (let i = 0; i < memtables.length; i++) {
    const m = memtables[i];
    const id = m.find(key, maxSeq);
    if (id < 0) continue;
    const flags = m.flagsOf(id);
    if (isOperand(flags)) return NOT_NOW;
    if ((flags & FLAGS_NOT_ALWAYS_SEEN) !== 0 && !isSeenNow(flags, m.expireTsOf(id), options.now)) return undefined;
    return copyOutOf(m.valueViewOf(id), m.valueBufOf(id), m.valueStartOf(id), m.valueLengthOf(id));
  }
  return lookupTablesNow(treeOf(view.tree, key), key, options);
}

function lookupTablesNow(
  tree: TreeTables,
  key: Uint8Array,
  options: LookupOptions,
): OwnBytes | undefined | typeof NOT_NOW {
  if (tree.l0.length === 0 && tree.runs.length === 0) return undefined;
  sipHash13(key, 0, key.length);
  const low = sipLow;
  const high = sipHigh;
  forgetUses();
  let last: TableHandle | undefined;
  for (const handle of tree.l0) {
    if (!mayHold(handle, key)) continue;
    const r = probeTableNow(handle, key, options.maxSeq, low, high);
    if (r === FOUND) return resultNow(options, handle.reader.counts);
    if (r !== ABSENT) return NOT_NOW;
    last = handle;
  }
  for (const run of tree.runs) {
    for (let i = firstInRun(run, key); i < run.length && mayHold(run[i], key); i++) {
      const r = probeTableNow(run[i], key, options.maxSeq, low, high);
      if (r === FOUND) return resultNow(options, run[i].reader.counts);
      if (r !== ABSENT) return NOT_NOW;
      last = run[i];
    }
  }
  if (last !== undefined) countUses(last.reader.counts);
  return undefined;
}

const NEEDS_FETCH = -1;

/** Searches one table as far as it is in memory; a hit is in `scratch`. */
function probeTableNow(handle: TableHandle, key: Uint8Array, maxSeq: number, low: number, high: number): number {
  const { reader } = handle;
  const { meta } = reader;
  if (meta === undefined) return NEEDS_FETCH;
  reader.touched[0] = 1;
  usedMetas++;
  const { filter } = meta;
  if (filter === undefined) return probeBlocksNow(reader, meta, key, maxSeq);
  if (!filter.mayContain(low, high)) {
    filterNegatives++;
    return ABSENT;
  }
  filterPositives++;
  const r = probeBlocksNow(reader, meta, key, maxSeq);
  if (r === ABSENT) filterFalsePositives++;
  return r;
}

function probeBlocksNow(reader: TableReader, { index }: TableMeta, key: Uint8Array, maxSeq: number): number {
  for (let b = index.findStart(key); b < index.blockCount; b++) {
    const block = reader.blocks[b];
    if (block === undefined) return NEEDS_FETCH;
    reader.touched[b + 1] = 1;
    usedBlocks++;
    const r = findInBlock(block, key, maxSeq, scratch);
    if (r === FOUND || r === ABSENT) return r;
    if (b + 1 < index.blockCount && index.compareFirstKey(b + 1, key) > 0) return ABSENT;
  }
  return ABSENT;
}

function resultNow(options: LookupOptions, counts: TableReadCounts): OwnBytes | undefined | typeof NOT_NOW {
  const { flags } = scratch;
  if (isOperand(flags)) return NOT_NOW;
  countUses(counts);
  if (!isSeenNow(flags, scratch.expireTs, options.now)) return undefined;
  return copyOutOf(scratch.view, scratch.bytes, scratch.valueStart, scratch.valueLength);
}

/** The whole lookup, fetching what is needed. Rejects with `CorruptionError` where damage may hide the answer. */
export async function lookup(
  view: ReadView,
  key: Uint8Array,
  options: LookupOptions,
): Promise<FoundValue | Absence | undefined> {
  const search: KeySearch = { key, below: options.maxSeq, above: -1, withValues: true, gathered: [] };
  const { gathered } = search;
  const gaps: Gap[] = [];
  const nowMs = options.now?.();
  if (!gatherFromMemory(view.memtables, search)) await gatherFromTables(view, search, options.useProbable, gaps);
  for (const gap of gapsAt(view.tree.lost, key, options.maxSeq)) gaps.push(gap);
  const found = conclude(key, gathered, gaps, nowMs, options.mergeOperator);
  const { unplaced } = view.tree;
  if (unplaced.length === 0) return found;
  const above = lossesAbove(unplaced, decidedFrom(gathered), options.maxSeq);
  return above.length === 0 ? found : withLosses(found, gathered[0]?.seq, above);
}

/** The answer, flagged: a row that is lost may have had this key and be newer. */
function withLosses(
  found: FoundValue | undefined,
  newestSeq: number | undefined,
  above: readonly UnplacedLoss[],
): FoundValue | Absence {
  if (found === undefined) return { value: undefined, seq: newestSeq, damage: lossError(above) };
  return { ...found, damage: lossError(above, found.damage) };
}

/** What is looked for of a key, and what was found. */
interface KeySearch {
  readonly key: Uint8Array;
  /** Highest sequence number that is of interest. */
  readonly below: number;
  /** Versions up to this one are not. */
  readonly above: number;
  /** Without them each value is given empty. */
  readonly withValues: boolean;
  /** Newest first. */
  readonly gathered: Version[];
}

/** Adds versions newest first; true once a value or tombstone ended the search. */
function gatherFromMemory(memtables: readonly Memtable[], search: KeySearch): boolean {
  const { key, below, above, withValues, gathered } = search;
  for (const m of memtables) {
    if (m.lastSeq <= above) continue;
    for (let id = m.find(key, below); id >= 0; id = m.older(id)) {
      const seq = m.seqOf(id);
      if (seq <= above) break;
      const flags = m.flagsOf(id);
      const value = withValues
        ? copyOutOf(m.valueViewOf(id), m.valueBufOf(id), m.valueStartOf(id), m.valueLengthOf(id))
        : EMPTY_BYTES;
      gathered.push({ flags, value, seq, createTs: m.createTsOf(id), expireTs: m.expireTsOf(id) });
      if (!isOperand(flags)) return true;
    }
  }
  return false;
}

async function gatherFromTables(view: ReadView, search: KeySearch, useProbable: boolean, gaps: Gap[]): Promise<void> {
  for (const handle of tablesThatMayHold(view, search.key)) {
    if (await gatherFromTable(handle, search, useProbable, gaps)) return;
  }
}

function tablesThatMayHold(view: ReadView, key: Uint8Array): TableHandle[] {
  const tree = treeOf(view.tree, key);
  const handles: TableHandle[] = tree.l0.filter((h) => mayHold(h, key));
  for (const run of tree.runs) {
    for (let i = firstInRun(run, key); i < run.length && mayHold(run[i], key); i++) handles.push(run[i]);
  }
  return handles;
}

async function gatherFromTable(
  handle: TableHandle,
  search: KeySearch,
  useProbable: boolean,
  gaps: Gap[],
): Promise<boolean> {
  const { reader } = handle;
  const { key, gathered } = search;
  let meta: TableMeta;
  try {
    meta = await reader.loadMeta();
  } catch (error) {
    if (!isCorruption(error)) throw error;
    gaps.push(reader.gap(error));
    return false;
  }
  sipHash13(key, 0, key.length);
  if (meta.filter === undefined) return gatherFromBlocks(reader, meta, search, useProbable, gaps);
  const { counts } = reader;
  if (!meta.filter.mayContain(sipLow, sipHigh)) {
    counts.filterNegatives++;
    return false;
  }
  counts.filterPositives++;
  const before = gathered.length + gaps.length;
  const isDecided = await gatherFromBlocks(reader, meta, search, useProbable, gaps);
  if (gathered.length + gaps.length === before) counts.filterFalsePositives++;
  return isDecided;
}

async function gatherFromBlocks(
  reader: TableReader,
  meta: TableMeta,
  search: KeySearch,
  useProbable: boolean,
  gaps: Gap[],
): Promise<boolean> {
  const { key, below } = search;
  const { index } = meta;
  // Of this table: the next one may hold newer versions than the last of this.
  const inTable = { search, below };
  for (let b = index.findStart(key); b < index.blockCount; b++) {
    if (index.compareFirstKey(b, key) > 0) return false;
    const loaded = await reader.loadBlock(b, meta);
    const parts = loaded instanceof Block ? [loaded] : loaded.parts;
    for (const part of parts) {
      let block: Block | undefined;
      if (part instanceof Gap) {
        if (!concerns(part, key, below)) continue;
        gaps.push(part);
        block = useProbable ? part.probable : undefined;
      } else block = part;
      const r = block === undefined ? UNDECIDED : gatherFromBlock(block, inTable);
      if (r !== UNDECIDED) return r === FOUND;
    }
  }
  return false;
}

/** FOUND: a value or tombstone ended the search. ABSENT: a greater key was met. UNDECIDED: the block ended first. */
function gatherFromBlock(block: Block, inTable: { search: KeySearch; below: number }): number {
  const found = new FoundRow();
  const { key, gathered, withValues } = inTable.search;
  for (;;) {
    const r = findInBlock(block, key, inTable.below, found);
    if (r !== FOUND) return r;
    gathered.push(versionOf(found, withValues));
    if (!isOperand(found.flags)) return FOUND;
    inTable.below = found.seq - 1;
  }
}

function versionOf(found: FoundRow, withValues: boolean): Version {
  const { flags, seq, createTs, expireTs } = found;
  const value = withValues ? copyOutOf(found.view, found.bytes, found.valueStart, found.valueLength) : EMPTY_BYTES;
  return { flags, value, seq, createTs, expireTs };
}

// ---- all versions of a key

/** Damage that may hold versions of a key up to a sequence number. */
export interface HiddenVersions {
  maxSeq: number;
  error: CorruptionError;
}

/** The versions of a key down to the first base, newest first; and where further ones may be. */
export interface KeyVersions {
  versions: Version[];
  hidden: HiddenVersions[];
}

/** Versions that are in memory and newer than `above`, newest first, down to the first base. */
export function versionsInMemory(
  memtables: readonly Memtable[],
  key: Uint8Array,
  above: number,
  withValues: boolean,
): Version[] {
  const search: KeySearch = { key, below: Number.MAX_SAFE_INTEGER, above, withValues, gathered: [] };
  gatherFromMemory(memtables, search);
  return search.gathered;
}

/** The versions up to `maxSeq`, if all that has to be looked at is in memory and whole. */
export function versionsNow(
  view: ReadView,
  key: Uint8Array,
  maxSeq: number,
  withValues: boolean,
): Version[] | typeof NOT_NOW {
  if (view.tree.lost.length > 0 || view.tree.unplaced.length > 0) return NOT_NOW;
  const search: KeySearch = { key, below: maxSeq, above: -1, withValues, gathered: [] };
  const { gathered } = search;
  if (gatherFromMemory(view.memtables, search)) return gathered;
  const handles = tablesThatMayHold(view, key);
  if (handles.length === 0) return gathered;
  sipHash13(key, 0, key.length);
  const low = sipLow;
  const high = sipHigh;
  const { counts } = handles[0].reader;
  forgetUses();
  for (const handle of handles) {
    for (let below = maxSeq; ; below = scratch.seq - 1) {
      const r = probeTableNow(handle, key, below, low, high);
      if (r === ABSENT) break;
      if (r !== FOUND) return NOT_NOW;
      gathered.push(versionOf(scratch, withValues));
      if (isOperand(scratch.flags)) continue;
      countUses(counts);
      return gathered;
    }
  }
  countUses(counts);
  return gathered;
}

/** The same, fetching what is needed. Damage is no error here: what it may hide is given beside what was found. */
export async function versionsOf(
  view: ReadView,
  key: Uint8Array,
  maxSeq: number,
  withValues: boolean,
): Promise<KeyVersions> {
  const search: KeySearch = { key, below: maxSeq, above: -1, withValues, gathered: [] };
  const gaps: Gap[] = [];
  if (!gatherFromMemory(view.memtables, search)) await gatherFromTables(view, search, false, gaps);
  for (const gap of gapsAt(view.tree.lost, key, maxSeq)) gaps.push(gap);
  const hidden = gaps.map(({ seqs, error }): HiddenVersions => ({ maxSeq: seqs.max, error }));
  for (const loss of lossesAbove(view.tree.unplaced, -1, maxSeq)) {
    hidden.push({ maxSeq: loss.seqs.max, error: lossError([loss]) });
  }
  return { versions: search.gathered, hidden };
}

/** @param gaps those above the last version gathered, and losses wherever they are */
function conclude(
  key: Uint8Array,
  gathered: readonly Version[],
  gaps: readonly Gap[],
  nowMs: number | undefined,
  operator: MergeOperator | undefined,
): FoundValue | undefined {
  const decided = decidedFrom(gathered);
  const above = gaps.filter((gap) => gap.seqs.max > decided);
  const newest = gathered[0];
  if (above.length > 0 && (newest === undefined || !isSeen(newest, nowMs))) {
    // What is below the damage is given if it is one version: the result of merging around a gap never existed.
    const stale = newest !== undefined && !isOperand(newest.flags) ? { seq: BigInt(newest.seq) } : undefined;
    throw damageOf(above, stale);
  }
  const row = foldVersions(gathered, key, nowMs, operator);
  if (row === undefined) return undefined;
  const { value, seq, createTs, expireTs } = row;
  return { value, seq, createTs, expireTs, damage: above.length === 0 ? undefined : damageOf(above) };
}

function damageOf(gaps: readonly Gap[], possiblyStale?: CorruptionError['possiblyStale']): CorruptionError {
  assertThat(gaps.length > 0, 'an error of a lookup names the damage that hides the answer');
  const errors = gaps.map((gap) => gap.error);
  return new CorruptionError(
    errors.map((e) => e.message).join('; '),
    errors.flatMap((e) => e.findings),
    { details: { ...errors[0].details }, ...(possiblyStale !== undefined && { possiblyStale }) },
  );
}
