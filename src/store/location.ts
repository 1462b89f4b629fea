/** What a location names: URL forms, or a store and a path. Nothing is read and nothing connected to here. */
import { fileURLToPath } from 'node:url';
import { ignoreRejection } from '../common/async.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { readingArgument } from '../common/option-checks.ts';
import { LocalStore } from './local-store.ts';
import { MemoryStore } from './memory-store.ts';
import { isObjectStore } from './object-path.ts';
import type { ObjectStore } from './object-store.ts';
import { prefixedStore } from './prefixed-store.ts';

/** Where a database is stored: a store and the path of its root in it. */
export interface StoreLocation {
  /** Where its objects are. The caller that made the store closes it: a database does not. */
  store: ObjectStore;
  /** Path of its root in the store; empty: the root of the store. */
  path: string;
}

/** Where a database is: a store, and a path in it. */
export interface DatabaseLocation extends StoreLocation {
  /** Another store for the WAL. */
  walStore?: StoreLocation;
}

/**
 * Where a database is stored: `file:///directory`, `s3://bucket/path?endpoint=http://host:9000`,
 * `memory:` (a new store each time), `memory:name` (the same store whenever this process opens that name), or a store and a path in it,
 * with an optional second store for the WAL.
 */
export type Location = string | URL | DatabaseLocation;

export interface StorePlace {
  location: DatabaseLocation;
  /** Whether a URL left open which directory or prefix is the root of the store: the topmost one is taken. */
  isRootAssumed: boolean;
  /** Frees what was made for this location: connections, open files. Reads of files that are under way end first. */
  dispose(): void;
}

/**
 * What a location means; reads nothing and connects to nothing yet. `root`: the root of the store, a URL above that of the
 * location. Rejects with `InvalidArgumentError`.
 */
export async function resolveLocation(location: unknown, root?: string | URL): Promise<StorePlace> {
  const url = urlText(location);
  const rootUrl = root === undefined ? undefined : urlText(root);
  if (root !== undefined && rootUrl === undefined) throw badLocation('the root must be a URL');
  if (url !== undefined) {
    const place = await fromUrl(url);
    if (rootUrl === undefined) return { ...place, isRootAssumed: true };
    try {
      return { ...place, location: belowRoot(place.location, new URL(url), rootUrl), isRootAssumed: false };
    } catch (error) {
      place.dispose();
      throw error;
    }
  }
  if (root !== undefined) throw badLocation('a root is stated for a URL only; { store, path } says what the root is');
  return readingArgument('location', () => {
    const { walStore, ...place } = readPlace(location, '', ['store', 'path', 'walStore']);
    if (walStore === undefined) return { location: place, isRootAssumed: false, dispose: nothing };
    const { store, path } = readPlace(walStore, 'walStore.', ['store', 'path']);
    return { location: { ...place, walStore: { store, path } }, isRootAssumed: false, dispose: nothing };
  });
}

/** A URL as text, also of another realm or of a polyfill; undefined if the location is none. */
export function urlText(location: unknown): string | undefined {
  if (typeof location === 'string') return location;
  return readingArgument('location', () => {
    if (typeof location !== 'object' || location === null || 'store' in location) return undefined;
    const { href } = location as { href?: unknown };
    return typeof href === 'string' ? href : undefined;
  });
}

function nothing(): void {}

