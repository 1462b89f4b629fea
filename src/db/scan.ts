/**
 * A scan: rows one by one, or in batches, over the view taken when it was created.
 *
 * Written by hand, not as an async generator: it costs half, and it can go on after an error. Rows are made 128 at a time
 * without a promise; only a fetch is waited for.
 *
 * Invariants:
 * 1. Calls are answered in order; after `close` or the end every call says "done".
 * 2. No row is handed out twice, and none at or before one that was: wherever the read-ahead ends, and wherever a seek goes.
 * 3. `limit` counts rows handed out. What a seek passes over in the read-ahead does not count.
 * 4. After a failure the next call goes on after it: rows that come before it are handed out first. After a `CorruptionError` that
 *    is after the damaged stretch, unless `resume` asked for what is in it.
 * 5. What comes next never depends on rows that were handed out: they belong to the caller, who may change them.
 *
 * Asserted once for each read-ahead, never for a row. Not 1, 4 and 5, which are about calls.
 */
import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import { runSliced } from '../common/async.ts';
import { compareBytes, copyBytes, EMPTY_BYTES } from '../common/bytes.ts';
import type { Clock } from '../common/clock.ts';
import { type CorruptionError, InvalidArgumentError, isCorruption, MAX_FINDINGS_PER_ERROR } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { describeValue } from '../common/option-checks.ts';
import type { Memtable } from '../lsm/memtable/memtable.ts';
import type { ReadView } from '../lsm/read/point-lookup.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import { type ScanRange, VisibleRows } from '../lsm/read/visible-rows.ts';
import { MergeCursor } from '../lsm/rows/merge-cursor.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import type { RowCursor } from '../lsm/rows/row-cursor.ts';
import { TableCursor } from '../lsm/table/table-cursor.ts';
import { LostCursor, lossError, lossesAbove, type UnplacedLoss } from '../lsm/tree/lost-ranges.ts';
import { sourcesInRange } from '../lsm/tree/table-store.ts';
import type { CorruptionWatch } from './corruption-watch.ts';
import type { ReadCounts } from './counts.ts';
import { type Bytes, toKey } from './keys.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';

const ROWS_PER_FILL = 128;

export interface ScanInput {
  view: ReadView;
  /** undefined: nothing is in the range. */
  range: ScanRange | undefined;
  reverse: boolean;
  limit: number;
  maxSeq: number;
  nowMs: number | undefined;
  mergeOperator: MergeOperator | undefined;
  clock: Clock;
  turns: Turns;
  signal: AbortSignal | undefined;
  /** No row that may be stale is wanted. */
  isStrict: boolean;
  /** Damaged stretches are left out. */
  skipDamage: boolean;
  /** Values are not read: each is given empty. Default: they are. */
  keysOnly?: boolean;
  watch: CorruptionWatch;
  counts: Pick<ReadCounts, 'scanBegun' | 'scanEnded'>;
  assertServing(): void;
  /** The error to show: a table that is missing may have been collected in the meantime. */
  onError(error: unknown): Promise<unknown>;
}

const DONE: IteratorResult<never, undefined> = { value: undefined, done: true };
/** Rows that `toArray` takes at a time. */
const ROWS_PER_BATCH = 1024;

/** What a scan hands out for a row. May throw: then that is the failure of the call that came to the row, and the next one goes on after it. */
export type ConvertRow<T> = (row: ScanRow) => T;

