/** Tables as the store has them: which are there, and what their tails say. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Ulid } from '../../../src/common/ulid.ts';
import { tablePath } from '../../../src/format/object-names.ts';
import { listTables, readTableTail } from '../../../src/recovery/stored-tables.ts';
import { World, worldOfFixture } from '../../support/database.ts';

let world: World;
beforeEach(async () => {
  world = new World();
  const db = await world.open();
  await world.run(db.put('k', 'v'));
  await world.run(db.flush({ type: 'memtable' }));
  await world.run(db.close());
});

async function onlyTable() {
  const [table] = (await listTables(world.memory)).values();
  return table!;
}

describe('tables in the store', () => {
  it('are those with names of tables', async () => {
    const { id, size } = await onlyTable();
    expect(size).toBe((await world.bytes(tablePath(id))).length);
    await world.replace('compacted/notes.txt', new Uint8Array(3));
    expect((await listTables(world.memory)).size).toBe(1);
  });

  it('say by their tails which rows they hold, and who wrote them', async () => {
    const tail = await readTableTail(world.memory, await onlyTable());
    expect(tail?.seal).toMatchObject({ kind: 'table', lineage: { level: 'l0', minSeq: 1, maxSeq: 1 } });
    expect(tail?.ref.info.firstEntry).toEqual(new TextEncoder().encode('k'));
  });

  it('say it with the longest keys there are, too', async () => {
    world = new World();
    const db = await world.open();
    const keys = [1, 2].map((fill) => new Uint8Array(65_535).fill(fill));
    for (const key of keys) await world.run(db.put(key, 'v'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    const tail = await readTableTail(world.memory, await onlyTable());
    expect([tail?.ref.info.firstEntry, tail?.ref.info.lastEntry]).toEqual(keys);
    expect(tail?.seal).toMatchObject({ kind: 'table' });
  });

  it('say nothing when they are gone, damaged, or another table', async () => {
    const table = await onlyTable();
    const bytes = await world.bytes(tablePath(table.id));
    const other = '01J00000000000000000000009' as Ulid;
    await world.replace(tablePath(other), bytes);
    expect(await readTableTail(world.memory, { id: other, size: bytes.length })).toMatchObject({ seal: undefined });
    await world.replace(tablePath(table.id), bytes.subarray(0, bytes.length - 1));
    expect(await readTableTail(world.memory, table)).toBeUndefined();
    await world.remove(tablePath(table.id));
    expect(await readTableTail(world.memory, table)).toBeUndefined();
  });

  it('of SlateDB have no seal', async () => {
    world = await worldOfFixture('slatedb-0.17.0/collected');
    for (const table of (await listTables(world.memory)).values()) {
      expect(await readTableTail(world.memory, table)).toMatchObject({ ref: { id: table.id }, seal: undefined });
    }
  });
});
