/** Loops of awaited calls that are answered from memory: timers and I/O have their turn all the same, whatever the calls are made of. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Db, DbReader } from '../../src/index.ts';
import { MemoryStore, open, openReader, WriteBatch } from '../../src/index.ts';

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
];

/** Turns that the loop of calls left to others. */
async function turnsOf(call: (i: number) => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  for (let i = 0; i < CALLS; i++) await call(i);
  isOver = true;
  return turns;
}

describe('calls in a loop let others have their turn', () => {
  let inMemory: Db;
  let inTables: Db;
  let reader: DbReader;

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
