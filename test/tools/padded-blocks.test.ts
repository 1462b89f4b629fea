/**
 * Tables whose blocks SlateDB 0.18 padded to multiples of its block size: reading, checking and repairing them, whatever is damaged;
 * and what the index or the padding can say that they should not.
 */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/common/bytes.ts';
import type { IncompatibleError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { FlatBuilder } from '../../src/format/flatbuffer.ts';
import { parseWalPath } from '../../src/format/object-names.ts';
import { sealRange } from '../../src/format/table-layout.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { sstInspect } from '../../src/tools/sst-inspect.ts';
import { type SstRepairOptions, sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import {
  type AlignedTable,
  alignedTables,
  indexPayload,
  replaceIndex,
  stateLength,
} from '../support/aligned-tables.ts';
import { rejection, type World, worldOfFixture } from '../support/database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';
import { damageAt, newestManifest, overwrite } from '../support/table-database.ts';
import { digests } from '../support/tool-laws.ts';

const ALIGNED = 'slatedb-0.18.0/aligned';
const COMPACTED = 'slatedb-0.18.0/aligned-compacted';

/** Key and digest of the value, which `expected.json` may have instead of it. */
type Row = [key: string, value: string | { len: number }];

function expectedRows(name: string): Row[] {
  return goldenFixture(name).expected.scan.map((r: { key: string; value: string | { len: number } }) => [
    r.key,
    typeof r.value === 'string' ? r.value : { len: r.value.len },
  ]);
}

async function rowsOf(world: World): Promise<Row[]> {
  const reader = await world.openReader({ hideExpired: false });
  const scan = async () => {
    const rows: Row[] = [];
    for await (const { key, value } of reader.scan()) {
      rows.push([toHex(key), value.length > 300 ? { len: value.length } : toHex(value)]);
      const got = await reader.get(key);
      if (got === undefined || Buffer.compare(got, value) !== 0) throw new Error(`get of ${toHex(key)} differs`);
    }
    return rows;
  };
  const rows = await world.run(scan());
  await world.run(reader.close());
  return rows;
}

const location = (world: World) => ({ store: world.store, path: '' });
const verdictOf = async (world: World) => world.run(verify(location(world), { clock: world.clock, level: 'cross' }));
const inspect = (world: World, id: string) => world.run(sstInspect(location(world), id, { clock: world.clock }));

function repair(world: World, id: string, options: SstRepairOptions = {}) {
  return world.run(sstRepair(location(world), id, { clock: world.clock, liveCheckMs: 0, ...options }));
}

async function findingsAbout(world: World, path: string): Promise<Finding[]> {
  const collect = async () => {
    const found: Finding[] = [];
    for await (const f of sstCheck(location(world), { clock: world.clock })) if (f.object.path === path) found.push(f);
    return found;
  };
  return world.run(collect());
}

/** Without the log: what was in it can then come only from tables. */
async function withoutFlushedLog(world: World): Promise<void> {
  const { replayAfterWalId } = await newestManifest(world);
  const wal = await world.paths('wal/');
  await world.remove(...wal.filter((path) => parseWalPath(path)! <= replayAfterWalId));
}

/** The repaired table is the old one byte for byte up to its seal, which says that it was made again. */
async function expectSameUpToSeal(world: World, old: AlignedTable): Promise<AlignedTable> {
  const tables = await alignedTables(world);
  const made = tables.find(
    (t) => toHex(t.ref.info.lastEntry!) === toHex(old.ref.info.lastEntry!) && t.dataEnd === old.dataEnd,
  )!;
  expect(made.ref.id).not.toBe(old.ref.id);
  const { start } = sealRange(made.ref.info, made.sections.info.offset);
  expect(start).toBe(sealRange(old.ref.info, old.sections.info.offset).start);
  expect(Buffer.compare(made.bytes.subarray(0, start), old.bytes.subarray(0, start))).toBe(0);
  return made;
}

const paddedBlocks = ({ places }: AlignedTable) =>
  places.map((place, i) => ({ ...place, i })).filter(({ end, roomEnd }) => roomEnd > end);

describe.each([ALIGNED, COMPACTED])('%s', (name) => {
  it('is clean by every tool, shows its padding, and no repair changes a byte', async () => {
    const world = await worldOfFixture(name);
    const before = await digests(world);
    const { verdict, findings } = await verdictOf(world);
    expect(verdict).toBe('clean');
    const tables = await alignedTables(world);
    expect(findings.filter((f) => f.object.role === 'table')).toEqual([]);
    for (const { ref, places } of tables) {
      const report = await inspect(world, ref.id);
      expect(report.findings).toEqual([]);
      expect(report.blocks.map((b) => [b.offset, b.storedBytes, b.paddingBytes ?? 0])).toEqual(
        places.map(({ start, end, roomEnd }) => [start, end - start, roomEnd - end]),
      );
      expect(await repair(world, ref.id, { apply: true })).toMatchObject({ outcome: 'clean', lostKeys: [] });
    }
    expect(await digests(world)).toEqual(before);
    expect(await rowsOf(world)).toEqual(expectedRows(name));
  });

  it('is read with one request for each stretch of blocks, and none that brings padding after it', async () => {
    const world = await worldOfFixture(name);
    const tables = await alignedTables(world);
    const line = world.line();
    const ranges: [path: string, from: number, to: number][] = [];
    const get = line.get.bind(line);
    line.get = (path, options) => {
      if (options?.range !== undefined && 'offset' in options.range) {
        const { offset, length } = options.range;
        ranges.push([path, offset, offset + length]);
      }
      return get(path, options);
    };
    const reader = await world.openReader({ hideExpired: false }, line);
    const scan = async () => {
      let rows = 0;
      for await (const _ of reader.scan()) rows++;
      return rows;
    };
    expect(await world.run(scan())).toBe(expectedRows(name).length);
    for (const { path, dataEnd, places } of tables) {
      const data = ranges.filter(([p, from]) => p === path && from < dataEnd);
      expect(data, path).toEqual([[path, 0, places[places.length - 1].end]]);
    }
    await world.run(reader.close());
  });
});

describe('a damaged block of an aligned table', () => {
  it('with one bit changed is made again byte for byte, and stays padded', async () => {
    const pristine = await worldOfFixture(ALIGNED);
    for (const [t, table] of (await alignedTables(pristine)).entries()) {
      for (const { i, start, end } of paddedBlocks(table)) {
        for (const at of [start, start + 3, (start + end) >> 1, end - 1]) {
          const world = await pristine.copy();
          await withoutFlushedLog(world);
          await damageAt(world, table.path, at, 0x20);
          const report = await repair(world, table.ref.id, { apply: true });
          expect(report, `table ${t} block ${i} at ${at}`).toMatchObject({ outcome: 'healed', lostKeys: [] });
          await expectSameUpToSeal(world, table);
        }
      }
    }
  });

  it('loses its own rows and no others where nothing of it is left', async () => {
    const world = await worldOfFixture(ALIGNED);
    const table = (await alignedTables(world)).find(({ places }) => places.length === 4)!;
    await withoutFlushedLog(world);
    const { start, end, roomEnd } = table.places[1];
    await overwrite(world, table.path, start, end - start);
    const report = await repair(world, table.ref.id, { apply: true, acceptLoss: true, acceptResurrection: true });
    const lost = (await inspectRows(world, table)).length;
    expect(report).toMatchObject({
      outcome: 'salvaged',
      applied: true,
      rows: { recovered: 34 - lost, lost, lostExact: true },
    });
    const [made] = (await alignedTables(world)).filter((t) => t.places.length === 3);
    // The blocks left keep the unit they had.
    expect(made.places.every((p) => p.start % (roomEnd - start) === 0)).toBe(true);
    expect(await findingsAbout(world, made.path)).toEqual([]);
  });

  /** Rows that block 1 had, by the stats of the table. */
  async function inspectRows(world: World, table: AlignedTable): Promise<unknown[]> {
    const expected = goldenFixture(ALIGNED).expected.compacted_ssts.find((t: { object: string }) =>
      t.object.endsWith(table.path),
    );
    expect(await world.bytes(table.path)).toHaveLength(expected.size);
    return Array.from({ length: expected.block_row_counts[1] });
  }

  it('is healed and salvaged in a table that bears our seal as in any other', async () => {
    const { world, table } = await sealedAligned();
    const block = table.places[1];
    for (const width of [1, 2, 4]) {
      const copy = await world.copy();
      await overwrite(copy, table.path, block.start + 700, width);
      expect(await rowsOf(copy)).toEqual(expectedRows(ALIGNED));
      const report = await repair(copy, table.ref.id, { apply: true });
      expect(report).toMatchObject({ outcome: 'healed', applied: true, lostKeys: [] });
      await expectSameUpToSeal(copy, table);
    }
    await overwrite(world, table.path, block.start + 700, 300);
    const dry = await repair(world, table.ref.id, { acceptResurrection: true });
    expect(dry.outcome).toBe('salvaged');
    expect(dry.rows.lost).toBeGreaterThan(0);
    expect(dry.rows.lost).toBeLessThan(8);
  });
});

/** The aligned table of four blocks after a repair of its index: it bears our seal. */
async function sealedAligned(): Promise<{ world: World; table: AlignedTable }> {
  const world = await worldOfFixture(ALIGNED);
  const old = (await alignedTables(world)).find(({ places }) => places.length === 4)!;
  await damageAt(world, old.path, old.sections.index.offset + 9);
  expect(await repair(world, old.ref.id, { apply: true })).toMatchObject({ outcome: 'reconstructed' });
  await withoutFlushedLog(world);
  const table = await expectSameUpToSeal(world, old);
  expect((await inspect(world, table.ref.id)).sealed).toBe(true);
  return { world, table };
}

describe('a damaged index of an aligned table', () => {
  it('takes no row away, and is made again byte for byte', async () => {
    for (const name of [ALIGNED, COMPACTED]) {
      const pristine = await worldOfFixture(name);
      for (const table of await alignedTables(pristine)) {
        const { offset, length } = table.sections.index;
        for (const ruined of [1, length]) {
          const world = await pristine.copy();
          await overwrite(world, table.path, offset, ruined);
          expect(await rowsOf(world), `${name} ${table.path}`).toEqual(expectedRows(name));
          const { blocks } = await inspect(world, table.ref.id);
          expect(blocks.map((b) => [b.offset, b.storedBytes, b.paddingBytes ?? 0])).toEqual(
            table.places.map(({ start, end, roomEnd }) => [start, end - start, roomEnd - end]),
          );
          expect(await repair(world, table.ref.id, { apply: true })).toMatchObject({
            outcome: 'reconstructed',
            lostKeys: [],
          });
          await expectSameUpToSeal(world, table);
          expect((await verdictOf(world)).verdict).toBe('clean');
        }
      }
    }
  });

  it('beside a damaged block leaves the others, with a seal and without', async () => {
    const unsealed = await worldOfFixture(ALIGNED);
    const [plain] = (await alignedTables(unsealed)).filter(({ places }) => places.length === 4);
    const sealed = await sealedAligned();
    for (const { world, table } of [{ world: unsealed, table: plain }, sealed]) {
      await overwrite(world, table.path, table.sections.index.offset, 20);
      await overwrite(world, table.path, table.places[1].start + 100, 200);
      const { blocks } = await inspect(world, table.ref.id);
      expect(blocks.map((b) => [b.offset, b.crc])).toEqual([
        [0, 'ok'],
        [4096, 'bad'],
        [8192, 'ok'],
        [12_288, 'ok'],
      ]);
    }
  });

  it('whose blocks were overwritten with zeros does not pass them off as padding', async () => {
    const world = await worldOfFixture(ALIGNED);
    const [table] = (await alignedTables(world)).filter(({ places }) => places.length === 4);
    await withoutFlushedLog(world);
    const bytes = await world.bytes(table.path);
    bytes.fill(0, table.places[2].start, table.places[2].roomEnd);
    bytes[table.sections.index.offset + 4] ^= 1;
    await world.replace(table.path, bytes);
    const report = await repair(world, table.ref.id, { acceptResurrection: true });
    expect(report.outcome).toBe('salvaged');
    expect(report.rows.lost).toBeGreaterThan(0);
    expect((await verdictOf(world)).verdict).toBe('corrupt');
  });
});

describe('a length in the index', () => {
  const CASES: [what: string, i: number, length: (t: AlignedTable) => number, expected: string][] = [
    ['that reaches beyond the next block', 1, () => 4097, 'at most 4096 bytes'],
    ['that reaches beyond the data', 3, (t) => t.dataEnd, 'at most 4096 bytes'],
    ['that reaches beyond the object', 3, () => 2 ** 32 - 1, 'at most 4096 bytes'],
    ['of no more than a checksum', 1, () => 4, 'more than 4 bytes, a checksum'],
  ];

  it.each(CASES)('%s is a finding about the index, and takes no row away', async (_, i, length, expected) => {
    const world = await worldOfFixture(ALIGNED);
    const [table] = (await alignedTables(world)).filter(({ places }) => places.length === 4);
    await stateLength(world, table, i, length(table));
    const before = await digests(world);
    const found = await findingsAbout(world, table.path);
    expect(found).toMatchObject([
      { code: 'MALFORMED', severity: 'error', at: { unit: 'index', index: i }, expected, remedy: 'rebuilds' },
    ]);
    expect(await rowsOf(world)).toEqual(expectedRows(ALIGNED));
    expect(await digests(world)).toEqual(before);
    expect(await repair(world, table.ref.id, { apply: true })).toMatchObject({
      outcome: 'reconstructed',
      lostKeys: [],
    });
    await expectSameUpToSeal(world, table);
  });

  it.each([
    ['zero, although padding follows,', 0],
    ['that takes some of the padding for the block', 3900],
  ])('%s is a finding about the index, and takes no row away', async (_, length) => {
    const world = await worldOfFixture(ALIGNED);
    const [table] = (await alignedTables(world)).filter(({ places }) => places.length === 4);
    await stateLength(world, table, 1, length);
    const before = await digests(world);
    const own = table.places[1].end - table.places[1].start;
    const found = await findingsAbout(world, table.path);
    expect(found).toMatchObject([
      {
        code: 'MALFORMED',
        severity: 'error',
        at: { unit: 'index', index: 1, offset: table.ref.info.indexOffset },
        expected: `${own} bytes`,
        found: `${length === 0 ? 4096 : length} bytes`,
        remedy: 'heals',
      },
    ]);
    expect(await rowsOf(world)).toEqual(expectedRows(ALIGNED));
    expect(await digests(world)).toEqual(before);
    expect(await repair(world, table.ref.id, { apply: true })).toMatchObject({ outcome: 'healed', lostKeys: [] });
    await expectSameUpToSeal(world, table);
  });

  it('that ends a block too early is a finding about the index, and a repair loses nothing', async () => {
    const world = await worldOfFixture(ALIGNED);
    const [table] = (await alignedTables(world)).filter(({ places }) => places.length === 4);
    await stateLength(world, table, 1, 3000);
    const found = await findingsAbout(world, table.path);
    expect(found).toMatchObject([
      { code: 'MALFORMED', at: { unit: 'index', index: 1 }, expected: '3834 bytes', found: '3000 bytes' },
    ]);
    expect(await repair(world, table.ref.id, { apply: true })).toMatchObject({ outcome: 'healed', lostKeys: [] });
    await expectSameUpToSeal(world, table);
    expect(await rowsOf(world)).toEqual(expectedRows(ALIGNED));
  });

  it('is no excuse for other bytes after the block', async () => {
    const world = await worldOfFixture(ALIGNED);
    const [table] = (await alignedTables(world)).filter(({ places }) => places.length === 4);
    await stateLength(world, table, 1, 0);
    await damageAt(world, table.path, table.places[1].roomEnd - 1);
    const found = await findingsAbout(world, table.path);
    expect(found).toMatchObject([{ code: 'BAD_CHECKSUM', severity: 'error', at: { unit: 'block', index: 1 } }]);
  });
});

describe('padding that holds data', () => {
  it('is a note at its place, concerns no row, and is left alone', async () => {
    const world = await worldOfFixture(ALIGNED);
    for (const table of await alignedTables(world)) {
      for (const { end, roomEnd } of paddedBlocks(table)) {
        await damageAt(world, table.path, end, 0xff);
        await damageAt(world, table.path, roomEnd - 1, 0xff);
      }
    }
    const before = await digests(world);
    for (const table of await alignedTables(world)) {
      const found = await findingsAbout(world, table.path);
      expect(found).toMatchObject(
        paddedBlocks(table).map(({ i, end, roomEnd }) => ({
          code: 'MALFORMED',
          severity: 'note',
          at: { unit: 'block', index: i, offset: end, length: roomEnd - end },
          expected: 'zeros',
          hint: { lossIfRepaired: 'none' },
        })),
      );
      const report = await inspect(world, table.ref.id);
      expect(report.findings).toHaveLength(paddedBlocks(table).length);
      expect(report.blocks.every((b) => b.crc === 'ok')).toBe(true);
      expect(await repair(world, table.ref.id, { apply: true })).toMatchObject({ outcome: 'clean', lostKeys: [] });
    }
    expect((await verdictOf(world)).verdict).toBe('clean');
    expect(await rowsOf(world)).toEqual(expectedRows(ALIGNED));
    expect(await digests(world)).toEqual(before);
  });

  it('on one look only is not reported', async () => {
    const world = await worldOfFixture(ALIGNED);
    const [table] = await alignedTables(world);
    const { end } = paddedBlocks(table)[0];
    const line = world.line();
    const get = line.get.bind(line);
    let isFirst = true;
    line.get = async (path, options) => {
      const got = await get(path, options);
      const from = options?.range !== undefined && 'offset' in options.range ? options.range.offset : 0;
      if (path !== table.path || got === undefined || from > end || !isFirst || end - from >= got.bytes.length)
        return got;
      isFirst = false;
      const bytes = got.bytes.slice();
      bytes[end - from] ^= 1;
      return { ...got, bytes };
    };
    const found = async () => {
      const all: Finding[] = [];
      for await (const f of sstCheck({ store: line, path: '' }, { clock: world.clock })) all.push(f);
      return all;
    };
    expect((await world.run(found())).filter((f) => f.object.path === table.path)).toEqual([]);
    expect(isFirst).toBe(false);
  });
});

describe('an index with a field of a newer program', () => {
  async function tooNewWorld() {
    const world = await worldOfFixture(ALIGNED);
    const [table] = (await alignedTables(world)).filter(({ places }) => places.length === 4);
    const b = new FlatBuilder();
    const refs = table.places.map(({ start, end }, i) => {
      const key = b.byteVector(Uint8Array.of(i === 0 ? 0 : 113 + i));
      b.startTable();
      b.addU64(0, start);
      b.addRef(1, key);
      b.addU32(2, end - start);
      b.addU32(3, 1);
      return b.endTable();
    });
    const vector = b.tableVector(refs);
    b.startTable();
    b.addRef(0, vector);
    await replaceIndex(world, table, b.finish(b.endTable()));
    return { world, table };
  }

  it('is refused by reads, with the table and the remedy, and by nothing that does not read it', async () => {
    const { world, table } = await tooNewWorld();
    const reader = await world.openReader({ hideExpired: false });
    const reads: (() => Promise<unknown>)[] = [
      () => reader.get('row0001'),
      () => reader.scan().next(),
      () => reader.scan({ reverse: true }).nextBatch(100),
    ];
    for (const read of reads) {
      const error = (await rejection(world.run(read()))) as IncompatibleError;
      expect(error).toMatchObject({ kind: 'incompatible', code: 'FORMAT_TOO_NEW', details: { path: table.path } });
      expect(error.message).toMatch(/fields that only a newer program knows.*newer version/);
    }
    expect(await world.run(reader.get('tail'))).toEqual(new TextEncoder().encode('t'));
    await world.run(reader.close());
  });

  it('is "cannot tell" for the tools, never damage, and no repair is planned', async () => {
    const { world, table } = await tooNewWorld();
    const before = await digests(world);
    const { verdict, findings } = await verdictOf(world);
    expect(verdict).toBe('unknown');
    const about = findings.filter((f) => f.object.path === table.path);
    expect(about).toMatchObject([{ code: 'FORMAT_TOO_NEW', severity: 'unknown', at: { unit: 'index' } }]);
    expect(await inspect(world, table.ref.id)).toMatchObject({ findings: [{ severity: 'unknown' }], blocks: [] });
    const refused = await rejection(
      world.run(sstRepair(location(world), table.ref.id, { clock: world.clock, apply: true })),
    );
    expect(refused).toMatchObject({ kind: 'incompatible', code: 'FORMAT_TOO_NEW', details: { path: table.path } });
    expect(await digests(world)).toEqual(before);
  });

  it('is damage where its checksum does not hold', async () => {
    const { world, table } = await tooNewWorld();
    const [now] = (await alignedTables(await worldOfFixture(ALIGNED))).filter((t) => t.ref.id === table.ref.id);
    await damageAt(world, table.path, now.ref.info.indexOffset + 30);
    expect(await rowsOf(world)).toEqual(expectedRows(ALIGNED));
    expect(indexPayload(now.bytes, now.ref.info).length).toBeGreaterThan(0);
  });
});
