/** One input of a merge: blocks of both versions, long numbers and keys, what is reported of bad ones, and memory of all kinds. */
import { describe, expect, it } from 'vitest';
import { concatBytes, toHex } from '../../../src/common/bytes.ts';
import { BAD, type BlockStretch, type CursorTable, StretchCursor } from '../../../src/compaction/stretch-cursor.ts';
import { loadCodec, NO_CODEC } from '../../../src/format/codecs.ts';
import { frameUnit } from '../../../src/format/framing.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE } from '../../../src/format/row-flags.ts';
import { BLOCKED, END, ROW } from '../../../src/lsm/rows/row-cursor.ts';
import type { ModelRow } from '../../support/version-model.ts';
import {
  encodeVersion1,
  encodeVersion2,
  randomRows,
  type SampleRow,
  sampleRow,
  utf8,
} from '../format/block-samples.ts';

const TABLE: CursorTable = { codec: NO_CODEC, formatVersion: 2, range: undefined };

function stretchOf(payloads: readonly Uint8Array[], more: Partial<BlockStretch> = {}, codec = NO_CODEC): BlockStretch {
  const units = payloads.map((payload) => frameUnit(payload, codec));
  let at = 0;
  const places = units.flatMap(({ length }) => [at, (at += length)]);
  return { table: 0, block: 0, bytes: concatBytes(...units), places: Uint32Array.from(places), ...more };
}

function cursorOver(stretches: readonly BlockStretch[], table: CursorTable = TABLE, prefix = ''): StretchCursor {
  const cursor = new StretchCursor(3, [table, table], utf8(prefix));
  for (const stretch of stretches) cursor.feed(stretch);
  cursor.end();
  return cursor;
}

/** As text: of arrays of 65,535 bytes a comparison takes long. */
function rowsOf(cursor: StretchCursor): string[] {
  const rows: string[] = [];
  while (cursor.next() === ROW) {
    const { key, keyLength, bytes, valueStart, valueLength, seq, flags, createTs, expireTs } = cursor;
    expect(bytes.constructor).toBe(Uint8Array);
    const value = bytes.slice(valueStart, valueStart + valueLength);
    rows.push(line({ key: key.slice(0, keyLength), value, seq, flags, createTs, expireTs }));
  }
  return rows;
}

function line({ key, value, seq, flags, createTs, expireTs }: ModelRow): string {
  return `${toHex(key)} ${toHex(value)} ${seq} ${flags} ${createTs} ${expireTs}`;
}

