/**
 * What an opening adds to the search for the newest manifest (place.ts): it reports what is doubtful about a good one, and heals a
 * damaged one in memory or refuses it with all that a repair has to know.
 *
 * 1. Nothing is written here, and nothing is guessed: a manifest that is healed is the one that its seal proves, under its own id.
 * 2. The manifest that would take the place of a damaged one is an older one. The log after it is read, too: then the error is about
 *    all that is wrong.
 */

import { assertThat } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import {
  type CorruptionError,
  type FallbackSummary,
  isCorruption,
  isDbError,
  ManifestCorruptionError,
  UnavailableError,
} from '../common/errors.ts';
import { type FindingSink, reportFinding } from '../common/events.ts';
import { type Finding, makeFinding } from '../common/finding.ts';
import { SILENT_LOGGER } from '../common/logger.ts';
import { asSentence } from '../common/sentence.ts';
import { compactionsPath, manifestPath } from '../format/object-names.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import {
  type LoadedManifest,
  loadManifest,
  manifestFindingObject,
  repairManifestBytes,
} from '../lsm/manifest/manifest-store.ts';
import { ambiguousViewFindings } from '../lsm/manifest/view-ids.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { REREADS_MS, readLogObject, withLogAdvice } from './log-damage.ts';
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
import { type LogMeans, type LogStores, VerifiedLog } from './verified-log.ts';

/** Compactions header that SlateDB writes since 0.13: 0.14 and later may be at work. */
export const NEWER_COMPACTIONS = 2;

