/**
 * Trials of healing and salvage: blocks are damaged from a seed, healed or salvaged, and the result is held against what was
 * written. A wrong answer throws with the numbers that repeat it; everything else is counted.
 */
import { equalBytes } from '../../src/common/bytes.ts';
import { nextInt, type Random } from '../../src/common/random.ts';
import { type BlockBounds, type BlockForm, healBlock } from '../../src/format/block-healing.ts';
import type { BlockCodec } from '../../src/format/codecs.ts';
import { lengthBeforeZeros } from '../../src/format/frame-search.ts';
import { salvageBlock } from '../../src/format/salvage.ts';
import type { SampleRow } from '../unit/format/block-samples.ts';
import type { SampleBlock } from './samples.ts';

const MAX_BYTES = 1 << 20;

/** Damages `width` consecutive bytes: the first and the last of them surely, those between at random. */
export function burst(random: Random, stored: Uint8Array, width: number, end = stored.length): Uint8Array {
  const out = stored.slice();
  const at = nextInt(random, end - width + 1);
  for (let i = 0; i < width; i++) {
    const isEdge = i === 0 || i === width - 1;
    out[at + i] ^= isEdge ? 1 + nextInt(random, 255) : nextInt(random, 256);
  }
  return out;
}

export interface HealTally {
  trials: number;
  exact: number;
  /** Of sealed blocks this never happens; without a seal a wider damage may look like a smaller one. */
  wrong: number;
  unhealed: number;
}

export function newTally(): HealTally {
  return { trials: 0, exact: 0, wrong: 0, unhealed: 0 };
}

export function formOf(codec: BlockCodec): BlockForm {
  return { codec, formatVersion: 2, maxBytes: MAX_BYTES };
}

/** Heals one damaged block and counts what came of it. */
export function tryHeal(
  block: SampleBlock,
  damaged: Uint8Array,
  codec: BlockCodec,
  tally: HealTally,
  known: { sealed: boolean; bounds?: BlockBounds } = { sealed: true },
): void {
  const { bounds } = known;
  const how = { ...formOf(codec), ...(known.sealed && { proof: block.proof }), ...(bounds && { bounds }) };
  const healed = healBlock(damaged, how);
  tally.trials++;
  if (block.paddingBytes > 0 && isTakenForAnother(block, damaged)) tally.wrong++;
  if (healed === undefined) tally.unhealed++;
  else if (equalBytes(healed.stored, block.stored)) tally.exact++;
  else tally.wrong++;
  if (healed !== undefined && (healed.trust === 'proven') !== known.sealed)
    throw new Error('trust is not what it should be');
}

/** Whether the damaged block with its padding looks like a sound one of another length. */
function isTakenForAnother({ stored, paddingBytes }: SampleBlock, damaged: Uint8Array): boolean {
  const room = new Uint8Array(stored.length + paddingBytes);
  room.set(damaged);
  return lengthBeforeZeros(room) !== undefined;
}

export interface SalvageTally {
  blocks: number;
  rows: number;
  recovered: number;
  wrong: number;
}

export function newSalvageTally(): SalvageTally {
  return { blocks: 0, rows: 0, recovered: 0, wrong: 0 };
}

/** Salvages one damaged block and compares every row that is called verified with the one of that ordinal. */
export function trySalvage(block: SampleBlock, damaged: Uint8Array, codec: BlockCodec, tally: SalvageTally): void {
  const rows = salvageBlock(damaged.subarray(0, damaged.length - 4), { ...formOf(codec), proof: block.proof });
  tally.blocks++;
  tally.rows += block.rows.length;
  tally.recovered += rows.length;
  let last = -1;
  for (const row of rows) {
    if (row.ordinal <= last || !isSameRow(row, block.rows[row.ordinal])) tally.wrong++;
    last = row.ordinal;
  }
}

export function isSameRow(a: SampleRow, b: SampleRow | undefined): boolean {
  return (
    b !== undefined &&
    equalBytes(a.key, b.key) &&
    equalBytes(a.value, b.value) &&
    a.seq === b.seq &&
    a.flags === b.flags &&
    a.createTs === b.createTs &&
    a.expireTs === b.expireTs
  );
}
