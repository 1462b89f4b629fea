/** What a crash, a close, a full memory or a failing store may cost: never anything that was acknowledged. */
import { describe, expect, it } from 'vitest';
import type { DbError, UnavailableError } from '../../src/common/errors.ts';
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { type Line, rejection, rowsOf, text, World } from '../support/database.ts';

const APPEND: OpenOptions = {
  mergeOperator: { merge: (_, a, b) => Buffer.concat([a ?? Buffer.alloc(0), b]) },
};

/** What should be readable, written next to the database. */
class Model {
  readonly #rows = new Map<string, string>();
  /** The state after each write. */
  readonly states: string[][] = [[]];

  apply(change: (rows: Map<string, string>) => void): void {
    change(this.#rows);
    this.states.push([...this.#rows].map(([k, v]) => `${k}=${v}`).sort());
  }

  get now(): string[] {
    return this.states[this.states.length - 1];
  }
}

/** Writes of every kind, some with a flush between them. `after` is called when a write is acknowledged. */
async function workload(world: World, db: Db, model: Model, after: (n: number) => Promise<void>): Promise<void> {
  const random = new SeededRandom(5);
  for (let i = 0; i < 24; i++) {
    const key = `k${nextInt(random, 6)}`;
    const kind = nextInt(random, 5);
    let write: () => Promise<unknown>;
    if (kind === 0) {
      write = () => db.delete(key);
      model.apply((rows) => rows.delete(key));
    } else if (kind === 1) {
      write = () => db.merge(key, `+${i}`);
      model.apply((rows) => rows.set(key, `${rows.get(key) ?? ''}+${i}`));
    } else if (kind === 2) {
      const batch = new WriteBatch().put('batch-a', `${i}`).put('batch-b', `${i}`).delete(key).put('batch-c', `${i}`);
      write = () => db.write(batch);
      model.apply((rows) => {
        for (const name of ['batch-a', 'batch-b', 'batch-c']) rows.set(name, `${i}`);
        rows.delete(key);
      });
    } else {
      write = () => db.put(key, `${i}`);
      model.apply((rows) => rows.set(key, `${i}`));
    }
    await world.run(write());
    await after(i + 1);
    if (i % 7 === 6) await world.run(db.flush({ type: 'memtable' }));
  }
}

describe('a crash', () => {
  it('after any acknowledged write loses none of them', async () => {
    const world = new World();
    const model = new Model();
    const db = await world.open(APPEND);
    await workload(world, db, model, async () => {
      const copy = await world.copy();
      const reader = await copy.openReader({ mergeOperator: APPEND.mergeOperator! });
      expect(await rowsOf(copy, reader)).toEqual(model.now);
      expect(await rowsOf(copy, await copy.open(APPEND))).toEqual(model.now);
    });
  });

  it.each(['before', 'after'] as const)('at any request, %s it arrives, leaves a state that was', async (where) => {
    const total = await requestsOfWorkload();
    expect(total).toBeGreaterThan(40);
    for (let n = 1; n <= total; n++) {
      const world = new World();
      const model = new Model();
      const line = world.line();
      line.cutAt(n, where);
      let acknowledged = 0;
      const dying = (async () => {
        const db = await world.opening(APPEND, line);
        await workload(world, db, model, async (i) => {
          acknowledged = i;
        });
      })();
      await settleOrDie(world, dying, line);
      // The next opening finds everything acknowledged, at most one write more, and batches whole.
      const rows = await rowsOf(world, await world.open(APPEND));
      const allowed = [model.states[acknowledged], model.states[acknowledged + 1]].map(String);
      expect(allowed, `request ${n}`).toContain(String(rows));
      expect(await rowsOf(world, await world.open(APPEND))).toEqual(rows);
    }
  });

  async function requestsOfWorkload(): Promise<number> {
    const world = new World();
    const { db, line } = await world.connect(APPEND);
    await workload(world, db, new Model(), async () => undefined);
    return line.requests.length;
  }

  /** Runs until the process has died; what waits for its store then never settles. */
  async function settleOrDie(world: World, work: Promise<void>, line: Line): Promise<void> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    for (let i = 0; i < 500 && !settled && !line.isCut; i++) await world.clock.advance(10);
    expect(settled || line.isCut).toBe(true);
  }

  it('loses only the newest of the rows that nobody awaited', async () => {
    for (let ms = 0; ms <= 400; ms += 40) {
      const world = new World();
      world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 30 });
      const { db, line } = await world.connect({ awaitDurable: false, flushIntervalMs: 100 });
      const writing = (async () => {
        for (let i = 0; i < 40; i++) {
          await db.put(`k${String(i).padStart(2, '0')}`, 'v');
          await new Promise<void>((resolve) => world.clock.setTimer(10, resolve));
        }
      })();
      await world.clock.advance(ms);
      line.cut();
      await world.run(writing);
      world.store = world.faults;
      const rows = await rowsOf(world, await world.open());
      expect(rows).toEqual(Array.from({ length: rows.length }, (_, i) => `k${String(i).padStart(2, '0')}=v`));
      // Older than the interval and a round trip: durable.
      expect(rows.length).toBeGreaterThanOrEqual(Math.floor((ms - 100 - 30) / 10));
    }
  });
});

