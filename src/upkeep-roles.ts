/**
 * The options of `open`, and the roles that it runs beside the writer: the one place that knows the writer and each of these roles.
 *
 * A further role is: an option and its check, a member of `UpkeepSettings`, and a line in `upkeepRoles`.
 */
import { reportFinding } from './common/events.ts';
import { type Check, type ChecksOf, offOr, optionFaults, readOptions } from './common/option-checks.ts';
import {
  COMPACTION_CHECKS,
  type CompactionOptions,
  type CompactionSettings,
  compactionFaults,
  compactionSettings,
  withLoadedFilter,
} from './compaction/settings.ts';
import { ThreadedTables } from './compaction/threaded-tables.ts';
import type { EncodingOptions } from './db/encoding.ts';
import { completeWriter, WRITER_CHECKS, type WriterOptions, type WriterSettings } from './db/open-options.ts';
import { COMPACTION_PART, type ResolvedOptions, withLoadedOperator } from './db/options.ts';
import { COLLECTOR_NAME, type MakeUpkeepRoles, type UpkeepHost } from './db/upkeep.ts';
import { embeddedCompactor, threadPool } from './embedded-compactor.ts';
import { Collector } from './gc/collector.ts';
import {
  COLLECTOR_CHECKS,
  type CollectorOptions,
  type CollectorSettings,
  collectorSettings,
  gcFaults,
} from './gc/settings.ts';

/** Options of `open`. Each is optional. */
export interface OpenOptions extends WriterOptions {
  /**
   * Merge tables while the database is open, so that reads search few of them and space taken by overwritten, deleted and expired rows is
   * freed. `false`: nothing is merged here, so run a compactor elsewhere; threads, as with `threads: 'auto'`, then only build
   * tables of large memtables. An object changes the settings. Default: on.
   */
  compactor?: false | CompactionOptions;
  /**
   * Delete what is no longer needed while the database is open: old manifests, log objects, tables that were compacted or that a crash has
   * left. `false`: nothing is deleted here; run `shaledb gc`, or a collector elsewhere. An object changes the settings. Default: on.
   */
  gc?: false | CollectorOptions;
}

/** Tables of level 0 at which flushing pauses: beside a compactor as in SlateDB; without one it would pause for good. */
const L0_MAX_COMPACTED = 8;
const L0_MAX_ALONE = 1000;

/** What runs beside the writer; undefined: switched off. */
export interface UpkeepSettings {
  readonly compactor: CompactionSettings | undefined;
  readonly gc: CollectorSettings | undefined;
}

/** What the options of `open` come to. */
export interface OpenResolution extends ResolvedOptions<WriterSettings> {
  readonly upkeep: UpkeepSettings;
}

const gcCheck: Check = (value, name, faults) => {
  const given = offOr(COLLECTOR_CHECKS)(value, name, faults);
  if (typeof given === 'object' && given !== null) faults.push(...gcFaults(given).map((fault) => `${name}.${fault}`));
  return given;
};

const compactorCheck: Check = (value, name, faults) => {
  const given = offOr(COMPACTION_CHECKS)(value, name, faults);
  if (typeof given === 'object' && given !== null)
    faults.push(...compactionFaults(given).map((fault) => `${name}.${fault}`));
  return given;
};

const OPEN_CHECKS: ChecksOf<OpenOptions & EncodingOptions> = {
  ...WRITER_CHECKS,
  compactor: compactorCheck,
  gc: gcCheck,
};

/** Names of the options that are known, for the test that compares them with the documented ones. */
export const OPEN_OPTION_NAMES: readonly string[] = Object.keys(OPEN_CHECKS);

/**
 * Checks and completes the options of `open`.
 * @param owner who this process is where the options do not say
 * @throws InvalidArgumentError with all faults at once
 */
export function resolveOpenOptions(options: unknown, owner: string): OpenResolution {
  const { given, faults } = readOptions('open', options, OPEN_CHECKS);
  const known: OpenOptions & EncodingOptions = given;
  const hasCompactor = known.compactor !== false;
  const l0MaxSsts = known.l0MaxSsts ?? (hasCompactor ? L0_MAX_COMPACTED : L0_MAX_ALONE);
  const compactionPart = hasCompactor ? COMPACTION_PART : 0;
  const resolved = completeWriter({ ...known, l0MaxSsts, compactionPart }, owner, faults);
  if (faults.length > 0) throw optionFaults('open', faults);
  const { compactor = {}, gc = {} } = known;
  return {
    ...resolved,
    upkeep: {
      compactor: compactor === false ? undefined : compactionSettings(compactor),
      gc: gc === false ? undefined : collectorSettings(gc),
    },
  };
}

/** With the code that the options name by its module. Rejects with `BAD_OPTION`. */
export async function withModules(resolved: OpenResolution): Promise<OpenResolution> {
  const { upkeep } = resolved;
  const parts = await withLoadedOperator('open', resolved.parts);
  const compactor = upkeep.compactor && (await withLoadedFilter(upkeep.compactor));
  return { ...resolved, parts, upkeep: { ...upkeep, compactor } };
}

/** How the roles of one database are made. */
export function upkeepRoles({ compactor, gc }: UpkeepSettings): MakeUpkeepRoles {
  return (host) => {
    // Large memtables become tables on threads also where another process merges.
    const threads = threadPool(host, compactor?.threads ?? 'auto');
    return {
      ...(compactor && { compactor: embeddedCompactor(host, compactor, threads) }),
      ...(gc && { collector: collectorOf(host, gc) }),
      ...(threads && { tableThreads: new ThreadedTables(threads), end: () => threads.close() }),
    };
  };
}

/** It commits through the writer's log, and has the writer look at what it sees to be newer: rows that are read, and who owns the database. */
function collectorOf({ stores, clock, random, logger, onEvent, manifests }: UpkeepHost, settings: CollectorSettings) {
  return new Collector({
    stores: stores.countedAs(COLLECTOR_NAME),
    clock,
    random,
    settings,
    logger,
    commit: async (change) => {
      await manifests.commit(change);
      return manifests.current;
    },
    onNewest: async ({ id }) => {
      if (id > manifests.current.id) await manifests.refresh();
    },
    onBoundary: () => manifests.lookForBoundary(),
    onEvent: (event) => onEvent({ type: 'collector', event }),
    onFinding: (finding) => reportFinding({ logger, onEvent }, 'met by the collector', finding),
  });
}
