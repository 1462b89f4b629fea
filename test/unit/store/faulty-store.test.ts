/** The store that misbehaves on purpose: each fault does what it says, and a seed replays it. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { type FaultRule, FaultyStore } from '../../../src/store/faulty-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { PutOptions } from '../../../src/store/object-store.ts';
import { storeErrorClass } from '../../../src/store/store-error.ts';

const CREATE: PutOptions = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
const BODY = new Uint8Array(100).map((_, i) => i);

async function setUp(...rules: FaultRule[]) {
  const clock = new ManualClock();
  const memory = new MemoryStore({ clock });
  await memory.put('wal/1', BODY, CREATE);
  await memory.put('wal/2', BODY.slice(50), CREATE);
  const store = new FaultyStore(memory, { clock, random: new SeededRandom(3), rules });
  const list = async (prefix = '') => {
    const found: string[] = [];
    for await (const { path } of store.list(prefix)) found.push(path);
    return found;
  };
  return { clock, memory, store, list };
}

function differences(a: Uint8Array, b: Uint8Array): number[] {
  return [...a.keys()].filter((i) => a[i] !== b[i]);
}

async function classOf(promise: Promise<unknown>) {
  return promise.then(
    () => 'fulfilled',
    (error) => storeErrorClass(error) ?? error,
  );
}

describe('rules', () => {
  it('choose by operation, path and number of the call', async () => {
    const { store } = await setUp(
      { op: 'get', path: 'wal/1', nth: 2, action: 'fail-before' },
      { op: 'head', path: /^wal\//, action: 'throttle' },
    );
    expect(await classOf(store.get('wal/1'))).toBe('fulfilled');
    expect(await classOf(store.get('wal/2'))).toBe('fulfilled');
    expect(await classOf(store.get('wal/1'))).toBe('unavailable');
    expect(await classOf(store.get('wal/1'))).toBe('fulfilled');
    expect(await classOf(store.head('wal/2'))).toBe('throttled');
    expect(await classOf(store.head('manifest/1'))).toBe('fulfilled');
    expect(store.fired()).toEqual({ 'fail-before': 1, throttle: 1 });
    store.enabled = false;
    expect(await classOf(store.head('wal/2'))).toBe('fulfilled');
    store.enabled = true;
    store.clear();
    expect(await classOf(store.head('wal/2'))).toBe('fulfilled');
  });

  it('by chance replay from their seed', async () => {
    const trace = async () => {
      const { store } = await setUp({ action: 'fail-before', probability: 0.3 });
      const seen: string[] = [];
      for (let i = 0; i < 200; i++) seen.push(String(await classOf(store.head('wal/1'))));
      return seen;
    };
    const first = await trace();
    expect(await trace()).toEqual(first);
    const failed = first.filter((outcome) => outcome === 'unavailable').length;
    expect(failed).toBeGreaterThan(30);
    expect(failed).toBeLessThan(90);
  });

  it('that make no sense are refused', () => {
    const make = (rule: FaultRule) => () => new FaultyStore(new MemoryStore(), { rules: [rule] });
    const isRefusal = expect.objectContaining({ code: 'BAD_ARGUMENT' });
    expect(make({ op: 'list', action: 'flip' })).toThrow(isRefusal);
    expect(make({ op: 'get', action: 'delay-apply' })).toThrow(isRefusal);
    expect(make({ action: 'swap' })).toThrow(isRefusal);
    expect(make({ action: 'no-such' as never })).toThrow(isRefusal);
  });
});

describe('puts', () => {
  const put = (store: FaultyStore) => store.put('wal/9', BODY, CREATE);

  it('apply-then-drop applies, status:500 does not; both are unknown', async () => {
    const lost = await setUp({ op: 'put', action: 'apply-then-drop' });
    expect((await put(lost.store)).outcome).toBe('unknown');
    expect((await lost.memory.get('wal/9'))?.bytes).toEqual(BODY);
    const failed = await setUp({ op: 'put', action: 'status:500' });
    expect((await put(failed.store)).outcome).toBe('unknown');
    expect(await failed.memory.get('wal/9')).toBeUndefined();
  });

  it('delay-apply is carried out by time, or when asked', async () => {
    const byTime = await setUp({ op: 'put', action: 'delay-apply', delayMs: 500 });
    expect((await put(byTime.store)).outcome).toBe('unknown');
    await byTime.clock.advance(499);
    expect(await byTime.memory.get('wal/9')).toBeUndefined();
    await byTime.clock.advance(1);
    expect((await byTime.memory.get('wal/9'))?.size).toBe(100);
    const delayed = await setUp({ op: 'put', action: 'delay-apply' });
    const body = new Uint8Array(BODY);
    await delayed.store.put('wal/9', body, CREATE);
    body.fill(0);
    await delayed.store.applyDelayed();
    expect((await delayed.memory.get('wal/9'))?.bytes).toEqual(BODY);
    await delayed.memory.delete(['wal/9']);
    await delayed.clock.advance(5000);
    expect(await delayed.memory.get('wal/9')).toBeUndefined();
  });

  it('duplicate arrives twice and answers once', async () => {
    const { store } = await setUp({ op: 'put', action: 'duplicate' });
    expect(await put(store)).toMatchObject({ outcome: 'applied', etag: '"3"' });
  });

  it('damaged on the way are stored so; lost ones are answered as if stored', async () => {
    const flipped = await setUp({ op: 'put', action: 'flip', bit: 8 });
    const body = new Uint8Array(BODY);
    await flipped.store.put('wal/9', body, CREATE);
    expect(body).toEqual(BODY);
    expect((await flipped.memory.get('wal/9'))?.bytes[1]).toBe(0);
    const lost = await setUp({ op: 'put', action: 'delete' });
    expect((await put(lost.store)).outcome).toBe('applied');
    expect(await lost.memory.get('wal/9')).toBeUndefined();
  });

  it('stall until they are aborted', async () => {
    const { store, clock } = await setUp({ action: 'stall' });
    const controller = new AbortController();
    const { signal } = controller;
    const settled = Promise.all([store.put('a', BODY, { ...CREATE, signal }), classOf(store.get('a', { signal }))]);
    await clock.advance(1e6);
    controller.abort();
    expect(await settled).toMatchObject([{ outcome: 'unknown' }, 'cancelled']);
  });
});

describe('reads', () => {
  it('damage is the same for whole and ranged reads of an object', async () => {
    const rules: FaultRule[] = [
      { op: 'get', action: 'flip', bit: 83 },
      { op: 'get', action: 'burst', at: 10, length: 5 },
      { op: 'get', action: 'cut', at: 12 },
      { op: 'get', action: 'empty' },
      { op: 'get', action: 'swap', with: 'wal/2' },
    ];
    const found: [number, number[]][] = [];
    for (const rule of rules) {
      const { store, memory } = await setUp(rule);
      const whole = (await store.get('wal/1'))!;
      const part = (await store.get('wal/1', { range: { offset: 5, length: 10 } }))!;
      const tail = (await store.get('wal/1', { range: { suffix: 3 } }))!;
      expect(whole.size).toBe(whole.bytes.length);
      expect([part.size, tail.size]).toEqual([whole.size, whole.size]);
      if (rule.action !== 'burst') {
        expect(part.bytes).toEqual(whole.bytes.slice(5, 15));
        expect(tail.bytes).toEqual(whole.bytes.slice(Math.max(0, whole.size - 3)));
      }
      found.push([whole.size, whole.size < 100 ? [] : differences(whole.bytes, BODY)]);
      expect((await memory.get('wal/1'))?.bytes, 'the store below keeps its bytes').toEqual(BODY);
    }
    expect(found).toEqual([
      [100, [10]],
      [100, [10, 11, 12, 13, 14]],
      [12, []],
      [0, []],
      [50, []],
    ]);
  });

  it('a deleted object is absent, a short body is not a short object', async () => {
    const gone = await setUp({ path: 'wal/1', action: 'delete' });
    expect([await gone.store.get('wal/1'), await gone.store.head('wal/1')]).toEqual([undefined, undefined]);
    const short = await setUp({ op: 'get', action: 'short-body' });
    expect(await short.store.get('wal/1')).toMatchObject({ size: 100, bytes: BODY.slice(0, 99) });
  });

  it('heads agree with damaged reads', async () => {
    const { store } = await setUp({ path: 'wal/1', action: 'cut', at: 7 });
    expect((await store.head('wal/1'))?.size).toBe(7);
    expect((await store.get('wal/1'))?.size).toBe(7);
  });
});

describe('lists', () => {
  it('are wrong as asked', async () => {
    const stale = await setUp({ op: 'list', action: 'list-stale', count: 2 });
    for (const path of ['wal/3', 'wal/4', 'wal/5']) await stale.store.put(path, BODY, CREATE);
    expect(await stale.list()).toEqual(['wal/1', 'wal/2', 'wal/3']);
    expect(await (await setUp({ op: 'list', action: 'empty' })).list()).toEqual([]);
    expect(await (await setUp({ op: 'list', action: 'list-unordered' })).list()).toEqual(['wal/2', 'wal/1']);
    const { store } = await setUp({ op: 'list', action: 'list-loop' });
    const seen: string[] = [];
    for await (const { path } of store.list('')) if (seen.push(path) === 5) break;
    expect(seen).toEqual(['wal/1', 'wal/2', 'wal/1', 'wal/2', 'wal/1']);
  });

  it('break off', async () => {
    const { list } = await setUp({ op: 'list', action: 'apply-then-drop' });
    expect(await classOf(list())).toBe('unavailable');
  });
});

describe('deletes', () => {
  it('are dropped before or after, delayed or doubled', async () => {
    const outcomes = [];
    for (const action of ['fail-before', 'apply-then-drop', 'delay-apply', 'duplicate'] as const) {
      const { store, memory, clock } = await setUp({ op: 'delete', action });
      const answer = await classOf(store.delete(['wal/1', 'wal/2']));
      const there = (await memory.head('wal/1')) !== undefined;
      await clock.advance(2000);
      outcomes.push([action, answer, there, (await memory.head('wal/1')) !== undefined]);
    }
    expect(outcomes).toEqual([
      ['fail-before', 'unavailable', true, true],
      ['apply-then-drop', 'unavailable', false, false],
      ['delay-apply', 'unavailable', true, false],
      ['duplicate', 'fulfilled', false, false],
    ]);
  });
});
