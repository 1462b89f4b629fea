/**
 * Gathers what a manifest without a seal is compared with: the one before it, the log at its replay point, and the tables that are
 * new in it. Two GETs, one for each new table (up to 16), up to four more where fences are at the replay point, and a LIST if something
 * contradicts.
 *
 * 1. Nothing is written.
 * 2. What it is compared with is older: the manifest right before it, and objects of the log at or before its replay point.
 * 3. What is gone, or damaged itself, proves nothing.
 */
import { mapLimit } from '../common/async.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import { type Manifest, tablesOf } from '../format/manifest-types.ts';
import { endOf, objectEndIn } from '../format/object-end.ts';
import { tablePath, walPath } from '../format/object-names.ts';
import { differingFields, type TableInfo } from '../format/table-info.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { ownersOf } from '../lsm/manifest/live-set.ts';
import { type LoadedManifest, listManifestTimes, readGoodManifest } from '../lsm/manifest/manifest-store.ts';
import { readWalObject } from '../lsm/wal/wal-object.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { contradictions, doubts, type ManifestEvidence, oddities } from './manifest-cross-check.ts';

/** WAL objects read, from the replay point back, until one has rows: fences of several openings can be there. */
const REPLAYED_LOOKED_AT = 4;
/** Tables whose own info is read, newest first: those since the manifest before, of which a flush makes one. */
const TABLES_ASKED = 16;
/** Of the end of a table: its info block and footer. Larger ones, of very long keys, are not looked at. */
const END_BYTES = 4096;

export interface CrossCheck {
  /** Broken rules, as sentences: the manifest is damaged. */
  broken: string[];
  /** What a changed bit may be the reason for, as sentences; the manifest can be used. */
  doubts: string[];
  /** What is legal but seldom, as sentences; for reports only. */
  oddities: string[];
  /** Whether the manifest before gave no reason for doubt: a newer SlateDB may order fields in another way, but then always. */
  isDoubtNew: boolean;
}

/** `boundary`: the highest manifest id that a collector may have deleted. */
export async function crossCheckManifest(
  stores: Pick<DatabaseStores, 'main' | 'wal'>,
  loaded: LoadedManifest,
  boundary: number,
): Promise<CrossCheck> {
  const { id, manifest } = loaded;
  const [previous, replayed] = await Promise.all([
    readPrevious(stores.main, boundary, id),
    newestReplayed(stores.wal, manifest.replayAfterWalId),
  ]);
  const broken = [
    ...contradictions(id, manifest, { previous: previous?.manifest, replayed }),
    ...(await tableInfoFaults(stores.main, manifest, previous?.manifest)),
  ];
  const isDamaged = broken.length > 0 && (await isOfThisHistory(stores.main, id));
  const found = doubts(loaded, previous);
  const isDoubtNew = previous !== undefined && previous.seal === undefined && doubts(previous, undefined).length === 0;
  return { broken: isDamaged ? broken : [], doubts: found, oddities: oddities(loaded, previous), isDoubtNew };
}

/**
 * New tables whose own info differs in one field: a changed bit of the manifest changes one, whereas another table
 * in its place, which reads find, differs in more. A key range that is wrong would hide rows without a read ever asking the table.
 */
async function tableInfoFaults(
  main: ObjectStore,
  manifest: Manifest,
  previous: Manifest | undefined,
): Promise<string[]> {
  const known = new Set(previous === undefined ? [] : tablesOf(previous).map((t) => t.id));
  const owners = ownersOf(manifest);
  const refs = new Map(tablesOf(manifest).map((t) => [t.id, t]));
  const asked = [...refs.values()].filter((t) => !known.has(t.id) && !owners.has(t.id)).slice(0, TABLES_ASKED);
  const found = await mapLimit(asked, TABLES_ASKED, async (ref) => {
    const own = await readOwnInfo(main, ref.id);
    if (own === undefined) return [];
    const fields = differingFields(own, ref.info);
    return fields.length === 1 ? [`${fields[0]} of table ${ref.id} is not what the table itself says`] : [];
  });
  return found.flat();
}

/** Undefined if the table is gone or its end cannot be read, which a reader of it finds. One GET. */
async function readOwnInfo(store: ObjectStore, id: Ulid): Promise<TableInfo | undefined> {
  const got = await store.get(tablePath(id), { range: { suffix: END_BYTES } });
  if (got === undefined) return undefined;
  try {
    return objectEndIn(endOf(got.bytes, got.size)).info;
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

/** What was collected, or is damaged itself, proves nothing. */
async function readPrevious(store: ObjectStore, boundary: number, id: number): Promise<LoadedManifest | undefined> {
  return id - 1 <= boundary ? undefined : readGoodManifest(store, id - 1);
}

/** The newest object with rows at or before the replay point. */
async function newestReplayed(store: ObjectStore, replayPoint: number): Promise<ManifestEvidence['replayed']> {
  for (let id = replayPoint; id > Math.max(0, replayPoint - REPLAYED_LOOKED_AT); id--) {
    const got = await store.get(walPath(id));
    if (got === undefined) return undefined;
    const { object } = await readWalObject(id, got.bytes);
    if (object === undefined) return undefined;
    if (object.rowCount > 0) return { id, maxSeq: object.maxSeq };
  }
  return undefined;
}

/** False if the manifest before was made after this one: a stalled process put it where the real one had been collected. */
async function isOfThisHistory(store: ObjectStore, id: number): Promise<boolean> {
  const modifiedMs = await listManifestTimes(store);
  return (modifiedMs.get(id - 1) ?? 0) <= (modifiedMs.get(id) ?? 0);
}
