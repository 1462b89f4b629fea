/**
 * Opening for writing: look before you fence.
 *
 * Six round trips when there is nothing to replay: (1) look around, (2) newest manifest beside the condition check, (3) LIST of
 * the log, (4) GETs of its objects beside HEADs past its end, (5) claim of the epoch, (6) fence; one more where a collector's
 * boundary file exists, between 5 and 6. Everything is verified before 5: an opening that is refused has written nothing and
 * fenced nobody (but for creating a new database, which is written before it is claimed).
 *
 * `takeOver` has the rules that guard against an opening that stalls while a collector works; one of them holds here, too:
 * damage, holes and witnesses are judged only against a manifest listed after they were seen.
 */
import {
  type CorruptionError,
  IncompatibleError,
  InvalidArgumentError,
  isCorruption,
  UnavailableError,
} from '../common/errors.ts';
import { makeUlid } from '../common/ulid.ts';
import { type Manifest, NO_TICK } from '../format/manifest-types.ts';
import { IDENTITY_PATH, manifestPath, STORE_PROFILE_PATH } from '../format/object-names.ts';
import { decodeTracker, encodeTracker, isWideTracker, narrowTracker } from '../format/sequence-tracker.ts';
import { encodeIdentity } from '../format/sidecar.ts';
import { Author } from '../lsm/manifest/author.ts';
import { type DatabaseStores, whereOf } from '../lsm/manifest/database-stores.ts';
import { EpochGuard, type Stamp } from '../lsm/manifest/epoch-guard.ts';
import { type LoadedManifest, NO_WITNESS, sealManifest, type TailWitness } from '../lsm/manifest/manifest-store.ts';
import { withUniqueViewIds } from '../lsm/manifest/view-ids.ts';
import { tooNew } from '../lsm/table/verified-read.ts';
import { assertParentsInReach } from '../lsm/tree/parents.ts';
import type { TableStore } from '../lsm/tree/table-store.ts';
import { type Discovery, discover } from '../recovery/discovery.ts';
import { assertExpectedEpoch, type Fence, takeOver, unanswered } from '../recovery/fence.ts';
import {
  assertUsable,
  findNewestId,
  isNothingThere,
  isOvertaken,
  lookAround,
  type Surroundings,
} from '../recovery/place.ts';
import { VerifiedLog } from '../recovery/verified-log.ts';
import type { GetResult } from '../store/object-store.ts';
import { probeStore } from '../store/store-probe.ts';
import { FilterForms } from './filter-forms.ts';
import type { ResolvedOptions } from './options.ts';
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
const MAX_ROUNDS = 100;
/** Attempts to create a database that exists although no list shows it. */
const MAX_REFUSED_CREATIONS = 10;
const CREATOR = 'shaledb 0.1.0';

export interface OpeningSteps {
  /** Called when a database was found that can be written, before its log is looked at. */
  onFound?: () => void;
  /** The epoch to take over from; by default the option's. */
  expectedEpoch?: number | undefined;
}

export function openForWriting(
  stores: DatabaseStores,
  options: ResolvedOptions,
  tableStore: TableStore,
  { onFound = () => undefined, expectedEpoch = options.expectedEpoch }: OpeningSteps = {},
): Promise<OpenedForWriting> {
  return new Opening(stores, options, tableStore, expectedEpoch).run(onFound);
}

class Opening {
  readonly #stores: DatabaseStores;
  readonly #o: ResolvedOptions;
  readonly #guard: EpochGuard;
  readonly #wal: VerifiedLog;
  readonly #expectedEpoch: number | undefined;
  /** Of the first LIST that showed manifests. */
  #firstStamp: Stamp | undefined;
  readonly #tableStore: TableStore;
  readonly #forms = new FilterForms();
  #storeProfile: GetResult | undefined;
  #conditionsChecked = false;
  #isCreating = false;
  #refusedCreations = 0;

  constructor(stores: DatabaseStores, options: ResolvedOptions, tableStore: TableStore, expectedEpoch?: number) {
    this.#expectedEpoch = expectedEpoch;
    this.#stores = stores;
    this.#o = options;
    this.#tableStore = tableStore;
    this.#guard = new EpochGuard(options.clock, stores.latestStoreTimesMs);
    this.#wal = new VerifiedLog(stores, options);
  }

