/** S3Store against scripted answers: what servers, proxies and networks send that no healthy server does. */
import { Readable } from 'node:stream';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DbError } from '../../../src/common/errors.ts';
import type { ObjectStore, PutOptions } from '../../../src/store/object-store.ts';
import { S3Store, type S3StoreOptions } from '../../../src/store/s3-store.ts';
import { storeErrorClass } from '../../../src/store/store-error.ts';

interface Request {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body?: unknown;
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: string | Uint8Array | Readable;
}

type Script = (request: Request, count: number) => Answer | Error | Promise<never>;

const CREATE: PutOptions = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
const DATE = { date: 'Sun, 06 Nov 1994 08:49:37 GMT' };
const opened: S3Store[] = [];

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

function storeWith(script: Script, options: Partial<S3StoreOptions> = {}) {
  const requests: Request[] = [];
  const handle = async (request: Request, { abortSignal }: { abortSignal?: AbortSignal } = {}) => {
    requests.push(request);
    const aborted = new Promise<never>((_, reject) => {
      const fail = () => reject(Object.assign(new Error('Request aborted'), { name: 'AbortError' }));
      abortSignal?.addEventListener('abort', fail, { once: true });
    });
    const answer = await Promise.race([script(request, requests.length), aborted]);
    if (answer instanceof Error) throw answer;
    const { status, headers = {}, body = '' } = answer;
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const stream = bytes instanceof Readable ? bytes : Readable.from(bytes.length === 0 ? [] : [bytes]);
    return { response: { statusCode: status, headers: { ...DATE, ...headers }, body: stream } };
  };
  const store = new S3Store({
    bucket: 'bucket',
    endpoint: 'http://server.test:9000',
    credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
    clientConfig: { requestHandler: { handle } as never },
    ...options,
  });
  opened.push(store);
  return { store, requests };
}

