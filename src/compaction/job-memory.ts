/**
 * How the memory of a job is divided. What it needs is known before it begins: stretches of each input, two at a time, or three where a
 * thread merges; parts of the table that is written, on their way to the store; eight bytes for each of its rows, for the filter.
 *
 * ```
 * share = 2 x inputs x stretch + what the upload holds, at most half + rows of a table x 8 + the parts that the merge hands out
 *         3 with a thread                                                                    2, or 4 with a thread
 * ```
 *
 * 1. Less memory means smaller stretches and smaller tables, never a refusal: at the least 64 KiB and 1 MiB.
 * 2. Tables are cut to half before stretches become smaller than `LEAST_STRETCH_BYTES`: a table that is too small costs every read of its
 *    run, a stretch only this job.
 */
import { assertThat } from '../common/assert.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const LEAST_STRETCH_BYTES = 64 * KIB;
/** More brings no more speed on any store. */
const MOST_STRETCH_BYTES = 4 * MIB;
const LEAST_TABLE_BYTES = MIB;
/** An upload to S3 cannot hold less of a large object: three parts of 5 MiB. */
const LEAST_HOLD_BYTES = 15 * MIB;
const BYTES_PER_ROW = 8;
const MOST_PART_BYTES = MIB;
const SHARE_OF_LEFT = 3 / 4;
/** The least of a range of a job that is divided: less is not worth a thread. */
const LEAST_RANGE_BYTES = 32 * MIB;
const RANGE_STRETCH_BYTES = 256 * KIB;
const RANGE_TABLE_BYTES = 32 * MIB;
const TYPICAL_ROW_BYTES = 100;

export interface JobMemory {
  /** Bytes of a stretch, at least; a block that is larger is one by itself. */
  stretchBytes: number;
  /** Where tables end, bytes of blocks. */
  maxSstBytes: number;
  /** From how many bytes on the merge hands out a part of a table. */
  partBytes: number;
  /** What an upload should hold at most. */
  holdBytes: number;
}

/** What is held at a time, by where rows are merged. */
export interface MergeRoom {
  /** Of each input: what is merged, what waits, what is on its way. */
  readonly stretches: number;
  /** The one that is being made, and those that were handed out. */
  readonly parts: number;
}

export interface JobNeeds {
  /** What the job may use, bytes. */
  shareBytes: number;
  inputs: number;
  maxSstBytes: number;
  /** Stored bytes of a row, on the average. */
  rowBytes: number;
  room: MergeRoom;
}

export function divideMemory({ shareBytes, inputs, maxSstBytes: wanted, rowBytes, room }: JobNeeds): JobMemory {
  const partBytes = Math.floor(Math.min(MOST_PART_BYTES, Math.max(LEAST_STRETCH_BYTES, shareBytes / 32)));
  const holdBytes = Math.max(LEAST_HOLD_BYTES, Math.floor(shareBytes / 2));
  const left = (tableBytes: number) => {
    const rows = tableBytes / Math.max(1, rowBytes);
    return shareBytes - Math.min(tableBytes, holdBytes) - rows * BYTES_PER_ROW - room.parts * partBytes;
  };
  const least = room.stretches * inputs * LEAST_STRETCH_BYTES;
  let maxSstBytes = wanted;
  while (maxSstBytes > LEAST_TABLE_BYTES && left(maxSstBytes) < least) {
    maxSstBytes = Math.max(LEAST_TABLE_BYTES, Math.floor(maxSstBytes / 2));
  }
  const stretch = Math.floor(left(maxSstBytes) / (room.stretches * inputs));
  const stretchBytes = Math.min(Math.max(stretch, LEAST_STRETCH_BYTES), MOST_STRETCH_BYTES);
  return { stretchBytes, maxSstBytes, partBytes, holdBytes };
}

/**
 * In how many ranges of keys a job of so many bytes may be merged at the same time, at most `wanted`. They share its memory: each is to have stretches
 * that are worth a request, and tables that are worth one to reads.
 */
export function mostRanges(needs: Omit<JobNeeds, 'rowBytes'>, bytes: number, wanted: number): number {
  const least = Math.min(LEAST_RANGE_BYTES, needs.maxSstBytes);
  let most = Math.min(wanted, Math.floor(bytes / least));
  while (most > 1 && !hasRoomForRanges(needs, most)) most--;
  return Math.max(1, most);
}

function hasRoomForRanges(needs: Omit<JobNeeds, 'rowBytes'>, ranges: number): boolean {
  const shareBytes = Math.floor(needs.shareBytes / ranges);
  const { stretchBytes, maxSstBytes } = divideMemory({ ...needs, shareBytes, rowBytes: TYPICAL_ROW_BYTES });
  return stretchBytes >= RANGE_STRETCH_BYTES && maxSstBytes >= Math.min(needs.maxSstBytes, RANGE_TABLE_BYTES);
}

/**
 * The memory of all jobs of a compactor. A job that begins gets three quarters of what is left, the last one that may run beside the others all
 * of it: a job that runs alone, as most do, writes large tables, and the next need not wait.
 */
export class JobMemoryPool {
  #left: number;
  #jobs = 0;
  readonly #most: number;

  constructor(bytes: number, mostJobs: number) {
    this.#left = bytes;
    this.#most = mostJobs;
  }

  /** What a job may use, until it is given back. */
  take(): number {
    assertThat(this.#jobs < this.#most, 'no more jobs run than may', { jobs: this.#jobs });
    this.#jobs++;
    const bytes = this.#jobs === this.#most ? this.#left : Math.floor(this.#left * SHARE_OF_LEFT);
    this.#left -= bytes;
    return bytes;
  }

  giveBack(bytes: number): void {
    this.#jobs--;
    this.#left += bytes;
  }
}
