/** Reading over damaged tables: what is whole stays readable, what is not is named, and nothing wrong is ever returned. */
import { describe, expect, it } from 'vitest';
import { compareBytes } from '../../src/common/bytes.ts';
import type { CorruptionError, DbError } from '../../src/common/errors.ts';
import type { DbEvent } from '../../src/common/events.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { FOOTER_BYTES } from '../../src/format/table-layout.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import {
  contentOf,
  flip,
  keyOf,
  type Layout,
  numbers,
  range,
  ruin,
  scanAll,
  tablesOf,
  unseal,
} from '../support/damaged-tables.ts';
import { rejection, text, World } from '../support/database.ts';

const OPTIONS: OpenOptions = {
  sstBlockSizeBytes: 1024,
  minFilterKeys: 1,
  mergeOperator: { merge: (_, a, b) => Buffer.concat([a ?? Buffer.alloc(0), b]) },
};
const READING = { mergeOperator: OPTIONS.mergeOperator! };

/** One table of 100 rows in several blocks, its writer dead. */
async function oneTable(): Promise<{ world: World; table: Layout }> {
  const world = new World();
  const { db, line } = await world.connect(OPTIONS);
  const batch = new WriteBatch();
  for (let i = 0; i < 100; i++) batch.put(keyOf(i), contentOf(i, 'v'));
  await world.run(db.write(batch));
  await world.run(db.flush({ type: 'memtable' }));
  line.cut();
  const [table] = await tablesOf(world);
  expect(table.blocks.length).toBeGreaterThan(5);
  return { world, table };
}

/** An old table with keys 0 to 99, and a new one with every key from 20 to 79 again, 30 deleted, 31 merged. */
async function twoTables(): Promise<{ world: World; newer: Layout; older: Layout }> {
  const world = new World();
  const { db, line } = await world.connect(OPTIONS);
  const old = new WriteBatch();
  for (let i = 0; i < 100; i += 2) old.put(keyOf(i), contentOf(i, 'old'));
  await world.run(db.write(old));
  await world.run(db.flush({ type: 'memtable' }));
  const recent = new WriteBatch();
  for (let i = 20; i < 80; i++) recent.put(keyOf(i), contentOf(i, 'new'));
  await world.run(db.write(recent));
  await world.run(db.flush({ type: 'memtable' }));
  line.cut();
  const [newer, older] = await tablesOf(world);
  return { world, newer, older };
}

/** Numbers of the keys in block `i`, by the separators of the index. */
function keysOfBlock(table: Layout, i: number, all: readonly number[]): number[] {
  const from = table.blocks[i].firstKey;
  const to = table.blocks[i + 1]?.firstKey;
  return all.filter((n) => keyOf(n) >= from && (to === undefined || keyOf(n) < to));
}

/**
 * Numbers of the keys that damage of block `i` concerns: those in it, and a key that equals the next separator, because its
 * newest versions may be the last rows of the block.
 */
function regionOf(table: Layout, i: number, all: readonly number[]): number[] {
  const from = table.blocks[i].firstKey;
  const to = table.blocks[i + 1]?.firstKey;
  return all.filter((n) => keyOf(n) >= from && (to === undefined || keyOf(n) <= to));
}

