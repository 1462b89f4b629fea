/**
 * Which objects a database still needs, and why: pure, from what was read of it. A collector deletes what is not in the set, a backup
 * copies what is, a check demands its presence, and each of them can say the reason.
 *
 * Rules:
 * L1. The newest manifest is needed, and as many before it as the caller keeps (`recent`).
 * L2. A manifest that a checkpoint of the newest one names is needed until the checkpoint has expired by the time of the store, and
 *     `EXPIRY_SLACK_S` longer. Checkpoints that older manifests list count no more.
 * L3. What a needed manifest names is needed: the tables of all its trees, and those that no view shows.
 * L4. Of the log: for the newest manifest and for recent ones, which a repair may go back to, the object at their replay point, which
 *     proves where the log was, and all after it; for a checkpoint those after its manifest's replay point up to the last that this
 *     manifest knew of.
 * L5. What a job in the newest compactions file names is needed, for no manifest names it yet, also where only the seal of the file
 *     shows the job: its outputs, those of its parts as well, in every state; and while it is active its sources, which the newest
 *     manifest resolves. A source that this one lacks counts as the table of that id, because in version 1 the id of a view is its
 *     table's.
 * L6. What an open plan of a repair names is needed: the tables that it makes, the objects that it reads.
 * L7. A table of a parent is needed there: a collector of this database never deletes it, and the checkpoint in the parent that keeps it
 *     is needed as long as a needed manifest lists a table of this parent that is needed.
 * L8. A copy in quarantine is needed while a loss that the same repair recorded is open, and while it is unknown what was lost.
 * L9. The inputs of a compaction are needed for `COMMIT_CHECKPOINT_S` after its outputs were stored, also where the checkpoint of its
 *     commit is gone: reads may find that the outputs are damaged, and a repair makes them again from the inputs. Only outputs whose
 *     seal names their inputs say which these are; of others the checkpoint of the commit is all that keeps them.
 *
 * What may be about to be named is not in the set: tables that a flush or a job has uploaded and not yet named anywhere. A collector
 * therefore keeps young objects.
 */
import { assertThat } from '../../common/assert.ts';
import { isoTime } from '../../common/clock.ts';
import type { Ulid } from '../../common/ulid.ts';
import type { CompactionJob, JobStatus } from '../../format/compactions-codec.ts';
import type { RunningJob } from '../../format/jobs-record.ts';
import { l0Of, type Manifest, runsOf, type TableRef, tablesOf, type Uuid } from '../../format/manifest-types.ts';
import { parseManifestPath, parseTablePath, parseWalPath } from '../../format/object-names.ts';
import type { LoadedCompactions } from './compactions-store.ts';
import { normalPath } from './database-stores.ts';

/** How long after its expiry a checkpoint still counts: clocks differ, and a reader of it may be about to extend it. */
export const EXPIRY_SLACK_S = 60;

/** Lifetime of the checkpoint that the commit of a compaction makes on the manifest before it: SlateDB's and ours. */
export const COMMIT_CHECKPOINT_S = 900;

/** How many of the newest manifests are kept for repairs, where nothing else is set. */
export const KEPT_MANIFESTS = 3;

/** The age from which a collector takes what nothing needs, ms, where nothing else is set: SlateDB's. Newer objects may be about to be named. */
export const COLLECTED_AFTER_MS = 300_000;

export type Reason =
  | { kind: 'newest'; manifestId: number }
  /** One of the newest. */
  | { kind: 'recent'; manifestId: number }
  | { kind: 'checkpoint'; manifestId: number; checkpointId: Uuid; name: string | undefined; expireTimeS: number }
  | { kind: 'job'; jobId: Ulid; status: JobStatus; part: 'source' | 'output' }
  | { kind: 'plan'; repairId: string; number: number }
  /** An open entry of the ledger of losses. */
  | { kind: 'loss'; ledgerId: string }
  /** A table that a compaction wrote a moment ago. */
  | { kind: 'input'; output: Ulid; untilS: number };

type ManifestReason = Extract<Reason, { manifestId: number }>;

/** An attempt at a repair that is not done. */
export interface OpenPlan {
  repairId: string;
  number: number;
  /** Tables that it makes. */
  tables: readonly Ulid[];
  /** Paths of objects that it reads. */
  objects: readonly string[];
}

