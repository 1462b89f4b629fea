/**
 * Compactions files as they are stored: listing, reading, verifying, sealing. What to write and when is decided by `CompactionsLog`.
 *
 * Invariants:
 * 1. A file is trusted only if its seal covers it, if it has one, and names it.
 * 2. Every file written here is sealed, decodes, and is never overwritten.
 */
import { COMPACT, DOCTOR, type Hint, makeHint, nameOf } from '../../common/advice.ts';
import { assertThat } from '../../common/assert.ts';
import { equalBytes } from '../../common/bytes.ts';
import type { Clock } from '../../common/clock.ts';
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
import { type BoundaryLook, findTooHighBoundary, readBoundary } from './boundary-file.ts';
import { dateByList, type Stamp } from './epoch-guard.ts';
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
    const { message, findings, details } = locate(error, { object, during: 'check' });
    const hint = compactionsHint(object.path);
    const located = findings.map((f) => ({ ...f, severity: 'warning' as const, hint }));
    throw new CorruptionError(message, located, { details, hint });
  }
}

/** What to do about a damaged compactions file. A warning: no row depends on it (compactions-log 3). */
export function compactionsHint(path: string): Hint {
  return makeHint(
    `No row depends on ${path}. If it is the newest, no table is collected until the next compaction writes another one, without the jobs that it named; those that compact go on by themselves.`,
    'none',
    [COMPACT],
  );
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
  tooHigh: (store, clock, id, boundary) => findTooHighBoundary(compactionsBoundaryLook(store, clock), id, boundary),
  vanished,
};

/** For the rule between the boundary of the compactions files and the newest of them. */
export function compactionsBoundaryLook(store: ObjectStore, clock: Clock): BoundaryLook {
  return { store, clock, path: COMPACTIONS_BOUNDARY_PATH, listIds: (from) => listCompactionsIds(from) };
}

/** `id` 0: there was none yet when this compactor began. */
function vanished(store: ObjectStore, id: number): CorruptionError {
  const isFirst = id === 0;
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object: compactionsFindingObject(id, isFirst ? { path: COMPACTIONS_PREFIX, id: '' } : {}),
    at: WHOLE_OBJECT,
    during: 'check',
    remedy: 'none',
  });
  const what = isFirst
    ? `no file is in ${COMPACTIONS_PREFIX}, although the first one was just written`
    : `no file from ${compactionsPath(id)} on, where this compactor works, is there any more`;
  const message = `${store.name}: ${what}: the database was deleted or moved. Find out what deletes objects here, then check with \`${nameOf(DOCTOR)}\`.`;
  return new CorruptionError(message, [finding]);
}

/** Another compactor has the epoch. `where`: the object that says so. */
export function compactorFenced(where: string, stored: number, epoch: number, owner: string | undefined): FencedError {
  return new FencedError(
    'COMPACTOR_FENCED',
    `Another compactor${owner === undefined ? '' : ` (${owner})`} has taken over this database: ${where} has compactor epoch ${stored}, ours is ${epoch}. This one stops; reads and writes go on.`,
    { details: { owner, epoch, takenBy: stored } },
  );
}
