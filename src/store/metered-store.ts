/**
 * Counts what a store is asked for, by the role of the object, and times the calls, by role, operation and outcome.
 *
 * Counts are what providers bill: a list costs one request per 1,000 objects (at least one), a delete one per 1,000 paths.
 * Below a retry wrapper every attempt is counted, above it every call. A store that stores an object in parts reports each request
 * (`onRequest`): the first message, each attempt of a part and the completion are one put each. Of other stores an upload is the one put
 * at its end.
 *
 * A call is timed from its beginning to its answer; a list without the time that its caller takes for the objects, an upload at its
 * completion. So there are as many times as calls, which are fewer than requests where lists and objects have parts.
 */
import { REQUEST_CHANNEL } from '../common/channels.ts';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { isDbError } from '../common/errors.ts';
import type { Histogram } from '../common/histogram.ts';
import { histogramOf } from '../common/metrics.ts';
import type {
  CallOptions,
  GetOptions,
  GetResult,
  ListedObject,
  ListOptions,
  ObjectHead,
  ObjectStore,
  ObjectUpload,
  ObjectWriteOptions,
  PutOptions,
  PutOutcome,
  UploadOptions,
} from './object-store.ts';
import { storeErrorClass } from './store-error.ts';
import { type UploadingStore, uploadsOf } from './upload-calls.ts';

/** Requests by kind, and bytes: `bytesIn` received from the store, `bytesOut` sent to it. */
export interface RequestCounts {
  /** Reads of an object or a part of it. */
  get: number;
  /** Reads of size and metadata alone. */
  head: number;
  /** Writes; of an object in parts each request. */
  put: number;
  /** Lists, one for each 1,000 objects that they show, at least one. */
  list: number;
  /** Deletes, one for each 1,000 paths. */
  delete: number;
  /** Bytes of bodies received. */
  bytesIn: number;
  /** Bytes of bodies sent. */
  bytesOut: number;
}

/**
 * Requests and bytes in all, and by role of the object: `manifest`, `wal`, `table` and so on. What the upkeep beside the database asks for
 * counts under its own name, whatever the object: `collector`.
 */
export interface RequestCountsByRole extends RequestCounts {
  /** The same for each role that there was a request for. */
  byRole: Record<string, RequestCounts>;
}

export interface MeteredStore extends ObjectStore {
  /** Since this wrapper was made: totals, and the same by role. A snapshot that does not change any more. */
  counts(): RequestCountsByRole;
  /** Calls that have begun and not ended; of an upload each of its calls, of a list none. */
  inFlight(): number;
  /** What `counts` is the sum of, each with its calls. A state that goes on changing. */
  meters(): readonly RoleMeter[];
}

/** What a call of a store can be. */
export type StoreOp = 'get' | 'head' | 'put' | 'list' | 'delete';

/**
 * What a call came to: `ok`; `absent`, nothing is there; `refused`, the condition did not hold; `unknown`, no answer says it; `cancelled` by
 * a signal; `error`; or the class of the failure, such as `throttled` (see `StoreErrorClass`).
 */
export type CallOutcome = string;

/** What was asked for objects of one role. */
export class RoleMeter {
  readonly role: string;
  readonly counts: RequestCounts = noRequests();
  readonly #calls = new Map<StoreOp, Map<CallOutcome, Histogram>>();

  constructor(role: string) {
    this.role = role;
  }

  called(op: StoreOp, outcome: CallOutcome, seconds: number): void {
    let outcomes = this.#calls.get(op);
    if (outcomes === undefined) this.#calls.set(op, (outcomes = new Map()));
    let times = outcomes.get(outcome);
    if (times === undefined)
      outcomes.set(outcome, (times = histogramOf('shaledb_object_store_request_duration_seconds')));
    times.observe(seconds);
  }

