/**
 * Merges the sources of a job into tables: an object without I/O, clock or promises. Stretches of stored blocks go in, parts of tables
 * come out, in steps of bounded time; the owner of the step does the rest, in the same thread or another one.
 *
 * ```
 * step -> more    call it again
 *         need    `feed` a stretch of this input, or `end` it
 *         bad     a block is not good: `heal` it, or give up
 *         part    bytes of the current table, in order; the buffer is the caller's
 *         table   the parts since the last one are a whole table
 *         done    all rows have their fate
 * ```
 *
 * 1. Rows come out in row order, whatever the order of stretches was; a row that goes back is reported, never written.
 * 2. A table ends where its blocks have `maxSstBytes`, before another key; the versions of one key are divided between two tables only
 *    where the table would have twice as much.
 * 3. At the end of a table, unless it divides a key, every row that came in has a fate, and the merge of the keys that follow depends on
 *    nothing before: it can be done again from there (`ResumePoint`).
 * 4. The bytes depend on settings and rows alone, not on how stretches are cut or how many rows a step takes.
 */
import { present } from '../common/assert.ts';
import {
  commonBytes,
  compareBytes,
  copyBytes,
  copyWords,
  EMPTY_BYTES,
  viewOf,
  WORD_COPY_BYTES,
} from '../common/bytes.ts';
import type { BlockCodec } from '../format/codecs.ts';
import type { Bound, BytesRange, TableView } from '../format/manifest-types.ts';
import { chooseRowsPerCheck } from '../format/row-checks.ts';
import { type BuiltTable, TableBuilder, type TableFacts } from '../format/table-builder.ts';
import type { Codec, TableInfo } from '../format/table-info.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import { BLOCKED, END, ROW } from '../lsm/rows/row-cursor.ts';
import { compareStarts, shownRange } from '../lsm/rows/shown-range.ts';
import type { CompactionFilter } from './compaction-filter.ts';
import { assertPlan, assertRowsAddUp, type CompactionPlan, type MergeCounts } from './compaction-plan.ts';
import { MergeHeap } from './merge-heap.ts';
import { RetainedRows, type VersionSink } from './retained-rows.ts';
import { BAD, type BadBlock, type BlockStretch, type HealedBlock, StretchCursor } from './stretch-cursor.ts';

/** Bytes of rows that one step writes at most, besides a row that is larger. */
const STEP_BYTES = 256 * 1024;
/** Besides a part a builder holds the open block and the end of the table. */
const PART_ROOM_BYTES = 128 * 1024;
/** How many rows more than the average promises a table may have without growing its arrays. */
const ROWS_ROOM = 1.1;

/** Where the merge of a job goes on after a table. */
export interface ResumePoint {
  /** The last key that is in the tables before. */
  after: Uint8Array;
  /** How many tables there are before, and what came of the rows that went into them. */
  tables: number;
  counts: MergeCounts;
  droppedTombstones: boolean;
}

/** Plain data, which can cross a thread. */
export interface MergeSettings {
  plan: CompactionPlan;
  /** Rows of all sources together, as far as it is known: typed arrays are made for so many. */
  rowsExpected: number;
  /** Stored bytes of a row, on the average of all sources. */
  rowBytes: number;
  /** From how many bytes on a part is handed out. */
  partBytes: number;
  resume: ResumePoint | undefined;
}

/** Which of the tables that a job writes. */
export interface TablePlace {
  ordinal: number;
  isLast: boolean;
}

/** What a thread has to have besides the settings. */
export interface MergeParts {
  /** Those of all tables of the plan, and of its outputs. */
  codecs: ReadonlyMap<Codec, BlockCodec>;
  operator: MergeOperator | undefined;
  filter: CompactionFilter | undefined;
  /** The seal of a table, which is stored as it is. */
  makeSeal(facts: TableFacts, place: TablePlace): Uint8Array;
}

/** A table of which all parts were handed out. */
export interface MergedTable extends TablePlace {
  info: TableInfo;
  sizeBytes: number;
  rows: number;
  minSeq: number;
  maxSeq: number;
  maxCreateTs: number;
  puts: number;
  deletes: number;
  merges: number;
  /** Where the merge could go on; undefined: the next table begins with the same key. */
  resume: ResumePoint | undefined;
}

