/**
 * Names of objects below the root of a database, and how to read them back.
 *
 * Ids are padded to 20 digits exactly: SlateDB lists a name, parses the id and builds the padded name to read it, so a name
 * of another form would be listed but never found. Everything that does not have exactly the right form is foreign and is
 * not an id here.
 */
import { IncompatibleError, type ObjectRole } from '../common/errors.ts';
import { isUlid, type Ulid } from '../common/ulid.ts';

export const MANIFEST_PREFIX = 'manifest/';
export const WAL_PREFIX = 'wal/';
export const TABLE_PREFIX = 'compacted/';
export const COMPACTIONS_PREFIX = 'compactions/';
export const BOUNDARY_PREFIX = 'gc/';
export const SIDECAR_PREFIX = 'shale/';
export const MANIFEST_BOUNDARY_PATH = 'gc/manifest.boundary';
export const IDENTITY_PATH = 'shale/identity';
/** What a probe of the store found: plain JSON, asked for again where it does not fit. */
export const STORE_PROFILE_PATH = 'shale/store-profile';

const ID_DIGITS = 20;
const MAX_U64_TEXT = '18446744073709551615';
const ID_PATTERN = /^[0-9]{20}$/;

/** An id as 20 digits. */
export function idText(id: number): string {
  return String(id).padStart(ID_DIGITS, '0');
}

export function manifestPath(id: number): string {
  return `${MANIFEST_PREFIX}${idText(id)}.manifest`;
}

export function walPath(id: number): string {
  return `${WAL_PREFIX}${idText(id)}.sst`;
}

export function tablePath(id: Ulid): string {
  return `${TABLE_PREFIX}${id}.sst`;
}

export function compactionsPath(id: number): string {
  return `${COMPACTIONS_PREFIX}${idText(id)}.compactions`;
}

/**
 * The id that 20 digits spell; `undefined` for any other text. Throws `FORMAT_TOO_NEW` for an id above 2^53 - 1: ignoring it
 * could hide the newest object.
 */
export function parseIdText(text: string): number | undefined {
  if (!ID_PATTERN.test(text) || text > MAX_U64_TEXT) return undefined;
  const id = Number(text);
  if (!Number.isSafeInteger(id)) {
    throw new IncompatibleError('FORMAT_TOO_NEW', `The object id ${text} is above 2^53 - 1`, { details: { id: text } });
  }
  return id;
}

function parseId(path: string, prefix: string, suffix: string): number | undefined {
  if (!path.startsWith(prefix) || !path.endsWith(suffix)) return undefined;
  return parseIdText(path.slice(prefix.length, path.length - suffix.length));
}

/** The id in a path below the root, `undefined` if the path is not exactly a manifest's. */
export function parseManifestPath(path: string): number | undefined {
  return parseId(path, MANIFEST_PREFIX, '.manifest');
}

/** The id in a path below the root, `undefined` if the path is not exactly a WAL object's. */
export function parseWalPath(path: string): number | undefined {
  return parseId(path, WAL_PREFIX, '.sst');
}

/** The id in a path below the root, `undefined` if the path is not exactly a compactions file's. */
export function parseCompactionsPath(path: string): number | undefined {
  return parseId(path, COMPACTIONS_PREFIX, '.compactions');
}

/** The id in a path below the root, `undefined` if the path is not exactly a table's. Lower-case ULIDs are foreign. */
export function parseTablePath(path: string): Ulid | undefined {
  if (!path.startsWith(TABLE_PREFIX) || !path.endsWith('.sst')) return undefined;
  const text = path.slice(TABLE_PREFIX.length, -'.sst'.length);
  return isUlid(text) ? text : undefined;
}

const ROLES: readonly [prefix: string, role: ObjectRole][] = [
  [MANIFEST_PREFIX, 'manifest'],
  [WAL_PREFIX, 'wal'],
  [TABLE_PREFIX, 'table'],
  [COMPACTIONS_PREFIX, 'compactions'],
  [BOUNDARY_PREFIX, 'boundary'],
  [SIDECAR_PREFIX, 'sidecar'],
];

/** What kind of object a path (or list prefix) below the root belongs to, by its directory. */
export function roleOfPath(path: string): ObjectRole | 'other' {
  for (const [prefix, role] of ROLES) if (path.startsWith(prefix)) return role;
  return 'other';
}

const BOUNDARY = /^gc\/(manifest|compactions)\.boundary$/;
/**
 * The sidecars that only a database has. Not among them: `shale/store-profile` and `shale/probe/`, which an opening writes before
 * it creates a database.
 */
const SIDECAR =
  /^shale\/(identity|damage\/[0-9]{20}|repairs\/r-[0-9a-f]{24}\/(plan|report)-[1-9][0-9]{0,8}|quarantine\/r-[0-9a-f]{24}\/.+)$/;

/** Whether a path is that of a collector's boundary file. */
export function isBoundaryPath(path: string): boolean {
  return BOUNDARY.test(path);
}

/** Whether a path is exactly one that a database gives to its objects. Everything else was put there by somebody else. */
export function isDatabasePath(path: string): boolean {
  return (
    parseManifestPath(path) !== undefined ||
    parseWalPath(path) !== undefined ||
    parseTablePath(path) !== undefined ||
    parseCompactionsPath(path) !== undefined ||
    isBoundaryPath(path) ||
    SIDECAR.test(path)
  );
}
