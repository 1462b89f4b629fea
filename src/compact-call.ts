/**
 * The compaction of everything as an operator calls it: through the compactor of an open database, or by one that is made for the call where
 * no process has the database open.
 *
 * ```
 * read the newest manifest -> every tree is one run: done, nothing was written
 *   -> signs of life: refused   -> claim of the epoch of the compactor -> one job for each tree -> report
 * ```
 *
 * 1. Without `apply`, and where nothing is to be merged, nothing is written.
 * 2. No writer is fenced: the log of manifests has no epoch but that of the compactor (asserted by `ManifestLog`).
 * 3. Whatever ends the call ends the compactor of the call: no timer and no request is left.
 */

import { at, makeHint, repairTable } from './common/advice.ts';
import { describeThrown, guarded } from './common/callbacks.ts';
import type { Clock, Timer } from './common/clock.ts';
import type { CompactionReport, CompactorRole } from './common/compactor-role.ts';
import { type DbError, isCorruption, isDbError, UnavailableError } from './common/errors.ts';
import { reportFinding } from './common/events.ts';
import { type ModuleSource, objectOrModule } from './common/module-ref.ts';
import {
  bool,
  type ChecksOf,
  callable,
  MAX_MS,
  oneOf,
  optionFaults,
  readOptions,
  whole,
} from './common/option-checks.ts';
import { asSentence } from './common/sentence.ts';
import { isUlid } from './common/ulid.ts';
import { type CompactReport, compactReport, type SeenTrees, treesToMerge } from './compact-report.ts';
import type { EstimateSettings } from './compaction/job-estimate.ts';
import {
  COMPACTION_CHECKS,
  type CompactionOptions,
  type CompactionSettings,
  compactionSettings,
  withLoadedFilter,
} from './compaction/settings.ts';
import { FilterForms } from './db/filter-forms.ts';
import { MAX_OPTION_BYTES, SHARED_CHECKS, withLoadedOperator } from './db/options.ts';
import { assertProfileHolds, filterFormFound } from './db/profile.ts';
import { SnapshotPins } from './db/snapshot-pins.ts';
import type { UpkeepHost } from './db/upkeep.ts';
import { embeddedCompactor, subcompactionsAtATime, threadPool } from './embedded-compactor.ts';
import { tablesOf } from './format/manifest-types.ts';
import { parseTablePath } from './format/object-names.ts';
import { CODECS, type Codec } from './format/table-info.ts';
import { DEFAULT_TIMEOUT_MS } from './lsm/manifest/database-stores.ts';
import { EpochGuard } from './lsm/manifest/epoch-guard.ts';
import type { ManifestLog } from './lsm/manifest/manifest-log.ts';
import type { LoadedManifest } from './lsm/manifest/manifest-store.ts';
import type { MergeOperator } from './lsm/rows/merge-operator.ts';
import { BlockCache } from './lsm/table/block-cache.ts';
import { assertParentsInReach } from './lsm/tree/parents.ts';
import { TableStore } from './lsm/tree/table-store.ts';
import type { ToolAccess } from './recovery/tool-access.ts';
import { logWithoutWriter } from './recovery/unowned-log.ts';
import { assertRewritable, readDatabase } from './tools/database-state.ts';
import { assertNobodyWrites, DEFAULT_LIVE_CHECK_MS } from './tools/signs-of-life.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './tools/target.ts';
import { readTree } from './tools/tree-inspect.ts';

const MIB = 1024 * 1024;
const DEFAULT_JOB_BYTES = 256 * MIB;
const BLOCK_BYTES = 4096;
const FILTER = { bitsPerKey: 10, minKeys: 1000 };
/** Ends of tables that are looked at, at most; jobs read past it. */
const CACHE_BYTES = MIB;
const MOST_JOBS = 4;
/** Of no consequence here: nothing is written into level 0, and the call does not wait for the epoch. */
const L0_MAX_SSTS = 8;
const L0_SST_BYTES = 64 * MIB;
const PROGRESS_MS = 1000;

