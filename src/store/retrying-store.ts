/**
 * Makes an unreliable store bounded in time and its puts settled: transient failures are tried again with full-jitter
 * exponential backoff until a deadline, and a put whose answer was lost is decided by proof.
 *
 * Invariants:
 * - A refusal of the first attempt of a put is final: it is never retried and never hidden (fencing rests on it), unless the
 *   object in the place has the put id of this very put (`proveRefusal`). A put that resumes an earlier call is in doubt from
 *   its start.
 * - All attempts of a put send the same bytes and the same put id. A refusal after an attempt without an answer is settled
 *   by reading the object: the put id in its metadata, else all of its bytes, which hold the put id themselves. Empty bytes
 *   without metadata prove nothing and count as another's. An `If-Match` put of bytes without a put id counts as applied
 *   when the object has exactly these bytes, no matter which writer wrote them: the state is the wanted one.
 * - `unknown` is given only if the deadline, the caller's signal or a lasting failure ended the put while in doubt. An error
 *   that is not from the store vocabulary says nothing about a put, so it leaves it in doubt.
 * - A refusal while another request of the same put is under way counts as one after an attempt without an answer.
 * - An upload is not tried again as a whole: `retrying-upload.ts`.
 * - No call lasts longer than its deadline, even if the store below ignores signals and never answers.
 */
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import type { DbError } from '../common/errors.ts';
import { type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { agreedRead } from './agreed-read.ts';
import { comparePaths, rangeBounds } from './object-path.ts';
import {
  type CallOptions,
  type GetOptions,
  type GetResult,
  type ListedObject,
  type ListOptions,
  type ObjectHead,
  type ObjectStore,
  PUT_ID_METADATA,
  type PutOptions,
  type PutOutcome,
} from './object-store.ts';
import { Outage } from './outage.ts';
import { retryingUpload } from './retrying-upload.ts';
import { StoreRequest } from './store-attempt.ts';
import { type CallSettings, type RetryEvent, StoreCall } from './store-call.ts';
import { isTransient, storeError } from './store-error.ts';
import { type UploadingStore, uploadsOf } from './upload-calls.ts';

export type { RetryEvent };

export interface RetryOptions {
  clock?: Clock;
  random?: Random;
  /** Deadline of one call; of a list, of each step that makes no progress. 60,000 if absent. */
  timeoutMs?: number;
  /** Limit of one attempt, to which 1 ms per KiB moved is added. 15,000 if absent. */
  attemptTimeoutMs?: number;
  /** Bounds of the backoff: 50 ms, doubled with each attempt up to 5,000 ms; a random part of it is waited. */
  baseDelayMs?: number;
  maxDelayMs?: number;
  /** Called before each wait. Must not throw. */
  onRetry?: (event: RetryEvent) => void;
}

/** A range longer than any block means "to the end" and says nothing about how much will come. */
const MAX_COUNTED_BYTES = 512 * 1024 * 1024;

export function retryingStore(store: ObjectStore, options: RetryOptions = {}): ObjectStore {
  return new RetryingStore(store, options);
}

class RetryingStore implements ObjectStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly upload?: Required<UploadingStore>['upload'];
  readonly listUploads?: Required<UploadingStore>['listUploads'];
  readonly abortUpload?: Required<UploadingStore>['abortUpload'];
  readonly #store: ObjectStore;
  readonly #settings: CallSettings;
  readonly #outage: Outage;

  constructor(store: ObjectStore, options: RetryOptions) {
    this.#store = store;
    this.#settings = {
      clock: options.clock ?? SYSTEM_CLOCK,
      random: options.random ?? SYSTEM_RANDOM,
      timeoutMs: options.timeoutMs ?? 60_000,
      attemptTimeoutMs: options.attemptTimeoutMs ?? 15_000,
      baseDelayMs: options.baseDelayMs ?? 50,
      maxDelayMs: options.maxDelayMs ?? 5000,
      ...(options.onRetry === undefined ? {} : { onRetry: options.onRetry }),
    };
    this.#outage = new Outage(this.#settings.clock, this.#settings.random);
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
    const { upload: begin, listUploads, abortUpload } = uploadsOf(store);
    if (begin !== undefined) {
      const { clock, timeoutMs } = this.#settings;
      this.upload = (path, given) => {
        const call = (signal?: AbortSignal) => this.#call('put', path, signal && { signal });
        return retryingUpload(begin, { store, clock, timeoutMs, call }, path, given);
      };
    }
    if (listUploads !== undefined) {
      this.listUploads = (prefix, given) =>
        this.#call('list', prefix, given).run(0, (request) => listUploads(prefix, request.options(given)));
    }
    if (abortUpload !== undefined) {
      this.abortUpload = (upload, given) =>
        this.#call('delete', upload.path, given).run(0, (request) => abortUpload(upload, request.options(given)));
    }
  }

  get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const call = this.#call('get', path, options);
    const range = options?.range;
    const asked = range === undefined ? 0 : 'suffix' in range ? range.suffix : range.length;
    return call.run(asked > MAX_COUNTED_BYTES ? 0 : asked, (request) =>
      this.#checkedGet(path, request.options(options)),
    );
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    return this.#call('head', path, options).run(0, (request) => this.#store.head(path, request.options(options)));
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    const call = this.#call('delete', paths[0] ?? '', options);
    return call.run(0, (request) => this.#store.delete(paths, request.options(options)));
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const call = this.#call('put', path, options);
    let doubt: { cause: unknown } | undefined = options.resumed === true ? { cause: undefined } : undefined;
    for (;;) {
      let failure: DbError;
      try {
        const answer = await call.attempt(
          bytes.length,
          (request) => this.#store.put(path, bytes, request.options(options)),
          // Without a condition the first of two could be applied last, after later puts; empty bytes may prove nothing.
          options.condition !== 'any' && bytes.length > 0,
        );
        if (call.leftUnanswered) doubt ??= { cause: undefined };
        if (answer.outcome === 'applied') return doubt === undefined ? answer : { ...answer, afterUnknown: true };
        if (answer.outcome === 'refused') {
          if (doubt === undefined && options.proveRefusal !== true) return answer;
          return await this.#prove(call, bytes, options, doubt !== undefined);
        }
        doubt = { cause: answer.cause };
        failure = call.asStoreError(answer.cause);
        // In doubt means retry, whatever the cause.
        if (!isTransient(failure)) failure = call.error('unavailable', 'the answer to a put was lost', failure);
      } catch (error) {
        failure = call.asStoreError(error);
        if (call.leftUnanswered) doubt = { cause: failure };
        if (!isTransient(failure)) {
          if (doubt === undefined) throw failure;
          return { outcome: 'unknown', cause: failure };
        }
      }
      try {
        await call.pause(failure);
      } catch (final) {
        if (doubt === undefined) throw final;
        return { outcome: 'unknown', cause: doubt.cause };
      }
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    const call = this.#call('list', prefix, options);
    let startAfter = options.startAfter;
    let steps: ListSteps | undefined;
    try {
      for (;;) {
        let result: IteratorResult<ListedObject>;
        const begun = steps;
        steps = undefined;
        try {
          ({ result, steps } = await this.#listStep(call, prefix, startAfter, options, begun));
        } catch (error) {
          begun?.abort();
          const failure = call.asStoreError(error);
          if (!isTransient(failure)) throw failure;
          await call.pause(failure);
          continue;
        }
        if (result.done) {
          steps = undefined;
          return;
        }
        // Not tried again: what a list out of order has left out does not come after its last object.
        this.#checkListed(call, prefix, startAfter, result.value);
        startAfter = result.value.path;
        yield result.value;
        call.restart();
      }
    } finally {
      steps?.abort();
    }
  }

  /** The next object, from the list that was begun if there is one; a list that hangs is started once more after the last object received. */
  #listStep(
    call: StoreCall,
    prefix: string,
    startAfter: string | undefined,
    options: ListOptions,
    begun: ListSteps | undefined,
  ): Promise<{ result: IteratorResult<ListedObject>; steps: ListSteps }> {
    let left = begun;
    return call.attempt(0, async (request) => {
      const steps =
        left ?? listSteps(this.#store, prefix, startAfter === undefined ? options : { ...options, startAfter });
      left = undefined;
      request.onAbort = steps.abort;
      try {
        return { result: await steps.iterator.next(), steps };
      } catch (error) {
        steps.abort();
        throw error;
      }
    });
  }

  #call(op: RetryEvent['op'], path: string, options: CallOptions | undefined): StoreCall {
    return new StoreCall(this.#settings, this.#outage, this.name, op, path, options?.signal);
  }

  /** A body shorter or longer than the object's size demands never reaches the caller. */
  async #checkedGet(path: string, options: GetOptions): Promise<GetResult | undefined> {
    const result = await this.#store.get(path, options);
    if (result === undefined) return undefined;
    const { start, end } = rangeBounds(options.range, result.size);
    if (result.bytes.length === end - start) return result;
    const message = `${result.bytes.length} bytes came for the ${end - start} that were asked for`;
    throw storeError({ cls: 'malformed-response', message, store: this.name, path });
  }

  #checkListed(call: StoreCall, prefix: string, startAfter: string | undefined, object: ListedObject): void {
    const { path } = object;
    if (path.startsWith(prefix) && (startAfter === undefined || comparePaths(path, startAfter) > 0)) return;
    throw call.error('malformed-response', `the list is not in order at ${JSON.stringify(path)}`);
  }

  /**
   * Whose object is in the place that refused us? Perhaps our own: a proxy on the way may have sent the put twice, and the answer
   * to the second is the one that came. Without an attempt in doubt only the put id can say so; equal bytes need not be ours.
   */
  async #prove(call: StoreCall, bytes: Uint8Array, options: PutOptions, inDoubt: boolean): Promise<PutOutcome> {
    const { path } = call;
    const others: PutOutcome = inDoubt ? { outcome: 'refused', afterUnknown: true } : { outcome: 'refused' };
    try {
      const head = await call.run(0, (request) => this.#store.head(path, request.options({})));
      if (head === undefined) return others;
      const { etag, storeTimeMs } = head;
      const ours: PutOutcome = { outcome: 'applied', attempt: 'earlier', etag, storeTimeMs, afterUnknown: true };
      const putId = head.metadata[PUT_ID_METADATA];
      if (putId !== undefined) return putId === options.putId ? ours : others;
      if (!inDoubt || bytes.length === 0 || head.size !== bytes.length) return others;
      const found = await agreedRead(bytes, { store: this.name, path }, () =>
        call.run(bytes.length, (request) => this.#checkedGet(path, request.options({}))),
      );
      if (found === undefined || Buffer.compare(found.bytes, bytes) !== 0) return others;
      return { ...ours, etag: found.etag };
    } catch (cause) {
      return { outcome: 'unknown', cause };
    }
  }
}

interface ListSteps {
  iterator: AsyncIterator<ListedObject>;
  abort(): void;
}

function listSteps(store: ObjectStore, prefix: string, options: ListOptions): ListSteps {
  const request = new StoreRequest(0);
  const iterator = store.list(prefix, request.options(options))[Symbol.asyncIterator]();
  const abort = () => {
    request.abort(undefined);
    iterator.return?.().catch(() => undefined);
  };
  return { iterator, abort };
}