describe('close', () => {
  it('makes everything durable, and leaves nothing to replay', async () => {
    const world = new World();
    const { db } = await world.connect({ awaitDurable: false });
    for (let i = 0; i < 10; i++) await world.run(db.put(`k${i}`, 'v'));
    await world.run(db.close());
    const newest = (await world.paths('manifest/')).pop()!;
    const { manifest } = decodeManifest(await world.bytes(newest));
    expect([manifest.l0.length, manifest.replayAfterWalId, manifest.lastL0Seq]).toEqual([1, 2, 10]);
    const again = await world.connect();
    expect(again.line.take().filter((r) => r.startsWith('get wal/'))).toEqual([]);
    expect(await rowsOf(world, again.db)).toHaveLength(10);
  });

  it('settles every write that came before it', async () => {
    const world = new World();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 100 });
    const db = await world.open();
    const writes = Array.from({ length: 5 }, (_, i) => db.put(`k${i}`, 'v'));
    const closed = db.close();
    expect(await world.run(Promise.all(writes))).toEqual([1n, 2n, 3n, 4n, 5n].map((seq) => ({ seq })));
    await world.run(closed);
    world.store = world.faults;
    expect(await rowsOf(world, await world.open())).toHaveLength(5);
  });

  it('again is harmless, and every other call says that it is closed', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('k', 'v'));
    const both = [db.close(), db.close()];
    expect(await rejection(db.put('k', 'v'))).toMatchObject({ name: 'ClosedError', code: 'CLOSED' });
    await world.run(Promise.all(both));
    await world.run(db.close());
    const before = await world.versions();
    const calls: (() => Promise<unknown>)[] = [
      () => db.put('k', 'v'),
      () => db.delete('k'),
      () => db.write(new WriteBatch().put('k', 'v')),
      () => db.get('k'),
      () => db.getMany(['k']),
      () => db.has('k'),
      () => db.getWithMeta('k'),
      () => db.scan().next(),
      () => db.flush(),
      () => db.estimateSize(),
    ];
    for (const call of calls) expect(await rejection(world.run(call()))).toMatchObject({ code: 'CLOSED' });
    expect(() => db.snapshot()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
    expect(await world.versions()).toEqual(before);
    await world.clock.advance(3_600_000);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('gives up at its deadline, and rejects every write that waits', async () => {
    const world = new World();
    const db = await world.open({ closeTimeoutMs: 3000 });
    world.faults.add({ action: 'stall', op: 'put' });
    const put = rejection(db.put('k', 'v'));
    await world.clock.settle();
    const late = rejection(db.put('k2', 'v'));
    const start = world.clock.monotonicMs();
    const error = await rejection(world.run(db.close()));
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'DEADLINE', outcome: 'unknown' });
    expect(error.message).toContain('closeTimeoutMs');
    expect(world.clock.monotonicMs() - start).toBe(3000);
    expect(await put).toMatchObject({ name: 'ClosedError', outcome: 'unknown' });
    expect(await late).toMatchObject({ name: 'ClosedError', outcome: 'not-applied' });
    expect(await rejection(world.run(db.get('k')))).toMatchObject({ code: 'CLOSED' });
    await world.clock.advance(3_600_000);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('of an empty database writes one manifest and nothing else', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    line.take();
    await world.run(db.close());
    expect(line.take()).toEqual(['put manifest/00000000000000000003.manifest']);
  });

  it('works as an async disposer', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db[Symbol.asyncDispose]());
    expect(await rejection(db.put('k', 'v'))).toMatchObject({ code: 'CLOSED' });
  });

  it('ends the snapshots and scans taken before', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('k', 'v'));
    const snapshot = db.snapshot();
    const scan = db.scan();
    await world.run(db.close());
    expect(await rejection(world.run(snapshot.get('k')))).toMatchObject({ code: 'CLOSED' });
    expect(await rejection(world.run(scan.next()))).toMatchObject({ code: 'CLOSED' });
    await world.run(snapshot.close());
    await world.run(scan.close());
  });
});

