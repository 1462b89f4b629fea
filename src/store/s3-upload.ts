/**
 * One object that is stored on S3 in parts, by `Upload` of the SDK's lib-storage: it cuts the bytes, sends parts side by side and
 * completes, or puts what fits one part at once.
 *
 * Invariants:
 * 1. The condition and the put id are parameters of all messages, so they reach the completion, or the one put.
 * 2. `Upload` never removes parts by itself (`leavePartsOnError`): a removal that races a completion would make what was applied look
 *    as if it had failed. Its own abort is not used either, because it leaves requests under way; here `cut` ends them.
 * 3. Whatever error ended the completion, a HEAD decides: this put id in the place is `applied`, another one a refusal. Only then are
 *    parts removed. Where the answer to the completion was lost, a second HEAD after that decides again, because servers answer the
 *    removal of a completed upload with a success. Where a HEAD or the removal is impossible the outcome is `unknown` and the parts stay.
 * 4. Parts have one size but the last. Of a stream `STREAM_PARTS_IN_FLIGHT` are held at most, and one more while pieces are joined to a
 *    part. The pieces are small, because `Upload` copies bytes once if it joins them, and twice if it cuts them.
 */
import { Readable } from 'node:stream';
import { untilAborted } from '../common/abort.ts';
import { type Deferred, deferred } from '../common/async.ts';
import { type DbError, isDbError } from '../common/errors.ts';
import {
  type CallOptions,
  type ObjectHead,
  type ObjectWriteOptions,
  type PartDigests,
  PUT_ID_METADATA,
  type PutOutcome,
} from './object-store.ts';
import { loadS3Upload } from './s3-client.ts';
import { conditionHeader } from './s3-headers.ts';
import { FailedRequest, UploadClient, type UploadHost } from './s3-upload-client.ts';
import { storeError } from './store-error.ts';
import type { UploadSteps } from './upload-calls.ts';

const MAX_PARTS = 10_000;
const STREAM_PARTS_IN_FLIGHT = 2;
/** Of a stream: those on their way, and the one that is being joined. */
export const HELD_PARTS = STREAM_PARTS_IN_FLIGHT + 1;
/** Of a body that is in memory anyway. */
const BODY_PARTS_IN_FLIGHT = 4;
const PIECE_BYTES = 256 << 10;

export interface S3UploadHost extends UploadHost {
  head(path: string, options: CallOptions): Promise<ObjectHead | undefined>;
  /** The outcome of a write of so many bytes that was answered with a success. */
  applied(path: string, length: number, output: object, options: ObjectWriteOptions): Promise<PutOutcome>;
}

export interface S3UploadSource {
  partBytes: number;
  /** The whole object. Absent: its bytes come by `write`. */
  body?: Uint8Array;
  expectedBytes?: number;
}

interface Begun {
  client: UploadClient;
  /** What `Upload` comes to. */
  done: Promise<unknown>;
  feed: Feed | undefined;
}

/** The steps of an upload; of a whole body `complete` is the only one. */
export class S3Upload implements UploadSteps {
  readonly partBytes: number;
  readonly #host: S3UploadHost;
  readonly #path: string;
  readonly #options: ObjectWriteOptions;
  readonly #body: Uint8Array | undefined;
  /** Aborted when no request is to go on. */
  readonly #requests = new AbortController();
  /** Aborted when the caller does not wait any more. */
  readonly #caller = new AbortController();
  #begun: Promise<Begun> | undefined;
  #length: number;

  constructor(host: S3UploadHost, path: string, options: ObjectWriteOptions, source: S3UploadSource) {
    const { partBytes, body, expectedBytes = 0 } = source;
    this.#host = host;
    this.#path = path;
    this.#options = options;
    this.#body = body;
    this.#length = body?.length ?? 0;
    this.partBytes = Math.max(partBytes, Math.ceil((body?.length ?? expectedBytes) / MAX_PARTS));
  }

  write(part: Uint8Array, digests: PartDigests | undefined): Promise<void> {
    return this.#whileAwaited(this.#write(part, digests));
  }

  async complete(): Promise<PutOutcome> {
    const { client, feed, done } = await this.#whileAwaited(this.#beginOnce());
    feed?.end();
    let cause: unknown;
    try {
      await this.#whileAwaited(done);
    } catch (error) {
      cause = error;
    }
    if (client.published !== undefined) {
      return this.#host.applied(this.#path, this.#length, client.published, this.#options);
    }
    const { aborted, reason } = this.#caller.signal;
    if (client.isPublishing && aborted) return { outcome: 'unknown', cause: reason };
    const failed = client.firstFailure;
    if (!client.isPublishing || failed === undefined) throw this.#errorOf(failed ?? cause);
    return this.#settle(client, failed);
  }

  cut(reason: unknown): void {
    this.#caller.abort(reason);
    this.#requests.abort(reason);
  }

  /** When `Upload` has ended no request is under way any more: a part that came later would stay. */
  async discard(): Promise<void> {
    this.#requests.abort();
    const begun = await this.#begun?.catch(() => undefined);
    if (begun === undefined) return;
    const { client, feed, done } = begun;
    feed?.fail(new Error('the upload was given up'));
    await done.catch(() => undefined);
    try {
      await client.removeParts();
    } catch (error) {
      throw this.#errorOf(error);
    }
  }

