/**
 * What a round reads before it decides, and again before it deletes.
 *
 * Order: (1) the newest compactions file, (2) the newest manifest, (3) the manifests that it needs, (4) the plans of open repairs. A compactor
 * names what it has made in (1) before it commits it to (2), and drops it from (1) after that. So what leaves (1) after it was read is in
 * the (2) that is read then. In the other order an output could be in neither.
 *
 * Invariants:
 * 1. Lists and reads are sent in the order above, each after the answer to the one before.
 * 2. A manifest that is needed and is missing, damaged or of an unknown form ends the round: what it names is not known.
 * 3. A list that lacks a file which is there ends the round: nothing else that it shows, or does not show, can be relied on.
 * 4. A manifest without a seal counts only if it agrees with what it continues, as for openings (place.ts).
 */
import { makeHint } from '../common/advice.ts';
import { assertThat } from '../common/assert.ts';
import type { Clock } from '../common/clock.ts';
import type { GcClass } from '../common/collector-role.ts';
import { unknownFinding } from '../common/damage.ts';
import { IncompatibleError, InvalidArgumentError, isCorruption, UnavailableError } from '../common/errors.ts';
import { type Finding, type FindingObject, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import type { Checkpoint, Manifest } from '../format/manifest-types.ts';
import {
  COMPACTIONS_BOUNDARY_PATH,
  COMPACTIONS_PREFIX,
  compactionsPath,
  MANIFEST_PREFIX,
  manifestPath,
  parseCompactionsPath,
  parseManifestPath,
  REPAIRS_PREFIX,
  repairFilePath,
} from '../format/object-names.ts';
import type { DatabaseIdentity } from '../format/sidecar.ts';
import { type Boundary, findTooHighBoundary, readBoundary } from '../lsm/manifest/boundary-file.ts';
import { dropExpiredCheckpoints } from '../lsm/manifest/checkpoint-edits.ts';
import {
  COMPACTIONS_FORM,
  compactionsBoundaryLook,
  type LoadedCompactions,
} from '../lsm/manifest/compactions-store.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { dateByList, type EpochGuard, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { neededManifests, type OpenPlan } from '../lsm/manifest/live-set.ts';
import { type LoadedManifest, manifestFindingObject } from '../lsm/manifest/manifest-store.ts';
import {
  assertUsable,
  type BadManifest,
  findNewest,
  isOvertaken,
  lookAtManifest,
  readBoundaryOrDamage,
  readStoredIdentity,
  type Surroundings,
} from '../recovery/place.ts';
import { hasRemains, noManifestLeft } from '../recovery/remains.ts';
import { openAttempts, readOpenPlan, repairFilesOf, unreadPlan } from '../recovery/repair-plans.ts';
import type { ListedObject, ObjectStore } from '../store/object-store.ts';
import type { Stay } from './collectable.ts';

/** How often all is read again because others were faster. */
const MAX_OBSERVATION_ROUNDS = 20;
/** No process works on an attempt at a repair for so long: what an unreadable plan may need is kept until then. */
const ATTEMPT_MS = 24 * 3_600_000;

/** Why a round ends without deleting anything more. Never leaves this room. */
export class RoundStop extends Error {
  readonly findings: readonly Finding[];

  constructor(message: string, findings: readonly Finding[]) {
    super(message);
    this.findings = findings;
  }
}

/** The database at one moment. */
export interface Observation {
  /** Before the first list, dated by that of the manifests. */
  stamp: Stamp;
  /** The store's time in the list of manifests, ms; 0: it does not say. */
  storeTimeMs: number;
  newest: LoadedManifest;
  /** The newest manifest without the checkpoints that have expired. */
  manifest: Manifest;
  expired: readonly Checkpoint[];
  /** Those that are needed besides, by id. */
  others: ReadonlyMap<number, Manifest>;
  compactions: LoadedCompactions | undefined;
  manifestList: readonly ListedObject[];
  compactionsList: readonly ListedObject[];
  /** Of the manifests. */
  boundary: Boundary;
  plans: readonly OpenPlan[];
  /** Classes of which nothing may go, and why. */
  held: ReadonlyMap<GcClass, Stay>;
  findings: readonly Finding[];
}

export interface ObserverOptions {
  stores: DatabaseStores;
  clock: Clock;
  guard: EpochGuard;
  signal?: AbortSignal | undefined;
  /** How many of the newest manifests are kept. */
  recentManifests: number;
  /** A manifest that is known to exist; a list that was sent after that and shows only older ones is not the truth. */
  knownId(): number;
  /** Called with each newest manifest before it counts. */
  onNewest?(newest: LoadedManifest): Promise<void>;
}

/** Every object whose path begins with `prefix`. One LIST for each 1,000. */
export function listPrefix(store: ObjectStore, prefix: string): AsyncIterable<ListedObject> {
  return store.list(prefix);
}

async function listAll(store: ObjectStore, prefix: string): Promise<ListedObject[]> {
  const objects: ListedObject[] = [];
  for await (const object of listPrefix(store, prefix)) objects.push(object);
  return objects;
}

/** Reads a database again and again; what it has read once and cannot have changed is not read again. */
export class Observer {
  readonly #options: ObserverOptions;
  readonly #manifests = new Map<string, Manifest>();
  readonly #plans = new Map<string, OpenPlan>();
  #identity: DatabaseIdentity | undefined;

  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  /**
   * Three LISTs, two GETs of boundaries, one each of the newest compactions file and manifest, a HEAD for one after it; and a GET for each
   * needed manifest and open plan that was not read before. Rejects with `RoundStop` where something is wrong with the database, with
   * `InvalidArgumentError` where none is, with `UnavailableError`.
   */
  async observe(): Promise<Observation> {
    for (let round = 0; round < MAX_OBSERVATION_ROUNDS; round++) {
      const seen = await this.#observe();
      if (seen === undefined) continue;
      await this.#options.onNewest?.(seen.newest);
      return seen;
    }
    throw this.#tooManyOthers();
  }

  async #observe(): Promise<Observation | undefined> {
    const { guard, clock } = this.#options;
    const stamp = guard.stamp();
    const held = new Map<GcClass, Stay>();
    const findings: Finding[] = [];
    const { compactions, compactionsList } = await this.#compactions(held, findings);
    const found = await this.#newest(stamp);
    if (found === undefined) return undefined;
    const { newest, manifestList, boundary, storeTimeMs } = found;
    const nowS = storeTimeMs > 0 ? Math.floor(storeTimeMs / 1000) : undefined;
    const kept = nowS === undefined ? undefined : dropExpiredCheckpoints(newest.manifest, nowS);
    const manifest = kept ?? newest.manifest;
    const remaining = new Set(manifest.checkpoints);
    const expired = newest.manifest.checkpoints.filter((checkpoint) => !remaining.has(checkpoint));
    const others = await this.#needed(newest, manifest, manifestList, boundary);
    if (others === undefined) return undefined;
    const plans = await this.#openPlans(held, findings);
    assertThat(clock.monotonicMs() >= stamp.monotonicMs, 'an observation begins before its first list (observation 1)');
    return {
      stamp,
      storeTimeMs,
      newest,
      manifest,
      expired,
      others,
      compactions,
      manifestList,
      compactionsList,
      boundary,
      plans,
      held,
      findings,
    };
  }

  // ---- (1)

  /** A file that cannot be read, and a boundary that cannot be right, hold back what depends on them. */
  async #compactions(
    held: Map<GcClass, Stay>,
    findings: Finding[],
  ): Promise<Pick<Observation, 'compactions' | 'compactionsList'>> {
    const { stores, clock } = this.#options;
    const { main } = stores;
    const hold = (because: Stay, found: readonly Finding[]) => {
      held.set('compactions', because).set('table', because);
      findings.push(...found.map((f) => ({ ...f, during: 'check' as const })));
    };
    for (let round = 0; round < MAX_OBSERVATION_ROUNDS; round++) {
      const compactionsList = await listAll(main, COMPACTIONS_PREFIX);
      const id = greatest(compactionsList, parseCompactionsPath);
      if (id === 0) return { compactions: undefined, compactionsList };
      const path = compactionsPath(id);
      try {
        const compactions = await COMPACTIONS_FORM.read(main, id);
        // A compactor has written the next one, and another collector was here.
        if (compactions === undefined) continue;
        if (compactions.compactions.hasUnknownFields) throw unknownFields(path);
        const boundary = await readBoundary(main, COMPACTIONS_BOUNDARY_PATH);
        if (boundary.value >= id) {
          const tooHigh = await findTooHighBoundary(compactionsBoundaryLook(main, clock), id, boundary);
          if (tooHigh === undefined) continue;
          hold({ kind: 'bad-boundary', path: COMPACTIONS_BOUNDARY_PATH }, tooHigh.findings);
        }
        return { compactions, compactionsList };
      } catch (error) {
        if (error instanceof IncompatibleError) {
          const object: FindingObject = { role: 'compactions', path, id: String(id), sealed: false };
          hold({ kind: 'unknown', path }, [unknownFinding(error, { object, during: 'check' })]);
        } else if (isCorruption(error)) {
          const isBoundary = error.findings[0]?.object.path === COMPACTIONS_BOUNDARY_PATH;
          hold(
            isBoundary ? { kind: 'bad-boundary', path: COMPACTIONS_BOUNDARY_PATH } : { kind: 'unknown', path },
            error.findings,
          );
        } else throw error;
        return { compactions: undefined, compactionsList };
      }
    }
    throw this.#tooManyOthers();
  }

  // ---- (2)

  /** Undefined: another manifest was written in the meantime, look again. */
  async #newest(
    stamp: Stamp,
  ): Promise<Pick<Observation, 'newest' | 'manifestList' | 'boundary' | 'storeTimeMs'> | undefined> {
    const { stores, clock, signal, knownId } = this.#options;
    let manifestList: ListedObject[] = [];
    // What became known while the list was under way may have come after it.
    let knownBefore = 0;
    const look = async (): Promise<Surroundings> => {
      knownBefore = knownId();
      manifestList = await listAll(stores.main, MANIFEST_PREFIX);
      if (manifestList.length > 0) dateByList(stamp, manifestList[0]);
      const manifestIds = idsOf(manifestList);
      if (manifestIds.length === 0) throw await this.#nothingHere();
      const boundary = await readBoundaryOrDamage(stores.main);
      return {
        stamp,
        manifestIds,
        boundary,
        identity: undefined,
        identityDamage: undefined,
        newestCompactionsId: undefined,
      };
    };
    const { newest, boundary } = await findNewest(stores, await look(), {
      clock,
      signal,
      during: 'check',
      nextBy: 'head',
      onBad: (bad) => {
        throw damaged(bad);
      },
      refusesBelowBoundary: true,
      lookAgain: look,
      rounds: MAX_OBSERVATION_ROUNDS,
      tooManyOthers: () => this.#tooManyOthers(),
    });
    if (newest.id < knownBefore) throw this.#staleList(knownBefore);
    if (!manifestList.some(({ path }) => path === manifestPath(newest.id))) {
      // Written after the list, or a list that lags: a second one distinguishes them.
      const ids = idsOf(await listAll(stores.main, MANIFEST_PREFIX));
      if (ids.includes(newest.id) || (ids.at(-1) ?? 0) > newest.id) return undefined;
      throw this.#staleList(newest.id);
    }
    await this.#assertUsable(newest);
    const { damage: _, ...readable } = boundary;
    const storeTimeMs = manifestList[0]?.storeTimeMs ?? 0;
    return { newest, manifestList, boundary: { etag: undefined, ...readable }, storeTimeMs };
  }

  async #assertUsable(newest: LoadedManifest): Promise<void> {
    const { stores } = this.#options;
    this.#identity ??= (await readStoredIdentity(stores.main, 'check')).identity?.value;
    const value = this.#identity;
    const identity = value && { value, bytes: new Uint8Array(0), keepsMetadata: false };
    assertUsable(stores, whereOf(stores), { newest, identity });
    if (newest.manifest.hasUnknownFields) throw unknownFields(manifestPath(newest.id));
  }

  // ---- (3)

  /** Undefined: one was collected because a newer one is there, look again. */
  async #needed(
    newest: LoadedManifest,
    manifest: Manifest,
    list: readonly ListedObject[],
    boundary: Boundary,
  ): Promise<ReadonlyMap<number, Manifest> | undefined> {
    const { stores, recentManifests: recent } = this.#options;
    const others = new Map<number, Manifest>();
    const etags = new Map(list.map(({ path, etag }) => [parseManifestPath(path), etag]));
    for (let id = newest.id - 1; id > newest.id - recent && id > 0; id--) {
      const read = etags.has(id) ? await this.#manifest(id, etags.get(id), boundary) : undefined;
      if (read !== undefined) others.set(id, read);
    }
    for (const { manifestId } of neededManifests({ newest: { id: newest.id, manifest }, others, recent })) {
      if (manifestId === newest.id || others.has(manifestId)) continue;
      const read = await this.#manifest(manifestId, etags.get(manifestId), boundary);
      if (read !== undefined) {
        if (!etags.has(manifestId)) throw this.#staleList(manifestId);
        others.set(manifestId, read);
        continue;
      }
      if (await isOvertaken(stores.main, newest.id)) return undefined;
      throw missingPinned(whereOf(stores), newest.id, manifest, manifestId);
    }
    return others;
  }

  /** Undefined: it is gone. */
  async #manifest(id: number, etag: string | undefined, { value }: Boundary): Promise<Manifest | undefined> {
    const { stores, clock, signal } = this.#options;
    const key = `${id} ${etag}`;
    const known = this.#manifests.get(key);
    if (known !== undefined) return known;
    const look = await lookAtManifest(stores, id, value, { clock, signal, during: 'check' });
    if (look === undefined) return undefined;
    if (look.loaded === undefined) throw damaged(look);
    const { manifest } = look.loaded;
    if (manifest.hasUnknownFields) throw unknownFields(manifestPath(id));
    if (etag !== undefined) this.#manifests.set(key, manifest);
    return manifest;
  }

  /** Forgets what an observation has not used. */
  forgetAllBut({ others, manifestList }: Observation): void {
    const used = new Set(manifestList.flatMap(({ path, etag }) => `${parseManifestPath(path)} ${etag}`));
    for (const [key] of this.#manifests) {
      if (!used.has(key) || !others.has(Number(key.split(' ')[0]))) this.#manifests.delete(key);
    }
  }

  // ---- (4)

  async #openPlans(held: Map<GcClass, Stay>, findings: Finding[]): Promise<OpenPlan[]> {
    const { main } = this.#options.stores;
    const files = new Map((await listAll(main, REPAIRS_PREFIX)).map((object) => [object.path, object]));
    const plans: OpenPlan[] = [];
    for (const attempt of openAttempts(repairFilesOf(files.keys()))) {
      const path = repairFilePath(attempt.repairId, 'plan', attempt.number);
      const plan = this.#plans.get(path) ?? (await readOpenPlan(main, attempt));
      if (plan !== undefined) {
        this.#plans.set(path, plan);
        plans.push(plan);
        continue;
      }
      const isOver = ageOf(files.get(path)) > ATTEMPT_MS;
      findings.push(unreadablePlan(path, isOver));
      if (isOver) continue;
      for (const name of ['manifest', 'log', 'fence', 'table', 'copy'] as const)
        held.set(name, { kind: 'unknown', path });
    }
    return plans;
  }

  // ---- errors

  #tooManyOthers(): UnavailableError {
    const where = whereOf(this.#options.stores);
    return new UnavailableError(
      'DEADLINE',
      `${where}: the database changed ${MAX_OBSERVATION_ROUNDS} times in a row while it was read. Nothing was deleted.`,
    );
  }

  async #nothingHere(): Promise<Error> {
    const { stores } = this.#options;
    const where = whereOf(stores);
    if (await hasRemains(stores)) return noManifestLeft(where, 'check');
    return new InvalidArgumentError(
      'NOT_A_DATABASE',
      `${where}: no database is here, so there is nothing to collect. Check the path.`,
    );
  }

  #staleList(id: number): RoundStop {
    return staleList(whereOf(this.#options.stores), manifestFindingObject(id));
  }
}

