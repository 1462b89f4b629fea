/**
 * Salvage: the rows of a block that cannot be healed.
 *
 * Rows under a check that holds are as good as those of an intact block, wherever they lie. All others are a guess.
 */
import type { BlockBounds, BlockForm, BlockProof } from './block-healing.ts';

interface RowContent {
  key: Uint8Array;
  /** Empty for a tombstone. */
  value: Uint8Array;
  seq: number;
  /** See row-flags.ts. */
  flags: number;
  /** Milliseconds, or NO_TS. */
  createTs: number;
  expireTs: number;
}

/** A row under a check that holds. */
export interface SalvagedRow extends RowContent {
  /** Position among the rows of the block. Between two rows with consecutive ordinals there was never another. */
  ordinal: number;
  trust: 'verified';
}

/** A row that nothing confirms. */
export interface SuspectRow extends RowContent {
  /** Unknown where rows before it in the block could not be counted. */
  ordinal: number | undefined;
  trust: 'suspect';
  /** Why it is not believed, for people. */
  reason: string;
}

/**
 * Rows that are verified by a check of the seal, by ordinal. Key and value are copies. Empty for compressed blocks, blocks
 * of format version 1 and seals without checks.
 * @param payload the stored block without its checksum; may be cut at its end
 */
export function salvageBlock(_payload: Uint8Array, _how: BlockForm & { proof: BlockProof }): SalvagedRow[] {
  throw new Error('unfinished');
}

/**
 * Rows that parse and fit, besides those verified, in the order in which they lie. Never to be put back unasked: any byte of
 * them may be wrong. Empty for compressed blocks.
 * @param payload the stored block without its checksum; may be cut at its end
 */
export function suspectRows(
  _payload: Uint8Array,
  _how: BlockForm & { proof?: BlockProof; bounds?: BlockBounds },
): SuspectRow[] {
  throw new Error('unfinished');
}
