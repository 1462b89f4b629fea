/**
 * Where a memtable becomes a table: a large one on a thread, if there is one and memory for a copy of its rows, else here, in slices
 * between reads and writes.
 *
 * 1. Whatever goes wrong on a thread, the table is built here: the memtable is there until a manifest names its table.
 * 2. Copies are in the budget: an eighth of it is set aside for tables on their way; what copies need beyond that counts as unflushed.
 *    Where that would exceed the limit, nothing is copied.
 */
import { finishSliced } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import { copyLog, logCopyBytes } from '../lsm/memtable/log-copy.ts';
import type { Memtable } from '../lsm/memtable/memtable.ts';
import {
  buildFlushedTable,
  type FlushedSeal,
  type FlushPlan,
  sealOfFlushed,
  type TableFormat,
} from '../lsm/read/memtable-to-table.ts';
import type { FlushedTable, FlushOutcome, TableThreads } from '../lsm/read/table-threads.ts';
import type { WriterSettings } from './open-options.ts';
import { TABLE_UPLOADS_PART } from './options.ts';
import type { WriteState } from './write-state.ts';

/**
 * Memtables with fewer bytes of rows are built on the writer's thread. At this size (bench/micro/flush-threads.mjs --mib 8) a flush takes 0.4 times as
 * much of that thread's CPU time, 24 ms for 65, even where a new thread has to be started and to compile its code, which costs another core some 130 ms;
 * of smaller ones there is less to gain for the same price.
 */
export const LARGE_TABLE_BYTES = 8 << 20;
/** What a thread needs for the order of a row beside the copy, bytes. */
const ORDER_BYTES = 28;
/** So many builds on threads that fail in a row are no accident: after them all are made here. */
const MOST_FAILURES = 3;

export interface TableBuildsOptions {
  state: WriteState;
  format: TableFormat;
  settings: Pick<WriterSettings, 'maxUnflushedBytes' | 'memoryBytes'>;
  /** Undefined: there are none. */
  threads: TableThreads | undefined;
}

export class TableBuilds {
  readonly #o: TableBuildsOptions;
  /** Of all copies that there are. */
  #copyBytes = 0;
  #failures = 0;
  #isFailureReported = false;

  constructor(options: TableBuildsOptions) {
    this.#o = options;
  }

  /**
   * Undefined: no version is kept. On a thread it ends as soon as the signal aborts.
   * @param seal what the seal says; called when all rows are in the table
   */
  async build(
    table: Memtable,
    plan: FlushPlan,
    seal: () => FlushedSeal,
    signal: AbortSignal,
  ): Promise<FlushedTable | undefined> {
    const { state, format } = this.#o;
    const outcome = await this.#onThread(table, plan, seal, signal);
    if (outcome.kind === 'table') return outcome;
    if (outcome.kind === 'empty') return undefined;
    return buildFlushedTable(table, plan, format, state.clock, (facts) => sealOfFlushed(seal(), facts));
  }

  async #onThread(
    table: Memtable,
    plan: FlushPlan,
    seal: () => FlushedSeal,
    signal: AbortSignal,
  ): Promise<FlushOutcome> {
    const { state, format, threads } = this.#o;
    const isWanted = table.dataBytes >= LARGE_TABLE_BYTES && this.#failures < MOST_FAILURES;
    if (threads === undefined || !isWanted) return { kind: 'no-thread' };
    const rows = table.toFlush;
    const bytes = logCopyBytes(rows) + rows.rowCount * ORDER_BYTES;
    if (!this.#take(bytes)) return { kind: 'no-thread' };
    try {
      const copy = () => finishSliced(state.clock, copyLog(rows));
      const outcome = await threads.build({ plan, format, copy, seal, signal });
      if (outcome.kind !== 'no-thread') this.#failures = 0;
      return outcome;
    } catch (error) {
      if (signal.aborted) throw error;
      this.#noteFailure(error);
      return { kind: 'no-thread' };
    } finally {
      this.#giveBack(bytes);
    }
  }

  #noteFailure(error: unknown): void {
    this.#failures++;
    if (this.#isFailureReported) return;
    this.#isFailureReported = true;
    this.#o.state.logger.warn('a thread could not build a table; it is built between reads and writes', {
      error: describeThrown(error),
    });
  }

  // ---- memory

  #take(bytes: number): boolean {
    const { state, settings } = this.#o;
    const more = this.#beyond(this.#copyBytes + bytes) - this.#beyond(this.#copyBytes);
    if (state.unflushedBytes + more > settings.maxUnflushedBytes) return false;
    this.#copyBytes += bytes;
    state.hold(more);
    return true;
  }

  #giveBack(bytes: number): void {
    const { state } = this.#o;
    const before = this.#beyond(this.#copyBytes);
    this.#copyBytes -= bytes;
    state.letGo(before - this.#beyond(this.#copyBytes));
  }

  /** What copies of so many bytes need beyond what is set aside. */
  #beyond(copyBytes: number): number {
    return Math.max(0, copyBytes - Math.floor(this.#o.settings.memoryBytes * TABLE_UPLOADS_PART));
  }
}
