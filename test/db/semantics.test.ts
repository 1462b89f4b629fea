/** What reads see: times to live, merges, snapshots, durable rows only; who owns which bytes; clocks that jump. */
import { MessageChannel } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import type { MergeOperator } from '../../src/lsm/rows/merge-operator.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { rejection, rowsOf, text, World } from '../support/database.ts';

const append: MergeOperator = { merge: (_, a, b) => Buffer.concat([a ?? Buffer.alloc(0), b]) };
const APPEND: OpenOptions = { mergeOperator: append };

const bytes = (s: string) => new TextEncoder().encode(s);

/** The places in which rows can be: the same must hold in each. */
const places: Record<string, (world: World, db: Db) => Promise<Db>> = {
  'the memtable': async (_, db) => db,
  'a table': async (world, db) => {
    await world.run(db.flush({ type: 'memtable' }));
    return db;
  },
  'a table of an earlier life': async (world, db) => {
    await world.run(db.close());
    return world.open(APPEND);
  },
  'the log of an earlier life': async (world, db) => {
    await world.run(db.flush());
    return world.open(APPEND);
  },
};

describe.each(Object.keys(places))('a time to live, with the row in %s', (place) => {
  it('ends for every kind of read at the same moment', async () => {
    const world = new World();
    let db = await world.open(APPEND);
    const expiresAt = world.clock.nowMs() + 60_000;
    await world.run(db.put('a', 'stays'));
    await world.run(db.put('b', 'goes', { ttlMs: 60_000 }));
    await world.run(db.put('c', 'stays'));
    db = await places[place](world, db);
    const reads = async () => ({
      get: text(await world.run(db.get('b'))),
      has: await world.run(db.has('b')),
      many: (await world.run(db.getMany(['a', 'b', 'c']))).map(text),
      meta: (await world.run(db.getWithMeta('b')))?.expireTs,
      scan: (await rowsOf(world, db)).length,
      reverse: (await world.run(db.scan({ reverse: true }).nextBatch(10))).length,
    });
    await world.clock.advance(expiresAt - world.clock.nowMs() - 1);
    expect(await reads()).toEqual({
      get: 'goes',
      has: true,
      many: ['stays', 'goes', 'stays'],
      meta: expiresAt,
      scan: 3,
      reverse: 3,
    });
    await world.clock.advance(1);
    expect(await reads()).toEqual({
      get: undefined,
      has: false,
      many: ['stays', undefined, 'stays'],
      meta: undefined,
      scan: 2,
      reverse: 2,
    });
  });

  it('that is over does not bring back what was there before', async () => {
    const world = new World();
    let db = await world.open(APPEND);
    await world.run(db.put('k', 'old'));
    await world.run(db.put('k', 'new', { ttlMs: 1000 }));
    db = await places[place](world, db);
    await world.clock.advance(2000);
    expect(await world.run(db.get('k'))).toBeUndefined();
    expect(await rowsOf(world, db)).toEqual([]);
    await world.run(db.put('k', 'again'));
    expect(text(await world.run(db.get('k')))).toBe('again');
  });

  it('of operands takes them out of the fold one by one', async () => {
    const world = new World();
    let db = await world.open(APPEND);
    await world.run(db.put('k', 'base', { ttlMs: 3000 }));
    await world.run(db.merge('k', '-one', { ttlMs: 1000 }));
    await world.run(db.merge('k', '-two'));
    const start = world.clock.nowMs();
    db = await places[place](world, db);
    const at = async (ms: number) => {
      await world.clock.advance(start + ms - world.clock.nowMs());
      const got = text(await world.run(db.get('k')));
      expect((await rowsOf(world, db)).map((r) => r.slice(2))).toEqual(got === undefined ? [] : [got]);
      return got;
    };
    expect(await at(0)).toBe('base-one-two');
    expect(await at(2000)).toBe('base-two');
    expect(await at(4000)).toBe('-two');
  });
});

