/** A view of the database as it was at one sequence number, in this process, until it is closed. */
import { ClosedError } from '../common/errors.ts';
import type { Bytes } from './keys.ts';
import { type ReadSource, Reads, type ScanOptions, type ValueWithMeta } from './reads.ts';
import type { ScanIterator } from './scan-iterator.ts';
import type { Turns } from './turns.ts';
import type { ReadOptions } from './write-options.ts';

export interface SnapshotOptions {
  seq: number;
  source: ReadSource;
  release(): void;
}

export class Snapshot {
  readonly #seq: number;
  readonly #reads: Reads;
  readonly #release: () => void;
  readonly #turns: Turns;
  #closed = false;

  constructor(options: SnapshotOptions) {
    const { source, seq } = options;
    this.#seq = seq;
    this.#release = options.release;
    this.#turns = source.turns;
    this.#reads = new Reads({
      ...source,
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

  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    return this.#reads.get(key, options);
  }

  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#reads.getMany(keys, options);
  }

  has(key: Bytes, options?: ReadOptions): Promise<boolean> {
    return this.#reads.has(key, options);
  }

  getWithMeta(key: Bytes, options?: ReadOptions): Promise<ValueWithMeta | undefined> {
    return this.#reads.getWithMeta(key, options);
  }

  scan(options?: ScanOptions): ScanIterator {
    return this.#reads.scan(options);
  }

  /** Lets flushes drop the versions only this snapshot could see. Harmless when called again. */
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
