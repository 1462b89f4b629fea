/**
 * A signal ends the wait of every call that takes one, at once and with its reason, while the store does not answer; what others
 * wait for goes on. And nothing of a handle that was refused or closed asks the store any more.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { ignoreRejection } from '../../src/common/async.ts';
import { AbortError } from '../../src/common/errors.ts';
import { type Db, type Reader, WriteBatch } from '../../src/index.ts';
import { damageList } from '../../src/tools/damage-list.ts';
import { manifestInspect } from '../../src/tools/manifest-inspect.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { rejection, text, World } from '../support/database.ts';

const REASON = new Error('the user has gone');

/** Turns of the event loop, without any time passing. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Makes the call on a store that answers nothing, aborts it, and expects the rejection before any time passes. */
async function expectAborted(world: World, call: (signal: AbortSignal) => Promise<unknown>): Promise<AbortError> {
  const controller = new AbortController();
  let outcome: { error?: unknown; value?: unknown } | undefined;
  call(controller.signal).then(
    (value) => {
      outcome = { value };
    },
    (error: unknown) => {
      outcome = { error };
    },
  );
  await turns();
  expect(outcome).toBeUndefined();
  const atMs = world.clock.monotonicMs();
  controller.abort(REASON);
  await turns();
  expect(outcome?.error).toBeInstanceOf(AbortError);
  expect(world.clock.monotonicMs()).toBe(atMs);
  const error = outcome?.error as AbortError;
  expect(error.cause).toBe(REASON);
  return error;
}

async function stored(): Promise<World> {
  const world = new World();
  const db = await world.open();
  for (let i = 0; i < 500; i++) void db.put(`k${String(i).padStart(3, '0')}`, 'v'.repeat(100), { awaitDurable: false });
  await world.run(db.close());
  return world;
}

type Reading = Pick<Reader, 'get' | 'has' | 'getMany' | 'getWithMeta' | 'scan'>;

const READS: [string, (db: Reading, signal: AbortSignal) => Promise<unknown>][] = [
  ['get', (db, signal) => db.get('k005', { signal })],
  ['has', (db, signal) => db.has('k005', { signal })],
  ['getMany', (db, signal) => db.getMany(['k005', 'k006'], { signal })],
  ['getWithMeta', (db, signal) => db.getWithMeta('k005', { signal })],
  ['a strict get', (db, signal) => db.get('k005', { signal, corruptionPolicy: 'strict' })],
  ['scan().next', (db, signal) => db.scan({ signal }).next()],
  ['scan().nextBatch', (db, signal) => db.scan({ signal }).nextBatch(10)],
  ['scan in reverse', (db, signal) => db.scan({ signal, reverse: true }).next()],
  [
    'a scan after a seek',
    async (db, signal) => {
      const scan = db.scan({ signal });
      await scan.seek('k300');
      return scan.next();
    },
  ],
];

describe('the signal of a read ends its wait', () => {
  let world: World;
  beforeEach(async () => {
    world = await stored();
  });

  it.each(READS)('%s of a reader', async (_, read) => {
    const reader = await world.openReader();
    world.faults.add({ action: 'stall', op: 'get' });
    await expectAborted(world, (signal) => read(reader, signal));
  });

  it.each(READS)('%s of a snapshot', async (_, read) => {
    const db = await world.open();
    const snapshot = db.snapshot();
    world.faults.add({ action: 'stall', op: 'get' });
    await expectAborted(world, (signal) => read(snapshot, signal));
  });

  it('and leaves another read of the same block its fetch', async () => {
    const reader = await world.openReader();
    await world.run(reader.get('k400'));
    world.faults.add({ action: 'stall', op: 'get', nth: 1 });
    const controller = new AbortController();
    const aborted = rejection(reader.get('k005', { signal: controller.signal }));
    const other = reader.get('k006');
    await turns();
    controller.abort(REASON);
    expect((await aborted).name).toBe('AbortError');
    expect(text(await world.run(other))).toBe('v'.repeat(100));
  });
});

describe('the signal of a write', () => {
  it('that has aborted before refuses it, and has its reason for the cause', async () => {
    const world = new World();
    const db = await world.open();
    const options = { signal: AbortSignal.abort(REASON) };
    const writes = [
      () => db.put('k', 'v', options),
      () => db.delete('k', options),
      () => db.write(new WriteBatch().put('k', 'v'), options),
    ];
    for (const write of writes) {
      const refused = await rejection(write());
      expect(refused).toMatchObject({ name: 'AbortError', outcome: 'not-applied' });
      expect(refused.cause).toBe(REASON);
    }
    expect(await world.run(db.get('k'))).toBeUndefined();
  });

  it('ends the wait for admission', async () => {
    const world = new World();
    const db = await world.open({ memoryBytes: 8 << 20, l0SstSizeBytes: 1 << 20, maxUnflushedBytes: 2 << 20 });
    world.faults.add({ action: 'stall', op: 'put' });
    for (let i = 0; i < 4; i++) ignoreRejection(db.put(`k${i}`, new Uint8Array(1 << 20)));
    expect(await expectAborted(world, (signal) => db.put('k', 'v', { signal }))).toMatchObject({
      outcome: 'not-applied',
    });
    world.faults.clear();
  });

  it('ends the wait for durability', async () => {
    const world = new World();
    const db = await world.open();
    world.faults.add({ action: 'stall', op: 'put' });
    expect(await expectAborted(world, (signal) => db.put('k', 'v', { signal }))).toMatchObject({ outcome: 'unknown' });
    world.faults.clear();
  });
});

