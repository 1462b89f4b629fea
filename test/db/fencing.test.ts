/** Who owns a database: takeovers, lost and late answers, and writers that slept. */
import { describe, expect, it } from 'vitest';
import { type Deferred, deferred } from '../../src/common/async.ts';
import type { DbError, FencedError } from '../../src/common/errors.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { nextInt, SeededRandom } from '../../src/common/random.ts';
import type { Db } from '../../src/db/db.ts';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import { parseManifestPath, parseWalPath, walPath } from '../../src/format/object-names.ts';
import type { FaultAction } from '../../src/store/faulty-store.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import type { ObjectStore, PutOptions, PutOutcome } from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { Line, type Opened, rejection, rowsOf, text, World } from '../support/database.ts';

const BEYOND_RETRIES_MS = 10 * 60_000;

/** A store whose puts to some paths wait, before they are carried out or before they are answered, until released. */
class Gate implements ObjectStore {
  readonly name: string;
  readonly conformance = 'known';
  readonly #store: ObjectStore;
  #rule:
    | { path: RegExp; where: 'before' | 'after'; skip: number; deferred: Deferred<void>; arrived: Deferred<void> }
    | undefined;

  constructor(store: ObjectStore) {
    this.#store = store;
    this.name = store.name;
  }

  /** Holds the next put to a path that matches (after `skip` others). Resolves when it is there. */
  hold(path: RegExp, where: 'before' | 'after', skip = 0): { arrived: Promise<void>; release(): void } {
    const rule = { path, where, skip, deferred: deferred<void>(), arrived: deferred<void>() };
    this.#rule = rule;
    return { arrived: rule.arrived.promise, release: () => rule.deferred.resolve() };
  }

  get: ObjectStore['get'] = (path, o) => this.#store.get(path, o);
  head: ObjectStore['head'] = (path, o) => this.#store.head(path, o);
  list: ObjectStore['list'] = (prefix, o) => this.#store.list(prefix, o);
  delete: ObjectStore['delete'] = (paths, o) => this.#store.delete(paths, o);

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const rule = this.#rule;
    if (rule === undefined || !rule.path.test(path) || rule.skip-- > 0) return this.#store.put(path, bytes, options);
    this.#rule = undefined;
    if (rule.where === 'before') {
      rule.arrived.resolve();
      await rule.deferred.promise;
      return this.#store.put(path, bytes, { condition: options.condition, putId: options.putId });
    }
    const answer = await this.#store.put(path, bytes, options);
    rule.arrived.resolve();
    await rule.deferred.promise;
    return answer;
  }
}

/** A writer whose line has a gate. */
async function gatedWriter(world: World, options: OpenOptions = {}): Promise<Opened & { gate: Gate }> {
  const gate = new Gate(world.store);
  const line = new Line(gate, world.clock);
  return { db: await world.run(world.opening(options, line)), line, gate };
}

/** The same store, whose answers to puts do not say its time. */
function untimedPuts(store: ObjectStore): ObjectStore {
  return {
    name: store.name,
    conformance: 'known',
    get: (path, o) => store.get(path, o),
    head: (path, o) => store.head(path, o),
    list: (prefix, o) => store.list(prefix, o),
    delete: (paths, o) => store.delete(paths, o),
    put: async (path, bytes, o) => {
      const answer = await store.put(path, bytes, o);
      return answer.outcome === 'applied' ? { ...answer, storeTimeMs: 0 } : answer;
    },
  };
}

/** Deletes what a collector may: the log up to the replay point, and all manifests but the newest. */
async function collect(world: World): Promise<void> {
  const manifests = await world.paths('manifest/');
  const newest = manifests.pop()!;
  const { manifest } = decodeManifest(await world.bytes(newest));
  const log = (await world.paths('wal/')).filter((p) => parseWalPath(p)! <= manifest.replayAfterWalId);
  await world.remove(...manifests, ...log);
}

const A = { owner: 'host-a:1' };
const B = { owner: 'host-b:2' };

