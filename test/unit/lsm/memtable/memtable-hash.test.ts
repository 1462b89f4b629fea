/** The hash of the memtable: what of the key goes into it. */
import { describe, expect, it } from 'vitest';
import { halfSipHash13 } from '../../../../src/lsm/memtable/memtable-hash.ts';

describe('halfSipHash13', () => {
  it("gives the values of the Linux kernel's hsiphash test on 32-bit machines", () => {
    const input = Uint8Array.from({ length: 8 }, (_, i) => i);
    const hashes = Array.from({ length: 8 }, (_, n) => halfSipHash13(input, 0, n, 0x03020100, 0x07060504) >>> 0);
    expect(hashes).toEqual([
      0x5814c896, 0xe7e864ca, 0xbc4b0e30, 0x01539939, 0x7e059ea6, 0x88e3d89b, 0xa0080b65, 0x9d38d9d6,
    ]);
  });

  it('hashes the slice it is given and depends on both halves of the key', () => {
    const buf = Uint8Array.from({ length: 40 }, (_, i) => i * 7);
    const whole = halfSipHash13(buf.slice(3, 30), 0, 27, 1, 2);
    expect(halfSipHash13(buf, 3, 27, 1, 2)).toBe(whole);
    expect(halfSipHash13(buf, 3, 27, 1, 3)).not.toBe(whole);
    expect(halfSipHash13(buf, 3, 27, 2, 2)).not.toBe(whole);
    expect(halfSipHash13(buf, 4, 27, 1, 2)).not.toBe(whole);
  });
});
