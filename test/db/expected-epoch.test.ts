/** Taking a database over from one writer that was seen, and from nobody else (option expectedEpoch). */
import { describe, expect, it } from 'vitest';
import { FencedError, InvalidArgumentError } from '../../src/common/errors.ts';
import type { Db } from '../../src/db/db.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath, walPath } from '../../src/format/object-names.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { rejection, rowsOf, World, worldOfFixture } from '../support/database.ts';

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const KEYS = ['a', 'b', 'c'];
const ROWS = KEYS.map((key) => `${key}=value of ${key}`);

async function newest(world: World): Promise<{ id: number; manifest: Manifest }> {
  const id = (await listManifestIds(world.memory)).at(-1)!;
  return loadManifest(id, await world.bytes(manifestPath(id)));
}

const epochOf = async (world: World) => (await newest(world)).manifest.writerEpoch;

/** A database whose last writer, of epoch 2, has crashed. */
async function abandoned(): Promise<World> {
  const world = new World();
  await world.writeAndCrash(['a']);
  await world.writeAndCrash(['b', 'c']);
  expect(await epochOf(world)).toBe(2);
  return world;
}

/** Holds the first claim of an opening until it is let go; resolves when the claim is about to be sent. */
function heldClaim(world: World) {
  const line = world.line();
  const put = line.put.bind(line);
  let reached = () => {};
  let letGo = () => {};
  const claim = new Promise<void>((resolve) => {
    reached = resolve;
  });
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let isHeld = false;
  line.put = async (path, bytes, options) => {
    if (path.startsWith('manifest/') && !isHeld) {
      isHeld = true;
      reached();
      await gate;
    }
    return put(path, bytes, options);
  };
  return { line, claim, letGo: () => letGo() };
}

/** A manifest of another role over the newest one, under the same writer epoch. */
async function addManifest(world: World, change: (m: Manifest) => Manifest): Promise<void> {
  const { id, manifest } = await newest(world);
  await world.replace(manifestPath(id + 1), encodeManifest(change(manifest)));
}

describe('an opening with an expected epoch', () => {
  it.each([2, 2n])('takes over from the writer that was seen: %s', async (expectedEpoch) => {
    const world = await abandoned();
    const db = await world.open({ expectedEpoch });
    expect(await rowsOf(world, db)).toEqual(ROWS);
    expect(await epochOf(world)).toBe(3);
    await world.run(db.close());
    expect(await epochOf(world)).toBe(3);
  });

  it('fences that writer while it lives', async () => {
    const world = new World();
    const { db: old } = await world.connect();
    await world.run(old.put('a', 'value of a'));
    const db = await world.open({ expectedEpoch: 1 });
    expect(await rejection(world.run(old.put('b', 'late')))).toBeInstanceOf(FencedError);
    expect(await rowsOf(world, db)).toEqual(ROWS.slice(0, 1));
  });

  it.each([
    [1, /another writer \(.+\) has taken the database over since/],
    [3, /no writer has had that epoch yet/],
    [2 ** 53 - 2, /no writer has had that epoch yet/],
  ])('is refused for any other epoch, and disturbs nobody: %s', async (expectedEpoch, message) => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const { db: running } = await world.connect();
    await world.run(running.put('b', 'value of b'));
    const before = await world.versions();
    const error = await rejection(world.opening({ expectedEpoch }).then((db) => world.run(db.close())));
    expect(error).toBeInstanceOf(FencedError);
    expect(error).toMatchObject({
      code: 'WRITER_FENCED',
      message: expect.stringMatching(message),
      details: { expectedEpoch, epoch: 2 },
    });
    expect(await world.versions()).toEqual(before);
    await world.run(running.put('c', 'value of c'));
    await world.run(running.flush({ type: 'memtable' }));
    expect(await rowsOf(world, running)).toEqual(ROWS);
  });

  it('costs no request more', async () => {
    const world = await abandoned();
    const copy = await world.copy();
    const { line: without } = await world.connect();
    const { line: withIt } = await copy.connect({ expectedEpoch: 2 });
    const sent = (line: typeof without) => line.requests.map(({ op, path }) => `${op} ${path}`);
    expect(sent(withIt)).toEqual(sent(without));
  });

  it('creates no database', async () => {
    const world = new World();
    const error = await rejection(world.run(world.opening({ expectedEpoch: 1 })));
    expect(error).toBeInstanceOf(InvalidArgumentError);
    expect(error).toMatchObject({ code: 'NOT_A_DATABASE', message: expect.stringMatching(/epoch 1 was expected/) });
    expect(await world.paths()).toEqual([]);
  });

  it('takes over from a writer of SlateDB', async () => {
    const world = await worldOfFixture('slatedb-0.18.0/crash-fences');
    const epoch = await epochOf(world);
    expect(await rejection(world.run(world.opening({ expectedEpoch: epoch - 1 })))).toBeInstanceOf(FencedError);
    await world.open({ expectedEpoch: epoch });
    expect(await epochOf(world)).toBe(epoch + 1);
  });
});