describe('a store that fails', () => {
  it('for good rejects a write after its deadline, keeps the write queued, and goes on when it is back', async () => {
    const world = new World();
    const { db, line } = await world.connect({ timeoutMs: 10_000 });
    world.faults.add({ action: 'fail-before', op: 'put' });
    const start = world.clock.monotonicMs();
    const error = (await rejection(world.run(db.put('a', '1')))) as UnavailableError;
    expect(error).toMatchObject({ name: 'UnavailableError', outcome: 'unknown', retryable: true });
    expect(world.clock.monotonicMs() - start).toBeLessThanOrEqual(10_000);
    expect(text(await world.run(db.get('a')))).toBe('1');
    expect(await world.run(db.get('a', { durabilityFilter: 'remote' }))).toBeUndefined();
    world.faults.clear();
    await world.clock.advance(60_000);
    expect(text(await world.run(db.get('a', { durabilityFilter: 'remote' })))).toBe('1');
    line.cut();
    expect(await rowsOf(world, await world.open())).toEqual(['a=1']);
  });

  it('with a lasting refusal rejects at once', async () => {
    const world = new World();
    const db = await world.open();
    world.faults.add({ action: 'status:403', op: 'put' });
    const start = world.clock.monotonicMs();
    const error = await rejection(world.run(db.put('a', '1')));
    expect(error).toMatchObject({ code: 'STORE_DENIED' });
    expect(world.clock.monotonicMs() - start).toBeLessThan(1000);
    world.faults.clear();
    await world.run(db.put('b', '2'));
    expect(await rowsOf(world, db)).toEqual(['a=1', 'b=2']);
  });

  it('while it flushes a table goes on when it is back', async () => {
    const world = new World();
    const db = await world.open({ timeoutMs: 5000 });
    await world.run(db.put('a', '1'));
    world.faults.add({ action: 'fail-before', op: 'put', path: /^compacted/ });
    expect(await rejection(world.run(db.flush({ type: 'memtable' })))).toMatchObject({ kind: 'unavailable' });
    await world.run(db.put('b', '2'));
    world.faults.clear();
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    expect(await rowsOf(world, await world.open())).toEqual(['a=1', 'b=2']);
  });
});

