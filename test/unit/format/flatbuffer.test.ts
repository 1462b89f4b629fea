/** FlatBuffers: the layout of the Rust builder, and a reader that no damaged offset leads outside or into endless work. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { FlatBuilder, FlatReader } from '../../../src/format/flatbuffer.ts';

const MALFORMED = expect.objectContaining({ code: 'MALFORMED', kind: 'corruption' });

/** A table with one field of every kind. */
function sample(): Uint8Array {
  const b = new FlatBuilder(0);
  const bytes = b.byteVector(Uint8Array.of(1, 2, 3, 4, 5));
  const text = b.string('h\u00e9llo');
  const numbers = b.u32Vector([7, 8, 9]);
  b.startTable();
  b.addU64(0, 2 ** 53 - 1);
  const inner = b.endTable();
  const tables = b.tableVector([inner, inner]);
  b.startTable();
  b.addU64(0, 5);
  b.addI64(1, -(2n ** 63n));
  b.addU32(2, 6);
  b.addU16(3, 7);
  b.addOptionalU16(4, 0);
  b.addU8(5, 8);
  b.addBool(6, true);
  b.addRef(7, bytes);
  b.addRef(8, text);
  b.addRef(9, numbers);
  b.addRef(10, tables);
  return b.finish(b.endTable());
}

describe('FlatBuilder', () => {
  it('lays out the tables of an index exactly as the Rust builder does', () => {
    const b = new FlatBuilder();
    const key = b.byteVector(fromHex('0000000000000001'));
    b.startTable();
    b.addU64(0, 0);
    b.addRef(1, key);
    const meta = b.endTable();
    const vector = b.tableVector([meta]);
    b.startTable();
    b.addRef(0, vector);
    const expected =
      '0c000000000006000800040006000000040000000100000' +
      '00c00000008000800000004000800000004000000080000000000000000000001';
    expect(toHex(b.finish(b.endTable()))).toBe(expected);
  });

  it('lays fields out by size and descending id, whatever the order of the calls', () => {
    const build = (slots: readonly number[]) => {
      const b = new FlatBuilder();
      b.startTable();
      for (const slot of slots) {
        if (slot === 0) b.addU64(0, 1);
        else if (slot === 1) b.addU8(1, 2);
        else if (slot === 2) b.addU32(2, 3);
        else b.addU64(3, 4);
      }
      return toHex(b.finish(b.endTable()));
    };
    expect(build([3, 1, 0, 2])).toBe(build([0, 1, 2, 3]));
  });

  it('shares equal vtables and cuts trailing absent fields', () => {
    const b = new FlatBuilder();
    const refs = [1, 2, 3, 4, 5].map((value) => {
      b.startTable();
      b.addU32(0, value);
      b.addU32(9, 0);
      return b.endTable();
    });
    // A table is four bytes of offset and four of field; a vtable of one slot has six bytes. The second table has a vtable of
    // its own because the padding before the first vtable counts to its size.
    expect(refs).toEqual([8, 8 + 6 + 10, 24 + 6 + 10, 48, 56]);
  });

  it('grows beyond its capacity without changing the bytes', () => {
    const build = (capacity: number) => {
      const b = new FlatBuilder(capacity);
      const refs = Array.from({ length: 200 }, (_, i) => {
        const key = b.byteVector(new Uint8Array(i).fill(i));
        b.startTable();
        b.addU64(0, i);
        b.addRef(1, key);
        return b.endTable();
      });
      const vector = b.tableVector(refs);
      b.startTable();
      b.addRef(0, vector);
      return toHex(b.finish(b.endTable()));
    };
    expect(build(0)).toBe(build(1 << 16));
  });

  it('refuses numbers that a u64 of storage cannot hold exactly', () => {
    const b = new FlatBuilder();
    b.startTable();
    expect(() => b.addU64(0, 2 ** 53)).toThrow(/safe integer/);
    expect(() => b.addU64(0, -1)).toThrow(/safe integer/);
  });

  it('refuses nesting', () => {
    const b = new FlatBuilder();
    b.startTable();
    expect(() => b.startTable()).toThrow(/nested/);
    expect(() => b.byteVector(new Uint8Array(1))).toThrow(/not built inside/);
  });
});