export class Scan<T = ScanRow> implements ScanIterator<Bytes, T> {
  readonly #input: ScanInput;
  /** undefined: rows are handed out as they are, and T is `ScanRow`. */
  readonly #convert: ConvertRow<T> | undefined;
  /** Those that have a row to show: an empty one would cost a short scan a tenth of its time. */
  readonly #memtables: readonly Memtable[];
  #rows: VisibleRows | undefined;
  /** Rows read ahead, at most as many as may still be handed out; those before `#at` are gone. */
  #buffer: ScanRow[] = [];
  #at = 0;
  /** Rows of the buffer that a seek has passed over. */
  #passed = 0;
  /** Rows that may be handed out, those of the buffer counted. */
  #left: number;
  /** Nothing comes after the buffer. */
  #isDone = false;
  /** It counts as open: rows are left in its sources. One that is at its end with its first buffer never does. */
  #isOpen = false;
  /** Key of the last row that was ever in the buffer: the rows of the source begin after it. */
  #bufferEnd: Uint8Array | undefined;
  /** The last row that a batch took of the buffer: the row itself belongs to the caller. */
  #batchEnd: { at: number; key: Uint8Array } | undefined;
  /** Where the last seek went. */
  #sought: Uint8Array | undefined;
  /** The call under way that had to wait; later ones queue after it. */
  #busy: Promise<unknown> | undefined;
  /** An error met after rows that must be handed out first; `isToBeThrown`: it is known to be shown. */
  #held: { error: unknown; isToBeThrown: boolean } | undefined;
  /** The damage that was thrown last; none once rows were asked for again. */
  #thrown: CorruptionError | undefined;
  #mayHoldStale = false;
  /** Losses whose rows may have been anywhere in the range, until this scan has said so. */
  #unreported: readonly UnplacedLoss[];
  readonly #findings: Finding[] = [];

  constructor(input: ScanInput, convert?: ConvertRow<T>) {
    this.#input = input;
    this.#convert = convert;
    this.#left = input.limit;
    this.#memtables = input.view.memtables.filter((m) => m.reaches(input.maxSeq));
    const { unplaced } = input.view.tree;
    this.#unreported = lossesAbove(unplaced, -1, input.maxSeq);
    if (input.range === undefined || input.limit === 0) this.#isDone = true;
  }