describe('too much in memory', () => {
  const SMALL: OpenOptions = { l0SstSizeBytes: 64 * 1024, maxUnflushedBytes: 1 << 20, awaitDurable: false };
  const value = (i: number) => new Uint8Array(20_000).fill(i);

  /** Writes until one has to wait, with no table leaving the process. */
  async function full(world: World, options: OpenOptions = {}): Promise<{ db: Db; line: Line; written: number }> {
    const { db, line } = await world.connect({ ...SMALL, ...options });
    world.faults.add({ action: 'stall', op: 'put', path: /^compacted/ });
    for (let i = 0; ; i++) {
      let admitted = false;
      db.put(`k${String(i).padStart(4, '0')}`, value(i)).then(
        () => {
          admitted = true;
        },
        () => undefined,
      );
      await world.clock.advance(1);
      if (!admitted) return { db, line, written: i };
      expect(i).toBeLessThan(200);
    }
  }

  it('lets writers wait, then rejects them as not applied', async () => {
    const world = new World();
    const { db, written } = await full(world, { writeTimeoutMs: 5000 });
    // What is held is near the limit: the limit is used, and kept.
    expect(written * 20_000).toBeGreaterThan(0.5 * (1 << 20));
    expect(written * 20_000).toBeLessThan(1.1 * (1 << 20));
    const error = await rejection(world.run(db.put('late', 'v')));
    expect(error).toMatchObject({
      name: 'UnavailableError',
      code: 'OVERLOADED',
      outcome: 'not-applied',
      retryable: true,
    });
    expect(error.message).toContain('writeTimeoutMs');
    expect(error.message).toContain('maxUnflushedBytes');
    expect(await world.run(db.get('late'))).toBeUndefined();
    expect(text(await world.run(db.get('k0000')))).toBe(text(value(0)));
  });

  it('admits in the order of arrival as soon as there is room', async () => {
    const world = new World();
    const { db, written } = await full(world);
    const order: number[] = [];
    const waiting = Array.from({ length: 10 }, (_, i) =>
      db.put(`q${i}`, value(i)).then(({ seq }) => {
        order.push(Number(seq));
      }),
    );
    await world.clock.advance(100);
    expect(order).toEqual([]);
    world.faults.clear();
    // The stalled uploads are tried again.
    await world.run(Promise.all(waiting));
    expect(order).toEqual(Array.from({ length: 10 }, (_, i) => written + 2 + i));
    await world.run(db.close());
    expect((await rowsOf(world, await world.open())).length).toBe(written + 11);
  });

  it('lets a small write not overtake a large one', async () => {
    const world = new World();
    const { db } = await full(world);
    const done: string[] = [];
    const large = db.put('large', new Uint8Array(100_000)).then(() => done.push('large'));
    const small = db.put('small', 'v').then(() => done.push('small'));
    world.faults.clear();
    await world.run(Promise.all([large, small]));
    expect(done).toEqual(['large', 'small']);
  });

  it('copies what waits, so that the caller may use its buffers again', async () => {
    const world = new World();
    const { db } = await full(world);
    const key = new TextEncoder().encode('reused-key');
    const content = new TextEncoder().encode('content');
    const batch = new WriteBatch().put('in-batch', 'before');
    const puts = [db.put(key, content), db.write(batch)];
    key.fill(0);
    content.fill(0);
    batch.clear().put('in-batch', 'after');
    world.faults.clear();
    await world.run(Promise.all(puts));
    expect(text(await world.run(db.get('reused-key')))).toBe('content');
    expect(text(await world.run(db.get('in-batch')))).toBe('before');
  });

  it('aborts a waiting write without applying it', async () => {
    const world = new World();
    const { db } = await full(world);
    const abort = new AbortController();
    const put = rejection(db.put('aborted', 'v', { signal: abort.signal }));
    const next = db.put('next', 'v');
    await world.clock.advance(10);
    abort.abort(new Error('enough'));
    expect(await put).toMatchObject({ name: 'AbortError', code: 'ABORTED', outcome: 'not-applied' });
    world.faults.clear();
    await world.run(next);
    expect(await world.run(db.get('aborted'))).toBeUndefined();
  });

  it('rejects those who wait when the database closes or is fenced', async () => {
    for (const end of ['close', 'fence'] as const) {
      const world = new World();
      const { db } = await full(world, { closeTimeoutMs: 1000 });
      const waiting = rejection(db.put('waiting', 'v'));
      await world.clock.advance(10);
      if (end === 'close') await rejection(world.run(db.close()));
      else {
        await world.open();
        await world.clock.advance(5000);
      }
      const error = await world.run(waiting);
      expect(error.name).toBe(end === 'close' ? 'ClosedError' : 'FencedError');
      expect(error.outcome).toBe('not-applied');
    }
  });

  it('resolves writes that had to queue in the order of the writes, whatever is written in between', async () => {
    const world = new World();
    const db = await world.open(SMALL);
    const resolved: bigint[] = [];
    // The next write of a chain is made in the moment in which the one before is durable: often before those that were just admitted
    // have gone on.
    const chain = async (id: number) => {
      for (let i = 0; i < 8; i++) {
        const { seq } = await db.put(`k${id}-${i}`, value(id), { awaitDurable: true });
        resolved.push(seq);
      }
    };
    await world.run(Promise.all(Array.from({ length: 60 }, (_, id) => chain(id))));
    expect(resolved).toHaveLength(480);
    expect(resolved).toEqual([...resolved].sort((a, b) => Number(a - b)));
  });

  it('waits for nothing with an empty batch, not for what was written before it either', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    const { seq } = await db.put('k', 'v', { awaitDurable: false });
    line.take();
    expect(await db.write(new WriteBatch(), { awaitDurable: true })).toEqual({ seq });
    expect(await world.run(db.write(new WriteBatch().put('k', 'w').clear()))).toEqual({ seq });
    expect(line.take()).toEqual([]);
    expect(await world.run(db.get('k', { durabilityFilter: 'remote' }))).toBeUndefined();
  });

  it('refuses a batch that can never be admitted', async () => {
    const world = new World();
    const db = await world.open(SMALL);
    const batch = new WriteBatch();
    for (let i = 0; i < 60; i++) batch.put(`k${i}`, value(i));
    const error = await rejection(db.write(batch));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BATCH_TOO_LARGE' });
    expect(error.message).toContain(String(1 << 20));
    expect(error.message).toContain('maxUnflushedBytes');
    expect(await rowsOf(world, db)).toEqual([]);
  });

  it('does not stop a single value larger than the memtable', async () => {
    const world = new World();
    const { db, line } = await world.connect(SMALL);
    await world.run(db.put('large', new Uint8Array(900_000).fill(7), { awaitDurable: true }));
    line.cut();
    expect((await world.run((await world.open()).get('large')))?.length).toBe(900_000);
  });
});