export type StepResult =
  | { kind: 'more' }
  | { kind: 'need'; input: number }
  | { kind: 'bad'; block: BadBlock }
  | { kind: 'part'; bytes: Uint8Array }
  | { kind: 'table'; table: MergedTable }
  | { kind: 'done'; counts: MergeCounts; droppedTombstones: boolean; bytesIn: number };

const MORE: StepResult = Object.freeze({ kind: 'more' });

type Phase = 'rows' | 'ending' | 'table' | 'done';

export class MergeStep {
  readonly #settings: MergeSettings;
  readonly #parts: MergeParts;
  readonly #cursors: readonly StretchCursor[];
  readonly #heap: MergeHeap;
  readonly #rows: RetainedRows;
  /** Inputs that do not stand on a row yet. */
  #unplaced: StretchCursor[];
  /** The input on top of the heap stands on a row that was taken. */
  #mustMove = false;
  /** Key and number of the row that was taken last. */
  #lastKey: Uint8Array = new Uint8Array(256);
  #lastKeyView: DataView = viewOf(this.#lastKey);
  #lastKeyLength = 0;
  #lastSeq = 0;

  #phase: Phase = 'rows';
  #builder: TableBuilder | undefined;
  /** The current table is full: rows that follow wait here, as only they show that it is not the last one. */
  #isFull = false;
  readonly #held = new HeldRows();
  #isLast = false;
  #resume: ResumePoint | undefined;
  #merged: MergedTable | undefined;
  #tables = 0;
  /** Of the tables before: their rows and bytes, for the average. */
  #rowsBefore = 0;
  #bytesBefore = 0;

