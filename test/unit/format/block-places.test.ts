/** Places of data blocks, with and without padding, by the index, by lengths and by checksums; what is proven and what is not. */
import { describe, expect, it } from 'vitest';
import {
  type BlockPlace,
  placesOfIndex,
  placesOfLengths,
  unitOf,
  walkBlocks,
} from '../../../src/format/block-places.ts';
import { NO_CODEC } from '../../../src/format/codecs.ts';
import { decodeIndex } from '../../../src/format/index-block.ts';
import { TableBuilder } from '../../../src/format/table-builder.ts';
import { dataEnd } from '../../../src/format/table-layout.ts';
import { readBlock } from '../../../src/lsm/table/table-anatomy.ts';
import { type SampleRow, sampleRow, utf8 } from './block-samples.ts';

const UNIT = 1024;

function built(rows: readonly SampleRow[], isAligned = true) {
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: UNIT,
    isAligned,
    codec: NO_CODEC,
    rowsPerCheck: 4,
    capacityBytes: 0,
  });
  for (const { key, value, seq, flags, createTs, expireTs } of rows) {
    builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
  }
  const { bytes, info, facts } = builder.finish();
  const index = decodeIndex(bytes.slice(info.indexOffset, info.indexOffset + info.indexLength - 4));
  const places = placesOfIndex(info, index);
  return { bytes: bytes.slice(0, dataEnd(info)), end: dataEnd(info), places, facts, lastKey: info.lastEntry };
}

const many = (n: number, valueBytes = 60) =>
  Array.from({ length: n }, (_, i) =>
    sampleRow(`key-${String(i).padStart(4, '0')}`, i + 1, { value: utf8(`${i}-${'v'.repeat(valueBytes + (i % 9))}`) }),
  );

/** Rows of which each needs a block of its own: of one unit, of two, of one. */
const wide = () => [
  sampleRow('a', 3, { value: utf8('v'.repeat(700)) }),
  sampleRow('b', 2, { value: utf8('v'.repeat(1500)) }),
  sampleRow('c', 1, { value: utf8('v'.repeat(800)) }),
];

function walk(
  bytes: Uint8Array,
  end: number | undefined,
  known: { lastKey?: Uint8Array | undefined; blockCount?: number } = {},
): BlockPlace[] {
  return walkBlocks(bytes, end, {
    decode: ({ start, end: stop }) => {
      const block = readBlock(bytes.subarray(start, stop), NO_CODEC, 2);
      return block instanceof Error ? undefined : block;
    },
    mayBePadded: true,
    lastKey: known.lastKey,
    blockCount: known.blockCount,
  });
}

const unknowns = (places: readonly BlockPlace[]) =>
  places.filter((p) => p.isUnknown).map(({ start, end }) => [start, end]);

describe('places by stored lengths', () => {
  it.each([
    ['of several rows', many(100)],
    ['of single rows', wide()],
    ['of one row', many(1)],
  ])('are those of the index, in aligned tables with blocks %s and in others', (_, rows) => {
    for (const isAligned of [true, false]) {
      const { end, places, facts } = built(rows, isAligned);
      expect(placesOfLengths(facts.rows, end)).toEqual(places);
    }
  });

  it('are not guessed where two units fill the data differently', () => {
    // 1,000 and 3,000 bytes fill 6,144: in units of 2,048 at 0 and 2,048, in units of 3,072 at 0 and 3,072.
    const lengths = { blockStoredBytes: [1000, 3000], blockRows: [1, 1] };
    expect(placesOfLengths(lengths, 6144)).toBeUndefined();
    // A block of several rows fits into one unit.
    expect(placesOfLengths({ ...lengths, blockRows: [1, 2] }, 6144)?.map((p) => p.start)).toEqual([0, 3072]);
  });

  it('are none where the lengths cannot fill the data', () => {
    expect(placesOfLengths({ blockStoredBytes: [100, 200], blockRows: [2, 2] }, 299)).toBeUndefined();
    expect(placesOfLengths({ blockStoredBytes: [100, 200], blockRows: [2, 2] }, 401)).toBeUndefined();
    expect(placesOfLengths({ blockStoredBytes: [], blockRows: [] }, 7)).toBeUndefined();
  });
});

