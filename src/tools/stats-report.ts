/**
 * A database in numbers: what its newest manifest says, what is stored, and what of that something needs. Pure, from what was read.
 *
 * Invariants:
 * 1. Every listed object is counted once: needed, unneeded, young or foreign.
 * 2. Where something that names objects could not be read, nothing is called unneeded.
 */
import { assertThat } from '../common/assert.ts';
import { toHex } from '../common/bytes.ts';
import type { Finding } from '../common/finding.ts';
import { l0Of, type Manifest, runsOf, type TableView, treesOf, viewsOfTree } from '../format/manifest-types.ts';
import {
  isDatabasePath,
  parseCompactionsPath,
  parseManifestPath,
  parseQuarantinePath,
  parseTablePath,
  parseWalPath,
  STORE_PROFILE_PATH,
} from '../format/object-names.ts';
import type { DatabaseIdentity } from '../format/sidecar.ts';
import {
  COLLECTED_AFTER_MS,
  type LiveSet,
  type OpenPlan,
  whyCopy,
  whyTable,
  whyWal,
} from '../lsm/manifest/live-set.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { LedgerEntry } from '../lsm/tree/damage-ledger.ts';
import { spaceAmplification } from '../lsm/tree/visible-bytes.ts';
import type { ListedObject } from '../store/object-store.ts';
import { type TreeLevel, type TreeReport, type TreeTotals, tablesPerGet, treeTotals } from './tree-report.ts';

/** How many objects, and their bytes. */
export interface Tally {
  /** Objects. */
  objects: number;
  /** Their sizes together. */
  bytes: number;
}

/** The objects of one kind. */
export interface DirectoryStats {
  /** The prefix of their names, below the root; the log may be in a store of its own. */
  directory: string;
  /** All that are stored. */
  stored: Tally;
  /** Those that something needs; absent where that is not known. */
  needed?: Tally;
  /** Those that nothing needs; absent where that is not known. A collector has rules besides for when they go. */
  unneeded?: Tally;
  /** Those that nothing needs and that were stored in the last five minutes: they may be about to be named. Absent where that is not known. */
  young?: Tally;
  /** Objects with names that a database does not give, which nothing ever deletes. */
  foreign: Tally;
}

/** A checkpoint as the newest manifest lists it. */
export interface CheckpointStats {
  /** Its UUID. */
  id: string;
  /** Its name, if it has one. */
  name?: string;
  /** The manifest that it pins. */
  manifestId: bigint;
  /** When it was made, ms since the epoch. */
  createdAtMs: number;
  /** Until when it counts, ms since the epoch; absent: without end. */
  expiresAtMs?: number;
}

/** Who has an epoch. */
export interface OwnerStats {
  /** Number of claims so far. */
  epoch: bigint;
  /** `host:pid` of who claimed it, if a manifest that was read says so. */
  owner?: string;
}

/** A database in numbers. */
export interface StatsReport {
  schemaVersion: 1;
  /** The newest manifest, which all numbers are of. */
  manifestId: bigint;
  /** When that was written, by the clock of its author, ms since the epoch; absent where it has no seal. */
  writtenAtMs?: number;
  /** Its stored form: 1 or 2. */
  headerVersion: number;
  /** False: a clone that is still being set up. */
  initialized: boolean;
  /** The time by which ages count, ms since the epoch: the clock of this process. */
  nowMs: number;
  /** 32 hex digits; absent where only SlateDB wrote it, which gives none. */
  databaseId?: string;
  /** The writer. `closed`: it closed the database in order; absent where the manifest has no seal. */
  writer: OwnerStats & {
    /** Whether it closed the database in order. */
    closed?: boolean;
  };
  /** The compactor. */
  compactor: OwnerStats;
  /** Sequence numbers. */
  seqs: {
    /** Greatest one in tables. */
    inTables: bigint;
    /** Greatest one that is known to be durable, by the seal of the manifest; absent where it has none. */
    durable?: bigint;
    /** The lowest one that a snapshot of the writer may still read at. */
    snapshots: bigint;
  };
  /** The log that is not in tables; absent where it is in another store than the location says. */
  log?: Tally & {
    /** The log up to this object is in tables. */
    replayAfterWalId: bigint;
    /** The last object that is listed; absent without any. */
    lastWalId?: bigint;
  };
  /** Level 0 of all trees. */
  level0: TreeTotals;
  /** All sorted runs. */
  runs: TreeTotals & {
    /** How many there are. */
    runs: number;
  };
  /** Trees: the root tree and those of segments, as far as they have tables. */
  trees: number;
  /** Bytes of tables against what a full compaction would leave. */
  amplification: {
    /**
     * Estimated: bytes of all tables by those of the lowest runs, as if newer rows were all newer versions. 1: nothing is stored
     * twice. Absent where there are no sorted runs.
     */
    space?: number;
    /** Bytes that are stored by bytes that are needed, of all kinds; absent where it is not known what is needed. */
    stored?: number;
  };
  /** What a get of one key costs at most in this shape. */
  gets: {
    /** Tables that may all have the key. */
    tables: number;
    /** GETs with nothing in memory: index and filter of each of these tables, and a block of each. */
    cold: number;
    /** GETs with indexes and filters in memory: one block, and one more of each table without a filter. False positives come besides. */
    warm: number;
  };
  /** In the order of the manifest. */
  checkpoints: CheckpointStats[];
  /** Other databases whose tables this one reads, by path. */
  parents: string[];
  /** Stored objects by kind. */
  directories: DirectoryStats[];
  /** Sums over them; without `needed`, `unneeded` and `young` where that is not known of one of them. */
  total: Omit<DirectoryStats, 'directory'>;
  /** What is wrong, and what cannot be read. */
  findings: Finding[];
  /** Requests that were sent to the store. */
  requests: number;
  /** How long it took, ms. */
  tookMs: number;
}

