/** Decoding blocks of both versions: what is accepted, what is damage, what is left to a newer program. */
import { describe, expect, it } from 'vitest';
import { concatBytes, fromHex } from '../../../src/common/bytes.ts';
import { CorruptionError, IncompatibleError } from '../../../src/common/errors.ts';
import { checkBlockOrder, decodeBlock, restartOffset } from '../../../src/format/block.ts';
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE } from '../../../src/format/row-flags.ts';
import type { FormatVersion } from '../../../src/format/table-info.ts';
import { encodeVersion1, encodeVersion2, randomRows, sampleRow } from './block-samples.ts';

// A row of version 2: shared, unshared, value length, suffix, value, seq, flags.
const ROW_A = '00 01 01 61 76 0000000000000001 00';
/** Shares nothing with the row before; as the second row of a block it is not listed. */
const ROW_B = '00 01 01 62 76 0000000000000001 00';

function hex(...parts: string[]): Uint8Array {
  return fromHex(parts.join('').replaceAll(' ', ''));
}

function errorOf(payload: Uint8Array, version: FormatVersion = 2): Error {
  try {
    decodeBlock(payload, version);
  } catch (error) {
    return error as Error;
  }
  throw new Error('the block was accepted');
}

function expectMalformed(payload: Uint8Array, text: RegExp, version: FormatVersion = 2): void {
  const error = errorOf(payload, version);
  expect(error).toBeInstanceOf(CorruptionError);
  expect((error as CorruptionError).code).toBe('MALFORMED');
  expect((error as CorruptionError).findings[0].at).toEqual({ unit: 'block', offset: 0, length: payload.length });
  expect(error.message).toMatch(text);
}

function expectTooNew(payload: Uint8Array, version: FormatVersion = 2): void {
  const error = errorOf(payload, version);
  expect(error).toBeInstanceOf(IncompatibleError);
  expect((error as IncompatibleError).code).toBe('FORMAT_TOO_NEW');
}

