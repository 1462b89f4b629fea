/**
 * Targets for checks that pass over objects whose number is above 2^53 - 1, and report them.
 *
 * Such a name has the form of the newest manifest, object of the log or compactions file, so all that opens or changes a database refuses it
 * (object-names.ts). A check can say more: all that holds without the object, and one finding of severity `unknown` for it. Unknown, not an
 * error: no known program numbers so far, so most likely another program or a user put it there, and nothing of the database is damaged;
 * but if it is of a newer program, or its name is damaged, then it is the newest of its kind, and what is reported may be out of date.
 *
 * Invariant 1: only checks use such a target; what writes must not be blind to the newest object.
 */
import { unknownFinding } from '../common/damage.ts';
import type { IncompatibleError } from '../common/errors.ts';
import type { Finding, ObjectRole } from '../common/finding.ts';
import { COMPACTIONS_PREFIX, MANIFEST_PREFIX, outsizedName, WAL_PREFIX } from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { uploadsOf } from '../store/upload-calls.ts';

/** What was passed over, by path. */
export type PassedOver = Map<string, IncompatibleError>;

const ROLES: readonly [prefix: string, role: ObjectRole][] = [
  [MANIFEST_PREFIX, 'manifest'],
  [WAL_PREFIX, 'wal'],
  [COMPACTIONS_PREFIX, 'compactions'],
];

function roleOf(path: string): ObjectRole | undefined {
  return ROLES.find(([prefix]) => path.startsWith(prefix))?.[1];
}

/** The same stores, whose lists of numbered objects leave out such names and add them to `passed`. */
export function withoutOutsized(stores: DatabaseStores, passed: PassedOver): DatabaseStores {
  const main = listingLess(stores.main, passed);
  const wal = stores.wal === stores.main ? main : listingLess(stores.wal, passed);
  const countedAs = (name: string) => withoutOutsized(stores.countedAs(name), passed);
  return { ...stores, main, wal, countedAs };
}

function listingLess(store: ObjectStore, passed: PassedOver): ObjectStore {
  const { upload, listUploads, abortUpload } = uploadsOf(store);
  return {
    name: store.name,
    ...(store.conformance !== undefined && { conformance: store.conformance }),
    get: (path, options) => store.get(path, options),
    head: (path, options) => store.head(path, options),
    put: (path, bytes, options) => store.put(path, bytes, options),
    async *list(prefix, options) {
      const isNumbered = roleOf(prefix) !== undefined;
      for await (const object of store.list(prefix, options)) {
        const outsized = isNumbered ? outsizedName(object.path) : undefined;
        if (outsized === undefined) yield object;
        else passed.set(object.path, outsized);
      }
    },
    delete: (paths, options) => store.delete(paths, options),
    ...(upload && { upload }),
    ...(listUploads && { listUploads }),
    ...(abortUpload && { abortUpload }),
  };
}

/** What to report about them. */
export function outsizedFindings(passed: PassedOver): Finding[] {
  return [...passed].map(([path, error]) => {
    const object = { role: roleOf(path) ?? 'manifest', path, id: String(error.details['id']), sealed: false };
    return unknownFinding(error, { object, during: 'check' });
  });
}
