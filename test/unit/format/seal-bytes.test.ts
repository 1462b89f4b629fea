/** The numbers of seals: every form back to the same number, and what is refused. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { SealReader, SealWriter } from '../../../src/format/seal-bytes.ts';

const written = (write: (w: SealWriter) => void): Uint8Array => {
  const w = new SealWriter();
  write(w);
  return w.finish();
};
const reader = (bytes: Uint8Array) => new SealReader(bytes, 0, bytes.length);
const BAD = expect.objectContaining({ code: 'BAD_SEAL' });

describe('numbers of a seal', () => {
  const edges = [0, 1, 63, 64, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 52, 2 ** 53 - 1];

  it.each(edges)('%d comes back from a varint, a pair and a u64', (n) => {
    expect(reader(written((w) => w.varint(n))).varint()).toBe(n);
    expect(reader(written((w) => w.u64(n))).u64()).toBe(n);
    for (const bit of [0, 1]) {
      const r = reader(written((w) => w.varintOfPair(n, bit)));
      expect([r.varintHigh(), r.lowBit, r.remaining]).toEqual([n, bit, 0]);
    }
  });

  it('are times in ms, clipped to i64', () => {
    const times = [0, -1, 1_795_168_418_640, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const bytes = written((w) => {
      for (const t of times) w.i64(t);
    });
    const r = reader(bytes);
    expect(times.map(() => r.i64())).toEqual([0, -1, 1_795_168_418_640, -(2 ** 63), 2 ** 63]);
  });

  it('are refused where they were never written: beyond 2^53 - 1, or not in the shortest form', () => {
    expect(() => reader(fromHex('0020000000000000')).u64()).toThrow(BAD);
    expect(() => reader(fromHex('8000')).varint()).toThrow(BAD);
    expect(() => reader(fromHex('ffffffffffffffff7f')).varint()).toThrow(BAD);
  });

  it('end with their record', () => {
    expect(() => reader(fromHex('000001')).u32()).toThrow(BAD);
    expect(() => reader(fromHex('80')).varint()).toThrow(BAD);
    expect(() => reader(fromHex('00')).bytes(2)).toThrow(BAD);
    expect(() => reader(fromHex('05')).choice(['a', 'b'], 'thing')).toThrow(/unknown thing/);
  });

  it('that do not fit are refused by the writer', () => {
    for (const n of [-1, 0.5, 2 ** 53]) expect(() => written((w) => w.u64(n))).toThrow(/safe integer/);
    expect(() => written((w) => w.u32(2 ** 32))).toThrow(/u32/);
    expect(() => written((w) => w.fixed(new Uint8Array(3), 4))).toThrow(/fixed field/);
  });
});

describe('a record', () => {
  it('has its tag and length in front, also around others', () => {
    const bytes = written((w) => w.record(5, () => w.u16(0xabcd)));
    expect(toHex(bytes)).toBe('000500000002abcd');
  });

  it('grows past the buffer that a writer begins with', () => {
    const bytes = written((w) => w.record(1, () => w.bytes(new Uint8Array(5000).fill(3))));
    expect([bytes.length, bytes[5], bytes.at(-1)]).toEqual([5006, 5000 & 0xff, 3]);
  });
});
