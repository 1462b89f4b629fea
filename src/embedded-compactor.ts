/**
 * The compactor beside a writer in its process: it commits through the writer's log of manifests, knows what the writer's snapshots still need,
 * and takes its memory from the same budget.
 */

import { availableParallelism } from 'node:os';
import { type Clock, SYSTEM_CLOCK } from './common/clock.ts';
import type { CompactorRole } from './common/compactor-role.ts';
import { reportFinding } from './common/events.ts';
import { Compactor } from './compaction/compactor.ts';
import { runDividedJob } from './compaction/divided-job.ts';
import { JobMemoryPool } from './compaction/job-memory.ts';
import type { JobRunOptions } from './compaction/job-run.ts';
import { SlicedMerges } from './compaction/merge-host.ts';
import { RowFactsCache } from './compaction/row-facts-cache.ts';
import { type CompactionSettings, TAKEOVER_MS } from './compaction/settings.ts';
import { SpareThreads } from './compaction/spare-threads.ts';
import { startThread } from './compaction/thread.ts';
import { ThreadPool } from './compaction/thread-pool.ts';
import { ThreadedMerges } from './compaction/threaded-merges.ts';
import { ByteRate } from './compaction/throttle.ts';
import { COMPACTOR_NAME, type UpkeepHost } from './db/upkeep.ts';
import { Author } from './lsm/manifest/author.ts';
import type { DatabaseStores } from './lsm/manifest/database-stores.ts';
import { EpochGuard } from './lsm/manifest/epoch-guard.ts';
import { limitedStore, RequestSlots } from './store/limited-store.ts';

/** Tables of level 0 below the limit from which on compaction comes before reads and writes. */
const NEARLY_FULL = 2;

/** `threads`: on which it merges; undefined: on this one. The caller made them, and ends them. */
export function embeddedCompactor(
  host: UpkeepHost,
  settings: CompactionSettings,
  threads: ThreadPool | undefined,
): CompactorRole {
  const { clock, random, logger, onEvent, manifests, form } = host;
  const { l0MaxSsts, l0SstSizeBytes, owner } = host.settings;
  const { maxConcurrentCompactions, maxSstBytes, scheduler, trivialMoves } = settings;
  const fullBytes = Math.min(maxSstBytes, l0SstSizeBytes);
  const isUrgent = () => manifests.current.manifest.l0.length >= l0MaxSsts - NEARLY_FULL;
  const stores = limitedStores(host, settings, isUrgent);
  const { databaseId } = host.author;
  const author = new Author({ clock, random, owner, databaseId, role: 'compactor' });
  const facts = factsOf(host, () => compactor.poke('time'));
  const slices = new SlicedMerges(clock, isUrgent);
  const merges = threads === undefined ? slices : new ThreadedMerges({ threads, slices });
  const maxSubcompactions = subcompactionsAtATime(clock, settings);
  const running = { ...jobOptions(host, settings, stores, author), merges, slices };
  const memory = new JobMemoryPool(host.compactionBytes, maxConcurrentCompactions);
  const compactor = new Compactor({
    manifests,
    store: stores.main,
    author,
    guard: new EpochGuard(clock, stores.latestStoreTimesMs),
    compactionsVersion: host.headerVersion,
    logger,
    prepareCommit: () => host.prepareCommit(),
    correct: (m) => host.correct(m),
    latestStoreTimeMs: () => stores.latestStoreTimesMs()[0],
    losses: host.tables,
    scheduler,
    schedulerOptions: { ...settings, l0MaxSsts },
    output: { ...form, maxSstBytes: Math.max(maxSstBytes, form.blockBytes) },
    expireTo: (tickMs) => host.expireTo(tickMs),
    rowFacts: async ({ manifest }) => facts.of(manifest),
    moves: trivialMoves ? { fullBytes, learn: (tables) => facts.learn(tables) } : undefined,
    takeoverMs: TAKEOVER_MS,
    maxConcurrentCompactions,
    runJob: async (plan, signal) => {
      const shareBytes = memory.take();
      try {
        return await runDividedJob(plan, { ...running, shareBytes, maxSubcompactions }, signal);
      } finally {
        memory.giveBack(shareBytes);
      }
    },
    onEvent: (event) => onEvent({ type: 'compactor', event }),
  });
  return {
    start: () => {
      compactor.start();
      facts.start();
    },
    stop: async () => {
      facts.stop();
      await compactor.stop();
    },
    pause: () => compactor.pause(),
    poke: (cause) => compactor.poke(cause),
    compactAll: (signal) => keepingProcess(clock, compactor.compactAll(signal)),
    state: () => compactor.state(),
  };
}

