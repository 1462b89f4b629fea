/** Damage in the log: found before anything is changed, listed whole, and never mistaken for anything else. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type CorruptionError, type DbError, isCorruption, WalCorruptionError } from '../../src/common/errors.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, walPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { type FaultRule, FaultyStore } from '../../src/store/faulty-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { storeError } from '../../src/store/store-error.ts';
import { Line, rejection, rowsOf, text, World, worldOfFixture } from '../support/database.ts';
import { CONCAT } from '../support/golden-database.ts';

const AT_ONCE = 128;

/** How an opening ended: the class and code of its error, or `open`. */
interface Ending {
  rules: FaultRule[];
  error: DbError | undefined;
}

/** Opens once for each set of faults, many at a time: an opening that is refused changes nothing, so they can share a store. */
async function openings(world: World, faults: FaultRule[][]): Promise<Ending[]> {
  const endings: Ending[] = [];
  for (let from = 0; from < faults.length; from += AT_ONCE) {
    const part = faults.slice(from, from + AT_ONCE).map(async (rules): Promise<Ending> => {
      const random = new SeededRandom(1);
      const faulty = new FaultyStore(withoutNewObjects(world.memory), { clock: world.clock, random, rules });
      const error = await world.opening({}, new Line(faulty, world.clock)).then(
        () => undefined,
        (e: DbError) => e,
      );
      return { rules, error };
    });
    endings.push(...(await world.run(Promise.all(part))));
  }
  return endings;
}

