/**
 * An open database: a facade over the write path, the reads and the background work of one writer.
 *
 * Every method can be called at any time; after `close`, a takeover or a failure each rejects with the reason. All
 * background work starts from calls: an idle database makes no request and holds no timer.
 */
import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { ignoreRejection } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import { sleep, type Timer } from '../common/clock.ts';
import {
  AbortError,
  ClosedError,
  type CorruptionError,
  FencedError,
  InvalidArgumentError,
  isDbError,
  ManifestCorruptionError,
  UnavailableError,
} from '../common/errors.ts';
import { checkedOptions } from '../common/option-checks.ts';
import { type Manifest, tablesOf } from '../format/manifest-types.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import type { RepairReport } from '../recovery/repair-report.ts';
import { TOOL_ACCESS, type ToolAccess } from '../recovery/tool-access.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import { type CorruptionReport, CorruptionWatch } from './corruption-watch.ts';
import type { WriteResult } from './durability-waiters.ts';
import { estimateSize, type SizeEstimate } from './estimates.ts';
import { type Bytes, type RangeOptions, toKey, toRange, toValue } from './keys.ts';
import { RANGE_CHECKS, type ReadSource, Reads, type ScanOptions, type ValueWithMeta } from './reads.ts';
import type { ScanIterator } from './scan-iterator.ts';
import { Snapshot } from './snapshot.ts';
import type { TableFlusher } from './table-flusher.ts';
import type { WalFlusher } from './wal-flusher.ts';
import { WriteBatch } from './write-batch.ts';
import {
  type CloseOptions,
  type DeleteOptions,
  deleteOptions,
  type FlushOptions,
  flushOptions,
  type ReadOptions,
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
  onClosed(): void;
}

export class Db {
  readonly #p: DbParts;
  readonly #reads: Reads;
  readonly #source: ReadSource;
  #closing: Promise<void> | undefined;
  #pollTimer: Timer | undefined;
  #wroteSincePoll = false;

