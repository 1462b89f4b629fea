/**
 * The reading half of the public face, the same for a database, a snapshot and a reader.
 *
 * `get` is a plain function: an answer from memory costs one resolved promise and no other allocation than the value.
 *
 * 1. All that one call reads is of one moment: one view, one highest sequence number, one time. Where a table is gone the call begins again
 *    in a new moment.
 * 2. An answer that damage may have changed is an error, or names the damage; it is never given without a word.
 */
import { stopIfAborted, untilAborted } from '../common/abort.ts';
import { present } from '../common/assert.ts';
import { mapLimit } from '../common/async.ts';
import { copyBytes, type OwnBytes } from '../common/bytes.ts';
import type { Clock } from '../common/clock.ts';
import { CorruptionError, InvalidArgumentError, isCorruption, UnavailableError } from '../common/errors.ts';
import {
  anything,
  bool,
  type ChecksOf,
  checkedOptions,
  oneOf,
  readingArgument,
  that,
} from '../common/option-checks.ts';
import { NO_TS } from '../format/row-flags.ts';
import {
  type Absence,
  type FoundValue,
  type LookupOptions,
  lookup,
  lookupNow,
  NOT_NOW,
  type ReadView,
} from '../lsm/read/point-lookup.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import type { ScanRange } from '../lsm/read/visible-rows.ts';
import { ANY_VALUE, type MergeOperator } from '../lsm/rows/merge-operator.ts';
import { EMPTY_TREE } from '../lsm/tree/table-store.ts';
import type { CorruptionPolicy, CorruptionWatch } from './corruption-watch.ts';
import type { ReadCounts } from './counts.ts';
import { FoundWithMeta } from './found-with-meta.ts';
import { type Bytes, RANGE_NAMES, type RangeOptions, toKey, toRange } from './keys.ts';
import type { RangeReadOptions, ScanOptions, ValueWithMeta } from './reads.ts';
import { type ConvertRow, Scan, type ScanInput } from './scan.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';
import { atOnce, type Own, plainRead, READ_CHECKS, type ReadOptions, readOptionsOf } from './write-options.ts';

/** Where reads look and how. */
export interface ReadSource {
  readonly clock: Clock;
  /** Shared by all that reads through the same handle. */
  readonly turns: Turns;
  /** The time by which reads decide what has expired; undefined: expired rows are shown. */
  readonly nowMs: (() => number) | undefined;
  readonly mergeOperator: MergeOperator | undefined;
  readonly policy: CorruptionPolicy;
  readonly watch: CorruptionWatch;
  /** Shared by all that reads through the same handle. */
  readonly counts: ReadCounts;
  view(): ReadView;
  /** Highest sequence number that may be seen. */
  maxSeq(remoteOnly: boolean): number;
  assertServing(): void;
  /** After a table was found missing: true if the view was renewed and the read can be made again; else rejects. */
  renewView(error: CorruptionError): Promise<boolean>;
}

/** What one call reads, however long it takes: one view, rows up to one sequence number, expiry decided by one time. */
interface Moment {
  view: ReadView;
  maxSeq: number;
  now: (() => number) | undefined;
}

/** What a bound must be, `toRange` says. */
export const RANGE_CHECKS = Object.fromEntries(RANGE_NAMES.map((n) => [n, anything])) as ChecksOf<RangeOptions>;

export const RANGE_READ_CHECKS: ChecksOf<RangeReadOptions> = { ...RANGE_CHECKS, ...READ_CHECKS };

/** What `after` must be, `toRange` says. */
export const SCAN_CHECKS: ChecksOf<ScanOptions> = {
  ...RANGE_READ_CHECKS,
  after: anything,
  reverse: bool,
  limit: that('a whole number of at least 0', isLimit),
  onCorruption: oneOf(['throw', 'skip']),
};
const PARALLEL_LOOKUPS = 16;

/** What a value is given as. May throw: that is the failure of the call that read it. */
export type ConvertValue<V> = (value: OwnBytes, key: Uint8Array) => V;

/** Reads whose results are converted on the way, so that a value costs no second promise. Without a function they are bytes. */
export interface RawReads {
  readonly turns: Turns;
  get<V = OwnBytes>(key: Bytes, o: ReadOptions | undefined, convert?: ConvertValue<V>): Promise<V | undefined>;
  getMany<V = OwnBytes>(
    keys: readonly Bytes[],
    o: ReadOptions | undefined,
    convert?: ConvertValue<V>,
  ): Promise<(V | undefined)[]>;
  has(key: Bytes, o: ReadOptions | undefined): Promise<boolean>;
  getWithMeta(key: Bytes, o: ReadOptions | undefined): Promise<ValueWithMeta | undefined>;
  /** `keysOnly`: values are empty, and not copied. */
  scan<T = ScanRow>(o: ScanOptions | undefined, convert?: ConvertRow<T>, keysOnly?: boolean): ScanIterator<Bytes, T>;
  /** A scan each of whose calls rejects with this error. */
  failedScan<T>(error: unknown): ScanIterator<Bytes, T>;
}

