/**
 * What is left of the manifests, and what the rest of the database knows about those that are not: the newest one that can be
 * used, every newer one that is damaged or missing, the log after it, and the tables that nothing names.
 *
 * Ids and epochs of lost manifests are witnessed by the seals of the log and of tables; a manifest written above the highest
 * of them is the newest for every reader.
 */
import { mapLimit } from '../common/async.ts';
import { equalBytes } from '../common/bytes.ts';
import { type CorruptionError, isCorruption } from '../common/errors.ts';
import { type Ulid, ulidToBytes } from '../common/ulid.ts';
import { encodeInfo } from '../format/info-block.ts';
import type { TableRef } from '../format/manifest-types.ts';
import { tablePath, walPath } from '../format/object-names.ts';
import type { EpochGuard } from '../lsm/manifest/epoch-guard.ts';
import { ownTables } from '../lsm/manifest/live-set.ts';
import {
  type LoadedManifest,
  loadMisplaced,
  type RepairedManifest,
  repairManifestBytes,
} from '../lsm/manifest/manifest-store.ts';
import { newestLevelZeroId } from '../lsm/manifest/table-order.ts';
import { readWalObject, type WalReadResult } from '../lsm/wal/wal-object.ts';
import { extentOf, listLog } from '../recovery/log-range.ts';
import { inconsistent, isOvertaken, lookAtManifest, type Surroundings, withUnlisted } from '../recovery/place.ts';
import { listTables, readTableTail, type StoredTable, type StoredTail } from '../recovery/stored-tables.ts';
import { rowNewerThanTables } from '../recovery/wal-check.ts';
import { lookAroundTarget } from './database-state.ts';
import { MAX_ROUNDS, type ToolTarget, tooManyOthers } from './target.ts';

const PARALLEL_GETS = 16;
/** Manifests looked at, from the newest back, until one can be used. */
const MANIFESTS_LOOKED_AT = 100;

/** Missing ones that are listed. */
const MAX_MISSING_MANIFESTS = 1000;

/** A manifest object that cannot be used as it is stored. */
export interface UnusableManifest {
  id: number;
  /** Undefined: the object is missing. */
  bytes: Uint8Array | undefined;
  error: CorruptionError | undefined;
}

export interface LoggedObject {
  id: number;
  isSound: boolean;
  rows: number;
  minSeq: number;
  maxSeq: number;
  /** Of its seal; 0 without one. */
  epoch: number;
}

export interface LogSurvey {
  /** First id that is not in tables. */
  from: number;
  /** Last id that exists or that the manifest knows of. */
  end: number;
  /** What exists, by id. */
  objects: ReadonlyMap<number, LoggedObject>;
}

export interface OrphanTable extends StoredTable {
  tail: StoredTail | undefined;
  /** Its greatest sequence number: as its seal says, else of its rows; undefined if it cannot be read. */
  maxSeq: number | undefined;
}

export interface ManifestSurvey {
  around: Surroundings;
  /** The newest manifest that can be used. */
  base: LoadedManifest | undefined;
  /** How `base` was repaired, if it was. */
  healed: Pick<RepairedManifest, 'changes' | 'trust'> | undefined;
  /** Newer than `base`, and `base` itself if it was repaired; newest first. */
  bad: UnusableManifest[];
  /** The newest manifest that there was at the beginning; 0 if there was none. */
  newestFound: number;
  /** The highest manifest id that exists or is witnessed. */
  highestId: number;
  /** The highest epochs seen. */
  epochs: { writer: number; compactor: number };
  log: LogSurvey;
  tables: ReadonlyMap<Ulid, StoredTable>;
  /** Newer than every L0 table of `base`. */
  orphans: OrphanTable[];
}

export interface SurveyOptions {
  /** Try to repair damaged manifests. */
  heal: boolean;
}

/**
 * Reads only: the manifests down to the first usable one, all of the log after it, the tails of unnamed tables. Again while a
 * live writer is faster; rejects with `UnavailableError` if it always is.
 */
export async function surveyManifests(
  target: ToolTarget,
  guard: EpochGuard,
  { heal }: SurveyOptions,
): Promise<ManifestSurvey> {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const survey = await surveyOnce(target, guard, heal);
    if (!(await isSurveyOvertaken(target, survey))) return survey;
  }
  throw tooManyOthers(target);
}