/** A table that a compaction wrote, and the tables that its seal names as the inputs. */
export interface RecentOutput {
  id: Ulid;
  inputs: readonly Ulid[];
  /** When it was stored, by the time of the store, s. */
  storedS: number;
}

export interface LiveSetInput {
  newest: { id: number; manifest: Manifest };
  /** Other manifests by id, as far as they were read. */
  others?: ReadonlyMap<number, Manifest>;
  /** How many of the newest manifests are kept, the newest one among them; default 1. */
  recent?: number;
  /** Time of the store, s; absent: no checkpoint has expired. */
  nowS?: number;
  /** The newest compactions file. */
  compactions?: Omit<LoadedCompactions, 'seal'> & Partial<LoadedCompactions>;
  plans?: readonly OpenPlan[];
  /** Those that needed manifests name, as far as they are known; without `nowS` all count. */
  outputs?: readonly RecentOutput[];
}

export interface WalRange {
  from: number;
  /** Infinite: whatever follows. */
  to: number;
  reason: Reason;
}

export interface LiveTable {
  /** Path of the database that it belongs to, if that is another one. */
  owner: string | undefined;
  reasons: Reason[];
}

/** A parent, and what this database needs there. */
export interface LiveParent {
  path: string;
  /** The checkpoint in the parent that keeps the tables. */
  checkpointId: Uuid;
  /** None: the entry is empty in all needed manifests, and the checkpoint may go. */
  tables: Ulid[];
}

export interface LiveSet {
  manifests: Map<number, Reason[]>;
  /** Needed manifests that were not given: what they name is missing in this set, so nothing may be deleted by it. Ascending. */
  unread: number[];
  compactionsId: number | undefined;
  wal: WalRange[];
  tables: Map<Ulid, LiveTable>;
  parents: LiveParent[];
}

// ---- what one manifest names

/** The parents that tables of a manifest belong to, by table. */
export function ownersOf({ externalDbs }: Manifest): Map<Ulid, string> {
  const owners = new Map<Ulid, string>();
  for (const db of externalDbs) for (const id of db.tableIds) owners.set(id, normalPath(db.path));
  return owners;
}

/** Tables that a manifest names, those without a view as well; one that several views name as often. */
function namedTables(m: Manifest): TableRef[] {
  return [...tablesOf(m), ...m.unviewedTables];
}

/** Tables that a manifest names and that are stored below this root: those of other databases are theirs. */
export function ownTables(m: Manifest): TableRef[] {
  const owners = ownersOf(m);
  return namedTables(m).filter((table) => !owners.has(table.id));
}

// ---- the set

/** The manifests that are needed, each with a reason, several times if there are several: L1 first, then L2 in the order of the list. */
export function neededManifests({
  newest,
  others,
  recent = 1,
  nowS,
}: Pick<LiveSetInput, 'newest' | 'others' | 'recent' | 'nowS'>): ManifestReason[] {
  assertThat(recent >= 1, 'the newest manifest is one of those that are kept (L1)');
  const reasons: ManifestReason[] = [{ kind: 'newest', manifestId: newest.id }];
  for (let manifestId = newest.id - 1; manifestId > newest.id - recent; manifestId--) {
    // One that was collected before is not missed.
    if (others?.has(manifestId)) reasons.push({ kind: 'recent', manifestId });
  }
  for (const { id: checkpointId, manifestId, name, expireTimeS } of newest.manifest.checkpoints) {
    const isExpired = nowS !== undefined && isPastExpiry(expireTimeS, nowS);
    if (!isExpired) reasons.push({ kind: 'checkpoint', manifestId, checkpointId, name, expireTimeS });
  }
  return reasons;
}

/** Whether a checkpoint with this expiry counts no more (L2). `nowS`: time of the store, s. */
export function isPastExpiry(expireTimeS: number, nowS: number): boolean {
  return expireTimeS !== 0 && nowS > expireTimeS + EXPIRY_SLACK_S;
}