describe('times to live', () => {
  it('come from the call, from the batch, or from the database', async () => {
    const world = new World();
    const db = await world.open({ defaultTtlMs: 10_000 });
    const now = world.clock.nowMs();
    await world.run(db.put('default', 'v'));
    await world.run(db.put('own', 'v', { ttlMs: 500 }));
    await world.run(db.put('absolute', 'v', { expireAtMs: now + 77 }));
    await world.run(db.put('never', 'v', { ttlMs: Number.POSITIVE_INFINITY }));
    const batch = new WriteBatch().put('in-batch', 'v', { ttlMs: 300 }).put('of-batch', 'v');
    await world.run(db.write(batch, { ttlMs: 400 }));
    const expiry = async (key: string) => (await world.run(db.getWithMeta(key)))?.expireTs;
    expect(await expiry('default')).toBe(now + 10_000);
    expect(await expiry('own')).toBe(now + 500);
    expect(await expiry('absolute')).toBe(now + 77);
    expect(await expiry('never')).toBeUndefined();
    expect(await expiry('in-batch')).toBe(now + 300);
    expect(await expiry('of-batch')).toBe(now + 400);
    expect((await world.run(db.getWithMeta('never')))?.createTs).toBe(now);
  });

  describe('of merges of one key in one batch', () => {
    const NOW = new World().clock.nowMs();
    const NEVER = Number.POSITIVE_INFINITY;
    type Ttl = { ttlMs?: number; expireAtMs?: number };
    const CASES: [
      of: string,
      first: Ttl,
      second: Ttl,
      write: Ttl,
      defaultTtlMs: number | undefined,
      expiry: unknown,
    ][] = [
      ['one of its own, one of the write', { ttlMs: 400 }, {}, { ttlMs: 400 }, undefined, NOW + 400],
      ['one of the write, one of its own', {}, { ttlMs: 400 }, { ttlMs: 400 }, 9, NOW + 400],
      ['one of its own, one of the database', { ttlMs: 400 }, {}, {}, 400, NOW + 400],
      ['moments of its own and of the write', { expireAtMs: NOW + 7 }, {}, { expireAtMs: NOW + 7 }, 400, NOW + 7],
      ['never, and none', { ttlMs: NEVER }, {}, {}, undefined, undefined],
      ['two of the write', {}, {}, { ttlMs: 400 }, undefined, NOW + 400],
      ['another of the write', { ttlMs: 400 }, {}, { ttlMs: 401 }, undefined, 'refused'],
      ['another of the database', {}, { ttlMs: 400 }, {}, 10_000, 'refused'],
      ['never, although the database has one', {}, { ttlMs: NEVER }, {}, 10_000, 'refused'],
      ['a moment of the write', { ttlMs: 7 }, {}, { expireAtMs: NOW + 7 }, undefined, 'refused'],
      ['a moment, and that of the database', { expireAtMs: NOW + 400 }, {}, {}, 400, 'refused'],
    ];

    it.each(CASES)('%s', async (_, first, second, write, defaultTtlMs, expected) => {
      const world = new World();
      const db = await world.open({ ...APPEND, ...(defaultTtlMs !== undefined && { defaultTtlMs }) });
      const written = db.write(new WriteBatch().merge('k', 'a', first).merge('k', 'b', second), write);
      if (expected === 'refused') {
        expect(await rejection(written)).toMatchObject({ code: 'BAD_ARGUMENT' });
        return;
      }
      await world.run(written);
      const row = await world.run(db.getWithMeta('k'));
      expect([text(row!.value), row?.expireTs]).toEqual(['ab', expected]);
    });
  });

  it('that say nothing are none: the operation has that of its batch', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.write(new WriteBatch().put('k', 'v', {}), { ttlMs: 400 }));
    expect((await world.run(db.getWithMeta('k')))?.expireTs).toBe(world.clock.nowMs() + 400);
  });

  it('hide nothing with `hideExpired: false`', async () => {
    const world = new World();
    const db = await world.open({ hideExpired: false });
    await world.run(db.put('k', 'v', { ttlMs: 10 }));
    await world.clock.advance(1000);
    expect(text(await world.run(db.get('k')))).toBe('v');
    await world.run(db.flush({ type: 'memtable' }));
    expect(text(await world.run(db.get('k')))).toBe('v');
    expect(await rowsOf(world, db)).toEqual(['k=v']);
    expect(await rowsOf(world, await world.openReader())).toEqual([]);
    expect(await rowsOf(world, await world.openReader({ hideExpired: false }))).toEqual(['k=v']);
  });

  it('are judged by the moment at which a scan began', async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 0; i < 500; i++) await db.put(`k${1000 + i}`, 'v', { ttlMs: 1000, awaitDurable: false });
    const scan = db.scan();
    expect(await world.run(scan.nextBatch(10))).toHaveLength(10);
    await world.clock.advance(5000);
    expect(await world.run(scan.nextBatch(1000))).toHaveLength(490);
    expect(await rowsOf(world, db)).toEqual([]);
  });
});

