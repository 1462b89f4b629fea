/**
 * One round of a collector:
 *
 * 1. Observe (observation.ts), drop the checkpoints that have expired, and observe again: until the manifest without them is the newest,
 *    a reader could still extend them, so what they pin stays.
 * 2. List each class, and decide about each object that is listed (candidates.ts, collectable.ts).
 * 3. Raise the boundary files to the greatest id that goes.
 * 4. Observe again, decide again about what is to be deleted next.
 * 5. Delete up to 1,000 objects. What step 4 has seen is good for 60 s; then step 4 again (deletion.ts).
 *
 * Invariants:
 * 1. A dry run sends no request that changes anything, and finds what a round would delete that begins at the same moment.
 * 2. Whatever is wrong with the database ends a round with findings, never with a guess; what is wrong with the store is thrown.
 * 3. A round may be cut off at any moment and begun again, here or elsewhere: each step leaves a sound database.
 */
import { assertThat } from '../common/assert.ts';
import type { Clock } from '../common/clock.ts';
import { unknownFinding } from '../common/damage.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { FindingObject } from '../common/finding.ts';
import type { Random } from '../common/random.ts';
import type { Ulid } from '../common/ulid.ts';

import { roleOfPath } from '../format/object-names.ts';
import { dropExpiredCheckpoints } from '../lsm/manifest/checkpoint-edits.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import type { ManifestChange } from '../lsm/manifest/manifest-log.ts';
import { type LoadedManifest, manifestFindingObject } from '../lsm/manifest/manifest-store.ts';
import { type IfMatchForm, ifMatchForm } from './boundary-raise.ts';
import { findCandidates, type Knowledge } from './candidates.ts';
import type { GcDecision } from './collectable.ts';
import { deleteCandidates } from './deletion.ts';
import { type Observation, Observer, RoundStop } from './observation.ts';
import { earlier, type RoundResult } from './round-result.ts';
import type { GcSettings } from './settings.ts';

/** Checkpoints can expire while others are dropped; what is left then is for the next round. */
const MAX_DROPS = 3;

export interface RoundsOptions {
  stores: DatabaseStores;
  clock: Clock;
  random: Random;
  settings: GcSettings;
  signal?: AbortSignal;
  /** Writes `change` of the newest manifest; resolves with the manifest that is in use then. */
  commit(change: ManifestChange): Promise<LoadedManifest>;
  /** Called with the newest manifest each time that it was looked for, before anything is done by it; what it rejects with ends the round. */
  onNewest?(newest: LoadedManifest): Promise<void>;
  /** The boundary file of the manifests exists. Called before a manifest is deleted. */
  onBoundary?(): void;
}

export interface RoundOptions {
  /** False: a dry run. */
  apply: boolean;
  /** Whether to look at copies in quarantine and at uploads too, whose least age is days. */
  withCopies: boolean;
  /** Called for every object of each list. */
  onDecision?(decision: GcDecision): void;
  /** Called for every object that was deleted. */
  onDeleted?(decision: GcDecision): void;
  /** How much of one list is deleted in a round; default 50,000. */
  most?: number;
}

/** Of what goes that many are held in memory, some 200 bytes each. */
const MOST_GOING = 50_000;
const IGNORE = () => undefined;

/** Rounds on one database, one at a time; they remember what cannot change. */
export class Rounds {
  readonly #options: RoundsOptions;
  readonly #guard: EpochGuard;
  readonly #observer: Observer;
  readonly #logKinds: Knowledge['logKinds'] = new Map();
  readonly #inputs = new Map<Ulid, readonly Ulid[]>();
  #newestId = 0;
  #ifMatchForm: { form: IfMatchForm | undefined } | undefined;

