/**
 * The claim of a compactor: a manifest and a compactions file with the same epoch, above all that both had. The manifest comes first: from
 * then on no commit of the compactor before counts, and the next one that claims takes more than both, whichever of the two was written.
 *
 * 1. Nothing is claimed before there is a job: a database on which nothing is to be done is not written.
 * 2. Views of level 0 that share an id get ids of their own in the same manifest, where its version stores them: a compaction picks its
 *    sources by them (view-ids.ts).
 * 3. A compactions file of a newer program ends the claim before the manifest is written.
 *
 * Two PUTs, one LIST, two GETs. What fails half-way is done by the next claim, one epoch higher.
 */
import { IncompatibleError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { Random } from '../common/random.ts';
import type { Manifest } from '../format/manifest-types.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { type CompactionsLog, openCompactionsLog } from '../lsm/manifest/compactions-log.ts';
import { compactorFenced } from '../lsm/manifest/compactions-store.ts';
import type { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { claimEpochs } from '../lsm/manifest/manifest-edits.ts';
import type { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import { withUniqueViewIds } from '../lsm/manifest/view-ids.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { takeOverJobs } from './job-list.ts';

export interface ClaimOptions {
  manifests: Pick<ManifestLog, 'current' | 'commit'>;
  store: ObjectStore;
  /** Of the role compactor. */
  author: Author;
  /** Of the lists of `compactions/`. */
  guard: EpochGuard;
  /** The least version of the compactions file: the profile's. A newer one that is found stays. */
  compactionsVersion: 1 | 2;
  logger: Logger;
  prepareCommit(): Promise<void>;
  correct(manifest: Manifest): Manifest;
}

/** An epoch that is ours in both places. */
export interface CompactorClaim {
  epoch: number;
  /** Held under it. */
  log: CompactionsLog;
}

export async function claimAsCompactor(options: ClaimOptions): Promise<CompactorClaim> {
  const { manifests, store, author, guard, compactionsVersion: version, logger } = options;
  const newestManifestId = () => manifests.current.id;
  const { log, damage } = await openCompactionsLog({ store, author, guard, newestManifestId }, version);
  const found = log.current.compactions;
  if (damage !== undefined) {
    logger.warn('the compactions file is damaged; another one is begun, as no row depends on it', {
      error: damage.message,
    });
  }
  if (found.hasUnknownFields) {
    const message = `${store.name}: compactions file ${log.current.id} has fields that only a newer program knows. Compact with that.`;
    throw new IncompatibleError('FORMAT_TOO_NEW', message);
  }
  const epoch = await claimInManifest(options, found.compactorEpoch);
  await log.commit((file) => {
    const { compactorEpoch } = file.compactions;
    if (compactorEpoch >= epoch) {
      const { id, seal } = log.current;
      throw compactorFenced(`compactions file ${id}`, compactorEpoch, epoch, seal?.owner?.hostPid);
    }
    return takeOverJobs(file, epoch, version);
  });
  return { epoch, log: log.heldBy(epoch) };
}

/** The manifest as a claim makes it: where its version stores ids of views, each has one of its own. */
export function withChoosableViews(manifest: Manifest, random: Random): Manifest {
  return manifest.headerVersion === 1 ? manifest : withUniqueViewIds(manifest, random);
}

/** `seen`: the epoch of the compactions file. */
async function claimInManifest(options: ClaimOptions, seen: number): Promise<number> {
  const { manifests, author, prepareCommit, correct } = options;
  let epoch = 0;
  await prepareCommit();
  await manifests.commit(
    (m) => {
      epoch = Math.max(m.compactorEpoch, seen) + 1;
      const claimed = correct(claimEpochs(m, { compactor: epoch }));
      return withChoosableViews(claimed, author.random);
    },
    { asCompactor: { author, epoch: undefined } },
  );
  return epoch;
}
