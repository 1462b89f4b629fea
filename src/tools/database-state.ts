/**
 * What lies at a target: the first look of every tool that needs a good manifest. Reads only.
 *
 * What is damaged is looked at three times, and more often while looks differ, before it is called so, the last times past every cache of ours.
 */
import { sleep } from '../common/clock.ts';
import {
  type CorruptionError,
  damage,
  type Finding,
  type Hint,
  IncompatibleError,
  InvalidArgumentError,
  isCorruption,
  locate,
  locateFindings,
  ManifestCorruptionError,
  unknownFinding,
} from '../common/errors.ts';
import {
  COMPACTIONS_PREFIX,
  IDENTITY_PATH,
  manifestPath,
  parseCompactionsPath,
  WAL_PREFIX,
} from '../format/object-names.ts';
import { type DatabaseIdentity, decodeIdentity } from '../format/sidecar.ts';
import type { EpochGuard, Stamp } from '../lsm/manifest/epoch-guard.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestFindingObject,
  readBoundary,
  readGoodManifest,
} from '../lsm/manifest/manifest-store.ts';
import { Looks, readTwice } from '../lsm/table/verified-read.ts';
import { misplacedLog } from '../recovery/log-place.ts';
import { crossCheckManifest } from '../recovery/manifest-evidence.ts';
import { hasRemains, noManifestLeft } from '../recovery/remains.ts';
import { type GetResult, type ObjectStore, PUT_ID_METADATA } from '../store/object-store.ts';
import { MAX_ROUNDS, type ToolTarget, tooManyOthers } from './target.ts';

const DOCS = 'docs/troubleshooting.md';
/** Waits before a damaged object is looked at the second and third time, ms. */
const REREADS_MS: readonly number[] = [100, 1000];

export interface Surroundings {
  /** Before the LIST of the manifests was sent. */
  stamp: Stamp;
  /** Ascending. */
  manifestIds: number[];
  boundary: { exists: boolean; value: number };
  identity: DatabaseIdentity | undefined;
  identityDamage: CorruptionError | undefined;
  /** Whether the store gave the put id of the identity back: it keeps metadata. */
  keepsMetadata: boolean;
  newestCompactionsId: number | undefined;
}

export interface DatabaseState extends Surroundings {
  newest: LoadedManifest;
}

/** What there is besides the manifests. Rejects if no database is here. Two LISTs and two GETs. */
export async function lookAround(target: ToolTarget, guard: EpochGuard): Promise<Surroundings> {
  const { main } = target.stores;
  const stamp = guard.stamp();
  const [manifestIds, boundary, identity, newestCompactionsId] = await Promise.all([
    listManifestIds(main, undefined, stamp),
    readBoundary(main),
    readIdentity(main),
    newestCompactions(main),
  ]);
  const around = { stamp, manifestIds, boundary, newestCompactionsId, ...identity };
  if (manifestIds.length === 0) await assertRemains(target);
  return around;
}

/**
 * The database with its newest manifest. Rejects with `InvalidArgumentError` (`NOT_A_DATABASE`) where none is, with
 * `ManifestCorruptionError` if the newest manifest is damaged or none is left, with `IncompatibleError` for a newer form.
 */
export async function readDatabase(target: ToolTarget, guard: EpochGuard): Promise<DatabaseState> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const around = await lookAround(target, guard);
    if (around.manifestIds.length === 0) throw noManifestLeft(target.where, 'check');
    const newest = await readNewest(target, around);
    if (newest === undefined) continue;
    assertUsable(target, newest, around.identity);
    return { ...around, newest };
  }
  throw tooManyOthers(target);
}

/** The newest manifest, verified; undefined if it was deleted after it had been listed. */
async function readNewest(target: ToolTarget, around: Surroundings): Promise<LoadedManifest | undefined> {
  const { main } = target.stores;
  let id = around.manifestIds[around.manifestIds.length - 1];
  // A list may lag.
  while ((await main.head(manifestPath(id + 1))) !== undefined) id++;
  const looks = new Looks(REREADS_MS);
  for (;;) {
    const got = await main.get(manifestPath(id));
    if (got === undefined) return undefined;
    try {
      const loaded = loadManifest(id, got.bytes);
      if (loaded.seal === undefined) await assertConsistent(target, loaded, around);
      return loaded;
    } catch (error) {
      // One bit on the way can also make a version look unknown.
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
      looks.add(got.bytes);
      const waitMs = looks.nextWaitMs;
      if (waitMs === undefined) {
        const reads = looks.reads(main.name, manifestPath(id));
        throw isCorruption(error) ? newestDamaged(target, id, error, reads) : error;
      }
      await sleep(target.clock, waitMs, target.signal);
    }
  }
}

