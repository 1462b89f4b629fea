/**
 * The writer's hold on the newest manifest: changes it by compare-and-swap, follows what others add, and notices when
 * another writer has taken over.
 *
 * A change is a function from manifest to manifest and is applied again on top of whatever is newest when a commit loses its
 * id, so fields of other roles (sorted runs, checkpoints, the compactor's marker) are never overwritten with old values.
 *
 * Invariants: commits run one at a time; an id for which an answer is missing stays bound to its bytes until it is settled;
 * once fenced, every later call rejects with the same `FencedError`; the manifest in use never goes back; nothing is built on, or
 * acknowledged by, a manifest that is gone.
 */
import { assertThat } from '../../common/assert.ts';
import { sleep } from '../../common/clock.ts';
import {
  FencedError,
  InternalError,
  ManifestCorruptionError,
  makeFinding,
  UnavailableError,
} from '../../common/errors.ts';
import type { Manifest } from '../../format/manifest-types.ts';
import { manifestPath } from '../../format/object-names.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Author } from './author.ts';
import type { EpochGuard } from './epoch-guard.ts';
import { fieldsGoneBack } from './manifest-rules.ts';
import {
  type LoadedManifest,
  listManifestIds,
  loadManifest,
  manifestFindingObject,
  readBoundary,
  readManifest,
  type SealedManifest,
  type SealManifestInput,
  sealManifest,
  type TailWitness,
} from './manifest-store.ts';

export interface ManifestLogOptions {
  store: ObjectStore;
  author: Author;
  guard: EpochGuard;
  epoch: number;
  current: LoadedManifest;
  /** Whether a collector of newer SlateDBs works here: then each commit reads its boundary file. */
  hasBoundary: boolean;
  witness(): TailWitness;
  /** A newer manifest came into use. */
  onAdopt(manifest: LoadedManifest): void;
}

/** The next manifest made from the newest; undefined: it already says what is wanted. */
export type ManifestChange = (manifest: Manifest) => Manifest | undefined;

export interface CommitOptions extends Pick<SealManifestInput, 'ledgerVersion' | 'repair'> {
  cleanClose?: boolean;
}

interface Pending {
  id: number;
  sealed: SealedManifest;
  manifest: Manifest;
}

/** Between two looks that both miss the manifest in use: a store may show a place empty for a moment, while it moves objects, say. */
const LOOK_AGAIN_MS = 1000;

export class ManifestLog {
  readonly #options: ManifestLogOptions;
  #current: LoadedManifest;
  #queue: Promise<unknown> = Promise.resolve();
  #pending: Pending | undefined;
  /** Why no call is served any more. */
  #ended: FencedError | ManifestCorruptionError | undefined;
  /** Newest version of the ledger that any manifest named: those of SlateDB name none, and must not end it. */
  #ledgerVersion: number;

  constructor(options: ManifestLogOptions) {
    this.#options = options;
    this.#current = options.current;
    this.#ledgerVersion = ledgerVersionOf(options.current);
  }

  get current(): LoadedManifest {
    return this.#current;
  }

