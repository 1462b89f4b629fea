/**
 * Building tables and WAL objects: where blocks are cut, alignment, empty tables, facts, refused rows, handing out parts, and memory
 * that is used again.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compareBytes, concatBytes, toHex } from '../../../src/common/bytes.ts';
import { InternalError } from '../../../src/common/errors.ts';
import { checkBlockOrder, decodeBlock } from '../../../src/format/block.ts';
import { BlockCursor } from '../../../src/format/block-cursor.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { decodeFilter } from '../../../src/format/filter.ts';
import { unframeUnit, verifyCrc } from '../../../src/format/framing.ts';
import { decodeIndex } from '../../../src/format/index-block.ts';
import { decodeInfo } from '../../../src/format/info-block.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_TS } from '../../../src/format/row-flags.ts';
import { sipHash13, sipHigh, sipLow } from '../../../src/format/siphash.ts';
import { decodeStats } from '../../../src/format/stats-block.ts';
import { TableBuilder, type TableBuilderOptions } from '../../../src/format/table-builder.ts';
import {
  blockEnd,
  checkIndexLayout,
  checkLayout,
  decodeFooter,
  FOOTER_BYTES,
} from '../../../src/format/table-layout.ts';
import { encodeVersion2, randomRows, type SampleRow, sampleRow, utf8 } from './block-samples.ts';

const LIMIT = 1 << 28;

function builderOf(options: Partial<TableBuilderOptions> = {}): TableBuilder {
  return new TableBuilder({
    tableType: 'compacted',
    blockBytes: 1024,
    codec: NO_CODEC,
    rowsPerCheck: 0,
    capacityBytes: 0,
    ...options,
  });
}

function addRow(builder: TableBuilder, { key, value, seq, flags, createTs, expireTs }: SampleRow): void {
  builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
}

function build(rows: readonly SampleRow[], options: Partial<TableBuilderOptions> = {}, seal?: Uint8Array) {
  const builder = builderOf(options);
  for (const row of rows) addRow(builder, row);
  return builder.finish(seal && (() => seal));
}

/** Reads a table through its footer as a reader does. */
async function read(bytes: Uint8Array) {
  const { infoOffset, formatVersion } = decodeFooter(bytes, bytes.length);
  const info = decodeInfo(verifyCrc(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES), 'info'));
  checkLayout(info, infoOffset, bytes.length);
  const codec = await loadCodec(info.codec);
  const unit = (offset: number, length: number) =>
    unframeUnit(bytes.subarray(offset, offset + length), codec, 'object', LIMIT);
  const index = decodeIndex(unit(info.indexOffset, info.indexLength));
  checkIndexLayout(info, index);
  const blocks = Array.from({ length: index.blockCount }, (_, i) =>
    decodeBlock(unit(index.offset(i), blockEnd(info, index, i) - index.offset(i)), formatVersion),
  );
  const stats = info.statsLength > 0 ? decodeStats(unit(info.statsOffset, info.statsLength)) : undefined;
  const filter =
    info.filterLength > 0 ? decodeFilter(unit(info.filterOffset, info.filterLength), info.filterForm) : undefined;
  const seal = bytes.slice(info.statsLength > 0 ? info.statsOffset + info.statsLength : infoOffset, infoOffset);
  return { info, index, blocks, stats, filter, seal, rows: blocks.flatMap(rowsOf) };
}

function rowsOf(block: ReturnType<typeof decodeBlock>): string[] {
  const cursor = new BlockCursor();
  cursor.attach(block);
  const lines: string[] = [];
  while (cursor.next()) {
    const value = block.bytes.subarray(cursor.valueStart, cursor.valueStart + cursor.valueLength);
    lines.push(
      [cursor.key.subarray(0, cursor.keyLength), value].map(toHex).join(' ') +
        ` ${cursor.seq} ${cursor.flags} ${cursor.createTs} ${cursor.expireTs}`,
    );
  }
  return lines;
}

function line({ key, value, seq, flags, createTs, expireTs }: SampleRow): string {
  return `${toHex(key)} ${toHex(value)} ${seq} ${flags} ${createTs} ${expireTs}`;
}

