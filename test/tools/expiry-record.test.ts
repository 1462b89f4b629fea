/** The seal of a flushed table says when which part of its rows must have expired; so does that of a table which a repair made of it. */
import { describe, expect, it } from 'vitest';
import { decodeSeal, type Seal } from '../../src/format/seal.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { World } from '../support/database.ts';
import { overwrite, tablesOf } from '../support/table-database.ts';

async function sealsOf(world: World): Promise<Seal[]> {
  const tables = await tablesOf(world);
  return Promise.all(
    tables.map(async ({ path, sections: { seal } }) =>
      decodeSeal(await world.bytes(path), seal.offset, seal.offset + seal.length),
    ),
  );
}

describe('a flushed table', () => {
  it('has the bytes of keys and values that expire, by time, and none of rows that do not; a repair of it has them too', async () => {
    const world = new World();
    const { db } = await world.connect();
    await world.run(db.put('a', 'aa', { expireAtMs: 2_000_000_000_000 }));
    await world.run(db.put('b', 'b', { expireAtMs: 2_000_000_000_000 }));
    await world.run(db.put('c', 'cccc', { expireAtMs: 2_000_003_600_000 }));
    await world.run(db.put('d', 'dddddddd'));
    await world.run(db.delete('e'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('f', 'f'));
    await world.run(db.flush({ type: 'memtable' }));
    const [without, withExpiry] = await sealsOf(world);
    expect(withExpiry!.expiry).toEqual({
      buckets: [
        { byMs: 2_000_000_000_000, bytes: 5 },
        { byMs: 2_000_003_600_000, bytes: 5 },
      ],
    });
    expect(without!.expiry).toEqual({ buckets: [] });
    await world.run(db.close());
    const [, table] = await tablesOf(world);
    await overwrite(world, table!.path, table!.sections.seal.offset + 90, 4);
    const options = { clock: world.clock, liveCheckMs: 0, apply: true };
    const report = await world.run(sstRepair({ store: world.store, path: '' }, table!.ref.id, options));
    expect(report).toMatchObject({ outcome: 'reconstructed', lostKeys: [] });
    expect((await sealsOf(world))[1]!.expiry).toEqual(withExpiry!.expiry);
  });
});