describe('a damaged block', () => {
  const BLOCK = 2;

  it('makes its keys unreadable and no others, and is described', async () => {
    const { world, table } = await oneTable();
    const { offset, length } = table.blocks[BLOCK];
    await ruin(world, table.path, table.blocks[BLOCK]);
    const inside = keysOfBlock(table, BLOCK, range(0, 100));
    expect(inside.length).toBeGreaterThan(3);
    const reader = await world.openReader(READING);
    for (let i = 0; i < 100; i++) {
      const get = world.run(reader.get(keyOf(i)));
      if (!inside.includes(i)) {
        expect(text(await get)).toBe(contentOf(i, 'v'));
        continue;
      }
      const error = (await rejection(get)) as CorruptionError;
      expect(error).toMatchObject({ name: 'CorruptionError', code: 'BAD_CHECKSUM', retryable: false });
      const [finding] = error.findings;
      expect(finding).toMatchObject({
        severity: 'error',
        object: { role: 'table', path: table.path, id: table.ref.id, sealed: true, size: table.size },
        at: { unit: 'block', index: BLOCK, offset, length },
        origin: 'at-rest',
        reads: { attempts: 2, identical: true },
        during: 'get',
      });
      expect(text(finding.affects.keys?.gte)).toBe(table.blocks[BLOCK].firstKey);
      expect(text(finding.affects.keys?.lte)).toBe(table.blocks[BLOCK + 1].firstKey);
      expect(finding.expected).toMatch(/^crc32:/);
    }
  });

  it('does not concern keys that the filter knows to be absent', async () => {
    const { world, table } = await oneTable();
    await ruin(world, table.path, table.blocks[BLOCK]);
    const reader = await world.openReader(READING);
    const [first] = keysOfBlock(table, BLOCK, range(0, 100));
    expect(await world.run(reader.get(`${keyOf(first)}-absent`))).toBeUndefined();
  });

  it('fails only its own keys of a getMany', async () => {
    const { world, table } = await oneTable();
    await ruin(world, table.path, table.blocks[BLOCK]);
    const inside = keysOfBlock(table, BLOCK, range(0, 100));
    const reader = await world.openReader(READING);
    const keys = [...range(0, 100).map(keyOf), 'absent'];
    const error = (await rejection(world.run(reader.getMany(keys)))) as CorruptionError & {
      results: (Uint8Array | CorruptionError | undefined)[];
    };
    expect(error.name).toBe('CorruptionError');
    expect(error.message).toContain(`${inside.length} of 101 keys`);
    expect(error.results).toHaveLength(101);
    expect(error.results[100]).toBeUndefined();
    for (let i = 0; i < 100; i++) {
      const result = error.results[i];
      if (inside.includes(i)) expect(result).toMatchObject({ name: 'CorruptionError' });
      else expect(text(result as Uint8Array)).toBe(contentOf(i, 'v'));
    }
  });

  it.each([false, true])('stops a scan before its first row (reverse: %s)', async (reverse) => {
    const { world, table } = await oneTable();
    await ruin(world, table.path, table.blocks[BLOCK]);
    const region = regionOf(table, BLOCK, range(0, 100));
    const whole = range(0, 100).filter((i) => !region.includes(i));
    for (const batch of [0, 7, 1000]) {
      const reader = await world.openReader(READING);
      const { rows, errors } = await scanAll(world, reader, { reverse }, batch);
      expect(numbers(rows)).toEqual(reverse ? [...whole].reverse() : whole);
      expect(errors).toHaveLength(1);
      expect(errors[0].afterRows).toBe(whole.filter((i) => (reverse ? i > region[0] : i < region[0])).length);
      const { error } = errors[0];
      expect(text(error.resumeAfter)).toBe(table.blocks[reverse ? BLOCK : BLOCK + 1].firstKey);
      expect(error.findings[0]).toMatchObject({ during: 'scan', at: { unit: 'block', index: BLOCK } });
    }
  });

  it('is not met by scans that do not touch it', async () => {
    const { world, table } = await oneTable();
    await ruin(world, table.path, table.blocks[BLOCK]);
    const inside = keysOfBlock(table, BLOCK, range(0, 100));
    const reader = await world.openReader(READING);
    const below = { lt: table.blocks[BLOCK].firstKey };
    const above = { gt: table.blocks[BLOCK + 1].firstKey };
    for (const options of [
      below,
      above,
      { ...below, reverse: true },
      { ...above, reverse: true },
      { limit: inside[0] },
    ]) {
      const { rows, errors } = await scanAll(world, reader, options);
      expect([errors.length, rows.length > 0]).toEqual([0, true]);
    }
  });

  it('at the beginning, at the end, or everywhere leaves the rest', async () => {
    const { table } = await oneTable();
    const blockCount = table.blocks.length;
    for (const damaged of [[0], [blockCount - 1], [1, 2], [0, 2, 4], range(0, blockCount)]) {
      const { world } = await oneTable();
      const [same] = await tablesOf(world);
      for (const b of damaged) await ruin(world, same.path, same.blocks[b]);
      const lost = new Set(damaged.flatMap((b) => regionOf(same, b, range(0, 100))));
      const whole = range(0, 100).filter((i) => !lost.has(i));
      for (const reverse of [false, true]) {
        const reader = await world.openReader(READING);
        const { rows, errors } = await scanAll(world, reader, { reverse }, 10);
        expect(numbers(rows)).toEqual(reverse ? [...whole].reverse() : whole);
        expect(errors).toHaveLength(damaged.length);
      }
    }
  });

  it('is read over where its keys are found elsewhere, flagged if they may be newer there', async () => {
    const { world, newer } = await twoTables();
    await ruin(world, newer.path, newer.blocks[1]);
    const inside = keysOfBlock(newer, 1, range(20, 80));
    const reader = await world.openReader(READING);
    for (const i of range(0, 100)) {
      const get = () => world.run(reader.getWithMeta(keyOf(i)));
      if (!inside.includes(i)) {
        const found = await get();
        const version = i >= 20 && i < 80 ? 'new' : i % 2 === 0 ? 'old' : undefined;
        expect(text(found?.value)).toBe(version && contentOf(i, version));
        // Nothing in the damaged block has a greater seq than what was found.
        if (found !== undefined) expect(found.possiblyStale).toBe(false);
      } else if (i % 2 === 0) {
        // The RFC's rule: an older value is better than none, and it is flagged as one.
        const found = await get();
        expect(text(found?.value)).toBe(contentOf(i, 'old'));
        expect(found?.possiblyStale).toBe(true);
        expect(found?.findings[0].object.path).toBe(newer.path);
      } else {
        expect(await rejection(get())).toMatchObject({ name: 'CorruptionError', code: 'BAD_CHECKSUM' });
      }
    }
  });

  it('below the answer is not even looked at', async () => {
    const { world, older } = await twoTables();
    for (const block of older.blocks) await ruin(world, older.path, block);
    const reader = await world.openReader(READING);
    for (const i of range(20, 80)) {
      const found = await world.run(reader.getWithMeta(keyOf(i)));
      expect(text(found?.value)).toBe(contentOf(i, 'new'));
      expect(found?.possiblyStale).toBe(false);
    }
  });

  it('hides what is below from a scan of all tables', async () => {
    const { world, newer } = await twoTables();
    await ruin(world, newer.path, newer.blocks[1]);
    const region = regionOf(newer, 1, range(0, 100));
    const visible = range(0, 100).filter((i) => (i >= 20 && i < 80) || i % 2 === 0);
    const { rows, errors } = await scanAll(world, await world.openReader(READING));
    expect(numbers(rows)).toEqual(visible.filter((i) => !region.includes(i)));
    expect(errors).toHaveLength(1);
  });

  it('is an error where a tombstone is below it, and where operands are above it', async () => {
    const world = new World();
    const { db, line } = await world.connect({ ...OPTIONS, compactor: false });
    const flushed = async (...writes: (() => Promise<unknown>)[]) => {
      await world.run(Promise.all(writes.map((w) => w())));
      await world.run(db.flush({ type: 'memtable' }));
    };
    await flushed(
      () => db.put('deleted', 'first'),
      () => db.put('merged', 'base-'),
      () => db.put('plain', 'first'),
    );
    await flushed(() => db.delete('deleted'));
    await flushed(
      () => db.put('deleted', 'again'),
      () => db.put('merged', 'new-'),
      () => db.put('plain', 'second'),
    );
    await flushed(
      () => db.merge('merged', 'operand'),
      () => db.put('plain', 'third'),
    );
    line.cut();
    const tables = await tablesOf(world);
    await ruin(world, tables[1].path, tables[1].blocks[0]);
    const reader = await world.openReader(READING);
    expect(await rejection(world.run(reader.get('deleted')))).toMatchObject({ name: 'CorruptionError' });
    expect(await rejection(world.run(reader.get('merged')))).toMatchObject({ name: 'CorruptionError' });
    expect(text(await world.run(reader.get('plain')))).toBe('third');
  });

  it('no longer matters to a key that is written again', async () => {
    const { world, table } = await oneTable();
    await ruin(world, table.path, table.blocks[BLOCK]);
    const db = await world.open(OPTIONS);
    const [first, second] = keysOfBlock(table, BLOCK, range(0, 100));
    await rejection(world.run(db.get(keyOf(first))));
    await world.run(db.put(keyOf(first), 'again'));
    expect(text(await world.run(db.get(keyOf(first))))).toBe('again');
    await world.run(db.flush({ type: 'memtable' }));
    expect(text(await world.run(db.get(keyOf(first))))).toBe('again');
    expect(await rejection(world.run(db.get(keyOf(second))))).toMatchObject({ name: 'CorruptionError' });
  });

  it('in the middle of the versions of one key is reported by every read that needs them', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    // Snapshots keep every version, so that one key fills more than one block.
    const snapshots = [];
    await world.run(db.put('a', 'before'));
    for (let i = 0; i < 40; i++) {
      await world.run(db.put('many', contentOf(i, 'version')));
      snapshots.push(db.snapshot());
    }
    await world.run(db.put('z', 'after'));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [table] = await tablesOf(world);
    const second = table.blocks.findIndex((b, i) => i > 0 && b.firstKey === 'many');
    expect(second).toBeGreaterThan(0);
    await ruin(world, table.path, table.blocks[table.blocks.length - 1]);
    const { rows, errors } = await scanAll(world, await world.openReader(READING));
    expect(rows.map((r) => text(r.key))).toEqual(['a', 'many']);
    expect(errors).toHaveLength(1);
  });

  it('after merge operands of its first key is never folded around', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    await world.run(db.put('a', 'before'));
    await world.run(db.put('many', 'base'));
    for (let i = 0; i < 40; i++) await world.run(db.merge('many', contentOf(i, 'operand')));
    await world.run(db.put('z', 'after'));
    await world.run(db.flush({ type: 'memtable' }));
    line.cut();
    const [table] = await tablesOf(world);
    const inMany = table.blocks.flatMap((b, i) => (i > 0 && b.firstKey === 'many' ? [i] : []));
    expect(inMany.length).toBeGreaterThan(0);
    for (const b of inMany) {
      const copy = await world.copy();
      await ruin(copy, table.path, table.blocks[b]);
      const reader = await copy.openReader(READING);
      expect(await rejection(copy.run(reader.get('many')))).toMatchObject({ name: 'CorruptionError' });
      for (const reverse of [false, true]) {
        const { rows, errors } = await scanAll(copy, reader, { reverse });
        const keys = rows.map((r) => text(r.key));
        expect(keys).not.toContain('many');
        expect(keys).toContain('a');
        expect(errors).toHaveLength(1);
      }
    }
  });
});