describe('an aligned table', () => {
  const UNIT = 1024;
  /** Bytes of a row of its own besides key and value (of 128 bytes or more), of restart offsets, count and checksum. */
  const ALONE = 4 + 9 + 2 + 2 + 4;
  const sized = (key: string, seq: number, bytes: number) => sampleRow(key, seq, { value: utf8('v'.repeat(bytes)) });

  it('begins each block at a multiple of its block size, with zeros before it, and ends with one', async () => {
    const rows = randomRows(5, 300);
    const { bytes, facts } = build(rows, { isAligned: true, rowsPerCheck: 4 });
    const { info, index, rows: found } = await read(bytes);
    expect(found).toEqual(rows.map(line));
    expect(index.blockCount).toBeGreaterThan(10);
    expect(info.indexOffset % UNIT).toBe(0);
    for (let i = 0; i < index.blockCount; i++) {
      const end = blockEnd(info, index, i);
      const next = i + 1 < index.blockCount ? index.offset(i + 1) : info.indexOffset;
      expect([index.offset(i) % UNIT, next - index.offset(i) >= UNIT]).toEqual([0, true]);
      expect(next - end).toBeLessThan(UNIT);
      expect(bytes.subarray(end, next).every((b) => b === 0)).toBe(true);
      // The seal counts the block without padding.
      expect(facts.rows.blockStoredBytes[i]).toBe(end - index.offset(i));
      if (facts.rows.blockRows[i] > 1) expect(next - index.offset(i)).toBe(UNIT);
    }
  });

  it('fills a unit with its checksum to the last byte, and states no length then', async () => {
    // Key "a" and the value, alone in a block: the largest value with which it fits, and one byte more.
    const fitting = UNIT - ALONE - 1;
    for (const [bytes, stated, end] of [
      [fitting - 1, UNIT - 1, UNIT],
      [fitting, 0, UNIT],
      [fitting + 1, UNIT + 1, 2 * UNIT],
    ]) {
      const { index, info } = await read(build([sized('a', 1, bytes)], { isAligned: true }).bytes);
      expect([index.encodedLength(0), info.indexOffset], `${bytes} bytes`).toEqual([stated, end]);
    }
  });

  it('closes a block four bytes earlier than one that is not aligned', async () => {
    // Two rows of one block: with their offsets and count they take all of the unit, without the checksum.
    const second = UNIT - (4 + 1 + 9 + 400) - (4 + 1 + 9) - 2 - 2;
    const rows = [sized('a', 2, 400), sized('b', 1, second)];
    const plain = await read(build(rows).bytes);
    const aligned = await read(build(rows, { isAligned: true }).bytes);
    expect([plain.index.blockCount, aligned.index.blockCount]).toEqual([1, 2]);
    const smaller = [rows[0], sized('b', 1, second - 4)];
    expect((await read(build(smaller, { isAligned: true }).bytes)).index.blockCount).toBe(1);
  });

  it('is never compressed, and never of the log', async () => {
    const zlib = await loadCodec('zlib');
    expect(() => builderOf({ isAligned: true, codec: zlib })).toThrow(InternalError);
    expect(() => builderOf({ isAligned: true, tableType: 'wal' })).toThrow(InternalError);
  });
});

describe('an empty table', () => {
  const fence = new URL('../../golden/slatedb-0.12.1/tiny/store/db/wal/00000000000000000001.sst', import.meta.url);

  it('with a filter of no keys is the fence that SlateDB 0.12.1 writes', () => {
    const { bytes, info } = build([], { filter: { form: 'legacy', bitsPerKey: 10, minKeys: 0 } });
    expect(toHex(bytes)).toBe(readFileSync(fence).toString('hex'));
    expect(bytes.length).toBe(136);
    expect(info).toMatchObject({ tableType: 'compacted', filterOffset: 0, filterLength: 6, indexOffset: 6 });
  });

  it('without a filter has 114 bytes', async () => {
    const { bytes, facts } = build([], { filter: { form: 'legacy', bitsPerKey: 10, minKeys: 1 } });
    expect(bytes.length).toBe(114);
    expect(facts).toMatchObject({ rowCount: 0, minSeq: 0, maxSeq: 0, maxCreateTs: NO_TS, batches: 0 });
    const table = await read(bytes);
    expect(table.info).toMatchObject({ firstEntry: undefined, lastEntry: undefined, filterLength: 0 });
    expect(table.stats).toEqual({
      puts: 0,
      deletes: 0,
      merges: 0,
      rawKeyBytes: 0,
      rawValueBytes: 0,
      blocks: undefined,
    });
  });

  it('can carry a composite filter and a seal', async () => {
    const seal = utf8('seal');
    const { bytes } = build([], { filter: { form: 'composite', bitsPerKey: 10, minKeys: 0 } }, seal);
    const table = await read(bytes);
    expect(table.filter).toBeUndefined();
    expect(table.seal).toEqual(seal);
    expect(toHex(bytes.subarray(0, 17))).toBe('000100035f626600000000000000020006');
  });
});

