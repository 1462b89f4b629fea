/**
 * A store with simulated latency and bandwidth, in the time of the given clock: for simulated stores and benchmarks.
 *
 * Half of the latency passes before the request reaches the store and half after; bytes take their time on the way they
 * travel. Requests overlap without limit. An abort on the way there cancels the request; on the way back the outcome of a
 * put is lost. The bytes of an upload take their time when they are written, its completion that of a put.
 */
import { type Clock, sleep } from '../common/clock.ts';
import { type ChecksOf, CLOCK_CHECK, checkedOptions, members, that } from '../common/option-checks.ts';
import { PAGE_OBJECTS } from './metered-store.ts';
import { cancelledError, givenStore } from './object-path.ts';
import type {
  CallOptions,
  GetOptions,
  GetResult,
  ListedObject,
  ListOptions,
  ObjectHead,
  ObjectStore,
  ObjectUpload,
  PutOptions,
  PutOutcome,
  UploadOptions,
} from './object-store.ts';
import { type UploadingStore, uploadOf, uploadsOf } from './upload-calls.ts';

/** The operations of a store. */
export type StoreOperation = 'get' | 'head' | 'put' | 'list' | 'delete';

/** How long requests take. */
export interface LatencyOptions {
  /** Whose time passes: a `ManualClock` in tests. */
  clock: Clock;
  /** Round trip in ms: one for all operations, one per operation (0 where absent), or computed per request. */
  latencyMs: number | Partial<Record<StoreOperation, number>> | ((op: StoreOperation, path: string) => number);
  /** Speed of the line in each direction, bytes per ms; unlimited if absent. */
  bytesPerMs?: number;
}

const ms = that('a number of at least 0', (v) => typeof v === 'number' && v >= 0);
const perOperation = members({ get: ms, head: ms, put: ms, list: ms, delete: ms });

const CHECKS: ChecksOf<LatencyOptions> = {
  clock: CLOCK_CHECK,
  latencyMs: (value, name, faults) => {
    if (typeof value === 'function') return value;
    return typeof value === 'object' ? perOperation(value, name, faults) : ms(value, name, faults);
  },
  bytesPerMs: that('a number above 0', (v) => typeof v === 'number' && v > 0),
};

/** The same store, later. Errors and outcomes are those of `store`, and `kind: 'aborted'` for a signal on the way. */
export function latencyStore(store: ObjectStore, options: LatencyOptions): ObjectStore {
  const given = checkedOptions('latencyStore', options, CHECKS, ['clock', 'latencyMs']);
  return new LatencyStore(givenStore('latencyStore', store), given);
}

class LatencyStore implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly upload?: Required<UploadingStore>['upload'];
  readonly listUploads?: Required<UploadingStore>['listUploads'];
  readonly abortUpload?: Required<UploadingStore>['abortUpload'];
  readonly #store: ObjectStore;
  readonly #options: LatencyOptions;

  constructor(store: ObjectStore, options: LatencyOptions) {
    this.#store = store;
    this.#options = options;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
    const { upload: begin, listUploads, abortUpload } = uploadsOf(store);
    if (begin !== undefined) this.upload = (path, options) => this.#slowUpload(begin, path, options);
    if (listUploads !== undefined) {
      this.listUploads = (prefix, options) =>
        this.#roundTrip('list', prefix, options, () => listUploads(prefix, options));
    }
    if (abortUpload !== undefined) {
      this.abortUpload = (upload, options) =>
        this.#roundTrip('delete', upload.path, options, () => abortUpload(upload, options));
    }
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const half = this.#halfMs('get', path);
    await this.#travel(half, 0, path, options);
    const result = await this.#store.get(path, options);
    await this.#travel(half, result?.bytes.length ?? 0, path, options);
    return result;
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    return this.#roundTrip('head', path, options, () => this.#store.head(path, options));
  }

  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    return this.#write(path, bytes.length, options, () => this.#store.put(path, bytes, options));
  }

  #slowUpload(begin: NonNullable<ObjectStore['upload']>, path: string, options: UploadOptions): ObjectUpload {
    const ended = new AbortController();
    const own = { ...options, signal: ended.signal };
    const upload = begin(path, own);
    return uploadOf(this.name, path, options, {
      ...(upload.partBytes !== undefined && { partBytes: upload.partBytes }),
      write: async (part, digests) => {
        await this.#travel(0, part.length, path, own);
        await upload.write(part, digests);
      },
      complete: () => this.#write(path, 0, own, () => upload.complete()),
      cut: (reason) => ended.abort(reason),
      discard: () => upload.abort(),
    });
  }

  async #write(
    path: string,
    bytes: number,
    options: CallOptions,
    send: () => Promise<PutOutcome>,
  ): Promise<PutOutcome> {
    const half = this.#halfMs('put', path);
    await this.#travel(half, bytes, path, options);
    const outcome = await send();
    try {
      await this.#travel(half, 0, path, options);
    } catch (cause) {
      return { outcome: 'unknown', cause };
    }
    return outcome;
  }

  async #roundTrip<T>(
    op: StoreOperation,
    path: string,
    options: CallOptions | undefined,
    send: () => Promise<T>,
  ): Promise<T> {
    const half = this.#halfMs(op, path);
    await this.#travel(half, 0, path, options);
    const result = await send();
    await this.#travel(half, 0, path, options);
    return result;
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ListedObject> {
    const half = this.#halfMs('list', prefix);
    await this.#travel(half, 0, prefix, options);
    // Taken page by page, so that what the store does between two objects of a page is not spread over time.
    let page: ListedObject[] = [];
    for await (const object of this.#store.list(prefix, options)) {
      page.push(object);
      if (page.length < PAGE_OBJECTS) continue;
      await this.#travel(half, 0, prefix, options);
      yield* page;
      page = [];
      await this.#travel(half, 0, prefix, options);
    }
    await this.#travel(half, 0, prefix, options);
    yield* page;
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    return this.#roundTrip('delete', paths[0] ?? '', options, () => this.#store.delete(paths, options));
  }

  #halfMs(op: StoreOperation, path: string): number {
    const { latencyMs } = this.#options;
    if (typeof latencyMs === 'number') return latencyMs / 2;
    return (typeof latencyMs === 'function' ? latencyMs(op, path) : (latencyMs[op] ?? 0)) / 2;
  }

  async #travel(halfMs: number, bytes: number, path: string, options: CallOptions | undefined): Promise<void> {
    const { bytesPerMs } = this.#options;
    const delayMs = halfMs + (bytesPerMs === undefined ? 0 : bytes / bytesPerMs);
    if (delayMs <= 0) return;
    try {
      await sleep(this.#options.clock, delayMs, options?.signal);
    } catch {
      throw cancelledError(this.name, path, options?.signal);
    }
  }
}
