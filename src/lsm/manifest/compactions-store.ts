/**
 * Compactions files as they are stored: listing, reading, verifying, sealing. What to write and when is decided by `CompactionsLog`.
 *
 * Invariants:
 * 1. A file is trusted only if its seal covers it, if it has one, and names it.
 * 2. Every file written here is sealed, decodes, and is never overwritten.
 */
import { assertThat } from '../../common/assert.ts';
import { equalBytes } from '../../common/bytes.ts';
import { damage, locate } from '../../common/damage.ts';
import { CorruptionError, FencedError, IncompatibleError, isCorruption } from '../../common/errors.ts';
import { type FindingObject, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import { makeUlid } from '../../common/ulid.ts';
import { type Compactions, decodeCompactions, encodeCompactions } from '../../format/compactions-codec.ts';
import type { RunningJob } from '../../format/jobs-record.ts';
import {
  COMPACTIONS_BOUNDARY_PATH,
  COMPACTIONS_PREFIX,
  compactionsPath,
  idText,
  parseCompactionsPath,
} from '../../format/object-names.ts';
import { appendManifestSeal, decodeManifestSeal, type Seal } from '../../format/seal.ts';
import { numberObjectId } from '../../format/seal-records.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { readTwice, tooNew } from '../table/verified-read.ts';
import type { Author } from './author.ts';
import { dateByList, type Stamp } from './epoch-guard.ts';
import { readBoundary } from './manifest-store.ts';
import type { NextVersion, VersionedForm } from './versioned-log.ts';

export interface LoadedCompactions {
  id: number;
  compactions: Compactions;
  /** Absent in a file of SlateDB. */
  seal: Seal | undefined;
}

/** Ids listed under `compactions/`, ascending; at or above `from` if that is given. One LIST, which dates `stamp`, taken before. */
export async function listCompactionsIds(store: ObjectStore, from = 1, stamp?: Stamp): Promise<number[]> {
  const ids: number[] = [];
  let isDated = false;
  for await (const object of store.list(
    COMPACTIONS_PREFIX,
    from <= 1 ? {} : { startAfter: compactionsPath(from - 1) },
  )) {
    if (stamp !== undefined && !isDated) dateByList(stamp, object);
    isDated = true;
    const id = parseCompactionsPath(object.path);
    if (id !== undefined) ids.push(id);
  }
  return ids.sort((a, b) => a - b);
}

/** The highest id of a compactions file; undefined: there is none. One LIST. */
export async function findNewestCompactions(store: ObjectStore): Promise<number | undefined> {
  return (await listCompactionsIds(store)).at(-1);
}

function compactionsFindingObject(id: number, more: Partial<FindingObject> = {}): FindingObject {
  return { role: 'compactions', path: compactionsPath(id), id: idText(id), sealed: false, ...more };
}

/** Verifies and decodes; throws a located `CorruptionError` or `IncompatibleError`. */
function loadCompactions(id: number, bytes: Uint8Array): LoadedCompactions {
  let seal: Seal | undefined;
  try {
    const { compactions, bodyBytes } = decodeCompactions(bytes);
    seal = decodeManifestSeal(bytes, bodyBytes, 'compactions');
    if (seal !== undefined && !equalBytes(seal.identity.objectId, numberObjectId(id))) {
      const at = { unit: 'seal' as const, offset: bodyBytes, length: bytes.length - bodyBytes };
      throw damage('IDENTITY_MISMATCH', at, 'another object is stored under this name');
    }
    return { id, compactions, seal };
  } catch (error) {
    if (error instanceof IncompatibleError) throw tooNew(compactionsPath(id), error);
    if (!isCorruption(error)) throw error;
    const object = compactionsFindingObject(id, { size: bytes.length, sealed: seal !== undefined });
    throw locate(error, { object, during: 'check' });
  }
}

/** The content of a compactions file. */
export interface JobsFile {
  compactions: Compactions;
  /** The jobs on which its author works itself (jobs-record.ts); of a file without a seal none are known. */
  running: readonly RunningJob[];
}

export function jobsOf({ compactions, seal }: LoadedCompactions): JobsFile {
  return { compactions, running: seal?.jobs?.jobs ?? [] };
}

export interface SealCompactionsInput extends JobsFile {
  id: number;
  author: Author;
  epoch: number;
  newestManifestId: number;
}

/** Encodes and seals a compactions file, and reads it back before anyone else can. */
export function sealCompactions({
  id,
  compactions,
  running,
  author,
  epoch,
  newestManifestId,
}: SealCompactionsInput): NextVersion {
  const putId = makeUlid(author.clock.nowMs(), author.random);
  const identity = author.identity({ objectId: numberObjectId(id), putId, epoch, newestManifestId });
  const bytes = appendManifestSeal(encodeCompactions(compactions), {
    kind: 'compactions',
    identity,
    ...(running.length > 0 && { jobs: { jobs: running } }),
  });
  const stored = loadCompactions(id, bytes);
  assertThat(stored.seal !== undefined, 'a file that is written here is sealed (compactions-store 2)');
  const isSame =
    stored.compactions.jobs.length === compactions.jobs.length &&
    stored.compactions.compactorEpoch === compactions.compactorEpoch &&
    jobsOf(stored).running.length === running.length;
  assertThat(isSame, 'a file reads back as it was meant before it is stored (compactions-store 2)', { id });
  return { bytes, putId };
}

/** What a log of versions has to know of compactions files. */
export const COMPACTIONS_FORM: VersionedForm<LoadedCompactions> = {
  noun: 'compactions file',
  plural: 'the compactions files',
  path: compactionsPath,
  listIds: listCompactionsIds,
  load: loadCompactions,
  read: (store, id) => readTwice(store, compactionsPath(id), ({ bytes }) => loadCompactions(id, bytes)),
  readBoundary: (store) => readBoundary(store, COMPACTIONS_BOUNDARY_PATH),
  vanished,
};

function vanished(store: ObjectStore, id: number): CorruptionError {
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object: compactionsFindingObject(id),
    at: WHOLE_OBJECT,
    during: 'check',
    remedy: 'none',
  });
  return new CorruptionError(
    `${store.name}: compactions file ${id}, on which this compactor works, is gone, and no newer one is there: the database was deleted or moved.`,
    [finding],
  );
}

/** Another compactor has the epoch. `where`: the object that says so. */
export function compactorFenced(where: string, stored: number, epoch: number, owner: string | undefined): FencedError {
  return new FencedError(
    'COMPACTOR_FENCED',
    `Another compactor${owner === undefined ? '' : ` (${owner})`} has taken over this database: ${where} has compactor epoch ${stored}, ours is ${epoch}. This one stops; reads and writes go on.`,
    { details: { owner, epoch, takenBy: stored } },
  );
}
