/**
 * What each operation costs: requests and round trips as exact numbers, over a store whose every request takes 20 ms of
 * simulated time.
 */
import { describe, expect, it } from 'vitest';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { findManifestSeal } from '../../src/format/seal.ts';
import type { OpenOptions } from '../../src/index.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { type Opened, World } from '../support/database.ts';

const LATENCY_MS = 20;

function slowWorld(): World {
  const world = new World();
  world.store = latencyStore(world.faults, { clock: world.clock, latencyMs: LATENCY_MS });
  return world;
}

/** Round trips that pass until the promise settles. */
async function roundTrips(world: World, start: () => Promise<unknown>): Promise<number> {
  const before = world.clock.monotonicMs();
  await world.run(start());
  return (world.clock.monotonicMs() - before) / LATENCY_MS;
}

/** A database whose writer has closed it. */
async function closedDatabase(): Promise<World> {
  const world = slowWorld();
  const db = await world.open();
  await world.run(db.put('key', 'value'));
  await world.run(db.close());
  return world;
}

const keyOf = (i: number) => `key-${String(i).padStart(6, '0')}`;

/** A fresh handle, nothing cached, on a table of `rows` rows. */
async function coldTable(
  rows: number,
  valueBytes: number,
  options: OpenOptions = {},
): Promise<Opened & { world: World }> {
  const world = slowWorld();
  const db = await world.open();
  const batch = new WriteBatch();
  for (let i = 0; i < rows; i++) batch.put(keyOf(i), new Uint8Array(valueBytes).fill(i));
  await world.run(db.write(batch));
  await world.run(db.close());
  const opened = await world.connect(options);
  opened.line.take();
  return { world, ...opened };
}

describe('opening', () => {
  it('takes six round trips where there is nothing to replay', async () => {
    const world = await closedDatabase();
    expect(await roundTrips(world, () => world.opening())).toBe(6);
  });

  it("takes seven where a collector's boundary file exists", async () => {
    const world = await closedDatabase();
    await world.replace('gc/manifest.boundary', new TextEncoder().encode('1'));
    const line = world.line();
    expect(await roundTrips(world, () => world.opening({}, line))).toBe(7);
    expect(line.take().slice(-2)).toEqual(['get gc/manifest.boundary', 'put wal/00000000000000000003.sst']);
  });

  it('takes no more where the log has rows, and reads each object once', async () => {
    const world = slowWorld();
    await world.writeAndCrash(['a', 'b', 'c', 'd', 'e']);
    const line = world.line();
    expect(await roundTrips(world, () => world.opening({}, line))).toBe(6);
    const requests = line.take();
    const logReads = requests.filter((r) => r.startsWith('get wal/'));
    expect(logReads).toEqual([1, 2, 3, 4, 5, 6].map((id) => `get wal/0000000000000000000${id}.sst`));
  });

  it('reads no older manifests where none is sealed, though fences of zero bytes stand together', async () => {
    const options: OpenOptions = { compatibility: 'slatedb-0.17' };
    const world = slowWorld();
    for (let times = 0; times < 4; times++) await world.writeAndCrash([], options);
    for (const path of await world.paths('manifest/')) {
      const bytes = await world.bytes(path);
      await world.replace(path, bytes.subarray(0, findManifestSeal(bytes)?.start));
    }
    const line = world.line();
    await world.run(world.opening(options, line));
    const reads = line.take().filter((r) => r.startsWith('get manifest/'));
    // The newest, the place after it, and for an unsealed one the one before it; not the others.
    expect(reads).toEqual([5, 6, 4].map((id) => `get manifest/0000000000000000000${id}.manifest`));
  });

  it('replays 1,000 objects within a second of 20 ms round trips, one GET each', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    await world.run(
      (async () => {
        for (let i = 0; i < 1000; i++) await db.put(keyOf(i), 'value');
      })(),
    );
    line.cut();
    const again = world.line();
    expect((await roundTrips(world, () => world.opening({}, again))) * LATENCY_MS).toBeLessThanOrEqual(1000);
    const reads = again.take().filter((r) => r.startsWith('get wal/'));
    // The fence of the first opening, then the rows.
    expect([reads.length, new Set(reads).size]).toEqual([1001, 1001]);
  });

  it('of a reader takes four round trips and writes nothing', async () => {
    const world = await closedDatabase();
    const before = await world.versions();
    expect(await roundTrips(world, () => world.openReader())).toBe(4);
    expect(await world.versions()).toEqual(before);
  });
});

