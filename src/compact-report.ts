/**
 * What a compaction of everything reports, or would do: one shape for scripts, the command line and tests. Sizes are bytes, times ms.
 *
 * Invariants:
 * 1. Every tree that the manifest had before or has afterwards is in the report once.
 */
import { assertThat } from './common/assert.ts';
import { toHex } from './common/bytes.ts';
import type { CompactionOutcome } from './common/compactor-role.ts';
import type { Finding } from './common/finding.ts';
import type { Ulid } from './common/ulid.ts';
import { isOneRun } from './compaction/job-choice.ts';
import { type CompactionEstimate, type EstimateSettings, estimateWhole } from './compaction/job-estimate.ts';
import type { Manifest } from './format/manifest-types.ts';
import { treesByName } from './lsm/manifest/view-ids.ts';
import { type TableEnd, type TreeShape, treeShapes } from './tools/tree-report.ts';

/** How a tree is stored. */
export interface CompactionLevels {
  /** Tables of level 0. */
  l0Tables: number;
  /** Sorted runs. */
  runs: number;
  /** All tables. */
  tables: number;
  /** Stored bytes that are visible. */
  bytes: number;
  /** All rows, where the ends of all tables were read and count them. */
  rows?: number;
  /** Tombstones among them. */
  tombstones?: number;
}

/** A tree, before and after. */
export interface CompactedTree {
  /** Of the tree of a segment: the prefix of all its keys. Absent: the root tree. */
  prefix?: Uint8Array;
  /** When it was begun; rows that were only in memory are not in it. */
  before: CompactionLevels;
  /** Afterwards; absent in a dry run. */
  after?: CompactionLevels;
  /** Absent: it was one run already, or empty. */
  estimate?: CompactionEstimate;
}

/** What a compaction of everything did, or would do. */
export interface CompactReport {
  schemaVersion: 1;
  /** False: a dry run. */
  applied: boolean;
  /** `nothing-to-do`: each tree is one run, or empty; then nothing was written. */
  outcome: 'compacted' | 'planned' | 'nothing-to-do';
  /** The newest manifest. */
  manifestId: bigint;
  /** The root tree, then those of segments by their prefixes. */
  trees: CompactedTree[];
  /** Sums over the trees that are merged. */
  estimate: CompactionEstimate;
  /** What was done, in the order in which it was committed. */
  jobs: readonly CompactionOutcome[];
  /** Rows that the sources of all jobs showed. */
  rowsIn: number;
  /** Those that are left. */
  rowsOut: number;
  /** Stored bytes that all jobs read. */
  bytesRead: number;
  /** Stored bytes that they wrote. */
  bytesWritten: number;
  /** A dry run: what is wrong with tables. A damaged one ends the compaction of its tree. */
  findings: Finding[];
  /** Sent to the store. */
  requests: number;
  /** From the call to its end, ms. */
  tookMs: number;
}

/** A manifest with what the ends of its tables say, as far as they were read. */
export interface SeenTrees {
  id: number;
  manifest: Manifest;
  ends: ReadonlyMap<Ulid, TableEnd>;
}

/** Names of the trees that are not one run. */
export function treesToMerge(manifest: Manifest): string[] {
  return [...treesByName(manifest)].flatMap(([name, tree]) => (isOneRun(tree) ? [] : [name]));
}

export interface CompactFacts extends Pick<CompactReport, 'applied' | 'jobs' | 'findings' | 'requests' | 'tookMs'> {
  before: SeenTrees;
  /** Absent: a dry run. */
  after?: SeenTrees;
  settings: EstimateSettings;
}

export function compactReport({ before, after, settings, jobs, findings, ...call }: CompactFacts): CompactReport {
  const merged = new Map(
    treesToMerge(before.manifest).map((name) => {
      const tree = treesByName(before.manifest).get(name);
      assertThat(tree !== undefined, 'a tree to merge is in the manifest');
      return [name, estimateWhole(tree, settings)];
    }),
  );
  const shapesBefore = shapesOf(before);
  const shapesAfter = after && shapesOf(after);
  const names = [...new Set([...shapesBefore.keys(), ...(shapesAfter?.keys() ?? [])])].sort();
  const trees = names.map((name): CompactedTree => {
    const [shape, later] = [shapesBefore.get(name), shapesAfter?.get(name)];
    const prefix = shape?.prefix ?? later?.prefix;
    const estimate = merged.get(name);
    return {
      ...(prefix !== undefined && { prefix }),
      before: levelsOf(shape),
      ...(shapesAfter !== undefined && { after: levelsOf(later) }),
      ...(estimate !== undefined && { estimate }),
    };
  });
  assertThat(
    [...merged.keys()].every((name) => names.includes(name)),
    'every tree is in the report (compact-report 1)',
  );
  const sum = (of: (job: CompactionOutcome) => number) => jobs.reduce((n, job) => n + of(job), 0);
  return {
    schemaVersion: 1,
    applied: call.applied,
    outcome: jobs.length > 0 ? 'compacted' : merged.size === 0 || call.applied ? 'nothing-to-do' : 'planned',
    manifestId: BigInt((after ?? before).id),
    trees,
    estimate: [...merged.values()].reduce(added, { bytesRead: 0, mostBytesWritten: 0, requests: 0 }),
    jobs,
    rowsIn: sum((job) => job.rowsIn),
    rowsOut: sum((job) => job.rowsOut),
    bytesRead: sum((job) => job.bytesIn),
    bytesWritten: sum((job) => job.bytesOut),
    findings,
    requests: call.requests,
    tookMs: call.tookMs,
  };
}

function shapesOf({ manifest, ends }: SeenTrees): Map<string, TreeShape> {
  const { trees } = treeShapes(manifest, ends);
  return new Map(trees.map((shape) => [shape.prefix === undefined ? '' : toHex(shape.prefix), shape]));
}

function levelsOf(shape: TreeShape | undefined): CompactionLevels {
  if (shape === undefined) return { l0Tables: 0, runs: 0, tables: 0, bytes: 0 };
  const { l0, runs, totals } = shape;
  return {
    l0Tables: l0.totals.views,
    runs: runs.length,
    tables: totals.views,
    bytes: totals.bytes,
    ...(totals.uncounted === 0 && { rows: totals.rows, tombstones: totals.tombstones }),
  };
}

function added(a: CompactionEstimate, b: CompactionEstimate): CompactionEstimate {
  return {
    bytesRead: a.bytesRead + b.bytesRead,
    mostBytesWritten: a.mostBytesWritten + b.mostBytesWritten,
    requests: a.requests + b.requests,
  };
}
