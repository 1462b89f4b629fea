/**
 * Batches whose memory the memtable keeps: whatever the program does with such a batch afterwards, what was written stays
 * written, and what is written later is what was added.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { type Db, MemoryStore, type OpenOptions, open, WriteBatch } from '../../src/index.ts';
import { text } from '../support/database.ts';

const ROWS = 300;
const OPTIONS: OpenOptions = { logger: SILENT_LOGGER, flushIntervalMs: 1_000_000 };
const NOT_DURABLE = { awaitDurable: false };

let db: Db;
let store: MemoryStore;
let model: Map<string, string>;
beforeEach(async () => {
  store = new MemoryStore();
  db = await open({ store, path: 'db' }, OPTIONS);
  model = new Map();
  // The next batches expect the size of this one, so their memory fits.
  await db.write(filled('warm'), NOT_DURABLE);
  note('warm');
});

const keyOf = (i: number) => `key ${String(i).padStart(5, '0')}`;
const valueFor = (name: string, i: number) => `${name} ${i}`.padEnd(100, '.');

/** Rows that are not in the order of their keys. */
function filled(name: string, batch = new WriteBatch(), from = 0): WriteBatch {
  for (let i = from; i < from + ROWS; i++) batch.put(keyOf((i * 7) % 1000), valueFor(name, i));
  return batch;
}

function note(name: string, from = 0): void {
  for (let i = from; i < from + ROWS; i++) model.set(keyOf((i * 7) % 1000), valueFor(name, i));
}

async function rowsOf(database: Db): Promise<[string, string][]> {
  const rows: [string, string][] = [];
  for await (const { key, value } of database.scan()) rows.push([text(key)!, text(value)!]);
  return rows;
}

const modelRows = () => [...model].sort(([a], [b]) => (a < b ? -1 : 1));

/** From memory, from tables, and after the log was replayed. */
async function expectRows(): Promise<void> {
  expect(await rowsOf(db)).toEqual(modelRows());
  for (const [key, value] of model) expect(text(await db.get(key))).toBe(value);
  await db.flush();
  const copied = await copyOf(store);
  const replayed = await open({ store: copied, path: 'db' }, OPTIONS);
  expect(await rowsOf(replayed)).toEqual(modelRows());
  await replayed.close();
  await db.flush({ type: 'memtable' });
  expect(await rowsOf(db)).toEqual(modelRows());
}

async function copyOf(from: MemoryStore): Promise<MemoryStore> {
  const copy = new MemoryStore();
  for await (const { path } of from.list('')) {
    const got = (await from.get(path))!;
    await copy.put(path, got.bytes, { condition: 'any', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' });
  }
  return copy;
}

describe('a large batch', () => {
  it('is written', async () => {
    await db.write(filled('once'), NOT_DURABLE);
    note('once');
    await expectRows();
  });

  it('is written twice, with other writes between', async () => {
    const batch = filled('twice');
    await db.write(batch, NOT_DURABLE);
    await db.put(keyOf(7), 'between', NOT_DURABLE);
    await db.write(batch, NOT_DURABLE);
    note('twice');
    const seqs = new Set<bigint>();
    for await (const { seq } of db.scan()) seqs.add(seq);
    expect(seqs.size).toBe(1);
    await expectRows();
  });

  it('grows after it was written, and is written again', async () => {
    const batch = filled('grows');
    await db.write(batch, NOT_DURABLE);
    batch.put(keyOf(14), 'one more').delete(keyOf(21));
    note('grows');
    expect(await rowsOf(db)).toEqual(modelRows());
    await db.write(batch, NOT_DURABLE);
    model.set(keyOf(14), 'one more');
    model.delete(keyOf(21));
    expect(await rowsOf(db)).toEqual(modelRows());
    await db.write(filled('grows', batch, 50), NOT_DURABLE);
    note('grows');
    model.set(keyOf(14), 'one more');
    model.delete(keyOf(21));
    note('grows', 50);
    await expectRows();
  });

  it('is emptied after it was written, and filled with other rows', async () => {
    const batch = filled('first');
    await db.write(batch, NOT_DURABLE);
    note('first');
    for (const name of ['second', 'third']) {
      expect(batch.clear().length).toBe(0);
      filled(name, batch, 20);
      expect(await rowsOf(db)).toEqual(modelRows());
      await db.write(batch, NOT_DURABLE);
      note(name, 20);
    }
    await expectRows();
  });

  it('is written to two databases', async () => {
    const other = await open({ store: new MemoryStore(), path: 'db' }, OPTIONS);
    const batch = filled('both');
    await Promise.all([db.write(batch, NOT_DURABLE), other.write(batch, NOT_DURABLE)]);
    await other.put(keyOf(0), 'other', NOT_DURABLE);
    note('both');
    await expectRows();
    const warm = model;
    model = new Map();
    note('both');
    model.set(keyOf(0), 'other');
    expect(await rowsOf(other)).toEqual(modelRows());
    model = warm;
    await other.close();
  });

  it('whose rows expire is written with their times', async () => {
    const batch = filled('expires');
    await db.write(batch, { ...NOT_DURABLE, expireAtMs: 4_000_000_000_000 });
    note('expires');
    const row = await db.getWithMeta(keyOf(7));
    expect(row?.expireTs).toBe(4_000_000_000_000);
    const some = filled('some').put(keyOf(7), 'short', { expireAtMs: 4_000_000_000_001 });
    await db.write(some, NOT_DURABLE);
    note('some');
    model.set(keyOf(7), 'short');
    expect((await db.getWithMeta(keyOf(7)))?.expireTs).toBe(4_000_000_000_001);
    expect((await db.getWithMeta(keyOf(14)))?.expireTs).toBeUndefined();
    await expectRows();
  });

  it('names each key once, with its last operation', async () => {
    const batch = filled('earlier');
    filled('later', batch);
    for (let i = 0; i < 100; i++) batch.delete(keyOf((i * 7) % 1000));
    await db.write(batch, NOT_DURABLE);
    note('later');
    for (let i = 0; i < 100; i++) model.delete(keyOf((i * 7) % 1000));
    await db.write(batch, NOT_DURABLE);
    await expectRows();
  });
});