async function assertConsistent(target: ToolTarget, loaded: LoadedManifest, around: Surroundings): Promise<void> {
  const { broken } = await crossCheckManifest(target.stores, loaded, around.boundary.value);
  if (broken.length === 0) return;
  const at = { unit: 'object' as const, offset: 0, length: loaded.sizeBytes };
  const object = manifestFindingObject(loaded.id, { size: loaded.sizeBytes });
  throw locate(damage('MANIFEST_INCONSISTENT', at, broken.join('; ')), { object, during: 'check' });
}

/** What to do about a manifest. */
export function manifestHint(target: Pick<ToolTarget, 'label'>): Hint {
  return {
    summary: 'Stop every process that uses the database, then repair the manifest; a good older one usually suffices.',
    commands: [`shaledb manifest inspect ${target.label}`, `shaledb manifest repair ${target.label}`],
    docs: DOCS,
    lossIfRepaired: 'none',
  };
}

function newestDamaged(
  target: ToolTarget,
  id: number,
  error: CorruptionError,
  reads: Finding['reads'],
): ManifestCorruptionError {
  const hint = manifestHint(target);
  const findings = locateFindings(error, { object: error.findings[0].object, during: 'check', reads });
  return new ManifestCorruptionError(
    `${target.where}: the newest manifest, ${manifestPath(id)}, is damaged. Repair it first: ${hint.commands[1]}`,
    findings.map((f) => ({ ...f, origin: 'at-rest' as const, hint })),
    { hint, cause: error },
  );
}

/**
 * The newest manifest, if it can be read: for tools that also work without it. A LIST and a GET; none for an open database.
 */
export async function newestIfReadable({ stores, openDb }: ToolTarget): Promise<LoadedManifest | undefined> {
  if (openDb !== undefined) return openDb.manifest();
  const [newest] = (await listManifestIds(stores.main)).slice(-1);
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

function assertUsable(target: ToolTarget, newest: LoadedManifest, identity: DatabaseIdentity | undefined): void {
  const { manifest } = newest;
  if (!manifest.initialized) {
    const message = `${target.where}: manifest ${newest.id} says that this database is still being set up (a clone that was not finished). Finish or delete it first.`;
    throw new InvalidArgumentError('NOT_A_DATABASE', message);
  }
  const misplaced = misplacedLog(target.stores, target.where, newest, identity);
  if (misplaced !== undefined) throw misplaced;
}

/** Throws where the log that belongs to this manifest is in another store than the location says. One GET. */
export async function assertLogInReach(target: ToolTarget, newest: LoadedManifest): Promise<void> {
  const misplaced = await misplacedLogOf(target, newest);
  if (misplaced !== undefined) throw misplaced;
}

/** What a check says instead, which then looks at no log: another one would be judged. One GET. */
export async function logOutOfReach(target: ToolTarget, newest: LoadedManifest): Promise<Finding | undefined> {
  const misplaced = await misplacedLogOf(target, newest);
  if (misplaced === undefined) return undefined;
  const object = { role: 'wal' as const, path: WAL_PREFIX, id: '', sealed: false };
  const summary = target.stores.hasWalStore ? WITHOUT_WAL_STORE : WITH_WAL_STORE;
  return unknownFinding(misplaced, { object, during: 'check', summary });
}

async function misplacedLogOf({ stores, where }: ToolTarget, newest: LoadedManifest) {
  const { identity } = await readIdentity(stores.main);
  return misplacedLog(stores, where, newest, identity);
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

type FoundIdentity = Pick<Surroundings, 'identity' | 'identityDamage' | 'keepsMetadata'>;

async function readIdentity(store: ObjectStore): Promise<FoundIdentity> {
  try {
    const found = await readTwice(store, IDENTITY_PATH, decodeStoredIdentity);
    return found ?? { identity: undefined, identityDamage: undefined, keepsMetadata: false };
  } catch (error) {
    if (!isCorruption(error)) throw error;
    const object = { role: 'sidecar' as const, path: IDENTITY_PATH, id: 'identity', sealed: false };
    return { identity: undefined, identityDamage: locate(error, { object, during: 'check' }), keepsMetadata: false };
  }
}

function decodeStoredIdentity({ bytes, metadata }: GetResult): FoundIdentity {
  const keepsMetadata = metadata[PUT_ID_METADATA] !== undefined;
  return { identity: decodeIdentity(bytes), identityDamage: undefined, keepsMetadata };
}

async function newestCompactions(store: ObjectStore): Promise<number | undefined> {
  let newest: number | undefined;
  for await (const { path } of store.list(COMPACTIONS_PREFIX)) {
    const id = parseCompactionsPath(path);
    if (id !== undefined && (newest === undefined || id > newest)) newest = id;
  }
  return newest;
}
