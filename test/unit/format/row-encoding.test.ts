/** Numbers of rows: every length of a varint, and both ways of writing an i64. */
import { describe, expect, it } from 'vitest';
import { toHex, viewOf } from '../../../src/common/bytes.ts';
import { putInt64, putVarint, varintBytes, writeInt64 } from '../../../src/format/row-encoding.ts';

describe('a varint', () => {
  it.each([
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2_097_151, 'ffff7f'],
    [2_097_152, '80808001'],
    [268_435_455, 'ffffff7f'],
    [268_435_456, '8080808001'],
    [4_294_967_295, 'ffffffff0f'],
  ])('of %d is %s, as long as it says', (value, hex) => {
    const out = new Uint8Array(5);
    const end = putVarint(out, 0, value);
    expect(toHex(out.subarray(0, end))).toBe(hex);
    expect(varintBytes(value)).toBe(end);
  });
});

describe('an i64', () => {
  const limit = 2 ** 63;
  it.each([
    [0, '0000000000000000'],
    [1_795_168_418_640, '000001a1f8603b50'],
    [Number.MAX_SAFE_INTEGER, '001fffffffffffff'],
    [-1, 'ffffffffffffffff'],
    [-4_294_967_297, 'fffffffeffffffff'],
    [limit - 1024, '7ffffffffffffc00'],
    [limit, '7fffffffffffffff'],
    [2 * limit, '7fffffffffffffff'],
    [Number.POSITIVE_INFINITY, '7fffffffffffffff'],
    [-limit, '8000000000000000'],
    [-2 * limit, '8000000000000000'],
    [Number.NEGATIVE_INFINITY, '8000000000000000'],
  ])('of %d is %s, in bytes and in a view', (value, hex) => {
    const [bytes, viewed] = [new Uint8Array(8), new Uint8Array(8)];
    putInt64(bytes, 0, value);
    writeInt64(viewOf(viewed), 0, value);
    expect([toHex(bytes), toHex(viewed)]).toEqual([hex, hex]);
  });
});
