/**
 * The newest manifest as one role holds it: a versioned log (versioned-log.ts) whose versions are sealed manifests.
 *
 * Invariants, beside those of the versioned log:
 * 1. Each manifest that is written keeps the rules from one manifest to the next, and none with unknown fields is rewritten.
 * 2. A manifest never names an older version of the ledger of losses than one before it did: manifests of SlateDB name none, and must
 *    not end it.
 * 3. The compactor of this process may commit through the log of the writer: no id is contended between the two. Its epoch is compared
 *    with that of each manifest on which a change of it is applied. Being fenced ends this commit, not the log.
 */
import { DOCTOR, nameOf } from '../../common/advice.ts';
import { assertThat } from '../../common/assert.ts';
import { FencedError, ManifestCorruptionError } from '../../common/errors.ts';
import { makeFinding, WHOLE_OBJECT } from '../../common/finding.ts';
import type { Manifest } from '../../format/manifest-types.ts';
import { manifestPath } from '../../format/object-names.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Author } from './author.ts';
import { findTooHighBoundary, readBoundary } from './boundary-file.ts';
import { compactorFenced } from './compactions-store.ts';
import type { EpochGuard } from './epoch-guard.ts';
import { decreasedFields } from './manifest-rules.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestBoundaryLook,
  manifestFindingObject,
  readManifest,
  type SealManifestInput,
  sealManifest,
  type TailWitness,
} from './manifest-store.ts';
import { assertEpoch, type EpochRule, type VersionedForm, VersionedLog } from './versioned-log.ts';

export interface ManifestLogOptions {
  store: ObjectStore;
  author: Author;
  guard: EpochGuard;
  /** What this process is to the database; the writer if absent. Without a role no epoch is compared. */
  role?: 'writer' | 'compactor' | 'none';
  /** The epoch of the role, which seals name. */
  epoch: number;
  current: LoadedManifest;
  /** Whether a collector of newer SlateDBs works here: then each commit reads its boundary file. */
  hasBoundary: boolean;
  witness(): TailWitness;
  /** A newer manifest came into use. */
  onAdopt(manifest: LoadedManifest): void;
}

/**
 * The next manifest made from the newest, whose id is `id`; undefined: it already says what is wanted. `ledgerVersion`: the newest
 * version of the ledger of losses that manifests up to this one name.
 */
export type ManifestChange = (manifest: Manifest, id: number, ledgerVersion: number) => Manifest | undefined;

export interface CommitOptions extends Pick<SealManifestInput, 'ledgerVersion' | 'repair'> {
  cleanClose?: boolean;
  /** Whose manifest it is, where it is not that of the role which has the log: it is sealed in this name. */
  asCompactor?: CompactorName;
}

export interface CompactorName {
  author: Author;
  /** Undefined: the change claims one. */
  epoch: number | undefined;
}

const FORM: VersionedForm<LoadedManifest> = {
  noun: 'manifest',
  plural: 'the manifests',
  path: manifestPath,
  listIds: listManifestIds,
  load: loadManifest,
  read: readManifest,
  readBoundary,
  tooHigh: (store, clock, id, boundary) => findTooHighBoundary(manifestBoundaryLook(store, clock), id, boundary),
  vanished,
};

export class ManifestLog {
  readonly #options: ManifestLogOptions;
  readonly #log: VersionedLog<LoadedManifest>;
  #refreshes = 0;
  #ledgerVersion: number;

