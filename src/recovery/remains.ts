/**
 * What is left of a database whose manifests are gone: the one answer that openings and all tools go by.
 *
 * Invariants:
 * 1. Only names of the format count (`isDatabasePath`): a file of another program, in whatever directory, is no sign of a
 *    database and does not keep a new one from being created.
 * 2. Where something of a database is left and no manifest, it is damage for everybody: `open` refuses, and no tool says clean.
 */
import { type Finding, ManifestCorruptionError, makeFinding } from '../common/errors.ts';
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

/** Without manifests: the only check that still reads tables, all that are there. */
export const CROSS_CHECK = 'shaledb sst check LOCATION --level cross';

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
    at: { unit: 'object', offset: 0, length: 0 },
    expected: 'at least one manifest',
    found: 'none',
    remedy: 'none',
    during,
    hint: {
      summary: `Restore ${MANIFEST_PREFIX} from a backup or an older version of the bucket: nothing else says which tables are in use. Keep collectors and writers away until then.`,
      commands: [CROSS_CHECK],
      docs: 'docs/troubleshooting.md',
      lossIfRepaired: 'unknown',
    },
  });
  return new ManifestCorruptionError(
    `${where}: no manifest is left of this database, although other objects of it exist. Restore ${MANIFEST_PREFIX} from a backup or an older version of the bucket. A new database is not created over it. Nothing was changed.`,
    [finding],
  );
}
