/** The info block as it is stored: that of every fixture object, every flipped bit of one, and where its damage is said to be. */
import { describe, expect, it } from 'vitest';
import { CorruptionError, IncompatibleError } from '../../../src/common/errors.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { frameUnit } from '../../../src/format/framing.ts';
import { encodeInfo } from '../../../src/format/info-block.ts';
import {
  endOf,
  findInfo,
  footerIn,
  footerOfKnownVersion,
  infoIn,
  infoOfStored,
  MAX_INFO_BYTES,
  objectEndIn,
  storedInfoIn,
} from '../../../src/format/object-end.ts';
import { decodeFooter, FOOTER_BYTES } from '../../../src/format/table-layout.ts';
import { goldenFixture, goldenFixtures } from '../../support/golden-fixtures.ts';

function storedInfo(bytes: Uint8Array): { stored: Uint8Array; infoOffset: number } {
  const { infoOffset } = decodeFooter(bytes.subarray(-FOOTER_BYTES), bytes.length);
  return { stored: bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES), infoOffset };
}

function damageOf(decode: () => unknown): CorruptionError {
  try {
    decode();
  } catch (error) {
    if (error instanceof CorruptionError) return error;
    throw error;
  }
  throw new Error('nothing was found to be damaged');
}

describe('the stored info block', () => {
  it('of every object of every fixture decodes', () => {
    let objects = 0;
    for (const fixture of goldenFixtures()) {
      for (const { path, bytes } of fixture.objects) {
        if (!path.endsWith('.sst') || bytes.length === 0) continue;
        const { stored, infoOffset } = storedInfo(bytes);
        expect(infoOfStored(stored, infoOffset, bytes.length).indexLength).toBeGreaterThan(0);
        objects++;
      }
    }
    expect(objects).toBeGreaterThan(50);
  });

  const table = goldenFixture('slatedb-0.18.0/compacted').objects.find(({ path }) => path.startsWith('db/compacted/'))!;
  const { stored, infoOffset } = storedInfo(table.bytes);

  it('names damage by its place in the object, whichever bit was flipped', () => {
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const flipped = stored.slice();
      flipped[bit >> 3] ^= 1 << (bit & 7);
      const { findings } = damageOf(() => infoOfStored(flipped, infoOffset, table.bytes.length));
      for (const { at } of findings) expect(at.offset).toBeGreaterThanOrEqual(infoOffset);
    }
  });

  it('names a layout that cannot be by its place in the object', () => {
    const info = infoOfStored(stored, infoOffset, table.bytes.length);
    const other = frameUnit(encodeInfo({ ...info, indexLength: 0 }), NO_CODEC);
    const error = damageOf(() => infoOfStored(other, infoOffset, infoOffset + other.length + FOOTER_BYTES));
    expect(error.findings[0]).toMatchObject({ code: 'MALFORMED', at: { unit: 'info', offset: infoOffset } });
  });
});

describe('the end of an object', () => {
  const { bytes } = goldenFixture('slatedb-0.18.0/compacted').objects.find(({ path }) =>
    path.startsWith('db/compacted/'),
  )!;
  const size = bytes.length;
  const { infoOffset } = footerIn(endOf(bytes));
  const info = infoIn(endOf(bytes), infoOffset);

  it('is read from any part that has the info block', () => {
    for (const from of [0, 1, infoOffset - 1, infoOffset]) {
      const end = endOf(bytes.subarray(from), size);
      expect(end.base).toBe(from);
      expect(objectEndIn(end)).toEqual({ infoOffset, formatVersion: footerIn(end).formatVersion, info });
      expect(findInfo(end)).toEqual({ info, infoOffset });
    }
  });

  it('is damaged where the info block is before what was read', () => {
    const end = endOf(bytes.subarray(infoOffset + 1), size);
    for (const read of [infoIn, storedInfoIn]) {
      expect(damageOf(() => read(end, infoOffset)).findings[0]).toMatchObject({
        code: 'MALFORMED',
        at: { unit: 'footer' },
      });
    }
    expect(findInfo(end)).toBeUndefined();
  });

  it('is damaged where it is cut', () => {
    for (const length of [0, 1, 9, 10, 25])
      expect(() => footerIn(endOf(bytes.subarray(0, length)))).toThrow(CorruptionError);
    for (const length of [0, 1, 9])
      expect(() => footerIn(endOf(bytes.subarray(size - length), size))).toThrow(CorruptionError);
  });

  it('of an unknown version is a newer one, or damage where the version is known', () => {
    const newer = bytes.slice();
    newer[size - 1] = 9;
    expect(() => footerIn(endOf(newer))).toThrow(IncompatibleError);
    for (const read of [footerOfKnownVersion, objectEndIn]) {
      expect(damageOf(() => read(endOf(newer))).findings[0]).toMatchObject({
        at: { unit: 'footer', offset: size - 2 },
      });
    }
  });

  it('has its info block before the footer, whatever the footer says', () => {
    const damaged = bytes.slice().fill(0xff, size - FOOTER_BYTES);
    expect(findInfo(endOf(damaged))).toEqual({ info, infoOffset });
    expect(findInfo(endOf(damaged), infoOffset)).toEqual({ info, infoOffset });
    expect(findInfo(endOf(damaged), infoOffset + 1)).toBeUndefined();
    damaged[infoOffset + 5] ^= 1;
    expect(findInfo(endOf(damaged))).toBeUndefined();
    for (const length of [0, 9, 10, 13, 14]) expect(findInfo(endOf(bytes.subarray(0, length)))).toBeUndefined();
  });

  it('has an info block with two of the longest keys, and none that is longer', () => {
    const key = (fill: number) => new Uint8Array(65_535).fill(fill);
    const long = frameUnit(encodeInfo({ ...info, firstEntry: key(1), lastEntry: key(2) }), NO_CODEC);
    expect(long.length).toBeLessThan(MAX_INFO_BYTES);
    const object = new Uint8Array([...bytes.subarray(0, infoOffset), ...long, ...new Uint8Array(FOOTER_BYTES)]);
    expect(findInfo(endOf(object))?.infoOffset).toBe(infoOffset);
    const tooLong = frameUnit(encodeInfo({ ...info, firstEntry: new Uint8Array(MAX_INFO_BYTES) }), NO_CODEC);
    const other = new Uint8Array([...bytes.subarray(0, infoOffset), ...tooLong, ...new Uint8Array(FOOTER_BYTES)]);
    expect(findInfo(endOf(other))).toBeUndefined();
  });
});
