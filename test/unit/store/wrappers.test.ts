/** The store in memory and the wrappers for prefixes, counting and latency: what goes beyond the contract. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { latencyStore } from '../../../src/store/latency-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { meteredStore } from '../../../src/store/metered-store.ts';
import type { ObjectStore, PutOptions } from '../../../src/store/object-store.ts';
import { prefixedStore } from '../../../src/store/prefixed-store.ts';

const CREATE: PutOptions = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };

async function paths(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of store.list(prefix)) found.push(path);
  return found;
}

describe('MemoryStore', () => {
  it('lists objects that come and go during the list at most once and in order', async () => {
    const store = new MemoryStore();
    for (let i = 0; i < 2500; i++) await store.put(`wal/${String(i).padStart(5, '0')}`, new Uint8Array(1), CREATE);
    const seen: string[] = [];
    for await (const { path } of store.list('wal/')) {
      if (path === 'wal/00500') await store.delete(['wal/00999', 'wal/01000', 'wal/01500']);
      if (path === 'wal/00999') await store.put('wal/00999x', new Uint8Array(1), CREATE);
      seen.push(path);
    }
    expect(seen).toEqual([...new Set(seen)].sort());
    expect(seen).toContain('wal/02499');
    expect(seen).toContain('wal/00999x');
    expect(seen).not.toContain('wal/01500');
  });

  it('takes time from its clock', async () => {
    const clock = new ManualClock(1_600_000_000_000);
    const store = new MemoryStore({ clock, name: 'memory:test' });
    await store.put('a', new Uint8Array(1), CREATE);
    await clock.advance(5000);
    expect(await store.head('a')).toMatchObject({ lastModifiedMs: 1_600_000_000_000, storeTimeMs: 1_600_000_005_000 });
    expect(store.name).toBe('memory:test');
  });
});

describe('prefixedStore', () => {
  it('keeps to its folder', async () => {
    const store = new MemoryStore();
    const one = prefixedStore(store, 'db/one');
    await one.put('wal/1', new Uint8Array(1), CREATE);
    await store.put('db/one-more', new Uint8Array(1), CREATE);
    expect(await paths(store, '')).toEqual(['db/one-more', 'db/one/wal/1']);
    expect(await paths(one, '')).toEqual(['wal/1']);
    expect(one.name).toBe('memory:/db/one');
    expect(one.conformance).toBe('known');
  });

  it('without a prefix is the store itself', () => {
    const store = new MemoryStore();
    expect(prefixedStore(store, '')).toBe(store);
    expect(prefixedStore(store, '//')).toBe(store);
  });

  it('refuses a prefix that leads out', () => {
    const make = () => prefixedStore(new MemoryStore(), 'a/../..');
    expect(make).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});

describe('meteredStore', () => {
  it('counts requests and bytes by role', async () => {
    const store = meteredStore(new MemoryStore(), (path) => path.split('/')[0]);
    await store.put('wal/1', new Uint8Array(100), CREATE);
    await store.put('wal/1', new Uint8Array(100), CREATE);
    await store.get('wal/1', { range: { offset: 90, length: 100 } });
    await store.get('manifest/1');
    await store.head('manifest/1');
    await paths(store, 'wal/');
    await store.delete(['wal/1', 'wal/2']);
    const { byRole, ...total } = store.counts();
    expect(total).toEqual({ get: 2, head: 1, put: 2, list: 1, delete: 1, bytesIn: 10, bytesOut: 200 });
    expect(byRole['wal']).toEqual({ get: 1, head: 0, put: 2, list: 1, delete: 1, bytesIn: 10, bytesOut: 200 });
    expect(byRole['manifest']).toEqual({ get: 1, head: 1, put: 0, list: 0, delete: 0, bytesIn: 0, bytesOut: 0 });
  });

  it('counts a request per 1,000 objects listed or deleted', async () => {
    const store = meteredStore(new MemoryStore(), () => 'any');
    const all = Array.from({ length: 1001 }, (_, i) => `x/${i}`);
    for (const path of all.slice(1)) await store.put(path, new Uint8Array(0), CREATE);
    await paths(store, 'x/');
    expect(store.counts().list).toBe(1);
    await store.put(all[0], new Uint8Array(0), CREATE);
    await paths(store, 'x/');
    expect(store.counts().list).toBe(3);
    await store.delete(all);
    expect(store.counts().delete).toBe(2);
    await store.delete([]);
    expect(store.counts().delete).toBe(2);
  });

  it('gives snapshots', async () => {
    const store = meteredStore(new MemoryStore(), () => 'any');
    await store.get('a');
    const before = store.counts();
    await store.get('a');
    expect(before.get).toBe(1);
    expect(before.byRole['any'].get).toBe(1);
  });
});

describe('latencyStore', () => {
  it('takes the time of a round trip and of the bytes', async () => {
    const clock = new ManualClock();
    const store = latencyStore(new MemoryStore({ clock }), { clock, latencyMs: { get: 10, put: 30 }, bytesPerMs: 100 });
    const timeOf = async (call: Promise<unknown>) => {
      const start = clock.monotonicMs();
      await clock.runUntilSettled(call);
      return clock.monotonicMs() - start;
    };
    expect(await timeOf(store.put('a', new Uint8Array(1000), CREATE))).toBe(40);
    expect(await timeOf(store.get('a'))).toBe(20);
    expect(await timeOf(store.get('a', { range: { offset: 0, length: 100 } }))).toBe(11);
    expect(await timeOf(store.head('a'))).toBe(0);
  });

  it('lets requests overlap, and carries them out half-way', async () => {
    const clock = new ManualClock();
    const inner = new MemoryStore({ clock });
    const store = latencyStore(inner, { clock, latencyMs: (op) => (op === 'put' ? 100 : 0) });
    const puts = Promise.all([1, 2, 3].map((i) => store.put(`a/${i}`, new Uint8Array(1), CREATE)));
    await clock.advance(49);
    expect(await paths(inner, '')).toEqual([]);
    await clock.advance(2);
    expect(await paths(inner, '')).toEqual(['a/1', 'a/2', 'a/3']);
    await clock.advance(49);
    expect((await puts).map((o) => o.outcome)).toEqual(['applied', 'applied', 'applied']);
    expect(clock.monotonicMs()).toBe(100);
  });

  it('an abort on the way there cancels a put, on the way back it loses the answer', async () => {
    const clock = new ManualClock();
    const inner = new MemoryStore({ clock });
    const store = latencyStore(inner, { clock, latencyMs: 100 });
    const abortedAfter = async (ms: number, path: string) => {
      const controller = new AbortController();
      const put = store.put(path, new Uint8Array(1), { ...CREATE, signal: controller.signal });
      const settled = put.then(
        (outcome) => outcome.outcome,
        (error) => error.code,
      );
      await clock.advance(ms);
      controller.abort();
      return settled;
    };
    expect(await abortedAfter(10, 'there')).toBe('ABORTED');
    expect(await abortedAfter(60, 'back')).toBe('unknown');
    expect(await paths(inner, '')).toEqual(['back']);
  });
});
