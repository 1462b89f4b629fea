/**
 * How a collector writes a manifest that no open database writes for it: without an epoch, so no writer and no compactor is fenced by it.
 */
import { assertThat } from '../common/assert.ts';
import { UnavailableError } from '../common/errors.ts';
import { whereOf } from '../lsm/manifest/database-stores.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import type { ManifestChange } from '../lsm/manifest/manifest-log.ts';
import { type LoadedManifest, readManifest } from '../lsm/manifest/manifest-store.ts';
import { findNewestId } from '../recovery/place.ts';
import { logWithoutWriter, type UnownedParts } from '../recovery/unowned-log.ts';

const MAX_COMMIT_ROUNDS = 5;

/**
 * Writes `change` of the newest manifest as the next one. A LIST and a GET before what `ManifestLog.commit` costs, and what
 * `logWithoutWriter` costs.
 */
export async function commitAsCollector(parts: UnownedParts, change: ManifestChange): Promise<LoadedManifest> {
  const { stores, clock } = parts;
  const stamp = new EpochGuard(clock, stores.latestStoreTimesMs).stamp();
  const current = await readNewest(parts);
  const log = await logWithoutWriter(parts, 'collector', current, stamp);
  await log.commit(change);
  assertThat(log.current.id >= current.id, 'a commit never goes back');
  return log.current;
}

async function readNewest({ stores }: Pick<UnownedParts, 'stores'>): Promise<LoadedManifest> {
  for (let round = 0; round < MAX_COMMIT_ROUNDS; round++) {
    const id = await findNewestId(stores.main);
    const loaded = id === undefined ? undefined : await readManifest(stores.main, id);
    if (loaded !== undefined) return loaded;
  }
  throw new UnavailableError(
    'STORE_DOWN',
    `${whereOf(stores)}: the manifest that the store lists as the newest cannot be read.`,
  );
}
