/**
 * Uploads to a real S3 server through a network that loses, delays and doubles messages: what is applied is found to be applied, what is
 * not leaves nothing, and the requests are those that are billed.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Clock, SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { DbError } from '../../src/common/errors.ts';
import { SYSTEM_RANDOM } from '../../src/common/random.ts';
import { makeUlid } from '../../src/common/ulid.ts';
import { meteredStore } from '../../src/store/metered-store.ts';
import type { ObjectStore, PutOutcome, UploadOptions } from '../../src/store/object-store.ts';
import { retryingStore } from '../../src/store/retrying-store.ts';
import { S3Store, type S3StoreOptions } from '../../src/store/s3-store.ts';
import { storeErrorClass } from '../../src/store/store-error.ts';
import { describeWithS3 } from '../support/environment.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

const MIB = 1 << 20;
/** Three parts of 5 MiB, the last one smaller. */
const BODY = new Uint8Array(12 * MIB).map((_, i) => i * 7 + (i >>> 12));
const ATTEMPTS = 5;

/** Waits between attempts take no time. */
const HASTY_CLOCK: Clock = {
  nowMs: () => SYSTEM_CLOCK.nowMs(),
  monotonicMs: () => SYSTEM_CLOCK.monotonicMs(),
  setTimer: (_, fn, ref) => SYSTEM_CLOCK.setTimer(0, fn, ref),
  yieldToLoop: () => SYSTEM_CLOCK.yieldToLoop(),
};

const newPutId = () => makeUlid(SYSTEM_CLOCK.nowMs(), SYSTEM_RANDOM);
const isCompletion = (head: string) => head.startsWith('POST ') && /uploadId=/.test(head);
const isPart = (number: number) => (head: string) => head.startsWith('PUT ') && head.includes(`partNumber=${number}&`);