/** Refuses to store anything new: an opening that goes on in spite of its fault fails there and leaves the others alone. */
function withoutNewObjects(store: ObjectStore): ObjectStore {
  return {
    name: store.name,
    conformance: 'known',
    get: (path, options) => store.get(path, options),
    head: (path, options) => store.head(path, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: () => Promise.reject(new Error('nothing is deleted')),
    async put(path) {
      if ((await store.head(path)) !== undefined) return { outcome: 'refused' };
      throw storeError({ cls: 'denied', message: 'the log was believed', store: store.name, path });
    },
  };
}

/** Opens with each fault and expects all to be refused as a damaged log, with nothing written. */
async function expectAllFound(world: World, faults: FaultRule[][]): Promise<WalCorruptionError[]> {
  const before = await world.versions();
  const endings = await openings(world, faults);
  const others = endings.filter((e) => !(e.error instanceof WalCorruptionError));
  expect(others.map((e) => [JSON.stringify(e.rules), String(e.error)]).slice(0, 10)).toEqual([]);
  expect(await world.versions()).toEqual(before);
  return endings.map((e) => e.error as WalCorruptionError);
}

const everyBit = (path: string, size: number): FaultRule[][] =>
  Array.from({ length: 8 * size }, (_, bit) => [{ action: 'flip', op: 'get', path, bit }]);

const everyLength = (path: string, size: number, from = 0): FaultRule[][] =>
  Array.from({ length: size - from }, (_, i) => [{ action: 'cut', op: 'get', path, at: from + i }]);

const missing = (path: string): FaultRule[] => [
  { action: 'delete', op: 'get', path },
  { action: 'delete', op: 'head', path },
];

const swapped = (a: string, b: string): FaultRule[] => [
  { action: 'swap', op: 'get', path: a, with: b },
  { action: 'swap', op: 'get', path: b, with: a },
];

const names = (n: number) => Array.from({ length: n }, (_, i) => `key-${String(i).padStart(3, '0')}`);

/** A log of `objects` objects: a fence, then one row in each, its seq one below the object's id. */
async function sealedLog(objects: number): Promise<World> {
  const world = new World();
  await world.writeAndCrash(names(objects - 1));
  return world;
}

describe('a log written here', () => {
  let world: World;
  const sizes = new Map<number, number>();
  beforeAll(async () => {
    world = await sealedLog(4);
    for (const id of [1, 2, 3, 4]) sizes.set(id, (await world.bytes(walPath(id))).length);
  });

  it('is opened if nothing is wrong with it', async () => {
    const copy = await world.copy();
    expect(await rowsOf(copy, await copy.open())).toEqual(names(3).map((k) => `${k}=value of ${k}`));
  });

  it('with any one bit of an object inverted is refused, and the object is named', async () => {
    const errors = await expectAllFound(world, everyBit(walPath(3), sizes.get(3)!));
    for (const error of errors) {
      expect(error.wal).toMatchObject({ replayAfter: 0n, end: 4n, damagedIds: [3n], missingIds: [] });
      expect(error.findings[0]).toMatchObject({
        object: { role: 'wal', path: walPath(3), size: sizes.get(3) },
        severity: 'error',
        origin: 'at-rest',
        reads: { attempts: 3, pastCaches: true },
        during: 'open',
      });
    }
  });

  it('with a bit of any byte of its fence inverted is refused', async () => {
    await expectAllFound(
      world,
      everyBit(walPath(1), sizes.get(1)!).filter((_, bit) => bit % 9 === 0),
    );
  });

  it.each([1, 3, 4])('with object %i cut to any length is refused', async (id) => {
    const errors = await expectAllFound(world, everyLength(walPath(id), sizes.get(id)!));
    for (const error of errors) expect(error.wal.damagedIds).toEqual([BigInt(id)]);
    // Up to ten bytes are left of no object that anybody writes.
    for (const error of errors.slice(1, 11)) expect(error.code).toBe('TRUNCATED');
  });

  it('says how many rows are left, what is lost, and what to run', async () => {
    const flipInData: FaultRule[] = [{ action: 'flip', op: 'get', path: walPath(3), bit: 8 }];
    const cutOff: FaultRule[] = [{ action: 'cut', op: 'get', path: walPath(3), at: 20 }];
    const [{ wal, findings }, cut] = await expectAllFound(world, [flipInData, cutOff]);
    expect(wal).toMatchObject({ recoverableRows: 3, lostSeqs: [], lostRows: 0 });
    expect(findings[0]).toMatchObject({ remedy: 'heals', hint: { lossIfRepaired: 'none' } });
    expect(cut.wal).toMatchObject({ recoverableRows: 2, lostSeqs: [{ min: 2n, max: 2n }] });
    expect(cut.findings[0]).toMatchObject({
      remedy: 'none',
      hint: {
        commands: ['shaledb wal inspect LOCATION', 'shaledb wal repair LOCATION'],
        lossIfRepaired: 'certain',
        summary: expect.stringContaining(walPath(3)),
      },
    });
    expect(findings[0]).toMatchObject({ code: 'BAD_CHECKSUM', at: { unit: 'block', index: 0, offset: 0 } });
    expect(findings[0].expected).toMatch(/^crc32:/);
    expect(findings[0].found).toMatch(/^crc32:/);
  });

  it('with two objects in each other’s place is refused', async () => {
    const pairs = [1, 2, 3, 4].flatMap((a) => [1, 2, 3, 4].filter((b) => b > a).map((b) => [a, b]));
    const errors = await expectAllFound(
      world,
      pairs.map(([a, b]) => swapped(walPath(a), walPath(b))),
    );
    for (const [i, error] of errors.entries()) {
      expect(error.code).toBe('IDENTITY_MISMATCH');
      expect(error.wal.damagedIds).toEqual(pairs[i].map(BigInt));
    }
  });

  it('with an object copied over another is refused', async () => {
    const pairs = [1, 2, 3, 4].flatMap((a) => [1, 2, 3, 4].filter((b) => b !== a).map((b) => [a, b]));
    const errors = await expectAllFound(
      world,
      pairs.map(([a, b]) => [{ action: 'swap', op: 'get', path: walPath(a), with: walPath(b) }]),
    );
    for (const [i, error] of errors.entries()) expect(error.wal.damagedIds).toEqual([BigInt(pairs[i][0])]);
  });

  it('with an older copy of an object in its place is refused', async () => {
    // The same id written by another life of the database: right in itself, but not the one its successor knew.
    const other = new World(77);
    await other.writeAndCrash(names(3));
    const copy = await world.copy();
    await copy.replace(walPath(3), await other.bytes(walPath(3)));
    const error = (await rejection(copy.open())) as WalCorruptionError;
    expect(error).toBeInstanceOf(WalCorruptionError);
    expect(error.findings.map((f) => f.code)).toContain('CHAIN_BREAK');
  });
});

describe('holes', () => {
  it('anywhere in logs of 3 to 20 objects are found, and only they', async () => {
    for (let objects = 3; objects <= 20; objects++) {
      const world = await sealedLog(objects);
      const before = await world.versions();
      for (let id = 1; id < objects; id++) {
        const copy = await world.copy();
        await copy.remove(walPath(id));
        const error = (await rejection(copy.open())) as WalCorruptionError;
        expect(error).toBeInstanceOf(WalCorruptionError);
        expect(error.findings.map((f) => [f.code, f.object.path])).toEqual([['MISSING_OBJECT', walPath(id)]]);
        expect(error.wal).toMatchObject({ end: BigInt(objects), missingIds: [BigInt(id)], damagedIds: [] });
        expect(error.wal.lostSeqs).toEqual(id === 1 ? [] : [{ min: BigInt(id - 1), max: BigInt(id - 1) }]);
      }
      expect(await world.versions()).toEqual(before);
    }
  });

  it('are found whatever the list says', async () => {
    const world = await sealedLog(9);
    for (let id = 2; id < 9; id++) {
      const copy = await world.copy();
      await copy.remove(walPath(id));
      // The list ends where the hole is: what is after it is only found by asking for the next ids.
      const later = Array.from({ length: 9 - id }, (_, i) => walPath(id + 1 + i));
      const inner = copy.memory;
      copy.store = {
        name: inner.name,
        conformance: 'known',
        get: (path, o) => inner.get(path, o),
        head: (path, o) => inner.head(path, o),
        put: (path, bytes, o) => inner.put(path, bytes, o),
        delete: (paths, o) => inner.delete(paths, o),
        async *list(prefix, o) {
          for await (const object of inner.list(prefix, o)) if (!later.includes(object.path)) yield object;
        },
      };
      const error = (await rejection(copy.open())) as WalCorruptionError;
      expect(error).toBeInstanceOf(WalCorruptionError);
      expect(error.wal).toMatchObject({ missingIds: [BigInt(id)], end: 9n });
    }
  });

  it('at the end are found where a manifest vouches for the missing objects', async () => {
    for (const gone of [1, 2, 3]) {
      const world = await sealedLog(6);
      // An opening that dies after its claim: the claim names the newest object of the log.
      const line = world.line();
      world.faults.add({ action: 'stall', op: 'put', path: walPath(7) });
      void world.opening({}, line).catch(() => undefined);
      await world.clock.advance(0);
      line.cut();
      world.faults.clear();
      expect(await world.paths('manifest/')).toHaveLength(3);
      await world.remove(...Array.from({ length: gone }, (_, i) => walPath(6 - i)));
      const before = await world.versions();
      const error = (await rejection(world.open())) as CorruptionError;
      expect(error).toMatchObject({ name: 'RollbackError', kind: 'corruption', expected: 6n, found: BigInt(6 - gone) });
      const lost = error.findings.filter((f) => f.code === 'MISSING_OBJECT').map((f) => f.object.path);
      expect(lost).toEqual(Array.from({ length: gone }, (_, i) => walPath(7 - gone + i)));
      expect(await world.versions()).toEqual(before);
    }
  });

  it('that reach from the middle to the end are reported as a damaged log', async () => {
    const world = await sealedLog(6);
    await world.remove(walPath(3), walPath(4));
    const error = (await rejection(world.open())) as WalCorruptionError;
    expect(error.wal).toMatchObject({ missingIds: [3n, 4n], lostSeqs: [{ min: 2n, max: 3n }], recoverableRows: 3 });
  });
});

describe('several damages at once', () => {
  it('are reported in one error, with what is lost and what is left', async () => {
    const world = await sealedLog(12);
    const before = await world.versions();
    const rules: FaultRule[] = [
      { action: 'flip', op: 'get', path: walPath(3), bit: 20 },
      ...missing(walPath(5)),
      ...missing(walPath(6)),
      { action: 'cut', op: 'get', path: walPath(8), at: 100 },
      ...swapped(walPath(10), walPath(11)),
    ];
    for (const rule of rules) world.faults.add(rule);
    const error = (await rejection(world.open())) as WalCorruptionError;
    expect(error).toBeInstanceOf(WalCorruptionError);
    expect(error.wal).toEqual({
      replayAfter: 0n,
      end: 12n,
      damagedIds: [3n, 8n, 10n, 11n],
      missingIds: [5n, 6n],
      // The flipped bit is undone, and the two that changed places are distinguished by their seals.
      lostSeqs: [
        { min: 4n, max: 5n },
        { min: 7n, max: 7n },
      ],
      recoverableRows: 8,
    });
    const places = error.findings.map((f) => f.object.path);
    expect([...new Set(places)]).toEqual([3, 5, 6, 8, 10, 11].map(walPath));
    expect(error.total).toBe(error.findings.length);
    expect(error.message).toContain('Nothing was changed');
    expect(await world.versions()).toEqual(before);
  });

  it('survive the trip through JSON', async () => {
    const world = await sealedLog(4);
    await world.remove(walPath(2));
    const error = (await rejection(world.open())) as WalCorruptionError;
    const json = JSON.parse(JSON.stringify(error));
    expect(json).toMatchObject({ name: 'WalCorruptionError', code: 'MISSING_OBJECT', schemaVersion: 1 });
  });
});

describe('a log of SlateDB', () => {
  let world: World;
  /** A fence, then rows. */
  const ids = [1, 2, 3, 4];
  beforeAll(async () => {
    world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
    expect(await world.paths('wal/')).toEqual(ids.map(walPath));
  });

  it('with any one bit of an object inverted is never opened', async () => {
    const before = await world.versions();
    const size = (await world.bytes(walPath(3))).length;
    const endings = await openings(world, everyBit(walPath(3), size));
    expect(before).toEqual(await world.versions());
    const kinds = endings.map((e) => e.error?.name);
    // The last two bytes hold the format version, and without a seal nothing says which one was written: a few above ours may be a
    // newer form, all others are damage.
    expect(kinds.slice(0, -16).filter((k) => k !== 'WalCorruptionError')).toEqual([]);
    expect(new Set(kinds.slice(-16))).toEqual(new Set(['IncompatibleError', 'WalCorruptionError']));
  });

  it('with any object cut to any length but none is refused', async () => {
    for (const id of [1, 3, 4]) {
      const size = (await world.bytes(walPath(id))).length;
      await expectAllFound(world, everyLength(walPath(id), size, 1));
    }
  });

  it.each([2, 3, 4])(
    'with object %d cut to nothing is refused: its only writer fenced it with the first',
    async (id) => {
      const copy = await world.copy();
      await copy.replace(walPath(id), new Uint8Array(0));
      const error = await rejection(copy.open());
      expect(error).toBeInstanceOf(WalCorruptionError);
      expect(isCorruption(error) && error.findings.map((f) => [f.code, f.object.path])).toEqual([
        ['TRUNCATED', walPath(id)],
      ]);
      expect(await rejection(copy.openReader())).toBeInstanceOf(WalCorruptionError);
    },
  );

  it('with an object cut to nothing says that this may be a loss, where it may be the fence of another writer', async () => {
    const copy = await world.copy();
    await copy.replace(walPath(2), new Uint8Array(0));
    const { manifest } = loadManifest(2, await copy.bytes(manifestPath(2)));
    await copy.replace(manifestPath(3), encodeManifest({ ...manifest, writerEpoch: manifest.writerEpoch + 1 }));
    await copy.open();
    expect(copy.log.map((l) => l.fields)).toContainEqual(
      expect.objectContaining({ code: 'TRUNCATED', path: walPath(2) }),
    );
  });

  it('with fences for all its epochs is refused if one more object is empty', async () => {
    const copy = await worldOfFixture('slatedb-0.17.0/crash-fences');
    await copy.run((await copy.openReader({ mergeOperator: CONCAT })).close());
    // Of two side by side nobody can say which was the fence.
    const accused = { 2: [2], 3: [3, 4], 5: [4, 5], 6: [6, 7], 8: [7, 8] };
    for (const [id, ids] of Object.entries(accused)) {
      const damaged = await copy.copy();
      await damaged.replace(walPath(Number(id)), new Uint8Array(0));
      const error = await rejection(damaged.openReader({ mergeOperator: CONCAT }));
      expect(error).toBeInstanceOf(WalCorruptionError);
      expect(isCorruption(error) && error.findings.map((f) => f.object.path)).toEqual(ids.map(walPath));
    }
  });

  it('with a hole is refused', async () => {
    for (const id of [1, 2, 3]) {
      const copy = await world.copy();
      await copy.remove(walPath(id));
      const error = (await rejection(copy.open())) as WalCorruptionError;
      expect(error).toBeInstanceOf(WalCorruptionError);
      expect(error.wal.missingIds).toEqual([BigInt(id)]);
    }
  });

  it('with objects swapped or copied is refused', async () => {
    // The fence has no rows: where it is changes nothing.
    const pairs = [
      [2, 3],
      [2, 4],
      [3, 4],
    ];
    const errors = await expectAllFound(world, [
      ...pairs.map(([a, b]) => swapped(walPath(a), walPath(b))),
      ...pairs.map(([a, b]): FaultRule[] => [{ action: 'swap', op: 'get', path: walPath(a), with: walPath(b) }]),
      ...pairs.map(([a, b]): FaultRule[] => [{ action: 'swap', op: 'get', path: walPath(b), with: walPath(a) }]),
    ]);
    for (const error of errors) expect(error.findings.map((f) => f.code)).toContain('OUT_OF_ORDER');
  });
});

describe('what is no damage', () => {
  const PATHS = [walPath(1), walPath(3), 'manifest/00000000000000000002.manifest', 'shale/identity'];

  it.each(PATHS)('one short answer about %s', async (path) => {
    const world = await sealedLog(4);
    world.faults.add({ action: 'short-body', op: 'get', path, nth: 1 });
    expect(await rowsOf(world, await world.open())).toHaveLength(3);
    expect(world.faults.fired()).toEqual({ 'short-body': 1 });
  });

  it.each(PATHS)('one inverted bit on the way from %s', async (path) => {
    const world = await sealedLog(4);
    const size = (await world.bytes(path)).length;
    for (const at of [0, size >> 1, size - 1]) {
      const copy = await world.copy();
      copy.faults.add({ action: 'flip', op: 'get', path, nth: 1, bit: 8 * at + 6 });
      expect(await rowsOf(copy, await copy.open())).toHaveLength(3);
      expect(copy.faults.fired()).toEqual({ flip: 1 });
    }
  });

  it('one inverted bit on the way from the boundary file', async () => {
    const world = await sealedLog(4);
    await world.replace('gc/manifest.boundary', new TextEncoder().encode('0'));
    for (let bit = 0; bit < 8; bit++) {
      const copy = await world.copy();
      copy.faults.add({ action: 'flip', op: 'get', path: 'gc/manifest.boundary', nth: 1, bit });
      expect(await rowsOf(copy, await copy.open())).toHaveLength(3);
    }
  });

  it('a store that is away', async () => {
    const world = await sealedLog(4);
    world.faults.add({ action: 'fail-before', path: /^wal/ });
    const before = await world.versions();
    const error = await rejection(world.open());
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'STORE_DOWN', retryable: true });
    expect(await world.versions()).toEqual(before);
  });

  it('a store that turns us away', async () => {
    const world = await sealedLog(4);
    world.faults.add({ action: 'status:403', op: 'get', path: walPath(2) });
    expect(await rejection(world.open())).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_DENIED' });
  });

  it('an opening that another one overtakes', async () => {
    const world = await sealedLog(4);
    const both = await world.run(Promise.allSettled([world.opening(), world.opening()]));
    const errors = both.filter((r) => r.status === 'rejected').map((r) => r.reason as DbError);
    for (const error of errors) expect(error).toMatchObject({ name: 'FencedError', code: 'WRITER_FENCED' });
  });
});

