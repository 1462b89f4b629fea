/**
 * The contract of object stores, on each store and wrapper that is here: in memory, in a directory, under latency and
 * retries.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import { SYSTEM_CLOCK } from '../../src/common/clock.ts';
import { ManualClock } from '../../src/common/manual-clock.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { FaultyStore } from '../../src/store/faulty-store.ts';
import { latencyStore } from '../../src/store/latency-store.ts';
import { limitedStore, RequestSlots } from '../../src/store/limited-store.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { meteredStore } from '../../src/store/metered-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { Overlay } from '../../src/store/overlay-store.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { retryingStore } from '../../src/store/retrying-store.ts';
import { type StoreContractOptions, storeContract } from '../../src/store/store-contract.ts';
import { forwarding } from '../support/forwarding-store.ts';

const scratch = mkdtempSync(join(tmpdir(), 'shaledb-contract-'));
const opened: ObjectStore[] = [];
let directories = 0;

afterAll(async () => {
  for (const store of opened) await store.close?.();
  rmSync(scratch, { recursive: true });
});

function newLocalStore(): LocalStore {
  const store = new LocalStore(join(scratch, String(directories++), 'store'));
  opened.push(store);
  return store;
}

function suite(name: string, makeStore: () => ObjectStore, options?: StoreContractOptions): void {
  describe(name, () => {
    for (const check of storeContract(makeStore, options)) it(check.name, check.run);
  });
}

/** Wrappers do nothing of their own from some size on. */
const PASSED_ON: StoreContractOptions = { upload: true, largeObjectBytes: 1_000_000 };

suite('MemoryStore', () => new MemoryStore(), { upload: true });
suite('LocalStore', newLocalStore, { metadata: false, upload: true });
suite('prefixedStore', () => prefixedStore(new MemoryStore(), '/some/where/'), PASSED_ON);
suite('prefixedStore over LocalStore', () => prefixedStore(newLocalStore(), 'db'), { metadata: false, ...PASSED_ON });
suite('meteredStore', () => meteredStore(new MemoryStore(), () => 'any'), PASSED_ON);
const slots = (most: number) => new RequestSlots({ most, foreground: () => 0, isUrgent: () => false });
suite('limitedStore, one request at a time', () => limitedStore(new MemoryStore(), slots(1)), PASSED_ON);
suite('limitedStore', () => limitedStore(new MemoryStore(), slots(1000)), PASSED_ON);
suite('retryingStore', () => retryingStore(new MemoryStore()), PASSED_ON);
suite('FaultyStore without faults', () => new FaultyStore(new MemoryStore()), PASSED_ON);

suite('Overlay', () => new Overlay(SYSTEM_CLOCK).over(new MemoryStore()), {});

describe('latencyStore in virtual time', () => {
  const clock = new ManualClock();
  const makeStore = () => latencyStore(new MemoryStore({ clock }), { clock, latencyMs: 20, bytesPerMs: 1e5 });
  for (const check of storeContract(makeStore, PASSED_ON)) it(check.name, () => clock.runUntilSettled(check.run()));
});

describe('retryingStore over a store that fails often and loses answers', () => {
  const clock = new ManualClock();
  const makeStore = () => {
    const faulty = new FaultyStore(new MemoryStore({ clock }), {
      clock,
      random: new SeededRandom(7),
      rules: [
        { action: 'fail-before', probability: 0.1 },
        { op: 'put', action: 'apply-then-drop', probability: 0.1 },
        { op: 'get', action: 'short-body', probability: 0.1 },
        { action: 'throttle', probability: 0.05 },
        { action: 'stall', probability: 0.01 },
      ],
    });
    return retryingStore(faulty, { clock, random: new SeededRandom(8), attemptTimeoutMs: 1000 });
  };
  // An answer that is got by proof says `earlier` instead of `now`, which the suite does not expect of a bare store.
  const normalised = (): ObjectStore => {
    const store = makeStore();
    return {
      name: store.name,
      get: (path, options) => store.get(path, options),
      head: (path, options) => store.head(path, options),
      list: (prefix, options) => store.list(prefix, options),
      delete: (paths, options) => store.delete(paths, options),
      async put(path, bytes, options) {
        const outcome = await store.put(path, bytes, options);
        if (outcome.outcome === 'refused') return { outcome: 'refused' };
        return outcome.outcome === 'applied' ? { ...outcome, attempt: 'now' } : outcome;
      },
    };
  };
  for (const check of storeContract(normalised)) it(check.name, () => clock.runUntilSettled(check.run()));
});

