/**
 * What may go and why the rest stays: pure, from what a round has read. Every listed object is decided by itself, so a list of
 * millions needs no memory here.
 *
 * Rules; the first that holds keeps the object:
 * G1. Names that a database does not give to its objects, and small objects that are kept for good (identity, ledger, plans, reports,
 *     boundary files, the profile of the store), are not for a collector.
 * G2. What the live set needs stays (live-set.ts, L1 to L9), and the newest compactions file.
 * G3. A class that the round holds back stays whole: manifests and compactions files where no boundary file can be raised; what the plan
 *     of a repair may need that cannot be read; tables while the compactions files cannot be trusted.
 * G4. A table stays if its id is not older than every job of the compactions file: outputs are named after their job, and may not be
 *     named in any file yet. Without a compactions file, or without a job in it, no table goes.
 * G5. A table stays if its id is not older than the newest table of level 0, in the tree where that is the latest; the compactor's marker
 *     counts for a tree without one. Tables of level 0 get ascending ids and are committed in that order.
 * G6. Fences stay, or with `collect` where no boundary file exists: a writer that stalled long ago could otherwise get the place of a
 *     fence. Small objects of the log may be fences in the form of a table; until they are read they stay.
 * G7. What has no date is never old. Ages are by the clock of the store that has the object, in the answer that listed it.
 * G8. What has not reached the least age of its class stays.
 *
 * G4 and G5 are SlateDB's rules, so collectors of both kinds spare what writers and compactors of both kinds have under way.
 */
import { assertThat } from '../common/assert.ts';
import { isoTime } from '../common/clock.ts';
import type { GcClass } from '../common/collector-role.ts';
import { type Ulid, ulidTimeMs } from '../common/ulid.ts';
import type { Compactions } from '../format/compactions-codec.ts';
import { type Manifest, treesOf } from '../format/manifest-types.ts';
import {
  isDatabasePath,
  parseCompactionsPath,
  parseManifestPath,
  parseQuarantinePath,
  parseTablePath,
  parseWalPath,
  STORE_PROFILE_PATH,
} from '../format/object-names.ts';
import {
  type LiveSet,
  type OpenPlan,
  type Reason,
  reasonText,
  whyCopy,
  whyTable,
  whyWal,
} from '../lsm/manifest/live-set.ts';
import type { ListedObject, UnfinishedUpload } from '../store/object-store.ts';
import type { GcSettings } from './settings.ts';

const DAY_MS = 24 * 3_600_000;
/** A machine that slept for a night must still meet the fences of those that took over from it. */
const FENCE_AGE_MS = DAY_MS;
/** Longer than any upload takes. */
const UPLOAD_AGE_MS = DAY_MS;
/** A copy is evidence that people look for some time later. */
const COPY_AGE_MS = 30 * DAY_MS;

/** Larger objects of the log are no fences: those that this program writes have at most 401 bytes, with the longest name of an owner. */
const MAX_FENCE_BYTES = 512;

/** Why an object stays. Times are the store's, ms since the epoch. */
export type Stay =
  | { kind: 'foreign' }
  /** A small object that is never deleted. */
  | { kind: 'lasting' }
  | { kind: 'newest' }
  | { kind: 'needed'; by: readonly Reason[] }
  | { kind: 'no-if-match' }
  /** The boundary file at this path contradicts the newest file, or is no number. */
  | { kind: 'bad-boundary'; path: string }
  /** What this file names, which cannot be read. */
  | { kind: 'unknown'; path: string }
  | { kind: 'no-jobs' }
  | { kind: 'after-job'; cutoffMs: number }
  | { kind: 'after-l0'; cutoffMs: number }
  | { kind: 'fence' }
  | { kind: 'no-boundary' }
  | { kind: 'unread' }
  | { kind: 'undated' }
  | { kind: 'young'; dueMs: number };

/** What becomes of one object. */
export interface GcDecision {
  path: string;
  /** Undefined: nothing that a collector deletes. */
  class: GcClass | undefined;
  bytes: number;
  /** By the store's clock; undefined: it does not say. */
  ageMs: number | undefined;
  /** Undefined: it goes. */
  stays: Stay | undefined;
}

/** Times in ids, ms; a table at or after either stays. */
export interface TableCutoffs {
  /** Undefined: no job says what is under way. */
  jobsMs: number | undefined;
  l0Ms: number;
}

/** What decisions rest on. */
export interface GcRules {
  live: LiveSet;
  cutoffs: TableCutoffs;
  settings: Pick<GcSettings, 'minAgeMs' | 'fences'>;
  held: ReadonlyMap<GcClass, Stay>;
  /** Whether the boundary file of the manifests exists. */
  hasBoundary: boolean;
  /** Of small objects of the log, as far as they were read; one that cannot be read counts as a fence. */
  logKinds: ReadonlyMap<number, 'rows' | 'fence'>;
  /** The ledger of losses. */
  losses: Parameters<typeof whyCopy>[0];
  plans: readonly OpenPlan[];
}

