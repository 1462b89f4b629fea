/**
 * Losses that repairs have recorded, as sources of a read.
 *
 * A repair that could not save all rows of a table writes the range to the damage ledger, so that the loss does not become
 * silent: until it is acknowledged, a read that ends in such a range learns what may be missing.
 *
 * A loss of the write-ahead log has sequence numbers and no known keys: its rows may have had any key (`UnplacedLoss`). Every
 * answer older than its greatest number, an absence above all, may lack one of them; what is newer is simply right. What
 * becomes of such a read is decided by its `corruptionPolicy` (RFC 0005, "Reads").
 */

import { acknowledgeLoss, LIST_LOSSES, makeHint } from '../../common/advice.ts';
import { assertThat } from '../../common/assert.ts';
import { compareBytes, EMPTY_BYTES } from '../../common/bytes.ts';
import { CorruptionError } from '../../common/errors.ts';
import { makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import { endsBelow, lastKeyOf } from '../../common/key-range.ts';
import type { SeqRange } from '../../common/seq-range.ts';
import { parseWalPath, roleOfPath } from '../../format/object-names.ts';
import { NO_TS } from '../../format/row-flags.ts';
import { DAMAGE_SEQ, FLAG_DAMAGED, type MayBeDamaged } from '../rows/damage-row.ts';
import { ANY_SEQ, Gap } from '../rows/damaged-block.ts';
import { END, ROW, type RowCursor } from '../rows/row-cursor.ts';
import { isUnknownLoss, type LedgerEntry } from './damage-ledger.ts';

/**
 * The open losses of a ledger as gaps.
 * @param inUse paths of the tables that the manifest names: a loss is written down before its table is replaced, and until
 *   then the table speaks for itself
 */
export function gapsOfLedger(entries: readonly LedgerEntry[], inUse: ReadonlySet<string>): Gap[] {
  const gaps: Gap[] = [];
  for (const entry of entries) {
    if (entry.state !== 'open' || inUse.has(entry.object)) continue;
    for (const keys of entry.keys) gaps.push(new Gap(keys, seqsOf(entry), lossOf(entry)));
  }
  return gaps;
}

/** A loss of which only sequence numbers are known. */
export interface UnplacedLoss {
  seqs: SeqRange<number>;
  error: CorruptionError;
}

/** For views without one, which pay one comparison of a length. */
export const NO_LOSSES: readonly UnplacedLoss[] = [];

/**
 * The open losses of a ledger whose keys are not known, one for each range of numbers.
 * @param replayedTo replay point of the manifest: an object of the log after it speaks for itself, as it is replayed or refuses
 *   the opening
 */
export function unplacedLosses(entries: readonly LedgerEntry[], replayedTo: number): readonly UnplacedLoss[] {
  const losses: UnplacedLoss[] = [];
  for (const entry of entries) {
    if (entry.state !== 'open' || entry.keys.length > 0 || (parseWalPath(entry.object) ?? 0) > replayedTo) continue;
    const error = lossOf(entry);
    for (const { min, max } of entry.seqs) losses.push({ seqs: { min: Number(min), max: Number(max) }, error });
    if (entry.seqs.length === 0) losses.push({ seqs: ANY_SEQ, error });
  }
  return losses.length === 0 ? NO_LOSSES : losses;
}

/** Those of which a read up to `maxSeq` might have seen a row newer than `seq`. */
export function lossesAbove(losses: readonly UnplacedLoss[], seq: number, maxSeq: number): readonly UnplacedLoss[] {
  if (losses.length === 0) return NO_LOSSES;
  return losses.filter(({ seqs }) => seqs.min <= maxSeq && seqs.max > seq);
}

/** One error for several losses, each ledger entry once; after `damage`, if there is some. */
export function lossError(losses: readonly UnplacedLoss[], damage?: CorruptionError): CorruptionError {
  assertThat(losses.length > 0, 'an error for losses names one');
  const errors = [...new Set([...(damage === undefined ? [] : [damage]), ...losses.map((l) => l.error)])];
  if (errors.length === 1) return errors[0];
  return new CorruptionError(
    errors.map((e) => e.message).join('; '),
    errors.flatMap((e) => e.findings),
    { details: { ...errors[0].details } },
  );
}

function seqsOf({ seqs }: LedgerEntry): SeqRange<number> {
  if (seqs.length === 0) return ANY_SEQ;
  return {
    min: Math.min(...seqs.map((s) => Number(s.min))),
    max: Math.max(...seqs.map((s) => Number(s.max))),
  };
}

function lossOf(entry: LedgerEntry): CorruptionError {
  const { id, object: path, repairId, keys, seqs } = entry;
  const isUnknown = isUnknownLoss(entry);
  const [first] = seqs;
  const isPlaced = keys.length > 0;
  const finding = makeFinding({
    code: 'LOST_DATA',
    object: {
      role: isUnknown ? 'sidecar' : roleOfPath(path) === 'wal' ? 'wal' : 'table',
      path,
      id: path,
      sealed: false,
    },
    at: WHOLE_OBJECT,
    ...(!isPlaced && first !== undefined && { affects: { seqs: { min: first.min, max: seqs[seqs.length - 1].max } } }),
    remedy: 'none',
    origin: 'at-rest',
    hint: makeHint(
      isUnknown
        ? `${path} cannot be read, and with it what earlier repairs lost: every answer that is not newer may lack a row. Put the object back from a backup; or write again what you have elsewhere, then acknowledge the unknown loss.`
        : isPlaced
          ? `Repair ${repairId} could not save all rows of ${path}. Acknowledge the loss, or restore the object from a backup, and such reads answer again.`
          : `Repair ${repairId} could not save all rows of ${path}, and nothing says which keys they had: every answer older than they were may lack one of them. Write again what you have elsewhere, then acknowledge the loss.`,
      'none',
      [LIST_LOSSES, acknowledgeLoss(id)],
    ),
  });
  const message = isUnknown
    ? `rows may be lost of which no record is left: ${path} of the damage ledger cannot be read (${id})`
    : `rows of ${path} were lost (damage ledger, ${id})`;
  return new CorruptionError(message, [{ ...finding, id }]);
}

/** Shows each loss as one damage row (damage-row.ts). */
export class LostCursor implements RowCursor, MayBeDamaged {
  status: number = END;
  keyBuf: Uint8Array = EMPTY_BYTES;
  readonly keyStart = 0;
  keyLength = 0;
  readonly valueBuf: Uint8Array = EMPTY_BYTES;
  readonly valueStart = 0;
  readonly valueLength = 0;
  readonly keyView = undefined;
  readonly valueView = undefined;
  readonly seq: number;
  readonly flags = FLAG_DAMAGED;
  readonly createTs: number = NO_TS;
  readonly expireTs: number = NO_TS;
  damage: Gap | undefined;
  readonly #lost: readonly Gap[];
  readonly #reverse: boolean;
  #left: Gap[] = [];

  constructor(lost: readonly Gap[], reverse: boolean, maxSeq: number) {
    assertThat(maxSeq >= 0, 'a read sees rows up to a sequence number');
    this.#reverse = reverse;
    this.seq = reverse ? -1 : DAMAGE_SEQ;
    const edge = (gap: Gap) => (reverse ? lastKeyOf(gap.keys) : gap.keys.gte);
    const order = reverse ? -1 : 1;
    this.#lost = lost.filter((gap) => gap.seqs.min <= maxSeq).sort((a, b) => order * compareBytes(edge(a), edge(b)));
  }

  seek(key: Uint8Array | undefined): number {
    const isAhead = ({ keys }: Gap) =>
      key === undefined || (this.#reverse ? compareBytes(keys.gte, key) < 0 : !endsBelow(keys, key));
    this.#left = this.#lost.filter(isAhead);
    return this.next();
  }

  next(): number {
    this.damage = this.#left.shift();
    if (this.damage === undefined) {
      this.status = END;
      return END;
    }
    this.keyBuf = this.#reverse ? lastKeyOf(this.damage.keys) : this.damage.keys.gte;
    this.keyLength = this.keyBuf.length;
    this.status = ROW;
    return ROW;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }
}