describe('merges', () => {
  it('fold over values, deletions and nothing, wherever the parts are', async () => {
    const world = new World();
    let db = await world.open(APPEND);
    const flush = () => world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('value', 'a'));
    await world.run(db.put('deleted', 'a'));
    await world.run(db.merge('nothing', 'a'));
    await flush();
    await world.run(db.merge('value', 'b'));
    await world.run(db.delete('deleted'));
    await world.run(db.merge('nothing', 'b'));
    await flush();
    await world.run(db.merge('value', 'c'));
    await world.run(db.merge('deleted', 'c'));
    const expected = ['deleted=c', 'nothing=ab', 'value=abc'];
    expect(await rowsOf(world, db)).toEqual(expected);
    for (const row of expected) {
      const [key, value] = row.split('=');
      expect(text(await world.run(db.get(key)))).toBe(value);
      expect(text((await world.run(db.getMany([key])))[0])).toBe(value);
    }
    const reverse = await world.run(db.scan({ reverse: true }).nextBatch(10));
    expect(reverse.map((r) => `${text(r.key)}=${text(r.value)}`)).toEqual([...expected].reverse());
    await world.run(db.close());
    db = await world.open(APPEND);
    expect(await rowsOf(world, db)).toEqual(expected);
  });

  it('of one batch become one row', async () => {
    const world = new World();
    const db = await world.open(APPEND);
    await world.run(db.put('k', 'old'));
    await world.run(db.write(new WriteBatch().merge('k', '1').merge('k', '2').put('p', 'x').merge('p', 'y')));
    expect(await rowsOf(world, db)).toEqual(['k=old12', 'p=xy']);
  });

  it('give all operands at once to `mergeBatch`', async () => {
    const world = new World();
    const calls: string[][] = [];
    const mergeOperator: MergeOperator = {
      ...append,
      mergeBatch(_, existing, operands) {
        calls.push(operands.map((o) => text(o)!));
        return Buffer.concat([existing ?? Buffer.alloc(0), ...operands]);
      },
    };
    const db = await world.open({ mergeOperator });
    await world.run(db.put('k', 'a'));
    for (const operand of ['b', 'c', 'd']) await world.run(db.merge('k', operand));
    expect(text(await world.run(db.get('k')))).toBe('abcd');
    expect(calls).toEqual([['b', 'c', 'd']]);
  });

  it('without an operator are kept apart by replay and flush; only reads and `merge` need one', async () => {
    const world = new World();
    const { db, line } = await world.connect(APPEND);
    await world.run(db.put('k', 'a'));
    await world.run(db.merge('k', 'b'));
    line.cut();
    const plain = await world.open();
    expect(await rejection(world.run(plain.get('k')))).toMatchObject({
      name: 'IncompatibleError',
      code: 'MERGE_OPERATOR_MISSING',
    });
    expect(await rejection(plain.merge('k', 'c'))).toMatchObject({ code: 'MERGE_OPERATOR_MISSING' });
    expect(await rejection(plain.write(new WriteBatch().merge('k', 'c')))).toMatchObject({
      code: 'MERGE_OPERATOR_MISSING',
    });
    await world.run(plain.put('other', 'x'));
    expect(text(await world.run(plain.get('other')))).toBe('x');
    await world.run(plain.close());
    expect(await rowsOf(world, await world.open(APPEND))).toEqual(['k=ab', 'other=x']);
  });

  it('fail alone when the operator throws or gives no bytes', async () => {
    const world = new World();
    const mergeOperator: MergeOperator = {
      merge(key) {
        if (text(key) === 'throws') throw new TypeError('from the operator');
        return 'text' as unknown as Uint8Array;
      },
    };
    const db = await world.open({ mergeOperator });
    await world.run(db.merge('throws', 'a'));
    await world.run(db.merge('wrong', 'a'));
    await world.run(db.put('fine', 'v'));
    const error = await rejection(world.run(db.get('throws')));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', cause: { message: 'from the operator' } });
    expect(await rejection(world.run(db.get('wrong')))).toMatchObject({ name: 'InvalidArgumentError' });
    const scan = db.scan();
    expect((await world.run(scan.nextBatch(10))).map((row) => text(row.key))).toEqual(['fine']);
    expect(await rejection(world.run(scan.nextBatch(10)))).toMatchObject({ name: 'InvalidArgumentError' });
    expect(await rejection(world.run(scan.nextBatch(10)))).toMatchObject({ name: 'InvalidArgumentError' });
    expect(await world.run(scan.nextBatch(10))).toEqual([]);
    expect(text(await world.run(db.get('fine')))).toBe('v');
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('more', 'v'));
  });
});

