/**
 * A view of the database as it was at one moment, in this process, until it is closed.
 *
 * Invariant: every read through it shows the same state, however late it comes: rows up to one sequence number, of which those are
 * gone that had expired when the snapshot was made. Flushes keep both (`WriteState.pin`).
 */
import { ClosedError } from '../common/errors.ts';
import type { Bytes } from './keys.ts';
import { type ReadSource, Reads, type ScanOptions, type ValueWithMeta } from './reads.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';
import type { ReadOptions } from './write-options.ts';
import type { Pin } from './write-state.ts';

export interface SnapshotOptions {
  pin: Pin;
  source: ReadSource;
  /** Takes the pin back. */
  release(): void;
}

export class Snapshot {
  readonly #seq: number;
  readonly #reads: Reads;
  readonly #release: () => void;
  readonly #turns: Turns;
  #closed = false;

  constructor(options: SnapshotOptions) {
    const { source } = options;
    const { seq, nowMs } = options.pin;
    this.#seq = seq;
    this.#release = options.release;
    this.#turns = source.turns;
    this.#reads = new Reads({
      ...source,
      nowMs: source.nowMs && (() => nowMs),
      maxSeq: (remoteOnly) => Math.min(seq, source.maxSeq(remoteOnly)),
      assertServing: () => {
        if (this.#closed) throw new ClosedError('CLOSED', 'The snapshot is closed.');
        source.assertServing();
      },
    });
  }

  /** The sequence number this snapshot reads at. */
  get seq(): bigint {
    return BigInt(this.#seq);
  }

  /** The value at the moment of the snapshot, or undefined. Errors and cost as of `Db.get`. */
  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#reads.get(key, options);
  }

  /** Values in the order of the keys, like `Db.getMany`. */
  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#reads.getMany(keys, options);
  }

  /** Whether there was a value, like `Db.has`. */
  has(key: Bytes, options?: ReadOptions): Promise<boolean> {
    return this.#reads.has(key, options);
  }

  /** The value with its sequence number and times, like `Db.getWithMeta`. Its `expireTs` may lie in the past by now. */
  getWithMeta(key: Bytes, options?: ReadOptions): Promise<ValueWithMeta | undefined> {
    return this.#reads.getWithMeta(key, options);
  }

  /** Rows in key order, like `Db.scan`: also those that have expired since the snapshot was made, and none that came since. */
  scan(options?: ScanOptions): ScanIterator {
    return this.#reads.scan(options);
  }

  /** Lets flushes drop the versions and expired rows that only this snapshot could see. Harmless when called again. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#release();
    }
    return this.#turns.give(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
