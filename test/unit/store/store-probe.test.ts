/** The probe of a store: which broken promises it finds, and what it does not blame on the store. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { probeStore } from '../../../src/lsm/manifest/store-probe.ts';
import { type FaultRule, FaultyStore } from '../../../src/store/faulty-store.ts';
import { LocalStore } from '../../../src/store/local-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { type ObjectStore, PUT_ID_METADATA } from '../../../src/store/object-store.ts';

const clock = new ManualClock();

function probe(store: ObjectStore, prefix = '') {
  return probeStore(store, { clock, random: new SeededRandom(1), prefix });
}

/** A memory store with some calls replaced. */
function broken(replace: (store: MemoryStore) => Partial<ObjectStore>): ObjectStore & { memory: MemoryStore } {
  const memory = new MemoryStore({ clock });
  return {
    memory,
    name: 'broken',
    get: (path, options) => memory.get(path, options),
    head: (path, options) => memory.head(path, options),
    put: (path, bytes, options) => memory.put(path, bytes, options),
    list: (prefix, options) => memory.list(prefix, options),
    delete: (paths, options) => memory.delete(paths, options),
    ...replace(memory),
  };
}

function forwarding(store: ObjectStore): Omit<ObjectStore, 'name'> {
  return {
    get: (path, options) => store.get(path, options),
    head: (path, options) => store.head(path, options),
    put: (path, bytes, options) => store.put(path, bytes, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (paths, options) => store.delete(paths, options),
  };
}

/** A memory store whose reads pass through `spoil`, which may change their bytes. */
function spoiled(memory: MemoryStore, spoil: (bytes: Uint8Array, path: string) => void): ObjectStore {
  return broken(() => ({
    ...forwarding(memory),
    async get(path, options) {
      const result = await memory.get(path, options);
      if (result !== undefined) spoil(result.bytes, path);
      return result;
    },
  }));
}

async function objectsOf(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of store.list('')) found.push(path);
  return found;
}

