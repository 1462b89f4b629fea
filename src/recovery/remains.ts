/**
 * What is left of a database whose manifests are gone: the one answer that openings and all tools go by.
 *
 * Invariants:
 * 1. Only names of the format count (`isDatabasePath`): a file of another program, in whatever directory, is no sign of a
 *    database and does not keep a new one from being created.
 * 2. Where something of a database is left and no manifest, it is damage for every caller: `open` refuses, and no tool says clean.
 *
 * Not asserted: both are about what others stored.
 */
import { CROSS_CHECK, makeHint } from '../common/advice.ts';
import { ManifestCorruptionError } from '../common/errors.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import {
  BOUNDARY_PREFIX,
  COMPACTIONS_PREFIX,
  isDatabasePath,
  MANIFEST_PREFIX,
  SIDECAR_PREFIX,
  TABLE_PREFIX,
  WAL_PREFIX,
} from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { manifestFindingObject } from '../lsm/manifest/manifest-store.ts';
import type { ObjectStore } from '../store/object-store.ts';

const MAIN_PREFIXES = [MANIFEST_PREFIX, TABLE_PREFIX, COMPACTIONS_PREFIX, BOUNDARY_PREFIX, SIDECAR_PREFIX] as const;

/** Whether an object of a database is stored here, of whatever kind. Six LISTs at once, each read up to its first such name. */
export async function hasRemains({ main, wal }: Pick<DatabaseStores, 'main' | 'wal'>): Promise<boolean> {
  const found = await Promise.all([hasAny(wal, WAL_PREFIX), ...MAIN_PREFIXES.map((prefix) => hasAny(main, prefix))]);
  return found.includes(true);
}

async function hasAny(store: ObjectStore, prefix: string): Promise<boolean> {
  for await (const { path } of store.list(prefix)) if (isDatabasePath(path)) return true;
  return false;
}

/** The error for a database of which no manifest is left. `where`: store and path, for the message. */
export function noManifestLeft(where: string, during: Finding['during']): ManifestCorruptionError {
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object: manifestFindingObject(1, { path: MANIFEST_PREFIX }),
    at: WHOLE_OBJECT,
    expected: 'at least one manifest',
    found: 'none',
    remedy: 'none',
    during,
    hint: makeHint(
      `Restore ${MANIFEST_PREFIX} from a backup or an older version of the bucket: nothing else says which tables are in use. Keep collectors and writers away until then.`,
      'unknown',
      [CROSS_CHECK],
    ),
  });
  return new ManifestCorruptionError(
    `${where}: no manifest is left of this database, although other objects of it exist. Restore ${MANIFEST_PREFIX} from a backup or an older version of the bucket. A new database is not created over it. Nothing was changed.`,
    [finding],
  );
}
