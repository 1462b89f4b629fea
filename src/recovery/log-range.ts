/**
 * How far the log extends: what a listing of it shows, what is there past the end of a listing, and the replay point after which it
 * is needed. Nothing else lists `wal/` for that, and nothing else asks for ids that no listing shows.
 *
 * An object that must be there ends the log, or is listed, or is named by a manifest. A list may lag, so three ids past the end are
 * asked for by HEAD, and three more as long as one of them is there: one id alone would stop at a hole. A live writer can go on
 * adding objects; only a fence ends that.
 *
 * Invariants:
 * 1. `extentOf` is pure. The end is never before the replay point, nor before what is listed or what the manifest names.
 * 2. Only names of the format count: a file of another program in `wal/` is no object of the log.
 * 3. What a listing does not show is not missing by that: `missingIds` asks again.
 */
import { assertThat } from '../common/assert.ts';
import type { CorruptionError } from '../common/errors.ts';
import { parseWalPath, WAL_PREFIX, walPath } from '../format/object-names.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import type { ListedObject, ObjectStore } from '../store/object-store.ts';
import { MAX_MISSING_OBJECTS, manyMissing } from './wal-errors.ts';

/** What lists and HEADs show of an object. */
export type ListedWal = Pick<ListedObject, 'size' | 'etag'>;

const HEADS_PAST_END = 3;

// ---- what is listed

async function* walk(
  wal: ObjectStore,
  after: number,
): AsyncGenerator<[id: number, object: ListedWal], void, undefined> {
  for await (const { path, size, etag } of wal.list(WAL_PREFIX, after > 0 ? { startAfter: walPath(after) } : {})) {
    const id = parseWalPath(path);
    if (id !== undefined && id > after) yield [id, { size, etag }];
  }
}

/** The objects that are listed: of the whole log, or those after object `after`. One LIST. */
export async function listLog(wal: ObjectStore, after = 0): Promise<Map<number, ListedWal>> {
  const listed = new Map<number, ListedWal>();
  for await (const [id, object] of walk(wal, after)) listed.set(id, object);
  return listed;
}

/** The highest id that is listed; undefined: none. One LIST. */
export async function findLastWalId(wal: ObjectStore): Promise<number | undefined> {
  let last: number | undefined;
  for await (const [id] of walk(wal, 0)) last = Math.max(last ?? 0, id);
  return last;
}

export interface LogListing {
  /** The objects after the replay point. */
  listed: Map<number, ListedWal>;
  /** Whether the object at that point is listed, which no collector deletes. */
  isReplayPointThere: boolean;
}

/** What is listed from the object at the replay point on. One LIST. */
export async function listFromReplayPoint(wal: ObjectStore, replayAfterWalId: number): Promise<LogListing> {
  const listed = await listLog(wal, Math.max(0, replayAfterWalId - 1));
  const isReplayPointThere = listed.delete(replayAfterWalId);
  return { listed, isReplayPointThere };
}

/** Whether object `id` or a later one is there. A list may lag, so `id` itself is asked for as well: a HEAD, and a LIST up to its first object. */
export async function isAnyFrom(wal: ObjectStore, id: number): Promise<boolean> {
  if ((await wal.head(walPath(id))) !== undefined) return true;
  for await (const _ of walk(wal, id - 1)) return true;
  return false;
}

// ---- the extent

/** The last id that a manifest names, in itself or in its seal: that object was there, or was about to be. */
export function namedEnd({ manifest, seal }: Pick<LoadedManifest, 'manifest' | 'seal'>): number {
  return Math.max(manifest.walIdLastSeen, seal?.manifest?.walTail.id ?? 0);
}

export interface LogExtent {
  /** The replay point: the objects after it are needed. */
  after: number;
  /** The last id that is listed; `after` if none is. */
  lastListed: number;
  /** The last id that is listed or that the manifest names; at least `after`. */
  end: number;
  /** How many ids from the replay point to the end are not listed. */
  unlisted: number;
}

