/**
 * A store behind a slow line, in the time of the given clock: for simulated stores and benchmarks.
 *
 * Half of the latency passes before the request reaches the store and half after; bytes take their time on the way they
 * travel. Requests overlap without limit. An abort on the way there cancels the request; on the way back the outcome of a
 * put is lost.
 */
import { type Clock, sleep } from '../common/clock.ts';
import { type ChecksOf, CLOCK_CHECK, checkedOptions, members, that } from '../common/option-checks.ts';
import { cancelledError, givenStore } from './object-path.ts';
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

export type StoreOperation = 'get' | 'head' | 'put' | 'list' | 'delete';

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

const PAGE_OBJECTS = 1000;

/** The same store, later. Errors and outcomes are those of `store`, and `kind: 'aborted'` for a signal on the way. */
export function latencyStore(store: ObjectStore, options: LatencyOptions): ObjectStore {
  const given = checkedOptions('latencyStore', options, CHECKS, ['clock', 'latencyMs']);
  return new LatencyStore(givenStore('latencyStore', store), given);
}

class LatencyStore implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly #store: ObjectStore;
  readonly #options: LatencyOptions;

  constructor(store: ObjectStore, options: LatencyOptions) {
    this.#store = store;
    this.#options = options;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const half = this.#halfMs('get', path);
    await this.#travel(half, 0, path, options);
    const result = await this.#store.get(path, options);
    await this.#travel(half, result?.bytes.length ?? 0, path, options);
    return result;
  }

  async head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    const half = this.#halfMs('head', path);
    await this.#travel(half, 0, path, options);
    const result = await this.#store.head(path, options);
    await this.#travel(half, 0, path, options);
    return result;
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const half = this.#halfMs('put', path);
    await this.#travel(half, bytes.length, path, options);
    const outcome = await this.#store.put(path, bytes, options);
    try {
      await this.#travel(half, 0, path, options);
    } catch (cause) {
      return { outcome: 'unknown', cause };
    }
    return outcome;
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

  async delete(paths: string[], options?: CallOptions): Promise<void> {
    const path = paths[0] ?? '';
    const half = this.#halfMs('delete', path);
    await this.#travel(half, 0, path, options);
    await this.#store.delete(paths, options);
    await this.#travel(half, 0, path, options);
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