  get author(): Author {
    return this.#options.author;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  /**
   * Writes `change` of the newest manifest as the next one; resolves once it is stored and known to count.
   * One PUT, and a LIST and a GET for each manifest of others that came first.
   */
  commit(change: ManifestChange, options: CommitOptions = {}): Promise<void> {
    return this.#serially(() => this.#commitNow(change, options));
  }

  /** Lists `manifest/` and adopts what is newer. Confirms the epoch. One LIST, and one GET if there is something newer. */
  refresh(): Promise<void> {
    return this.#serially(() => this.#refreshNow());
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(() => {
      if (this.#ended !== undefined) throw this.#ended;
      return work();
    });
    this.#queue = run.catch(() => undefined);
    return run;
  }

  async #commitNow(change: ManifestChange, options: CommitOptions): Promise<void> {
    const { store, author, epoch } = this.#options;
    for (;;) {
      await this.#settlePending();
      const base = this.#current;
      const next = change(base.manifest);
      if (next === undefined) return;
      const goneBack = fieldsGoneBack(base.manifest, next);
      assertThat(goneBack.length === 0, 'a manifest never goes back', { goneBack });
      assertThat(!base.manifest.hasUnknownFields, 'a manifest with unknown fields is never rewritten');
      const id = base.id + 1;
      const sealed = sealManifest({
        id,
        manifest: next,
        previous: base,
        author,
        epoch,
        witness: this.#options.witness(),
        ...options,
        ledgerVersion: Math.max(options.ledgerVersion ?? 0, this.#ledgerVersion),
      });
      const answer = await store.put(manifestPath(id), sealed.bytes, { condition: 'if-absent', putId: sealed.putId });
      if (answer.outcome === 'refused') {
        await this.#takeNewer(id);
        continue;
      }
      if (answer.outcome === 'unknown') {
        this.#pending = { id, sealed, manifest: next };
        throw outcomeUnknown(store, id, answer.cause);
      }
      // Otherwise the change is made again on top of what is newest, unless that has it.
      if (await this.#takeOwn(id, sealed)) return;
    }
  }

  /**
   * Takes a manifest of ours that is stored into use, if it is the newest. It is, if the LIST that showed its predecessor as
   * the newest is recent enough; else only a LIST tells. Until then nothing may rest on it: in an id that a collector had
   * deleted it does not count, whoever wrote the newer ones.
   */
  async #takeOwn(id: number, sealed: SealedManifest): Promise<boolean> {
    if (await this.#isVoid(id)) return false;
    if (this.#options.guard.isListRecent()) {
      this.#adopt(loadManifest(id, sealed.bytes));
      return true;
    }
    await this.#refreshNow();
    return this.#current.id === id;
  }

  /** Finds out what became of a manifest whose PUT had no answer. */
  async #settlePending(): Promise<void> {
    const pending = this.#pending;
    if (pending === undefined) return;
    const { store } = this.#options;
    const { id, sealed } = pending;
    const answer = await store.put(manifestPath(id), sealed.bytes, {
      condition: 'if-absent',
      putId: sealed.putId,
      resumed: true,
    });
    if (answer.outcome === 'unknown') throw outcomeUnknown(store, id, answer.cause);
    this.#pending = undefined;
    if (answer.outcome === 'applied') await this.#takeOwn(id, sealed);
    // Refused after an unanswered attempt: another's manifest, or ours when the store keeps no proof. Its bytes decide.
    else await this.#takeNewer(id);
  }

  /** A manifest in an id that a collector had already deleted does not count. */
  async #isVoid(id: number): Promise<boolean> {
    if (!this.#options.hasBoundary) return false;
    const { value } = await readBoundary(this.#options.store);
    if (id > value) return false;
    await this.#refreshNow();
    return true;
  }

  /** Somebody else has written manifest `id`: use the newest one. */
  async #takeNewer(id: number): Promise<void> {
    await this.#refreshNow();
    if (this.#current.id >= id) return;
    // The list lags behind: the object itself is there.
    const loaded = await readManifest(this.#options.store, id);
    if (loaded !== undefined) this.#adopt(loaded);
    else
      throw new UnavailableError(
        'STORE_DOWN',
        `${this.#options.store.name}: manifest ${id} exists for a PUT but not for a GET.`,
      );
  }

  async #refreshNow(): Promise<void> {
    const { store, guard, author } = this.#options;
    for (let misses = 0; ; ) {
      const stamp = guard.stamp();
      const ids = await listManifestIds(store, this.#current.id, stamp);
      const newest = ids[ids.length - 1];
      if (newest === undefined) {
        // Ours at least must be there; a list without it says nothing about others.
        if (await this.#isStored()) throw laggingList(store, this.#current.id);
        // Nobody deletes the newest manifest but one who deletes the database. Nothing is acknowledged while that is not refuted.
        guard.doubt();
        if (++misses === 2) {
          this.#ended = vanished(store, this.#current.id);
          throw this.#ended;
        }
        await sleep(author.clock, LOOK_AGAIN_MS, undefined, false);
        continue;
      }
      if (newest > this.#current.id) {
        const loaded = await readManifest(store, newest);
        if (loaded === undefined) continue;
        this.#adopt(loaded);
      }
      guard.confirmListed(stamp);
      return;
    }
  }

  /** Whether the manifest in use is there, past any list. */
  async #isStored(): Promise<boolean> {
    return (await this.#options.store.head(manifestPath(this.#current.id))) !== undefined;
  }

  #adopt(loaded: LoadedManifest): void {
    const { epoch } = this.#options;
    if (loaded.id <= this.#current.id) return;
    if (loaded.manifest.writerEpoch > epoch) {
      this.#ended = fencedBy(loaded, epoch);
      throw this.#ended;
    }
    if (loaded.manifest.writerEpoch < epoch) {
      throw new InternalError(
        `manifest ${loaded.id} has writer epoch ${loaded.manifest.writerEpoch}, below our ${epoch}`,
      );
    }
    this.#current = loaded;
    this.#ledgerVersion = Math.max(this.#ledgerVersion, ledgerVersionOf(loaded));
    this.#options.onAdopt(loaded);
  }
}

function outcomeUnknown(store: ObjectStore, id: number, cause: unknown): UnavailableError {
  return new UnavailableError(
    'WRITE_OUTCOME_UNKNOWN',
    `${store.name}: no answer says whether manifest ${id} was written; it will be settled before anything else is.`,
    { outcome: 'unknown', cause },
  );
}

function laggingList(store: ObjectStore, id: number): UnavailableError {
  const message = `${store.name}: the list of the manifests does not show manifest ${id}, which exists.`;
  return new UnavailableError('STORE_DOWN', message);
}

function vanished(store: ObjectStore, id: number): ManifestCorruptionError {
  const finding = makeFinding({
    code: 'MISSING_OBJECT',
    object: manifestFindingObject(id),
    at: { unit: 'object', offset: 0, length: 0 },
    during: 'flush',
    remedy: 'none',
  });
  return new ManifestCorruptionError(
    `${store.name}: manifest ${id}, on which this database works, is gone, and no newer one is there: somebody has deleted or moved the database. What was acknowledged before may be lost. Find out who deletes objects here, then look with \`shaledb doctor\`.`,
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

function ledgerVersionOf({ seal }: LoadedManifest): number {
  return seal?.manifest?.ledgerVersion ?? 0;
}
