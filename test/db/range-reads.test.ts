/** Reads that are made of scans, on a database, a reader and a snapshot: keys, values, both ends, counts, pages and cursors. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Db, open, openReader, type Reads } from '../../src/index.ts';
import { rejection, text, World } from '../support/database.ts';

const KEYS = ['a/1', 'a/2', 'a/3', 'b/1', 'b/2', 'c'];

let world: World;
let db: Db;

beforeEach(async () => {
  world = new World();
  db = await world.open();
  for (const key of KEYS) await world.run(db.put(key, `value of ${key}`));
});

const SOURCES: readonly [string, () => Promise<Reads>][] = [
  ['a database', async () => db],
  ['a snapshot', async () => db.snapshot()],
  ['a reader', () => world.openReader()],
];

const texts = (all: readonly Uint8Array[]) => all.map((bytes) => text(bytes));

describe.each(SOURCES)('%s', (_, make) => {
  let reads: Reads;
  beforeEach(async () => {
    reads = await make();
  });

  it('gives keys or values alone, in both directions', async () => {
    expect(texts(await world.run(reads.keys({ prefix: 'a/' }).toArray()))).toEqual(['a/1', 'a/2', 'a/3']);
    expect(texts(await world.run(reads.values({ gte: 'b/2', reverse: true }).toArray()))).toEqual([
      'value of c',
      'value of b/2',
    ]);
    const keys = reads.keys();
    await world.run(keys.seek('b/2'));
    expect(texts(await world.run(keys.nextBatch(5)))).toEqual(['b/2', 'c']);
  });

  it('gives the first and the last row of a range', async () => {
    expect(text((await world.run(reads.first()))?.key)).toBe('a/1');
    expect(text((await world.run(reads.last()))?.value)).toBe('value of c');
    expect(text((await world.run(reads.first({ prefix: 'b/', gt: 'b/1' })))?.key)).toBe('b/2');
    expect(text((await world.run(reads.last({ prefix: 'a/' })))?.key)).toBe('a/3');
    expect(await world.run(reads.first({ prefix: 'x' }))).toBeUndefined();
    expect(await world.run(reads.last({ prefix: 'x' }))).toBeUndefined();
  });

  it('counts the keys of a range', async () => {
    expect(await world.run(reads.count())).toBe(6);
    expect(await world.run(reads.count({ prefix: 'a/' }))).toBe(3);
    expect(await world.run(reads.count({ gte: 'x' }))).toBe(0);
  });

  it('goes on after a cursor, in the direction of the scan', async () => {
    const keys = async (options: object) => texts(await world.run(reads.keys(options).toArray()));
    expect(await keys({ prefix: 'a/', after: 'a/1' })).toEqual(['a/2', 'a/3']);
    expect(await keys({ prefix: 'a/', after: 'a/3', reverse: true })).toEqual(['a/2', 'a/1']);
    expect(await keys({ gte: 'a/3', after: 'a/1' })).toEqual(['a/3', 'b/1', 'b/2', 'c']);
    expect(await keys({ lt: 'a/3', after: 'c', reverse: true })).toEqual(['a/2', 'a/1']);
    expect(await keys({ prefix: 'a/', after: 'b' })).toEqual([]);
    expect(await keys({ prefix: 'b/', after: 'a', reverse: true })).toEqual([]);
  });

  it('gives pages that say whether more follow', async () => {
    const one = await world.run(reads.page({ prefix: 'a/' }, { size: 2 }));
    expect([texts(one.rows.map((r) => r.key)), one.more, text(one.after as Uint8Array)]).toEqual([
      ['a/1', 'a/2'],
      true,
      'a/2',
    ]);
    const two = await world.run(reads.page({ prefix: 'a/', after: one.after }, { size: 2 }));
    expect([texts(two.rows.map((r) => r.key)), two.more, text(two.after as Uint8Array)]).toEqual([
      ['a/3'],
      false,
      'a/3',
    ]);
    const three = await world.run(reads.page({ prefix: 'a/', after: two.after }, { size: 2 }));
    expect(three).toEqual({ rows: [], more: false, after: two.after });
    const back = await world.run(reads.page({ after: 'b/2', reverse: true }, { size: 4 }));
    expect([texts(back.rows.map((r) => r.key)), back.more]).toEqual([['b/1', 'a/3', 'a/2', 'a/1'], false]);
    expect(await world.run(reads.page({ prefix: 'x' }, { size: 1 }))).toEqual({
      rows: [],
      more: false,
      after: undefined,
    });
  });

  it('refuses what it does not know', async () => {
    const call = reads as never as Record<string, (...args: unknown[]) => Promise<unknown>>;
    const refused: [string, unknown[], string][] = [
      ['page', [{ prefix: 'a' }], 'size is missing'],
      ['page', [], 'size is missing'],
      ['page', [{}, { size: 0 }], 'size must be a whole number from 1'],
      ['page', [{ limit: 2 }, { size: 1 }], 'limit is unknown'],
      ['page', [{}, { size: 1, limit: 2 }], 'limit is unknown'],
      ['first', [{ reverse: true }], 'reverse is unknown'],
      ['count', [{ limit: 1 }], 'limit is unknown'],
      ['count', ['a'], 'must be a plain object'],
    ];
    for (const [name, args, said] of refused) {
      const error = await rejection(world.run(call[name](...args)));
      expect([error.kind, error.code, error.message]).toEqual(['invalid', 'BAD_OPTION', expect.stringContaining(said)]);
    }
    const bad = await rejection(world.run(reads.keys({ after: 5 as never }).toArray()));
    expect([bad.code, bad.message]).toEqual(['BAD_ARGUMENT', expect.stringContaining('bound after')]);
  });
});

it('rows survive JSON, and show when they expire', async () => {
  await world.run(db.put('t', 'x', { ttlMs: 1000 }));
  const row = await world.run(db.last());
  const expireTs = world.clock.nowMs() + 1000;
  expect(row?.expireTs).toBeGreaterThan(expireTs - 1000);
  expect(JSON.parse(JSON.stringify(row))).toEqual({ key: 'dA', value: 'eA', seq: '7', expireTs: row?.expireTs });
  const meta = await world.run(db.getWithMeta('t'));
  expect(meta?.expireTs).toBe(row?.expireTs);
  expect(JSON.parse(JSON.stringify(meta))).toMatchObject({ value: 'eA', seq: '7', findings: [] });
  await world.run(db.flush({ type: 'memtable' }));
  expect((await world.run(db.last()))?.expireTs).toBe(row?.expireTs);
  expect((await world.run(db.first()))?.expireTs).toBeUndefined();
});

it('the times of merges are those of a get', async () => {
  const operator = {
    merge: (_k: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => new Uint8Array([...(a ?? []), ...b]),
  };
  const merging = new World();
  const other = await merging.open({ mergeOperator: operator });
  await merging.run(other.merge('k', 'a', { ttlMs: 5000 }));
  await merging.run(other.merge('k', 'b', { ttlMs: 9000 }));
  await merging.run(other.merge('l', 'c'));
  const meta = await merging.run(other.getWithMeta('k'));
  for (const reverse of [false, true]) {
    const rows = await merging.run(other.scan({ reverse }).toArray());
    const shown = rows.map(({ key, expireTs }) => [text(key), expireTs]).sort();
    expect(shown).toEqual([
      ['k', meta?.expireTs],
      ['l', undefined],
    ]);
  }
});

it('keys are counted and given without a merge operator, which their values would need', async () => {
  const operator = { merge: (_k: Uint8Array, _a: Uint8Array | undefined, b: Uint8Array) => b };
  const merging = new World();
  const writer = await merging.open({ mergeOperator: operator });
  await merging.run(writer.merge('k', 'a'));
  await merging.run(writer.merge('k', 'b'));
  await merging.run(writer.put('l', 'c'));
  const other = await merging.openReader();
  for (const reverse of [false, true]) {
    expect(texts(await merging.run(other.keys({ reverse }).toArray())).sort()).toEqual(['k', 'l']);
  }
  expect(await merging.run(other.count())).toBe(2);
  expect((await rejection(merging.run(other.values().toArray()))).code).toBe('MERGE_OPERATOR_MISSING');
});

it('a name in memory is the same database for each opening of the process', async () => {
  const first = await open('memory:range-reads-test');
  await first.put('k', 'v');
  await first.close();
  const second = await open('memory:range-reads-test');
  expect(text(await second.get('k'))).toBe('v');
  const reader = await openReader('memory:range-reads-test');
  expect(text(await reader.get('k'))).toBe('v');
  await Promise.all([second.close(), reader.close()]);
});
