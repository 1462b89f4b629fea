/** Deleting ranges: exactly the rows that are there at the call, in bounded batches, and again after whatever interrupted it. */
import { describe, expect, it } from 'vitest';
import { ignoreRejection } from '../../src/common/async.ts';
import { AbortError, ClosedError, type CorruptionError, FencedError } from '../../src/common/errors.ts';
import type { DeleteRangeOptions } from '../../src/db/delete-range.ts';
import type { Db, RangeOptions } from '../../src/index.ts';
import { WriteBatch } from '../../src/index.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { keyOf, ruin, tablesOf } from '../support/damaged-tables.ts';
import { rejection, rowsOf, text, World } from '../support/database.ts';

const OPTIONS: OpenOptions = { sstBlockSizeBytes: 1024, minFilterKeys: 1, flushIntervalMs: 10 };
const append = {
  merge: (_: Uint8Array, a: Uint8Array | undefined, b: Uint8Array) => Buffer.concat([a ?? Buffer.alloc(0), b]),
};

async function fill(world: World, db: Db, from: number, to: number, value = 'v'): Promise<void> {
  const batch = new WriteBatch();
  for (let i = from; i < to; i++) batch.put(keyOf(i), value);
  await world.run(db.write(batch));
}

const keysOf = async (world: World, db: Db) => (await rowsOf(world, db)).map((row) => row.split('=')[0]);
const numbersTo = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => keyOf(from + i));

