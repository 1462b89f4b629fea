/** Walking and looking into blocks of both versions, against plain encoders and sorted arrays of rows. */
import { describe, expect, it } from 'vitest';
import { compareBytes, toHex } from '../../../src/common/bytes.ts';
import { nextInt, SeededRandom } from '../../../src/common/random.ts';
import { type Block, decodeBlock } from '../../../src/format/block.ts';
import { ABSENT, BlockCursor, FOUND, FoundRow, findInBlock, UNDECIDED } from '../../../src/format/block-cursor.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE, NO_TS } from '../../../src/format/row-flags.ts';
import { encodeVersion1, encodeVersion2, randomRows, type SampleRow, sampleRow, utf8 } from './block-samples.ts';

/** The ways to store the same rows that a reader meets. */
const FORMS: [name: string, encode: (rows: readonly SampleRow[]) => Block][] = [
  ['version 1', (rows) => decodeBlock(encodeVersion1(rows), 1)],
  ['version 2', (rows) => decodeBlock(encodeVersion2(rows), 2)],
  [
    'version 2, one restart',
    (rows) =>
      decodeBlock(
        encodeVersion2(rows, (i) => i === 0),
        2,
      ),
  ],
  [
    'version 2, all restarts',
    (rows) =>
      decodeBlock(
        encodeVersion2(rows, () => true),
        2,
      ),
  ],
  [
    'version 2, little sharing',
    (rows) =>
      decodeBlock(
        encodeVersion2(
          rows,
          (i) => i % 7 === 0,
          (n) => Math.floor(n / 3),
        ),
        2,
      ),
  ],
];

/** One line per row: comparing those is much faster than comparing byte arrays. */
function line({ key, value, seq, flags, createTs, expireTs }: SampleRow): string {
  return `${toHex(key)} ${toHex(value)} ${seq} ${flags} ${createTs} ${expireTs}`;
}

function current(cursor: BlockCursor): string {
  return line(currentRow(cursor));
}

function currentRow(cursor: BlockCursor): SampleRow {
  const { block, valueStart, valueLength, seq, flags, createTs, expireTs } = cursor;
  return {
    key: cursor.key.slice(0, cursor.keyLength),
    value: block.bytes.slice(valueStart, valueStart + valueLength),
    seq,
    flags,
    createTs,
    expireTs,
  };
}

function cursorOn(block: Block): BlockCursor {
  const cursor = new BlockCursor();
  cursor.attach(block);
  return cursor;
}

/** Targets around all keys: each key, what is just before and after it, the ends. */
function targetsFor(rows: readonly SampleRow[]): Uint8Array[] {
  const targets = [Uint8Array.of(0), Uint8Array.of(255, 255, 255, 255, 255, 255), utf8('a')];
  for (const { key } of rows) {
    targets.push(
      key,
      Uint8Array.of(...key, 0),
      key.slice(0, -1),
      key.map((b, i) => (i === key.length - 1 ? b ^ 1 : b)),
    );
  }
  return targets.filter((t) => t.length > 0);
}

/** Where a row starts, found from where its value is and how long its head must be. */
function rowOffset(block: Block, row: SampleRow): number {
  const cursor = cursorOn(block);
  let afterPrevious = 0;
  for (let on = cursor.first(); on; on = cursor.next()) {
    if (compareBytes(currentRow(cursor).key, row.key) === 0 && cursor.seq === row.seq) return afterPrevious;
    const times = (cursor.flags & FLAG_CREATE ? 8 : 0) + (cursor.flags & FLAG_EXPIRE ? 8 : 0);
    const end = cursor.valueStart + cursor.valueLength;
    // Version 1 stores seq, flags and times before the value.
    afterPrevious = block.formatVersion === 1 ? end : end + 9 + times;
  }
  return -1;
}

