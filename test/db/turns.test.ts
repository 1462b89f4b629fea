/** Loops of awaited calls that are answered from memory: timers and I/O have their turn all the same, whatever the calls are made of. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { ClosedError } from '../../src/common/errors.ts';
import { recoveringDb } from '../../src/db/recovering-db.ts';
import type { Db, Reader, ScanIterator, Snapshot } from '../../src/index.ts';
import { MemoryStore, open, openReader, WriteBatch } from '../../src/index.ts';
import { databaseStores } from '../../src/lsm/manifest/database-stores.ts';

/** More than answers of one turn, and few enough to be made in a moment. */
const CALLS = 2000;

type Call = (db: Db, i: number) => Promise<unknown>;

const CALLS_OF: [string, Call][] = [
  ['get', (db) => db.get('k1')],
  ['get of nothing', (db) => db.get('none')],
  ['has', (db) => db.has('k1')],
  ['getWithMeta', (db) => db.getWithMeta('k1')],
  ['a get with a merge', (db) => db.get('merged')],
  ['getMany', (db) => db.getMany(['k1', 'k2'])],
  ['getMany of nothing', (db) => db.getMany([])],
  ['a scan of one row', (db) => db.scan({ limit: 1 }).next()],
  ['a scan of nothing', (db) => db.scan({ prefix: 'none' }).next()],
  ['a batch of a scan', (db) => db.scan().nextBatch(2)],
  ['a scan with a seek', (db) => db.scan().seek('k2')],
  [
    'a snapshot each',
    async (db) => {
      const snapshot = db.snapshot();
      await snapshot.get('k1');
      await snapshot.close();
    },
  ],
  [
    'a snapshot each, whose close nobody awaits',
    async (db) => {
      const snapshot = db.snapshot();
      await snapshot.get('k1');
      void snapshot.close();
    },
  ],
  [
    'a write that nobody awaits before a get',
    async (db) => {
      void db.put('w', 'v', { awaitDurable: false });
      await db.get('k1');
    },
  ],
  ['a snapshot without a read', (db) => db.snapshot().close()],
  ['a flush of nothing', (db) => db.flush()],
  ['a write that nobody awaits', (db, i) => db.put(`w${i % 10}`, 'v', { awaitDurable: false })],
  ['an empty batch', (db) => db.write(new WriteBatch())],
  ['a size estimate', (db) => db.estimateSize()],
  ['ready', (db) => db.ready()],
  ['a closed scan', (db) => db.scan().close()],
  ['an ended scan', (db) => db.scan().return()],
];

/** Turns that the loop of calls left to others. */
async function turnsOf(call: (i: number) => Promise<unknown>, calls = CALLS): Promise<number> {
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  for (let i = 0; i < calls; i++) await call(i);
  isOver = true;
  return turns;
}

describe('calls in a loop let others have their turn', () => {
  let inMemory: Db;
  let inTables: Db;
  let reader: Reader;

  async function filled(): Promise<{ db: Db; store: MemoryStore }> {
    const store = new MemoryStore();
    const mergeOperator = { merge: (_k: unknown, _e: unknown, operand: Uint8Array) => operand };
    const db = await open({ store, path: '' }, { mergeOperator, flushIntervalMs: 3_600_000 });
    for (const key of ['k1', 'k2', 'k3']) await db.put(key, 'v', { awaitDurable: false });
    await db.merge('merged', 'v', { awaitDurable: false });
    await db.flush();
    return { db, store };
  }

  beforeAll(async () => {
    inMemory = (await filled()).db;
    const { db, store } = await filled();
    inTables = db;
    await db.flush({ type: 'memtable' });
    const mergeOperator = { merge: (_k: unknown, _e: unknown, operand: Uint8Array) => operand };
    reader = await openReader({ store, path: '' }, { mergeOperator });
    for (const warm of [inTables, reader]) for await (const _ of warm.scan());
  });

  it.each(CALLS_OF)('%s, in memory', async (_, call) => {
    expect(await turnsOf((i) => call(inMemory, i))).toBeGreaterThanOrEqual(3);
  });

  it.each(CALLS_OF)('%s, in tables that are cached', async (_, call) => {
    expect(await turnsOf((i) => call(inTables, i))).toBeGreaterThanOrEqual(3);
  });

  it.each(CALLS_OF.slice(0, 11))('%s, of a reader', async (_, call) => {
    expect(await turnsOf((i) => call(reader as unknown as Db, i))).toBeGreaterThanOrEqual(3);
  });

  it('a getMany of many keys counts each', async () => {
    const keys = Array.from({ length: 512 }, () => 'k1');
    let turns = 0;
    const count = () => {
      turns++;
      if (turns < 100) setImmediate(count);
    };
    setImmediate(count);
    for (let i = 0; i < 10; i++) await inMemory.getMany(keys);
    expect(turns).toBeGreaterThanOrEqual(9);
  });
});

/** Fewer than calls that are answered: an error is expensive. */
const REFUSED_CALLS = 200;