describe('a takeover', () => {
  it('is reported by the next durable write, with the owner, and by every call from then on', async () => {
    const world = new World();
    const a = await world.open(A);
    await world.run(a.put('k', '1'));
    const b = await world.open(B);
    expect(text(await world.run(a.get('k')))).toBe('1');
    const error = (await rejection(world.run(a.put('k', '2')))) as FencedError;
    expect(error).toMatchObject({
      name: 'FencedError',
      code: 'WRITER_FENCED',
      owner: 'host-b:2',
      outcome: 'not-applied',
      retryable: false,
    });
    expect(error.message).toContain('host-b:2');
    const later: (() => Promise<unknown>)[] = [
      () => a.put('k', '3'),
      () => a.delete('k'),
      () => a.get('k'),
      () => a.getMany(['k']),
      () => a.has('k'),
      () => a.getWithMeta('k'),
      () => a.flush(),
      () => a.flush({ type: 'memtable' }),
      () => a.estimateSize(),
      () => a.scan().next(),
      async () => a.snapshot(),
    ];
    for (const call of later) {
      expect(await rejection(world.run(call()))).toMatchObject({ name: 'FencedError', owner: 'host-b:2' });
    }
    await world.run(a.close());
    expect(text(await world.run(b.get('k')))).toBe('1');
    await world.run(b.put('k', '4'));
    expect(text(await world.run(b.get('k')))).toBe('4');
  });

  it('ends scans and snapshots of the one that was overtaken', async () => {
    const world = new World();
    const a = await world.open(A);
    for (let i = 0; i < 300; i++) await world.run(a.put(`k${i}`, 'v', { awaitDurable: false }));
    const scan = a.scan();
    const snapshot = a.snapshot();
    await world.run(scan.nextBatch(1));
    await world.run(a.flush());
    await world.open(B);
    await rejection(world.run(a.put('k', '2')));
    expect(await rejection(world.run(scan.nextBatch(1000)))).toMatchObject({ name: 'FencedError' });
    expect(await rejection(world.run(snapshot.get('k1')))).toMatchObject({ name: 'FencedError' });
  });

  it('says in each waiting write whether the write can have happened', async () => {
    const world = new World();
    const { db: a, gate } = await gatedWriter(world, A);
    const held = gate.hold(/^wal/, 'before');
    const first = rejection(a.put('first', '1'));
    await world.clock.settle();
    await held.arrived;
    const second = rejection(a.put('second', '2'));
    const flush = rejection(a.flush());
    const table = rejection(a.flush({ type: 'memtable' }));
    const b = await world.open(B);
    held.release();
    const errors = await world.run(Promise.all([first, second, flush, table]));
    for (const error of errors) expect(error).toMatchObject({ name: 'FencedError', owner: 'host-b:2' });
    // The one attempt of the first was refused, and the second was never sent.
    expect(errors.slice(0, 2).map((e) => e.outcome)).toEqual(['not-applied', 'not-applied']);
    expect(await rowsOf(world, b)).toEqual([]);
  });

  it('leaves the outcome open where an attempt had no answer', async () => {
    const world = new World();
    const { db: a } = await world.connect(A);
    world.faults.add({ action: 'delay-apply', op: 'put', path: walPath(2), nth: 1, delayMs: BEYOND_RETRIES_MS });
    const put = rejection(a.put('k', '1'));
    await world.clock.settle();
    const b = await world.opening(B);
    const error = await world.run(put);
    expect(error).toMatchObject({ name: 'FencedError', outcome: 'unknown' });
    // It lands at last, on the slot that the other one's fence holds.
    await world.faults.applyDelayed();
    expect(await rowsOf(world, b)).toEqual([]);
    expect(await rowsOf(world, await world.open())).toEqual([]);
  });

  it('while a PUT is under way keeps the row if it came first', async () => {
    const world = new World();
    const { db: a, gate } = await gatedWriter(world, A);
    const held = gate.hold(/^wal/, 'after');
    const put = a.put('k', '1');
    await world.clock.settle();
    await held.arrived;
    const b = await world.open(B);
    held.release();
    // Stored before the other one looked: durable, whichever process owns the database now.
    expect(await world.run(put)).toEqual({ seq: 1n });
    expect(await rowsOf(world, b)).toEqual(['k=1']);
    expect(await rejection(world.run(a.put('k', '2')))).toMatchObject({ name: 'FencedError' });
  });

  it('is noticed by the poll of a writer that learns it from nothing else', async () => {
    const world = new World();
    const { db: a, line } = await world.connect({ ...A, flushIntervalMs: 3_600_000, awaitDurable: false });
    await world.run(a.put('k', '1'));
    await world.open(B);
    line.take();
    await world.clock.advance(1000);
    expect(line.take()[0]).toBe('list manifest/');
    expect(await rejection(world.run(a.get('k')))).toMatchObject({ name: 'FencedError', owner: 'host-b:2' });
    await world.run(a.close());
  });

  it('comes to an end against a writer that never pauses, and loses none of its rows', async () => {
    const world = new World();
    const a = await world.open({ ...A, manifestPollIntervalMs: 1000 });
    world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: 50 });
    const opening = world.opening(B);
    const acknowledged: string[] = [];
    let fenced: DbError | undefined;
    const writing = (async () => {
      for (let i = 0; fenced === undefined; i++) {
        try {
          await a.put(`k${String(i).padStart(5, '0')}`, 'v');
          acknowledged.push(`k${String(i).padStart(5, '0')}=v`);
          await world.clock.settle();
          await new Promise<void>((resolve) => world.clock.setTimer(5, resolve));
        } catch (error) {
          fenced = error as DbError;
        }
      }
    })();
    const b = await world.run(opening);
    await world.run(writing);
    expect(fenced).toMatchObject({ name: 'FencedError', owner: 'host-b:2' });
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(await rowsOf(world, b)).toEqual(acknowledged);
  });

  it('is noticed by a flush before it acknowledges anything', async () => {
    const world = new World();
    const a = await world.open(A);
    await world.run(a.put('k', '1'));
    const b = await world.open(B);
    expect(await rejection(world.run(a.flush({ type: 'memtable' })))).toMatchObject({ name: 'FencedError' });
    expect(await rowsOf(world, b)).toEqual(['k=1']);
    await world.run(b.flush({ type: 'memtable' }));
    const newest = (await world.paths('manifest/')).pop()!;
    expect(decodeManifest(await world.bytes(newest)).manifest).toMatchObject({ writerEpoch: 2, l0: [{}] });
  });

  it('without a log is noticed too', async () => {
    const world = new World();
    const a = await world.open({ ...A, walEnabled: false });
    await world.run(a.put('k', '1'));
    const b = await world.open({ ...B, walEnabled: false });
    expect(await rejection(world.run(a.put('k', '2')))).toMatchObject({ name: 'FencedError', owner: 'host-b:2' });
    expect(await rowsOf(world, b)).toEqual(['k=1']);
  });

  it('by many openers in turn leaves the last one writing', async () => {
    const world = new World();
    const all: Db[] = [];
    for (let i = 0; i < 10; i++) {
      const db = await world.open({ owner: `host:${i}` });
      await world.run(db.put(`k${i}`, 'v'));
      all.push(db);
    }
    const outcomes = await world.run(Promise.allSettled(all.map((db) => db.put('last', 'v'))));
    expect(outcomes.map((o) => o.status)).toEqual([...Array(9).fill('rejected'), 'fulfilled']);
    expect(await rowsOf(world, await world.open())).toHaveLength(11);
  });
});

