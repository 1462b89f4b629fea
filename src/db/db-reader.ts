/**
 * A read-only view of a database: writes nothing, fences no writer, pins nothing.
 *
 * Because it pins nothing, a collector may delete what it reads: then a read says `VIEW_EXPIRED`.
 *
 * 1. It shows the tables of one manifest and the rows of the log after it, up to one sequence number, as they were at the opening or
 *    the last `refresh`.
 * 2. A refresh replaces all of that in one step, or nothing of it. What is shown does not go back.
 */

import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
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
import { reportFinding } from '../common/events.ts';
import type { Histogram } from '../common/histogram.ts';
import { histogramOf, type Metrics } from '../common/metrics.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { ReadView } from '../lsm/read/point-lookup.ts';
import { assertParentsInReach } from '../lsm/tree/parents.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import { discover } from '../recovery/discovery.ts';
import { assertUsable, isEmptyPlace, isOvertaken, readSurroundings } from '../recovery/place.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import { ByteReads } from './byte-reads.ts';
import { type CorruptionReport, CorruptionWatch } from './corruption-watch.ts';
import { countedOperator } from './counts.ts';
import { assertEncodings } from './encoding.ts';
import { readerMetrics } from './handle-metrics.ts';
import type { HandleMonitor } from './handle-monitor.ts';
import type { Parts } from './options.ts';
import { ReadPath } from './read-path.ts';
import type { Reader } from './reader.ts';
import { ReaderLog } from './reader-log.ts';
import type { ReaderSettings } from './reader-options.ts';
import { Turns } from './turns.ts';
import { type CloseOptions, type RefreshOptions, waitOptions } from './write-options.ts';

const MAX_VIEW_ROUNDS = 100;

interface State {
  manifest: LoadedManifest;
  view: ReadView;
  lastSeq: number;
  /** Which database this is, as seals say it; undefined for one of SlateDB. */
  databaseId: Uint8Array | undefined;
  /** Its memtable is the view's. */
  log: ReaderLog;
}

/** What states are read from, and how. */
interface StateSource {
  stores: DatabaseStores;
  tableStore: TableStore;
  settings: ReaderSettings;
  parts: Parts;
  monitor: HandleMonitor;
}

export interface ReaderStart extends StateSource {
  onClosed(): void;
}

export class DbReader extends ByteReads implements Reader {
  readonly #source: StateSource;
  readonly #watch: CorruptionWatch;
  readonly #turns: Turns;
  readonly #onClosed: () => void;
  readonly #refreshTimes = new Map<'ok' | 'error', Histogram>();
  #state: State;
  #refreshing: Promise<void> | undefined;
  #closed = false;

  private constructor({ onClosed, ...source }: ReaderStart, state: State) {
    const { settings, parts } = source;
    const { clock, logger, mergeOperator, onCorruption } = parts;
    const watch = new CorruptionWatch(source.tableStore.damage, onCorruption, logger);
    const turns = new Turns(clock);
    const { reads: counts } = source.monitor;
    const path = new ReadPath({
      policy: settings.corruptionPolicy,
      watch,
      clock,
      turns,
      nowMs: settings.hideExpired ? () => clock.nowMs() : undefined,
      mergeOperator: countedOperator(mergeOperator, counts),
      counts,
      view: () => this.#state.view,
      // All a reader sees is durable.
      maxSeq: () => this.#state.lastSeq,
      assertServing: () => this.#assertOpen(),
      renewView: (error) => this.#assertStillNeeded(error),
    });
    super(path);
    this.#source = source;
    this.#state = state;
    this.#onClosed = onClosed;
    this.#watch = watch;
    this.#turns = turns;
  }

  static async open(start: ReaderStart): Promise<DbReader> {
    return new DbReader(start, await loadState(start));
  }

  get path(): string {
    return this.#source.stores.path;
  }

  get store(): { readonly name: string } {
    return { name: this.#source.stores.main.name };
  }

  refresh(options?: RefreshOptions): Promise<void> {
    let signal: AbortSignal | undefined;
    try {
      ({ signal } = waitOptions('refresh', options));
      stopIfAborted(signal);
      this.#assertOpen();
    } catch (error) {
      return this.#turns.refuse(error);
    }
    this.#refreshing ??= this.#timedRefresh().finally(() => {
      this.#refreshing = undefined;
    });
    ignoreRejection(this.#refreshing);
    return this.#turns.after(untilAborted(this.#refreshing, signal));
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError('CLOSED', 'The reader is closed.');
  }

