/**
 * A read-only view of a database: writes nothing, fences nobody, pins nothing.
 *
 * It shows the tables of one manifest and the rows of the log behind it, as they were at the opening or the last `refresh`.
 * Because it pins nothing, a collector may delete what it reads: then a read says `VIEW_EXPIRED`.
 */
import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { ignoreRejection } from '../common/async.ts';
import {
  ClosedError,
  type CorruptionError,
  InvalidArgumentError,
  isCorruption,
  ManifestCorruptionError,
  UnavailableError,
} from '../common/errors.ts';
import { tellFinding } from '../common/events.ts';
import type { DatabaseStores } from '../lsm/database-stores.ts';
import { EpochGuard } from '../lsm/epoch-guard.ts';
import { listManifestIds } from '../lsm/manifest-store.ts';
import { Memtable } from '../lsm/memtable.ts';
import { assertParentsInReach } from '../lsm/parents.ts';
import type { ReadView } from '../lsm/point-lookup.ts';
import type { TableStore } from '../lsm/tree-view.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import { type CorruptionReport, CorruptionWatch } from './corruption-watch.ts';
import { assertUsable, type Discovery, findNewest, isNothingThere, lookAround } from './discover.ts';
import type { Bytes } from './keys.ts';
import type { ResolvedOptions } from './options.ts';
import { Reads, type ScanOptions, type ValueWithMeta } from './reads.ts';
import { applyRows } from './replay.ts';
import type { ScanIterator } from './scan-iterator.ts';
import { Turns } from './turns.ts';
import { WalRange } from './wal-range.ts';
import { type CloseOptions, type ReadOptions, type RefreshOptions, waitOptions } from './write-options.ts';

const MAX_ROUNDS = 100;

interface State {
  manifestId: number;
  view: ReadView;
  lastSeq: number;
}

export class DbReader {
  readonly #stores: DatabaseStores;
  readonly #options: ResolvedOptions;
  readonly #tableStore: TableStore;
  readonly #reads: Reads;
  readonly #watch: CorruptionWatch;
  readonly #onClosed: () => void;
  #state: State;
  #refreshing: Promise<void> | undefined;
  #closed = false;

