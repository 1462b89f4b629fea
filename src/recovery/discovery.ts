/**
 * The first steps of every opening: what lies at this place, and which manifest is current. Nothing is written here.
 *
 * Two round trips: (1) LIST of manifests and of compactions beside GETs of identity, boundary and store
 * profile; (2) GETs of the newest manifest and of the one after it (a list may lag), beside what the caller wants to ask in
 * the same trip. A third one where the newest manifest is SlateDB's, which has no seal: GETs of the manifest before it and of
 * the last WAL object that it says is in tables.
 *
 * A place is empty only if every sign of a database is absent: one list that shows nothing proves nothing.
 */
import { mapLimit } from '../common/async.ts';
import { sleep } from '../common/clock.ts';
import {
  CorruptionError,
  damage,
  type FallbackSummary,
  type Finding,
  IncompatibleError,
  InvalidArgumentError,
  isCorruption,
  isDbError,
  locate,
  ManifestCorruptionError,
  makeFinding,
} from '../common/errors.ts';
import { tellFinding } from '../common/events.ts';
import { SILENT_LOGGER } from '../common/logger.ts';
import {
  COMPACTIONS_PREFIX,
  compactionsPath,
  IDENTITY_PATH,
  manifestPath,
  parseCompactionsPath,
} from '../format/object-names.ts';
import { type DatabaseIdentity, decodeIdentity } from '../format/sidecar.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import type { EpochGuard, Stamp } from '../lsm/manifest/epoch-guard.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestFindingObject,
  mendManifest,
  readBoundary,
} from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import { Looks, readTwice } from '../lsm/table/verified-read.ts';
import { type GetResult, type ObjectStore, PUT_ID_METADATA } from '../store/object-store.ts';
import { advised, readLogObject } from './log-damage.ts';
import { misplacedLog } from './log-place.ts';
import { extentOf, listLog } from './log-range.ts';
import { newerTrackerFindings } from './manifest-cross-check.ts';
import { crossCheckManifest } from './manifest-evidence.ts';
import { hasRemains, noManifestLeft } from './remains.ts';
import { findVanishedLog } from './vanished-log.ts';
import { type LogOptions, VerifiedLog } from './verified-log.ts';

export const STORE_PROFILE_PATH = 'shale/store-profile';
/** Waits before a damaged object is looked at the second and third time, ms. */
export const OPEN_REREADS_MS: readonly number[] = [100, 1000];
const BOUNDARY_RETRIES = 3;

export interface StoredIdentity {
  value: DatabaseIdentity;
  bytes: Uint8Array;
  /** The store gave the put id back: it keeps metadata. */
  keepsMetadata: boolean;
}

export interface Place {
  /** Before the first LIST was sent. */
  stamp: Stamp;
  manifestIds: number[];
  identity: StoredIdentity | undefined;
  /** Set if `shale/identity` is there but damaged; the seal of the newest manifest can take its place. */
  identityDamage: CorruptionError | undefined;
  boundary: { exists: boolean; value: number };
  newestCompactionsId: number | undefined;
  storeProfile: GetResult | undefined;
}

export interface Discovery extends Place {
  newest: LoadedManifest;
  /** Bytes of the newest manifest as stored. */
  newestBytes: Uint8Array;
  /** Header version of the newest compactions file; undefined without one. */
  compactionsVersion: number | undefined;
}

/** Round trip 1. */
export async function lookAround(stores: DatabaseStores, guard: EpochGuard, wantsProfile: boolean): Promise<Place> {
  const { main } = stores;
  const stamp = guard.stamp();
  const [manifestIds, identityOrDamage, boundary, compactions, storeProfile] = await Promise.all([
    listManifestIds(main, undefined, stamp),
    readIdentity(main).catch(orDamage),
    readBoundary(main),
    newestCompactions(main),
    wantsProfile ? main.get(STORE_PROFILE_PATH) : undefined,
  ]);
  const isDamaged = identityOrDamage instanceof CorruptionError;
  return {
    stamp,
    manifestIds,
    identity: isDamaged ? undefined : identityOrDamage,
    identityDamage: isDamaged ? identityOrDamage : undefined,
    boundary,
    newestCompactionsId: compactions,
    storeProfile,
  };
}

function readIdentity(store: ObjectStore): Promise<StoredIdentity | undefined> {
  return readTwice(store, IDENTITY_PATH, (got) => ({
    value: decodeLocated(got),
    bytes: got.bytes,
    keepsMetadata: got.metadata[PUT_ID_METADATA] !== undefined,
  }));
}

function orDamage(error: unknown): CorruptionError {
  if (isCorruption(error)) return error;
  throw error;
}

