/** A read-only view of a database, and what each refresh of it makes of what others did. */
import { describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../../src/common/logger.ts';
import { DbReader } from '../../../src/db/db-reader.ts';
import { HandleMonitor } from '../../../src/db/handle-monitor.ts';
import type { Reader } from '../../../src/db/reader.ts';
import { ReaderLog } from '../../../src/db/reader-log.ts';
import { resolveReaderOptions } from '../../../src/db/reader-options.ts';
import type { Reads } from '../../../src/db/reads.ts';
import { manifestPath, parseWalPath, walPath } from '../../../src/format/object-names.ts';
import { databaseStores } from '../../../src/lsm/manifest/database-stores.ts';
import { loadManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { TableStore } from '../../../src/lsm/tree/table-store.ts';
import { type Line, rejection, rowsOf, World } from '../../support/database.ts';

interface Opened {
  reader: Reader;
  line: Line;
  closed: () => number;
}

async function openReader(world: World, options: object = {}): Promise<Opened> {
  const line = world.line();
  const { settings, parts } = resolveReaderOptions({
    clock: world.clock,
    random: world.random(),
    logger: SILENT_LOGGER,
    ...options,
  });
  const place = { location: { store: line, path: '' }, isRootAssumed: false };
  const stores = databaseStores(place, { clock: world.clock, random: world.random(), timeoutMs: 1000 });
  const { main: store, whole: wholeStore } = stores;
  const tableStore = new TableStore({
    store,
    wholeStore,
    cache: parts.cache,
    clock: parts.clock,
    onFinding: () => undefined,
  });
  let closed = 0;
  const onClosed = () => void closed++;
  const monitor = new HandleMonitor({ kind: 'reader', stores, settings, ...parts });
  const reader = await world.run(DbReader.open({ stores, settings, parts, tableStore, monitor, onClosed }));
  return { reader, line, closed: () => closed };
}

const shown = async (world: World, reads: Reads) => (await rowsOf(world, reads)).join(' ');
const getsOfLog = (line: Line) =>
  line.take().flatMap((r) => (r.startsWith('get wal/') ? [parseWalPath(r.slice('get '.length))] : []));

describe('a reader', () => {
  it('shows what was stored at its opening, and what is new with each refresh, read once', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', '1'));
    const { reader, line } = await openReader(world);
    await world.run(db.put('b', '2'));
    expect(await shown(world, reader)).toBe('a=1');
    line.take();
    await world.run(reader.refresh());
    expect([await shown(world, reader), getsOfLog(line)]).toEqual(['a=1 b=2', [3]]);
    await world.run(reader.refresh());
    expect([await shown(world, reader), getsOfLog(line)]).toEqual(['a=1 b=2', []]);
  });

  it('shows each row once when tables take it over', async () => {
    const world = new World();
    const mergeOperator = {
      merge: (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) =>
        new Uint8Array([...(existing ?? []), ...operand]),
    };
    const db = await world.open({ mergeOperator });
    await world.run(db.merge('k', 'x'));
    const { reader } = await openReader(world, { mergeOperator });
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.merge('k', 'y'));
    await world.run(reader.refresh());
    expect(await shown(world, reader)).toBe('k=xy');
  });

  it('writes nothing, whatever it does', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b']);
    const before = await world.versions();
    const { reader, line } = await openReader(world);
    await world.run(reader.refresh());
    await world.run(reader.close());
    expect([await world.versions(), line.take().filter((r) => /^(put|delete)/.test(r))]).toEqual([before, []]);
  });

  it('refreshes once for all who ask at the same time', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const { reader, line } = await openReader(world);
    line.take();
    await world.run(reader.refresh());
    const once = line.take().length;
    await world.run(Promise.all([reader.refresh(), reader.refresh(), reader.refresh()]));
    expect(line.take().length).toBe(once);
  });

  it('goes on showing what it did where a refresh is refused', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c']);
    const { reader } = await openReader(world);
    await world.remove(walPath(3));
    expect(await rejection(world.run(reader.refresh()))).toMatchObject({ kind: 'corruption' });
    expect(await shown(world, reader)).toBe('a=value of a b=value of b c=value of c');
  });

  it('with allowPrefix shows what is stored before the damage', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c']);
    await world.remove(walPath(3));
    expect(await rejection(openReader(world))).toMatchObject({ kind: 'corruption' });
    const { reader } = await openReader(world, { allowPrefix: true });
    expect(await shown(world, reader)).toBe('a=value of a');
  });

  it('says that it needs another view where the database was made again', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const { reader } = await openReader(world);
    await world.remove(...(await world.paths()));
    await world.writeAndCrash(['z', 'y']);
    expect(await rejection(world.run(reader.refresh()))).toMatchObject({ code: 'VIEW_EXPIRED' });
    expect(await shown(world, reader)).toBe('a=value of a');
  });

  it('is closed once, and refuses each call after that', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const { reader, closed } = await openReader(world);
    await world.run(reader.close());
    await world.run(reader.close());
    expect(closed()).toBe(1);
    for (const call of [() => reader.get('a'), () => reader.refresh(), () => reader.scan().next()])
      expect(await rejection(world.run<unknown>(call()))).toMatchObject({ code: 'CLOSED' });
  });

  it('is of a database: none is made where there is none', async () => {
    const world = new World();
    expect(await rejection(openReader(world))).toMatchObject({ code: 'NOT_A_DATABASE' });
    expect(await world.paths()).toEqual([]);
  });
});

