/**
 * Counts what a store is asked for, by the role of the object.
 *
 * Counts are what providers bill: a list costs one request per 1,000 objects (at least one), a delete one per 1,000 paths.
 * Below a retry wrapper every attempt is counted, above it every call. Parts of a multipart upload count as one put.
 */
import type {
  CallOptions,
  GetOptions,
  GetResult,
  ListedObject,
  ListOptions,
  ObjectHead,
  ObjectStore,
  PutOptions,
  PutOutcome,
} from './object-store.ts';

/** Requests by kind, and bytes: `bytesIn` received from the store, `bytesOut` sent to it. */
export interface RequestCounts {
  get: number;
  head: number;
  put: number;
  list: number;
  delete: number;
  bytesIn: number;
  bytesOut: number;
}

export interface RequestCountsByRole extends RequestCounts {
  byRole: Record<string, RequestCounts>;
}

export interface MeteredStore extends ObjectStore {
  /** Since this wrapper was made: totals, and the same by role. A snapshot that does not change any more. */
  counts(): RequestCountsByRole;
}

const PAGE_OBJECTS = 1000;

/** `roleOf` names the role of a path; of a list it gets the prefix. */
export function meteredStore(store: ObjectStore, roleOf: (path: string) => string): MeteredStore {
  return new CountingStore(store, roleOf);
}

function noRequests(): RequestCounts {
  return { get: 0, head: 0, put: 0, list: 0, delete: 0, bytesIn: 0, bytesOut: 0 };
}

class CountingStore implements MeteredStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly #store: ObjectStore;
  readonly #roleOf: (path: string) => string;
  readonly #byRole = new Map<string, RequestCounts>();

  constructor(store: ObjectStore, roleOf: (path: string) => string) {
    this.#store = store;
    this.#roleOf = roleOf;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
  }

  counts(): RequestCountsByRole {
    const total: RequestCountsByRole = { ...noRequests(), byRole: {} };
    for (const [role, counts] of this.#byRole) {
      total.byRole[role] = { ...counts };
      for (const key of Object.keys(counts) as (keyof RequestCounts)[]) total[key] += counts[key];
    }
    return total;
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const counts = this.#of(path);
    counts.get++;
    const result = await this.#store.get(path, options);
    if (result !== undefined) counts.bytesIn += result.bytes.length;
    return result;
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    this.#of(path).head++;
    return this.#store.head(path, options);
  }

  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const counts = this.#of(path);
    counts.put++;
    counts.bytesOut += bytes.length;
    return this.#store.put(path, bytes, options);
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ListedObject> {
    const counts = this.#of(prefix);
    counts.list++;
    let objects = 0;
    for await (const object of this.#store.list(prefix, options)) {
      if (objects > 0 && objects % PAGE_OBJECTS === 0) counts.list++;
      objects++;
      yield object;
    }
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    for (let i = 0; i < paths.length; i += PAGE_OBJECTS) this.#of(paths[i]).delete++;
    return this.#store.delete(paths, options);
  }

  #of(path: string): RequestCounts {
    const role = this.#roleOf(path);
    let counts = this.#byRole.get(role);
    if (counts === undefined) {
      counts = noRequests();
      this.#byRole.set(role, counts);
    }
    return counts;
  }
}