describe('two openers at once', () => {
  it('leave one that serves, whatever the order of their requests', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const world = new World(seed);
      await world.writeAndCrash(['x', 'y']);
      const random = new SeededRandom(seed);
      world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: () => nextInt(random, 40) });
      const settled = await world.run(Promise.allSettled([world.opening(A), world.opening(B)]));
      const served: string[] = [];
      for (const [i, s] of settled.entries()) {
        if (s.status === 'rejected') {
          expect(s.reason).toMatchObject({ name: 'FencedError' });
          continue;
        }
        const put = await world.run(s.value.put(`k${i}`, 'v').catch((error: DbError) => error));
        if ('seq' in put) served.push(`k${i}=v`);
        else expect(put).toMatchObject({ name: 'FencedError' });
      }
      expect(served.length, `seed ${seed}`).toBe(1);
      world.store = world.faults;
      expect(await rowsOf(world, await world.open())).toEqual([...served, 'x=value of x', 'y=value of y'].sort());
    }
  });

  it('without a log leave one that serves', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const world = new World(seed);
      await world.writeAndCrash(['x'], { walEnabled: false });
      const random = new SeededRandom(seed);
      world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: () => nextInt(random, 40) });
      const openings = [A, B].map((owner) => world.opening({ ...owner, walEnabled: false }));
      const settled = await world.run(Promise.allSettled(openings));
      const dbs = settled.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
      const puts = await world.run(Promise.allSettled(dbs.map((db, i) => db.put(`k${i}`, 'v'))));
      for (const p of puts) if (p.status === 'rejected') expect(p.reason).toMatchObject({ name: 'FencedError' });
      expect(puts.filter((p) => p.status === 'fulfilled').length, `seed ${seed}`).toBe(1);
      world.store = world.faults;
      expect(await rowsOf(world, await world.open())).toHaveLength(2);
    }
  });

  it('report a takeover, not damage, where the log was collected during a replay that reads it again', async () => {
    const world = new World();
    const big = { value: new Uint8Array(1 << 20) };
    const { db } = await world.connect();
    for (let i = 0; i < 4; i++) await world.run(db.put(`k${i}`, big.value));
    const inner = world.store;
    const reads = new Map<string, number>();
    let other: Db | undefined;
    world.store = {
      name: inner.name,
      head: (path, o) => inner.head(path, o),
      put: (path, bytes, o) => inner.put(path, bytes, o),
      list: (prefix, o) => inner.list(prefix, o),
      delete: (paths, o) => inner.delete(paths, o),
      async get(path, o) {
        const nth = (reads.get(path) ?? 0) + 1;
        reads.set(path, nth);
        if (parseWalPath(path) !== undefined && nth === 2 && other === undefined) {
          world.store = inner;
          other = await world.opening(B);
          await inner.delete([path]);
        }
        return inner.get(path, o);
      },
    };
    // So little memory that not all of the log is kept between its check and its replay.
    const error = await rejection(world.run(world.opening({ ...A, memoryBytes: 8 << 20 })));
    expect(other).toBeDefined();
    expect(error).toMatchObject({ name: 'FencedError' });
  });

  it('refuse the one whose claim is older, before it serves', async () => {
    const world = new World();
    await world.writeAndCrash(['x']);
    const gate = new Gate(world.store);
    const held = gate.hold(/^wal/, 'before');
    const first = rejection(world.opening(A, new Line(gate, world.clock)));
    await world.clock.settle();
    await held.arrived;
    const b = await world.open(B);
    held.release();
    expect(await world.run(first)).toMatchObject({ name: 'FencedError', code: 'WRITER_FENCED', owner: 'host-b:2' });
    await world.run(b.put('y', '1'));
    expect(await rowsOf(world, b)).toEqual(['x=value of x', 'y=1']);
  });

  it('of a place without a database create one together', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const world = new World(seed);
      const random = new SeededRandom(seed);
      world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: () => nextInt(random, 40) });
      const settled = await world.run(Promise.allSettled([world.opening(A), world.opening(B)]));
      const dbs = settled.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
      for (const s of settled) if (s.status === 'rejected') expect(s.reason).toMatchObject({ name: 'FencedError' });
      const puts = await world.run(Promise.allSettled(dbs.map((db, i) => db.put(`k${i}`, 'v'))));
      expect(puts.filter((p) => p.status === 'fulfilled').length, `seed ${seed}`).toBe(1);
      world.store = world.faults;
      expect(await rowsOf(world, await world.open())).toHaveLength(1);
    }
  });
});