  #beginOnce(): Promise<Begun> {
    this.#begun ??= this.#begin().catch((error: unknown) => {
      throw this.#errorOf(error);
    });
    return this.#begun;
  }

  async #begin(): Promise<Begun> {
    const { name, bucket } = this.#host;
    const { condition, putId } = this.#options;
    const { Upload } = await loadS3Upload(name);
    const connection = await this.#host.connect();
    const client = new UploadClient(this.#host, connection, this.#path, this.#options, this.#requests);
    const feed = this.#body === undefined ? new Feed() : undefined;
    const upload = new Upload({
      client: client.asClient(),
      params: {
        Bucket: bucket,
        Key: this.#path,
        Body: this.#body ?? feed?.stream,
        Metadata: { [PUT_ID_METADATA]: putId },
        ...conditionHeader(condition),
      },
      partSize: this.partBytes,
      queueSize: feed === undefined ? BODY_PARTS_IN_FLIGHT : STREAM_PARTS_IN_FLIGHT,
      leavePartsOnError: true,
    });
    const done = upload.done();
    done.catch((error: unknown) => feed?.fail(this.#errorOf(client.firstFailure ?? error)));
    return { client, done, feed };
  }

  async #write(part: Uint8Array, digests: PartDigests | undefined): Promise<void> {
    if (this.#length + part.length > this.partBytes * MAX_PARTS) {
      const message = `the object has more than ${MAX_PARTS} parts of ${this.partBytes} bytes: say expectedBytes`;
      throw storeError({ cls: 'unsupported', message, store: this.#host.name, path: this.#path });
    }
    const { client, feed } = await this.#beginOnce();
    const isAtPart = this.#length % this.partBytes === 0;
    if (digests !== undefined && isAtPart) {
      client.noteDigests(this.#length / this.partBytes + 1, part.length, digests);
    }
    this.#length += part.length;
    for (let at = 0; at < part.length; at += PIECE_BYTES) await feed?.push(part.subarray(at, at + PIECE_BYTES));
  }

  /** What the place shows after a completion, or the one put, failed. */
  async #settle(client: UploadClient, { failure, error }: FailedRequest): Promise<PutOutcome> {
    const { condition } = this.#options;
    const unknown: PutOutcome = { outcome: 'unknown', cause: error };
    // With `ifMatch`: the version that it names is gone.
    const isRefusal = failure.verdict === 'refused' || (failure.verdict === 'absent' && typeof condition === 'object');
    const isFinal = isRefusal || condition === 'if-absent';
    try {
      const head = await this.#head(client);
      const outcome = this.#outcomeOf(head, client, isFinal);
      if (outcome !== undefined || (isRefusal && !client.isInDoubt)) {
        // The outcome counts; what is left is named by the list of uploads.
        await client.removeParts(this.#caller.signal).catch(() => undefined);
        return outcome ?? { outcome: 'refused' };
      }
      if (!client.isInDoubt) throw error;
      // The one put may still arrive. A completion cannot be carried out any more once its parts are removed.
      if (client.uploadId === undefined) return unknown;
      await client.removeParts(this.#caller.signal);
      const later = await this.#head(client);
      if (later === undefined && !isRefusal) throw error;
      return this.#outcomeOf(later, client, isFinal) ?? unknown;
    } catch (fault) {
      // What is certain without a HEAD stays so.
      if (fault === error || !(client.isInDoubt || isRefusal)) throw error;
      return unknown;
    }
  }

  #head(client: UploadClient): Promise<ObjectHead | undefined> {
    return client.repeated({
      kind: 'head',
      signal: this.#caller.signal,
      send: ({ abortSignal: signal }) => this.#host.head(this.#path, signal === undefined ? {} : { signal }),
    });
  }

  /** What an object in the place proves; absent: nothing. `isFinal`: an object of another put excludes this one. */
  #outcomeOf(head: ObjectHead | undefined, client: UploadClient, isFinal: boolean): PutOutcome | undefined {
    const putId = head?.metadata[PUT_ID_METADATA];
    if (head === undefined || putId === undefined) return undefined;
    if (putId === this.#options.putId) {
      const { etag, storeTimeMs } = head;
      return { outcome: 'applied', attempt: 'earlier', etag, storeTimeMs, afterUnknown: true };
    }
    if (!isFinal) return undefined;
    return client.isInDoubt ? { outcome: 'refused', afterUnknown: true } : { outcome: 'refused' };
  }

  #whileAwaited<T>(work: Promise<T>): Promise<T> {
    return untilAborted(work, this.#caller.signal, ({ reason }) => reason);
  }

  #errorOf(error: unknown): DbError {
    if (error instanceof FailedRequest) return error.error;
    if (isDbError(error)) return error;
    return this.#host.error(this.#host.classify(error, 'put', undefined), error, this.#path);
  }
}

/** The stream that `Upload` reads: holds one piece at most. */
class Feed {
  readonly stream: Readable;
  /** The reader took what there was. */
  #isWanted = false;
  #room: Deferred<void> | undefined;
  #failed: { error: unknown } | undefined;

  constructor() {
    this.stream = new Readable({ objectMode: true, highWaterMark: 1, read: () => this.#onRead() });
    // The reader gets the error; where there is none it was reported by `push`.
    this.stream.on('error', () => undefined);
  }

  /** Resolves when there is room for the next piece. */
  async push(piece: Uint8Array): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed.error;
    this.#isWanted = false;
    this.stream.push(piece);
    if (this.#isWanted) return;
    this.#room = deferred();
    await this.#room.promise;
  }

  end(): void {
    if (this.#failed === undefined) this.stream.push(null);
  }

  fail(error: Error): void {
    this.#failed ??= { error };
    this.#room?.reject(this.#failed.error);
    this.#room = undefined;
    this.stream.destroy(error);
  }

  #onRead(): void {
    this.#isWanted = true;
    this.#room?.resolve();
    this.#room = undefined;
  }
}