describe('decodeBlock, version 2', () => {
  it('gives the rows, the restarts and where the rows end', () => {
    const rows = randomRows(1, 40);
    const payload = encodeVersion2(rows);
    const block = decodeBlock(payload, 2);
    expect(block).toMatchObject({ formatVersion: 2, rowCount: 40, restartCount: 3 });
    expect(block.rowsEnd).toBe(payload.length - 8);
    expect(block.bytes).toBe(payload);
    expect(restartOffset(block, 0)).toBe(0);
    expect(restartOffset(block, 2)).toBe((payload[payload.length - 4] << 8) | payload[payload.length - 3]);
  });

  it('accepts any choice of restart rows and any sharing', () => {
    const rows = randomRows(2, 60);
    expect(
      decodeBlock(
        encodeVersion2(rows, (i) => i === 0),
        2,
      ).restartCount,
    ).toBe(1);
    expect(
      decodeBlock(
        encodeVersion2(rows, () => true),
        2,
      ).restartCount,
    ).toBe(60);
    expect(
      decodeBlock(
        encodeVersion2(
          rows,
          (i) => i % 5 === 0,
          (n) => n >> 1,
        ),
        2,
      ).rowCount,
    ).toBe(60);
  });

  it('accepts keys of 65,535 bytes, values of several varint bytes and rows that are not in order', () => {
    const long = sampleRow(new Uint8Array(65_535).fill(7), 1, { value: new Uint8Array(300_000) });
    expect(decodeBlock(encodeVersion2([long]), 2).rowCount).toBe(1);
    expect(decodeBlock(encodeVersion2([sampleRow('b', 1), sampleRow('a', 2)]), 2).rowCount).toBe(2);
  });

  it.each([
    ['an empty payload', '', /shorter than its trailer/],
    ['one byte', '00', /shorter than its trailer/],
    ['no offsets', `${ROW_A} 0000`, /no rows/],
    ['more offsets than there is room for', `${ROW_A} 0000 7fff`, /no room for 32767 offsets/],
    ['only offsets', '0000 0001', /no room/],
    ['a first offset other than 0', `${ROW_A}${ROW_B} 000e 0001`, /first listed row/],
    ['an offset inside a row', `${ROW_A}${ROW_B} 0000 0005 0002`, /not the start of a row/],
    ['an offset after the rows', `${ROW_A}${ROW_B} 0000 0100 0002`, /not the start of a row/],
    ['descending offsets', `${ROW_A}${ROW_B} 0000 000e 0000 0003`, /not the start of a row/],
    ['an offset twice', `${ROW_A}${ROW_B} 0000 0000 0002`, /not the start of a row/],
    ['a first row that shares', `01 01 01 61 76 0000000000000001 00 0000 0001`, /a listed row shares/],
    ['a restart row that shares', `${ROW_A} 01 01 01 62 76 0000000000000001 00 0000 000e 0002`, /a listed row shares/],
    [
      'a row that shares more than there is',
      `${ROW_A} 02 01 01 62 76 0000000000000001 00 0000 0001`,
      /2 bytes shared with a key of 1/,
    ],
    ['an empty key', '00 00 01 76 0000000000000001 00 0000 0001', /key of 0 bytes/],
    ['a key beyond the end', '00 7f 01 61 76 0000000000000001 00 0000 0001', /row cut/],
    ['a value beyond the end', '00 01 7f 61 76 0000000000000001 00 0000 0001', /row cut/],
    ['a value length of 4 GiB', '00 01 ffffffff0f 61 76 0000000000000001 00 0000 0001', /row cut/],
    ['a number of more than 32 bits', '00 01 ffffffff1f 61 76 0000000000000001 00 0000 0001', /beyond 32 bits/],
    ['a number without end', '00 01 ffffffffffffff 61 76 0000000000000001 00 0000 0001', /beyond 32 bits/],
    ['a number that is cut', '00 80 0000 0001', /row cut/],
    ['a row cut after its first number', '00 0000 0001', /row cut/],
    ['a row cut in its sequence number', '00 01 01 61 76 00000000000000 0000 0001', /row cut/],
    ['a row cut before what would be a large number', '00 01 01 61 76 ff 0000 0001', /row cut/],
    ['a row cut in its times', '00 01 01 61 76 0000000000000001 04 0000 0000 0001', /row cut/],
    ['a row cut between its times', '00 01 01 61 76 0000000000000001 06 0000000000000000 0000 0001', /row cut/],
    [
      'a tombstone that is a merge operand',
      '00 01 01 61 76 0000000000000001 09 0000 0001',
      /both a tombstone and a merge/,
    ],
    ['surplus bytes after the last row', `${ROW_A} 00 0000 0001`, /row cut/],
  ])('refuses %s', (_what, payload, text) => {
    expectMalformed(hex(payload), text);
  });

  it('refuses a key longer than 65,535 bytes', () => {
    expectMalformed(encodeVersion2([sampleRow(new Uint8Array(65_536), 1)]), /key of 65536 bytes/);
    const prefix = new Uint8Array(65_535);
    const rows = [sampleRow(prefix, 1), sampleRow(concatBytes(prefix, Uint8Array.of(1)), 1)];
    expectMalformed(encodeVersion2(rows), /key of 65536 bytes/);
  });

  it.each([0x10, 0x20, 0x40, 0x80])('leaves unknown flags 0x%s to a newer program', (flag) => {
    expectTooNew(encodeVersion2([sampleRow('a', 1, { flags: flag })]));
    expectTooNew(encodeVersion1([sampleRow('a', 1, { flags: flag })]), 1);
  });

  it('takes sequence numbers up to 2^53 - 1 and leaves larger ones to a newer program', () => {
    for (const [version, encode] of [
      [1, encodeVersion1],
      [2, encodeVersion2],
    ] as const) {
      expect(decodeBlock(encode([sampleRow('a', Number.MAX_SAFE_INTEGER)]), version).rowCount).toBe(1);
      expectTooNew(encode([sampleRow('a', 2 ** 53)]), version);
    }
  });

  it('leaves other format versions to a newer program', () => {
    expectTooNew(hex(ROW_A, '0000 0001'), 3 as FormatVersion);
  });
});

