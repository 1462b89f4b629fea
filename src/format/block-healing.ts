/**
 * Healing of damaged data blocks: finding the bytes that were written from those that are stored.
 *
 * The difference between the stored checksum and that of the stored bytes is the checksum of the error alone, so each place
 * of a block has exactly one error of up to four bytes that could have been made there. Row checks choose among the places.
 * Pure functions: nothing is read or written, the bytes that come in are never changed.
 */
import type { Block } from './block.ts';
import type { BlockCodec } from './codecs.ts';
import type { RowsPerCheck } from './row-checks.ts';
import { checkStarts, type RowsRecord } from './seal-records.ts';
import type { FormatVersion } from './table-info.ts';

/** What a seal knows about one data block. */
export interface BlockProof {
  /** Stored length, checksum included. */
  storedBytes: number;
  rowCount: number;
  /** 0: the seal has no checks, so nothing can be proven. */
  rowsPerCheck: RowsPerCheck;
  /** xxHash32 of every `rowsPerCheck` rows. */
  checks: Uint32Array;
  /** WAL objects only: sequence number of the first row of each check. */
  firstSeqs?: Float64Array;
  /** WAL objects only: 1 where that row continues the batch of the row before it, also over the border of blocks. */
  continuations?: Uint8Array;
}

/** What is known about a block from elsewhere. Every member narrows what is taken for it. */
export interface BlockBounds {
  /** Rows by key and descending sequence number (tables), or by sequence number (WAL objects). */
  order?: 'keys' | 'seqs';
  /** Separator of the block and of the next one in the index of a table: every key is at or above, at or below it. */
  separator?: Uint8Array;
  nextSeparator?: Uint8Array;
  minSeq?: number;
  maxSeq?: number;
  rowCount?: number;
}

export interface BlockForm {
  codec: BlockCodec;
  formatVersion: FormatVersion;
  /** Most bytes an uncompressed block may have. */
  maxBytes: number;
}

export interface ByteChange {
  /** In the stored bytes. */
  offset: number;
  was: number;
  is: number;
}

export interface Healed {
  /** A copy with the damage undone, checksum included. */
  stored: Uint8Array;
  /** `proven`: row checks confirm it. `probable`: only the checksum, the form of the content and the smallness speak for it. */
  trust: 'proven' | 'probable';
  /** Ascending by offset. */
  changes: ByteChange[];
  /** One bit, one byte, 2 to 4 bytes, or any number of them behind the rows (offsets, count, checksum). */
  kind: 'bit' | 'byte' | 'bytes' | 'trailer';
}

/** What the seal says about block `blockIndex`; undefined if it does not know that block. */
export function blockProof(record: RowsRecord, blockIndex: number): BlockProof | undefined {
  if (!(blockIndex >= 0 && blockIndex < record.blockRows.length)) return undefined;
  const starts = checkStarts(record);
  const from = starts[blockIndex];
  const to = starts[blockIndex + 1];
  return {
    storedBytes: record.blockStoredBytes[blockIndex],
    rowCount: record.blockRows[blockIndex],
    rowsPerCheck: record.rowsPerCheck,
    checks: record.checks.subarray(from, to),
    ...(record.firstSeqs !== undefined && { firstSeqs: record.firstSeqs.subarray(from, to) }),
    ...(record.continuations !== undefined && { continuations: record.continuations.subarray(from, to) }),
  };
}

/** Whether a decoded block agrees with what is known about it. */
export function blockFits(_block: Block, _bounds: BlockBounds): boolean {
  throw new Error('unfinished');
}

/**
 * The block as it was written, or undefined if that cannot be told; also for a block whose checksum holds.
 *
 * With checks in `proof`: up to 4 consecutive damaged bytes of an uncompressed block (3 of a compressed one), or any damage
 * behind the rows; accepted only if all row checks, the form and the checksum hold; `proven`. Without: one bit, or else one
 * byte, if exactly one such change gives a block of legal form within `bounds`; `probable`.
 *
 * Bounded: work is limited to about 50 ms per started MiB of the block; large rows may then stay unhealed.
 */
export function healBlock(
  _stored: Uint8Array,
  _how: BlockForm & { proof?: BlockProof; bounds?: BlockBounds },
): Healed | undefined {
  throw new Error('unfinished');
}
