/**
 * The boundary files of collectors, `gc/manifest.boundary` and `gc/compactions.boundary`, as they are stored: reading them, what their damage
 * means, and the one rule between such a file and the numbered files of its kind.
 *
 * Invariants:
 * 1. The newest file of a kind is above its boundary: a collector keeps the newest, and raises the boundary to what it deletes. A boundary at
 *    or above it is damage, or newer files are gone.
 * 2. That is concluded only from files that were listed after the boundary was read, and several times: others may have written files, and
 *    another collector may have raised the boundary above the newest that was seen.
 * 3. Severity: of the manifests an error, as no opening goes on below it; of the compactions files a warning, as no row depends on them,
 *    but nothing is compacted until it is right again.
 */

import {
  type Hint,
  INSPECT_MANIFEST,
  LIST_MANIFESTS,
  makeHint,
  PLAN_COLLECTION,
  REPAIR_MANIFEST,
} from '../../common/advice.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { locate } from '../../common/damage.ts';
import { CorruptionError, isCorruption, ManifestCorruptionError } from '../../common/errors.ts';
import { type Finding, type FindingObject, makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import { asSentence } from '../../common/sentence.ts';
import { decodeBoundary } from '../../format/boundary.ts';
import {
  BOUNDARY_PREFIX,
  COMPACTIONS_PREFIX,
  MANIFEST_BOUNDARY_PATH,
  MANIFEST_PREFIX,
} from '../../format/object-names.ts';
import type { GetResult, ObjectStore } from '../../store/object-store.ts';
import { readTwice } from '../table/verified-read.ts';

/** A boundary file, or that there is none. */
export interface Boundary {
  exists: boolean;
  /** The highest id that a collector may have deleted; 0 where there is no file. */
  value: number;
  /** For who replaces it; undefined where there is no file. */
  etag: string | undefined;
}

/** A boundary file; that of the manifests if no other is named. */
export function boundaryFindingObject(path = MANIFEST_BOUNDARY_PATH, more: Partial<FindingObject> = {}): FindingObject {
  return { role: 'boundary', path, id: path.slice(BOUNDARY_PREFIX.length), sealed: false, ...more };
}

/** The boundary of the manifests if no other file is named. One GET, two if it is damaged. */
export async function readBoundary(store: ObjectStore, path = MANIFEST_BOUNDARY_PATH): Promise<Boundary> {
  const read = await readTwice(store, path, (got) => ({ value: decodeStoredBoundary(got, path), etag: got.etag }));
  return read === undefined ? { exists: false, value: 0, etag: undefined } : { exists: true, ...read };
}

function decodeStoredBoundary({ bytes, size }: GetResult, path: string): number {
  try {
    return decodeBoundary(bytes);
  } catch (error) {
    if (!isCorruption(error)) throw error;
    const object = boundaryFindingObject(path, { size });
    const { details, findings, message } = locate(error, { object, during: 'open' });
    const hint = boundaryHint(path);
    const severity = boundarySeverity(path);
    throw new CorruptionError(
      `${asSentence(message)} ${hint.summary}`,
      findings.map((f) => ({ ...f, severity, hint })),
      { details, hint },
    );
  }
}

// ---- what its damage means

function isOfManifests(path: string): boolean {
  return path === MANIFEST_BOUNDARY_PATH;
}

/** How bad damage of a boundary file is (boundary-file 3). */
export function boundarySeverity(path: string): Finding['severity'] {
  return isOfManifests(path) ? 'error' : 'warning';
}

/** What to do about a boundary file that is no number, or too high. */
export function boundaryHint(path: string): Hint {
  const isManifests = isOfManifests(path);
  const folder = isManifests ? MANIFEST_PREFIX : COMPACTIONS_PREFIX;
  const costs = isManifests ? '' : ' Nothing is compacted, and no table is collected, until it is right again.';
  return makeHint(
    `Restore ${path} from a backup or an older version of the bucket, or write it again: the decimal number one below the lowest id in ${folder}, which is how far the collector can have come. Do not merely delete it: a process that stalled before a collection could then commit where no reader finds it.${costs}`,
    'none',
    // The lowest id; and whether the number fits.
    isManifests ? [LIST_MANIFESTS] : [PLAN_COLLECTION],
  );
}

/** The same where it is too high: newer manifests may also be gone, and a repair writes one above it. */
function tooHighHint(path: string): Hint {
  const hint = boundaryHint(path);
  if (!isOfManifests(path)) return hint;
  const summary = `If newer manifests are gone, restore them, or let a repair write one above the boundary from what is left. If only the boundary is wrong: ${hint.summary}`;
  return { ...hint, summary, lossIfRepaired: 'unknown', commands: [INSPECT_MANIFEST, REPAIR_MANIFEST] };
}

/** The damage of a boundary that is at or above the newest file of its kind, whose id is `newestId`. */
export function tooHighBoundary(
  path: string,
  value: number,
  newestId: number,
  during: Finding['during'] = 'check',
): CorruptionError {
  const isManifests = isOfManifests(path);
  const noun = isManifests ? 'manifest' : 'compactions file';
  const hint = tooHighHint(path);
  const finding = makeFinding({
    code: 'MANIFEST_INCONSISTENT',
    severity: boundarySeverity(path),
    object: boundaryFindingObject(path),
    at: WHOLE_OBJECT,
    expected: `below ${newestId}, the newest ${noun}`,
    found: String(value),
    during,
    hint,
  });
  const message = `${path}: the collector's boundary file says that ${noun} ${value} and all below it are deleted, but the newest ${noun} is ${newestId}. ${hint.summary}`;
  const fields = { hint, details: { path, boundary: value, newestId } };
  // Only that of the manifests ends a database that is open.
  return isManifests
    ? new ManifestCorruptionError(message, [finding], fields)
    : new CorruptionError(message, [finding], fields);
}

// ---- the rule

/** Reads after the first of a boundary that seems too high, and the wait before each. */
const BOUNDARY_READS_AGAIN = 3;
const BOUNDARY_READ_AGAIN_MS = 100;

export interface BoundaryLook {
  store: ObjectStore;
  clock: Clock;
  path: string;
  /** Ids of the files of this kind that are listed now; the last one is the newest. */
  listIds(store: ObjectStore): Promise<readonly number[]>;
}

/**
 * For a boundary that seems to be at or above the newest file of its kind: what is there where a further read says otherwise; undefined if
 * all agree (boundary-file 2). No more than three LISTs and GETs. Rejects with the damage of a boundary that is no number.
 */
export async function lookAboveBoundary({
  store,
  clock,
  path,
  listIds,
}: BoundaryLook): Promise<{ ids: readonly number[]; boundary: Boundary } | undefined> {
  for (let i = 0; i < BOUNDARY_READS_AGAIN; i++) {
    await sleep(clock, BOUNDARY_READ_AGAIN_MS);
    // In this order: a boundary that is read first is below a file that is listed after it, unless it is damaged.
    const boundary = await readBoundary(store, path);
    const ids = await listIds(store);
    const newestId = ids.at(-1);
    if (newestId !== undefined && newestId > boundary.value) return { ids, boundary };
  }
  return undefined;
}

/** The damage, if the boundary is at or above the newest file, of this id, also when both are looked at again. `boundary`: as it was read. */
export async function findTooHighBoundary(
  look: BoundaryLook,
  newestId: number,
  boundary: Pick<Boundary, 'exists' | 'value'>,
): Promise<CorruptionError | undefined> {
  if (!boundary.exists || newestId > boundary.value) return undefined;
  if ((await lookAboveBoundary(look)) !== undefined) return undefined;
  return tooHighBoundary(look.path, boundary.value, newestId);
}