function readPlace(value: unknown, within: string, known: readonly string[]): StoreLocation & { walStore?: unknown } {
  if (typeof value !== 'object' || value === null) {
    const what =
      within === '' ? 'it must be a URL or { store, path }' : `${within.slice(0, -1)} must be { store, path }`;
    throw badLocation(`${what}, not ${value === null ? 'null' : typeof value}`);
  }
  const unknown = Object.keys(value).filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw badLocation(`unknown members ${unknown.map((n) => within + n).join(', ')}; known are ${known.join(', ')}`);
  const { store, path, walStore } = value as { store?: unknown; path?: unknown; walStore?: unknown };
  if (!isObjectStore(store)) throw badLocation(`${within}store must be an object store (get, head, put, list, delete)`);
  assertPath(path, `${within}path`);
  return { store, path: path as string, walStore };
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

/** The same place in a store whose root is that of the second URL. Its parameters are those of the location, if it has any. */
function belowRoot({ store, path }: DatabaseLocation, url: URL, root: string | URL): StoreLocation {
  const top = parsedUrl(String(root));
  const isSameStore = top.protocol === url.protocol && top.host === url.host;
  if (!isSameStore || (top.search !== '' && top.search !== url.search)) {
    throw badLocation(`the root ${top} is not of the same store as ${url}`);
  }
  const rootPath = decoded(top, (u) => (u.protocol === 'file:' ? fileURLToPath(u) : decodeURIComponent(u.pathname)));
  assertPath(rootPath, 'the path of the root');
  const [folders, above] = [path, rootPath].map((p) => p.split('/').filter((name) => name !== ''));
  const isAbove = above.length < folders.length && above.every((name, i) => name === folders[i]);
  if (!isAbove) throw badLocation(`${url} is not below the root ${top}`);
  return { store: prefixedStore(store, above.join('/')), path: folders.slice(above.length).join('/') };
}

function parsedUrl(text: string): URL {
  try {
    return new URL(text);
  } catch (cause) {
    throw badLocation(`${JSON.stringify(text)} is not a URL; a directory is written file:///path`, cause);
  }
}

type UrlPlace = Omit<StorePlace, 'isRootAssumed'>;

async function fromUrl(text: string): Promise<UrlPlace> {
  const url = parsedUrl(text);
  if (url.protocol === 'memory:') return { location: { store: memoryStore(text), path: '' }, dispose: nothing };
  if (url.protocol === 'file:') return fromFileUrl(url);
  if (url.protocol === 's3:') return fromS3Url(url);
  throw badLocation(`the scheme ${url.protocol} is unknown; known are file:, s3: and memory:`);
}

const MEMORY_NAME = /^memory:([A-Za-z0-9_.-]{1,100})$/;

/** Stores that have a name, as long as the process runs: a database that was closed is still there when its name is opened again. */
const memoryStores = new Map<string, MemoryStore>();

function memoryStore(text: string): MemoryStore {
  if (text === 'memory:') return new MemoryStore();
  const name = MEMORY_NAME.exec(text)?.[1];
  if (name === undefined) {
    throw badLocation(
      'memory: takes nothing but a name of 1 to 100 letters, digits, _ - and ., such as memory:orders; without one each opening makes a new store',
    );
  }
  const known = memoryStores.get(name);
  if (known !== undefined) return known;
  const made = new MemoryStore({ name: text });
  memoryStores.set(name, made);
  return made;
}

function fromFileUrl(url: URL): UrlPlace {
  if (url.host !== '')
    throw badLocation(`file://${url.host}/ names a host; a local directory has three slashes: file:///path`);
  if (url.search !== '' || url.hash !== '') throw badLocation('file: takes neither parameters nor a fragment');
  const path = decoded(url, fileURLToPath);
  assertPath(path, 'the path');
  const store = new LocalStore('/');
  // A descriptor that was only read has nothing to lose when its close fails.
  return { location: { store, path }, dispose: () => ignoreRejection(store.close()) };
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

async function fromS3Url(url: URL): Promise<UrlPlace> {
  if (url.username !== '' || url.password !== '') {
    throw badLocation(
      's3: takes no keys in the URL; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or another source of the SDK',
    );
  }
  if (url.host === '') throw badLocation('s3: needs a bucket: s3://bucket/path');
  const unknown = [...url.searchParams.keys()].filter((k) => !S3_PARAMETERS.has(k));
  if (unknown.length > 0)
    throw badLocation(`unknown parameters ${unknown.join(', ')}; known are ${[...S3_PARAMETERS].join(', ')}`);
  const doubled = [...S3_PARAMETERS].filter((k) => url.searchParams.getAll(k).length > 1);
  if (doubled.length > 0) throw badLocation(`${doubled.join(' and ')} is there more than once`);
  if (url.hash !== '') throw badLocation('s3: takes no fragment; a # in the path is written %23');
  const path = decoded(url, (u) => decodeURIComponent(u.pathname));
  assertPath(path, 'the path');
  // In a bucket a//b is another place than a/b, and SlateDB knows no such places.
  if (path.includes('//')) throw badLocation('the path has an empty part (//)');
  const endpoint = url.searchParams.get('endpoint') ?? undefined;
  if (endpoint !== undefined && !(/^https?:\/\/[^/]/.test(endpoint) && URL.canParse(endpoint))) {
    throw badLocation(`endpoint must be a URL such as http://host:9000, not ${JSON.stringify(endpoint)}`);
  }
  const region = url.searchParams.get('region') ?? undefined;
  const pathStyle = url.searchParams.get('forcePathStyle');
  if (pathStyle !== null && pathStyle !== 'true' && pathStyle !== 'false') {
    throw badLocation(`forcePathStyle must be true or false, not ${JSON.stringify(pathStyle)}`);
  }
  const [{ S3Store }, { loadS3Sdk }] = await Promise.all([import('./s3-store.ts'), import('./s3-client.ts')]);
  await loadS3Sdk(`s3:${url.host}`);
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