describe('an abort signal', () => {
  it('that is aborted already applies nothing', async () => {
    const world = new World();
    const db = await world.open();
    const signal = AbortSignal.abort();
    for (const call of [
      () => db.put('k', 'v', { signal }),
      () => db.delete('k', { signal }),
      () => db.write(new WriteBatch().put('k', 'v'), { signal }),
    ]) {
      expect(await rejection(call())).toMatchObject({ code: 'ABORTED', outcome: 'not-applied' });
    }
    expect(await rejection(db.get('k', { signal }))).toMatchObject({ code: 'ABORTED' });
    expect(await rejection(db.scan({ signal }).next())).toMatchObject({ code: 'ABORTED' });
    expect(await rowsOf(world, db)).toEqual([]);
  });

  it('after admission ends the waiting alone', async () => {
    const world = new World();
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 100 });
    const db = await world.open();
    const abort = new AbortController();
    const put = rejection(db.put('k', 'v', { signal: abort.signal }));
    await world.clock.advance(10);
    abort.abort();
    expect(await put).toMatchObject({ name: 'AbortError', outcome: 'unknown' });
    await world.clock.advance(1000);
    expect(text(await world.run(db.get('k', { durabilityFilter: 'remote' })))).toBe('v');
  });

  it('ends a scan between two rows', async () => {
    const world = new World();
    const db = await world.open();
    const batch = new WriteBatch();
    for (let i = 0; i < 1000; i++) batch.put(`k${i}`, 'v');
    await world.run(db.write(batch));
    const abort = new AbortController();
    const scan = db.scan({ signal: abort.signal });
    await world.run(scan.nextBatch(10));
    abort.abort();
    expect(await rejection(world.run(scan.nextBatch(1000)))).toMatchObject({ code: 'ABORTED' });
  });
});

