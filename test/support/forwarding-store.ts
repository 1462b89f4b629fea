/** A store whose calls all go to another one, to change some of them. */
import type { ObjectStore } from '../../src/store/object-store.ts';
import { uploadsOf } from '../../src/store/upload-calls.ts';

export function forwarding(store: ObjectStore): ObjectStore {
  return {
    name: store.name,
    get: (path, options) => store.get(path, options),
    head: (path, options) => store.head(path, options),
    put: (path, bytes, options) => store.put(path, bytes, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (paths, options) => store.delete(paths, options),
    ...uploadsOf(store),
  };
}
