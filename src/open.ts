/**
 * Opening by location: the composition root, the only file that knows every role.
 */
import { hostname } from 'node:os';
import { deferred, ignoreRejection } from './common/async.ts';
import { WalCorruptionError } from './common/errors.ts';
import type { Db } from './db/db.ts';
import { openForWriting } from './db/open-writer.ts';
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
import { type DatabaseStores, databaseStores } from './lsm/database-stores.ts';
import type { RepairReport } from './lsm/repair-report.ts';
import { TableStore } from './lsm/tree-view.ts';
import { type Location, type Place, resolveLocation } from './store/location.ts';

/**
 * Opens a database for writing, and creates it if there is none. Verifies the whole log before it changes anything, takes
 * the database over from another writer if there is one, and resolves when every acknowledged row can be read.
 *
 * Requests: six sequential round trips when there is nothing to replay; one GET for each WAL object to replay.
 *
 * Rejects with `InvalidArgumentError` (options, location, not a database, unsuitable store), `CorruptionError` and its
 * children (nothing was changed), `IncompatibleError` (newer format, segments), `FencedError` (another opening won),
 * `UnavailableError` (the store).
 */
export async function open(location: Location, options?: OpenOptions): Promise<Db> {
  const resolved = resolveOptions(options, `${hostname()}:${process.pid}`);
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

/** One opening for writing, which may repair the log on its way. */
class Opening {
  readonly #place: Place;
  readonly #o: ResolvedOptions;
  readonly #stores: DatabaseStores;
  readonly #tableStore: TableStore;
  readonly #tools: Tools | undefined;
  #stopSignals: () => void = () => undefined;

  constructor(place: Place, options: ResolvedOptions, tools: Tools | undefined) {
    this.#place = place;
    this.#tools = tools;
    this.#o = options;
    this.#stores = databaseStores(place.location, options);
    this.#tableStore = makeTableStore(this.#stores, options);
  }

  async start(): Promise<Db> {
    try {
      const db = await this.#open();
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
    await Promise.race([found.promise, recovery]);
    this.#serve(db);
    return db;
  }

  async #recovered(onFound: () => void): Promise<Recovered> {
    try {
      return { db: await this.#open(onFound), report: undefined };
    } catch (error) {
      if (!(error instanceof WalCorruptionError)) throw error;
      this.#o.logger.warn('the log is damaged and will be repaired (option walAutoRecovery)', { error: error.message });
    }
    const report = await this.#repairLog();
    return { db: await this.#open(), report };
  }

  async #repairLog(): Promise<RepairReport> {
    const { clock, random, logger, owner, timeoutMs, maxLoss, onEvent } = this.#o;
    const { walRepair } = this.#tools as Tools;
    const report = await walRepair(this.#place.location, {
      clock,
      random,
      logger,
      owner,
      timeoutMs,
      apply: true,
      ...(maxLoss !== undefined && { maxLoss }),
    });
    const { repairId, rows, lostSeqs } = report;
    logger.warn('the log was repaired', { repairId, outcome: report.outcome, rows, lostSeqs: lostSeqs.map(String) });
    const { recovered: recoveredRows, lost: lostRows, lostExact } = rows;
    onEvent({ type: 'recovery', repairId, recoveredRows, lostRows, lostExact });
    return report;
  }

  async #open(onFound?: () => void): Promise<Db> {
    const opened = await openForWriting(this.#stores, this.#o, this.#tableStore, onFound);
    const db = await startWriter(this.#stores, this.#o, opened, this.#tableStore, () => {
      this.#stopSignals();
      this.#place.dispose();
    });
    if (this.#o.verifyOnOpen !== 'off') ignoreRejection(this.#verify(this.#o.verifyOnOpen));
    return db;
  }

  #serve(db: Db): void {
    if (this.#o.handleSignals) this.#stopSignals = closeOnSignals(db, this.#o.logger);
  }

  #giveUp(): void {
    this.#stopSignals();
    this.#tableStore.dispose();
    this.#place.dispose();
  }

  /** Looks at the tables while the database serves already. */
  async #verify(level: 'refs' | 'tails'): Promise<void> {
    const { clock, random, logger, owner, timeoutMs, onEvent } = this.#o;
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
      })) {
        if (finding.severity === 'error') {
          logger.error('a table is damaged', {
            code: finding.code,
            path: finding.object.path,
            hint: finding.hint.summary,
          });
        }
        onEvent({ type: 'finding', finding });
      }
    } catch (error) {
      logger.warn('the tables could not be checked (option verifyOnOpen)', { error: String(error) });
    }
  }
}

/** Opens a database for reading only: writes nothing and disturbs nobody. Rejects like `open`. */
export async function openReader(location: Location, options?: ReaderOptions): Promise<DbReader> {
  const resolved = resolveReaderOptions(options);
  const place = await resolveLocation(location);
  const stores = databaseStores(place.location, resolved);
  const tableStore = makeTableStore(stores, resolved);
  try {
    return await DbReader.open(stores, resolved, tableStore, place.dispose);
  } catch (error) {
    tableStore.dispose();
    place.dispose();
    throw error;
  }
}

function makeTableStore(stores: ReturnType<typeof databaseStores>, options: ResolvedOptions): TableStore {
  return new TableStore({
    store: stores.main,
    wholeStore: stores.whole,
    cache: options.cache,
    onFinding: (f) => {
      options.logger.warn('damage that takes away no row', { code: f.code, path: f.object.path, unit: f.at.unit });
      options.onEvent({ type: 'finding', finding: f });
    },
  });
}
