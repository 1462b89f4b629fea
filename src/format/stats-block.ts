/** The stats block of a table: row counts by kind and byte totals. Informational; nothing is read through it. */
import { FlatBuilder, FlatReader, type FlatRef } from './flatbuffer.ts';

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

/** Makes the payload. Blocks are encoded as they come, so that the end of a large table has no long step left. */
export class StatsBuilder {
  readonly #builder = new FlatBuilder();
  readonly #blocks: FlatRef[] = [];

  /** Adds a block; each count must be below 65536. */
  addBlock(puts: number, deletes: number, merges: number): void {
    const builder = this.#builder;
    builder.startTable();
    builder.addU16(0, puts);
    builder.addU16(1, deletes);
    builder.addU16(2, merges);
    this.#blocks.push(builder.endTable());
  }

  /** The payload. Ends the builder. */
  finish(totals: Omit<TableStats, 'blocks'>): Uint8Array {
    const builder = this.#builder;
    const vector = this.#blocks.length === 0 ? undefined : builder.tableVector(this.#blocks);
    builder.startTable();
    builder.addU64(0, totals.puts);
    builder.addU64(1, totals.deletes);
    builder.addU64(2, totals.merges);
    builder.addU64(3, totals.rawKeyBytes);
    builder.addU64(4, totals.rawValueBytes);
    builder.addRef(5, vector);
    return builder.finish(builder.endTable());
  }
}