  constructor(settings: MergeSettings, parts: MergeParts) {
    const { plan, resume } = settings;
    assertPlan(plan);
    this.#settings = settings;
    this.#parts = parts;
    const prefix = commonPrefix(plan);
    this.#heap = new MergeHeap(prefix.length);
    this.#cursors = plan.sources.map(({ views }, input) => {
      const tables = views.map(({ view }) => ({
        codec: codecOf(parts, view.table.info.codec),
        formatVersion: view.table.formatVersion,
        range: rangeAfter(view, resume?.after),
      }));
      return new StretchCursor(input, tables, prefix);
    });
    this.#unplaced = [...this.#cursors];
    const { operator, filter } = parts;
    this.#rows = new RetainedRows({ ...plan, operator, filter }, this.#held);
    if (resume === undefined) return;
    this.#tables = resume.tables;
    Object.assign(this.#rows.counts, resume.counts);
    this.#rows.droppedTombstones = resume.droppedTombstones;
  }

  // ---- what comes in

  feed(input: number, stretch: BlockStretch): void {
    this.#cursors[input].feed(stretch);
  }

  /** The input has no more stretches. */
  end(input: number): void {
    this.#cursors[input].end();
  }

  heal(input: number, block: HealedBlock): void {
    this.#cursors[input].heal(block);
  }

  /** Inputs of which no stretch waits: what they have is being merged, or is at its end. */
  starving(): number[] {
    return this.#cursors.filter((cursor) => cursor.isStarving).map(({ input }) => input);
  }

  // ---- what comes out

  /** Takes at most so many rows further, or does a bounded part of something else. */
  step(rows: number): StepResult {
    switch (this.#phase) {
      case 'rows':
        return this.#place() ?? this.#merge(rows);
      case 'ending':
        return this.#endTable();
      case 'table':
        return this.#handOut();
      case 'done':
        return this.#total();
    }
  }

  /** Brings every input to its first row; undefined: all are there. */
  #place(): StepResult | undefined {
    while (this.#unplaced.length > 0) {
      const cursor = this.#unplaced[this.#unplaced.length - 1];
      const status = cursor.next();
      if (status === BLOCKED || status === BAD) return stoppedBy(cursor);
      if (status === ROW) this.#heap.add(cursor);
      this.#unplaced.pop();
    }
    return undefined;
  }

  /** The hot path: most rows are of a new key, plain values, and followed by another row of the stretch. */
  #merge(limit: number): StepResult {
    const heap = this.#heap;
    const rows = this.#rows;
    const { partBytes, plan } = this.#settings;
    const { maxSstBytes } = plan.output;
    const builder = (this.#builder ??= this.#openTable());
    const stopBytes = builder.storedBytes + STEP_BYTES;
    if (this.#mustMove && !this.#move()) return this.#stopped();
    for (let left = limit; left > 0; left--) {
      const cursor = heap.top;
      if (cursor === undefined) return this.#endRows();
      const { keyLength } = cursor;
      const lastLength = this.#lastKeyLength;
      const n = keyLength < lastLength ? keyLength : lastLength;
      const common = commonBytes(this.#lastKeyView, 0, cursor.keyView, 0, n);
      const isSameKey = common === lastLength && common === keyLength;
      if (isSameKey) {
        if (cursor.seq > this.#lastSeq) return this.#refuse(cursor);
        if (builder.storedBytes >= 2 * maxSstBytes) this.#fill(true);
      } else {
        if (common < n ? cursor.key[common] < this.#lastKey[common] : keyLength < lastLength)
          return this.#refuse(cursor);
        rows.endKey();
        if (builder.storedBytes >= maxSstBytes) this.#fill(false);
        this.#keepKey(cursor, common);
        rows.beginKey(cursor.key, keyLength);
      }
      this.#lastSeq = cursor.seq;
      rows.take(cursor, isSameKey);
      const isPlaced = this.#move();
      if (this.#isFull && this.#held.size > 0) return this.#beginEnding(false);
      if (builder.drainableBytes >= partBytes) return { kind: 'part', bytes: builder.drain() };
      if (!isPlaced) return this.#stopped();
      if (builder.storedBytes >= stopBytes) return MORE;
    }
    return MORE;
  }

  /** Moves the input on top to its next row; false: that is not there. */
  #move(): boolean {
    const status = (this.#heap.top as StretchCursor).next();
    if (status === ROW) this.#heap.settle();
    else if (status === END) this.#heap.remove();
    this.#mustMove = status === BLOCKED || status === BAD;
    return !this.#mustMove;
  }

  #stopped(): StepResult {
    return stoppedBy(this.#heap.top as StretchCursor);
  }

  /** The key becomes the last one, of which it has `common` bytes already. */
  #keepKey({ key, keyView, keyLength }: StretchCursor, common: number): void {
    if (keyLength > this.#lastKey.length) {
      const grown = new Uint8Array(2 * keyLength);
      grown.set(this.#lastKey);
      this.#lastKey = grown;
      this.#lastKeyView = viewOf(grown);
    }
    const length = keyLength - common;
    if (length <= WORD_COPY_BYTES) copyWords(this.#lastKeyView, common, keyView, common, length);
    else this.#lastKey.set(key.subarray(common, keyLength), common);
    this.#lastKeyLength = keyLength;
  }

  /** A row goes back: in the input that was moved last, which is the one on top. */
  #refuse(cursor: StretchCursor): StepResult {
    cursor.refuse('A row of the block is not after the row before it.');
    this.#mustMove = true;
    return this.#stopped();
  }

  // ---- tables

  #openTable(): TableBuilder {
    const { plan, partBytes, rowBytes, rowsExpected } = this.#settings;
    const { output } = plan;
    const average = this.#rowsBefore > 0 ? this.#bytesBefore / this.#rowsBefore : Math.max(1, rowBytes);
    const builder = new TableBuilder({
      tableType: 'compacted',
      blockBytes: output.blockBytes,
      codec: codecOf(this.#parts, output.codec),
      filter: output.filter,
      rowsPerCheck: chooseRowsPerCheck(average),
      capacityBytes: Math.min(partBytes, output.maxSstBytes) + PART_ROOM_BYTES,
      capacityRows: Math.ceil(Math.min(rowsExpected, (ROWS_ROOM * output.maxSstBytes) / average)),
    });
    this.#isFull = false;
    this.#held.moveTo(builder);
    this.#rows.sink = builder;
    return builder;
  }

  /** No row that comes from now on goes into the current table. Waits for one before that table is ended. */
  #fill(dividesKey: boolean): void {
    if (this.#isFull) return;
    this.#isFull = true;
    this.#rows.sink = this.#held;
    this.#resume = dividesKey ? undefined : this.#pointHere();
  }

  /** Between two keys. */
  #pointHere(): ResumePoint {
    const { counts, droppedTombstones } = this.#rows;
    assertRowsAddUp(counts);
    const after = this.#lastKey.slice(0, this.#lastKeyLength);
    return { after, tables: this.#tables + 1, counts: { ...counts }, droppedTombstones };
  }

  /** All inputs are at their end. */
  #endRows(): StepResult {
    this.#rows.endKey();
    assertRowsAddUp(this.#rows.counts);
    if (this.#held.size > 0) return this.#beginEnding(false);
    if ((this.#builder as TableBuilder).rowCount > 0) return this.#beginEnding(true);
    this.#phase = 'done';
    return MORE;
  }

  #beginEnding(isLast: boolean): StepResult {
    this.#isLast = isLast;
    this.#phase = 'ending';
    return MORE;
  }

  #endTable(): StepResult {
    const builder = this.#builder as TableBuilder;
    if (!builder.finishStep()) {
      const isPart = builder.drainableBytes >= this.#settings.partBytes;
      return isPart ? { kind: 'part', bytes: builder.drain() } : MORE;
    }
    const place = { ordinal: this.#tables, isLast: this.#isLast };
    const built = builder.finish((facts) => this.#parts.makeSeal(facts, place));
    this.#merged = mergedTable(built, place, this.#isLast ? undefined : this.#resume);
    this.#tables++;
    this.#rowsBefore += built.facts.rowCount;
    this.#bytesBefore += built.info.filterOffset;
    this.#builder = undefined;
    this.#phase = 'table';
    return { kind: 'part', bytes: built.bytes };
  }

  #handOut(): StepResult {
    this.#phase = this.#isLast ? 'done' : 'rows';
    return { kind: 'table', table: this.#merged as MergedTable };
  }

  #total(): StepResult {
    const { counts, droppedTombstones } = this.#rows;
    const bytesIn = this.#cursors.reduce((sum, cursor) => sum + cursor.bytesIn, 0);
    return { kind: 'done', counts: { ...counts }, droppedTombstones, bytesIn };
  }
}

function mergedTable({ facts, info, sizeBytes }: BuiltTable, place: TablePlace, resume: ResumePoint | undefined) {
  const { rowCount: rows, minSeq, maxSeq, maxCreateTs, puts, deletes, merges } = facts;
  return { ...place, info, sizeBytes, rows, minSeq, maxSeq, maxCreateTs, puts, deletes, merges, resume };
}

function stoppedBy(cursor: StretchCursor): StepResult {
  return cursor.bad === undefined ? { kind: 'need', input: cursor.input } : { kind: 'bad', block: cursor.bad };
}

function codecOf({ codecs }: MergeParts, name: Codec): BlockCodec {
  return present(codecs.get(name), 'the codecs of a job are loaded before it begins');
}

/** What every key begins with that a view of the plan shows. */
function commonPrefix({ sources }: CompactionPlan): Uint8Array {
  const ranges = sources.flatMap(({ views }) => views.map(({ view }) => shownRange(view)));
  let first: Uint8Array | undefined;
  let last: Uint8Array | undefined;
  for (const { start, end } of ranges) {
    if (start.kind === 'unbounded' || end.kind === 'unbounded') return EMPTY_BYTES;
    if (first === undefined || compareBytes(start.key, first) < 0) first = start.key;
    if (last === undefined || compareBytes(end.key, last) > 0) last = end.key;
  }
  if (first === undefined || last === undefined) return EMPTY_BYTES;
  const length = commonBytes(viewOf(first), 0, viewOf(last), 0, Math.min(first.length, last.length));
  return first.slice(0, length);
}

/** The keys of a view that are merged, if not all of its table are: those after `after`. */
export function rangeAfter({ visibleRange }: TableView, after: Uint8Array | undefined): BytesRange | undefined {
  if (after === undefined) return visibleRange;
  const start: Bound = { kind: 'excluded', key: after };
  const end: Bound = visibleRange?.end ?? { kind: 'unbounded' };
  return visibleRange !== undefined && compareStarts(visibleRange.start, start) > 0 ? visibleRange : { start, end };
}

interface HeldRow {
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

/** The rows that one version or the end of a key made after a table was full, until the next table is open. */
class HeldRows implements VersionSink {
  #rows: HeldRow[] = [];

  get size(): number {
    return this.#rows.length;
  }

  add(
    keys: Uint8Array,
    keyStart: number,
    keyLength: number,
    values: Uint8Array,
    valueStart: number,
    valueLength: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
  ): void {
    const key = copyBytes(keys.subarray(keyStart, keyStart + keyLength));
    const value = copyBytes(values.subarray(valueStart, valueStart + valueLength));
    this.#rows.push({ key, value, seq, flags, createTs, expireTs });
  }

  moveTo(builder: TableBuilder): void {
    for (const { key, value, seq, flags, createTs, expireTs } of this.#rows) {
      builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
    }
    this.#rows = [];
  }
}
