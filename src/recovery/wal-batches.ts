/**
 * Which batches of a WAL object are whole: rows of one sequence number were written together and count together.
 *
 * 1. The seal of a WAL object records for every row to which batch it belongs, so nothing stays open there. Without one a batch
 *    beside a stretch that could not be read may have had more rows: it is undecided.
 * 2. A batch that is not lost has a row, and no more rows than it had when it was written.
 * 3. Two gaps never follow each other: they are one.
 */
import { assertThat } from '../common/assert.ts';
import { type RowTrust, rowsOfBlock, type SalvagedWal, type WalBlock, type WalRow } from './wal-salvage.ts';

/** What a repair may put back: proven rows, also those of a likely repair, also those that merely parse. */
export type Acceptance = 'verified' | 'probable' | 'suspect';
export const ACCEPTANCES = ['verified', 'probable', 'suspect'] as const satisfies readonly Acceptance[];

export interface WalBatch {
  seq: number;
  /** Those that are accepted; in the order of the log. */
  rows: readonly WalRow[];
  /** Rows that it had, if the seal records it. */
  size: number | undefined;
  /** `intact`: all of its rows. `partial`: some are known to be missing. `undecided`: some may be. `lost`: none is left. */
  state: 'intact' | 'partial' | 'undecided' | 'lost';
}

/** A stretch of which nothing is known. */
export interface WalGap {
  gap: true;
  /** No row in it has a lower sequence number, if that is known. */
  minSeq: number | undefined;
}

/** Batches and gaps in the order of the log. */
export type WalParts = readonly (WalBatch | WalGap)[];

const RANK: Record<RowTrust, number> = { good: 0, verified: 0, probable: 1, suspect: 2 };
const ACCEPTED: Record<Acceptance, number> = { verified: 0, probable: 1, suspect: 2 };

export function isAccepted(trust: RowTrust, accept: Acceptance): boolean {
  return RANK[trust] <= ACCEPTED[accept];
}

export function isGap(part: WalBatch | WalGap): part is WalGap {
  return 'gap' in part;
}

/** The batches of an object whose rows are at least as good as `accept` asks. */
export function batchesOf(object: SalvagedWal, accept: Acceptance): WalParts {
  return bySeal(object, accept) ?? byRuns(object, accept);
}

/** Batches as the seal counts them; undefined if it does not describe each row. */
function bySeal({ seal, blocks, kind }: SalvagedWal, accept: Acceptance): WalParts | undefined {
  const record = seal?.rows;
  const { firstSeqs, continuations } = record ?? {};
  if (record === undefined || firstSeqs === undefined || continuations === undefined) return undefined;
  if (record.rowsPerCheck !== 1 || kind !== 'rows' || blocks.length !== record.blockRows.length) return undefined;
  const rows = new Array<WalRow | undefined>(firstSeqs.length);
  let first = 0;
  for (let i = 0; i < blocks.length; i++) {
    const end = first + record.blockRows[i];
    for (const row of rowsOfBlock(blocks[i])) {
      const at = first + (row.ordinal ?? Number.NaN);
      if (at < end && row.seq === firstSeqs[at] && isAccepted(row.trust, accept)) rows[at] ??= row;
    }
    first = end;
  }
  const batches: WalBatch[] = [];
  for (let from = 0; from < rows.length; ) {
    let to = from + 1;
    while (to < rows.length && continuations[to] === 1) to++;
    const kept = rows.slice(from, to).filter((r) => r !== undefined);
    const state = kept.length === to - from ? 'intact' : kept.length === 0 ? 'lost' : 'partial';
    batches.push({ seq: firstSeqs[from], rows: kept, size: to - from, state });
    from = to;
  }
  return batches;
}

/** Batches as runs of one sequence number between stretches of which nothing is known. */
function byRuns(object: SalvagedWal, accept: Acceptance): WalParts {
  const runs = new Runs();
  for (const block of object.blocks) addBlock(runs, block, accept);
  if (!object.isComplete) runs.gap(undefined);
  return runs.finish();
}

function addBlock(runs: Runs, block: WalBlock, accept: Acceptance): void {
  const { rowCount, firstSeq } = block;
  const isWhole = block.block !== undefined;
  if (isWhole && !isAccepted(block.state === 'probable' ? 'probable' : 'good', accept)) {
    runs.gap(firstSeq);
    return;
  }
  let next = 0;
  for (const row of rowsOfBlock(block)) {
    if (!isAccepted(row.trust, accept)) continue;
    if (!isWhole && row.ordinal !== next) runs.gap(next === 0 ? firstSeq : undefined);
    runs.row(row);
    next = (row.ordinal ?? Number.NaN) + 1;
  }
  if (!isWhole && (rowCount === undefined || next !== rowCount)) runs.gap(next === 0 ? firstSeq : undefined);
}

/** Collects runs and decides at gaps which of them may have had more rows. */
class Runs {
  readonly #parts: (WalBatch | WalGap)[] = [];
  #rows: WalRow[] = [];
  /** Whether the run may have begun in a gap. */
  #isOpen = false;
  #afterGap = false;

  row(row: WalRow): void {
    if (this.#rows.length > 0 && this.#rows[0].seq !== row.seq) this.#end('intact');
    if (this.#rows.length === 0) this.#isOpen = this.#afterGap;
    this.#afterGap = false;
    this.#rows.push(row);
  }

  gap(minSeq: number | undefined): void {
    const seq = this.#rows[0]?.seq;
    if (seq !== undefined) this.#end(minSeq === undefined ? 'undecided' : minSeq > seq ? 'intact' : 'partial');
    // Two gaps in a row are one, which begins where the first does.
    if (!this.#afterGap) this.#parts.push({ gap: true, minSeq });
    this.#afterGap = true;
    assertThat(this.#rows.length === 0, 'a gap ends the run before it (wal-batches 3)');
  }

  #end(state: 'intact' | 'partial' | 'undecided'): void {
    assertThat(this.#rows.length > 0, 'a batch has a row (wal-batches 2)');
    const [{ seq }] = this.#rows;
    const decided = state === 'intact' && this.#isOpen ? 'undecided' : state;
    this.#parts.push({ seq, rows: this.#rows, size: undefined, state: decided });
    this.#rows = [];
  }

  finish(): (WalBatch | WalGap)[] {
    if (this.#rows.length > 0) this.#end('intact');
    return joined(this.#parts);
  }
}

/** A batch with rows on both sides of a gap has lost some. */
function joined(parts: (WalBatch | WalGap)[]): (WalBatch | WalGap)[] {
  return parts.map((part, i) => {
    if (isGap(part)) return part;
    const sides = [parts[i - 2], parts[i + 2]];
    const goesOn = sides.some((p) => p !== undefined && !isGap(p) && p.seq === part.seq);
    return goesOn ? { ...part, state: 'partial' as const } : part;
  });
}
