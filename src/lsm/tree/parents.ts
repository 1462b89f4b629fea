/**
 * The parents of a clone: other databases of the same store, some of whose tables this one reads. A manifest names them by paths
 * from the root of the store, and only the caller that made the store knows that root: a URL names a directory or a bucket, and takes
 * the topmost one for the root.
 *
 * Invariants:
 * 1. A parent of which nothing is found is gone only where the root was stated (`--root`, or `{ store, path }`). Where a URL left
 *    it open, it is unknown: no damage, and an opening refuses rather than serve half of the rows.
 * 2. Where something of a parent is found, the root is right, and a table of it that is missing is missing.
 */

import { makeHint } from '../../common/advice.ts';
import { assertThat } from '../../common/assert.ts';
import { unknownFinding } from '../../common/damage.ts';
import { InvalidArgumentError } from '../../common/errors.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import type { Ulid } from '../../common/ulid.ts';
import { type Manifest, tablesOf } from '../../format/manifest-types.ts';
import { tablePath } from '../../format/object-names.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { type DatabaseStores, whereOf } from '../manifest/database-stores.ts';
import { ownersOf } from '../manifest/live-set.ts';

/** A parent of which nothing is found. */
export interface AbsentParent {
  /** From the root of the store. */
  path: string;
  /** How many of its tables the manifest names. */
  tables: number;
}

/** Where a table is stored: below this database, or below the parent that owns it (`ownersOf`). */
export function tablePlace(
  { main, whole }: Pick<DatabaseStores, 'main' | 'whole'>,
  owner: string | undefined,
  table: Ulid,
): { store: ObjectStore; path: string } {
  const path = tablePath(table);
  if (owner === undefined) return { store: main, path };
  return { store: whole, path: owner === '' ? path : `${owner}/${path}` };
}

/** Paths of the parents whose tables a manifest uses, with how many. */
function parentsOf(manifest: Manifest): Map<string, number> {
  const owner = ownersOf(manifest);
  const counts = new Map<string, number>();
  for (const id of new Set(tablesOf(manifest).map((table) => table.id))) {
    const path = owner.get(id);
    if (path !== undefined) counts.set(path, (counts.get(path) ?? 0) + 1);
  }
  return counts;
}

/** What to do about a table of a parent: a repair of the clone is refused, and one of the parent does not change this one. */
export function parentAdvice(whole: ObjectStore, parent: string): string {
  return `The table belongs to the database ${parent} in ${whole.name}, of which this one is a clone. Restore the object there from a backup or an older version of the bucket; a repair of that database writes a new table for itself, and this one goes on reading the old.`;
}

/** A finding about a table of a parent, with that advice and without commands that would be refused. */
export function ofParent(finding: Finding, whole: ObjectStore, parent: string): Finding {
  if (finding.severity === 'unknown') return finding;
  const summary = `${finding.hint.summary} ${parentAdvice(whole, parent)}`;
  return { ...finding, hint: { ...finding.hint, summary, commands: [], lossIfRepaired: 'unknown' } };
}

/**
 * Parents of which no object is stored below the root in use. `used`: their paths, with how many tables are named of each. One
 * LIST for each parent, read up to its first object.
 */
export async function absentParents(whole: ObjectStore, used: ReadonlyMap<string, number>): Promise<AbsentParent[]> {
  const parents = [...used];
  const isThere = await Promise.all(
    parents.map(async ([path]) => {
      for await (const _ of whole.list(path === '' ? '' : `${path}/`)) return true;
      return false;
    }),
  );
  assertThat(isThere.length === parents.length, 'there is an answer about each parent');
  return parents.flatMap(([path, tables], i) => (isThere[i] ? [] : [{ path, tables }]));
}

/** What a tool reports about such a parent. */
export function absentParentFinding(stores: DatabaseStores, parent: AbsentParent, during: Finding['during']): Finding {
  const object = { role: 'table' as const, path: `${parent.path}/`, id: '', sealed: false };
  if (stores.isRootAssumed) {
    // Only the operator knows the root, so there is no command that could be run as it is.
    return unknownFinding(outOfReach(stores, parent), { object, during, summary: WHERE_TO_LOOK });
  }
  return makeFinding({
    code: 'PARENT_MISSING',
    object,
    at: WHOLE_OBJECT,
    expected: `the database of which this one is a clone, with ${parent.tables} tables that are read from it`,
    found: `nothing at ${parent.path} in ${stores.whole.name}`,
    remedy: 'none',
    during,
    hint: makeHint(
      `Restore ${parent.path} from a backup or an older version of the bucket, or state another root if it was moved.`,
      'unknown',
    ),
  });
}

const WHERE_TO_LOOK =
  'Give the root of the store, the directory or prefix that holds both databases: --root on the command line, the option root of tools, { store, path } for open.';

/** Throws `PARENT_OUT_OF_REACH` for a clone whose location leaves open where its parent is. One LIST for each parent, if any. */
export async function assertParentsInReach(stores: DatabaseStores, manifest: Manifest): Promise<void> {
  if (manifest.externalDbs.length > 0) await assertInReach(stores, parentsOf(manifest));
}

/** The same for these parents. */
export async function assertInReach(stores: DatabaseStores, used: ReadonlyMap<string, number>): Promise<void> {
  if (!stores.isRootAssumed) return;
  const [absent] = await absentParents(stores.whole, used);
  if (absent !== undefined) throw outOfReach(stores, absent);
}

function outOfReach(stores: DatabaseStores, { path, tables }: AbsentParent): InvalidArgumentError {
  return new InvalidArgumentError(
    'PARENT_OUT_OF_REACH',
    `${whereOf(stores)}: this database is a clone and reads ${tables} ${tables === 1 ? 'table' : 'tables'} of the database ${path}, of which nothing is at that path in ${stores.whole.name}. If the root of the store is another directory or prefix, state it: { store, path } as location, --root on the command line. Nothing was changed.`,
    { details: { parent: path } },
  );
}
