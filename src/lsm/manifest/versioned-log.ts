/**
 * The hold on the newest version of a numbered file (`manifest/`, `compactions/`): changes it by compare-and-swap, follows what others
 * add, and notices when another process has taken over the role that this one has.
 *
 * A change is a function of the newest version and is applied again on top of whatever is newest when a commit loses its id, so what
 * belongs to other roles is never overwritten with old values.
 *
 * Invariants:
 * 1. Commits run one at a time. An id for which an answer is missing stays bound to its bytes until it is settled.
 * 2. Once fenced, or once the version in use is found gone, every later call rejects with the same error.
 * 3. The version in use never goes back.
 * 4. Nothing is built on, or acknowledged by, a version that does not count: one that is gone, or one in an id that a collector had
 *    already deleted. An id counts if the LIST that showed its predecessor as the newest was recent enough, or a LIST after the PUT
 *    shows it as the newest; and if it is above the collector's boundary.
 * 5. A collector may begin to keep a boundary at any time: where none was seen, a commit checks again once a minute, and after
 *    `lookForBoundary`. Where one was seen, every commit reads it.
 * 6. The epoch of the role in each version that comes into use is this process's. A greater one means that another process has the
 *    role; a smaller one is a fault. Without a role no epoch is compared.
 * 7. Where the newest version is not above the boundary, one of the two is damaged: nothing is committed until a read says otherwise.
 */
import { assertThat } from '../../common/assert.ts';
import { type Clock, sleep } from '../../common/clock.ts';
import { type CorruptionError, FencedError, InternalError, UnavailableError } from '../../common/errors.ts';
import type { Ulid } from '../../common/ulid.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { type EpochGuard, FENCE_VALIDITY_MS, type Stamp } from './epoch-guard.ts';

/** What a collector says that it may have deleted. */
export interface VersionBoundary {
  exists: boolean;
  value: number;
}

/** What kind of file this is. */
export interface VersionedForm<V extends { id: number }> {
  /** For messages: `manifest`, and `the manifests` for all of them. */
  noun: string;
  plural: string;
  path(id: number): string;
  /** Ids at or above `from`, ascending; `stamp`, taken before, is dated by the answer. */
  listIds(store: ObjectStore, from: number, stamp: Stamp): Promise<number[]>;
  load(id: number, bytes: Uint8Array): V;
  /** Undefined if it is not there. */
  read(store: ObjectStore, id: number): Promise<V | undefined>;
  readBoundary(store: ObjectStore): Promise<VersionBoundary>;
  /** The damage of a boundary at or above version `id`, the newest; undefined where a further read says otherwise. */
  tooHigh(
    store: ObjectStore,
    clock: Clock,
    id: number,
    boundary: VersionBoundary,
  ): Promise<CorruptionError | undefined>;
  /** Why nothing is served any more when the version in use is gone and no newer one is there. */
  vanished(store: ObjectStore, id: number): CorruptionError;
}

/** The epoch of the role that this process has. */
export interface EpochRule<V> {
  role: 'writer' | 'compactor';
  own: number;
  of(version: V): number;
  fenced(version: V): FencedError;
}

/** The bytes of a version that is to be written. */
export interface NextVersion {
  bytes: Uint8Array;
  putId: Ulid;
}

export interface VersionedLogOptions<V extends { id: number }> {
  store: ObjectStore;
  clock: Clock;
  form: VersionedForm<V>;
  /** Knows when the version in use was last shown to be the newest. */
  guard: EpochGuard;
  /** Absent: a role without an epoch, such as a collector or a tool. */
  epoch: EpochRule<V> | undefined;
  current: V;
  /** Whether a boundary was seen. */
  hasBoundary: boolean;
  /** A newer version came into use. */
  onAdopt(version: V): void;
}

/** The version after `base`, which is the newest; undefined: it already says what is wanted. Called again after each lost id. */
export type VersionChange<V> = (base: V) => NextVersion | undefined;

interface Pending extends NextVersion {
  id: number;
}

/** Between two reads that both miss a version that should be there: a store may show a place empty for a moment, for example while it moves objects. */
const LOOK_AGAIN_MS = 1000;
/** How often the newest version may be listed and not be there: first at once, for a collector may have been faster. */
const MAX_PHANTOM_READS = 4;
/** How long nothing is asked where no boundary was seen: well below the least age of what a collector deletes. */
const BOUNDARY_LOOK_MS = FENCE_VALIDITY_MS;

export class VersionedLog<V extends { id: number }> {
  readonly #options: VersionedLogOptions<V>;
  #current: V;
  #queue: Promise<unknown> = Promise.resolve();
  #pending: Pending | undefined;
  #isAtWork = false;
  /** Why no call is served any more. */
  #ended: FencedError | CorruptionError | undefined;
  #hasBoundary: boolean;
  /** Calls of `lookForBoundary`, and how many of them had been made when the boundary was read last. */
  #boundaryRequests = 0;
  #boundaryAnswers = 0;
  #boundaryLookedAt: Stamp;
  /** The version in use was at or below the boundary when it was found to be the newest (versioned-log 7). */
  #isDoubtful = false;