/** G4 and G5, of the newest manifest and the newest compactions file. */
export function tableCutoffs(newest: Manifest, compactions: Compactions | undefined): TableCutoffs {
  const jobs = compactions?.jobs.map((job) => ulidTimeMs(job.id)) ?? [];
  const ofTrees = treesOf(newest).map(({ l0, lastCompacted }) => {
    if (l0.length > 0) return latest(l0.map((view) => view.table.id));
    return lastCompacted === undefined ? 0 : ulidTimeMs(lastCompacted);
  });
  return {
    jobsMs: jobs.length === 0 ? undefined : jobs.reduce((a, b) => Math.min(a, b)),
    l0Ms: ofTrees.reduce((a, b) => Math.max(a, b), 0),
  };
}

function latest(ids: readonly Ulid[]): number {
  return ids.reduce((timeMs, id) => Math.max(timeMs, ulidTimeMs(id)), 0);
}

// ---- one object

/** What becomes of an object as a list of the store shows it. Throws `FORMAT_TOO_NEW` for a number that is too large to be compared. */
export function decide(object: ListedObject, rules: GcRules): GcDecision {
  const { path, size: bytes, lastModifiedMs, storeTimeMs = 0 } = object;
  const isDated = storeTimeMs > 0 && lastModifiedMs > 0;
  const ageMs = isDated ? storeTimeMs - lastModifiedMs : undefined;
  const kind = kindOf(object, rules);
  const stays = kind.stays ?? tooYoung(ageMs, lastModifiedMs, kind.leastAgeMs) ?? kind.unread;
  return { path, class: kind.class, bytes, ageMs, stays };
}

/**
 * What becomes of an upload without an end: nothing can need it, since it is no object yet, and a process that is still at it fails and
 * begins another one. Of other programs' uploads nothing is known. By G1, G7 and G8; the bytes that it takes are not known.
 */
export function decideUpload(
  { path, startedMs, storeTimeMs }: UnfinishedUpload,
  { minAgeMs }: Pick<GcSettings, 'minAgeMs'>,
): GcDecision {
  const ageMs = storeTimeMs > 0 && startedMs > 0 ? storeTimeMs - startedMs : undefined;
  if (parseTablePath(path) === undefined)
    return { path, class: undefined, bytes: 0, ageMs, stays: { kind: 'foreign' } };
  return {
    path,
    class: 'upload',
    bytes: 0,
    ageMs,
    stays: tooYoung(ageMs, startedMs, Math.max(minAgeMs, UPLOAD_AGE_MS)),
  };
}

/** G7 and G8. */
function tooYoung(ageMs: number | undefined, lastModifiedMs: number, leastAgeMs: number): Stay | undefined {
  if (ageMs === undefined) return { kind: 'undated' };
  return ageMs < leastAgeMs ? { kind: 'young', dueMs: lastModifiedMs + leastAgeMs } : undefined;
}

interface Kind {
  class: GcClass | undefined;
  /** By G1 to G6, but for what is unread. */
  stays: Stay | undefined;
  /** It must be read before it can go; not while it is young. */
  unread?: Stay;
  leastAgeMs: number;
}

function kindOf(object: ListedObject, rules: GcRules): Kind {
  const { path } = object;
  const { minAgeMs } = rules.settings;
  const of = (name: GcClass, stays: Stay | undefined, leastAgeMs = minAgeMs): Kind => ({
    class: name,
    stays: stays?.kind === 'needed' ? stays : (rules.held.get(name) ?? stays),
    leastAgeMs: Math.max(minAgeMs, leastAgeMs),
  });
  const manifest = parseManifestPath(path);
  if (manifest !== undefined) return of('manifest', needed(rules.live.manifests.get(manifest)));
  const compactions = parseCompactionsPath(path);
  if (compactions !== undefined) return of('compactions', newestStays(compactions, rules.live.compactionsId));
  const table = parseTablePath(path);
  if (table !== undefined) return of('table', needed(whyTable(rules.live, table)) ?? underWay(table, rules.cutoffs));
  const copy = parseQuarantinePath(path);
  if (copy !== undefined) return of('copy', needed(whyKept(copy.repairId, rules)), COPY_AGE_MS);
  const walId = parseWalPath(path);
  if (walId === undefined) return { class: undefined, stays: { kind: unnamed(path) }, leastAgeMs: 0 };
  const stays = needed(whyWal(rules.live, walId));
  const logKind = object.size === 0 ? 'fence' : rules.logKinds.get(walId);
  if (logKind === 'fence') return of('fence', stays ?? fenceStays(rules), FENCE_AGE_MS);
  if (logKind === undefined && object.size <= MAX_FENCE_BYTES)
    return { ...of('log', stays), unread: { kind: 'unread' } };
  return of('log', stays);
}

