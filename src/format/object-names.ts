/**
 * Names of objects below the root of a database, and how to read them back.
 *
 * ```
 * manifest/<20 digits>.manifest              id from 1, the next one is created only if it is absent
 * wal/<20 digits>.sst                        id from 1
 * compacted/<ULID>.sst                       tables of level 0 and of sorted runs alike; 26 upper-case characters
 * compactions/<20 digits>.compactions
 * gc/manifest.boundary, gc/compactions.boundary
 * shale/identity, shale/store-profile, shale/damage/..., shale/repairs/..., shale/quarantine/...        ours
 * ```
 *
 * ```example
 * "manifest/00000000000000000042.manifest"                  manifest=42
 * ```
 *
 * ```example
 * "wal/00000000000000000007.sst"                            wal=7
 * ```
 *
 * ```example
 * "compacted/01M7Q5CQG10000000000000001.sst"                table=01M7Q5CQG10000000000000001
 * ```
 *
 * ```example
 * "compactions/00000000000000000003.compactions"            compactions=3
 * ```
 *
 * Ids are padded to 20 digits exactly: SlateDB lists a name, parses the id and builds the padded name to read it, so a name
 * of another form would be listed but never found. Everything that does not have exactly the right form is foreign and is
 * not an id here. A temporary name in `wal/` would stop SlateDB up to 0.13, which takes what is before the first dot for an id.
 *
 * Invariant 1: no other file of the source spells such a name (a law test searches for them), so whatever lists a database and deletes
 * or copies what it finds knows all names from here.
 */
import { makeHint } from '../common/advice.ts';
import { IncompatibleError } from '../common/errors.ts';
import type { ObjectRole } from '../common/finding.ts';
import { isUlid, type Ulid } from '../common/ulid.ts';

export const MANIFEST_PREFIX = 'manifest/';
export const WAL_PREFIX = 'wal/';
export const TABLE_PREFIX = 'compacted/';
export const COMPACTIONS_PREFIX = 'compactions/';
export const BOUNDARY_PREFIX = 'gc/';
export const SIDECAR_PREFIX = 'shale/';
export const MANIFEST_BOUNDARY_PATH = `${BOUNDARY_PREFIX}manifest.boundary`;
export const COMPACTIONS_BOUNDARY_PATH = `${BOUNDARY_PREFIX}compactions.boundary`;
export const IDENTITY_PATH = `${SIDECAR_PREFIX}identity`;
/** What a probe of the store found: plain JSON, asked for again where it does not fit. */
export const STORE_PROFILE_PATH = `${SIDECAR_PREFIX}store-profile`;
/** What a probe of the store writes, and deletes again. */
export const PROBE_PREFIX = `${SIDECAR_PREFIX}probe/`;
/** The versions of the ledger of losses. */
export const LEDGER_PREFIX = `${SIDECAR_PREFIX}damage/`;
/** Plans and reports of repairs. */
export const REPAIRS_PREFIX = `${SIDECAR_PREFIX}repairs/`;
/** Copies of what was damaged. */
export const QUARANTINE_PREFIX = `${SIDECAR_PREFIX}quarantine/`;

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

/** A version of the ledger of losses. */
export function ledgerPath(version: number): string {
  return `${LEDGER_PREFIX}${idText(version)}`;
}

/** What attempt `number` of a repair, from 1, writes before it changes anything (`plan`), or when it is done (`report`). */
export function repairFilePath(repairId: string, kind: RepairFileName['kind'], number: number): string {
  return `${REPAIRS_PREFIX}${repairId}/${kind}-${number}`;
}

/** Where a repair keeps its copy of the object at `path`. */
export function quarantinePath(repairId: string, path: string): string {
  return `${QUARANTINE_PREFIX}${repairId}/${path}`;
}

/** For plans: the `number`th table, from 1, of those that get their ids when they are written. */
export function plannedTablePath(number: number): string {
  return `${TABLE_PREFIX}<new table ${number}>.sst`;
}

/**
 * The id that 20 digits spell, as they are in the name `path`; `undefined` for any other text. Throws `FORMAT_TOO_NEW` for an id above
 * 2^53 - 1: ignoring it could hide the newest object. Not an error about damage: SlateDB's ids have 64 bits, so the name is possible.
 */
