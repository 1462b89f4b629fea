/**
 * The evidence used to decide about the end of a log: the newest manifest that is not the mere claim of a repair.
 *
 * 1. Claims and fences of a repair that was cut off are ignored: they must not hide damage that is recognised by the end of the
 *    log or by the epoch. What counts instead is older.
 * 2. A bound is only drawn where a manifest could be read that was there before a repair.
 */
import { assertThat } from '../common/assert.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { manifestPath } from '../format/object-names.ts';
import {
  type LoadedManifest,
  loadMisplaced,
  readManifest,
  repairManifestBytes,
} from '../lsm/manifest/manifest-store.ts';
import type { WalReadResult } from '../lsm/wal/wal-object.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type EpochBound, isToolClaim, type LogContext } from './wal-check.ts';

/** Most claims of repairs that were cut off, one after the other, that are passed. */
const MAX_CLAIMS = 100;

export interface LogEvidence {
  context: LogContext;
  /** Where repairs that were cut off put, or meant to put, their fences. */
  fenceIds: ReadonlySet<number>;
}

/** One GET for each claim of a repair that was cut off; none where the newest manifest is no such claim. */
export async function readLogEvidence(store: ObjectStore, newest: LoadedManifest): Promise<LogEvidence> {
  const fenceIds = new Set<number>();
  let writers = newest;
  for (let i = 0; i < MAX_CLAIMS && isToolClaim(writers.seal); i++) {
    fenceIds.add(writers.manifest.walIdLastSeen + 1);
    const previous = await readManifest(store, writers.id - 1).catch((error: unknown) => {
      if (!isCorruption(error)) throw error;
      return undefined;
    });
    if (previous === undefined) break;
    writers = previous;
  }
  return logEvidenceOf(newest, writers, fenceIds);
}

/** `writers`: the newest manifest that is not the claim of a repair. */
export function logEvidenceOf(
  newest: LoadedManifest,
  writers: LoadedManifest = newest,
  fenceIds: ReadonlySet<number> = new Set(),
): LogEvidence {
  assertThat(writers.id <= newest.id, 'the evidence is the newest manifest or an older one (log-evidence 1)');
  const tail = newest.seal?.manifest?.walTail;
  const context = {
    lastL0Seq: newest.manifest.lastL0Seq,
    // The epoch of a repair's claim has no fence, or one that says whose it is.
    writerEpoch: writers.manifest.writerEpoch - (isToolClaim(writers.seal) ? 1 : 0),
    databaseId: newest.seal?.identity.databaseId,
    witness: tail === undefined || tail.id === 0 ? undefined : tail,
    writerTail: writerTailOf(writers),
  };
  return { context, fenceIds };
}

/** A writer's manifests after its claim name its fence or an object after it. */
function writerTailOf({ manifest, seal }: LoadedManifest): LogContext['writerTail'] {
  const id = seal?.manifest?.walTail.id ?? 0;
  if (id === 0 || seal?.identity.role !== 'writer' || seal.owner !== undefined) return undefined;
  return { id, epoch: manifest.writerEpoch };
}

/**
 * The same with what an older manifest of a writer says, where empty objects follow each other and the newest manifest is a
 * mere claim: after the object which that one names there is at most one fence for each epoch claimed since, so where
 * there are more, one held rows. One GET for each sealed manifest back to it; none where no two empty objects stand together.
 */
export async function withOlderWriterTail(
  store: ObjectStore,
  { id: newestId, seal }: LoadedManifest,
  evidence: LogEvidence,
  results: readonly (WalReadResult | undefined)[],
): Promise<LogEvidence> {
  const { context } = evidence;
  const isEmpty = (r: WalReadResult | undefined) => r?.object?.kind === 'empty';
  const isDoubtful = results.some((r, i) => i > 0 && isEmpty(r) && isEmpty(results[i - 1]));
  if (context.writerTail !== undefined || seal === undefined || !isDoubtful) return evidence;
  for (let id = newestId - 1; id >= Math.max(1, newestId - MAX_CLAIMS); id--) {
    const older = await readUsable(store, id);
    // Without seals no manifest shows it, however many are read.
    if (older === undefined || (older !== 'damaged' && older.seal === undefined)) break;
    const writerTail = older === 'damaged' ? undefined : writerTailOf(older);
    if (writerTail !== undefined) return { ...evidence, context: { ...context, writerTail } };
  }
  return evidence;
}

