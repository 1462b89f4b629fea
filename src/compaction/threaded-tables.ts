/**
 * Memtables become tables on the threads that merge: the rows go there as a copy, the table comes back as one piece of memory.
 *
 * ```
 * owner   build (rows)                 seal                close
 * thread                 unsealed            flushed | empty
 * ```
 *
 * 1. What comes back is read from its end before it is used: a table that says what it is, of the form that was asked for.
 * 2. Tables are not built on a thread that has run code of the application (thread-pool.ts 3): writers wait for them.
 */
import { abortError, onAbort, stopIfAborted } from '../common/abort.ts';
import { type Deferred, deferred, ignoreRejection } from '../common/async.ts';
import { errorFromJson } from '../common/error-json.ts';
import { InternalError } from '../common/errors.ts';
import { endOf, objectEndIn } from '../format/object-end.ts';
import { type LogCopy, memoryOfCopy } from '../lsm/memtable/log-copy.ts';
import type { FlushedTable, FlushOutcome, TableThreads, ThreadFlush } from '../lsm/read/table-threads.ts';
import type { FromThread } from './merge-messages.ts';
import type { PooledWork, ThreadPlace, ThreadPool } from './thread-pool.ts';

export class ThreadedTables implements TableThreads {
  readonly #threads: ThreadPool;

  constructor(threads: ThreadPool) {
    this.#threads = threads;
  }

  async build(flush: ThreadFlush): Promise<FlushOutcome> {
    stopIfAborted(flush.signal);
    const place = await this.#threads.place(false);
    if (place === undefined) return { kind: 'no-thread' };
    try {
      stopIfAborted(flush.signal);
      const work = new TableWork(place, flush);
      place.attach(work);
      return await work.run();
    } finally {
      place.release();
    }
  }
}

/** A table that is built on a thread, as its owner has it. */
class TableWork implements PooledWork {
  readonly #place: ThreadPlace;
  readonly #flush: ThreadFlush;
  readonly #result: Deferred<FlushOutcome> = deferred();
  #isWaiting = false;

  constructor(place: ThreadPlace, flush: ThreadFlush) {
    this.#place = place;
    this.#flush = flush;
    ignoreRejection(this.#result.promise);
  }

  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  async run(): Promise<FlushOutcome> {
    const { signal } = this.#flush;
    const leaveSignal = onAbort(signal, () => this.fail(abortError(signal)));
    try {
      const rows = await Promise.race([this.#flush.copy(), this.#failed()]);
      this.#begin(rows);
      return await this.#result.promise;
    } finally {
      leaveSignal();
      this.#wait(false);
      this.#place.post({ kind: 'close', work: this.#place.id }, []);
    }
  }

  /** Rejects if the work ends before it has begun. */
  async #failed(): Promise<never> {
    await this.#result.promise;
    throw new InternalError('a table came before its rows had gone');
  }

  #begin(rows: LogCopy): void {
    const { plan, format } = this.#flush;
    const { blockBytes, codec, filter } = format;
    const start = { rows, plan, format: { blockBytes, codec: codec.name, filter } };
    this.#wait(true);
    this.#place.post({ kind: 'build', work: this.#place.id, start }, memoryOfCopy(rows));
  }

  #wait(on: boolean): void {
    this.#isWaiting = on;
    this.#place.noteWaiting();
  }

  take(message: FromThread): void {
    try {
      this.#act(message);
    } catch (error) {
      this.#result.reject(error);
    }
  }

  #act(message: FromThread): void {
    switch (message.kind) {
      case 'unsealed':
        this.#place.post({ kind: 'seal', work: this.#place.id, seal: this.#flush.seal() }, []);
        break;
      case 'flushed':
        this.#result.resolve({ kind: 'table', ...this.#checked(message.bytes) });
        break;
      case 'empty':
        this.#result.resolve({ kind: 'empty' });
        break;
      case 'failed':
        this.fail(errorFromJson(message.error));
        break;
      default:
        throw new InternalError(`A thread that builds a table has answered with ${String(message.kind)}.`);
    }
  }

  #checked(bytes: unknown): FlushedTable {
    if (!(bytes instanceof Uint8Array)) throw new InternalError('A thread has answered without the bytes of a table.');
    const { info } = objectEndIn(endOf(bytes));
    const { codec, filter } = this.#flush.format;
    const isAsked = info.tableType === 'compacted' && info.codec === codec.name && info.filterForm === filter.form;
    if (!isAsked) throw new InternalError('A thread has answered with another table than it was asked for.');
    return { bytes, info };
  }

  fail(error: Error): void {
    this.#result.reject(error);
  }
}