describe('decodeBlock, version 1', () => {
  it('gives the rows and where they end', () => {
    const rows = randomRows(3, 40);
    const payload = encodeVersion1(rows);
    expect(decodeBlock(payload, 1)).toMatchObject({
      formatVersion: 1,
      rowCount: 40,
      restartCount: 40,
      rowsEnd: payload.length - 82,
    });
  });

  const row = '0000 0001 61 0000000000000001 00 00000001 76';
  it.each([
    ['an empty payload', '', /shorter than its trailer/],
    ['no rows', '0000', /no rows/],
    ['more rows than there is room for', `${row} 0000 7fff`, /no room/],
    ['a first offset other than 0', `${row} 0001 0001`, /not the start of a row/],
    ['an offset inside a row', `${row}${row} 0000 0005 0002`, /not the start of a row/],
    ['rows that are not all listed', `${row}${row} 0000 0001`, /bytes between the last row and the offsets/],
    [
      'a first row that shares',
      '0001 0001 61 0000000000000001 00 00000001 76 0000 0001',
      /1 bytes shared with a key of 0/,
    ],
    [
      'a row that shares more than the first key',
      `${row} 0002 0001 61 0000000000000001 00 00000001 76 0000 0013 0002`,
      /2 bytes shared/,
    ],
    ['an empty key', '0000 0000 0000000000000001 00 00000001 76 0000 0001', /key of 0 bytes/],
    ['a key beyond the end', '0000 ffff 61 0000000000000001 00 00000001 76 0000 0001', /row cut/],
    ['a value beyond the end', '0000 0001 61 0000000000000001 00 00000002 76 0000 0001', /row cut/],
    ['a value of 4 GiB', '0000 0001 61 0000000000000001 00 ffffffff 76 0000 0001', /row cut/],
    ['a row without value length', '0000 0001 61 0000000000000001 00 0000 0001', /row cut/],
    ['a row cut in its lengths', '0000 00 0000 0001', /row cut/],
    [
      'a tombstone that is a merge operand',
      '0000 0001 61 0000000000000001 09 0000 0001',
      /both a tombstone and a merge/,
    ],
  ])('refuses %s', (_what, payload, text) => {
    expectMalformed(hex(payload), text, 1);
  });

  it('refuses a key longer than 65,535 bytes', () => {
    // What is shared and what is not are legal each, but not together.
    const key = new Uint8Array(40_000);
    const rows = [sampleRow(key, 1), sampleRow(concatBytes(key, new Uint8Array(25_535)), 1)];
    expect(decodeBlock(encodeVersion1(rows), 1).rowCount).toBe(2);
    const longer = encodeVersion1([rows[0], sampleRow(concatBytes(key, new Uint8Array(25_536)), 1)]);
    expectMalformed(longer, /key of 65536 bytes/, 1);
  });
});

describe('checkBlockOrder', () => {
  const encoders = [
    [1, encodeVersion1],
    [2, encodeVersion2],
  ] as const;

  it.each(encoders)('accepts rows in order, version %i', (version, encode) => {
    for (let seed = 0; seed < 20; seed++) checkBlockOrder(decodeBlock(encode(randomRows(seed, 80)), version));
  });

  it.each(encoders)('refuses every swap of two neighbours, version %i', (version, encode) => {
    const rows = randomRows(9, 50);
    for (let i = 0; i + 1 < rows.length; i++) {
      const swapped = [...rows];
      swapped[i] = rows[i + 1];
      swapped[i + 1] = rows[i];
      const block = decodeBlock(encode(swapped), version);
      expect(() => checkBlockOrder(block)).toThrowError(expect.objectContaining({ code: 'OUT_OF_ORDER' }));
    }
  });

  it('refuses a row of version 1 that shares more with the first than the row before it', () => {
    const block = decodeBlock(encodeVersion1([sampleRow('abc1', 1), sampleRow('ax', 1), sampleRow('abc2', 1)]), 1);
    expect(() => checkBlockOrder(block)).toThrowError(/"abc2"/);
  });

  it.each(encoders)('refuses the same row twice, version %i', (version, encode) => {
    const block = decodeBlock(encode([sampleRow('a', 5), sampleRow('a', 5)]), version);
    expect(() => checkBlockOrder(block)).toThrowError(/Row 1 of the block \(key "a", seq 5\) is not after/);
  });
});

describe('rows of all kinds', () => {
  it.each([0, FLAG_TOMBSTONE, FLAG_MERGE, FLAG_CREATE, FLAG_EXPIRE, FLAG_CREATE | FLAG_EXPIRE | FLAG_MERGE])(
    'flags 0x%s are accepted by both versions',
    (flags) => {
      const value = new Uint8Array(flags === FLAG_TOMBSTONE ? 0 : 3);
      const rows = [sampleRow('a', 1, { flags, value, createTs: 1, expireTs: 2 }), sampleRow('b', 1)];
      expect(decodeBlock(encodeVersion1(rows), 1).rowCount).toBe(2);
      expect(decodeBlock(encodeVersion2(rows), 2).rowCount).toBe(2);
    },
  );
});
