/**
 * A write that is refused has not happened: nothing is linked, claimed or counted, so rows, sequence numbers, flush and close are
 * what they would be without it. Bytes that the caller took away are the hard case: they look like bytes, and reading them throws.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { Memtable } from '../../src/lsm/memtable/memtable.ts';
import { rejection, rowsOf, text, thrown, toolAccess, World } from '../support/database.ts';
import { detach, fickleBytes, goneBytes, goodBytes, noBytes } from '../support/odd-bytes.ts';

// biome-ignore lint/suspicious/noExplicitAny: what plain JavaScript lets through
type Anything = any;

const OPTIONS = {
  mergeOperator: { merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => Buffer.concat([a ?? b, b]) },
};
const LONG = 300_000;

/** Every way to write, with bytes in the place of a key or of a value. */
const WRITES: Record<string, (db: Db, bytes: Anything) => Promise<unknown>> = {
  'put of a value': (db, b) => db.put('alice', b),
  'put of a value that nobody awaits': (db, b) => db.put('alice', b, { awaitDurable: false }),
  'put of a value that expires': (db, b) => db.put('alice', b, { ttlMs: 60_000 }),
  'put of a value under a new key': (db, b) => db.put('new', b),
  'put under a key': (db, b) => db.put(b, 'v'),
  'put of a long value under a key': (db, b) => db.put(b, new Uint8Array(LONG)),
  'delete of a key': (db, b) => db.delete(b),
  'merge of an operand': (db, b) => db.merge('alice', b),
  'merge under a key': (db, b) => db.merge(b, 'v'),
  'batch with a value': async (db, b) => db.write(new WriteBatch().put('x', '1').put('alice', b).put('y', '1')),
  'batch with a value that expires': async (db, b) => db.write(new WriteBatch().put('alice', b, { ttlMs: 60_000 })),
  'batch with a key': async (db, b) => db.write(new WriteBatch().put('x', '1').put(b, '2')),
  'batch that deletes a key': async (db, b) => db.write(new WriteBatch().put('x', '1').delete(b)),
  'batch with an operand': async (db, b) => db.write(new WriteBatch().put('x', '1').merge('alice', b)),
};

async function database(): Promise<{ world: World; db: Db }> {
  const world = new World();
  const db = await world.open(OPTIONS);
  await world.run(db.put('alice', 'alice-1'));
  return { world, db };
}

/** The database is what it was before the refusal, and goes on: also its flush, its close and its next opening. */
async function expectUntouched(world: World, db: Db, memory: number): Promise<void> {
  expect(toolAccess(db).unflushedBytes).toBe(memory);
  expect(await rowsOf(world, db)).toEqual(['alice=alice-1']);
  await world.run(db.flush());
  await world.run(db.flush({ type: 'memtable' }));
  expect(await world.run(db.put('bob', 'secret of bob'))).toEqual({ seq: 2n });
  expect(text(await world.run(db.get('alice')))).toBe('alice-1');
  await world.run(db.close());
  expect(await rowsOf(world, await world.open(OPTIONS))).toEqual(['alice=alice-1', 'bob=secret of bob']);
}

describe.each(Object.entries(WRITES))('a %s', (_, write) => {
  it.each(Object.keys(goneBytes(16)))('%s is refused and changes nothing', async (name) => {
    const { world, db } = await database();
    const memory = toolAccess(db).unflushedBytes;
    const error = await rejection(write(db, goneBytes(16)[name]));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_ARGUMENT' });
    expect(error.message).toContain('is gone');
    await expectUntouched(world, db, memory);
  });

  it('that is no array of bytes is refused and changes nothing', async () => {
    const { world, db } = await database();
    const memory = toolAccess(db).unflushedBytes;
    for (const [name, value] of Object.entries(noBytes())) {
      const error = await rejection(write(db, value));
      expect(error, name).toMatchObject({ code: 'BAD_ARGUMENT' });
      expect(error.message, name).toMatch(/must be a Uint8Array or a string/);
    }
    await expectUntouched(world, db, memory);
  });
});