describe('a reader', () => {
  it('refuses a damaged log unless it may serve what is before the damage', async () => {
    const world = await sealedLog(6);
    const bytes = await world.bytes(walPath(4));
    bytes[3] ^= 1;
    await world.replace(walPath(4), bytes);
    const before = await world.versions();
    expect(await rejection(world.openReader())).toBeInstanceOf(WalCorruptionError);
    const reader = await world.openReader({ allowPrefix: true });
    expect(await rowsOf(world, reader)).toEqual(names(2).map((k) => `${k}=value of ${k}`));
    expect(await world.run(reader.get('key-002'))).toBeUndefined();
    expect(world.log.filter((l) => l.level === 'warn')).toHaveLength(1);
    expect(await world.versions()).toEqual(before);
  });

  it('serves the prefix before a hole', async () => {
    const world = await sealedLog(6);
    await world.remove(walPath(5));
    const reader = await world.openReader({ allowPrefix: true });
    expect(await rowsOf(world, reader)).toHaveLength(3);
  });

  it('serves the prefix before objects that are each sound, but in the wrong places', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
    const [third, fourth] = [await world.bytes(walPath(3)), await world.bytes(walPath(4))];
    await world.replace(walPath(3), fourth);
    await world.replace(walPath(4), third);
    const whole = await (await worldOfFixture('slatedb-0.12.1/wal-only-crash')).openReader();
    const prefix = await world.openReader({ allowPrefix: true });
    const row = await world.run(prefix.getWithMeta('a'));
    expect(text((await world.run(whole.getWithMeta('a')))?.value)).toBe('2');
    // Whatever is served, no row comes after the first object that is out of its place.
    expect(row === undefined || row.seq < 4n).toBe(true);
    expect(world.log.some((l) => l.level === 'warn')).toBe(true);
  });

  it('with a whole log sees what the writer wrote', async () => {
    const world = await sealedLog(6);
    expect(await rowsOf(world, await world.openReader({ allowPrefix: true }))).toHaveLength(5);
  });
});
