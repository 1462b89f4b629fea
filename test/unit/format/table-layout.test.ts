/** Footer, sections and rooms of blocks: those of the fixtures, and every arrangement that is refused. */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import { decodeIndex } from '../../../src/format/index-block.ts';
import { decodeInfo } from '../../../src/format/info-block.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';
import {
  blockEnd,
  checkIndexLayout,
  checkLayout,
  dataEnd,
  decodeFooter,
  encodeFooter,
  FOOTER_BYTES,
  roomEnd,
  sealRange,
} from '../../../src/format/table-layout.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';
import { encodeIndex } from '../../support/index-payload.ts';

const MALFORMED = expect.objectContaining({ code: 'MALFORMED' });

/** A table of 200 data bytes in two blocks, filter, index, stats; info at 400, 500 bytes in all. */
const INFO: TableInfo = {
  firstEntry: Uint8Array.of(1),
  lastEntry: Uint8Array.of(2),
  filterOffset: 200,
  filterLength: 50,
  indexOffset: 250,
  indexLength: 100,
  statsOffset: 350,
  statsLength: 50,
  codec: 'none',
  tableType: 'compacted',
  filterForm: 'legacy',
};
const index = (...offsets: number[]) =>
  decodeIndex(encodeIndex(offsets.map((offset, i) => ({ offset, firstKey: Uint8Array.of(i) }))));

describe('footer', () => {
  it('of every fixture object encodes to the same bytes again', () => {
    for (const fixture of goldenFixtures()) {
      for (const { path, bytes } of fixture.objects) {
        if (!path.endsWith('.sst') || bytes.length === 0) continue;
        const tail = bytes.subarray(-FOOTER_BYTES);
        expect(toHex(encodeFooter(decodeFooter(tail, bytes.length)))).toBe(toHex(tail));
      }
    }
  });

  it('is found at the end of a longer tail', () => {
    const tail = new Uint8Array(30);
    tail.set(encodeFooter({ infoOffset: 77, formatVersion: 1 }), 20);
    expect(decodeFooter(tail, 200)).toEqual({ infoOffset: 77, formatVersion: 1 });
  });

  it('beyond 4 GiB is exact', () => {
    const footer = { infoOffset: 5 * 2 ** 32 + 3, formatVersion: 2 } as const;
    expect(decodeFooter(encodeFooter(footer), 6 * 2 ** 32)).toEqual(footer);
  });

  it('of an object that is too short is a truncation', () => {
    for (const size of [0, 1, 9, 10, 25]) {
      const truncated = expect.objectContaining({ code: 'TRUNCATED' });
      expect(() => decodeFooter(new Uint8Array(Math.min(size, FOOTER_BYTES)), size)).toThrow(truncated);
    }
  });

  it('that leads past the end is refused, with the place of the footer', () => {
    const at = (infoOffset: number) => () => decodeFooter(encodeFooter({ infoOffset, formatVersion: 2 }), 100);
    expect(at(100 - FOOTER_BYTES - 16)).not.toThrow();
    expect(at(100 - FOOTER_BYTES - 15)).toThrow(MALFORMED);
    expect(() => decodeFooter(new Uint8Array(FOOTER_BYTES).fill(0xff), 100)).toThrow(
      expect.objectContaining({
        findings: [expect.objectContaining({ at: { unit: 'footer', offset: 90, length: 10 } })],
      }),
    );
  });

  it('with a format version a few above the newest is of a newer program, with any other damaged', () => {
    for (const [version, code] of [
      [0, 'MALFORMED'],
      [3, 'FORMAT_TOO_NEW'],
      [16, 'FORMAT_TOO_NEW'],
      [17, 'MALFORMED'],
      [0x6a75, 'MALFORMED'],
    ] as const) {
      const tail = encodeFooter({ infoOffset: 10, formatVersion: 2 });
      tail.set([version >> 8, version & 255], 8);
      expect(() => decodeFooter(tail, 100)).toThrow(expect.objectContaining({ code }));
    }
  });
});

