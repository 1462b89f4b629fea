/**
 * Where a database is: which manifest is the newest that counts, what is beside it, and the one loop of looking again while others
 * write. Openings, readers and tools all find a database here.
 *
 * Two round trips: (1) LIST of manifests and of compactions beside GETs of identity and boundary; (2) GETs of the newest manifest that
 * is listed and of the one after it, which a list that lags does not show, and further as long as there is a later one. A third one
 * where the newest manifest has no seal, as those of SlateDB: what it is compared with (manifest-evidence.ts).
 *
 * Invariants:
 * 1. Nothing is written here.
 * 2. A listed manifest that is gone was collected, so a newer one is there: then all is looked at again, a limited number of times.
 * 3. A manifest is called damaged only after it gave the same bytes three times, 100 ms and 1 s apart. What is done then is up to the
 *    caller: an opening heals it, refuses, or finds that it was overtaken; a tool refuses; a repair of manifests goes back to older ones.
 * 4. A place is empty only if every sign of a database is absent: one list that shows nothing proves nothing.
 */
import { stopIfAborted } from '../common/abort.ts';
import { assertThat } from '../common/assert.ts';
import { type Clock, sleep } from '../common/clock.ts';
import { damage, locate } from '../common/damage.ts';
import { type CorruptionError, IncompatibleError, InvalidArgumentError, isCorruption } from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { IDENTITY_PATH, MANIFEST_BOUNDARY_PATH, manifestPath } from '../format/object-names.ts';
import { type DatabaseIdentity, decodeIdentity } from '../format/sidecar.ts';
import { lookAboveBoundary, readBoundary, tooHighBoundary } from '../lsm/manifest/boundary-file.ts';
import { findNewestCompactions } from '../lsm/manifest/compactions-store.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import type { EpochGuard, Stamp } from '../lsm/manifest/epoch-guard.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestBoundaryLook,
  manifestFindingObject,
  readManifest,
} from '../lsm/manifest/manifest-store.ts';
import { ReadAttempts, readTwice } from '../lsm/table/verified-read.ts';
import { type GetResult, type ObjectStore, PUT_ID_METADATA } from '../store/object-store.ts';
import { REREADS_MS } from './log-damage.ts';
import { misplacedLog } from './log-place.ts';
import { type CrossCheck, crossCheckManifest } from './manifest-evidence.ts';
import { hasRemains, noManifestLeft } from './remains.ts';

export interface StoredIdentity {
  value: DatabaseIdentity;
  bytes: Uint8Array;
  /** The store gave the put id back: it keeps metadata. */
  keepsMetadata: boolean;
}

/** What is beside the manifests. */
export interface Surroundings {
  /** Before the first LIST was sent. */
  stamp: Stamp;
  /** Ascending. */
  manifestIds: number[];
  identity: StoredIdentity | undefined;
  /** Set if `shale/identity` is there but damaged; the seal of the newest manifest can take its place. */
  identityDamage: CorruptionError | undefined;
  /** The highest manifest id that a collector may have deleted. Where the file is damaged, 0: openings refuse that, checks report it. */
  boundary: { exists: boolean; value: number; damage?: CorruptionError };
  /** Undefined: there is none, or it cannot be said. */
  newestCompactionsId: number | undefined;
  /** Why it cannot be said, which does not concern who only reads. */
  compactionsUnknown?: IncompatibleError;
}

export interface Place extends Surroundings {
  newest: LoadedManifest;
  /** Bytes of the newest manifest as stored. */
  newestBytes: Uint8Array;
}

// ---- round trip 1

/** What is beside the manifests, and their ids. Two LISTs and two GETs; `beside` is sent in the same trip. */
export async function readSurroundings(
  main: ObjectStore,
  guard: EpochGuard,
  during: Finding['during'],
  beside: () => Promise<unknown> = () => Promise.resolve(),
): Promise<Surroundings> {
  const stamp = guard.stamp();
  const [manifestIds, identity, boundary, compactions] = await Promise.all([
    listManifestIds(main, undefined, stamp),
    readStoredIdentity(main, during),
    readBoundaryOrDamage(main),
    newestCompactionsOrUnknown(main),
    beside(),
  ]);
  return { stamp, manifestIds, ...identity, boundary, ...compactions };
}

async function newestCompactionsOrUnknown(
  main: ObjectStore,
): Promise<Pick<Surroundings, 'newestCompactionsId' | 'compactionsUnknown'>> {
  try {
    return { newestCompactionsId: await findNewestCompactions(main) };
  } catch (error) {
    if (!(error instanceof IncompatibleError)) throw error;
    return { newestCompactionsId: undefined, compactionsUnknown: error };
  }
}