// ---- what is stored

export interface StoredFacts {
  /** Undefined: it is not known what is needed. */
  live: LiveSet | undefined;
  /** The ledger of losses. */
  losses: readonly LedgerEntry[];
  /** Open attempts at repairs. */
  plans: readonly OpenPlan[];
}

/** An object, by what needs it. */
type Standing = 'needed' | 'unneeded' | 'young' | 'foreign';

function standingOf(object: ListedObject, live: LiveSet, facts: StoredFacts): Standing {
  const { path, lastModifiedMs, storeTimeMs = 0 } = object;
  if (!isDatabasePath(path) && path !== STORE_PROFILE_PATH) return 'foreign';
  if (isNeeded(path, live, facts)) return 'needed';
  const isDated = storeTimeMs > 0 && lastModifiedMs > 0;
  return isDated && storeTimeMs - lastModifiedMs >= COLLECTED_AFTER_MS ? 'unneeded' : 'young';
}

/** Of the small objects beside the others all but copies are for good. */
function isNeeded(path: string, live: LiveSet, { losses, plans }: StoredFacts): boolean {
  const manifest = parseManifestPath(path);
  if (manifest !== undefined) return live.manifests.has(manifest) || manifest > Math.max(...live.manifests.keys());
  const wal = parseWalPath(path);
  if (wal !== undefined) return whyWal(live, wal).length > 0;
  const table = parseTablePath(path);
  if (table !== undefined) return whyTable(live, table).length > 0;
  const compactions = parseCompactionsPath(path);
  if (compactions !== undefined) return compactions >= (live.compactionsId ?? 0);
  const copy = parseQuarantinePath(path);
  if (copy === undefined) return true;
  const { repairId } = copy;
  return whyCopy(losses, repairId).length > 0 || plans.some((plan) => plan.repairId === repairId);
}

const none = (): Tally => ({ objects: 0, bytes: 0 });

function add(tally: Tally, bytes: number): void {
  tally.objects++;
  tally.bytes += bytes;
}

/** What is listed below one prefix. */
export function directoryStats(
  directory: string,
  objects: readonly ListedObject[],
  facts: StoredFacts,
): DirectoryStats {
  const { live } = facts;
  const stored = none();
  const by: Record<Standing, Tally> = { needed: none(), unneeded: none(), young: none(), foreign: none() };
  for (const object of objects) {
    add(stored, object.size);
    if (live !== undefined) add(by[standingOf(object, live, facts)], object.size);
    else if (!isDatabasePath(object.path) && object.path !== STORE_PROFILE_PATH) add(by.foreign, object.size);
  }
  const { foreign, ...known } = by;
  const counted = Object.values(by).reduce((n, { objects: one }) => n + one, 0);
  assertThat(live === undefined || counted === stored.objects, 'every object is counted once (stats-report 1)');
  return { directory, stored, ...(live !== undefined && known), foreign };
}

export function sumOfDirectories(all: readonly DirectoryStats[]): StatsReport['total'] {
  const sum = (of: (one: DirectoryStats) => Tally | undefined): Tally | undefined =>
    all.reduce<Tally | undefined>((total, one) => {
      const more = of(one);
      if (total === undefined || more === undefined) return undefined;
      return { objects: total.objects + more.objects, bytes: total.bytes + more.bytes };
    }, none());
  const [needed, unneeded, young] = [sum((d) => d.needed), sum((d) => d.unneeded), sum((d) => d.young)];
  return {
    stored: sum((d) => d.stored) ?? none(),
    ...(needed !== undefined && { needed }),
    ...(unneeded !== undefined && { unneeded }),
    ...(young !== undefined && { young }),
    foreign: sum((d) => d.foreign) ?? none(),
  };
}

