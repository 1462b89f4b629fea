/** What an opening makes of the newest manifest: good, doubtful, healed in memory, or refused with what a repair has to know. */
import { describe, expect, it } from 'vitest';
import { ManifestCorruptionError } from '../../../src/common/errors.ts';
import type { DbEvent } from '../../../src/common/events.ts';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { compactionsPath, manifestPath, walPath } from '../../../src/format/object-names.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { EpochGuard } from '../../../src/lsm/manifest/epoch-guard.ts';
import { type Discovery, discover } from '../../../src/recovery/discovery.ts';
import { readSurroundings } from '../../../src/recovery/place.ts';
import { rejection, World } from '../../support/database.ts';

/** Manifests 1 to 3, the newest after a flush, and a log of a fence and two objects with rows, one of them after the replay point. */
async function written(): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect();
  await world.run(db.put('a', '1'));
  await world.run(db.flush({ type: 'memtable' }));
  await world.run(db.put('b', '2'));
  line.cut();
  return world;
}

interface Found {
  place: Discovery;
  events: DbEvent[];
}

async function look(world: World, { healOnOpen = false, before = async () => {} } = {}): Promise<Found> {
  const { clock } = world;
  const place = { location: { store: world.line(), path: '' }, isRootAssumed: false };
  const stores = databaseStores(place, { clock, random: world.random(), timeoutMs: 60_000 });
  const events: DbEvent[] = [];
  const means = {
    settings: { memoryBytes: 1 << 24, healOnOpen },
    parts: { clock, logger: SILENT_LOGGER, onEvent: (e: DbEvent) => void events.push(e) },
  };
  const finding = async () => {
    const around = await readSurroundings(stores.main, new EpochGuard(clock, stores.latestStoreTimesMs), 'open');
    await before();
    return discover(stores, around, means);
  };
  return { place: await world.run(finding()), events };
}

async function flip(world: World, path: string, at: number, length: number): Promise<void> {
  const bytes = (await world.bytes(path)).slice();
  for (let i = at; i < at + length; i++) bytes[i] ^= 0x10;
  await world.replace(path, bytes);
}

describe('a good newest manifest', () => {
  it('is found with one more than is listed asked for, and nothing is said or written', async () => {
    const world = await written();
    const before = await world.versions();
    const { place, events } = await look(world);
    expect([place.newest.id, place.newest.manifest.lastL0Seq, place.compactionsVersion]).toEqual([3, 1, undefined]);
    expect([events, await world.versions()]).toEqual([[], before]);
  });

  it('is the one that came while it was looked for', async () => {
    const world = await written();
    const copy = await world.copy();
    const db = await copy.open();
    await copy.run(db.close());
    const newer = (await copy.paths('manifest/')).filter((path) => path > manifestPath(3));
    expect(newer.length).toBeGreaterThan(0);
    const before = async () => {
      for (const path of newer) await world.replace(path, await copy.bytes(path));
    };
    const { place } = await look(world, { before });
    expect(manifestPath(place.newest.id)).toBe(newer.at(-1));
  });

  it('comes with the version of the newest compactions file, from its first two bytes', async () => {
    const world = await written();
    await world.replace(compactionsPath(1), Uint8Array.of(0, 1, 9));
    await world.replace(compactionsPath(2), Uint8Array.of(0, 2, 9));
    expect((await look(world)).place.compactionsVersion).toBe(2);
    await world.replace(compactionsPath(3), Uint8Array.of(0));
    expect((await look(world)).place.compactionsVersion).toBeUndefined();
  });
});

describe('a damaged newest manifest', () => {
  it('is healed in memory where its seal proves what it was, and only if that is asked for', async () => {
    const world = await written();
    const sound = (await look(world)).place.newest;
    await flip(world, manifestPath(3), 40, 1);
    const stored = await world.versions();
    const error = await rejection(look(world));
    expect(error).toBeInstanceOf(ManifestCorruptionError);
    const { place, events } = await look(world, { healOnOpen: true });
    expect([place.newest.id, place.newest.manifest]).toEqual([3, sound.manifest]);
    expect(events.map((e) => e.type === 'finding' && [e.finding.severity, e.finding.remedy])).toContainEqual([
      'warning',
      'heals',
    ]);
    expect(await world.versions()).toEqual(stored);
  });

  it('is refused where nothing proves what it was, with the older one and the log after that', async () => {
    const world = await written();
    await flip(world, manifestPath(3), 12, 60);
    const error = (await rejection(look(world, { healOnOpen: true }))) as ManifestCorruptionError;
    expect(error).toMatchObject({
      newestGoodId: 2n,
      fallback: { manifestId: 2n, strategy: 'previous', walFrom: 1n, walTo: 3n, walComplete: true },
    });
    expect(error.findings.every((f) => f.reads?.attempts === 3 && f.origin === 'at-rest')).toBe(true);
    expect(error.message).toMatch(/Manifest 2 is intact\. Nothing was changed/);
  });

  it('is refused with all that is wrong with the log, too', async () => {
    const world = await written();
    await flip(world, manifestPath(3), 12, 60);
    await world.remove(walPath(2));
    const error = (await rejection(look(world))) as ManifestCorruptionError;
    expect(error.findings.map((f) => f.object.path)).toContain(walPath(2));
    expect([error.fallback?.walComplete, error.message]).toEqual([
      false,
      expect.stringContaining('The log is damaged, too'),
    ]);
  });

  it('is refused without an older one where none is intact', async () => {
    const world = await written();
    for (const id of [1, 2, 3]) await flip(world, manifestPath(id), 12, 60);
    const error = (await rejection(look(world))) as ManifestCorruptionError;
    expect([error.fallback, error.newestGoodId]).toEqual([undefined, undefined]);
    expect(error.message).toMatch(/no older one is intact/);
  });

  it('is none where a newer one is there by then: that one counts', async () => {
    const world = await written();
    const copy = await world.copy();
    await copy.run((await copy.open()).close());
    await flip(world, manifestPath(3), 12, 60);
    const newer = (await copy.paths('manifest/')).filter((path) => path > manifestPath(3));
    // Between the three reads of what seems damaged.
    world.clock.setTimer(500, () => {
      void Promise.all(newer.map(async (path) => world.replace(path, await copy.bytes(path))));
    });
    expect(manifestPath((await look(world)).place.newest.id)).toBe(newer.at(-1));
  });
});
