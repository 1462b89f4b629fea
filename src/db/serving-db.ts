/**
 * An open database: a facade over the write path, the reads and the background work of one writer.
 *
 * 1. Every method can be called at any time; after `close`, a takeover or a failure each rejects with the reason.
 * 2. All background work starts from calls, or is upkeep that is due: an idle database in which nothing can be collected makes no request
 *    and holds no timer. Not asserted: a test counts both.
 * 3. A manifest is marked as a clean close only when all rows are in tables that it names: then the log is not read again.
 */
import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { COMPACT } from '../common/advice.ts';
import { ignoreRejection } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import { sleep } from '../common/clock.ts';
import type { CompactionReport } from '../common/compactor-role.ts';
import {
  AbortError,
  ClosedError,
  type CorruptionError,
  FencedError,
  InvalidArgumentError,
  isDbError,
  UnavailableError,
} from '../common/errors.ts';
import type { Metrics } from '../common/metrics.ts';
import { checkedOptions } from '../common/option-checks.ts';
import type { Random } from '../common/random.ts';
import { type Manifest, tablesOf } from '../format/manifest-types.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { moveReplayPoint } from '../lsm/manifest/manifest-edits.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { ScanRange } from '../lsm/read/visible-rows.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import type { RepairReport } from '../recovery/repair-report.ts';
import { TOOL_ACCESS, type ToolAccess, type ToolHandle } from '../recovery/tool-access.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import { ByteReads } from './byte-reads.ts';
import { ConditionalWrites, conditionOf } from './conditional-write.ts';
import { type CorruptionListener, type CorruptionReport, CorruptionWatch } from './corruption-watch.ts';
import { countedOperator } from './counts.ts';
import type { Batch, Db } from './db.ts';
import {
  type DeleteRangeOptions,
  type DeleteRangeResult,
  deleteRangeOptions,
  RangeDeletion,
  rangeToDelete,
} from './delete-range.ts';
import type { WriteResult } from './durability-waiters.ts';
import type { EncodingOptions } from './encoding.ts';
import { estimateSize, type SizeEstimate } from './estimates.ts';
import { writerMetrics } from './handle-metrics.ts';
import type { HandleMonitor } from './handle-monitor.ts';
import { type Bytes, type RangeOptions, toKey, toRange, toValue } from './keys.ts';
import type { WriterSettings } from './open-options.ts';
import { PinnedSnapshot } from './pinned-snapshot.ts';
import { RANGE_CHECKS, ReadPath, type ReadSource } from './read-path.ts';
import { BYTES_CODEC } from './row-codec.ts';
import type { Pin, SnapshotPins } from './snapshot-pins.ts';
import type { TableFlusher } from './table-flusher.ts';
import type { Upkeep, UpkeepState } from './upkeep.ts';
import type { WalFlusher } from './wal-flusher.ts';
import { WriteBatch } from './write-batch.ts';
import { CodedBatch, writeLevel } from './write-level.ts';
import {
  type CloseOptions,
  type CompactOptions,
  type DeleteOptions,
  deleteOptions,
  type FlushOptions,
  flushOptions,
  type PutRowOptions,
  putOptions,
  type TouchOptions,
  touchOptions,
  type WriteOptions,
  waitOptions,
  writeOptions,
} from './write-options.ts';
import { endedWaiter, type WriteState } from './write-state.ts';
import type { Writer } from './writer.ts';

export interface DbParts {
  stores: DatabaseStores;
  state: WriteState;
  writer: Writer;
  wal: WalFlusher | undefined;
  tables: TableFlusher;
  tableStore: TableStore;
  manifests: ManifestLog;
  pins: SnapshotPins;
  upkeep: Upkeep;
  monitor: HandleMonitor;
  settings: Pick<
    WriterSettings,
    'awaitDurable' | 'closeTimeoutMs' | 'corruptionPolicy' | 'hideExpired' | 'owner' | 'timeoutMs'
  >;
  mergeOperator: MergeOperator | undefined;
  onCorruption: CorruptionListener | undefined;
  random: Random;
  onClosed(): void;
}

export class ServingDb extends ByteReads implements Db, ToolHandle {
  readonly #p: DbParts;
  readonly #source: ReadSource;
  readonly #reads: ReadPath;
  readonly #conditional: ConditionalWrites;
  #flushesForCompaction = 0;
  #closing: Promise<void> | undefined;

