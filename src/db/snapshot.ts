/** A snapshot as users see it. */
import type { Bytes } from './keys.ts';
import type { Reads } from './reads.ts';

/**
 * A view of the database as it was at one moment, in this process, until it is closed.
 *
 * Every read through it shows the same state, however late it comes: rows up to one sequence number, of which those are gone that
 * had expired when the snapshot was made. So `expireTs` of a value may be in the past by now. Errors and cost as of the database.
 */
export interface Snapshot<K = Bytes, V = Bytes> extends Reads<K, V> {
  /** The sequence number this snapshot reads at. */
  readonly seq: bigint;

  /** Lets flushes drop the versions and expired rows that only this snapshot could see. No request; harmless when called again, and never rejects. */
  close(): Promise<void>;

  /** `close()`, at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
