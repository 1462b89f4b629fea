/**
 * Opening by location: the composition root, the only file that knows every role.
 */
import { hostname } from 'node:os';
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
import { closeOnSignals } from './db/signals.ts';
import { startWriter } from './db/start-writer.ts';
import { databaseStores } from './lsm/database-stores.ts';
import { TableStore } from './lsm/tree-view.ts';
import { type Location, resolveLocation } from './store/location.ts';

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
  const stores = databaseStores(place.location, resolved);
  const tableStore = makeTableStore(stores, resolved);
  try {
    const opened = await openForWriting(stores, resolved, tableStore);
    let stopSignals: () => void = () => undefined;
    const db = await startWriter(stores, resolved, opened, tableStore, () => {
      stopSignals();
      place.dispose();
    });
    if (resolved.handleSignals) stopSignals = closeOnSignals(db, resolved.logger);
    return db;
  } catch (error) {
    tableStore.dispose();
    place.dispose();
    throw error;
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