/**
 * The same with what the repair found that was the first since the last writer's manifest: objects that were there before it
 * can be no fences of claims that came later, nor of claims for which it only made room because it could not read them. One
 * GET for each manifest from the newest back to the writer's; none where no object is empty, or the newest is a writer's.
 */
export async function withRepairBound(
  store: ObjectStore,
  newest: LoadedManifest,
  evidence: LogEvidence,
  results: readonly (WalReadResult | undefined)[],
): Promise<LogEvidence> {
  if (!results.some((r) => r?.object?.kind === 'empty')) return evidence;
  let repair: LoadedManifest = newest;
  for (let i = 0; i < MAX_CLAIMS && repair.seal?.identity.role === 'tool'; i++) {
    const previousId = repair.seal.manifest?.previousManifestId ?? 0;
    const previous = previousId === 0 ? undefined : await readOrRepair(store, previousId);
    if (previous === undefined) break;
    if (previous.seal?.identity.role === 'tool') {
      repair = previous;
      continue;
    }
    const passedOver = await readMisplaced(store, previousId + 1, repair);
    const writerTail = evidence.context.writerTail ?? writerTailOf(previous);
    return {
      ...evidence,
      context: { ...evidence.context, writerTail, bounds: [boundOf([previous, ...passedOver], repair)] },
    };
  }
  return evidence;
}

/** What `repair` found when it came: `before` are the manifests that could be read then. */
export function boundOf(before: readonly LoadedManifest[], repair: LoadedManifest): EpochBound {
  assertThat(before.length > 0, 'a bound says what could be read before a repair (log-evidence 2)');
  const epochs = before.map((m) => m.manifest.writerEpoch);
  return { id: repair.manifest.walIdLastSeen, epoch: Math.max(...epochs) };
}

/** A manifest that a repair went on from, which may have repaired it. */
async function readOrRepair(store: ObjectStore, id: number): Promise<LoadedManifest | undefined> {
  const read = await readUsable(store, id);
  if (read !== 'damaged') return read;
  const got = await store.get(manifestPath(id));
  return got && repairManifestBytes(id, got.bytes)?.loaded;
}

/** Manifests under each other's names between `from` and the repair that passed them over. */
async function readMisplaced(store: ObjectStore, from: number, repair: LoadedManifest): Promise<LoadedManifest[]> {
  const found: LoadedManifest[] = [];
  for (let id = Math.max(from, repair.id - MAX_CLAIMS); id < repair.id; id++) {
    const got = await store.get(manifestPath(id));
    const misplaced = got && repair.seal && loadMisplaced(got.bytes, repair.seal.identity.databaseId);
    if (misplaced !== undefined) found.push(misplaced);
  }
  return found;
}

async function readUsable(store: ObjectStore, id: number): Promise<LoadedManifest | 'damaged' | undefined> {
  try {
    return await readManifest(store, id);
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return 'damaged';
    throw error;
  }
}

/** The log without the zero-byte fences that repairs which were cut off put at its end. */
export function withoutEmptyFences(
  results: readonly (WalReadResult | undefined)[],
  { fenceIds }: LogEvidence,
): readonly (WalReadResult | undefined)[] {
  let length = results.length;
  for (; length > 0; length--) {
    const object = results[length - 1]?.object;
    if (object?.kind !== 'empty' || !fenceIds.has(object.id)) break;
  }
  return results.slice(0, length);
}