describe.each(FORMS)('BlockCursor over %s', (_name, encode) => {
  it('gives every row forward and backward', () => {
    for (let seed = 0; seed < 12; seed++) {
      const rows = randomRows(seed, 1 + seed * 9);
      const cursor = cursorOn(encode(rows));
      const forward: string[] = [];
      for (let on = cursor.first(); on; on = cursor.next()) forward.push(current(cursor));
      expect(forward).toEqual(rows.map(line));
      const backward: string[] = [];
      for (let on = cursor.last(); on; on = cursor.prev()) backward.push(current(cursor));
      expect(backward.reverse()).toEqual(rows.map(line));
    }
  });

  it('follows any walk to and fro', () => {
    const rows = randomRows(77, 90);
    const cursor = cursorOn(encode(rows));
    const random = new SeededRandom(5);
    let at = 40;
    cursor.first();
    for (let i = 0; i < at; i++) cursor.next();
    let forward = true;
    for (let step = 0; step < 1500; step++) {
      if (nextInt(random, 12) === 0) forward = !forward;
      if (at === 0) forward = true;
      if (at === rows.length - 1) forward = false;
      expect(forward ? cursor.next() : cursor.prev()).toBe(true);
      at += forward ? 1 : -1;
      expect(current(cursor)).toBe(line(rows[at]));
    }
  });

  it('seeks the first row at or after a key, and the last before it, and goes on from there', () => {
    for (const seed of [1, 2]) {
      const rows = randomRows(seed, 60);
      const cursor = cursorOn(encode(rows));
      for (const target of targetsFor(rows)) {
        const index = rows.findIndex((r) => compareBytes(r.key, target) >= 0);
        expect(cursor.seek(target)).toBe(index >= 0);
        if (index >= 0) expect(current(cursor)).toBe(line(rows[index]));
        if (index > 0) {
          expect(cursor.prev()).toBe(true);
          expect(current(cursor)).toBe(line(rows[index - 1]));
        }
        const before = (index < 0 ? rows.length : index) - 1;
        expect(cursor.seekBefore(target)).toBe(before >= 0);
        if (before < 0) continue;
        expect(current(cursor)).toBe(line(rows[before]));
        expect(cursor.next()).toBe(before + 1 < rows.length);
        if (before + 1 < rows.length) expect(current(cursor)).toBe(line(rows[before + 1]));
      }
    }
  });

  it('ends at both ends', () => {
    const cursor = cursorOn(encode(randomRows(4, 20)));
    cursor.last();
    expect(cursor.next()).toBe(false);
    expect(cursor.next()).toBe(false);
    cursor.first();
    expect(cursor.prev()).toBe(false);
    expect(cursor.prev()).toBe(false);
    expect(cursor.first()).toBe(true);
  });

  it('stands before the first row of a block it was given, also after use on another', () => {
    const rows = randomRows(5, 30);
    const cursor = cursorOn(encode(randomRows(6, 50)));
    cursor.last();
    cursor.prev();
    cursor.attach(encode(rows));
    expect(cursor.next()).toBe(true);
    expect(current(cursor)).toBe(line(rows[0]));
    cursor.attach(encode(rows));
    cursor.last();
    expect(cursor.prev()).toBe(true);
    expect(current(cursor)).toBe(line(rows[28]));
  });

  it('steps back into rows with longer keys than it has seen', () => {
    const long = (i: number) => sampleRow(`${'a'.repeat(400)}${String.fromCharCode(97 + i)}`, 1);
    const rows = [...Array.from({ length: 16 }, (_, i) => long(i)), sampleRow('b', 1)];
    const cursor = cursorOn(encode(rows));
    cursor.last();
    for (let i = 15; i >= 0; i--) {
      expect(cursor.prev()).toBe(true);
      expect(current(cursor)).toBe(line(rows[i]));
    }
  });

  it('handles keys and values of all lengths', () => {
    const lengths = [1, 2, 127, 128, 129, 300, 16_383, 16_384, 20_000];
    const rows = lengths.map((n, i) =>
      sampleRow(new Uint8Array(n).fill(1), 1, { value: new Uint8Array(lengths[lengths.length - 1 - i]).fill(i) }),
    );
    // Offsets are 16 bits wide, so long rows come one or two to a block.
    for (let i = 0; i + 1 < rows.length; i++) {
      const pair = [rows[i], rows[i + 1]];
      const cursor = cursorOn(encode(pair));
      cursor.first();
      expect(current(cursor)).toBe(line(pair[0]));
      cursor.next();
      expect(current(cursor)).toBe(line(pair[1]));
      cursor.prev();
      expect(current(cursor)).toBe(line(pair[0]));
    }
  });

  it('finds the newest version of a key that is old enough', () => {
    const out = new FoundRow();
    for (const seed of [11, 12]) {
      const rows = randomRows(seed, 60, 40);
      const block = encode(rows);
      const rowOffsets = rows.map((row) => rowOffset(block, row));
      const base = 2 ** 40;
      for (const target of targetsFor(rows)) {
        for (const maxSeq of [base + 11, base + 25, base + 120, Number.MAX_SAFE_INTEGER]) {
          const result = findInBlock(block, target, maxSeq, out);
          const expected = rows.find((r) => compareBytes(r.key, target) === 0 && r.seq <= maxSeq);
          if (expected !== undefined) {
            expect(result).toBe(FOUND);
            const value = out.bytes.subarray(out.valueStart, out.valueStart + out.valueLength);
            const found = [out.seq, out.flags, out.createTs, out.expireTs, toHex(value)].join();
            const { seq, flags, createTs, expireTs } = expected;
            expect(found).toBe([seq, flags, createTs, expireTs, toHex(expected.value)].join());
            expect(out.rowOffset).toBe(rowOffsets[rows.indexOf(expected)]);
          } else {
            const greaterFollows = rows.some((r) => compareBytes(r.key, target) > 0);
            expect(result).toBe(greaterFollows ? ABSENT : UNDECIDED);
          }
        }
      }
    }
  });
});