describe('damage that takes away no row', () => {
  const helpers = ['filter', 'stats', 'seal', 'info', 'footer'] as const;

  it.each(helpers)('in any byte of the %s leaves every key readable', async (section) => {
    const { world, table } = await oneTable();
    const { offset, length } = table.sections[section];
    expect(length).toBeGreaterThan(0);
    const step = Math.max(1, Math.floor(length / 60));
    let reported = 0;
    for (let at = offset; at < offset + length; at += step) {
      for (const bit of section === 'footer' ? range(0, 8) : [at % 8]) {
        const copy = await world.copy();
        copy.faults.add({ action: 'flip', op: 'get', path: table.path, bit: 8 * at + bit });
        const reader = await copy.openReader(READING);
        for (const i of [0, 50, 99]) expect(text(await copy.run(reader.get(keyOf(i))))).toBe(contentOf(i, 'v'));
        expect(await copy.run(reader.get('key-0050-absent'))).toBeUndefined();
        const { rows, errors } = await scanAll(copy, reader, {}, 1000);
        expect([rows.length, errors.length]).toEqual([100, 0]);
        if (copy.log.some((l) => l.level === 'warn' && l.fields?.['path'] === table.path)) reported++;
        else expect.fail(`byte ${at - offset} of the ${section} was not reported`);
      }
    }
    expect(reported).toBeGreaterThan(0);
  });

  it('is reported with its place', async () => {
    const { world, table } = await oneTable();
    for (const section of ['filter', 'stats', 'seal', 'info'] as const) {
      const copy = await world.copy();
      await flip(copy, table.path, table.sections[section].offset + 9);
      const reported: DbEvent[] = [];
      const onEvent = (event: DbEvent) => void reported.push(event);
      await copy.run((await copy.openReader({ ...READING, onEvent })).get(keyOf(1)));
      const units = copy.log.filter((l) => l.level === 'warn').map((l) => l.fields?.['unit']);
      expect(units).toContain(section);
      expect(reported.map((event) => event.type === 'finding' && event.finding.at.unit)).toEqual(units);
    }
  });
});