  constructor(options: VersionedLogOptions<V>) {
    this.#options = options;
    this.#current = options.current;
    this.#hasBoundary = options.hasBoundary;
    this.#boundaryLookedAt = options.guard.stamp();
    const { epoch, current } = options;
    assertThat(epoch === undefined || epoch.of(current) === epoch.own, 'a role begins with a version of its epoch');
  }

  get current(): V {
    return this.#current;
  }

  /**
   * Writes `change` of the newest version as the next one; resolves once it is stored and known to count. One PUT, and a LIST and a
   * GET for each version of others that came first; a GET where a boundary was seen, and once a minute where none was. Rejects with
   * `UnavailableError` (`WRITE_OUTCOME_UNKNOWN`: the next call settles it first), `FencedError`, what `change` throws.
   */
  commit(change: VersionChange<V>): Promise<void> {
    return this.#serially(() => this.#commitNow(change));
  }

  /** Lists the versions and adopts what is newer. One LIST, and one GET if there is something newer. */
  refresh(): Promise<void> {
    return this.#serially(() => this.#refreshNow());
  }

  /** Whether a boundary was seen. */
  get hasBoundary(): boolean {
    return this.#hasBoundary;
  }

  /** The next commit reads the boundary: a collector of this process has begun its work and may have made one. */
  lookForBoundary(): void {
    this.#boundaryRequests++;
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(async () => {
      if (this.#ended !== undefined) throw this.#ended;
      assertThat(!this.#isAtWork, 'calls run one at a time (versioned-log 1)');
      this.#isAtWork = true;
      try {
        return await work();
      } finally {
        this.#isAtWork = false;
      }
    });
    this.#queue = run.catch(() => undefined);
    return run;
  }

  async #commitNow(change: VersionChange<V>): Promise<void> {
    const { store, form } = this.#options;
    for (;;) {
      await this.#settlePending();
      if (this.#isDoubtful) await this.#assertAboveBoundary(await form.readBoundary(store));
      assertThat(
        this.#pending === undefined,
        'an id that is bound is settled before another is taken (versioned-log 1)',
      );
      const next = change(this.#current);
      if (next === undefined) return;
      const id = this.#current.id + 1;
      const answer = await store.put(form.path(id), next.bytes, { condition: 'if-absent', putId: next.putId });
      if (answer.outcome === 'refused') {
        await this.#takeNewer(id);
        continue;
      }
      if (answer.outcome === 'unknown') {
        this.#pending = { id, ...next };
        throw outcomeUnknown(store, form.noun, id, answer.cause);
      }
      // Otherwise the change is made again on top of what is newest, unless that has it.
      if (await this.#takeOwn(id, next.bytes)) return;
    }
  }

  /**
   * Takes a version of ours that is stored into use, if it is the newest. It is, if the LIST that showed its predecessor as
   * the newest is recent enough; else only a LIST shows it. Until then nothing may depend on it: in an id that a collector had
   * deleted it does not count, no matter who wrote the newer ones.
   */
  async #takeOwn(id: number, bytes: Uint8Array): Promise<boolean> {
    if (await this.#isVoid(id)) return false;
    if (this.#options.guard.isListRecent()) {
      this.#adopt(this.#options.form.load(id, bytes));
      return true;
    }
    await this.#refreshNow();
    return this.#current.id === id;
  }

  /** Finds out what became of a version whose PUT had no answer. */
  async #settlePending(): Promise<void> {
    const pending = this.#pending;
    if (pending === undefined) return;
    const { store, form } = this.#options;
    const { id, bytes, putId } = pending;
    assertThat(id === this.#current.id + 1 || this.#current.id >= id, 'what is bound follows the version in use');
    const answer = await store.put(form.path(id), bytes, { condition: 'if-absent', putId, resumed: true });
    if (answer.outcome === 'unknown') throw outcomeUnknown(store, form.noun, id, answer.cause);
    this.#pending = undefined;
    if (answer.outcome === 'applied') await this.#takeOwn(id, bytes);
    // Refused after an unanswered attempt: another's version, or ours when the store keeps no proof. Its bytes decide.
    else await this.#takeNewer(id);
  }

  /** A version in an id that a collector had already deleted does not count. */
  async #isVoid(id: number): Promise<boolean> {
    const { store, form, guard } = this.#options;
    const requests = this.#boundaryRequests;
    const isRecent = requests === this.#boundaryAnswers && guard.ageMs(this.#boundaryLookedAt) <= BOUNDARY_LOOK_MS;
    if (!this.#hasBoundary && isRecent) return false;
    const lookedAt = guard.stamp();
    const { exists, value } = await form.readBoundary(store);
    this.#boundaryLookedAt = lookedAt;
    this.#boundaryAnswers = requests;
    this.#hasBoundary ||= exists;
    if (id > value) return false;
    await this.#refreshNow();
    await this.#assertAboveBoundary({ exists, value });
    return true;
  }

  /** Resolves once the version in use is above the boundary; throws the damage where the newest is not (versioned-log 7). */
  async #assertAboveBoundary(first: VersionBoundary): Promise<void> {
    const { store, clock, form } = this.#options;
    this.#isDoubtful = true;
    let boundary = first;
    for (let n = 0; this.#current.id <= boundary.value; n++) {
      const tooHigh = await form.tooHigh(store, clock, this.#current.id, boundary);
      if (tooHigh !== undefined) throw tooHigh;
      if (n === MAX_PHANTOM_READS) {
        throw phantom(
          store,
          `the list of ${form.plural} shows now and then what is above ${form.noun} ${this.#current.id}`,
        );
      }
      // Others have written newer ones, or the boundary is right again.
      await this.#refreshNow();
      boundary = await form.readBoundary(store);
    }
    this.#isDoubtful = false;
  }

  /** Another writer has written version `id`: use the newest one. */
  async #takeNewer(id: number): Promise<void> {
    const { store, form } = this.#options;
    await this.#refreshNow();
    if (this.#current.id >= id) return;
    // The list lags: the object itself is there.
    const loaded = await form.read(store, id);
    if (loaded === undefined) throw phantom(store, `${form.noun} ${id} exists for a PUT but not for a GET`);
    this.#adopt(loaded);
    assertThat(this.#current.id === id, 'what another wrote in our id is in use before we go on (versioned-log 3)');
  }

  async #refreshNow(): Promise<void> {
    const { store, guard, clock, form } = this.#options;
    let misses = 0;
    let phantomReads = 0;
    for (let lastListed = 0; ; ) {
      const stamp = guard.stamp();
      const ids = await form.listIds(store, this.#current.id, stamp);
      const newest = ids[ids.length - 1];
      if (newest === undefined) {
        // Ours at least must be there; a list without it says nothing about others.
        if (await this.#isStored()) {
          throw phantom(
            store,
            `the list of ${form.plural} does not show ${form.noun} ${this.#current.id}, which exists`,
          );
        }
        // Only a deletion of the database deletes the newest version. Nothing is acknowledged until that is ruled out.
        guard.doubt();
        if (++misses === 2) {
          this.#ended = form.vanished(store, this.#current.id);
          throw this.#ended;
        }
        await sleep(clock, LOOK_AGAIN_MS, undefined, false);
        continue;
      }
      if (newest > this.#current.id) {
        const loaded = await form.read(store, newest);
        if (loaded === undefined) {
          // A collector took it after a newer one was there; the same one again is a list that is wrong.
          phantomReads = newest === lastListed ? phantomReads + 1 : 1;
          lastListed = newest;
          if (phantomReads === MAX_PHANTOM_READS) {
            throw phantom(store, `the list of ${form.plural} shows ${form.noun} ${newest}, which does not exist`);
          }
          if (phantomReads > 1) await sleep(clock, LOOK_AGAIN_MS, undefined, false);
          continue;
        }
        this.#adopt(loaded);
      }
      guard.confirmListed(stamp);
      return;
    }
  }

  /** Whether the version in use is there, past any list. */
  async #isStored(): Promise<boolean> {
    const { store, form } = this.#options;
    return (await store.head(form.path(this.#current.id))) !== undefined;
  }

  #adopt(loaded: V): void {
    const { epoch, form } = this.#options;
    if (loaded.id <= this.#current.id) return;
    try {
      if (epoch !== undefined) assertEpoch(epoch, form.noun, loaded);
    } catch (error) {
      if (error instanceof FencedError) this.#ended = error;
      throw error;
    }
    assertThat(this.#isAtWork && this.#ended === undefined, 'nothing comes into use once fenced (versioned-log 2)');
    this.#current = loaded;
    this.#options.onAdopt(loaded);
  }
}

/** Throws unless the version has the epoch of the role: a greater one fences it, a smaller one is a fault (versioned-log 6). */
export function assertEpoch<V extends { id: number }>(rule: EpochRule<V>, noun: string, version: V): void {
  const { role, own } = rule;
  const stored = rule.of(version);
  if (stored > own) throw rule.fenced(version);
  if (stored < own) throw new InternalError(`${noun} ${version.id} has ${role} epoch ${stored}, below our ${own}`);
}

function outcomeUnknown(store: ObjectStore, noun: string, id: number, cause: unknown): UnavailableError {
  return new UnavailableError(
    'WRITE_OUTCOME_UNKNOWN',
    `${store.name}: no answer says whether ${noun} ${id} was written; it will be settled before anything else is.`,
    { outcome: 'unknown', cause },
  );
}

/** The store contradicts itself about a version. */
function phantom(store: ObjectStore, what: string): UnavailableError {
  return new UnavailableError('STORE_DOWN', `${store.name}: ${what}.`);
}
