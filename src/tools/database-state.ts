/**
 * What is at a target: the first reads of every tool that needs a good manifest (place.ts), and what a tool says where it finds none.
 * Reads only.
 */
import { at, type Hint, hintAt, INSPECT_MANIFEST, makeHint, REPAIR_MANIFEST } from '../common/advice.ts';
import { isCannotTell, locateFindings, unknownFinding } from '../common/damage.ts';
import {
  type CorruptionError,
  IncompatibleError,
  InvalidArgumentError,
  isCorruption,
  ManifestCorruptionError,
} from '../common/errors.ts';
import type { Finding } from '../common/finding.ts';
import { COMPACTIONS_BOUNDARY_PATH, manifestPath, WAL_PREFIX } from '../format/object-names.ts';
import { type Boundary, boundaryFindingObject } from '../lsm/manifest/boundary-file.ts';
import { COMPACTIONS_FORM } from '../lsm/manifest/compactions-store.ts';
import type { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { type LoadedManifest, readGoodManifest } from '../lsm/manifest/manifest-store.ts';
import { misplacedLog } from '../recovery/log-place.ts';
import {
  assertUsable,
  type BadManifest,
  findBelowBoundary,
  findNewest,
  findNewestId,
  type Place,
  readStoredIdentity,
  readSurroundings,
  type Surroundings,
} from '../recovery/place.ts';
import { hasRemains } from '../recovery/remains.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { MAX_ROUNDS, type ToolTarget, tooManyOthers } from './target.ts';

/** What there is besides the manifests. Rejects if no database is here. Two LISTs and two GETs. */
export async function lookAroundTarget(target: ToolTarget, guard: EpochGuard): Promise<Surroundings> {
  const around = await readSurroundings(target.stores.main, guard, 'check');
  if (around.manifestIds.length === 0) await assertRemains(target);
  return around;
}

/**
 * The database with its newest manifest. Rejects with `InvalidArgumentError` (`NOT_A_DATABASE`) where none is, with
 * `ManifestCorruptionError` if the newest manifest is damaged or none is left, with `IncompatibleError` for a newer form.
 */
export async function readDatabase(target: ToolTarget, guard: EpochGuard): Promise<Place> {
  const state = await readNewestPlace(target, guard);
  assertUsable(target.stores, target.where, state);
  return state;
}

/** The same for who only describes it: also a clone that is still being set up, and with the log in another store than the location says. */
export async function readNewestPlace(target: ToolTarget, guard: EpochGuard): Promise<Place> {
  const { stores, clock, signal } = target;
  const around = await lookAroundTarget(target, guard);
  return findNewest(stores, around, {
    clock,
    signal,
    during: 'check',
    nextBy: 'head',
    onBad: (bad) => {
      throw newestDamaged(target, bad);
    },
    // A repair of the manifests writes above it.
    refusesBelowBoundary: false,
    lookAgain: () => lookAroundTarget(target, guard),
    rounds: MAX_ROUNDS,
    tooManyOthers: () => tooManyOthers(target),
  });
}

/** What to do about a manifest. */
export function manifestHint(target: Pick<ToolTarget, 'label'>): Hint {
  return makeHint(
    'Stop every process that uses the database, then repair the manifest; a good older one usually suffices.',
    'none',
    [at(INSPECT_MANIFEST, target.label), at(REPAIR_MANIFEST, target.label)],
  );
}

/**
 * That the collector's boundary refuses the newest manifest, of this id, or cannot be read: an opening refuses both. `boundary`: as it was
 * read.
 */
export async function belowBoundaryFindings(
  target: ToolTarget,
  newestId: number,
  boundary?: Surroundings['boundary'],
): Promise<Finding[]> {
  const error = await findBelowBoundary(target.stores.main, newestId, target.clock, boundary);
  if (error === undefined) return [];
  return foundAt(error, target);
}

/**
 * That the boundary of the compactions files is no number, or not below the newest of them, whose id is `newestId`; 0: there is none, and then the next
 * one is written above the boundary. `known`: as it was read. One GET; three LISTs and GETs more where it seems too high.
 */
export async function compactionsBoundaryFindings(
  target: ToolTarget,
  newestId: number,
  known?: Pick<Boundary, 'exists' | 'value'>,
): Promise<Finding[]> {
  const { main } = target.stores;
  try {
    const boundary = known ?? (await COMPACTIONS_FORM.readBoundary(main));
    const error = newestId === 0 ? undefined : await COMPACTIONS_FORM.tooHigh(main, target.clock, newestId, boundary);
    return error === undefined ? [] : foundAt(error, target);
  } catch (error) {
    if (isCorruption(error)) return foundAt(error, target);
    if (!isCannotTell(error) || error.retryable) throw error;
    const object = boundaryFindingObject(COMPACTIONS_BOUNDARY_PATH);
    return [unknownFinding(error, { object, during: 'check' })];
  }
}

function foundAt({ findings }: CorruptionError, { label }: ToolTarget): Finding[] {
  return findings.map((f) => ({ ...f, during: 'check', hint: hintAt(f.hint, label) }));
}

/** The error for a newest manifest that is damaged or has a newer form; throws `UnavailableError` if it is only read badly. */
function newestDamaged(target: ToolTarget, { id, failure, ...bad }: BadManifest): Error {
  const reads = bad.reads();
  if (!isCorruption(failure)) return failure;
  const hint = manifestHint(target);
  const findings = locateFindings(failure, { object: failure.findings[0].object, during: 'check', reads });
  return new ManifestCorruptionError(
    `${target.where}: the newest manifest, ${manifestPath(id)}, is damaged. Repair it first: ${hint.commands[1]}`,
    findings.map((f) => ({ ...f, origin: 'at-rest' as const, hint })),
    { hint, cause: failure },
  );
}

/**
 * The newest manifest, if it can be read: for tools that also work without it. A LIST and a GET; none for an open database.
 */
export async function newestIfReadable({ stores, openDb }: ToolTarget): Promise<LoadedManifest | undefined> {
  if (openDb !== undefined) return openDb.manifest();
  const newest = await findNewestId(stores.main);
  return newest === undefined ? undefined : readGoodManifest(stores.main, newest);
}

/**
 * Throws `NOT_A_DATABASE` where nothing is stored that a database could have left. For tools to which "none found" is an answer:
 * at a mistyped location it would be a wrong one. Six LISTs.
 */
export async function assertRemains(target: ToolTarget): Promise<void> {
  if (!(await hasRemains(target.stores))) throw await notADatabase(target);
}

async function notADatabase(target: ToolTarget): Promise<InvalidArgumentError> {
  const isEmpty = !(await hasAny(target.stores.main, ''));
  return new InvalidArgumentError(
    'NOT_A_DATABASE',
    isEmpty
      ? `${target.where}: nothing is here. Check the location: bucket, path and, for a directory, the three slashes of file:///.`
      : `${target.where}: there are objects here, but none of a database. Check the path; it must be the one that holds manifest/.`,
  );
}

async function hasAny(store: ObjectStore, prefix: string): Promise<boolean> {
  for await (const _ of store.list(prefix)) return true;
  return false;
}

/** Throws where the log that belongs to this manifest is in another store than the location says. One GET. */
export async function assertLogInReach(target: ToolTarget, newest: LoadedManifest): Promise<void> {
  const misplaced = await misplacedLogOf(target, newest);
  if (misplaced !== undefined) throw misplaced;
}

/** What a check reports instead; it then reads no log, as that would be another database's. One GET. */
export async function logOutOfReach(target: ToolTarget, newest: LoadedManifest): Promise<Finding | undefined> {
  const misplaced = await misplacedLogOf(target, newest);
  if (misplaced === undefined) return undefined;
  const object = { role: 'wal' as const, path: WAL_PREFIX, id: '', sealed: false };
  const summary = target.stores.hasWalStore ? WITHOUT_WAL_STORE : WITH_WAL_STORE;
  return unknownFinding(misplaced, { object, during: 'check', summary });
}

async function misplacedLogOf({ stores, where }: ToolTarget, newest: LoadedManifest) {
  const { identity } = await readStoredIdentity(stores.main, 'check');
  return misplacedLog(stores, where, newest, identity?.value);
}

const WITH_WAL_STORE =
  'Call the function of shaledb/admin with { store, path, walStore } as location; the command line takes no second store. The log was not looked at, nothing is known to be damaged, and nothing is repaired.';
const WITHOUT_WAL_STORE =
  'Leave walStore out of the location. The log was not looked at, nothing is known to be damaged, and nothing is repaired.';

/** Throws for a manifest that this program cannot write again without losing something. */
export function assertRewritable(target: ToolTarget, newest: LoadedManifest): void {
  if (!newest.manifest.hasUnknownFields) return;
  throw new IncompatibleError(
    'FORMAT_TOO_NEW',
    `${target.where}: manifest ${newest.id} has fields that this version does not know and would lose. Repair it with a newer version.`,
  );
}
