/**
 * Opening for writing: read first, then fence.
 *
 * Six round trips when there is nothing to replay: (1) look around, (2) newest manifest beside the condition check, (3) LIST of
 * the log, (4) GETs of its objects beside HEADs past its end, (5) claim of the epoch, (6) fence; one more where a collector's
 * boundary file exists, between 5 and 6. Everything is verified before 5: an opening that is refused has written nothing and
 * fenced no writer (but for creating a new database, which is written before it is claimed).
 *
 * `takeOver` has the rules that guard against an opening that stalls while a collector works; one of them holds here, too:
 * damage, holes and witnesses are concluded only from a manifest listed after they were seen.
 *
 * Invariants:
 * 1. Nothing of an opening that is refused was written, but a new database: what is claimed was verified.
 * 2. What is served has our epoch, the next one, and a fence after all rows.
 */

import { assertThat } from '../common/assert.ts';
import {
  type CorruptionError,
  IncompatibleError,
  InvalidArgumentError,
  isCorruption,
  UnavailableError,
} from '../common/errors.ts';
import { makeUlid } from '../common/ulid.ts';
import type { Manifest } from '../format/manifest-types.ts';
import { IDENTITY_PATH, manifestPath, STORE_PROFILE_PATH } from '../format/object-names.ts';
import { decodeTracker, encodeTracker, isWideTracker, narrowTracker } from '../format/sequence-tracker.ts';
import { type DatabaseIdentity, encodeIdentity } from '../format/sidecar.ts';
import { Author, CREATOR } from '../lsm/manifest/author.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { EpochGuard, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { claimEpochs, emptyManifest } from '../lsm/manifest/manifest-edits.ts';
import { type LoadedManifest, NO_WITNESS, sealManifest, type TailWitness } from '../lsm/manifest/manifest-store.ts';
import { keepProfile, keptProfile, probeStore } from '../lsm/manifest/store-probe.ts';
import { withUniqueViewIds } from '../lsm/manifest/view-ids.ts';
import { tooNew } from '../lsm/table/verified-read.ts';
import { assertParentsInReach } from '../lsm/tree/parents.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import { type Discovery, discover } from '../recovery/discovery.ts';
import { assertExpectedEpoch, type Fence, takeOver, unansweredError } from '../recovery/fence.ts';
import {
  assertCompactionsKnown,
  assertUsable,
  findNewestId,
  isEmptyPlace,
  isOvertaken,
  readSurroundings,
  type Surroundings,
} from '../recovery/place.ts';
import { VerifiedLog } from '../recovery/verified-log.ts';
import type { GetResult } from '../store/object-store.ts';
import { areSameEncodings, assertEncodings, BYTES_NAMES } from './encoding.ts';
import { FilterForms } from './filter-forms.ts';
import type { WriterSettings } from './open-options.ts';
import type { Parts } from './options.ts';
import { assertProfileHolds, chooseProfile, manifestHeader, type WriteProfile } from './profile.ts';

/** Everything a writer starts with. */
export interface OpenedForWriting {
  author: Author;
  guard: EpochGuard;
  profile: WriteProfile;
  /** The manifest with our epoch. */
  claimed: LoadedManifest;
  wal: VerifiedLog;
  fence: Fence;
  hasBoundary: boolean;
  forms: FilterForms;
}

/** Openings that find the manifest changed under them start over; so many lost races in a row are no accident. */
const MAX_CLAIM_ROUNDS = 100;
/** Attempts to create a database that exists although no list shows it. */
const MAX_REFUSED_CREATIONS = 10;

export interface OpeningSteps {
  /** Called when a database was found that can be written, before its log is looked at. */
  onFound?: () => void;
  /** The epoch to take over from; by default the option's. */
  expectedEpoch?: number | undefined;
}

