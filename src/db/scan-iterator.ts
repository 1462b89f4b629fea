/** A scan as users see it: rows one by one, or in batches, over the view taken when it was created. */
import type { Finding } from '../common/finding.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import type { Bytes } from './keys.ts';

/**
 * The rows of a scan, for `for await`, one by one or in batches; of `keys()` and `values()` only that of each row. Calls are answered
 * in order; after `close` or the end each says "done". After a failure the next call goes on after it. Rows belong to the caller, who
 * may change them.
 *
 * `K` is what keys are given as, `T` what the scan hands out. Its methods reject as those of `Reads` do.
 */
export interface ScanIterator<K = Bytes, T = ScanRow> extends AsyncIterableIterator<T> {
  /** The damage that this scan has met, at most 1,000 pieces. */
  readonly findings: readonly Finding[];

  /** The scan itself: a second loop over it goes on where the first one stopped. */
  [Symbol.asyncIterator](): ScanIterator<K, T>;

  /** The next row; no request if it is in memory. */
  next(): Promise<IteratorResult<T, undefined>>;

  /**
   * Up to `count` rows in one promise. Fewer: the end comes next, or a failure, which the next call rejects with. Only an empty batch
   * is the end, so call again until there is one. Costs as much as `next` for each row.
   */
  nextBatch(count: number): Promise<T[]>;

  /**
   * All rows that are left, in one array: for ranges that fit into memory. Rejects with the first failure, and what it had gathered by
   * then is not handed out again; read with `nextBatch` where rows around damage are wanted. The requests of the scan.
   *
   * ```ts
   * const newest = await db.scan({ prefix: 'event/', reverse: true, limit: 20 }).toArray();
   * ```
   */
  toArray(): Promise<T[]>;

  /**
   * After a `CorruptionError`: the next rows are those that other tables hold in the damaged stretch, marked `possiblyStale`
   * unless they are newer than all that is missing. Without this call the scan goes on after it. A key whose merge operands
   * are around the damage is an error of its own. No request.
   *
   * Rejects with `InvalidArgumentError` if the last call met no damage, or the policy is `strict`, and with the damage if the
   * `onCorruption` function says so.
   */
  resume(how: 'include'): Promise<void>;

  /**
   * Goes on at `key`: forward at the first row at or above it, reverse at the last row at or below it. What is passed over does not
   * count for `limit`. A scan never goes back: rows that were handed out are not repeated, so a seek to the last of them changes
   * nothing, like one to where the last seek went. No request before the next row is asked for.
   *
   * Rejects with `InvalidArgumentError`, and changes nothing, if the key is none, is outside of the range, before the last row
   * handed out, or before the key of the last seek (in reverse: above them). That also holds after the end, where a seek that is
   * not refused changes nothing; every key is outside of an empty range.
   */
  seek(key: K): Promise<void>;

  /** Ends the scan; harmless when called again. No request; never rejects. */
  close(): Promise<void>;

  /** Like `close`; what leaving a `for await` early calls. */
  return(): Promise<IteratorResult<T, undefined>>;

  /** `close()`, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
