/** The stats block of a table: row counts by kind and byte totals. Informational; nothing is read through it. */
import { FlatBuilder, FlatReader } from './flatbuffer.ts';

const STATS_SLOTS = 6;
const BLOCK_SLOTS = 3;

/** Counts of rows; key bytes are those of full keys, every row counted. `blocks`: puts, deletes, merges per data block. */
export interface TableStats {
  puts: number;
  deletes: number;
  merges: number;
  rawKeyBytes: number;
  rawValueBytes: number;
  /** Absent in a table without rows. */
  blocks: [puts: number, deletes: number, merges: number][] | undefined;
}

/** Throws `MALFORMED` damage. */
export function decodeStats(payload: Uint8Array): TableStats {
  const reader = new FlatReader(payload, 'stats');
  const root = reader.root(STATS_SLOTS);
  return {
    puts: reader.u64(root, 0),
    deletes: reader.u64(root, 1),
    merges: reader.u64(root, 2),
    rawKeyBytes: reader.u64(root, 3),
    rawValueBytes: reader.u64(root, 4),
    blocks: decodeBlocks(reader, reader.vector(root, 5, 4)),
  };
}

function decodeBlocks(reader: FlatReader, vector: number): TableStats['blocks'] {
  if (vector === 0) return undefined;
  const blocks: [number, number, number][] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const block = reader.element(vector, i, BLOCK_SLOTS);
    blocks.push([reader.u16(block, 0), reader.u16(block, 1), reader.u16(block, 2)]);
  }
  return blocks;
}

/** The payload; the counts of one block must each be below 65536. */
export function encodeStats(stats: TableStats): Uint8Array {
  const builder = new FlatBuilder(128 + 24 * (stats.blocks?.length ?? 0));
  const blocks = stats.blocks?.map(([puts, deletes, merges]) => {
    builder.startTable();
    builder.addU16(0, puts);
    builder.addU16(1, deletes);
    builder.addU16(2, merges);
    return builder.endTable();
  });
  const vector = blocks === undefined ? undefined : builder.tableVector(blocks);
  builder.startTable();
  builder.addU64(0, stats.puts);
  builder.addU64(1, stats.deletes);
  builder.addU64(2, stats.merges);
  builder.addU64(3, stats.rawKeyBytes);
  builder.addU64(4, stats.rawValueBytes);
  builder.addRef(5, vector);
  return builder.finish(builder.endTable());
}
