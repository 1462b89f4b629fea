/** Writes under a condition, and new expiries for rows as they are: decided by the newest state, whatever is read and written in between. */
import { describe, expect, it } from 'vitest';
import { type Deferred, deferred, ignoreRejection } from '../../src/common/async.ts';
import { ConflictError, CorruptionError, FencedError } from '../../src/common/errors.ts';
import { type Db, errorFromJson, errorToJson, WriteBatch } from '../../src/index.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { keyOf, ruin, tablesOf } from '../support/damaged-tables.ts';
import { rejection, rowsOf, text, World } from '../support/database.ts';

const append = {
  merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => Buffer.concat([a ?? Buffer.alloc(0), b]),
};
const OPTIONS: OpenOptions = { sstBlockSizeBytes: 1024, minFilterKeys: 1, flushIntervalMs: 10, mergeOperator: append };

const ABSENT = { ifAbsent: true } as const;

/** GETs of tables wait until they are released. */
function holdTables(world: World): Deferred<void> {
  const gate = deferred<void>();
  const get = world.memory.get.bind(world.memory);
  world.memory.get = async (path, options) => {
    if (path.startsWith('compacted/')) await gate.promise;
    return get(path, options);
  };
  return gate;
}

async function turns(): Promise<void> {
  for (let i = 0; i < 30; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Rows of 10 keys in a table, and nothing in memory; nothing is cached. */
async function cold(options: OpenOptions = {}): Promise<{ world: World; db: Db; seq: bigint }> {
  const world = new World();
  const first = await world.open(OPTIONS);
  const batch = new WriteBatch();
  for (let i = 0; i < 10; i++) batch.put(keyOf(i), `v${i}`);
  const { seq } = await world.run(first.write(batch));
  await world.run(first.close());
  return { world, db: await world.open({ ...OPTIONS, ...options }), seq };
}

const seqOf = async (world: World, db: Db, key: string) => (await world.run(db.getWithMeta(key)))?.seq;

async function conflictOf(world: World, call: Promise<unknown>): Promise<ConflictError> {
  const error = await rejection(world.run(call));
  expect(error).toBeInstanceOf(ConflictError);
  expect(error).toMatchObject({ code: 'CONDITION_FAILED', outcome: 'not-applied', retryable: false });
  return error as ConflictError;
}

describe('a put with ifAbsent', () => {
  it('writes where there is no row: never written, deleted or expired', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    const { seq } = await world.run(db.put('a', '1', ABSENT));
    expect(await seqOf(world, db, 'a')).toBe(seq);
    const error = await conflictOf(world, db.put('a', '2', ABSENT));
    expect(error).toMatchObject({ expected: 'absent', actual: seq });
    expect(text(error.key)).toBe('a');
    expect(error.message).toContain(
      'the key "a" has a row with sequence number 1, and was to be written only where there is none',
    );
    expect(errorFromJson(JSON.parse(JSON.stringify(errorToJson(error))))).toMatchObject({
      expected: 'absent',
      actual: seq,
    });
    await world.run(db.delete('a'));
    await world.run(db.put('a', '3', { ...ABSENT, ttlMs: 1000 }));
    await conflictOf(world, db.put('a', '4', ABSENT));
    await world.clock.advance(1000);
    await world.run(db.put('a', '4', ABSENT));
    expect(await rowsOf(world, db)).toEqual(['a=4']);
  });

  it('decides by rows of tables as well, which are read', async () => {
    const { world, db, seq } = await cold();
    expect((await conflictOf(world, db.put(keyOf(3), 'x', ABSENT))).actual).toBe(seq);
    await world.run(db.put('key-0003a', 'x', ABSENT));
    expect(await rowsOf(world, db)).toHaveLength(11);
  });

  it('of many at once for one key one wins, and the others say with which row', async () => {
    const { world, db } = await cold();
    const gate = holdTables(world);
    const calls = Array.from({ length: 9 }, (_, i) => db.put('key-0003a', `x${i}`, ABSENT));
    for (const call of calls) ignoreRejection(call);
    await turns();
    gate.resolve();
    const results = await world.run(Promise.allSettled(calls));
    const [winner] = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value.seq] : []));
    const losers = results.flatMap((r) => (r.status === 'rejected' ? [(r.reason as ConflictError).actual] : []));
    expect(losers).toEqual(Array(8).fill(winner));
  });

  it('sees what was written while it read, also when that has left memory', async () => {
    for (const flushes of [false, true]) {
      for (const change of ['put', 'delete'] as const) {
        const { world, db } = await cold();
        const gate = holdTables(world);
        const key = change === 'put' ? 'key-0003a' : keyOf(3);
        const call = db.put(key, 'conditional', ABSENT);
        ignoreRejection(call);
        await turns();
        if (change === 'put') ignoreRejection(db.put(key, 'in between'));
        else ignoreRejection(db.delete(key));
        if (flushes) await world.run(db.flush({ type: 'memtable' }));
        gate.resolve();
        if (change === 'put') await conflictOf(world, call);
        else await world.run(call);
        expect(text(await world.run(db.get(key)))).toBe(change === 'put' ? 'in between' : 'conditional');
      }
    }
  });

  it('takes the bytes of the call', async () => {
    const { world, db } = await cold();
    const [key, value] = [Buffer.from('key-0003a'), Buffer.from('mine')];
    const call = db.put(key, value, ABSENT);
    key.fill(0x78);
    value.fill(0x78);
    await world.run(call);
    expect(text(await world.run(db.get('key-0003a')))).toBe('mine');
  });

  it('waits its turn for memory, and is decided then', async () => {
    const world = new World();
    const small = { memoryBytes: 8 * 1024 * 1024, maxUnflushedBytes: 1 << 20, l0SstSizeBytes: 1 << 18 };
    const db = await world.open({ ...OPTIONS, ...small });
    const large = 'x'.repeat(300_000);
    for (let i = 0; i < 5; i++) ignoreRejection(db.put(`z${i}`, large, { awaitDurable: false }));
    ignoreRejection(db.put('a', 'before'));
    const call = db.put('a', 'conditional', ABSENT);
    await conflictOf(world, call);
    expect(text(await world.run(db.get('a')))).toBe('before');
  });

  it('ends when it is aborted, and writes nothing', async () => {
    const { world, db } = await cold();
    holdTables(world);
    const controller = new AbortController();
    const call = db.put('key-0003a', 'x', { ...ABSENT, signal: controller.signal });
    ignoreRejection(call);
    await turns();
    controller.abort();
    expect(await rejection(call)).toMatchObject({ kind: 'aborted', outcome: 'not-applied' });
    expect(await rejection(db.put('k', 'x', { ...ABSENT, signal: AbortSignal.abort() }))).toMatchObject({
      kind: 'aborted',
    });
    expect(await world.run(db.has('k'))).toBe(false);
  });
});