/** 24 days: no timer of Node waits longer. */
const LONGEST_TIMER_MS = 0x7fffffff;

/** Waits between attempts let the process end, but not while somebody waits for the outcome. Another clock has its own driver. */
async function keepingProcess<T>(clock: Clock, work: Promise<T>): Promise<T> {
  const hold = clock === SYSTEM_CLOCK ? clock.setTimer(LONGEST_TIMER_MS, () => undefined) : undefined;
  try {
    return await work;
  } finally {
    hold?.cancel();
  }
}

/** All requests of the compactor, but those of the writer's log of manifests, share one limit, and the foreground comes first. */
function limitedStores(
  { stores: foreground }: UpkeepHost,
  { maxRequestsInFlight: most }: CompactionSettings,
  isUrgent: () => boolean,
): DatabaseStores {
  const stores = foreground.countedAs(COMPACTOR_NAME);
  const slots = new RequestSlots({ most, foreground: () => foreground.inFlight(), isUrgent });
  const main = limitedStore(stores.main, slots);
  return { ...stores, main, whole: limitedStore(stores.whole, slots) };
}

function factsOf({ clock, logger, tables, manifests }: UpkeepHost, onLearnt: () => void): RowFactsCache {
  return new RowFactsCache({
    clock,
    logger,
    ends: {
      now: (table) => tables.readerOf(table)?.meta,
      load: async (table) => tables.readerOf(table)?.loadMeta(),
    },
    current: () => manifests.current.manifest,
    onLearnt,
  });
}

const MOST_THREADS_ALONE = 4;

/** 0: merges run on this thread. */
function threadCount(clock: Clock, threads: CompactionSettings['threads']): number {
  if (threads === 'off' || clock !== SYSTEM_CLOCK) return 0;
  return threads === 'auto' ? Math.max(1, Math.min(MOST_THREADS_ALONE, availableParallelism() - 1)) : threads;
}

/** Ranges of a job that are merged at the same time, at most. */
export function subcompactionsAtATime(
  clock: Clock,
  { maxSubcompactions, threads }: Pick<CompactionSettings, 'maxSubcompactions' | 'threads'>,
): number {
  return maxSubcompactions === 'auto' ? Math.max(1, threadCount(clock, threads)) : maxSubcompactions;
}

/** Of the process: a database that is opened after another was closed, or the next call of `compact`, goes on with compiled code. */
const SPARE_THREADS = new SpareThreads({ clock: SYSTEM_CLOCK, startThread, most: MOST_THREADS_ALONE });

/** Undefined: all is done on this thread. Where time is not the system's, nothing may run that does not go by it: the same seed, the same run. */
export function threadPool(
  { clock, logger }: Pick<UpkeepHost, 'clock' | 'logger'>,
  threads: CompactionSettings['threads'],
): ThreadPool | undefined {
  const most = threadCount(clock, threads);
  const { start, newWork } = SPARE_THREADS;
  return most === 0 ? undefined : new ThreadPool({ clock, logger, startThread: start, newWork, most });
}

function jobOptions(
  { clock, logger, onEvent, manifests, mergeOperator, operatorModule, settings: { timeoutMs } }: UpkeepHost,
  { bytesPerSecond, verifyOutputs, compactionFilter, filterModule }: CompactionSettings,
  stores: DatabaseStores,
  author: Author,
): Omit<JobRunOptions, 'shareBytes' | 'merges' | 'slices'> {
  return {
    stores,
    manifests,
    author,
    logger,
    rate: new ByteRate(clock, bytesPerSecond),
    mergeOperator,
    operatorModule,
    compactionFilter,
    filterModule,
    verifyOutputs,
    timeoutMs,
    onFinding: (finding) => reportFinding({ logger, onEvent }, 'met by a compaction', finding),
  };
}
