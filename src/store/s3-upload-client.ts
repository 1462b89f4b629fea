/**
 * The client that `Upload` of the SDK's lib-storage gets for one object: the store's own, and what `Upload` leaves to its client.
 *
 * Invariants:
 * 1. What may be sent twice is sent again after a failure that may pass: parts have numbers, an upload is completed at most once,
 *    and a put with a condition is refused the second time. All by the clock of the store.
 * 2. Each attempt is reported as one request.
 * 3. The first lasting failure, or the caller, ends all requests but the one that begins an upload: what it begins has to be removed.
 * 4. Parts whose ETag a proxy took out of the answer are named by the list of parts, before the completion needs them.
 */
import type { ListPartsCommandOutput, S3Client } from '@aws-sdk/client-s3';
import { type Clock, sleep } from '../common/clock.ts';
import type { DbError } from '../common/errors.ts';
import type { ObjectWriteOptions, PartDigests } from './object-store.ts';
import { MalformedAnswer } from './s3-body.ts';
import type { S3Connection } from './s3-client.ts';
import type { S3Failure, S3Operation } from './s3-errors.ts';
import { etagOf } from './s3-headers.ts';
import { keepDigests } from './s3-payload.ts';
import { isTransient, storeError } from './store-error.ts';

const ATTEMPTS = 5;
/** Doubled with each attempt. */
const RETRY_DELAY_MS = 100;
/** A server that asks for more time is not waited for longer than this. */
const MAX_ASKED_MS = 5000;
/** In place of an ETag that is absent, because `Upload` gives up without one. */
const UNNAMED = 'unnamed';

/** What an upload needs of its store. */
export interface UploadHost {
  readonly name: string;
  readonly bucket: string;
  readonly clock: Clock;
  connect(): Promise<S3Connection>;
  classify(error: unknown, op: S3Operation, signal: AbortSignal | undefined): S3Failure;
  error(failure: S3Failure, cause: unknown, path: string): DbError;
}

/** A request that goes no further: what its failure means, and the error for the caller. */
export class FailedRequest extends Error {
  readonly failure: S3Failure;
  readonly error: DbError;

  constructor(failure: S3Failure, error: DbError) {
    super(error.message, { cause: error });
    this.failure = failure;
    this.error = error;
  }
}

interface Request<T> {
  kind: 'put' | 'head' | 'list' | 'delete';
  bytesOut?: number;
  signal?: AbortSignal;
  /** Called with each failure. False: it is the last. */
  mayRepeat?: (failure: S3Failure) => boolean;
  send: (options: { abortSignal?: AbortSignal }) => Promise<T>;
}

type Part = { PartNumber?: number | undefined; ETag?: string | undefined };

/** What is in the four messages that `Upload` sends. */
interface UploadInput {
  Bucket: string;
  Key: string;
  Body?: Uint8Array;
  UploadId?: string;
  PartNumber?: number;
  MultipartUpload?: { Parts?: Part[] };
}

export class UploadClient {
  /** Of the upload that was begun and is not removed. */
  uploadId: string | undefined;
  /** A message was sent that makes the object visible. */
  isPublishing = false;
  /** An attempt of that message had no clear answer. */
  isInDoubt = false;
  /** Its answer. */
  published: object | undefined;
  /** The failure that ended the others. */
  firstFailure: FailedRequest | undefined;
  readonly #host: UploadHost;
  readonly #connection: S3Connection;
  readonly #place: { Bucket: string; Key: string };
  readonly #options: Pick<ObjectWriteOptions, 'condition' | 'onRequest' | 'beforeRequest'>;
  readonly #cut: AbortController;
  readonly #digests = new Map<number, { length: number; digests: PartDigests }>();

  /** `cut` ends requests; the first lasting failure aborts it. */
  constructor(
    host: UploadHost,
    connection: S3Connection,
    path: string,
    options: Pick<ObjectWriteOptions, 'condition' | 'onRequest' | 'beforeRequest'>,
    cut: AbortController,
  ) {
    this.#host = host;
    this.#connection = connection;
    this.#place = { Bucket: host.bucket, Key: path };
    this.#options = options;
    this.#cut = cut;
  }