  /** How long calls took, by what they came to. */
  *calls(): Generator<{ op: StoreOp; outcome: CallOutcome; times: Histogram }> {
    for (const [op, outcomes] of this.#calls) for (const [outcome, times] of outcomes) yield { op, outcome, times };
  }
}

/** Whether the store has failed: an absence, a refusal and an abort are answers. */
export function isFailure(outcome: CallOutcome): boolean {
  return !['ok', 'absent', 'refused', 'cancelled'].includes(outcome);
}

function outcomeOfError(error: unknown): CallOutcome {
  return storeErrorClass(error) ?? (isDbError(error) && error.kind === 'aborted' ? 'cancelled' : 'error');
}

const found = (answer: object | undefined): CallOutcome => (answer === undefined ? 'absent' : 'ok');
/** A store of the caller's may answer anything: what that means for the call is decided elsewhere. */
function settled(answer: PutOutcome | undefined): CallOutcome {
  const outcome = answer?.outcome;
  if (outcome === 'applied') return 'ok';
  return outcome === 'refused' || outcome === 'unknown' ? outcome : 'error';
}
const done = (): CallOutcome => 'ok';

/** Objects that S3 names in one answer to a list, and deletes by one request. */
export const PAGE_OBJECTS = 1000;

/** What a metered store is made with, beside the store and the roles. */
export interface MeterOptions {
  /** Default: the system's. */
  clock?: Pick<Clock, 'monotonicMs'>;
  /** The role under which `counts` shows everything, whatever the object; default: that of each object. */
  countAs?: string;
}

/** `roleOf` names the role of a path; of a list it gets the prefix. */
export function meteredStore(
  store: ObjectStore,
  roleOf: (path: string) => string,
  options: MeterOptions = {},
): MeteredStore {
  return new CountingStore(store, roleOf, options);
}

function noRequests(): RequestCounts {
  return { get: 0, head: 0, put: 0, list: 0, delete: 0, bytesIn: 0, bytesOut: 0 };
}

class CountingStore implements MeteredStore {
  readonly name: string;
  readonly conformance?: 'known';
  readonly upload?: Required<UploadingStore>['upload'];
  readonly listUploads?: Required<UploadingStore>['listUploads'];
  readonly abortUpload?: Required<UploadingStore>['abortUpload'];
  readonly #store: ObjectStore;
  readonly #roleOf: (path: string) => string;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #countAs: string | undefined;
  readonly #byRole = new Map<string, RoleMeter>();
  #inFlight = 0;

  constructor(store: ObjectStore, roleOf: (path: string) => string, { clock = SYSTEM_CLOCK, countAs }: MeterOptions) {
    this.#store = store;
    this.#roleOf = roleOf;
    this.#clock = clock;
    this.#countAs = countAs;
    this.name = store.name;
    if (store.conformance !== undefined) this.conformance = store.conformance;
    const { upload: begin, listUploads, abortUpload } = uploadsOf(store);
    if (begin !== undefined) this.upload = (path, options) => this.#countedUpload(begin, path, options);
    if (listUploads !== undefined) {
      this.listUploads = async (prefix, options) => {
        const meter = this.#of(prefix);
        const { counts } = meter;
        counts.list++;
        const uploads = await this.#timed(meter, 'list', prefix, done, listUploads(prefix, options));
        counts.list += Math.max(0, Math.ceil(uploads.length / PAGE_OBJECTS) - 1);
        return uploads;
      };
    }
    if (abortUpload !== undefined) {
      this.abortUpload = (upload, options) => {
        const meter = this.#of(upload.path);
        meter.counts.delete++;
        return this.#timed(meter, 'delete', upload.path, done, abortUpload(upload, options));
      };
    }
  }

  counts(): RequestCountsByRole {
    const total: RequestCountsByRole = { ...noRequests(), byRole: {} };
    for (const { role, counts } of this.#byRole.values()) {
      const shown = (total.byRole[this.#countAs ?? role] ??= noRequests());
      for (const key of Object.keys(counts) as (keyof RequestCounts)[]) {
        shown[key] += counts[key];
        total[key] += counts[key];
      }
    }
    return total;
  }

  meters(): readonly RoleMeter[] {
    return [...this.#byRole.values()];
  }

  inFlight(): number {
    return this.#inFlight;
  }

  #timed<T>(
    meter: RoleMeter,
    op: StoreOp,
    path: string,
    outcomeOf: (answer: T) => CallOutcome,
    call: Promise<T>,
  ): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    const end = (outcome: CallOutcome) => this.#called(meter, op, path, outcome, this.#clock.monotonicMs() - startMs);
    call.then(
      (answer) => end(outcomeOf(answer)),
      (error) => end(outcomeOfError(error)),
    );
    return call;
  }

  #called(meter: RoleMeter, op: StoreOp, path: string, outcome: CallOutcome, durationMs: number): void {
    const { role } = meter;
    meter.called(op, outcome, durationMs / 1000);
    if (REQUEST_CHANNEL.hasSubscribers)
      REQUEST_CHANNEL.publish({ store: this.name, op, path, role, by: this.#countAs, outcome, durationMs });
  }

  #underWay<T>(call: Promise<T>): Promise<T> {
    this.#inFlight++;
    const end = () => void this.#inFlight--;
    call.then(end, end);
    return call;
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const meter = this.#of(path);
    meter.counts.get++;
    const result = await this.#underWay(this.#timed(meter, 'get', path, found, this.#store.get(path, options)));
    if (result !== undefined) meter.counts.bytesIn += result.bytes.length;
    return result;
  }

  head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    const meter = this.#of(path);
    meter.counts.head++;
    return this.#underWay(this.#timed(meter, 'head', path, found, this.#store.head(path, options)));
  }

