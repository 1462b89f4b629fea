/**
 * Reads a table back that a job has stored, and compares it with what the merge has counted, before a manifest names it: its end with index,
 * filter, stats and seal, and a sample of its blocks.
 *
 * 1. Anything that a read would report is a fault here, also what reads could undo: the inputs are still there.
 * 2. The first block and the last one are always in the sample.
 */
import { compareBytes } from '../common/bytes.ts';
import { UnavailableError } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { nextFloat, type Random } from '../common/random.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { tablePath } from '../format/object-names.ts';
import { countedRows } from '../format/stats-block.ts';
import { blockEnd } from '../format/table-layout.ts';
import { DamagedBlock } from '../lsm/rows/damaged-block.ts';
import type { LoadedBlock, TableMeta, TableReaderContext } from '../lsm/table/table-reader.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { JobOutput } from './compaction-plan.ts';
import type { OutputSeals } from './output-seal.ts';
import { readerWithoutCache } from './stretch-reader.ts';
import type { Throttle } from './throttle.ts';

/** `sample`: one block in `SAMPLE_STRIDE`, at most `MOST_SAMPLED`. */
export type VerifyOutputs = 'all' | 'sample';

const SAMPLE_STRIDE = 64;
const MOST_SAMPLED = 8;
/** Blocks that are read at once, where all are. */
const CHECKED_AT_ONCE_BYTES = 1 << 20;

export interface OutputCheckOptions {
  store: ObjectStore;
  clock: TableReaderContext['clock'];
  throttle: Throttle;
  random: Random;
  verify: VerifyOutputs;
  seals: OutputSeals;
}

/** Rejects with `COMPACTION_FAILED` if the table is not as it was written. A GET of its end, and one for each block of the sample. */
export async function checkOutput(output: JobOutput, options: OutputCheckOptions): Promise<void> {
  const { store, clock, throttle, verify, random } = options;
  const { table } = output;
  const findings: Finding[] = [];
  const onFinding = (finding: Finding) => void findings.push(finding);
  const reader = readerWithoutCache(table, { store, path: tablePath(table.id) }, { clock, onFinding });
  await throttle.take(0);
  const meta = await reader.loadMeta();
  const { index } = meta;
  const say = (what: string | undefined) => {
    if (what !== undefined) throw notAsWritten(output, what);
    if (findings.length > 0) throw notAsWritten(output, `${findings[0].code} in its ${findings[0].at.unit}`);
  };
  say(faultOfEnd(meta, output, options.seals));
  let rows = 0;
  const take = (blocks: readonly LoadedBlock[], first: number) => {
    say(undefined);
    for (const [i, block] of blocks.entries()) {
      if (block instanceof DamagedBlock) throw notAsWritten(output, `block ${first + i} is damaged`);
      rows += block.rowCount;
      const cursor = new BlockCursor();
      cursor.attach(block);
      if (first + i === 0 && cursor.first()) say(differs('first key', keyOf(cursor), output.firstKey));
      if (first + i < index.blockCount - 1) continue;
      for (let more = cursor.first(); more; more = cursor.next());
      say(differs('last key', keyOf(cursor), output.lastKey));
    }
  };
  if (verify === 'sample') {
    for (const i of sampleOf(index.blockCount, random)) {
      await throttle.take(0);
      take([await reader.loadBlock(i, meta)], i);
    }
    return;
  }
  for (let first = 0; first < index.blockCount; ) {
    let last = first;
    while (
      last + 1 < index.blockCount &&
      blockEnd(table.info, index, last + 1) - index.offset(first) <= CHECKED_AT_ONCE_BYTES
    )
      last++;
    await throttle.take(blockEnd(table.info, index, last) - index.offset(first));
    take(await reader.loadRange(first, last, meta), first);
    first = last + 1;
  }
  if (rows !== output.rows) say(`it has ${rows} rows instead of ${output.rows}`);
}

/** How many requests the check of a table of so many bytes takes, about. */
export function requestsOfCheck(bytes: number, blockBytes: number, verify: VerifyOutputs): number {
  if (verify === 'all') return 1 + Math.ceil(bytes / CHECKED_AT_ONCE_BYTES);
  const blocks = Math.ceil(bytes / blockBytes);
  return 1 + Math.min(blocks, sampleSize(blocks));
}

/** What the end of the table says, against what the merge has counted. */
function faultOfEnd({ seal, stats, isLayoutCertain }: TableMeta, output: JobOutput, seals: OutputSeals) {
  const lineage = seal?.lineage;
  if (lineage === undefined || lineage.level !== 'run' || !isLayoutCertain) return 'its seal is not there';
  const { rows, minSeq, maxSeq } = output;
  const isSame = lineage.rows === rows && lineage.minSeq === minSeq && lineage.maxSeq === maxSeq;
  if (!isSame || lineage.compactionId !== seals.compactionId) return 'its seal is of other rows';
  const counted = stats === undefined ? 0 : countedRows(stats);
  return counted === rows ? undefined : `its stats count ${counted} rows instead of ${rows}`;
}

function keyOf({ key, keyLength }: BlockCursor): Uint8Array {
  return key.subarray(0, keyLength);
}

function differs(what: string, found: Uint8Array, expected: Uint8Array): string | undefined {
  return compareBytes(found, expected) === 0 ? undefined : `its ${what} is another one`;
}

function sampleSize(blocks: number): number {
  return Math.min(MOST_SAMPLED, 2 + Math.floor(blocks / SAMPLE_STRIDE));
}

/** Ascending, without repetition. */
function sampleOf(blocks: number, random: Random): number[] {
  const sample = new Set([0, blocks - 1]);
  for (let n = 2; n < sampleSize(blocks); n++) sample.add(Math.floor(nextFloat(random) * blocks));
  return [...sample].sort((a, b) => a - b);
}

function notAsWritten({ table: { id } }: JobOutput, what: string): UnavailableError {
  const message = `Table ${id}, which a compaction has stored, is not as it was written: ${what}. It is not used; the tables that it was made of are.`;
  return new UnavailableError('COMPACTION_FAILED', message, { details: { table: id } });
}
