/**
 * Deletes what a round has found: boundary files first, then, class by class, what an observation still shows as collectable that is
 * made right before.
 *
 * Why again: between list and deletion a checkpoint may have been made, a repair begun, or this process suspended for hours. A checkpoint
 * names the newest manifest or one that another pins, and a plan is written before anything is done by it, so an observation that
 * follows the decision shows both.
 *
 * Invariants:
 * 1. Nothing is deleted that the last observation, at most `OBSERVATION_MS` old by every clock, does not show as collectable.
 * 2. That observation is of the same database: its newest manifest never goes back and keeps its bytes. Where a database was deleted
 *    and made again, other objects have the names that were listed.
 * 3. No manifest and no compactions file above its boundary is deleted, unless there is to be none (`boundaryFiles: 'off'`).
 */
import { assertThat, present } from '../common/assert.ts';
import { equalBytes } from '../common/bytes.ts';
import type { Clock } from '../common/clock.ts';
import { UnavailableError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import {
  COMPACTIONS_BOUNDARY_PATH,
  MANIFEST_BOUNDARY_PATH,
  manifestPath,
  parseCompactionsPath,
  parseManifestPath,
  parseWalPath,
  roleOfPath,
} from '../format/object-names.ts';
import { tooHighBoundary } from '../lsm/manifest/boundary-file.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { type EpochGuard, FENCE_VALIDITY_MS } from '../lsm/manifest/epoch-guard.ts';
import { readLedger } from '../lsm/tree/damage-ledger.ts';
import type { ListedObject, UnfinishedUpload } from '../store/object-store.ts';
import { type IfMatchForm, raiseBoundary } from './boundary-raise.ts';
import { type GcCandidates, type Knowledge, rulesOf } from './candidates.ts';
import { assertMayGo, decide, decideUpload, type GcDecision, type GcRules } from './collectable.ts';
import { type Observation, type Observer, RoundStop } from './observation.ts';
import { addTo, type RoundResult } from './round-result.ts';

/** How long an observation is good for: as long as a writer goes on without a confirmation that it is still the owner. */
const OBSERVATION_MS = FENCE_VALIDITY_MS;
/** One request on S3. */
const BATCH_OBJECTS = 1000;
/** A store on which a few small reads take longer than the time for which they count is too slow to delete by. */
const MAX_OBSERVATIONS = 3;

export interface DeletionOptions {
  stores: DatabaseStores;
  clock: Clock;
  random: Random;
  guard: EpochGuard;
  observer: Observer;
  /** What the candidates were decided by. */
  seen: Observation;
  known: Knowledge;
  candidates: GcCandidates;
  ifMatchForm: IfMatchForm | undefined;
  result: RoundResult;
  /** The boundary of the manifests was raised. */
  onBoundary(): void;
  onDeleted(decision: GcDecision): void;
}

/**
 * Per boundary file that rises two GETs and a PUT, where others were faster an observation; then an observation, and one more for each minute; a DELETE for each 1,000 objects. Rejects
 * with `RoundStop`, `UnavailableError`; what was deleted until then is in `result`.
 */
export async function deleteCandidates(options: DeletionOptions): Promise<void> {
  const { stores, candidates } = options;
  const deletion = new Deletion(options);
  await deletion.raise(MANIFEST_BOUNDARY_PATH);
  await deletion.raise(COMPACTIONS_BOUNDARY_PATH);
  // What a manifest names that is still there is still there, too.
  await deletion.delete(stores.main, candidates.numbered);
  await deletion.delete(stores.main, candidates.tables);
  await deletion.delete(stores.wal, candidates.log);
  await deletion.delete(stores.main, candidates.copies);
  await deletion.abort(candidates.uploads);
}

class Deletion {
  readonly #options: DeletionOptions;
  /** Up to which ids each kind of numbered file may be deleted. */
  readonly #raisedTo = new Map<string, number>();
  #again: Observation | undefined;

  constructor(options: DeletionOptions) {
    this.#options = options;
  }

  // ---- boundaries

  async raise(path: string): Promise<void> {
    const { stores, clock, random, observer, seen, known, candidates, ifMatchForm, result, onBoundary } = this.#options;
    const ids = candidates.numbered.flatMap((object) => numberedId(object.path, path) ?? []);
    if (ids.length === 0) return;
    const to = ids.reduce((a, b) => Math.max(a, b));
    this.#raisedTo.set(path, to);
    if (known.settings.boundaryFiles === 'off') return;
    const isManifests = path === MANIFEST_BOUNDARY_PATH;
    const newestId = isManifests ? seen.newest.id : present(seen.compactions, 'one of several is the newest').id;
    const form = present(ifMatchForm, 'without If-Match no numbered file goes');
    const value = await raiseBoundary({
      store: stores.main,
      clock,
      random,
      path,
      to,
      newestId,
      newestNow: async () => {
        const now = await observer.observe();
        return isManifests ? now.newest.id : (now.compactions?.id ?? newestId);
      },
      form,
      tooHigh: (stored, id) => tooHighBoundary(path, stored, id),
    });
    result.boundaries[isManifests ? 'manifest' : 'compactions'] = value;
    if (isManifests) onBoundary();
  }

  // ---- deleting

  async delete(store: DatabaseStores['main'], objects: readonly ListedObject[]): Promise<void> {
    const { known, result, onDeleted } = this.#options;
    for (let at = 0; at < objects.length; at += BATCH_OBJECTS) {
      const rules = await this.#rulesNow(objects[at].path);
      const going = objects
        .slice(at, at + BATCH_OBJECTS)
        .map((object) => decide(object, rules))
        .filter(({ stays }) => stays === undefined);
      for (const { path } of going) this.#assertMayGo(path, rules);
      if (going.length === 0) continue;
      await store.delete(going.map(({ path }) => path));
      for (const decision of going) {
        known.logKinds.delete(parseWalPath(decision.path) ?? 0);
        addTo(result.deleted, decision);
        onDeleted(decision);
      }
    }
  }

  /** One request each. One that was completed in the meantime is an object now, which is left alone. */
  async abort(uploads: readonly UnfinishedUpload[]): Promise<void> {
    const { stores, known, result, onDeleted } = this.#options;
    for (const upload of uploads) {
      await stores.main.abortUpload?.(upload);
      const decision = decideUpload(upload, known.settings);
      addTo(result.deleted, decision);
      onDeleted(decision);
    }
  }

  #assertMayGo(path: string, rules: GcRules): void {
    assertMayGo(path, rules);
    for (const boundary of [MANIFEST_BOUNDARY_PATH, COMPACTIONS_BOUNDARY_PATH]) {
      const id = numberedId(path, boundary) ?? 0;
      assertThat(id <= (this.#raisedTo.get(boundary) ?? 0), 'nothing above its boundary is deleted (deletion 3)', {
        path,
      });
    }
    const isRecent = this.#again !== undefined && this.#ageMs(this.#again) <= OBSERVATION_MS;
    assertThat(isRecent, 'what is deleted was seen to be collectable a moment ago (deletion 1)', { path });
  }

  /** By an observation that is recent enough; made now if there is none. */
  async #rulesNow(path: string): Promise<GcRules> {
    const { observer, known, seen, stores } = this.#options;
    for (let n = 0; this.#again === undefined || this.#ageMs(this.#again) > OBSERVATION_MS; n++) {
      if (n === MAX_OBSERVATIONS) throw tooSlow(whereOf(stores));
      const again = await observer.observe();
      this.#assertSameDatabase(seen, again);
      this.#again = again;
    }
    // Copies are few, and their losses are not a part of an observation.
    if (roleOfPath(path) === 'sidecar') known.losses = (await readLedger(stores.main, this.#again.newest)).entries;
    return rulesOf(this.#again, known);
  }

  #ageMs({ stamp }: Observation): number {
    return this.#options.guard.ageMs(stamp);
  }

  #assertSameDatabase(before: Observation, now: Observation): void {
    const path = manifestPath(before.newest.id);
    const etagIn = ({ manifestList }: Observation) => manifestList.find((object) => object.path === path)?.etag;
    const [then, ofNow] = [before, now].map(({ newest }) => newest.seal?.identity.databaseId);
    const isOther =
      now.newest.id < before.newest.id ||
      (etagIn(now) !== undefined && etagIn(now) !== etagIn(before)) ||
      (then !== undefined && ofNow !== undefined && !equalBytes(then, ofNow));
    if (!isOther) return;
    const where = whereOf(this.#options.stores);
    throw new RoundStop(`${where}: another database is here than when the round began. Nothing of it was deleted.`, []);
  }
}

/** The id of a file that has this boundary file. */
function numberedId(path: string, boundary: string): number | undefined {
  return boundary === MANIFEST_BOUNDARY_PATH ? parseManifestPath(path) : parseCompactionsPath(path);
}

function tooSlow(where: string): UnavailableError {
  return new UnavailableError(
    'DEADLINE',
    `${where}: reading what the database needs took longer than ${OBSERVATION_MS} ms, each of ${MAX_OBSERVATIONS} times. Nothing more was deleted.`,
  );
}
