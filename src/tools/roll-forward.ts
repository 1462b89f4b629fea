/**
 * Going on from an older manifest whose log was already collected: the tables that newer, lost manifests named are taken up
 * again, oldest first.
 *
 * A table that nothing names may also be a fenced writer's, whose rows never were durable and whose sequence numbers were used
 * again. So one is adopted only if it is sealed, continues exactly where the tables so far end, overlaps no other, was written
 * by the epoch whose log objects it replaces, and that part of the log is gone: where the log is whole it is replayed instead.
 * Nothing else is trusted: an unsealed table is never adopted.
 */
import { present } from '../common/assert.ts';
import type { Manifest } from '../format/manifest-types.ts';
import type { LevelZeroLineage } from '../format/seal-records.ts';
import { ownTables } from '../lsm/manifest/live-set.ts';
import { addFlushedRows } from '../lsm/manifest/manifest-edits.ts';
import type { LoggedObject, LogSurvey, ManifestSurvey, OrphanTable } from './manifest-survey.ts';

export interface RollForward {
  manifest: Manifest;
  adopted: OrphanTable[];
  /** Why the rest may be damage, as sentences; empty if nothing acknowledged is missing. */
  open: string[];
}

interface Candidate {
  table: OrphanTable;
  lineage: LevelZeroLineage;
  epoch: number;
}

/** Adopts what may be adopted, and says what then is still missing. */
export function rollForward(survey: ManifestSurvey, base: Manifest): RollForward {
  const candidates = survey.orphans.flatMap(candidateOf).sort((a, b) => a.lineage.minSeq - b.lineage.minSeq);
  const adopted: OrphanTable[] = [];
  let manifest = base;
  let epoch = 0;
  for (const candidate of candidates) {
    if (!mayAdopt(candidate, manifest, epoch, candidates, survey.log)) continue;
    manifest = withTable(manifest, candidate);
    epoch = candidate.epoch;
    adopted.push(candidate.table);
  }
  return { manifest, adopted, open: stillOpen(survey, manifest, adopted) };
}

function candidateOf(table: OrphanTable): Candidate[] {
  const seal = table.tail?.seal;
  const lineage = seal?.lineage;
  return lineage?.level === 'l0' && seal?.identity.role === 'writer'
    ? [{ table, lineage, epoch: seal.identity.epoch }]
    : [];
}

function mayAdopt(
  candidate: Candidate,
  manifest: Manifest,
  epochSoFar: number,
  all: readonly Candidate[],
  log: LogSurvey,
): boolean {
  const { lineage, epoch } = candidate;
  if (lineage.minSeq !== manifest.lastL0Seq + 1 || epoch < epochSoFar) return false;
  if (lineage.maxSeq < lineage.minSeq) return false;
  const overlaps = (c: Candidate) =>
    c !== candidate && c.lineage.minSeq <= lineage.maxSeq && c.lineage.maxSeq >= lineage.minSeq;
  if (all.some(overlaps)) return false;
  const { replayAfterWalId } = lineage;
  if (replayAfterWalId < manifest.replayAfterWalId) return false;
  // What is whole is replayed: it says the same, and more surely.
  if (replayAfterWalId > manifest.replayAfterWalId && isWhole(log, manifest.replayAfterWalId, replayAfterWalId)) {
    return false;
  }
  for (const object of log.objects.values()) {
    if (object.rows > 0 && !agrees(object, candidate)) return false;
  }
  return true;
}

/** Whether an object of the log can stand beside an adopted table. */
function agrees(object: LoggedObject, { lineage, epoch }: Candidate): boolean {
  if (object.id > lineage.replayAfterWalId) return object.minSeq > lineage.maxSeq && object.epoch >= epoch;
  return object.minSeq >= lineage.minSeq && object.maxSeq <= lineage.maxSeq && object.epoch === epoch;
}

function withTable(m: Manifest, { table, lineage }: Candidate): Manifest {
  return addFlushedRows(m, {
    views: [
      { viewId: table.id, table: present(table.tail, 'a candidate has a readable end').ref, visibleRange: undefined },
    ],
    replayAfterWalId: lineage.replayAfterWalId,
    walIdLastSeen: lineage.replayAfterWalId,
    lastSeq: lineage.maxSeq,
    maxCreateTs: lineage.maxCreateTs,
  });
}

/** Every object of `(after, to]` is there and sound. */
export function isWhole({ objects }: LogSurvey, after: number, to: number): boolean {
  for (let id = after + 1; id <= to; id++) if (objects.get(id)?.isSound !== true) return false;
  return true;
}

/** What contradicts the manifest as the newest state: log objects that are gone, tables that may hold more than the log. */
export function stillOpen(survey: ManifestSurvey, manifest: Manifest, adopted: readonly OrphanTable[]): string[] {
  const { log, tables } = survey;
  const open: string[] = [];
  const gone: number[] = [];
  for (let id = manifest.replayAfterWalId + 1; id <= log.end && gone.length < 1000; id++) {
    if (!log.objects.has(id)) gone.push(id);
  }
  if (gone.length > 0)
    open.push(`the log has no object ${gone.slice(0, 20).join(', ')}${gone.length > 20 ? ', …' : ''}`);
  for (const { id } of ownTables(manifest)) {
    if (!tables.has(id)) open.push(`table ${id}, which it names, is gone`);
  }
  const logged = [...log.objects.values()].reduce((seq, o) => Math.max(seq, o.maxSeq), manifest.lastL0Seq);
  for (const table of survey.orphans) {
    if (adopted.includes(table)) continue;
    if (table.maxSeq === undefined) open.push(`table ${table.id} cannot be read`);
    else if (table.maxSeq > logged) {
      open.push(
        `table ${table.id} holds rows up to sequence number ${table.maxSeq}, the log and the tables only up to ${logged}`,
      );
    }
  }
  return open;
}
