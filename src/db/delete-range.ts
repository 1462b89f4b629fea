/**
 * Deleting the rows of a range: a tombstone for each key, in batches of bounded size. No tombstone of the format covers a range, and
 * those of keys are understood by every program that reads the database.
 *
 * 1. What is deleted is the rows that are there when the call begins. A key that is written afterwards keeps its row, also if its batch is
 *    decided later: the check is in the step in which the batch gets its number.
 * 2. Memory is bounded, whatever the range: one batch of keys and one view, which is taken again when memtables have left the present
 *    one. Tombstones wait for memory as other writes do.
 * 3. Batches are in the order of the keys, so that what is done is a part of the range from its beginning; and doing it again is
 *    right: keys that are deleted already are passed over.
 */
import { isAborted, untilAborted } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import { compareBytes, EMPTY_BYTES, keySuccessor } from '../common/bytes.ts';
import { describeThrown, guarded } from '../common/callbacks.ts';
import { AbortError, InvalidArgumentError, isDbError, type RangeProgress } from '../common/errors.ts';
import { abortSignal, bool, type ChecksOf, callable, checkedOptions, whole } from '../common/option-checks.ts';
import type { Memtable } from '../lsm/memtable/memtable.ts';
import type { ScanRange } from '../lsm/read/visible-rows.ts';
import { copyOfError } from './error-copy.ts';
import { type RangeOptions, toRange } from './keys.ts';
import { RANGE_CHECKS, type ReadPath } from './read-path.ts';
import type { ScanIterator } from './scan-iterator.ts';
import { WriteBatch } from './write-batch.ts';
import type { WriteState } from './write-state.ts';
import type { Writer } from './writer.ts';

/** Options of `deleteRange` and `clear`. */
export interface DeleteRangeOptions {
  /** Wait until all tombstones are durable. Default: the database's `awaitDurable`. */
  awaitDurable?: boolean;
  /** Most keys that are deleted in one step; a step also ends at 256 KiB of keys. Default 1,000. */
  batchSize?: number;
  /** Called after each batch, in the same turn; what it throws goes to the logger. Default: none. */
  onProgress?: (progress: RangeProgress) => void;
  /** Aborting ends the call before the next batch: what was deleted by then stays so. */
  signal?: AbortSignal;
}

/** What `deleteRange` and `clear` resolve to. */
export interface DeleteRangeResult {
  /** Rows that were deleted. Those that had expired but were stored count, too. */
  deleted: number;
  /** Sequence number of the last batch, or where nothing was to be deleted, of the newest write. */
  seq: bigint;
}

const DEFAULT_BATCH_ROWS = 1000;
const MAX_BATCH_ROWS = 100_000;
/** Of keys. */
const MAX_BATCH_BYTES = 256 * 1024;
/** Views of which a table was collected, one after the other, without a key deleted in between. */
const MAX_LOST_VIEWS = 5;
const ANY_SEQ = Number.MAX_SAFE_INTEGER;

const CHECKS: ChecksOf<DeleteRangeOptions> = {
  awaitDurable: bool,
  batchSize: whole(1, MAX_BATCH_ROWS),
  onProgress: callable,
  signal: abortSignal,
};

export function deleteRangeOptions(call: string, options: DeleteRangeOptions | undefined): DeleteRangeOptions {
  return checkedOptions<DeleteRangeOptions>(call, options, CHECKS);
}

/** Whether no key of `all` is outside of `range`, as with an empty prefix or from the empty key on: no key is empty. */
export function coversAll(range: RangeOptions, all: RangeOptions): boolean {
  const [some, every] = [toRange(range), toRange(all)];
  if (some === undefined || every === undefined) return false;
  const least = every.gte ?? EMPTY_BYTES;
  const from = some.gte ?? EMPTY_BYTES;
  const isFromStart = compareBytes(from, keySuccessor(least)) <= 0;
  const isToEnd =
    some.lt === undefined || every.lt === undefined ? some.lt === every.lt : compareBytes(some.lt, every.lt) === 0;
  return isFromStart && isToEnd;
}

/** The range of a call; undefined: it is empty. One without bounds is taken for a mistake. */
export function rangeToDelete(range: RangeOptions): ScanRange | undefined {
  const bounds = checkedOptions<RangeOptions>('deleteRange', range, RANGE_CHECKS);
  if (!coversAll(bounds, {})) return toRange(bounds);
  throw new InvalidArgumentError(
    'BAD_ARGUMENT',
    'deleteRange: the range has no bound, so it would delete every row. Give gte, gt, lte, lt or prefix, or call clear() if that is what you want.',
  );
}

