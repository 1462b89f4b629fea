/**
 * A store as one process sees it: when the process "dies", calls under way never settle and nothing further reaches the
 * store, however long the abandoned handle goes on.
 */
import type { ObjectStore } from '../../src/store/object-store.ts';
import { uploadsOf } from '../../src/store/upload-calls.ts';

export interface Incarnation {
  store: ObjectStore;
  kill(): void;
}

export function incarnation(inner: ObjectStore): Incarnation {
  let alive = true;
  const never = () => new Promise<never>(() => undefined);
  const guard = <T>(call: () => Promise<T>): Promise<T> => {
    if (!alive) return never();
    return call().then(
      (value) => (alive ? value : never()),
      (error) => (alive ? Promise.reject(error) : never()),
    );
  };
  const { upload, listUploads, abortUpload } = uploadsOf(inner);
  const store: ObjectStore = {
    name: inner.name,
    ...(inner.conformance !== undefined && { conformance: inner.conformance }),
    get: (path, o) => guard(() => inner.get(path, o)),
    head: (path, o) => guard(() => inner.head(path, o)),
    put: (path, bytes, o) => guard(() => inner.put(path, bytes, o)),
    delete: (paths, o) => guard(() => inner.delete(paths, o)),
    async *list(prefix, o) {
      if (!alive) await never();
      for await (const object of inner.list(prefix, o)) {
        if (!alive) await never();
        yield object;
      }
    },
    ...(upload && {
      upload(path, o) {
        const begun = upload(path, o);
        return {
          ...(begun.partBytes !== undefined && { partBytes: begun.partBytes }),
          write: (part, digests) => guard(() => begun.write(part, digests)),
          complete: () => guard(() => begun.complete()),
          abort: () => guard(() => begun.abort()),
        };
      },
    }),
    ...(listUploads && { listUploads: (prefix, o) => guard(() => listUploads(prefix, o)) }),
    ...(abortUpload && { abortUpload: (found, o) => guard(() => abortUpload(found, o)) }),
  };
  return {
    store,
    kill() {
      alive = false;
    },
  };
}