// ---- what the manifest says

/** Numbers of the trees. */
export function treeStats(
  manifest: Manifest,
  { trees }: Pick<TreeReport, 'trees'>,
): Pick<StatsReport, 'level0' | 'runs' | 'trees' | 'gets'> & { space: number | undefined } {
  const runs = trees.flatMap((tree) => tree.runs);
  const tablesOf = (levels: readonly TreeLevel[]) => levels.flatMap(({ tables }) => tables);
  const hasFilter = ({ table }: TableView) => table.info.filterLength > 0;
  const ofTrees = treesOf(manifest).map(viewsOfTree);
  const most = (choose: (view: TableView) => boolean) =>
    ofTrees.reduce((n, views) => Math.max(n, tablesPerGet(views.filter(choose))), 0);
  const tables = most(() => true);
  return {
    level0: treeTotals(tablesOf(trees.map((tree) => tree.l0))),
    runs: { ...treeTotals(tablesOf(runs)), runs: runs.length },
    trees: trees.filter(({ totals }) => totals.views > 0).length,
    gets: { tables, cold: 2 * tables, warm: Math.min(tables, 1 + most((view) => !hasFilter(view))) },
    space: spaceAmplification(
      trees.map(({ totals, runs: ofTree }) => ({
        bytes: totals.bytes,
        lowest: ofTree.findLast((run) => run.totals.bytes > 0)?.totals.bytes,
      })),
    ),
  };
}

/** What the newest manifest says besides its trees. `read`: manifests that were read, newest first. */
export function manifestStats(
  { id, manifest, seal }: LoadedManifest,
  read: readonly LoadedManifest[],
  identity: DatabaseIdentity | undefined,
): Pick<
  StatsReport,
  | 'manifestId'
  | 'writtenAtMs'
  | 'headerVersion'
  | 'initialized'
  | 'databaseId'
  | 'writer'
  | 'compactor'
  | 'seqs'
  | 'checkpoints'
  | 'parents'
> {
  const durable = seal?.manifest?.walTail.lastSeq;
  const databaseId = identity?.databaseId ?? seal?.identity.databaseId;
  return {
    manifestId: BigInt(id),
    ...(seal !== undefined && { writtenAtMs: seal.identity.writtenAtMs }),
    headerVersion: manifest.headerVersion,
    initialized: manifest.initialized,
    ...(databaseId !== undefined && { databaseId: toHex(databaseId) }),
    writer: {
      ...ownerOf('writer', manifest.writerEpoch, read),
      ...(seal?.manifest !== undefined && { closed: seal.manifest.isCleanClose }),
    },
    compactor: ownerOf('compactor', manifest.compactorEpoch, read),
    seqs: {
      inTables: BigInt(manifest.lastL0Seq),
      ...(durable !== undefined && durable > 0 && { durable: BigInt(durable) }),
      snapshots: BigInt(manifest.recentSnapshotMinSeq),
    },
    checkpoints: manifest.checkpoints.map((c) => ({
      id: c.id,
      ...(c.name !== undefined && { name: c.name }),
      manifestId: BigInt(c.manifestId),
      createdAtMs: c.createTimeS * 1000,
      ...(c.expireTimeS !== 0 && { expiresAtMs: c.expireTimeS * 1000 }),
    })),
    parents: [...new Set(manifest.externalDbs.map(({ path }) => path))],
  };
}

/** Only manifests that claim an epoch name their author. */
export function ownerOf(role: 'writer' | 'compactor', epoch: number, read: readonly LoadedManifest[]): OwnerStats {
  const claim = read.find(
    ({ seal }) => seal?.owner !== undefined && seal.identity.role === role && seal.identity.epoch === epoch,
  );
  return { epoch: BigInt(epoch), ...(claim?.seal?.owner !== undefined && { owner: claim.seal.owner.hostPid }) };
}

/** What of the log is in no table yet. */
export function logStats(
  { manifest }: LoadedManifest,
  objects: readonly ListedObject[],
): NonNullable<StatsReport['log']> {
  const tally = none();
  let last = 0;
  for (const { path, size } of objects) {
    const id = parseWalPath(path);
    if (id === undefined) continue;
    last = Math.max(last, id);
    if (id > manifest.replayAfterWalId) add(tally, size);
  }
  return {
    ...tally,
    replayAfterWalId: BigInt(manifest.replayAfterWalId),
    ...(last > 0 && { lastWalId: BigInt(last) }),
  };
}

/** Level 0 and runs together are what the tables are. */
export function assertSums({ level0, runs }: Pick<StatsReport, 'level0' | 'runs'>, manifest: Manifest): void {
  const views = l0Of(manifest).length + runsOf(manifest).reduce((n, run) => n + run.views.length, 0);
  assertThat(level0.views + runs.views === views, 'every view is in a level');
}