  async #timedRefresh(): Promise<void> {
    const { clock } = this.#source.parts;
    const startMs = clock.monotonicMs();
    let outcome: 'ok' | 'error' = 'error';
    try {
      await this.#refresh();
      outcome = 'ok';
    } finally {
      const times = this.#refreshTimes.get(outcome) ?? histogramOf('shaledb_reader_refresh_duration_seconds');
      times.observe((clock.monotonicMs() - startMs) / 1000);
      this.#refreshTimes.set(outcome, times);
    }
  }

  async #refresh(): Promise<void> {
    const next = await loadState(this.#source, this.#state).catch((error: unknown) => {
      // Requests of a reader that was closed are aborted: that is the reason then.
      this.#assertOpen();
      throw error;
    });
    const isBack = next.manifest.id < this.#state.manifest.id || next.lastSeq < this.#state.lastSeq;
    if (!isBack && !this.#closed) this.#show(next);
  }

  #show(next: State): void {
    const { manifest, lastSeq } = this.#state;
    assertThat(next.manifest.id >= manifest.id && next.lastSeq >= lastSeq, 'a reader does not go back (db-reader 2)');
    this.#state = next;
  }

  async #assertStillNeeded(error: CorruptionError): Promise<boolean> {
    if (!(await isOvertaken(this.#source.stores.main, this.#state.manifest.id))) {
      await this.#assertStillThere();
      return false;
    }
    throw new UnavailableError(
      'VIEW_EXPIRED',
      `${this.#source.stores.main.name}: a table that this reader shows was collected; call refresh() and read again.`,
      { cause: error },
    );
  }

  /** Rejects if another database is in this place now: then what is missing is no damage. */
  async #assertStillThere(): Promise<void> {
    const guard = new EpochGuard(this.#source.parts.clock, this.#source.stores.latestStoreTimesMs);
    const around = await readSurroundings(this.#source.stores.main, guard, 'open');
    if (around.manifestIds.length === 0) return;
    const found = await discover(this.#source.stores, around, this.#source).catch((error: unknown) => {
      // Damage there does not say that the missing table is none.
      if (!isCorruption(error)) throw error;
      return undefined;
    });
    if (found !== undefined) assertSameDatabase(this.#source.stores, this.#state, found.newest);
  }

  corruptions(): CorruptionReport {
    return { ...this.#watch.report(), lost: this.#source.tableStore.lost };
  }

  requestCounts(): RequestCountsByRole {
    return this.#source.stores.counts();
  }

  metrics(): Metrics {
    const { stores, tableStore: tables, monitor } = this.#source;
    const { manifest, lastSeq } = this.#state;
    const refreshes = this.#refreshTimes;
    return readerMetrics({ component: 'reader', stores, monitor, tables, manifest, lastSeq, refreshes });
  }

  close(options?: CloseOptions): Promise<void> {
    try {
      waitOptions('close', options);
    } catch (error) {
      return this.#turns.refuse(error);
    }
    if (!this.#closed) {
      this.#closed = true;
      this.#source.tableStore.dispose();
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

/** A database that was deleted may have been created again in its place. Those of SlateDB have no id of their own. */
function assertSameDatabase(stores: DatabaseStores, shown: State | undefined, newest: LoadedManifest): void {
  const now = databaseIdOf(newest);
  if (shown?.databaseId === undefined || now === undefined || equalBytes(shown.databaseId, now)) return;
  throw new UnavailableError(
    'VIEW_EXPIRED',
    `${whereOf(stores)}: another database is here now than the one that this reader shows, which was deleted. Close the reader and open a new one.`,
  );
}

/** @param shown what is shown now: what its log keeps is used, and grows */
async function loadState(source: StateSource, shown?: State): Promise<State> {
  const { stores, tableStore, settings, parts } = source;
  let kept = shown?.log;
  const guard = new EpochGuard(parts.clock, stores.latestStoreTimesMs);
  for (let round = 0; round < MAX_VIEW_ROUNDS; round++) {
    const around = await readSurroundings(stores.main, guard, 'open');
    if (around.manifestIds.length === 0) {
      if (!(await isEmptyPlace(stores, around))) continue;
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${stores.main.name} (${stores.path}): no database is here. Check the path.`,
      );
    }
    const found = await discover(stores, around, source);
    assertUsable(stores, stores.main.name, found);
    if (shown === undefined) assertEncodings(whereOf(stores), found.identity?.value.encodings, settings);
    assertSameDatabase(stores, shown, found.newest);
    await assertParentsInReach(stores, found.newest.manifest);
    const log = kept?.canFollow(found.newest) ? kept : new ReaderLog(stores, source);
    kept = log;
    await log.wal.load(found.newest);
    const verdict = log.wal.verdict(found.newest);
    if (verdict !== undefined) {
      if (await isOvertaken(stores.main, found.newest.id)) continue;
      const isAboutLog = isCorruption(verdict) && !(verdict instanceof ManifestCorruptionError);
      if (!settings.allowPrefix || !isAboutLog) {
        // What is refused is refused for what is stored now, and its error names all rows.
        if (log.isUsed) {
          kept = undefined;
          continue;
        }
        throw verdict;
      }
      parts.logger.warn('the log is damaged; rows before the damage are served', { error: verdict.message });
      for (const finding of verdict.findings) reportFinding(parts, 'damage in the log', finding);
    }
    const end = verdict === undefined ? log.wal.end : log.wal.prefixEnd;
    if (!log.isContinuedTo(end, found.newest)) {
      kept = undefined;
      continue;
    }
    const { manifest } = found.newest;
    await tableStore.loadLedger(found.newest);
    const { memtable, lastSeq } = await log.apply(found.newest, end);
    assertThat(
      lastSeq >= manifest.lastL0Seq && memtable.lastSeq <= lastSeq,
      'a reader shows rows up to one number (db-reader 1)',
    );
    const view = { memtables: [memtable], tree: tableStore.view(manifest) };
    return { manifest: found.newest, view, lastSeq, databaseId: databaseIdOf(found.newest), log };
  }
  throw new UnavailableError('DEADLINE', `${stores.main.name}: the manifests changed faster than they could be read.`);
}