/** For who writes: the forms of the database follow from the newest compactions file, and its compactor is fenced by it. */
export function assertCompactionsKnown({ compactionsUnknown }: Surroundings): void {
  if (compactionsUnknown !== undefined) throw compactionsUnknown;
}

/** The boundary of the manifests; where the file is damaged, 0 and the damage. One GET, two if it is damaged. */
export async function readBoundaryOrDamage(store: ObjectStore): Promise<Surroundings['boundary']> {
  try {
    return await readBoundary(store);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return { exists: true, value: 0, damage: error };
  }
}

/** The identity of the database, if it has one. One GET, and one more if it is damaged. */
export async function readStoredIdentity(
  store: ObjectStore,
  during: Finding['during'],
): Promise<Pick<Surroundings, 'identity' | 'identityDamage'>> {
  try {
    const identity = await readTwice(store, IDENTITY_PATH, (got) => ({
      value: decodeLocated(got, during),
      bytes: got.bytes,
      keepsMetadata: got.metadata[PUT_ID_METADATA] !== undefined,
    }));
    return { identity, identityDamage: undefined };
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return { identity: undefined, identityDamage: error };
  }
}

function decodeLocated({ bytes, size }: GetResult, during: Finding['during']): DatabaseIdentity {
  try {
    return decodeIdentity(bytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    const object = { role: 'sidecar' as const, path: IDENTITY_PATH, id: 'identity', sealed: false, size };
    throw locate(error, { object, during });
  }
}

/** The highest manifest id that is listed, at or above `from` if that is given; undefined: none. One LIST, which dates `stamp`. */
export async function findNewestId(store: ObjectStore, from?: number, stamp?: Stamp): Promise<number | undefined> {
  return (await listManifestIds(store, from, stamp)).at(-1);
}

/**
 * Whether a manifest above `id` is listed now. What is missing or damaged is concluded only from a manifest that was listed after it was
 * seen: a live writer and a collector may have moved on. One LIST.
 */
export async function isOvertaken(store: ObjectStore, id: number): Promise<boolean> {
  return (await findNewestId(store, id + 1)) !== undefined;
}

/** The listed ids with those that follow, which a list that lags does not show. None may be there: an opening asks for the next one, too. One HEAD, and one more for each. */
export async function withUnlisted(store: ObjectStore, listed: readonly number[]): Promise<number[]> {
  const ids = [...listed];
  if (ids.length === 0) return ids;
  for (let id = ids[ids.length - 1] + 1; (await store.head(manifestPath(id))) !== undefined; id++) ids.push(id);
  return ids;
}

// ---- one manifest

/** How a manifest is looked at. */
export interface LookOptions {
  clock: Clock;
  signal?: AbortSignal | undefined;
  during: Finding['during'];
}

export interface GoodManifest {
  bytes: Uint8Array;
  loaded: LoadedManifest;
  /** What one without a seal was compared with. */
  check: CrossCheck | undefined;
}

export interface BadManifest {
  id: number;
  bytes: Uint8Array;
  loaded: undefined;
  failure: CorruptionError | IncompatibleError;
  /** How it was looked at; throws `UnavailableError` if the store gave other bytes each time. */
  reads(): Finding['reads'];
}

/**
 * One manifest, verified, and compared with what it continues if it has no seal; looked at three times if something is wrong, and more
 * often while reads differ. Undefined: it is gone. `first`: the bytes, if they were read already.
 */
export async function lookAtManifest(
  stores: DatabaseStores,
  id: number,
  boundary: number,
  { clock, signal, during }: LookOptions,
  first?: Uint8Array,
): Promise<GoodManifest | BadManifest | undefined> {
  const { main } = stores;
  const read = async () => (await main.get(manifestPath(id)))?.bytes;
  const attempts = new ReadAttempts(REREADS_MS);
  for (let bytes = first ?? (await read()); bytes !== undefined; bytes = await read()) {
    try {
      const loaded = loadManifest(id, bytes);
      const check = loaded.seal === undefined ? await crossCheckManifest(stores, loaded, boundary) : undefined;
      if (check !== undefined && check.broken.length > 0) throw inconsistent(loaded, check.broken.join('; '), during);
      return { bytes, loaded, check };
    } catch (failure) {
      // One bit on the way can also make a version look unknown.
      if (!isCorruption(failure) && !(failure instanceof IncompatibleError)) throw failure;
      attempts.add(bytes);
      const waitMs = attempts.nextWaitMs;
      if (waitMs === undefined) {
        assertThat(attempts.count > REREADS_MS.length, 'a manifest is damaged after three reads (place 3)');
        return { id, bytes, loaded: undefined, failure, reads: () => attempts.reads(main.name, manifestPath(id)) };
      }
      await sleep(clock, waitMs, signal);
    }
  }
  return undefined;
}

/** The error for a manifest that decodes and contradicts what it continues, or what it names. */
export function inconsistent(
  { id, sizeBytes }: LoadedManifest,
  because: string,
  during: Finding['during'],
): CorruptionError {
  const object = manifestFindingObject(id, { size: sizeBytes });
  const error = damage('MANIFEST_INCONSISTENT', { unit: 'object', offset: 0, length: sizeBytes }, because);
  return locate(error, { object, during });
}

// ---- round trip 2

export interface Search extends LookOptions {
  /**
   * How the manifest after the last that is listed is asked for. `get`: in the same trip as that one, for who waits for the answer;
   * `head`: before it, so that no bytes come which are not used.
   */
  nextBy: 'get' | 'head';
  /** Sent in the first trip, each time. */
  beside?: () => Promise<unknown>;
  /** Called with each newest manifest that is good. */
  onGood?: (good: GoodManifest) => void;
  /** What is used instead of a newest manifest that stays bad; undefined: nothing, look again. May throw. */
  onBad(bad: BadManifest, around: Surroundings): Promise<LoadedManifest | undefined>;
  /** Whether a newest manifest at or below the collector's boundary is refused, and a boundary that cannot be read. */
  refusesBelowBoundary: boolean;
  /** Lists again where a listed manifest is gone. */
  lookAgain(around: Surroundings): Promise<Surroundings>;
  /** How often all is looked at, and the error after that. */
  rounds: number;
  tooManyOthers(): Error;
}

/**
 * The newest manifest that counts. Two GETs, and where it has no seal those of `crossCheckManifest`; again for each time that others
 * were faster. Rejects with `ManifestCorruptionError` if none is left.
 */
export async function findNewest(stores: DatabaseStores, around: Surroundings, search: Search): Promise<Place> {
  let now = around;
  for (let round = 0; round < search.rounds; round++) {
    if (now.manifestIds.length === 0) throw noManifestLeft(whereOf(stores), search.during);
    const found = await readNewest(stores, now, search);
    if (search.refusesBelowBoundary && now.boundary.damage !== undefined) throw now.boundary.damage;
    if (found === undefined) now = await search.lookAgain(now);
    else if (search.refusesBelowBoundary && now.boundary.exists && found.newest.id <= now.boundary.value) {
      const again = await newerThanBoundary(stores.main, search.clock);
      if (again === undefined) throw belowBoundary(found.newest.id, now.boundary, search.during);
      now = { ...now, ...again };
    } else return { ...now, ...found };
  }
  throw search.tooManyOthers();
}

/** The same surroundings with the manifests that are listed now. One LIST. */
export async function relist(main: ObjectStore, around: Surroundings): Promise<Surroundings> {
  return { ...around, manifestIds: await listManifestIds(main) };
}

/** Undefined: it is gone, or a newer one is there. */
async function readNewest(
  stores: DatabaseStores,
  around: Surroundings,
  search: Search,
): Promise<Pick<Place, 'newest' | 'newestBytes'> | undefined> {
  const listed = around.manifestIds[around.manifestIds.length - 1];
  const [{ id, bytes }] = await Promise.all([
    search.nextBy === 'get' ? getLast(stores.main, listed) : headLast(stores.main, listed),
    search.beside?.(),
  ]);
  if (search.nextBy === 'get' && bytes === undefined) return undefined;
  const look = await lookAtManifest(stores, id, around.boundary.value, search, bytes);
  if (look === undefined) return undefined;
  if (look.loaded !== undefined) search.onGood?.(look);
  const newest = look.loaded ?? (await search.onBad(look, around));
  if (newest === undefined) return undefined;
  assertThat(newest.id >= listed, 'the newest manifest is not before one that is listed (place 2)');
  return { newest, newestBytes: look.bytes };
}

interface LastManifest {
  id: number;
  bytes: Uint8Array | undefined;
}

/** The last manifest that is there, from `listed` on, with its bytes; none if `listed` itself is gone and no later one is there. */
async function getLast(store: ObjectStore, listed: number): Promise<LastManifest> {
  const get = async (id: number) => ({ id, bytes: (await store.get(manifestPath(id)))?.bytes });
  let [last, next] = await Promise.all([get(listed), get(listed + 1)]);
  for (; next.bytes !== undefined; next = await get(last.id + 1)) last = next;
  return last;
}

/** The same without bytes. */
async function headLast(store: ObjectStore, listed: number): Promise<LastManifest> {
  const ids = await withUnlisted(store, [listed]);
  return { id: ids[ids.length - 1], bytes: undefined };
}

/**
 * The newest manifest is at or below the boundary: what a further read shows that says otherwise, or that the boundary cannot be read;
 * undefined if all agree.
 */
async function newerThanBoundary(
  main: ObjectStore,
  clock: Clock,
): Promise<(Partial<Pick<Surroundings, 'manifestIds'>> & Pick<Surroundings, 'boundary'>) | undefined> {
  try {
    const found = await lookAboveBoundary(manifestBoundaryLook(main, clock));
    return found && { manifestIds: [...found.ids], boundary: found.boundary };
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return { boundary: { exists: true, value: 0, damage: error } };
  }
}

/**
 * The damage, if the newest manifest, of this id, is at or below the boundary also when both are looked at again. No request, or three
 * LISTs and GETs. `boundary`: as it was read; one GET more if absent.
 */
export async function findBelowBoundary(
  main: ObjectStore,
  id: number,
  clock: Clock,
  boundary?: Surroundings['boundary'],
): Promise<CorruptionError | undefined> {
  const first = boundary ?? (await readBoundaryOrDamage(main));
  if (first.damage !== undefined) return first.damage;
  if (!first.exists || id > first.value) return undefined;
  const again = await newerThanBoundary(main, clock);
  return again === undefined ? belowBoundary(id, first, 'check') : again.boundary.damage;
}

/** A stalled process made a collected id again, newer manifests are gone, or the boundary is damaged. */
function belowBoundary(id: number, { value }: Surroundings['boundary'], during: Finding['during']): CorruptionError {
  return tooHighBoundary(MANIFEST_BOUNDARY_PATH, value, id, during);
}

// ---- the newest that is good, for what goes on where the newest of all is not

/** Manifests that are tried, from the newest back. */
const NEWEST_MANIFESTS_TRIED = 10;

export interface GoodNewest {
  /** The newest one that is good; undefined if none of the newest is. */
  newest: LoadedManifest | undefined;
  isNoneLeft: boolean;
  /** The highest id that is there, whether good or not. */
  listedId: number | undefined;
  /** Why an opening refuses them: the newest of all is damaged, or none is left. */
  error: CorruptionError | undefined;
}

/** The newest manifest that decodes. One LIST, and one GET, or two, for each manifest down to it. Rejects where one of them has a newer form. */
export async function findNewestGood(
  stores: DatabaseStores,
  during: Finding['during'],
  signal?: AbortSignal,
): Promise<GoodNewest> {
  const ids = await listManifestIds(stores.main);
  const isNoneLeft = ids.length === 0;
  const listedId = ids.at(-1);
  let error: CorruptionError | undefined = isNoneLeft ? noManifestLeft(whereOf(stores), during) : undefined;
  for (const id of ids.slice(-NEWEST_MANIFESTS_TRIED).reverse()) {
    stopIfAborted(signal);
    try {
      const newest = await readManifest(stores.main, id);
      if (newest !== undefined) return { newest, isNoneLeft, listedId, error };
    } catch (wrong) {
      // Of a newer form: what it records about the log is unknown, and an older one would say something else.
      if (!isCorruption(wrong)) throw wrong;
      error ??= wrong;
    }
  }
  return { newest: undefined, isNoneLeft, listedId, error };
}

// ---- what holds for every use

/**
 * True if nothing at this place is part of a database; false if one has just been created: look around again. Rejects if
 * there are signs of a database and, listed after they were seen, still no manifest.
 */
export async function isEmptyPlace(
  stores: Pick<DatabaseStores, 'main' | 'wal' | 'path'>,
  around: Surroundings,
): Promise<boolean> {
  // What was read does not depend on lists, which may lag.
  const { identity, identityDamage, boundary, newestCompactionsId, compactionsUnknown } = around;
  const isSeen =
    [identity, identityDamage, newestCompactionsId, compactionsUnknown].some((seen) => seen !== undefined) ||
    boundary.exists;
  assertThat(around.manifestIds.length === 0, 'a place with manifests is not asked whether it is empty (place 4)');
  if (!isSeen && !(await hasRemains(stores))) return true;
  if ((await listManifestIds(stores.main)).length > 0) return false;
  throw noManifestLeft(whereOf(stores), 'open');
}

/** What holds for readers, writers and tools alike before a manifest may be used. `where`: the database, for messages. */
export function assertUsable(
  stores: Pick<DatabaseStores, 'hasWalStore'>,
  where: string,
  { newest, identity }: Pick<Place, 'newest' | 'identity'>,
): void {
  if (!newest.manifest.initialized) {
    throw new InvalidArgumentError(
      'NOT_A_DATABASE',
      `${where}: manifest ${newest.id} says that this database is still being set up (a clone that was not finished). Finish or delete it first.`,
    );
  }
  const misplaced = misplacedLog(stores, where, newest, identity?.value);
  if (misplaced !== undefined) throw misplaced;
}