describe('the unit of an aligned table', () => {
  const room = (start: number, end: number, roomEnd: number, rowCount: number | undefined) => ({
    start,
    end,
    roomEnd,
    rowCount,
  });

  it('is the room of a block of several rows', () => {
    expect(unitOf([room(0, 3834, 4096, 12), room(4096, 9000, 12_288, 1)])).toBe(4096);
    const { places, facts } = built(many(50));
    expect(unitOf(places.map((p, i) => ({ ...p, rowCount: facts.rows.blockRows[i] })))).toBe(UNIT);
  });

  it('is the smallest that explains blocks of single rows', () => {
    expect(unitOf([room(0, 5032, 8192, 1), room(8192, 8253, 12_288, 1)])).toBe(4096);
    expect(unitOf([room(0, 1000, 1024, undefined)])).toBe(32);
  });

  it('is unknown without padding, and where no unit explains it', () => {
    expect(unitOf([])).toBeUndefined();
    expect(unitOf([room(0, 4096, 4096, 1)])).toBeUndefined();
    expect(unitOf([room(0, 50, 1000, 1), room(1000, 1010, 1013, 1)])).toBeUndefined();
    expect(unitOf([room(0, 50, 1 << 20, 5)])).toBeUndefined();
  });
});

describe('a walk over aligned blocks', () => {
  it.each([
    ['of several rows', many(100)],
    ['of single rows', wide()],
  ])('finds all, with the padding between them and after the last: blocks %s', (_, rows) => {
    const { bytes, end, places, lastKey } = built(rows);
    expect(walk(bytes, end, { lastKey })).toEqual(places);
    expect(walk(bytes, end, { lastKey, blockCount: places.length })).toEqual(places);
  });

  it('finds those of a table that is not aligned, as it ever did', () => {
    const { bytes, end, places, lastKey } = built(many(60), false);
    expect(walk(bytes, end, { lastKey })).toEqual(places);
  });

  it('finds those around a damaged one, wherever it is', () => {
    const { bytes, end, places, lastKey } = built(many(60));
    for (const [i, bad] of places.entries()) {
      for (const at of [bad.start, bad.start + 1, bad.start + 100, bad.end - 1]) {
        const damaged = bytes.slice();
        damaged[at] ^= 0x41;
        const found = walk(damaged, end, { lastKey, blockCount: places.length });
        expect(
          found.filter((p) => !p.isUnknown),
          `block ${i} at ${at}`,
        ).toEqual(places.filter((p) => p !== bad));
        expect(unknowns(found), `block ${i} at ${at}`).toEqual([[bad.start, bad.roomEnd]]);
      }
    }
  });

  it('does not take blocks that were overwritten with zeros for padding', () => {
    const { bytes, end, places, lastKey } = built(many(60));
    for (const [i, gone] of places.entries()) {
      const damaged = bytes.slice();
      damaged.fill(0, gone.start, gone.roomEnd);
      for (const known of [{ lastKey }, { lastKey, blockCount: places.length }]) {
        const found = walk(damaged, end, known);
        expect(
          found.filter((p) => !p.isUnknown),
          `block ${i}`,
        ).toEqual(places.filter((p) => p !== gone));
        expect(unknowns(found), `block ${i}`).toEqual([[gone.start, gone.roomEnd]]);
      }
    }
  });

  it('does not take zeros at the end of a table that is not aligned for padding', () => {
    const { bytes, end, places, lastKey } = built(many(20), false);
    const damaged = bytes.slice();
    damaged.fill(0, places[1].start);
    expect(unknowns(walk(damaged, end, { lastKey }))).toEqual([[places[1].start, end]]);
    expect(unknowns(walk(damaged, end))).toEqual([[places[1].start, end]]);
  });

  it('believes the stats that there is a block more than it can see', () => {
    // One block of one unit, one of two; the first is gone. All that is left would be explained by units of 2,048.
    const { bytes, end, lastKey } = built(wide());
    const damaged = bytes.slice();
    damaged.fill(0, 0, 1024);
    expect(unknowns(walk(damaged, end, { lastKey, blockCount: 3 }))).toEqual([[0, 1024]]);
    const last = bytes.slice();
    last.fill(0, 3072);
    expect(unknowns(walk(last, end, { lastKey, blockCount: 3 })).flat()).toContain(end);
  });

  it('ends with what is missing where the object was cut', () => {
    const { bytes, end, places, lastKey } = built(many(60));
    const cut = bytes.slice(0, places[2].end + 5);
    const found = walk(cut, end, { lastKey });
    expect(found.slice(0, 3)).toEqual(places.slice(0, 3));
    expect(unknowns(found)).toEqual([[places[3].start, end]]);
    // Only padding is gone.
    const last = places[places.length - 1];
    expect(walk(bytes.slice(0, last.end + 1), end, { lastKey })).toEqual(places);
  });

  it('leaves what follows the last block alone where nobody knows where the data end', () => {
    const { bytes, places } = built(many(60));
    const tail = new Uint8Array(Buffer.concat([bytes, Buffer.alloc(50, 7)]));
    expect(walk(tail, undefined).map((p) => [p.start, p.end])).toEqual(places.map((p) => [p.start, p.end]));
  });
});