describe('a conflict and durability', () => {
  it('is answered when what it conflicts with is durable, and by a takeover if that is lost', async () => {
    const world = new World();
    const db = await world.open({ ...OPTIONS, flushIntervalMs: 60_000 });
    await world.run(db.put('other', 'x'));
    await world.run(db.put('a', '1', { awaitDurable: false }));
    await conflictOf(world, db.put('a', '2', ABSENT));
    const reader = await world.openReader();
    expect(text(await world.run(reader.get('a')))).toBe('1');
    await world.run(db.put('b', '1', { awaitDurable: false }));
    const next = await world.open(OPTIONS);
    const error = await rejection(world.run(db.put('b', '2', ABSENT)));
    expect(error).toBeInstanceOf(FencedError);
    expect(error.outcome).toBe('not-applied');
    await world.run(next.put('b', '3', ABSENT));
  });

  it('is answered at once where the write does not wait either', async () => {
    const world = new World();
    const db = await world.open({ ...OPTIONS, flushIntervalMs: 60_000 });
    await world.run(db.put('a', '1', { awaitDurable: false }));
    const before = world.clock.monotonicMs();
    expect((await rejection(db.put('a', '2', { ...ABSENT, awaitDurable: false }))).code).toBe('CONDITION_FAILED');
    expect(world.clock.monotonicMs()).toBe(before);
  });

  it('a write that was applied by a handle that is fenced then is no conflict', async () => {
    const { world, db } = await cold();
    await world.open(OPTIONS);
    expect(await rejection(world.run(db.put('key-0003a', 'x', ABSENT)))).toBeInstanceOf(FencedError);
    expect(await rejection(world.run(db.put(keyOf(1), 'x', ABSENT)))).toMatchObject({
      kind: 'fenced',
      outcome: 'not-applied',
    });
  });
});