describe('the contract suite itself', () => {
  const broken: Record<string, (store: MemoryStore) => Partial<ObjectStore>> = {
    'ignores if-absent': (store) => ({
      put: (path, bytes, options) => store.put(path, bytes, { ...options, condition: 'any' }),
    }),
    'ignores ranges': (store) => ({ get: (path) => store.get(path) }),
    'lists backwards': (store) => ({
      async *list(prefix, options) {
        const all = [];
        for await (const object of store.list(prefix, options)) all.push(object);
        yield* all.reverse();
      },
    }),
    'ignores startAfter': (store) => ({ list: (prefix) => store.list(prefix) }),
    'keeps deleted objects': () => ({ delete: async () => undefined }),
    'loses metadata': (store) => ({
      async head(path) {
        const head = await store.head(path);
        return head && { ...head, metadata: {} };
      },
    }),
    'creates without atomicity': (store) => ({
      async put(path, bytes, options) {
        if (options.condition === 'if-absent' && (await store.head(path))) return { outcome: 'refused' };
        await SYSTEM_CLOCK.yieldToLoop();
        return store.put(path, bytes, { ...options, condition: 'any' });
      },
    }),
    'shows parts before the completion': (store) => ({
      upload: (path, options) => {
        const upload = store.upload(path, options);
        return {
          write: async (part) => {
            await store.put(path, part, options);
            await upload.write(part);
          },
          complete: () => store.put(path, new Uint8Array(10), { ...options, condition: 'any' }),
          abort: () => upload.abort(),
        };
      },
    }),
    'completes uploads without their condition': (store) => ({
      upload: (path, options) => store.upload(path, { ...options, condition: 'any' }),
    }),
    'keeps what was aborted': (store) => ({
      upload: (path, options) => {
        const upload = store.upload(path, options);
        return {
          write: (part) => upload.write(part),
          complete: () => upload.complete(),
          abort: async () => void (await upload.complete().catch(() => undefined)),
        };
      },
    }),
    'throws for absent objects': (store) => ({
      async get(path, options) {
        const found = await store.get(path, options);
        if (found === undefined) throw new Error('no such key');
        return found;
      },
    }),
  };
  it('demands uploads only where the options do, and leaves them out where they say so', async ({ expect }) => {
    const { upload: _, ...bare } = forwarding(new MemoryStore());
    const namesOf = (upload?: boolean) =>
      storeContract(() => bare, { ...(upload !== undefined && { upload }) }).filter(({ name }) => /upload/.test(name));
    expect(namesOf(false)).toEqual([]);
    for (const { run } of namesOf()) await run();
    for (const { run } of namesOf(true)) await expect(run()).rejects.toThrow('the store has upload');
    expect(namesOf(true).length).toBeGreaterThan(8);
  });

  for (const [name, breakIt] of Object.entries(broken)) {
    it(`finds a store that ${name}`, async ({ expect }) => {
      const makeStore = (): ObjectStore => {
        const store = new MemoryStore();
        const whole: ObjectStore = {
          name: 'broken',
          get: (path, options) => store.get(path, options),
          head: (path, options) => store.head(path, options),
          put: (path, bytes, options) => store.put(path, bytes, options),
          list: (prefix, options) => store.list(prefix, options),
          delete: (paths, options) => store.delete(paths, options),
        };
        return { ...whole, ...breakIt(store) };
      };
      let failures = 0;
      for (const check of storeContract(makeStore, { largeObjectBytes: 10_000, longListObjects: 20 })) {
        await check.run().catch(() => failures++);
      }
      expect(failures).toBeGreaterThan(0);
    });
  }
});