  constructor(parts: DbParts) {
    const { state, manifests, settings } = parts;
    const { reads: counts } = parts.monitor;
    const source: ReadSource = {
      clock: state.clock,
      turns: state.turns,
      nowMs: settings.hideExpired ? () => state.clock.nowMs() : undefined,
      mergeOperator: countedOperator(parts.mergeOperator, counts),
      counts,
      policy: settings.corruptionPolicy,
      watch: new CorruptionWatch(parts.tableStore.damage, parts.onCorruption, state.logger),
      view: () => state.view,
      maxSeq: (remoteOnly) => (remoteOnly ? state.durableSeq : state.lastSeq),
      assertServing: () => this.#assertServing(),
      renewView: async (error) => {
        await manifests.refresh();
        return !namesMissingTable(manifests.current.manifest, error);
      },
    };
    const path = new ReadPath(source);
    super(path);
    this.#reads = path;
    this.#p = parts;
    this.#source = source;
    this.#conditional = new ConditionalWrites({
      state,
      writer: parts.writer,
      source,
      assertWriting: () => this.#assertWriting(),
      awaitDurable: settings.awaitDurable,
    });
  }

  get path(): string {
    return this.#p.stores.path;
  }

  get store(): { readonly name: string } {
    return { name: this.#p.stores.main.name };
  }

  ready(): Promise<RepairReport | undefined> {
    return this.#source.turns.give(undefined);
  }

  put(key: Bytes, value: Bytes, options?: PutRowOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      const o = options === undefined ? undefined : putOptions(options);
      const expected = conditionOf(o);
      if (o !== undefined && expected !== undefined)
        return this.#conditional.put(toKey(key), toValue(value), expected, o);
      return this.#p.writer.put(toKey(key), toValue(value), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  delete(key: Bytes, options?: DeleteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      const o = options === undefined ? undefined : deleteOptions(options);
      const expected = conditionOf(o);
      if (o !== undefined && expected !== undefined) return this.#conditional.delete(toKey(key), expected, o);
      return this.#p.writer.delete(toKey(key), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  merge(key: Bytes, operand: Bytes, options?: WriteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      const o = options === undefined ? undefined : writeOptions('merge', options);
      return this.#p.writer.merge(toKey(key), toValue(operand), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  write(batch: WriteBatch, options?: WriteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      if (!WriteBatch.isBatch(batch)) throw new InvalidArgumentError('BAD_ARGUMENT', 'write needs a WriteBatch.');
      const o = options === undefined ? undefined : writeOptions('write', options);
      if (batch.conditions.length > 0) return this.#conditional.write(batch, o);
      return this.#p.writer.write(batch, o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  touch(key: Bytes, options: TouchOptions): Promise<WriteResult | undefined> {
    try {
      this.#assertWriting();
      const o = touchOptions(options);
      return this.#conditional.touch(toKey(key), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  deleteRange(range: RangeOptions, options?: DeleteRangeOptions): Promise<DeleteRangeResult> {
    return this.#deleteRange('deleteRange', () => rangeToDelete(range), options);
  }

  clear(options?: DeleteRangeOptions): Promise<DeleteRangeResult> {
    return this.#deleteRange('clear', () => ({ gte: undefined, lt: undefined }), options);
  }

  #deleteRange(
    call: string,
    rangeOf: () => ScanRange | undefined,
    options: DeleteRangeOptions | undefined,
  ): Promise<DeleteRangeResult> {
    const { turns } = this.#source;
    try {
      this.#assertWriting();
      const { state, writer, settings } = this.#p;
      const o = deleteRangeOptions(call, options);
      const range = rangeOf();
      if (range === undefined) return turns.give({ deleted: 0, seq: BigInt(state.lastSeq) });
      const parts = { state, writer, reads: this.#reads, assertWriting: () => this.#assertWriting() };
      return turns.after(new RangeDeletion(parts, range, o).run(o.awaitDurable ?? settings.awaitDurable));
    } catch (error) {
      return turns.refuse(error);
    }
  }

  override readonly sublevel: Db['sublevel'] = (name: string, options?: EncodingOptions) =>
    writeLevel(this, BYTES_CODEC, '', name, options);

  batch(): Batch {
    return new CodedBatch(this, BYTES_CODEC);
  }

  snapshot(): PinnedSnapshot {
    this.#assertServing();
    const { state, pins, monitor } = this.#p;
    const pin = pins.pin(state.lastSeq);
    const release = (snapshot: object) => {
      monitor.snapshotClosed(snapshot);
      pins.unpin(pin);
    };
    const snapshot = new PinnedSnapshot({ pin, source: this.#source, release });
    monitor.snapshotOpened(snapshot, unpinning(pins, pin));
    return snapshot;
  }

  estimateSize(range: RangeOptions = {}): Promise<SizeEstimate> {
    return this.#source.turns.after(this.#estimateSize(range));
  }

  async #estimateSize(range: RangeOptions): Promise<SizeEstimate> {
    this.#assertServing();
    const keys = toRange(checkedOptions<RangeOptions>('estimateSize', range, RANGE_CHECKS));
    return keys === undefined ? { rows: 0, bytes: 0, tables: 0 } : estimateSize(this.#p.state.view, keys);
  }

  flush(options: FlushOptions = {}): Promise<void> {
    return this.#source.turns.after(this.#flush(options));
  }

  async #flush(options: FlushOptions): Promise<void> {
    this.#assertWriting();
    const { type = 'wal', signal } = flushOptions(options);
    stopIfAborted(signal);
    const { wal, settings } = this.#p;
    const needsTables = type !== 'wal' || wal === undefined;
    if (needsTables) this.#p.state.counts.tableFlushCalls++;
    else this.#p.state.counts.walFlushCalls++;
    const work = needsTables ? this.#flushTables() : wal.flush();
    await untilAborted(this.#within(work, settings.timeoutMs, 'flush', { needsTables }), signal, waitAborted);
  }

  async #flushTables(): Promise<void> {
    const { writer, wal, tables, state } = this.#p;
    writer.freeze();
    const waiting = state.frozen.map((f) => tables.committed(f));
    for (const w of waiting) ignoreRejection(w);
    await wal?.flush();
    await Promise.all(waiting);
  }

  compact(options?: CompactOptions): Promise<CompactionReport> {
    return this.#source.turns.after(this.#compact(options));
  }

  async #compact(options: CompactOptions | undefined): Promise<CompactionReport> {
    this.#assertWriting();
    const { signal } = waitOptions('compact', options);
    stopIfAborted(signal);
    const { upkeep, state, tables } = this.#p;
    if (!upkeep.canCompact) throw noCompactor(state.where);
    // Where rows in memory wait for a place in level 0, it may be that nothing but this makes one; and if it cannot, there come no more.
    const first = tables.hasRoom ? undefined : await upkeep.compact(signal);
    await untilAborted(this.#flushForCompaction(), signal, waitAborted);
    const { jobs } = await upkeep.compact(signal);
    return { jobs: [...(first?.jobs ?? []), ...jobs] };
  }

  /** However many tables there are then: all of them are merged next. */
  async #flushForCompaction(): Promise<void> {
    const { tables, settings } = this.#p;
    this.#flushesForCompaction++;
    tables.isUnlimited = true;
    try {
      await this.#within(this.#flushTables(), settings.timeoutMs, 'its flush');
    } catch (error) {
      if (!isDbError(error) || error instanceof ClosedError || error instanceof FencedError) throw error;
      const message = `The compaction of everything has failed, because rows in memory could not become a table: ${error.message}`;
      throw new UnavailableError('COMPACTION_FAILED', message, { retryable: error.retryable, cause: error });
    } finally {
      if (--this.#flushesForCompaction === 0 && this.#closing === undefined) tables.isUnlimited = false;
    }
  }

  corruptions(): CorruptionReport {
    return { ...this.#source.watch.report(), lost: this.#p.tableStore.lost };
  }

  /** For the tools of this package. */
  [TOOL_ACCESS](): ToolAccess {
    this.#assertServing();
    const { stores, state, manifests, tableStore, settings, random, upkeep } = this.#p;
    return {
      stores,
      clock: state.clock,
      random,
      owner: settings.owner,
      author: manifests.author,
      unflushedBytes: state.unflushedBytes,
      manifest: () => manifests.current,
      refresh: () => manifests.refresh(),
      reloadLedger: async () => {
        await tableStore.reloadLedger(manifests.current);
        state.refreshView(tableStore.view(manifests.current.manifest));
      },
      flush: () => this.#flushTables(),
      compact: (signal) => this.#compact({ signal }),
      pauseUpkeep: () => upkeep.pause(),
      commit: async (change, options) => {
        await manifests.commit(change, options);
        if (await tableStore.loadLedger(manifests.current)) {
          state.refreshView(tableStore.view(manifests.current.manifest));
        }
        return manifests.current;
      },
    };
  }

  upkeep(): UpkeepState {
    this.#assertServing();
    const { upkeep, manifests, stores } = this.#p;
    return upkeep.state(manifests.current, stores);
  }

  requestCounts(): RequestCountsByRole {
    return this.#p.stores.counts();
  }

  metrics(): Metrics {
    const { stores, state, wal, pins, upkeep, monitor, manifests, tableStore: tables } = this.#p;
    const { lastSeq } = state;
    const handle = { component: 'db', stores, monitor, tables, manifest: manifests.current, lastSeq } as const;
    return writerMetrics({ ...handle, state, wal, pins, upkeep, manifestRefreshes: manifests.refreshes });
  }

  close(options?: CloseOptions): Promise<void> {
    let signal: AbortSignal | undefined;
    try {
      ({ signal } = waitOptions('close', options));
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
    this.#closing ??= this.#close();
    ignoreRejection(this.#closing);
    return this.#source.turns.after(untilAborted(this.#closing, signal, waitAborted));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { state, settings, upkeep, onClosed } = this.#p;
    try {
      if (state.ended === undefined) {
        await this.#within(this.#drain(), settings.closeTimeoutMs, 'close', { option: 'closeTimeoutMs' });
      }
    } catch (error) {
      // The writer that took over owns the data now: nothing is left to do here.
      if (!(error instanceof FencedError)) throw error;
    } finally {
      state.close();
      await upkeep.end();
      onClosed();
    }
  }

  async #drain(): Promise<void> {
    const { writer, wal, tables, manifests, state, upkeep } = this.#p;
    // Cut off now, waited for later: in between it asks for nothing.
    const stopped = upkeep.stop();
    await writer.drained();
    if (wal !== undefined && !tables.hasRoom) {
      // Rows that are durable in the log need no table to end: the next opening replays them.
      await wal.flush();
      await stopped;
      state.close();
      return;
    }
    tables.isUnlimited = true;
    await this.#flushTables();
    await stopped;
    state.mustHold(
      state.active.rowCount === 0 && state.frozen.length === 0,
      'all rows are in tables when a database is closed cleanly (serving-db 3)',
    );
    const lastWalId = wal?.lastDurableId;
    await manifests.commit(
      // All rows of the log are in tables: the next opening has nothing to replay, not even our fence.
      (m) => ({ ...moveReplayPoint(m, lastWalId ?? 0), recentSnapshotMinSeq: m.lastL0Seq }),
      { cleanClose: true },
    );
    state.close();
  }

  /** `needsTables`: the work ends when rows of memory are tables of level 0. */
  async #within(
    work: Promise<void>,
    timeoutMs: number,
    call: string,
    { option = 'timeoutMs', needsTables = false }: { option?: string; needsTables?: boolean } = {},
  ): Promise<void> {
    ignoreRejection(work);
    const timer = new AbortController();
    const { state, tables } = this.#p;
    const { clock, where } = state;
    const deadline = sleep(clock, timeoutMs, timer.signal).then(() => {
      const late = `${where}: ${call} did not finish within ${timeoutMs} ms (option ${option}).`;
      const { trouble } = tables;
      const fields = { outcome: 'unknown' as const };
      const { stall } = tables;
      const why = stall === undefined || !needsTables ? late : `${late} ${stall}`;
      if (trouble === undefined) throw new UnavailableError('DEADLINE', why, fields);
      const message = `${late} The last attempt failed: ${describeThrown(trouble)}`;
      throw new UnavailableError('DEADLINE', message, { ...fields, cause: trouble });
    });
    ignoreRejection(deadline);
    try {
      await Promise.race([work, deadline]);
    } catch (error) {
      const { ended } = state;
      const isSilent = ended !== undefined && isDbError(error) && error.outcome === undefined;
      throw isSilent ? endedWaiter(ended, 'unknown') : error;
    } finally {
      timer.abort();
    }
  }

  #assertServing(): void {
    const { state } = this.#p;
    if (state.ended !== undefined) throw state.ended;
    if (this.#closing !== undefined) throw new ClosedError('CLOSED', `${state.where}: the database is being closed.`);
  }

  /** Like `#assertServing`, for calls whose failure must say what became of them. */
  #assertWriting(): void {
    try {
      this.#assertServing();
    } catch (error) {
      throw endedWaiter(error as FencedError | ClosedError, 'not-applied');
    }
  }
}

/** For a snapshot that was dropped, which it does not know. */
function unpinning(pins: SnapshotPins, pin: Pin): () => void {
  return () => pins.unpin(pin);
}

function noCompactor(where: string): InvalidArgumentError {
  const message = `${where}: this handle has no compactor (option compactor). Open the database with one, or close it and run \`${COMPACT}\`.`;
  return new InvalidArgumentError('BAD_ARGUMENT', message);
}

function namesMissingTable(manifest: Manifest, error: CorruptionError): boolean {
  const missing = error.findings.filter((f) => f.code === 'MISSING_OBJECT').map((f) => f.object.id);
  return tablesOf(manifest).some((table) => missing.includes(table.id));
}

function waitAborted(signal: AbortSignal): AbortError {
  return new AbortError('The wait was aborted; what was waited for goes on.', {
    outcome: 'unknown',
    cause: signal.reason,
  });
}