function idsOf(list: readonly ListedObject[]): number[] {
  return list.flatMap(({ path }) => parseManifestPath(path) ?? []).sort((a, b) => a - b);
}

/** 0: none has an id. */
function greatest(list: readonly ListedObject[], parse: (path: string) => number | undefined): number {
  return list.reduce((id, { path }) => Math.max(id, parse(path) ?? 0), 0);
}

/** Infinite never: an object without a date is young. */
function ageOf(object: ListedObject | undefined): number {
  const { storeTimeMs = 0, lastModifiedMs = 0 } = object ?? {};
  return storeTimeMs > 0 && lastModifiedMs > 0 ? storeTimeMs - lastModifiedMs : 0;
}

// ---- what ends a round

const KEEPS = 'Nothing is deleted while it is so.';

/** A list does not show what is there. */
export function staleList(where: string, object: FindingObject): RoundStop {
  const finding = makeFinding({
    code: 'OUT_OF_REACH',
    severity: 'unknown',
    object,
    at: WHOLE_OBJECT,
    expected: 'in the list of the store, because it exists',
    found: 'not in the list',
    during: 'check',
    hint: makeHint(
      `The store does not list an object that it has. ${KEEPS} Find out whether it lists completely; a later round tries again.`,
      'none',
    ),
  });
  return new RoundStop(`${where}: the store does not list ${object.path}, which exists. ${KEEPS}`, [finding]);
}