  /** Use `openReader`. */
  constructor(
    stores: DatabaseStores,
    options: ResolvedOptions,
    tableStore: TableStore,
    state: State,
    onClosed: () => void,
  ) {
    this.#stores = stores;
    this.#options = options;
    this.#tableStore = tableStore;
    this.#state = state;
    this.#onClosed = onClosed;
    this.#watch = new CorruptionWatch(tableStore.damage, options.onCorruption, options.logger);
    this.#reads = new Reads({
      policy: options.corruptionPolicy,
      watch: this.#watch,
      clock: options.clock,
      turns: new Turns(options.clock),
      nowMs: options.hideExpired ? () => options.clock.nowMs() : undefined,
      mergeOperator: options.mergeOperator,
      view: () => this.#state.view,
      // All a reader sees is durable.
      maxSeq: () => this.#state.lastSeq,
      assertServing: () => this.#assertOpen(),
      renewView: (error) => this.#judgeMissing(error),
    });
  }

  static async open(
    stores: DatabaseStores,
    options: ResolvedOptions,
    tableStore: TableStore,
    onClosed: () => void,
  ): Promise<DbReader> {
    const state = await loadState(stores, options, tableStore);
    return new DbReader(stores, options, tableStore, state, onClosed);
  }

  /** Path of the database in its store. */
  get path(): string {
    return this.#stores.path;
  }

  get store(): { readonly name: string } {
    return { name: this.#stores.main.name };
  }

  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#reads.get(key, options);
  }

  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#reads.getMany(keys, options);
  }

  has(key: Bytes, options?: ReadOptions): Promise<boolean> {
    return this.#reads.has(key, options);
  }

  getWithMeta(key: Bytes, options?: ReadOptions): Promise<ValueWithMeta | undefined> {
    return this.#reads.getWithMeta(key, options);
  }

  scan(options?: ScanOptions): ScanIterator {
    return this.#reads.scan(options);
  }

  /** Shows what is stored now; never goes back. As many requests as opening. Concurrent calls share one. */
  refresh(options?: RefreshOptions): Promise<void> {
    let signal: AbortSignal | undefined;
    try {
      ({ signal } = waitOptions('refresh', options));
      stopIfAborted(signal);
      this.#assertOpen();
    } catch (error) {
      return Promise.reject(error);
    }
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    if (signal === undefined) return this.#refreshing;
    ignoreRejection(this.#refreshing);
    return untilAborted(this.#refreshing, signal);
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError('CLOSED', 'The reader is closed.');
  }

  async #refresh(): Promise<void> {
    const next = await loadState(this.#stores, this.#options, this.#tableStore).catch((error: unknown) => {
      // Requests of a reader that was closed are aborted: that is the reason then.
      this.#assertOpen();
      throw error;
    });
    const isBack = next.manifestId < this.#state.manifestId || next.lastSeq < this.#state.lastSeq;
    if (!isBack && !this.#closed) this.#state = next;
  }

  async #judgeMissing(error: CorruptionError): Promise<boolean> {
    const ids = await listManifestIds(this.#stores.main, this.#state.manifestId);
    if ((ids[ids.length - 1] ?? 0) <= this.#state.manifestId) return false;
    throw new UnavailableError(
      'VIEW_EXPIRED',
      `${this.#stores.main.name}: a table that this reader shows was collected; call refresh() and read again.`,
      { cause: error },
    );
  }

  /** The damage that reads of this handle have met, and what it did to them. No request. */
  corruptions(): CorruptionReport {
    return { ...this.#watch.report(), lost: this.#tableStore.lost };
  }

  requestCounts(): RequestCountsByRole {
    return this.#stores.counts();
  }

  close(options?: CloseOptions): Promise<void> {
    try {
      waitOptions('close', options);
    } catch (error) {
      return Promise.reject(error);
    }
    if (!this.#closed) {
      this.#closed = true;
      this.#tableStore.dispose();
      this.#onClosed();
    }
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function loadState(stores: DatabaseStores, options: ResolvedOptions, tableStore: TableStore): Promise<State> {
  const guard = new EpochGuard(options.clock, stores.latestStoreTimesMs);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const place = await lookAround(stores, guard, false);
    if (place.manifestIds.length === 0) {
      if (!(await isNothingThere(stores, place))) continue;
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${stores.main.name} (${stores.path}): no database is here. Check the path.`,
      );
    }
    const found = await findNewest(stores, place, options, async () => undefined);
    assertUsable(stores, found);
    await assertParentsInReach(stores, found.newest.manifest);
    const wal = new WalRange(stores, options);
    await wal.load(found.newest);
    const verdict = wal.verdict(found.newest);
    if (verdict !== undefined) {
      const ids = await listManifestIds(stores.main, found.newest.id);
      if (ids.some((id) => id > found.newest.id)) continue;
      const isAboutLog = isCorruption(verdict) && !(verdict instanceof ManifestCorruptionError);
      if (!options.allowPrefix || !isAboutLog) throw verdict;
      options.logger.warn('the log is damaged; rows before the damage are served', { error: verdict.message });
      for (const finding of verdict.findings) tellFinding(options, 'damage in the log', finding);
    }
    return build(found, wal, verdict === undefined ? wal.end : wal.prefixEnd, options, tableStore);
  }
  throw new UnavailableError('DEADLINE', `${stores.main.name}: the manifests changed faster than they could be read.`);
}

async function build(
  found: Discovery,
  wal: WalRange,
  lastWalId: number,
  options: ResolvedOptions,
  tableStore: TableStore,
): Promise<State> {
  const { manifest, id } = found.newest;
  await tableStore.loadLedger(found.newest);
  const memtable = new Memtable();
  let lastSeq = manifest.lastL0Seq;
  for (let walId = wal.from; walId <= lastWalId; walId++) {
    const object = await wal.take(walId);
    await applyRows(object, memtable, manifest.lastL0Seq, options.clock);
    lastSeq = Math.max(lastSeq, object.maxSeq);
    if (memtable.memoryBytes > options.memoryBytes) throw tooMuchLog(memtable.memoryBytes, options);
  }
  return { manifestId: id, view: { memtables: [memtable], tree: tableStore.view(manifest) }, lastSeq };
}

function tooMuchLog(bytes: number, options: ResolvedOptions): UnavailableError {
  return new UnavailableError(
    'OVERLOADED',
    `The rows of the log that are in no table yet need more than ${bytes} bytes; the limit is ${options.memoryBytes} (option memoryBytes). Raise it, or let the writer flush its memtable.`,
  );
}
