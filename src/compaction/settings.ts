/** What a compactor can be set to, what it does where nothing is set, and which options make no sense together. */
import {
  loadModule,
  type ModuleRef,
  type ModuleSource,
  methodsOrModule,
  objectOrModule,
} from '../common/module-ref.ts';
import { between, bool, type ChecksOf, callable, methods, oneOf, that, whole } from '../common/option-checks.ts';
import type { CompactionFilter } from './compaction-filter.ts';
import type { VerifyOutputs } from './output-check.ts';
import type { Scheduler, SchedulerOptions } from './scheduling.ts';

const MIB = 1024 * 1024;
/** Tables are as large as SlateDB's. */
const DEFAULT_SST_BYTES = 256 * MIB;
/** What another compactor that fenced this one may take to commit something while level 0 is full. */
export const TAKEOVER_MS = 600_000;

/** What is merged, when, and how. Names and defaults of the sizes are SlateDB's, so that both pick the same. */
export interface CompactionOptions {
  /** Minimum number of level-0 tables, or of runs of similar size, to merge; 2 to 1,000, default 4. Higher: less is rewritten, but reads search more tables. */
  minCompactionSources?: number;
  /** Maximum number of tables and runs merged in one job; up to 1,000, default 8. Higher: fewer, larger jobs, each with more memory. */
  maxCompactionSources?: number;
  /** A run joins a merge if it is at most this many times as large as the smallest one in it; 1 to 1,000, default 4. */
  includeSizeThreshold?: number;
  /** With more runs than this, some are merged whatever their sizes; 0 to 1,000, default 8; 0 means never. Lower: faster reads, but more is rewritten. */
  sortedRunConsolidationThreshold?: number;
  /**
   * Size of level 0 and of all runs but the lowest, as a multiple of the lowest run, at which everything is merged into one run; 0.1 to 1,000,
   * default 1: a database then takes about twice the space it needs, plus what is flushed during the merge. Lower: less space, but more is
   * rewritten.
   */
  maxSpaceAmplification?: number;
  /** Number of jobs that run at the same time; 1 to 64, default 4. They share the memory. */
  maxConcurrentCompactions?: number;
  /** Maximum size of the blocks of a table, bytes; 64 KiB to 4 GiB, default 256 MiB, as in SlateDB. With little memory tables are smaller. */
  maxSstBytes?: number;
  /** Limit on what compaction reads and writes per second, bytes; default: none. If level 0 fills faster than this, writes wait. */
  bytesPerSecond?: number;
  /**
   * Maximum number of requests that all jobs together have in flight; 1 to 1,024, default 8. Reads and writes take precedence: their requests
   * in flight reduce this number, down to one, unless level 0 is nearly full. Lower: more connections and bandwidth for reads and writes, but
   * merges take longer.
   */
  maxRequestsInFlight?: number;
  /** Which blocks of a new table are read back before it is used: `sample` (default), or `all`, which reads everything that was written. */
  verifyOutputs?: VerifyOutputs;
  /**
   * Where rows are merged, and memtables of 8 MiB and more become tables: `auto` (default) uses up to 4 threads, one fewer than there are
   * cores, but at least one; a number from 1 to 64 is the maximum; `off` works between reads and writes, in slices of 2 ms, as is also done
   * where no thread can start and with the option `clock`. With threads, reads and writes wait less; each uses another core and some 10 MB,
   * and is kept for 30 s after its last work, also for the next database of the process.
   */
  threads?: 'auto' | 'off' | number;
  /**
   * Maximum number of key ranges into which a large job is divided; they are merged at the same time. `auto` (default): one for each thread,
   * one without threads; or a number from 1 to 64; 1 means never. A range has at least 32 MiB, or one table of `maxSstBytes`; with little
   * memory there are fewer. Higher: large jobs end sooner, but use another core each and read the metadata of tables once more for each range.
   */
  maxSubcompactions?: 'auto' | number;
  /**
   * Called with values as they are merged; keeps, drops or replaces them. Open snapshots see the result too, so use it only for values that no
   * one should read any more. With `{ module, export }` each thread loads it; an object is called on the main thread, and such jobs use no
   * others. Default: none.
   */
  compactionFilter?: CompactionFilter | ModuleSource;
  /**
   * Move tables into a run without rewriting them if no row would change: tables with no common key, no deletions, no merge operands and no
   * times to live, that are not much smaller than a flush makes them. Default false, as in SlateDB. True: rows loaded in ascending key order
   * are not rewritten at each level; moved tables are not read back, and keep their codec and filter. Not with a `compactionFilter`, which
   * sees only what is rewritten.
   */
  trivialMoves?: boolean;
  /** Chooses what to merge. An invalid proposal is skipped and reported; after three in a row the default scheduler, which is that of SlateDB, takes over. */
  scheduler?: Scheduler;
}