describe('rows', () => {
  it.each(['none', 'snappy', 'zlib', 'lz4', 'zstd'] as const)('come back from a table stored with %s', async (name) => {
    for (const seed of [1, 2, 3]) {
      const rows = randomRows(seed, 150);
      const { bytes } = build(rows, { codec: await loadCodec(name), rowsPerCheck: 4 });
      const table = await read(bytes);
      expect(table.rows).toEqual(rows.map(line));
      expect(table.info.codec).toBe(name);
      expect(table.info.firstEntry).toEqual(rows[0].key);
      expect(table.info.lastEntry).toEqual(rows[149].key);
      table.blocks.forEach(checkBlockOrder);
    }
  });

  it('are taken from anywhere in larger buffers', async () => {
    const rows = randomRows(8, 60);
    const builder = builderOf();
    const keys = new Uint8Array(400_000);
    const values = new Uint8Array(400_000);
    let at = 5;
    for (const { key, value, seq, flags, createTs, expireTs } of rows) {
      keys.set(key, at);
      values.set(value, at + 3);
      builder.add(keys, at, key.length, values, at + 3, value.length, seq, flags, createTs, expireTs);
      at += 500;
    }
    keys.fill(0);
    expect((await read(builder.finish().bytes)).rows).toEqual(rows.map(line));
  });

  it('of all sizes are stored, larger ones in blocks of their own', async () => {
    const rows = [
      sampleRow('a', 9, { value: new Uint8Array(5_000_000).fill(1) }),
      sampleRow('b', 8, { value: new Uint8Array(0) }),
      sampleRow('b', 7),
      sampleRow(new Uint8Array(65_535).fill(0x63), 6, { value: new Uint8Array(200) }),
      sampleRow(new Uint8Array(65_535).fill(0x63), 5, { value: new Uint8Array(200) }),
      sampleRow(new Uint8Array(65_534).fill(0x64), 4),
      sampleRow('e', 3),
    ];
    const { bytes, facts } = build(rows, { rowsPerCheck: 1 });
    const table = await read(bytes);
    expect(table.rows).toEqual(rows.map(line));
    expect(facts.rows.blockRows).toEqual([1, 2, 1, 1, 1, 1]);
    // Two versions of one key around a block border: the separator is the whole key.
    expect(table.index.firstKey(3).length).toBe(65_535);
    expect(table.index.firstKey(2).length).toBe(1);
  });

  it('keep sequence numbers and times at the ends of their ranges', async () => {
    const times = FLAG_CREATE | FLAG_EXPIRE;
    const rows = [
      sampleRow('a', Number.MAX_SAFE_INTEGER, { flags: times, createTs: -1, expireTs: 2 ** 53 - 1 }),
      sampleRow('b', 0, { flags: times, createTs: -(2 ** 63), expireTs: 2 ** 62 }),
      sampleRow('c', 2 ** 32, { flags: times, createTs: -(2 ** 32), expireTs: -(2 ** 53 + 2) }),
    ];
    expect((await read(build(rows).bytes)).rows).toEqual(rows.map(line));
  });

  it('have times clipped to 64 bits', async () => {
    const row = sampleRow('a', 1, { flags: FLAG_CREATE | FLAG_EXPIRE, createTs: 1e300, expireTs: -1e300 });
    const { bytes } = build([row]);
    const tail = bytes.subarray(4 + row.value.length + 9, 4 + row.value.length + 25);
    expect(toHex(tail)).toBe('80000000000000007fffffffffffffff');
  });

  it('store no value with a tombstone', async () => {
    const { bytes } = build([sampleRow('a', 1, { flags: FLAG_TOMBSTONE, value: utf8('left over') })]);
    expect((await read(bytes)).rows).toEqual([`61  1 1 ${NO_TS} ${NO_TS}`]);
  });
});

