/** Units found by their checksums alone, forward and backward, around damage, and in bounded time in bytes made to deceive. */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../src/common/random.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import {
  lengthBeforeZeros,
  type UnitPlace,
  unitEnds,
  unitStarts,
  walkUnits,
} from '../../../src/format/frame-search.ts';
import { frameUnit } from '../../../src/format/framing.ts';

const random = new SeededRandom(7);

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  random.fill(bytes);
  return bytes;
}

/** Units of these lengths back to back. */
function unitsOf(lengths: readonly number[]): { bytes: Uint8Array; places: UnitPlace[] } {
  const places: UnitPlace[] = [];
  const parts: Uint8Array[] = [];
  let start = 0;
  for (const length of lengths) {
    const unit = frameUnit(randomBytes(length), NO_CODEC);
    parts.push(unit);
    places.push({ start, end: start + unit.length });
    start += unit.length;
  }
  return { bytes: new Uint8Array(Buffer.concat(parts)), places };
}

const always = () => true;

/** The same bytes, and how many of them were read: one by one, or in a part that was cut out. */
function countedReads(bytes: Uint8Array): { bytes: Uint8Array; reads(): number } {
  let reads = 0;
  const counted = new Proxy(bytes, {
    get(target, name) {
      if (typeof name === 'string' && /^\d+$/.test(name)) reads++;
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const result: unknown = Reflect.apply(value, target, args);
        if (result instanceof Uint8Array) reads += result.length;
        return result;
      };
    },
  });
  return { bytes: counted, reads: () => reads };
}

describe('a unit', () => {
  it('is found by where it begins, and by where it ends', () => {
    const { bytes, places } = unitsOf([100, 1, 4000]);
    for (const { start, end } of places) {
      expect([...unitEnds(bytes, start, bytes.length)]).toContain(end);
      expect([...unitStarts(bytes, end, 0)]).toContain(start);
    }
  });

  it('is not found where its bytes were changed, or where there is no room for one', () => {
    const { bytes } = unitsOf([500]);
    bytes[250] ^= 1;
    expect([...unitEnds(bytes, 0, bytes.length)]).toEqual([]);
    expect([...unitStarts(bytes, bytes.length, 0)]).toEqual([]);
    expect([...unitEnds(bytes, bytes.length - 3, bytes.length)]).toEqual([]);
    expect([...unitStarts(bytes, 4, 0)]).toEqual([]);
    expect([...unitStarts(bytes, bytes.length + 10, 0)]).toEqual([]);
  });
});

describe('a walk', () => {
  it('finds all units of a sound stretch from the front', () => {
    const { bytes, places } = unitsOf([300, 20, 5000, 77]);
    expect(walkUnits(bytes, 0, bytes.length, always)).toEqual({ before: places, unknown: undefined, after: [] });
  });

  it.each([0, 1, 3])('finds those on both sides of damaged unit %i', (bad) => {
    const { bytes, places } = unitsOf([300, 20, 5000, 77]);
    bytes[places[bad].start + 2] ^= 0x80;
    const found = walkUnits(bytes, 0, bytes.length, always);
    expect(found).toEqual({ before: places.slice(0, bad), unknown: places[bad], after: places.slice(bad + 1) });
  });

  it('takes nothing from the end of what was cut', () => {
    const { bytes, places } = unitsOf([300, 400, 500]);
    const cut = bytes.subarray(0, places[2].start + 100);
    const found = walkUnits(cut, 0, cut.length, always, true);
    expect(found).toEqual({
      before: places.slice(0, 2),
      unknown: { start: places[2].start, end: cut.length },
      after: [],
    });
  });

  it('leaves what does not decode, and asks only a few times', () => {
    // A unit of no bytes, again and again: every fourth position ends one.
    const empty = frameUnit(new Uint8Array(0), NO_CODEC);
    const bytes = new Uint8Array(4 * 10_000);
    for (let i = 0; i < bytes.length; i += 4) bytes.set(empty, i);
    let asked = 0;
    const found = walkUnits(bytes, 0, bytes.length, () => {
      asked++;
      return false;
    });
    expect(found.before).toEqual([]);
    expect(asked).toBeLessThan(50);
  });
});

describe('a unit before zeros', () => {
  it('has the length at which its checksum holds, also if it ends with zeros itself', () => {
    const { bytes } = unitsOf([300]);
    for (const zeros of [0, 1, 4, 5, 700]) {
      const room = new Uint8Array(bytes.length + zeros);
      room.set(bytes);
      expect(lengthBeforeZeros(room)).toBe(bytes.length);
    }
    // Found by trying: units whose checksum ends with a zero byte.
    const endsInZero = Array.from({ length: 2000 }, (_, i) =>
      frameUnit(Uint8Array.of(i >> 8, i & 255, 9), NO_CODEC),
    ).filter((unit) => unit[unit.length - 1] === 0);
    expect(endsInZero.length).toBeGreaterThan(2);
    for (const unit of endsInZero) {
      const room = new Uint8Array(40);
      room.set(unit);
      expect(lengthBeforeZeros(room)).toBe(unit.length);
    }
  });

  it('is none where a byte of it was changed, where other bytes follow, or where there are zeros only', () => {
    const { bytes } = unitsOf([300]);
    const room = new Uint8Array(400);
    room.set(bytes);
    room[100] ^= 1;
    expect(lengthBeforeZeros(room)).toBeUndefined();
    room[100] ^= 1;
    room[399] = 1;
    expect(lengthBeforeZeros(room)).toBeUndefined();
    expect(lengthBeforeZeros(new Uint8Array(400))).toBeUndefined();
    expect(lengthBeforeZeros(new Uint8Array(0))).toBeUndefined();
    expect(lengthBeforeZeros(Uint8Array.of(1, 2, 3))).toBeUndefined();
  });
});

describe('a walk over units with zeros after them', () => {
  /** Units that begin with one zero byte, in rooms of 1,024 bytes. */
  function paddedUnits(count: number): { bytes: Uint8Array; places: UnitPlace[] } {
    const bytes = new Uint8Array(1024 * count);
    const places = Array.from({ length: count }, (_, i) => {
      const payload = randomBytes(500 + 100 * (i % 5));
      payload.set([0, 3]);
      const unit = frameUnit(payload, NO_CODEC);
      bytes.set(unit, 1024 * i);
      return { start: 1024 * i, end: 1024 * i + unit.length };
    });
    return { bytes, places };
  }

  it('finds all of them', () => {
    const { bytes, places } = paddedUnits(7);
    expect(walkUnits(bytes, 0, bytes.length, always, false, true).before).toEqual(places);
  });

  it.each([0, 3, 6])('finds those on both sides of damaged unit %i', (bad) => {
    const { bytes, places } = paddedUnits(7);
    bytes[places[bad].start + 200] ^= 4;
    const found = walkUnits(bytes, 0, bytes.length, always, false, true);
    expect(found.before).toEqual(places.slice(0, bad));
    expect(found.after).toEqual(places.slice(bad + 1));
  });

  it('reads each byte a few times, also where no unit is good', () => {
    const { bytes } = paddedUnits(100);
    for (let at = 100; at < bytes.length; at += 1024) bytes[at] ^= 1;
    const counted = countedReads(bytes);
    expect(walkUnits(counted.bytes, 0, bytes.length, always, false, true)).toMatchObject({ before: [], after: [] });
    // One pass for each unit would be 100.
    expect(counted.reads() / bytes.length).toBeLessThan(20);
    expect(counted.reads()).toBeGreaterThan(bytes.length);
  });
});