describe('without a log', () => {
  it('a durable write is in a table that the manifest names', async () => {
    const world = new World();
    const { db, line } = await world.connect({ walEnabled: false, flushIntervalMs: 50 });
    await world.run(db.put('a', '1'));
    await world.run(db.put('b', '2', { awaitDurable: false }));
    line.cut();
    expect(await rowsOf(world, await world.open())).toEqual(['a=1']);
    const wal = await world.paths('wal/');
    for (const path of wal) expect((await world.bytes(path)).length).toBeLessThan(400);
  });

  it('close makes the rest durable', async () => {
    const world = new World();
    const db = await world.open({ walEnabled: false, awaitDurable: false });
    for (let i = 0; i < 5; i++) await world.run(db.put(`k${i}`, 'v'));
    await world.run(db.close());
    expect(await rowsOf(world, await world.open({ walEnabled: false }))).toHaveLength(5);
  });

  it('flush waits for the table, and reads of what is durable see it', async () => {
    const world = new World();
    const db = await world.open({ walEnabled: false, awaitDurable: false });
    await world.run(db.put('a', '1'));
    expect(await world.run(db.get('a', { durabilityFilter: 'remote' }))).toBeUndefined();
    await world.run(db.flush());
    expect(text(await world.run(db.get('a', { durabilityFilter: 'remote' })))).toBe('1');
  });

  it('what an earlier life left in the log is still replayed', async () => {
    const world = new World();
    await world.writeAndCrash(['x']);
    const { db, line } = await world.connect({ walEnabled: false });
    expect(await rowsOf(world, db)).toEqual(['x=value of x']);
    await world.run(db.put('y', '1'));
    line.cut();
    expect(await rowsOf(world, await world.open())).toEqual(['x=value of x', 'y=1']);
  });

  it('fences a writer that has one', async () => {
    const world = new World();
    const a = await world.open();
    await world.run(a.put('x', '1'));
    const b = await world.open({ walEnabled: false });
    expect(await rejection(world.run(a.put('x', '2')))).toMatchObject({ name: 'FencedError' });
    expect(await rowsOf(world, b)).toEqual(['x=1']);
  });

  it('a life with a log goes on after it', async () => {
    const world = new World();
    await world.writeAndCrash(['x'], { walEnabled: false });
    await world.writeAndCrash(['y']);
    await world.writeAndCrash(['z'], { walEnabled: false });
    expect((await rowsOf(world, await world.open())).map((r) => r[0])).toEqual(['x', 'y', 'z']);
  });
});