describe('rows', () => {
  const long = new Uint8Array(70_000).fill(0x76);
  const odd = [
    sampleRow('a', Number.MAX_SAFE_INTEGER, { value: utf8('') }),
    sampleRow('a', 0, { flags: FLAG_TOMBSTONE, value: utf8('') }),
    sampleRow('ab', 2 ** 32, { flags: FLAG_MERGE | FLAG_CREATE, createTs: -1 }),
    sampleRow('ab', 7, { flags: FLAG_EXPIRE | FLAG_CREATE, createTs: -(2 ** 40), expireTs: 2 ** 45 }),
    sampleRow(new Uint8Array(300).fill(0x62), 5, { value: utf8('b'.repeat(200)) }),
    sampleRow(concatBytes(new Uint8Array(300).fill(0x62), utf8('x')), 4),
    sampleRow(new Uint8Array(65_535).fill(0x63), 3, { value: long }),
  ];

  it.each([
    ['2, as it is written', 2, encodeVersion2],
    ['2 without restarts', 2, (rows: readonly SampleRow[]) => encodeVersion2(rows, (i) => i === 0)],
    [
      '2 that shares less than it could',
      2,
      (rows: readonly SampleRow[]) => encodeVersion2(rows, undefined, (n) => n >> 1),
    ],
    ['1', 1, encodeVersion1],
  ] as const)('of blocks of version %s come as they are', (_, formatVersion, encode) => {
    for (const rows of [odd, ...[1, 2, 3].map((seed) => randomRows(seed, 60))]) {
      const blocks = [rows.slice(0, 3), rows.slice(3)].map((part) => encode(part));
      const cursor = cursorOver([stretchOf(blocks)], { ...TABLE, formatVersion });
      expect(rowsOf(cursor)).toEqual(rows.map(line));
      expect([cursor.next(), cursor.next(), cursor.bad]).toEqual([END, END, undefined]);
    }
  });

  it('of compressed blocks, of several stretches and tables, and of Buffers come alike', async () => {
    const rows = randomRows(9, 90);
    const parts = [0, 30, 60].map((at) => encodeVersion2(rows.slice(at, at + 30)));
    const zstd = await loadCodec('zstd');
    for (const codec of [NO_CODEC, zstd]) {
      const stretches = [
        stretchOf([parts[0]], { block: 4 }, codec),
        stretchOf([parts[1]], { block: 5 }, codec),
        stretchOf([parts[2]], { table: 1 }, codec),
      ];
      const buffers = stretches.map((s) => ({ ...s, bytes: Buffer.from(s.bytes) }));
      for (const given of [stretches, buffers]) {
        const cursor = cursorOver(given, { ...TABLE, codec });
        expect(rowsOf(cursor)).toEqual(rows.map(line));
        expect(cursor.bytesIn).toBe(stretches.reduce((sum, { bytes }) => sum + bytes.length, 0));
      }
    }
  });

  it('are waited for, stretch by stretch', () => {
    const cursor = new StretchCursor(0, [TABLE], utf8(''));
    expect([cursor.isStarving, cursor.next(), cursor.next()]).toEqual([true, BLOCKED, BLOCKED]);
    cursor.feed(stretchOf([encodeVersion2([sampleRow('a', 1)])]));
    expect([cursor.isStarving, cursor.next(), cursor.isStarving, cursor.next()]).toEqual([false, ROW, true, BLOCKED]);
    cursor.feed(stretchOf([encodeVersion2([sampleRow('b', 1)])], { block: 1 }));
    expect([cursor.next(), cursor.next()]).toEqual([ROW, BLOCKED]);
    cursor.end();
    expect([cursor.next(), cursor.isStarving]).toEqual([END, false]);
  });

  it('have eight bytes after the prefix of all keys as numbers in the order of the bytes', () => {
    const keys = ['p', 'p\u0000', 'p\u0001', 'p12345678', 'p12345679', 'p\u007f', 'q'];
    const ranks = keys.map((key) => {
      const cursor = cursorOver([stretchOf([encodeVersion2([sampleRow(key, 1)])])]);
      cursor.next();
      return [cursor.high, cursor.low];
    });
    for (let i = 1; i < ranks.length; i++) {
      const [[high, low], [nextHigh, nextLow]] = [ranks[i - 1], ranks[i]];
      expect(high < nextHigh || (high === nextHigh && low <= nextLow)).toBe(true);
    }
    const afterPrefix = cursorOver([stretchOf([encodeVersion2([sampleRow('p12345678', 1)])])], TABLE, 'p');
    afterPrefix.next();
    expect([afterPrefix.high, afterPrefix.low]).toEqual([0x31323334 ^ 0x80000000, 0x35363738 ^ 0x80000000]);
  });
});

