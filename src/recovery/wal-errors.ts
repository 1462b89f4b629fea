/**
 * The errors for a log that cannot be replayed as it is.
 *
 * 1. Each lists everything that is wrong, not just the first thing; of more than `MAX_FINDINGS_PER_ERROR` the number.
 * 2. What is called missing is missing: no more objects are named than the range of the log lacks, and an end that is lost was after
 *    what is there.
 */

import { INSPECT_LOG, INSPECT_MANIFEST, makeHint, REPAIR_LOG, REPAIR_MANIFEST } from '../common/advice.ts';
import { assertThat } from '../common/assert.ts';
import { equalBytes } from '../common/bytes.ts';
import {
  type CorruptionError,
  MAX_FINDINGS_PER_ERROR,
  ManifestCorruptionError,
  RollbackError,
  WalCorruptionError,
} from '../common/errors.ts';
import { type Finding, makeFinding, WHOLE_OBJECT } from '../common/finding.ts';
import { parseWalPath, walPath } from '../format/object-names.ts';
import { type LoadedManifest, manifestFindingObject } from '../lsm/manifest/manifest-store.ts';
import { missingWalFinding, type WalReadResult } from '../lsm/wal/wal-object.ts';
import { greatestKnownSeq, type LogObject, misplacedIds, movedToOwnIds, pieceOf, withLogAdvice } from './log-damage.ts';
import { computeLogLoss, type LogLoss } from './wal-loss.ts';

const MANIFEST_HINT = makeHint(
  'Newer manifests are missing or not visible: look for them before anything else; what they named is still there.',
  'unknown',
  [INSPECT_MANIFEST, REPAIR_MANIFEST],
);

/**
 * Objects of the log from `from` on that know a newer manifest or epoch than the one in use: manifests are missing. `listedId`: the
 * highest id that is there. If it is above `newest`, a damaged manifest stands between, which a finding of its own is about: then only
 * what is above that one is missing, and an epoch, which the damaged one may have claimed, proves nothing.
 */
export function missingManifests(
  newest: LoadedManifest,
  results: Iterable<WalReadResult | undefined>,
  from: number,
  listedId = newest.id,
): RollbackError | undefined {
  let knownId = newest.id;
  let epoch = newest.manifest.writerEpoch;
  for (const r of results) {
    const identity = r?.seal?.identity;
    if (r === undefined || identity === undefined || r.id < from) continue;
    if (newest.seal !== undefined && !equalBytes(identity.databaseId, newest.seal.identity.databaseId)) continue;
    knownId = Math.max(knownId, identity.newestManifestId);
    epoch = Math.max(epoch, identity.epoch);
  }
  const isDamagedAbove = listedId > newest.id;
  if (knownId <= listedId && (isDamagedAbove || epoch === newest.manifest.writerEpoch)) return undefined;
  const finding = makeFinding({
    code: 'ROLLED_BACK',
    object: manifestFindingObject(newest.id, { sealed: newest.seal !== undefined }),
    at: WHOLE_OBJECT,
    expected: `manifest ${knownId} or later, writer epoch ${epoch} or later`,
    found: `manifest ${newest.id}, writer epoch ${newest.manifest.writerEpoch}`,
    hint: MANIFEST_HINT,
  });
  return new RollbackError(
    `The newest manifest is ${newest.id}, but the log was written by a process that knew manifest ${knownId} and epoch ${epoch}: manifests are missing. Nothing was changed.`,
    [finding],
    BigInt(knownId),
    BigInt(newest.id),
  );
}

/** The error for a database whose greatest sequence number is below the one that the caller has seen. */
export function olderThanExpected(newest: LoadedManifest, expected: bigint, found: bigint): RollbackError {
  const finding = makeFinding({
    code: 'ROLLED_BACK',
    object: manifestFindingObject(newest.id, { sealed: newest.seal !== undefined }),
    at: WHOLE_OBJECT,
    expected: `sequence number ${expected} or higher (option expectAtLeast)`,
    found: `sequence number ${found}`,
    hint: MANIFEST_HINT,
  });
  return new RollbackError(
    `The database ends with sequence number ${found}, but the caller has seen ${expected} (option expectAtLeast): its newest state is missing. Nothing was changed.`,
    [finding],
    expected,
    found,
  );
}

/** With more ids missing than this, numbers in the manifest or in names are wrong; they are not asked for one by one. */
export const MAX_MISSING_OBJECTS = 10_000;

/** The error for a range in which more ids are missing than any store can have lost one by one. */
export function manyMissing(
  newest: LoadedManifest,
  listed: ReadonlyMap<number, unknown>,
  lastListed: number,
  end: number,
): CorruptionError {
  const after = newest.manifest.replayAfterWalId;
  if (lastListed - after === listed.size) return tailLost(newest, lastListed, end, []);
  const missing: number[] = [];
  for (let id = after + 1; missing.length < MAX_FINDINGS_PER_ERROR; id++) if (!listed.has(id)) missing.push(id);
  const total = end - after - listed.size;
  assertThat(missing.length <= total, 'no more objects are named as missing than are missing (wal-errors 2)');
  return new WalCorruptionError(
    `The log is damaged: ${total} of the WAL objects ${after + 1} to ${end} are missing, the first is ${walPath(missing[0])}. Nothing was read or changed.`,
    missing.map((id) => withLogAdvice(missingWalFinding(id), undefined)),
    {
      replayAfter: BigInt(after),
      end: BigInt(end),
      damagedIds: [],
      missingIds: missing.map(BigInt),
      lostSeqs: [],
      recoverableRows: 0,
    },
    { total },
  );
}

