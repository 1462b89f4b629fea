/**
 * The stack of wrappers between a database and its stores: path prefix, counting, retries with deadlines, store time.
 * Counting is done below the retries, so every request that is paid for is counted.
 */
import type { Clock } from '../../common/clock.ts';
import type { Random } from '../../common/random.ts';
import { roleOfPath } from '../../format/object-names.ts';
import type { StorePlace } from '../../store/location.ts';
import {
  type MeteredStore,
  meteredStore,
  type RequestCounts,
  type RequestCountsByRole,
  type RoleMeter,
} from '../../store/metered-store.ts';
import type { ObjectStore, StoreSpace } from '../../store/object-store.ts';
import { prefixedStore } from '../../store/prefixed-store.ts';
import { retryingStore } from '../../store/retrying-store.ts';
import { uploadsOf } from '../../store/upload-calls.ts';
import { timedStore } from './epoch-guard.ts';

export interface DatabaseStores {
  /** Root of the database. */
  main: ObjectStore;
  /** Root of the database in the store that holds `wal/`; the same object as `main` without a WAL store. */
  wal: ObjectStore;
  hasWalStore: boolean;
  /** The whole store, for tables of other databases. */
  whole: ObjectStore;
  path: string;
  /** Whether a URL left open where the root of `whole` is: then what is not found there may be elsewhere. */
  isRootAssumed: boolean;
  /** Latest time in the answers of `main`, then that of `wal` if it is another store. */
  latestStoreTimesMs(): (number | undefined)[];
  counts(): RequestCountsByRole;
  /** What `counts` is the sum of, by role of the object also where a name was given, each with its calls. */
  meters(): StoreMeter[];
  /** Of stores that can say it: free space where the database is, and files that are open. */
  local(): LocalPlace[];
  /** Requests that are under way, without those that are counted under another name. */
  inFlight(): number;
  /** The same stores, of which every request counts under this name in `counts`, whatever the object: for a role that runs beside others. */
  countedAs(name: string): DatabaseStores;
}

/** Requests for objects of one role. */
export interface StoreMeter {
  /** The name that `countedAs` was given; undefined: the database itself. */
  countedAs: string | undefined;
  /** `wal`: the store that holds the log alone. */
  storeType: 'main' | 'wal';
  meter: RoleMeter;
}

/** A store in a directory, as far as it is said. */
export interface LocalPlace {
  storeType: StoreMeter['storeType'];
  openFiles: number | undefined;
  /** Rejects as a call of a store; undefined: it has no space of its own. */
  space: (() => Promise<StoreSpace | undefined>) | undefined;
}

/** How long a request is tried, ms, where nothing is set. */
export const DEFAULT_TIMEOUT_MS = 60_000;

interface StackOptions {
  clock: Clock;
  random: Random;
  timeoutMs: number;
}

/** Leading, trailing and doubled slashes are dropped, as SlateDB does. */
export function normalPath(path: string): string {
  return path
    .split('/')
    .filter((s) => s !== '')
    .join('/');
}

/** Store and path, for messages. */
export function whereOf({ main, path }: Pick<DatabaseStores, 'main' | 'path'>): string {
  return path === '' ? main.name : `${main.name} (${path})`;
}