describeWithS3('uploads to S3', (s3) => {
  let bucket: string;
  let proxy: TcpProxy;
  const opened: S3Store[] = [];
  let paths = 0;
  beforeAll(async () => {
    bucket = await s3.freshBucket();
    proxy = await startTcpProxy(s3.endpoint);
  });
  afterAll(async () => {
    for (const store of opened) await store.close();
    await proxy?.close();
  });

  function storeAt(endpoint: string, options: Partial<S3StoreOptions> = {}): S3Store {
    const { region, accessKeyId, secretAccessKey } = s3;
    const credentials = { accessKeyId, secretAccessKey };
    const given = { bucket, endpoint, region, credentials, partBytes: 5 * MIB, clock: HASTY_CLOCK };
    const store = new S3Store({ ...given, ...options });
    opened.push(store);
    return store;
  }
  const lossy = () => storeAt(proxy.endpoint);
  const direct = () => storeAt(s3.endpoint);
  const newPath = () => `compacted/${paths++}.sst`;

  /** What an upload of BODY comes to, outcome or error; nothing goes on afterwards. */
  async function uploaded(
    store: ObjectStore,
    path: string,
    options: Partial<UploadOptions> = {},
  ): Promise<PutOutcome | DbError> {
    const upload = store.upload?.(path, { condition: 'if-absent', putId: newPutId(), ...options });
    if (upload === undefined) expect.fail('the store has no uploads');
    try {
      for (let at = 0; at < BODY.length; at += MIB) await upload.write(BODY.slice(at, at + MIB));
      return await upload.complete();
    } catch (error) {
      expect(error).toBeInstanceOf(DbError);
      await upload.abort();
      return error as DbError;
    }
  }

  async function assertStored(path: string): Promise<void> {
    const found = await direct().get(path);
    expect(found?.bytes.length).toBe(BODY.length);
    expect(Buffer.compare(found?.bytes ?? new Uint8Array(0), BODY)).toBe(0);
  }

  async function assertNothingAt(path: string): Promise<void> {
    expect(await direct().head(path)).toBeUndefined();
    expect(await direct().listUploads(path)).toEqual([]);
  }

  describe('through a network that loses messages', () => {
    it('a completion whose answer is lost is applied', async () => {
      const path = newPath();
      const dropped = proxy.dropNextResponse(isCompletion);
      expect(await uploaded(lossy(), path)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
      expect((await dropped).responseHead).toMatch(/^HTTP\/1\.1 200 /);
      await assertStored(path);
      expect(await direct().listUploads(path)).toEqual([]);
    });

    it('also if no answer comes to any attempt', async () => {
      const path = newPath();
      const dropped = Array.from({ length: ATTEMPTS }, () => proxy.dropNextResponse(isCompletion));
      expect(await uploaded(lossy(), path)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
      await Promise.all(dropped);
      await assertStored(path);
    });

    it('a completion that the server never got is sent again', async () => {
      const path = newPath();
      const dropped = proxy.dropNextRequest(isCompletion);
      expect(await uploaded(lossy(), path)).toMatchObject({ outcome: 'applied', attempt: 'now' });
      await dropped;
      await assertStored(path);
    });

    it('a completion that never arrives is not applied, and leaves nothing', async () => {
      const path = newPath();
      const dropped = Array.from({ length: ATTEMPTS }, () => proxy.dropNextRequest(isCompletion));
      expect(storeErrorClass(await uploaded(lossy(), path))).toBe('unavailable');
      await Promise.all(dropped);
      await assertNothingAt(path);
    });

    it('a completion that arrives after the upload was given up finds no upload any more', async () => {
      const path = newPath();
      const delayed = Array.from({ length: ATTEMPTS }, () => proxy.delayNextRequest(isCompletion));
      expect(storeErrorClass(await uploaded(lossy(), path))).toBe('unavailable');
      for (const { deliver } of await Promise.all(delayed)) expect(await deliver()).toMatch(/^HTTP\/1\.1 404 /);
      await assertNothingAt(path);
    });

    it('a completion that arrives before its parts are removed is applied', async () => {
      const path = newPath();
      const delayed = Array.from({ length: ATTEMPTS }, () => proxy.delayNextRequest(isCompletion));
      const removal = proxy.delayNextRequest((head) => head.startsWith('DELETE '));
      const uploading = uploaded(lossy(), path);
      // The removal comes after the first HEAD, which found nothing.
      await removal;
      const [{ deliver }] = await Promise.all(delayed);
      expect(await deliver()).toMatch(/^HTTP\/1\.1 200 /);
      expect(await uploading).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
      await assertStored(path);
    });

    it('a completion that a proxy sends twice is applied, although its answer is a refusal', async () => {
      const path = newPath();
      const doubled = proxy.doubleNextRequest(isCompletion);
      expect(await uploaded(lossy(), path)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
      expect((await doubled).responseHead).toMatch(/^HTTP\/1\.1 200 /);
      await assertStored(path);
    });

    it('a part that fails twice is sent a third time', async () => {
      const path = newPath();
      const lost = [proxy.dropNextRequest(isPart(2)), proxy.dropNextResponse(isPart(2))];
      expect(await uploaded(lossy(), path)).toMatchObject({ outcome: 'applied', attempt: 'now' });
      await Promise.all(lost);
      await assertStored(path);
    });

    it('a part that fails for good ends the upload, which leaves nothing', async () => {
      const path = newPath();
      const lost = Array.from({ length: ATTEMPTS }, () => proxy.dropNextRequest(isPart(2)));
      expect(storeErrorClass(await uploaded(lossy(), path))).toBe('unavailable');
      await Promise.all(lost);
      await assertNothingAt(path);
    });

    it('every connection that is cut costs an attempt, not the upload', async () => {
      const path = newPath();
      const uploading = uploaded(lossy(), path);
      for (const number of [1, 3]) {
        while (!proxy.requestLines.some((line) => line.includes(`/${path}?`) && isPart(number)(line))) {
          await new Promise((resolve) => setImmediate(resolve));
        }
        proxy.cutAll();
      }
      expect(await uploading).toMatchObject({ outcome: 'applied' });
      await assertStored(path);
    });

    it('retries settle what the store leaves unknown, when the server is back', async () => {
      const path = newPath();
      const lost = Array.from({ length: ATTEMPTS }, () => proxy.dropNextResponse(isCompletion));
      const isHead = (head: string) => head.startsWith('HEAD ');
      const unseen = Array.from({ length: ATTEMPTS }, () => proxy.dropNextRequest(isHead));
      expect(await uploaded(retryingStore(lossy()), path)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
      await Promise.all([...lost, ...unseen]);
      await assertStored(path);
    });

    it('large puts are settled in the same way', async () => {
      const store = storeAt(proxy.endpoint, { multipartThresholdBytes: 5 * MIB });
      const options = { condition: 'if-absent', putId: newPutId() } as const;
      for (const trap of ['dropNextResponse', 'doubleNextRequest'] as const) {
        const path = newPath();
        const sprung = proxy[trap](isCompletion);
        expect(await store.put(path, BODY, options)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
        await sprung;
        await assertStored(path);
      }
    });
  });

  it('an abort in the middle leaves nothing', async () => {
    const path = newPath();
    const upload = direct().upload(path, { condition: 'if-absent', putId: newPutId() });
    for (let at = 0; at < 11; at++) await upload.write(BODY.slice(0, MIB));
    expect((await direct().listUploads(path)).length).toBe(1);
    await upload.abort();
    await assertNothingAt(path);
  });

  it('an object of another put refuses, one of this very put is an earlier attempt', async () => {
    for (const options of [{}, { multipartThresholdBytes: 5 * MIB }]) {
      const path = newPath();
      const store = storeAt(s3.endpoint, options);
      const putId = newPutId();
      await store.put(path, BODY, { condition: 'if-absent', putId });
      expect(await uploaded(store, path)).toEqual({ outcome: 'refused' });
      expect(await uploaded(store, path, { putId })).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
      expect(await store.put(path, BODY.subarray(1), { condition: 'if-absent', putId: newPutId() })).toEqual({
        outcome: 'refused',
      });
      await assertStored(path);
      expect(await direct().listUploads(path)).toEqual([]);
    }
  });

  it('an upload of a process that died is found and removed', async () => {
    const path = newPath();
    const upload = direct().upload(path, { condition: 'if-absent', putId: newPutId() });
    for (let at = 0; at < 11; at++) await upload.write(BODY.slice(0, MIB));
    const [left] = await direct().listUploads(path);
    expect(Math.abs(left.storeTimeMs - left.startedMs)).toBeLessThan(60_000);
    await direct().abortUpload(left);
    expect(await direct().listUploads('compacted/')).toEqual([]);
    await upload.abort();
  });

  it('requests are counted as they are billed', async () => {
    const counted = async (path: string, write: (store: ObjectStore) => Promise<unknown>) => {
      const store = meteredStore(storeAt(proxy.endpoint, { multipartThresholdBytes: 5 * MIB }), () => 'any');
      const before = proxy.requestLines.length;
      await write(store);
      const { put, head, delete: removed, bytesOut } = store.counts();
      const sent = proxy.requestLines.slice(before).filter((line) => line.includes(path));
      expect(put + head + removed, 'what the server was asked').toBe(sent.length);
      return { put, head, removed, bytesOut };
    };
    const path = newPath();
    const whole = { put: 5, head: 0, removed: 0, bytesOut: 12 * MIB };
    expect(await counted(path, (store) => uploaded(store, path))).toEqual(whole);
    expect(await counted(path, (store) => uploaded(store, path))).toEqual({ ...whole, head: 1, removed: 1 });
    const again = newPath();
    const lost = [proxy.dropNextResponse(isPart(1)), proxy.dropNextResponse(isCompletion)];
    // One attempt more of a part and of the completion; the HEAD that proves it; what is left is asked for.
    const repeated = { put: 7, head: 1, removed: 1, bytesOut: 17 * MIB };
    expect(await counted(again, (store) => uploaded(store, again))).toEqual(repeated);
    await Promise.all(lost);
    const small = newPath();
    const one = async (store: ObjectStore) => {
      const upload = store.upload?.(small, { condition: 'if-absent', putId: newPutId() });
      await upload?.write(BODY.slice(0, MIB));
      await upload?.complete();
    };
    expect(await counted(small, one)).toEqual({ put: 1, head: 0, removed: 0, bytesOut: MIB });
  });
});
