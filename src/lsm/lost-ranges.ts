/**
 * Losses that repairs have left behind, as sources of a read.
 *
 * A repair that could not save all rows of a table writes the range to the damage ledger, so that the loss does not become
 * silent: until somebody acknowledges it, a read that ends in such a range is told what may be missing. A loss without known
 * keys (of the write-ahead log) changes no read, because it would change every one.
 */
import { compareBytes, EMPTY_BYTES } from '../common/bytes.ts';
import { CorruptionError, makeFinding } from '../common/errors.ts';
import { NO_TS } from '../format/row-flags.ts';
import type { LedgerEntry } from './damage-ledger.ts';
import { DAMAGE_SEQ, FLAG_DAMAGED, type MayBeDamaged } from './damage-row.ts';
import { ANY_SEQ, Gap, type SeqSpan } from './damaged-block.ts';
import { END, ROW, type RowCursor } from './row-cursor.ts';

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

function seqsOf({ seqs }: LedgerEntry): SeqSpan {
  if (seqs.length === 0) return ANY_SEQ;
  return {
    min: Math.min(...seqs.map((s) => Number(s.min))),
    max: Math.max(...seqs.map((s) => Number(s.max))),
  };
}

function lossOf({ id, object: path, repairId }: LedgerEntry): CorruptionError {
  const finding = makeFinding({
    code: 'LOST_DATA',
    object: { role: path.startsWith('wal/') ? 'wal' : 'table', path, id: path, sealed: false },
    at: { unit: 'object', offset: 0, length: 0 },
    remedy: 'none',
    origin: 'at-rest',
    hint: {
      summary: `Repair ${repairId} could not save all rows of ${path}. Acknowledge the loss, or restore the object from a backup, and such reads answer again.`,
      commands: [`shaledb damage list LOCATION`, `shaledb damage ack LOCATION ${id} --note TEXT`],
      docs: 'docs/troubleshooting.md',
      lossIfRepaired: 'none',
    },
  });
  return new CorruptionError(`rows of ${path} were lost (damage ledger, ${id})`, [{ ...finding, id }]);
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
  readonly rowView = undefined;
  readonly seq: number;
  readonly flags = FLAG_DAMAGED;
  readonly createTs: number = NO_TS;
  readonly expireTs: number = NO_TS;
  damage: Gap | undefined;
  readonly #lost: readonly Gap[];
  readonly #reverse: boolean;
  #left: Gap[] = [];

  constructor(lost: readonly Gap[], reverse: boolean, maxSeq: number) {
    this.#reverse = reverse;
    this.seq = reverse ? -1 : DAMAGE_SEQ;
    const edge = (gap: Gap) => (reverse ? gap.keys.lte : gap.keys.gte);
    const order = reverse ? -1 : 1;
    this.#lost = lost.filter((gap) => gap.seqs.min <= maxSeq).sort((a, b) => order * compareBytes(edge(a), edge(b)));
  }

  seek(key: Uint8Array | undefined): number {
    const isAhead = ({ keys }: Gap) =>
      key === undefined || (this.#reverse ? compareBytes(keys.gte, key) < 0 : compareBytes(keys.lte, key) >= 0);
    this.#left = this.#lost.filter(isAhead);
    return this.next();
  }

  next(): number {
    this.damage = this.#left.shift();
    if (this.damage === undefined) {
      this.status = END;
      return END;
    }
    this.keyBuf = this.#reverse ? this.damage.keys.lte : this.damage.keys.gte;
    this.keyLength = this.keyBuf.length;
    this.status = ROW;
    return ROW;
  }

  load(): Promise<void> {
    return Promise.resolve();
  }
}
