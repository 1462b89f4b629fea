/**
 * The open snapshots of a writer: what flushes have to keep for them.
 *
 * 1. A pin is open from `pin` to `unpin`, which is called once; while it is, no flush may drop a version that its sequence number sees, or a row that had
 *    not expired at its time.
 * 2. The time of a new pin is not before any up to which a flush may drop what has expired, also where the clock was put back.
 * 3. Each pin is of the present state, so their sequence numbers do not fall.
 *
 * All runs between two promises: a flush asks when it builds a table, and a pin made later sees what that table has.
 */
import { assertThat } from '../common/assert.ts';
import type { Clock } from '../common/clock.ts';

/** What an open snapshot reads: rows up to a sequence number, of which those are gone that had expired at a time. */
export interface Pin {
  readonly seq: number;
  readonly nowMs: number;
}

export class SnapshotPins {
  readonly #clock: Clock;
  readonly #open = new Set<Pin>();
  /** Of the newest pin. */
  #newestSeq = 0;
  /** Up to when flushes have taken rows for expired: no later snapshot may see those. */
  #expiredToMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many are open. */
  get count(): number {
    return this.#open.size;
  }

  /** Pins the rows up to `seq`, which is the present state. */
  pin(seq: number): Pin {
    assertThat(seq >= this.#newestSeq, 'a snapshot is of the present state (snapshot-pins 3)');
    this.#newestSeq = seq;
    const pin = { seq, nowMs: Math.max(this.#clock.nowMs(), this.#expiredToMs) };
    this.#open.add(pin);
    return pin;
  }

  unpin(pin: Pin): void {
    assertThat(this.#open.delete(pin), 'a pin is taken back once (snapshot-pins 1)');
  }

  /** Lowest sequence number that some snapshot may still read; `otherwise` without snapshots. */
  oldestSeq(otherwise: number): number {
    let oldest = otherwise;
    for (const { seq } of this.#open) if (seq < oldest) oldest = seq;
    return oldest;
  }

  /** Up to when, but not later than `latestMs`, a table that is built now may leave out what has expired. */
  expireTo(latestMs: number): number {
    let toMs = Math.min(latestMs, this.#clock.nowMs());
    for (const { nowMs } of this.#open) if (nowMs < toMs) toMs = nowMs;
    this.#expiredToMs = Math.max(this.#expiredToMs, toMs);
    return toMs;
  }
}
