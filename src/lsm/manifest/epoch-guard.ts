/**
 * How long ago this writer last knew that it still owns its epoch.
 *
 * A writer that slept while another took over and a collector removed the fence could put an object into the collected slot
 * and acknowledge what no reader will ever see. So an acknowledgement needs a confirmation at most `FENCE_VALIDITY_MS` before
 * the answer of the PUT. A confirmation is a LIST of `manifest/` that shows no newer epoch, or a WAL PUT that was answered
 * directly; it is dated by its sending, a PUT that is repeated by its first. Its age is the greatest of monotonic, wall and
 * store time: the monotonic clock stands still while a machine is suspended, the wall clock can be set back, the store's clock
 * is only seen in answers, so a PUT is dated by the answer before it and a LIST by its own. What has no such date counts as too
 * old once the store's clock is known.
 */
import { assertThat } from '../../common/assert.ts';
import type { Clock } from '../../common/clock.ts';
import type { ListedObject, ObjectStore, PutOutcome } from '../../store/object-store.ts';
import { uploadsOf } from '../../store/upload-calls.ts';

/** Must stay well below the least age (300 s by default) at which any collector deletes objects. */
export const FENCE_VALIDITY_MS = 60_000;

/**
 * A moment by all clocks. `storesMs`: of each store the latest time seen before it, or that of a LIST sent then, so its age is
 * never underestimated; undefined while nothing is known. The store of the manifests comes first; one of the log alone may
 * have a clock that differs.
 */
export interface Stamp {
  monotonicMs: number;
  wallMs: number;
  storesMs: (number | undefined)[];
}

export class EpochGuard {
  readonly #clock: Clock;
  readonly #latestStoreTimesMs: () => (number | undefined)[];
  #confirmed: Stamp;
  #listed: Stamp;

  /** `since`: before the LIST that showed what is in use as the newest; now if absent. */
  constructor(clock: Clock, latestStoreTimesMs: () => (number | undefined)[], since?: Stamp) {
    this.#clock = clock;
    this.#latestStoreTimesMs = latestStoreTimesMs;
    this.#confirmed = since ?? this.stamp();
    assertThat(this.#confirmed.monotonicMs <= clock.monotonicMs(), 'a confirmation is not from the future');
    this.#listed = this.#confirmed;
  }

  /** Now. Taken before a request is sent. */
  stamp(): Stamp {
    return {
      monotonicMs: this.#clock.monotonicMs(),
      wallMs: this.#clock.nowMs(),
      storesMs: this.#latestStoreTimesMs(),
    };
  }

  /**
   * What the confirmations were about is perhaps gone: none counts until the next, and nothing is acknowledged. A WAL PUT sent before
   * says nothing of it either.
   */
  doubt(): void {
    const never = { ...this.stamp(), monotonicMs: Number.NEGATIVE_INFINITY };
    this.#confirmed = never;
    this.#listed = never;
  }

  /** The epoch was ours when `stamp` was taken. The later one of two confirmations counts. */
  confirm(stamp: Stamp): void {
    if (this.ageMs(stamp) <= this.ageMs(this.#confirmed)) this.#confirmed = stamp;
  }

  /** The same by a LIST whose newest manifest is now in use. */
  confirmListed(stamp: Stamp): void {
    this.confirm(stamp);
    if (this.ageMs(stamp) <= this.ageMs(this.#listed)) this.#listed = stamp;
  }

  /**
   * Whether the manifest in use was shown as the newest recently enough for its successor's id not to be a collected one. A WAL
   * PUT says nothing about it: other roles write manifests under our epoch.
   */
  isListRecent(): boolean {
    return this.ageMs(this.#listed) <= FENCE_VALIDITY_MS;
  }

  /** Whether the last confirmation is recent enough now that an answer has come. */
  isValid(): boolean {
    return this.ageMs(this.#confirmed) <= FENCE_VALIDITY_MS;
  }

  /** Milliseconds since `since` by whichever clock says most; infinite if a store's clock is known now and was not then. */
  ageMs(since: Stamp): number {
    const now = this.stamp();
    const byStores = now.storesMs.map((ms, i) =>
      ms === undefined ? 0 : ms - (since.storesMs[i] ?? Number.NEGATIVE_INFINITY),
    );
    return Math.max(now.monotonicMs - since.monotonicMs, now.wallMs - since.wallMs, ...byStores);
  }
}

/** Dates a LIST of manifests by the store's time in its first answer: what it shows was so at that moment. */
export function dateByList(stamp: Stamp, first: ListedObject): void {
  const { storeTimeMs = 0 } = first;
  if (storeTimeMs > (stamp.storesMs[0] ?? 0)) stamp.storesMs[0] = storeTimeMs;
}

/** A store whose answers' times are remembered. */
export interface TimedStore {
  store: ObjectStore;
  latestStoreTimeMs(): number | undefined;
}

export function timedStore(inner: ObjectStore): TimedStore {
  let latest: number | undefined;
  const note = <T extends { storeTimeMs?: number }>(answer: T | undefined): T | undefined => {
    const timeMs = answer?.storeTimeMs ?? 0;
    if (timeMs > (latest ?? 0)) latest = timeMs;
    return answer;
  };
  const notePut = async (putting: Promise<PutOutcome>): Promise<PutOutcome> => {
    const answer = await putting;
    if (answer.outcome === 'applied') note(answer);
    return answer;
  };
  const uploads = uploadsOf(inner);
  const timed =
    (begin: NonNullable<ObjectStore['upload']>): typeof begin =>
    (path, options) => {
      const upload = begin(path, options);
      return {
        ...(upload.partBytes !== undefined && { partBytes: upload.partBytes }),
        write: (part, digests) => upload.write(part, digests),
        complete: () => notePut(upload.complete()),
        abort: () => upload.abort(),
      };
    };
  const store: ObjectStore = {
    name: inner.name,
    ...(inner.conformance !== undefined && { conformance: inner.conformance }),
    get: (path, options) => inner.get(path, options).then(note),
    head: (path, options) => inner.head(path, options).then(note),
    put: (path, bytes, options) => notePut(inner.put(path, bytes, options)),
    async *list(prefix, options) {
      for await (const object of inner.list(prefix, options)) {
        note(object);
        yield object;
      }
    },
    delete: (paths, options) => inner.delete(paths, options),
    ...uploads,
    ...(uploads.upload && { upload: timed(uploads.upload) }),
  };
  return { store, latestStoreTimeMs: () => latest };
}
