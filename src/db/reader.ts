/**
 * A read-only view of a database: writes nothing, fences nobody, pins nothing.
 *
 * It shows the tables of one manifest and the rows of the log after it, as they were at the opening or the last `refresh`.
 * Because it pins nothing, a collector may delete what it reads: then a read says `VIEW_EXPIRED`.
 */
import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { ignoreRejection } from '../common/async.ts';
import { equalBytes } from '../common/bytes.ts';
import {
  ClosedError,
  type CorruptionError,
  InvalidArgumentError,
  isCorruption,
  ManifestCorruptionError,
  UnavailableError,
} from '../common/errors.ts';
import { tellFinding } from '../common/events.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { ReadView } from '../lsm/read/point-lookup.ts';
import { assertParentsInReach } from '../lsm/tree/parents.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import { discover } from '../recovery/discovery.ts';
import { assertUsable, isNothingThere, isOvertaken, lookAround } from '../recovery/place.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import { type CorruptionReport, CorruptionWatch } from './corruption-watch.ts';
import type { Bytes } from './keys.ts';
import type { ResolvedOptions } from './options.ts';
import { ReaderLog } from './reader-log.ts';
import { Reads, type ScanOptions, type ValueWithMeta } from './reads.ts';
import type { ScanIterator } from './scan-iterator.ts';
import { Turns } from './turns.ts';
import { type CloseOptions, type ReadOptions, type RefreshOptions, waitOptions } from './write-options.ts';

const MAX_ROUNDS = 100;

interface State {
  manifestId: number;
  view: ReadView;
  lastSeq: number;
  /** Which database this is, as seals say it; undefined for one of SlateDB. */
  databaseId: Uint8Array | undefined;
  /** Its memtable is the view's. */
  log: ReaderLog;
}

export class DbReader {
  readonly #stores: DatabaseStores;
  readonly #options: ResolvedOptions;
  readonly #tableStore: TableStore;
  readonly #reads: Reads;
  readonly #watch: CorruptionWatch;
  readonly #turns: Turns;
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
    this.#turns = new Turns(options.clock);
    this.#reads = new Reads({
      policy: options.corruptionPolicy,
      watch: this.#watch,
      clock: options.clock,
      turns: this.#turns,
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

  /**
   * Shows what is stored now; never goes back, and never to another database: where this one was deleted and made anew it rejects with
   * `UnavailableError` (`VIEW_EXPIRED`), and what was shown stays. Reads that are under way, scans too, go on with the state that they began with.
   * Concurrent calls share one.
   *
   * The requests of an opening, but a GET only for those objects of the log that are new: none without new ones, k for k. What was
   * read and verified stays, in `memoryBytes`, as long as lists show it with the size and ETag that it had; all is read again where
   * an object was replaced or deleted, in stores that list no ETags, and where memory is short. What was damaged or missing
   * is looked at again each time. So damage that a list does not show is found by the next opening; until then the rows
   * that were read before it are served.
   *
   * Rejects with `CorruptionError` or `IncompatibleError` for what an opening would refuse, with `UnavailableError` and
   * `AbortError`; the state shown before stays.
   */
  refresh(options?: RefreshOptions): Promise<void> {
    let signal: AbortSignal | undefined;
    try {
      ({ signal } = waitOptions('refresh', options));
      stopIfAborted(signal);
      this.#assertOpen();
    } catch (error) {
      return this.#turns.refuse(error);
    }
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    ignoreRejection(this.#refreshing);
    return this.#turns.after(untilAborted(this.#refreshing, signal));
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError('CLOSED', 'The reader is closed.');
  }

  async #refresh(): Promise<void> {
    const next = await loadState(this.#stores, this.#options, this.#tableStore, this.#state).catch((error: unknown) => {
      // Requests of a reader that was closed are aborted: that is the reason then.
      this.#assertOpen();
      throw error;
    });
    const isBack = next.manifestId < this.#state.manifestId || next.lastSeq < this.#state.lastSeq;
    if (!isBack && !this.#closed) this.#state = next;
  }