describe('a snapshot', () => {
  it('shows what was there, through writes, deletes, flushes and later snapshots', async () => {
    const world = new World();
    const db = await world.open(APPEND);
    const flush = () => world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('changed', '1'));
    await world.run(db.put('deleted', '1'));
    await world.run(db.put('merged', '1'));
    const first = db.snapshot();
    await flush();
    await world.run(db.put('changed', '2'));
    await world.run(db.delete('deleted'));
    await world.run(db.merge('merged', '2'));
    await world.run(db.put('new', '2'));
    const second = db.snapshot();
    await flush();
    await world.run(db.put('changed', '3'));
    await world.run(db.put('deleted', '3'));
    await world.run(db.merge('merged', '3'));
    await world.run(db.delete('new'));
    await flush();
    const states = {
      first: ['changed=1', 'deleted=1', 'merged=1'],
      second: ['changed=2', 'merged=12', 'new=2'],
      now: ['changed=3', 'deleted=3', 'merged=123'],
    };
    expect(await rowsOf(world, first)).toEqual(states.first);
    expect(await rowsOf(world, second)).toEqual(states.second);
    expect(await rowsOf(world, db)).toEqual(states.now);
    for (const key of ['changed', 'deleted', 'merged', 'new']) {
      const at = (rows: string[]) => rows.find((r) => r.startsWith(`${key}=`))?.slice(key.length + 1);
      expect(text(await world.run(first.get(key)))).toBe(at(states.first));
      expect(text(await world.run(second.get(key)))).toBe(at(states.second));
      expect(await world.run(second.has(key))).toBe(at(states.second) !== undefined);
    }
    expect([first.seq, second.seq]).toEqual([3n, 7n]);
    const reverse = await world.run(second.scan({ reverse: true }).nextBatch(10));
    expect(reverse.map((r) => `${text(r.key)}=${text(r.value)}`)).toEqual([...states.second].reverse());
  });

  it('lets versions go when it is closed', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('k', 'old'));
    const open = db.snapshot();
    const same = db.snapshot();
    await world.run(db.put('k', 'new'));
    await open.close();
    await open.close();
    await world.run(db.flush({ type: 'memtable' }));
    // The second one still pins the old version.
    expect(text(await world.run(same.get('k')))).toBe('old');
    expect((await world.run(db.estimateSize())).rows).toBe(2);
    expect(await rejection(open.get('k'))).toMatchObject({ code: 'CLOSED' });
    await same.close();
    await world.run(db.put('k', 'newer'));
    await world.run(db.put('k', 'newest'));
    await world.run(db.flush({ type: 'memtable' }));
    expect((await world.run(db.estimateSize())).rows).toBe(3);
  });
});

