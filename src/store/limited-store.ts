/**
 * A store of which only so many requests are under way at a time, for work in the background: one limit for all calls through it, and through
 * the other stores that share its slots.
 *
 * ```
 * call   slots left and nobody waits: sent                     else it waits
 * end    its slot goes to the call that has waited longest
 * most   set, less what the foreground has under way; but always one, and all where the work is urgent
 * ```
 *
 * 1. Calls begin in the order in which they came. One whose signal aborts leaves the order, and sends nothing.
 * 2. A call never waits while it has a slot: of an upload in parts each request takes one (`beforeRequest`), not the upload; of others each
 *    call. So a limit of one request ends nothing.
 * 3. A slot is a call of this store: one that a store below sends again, in place of a request that hangs, has no other.
 * 4. Lists, deletions and what is said of unfinished uploads are passed on without a limit.
 */
import { abortError, onAbort } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import type { ObjectStore, ObjectUpload, UploadOptions } from './object-store.ts';
import { uploadOf, uploadsOf } from './upload-calls.ts';

export interface RequestSlotsOptions {
  /** Requests at a time, at least one. */
  most: number;
  /** Requests that the foreground has under way: so many fewer are for the work here. */
  foreground(): number;
  /** Whether the work here is not to wait for the foreground, which would have to wait for it soon. */
  isUrgent(): boolean;
}

/** What is left of a limit, for all stores that share it. */
export class RequestSlots {
  readonly #options: RequestSlotsOptions;
  #taken = 0;
  readonly #waiting = new Set<() => void>();

  constructor(options: RequestSlotsOptions) {
    assertThat(options.most >= 1, 'some request may be sent');
    this.#options = options;
  }

  /** Resolves with the function that gives the slot back. Rejects with an `AbortError` when `signal` aborts. */
  take(signal?: AbortSignal): Promise<() => void> {
    if (signal?.aborted) return Promise.reject(abortError(signal));
    return new Promise((resolve, reject) => {
      let stopWaiting = () => {};
      const grant = () => {
        stopWaiting();
        this.#taken++;
        resolve(this.#giveBackOnce());
      };
      if (signal !== undefined) {
        stopWaiting = onAbort(signal, () => {
          this.#waiting.delete(grant);
          reject(abortError(signal));
        });
      }
      this.#waiting.add(grant);
      this.#grant();
    });
  }

  #giveBackOnce(): () => void {
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#taken--;
      this.#grant();
    };
  }

  #grant(): void {
    for (const grant of this.#waiting) {
      if (this.#taken >= this.#allowed()) return;
      this.#waiting.delete(grant);
      grant();
    }
  }

  #allowed(): number {
    const { most, foreground, isUrgent } = this.#options;
    return isUrgent() ? most : Math.max(1, most - foreground());
  }
}

/** `store` within the limit of `slots`. `close` is not passed on. */
export function limitedStore(store: ObjectStore, slots: RequestSlots): ObjectStore {
  const { upload, listUploads, abortUpload } = uploadsOf(store);
  const within = <T>(signal: AbortSignal | undefined, call: () => Promise<T>) => withSlot(slots, signal, call);
  return {
    name: store.name,
    ...(store.conformance !== undefined && { conformance: store.conformance }),
    get: (path, options) => within(options?.signal, () => store.get(path, options)),
    head: (path, options) => within(options?.signal, () => store.head(path, options)),
    put: (path, bytes, options) => within(options.signal, () => store.put(path, bytes, options)),
    list: (prefix, options) => store.list(prefix, options),
    delete: (paths, options) => store.delete(paths, options),
    ...(upload && { upload: (path, options) => limitedUpload(upload, store.name, path, options, slots) }),
    ...(listUploads && { listUploads }),
    ...(abortUpload && { abortUpload }),
  };
}

async function withSlot<T>(slots: RequestSlots, signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
  const giveBack = await slots.take(signal);
  try {
    return await call();
  } finally {
    giveBack();
  }
}

function limitedUpload(
  begin: NonNullable<ObjectStore['upload']>,
  store: string,
  path: string,
  options: UploadOptions,
  slots: RequestSlots,
): ObjectUpload {
  const ended = new AbortController();
  const upload = begin(path, { ...options, signal: ended.signal, beforeRequest: () => slots.take() });
  // Where a store sends parts, its requests take slots, also those that remove them.
  const within = <T>(call: () => Promise<T>) =>
    upload.partBytes === undefined ? withSlot(slots, ended.signal, call) : call();
  return uploadOf(store, path, options, {
    ...(upload.partBytes !== undefined && { partBytes: upload.partBytes }),
    write: (part, digests) => within(() => upload.write(part, digests)),
    complete: () => within(() => upload.complete()),
    cut: (reason) => ended.abort(reason),
    discard: () => upload.abort(),
  });
}
