/**
 * Whether the log of a database is in the store in which it is looked for.
 *
 * The identity says whether it is in a store of its own, and without one the newest manifest if it is of version 1; of others
 * nothing shows it.
 *
 * 1. A log that is in another store is not missing. What needs it refuses; what only inspects says that it does not know. Not asserted:
 *    where it is comes from outside.
 */
import { InvalidArgumentError } from '../common/errors.ts';
import type { DatabaseIdentity } from '../format/sidecar.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';

/** The error for a location whose store of the log is not that of the database; undefined if it is, or if nothing shows it. */
export function misplacedLog(
  stores: Pick<DatabaseStores, 'hasWalStore'>,
  where: string,
  { manifest }: LoadedManifest,
  identity: DatabaseIdentity | undefined,
): InvalidArgumentError | undefined {
  const hasUri = manifest.headerVersion === 1 ? manifest.walStoreUri !== undefined : undefined;
  const expected = identity?.separateWalStore ?? hasUri;
  if (expected === undefined || expected === stores.hasWalStore) return undefined;
  return new InvalidArgumentError(
    'BAD_ARGUMENT',
    expected
      ? `${where}: this database keeps its WAL in another store; pass it as walStore of the location. Without it, rows would be missing.`
      : `${where}: this database keeps its WAL beside its tables, but the location has a walStore; leave it out.`,
    { details: { walStore: expected } },
  );
}
