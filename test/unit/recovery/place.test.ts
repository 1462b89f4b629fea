/** Finding a database while others write: over a store in which manifests appear, vanish and change between the requests. */
import { beforeEach, describe, expect, it } from 'vitest';
import { UnavailableError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { encodeBoundary } from '../../../src/format/boundary.ts';
import {
  compactionsPath,
  IDENTITY_PATH,
  MANIFEST_BOUNDARY_PATH,
  manifestPath,
  walPath,
} from '../../../src/format/object-names.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { findNewestCompactions } from '../../../src/lsm/manifest/compactions-store.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { EpochGuard } from '../../../src/lsm/manifest/epoch-guard.ts';
import { loadManifest, NO_WITNESS, sealManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import {
  assertUsable,
  type BadManifest,
  findNewest,
  findNewestGood,
  findNewestId,
  isEmptyPlace,
  isOvertaken,
  lookAtManifest,
  readSurroundings,
  relist,
  type Search,
  withUnlisted,
} from '../../../src/recovery/place.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { rejection, thrown, World } from '../../support/database.ts';
import { interfered } from '../../support/interference.ts';

const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';

/** Sealed manifests 1 to 9 of one database, each of which continues the one before. */
let sealed: Uint8Array[];
let identity: Uint8Array;

beforeEach(async () => {
  if (sealed !== undefined) return;
  const world = new World();
  await world.writeAndCrash(['key']);
  identity = await world.bytes(IDENTITY_PATH);
  const first = loadManifest(1, await world.bytes(manifestPath(1)));
  const { databaseId } = first.seal!.identity;
  const author = new Author({
    clock: world.clock,
    random: world.random(),
    owner: 'test:1',
    databaseId,
    role: 'writer',
  });
  sealed = [];
  let previous: ReturnType<typeof loadManifest> | undefined;
  for (let id = 1; id <= 9; id++) {
    const { manifest } = first;
    const { bytes } = sealManifest({ id, manifest, previous, author, epoch: 0, witness: NO_WITNESS });
    sealed[id] = bytes;
    previous = loadManifest(id, bytes);
  }
});

/** A place with these manifests, and what a search of it needs. */
async function placeWith(...ids: number[]) {
  const clock = new ManualClock();
  const memory = new MemoryStore({ clock });
  const put = async (path: string, bytes: Uint8Array = new Uint8Array(1)) => {
    await memory.put(path, bytes, { condition: 'any', putId: PUT_ID });
  };
  const write = async (...written: number[]) => {
    for (const id of written) await put(manifestPath(id), sealed[id]);
  };
  const remove = async (...gone: number[]) => {
    await memory.delete(gone.map(manifestPath));
  };
  await write(...ids);
  const { store, requests, hidden, onRequest } = interfered(memory);
  const place = { location: { store, path: '' }, isRootAssumed: false };
  const stores = databaseStores(place, { clock, random: new SeededRandom(1), timeoutMs: 60_000 });
  const guard = new EpochGuard(clock, stores.latestStoreTimesMs);
  const bad: BadManifest[] = [];
  const search: Search = {
    clock,
    during: 'check',
    nextBy: 'get',
    onBad: (one) => {
      bad.push(one);
      return Promise.reject(one.failure);
    },
    refusesBelowBoundary: true,
    lookAgain: (around) => relist(stores.main, around),
    rounds: 5,
    tooManyOthers: () => new UnavailableError('DEADLINE', 'too many others'),
  };
  const around = () => readSurroundings(stores.main, guard, 'check');
  const find = async (more: Partial<Search> = {}) => {
    const first = await around();
    requests.length = 0;
    return clock.runUntilSettled(findNewest(stores, first, { ...search, ...more }));
  };
  return { clock, memory, store, stores, requests, hidden, onRequest, put, write, remove, around, find, search, bad };
}

/** Requests with short ids. */
const short = (requests: string[]) => requests.map((r) => r.replace(/manifest\/0*(\d+)\.manifest/, '$1'));
/** The same with a bit changed. */
const damaged = (id: number) => sealed[id].map((byte, i) => (i === 20 ? byte ^ 1 : byte));

describe('the newest manifest', () => {
  it('is found in one trip, or by a HEAD before it', async () => {
    const { find, requests } = await placeWith(1, 2, 3);
    expect((await find()).newest.id).toBe(3);
    expect(short(requests)).toEqual(['get 3', 'get 4']);
    expect((await find({ nextBy: 'head' })).newest.id).toBe(3);
    expect(short(requests)).toEqual(['head 4', 'get 3']);
  });

  it('comes with its bytes and what is around it, and is shown to the caller once', async () => {
    const { find, put } = await placeWith(2, 3);
    await put(IDENTITY_PATH, identity);
    await put(compactionsPath(4));
    const shown: number[] = [];
    let besides = 0;
    const found = await find({
      onGood: ({ loaded }) => shown.push(loaded.id),
      beside: async () => void besides++,
    });
    expect(found).toMatchObject({ manifestIds: [2, 3], newestCompactionsId: 4, boundary: { exists: false } });
    expect(found.newestBytes).toEqual(sealed[3]);
    expect(found.identity?.bytes).toEqual(identity);
    expect([shown, besides]).toEqual([[3], 1]);
  });

  const BOTH = ['get', 'head'] as const;

  it.each(BOTH)('is one that the list did not show yet, by %s', async (nextBy) => {
    const { find, hidden, requests } = await placeWith(1, 2, 3, 4);
    for (const id of [3, 4]) hidden.add(manifestPath(id));
    expect((await find({ nextBy })).newest.id).toBe(4);
    const looked = nextBy === 'get' ? ['get 2', 'get 3', 'get 4', 'get 5'] : ['head 3', 'head 4', 'head 5', 'get 4'];
    expect(short(requests)).toEqual(looked);
  });

  it.each(BOTH)('is one that appeared between the LIST and the %s of the next one', async (nextBy) => {
    const { find, onRequest, write } = await placeWith(1, 2);
    onRequest(`${nextBy} ${manifestPath(3)}`, () => write(3), 1);
    expect((await find({ nextBy })).newest.id).toBe(3);
  });

  it('is the one after a listed one that was collected in the meantime', async () => {
    const { find, onRequest, write, remove, requests } = await placeWith(1, 2);
    onRequest(`get ${manifestPath(2)}`, async () => Promise.all([write(3), remove(1, 2)]), 1);
    expect((await find()).newest.id).toBe(3);
    expect(short(requests)).toEqual(['get 2', 'get 3', 'get 4']);
  });

  it.each(BOTH)('is looked for again where the listed one and its next are gone, by %s', async (nextBy) => {
    const { find, onRequest, write, remove, requests } = await placeWith(1, 2);
    onRequest(/^(get|head) manifest/, async () => Promise.all([write(5), remove(1, 2)]), 1);
    const found = await find({ nextBy });
    expect([found.newest.id, found.manifestIds]).toEqual([5, [5]]);
    const first = nextBy === 'get' ? ['get 2', 'get 3'] : ['head 3', 'get 2'];
    const second = nextBy === 'get' ? ['get 5', 'get 6'] : ['head 6', 'get 5'];
    expect(short(requests)).toEqual([...first, 'list manifest/', ...second]);
  });

  it('is given up after a number of rounds in which others were faster', async () => {
    const { find, onRequest, write, remove, requests } = await placeWith(1);
    let newest = 1;
    onRequest(/^get manifest/, async () => {
      // Every other request: the one of the listed manifest.
      await remove(newest);
      if (newest < 9) newest += 2;
      await write(newest);
      await remove(newest);
    });
    onRequest('list manifest/', () => write(newest));
    const error = await rejection(find({ rounds: 3 }));
    expect(error).toMatchObject({ code: 'DEADLINE', message: 'too many others' });
    expect(requests.filter((r) => r.startsWith('list'))).toHaveLength(3);
  });

  it('is missed, and not looked for forever, where none is left', async () => {
    const { find, onRequest, remove } = await placeWith(1, 2);
    onRequest(`get ${manifestPath(2)}`, () => remove(1, 2), 1);
    expect(await rejection(find())).toMatchObject({ name: 'ManifestCorruptionError' });
    const empty = await placeWith();
    expect((await rejection(empty.find())).message).toContain('no manifest is left');
    expect(empty.requests).toEqual([]);
  });
});

describe('a newest manifest that does not decode', () => {
  it('is called damaged after three reads, 100 ms and a second apart', async () => {
    const { find, put, clock, requests, bad } = await placeWith(1, 2);
    await put(manifestPath(2), damaged(2));
    const startMs = clock.monotonicMs();
    expect(await rejection(find())).toMatchObject({ name: 'CorruptionError' });
    expect(clock.monotonicMs() - startMs).toBe(1100);
    expect(short(requests)).toEqual(['get 2', 'get 3', 'get 2', 'get 2']);
    expect(bad[0]).toMatchObject({ id: 2, bytes: damaged(2) });
    expect(bad[0].reads()).toMatchObject({ attempts: 3, identical: true });
  });

  it('is good if a later look is', async () => {
    const { find, put, write, onRequest } = await placeWith(1, 2);
    await put(manifestPath(2), damaged(2));
    onRequest(`get ${manifestPath(2)}`, () => write(2), 3);
    expect((await find()).newestBytes).toEqual(sealed[2]);
  });

  it('is read badly, and not damaged, where each look gives other bytes', async () => {
    const { find, put, onRequest, bad } = await placeWith(1, 2);
    let n = 0;
    onRequest(`get ${manifestPath(2)}`, () => put(manifestPath(2), damaged(2).fill(n++, 30, 40)));
    await rejection(find());
    expect(n).toBe(6);
    expect(thrown(() => bad[0].reads())).toBeInstanceOf(UnavailableError);
  });

  it('is looked for again if it vanishes between two reads', async () => {
    const { find, put, write, remove, onRequest, bad } = await placeWith(1, 2);
    await put(manifestPath(2), damaged(2));
    onRequest(`get ${manifestPath(2)}`, async () => Promise.all([remove(2), write(4)]), 2);
    expect((await find()).newest.id).toBe(4);
    expect(bad).toEqual([]);
  });

  it('is what the caller makes of it: another one, or none, and then all is looked at again', async () => {
    const { find, put, stores, write } = await placeWith(1, 2);
    await put(manifestPath(2), damaged(2));
    const healed = loadManifest(2, sealed[2]);
    const found = await find({ onBad: () => Promise.resolve(healed) });
    expect(found.newest).toBe(healed);
    expect(found.newestBytes).toEqual(damaged(2));
    const onBad = async ({ id }: BadManifest) => {
      await write(3);
      expect(await isOvertaken(stores.main, id)).toBe(true);
      return undefined;
    };
    expect((await find({ onBad })).newest.id).toBe(3);
  });

  it('is undefined where it is gone, and one GET where it is good', async () => {
    const { stores, clock, requests } = await placeWith(1, 2);
    expect(await lookAtManifest(stores, 3, 0, { clock, during: 'check' })).toBeUndefined();
    expect((await lookAtManifest(stores, 2, 0, { clock, during: 'check' }))?.loaded?.id).toBe(2);
    expect((await lookAtManifest(stores, 2, 0, { clock, during: 'check' }, sealed[2]))?.loaded?.id).toBe(2);
    expect(short(requests)).toEqual(['get 3', 'get 2']);
  });
});

describe('a newest manifest at or below the boundary of the collector', () => {
  const atBoundary = async (boundary: number) => {
    const place = await placeWith(2, 3);
    await place.put(MANIFEST_BOUNDARY_PATH, encodeBoundary(boundary));
    return place;
  };

  it('above it is nothing special', async () => {
    const { find } = await atBoundary(2);
    expect((await find()).boundary).toMatchObject({ exists: true, value: 2 });
  });

  it.each([3, 4, 100])('is refused after three more lists: %d', async (boundary) => {
    const { find, requests } = await atBoundary(boundary);
    const error = await rejection(find());
    expect(error).toMatchObject({ name: 'ManifestCorruptionError' });
    expect(error.message).toContain(`manifest ${boundary} and all below it are deleted, but the newest manifest is 3`);
    expect(requests.filter((r) => r === 'list manifest/')).toHaveLength(3);
  });

  it('is passed where a newer one is listed by then', async () => {
    const { find, onRequest, write } = await atBoundary(4);
    onRequest('list manifest/', () => write(6), 3);
    expect((await find()).newest.id).toBe(6);
  });

  it('is taken by a caller that goes on from it', async () => {
    const { find } = await atBoundary(100);
    expect((await find({ refusesBelowBoundary: false })).newest.id).toBe(3);
  });
});

describe('looking around', () => {
  it('costs two lists and two GETs in one trip, beside what the caller asks', async () => {
    const { stores, requests, store } = await placeWith(1, 2);
    const guard = new EpochGuard(new ManualClock(), () => []);
    const around = await readSurroundings(stores.main, guard, 'check', () => store.get('other'));
    expect(short(requests)).toEqual([
      'list manifest/',
      `get ${IDENTITY_PATH}`,
      `get ${MANIFEST_BOUNDARY_PATH}`,
      'list compactions/',
      'get other',
    ]);
    expect(around).toMatchObject({ manifestIds: [1, 2], identity: undefined, identityDamage: undefined });
  });

  it('says of a damaged identity where it is and who looked, and goes on', async () => {
    const { around, put } = await placeWith(1);
    await put(IDENTITY_PATH, identity.subarray(0, 20));
    const { identity: found, identityDamage } = await around();
    expect(found).toBeUndefined();
    expect(identityDamage?.findings[0]).toMatchObject({ during: 'check', object: { path: IDENTITY_PATH, size: 20 } });
  });

  it.each([
    { what: 'nothing', paths: [], isNothing: true },
    { what: 'a file of another program', paths: ['wal/notes.txt', 'manifest/readme'], isNothing: true },
    { what: 'an object of the log', paths: [walPath(1)], isNothing: 'damage' },
    { what: 'compactions', paths: [compactionsPath(1)], isNothing: 'damage' },
    { what: 'a manifest by now', paths: [manifestPath(1)], isNothing: false },
  ])('finds $what', async ({ paths, isNothing }) => {
    const { around, put, stores } = await placeWith();
    const before = await around();
    for (const path of paths) await put(path);
    const answer = isEmptyPlace(stores, before);
    if (isNothing === 'damage') expect(await rejection(answer)).toMatchObject({ name: 'ManifestCorruptionError' });
    else expect(await answer).toBe(isNothing);
  });

  it('does not call a place empty where a read saw what no list shows', async () => {
    const { around, put, stores, hidden } = await placeWith();
    await put(IDENTITY_PATH, identity);
    hidden.add(IDENTITY_PATH);
    expect(await rejection(isEmptyPlace(stores, await around()))).toMatchObject({ name: 'ManifestCorruptionError' });
  });
});

describe('ids', () => {
  it('of the newest manifest and compactions are those of the highest object that is one', async () => {
    const { store, put, requests } = await placeWith(1, 3, 9);
    await put('manifest/zzz');
    await put('compactions/zzz');
    expect(await findNewestCompactions(store)).toBeUndefined();
    for (const id of [2, 12]) await put(compactionsPath(id));
    requests.length = 0;
    expect(await findNewestId(store)).toBe(9);
    expect(await findNewestId(store, 4)).toBe(9);
    expect(await findNewestId(store, 10)).toBeUndefined();
    expect(await findNewestCompactions(store)).toBe(12);
    expect(requests).toHaveLength(4);
  });

  it('are overtaken by a higher one only', async () => {
    const { store, write } = await placeWith(1, 3);
    expect([await isOvertaken(store, 2), await isOvertaken(store, 3)]).toEqual([true, false]);
    await write(4);
    expect(await isOvertaken(store, 3)).toBe(true);
  });

  it('that a list does not show yet are those that follow', async () => {
    const { store, requests } = await placeWith(1, 2, 3, 5);
    expect(await withUnlisted(store, [1])).toEqual([1, 2, 3]);
    expect(short(requests)).toEqual(['head 2', 'head 3', 'head 4']);
    expect(await withUnlisted(store, [])).toEqual([]);
  });
});

describe('the newest good manifest', () => {
  it('is an older one where the newest is damaged, which is the error', async () => {
    const { stores, put } = await placeWith(1, 2, 3);
    expect(await findNewestGood(stores, 'check')).toMatchObject({ newest: { id: 3 }, listedId: 3, error: undefined });
    await put(manifestPath(3), damaged(3));
    const found = await findNewestGood(stores, 'check');
    expect(found).toMatchObject({ newest: { id: 2 }, listedId: 3, isNoneLeft: false });
    expect(found.error?.findings[0].object.path).toBe(manifestPath(3));
  });

  it('passes over one that was collected after the list', async () => {
    const { stores, onRequest, remove } = await placeWith(1, 2);
    onRequest(`get ${manifestPath(2)}`, () => remove(2), 1);
    expect(await findNewestGood(stores, 'check')).toMatchObject({ newest: { id: 1 }, error: undefined });
  });

  it('is none where none is left', async () => {
    const { stores } = await placeWith();
    const found = await findNewestGood(stores, 'check');
    expect(found).toMatchObject({ newest: undefined, listedId: undefined, isNoneLeft: true });
    expect(found.error?.message).toContain('no manifest is left');
  });
});

describe('a manifest may be used', () => {
  it('once the database is set up, and with its log where it is looked for', async () => {
    const { stores, find } = await placeWith(1);
    const { newest } = await find();
    expect(() => assertUsable(stores, 'here', { newest, identity: undefined })).not.toThrow();
    const clone = { ...newest, manifest: { ...newest.manifest, initialized: false } };
    expect(thrown(() => assertUsable(stores, 'here', { newest: clone, identity: undefined }))).toMatchObject({
      code: 'NOT_A_DATABASE',
    });
    const elsewhere = { ...newest, manifest: { ...newest.manifest, walStoreUri: '' } };
    expect(thrown(() => assertUsable(stores, 'here', { newest: elsewhere, identity: undefined })).message).toContain(
      'here: this database keeps its WAL in another store',
    );
  });
});
