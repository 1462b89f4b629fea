/**
 * What is kept and what is lost of a log, object by object: one arithmetic for the error of an opening and for the repair.
 *
 * Invariants:
 * 1. Only sequence numbers that are not in tables count.
 * 2. A number is kept or lost, never both; a row that is lost has a number.
 * 3. Where a stretch without a seal is gone its numbers are those between its neighbours; an object that may have held rows is named.
 */
import { assertThat } from '../common/assert.ts';
import type { SeqRange } from '../common/seq-range.ts';
import { isGap, type WalBatch, type WalParts } from './wal-batches.ts';

/** One id of the log. */
export interface LogPiece {
  id: number;
  /** Rows of a sound object that are not in tables; undefined for a damaged or missing one. */
  sound: (SeqRange<number> & { rows: number; batches: number | undefined }) | undefined;
  /** What is left of a damaged one. */
  parts: WalParts | undefined;
  /** What the seal of an unreadable or missing object's own seal says it held. */
  held: (SeqRange<number> & { rows: number; batches: number }) | undefined;
  /** It stands where another belongs: something may be missing on either side of it. */
  isMisplaced: boolean;
}

export interface LossRules {
  /** Rows at or below it are in tables. */
  floorSeq: number;
  /** Greatest sequence number that anything records. */
  knownSeq: number;
  /** Batches that are not, or perhaps not, whole are kept as far as they go. */
  keepPartial: boolean;
  /** Nothing after the first loss is kept. */
  truncate: boolean;
}

/** What is lost with one object. */
export interface ObjectLoss {
  id: number;
  seqs: SeqRange<number>[];
  rows: number;
  exact: boolean;
}

export interface LogLoss {
  /** By object, in the order of the losses. */
  losses: ObjectLoss[];
  lostSeqs: SeqRange<number>[];
  /** The least that is lost; all of it if `lostExact`. */
  lostRows: number;
  /** The most that can be lost; undefined: nothing says how many rows were in what is gone. */
  lostRowsAtMost: number | undefined;
  lostExact: boolean;
  /** Objects of which a row is lost, or may be. */
  lossyObjects: number;
  keptRows: { total: number; probable: number; suspect: number };
  batches: { intact: number; dropped: number; undecided: number };
  /** Greatest sequence number that exists or existed. */
  greatestSeq: number;
  /** With `truncate`: the first sequence number that is not kept, if anything is lost. */
  endsBefore: number | undefined;
}

/** Adds up pieces in the order of their sequence numbers. */
export function computeLogLoss(pieces: readonly LogPiece[], options: LossRules): LogLoss {
  const sum = new LossSum(options);
  for (const piece of ordered(pieces)) sum.add(piece);
  return sum.finish();
}

/** Misplaced objects go where their sequence numbers belong; those without rows stay, for what they stand for is lost there. */
function ordered(pieces: readonly LogPiece[]): LogPiece[] {
  if (!pieces.some((p) => p.isMisplaced)) return [...pieces];
  const places = pieces.map((_, i) => i).filter((i) => (pieces[i].sound?.rows ?? 0) > 0);
  const bySeq = places.map((i) => pieces[i]).sort((a, b) => (a.sound?.min ?? 0) - (b.sound?.min ?? 0));
  const result = [...pieces];
  for (let n = 0; n < places.length; n++) result[places[n]] = bySeq[n];
  return result;
}

/** Whether a batch is put back. */
export function isKept(batch: WalBatch, { keepPartial }: Pick<LossRules, 'keepPartial'>): boolean {
  return batch.state === 'intact' || (keepPartial && batch.rows.length > 0);
}

/** Something is missing before the next row. */
interface Missing {
  /** Of the first object that may have held it. */
  id: number;
  minSeq: number;
  /** Whole objects that may have held rows. */
  objects: number;
  /** For certain at least so many. */
  rows: number;
  /** Those objects. */
  ids: number[];
}