describe('two openings with one expectation', () => {
  const candidate = (world: World) => world.opening({ expectedEpoch: 2 });

  it('have one winner, in whatever order they claim', async () => {
    const world = await abandoned();
    const results = await world.run(Promise.allSettled([1, 2, 3, 4].map(() => candidate(world))));
    const lost = results.flatMap((r) => (r.status === 'rejected' ? [r.reason as unknown] : []));
    expect(lost.length).toBe(3);
    for (const error of lost) expect(error).toBeInstanceOf(FencedError);
    expect(await epochOf(world)).toBe(3);
    const db = (results.find((r) => r.status === 'fulfilled') as PromiseFulfilledResult<Db>).value;
    await world.run(db.put('d', 'value of d'));
    expect(await rowsOf(world, db)).toEqual([...ROWS, 'd=value of d']);
  });

  it('have one winner, if one of them stalls before its claim', async () => {
    const world = await abandoned();
    const { line, claim, letGo } = heldClaim(world);
    const slow = world.opening({ expectedEpoch: 2 }, line);
    slow.catch(() => undefined);
    await world.run(claim);
    const winner = await world.run(candidate(world));
    const before = await world.versions();
    letGo();
    expect(await rejection(world.run(slow))).toMatchObject({
      code: 'WRITER_FENCED',
      details: { expectedEpoch: 2, epoch: 3 },
    });
    expect(await world.versions()).toEqual(before);
    await world.run(winner.put('d', 'value of d'));
  });
});

describe('a claim that meets a newer manifest', () => {
  it('is made again over what other roles changed, and is exactly one epoch higher', async () => {
    const world = await abandoned();
    const { line, claim, letGo } = heldClaim(world);
    const opening = world.opening({ expectedEpoch: 2 }, line);
    await world.run(claim);
    await addManifest(world, (m) => ({ ...m, compactorEpoch: m.compactorEpoch + 1 }));
    const { id, manifest } = await newest(world);
    letGo();
    const db = await world.run(opening);
    const now = await newest(world);
    expect([now.id, now.manifest.writerEpoch, now.manifest.compactorEpoch]).toEqual([
      id + 1,
      3,
      manifest.compactorEpoch,
    ]);
    expect(await rowsOf(world, db)).toEqual(ROWS);
  });

  it('is given up where that one has another writer epoch', async () => {
    const world = await abandoned();
    const { line, claim, letGo } = heldClaim(world);
    const opening = world.opening({ expectedEpoch: 2 }, line);
    opening.catch(() => undefined);
    await world.run(claim);
    await addManifest(world, (m) => ({ ...m, writerEpoch: 3 }));
    const before = await world.versions();
    letGo();
    expect(await rejection(world.run(opening))).toMatchObject({ code: 'WRITER_FENCED' });
    expect(await world.versions()).toEqual(before);
  });
});

describe('an expected epoch that cannot be one', () => {
  it.each([
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    2 ** 53 - 1,
    2 ** 53,
    0n,
    -1n,
    2n ** 53n,
    2n ** 64n,
    '2',
    null,
  ])('is a bad option: %s', async (expectedEpoch) => {
    const world = await abandoned();
    const before = await world.versions();
    const error = await rejection(world.run(world.opening({ expectedEpoch: expectedEpoch as number })));
    expect(error).toMatchObject({
      code: 'BAD_OPTION',
      message: expect.stringMatching(/expectedEpoch must be a whole/),
    });
    expect(await world.versions()).toEqual(before);
  });

  it('is one beside errorIfExists', async () => {
    const world = await abandoned();
    const error = await rejection(world.run(world.opening({ expectedEpoch: 2, errorIfExists: true })));
    expect(error).toMatchObject({ code: 'BAD_OPTION', message: expect.stringMatching(/errorIfExists/) });
  });
});

describe('a repair of the log', () => {
  async function damagedLog(): Promise<World> {
    const world = new World();
    await world.writeAndCrash(['a']);
    await world.writeAndCrash(['b', 'c', 'd']);
    const bytes = (await world.bytes(walPath(5))).slice();
    bytes.fill(0xaa, 4, 24);
    await world.replace(walPath(5), bytes);
    return world;
  }

  it('by walAutoRecovery takes over from the expected epoch, and the opening from the repair', async () => {
    const world = await damagedLog();
    const db = await world.open({ walAutoRecovery: true, expectedEpoch: 2, logger: QUIET });
    expect((await world.run(db.ready()))?.applied).toBe(true);
    expect(await rowsOf(world, db)).toContain('d=value of d');
    expect(await epochOf(world)).toBe(4);
  });

  it('by walAutoRecovery is not begun for another epoch', async () => {
    const world = await damagedLog();
    const before = await world.versions();
    const opening = world.opening({ walAutoRecovery: true, expectedEpoch: 1, logger: QUIET });
    expect(await rejection(world.run(opening))).toMatchObject({ code: 'WRITER_FENCED' });
    expect(await world.versions()).toEqual(before);
  });

  it.each([1, 3])('by walRepair is refused for another epoch: %s', async (expectedEpoch) => {
    const world = await damagedLog();
    const before = await world.versions();
    const location = { store: world.line(), path: '' };
    const options = { clock: world.clock, random: world.random(), logger: QUIET, apply: true, acceptLoss: true };
    const repair = walRepair(location, { ...options, expectedEpoch });
    expect(await rejection(world.run(repair))).toMatchObject({ code: 'WRITER_FENCED' });
    expect(await world.versions()).toEqual(before);
    expect((await world.run(walRepair(location, { ...options, expectedEpoch: 2 }))).applied).toBe(true);
  });

  it('is given up where another writer comes between the plan and the claim', async () => {
    const world = await damagedLog();
    const line = world.line();
    const put = line.put.bind(line);
    let isTaken = false;
    line.put = async (path, bytes, options) => {
      if (path.startsWith('manifest/') && !isTaken) {
        isTaken = true;
        await addManifest(world, (m) => ({ ...m, writerEpoch: 3 }));
      }
      return put(path, bytes, options);
    };
    const repair = walRepair(
      { store: line, path: '' },
      { clock: world.clock, random: world.random(), logger: QUIET, apply: true, acceptLoss: true, expectedEpoch: 2 },
    );
    expect(await rejection(world.run(repair))).toMatchObject({ code: 'WRITER_FENCED', details: { epoch: 3 } });
    expect(isTaken).toBe(true);
    expect(await epochOf(world)).toBe(3);
  });
});