describe('durable writes', () => {
  it('cost one round trip and one PUT when alone', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    line.take();
    expect(await roundTrips(world, () => db.put('key', 'value'))).toBe(1);
    expect(line.take()).toEqual(['put wal/00000000000000000002.sst']);
    expect(db.requestCounts().byRole['wal'].put).toBe(2);
  });

  it('of one turn share one PUT', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    line.take();
    const puts = () => Promise.all(Array.from({ length: 100 }, (_, i) => db.put(keyOf(i), 'value')));
    expect(await roundTrips(world, puts)).toBe(1);
    expect(line.take()).toEqual(['put wal/00000000000000000002.sst']);
  });

  it('that come while a PUT is under way share the next one', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    line.take();
    const start = world.clock.monotonicMs();
    const writes = [db.put('first', 'value')];
    for (let i = 0; i < 10; i++) {
      await world.clock.advance(1);
      writes.push(db.put(keyOf(i), 'value'));
    }
    await world.run(Promise.all(writes));
    expect(world.clock.monotonicMs() - start).toBe(2 * LATENCY_MS);
    expect(line.take()).toEqual(['put wal/00000000000000000002.sst', 'put wal/00000000000000000003.sst']);
  });

  it('keep `minWalPutIntervalMs` between the starts of two PUTs, and the first does not wait', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect({ minWalPutIntervalMs: 500 });
    line.requests.length = 0;
    const start = world.clock.monotonicMs();
    await world.run(
      (async () => {
        for (let i = 0; i < 4; i++) await db.put(keyOf(i), 'value');
      })(),
    );
    const puts = line.requests.filter((r) => r.op === 'put').map((r) => r.sentMs - start);
    expect(puts).toEqual([0, 500, 1000, 1500]);
  });

  it('without a log share one table and one manifest', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect({ walEnabled: false });
    line.take();
    await world.run(Promise.all([db.put('a', '1'), db.put('b', '2')]));
    const requests = line.take().map((r) => r.replace(/[0-9A-Z]{26}|[0-9]{20}/, '*'));
    expect(requests).toEqual(['put compacted/*.sst', 'put manifest/*.manifest']);
  });
});

describe('writes that nobody waits for', () => {
  it('leave together after `flushIntervalMs`', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect({ flushIntervalMs: 100 });
    line.requests.length = 0;
    const start = world.clock.monotonicMs();
    for (let i = 0; i < 9; i++) {
      await world.run(db.put(keyOf(i), 'value', { awaitDurable: false }));
      await world.clock.advance(10);
    }
    expect(line.requests).toEqual([]);
    await world.clock.advance(50);
    expect(line.requests.map((r) => [r.op, r.sentMs - start])).toEqual([['put', 100]]);
    line.cut();
    expect(await world.run((await world.open()).get(keyOf(8)))).toBeDefined();
  });

  it('go along with a durable one', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    line.take();
    await world.run(db.put('a', '1', { awaitDurable: false }));
    await world.run(db.put('b', '2'));
    await world.clock.advance(200);
    expect(line.take()).toEqual(['put wal/00000000000000000002.sst']);
  });
});

describe('flushing', () => {
  const names = (requests: string[]) => requests.map((r) => r.replace(/[0-9A-Z]{26}/, '*'));

  it('the log is one PUT, and none if everything is durable', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1', { awaitDurable: false }));
    line.take();
    expect(await roundTrips(world, () => db.flush())).toBe(1);
    expect(await roundTrips(world, () => db.flush())).toBe(0);
    expect(line.take()).toEqual(['put wal/00000000000000000002.sst']);
  });

  it('the memtable is a table and a manifest when its rows are durable', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1'));
    line.take();
    expect(await roundTrips(world, () => db.flush({ type: 'memtable' }))).toBe(2);
    expect(names(line.take())).toEqual(['put compacted/*.sst', 'put manifest/00000000000000000003.manifest']);
    expect(await roundTrips(world, () => db.flush({ type: 'memtable' }))).toBe(0);
    expect(line.take()).toEqual([]);
  });

  it('the memtable puts pending rows into the log first', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1', { awaitDurable: false }));
    line.take();
    expect(await roundTrips(world, () => db.flush({ type: 'memtable' }))).toBe(3);
    expect(names(line.take())).toEqual([
      'put wal/00000000000000000002.sst',
      'put compacted/*.sst',
      'put manifest/00000000000000000003.manifest',
    ]);
  });
});