describe('bytes that are as good as any', () => {
  it.each(Object.keys(goodBytes(40, 65)))('%s are keys, values, bounds and operands', async (name) => {
    const { world, db } = await database();
    const bytes = () => goodBytes(40, 66)[name];
    const key = 'B'.repeat(40);
    await world.run(db.put(bytes(), bytes()));
    await world.run(db.merge(bytes(), bytes()));
    await world.run(db.write(new WriteBatch().put('batch', bytes()).merge(bytes(), bytes()).delete('alice')));
    expect(text(await world.run(db.get(bytes())))).toBe(key.repeat(3));
    expect(text((await world.run(db.getMany([bytes()])))[0])).toBe(key.repeat(3));
    expect(await world.run(db.has(bytes()))).toBe(true);
    for (const range of [{ prefix: bytes() }, { gte: bytes() }, { lte: bytes() }])
      expect((await world.run(db.scan(range).nextBatch(1))).length).toBe(1);
    await world.run(db.delete(bytes()));
    expect(await rowsOf(world, db)).toEqual([`batch=${key}`]);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 8, 12, 20])(
    'are written as they are when they have another length after %i reads',
    async (reads) => {
      const { world, db } = await database();
      for (const length of [3, 40, 3000]) {
        const bytes = () =>
          fickleBytes(
            Array.from({ length }, () => 66),
            reads,
          );
        const key = 'B'.repeat(length);
        await world.run(db.write(new WriteBatch().delete('alice').put(bytes(), bytes()).put('x', bytes())));
        expect(await rowsOf(world, db)).toEqual([`${key}=${key}`, `x=${key}`]);
        await world.run(db.delete(bytes()));
        expect(await rowsOf(world, db)).toEqual([`x=${key}`]);
        await world.run(db.put(bytes(), bytes()));
        expect(await rowsOf(world, db)).toEqual([`${key}=${key}`, `x=${key}`]);
        await world.run(db.write(new WriteBatch().delete(bytes())));
        expect(await rowsOf(world, db)).toEqual([`x=${key}`]);
      }
    },
  );

  it('are copied when the call returns', async () => {
    const { world, db } = await database();
    const value = new Uint8Array(8).fill(65);
    const put = db.put('k', value);
    value.fill(66);
    detach(value);
    await world.run(put);
    expect(text(await world.run(db.get('k')))).toBe('AAAAAAAA');
  });
});

describe('reads with bytes that are gone', () => {
  it.each(Object.keys(goneBytes(16)))('are refused (%s)', async (name) => {
    const { world, db } = await database();
    const bytes = () => goneBytes(16)[name];
    const reads = [
      () => db.get(bytes()),
      () => db.has(bytes()),
      () => db.getWithMeta(bytes()),
      () => db.getMany(['alice', bytes()]),
      () => db.scan({ gte: bytes() }).next(),
      () => db.scan({ prefix: bytes() }).next(),
      () => db.scan().seek(bytes()),
      () => db.estimateSize({ lt: bytes() }),
    ];
    for (const read of reads)
      expect(await rejection(world.run<unknown>(read()))).toMatchObject({ code: 'BAD_ARGUMENT' });
  });
});

describe('options that take the bytes away while they are read', () => {
  const taking = (bytes: Uint8Array, name: string, value: unknown): Anything =>
    Object.defineProperty({}, name, {
      enumerable: true,
      get() {
        if (bytes.length > 0) detach(bytes);
        return value;
      },
    });

  it.each([
    ['put', 'ttlMs', 5],
    ['put', 'awaitDurable', false],
    ['merge', 'expireAtMs', 5],
  ] as const)('have a %s refused (%s)', async (call, name, value) => {
    const { world, db } = await database();
    const memory = toolAccess(db).unflushedBytes;
    const bytes = new Uint8Array(16);
    expect(await rejection(db[call]('alice', bytes, taking(bytes, name, value)))).toMatchObject({
      code: 'BAD_ARGUMENT',
    });
    const key = new Uint8Array(16);
    expect(await rejection(db[call](key, 'v', taking(key, name, value)))).toMatchObject({ code: 'BAD_ARGUMENT' });
    await expectUntouched(world, db, memory);
  });

  it('have an operation of a batch refused, which stays as it was', async () => {
    const { world, db } = await database();
    const batch = new WriteBatch().put('a', '1');
    const bytes = new Uint8Array(16);
    expect(thrown(() => batch.put('b', bytes, taking(bytes, 'ttlMs', 5)))).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(batch).toMatchObject({ length: 1, byteLength: 2, hasTtls: false });
    await world.run(db.write(batch.put('c', '2')));
    expect(await rowsOf(world, db)).toEqual(['a=1', 'alice=alice-1', 'c=2']);
  });

  it('that add to the batch themselves are read before the operation', async () => {
    const { world, db } = await database();
    const batch = new WriteBatch();
    const options: Anything = {
      get ttlMs() {
        batch.put('inner', '1');
        return 60_000;
      },
    };
    batch.put('outer', '2', options);
    await world.run(db.write(batch));
    const inner = await world.run(db.getWithMeta('inner'));
    const outer = await world.run(db.getWithMeta('outer'));
    expect([text(inner?.value), inner?.expireTs]).toEqual(['1', undefined]);
    expect([text(outer?.value), outer?.expireTs !== undefined]).toEqual(['2', true]);
  });
});

