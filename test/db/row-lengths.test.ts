/** Rows of every short length and some long ones, read in every way from every place; and memtables that a read leaves out. */
import { describe, expect, it } from 'vitest';
import { compareBytes, toHex } from '../../src/common/bytes.ts';
import type { Db } from '../../src/db/db.ts';
import type { ScanOptions } from '../../src/db/reads.ts';
import { text, World } from '../support/database.ts';

interface Pair {
  key: Uint8Array;
  value: Uint8Array;
}

const lengths = [...Array.from({ length: 140 }, (_, i) => i), 255, 256, 257, 511, 513, 700, 1500, 4097];

/** Keys of all lengths, their values of all lengths in another order, every byte dependent on its place. */
const pairs: Pair[] = lengths.map((length, i) => {
  const valueLength = lengths[(i * 37) % lengths.length];
  return {
    key: Uint8Array.from({ length: length + 1 }, (_, at) => (length * 7 + at * 13) & 0xff),
    value: Uint8Array.from({ length: valueLength }, (_, at) => (i * 11 + at * 17 + 1) & 0xff),
  };
});
pairs.sort((a, b) => compareBytes(a.key, b.key));

const line = ({ key, value }: Pair) => `${toHex(key)} ${toHex(value)}`;

async function scanned(world: World, db: Db, options: ScanOptions): Promise<string[]> {
  const rows: string[] = [];
  const scan = db.scan(options);
  for (;;) {
    const batch = await world.run(scan.nextBatch(50));
    if (batch.length === 0) return rows;
    rows.push(...batch.map(line));
  }
}

async function expectAll(world: World, db: Db): Promise<void> {
  const lines = pairs.map(line);
  const keys = pairs.map(({ key }) => key);
  const values = pairs.map(({ value }) => toHex(value));
  expect(await scanned(world, db, {})).toEqual(lines);
  expect(await scanned(world, db, { reverse: true })).toEqual(lines.toReversed());
  expect((await world.run(db.getMany(keys))).map((v) => v && toHex(v))).toEqual(values);
  for (const { key, value } of pairs) {
    expect(toHex((await world.run(db.get(key)))!)).toBe(toHex(value));
    expect(toHex((await world.run(db.getWithMeta(key)))!.value)).toBe(toHex(value));
  }
}

describe('rows of every length', () => {
  it('are read byte for byte from memory, from tables, and from both', async () => {
    const world = new World();
    const db = await world.open();
    for (const { key, value } of pairs) await world.run(db.put(key, value));
    await expectAll(world, db);
    await world.run(db.flush({ type: 'memtable' }));
    await expectAll(world, db);
    for (const [i, { key, value }] of pairs.entries()) if (i % 3 === 0) await world.run(db.put(key, value));
    await expectAll(world, db);
  });
});

describe('a memtable without a row for a read', () => {
  it('is left out of its scan, and rows that come later are not shown by it', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', '1'));
    await world.run(db.flush({ type: 'memtable' }));
    const before = db.scan();
    const snapshot = db.snapshot();
    await world.run(db.put('b', '2'));
    const shown = async (scan: typeof before) => (await world.run(scan.nextBatch(10))).map((row) => text(row.key));
    expect(await shown(before)).toEqual(['a']);
    expect(await shown(snapshot.scan())).toEqual(['a']);
    expect(await shown(db.scan())).toEqual(['a', 'b']);
    await world.run(snapshot.close());
  });
});