describe('the signal of other calls ends their wait', () => {
  it('reader.refresh, and one that others wait for goes on', async () => {
    const world = await stored();
    const reader = await world.openReader();
    world.faults.add({ action: 'stall', op: 'list' });
    const other = reader.refresh();
    await expectAborted(world, (signal) => reader.refresh({ signal }));
    world.faults.clear();
    await world.run(other);
  });

  it.each(['wal', 'memtable'] as const)('flush to %s, and the rows become durable all the same', async (type) => {
    const world = await stored();
    const db = await world.open();
    void db.put('late', '1', { awaitDurable: false });
    world.faults.add({ action: 'stall', op: 'put' });
    expect(await expectAborted(world, (signal) => db.flush({ type, signal }))).toMatchObject({ outcome: 'unknown' });
    world.faults.clear();
    await world.run(db.flush({ type }));
    await world.run(db.close());
    expect(text(await world.run((await world.openReader()).get('late')))).toBe('1');
  });

  it('close, which goes on', async () => {
    const world = await stored();
    const db = await world.open();
    void db.put('late', '1', { awaitDurable: false });
    world.faults.add({ action: 'stall', op: 'put' });
    await expectAborted(world, (signal) => db.close({ signal }));
    world.faults.clear();
    await world.run(db.close());
    expect(text(await world.run((await world.openReader()).get('late')))).toBe('1');
  });

  it.each(['list', 'get', 'put'] as const)('open at a %s, and nothing of it goes on', async (op) => {
    const world = await stored();
    const line = world.line();
    world.faults.add({ action: 'stall', op });
    await expectAborted(world, (signal) => world.opening({ signal }, line));
    const sent = line.requests.length;
    world.faults.clear();
    await world.clock.advance(120_000);
    expect(line.requests.length).toBe(sent);
    await world.run((await world.open()).close());
  });

  it('openReader', async () => {
    const world = await stored();
    world.faults.add({ action: 'stall', op: 'list' });
    await expectAborted(world, (signal) => world.openReader({ signal }));
  });

  it('open and openReader with a signal that is aborted already make no request', async () => {
    const world = await stored();
    const line = world.line();
    const signal = AbortSignal.abort(REASON);
    expect(await rejection(world.opening({ signal }, line))).toMatchObject({ name: 'AbortError', cause: REASON });
    expect(await rejection(world.openReader({ signal }, line))).toMatchObject({ name: 'AbortError', cause: REASON });
    expect(line.requests).toEqual([]);
  });

  it('a handle that was opened does not end with the signal of its opening', async () => {
    const world = await stored();
    const controller = new AbortController();
    const db = await world.open({ signal: controller.signal });
    controller.abort();
    await world.run(db.put('a', '1'));
    expect(text(await world.run(db.get('k005')))).toBe('v'.repeat(100));
    await world.run(db.close());
  });

  const first = async (all: AsyncIterable<unknown>) => {
    for await (const one of all) return one;
    return undefined;
  };
  const TOOLS: [string, (world: World, signal: AbortSignal) => Promise<unknown>][] = [
    ['verify', (w, signal) => verify(at(w), { ...own(w), signal })],
    ['sstCheck', (w, signal) => first(sstCheck(at(w), { ...own(w), signal }))],
    ['walInspect', (w, signal) => first(walInspect(at(w), { ...own(w), signal }))],
    ['walRepair', (w, signal) => walRepair(at(w), { ...own(w), signal })],
    ['manifestInspect', (w, signal) => manifestInspect(at(w), undefined, { ...own(w), signal })],
    ['damageList', (w, signal) => damageList(at(w), { ...own(w), signal })],
  ];
  const at = (w: World) => ({ store: w.faults, path: '' });
  const own = ({ clock }: World) => ({ clock });

  it.each(TOOLS)('%s', async (_, tool) => {
    const world = await stored();
    world.faults.add({ action: 'stall', op: 'list' });
    await expectAborted(world, (signal) => tool(world, signal));
  });
});

describe('nothing asks the store any more', () => {
  /** Requests that are sent in the two minutes after. */
  async function later(world: World, line: { requests: unknown[] }): Promise<number> {
    await turns();
    const sent = line.requests.length;
    await world.clock.advance(120_000);
    return line.requests.length - sent;
  }

  it('after an opening that was refused while other requests failed', async () => {
    const world = await stored();
    const line = world.line();
    world.faults.add({ action: 'status:503', op: 'head' });
    world.faults.add({ action: 'status:403', op: 'get' });
    expect(await world.run(rejection(world.opening({}, line)))).toMatchObject({ name: 'InvalidArgumentError' });
    expect(await later(world, line)).toBe(0);
  });

  it('after a close that ran out of time', async () => {
    const world = await stored();
    const { db, line } = await world.connect({ closeTimeoutMs: 500 });
    void db.put('late', '1', { awaitDurable: false });
    world.faults.add({ action: 'fail-before', op: 'put' });
    expect(await world.run(rejection(db.close()))).toMatchObject({ code: 'DEADLINE' });
    expect(await later(world, line)).toBe(0);
  });

  it.each<[string, (world: World) => Promise<{ handle: Db | Reader; line: { requests: unknown[] } }>]>([
    [
      'database',
      async (world) => {
        const { db, line } = await world.connect();
        return { handle: db, line };
      },
    ],
    [
      'reader',
      async (world) => {
        const line = world.line();
        return { handle: await world.openReader({}, line), line };
      },
    ],
  ])('after a %s was closed under a read, which says so', async (_, opened) => {
    const world = await stored();
    const { handle, line } = await opened(world);
    world.faults.add({ action: 'fail-before', op: 'get' });
    const reads = [rejection(handle.get('k005')), rejection(handle.scan().next())];
    await turns();
    await world.run(handle.close());
    for (const error of await world.run(Promise.all(reads))) {
      expect(error).toMatchObject({ name: 'ClosedError', code: 'CLOSED' });
    }
    expect(await later(world, line)).toBe(0);
  });
});