describe('blocks', () => {
  it('are filled to the limit and not over it', async () => {
    for (const [seed, blockBytes] of [
      [1, 1024],
      [2, 4096],
      [3, 2000],
      [4, 256],
    ]) {
      const rows = randomRows(seed, 300).filter((r) => r.value.length < 100);
      const table = await read(build(rows, { blockBytes }).bytes);
      let at = 0;
      table.blocks.forEach((block, i) => {
        const own = rows.slice(at, at + block.rowCount);
        // The plain encoder of the tests makes the same bytes.
        expect(toHex(block.bytes)).toBe(toHex(encodeVersion2(own)));
        if (block.rowCount > 1) expect(block.bytes.length).toBeLessThanOrEqual(blockBytes);
        at += block.rowCount;
        if (i + 1 < table.blocks.length) {
          expect(encodeVersion2(rows.slice(at - block.rowCount, at + 1)).length).toBeGreaterThan(blockBytes);
        }
      });
      expect(at).toBe(rows.length);
    }
  });

  it('take a row that fits to the byte', () => {
    // 4 + 5 + 9 bytes of row, 2 of restart, 2 of count: 2 rows of 18 and 17 bytes are 39 bytes; the limit is 64.
    const first = sampleRow('a', 1, { value: new Uint8Array(10) });
    const fitting = sampleRow('b', 1, { value: new Uint8Array(24) });
    const larger = sampleRow('b', 1, { value: new Uint8Array(25) });
    expect(encodeVersion2([first, fitting]).length).toBe(64);
    expect(build([first, fitting], { blockBytes: 64 }).facts.rows.blockRows).toEqual([2]);
    expect(build([first, larger], { blockBytes: 64 }).facts.rows.blockRows).toEqual([1, 1]);
  });

  it.each([127, 128, 16_383, 16_384])('take rows with keys or values of %i bytes that fit to the byte', (length) => {
    const long = new Uint8Array(length).fill(0x62);
    for (const second of [sampleRow('b', 1, { value: long }), sampleRow(long, 1)]) {
      const rows = [sampleRow('a', 1), second];
      const whole = encodeVersion2(rows).length;
      expect(build(rows, { blockBytes: whole }).facts.rows.blockRows).toEqual([2]);
      expect(build(rows, { blockBytes: whole - 1 }).facts.rows.blockRows).toEqual([1, 1]);
    }
  });

  it('count the offset of a row that would begin a restart interval', () => {
    const rows = Array.from({ length: 17 }, (_, i) => sampleRow(String.fromCharCode(97 + i), 1, { value: utf8('v') }));
    const whole = encodeVersion2(rows).length;
    expect(build(rows, { blockBytes: whole }).facts.rows.blockRows).toEqual([17]);
    expect(build(rows, { blockBytes: whole - 1 }).facts.rows.blockRows).toEqual([16, 1]);
  });

  it('have separators between the last key before and the first key', async () => {
    const rows = randomRows(31, 400);
    const table = await read(build(rows, { blockBytes: 256 }).bytes);
    expect(table.index.firstKey(0).length).toBe(0);
    let at = 0;
    for (let i = 0; i < table.blocks.length; i++) {
      if (i > 0) {
        const separator = table.index.firstKey(i);
        const [before, first] = [rows[at - 1].key, rows[at].key];
        expect(compareBytes(before, separator)).toBeLessThanOrEqual(0);
        expect(compareBytes(separator, first)).toBeLessThanOrEqual(0);
        let common = 0;
        while (common < before.length && before[common] === first[common]) common++;
        expect(separator).toEqual(first.slice(0, compareBytes(before, first) === 0 ? first.length : common + 1));
      }
      at += table.blocks[i].rowCount;
    }
  });

  it.each([
    ['key000024', 'key000025', 'key000025'],
    ['key000089', 'key000090', 'key00009'],
    ['ab', 'abc', 'abc'],
  ])('between %s and %s have the separator %s', async (before, first, separator) => {
    const value = new Uint8Array(50);
    const table = await read(
      build([sampleRow(before, 1, { value }), sampleRow(first, 1, { value })], { blockBytes: 64 }).bytes,
    );
    expect(table.index.firstKey(1)).toEqual(utf8(separator));
  });
});