/** Last id before the first one that a finding is about. */
export function lastSoundId(end: number, errors: readonly Finding[]): number {
  return errors.reduce((last, f) => Math.min(last, (parseWalPath(f.object.path) ?? end + 1) - 1), end);
}

/** Whether nothing is wrong but that the last objects are missing, of which only the manifest knows. */
export function isMissingTail(errors: readonly Finding[], lastThere: number, end: number): boolean {
  return errors.length === end - lastThere && errors.every((f) => f.code === 'MISSING_OBJECT');
}

export function rowWouldBeHidden(
  { id, manifest, sizeBytes }: LoadedManifest,
  row: { walId: number; seq: number; createTs: number },
  others: readonly Finding[] = [],
): ManifestCorruptionError {
  const { lastL0Seq, lastL0ClockTick } = manifest;
  const finding = makeFinding({
    code: 'MANIFEST_INCONSISTENT',
    object: manifestFindingObject(id, { size: sizeBytes }),
    at: { unit: 'object', offset: 0, length: sizeBytes },
    expected: `last_l0_seq below ${row.seq}, or last_l0_clock_tick at or above ${row.createTs}`,
    found: `last_l0_seq ${lastL0Seq}, last_l0_clock_tick ${lastL0ClockTick}`,
  });
  return new ManifestCorruptionError(
    `The newest manifest is damaged: ${finding.object.path} says that all rows up to sequence number ${lastL0Seq} are in tables, but row ${row.seq} of WAL object ${row.walId} is newer than any row of a table; it would be missing.${others.length === 0 ? '' : ` The log is damaged, too: ${others.length} findings.`} Nothing was changed.`,
    [finding, ...others],
  );
}

export function tailLost(
  newest: LoadedManifest,
  lastThere: number,
  end: number,
  errors: readonly Finding[],
): RollbackError {
  assertThat(lastThere < end, 'the end of a log that is lost was after what is there (wal-errors 2)');
  const finding = makeFinding({
    code: 'ROLLED_BACK',
    object: manifestFindingObject(newest.id, { sealed: newest.seal !== undefined }),
    at: WHOLE_OBJECT,
    expected: `WAL objects up to ${end}`,
    found: `WAL objects up to ${lastThere}`,
    hint: makeHint(
      `WAL objects ${lastThere + 1} to ${end} are gone: check whether they were moved or hidden. Repairing goes on without them.`,
      'possible',
      [INSPECT_LOG, REPAIR_LOG],
    ),
  });
  return new RollbackError(
    `Manifest ${newest.id} knows WAL objects up to ${end}, but the log ends with ${lastThere}: its newest objects are missing. Nothing was changed.`,
    [finding, ...errors],
    BigInt(end),
    BigInt(lastThere),
  );
}

/** One error that lists everything; each finding says what is left of its object. */
export function walDamage(
  newest: LoadedManifest,
  from: number,
  errors: readonly Finding[],
  objects: readonly LogObject[],
): WalCorruptionError {
  const end = from + objects.length - 1;
  const damaged = new Set<number>();
  const missing: bigint[] = [];
  const findings = errors.map((f) => {
    const id = parseWalPath(f.object.path);
    if (id === undefined) return f;
    if (f.code === 'MISSING_OBJECT') missing.push(BigInt(id));
    else damaged.add(id);
    return withLogAdvice(f, objects[id - from]?.salvaged);
  });
  const loss = lossOf(newest, from, findings, objects);
  const known = loss.lostRows === 0 ? 'none is lost' : `${loss.lostRows} are lost`;
  const lost = loss.lostExact ? known : 'others may be lost';
  const [first] = findings;
  return new WalCorruptionError(
    `The log is damaged: ${findings.length} finding${findings.length === 1 ? '' : 's'} in WAL objects ${from} to ${end}, first ${first === undefined ? 'an object that changed while it was read' : `${first.code} in ${first.object.path}`}. ${loss.keptRows.total} rows can be kept, ${lost}. Nothing was changed.`,
    findings,
    {
      replayAfter: BigInt(from - 1),
      end: BigInt(end),
      damagedIds: [...damaged].sort((a, b) => a - b).map(BigInt),
      missingIds: missing,
      lostSeqs: loss.lostSeqs.map(({ min, max }) => ({ min: BigInt(min), max: BigInt(max) })),
      recoverableRows: loss.keptRows.total,
      ...(loss.lostExact && { lostRows: loss.lostRows }),
    },
  );
}

/** What a repair with its default options would keep. */
function lossOf(
  newest: LoadedManifest,
  from: number,
  findings: readonly Finding[],
  objects: readonly LogObject[],
): LogLoss {
  const floorSeq = newest.manifest.lastL0Seq;
  const misplaced = misplacedIds(findings);
  const placed = movedToOwnIds(objects, from, newest.seal?.identity.databaseId);
  const pieces = placed.map((o, i) => pieceOf(o, misplaced.has(from + i), floorSeq, 'probable'));
  const knownSeq = greatestKnownSeq(newest, objects);
  return computeLogLoss(pieces, { floorSeq, knownSeq, keepPartial: false, truncate: false });
}