function decodeLocated({ bytes, size }: GetResult): DatabaseIdentity {
  try {
    return decodeIdentity(bytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    const object = { role: 'sidecar' as const, path: IDENTITY_PATH, id: 'identity', sealed: false, size };
    throw locate(error, { object, during: 'open' });
  }
}

async function newestCompactions(store: ObjectStore): Promise<number | undefined> {
  let newest: number | undefined;
  for await (const { path } of store.list(COMPACTIONS_PREFIX)) {
    const id = parseCompactionsPath(path);
    if (id !== undefined && (newest === undefined || id > newest)) newest = id;
  }
  return newest;
}

/** Round trip 2: the current manifest, verified. `beside` runs in the same trip. */
export async function findNewest(
  stores: DatabaseStores,
  place: Place,
  options: LogOptions,
  beside: () => Promise<void>,
): Promise<Discovery> {
  const { main } = stores;
  const listed = place.manifestIds[place.manifestIds.length - 1];
  const [bytes, after, compactionsVersion] = await Promise.all([
    main.get(manifestPath(listed)),
    main.get(manifestPath(listed + 1)),
    place.newestCompactionsId === undefined ? undefined : compactionsHeader(main, place.newestCompactionsId),
    beside(),
  ]);
  let id = listed;
  let current = bytes;
  for (let next = after; next !== undefined; next = await main.get(manifestPath(id + 1))) {
    id++;
    current = next;
  }
  if (current === undefined) return restart(stores, place, options, beside);
  const loaded = await loadWithRereads(stores, place, id, current.bytes, options);
  if (loaded === undefined) return restart(stores, place, options, beside);
  if (place.boundary.exists && id <= place.boundary.value) return boundaryAbove(stores, place, options, beside, id);
  return { ...place, ...loaded, compactionsVersion };
}

async function compactionsHeader(store: ObjectStore, id: number): Promise<number | undefined> {
  const got = await store.get(compactionsPath(id), { range: { offset: 0, length: 2 } });
  return got === undefined || got.bytes.length < 2 ? undefined : got.bytes[0] * 256 + got.bytes[1];
}

/** A listed manifest is gone: a collector was faster. List again. */
async function restart(
  stores: DatabaseStores,
  place: Place,
  options: LogOptions,
  beside: () => Promise<void>,
): Promise<Discovery> {
  const manifestIds = await listManifestIds(stores.main);
  if (manifestIds.length === 0) throw noManifestLeft(whereOf(stores), 'open');
  return findNewest(stores, { ...place, manifestIds }, options, beside);
}

/** The newest manifest lies at or below the boundary: a stalled process re-created a collected id, or the boundary is damaged. */
async function boundaryAbove(
  stores: DatabaseStores,
  place: Place,
  options: LogOptions,
  beside: () => Promise<void>,
  id: number,
): Promise<Discovery> {
  for (let i = 0; i < BOUNDARY_RETRIES; i++) {
    await sleep(options.clock, OPEN_REREADS_MS[0]);
    const manifestIds = await listManifestIds(stores.main);
    const boundary = await readBoundary(stores.main);
    const newest = manifestIds[manifestIds.length - 1];
    if (newest !== undefined && newest > boundary.value) {
      return findNewest(stores, { ...place, manifestIds, boundary }, options, beside);
    }
  }
  const finding = makeFinding({
    code: 'MANIFEST_INCONSISTENT',
    object: { role: 'boundary', path: 'gc/manifest.boundary', id: 'manifest.boundary', sealed: false },
    at: { unit: 'object', offset: 0, length: 0 },
    expected: `below ${id}, the newest manifest`,
    found: String(place.boundary.value),
  });
  throw new ManifestCorruptionError(
    `The collector's boundary file says that manifest ${place.boundary.value} and all below it are deleted, but the newest manifest is ${id}.`,
    [finding],
  );
}

/** The manifest, looked at three times, and more often while looks differ; undefined if a newer one exists by then. */
async function loadWithRereads(
  stores: DatabaseStores,
  place: Place,
  id: number,
  bytes: Uint8Array,
  options: LogOptions,
): Promise<Pick<Discovery, 'newest' | 'newestBytes'> | undefined> {
  const looks = new Looks(OPEN_REREADS_MS);
  let failure: unknown;
  let last = bytes;
  for (;;) {
    try {
      const newest = loadManifest(id, last);
      if (newest.seal === undefined) await crossCheck(stores, place, newest, options);
      warnOfAmbiguousViews(newest, options);
      return { newest, newestBytes: last };
    } catch (error) {
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      failure = error;
    }
    looks.add(last);
    const waitMs = looks.nextWaitMs;
    if (waitMs === undefined) break;
    await sleep(options.clock, waitMs);
    const got = await stores.main.get(manifestPath(id));
    if (got === undefined) return undefined;
    last = got.bytes;
  }
  const ids = await listManifestIds(stores.main);
  if (ids.length > 0 && ids[ids.length - 1] > id) return undefined;
  looks.reads(stores.main.name, manifestPath(id));
  const healed = options.healOnOpen ? healedManifest(id, last, failure, options) : undefined;
  if (healed !== undefined) return { newest: healed, newestBytes: last };
  throw isCorruption(failure) ? await withFallback(stores, place, id, failure, options) : failure;
}

/**
 * The manifest as it was written, if the checks of its seal prove it (option `healOnOpen`); nothing is guessed: a seal that is
 * damaged itself proves nothing. In memory: the object stays as it is, and the next manifest names what it was.
 */
function healedManifest(
  id: number,
  bytes: Uint8Array,
  failure: unknown,
  options: LogOptions,
): LoadedManifest | undefined {
  const mended = mendManifest(id, bytes);
  if (mended?.trust !== 'proven') return undefined;
  const object = manifestFindingObject(id, { size: bytes.length, sealed: true });
  const findings = isCorruption(failure) ? failure.findings : [];
  for (const f of findings) {
    const finding = {
      ...f,
      object,
      severity: 'warning' as const,
      remedy: 'heals' as const,
      origin: 'at-rest' as const,
    };
    tellFinding(options, 'the newest manifest is healed in memory (option healOnOpen)', finding);
  }
  return mended.loaded;
}

/** Compares a manifest without a seal with what it continues. */
async function crossCheck(
  stores: DatabaseStores,
  place: Place,
  newest: LoadedManifest,
  options: LogOptions,
): Promise<void> {
  const { id, sizeBytes } = newest;
  const { broken, doubts, isDoubtNew } = await crossCheckManifest(stores, newest, place.boundary.value);
  if (broken.length > 0) {
    const at = { unit: 'object' as const, offset: 0, length: sizeBytes };
    const object = manifestFindingObject(id, { size: sizeBytes });
    throw locate(damage('MANIFEST_INCONSISTENT', at, broken.join('; ')), { object, during: 'open' });
  }
  for (const unknown of newerTrackerFindings(newest, 'open')) {
    tellFinding(options, 'the newest manifest has a sequence tracker of a newer form', unknown);
  }
  if (doubts.length === 0) return;
  const finding = makeFinding({
    code: 'MANIFEST_INCONSISTENT',
    severity: isDoubtNew ? 'warning' : 'note',
    object: manifestFindingObject(id, { size: sizeBytes }),
    at: { unit: 'object', offset: 0, length: sizeBytes },
    found: doubts.join('; '),
    during: 'open',
  });
  tellFinding(options, 'a bit of the newest manifest may have changed', finding);
}

/** Nothing is lost yet, so nothing is refused; but the next compaction by SlateDB would lose rows. */
function warnOfAmbiguousViews(newest: LoadedManifest, { logger, onEvent }: LogOptions): void {
  for (const finding of ambiguousViewFindings(newest, 'open')) {
    logger.warn('views of level 0 share an id', {
      path: finding.object.path,
      because: finding.found,
      remedy: finding.hint.commands[0],
    });
    onEvent({ type: 'finding', finding });
  }
}

/** Names the newest manifest that is good and what going on from it would mean. */
async function withFallback(
  stores: DatabaseStores,
  place: Place,
  badId: number,
  failure: CorruptionError,
  options: LogOptions,
): Promise<ManifestCorruptionError> {
  const reads = { attempts: OPEN_REREADS_MS.length + 1, identical: true, pastCaches: true };
  const findings = failure.findings.map((f) => ({ ...f, origin: 'at-rest' as const, reads }));
  const older = place.manifestIds.filter((id) => id < badId).slice(-MANIFESTS_LOOKED_AT);
  for (const id of older.reverse()) {
    const got = await stores.main.get(manifestPath(id));
    if (got === undefined) continue;
    try {
      const good = loadManifest(id, got.bytes);
      const fallback = await fallbackFrom(stores, good);
      const log = await logDamage(stores, good, badId, options);
      return new ManifestCorruptionError(
        `The newest manifest is damaged: ${failure.message}. Manifest ${id} is intact.${logText(log)} Nothing was changed.`,
        [...findings, ...log],
        { newestGoodId: BigInt(id), fallback, details: { ...failure.details } },
      );
    } catch (error) {
      if (!isCorruption(error)) throw error;
    }
  }
  const log = await logDamage(stores, undefined, badId, options);
  return new ManifestCorruptionError(
    `The newest manifest is damaged and no older one is intact: ${failure.message}.${logText(log)} Nothing was changed.`,
    [...findings, ...log],
    { details: { ...failure.details } },
  );
}

const MANIFESTS_LOOKED_AT = 10;

function logText(findings: readonly Finding[]): string {
  if (findings.length === 0) return '';
  const count = `${findings.length} finding${findings.length === 1 ? '' : 's'}`;
  return ` The log is damaged, too: ${count}, first ${findings[0].code} in ${findings[0].object.path}.`;
}

/**
 * What is wrong with the log besides the manifest: of the part after the replay point of `good`, else of every object for
 * itself. An object that is gone before the first one that is there may have been collected, and what the log knows of the
 * manifests that cannot be read is no damage of it. None if the store does not let us look: the manifest alone refuses the opening.
 */
async function logDamage(
  stores: DatabaseStores,
  good: LoadedManifest | undefined,
  badId: number,
  options: LogOptions,
): Promise<readonly Finding[]> {
  const quiet = { ...options, healOnOpen: false, logger: SILENT_LOGGER, onEvent: () => undefined };
  try {
    const ids = [...(await listLog(stores.wal, good?.manifest.replayAfterWalId)).keys()];
    const first = ids.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
    const all =
      good === undefined ? await damageOfEach(stores, ids, options) : await damageAfter(stores, good, badId, quiet);
    return all.filter(
      (f) =>
        f.object.role === 'wal' &&
        f.severity === 'error' &&
        !(f.code === 'MISSING_OBJECT' && Number(f.object.id) < first),
    );
  } catch (error) {
    if (!isDbError(error) || isCorruption(error)) throw error;
    options.logger.warn('the log could not be looked at besides the damaged manifest', { error: error.message });
    return [];
  }
}

async function damageAfter(
  stores: DatabaseStores,
  good: LoadedManifest,
  badId: number,
  options: LogOptions,
): Promise<readonly Finding[]> {
  const { manifest } = good;
  // Each manifest that cannot be read may have claimed an epoch, whose fence is then in the log.
  const base = { ...good, manifest: { ...manifest, writerEpoch: manifest.writerEpoch + badId - good.id } };
  const log = new VerifiedLog(stores, options);
  await log.load(base);
  const verdict = log.verdict(base);
  return isCorruption(verdict) ? verdict.findings : [];
}

/** Newest objects that are looked at where no manifest says which are needed. */
const MOST_ALONE = 1000;
const PARALLEL_GETS = 16;

async function damageOfEach(
  { wal }: DatabaseStores,
  ids: readonly number[],
  { clock }: LogOptions,
): Promise<readonly Finding[]> {
  const newest = [...ids].sort((a, b) => a - b).slice(-MOST_ALONE);
  const read = await mapLimit(newest, PARALLEL_GETS, (id) => readLogObject(wal, clock, id));
  return read.flatMap(({ result, salvaged }) => (result?.findings ?? []).map((f) => advised(f, salvaged)));
}

async function fallbackFrom(stores: DatabaseStores, good: LoadedManifest): Promise<FallbackSummary> {
  const { id, manifest } = good;
  const listed = await listLog(stores.wal, manifest.replayAfterWalId);
  const { after, lastListed } = extentOf(good, listed);
  const isGone = listed.size === 0 && (await findVanishedLog(stores, good, 'open')) !== undefined;
  return {
    manifestId: BigInt(id),
    strategy: 'previous',
    walFrom: BigInt(after + 1),
    walTo: BigInt(lastListed),
    walComplete: listed.size === lastListed - after && lastListed >= manifest.walIdLastSeen && !isGone,
    orphanTables: 0,
  };
}

/**
 * True if nothing at this place is part of a database; false if somebody has just created one: look around again. Rejects if
 * there are signs of a database and, listed after they were seen, still no manifest.
 */
export async function isNothingThere(stores: DatabaseStores, place: Place): Promise<boolean> {
  // What was read does not depend on lists, which may lag.
  const { identity, identityDamage, boundary, newestCompactionsId } = place;
  const isSeen = [identity, identityDamage, newestCompactionsId].some((seen) => seen !== undefined) || boundary.exists;
  if (!isSeen && !(await hasRemains(stores))) return true;
  if ((await listManifestIds(stores.main)).length > 0) return false;
  throw noManifestLeft(whereOf(stores), 'open');
}

/** What holds for readers and writers alike before a manifest may be used. */
export function assertUsable(stores: DatabaseStores, found: Discovery): void {
  const { manifest } = found.newest;
  if (!manifest.initialized) {
    throw new InvalidArgumentError(
      'NOT_A_DATABASE',
      `${stores.main.name}: manifest ${found.newest.id} says that this database is still being set up (a clone that was not finished). Finish or delete it first.`,
    );
  }
  const misplaced = misplacedLog(stores, stores.main.name, found.newest, found.identity?.value);
  if (misplaced !== undefined) throw misplaced;
}