export function liveSet(input: LiveSetInput): LiveSet {
  const { newest, others, compactions, plans = [], outputs = [], nowS } = input;
  const set: LiveSet = {
    manifests: new Map(),
    unread: [],
    compactionsId: compactions?.id,
    wal: [],
    tables: new Map(),
    parents: [],
  };
  for (const reason of neededManifests(input)) {
    const { manifestId } = reason;
    addManifest(set, manifestId, reason);
    const manifest = manifestId === newest.id ? newest.manifest : others?.get(manifestId);
    if (manifest !== undefined) addNamed(set, manifest, reason);
    else if (!set.unread.includes(manifestId)) set.unread.push(manifestId);
  }
  set.unread.sort((a, b) => a - b);
  const listed = compactions?.compactions.jobs ?? [];
  for (const job of listed) addJob(set, newest.manifest, job);
  for (const job of compactions?.seal?.jobs?.jobs ?? []) addRunning(set, newest.manifest, job, listed);
  for (const plan of plans) addPlan(set, plan);
  for (const output of outputs) addInputs(set, output, nowS);
  const read = [...set.manifests.keys()].flatMap((id) =>
    id === newest.id ? newest.manifest : (others?.get(id) ?? []),
  );
  set.parents = parentsOf(read, set);
  assertThat(set.manifests.has(newest.id), 'the newest manifest is needed (L1)');
  assertThat(set.wal[0]?.to === Number.POSITIVE_INFINITY, 'the log after the newest manifest is needed (L4)');
  assertThat(
    read.length + set.unread.length === set.manifests.size || plans.length > 0,
    'a manifest was read or is named as unread',
  );
  return set;
}

function addManifest(set: LiveSet, id: number, reason: Reason): void {
  set.manifests.set(id, [...(set.manifests.get(id) ?? []), reason]);
}

/** L3 and L4. */
function addNamed(set: LiveSet, manifest: Manifest, reason: ManifestReason): void {
  const owners = ownersOf(manifest);
  for (const id of new Set(namedTables(manifest).map((table) => table.id))) addTable(set, id, reason, owners.get(id));
  const { replayAfterWalId, walIdLastSeen } = manifest;
  const isPinned = reason.kind === 'checkpoint';
  const from = isPinned ? replayAfterWalId + 1 : Math.max(1, replayAfterWalId);
  const to = isPinned ? walIdLastSeen : Number.POSITIVE_INFINITY;
  if (from <= to) set.wal.push({ from, to, reason });
}

function addTable(set: LiveSet, id: Ulid, reason: Reason, owner?: string): void {
  const seen = set.tables.get(id);
  if (seen === undefined) set.tables.set(id, { owner, reasons: [reason] });
  else seen.reasons.push(reason);
}

/** L5. */
function addJob(set: LiveSet, newest: Manifest, job: CompactionJob): void {
  const { id: jobId, status, spec } = job;
  const parts = job.context?.subcompactions ?? [];
  const outputs = [...(job.outputs ?? []), ...parts.flatMap((part) => part.outputs ?? [])];
  addOutputs(
    set,
    { kind: 'job', jobId, status, part: 'output' },
    outputs.map(({ table }) => table.id),
  );
  if (status === 'completed' || status === 'failed') return;
  const tables = spec.kind === 'tiered' ? (spec.deprecatedTables ?? []) : [];
  addSources(set, newest, { jobId, status, l0ViewIds: spec.l0ViewIds ?? [], runs: spec.runs ?? [], tables });
}

/** L5, of a job of the seal, unless the list shows it as one that is active. */
function addRunning(set: LiveSet, newest: Manifest, job: RunningJob, listed: readonly CompactionJob[]): void {
  const { id: jobId, l0ViewIds, runs, parts } = job;
  if (listed.some(({ id, status }) => id === jobId && status !== 'completed' && status !== 'failed')) return;
  const reason: Reason = { kind: 'job', jobId, status: 'running', part: 'output' };
  addOutputs(
    set,
    reason,
    parts.flatMap(({ outputs }) => outputs.map(({ tableId }) => tableId)),
  );
  addSources(set, newest, { jobId, status: 'running', l0ViewIds, runs, tables: [] });
}

function addOutputs(set: LiveSet, reason: Reason, ids: readonly Ulid[]): void {
  for (const id of new Set(ids)) addTable(set, id, reason);
}

interface NamedSources {
  jobId: Ulid;
  status: JobStatus;
  l0ViewIds: readonly Ulid[];
  runs: readonly number[];
  tables: readonly Ulid[];
}

