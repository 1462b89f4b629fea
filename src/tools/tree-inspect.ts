/**
 * What a database looks like: level 0 and sorted runs of each of its trees, with sizes, ages, keys and rows. Writes nothing.
 *
 * Invariant 1: a table is called missing only if the manifest that names it is still the newest after that was seen.
 */
import { bool, type ChecksOf, callable, checkedOptions } from '../common/option-checks.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { isOvertaken, type Place } from '../recovery/place.ts';
import { readNewestPlace } from './database-state.ts';
import type { CheckProgress } from './sst-check.ts';
import {
  MAX_ROUNDS,
  type Target,
  TOOL_CHECKS,
  type ToolOptions,
  type ToolTarget,
  tooManyOthers,
  withTarget,
} from './target.ts';
import { type TreeReport, treeShapes } from './tree-report.ts';
import { readTableEnds, type TableEnds } from './tree-tails.ts';

/** Options of what describes a tree. */
export interface TreeInspectOptions extends ToolOptions {
  /**
   * Read the end of each table, one GET for each: rows, tombstones, seals, exact sizes, and whether it is there and its end is intact.
   * Default true; without it the manifest alone is read, and sizes are a little too small.
   */
  tails?: boolean;
  /** Called when the tables are counted, and whenever one is finished. What it throws ends the call. */
  onProgress?: (progress: CheckProgress) => void;
}

export const TREE_CHECKS: ChecksOf<TreeInspectOptions> = { ...TOOL_CHECKS, tails: bool, onProgress: callable };

/**
 * The shape of a database, as its newest manifest has it. Tables that are damaged or missing are shown as such, each with a finding. Beside
 * a live writer and compactor it shows one state, which was there when the call began or later.
 *
 * Rejects with `InvalidArgumentError` (`BAD_OPTION`, `NOT_A_DATABASE`), `ManifestCorruptionError` if the newest manifest is damaged or none is
 * left, `IncompatibleError` for one of a newer form, `UnavailableError`, `AbortError`. Six requests, up to ten where SlateDB wrote the
 * manifest; one GET for each table with `tails`, of what is after its rows: about 2 % of its bytes.
 */
export async function treeInspect(target: Target, options: TreeInspectOptions = {}): Promise<TreeReport> {
  const checked = checkedOptions('treeInspect', options, TREE_CHECKS);
  return withTarget(target, checked, async (opened) => {
    const { place, ends } = await readTree(opened, checked);
    const { newest } = place;
    return {
      schemaVersion: 1,
      manifestId: BigInt(newest.id),
      ...writtenAt(newest),
      nowMs: opened.clock.nowMs(),
      ...treeShapes(newest.manifest, ends.byTable),
      findings: ends.findings,
      requests: opened.requests(),
      tookMs: opened.tookMs(),
    };
  });
}

/** When a manifest was written, by its author's clock, where it has a seal. */
export function writtenAt({ seal }: Pick<LoadedManifest, 'seal'>): { writtenAtMs?: number } {
  return seal === undefined ? {} : { writtenAtMs: seal.identity.writtenAtMs };
}

/** The newest manifest, with the ends of its tables; again where another process replaced tables in between. */
export async function readTree(
  target: ToolTarget,
  { tails = true, onProgress = () => undefined }: Pick<TreeInspectOptions, 'tails' | 'onProgress'>,
): Promise<{ place: Place; ends: TableEnds }> {
  const { stores, clock } = target;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const place = await readNewestPlace(target, new EpochGuard(clock, stores.latestStoreTimesMs));
    if (!tails) return { place, ends: { byTable: new Map(), findings: [], lacksAny: false } };
    const ends = await readTableEnds(target, place.newest.manifest, onProgress);
    if (!ends.lacksAny || !(await isOvertaken(stores.main, place.newest.id))) return { place, ends };
  }
  throw tooManyOthers(target);
}
