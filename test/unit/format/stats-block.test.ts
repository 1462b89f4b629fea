/** The stats block: those of the fixtures byte for byte, and damaged ones. */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import { crc32 } from '../../../src/format/checksum.ts';
import { decodeStats, StatsBuilder, type TableStats } from '../../../src/format/stats-block.ts';
import { goldenFixtures } from '../../support/golden-fixtures.ts';
import { fuzzDecoder } from '../../support/mutations.ts';

interface ExpectedStats {
  num_puts: string;
  num_deletes: string;
  num_merges: string;
  raw_key_size: string;
  raw_val_size: string;
  block_stats: number[][];
}

function toExpected(stats: TableStats): ExpectedStats {
  return {
    num_puts: String(stats.puts),
    num_deletes: String(stats.deletes),
    num_merges: String(stats.merges),
    raw_key_size: String(stats.rawKeyBytes),
    raw_val_size: String(stats.rawValueBytes),
    block_stats: stats.blocks ?? [],
  };
}

/** Payloads of all uncompressed stats blocks with what is expected of them. */
function goldenStats(): { payload: Uint8Array; expected: ExpectedStats }[] {
  return goldenFixtures().flatMap((fixture) =>
    [...(fixture.expected.wal ?? []), ...(fixture.expected.compacted_ssts ?? [])]
      .filter((table) => table.stats && table.info.compression_format === 'none')
      .map((table) => {
        const { bytes } = fixture.objects.find((o) => o.path.endsWith(table.object))!;
        const at = Number(table.info.stats_offset);
        return { payload: bytes.slice(at, at + Number(table.info.stats_len) - 4), expected: table.stats };
      }),
  );
}

function encodeStats(stats: TableStats): Uint8Array {
  const builder = new StatsBuilder();
  for (const [puts, deletes, merges] of stats.blocks ?? []) builder.addBlock(puts, deletes, merges);
  return builder.finish(stats);
}

describe('stats block', () => {
  it('of every uncompressed fixture table decodes to what is expected and encodes to the same bytes', () => {
    const all = goldenStats();
    expect(all.length).toBeGreaterThan(50);
    for (const { payload, expected } of all) {
      const stats = decodeStats(payload);
      expect(toExpected(stats)).toEqual(expected);
      expect(toHex(encodeStats(stats))).toBe(toHex(payload));
    }
  });

  it('of the annotated table has the checksum of the format description', () => {
    const blocks: TableStats['blocks'] = [[2, 1, 0]];
    const payload = encodeStats({ puts: 2, deletes: 1, merges: 0, rawKeyBytes: 14, rawValueBytes: 8, blocks });
    expect([payload.length, crc32(payload)]).toEqual([0x58, 0xfbd66125]);
  });

  it('of a table without rows is twelve bytes and has no block list', () => {
    const empty = { puts: 0, deletes: 0, merges: 0, rawKeyBytes: 0, rawValueBytes: 0, blocks: undefined };
    expect(encodeStats(empty).length).toBe(12);
    expect(decodeStats(encodeStats(empty))).toEqual(empty);
  });

  it('gives a value or a typed error for 20,000 damaged payloads', () => {
    const inputs = goldenStats().map((s) => s.payload);
    const result = fuzzDecoder(inputs, decodeStats, { runs: 20_000, seed: 12 });
    expect(result.refused).toBeGreaterThan(3_000);
  });
});
