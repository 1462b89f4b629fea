/**
 * Opening by location: the composition root of what `shaledb` opens.
 */
import { hostname } from 'node:os';
import { onAbort, stopIfAborted, untilAborted } from './common/abort.ts';
import { deferred, ignoreRejection } from './common/async.ts';
import { EVENT_CHANNEL } from './common/channels.ts';
import { WalCorruptionError } from './common/errors.ts';
import { type EventListener, rangeText, reportFinding } from './common/events.ts';
import { CodedDb, CodedReader } from './db/coded-handles.ts';
import type { Db } from './db/db.ts';
import { DbReader } from './db/db-reader.ts';
import type { AnyEncoding, EncodedBy, EncodingOptions, EncodingsFor } from './db/encoding.ts';
import { type HandleKind, HandleMonitor } from './db/handle-monitor.ts';
import type { WriterSettings } from './db/open-options.ts';
import { type OpeningSteps, openForWriting } from './db/open-writer.ts';
import { type Parts, type SharedSettings, withLoadedOperator } from './db/options.ts';
import type { Reader } from './db/reader.ts';
import { type ReaderOptions, resolveReaderOptions } from './db/reader-options.ts';
import { type HandleOfDb, type Recovered, recoveringDb } from './db/recovering-db.ts';
import type { ServingDb } from './db/serving-db.ts';
import { closeOnSignals } from './db/signals.ts';
import { startWriter } from './db/start-writer.ts';
import { type DatabaseStores, databaseStores, withSignal } from './lsm/manifest/database-stores.ts';
import { readManifest } from './lsm/manifest/manifest-store.ts';
import { TableStore } from './lsm/tree/table-store.ts';
import { lostRowsText, type RepairReport } from './recovery/repair-report.ts';
import { type Location, resolveLocation, type StorePlace } from './store/location.ts';
import {
  type OpenOptions,
  type OpenResolution,
  resolveOpenOptions,
  type UpkeepSettings,
  upkeepRoles,
  withModules,
} from './upkeep-roles.ts';

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
export function open(location: Location, options?: OpenOptions & EncodingOptions<'bytes', 'bytes'>): Promise<Db>;
/**
 * The same with encodings, from which follow the types of keys and values: `unknown` for `json`.
 *
 * ```ts
 * const db = await open('memory:', { keyEncoding: 'tuple', valueEncoding: 'utf8' });
 * await db.put(['user', 7], 'Ada');
 * ```
 */
export function open<KE extends AnyEncoding = 'bytes', VE extends AnyEncoding = 'bytes'>(
  location: Location,
  options?: OpenOptions & EncodingOptions<KE, VE>,
): Promise<Db<EncodedBy<KE>, EncodedBy<VE>>>;
/**
 * The same with the types of keys and values, from which follows what encodings they can have.
 *
 * ```ts
 * const db = await open<string, User>('memory:', { keyEncoding: 'utf8', valueEncoding: 'json' });
 * ```
 */