export function databaseStores(
  { location, isRootAssumed }: Pick<StorePlace, 'location' | 'isRootAssumed'>,
  options: StackOptions,
): DatabaseStores {
  const path = normalPath(location.path);
  const { walStore } = location;
  const meters: { countedAs: string | undefined; storeType: StoreMeter['storeType']; store: MeteredStore }[] = [];
  const build = (countAs: string | undefined): DatabaseStores => {
    const own: MeteredStore[] = [];
    const { clock } = options;
    const stack = (store: ObjectStore, root: string, role: (p: string) => string, storeType: 'main' | 'wal') => {
      const below = root === '' ? store : prefixedStore(store, root);
      const metered = meteredStore(below, role, { clock, ...(countAs !== undefined && { countAs }) });
      meters.push({ countedAs: countAs, storeType, store: metered });
      own.push(metered);
      return timedStore(retryingStore(metered, options));
    };
    const main = stack(location.store, path, roleOfPath, 'main');
    const whole = stack(location.store, '', () => 'table', 'main');
    const wal = walStore === undefined ? main : stack(walStore.store, normalPath(walStore.path), roleOfPath, 'wal');
    return {
      main: main.store,
      wal: wal.store,
      hasWalStore: walStore !== undefined,
      whole: whole.store,
      path,
      isRootAssumed,
      latestStoreTimesMs: () => (wal === main ? [main] : [main, wal]).map((store) => store.latestStoreTimeMs()),
      counts: () => sumCounts(meters.map(({ store }) => store.counts())),
      meters: () => meters.flatMap(({ store, ...of }) => store.meters().map((meter) => ({ ...of, meter }))),
      local: () => localPlaces(location, path),
      inFlight: () => own.reduce((sum, m) => sum + m.inFlight(), 0),
      countedAs: (name) => build(name),
    };
  };
  return build(undefined);
}

function localPlaces({ store, walStore }: StorePlace['location'], path: string): LocalPlace[] {
  const places = [{ storeType: 'main' as const, store, path }];
  const wal = walStore && [{ storeType: 'wal' as const, store: walStore.store, path: normalPath(walStore.path) }];
  return [...places, ...(wal ?? [])]
    .filter(({ store: { space, openFiles } }) => space !== undefined || openFiles !== undefined)
    .map(({ storeType, store: each, path: at }) => ({
      storeType,
      openFiles: each.openFiles?.(),
      space: each.space && (async () => each.space?.(at)),
    }));
}

/** The same stores, whose calls end when `signal` aborts unless they bring one of their own. */
export function withSignal(stores: DatabaseStores, signal: AbortSignal): DatabaseStores {
  const main = endedBy(stores.main, signal);
  const wal = stores.wal === stores.main ? main : endedBy(stores.wal, signal);
  const countedAs = (name: string) => withSignal(stores.countedAs(name), signal);
  return { ...stores, main, wal, whole: endedBy(stores.whole, signal), countedAs };
}

function endedBy(store: ObjectStore, signal: AbortSignal): ObjectStore {
  const { upload, listUploads, abortUpload } = uploadsOf(store);
  return {
    name: store.name,
    ...(store.conformance !== undefined && { conformance: store.conformance }),
    get: (path, options) => store.get(path, { signal, ...options }),
    head: (path, options) => store.head(path, { signal, ...options }),
    put: (path, bytes, options) => store.put(path, bytes, { signal, ...options }),
    list: (prefix, options) => store.list(prefix, { signal, ...options }),
    delete: (paths, options) => store.delete(paths, { signal, ...options }),
    ...(upload && { upload: (path, options) => upload(path, { signal, ...options }) }),
    ...(listUploads && { listUploads: (prefix, options) => listUploads(prefix, { signal, ...options }) }),
    ...(abortUpload && { abortUpload: (found, options) => abortUpload(found, { signal, ...options }) }),
  };
}

/** Of one who has asked for nothing. */
export const NO_COUNTS: RequestCounts = { get: 0, head: 0, put: 0, list: 0, delete: 0, bytesIn: 0, bytesOut: 0 };

function add(a: RequestCounts, b: RequestCounts): RequestCounts {
  const sum = { ...a };
  for (const key of Object.keys(NO_COUNTS) as (keyof RequestCounts)[]) sum[key] += b[key];
  return sum;
}

function sumCounts(all: readonly RequestCountsByRole[]): RequestCountsByRole {
  let totals = NO_COUNTS;
  const byRole: Record<string, RequestCounts> = {};
  for (const counts of all) {
    totals = add(totals, counts);
    for (const [role, c] of Object.entries(counts.byRole)) byRole[role] = add(byRole[role] ?? NO_COUNTS, c);
  }
  return { ...totals, byRole };
}