describe('layout', () => {
  it('of every fixture object is in order and leaves no room for a seal', () => {
    for (const fixture of goldenFixtures()) {
      for (const { path, bytes } of fixture.objects) {
        if (!path.endsWith('.sst') || bytes.length === 0) continue;
        const { infoOffset } = decodeFooter(bytes.subarray(-FOOTER_BYTES), bytes.length);
        const info = decodeInfo(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES - 4));
        checkLayout(info, infoOffset, bytes.length);
        expect(sealRange(info, infoOffset)).toEqual({ start: infoOffset, end: infoOffset });
      }
    }
  });

  it('with room after the last section has a seal there', () => {
    checkLayout(INFO, 460, 560);
    expect(sealRange(INFO, 460)).toEqual({ start: 400, end: 460 });
    expect(sealRange({ ...INFO, statsLength: 0, statsOffset: 0 }, 460)).toEqual({ start: 350, end: 460 });
  });

  it('ignores where an absent filter or stats block claims to be', () => {
    checkLayout({ ...INFO, filterLength: 0, filterOffset: 0, statsLength: 0, statsOffset: 9 }, 400, 500);
  });

  it.each([
    ['a gap after the filter', { filterLength: 49 }],
    ['an overlap of filter and index', { filterLength: 51 }],
    ['a gap after the index', { indexLength: 99 }],
    ['no index', { indexLength: 0, statsLength: 0 }],
    ['an index of only a checksum', { indexLength: 4, statsLength: 0 }],
    ['stats that reach into the info block', { statsLength: 51 }],
    ['sections beyond the object', { indexOffset: 2 ** 50, filterOffset: 2 ** 50 - 50, statsOffset: 2 ** 50 + 100 }],
  ])('with %s is refused', (_, change) => {
    expect(() => checkLayout({ ...INFO, ...change }, 400, 500)).toThrow(MALFORMED);
  });

  it('ends the last block at the filter, or at the index without one', () => {
    expect([blockEnd(INFO, index(0, 90), 0), blockEnd(INFO, index(0, 90), 1)]).toEqual([90, 200]);
    expect(dataEnd({ ...INFO, filterLength: 0 })).toBe(250);
  });

  it('with blocks that do not fit their section is refused', () => {
    checkIndexLayout(INFO, index(0, 195));
    for (const bad of [index(), index(1, 90), index(0, 196), index(0, 200), index(0, 300), index(0, 4)]) {
      expect(() => checkIndexLayout(INFO, bad)).toThrow(MALFORMED);
    }
  });

  /** Blocks as `[offset, stated length]`. */
  const padded = (...blocks: [offset: number, encodedLength: number][]) =>
    decodeIndex(
      encodeIndex(blocks.map(([offset, encodedLength], i) => ({ offset, encodedLength, firstKey: Uint8Array.of(i) }))),
    );

  it('ends a block where the index says, and its room where the next one begins', () => {
    const aligned = padded([0, 70], [100, 0], [150, 49]);
    checkIndexLayout(INFO, aligned);
    expect([0, 1, 2].map((i) => blockEnd(INFO, aligned, i))).toEqual([70, 150, 199]);
    expect([0, 1, 2].map((i) => roomEnd(INFO, aligned, i))).toEqual([100, 150, 200]);
  });

  it('may give a block all of its room', () => {
    checkIndexLayout(INFO, padded([0, 100], [100, 100]));
  });

  it.each([
    [
      'more than the room up to the next block',
      padded([0, 101], [100, 0]),
      0,
      'at most 100 bytes',
      'the next block begins at 100',
    ],
    [
      'more than the room up to the end of the data',
      padded([0, 0], [100, 101]),
      1,
      'at most 100 bytes',
      'the data end at 200',
    ],
    ['more than the object', padded([0, 0], [100, 2 ** 32 - 1]), 1, 'at most 100 bytes', 'the data end at 200'],
    ['no more than a checksum', padded([0, 4], [100, 0]), 0, 'more than 4 bytes, a checksum', 'block 0 at 0'],
  ])('that gives a block %s is refused, with the entry of the index', (_, bad, i, limit, words) => {
    let thrown: unknown;
    try {
      checkIndexLayout(INFO, bad);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'MALFORMED', message: expect.stringContaining(words) });
    const [finding] = (thrown as { findings: { at: object }[] }).findings;
    expect(finding).toMatchObject({ at: { unit: 'index', index: i, offset: 250, length: 100 }, expected: limit });
  });

  it('of a table without blocks has no data bytes', () => {
    const fence = { ...INFO, filterOffset: 0, filterLength: 0, indexOffset: 0, statsLength: 0 };
    checkIndexLayout(fence, index());
    checkIndexLayout({ ...fence, filterLength: 6, indexOffset: 6 }, index());
  });
});