/** Settings of a compactor. */
export interface CompactionSettings extends Omit<SchedulerOptions, 'l0MaxSsts'> {
  readonly maxConcurrentCompactions: number;
  readonly maxSstBytes: number;
  readonly bytesPerSecond: number | undefined;
  readonly maxRequestsInFlight: number;
  readonly verifyOutputs: VerifyOutputs;
  readonly threads: 'auto' | 'off' | number;
  readonly maxSubcompactions: 'auto' | number;
  readonly trivialMoves: boolean;
  /** Undefined also where it is in a module that was not loaded yet. */
  readonly compactionFilter: CompactionFilter | undefined;
  /** Where it is from, if it is from a module. */
  readonly filterModule: ModuleRef | undefined;
  readonly scheduler: Scheduler | undefined;
}

export const FILTER_CHECK = methods('decide');
const MOST_THREADS_SET = 64;
const MOST_RANGES_SET = 64;
const isFrom1To = (most: number) => (v: unknown) => typeof v === 'number' && Number.isInteger(v) && v >= 1 && v <= most;

export const COMPACTION_CHECKS: ChecksOf<CompactionOptions> = {
  minCompactionSources: whole(2, 1000),
  maxCompactionSources: whole(2, 1000),
  includeSizeThreshold: between(1, 1000),
  sortedRunConsolidationThreshold: whole(0, 1000),
  maxSpaceAmplification: between(0.1, 1000),
  maxConcurrentCompactions: whole(1, 64),
  maxSstBytes: whole(64 * 1024, 4096 * MIB),
  bytesPerSecond: whole(1024, Number.MAX_SAFE_INTEGER),
  maxRequestsInFlight: whole(1, 1024),
  verifyOutputs: oneOf(['sample', 'all']),
  threads: that(
    `auto, off or a whole number from 1 to ${MOST_THREADS_SET}`,
    (v) => v === 'auto' || v === 'off' || isFrom1To(MOST_THREADS_SET)(v),
  ),
  maxSubcompactions: that(
    `auto or a whole number from 1 to ${MOST_RANGES_SET}`,
    (v) => v === 'auto' || isFrom1To(MOST_RANGES_SET)(v),
  ),
  compactionFilter: methodsOrModule(FILTER_CHECK),
  trivialMoves: bool,
  scheduler: callable,
};

/** What is wrong with options that are right one by one, as sentences for `BAD_OPTION`. */
export function compactionFaults(options: CompactionOptions): string[] {
  const { minCompactionSources: least = 4, maxCompactionSources: most = 8, trivialMoves, compactionFilter } = options;
  const faults: string[] = [];
  if (least > most) faults.push(`minCompactionSources (${least}) must not exceed maxCompactionSources (${most})`);
  if (trivialMoves === true && compactionFilter !== undefined)
    faults.push('trivialMoves would keep values from the compactionFilter, which sees only what is written');
  return faults;
}

/** Options that were checked, with what is done where nothing is said. */
export function compactionSettings(options: CompactionOptions): CompactionSettings {
  const { object: compactionFilter, module: filterModule } = objectOrModule(options.compactionFilter, 'decide');
  return {
    minCompactionSources: 4,
    maxCompactionSources: 8,
    includeSizeThreshold: 4,
    sortedRunConsolidationThreshold: 8,
    maxSpaceAmplification: 1,
    maxConcurrentCompactions: 4,
    maxSstBytes: DEFAULT_SST_BYTES,
    bytesPerSecond: undefined,
    maxRequestsInFlight: 8,
    verifyOutputs: 'sample',
    scheduler: undefined,
    threads: 'auto',
    maxSubcompactions: 'auto',
    trivialMoves: false,
    ...options,
    compactionFilter,
    filterModule,
  };
}

/** With the filter of its module. Rejects with `BAD_OPTION` if it cannot be loaded or is none. */
export async function withLoadedFilter(
  settings: CompactionSettings,
  option = 'open: compactor.compactionFilter',
): Promise<CompactionSettings> {
  const { filterModule } = settings;
  if (filterModule === undefined) return settings;
  return { ...settings, compactionFilter: await loadModule<CompactionFilter>(filterModule, option, FILTER_CHECK) };
}
