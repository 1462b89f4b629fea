/** A store seen from a folder of another store: the database's own root, or one database among many in a bucket. */
import { InvalidArgumentError } from '../common/errors.ts';
import { describeValue } from '../common/option-checks.ts';
import { checkPath, givenStore } from './object-path.ts';
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
import { type UploadingStore, uploadsOf } from './upload-calls.ts';

/**
 * `store` with `prefix/` before every path. Slashes at the prefix's ends do not matter; an empty one gives `store` back.
 * `close` is not passed on: the store below belongs to the caller that made it.
 */
export function prefixedStore(store: ObjectStore, prefix: string): ObjectStore {
  givenStore('prefixedStore', store);
  if (typeof prefix !== 'string') {
    const message = `prefixedStore needs a prefix that is a string, not ${describeValue(prefix)}.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message);
  }
  const folder = prefix.replace(/^\/+|\/+$/g, '');
  if (folder === '') return store;
  checkPath(store.name, folder);
  return new PrefixedStore(store, `${folder}/`);
}

class PrefixedStore implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly upload?: Required<UploadingStore>['upload'];
  readonly listUploads?: Required<UploadingStore>['listUploads'];
  readonly abortUpload?: Required<UploadingStore>['abortUpload'];
  readonly space?: Required<ObjectStore>['space'];
  readonly openFiles?: Required<ObjectStore>['openFiles'];
  readonly #store: ObjectStore;
  readonly #folder: string;

  constructor(store: ObjectStore, folder: string) {
    this.#store = store;
    this.#folder = folder;
    this.name = `${store.name.replace(/\/$/, '')}/${folder.slice(0, -1)}`;
    if (store.conformance !== undefined) this.conformance = store.conformance;
    if (store.space !== undefined) this.space = async (prefix) => store.space?.(folder + prefix);
    if (store.openFiles !== undefined) this.openFiles = () => store.openFiles?.() ?? 0;
    const { upload, listUploads, abortUpload } = uploadsOf(store);
    if (upload !== undefined) this.upload = (path, options) => upload(folder + path, options);
    if (listUploads !== undefined) {
      this.listUploads = async (prefix, options) => {
        const uploads = await listUploads(folder + prefix, options);
        return uploads.map((found) => ({ ...found, path: found.path.slice(folder.length) }));
      };
    }
    if (abortUpload !== undefined) {
      this.abortUpload = ({ path, uploadId }, options) => abortUpload({ path: folder + path, uploadId }, options);
    }
  }

  get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    return this.#store.get(this.#folder + path, options);
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    return this.#store.head(this.#folder + path, options);
  }

  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    return this.#store.put(this.#folder + path, bytes, options);
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    const { startAfter } = options;
    const inner = startAfter === undefined ? options : { ...options, startAfter: this.#folder + startAfter };
    for await (const object of this.#store.list(this.#folder + prefix, inner)) {
      yield { ...object, path: object.path.slice(this.#folder.length) };
    }
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    return this.#store.delete(
      paths.map((path) => this.#folder + path),
      options,
    );
  }
}