export class ReadPath implements RawReads {
  readonly #source: ReadSource;
  /** Used by lookups that end in the same turn. */
  readonly #options: LookupOptions;

  constructor(source: ReadSource) {
    this.#source = source;
    this.#options = { maxSeq: 0, now: source.nowMs, mergeOperator: source.mergeOperator, useProbable: false };
  }

  get turns(): Turns {
    return this.#source.turns;
  }

  get<V = OwnBytes>(key: Bytes, options: ReadOptions | undefined, convert?: ConvertValue<V>): Promise<V | undefined> {
    try {
      const o = options === undefined ? undefined : readOptionsOf('get', options);
      const maxSeq = this.#begin(o);
      const k = toKey(key);
      this.#source.counts.gets++;
      this.#options.maxSeq = maxSeq;
      const value = lookupNow(this.#source.view(), k, this.#options);
      if (value !== NOT_NOW) return this.#source.turns.give(converted(value, k, convert));
      const own = convert === undefined ? k : copyBytes(k);
      return this.#lookup(k, this.#moment(maxSeq), o).then((found) => converted(found?.value, own, convert));
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  has(key: Bytes, o: ReadOptions | undefined): Promise<boolean> {
    return this.get(key, o).then((value) => value !== undefined);
  }

  getWithMeta(key: Bytes, options: ReadOptions | undefined): Promise<ValueWithMeta | undefined> {
    try {
      const o = options === undefined ? undefined : readOptionsOf('getWithMeta', options);
      const maxSeq = this.#begin(o);
      const k = toKey(key);
      this.#source.counts.gets++;
      return this.#lookup(k, this.#moment(maxSeq), o).then(toMeta);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  getMany<V = OwnBytes>(
    keys: readonly Bytes[],
    options: ReadOptions | undefined,
    convert?: ConvertValue<V>,
  ): Promise<(V | undefined)[]> {
    try {
      const o = options === undefined ? undefined : readOptionsOf('getMany', options);
      const maxSeq = this.#begin(o);
      const wanted = readingArgument('getMany', () => toKeys(keys));
      this.#source.counts.gets += wanted.length;
      const moment = this.#moment(maxSeq);
      const lookups: LookupOptions = { ...this.#options, maxSeq, now: moment.now };
      const results = new Array<V | undefined>(wanted.length);
      const pending: number[] = [];
      for (let i = 0; i < wanted.length; i++) {
        const value = lookupNow(moment.view, wanted[i], lookups);
        if (value === NOT_NOW) pending.push(i);
        else results[i] = converted(value, wanted[i], convert);
      }
      if (pending.length === 0) return this.#source.turns.give(results, Math.max(1, wanted.length));
      return this.#lookupMany(wanted, pending, results, moment, o, convert);
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  /** The keys at the places `pending`, beside the results that are there. Each counts for itself. */
  async #lookupMany<V>(
    wanted: readonly Uint8Array[],
    pending: readonly number[],
    results: (V | undefined)[],
    moment: Moment,
    o: Own<ReadOptions> | undefined,
    convert: ConvertValue<V> | undefined,
  ): Promise<(V | undefined)[]> {
    const copies = pending.map((i) => new Uint8Array(wanted[i]));
    const errors = new Map<number, CorruptionError>();
    await mapLimit(pending, PARALLEL_LOOKUPS, async (i, n) => {
      try {
        const found = await this.#lookup(copies[n], moment, o);
        results[i] = converted(found?.value, copies[n], convert);
      } catch (error) {
        if (!isCorruption(error)) throw error;
        errors.set(i, error);
      }
    });
    if (errors.size > 0) throw manyDamaged(results, errors);
    return results;
  }

  /**
   * The keys of a range that have a row of any kind: what has expired but is stored is one, and merge operands need no operator. Their
   * values are not read. Returns the highest sequence number that is seen besides.
   */
  storedKeys(range: ScanRange, signal: AbortSignal | undefined): { keys: ScanIterator; seq: number } {
    const seq = this.#begin({ signal });
    const all = this.#scanInput(range, seq, signal);
    return { keys: new Scan({ ...all, nowMs: undefined, mergeOperator: ANY_VALUE, keysOnly: true }), seq };
  }

  /** Faults of the call show at the first row asked for, like every other failure of a scan. */
  scan<T = ScanRow>(o: ScanOptions | undefined, convert?: ConvertRow<T>, keysOnly = false): ScanIterator<Bytes, T> {
    try {
      return new Scan<T>(this.#input(o === undefined ? {} : o, keysOnly), convert);
    } catch (error) {
      return this.failedScan(error);
    }
  }

  failedScan<T>(error: unknown): ScanIterator<Bytes, T> {
    const source = this.#source;
    return new Scan<T>({
      view: { memtables: [], tree: EMPTY_TREE },
      range: { gte: undefined, lt: undefined },
      reverse: false,
      limit: 1,
      maxSeq: 0,
      nowMs: undefined,
      mergeOperator: undefined,
      isStrict: false,
      skipDamage: false,
      watch: source.watch,
      counts: source.counts,
      clock: source.clock,
      turns: source.turns,
      signal: undefined,
      assertServing() {
        throw error;
      },
      onError: async (e) => e,
    });
  }

  #input(given: ScanOptions, keysOnly: boolean): ScanInput {
    const options = atOnce(given, SCAN_CHECKS, plainScan) ?? checkedOptions<ScanOptions>('scan', given, SCAN_CHECKS);
    const { limit, onCorruption, reverse, signal } = options;
    const maxSeq = this.#begin(options);
    const range = toRange(options);
    this.#source.counts.scans++;
    return {
      ...this.#scanInput(range, maxSeq, signal),
      reverse: reverse ?? false,
      limit: limit ?? Number.POSITIVE_INFINITY,
      isStrict: (options.corruptionPolicy ?? this.#source.policy) === 'strict',
      skipDamage: onCorruption === 'skip',
      // Nobody sees what operands come to.
      ...(keysOnly && { keysOnly, mergeOperator: ANY_VALUE }),
    };
  }

  /** Of a scan over a whole range, whose options are the defaults. */
  #scanInput(range: ScanRange | undefined, maxSeq: number, signal: AbortSignal | undefined): ScanInput {
    const source = this.#source;
    return {
      view: source.view(),
      range,
      reverse: false,
      limit: Number.POSITIVE_INFINITY,
      maxSeq,
      nowMs: source.nowMs?.(),
      mergeOperator: source.mergeOperator,
      isStrict: source.policy === 'strict',
      skipDamage: false,
      watch: source.watch,
      counts: source.counts,
      clock: source.clock,
      turns: source.turns,
      signal,
      assertServing: () => source.assertServing(),
      onError: async (error) => {
        if (!isMissingTable(error) || !(await source.renewView(error))) return error;
        // The new view may lack versions that this scan can see: only a snapshot pins them.
        return new UnavailableError(
          'VIEW_EXPIRED',
          'A table of this scan was collected in the meantime; start the scan again.',
          { cause: error },
        );
      },
    };
  }

  /** Checks that may fail before anything is read; returns the highest visible sequence number. */
  #begin(o: Partial<Own<ReadOptions>> | undefined): number {
    this.#source.assertServing();
    if (o === undefined) return this.#source.maxSeq(false);
    stopIfAborted(o.signal);
    return this.#source.maxSeq(o.durabilityFilter === 'remote');
  }

  /** The present state as rows up to `maxSeq` show it. */
  #moment(maxSeq: number): Moment {
    const { nowMs } = this.#source;
    const time = nowMs?.();
    return { view: this.#source.view(), maxSeq, now: time === undefined ? undefined : () => time };
  }

  /** Counts for itself, whatever it comes to. */
  async #lookup(key: Uint8Array, first: Moment, o: Own<ReadOptions> | undefined): Promise<FoundValue | undefined> {
    const own = new Uint8Array(key);
    const isStrict = (o?.corruptionPolicy ?? this.#source.policy) === 'strict';
    const { mergeOperator } = this.#source;
    let moment = first;
    try {
      for (let attempt = 0; ; attempt++) {
        const { view, maxSeq, now } = moment;
        const options: LookupOptions = { maxSeq, now, mergeOperator, useProbable: !isStrict };
        const found = await untilAborted(this.#attempt(view, own, options), o?.signal);
        const error = found instanceof CorruptionError ? found : found?.damage;
        if (error === undefined) return this.#source.turns.give(found as FoundValue | undefined);
        if (attempt < MAX_RENEWALS && isMissingTable(error) && (await this.#isRenewed(error, o))) {
          // Tables of the new view may lack versions that only a pinned read can ask for.
          moment = this.#moment(this.#source.maxSeq(o?.durabilityFilter === 'remote'));
          continue;
        }
        return this.#source.turns.give(
          this.#valueOrError(own, found as FoundValue | Absence | CorruptionError, isStrict),
        );
      }
    } catch (error) {
      return this.#source.turns.refuse(error);
    }
  }

  #isRenewed(error: CorruptionError, o: ReadOptions | undefined): Promise<boolean> {
    return untilAborted(this.#source.renewView(error), o?.signal);
  }

  async #attempt(
    view: ReadView,
    key: Uint8Array,
    options: LookupOptions,
  ): Promise<FoundValue | Absence | CorruptionError | undefined> {
    try {
      return await lookup(view, key, options);
    } catch (error) {
      if (isCorruption(error)) return error;
      // Requests of a handle that was closed are aborted: that is the reason then.
      this.#source.assertServing();
      throw error;
    }
  }

  /** What a read that met damage gives: its value, flagged, or the error. */
  #valueOrError(
    key: Uint8Array,
    found: FoundValue | Absence | CorruptionError,
    isStrict: boolean,
  ): FoundValue | undefined {
    const { watch } = this.#source;
    if (found instanceof CorruptionError) {
      watch.met({ operation: 'get', key, findings: found.findings, outcome: 'error' });
      throw found;
    }
    const damage = present(found.damage, 'an answer that is flagged names its damage (read-path 2)');
    const outcome = isStrict ? 'error' : 'possibly-stale';
    if (!watch.met({ operation: 'get', key, findings: damage.findings, outcome }))
      return found.value === undefined ? undefined : found;
    const { seq, value } = found;
    throw new CorruptionError(damage.message, damage.findings, {
      details: { ...damage.details },
      ...(seq !== undefined && { possiblyStale: { seq: BigInt(seq), ...(value !== undefined && { value }) } }),
    });
  }
}

function isLimit(limit: unknown): boolean {
  return Number.isSafeInteger(limit) && (limit as number) >= 0;
}

/** Each read once, by the rules of `SCAN_CHECKS`. */
function plainScan(o: ScanOptions): Own<ScanOptions> | undefined {
  const read = plainRead(o);
  if (read === undefined) return undefined;
  const { gte, gt, lte, lt, prefix, after, reverse, limit, onCorruption } = o;
  if (reverse !== undefined && typeof reverse !== 'boolean') return undefined;
  if (limit !== undefined && !isLimit(limit)) return undefined;
  if (onCorruption !== undefined && onCorruption !== 'throw' && onCorruption !== 'skip') return undefined;
  return { gte, gt, lte, lt, prefix, after, reverse, limit, onCorruption, ...read };
}

/** One by one: an array may be sparse, and longer than memory. */
function toKeys(keys: readonly Bytes[]): Uint8Array[] {
  if (!Array.isArray(keys)) throw new InvalidArgumentError('BAD_ARGUMENT', 'getMany needs an array of keys.');
  const wanted: Uint8Array[] = [];
  for (let i = 0; i < keys.length; i++) wanted.push(toKey(keys[i]));
  return wanted;
}

/** Views a single read may outlive before it gives up. */
export const MAX_RENEWALS = 5;

function isMissingTable(error: unknown): error is CorruptionError {
  return isCorruption(error) && error.findings.some((f) => f.code === 'MISSING_OBJECT');
}

/** Without a function V is `OwnBytes`. */
function converted<V>(
  value: OwnBytes | undefined,
  key: Uint8Array,
  convert: ConvertValue<V> | undefined,
): V | undefined {
  return convert === undefined || value === undefined ? (value as V | undefined) : convert(value, key);
}

function toMeta(found: FoundValue | undefined): ValueWithMeta | undefined {
  if (found === undefined) return undefined;
  const { value, seq, createTs, expireTs, damage } = found;
  return new FoundWithMeta(value, {
    seq: BigInt(seq),
    createTs: createTs === NO_TS ? undefined : createTs,
    expireTs: expireTs === NO_TS ? undefined : expireTs,
    possiblyStale: damage !== undefined,
    findings: damage?.findings ?? [],
  });
}

/** Error of a `getMany` that met damage: `results` has the value, undefined or the error of each key. */
function manyDamaged<V>(results: (V | undefined)[], errors: Map<number, CorruptionError>): CorruptionError {
  const all = [...errors.values()];
  const error = new CorruptionError(
    `${errors.size} of ${results.length} keys could not be read; the error's results say which. First: ${all[0].message}`,
    all.flatMap((e) => e.findings),
  );
  // `results` has holes where there are errors, which `map` would skip.
  const perKey = Array.from(results, (value, i) => errors.get(i) ?? value);
  Object.defineProperty(error, 'results', { value: perKey, enumerable: true });
  return error;
}