describe('a batch', () => {
  it('whose operation was refused is what it was', () => {
    const batch = new WriteBatch().put('a', '1');
    const refused: (() => unknown)[] = [];
    for (const bytes of [...Object.values(goneBytes(64)), ...Object.values(noBytes())] as Anything[]) {
      refused.push(
        () => batch.put('k', bytes),
        () => batch.put(bytes, 'v'),
        () => batch.put('k', bytes, { ttlMs: 5 }),
        () => batch.merge('k', bytes),
        () => batch.merge(bytes, 'v', { expireAtMs: 5 }),
        () => batch.delete(bytes),
      );
    }
    for (const options of [null, 5, [], { ttl: 5 }, { ttlMs: 0 }, { ttlMs: 1, expireAtMs: 1 }] as Anything[]) {
      refused.push(
        () => batch.put('k', 'v', options),
        () => batch.merge('k', 'v', options),
      );
    }
    for (const call of refused) expect(thrown(call).kind).toBe('invalid');
    expect(batch).toMatchObject({ length: 1, byteLength: 2, hasTtls: false });
    // No operator is needed: the merges were refused.
    expect(batch.folded(undefined)).toBe(batch);
  });

  it('that only looks like one is refused', async () => {
    const { world, db } = await database();
    const memory = toolAccess(db).unflushedBytes;
    for (const batch of [Object.create(WriteBatch.prototype), new Proxy(new WriteBatch().put('a', 'b'), {})]) {
      expect(await rejection(db.write(batch as WriteBatch))).toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    await expectUntouched(world, db, memory);
  });
});

describe('a process without memory', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const outOfMemory = (calls: number) => {
    const real = Buffer.allocUnsafeSlow;
    let left = calls;
    vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementation((bytes) => {
      if (left-- > 0) return real(bytes);
      throw new RangeError('Array buffer allocation failed');
    });
  };

  it('has a put refused, and nothing else', async () => {
    const { world, db } = await database();
    const memory = toolAccess(db).unflushedBytes;
    outOfMemory(0);
    expect(await rejection(db.put('big', new Uint8Array(LONG)))).toMatchObject({
      code: 'OVERLOADED',
      outcome: 'not-applied',
    });
    vi.restoreAllMocks();
    await expectUntouched(world, db, memory);
  });

  it('never shows half a batch: the database stops, and nothing of the batch is there afterwards', async () => {
    const { world, db } = await database();
    const batch = new WriteBatch();
    for (let i = 0; i < 4; i++) batch.put(`big ${i}`, new Uint8Array(LONG), { ttlMs: 60_000 });
    outOfMemory(2);
    const error = await rejection(db.write(batch));
    expect(error).toMatchObject({ name: 'ClosedError', code: 'FAILED', outcome: 'not-applied' });
    vi.restoreAllMocks();
    expect(await rejection(db.get('alice'))).toMatchObject({ code: 'FAILED' });
    expect(await rowsOf(world, await world.open(OPTIONS))).toEqual(['alice=alice-1']);
  });
});

describe('a memtable', () => {
  it.each([16, LONG])('is what it was after a row of %i bytes whose memory is gone', (length) => {
    const table = new Memtable();
    const put = (key: Uint8Array, value: Uint8Array, seq: number) => table.add(key, value, seq, 0, 0, 0);
    const alice = Buffer.from('alice');
    put(alice, Buffer.from('1'), 1);
    const { memoryBytes } = table;
    const gone = detach(new Uint8Array(length));
    const refused = [
      () => put(alice, gone, 2),
      () => table.addSlice(alice, 0, 5, gone, 0, length, 2, 0, 0, 0),
      () => table.addSlice(gone, 0, 16, alice, 0, 5, 2, 0, 0, 0),
    ];
    for (const call of refused) expect(thrown(call)).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(table).toMatchObject({ rowCount: 1, keyCount: 1, lastSeq: 1, memoryBytes });
    put(Buffer.from('bob'), Buffer.from('2'), 2);
    const id = table.find(alice, 9);
    expect(Buffer.from(table.valueBufOf(id)).subarray(table.valueStartOf(id))[0]).toBe(0x31);
    expect(table.older(id)).toBe(-1);
  });
});