/** Appends operands, so that one that is applied twice shows. */
const APPEND: OpenOptions = {
  closeTimeoutMs: 60_000,
  mergeOperator: { merge: (_, a, b) => Buffer.concat([a ?? Buffer.alloc(0), b]) },
};

describe('lost, late and doubled answers', () => {
  const roles = {
    'WAL objects': /^wal\//,
    manifests: /^manifest\//,
    tables: /^compacted\//,
    'the identity': /^shale\/identity$/,
    everything: /./,
  };
  const actions: FaultAction[] = [
    'apply-then-drop',
    'fail-before',
    'duplicate',
    'delay-apply',
    'status:500',
    'status:503',
    'stall',
  ];

  /** Opens, writes, flushes, writes, closes; returns how often something was written for sure. */
  async function workload(world: World): Promise<number> {
    const db = await world.open(APPEND);
    let done = 0;
    const write = async () => {
      await world.run(db.merge('log', '+'));
      done++;
    };
    for (let i = 0; i < 3; i++) await write();
    await world.run(db.flush({ type: 'memtable' }));
    for (let i = 0; i < 3; i++) await write();
    await world.run(db.flush({ type: 'memtable' }));
    await write();
    return done;
  }

  for (const [role, path] of Object.entries(roles)) {
    it.each(actions)(`to a PUT of ${role} (%s) change nothing`, async (action) => {
      for (let nth = 1; nth <= 6; nth++) {
        const world = new World(nth);
        world.faults.add({ action, op: 'put', path, nth, delayMs: 700 });
        const done = await workload(world);
        expect(done).toBe(7);
        const again = await world.open(APPEND);
        expect(text(await world.run(again.get('log')))).toBe('+'.repeat(done));
        await world.run(again.close());
        world.faults.clear();
        expect(text(await world.run((await world.open(APPEND)).get('log')))).toBe('+'.repeat(done));
      }
    });
  }

  it.each([1, 2, 3])('in series (seed %i) change nothing', async (seed) => {
    const world = new World(seed);
    for (const action of ['apply-then-drop', 'delay-apply', 'duplicate'] as const) {
      world.faults.add({ action, op: 'put', probability: 0.25, delayMs: 300 });
    }
    world.faults.add({ action: 'fail-before', probability: 0.1 });
    const done = await workload(world);
    const again = await world.open(APPEND);
    expect(text(await world.run(again.get('log')))).toBe('+'.repeat(done));
  });

  it('that last longer than the deadline are reported as unknown, and settled before anything else', async () => {
    for (const action of ['apply-then-drop', 'fail-before', 'stall'] as const) {
      const world = new World();
      const { db, line } = await world.connect({ ...APPEND, timeoutMs: 5000 });
      world.faults.add({ action, op: 'put', path: walPath(2), nth: 1 });
      world.faults.add({ action: 'fail-before', op: 'put', path: /^wal/ });
      const error = await rejection(world.run(db.merge('log', '1')));
      expect(error).toMatchObject({ name: 'UnavailableError', outcome: 'unknown', retryable: true });
      expect(error.message).toContain('stays queued');
      await world.clock.advance(100);
      world.faults.clear();
      await world.run(db.merge('log', '2'));
      await world.run(db.merge('log', '3'));
      line.cut();
      expect(text(await world.run((await world.open(APPEND)).get('log')))).toBe('123');
    }
  });

  it('to a claim or a fence that last longer than the deadline end the opening, and the next one succeeds', async () => {
    for (const path of [/^manifest\/0*3/, /^wal\//]) {
      for (const action of ['apply-then-drop', 'fail-before'] as const) {
        const world = new World();
        await world.writeAndCrash(['x']);
        world.faults.add({ action, op: 'put', path, nth: 1 });
        world.faults.add({ action: 'fail-before', op: 'put', path });
        const error = await rejection(world.run(world.opening({ timeoutMs: 3000 })));
        expect(error).toMatchObject({ name: 'UnavailableError', retryable: true });
        world.faults.clear();
        const db = await world.open();
        await world.run(db.put('y', '1'));
        expect(await rowsOf(world, db)).toEqual(['x=value of x', 'y=1']);
      }
    }
  });

  it('to a manifest that last longer than the deadline neither lose nor repeat a table', async () => {
    for (const action of ['apply-then-drop', 'fail-before'] as const) {
      const world = new World();
      const db = await world.open({ ...APPEND, timeoutMs: 5000 });
      await world.run(db.merge('log', '1'));
      world.faults.add({ action, op: 'put', path: /^manifest/, nth: 1 });
      world.faults.add({ action: 'fail-before', op: 'put', path: /^manifest/ });
      expect(await rejection(world.run(db.flush({ type: 'memtable' })))).toMatchObject({ kind: 'unavailable' });
      world.faults.clear();
      await world.run(db.merge('log', '2'));
      await world.run(db.flush({ type: 'memtable' }));
      const newest = (await world.paths('manifest/')).pop()!;
      expect(decodeManifest(await world.bytes(newest)).manifest.l0).toHaveLength(2);
      await world.run(db.close());
      expect(text(await world.run((await world.open(APPEND)).get('log')))).toBe('12');
    }
  });
});

describe('a writer that slept', () => {
  const LONG_MS = 2 * 3600 * 1000;
  /** How a pause shows: the monotonic clock of a suspended machine stands still, other pauses move both. */
  const sleeps = {
    'with its machine': (world: World) => Promise.resolve(world.clock.jumpWallMs(LONG_MS)),
    'on a busy machine': (world: World) => world.clock.advance(LONG_MS),
  };

  for (const [how, pass] of Object.entries(sleeps)) {
    it(`${how} between two writes acknowledges nothing once another has taken over and its slot is collected`, async () => {
      const world = new World();
      const a = await world.open(A);
      await world.run(a.put('k', 'a1'));
      await world.clock.advance(5000);
      await takeOverAndCollect(world, pass);
      const error = await rejection(world.run(a.put('k', 'a2')));
      // The manifest and the fence that named the owner are collected.
      expect(error).toMatchObject({ name: 'FencedError', owner: undefined, outcome: 'unknown' });
      expect(text(await world.run((await world.open()).get('k')))).toBe('b2');
    });

    it(`${how} while its PUT was on the way acknowledges nothing`, async () => {
      for (const where of ['before', 'after'] as const) {
        const world = new World();
        const { db: a, gate } = await gatedWriter(world, A);
        await world.run(a.put('k', 'a1'));
        const held = gate.hold(/^wal/, where);
        const put = rejection(a.put('k', 'a2'));
        await world.clock.settle();
        await held.arrived;
        if (where === 'after') await world.remove(walPath(3));
        await takeOverAndCollect(world, pass);
        held.release();
        expect(await world.run(put)).toMatchObject({ name: 'FencedError', outcome: 'unknown' });
        expect(text(await world.run((await world.open()).get('k')))).toBe('b2');
      }
    });

    it(`${how} while its manifest was on the way does not believe that it counts`, async () => {
      const world = new World();
      const { db: a, gate } = await gatedWriter(world, A);
      await world.run(a.put('k', 'a1'));
      const held = gate.hold(/^manifest/, 'before');
      const flush = rejection(a.flush({ type: 'memtable' }));
      await world.clock.settle();
      await held.arrived;
      await takeOverAndCollect(world, pass);
      held.release();
      expect(await world.run(flush)).toMatchObject({ name: 'FencedError' });
      expect(text(await world.run((await world.open()).get('k')))).toBe('b2');
    });

    it(`${how} goes on if nobody took over`, async () => {
      const world = new World();
      const { db: a, line } = await world.connect(A);
      await world.run(a.put('k', 'a1'));
      await world.clock.advance(5000);
      await pass(world);
      line.take();
      await world.run(a.put('k', 'a2'));
      // One LIST beside the PUT, dated by its own answer.
      expect(line.take()).toEqual([`put ${walPath(3)}`, 'list manifest/']);
      await world.run(a.put('k', 'a3'));
      expect(line.take()).toEqual([`put ${walPath(4)}`]);
    });
  }

  /** Another one opens, writes, flushes; a collector removes what nobody needs any more, the sleeper's next slot included. */
  async function takeOverAndCollect(world: World, pass: (world: World) => Promise<void>): Promise<void> {
    const b = await world.open(B);
    await world.run(b.put('k', 'b1'));
    await world.run(b.put('k', 'b2'));
    await world.run(b.flush({ type: 'memtable' }));
    await world.run(b.put('other', 'b3'));
    await world.run(b.flush({ type: 'memtable' }));
    await pass(world);
    await collect(world);
    expect((await world.paths('wal/')).map((p) => parseWalPath(p))).not.toContain(3);
    expect((await world.paths('manifest/')).map((p) => parseManifestPath(p))).toHaveLength(1);
  }

  it('is not confirmed by a PUT that finds its slot free because what it had stored there is collected', async () => {
    const world = new World();
    world.store = untimedPuts(world.store);
    const { db: a, gate, line } = await gatedWriter(world, { ...A, timeoutMs: 5000 });
    await world.run(a.put('k', 'a1'));
    world.faults.add({ action: 'apply-then-drop', op: 'put', path: walPath(3), nth: 1 });
    world.faults.add({ action: 'fail-before', op: 'put', path: walPath(3) });
    expect(await rejection(world.run(a.put('k', 'a2')))).toMatchObject({ outcome: 'unknown' });
    await world.clock.advance(50_000);
    line.take();
    // Without an answer for so long it checks whether the epoch is still its own.
    while (!line.take().includes('list manifest/')) await world.clock.advance(100);
    const b = await world.open(B);
    await world.run(b.put('k', 'b1'));
    await world.run(b.flush({ type: 'memtable' }));
    // This collector deletes what is just older than a confirmation may be: first what A had stored, then the fence of B.
    await world.clock.advance(45_000);
    await world.remove(walPath(3));
    world.faults.clear();
    world.faults.add({ action: 'fail-before', op: 'list', path: 'manifest/' });
    await world.run(a.flush({ type: 'wal' }));
    expect((await world.paths('wal/')).map((p) => parseWalPath(p))).toContain(3);
    await world.clock.advance(12_000);
    const held = gate.hold(/^wal/, 'before');
    const put = rejection(a.put('k', 'a3'));
    await world.clock.settle();
    await held.arrived;
    await world.clock.advance(4000);
    await world.remove(walPath(4));
    world.faults.clear();
    held.release();
    expect(await world.run(put)).toMatchObject({ name: 'FencedError', outcome: 'unknown' });
    expect(text(await world.run((await world.open()).get('k')))).toBe('b1');
  });

  it('and whose own clocks both stood still is noticed by the store’s clock', async () => {
    const world = new World();
    const own = new ManualClock();
    const a = await own.runUntilSettled(world.opening({ ...A, clock: own }));
    await own.runUntilSettled(a.put('k', 'a1'));
    await takeOverAndCollect(world, (w) => w.clock.advance(LONG_MS));
    expect(await rejection(own.runUntilSettled(a.put('k', 'a2')))).toMatchObject({
      name: 'FencedError',
      outcome: 'unknown',
    });
    expect(text(await world.run((await world.open()).get('k')))).toBe('b2');
  });

  it('and whose LIST is not answered reports that the outcome is unknown, and does not take its own object for another’s', async () => {
    const world = new World();
    const { db } = await world.connect({ ...A, timeoutMs: 5000 });
    await world.run(db.put('k', '1'));
    world.clock.jumpWallMs(LONG_MS);
    world.faults.add({ action: 'fail-before', op: 'list', path: 'manifest/' });
    expect(await rejection(world.run(db.put('k', '2')))).toMatchObject({ kind: 'unavailable', outcome: 'unknown' });
    world.faults.clear();
    await world.run(db.put('k', '3'));
    await world.run(db.close());
    expect(await rowsOf(world, await world.open())).toEqual(['k=3']);
  });
});

describe('an opening without a rival', () => {
  it('is not called fenced because a list does not show its own claim', async () => {
    const world = new World();
    await world.writeAndCrash(['k']);
    const gate = new Gate(world.store);
    const { arrived, release } = gate.hold(/^wal\//, 'after');
    const opening = rejection(world.opening(A, new Line(gate, world.clock)));
    await world.run(arrived);
    // So late that it checks its epoch again.
    world.clock.jumpWallMs(3_600_000);
    world.faults.add({ action: 'empty', op: 'list', path: 'manifest/' });
    release();
    expect(await world.run(opening)).toMatchObject({ kind: 'unavailable' });
    world.faults.clear();
    expect(await rowsOf(world, await world.open())).toEqual(['k=value of k']);
  });

  it('writes tables although one of a dead process is beyond the time of its clock', async () => {
    const world = new World();
    const first = await world.connect();
    await world.run(first.db.put('a', '1'));
    await world.run(first.db.flush({ type: 'memtable' }));
    world.clock.jumpWallMs(-3_600_000);
    for (const [i, value] of ['2', '3'].entries()) {
      // Dies when its table is stored and before a manifest names it, the second time after the same manifest.
      const { db, line } = await world.connect();
      await world.run(db.put('a', value));
      line.cutAt(line.requests.length + 1, 'after');
      db.flush({ type: 'memtable' }).catch(() => undefined);
      await world.clock.advance(1000);
      expect(await world.paths('compacted/')).toHaveLength(2 + i);
    }
    const db = await world.open();
    await world.run(db.flush({ type: 'memtable' }));
    expect(await rowsOf(world, db)).toEqual(['a=3']);
  });
});

describe('requests that land late', () => {
  it('at a slot below the replay point are ignored', async () => {
    const world = new World();
    const { db: a, line } = await world.connect(A);
    await world.run(a.put('k', 'a1'));
    world.faults.add({ action: 'delay-apply', op: 'put', path: walPath(3), nth: 1, delayMs: BEYOND_RETRIES_MS });
    const put = a.put('k', 'a2');
    put.catch(() => undefined);
    await world.clock.settle();
    line.cut();
    const b = await world.open(B);
    await world.run(b.put('k', 'b1'));
    await world.run(b.flush({ type: 'memtable' }));
    await collect(world);
    await world.faults.applyDelayed();
    expect(await world.paths('wal/')).toContain(walPath(3));
    await world.run(b.put('x', 'b2'));
    expect(await rowsOf(world, await world.open())).toEqual(['k=b1', 'x=b2']);
  });

  it('at a slot after the new owner’s fence are found, never mixed in', async () => {
    const world = new World();
    const { db: a, line } = await world.connect(A);
    await world.run(a.put('k', 'a1'));
    world.faults.add({ action: 'delay-apply', op: 'put', path: walPath(3), nth: 1, delayMs: BEYOND_RETRIES_MS });
    a.put('k', 'a2').catch(() => undefined);
    await world.clock.settle();
    line.cut();
    const { db: b, line: lineB } = await world.connect(B);
    await world.run(b.put('k', 'b1'));
    lineB.cut();
    // The fence is at 3: the late one is refused there.
    await world.faults.applyDelayed();
    expect(await rowsOf(world, await world.open())).toEqual(['k=b1']);
  });
});

describe('completions out of order', () => {
  it('commit tables in the order of their rows', async () => {
    const world = new World();
    const sizes = { l0SstSizeBytes: 4096, maxUnflushedBytes: 1 << 22 };
    const { db, gate } = await gatedWriter(world, { ...sizes, compactor: false });
    const held = gate.hold(/^compacted/, 'before');
    const write = async (i: number) => {
      await db.put(`k${i}`, new Uint8Array(5000).fill(i));
    };
    await world.run(write(0));
    await held.arrived;
    for (let i = 1; i < 4; i++) await world.run(write(i));
    await world.clock.settle();
    // The later ones are stored already, but no manifest may name them before the first.
    expect((await world.paths('compacted/')).length).toBeGreaterThan(0);
    expect(await world.paths('manifest/')).toHaveLength(2);
    held.release();
    await world.run(db.flush({ type: 'memtable' }));
    const seqs: number[] = [];
    for (const path of await world.paths('manifest/')) {
      seqs.push(decodeManifest(await world.bytes(path)).manifest.lastL0Seq);
    }
    expect(seqs).toEqual([0, 0, 1, 2, 3, 4]);
  });

  it('a crash between them loses nothing', async () => {
    const world = new World();
    const { db, gate, line } = await gatedWriter(world, { l0SstSizeBytes: 4096, maxUnflushedBytes: 1 << 22 });
    const held = gate.hold(/^compacted/, 'before');
    for (let i = 0; i < 4; i++) await world.run(db.put(`k${i}`, new Uint8Array(5000).fill(65 + i)));
    await held.arrived;
    await world.clock.settle();
    line.cut();
    const rows = await rowsOf(world, await world.open());
    expect(rows.map((r) => r.slice(0, 5))).toEqual(['k0=AA', 'k1=BB', 'k2=CC', 'k3=DD']);
  });
});

describe('an opening that stalls after its fence', () => {
  it('reports the takeover, not damage, when what it passed was collected in the meantime', async () => {
    const world = new World();
    const { db: a } = await world.connect(A);
    await world.run(a.put('k', 'a1'));
    const gate = new Gate(world.store);
    const held = gate.hold(/^manifest/, 'after');
    const opening = rejection(world.opening(B, new Line(gate, world.clock)));
    await world.clock.settle();
    await held.arrived;
    // Between the claim and the fence the old owner adds an object, which the fence passes.
    await world.run(a.put('k', 'a2'));
    const fence = gate.hold(/^wal/, 'after', 1);
    held.release();
    await world.clock.settle();
    await fence.arrived;
    const c = await world.open({ owner: 'host-c:3' });
    await world.run(c.put('k', 'c1'));
    await world.run(c.flush({ type: 'memtable' }));
    await collect(world);
    fence.release();
    expect(await world.run(opening)).toMatchObject({ name: 'FencedError' });
    expect(text(await world.run(c.get('k')))).toBe('c1');
  });
});