/** What an opening is made with. */
export interface OpeningMeans {
  stores: DatabaseStores;
  tableStore: TableStore;
  settings: Pick<
    WriterSettings,
    | 'compatibility'
    | 'createIfMissing'
    | 'encodingCheck'
    | 'encodings'
    | 'errorIfExists'
    | 'expectAtLeast'
    | 'expectedEpoch'
    | 'healOnOpen'
    | 'memoryBytes'
    | 'owner'
  >;
  parts: Pick<Parts, 'clock' | 'logger' | 'onEvent' | 'random'>;
}

export function openForWriting(
  means: OpeningMeans,
  { onFound = () => undefined, expectedEpoch = means.settings.expectedEpoch }: OpeningSteps = {},
): Promise<OpenedForWriting> {
  return new VerifiedTakeover(means, expectedEpoch).run(onFound);
}

/** Rounds of reading, verifying and claiming, until the database is taken over or refused. */
class VerifiedTakeover {
  readonly #stores: DatabaseStores;
  readonly #settings: OpeningMeans['settings'];
  readonly #parts: OpeningMeans['parts'];
  readonly #guard: EpochGuard;
  readonly #wal: VerifiedLog;
  readonly #expectedEpoch: number | undefined;
  /** Of the first LIST that showed manifests. */
  #firstStamp: Stamp | undefined;
  readonly #tableStore: TableStore;
  readonly #forms = new FilterForms();
  #storeProfile: GetResult | undefined;
  /** The manifest that was verified with its log. */
  #verifiedId: number | undefined;
  #conditionsChecked = false;
  #isCreating = false;
  #refusedCreations = 0;

  constructor({ stores, tableStore, settings, parts }: OpeningMeans, expectedEpoch: number | undefined) {
    this.#expectedEpoch = expectedEpoch;
    this.#stores = stores;
    this.#settings = settings;
    this.#parts = parts;
    this.#tableStore = tableStore;
    this.#guard = new EpochGuard(parts.clock, stores.latestStoreTimesMs);
    this.#wal = new VerifiedLog(stores, { settings, parts });
  }