describe('`durabilityFilter: remote`', () => {
  it('sees rows from the moment at which they are durable', async () => {
    const world = new World();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 100 });
    const db = await world.open();
    await world.run(db.put('k', 'old'));
    const put = db.put('k', 'new');
    const remote = { durabilityFilter: 'remote' } as const;
    const snapshot = db.snapshot();
    const scanned = async () => (await world.run(db.scan(remote).nextBatch(10))).map((r) => text(r.value));
    await world.clock.advance(50);
    expect(text(await world.run(db.get('k')))).toBe('new');
    expect(text(await world.run(db.get('k', remote)))).toBe('old');
    expect(text(await world.run(snapshot.get('k', remote)))).toBe('old');
    expect((await world.run(db.getWithMeta('k', remote)))?.seq).toBe(1n);
    expect(await scanned()).toEqual(['old']);
    await world.run(put);
    expect(text(await world.run(db.get('k', remote)))).toBe('new');
    expect(await scanned()).toEqual(['new']);
  });
});

describe('ownership', () => {
  it('of inputs stays with the caller: they are copied before the call returns', async () => {
    const world = new World();
    const { db, line } = await world.connect(APPEND);
    const key = bytes('key');
    const value = bytes('value');
    const operand = bytes('+operand');
    const batch = new WriteBatch();
    const writes = [db.put(key, value), db.merge(key, operand)];
    batch.put(key, value);
    key.set(bytes('xxx'));
    value.fill(0);
    operand.fill(0);
    writes.push(db.write(batch));
    batch.clear().put('other', 'x');
    await world.run(Promise.all(writes));
    expect(await rowsOf(world, db)).toEqual(['key=value']);
    line.cut();
    expect(await rowsOf(world, await world.open(APPEND))).toEqual(['key=value']);
  });

  it('of keys and bounds of reads that have to wait stays with the caller too', async () => {
    const world = new World();
    let db = await world.open();
    for (const k of ['a', 'b', 'c']) await world.run(db.put(k, `value of ${k}`));
    await world.run(db.close());
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 10 });
    db = await world.open();
    const key = bytes('b');
    const get = db.get(key);
    const meta = db.getWithMeta(key);
    const many = db.getMany([key]);
    const scan = db.scan({ gte: key, lte: key });
    key.set(bytes('c'));
    expect(text(await world.run(get))).toBe('value of b');
    expect(text((await world.run(meta))?.value)).toBe('value of b');
    expect((await world.run(many)).map(text)).toEqual(['value of b']);
    expect((await world.run(scan.nextBatch(10))).map((r) => text(r.key))).toEqual(['b']);
  });

  it.each(['memory', 'table'])('of results goes to the caller: changing them changes nothing in %s', async (place) => {
    const world = new World();
    const db = await world.open();
    const content = 'x'.repeat(100);
    for (const k of ['a', 'b', 'c']) await world.run(db.put(k, content));
    if (place === 'table') await world.run(db.flush({ type: 'memtable' }));
    const spoil = async () => {
      (await world.run(db.get('a')))!.fill(0);
      (await world.run(db.getMany(['a', 'b'])))[1]!.fill(0);
      (await world.run(db.getWithMeta('b')))!.value.fill(0);
      for (const row of await world.run(db.scan().nextBatch(10))) {
        row.key.fill(0);
        row.value.fill(0);
      }
    };
    await spoil();
    await spoil();
    expect(await rowsOf(world, db)).toEqual(['a', 'b', 'c'].map((k) => `${k}=${content}`));
    expect(text(await world.run(db.get('a')))).toBe(content);
  });

  it('of two results is never shared: they do not overlap', async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 0; i < 50; i++) await db.put(`k${i}`, `value ${i}`, { awaitDurable: false });
    const results = [
      ...(await world.run(db.getMany(Array.from({ length: 50 }, (_, i) => `k${i}`)))),
      ...(await world.run(db.scan().nextBatch(100))).flatMap((r) => [r.key, r.value]),
    ].filter((r) => r !== undefined);
    for (const r of results) r.fill(r.byteOffset & 0xff);
    for (const r of results) expect(r.every((b) => b === (r.byteOffset & 0xff))).toBe(true);
  });

  it('of a result can be given away without taking others along', async () => {
    const world = new World();
    const db = await world.open();
    for (const k of ['a', 'b']) await world.run(db.put(k, 'content'));
    const [a, b] = await world.run(db.getMany(['a', 'b']));
    const { port1, port2 } = new MessageChannel();
    try {
      port1.postMessage(a, [a!.buffer as ArrayBuffer]);
    } catch {
      // Refused is as good as copied.
    }
    port1.close();
    port2.close();
    expect(text(b)).toBe('content');
    expect(text(await world.run(db.get('a')))).toBe('content');
  });
});

