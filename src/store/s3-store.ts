/**
 * Objects in an S3 bucket, on AWS and on servers that speak its protocol with conditional writes.
 *
 * Every call is one attempt; put a `retryingStore` around it. What an answer means is decided in `s3-errors.ts`; what a
 * body holds is checked in `s3-body.ts`. Puts carry their put id as user metadata. Large objects go in parts, and the
 * condition rides on the completion; parts, unlike the completion, are repeated here, because they show nothing to anybody.
 * ETags are passed on as the server gives them, but without the mark of a weak one: proxies put it there, and no server takes it
 * back in a condition.
 */

import type { Readable } from 'node:stream';
import type {
  GetObjectCommandOutput,
  HeadObjectCommandOutput,
  ListObjectsV2CommandOutput,
  ListPartsCommandOutput,
} from '@aws-sdk/client-s3';
import { mapLimit } from '../common/async.ts';
import { type Clock, SYSTEM_CLOCK, sleep } from '../common/clock.ts';
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
  PUT_ID_METADATA,
  type PutOptions,
  type PutOutcome,
} from './object-store.ts';
import { announcedBody, MalformedAnswer, readBody, readUnannounced } from './s3-body.ts';
import { connectS3, DATE_HEADER, IS_CHUNKED, type S3Connection, type S3ConnectionOptions } from './s3-client.ts';
import { classifyS3Code, classifyS3Error, httpDateMs, type S3Failure, type S3Operation } from './s3-errors.ts';
import { isTransient, type StoreErrorClass, storeError } from './store-error.ts';

export interface S3StoreOptions extends S3ConnectionOptions {
  /** Objects from this size on go in parts: 16 MiB if absent. */
  multipartThresholdBytes?: number;
  /** Size of a part: 8 MiB if absent; at least 5 MiB by the protocol. */
  partBytes?: number;
  /** For the waits between attempts of a part. */
  clock?: Clock;
}

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
  partBytes: whole(1, Number.MAX_SAFE_INTEGER),
  clock: CLOCK_CHECK,
};