describe('large values', () => {
  const big = (seed: number, bytes: number) => {
    const value = new Uint8Array(bytes);
    new SeededRandom(seed).fill(value);
    return value;
  };

  it('of 5 MiB survive log, table and reopening', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    const value = big(1, 5 << 20);
    await world.run(db.put('big', value));
    await world.run(db.put('small', 'v'));
    expect(Buffer.compare((await world.run(db.get('big')))!, value)).toBe(0);
    line.cut();
    const again = await world.open();
    expect(Buffer.compare((await world.run(again.get('big')))!, value)).toBe(0);
    await world.run(again.close());
    const third = await world.open();
    expect(Buffer.compare((await world.run(third.get('big')))!, value)).toBe(0);
    const rows = await world.run(third.scan().nextBatch(10));
    expect(rows.map((r) => r.value.length)).toEqual([5 << 20, 1]);
  });

  it('that each fill a memtable keep their order', async () => {
    const world = new World();
    const { db, line } = await world.connect({ l0SstSizeBytes: 100_000, awaitDurable: false });
    for (let i = 0; i < 8; i++) {
      await world.run(db.put('same', big(i, 150_000)));
      await world.run(db.put(`k${i}`, big(100 + i, 60_000)));
    }
    await world.run(db.flush());
    expect(Buffer.compare((await world.run(db.get('same')))!, big(7, 150_000))).toBe(0);
    line.cut();
    const again = await world.open();
    expect(Buffer.compare((await world.run(again.get('same')))!, big(7, 150_000))).toBe(0);
    for (let i = 0; i < 8; i++) expect((await world.run(again.get(`k${i}`)))?.[5]).toBe(big(100 + i, 60_000)[5]);
  });

  it('in one batch are whole after a crash', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    const batch = new WriteBatch();
    for (let i = 0; i < 12; i++) batch.put(`k${i}`, big(i, 1 << 20));
    await world.run(db.write(batch));
    line.cut();
    const again = await world.open();
    for (let i = 0; i < 12; i++) {
      expect(Buffer.compare((await world.run(again.get(`k${i}`)))!, big(i, 1 << 20))).toBe(0);
    }
  });
});

describe('a log larger than the memory for it', () => {
  const SMALL: OpenOptions = { l0SstSizeBytes: 16 * 1024, maxUnflushedBytes: 256 * 1024, memoryBytes: 8 << 20 };
  const ROWS = 160;
  const keyOf = (i: number) => `k${String(i).padStart(5, '0')}`;

  /** A log of 160 rows of 4 KiB, nothing of it in tables. */
  async function longLog(): Promise<World> {
    const world = new World();
    const { db, line } = await world.connect();
    await world.run(
      (async () => {
        for (let i = 0; i < ROWS; i++) await db.put(keyOf(i), new Uint8Array(4096).fill(i));
      })(),
    );
    line.cut();
    expect(await world.paths('compacted/')).toEqual([]);
    return world;
  }

  async function expectAllRows(world: World, options: OpenOptions = {}): Promise<void> {
    const db = await world.open(options);
    for (let i = 0; i < ROWS; i += 9) expect((await world.run(db.get(keyOf(i))))?.[9]).toBe(i & 255);
    expect((await rowsOf(world, db)).length).toBe(ROWS);
  }

  it('is flushed while it is replayed, with the point up to which it was read', async () => {
    const world = await longLog();
    const { db } = await world.connect(SMALL);
    const tables = (await world.paths('compacted/')).length;
    expect(tables).toBeGreaterThan(5);
    expect((await rowsOf(world, db)).length).toBe(ROWS);
    for (const path of (await world.paths('manifest/')).slice(2)) {
      const { manifest } = decodeManifest(await world.bytes(path));
      // Row n is in WAL object n + 1; each table ends with the object that the replay point names.
      if (manifest.l0.length > 0) expect(manifest.replayAfterWalId).toBe(manifest.lastL0Seq + 1);
    }
  });

  it('may be cut off at any of its flushes', async () => {
    const whole = await longLog();
    const probe = await whole.copy();
    const { line } = await probe.connect(SMALL);
    const puts = line.requests.flatMap((r, i) => (r.op === 'put' ? [i + 1] : []));
    expect(puts.length).toBeGreaterThan(20);
    for (let i = 3; i < puts.length; i += 5) {
      for (const where of ['before', 'after'] as const) {
        const world = await whole.copy();
        const dying = world.line();
        dying.cutAt(puts[i], where);
        world.opening(SMALL, dying).catch(() => undefined);
        for (let ms = 0; ms < 200 && !dying.isCut; ms++) await world.clock.advance(1);
        expect(dying.isCut).toBe(true);
        await expectAllRows(world, i % 2 === 0 ? SMALL : {});
      }
    }
  });

  it('ends the opening if its tables cannot be stored, and nothing goes on after it', async () => {
    const world = await longLog();
    for (const action of ['status:403', 'stall', 'fail-before'] as const) {
      world.faults.add({ action, op: 'put', path: /^compacted/ });
      const line = world.line();
      const start = world.clock.monotonicMs();
      const error = await rejection(world.run(world.opening({ ...SMALL, timeoutMs: 5000 }, line)));
      expect(['unavailable', 'invalid']).toContain(error.kind);
      expect(world.clock.monotonicMs() - start).toBeLessThan(30_000);
      world.faults.clear();
      await world.clock.advance(1000);
      line.take();
      await world.clock.advance(3_600_000);
      expect(line.take()).toEqual([]);
    }
    await expectAllRows(world, SMALL);
  });

  it('is refused by a reader whose memory it exceeds', async () => {
    const world = new World();
    const { db, line } = await world.connect();
    for (let i = 0; i < 10; i++) await world.run(db.put(keyOf(i), new Uint8Array(1 << 20).fill(i)));
    line.cut();
    const error = await rejection(world.openReader({ memoryBytes: 8 << 20 }));
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'OVERLOADED' });
    expect(error.message).toContain('memoryBytes');
    expect(await rowsOf(world, await world.openReader())).toHaveLength(10);
  });
});