function addSources(set: LiveSet, newest: Manifest, { jobId, status, l0ViewIds, runs, tables }: NamedSources): void {
  const views = new Map(l0Of(newest).map((view) => [view.viewId, view.table.id]));
  const ofRuns = runsOf(newest).filter((run) => runs.includes(run.id));
  const sources = [
    ...l0ViewIds.map((viewId) => views.get(viewId) ?? viewId),
    ...ofRuns.flatMap((run) => run.views.map((view) => view.table.id)),
    ...tables,
  ];
  const owners = ownersOf(newest);
  for (const id of new Set(sources)) addTable(set, id, { kind: 'job', jobId, status, part: 'source' }, owners.get(id));
}

/** L6. */
function addPlan(set: LiveSet, { repairId, number, tables, objects }: OpenPlan): void {
  const reason: Reason = { kind: 'plan', repairId, number };
  for (const id of tables) addTable(set, id, reason);
  for (const path of objects) {
    const [table, wal, manifest] = [parseTablePath(path), parseWalPath(path), parseManifestPath(path)];
    if (table !== undefined) addTable(set, table, reason);
    if (wal !== undefined) set.wal.push({ from: wal, to: wal, reason });
    if (manifest !== undefined) addManifest(set, manifest, reason);
  }
}

/** L9. */
function addInputs(set: LiveSet, { id: output, inputs, storedS }: RecentOutput, nowS: number | undefined): void {
  const untilS = storedS + COMMIT_CHECKPOINT_S;
  if (nowS !== undefined && nowS > untilS + EXPIRY_SLACK_S) return;
  for (const id of inputs) addTable(set, id, { kind: 'input', output, untilS });
}

/** L7. */
function parentsOf(manifests: readonly Manifest[], { tables }: LiveSet): LiveParent[] {
  const parents = new Map<string, LiveParent>();
  for (const { externalDbs } of manifests) {
    for (const db of externalDbs) {
      const checkpointId = db.finalCheckpointId ?? db.sourceCheckpointId;
      const path = normalPath(db.path);
      const key = `${checkpointId} ${path}`;
      const parent = parents.get(key) ?? { path, checkpointId, tables: [] };
      for (const id of db.tableIds) if (tables.has(id) && !parent.tables.includes(id)) parent.tables.push(id);
      parents.set(key, parent);
    }
  }
  return [...parents.values()];
}

// ---- questions

/** Why an object of the log is needed; none: it is not. */
export function whyWal({ wal }: LiveSet, id: number): Reason[] {
  return wal.filter(({ from, to }) => from <= id && id <= to).map(({ reason }) => reason);
}

/** Why a table is needed; none: it is not. */
export function whyTable({ tables }: LiveSet, id: Ulid): Reason[] {
  return tables.get(id)?.reasons ?? [];
}

/** L8. `entries`: the ledger of losses; one without a repair stands for what is unknown. */
export function whyCopy(
  entries: Iterable<{ id: string; repairId: string; state: string }>,
  repairId: string,
): Extract<Reason, { kind: 'loss' }>[] {
  return [...entries]
    .filter((e) => e.state === 'open' && (e.repairId === repairId || e.repairId === ''))
    .map((e) => ({ kind: 'loss', ledgerId: e.id }));
}

/** The checkpoints that need something, if nothing else does; else none. */
export function checkpointsAlone(reasons: readonly Reason[]): Uuid[] {
  const ids = reasons.flatMap((reason) => (reason.kind === 'checkpoint' ? reason.checkpointId : []));
  return ids.length === reasons.length ? ids : [];
}

/** As a part of a sentence: what needs the object. */
export function reasonText(reason: Reason): string {
  switch (reason.kind) {
    case 'newest':
      return `manifest ${reason.manifestId}, the newest`;
    case 'recent':
      return `manifest ${reason.manifestId}, one of the newest`;
    case 'checkpoint': {
      const { name, checkpointId, manifestId, expireTimeS } = reason;
      const until = expireTimeS === 0 ? '' : ` until ${isoTime(expireTimeS * 1000)}`;
      return `checkpoint ${name ?? checkpointId} on manifest ${manifestId}${until}`;
    }
    case 'job':
      return `compaction ${reason.jobId} (${reason.status}), as ${reason.part}`;
    case 'plan':
      return `attempt ${reason.number} at repair ${reason.repairId}`;
    case 'loss':
      return `the open loss ${reason.ledgerId}`;
    case 'input':
      return `table ${reason.output}, made of it, until ${isoTime(reason.untilS * 1000)}`;
  }
}
