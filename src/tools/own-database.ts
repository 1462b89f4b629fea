/**
 * Makes a database ours for a repair: a manifest with both epochs raised, a fence after the end of the log and, where there is
 * one, a compactions file with the new epoch. Earlier writers and compactors are fenced from then on; a live writer keeps its
 * own list of tables, a live compactor its own runs, whatever a manifest says, so no edit of the tree is safe without it.
 */
import { type CorruptionError, IncompatibleError, isCorruption, UnavailableError } from '../common/errors.ts';
import { makeUlid } from '../common/ulid.ts';
import { decodeCompactions } from '../format/compactions-codec.ts';
import type { Manifest } from '../format/manifest-types.ts';
import {
  COMPACTIONS_PREFIX,
  compactionsPath,
  IDENTITY_PATH,
  ledgerPath,
  manifestPath,
  walPath,
} from '../format/object-names.ts';
import type { RepairRecord } from '../format/seal-records.ts';
import { encodeIdentity } from '../format/sidecar.ts';
import { Author, CREATOR } from '../lsm/manifest/author.ts';
import { CompactionsLog, type CompactionsLogOptions } from '../lsm/manifest/compactions-log.ts';
import { findNewestCompactions, type LoadedCompactions } from '../lsm/manifest/compactions-store.ts';
import { EpochGuard, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { claimEpochs } from '../lsm/manifest/manifest-edits.ts';
import { type LoadedManifest, loadManifest, NO_WITNESS } from '../lsm/manifest/manifest-store.ts';
import { readLedger } from '../lsm/tree/damage-ledger.ts';
import { readWalObject, type WalDigest } from '../lsm/wal/wal-object.ts';
import { NEWER_COMPACTIONS } from '../recovery/discovery.ts';
import { type Fence, type LogTail, takeOver, unansweredError } from '../recovery/fence.ts';
import { endAfter, extentOf, listLog } from '../recovery/log-range.ts';
import { assertCompactionsKnown, type Surroundings } from '../recovery/place.ts';
import type { ToolAccess } from '../recovery/tool-access.ts';
import { MAX_ROUNDS, type ToolTarget } from './target.ts';

export interface Owned {
  claimed: LoadedManifest;
  fence: Fence;
  author: Author;
}

export interface Claim {
  /** What the new manifest is made of; its epochs are raised here. */
  manifest: Manifest;
  id: number;
  previous: LoadedManifest;
  greatestSeq: number | undefined;
  /** Set if the claim itself is the repair. */
  repair?: RepairRecord;
  /** Epochs that were seen elsewhere; the new ones exceed them. */
  seenEpochs?: { writer: number; compactor: number };
}

/** Undefined if another manifest was faster: nothing was changed, look again. */
export async function ownDatabase(
  target: ToolTarget,
  guard: EpochGuard,
  state: Surroundings,
  claim: Claim,
): Promise<Owned | undefined> {
  assertCompactionsKnown(state);
  const { stores } = target;
  const startedAt = state.stamp;
  const databaseId = await databaseIdOf(target, state, claim.previous);
  const author = toolAuthor(target, databaseId);
  const log = await readLogTail(target, claim);
  const compactions = await readCompactions(target, state.newestCompactionsId);
  const witness = claim.previous.seal?.manifest?.walTail ?? NO_WITNESS;
  // The manifest before may be SlateDB's, which names none, or older than the last loss that was written down. A version that
  // cannot be read is named, too: what it says must not be forgotten.
  const ledgerVersion = (await readLedger(stores.main, claim.previous)).version;
  // What prevents losses from being recorded must be reported now, too.
  await stores.main.head(ledgerPath(ledgerVersion + 1));
  const compactorEpoch =
    Math.max(
      claim.manifest.compactorEpoch,
      claim.seenEpochs?.compactor ?? 0,
      compactions?.compactions.compactorEpoch ?? 0,
    ) + 1;
  const writerEpoch = Math.max(claim.manifest.writerEpoch, claim.seenEpochs?.writer ?? 0, log.epoch) + 1;
  const showsNewer =
    state.boundary.exists || log.hasEmptyObject || (compactions?.compactions.headerVersion ?? 0) >= NEWER_COMPACTIONS;
  const canSettleEmptyPuts = stores.main.conformance === 'known' || (state.identity?.keepsMetadata ?? false);
  const taken = await takeOver({
    stores,
    guard,
    author,
    where: target.where,
    startedAt,
    listedAt: state.stamp,
    hasBoundary: state.boundary.exists,
    claim: {
      id: claim.id,
      manifest: claimEpochs(claim.manifest, { writer: writerEpoch, compactor: compactorEpoch }, log.end),
      previous: claim.previous,
      witness,
      ledgerVersion,
      ...(claim.repair !== undefined && { repair: claim.repair }),
    },
    fenceForm: showsNewer && canSettleEmptyPuts ? 'zero-bytes' : 'table',
    log,
    // The plan is made again when the database is ours, over everything that was passed.
    readPassed: () => Promise.resolve(undefined),
    ...(state.identity === undefined && { beside: () => writeIdentity(target, state, databaseId) }),
  });
  if (taken === undefined) return undefined;
  if (compactions !== undefined) {
    const compactionsOptions = { guard: compactionsGuard(target, state.stamp), hasBoundary: state.boundary.exists };
    await claimCompactions(target, author, compactions, taken.claimed, compactionsOptions);
  }
  return { ...taken, author };
}

export function toolAuthor(target: ToolTarget, databaseId: Uint8Array): Author {
  const { clock, random, owner } = target;
  return new Author({ clock, random, owner, databaseId, role: 'tool' });
}

/** The id that seals name: of the identity, else of a manifest's seal, else, for a database of SlateDB, a new one. */
export async function databaseIdOf(
  target: ToolTarget,
  state: Surroundings,
  newest: LoadedManifest,
): Promise<Uint8Array> {
  const known = state.identity?.value.databaseId ?? newest.seal?.identity.databaseId;
  if (known !== undefined) return known;
  if (state.identityDamage !== undefined) return sealedDatabaseId(target, state, state.identityDamage);
  const id = new Uint8Array(16);
  target.random.fill(id);
  return id;
}

/** From an older manifest's seal. */
async function sealedDatabaseId(
  target: ToolTarget,
  { manifestIds }: Surroundings,
  identityDamage: CorruptionError,
): Promise<Uint8Array> {
  for (const id of [...manifestIds].reverse()) {
    const got = await target.stores.main.get(manifestPath(id));
    if (got === undefined) continue;
    try {
      const { seal } = loadManifest(id, got.bytes);
      if (seal !== undefined) return seal.identity.databaseId;
    } catch {
      // A manifest that cannot be read says nothing about the id; another one may.
    }
  }
  throw identityDamage;
}

async function writeIdentity(target: ToolTarget, state: Surroundings, databaseId: Uint8Array): Promise<void> {
  const { stores, clock, random } = target;
  const bytes = encodeIdentity({
    databaseId,
    createdAtMs: clock.nowMs(),
    creator: CREATOR,
    separateWalStore: stores.hasWalStore,
  });
  const condition = state.identityDamage === undefined ? 'if-absent' : 'any';
  await stores.main.put(IDENTITY_PATH, bytes, { condition, putId: makeUlid(clock.nowMs(), random) });
}

// ---- the end of the log

interface ReadTail extends LogTail {
  /** Highest epoch in the seal of the last object. */
  epoch: number;
  hasEmptyObject: boolean;
}

/** One LIST, three HEADs, and a GET of the last object. */
async function readLogTail(target: ToolTarget, { manifest, previous, greatestSeq }: Claim): Promise<ReadTail> {
  const { wal } = target.stores;
  const listed = await listLog(wal, manifest.replayAfterWalId);
  const end = await endAfter(wal, extentOf({ manifest, seal: previous.seal }, listed).end);
  const last = end === 0 ? undefined : await wal.get(walPath(end));
  const read = last === undefined ? undefined : await readWalObject(end, last.bytes);
  const digest: WalDigest | undefined = read?.object?.digest();
  return {
    end,
    epoch: read?.seal?.identity.epoch ?? 0,
    hasEmptyObject: [...listed.values()].some(({ size }) => size === 0),
    greatestSeq: Math.max(greatestSeq ?? 0, read?.seal?.wal?.lastSeq ?? 0, read?.seqs?.max ?? 0),
    digestOf: (id) => (id === end ? digest : undefined),
  };
}

// ---- the compactor's file

/**
 * Undefined where there is none, or none that can be read: then only the manifest shows a compactor that it is fenced. The place of the
 * next one is checked, too: what prevents it from being written must be reported before the database is claimed.
 */
async function readCompactions(target: ToolTarget, id: number | undefined): Promise<LoadedCompactions | undefined> {
  if (id === undefined) return undefined;
  const { main } = target.stores;
  const [got] = await Promise.all([main.get(compactionsPath(id)), main.head(compactionsPath(id + 1))]);
  if (got === undefined) return undefined;
  try {
    const { compactions } = decodeCompactions(got.bytes);
    return compactions.hasUnknownFields ? undefined : { id, compactions, seal: undefined };
  } catch (error) {
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    warnUnreadable(target, compactionsPath(id));
    return undefined;
  }
}

function warnUnreadable({ logger }: ToolTarget, path: string): void {
  logger.warn('the compactions file cannot be read; a compactor learns of the repair only by the manifest', { path });
}

/** Fences the compactor of a database that this process has open, which keeps the writer's epoch. */
export async function claimCompactor(target: ToolTarget, openDb: ToolAccess, author: Author): Promise<LoadedManifest> {
  const guard = compactionsGuard(target);
  const found = await readCompactions(target, await findNewestCompactions(target.stores.main));
  const seen = found?.compactions.compactorEpoch ?? 0;
  const claimed = await openDb.commit((m) => claimEpochs(m, { compactor: Math.max(m.compactorEpoch, seen) + 1 }), {});
  if (found !== undefined) await claimCompactions(target, author, found, claimed, { guard, hasBoundary: false });
  return claimed;
}

/** Of the lists of `compactions/`, the last of which was sent after `since`. */
function compactionsGuard({ stores, clock }: ToolTarget, since?: Stamp): EpochGuard {
  const ofMain = (times: (number | undefined)[]) => times.slice(0, 1);
  const from = since && { ...since, storesMs: ofMain(since.storesMs) };
  return new EpochGuard(clock, () => ofMain(stores.latestStoreTimesMs()), from);
}

/** The same jobs under the new epoch. */
async function claimCompactions(
  target: ToolTarget,
  author: Author,
  found: LoadedCompactions,
  claimed: LoadedManifest,
  compactionsOptions: Pick<CompactionsLogOptions, 'guard' | 'hasBoundary'>,
): Promise<void> {
  const { main } = target.stores;
  const { compactorEpoch } = claimed.manifest;
  const log = new CompactionsLog({
    store: main,
    author,
    ...compactionsOptions,
    // The process with the greater epoch has fenced this claim in the manifest already.
    role: 'none',
    epoch: compactorEpoch,
    current: found,
    newestManifestId: () => claimed.id,
  });
  let rounds = 0;
  try {
    await log.commit(({ compactions, running }) => {
      if (compactions.hasUnknownFields || compactions.compactorEpoch >= compactorEpoch) return undefined;
      if (rounds++ === MAX_ROUNDS) {
        const message = `${target.where}: a compactor always wrote ${COMPACTIONS_PREFIX} first.`;
        throw new UnavailableError('DEADLINE', message);
      }
      return { compactions: { ...compactions, compactorEpoch }, running };
    });
  } catch (error) {
    const next = compactionsPath(log.current.id + 1);
    if (error instanceof UnavailableError && error.outcome === 'unknown') {
      throw unansweredError(target.where, next, error.cause);
    }
    if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    warnUnreadable(target, next);
  }
}