export interface DeleteRangeParts {
  state: WriteState;
  writer: Writer;
  reads: ReadPath;
  /** Rejects the next batch once the handle ends. */
  assertWriting(): void;
}

/** Keys found in one view, without those that were written since. */
class KeysOfView {
  readonly keys: Uint8Array[] = [];
  bytes = 0;
  /** Rows above it are not in the view. */
  readonly #seq: number;
  /** That left memory since the view was taken, as long as keys come. */
  #left: readonly Memtable[] = [];
  #isComplete = false;

  constructor(seq: number) {
    this.#seq = seq;
  }

  /** No keys come any more. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  add(key: Uint8Array): void {
    if (this.#isWritten(key, this.#left)) return;
    this.keys.push(key);
    this.bytes += key.length;
  }

  complete(): void {
    this.#isComplete = true;
    this.#left = [];
  }

  /** Memtables leave: what they have of these keys cannot be seen later. */
  leave(leaving: readonly Memtable[]): void {
    this.dropWritten(leaving);
    if (!this.#isComplete) this.#left = [...this.#left, ...leaving];
  }

  dropWritten(memtables: readonly Memtable[]): void {
    const newer = memtables.filter((m) => m.lastSeq > this.#seq);
    if (newer.length === 0) return;
    let kept = 0;
    for (const key of this.keys) {
      if (this.#isWritten(key, newer)) this.bytes -= key.length;
      else this.keys[kept++] = key;
    }
    this.keys.length = kept;
    assertThat(this.bytes >= 0, 'the bytes of the keys of a batch are those of its keys');
  }

  #isWritten(key: Uint8Array, memtables: readonly Memtable[]): boolean {
    return memtables.some((m) => {
      const id = m.find(key, ANY_SEQ);
      return id >= 0 && m.seqOf(id) > this.#seq;
    });
  }
}

/** One call of `deleteRange` or `clear`. */
export class RangeDeletion {
  readonly #p: DeleteRangeParts;
  readonly #o: DeleteRangeOptions;
  readonly #range: ScanRange;
  readonly #startSeq: number;
  #scan: { keys: ScanIterator; seq: number } | undefined;
  /** Memtables have left since the view of the scan was taken. */
  #isStale = false;
  #found: KeysOfView | undefined;
  /** Last key that was read. */
  #last: Uint8Array | undefined;
  #hasMore = true;
  #lostViews = 0;
  #done: RangeProgress = { deleted: 0, lastKey: undefined };
  #seq: number;
  /** Batches that were not durable when last looked at, in order; before them, what is. */
  #unsettled: { seq: number; progress: RangeProgress }[] = [];
  #settled: RangeProgress = this.#done;

  constructor(parts: DeleteRangeParts, range: ScanRange, options: DeleteRangeOptions) {
    this.#p = parts;
    this.#o = options;
    this.#range = range;
    this.#startSeq = parts.state.lastSeq;
    this.#seq = this.#startSeq;
  }

  async run(awaitDurable: boolean): Promise<DeleteRangeResult> {
    const { state, writer } = this.#p;
    // From the first view to the last batch: memtables that left unnoticed could have taken a row along.
    const stop = state.onLeave((leaving) => this.#leave(leaving));
    try {
      while (this.#hasMore) await this.#batch();
      if (awaitDurable && this.#seq > state.durableSeq) await untilAborted(writer.allDurable(), this.#o.signal);
      return { deleted: this.#done.deleted, seq: BigInt(this.#seq) };
    } catch (error) {
      // Of a handle that has ended, what was in memory only is gone.
      throw interrupted(error, this.#seq > this.#startSeq, state.ended === undefined ? this.#done : this.#durable());
    } finally {
      stop();
    }
  }

  #leave(leaving: readonly Memtable[]): void {
    this.#isStale = true;
    this.#found?.leave(leaving);
    if (this.#found === undefined || this.#found.isComplete) this.#scan = undefined;
  }

  /** Reads keys, and deletes them: also those before a failure. */
  async #batch(): Promise<void> {
    const { writer, assertWriting, reads } = this.#p;
    const { signal } = this.#o;
    assertWriting();
    if (signal !== undefined && isAborted(signal)) throw new AbortError(undefined, { cause: signal.reason });
    if (this.#isStale || this.#scan === undefined) {
      this.#scan = reads.storedKeys(this.#rest(), signal);
      this.#isStale = false;
    }
    const found = new KeysOfView(this.#scan.seq);
    this.#found = found;
    let failure: { error: unknown } | undefined;
    try {
      await this.#gather(this.#scan.keys, found);
    } catch (error) {
      failure = { error };
    }
    found.complete();
    if (this.#isStale || failure !== undefined) this.#scan = undefined;
    if (found.keys.length > 0) {
      assertWriting();
      const rows = () => this.#tombstones(found);
      const bytes = () => found.bytes + found.keys.length * TOMBSTONE_BYTES;
      const written = await writer.decided({ bytes, rows }, { ...NO_TTL, awaitDurable: false, signal });
      if (written !== undefined) this.#wrote(Number(written.seq), found.keys);
    }
    this.#found = undefined;
    if (failure !== undefined) this.#afterFailure(failure.error, found.keys.length > 0);
  }

  /** What was not read yet. */
  #rest(): ScanRange {
    const { gte, lt } = this.#range;
    return { gte: this.#last === undefined ? gte : keySuccessor(this.#last), lt };
  }

  /** Until the batch is full, the range ends, or the view is no longer the present one. */
  async #gather(keys: ScanIterator, found: KeysOfView): Promise<void> {
    const { batchSize = DEFAULT_BATCH_ROWS } = this.#o;
    while (found.keys.length < batchSize && found.bytes < MAX_BATCH_BYTES) {
      if (this.#isStale && found.keys.length > 0) return;
      const { value: row } = await keys.next();
      if (row === undefined) {
        this.#hasMore = false;
        return;
      }
      this.#last = row.key;
      if (Number(row.seq) <= this.#startSeq) found.add(row.key);
    }
  }

  /** In the step in which they get their number. */
  #tombstones(found: KeysOfView): WriteBatch | undefined {
    found.dropWritten(this.#p.state.view.memtables);
    if (found.keys.length === 0) return undefined;
    const batch = new WriteBatch();
    for (const key of found.keys) batch.delete(key);
    return batch;
  }

  #wrote(seq: number, keys: readonly Uint8Array[]): void {
    const { state } = this.#p;
    assertThat(seq > this.#seq, 'batches of a deletion are numbered in their order (delete-range 3)');
    this.#seq = seq;
    this.#lostViews = 0;
    this.#done = { deleted: this.#done.deleted + keys.length, lastKey: keys[keys.length - 1] };
    this.#durable();
    this.#unsettled.push({ seq, progress: this.#done });
    const { onProgress } = this.#o;
    if (onProgress === undefined) return;
    guarded(
      () => onProgress(shown(this.#done)),
      (error) => state.logger.error('the onProgress function threw', { error: describeThrown(error) }),
    );
  }

  /** What is known to be durable. */
  #durable(): RangeProgress {
    const { durableSeq } = this.#p.state;
    let settled = 0;
    while (settled < this.#unsettled.length && this.#unsettled[settled].seq <= durableSeq) settled++;
    if (settled > 0) this.#settled = this.#unsettled[settled - 1].progress;
    this.#unsettled = this.#unsettled.slice(settled);
    return this.#settled;
  }

  /** A table that was collected in the meantime is no failure: a later view does without it. */
  #afterFailure(error: unknown, hasDeleted: boolean): void {
    if (!isDbError(error) || error.code !== 'VIEW_EXPIRED') throw error;
    if (!hasDeleted && ++this.#lostViews > MAX_LOST_VIEWS) throw error;
  }
}

/** Memory a tombstone takes besides its key, roughly. */
const TOMBSTONE_BYTES = 64;
const NO_TTL = { ttlMs: undefined, expireAtMs: undefined };

/** The caller's to change. */
function shown({ deleted, lastKey }: RangeProgress): RangeProgress {
  return { deleted, lastKey: lastKey && new Uint8Array(lastKey) };
}

/** The error of a deletion that did not come to its end. A new one: errors of a handle or of damage are shared by all who meet them. */
function interrupted(error: unknown, hasWritten: boolean, done: RangeProgress): unknown {
  if (!isDbError(error)) return error;
  const progress = shown(done);
  if (!hasWritten) return copyOfError(error, { outcome: 'not-applied', progress });
  const rest = `${done.deleted} rows of the range were deleted; call it again to delete the rest.`;
  return copyOfError(error, { outcome: 'unknown', progress }, `${error.message} ${rest}`);
}