/** How far a compaction of everything has come. */
export interface CompactProgress {
  /** Trees that are one run by now. */
  treesDone: number;
  /** Trees that are to be merged. */
  trees: number;
  /** Stored bytes that were read. */
  bytesRead: number;
  /** Stored bytes that will be read, about. */
  bytesExpected: number;
  /** Stored bytes that were written. */
  bytesWritten: number;
}

/** Options of `compact`. */
export interface CompactCallOptions
  extends ToolOptions,
    Pick<
      CompactionOptions,
      | 'maxSstBytes'
      | 'bytesPerSecond'
      | 'maxRequestsInFlight'
      | 'maxSubcompactions'
      | 'verifyOutputs'
      | 'threads'
      | 'compactionFilter'
    > {
  /** Merge. Default false: it is said what would be merged, and nothing is changed. */
  apply?: boolean;
  /** What to do if a process seems to write to the database at this location: `refuse` (default, `LIVE_WRITER`), or `fence` its compactor. A writer is never fenced. */
  ifLiveWriter?: 'refuse' | 'fence';
  /** How long to watch for such a process before anything is changed, ms; default 5,000, 0 does not look. */
  liveCheckMs?: number;
  /** Memory of all jobs, bytes; at least 8 MiB, default 256 MiB. Less: smaller tables, more requests. */
  memoryBytes?: number;
  /** Codec of the tables that are written. Default: that of the newest table. */
  compressionCodec?: Codec;
  /** Folds merge operands; without it they stay as they are. An object, or the name of a module, as for `open`. Default: none. */
  mergeOperator?: MergeOperator | ModuleSource;
  /** With `apply`: called every second while it runs. What it throws goes into the log. */
  onProgress?: (progress: CompactProgress) => void;
}

const COMPACT_CHECKS: ChecksOf<CompactCallOptions> = {
  ...TOOL_CHECKS,
  apply: bool,
  ifLiveWriter: oneOf(['refuse', 'fence']),
  liveCheckMs: whole(0, MAX_MS),
  maxSstBytes: COMPACTION_CHECKS.maxSstBytes,
  bytesPerSecond: COMPACTION_CHECKS.bytesPerSecond,
  maxRequestsInFlight: COMPACTION_CHECKS.maxRequestsInFlight,
  maxSubcompactions: COMPACTION_CHECKS.maxSubcompactions,
  verifyOutputs: COMPACTION_CHECKS.verifyOutputs,
  threads: COMPACTION_CHECKS.threads,
  compactionFilter: COMPACTION_CHECKS.compactionFilter,
  memoryBytes: whole(8 * MIB, MAX_OPTION_BYTES),
  compressionCodec: oneOf(CODECS),
  mergeOperator: SHARED_CHECKS.mergeOperator,
  onProgress: callable,
};

/** An open database merges as its own options say. */
const OF_THE_HANDLE = [
  'maxSstBytes',
  'bytesPerSecond',
  'maxRequestsInFlight',
  'maxSubcompactions',
  'verifyOutputs',
  'threads',
  'compactionFilter',
  'memoryBytes',
  'compressionCodec',
  'mergeOperator',
] as const;

/**
 * Merges each tree of a database into one run: reads then ask one table, and what was overwritten, deleted or has expired gives its space
 * back once a collector has run. Without `apply` a dry run: what would be merged, and what that costs. A database that is open in this
 * process does it by its own compactor, and flushes first, as `db.compact()`; at a location a compactor of this call does it, which takes
 * the epoch of compactors: a compactor elsewhere ends its jobs and waits until level 0 has been full for 10 minutes. So the call is refused
 * where a process seems to write. It fences no writer.
 *
 * May be interrupted at any moment: what is not committed is garbage, and what was merged until then stays merged. On return all is durable.
 *
 * Rejects with `InvalidArgumentError` (`BAD_OPTION`, `BAD_ARGUMENT`: an open database without compactor, `NOT_A_DATABASE`), `ConflictError`
 * (`LIVE_WRITER`), `IncompatibleError` (a newer form, or manifests that cannot hold it), `ManifestCorruptionError`, `UnavailableError`
 * (`COMPACTION_FAILED` with its cause; of a damaged table it names the repair), and `AbortError`. Some 10 requests and those of the estimate;
 * a dry run one for each table.
 */