  async run(onFound: () => void): Promise<OpenedForWriting> {
    for (let round = 0; round < MAX_CLAIM_ROUNDS; round++) {
      const found = await this.#discover();
      assertExpectedEpoch(this.#where(), found.newest, this.#expectedEpoch);
      this.#assertWritable(found);
      assertEncodings(this.#where(), found.identity?.value.encodings, this.#settings);
      await assertParentsInReach(this.#stores, found.newest.manifest);
      onFound();
      await this.#wal.load(found.newest);
      const verdict = this.#wal.verdict(found.newest);
      if (verdict !== undefined) {
        if (await isOvertaken(this.#stores.main, found.newest.id)) continue;
        throw verdict;
      }
      this.#verifiedId = found.newest.id;
      await this.#assertSuitable(found);
      const opened = await this.#takeOver(found);
      if (opened !== undefined) return opened;
    }
    throw new UnavailableError(
      'DEADLINE',
      `${this.#stores.main.name}: other openings were always faster; try again later.`,
    );
  }

  async #discover(): Promise<Discovery> {
    const wantsProfile = this.#stores.main.conformance !== 'known';
    const around = await readSurroundings(this.#stores.main, this.#guard, 'open', async () => {
      this.#storeProfile = wantsProfile ? await this.#stores.main.get(STORE_PROFILE_PATH) : undefined;
    });
    assertCompactionsKnown(around);
    if (around.manifestIds.length === 0) return this.#create(around);
    this.#firstStamp ??= around.stamp;
    if (this.#settings.errorIfExists && !this.#isCreating) {
      throw new InvalidArgumentError(
        'ALREADY_EXISTS',
        `${this.#where()}: a database exists here and errorIfExists is set.`,
      );
    }
    const means = { settings: this.#settings, parts: this.#parts };
    return discover(this.#stores, around, means, async () => {
      if (around.identity !== undefined) await this.#checkConditions(IDENTITY_PATH, around.identity.bytes);
    });
  }

  #where(): string {
    return whereOf(this.#stores);
  }

  // ---- creating

  async #create(around: Surroundings): Promise<Discovery> {
    if (!(await isEmptyPlace(this.#stores, around))) return this.#discover();
    if (this.#expectedEpoch !== undefined) {
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${this.#where()}: no database is here, but writer epoch ${this.#expectedEpoch} was expected (option expectedEpoch). Check the path; none was created.`,
      );
    }
    if (!this.#settings.createIfMissing) {
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${this.#where()}: no database is here and createIfMissing is false. Check the path, or create it.`,
      );
    }
    await this.#assertStoreProfile();
    this.#isCreating = true;
    const databaseId = new Uint8Array(16);
    this.#parts.random.fill(databaseId);
    const author = this.#author(databaseId);
    const manifest = emptyManifest(manifestHeader(this.#settings.compatibility, undefined), this.#stores.hasWalStore);
    const sealed = sealManifest({ id: 1, manifest, previous: undefined, author, epoch: 0, witness: NO_WITNESS });
    const answer = await this.#stores.main.put(manifestPath(1), sealed.bytes, {
      condition: 'if-absent',
      putId: sealed.putId,
    });
    if (answer.outcome === 'unknown') throw unansweredError(this.#where(), 'manifest 1', answer.cause);
    // Refused: another process creates it at this moment; go on with its database, as soon as lists show it.
    if (answer.outcome === 'refused') {
      if (++this.#refusedCreations < MAX_REFUSED_CREATIONS) return this.#discover();
      throw new UnavailableError(
        'STORE_DOWN',
        `${this.#where()}: ${manifestPath(1)} exists, but lists of the store do not show it. Nothing was changed; try again later.`,
      );
    }
    const identity = encodeIdentity({
      databaseId,
      createdAtMs: this.#parts.clock.nowMs(),
      creator: CREATOR,
      separateWalStore: this.#stores.hasWalStore,
      encodings: this.#settings.encodings,
    });
    const putId = makeUlid(this.#parts.clock.nowMs(), this.#parts.random);
    await Promise.all([
      this.#stores.main.put(IDENTITY_PATH, identity, { condition: 'if-absent', putId }),
      this.#checkConditions(manifestPath(1), sealed.bytes),
    ]);
    return this.#discover();
  }

  #author(databaseId: Uint8Array): Author {
    const { clock, random } = this.#parts;
    const { owner } = this.#settings;
    return new Author({ clock, random, owner, databaseId, role: 'writer' });
  }

  // ---- what must hold

  /**
   * One request that a store which honours conditions refuses: the bytes that are there, put again if absent. Nothing
   * changes either way.
   */
  async #checkConditions(path: string, bytes: Uint8Array): Promise<void> {
    if (this.#conditionsChecked) return;
    const putId = makeUlid(this.#parts.clock.nowMs(), this.#parts.random);
    const answer = await this.#stores.main.put(path, bytes, { condition: 'if-absent', putId });
    if (answer.outcome === 'applied' && answer.attempt === 'now') {
      // A collected manifest can have been put back by this very request: then the store did nothing wrong.
      const newest = await findNewestId(this.#stores.main);
      if (path === IDENTITY_PATH || manifestPath(newest ?? 0) === path) throw this.#unsuitable();
      return;
    }
    this.#conditionsChecked = true;
  }

  #unsuitable(): InvalidArgumentError {
    return new InvalidArgumentError(
      'STORE_UNSUITABLE',
      `${this.#where()}: the store accepted a second creation of an existing object (it ignores If-None-Match). Without conditional writes two writers would destroy each other's data, so it is used for reading only (openReader).`,
    );
  }

  #assertWritable(found: Discovery): void {
    assertUsable(this.#stores, this.#stores.main.name, found);
    const { manifest, id } = found.newest;
    if ((manifest.segments?.length ?? 0) > 0 || manifest.segmentExtractorName !== undefined) {
      throw new IncompatibleError(
        'SEGMENTS_UNSUPPORTED',
        `${this.#where()}: this database is segmented (extractor ${manifest.segmentExtractorName ?? 'without a name'}). It can be read with openReader, not written.`,
      );
    }
    if (manifest.sequenceTracker !== undefined) assertKnownTracker(manifest.sequenceTracker, manifestPath(id));
    if (manifest.hasUnknownFields) {
      throw new IncompatibleError(
        'FORMAT_TOO_NEW',
        `${this.#where()}: manifest ${id} has fields that this version does not know and would lose. Open it with a newer version, or read it with openReader.`,
      );
    }
    assertProfileHolds(this.#settings.compatibility, manifest, this.#where());
  }

  async #assertSuitable(found: Discovery): Promise<void> {
    if (found.identityDamage !== undefined && found.newest.seal === undefined) throw found.identityDamage;
    if (found.identity === undefined) await this.#checkConditions(manifestPath(found.newest.id), found.newestBytes);
    await this.#assertStoreProfile();
  }

  /** The full probe, once for each store; its result is kept beside the database. */
  async #assertStoreProfile(): Promise<void> {
    const { main } = this.#stores;
    if (main.conformance === 'known' || keptProfile(this.#storeProfile, main.name) !== undefined) return;
    const { clock, random } = this.#parts;
    const profile = await probeStore(main, { clock, random });
    if (!profile.conditionalCreate) throw this.#unsuitable();
    await keepProfile(main, profile, { clock, random });
  }

  // ---- claiming and fencing

  async #takeOver(found: Discovery): Promise<OpenedForWriting | undefined> {
    const { newest, identity, boundary } = found;
    assertThat(this.#verifiedId === newest.id, 'what is claimed was verified, with its log (open-writer 1)');
    const databaseId = identity?.value.databaseId ?? newest.seal?.identity.databaseId ?? this.#drawId();
    const author = this.#author(databaseId);
    const canSettleEmptyPuts = this.#stores.main.conformance === 'known' || (identity?.keepsMetadata ?? false);
    const profile = chooseProfile(this.#settings.compatibility, found, this.#wal.hasZeroByteFence, canSettleEmptyPuts);
    const witness = this.#witness(newest);
    this.#forms.note(newest);
    // A manifest of SlateDB names no version of the ledger; ours above it must.
    if (newest.seal === undefined) await this.#tableStore.loadLedger(newest);
    await this.#forms.learn(this.#tableStore.view(newest.manifest));
    const claim = this.#forms.correct(this.#claim(newest.manifest, profile));
    const taken = await takeOver({
      stores: this.#stores,
      guard: this.#guard,
      author,
      where: this.#where(),
      startedAt: this.#firstStamp ?? found.stamp,
      listedAt: found.stamp,
      hasBoundary: boundary.exists,
      claim: {
        id: newest.id + 1,
        manifest: claim,
        previous: newest,
        witness,
        ...(newest.seal === undefined && { ledgerVersion: this.#tableStore.ledgerVersion }),
      },
      fenceForm: profile.fence,
      log: this.#wal,
      readPassed: async (to, claimed) => {
        await this.#wal.extend(to);
        return this.#wal.verdict(claimed);
      },
      ...(identity === undefined && { beside: () => this.#writeIdentity(databaseId, found.identityDamage) }),
    });
    if (taken === undefined) return undefined;
    const isOwn =
      taken.claimed.id > newest.id && taken.claimed.manifest.writerEpoch === newest.manifest.writerEpoch + 1;
    assertThat(isOwn, 'what is served has our epoch, the next one (open-writer 2)');
    assertThat(
      taken.fence.id > newest.manifest.replayAfterWalId && taken.fence.lastSeq >= newest.manifest.lastL0Seq,
      'our fence is after all rows (open-writer 2)',
    );
    if (identity !== undefined) await this.#noteEncodings(identity.value);
    const hasBoundary = boundary.exists;
    return { author, profile, ...taken, hasBoundary, guard: this.#guard, wal: this.#wal, forms: this.#forms };
  }

  #drawId(): Uint8Array {
    const id = new Uint8Array(16);
    this.#parts.random.fill(id);
    return id;
  }

  /** Gives a database that SlateDB made the identity that our seals name, or puts it in place of a damaged one. */
  async #writeIdentity(databaseId: Uint8Array, damaged: CorruptionError | undefined): Promise<void> {
    const bytes = encodeIdentity({
      databaseId,
      createdAtMs: this.#parts.clock.nowMs(),
      creator: CREATOR,
      separateWalStore: this.#stores.hasWalStore,
      encodings: this.#settings.encodings,
    });
    if (damaged !== undefined) {
      this.#parts.logger.warn('the damaged identity is written again from the seal of the newest manifest', {
        error: damaged.message,
      });
    }
    const putId = makeUlid(this.#parts.clock.nowMs(), this.#parts.random);
    const condition = damaged === undefined ? 'if-absent' : 'any';
    await this.#stores.main.put(IDENTITY_PATH, bytes, { condition, putId });
  }

  /**
   * Has the database remember the encodings of this opening: where it remembers none and there are any, and where its caller wants
   * that. Done by the owner of the database, with one PUT that is seldom needed.
   */
  async #noteEncodings(identity: DatabaseIdentity): Promise<void> {
    const { encodings, encodingCheck } = this.#settings;
    const noted = identity.encodings;
    const isNew = noted === undefined && !areSameEncodings(encodings, BYTES_NAMES);
    const isOther = noted !== undefined && encodingCheck === 'replace' && !areSameEncodings(encodings, noted);
    if (!isNew && !isOther) return;
    const putId = makeUlid(this.#parts.clock.nowMs(), this.#parts.random);
    const bytes = encodeIdentity({ ...identity, encodings });
    const answer = await this.#stores.main.put(IDENTITY_PATH, bytes, { condition: 'any', putId });
    if (answer.outcome === 'unknown') throw unansweredError(this.#where(), IDENTITY_PATH, answer.cause);
  }

  #witness(newest: LoadedManifest): TailWitness {
    const { end } = this.#wal;
    const digest = this.#wal.digestOf(end);
    if (digest === undefined) return newest.seal?.manifest?.walTail ?? NO_WITNESS;
    return { id: end, lastSeq: Math.max(this.#wal.greatestSeq, newest.manifest.lastL0Seq), digest: digest.bytes };
  }

  #claim(m: Manifest, profile: WriteProfile): Manifest {
    const isFirst = profile.manifestHeader === 1;
    // Version 1 stored no view ids, so they are chosen here.
    const views = isFirst || m.headerVersion !== 1 ? m : withUniqueViewIds(m, this.#parts.random);
    return {
      ...claimEpochs(views, { writer: m.writerEpoch + 1 }, this.#wal.end),
      headerVersion: profile.manifestHeader,
      walStoreUri: isFirst ? (this.#stores.hasWalStore ? (m.walStoreUri ?? '') : undefined) : undefined,
      segments: isFirst ? undefined : (m.segments ?? []),
      sequenceTracker: profile.keepsWideTracker ? m.sequenceTracker : narrowed(m.sequenceTracker),
    };
  }
}

/** A tracker of a newer form would be lost with the first table. A damaged one is lost already: a new one is started. */
function assertKnownTracker(bytes: Uint8Array, path: string): void {
  try {
    decodeTracker(bytes);
  } catch (error) {
    if (error instanceof IncompatibleError) throw tooNew(path, error);
    if (!isCorruption(error)) throw error;
  }
}

/** A form that every release opens: this manifest is the first one that an older release would meet. */
function narrowed(bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined || !isWideTracker(bytes)) return bytes;
  try {
    return encodeTracker(narrowTracker(decodeTracker(bytes)));
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return encodeTracker({ seqs: [], timesS: [] });
  }
}