  get findings(): readonly Finding[] {
    return this.#findings;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#busy === undefined) {
      if (this.#at < this.#buffer.length) {
        let result: IteratorResult<T, undefined>;
        try {
          this.#check();
          result = this.#take();
        } catch (error) {
          return this.#input.turns.refuse(error);
        }
        return this.#input.turns.give(result);
      }
      try {
        if (this.#fillNow(ROWS_PER_FILL)) return this.next();
      } catch (error) {
        return this.#exclusive(async () => {
          await this.#meet(error);
          await this.#fill(ROWS_PER_FILL);
          return this.#input.turns.give(this.#take());
        });
      }
      if (this.#isDone) return this.#input.turns.give(DONE);
    }
    return this.#exclusive(async () => {
      if (this.#at === this.#buffer.length) await this.#fill(ROWS_PER_FILL);
      else this.#check();
      return this.#input.turns.give(this.#take());
    });
  }

  #take(): IteratorResult<T, undefined> {
    if (this.#at >= this.#buffer.length) return DONE;
    return { value: this.#handOut(this.#buffer[this.#at++]), done: false };
  }

  #handOut(row: ScanRow): T {
    return this.#convert === undefined ? (row as T) : this.#convert(row);
  }

  nextBatch(count: number): Promise<T[]> {
    if (!Number.isSafeInteger(count) || count < 1) {
      return this.#input.turns.refuse(
        new InvalidArgumentError(
          'BAD_ARGUMENT',
          `nextBatch needs a whole number of at least 1, not ${describeValue(count)}.`,
        ),
      );
    }
    return this.#exclusive(() => this.#batch(count));
  }

  toArray(): Promise<T[]> {
    return this.#exclusive(async () => {
      const all: T[] = [];
      for (;;) {
        const batch = await this.#batch(ROWS_PER_BATCH);
        if (batch.length === 0) return all;
        for (const item of batch) all.push(item);
      }
    });
  }

  async #batch(count: number): Promise<T[]> {
    const { turns } = this.#input;
    const out: T[] = [];
    let end = EMPTY_BYTES;
    // At the end of the source, too, as long as rows that were read ahead are to come.
    if (!this.#isDone || this.#at < this.#buffer.length) this.#check();
    while (out.length < count) {
      if (this.#at === this.#buffer.length) {
        if (turns.isDue) await turns.take();
        try {
          await this.#fill(Math.min(count - out.length, 1024));
        } catch (error) {
          if (out.length === 0) throw error;
          this.#held = { error, isToBeThrown: true };
          return out;
        }
        turns.note(Math.max(1, this.#buffer.length));
        if (this.#buffer.length === 0) return out;
        if (out.length === 0 && this.#buffer.length === count && this.#convert === undefined) {
          const whole = this.#buffer;
          this.#at = count;
          this.#clearBuffer();
          return whole as T[];
        }
      }
      const row = this.#buffer[this.#at];
      if (this.#convert !== undefined && !this.#addConverted(row, out)) break;
      if (this.#convert === undefined) out.push(row as T);
      end = row.key;
      this.#at++;
    }
    this.#batchEnd = { at: this.#at, key: copyBytes(end) };
    return out;
  }

  /** False: the next row cannot be converted, and the next call comes to it first, which then fails alone. */
  #addConverted(row: ScanRow, out: T[]): boolean {
    try {
      out.push(this.#handOut(row));
    } catch (error) {
      if (out.length > 0) return false;
      this.#at++;
      throw error;
    }
    return true;
  }

  resume(how: 'include'): Promise<void> {
    return this.#exclusive(async () => {
      this.#input.assertServing();
      if (how !== 'include') throw badResume(`resume needs 'include', not ${describeValue(how)}.`);
      if (this.#input.isStrict)
        throw badResume('resume: with corruptionPolicy strict no row is given that may be stale.');
      const thrown = this.#thrown;
      if (thrown === undefined || !this.#open().canInclude) {
        throw badResume('resume: the last call did not end at damage that has rows around it.');
      }
      const { findings } = thrown;
      if (this.#input.watch.met({ operation: 'scan', findings, outcome: 'possibly-stale' })) throw thrown;
      this.#thrown = undefined;
      this.#open().include();
      this.#mayHoldStale = true;
    });
  }

  seek(key: Bytes): Promise<void> {
    let target: Uint8Array;
    try {
      target = new Uint8Array(toKey(key));
    } catch (error) {
      return this.#input.turns.refuse(error);
    }
    return this.#exclusive(async () => {
      const { turns } = this.#input;
      if (turns.isDue) await turns.take();
      this.#input.assertServing();
      this.#checkSeek(target);
      this.#sought = target;
      while (this.#at < this.#buffer.length && this.#isBefore(this.#buffer[this.#at].key, target)) {
        this.#at++;
        this.#passed++;
      }
      turns.note(1);
      if (this.#at < this.#buffer.length || this.#isDone) return;
      // The source stands after the last row of the buffer: only a key beyond it is further on.
      if (this.#bufferEnd !== undefined && !this.#isBefore(this.#bufferEnd, target)) return;
      // An error that is passed over, or met again on the way.
      this.#held = undefined;
      this.#open().seek(target);
    });
  }

  /** Whether a scan comes to `a` before it comes to `b`. */
  #isBefore(a: Uint8Array, b: Uint8Array): boolean {
    return this.#input.reverse ? compareBytes(a, b) > 0 : compareBytes(a, b) < 0;
  }

  #checkSeek(target: Uint8Array): void {
    const { range } = this.#input;
    const isOutside =
      range === undefined ||
      (range.gte !== undefined && compareBytes(target, range.gte) < 0) ||
      (range.lt !== undefined && compareBytes(target, range.lt) >= 0);
    if (isOutside) throw new InvalidArgumentError('BAD_ARGUMENT', 'seek: the key is outside of the range of the scan.');
    for (const reached of [this.#lastKey(), this.#sought]) {
      if (reached !== undefined && this.#isBefore(target, reached)) {
        throw new InvalidArgumentError(
          'BAD_ARGUMENT',
          'seek: a scan only goes on; the key is before the last row returned or the last key sought.',
        );
      }
    }
  }

  /** Key of the last row handed out or passed over. One that `next` gave may have been changed by the caller: only the refusal errs then. */
  #lastKey(): Uint8Array | undefined {
    if (this.#batchEnd?.at === this.#at) return this.#batchEnd.key;
    if (this.#at === 0 || this.#at === this.#buffer.length) return this.#bufferEnd;
    return this.#buffer[this.#at - 1].key;
  }

  close(): Promise<void> {
    this.#end();
    this.#bufferEnd = this.#lastKey();
    this.#clearBuffer();
    this.#rows = undefined;
    this.#held = undefined;
    return this.#input.turns.give(undefined);
  }

  /** The buffer is used up, or no longer needed. */
  #clearBuffer(): void {
    this.#left -= this.#at - this.#passed;
    assertThat(this.#left >= 0 && this.#passed <= this.#at, 'a limit counts rows handed out (scan 3)');
    this.#buffer = [];
    this.#at = 0;
    this.#passed = 0;
    this.#batchEnd = undefined;
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return this.close().then(() => DONE);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const begun = this.#busy === undefined ? work() : this.#busy.then(work, work);
    // Runs before the caller goes on: the next call finds no call to queue after, and needs no promises but its own.
    const leave = () => {
      if (this.#busy === run) this.#busy = undefined;
    };
    const run = begun.then(
      (value) => {
        leave();
        return value;
      },
      (error) => {
        leave();
        return this.#input.turns.refuse(error);
      },
    );
    this.#busy = run;
    return run;
  }

  #check(): void {
    this.#input.assertServing();
    stopIfAborted(this.#input.signal);
  }

  /** Fills the buffer from memory; true if there is a row now. */
  #fillNow(limit: number): boolean {
    if (this.#isDone || this.#held !== undefined || this.#unreported.length > 0) return false;
    this.#thrown = undefined;
    this.#check();
    if (this.#rows === undefined && this.#unordered().length > 0) return false;
    return this.#fillBuffer(limit) !== 'blocked' && this.#buffer.length > 0;
  }

  async #fill(limit: number): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    if (held?.isToBeThrown) this.#throw(held.error);
    if (held !== undefined) await this.#meet(held.error);
    if (this.#unreported.length > 0 && !this.#isDone) await this.#reportLosses();
    for (;;) {
      try {
        await this.#tryFill(limit);
        return;
      } catch (error) {
        await this.#meet(error);
      }
    }
  }

  /** Rejects with the error to show, unless it is damage that this scan leaves out. */
  async #meet(error: unknown): Promise<void> {
    const shown = await untilAborted(this.#input.onError(error), this.#input.signal);
    if (!isCorruption(shown)) {
      // Requests of a handle that was closed are aborted: that is the reason then.
      this.#input.assertServing();
      throw shown;
    }
    const { findings } = shown;
    for (const finding of findings) if (this.#findings.length < MAX_FINDINGS_PER_ERROR) this.#findings.push(finding);
    const outcome = this.#input.skipDamage ? 'skipped' : 'error';
    if (this.#input.watch.met({ operation: 'scan', findings, outcome })) this.#throw(shown);
  }

  /**
   * Rows with unknown keys are lost, perhaps of this range. Strict: an error, and nothing comes after it, as nothing says
   * where they were. Else the rows come, flagged where one that is lost may be newer.
   */
  async #reportLosses(): Promise<void> {
    const error = lossError(this.#unreported);
    this.#unreported = [];
    if (this.#input.isStrict) {
      this.#end();
      await this.#meet(error);
      return;
    }
    const { findings } = error;
    this.#findings.push(...findings.slice(0, MAX_FINDINGS_PER_ERROR - this.#findings.length));
    this.#mayHoldStale = true;
    if (!this.#input.watch.met({ operation: 'scan', findings, outcome: 'possibly-stale' })) {
      // The scan itself, which may lack rows.
      this.#input.watch.staleRows(1);
      return;
    }
    this.#end();
    this.#throw(error);
  }

  #throw(error: unknown): never {
    this.#thrown = isCorruption(error) ? error : undefined;
    throw error;
  }

  async #tryFill(limit: number): Promise<void> {
    this.#thrown = undefined;
    if (this.#isDone) {
      this.#clearBuffer();
      return;
    }
    this.#check();
    for (const m of this.#rows === undefined ? this.#unordered() : []) {
      await untilAborted(
        runSliced(this.#input.clock, () => m.prepareOrderStep()),
        this.#input.signal,
      );
    }
    while (this.#fillBuffer(limit) === 'blocked') {
      if (this.#buffer.length > 0) return;
      await untilAborted(this.#open().load(), this.#input.signal);
      this.#check();
      if (this.#isDone) return;
    }
  }

  #fillBuffer(limit: number): 'more' | 'blocked' | 'done' {
    this.#clearBuffer();
    if (this.#left === 0) {
      this.#end();
      return 'done';
    }
    const rows: ScanRow[] = this.#buffer;
    const most = Math.min(limit, this.#left);
    let result: 'more' | 'blocked' | 'done';
    try {
      result = this.#open().fill(rows, most);
    } catch (error) {
      if (rows.length === 0) throw error;
      this.#held = { error, isToBeThrown: false };
      result = 'more';
    }
    assertThat(rows.length <= most, 'no more rows are read ahead than may be handed out (scan 3)');
    if (rows.length > 0) {
      const end = this.#bufferEnd;
      assertThat(end === undefined || this.#isBefore(end, rows[0].key), 'no row is handed out twice (scan 2)');
      this.#bufferEnd = this.#open().lastKey;
    }
    if (result === 'done') this.#end();
    else if (!this.#isOpen && rows.length < this.#left) this.#begin();
    if (this.#mayHoldStale) this.#input.watch.staleRows(rows.filter((row) => row.possiblyStale).length);
    return rows.length > 0 && result === 'blocked' ? 'more' : result;
  }

  #begin(): void {
    this.#isOpen = true;
    this.#input.counts.scanBegun(this);
  }

  /** Nothing comes after the buffer. */
  #end(): void {
    this.#isDone = true;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#input.counts.scanEnded(this);
  }

  /** Memtables whose order takes longer to make than one turn of the event loop may take. */
  #unordered(): Memtable[] {
    return this.#memtables.filter((m) => !m.prepareOrderStep());
  }

  #open(): VisibleRows {
    if (this.#rows !== undefined) return this.#rows;
    const { view, reverse, maxSeq, nowMs, mergeOperator } = this.#input;
    const range = this.#input.range as ScanRange;
    const sources: RowCursor[] = this.#memtables.map((m) => m.cursor({ reverse, maxSeq }));
    const limitKey = reverse ? range.gte : range.lt;
    const useProbable = !this.#input.isStrict;
    for (const handles of sourcesInRange(view.tree, range.gte, range.lt)) {
      sources.push(new TableCursor(handles, { reverse, useProbable, ...(limitKey !== undefined && { limitKey }) }));
    }
    if (view.tree.lost.length > 0) sources.push(new LostCursor(view.tree.lost, reverse, maxSeq));
    const losses = lossesAbove(view.tree.unplaced, -1, maxSeq);
    const staleBelow = losses.reduce((most, { seqs }) => Math.max(most, seqs.max), -1);
    const { keysOnly = false } = this.#input;
    const options = { range, reverse, maxSeq, nowMs, mergeOperator, staleBelow, keysOnly };
    this.#rows = new VisibleRows(new MergeCursor(sources, reverse), options);
    return this.#rows;
  }
}

function badResume(message: string): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', message);
}
