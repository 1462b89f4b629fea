/**
 * A table made again from its rows, as its writer would have made it: the settings are read off what is left of the old one.
 *
 * The size limit of blocks is not stored, but the largest block of several rows stands for it: with that limit every block is
 * cut where it was. The size of the filter gives the bits per key. A table with padding stays aligned, to the unit that its blocks
 * show (`unitOf`). So a table of which no row was lost comes out byte for byte as it was (compressed ones if the same compressor is
 * at work), up to seal, info block and footer.
 */
import { assertThat } from '../common/assert.ts';
import { compareBytes, equalBytes } from '../common/bytes.ts';
import { ulidToBytes } from '../common/ulid.ts';
import type { Block } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { unitOf } from '../format/block-places.ts';
import { PROBES_BYTES, probeCount } from '../format/bloom.ts';
import { CRC_BYTES } from '../format/framing.ts';
import type { TableRef } from '../format/manifest-types.ts';
import { chooseRowsPerCheck, type RowsPerCheck } from '../format/row-checks.ts';
import { encodeSeal } from '../format/seal.ts';
import type { LineageRecord } from '../format/seal-records.ts';
import { MIN_BLOCK_BYTES, TableBuilder, type TableFacts } from '../format/table-builder.ts';
import type { FilterForm } from '../format/table-info.ts';
import { dissectTail, findBlocks, type TableAnatomy } from '../lsm/table/table-anatomy.ts';
import type { TableNaming } from './repair-plan.ts';
import { RowAudit } from './row-audit.ts';
import { type ExaminedBlock, examineBlock, readableBlock } from './table-blocks.ts';

