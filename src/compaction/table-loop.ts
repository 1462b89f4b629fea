/**
 * Builds the tables of one thread, each from the copy of a memtable, as its owner asks for it by messages. No I/O.
 *
 * 1. After each TURN_MS of steps the event loop has a turn, in which messages come in and merges go on: a flush is waited for by writers, so
 *    it gets a longer turn than a merge.
 * 2. The memory of the copy is free before the answer is sent: nothing waits for a collection of garbage, which in a thread without work does
 *    not come.
 * 3. What a build throws ends it, and nothing else.
 */
import { type Deferred, deferred, ignoreRejection, type Steps } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import { errorToJson } from '../common/error-json.ts';
import { InternalError, isDbError } from '../common/errors.ts';
import { loadCodec } from '../format/codecs.ts';
import { memoryOfCopy, rowsOfCopy } from '../lsm/memtable/log-copy.ts';
import { type FlushedSeal, sealOfFlushed, unsealedTable } from '../lsm/read/memtable-to-table.ts';
import type { MergeLoopOptions } from './merge-loop.ts';
import { memoryOf, type TableStart, type ToThread } from './merge-messages.ts';

/** Four turns of a merge. */
const TURN_MS = 8;

export interface TableLoopOptions extends MergeLoopOptions {
  /** Frees memory at once. */
  letGo(memory: ArrayBuffer[]): void;
}

export class TableLoop {
  readonly #options: TableLoopOptions;
  /** The seals that builds wait for, or will. */
  readonly #builds = new Map<number, Deferred<FlushedSeal>>();

  constructor(options: TableLoopOptions) {
    this.#options = options;
  }

  take(message: ToThread): void {
    const { work } = message;
    if (message.kind === 'build') {
      this.#builds.set(work, deferred());
      ignoreRejection(this.#build(work, message.start).catch((error: unknown) => this.#fail(work, error)));
    } else if (message.kind === 'seal') this.#builds.get(work)?.resolve(message.seal);
    else if (message.kind === 'close') this.#builds.delete(work);
  }

  async #build(work: number, { rows, plan, format }: TableStart): Promise<void> {
    const { post, letGo } = this.#options;
    const codec = await loadCodec(format.codec);
    const memory = memoryOfCopy(rows);
    const steps = unsealedTable(rowsOfCopy(rows), plan, { ...format, codec });
    const unsealed = await this.#sliced(work, steps).finally(() => letGo(memory));
    const sealed = this.#builds.get(work);
    if (sealed === undefined) return;
    if (unsealed === undefined) {
      this.#builds.delete(work);
      post({ kind: 'empty', work }, []);
      return;
    }
    post({ kind: 'unsealed', work }, []);
    const seal = await sealed.promise;
    if (!this.#builds.has(work)) return;
    const { bytes } = unsealed.finish((facts) => sealOfFlushed(seal, facts));
    this.#builds.delete(work);
    post({ kind: 'flushed', work, bytes }, memoryOf(bytes));
  }

  /** Undefined also where nothing more is asked of it. */
  async #sliced<T>(work: number, steps: Steps<T>): Promise<T | undefined> {
    const { clock } = this.#options;
    while (this.#builds.has(work)) {
      const start = clock.monotonicMs();
      while (clock.monotonicMs() - start < TURN_MS) {
        const { done, value } = steps.next();
        if (done === true) return value;
      }
      await clock.yieldToLoop();
    }
    return undefined;
  }

  #fail(work: number, error: unknown): void {
    if (!this.#builds.delete(work)) return;
    const known = isDbError(error) ? error : new InternalError(describeThrown(error), { cause: error });
    this.#options.post({ kind: 'failed', work, error: errorToJson(known) }, []);
  }
}
