/**
 * An S3 server in memory, reached through the SDK's request handler: objects, conditions, uploads in parts and their lists. A test changes
 * single answers: what a message does can be left out, come late, or be done and its answer lost.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { S3Store, type S3StoreOptions } from '../../src/store/s3-store.ts';

export interface FakeRequest {
  method: string;
  protocol: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body?: unknown;
}

export interface FakeAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
}

export type FakeStep =
  | 'put'
  | 'head'
  | 'create'
  | 'part'
  | 'complete'
  | 'abort'
  | 'list parts'
  | 'list uploads'
  | 'get'
  | 'delete';

interface FakeObject {
  bytes: Buffer;
  etag: string;
  putId: string | undefined;
}

interface FakeUpload {
  key: string;
  putId: string | undefined;
  parts: Map<number, Buffer>;
}

/** What happens instead of the nth message of a step; `apply` does what the server would do and gives its answer. */
export type Act = (
  nth: number,
  apply: () => FakeAnswer,
  request: FakeRequest,
) => FakeAnswer | Error | Promise<FakeAnswer | Error>;

export const FAKE_DATE = 'Sun, 06 Nov 1994 08:49:37 GMT';
export const FAKE_DATE_MS = 784111777000;
const BUCKET = 'bucket';

export function errorAnswer(status: number, code: string): FakeAnswer {
  return { status, body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as scripted</Message></Error>` };
}

/** The connection ended before an answer came. */
export function lostAnswer(): Error {
  return Object.assign(new Error('socket hang up'), { name: 'TimeoutError', code: 'ECONNRESET' });
}

export class FakeS3 {
  readonly objects = new Map<string, FakeObject>();
  readonly uploads = new Map<string, FakeUpload>();
  readonly requests: FakeRequest[] = [];
  /** Of each request, in the order in which they came. */
  readonly steps: FakeStep[] = [];
  /** Requests without an answer so far. */
  underway = 0;
  /** As servers do that keep no metadata. */
  keepsMetadata = true;
  /** Uploads on one page of a list. */
  pageUploads = 1000;
  readonly #acts = new Map<FakeStep, Act>();
  #uploads = 0;

  on(step: FakeStep, act: Act): this {
    this.#acts.set(step, act);
    return this;
  }

  store(options: Partial<S3StoreOptions> = {}): S3Store {
    const { clientConfig, ...rest } = options;
    return new S3Store({
      bucket: BUCKET,
      endpoint: 'http://server.test:9000',
      credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
      ...rest,
      clientConfig: { ...clientConfig, requestHandler: this.handler() as never },
    });
  }

  count(step: FakeStep): number {
    return this.steps.filter((s) => s === step).length;
  }

  /** The requests of one step; parts by their numbers. */
  of(step: FakeStep): FakeRequest[] {
    const found = this.requests.filter((_, i) => this.steps[i] === step);
    return found.sort((a, b) => Number(a.query['partNumber'] ?? 0) - Number(b.query['partNumber'] ?? 0));
  }

  /** The bytes stored at a path. */
  bytes(key: string): Buffer | undefined {
    return this.objects.get(key)?.bytes;
  }

  handler() {
    return {
      handle: async (request: FakeRequest, { abortSignal }: { abortSignal?: AbortSignal } = {}) => {
        const step = stepOf(request);
        this.requests.push(request);
        this.steps.push(step);
        this.underway++;
        try {
          const answer = await this.#answered(step, request, abortSignal);
          if (answer instanceof Error) throw answer;
          const { status, headers = {}, body = '' } = answer;
          const stream = Readable.from(body === '' ? [] : [Buffer.from(body)]);
          return { response: { statusCode: status, headers: { date: FAKE_DATE, ...headers }, body: stream } };
        } finally {
          this.underway--;
        }
      },
    };
  }

  async #answered(step: FakeStep, request: FakeRequest, signal: AbortSignal | undefined) {
    const act = this.#acts.get(step);
    const apply = () => this.#apply(step, request);
    const answer = act === undefined ? apply() : act(this.count(step), apply, request);
    if (signal === undefined) return answer;
    let leave = () => {};
    const aborted = new Promise<never>((_, reject) => {
      const fail = () => reject(Object.assign(new Error('Request aborted'), { name: 'AbortError' }));
      leave = () => signal.removeEventListener('abort', fail);
      if (signal.aborted) fail();
      else signal.addEventListener('abort', fail, { once: true });
    });
    return Promise.race([answer, aborted]).finally(leave);
  }

  #apply(step: FakeStep, request: FakeRequest): FakeAnswer {
    const key = decodeURIComponent(request.path.slice(`/${BUCKET}/`.length));
    const { query, headers } = request;
    const putId = this.keepsMetadata ? headers['x-amz-meta-slatedbputid'] : undefined;
    switch (step) {
      case 'put':
        return this.#place(key, bodyOf(request), putId, headers);
      case 'head':
        return this.#head(key);
      case 'create': {
        const id = `U${++this.#uploads}`;
        this.uploads.set(id, { key, putId, parts: new Map() });
        return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
      }
      case 'part':
        return this.#part(query, bodyOf(request));
      case 'complete':
        return this.#complete(query['uploadId'], headers);
      case 'abort':
        return this.uploads.delete(query['uploadId']) ? { status: 204 } : errorAnswer(404, 'NoSuchUpload');
      case 'list parts':
        return this.#listParts(query);
      case 'list uploads':
        return this.#listUploads(query);
      default:
        return errorAnswer(501, 'NotImplemented');
    }
  }

  #place(key: string, bytes: Buffer, putId: string | undefined, headers: Record<string, string>, tag = ''): FakeAnswer {
    const old = this.objects.get(key);
    const isRefused = (headers['if-none-match'] === '*' && old !== undefined) || !matches(headers['if-match'], old);
    if (isRefused) return errorAnswer(412, 'PreconditionFailed');
    const etag = `"${createHash('md5').update(bytes).digest('hex')}${tag}"`;
    this.objects.set(key, { bytes, etag, putId });
    return { status: 200, headers: { etag } };
  }

  #head(key: string): FakeAnswer {
    const object = this.objects.get(key);
    if (object === undefined) return { status: 404 };
    const { bytes, etag, putId } = object;
    const headers = { 'content-length': String(bytes.length), etag };
    return { status: 200, headers: putId === undefined ? headers : { ...headers, 'x-amz-meta-slatedbputid': putId } };
  }

  #part(query: Record<string, string>, bytes: Buffer): FakeAnswer {
    const upload = this.uploads.get(query['uploadId']);
    if (upload === undefined) return errorAnswer(404, 'NoSuchUpload');
    upload.parts.set(Number(query['partNumber']), bytes);
    return { status: 200, headers: { etag: `"p${query['partNumber']}"` } };
  }

  #complete(id: string, headers: Record<string, string>): FakeAnswer {
    const upload = this.uploads.get(id);
    if (upload === undefined) return errorAnswer(404, 'NoSuchUpload');
    const parts = [...upload.parts].sort(([a], [b]) => a - b).map(([, bytes]) => bytes);
    const answer = this.#place(upload.key, Buffer.concat(parts), upload.putId, headers, `-${parts.length}`);
    if (answer.status !== 200) return answer;
    this.uploads.delete(id);
    const etag = answer.headers?.['etag'] ?? '';
    return xml(`<CompleteMultipartUploadResult><ETag>${etag}</ETag></CompleteMultipartUploadResult>`);
  }

  #listParts(query: Record<string, string>): FakeAnswer {
    const numbers = [...(this.uploads.get(query['uploadId'])?.parts.keys() ?? [])].sort((a, b) => a - b);
    const after = Number(query['part-number-marker'] ?? 0);
    const page = numbers.filter((number) => number > after).slice(0, 2);
    const isTruncated = numbers.some((number) => number > (page.at(-1) ?? after));
    const parts = page.map((n) => `<Part><PartNumber>${n}</PartNumber><ETag>"listed${n}"</ETag></Part>`).join('');
    const next = `<IsTruncated>${isTruncated}</IsTruncated><NextPartNumberMarker>${page.at(-1) ?? 0}</NextPartNumberMarker>`;
    return xml(`<ListPartsResult>${next}${parts}</ListPartsResult>`);
  }

  #listUploads(query: Record<string, string>): FakeAnswer {
    const all = [...this.uploads].filter(([, { key }]) => key.startsWith(query['prefix'] ?? ''));
    const from =
      query['upload-id-marker'] === undefined ? 0 : all.findIndex(([id]) => id === query['upload-id-marker']) + 1;
    const page = all.slice(from, from + this.pageUploads);
    const isTruncated = from + page.length < all.length;
    const [lastId, last] = page.at(-1) ?? [];
    const next = isTruncated
      ? `<NextKeyMarker>${last?.key}</NextKeyMarker><NextUploadIdMarker>${lastId}</NextUploadIdMarker>`
      : '';
    const uploads = page.map(
      ([id, { key }]) =>
        `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>1994-11-06T08:49:00.000Z</Initiated></Upload>`,
    );
    const head = `<Bucket>${BUCKET}</Bucket><IsTruncated>${isTruncated}</IsTruncated>${next}`;
    return xml(`<ListMultipartUploadsResult>${head}${uploads.join('')}</ListMultipartUploadsResult>`);
  }
}

function stepOf({ method, query }: FakeRequest): FakeStep {
  if (method === 'POST') return 'uploads' in query ? 'create' : 'complete';
  if (method === 'HEAD') return 'head';
  if (method === 'GET') return 'uploadId' in query ? 'list parts' : 'uploads' in query ? 'list uploads' : 'get';
  if (method === 'DELETE') return 'uploadId' in query ? 'abort' : 'delete';
  return 'partNumber' in query ? 'part' : 'put';
}

function matches(ifMatch: string | undefined, object: FakeObject | undefined): boolean {
  return ifMatch === undefined || object?.etag === ifMatch;
}

function bodyOf({ body }: FakeRequest): Buffer {
  if (body === undefined) return Buffer.alloc(0);
  if (body instanceof Uint8Array) return Buffer.from(body);
  throw new Error('requests carry bytes, not streams');
}

function xml(text: string): FakeAnswer {
  return { status: 200, body: `<?xml version="1.0"?>${text}` };
}
