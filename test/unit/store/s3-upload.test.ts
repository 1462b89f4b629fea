/** Objects in parts on a scripted S3 server: what is sent, what is repeated, and how a completion without a clear answer is decided. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Upload } from '@aws-sdk/lib-storage';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DbError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { meteredStore } from '../../../src/store/metered-store.ts';
import type { ObjectUpload, PutOptions, PutOutcome, UploadOptions } from '../../../src/store/object-store.ts';
import { loadS3Sdk, loadS3Upload } from '../../../src/store/s3-client.ts';
import type { S3Store, S3StoreOptions } from '../../../src/store/s3-store.ts';
import { S3Upload, type S3UploadHost } from '../../../src/store/s3-upload.ts';
import { storeErrorClass } from '../../../src/store/store-error.ts';
import { errorAnswer, FAKE_DATE_MS, type FakeRequest, FakeS3, lostAnswer } from '../../support/fake-s3.ts';

const MIB = 1 << 20;
const PART_BYTES = 5 * MIB;
const PATH = 'compacted/1.sst';
const OURS = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const OTHERS = '01BX5ZZKBKACTAV9WEVGEMMVRZ';
const CREATE: PutOptions = { condition: 'if-absent', putId: OURS };
/** Three parts. */
const BODY = new Uint8Array(11 * MIB).map((_, i) => i * 7 + (i >>> 12));
const opened: S3Store[] = [];

// In virtual time nothing waits for modules that are read: a busy machine needs seconds for the SDK.
beforeAll(async () => {
  await Promise.all([loadS3Sdk('fake'), loadS3Upload('fake')]);
}, 120_000);
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

function setUp(options: Partial<S3StoreOptions> = {}) {
  const clock = new ManualClock();
  const s3 = new FakeS3();
  const store = s3.store({ multipartThresholdBytes: MIB, partBytes: PART_BYTES, clock, ...options });
  opened.push(store);
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  /** What a put of BODY comes to, outcome or error. */
  const put = (given: Partial<PutOptions> = {}): Promise<PutOutcome | DbError> =>
    run(store.put(PATH, BODY, { ...CREATE, ...given }).catch((error: DbError) => error));
  /** The same by an upload in pieces. */
  const streamed = (given: Partial<UploadOptions> = {}): Promise<PutOutcome | DbError> => {
    const upload = store.upload(PATH, { ...CREATE, ...given });
    const all = async () => {
      for (let at = 0; at < BODY.length; at += 700_000) await upload.write(BODY.slice(at, at + 700_000));
      return upload.complete();
    };
    const ended = all().catch(async (error: DbError) => {
      await upload.abort();
      return error;
    });
    return run(ended);
  };
  return { clock, s3, store, run, put, streamed };
}

/** The same for a put and for an upload. */
const WAYS = ['put', 'streamed'] as const;

