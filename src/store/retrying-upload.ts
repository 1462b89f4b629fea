/**
 * Uploads to an unreliable store, bounded in time and settled as far as that is possible without their bytes: the store itself sends
 * a failed part again; what it gives up is given up here too, because the bytes are gone.
 *
 * Invariants:
 * 1. No call waits longer than its deadline, even if the store below ignores signals and never answers. A deadline is the time of a call
 *    and 1 ms for each KiB that may still be on its way.
 * 2. A completion without a clear answer is decided by the put id of the object in the place. Where that shows nothing, it stays
 *    `unknown`. A refusal by this very put is `applied`.
 */
import type { Clock } from '../common/clock.ts';
import {
  type ObjectStore,
  type ObjectUpload,
  type PartDigests,
  PUT_ID_METADATA,
  type PutOutcome,
  type UploadOptions,
} from './object-store.ts';
import { MOVED_BYTES_PER_MS, type StoreCall } from './store-call.ts';
import { type UploadSteps, uploadOf } from './upload-calls.ts';

/** More than a store holds of an upload at any time. */
const MAX_HELD_BYTES = 64 << 20;

export interface UploadRetries {
  store: ObjectStore;
  clock: Clock;
  timeoutMs: number;
  /** A call with retries and a deadline of its own. */
  call: (signal?: AbortSignal) => StoreCall;
}

export function retryingUpload(
  begin: NonNullable<ObjectStore['upload']>,
  retries: UploadRetries,
  path: string,
  options: UploadOptions,
): ObjectUpload {
  return uploadOf(retries.store.name, path, options, new RetryingSteps(begin, retries, path, options));
}

class RetryingSteps implements UploadSteps {
  readonly partBytes?: number;
  readonly #retries: UploadRetries;
  readonly #path: string;
  readonly #options: UploadOptions;
  readonly #upload: ObjectUpload;
  readonly #ended = new AbortController();
  #written = 0;
  /** Ends the step under way. */
  #leave: ((reason: unknown) => void) | undefined;

  constructor(begin: NonNullable<ObjectStore['upload']>, retries: UploadRetries, path: string, options: UploadOptions) {
    this.#retries = retries;
    this.#path = path;
    this.#options = options;
    this.#upload = begin(path, { ...options, signal: this.#ended.signal });
    if (this.#upload.partBytes !== undefined) this.partBytes = this.#upload.partBytes;
  }

  async write(part: Uint8Array, digests: PartDigests | undefined): Promise<void> {
    this.#written += part.length;
    try {
      await this.#bounded(
        () => this.#upload.write(part, digests),
        () => undefined,
      );
    } catch (error) {
      throw this.#retries.call().asStoreError(error);
    }
  }

  async complete(): Promise<PutOutcome> {
    return this.#settled(await this.#completed());
  }

  cut(reason: unknown): void {
    this.#leave?.(reason);
  }

  discard(): Promise<void> {
    return this.#retries.call().run(0, () => this.#upload.abort());
  }

  /** What `step` comes to, or a rejection when its time is up or it is cut, after `onLeft`. */
  #bounded<T>(step: () => Promise<T>, onLeft: () => void): Promise<T> {
    const { clock, timeoutMs, call } = this.#retries;
    const limitMs = timeoutMs + Math.min(this.#written, MAX_HELD_BYTES) / MOVED_BYTES_PER_MS;
    return new Promise<T>((resolve, reject) => {
      const leave = (reason: unknown) => {
        timer.cancel();
        onLeft();
        reject(reason);
        this.#ended.abort(reason);
      };
      const timer = clock.setTimer(limitMs, () =>
        leave(call().error('timeout', `an upload made no progress within ${Math.round(limitMs)} ms`)),
      );
      this.#leave = leave;
      step()
        .then(resolve, reject)
        .finally(() => timer.cancel());
    });
  }

  async #completed(): Promise<PutOutcome> {
    let isLeft = false;
    try {
      return await this.#bounded(
        () => this.#upload.complete(),
        () => {
          isLeft = true;
        },
      );
    } catch (error) {
      const failure = this.#retries.call().asStoreError(error);
      // What does not come from the vocabulary of stores says nothing about what was done.
      if (isLeft || failure !== error) return { outcome: 'unknown', cause: failure };
      throw failure;
    }
  }

  /** The outcome, decided by the put id of the object in the place if it is not clear. */
  async #settled(outcome: PutOutcome): Promise<PutOutcome> {
    const { store, call } = this.#retries;
    const { signal, putId: ownId } = this.#options;
    if (outcome.outcome === 'applied' || signal?.aborted) return outcome;
    try {
      const head = await call(signal).run(0, (request) => store.head(this.#path, request.options({})));
      const putId = head?.metadata[PUT_ID_METADATA];
      if (head === undefined || putId === undefined) return outcome;
      const { etag, storeTimeMs } = head;
      if (putId === ownId) return { outcome: 'applied', attempt: 'earlier', etag, storeTimeMs, afterUnknown: true };
      return outcome.outcome === 'unknown' ? { outcome: 'refused', afterUnknown: true } : outcome;
    } catch (cause) {
      return outcome.outcome === 'refused' ? { outcome: 'unknown', cause } : outcome;
    }
  }
}
