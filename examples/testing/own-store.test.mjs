// A custom store must pass the contract that the database relies on; then a database on it works. Runs under any test
// runner: each check is a function that throws.
//
//   npm run build && node examples/testing/own-store.test.mjs
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open } from 'shaledb';
import { storeContract } from 'shaledb/testing';
import { MapStore } from './_map-store.mjs';

for (const check of storeContract(() => new MapStore())) test(check.name, check.run);

test('the contract finds a store that forgets its conditions', async () => {
  class Forgetful extends MapStore {
    put(path, bytes, options) {
      return super.put(path, bytes, { ...options, condition: 'any' });
    }
  }
  const failed = [];
  for (const check of storeContract(() => new Forgetful())) await check.run().catch(() => failed.push(check.name));
  assert.ok(failed.length > 0);
  // A database refuses such a store at its first opening, too.
  await assert.rejects(open({ store: new Forgetful(), path: 'db' }), { code: 'STORE_UNSUITABLE' });
});

test('a database works on it', async () => {
  const db = await open({ store: new MapStore(), path: 'db' });
  await db.put('key', 'value');
  assert.equal(new TextDecoder().decode(await db.get('key')), 'value');
  await db.close();
});
