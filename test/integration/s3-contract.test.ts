/** The contract of object stores on a real S3 server, and what its errors and a network that loses messages come out as. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { SYSTEM_RANDOM } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import { probeStore } from '../../src/lsm/manifest/store-probe.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { retryingStore } from '../../src/store/retrying-store.ts';
import { S3Store, type S3StoreOptions } from '../../src/store/s3-store.ts';
import { storeContract } from '../../src/store/store-contract.ts';
import { storeErrorClass } from '../../src/store/store-error.ts';
import { describeWithS3 } from '../support/environment.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const newPutId = () => makeUlid(SYSTEM_CLOCK.nowMs(), SYSTEM_RANDOM);

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.fail('it should have been rejected'),
    (error: unknown) => error,
  );
}

describeWithS3('S3Store', (s3) => {
  let bucket: string;
  const opened: S3Store[] = [];
  beforeAll(async () => {
    bucket = await s3.freshBucket();
  });
  afterAll(async () => {
    for (const store of opened) await store.close();
  });

  function newStore(options: Partial<S3StoreOptions> = {}): S3Store {
    const { endpoint, region, accessKeyId, secretAccessKey } = s3;
    const credentials = { accessKeyId, secretAccessKey };
    const store = new S3Store({ bucket, endpoint, region, credentials, ...options });
    opened.push(store);
    return store;
  }

  describe('contract', () => {
    let shared: S3Store;
    let prefixes = 0;
    beforeAll(() => {
      shared = newStore();
    });
    const makeStore = () => prefixedStore(shared, `contract/${prefixes++}`);
    for (const check of storeContract(makeStore, { upload: true })) it(check.name, check.run);
  });

  describe('contract in parts of 5 MiB', () => {
    let shared: S3Store;
    let prefixes = 0;
    beforeAll(() => {
      shared = newStore({ multipartThresholdBytes: 1024, partBytes: 5 << 20 });
    });
    const makeStore = () => prefixedStore(shared, `parts/${prefixes++}`);
    for (const check of storeContract(makeStore, { longListObjects: 20, upload: true })) it(check.name, check.run);
  });

  it('passes the probe, which leaves no object', async () => {
    const store = newStore();
    const profile = await probeStore(store, { clock: SYSTEM_CLOCK, random: SYSTEM_RANDOM, prefix: 'probed/' });
    expect(profile).toMatchObject({ conditionalCreate: true, ifMatch: 'supported', metadata: true, problems: [] });
    const left = [];
    for await (const object of store.list('probed/')) left.push(object.path);
    expect(left).toEqual([]);
  });

  it("gives the server's time", async () => {
    const store = newStore();
    const outcome = await store.put('time', new Uint8Array(3), { condition: 'any', putId: newPutId() });
    const { storeTimeMs, lastModifiedMs } = (await store.head('time'))!;
    const now = SYSTEM_CLOCK.nowMs();
    for (const time of [storeTimeMs, lastModifiedMs, outcome.outcome === 'applied' ? outcome.storeTimeMs : 0]) {
      expect(Math.abs(time - now)).toBeLessThan(60_000);
    }
  });

  it('leaves no unfinished upload when a part or the completion is refused', async () => {
    const store = newStore({ partBytes: 5 << 20 });
    const body = new Uint8Array(17 << 20);
    const put = () => store.put('parts-left', body, { condition: 'if-absent', putId: newPutId() });
    expect((await put()).outcome).toBe('applied');
    expect((await put()).outcome).toBe('refused');
    const unfinished = s3.client().listIncompleteUploads(bucket, 'parts-left', true);
    expect(await unfinished.toArray()).toEqual([]);
  });

  it('names a bucket that does not exist', async () => {
    const store = newStore({ bucket: 'shaledb-no-such-bucket' });
    const failures = [
      await rejectionOf(store.get('a')),
      await rejectionOf(store.put('a', new Uint8Array(1), { condition: 'any', putId: newPutId() })),
      await rejectionOf(store.list('')[Symbol.asyncIterator]().next()),
    ];
    for (const error of failures) {
      expect(error).toMatchObject({
        code: 'STORE_MISSING',
        message: expect.stringContaining('shaledb-no-such-bucket'),
      });
    }
  });

  it('distinguishes wrong keys from a server that is down', async () => {
    const credentials = { accessKeyId: s3.accessKeyId, secretAccessKey: 'wrong' };
    expect(await rejectionOf(newStore({ credentials }).get('a'))).toMatchObject({ code: 'STORE_DENIED' });
    const down = newStore({ endpoint: 'http://127.0.0.1:9' });
    expect(await rejectionOf(down.get('a'))).toMatchObject({ code: 'STORE_DOWN' });
    const put = down.put('a', new Uint8Array(1), { condition: 'if-absent', putId: newPutId() });
    expect(storeErrorClass(await rejectionOf(put))).toBe('unavailable');
  });

  it('refuses calls after close', async () => {
    const store = newStore();
    await store.head('a');
    await store.close();
    expect(await rejectionOf(store.head('a'))).toMatchObject({ code: 'CLOSED' });
  });

  describe('over a network that loses messages', () => {
    let proxy: TcpProxy;
    beforeAll(async () => {
      proxy = await startTcpProxy(s3.endpoint);
    });
    afterAll(() => proxy.close());
    const isPut = (head: string) => head.startsWith('PUT ');

    it('a put whose answer is lost ends unknown', async () => {
      const store = newStore({ endpoint: proxy.endpoint });
      const dropped = proxy.dropNextResponse(isPut);
      const outcome = await store.put('lost/1', new Uint8Array(9), { condition: 'if-absent', putId: newPutId() });
      await dropped;
      expect(outcome.outcome).toBe('unknown');
      expect((await store.head('lost/1'))?.size).toBe(9);
    });

    it('the retry wrapper proves that it was applied', async () => {
      const store = retryingStore(newStore({ endpoint: proxy.endpoint }));
      const dropped = proxy.dropNextResponse(isPut);
      const outcome = await store.put('lost/2', new Uint8Array(9), { condition: 'if-absent', putId: newPutId() });
      await dropped;
      expect(outcome).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    });

    it('the retry wrapper proves that another came first', async () => {
      // Longest waits, so that the other writer is done before the second attempt.
      const random = { nextUint32: () => 2 ** 32 - 1, fill: () => undefined };
      const store = retryingStore(newStore({ endpoint: proxy.endpoint }), { baseDelayMs: 2000, random });
      const dropped = proxy.dropNextRequest(isPut);
      const putting = store.put('lost/3', new Uint8Array(9), { condition: 'if-absent', putId: newPutId() });
      await dropped;
      await newStore().put('lost/3', new Uint8Array(9), { condition: 'if-absent', putId: newPutId() });
      expect(await putting).toEqual({ outcome: 'refused', afterUnknown: true });
    });

    it('a completion whose answer is lost is proven too', async () => {
      const store = retryingStore(newStore({ endpoint: proxy.endpoint }));
      const isCompletion = (head: string) => head.startsWith('POST ') && /uploadId=/.test(head);
      const dropped = proxy.dropNextResponse(isCompletion);
      const outcome = await store.put('lost/4', new Uint8Array(17 << 20), {
        condition: 'if-absent',
        putId: newPutId(),
      });
      await dropped;
      expect(outcome).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    });

    it('reads, lists and deletes go on after a lost answer', async () => {
      const store = retryingStore(newStore({ endpoint: proxy.endpoint }));
      await store.put('lost/5', new Uint8Array(9), { condition: 'any', putId: newPutId() });
      const drops = () => proxy.dropNextResponse(() => true);
      let dropped = drops();
      expect((await store.get('lost/5'))?.size).toBe(9);
      await dropped;
      dropped = drops();
      const paths = [];
      for await (const object of store.list('lost/5')) paths.push(object.path);
      expect(paths).toEqual(['lost/5']);
      await dropped;
      dropped = drops();
      await store.delete(['lost/5']);
      await dropped;
      expect(await store.head('lost/5')).toBeUndefined();
    });
  });
});