class LossSum {
  readonly #o: LossRules;
  readonly #lost: SeqRange<number>[] = [];
  readonly #losses = new Map<number, ObjectLoss>();
  #id = 0;
  #lostRows = 0;
  #isExact = true;
  readonly #kept = { total: 0, probable: 0, suspect: 0 };
  readonly #batches = { intact: 0, dropped: 0, undecided: 0 };
  #lastSeq: number;
  #gap: Missing | undefined;
  #endsBefore: number | undefined;
  #atMost: number | undefined = 0;
  readonly #lossy = new Set<number>();

  constructor(options: LossRules) {
    this.#o = options;
    this.#lastSeq = options.floorSeq;
  }

  add({ id, sound, parts, held, isMisplaced }: LogPiece): void {
    this.#id = id;
    if (sound !== undefined) {
      // What belongs here may be elsewhere or nowhere, and so may its neighbours: nothing bounds what is missing.
      if (isMisplaced) this.#mayLose(undefined);
      if (isMisplaced) this.#open(false, undefined);
      if (sound.rows > 0) this.#range(sound, sound.rows, sound.batches);
      // Without rows: an object that was emptied, and no fence. It held a row at least.
      if (isMisplaced) this.#open(sound.rows === 0, undefined);
    } else if (parts?.some((p) => !isGap(p)) === true) {
      const keptBefore = this.#kept.total;
      for (const part of parts) {
        if (isGap(part)) this.#open(true, part.minSeq);
        else this.#batch(part);
      }
      this.#boundParts(parts, held, this.#kept.total - keptBefore);
    } else if (held !== undefined) {
      if (held.rows > 0) this.#drop(held, held.rows, held.batches);
    } else {
      const gap = this.#open(false, undefined);
      gap.ids.push(id);
      gap.objects++;
      // Of several emptied objects some may have been fences.
      if (parts !== undefined && parts.length > 0) gap.rows = isMisplaced ? Math.max(gap.rows, 1) : gap.rows + 1;
    }
  }

  /** The most that a damaged object has lost: what its seal counts and is not kept; without a seal nothing bounds a gap. */
  #boundParts(parts: WalParts, held: LogPiece['held'], kept: number): void {
    if (held !== undefined) {
      if (held.max > this.#o.floorSeq && held.rows > kept) this.#mayLose(held.rows - kept);
      return;
    }
    const isDoubtful = parts.some((p) => isGap(p) || (p.state !== 'intact' && p.seq > this.#o.floorSeq));
    if (isDoubtful) this.#mayLose(undefined);
    else if (this.#losses.has(this.#id)) this.#mayLose(this.#losses.get(this.#id)?.rows);
  }

  #mayLose(rows: number | undefined, id = this.#id): void {
    this.#lossy.add(id);
    this.#atMost = this.#atMost === undefined || rows === undefined ? undefined : this.#atMost + rows;
  }

  #open(isCertain: boolean, minSeq: number | undefined): Missing {
    this.#gap ??= { id: this.#id, minSeq: minSeq ?? 0, objects: 0, rows: 0, ids: [] };
    if (isCertain) this.#gap.rows = Math.max(this.#gap.rows, 1);
    return this.#gap;
  }

  #range(seqs: SeqRange<number>, rows: number, batches: number | undefined): void {
    this.#closeGap(seqs.min);
    const count = batches ?? 0;
    if (this.#isCut(seqs.min)) {
      this.#lose(seqs, rows);
      this.#mayLose(rows);
      this.#batches.dropped += count;
    } else {
      this.#kept.total += rows;
      this.#batches.intact += count;
    }
    this.#lastSeq = Math.max(this.#lastSeq, seqs.max);
  }

