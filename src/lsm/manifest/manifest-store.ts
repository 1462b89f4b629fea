/**
 * Manifest objects as they are stored: listing, reading, verifying, sealing. What to write and when is decided by
 * `ManifestLog` and by the opening procedure.
 *
 * Invariants:
 * 1. A manifest is trusted only if its seal covers it (sealed) or, unsealed, if it decodes and breaks no rule.
 * 2. Every manifest written here is sealed, names its predecessor's digest, reads back as it was meant, and is never overwritten.
 */
import { assertThat } from '../../common/assert.ts';
import { equalBytes } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
import { damage, locate } from '../../common/damage.ts';
import { CorruptionError, IncompatibleError, isCorruption } from '../../common/errors.ts';
import { type FindingObject, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import { makeUlid, type Ulid } from '../../common/ulid.ts';
import { decodeManifest, encodeManifest } from '../../format/manifest-codec.ts';
import type { Manifest } from '../../format/manifest-types.ts';
import {
  idText,
  MANIFEST_BOUNDARY_PATH,
  MANIFEST_PREFIX,
  manifestPath,
  parseManifestPath,
} from '../../format/object-names.ts';
import {
  appendManifestSeal,
  decodeManifestSeal,
  decodeSeal,
  findManifestSeal,
  objectDigest,
  type Seal,
} from '../../format/seal.ts';
import { numberObjectId, type RepairRecord } from '../../format/seal-records.ts';
import { healManifest, isContentProven } from '../../format/section-healing.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { readTwice, tooNew } from '../table/verified-read.ts';
import type { Author } from './author.ts';
import type { BoundaryLook } from './boundary-file.ts';
import { dateByList, type Stamp } from './epoch-guard.ts';
import { brokenRules } from './manifest-rules.ts';

export interface LoadedManifest {
  id: number;
  manifest: Manifest;
  seal: Seal | undefined;
  /** First 16 bytes of the SHA-256 of the whole object. */
  digest: Uint8Array;
  sizeBytes: number;
}

/** What a manifest says about the newest WAL object known to be durable. */
export interface TailWitness {
  id: number;
  lastSeq: number;
  digest: Uint8Array;
}

export const NO_WITNESS: TailWitness = { id: 0, lastSeq: 0, digest: new Uint8Array(16) };

/** Ids listed under `manifest/`, ascending; at or above `from` if that is given. `stamp`, taken before, is dated by the answer. */
export async function listManifestIds(store: ObjectStore, from?: number, stamp?: Stamp): Promise<number[]> {
  const startAfter = from === undefined || from <= 1 ? undefined : manifestPath(from - 1);
  const ids: number[] = [];
  let isDated = false;
  for await (const object of store.list(MANIFEST_PREFIX, startAfter === undefined ? {} : { startAfter })) {
    if (stamp !== undefined && !isDated) dateByList(stamp, object);
    isDated = true;
    const id = parseManifestPath(object.path);
    if (id !== undefined) ids.push(id);
  }
  return ids.sort((a, b) => a - b);
}

/** When each listed manifest was written, by the clock of the store. */
export async function listManifestTimes(store: ObjectStore): Promise<Map<number, number>> {
  const modifiedMs = new Map<number, number>();
  for await (const { path, lastModifiedMs } of store.list(MANIFEST_PREFIX)) {
    const id = parseManifestPath(path);
    if (id !== undefined) modifiedMs.set(id, lastModifiedMs);
  }
  return modifiedMs;
}

/** For the rule between the boundary of the manifests and the newest of them. */
export function manifestBoundaryLook(store: ObjectStore, clock: Clock): BoundaryLook {
  return { store, clock, path: MANIFEST_BOUNDARY_PATH, listIds: (from) => listManifestIds(from) };
}

export function manifestFindingObject(id: number, more: Partial<FindingObject> = {}): FindingObject {
  return { role: 'manifest', path: manifestPath(id), id: idText(id), sealed: false, ...more };
}

/** Verifies and decodes; throws a located `CorruptionError` or `IncompatibleError`. */
export function loadManifest(id: number, bytes: Uint8Array): LoadedManifest {
  let seal: Seal | undefined;
  try {
    const { manifest, bodyBytes } = decodeManifest(bytes);
    seal = decodeManifestSeal(bytes, bodyBytes, 'manifest');
    if (seal !== undefined) checkIdentity(id, seal, bodyBytes, bytes.length);
    const broken = brokenRules(manifest);
    if (broken.length > 0) {
      throw damage('MANIFEST_INCONSISTENT', { unit: 'object', offset: 0, length: bytes.length }, broken.join('; '));
    }
    return { id, manifest, seal, digest: objectDigest(bytes), sizeBytes: bytes.length };
  } catch (error) {
    const damaged = error instanceof IncompatibleError ? brokenSeal(bytes) : error;
    if (!isCorruption(damaged)) throw error instanceof IncompatibleError ? tooNew(manifestPath(id), error) : error;
    const object = manifestFindingObject(id, { size: bytes.length, sealed: seal !== undefined });
    throw locate(damaged, { object, during: 'open' });
  }
}

/** What was made of a damaged manifest. */
export interface RepairedManifest {
  loaded: LoadedManifest;
  /** Bytes that were changed. */
  changes: number;
  /**
   * `content`: the body is proven by its hash, but the rest of its seal is not; `loaded` has no seal then,
   * and the digest of the stored bytes.
   */
  trust: 'proven' | 'probable' | 'content';
}

/** A damaged manifest as it was before up to four of its bytes changed, if its checks determine it; else its body, if that is proven. */
export function repairManifestBytes(id: number, bytes: Uint8Array): RepairedManifest | undefined {
  try {
    const healed = healManifest(bytes);
    if (healed === undefined) return repairByContent(id, bytes);
    return { loaded: loadManifest(id, healed.stored), changes: healed.changes.length, trust: healed.trust };
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    return undefined;
  }
}

function repairByContent(id: number, bytes: Uint8Array): RepairedManifest | undefined {
  const { bodyBytes } = decodeManifest(bytes);
  if (!isContentProven(bytes, bodyBytes, id)) return undefined;
  const body = loadManifest(id, bytes.subarray(0, bodyBytes));
  return {
    loaded: { ...body, digest: objectDigest(bytes), sizeBytes: bytes.length },
    changes: 0,
    trust: 'content',
  };
}

/** A sound manifest of this database whose seal says that it belongs elsewhere: it can still show epochs. */
export function loadMisplaced(bytes: Uint8Array, databaseId: Uint8Array): LoadedManifest | undefined {
  const range = findManifestSeal(bytes);
  if (range === undefined) return undefined;
  try {
    const { identity } = decodeSeal(bytes, range.start, range.end, ['manifest']);
    if (!equalBytes(identity.databaseId, databaseId)) return undefined;
    return loadManifest(identity.newestManifestId, bytes);
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    return undefined;
  }
}

/** What makes an unknown form damage: a seal that the bytes do not match. */
function brokenSeal(bytes: Uint8Array): unknown {
  const range = findManifestSeal(bytes);
  if (range === undefined) return undefined;
  try {
    decodeSeal(bytes, range.start, range.end, ['manifest']);
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Reads a manifest again, at once, before it is called damaged; undefined if it is gone. */
export async function readManifest(store: ObjectStore, id: number): Promise<LoadedManifest | undefined> {
  return readTwice(store, manifestPath(id), (got) => loadManifest(id, got.bytes));
}

/** The same where one that cannot be used is as good as none: damaged, or of a newer form. */
export async function readGoodManifest(store: ObjectStore, id: number): Promise<LoadedManifest | undefined> {
  try {
    return await readManifest(store, id);
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

function checkIdentity(id: number, seal: Seal, start: number, end: number): void {
  const { objectId } = seal.identity;
  if (equalBytes(objectId, numberObjectId(id))) return;
  throw damage(
    'IDENTITY_MISMATCH',
    { unit: 'seal', offset: start, length: end - start },
    'another object is stored under this name',
    {
      expected: `manifest ${id}`,
      found: `manifest ${new DataView(objectId.buffer, objectId.byteOffset, 16).getBigUint64(8)}`,
    },
  );
}

export interface SealedManifest {
  bytes: Uint8Array;
  putId: Ulid;
}

export interface SealManifestInput {
  id: number;
  manifest: Manifest;
  /** undefined: the first manifest of a database. */
  previous: LoadedManifest | undefined;
  author: Author;
  epoch: number;
  witness: TailWitness;
  cleanClose?: boolean;
  /** Written into manifests that claim an epoch. */
  claims?: boolean;
  /** Version of the ledger of losses that goes with this manifest; the predecessor's if absent. */
  ledgerVersion?: number;
  /** The repair that this manifest makes count. */
  repair?: RepairRecord;
}

/** Encodes and seals a manifest, and reads it back before anyone else can. */
export function sealManifest(input: SealManifestInput): SealedManifest {
  const { id, manifest, previous, author } = input;
  assertThat(
    previous === undefined || previous.id < id,
    'a manifest follows the one that it names as the one before it',
  );
  const broken = brokenRules(manifest);
  if (broken.length > 0)
    throw new CorruptionError(`refusing to write manifest ${id}: ${broken.join('; ')}`, [brokenFinding(id)]);
  const body = encodeManifest(manifest);
  const putId = makeUlid(author.clock.nowMs(), author.random);
  const bytes = appendManifestSeal(body, {
    kind: 'manifest',
    identity: author.identity({ objectId: numberObjectId(id), putId, epoch: input.epoch, newestManifestId: id }),
    manifest: {
      previousManifestId: previous?.id ?? 0,
      previousDigest: previous?.digest ?? new Uint8Array(16),
      walTail: input.witness,
      ledgerVersion: input.ledgerVersion ?? previous?.seal?.manifest?.ledgerVersion ?? 0,
      isCleanClose: input.cleanClose ?? false,
      isRepair: input.repair !== undefined,
    },
    ...(input.repair !== undefined && { repair: input.repair }),
    // A writer that is fenced by a repair sees its last manifest first.
    ...((input.claims === true || input.repair !== undefined) && { owner: { hostPid: author.owner } }),
  });
  const stored = loadManifest(id, bytes);
  const { lastL0Seq, replayAfterWalId, writerEpoch } = stored.manifest;
  assertThat(
    stored.seal !== undefined && equalBytes(stored.seal.identity.objectId, numberObjectId(id)),
    'it is sealed',
  );
  const isSame =
    lastL0Seq === manifest.lastL0Seq &&
    replayAfterWalId === manifest.replayAfterWalId &&
    writerEpoch === manifest.writerEpoch;
  assertThat(isSame, 'a manifest reads back as it was meant before it is stored (manifest-store 2)', { id });
  return { bytes, putId };
}

function brokenFinding(id: number) {
  return makeFinding({
    code: 'MANIFEST_INCONSISTENT',
    object: manifestFindingObject(id),
    at: WHOLE_OBJECT,
    origin: 'before-upload',
  });
}