describe('a damaged index', () => {
  it('is made again from the blocks: every key stays readable, at the cost of one more look', async () => {
    const { world, newer } = await twoTables();
    await ruin(world, newer.path, newer.sections.index);
    const line = world.line();
    const reader = await world.openReader(READING, line);
    line.take();
    for (const i of range(0, 100)) {
      const found = await world.run(reader.getWithMeta(keyOf(i)));
      const version = i >= 20 && i < 80 ? 'new' : i % 2 === 0 ? 'old' : undefined;
      expect(text(found?.value)).toBe(version && contentOf(i, version));
      if (found !== undefined) expect(found.possiblyStale).toBe(false);
    }
    // Twice everything after the blocks, the blocks once at a stretch, and then each of them.
    const reads = line.take().filter((request) => request === `get ${newer.path}`);
    expect(reads).toHaveLength(3 + newer.blocks.length);
    const { findings } = reader.corruptions();
    expect(findings).toMatchObject([
      { severity: 'warning', remedy: 'rebuilds', at: { unit: 'index', offset: newer.sections.index.offset } },
    ]);
    expect(findings[0].hint.lossIfRepaired).toBe('none');
    for (const reverse of [false, true]) {
      const { rows, errors } = await scanAll(world, reader, { reverse });
      const visible = range(0, 100).filter((i) => (i >= 20 && i < 80) || i % 2 === 0);
      expect(numbers(rows)).toEqual(reverse ? visible.reverse() : visible);
      expect(errors).toEqual([]);
    }
  });

  it.each([true, false])('beside a damaged block leaves the other blocks (sealed: %s)', async (sealed) => {
    for (const at of ['first', 'inner', 'last'] as const) {
      const { world, table } = await oneTable();
      if (!sealed) await unseal(world, table);
      const bad = { first: 0, inner: 2, last: table.blocks.length - 1 }[at];
      await ruin(world, table.path, table.sections.index);
      await ruin(world, table.path, table.blocks[bad]);
      const concerned = regionOf(table, bad, range(0, 100));
      const reader = await world.openReader(READING);
      for (const reverse of [false, true]) {
        const { rows, errors } = await scanAll(world, reader, { reverse });
        expect(errors).toHaveLength(1);
        const missing = range(0, 100).filter((i) => !numbers(rows).includes(i));
        // Without an index the last key before the block is all that is known of where it begins.
        expect(missing.filter((i) => !concerned.includes(i)).length).toBeLessThanOrEqual(2);
      }
      for (const i of range(0, 100)) {
        const get = world.run(reader.get(keyOf(i)));
        if (keysOfBlock(table, bad, [i]).length > 0) expect(await rejection(get)).toMatchObject({ kind: 'corruption' });
        else expect(text(await get)).toBe(contentOf(i, 'v'));
      }
    }
  });
});

