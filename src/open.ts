/**
 * Opening by location: the composition root, the only file that knows every role.
 */
import { hostname } from 'node:os';
import { onAbort, stopIfAborted, untilAborted } from './common/abort.ts';
import { deferred, ignoreRejection } from './common/async.ts';
import { WalCorruptionError } from './common/errors.ts';
import { rangeText, tellFinding } from './common/events.ts';
import type { Db } from './db/db.ts';
import { type OpeningSteps, openForWriting } from './db/open-writer.ts';
import {
  type OpenOptions,
  type ReaderOptions,
  type ResolvedOptions,
  resolveOptions,
  resolveReaderOptions,
} from './db/options.ts';
import { DbReader } from './db/reader.ts';
import { type Recovered, recoveringDb } from './db/recovering-db.ts';
import { closeOnSignals } from './db/signals.ts';
import { startWriter } from './db/start-writer.ts';
import { type DatabaseStores, databaseStores, withSignal } from './lsm/manifest/database-stores.ts';
import { readManifest } from './lsm/manifest/manifest-store.ts';
import { TableStore } from './lsm/tree/table-store.ts';
import { lostRowsText, type RepairReport } from './recovery/repair-report.ts';
import { type Location, type Place, resolveLocation } from './store/location.ts';

/**
 * Opens a database for writing, and creates it if there is none. Verifies the whole log before it changes anything, takes
 * the database over from another writer if there is one, and resolves when every acknowledged row can be read.
 *
 * Requests: six sequential round trips when there is nothing to replay; one GET for each WAL object to replay.
 *
 * Rejects with `InvalidArgumentError` (options, location, not a database, unsuitable store), `CorruptionError` and its
 * children (nothing was changed), `IncompatibleError` (newer format, segments), `FencedError` (another opening won),
 * `UnavailableError` (the store), and with `AbortError` as soon as the option `signal` aborts: the opening then stops where it is,
 * and may have claimed the database, which ends another writer.
 */
export async function open(location: Location, options?: OpenOptions): Promise<Db> {
  const resolved = resolveOptions(options, `${hostname()}:${process.pid}`);
  stopIfAborted(resolved.signal);
  const place = await resolveLocation(location);
  const tools = resolved.walAutoRecovery || resolved.verifyOnOpen !== 'off' ? await loadTools() : undefined;
  const opening = new Opening(place, resolved, tools);
  return resolved.walAutoRecovery ? opening.recover() : opening.start();
}

/** Loaded only where it is needed, and then before anything else: most openings never do. */
async function loadTools() {
  const [{ walRepair }, { sstCheck }] = await Promise.all([
    import('./tools/wal-repair.ts'),
    import('./tools/sst-check.ts'),
  ]);
  return { walRepair, sstCheck };
}

type Tools = Awaited<ReturnType<typeof loadTools>>;

/**
 * How long a handle asks its store for anything. When it ends every request is aborted, with its retries and timers: nothing of a
 * refused opening or of a closed handle keeps the process alive.
 */
class Life {
  readonly #controller = new AbortController();

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    this.#controller.abort();
  }

  /** What an opening comes to, or a rejection as soon as its caller's signal aborts; then nothing of it goes on. */
  async opening<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
    if (signal === undefined) return work;
    const leave = onAbort(signal, () => this.end());
    try {
      return await untilAborted(work, signal);
    } finally {
      leave();
    }
  }
}

/** One opening for writing, which may repair the log on its way. */
class Opening {
  readonly #place: Place;
  readonly #o: ResolvedOptions;
  readonly #stores: DatabaseStores;
  readonly #tableStore: TableStore;
  readonly #tools: Tools | undefined;
  readonly #life = new Life();
  #stopSignals: () => void = () => undefined;

  constructor(place: Place, options: ResolvedOptions, tools: Tools | undefined) {
    this.#place = place;
    this.#tools = tools;
    this.#o = options;
    this.#stores = withSignal(databaseStores(place, options), this.#life.signal);
    this.#tableStore = makeTableStore(this.#stores, options);
  }

  start(): Promise<Db> {
    return this.#life.opening(this.#o.signal, this.#started());
  }

  async #started(): Promise<Db> {
    try {
      const db = await this.#open();
      // Aborted when all was done: nobody has the handle.
      if (this.#life.signal.aborted) await db.close().catch(() => undefined);
      stopIfAborted(this.#o.signal);
      this.#serve(db);
      return db;
    } catch (error) {
      this.#giveUp();
      throw error;
    }
  }

  /** Resolves as soon as a database was found; its handle lets calls wait for the rest. */
  async recover(): Promise<Db> {
    const found = deferred<void>();
    const recovery = this.#recovered(() => found.resolve()).catch((error) => {
      this.#giveUp();
      throw error;
    });
    const db = recoveringDb(recovery, this.#stores, this.#o.clock, this.#o.timeoutMs);
    await this.#life.opening(this.#o.signal, Promise.race<unknown>([found.promise, recovery]));
    this.#serve(db);
    return db;
  }