function needed(by: readonly Reason[] = []): Stay | undefined {
  return by.length === 0 ? undefined : { kind: 'needed', by };
}

/** A list that is older than the newest file may be followed by one that shows later ones. */
function newestStays(id: number, newestId: number | undefined): Stay | undefined {
  return newestId === undefined || id >= newestId ? { kind: 'newest' } : undefined;
}

/** G4 and G5. */
function underWay(id: Ulid, { jobsMs, l0Ms }: TableCutoffs): Stay | undefined {
  if (jobsMs === undefined) return { kind: 'no-jobs' };
  const timeMs = ulidTimeMs(id);
  if (timeMs >= jobsMs) return { kind: 'after-job', cutoffMs: jobsMs };
  return timeMs >= l0Ms ? { kind: 'after-l0', cutoffMs: l0Ms } : undefined;
}

/** L8; the attempt at the repair that made a copy may be going on. */
function whyKept(repairId: string, { losses, plans }: GcRules): Reason[] {
  const open = plans.filter((plan) => plan.repairId === repairId);
  return [...whyCopy(losses, repairId), ...open.map(({ number }): Reason => ({ kind: 'plan', repairId, number }))];
}

/** G6. */
function fenceStays({ settings, hasBoundary }: GcRules): Stay | undefined {
  if (settings.fences === 'keep') return { kind: 'fence' };
  return hasBoundary ? undefined : { kind: 'no-boundary' };
}

/** G1. */
function unnamed(path: string): 'lasting' | 'foreign' {
  return isDatabasePath(path) || path === STORE_PROFILE_PATH ? 'lasting' : 'foreign';
}

// ---- what goes

/** Checked again for each object right before it is deleted: what these rules rest on was read in another moment than its list. */
export function assertMayGo(path: string, { live, cutoffs }: GcRules): void {
  const table = parseTablePath(path);
  if (table !== undefined) {
    const isOlder = ulidTimeMs(table) < Math.min(cutoffs.jobsMs ?? 0, cutoffs.l0Ms);
    assertThat(!live.tables.has(table) && isOlder, 'a table that goes is not needed, and nothing like it is under way');
  }
  const manifest = parseManifestPath(path);
  assertThat(manifest === undefined || !live.manifests.has(manifest), 'a manifest that goes is not needed');
  const compactions = parseCompactionsPath(path);
  assertThat(compactions === undefined || compactions < (live.compactionsId ?? 0), 'the newest compactions file stays');
  const walId = parseWalPath(path);
  assertThat(walId === undefined || whyWal(live, walId).length === 0, 'an object of the log that goes is not needed');
}

// ---- in words

/** As a sentence without its subject, which is the object. */
export function stayText(stays: Stay): string {
  switch (stays.kind) {
    case 'foreign':
      return 'is not named as an object of a database, so another program put it there; it is never touched';
    case 'lasting':
      return 'is kept for good';
    case 'newest':
      return 'is the newest of its kind';
    case 'needed':
      return `is needed by ${stays.by.map(reasonText).join('; ')}`;
    case 'no-if-match':
      return 'stays because the store does not honour If-Match, so that no boundary file can be raised';
    case 'bad-boundary':
      return `stays because ${stays.path} cannot be right`;
    case 'unknown':
      return `stays because ${stays.path}, which may name it, cannot be read`;
    case 'no-jobs':
      return 'stays because no compactions file names a job, so it is unknown which tables a compactor has under way';
    case 'after-job':
      return `may be under way: a job of a compactor began at ${isoTime(stays.cutoffMs)}, and the table is not older`;
    case 'after-l0':
      return stays.cutoffMs === 0
        ? 'may be under way: no table of level 0 was ever committed'
        : `may be under way: the newest table of level 0 is of ${isoTime(stays.cutoffMs)}, and this one is not older`;
    case 'fence':
      return 'is a fence, which keeps a writer that stalled from writing there (fences: "collect" deletes those that are a day old)';
    case 'no-boundary':
      return 'is a fence, and there is no boundary file yet by which a stalled writer would learn that it was deleted';
    case 'unread':
      return 'may be a fence and was not read';
    case 'undated':
      return 'stays because the store does not say when it was written, or what time it is';
    case 'young':
      return `is too young until ${isoTime(stays.dueMs)}`;
  }
}
