// Tests of your own program against a store that fails on purpose, in virtual time: an outage of minutes takes milliseconds,
// and the same seed fails in the same way again. Runs under any test runner; here Node's own.
//
//   npm run build && node examples/testing/orders.test.mjs
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCorruption, MemoryStore, open } from 'shaledb';
import { FaultyStore, latencyStore, ManualClock, SeededRandom } from 'shaledb/testing';
import { findOrder, ordersOf, placeOrder } from './_orders.mjs';

const SEED = 1;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A store with 20 ms of latency whose faults a test sets, and the clock of store and database. */
function makeWorld(seed = SEED) {
  const clock = new ManualClock();
  const faults = new FaultyStore(latencyStore(new MemoryStore({ clock }), { clock, latencyMs: 20 }), {
    clock,
    random: new SeededRandom(seed),
  });
  const environment = { clock, random: new SeededRandom(seed), logger: silent };
  return {
    clock,
    faults,
    /** Lets virtual time pass until the promise settles. */
    run: (promise) => clock.runUntilSettled(promise),
    open: (options) => clock.runUntilSettled(open({ store: faults, path: 'shop' }, { ...environment, ...options })),
  };
}

const order = (n) => ({ id: String(n).padStart(4, '0'), customer: `c${n % 3}`, total: n });

test('an order takes one round trip', async () => {
  const { clock, run, open } = makeWorld();
  const db = await open();
  const startMs = clock.monotonicMs();
  await run(placeOrder(db, order(1)));
  assert.equal(clock.monotonicMs() - startMs, 20);
  await run(db.close());
});

test('an order survives an outage that is longer than every deadline', async () => {
  const { clock, faults, run, open } = makeWorld();
  const db = await open({ timeoutMs: 10_000 });
  faults.add({ action: 'stall', op: 'put', path: /\/wal\// });
  const placing = placeOrder(db, order(1));
  await clock.advance(120_000);
  assert.ok(faults.fired().stall > 0, 'the outage was noticed');
  faults.clear();
  await run(placing);
  // The next process that opens the same store finds the order, whatever happened to this one.
  const next = await open();
  assert.deepEqual(await run(findOrder(next, '0001')), order(1));
  assert.deepEqual(await run(ordersOf(next, 'c1')), ['0001']);
  await run(next.close());
});

test('every order is there once after many errors and lost responses', async () => {
  const { faults, run, open } = makeWorld();
  const db = await open();
  faults.add({ action: 'status:503', probability: 0.1 });
  faults.add({ action: 'apply-then-drop', op: 'put', probability: 0.1 });
  for (let n = 0; n < 100; n++) await run(placeOrder(db, order(n)));
  const { 'status:503': refused, 'apply-then-drop': dropped } = faults.fired();
  assert.ok(refused > 0 && dropped > 0, 'both faults happened');
  faults.clear();
  const ids = [];
  for (const customer of ['c0', 'c1', 'c2']) ids.push(...(await run(ordersOf(db, customer))));
  assert.equal(ids.length, 100);
  await run(db.close());
});

test('a damaged order is never taken for one that does not exist', async () => {
  const { faults, run, open } = makeWorld();
  const db = await open();
  await run(placeOrder(db, order(1)));
  // 32 bytes of the table that is written at the end are stored wrong: more than the seal can undo.
  faults.add({ action: 'burst', op: 'put', path: /\/compacted\//, at: 20 });
  await run(db.close());
  faults.clear();
  const reopened = await open();
  await assert.rejects(run(findOrder(reopened, '0001')), isCorruption);
  await run(reopened.close());
});