export function open<K, V>(
  location: Location,
  options: OpenOptions & EncodingsFor<K, V> & Pick<EncodingOptions, 'encodingCheck'>,
): Promise<Db<K, V>>;
export async function open(location: Location, options?: OpenOptions & EncodingOptions): Promise<unknown> {
  const resolved = await withModules(resolveOpenOptions(options, `${hostname()}:${process.pid}`));
  const { walAutoRecovery, verifyOnOpen } = resolved.settings;
  stopIfAborted(resolved.parts.signal);
  const place = await resolveLocation(location);
  const tools = walAutoRecovery || verifyOnOpen !== 'off' ? await loadTools() : undefined;
  const opening = new WriterOpening(place, resolved, tools);
  const db = await (walAutoRecovery ? opening.recover() : opening.start());
  const { codec } = resolved.parts;
  return codec === undefined ? db : new CodedDb(db, codec);
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
class WriterOpening {
  readonly #place: StorePlace;
  readonly #settings: WriterSettings;
  readonly #parts: Parts;
  readonly #upkeep: UpkeepSettings;
  readonly #stores: DatabaseStores;
  readonly #tableStore: TableStore;
  readonly #tools: Tools | undefined;
  readonly #life = new Life();
  readonly #monitor: HandleMonitor;
  #stopSignals: () => void = () => undefined;

  constructor(place: StorePlace, { settings, parts, upkeep }: OpenResolution, tools: Tools | undefined) {
    this.#place = place;
    this.#tools = tools;
    this.#settings = settings;
    this.#upkeep = upkeep;
    this.#stores = makeStores(place, parts, settings.timeoutMs, this.#life.signal);
    this.#monitor = makeMonitor('db', place, this.#stores, settings, parts);
    this.#parts = { ...parts, onEvent: heardBy(this.#monitor, this.#stores, parts.onEvent) };
    this.#tableStore = makeTableStore(this.#stores, parts);
  }

  start(): Promise<HandleOfDb> {
    return this.#life.opening(this.#parts.signal, this.#started());
  }

  async #started(): Promise<HandleOfDb> {
    try {
      const db = await this.#open();
      // Aborted when all was done: no caller has the handle.
      if (this.#life.signal.aborted) await db.close().catch(() => undefined);
      stopIfAborted(this.#parts.signal);
      this.#serve(db);
      return db;
    } catch (error) {
      this.#giveUp();
      throw error;
    }
  }

  /** Resolves as soon as a database was found; its handle lets calls wait for the rest. */
  async recover(): Promise<HandleOfDb> {
    const found = deferred<void>();
    const recovery = this.#recovered(() => found.resolve()).catch((error) => {
      this.#giveUp();
      throw error;
    });
    const db = recoveringDb(recovery, this.#stores, this.#parts.clock, this.#settings.timeoutMs);
    await this.#life.opening(this.#parts.signal, Promise.race<unknown>([found.promise, recovery]));
    this.#serve(db);
    return db;
  }

  async #recovered(onFound: () => void): Promise<Recovered> {
    try {
      return { db: await this.#open({ onFound }), report: undefined };
    } catch (error) {
      if (!(error instanceof WalCorruptionError)) throw error;
      const { logger } = this.#parts;
      logger.warn('the log is damaged and will be repaired (option walAutoRecovery)', { error: error.message });
      for (const finding of error.findings) reportFinding(this.#parts, 'damage in the log', finding);
      const more = error.total - error.findings.length;
      if (more > 0) logger.error('more damage in the log', { findings: more });
    }
    const report = await this.#repairLog();
    return { db: await this.#open(await this.#afterRepair(report)), report };
  }

  /** The repair has claimed the epoch after the expected one: its own is the one to take over from now. One GET. */
  async #afterRepair({ manifestId }: RepairReport): Promise<OpeningSteps> {
    if (this.#settings.expectedEpoch === undefined || manifestId === undefined) return {};
    const repaired = await readManifest(this.#stores.main, Number(manifestId));
    // A manifest that is gone by now was followed by newer ones: then the first expectation fails, as it should.
    return { expectedEpoch: repaired?.manifest.writerEpoch };
  }

  /** The option is the consent to what is lost, within `maxLoss`. */
  async #repairLog(): Promise<RepairReport> {
    const { clock, random, logger } = this.#parts;
    const { owner, timeoutMs, maxLoss, expectedEpoch } = this.#settings;
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
    this.#logRepair(report);
    return report;
  }

  /** A line for the repair, for each object that it copied first, and for each range of numbers that is lost. */
  #logRepair({ repairId, outcome, applied, rows, batches, lostSeqs, evidence, ledgerIds, newObjects }: RepairReport) {
    const { logger, onEvent } = this.#parts;
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

  async #open(steps?: OpeningSteps): Promise<ServingDb> {
    const means = {
      stores: this.#stores,
      tableStore: this.#tableStore,
      settings: this.#settings,
      parts: this.#parts,
    };
    const opened = await openForWriting(means, steps);
    const onClosed = () => {
      this.#stopSignals();
      this.#monitor.closed();
      this.#place.dispose();
    };
    const onEnded = () => this.#life.end();
    const upkeep = { upkeepRoles: upkeepRoles(this.#upkeep), monitor: this.#monitor };
    const db = await startWriter({ ...means, ...upkeep, opened, onEnded, onClosed });
    if (this.#settings.verifyOnOpen !== 'off') ignoreRejection(this.#verify(this.#settings.verifyOnOpen));
    return db;
  }

  #serve(db: Db): void {
    this.#monitor.opened(db);
    if (this.#settings.handleSignals) this.#stopSignals = closeOnSignals(db, this.#parts.logger);
  }

  #giveUp(): void {
    this.#life.end();
    this.#stopSignals();
    this.#monitor.closed();
    this.#tableStore.dispose();
    this.#place.dispose();
  }

  /** Checks the tables while the database serves already. */
  async #verify(level: 'refs' | 'tails'): Promise<void> {
    const { clock, random, logger } = this.#parts;
    const { owner, timeoutMs } = this.#settings;
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
        reportFinding(this.#parts, 'found after the opening (option verifyOnOpen)', finding);
      }
    } catch (error) {
      // Closed in the meantime.
      if (this.#life.signal.aborted) return;
      logger.warn('the tables could not be checked (option verifyOnOpen)', { error: String(error) });
    }
  }
}

/**
 * Opens a database for reading only: writes nothing and disturbs no writer, and shows what was durable at this moment.
 *
 * Requests: four sequential round trips, about ten requests, and one GET for each object of the log that is in no table yet.
 *
 * Rejects like `open`; with `InvalidArgumentError` (`NOT_A_DATABASE`) where there is none, since it creates nothing.
 */
export function openReader(
  location: Location,
  options?: ReaderOptions & EncodingOptions<'bytes', 'bytes'>,
): Promise<Reader>;
/** The same with encodings, as of `open`. */
export function openReader<KE extends AnyEncoding = 'bytes', VE extends AnyEncoding = 'bytes'>(
  location: Location,
  options?: ReaderOptions & EncodingOptions<KE, VE>,
): Promise<Reader<EncodedBy<KE>, EncodedBy<VE>>>;
/** The same with the types of keys and values, as of `open`. */
export function openReader<K, V>(
  location: Location,
  options: ReaderOptions & EncodingsFor<K, V> & Pick<EncodingOptions, 'encodingCheck'>,
): Promise<Reader<K, V>>;
export async function openReader(location: Location, options?: ReaderOptions & EncodingOptions): Promise<unknown> {
  const { settings, parts: given } = resolveReaderOptions(options);
  const loaded = await withLoadedOperator('openReader', given);
  stopIfAborted(loaded.signal);
  const place = await resolveLocation(location);
  const life = new Life();
  const stores = makeStores(place, loaded, settings.timeoutMs, life.signal);
  const monitor = makeMonitor('reader', place, stores, settings, loaded);
  const parts = { ...loaded, onEvent: heardBy(monitor, stores, loaded.onEvent) };
  const tableStore = makeTableStore(stores, parts);
  const onClosed = () => {
    life.end();
    monitor.closed();
    place.dispose();
  };
  const opening = DbReader.open({ stores, settings, parts, tableStore, monitor, onClosed }).catch((error: unknown) => {
    tableStore.dispose();
    onClosed();
    throw error;
  });
  const reader = await life.opening(parts.signal, opening);
  monitor.opened(reader);
  return parts.codec === undefined ? reader : new CodedReader(reader, parts.codec);
}

function makeMonitor(
  kind: HandleKind,
  place: StorePlace,
  stores: DatabaseStores,
  settings: SharedSettings,
  { clock, logger }: Parts,
): HandleMonitor {
  try {
    return new HandleMonitor({ kind, stores, settings, clock, logger });
  } catch (error) {
    place.dispose();
    throw error;
  }
}

/** Events are counted, and go to the listener of the caller and to those of the process. */
function heardBy({ upkeep }: HandleMonitor, { main }: DatabaseStores, onEvent: EventListener): EventListener {
  return (event) => {
    upkeep.note(event);
    onEvent(event);
    if (EVENT_CHANNEL.hasSubscribers) EVENT_CHANNEL.publish({ store: main.name, event });
  };
}

/** Their requests end with `signal`. */
function makeStores(
  place: StorePlace,
  { clock, random }: Parts,
  timeoutMs: number,
  signal: AbortSignal,
): DatabaseStores {
  return withSignal(databaseStores(place, { clock, random, timeoutMs }), signal);
}

function makeTableStore(stores: DatabaseStores, parts: Parts): TableStore {
  return new TableStore({
    store: stores.main,
    wholeStore: stores.whole,
    cache: parts.cache,
    clock: parts.clock,
    onFinding: (f) =>
      reportFinding(parts, f.severity === 'error' ? 'damage that may hide losses' : 'damage that takes away no row', f),
  });
}
