/**
 * An open database whose compactor meets damage: in each block of each table that it merges, and in each table that it has made, before a
 * manifest names it. It merges with nothing lost, or leaves the tables as they were.
 */
import { describe, expect, it } from 'vitest';
import { decodeManifest } from '../../src/format/manifest-codec.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { tablesOf } from '../support/damaged-tables.ts';
import { rowsOf, World } from '../support/database.ts';

const TABLES = 4;
const ROWS_PER_TABLE = 20;
/** Longer than a compactor leaves a damaged table alone. */
const LATER_MS = 2 * 3_600_000;
const OPTIONS: OpenOptions = { sstBlockSizeBytes: 1024, l0MaxSsts: 1000, gc: false };

/** Four tables of several blocks, with keys in common; the writer has died. */
async function prepared(): Promise<{ world: World; model: string[] }> {
  const world = new World();
  const { db, line } = await world.connect(OPTIONS);
  for (let t = 0; t < TABLES; t++) {
    for (let i = 0; i < ROWS_PER_TABLE; i++) {
      await world.run(
        db.put(`key ${i * (t + 1)}`.padEnd(12), `value ${t} ${'x'.repeat(100)}`, { awaitDurable: false }),
      );
    }
    await world.run(db.flush({ type: 'memtable' }));
    await world.clock.advance(1000);
  }
  const model = await rowsOf(world, db);
  line.cut();
  return { world, model };
}

/** Whether the tables were merged. */
async function compacts(world: World, model: string[], options: OpenOptions = {}): Promise<boolean> {
  const { db, line } = await world.connect({ ...OPTIONS, compactor: {}, ...options });
  await world.clock.advance(LATER_MS);
  const [tree] = db.upkeep().trees;
  const isMerged = tree!.l0Tables === 0 && tree!.runs === 1;
  if (isMerged) expect(await rowsOf(world, db)).toEqual(model);
  else expect(tree).toMatchObject({ l0Tables: TABLES, runs: 0 });
  line.cut();
  return isMerged;
}

describe('damage to each block of each table that is merged', () => {
  it.each(['a bit', 'a burst'])('(%s) is undone, or leaves all tables as they are', async (kind) => {
    const { world, model } = await prepared();
    const seen: boolean[] = [];
    for (const { path, blocks } of await tablesOf(world)) {
      expect(blocks.length).toBeGreaterThan(1);
      for (const { offset, length } of blocks) {
        const copy = await world.copy();
        const whole = await copy.bytes(path);
        const bytes = whole.slice();
        const to = kind === 'a bit' ? 1 : 200;
        const at = offset + Math.floor(length / 3);
        for (let i = at; i < Math.min(at + to, offset + length); i++) bytes[i]! ^= kind === 'a bit' ? 0x10 : 0xa5;
        await copy.replace(path, bytes);
        const isMerged = await compacts(copy, model);
        seen.push(isMerged);
        if (isMerged) continue;
        // Of what it left nothing is lost: when the table is back, so are its rows.
        await copy.replace(path, whole);
        expect(await compacts(copy, model), path).toBe(true);
      }
    }
    expect(seen.every((isMerged) => isMerged)).toBe(kind === 'a bit');
  });
});

describe('a table that a compaction has made', () => {
  it.each(['cut short', 'gone'])('and that is %s just before the commit is not used', async (what) => {
    const { world, model } = await prepared();
    const spoilt: string[] = [];
    const { memory } = world;
    const inner = world.faults;
    const store = world.line();
    // The compactor asks for each output once more before it commits.
    store.head = async (path, options) => {
      if (path.startsWith('compacted/') && spoilt.length === 0) {
        spoilt.push(path);
        const bytes = await world.bytes(path);
        if (what === 'gone') await memory.delete([path]);
        else await world.replace(path, bytes.subarray(0, -1));
      }
      return inner.head(path, options);
    };
    world.store = store;
    expect(await compacts(world, model)).toBe(true);
    expect(spoilt.length).toBe(1);
    const newest = (await world.paths('manifest/')).length;
    for (let id = 1; id <= newest; id++) {
      const path = `manifest/${String(id).padStart(20, '0')}.manifest`;
      const name = spoilt[0]!.slice('compacted/'.length, -'.sst'.length);
      const { manifest } = decodeManifest(await world.bytes(path));
      expect(manifest.runs.flatMap(({ views }) => views.map(({ table }) => table.id))).not.toContain(name);
    }
  });

  it('and that the store keeps otherwise than it was sent is not used', async () => {
    const { world, model } = await prepared();
    world.faults.add({ op: 'put', path: /^compacted\//, action: 'flip', bit: 8 * 40 });
    expect(await compacts(world, model, { compactor: { verifyOutputs: 'all' } })).toBe(false);
    world.faults.clear();
    expect(await compacts(world, model)).toBe(true);
  });
});
