/**
 * Objects in memory: for tests, caches of whole databases and `memory:` locations.
 *
 * Every call takes effect at once, in the order of the calls, so conditions are exact. Paths are kept in a sorted array:
 * a list costs nothing to sort, and new ids mostly append near the end of their prefix.
 */
import { present } from '../common/assert.ts';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { type ChecksOf, CLOCK_CHECK, checkedOptions, filledText } from '../common/option-checks.ts';
import { collectedUpload } from './collected-upload.ts';
import { checkPath, checkRange, checkSignal, comparePaths, rangeBounds, sameEtag } from './object-path.ts';
import {
  type CallOptions,
  type GetOptions,
  type GetResult,
  type ListedObject,
  type ListOptions,
  type ObjectHead,
  type ObjectStore,
  type ObjectUpload,
  PUT_ID_METADATA,
  type PutOptions,
  type PutOutcome,
  type UploadOptions,
} from './object-store.ts';

interface StoredObject {
  bytes: Uint8Array;
  etag: string;
  modifiedMs: number;
  metadata: Readonly<Record<string, string>>;
}

/** Options of a store in memory. Each is optional. */
export interface MemoryStoreOptions {
  /** Time of its answers, for tests. Default: the system's. */
  clock?: Clock;
  /** For messages; `memory:` if absent. */
  name?: string;
}

const CHECKS: ChecksOf<MemoryStoreOptions> = { clock: CLOCK_CHECK, name: filledText };

/** A store that lives as long as this object. Copies bytes in and out. */
export class MemoryStore implements ObjectStore {
  readonly name: string;
  readonly conformance = 'known';
  readonly #clock: Clock;
  readonly #objects = new Map<string, StoredObject>();
  #paths: string[] = [];
  #versions = 0;

  constructor(options: MemoryStoreOptions = {}) {
    const { clock = SYSTEM_CLOCK, name = 'memory:' } = checkedOptions('MemoryStore', options, CHECKS);
    this.#clock = clock;
    this.name = name;
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    this.#check(path, options);
    checkRange(this.name, path, options?.range);
    const object = this.#objects.get(path);
    if (object === undefined) return undefined;
    const size = object.bytes.length;
    const { start, end } = rangeBounds(options?.range, size);
    const { etag, metadata } = object;
    return { bytes: object.bytes.slice(start, end), size, etag, storeTimeMs: this.#clock.nowMs(), metadata };
  }

  async head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    this.#check(path, options);
    const object = this.#objects.get(path);
    if (object === undefined) return undefined;
    const { bytes, etag, modifiedMs, metadata } = object;
    return { size: bytes.length, etag, lastModifiedMs: modifiedMs, storeTimeMs: this.#clock.nowMs(), metadata };
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    this.#check(path, options);
    return this.#place(path, new Uint8Array(bytes), options);
  }

  upload(path: string, options: UploadOptions): ObjectUpload {
    checkPath(this.name, path);
    return collectedUpload(this.name, path, options, async (bytes) => this.#place(path, bytes, options));
  }

  #place(path: string, bytes: Uint8Array, { condition, putId }: PutOptions): PutOutcome {
    const old = this.#objects.get(path);
    if (condition === 'if-absent' && old !== undefined) return { outcome: 'refused' };
    if (typeof condition === 'object' && (old === undefined || !sameEtag(old.etag, condition.ifMatch))) {
      return { outcome: 'refused' };
    }
    const now = this.#clock.nowMs();
    const etag = `"${++this.#versions}"`;
    const metadata = Object.freeze({ [PUT_ID_METADATA]: putId });
    this.#objects.set(path, { bytes, etag, modifiedMs: now, metadata });
    if (old === undefined) this.#paths.splice(this.#firstAtOrAfter(path), 0, path);
    return { outcome: 'applied', attempt: 'now', etag, storeTimeMs: now };
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    const { startAfter } = options;
    let at = startAfter !== undefined && comparePaths(startAfter, prefix) >= 0 ? startAfter : prefix;
    let inclusive = at !== startAfter;
    for (;;) {
      checkSignal(this.name, prefix, options);
      // Searched again for each page, because objects come and go while the consumer works.
      const page = this.#page(prefix, at, inclusive);
      if (page.length === 0) return;
      for (const object of page) yield object;
      at = page[page.length - 1].path;
      inclusive = false;
    }
  }

  async delete(paths: string[], options?: CallOptions): Promise<void> {
    for (const path of paths) this.#check(path, options);
    let removed = 0;
    for (const path of paths) if (this.#objects.delete(path)) removed++;
    if (removed === 1 && paths.length === 1) this.#paths.splice(this.#firstAtOrAfter(paths[0]), 1);
    else if (removed > 0) this.#paths = this.#paths.filter((path) => this.#objects.has(path));
  }

  #check(path: string, options: CallOptions | undefined): void {
    checkPath(this.name, path);
    checkSignal(this.name, path, options);
  }

  #page(prefix: string, at: string, inclusive: boolean): ListedObject[] {
    const page: ListedObject[] = [];
    const storeTimeMs = this.#clock.nowMs();
    let i = this.#firstAtOrAfter(at);
    if (!inclusive && this.#paths[i] === at) i++;
    for (; i < this.#paths.length && page.length < 1000; i++) {
      const path = this.#paths[i];
      if (!path.startsWith(prefix)) break;
      const { bytes, etag, modifiedMs } = present(this.#objects.get(path), 'paths are those of the objects');
      page.push({ path, size: bytes.length, etag, lastModifiedMs: modifiedMs, storeTimeMs });
    }
    return page;
  }

  #firstAtOrAfter(path: string): number {
    let low = 0;
    let high = this.#paths.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (comparePaths(this.#paths[middle], path) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
