/**
 * What a compaction of everything in a tree will read, write and ask for, from the manifest alone: for who wants to know before it begins.
 *
 * ```
 * GET    one of the end of each table, one for each stretch; of each output its end, and a block of the sample or all of it; in ranges of keys one
 *        more of each end, and of each source one end and one stretch more for each range but the first
 * PUT    one for each output, of a large one its parts and two more; a manifest and a compactions file besides
 * ```
 *
 * Not asserted: these are estimates. What is written is at most what is read, unless the codec compresses less.
 */
import { sourcesOf, type Tree } from '../format/manifest-types.ts';
import { visibleBytes } from '../lsm/tree/visible-bytes.ts';
import { divideMemory, mostRanges } from './job-memory.ts';
import { requestsOfCheck, type VerifyOutputs } from './output-check.ts';

const MIB = 1024 * 1024;
/** As S3 cuts uploads. */
const PART_BYTES = 16 * MIB;
const TYPICAL_ROW_BYTES = 100;
/** Of a merge on a thread. */
const ROOM = { stretches: 3, parts: 3 };
/** Job list before and after, manifest, boundary. */
const REQUESTS_OF_COMMIT = 4;

/** What a job will cost, about. */
export interface CompactionEstimate {
  /** Stored bytes that are read. */
  bytesRead: number;
  /** Stored bytes that are written at most: less what is overwritten, deleted or expired. */
  mostBytesWritten: number;
  /** Requests to the store at most, a little more or less. */
  requests: number;
}

export interface EstimateSettings {
  /** Memory of the job. */
  shareBytes: number;
  maxSstBytes: number;
  blockBytes: number;
  verifyOutputs: VerifyOutputs;
  /** Ranges of keys that are merged at the same time, at most. */
  maxSubcompactions: number;
}

export function estimateWhole(
  tree: Tree,
  { shareBytes, maxSstBytes, blockBytes, verifyOutputs, maxSubcompactions }: EstimateSettings,
): CompactionEstimate {
  const sources = sourcesOf(tree).filter(({ views }) => views.length > 0);
  const bytes = sources.flatMap(({ views }) => views.map(visibleBytes));
  const bytesRead = bytes.reduce((sum, n) => sum + n, 0);
  const needs = { inputs: sources.length, maxSstBytes, room: ROOM };
  const ranges = mostRanges({ ...needs, shareBytes }, bytesRead, maxSubcompactions);
  const memory = divideMemory({ ...needs, shareBytes: shareBytes / ranges, rowBytes: TYPICAL_ROW_BYTES });
  const again = ranges === 1 ? 0 : bytes.length + 2 * (ranges - 1) * sources.length;
  const stretches = bytes.reduce((sum, n) => sum + Math.ceil(n / memory.stretchBytes), 0);
  const outputs = Math.max(ranges === 1 ? 0 : ranges, Math.ceil(bytesRead / memory.maxSstBytes));
  const outputBytes = bytesRead / Math.max(1, outputs);
  const puts = outputBytes <= PART_BYTES ? 1 : Math.ceil(outputBytes / PART_BYTES) + 2;
  const checks = requestsOfCheck(outputBytes, blockBytes, verifyOutputs);
  return {
    bytesRead,
    mostBytesWritten: bytesRead,
    requests: bytes.length + again + stretches + outputs * (puts + checks) + REQUESTS_OF_COMMIT,
  };
}
