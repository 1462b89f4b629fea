/**
 * What a seal knows about one data block: its length, its rows and the hash of every few of them. It is the witness that is
 * independent of the block's own checksum.
 */
import { CRC_BYTES } from './framing.ts';
import type { RowsPerCheck } from './row-checks.ts';
import { RESTART_INTERVAL } from './row-encoding.ts';
import { checkStarts, checksOfBlock, type RowsRecord } from './seal-records.ts';

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

/** What the seal says about block `blockIndex`; undefined if it does not know that block. Costs 5 ns per block of the table. */
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

/** Whether a proof can decide anything: it has checks, as many as its rows need, of all kinds. */
export function hasChecks(proof: BlockProof): boolean {
  const { rowsPerCheck, rowCount, checks, firstSeqs, continuations } = proof;
  return (
    rowsPerCheck > 0 &&
    rowCount > 0 &&
    checks.length === checksOfBlock(rowCount, rowsPerCheck) &&
    (firstSeqs === undefined || firstSeqs.length === checks.length) &&
    (continuations === undefined || continuations.length === checks.length)
  );
}

/** Restart rows of the block. */
export function restartCountOf(proof: BlockProof): number {
  return Math.ceil(proof.rowCount / RESTART_INTERVAL);
}

/** Bytes of rows, if the stored block is not compressed; not positive if the proof contradicts itself. */
export function plainRowBytes(proof: BlockProof): number {
  return proof.storedBytes - CRC_BYTES - trailerBytes(proof);
}

/** The list of restart rows and their number. */
export function trailerBytes(proof: BlockProof): number {
  return 2 * restartCountOf(proof) + 2;
}
