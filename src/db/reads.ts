/**
 * Reading as users see it: what a database, a reader and a snapshot have in common.
 *
 * Each answers by the same code (`ReadPath`); they differ in the rows that they show, which each documents.
 */
import type { OwnBytes } from '../common/bytes.ts';
import type { Finding } from '../common/finding.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import type { AnyEncoding, EncodedBy, EncodingsFor } from './encoding.ts';
import type { Bytes, Decoded, RangeOptions } from './keys.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { ReadOptions } from './write-options.ts';

/** Options of reads of a whole range: which keys, and how they are read. */
export interface RangeReadOptions<K = Bytes> extends RangeOptions<K>, ReadOptions {}

/** Options of `scan`, `keys` and `values`: the range of keys, and how it is read. */
export interface ScanOptions<K = Bytes> extends RangeReadOptions<K> {
  /**
   * Goes on after this key in the direction of the scan: a cursor. Forward as `gt`, in reverse as `lt`; it narrows the other
   * bounds, which stay as they were for the first page. Default: the scan begins where the range does.
   */
  after?: K;
  /**
   * What happens where a stretch cannot be read: `throw` (default) rejects once, then goes on after it; `skip` leaves it out
   * and adds to the iterator's `findings`.
   */
  onCorruption?: 'throw' | 'skip';
  /** From the last key to the first. */
  reverse?: boolean;
  /** At most this many rows. */
  limit?: number;
}

/** Encodings of a sublevel. */
export interface LevelOptions<KE extends AnyEncoding | undefined, VE extends AnyEncoding | undefined> {
  /** What its keys are. Default: as those of the handle that it is made of. */
  keyEncoding?: KE;
  /** What its values are. Default: as those of the handle that it is made of. */
  valueEncoding?: VE;
}

/** What an encoding takes, or where none is given, T. */
export type Either<E, T> = [E] extends [undefined] ? T : EncodedBy<E>;

/** What `page` reads: the range, from where, and how. */
export interface PagedRange<K = Bytes> extends RangeReadOptions<K> {
  /** The `after` of the page before; it follows the direction. Default: the first page. */
  after?: K;
  /** From the last key to the first. */
  reverse?: boolean;
}

/** Options of `page`. */
export interface PageOptions {
  /** Most rows of a page; a whole number from 1 to 1,000,000. */
  size: number;
}

/** Some rows of a range, and where the next ones begin. */
export interface Page<K = Bytes, V = Bytes> {
  /** In the order of the keys, or in reverse. */
  rows: ScanRow<Decoded<K>, Decoded<V>>[];
  /** Whether a row followed the last one when the page was read. */
  more: boolean;
  /**
   * The key to go on after: that of the last row; on a page without rows the one that was given. It is there also when no more follows,
   * for those who ask again later. Undefined: the range was empty from its beginning.
   */
  after: K | undefined;
}

/** A value with what is known about it. */
export interface ValueWithMeta<V = OwnBytes> {
  /** The value, which the caller may change. */
  value: V;
  /** Sequence number of the newest write that went into it. */
  seq: bigint;
  /** When it was written, ms since the epoch; undefined if the row does not say. */
  createTs: number | undefined;
  /** When it expires; undefined: never. */
  expireTs: number | undefined;
  /** A newer version may be in a damaged stretch, or be lost with rows of the log; `findings` says where. */
  possiblyStale: boolean;
  /** The damage that a newer version may be in; empty unless `possiblyStale`. */
  findings: readonly Finding[];
  /** For `JSON.stringify`: bytes as base64url, `seq` as a decimal string, `findings` in the form that errors give them, what is undefined left out. */
  toJSON(): ValueWithMetaJson;
}

/** A value with what is known about it, for JSON. */
export interface ValueWithMetaJson {
  /** Bytes as base64url; a value of another encoding as it is. */
  value: unknown;
  /** The sequence number in decimal digits. */
  seq: string;
  /** As in the value. */
  createTs?: number;
  /** As in the value. */
  expireTs?: number;
  /** As in the value. */
  possiblyStale: boolean;
  /** As in the value, as plain data. */
  findings: unknown;
}