describe('deleteRange', () => {
  it('deletes the rows of the range, wherever they are stored, and no other', async () => {
    const world = new World();
    const db = await world.open({ ...OPTIONS, compactor: {} });
    await fill(world, db, 0, 100);
    await world.run(db.compact());
    await fill(world, db, 50, 150);
    await world.run(db.flush({ type: 'memtable' }));
    await fill(world, db, 140, 200);
    await world.run(db.delete(keyOf(30)));
    const { lastKey } = await deleted(world, db, { gte: keyOf(10), lt: keyOf(190) }, 179);
    expect(lastKey).toBe(keyOf(189));
    const left = [...numbersTo(0, 10), ...numbersTo(190, 200)];
    expect(await keysOf(world, db)).toEqual(left);
    await world.run(db.close());
    const again = await world.open(OPTIONS);
    expect(await keysOf(world, again)).toEqual(left);
    expect(await world.run(again.clear())).toMatchObject({ deleted: 20 });
    expect(await world.run(again.clear())).toEqual({ deleted: 0, seq: expect.any(BigInt) });
    expect(await keysOf(world, again)).toEqual([]);
  });

  async function deleted(
    world: World,
    db: Db,
    of: RangeOptions,
    rows: number,
  ): Promise<{ lastKey: string | undefined }> {
    let last: Uint8Array | undefined;
    const options: DeleteRangeOptions = { batchSize: 7, onProgress: ({ lastKey }) => void (last = lastKey) };
    const before = (await world.run(db.put('other', 'x'))).seq;
    const result = await world.run(db.deleteRange(of, options));
    await world.run(db.delete('other'));
    expect(result.deleted).toBe(rows);
    // One number for each batch, however often memtables leave in between.
    expect(Number(result.seq - before)).toBe(Math.ceil(rows / 7));
    return { lastKey: text(last) };
  }

  it('takes every form of bounds', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    const left = async (of: RangeOptions) => {
      await world.run(db.clear());
      for (const key of ['a', 'a1', 'a2', 'b', 'c']) await world.run(db.put(key, 'v', { awaitDurable: false }));
      await world.run(db.deleteRange(of));
      return (await keysOf(world, db)).join(' ');
    };
    expect(await left({ prefix: 'a' })).toBe('b c');
    expect(await left({ gt: 'a', lte: 'b' })).toBe('a c');
    expect(await left({ gte: 'b' })).toBe('a a1 a2');
    expect(await left({ gte: 'b', lt: 'b' })).toBe('a a1 a2 b c');
  });

  it('keeps what is written while it runs, before and after the place where it is, also if memtables leave', async () => {
    for (const flushes of [false, true]) {
      const world = new World();
      const db = await world.open({ ...OPTIONS, mergeOperator: append });
      await fill(world, db, 0, 100);
      if (flushes) await world.run(db.flush({ type: 'memtable' }));
      let calls = 0;
      const onProgress = () => {
        if (++calls !== 1) return;
        ignoreRejection(db.put(keyOf(3), 'new', { awaitDurable: false }));
        ignoreRejection(db.put(keyOf(77), 'new', { awaitDurable: false }));
        ignoreRejection(db.merge(keyOf(88), '+', { awaitDurable: false }));
        ignoreRejection(db.put('later', 'new', { awaitDurable: false }));
        if (flushes) ignoreRejection(db.flush({ type: 'memtable' }));
      };
      const result = await world.run(db.clear({ batchSize: 10, onProgress }));
      expect(result.deleted).toBe(98);
      expect(await rowsOf(world, db)).toEqual([`${keyOf(3)}=new`, `${keyOf(77)}=new`, `${keyOf(88)}=v+`, 'later=new']);
    }
  });

  it('keeps a row that was written while its batch waited for memory and for a table', async () => {
    const world = new World();
    const db = await world.open({
      ...OPTIONS,
      memoryBytes: 8 * 1024 * 1024,
      maxUnflushedBytes: 1 << 20,
      l0SstSizeBytes: 1 << 18,
    });
    await fill(world, db, 0, 50);
    // Memory is full: what comes next waits, the overwritten key first.
    const large = 'x'.repeat(300_000);
    for (let i = 0; i < 4; i++) ignoreRejection(db.put(`z${i}`, large, { awaitDurable: false }));
    const rewritten = db.put(keyOf(20), 'rewritten');
    const result = db.deleteRange({ lt: 'z' });
    await world.run(rewritten);
    // It was not yet written when the call was made: the call only deletes what was there then.
    expect((await world.run(result)).deleted).toBe(49);
    expect((await keysOf(world, db)).filter((k) => k < 'z')).toEqual([keyOf(20)]);
  });

  it('deletes rows that have expired but are stored, and merge operands without an operator', async () => {
    const world = new World();
    const first = await world.open({ ...OPTIONS, mergeOperator: append });
    await world.run(first.put('a', 'v', { ttlMs: 1000 }));
    await world.run(first.merge('b', 'x'));
    await world.run(first.merge('b', 'y', { ttlMs: 1000 }));
    await world.run(first.close());
    await world.clock.advance(5000);
    const db = await world.open(OPTIONS);
    expect((await world.run(db.clear())).deleted).toBe(2);
    const showing = await world.open({ ...OPTIONS, hideExpired: false });
    expect(await keysOf(world, showing)).toEqual([]);
  });

  it('is durable when it resolves, unless it need not wait', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    await fill(world, db, 0, 40);
    await world.run(db.deleteRange({ lt: keyOf(20) }, { batchSize: 3 }));
    await world.run(db.deleteRange({ lt: keyOf(30) }, { awaitDurable: false }));
    line.cut();
    const again = await world.open(OPTIONS);
    expect(await keysOf(world, again)).toEqual(numbersTo(20, 40));
  });

  it('shares log objects between batches', async () => {
    const world = new World();
    const { db, line } = await world.connect({ ...OPTIONS, flushIntervalMs: 100 });
    await fill(world, db, 0, 2000);
    line.take();
    await world.run(db.clear({ batchSize: 10 }));
    expect(line.take().filter((r) => r.startsWith('put wal/')).length).toBeLessThan(5);
  });

  it('in batches that are bounded in bytes as well', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    const long = 'k'.repeat(60_000);
    for (let i = 10; i < 40; i++) await world.run(db.put(`${long}${i}`, 'v', { awaitDurable: false }));
    const rows: number[] = [];
    await world.run(db.clear({ onProgress: ({ deleted }) => void rows.push(deleted) }));
    expect(rows).toEqual([5, 10, 15, 20, 25, 30]);
  });
});