export function parseIdText(text: string, path = text): number | undefined {
  if (!ID_PATTERN.test(text) || text > MAX_U64_TEXT) return undefined;
  const id = Number(text);
  if (!Number.isSafeInteger(id)) {
    const summary = `The number of ${path} is above 2^53 - 1, which no known program reaches: it is not an object of this database, or its name is damaged. Keep a copy elsewhere and move it away from here; while it is there, it counts as the newest of its kind.`;
    const details = { id: text, path };
    throw new IncompatibleError('FORMAT_TOO_NEW', summary, { details, hint: makeHint(summary, 'unknown') });
  }
  return id;
}

/** `undefined` for any other directory or ending: `wal/...9.sst.tmp` is not WAL object 9 here. */
function parseId(path: string, prefix: string, suffix: string): number | undefined {
  if (!path.startsWith(prefix) || !path.endsWith(suffix)) return undefined;
  return parseIdText(path.slice(prefix.length, path.length - suffix.length), path);
}

/** The error for the name of a manifest, an object of the log or a compactions file whose id is above 2^53 - 1; undefined for all others. */
export function outsizedName(path: string): IncompatibleError | undefined {
  try {
    parseManifestPath(path);
    parseWalPath(path);
    parseCompactionsPath(path);
    return undefined;
  } catch (error) {
    if (error instanceof IncompatibleError) return error;
    throw error;
  }
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

/** The ULID in a table's name or path, wherever it is; or the name alone. `undefined` if there is none. */
export function tableIdOfName(name: string): Ulid | undefined {
  const text = name.replace(/^.*\//, '').replace(/\.sst$/, '');
  return isUlid(text) ? text : undefined;
}

/** The version in a path below the root, `undefined` if the path is not exactly that of a version of the ledger. */
export function parseLedgerPath(path: string): number | undefined {
  return parseId(path, LEDGER_PREFIX, '');
}

export interface RepairFileName {
  repairId: string;
  kind: 'plan' | 'report';
  number: number;
}

const REPAIR_ID_DIGITS = 'r-[0-9a-f]{24}';
const REPAIR_ID = new RegExp(`^${REPAIR_ID_DIGITS}$`);
const REPAIR_FILE = new RegExp(`^${REPAIRS_PREFIX}(${REPAIR_ID_DIGITS})/(plan|report)-([1-9][0-9]{0,8})$`);
const COPY = new RegExp(`^${QUARANTINE_PREFIX}(${REPAIR_ID_DIGITS})/(.+)$`);
const LEDGER = new RegExp(`^${LEDGER_PREFIX}[0-9]{${ID_DIGITS}}$`);

export function isRepairId(text: string): boolean {
  return REPAIR_ID.test(text);
}

/** What a path below the root says, `undefined` if it is not exactly that of a plan or a report. */
export function parseRepairFilePath(path: string): RepairFileName | undefined {
  const [, repairId, kind, number] = REPAIR_FILE.exec(path) ?? [];
  if (repairId === undefined) return undefined;
  return { repairId, kind: kind as RepairFileName['kind'], number: Number(number) };
}

/** The repair that keeps this copy, and the path of the original; `undefined` if the path is not exactly that of a copy. */
export function parseQuarantinePath(path: string): { repairId: string; original: string } | undefined {
  const [, repairId, original] = COPY.exec(path) ?? [];
  return repairId === undefined ? undefined : { repairId, original };
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

/** Whether a path is that of a collector's boundary file. */
export function isBoundaryPath(path: string): boolean {
  return path === MANIFEST_BOUNDARY_PATH || path === COMPACTIONS_BOUNDARY_PATH;
}

/**
 * Whether a path is that of a sidecar that only a database has. Not among them: the profile of the store and what its probe writes,
 * which an opening makes before it creates a database.
 */
function isSidecarPath(path: string): boolean {
  return path === IDENTITY_PATH || LEDGER.test(path) || REPAIR_FILE.test(path) || COPY.test(path);
}

/** Whether a path is exactly one that a database gives to its objects. Everything else was put there by another program. */
export function isDatabasePath(path: string): boolean {
  return (
    outsizedName(path) !== undefined ||
    parseManifestPath(path) !== undefined ||
    parseWalPath(path) !== undefined ||
    parseTablePath(path) !== undefined ||
    parseCompactionsPath(path) !== undefined ||
    isBoundaryPath(path) ||
    isSidecarPath(path)
  );
}