describe('an opening', () => {
  it('of a store that does not answer one kind of request ends at its deadline', async () => {
    for (const op of ['get', 'head', 'list', 'put'] as const) {
      for (const action of ['stall', 'fail-before', 'throttle'] as const) {
        const world = new World();
        await world.writeAndCrash(['a', 'b']);
        world.faults.add({ action, op });
        const start = world.clock.monotonicMs();
        const error = await rejection(world.run(world.opening({ timeoutMs: 4000 })));
        expect(error, `${action} of ${op}`).toMatchObject({ name: 'UnavailableError', retryable: true });
        expect(world.clock.monotonicMs() - start).toBeLessThan(20_000);
        world.faults.clear();
        expect(await rowsOf(world, await world.open())).toHaveLength(2);
      }
    }
  });
});

describe('a failure in the background', () => {
  it('is kept as the cause of every later error', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('k', 'v'));
    // Somebody overwrote the newest manifest with nonsense of a higher id: nothing may be written on top of it.
    await world.replace('manifest/00000000000000000003.manifest', new Uint8Array(40).fill(1));
    const flush = await rejection(world.run(db.flush({ type: 'memtable' })));
    expect(flush).toMatchObject({ name: 'ClosedError', code: 'FAILED', outcome: 'unknown' });
    const later = (await rejection(world.run(db.put('k', 'v2')))) as DbError;
    expect(later).toMatchObject({ name: 'ClosedError', code: 'FAILED', outcome: 'not-applied' });
    expect((later.cause as DbError).kind).toMatch(/corruption|incompatible/);
  });

  it('leaves no write or flush without an outcome: those under way are unknown, those after it not applied', async () => {
    const world = new World();
    const options: OpenOptions = { walEnabled: false, flushIntervalMs: 10_000 };
    const db = await world.open(options);
    const waiting = rejection(db.put('k', 'v'));
    await world.replace('manifest/00000000000000000003.manifest', new Uint8Array(40).fill(1));
    await rejection(world.run(db.flush({ type: 'memtable' })));
    expect(await waiting).toMatchObject({ name: 'ClosedError', code: 'FAILED', outcome: 'unknown' });
    const batch = new WriteBatch().put('k', 'v2');
    for (const call of [
      db.put('k', 'v2'),
      db.delete('k'),
      db.write(batch),
      db.flush(),
      db.flush({ type: 'memtable' }),
    ]) {
      expect(await rejection(call)).toMatchObject({ code: 'FAILED', outcome: 'not-applied' });
    }
  });

  it('or a close rejects later writes as not applied', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.close());
    expect(await rejection(db.put('k', 'v'))).toMatchObject({ code: 'CLOSED', outcome: 'not-applied' });
    expect(await rejection(db.flush())).toMatchObject({ code: 'CLOSED', outcome: 'not-applied' });
  });
});
