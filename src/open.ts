/**
 * Opening by location: the composition root, the only file that knows every role.
 */
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError } from './common/errors.ts';
import { type DatabaseLocation, databaseStores } from './db/database-stores.ts';
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
import { TableStore } from './lsm/tree-view.ts';
import { LocalStore } from './store/local-store.ts';
import { MemoryStore } from './store/memory-store.ts';
import type { ObjectStore } from './store/object-store.ts';

/**
 * Where a database lies: `file:///directory`, `s3://bucket/path?endpoint=http://host:9000&forcePathStyle=true&region=...`,
 * `memory:`, or a store and a path in it, with an optional second store for the WAL.
 */
export type Location = string | URL | DatabaseLocation;

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

export interface Place {
  location: DatabaseLocation;
  /** Frees what was made for this location: connections. */
  dispose(): void;
}

/** What a location means; reads nothing and connects to nothing yet. Rejects with `InvalidArgumentError`. */
export async function resolveLocation(location: unknown): Promise<Place> {
  if (typeof location === 'string' || location instanceof URL) return fromUrl(String(location));
  if (typeof location !== 'object' || location === null) {
    throw badLocation(`it must be a URL or { store, path }, not ${location === null ? 'null' : typeof location}`);
  }
  const { store, path, walStore, ...rest } = location as Record<string, unknown>;
  const unknown = Object.keys(rest);
  if (unknown.length > 0) throw badLocation(`unknown members ${unknown.join(', ')}; known are store, path, walStore`);
  assertStore(store, 'store');
  assertPath(path, 'path');
  if (walStore === undefined)
    return { location: { store: store as ObjectStore, path: path as string }, dispose: nothing };
  const wal = walStore as { store?: unknown; path?: unknown };
  assertStore(wal.store, 'walStore.store');
  assertPath(wal.path, 'walStore.path');
  return {
    location: {
      store: store as ObjectStore,
      path: path as string,
      walStore: { store: wal.store as ObjectStore, path: wal.path as string },
    },
    dispose: nothing,
  };
}

function nothing(): void {}

function assertStore(store: unknown, name: string): void {
  const isStore =
    typeof store === 'object' &&
    store !== null &&
    ['get', 'head', 'put', 'list', 'delete'].every((m) => typeof (store as Record<string, unknown>)[m] === 'function');
  if (!isStore) throw badLocation(`${name} must be an object store (get, head, put, list, delete)`);
}

/** SlateDB keeps some characters under other names for tables than for manifests; such a database cannot be shared. */
const SAFE_PATH = /^[A-Za-z0-9_\-.=+@,! /]*$/;

function assertPath(path: unknown, name: string): void {
  if (typeof path !== 'string') throw badLocation(`${name} must be a string`);
  if (!SAFE_PATH.test(path) || path.split('/').includes('..') || path.split('/').includes('.')) {
    throw badLocation(
      `${name} ${JSON.stringify(path)} may hold letters, digits, _ - . = + @ , ! spaces and slashes only`,
    );
  }
}

async function fromUrl(text: string): Promise<Place> {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw badLocation(`${JSON.stringify(text)} is not a URL; a directory is written file:///path`, cause);
  }
  if (url.protocol === 'memory:') {
    if (text !== 'memory:') throw badLocation('memory: takes no path: each opening makes a new store');
    return { location: { store: new MemoryStore(), path: '' }, dispose: nothing };
  }
  if (url.protocol === 'file:') return fromFileUrl(url);
  if (url.protocol === 's3:') return fromS3Url(url);
  throw badLocation(`the scheme ${url.protocol} is unknown; known are file:, s3: and memory:`);
}

function fromFileUrl(url: URL): Place {
  if (url.host !== '')
    throw badLocation(`file://${url.host}/ names a host; a local directory has three slashes: file:///path`);
  if (url.search !== '' || url.hash !== '') throw badLocation('file: takes neither parameters nor a fragment');
  const path = decoded(url, fileURLToPath);
  assertPath(path, 'the path');
  return { location: { store: new LocalStore('/'), path }, dispose: nothing };
}

/** The path of a URL; some escapes mean nothing in a path. */
function decoded(url: URL, decode: (url: URL) => string): string {
  try {
    return decode(url);
  } catch (cause) {
    throw badLocation(`the path ${url.pathname} has an escape (%) that is not allowed`, cause);
  }
}

const S3_PARAMETERS = new Set(['endpoint', 'forcePathStyle', 'region']);

async function fromS3Url(url: URL): Promise<Place> {
  if (url.username !== '' || url.password !== '') {
    throw badLocation(
      's3: takes no keys in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or another source of the SDK',
    );
  }
  if (url.host === '') throw badLocation('s3: needs a bucket: s3://bucket/path');
  const unknown = [...url.searchParams.keys()].filter((k) => !S3_PARAMETERS.has(k));
  if (unknown.length > 0)
    throw badLocation(`unknown parameters ${unknown.join(', ')}; known are ${[...S3_PARAMETERS].join(', ')}`);
  const path = decoded(url, (u) => decodeURIComponent(u.pathname));
  assertPath(path, 'the path');
  const endpoint = url.searchParams.get('endpoint') ?? undefined;
  if (endpoint !== undefined && !/^https?:\/\/[^/]/.test(endpoint)) {
    throw badLocation(`endpoint must be a URL such as http://host:9000, not ${JSON.stringify(endpoint)}`);
  }
  const region = url.searchParams.get('region') ?? undefined;
  const pathStyle = url.searchParams.get('forcePathStyle');
  if (pathStyle !== null && pathStyle !== 'true' && pathStyle !== 'false') {
    throw badLocation(`forcePathStyle must be true or false, not ${JSON.stringify(pathStyle)}`);
  }
  const { S3Store } = await import('./store/s3-store.ts');
  const store = new S3Store({
    bucket: url.host,
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    ...(pathStyle !== null && { forcePathStyle: pathStyle === 'true' }),
  });
  return { location: { store, path }, dispose: () => store.close() };
}

function badLocation(message: string, cause?: unknown): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', `Bad location: ${message}.`, cause === undefined ? {} : { cause });
}