describe('a write with ifSeq', () => {
  it('replaces the row that was read, and no other', async () => {
    const { world, db, seq } = await cold();
    const second = await world.run(db.put(keyOf(1), 'second', { ifSeq: seq }));
    const error = await conflictOf(world, db.put(keyOf(1), 'third', { ifSeq: seq }));
    expect(error).toMatchObject({ expected: seq, actual: second.seq });
    expect(error.message).toContain(`only over the row ${seq} (ifSeq)`);
    await conflictOf(world, db.delete(keyOf(1), { ifSeq: seq }));
    await world.run(db.delete(keyOf(1), { ifSeq: second.seq }));
    const gone = await conflictOf(world, db.put(keyOf(1), 'x', { ifSeq: second.seq }));
    expect(gone.actual).toBeUndefined();
    expect(gone.message).toContain('has no row');
    expect(await world.run(db.has(keyOf(1)))).toBe(false);
  });

  it('counts the newest operand that has not expired, without asking the operator', async () => {
    const world = new World();
    let asked = 0;
    const counting = {
      merge: (...args: Parameters<typeof append.merge>) => {
        asked++;
        return append.merge(...args);
      },
    };
    const db = await world.open({ ...OPTIONS, mergeOperator: counting });
    await world.run(db.put('a', '1'));
    const { seq } = await world.run(db.merge('a', '2'));
    const late = await world.run(db.merge('a', '3', { ttlMs: 100 }));
    await world.run(db.flush({ type: 'memtable' }));
    asked = 0;
    await conflictOf(world, db.put('a', 'x', { ifSeq: seq }));
    await conflictOf(world, db.put('a', 'x', ABSENT));
    expect(late.seq > seq).toBe(true);
    await world.clock.advance(100);
    await world.run(db.put('a', 'x', { ifSeq: seq }));
    expect(asked).toBe(0);
    expect(await rowsOf(world, db)).toEqual(['a=x']);
  });
});

describe('conditions of a batch', () => {
  it('are decided together, about what is there before it: all or nothing', async () => {
    const { world, db, seq } = await cold();
    const batch = new WriteBatch()
      .put('new', '1', ABSENT)
      .put(keyOf(1), 'changed', { ifSeq: seq })
      .delete(keyOf(2), { ifSeq: seq })
      .put('new', '2', ABSENT)
      .merge('unconditional', 'm');
    await world.run(db.write(batch));
    expect((await rowsOf(world, db)).slice(0, 2)).toEqual([`${keyOf(0)}=v0`, `${keyOf(1)}=changed`]);
    expect(await world.run(db.getMany(['new', keyOf(2), 'unconditional']).then((m) => m.map(text)))).toEqual([
      '2',
      undefined,
      'm',
    ]);
    const before = await rowsOf(world, db);
    const error = await conflictOf(world, db.write(batch));
    expect(text(error.key)).toBe('new');
    expect(await rowsOf(world, db)).toEqual(before);
    const second = new WriteBatch().put('fresh', '1', ABSENT).delete(keyOf(5), { ifSeq: 999n });
    expect(text((await conflictOf(world, db.write(second))).key)).toBe(keyOf(5));
    expect(await rowsOf(world, db)).toEqual(before);
    // Cleared, it has none any more; a copy has its own.
    await world.run(db.write(batch.clear().put('new', '3')));
    expect(text(await world.run(db.get('new')))).toBe('3');
  });

  it('hold for a batch that waits for memory', async () => {
    const world = new World();
    const small = { memoryBytes: 8 * 1024 * 1024, maxUnflushedBytes: 1 << 20, l0SstSizeBytes: 1 << 18 };
    const db = await world.open({ ...OPTIONS, ...small });
    for (let i = 0; i < 5; i++) ignoreRejection(db.put(`z${i}`, 'x'.repeat(300_000), { awaitDurable: false }));
    const batch = new WriteBatch().put('a', '1', ABSENT).put('b', '1');
    const call = db.write(batch);
    batch.clear();
    await world.run(call);
    expect(text(await world.run(db.get('b')))).toBe('1');
  });
});