export async function compact(target: Target, options: CompactCallOptions = {}): Promise<CompactReport> {
  const { given, faults } = readOptions('compact', options, COMPACT_CHECKS);
  const known: CompactCallOptions = given;
  if (faults.length > 0) throw optionFaults('compact', faults, COMPACT_CHECKS);
  return withTarget(target, known, (opened) => {
    const { openDb } = opened;
    if (openDb === undefined) return known.apply ? atLocation(opened, known) : dryRun(opened, known);
    const alien = OF_THE_HANDLE.filter((name) => known[name] !== undefined);
    if (alien.length > 0) {
      const fault = (name: string) =>
        `${name} does nothing here: an open database merges as the options of its opening say`;
      throw optionFaults('compact', alien.map(fault));
    }
    return known.apply ? throughHandle(opened, openDb, known) : dryRun(opened, known);
  });
}

async function dryRun(target: ToolTarget, options: CompactCallOptions): Promise<CompactReport> {
  const { place, ends } = await readTree(target, {});
  const { id, manifest } = place.newest;
  return compactReport({
    applied: false,
    before: { id, manifest, ends: ends.byTable },
    settings: estimateSettings(target.clock, options, jobsAtATime(manifest)),
    jobs: [],
    findings: ends.findings,
    requests: target.requests(),
    tookMs: target.tookMs(),
  });
}

function jobsAtATime(manifest: LoadedManifest['manifest']): number {
  return Math.max(1, Math.min(MOST_JOBS, treesToMerge(manifest).length));
}

function estimateSettings(clock: Clock, options: CompactCallOptions, jobs: number): EstimateSettings {
  const settings = settingsOf(options, jobs);
  const { maxSstBytes, verifyOutputs } = settings;
  const shareBytes = (options.memoryBytes ?? DEFAULT_JOB_BYTES) / jobs;
  const maxSubcompactions = subcompactionsAtATime(clock, settings);
  return { shareBytes, maxSstBytes, blockBytes: BLOCK_BYTES, verifyOutputs, maxSubcompactions };
}

/** Nothing but what is asked for is merged. */
function settingsOf(
  {
    maxSstBytes,
    bytesPerSecond,
    maxRequestsInFlight,
    maxSubcompactions,
    verifyOutputs,
    threads,
    compactionFilter,
  }: CompactCallOptions,
  jobs: number,
): CompactionSettings {
  return compactionSettings({
    ...(maxSstBytes !== undefined && { maxSstBytes }),
    ...(bytesPerSecond !== undefined && { bytesPerSecond }),
    ...(maxRequestsInFlight !== undefined && { maxRequestsInFlight }),
    ...(maxSubcompactions !== undefined && { maxSubcompactions }),
    ...(verifyOutputs !== undefined && { verifyOutputs }),
    ...(threads !== undefined && { threads }),
    ...(compactionFilter !== undefined && { compactionFilter }),
    maxConcurrentCompactions: jobs,
    scheduler: () => ({ proposals: [] }),
  });
}

const seen = ({ id, manifest }: LoadedManifest): SeenTrees => ({ id, manifest, ends: new Map() });

// ---- through an open database

async function throughHandle(
  target: ToolTarget,
  openDb: ToolAccess,
  options: CompactCallOptions,
): Promise<CompactReport> {
  const before = openDb.manifest();
  const settings = estimateSettings(target.clock, {}, jobsAtATime(before.manifest));
  const run = () => openDb.compact(options.signal);
  const { jobs } = await watched({ target, options, before, settings, current: () => openDb.manifest(), run });
  return reportOf(target, { before, after: openDb.manifest(), settings, jobs });
}