describe('a table that is not what the manifest names', () => {
  it('because it is missing is an error for its keys only', async () => {
    const { world, newer } = await twoTables();
    await world.remove(newer.path);
    const db = await world.open(OPTIONS);
    expect(text(await world.run(db.get(keyOf(0))))).toBe(contentOf(0, 'old'));
    const stale = await world.run(db.getWithMeta(keyOf(20)));
    expect([text(stale?.value), stale?.possiblyStale]).toEqual([contentOf(20, 'old'), true]);
    const error = (await rejection(world.run(db.get(keyOf(21))))) as CorruptionError;
    expect(error).toMatchObject({ name: 'CorruptionError', code: 'MISSING_OBJECT' });
    expect(error.findings[0].object).toMatchObject({ path: newer.path, id: newer.ref.id });
    const scan = db.scan();
    const rows = await world.run(scan.nextBatch(1000));
    expect(numbers(rows)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    expect(await rejection(world.run(scan.nextBatch(1000)))).toMatchObject({ code: 'MISSING_OBJECT' });
    expect(numbers(await world.run(scan.nextBatch(1000)))).toEqual([80, 82, 84, 86, 88, 90, 92, 94, 96, 98]);
  });

  it('because another is in its place is found when it is opened', async () => {
    const { world, newer, older } = await twoTables();
    const [a, b] = [await world.bytes(newer.path), await world.bytes(older.path)];
    await world.replace(newer.path, b);
    await world.replace(older.path, a);
    const reader = await world.openReader(READING);
    for (const i of [0, 20, 21, 99]) {
      const get = world.run(reader.get(keyOf(i)));
      if (i === 99) expect(await get).toBeUndefined();
      else expect(await rejection(get)).toMatchObject({ name: 'CorruptionError' });
    }
  });

  it('because one of the same form is in its place is found by its seal', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    for (const version of ['one', 'two']) {
      await world.run(db.put('key', version));
      await world.run(db.flush({ type: 'memtable' }));
    }
    line.cut();
    const [newer, older] = await tablesOf(world);
    expect(newer.ref.info).toEqual(older.ref.info);
    const [a, b] = [await world.bytes(newer.path), await world.bytes(older.path)];
    await world.replace(newer.path, b);
    await world.replace(older.path, a);
    const reader = await world.openReader(READING);
    const error = (await rejection(world.run(reader.get('key')))) as CorruptionError;
    expect(error.findings.map((f) => f.code)).toEqual(['IDENTITY_MISMATCH', 'IDENTITY_MISMATCH']);
    expect(error.findings[0]).toMatchObject({ expected: newer.ref.id, found: older.ref.id });
  });

  it('because it was cut short is read up to the cut, and an error after it at once, whatever the length', async () => {
    const { world, table } = await oneTable();
    for (let at = 0; at < table.size; at += 97) {
      const copy = await world.copy();
      await copy.replace(table.path, (await copy.bytes(table.path)).slice(0, at));
      const reader = await copy.openReader(READING);
      const before = copy.clock.monotonicMs();
      const cutBlock = table.blocks.findIndex((b) => b.offset + b.length > at);
      for (const i of range(0, 100)) {
        const isWhole = cutBlock < 0 || keyOf(i) < table.blocks[cutBlock].firstKey;
        const get = copy.run(reader.get(keyOf(i)));
        if (isWhole) expect(text(await get)).toBe(contentOf(i, 'v'));
        else expect(await rejection(get)).toMatchObject({ name: 'CorruptionError', code: 'TRUNCATED' });
      }
      const { rows, errors } = await scanAll(copy, reader);
      const last = cutBlock < 0 ? 100 : keysOfBlock(table, cutBlock, range(0, 100))[0];
      expect(numbers(rows)).toEqual(range(0, last));
      expect(errors).toHaveLength(cutBlock < 0 ? 0 : 1);
      expect(copy.clock.monotonicMs() - before).toBeLessThan(100);
      const codes = reader.corruptions().findings.map((f) => f.code);
      // How long the info block, the last part, should be is not known from elsewhere.
      if (at < table.sections.seal.offset + FOOTER_BYTES) expect(codes).toContain('TRUNCATED');
      else expect(codes).not.toEqual([]);
    }
  });

  it('because one is in its place that ends just after where its rows should is found', async () => {
    for (let extra = 0, found = 0; found < 3; extra += 4) {
      expect(extra).toBeLessThan(400);
      const world = new World();
      const { db, line } = await world.connect(OPTIONS);
      await world.run(db.put('key', 'old'.padEnd(20 + extra, '.')));
      await world.run(db.flush({ type: 'memtable' }));
      await world.run(db.put('key', 'new'.padEnd(600, '.')));
      await world.run(db.flush({ type: 'memtable' }));
      line.cut();
      const [newer, older] = await tablesOf(world);
      const rowsEnd = newer.ref.info.filterOffset;
      if (older.size < rowsEnd || older.size > rowsEnd + 16) continue;
      found++;
      await world.replace(newer.path, await world.bytes(older.path));
      const reader = await world.openReader(READING);
      const error = await rejection(world.run(reader.get('key', { corruptionPolicy: 'strict' })));
      expect(error).toMatchObject({ code: 'IDENTITY_MISMATCH' });
    }
  });

  it('because a shorter one is in its place is never taken for a cut one', async () => {
    const world = new World();
    const { db, line } = await world.connect(OPTIONS);
    const few = new WriteBatch();
    for (let i = 20; i < 40; i++) few.put(keyOf(i), contentOf(i, 'old'));
    const many = new WriteBatch();
    for (let i = 0; i < 100; i++) many.put(keyOf(i), contentOf(i, 'new'));
    for (const batch of [few, many]) {
      await world.run(db.write(batch));
      await world.run(db.flush({ type: 'memtable' }));
    }
    line.cut();
    const [newer, older] = await tablesOf(world);
    for (const at of [newer.ref.info.filterOffset, newer.size]) {
      expect(older.size).toBeLessThan(at);
      const copy = await world.copy();
      await copy.replace(newer.path, await copy.bytes(older.path));
      const reader = await copy.openReader(READING);
      const error = await rejection(copy.run(reader.get(keyOf(30), { corruptionPolicy: 'strict' })));
      expect(error).toMatchObject({ code: 'IDENTITY_MISMATCH' });
    }
  });
});