  /** Use `open`. */
  constructor(parts: DbParts) {
    this.#p = parts;
    const { state, manifests } = parts;
    this.#source = {
      clock: state.clock,
      turns: state.turns,
      nowMs: state.options.hideExpired ? () => state.clock.nowMs() : undefined,
      mergeOperator: state.options.mergeOperator,
      policy: state.options.corruptionPolicy,
      watch: new CorruptionWatch(parts.tableStore.damage, state.options.onCorruption, state.logger),
      view: () => state.view,
      maxSeq: (remoteOnly) => (remoteOnly ? state.durableSeq : state.lastSeq),
      assertServing: () => this.#assertServing(),
      renewView: async (error) => {
        await manifests.refresh();
        return !namesMissingTable(manifests.current.manifest, error);
      },
    };
    this.#reads = new Reads(this.#source);
    state.onEnd(() => {
      this.#pollTimer?.cancel();
      parts.tableStore.dispose();
    });
  }

  /** Path of the database in its store. */
  get path(): string {
    return this.#p.stores.path;
  }

  get store(): { readonly name: string } {
    return { name: this.#p.stores.main.name };
  }

  /**
   * Resolves when the database serves: at once, but with the option `walAutoRecovery` only after the log was replayed. With the
   * report if the log had to be repaired for that, else undefined. Rejects with the reason if it cannot serve.
   */
  ready(): Promise<RepairReport | undefined> {
    return this.#source.turns.give(undefined);
  }

  /**
   * Writes a value. Resolves with the sequence number when it is durable (default) or at once with `awaitDurable: false`;
   * either way it is visible to reads when the call returns. One PUT, shared with every write that comes meanwhile.
   *
   * Rejects with `InvalidArgumentError` (nothing happened), `UnavailableError` (`outcome` says whether it may still take
   * effect), `FencedError`, `ClosedError`, `AbortError`.
   */
  put(key: Bytes, value: Bytes, options?: WriteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      const o = options === undefined ? undefined : writeOptions('put', options);
      return this.#p.writer.put(toKey(key), toValue(value), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  /** Deletes a key, whether it exists or not; a time to live is refused (`BAD_OPTION`). Like `put` in everything else. */
  delete(key: Bytes, options?: DeleteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      const o = options === undefined ? undefined : deleteOptions(options);
      return this.#p.writer.delete(toKey(key), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  /** Adds a merge operand; `IncompatibleError` (`MERGE_OPERATOR_MISSING`) without the option `mergeOperator`. Like `put` in everything else. */
  merge(key: Bytes, operand: Bytes, options?: WriteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      const o = options === undefined ? undefined : writeOptions('merge', options);
      return this.#p.writer.merge(toKey(key), toValue(operand), o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  /** Applies a batch whole or not at all, under one sequence number. The batch can be used again afterwards. */
  write(batch: WriteBatch, options?: WriteOptions): Promise<WriteResult> {
    try {
      this.#assertWriting();
      if (!WriteBatch.isBatch(batch)) throw new InvalidArgumentError('BAD_ARGUMENT', 'write needs a WriteBatch.');
      const o = options === undefined ? undefined : writeOptions('write', options);
      return this.#p.writer.write(batch, o);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  /** The value, or undefined. From memory or cache no request; cold at most two for each table that may hold the key. */
  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#reads.get(key, options);
  }

  /** Values in the order of the keys, all of one moment. With damage it rejects at the end; the error's `results` has the outcome of each key. */
  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#reads.getMany(keys, options);
  }

  has(key: Bytes, options?: ReadOptions): Promise<boolean> {
    return this.#reads.has(key, options);
  }

  /** The value with its sequence number and times, and whether a newer one may lie in a damaged stretch. */
  getWithMeta(key: Bytes, options?: ReadOptions): Promise<ValueWithMeta | undefined> {
    return this.#reads.getWithMeta(key, options);
  }

  /** Rows in key order over the view of this moment. Cold, reads ahead: 16 KiB, then twice as much up to 1 MiB a request. */
  scan(options?: ScanOptions): ScanIterator {
    return this.#reads.scan(options);
  }

  /**
   * Pins the present state for reads in this process, until it is closed: all its reads show the rows of this moment, and judge
   * by the clock of this moment, too, which of them have expired. No request; nothing that it can see is dropped by flushes.
   */
  snapshot(): Snapshot {
    this.#assertServing();
    const { state } = this.#p;
    const pin = state.pin();
    return new Snapshot({ pin, source: this.#source, release: () => state.unpin(pin) });
  }

  /** Rows and bytes of a range as metadata tells them; every version counts. One GET for each table not yet read. */
  estimateSize(range: RangeOptions = {}): Promise<SizeEstimate> {
    return this.#source.turns.after(this.#estimateSize(range));
  }

  async #estimateSize(range: RangeOptions): Promise<SizeEstimate> {
    this.#assertServing();
    const keys = toRange(checkedOptions<RangeOptions>('estimateSize', range, RANGE_CHECKS));
    return keys === undefined ? { rows: 0, bytes: 0, tables: 0 } : estimateSize(this.#p.state.view, keys);
  }

  /** Resolves when all writes so far are durable: in the log, or with `memtable` in tables that the manifest names. */
  flush(options: FlushOptions = {}): Promise<void> {
    return this.#source.turns.after(this.#flush(options));
  }

  async #flush(options: FlushOptions): Promise<void> {
    this.#assertWriting();
    const { type = 'wal', signal } = flushOptions(options);
    stopIfAborted(signal);
    const { state, wal } = this.#p;
    const work = type === 'wal' && wal !== undefined ? wal.flush() : this.#flushTables();
    await untilAborted(this.#within(work, state.options.timeoutMs, 'flush'), signal, waitAborted);
  }

  async #flushTables(): Promise<void> {
    const { writer, wal, tables, state } = this.#p;
    writer.freeze();
    const waiting = state.frozen.map((f) => tables.committed(f));
    for (const w of waiting) ignoreRejection(w);
    await wal?.flush();
    await Promise.all(waiting);
  }

  /** The damage that reads of this handle have met, and what it did to them. No request. */
  corruptions(): CorruptionReport {
    return { ...this.#source.watch.report(), lost: this.#p.tableStore.lost };
  }

  /** For the tools of this package. */
  [TOOL_ACCESS](): ToolAccess {
    this.#assertServing();
    const { stores, state, manifests, tableStore } = this.#p;
    const { clock, random, owner } = state.options;
    return {
      stores,
      clock,
      random,
      owner,
      author: manifests.author,
      unflushedBytes: state.unflushedBytes,
      manifest: () => manifests.current,
      refresh: () => manifests.refresh(),
      reloadLedger: async () => {
        await tableStore.reloadLedger(manifests.current);
        state.refreshView(tableStore.view(manifests.current.manifest));
      },
      flush: () => this.#flushTables(),
      commit: async (change, options) => {
        await manifests.commit(change, options);
        if (await tableStore.loadLedger(manifests.current)) {
          state.refreshView(tableStore.view(manifests.current.manifest));
        }
        return manifests.current;
      },
    };
  }

  /** Requests and bytes since the database was opened, in all and by role of the object. */
  requestCounts(): RequestCountsByRole {
    return this.#p.stores.counts();
  }

  /**
   * Makes everything durable, writes a last manifest and ends all work, within `closeTimeoutMs`. Idempotent: every call
   * settles with the first one. Rejects with `UnavailableError` (`DEADLINE`, `outcome: 'unknown'`) if time ran out; the
   * handle is closed all the same. An `AbortError` of its signal ends this wait only: the closing goes on.
   */
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
    const { state, onClosed } = this.#p;
    try {
      if (state.ended === undefined) {
        await this.#within(this.#drain(), state.options.closeTimeoutMs, 'close', 'closeTimeoutMs');
      }
    } catch (error) {
      // Whoever took over owns the data now: nothing is left to do here.
      if (!(error instanceof FencedError)) throw error;
    } finally {
      state.close();
      onClosed();
    }
  }

  async #drain(): Promise<void> {
    const { writer, wal, manifests, state } = this.#p;
    await writer.drained();
    await this.#flushTables();
    const lastWalId = wal?.lastDurableId;
    await manifests.commit(
      (m) => ({
        ...m,
        walIdLastSeen: Math.max(m.walIdLastSeen, lastWalId ?? 0),
        // All rows of the log are in tables: the next opening has nothing to replay, not even our fence.
        replayAfterWalId: Math.max(m.replayAfterWalId, lastWalId ?? 0),
        recentSnapshotMinSeq: m.lastL0Seq,
      }),
      { cleanClose: true },
    );
    state.close();
  }

  async #within(work: Promise<void>, timeoutMs: number, call: string, option = 'timeoutMs'): Promise<void> {
    ignoreRejection(work);
    const timer = new AbortController();
    const { state, tables } = this.#p;
    const { clock, where } = state;
    const deadline = sleep(clock, timeoutMs, timer.signal).then(() => {
      const late = `${where}: ${call} did not finish within ${timeoutMs} ms (option ${option}).`;
      const { trouble } = tables;
      const fields = { outcome: 'unknown' as const };
      if (trouble === undefined) throw new UnavailableError('DEADLINE', late, fields);
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

  /** Looks for manifests of others while this database writes: a takeover is sure to be seen only because of this. */
  noteWrite(): void {
    this.#wroteSincePoll = true;
    if (this.#pollTimer !== undefined) return;
    const { state } = this.#p;
    this.#pollTimer = state.clock.setTimer(state.options.manifestPollIntervalMs, () => this.#poll(), false);
  }

  #poll(): void {
    this.#pollTimer = undefined;
    if (!this.#wroteSincePoll || this.#p.state.ended !== undefined) return;
    this.#wroteSincePoll = false;
    const { manifests, state } = this.#p;
    manifests.refresh().then(
      () => undefined,
      (error) => {
        if (state.ended !== undefined) return;
        if (error instanceof FencedError || error instanceof ManifestCorruptionError) state.fail(error);
        else state.logger.warn('the manifests could not be listed; trying again', { error: String(error) });
      },
    );
  }
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