  put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const meter = this.#of(path);
    const { counts } = meter;
    counts.put++;
    counts.bytesOut += bytes.length;
    let isFirst = true;
    const put = this.#store.put(path, bytes, {
      ...options,
      onRequest: (kind, bytesOut) => {
        // The one that was counted when the call began.
        if (isFirst) {
          counts.put--;
          counts.bytesOut -= bytes.length;
          isFirst = false;
        }
        addRequest(counts, options, kind, bytesOut);
      },
    });
    return this.#underWay(this.#timed(meter, 'put', path, settled, put));
  }

  #countedUpload(begin: NonNullable<ObjectStore['upload']>, path: string, options: UploadOptions): ObjectUpload {
    const meter = this.#of(path);
    const { counts } = meter;
    let bytes = 0;
    let isReported = false;
    const upload = begin(path, {
      ...options,
      onRequest: (kind, bytesOut) => {
        isReported = true;
        addRequest(counts, options, kind, bytesOut);
      },
    });
    return {
      ...(upload.partBytes !== undefined && { partBytes: upload.partBytes }),
      write: (part, digests) => {
        bytes += part.length;
        return this.#underWay(upload.write(part, digests));
      },
      complete: async () => {
        try {
          return await this.#underWay(this.#timed(meter, 'put', path, settled, upload.complete()));
        } finally {
          if (!isReported) addRequest(counts, options, 'put', bytes);
        }
      },
      abort: () => upload.abort(),
    };
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ListedObject> {
    const meter = this.#of(prefix);
    meter.counts.list++;
    let objects = 0;
    let tookMs = 0;
    let outcome: CallOutcome = 'ok';
    let isOver = false;
    const listed = this.#store.list(prefix, options)[Symbol.asyncIterator]();
    const next = async () => {
      const startMs = this.#clock.monotonicMs();
      try {
        const result = await listed.next();
        isOver = result.done === true;
        return result;
      } catch (error) {
        isOver = true;
        outcome = outcomeOfError(error);
        throw error;
      } finally {
        tookMs += this.#clock.monotonicMs() - startMs;
      }
    };
    try {
      for (let result = await next(); result.done !== true; result = await next()) {
        if (objects > 0 && objects % PAGE_OBJECTS === 0) meter.counts.list++;
        objects++;
        yield result.value;
      }
    } finally {
      this.#called(meter, 'list', prefix, outcome, tookMs);
      // The caller has seen enough.
      if (!isOver) await listed.return?.();
    }
  }

  delete(paths: string[], options?: CallOptions): Promise<void> {
    for (let i = 0; i < paths.length; i += PAGE_OBJECTS) this.#of(paths[i]).counts.delete++;
    const call = this.#store.delete(paths, options);
    return this.#underWay(paths.length === 0 ? call : this.#timed(this.#of(paths[0]), 'delete', paths[0], done, call));
  }

  #of(path: string): RoleMeter {
    const role = this.#roleOf(path);
    let meter = this.#byRole.get(role);
    if (meter === undefined) {
      meter = new RoleMeter(role);
      this.#byRole.set(role, meter);
    }
    return meter;
  }
}

function addRequest(
  counts: RequestCounts,
  { onRequest }: ObjectWriteOptions,
  kind: 'put' | 'head' | 'list' | 'delete',
  bytesOut: number,
): void {
  counts[kind]++;
  counts.bytesOut += bytesOut;
  onRequest?.(kind, bytesOut);
}
