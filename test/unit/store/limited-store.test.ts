/** Limits on the requests that are under way: how many, in which order, what the foreground leaves, and uploads in parts. */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { latencyStore } from '../../../src/store/latency-store.ts';
import { limitedStore, RequestSlots, type RequestSlotsOptions } from '../../../src/store/limited-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { loadS3Sdk, loadS3Upload } from '../../../src/store/s3-client.ts';
import type { S3Store } from '../../../src/store/s3-store.ts';
import { type FakeAnswer, FakeS3, type FakeStep } from '../../support/fake-s3.ts';

const MIB = 1 << 20;
const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const CREATE = { condition: 'if-absent', putId: PUT_ID } as const;

function slots(most: number, options: Partial<RequestSlotsOptions> = {}): RequestSlots {
  return new RequestSlots({ most, foreground: () => 0, isUrgent: () => false, ...options });
}

/** A store whose calls take 10 ms, and how many of them were under way at a time. */
function slow() {
  const clock = new ManualClock();
  const sent: string[] = [];
  const seen = { now: 0, most: 0 };
  const inner = latencyStore(new MemoryStore({ clock }), { clock, latencyMs: 10 });
  const counted = async <T>(call: string, run: () => Promise<T>): Promise<T> => {
    sent.push(call);
    seen.most = Math.max(seen.most, ++seen.now);
    try {
      return await run();
    } finally {
      seen.now--;
    }
  };
  const store: ObjectStore = {
    ...inner,
    name: inner.name,
    get: (path, options) => counted(`get ${path}`, () => inner.get(path, options)),
    head: (path, options) => counted(`head ${path}`, () => inner.head(path, options)),
    put: (path, bytes, options) => counted(`put ${path}`, () => inner.put(path, bytes, options)),
    list: (prefix, options) => inner.list(prefix, options),
    delete: (paths, options) => inner.delete(paths, options),
  };
  return { clock, store, sent, seen };
}

describe('calls', () => {
  it('are no more at a time than the limit, over all stores that share the slots', async () => {
    const { clock, store, seen, sent } = slow();
    const shared = slots(3);
    const [a, b] = [limitedStore(store, shared), limitedStore(store, shared)];
    const calls = Array.from({ length: 5 }, (_, i) => [
      a.get(`a${i}`),
      b.head(`b${i}`),
      a.put(`p${i}`, new Uint8Array(1), CREATE),
    ]);
    const start = clock.monotonicMs();
    await clock.runUntilSettled(Promise.all(calls.flat()));
    expect([seen.most, sent.length, clock.monotonicMs() - start]).toEqual([3, 15, 50]);
  });

  it('begin in the order in which they came', async () => {
    const { clock, store, sent } = slow();
    const limited = limitedStore(store, slots(1));
    await clock.runUntilSettled(Promise.all([limited.get('a'), limited.head('b'), limited.get('c')]));
    expect(sent).toEqual(['get a', 'head b', 'get c']);
  });

  it('that fail give their slots back', async () => {
    const { clock, store } = slow();
    const limited = limitedStore({ ...store, get: () => Promise.reject(new Error('no')) }, slots(1));
    const failing = limited.get('a').catch((error: Error) => error.message);
    expect(await clock.runUntilSettled(Promise.all([failing, limited.head('b')]))).toEqual(['no', undefined]);
  });

  it('whose signal aborts while they wait send nothing, and make room', async () => {
    const { clock, store, sent } = slow();
    const limited = limitedStore(store, slots(1));
    const controller = new AbortController();
    const { signal } = controller;
    const first = limited.get('a');
    const waiting = limited.get('b', { signal }).catch((error: unknown) => error);
    const calls = Promise.all([first, waiting, limited.get('c')]);
    controller.abort();
    const [, error] = await clock.runUntilSettled(calls);
    expect(error).toMatchObject({ kind: 'aborted' });
    await expect(limited.get('d', { signal })).rejects.toMatchObject({ kind: 'aborted' });
    expect(sent).toEqual(['get a', 'get c']);
  });
});