  #batch(batch: WalBatch): void {
    const { seq, rows, size, state } = batch;
    if (seq <= this.#o.floorSeq) return;
    this.#closeGap(seq);
    const keeps = isKept(batch, this.#o) && !this.#isCut(seq);
    if (state === 'undecided') this.#batches.undecided++;
    if (keeps) {
      if (state === 'intact') this.#batches.intact++;
      else this.#isExact &&= size !== undefined;
      for (const row of rows) {
        this.#kept.total++;
        if (row.trust === 'probable') this.#kept.probable++;
        if (row.trust === 'suspect') this.#kept.suspect++;
      }
      if (state === 'partial') {
        this.#lose({ min: seq, max: seq }, (size ?? rows.length + 1) - rows.length, this.#id, size !== undefined);
      }
    } else {
      this.#batches.dropped++;
      if (size === undefined) this.#isExact = false;
      this.#lose({ min: seq, max: seq }, size ?? Math.max(1, rows.length), this.#id, size !== undefined);
    }
    this.#lastSeq = Math.max(this.#lastSeq, seq);
  }

  #drop(held: SeqRange<number>, rows: number, batches: number): void {
    if (held.max <= this.#o.floorSeq) return;
    this.#closeGap(held.min);
    this.#batches.dropped += batches;
    this.#lose(held, rows);
    this.#mayLose(rows);
    this.#lastSeq = Math.max(this.#lastSeq, held.max);
  }

  #isCut(seq: number): boolean {
    return this.#o.truncate && this.#endsBefore !== undefined && seq >= this.#endsBefore;
  }

  #closeGap(nextSeq: number): void {
    const gap = this.#gap;
    this.#gap = undefined;
    if (gap === undefined) return;
    this.#isExact = false;
    assertThat(gap.ids.length === gap.objects, 'an object that may have held rows is named (wal-loss 3)');
    const min = Math.max(this.#lastSeq + 1, gap.minSeq);
    if (min < nextSeq) this.#loseUncounted(gap.id, { min, max: nextSeq - 1 });
    // A number is a batch, and a batch can have any number of rows.
    for (const id of gap.ids) this.#mayLose(undefined, id);
  }

  /** At least one row for each number. */
  #loseUncounted(id: number, seqs: SeqRange<number>): void {
    this.#lose(seqs, seqs.max - seqs.min + 1, id, false);
  }

  #lose(seqs: SeqRange<number>, rows: number, id = this.#id, exact = true): void {
    const min = Math.max(seqs.min, this.#o.floorSeq + 1);
    if (min > seqs.max) return;
    this.#endsBefore ??= min;
    this.#lostRows += rows;
    append(this.#lost, min, seqs.max);
    const loss = this.#losses.get(id) ?? { id, seqs: [], rows: 0, exact: true };
    this.#losses.set(id, loss);
    append(loss.seqs, min, seqs.max);
    loss.rows += rows;
    loss.exact &&= exact;
  }

  finish(): LogLoss {
    const gap = this.#gap;
    const { knownSeq } = this.#o;
    if (gap !== undefined) {
      this.#isExact = false;
      // After the last row there is room for any number of rows.
      for (const id of gap.ids) this.#mayLose(undefined, id);
      const min = Math.max(this.#lastSeq + 1, gap.minSeq);
      // After the last row nothing shows how far the numbers went: each object that is gone may have had one at least.
      const max = gap.rows === 0 ? knownSeq : Math.max(knownSeq, min + Math.max(gap.objects, 1) - 1);
      const rows = Math.max(gap.rows, knownSeq - min + 1);
      if (max >= min) this.#lose({ min, max }, rows, gap.id, false);
    }
    const { total, probable, suspect } = this.#kept;
    assertThat(probable + suspect <= total, 'rows that are kept on little proof are some of those kept');
    assertThat(this.#lostRows === 0 || this.#lost.length > 0, 'a row that is lost has a number (wal-loss 2)');
    const greatestLost = this.#lost[this.#lost.length - 1]?.max ?? 0;
    const atMost = this.#atMost === undefined ? undefined : Math.max(this.#atMost, this.#lostRows);
    return {
      losses: [...this.#losses.values()],
      lostSeqs: this.#lost,
      lostRows: this.#lostRows,
      lostRowsAtMost: this.#isExact ? this.#lostRows : atMost,
      lostExact: this.#isExact,
      lossyObjects: new Set([...this.#lossy, ...this.#losses.keys()]).size,
      keptRows: this.#kept,
      batches: this.#batches,
      greatestSeq: Math.max(this.#lastSeq, knownSeq, greatestLost),
      endsBefore: this.#endsBefore,
    };
  }
}

/** Adds a range to ranges that it may touch the last of. */
function append(ranges: SeqRange<number>[], min: number, max: number): void {
  const last = ranges[ranges.length - 1];
  if (last !== undefined && min <= last.max + 1) last.max = Math.max(last.max, max);
  else ranges.push({ min, max });
}