describe('an interrupted deleteRange says how far it came, and done again it finishes', () => {
  it('aborted', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await fill(world, db, 0, 100);
    const controller = new AbortController();
    const onProgress = ({ deleted }: { deleted: number }) => {
      if (deleted === 30) controller.abort(new Error('enough'));
    };
    const options = { batchSize: 10, onProgress, signal: controller.signal, awaitDurable: false };
    const error = await rejection(world.run(db.deleteRange({ gte: keyOf(0) }, options)));
    expect(error).toBeInstanceOf(AbortError);
    expect(error).toMatchObject({ outcome: 'unknown', progress: { deleted: 30 } });
    expect(text(error.progress?.lastKey)).toBe(keyOf(29));
    expect(error.message).toContain('30 rows of the range were deleted; call it again to delete the rest');
    expect(await keysOf(world, db)).toEqual(numbersTo(30, 100));
    expect((await world.run(db.deleteRange({ gte: keyOf(0) }))).deleted).toBe(70);
    const early = await rejection(world.run(db.clear({ signal: AbortSignal.abort() })));
    expect(early).toMatchObject({ outcome: 'not-applied', progress: { deleted: 0 } });
  });

  it('by a takeover: only what is durable counts', async () => {
    const world = new World();
    const { db } = await world.connect({ ...OPTIONS, flushIntervalMs: 1000 });
    await fill(world, db, 0, 100);
    const next = await world.open(OPTIONS);
    const error = await rejection(world.run(db.deleteRange({ gte: keyOf(0) }, { batchSize: 10 })));
    expect(error).toBeInstanceOf(FencedError);
    expect(error.progress).toEqual({ deleted: 0, lastKey: undefined });
    expect((await world.run(next.deleteRange({ gte: keyOf(0) }))).deleted).toBe(100);
    const late = await rejection(world.run(db.clear()));
    expect(late).toMatchObject({ kind: 'fenced', outcome: 'not-applied' });
  });

  it('by close', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await fill(world, db, 0, 100);
    let closed: Promise<void> | undefined;
    const onProgress = () => void (closed ??= db.close());
    const error = await rejection(world.run(db.clear({ batchSize: 10, onProgress, awaitDurable: false })));
    expect(error).toBeInstanceOf(ClosedError);
    expect(error.progress?.deleted).toBe(10);
    await world.run(closed as unknown as Promise<void>);
    const again = await world.open(OPTIONS);
    expect(await keysOf(world, again)).toEqual(numbersTo(10, 100));
  });

  it('by damage: what is before it is deleted, and a call with resumeAfter goes on after it', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    await fill(world, db, 0, 200, 'v'.repeat(50));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [table] = await tablesOf(world);
    const firstIn = (block: number) => Number(table.blocks[block].firstKey.slice(-4));
    await ruin(world, table.path, table.blocks[3]);
    const again = await world.open(OPTIONS);
    const error = (await rejection(world.run(again.clear({ batchSize: 5 })))) as CorruptionError;
    expect(error.kind).toBe('corruption');
    expect(error.findings.length).toBeGreaterThan(0);
    expect(error.progress?.deleted).toBe(firstIn(3));
    const rest = await world.run(again.deleteRange({ gt: error.resumeAfter as Uint8Array }));
    // A version of the first key after the damaged block may be at its end: that key belongs to the stretch.
    expect(rest.deleted).toBe(200 - firstIn(4) - 1);
  });
});

describe('bad input of deleteRange', () => {
  it('is refused, and nothing is deleted', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await fill(world, db, 0, 3);
    const refused = async (call: Promise<unknown>) => {
      const error = await rejection(world.run(call));
      return `${error.code} ${error.message}`;
    };
    expect(await refused(db.deleteRange({}))).toContain('BAD_ARGUMENT deleteRange: the range has no bound');
    expect(await refused(db.deleteRange({ gte: undefined } as never))).toContain('the range has no bound');
    expect(await refused(db.deleteRange(undefined as never))).toContain('the range has no bound');
    for (const all of [{ prefix: '' }, { gte: '' }, { gt: '' }, { prefix: new Uint8Array(), gte: '' }])
      expect(await refused(db.deleteRange(all))).toContain('the range has no bound');
    const part = db.sublevel('part', { keyEncoding: 'tuple', valueEncoding: 'utf8' });
    for (const all of [{}, { prefix: [] }, { gte: [] }])
      expect(await refused(part.deleteRange(all))).toContain('no bound');
    expect(await refused(db.deleteRange('k' as never))).toContain('BAD_OPTION');
    expect(await refused(db.deleteRange({ gte: 'a', gt: 'a' }))).toContain('cannot have both gt and gte');
    expect(await refused(db.deleteRange({ gte: 1 as never }))).toContain('bound gte');
    expect(await refused(db.deleteRange({ form: 'a' } as never))).toContain('form is unknown');
    expect(await refused(db.clear({ batchsize: 1 } as never))).toContain('did you mean batchSize?');
    expect(await refused(db.clear({ batchSize: 0 }))).toContain('batchSize must be a whole number from 1 to 100000');
    expect(await refused(db.clear({ onProgress: 1 as never }))).toContain('onProgress must be a function');
    expect(await refused(db.clear({ ttlMs: 1 } as never))).toContain('ttlMs is unknown');
    expect(await keysOf(world, db)).toHaveLength(3);
  });

  it('a function that throws does not stop it', async () => {
    const world = new World();
    const db = await world.open(OPTIONS);
    await fill(world, db, 0, 3);
    const onProgress = () => {
      throw new Error('broken');
    };
    expect((await world.run(db.clear({ onProgress }))).deleted).toBe(3);
    expect(world.log.some((l) => l.message === 'the onProgress function threw')).toBe(true);
  });
});