/** A row by itself, out of the block it came from. */
export interface LooseRow {
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

/** Rows in their order: whole blocks, and between them rows that came from elsewhere. */
export type RowPiece = Block | readonly LooseRow[];

export interface RebuildSettings {
  /** Of an aligned table the unit. */
  blockBytes: number;
  isAligned: boolean;
  filter: { form: FilterForm; bitsPerKey: number; minKeys: number };
  rowsPerCheck: RowsPerCheck;
}

const DEFAULT_BLOCK_BYTES = 4096;
const DEFAULT_BITS_PER_KEY = 10;
const MAX_TARGET_BYTES = 65_536;
/** Number of filters, name length, name, length: what a composite filter block has before its only filter. */
const COMPOSITE_BYTES = 15;
const MOST_BITS_PER_KEY = 1000;
/** Stands for "no filter however many keys". */
const NEVER = Number.POSITIVE_INFINITY;

/** The settings of the writer; `rowCount` is what the table had. */
export function inferSettings(tail: TableAnatomy, blocks: readonly ExaminedBlock[], rowCount: number): RebuildSettings {
  let blockBytes = 0;
  let rows = 0;
  let bytes = 0;
  for (const { block } of blocks) {
    if (block === undefined) continue;
    rows += block.rowCount;
    bytes += block.bytes.length;
    if (block.formatVersion === 2 && block.rowCount > 1) blockBytes = Math.max(blockBytes, block.bytes.length);
  }
  const unit = inferUnit(tail, blocks);
  const isFallback = blockBytes === 0 && blocks.every((b) => b.block === undefined || b.block.formatVersion === 1);
  const sealed = tail.isForeign ? undefined : tail.seal?.rows?.rowsPerCheck;
  return {
    blockBytes:
      unit ?? (isFallback ? DEFAULT_BLOCK_BYTES : Math.min(Math.max(blockBytes, MIN_BLOCK_BYTES), MAX_TARGET_BYTES)),
    isAligned: unit !== undefined,
    filter: inferFilter(tail, rowCount),
    rowsPerCheck: sealed ?? chooseRowsPerCheck(rows === 0 ? 100 : bytes / rows),
  };
}

/**
 * To what an aligned table is aligned; undefined for all others. Only blocks of which the room is known count. A table all of whose
 * blocks fill their rooms looks like one that is not aligned, and comes out the same either way. Where padding is there and no unit
 * explains it, nothing is proven: SlateDB's default stands for it, so that what reads whole units goes on doing so. No writer pads
 * compressed tables, and a program that reads them need not expect it of a new one.
 */
function inferUnit(tail: TableAnatomy, blocks: readonly ExaminedBlock[]): number | undefined {
  const known = blocks.filter((b) => b.place.isUnknown === undefined);
  if (tail.codec.name !== 'none' || !known.some(({ place }) => place.roomEnd > place.end)) return undefined;
  const rooms = known.map(({ block, proof, bounds, place }) => ({
    ...place,
    rowCount: block?.rowCount ?? proof?.rowCount ?? bounds.rowCount,
  }));
  return Math.max(unitOf(rooms) ?? DEFAULT_BLOCK_BYTES, MIN_BLOCK_BYTES);
}

function inferFilter({ info, filter, codec }: TableAnatomy, rowCount: number): RebuildSettings['filter'] {
  const form = info?.filterForm ?? 'legacy';
  if (info === undefined || info.filterLength === 0) return { form, bitsPerKey: DEFAULT_BITS_PER_KEY, minKeys: NEVER };
  const overhead = CRC_BYTES + PROBES_BYTES + (form === 'composite' ? COMPOSITE_BYTES : 0);
  const bitBytes = filter?.bits.length ?? (codec.name === 'none' ? info.filterLength - overhead : undefined);
  const fits = (bits: number) =>
    Math.ceil((rowCount * bits) / 8) === bitBytes && (filter === undefined || probeCount(bits) === filter.probes);
  let bitsPerKey = DEFAULT_BITS_PER_KEY;
  if (bitBytes !== undefined && !fits(bitsPerKey)) {
    for (let bits = 1; bits <= MOST_BITS_PER_KEY; bits++) {
      if (!fits(bits)) continue;
      bitsPerKey = bits;
      break;
    }
  }
  return { form, bitsPerKey, minKeys: 0 };
}

/** The object and what the manifest says about it. Reads it back before it returns: every row of every block. */
export async function buildRepairedTable(
  pieces: readonly RowPiece[],
  tail: TableAnatomy,
  settings: RebuildSettings,
  lineage: LineageRecord | undefined,
  how: TableNaming,
): Promise<{ bytes: Uint8Array; table: TableRef }> {
  const builder = new TableBuilder({
    tableType: 'compacted',
    blockBytes: settings.blockBytes,
    isAligned: settings.isAligned,
    codec: tail.codec,
    filter: settings.filter,
    rowsPerCheck: settings.rowsPerCheck,
    capacityBytes: tail.size + 4096,
  });
  addRows(builder, pieces);
  const { bytes, info } = builder.finish((facts) => sealOf(facts, tail, lineage, how));
  const table: TableRef = { id: how.id, info, formatVersion: 2 };
  await assertReadable(bytes, table, builder.rowCount);
  return { bytes, table };
}

function addRows(builder: TableBuilder, pieces: readonly RowPiece[]): void {
  const rows = new BlockCursor();
  for (const piece of pieces) {
    if (!isBlock(piece)) {
      for (const { key, value, seq, flags, createTs, expireTs } of piece) {
        builder.add(key, 0, key.length, value, 0, value.length, seq, flags, createTs, expireTs);
      }
      continue;
    }
    rows.attach(piece);
    const { bytes } = piece;
    for (let more = rows.first(); more; more = rows.next()) {
      const { key, keyLength, valueStart, valueLength, seq, flags, createTs, expireTs } = rows;
      builder.add(key, 0, keyLength, bytes, valueStart, valueLength, seq, flags, createTs, expireTs);
    }
  }
}

export function isBlock(piece: RowPiece): piece is Block {
  return 'restartCount' in piece;
}

function sealOf(
  facts: TableFacts,
  tail: TableAnatomy,
  lineage: LineageRecord | undefined,
  how: TableNaming,
): Uint8Array {
  const { id, putId, author, epoch, newestManifestId, repair } = how;
  const codec = tail.codec.name;
  return encodeSeal({
    kind: 'table',
    identity: author.identity({ objectId: ulidToBytes(id), putId, epoch, newestManifestId, formatVersion: 2, codec }),
    ...(lineage !== undefined && {
      lineage: {
        ...lineage,
        minSeq: facts.minSeq,
        maxSeq: facts.maxSeq,
        maxCreateTs: facts.maxCreateTs,
        rows: facts.rowCount,
      },
    }),
    rows: facts.rows,
    repair,
    expiry: facts.expiry,
  });
}

/** What is stored in place of something damaged is looked at as a check would. */
async function assertReadable(
  bytes: Uint8Array,
  { id, info, formatVersion }: TableRef,
  rowCount: number,
): Promise<void> {
  const tail = await dissectTail(bytes, 0, { id, path: '', info, formatVersion }, 'repair');
  const { places } = await findBlocks(bytes, tail);
  const wrong: string[] = tail.findings.map((f) => f.code);
  const audit = new RowAudit(tail, {}, (error) => wrong.push(error.message));
  places.forEach((place, i) => {
    const b = examineBlock(bytes.subarray(place.start, place.roomEnd), i, place, tail);
    if (b.trust === 'good') audit.block(i, place, readableBlock(b));
    else wrong.push(`block ${i}`);
  });
  audit.finish(true);
  assertThat(wrong.length === 0 && audit.rowCount === rowCount, 'a table that was made again is sound', { wrong });
}

/** Order of rows in a table: by key, then newest first. */
export function compareRows(a: Pick<LooseRow, 'key' | 'seq'>, b: Pick<LooseRow, 'key' | 'seq'>): number {
  return compareBytes(a.key, b.key) || b.seq - a.seq;
}

/** Sorted, each version once. */
export function sortedRows(rows: readonly LooseRow[]): LooseRow[] {
  const sorted = [...rows].sort(compareRows);
  return sorted.filter((row, i) => i === 0 || row.seq !== sorted[i - 1].seq || !equalBytes(row.key, sorted[i - 1].key));
}