/**
 * What can be read, and how. Absence is `undefined`, never an error. A function that takes `Reads` works on a database, a reader and a
 * snapshot:
 *
 * ```ts
 * const newest = (from: Reads, n: number) => from.scan({ reverse: true, limit: n }).toArray();
 * ```
 *
 * `K` and `V` are what keys and values are given as. By default both are `Bytes`: bytes, or a string that stands for its UTF-8; reads
 * then give bytes.
 *
 * Every read rejects with `InvalidArgumentError` (a key or an option; nothing was read), `CorruptionError` (damage that may hold the
 * answer), `IncompatibleError` (a newer format, or operands without the option `mergeOperator`), `UnavailableError` (the store, or
 * `VIEW_EXPIRED`), `AbortError`, and `ClosedError` or `FencedError` once the handle has ended.
 */
export interface Reads<K = Bytes, V = Bytes> {
  /** The value, or undefined. From memory or cache no request; cold at most two for each table that may hold the key. */
  get(key: K, options?: ReadOptions): Promise<Decoded<V> | undefined>;

  /**
   * Values in the order of the keys, all of one moment. With damage it rejects at the end; the error's `results` has the outcome of
   * each key. Costs as much as `get` of each, 16 at a time.
   */
  getMany(keys: readonly K[], options?: ReadOptions): Promise<(Decoded<V> | undefined)[]>;

  /** Whether there is a value. Costs as much as `get`. */
  has(key: K, options?: ReadOptions): Promise<boolean>;

  /** The value with its sequence number and times, and whether a newer one may be in a damaged stretch. Costs as much as `get`. */
  getWithMeta(key: K, options?: ReadOptions): Promise<ValueWithMeta<Decoded<V>> | undefined>;

  /**
   * Rows in key order over the view of this moment. What is wrong with the call shows at the first row asked for. Cold, reads ahead:
   * 16 KiB, then twice as much up to 1 MiB a request.
   *
   * ```ts
   * for await (const { key, value } of db.scan({ prefix: 'user/' })) console.log(key, value);
   * ```
   */
  scan(options?: ScanOptions<K>): ScanIterator<K, ScanRow<Decoded<K>, Decoded<V>>>;

  /** The keys of `scan`, alone; no merge operator is asked. Costs the requests of `scan`: keys are stored beside their values. */
  keys(options?: ScanOptions<K>): ScanIterator<K, Decoded<K>>;

  /** The values of `scan`, alone. Costs as much as `scan`. */
  values(options?: ScanOptions<K>): ScanIterator<K, Decoded<V>>;

  /** The first row of a range, or undefined. Costs as much as a scan of one row. */
  first(range?: RangeReadOptions<K>): Promise<ScanRow<Decoded<K>, Decoded<V>> | undefined>;

  /** The last row of a range, or undefined. Costs as much as a scan of one row. */
  last(range?: RangeReadOptions<K>): Promise<ScanRow<Decoded<K>, Decoded<V>> | undefined>;

  /**
   * How many keys of a range have a value, exactly. It reads every row, with the requests of a scan. `estimateSize` of a database asks the
   * metadata of tables only.
   */
  count(range?: RangeReadOptions<K>): Promise<number>;

  /**
   * Up to `size` rows, and whether more follow. Rows that do not change between two pages are neither repeated nor left out. Costs as
   * much as a scan of `size` + 1 rows.
   *
   * ```ts
   * const one = await db.page({ prefix: 'event/', reverse: true }, { size: 50 });
   * const two = await db.page({ prefix: 'event/', reverse: true, after: one.after }, { size: 50 });
   * ```
   */
  page(range: PagedRange<K>, options: PageOptions): Promise<Page<K, V>>;

  /**
   * The reads of a sublevel: of the rows whose keys begin with its name, with encodings of their own; by default those of the handle that it
   * is made of. See `Db.sublevel`. Throws `InvalidArgumentError` for a name or an option. No request.
   */
  sublevel<KE extends AnyEncoding | undefined = undefined, VE extends AnyEncoding | undefined = undefined>(
    name: string,
    options?: LevelOptions<KE, VE>,
  ): Reads<Either<KE, K>, Either<VE, V>>;
  sublevel<K2, V2>(name: string, options: EncodingsFor<K2, V2>): Reads<K2, V2>;
}
