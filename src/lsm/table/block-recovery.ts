/**
 * What a read can still get out of a damaged data block: the whole block if it can be repaired with proof, else its proven rows.
 *
 * Only the copy in memory is repaired; the stored object stays damaged until a repair. A read searches for less long than a
 * repair does: it must not hold up the event loop.
 */

import { locateFindings } from '../../common/damage.ts';
import { CorruptionError, IncompatibleError, isCorruption } from '../../common/errors.ts';
import type { Finding } from '../../common/finding.ts';
import type { KeyRange } from '../../common/key-range.ts';
import type { SeqRange } from '../../common/seq-range.ts';
import { type Block, decodeBlock } from '../../format/block.ts';
import { type BlockProof, healBlock, READ_WORK_PER_MIB } from '../../format/block-healing.ts';
import type { BlockCodec } from '../../format/codecs.ts';
import { lengthBeforeZeros } from '../../format/frame-search.ts';
import { CRC_BYTES, unframeUnit } from '../../format/framing.ts';
import { salvageBlock } from '../../format/salvage.ts';
import type { FormatVersion, TableInfo } from '../../format/table-info.ts';
import { wrongLength } from '../../format/table-layout.ts';
import { type DamagedBlock, Gap, partsOf } from '../rows/damaged-block.ts';
import { tableHint } from './table-hint.ts';

export interface RecoveryOptions {
  tableId: string;
  info: TableInfo;
  codec: BlockCodec;
  formatVersion: FormatVersion;
  maxBytes: number;
  /** What the seal says about this block. */
  proof: BlockProof | undefined;
  /** By the index. */
  keys: KeyRange;
  /** By the seal. */
  seqs: SeqRange<number>;
  /** Called with what was repaired. */
  onHealed(findings: Finding[]): void;
}

/**
 * @param stored the block as it is stored; shorter where the object was cut
 * @param error what is wrong with it, located
 */
export function recoverBlock(
  stored: Uint8Array,
  error: CorruptionError,
  options: RecoveryOptions,
): Block | DamagedBlock {
  const { tableId, codec, formatVersion, maxBytes, proof, keys, seqs } = options;
  const form = { codec, formatVersion, maxBytes, workPerMib: READ_WORK_PER_MIB };
  const isCut = error.findings.some((f) => f.code === 'TRUNCATED');
  const whole = isCut ? undefined : wholeBlock(stored, error, options);
  if (whole !== undefined) return whole;
  const bounds = {
    order: 'keys' as const,
    separator: keys.gte,
    ...(keys.lte !== undefined && { nextSeparator: keys.lte }),
    minSeq: seqs.min,
    maxSeq: seqs.max,
  };
  const healed = isCut ? undefined : healBlock(stored, { ...form, ...(proof !== undefined && { proof }), bounds });
  const repaired = healed === undefined ? undefined : decoded(healed.stored, options);
  if (repaired !== undefined && healed?.trust === 'proven') {
    options.onHealed(withTableAdvice(error, 'heals', tableId).findings.map((f) => ({ ...f, severity: 'warning' })));
    return repaired;
  }
  const rows =
    proof === undefined || codec.name !== 'none'
      ? []
      : salvageBlock(stored.subarray(0, payloadBytes(stored, proof)), { ...form, proof });
  // A changed byte has too many alternatives: only a changed bit is accepted because of a checksum alone.
  const probable = healed?.kind === 'bit' ? repaired : undefined;
  const remedy = rows.length > 0 ? 'salvages' : probable !== undefined ? 'heals-probably' : 'none';
  const gap = new Gap(keys, seqs, withTableAdvice(error, remedy, tableId), { probable, rows: proof?.rowCount });
  return partsOf(rows, proof?.rowCount ?? 0, gap);
}

/** The block of a padded table to which the index gives some or all of its padding: its own checksum says where it ends. */
function wholeBlock(stored: Uint8Array, error: CorruptionError, options: RecoveryOptions): Block | undefined {
  const length = lengthBeforeZeros(stored);
  const block = length === undefined ? undefined : decoded(stored.subarray(0, length), options);
  if (length === undefined || block === undefined) return undefined;
  const [{ object, during, reads, at }] = error.findings;
  const wrong = wrongLength(options.info, at.index ?? 0, stored.length, length);
  const findings = locateFindings(withTableAdvice(wrong, 'rebuilds', options.tableId), { object, during, reads });
  const hint = tableHint(options.tableId, 'rebuilds');
  options.onHealed(findings.map((f) => ({ ...f, severity: 'warning', origin: 'at-rest', hint })));
  return block;
}

/** A cut block may have lost its checksum, or part of it. */
function payloadBytes(stored: Uint8Array, proof: BlockProof): number {
  return Math.min(stored.length, proof.storedBytes - CRC_BYTES);
}

function decoded(stored: Uint8Array, options: RecoveryOptions): Block | undefined {
  try {
    return decodeBlock(unframeUnit(stored, options.codec, 'block', options.maxBytes), options.formatVersion);
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    return undefined;
  }
}

/** The error with what can be done about it. */
export function withTableAdvice(error: CorruptionError, remedy: Finding['remedy'], tableId: string): CorruptionError {
  const hint = tableHint(tableId, remedy);
  const findings = error.findings.map((f) => ({ ...f, remedy, hint }));
  return new CorruptionError(error.message, findings, { details: { ...error.details }, hint });
}