describe('FlatReader', () => {
  it('reads every kind of field back', () => {
    const r = new FlatReader(sample(), 'object');
    const root = r.root(11);
    expect([r.u64(root, 0), r.i64(root, 1), r.u32(root, 2), r.u16(root, 3)]).toEqual([5, -(2n ** 63n), 6, 7]);
    expect([r.optionalU16(root, 4), r.u8(root, 5), r.bool(root, 6)]).toEqual([0, 8, true]);
    expect(r.byteVector(root, 7)).toEqual(Uint8Array.of(1, 2, 3, 4, 5));
    expect(r.string(root, 8)).toBe('h\u00e9llo');
    const numbers = r.vector(root, 9, 4);
    expect([0, 1, 2].map((i) => r.elementU32(numbers, i))).toEqual([7, 8, 9]);
    const tables = r.vector(root, 10, 4);
    expect(r.u64(r.element(tables, 1, 1), 0)).toBe(2 ** 53 - 1);
    expect(r.hasUnknownFields).toBe(false);
    expect(r.usedEnd).toBe(sample().length - 3);
  });

  it('gives defaults for absent fields, also after the end of the vtable', () => {
    const b = new FlatBuilder();
    b.startTable();
    const r = new FlatReader(b.finish(b.endTable()), 'object');
    const root = r.root(3);
    expect([r.u64(root, 0), r.i64(root, 1), r.u32(root, 2), r.optionalU16(root, 9)]).toEqual([0, 0n, 0, undefined]);
    expect([r.vector(root, 0, 4), r.table(root, 1, 1), r.byteVector(root, 2), r.string(root, 2)]).toEqual([
      0,
      0,
      undefined,
      undefined,
    ]);
    expect(() => r.requiredVector(root, 0, 4, 'x')).toThrow(MALFORMED);
    expect(() => r.requiredTable(root, 0, 4, 'x')).toThrow(MALFORMED);
    expect(() => r.requiredByteVector(root, 0, 'x')).toThrow(MALFORMED);
  });

  it('notices fields with unknown ids, not mere room for them', () => {
    const build = (value: number) => {
      const b = new FlatBuilder();
      b.startTable();
      b.addU32(0, 1);
      b.addOptionalU16(5, value);
      const bytes = b.finish(b.endTable());
      return bytes;
    };
    const r = new FlatReader(build(3), 'object');
    r.root(5);
    expect(r.hasUnknownFields).toBe(true);
    const known = new FlatReader(build(3), 'object');
    known.root(6);
    expect(known.hasUnknownFields).toBe(false);
  });

  it('refuses any single vector length, reference or vtable that leads outside, without allocating', () => {
    const bytes = sample();
    for (let at = 0; at + 4 <= bytes.length; at += 2) {
      for (const value of [0xffffffff, 0x7fffffff, 0x80000000, 0x10000]) {
        const damaged = bytes.slice();
        new DataView(damaged.buffer).setUint32(at, value, true);
        try {
          const r = new FlatReader(damaged, 'object');
          const root = r.root(11);
          r.byteVector(root, 7);
          r.string(root, 8);
          r.vector(root, 9, 4);
          const tables = r.vector(root, 10, 4);
          for (let i = 0; i < r.count(tables); i++) r.u64(r.element(tables, i, 1), 0);
          r.u64(root, 0);
          r.i64(root, 1);
          r.bool(root, 6);
        } catch (error) {
          expect(error).toEqual(MALFORMED);
        }
      }
    }
  });

  it('refuses every cut of a buffer', () => {
    const bytes = sample();
    for (let length = 0; length < bytes.length - 3; length++) {
      const read = () => {
        const r = new FlatReader(bytes.slice(0, length), 'object');
        const root = r.root(11);
        r.byteVector(root, 7);
        r.string(root, 8);
        r.vector(root, 9, 4);
        r.element(r.vector(root, 10, 4), 0, 1);
      };
      expect(read).toThrow(MALFORMED);
    }
  });

  it('refuses u64 above 2^53 - 1, booleans above 1, and text without NUL or not in UTF-8', () => {
    const bytes = sample();
    const r = new FlatReader(bytes, 'object');
    const root = r.root(11);
    const text = r.vector(root, 8, 1);
    const damaged = (change: (b: Uint8Array) => void) => {
      const copy = bytes.slice();
      change(copy);
      return new FlatReader(copy, 'object');
    };
    const high = r.wordsAt(root, 0) + 6;
    expect(() => damaged((b) => (b[high] = 0x20)).u64(root, 0)).toThrow(MALFORMED);
    const flag = bytes.indexOf(1, root + 4);
    const broken = damaged((b) => (b[flag] = 2));
    expect(() => broken.bool(root, 6)).toThrow(MALFORMED);
    expect(() => damaged((b) => (b[text + 4 + 6] = 1)).string(root, 8)).toThrow(MALFORMED);
    expect(() => damaged((b) => (b[text + 5] = 0xff)).string(root, 8)).toThrow(MALFORMED);
  });

  it('refuses misaligned references and fields', () => {
    const bytes = sample();
    const shifted = bytes.slice();
    shifted[0] += 2;
    expect(() => new FlatReader(shifted, 'object').root(11)).toThrow(MALFORMED);
    const r = new FlatReader(bytes, 'object');
    const root = r.root(11);
    const vtable = root - new DataView(bytes.buffer).getInt32(root, true);
    const odd = bytes.slice();
    odd[vtable + 4] += 4;
    expect(() => new FlatReader(odd, 'object').u64(root, 0)).toThrow(MALFORMED);
  });

  it('does work linear in the input when tables are shared in a tower', () => {
    const b = new FlatBuilder();
    b.startTable();
    let ref = b.endTable();
    for (let level = 0; level < 4; level++) {
      const vector = b.tableVector(new Array(2000).fill(ref));
      b.startTable();
      b.addRef(0, vector);
      ref = b.endTable();
    }
    const r = new FlatReader(b.finish(ref), 'object');
    let visits = 0;
    const walk = (table: number, depth: number) => {
      visits++;
      if (depth === 0) return;
      const vector = r.vector(table, 0, 4);
      for (let i = 0; i < r.count(vector); i++) walk(r.element(vector, i, 1), depth - 1);
    };
    expect(() => walk(r.root(1), 4)).toThrow(MALFORMED);
    expect(visits).toBeLessThan(40_000);
  });

  it('reads a buffer that begins at an odd offset of its object', () => {
    const bytes = sample();
    const object = new Uint8Array(bytes.length + 3);
    object.set(bytes, 3);
    const r = new FlatReader(object, 'object', 3);
    expect(r.u64(r.root(11), 0)).toBe(5);
  });
});
