/** About how much is stored in a range of keys: of memtables by their rows, of tables by their metadata alone. */
import { describe, expect, it } from 'vitest';
import { estimateSize } from '../../../src/db/estimates.ts';
import { WriteBatch } from '../../../src/db/write-batch.ts';
import { NO_TS } from '../../../src/format/row-flags.ts';
import { Memtable } from '../../../src/lsm/memtable/memtable.ts';
import { EMPTY_TREE } from '../../../src/lsm/tree/table-store.ts';
import { World } from '../../support/database.ts';
import { contentOf, keyOf, TABLE_OPTIONS } from '../../support/table-database.ts';

const utf8 = (s: string) => new TextEncoder().encode(s);
const range = (gte?: string, lt?: string) => ({
  gte: gte === undefined ? undefined : utf8(gte),
  lt: lt === undefined ? undefined : utf8(lt),
});

describe('rows in memory', () => {
  const memtable = new Memtable();
  for (const [i, key] of ['a', 'b', 'b', 'c'].entries()) memtable.add(utf8(key), utf8('xyz'), i + 1, 0, NO_TS, NO_TS);
  const view = { memtables: [memtable], tree: EMPTY_TREE };

  it.each([
    [undefined, undefined, 4],
    ['b', undefined, 3],
    [undefined, 'b', 1],
    ['b', 'c', 2],
    ['d', undefined, 0],
  ])('from %s to %s are %i, every version counted', async (gte, lt, rows) => {
    const found = await estimateSize(view, range(gte, lt));
    expect([found.rows, found.tables]).toEqual([rows, 0]);
    if (gte !== undefined || lt !== undefined) expect(found.bytes).toBe(rows * 4);
  });
});

describe('rows in tables', () => {
  it('are counted by blocks, without reading one', async () => {
    const world = new World();
    const { db, line } = await world.connect(TABLE_OPTIONS);
    for (const version of ['old', 'new']) {
      const batch = new WriteBatch();
      for (let i = 0; i < 200; i++) batch.put(keyOf(i), contentOf(i, version));
      await world.run(db.write(batch));
      await world.run(db.flush({ type: 'memtable' }));
    }
    const all = await world.run(db.estimateSize());
    expect([all.rows, all.tables]).toEqual([400, 2]);
    line.take();
    const half = await world.run(db.estimateSize({ gte: keyOf(100) }));
    // Whole blocks: the first may hold some rows before the range.
    expect(half.rows).toBeGreaterThanOrEqual(200);
    expect(half.rows).toBeLessThan(260);
    expect(half.bytes).toBeLessThan(all.bytes);
    expect(line.take()).toEqual([]);
    expect(await world.run(db.estimateSize({ gte: 'z' }))).toEqual({ rows: 0, bytes: 0, tables: 0 });
    expect(await world.run(db.estimateSize({ gte: 'b', lt: 'a' }))).toEqual({ rows: 0, bytes: 0, tables: 0 });
  });
});
