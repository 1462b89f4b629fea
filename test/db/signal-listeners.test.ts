/** One signal for a whole program: no call leaves a listener on it once it is settled, however it ended. */
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { LocalStore, WriteBatch } from '../../src/index.ts';
import { rejection, World } from '../support/database.ts';

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

describe('a signal given to many calls', () => {
  let world: World;
  let db: Db;
  let controller: AbortController;
  let signal: AbortSignal;
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);

  beforeEach(async () => {
    world = new World();
    db = await world.open({ writeTimeoutMs: 2000, timeoutMs: 2000, l0SstSizeBytes: 4096, maxUnflushedBytes: 200_000 });
    controller = new AbortController();
    signal = controller.signal;
    warnings.length = 0;
    process.on('warning', onWarning);
  });
  afterEach(() => process.removeListener('warning', onWarning));

  it('has no listener left after writes that became durable', async () => {
    const writes = Array.from({ length: 50 }, (_, i) => db.put(`k${i}`, 'v', { signal }));
    expect(listeners(signal)).toBe(1);
    await world.run(Promise.all(writes));
    expect(listeners(signal)).toBe(0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });

  it('has none left after a write whose time was up', async () => {
    world.faults.add({ action: 'stall', op: 'put' });
    await rejection(world.run(db.put('a', 'v', { signal })));
    expect(listeners(signal)).toBe(0);
  });

  it('has none left after a write that was not admitted, or was', async () => {
    world.faults.add({ action: 'stall', op: 'put' });
    const large = new Uint8Array(150_000);
    const first = rejection(db.put('a', large, { signal }));
    const late = rejection(db.put('b', large, { signal }));
    const admitted = db.put('c', large, { signal }).catch(() => undefined);
    await world.run(first);
    await world.run(late);
    world.faults.clear();
    await world.run(admitted);
    expect(listeners(signal)).toBe(0);
  });

  it('has none left after writes that a close or an abort ended', async () => {
    world.faults.add({ action: 'stall', op: 'put' });
    const large = new Uint8Array(150_000);
    const ended = [db.put('a', large, { signal }), db.put('b', large, { signal })].map(rejection);
    await world.run(db.close().catch(() => undefined));
    await world.run(Promise.all(ended));
    expect(listeners(signal)).toBe(0);
    world.faults.clear();
    const again = await world.open();
    const aborted = rejection(again.put('a', 'v', { signal }));
    controller.abort();
    expect((await aborted).name).toBe('AbortError');
    expect(listeners(signal)).toBe(0);
  });

  it('has none left after reads from memory, from tables and from a store in trouble', async () => {
    for (let i = 0; i < 100; i++) void db.put(`k${i}`, 'v'.repeat(100), { awaitDurable: false });
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    const reader = await world.openReader({ timeoutMs: 2000 });
    const all = async () => {
      await reader.get('k1', { signal });
      await reader.getMany(['k2', 'k3'], { signal });
      await reader.getWithMeta('k4', { signal });
      for await (const _ of reader.scan({ signal })) break;
    };
    await world.run(all());
    await world.run(all());
    expect(listeners(signal)).toBe(0);
    const cold = await world.openReader({ timeoutMs: 2000 });
    world.faults.add({ action: 'fail-before', op: 'get' });
    await world.run(rejection(cold.get('k1', { signal })));
    expect(listeners(signal)).toBe(0);
  });
});

it('a store that was asked with a signal has left it when it answers', async () => {
  const { signal } = new AbortController();
  const store = new LocalStore('/nonexistent-directory');
  await store.get('a', { signal });
  for await (const _ of store.list('a/', { signal })) break;
  expect(listeners(signal)).toBe(0);
});

describe('a signal that throws when it is listened to', () => {
  const cause = new Error('from the signal');
  function deaf(): AbortSignal {
    const { signal } = new AbortController();
    signal.addEventListener = () => {
      throw cause;
    };
    return signal;
  }
  const refused = { name: 'InvalidArgumentError', code: 'BAD_OPTION', cause };

  it('refuses a write with nothing applied, also one that would wait for memory', async () => {
    const world = new World();
    const db = await world.open({ l0SstSizeBytes: 4096, maxUnflushedBytes: 200_000 });
    for (const awaitDurable of [true, false])
      expect(await rejection(db.put('a', 'v', { signal: deaf(), awaitDurable }))).toMatchObject(refused);
    expect(await rejection(db.write(new WriteBatch().put('a', 'v'), { signal: deaf() }))).toMatchObject(refused);
    world.faults.add({ action: 'stall', op: 'put' });
    const large = new Uint8Array(150_000);
    const first = db.put('large', large).catch(() => undefined);
    expect(await rejection(db.put('a', large, { signal: deaf() }))).toMatchObject(refused);
    world.faults.clear();
    await world.run(first);
    expect(await world.run(db.get('a'))).toBeUndefined();
    // Nothing remembers the signal as one that is listened to.
    const signal = deaf();
    for (let i = 0; i < 2; i++) expect(await rejection(db.put('a', 'v', { signal }))).toMatchObject(refused);
  });

  it('refuses reads, too', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    expect(await rejection(world.run(db.get('a', { signal: deaf() })))).toMatchObject(refused);
    expect(await rejection(world.run(db.flush({ signal: deaf() })))).toMatchObject(refused);
  });

  it('or when the listener is taken back, reaches no write', async () => {
    const world = new World();
    const db = await world.open();
    const { signal } = new AbortController();
    signal.removeEventListener = () => {
      throw cause;
    };
    const writes = [db.put('a', 'v', { signal }), db.put('b', 'v')];
    expect(await world.run(Promise.all(writes))).toHaveLength(2);
  });
});
