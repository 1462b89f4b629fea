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
  /**
   * Fewer tables of level 0, or runs of about one size, are not merged; 2 to 1,000, default 4. Higher: less is written again, and reads look
   * into more tables.
   */
  minCompactionSources?: number;
  /** At most so many tables and runs become one at a time; up to 1,000, default 8. Higher: fewer, larger jobs, each with more memory. */
  maxCompactionSources?: number;
  /** A run joins a merge if it is at most this many times as large as the smallest one that is in it; 1 to 1,000, default 4. */
  includeSizeThreshold?: number;
  /** With more runs than this some are merged whatever their sizes are; 0 to 1,000, default 8; 0: never. Lower: faster reads, more is written again. */
  sortedRunConsolidationThreshold?: number;
  /**
   * How large level 0 and the runs above the lowest one may be together, in parts of it, before all become one; 0.1 to 1,000, default 1: then a
   * database has about twice the bytes that it needs, and what is flushed while that is written. Lower: less space, more is written again.
   */
  maxSpaceAmplification?: number;
  /** How many jobs run at a time; 1 to 64, default 4. They share the memory. */
  maxConcurrentCompactions?: number;
  /** Where tables end, bytes of their blocks; 64 KiB to 4 GiB, default 256 MiB, as SlateDB's. With less memory they are smaller. */
  maxSstBytes?: number;
  /** The most that compaction reads and writes in a second, in bytes; default: no limit. If level 0 is filled faster than this, writes wait. */
  bytesPerSecond?: number;
  /**
   * How many requests all jobs together have under way at most; 1 to 1,024, default 8. Reads and writes come first: what they have under way is left to
   * them, but for one request, unless level 0 is nearly full. Lower: more of the connections and of the network is theirs, merges take longer.
   */
  maxRequestsInFlight?: number;
  /** Which blocks of a table are read back before it is used: `sample` (default), `all`, at the price of reading everything that was written. */
  verifyOutputs?: VerifyOutputs;
  /**
   * Where rows are merged, and memtables of 8 MiB and more become tables: `auto` (default) on at most 4 threads, one less than there are cores, and at least one; a
   * number: on at most so many, 1 to 64; `off`: between reads and writes, in slices of 2 ms, as also where no thread can start and with an option `clock`.
   * Threads: reads and writes wait less, merges and flushes take another core and some 10 MB for each.
   */
  threads?: 'auto' | 'off' | number;
  /**
   * Into how many ranges of keys a large job is divided at most, which are merged at the same time; `auto` (default): as many as there are threads, one without threads; a
   * number: 1 to 64. No range has less than 32 MiB, or than a table of `maxSstBytes`; and there are fewer where the memory of the job would not be
   * enough for large tables. More: large jobs end sooner, for another core each, and read the ends of tables once more for each range. 1: never.
   */
  maxSubcompactions?: 'auto' | number;
  /**
   * Asked about values as they are merged: kept, dropped, or replaced. Open snapshots see its decision, too: it is for what nobody is to read any more. `{ module, export }`: threads and this one load it, each for itself; an
   * object is asked on this thread, without others. Default: none.
   */
  compactionFilter?: CompactionFilter | ModuleSource;
  /**
   * Take tables into a run as they are where no row would change: those without a key in common, deletions, merge operands or times to live, and not much smaller
   * than a flush makes them. Default false, as in SlateDB. True: rows that are loaded in ascending order of keys are not written again for each level of size; such
   * tables are not read back, and keep their codec and filter. Not with a `compactionFilter`, which sees what is written.
   */
  trivialMoves?: boolean;
  /** Chooses what is merged. A proposal that is invalid is passed over and reported; the third in a row replaces it by the default, SlateDB's. */
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