describe('damage that may hide the row', () => {
  it('is the error of a conditional write and of touch, and nothing is written; a row that is newer decides', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    const batch = new WriteBatch();
    for (let i = 0; i < 200; i++) batch.put(keyOf(i), 'v'.repeat(50));
    const { seq } = await world.run(db.write(batch));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [table] = await tablesOf(world);
    await ruin(world, table.path, table.blocks[2]);
    const again = await world.open(OPTIONS);
    const key = table.blocks[2].firstKey;
    const calls = [
      () => again.put(key, 'x', ABSENT),
      () => again.put(key, 'x', { ifSeq: seq }),
      () => again.delete(key, { ifSeq: seq }),
      () => again.write(new WriteBatch().put('a', 'x').put(key, 'x', ABSENT)),
      () => again.touch(key, { ttlMs: 1000 }),
    ];
    for (const call of calls) {
      const error = await rejection(world.run(call()));
      expect(error).toBeInstanceOf(CorruptionError);
      expect(error.outcome).toBe('not-applied');
      expect(error.message).toContain('this write cannot be decided. Nothing was written');
    }
    expect(again.corruptions().counts.errors).toBe(calls.length);
    expect(await world.run(again.has('a'))).toBe(false);
    const newer = await world.run(again.put(key, 'newer'));
    await world.run(again.put(key, 'newest', { ifSeq: newer.seq }));
    expect(text(await world.run(again.get(key)))).toBe('newest');
  });
});

describe('touch', () => {
  it('gives a row a new expiry and leaves its value', async () => {
    const { world, db } = await cold({ defaultTtlMs: 50 });
    const { seq } = (await world.run(db.touch(keyOf(1), { ttlMs: 5000 })))!;
    const meta = await world.run(db.getWithMeta(keyOf(1)));
    expect(meta).toMatchObject({ seq, expireTs: world.clock.nowMs() + 5000 });
    expect(text(meta?.value)).toBe('v1');
    await world.run(db.touch(keyOf(1), { expireAtMs: world.clock.nowMs() + 9 }));
    await world.clock.advance(9);
    expect(await world.run(db.touch(keyOf(1), { ttlMs: 5000 }))).toBeUndefined();
    expect(await world.run(db.touch('never', { ttlMs: 5000 }))).toBeUndefined();
    await world.run(db.touch(keyOf(2), { ttlMs: Number.POSITIVE_INFINITY }));
    expect((await world.run(db.getWithMeta(keyOf(2))))?.expireTs).toBeUndefined();
  });

  it('folds operands into one value, and says what it lacks for that', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await world.run(db.put('a', '1'));
    await world.run(db.merge('a', '2'));
    await world.run(db.touch('a', { ttlMs: 1000 }));
    expect(await rowsOf(world, db)).toEqual(['a=12']);
    await world.run(db.merge('b', '2'));
    await world.run(db.close());
    const { mergeOperator: _, ...without } = OPTIONS;
    const plain = await world.open(without);
    expect((await rejection(world.run(plain.touch('b', { ttlMs: 1000 })))).code).toBe('MERGE_OPERATOR_MISSING');
    expect(await world.run(plain.touch('a', { ttlMs: 1000 }))).toBeDefined();
  });

  it('loses no write that came while it read, and none of the merge operator', async () => {
    for (const flushes of [false, true]) {
      const { world, db } = await cold();
      const gate = holdTables(world);
      const call = db.touch(keyOf(4), { ttlMs: 1000 });
      ignoreRejection(call);
      await turns();
      ignoreRejection(db.merge(keyOf(4), '+'));
      if (flushes) await world.run(db.flush({ type: 'memtable' }));
      gate.resolve();
      await world.run(call);
      expect(text(await world.run(db.get(keyOf(4))))).toBe('v4+');
    }
  });

  it('loses no write of the merge operator, and gives up on one that always writes', async () => {
    const world = new World();
    let writes: ((db: Db) => Promise<unknown>)[] = [];
    let db: Db | undefined;
    const writing = {
      merge: (...args: Parameters<typeof append.merge>) => {
        const write = writes.shift();
        if (db !== undefined && write !== undefined) ignoreRejection(write(db));
        return append.merge(...args);
      },
    };
    db = await world.open({ ...OPTIONS, mergeOperator: writing });
    await world.run(db.merge('a', 'x'));
    writes = [(d) => d.put('a', 'of the operator')];
    await world.run(db.touch('a', { ttlMs: 1000 }));
    expect(text(await world.run(db.get('a')))).toBe('of the operator');
    await world.run(db.merge('b', 'x'));
    writes = Array.from({ length: 1000 }, () => (d: Db) => d.merge('b', 'y'));
    const error = await rejection(world.run(db.touch('b', { ttlMs: 1000 })));
    expect(error.message).toContain('Do not write from a merge operator');
  });

  it('is refused without an expiry', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    expect((await rejection(db.touch('a', {}))).message).toContain('ttlMs or expireAtMs is missing');
    expect((await rejection(db.touch('', { ttlMs: 1 }))).code).toBe('BAD_ARGUMENT');
  });
});