describe('stats and facts', () => {
  it('count every row by kind, in all and per block', async () => {
    const rows = randomRows(41, 300);
    const { bytes, facts } = build(rows);
    const { stats, blocks } = await read(bytes);
    const deletes = rows.filter((r) => (r.flags & FLAG_TOMBSTONE) !== 0).length;
    const merges = rows.filter((r) => (r.flags & FLAG_MERGE) !== 0).length;
    const puts = rows.length - deletes - merges;
    expect(stats).toMatchObject({
      puts,
      deletes,
      merges,
      rawKeyBytes: rows.reduce((n, r) => n + r.key.length, 0),
      rawValueBytes: rows.reduce((n, r) => n + r.value.length, 0),
    });
    expect(facts).toMatchObject({ puts, deletes, merges, rowCount: 300 });
    const expiring = rows.filter(({ flags }) => (flags & FLAG_EXPIRE) !== 0 && (flags & FLAG_TOMBSTONE) === 0);
    expect(expiring.length).toBeGreaterThan(50);
    const { buckets } = facts.expiry;
    expect(buckets.reduce((sum, b) => sum + b.bytes, 0)).toBe(
      expiring.reduce((sum, { key, value }) => sum + key.length + value.length, 0),
    );
    expect(buckets.at(-1)!.byMs).toBe(Math.max(...expiring.map((r) => r.expireTs)));
    expect(facts.minSeq).toBe(Math.min(...rows.map((r) => r.seq)));
    expect(facts.maxSeq).toBe(Math.max(...rows.map((r) => r.seq)));
    expect(facts.maxCreateTs).toBe(Math.max(...rows.map((r) => r.createTs)));
    let at = 0;
    stats?.blocks?.forEach(([blockPuts, blockDeletes, blockMerges], i) => {
      const own = rows.slice(at, at + blocks[i].rowCount);
      expect(blockDeletes).toBe(own.filter((r) => (r.flags & FLAG_TOMBSTONE) !== 0).length);
      expect(blockMerges).toBe(own.filter((r) => (r.flags & FLAG_MERGE) !== 0).length);
      expect(blockPuts + blockDeletes + blockMerges).toBe(own.length);
      at += own.length;
    });
    expect(at).toBe(300);
  });

  it('of the log do not say when rows expire', () => {
    const row = sampleRow('k', 1, { value: utf8('v'), flags: FLAG_EXPIRE, expireTs: 9 });
    expect(build([row], { tableType: 'wal' }).facts.expiry.buckets).toEqual([]);
    expect(build([row]).facts.expiry.buckets).toEqual([{ byMs: 9, bytes: 2 }]);
  });

  it('are known to the maker of the seal, with the final info block', async () => {
    const builder = builderOf({ rowsPerCheck: 2 });
    for (const row of randomRows(42, 30)) addRow(builder, row);
    let seen: unknown;
    const { bytes, info, facts } = builder.finish((f) => {
      seen = f;
      return utf8('the seal');
    });
    expect(seen).toBe(facts);
    expect(facts.info).toBe(info);
    const table = await read(bytes);
    expect(table.info).toEqual(info);
    expect(table.seal).toEqual(utf8('the seal'));
  });
});

describe('the filter', () => {
  const rows = randomRows(51, 200);

  it.each(['legacy', 'composite'] as const)('in %s form contains every key', async (form) => {
    const { bytes } = build(rows, { filter: { form, bitsPerKey: 10, minKeys: 200 } });
    const { filter, info } = await read(bytes);
    expect(info.filterForm).toBe(form);
    for (const { key } of rows) {
      sipHash13(key, 0, key.length);
      expect(filter?.mayContain(sipLow, sipHigh)).toBe(true);
    }
    // One hash per row, not per key.
    expect(filter?.bits.length).toBe(250);
  });

  it('is left out below the least number of rows, and in WAL objects', async () => {
    const filter = { form: 'composite', bitsPerKey: 10, minKeys: 201 } as const;
    const small = build(rows, { filter });
    expect(small.info).toMatchObject({ filterLength: 0, filterForm: 'composite' });
    expect(small.info.filterOffset).toBe(small.info.indexOffset);
    const wal = build([sampleRow('a', 1)], { tableType: 'wal', filter: { ...filter, minKeys: 0 } });
    expect(wal.info).toMatchObject({ filterLength: 0, filterForm: 'composite', statsLength: 0, statsOffset: 0 });
  });

  it('is built in steps of bounded work', async () => {
    const builder = builderOf({ filter: { form: 'legacy', bitsPerKey: 10, minKeys: 0 } });
    const key = new Uint8Array(4);
    for (let i = 0; i < 50_000; i++) {
      new DataView(key.buffer).setUint32(0, i);
      builder.add(key, 0, 4, key, 0, 0, 1, 0, NO_TS, NO_TS);
    }
    let steps = 0;
    while (!builder.finishStep()) steps++;
    expect(steps).toBeGreaterThan(40);
    expect(steps).toBeLessThan(70);
    expect(builder.finishStep()).toBe(true);
    const stepped = builder.finish().bytes;
    const { filter } = await read(stepped);
    let missing = 0;
    for (let i = 0; i < 50_000; i++) {
      new DataView(key.buffer).setUint32(0, i);
      sipHash13(key, 0, 4);
      if (!filter?.mayContain(sipLow, sipHigh)) missing++;
    }
    expect(missing).toBe(0);
    const again = builderOf({ filter: { form: 'legacy', bitsPerKey: 10, minKeys: 0 } });
    for (let i = 0; i < 50_000; i++) {
      new DataView(key.buffer).setUint32(0, i);
      again.add(key, 0, 4, key, 0, 0, 1, 0, NO_TS, NO_TS);
    }
    expect(Buffer.compare(again.finish().bytes, stepped)).toBe(0);
  });
});

