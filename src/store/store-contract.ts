/**
 * The contract of `ObjectStore` as runnable checks, under any test runner: each is an async function that throws if the
 * store breaks a rule. Run them on every store and on every wrapper you put around one.
 *
 * Each check gets a store of its own from `makeStore`: an empty one, or a fresh prefix of a shared one.
 */
import assert from 'node:assert/strict';
import { mapLimit } from '../common/async.ts';
import { InvalidArgumentError, isDbError } from '../common/errors.ts';
import { bool, type ChecksOf, checkedOptions, describeValue, whole } from '../common/option-checks.ts';
import {
  listed,
  mustGet,
  mustPut,
  newPutId,
  paths,
  pattern,
  put,
  sameBytes,
  text,
  textOf,
  unquoted,
} from './contract-calls.ts';
import { type ObjectStore, PUT_ID_METADATA } from './object-store.ts';
import { storeErrorClass } from './store-error.ts';
import { uploadChecks } from './upload-contract.ts';

/** What the store promises besides the contract. */
export interface StoreContractOptions {
  /** The store keeps metadata. True if absent. */
  metadata?: boolean;
  /** The store supports `ifMatch`. True if absent. */
  ifMatch?: boolean;
  /** The store has `upload`. If absent, uploads are checked where it has. */
  upload?: boolean;
  /** Size of the large object, at least 8,192 bytes; 20 MB if absent. */
  largeObjectBytes?: number;
  /** Objects of the long list; 1,100 if absent, which is two pages of an S3 list. */
  longListObjects?: number;
}

/** One rule of the contract. */
export interface ContractCheck {
  /** What must hold, as the name of a test. */
  name: string;
  /** Makes a store and tries the rule on it; rejects with an `AssertionError`, or with what the store threw, if it is broken. */
  run: () => Promise<void>;
}

/** Gives a store, or a prefix of one, in which nothing is. Called once for each check. */
export type MakeStore = () => ObjectStore | Promise<ObjectStore>;
type Check = (store: ObjectStore, options: { largeObjectBytes: number; longListObjects: number }) => Promise<void>;

const CONTRACT_CHECKS: ChecksOf<StoreContractOptions> = {
  metadata: bool,
  ifMatch: bool,
  upload: bool,
  largeObjectBytes: whole(8192, 2 ** 31),
  longListObjects: whole(1, 1_000_000),
};

/**
 * All checks that apply to a store with these options; nothing runs until their `run` is called. They are independent of each
 * other and may run at the same time. On a store that is not in memory expect some 40 MB of traffic, 250 MB if it has uploads, and 1,100
 * objects, unless the options say less.
 */