describe('faults on the way', () => {
  it.each(['flip', 'short-body', 'status:500', 'apply-then-drop'] as const)('(%s) are no damage', async (action) => {
    for (const nth of [1, 2, 3]) {
      const { world, table } = await oneTable();
      world.faults.add({ action, op: 'get', path: table.path, nth, ...(action === 'flip' && { bit: 8 * 300 }) });
      const reader = await world.openReader(READING);
      for (const i of [0, 50, 99]) expect(text(await world.run(reader.get(keyOf(i))))).toBe(contentOf(i, 'v'));
      expect((await scanAll(world, reader, {}, 1000)).rows).toHaveLength(100);
      expect(world.faults.fired()).toEqual({ [action]: 1 });
    }
  });

  it('leave a scan where it was: the same call can be made again', async () => {
    const { world, table } = await oneTable();
    const reader = await world.openReader({ ...READING, timeoutMs: 1000 });
    const scan = reader.scan();
    const first = await world.run(scan.nextBatch(10));
    world.faults.add({ action: 'fail-before', op: 'get', path: table.path });
    const rows = [...first];
    for (let failed = false; ; ) {
      const batch = await world.run(scan.nextBatch(10)).catch((error: DbError) => error);
      if (Array.isArray(batch)) {
        if (batch.length === 0) break;
        rows.push(...batch);
      } else {
        expect(failed).toBe(false);
        expect(batch).toMatchObject({ name: 'UnavailableError', retryable: true });
        failed = true;
        world.faults.clear();
      }
    }
    expect(numbers(rows)).toEqual(range(0, 100));
  });
});

describe('a scan', () => {
  it('keeps rows in the order of their keys', async () => {
    const { world } = await oneTable();
    const { rows } = await scanAll(world, await world.openReader(READING), {}, 1000);
    for (let i = 1; i < rows.length; i++) expect(compareBytes(rows[i - 1].key, rows[i].key)).toBeLessThan(0);
  });
});
