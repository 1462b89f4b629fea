/**
 * The check of one table at a given level, in stretches, so that memory does not grow with the table.
 *
 * Invariants: a finding means that the bytes were read twice and were the same; a table that vanished is for the caller to explain.
 */
import { stopIfAborted } from '../common/abort.ts';
import { equalBytes } from '../common/bytes.ts';
import { isCannotTell, locateFindings, unknownFinding } from '../common/damage.ts';
import type { Finding } from '../common/finding.ts';
import type { BlockPlace } from '../format/block-places.ts';
import { dataEnd } from '../format/table-layout.ts';
import {
  type BlockPlaces,
  dissectTail,
  findBlocks,
  type KnownTable,
  placesOfTail,
  type TableAnatomy,
} from '../lsm/table/table-anatomy.ts';
import { OPEN_END } from '../lsm/table/table-reader.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { RowAudit, type RowLimits } from './row-audit.ts';
import { blockFinding, type ExaminedBlock, examineBlock, keysOf, paddingNote, readableBlock } from './table-blocks.ts';

/** `refs`: it is there. `tails`: all parts after the blocks. `blocks`: every checksum. `rows`: every row. */
export type TableLevel = 'refs' | 'tails' | 'blocks' | 'rows';

/** Blocks read by one request, unless a single one is larger. */
const STRETCH_BYTES = 4 * 1024 * 1024;

export interface TableCheckJob {
  store: ObjectStore;
  known: KnownTable;
  level: Exclude<TableLevel, 'refs'>;
  limits: RowLimits;
  signal: AbortSignal | undefined;
  /** Called before bytes are asked for: waits as long as the limit on the rate demands. */
  pace(bytes: number): Promise<void>;
}

export interface TableCheckResult {
  tail: TableAnatomy;
  findings: Finding[];
  /** Of the rows that were seen; only at level `rows`. */
  seqs: { min: number; max: number } | undefined;
}

/** Undefined: the object is not there. */
export async function checkTable(job: TableCheckJob): Promise<TableCheckResult | undefined> {
  const { known, level } = job;
  const from = known.info === undefined ? 0 : dataEnd(known.info);
  const tail = await readTail(job, from);
  if (tail === undefined) return undefined;
  const result: TableCheckResult = { tail, findings: tail.findings, seqs: undefined };
  if (level === 'tails' || tail.tooNew !== undefined) return result;
  const whole = from === 0 || placesOfTail(tail) === undefined ? await read(job, 0, OPEN_END) : undefined;
  const places = whole === undefined ? placesOfTail(tail) : await findBlocks(whole, tail);
  if (places === undefined) return undefined;
  const blocks = await new BlockPass(job, tail, whole).run(places);
  if (blocks === undefined) return undefined;
  result.findings = [...tail.findings, ...blocks.findings];
  result.seqs = blocks.seqs;
  return result;
}

/** The same, where a table that this program cannot read is a finding: it hides nothing about the others. */
export async function checkIfReadable(job: TableCheckJob): Promise<TableCheckResult | { unread: Finding } | undefined> {
  try {
    return await checkTable(job);
  } catch (error) {
    if (!isCannotTell(error) || error.retryable) throw error;
    const { path, id = '' } = job.known;
    const object = { role: 'table' as const, path, id, sealed: false };
    return { unread: unknownFinding(error, { object, during: 'check' }) };
  }
}

/** What is damaged is read a second time, so that a bit on the way is not taken for damage. */
async function readTail(job: TableCheckJob, from: number): Promise<TableAnatomy | undefined> {
  const bytes = await read(job, from, OPEN_END);
  if (bytes === undefined) return undefined;
  const tail = await dissectTail(bytes, from, job.known, 'check');
  if (tail.findings.length === 0) return tail;
  const again = await read(job, from, OPEN_END);
  if (again === undefined) return undefined;
  return equalBytes(bytes, again) ? tail : dissectTail(again, from, job.known, 'check');
}

async function read(job: TableCheckJob, offset: number, length: number): Promise<Uint8Array | undefined> {
  stopIfAborted(job.signal);
  const got = await job.store.get(job.known.path, { range: { offset, length } });
  await job.pace(got?.bytes.length ?? 0);
  return got?.bytes;
}

/** Goes over the blocks in order. */
class BlockPass {
  readonly #job: TableCheckJob;
  readonly #tail: TableAnatomy;
  readonly #whole: Uint8Array | undefined;
  readonly #findings: Finding[] = [];
  readonly #audit: RowAudit | undefined;
  /** Damaged ones and their neighbours: what says which keys were lost. */
  readonly #near: ExaminedBlock[] = [];
  #isComplete = true;

  constructor(job: TableCheckJob, tail: TableAnatomy, whole: Uint8Array | undefined) {
    this.#job = job;
    this.#tail = tail;
    this.#whole = whole;
    if (job.level !== 'rows') return;
    const { object, during } = tail;
    this.#audit = new RowAudit(tail, job.limits, (error, offset, index) => {
      const place = { object, during, offset, ...(index !== undefined && { index }) };
      this.#findings.push(...locateFindings(error, place));
    });
  }

  /** Undefined: the object vanished in the meantime. */
  async run({ places }: BlockPlaces): Promise<Omit<TableCheckResult, 'tail'> | undefined> {
    for (let i = 0; i < places.length; ) {
      const first = i;
      const base = places[first].start;
      while (i < places.length && (i === first || places[i].roomEnd - base <= STRETCH_BYTES)) i++;
      const bytes = await this.#bytes(base, places[i - 1].roomEnd);
      if (bytes === undefined) return undefined;
      for (let k = first; k < i; k++) {
        const { start, roomEnd } = places[k];
        const room = bytes.subarray(Math.min(start - base, bytes.length), Math.min(roomEnd - base, bytes.length));
        if (!(await this.#block(room, k, places[k]))) return undefined;
      }
    }
    this.#audit?.finish(this.#isComplete);
    this.#near.forEach((b, i) => {
      if (b.trust !== 'good') this.#findings.push(blockFinding(b, keysOf(this.#near, i, this.#tail), this.#tail));
    });
    return { findings: this.#findings, seqs: this.#audit?.seqs };
  }

  async #bytes(start: number, end: number): Promise<Uint8Array | undefined> {
    return this.#whole?.subarray(start, end) ?? read(this.#job, start, end - start);
  }

  async #block(room: Uint8Array, i: number, place: BlockPlace): Promise<boolean> {
    let b = examineBlock(room, i, place, this.#tail);
    let note = paddingNote(room, b, this.#tail);
    if ((b.trust !== 'good' || note !== undefined) && !place.isUnknown) {
      const again = await read(this.#job, place.start, place.roomEnd - place.start);
      if (again === undefined) return false;
      if (!equalBytes(again, room)) {
        b = examineBlock(again, i, place, this.#tail);
        note = paddingNote(again, b, this.#tail);
      }
    }
    if (b.trust === 'good') this.#audit?.block(i, place, readableBlock(b));
    else this.#isComplete = false;
    if (note !== undefined) this.#findings.push(note);
    this.#keepNear(b);
    return true;
  }

  /** Good blocks are kept only beside bad ones. */
  #keepNear(b: ExaminedBlock): void {
    const near = this.#near;
    const isIdle = (x: ExaminedBlock | undefined) => x === undefined || x.trust === 'good';
    if (b.trust === 'good' && near.length > 0 && isIdle(near.at(-1)) && isIdle(near.at(-2))) near.pop();
    near.push(b);
  }
}