describe('a bad block', () => {
  const good = encodeVersion2([sampleRow('a', 2), sampleRow('b', 1)]);
  const next = encodeVersion2([sampleRow('c', 1)]);
  const keysOf = (cursor: StretchCursor) =>
    rowsOf(cursor).map((row) => Buffer.from(row.split(' ')[0], 'hex').toString());

  it('is passed once its rows come from elsewhere, and the next one is read as before', () => {
    const stretch = stretchOf([good, good, next], { block: 7 });
    stretch.bytes[stretch.places[2]] ^= 1;
    const cursor = cursorOver([stretch]);
    expect(keysOf(cursor)).toEqual(['a', 'b']);
    expect(cursor.next()).toBe(BAD);
    expect(cursor.bad).toEqual({
      input: 3,
      table: 0,
      block: 8,
      isBegun: false,
      code: 'BAD_CHECKSUM',
      message: 'The checksum of the block does not hold.',
      isTooNew: false,
    });
    expect(cursor.next()).toBe(BAD);
    const healed = encodeVersion1([sampleRow('b', 9), sampleRow('bb', 8)]);
    cursor.heal({ table: 0, block: 8, payload: healed, formatVersion: 1 });
    expect(keysOf(cursor)).toEqual(['b', 'bb', 'c']);
  });

  it.each([
    ['without a row', Uint8Array.of(0, 0)],
    ['of one byte', Uint8Array.of(1)],
    ['whose list is longer than it is', Uint8Array.of(1, 2, 3, 0, 9)],
    ['whose first row shares a prefix', Uint8Array.of(1, 1, 0, 97, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)],
    ['with an empty key', Uint8Array.of(0, 0, 1, 97, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)],
    ['whose row is cut', Uint8Array.of(0, 1, 9, 97, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)],
    ['with a number that does not end', Uint8Array.of(...Array(16).fill(0xff), 0, 0, 0, 1)],
    ['with both kinds', Uint8Array.of(0, 1, 0, 97, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 1)],
    ['whose time is cut', Uint8Array.of(0, 1, 0, 97, 0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1)],
    [
      'with a value beyond its memory',
      Uint8Array.of(0, 1, 0xff, 0xff, 0xff, 0x7f, 97, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1),
    ],
    ['with a key of 64 KiB', Uint8Array.of(0, 0x80, 0x80, 4, 0, 97, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)],
  ])('%s is one, whatever its checksum says', (_, payload) => {
    const cursor = cursorOver([stretchOf([good, payload])]);
    expect(keysOf(cursor)).toEqual(['a', 'b']);
    expect([cursor.next(), cursor.bad?.code, cursor.bad?.isBegun]).toEqual([BAD, 'MALFORMED', false]);
  });

  it.each([
    ['unknown flags', Uint8Array.of(0, 1, 0, 97, 0, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0, 0, 1)],
    ['a number beyond 2^53', Uint8Array.of(0, 1, 0, 97, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
  ])('with %s is one of a newer program', (_, payload) => {
    const cursor = cursorOver([stretchOf([payload])]);
    expect([cursor.next(), cursor.bad?.code, cursor.bad?.isTooNew]).toEqual([BAD, 'FORMAT_TOO_NEW', true]);
  });

  it('of a newer program is one of it also compressed, or healed', async () => {
    const zlib = await loadCodec('zlib');
    const first = sampleRow('a', 2, { value: utf8('x'.repeat(500)) });
    const payload = encodeVersion2([first, sampleRow('b', 1, { flags: 16 })]);
    const cursor = cursorOver([stretchOf([payload], {}, zlib)], { ...TABLE, codec: zlib });
    expect([cursor.next(), cursor.next(), cursor.bad?.code, cursor.bad?.isBegun]).toEqual([
      ROW,
      BAD,
      'FORMAT_TOO_NEW',
      true,
    ]);
    const stretch = stretchOf([next]);
    stretch.bytes[0] ^= 1;
    const healing = cursorOver([stretch]);
    expect(healing.next()).toBe(BAD);
    healing.heal({ table: 0, block: 0, payload, formatVersion: 2 });
    expect([healing.next(), healing.next(), healing.bad?.code]).toEqual([ROW, BAD, 'FORMAT_TOO_NEW']);
  });

  it('that does not decompress is one', async () => {
    const zstd = await loadCodec('zstd');
    const cursor = cursorOver([stretchOf([good])], { ...TABLE, codec: zstd });
    expect([cursor.next(), cursor.bad?.code]).toEqual([BAD, 'DECOMPRESS_FAILED']);
  });

  it('with a key that does not begin as all do is one, also where that is clipped', () => {
    const payload = encodeVersion2([sampleRow('pa', 2), sampleRow('q', 1)]);
    const cursor = cursorOver([stretchOf([payload])], TABLE, 'p');
    expect([cursor.next(), cursor.next(), cursor.bad?.code]).toEqual([ROW, BAD, 'OUT_OF_ORDER']);
    const short = cursorOver([stretchOf([encodeVersion2([sampleRow('p', 2)])])], TABLE, 'pp');
    expect([short.next(), short.bad?.code]).toEqual([BAD, 'OUT_OF_ORDER']);
    const end = { kind: 'included' as const, key: utf8('pz') };
    const clipped = { ...TABLE, range: { start: { kind: 'unbounded' as const }, end } };
    expect(keysOf(cursorOver([stretchOf([payload])], clipped, 'p'))).toEqual(['pa']);
    const foreign = cursorOver([stretchOf([encodeVersion2([sampleRow('o', 2)])])], clipped, 'p');
    expect([foreign.next(), foreign.bad?.code]).toEqual([BAD, 'OUT_OF_ORDER']);
  });
});