describe('timestamps and sequence numbers', () => {
  it('keep their values over the whole range of doubles', () => {
    const times = [0, 1, -1, 1_795_168_418_640, -(2 ** 53), 2 ** 53 - 1, 2 ** 62, -(2 ** 63)];
    for (const time of times) {
      const row = sampleRow('k', Number.MAX_SAFE_INTEGER, {
        flags: FLAG_CREATE | FLAG_EXPIRE,
        createTs: time,
        expireTs: times[0] - time,
      });
      for (const [, encode] of FORMS) {
        const cursor = cursorOn(encode([row]));
        cursor.first();
        expect(cursor.seq).toBe(Number.MAX_SAFE_INTEGER);
        expect(cursor.createTs).toBe(time);
      }
    }
  });

  it('have an absent value that is less than every time', () => {
    expect(NO_TS).toBeLessThan(-(2 ** 63));
  });

  it('are NO_TS where none are stored, also after a row that had them', () => {
    const rows = [
      sampleRow('a', 1, { flags: FLAG_CREATE | FLAG_EXPIRE, createTs: 5, expireTs: 6 }),
      sampleRow('b', 1, { flags: FLAG_TOMBSTONE, value: new Uint8Array(0) }),
    ];
    const out = new FoundRow();
    for (const [, encode] of FORMS) {
      const block = encode(rows);
      const cursor = cursorOn(block);
      cursor.last();
      expect([cursor.createTs, cursor.expireTs]).toEqual([NO_TS, NO_TS]);
      findInBlock(block, utf8('a'), 9, out);
      findInBlock(block, utf8('b'), 9, out);
      expect([out.createTs, out.expireTs, out.valueLength]).toEqual([NO_TS, NO_TS, 0]);
    }
  });
});

describe('a long restart interval', () => {
  it('is walked backward without growing what is kept per row', () => {
    const rows = Array.from({ length: 3000 }, (_, i) => sampleRow(`key${String(i).padStart(6, '0')}`, 1));
    const cursor = cursorOn(FORMS[2][1](rows));
    let n = rows.length;
    for (let on = cursor.last(); on; on = cursor.prev()) expect(cursor.key[8]).toBe(rows[--n].key[8]);
    expect(n).toBe(0);
  });
});