/** Listed manifests that are gone, so often in a row, are no accident. */
const MAX_SEARCH_ROUNDS = 100;

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
  means: LogMeans,
  beside: () => Promise<void> = () => Promise.resolve(),
): Promise<Discovery> {
  const { main } = stores;
  const compactionsId = around.newestCompactionsId;
  let compactionsVersion: number | undefined;
  const place = await findNewest(stores, around, {
    clock: means.parts.clock,
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
    onGood: (good) => reportDoubts(good, means.parts),
    onBad: (bad, now) => healOrRefuse(stores, now, bad, means),
    refusesBelowBoundary: true,
    lookAgain: (now) => relist(main, now),
    rounds: MAX_SEARCH_ROUNDS,
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
  means: LogMeans,
): Promise<LoadedManifest | undefined> {
  if (await isOvertaken(stores.main, id)) return undefined;
  reads();
  const healed = means.settings.healOnOpen ? healedManifest(id, bytes, failure, means.parts) : undefined;
  if (healed !== undefined) return healed;
  throw isCorruption(failure) ? await withFallback(stores, around, id, failure, means) : failure;
}

/**
 * The manifest as it was written, if the checks of its seal prove it (option `healOnOpen`); nothing is guessed: a seal that is
 * damaged itself proves nothing. In memory: the object stays as it is, and the next manifest names what it was.
 */
function healedManifest(
  id: number,
  bytes: Uint8Array,
  failure: unknown,
  sink: FindingSink,
): LoadedManifest | undefined {
  const repaired = repairManifestBytes(id, bytes);
  if (repaired?.trust !== 'proven') return undefined;
  assertThat(repaired.loaded.id === id, 'a manifest is healed under its own id (discovery 1)');
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
    reportFinding(sink, 'the newest manifest is healed in memory (option healOnOpen)', finding);
  }
  return repaired.loaded;
}

/** What is doubtful about a manifest that is good nevertheless. */
function reportDoubts({ loaded, check }: GoodManifest, sink: FindingSink): void {
  const { id, sizeBytes } = loaded;
  if (check !== undefined) {
    for (const unknown of newerTrackerFindings(loaded, 'open')) {
      reportFinding(sink, 'the newest manifest has a sequence tracker of a newer form', unknown);
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
    reportFinding(sink, 'a bit of the newest manifest may have changed', finding);
  }
  warnOfAmbiguousViews(loaded, sink);
}

/** Nothing is lost yet, so nothing is refused; but the next compaction by SlateDB would lose rows. */
function warnOfAmbiguousViews(newest: LoadedManifest, { logger, onEvent }: FindingSink): void {
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
  means: LogMeans,
): Promise<ManifestCorruptionError> {
  const reads = { attempts: REREADS_MS.length + 1, identical: true, pastCaches: true };
  const findings = failure.findings.map((f) => ({ ...f, origin: 'at-rest' as const, reads }));
  const older = around.manifestIds.filter((id) => id < badId).slice(-FALLBACKS_TRIED);
  for (const id of older.reverse()) {
    const got = await stores.main.get(manifestPath(id));
    if (got === undefined) continue;
    try {
      const good = loadManifest(id, got.bytes);
      const fallback = await fallbackFrom(stores, good);
      const log = await logDamage(stores, good, badId, means);
      return new ManifestCorruptionError(
        `The newest manifest is damaged: ${asSentence(failure.message)} Manifest ${id} is intact.${logText(log)} Nothing was changed.`,
        [...findings, ...log],
        { newestGoodId: BigInt(id), fallback, details: { ...failure.details } },
      );
    } catch (error) {
      if (!isCorruption(error)) throw error;
    }
  }
  const log = await logDamage(stores, undefined, badId, means);
  return new ManifestCorruptionError(
    `The newest manifest is damaged and no older one is intact: ${failure.message}.${logText(log)} Nothing was changed.`,
    [...findings, ...log],
    { details: { ...failure.details } },
  );
}

const FALLBACKS_TRIED = 10;

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
  stores: LogStores,
  good: LoadedManifest | undefined,
  badId: number,
  { settings, parts: { clock, logger } }: LogMeans,
): Promise<readonly Finding[]> {
  const quiet: LogMeans = {
    settings: { ...settings, healOnOpen: false },
    parts: { clock, logger: SILENT_LOGGER, onEvent: () => undefined },
  };
  try {
    const ids = [...(await listLog(stores.wal, good?.manifest.replayAfterWalId)).keys()];
    const first = ids.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
    const all =
      good === undefined ? await damageOfEach(stores.wal, ids, clock) : await damageAfter(stores, good, badId, quiet);
    return all.filter(
      (f) =>
        f.object.role === 'wal' &&
        f.severity === 'error' &&
        !(f.code === 'MISSING_OBJECT' && Number(f.object.id) < first),
    );
  } catch (error) {
    if (!isDbError(error) || isCorruption(error)) throw error;
    logger.warn('the log could not be looked at besides the damaged manifest', { error: error.message });
    return [];
  }
}

async function damageAfter(
  stores: LogStores,
  good: LoadedManifest,
  badId: number,
  means: LogMeans,
): Promise<readonly Finding[]> {
  const { manifest } = good;
  // Each manifest that cannot be read may have claimed an epoch, whose fence is then in the log.
  const base = { ...good, manifest: { ...manifest, writerEpoch: manifest.writerEpoch + badId - good.id } };
  const log = new VerifiedLog(stores, means);
  await log.load(base);
  const verdict = log.verdict(base);
  return isCorruption(verdict) ? verdict.findings : [];
}

/** Newest objects that are looked at where no manifest says which are needed. */
const MOST_ALONE = 1000;
const PARALLEL_GETS = 16;

async function damageOfEach(wal: ObjectStore, ids: readonly number[], clock: Clock): Promise<readonly Finding[]> {
  const newest = [...ids].sort((a, b) => a - b).slice(-MOST_ALONE);
  const read = await mapLimit(newest, PARALLEL_GETS, (id) => readLogObject(wal, clock, id));
  return read.flatMap(({ result, salvaged }) => (result?.findings ?? []).map((f) => withLogAdvice(f, salvaged)));
}

async function fallbackFrom(stores: LogStores, good: LoadedManifest): Promise<FallbackSummary> {
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