const ABORTED = AbortSignal.abort();
const BAD = { noSuchOption: 1 } as never;
const KEYS = ['k1'];

type Handle = Pick<Db, 'get' | 'getMany' | 'has' | 'getWithMeta' | 'scan'>;

const REFUSED_READS: Record<string, (h: Handle) => Promise<unknown>> = {
  'get, option': (h) => h.get('k1', BAD),
  'get, key': (h) => h.get(5 as never),
  'get, signal': (h) => h.get('k1', { signal: ABORTED }),
  'getMany, option': (h) => h.getMany(KEYS, BAD),
  'getMany, keys': (h) => h.getMany(5 as never),
  'getMany, signal': (h) => h.getMany(KEYS, { signal: ABORTED }),
  'has, option': (h) => h.has('k1', BAD),
  'has, signal': (h) => h.has('k1', { signal: ABORTED }),
  'getWithMeta, option': (h) => h.getWithMeta('k1', BAD),
  'getWithMeta, signal': (h) => h.getWithMeta('k1', { signal: ABORTED }),
  'getWithMeta, aborted on its way': (h) => {
    const controller = new AbortController();
    const call = h.getWithMeta('k1', { signal: controller.signal });
    controller.abort();
    return call;
  },
  'scan, option': (h) => h.scan(BAD).next(),
  'scan, signal': (h) => h.scan({ signal: ABORTED }).next(),
  'batch of a scan, option': (h) => h.scan(BAD).nextBatch(2),
  'batch of a scan, count': (h) => h.scan().nextBatch(0),
  'seek of a scan, key': (h) => h.scan().seek(5 as never),
  'seek of a scan, range': (h) => h.scan({ prefix: 'x' }).seek('k1'),
  'resume of a scan': (h) => h.scan().resume('include'),
};

function waited(call: (options: { signal: AbortSignal }) => Promise<unknown>): Promise<unknown> {
  const controller = new AbortController();
  const promise = call({ signal: controller.signal });
  controller.abort();
  return promise;
}

const REFUSED_WRITES: Record<string, (db: Db) => Promise<unknown>> = {
  'put, option': (db) => db.put('k', 'v', BAD),
  'put, key': (db) => db.put(5 as never, 'v'),
  'put, signal': (db) => db.put('k', 'v', { signal: ABORTED }),
  'put, wait': (db) => waited((o) => db.put('k', 'v', o)),
  'delete, option': (db) => db.delete('k', BAD),
  'delete, signal': (db) => db.delete('k', { signal: ABORTED }),
  'merge, option': (db) => db.merge('k', 'v', BAD),
  'merge, signal': (db) => db.merge('k', 'v', { signal: ABORTED }),
  'write, option': (db) => db.write(new WriteBatch().put('k', 'v'), BAD),
  'write, batch': (db) => db.write(5 as never),
  'write, signal': (db) => db.write(new WriteBatch().put('k', 'v'), { signal: ABORTED }),
  'flush, option': (db) => db.flush(BAD),
  'flush, signal': (db) => db.flush({ signal: ABORTED }),
  'flush, wait': (db) => waited((o) => db.flush(o)),
  'compact, option': (db) => db.compact(BAD),
  'compact, signal': (db) => db.compact({ signal: ABORTED }),
  'compact, wait': (db) => waited((o) => db.compact(o)),
  'estimateSize, option': (db) => db.estimateSize(BAD),
  'put, condition': (db) => db.put('k1', 'v', { ifAbsent: true }),
  'touch, option': (db) => db.touch('k', BAD),
  'touch, signal': (db) => db.touch('k', { ttlMs: 1, signal: ABORTED }),
  'deleteRange, option': (db) => db.deleteRange({ prefix: 'x' }, BAD),
  'deleteRange, range': (db) => db.deleteRange({}),
  'deleteRange, signal': (db) => db.deleteRange({ prefix: 'x' }, { signal: ABORTED }),
  'clear, option': (db) => db.clear(BAD),
  'clear, signal': (db) => db.clear({ signal: ABORTED }),
  'close, option': (db) => db.close(BAD),
};

const OF_A_CLOSED_READ: Record<string, (h: Handle) => Promise<unknown>> = {
  get: (h) => h.get('k1'),
  getMany: (h) => h.getMany(KEYS),
  has: (h) => h.has('k1'),
  getWithMeta: (h) => h.getWithMeta('k1'),
  scan: (h) => h.scan().next(),
  'batch of a scan': (h) => h.scan().nextBatch(1),
  'seek of a scan': (h) => h.scan().seek('k1'),
  'resume of a scan': (h) => h.scan().resume('include'),
};

const OF_A_CLOSED_DB: Record<string, (db: Db) => Promise<unknown>> = {
  ...OF_A_CLOSED_READ,
  put: (db) => db.put('k', 'v'),
  delete: (db) => db.delete('k'),
  merge: (db) => db.merge('k', 'v'),
  write: (db) => db.write(new WriteBatch().put('k', 'v')),
  flush: (db) => db.flush(),
  compact: (db) => db.compact(),
  estimateSize: (db) => db.estimateSize(),
  touch: (db) => db.touch('k1', { ttlMs: 1 }),
  deleteRange: (db) => db.deleteRange({ prefix: 'x' }),
  clear: (db) => db.clear(),
};

