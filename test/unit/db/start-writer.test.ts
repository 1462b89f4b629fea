/** What a writer starts with after its opening: the rows of the log, bounded in memory, and nothing of a log that changed in the meantime. */
import { describe, expect, it, vi } from 'vitest';
import { HandleMonitor } from '../../../src/db/handle-monitor.ts';
import { openForWriting } from '../../../src/db/open-writer.ts';
import { startWriter, type WriterStart } from '../../../src/db/start-writer.ts';
import { walPath } from '../../../src/format/object-names.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { TableStore } from '../../../src/lsm/tree/table-store.ts';
import { resolveOpenOptions } from '../../../src/upkeep-roles.ts';
import { rejection, rowsOf, World } from '../../support/database.ts';
import { newestManifest } from '../../support/table-database.ts';

/** All that a writer starts with, after the opening. */
async function ready(world: World, options: object = {}): Promise<WriterStart & { events: string[] }> {
  const given = { clock: world.clock, random: world.random(), ...options };
  const { settings, parts } = resolveOpenOptions(given, 'test:1');
  const { clock, random, cache } = parts;
  const place = { location: { store: world.line(), path: '' }, isRootAssumed: false };
  const stores = databaseStores(place, { clock, random, timeoutMs: settings.timeoutMs });
  const { main: store, whole: wholeStore } = stores;
  const tableStore = new TableStore({ store, wholeStore, cache, clock, onFinding: () => undefined });
  const opened = await world.run(openForWriting({ stores, tableStore, settings, parts }));
  const events: string[] = [];
  const onEnded = () => void events.push('ended');
  const onClosed = () => void events.push('closed');
  const monitor = new HandleMonitor({ kind: 'db', stores, settings, ...parts });
  return {
    stores,
    tableStore,
    settings,
    parts,
    opened,
    upkeepRoles: () => ({}),
    monitor,
    onEnded,
    onClosed,
    events,
  };
}

describe('a writer', () => {
  it('begins with every row of the log that is in no table, and goes on with the next number', async () => {
    const world = new World();
    const { db: first, line } = await world.connect();
    await world.run(first.put('a', '1'));
    await world.run(first.flush({ type: 'memtable' }));
    await world.run(first.put('b', '2'));
    await world.run(first.put('a', '3'));
    line.cut();
    const db = await world.run(startWriter(await ready(world)));
    expect(await rowsOf(world, db)).toEqual(['a=3', 'b=2']);
    expect((await world.run(db.put('c', '4'))).seq).toBe(4n);
  });

  it('puts what is more than a memtable may hold into tables as it goes, and moves the replay point after them', async () => {
    const world = new World();
    const { db: first, line } = await world.connect();
    const value = 'x'.repeat(40_000);
    for (let i = 0; i < 6; i++) await world.run(first.put(`k${i}`, value));
    line.cut();
    const start = await ready(world, { l0SstSizeBytes: 65_536 });
    const db = await world.run(startWriter(start));
    await world.run(db.flush({ type: 'memtable' }));
    const { l0, lastL0Seq, replayAfterWalId } = await newestManifest(world);
    expect([l0.length, lastL0Seq, (await rowsOf(world, db)).length]).toEqual([3, 6, 6]);
    expect(replayAfterWalId).toBeGreaterThanOrEqual(7);
  });

  it('calls its owner when it ends, and once more when its close is over', async () => {
    const world = new World();
    const start = await ready(world);
    const db = await world.run(startWriter(start));
    expect(start.events).toEqual([]);
    const dispose = vi.spyOn(start.tableStore, 'dispose');
    await world.run(db.close());
    await world.run(db.close());
    expect(start.events).toEqual(['ended', 'closed']);
    expect(dispose).toHaveBeenCalledTimes(1);
  });

  it('without a log starts with what is in tables', async () => {
    const world = new World();
    const first = await world.open();
    await world.run(first.put('a', '1'));
    await world.run(first.close());
    const db = await world.run(startWriter(await ready(world, { walEnabled: false })));
    expect(await rowsOf(world, db)).toEqual(['a=1']);
  });

  it('never starts without an object of the log that its opening has seen', async () => {
    const world = new World();
    const { db: first, line } = await world.connect();
    for (const key of ['a', 'b', 'c']) await world.run(first.put(key, new Uint8Array(1_500_000)));
    line.cut();
    // A quarter of the memory holds one object: the others are read again as their rows are applied.
    const start = await ready(world, { memoryBytes: 8 << 20 });
    await world.remove(walPath(3));
    expect(await rejection(world.run(startWriter(start)))).toMatchObject({ kind: 'corruption' });
    expect(start.events).toEqual(['ended']);
  });
});