function errorAnswer(status: number, code: string): Answer {
  return { status, body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>as scripted</Message></Error>` };
}

function bodyAnswer(bytes: Uint8Array | string, headers: Record<string, string> = {}): Answer {
  const body = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  return { status: 200, headers: { 'content-length': String(body.length), etag: '"e"', ...headers }, body };
}

function listAnswer(keys: string[], rest = '', truncated = false): Answer {
  const entries = keys.map((key) => `<Contents><Key>${key}</Key><Size>1</Size><ETag>"e"</ETag></Contents>`).join('');
  const head = `<Name>bucket</Name><KeyCount>${keys.length}</KeyCount><IsTruncated>${truncated}</IsTruncated>`;
  return { status: 200, body: `<?xml version="1.0"?><ListBucketResult>${head}${rest}${entries}</ListBucketResult>` };
}

async function failureOf(promise: Promise<unknown>): Promise<DbError> {
  return promise.then(
    (value) => expect.fail(`it should have been rejected, not ${JSON.stringify(value)}`),
    (error) => {
      expect(error).toBeInstanceOf(DbError);
      return error;
    },
  );
}

async function collect(store: ObjectStore, prefix: string, startAfter?: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of store.list(prefix, startAfter === undefined ? {} : { startAfter })) found.push(path);
  return found;
}

describe('a HEAD that is refused without a word', () => {
  const FULL = { 'last-modified': 'Sun, 06 Nov 1994 08:49:37 GMT', 'x-amz-meta-slatedbputid': CREATE.putId };
  const scripted = (status: number, answer: (request: Request) => Answer) =>
    storeWith((request) => (request.method === 'HEAD' ? { status } : answer(request)));

  it.each([401, 403, 400])('is asked again by a GET of one byte, which may be allowed (status %i)', async (status) => {
    const { store, requests } = scripted(status, () => ({
      ...bodyAnswer('0', { ...FULL, 'content-range': 'bytes 0-0/77' }),
      status: 206,
    }));
    const whole = await storeWith(() => ({
      ...bodyAnswer('', FULL),
      headers: { ...FULL, etag: '"e"', 'content-length': '77' },
    })).store.head('wal/1');
    expect(await store.head('wal/1')).toEqual(whole);
    expect(whole).toMatchObject({ size: 77, metadata: { slatedbputid: CREATE.putId } });
    expect(requests.map(({ method, headers }) => [method, headers['range']])).toEqual([
      ['HEAD', undefined],
      ['GET', 'bytes=0-0'],
    ]);
  });

  it('which for an object of no bytes is a GET of all of it', async () => {
    const { store, requests } = scripted(403, ({ headers }) =>
      headers['range'] === undefined ? bodyAnswer('', FULL) : errorAnswer(416, 'InvalidRange'),
    );
    expect(await store.head('wal/1')).toMatchObject({ size: 0, etag: '"e"' });
    expect(requests.length).toBe(3);
  });

  it('and which otherwise says why', async () => {
    const denied = await failureOf(scripted(403, () => errorAnswer(403, 'InvalidAccessKeyId')).store.head('a'));
    expect([storeErrorClass(denied), denied.message]).toEqual([
      'denied',
      expect.stringContaining('InvalidAccessKeyId'),
    ]);
    const expired = await failureOf(scripted(400, () => errorAnswer(400, 'ExpiredToken')).store.head('a'));
    expect([storeErrorClass(expired), expired.message]).toEqual(['auth', expect.stringContaining('ExpiredToken')]);
    expect(await scripted(403, () => errorAnswer(404, 'NoSuchKey')).store.head('a')).toBeUndefined();
    const longer = scripted(403, () => bodyAnswer('the whole object'));
    expect(storeErrorClass(await failureOf(longer.store.head('a')))).toBe('malformed-response');
  });
});

describe('a list that a proxy compressed unasked', () => {
  const compressed = (encoding: string, body: Uint8Array): Answer => ({
    status: 200,
    headers: { 'content-encoding': encoding, 'content-length': String(body.length) },
    body,
  });
  const page = Buffer.from(listAnswer(['a/1', 'a/2']).body as string);

  it.each([
    ['gzip', gzipSync(page)],
    ['x-gzip', gzipSync(page)],
    ['GZIP ', gzipSync(page)],
    ['deflate', deflateSync(page)],
    ['br', brotliCompressSync(page)],
  ])('is read (%s)', async (encoding, body) => {
    expect(await collect(storeWith(() => compressed(encoding, body)).store, 'a/')).toEqual(['a/1', 'a/2']);
  });

  it.each([
    ['gzip', 'cut', gzipSync(page).subarray(0, 30)],
    ['gzip', 'not compressed at all', page],
    ['gzip', 'far longer than a page', gzipSync(Buffer.alloc(40 << 20))],
    ['gzip', 'longer than a page before it is decompressed', Buffer.alloc((16 << 20) + 1)],
    ['zstd', 'in an encoding that is not known', page],
  ])('is a malformed answer where it is %s, %s', async (encoding, _, body) => {
    const error = await failureOf(collect(storeWith(() => compressed(encoding, body)).store, 'a/'));
    expect([storeErrorClass(error), error.details['transient']]).toEqual(['malformed-response', true]);
  });
});

describe('requests', () => {
  it('carry condition, put id and range', async () => {
    const { store, requests } = storeWith(({ method }) =>
      method === 'GET'
        ? { ...bodyAnswer('2345', { 'content-range': 'bytes 2-5/10' }), status: 206 }
        : { status: 200, headers: { etag: '"e"' } },
    );
    await store.put('wal/1', new Uint8Array([1, 2, 3]), CREATE);
    await store.put('wal/1', new Uint8Array(0), { condition: { ifMatch: '"old"' }, putId: CREATE.putId });
    await store.put('wal/1', new Uint8Array(1), { condition: 'any', putId: CREATE.putId });
    await store.get('wal/1', { range: { offset: 2, length: 4 } });
    const [create, match, any, get] = requests.map(({ headers }) => headers);
    expect(create).toMatchObject({
      'if-none-match': '*',
      'x-amz-meta-slatedbputid': CREATE.putId,
      'content-length': '3',
    });
    expect(match['if-match']).toBe('"old"');
    expect(match).not.toHaveProperty('if-none-match');
    expect(any).not.toHaveProperty('if-none-match');
    expect(any).not.toHaveProperty('expect');
    expect(get['range']).toBe('bytes=2-5');
    expect(requests[0].path).toBe('/bucket/wal/1');
    const checksums = Object.keys(create).filter((name) => /checksum/.test(name));
    expect(checksums, 'no checksum headers for servers that are not AWS').toEqual([]);
  });

  it('are sent once each, whatever the answer', async () => {
    const { store, requests } = storeWith(() => errorAnswer(500, 'InternalError'));
    await failureOf(store.get('a'));
    await failureOf(store.head('a'));
    await store.put('a', new Uint8Array(1), CREATE);
    await failureOf(store.delete(['a']));
    await failureOf(store.delete(['a', 'b']));
    await failureOf(collect(store, ''));
    expect(requests.length).toBe(6);
  });

  it("carry the server's time back", async () => {
    const { store } = storeWith(() => bodyAnswer('x'));
    const time = 784111777000;
    expect((await store.get('a'))?.storeTimeMs).toBe(time);
    expect((await store.head('a'))?.storeTimeMs).toBe(time);
    expect(await store.put('a', new Uint8Array(1), CREATE)).toMatchObject({ storeTimeMs: time });
  });
});

describe('put outcomes', () => {
  const outcomeOf = async (answer: Answer | Error, options: PutOptions = CREATE) => {
    const { store } = storeWith(() => answer);
    return store.put('wal/1', new Uint8Array(3), options);
  };
  const IF_MATCH: PutOptions = { ...CREATE, condition: { ifMatch: '"e"' } };

  it('412 is a refusal, and 404 for If-Match', async () => {
    expect(await outcomeOf(errorAnswer(412, 'PreconditionFailed'))).toEqual({ outcome: 'refused' });
    expect(await outcomeOf(errorAnswer(412, 'PreconditionFailed'), IF_MATCH)).toEqual({ outcome: 'refused' });
    expect(await outcomeOf(errorAnswer(404, 'NoSuchKey'), IF_MATCH)).toEqual({ outcome: 'refused' });
  });

  it('500, 502, 504 and lost connections are unknown', async () => {
    const lost = Object.assign(new Error('socket hang up'), { name: 'TimeoutError', code: 'ECONNRESET' });
    const html = { status: 502, headers: { 'content-type': 'text/html' }, body: '<html>Bad Gateway</html>' };
    for (const answer of [errorAnswer(500, 'InternalError'), html, { status: 504 }, lost]) {
      const outcome = await outcomeOf(answer);
      expect(outcome.outcome).toBe('unknown');
      if (outcome.outcome === 'unknown') expect(storeErrorClass(outcome.cause)).toBe('unavailable');
    }
  });

  it('409, 429, 503, 403, 501 and 404 of the bucket are errors: nothing was applied', async () => {
    const cases: [Answer, string][] = [
      [errorAnswer(409, 'ConditionalRequestConflict'), 'conflict-in-flight'],
      [errorAnswer(429, 'TooManyRequests'), 'throttled'],
      [{ ...errorAnswer(503, 'SlowDown'), headers: { 'retry-after': '3' } }, 'throttled'],
      [errorAnswer(403, 'AccessDenied'), 'denied'],
      [errorAnswer(501, 'NotImplemented'), 'unsupported'],
      [errorAnswer(404, 'NoSuchBucket'), 'missing'],
    ];
    for (const [answer, cls] of cases) {
      const error = await failureOf(outcomeOf(answer));
      expect([storeErrorClass(error), error.details['path']]).toEqual([cls, 'wal/1']);
      if (answer.headers !== undefined) expect(error.details['retryAfterMs']).toBe(3000);
    }
  });

  it('an abort after sending is unknown', async () => {
    const { store, requests } = storeWith(() => new Promise(() => undefined));
    const controller = new AbortController();
    const put = store.put('a', new Uint8Array(1), { ...CREATE, signal: controller.signal });
    while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    expect(await put).toMatchObject({ outcome: 'unknown', cause: { code: 'ABORTED' } });
  });

  it('an answer without an ETag is completed by a HEAD', async () => {
    const { store, requests } = storeWith(({ method }) =>
      method === 'PUT' ? { status: 200 } : { status: 200, headers: { etag: '"late"', 'content-length': '3' } },
    );
    expect(await store.put('a', new Uint8Array(3), CREATE)).toMatchObject({ outcome: 'applied', etag: '"late"' });
    expect(requests.map(({ method }) => method)).toEqual(['PUT', 'HEAD']);
  });

  it('an answer without an ETag is believed only if the object is there', async () => {
    const heads: Record<string, Answer> = {
      absent: { status: 404 },
      'another size': { status: 200, headers: { 'content-length': '4' } },
      'another put': { status: 200, headers: { 'content-length': '3', 'x-amz-meta-slatedbputid': 'other' } },
      failed: { status: 500 },
    };
    for (const [what, head] of Object.entries(heads)) {
      const { store } = storeWith(({ method }) => (method === 'PUT' ? { status: 200 } : head));
      expect(await store.put('a', new Uint8Array(3), CREATE), what).toMatchObject({ outcome: 'unknown' });
    }
  });

  it('a page of a proxy is no answer to anything', async () => {
    const page: Answer = {
      status: 200,
      headers: { 'content-type': 'text/html; charset=utf-8', etag: '"page"', 'content-length': '20' },
      body: '<html>sign in</html>',
    };
    const { store } = storeWith(({ method }) => (method === 'HEAD' ? { ...page, body: '' } : page));
    expect(await store.put('a', new Uint8Array(20), CREATE)).toMatchObject({
      outcome: 'unknown',
      cause: { code: 'STORE_DOWN', message: expect.stringContaining('HTML') },
    });
    const calls = [store.get('a'), store.head('a'), store.delete(['a']), store.delete(['a', 'b']), collect(store, '')];
    for (const call of calls) expect(storeErrorClass(await failureOf(call))).toBe('malformed-response');
    const ofAStore = storeWith(() => ({ ...page, headers: { ...page.headers, 'x-amz-request-id': '1' } }));
    expect((await ofAStore.store.get('a'))?.size, 'an object that is HTML').toBe(20);
  });

  it('weak ETags are used as strong ones, which servers take back', async () => {
    const { store, requests } = storeWith(({ method }) =>
      method === 'PUT' ? { status: 200, headers: { etag: 'W/"e"' } } : bodyAnswer('x', { etag: 'W/"e"' }),
    );
    expect(await store.put('a', new Uint8Array(1), CREATE)).toMatchObject({ outcome: 'applied', etag: '"e"' });
    expect((await store.get('a'))?.etag).toBe('"e"');
    const { etag } = (await store.head('a'))!;
    await store.put('a', new Uint8Array(1), { ...CREATE, condition: { ifMatch: etag } });
    expect(requests.at(-1)?.headers['if-match']).toBe('"e"');
  });
});

describe('requests that cannot be sent', () => {
  const sent = () => ({ status: 200, headers: { etag: '"e"' } });
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };

  it.each([
    ['access key id', { ...credentials, accessKeyId: 'key\n' }, /access key id .*AWS_ACCESS_KEY_ID.* a line break/],
    ['access key id', { ...credentials, accessKeyId: 'key\r' }, /access key id .* a line break/],
    [
      'secret',
      { ...credentials, secretAccessKey: 'hush-hush ' },
      /secret access key .*AWS_SECRET_ACCESS_KEY.* white space/,
    ],
    ['token', { ...credentials, sessionToken: 'a\nb' }, /security token .*AWS_SESSION_TOKEN.* a line break/],
    [
      'token',
      { ...credentials, sessionToken: 'a\u00e4b' },
      /security token .* a character that is not printable ASCII/,
    ],
  ])('%s that no key can be: denied at once, and never shown', async (_, keys, says) => {
    const { store, requests } = storeWith(sent, { credentials: keys });
    const { accessKeyId, secretAccessKey } = keys;
    const calls = [
      () => store.get('a'),
      () => store.head('a'),
      () => store.put('a', new Uint8Array(1), CREATE),
      () => store.delete(['a']),
      () => store.put('a', new Uint8Array(16 << 20), CREATE),
      () => store.put('a', new Uint8Array(17 << 20), CREATE),
      () => collect(store, ''),
    ];
    for (const call of calls) {
      const error = await failureOf(call());
      expect(error).toMatchObject({ code: 'STORE_DENIED', retryable: false, message: expect.stringMatching(says) });
      for (const key of [accessKeyId, secretAccessKey]) if (key.length > 3) expect(error.message).not.toContain(key);
    }
    expect(requests).toEqual([]);
  });

  it.each([
    ['region with a blank', { region: 'us-east-1 ' }, /Region not accepted.*AWS_REGION/],
    ['region with a line break', { region: 'us-east-1\n' }, /Region not accepted/],
    ['port', { endpoint: 'http://127.0.0.1:99999' }, /Invalid URL|port/],
    ['endpoint', { endpoint: 'http//127.0.0.1:9000' }, /Invalid URL|endpoint/],
    ['bucket', { bucket: 'a bucket/with\nodd\u00e4', endpoint: undefined as never, region: 'us-east-1' }, /bucket/i],
  ])('%s that cannot be: unsuitable at once', async (_, options, says) => {
    const { store, requests } = storeWith(sent, options);
    for (const call of [store.get('a'), store.put('a', new Uint8Array(1), CREATE), collect(store, '')]) {
      const error = await failureOf(call);
      expect(error).toMatchObject({ kind: 'invalid', retryable: false, message: expect.stringMatching(says) });
    }
    expect(requests).toEqual([]);
  });

  it('a connection that could not be made is tried again by the next call', async () => {
    let good = false;
    const provider = async () => (good ? credentials : Promise.reject(new Error('nothing yet')));
    const { store } = storeWith(sent, { credentials: provider });
    await failureOf(store.get('a'));
    good = true;
    expect(await store.put('a', new Uint8Array(1), CREATE)).toMatchObject({ outcome: 'applied' });
  });

  it('the bucket goes into the path for every endpoint that is not AWS, wherever it comes from', async () => {
    const pathOf = async (options: Partial<S3StoreOptions>) => {
      const { store, requests } = storeWith(sent, { endpoint: undefined as never, region: 'us-east-1', ...options });
      await store.put('a', new Uint8Array(1), CREATE);
      return `${(requests[0] as Request & { hostname: string }).hostname}${requests[0].path}`;
    };
    const handler = storeWith(sent);
    await handler.store.put('a', new Uint8Array(1), CREATE);
    for (const name of ['AWS_ENDPOINT_URL_S3', 'AWS_ENDPOINT_URL']) {
      vi.stubEnv(name, 'http://localhost:9000');
      expect(await pathOf({}), name).toBe('localhost/bucket/a');
      expect(await pathOf({ forcePathStyle: false }), 'what the user says counts').toBe('bucket.localhost/a');
      vi.unstubAllEnvs();
    }
    expect(await pathOf({})).toBe('bucket.s3.us-east-1.amazonaws.com/a');
  });
});

describe('get', () => {
  const ten = '0123456789';
  const getWith = (answer: Answer, range?: { offset: number; length: number } | { suffix: number }) =>
    storeWith(() => answer).store.get('a', range === undefined ? {} : { range });
  const part = (body: string, contentRange: string): Answer => ({
    ...bodyAnswer(body, { 'content-range': contentRange }),
    status: 206,
  });

  const chunked = (body: string, contentRange?: string): Answer => ({
    status: contentRange === undefined ? 200 : 206,
    headers: { 'transfer-encoding': 'chunked', ...(contentRange && { 'content-range': contentRange }) },
    body,
  });

  it('accepts what fits the request', async () => {
    expect((await getWith(bodyAnswer(ten)))?.size).toBe(10);
    expect((await getWith(part('234', 'bytes 2-4/10'), { offset: 2, length: 3 }))?.size).toBe(10);
    expect((await getWith(part('89', 'bytes 8-9/10'), { offset: 8, length: 30 }))?.bytes.length).toBe(2);
    expect((await getWith(part('789', 'bytes 7-9/10'), { suffix: 3 }))?.bytes.length).toBe(3);
    expect((await getWith(bodyAnswer(ten), { suffix: 30 }))?.bytes.length).toBe(10);
    expect((await getWith(bodyAnswer(ten), { offset: 0, length: 10 }))?.bytes.length).toBe(10);
  });

  it('accepts bodies in chunks whose length nobody says', async () => {
    const whole = { size: 10, bytes: Buffer.from(ten) };
    const taken = async (answer: Answer, range?: { offset: number; length: number } | { suffix: number }) => {
      const got = await getWith(answer, range);
      return got && { size: got.size, bytes: Buffer.from(got.bytes) };
    };
    expect(await taken(chunked(ten))).toEqual(whole);
    expect(await taken(chunked(ten), { offset: 0, length: 10 })).toEqual(whole);
    expect(await taken(chunked(ten), { offset: 0, length: 500 })).toEqual(whole);
    expect(await taken(chunked(ten), { suffix: 10 })).toEqual(whole);
    expect(await taken(chunked('234', 'bytes 2-4/10'), { offset: 2, length: 3 })).toEqual({
      size: 10,
      bytes: Buffer.from('234'),
    });
    expect(await taken(chunked(''))).toEqual({ size: 0, bytes: Buffer.alloc(0) });
    const long = Readable.from(Array.from({ length: 40 }, (_, i) => Buffer.alloc(1 << 20, i + 1)));
    const got = await getWith({ ...chunked(''), body: long });
    expect(got?.size).toBe(40 << 20);
    for (let i = 0; i < 40; i++) expect(got?.bytes[(i << 20) + 77]).toBe(i + 1);
  });

  it('refuses answers that do not', async () => {
    const cases: [string, Answer, { offset: number; length: number } | { suffix: number } | undefined][] = [
      ['whole object for a range', bodyAnswer(ten), { offset: 2, length: 3 }],
      ['whole object for a suffix', bodyAnswer(ten), { suffix: 3 }],
      ['shorter part', part('23', 'bytes 2-3/10'), { offset: 2, length: 3 }],
      ['part that begins earlier', part('123', 'bytes 1-4/10'), { offset: 2, length: 3 }],
      ['other part', part('345', 'bytes 3-5/10'), { offset: 2, length: 3 }],
      ['other suffix', part('234', 'bytes 2-4/10'), { suffix: 3 }],
      ['part without being asked', part('234', 'bytes 2-4/10'), undefined],
      ['unknown size', part('234', 'bytes 2-4/*'), { offset: 2, length: 3 }],
      ['nonsense', part('234', 'lines 2-4/10'), { offset: 2, length: 3 }],
      ['no length', { status: 200, body: ten }, undefined],
      ['no length, chunked, more than was asked for', chunked(ten), { offset: 0, length: 9 }],
      ['no length, chunked, more than the suffix', chunked(ten), { suffix: 9 }],
      ['no length, chunked, the whole object for a range', chunked(ten), { offset: 1, length: 20 }],
      ['no length, a part that is cut', chunked('23', 'bytes 2-4/10'), { offset: 2, length: 3 }],
      ['no length, a part that is longer', chunked('23456', 'bytes 2-4/10'), { offset: 2, length: 3 }],
      ['compressed on the way', { ...bodyAnswer(ten, { 'content-encoding': 'gzip' }) }, undefined],
      ['a page of a proxy', bodyAnswer('<html>sign in</html>', { 'content-type': 'text/html' }), undefined],
      ['body cut', { ...bodyAnswer('01234'), headers: { 'content-length': '10' } }, undefined],
      ['body too long', { ...bodyAnswer(`${ten}${ten}`), headers: { 'content-length': '10' } }, undefined],
      ['absurd length', { ...bodyAnswer(ten), headers: { 'content-length': '9007199254740991' } }, undefined],
    ];
    for (const [what, answer, range] of cases) {
      const error = await failureOf(getWith(answer, range));
      expect([what, storeErrorClass(error)]).toEqual([what, 'malformed-response']);
      expect(error.details['transient']).toBe(true);
    }
  });

  it('takes no more memory on the word of a header than a body of that size would need', async () => {
    const allocate = vi.spyOn(Buffer, 'allocUnsafeSlow');
    try {
      const answer = { ...bodyAnswer(ten), headers: { 'content-length': String(4 * 2 ** 30 - 16) } };
      expect(storeErrorClass(await failureOf(getWith(answer)))).toBe('malformed-response');
      expect(Math.max(...allocate.mock.calls.map(([bytes]) => bytes))).toBe(8 << 20);
    } finally {
      allocate.mockRestore();
    }
  });

  it('a large body comes whole', async () => {
    const chunks = Array.from({ length: 40 }, (_, i) => Buffer.alloc(1 << 20, i + 1));
    const size = 40 << 20;
    const headers = { 'content-length': String(size) };
    const got = await getWith({ status: 200, headers, body: Readable.from(chunks) });
    expect(got?.bytes.length).toBe(size);
    for (let i = 0; i < 40; i++) expect(got?.bytes[(i << 20) + 77]).toBe(i + 1);
  });

  it('a body that breaks off is transient', async () => {
    const broken = () =>
      new Readable({
        read() {
          this.push('01234');
          this.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }));
        },
      });
    const error = await failureOf(getWith({ status: 200, headers: { 'content-length': '10' }, body: broken() }));
    expect(error.details).toMatchObject({ storeClass: 'unavailable', transient: true });
    const silent = new Readable({ read() {} });
    const getting = getWith({ status: 200, headers: { 'content-length': '10' }, body: silent });
    silent.destroy();
    expect(storeErrorClass(await failureOf(getting))).toBe('malformed-response');
  });

  it('an abort while the body comes ends it', async () => {
    const silent = new Readable({ read() {} });
    const { store } = storeWith(() => ({ status: 200, headers: { 'content-length': '10' }, body: silent }));
    const controller = new AbortController();
    const failure = failureOf(store.get('a', { signal: controller.signal }));
    while (silent.listenerCount('data') === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect(silent.destroyed).toBe(true);
  });

  it('416 and empty ranges are settled by a HEAD', async () => {
    const script: Script = ({ method }) =>
      method === 'GET'
        ? errorAnswer(416, 'InvalidRange')
        : { status: 200, headers: { 'content-length': '10', etag: '"e"', 'x-amz-meta-slatedbputid': 'ID' } };
    const { store, requests } = storeWith(script);
    for (const range of [{ offset: 10, length: 5 }, { offset: 3, length: 0 }, { suffix: 0 }]) {
      const result = await store.get('a', { range });
      expect(result).toMatchObject({ size: 10, etag: '"e"', metadata: { slatedbputid: 'ID' } });
      expect(result?.bytes.length).toBe(0);
    }
    expect(requests.map(({ method }) => method)).toEqual(['GET', 'HEAD', 'HEAD', 'HEAD']);
    const error = await failureOf(store.get('a', { range: { offset: 5, length: 5 } }));
    expect(storeErrorClass(error)).toBe('malformed-response');
  });

  it('knows a missing object from a missing bucket', async () => {
    expect(await getWith(errorAnswer(404, 'NoSuchKey'))).toBeUndefined();
    expect(await getWith({ status: 404 })).toBeUndefined();
    const error = await failureOf(getWith(errorAnswer(404, 'NoSuchBucket')));
    expect(error).toMatchObject({ code: 'STORE_MISSING', message: expect.stringContaining('bucket') });
  });
});

describe('list', () => {
  const token = (name: string) => `<NextContinuationToken>${name}</NextContinuationToken>`;

  it('follows tokens', async () => {
    const { store, requests } = storeWith((_, count) =>
      count === 1 ? listAnswer(['a/1', 'a/2'], token('t'), true) : listAnswer(['a/3']),
    );
    expect(await collect(store, 'a/')).toEqual(['a/1', 'a/2', 'a/3']);
    expect(requests.map(({ query }) => query['continuation-token'])).toEqual([undefined, 't']);
  });

  it('sorts a page, skips folder markers and what is before the start', async () => {
    const { store } = storeWith(() => listAnswer(['a/3', 'a/', 'a/1', 'a/2']));
    expect(await collect(store, 'a/')).toEqual(['a/1', 'a/2', 'a/3']);
    expect(await collect(store, 'a/', 'a/1')).toEqual(['a/2', 'a/3']);
  });

  it('is never taken for empty without proof, nor for complete', async () => {
    const answers: [string, Script][] = [
      ['empty body', () => ({ status: 200 })],
      ['empty result', () => ({ status: 200, body: '<ListBucketResult></ListBucketResult>' })],
      ['cut XML', () => ({ status: 200, body: '<ListBucketResult><Name>bucket</Name><Contents><Key>a/' })],
      ['no token', () => listAnswer(['a/1'], '', true)],
      ['repeated token', (_, n) => listAnswer([`a/${n}`], token('same'), true)],
      ['pages out of order', (_, n) => listAnswer([`a/${9 - n}`], token(`t${n}`), true)],
      ['other prefix', () => listAnswer(['b/1'])],
    ];
    for (const [what, script] of answers) {
      const error = await failureOf(collect(storeWith(script).store, 'a/'));
      expect([what, storeErrorClass(error)]).toEqual([what, 'malformed-response']);
      if (what === 'repeated token') expect(error.message).toContain('repeats its token');
    }
  });
});

describe('delete', () => {
  it('goes in batches of 1,000', async () => {
    const { store, requests } = storeWith(({ method }) =>
      method === 'DELETE' ? { status: 204 } : { status: 200, body: '<DeleteResult></DeleteResult>' },
    );
    await store.delete(Array.from({ length: 2001 }, (_, i) => `a/${i}`));
    await store.delete([]);
    expect(requests.map(({ method }) => method)).toEqual(['POST', 'POST', 'DELETE']);
  });

  it('reads the errors inside a success', async () => {
    const withError = (code: string) =>
      storeWith(() => ({
        status: 200,
        body: `<DeleteResult><Error><Key>a/2</Key><Code>${code}</Code><Message>m</Message></Error></DeleteResult>`,
      })).store.delete(['a/1', 'a/2']);
    expect(await failureOf(withError('AccessDenied'))).toMatchObject({
      code: 'STORE_DENIED',
      details: { path: 'a/2' },
    });
    expect(await failureOf(withError('InternalError'))).toMatchObject({ code: 'STORE_DOWN', retryable: true });
    await withError('NoSuchKey');
  });
});

it('needs a bucket, and parts that the protocol allows', () => {
  expect(() => new S3Store({ bucket: '' })).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  for (const partBytes of [1, (5 << 20) - 1, 2 ** 33]) {
    expect(() => new S3Store({ bucket: 'b', partBytes })).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
  }
});