// ---- by a compactor of the call

async function atLocation(target: ToolTarget, options: CompactCallOptions): Promise<CompactReport> {
  const { stores, clock, where } = target;
  const guard = new EpochGuard(clock, stores.latestStoreTimesMs);
  const stamp = guard.stamp();
  const { newest: before } = await readDatabase(target, guard);
  const jobs = jobsAtATime(before.manifest);
  const settings = estimateSettings(clock, options, jobs);
  if (treesToMerge(before.manifest).length === 0)
    return reportOf(target, { before, after: before, settings, jobs: [] });
  assertRewritable(target, before);
  assertProfileHolds('auto', before.manifest, where);
  await assertParentsInReach(stores, before.manifest);
  const merging = await withLoadedFilter(settingsOf(options, jobs), 'compact: compactionFilter');
  const operator = await operatorOf(options);
  if (options.ifLiveWriter !== 'fence') {
    await assertNobodyWrites(target, options.liveCheckMs ?? DEFAULT_LIVE_CHECK_MS, WHILE_IT_RUNS);
  }
  const tables = new TableStore({
    store: stores.main,
    wholeStore: stores.whole,
    cache: new BlockCache({ capacityBytes: CACHE_BYTES }),
    clock,
    onFinding: (f) => reportFinding(eventsOf(target), 'met by a compaction', f),
  });
  const forms = new FilterForms();
  const adopt = (loaded: LoadedManifest) => {
    forms.note(loaded);
    tables.view(loaded.manifest);
    compactor?.poke('manifest');
  };
  let compactor: CompactorRole | undefined;
  const threads = threadPool(target, merging.threads);
  try {
    const log = await logWithoutWriter(target, 'compactor', before, stamp, adopt);
    adopt(before);
    const host = hostOf({ target, options, operator, guard, log, tables, forms });
    const role = embeddedCompactor(host, merging, threads);
    compactor = role;
    role.start();
    const run = () => role.compactAll(options.signal);
    const { jobs: done } = await watched({ target, options, before, settings, current: () => log.current, run });
    return reportOf(target, { before, after: log.current, settings, jobs: done });
  } finally {
    await compactor?.stop();
    await threads?.close();
    tables.dispose();
  }
}

const WHILE_IT_RUNS =
  'Call db.compact() in the process that has it open, or stop that process; or merge all the same with --if-live-writer fence (ifLiveWriter: "fence"): the compactor of that process then ends its jobs and waits, its writer goes on.';

function eventsOf({ logger }: ToolTarget) {
  return { logger, onEvent: () => undefined };
}

type Operator = Pick<UpkeepHost, 'mergeOperator' | 'operatorModule'>;

function operatorOf(options: CompactCallOptions): Promise<Operator> {
  const { object, module } = objectOrModule(options.mergeOperator, 'merge');
  return withLoadedOperator<Operator>('compact', { mergeOperator: object, operatorModule: module });
}

interface HostParts {
  target: ToolTarget;
  options: CompactCallOptions;
  operator: Operator;
  guard: EpochGuard;
  log: ManifestLog;
  tables: TableStore;
  forms: FilterForms;
}

/** What stands for a writer. */
function hostOf({ target, options, operator, guard, log, tables, forms }: HostParts): UpkeepHost {
  const { stores, clock, random, owner } = target;
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const { manifest } = log.current;
  const newest = tablesOf(manifest).reduce((a, b) => (a.id > b.id ? a : b));
  const pins = new SnapshotPins(clock);
  return {
    stores,
    author: log.author,
    guard,
    manifests: log,
    tables,
    settings: { hideExpired: true, l0MaxSsts: L0_MAX_SSTS, l0SstSizeBytes: L0_SST_BYTES, owner, timeoutMs },
    compactionBytes: options.memoryBytes ?? DEFAULT_JOB_BYTES,
    ...operator,
    form: {
      blockBytes: BLOCK_BYTES,
      codec: options.compressionCodec ?? newest.info.codec,
      filter: { form: filterFormFound(manifest, newest), ...FILTER },
    },
    headerVersion: manifest.headerVersion,
    expireTo: (tickMs) => pins.expireTo(tickMs),
    prepareCommit: () => forms.learn(tables.view(log.current.manifest)),
    correct: (m) => forms.correct(m),
    clock,
    random,
    ...eventsOf(target),
  };
}

