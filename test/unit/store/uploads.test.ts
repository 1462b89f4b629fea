/** Uploads through the wrappers, and to stores that have none: what goes beyond the contract. In virtual time. */
import { describe, expect, it } from 'vitest';
import { DbError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { databaseStores, withSignal } from '../../../src/lsm/manifest/database-stores.ts';
import { openUpload } from '../../../src/store/collected-upload.ts';
import { type FaultRule, FaultyStore } from '../../../src/store/faulty-store.ts';
import { latencyStore } from '../../../src/store/latency-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { meteredStore } from '../../../src/store/metered-store.ts';
import type { ObjectStore, ObjectUpload, PutOutcome, UploadOptions } from '../../../src/store/object-store.ts';
import { prefixedStore } from '../../../src/store/prefixed-store.ts';
import { retryingStore } from '../../../src/store/retrying-store.ts';
import { storeErrorClass } from '../../../src/store/store-error.ts';
import { forwarding } from '../../support/forwarding-store.ts';

const OURS = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const OTHERS = '01BX5ZZKBKACTAV9WEVGEMMVRZ';
const CREATE: UploadOptions = { condition: 'if-absent', putId: OURS };
const PATH = 'compacted/1.sst';
const BODY = new Uint8Array(100).map((_, i) => i);
const APPLIED: PutOutcome = { outcome: 'applied', attempt: 'now', etag: '"e"', storeTimeMs: 5 };

function begin(store: ObjectStore, options: Partial<UploadOptions> = {}, path = PATH): ObjectUpload {
  const upload = store.upload?.(path, { ...CREATE, ...options });
  if (upload === undefined) expect.fail('the store has no uploads');
  return upload;
}

async function uploaded(store: ObjectStore, options: Partial<UploadOptions> = {}): Promise<PutOutcome> {
  const upload = begin(store, options);
  await upload.write(BODY.slice(0, 60));
  await upload.write(BODY.slice(60));
  return upload.complete();
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

/** `store` with other uploads. */
function withUpload(store: ObjectStore, upload: Partial<ObjectUpload>): ObjectStore {
  const whole: ObjectUpload = {
    write: async () => undefined,
    complete: async () => APPLIED,
    abort: async () => undefined,
  };
  return { ...forwarding(store), upload: () => ({ ...whole, ...upload }) };
}

describe('a store without uploads', () => {
  const without = (store: ObjectStore): ObjectStore => {
    const { upload: _, ...rest } = forwarding(store);
    return rest;
  };

  it('gets the whole object in one put, with its condition, put id and signal', async () => {
    const memory = new MemoryStore();
    const store = meteredStore(without(memory), () => 'any');
    const upload = openUpload(store, PATH, CREATE);
    await upload.write(BODY.slice(0, 60));
    await upload.write(BODY.slice(60));
    expect(await memory.get(PATH)).toBeUndefined();
    expect((await upload.complete()).outcome).toBe('applied');
    expect((await memory.get(PATH))?.bytes).toEqual(BODY);
    expect((await memory.head(PATH))?.metadata['slatedbputid']).toBe(OURS);
    expect(store.counts()).toMatchObject({ put: 1, bytesOut: 100 });
    expect((await openUpload(store, PATH, CREATE).complete()).outcome).toBe('refused');
    const controller = new AbortController();
    const aborted = openUpload(store, PATH, { ...CREATE, signal: controller.signal });
    controller.abort();
    expect((await failureOf(aborted.complete())).code).toBe('ABORTED');
  });

  it('gets nothing of an aborted upload', async () => {
    const memory = new MemoryStore();
    const upload = openUpload(without(memory), PATH, CREATE);
    await upload.write(BODY);
    await upload.abort();
    expect(await memory.get(PATH)).toBeUndefined();
  });

  it('has none through wrappers either', () => {
    const clock = new ManualClock();
    const bare = without(new MemoryStore());
    const wrapped = [
      prefixedStore(bare, 'db'),
      meteredStore(bare, () => 'any'),
      retryingStore(bare),
      latencyStore(bare, { clock, latencyMs: 1 }),
      new FaultyStore(bare),
    ];
    for (const store of wrapped)
      expect([store.upload, store.listUploads, store.abortUpload]).toEqual([undefined, undefined, undefined]);
  });
});

describe('meteredStore', () => {
  it('counts an upload as one put with its bytes, at its end', async () => {
    const store = meteredStore(new MemoryStore(), (path) => path.split('/')[0]);
    const upload = begin(store);
    await upload.write(BODY);
    expect(store.counts().put).toBe(0);
    await upload.complete();
    expect(store.counts().byRole['compacted']).toMatchObject({ put: 1, bytesOut: 100 });
    await begin(store).abort();
    expect(store.counts().put).toBe(1);
  });

  it('counts what a store reports of an upload and of a put instead', async () => {
    const memory = new MemoryStore();
    const inner: ObjectStore = {
      ...forwarding(memory),
      put(path, bytes, options) {
        for (const size of [0, 60, 40, 0]) options.onRequest?.('put', size);
        return memory.put(path, bytes, options);
      },
      upload(path, options) {
        options.onRequest?.('put', 0);
        options.onRequest?.('put', 60);
        options.onRequest?.('head', 0);
        return memory.upload(path, options);
      },
    };
    const above: string[] = [];
    const store = meteredStore(inner, () => 'any');
    await uploaded(store, { onRequest: (kind, bytesOut) => void above.push(`${kind} ${bytesOut}`) });
    expect(store.counts()).toMatchObject({ put: 2, head: 1, bytesOut: 60 });
    expect(above).toEqual(['put 0', 'put 60', 'head 0']);
    await store.put('b', BODY, CREATE);
    expect(store.counts()).toMatchObject({ put: 6, bytesOut: 160 });
  });

  it('counts lists and removals of unfinished uploads', async () => {
    const found = { path: 'compacted/1', uploadId: 'u', startedMs: 1, storeTimeMs: 2 };
    const uploads = Array.from({ length: 1001 }, () => found);
    const inner: ObjectStore = {
      ...forwarding(new MemoryStore()),
      listUploads: async () => uploads,
      abortUpload: async () => undefined,
    };
    const store = meteredStore(inner, () => 'any');
    await store.listUploads?.('');
    await store.abortUpload?.(found);
    expect(store.counts()).toMatchObject({ list: 2, delete: 1 });
  });
});

describe('latencyStore', () => {
  it('lets the bytes take their time when they are written, and the completion that of a put', async () => {
    const clock = new ManualClock();
    const store = latencyStore(new MemoryStore({ clock }), { clock, latencyMs: { put: 30 }, bytesPerMs: 10 });
    const times: number[] = [];
    const upload = begin(store);
    await clock.runUntilSettled(upload.write(BODY));
    times.push(clock.monotonicMs());
    expect((await clock.runUntilSettled(upload.complete())).outcome).toBe('applied');
    expect([...times, clock.monotonicMs()]).toEqual([10, 40]);
  });

  it('an abort cuts a write on its way, and the signal loses the answer of a completion', async () => {
    const clock = new ManualClock();
    const inner = new MemoryStore({ clock });
    const store = latencyStore(inner, { clock, latencyMs: 100, bytesPerMs: 1 });
    const upload = begin(store);
    const writing = failureOf(upload.write(BODY));
    await upload.abort();
    expect((await writing).code).toBe('ABORTED');
    const controller = new AbortController();
    const second = begin(store, { signal: controller.signal });
    const completing = second.complete();
    await clock.advance(60);
    controller.abort();
    expect((await completing).outcome).toBe('unknown');
    expect((await inner.head(PATH))?.size).toBe(0);
  });
});

describe('FaultyStore', () => {
  function setUp(...rules: FaultRule[]) {
    const clock = new ManualClock();
    const memory = new MemoryStore({ clock });
    const store = new FaultyStore(memory, { clock, random: new SeededRandom(3), rules });
    return { clock, memory, store };
  }
  const stored = async (memory: MemoryStore) => (await memory.get(PATH))?.bytes;

  it('a part that fails ends its upload, and only that one', async () => {
    for (const action of ['fail-before', 'throttle', 'status:500', 'apply-then-drop'] as const) {
      const { memory, store } = setUp({ op: 'write', nth: 2, action });
      const upload = begin(store);
      await upload.write(BODY);
      const failure = await failureOf(upload.write(BODY));
      expect(storeErrorClass(failure)).toBe(action === 'throttle' ? 'throttled' : 'unavailable');
      expect(await failureOf(upload.complete())).toBe(failure);
      expect(await stored(memory)).toBeUndefined();
      expect((await uploaded(store)).outcome).toBe('applied');
    }
  });

  it('a part that is never answered waits for the signal', async () => {
    const { store } = setUp({ op: 'write', action: 'stall' });
    const controller = new AbortController();
    const writing = failureOf(begin(store, { signal: controller.signal }).write(BODY));
    controller.abort();
    expect((await writing).code).toBe('ABORTED');
  });

  it('rules of puts hold for the completion', async () => {
    const cases: [FaultRule['action'], string, boolean][] = [
      ['fail-before', 'unavailable', false],
      ['throttle', 'throttled', false],
      ['status:500', 'unknown', false],
      ['apply-then-drop', 'unknown', true],
      ['duplicate', 'applied', true],
      ['delete', 'applied', false],
    ];
    for (const [action, end, isStored] of cases) {
      const { memory, store } = setUp({ op: 'put', action });
      const ended = await uploaded(store).then(
        ({ outcome }) => outcome,
        (error) => storeErrorClass(error),
      );
      expect([action, ended, (await stored(memory)) !== undefined]).toEqual([action, end, isStored]);
    }
  });

  it('a completion that is late comes after its caller has gone on', async () => {
    const { clock, memory, store } = setUp({ op: 'put', action: 'delay-apply', delayMs: 500 });
    const controller = new AbortController();
    expect((await uploaded(store, { signal: controller.signal })).outcome).toBe('unknown');
    controller.abort();
    await clock.advance(499);
    expect(await stored(memory)).toBeUndefined();
    await clock.advance(1);
    expect(await stored(memory)).toEqual(BODY);
  });

  it('damage on the way is stored', async () => {
    const flipped = setUp({ op: 'put', action: 'flip', bit: 8 * 70 });
    expect((await uploaded(flipped.store)).outcome).toBe('applied');
    const bytes = await stored(flipped.memory);
    expect([...BODY.keys()].filter((i) => bytes?.[i] !== BODY[i])).toEqual([70]);
    const cut = setUp({ op: 'put', action: 'cut', at: 33 });
    await uploaded(cut.store);
    expect(await stored(cut.memory)).toEqual(BODY.slice(0, 33));
  });

  it('lists and removals of unfinished uploads fail as others do', async () => {
    const found = { path: 'compacted/1', uploadId: 'u', startedMs: 1, storeTimeMs: 2 };
    const inner: ObjectStore = {
      ...forwarding(new MemoryStore()),
      listUploads: async () => [found],
      abortUpload: async () => undefined,
    };
    const rules: FaultRule[] = [
      { op: 'list', nth: 1, action: 'throttle' },
      { op: 'list', nth: 2, action: 'empty' },
      { op: 'list', nth: 3, action: 'apply-then-drop' },
      { op: 'delete', nth: 1, action: 'fail-before' },
    ];
    const store = new FaultyStore(inner, { rules });
    expect(storeErrorClass(await failureOf(store.listUploads?.('') as Promise<unknown>))).toBe('throttled');
    expect(await store.listUploads?.('')).toEqual([]);
    expect(storeErrorClass(await failureOf(store.listUploads?.('') as Promise<unknown>))).toBe('unavailable');
    expect(await store.listUploads?.('')).toEqual([found]);
    expect(storeErrorClass(await failureOf(store.abortUpload?.(found) as Promise<unknown>))).toBe('unavailable');
    await store.abortUpload?.(found);
    // And through retries, which a caller sees nothing of.
    const clock = new ManualClock();
    const faulty = new FaultyStore(inner, { clock, rules });
    const retrying = retryingStore(faulty, { clock, random: new SeededRandom(1) });
    expect(await clock.runUntilSettled(retrying.listUploads?.('') as Promise<unknown>)).toEqual([]);
    await clock.runUntilSettled(retrying.abortUpload?.(found) as Promise<unknown>);
    expect(faulty.fired()).toMatchObject({ throttle: 1, 'fail-before': 1 });
  });
});

describe('retryingStore', () => {
  function setUp(rules: FaultRule[] = []) {
    const clock = new ManualClock();
    const memory = new MemoryStore({ clock });
    const faulty = new FaultyStore(memory, { clock, random: new SeededRandom(1), rules });
    const over = (store: ObjectStore) => retryingStore(store, { clock, random: new SeededRandom(2) });
    const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
    return { clock, memory, faulty, store: over(faulty), over, run };
  }

  it('proves by the put id that a completion whose answer was lost was applied', async () => {
    const { store, run } = setUp([{ op: 'put', action: 'apply-then-drop' }]);
    expect(await run(uploaded(store))).toMatchObject({ outcome: 'applied', attempt: 'earlier', afterUnknown: true });
  });

  it('also if the proof has to be asked for more than once', async () => {
    const { store, run } = setUp([
      { op: 'put', action: 'apply-then-drop' },
      { op: 'head', nth: 1, action: 'fail-before' },
      { op: 'head', nth: 2, action: 'throttle' },
    ]);
    expect(await run(uploaded(store))).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
  });

  it('finds the object of another writer, or of an earlier call with this put id', async () => {
    const { memory, store, run, faulty } = setUp();
    await memory.put(PATH, BODY, { ...CREATE, putId: OTHERS });
    expect(await run(uploaded(store))).toEqual({ outcome: 'refused' });
    faulty.add({ op: 'put', action: 'status:500' });
    expect(await run(uploaded(store))).toEqual({ outcome: 'refused', afterUnknown: true });
    faulty.clear();
    await memory.put(PATH, BODY, { ...CREATE, condition: 'any' });
    expect(await run(uploaded(store))).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
  });

  it('leaves an outcome unknown that nothing proves', async () => {
    const absent = setUp([{ op: 'put', action: 'status:500' }]);
    expect((await absent.run(uploaded(absent.store))).outcome).toBe('unknown');
    const outage = setUp([
      { op: 'put', action: 'apply-then-drop' },
      { op: 'head', action: 'fail-before' },
    ]);
    expect((await outage.run(uploaded(outage.store))).outcome).toBe('unknown');
    const refused = setUp([{ op: 'head', action: 'fail-before' }]);
    await refused.memory.put(PATH, BODY, { ...CREATE, putId: OTHERS });
    expect((await refused.run(uploaded(refused.store))).outcome).toBe('unknown');
  });

  it('does not try again what failed: the bytes are gone', async () => {
    const { store, faulty, run } = setUp([{ op: 'put', action: 'throttle' }]);
    expect(storeErrorClass(await run(failureOf(uploaded(store))))).toBe('throttled');
    expect(faulty.fired()).toEqual({ throttle: 1 });
  });

  it('gives up a part that is never answered, and what is below gets an abort', async () => {
    const { clock, memory, over, run } = setUp();
    const aborts: unknown[] = [];
    const signals: (AbortSignal | undefined)[] = [];
    const inner = withUpload(memory, {
      write: () => new Promise(() => undefined),
      abort: async () => void aborts.push(0),
    });
    const store = over({
      ...inner,
      upload(path, options) {
        signals.push(options.signal);
        return (inner as Required<ObjectStore>).upload(path, options);
      },
    });
    const upload = begin(store);
    const failure = await run(failureOf(upload.write(new Uint8Array(1 << 20))));
    expect([storeErrorClass(failure), clock.monotonicMs()]).toEqual(['timeout', 60_000 + 1024]);
    await run(upload.abort());
    expect([aborts.length, signals[0]?.aborted]).toEqual([1, true]);
  });

  it('a completion that is never answered is settled as one whose answer was lost', async () => {
    const { clock, memory, over, run } = setUp();
    const store = over(withUpload(memory, { complete: () => new Promise(() => undefined) }));
    const completing = begin(store).complete();
    await clock.advance(1000);
    await memory.put(PATH, BODY, CREATE);
    expect(await run(completing)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    expect(clock.monotonicMs()).toBe(60_000);
  });

  it('an abort of a store that never answers ends with the deadline', async () => {
    const { clock, memory, over, run } = setUp();
    const store = over(withUpload(memory, { abort: () => new Promise(() => undefined) }));
    const upload = begin(store);
    await run(upload.write(BODY));
    expect(storeErrorClass(await run(failureOf(upload.abort())))).toBe('timeout');
    expect(clock.monotonicMs()).toBeLessThanOrEqual(60_000);
  });

  it('the signal ends each call at once: a write as cancelled, a completion in doubt', async () => {
    for (const call of ['write', 'complete'] as const) {
      const { clock, memory, over } = setUp();
      const never = () => new Promise<never>(() => undefined);
      const store = over(withUpload(memory, { write: never, complete: never }));
      const controller = new AbortController();
      const upload = begin(store, { signal: controller.signal });
      const ended = (call === 'write' ? upload.write(BODY) : upload.complete()).then(
        (answer) => answer?.outcome,
        (error) => error.code,
      );
      controller.abort();
      expect(await ended).toBe(call === 'write' ? 'ABORTED' : 'unknown');
      expect(clock.monotonicMs()).toBe(0);
    }
  });

  it('errors that are not of a store become one, and leave a completion in doubt', async () => {
    const { memory, over, run } = setUp();
    const bad = () => Promise.reject(new Error('no words for it'));
    expect(storeErrorClass(await run(failureOf(begin(over(withUpload(memory, { write: bad }))).write(BODY))))).toBe(
      'unavailable',
    );
    expect((await run(begin(over(withUpload(memory, { complete: bad }))).complete())).outcome).toBe('unknown');
  });
});

describe('the stores of a database', () => {
  const settings = { clock: new ManualClock(), random: new SeededRandom(1), timeoutMs: 1000 };
  const databaseOn = (store: ObjectStore) =>
    databaseStores({ location: { store, path: 'db' }, isRootAssumed: false }, settings);

  it('count uploads by role and remember the time of their answers', async () => {
    const clock = new ManualClock(1_600_000_000_000);
    const stores = databaseOn(new MemoryStore({ clock }));
    expect(stores.latestStoreTimesMs()).toEqual([undefined]);
    expect((await uploaded(stores.main)).outcome).toBe('applied');
    expect(stores.counts().byRole).toMatchObject({ table: { put: 1, bytesOut: 100 } });
    expect(stores.latestStoreTimesMs()).toEqual([1_600_000_000_000]);
  });

  it('end uploads with the signal that ends everything', async () => {
    const stopped = new AbortController();
    const stores = withSignal(databaseOn(new MemoryStore()), stopped.signal);
    const upload = begin(stores.main);
    await upload.write(BODY);
    stopped.abort();
    expect((await failureOf(upload.complete())).code).toBe('ABORTED');
  });
});