/** `listed`: the objects after the replay point of the manifest; others in it are passed over. */
export function extentOf(
  newest: Pick<LoadedManifest, 'manifest' | 'seal'>,
  listed: ReadonlyMap<number, unknown>,
): LogExtent {
  const after = newest.manifest.replayAfterWalId;
  let lastListed = after;
  let count = 0;
  for (const id of listed.keys()) {
    if (id <= after) continue;
    lastListed = Math.max(lastListed, id);
    count++;
  }
  const end = Math.max(lastListed, namedEnd(newest));
  const unlisted = end - after - count;
  assertThat(lastListed >= after && unlisted >= 0, 'the log extends at least over what is listed of it (log-range 1)');
  return { after, lastListed, end, unlisted };
}

/** The error for an extent of which more is missing than can be lost object by object: then a number is wrong. */
export function tooMuchMissing(
  newest: LoadedManifest,
  listed: ReadonlyMap<number, unknown>,
  { after, lastListed, end, unlisted }: LogExtent,
): CorruptionError | undefined {
  if (unlisted <= MAX_MISSING_OBJECTS) return undefined;
  const needed = new Map([...listed].filter(([id]) => id > after));
  return manyMissing(newest, needed, lastListed, end);
}

// ---- past the listing

/** Which of the three ids past `end` are there. Three HEADs. */
export async function headsAfter(wal: ObjectStore, end: number): Promise<Map<number, ListedWal>> {
  assertThat(end >= 0, 'the log ends at an object, or at 0 before its first');
  const ids = Array.from({ length: HEADS_PAST_END }, (_, i) => end + 1 + i);
  const heads = await Promise.all(ids.map((id) => wal.head(walPath(id))));
  const found = new Map<number, ListedWal>();
  heads.forEach((head, i) => {
    if (head !== undefined) found.set(ids[i], { size: head.size, etag: head.etag });
  });
  return found;
}

/** The last id at or after `end` before three that are not there. Three HEADs, and three more for each time that one is there. */
export async function endAfter(wal: ObjectStore, end: number): Promise<number> {
  for (let last = end; ; ) {
    const further = Math.max(last, ...(await headsAfter(wal, last)).keys());
    if (further === last) return last;
    last = further;
  }
}

/** Consecutive ids; none if `end` is before `from`. */
export interface LogRange {
  from: number;
  /** Last id that exists or must exist. */
  end: number;
}

/**
 * The part of the log after the replay point of a manifest, of which `listed` was listed. At least three HEADs.
 * @throws CorruptionError if more is missing than can be lost object by object
 */
export async function rangeToReplay(
  wal: ObjectStore,
  newest: LoadedManifest,
  listed: ReadonlyMap<number, unknown>,
): Promise<LogRange> {
  const extent = extentOf(newest, listed);
  const implausible = tooMuchMissing(newest, listed, extent);
  if (implausible !== undefined) throw implausible;
  const end = await endAfter(wal, extent.end);
  return { from: extent.after + 1, end };
}

/** Most ids that are named one by one. */
const MOST_MISSING = 1000;
/** Most ids that are asked for one by one; for more a second LIST is cheaper. */
const MOST_HEADS = 32;

/** Ids of the range that are not listed and not there, the first thousand. At most `MOST_HEADS` HEADs and one LIST. */
export async function missingIds(
  wal: ObjectStore,
  { from, end }: LogRange,
  listed: ReadonlyMap<number, unknown>,
): Promise<number[]> {
  const unlisted: number[] = [];
  for (let id = from; id <= end && unlisted.length < MOST_MISSING; id++) if (!listed.has(id)) unlisted.push(id);
  const asked = unlisted.slice(0, MOST_HEADS);
  const heads = await Promise.all(asked.map((id) => wal.head(walPath(id))));
  const again = unlisted.length > asked.length ? await listLog(wal, from - 1) : listed;
  return unlisted.filter((id, i) => (i < asked.length ? heads[i] === undefined : !again.has(id)));
}