describe('the foreground', () => {
  const running = (most: number, foreground: number, isUrgent = false) => {
    const { clock, store, seen } = slow();
    const limited = limitedStore(store, slots(most, { foreground: () => foreground, isUrgent: () => isUrgent }));
    const calls = Array.from({ length: 9 }, (_, i) => limited.get(`${i}`));
    return clock.runUntilSettled(Promise.all(calls)).then(() => seen.most);
  };

  it.each([
    [4, 0, 4],
    [4, 1, 3],
    [4, 3, 1],
    [4, 4, 1],
    [4, 100, 1],
    [1, 1, 1],
  ])('of a limit of %i takes %i first, and leaves %i', async (most, foreground, left) => {
    expect(await running(most, foreground)).toBe(left);
  });

  it('takes none where it would soon have to wait for the work', async () => {
    expect(await running(4, 100, true)).toBe(4);
  });

  it('leaves its slots again when its requests have ended', async () => {
    const { clock, store, seen } = slow();
    let foreground = 3;
    const limited = limitedStore(store, slots(4, { foreground: () => foreground }));
    const calls = Array.from({ length: 9 }, (_, i) => limited.get(`${i}`));
    await clock.advance(15);
    expect(seen.most).toBe(1);
    foreground = 0;
    await clock.runUntilSettled(Promise.all(calls));
    expect(seen.most).toBe(4);
  });
});

describe('uploads', () => {
  const opened: S3Store[] = [];
  beforeAll(async () => {
    await Promise.all([loadS3Sdk('fake'), loadS3Upload('fake')]);
  }, 120_000);
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
  });

  it('to a store that takes them whole are one request for each call', async () => {
    const { clock, store } = slow();
    const seen = { now: 0, most: 0 };
    const counted = async <T>(call: Promise<T>) => {
      seen.most = Math.max(seen.most, ++seen.now);
      return call.finally(() => seen.now--);
    };
    const inner = latencyStore(new MemoryStore({ clock }), { clock, latencyMs: 10, bytesPerMs: 1 });
    const counting: ObjectStore = {
      ...store,
      upload: (path, options) => {
        const upload = inner.upload!(path, options);
        return {
          write: (part) => counted(upload.write(part)),
          complete: () => counted(upload.complete()),
          abort: () => upload.abort(),
        };
      },
    };
    const limited = limitedStore(counting, slots(2));
    const send = async (path: string) => {
      const upload = limited.upload!(path, CREATE);
      for (let i = 0; i < 3; i++) await upload.write(new Uint8Array(10));
      return upload.complete();
    };
    const outcomes = await clock.runUntilSettled(Promise.all(['a', 'b', 'c', 'd'].map(send)));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['applied', 'applied', 'applied', 'applied']);
    expect(seen.most).toBe(2);
  });

  it.each([1, 2, 3])('in parts send %i requests at a time, those of several uploads together', async (most) => {
    const clock = new ManualClock();
    const s3 = new FakeS3();
    let seen = 0;
    const act = async (_: number, apply: () => FakeAnswer) => {
      seen = Math.max(seen, s3.underway);
      for (let i = 0; i < 10; i++) await clock.yieldToLoop();
      return apply();
    };
    for (const step of ['create', 'part', 'complete', 'put', 'head'] satisfies FakeStep[]) s3.on(step, act);
    const store = s3.store({ multipartThresholdBytes: MIB, partBytes: 5 * MIB, clock });
    opened.push(store);
    const limited = limitedStore(store, slots(most));
    const send = async (path: string) => {
      const upload = limited.upload!(path, CREATE);
      for (let i = 0; i < 11; i++) await upload.write(new Uint8Array(MIB).fill(i));
      return upload.complete();
    };
    const outcomes = await clock.runUntilSettled(Promise.all(['a', 'b', 'c'].map(send)));
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(['applied', 'applied', 'applied']);
    expect(s3.count('part')).toBe(9);
    expect(seen).toBe(most);
  });

  it('whose signal aborts while a part waits for its turn leave no parts, and no slot', async () => {
    const clock = new ManualClock();
    const s3 = new FakeS3();
    const controller = new AbortController();
    s3.on('part', (nth, apply) => {
      if (nth === 2) controller.abort();
      return apply();
    });
    const store = s3.store({ multipartThresholdBytes: MIB, partBytes: 5 * MIB, clock });
    opened.push(store);
    const limited = limitedStore(store, slots(1));
    const upload = limited.upload!('a', { ...CREATE, signal: controller.signal });
    const send = async () => {
      for (let i = 0; i < 40; i++) await upload.write(new Uint8Array(MIB).fill(i));
      return upload.complete();
    };
    const error = await clock.runUntilSettled(send().catch((e: unknown) => e));
    expect(error).toMatchObject({ kind: 'aborted' });
    await clock.runUntilSettled(upload.abort());
    expect([s3.uploads.size, s3.underway]).toEqual([0, 0]);
    expect(await clock.runUntilSettled(limited.head('a'))).toBeUndefined();
  });
});