function objectOf(s3: FakeS3, putId: string | undefined, bytes: Uint8Array = BODY) {
  s3.objects.set(PATH, { bytes: Buffer.from(bytes), etag: '"another"', putId });
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

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(WAYS)('an object in parts, by %s', (way) => {
  it('is sent in order, with put id and condition', async () => {
    const { s3, ...ways } = setUp();
    const outcome = await ways[way]();
    const etag = s3.objects.get(PATH)?.etag;
    expect(outcome).toEqual({ outcome: 'applied', attempt: 'now', etag, storeTimeMs: FAKE_DATE_MS });
    expect(s3.steps).toEqual(['create', 'part', 'part', 'part', 'complete']);
    expect(s3.bytes(PATH)?.equals(BODY)).toBe(true);
    const sizes = s3.of('part').map(({ query, body }) => [query['partNumber'], (body as Uint8Array).length]);
    expect(sizes.sort()).toEqual([
      ['1', PART_BYTES],
      ['2', PART_BYTES],
      ['3', MIB],
    ]);
    expect(s3.of('create')[0].headers['x-amz-meta-slatedbputid']).toBe(OURS);
    expect(s3.of('complete')[0].headers['if-none-match']).toBe('*');
    for (const { headers } of s3.requests) expect(headers).not.toHaveProperty('expect');
    const checksums = s3.requests.flatMap(({ headers }) =>
      Object.keys(headers).filter((name) => /checksum/.test(name)),
    );
    expect(checksums, 'no checksum headers for servers that are not AWS').toEqual([]);
  });

  it('overwrites the version that ifMatch names, and no other', async () => {
    const { s3, ...ways } = setUp();
    objectOf(s3, OTHERS);
    expect(await ways[way]({ condition: { ifMatch: '"gone"' } })).toEqual({ outcome: 'refused' });
    expect(s3.bytes(PATH)).toBeDefined();
    expect(await ways[way]({ condition: { ifMatch: '"another"' } })).toMatchObject({ outcome: 'applied' });
    s3.objects.delete(PATH);
    expect(await ways[way]({ condition: { ifMatch: '"another"' } })).toEqual({ outcome: 'refused' });
    expect(await ways[way]({ condition: 'any' })).toMatchObject({ outcome: 'applied' });
    expect(s3.uploads.size).toBe(0);
  });

  it('names weak ETags of parts as strong ones', async () => {
    const { s3, ...ways } = setUp();
    s3.on('part', (nth, apply) => ({ ...apply(), headers: { etag: `W/"p${nth}"` } }));
    expect(await ways[way]()).toMatchObject({ outcome: 'applied' });
    const body = String(s3.of('complete')[0].body);
    expect(body).toMatch(/<ETag>(&quot;|")p\d/);
    expect(body).not.toContain('W/');
  });

  it('reads from the list of parts the ETags that a proxy took away', async () => {
    const { s3, ...ways } = setUp();
    s3.on('part', (nth, apply) => (nth === 2 ? apply() : { ...apply(), headers: {} }));
    expect(await ways[way]()).toMatchObject({ outcome: 'applied' });
    expect(s3.steps).toEqual(['create', 'part', 'part', 'part', 'list parts', 'list parts', 'complete']);
    const body = String(s3.of('complete')[0].body);
    expect(body.match(/listed\d/g)).toHaveLength(2);
    expect(body.match(/[^\w]p\d/g)).toHaveLength(1);
  });

  it('is unsuitable, with what to do, where nobody names the ETags of parts', async () => {
    const { s3, ...ways } = setUp();
    s3.on('part', (_, apply) => ({ ...apply(), headers: {} }));
    const page = '<Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part>';
    s3.on('list parts', () => ({
      status: 200,
      body: `<ListPartsResult><IsTruncated>false</IsTruncated>${page}</ListPartsResult>`,
    }));
    expect(await ways[way]()).toMatchObject({
      code: 'STORE_UNSUITABLE',
      message: expect.stringContaining('multipartThresholdBytes'),
    });
    expect([s3.count('complete'), s3.count('list parts'), s3.uploads.size]).toEqual([0, 1, 0]);
    const turning = setUp();
    turning.s3.on('part', (_, apply) => ({ ...apply(), headers: {} }));
    const next = '<IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>';
    turning.s3.on('list parts', () => ({ status: 200, body: `<ListPartsResult>${next}</ListPartsResult>` }));
    expect(storeErrorClass(await turning[way]())).toBe('malformed-response');
    expect(turning.s3.uploads.size).toBe(0);
  });

  it('is sent although a part fails twice', async () => {
    const { s3, clock, ...ways } = setUp();
    s3.on('part', (_, apply, { query }) => {
      if (query['partNumber'] !== '2') return apply();
      const attempts = s3.of('part').filter((request) => request.query['partNumber'] === '2').length;
      return attempts === 1 ? errorAnswer(503, 'SlowDown') : attempts === 2 ? lostAnswer() : apply();
    });
    expect(await ways[way]()).toMatchObject({ outcome: 'applied', attempt: 'now' });
    expect(s3.count('part')).toBe(5);
    expect(clock.monotonicMs(), 'the waits between the attempts').toBe(300);
    expect(s3.bytes(PATH)?.equals(BODY)).toBe(true);
  });

  it('is not applied, and leaves nothing, when a part goes on failing', async () => {
    for (const [answer, code, attempts] of [
      [errorAnswer(500, 'InternalError'), 'STORE_DOWN', 5],
      [errorAnswer(403, 'AccessDenied'), 'STORE_DENIED', 1],
      [errorAnswer(404, 'NoSuchUpload'), 'STORE_DOWN', 1],
      [lostAnswer(), 'STORE_DOWN', 5],
    ] as const) {
      const { s3, ...ways } = setUp();
      s3.on('part', (_, apply, { query }) => (query['partNumber'] === '2' ? answer : apply()));
      expect(await ways[way]()).toMatchObject({ code });
      expect(s3.of('part').filter(({ query }) => query['partNumber'] === '2')).toHaveLength(attempts);
      expect([s3.count('complete'), s3.count('abort'), s3.uploads.size, s3.underway]).toEqual([0, 1, 0, 0]);
    }
  });

  it('is begun again after a failure that may pass, and not with an answer without an id', async () => {
    const { s3, ...ways } = setUp();
    s3.on('create', (nth, apply) => (nth === 1 ? errorAnswer(503, 'SlowDown') : apply()));
    expect(await ways[way]()).toMatchObject({ outcome: 'applied' });
    expect(s3.count('create')).toBe(2);
    const nameless = setUp();
    nameless.s3.on('create', () => ({
      status: 200,
      body: '<InitiateMultipartUploadResult></InitiateMultipartUploadResult>',
    }));
    expect(storeErrorClass(await nameless[way]())).toBe('malformed-response');
    expect(nameless.s3.steps).toEqual(['create']);
  });

  it('is not applied, and begun afresh by the caller, after a conflict', async () => {
    const { s3, ...ways } = setUp();
    s3.on('complete', () => errorAnswer(409, 'ConditionalRequestConflict'));
    expect(storeErrorClass(await ways[way]())).toBe('conflict-in-flight');
    expect(s3.count('complete')).toBe(1);
    expect([...s3.steps.slice(-3), s3.uploads.size]).toEqual(['complete', 'head', 'abort', 0]);
  });

  it('is refused by an object of another put', async () => {
    const { s3, ...ways } = setUp();
    objectOf(s3, OTHERS);
    expect(await ways[way]()).toEqual({ outcome: 'refused' });
    expect([...s3.steps.slice(-3), s3.uploads.size]).toEqual(['complete', 'head', 'abort', 0]);
    s3.keepsMetadata = false;
    objectOf(s3, undefined);
    expect(await ways[way]()).toEqual({ outcome: 'refused' });
  });

  it('is applied if the object in the place has its put id, whose answer never came', async () => {
    const { s3, ...ways } = setUp();
    objectOf(s3, OURS);
    expect(await ways[way]()).toEqual({
      outcome: 'applied',
      attempt: 'earlier',
      etag: '"another"',
      storeTimeMs: FAKE_DATE_MS,
      afterUnknown: true,
    });
    expect(s3.uploads.size).toBe(0);
  });
});

describe.each(WAYS)('a completion without a clear answer, by %s', (way) => {
  it('is sent again', async () => {
    const { s3, ...ways } = setUp();
    s3.on('complete', (nth, apply) => (nth < 3 ? errorAnswer(500, 'InternalError') : apply()));
    expect(await ways[way]()).toMatchObject({ outcome: 'applied', attempt: 'now' });
    expect([s3.count('complete'), s3.count('head'), s3.count('abort')]).toEqual([3, 0, 0]);
  });

  it.each([
    ['refused by itself', errorAnswer(412, 'PreconditionFailed')],
    ['without an upload any more', errorAnswer(404, 'NoSuchUpload')],
    ['without an answer again', lostAnswer()],
  ])('is proven by the put id if the second one is %s', async (_, second) => {
    const { s3, ...ways } = setUp();
    s3.on('complete', (nth, apply) => {
      if (nth > 1) return second;
      apply();
      return lostAnswer();
    });
    expect(await ways[way]()).toMatchObject({ outcome: 'applied', attempt: 'earlier', afterUnknown: true });
    expect(s3.bytes(PATH)?.equals(BODY)).toBe(true);
  });

  it('that a proxy sent twice is proven although its only answer is the refusal', async () => {
    const { s3, ...ways } = setUp();
    s3.on('complete', (_, apply) => {
      apply();
      return errorAnswer(412, 'PreconditionFailed');
    });
    expect(await ways[way]()).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    expect(s3.count('complete')).toBe(1);
  });

  it('has not been applied, and cannot be any more, once the parts are removed and nothing is there', async () => {
    for (const answer of [errorAnswer(500, 'InternalError'), errorAnswer(404, 'NoSuchUpload'), lostAnswer()]) {
      const { s3, ...ways } = setUp();
      s3.on('complete', () => answer);
      expect(await ways[way]()).toMatchObject({ code: 'STORE_DOWN', retryable: true });
      expect(s3.steps.slice(-3)).toEqual(['head', 'abort', 'head']);
      expect([s3.objects.size, s3.uploads.size]).toEqual([0, 0]);
    }
  });

  it('that was late is found after the removal of its parts, which succeeds although they are an object by then', async () => {
    const { s3, ...ways } = setUp();
    let late: (() => unknown) | undefined;
    s3.on('complete', (_, apply) => {
      late ??= apply;
      return lostAnswer();
    });
    s3.on('abort', () => {
      late?.();
      return { status: 204 };
    });
    expect(await ways[way]()).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    expect(s3.steps.slice(-3)).toEqual(['head', 'abort', 'head']);
  });

  it('is a refusal if the object in the place is of another put', async () => {
    const { s3, ...ways } = setUp();
    objectOf(s3, OTHERS);
    s3.on('complete', () => lostAnswer());
    expect(await ways[way]()).toEqual({ outcome: 'refused', afterUnknown: true });
    expect(s3.uploads.size).toBe(0);
    expect(await ways[way]({ condition: 'any' })).toMatchObject({ outcome: 'unknown' });
  });

  it('stays unknown, and keeps the parts, if no HEAD is answered', async () => {
    for (const complete of [lostAnswer(), errorAnswer(412, 'PreconditionFailed')]) {
      const { s3, ...ways } = setUp();
      s3.on('complete', () => complete);
      s3.on('head', () => lostAnswer());
      expect(await ways[way]()).toMatchObject({ outcome: 'unknown' });
      expect([s3.count('head'), s3.count('abort'), s3.uploads.size]).toEqual([5, 0, 1]);
    }
  });

  it('stays unknown if the parts cannot be removed, or the place shows nothing', async () => {
    const stuck = setUp();
    stuck.s3.on('complete', () => lostAnswer()).on('abort', () => errorAnswer(403, 'AccessDenied'));
    expect(await stuck[way]()).toMatchObject({ outcome: 'unknown' });
    expect(stuck.s3.uploads.size).toBe(1);
    const nameless = setUp();
    nameless.s3.keepsMetadata = false;
    nameless.s3.on('complete', (_, apply) => {
      apply();
      return lostAnswer();
    });
    expect(await nameless[way]()).toMatchObject({ outcome: 'unknown' });
  });

  it('is certain without a HEAD if it was never sent, or turned away', async () => {
    for (const [answer, code] of [
      [errorAnswer(403, 'AccessDenied'), 'STORE_DENIED'],
      [Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }), 'STORE_DOWN'],
      [errorAnswer(503, 'SlowDown'), 'STORE_THROTTLED'],
    ] as const) {
      const { s3, ...ways } = setUp();
      s3.on('complete', () => answer);
      s3.on('head', () => lostAnswer());
      expect(await ways[way]()).toMatchObject({ code });
      expect(s3.uploads.size).toBe(0);
    }
  });

  it('that succeeds without an ETag is looked up', async () => {
    const { s3, ...ways } = setUp();
    const silent = { status: 200, body: '<CompleteMultipartUploadResult></CompleteMultipartUploadResult>' };
    s3.on('complete', (_, apply) => (apply().status === 200 ? silent : errorAnswer(500, 'InternalError')));
    const etag = expect.stringMatching(/-3"$/);
    expect(await ways[way]()).toMatchObject({ outcome: 'applied', attempt: 'now', etag });
    const unclear = setUp();
    unclear.s3.on('complete', () => silent);
    expect(await unclear[way]()).toMatchObject({ outcome: 'unknown' });
  });
});

describe('an object that fits one part', () => {
  const SMALL = BODY.subarray(0, 3 * MIB);
  const uploadOf = async (store: S3Store, options: Partial<UploadOptions> = {}, bytes = SMALL) => {
    const upload = store.upload(PATH, { ...CREATE, ...options });
    for (let at = 0; at < bytes.length; at += MIB) await upload.write(bytes.slice(at, at + MIB));
    return upload.complete();
  };

  it('is one PUT with condition and put id, from none to as many bytes as a part has', async () => {
    for (const length of [0, 1, 3 * MIB, PART_BYTES]) {
      const { s3, store, run } = setUp();
      expect((await run(uploadOf(store, {}, BODY.subarray(0, length)))).outcome).toBe('applied');
      expect(s3.steps).toEqual(['put']);
      expect(s3.bytes(PATH)?.equals(BODY.subarray(0, length))).toBe(true);
      expect(s3.requests[0].headers).toMatchObject({
        'if-none-match': '*',
        'x-amz-meta-slatedbputid': OURS,
        'content-length': String(length),
      });
      expect(await run(uploadOf(store, { putId: OTHERS }))).toEqual({ outcome: 'refused' });
    }
    const { s3, store, run } = setUp();
    await run(store.put(PATH, SMALL, CREATE));
    expect(s3.steps).toEqual(['put']);
  });

  it('is sent again after a failure, and its own object is found', async () => {
    const { s3, store, run } = setUp();
    s3.on('put', (nth, apply) => {
      if (nth === 1) return errorAnswer(503, 'SlowDown');
      if (nth === 2) apply();
      return nth === 2 ? lostAnswer() : apply();
    });
    expect(await run(uploadOf(store))).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    expect(s3.steps).toEqual(['put', 'put', 'put', 'head']);
  });

  it('stays unknown where nothing proves it: the PUT may still arrive', async () => {
    const { s3, store, run } = setUp();
    s3.on('put', () => lostAnswer());
    expect((await run(uploadOf(store))).outcome).toBe('unknown');
    expect(s3.count('put')).toBe(5);
  });

  it('without a condition is not sent twice in doubt, because the first could come last', async () => {
    const { s3, store, run } = setUp();
    s3.on('put', () => lostAnswer());
    expect((await run(uploadOf(store, { condition: 'any' }))).outcome).toBe('unknown');
    expect(s3.count('put')).toBe(1);
  });
});

describe('an upload to S3', () => {
  it('lets the writer wait once two parts are on their way and the next one is full', async () => {
    const { s3, store } = setUp();
    const answers: (() => void)[] = [];
    s3.on('part', (_, apply) => new Promise((resolve) => answers.push(() => resolve(apply()))));
    const upload = store.upload(PATH, CREATE);
    let written = 0;
    const writing = failureOf(
      (async () => {
        for (; written < 100; written++) await upload.write(new Uint8Array(MIB));
      })(),
    );
    const quiet = async () => {
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      return [s3.count('part'), written * MIB];
    };
    await until(() => answers.length === 2);
    expect(await quiet()).toEqual([2, 2 * PART_BYTES]);
    answers[0]();
    await until(() => s3.count('part') === 3);
    expect(await quiet()).toEqual([3, 3 * PART_BYTES]);
    await upload.abort();
    expect((await writing).code).toBe('ABORTED');
    expect([s3.underway, s3.uploads.size, s3.objects.size]).toEqual([0, 0, 0]);
  });

  it('aborted while it is begun waits for the answer, to remove what was begun', async () => {
    const { s3, store } = setUp();
    let answer: (() => void) | undefined;
    s3.on(
      'create',
      (_, apply) =>
        new Promise((resolve) => {
          answer = () => resolve(apply());
        }),
    );
    const upload = store.upload(PATH, CREATE);
    const writing = failureOf(
      (async () => {
        for (let at = 0; at < 12; at++) await upload.write(new Uint8Array(MIB));
      })(),
    );
    await until(() => answer !== undefined);
    const aborting = upload.abort();
    expect((await writing).code).toBe('ABORTED');
    answer?.();
    await aborting;
    expect([s3.steps.at(-1), s3.uploads.size]).toEqual(['abort', 0]);
  });

  it('between two calls is removed when its signal aborts', async () => {
    const { s3, store } = setUp();
    const controller = new AbortController();
    const upload = store.upload(PATH, { ...CREATE, signal: controller.signal });
    for (let at = 0; at < 6; at++) await upload.write(new Uint8Array(MIB));
    await until(() => s3.count('part') === 1 && s3.underway === 0);
    controller.abort();
    expect((await failureOf(upload.complete())).code).toBe('ABORTED');
    await upload.abort();
    expect([s3.uploads.size, s3.count('abort')]).toEqual([0, 1]);
  });

  it('whose signal aborts during the completion is unknown, and keeps its parts', async () => {
    for (const way of WAYS) {
      const { s3, store } = setUp();
      s3.on('complete', () => new Promise(() => undefined));
      const controller = new AbortController();
      const { signal } = controller;
      const ending =
        way === 'put'
          ? store.put(PATH, BODY, { ...CREATE, signal })
          : (async () => {
              const upload = store.upload(PATH, { ...CREATE, signal });
              await upload.write(BODY.slice());
              return upload.complete();
            })();
      await until(() => s3.count('complete') === 1);
      controller.abort();
      expect(await ending).toMatchObject({ outcome: 'unknown', cause: { code: 'ABORTED' } });
      expect([s3.count('head'), s3.count('abort'), s3.uploads.size]).toEqual([0, 0, 1]);
    }
  });

  it('takes smaller parts for a caller with little memory, of which it holds three, but none below 5 MiB', () => {
    const { store } = setUp({ partBytes: 16 * MIB });
    const partBytes = (holdBytes: number) => store.upload(PATH, { ...CREATE, holdBytes }).partBytes;
    expect([partBytes(30 * MIB), partBytes(MIB), partBytes(1024 * MIB)]).toEqual([10 * MIB, 5 * MIB, 16 * MIB]);
  });

  it('takes larger parts for what will be larger than 10,000 of them, and not more than those', async () => {
    const { store } = setUp();
    expect(store.upload(PATH, CREATE).partBytes).toBe(PART_BYTES);
    expect(store.upload(PATH, { ...CREATE, expectedBytes: 2 ** 36 }).partBytes).toBe(Math.ceil(2 ** 36 / 10_000));
    // Nothing is asked of the store before the size is known to be right.
    const host = { name: 's3://bucket' } as S3UploadHost;
    const tiny = new S3Upload(host, PATH, CREATE, { partBytes: 1 });
    expect(await failureOf(tiny.write(new Uint8Array(10_001), undefined))).toMatchObject({
      code: 'STORE_UNSUITABLE',
      message: expect.stringContaining('expectedBytes'),
    });
  });

  it('that cannot be sent fails typed, each time', async () => {
    const { store } = setUp({ region: 'us-east-1 ' });
    const upload = store.upload(PATH, CREATE);
    await upload.write(new Uint8Array(1));
    const failure = await failureOf(upload.complete());
    expect(failure).toMatchObject({ kind: 'invalid', retryable: false, message: expect.stringContaining('Region') });
    expect(await failureOf(upload.complete())).toBe(failure);
    expect(await failureOf(store.put(PATH, BODY, CREATE))).toMatchObject({ kind: 'invalid' });
    await upload.abort();
  });

  it('to a closed store fails typed', async () => {
    const { store } = setUp();
    await store.close();
    const upload = store.upload(PATH, CREATE);
    expect((await failureOf(upload.write(new Uint8Array(1)))).code).toBe('CLOSED');
    expect((await failureOf(store.put(PATH, BODY, CREATE))).code).toBe('CLOSED');
    await upload.abort();
  });
});

describe('the digests of a large request', () => {
  const sha256Of = ({ body }: FakeRequest) =>
    createHash('sha256')
      .update(body as Uint8Array)
      .digest('hex');
  const headersOf = (s3: FakeS3, name: string) => s3.of('part').map(({ headers }) => headers[name]);
  const AWS: Partial<S3StoreOptions> = { endpoint: undefined as never, region: 'us-east-1', forcePathStyle: true };

  it.each(WAYS)('are right without TLS, by %s', async (way) => {
    const { s3, ...ways } = setUp();
    await ways[way]();
    expect(headersOf(s3, 'x-amz-content-sha256')).toEqual(s3.of('part').map(sha256Of));
  });

  it('are none over TLS, and for small requests those of the SDK', async () => {
    const { s3, store, put } = setUp({ endpoint: 'https://server.test' });
    await put();
    const last = sha256Of(s3.of('part')[2]);
    expect(headersOf(s3, 'x-amz-content-sha256')).toEqual(['UNSIGNED-PAYLOAD', 'UNSIGNED-PAYLOAD', last]);
    await store.put('wal/1', new Uint8Array(100), CREATE);
    expect(s3.of('put')[0].headers['x-amz-content-sha256']).toBe(sha256Of(s3.of('put')[0]));
  });

  it('on AWS have a CRC-32 of each part, which the completion names', async () => {
    const { s3, put } = setUp(AWS);
    s3.on('part', (_, apply, { headers }) => {
      const answer = apply();
      return { ...answer, headers: { ...answer.headers, 'x-amz-checksum-crc32': headers['x-amz-checksum-crc32'] } };
    });
    expect(await put()).toMatchObject({ outcome: 'applied' });
    const expected = s3.of('part').map(({ body }) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(crc32(body as Uint8Array));
      return bytes.toString('base64');
    });
    expect(headersOf(s3, 'x-amz-checksum-crc32')).toEqual(expected);
    for (const crc of expected) expect(String(s3.of('complete')[0].body)).toContain(crc);
  });

  it('are those that came with a write of exactly one part, and of no other', async () => {
    const { s3, store, run } = setUp(AWS);
    const upload = store.upload(PATH, CREATE);
    const digest = (byte: number) => ({ sha256: new Uint8Array(32).fill(byte), crc32: byte });
    const all = async () => {
      await upload.write(BODY.slice(0, PART_BYTES), digest(1));
      // Not as long as a part, although it begins one.
      await upload.write(BODY.slice(PART_BYTES, PART_BYTES + MIB), digest(2));
      await upload.write(BODY.slice(PART_BYTES + MIB, 2 * PART_BYTES), digest(3));
      // The last part.
      await upload.write(BODY.slice(2 * PART_BYTES), digest(4));
      return upload.complete();
    };
    await run(all());
    const byNumber = s3.of('part');
    expect(headersOf(s3, 'x-amz-content-sha256')).toEqual(['01'.repeat(32), 'UNSIGNED-PAYLOAD', '04'.repeat(32)]);
    expect(byNumber[0].headers['x-amz-checksum-crc32']).toBe('AAAAAQ==');
    expect(byNumber[1].headers['x-amz-checksum-crc32']).not.toBe('AAAAAg==');
  });

  it('are taken again of no attempt but the first', async () => {
    const { s3, clock, put } = setUp();
    let turns = 0;
    const yieldToLoop = clock.yieldToLoop.bind(clock);
    clock.yieldToLoop = () => {
      turns++;
      return yieldToLoop();
    };
    s3.on('part', (_, apply, { query }) => {
      const attempts = s3.of('part').filter((request) => request.query['partNumber'] === query['partNumber']).length;
      return attempts < 3 ? lostAnswer() : apply();
    });
    expect(await put()).toMatchObject({ outcome: 'applied' });
    // 5 MiB in slices of 1 MiB: four turns between them.
    expect([s3.count('part'), turns]).toEqual([9, 8]);
  });
});

describe('what an object in parts costs', () => {
  const countsOf = async (
    act: (s3: FakeS3) => void,
    end: (store: ReturnType<typeof meteredStore>) => Promise<unknown>,
  ) => {
    const { s3, store, run } = setUp();
    act(s3);
    const metered = meteredStore(store, () => 'any');
    await run(end(metered));
    const { get: _, byRole: __, ...counts } = metered.counts();
    return counts;
  };
  const begin = (store: ReturnType<typeof meteredStore>): ObjectUpload => store.upload?.(PATH, CREATE) as ObjectUpload;
  const whole = async (store: ReturnType<typeof meteredStore>, length = BODY.length) => {
    const upload = begin(store);
    await upload.write(BODY.slice(0, length));
    return upload.complete().catch(() => upload.abort());
  };
  const NOTHING = { head: 0, put: 0, list: 0, delete: 0, bytesIn: 0, bytesOut: 0 };
  const nothing = () => undefined;

  it('is one PUT to begin, one for each part and one to complete', async () => {
    const expected = { ...NOTHING, put: 5, bytesOut: 11 * MIB };
    expect(await countsOf(nothing, whole)).toEqual(expected);
    expect(await countsOf(nothing, (store) => store.put(PATH, BODY, CREATE))).toEqual(expected);
  });

  it('is one PUT for what fits one part', async () => {
    expect(await countsOf(nothing, (store) => whole(store, MIB))).toEqual({ ...NOTHING, put: 1, bytesOut: MIB });
    const small = (store: ReturnType<typeof meteredStore>) => store.put(PATH, BODY.subarray(0, 100), CREATE);
    expect(await countsOf(nothing, small)).toEqual({ ...NOTHING, put: 1, bytesOut: 100 });
  });

  it('is one more for each attempt, and what the proof takes', async () => {
    const failing = (s3: FakeS3) => {
      s3.on('create', (nth, apply) => (nth === 1 ? errorAnswer(503, 'SlowDown') : apply()));
      s3.on('part', (nth, apply) => (nth === 1 ? lostAnswer() : apply()));
      s3.on('complete', () => lostAnswer());
    };
    // 2 to begin, 4 parts, 5 completions; HEAD, removal, HEAD.
    expect(await countsOf(failing, whole)).toEqual({
      ...NOTHING,
      put: 11,
      head: 2,
      delete: 1,
      bytesOut: 16 * MIB,
    });
  });

  it('is nothing before anything is sent', async () => {
    expect(await countsOf(nothing, (store) => begin(store).abort())).toEqual(NOTHING);
    const unsent = async (store: ReturnType<typeof meteredStore>) => {
      const upload = begin(store);
      await upload.write(BODY.slice(0, MIB));
      await upload.abort();
    };
    expect(await countsOf(nothing, unsent)).toEqual(NOTHING);
  });

  it('counts the HEAD after a PUT without an ETag, and the list of parts', async () => {
    const silent = (s3: FakeS3) => {
      s3.on('put', (_, apply) => ({ ...apply(), headers: {} }));
      s3.on('part', (_, apply) => ({ ...apply(), headers: {} }));
    };
    const small = (store: ReturnType<typeof meteredStore>) => store.put(PATH, BODY.subarray(0, 100), CREATE);
    expect(await countsOf(silent, small)).toEqual({ ...NOTHING, put: 1, head: 1, bytesOut: 100 });
    expect(await countsOf(silent, whole)).toEqual({ ...NOTHING, put: 5, list: 2, bytesOut: 11 * MIB });
  });
});

describe('unfinished uploads', () => {
  const left = (s3: FakeS3, ...keys: string[]) => {
    for (const [i, key] of keys.entries()) s3.uploads.set(`left${i}`, { key, putId: undefined, parts: new Map() });
  };

  it('are listed page by page, in byte order of their paths, with their age', async () => {
    const { s3, store } = setUp();
    s3.pageUploads = 2;
    left(s3, 'db/compacted/2', 'db/compacted/1', 'db/compacted/1', 'db/compacted/0', 'other/1');
    const found = await store.listUploads('db/compacted/');
    expect(found.map(({ path, uploadId }) => `${path} ${uploadId}`)).toEqual([
      'db/compacted/0 left3',
      'db/compacted/1 left1',
      'db/compacted/1 left2',
      'db/compacted/2 left0',
    ]);
    for (const { startedMs, storeTimeMs } of found) expect(storeTimeMs - startedMs).toBe(37_000);
    expect(s3.count('list uploads')).toBe(2);
  });

  it('are found among all of the bucket where a server does not list them by a prefix', async () => {
    const { s3, store } = setUp();
    left(s3, 'db/compacted/1', 'other/1');
    s3.on('list uploads', (_, apply, { query }) => {
      if ((query['prefix'] ?? '') === '') return apply();
      return {
        status: 200,
        body: '<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>',
      };
    });
    expect((await store.listUploads('db/')).map(({ path }) => path)).toEqual(['db/compacted/1']);
    expect(s3.count('list uploads')).toBe(2);
    const aws = setUp({ endpoint: undefined as never, region: 'us-east-1', forcePathStyle: true });
    expect(await aws.store.listUploads('db/')).toEqual([]);
    expect(aws.s3.count('list uploads'), 'AWS lists by prefix').toBe(1);
  });

  it('whose list is nonsense are a malformed answer', async () => {
    const result = (text: string) => ({
      status: 200,
      body: `<ListMultipartUploadsResult>${text}</ListMultipartUploadsResult>`,
    });
    for (const answer of [
      { status: 200 },
      result('<IsTruncated>true</IsTruncated>'),
      result('<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>'),
      result('<IsTruncated>false</IsTruncated><Upload><Key>db/1</Key></Upload>'),
    ]) {
      const { s3, store } = setUp();
      s3.on('list uploads', () => answer);
      expect(storeErrorClass(await failureOf(store.listUploads('db/')))).toBe('malformed-response');
    }
    const { s3, store } = setUp();
    s3.on('list uploads', () => errorAnswer(403, 'AccessDenied'));
    expect((await failureOf(store.listUploads('db/'))).code).toBe('STORE_DENIED');
  });

  it('are removed, and one that has ended is no error', async () => {
    const { s3, store } = setUp();
    left(s3, 'db/1');
    const [found] = await store.listUploads('db/');
    await store.abortUpload(found);
    await store.abortUpload(found);
    expect(s3.uploads.size).toBe(0);
    s3.on('abort', () => errorAnswer(403, 'AccessDenied'));
    expect((await failureOf(store.abortUpload(found))).code).toBe('STORE_DENIED');
    expect((await failureOf(store.abortUpload({ path: '../x', uploadId: 'u' }))).code).toBe('BAD_ARGUMENT');
  });
});

/** Why `Upload` gets a client of its own, and is not used as it is. */
describe('Upload of lib-storage by itself', () => {
  async function plain(s3: FakeS3, options: { leavePartsOnError?: boolean } = {}) {
    const sdk = await import('@aws-sdk/client-s3');
    const client = new sdk.S3Client({
      region: 'us-east-1',
      endpoint: 'http://server.test:9000',
      forcePathStyle: true,
      credentials: { accessKeyId: 'key', secretAccessKey: 'secret' },
      maxAttempts: 1,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      requestHandler: s3.handler() as never,
    });
    return new Upload({ client, params: { Bucket: 'bucket', Key: PATH, Body: BODY }, queueSize: 2, ...options });
  }

  it('ends with the first part that fails', async () => {
    const s3 = new FakeS3().on('part', (nth, apply) => (nth === 1 ? errorAnswer(503, 'SlowDown') : apply()));
    await expect((await plain(s3)).done()).rejects.toMatchObject({ name: 'SlowDown' });
    expect(s3.count('part')).toBeLessThan(4);
  });

  it('removes the parts when the answer to the completion is lost, whether or not it was applied', async () => {
    const s3 = new FakeS3().on('complete', (_, apply) => {
      apply();
      return lostAnswer();
    });
    await expect((await plain(s3)).done()).rejects.toThrow('socket hang up');
    expect([s3.bytes(PATH)?.length, s3.count('abort')]).toEqual([BODY.length, 1]);
  });

  it('leaves requests under way when it is aborted', async () => {
    const s3 = new FakeS3().on('part', () => new Promise(() => undefined));
    const upload = await plain(s3, { leavePartsOnError: true });
    const done = upload.done();
    await until(() => s3.count('part') === 2);
    await upload.abort();
    await expect(done).rejects.toMatchObject({ name: 'AbortError' });
    expect(s3.underway).toBe(2);
  });

  it('gives up where a proxy takes the ETag of a part away', async () => {
    const s3 = new FakeS3().on('part', (_, apply) => ({ ...apply(), headers: {} }));
    await expect((await plain(s3)).done()).rejects.toThrow('missing ETag');
  });
});