function damaged(bad: BadManifest): Error {
  const reads = bad.reads();
  if (!isCorruption(bad.failure)) return bad.failure;
  const findings = bad.failure.findings.map((f) => ({
    ...f,
    during: 'check' as const,
    reads,
    origin: 'at-rest' as const,
  }));
  return new RoundStop(`${manifestPath(bad.id)}, which is needed, is damaged. ${KEEPS}`, findings);
}

function missingPinned(where: string, newestId: number, manifest: Manifest, id: number): RoundStop {
  const names = manifest.checkpoints.flatMap((c) => (c.manifestId === id ? (c.name ?? c.id) : [])).join(', ');
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    severity: 'warning',
    object: manifestFindingObject(id),
    at: WHOLE_OBJECT,
    expected: `the manifest of checkpoint ${names}`,
    during: 'check',
    remedy: 'none',
    hint: makeHint(
      `What checkpoint ${names} needs is not known without its manifest. ${KEEPS} Bring the manifest back from a backup or an older version of the bucket, or delete the checkpoint.`,
      'unknown',
    ),
  });
  const message = `${where}: ${manifestPath(id)} is gone, and checkpoint ${names} of manifest ${newestId} names it. ${KEEPS}`;
  return new RoundStop(message, [finding]);
}

function unknownFields(path: string): IncompatibleError {
  return new IncompatibleError(
    'FORMAT_TOO_NEW',
    `${path} has fields that this version does not know, and that may name objects.`,
    {
      details: { path },
    },
  );
}

function unreadablePlan(path: string, isOver: boolean): Finding {
  const says = isOver
    ? 'It is older than a day, so no process works on it any more: it keeps nothing.'
    : 'What it needs is not known, so nothing that a repair may need is deleted until it is a day old.';
  return unreadPlan(path, `The plan of a repair cannot be read. ${says} Run the repair again.`);
}