async function surveyOnce(target: ToolTarget, guard: EpochGuard, heal: boolean): Promise<ManifestSurvey> {
  const around = await lookAroundTarget(target, guard);
  const ids = (await withUnlisted(target.stores.main, around.manifestIds)).reverse();
  const bad: UnusableManifest[] = [];
  for (const id of ids.slice(0, MANIFESTS_LOOKED_AT)) {
    const observed = await loadForSurvey(target, around, id);
    if (observed.error !== undefined || observed.loaded === undefined) bad.push(observed);
    const healed =
      heal && observed.loaded === undefined && observed.bytes !== undefined
        ? repairManifestBytes(id, observed.bytes)
        : undefined;
    const base = observed.loaded ?? healed?.loaded;
    if (base === undefined) continue;
    // Tables first: what a live writer puts into a table stood in the log before, so it is not taken for a lost table.
    const tables = await listTables(target.stores.main);
    const read = await readLog(target, base);
    const isProven = base.seal !== undefined || healed?.trust === 'content';
    const wrong = isProven ? undefined : (read.hidden ?? (await contradictedByTables(target, base, tables)));
    if (wrong !== undefined) {
      bad.push({ id, bytes: observed.bytes, error: wrong });
      continue;
    }
    return complete(target, around, { base, healed, bad, read, tables, newestFound: ids[0] });
  }
  const newest = ids[0] ?? 0;
  const log = { from: 1, end: 0, objects: new Map() };
  const nothing = { base: undefined, healed: undefined, epochs: { writer: 0, compactor: 0 }, orphans: [] };
  return { ...nothing, around, bad, newestFound: newest, highestId: newest, log, tables: new Map() };
}

/**
 * Whether a live writer has added manifests since they were listed, and the log shows them: they would be taken for missing,
 * and a repair would go back to a state before them. No request unless something shows a manifest above those found; then a LIST.
 */
async function isSurveyOvertaken({ stores }: ToolTarget, { highestId, newestFound }: ManifestSurvey): Promise<boolean> {
  if (highestId <= newestFound) return false;
  return isOvertaken(stores.main, newestFound);
}

interface SurveyedManifest extends UnusableManifest {
  loaded: LoadedManifest | undefined;
}

async function loadForSurvey(
  { stores, clock, signal }: ToolTarget,
  around: Surroundings,
  id: number,
): Promise<SurveyedManifest> {
  const found = await lookAtManifest(stores, id, around.boundary.value, { clock, signal, during: 'repair' });
  if (found === undefined) return { id, bytes: undefined, error: undefined, loaded: undefined };
  const { bytes, loaded } = found;
  if (loaded !== undefined) return { id, bytes, error: undefined, loaded };
  found.reads();
  // What a newer program wrote is not repaired, and no older manifest takes its place.
  if (!isCorruption(found.failure)) throw found.failure;
  return { id, bytes, error: found.failure, loaded: undefined };
}

// ---- the log

interface ReadLog extends LogSurvey {
  /** Set if a row is newer than the tables that should hold it: then the manifest is damaged. */
  hidden: CorruptionError | undefined;
  witnessedId: number;
  writerEpoch: number;
}

/** Every object after the replay point of `base`; their rows are not kept. */
async function readLog({ stores }: ToolTarget, base: LoadedManifest): Promise<ReadLog> {
  const { manifest, seal } = base;
  const listed = await listLog(stores.wal, manifest.replayAfterWalId);
  const { after, end } = extentOf(base, listed);
  const objects = new Map<number, LoggedObject>();
  const log = {
    from: after + 1,
    end,
    objects,
    hidden: undefined as CorruptionError | undefined,
    witnessedId: 0,
    writerEpoch: manifest.writerEpoch,
  };
  await mapLimit([...listed.keys()], PARALLEL_GETS, async (id) => {
    const got = await stores.wal.get(walPath(id));
    if (got === undefined) return;
    const result = await readWalObject(id, got.bytes);
    objects.set(id, summary(result));
    const row = rowNewerThanTables([result], manifest);
    if (row !== undefined) {
      log.hidden ??= inconsistent(
        base,
        `row ${row.seq} of WAL object ${id} is newer than any row of a table`,
        'repair',
      );
    }
    const identity = result.seal?.identity;
    if (identity === undefined || (seal !== undefined && !equalBytes(identity.databaseId, seal.identity.databaseId)))
      return;
    log.witnessedId = Math.max(log.witnessedId, identity.newestManifestId);
    log.writerEpoch = Math.max(log.writerEpoch, identity.epoch);
  });
  return log;
}

function summary({ id, object, seal, seqs }: WalReadResult): LoggedObject {
  return {
    id,
    isSound: object !== undefined,
    rows: object?.rowCount ?? 0,
    minSeq: object?.minSeq ?? seqs?.min ?? 0,
    maxSeq: object?.maxSeq ?? seqs?.max ?? 0,
    epoch: seal?.identity.epoch ?? 0,
  };
}

// ---- what the tables say about a manifest without a seal