describe('a wall clock that jumps', () => {
  it('back never lets create times fall, and no write fails', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1'));
    const created = async (from: Db, key: string) => (await world.run(from.getWithMeta(key)))?.createTs ?? 0;
    const first = await created(db, 'a');
    world.clock.jumpWallMs(-24 * 3600 * 1000);
    await world.run(db.put('b', '1'));
    expect(await created(db, 'b')).toBe(first);
    line.cut();
    // Nor across lives, through the log and through tables.
    const second = await world.open();
    await world.run(second.put('c', '1'));
    expect(await created(second, 'c')).toBe(first);
    await world.run(second.close());
    const third = await world.open();
    await world.run(third.put('d', '1'));
    expect(await created(third, 'd')).toBe(first);
    await world.run(third.flush({ type: 'memtable' }));
    expect(await rowsOf(world, third)).toHaveLength(4);
  });

  it('at every step of a life loses nothing', async () => {
    for (const delta of [-3_600_000, -1, 1, 59_999, 3_600_000, 400 * 24 * 3_600_000]) {
      const world = new World();
      const db = await world.open();
      for (let i = 0; i < 6; i++) {
        world.clock.jumpWallMs(i % 2 === 0 ? delta : -delta);
        await world.run(db.put(`k${i}`, 'v'));
        if (i % 3 === 2) await world.run(db.flush({ type: 'memtable' }));
      }
      world.clock.jumpWallMs(delta);
      await world.run(db.close());
      world.clock.jumpWallMs(-delta);
      expect(await rowsOf(world, await world.open())).toHaveLength(6);
    }
  });
});

describe('a long scan lets others run every 512 rows', () => {
  const rows = 5000;

  /** A fresh handle on a table, and how often a scan of all its rows waited for others. */
  async function coldTable() {
    const world = new World();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 20 });
    const db = await world.open();
    const batch = new WriteBatch();
    for (let i = 0; i < rows; i++) batch.put(`key-${i}`, `value-${i}`);
    await world.run(db.write(batch));
    await world.run(db.close());
    const again = await world.open();
    const turns = vi.spyOn(world.clock, 'yieldToLoop');
    const turnsOf = async (scan: () => Promise<number>) => {
      const before = turns.mock.calls.length;
      expect(await world.run(scan())).toBe(rows);
      return turns.mock.calls.length - before;
    };
    return { db: again, turnsOf };
  }

  it('row by row, also after it had to wait for the store', async () => {
    const { db, turnsOf } = await coldTable();
    const scan = async () => {
      let count = 0;
      for await (const _ of db.scan()) count++;
      return count;
    };
    const cold = await turnsOf(scan);
    const warm = await turnsOf(scan);
    // Rows are counted for the database, so what one scan has left over counts for the next; so does the answer that it is over.
    expect(cold).toBeGreaterThanOrEqual(Math.floor(rows / 512));
    expect(cold + warm).toBe(Math.floor((2 * (rows + 1)) / 512));
  });

  it.each([100, 1000, 100_000])('in batches of %i', async (size) => {
    const { db, turnsOf } = await coldTable();
    const scan = async () => {
      const all = db.scan();
      let count = 0;
      for (;;) {
        const batch = await all.nextBatch(size);
        if (batch.length === 0) return count;
        count += batch.length;
      }
    };
    // A batch is made in parts of at most 1,024 rows.
    const least = Math.floor(rows / 1024);
    expect(await turnsOf(scan)).toBeGreaterThanOrEqual(least);
    expect(await turnsOf(scan)).toBeGreaterThanOrEqual(least);
  });
});
