/** With which settings tables are merged and garbage is collected in a run: plain data drawn from a seed. */
import type { CompactionFilter } from '../../src/compaction/compaction-filter.ts';
import type { CompactionOptions } from '../../src/compaction/settings.ts';
import type { CollectorOptions } from '../../src/gc/settings.ts';
import type { RowFunctions } from './compaction-audit.ts';
import type { Draw } from './script.ts';

export interface UpkeepScript {
  compactor: false | Omit<CompactionOptions, 'compactionFilter' | 'scheduler'>;
  gc: false | CollectorOptions;
  /** A filter drops values that say so. */
  hasFilter: boolean;
  /** The store keeps some outputs other than they were sent. */
  spoilsOutputs: boolean;
  l0MaxSsts: number;
}

/** As before there were these roles. */
export const NO_UPKEEP: UpkeepScript = {
  compactor: false,
  gc: false,
  hasFilter: false,
  spoilsOutputs: false,
  l0MaxSsts: 1000,
};

/** Manifests that a collector keeps of which nothing else is said. */
export const RECENT_MANIFESTS = 3;

export function drawUpkeep(draw: Draw): UpkeepScript {
  const compactor = draw.chance(0.1) ? false : drawCompactor(draw);
  const gc = draw.chance(0.1) ? false : drawCollector(draw);
  const isThrottled = compactor !== false && compactor.bytesPerSecond !== undefined;
  const l0MaxSsts = compactor === false || isThrottled ? 1000 : draw.of([8, 8, 20, 1000]);
  const hasFilter = compactor !== false && draw.chance(0.25);
  // A sample does not show everything.
  const spoilsOutputs = compactor !== false && compactor.verifyOutputs === 'all' && draw.chance(0.3);
  // A filter has to see every value.
  const trivialMoves = compactor !== false && !hasFilter && draw.chance(0.4);
  const maxRequestsInFlight = draw.of([1, 2, 8, 8]);
  const maxSubcompactions = draw.of([1, 1, 2, 4]);
  return {
    compactor: compactor && { ...compactor, trivialMoves, maxRequestsInFlight, maxSubcompactions },
    gc,
    hasFilter,
    spoilsOutputs,
    l0MaxSsts,
  };
}

function drawCompactor(draw: Draw): CompactionOptions {
  const bytesPerSecond = draw.of([undefined, undefined, undefined, 2048, 65_536]);
  return {
    minCompactionSources: draw.of([2, 2, 3, 4]),
    maxCompactionSources: draw.of([4, 4, 8]),
    includeSizeThreshold: draw.of([1, 1.2, 4]),
    sortedRunConsolidationThreshold: draw.of([0, 2, 8]),
    maxSpaceAmplification: draw.of([0.1, 1, 1000]),
    maxConcurrentCompactions: draw.of([1, 4]),
    maxSstBytes: draw.of([65_536, 1 << 20]),
    verifyOutputs: draw.of(['sample', 'all']),
    ...(bytesPerSecond !== undefined && { bytesPerSecond }),
  };
}

/**
 * Ages of seconds are legitimate here: no second process lives on beside the one that writes, so none can believe in something that has been
 * deleted; what a dead one has left on its way is applied wherever it is, at any age.
 */
function drawCollector(draw: Draw): CollectorOptions {
  return {
    minAgeMs: draw.of([1000, 20_000, 60_000, 300_000]),
    allowUnsafeMinAge: true,
    intervalMs: draw.of([10_000, 10_000, 600_000]),
    fences: draw.of(['keep', 'collect']),
    recentManifests: draw.of([1, RECENT_MANIFESTS, 10]),
  };
}

export function recentManifestsOf({ gc }: UpkeepScript): number | undefined {
  return gc === false ? undefined : (gc.recentManifests ?? RECENT_MANIFESTS);
}

/** A value alone, without operands folded onto it. */
const DROPPED = /^~[^~]*~$/;

/** As a value that is to be dropped. */
export function marked(value: string): string {
  return `~${value}~`;
}

export function isDropped(value: string): boolean {
  return DROPPED.test(value);
}

export const DROPPING_FILTER: CompactionFilter = {
  decide: ({ value }) => (isDropped(Buffer.from(value).toString('latin1')) ? 'drop' : 'keep'),
};

/** The same functions for the auditor, which makes all runs again. */
export function functionsOf({ hasFilter }: Pick<UpkeepScript, 'hasFilter'>): RowFunctions {
  return {
    fold: (_key, older, newer) => older + newer,
    filter: hasFilter ? (_key, value) => (isDropped(value) ? 'drop' : 'keep') : undefined,
  };
}
