// A custom store: everything an `ObjectStore` must do, on a Map. A real one calls a service instead.
import { AbortError, PUT_ID_METADATA } from 'shaledb';

export class MapStore {
  name = 'map:';
  #objects = new Map();
  #versions = 0;

  async get(path, { range, signal } = {}) {
    this.#check(signal);
    const object = this.#objects.get(path);
    if (object === undefined) return undefined;
    const size = object.bytes.length;
    const { start, end } = bounds(range, size);
    return { ...this.#facts(object), bytes: object.bytes.slice(start, end), size };
  }

  async head(path, { signal } = {}) {
    this.#check(signal);
    const object = this.#objects.get(path);
    return object && { ...this.#facts(object), size: object.bytes.length, lastModifiedMs: object.modifiedMs };
  }

  /** Refused is an outcome, not an error: the protocol reacts to it. */
  async put(path, bytes, { condition, putId, signal }) {
    this.#check(signal);
    const old = this.#objects.get(path);
    if (condition === 'if-absent' && old !== undefined) return { outcome: 'refused' };
    if (condition.ifMatch !== undefined && old?.etag !== condition.ifMatch) return { outcome: 'refused' };
    const etag = `"${++this.#versions}"`;
    const modifiedMs = Date.now();
    this.#objects.set(path, { bytes: bytes.slice(), etag, modifiedMs, metadata: { [PUT_ID_METADATA]: putId } });
    return { outcome: 'applied', attempt: 'now', etag, storeTimeMs: modifiedMs };
  }

  /** In the order of the paths' bytes, from a copy made at the beginning. */
  async *list(prefix, { startAfter, signal } = {}) {
    this.#check(signal);
    const paths = [...this.#objects.keys()].filter((p) => p.startsWith(prefix));
    for (const path of paths.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))) {
      if (startAfter !== undefined && Buffer.compare(Buffer.from(path), Buffer.from(startAfter)) <= 0) continue;
      const object = this.#objects.get(path);
      if (object === undefined) continue;
      yield { path, size: object.bytes.length, etag: object.etag, lastModifiedMs: object.modifiedMs };
    }
  }

  async delete(paths, { signal } = {}) {
    this.#check(signal);
    for (const path of paths) this.#objects.delete(path);
  }

  #facts({ etag, metadata }) {
    return { etag, metadata, storeTimeMs: Date.now() };
  }

  #check(signal) {
    if (signal?.aborted) throw new AbortError(undefined, { cause: signal.reason });
  }
}

function bounds(range, size) {
  if (range === undefined) return { start: 0, end: size };
  if (range.suffix !== undefined) return { start: Math.max(0, size - range.suffix), end: size };
  return { start: Math.min(range.offset, size), end: Math.min(range.offset + range.length, size) };
}
