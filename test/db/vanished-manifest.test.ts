/**
 * The manifest that a writer works on is gone: somebody has deleted the database under it. Without this the writer acknowledges rows
 * that no opening will ever find. What only looks like it, a list that lags, is no reason to stop.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Db, LocalStore, open } from '../../src/index.ts';
import { rejection, rowsOf, World } from '../support/database.ts';

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Writes a row every 100 ms; gives the times at which rows were acknowledged and the first error. */
async function writeOn(world: World, db: Db, count: number) {
  const startMs = world.clock.monotonicMs();
  const ackedMs: number[] = [];
  for (let i = 0; i < count; i++) {
    try {
      await world.run(db.put(`after${i}`, 'v'));
    } catch (error) {
      return { ackedMs, error };
    }
    ackedMs.push(world.clock.monotonicMs() - startMs);
    await world.clock.advance(100);
  }
  return { ackedMs, error: undefined };
}

describe('a writer whose database is deleted under it', () => {
  it('stops acknowledging within two seconds, for good, and says why', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('before', 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.remove(...(await world.paths()));
    const { ackedMs, error } = await writeOn(world, db, 100);
    expect(Math.max(...ackedMs)).toBeLessThanOrEqual(2000);
    expect(error).toMatchObject({ name: 'ClosedError', code: 'FAILED', cause: { name: 'ManifestCorruptionError' } });
    expect((error as Error).message).toContain('is gone');
    const calls = [
      () => db.put('more', 'v'),
      () => db.put('more', 'v', { awaitDurable: false }),
      () => db.get('before'),
      () => db.flush(),
    ];
    for (const call of calls) {
      expect(await world.run(rejection(call()))).toMatchObject({ name: 'ClosedError', code: 'FAILED' });
    }
    await world.run(db.close());
    // No manifest was made again.
    expect(await world.paths('manifest/')).toEqual([]);
  });

  it('acknowledges nothing between the first read and the second', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('before', 'v'));
    await world.remove(...(await world.paths('manifest/')));
    // The poll comes a second after the write, and comes again a second later.
    await world.clock.advance(1010);
    const late = rejection(db.put('late', 'v'));
    let settledMs: number | undefined;
    void late.then(() => {
      settledMs = world.clock.monotonicMs();
    });
    await world.clock.advance(500);
    await turns();
    expect(settledMs).toBeUndefined();
    expect(await world.run(late)).toMatchObject({ code: 'FAILED', outcome: 'unknown' });
  });

  it('goes on if the manifest was away for a moment only', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('before', 'v'));
    const [path] = (await world.paths('manifest/')).slice(-1);
    const bytes = await world.bytes(path);
    await world.remove(path);
    await world.clock.advance(1010);
    const late = db.put('late', 'v');
    await world.clock.advance(100);
    await world.replace(path, bytes);
    await world.run(late);
    expect((await writeOn(world, db, 30)).error).toBeUndefined();
    await world.run(db.close());
    expect(await rowsOf(world, await world.open())).toContain('late=v');
  });
});

describe('a list that does not show the manifest', () => {
  it('ends no writer as long as the manifest itself is there', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('before', 'v'));
    world.faults.add({ action: 'empty', op: 'list', path: /manifest/ });
    const { ackedMs, error } = await writeOn(world, db, 300);
    expect([ackedMs.length, error]).toEqual([300, undefined]);
    world.faults.clear();
    await world.run(db.close());
    expect((await rowsOf(world, await world.open())).length).toBe(301);
  });

  it('nor if the store does not say whether it is there', async () => {
    const world = new World();
    const db = await world.open({ timeoutMs: 2000 });
    await world.run(db.put('before', 'v'));
    world.faults.add({ action: 'empty', op: 'list', path: /manifest/ });
    world.faults.add({ action: 'fail-before', op: 'head', path: /manifest/ });
    expect((await writeOn(world, db, 100)).error).toBeUndefined();
    world.faults.clear();
    await world.run(db.close());
  });
});

describe('a local directory', () => {
  const root = mkdtempSync(join(tmpdir(), 'shaledb-vanished-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  async function written(name: string): Promise<Db> {
    const db = await open({ store: new LocalStore(root), path: name });
    await db.put('before', 'v');
    await db.flush({ type: 'memtable' });
    await db.put('before2', 'v');
    return db;
  }

  it('that is removed: not one more row is acknowledged', async () => {
    const db = await written('removed');
    rmSync(join(root, 'removed'), { recursive: true });
    expect(await rejection(db.put('after', 'v'))).toMatchObject({
      code: 'FAILED',
      cause: { name: 'ManifestCorruptionError' },
    });
    await db.close();
  });

  it('of the log alone that is removed, with its objects in tables: the database goes on', async () => {
    const db = await open({ store: new LocalStore(root), path: 'log' });
    await db.put('before', 'v');
    await db.flush({ type: 'memtable' });
    rmSync(join(root, 'log', 'wal'), { recursive: true });
    await db.put('after', 'v');
    expect(await db.get('after')).toBeDefined();
    await db.close();
  });
});