  /** As `Upload` takes it: the store's client with another `send`. */
  asClient(): S3Client {
    const send = (command: { input: UploadInput }) => this.#send(command.input);
    return Object.create(this.#connection.client, { send: { value: send } });
  }

  /** Part `number` has these digests if it has this length. */
  noteDigests(number: number, length: number, digests: PartDigests): void {
    this.#digests.set(number, { length, digests });
  }

  /** Removes the parts, if there are any. Rejects with a `FailedRequest`. */
  async removeParts(signal?: AbortSignal): Promise<void> {
    const { sdk, client } = this.#connection;
    const { uploadId: UploadId } = this;
    if (UploadId === undefined) return;
    const removal = this.repeated<unknown>({
      kind: 'delete',
      ...(signal && { signal }),
      send: (options) => client.send(new sdk.AbortMultipartUploadCommand({ ...this.#place, UploadId }), options),
    });
    await removal.catch((error: unknown) => {
      if (!isGone(error)) throw error;
    });
    this.uploadId = undefined;
  }

  /** One request, again after failures that may pass. Rejects with a `FailedRequest`. */
  async repeated<T>({ kind, bytesOut = 0, signal, mayRepeat, send }: Request<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const failed = await this.#attempt(kind, bytesOut, signal, send);
      if (!(failed instanceof FailedRequest)) return failed;
      const { failure, error } = failed;
      const isAnswer = failure.verdict === 'refused' || failure.verdict === 'absent' || isGone(failed);
      const isLast = mayRepeat?.(failure) === false || attempt === ATTEMPTS || !isTransient(error) || isAnswer;
      if (isLast) throw failed;
      const askedMs = Math.min(failure.retryAfterMs ?? 0, MAX_ASKED_MS);
      try {
        await sleep(this.#host.clock, Math.max(RETRY_DELAY_MS * 2 ** (attempt - 1), askedMs), signal);
      } catch (cause) {
        throw this.#failed(cause, kind, signal);
      }
    }
  }

  async #attempt<T>(
    kind: Request<T>['kind'],
    bytesOut: number,
    signal: AbortSignal | undefined,
    send: Request<T>['send'],
  ): Promise<T | FailedRequest> {
    const giveBack = await this.#options.beforeRequest?.();
    try {
      if (signal?.aborted) return this.#failed(signal.reason, kind, signal);
      this.#options.onRequest?.(kind, bytesOut);
      return await send(signal === undefined ? {} : { abortSignal: signal });
    } catch (cause) {
      return this.#failed(cause, kind, signal);
    } finally {
      giveBack?.();
    }
  }

  #failed(cause: unknown, op: S3Operation, signal: AbortSignal | undefined): FailedRequest {
    const failure = this.#host.classify(cause, op, signal);
    return new FailedRequest(failure, this.#host.error(failure, cause, this.#place.Key));
  }

  /** The messages of `Upload`, which reads `UploadId` and `ETag` in their answers. */
  async #send(input: UploadInput): Promise<object> {
    try {
      if (input.PartNumber !== undefined) return await this.#sendPart(input, input.PartNumber);
      if (input.MultipartUpload !== undefined) return await this.#complete(input, input.MultipartUpload.Parts ?? []);
      if (input.Body !== undefined) return await this.#put(input, input.Body);
      return await this.#create(input);
    } catch (error) {
      if (error instanceof FailedRequest) this.firstFailure ??= error;
      this.#cut.abort(error);
      throw error;
    }
  }

  async #create(input: UploadInput): Promise<object> {
    const { sdk, client } = this.#connection;
    const output = await this.repeated({
      kind: 'put',
      send: () => client.send(new sdk.CreateMultipartUploadCommand(input)),
    });
    if (output.UploadId === undefined) {
      throw this.#failed(new MalformedAnswer('an upload without an id was begun'), 'put', undefined);
    }
    this.uploadId = output.UploadId;
    return output;
  }

  async #sendPart(input: UploadInput, number: number): Promise<object> {
    const { sdk, client } = this.#connection;
    const { Body = new Uint8Array(0), UploadId } = input;
    const known = this.#digests.get(number);
    this.#digests.delete(number);
    if (known?.length === Body.length) keepDigests(Body, known.digests);
    const output = await this.repeated({
      kind: 'put',
      bytesOut: Body.length,
      signal: this.#cut.signal,
      send: (options) => client.send(new sdk.UploadPartCommand({ ...input, UploadId, PartNumber: number }), options),
    });
    return { ...output, ETag: etagOf(output.ETag) || UNNAMED };
  }