/** The info of a table differs, or it is missing while no manifest names the one whose name is one bit away. */
async function contradictedByTables(
  { stores }: ToolTarget,
  base: LoadedManifest,
  tables: ReadonlyMap<Ulid, StoredTable>,
): Promise<CorruptionError | undefined> {
  const refs = ownTables(base.manifest);
  const named = new Set(refs.map((ref) => ref.id));
  const wrong = await mapLimit(refs, PARALLEL_GETS, async (ref) => {
    const stored = tables.get(ref.id);
    if (stored === undefined) {
      const other = [...tables.keys()].find((id) => !named.has(id) && isOneBitAway(id, ref.id));
      return other && `it names table ${ref.id}, which does not exist, and not ${other}, which differs in one bit`;
    }
    const tail = await readTableTail(stores.main, stored);
    return tail === undefined || saysTheSame(tail.ref, ref)
      ? undefined
      : `what it says about table ${ref.id} is not what the table itself says`;
  });
  const first = wrong.find((w) => w !== undefined);
  return first === undefined ? undefined : inconsistent(base, first, 'repair');
}

function isOneBitAway(a: Ulid, b: Ulid): boolean {
  const x = ulidToBytes(a);
  const y = ulidToBytes(b);
  let bits = 0;
  for (let i = 0; i < x.length; i++) for (let d = x[i] ^ y[i]; d > 0; d >>= 1) bits += d & 1;
  return bits === 1;
}

/** The form of the filter apart: SlateDB 0.12.1 calls every filter legacy. */
export function saysTheSame(stored: TableRef, named: TableRef): boolean {
  const plain = ({ info }: TableRef) => encodeInfo({ ...info, filterForm: 'legacy' });
  return stored.formatVersion === named.formatVersion && equalBytes(plain(stored), plain(named));
}

// ---- what is around

/**
 * A sealed table is known by its tail; the rows of an unsealed one are read. Zero bytes are a fence only in the log: no
 * program writes such a table, so what it held is unknown.
 */
async function readOrphan({ stores }: ToolTarget, table: StoredTable): Promise<OrphanTable> {
  const tail = await readTableTail(stores.main, table);
  if (tail?.seal !== undefined) return { ...table, tail, maxSeq: tail.seal.lineage?.maxSeq };
  const got = await stores.main.get(tablePath(table.id));
  const read = got && got.size > 0 ? await readWalObject(0, got.bytes) : undefined;
  return { ...table, tail, maxSeq: read?.object?.maxSeq };
}

interface Found {
  base: LoadedManifest;
  healed: ManifestSurvey['healed'];
  bad: UnusableManifest[];
  read: ReadLog;
  tables: Map<Ulid, StoredTable>;
  newestFound: number;
}

async function complete(
  target: ToolTarget,
  around: Surroundings,
  { base, healed, bad, read, tables, newestFound }: Found,
): Promise<ManifestSurvey> {
  const { manifest } = base;
  const newestL0 = newestLevelZeroId(manifest) ?? '';
  const named = new Set(ownTables(manifest).map((t) => t.id));
  const unnamed = [...tables.values()].filter((t) => t.id > newestL0 && !named.has(t.id));
  const orphans = await mapLimit(unnamed, PARALLEL_GETS, (table) => readOrphan(target, table));
  const seals = orphans.flatMap(({ tail }) => tail?.seal ?? []);
  const ofUs = seals.filter(
    (s) => base.seal === undefined || equalBytes(s.identity.databaseId, base.seal.identity.databaseId),
  );
  const databaseId = base.seal?.identity.databaseId;
  const misplaced = bad.flatMap(({ bytes }) => (bytes && databaseId && loadMisplaced(bytes, databaseId)) ?? []);
  const highestId = Math.max(
    base.id,
    ...misplaced.map((m) => m.id),
    around.boundary.value,
    read.witnessedId,
    ...bad.map((b) => b.id),
    ...manifest.checkpoints.map((c) => c.manifestId),
    ...ofUs.map((s) => s.identity.newestManifestId),
  );
  // Each manifest that cannot be read may have been a claim, and an idle owner's fence of zero bytes does not say its epoch.
  const newestRead = misplaced.reduce((newest, m) => (m.id > newest.id ? m : newest), base);
  const unread = highestId - newestRead.id;
  const writer = Math.max(
    read.writerEpoch,
    newestRead.manifest.writerEpoch + unread,
    ...ofUs.filter((s) => s.lineage?.level === 'l0').map((s) => s.identity.epoch),
  );
  const compactor = Math.max(
    newestRead.manifest.compactorEpoch + unread,
    ...ofUs.filter((s) => s.lineage?.level === 'run').map((s) => s.identity.epoch),
  );
  const log = { from: read.from, end: read.end, objects: read.objects };
  const seen = new Set(bad.map((b) => b.id));
  const missing: UnusableManifest[] = [];
  // What a boundary file or a damaged manifest says about the highest id may be any number.
  for (let id = highestId; id > Math.max(base.id, highestId - MAX_MISSING_MANIFESTS); id--)
    if (!seen.has(id)) missing.push({ id, bytes: undefined, error: undefined });
  const all = [...bad, ...missing].sort((a, b) => b.id - a.id);
  const epochs = { writer, compactor };
  return { around, base, healed, bad: all, newestFound, highestId, epochs, log, tables, orphans };
}