  async #judgeMissing(error: CorruptionError): Promise<boolean> {
    if (!(await isOvertaken(this.#stores.main, this.#state.manifestId))) {
      await this.#assertStillThere();
      return false;
    }
    throw new UnavailableError(
      'VIEW_EXPIRED',
      `${this.#stores.main.name}: a table that this reader shows was collected; call refresh() and read again.`,
      { cause: error },
    );
  }

  /** Rejects if another database is in this place now: then what is missing is no damage. */
  async #assertStillThere(): Promise<void> {
    const guard = new EpochGuard(this.#options.clock, this.#stores.latestStoreTimesMs);
    const around = await lookAround(this.#stores, guard, 'open');
    if (around.manifestIds.length === 0) return;
    const found = await discover(this.#stores, around, this.#options).catch((error: unknown) => {
      // Damage there does not say that the missing table is none.
      if (!isCorruption(error)) throw error;
      return undefined;
    });
    if (found !== undefined) assertSameDatabase(this.#stores, this.#state, found.newest);
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
      return this.#turns.refuse(error);
    }
    if (!this.#closed) {
      this.#closed = true;
      this.#tableStore.dispose();
      this.#onClosed();
    }
    return this.#turns.give(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function databaseIdOf({ seal }: LoadedManifest): Uint8Array | undefined {
  return seal?.identity.databaseId;
}

/** A database that was deleted may have been made anew in its place. Those of SlateDB do not say which they are. */
function assertSameDatabase(stores: DatabaseStores, shown: State | undefined, newest: LoadedManifest): void {
  const now = databaseIdOf(newest);
  if (shown?.databaseId === undefined || now === undefined || equalBytes(shown.databaseId, now)) return;
  throw new UnavailableError(
    'VIEW_EXPIRED',
    `${whereOf(stores)}: another database is here now than the one that this reader shows, which was deleted. Close the reader and open a new one.`,
  );
}

/** @param shown what is shown now: what its log keeps is used, and grows */
async function loadState(
  stores: DatabaseStores,
  options: ResolvedOptions,
  tableStore: TableStore,
  shown?: State,
): Promise<State> {
  let kept = shown?.log;
  const guard = new EpochGuard(options.clock, stores.latestStoreTimesMs);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const around = await lookAround(stores, guard, 'open');
    if (around.manifestIds.length === 0) {
      if (!(await isNothingThere(stores, around))) continue;
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${stores.main.name} (${stores.path}): no database is here. Check the path.`,
      );
    }
    const found = await discover(stores, around, options);
    assertUsable(stores, stores.main.name, found);
    assertSameDatabase(stores, shown, found.newest);
    await assertParentsInReach(stores, found.newest.manifest);
    const log = kept?.canFollow(found.newest) ? kept : new ReaderLog(stores, options);
    kept = log;
    await log.wal.load(found.newest);
    const verdict = log.wal.verdict(found.newest);
    if (verdict !== undefined) {
      if (await isOvertaken(stores.main, found.newest.id)) continue;
      const isAboutLog = isCorruption(verdict) && !(verdict instanceof ManifestCorruptionError);
      if (!options.allowPrefix || !isAboutLog) {
        // What is refused is refused for what is stored now, and its error tells of all rows.
        if (log.isUsed) {
          kept = undefined;
          continue;
        }
        throw verdict;
      }
      options.logger.warn('the log is damaged; rows before the damage are served', { error: verdict.message });
      for (const finding of verdict.findings) tellFinding(options, 'damage in the log', finding);
    }
    const end = verdict === undefined ? log.wal.end : log.wal.prefixEnd;
    if (!log.isContinuedTo(end, found.newest)) {
      kept = undefined;
      continue;
    }
    const { manifest, id } = found.newest;
    await tableStore.loadLedger(found.newest);
    const { memtable, lastSeq } = await log.apply(found.newest, end);
    const view = { memtables: [memtable], tree: tableStore.view(manifest) };
    return { manifestId: id, view, lastSeq, databaseId: databaseIdOf(found.newest), log };
  }
  throw new UnavailableError('DEADLINE', `${stores.main.name}: the manifests changed faster than they could be read.`);
}
