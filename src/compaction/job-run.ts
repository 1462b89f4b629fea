/**
 * Carries out a job, or the part of one that has the keys of a range (divided-job.ts): reads its inputs ahead, has them merged, stores the tables as they grow, and reads them back. What it resolves with may be
 * committed; the tables of one that rejects are garbage.
 *
 * ```
 * inputs  -> stretches -> merge (merge-host.ts) -> parts -> upload, one table at a time      all of them -> read back -> result
 *               bad block: read again, healed, or the job ends
 *                                                  not stored, or unknown: again from the table before, under another name
 * ```
 *
 * 1. Every table has a name and a put id that were never used before, also where it is written again.
 * 2. A table counts when its upload said `applied`; what came after one of which nobody knows is dropped and done again, and so is one
 *    that the store did not take for a reason that may pass (table-retries.ts).
 * 3. All I/O goes through the stores that were given, on this thread, and ends with the signal.
 * 4. What a job holds stays within its share of the memory (job-memory.ts), but for a block or a value that is larger.
 */
import { assertThat, present } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import { isDbError, UnavailableError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import type { Logger } from '../common/logger.ts';
import type { ModuleRef } from '../common/module-ref.ts';
import { type BlockCodec, loadCodec } from '../format/codecs.ts';
import { tablePath } from '../format/object-names.ts';
import type { Codec } from '../format/table-info.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { type DatabaseStores, withSignal } from '../lsm/manifest/database-stores.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import { openUpload } from '../store/collected-upload.ts';
import type { ObjectUpload } from '../store/object-store.ts';
import { isTransient } from '../store/store-error.ts';
import type { CompactionFilter } from './compaction-filter.ts';
import { type CompactionPlan, type JobOutput, type JobResult, rowsGone } from './compaction-plan.ts';
import { divideMemory } from './job-memory.ts';
import { type MergeEvent, type MergeHost, MergeInterrupted, type Merges } from './merge-host.ts';
import type { MergedTable, ResumePoint } from './merge-step.ts';
import { checkOutput, type VerifyOutputs } from './output-check.ts';
import { type OutputName, OutputNames, type OutputSeals, sealsOf } from './output-seal.ts';
import { StretchReader, type TableSize } from './stretch-reader.ts';
import { TableNotStored, TableRetries } from './table-retries.ts';
import type { ByteRate, Throttle } from './throttle.ts';

/** How many threads in a row may end over the same table. */
const MOST_THREADS = 2;
const CHECKS_IN_FLIGHT = 2;
/** Of a table that says nothing about its rows. */
const UNKNOWN_ROW_BYTES = 100;

export interface JobRunOptions {
  stores: DatabaseStores;
  manifests: Pick<ManifestLog, 'current'>;
  /** Of the role compactor. */
  author: Author;
  logger: Logger;
  rate: ByteRate;
  /** Where rows are merged, and where those are merged that cannot be merged there. */
  merges: Merges;
  slices: Merges;
  mergeOperator: MergeOperator | undefined;
  compactionFilter: CompactionFilter | undefined;
  /** Where operator and filter are from, if a thread can load them. */
  operatorModule: ModuleRef | undefined;
  filterModule: ModuleRef | undefined;
  /** Memory of one job, bytes. */
  shareBytes: number;
  verifyOutputs: VerifyOutputs;
  /** How long the store is tried with the same table, ms. */
  timeoutMs: number;
  /** Of damage to inputs that costs no row. */
  onFinding(finding: Finding): void;
}

/**
 * Rejects with `CorruptionError` for an input that cannot be read whole, with `IncompatibleError` for one that only a newer program or a
 * codec that is missing can read, with `UnavailableError` for what the store says, for outputs that are not as they were written, and where
 * threads end twice over the same table (`COMPACTION_FAILED`), and with `AbortError`.
 */
export function runJob(
  plan: CompactionPlan,
  options: JobRunOptions,
  signal: AbortSignal,
  part: JobPart = { seals: sealsOf(plan), names: namesOf(plan, options) },
): Promise<JobResult> {
  return new JobRun(plan, options, signal, part).run();
}

/** What the ranges of a job share, and which of them it is. */
export interface JobPart {
  seals: OutputSeals;
  names: OutputNames;
}

export function namesOf({ jobId, output }: CompactionPlan, { author, manifests }: JobRunOptions): OutputNames {
  return new OutputNames({
    author,
    jobId,
    codec: output.codec,
    epoch: manifests.current.manifest.compactorEpoch,
    newestManifestId: () => manifests.current.id,
  });
}

/** The merge from one table on. */
interface Attempt {
  readers: readonly StretchReader[];
  host: MergeHost;
  names: OutputName[];
  upload: ObjectUpload | undefined;
}

class JobRun {
  readonly #plan: CompactionPlan;
  readonly #options: JobRunOptions;
  readonly #stores: DatabaseStores;
  readonly #throttle: Throttle;
  readonly #seals: OutputSeals;
  readonly #names: OutputNames;
  #outputs: JobOutput[] = [];
  /** Where the merge can go on, and how many of the outputs are before it. */
  #resume: { point: ResumePoint; outputs: number } | undefined;
  #maxSstBytes: number;
  #holdBytes = 0;
  #bytesIn = 0;
  readonly #signal: AbortSignal;
  /** It is merged on this thread from now on. */
  #isHere = false;
  readonly #retries: TableRetries;

  constructor(plan: CompactionPlan, options: JobRunOptions, signal: AbortSignal, { seals, names }: JobPart) {
    const { stores, rate, author, timeoutMs } = options;
    const { clock, random } = author;
    const store = stores.main.name;
    this.#retries = new TableRetries({ clock, random, timeoutMs, signal, jobId: plan.jobId, store });
    this.#plan = plan;
    this.#options = options;
    this.#signal = signal;
    this.#stores = withSignal(stores, signal);
    this.#throttle = rate.of(signal);
    this.#seals = seals;
    this.#names = names;
    this.#maxSstBytes = plan.output.maxSstBytes;
  }

  async run(): Promise<JobResult> {
    const codecs = await this.#loadCodecs();
    for (let threads = 0; ; ) {
      const before = this.#outputs.length;
      const end = await this.#attempt(codecs).catch(interruption);
      if (!(end instanceof MergeInterrupted || end instanceof TableNotStored)) return this.#result(end);
      // From the last table after which it can go on.
      this.#outputs = this.#outputs.slice(0, this.#resume?.outputs ?? 0);
      if (this.#outputs.length > before) {
        this.#retries.progress();
        threads = 0;
      }
      if (end instanceof TableNotStored) await this.#notStored(end);
      else if (end.reason === 'thread') this.#noteThreadEnded(++threads, end.cause);
      else this.#isHere = true;
    }
  }

  async #notStored(end: TableNotStored): Promise<void> {
    const why = end.error?.message ?? 'no answer says whether it was stored';
    await this.#retries.failed(end);
    this.#options.logger.warn('a table of a compaction was not stored; it is written again', {
      job: this.#plan.jobId,
      error: why,
    });
  }

  #noteThreadEnded(threads: number, cause: unknown): void {
    const { jobId } = this.#plan;
    const why = describeThrown(cause);
    if (threads >= MOST_THREADS) {
      const message = `Compaction ${jobId} has ended: ${MOST_THREADS} threads that merged it have ended (${why}). It is begun again; option compactor.threads 'off' merges without threads.`;
      throw new UnavailableError('COMPACTION_FAILED', message, { details: { job: jobId }, cause });
    }
    this.#options.logger.warn('the thread that merged a compaction has ended; another one goes on', {
      job: jobId,
      error: why,
    });
  }

  async #loadCodecs(): Promise<Map<Codec, BlockCodec>> {
    const { sources, output } = this.#plan;
    const names = sources.flatMap(({ views }) => views.map(({ view }) => view.table.info.codec));
    const codecs = new Map<Codec, BlockCodec>();
    for (const name of new Set([...names, output.codec])) codecs.set(name, await loadCodec(name));
    return codecs;
  }

  // ---- from one table on

  /** To the end; rejects with `TableNotStored` where a table may not be there. */
  async #attempt(codecs: Map<Codec, BlockCodec>): Promise<Extract<MergeEvent, { kind: 'done' }>> {
    const { author, onFinding } = this.#options;
    const after = this.#resume?.point.after;
    const reading = { stores: this.#stores, throttle: this.#throttle, clock: author.clock, after, onFinding };
    const readers = this.#plan.sources.map((source) => new StretchReader(source, reading));
    let attempt: Attempt | undefined;
    try {
      const sizes = await mapLimit(readers, readers.length, (reader) => reader.open());
      attempt = await this.#begin(readers, sizes, codecs);
      for (;;) {
        const event = await attempt.host.next();
        if (event.kind === 'done') return event;
        await this.#handle(attempt, event);
      }
    } finally {
      attempt?.host.close();
      await this.#discard(attempt?.upload);
      for (const reader of readers) {
        await reader.close();
        this.#bytesIn += reader.bytesRead;
      }
    }
  }

  async #begin(
    readers: readonly StretchReader[],
    sizes: readonly (TableSize | undefined)[],
    codecs: Map<Codec, BlockCodec>,
  ): Promise<Attempt> {
    const { mergeOperator: operator, operatorModule, compactionFilter: filter, filterModule } = this.#options;
    const { shareBytes } = this.#options;
    const merges = this.#isHere ? this.#options.slices : this.#options.merges;
    const { output } = this.#plan;
    const known = sizes.filter((size) => size !== undefined);
    const rows = known.reduce((sum, size) => sum + size.rows, 0);
    const rowBytes = rows === 0 ? UNKNOWN_ROW_BYTES : known.reduce((sum, size) => sum + size.bytes, 0) / rows;
    const inputs = readers.length;
    const memory = divideMemory({ shareBytes, inputs, maxSstBytes: output.maxSstBytes, rowBytes, room: merges.room });
    this.#maxSstBytes = Math.max(memory.maxSstBytes, output.blockBytes);
    this.#holdBytes = memory.holdBytes;
    for (const reader of readers) reader.begin(memory.stretchBytes);
    const plan = { ...this.#plan, output: { ...output, maxSstBytes: this.#maxSstBytes } };
    const rowsExpected = Math.ceil(this.#storedBytes() / rowBytes);
    const settings = { plan, rowsExpected, rowBytes, partBytes: memory.partBytes, resume: this.#resume?.point };
    const host = await merges.start({
      settings,
      codecs,
      operator,
      operatorModule,
      filter,
      filterModule,
      seals: this.#seals,
      needsOperator: known.some(({ operands }) => operands > 0),
      signal: this.#signal,
    });
    const attempt: Attempt = { readers, host, names: [], upload: undefined };
    this.#name(attempt);
    return attempt;
  }

  /** Of the blocks of all inputs. */
  #storedBytes(): number {
    const views = this.#plan.sources.flatMap((source) => source.views);
    return views.reduce((sum, { view }) => sum + view.table.info.indexOffset, 0);
  }

  #name({ host, names }: Attempt): void {
    const name = this.#names.draw();
    names.push(name);
    host.name(name);
  }

  async #handle(attempt: Attempt, event: Exclude<MergeEvent, { kind: 'done' }>): Promise<void> {
    const { readers, host } = attempt;
    switch (event.kind) {
      case 'need': {
        const stretch = await readers[event.input].next();
        if (stretch === undefined) host.end(event.input);
        else host.feed(event.input, stretch);
        return;
      }
      case 'bad':
        host.heal(event.block.input, await readers[event.block.input].heal(event.block));
        return;
      case 'part': {
        const upload = (attempt.upload ??= this.#openUpload(attempt.names[0]));
        await this.#throttle.take(event.bytes.length);
        await this.#sent(() => upload.write(event.bytes));
        return;
      }
      case 'table':
        return this.#complete(attempt, event.table);
    }
  }

  #openUpload({ id, putId }: OutputName): ObjectUpload {
    const expectedBytes = this.#maxSstBytes;
    return openUpload(this.#stores.main, tablePath(id), {
      condition: 'if-absent',
      putId,
      expectedBytes,
      holdBytes: this.#holdBytes,
    });
  }

  async #complete(attempt: Attempt, merged: MergedTable): Promise<void> {
    const upload = present(attempt.upload, 'a table has bytes');
    const sinceMs = this.#options.author.clock.monotonicMs();
    const { outcome } = await this.#sent(() => upload.complete());
    attempt.upload = undefined;
    // Refused: the name, drawn at random, is taken; that is as good as not known.
    if (outcome !== 'applied') throw new TableNotStored(undefined, sinceMs);
    const { id } = present(attempt.names.shift(), 'a table has a name (job-run 1)');
    this.#outputs.push(outputOf(merged, { id, info: merged.info, formatVersion: 2 }));
    if (merged.resume !== undefined) this.#resume = { point: merged.resume, outputs: this.#outputs.length };
    this.#name(attempt);
  }

  /** A call of an upload. A failure that may pass ends the attempt: the bytes are gone, another one makes them again. */
  async #sent<T>(call: () => Promise<T>): Promise<T> {
    const sinceMs = this.#options.author.clock.monotonicMs();
    try {
      return await call();
    } catch (error) {
      if (isDbError(error) && isTransient(error)) throw new TableNotStored(error, sinceMs);
      throw error;
    }
  }

  /** What cannot be removed is for the collector: abandoned uploads are one of its classes. */
  async #discard(upload: ObjectUpload | undefined): Promise<void> {
    await upload?.abort().catch((error: unknown) => {
      this.#options.logger.debug('parts of an upload could not be removed; a collector does', { error: String(error) });
    });
  }

  // ---- the result

  async #result({ counts, droppedTombstones }: Extract<MergeEvent, { kind: 'done' }>): Promise<JobResult> {
    const { author, verifyOutputs: verify } = this.#options;
    const outputs = this.#outputs;
    const rows = outputs.reduce((sum, output) => sum + output.rows, 0);
    assertThat(rows === counts.rowsOut, 'the tables of a job have the rows that it counted', { rows, ...counts });
    const { clock, random } = author;
    const checking = { store: this.#stores.main, clock, throttle: this.#throttle, random, verify };
    await mapLimit(outputs, CHECKS_IN_FLIGHT, (output) => checkOutput(output, { ...checking, seals: this.#seals }));
    const changed = rowsGone(counts) - counts.repeated + counts.madeTombstones + counts.replaced;
    return {
      jobId: this.#plan.jobId,
      outputs,
      counts,
      bytesIn: this.#bytesIn,
      bytesOut: outputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      droppedTombstones,
      changedVersions: changed > 0,
    };
  }
}

function interruption(error: unknown): MergeInterrupted | TableNotStored {
  if (error instanceof MergeInterrupted || error instanceof TableNotStored) return error;
  throw error;
}

function outputOf(merged: MergedTable, table: JobOutput['table']): JobOutput {
  const { sizeBytes, rows, minSeq, maxSeq, maxCreateTs, info } = merged;
  const firstKey = present(info.firstEntry, 'a table that was built knows its first key');
  const lastKey = present(info.lastEntry, 'a table that was built knows its last key');
  return { table, sizeBytes, rows, minSeq, maxSeq, maxCreateTs, firstKey, lastKey };
}