const MAX_PARTS = 10_000;
const PARTS_IN_FLIGHT = 4;
const PART_ATTEMPTS = 3;
const PART_RETRY_DELAY_MS = 100;
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
    if (bytes.length >= (this.#options.multipartThresholdBytes ?? 16 << 20)) {
      return this.#putInParts(path, bytes, options);
    }
    const input = {
      Bucket: this.#bucket,
      Key: path,
      Body: bytes,
      ContentLength: bytes.length,
      Metadata: { [PUT_ID_METADATA]: options.putId },
      ...conditionHeader(options),
    };
    let output: { ETag?: string | undefined };
    try {
      const { sdk, client } = await this.#connect();
      output = await client.send(new sdk.PutObjectCommand(input), sendOptions(options.signal));
    } catch (error) {
      return this.#failedPut(path, error, options);
    }
    return this.#applied(path, bytes, output, options);
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
    // A connection that failed has nothing to give back; its failure was told to whoever asked for it.
    await connection?.then(({ client }) => client.destroy()).catch(() => undefined);
  }

  #connect(): Promise<S3Connection> {
    if (this.#closed) return Promise.reject(new ClosedError('CLOSED', `${this.name}: the store was closed.`));
    this.#connection ??= this.#newConnection();
    return this.#connection;
  }

  /** A connection that failed is not kept: what was wrong may be put right. */
  #newConnection(): Promise<S3Connection> {
    const connection = connectS3(this.#options, this.name);
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

  async #putInParts(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const place = { Bucket: this.#bucket, Key: path };
    let upload: { Bucket: string; Key: string; UploadId: string } | undefined;
    try {
      const { sdk, client } = await this.#connect();
      const Metadata = { [PUT_ID_METADATA]: options.putId };
      const create = new sdk.CreateMultipartUploadCommand({ ...place, Metadata });
      const { UploadId } = await client.send(create, sendOptions(options.signal));
      if (UploadId === undefined) throw new MalformedAnswer('an upload without an id was begun');
      upload = { ...place, UploadId };
      const parts = await this.#uploadParts(upload, bytes, options);
      const MultipartUpload = { Parts: await this.#withEtags(upload, parts, options) };
      const complete = new sdk.CompleteMultipartUploadCommand({
        ...upload,
        MultipartUpload,
        ...conditionHeader(options),
      });
      let output: { ETag?: string | undefined };
      try {
        output = await client.send(complete, sendOptions(options.signal));
      } catch (error) {
        await this.#abandon(upload);
        upload = undefined;
        return this.#failedPut(path, error, options);
      }
      return await this.#applied(path, bytes, output, options);
    } catch (error) {
      // Before the completion nothing is visible, however an upload or part failed.
      if (upload !== undefined) await this.#abandon(upload);
      throw this.#error(this.#classify(error, 'put', options.signal), error, path);
    }
  }

  async #uploadParts(
    upload: { Bucket: string; Key: string; UploadId: string },
    bytes: Uint8Array,
    options: PutOptions,
  ) {
    const { sdk, client } = await this.#connect();
    const partBytes = Math.max(this.#options.partBytes ?? 8 << 20, Math.ceil(bytes.length / MAX_PARTS));
    const starts = Array.from({ length: Math.ceil(bytes.length / partBytes) }, (_, i) => i * partBytes);
    return mapLimit(starts, PARTS_IN_FLIGHT, async (start, i) => {
      const Body = bytes.subarray(start, start + partBytes);
      const input = { ...upload, PartNumber: i + 1, Body, ContentLength: Body.length };
      for (let attempt = 1; ; attempt++) {
        try {
          const { ETag } = await client.send(new sdk.UploadPartCommand(input), sendOptions(options.signal));
          return { PartNumber: i + 1, ETag: etagOf(ETag) };
        } catch (error) {
          const transient = isTransient(this.#error(this.#classify(error, 'put', options.signal), error, upload.Key));
          if (!transient || attempt === PART_ATTEMPTS) throw error;
          await sleep(this.#clock, PART_RETRY_DELAY_MS * attempt, options.signal);
        }
      }
    });
  }

  /** The completion names each part by its ETag. Where a proxy takes them out of the answers, the list of parts has them. */
  async #withEtags(
    upload: { Bucket: string; Key: string; UploadId: string },
    parts: UploadedPart[],
    options: PutOptions,
  ): Promise<UploadedPart[]> {
    if (parts.every((part) => part.ETag !== '')) return parts;
    const { sdk, client } = await this.#connect();
    const etags = new Map<number, string>();
    for (let marker: string | undefined = '0'; marker !== undefined; ) {
      const page: ListPartsCommandOutput = await client.send(
        new sdk.ListPartsCommand({ ...upload, PartNumberMarker: marker }),
        sendOptions(options.signal),
      );
      for (const { PartNumber, ETag } of page.Parts ?? [])
        if (PartNumber !== undefined) etags.set(PartNumber, etagOf(ETag));
      const next: string | undefined = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
      if (next !== undefined && Number(next) <= Number(marker))
        throw new MalformedAnswer('a list of parts repeats itself');
      marker = next;
    }
    const named = parts.map((part) => ({ ...part, ETag: part.ETag || (etags.get(part.PartNumber) ?? '') }));
    if (named.every((part) => part.ETag !== '')) return named;
    const message =
      'answers to uploads of parts have no ETag, so large objects cannot be put together: let the proxy on the way pass that header, or set multipartThresholdBytes above the largest object';
    throw storeError({ cls: 'unsupported', message, store: this.name, path: upload.Key });
  }

  async #abandon(upload: { Bucket: string; Key: string; UploadId: string }): Promise<void> {
    try {
      const { sdk, client } = await this.#connect();
      await client.send(new sdk.AbortMultipartUploadCommand(upload));
    } catch {
      // The collector, or a lifecycle rule of the bucket, removes uploads that stay unfinished.
    }
  }

  /**
   * Some servers, and proxies, leave the ETag of a put out. Without it a success is believed only if the object that is there is this
   * one: an answer that says nothing may be from somebody who knows nothing of objects.
   */
  async #applied(
    path: string,
    bytes: Uint8Array,
    output: { ETag?: string | undefined },
    options: PutOptions,
  ): Promise<PutOutcome> {
    const etag = etagOf(output.ETag);
    if (etag !== '') return { outcome: 'applied', attempt: 'now', etag, storeTimeMs: storeTimeMs(output) };
    let head: ObjectHead | undefined;
    try {
      head = await this.head(path, options);
    } catch (cause) {
      return { outcome: 'unknown', cause };
    }
    const putId = head?.metadata[PUT_ID_METADATA];
    if (head?.size === bytes.length && (putId === undefined || putId === options.putId)) {
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

/** Answers that nobody asked for in this place are failures of the server. */
function errorClassOf(verdict: S3Failure['verdict']): StoreErrorClass {
  if (verdict === 'absent' || verdict === 'refused' || verdict === 'range') return 'malformed-response';
  return verdict;
}

interface UploadedPart {
  PartNumber: number;
  ETag: string;
}

/** In words; the SDK knows none for an answer without a body. */
function reasonOf(cause: unknown, httpStatus: number | undefined): string {
  if (!(cause instanceof Error)) return String(cause);
  const isNameless = cause.name === 'Unknown' && httpStatus !== undefined;
  return isNameless ? `status ${httpStatus} without a reason` : `${cause.name}: ${cause.message}`;
}

/** Without the mark of a weak one. */
function etagOf(etag: string | undefined): string {
  return etag?.replace(/^W\//, '') ?? '';
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

function conditionHeader({ condition }: PutOptions): { IfNoneMatch?: string; IfMatch?: string } {
  if (condition === 'if-absent') return { IfNoneMatch: '*' };
  return condition === 'any' ? {} : { IfMatch: condition.ifMatch };
}

function rangeHeader(range: { offset: number; length: number } | { suffix: number }): string {
  if ('suffix' in range) return `bytes=-${range.suffix}`;
  // The last position stays a whole number that servers can read.
  return `bytes=${range.offset}-${Math.min(Number.MAX_SAFE_INTEGER, range.offset + range.length - 1)}`;
}

function storeTimeMs(output: object): number {
  return httpDateMs((output as { [DATE_HEADER]?: unknown })[DATE_HEADER]);
}
