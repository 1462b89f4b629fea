/**
 * Counts what a store is asked for, by the role of the object.
 *
 * Counts are what providers bill: a list costs one request per 1,000 objects (at least one), a delete one per 1,000 paths.
 * Below a retry wrapper every attempt is counted, above it every call. A store that stores an object in parts reports each request
 * (`onRequest`): the first message, each attempt of a part and the completion are one put each. Of other stores an upload is the one put
 * at its end.
 */
import type {
  CallOptions,
  GetOptions,
  GetResult,
  ListedObject,
  ListOptions,
  ObjectHead,
  ObjectStore,
  ObjectUpload,
  ObjectWriteOptions,
  PutOptions,
  PutOutcome,
  UploadOptions,
} from './object-store.ts';
import { type UploadingStore, uploadsOf } from './upload-calls.ts';

/** Requests by kind, and bytes: `bytesIn` received from the store, `bytesOut` sent to it. */
export interface RequestCounts {
  /** Reads of an object or a part of it. */
  get: number;
  /** Reads of size and metadata alone. */
  head: number;
  /** Writes; of an object in parts each request. */
  put: number;
  /** Lists, one for each 1,000 objects that they show, at least one. */
  list: number;
  /** Deletes, one for each 1,000 paths. */
  delete: number;
  /** Bytes of bodies received. */
  bytesIn: number;
  /** Bytes of bodies sent. */
  bytesOut: number;
}

/**
 * Requests and bytes in all, and by role of the object: `manifest`, `wal`, `table` and so on. What the upkeep beside the database asks for
 * counts under its own name, whatever the object: `collector`.
 */
export interface RequestCountsByRole extends RequestCounts {
  /** The same for each role that there was a request for. */
  byRole: Record<string, RequestCounts>;
}

export interface MeteredStore extends ObjectStore {
  /** Since this wrapper was made: totals, and the same by role. A snapshot that does not change any more. */
  counts(): RequestCountsByRole;
  /** Calls that have begun and not ended; of an upload each of its calls, of a list none. */
  inFlight(): number;
}

/** Objects that S3 names in one answer to a list, and deletes by one request. */
export const PAGE_OBJECTS = 1000;

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
  readonly upload?: Required<UploadingStore>['upload'];
  readonly listUploads?: Required<UploadingStore>['listUploads'];
  readonly abortUpload?: Required<UploadingStore>['abortUpload'];
  readonly #store: ObjectStore;
  readonly #roleOf: (path: string) => string;
  readonly #byRole = new Map<string, RequestCounts>();
  #inFlight = 0;

  constructor(store: ObjectStore, roleOf: (path: string) => string) {
    this.#store = store;
    this.#roleOf = roleOf;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
    const { upload: begin, listUploads, abortUpload } = uploadsOf(store);
    if (begin !== undefined) this.upload = (path, options) => this.#countedUpload(begin, path, options);
    if (listUploads !== undefined) {
      this.listUploads = async (prefix, options) => {
        const counts = this.#of(prefix);
        counts.list++;
        const uploads = await listUploads(prefix, options);
        counts.list += Math.max(0, Math.ceil(uploads.length / PAGE_OBJECTS) - 1);
        return uploads;
      };
    }
    if (abortUpload !== undefined) {
      this.abortUpload = (upload, options) => {
        this.#of(upload.path).delete++;
        return abortUpload(upload, options);
      };
    }
  }

  counts(): RequestCountsByRole {
    const total: RequestCountsByRole = { ...noRequests(), byRole: {} };
    for (const [role, counts] of this.#byRole) {
      total.byRole[role] = { ...counts };
      for (const key of Object.keys(counts) as (keyof RequestCounts)[]) total[key] += counts[key];
    }
    return total;
  }

  inFlight(): number {
    return this.#inFlight;
  }

  #underWay<T>(call: Promise<T>): Promise<T> {
    this.#inFlight++;
    const end = () => void this.#inFlight--;
    call.then(end, end);
    return call;
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const counts = this.#of(path);
    counts.get++;
    const result = await this.#underWay(this.#store.get(path, options));
    if (result !== undefined) counts.bytesIn += result.bytes.length;
    return result;
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    this.#of(path).head++;
    return this.#underWay(this.#store.head(path, options));
  }

  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const counts = this.#of(path);
    counts.put++;
    counts.bytesOut += bytes.length;
    let isFirst = true;
    const put = this.#store.put(path, bytes, {
      ...options,
      onRequest: (kind, bytesOut) => {
        // The one that was counted when the call began.
        if (isFirst) {
          counts.put--;
          counts.bytesOut -= bytes.length;
          isFirst = false;
        }
        addRequest(counts, options, kind, bytesOut);
      },
    });
    return this.#underWay(put);
  }

  #countedUpload(begin: NonNullable<ObjectStore['upload']>, path: string, options: UploadOptions): ObjectUpload {
    const counts = this.#of(path);
    let bytes = 0;
    let isReported = false;
    const upload = begin(path, {
      ...options,
      onRequest: (kind, bytesOut) => {
        isReported = true;
        addRequest(counts, options, kind, bytesOut);
      },
    });
    return {
      ...(upload.partBytes !== undefined && { partBytes: upload.partBytes }),
      write: (part, digests) => {
        bytes += part.length;
        return this.#underWay(upload.write(part, digests));
      },
      complete: async () => {
        try {
          return await this.#underWay(upload.complete());
        } finally {
          if (!isReported) addRequest(counts, options, 'put', bytes);
        }
      },
      abort: () => upload.abort(),
    };
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
    return this.#underWay(this.#store.delete(paths, options));
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

function addRequest(
  counts: RequestCounts,
  { onRequest }: ObjectWriteOptions,
  kind: 'put' | 'head' | 'list' | 'delete',
  bytesOut: number,
): void {
  counts[kind]++;
  counts.bytesOut += bytesOut;
  onRequest?.(kind, bytesOut);
}
