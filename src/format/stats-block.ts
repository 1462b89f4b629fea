/**
 * The stats block of a table: row counts by kind and byte totals. Informational; nothing is read through it.
 *
 * ```
 * SstStats     0 num_puts  1 num_deletes  2 num_merges       u64, rows
 *              3 raw_key_size  4 raw_val_size                u64, bytes; of full keys, every row counted
 *              5 block_stats                                 [BlockStats], absent in a table without rows
 * BlockStats   0 num_puts  1 num_deletes  2 num_merges       u16, rows of one data block, in the order of the index
 * ```
 *
 * Absent in WAL objects and in tables from before SlateDB 0.12: their info block says length 0.
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 0x9c
 * 18 00 00 00                                      root table at +24
 * 00 00 00 00                                      padding
 * 10 00 28 00 08 00 10 00 00 00 18 00 20 00 04 00  vtable: 16 bytes, SstStats of 40, fields at 8 16 - 24 32 4
 * 10 00 00 00                                      SstStats: vtable 16 bytes before
 * 24 00 00 00                                      block_stats at +36
 * 02 00 00 00 00 00 00 00                          num_puts=2
 * 01 00 00 00 00 00 00 00                          num_deletes=1
 * 0e 00 00 00 00 00 00 00                          raw_key_size=14
 * 08 00 00 00 00 00 00 00                          raw_val_size=8
 * 01 00 00 00 0c 00 00 00                          block_stats: 1 entries
 * 08 00 08 00 04 00 06 00                          vtable: 8 bytes, BlockStats of 8, fields at 4 6
 * 08 00 00 00                                      BlockStats block_stats: vtable 8 bytes before
 * 02 00                                            num_puts=2
 * 01 00                                            num_deletes=1
 * ```
 *
 * The counts of a block are u16: a block of several rows has at most 65,536 bytes and a row at least 12, so they cannot overflow.
 */
import { finish, type Steps } from '../common/async.ts';
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

/** Rows of all kinds. */
export function countedRows({ puts, deletes, merges }: Pick<TableStats, 'puts' | 'deletes' | 'merges'>): number {
  return puts + deletes + merges;
}

/** Blocks whose counts are decoded in one step: about half a millisecond. */
const COUNTS_PER_STEP = 4096;

/** Throws `MALFORMED` damage. */
export function decodeStats(payload: Uint8Array): TableStats {
  return finish(decodeStatsSteps(payload));
}

/** `decodeStats` in steps. */
export function* decodeStatsSteps(payload: Uint8Array): Steps<TableStats> {
  const reader = new FlatReader(payload, 'stats');
  const root = reader.root(STATS_SLOTS);
  return {
    puts: reader.u64(root, 0),
    deletes: reader.u64(root, 1),
    merges: reader.u64(root, 2),
    rawKeyBytes: reader.u64(root, 3),
    rawValueBytes: reader.u64(root, 4),
    blocks: yield* decodeBlocks(reader, reader.vector(root, 5, 4)),
  };
}

function* decodeBlocks(reader: FlatReader, vector: number): Steps<TableStats['blocks']> {
  if (vector === 0) return undefined;
  const blocks: [number, number, number][] = [];
  for (const count = reader.count(vector); blocks.length < count; ) {
    if (blocks.length > 0) yield;
    addBlocks(reader, vector, blocks, Math.min(count, blocks.length + COUNTS_PER_STEP));
  }
  return blocks;
}

function addBlocks(reader: FlatReader, vector: number, blocks: [number, number, number][], end: number): void {
  for (let i = blocks.length; i < end; i++) {
    const block = reader.element(vector, i, BLOCK_SLOTS);
    blocks.push([reader.u16(block, 0), reader.u16(block, 1), reader.u16(block, 2)]);
  }
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
