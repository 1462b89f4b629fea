/**
 * The rows of the log that a reader shows: read once, and kept from one refresh to the next.
 *
 * One memtable grows with the log. Views of before go on using it while it grows: each read has a highest sequence number, and
 * rows of later objects are above it. When tables have taken rows over, the rest is copied into a new memtable, because a row in
 * both places would count twice where operands are merged; views of before keep the old one.
 *
 * Invariants:
 * 1. The memtable has all rows of the objects from the replay point to `#appliedTo` that are above `#floorSeq`, and no other.
 * 2. A log whose rows were applied in part is not followed any further, nor one that goes back.
 * 3. Nor is one that has other objects now than those that were applied. Then everything is read again, as at the opening.
 */
import { assertThat } from '../common/assert.ts';
import { runSliced } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import { UnavailableError } from '../common/errors.ts';
import type { LoadedManifest } from '../lsm/manifest/manifest-store.ts';
import { Memtable } from '../lsm/memtable/memtable.ts';
import { type LogMeans, type LogStores, VerifiedLog } from '../recovery/verified-log.ts';
import { applyRows } from './replay.ts';

const ROWS_PER_STEP = 256;

export class ReaderLog {
  readonly wal: VerifiedLog;
  readonly #means: LogMeans;
  #memtable = new Memtable();
  /** Of the manifest that was followed last: rows up to here are in tables. */
  #floorSeq = 0;
  #appliedTo = 0;
  #lastSeq = 0;
  #isWhole = true;

  constructor(stores: LogStores, means: LogMeans) {
    this.wal = new VerifiedLog(stores, means);
    this.#means = means;
  }

  /** Whether anything is kept that was read for an earlier manifest or a shorter log. */
  get isUsed(): boolean {
    return this.#appliedTo > 0;
  }

  /** Whether this manifest may go on from what is kept. */
  canFollow({ manifest, seal }: LoadedManifest): boolean {
    if (!this.#isWhole || manifest.lastL0Seq < this.#floorSeq) return false;
    // Whether rows that an unsealed manifest says are in tables can be there is decided by the rows themselves, which are not kept.
    return !this.isUsed || seal !== undefined || manifest.lastL0Seq === this.#floorSeq;
  }

  /**
   * Whether the log, loaded again and good up to `end`, still has everything that was applied as it was; what is before the replay
   * point now, in tables: a repair may have given it up.
   */
  isContinuedTo(end: number, { manifest }: LoadedManifest): boolean {
    const { wal } = this;
    return end >= this.#appliedTo && wal.firstChangedId > this.#appliedTo && wal.passedSeq <= manifest.lastL0Seq;
  }

  /**
   * Applies what is new up to object `end`. The greatest sequence number is the last that views with this memtable may show.
   * @throws UnavailableError OVERLOADED if the rows need more than the budget
   */
  async apply(newest: LoadedManifest, end: number): Promise<{ memtable: Memtable; lastSeq: number }> {
    const { wal } = this;
    const { manifest } = newest;
    const { clock } = this.#means.parts;
    const { memoryBytes } = this.#means.settings;
    assertThat(this.isContinuedTo(end, newest), 'a log is followed with the objects that were applied (reader-log 3)');
    assertThat(this.#isWhole && manifest.lastL0Seq >= this.#floorSeq, 'a log is only followed forward (reader-log 2)');
    this.#isWhole = false;
    const { lastL0Seq } = manifest;
    if (lastL0Seq > this.#floorSeq) this.#memtable = await rowsAbove(this.#memtable, lastL0Seq, clock);
    this.#floorSeq = lastL0Seq;
    this.#lastSeq = Math.max(this.#lastSeq, lastL0Seq);
    const memtable = this.#memtable;
    for (let id = Math.max(wal.from, this.#appliedTo + 1); id <= end; id++) {
      const object = await wal.take(id);
      await applyRows(object, memtable, lastL0Seq, clock);
      this.#lastSeq = Math.max(this.#lastSeq, object.maxSeq);
      if (memtable.memoryBytes > memoryBytes) throw tooMuchLog(memtable.memoryBytes, memoryBytes);
    }
    wal.forgetBefore(wal.from);
    this.#appliedTo = Math.max(this.#appliedTo, end);
    // With too little memory for both, the next refresh reads the log again.
    this.#isWhole = memtable.memoryBytes + wal.memoryBytes <= memoryBytes;
    return { memtable, lastSeq: this.#lastSeq };
  }
}

/** The rows above `floorSeq`, which are the last ones: the same memtable if that is all. */
async function rowsAbove(from: Memtable, floorSeq: number, clock: Clock): Promise<Memtable> {
  let id = 0;
  for (let high = from.rowCount; id < high; ) {
    const middle = (id + high) >>> 1;
    if (from.seqOf(middle) > floorSeq) high = middle;
    else id = middle + 1;
  }
  if (id === 0) return from;
  const to = new Memtable();
  const sink = { add: to.addSlice.bind(to) };
  await runSliced(clock, () => {
    const stop = Math.min(from.rowCount, id + ROWS_PER_STEP);
    from.addRangeTo(sink, id, stop);
    id = stop;
    return id === from.rowCount;
  });
  assertThat(to.rowCount === 0 || to.firstSeq > floorSeq, 'no row is in a table and in memory (reader-log 1)');
  return to;
}

function tooMuchLog(bytes: number, memoryBytes: number): UnavailableError {
  return new UnavailableError(
    'OVERLOADED',
    `The rows of the log that are in no table yet need more than ${bytes} bytes; the limit is ${memoryBytes} (option memoryBytes). Raise it, or let the writer flush its memtable.`,
  );
}
