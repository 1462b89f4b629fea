/**
 * Objects in an S3 bucket, on AWS and on servers that speak its protocol with conditional writes.
 *
 * Every call is one attempt; put a `retryingStore` around it. What an answer means is decided in `s3-errors.ts`; what a
 * body holds is checked in `s3-body.ts`. Puts carry their put id as user metadata. Large objects, and uploads, go in parts
 * (`s3-upload.ts`): these are repeated here, because they are not visible to readers and uploads do not keep their bytes.
 * ETags are passed on as the server gives them, but without the mark of a weak one: proxies put it there, and no server takes it
 * back in a condition.
 */

import type { Readable } from 'node:stream';
import type { GetObjectCommandOutput, HeadObjectCommandOutput, ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { ClosedError, type DbError, InvalidArgumentError, isDbError } from '../common/errors.ts';
import {
  anything,
  bool,
  type ChecksOf,
  CLOCK_CHECK,
  checkedOptions,
  filledText,
  MAX_MS,
  readingArgument,
  that,
  whole,
} from '../common/option-checks.ts';
import { checkPath, checkRange, checkSignal, comparePaths, rangeBounds } from './object-path.ts';
import {
  type CallOptions,
  type GetOptions,
  type GetResult,
  type ListedObject,
  type ListOptions,
  type ObjectHead,
  type ObjectStore,
  type ObjectUpload,
  type ObjectWriteOptions,
  PUT_ID_METADATA,
  type PutOptions,
  type PutOutcome,
  type UnfinishedUpload,
  type UploadOptions,
} from './object-store.ts';
import { announcedBody, MalformedAnswer, readBody, readUnannounced } from './s3-body.ts';
import { connectS3, IS_CHUNKED, type S3Connection } from './s3-client.ts';
import { classifyS3Code, classifyS3Error, type S3Failure, type S3Operation } from './s3-errors.ts';
import { conditionHeader, etagOf, rangeHeader, storeTimeMs } from './s3-headers.ts';
import type { S3ConnectionOptions } from './s3-options.ts';
import { listUnfinished } from './s3-unfinished.ts';
import { HELD_PARTS, S3Upload, type S3UploadHost } from './s3-upload.ts';
import { type StoreErrorClass, storeError } from './store-error.ts';
import { uploadOf } from './upload-calls.ts';

/** Options of an `S3Store`. */
export interface S3StoreOptions extends S3ConnectionOptions {
  /** Objects that are put whole go in parts from this size on, if they are larger than one part: 16 MiB if absent. */
  multipartThresholdBytes?: number;
  /**
   * Size of a part: 16 MiB if absent; at least 5 MiB by the protocol. Smaller ones cost more requests; larger ones more memory, of which an
   * upload takes three parts at most.
   */
  partBytes?: number;
  /** For the waits between attempts of a part, and the turns between slices of a hash. */
  clock?: Clock;
}

/** By the protocol, for all parts of an object but the last. */
const MIN_PART_BYTES = 5 << 20;
const DEFAULT_PART_BYTES = 16 << 20;

const milliseconds = whole(1, MAX_MS);
const CHECKS: ChecksOf<S3StoreOptions> = {
  bucket: filledText,
  endpoint: filledText,
  region: filledText,
  forcePathStyle: bool,
  // The SDK's own: what it makes of them, it says itself.
  credentials: anything,
  clientConfig: that('an object', (v) => typeof v === 'object' && v !== null),
  connectionTimeoutMs: milliseconds,
  stallTimeoutMs: milliseconds,
  requestTimeoutMs: milliseconds,
  maxSockets: whole(1, 65_535),
  multipartThresholdBytes: whole(1, Number.MAX_SAFE_INTEGER),
  partBytes: whole(MIN_PART_BYTES, 5 * 2 ** 30),
  clock: CLOCK_CHECK,
};

const DELETE_BATCH = 1000;
const FIRST_BYTE = { offset: 0, length: 1 } as const;
/** What the SDK calls an answer without a code: by a word of its own, or by the status. */
const NAMELESS: ReadonlySet<string> = new Set(['Unknown', 'UnknownError', '400', '401', '403']);

/** A bucket. Loads the AWS SDK with the first request; `close()` gives its connections back. */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly #options: S3StoreOptions;
  readonly #bucket: string;
  readonly #clock: Clock;
  readonly #uploads: S3UploadHost;
  #connection: Promise<S3Connection> | undefined;
  #closed = false;

  constructor(options: S3StoreOptions) {
    if (readingArgument('S3Store', () => typeof options?.bucket !== 'string' || options.bucket === '')) {
      throw new InvalidArgumentError('BAD_ARGUMENT', 'An S3 store needs the name of a bucket.');
    }
    const given = checkedOptions('S3Store', options, CHECKS, ['bucket']);
    this.#options = given;
    this.#bucket = given.bucket;
    this.#clock = given.clock ?? SYSTEM_CLOCK;
    this.name = `s3://${given.bucket}`;
    this.#uploads = {
      name: this.name,
      bucket: this.#bucket,
      clock: this.#clock,
      connect: () => this.#connect(),
      head: (path, options_) => this.head(path, options_),
      applied: (path, length, output, options_) => this.#applied(path, length, output, options_),
      classify: (error, op, signal) => this.#classify(error, op, signal),
      error: (failure, cause, path) => this.#error(failure, cause, path),
    };
  }

  async get(path: string, options: GetOptions = {}): Promise<GetResult | undefined> {
    const { range, signal } = options;
    this.#check(path, options);
    checkRange(this.name, path, range);
    // An empty range cannot be said in HTTP.
    if (range !== undefined && ('suffix' in range ? range.suffix : range.length) === 0) {
      return this.#getNothing(path, options);
    }
    try {
      const { sdk, client } = await this.#connect();
      const input = { Bucket: this.#bucket, Key: path, ...(range === undefined ? {} : { Range: rangeHeader(range) }) };
      const output = await client.send(new sdk.GetObjectCommand(input), sendOptions(signal));
      return await this.#readResult(output, options);
    } catch (error) {
      const failure = this.#classify(error, 'get', signal);
      if (failure.verdict === 'absent') return undefined;
      if (failure.verdict === 'range' && range !== undefined) return this.#getNothing(path, options);
      throw this.#error(failure, error, path);
    }
  }

  async head(path: string, options: CallOptions = {}): Promise<ObjectHead | undefined> {
    this.#check(path, options);
    try {
      const { sdk, client } = await this.#connect();
      const input = { Bucket: this.#bucket, Key: path };
      const output = await client.send(new sdk.HeadObjectCommand(input), sendOptions(options.signal));
      return headOf(output, headSize(output.ContentLength));
    } catch (error) {
      const failure = this.#classify(error, 'head', options.signal);
      if (failure.verdict === 'absent') return undefined;
      if (isUnexplained(failure)) return this.#headByGet(path, options);
      throw this.#error(failure, error, path);
    }
  }

  /** The answer to a refused HEAD has no body that says why. A GET of one byte says it, or is allowed where HEAD is not. */
  async #headByGet(path: string, options: CallOptions): Promise<ObjectHead | undefined> {
    try {
      const { sdk, client } = await this.#connect();
      const ask = async (input: { Range?: string }): Promise<ObjectHead> => {
        const command = new sdk.GetObjectCommand({ Bucket: this.#bucket, Key: path, ...input });
        const output = await client.send(command, sendOptions(options.signal));
        (output.Body as Readable | undefined)?.destroy();
        const size =
          input.Range === undefined
            ? undefined
            : announcedBody(FIRST_BYTE, output.ContentLength, output.ContentRange).size;
        return headOf(output, size ?? headSize(output.ContentLength));
      };
      try {
        return await ask({ Range: rangeHeader(FIRST_BYTE) });
      } catch (error) {
        // An empty object has no first byte.
        if (this.#classify(error, 'get', options.signal).verdict !== 'range') throw error;
        return await ask({});
      }
    } catch (error) {
      const failure = this.#classify(error, 'get', options.signal);
      if (failure.verdict === 'absent') return undefined;
      throw this.#error(failure, error, path);
    }
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    this.#check(path, options);
    if (bytes.length >= (this.#options.multipartThresholdBytes ?? DEFAULT_PART_BYTES)) {
      return this.#putInParts(path, bytes, options);
    }
    options.onRequest?.('put', bytes.length);
    const input = {
      Bucket: this.#bucket,
      Key: path,
      Body: bytes,
      ContentLength: bytes.length,
      Metadata: { [PUT_ID_METADATA]: options.putId },
      ...conditionHeader(options.condition),
    };
    let output: { ETag?: string | undefined };
    try {
      const { sdk, client } = await this.#connect();
      output = await client.send(new sdk.PutObjectCommand(input), sendOptions(options.signal));
    } catch (error) {
      return this.#failedPut(path, error, options);
    }
    return this.#applied(path, bytes.length, output, options);
  }

  async #putInParts(path: string, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const source = { body, partBytes: this.#partBytes() };
    const upload = uploadOf(this.name, path, options, new S3Upload(this.#uploads, path, options, source));
    try {
      return await upload.complete();
    } finally {
      // The failure is reported; what is left is named by the list of uploads.
      await upload.abort().catch(() => undefined);
    }
  }

  /**
   * One PUT if the object fits one part; else one to begin, one for each part and one to complete, and one for each attempt more. Holds
   * three parts at most.
   */
  upload(path: string, options: UploadOptions): ObjectUpload {
    checkPath(this.name, path);
    const { expectedBytes, holdBytes = Number.POSITIVE_INFINITY } = options;
    const wanted = Math.max(MIN_PART_BYTES, Math.floor(holdBytes / HELD_PARTS));
    const partBytes = Math.min(this.#partBytes(), wanted);
    const source = { partBytes, ...(expectedBytes !== undefined && { expectedBytes }) };
    return uploadOf(this.name, path, options, new S3Upload(this.#uploads, path, options, source));
  }

  #partBytes(): number {
    return this.#options.partBytes ?? DEFAULT_PART_BYTES;
  }

  /**
   * One LIST for each 1,000 uploads; MinIO is asked for all of the bucket if it names none of the prefix. On AWS this needs the permission
   * `s3:ListBucketMultipartUploads`.
   */
  async listUploads(prefix: string, options: CallOptions = {}): Promise<UnfinishedUpload[]> {
    checkSignal(this.name, prefix, options);
    try {
      return await listUnfinished(await this.#connect(), this.#bucket, prefix, options);
    } catch (error) {
      throw this.#error(this.#classify(error, 'list', options.signal), error, prefix);
    }
  }

  async abortUpload(upload: Pick<UnfinishedUpload, 'path' | 'uploadId'>, options: CallOptions = {}): Promise<void> {
    const { path, uploadId: UploadId } = upload;
    this.#check(path, options);
    try {
      const { sdk, client } = await this.#connect();
      const command = new sdk.AbortMultipartUploadCommand({ Bucket: this.#bucket, Key: path, UploadId });
      await client.send(command, sendOptions(options.signal));
    } catch (error) {
      const failure = this.#classify(error, 'delete', options.signal);
      if (failure.providerCode !== 'NoSuchUpload') throw this.#error(failure, error, path);
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    checkSignal(this.name, prefix, options);
    const tokens = new Set<string>();
    let token: string | undefined;
    let last = options.startAfter;
    do {
      const page = await this.#listPage(prefix, options, token);
      for (const object of this.#objectsOf(page, prefix, options.startAfter)) {
        if (last !== undefined && comparePaths(object.path, last) <= 0) {
          throw this.#malformed(prefix, `pages of the list are not in order at ${JSON.stringify(object.path)}`);
        }
        last = object.path;
        yield object;
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
      if (page.IsTruncated && token === undefined) throw this.#malformed(prefix, 'a list goes on without a token');
      if (token !== undefined && tokens.has(token)) throw this.#malformed(prefix, 'a list repeats its token');
      if (token !== undefined) tokens.add(token);
    } while (token !== undefined);
  }

  async delete(paths: string[], options: CallOptions = {}): Promise<void> {
    for (const path of paths) this.#check(path, options);
    for (let i = 0; i < paths.length; i += DELETE_BATCH) {
      checkSignal(this.name, paths[i], options);
      await this.#deleteBatch(paths.slice(i, i + DELETE_BATCH), options);
    }
  }

  /** Ends all connections; later calls fail with `CLOSED`. */
  async close(): Promise<void> {
    this.#closed = true;
    const connection = this.#connection;
    this.#connection = undefined;
    // A connection that failed has nothing to give back; its failure was reported to the call that asked for it.
    await connection?.then(({ client }) => client.destroy()).catch(() => undefined);
  }

  #connect(): Promise<S3Connection> {
    if (this.#closed) return Promise.reject(new ClosedError('CLOSED', `${this.name}: the store was closed.`));
    this.#connection ??= this.#newConnection();
    return this.#connection;
  }

  /** A connection that failed is not kept: what was wrong may be put right. */
  #newConnection(): Promise<S3Connection> {
    const connection = connectS3(this.#options, this.name, this.#clock);
    connection.catch(() => {
      if (this.#connection === connection) this.#connection = undefined;
    });
    return connection;
  }

  #check(path: string, options: CallOptions): void {
    checkPath(this.name, path);
    checkSignal(this.name, path, options);
  }

  async #readResult(output: GetObjectCommandOutput, { range, signal }: GetOptions): Promise<GetResult> {
    const body = output.Body as Readable | undefined;
    try {
      const announced = announcedBody(range, output.ContentLength, output.ContentRange);
      if (announced.length === undefined && (output as { [IS_CHUNKED]?: boolean })[IS_CHUNKED] !== true) {
        throw new MalformedAnswer('the answer has no length');
      }
      const bytes =
        body === undefined
          ? new Uint8Array(0)
          : announced.length === undefined
            ? await readUnannounced(body, range, signal)
            : await readBody(body, announced.length, signal);
      return {
        bytes,
        size: announced.size ?? bytes.length,
        etag: etagOf(output.ETag),
        storeTimeMs: storeTimeMs(output),
        metadata: output.Metadata ?? {},
      };
    } catch (error) {
      body?.destroy();
      throw error;
    }
  }

  /** A range that selects nothing: everything but the bytes. */
  async #getNothing(path: string, options: GetOptions): Promise<GetResult | undefined> {
    const head = await this.head(path, options);
    if (head === undefined) return undefined;
    const { start, end } = rangeBounds(options.range, head.size);
    if (start < end) throw this.#malformed(path, `range refused of an object of ${head.size} bytes`);
    const { size, etag, metadata } = head;
    return { bytes: new Uint8Array(0), size, etag, storeTimeMs: head.storeTimeMs, metadata };
  }

  /**
   * Some servers, and proxies, leave the ETag of a put out. Without it a success is trusted only if the object that is there is this
   * one: an answer without a reason may come from a server that knows nothing of objects.
   */
  async #applied(
    path: string,
    length: number,
    output: { ETag?: string | undefined },
    options: ObjectWriteOptions,
  ): Promise<PutOutcome> {
    const etag = etagOf(output.ETag);
    if (etag !== '') return { outcome: 'applied', attempt: 'now', etag, storeTimeMs: storeTimeMs(output) };
    let head: ObjectHead | undefined;
    options.onRequest?.('head', 0);
    try {
      head = await this.head(path, options);
    } catch (cause) {
      return { outcome: 'unknown', cause };
    }
    const putId = head?.metadata[PUT_ID_METADATA];
    if (head?.size === length && (putId === undefined || putId === options.putId)) {
      return { outcome: 'applied', attempt: 'now', etag: head.etag, storeTimeMs: head.storeTimeMs };
    }
    return { outcome: 'unknown', cause: this.#malformed(path, 'a put was answered without an ETag, and is not there') };
  }

  /** The outcome, or the error, of a request that would have made the object visible. */
  #failedPut(path: string, error: unknown, options: PutOptions): PutOutcome {
    // No request came about: the store is closed, or the SDK cannot be loaded.
    if (isDbError(error)) throw error;
    const failure = this.#classify(error, 'put', options.signal);
    // The version that `ifMatch` names is gone.
    const isConditional = typeof options.condition === 'object';
    if (failure.verdict === 'refused' || (failure.verdict === 'absent' && isConditional)) return { outcome: 'refused' };
    const cause = this.#error(failure, error, path);
    if (failure.inDoubt) return { outcome: 'unknown', cause };
    throw cause;
  }

  async #listPage(
    prefix: string,
    options: ListOptions,
    token: string | undefined,
  ): Promise<ListObjectsV2CommandOutput> {
    try {
      const { sdk, client } = await this.#connect();
      const input = {
        Bucket: this.#bucket,
        Prefix: prefix,
        ...(options.startAfter === undefined ? {} : { StartAfter: options.startAfter }),
        ...(token === undefined ? {} : { ContinuationToken: token }),
      };
      return await client.send(new sdk.ListObjectsV2Command(input), sendOptions(options.signal));
    } catch (error) {
      throw this.#error(this.#classify(error, 'list', options.signal), error, prefix);
    }
  }

  #objectsOf(page: ListObjectsV2CommandOutput, prefix: string, startAfter: string | undefined): ListedObject[] {
    // An empty body is parsed as a success with nothing in it.
    if (page.Name === undefined && page.KeyCount === undefined) {
      throw this.#malformed(prefix, 'the answer to a list is empty');
    }
    const objects: ListedObject[] = [];
    const timeMs = storeTimeMs(page);
    for (const { Key, Size, ETag, LastModified } of page.Contents ?? []) {
      if (Key === undefined || Size === undefined || !Key.startsWith(prefix)) {
        throw this.#malformed(prefix, `a list has the entry ${JSON.stringify(Key)} of ${Size} bytes`);
      }
      // Consoles make such empty objects as folders; and not every server knows StartAfter.
      if (Key.endsWith('/') || (startAfter !== undefined && comparePaths(Key, startAfter) <= 0)) continue;
      const lastModifiedMs = LastModified?.getTime() ?? 0;
      objects.push({ path: Key, size: Size, etag: etagOf(ETag), lastModifiedMs, storeTimeMs: timeMs });
    }
    const isOrdered = objects.every((object, i) => i === 0 || comparePaths(objects[i - 1].path, object.path) < 0);
    return isOrdered ? objects : objects.sort((a, b) => comparePaths(a.path, b.path));
  }

  async #deleteBatch(paths: string[], { signal }: CallOptions): Promise<void> {
    const [path] = paths;
    try {
      const { sdk, client } = await this.#connect();
      if (paths.length === 1) {
        await client.send(new sdk.DeleteObjectCommand({ Bucket: this.#bucket, Key: path }), sendOptions(signal));
        return;
      }
      const Delete = { Objects: paths.map((Key) => ({ Key })), Quiet: true };
      const command = new sdk.DeleteObjectsCommand({ Bucket: this.#bucket, Delete });
      const { Errors } = await client.send(command, sendOptions(signal));
      for (const { Code, Key, Message } of Errors ?? []) {
        const verdict = classifyS3Code(Code ?? '');
        if (verdict === 'absent') continue;
        const failure: S3Failure = { verdict, inDoubt: false, ...(Code === undefined ? {} : { providerCode: Code }) };
        throw this.#error(failure, new Error(`${Code}: ${Message ?? ''}`), Key ?? path);
      }
    } catch (error) {
      if (isDbError(error)) throw error;
      const failure = this.#classify(error, 'delete', signal);
      if (failure.verdict !== 'absent') throw this.#error(failure, error, path);
    }
  }

  #classify(error: unknown, op: S3Operation, signal: AbortSignal | undefined): S3Failure {
    if (signal?.aborted) return { verdict: 'cancelled', inDoubt: true };
    if (error instanceof MalformedAnswer) return { verdict: 'malformed-response', inDoubt: true };
    return classifyS3Error(error, op);
  }

  #error(failure: S3Failure, cause: unknown, path: string): DbError {
    if (isDbError(cause)) return cause;
    const { verdict, inDoubt: _, remedy, ...details } = failure;
    const cls = errorClassOf(verdict);
    const said = reasonOf(cause, failure.httpStatus);
    const text = remedy === undefined ? said : `${said}; ${remedy}`;
    const message =
      cls === 'missing' ? `the bucket ${this.#bucket} is not there, or in another region (${text})` : text;
    return storeError({ cls, message, store: this.name, path, ...details, cause });
  }

  #malformed(path: string, message: string): DbError {
    return storeError({ cls: 'malformed-response', message, store: this.name, path });
  }
}

/** Answers that no request of this kind can have are failures of the server. */
function errorClassOf(verdict: S3Failure['verdict']): StoreErrorClass {
  if (verdict === 'absent' || verdict === 'refused' || verdict === 'range') return 'malformed-response';
  return verdict;
}

/** In words; the SDK knows none for an answer without a body. */
function reasonOf(cause: unknown, httpStatus: number | undefined): string {
  if (!(cause instanceof Error)) return String(cause);
  const isNameless = cause.name === 'Unknown' && httpStatus !== undefined;
  return isNameless ? `status ${httpStatus} without a reason` : `${cause.name}: ${cause.message}`;
}

function headOf(output: HeadObjectCommandOutput | GetObjectCommandOutput, size: number): ObjectHead {
  return {
    size,
    etag: etagOf(output.ETag),
    lastModifiedMs: output.LastModified?.getTime() ?? 0,
    storeTimeMs: storeTimeMs(output),
    metadata: output.Metadata ?? {},
  };
}

/** Refused for the caller, and the answer does not say for what reason. */
function isUnexplained({ verdict, providerCode, httpStatus }: S3Failure): boolean {
  const isNameless = providerCode === undefined || NAMELESS.has(providerCode);
  return httpStatus !== undefined && isNameless && (verdict === 'denied' || verdict === 'auth');
}

function headSize(length: unknown): number {
  const { size } = announcedBody(undefined, length, undefined);
  if (size === undefined) throw new MalformedAnswer('the answer has no length');
  return size;
}

function sendOptions(signal: AbortSignal | undefined): { abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}
