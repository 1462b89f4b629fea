/**
 * What a collector can be set to, and what it does where nothing is set.
 *
 * Invariant 1: a least age at which a stalled writer could still acknowledge a row into a deleted place is refused, unless a test says
 * that it knows: `LEAST_SAFE_AGE_MS`.
 */
import { bool, type ChecksOf, describeValue, MAX_MS, oneOf, whole } from '../common/option-checks.ts';
import { FENCE_VALIDITY_MS } from '../lsm/manifest/epoch-guard.ts';
import { COLLECTED_AFTER_MS, KEPT_MANIFESTS } from '../lsm/manifest/live-set.ts';

/** Three times as long as a writer goes on without a confirmation that it is still the owner. */
export const LEAST_SAFE_AGE_MS = 3 * FENCE_VALIDITY_MS;

/** What a collector deletes, and when. */
export interface GcOptions {
  /**
   * Minimum age of what is deleted, ms, by the clock of the store; 180,000 to 2,147,483,647, default 300,000, as in SlateDB. Higher: readers
   * without a checkpoint have more time, but garbage is paid for longer.
   */
  minAgeMs?: number;
  /** Allow any `minAgeMs`, for tests: below 180,000, a writer that was suspended could acknowledge rows that no one will ever read. Default false. */
  allowUnsafeMinAge?: boolean;
  /**
   * What happens to the empty log objects that openings leave. `keep` (default, as in SlateDB): nothing. `collect`: those that no manifest
   * needs are deleted when they are a day old, if a boundary file exists; listing the log then stays fast.
   */
  fences?: 'keep' | 'collect';
  /** Number of newest manifests kept, with their tables and log, so that a repair can go back to them; 1 to 1,000, default 3. */
  recentManifests?: number;
  /**
   * `raise` (default): manifests and compactions files are deleted once the boundary file says so; the store must honour `If-Match` for that.
   * `off`: delete without it, only for a database that no other process uses: a stalled one could then commit where no reader finds it.
   */
  boundaryFiles?: 'raise' | 'off';
}

/** What a collector does that runs by itself. */
export interface CollectorOptions extends GcOptions {
  /**
   * Minimum time between two rounds, ms; 10,000 to 2,147,483,647, default 600,000, as in SlateDB. A round lists everything, so shorter costs
   * more requests while there are commits, and none while there are none.
   */
  intervalMs?: number;
  /** Log what would be deleted, and delete nothing. Default false. */
  dryRun?: boolean;
}

export type GcSettings = Readonly<Required<Omit<GcOptions, 'allowUnsafeMinAge'>>>;

export interface CollectorSettings extends GcSettings {
  readonly intervalMs: number;
  readonly dryRun: boolean;
}

export const GC_CHECKS: ChecksOf<GcOptions> = {
  minAgeMs: whole(0, MAX_MS),
  allowUnsafeMinAge: bool,
  fences: oneOf(['keep', 'collect']),
  recentManifests: whole(1, 1000),
  boundaryFiles: oneOf(['raise', 'off']),
};

export const COLLECTOR_CHECKS: ChecksOf<CollectorOptions> = {
  ...GC_CHECKS,
  intervalMs: whole(10_000, MAX_MS),
  dryRun: bool,
};

const DEFAULTS: GcSettings = {
  minAgeMs: COLLECTED_AFTER_MS,
  fences: 'keep',
  recentManifests: KEPT_MANIFESTS,
  boundaryFiles: 'raise',
};

/** What is wrong with options that are right one by one, as sentences for `BAD_OPTION`. */
export function gcFaults({ minAgeMs, allowUnsafeMinAge = false }: GcOptions): string[] {
  if (minAgeMs === undefined || minAgeMs >= LEAST_SAFE_AGE_MS || allowUnsafeMinAge) return [];
  const range = `a whole number from ${LEAST_SAFE_AGE_MS} to ${MAX_MS} (from 0 with allowUnsafeMinAge)`;
  return [`minAgeMs must be ${range}, not ${describeValue(minAgeMs)}`];
}

/** Options that were checked, with what is done where nothing is said. */
export function gcSettings({ allowUnsafeMinAge: _, ...given }: GcOptions): GcSettings {
  return { ...DEFAULTS, ...given };
}

/** The same of a collector that runs by itself. */
export function collectorSettings({
  intervalMs = 600_000,
  dryRun = false,
  ...gc
}: CollectorOptions): CollectorSettings {
  return { ...gcSettings(gc), intervalMs, dryRun };
}