  constructor(options: RoundsOptions) {
    this.#options = options;
    const { stores, clock, signal, settings, onNewest } = options;
    this.#guard = new EpochGuard(clock, stores.latestStoreTimesMs);
    this.#observer = new Observer({
      stores,
      clock,
      guard: this.#guard,
      signal,
      recentManifests: settings.recentManifests,
      knownId: () => this.#newestId,
      ...(onNewest && { onNewest }),
    });
  }

  /** A manifest that is known to exist: no list that shows only older ones is believed any more. */
  know(manifestId: number): void {
    this.#newestId = Math.max(this.#newestId, manifestId);
  }

  /**
   * What is wrong with the database is in `result` (`stopped`); rejects with `UnavailableError` and what a store rejects with otherwise, with
   * `InvalidArgumentError` where no database is. What was done until then is in `result`, too. Some 8 LISTs and as many GETs if nothing
   * is to be deleted.
   */
  async run(options: RoundOptions, result: RoundResult): Promise<void> {
    try {
      await this.#run(options, result);
    } catch (error) {
      if (error instanceof RoundStop) stop(result, error.message, error.findings);
      else if (isCorruption(error)) stop(result, error.message, error.findings);
      else if (error instanceof IncompatibleError) {
        const path = error.details['path'];
        const object = {
          ...manifestFindingObject(this.#newestId),
          ...(typeof path === 'string' && { path, id: path, role: roleOf(path) }),
        };
        stop(result, error.message, [unknownFinding(error, { object, during: 'check' })]);
      } else throw error;
    }
  }

  async #run(options: RoundOptions, result: RoundResult): Promise<void> {
    const { apply, withCopies, onDecision = IGNORE, onDeleted = IGNORE, most = MOST_GOING } = options;
    const { stores, clock, random, settings, onBoundary = IGNORE } = this.#options;
    const seen = await this.#observed(apply, result);
    if (seen.boundary.exists) onBoundary();
    const known: Knowledge = {
      settings,
      isDryRun: !apply,
      logKinds: this.#logKinds,
      inputs: this.#inputs,
      outputs: [],
      losses: [],
      cannotRaise: false,
    };
    const canRaise = async () => (await this.#formOf(apply)) !== undefined;
    const candidates = await findCandidates({ stores, seen, known, withCopies, most, canRaise, result, onDecision });
    this.#observer.forgetAllBut(seen);
    if (!apply) return;
    await deleteCandidates({
      stores,
      clock,
      random,
      guard: this.#guard,
      observer: this.#observer,
      seen,
      known,
      candidates,
      ifMatchForm: this.#ifMatchForm?.form,
      result,
      onBoundary,
      onDeleted,
    });
    // Only from now on may fences go, and none of them was looked at by its age.
    const isFirstBoundary = result.boundaries.manifest !== undefined && !seen.boundary.exists;
    if (isFirstBoundary && settings.fences === 'collect') {
      result.nextDueMs = earlier(result.nextDueMs, seen.storeTimeMs);
    }
  }

  /** The database without checkpoints that have expired, if it is to be changed. */
  async #observed(apply: boolean, result: RoundResult): Promise<Observation> {
    let seen = await this.#observe(result);
    for (let n = 0; apply && seen.expired.length > 0 && n < MAX_DROPS; n++) {
      const nowS = Math.floor(seen.storeTimeMs / 1000);
      const { id } = await this.#options.commit((manifest) => dropExpiredCheckpoints(manifest, nowS));
      result.droppedCheckpoints.push(...seen.expired.map((checkpoint) => checkpoint.id));
      this.know(id);
      seen = await this.#observe(result);
    }
    if (!apply) result.droppedCheckpoints.push(...seen.expired.map((checkpoint) => checkpoint.id));
    result.storeTimeMs = seen.storeTimeMs;
    result.findings.push(...seen.findings);
    return seen;
  }

  async #observe(result: RoundResult): Promise<Observation> {
    const knownBefore = this.#newestId;
    const seen = await this.#observer.observe();
    assertThat(seen.newest.id >= knownBefore, 'the newest manifest is none before one that was known to exist');
    this.know(seen.newest.id);
    result.manifestId = seen.newest.id;
    return seen;
  }

  async #formOf(mayProbe: boolean): Promise<IfMatchForm | undefined> {
    if (this.#ifMatchForm !== undefined) return this.#ifMatchForm.form;
    const { stores, clock, random } = this.#options;
    const form = await ifMatchForm(stores.main, { clock, random, mayProbe });
    if (mayProbe) this.#ifMatchForm = { form };
    return form;
  }
}

function stop(result: RoundResult, message: string, findings: RoundResult['findings'] | RoundStop['findings']): void {
  result.stopped = message;
  result.findings.push(...findings);
  result.hasMore = false;
}

function roleOf(path: string): FindingObject['role'] {
  const role = roleOfPath(path);
  return role === 'other' ? 'manifest' : role;
}
