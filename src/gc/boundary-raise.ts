/**
 * Raises a boundary file: from then on ids up to its value may have been deleted, and a process that stalled between choosing such an id
 * and its PUT learns from the file that what it wrote does not count.
 *
 * ```
 * 2 GET -> no file            PUT if absent        refused: another collector was first, again from GET
 *     -> value >= wanted      1 GET more: the same -> done
 *     -> value < wanted       PUT If-Match ETag    refused: another collector was first, again from GET
 *     -> no answer to a PUT   again from GET, which shows what became of it
 * ```
 *
 * Invariants:
 * 1. The value never falls: it is replaced only by a greater one, and only where it is what was read.
 * 2. The file has no checksum, and one bit makes another number of it: what counts was read alike twice, and three times where files are
 *    deleted on its word alone. After a PUT the store compares: it would refuse one whose ETag is not that of what was read.
 * 3. It stays below the newest file of its kind, without exception: at or above it no opening would ever accept that one.
 */
import { assertThat } from '../common/assert.ts';
import type { Clock } from '../common/clock.ts';
import { type CorruptionError, UnavailableError } from '../common/errors.ts';
import type { Random } from '../common/random.ts';
import { makeUlid } from '../common/ulid.ts';
import { encodeBoundary } from '../format/boundary.ts';
import { STORE_PROFILE_PATH } from '../format/object-names.ts';
import { type Boundary, readBoundary } from '../lsm/manifest/boundary-file.ts';
import { keepProfile, keptProfile, probeStore } from '../lsm/manifest/store-probe.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { StoreProfile } from '../store/store-probe.ts';

/** Each lost round is one that another collector won; so many are no accident. */
const MAX_RAISES = 20;

/** How a store is asked to replace an object: with the ETag as it came, or without its quotes. */
export type IfMatchForm = Extract<StoreProfile['ifMatch'], 'supported' | 'unquoted'>;

export interface BoundaryRaise {
  store: ObjectStore;
  clock: Clock;
  random: Random;
  path: string;
  /** The greatest id that is to be deleted. */
  to: number;
  /** Of the newest file of this kind, as the round saw it. */
  newestId: number;
  /** The same, looked for again: others may have written files, and a collector may have raised the boundary above what was seen. */
  newestNow(): Promise<number>;
  form: IfMatchForm;
  /** The damage of a boundary that is at or above the newest file. */
  tooHigh(value: number, newestId: number): CorruptionError;
}

/**
 * The value that is stored when this resolves, at least `to`. Two GETs and a PUT; three GETs alone where the value is high enough; all again for
 * each time that another collector was first; the newest file is looked for where it is above the one that was seen. Rejects with the damage of a file that is no number or too high, and with
 * `UnavailableError`; what was written then is no harm, since the value only rises.
 */
export async function raiseBoundary(raise: BoundaryRaise): Promise<number> {
  const { store, path, to, newestId, newestNow } = raise;
  assertThat(to < newestId, 'a boundary stays below the newest file (boundary-raise 3)', { path, to, newestId });
  for (let round = 0; round < MAX_RAISES; round++) {
    const stored = await readAlike(raise);
    if (stored === undefined) continue;
    if (stored.value >= newestId) {
      const now = await newestNow();
      if (stored.value >= now) throw raise.tooHigh(stored.value, now);
    }
    if (stored.value >= to) {
      if (isSame(stored, await readBoundary(store, path))) return stored.value;
      continue;
    }
    if (await replace(raise, stored)) return to;
  }
  throw new UnavailableError(
    'DEADLINE',
    `${store.name}: other collectors always raised ${path} first; try again later.`,
  );
}

/** What two reads agree about; undefined: they do not. */
async function readAlike({ store, path }: BoundaryRaise): Promise<Boundary | undefined> {
  const [first, second] = [await readBoundary(store, path), await readBoundary(store, path)];
  return isSame(first, second) ? second : undefined;
}

function isSame(a: Boundary, b: Boundary): boolean {
  return a.value === b.value && a.etag === b.etag;
}

/** False: what became of it is only known by reading again. */
async function replace({ store, clock, random, path, to, form }: BoundaryRaise, stored: Boundary): Promise<boolean> {
  assertThat(stored.value < to, 'a boundary never falls (boundary-raise 1)', { path, to, stored: stored.value });
  const { etag } = stored;
  const condition =
    etag === undefined ? 'if-absent' : { ifMatch: form === 'unquoted' ? etag.replace(/^"(.*)"$/, '$1') : etag };
  const putId = makeUlid(clock.nowMs(), random);
  const { outcome } = await store.put(path, encodeBoundary(to), { condition, putId });
  return outcome === 'applied';
}

/**
 * How the store replaces an object only if it is what was read; undefined: it does not, or says so and does not do it. No request for
 * stores that are known to; else a GET of what an opening has found out, and where it has not, a probe (`mayProbe`: some 60 requests,
 * once for each database). Without `mayProbe` a store of which nothing is known counts as one that does.
 */
export async function ifMatchForm(
  store: ObjectStore,
  { clock, random, mayProbe }: { clock: Clock; random: Random; mayProbe: boolean },
): Promise<IfMatchForm | undefined> {
  if (store.conformance === 'known') return 'supported';
  const kept = keptProfile(await store.get(STORE_PROFILE_PATH), store.name);
  if (kept?.ifMatch !== undefined) return formOf(kept.ifMatch);
  if (!mayProbe) return 'supported';
  const profile = await probeStore(store, { clock, random });
  if (!profile.conditionalCreate) return undefined;
  await keepProfile(store, profile, { clock, random });
  return formOf(profile.ifMatch);
}

function formOf(ifMatch: StoreProfile['ifMatch']): IfMatchForm | undefined {
  return ifMatch === 'supported' || ifMatch === 'unquoted' ? ifMatch : undefined;
}