describe('a WAL object', () => {
  it('keeps the order of arrival and is indexed by sequence number', async () => {
    const rows = Array.from({ length: 200 }, (_, i) => sampleRow(`key-${(i * 37) % 200}`, 1 + (i >> 1)));
    const { bytes, info, facts } = build(rows, { tableType: 'wal' });
    const table = await read(bytes);
    expect(table.rows).toEqual(rows.map(line));
    expect(table.stats).toBeUndefined();
    expect(info).toMatchObject({
      tableType: 'wal',
      lastEntry: undefined,
      firstEntry: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1),
    });
    expect(facts).toMatchObject({ batches: 100, minSeq: 1, maxSeq: 100 });
    let at = 0;
    table.blocks.forEach((block, i) => {
      const key = table.index.firstKey(i);
      expect(new DataView(key.buffer, key.byteOffset, 8).getBigUint64(0)).toBe(BigInt(rows[at].seq));
      at += block.rowCount;
    });
    expect(table.blocks.length).toBeGreaterThan(4);
  });

  it('may have several rows of one batch and equal keys in different batches', async () => {
    const rows = [sampleRow('b', 1), sampleRow('c', 1), sampleRow('b', 2), sampleRow('b', 3)];
    expect((await read(build(rows, { tableType: 'wal' }).bytes)).rows).toEqual(rows.map(line));
  });
});

describe('misuse', () => {
  const refused = (run: () => void) => expect(run).toThrow(InternalError);

  it.each([
    ['a smaller key', sampleRow('l', 1)],
    ['a prefix of the last key', sampleRow('m', 1)],
    ['the same version again', sampleRow('mm', 5)],
    ['a newer version of the last key', sampleRow('mm', 6)],
    ['a key of 65,536 bytes', sampleRow(new Uint8Array(65_536).fill(255), 1)],
    ['a sequence number beyond 2^53 - 1', sampleRow('z', 2 ** 53)],
    ['unknown flags', sampleRow('z', 1, { flags: 16 })],
    ['a tombstone that is a merge operand', sampleRow('z', 1, { flags: FLAG_TOMBSTONE | FLAG_MERGE })],
  ])('of add with %s is refused', (_what, row) => {
    const builder = builderOf();
    addRow(builder, sampleRow('mm', 5));
    refused(() => addRow(builder, row));
  });

  it('of a WAL object with an empty key is refused', () => {
    refused(() => addRow(builderOf({ tableType: 'wal' }), sampleRow(new Uint8Array(0), 1)));
  });

  it('of a WAL object with a smaller sequence number is refused', () => {
    const builder = builderOf({ tableType: 'wal' });
    addRow(builder, sampleRow('a', 5));
    addRow(builder, sampleRow('a', 5));
    refused(() => addRow(builder, sampleRow('z', 4)));
  });

  it('after the end is refused', () => {
    const builder = builderOf();
    addRow(builder, sampleRow('a', 5));
    builder.finishStep();
    refused(() => addRow(builder, sampleRow('b', 5)));
    builder.finish();
    refused(() => builder.finish());
  });

  it.each([0, 65_537])('of a block size of %i bytes is refused', (blockBytes) => {
    refused(() => builderOf({ blockBytes }));
  });
});

