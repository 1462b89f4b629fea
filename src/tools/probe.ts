/**
 * `probe`: does the store under a location keep the promises that databases need? Asked before anything is stored there, or
 * when its behaviour is in doubt. There need be no database.
 */
import { checkedOptions } from '../common/option-checks.ts';
import { probeStore } from '../lsm/manifest/store-probe.ts';
import type { StoreProfile } from '../store/store-probe.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, withTarget } from './target.ts';

/**
 * Tries the store and says what it found. Writes small objects under `shale/probe/` of the location and deletes them again,
 * also when it fails; about 60 requests. A database there is not touched. A separate store for the log is not tried: give it
 * as a location of its own.
 *
 * Rejects with `InvalidArgumentError` (location, bucket, permissions) and `UnavailableError` (the store cannot be reached).
 */
export async function probe(t: Target, o: ToolOptions = {}): Promise<StoreProfile> {
  return withTarget(t, checkedOptions('probe', o, TOOL_CHECKS), ({ stores, clock, random, signal }) =>
    probeStore(stores.main, { clock, random, ...(signal !== undefined && { signal }) }),
  );
}
