/** The info block: those of the fixtures byte for byte, and damaged ones. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../src/common/bytes.ts';
import { crc32 } from '../../../src/format/checksum.ts';
import { FlatBuilder } from '../../../src/format/flatbuffer.ts';
import { decodeInfo, encodeInfo } from '../../../src/format/info-block.ts';
import type { TableInfo } from '../../../src/format/table-info.ts';
import { decodeFooter } from '../../../src/format/table-layout.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

const hex = (bytes: Uint8Array | undefined) => (bytes === undefined ? null : toHex(bytes));

/** The form of the fixtures' `expected.json`. */
function toExpected(info: TableInfo) {
  return {
    first_entry: hex(info.firstEntry),
    last_entry: hex(info.lastEntry),
    index_offset: String(info.indexOffset),
    index_len: String(info.indexLength),
    filter_offset: String(info.filterOffset),
    filter_len: String(info.filterLength),
    compression_format: info.codec,
    sst_type: info.tableType,
    stats_offset: String(info.statsOffset),
    stats_len: String(info.statsLength),
    filter_format: info.filterForm,
  };
}

function goldenInfos(): Uint8Array[] {
  return goldenFixtures()
    .flatMap((fixture) => fixture.objects)
    .filter((object) => object.path.endsWith('.sst') && object.bytes.length > 0)
    .map(({ bytes }) => bytes.slice(decodeFooter(bytes.subarray(-10), bytes.length).infoOffset, bytes.length - 14));
}

const INFO: TableInfo = {
  firstEntry: fromHex('6170706c65'),
  lastEntry: fromHex('70656172'),
  indexOffset: 104,
  indexLength: 52,
  filterOffset: 94,
  filterLength: 10,
  codec: 'none',
  tableType: 'compacted',
  statsOffset: 156,
  statsLength: 92,
  filterForm: 'legacy',
};

describe('info block', () => {
  it('of every fixture object encodes to the same bytes again', () => {
    const payloads = goldenInfos();
    expect(payloads.length).toBe(420);
    for (const payload of payloads) expect(toHex(encodeInfo(decodeInfo(payload)))).toBe(toHex(payload));
  });

  it('equals what the fixtures say about each object', () => {
    let checked = 0;
    for (const fixture of goldenFixtures()) {
      for (const table of [...(fixture.expected.wal ?? []), ...(fixture.expected.compacted_ssts ?? [])]) {
        if (table.info === undefined) continue;
        const { bytes } = fixture.objects.find((o) => o.path.endsWith(table.object))!;
        const found = toExpected(decodeInfo(bytes.subarray(Number(table.info_block_offset), bytes.length - 14)));
        // Long keys are given as length and hash.
        for (const key of ['first_entry', 'last_entry'] as const) {
          if (typeof table.info[key] === 'object' && table.info[key] !== null) found[key] = table.info[key];
        }
        expect(found).toEqual(table.info);
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(200);
  });

  it('of the annotated table has the checksum of the format description', () => {
    expect(crc32(encodeInfo(INFO))).toBe(0x62e404be);
  });

  it.each([
    ['codec', 5, 5],
    ['table type', 6, 2],
    ['filter form', 10, 2],
  ])('with an unknown %s is of a newer program', (_, slot, value) => {
    const build = (number: number) => {
      const builder = new FlatBuilder();
      builder.startTable();
      builder.addU8(slot, number);
      return builder.finish(builder.endTable());
    };
    expect(() => decodeInfo(build(value - 1))).not.toThrow();
    for (const unknown of [value, 255]) {
      expect(() => decodeInfo(build(unknown))).toThrow(expect.objectContaining({ code: 'FORMAT_TOO_NEW' }));
    }
  });

  it('keeps its keys after its payload was overwritten', () => {
    const payload = encodeInfo(INFO);
    const info = decodeInfo(payload);
    payload.fill(0);
    expect(info).toEqual(INFO);
  });

  it('gives a value or a typed error for 20,000 damaged payloads', () => {
    const inputs = goldenInfos().filter((payload) => payload.length < 1000);
    const result = fuzzDecoder(inputs, (b) => encodeInfo(decodeInfo(b)), { runs: 20_000, seed: 13 });
    expect(result.refused).toBeGreaterThan(3_000);
  });
});