describe('draining', () => {
  const SEAL = utf8('a seal of some length');
  const forms: [string, Partial<TableBuilderOptions>][] = [
    ['plain', {}],
    ['with a legacy filter', { filter: { form: 'legacy', bitsPerKey: 10, minKeys: 0 } }],
    [
      'with a composite filter and checks',
      { rowsPerCheck: 4, filter: { form: 'composite', bitsPerKey: 16, minKeys: 0 } },
    ],
    [
      'with a filter of an exact number of rows',
      { capacityRows: 400, filter: { form: 'legacy', bitsPerKey: 10, minKeys: 0 } },
    ],
    ['with a check for each row', { rowsPerCheck: 1, capacityRows: 7 }],
    ['aligned', { isAligned: true, rowsPerCheck: 8 }],
    ['of the log', { tableType: 'wal', rowsPerCheck: 1 }],
  ];
  const codecs = ['none', 'snappy', 'zlib', 'lz4', 'zstd'] as const;
  const all = forms.flatMap(([what, options]) =>
    codecs.filter((codec) => options.isAligned !== true || codec === 'none').map((codec) => ({ what, options, codec })),
  );

  /** Drains after every so many rows, and after each step of the end if `atEnd`. */
  function drained(rows: readonly SampleRow[], options: Partial<TableBuilderOptions>, every: number, atEnd: boolean) {
    const builder = builderOf({ capacityBytes: 3000, ...options });
    const parts: Uint8Array[] = [];
    const drain = () => {
      const { drainableBytes, storedBytes } = builder;
      const part = builder.drain();
      expect(part.byteOffset).toBe(0);
      expect([part.length, builder.drainableBytes, builder.storedBytes]).toEqual([drainableBytes, 0, storedBytes]);
      parts.push(part);
    };
    rows.forEach((row, i) => {
      addRow(builder, row);
      if (i % every === every - 1) drain();
    });
    while (!builder.finishStep()) if (atEnd) drain();
    if (atEnd) drain();
    const built = builder.finish(() => SEAL);
    return {
      built,
      bytes: concatBytes(...parts, built.bytes),
      partCount: parts.filter((part) => part.length > 0).length,
    };
  }

  it.each(all)('a table stored with $codec, $what, changes no byte of it', async ({ options, codec }) => {
    const sorted = randomRows(71, 200);
    const rows = options.tableType === 'wal' ? sorted.map((row, i) => ({ ...row, seq: i + 1 })) : sorted;
    const form = { ...options, codec: await loadCodec(codec) };
    const whole = build(rows, form, SEAL);
    for (const every of [3, 70]) {
      for (const atEnd of [false, true]) {
        const { built, bytes, partCount } = drained(rows, form, every, atEnd);
        expect(Buffer.compare(bytes, whole.bytes)).toBe(0);
        expect({ ...built, bytes: undefined }).toEqual({ ...whole, bytes: undefined });
        expect(built.sizeBytes).toBe(whole.bytes.length);
        expect(partCount).toBeGreaterThan(1);
      }
    }
  });

  it('hands out nothing of an open block, and nothing twice', () => {
    const builder = builderOf();
    expect(builder.drain().length).toBe(0);
    addRow(builder, sampleRow('a', 1));
    expect([builder.drainableBytes, builder.drain().length]).toEqual([0, 0]);
    addRow(builder, sampleRow('b', 1, { value: new Uint8Array(2000) }));
    expect(builder.drain().length).toBeGreaterThan(0);
    expect(builder.drain().length).toBe(0);
    builder.finish();
    expect(() => builder.drain()).toThrow(InternalError);
  });

  it('leaves what was handed out alone', () => {
    const builder = builderOf({ capacityBytes: 5000 });
    const rows = randomRows(72, 200);
    const parts: [Uint8Array, string][] = [];
    for (const row of rows) {
      addRow(builder, row);
      const part = builder.drain();
      parts.push([part, toHex(part)]);
    }
    builder.finish();
    for (const [part, hex] of parts) expect(toHex(part)).toBe(hex);
  });
});

describe('size so far', () => {
  it('grows with every row and ends close to the size of the object', () => {
    const builder = builderOf({ capacityBytes: 10_000 });
    let last = 0;
    for (const row of randomRows(61, 100)) {
      addRow(builder, row);
      expect(builder.storedBytes).toBeGreaterThan(last);
      last = builder.storedBytes;
    }
    expect(builder.rowCount).toBe(100);
    expect(builder.finish().bytes.length).toBeGreaterThan(last);
  });
});