describe('the log that a reader keeps', () => {
  /** A log of a fence and three rows in objects 2 to 4, applied up to object `to`. */
  async function keptTo(to: number) {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c']);
    const { clock } = world;
    const place = { location: { store: world.line(), path: '' }, isRootAssumed: false };
    const stores = databaseStores(place, { clock, random: world.random(), timeoutMs: 1000 });
    const means = {
      settings: { memoryBytes: 1 << 24, healOnOpen: false },
      parts: { clock, logger: SILENT_LOGGER, onEvent: () => undefined },
    };
    const log = new ReaderLog(stores, means);
    const newest = loadManifest(2, await world.bytes(manifestPath(2)));
    await world.run(log.wal.load(newest));
    const applied = await world.run(log.apply(newest, to));
    const later = (lastL0Seq: number) => ({ ...newest, manifest: { ...newest.manifest, lastL0Seq } });
    return { world, log, newest, later, applied };
  }

  it('has the rows up to the object that was applied last', async () => {
    const { applied, log } = await keptTo(3);
    expect([applied.lastSeq, applied.memtable.rowCount, log.isUsed]).toEqual([2, 2, true]);
  });

  it('goes on with the next objects, in the same memtable', async () => {
    const { world, log, newest, applied } = await keptTo(3);
    expect([log.canFollow(newest), log.isContinuedTo(4, newest)]).toEqual([true, true]);
    const more = await world.run(log.apply(newest, 4));
    expect([more.lastSeq, more.memtable === applied.memtable, more.memtable.rowCount]).toEqual([3, true, 3]);
  });

  it('lets go of rows that tables have taken over, in a memtable of its own: views of before keep the old one', async () => {
    const { world, log, later, applied } = await keptTo(4);
    const rest = await world.run(log.apply(later(2), 4));
    expect([rest.memtable.rowCount, rest.memtable.firstSeq, applied.memtable.rowCount]).toEqual([1, 3, 3]);
    expect([log.canFollow(later(1)), log.canFollow(later(3))]).toEqual([false, true]);
  });

  it('is not followed back, nor with other objects than those that were applied', async () => {
    const { world, log, newest } = await keptTo(4);
    expect(log.isContinuedTo(3, newest)).toBe(false);
    const error = await rejection(world.run(log.apply(newest, 3)));
    expect(error).toMatchObject({ name: 'InternalError', message: expect.stringContaining('(reader-log 3)') });
    // What it had is still there.
    expect((await world.run(log.apply(newest, 4))).lastSeq).toBe(3);
  });
});