describe('probeStore', () => {
  it('finds nothing wrong with a good store, and leaves no object', async () => {
    const store = new MemoryStore({ clock });
    const touched: string[] = [];
    const watched = broken(() => ({
      ...forwarding(store),
      put: (path, bytes, options) => {
        touched.push(path);
        return store.put(path, bytes, options);
      },
    }));
    const profile = await probe(watched, 'some/db/');
    expect(profile).toEqual({
      schemaVersion: 1,
      probedAtMs: clock.nowMs(),
      conditionalCreate: true,
      ifMatch: 'supported',
      rangedReads: true,
      suffixReads: true,
      readAfterWrite: true,
      listAfterWrite: true,
      listAfterDelete: true,
      metadata: true,
      storeTime: true,
      problems: [],
    });
    expect(JSON.parse(JSON.stringify(profile))).toEqual(profile);
    expect(touched.length).toBeGreaterThan(30);
    for (const path of touched) expect(path).toMatch(/^some\/db\/shale\/probe\/[0-9A-Z]{26}\//);
    expect(await objectsOf(store)).toEqual([]);
  });

  const cases: [string, (store: MemoryStore) => Partial<ObjectStore>, object][] = [
    [
      'ignores If-None-Match',
      (store) => ({
        put: (path, bytes, options) =>
          store.put(path, bytes, options.condition === 'if-absent' ? { ...options, condition: 'any' } : options),
      }),
      { conditionalCreate: false },
    ],
    [
      'refuses the second create and still overwrites',
      (store) => ({
        async put(path, bytes, options) {
          const outcome = await store.put(path, bytes, options);
          if (outcome.outcome === 'refused' && path.endsWith('/created')) {
            await store.put(path, bytes, { ...options, condition: 'any' });
          }
          return outcome;
        },
      }),
      { conditionalCreate: false },
    ],
    [
      'lets several concurrent creators win',
      (store) => ({
        async put(path, bytes, options) {
          if (options.condition !== 'if-absent') return store.put(path, bytes, options);
          if (await store.head(path)) return { outcome: 'refused' };
          await clock.yieldToLoop();
          return store.put(path, bytes, { ...options, condition: 'any' });
        },
      }),
      { conditionalCreate: false },
    ],
    [
      'ignores If-Match',
      (store) => ({
        put: (path, bytes, options) =>
          store.put(path, bytes, typeof options.condition === 'object' ? { ...options, condition: 'any' } : options),
      }),
      { conditionalCreate: true, ifMatch: 'ignored' },
    ],
    [
      'does not know If-Match',
      (store) => ({
        put: (path, bytes, options) => {
          if (typeof options.condition !== 'object') return store.put(path, bytes, options);
          return new FaultyStore(store, { rules: [{ action: 'status:501' }] }).put(path, bytes, options);
        },
      }),
      { conditionalCreate: true, ifMatch: 'unsupported' },
    ],
    [
      'wants the ETag without quotes',
      (store) => ({
        put: async (path, bytes, options) => {
          const { condition } = options;
          if (typeof condition === 'object' && condition.ifMatch.startsWith('"')) return { outcome: 'refused' };
          return store.put(path, bytes, options);
        },
      }),
      { ifMatch: 'unquoted', problems: [] },
    ],
    ['ignores ranges', (store) => ({ get: (path) => store.get(path) }), { rangedReads: false, suffixReads: false }],
    [
      'reads stale bytes',
      (store) => ({
        async get(path, options) {
          const result = await store.get(path, options);
          return path.endsWith('/read') && result ? { ...result, bytes: new Uint8Array(result.bytes.length) } : result;
        },
      }),
      { readAfterWrite: false },
    ],
    [
      'loses metadata',
      (store) => ({
        async head(path) {
          const head = await store.head(path);
          return head && { ...head, metadata: {} };
        },
      }),
      { metadata: false, conditionalCreate: true, problems: [] },
    ],
    [
      'gives the metadata of another put',
      (store) => ({
        async head(path) {
          const head = await store.head(path);
          return head && { ...head, metadata: { [PUT_ID_METADATA]: '01ARZ3NDEKTSV4RRFFQ69G5FAV' } };
        },
      }),
      { metadata: false, problems: ['The metadata of an object is not that of its put.'] },
    ],
    [
      'keeps deleted objects',
      () => ({ delete: async () => undefined }),
      { listAfterWrite: true, listAfterDelete: false },
    ],
  ];
  for (const [what, replace, expected] of cases) {
    it(`finds a store that ${what}`, async () => {
      const profile = await probe(broken(replace));
      expect(profile).toMatchObject(expected);
      if (!('problems' in expected)) expect(profile.problems.length).toBeGreaterThan(0);
    });
  }

  it('finds no problem with a directory, which keeps no metadata', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'shaledb-probe-'));
    try {
      expect(await probe(new LocalStore(directory))).toMatchObject({ metadata: false, problems: [] });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('finds a list that is late', async () => {
    const memory = new MemoryStore({ clock });
    const late = new FaultyStore(memory, { clock, rules: [{ op: 'list', action: 'list-stale' }] });
    expect(await probe(late)).toMatchObject({ listAfterWrite: false });
  });

  it('finds nothing wrong where one bit of one answer was damaged on the way', async () => {
    const gets = 8;
    for (let nth = 1; nth <= gets + 1; nth++) {
      const rules: FaultRule[] = [{ op: 'get', action: 'flip', nth }];
      const flipping = new FaultyStore(new MemoryStore({ clock }), { clock, random: new SeededRandom(nth), rules });
      expect(await probe(flipping), `read ${nth}`).toMatchObject({ problems: [] });
      expect(flipping.fired(), `read ${nth}`).toEqual(nth <= gets ? { flip: 1 } : {});
    }
  });

  it('finds nothing wrong where two reads in a row were damaged in different ways', async () => {
    const gets = 8;
    for (let first = 1; first <= gets; first++) {
      const memory = new MemoryStore({ clock });
      let reads = 0;
      const flipping = spoiled(memory, (bytes) => {
        reads++;
        if (reads === first || reads === first + 1) bytes[0] ^= 1 << (reads - first);
      });
      expect(await probe(flipping), `read ${first}`).toMatchObject({ problems: [] });
    }
  });

  it('finds nothing wrong where one damaged bit turns the winner of a race into another creator', async () => {
    const memory = new MemoryStore({ clock });
    let flipped = 0;
    const flipping = spoiled(memory, (bytes, path) => {
      if (path.endsWith('/race-0') && flipped++ === 0) bytes[bytes.length - 1] ^= 1;
    });
    expect(await probe(flipping)).toMatchObject({ problems: [] });
    expect(flipped).toBeGreaterThan(1);
  });

  it('says that reads are damaged on the way where no two agree, and blames no promise of the store', async () => {
    const memory = new MemoryStore({ clock });
    let reads = 0;
    const flipping = spoiled(memory, (bytes) => {
      bytes[0] ^= 1 << (reads++ % 8);
    });
    await expect(probe(flipping)).rejects.toMatchObject({ kind: 'unavailable', message: /damaged on the way/ });
    expect(await objectsOf(memory)).toEqual([]);
  });

  it('a creator whose answer says that another is in flight did not win', async () => {
    const memory = new MemoryStore({ clock });
    const conflicts: FaultyStore = new FaultyStore(memory, {
      clock,
      random: new SeededRandom(5),
      rules: [{ op: 'put', path: /race-/, action: 'status:409', probability: 0.4 }],
    });
    expect(await probe(conflicts)).toMatchObject({ conditionalCreate: true });
  });

  it('does not judge by lost answers', async () => {
    const memory = new MemoryStore({ clock });
    const rules = [{ op: 'put', path: /race-1/, action: 'apply-then-drop', nth: 1 }] as const;
    const lossy = new FaultyStore(memory, { clock, rules: [...rules] });
    await expect(probe(lossy)).rejects.toMatchObject({ code: 'STORE_DOWN' });
    expect(await objectsOf(memory)).toEqual([]);
  });

  it('throws when the store cannot be used, and cleans up as far as it can', async () => {
    const memory = new MemoryStore({ clock });
    const denied = new FaultyStore(memory, { clock, rules: [{ op: 'get', action: 'status:403' }] });
    await expect(probe(denied)).rejects.toMatchObject({ code: 'STORE_DENIED' });
    expect(await objectsOf(memory)).toEqual([]);
  });
});