describe('reads', () => {
  it('of rows in memory make no request', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect();
    await world.run(db.put('a', '1'));
    line.take();
    await world.run(Promise.all([db.get('a'), db.get('b'), db.getMany(['a', 'b']), db.scan().nextBatch(10)]));
    expect(line.take()).toEqual([]);
  });

  it('of a cold table make two requests, of a warm one none', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    expect(await roundTrips(world, () => db.get(keyOf(1234)))).toBe(2);
    expect(line.take().map((r) => r.split(' ')[0])).toEqual(['get', 'get']);
    expect(await roundTrips(world, () => db.get(keyOf(1234)))).toBe(0);
    expect(line.take()).toEqual([]);
  });

  it('of another block of a table whose metadata is known make one request', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    await world.run(db.get(keyOf(0)));
    line.take();
    expect(await roundTrips(world, () => db.get(keyOf(2999)))).toBe(1);
    expect(line.take().length).toBe(1);
  });

  it('that come together for one block share its requests', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    await world.run(Promise.all(Array.from({ length: 20 }, (_, i) => db.get(keyOf(i % 5)))));
    expect(line.take().length).toBe(2);
  });

  it('of absent keys make no request once the filter is known', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    await world.run(db.get(keyOf(0)));
    line.take();
    for (let i = 0; i < 20; i++) expect(await world.run(db.get(`${keyOf(i * 100)}-absent`))).toBeUndefined();
    // A filter errs in 0.9 % of the cases; none of these twenty keys is one of them.
    expect(line.take()).toEqual([]);
  });

  it('outside of the keys of every table make no request', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    expect(await world.run(db.get('a'))).toBeUndefined();
    expect(await world.run(db.get('z'))).toBeUndefined();
    expect(line.take()).toEqual([]);
  });

  it('scan 3,000 cold rows of 200 bytes with seven requests, and again with none', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    const scan = async () => {
      let rows = 0;
      for await (const _ of db.scan()) rows++;
      return rows;
    };
    expect(await world.run(scan())).toBe(3000);
    // The metadata, then stretches of 16 KiB, doubled each time.
    expect(line.take().length).toBe(7);
    expect(await world.run(scan())).toBe(3000);
    expect(line.take()).toEqual([]);
  });

  it('scan a short range with two requests', async () => {
    const { world, db, line } = await coldTable(3000, 200);
    expect(await world.run(db.scan({ gte: keyOf(1000), lt: keyOf(1010) }).nextBatch(100))).toHaveLength(10);
    expect(line.take().length).toBe(2);
  });
});

/** What its collector asks for: collection.test.ts. */
describe('an idle database without a collector', () => {
  it('lists the manifests once after its last write, and makes no request from then on', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect({ gc: false });
    for (let i = 0; i < 10; i++) await world.run(db.put(keyOf(i), 'value'));
    line.take();
    await world.clock.advance(5000);
    expect(line.take()).toEqual(['list manifest/']);
    await world.clock.advance(24 * 3600 * 1000);
    expect(line.take()).toEqual([]);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('that only reads never lists them', async () => {
    const { world, db, line } = await coldTable(100, 10, { gc: false });
    await world.run(db.get(keyOf(1)));
    line.take();
    await world.clock.advance(3600 * 1000);
    expect(line.take()).toEqual([]);
    expect(world.clock.pendingTimers).toBe(0);
  });

  it('that goes on writing lists them once per `manifestPollIntervalMs`', async () => {
    const world = slowWorld();
    const { db, line } = await world.connect({ manifestPollIntervalMs: 1000, gc: false });
    line.take();
    for (let i = 0; i < 47; i++) {
      await world.run(db.put(keyOf(i), 'value'));
      await world.clock.advance(80);
    }
    expect(line.take().filter((r) => r === 'list manifest/').length).toBe(4);
  });
});