  async #complete(input: UploadInput, parts: readonly Part[]): Promise<object> {
    const { sdk, client } = this.#connection;
    const Parts = await this.#named(input, parts);
    const { UploadId } = input;
    // After a conflict the upload is to be begun again.
    return this.#publish({
      kind: 'put',
      mayRepeat: ({ verdict }) => verdict !== 'conflict-in-flight',
      send: (options) =>
        client.send(
          new sdk.CompleteMultipartUploadCommand({ ...input, UploadId, MultipartUpload: { Parts } }),
          options,
        ),
    });
  }

  async #put(input: UploadInput, body: Uint8Array): Promise<object> {
    const { sdk, client } = this.#connection;
    const known = this.#digests.get(1);
    if (known?.length === body.length) keepDigests(body, known.digests);
    return this.#publish({
      kind: 'put',
      bytesOut: body.length,
      // Without a condition the first of two could be applied last, after later puts.
      mayRepeat: ({ inDoubt }) => !inDoubt || this.#options.condition !== 'any',
      send: (options) => client.send(new sdk.PutObjectCommand({ ...input, ContentLength: body.length }), options),
    });
  }

  async #publish<T extends object>(request: Request<T>): Promise<T> {
    this.isPublishing = true;
    const mayRepeat = (failure: S3Failure) => {
      this.isInDoubt ||= failure.inDoubt;
      return request.mayRepeat?.(failure) ?? true;
    };
    const output = await this.repeated({ ...request, signal: this.#cut.signal, mayRepeat });
    this.published = output;
    return output;
  }

  async #named(input: UploadInput, parts: readonly Part[]): Promise<Part[]> {
    if (parts.every((part) => part.ETag !== UNNAMED)) return [...parts];
    const { UploadId } = input;
    const { sdk, client } = this.#connection;
    const etags = new Map<number, string>();
    for (let marker: string | undefined = '0'; marker !== undefined; ) {
      const asked: string = marker;
      const page: ListPartsCommandOutput = await this.repeated({
        kind: 'list',
        signal: this.#cut.signal,
        send: (options) =>
          client.send(new sdk.ListPartsCommand({ ...this.#place, UploadId, PartNumberMarker: asked }), options),
      });
      for (const { PartNumber, ETag } of page.Parts ?? []) {
        if (PartNumber !== undefined) etags.set(PartNumber, etagOf(ETag));
      }
      marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
      if (marker !== undefined && Number(marker) <= Number(asked)) {
        throw this.#failed(new MalformedAnswer('a list of parts repeats itself'), 'list', undefined);
      }
    }
    const named = parts.map((part) =>
      part.ETag === UNNAMED ? { ...part, ETag: etags.get(part.PartNumber ?? 0) ?? '' } : part,
    );
    if (named.every((part) => part.ETag !== '')) return named;
    const message =
      'answers to uploads of parts have no ETag, so large objects cannot be put together: let the proxy on the way pass that header, or set multipartThresholdBytes above the largest object';
    const error = storeError({ cls: 'unsupported', message, store: this.#host.name, path: this.#place.Key });
    throw new FailedRequest({ verdict: 'unsupported', inDoubt: false }, error);
  }
}

/** The upload is not there any more: completed, or removed. */
function isGone(error: unknown): boolean {
  return error instanceof FailedRequest && error.failure.providerCode === 'NoSuchUpload';
}