async function refused(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(Error);
}

async function expectTurns(call: () => Promise<unknown>): Promise<void> {
  expect(await turnsOf(() => refused(call()), REFUSED_CALLS)).toBeGreaterThanOrEqual(3);
}

describe('calls that are refused in a loop let others have their turn, too', () => {
  const store = new MemoryStore();
  const location = { store, path: '' };
  const mergeOperator = { merge: (_k: unknown, _e: unknown, operand: Uint8Array) => operand };
  let db: Db;
  let closed: Db;
  let failing: Db;
  let reader: Reader;
  let closedReader: Reader;
  let snapshot: Snapshot;
  let closedSnapshot: Snapshot;
  let scan: ScanIterator;

  beforeAll(async () => {
    db = await open(location, { mergeOperator, flushIntervalMs: 3_600_000 });
    await db.put('k1', 'v', { awaitDurable: false });
    await db.flush();
    reader = await openReader(location);
    closedReader = await openReader(location);
    await closedReader.close();
    snapshot = db.snapshot();
    closedSnapshot = db.snapshot();
    await closedSnapshot.close();
    closed = await open({ store: new MemoryStore(), path: '' });
    await closed.close();
    const stores = databaseStores(
      { location, isRootAssumed: false },
      { clock: SYSTEM_CLOCK, random: { nextUint32: () => 1, fill: () => undefined }, timeoutMs: 1000 },
    );
    failing = recoveringDb(Promise.reject(new ClosedError('CLOSED', 'never came up')), stores, SYSTEM_CLOCK, 1000);
    scan = failing.scan();
  });
  afterAll(() => db.close());

  it.each(Object.entries(REFUSED_WRITES))('%s', (_, call) => expectTurns(() => call(db)));
  it.each(Object.entries(REFUSED_READS))('%s', (_, call) => expectTurns(() => call(db)));
  it.each(Object.entries(REFUSED_READS))('%s, of a reader', (_, call) => expectTurns(() => call(reader)));
  it.each(Object.entries(REFUSED_READS))('%s, of a snapshot', (_, call) => expectTurns(() => call(snapshot)));
  it.each(Object.entries(OF_A_CLOSED_DB))('%s of a closed database', (_, call) => expectTurns(() => call(closed)));
  it.each(Object.entries(OF_A_CLOSED_READ))('%s of a closed reader', (_, call) =>
    expectTurns(() => call(closedReader)),
  );
  it.each(Object.entries(OF_A_CLOSED_READ))('%s of a closed snapshot', (_, call) =>
    expectTurns(() => call(closedSnapshot)),
  );
  it.each(Object.entries(OF_A_CLOSED_DB))('%s of one that never came up', (_, call) =>
    expectTurns(() => call(failing)),
  );
  it.each<[string, () => Promise<unknown>]>([
    ['refresh, option', () => reader.refresh(BAD)],
    ['refresh, signal', () => reader.refresh({ signal: ABORTED })],
    ['refresh, wait', () => waited((o) => reader.refresh(o))],
    ['refresh of a closed reader', () => closedReader.refresh()],
    ['close of a reader, option', () => reader.close(BAD)],
    ['ready of one that never came up', () => failing.ready()],
    ['next of a scan of one that never came up', () => scan.next()],
    ['close of one that never came up, option', () => failing.close(BAD)],
  ])('%s', (_, call) => expectTurns(call));

  it.each<[string, () => Promise<unknown>]>([
    ['a database', () => closed.close()],
    ['a reader', () => closedReader.close()],
    ['a snapshot', () => closedSnapshot.close()],
    ['one that never came up', () => failing.close()],
  ])('so does a close again and again of %s', async (_, call) => {
    expect(await turnsOf(call)).toBeGreaterThanOrEqual(3);
  });

  it('a timer runs while calls are refused forever', async () => {
    let isOver = false;
    setTimeout(() => {
      isOver = true;
    }, 0);
    let calls = 0;
    for (; !isOver && calls < 1_000_000; calls++) await refused(db.put('k', 'v', BAD));
    expect(isOver).toBe(true);
  });

  it('every asynchronous method is tried', () => {
    const readings = ['corruptions', 'upkeep', 'requestCounts', 'metrics'];
    const atOnce = ['constructor', 'path', 'store', 'scan', 'snapshot', ...readings];
    const tried = [...Object.keys(REFUSED_WRITES), ...Object.keys(REFUSED_READS), 'ready', ...atOnce];
    const names = Object.getOwnPropertyNames(Object.getPrototypeOf(db)).filter(
      (name) => !tried.some((t) => t.split(/[ ,]/)[0] === name),
    );
    expect(names).toEqual([]);
  });
});
