/** Retries: which failures are tried again and for how long, and how an answer that was lost is settled. */
import { describe, expect, it } from 'vitest';
import { sleep } from '../../../src/common/clock.ts';
import { DbError, InvalidArgumentError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { type FaultRule, FaultyStore } from '../../../src/store/faulty-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore, PutCondition, PutOptions, PutOutcome } from '../../../src/store/object-store.ts';
import { type RetryEvent, type RetryOptions, retryingStore } from '../../../src/store/retrying-store.ts';
import { storeError } from '../../../src/store/store-error.ts';
import { forwarding } from '../../support/forwarding-store.ts';

const OURS = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const OTHERS = '01BX5ZZKBKACTAV9WEVGEMMVRZ';
const BODY = new TextEncoder().encode('our bytes');
const CREATE: PutOptions = { condition: 'if-absent', putId: OURS };

/** A store below, a retry wrapper above, faults between, all in virtual time. */
function setUp(rules: FaultRule[] = [], options: Partial<RetryOptions> = {}) {
  const clock = new ManualClock();
  const memory = new MemoryStore({ clock });
  const faulty = new FaultyStore(memory, { clock, random: new SeededRandom(1), rules });
  const events: RetryEvent[] = [];
  const settings = { clock, random: new SeededRandom(2), onRetry: (e: RetryEvent) => void events.push(e), ...options };
  const over = (store: ObjectStore) => retryingStore(store, settings);
  const store = over(faulty);
  const run = <T>(promise: Promise<T>) => clock.runUntilSettled(promise);
  const put = (condition: PutCondition = 'if-absent') => run(store.put('wal/1', BODY, { condition, putId: OURS }));
  return { clock, memory, faulty, store, run, put, events, over };
}

/** `store` without metadata, as a local directory is. */
function withoutMetadata(store: ObjectStore): ObjectStore {
  return {
    ...forwarding(store),
    async head(path, options) {
      const head = await store.head(path, options);
      return head && { ...head, metadata: {} };
    },
    async get(path, options) {
      const result = await store.get(path, options);
      return result && { ...result, metadata: {} };
    },
  };
}

async function rejectionOf(promise: Promise<unknown>): Promise<DbError> {
  return promise.then(
    () => expect.fail('it should have been rejected'),
    (error) => {
      expect(error).toBeInstanceOf(DbError);
      return error;
    },
  );
}

async function collect(store: ObjectStore, prefix: string, startAfter?: string): Promise<string[]> {
  const found: string[] = [];
  const options = startAfter === undefined ? {} : { startAfter };
  for await (const { path } of store.list(prefix, options)) found.push(path);
  return found;
}

describe('retries', () => {
  it('a transient failure is tried again', async () => {
    for (const action of ['fail-before', 'throttle', 'status:500', 'apply-then-drop'] as const) {
      const { store, memory, run, events } = setUp([{ op: 'get', action, nth: 1 }]);
      await memory.put('a', BODY, CREATE);
      expect((await run(store.get('a')))?.size).toBe(BODY.length);
      expect(events).toMatchObject([{ op: 'get', path: 'a', attempts: 1 }]);
    }
  });

  it('a lasting failure is not', async () => {
    for (const [action, code] of [
      ['status:403', 'STORE_DENIED'],
      ['status:501', 'STORE_UNSUITABLE'],
      ['status:507', 'STORE_FULL'],
    ] as const) {
      const { store, run, faulty } = setUp([{ action }]);
      expect(await rejectionOf(run(store.get('a')))).toMatchObject({ code });
      expect(faulty.fired()).toEqual({ [action]: 1 });
    }
  });

  it('waits grow, are drawn below the ceiling, and end at the deadline', async () => {
    const { store, run, events, clock } = setUp([{ op: 'head', action: 'fail-before' }]);
    const error = await rejectionOf(run(store.head('a')));
    const endMs = clock.monotonicMs();
    expect(error).toMatchObject({ code: 'STORE_DOWN', retryable: true, details: { attempts: events.length + 1 } });
    expect(error.message).toContain('head given up after');
    expect(clock.monotonicMs()).toBeLessThanOrEqual(60_000);
    expect(clock.monotonicMs()).toBeGreaterThan(50_000);
    events.forEach(({ delayMs, attempts }) => {
      expect(delayMs).toBeLessThanOrEqual(Math.min(5000, 50 * 2 ** (attempts - 1)));
    });
    expect(events.length).toBeGreaterThan(10);
    // Alone in an outage it is the call that asks every 300 to 400 ms.
    expect(events.length).toBeGreaterThan(endMs / 400);
    expect(events.length).toBeLessThan(400);
  });

  it('waits as long as the server asks while others are answered, else a second before it asks', async () => {
    const busy = setUp([{ op: 'get', path: 'b', action: 'throttle', nth: 1, retryAfterMs: 7000 }]);
    const asked = busy.store.get('b').then(() => busy.clock.monotonicMs());
    const others = async () => {
      for (let i = 0; i < 20; i++) {
        await busy.store.get('a');
        await sleep(busy.clock, 400);
      }
    };
    await busy.run(others());
    expect(await asked).toBe(7000);
    const alone = setUp([{ op: 'get', action: 'throttle', nth: 1, retryAfterMs: 7000 }]);
    await alone.run(alone.store.get('a'));
    expect(alone.clock.monotonicMs()).toBeGreaterThanOrEqual(1000);
    expect(alone.clock.monotonicMs()).toBeLessThanOrEqual(1100);
  });

  it('bears a server that asks for longer than the deadline, as some do while they start', async () => {
    const starting = setUp([{ op: 'get', action: 'throttle', retryAfterMs: 120_000 }]);
    starting.clock.setTimer(5000, () => starting.faulty.clear());
    await starting.run(starting.store.get('a'));
    expect(starting.clock.monotonicMs()).toBeLessThanOrEqual(6100);
    const never = setUp([{ op: 'get', action: 'throttle', retryAfterMs: 120_000 }]);
    const error = await rejectionOf(never.run(never.store.get('a')));
    expect(error).toMatchObject({ code: 'STORE_THROTTLED', details: { httpStatus: 503 } });
    expect(never.clock.monotonicMs()).toBeGreaterThan(50_000);
    expect(never.clock.monotonicMs()).toBeLessThanOrEqual(60_000);
    // One look a second, not more.
    expect(never.events.length).toBeLessThanOrEqual(60);
  });

  it('a range to the end that is not answered is tried again like any other', async () => {
    const { store, memory, run, clock } = setUp([{ op: 'get', action: 'stall', nth: 1 }], { attemptTimeoutMs: 3000 });
    await memory.put('wal/1', BODY, CREATE);
    const got = await run(store.get('wal/1', { range: { offset: 0, length: 2 ** 40 } }));
    expect(got?.bytes).toEqual(BODY);
    expect(clock.monotonicMs()).toBeLessThan(4000);
  });

  it('a store that never answers is given up in time', async () => {
    const { store, run, clock } = setUp([{ action: 'stall' }], { timeoutMs: 20_000, attemptTimeoutMs: 3000 });
    const calls: Promise<unknown>[] = [store.get('a'), store.head('a'), store.delete(['a']), collect(store, '')];
    const errors = await run(Promise.all(calls.map(rejectionOf)));
    for (const error of errors) expect(error).toMatchObject({ code: 'STORE_TIMEOUT' });
    expect(clock.monotonicMs()).toBeLessThanOrEqual(20_000);
  });

  it('what the store answered last is named, not that the deadline cut the last attempt short', async () => {
    const { run, over } = setUp();
    let calls = 0;
    const head = () =>
      ++calls === 1
        ? Promise.reject(storeError({ cls: 'unavailable', message: 'nobody listens', store: 'there' }))
        : new Promise<never>(() => undefined);
    const error = await rejectionOf(run(over({ ...forwarding(new MemoryStore()), head }).head('a')));
    expect(error).toMatchObject({ code: 'STORE_TIMEOUT' });
    calls = 0;
    const hasty = { ...forwarding(new MemoryStore()), head };
    const hurried = setUp([], { timeoutMs: 1000 });
    const short = await rejectionOf(hurried.run(hurried.over(hasty).head('a')));
    expect(short).toMatchObject({ code: 'STORE_DOWN' });
    expect(short.message).toContain('nobody listens');
  });

  it('so is one that ignores its signal', async () => {
    const { run, clock, over } = setUp();
    const never = new Promise<never>(() => undefined);
    const deaf = over({ ...forwarding(new MemoryStore()), get: () => never, put: () => never });
    expect(await rejectionOf(run(deaf.get('a')))).toMatchObject({ code: 'STORE_TIMEOUT' });
    expect((await run(deaf.put('a', BODY, CREATE))).outcome).toBe('unknown');
    expect(clock.monotonicMs()).toBeLessThanOrEqual(120_000);
  });

  it('an attempt has more time for more bytes', async () => {
    const { clock, run, over } = setUp([], { attemptTimeoutMs: 1000 });
    const signals: { aborted: boolean; atMs: number }[] = [];
    const slow = over({
      ...forwarding(new MemoryStore()),
      put: (_path, _bytes, { signal }) =>
        new Promise((_, reject) => {
          signal!.addEventListener('abort', () => {
            signals.push({ aborted: true, atMs: clock.monotonicMs() });
            reject(signal!.reason);
          });
        }),
    });
    await run(slow.put('a', new Uint8Array(10 << 20), CREATE));
    expect(signals[0].atMs).toBe(1000 + 10 * 1024);
  });

  describe('an answer to another call', () => {
    /** Until `upMs` nothing can be reached. */
    function downUntil(upMs: number) {
      const set = setUp();
      const { clock, memory, over } = set;
      const get: ObjectStore['get'] = (path, options) =>
        clock.monotonicMs() < upMs
          ? Promise.reject(storeError({ cls: 'unavailable', message: 'down', store: 'memory:', path }))
          : memory.get(path, options);
      return { ...set, store: over({ ...forwarding(memory), get }) };
    }

    it('wakes all who wait, if there was none for a second', async () => {
      const { clock, run, store } = downUntil(20_000);
      const endsMs: number[] = [];
      const wait = () => store.get('a').then(() => void endsMs.push(clock.monotonicMs()));
      await run(Promise.all(Array.from({ length: 20 }, wait)));
      expect(Math.min(...endsMs)).toBeGreaterThanOrEqual(20_000);
      expect(Math.min(...endsMs)).toBeLessThanOrEqual(20_400);
      expect(Math.max(...endsMs) - Math.min(...endsMs)).toBeLessThanOrEqual(100);
      expect(new Set(endsMs).size).toBeGreaterThan(15);
    });

    it('leaves them waiting after a short failure', async () => {
      const { clock, memory, run, over, events } = setUp([], { baseDelayMs: 40_000, maxDelayMs: 40_000 });
      await memory.put('b', BODY, CREATE);
      let isDown = true;
      const get: ObjectStore['get'] = (path, options) =>
        path === 'a' && isDown
          ? Promise.reject(storeError({ cls: 'unavailable', message: 'down', store: 'memory:', path }))
          : memory.get(path, options);
      const store = over({ ...forwarding(memory), get });
      const waiting = store.get('a').then(() => clock.monotonicMs());
      await clock.settle();
      isDown = false;
      const others = async () => {
        for (let i = 0; i < 100; i++) {
          await sleep(clock, 400);
          await store.get('b');
        }
      };
      await run(others());
      expect(events).toHaveLength(1);
      expect(events[0].delayMs).toBeGreaterThan(2000);
      expect(await waiting).toBeCloseTo(events[0].delayMs, 6);
    });

    it('comes soon after an outage, since one of those who wait asks three times a second, and only one', async () => {
      const { clock, run, store, events } = downUntil(30_000);
      await run(Promise.all(Array.from({ length: 20 }, () => store.get('a'))));
      expect(clock.monotonicMs()).toBeLessThanOrEqual(30_500);
      // Some 90 requests, and of each call one in 2.5 s on average once their waits have grown.
      expect(events.length).toBeLessThan(600);
    });
  });

  describe('a request that hangs', () => {
    it('is sent once more after half a second, and the first answer counts', async () => {
      const calls: [NonNullable<FaultRule['op']>, (store: ObjectStore) => Promise<unknown>][] = [
        ['get', (store) => store.get('wal/1')],
        ['head', (store) => store.head('wal/1')],
        ['list', (store) => collect(store, 'wal/')],
        ['put', (store) => store.put('wal/2', BODY, CREATE)],
      ];
      for (const [op, send] of calls) {
        const { store, memory, run, clock, faulty } = setUp([{ op, action: 'stall', nth: 1 }]);
        await memory.put('wal/1', BODY, CREATE);
        expect(await run(send(store))).toBeTruthy();
        expect(faulty.fired()).toEqual({ stall: 1 });
        expect(clock.monotonicMs(), op).toBeCloseTo(500, 0);
        await clock.settle();
        expect(clock.pendingTimers).toBe(0);
      }
    });

    it('is not sent again if everything takes long here', async () => {
      const { memory, run, clock, over } = setUp();
      await memory.put('a', BODY, CREATE);
      let requests = 0;
      const get: ObjectStore['get'] = async (path) => {
        requests++;
        await sleep(clock, 450 + requests * 30);
        return memory.get(path);
      };
      const slow = over({ ...forwarding(memory), get });
      for (let i = 0; i < 20; i++) await run(slow.get('a'));
      // All take longer than half a second but the first.
      expect(requests).toBe(20);
    });

    it('keeps its place beside a later one, because the store may only be slow', async () => {
      const { memory, run, clock, over } = setUp();
      await memory.put('a', BODY, CREATE);
      let underway = 0;
      let most = 0;
      const get: ObjectStore['get'] = async (path, options) => {
        most = Math.max(most, ++underway);
        options?.signal?.addEventListener('abort', () => underway--);
        await sleep(clock, 9000, options?.signal);
        underway--;
        return memory.get(path);
      };
      await run(over({ ...forwarding(memory), get }).get('a'));
      expect(clock.monotonicMs()).toBe(9000);
      expect(most).toBe(2);
      expect(underway).toBe(0);
    });

    it('is not waited for in steps below a millisecond, which rounding could repeat forever', async () => {
      const clock = new ManualClock();
      const delays: number[] = [];
      const setTimer = clock.setTimer.bind(clock);
      clock.setTimer = (delayMs, fn) => {
        delays.push(delayMs);
        return setTimer(delayMs, fn);
      };
      const silent: ObjectStore = {
        ...forwarding(new MemoryStore({ clock })),
        get: () => new Promise(() => undefined),
      };
      const options = { clock, random: new SeededRandom(2), attemptTimeoutMs: 500.25, timeoutMs: 700 };
      await rejectionOf(clock.runUntilSettled(retryingStore(silent, options).get('a')));
      expect(delays.length).toBeGreaterThan(2);
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(1);
    });

    it('costs three more requests a second at most, however many hang', async () => {
      const { run, clock, over } = setUp();
      let requests = 0;
      const get: ObjectStore['get'] = () => {
        requests++;
        return new Promise(() => undefined);
      };
      const store = over({ ...forwarding(new MemoryStore()), get });
      const calls = Array.from({ length: 50 }, () => rejectionOf(store.get('a')));
      await clock.advance(10_000);
      expect(requests).toBeGreaterThan(50 + 20);
      expect(requests).toBeLessThanOrEqual(50 + 34);
      await run(Promise.all(calls));
    });

    it('is sent again soon after the store has answered another', async () => {
      const { memory, run, clock, over } = setUp();
      await memory.put('a', BODY, CREATE);
      const get: ObjectStore['get'] = (path) =>
        clock.monotonicMs() < 8000 ? new Promise(() => undefined) : memory.get(path);
      const store = over({ ...forwarding(memory), get });
      const endsMs: number[] = [];
      const wait = () => store.get('a').then(() => void endsMs.push(clock.monotonicMs()));
      await run(Promise.all(Array.from({ length: 20 }, wait)));
      expect(Math.max(...endsMs)).toBeLessThanOrEqual(9000);
    });
  });

  it('errors from outside the vocabulary are wrapped', async () => {
    const { run, over } = setUp([], { timeoutMs: 500 });
    const rude = over({
      ...forwarding(new MemoryStore()),
      get() {
        throw new TypeError('thrown at once');
      },
      head: () => Promise.reject('a string'),
    });
    const error = await rejectionOf(run(rude.get('a')));
    expect(error).toMatchObject({ code: 'STORE_DOWN' });
    expect(error.message).toContain('thrown at once');
    expect(await rejectionOf(run(rude.head('a')))).toMatchObject({ code: 'STORE_DOWN' });
  });

  it("a caller's own mistake passes through at once", async () => {
    const { store, run, events } = setUp();
    expect(await rejectionOf(run(store.get('../a')))).toBeInstanceOf(InvalidArgumentError);
    expect(await rejectionOf(run(store.put('', BODY, CREATE)))).toBeInstanceOf(InvalidArgumentError);
    expect(events).toEqual([]);
  });

  it('a body of the wrong length never reaches the caller', async () => {
    const once = setUp([{ op: 'get', action: 'short-body', nth: 1 }]);
    await once.memory.put('a', BODY, CREATE);
    const result = await once.run(once.store.get('a', { range: { offset: 2, length: 4 } }));
    expect(result?.bytes).toEqual(BODY.slice(2, 6));
    const always = setUp([{ op: 'get', action: 'short-body' }], { timeoutMs: 1000 });
    await always.memory.put('a', BODY, CREATE);
    const error = await rejectionOf(always.run(always.store.get('a')));
    expect(error.details).toMatchObject({ storeClass: 'malformed-response' });
  });

  it('an object that is cut at rest is passed on: that is for the reader to judge', async () => {
    const { store, memory, run } = setUp([{ op: 'get', action: 'cut', at: 3 }]);
    await memory.put('a', BODY, CREATE);
    expect(await run(store.get('a'))).toMatchObject({ size: 3, bytes: BODY.slice(0, 3) });
  });
});

describe('lists', () => {
  const names = Array.from({ length: 9 }, (_, i) => `wal/${i}`);

  it('go on after the last object after a failure', async () => {
    const { store, memory, run, faulty } = setUp([
      { op: 'list', action: 'apply-then-drop', nth: 1 },
      { op: 'list', action: 'fail-before', nth: 2 },
      { op: 'list', action: 'apply-then-drop', nth: 3 },
    ]);
    for (const path of names) await memory.put(path, BODY, CREATE);
    expect(await run(collect(store, 'wal/'))).toEqual(names);
    expect(faulty.fired()).toEqual({ 'apply-then-drop': 2, 'fail-before': 1 });
    expect(await run(collect(store, 'wal/', 'wal/5'))).toEqual(names.slice(6));
  });

  it('that are out of order are refused at once, because nobody knows what they left out', async () => {
    for (const action of ['list-unordered', 'list-loop'] as const) {
      const { store, memory, run, clock } = setUp([{ op: 'list', action, nth: 1 }]);
      for (const path of names) await memory.put(path, BODY, CREATE);
      const error = await rejectionOf(run(collect(store, 'wal/')));
      expect(error).toMatchObject({ retryable: true, details: { storeClass: 'malformed-response' } });
      expect(clock.monotonicMs()).toBe(0);
      expect(await run(collect(store, 'wal/'))).toEqual(names);
    }
  });

  it('with objects that were not asked for are refused', async () => {
    const { over, run } = setUp();
    const wrong = over({
      ...forwarding(new MemoryStore()),
      async *list() {
        yield { path: 'manifest/1', size: 0, etag: '', lastModifiedMs: 0 };
      },
    });
    expect(await rejectionOf(run(collect(wrong, 'wal/')))).toMatchObject({ code: 'STORE_DOWN' });
  });

  it("the time of a slow consumer does not count against the store's deadline", async () => {
    const { store, memory, run, clock } = setUp([{ op: 'list', action: 'apply-then-drop', nth: 1 }], {
      timeoutMs: 1000,
    });
    for (const path of names) await memory.put(path, BODY, CREATE);
    const slowly = async () => {
      let count = 0;
      for await (const _ of store.list('')) {
        await new Promise<void>((resolve) => clock.setTimer(5000, resolve));
        count++;
      }
      return count;
    };
    expect(await run(slowly())).toBe(9);
  });

  it('left early end the list below', async () => {
    const { over, run } = setUp();
    let ended = false;
    const endless = over({
      ...forwarding(new MemoryStore()),
      async *list() {
        try {
          for (let i = 0; ; i++) yield { path: `a${String(i).padStart(9, '0')}`, size: 0, etag: '', lastModifiedMs: 0 };
        } finally {
          ended = true;
        }
      },
    });
    const first = async () => {
      for await (const { path } of endless.list('a')) return path;
      return undefined;
    };
    expect(await run(first())).toBe('a000000000');
    await run(Promise.resolve());
    expect(ended).toBe(true);
  });
});

describe('puts', () => {
  it('sent twice because the first hangs are settled, whichever arrives', async () => {
    for (const isApplied of [true, false]) {
      const { memory, over, run, clock } = setUp();
      let sent = 0;
      const put: ObjectStore['put'] = async (path, bytes, options) => {
        if (++sent > 1) return memory.put(path, bytes, options);
        if (isApplied) await memory.put(path, bytes, options);
        return new Promise(() => undefined);
      };
      const outcome = await run(over({ ...forwarding(memory), put }).put('wal/1', BODY, CREATE));
      expect(outcome).toMatchObject({
        outcome: 'applied',
        attempt: isApplied ? 'earlier' : 'now',
        afterUnknown: true,
      });
      expect(sent).toBe(2);
      expect(clock.monotonicMs()).toBeCloseTo(500, 0);
    }
  });

  it('say that bytes of theirs may be on their way only if an attempt had no answer', async () => {
    const { put, faulty } = setUp([{ op: 'put', action: 'throttle', nth: 1 }]);
    const answered = await put();
    expect(faulty.fired()).toEqual({ throttle: 1 });
    expect(answered).toMatchObject({ outcome: 'applied', attempt: 'now' });
    expect(answered).not.toHaveProperty('afterUnknown');
  });

  it("sent twice that find another's object say that they are not sure", async () => {
    const { put, memory } = setUp([{ op: 'put', action: 'stall', nth: 1 }]);
    await memory.put('wal/1', BODY, { ...CREATE, putId: OTHERS });
    expect(await put()).toEqual({ outcome: 'refused', afterUnknown: true });
  });

  it('without a condition, or of nothing, are never under way twice', async () => {
    for (const [bytes, condition] of [
      [BODY, 'any'],
      [new Uint8Array(0), 'if-absent'],
    ] as const) {
      const { store, run, clock, faulty } = setUp([{ op: 'put', action: 'stall', nth: 1 }]);
      await run(store.put('a', bytes, { condition, putId: OURS }));
      expect(faulty.fired()).toEqual({ stall: 1 });
      expect(clock.monotonicMs()).toBeGreaterThanOrEqual(15_000);
    }
  });

  it('a refusal of the first attempt is final', async () => {
    const { put, memory, events } = setUp();
    await memory.put('wal/1', BODY, CREATE);
    // Even the same put id: without an attempt in doubt this is a second put, and the first one holds the place.
    expect(await put()).toEqual({ outcome: 'refused' });
    expect(events).toEqual([]);
  });

  describe('whose refusal is to be proven', () => {
    const PROVE: PutOptions = { ...CREATE, proveRefusal: true };

    it('look once whose object is there', async () => {
      const { run, memory, over } = setUp();
      await memory.put('wal/1', BODY, { ...CREATE, putId: OTHERS });
      const calls: string[] = [];
      const head: ObjectStore['head'] = (path, options) => {
        calls.push(`head ${path}`);
        return memory.head(path, options);
      };
      expect(await run(over({ ...forwarding(memory), head }).put('wal/1', BODY, PROVE))).toEqual({
        outcome: 'refused',
      });
      expect(calls).toEqual(['head wal/1']);
    });

    it('are applied, if the put was sent twice on the way and refused itself', async () => {
      const { run, memory, over } = setUp();
      const put: ObjectStore['put'] = async (path, bytes, options) => {
        await memory.put(path, bytes, options);
        return memory.put(path, bytes, options);
      };
      const twice = over({ ...forwarding(memory), put });
      expect(await run(twice.put('wal/1', BODY, PROVE))).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    });

    it('are refused, if equal bytes are there without a put id', async () => {
      const { run, memory, over } = setUp();
      await memory.put('wal/1', BODY, CREATE);
      expect(await run(over(withoutMetadata(memory)).put('wal/1', BODY, PROVE))).toEqual({ outcome: 'refused' });
    });
  });

  it('a refusal after attempts that surely were not applied is final too', async () => {
    const { put, memory } = setUp([
      { op: 'put', action: 'throttle', nth: 1 },
      { op: 'put', action: 'status:409', nth: 2 },
    ]);
    await memory.put('wal/1', BODY, { ...CREATE, putId: OTHERS });
    expect(await put()).toEqual({ outcome: 'refused' });
  });

  it('an applied put whose answer was lost is proven by its put id', async () => {
    const { put, faulty, memory } = setUp([{ op: 'put', action: 'apply-then-drop', nth: 1 }]);
    const outcome = await put();
    expect(outcome).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    expect(outcome).toMatchObject({ etag: (await memory.head('wal/1'))?.etag });
    expect(faulty.fired()).toEqual({ 'apply-then-drop': 1 });
  });

  it('a put that was not applied is applied by the next attempt', async () => {
    const { put } = setUp([{ op: 'put', action: 'status:500', nth: 1 }]);
    expect(await put()).toMatchObject({ outcome: 'applied', attempt: 'now' });
  });

  it('an attempt that arrives late does no harm', async () => {
    const { put, memory, faulty } = setUp([{ op: 'put', action: 'delay-apply', nth: 1, delayMs: 100_000 }]);
    expect(await put()).toMatchObject({ outcome: 'applied', attempt: 'now', afterUnknown: true });
    const before = await memory.head('wal/1');
    await faulty.applyDelayed();
    expect(await memory.head('wal/1')).toEqual(before);
  });

  it("another's object in the place is reported, as after doubt", async () => {
    const { put, memory, faulty } = setUp([{ op: 'put', action: 'status:500', nth: 1 }]);
    await memory.put('wal/1', BODY, { ...CREATE, putId: OTHERS });
    expect(await put()).toEqual({ outcome: 'refused', afterUnknown: true });
    expect(faulty.fired()).toEqual({ 'status:500': 1 });
  });

  it('without metadata the bytes decide', async () => {
    const cases: [Uint8Array, Uint8Array, PutOutcome['outcome'], boolean][] = [
      [BODY, BODY, 'applied', false],
      [BODY, new TextEncoder().encode('not ours!'), 'refused', true],
      [BODY, new TextEncoder().encode('longer than ours'), 'refused', true],
      [new Uint8Array(0), new Uint8Array(0), 'refused', true],
    ];
    for (const [ours, there, outcome, afterUnknown] of cases) {
      const { memory, faulty, over, run } = setUp([{ op: 'put', action: 'status:500', nth: 1 }]);
      await memory.put('wal/1', there, { ...CREATE, putId: OTHERS });
      const result = await run(over(withoutMetadata(faulty)).put('wal/1', ours, CREATE));
      expect(result.outcome).toBe(outcome);
      if (result.outcome === 'applied') expect(result.attempt).toBe('earlier');
      if (result.outcome === 'refused') expect(result.afterUnknown).toBe(afterUnknown);
    }
  });

  it('without metadata a byte that was damaged on the way does not make it another’s', async () => {
    const { faulty, over, run } = setUp([
      { op: 'put', action: 'apply-then-drop', nth: 1 },
      { op: 'get', action: 'flip', nth: 1 },
    ]);
    const result = await run(over(withoutMetadata(faulty)).put('wal/1', BODY, CREATE));
    expect(faulty.fired()).toEqual({ 'apply-then-drop': 1, flip: 1 });
    expect(result).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
  });

  it('an object that is gone again proves nothing', async () => {
    const { memory, over, run } = setUp();
    let attempts = 0;
    const collected = over({
      ...forwarding(memory),
      put: async () => (++attempts === 1 ? { outcome: 'unknown', cause: new Error('lost') } : { outcome: 'refused' }),
    });
    expect(await run(collected.put('wal/1', BODY, CREATE))).toEqual({ outcome: 'refused', afterUnknown: true });
  });

  it('If-Match puts are settled alike', async () => {
    const { store, memory, run, faulty } = setUp();
    const first = await memory.put('gc/boundary', new Uint8Array([1]), { condition: 'any', putId: OTHERS });
    const ifMatch = first.outcome === 'applied' ? first.etag : '';
    faulty.add({ op: 'put', action: 'apply-then-drop', nth: 1 });
    const options: PutOptions = { condition: { ifMatch }, putId: OURS };
    const settled = await run(store.put('gc/boundary', new Uint8Array([2]), options));
    expect(settled).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    expect(await run(store.put('gc/boundary', new Uint8Array([3]), options))).toEqual({ outcome: 'refused' });
  });

  it('the proof is retried as well, and ends unknown only at the deadline', async () => {
    const flaky = setUp([
      { op: 'put', action: 'apply-then-drop', nth: 1 },
      { op: 'head', action: 'fail-before', nth: 1 },
      { op: 'head', action: 'throttle', nth: 2 },
    ]);
    expect(await flaky.put()).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
    const down = setUp([
      { op: 'put', action: 'apply-then-drop', nth: 1 },
      { op: 'head', action: 'fail-before' },
    ]);
    expect(await down.put()).toMatchObject({ outcome: 'unknown' });
    expect(down.clock.monotonicMs()).toBeLessThanOrEqual(60_000);
  });

  it('doubt until the deadline ends unknown, with the cause', async () => {
    const { put, clock } = setUp([{ op: 'put', action: 'status:500' }]);
    const outcome = await put();
    expect(outcome).toMatchObject({ outcome: 'unknown', cause: { details: { httpStatus: 500 } } });
    expect(clock.monotonicMs()).toBeGreaterThan(50_000);
  });

  it('without doubt the deadline ends in an error', async () => {
    const { store, run } = setUp([{ op: 'put', action: 'throttle' }]);
    expect(await rejectionOf(run(store.put('a', BODY, CREATE)))).toMatchObject({ code: 'STORE_THROTTLED' });
  });

  it('one doubtful attempt makes the end unknown, whatever comes later', async () => {
    for (const action of ['throttle', 'status:403'] as const) {
      const { put } = setUp([
        { op: 'put', action: 'status:500', nth: 1 },
        { op: 'put', action },
      ]);
      expect(await put()).toMatchObject({ outcome: 'unknown' });
    }
  });

  it('an error that says nothing leaves the put in doubt', async () => {
    const { memory, over, run } = setUp();
    let attempts = 0;
    const rude = over({
      ...forwarding(memory),
      async put(path, bytes, options) {
        const outcome = await memory.put(path, bytes, options);
        if (++attempts === 1) throw new Error('socket hang up');
        return outcome;
      },
    });
    expect(await run(rude.put('wal/1', BODY, CREATE))).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
  });

  it('all attempts send the same bytes and put id', async () => {
    const { memory, over, run } = setUp();
    const sent: [Uint8Array, string][] = [];
    const store = over({
      ...forwarding(memory),
      async put(_path, bytes, { putId }) {
        sent.push([bytes, putId]);
        if (sent.length < 5) throw storeError({ cls: 'conflict-in-flight', message: 'try again', store: 's' });
        return { outcome: 'applied', attempt: 'now', etag: 'x', storeTimeMs: 1 };
      },
    });
    await run(store.put('wal/1', BODY, CREATE));
    expect(sent.length).toBe(5);
    for (const [bytes, putId] of sent) expect([bytes === BODY, putId]).toEqual([true, OURS]);
  });
});

describe('aborts', () => {
  it('before the first attempt nothing is sent', async () => {
    const { store, memory, run } = setUp();
    const signal = AbortSignal.abort(new Error('no longer wanted'));
    const error = await rejectionOf(run(store.put('a', BODY, { ...CREATE, signal })));
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(error.cause).toMatchObject({ message: 'no longer wanted' });
    expect(await memory.head('a')).toBeUndefined();
    expect(await rejectionOf(run(store.get('a', { signal })))).toMatchObject({ code: 'ABORTED' });
  });

  it('of a put under way leaves it unknown; of a read ends it', async () => {
    const { store, clock } = setUp([{ action: 'stall' }]);
    const controller = new AbortController();
    const { signal } = controller;
    const put = store.put('a', BODY, { ...CREATE, signal });
    const get = rejectionOf(store.get('a', { signal }));
    await clock.advance(10);
    controller.abort();
    expect((await put).outcome).toBe('unknown');
    expect(await get).toMatchObject({ code: 'ABORTED' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('while waiting after attempts without effect it is an abort, after doubt it is unknown', async () => {
    for (const [action, expected] of [
      ['throttle', 'ABORTED'],
      ['status:500', 'unknown'],
    ] as const) {
      const { store, clock } = setUp([{ op: 'put', action, retryAfterMs: 10_000 }], { baseDelayMs: 10_000 });
      const controller = new AbortController();
      const put = store.put('a', BODY, { ...CREATE, signal: controller.signal });
      const settled = put.then(
        (outcome) => outcome.outcome,
        (error) => error.code,
      );
      await clock.settle();
      controller.abort();
      expect(await settled).toBe(expected);
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('leave no listener on the signal', async () => {
    const { store, run } = setUp([{ op: 'get', action: 'fail-before', nth: 1 }]);
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    await run(store.get('a', { signal }));
    expect(listeners).toBe(0);
  });
});