// ---- both

interface Run {
  target: ToolTarget;
  options: CompactCallOptions;
  before: LoadedManifest;
  settings: EstimateSettings;
  current(): LoadedManifest;
  run(): Promise<CompactionReport>;
}

/** Runs it, reports how far it has come, and says what to do about what ended it. */
async function watched(run: Run): Promise<CompactionReport> {
  const progress = new ProgressReports(run);
  try {
    return await run.run();
  } catch (error) {
    throw isDbError(error) ? explained(error, run.target) : error;
  } finally {
    progress.end();
  }
}

class ProgressReports {
  readonly #run: Run;
  readonly #trees: readonly string[];
  readonly #bytesExpected: number;
  readonly #at: { bytesIn: number; bytesOut: number };
  #timer: Timer | undefined;

  constructor(run: Run) {
    const { before, settings, target } = run;
    this.#run = run;
    this.#trees = treesToMerge(before.manifest);
    const facts = { applied: false, jobs: [], findings: [], requests: 0, tookMs: 0 };
    this.#bytesExpected = compactReport({ ...facts, before: seen(before), settings }).estimate.bytesRead;
    this.#at = target.stores.counts();
    if (run.options.onProgress !== undefined) this.#report();
  }

  #report(): void {
    const { target, current, options } = this.#run;
    const left = new Set(treesToMerge(current().manifest));
    const { bytesIn, bytesOut } = target.stores.counts();
    const progress: CompactProgress = {
      treesDone: this.#trees.filter((name) => !left.has(name)).length,
      trees: this.#trees.length,
      bytesRead: bytesIn - this.#at.bytesIn,
      bytesExpected: this.#bytesExpected,
      bytesWritten: bytesOut - this.#at.bytesOut,
    };
    guarded(
      () => options.onProgress?.(progress),
      (error) => target.logger.error('the onProgress function threw', { error: describeThrown(error) }),
    );
    this.#timer = target.clock.setTimer(PROGRESS_MS, () => this.#report(), false);
  }

  end(): void {
    this.#timer?.cancel();
  }
}

/** Of a table that cannot be read: which one, and the command that repairs it. */
function explained(error: DbError, { label, where }: ToolTarget): DbError {
  const { cause } = error;
  if (error.code !== 'COMPACTION_FAILED' || !isDbError(cause) || !isCorruption(cause)) return error;
  const objects = cause.findings.map(({ object }) => (isUlid(object.id) ? object.id : parseTablePath(object.path)));
  const table = objects.find((id) => id !== undefined);
  if (table === undefined) return error;
  const command = at(repairTable(table), label);
  const summary = `Table ${table} cannot be merged. Repair it, then compact again.`;
  return new UnavailableError(
    'COMPACTION_FAILED',
    `${where}: ${summary} ${command} — ${asSentence(cause.message)} What was merged before stays merged.`,
    { cause, retryable: error.retryable, details: { table }, hint: makeHint(summary, 'unknown', [command]) },
  );
}

function reportOf(
  target: ToolTarget,
  { before, after, ...more }: Pick<Run, 'before' | 'settings'> & { after: LoadedManifest } & CompactionReport,
): CompactReport {
  return compactReport({
    ...more,
    applied: true,
    before: seen(before),
    after: seen(after),
    findings: [],
    requests: target.requests(),
    tookMs: target.tookMs(),
  });
}
