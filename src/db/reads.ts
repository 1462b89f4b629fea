/**
 * Reading as users see it: what a database, a reader and a snapshot have in common.
 *
 * Each answers `get`, `getMany`, `has`, `getWithMeta` and `scan` by the same code (`ReadPath`); they differ in the rows that they
 * show, which each documents.
 */
import type { Finding } from '../common/finding.ts';
import type { Bytes, RangeOptions } from './keys.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { ReadOptions } from './write-options.ts';

/** Options of `scan`: the range of keys, and how it is read. */
export interface ScanOptions extends RangeOptions, ReadOptions {
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

/** A value with what is known about it. */
export interface ValueWithMeta {
  /** The value, which the caller may change. */
  value: Uint8Array;
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
}

/**
 * What can be read, and how. Absence is `undefined`, never an error.
 *
 * Every read rejects with `InvalidArgumentError` (a key or an option; nothing was read), `CorruptionError` (damage that may hold the
 * answer), `IncompatibleError` (a newer format, or operands without the option `mergeOperator`), `UnavailableError` (the store, or
 * `VIEW_EXPIRED`), `AbortError`, and `ClosedError` or `FencedError` once the handle has ended.
 */
export interface Reads {
  /** The value, or undefined. From memory or cache no request; cold at most two for each table that may hold the key. */
  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined>;

  /**
   * Values in the order of the keys, all of one moment. With damage it rejects at the end; the error's `results` has the outcome of
   * each key. Costs as much as `get` of each, 16 at a time.
   */
  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]>;

  /** Whether there is a value. Costs as much as `get`. */
  has(key: Bytes, options?: ReadOptions): Promise<boolean>;

  /** The value with its sequence number and times, and whether a newer one may be in a damaged stretch. Costs as much as `get`. */
  getWithMeta(key: Bytes, options?: ReadOptions): Promise<ValueWithMeta | undefined>;

  /**
   * Rows in key order over the view of this moment. What is wrong with the call shows at the first row asked for. Cold, reads ahead:
   * 16 KiB, then twice as much up to 1 MiB a request.
   */
  scan(options?: ScanOptions): ScanIterator;
}
