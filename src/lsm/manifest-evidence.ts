/**
 * Gathers what a manifest without a seal is compared with: the one before it, and the log at its replay point. Nothing is
 * written. Two GETs, up to four more where fences lie at the replay point, and a LIST if something contradicts.
 */
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { MANIFEST_PREFIX, parseManifestPath, walPath } from '../format/object-names.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { DatabaseStores } from './database-stores.ts';
import { contradictions, doubts, type ManifestEvidence, oddities } from './manifest-cross-check.ts';
import { type LoadedManifest, readManifest } from './manifest-store.ts';
import { readWalObject } from './wal-object.ts';

/** WAL objects looked at, from the replay point back, until one has rows: fences of several openings can lie there. */
const REPLAYED_LOOKED_AT = 4;

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
  stores: DatabaseStores,
  loaded: LoadedManifest,
  boundary: number,
): Promise<CrossCheck> {
  const { id, manifest } = loaded;
  const [previous, replayed] = await Promise.all([
    readPrevious(stores.main, boundary, id),
    newestReplayed(stores.wal, manifest.replayAfterWalId),
  ]);
  const broken = contradictions(id, manifest, { previous: previous?.manifest, replayed });
  const isDamaged = broken.length > 0 && (await isOfThisHistory(stores.main, id));
  const found = doubts(loaded, previous);
  const isDoubtNew = previous !== undefined && previous.seal === undefined && doubts(previous, undefined).length === 0;
  return { broken: isDamaged ? broken : [], doubts: found, oddities: oddities(loaded, previous), isDoubtNew };
}

/** What was collected, or is damaged itself, proves nothing. */
async function readPrevious(store: ObjectStore, boundary: number, id: number): Promise<LoadedManifest | undefined> {
  if (id - 1 <= boundary) return undefined;
  try {
    return await readManifest(store, id - 1);
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
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
  const modifiedMs = new Map<number | undefined, number>();
  for await (const { path, lastModifiedMs } of store.list(MANIFEST_PREFIX)) {
    modifiedMs.set(parseManifestPath(path), lastModifiedMs);
  }
  return (modifiedMs.get(id - 1) ?? 0) <= (modifiedMs.get(id) ?? 0);
}