  constructor(options: ManifestLogOptions) {
    const { store, author, guard, role = 'writer', epoch, current, hasBoundary } = options;
    this.#options = options;
    this.#ledgerVersion = ledgerVersionOf(current);
    this.#log = new VersionedLog({
      store,
      clock: author.clock,
      form: FORM,
      guard,
      epoch: role === 'none' ? undefined : epochRule(role, epoch),
      current,
      hasBoundary,
      onAdopt: (loaded) => {
        this.#ledgerVersion = Math.max(this.#ledgerVersion, ledgerVersionOf(loaded));
        options.onAdopt(loaded);
      },
    });
  }

  get current(): LoadedManifest {
    return this.#log.current;
  }

  get author(): Author {
    return this.#options.author;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  /**
   * Writes `change` of the newest manifest as the next one; resolves once it is stored and known to count.
   * One PUT, and a LIST and a GET for each manifest of others that came first; a GET where a collector keeps a boundary, and once a
   * minute where none was seen.
   */
  commit(change: ManifestChange, options: CommitOptions = {}): Promise<void> {
    const { asCompactor, ...seal } = options;
    return this.#log.commit((base) => {
      if (asCompactor?.epoch !== undefined) assertEpoch(epochRule('compactor', asCompactor.epoch), FORM.noun, base);
      const next = change(base.manifest, base.id, this.#ledgerVersion);
      if (next === undefined) return undefined;
      const decreased = decreasedFields(base.manifest, next);
      assertThat(decreased.length === 0, 'a manifest never goes back', { decreased });
      assertThat(this.#ledgerVersion >= ledgerVersionOf(base), 'no manifest names an older ledger (manifest-log 2)');
      assertThat(!base.manifest.hasUnknownFields, 'a manifest with unknown fields is never rewritten');
      return sealManifest({
        id: base.id + 1,
        manifest: next,
        previous: base,
        witness: this.#options.witness(),
        ...this.#nameFor(next, base.manifest, asCompactor),
        ...seal,
        ledgerVersion: Math.max(options.ledgerVersion ?? 0, this.#ledgerVersion),
      });
    });
  }

  /** Who writes `next`, and under which epoch. */
  #nameFor(
    next: Manifest,
    base: Manifest,
    compactor: CompactorName | undefined,
  ): Pick<SealManifestInput, 'author' | 'epoch' | 'claims'> {
    const { author, epoch } = this.#options;
    if (compactor === undefined) return { author, epoch };
    const claims = next.compactorEpoch > base.compactorEpoch;
    assertThat(claims === (compactor.epoch === undefined), 'a compactor claims an epoch, or has one');
    return { author: compactor.author, epoch: next.compactorEpoch, claims };
  }

  /** The next commit reads the boundary (versioned-log 5): after the first round of a collector of this process. */
  lookForBoundary(): void {
    this.#log.lookForBoundary();
  }

  /** How often `refresh` was called. */
  get refreshes(): number {
    return this.#refreshes;
  }

  /** Lists `manifest/` and adopts what is newer. Confirms the epoch. One LIST, and one GET if there is something newer. */
  refresh(): Promise<void> {
    this.#refreshes++;
    return this.#log.refresh();
  }
}

function epochRule(role: EpochRule<LoadedManifest>['role'], own: number): EpochRule<LoadedManifest> {
  const of = ({ manifest }: LoadedManifest) => (role === 'writer' ? manifest.writerEpoch : manifest.compactorEpoch);
  return { role, own, of, fenced: (loaded) => (role === 'writer' ? fencedBy(loaded, own) : outdated(loaded, own)) };
}

function vanished(store: ObjectStore, id: number): ManifestCorruptionError {
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object: manifestFindingObject(id),
    at: WHOLE_OBJECT,
    during: 'flush',
    remedy: 'none',
  });
  return new ManifestCorruptionError(
    `${store.name}: manifest ${id}, on which this database works, is gone, and no newer one is there: the database was deleted or moved. What was acknowledged before may be lost. Find out what deletes objects here, then check with \`${nameOf(DOCTOR)}\`.`,
    [finding],
  );
}

export function fencedBy(loaded: LoadedManifest, epoch: number): FencedError {
  const owner = loaded.seal?.owner?.hostPid;
  return new FencedError(
    'WRITER_FENCED',
    `Another writer${owner === undefined ? '' : ` (${owner})`} has taken over this database: manifest ${loaded.id} has writer epoch ${loaded.manifest.writerEpoch}, ours is ${epoch}. Stop, or open again to take it back.`,
    { details: { owner, epoch, takenBy: loaded.manifest.writerEpoch, manifestId: loaded.id } },
  );
}

function outdated({ id, manifest, seal }: LoadedManifest, epoch: number): FencedError {
  return compactorFenced(`manifest ${id}`, manifest.compactorEpoch, epoch, seal?.owner?.hostPid);
}

function ledgerVersionOf({ seal }: LoadedManifest): number {
  return seal?.manifest?.ledgerVersion ?? 0;
}
