/**
 * Every object below a location, with its role and its size. Writes nothing, reads no object.
 *
 * Invariants:
 * 1. Every object has one role, and the sums of the roles are those of the objects.
 */
import { assertThat } from '../common/assert.ts';
import { checkedOptions } from '../common/option-checks.ts';
import {
  isBoundaryPath,
  isDatabasePath,
  parseQuarantinePath,
  roleOfPath,
  STORE_PROFILE_PATH,
  WAL_PREFIX,
} from '../format/object-names.ts';
import type { ListedObject, ObjectStore } from '../store/object-store.ts';
import { assertRemains } from './database-state.ts';
import { type Target, TOOL_CHECKS, type ToolOptions, type ToolTarget, withTarget } from './target.ts';

/**
 * What an object is for: `boundary` of a collector, `copy` in quarantine, `sidecar` every other small object under `shale/`; `foreign`
 * has a name that a database does not give.
 */
export type StoredRole = 'manifest' | 'wal' | 'table' | 'compactions' | 'boundary' | 'copy' | 'sidecar' | 'foreign';

const ROLES: readonly StoredRole[] = [
  'manifest',
  'wal',
  'table',
  'compactions',
  'boundary',
  'copy',
  'sidecar',
  'foreign',
];

/** An object as it is stored. */
export interface StoredObject {
  /** Below the root of the database. */
  path: string;
  /** What it is for, by its name. */
  role: StoredRole;
  /** Its size. */
  bytes: number;
  /** When it was stored, by the store's clock, ms since the epoch; absent where the store does not say it. */
  storedAtMs?: number;
}

/** The objects of one role. */
export interface RoleTally {
  /** Which role. */
  role: StoredRole;
  /** How many there are. */
  objects: number;
  /** Their sizes together. */
  bytes: number;
}

/** What is stored below a location. */
export interface ObjectListReport {
  schemaVersion: 1;
  /** In the order of their paths; the log of another store last. */
  objects: StoredObject[];
  /** The roles of which there are objects. */
  roles: RoleTally[];
  /** All of them. */
  total: {
    /** How many there are. */
    objects: number;
    /** Their sizes together. */
    bytes: number;
  };
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}

/**
 * Lists every object below a location, also of databases that do not open. Rejects with `InvalidArgumentError` (`BAD_OPTION`,
 * `NOT_A_DATABASE` where nothing of a database is), `UnavailableError`, `AbortError`. One LIST for each 1,000 objects.
 */
export async function objectList(target: Target, options: ToolOptions = {}): Promise<ObjectListReport> {
  const checked = checkedOptions('objectList', options, TOOL_CHECKS);
  return withTarget(target, checked, listObjects);
}

async function listObjects(target: ToolTarget): Promise<ObjectListReport> {
  const { main, wal, hasWalStore } = target.stores;
  const objects = (await listed(main, '')).map(stored);
  if (hasWalStore) objects.push(...(await listed(wal, WAL_PREFIX)).map(stored));
  if (!objects.some(({ role }) => role !== 'foreign')) await assertRemains(target);
  const roles = ROLES.flatMap((role) => tallyOf(objects, role));
  const total = { objects: objects.length, bytes: objects.reduce((sum, { bytes }) => sum + bytes, 0) };
  assertThat(
    roles.reduce((sum, { bytes }) => sum + bytes, 0) === total.bytes,
    'every object has one role (object-list 1)',
  );
  return { schemaVersion: 1, objects, roles, total, requests: target.requests(), tookMs: target.tookMs() };
}

async function listed(store: ObjectStore, prefix: string): Promise<ListedObject[]> {
  const objects: ListedObject[] = [];
  for await (const object of store.list(prefix)) objects.push(object);
  return objects;
}

function stored({ path, size, lastModifiedMs }: ListedObject): StoredObject {
  return { path, role: roleOf(path), bytes: size, ...(lastModifiedMs > 0 && { storedAtMs: lastModifiedMs }) };
}

function roleOf(path: string): StoredRole {
  if (isBoundaryPath(path)) return 'boundary';
  if (parseQuarantinePath(path) !== undefined) return 'copy';
  if (!isDatabasePath(path) && path !== STORE_PROFILE_PATH) return 'foreign';
  const role = roleOfPath(path);
  return role === 'manifest' || role === 'wal' || role === 'table' || role === 'compactions' ? role : 'sidecar';
}

function tallyOf(objects: readonly StoredObject[], role: StoredRole): RoleTally[] {
  const those = objects.filter((object) => object.role === role);
  if (those.length === 0) return [];
  return [{ role, objects: those.length, bytes: those.reduce((sum, { bytes }) => sum + bytes, 0) }];
}
