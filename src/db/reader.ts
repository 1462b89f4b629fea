/** A reader as users see it. */
import type { Metrics } from '../common/metrics.ts';
import type { RequestCountsByRole } from '../store/metered-store.ts';
import type { CorruptionReport } from './corruption-watch.ts';
import type { Bytes } from './keys.ts';
import type { Reads } from './reads.ts';
import type { CloseOptions, RefreshOptions } from './write-options.ts';

/**
 * A read-only view of a database, made by `openReader`: writes nothing, fences no writer, pins nothing.
 *
 * It shows the tables of one manifest and the rows of the log after it, as they were at the opening or the last `refresh`.
 * Because it pins nothing, a collector may delete what it reads: then a read rejects with `UnavailableError` (`VIEW_EXPIRED`).
 */
export interface Reader<K = Bytes, V = Bytes> extends Reads<K, V> {
  /** Path of the database in its store. */
  readonly path: string;

  /** The store that the database is in. */
  readonly store: {
    /** For messages, e.g. `s3://bucket`; never holds credentials. */
    readonly name: string;
  };

  /**
   * Shows what is stored now; never goes back, and never to another database: where this one was deleted and created again it rejects with
   * `UnavailableError` (`VIEW_EXPIRED`), and what was shown stays. Reads that are under way, scans too, go on with the state that they began with.
   * Concurrent calls share one.
   *
   * The requests of an opening, but a GET only for those objects of the log that are new: none without new ones, k for k. What was
   * read and verified stays, in `memoryBytes`, as long as lists show it with the size and ETag that it had; all is read again where
   * an object was replaced or deleted, in stores that list no ETags, and where memory is short. What was damaged or missing
   * is looked at again each time. So damage that a list does not show is found by the next opening; until then the rows
   * that were read before it are served.
   *
   * Rejects with `CorruptionError` or `IncompatibleError` for what an opening would refuse, with `UnavailableError` and
   * `AbortError`; the state shown before stays.
   */
  refresh(options?: RefreshOptions): Promise<void>;

  /** The damage that reads of this handle have met, and what it did to them. No request. */
  corruptions(): CorruptionReport;

  /** Requests and bytes since the reader was opened, in all and by role of the object. */
  requestCounts(): RequestCountsByRole;

  /** As `metrics` of a database, of what a reader has: requests, cache, tables, and how long refreshes took. No request. */
  metrics(): Metrics;

  /** Ends all work: every later call rejects with `ClosedError`. No request; harmless when called again. */
  close(options?: CloseOptions): Promise<void>;

  /** `close()`, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
