/**
 * Taking a database over from its current writer: a manifest with higher epochs, then a fence in the log.
 *
 * Three rules guard against a takeover that stalls while a collector works; the model of the protocol breaks a property without each:
 * 1. The claim counts only if it was answered within `FENCE_VALIDITY_MS` of the LIST that chose its id, else the manifests are
 *    listed again before the fence is sent; where a boundary file exists it is read before the fence in any case.
 * 2. If the fence was answered later than that after the first LIST, the epoch is looked at again before anything is served.
 * 3. Damage of objects that were passed on the way is concluded only from a manifest listed after they were seen.
 *
 * And two say what is compared:
 * 4. A claim has a higher id and a higher epoch than the manifest that it follows.
 * 5. Who owns the database is concluded from a list that begins with our claim, or later.
 *
 * A put without an answer ends the takeover: whether the place is ours is only known by looking again, from the beginning.
 */
import { assertThat } from '../common/assert.ts';
import { FencedError, UnavailableError } from '../common/errors.ts';
import { loadCodec } from '../format/codecs.ts';
import { manifestPath, walPath } from '../format/object-names.ts';
import type { Author } from '../lsm/manifest/author.ts';
import { readBoundary } from '../lsm/manifest/boundary-file.ts';
import type { DatabaseStores } from '../lsm/manifest/database-stores.ts';
import { type EpochGuard, FENCE_VALIDITY_MS, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { fencedBy } from '../lsm/manifest/manifest-log.ts';
import {
  type LoadedManifest,
  loadManifest,
  type SealManifestInput,
  sealManifest,
} from '../lsm/manifest/manifest-store.ts';
import type { WalDigest } from '../lsm/wal/wal-object.ts';
import { encodeFence } from '../lsm/wal/wal-writer.ts';
import { findNewestId } from './place.ts';

/**
 * Rejects unless the stored epoch is the one that the caller has seen: taking over from another one would fence a writer of
 * whom the caller knows nothing. Asked before each attempt at a claim, of the manifest that the claim would follow; together
 * with the put that only one can win it makes the claim a compare-and-swap of the epoch.
 */
export function assertExpectedEpoch(where: string, newest: LoadedManifest, expected: number | undefined): void {
  const { writerEpoch } = newest.manifest;
  if (expected === undefined || writerEpoch === expected) return;
  const owner = newest.seal?.owner?.hostPid;
  const who = owner === undefined ? '' : ` (${owner})`;
  const what =
    writerEpoch > expected
      ? `another writer${who} has taken the database over since`
      : 'no writer has had that epoch yet; look again, or the newest manifests are lost';
  throw new FencedError(
    'WRITER_FENCED',
    `${where}: writer epoch ${expected} was expected (option expectedEpoch, --expected-epoch), manifest ${newest.id} has ${writerEpoch}: ${what}. Nothing was written and no writer was fenced.`,
    { details: { owner, expectedEpoch: expected, epoch: writerEpoch, manifestId: newest.id } },
  );
}

/** What is known of the log; it grows while the fence is placed. */
export interface LogTail {
  /** Last id that exists or must exist. */
  readonly end: number;
  readonly greatestSeq: number;
  digestOf(id: number): WalDigest | undefined;
}

export interface Takeover {
  stores: DatabaseStores;
  guard: EpochGuard;
  author: Author;
  /** The database, for messages. */
  where: string;
  /** Before the first LIST of all. */
  startedAt: Stamp;
  /** Before the LIST that chose the id of the claim. */
  listedAt: Stamp;
  hasBoundary: boolean;
  claim: Omit<SealManifestInput, 'author' | 'epoch' | 'claims'>;
  fenceForm: 'table' | 'zero-bytes';
  log: LogTail;
  /** Reads the objects up to `to` that an older writer added in the meantime; resolves with what is wrong with them. */
  readPassed(to: number, claimed: LoadedManifest): Promise<Error | undefined>;
  /** Sent together with the claim. */
  beside?: () => Promise<void>;
}

export interface Fence {
  id: number;
  digest: WalDigest;
  /** Greatest sequence number before it. */
  lastSeq: number;
}

/** The manifest with our epoch, and the fence; undefined if another manifest was faster: nothing was changed, look again. */
export async function takeOver(t: Takeover): Promise<{ claimed: LoadedManifest; fence: Fence } | undefined> {
  const { id, manifest, previous } = t.claim;
  assertThat(previous === undefined || id > previous.id, 'a claim comes after the manifest that it follows (fence 4)');
  assertThat(
    previous === undefined || manifest.writerEpoch > previous.manifest.writerEpoch,
    'a claim has a higher epoch than the manifest that it follows (fence 4)',
  );
  const sealed = sealManifest({ ...t.claim, author: t.author, epoch: manifest.writerEpoch, claims: true });
  const [answer] = await Promise.all([
    t.stores.main.put(manifestPath(id), sealed.bytes, { condition: 'if-absent', putId: sealed.putId }),
    t.beside?.(),
  ]);
  if (answer.outcome === 'refused') return undefined;
  if (answer.outcome === 'unknown') throw unansweredError(t.where, `manifest ${id}`, answer.cause);
  if (!(await claimCounts(t))) return undefined;
  const claimed = loadManifest(id, sealed.bytes);
  // Also without a log: the writer before us may have one, and must not acknowledge another write.
  const fence = await placeFence(t, claimed);
  await assertStillOwner(t, claimed);
  return { claimed, fence };
}

/** Whether the claim is the newest manifest, as far as its age requires to look. */
async function claimCounts(t: Takeover): Promise<boolean> {
  const { id } = t.claim;
  if (t.hasBoundary) {
    const { value } = await readBoundary(t.stores.main);
    if (id <= value) return false;
  }
  if (t.guard.ageMs(t.listedAt) <= FENCE_VALIDITY_MS) return true;
  const stamp = t.guard.stamp();
  if ((await findNewestId(t.stores.main, id, stamp)) !== id) return false;
  t.guard.confirmListed(stamp);
  return true;
}

/** Puts the fence after the end of the log; verifies what an older writer put there in the meantime. */
async function placeFence(t: Takeover, claimed: LoadedManifest): Promise<Fence> {
  const { main, wal } = t.stores;
  const codec = await loadCodec('none');
  const { lastL0Seq } = claimed.manifest;
  for (let id = t.log.end + 1; ; id++) {
    const isFirstTry = id === t.log.end + 1;
    const facts = {
      id,
      epoch: claimed.manifest.writerEpoch,
      newestManifestId: claimed.id,
      // Objects that an older writer adds at this moment have not been read: the chain starts again.
      predecessor: isFirstTry ? t.log.digestOf(t.log.end) : undefined,
      lastSeq: Math.max(lastL0Seq, t.log.greatestSeq),
    };
    const encoded = encodeFence(facts, t.fenceForm, codec, t.author);
    const answer = await wal.put(walPath(id), encoded.bytes, {
      condition: 'if-absent',
      putId: encoded.putId,
      proveRefusal: true,
    });
    if (answer.outcome === 'unknown') throw unansweredError(t.where, `the fence at WAL id ${id}`, answer.cause);
    if (answer.outcome === 'refused') {
      await assertOwner(t, claimed, await findNewestId(main, claimed.id));
      continue;
    }
    if (!isFirstTry) await verifyPassed(t, id - 1, claimed);
    return { id, digest: encoded.digest, lastSeq: Math.max(lastL0Seq, t.log.greatestSeq) };
  }
}

async function verifyPassed(t: Takeover, to: number, claimed: LoadedManifest): Promise<void> {
  const verdict = await t.readPassed(to, claimed);
  if (verdict === undefined) return;
  // What is missing may have been collected after another takeover: concluded only from manifests listed after it was seen.
  await assertOwner(t, claimed, await findNewestId(t.stores.main, claimed.id));
  throw verdict;
}

/** A takeover that took long reads the epoch once more before it serves anything. */
async function assertStillOwner(t: Takeover, claimed: LoadedManifest): Promise<void> {
  t.guard.confirmListed(t.startedAt);
  if (t.guard.ageMs(t.startedAt) <= FENCE_VALIDITY_MS) return;
  const stamp = t.guard.stamp();
  await assertOwner(t, claimed, await findNewestId(t.stores.main, claimed.id, stamp));
  t.guard.confirm(stamp);
}

async function assertOwner(t: Takeover, claimed: LoadedManifest, newest: number | undefined): Promise<void> {
  if (newest === undefined) {
    // A takeover leaves a newer manifest, and no collector deletes the newest: this list is wrong.
    throw new UnavailableError(
      'STORE_DOWN',
      `${t.where}: the list of the manifests shows neither our claim, manifest ${claimed.id}, nor a newer one.`,
    );
  }
  assertThat(newest >= claimed.id, 'a list from our claim on begins with it (fence 5)');
  if (newest === claimed.id) return;
  const got = await t.stores.main.get(manifestPath(newest));
  if (got === undefined) return assertOwner(t, claimed, await findNewestId(t.stores.main, claimed.id));
  const loaded = loadManifest(newest, got.bytes);
  if (loaded.manifest.writerEpoch > claimed.manifest.writerEpoch) throw fencedBy(loaded, claimed.manifest.writerEpoch);
}

/** The error for a write that opening or repairing again settles. */
export function unansweredError(where: string, what: string, cause: unknown): UnavailableError {
  return new UnavailableError(
    'WRITE_OUTCOME_UNKNOWN',
    `${where}: no answer says whether ${what} was written. Doing the same again settles it.`,
    { outcome: 'unknown', cause },
  );
}
