/**
 * A view of the database as it was at one moment, in this process, until it is closed.
 *
 * Invariants:
 * 1. Every read through it shows the same state, however late it comes: rows up to one sequence number, all of which were there when it
 *    was made, and of which those are gone that had expired then. Flushes keep both (`SnapshotPins`).
 * 2. Its pin is taken back once, when it is closed (asserted by `SnapshotPins`).
 */
import { assertThat } from '../common/assert.ts';
import { ClosedError } from '../common/errors.ts';
import { ByteReads } from './byte-reads.ts';
import { ReadPath, type ReadSource } from './read-path.ts';
import type { Snapshot } from './snapshot.ts';
import type { Pin } from './snapshot-pins.ts';
import type { Turns } from './turns.ts';

export interface SnapshotOptions {
  pin: Pin;
  source: ReadSource;
  /** Takes the pin back; gets the snapshot. */
  release(snapshot: object): void;
}

export class PinnedSnapshot extends ByteReads implements Snapshot {
  readonly #seq: number;
  readonly #release: (snapshot: object) => void;
  readonly #turns: Turns;
  #closed = false;

  constructor(options: SnapshotOptions) {
    const { source } = options;
    const { seq, nowMs } = options.pin;
    assertThat(
      seq <= source.maxSeq(false),
      'a snapshot shows rows that were there when it was made (pinned-snapshot 1)',
    );
    const path = new ReadPath({
      ...source,
      nowMs: source.nowMs && (() => nowMs),
      maxSeq: (remoteOnly) => Math.min(seq, source.maxSeq(remoteOnly)),
      assertServing: () => {
        if (this.#closed) throw new ClosedError('CLOSED', 'The snapshot is closed.');
        source.assertServing();
      },
    });
    super(path);
    this.#seq = seq;
    this.#release = options.release;
    this.#turns = source.turns;
  }

  get seq(): bigint {
    return BigInt(this.#seq);
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#release(this);
    }
    return this.#turns.give(undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
