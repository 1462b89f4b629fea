/**
 * What an opening adds to the search for the newest manifest (place.ts): it reports what is doubtful about a good one, and heals a
 * damaged one in memory or refuses it with all that a repair has to know.
 *
 * Nothing is written here. Of a damaged manifest with the one that would take its place, the log is read, too: then the
 * error is about all that is wrong.
 */
import { mapLimit } from '../common/async.ts';
import {
  type CorruptionError,
  type FallbackSummary,
  type Finding,
  isCorruption,
  isDbError,
  ManifestCorruptionError,
  makeFinding,
  UnavailableError,
} from '../common/errors.ts';
import { tellFinding } from '../common/events.ts';
import { SILENT_LOGGER } from '../common/logger.ts';
import { compactionsPath, manifestPath } from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import {
  type LoadedManifest,
  loadManifest,
  manifestFindingObject,
  mendManifest,
} from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { advised, REREADS_MS, readLogObject } from './log-damage.ts';
import { extentOf, listLog } from './log-range.ts';
import { newerTrackerFindings } from './manifest-cross-check.ts';
import {
  type BadManifest,
  findNewest,
  type GoodManifest,
  isOvertaken,
  type Place,
  relist,
  type Surroundings,
} from './place.ts';
import { findVanishedLog } from './vanished-log.ts';
import { type LogOptions, VerifiedLog } from './verified-log.ts';

/** Listed manifests that are gone, so often in a row, are no accident. */
const MAX_ROUNDS = 100;

export interface Discovery extends Place {
  /** Header version of the newest compactions file; undefined without one. */
  compactionsVersion: number | undefined;
}

/**
 * The newest manifest, for an opening. `beside` runs in the same trip.
 * @throws ManifestCorruptionError if it is damaged and cannot be healed
 */
export async function discover(
  stores: DatabaseStores,
  around: Surroundings,
  options: LogOptions,
  beside: () => Promise<void> = () => Promise.resolve(),
): Promise<Discovery> {
  const { main } = stores;
  const compactionsId = around.newestCompactionsId;
  let compactionsVersion: number | undefined;
  const place = await findNewest(stores, around, {
    clock: options.clock,
    during: 'open',
    nextBy: 'get',
    beside: () =>
      Promise.all([
        compactionsId === undefined
          ? undefined
          : readCompactionsVersion(main, compactionsId).then((version) => {
              compactionsVersion = version;
            }),
        beside(),
      ]),
    onGood: (good) => reportDoubts(good, options),
    onBad: (bad, now) => healOrRefuse(stores, now, bad, options),
    refusesBelowBoundary: true,
    lookAgain: (now) => relist(stores, now),
    rounds: MAX_ROUNDS,
    tooManyOthers: () =>
      new UnavailableError('DEADLINE', `${main.name}: the manifests changed faster than they could be read.`),
  });
  return { ...place, compactionsVersion };
}

async function readCompactionsVersion(store: ObjectStore, id: number): Promise<number | undefined> {
  const got = await store.get(compactionsPath(id), { range: { offset: 0, length: 2 } });
  return got === undefined || got.bytes.length < 2 ? undefined : got.bytes[0] * 256 + got.bytes[1];
}

/** The newest manifest as it was, if it may be healed; undefined if a newer one exists by now. */
async function healOrRefuse(
  stores: DatabaseStores,
  around: Surroundings,
  { id, bytes, failure, reads }: BadManifest,
  options: LogOptions,
): Promise<LoadedManifest | undefined> {
  if (await isOvertaken(stores.main, id)) return undefined;
  reads();
  const healed = options.healOnOpen ? healedManifest(id, bytes, failure, options) : undefined;
  if (healed !== undefined) return healed;
  throw isCorruption(failure) ? await withFallback(stores, around, id, failure, options) : failure;
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

/** What is doubtful about a manifest that is good all the same. */
function reportDoubts({ loaded, check }: GoodManifest, options: LogOptions): void {
  const { id, sizeBytes } = loaded;
  if (check !== undefined) {
    for (const unknown of newerTrackerFindings(loaded, 'open')) {
      tellFinding(options, 'the newest manifest has a sequence tracker of a newer form', unknown);
    }
  }
  if (check !== undefined && check.doubts.length > 0) {
    const finding = makeFinding({
      code: 'MANIFEST_INCONSISTENT',
      severity: check.isDoubtNew ? 'warning' : 'note',
      object: manifestFindingObject(id, { size: sizeBytes }),
      at: { unit: 'object', offset: 0, length: sizeBytes },
      found: check.doubts.join('; '),
      during: 'open',
    });
    tellFinding(options, 'a bit of the newest manifest may have changed', finding);
  }
  warnOfAmbiguousViews(loaded, options);
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
  around: Surroundings,
  badId: number,
  failure: CorruptionError,
  options: LogOptions,
): Promise<ManifestCorruptionError> {
  const reads = { attempts: REREADS_MS.length + 1, identical: true, pastCaches: true };
  const findings = failure.findings.map((f) => ({ ...f, origin: 'at-rest' as const, reads }));
  const older = around.manifestIds.filter((id) => id < badId).slice(-MANIFESTS_LOOKED_AT);
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