export function storeContract(makeStore: MakeStore, options: StoreContractOptions = {}): ContractCheck[] {
  if (typeof makeStore !== 'function') {
    const message = `storeContract needs a function that makes a store, not ${describeValue(makeStore)}.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message);
  }
  const given = checkedOptions('storeContract', options, CONTRACT_CHECKS);
  const full = { metadata: true, ifMatch: true, largeObjectBytes: 20_000_000, longListObjects: 1100, ...given };
  const checks = {
    ...CHECKS,
    ...(full.metadata ? METADATA_CHECKS : {}),
    ...(full.ifMatch ? IF_MATCH_CHECKS : {}),
    ...(given.upload === false ? {} : uploadChecks(given.upload === true, full.metadata, full.ifMatch)),
  };
  return Object.entries(checks).map(([name, check]) => ({
    name,
    run: async () => check(await makeStore(), full),
  }));
}

const SUFFIX = { range: { suffix: 10 } } as const;

/** A place where no object can be put may be refused instead of being called absent. */
function refusedPlace(error: unknown): undefined {
  if (storeErrorClass(error) !== 'unsupported') throw error;
}

const CHECKS: Record<string, Check> = {
  'absent objects are undefined and deleting them is no error': async (store) => {
    assert.equal(await store.get('a/absent'), undefined);
    assert.equal(await store.get('a/absent', { range: { offset: 0, length: 10 } }), undefined);
    assert.equal(await store.get('a/absent', { range: { suffix: 10 } }), undefined);
    assert.equal(await store.head('a/absent'), undefined);
    await store.delete(['a/absent', 'absent']);
    await store.delete([]);
    assert.deepEqual(await paths(store, ''), []);
    assert.deepEqual(await paths(store, 'a/'), []);
  },

  'a folder is not an object': async (store) => {
    await mustPut(store, 'folder/object', 'x');
    for (const look of [() => store.get('folder'), () => store.head('folder'), () => store.get('folder', SUFFIX)]) {
      assert.equal(await look().catch(refusedPlace), undefined);
    }
    await store.delete(['folder']);
    assert.equal(await textOf(store, 'folder/object'), 'x');
  },

  'what was written is read at once': async (store) => {
    for (let i = 0; i < 20; i++) {
      const etag = await mustPut(store, `wal/${i}`, `value ${i}`);
      const result = await mustGet(store, `wal/${i}`);
      assert.equal(new TextDecoder().decode(result.bytes), `value ${i}`);
      assert.equal(result.size, result.bytes.length);
      assert.equal(unquoted(result.etag), unquoted(etag));
      assert.equal((await paths(store, 'wal/')).length, i + 1);
    }
  },

  'head gives size, ETag and times': async (store) => {
    const etag = await mustPut(store, 'object', pattern(1234));
    const head = await store.head('object');
    assert(head !== undefined);
    assert.equal(head.size, 1234);
    assert.equal(unquoted(head.etag), unquoted(etag));
    assert(head.lastModifiedMs > 1e12, 'lastModifiedMs is in ms since the epoch');
    assert(Number.isFinite(head.storeTimeMs) && head.storeTimeMs >= 0);
    const [entry] = await listed(store, 'object');
    assert.deepEqual([entry.path, entry.size, unquoted(entry.etag)], ['object', 1234, unquoted(etag)]);
    assert(entry.lastModifiedMs > 1e12);
    // A list that gives the time uses the same clock.
    const listedAtMs = entry.storeTimeMs ?? 0;
    if (listedAtMs !== 0 && head.storeTimeMs !== 0) assert(Math.abs(listedAtMs - head.storeTimeMs) < 60_000);
  },

  'a second create is refused and changes nothing': async (store) => {
    await mustPut(store, 'wal/1', 'first');
    const second = await put(store, 'wal/1', 'second, longer');
    assert.deepEqual(second, { outcome: 'refused' });
    assert.equal(await textOf(store, 'wal/1'), 'first');
    await store.delete(['wal/1']);
    await mustPut(store, 'wal/1', 'third');
    assert.equal(await textOf(store, 'wal/1'), 'third');
  },

  'of 16 concurrent creators one wins': async (store) => {
    for (let round = 0; round < 5; round++) {
      const path = `race/${round}`;
      const bodies = Array.from({ length: 16 }, (_, i) => `creator ${i} of round ${round}`);
      const outcomes = await Promise.all(bodies.map((body) => put(store, path, body)));
      const winners = bodies.filter((_, i) => outcomes[i].outcome === 'applied');
      assert.equal(winners.length, 1, `round ${round}: ${JSON.stringify(outcomes.map((o) => o.outcome))}`);
      assert.equal(outcomes.filter((o) => o.outcome === 'refused').length, 15);
      assert.equal(await textOf(store, path), winners[0]);
    }
  },

  'an unconditional put overwrites and changes the ETag': async (store) => {
    const first = await mustPut(store, 'profile', 'one', 'any');
    const second = await mustPut(store, 'profile', 'two and more', 'any');
    assert.notEqual(unquoted(first), unquoted(second));
    assert.equal(await textOf(store, 'profile'), 'two and more');
    assert.equal((await listed(store, ''))[0].size, 12);
    await mustPut(store, 'profile', '3', 'any');
    const { bytes, size } = await mustGet(store, 'profile', { offset: 0, length: 100 });
    assert.deepEqual([bytes.length, size], [1, 1]);
  },

  'ranges are cut at the end of the object': async (store) => {
    const body = pattern(1000);
    await mustPut(store, 'object', body);
    const cases: [number, number][] = [
      [0, 1],
      [0, 1000],
      [10, 20],
      [999, 1],
      [999, 100],
      [0, 5000],
      [500, 500],
      [500, 501],
      [3, 0],
      [1000, 0],
      [1000, 10],
      [5000, 10],
    ];
    for (const [offset, length] of cases) {
      const result = await mustGet(store, 'object', { offset, length });
      sameBytes(result.bytes, body.slice(offset, offset + length), `range ${offset}+${length}`);
      assert.equal(result.size, 1000, `size of the whole object, range ${offset}+${length}`);
      assert.notEqual(result.etag, '');
    }
  },

  'suffixes are cut at the start of the object': async (store) => {
    const body = pattern(1000);
    await mustPut(store, 'object', body);
    for (const suffix of [0, 1, 10, 999, 1000, 1001, 100_000]) {
      const result = await mustGet(store, 'object', { suffix });
      sameBytes(result.bytes, body.slice(Math.max(0, 1000 - suffix)), `suffix ${suffix}`);
      assert.equal(result.size, 1000);
    }
  },

  'empty objects exist': async (store) => {
    await mustPut(store, 'wal/empty', new Uint8Array(0));
    const ranges = [
      undefined,
      { offset: 0, length: 0 },
      { offset: 0, length: 10 },
      { offset: 5, length: 5 },
      { suffix: 10 },
    ];
    for (const range of [...ranges, { suffix: 0 }]) {
      const result = await mustGet(store, 'wal/empty', range);
      assert.deepEqual([result.bytes.length, result.size], [0, 0], JSON.stringify(range));
    }
    assert.equal((await store.head('wal/empty'))?.size, 0);
    assert.deepEqual(
      (await listed(store, 'wal/')).map((o) => [o.path, o.size]),
      [['wal/empty', 0]],
    );
    assert.equal((await put(store, 'wal/empty', 'x')).outcome, 'refused');
  },

  'a large object comes back whole and in ranges': async (store, { largeObjectBytes }) => {
    const body = pattern(largeObjectBytes, 3);
    await mustPut(store, 'compacted/large', body);
    const whole = await mustGet(store, 'compacted/large');
    sameBytes(whole.bytes, body, 'whole');
    for (const offset of [0, 4095, largeObjectBytes >> 1, largeObjectBytes - 5000]) {
      const { bytes, size } = await mustGet(store, 'compacted/large', { offset, length: 4096 });
      sameBytes(bytes, body.slice(offset, offset + 4096), `at ${offset}`);
      assert.equal(size, largeObjectBytes);
    }
    const tail = await mustGet(store, 'compacted/large', { suffix: 100 });
    sameBytes(tail.bytes, body.slice(-100), 'tail');
    assert.equal((await put(store, 'compacted/large', body)).outcome, 'refused');
  },

  'lists are in byte order, by plain text prefix': async (store) => {
    const all = ['a', 'a-b/c', 'a.sst', 'a/b', 'a/b.x', 'a/b0', 'a0', 'ab', 'b/1', 'b/10', 'b/2', 'B', '0'];
    const made = all.filter((path) => !all.some((other) => other.startsWith(`${path}/`)));
    // Written in an order that is not the listed one.
    for (const path of [...made].reverse()) await mustPut(store, path, path);
    const sorted = [...made].sort();
    assert.deepEqual(await paths(store, ''), sorted);
    for (const prefix of ['a', 'a/', 'a/b', 'a/b.', 'b', 'b/', 'b/1', 'b/10', 'c', 'a/b/', 'z/y/x']) {
      const expected = sorted.filter((path) => path.startsWith(prefix));
      assert.deepEqual(await paths(store, prefix), expected, `prefix ${prefix}`);
    }
  },

  'startAfter leaves out everything up to it': async (store) => {
    const all = ['m/1', 'm/2', 'm/3', 'wal/00001', 'wal/00002', 'wal/00003.sst', 'wal/00003/x', 'z'];
    for (const path of all) await mustPut(store, path, path);
    const starts = [
      'm/1',
      'm/15',
      'wal/',
      'wal/00001',
      'wal/000015',
      'wal/00003.sst',
      'wal/00003/',
      'wal/9',
      'z',
      'zz',
      '!',
    ];
    for (const prefix of ['', 'wal/', 'm/', 'wal/00003']) {
      for (const startAfter of starts) {
        const expected = all.filter((path) => path.startsWith(prefix) && path > startAfter);
        assert.deepEqual(await paths(store, prefix, startAfter), expected, `prefix ${prefix} after ${startAfter}`);
      }
    }
  },

  'long lists are complete': async (store, { longListObjects }) => {
    const all = Array.from({ length: longListObjects }, (_, i) => `wal/${String(i).padStart(20, '0')}.sst`);
    await mapLimit(all, 16, (path) => mustPut(store, path, path.slice(0, 5)));
    assert.deepEqual(await paths(store, 'wal/'), all);
    const middle = longListObjects >> 1;
    assert.deepEqual(await paths(store, 'wal/', all[middle]), all.slice(middle + 1));
    await store.delete(all);
    assert.deepEqual(await paths(store, ''), []);
  },

  'a list may be left early': async (store) => {
    for (let i = 0; i < 5; i++) await mustPut(store, `wal/${i}`, 'x');
    for await (const object of store.list('wal/')) {
      assert.equal(object.path, 'wal/0');
      break;
    }
    assert.equal((await paths(store, 'wal/')).length, 5);
  },

  'what was deleted is gone at once': async (store) => {
    for (let i = 0; i < 5; i++) await mustPut(store, `wal/${i}`, pattern(5000));
    await mustGet(store, 'wal/1', { offset: 10, length: 10 });
    await store.delete(['wal/1', 'wal/3', 'wal/absent']);
    for (const path of ['wal/1', 'wal/3']) {
      assert.equal(await store.get(path), undefined);
      assert.equal(await store.get(path, { range: { offset: 10, length: 10 } }), undefined);
      assert.equal(await store.head(path), undefined);
    }
    assert.deepEqual(await paths(store, ''), ['wal/0', 'wal/2', 'wal/4']);
    await mustPut(store, 'wal/1', pattern(5000, 9));
    const { bytes } = await mustGet(store, 'wal/1', { offset: 10, length: 10 });
    sameBytes(bytes, pattern(5000, 9).slice(10, 20), 'the new object, not the deleted one');
  },

  'buffers are not shared': async (store) => {
    const body = pattern(300);
    const view = new Uint8Array(pattern(400).buffer, 50, 300);
    await mustPut(store, 'view', view);
    await mustPut(store, 'object', body);
    body.fill(0);
    view.fill(0);
    const first = await mustGet(store, 'object');
    sameBytes(first.bytes, pattern(300), 'the store keeps no input');
    sameBytes((await mustGet(store, 'view')).bytes, pattern(400).slice(50, 350), 'only the view is written');
    first.bytes.fill(1);
    const part = await mustGet(store, 'object', { offset: 0, length: 300 });
    sameBytes(part.bytes, pattern(300), 'the store keeps no output');
  },

  'odd names work': async (store) => {
    const names = [
      'with space',
      'plus+sign',
      'a=b',
      'user@host',
      'per%20cent',
      'q?x=1&y',
      "it's",
      '(x)',
      '~t!,;$',
      'é/ü',
    ];
    const all = names.map((name) => `odd/${name}/x.sst`);
    for (const path of all) await mustPut(store, path, path);
    for (const path of all) {
      assert.equal(await textOf(store, path), path);
      assert.equal((await store.head(path))?.size, text(path).length);
    }
    assert.deepEqual(await paths(store, 'odd/'), [...all].sort());
    await store.delete(all);
    assert.deepEqual(await paths(store, ''), []);
  },

  'an aborted signal stops a request that was not sent': async (store) => {
    const signal = AbortSignal.abort();
    const isAbort = (error: unknown) => isDbError(error) && error.kind === 'aborted';
    await assert.rejects(store.get('a', { signal }), isAbort);
    await assert.rejects(store.head('a', { signal }), isAbort);
    await assert.rejects(store.delete(['a'], { signal }), isAbort);
    const putting = store.put('a', text('x'), { condition: 'any', putId: newPutId(), signal });
    await assert.rejects(putting, isAbort);
    assert.equal(await store.get('a'), undefined);
  },
};

const METADATA_CHECKS: Record<string, Check> = {
  'the put id is kept as metadata': async (store, { largeObjectBytes }) => {
    const putId = newPutId();
    await store.put('object', text('x'), { condition: 'if-absent', putId });
    assert.equal((await store.head('object'))?.metadata[PUT_ID_METADATA], putId);
    assert.equal((await mustGet(store, 'object')).metadata[PUT_ID_METADATA], putId);
    assert.equal((await mustGet(store, 'object', { suffix: 1 })).metadata[PUT_ID_METADATA], putId);
    await store.put('large', pattern(largeObjectBytes), { condition: 'if-absent', putId });
    assert.equal((await store.head('large'))?.metadata[PUT_ID_METADATA], putId);
  },
};

const IF_MATCH_CHECKS: Record<string, Check> = {
  'If-Match replaces exactly the version it names': async (store) => {
    const first = await mustPut(store, 'gc/boundary', 'one');
    const second = await mustPut(store, 'gc/boundary', 'two', { ifMatch: first });
    assert.equal((await put(store, 'gc/boundary', 'three', { ifMatch: first })).outcome, 'refused');
    assert.equal(await textOf(store, 'gc/boundary'), 'two');
    assert.equal((await put(store, 'gc/absent', 'x', { ifMatch: second })).outcome, 'refused');
    assert.equal(await store.get('gc/absent'), undefined);
    const { etag } = await mustGet(store, 'gc/boundary');
    await mustPut(store, 'gc/boundary', 'three', { ifMatch: etag });
    assert.equal(await textOf(store, 'gc/boundary'), 'three');
  },

  'of 8 concurrent If-Match writers one wins': async (store) => {
    let etag = await mustPut(store, 'gc/boundary', 'start');
    for (let round = 0; round < 3; round++) {
      const bodies = Array.from({ length: 8 }, (_, i) => `writer ${i} of round ${round}`);
      const settled = await Promise.allSettled(
        bodies.map((body) => put(store, 'gc/boundary', body, { ifMatch: etag })),
      );
      const winners = bodies.filter((_, i) => {
        const result = settled[i];
        // Losers may be answered that another write is in flight; that error means that nothing was applied.
        return result.status === 'fulfilled' && result.value.outcome === 'applied';
      });
      assert.equal(winners.length, 1, `round ${round}`);
      assert.equal(await textOf(store, 'gc/boundary'), winners[0]);
      etag = (await mustGet(store, 'gc/boundary')).etag;
    }
  },
};