  async run(onFound: () => void): Promise<OpenedForWriting> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const found = await this.#discover();
      assertExpectedEpoch(this.#where(), found.newest, this.#expectedEpoch);
      this.#assertWritable(found);
      await assertParentsInReach(this.#stores, found.newest.manifest);
      onFound();
      await this.#wal.load(found.newest);
      const verdict = this.#wal.verdict(found.newest);
      if (verdict !== undefined) {
        if (await isOvertaken(this.#stores.main, found.newest.id)) continue;
        throw verdict;
      }
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
    const around = await lookAround(this.#stores, this.#guard, 'open', async () => {
      this.#storeProfile = wantsProfile ? await this.#stores.main.get(STORE_PROFILE_PATH) : undefined;
    });
    if (around.manifestIds.length === 0) return this.#create(around);
    this.#firstStamp ??= around.stamp;
    if (this.#o.errorIfExists && !this.#isCreating) {
      throw new InvalidArgumentError(
        'ALREADY_EXISTS',
        `${this.#where()}: a database exists here and errorIfExists is set.`,
      );
    }
    return discover(this.#stores, around, this.#o, async () => {
      if (around.identity !== undefined) await this.#checkConditions(IDENTITY_PATH, around.identity.bytes);
    });
  }

  #where(): string {
    return whereOf(this.#stores);
  }

  // ---- creating

  async #create(around: Surroundings): Promise<Discovery> {
    if (!(await isNothingThere(this.#stores, around))) return this.#discover();
    if (this.#expectedEpoch !== undefined) {
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${this.#where()}: no database is here, but writer epoch ${this.#expectedEpoch} was expected (option expectedEpoch). Check the path; none was created.`,
      );
    }
    if (!this.#o.createIfMissing) {
      throw new InvalidArgumentError(
        'NOT_A_DATABASE',
        `${this.#where()}: no database is here and createIfMissing is false. Check the path, or create it.`,
      );
    }
    await this.#assertStoreProfile();
    this.#isCreating = true;
    const databaseId = new Uint8Array(16);
    this.#o.random.fill(databaseId);
    const author = this.#author(databaseId);
    const manifest = emptyManifest(manifestHeader(this.#o.compatibility, undefined), this.#stores.hasWalStore);
    const sealed = sealManifest({ id: 1, manifest, previous: undefined, author, epoch: 0, witness: NO_WITNESS });
    const answer = await this.#stores.main.put(manifestPath(1), sealed.bytes, {
      condition: 'if-absent',
      putId: sealed.putId,
    });
    if (answer.outcome === 'unknown') throw unanswered(this.#where(), 'manifest 1', answer.cause);
    // Refused: somebody else creates it at this moment; go on with theirs, as soon as lists show it.
    if (answer.outcome === 'refused') {
      if (++this.#refusedCreations < MAX_REFUSED_CREATIONS) return this.#discover();
      throw new UnavailableError(
        'STORE_DOWN',
        `${this.#where()}: ${manifestPath(1)} exists, but lists of the store do not show it. Nothing was changed; try again later.`,
      );
    }
    const identity = encodeIdentity({
      databaseId,
      createdAtMs: this.#o.clock.nowMs(),
      creator: CREATOR,
      separateWalStore: this.#stores.hasWalStore,
    });
    const putId = makeUlid(this.#o.clock.nowMs(), this.#o.random);
    await Promise.all([
      this.#stores.main.put(IDENTITY_PATH, identity, { condition: 'if-absent', putId }),
      this.#checkConditions(manifestPath(1), sealed.bytes),
    ]);
    return this.#discover();
  }

  #author(databaseId: Uint8Array): Author {
    const { clock, random, owner } = this.#o;
    return new Author({ clock, random, owner, databaseId, role: 'writer' });
  }

  // ---- what must hold

  /**
   * One request that a store which honours conditions refuses: the bytes that are there, put again if absent. Nothing
   * changes either way.
   */
  async #checkConditions(path: string, bytes: Uint8Array): Promise<void> {
    if (this.#conditionsChecked) return;
    const putId = makeUlid(this.#o.clock.nowMs(), this.#o.random);
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
    assertProfileHolds(this.#o.compatibility, manifest, this.#where());
  }

  async #assertSuitable(found: Discovery): Promise<void> {
    if (found.identityDamage !== undefined && found.newest.seal === undefined) throw found.identityDamage;
    if (found.identity === undefined) await this.#checkConditions(manifestPath(found.newest.id), found.newestBytes);
    await this.#assertStoreProfile();
  }

  /** The full probe, once for each store; its result is kept beside the database. */
  async #assertStoreProfile(): Promise<void> {
    const { main } = this.#stores;
    if (main.conformance === 'known' || storedProfileFits(this.#storeProfile, main.name)) return;
    const { clock, random } = this.#o;
    const profile = await probeStore(main, { clock, random });
    if (!profile.conditionalCreate) throw this.#unsuitable();
    const bytes = new TextEncoder().encode(JSON.stringify({ ...profile, store: main.name }));
    await main.put(STORE_PROFILE_PATH, bytes, { condition: 'any', putId: makeUlid(clock.nowMs(), random) });
  }

  // ---- claiming and fencing

  async #takeOver(found: Discovery): Promise<OpenedForWriting | undefined> {
    const { newest, identity, boundary } = found;
    const databaseId = identity?.value.databaseId ?? newest.seal?.identity.databaseId ?? this.#drawId();
    const author = this.#author(databaseId);
    const canSettleEmptyPuts = this.#stores.main.conformance === 'known' || (identity?.keepsMetadata ?? false);
    const profile = chooseProfile(this.#o.compatibility, found, this.#wal.hasZeroByteFence, canSettleEmptyPuts);
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
    const hasBoundary = boundary.exists;
    return { author, profile, ...taken, hasBoundary, guard: this.#guard, wal: this.#wal, forms: this.#forms };
  }

  #drawId(): Uint8Array {
    const id = new Uint8Array(16);
    this.#o.random.fill(id);
    return id;
  }

  /** Gives a database that SlateDB made the identity that our seals name, or puts it in place of a damaged one. */
  async #writeIdentity(databaseId: Uint8Array, damaged: CorruptionError | undefined): Promise<void> {
    const bytes = encodeIdentity({
      databaseId,
      createdAtMs: this.#o.clock.nowMs(),
      creator: CREATOR,
      separateWalStore: this.#stores.hasWalStore,
    });
    if (damaged !== undefined) {
      this.#o.logger.warn('the damaged identity is written anew from the seal of the newest manifest', {
        error: damaged.message,
      });
    }
    const putId = makeUlid(this.#o.clock.nowMs(), this.#o.random);
    const condition = damaged === undefined ? 'if-absent' : 'any';
    await this.#stores.main.put(IDENTITY_PATH, bytes, { condition, putId });
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
    const views = isFirst || m.headerVersion !== 1 ? m : withUniqueViewIds(m, this.#o.random);
    return {
      ...views,
      headerVersion: profile.manifestHeader,
      writerEpoch: m.writerEpoch + 1,
      walIdLastSeen: Math.max(m.walIdLastSeen, this.#wal.end),
      walStoreUri: isFirst ? (this.#stores.hasWalStore ? (m.walStoreUri ?? '') : undefined) : undefined,
      segments: isFirst ? undefined : (m.segments ?? []),
      sequenceTracker: profile.keepsWideTracker ? m.sequenceTracker : narrowed(m.sequenceTracker),
    };
  }
}

/** A tracker of a newer form would be lost with the first table. A damaged one is lost already: it is begun anew. */
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

function storedProfileFits(stored: GetResult | undefined, storeName: string): boolean {
  if (stored === undefined) return false;
  try {
    const profile = JSON.parse(new TextDecoder().decode(stored.bytes)) as Record<string, unknown>;
    return profile['store'] === storeName && profile['conditionalCreate'] === true;
  } catch {
    // Not JSON: the store is probed again and the object replaced.
    return false;
  }
}

function emptyManifest(headerVersion: 1 | 2, hasWalStore: boolean): Manifest {
  return {
    headerVersion,
    externalDbs: [],
    initialized: true,
    writerEpoch: 0,
    compactorEpoch: 0,
    replayAfterWalId: 0,
    walIdLastSeen: 0,
    lastCompacted: undefined,
    l0: [],
    runs: [],
    lastL0ClockTick: NO_TICK,
    checkpoints: [],
    lastL0Seq: 0,
    recentSnapshotMinSeq: 0,
    walStoreUri: headerVersion === 1 && hasWalStore ? '' : undefined,
    sequenceTracker: encodeTracker({ seqs: [], timesS: [] }),
    segments: headerVersion === 2 ? [] : undefined,
    segmentExtractorName: undefined,
    unviewedTables: [],
    hasUnknownFields: false,
  };
}
