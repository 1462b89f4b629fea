/**
 * A store over another one: what is written goes into memory, what is read comes from there, else from the store below. For plans that
 * have to see what their first steps would do.
 *
 * Invariants:
 * 1. The store below is only read.
 * 2. An object that was written or deleted here is never taken from below again.
 */
import type { Clock } from '../common/clock.ts';
import { MemoryStore } from './memory-store.ts';
import { comparePaths } from './object-path.ts';
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

/** What was written over a store; it outlives the handles on that store (`over`). */
export class Overlay {
  readonly #upper: MemoryStore;
  readonly #deleted = new Set<string>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#upper = new MemoryStore({ clock });
  }

  /** Bytes that it holds: of everything that was written, also what was deleted since. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The store with what was written over it. */
  over(below: ObjectStore): ObjectStore {
    return {
      name: below.name,
      ...(below.conformance !== undefined && { conformance: below.conformance }),
      get: (path, options) => this.#get(below, path, options),
      head: (path, options) => this.#head(below, path, options),
      put: (path, bytes, options) => this.#put(below, path, bytes, options),
      list: (prefix, options) => this.#list(below, prefix, options),
      delete: (paths, options) => this.#delete(paths, options),
    };
  }

  async #get(below: ObjectStore, path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const written = await this.#upper.get(path, options);
    return written === undefined && !this.#deleted.has(path) ? below.get(path, options) : written;
  }

  async #head(below: ObjectStore, path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    const written = await this.#upper.head(path, options);
    return written === undefined && !this.#deleted.has(path) ? below.head(path, options) : written;
  }

  async #put(below: ObjectStore, path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const { condition, signal } = options;
    const isAbove = (await this.#upper.head(path, { ...(signal && { signal }) })) !== undefined;
    if (!isAbove && condition !== 'any') {
      const there = this.#deleted.has(path) ? undefined : await below.head(path, { ...(signal && { signal }) });
      const holds = condition === 'if-absent' ? there === undefined : there?.etag === condition.ifMatch;
      if (!holds) return { outcome: 'refused' };
    }
    // Of two that found nothing here one is refused.
    const first: PutOptions = condition === 'any' ? options : { ...options, condition: 'if-absent' };
    const outcome = await this.#upper.put(path, bytes, isAbove ? options : first);
    if (outcome.outcome === 'applied') this.#bytes += bytes.length;
    return outcome;
  }

  /** Both lists are in the order of their paths. */
  async *#list(below: ObjectStore, prefix: string, options?: ListOptions): AsyncIterable<ListedObject> {
    const written: ListedObject[] = [];
    for await (const object of this.#upper.list(prefix, options)) written.push(object);
    let next = 0;
    for await (const object of below.list(prefix, options)) {
      while (next < written.length && comparePaths(written[next].path, object.path) < 0) yield written[next++];
      const isReplaced = next < written.length && written[next].path === object.path;
      if (isReplaced) yield written[next++];
      else if (!this.#deleted.has(object.path)) yield object;
    }
    while (next < written.length) yield written[next++];
  }

  async #delete(paths: string[], options?: CallOptions): Promise<void> {
    await this.#upper.delete(paths, options);
    for (const path of paths) this.#deleted.add(path);
  }
}
