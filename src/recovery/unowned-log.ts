/**
 * The log of manifests as a role writes it for which no open database does: without an epoch of its own, so that no writer is fenced by it.
 *
 * Invariant 1: the seal names the database as all others do: by the id of the newest seal, else of the identity. Where there is neither, as
 * in a database that only SlateDB wrote, the identity is written first, under the rule of openings: create if absent, and what is there
 * then counts. Not asserted: an opening refuses a database whose seals name another.
 */
import type { Clock } from '../common/clock.ts';
import { UnavailableError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import { makeUlid } from '../common/ulid.ts';
import { IDENTITY_PATH } from '../format/object-names.ts';
import { encodeIdentity } from '../format/sidecar.ts';
import { Author, CREATOR } from '../lsm/manifest/author.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { EpochGuard, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { ManifestLog } from '../lsm/manifest/manifest-log.ts';
import { type LoadedManifest, NO_WITNESS } from '../lsm/manifest/manifest-store.ts';
import { readStoredIdentity } from './place.ts';

export interface UnownedParts {
  stores: DatabaseStores;
  clock: Clock;
  random: Random;
  /** `host:pid`. */
  owner: string;
}

const MAX_IDENTITY_ROUNDS = 5;

/**
 * @param current the newest manifest
 * @param stamp from before it was listed
 *
 * No request where a seal says which database this is; else a GET of the identity, and a PUT if there is none.
 */
export async function logWithoutWriter(
  parts: UnownedParts,
  role: 'collector' | 'compactor',
  current: LoadedManifest,
  stamp: Stamp,
  onAdopt: (manifest: LoadedManifest) => void = () => undefined,
): Promise<ManifestLog> {
  const { stores, clock, random, owner } = parts;
  const databaseId = current.seal?.identity.databaseId ?? (await knownOrNewId(parts));
  const log: ManifestLog = new ManifestLog({
    store: stores.main,
    author: new Author({ clock, random, owner, databaseId, role }),
    guard: new EpochGuard(clock, stores.latestStoreTimesMs, stamp),
    role: 'none',
    epoch: 0,
    current,
    // Each commit reads it: a collector may have made it a moment ago.
    hasBoundary: true,
    witness: () => log.current.seal?.manifest?.walTail ?? NO_WITNESS,
    onAdopt,
  });
  return log;
}

async function knownOrNewId(parts: UnownedParts): Promise<Uint8Array> {
  const { stores, clock, random } = parts;
  for (let round = 0; round < MAX_IDENTITY_ROUNDS; round++) {
    const { identity, identityDamage } = await readStoredIdentity(stores.main, 'check');
    if (identityDamage !== undefined) throw identityDamage;
    if (identity !== undefined) return identity.value.databaseId;
    const databaseId = new Uint8Array(16);
    random.fill(databaseId);
    const separateWalStore = stores.hasWalStore;
    const bytes = encodeIdentity({ databaseId, createdAtMs: clock.nowMs(), creator: CREATOR, separateWalStore });
    const putId = makeUlid(clock.nowMs(), random);
    await stores.main.put(IDENTITY_PATH, bytes, { condition: 'if-absent', putId });
  }
  throw new UnavailableError('STORE_DOWN', `${whereOf(stores)}: ${IDENTITY_PATH} was written and is not there.`);
}
