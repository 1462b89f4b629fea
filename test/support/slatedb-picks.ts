/**
 * Which jobs SlateDB chooses on a tree: a database is written that has this tree, the jobs that are active and nothing else, and SlateDB
 * 0.17 is opened on it with its coordinator, but without a worker. The coordinator stores what it chose before anything of it is done,
 * so that no table has to exist, and sizes may be anything.
 *
 * Where it chooses nothing, nothing is stored. So it is asked to do a job in a segment that does not exist as well: it fails that job
 * after it has chosen.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SYSTEM_RANDOM } from '../../src/common/random.ts';
import { makeUlid, type Ulid } from '../../src/common/ulid.ts';
import type { SchedulerOptions } from '../../src/compaction/scheduling.ts';
import {
  type CompactionJob,
  type Compactions,
  decodeCompactions,
  encodeCompactions,
} from '../../src/format/compactions-codec.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { compactionsPath, manifestPath } from '../../src/format/object-names.ts';
import type { LiveSlateDb } from './live-slatedb.ts';
import { jobText, type NotedTrees, parseJobs, parseTrees } from './tree-notation.ts';

/** A tree, as tree-notation.ts reads it, with what else decides. */
export interface PickCase {
  trees: string;
  /** Active ones. */
  jobs?: string;
  /** Besides SlateDB's defaults: no consolidation, and four jobs at a time. */
  options?: Partial<SchedulerOptions> & { maxConcurrent?: number };
}

const POLL = '50ms';
const LOOK_MS = 20;
const LIMIT_MS = 60_000;
/** About so many polls are given to it before it is asked to fail a job. */
const QUIET_MS = 400;
const PATH = 'db';

/** The jobs that it stored, in the order of their ids. */
export async function askSlateDb(slatedb: LiveSlateDb, directory: string, asked: PickCase): Promise<string[]> {
  const noted = parseTrees(asked.trees);
  const known = writeDatabase(join(directory, PATH), noted, asked.jobs ?? '');
  const place = { directory, path: PATH };
  await slatedb.open(place, {
    compactor: true,
    compactorOptions: compactorOptions(asked),
    ...(noted.manifest.segments!.length > 0 && { segments: 'first-byte' }),
  });
  try {
    return (await pickedJobs(slatedb, join(directory, PATH), known)).map((job) => specText(job, noted));
  } finally {
    await slatedb.crash();
  }
}

function compactorOptions({ options = {} }: PickCase): Record<string, unknown> {
  const { minCompactionSources, maxCompactionSources, includeSizeThreshold, sortedRunConsolidationThreshold } = options;
  const values = {
    min_compaction_sources: minCompactionSources,
    max_compaction_sources: maxCompactionSources,
    include_size_threshold: includeSizeThreshold,
    sorted_run_consolidation_threshold: sortedRunConsolidationThreshold,
  };
  const given = Object.entries(values).filter(([, value]) => value !== undefined);
  return {
    worker: null,
    poll_interval: POLL,
    commit_compacted_interval: '3600s',
    worker_heartbeat_timeout: '3600s',
    max_concurrent_compactions: options.maxConcurrent ?? 4,
    scheduler_options: Object.fromEntries(given.map(([name, value]) => [name, String(value)])),
  };
}

/** The manifest and, with jobs, the compactions file of a database; gives the ids of the jobs. */
function writeDatabase(root: string, noted: NotedTrees, jobs: string): Set<Ulid> {
  const { manifest } = noted;
  const isSegmented = manifest.segments!.length > 0;
  write(
    root,
    manifestPath(1),
    encodeManifest({ ...manifest, segmentExtractorName: isSegmented ? 'first-byte' : undefined }),
  );
  const active = parseJobs(jobs, noted).map(
    (job): CompactionJob => ({
      id: makeUlid(Date.now(), SYSTEM_RANDOM),
      spec: {
        kind: 'tiered',
        deprecatedTables: undefined,
        l0ViewIds: [...job.l0ViewIds],
        runs: [...job.runs],
        segment: new Uint8Array(Buffer.from(job.tree, 'hex')),
        destination: job.destination!,
      },
      status: 'running',
      outputs: [],
      worker: { workerId: 'w', lastHeartbeatMs: Date.now() },
      context: undefined,
    }),
  );
  if (active.length > 0) {
    const file: Compactions = { headerVersion: 2, compactorEpoch: 0, jobs: active, hasUnknownFields: false };
    write(root, compactionsPath(1), encodeCompactions(file));
  }
  return new Set(active.map(({ id }) => id));
}

function write(root: string, path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), bytes);
}

async function pickedJobs(slatedb: LiveSlateDb, root: string, known: ReadonlySet<Ulid>): Promise<CompactionJob[]> {
  const start = Date.now();
  let isAsked = false;
  for (;;) {
    const fresh = storedFiles(root).map((jobs) => jobs.filter(({ id }) => !known.has(id)));
    const ours = (job: CompactionJob) => job.spec.kind === 'tiered' && job.spec.segment?.length === SENTINEL_BYTES;
    const picked = fresh.map((jobs) => jobs.filter((job) => !ours(job))).find((jobs) => jobs.length > 0);
    if (picked !== undefined) return picked.sort((a, b) => (a.id < b.id ? -1 : 1));
    if (fresh.some((jobs) => jobs.some((job) => ours(job) && job.status === 'failed'))) return [];
    const passedMs = Date.now() - start;
    if (passedMs > LIMIT_MS) throw new Error('SlateDB chose nothing and failed nothing in time');
    if (!isAsked && passedMs > QUIET_MS && fresh.length > 0) {
      isAsked = true;
      await slatedb.submitToUnknownSegment('s'.repeat(SENTINEL_BYTES));
    }
    await sleep(LOOK_MS);
  }
}

/** No segment of a tree has a name of this length. */
const SENTINEL_BYTES = 9;

/** The jobs of each compactions file, oldest file first. A file appears whole. */
function storedFiles(root: string): CompactionJob[][] {
  const directory = join(root, dirname(compactionsPath(1)));
  let names: string[];
  try {
    names = readdirSync(directory).filter((name) => name.endsWith('.compactions'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names.sort().map((name) => {
    const bytes = new Uint8Array(readFileSync(join(directory, name)));
    return decodeCompactions(bytes).compactions.jobs;
  });
}

function specText({ spec }: CompactionJob, noted: NotedTrees): string {
  const destination = spec.kind === 'tiered' ? spec.destination : undefined;
  return jobText({ l0ViewIds: spec.l0ViewIds ?? [], runs: spec.runs ?? [], destination }, noted);
}