  async #recovered(onFound: () => void): Promise<Recovered> {
    try {
      return { db: await this.#open({ onFound }), report: undefined };
    } catch (error) {
      if (!(error instanceof WalCorruptionError)) throw error;
      this.#o.logger.warn('the log is damaged and will be repaired (option walAutoRecovery)', { error: error.message });
      for (const finding of error.findings) tellFinding(this.#o, 'damage in the log', finding);
      const more = error.total - error.findings.length;
      if (more > 0) this.#o.logger.error('more damage in the log', { findings: more });
    }
    const report = await this.#repairLog();
    return { db: await this.#open(await this.#afterRepair(report)), report };
  }

  /** The repair has claimed the epoch after the expected one: its own is the one to take over from now. One GET. */
  async #afterRepair({ manifestId }: RepairReport): Promise<OpeningSteps> {
    if (this.#o.expectedEpoch === undefined || manifestId === undefined) return {};
    const repaired = await readManifest(this.#stores.main, Number(manifestId));
    // A manifest that is gone by now was followed by newer ones: then the first expectation fails, as it should.
    return { expectedEpoch: repaired?.manifest.writerEpoch };
  }

  /** The option is the consent to what is lost, within `maxLoss`. */
  async #repairLog(): Promise<RepairReport> {
    const { clock, random, logger, owner, timeoutMs, maxLoss, expectedEpoch } = this.#o;
    const { walRepair } = this.#tools as Tools;
    const report = await walRepair(this.#place.location, {
      clock,
      random,
      logger,
      owner,
      timeoutMs,
      apply: true,
      acceptLoss: true,
      signal: this.#life.signal,
      ...(maxLoss !== undefined && { maxLoss }),
      ...(expectedEpoch !== undefined && { expectedEpoch }),
    }).catch((error: unknown) => {
      logger.error('the log was not repaired (option walAutoRecovery)', { error: String(error) });
      throw error;
    });
    this.#tellRepair(report);
    return report;
  }

  /** A line for the repair, for each object that it copied first, and for each range of numbers that is lost. */
  #tellRepair({ repairId, outcome, applied, rows, batches, lostSeqs, evidence, ledgerIds, newObjects }: RepairReport) {
    const { logger, onEvent } = this.#o;
    const { recovered: recoveredRows, lost: lostRows, lostAtMost, lostExact } = rows;
    logger.warn(applied ? 'the log was repaired' : 'the log needed no repair any more', {
      repairId,
      outcome,
      recoveredRows,
      lostRows: lostRowsText(rows),
      ...(batches !== undefined && { droppedBatches: batches.dropped, undecidedBatches: batches.undecided }),
      newTables: newObjects.join(', '),
      ledgerEntries: ledgerIds.join(', '),
    });
    for (const { from, to } of evidence)
      logger.warn('a damaged object was replaced', { repairId, path: from, copy: to });
    for (const seqs of lostSeqs) logger.error('rows of the log are lost', { repairId, seqs: rangeText(seqs) });
    const atMost = lostAtMost === undefined ? {} : { lostRowsAtMost: lostAtMost };
    onEvent({ type: 'recovery', repairId, recoveredRows, lostRows, ...atMost, lostExact });
  }

  async #open(steps?: OpeningSteps): Promise<Db> {
    const opened = await openForWriting(this.#stores, this.#o, this.#tableStore, steps);
    const onClosed = () => {
      this.#stopSignals();
      this.#place.dispose();
    };
    const onEnded = () => this.#life.end();
    const db = await startWriter(this.#stores, this.#o, opened, this.#tableStore, onEnded, onClosed);
    if (this.#o.verifyOnOpen !== 'off') ignoreRejection(this.#verify(this.#o.verifyOnOpen));
    return db;
  }

  #serve(db: Db): void {
    if (this.#o.handleSignals) this.#stopSignals = closeOnSignals(db, this.#o.logger);
  }

  #giveUp(): void {
    this.#life.end();
    this.#stopSignals();
    this.#tableStore.dispose();
    this.#place.dispose();
  }

  /** Looks at the tables while the database serves already. */
  async #verify(level: 'refs' | 'tails'): Promise<void> {
    const { clock, random, logger, owner, timeoutMs } = this.#o;
    try {
      const { sstCheck } = this.#tools as Tools;
      for await (const finding of sstCheck(this.#place.location, {
        clock,
        random,
        logger,
        owner,
        timeoutMs,
        level,
        scope: 'live',
        signal: this.#life.signal,
      })) {
        tellFinding(this.#o, 'found after the opening (option verifyOnOpen)', finding);
      }
    } catch (error) {
      // Closed in the meantime.
      if (this.#life.signal.aborted) return;
      logger.warn('the tables could not be checked (option verifyOnOpen)', { error: String(error) });
    }
  }
}

/** Opens a database for reading only: writes nothing and disturbs nobody. Rejects like `open`. */
export async function openReader(location: Location, options?: ReaderOptions): Promise<DbReader> {
  const resolved = resolveReaderOptions(options);
  stopIfAborted(resolved.signal);
  const place = await resolveLocation(location);
  const life = new Life();
  const stores = withSignal(databaseStores(place, resolved), life.signal);
  const tableStore = makeTableStore(stores, resolved);
  const end = () => {
    life.end();
    place.dispose();
  };
  const opening = DbReader.open(stores, resolved, tableStore, end).catch((error: unknown) => {
    tableStore.dispose();
    end();
    throw error;
  });
  return life.opening(resolved.signal, opening);
}

function makeTableStore(stores: ReturnType<typeof databaseStores>, options: ResolvedOptions): TableStore {
  return new TableStore({
    store: stores.main,
    wholeStore: stores.whole,
    cache: options.cache,
    onFinding: (f) =>
      tellFinding(options, f.severity === 'error' ? 'damage that may hide losses' : 'damage that takes away no row', f),
  });
}
