/**
 * Names and seals of the tables that a job writes. A name is drawn before the first byte of its table is stored; the seal is made where
 * the table is, from facts that cross threads.
 *
 * 1. Names ascend, and exceed that of the job: collectors keep what is later than the oldest active job.
 * 2. Each table has a name and a put id of its own, also where one is written again.
 * 3. Ordinals ascend with the keys over the whole job, whichever range is done first; between those of two ranges there is a gap, and only the last
 *    table of the last range is marked as the last one. So tables with ordinals from 0 on without a gap up to a last one are all that the job
 *    has written, and those of a job that was divided never pass for it, whatever is missing.
 */
import { assertThat, present } from '../common/assert.ts';
import { makeUlid, type Ulid, ulidToBytes } from '../common/ulid.ts';
import { encodeSeal } from '../format/seal.ts';
import type { IdentityRecord, RunLineage } from '../format/seal-records.ts';
import type { TableFacts } from '../format/table-builder.ts';
import type { Codec } from '../format/table-info.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { type CompactionPlan, inputTables } from './compaction-plan.ts';
import type { TablePlace } from './merge-step.ts';

/** The name of a table, as plain data. */
export interface OutputName {
  id: Ulid;
  putId: Ulid;
  identity: IdentityRecord;
}

/** What the seals of all tables of a job, or of one range of its keys, have in common, as plain data. */
export interface OutputSeals extends Pick<RunLineage, 'compactionId' | 'destinationRun' | 'isBottom' | 'inputs'> {
  /** Which of the ranges, in the order of keys, and whether it is the last one. */
  range: number;
  isLastRange: boolean;
}

/** Tables of one range have ordinals from a multiple of this on. */
const ORDINALS_OF_RANGE = 2 ** 24;

export function sealsOf(plan: CompactionPlan): OutputSeals {
  const { jobId: compactionId, destination: destinationRun, isBottom } = plan;
  return { compactionId, destinationRun, isBottom, inputs: inputTables(plan), range: 0, isLastRange: true };
}

/** The seal of a table. */
export function sealOf(
  seals: OutputSeals,
  name: OutputName | undefined,
  { minSeq, maxSeq, maxCreateTs, rowCount, rows, expiry }: TableFacts,
  place: TablePlace,
): Uint8Array {
  const { identity } = present(name, 'a table has a name before it is whole');
  const { range, isLastRange, ...ofJob } = seals;
  assertThat(place.ordinal < ORDINALS_OF_RANGE, 'ordinals of a range end before those of the next', { ...place });
  const ordinal = range * ORDINALS_OF_RANGE + place.ordinal;
  const isLastOutput = place.isLast && isLastRange;
  return encodeSeal({
    kind: 'table',
    identity,
    lineage: { level: 'run', ...ofJob, minSeq, maxSeq, maxCreateTs, rows: rowCount, ordinal, isLastOutput },
    rows,
    expiry,
  });
}

export interface OutputNamesOptions {
  author: Author;
  jobId: Ulid;
  codec: Codec;
  /** Of the compactor. */
  epoch: number;
  newestManifestId(): number;
}

/** Draws the names of the tables of a job. */
export class OutputNames {
  readonly #options: OutputNamesOptions;
  #last: Ulid;

  constructor(options: OutputNamesOptions) {
    this.#options = options;
    this.#last = options.jobId;
  }

  draw(): OutputName {
    const { author, codec, epoch, newestManifestId } = this.#options;
    const id = makeUlid(author.clock.nowMs(), author.random, this.#last);
    this.#last = id;
    const putId = makeUlid(author.clock.nowMs(), author.random);
    const facts = { objectId: ulidToBytes(id), putId, epoch, newestManifestId: newestManifestId(), codec };
    return { id, putId, identity: author.identity({ ...facts, formatVersion: 2 }) };
  }
}
