/**
 * What a writer knows of one key, so that a write can be decided by it in the step in which it gets its number: the versions of the
 * key, read once and then kept up to date from memory, whatever is written and flushed in between.
 *
 * 1. Versions are newest first, of falling sequence numbers, and complete from the newest write of the database down to the first base or
 *    the oldest version: but for those that damage hides, which are named.
 * 2. A key is read once. What is written later is in memory, and before memtables leave (`WriteState.onLeave`) it is taken over: so a
 *    decision comes to its end however fast others write.
 */
import { assertThat } from '../common/assert.ts';
import { CorruptionError } from '../common/errors.ts';
import {
  type HiddenVersions,
  type KeyVersions,
  NOT_NOW,
  versionsInMemory,
  versionsNow,
} from '../lsm/read/point-lookup.ts';
import type { MergeOperator } from '../lsm/rows/merge-operator.ts';
import { decidedFrom, foldVersions, hasExpired, isOperand, isSeen, type Version } from '../lsm/rows/visibility.ts';
import type { WriteState } from './write-state.ts';

export class KeyHistory {
  readonly key: Uint8Array;
  readonly #state: WriteState;
  readonly withValues: boolean;
  #versions: Version[] = [];
  #hidden: readonly HiddenVersions[] = [];
  /** Newer versions are not in `#versions` yet. */
  #to = -1;
  /** Nothing older is missing. */
  #isWhole = false;

  /** `withValues`: for `row`. The bytes of the key must not change. */
  constructor(state: WriteState, key: Uint8Array, withValues: boolean) {
    this.#state = state;
    this.key = key;
    this.withValues = withValues;
  }

  /** The newest version of any kind: what a decision depends on is durable when it is; -1: there is none. */
  get newestSeq(): number {
    return this.#versions[0]?.seq ?? -1;
  }

  /** Knows the key without waiting; false if something must be fetched, or is damaged. */
  readNow(): boolean {
    const { view, lastSeq } = this.#state;
    const versions = versionsNow(view, this.key, lastSeq, this.withValues);
    if (versions === NOT_NOW) return false;
    this.#versions = versions;
    this.#to = lastSeq;
    this.#isWhole = true;
    return true;
  }

  /** A read of the rows up to the present one begins; what is written from now on is taken from memory. */
  begin(): number {
    this.#versions = [];
    this.#hidden = [];
    this.#isWhole = false;
    this.#to = this.#state.lastSeq;
    return this.#to;
  }

  /** The read that was begun has ended. */
  complete({ versions, hidden }: KeyVersions): void {
    if (this.#isWhole) return;
    const oldest = this.#versions.at(-1)?.seq ?? Number.POSITIVE_INFINITY;
    assertThat(
      versions.length === 0 || versions[0].seq < oldest,
      'versions of a key come newest first (key-history 1)',
    );
    this.#versions.push(...versions);
    this.#hidden = hidden;
    this.#isWhole = true;
  }

  /** Takes over what was written since. */
  bringUp(): void {
    const { view, lastSeq } = this.#state;
    if (this.#to === lastSeq) return;
    const newer = versionsInMemory(view.memtables, this.key, this.#to, this.withValues);
    this.#to = lastSeq;
    if (newer.length === 0) return;
    const isBased = !isOperand(newer[newer.length - 1].flags);
    this.#versions = isBased ? newer : [...newer, ...this.#versions];
    if (!isBased) return;
    // All that is older counts no more, damage included.
    this.#hidden = [];
    this.#isWhole = true;
  }

  /** Bytes of all values that go into the row, or may. */
  get valueBytes(): number {
    this.bringUp();
    return this.#versions.reduce((bytes, { value }) => bytes + value.length, 0);
  }

  /**
   * Sequence number of the row that a reader sees; undefined: there is none. Throws `CorruptionError` where damage may hold the answer.
   * @param nowMs undefined: nothing has expired
   */
  seqSeen(nowMs: number | undefined): number | undefined {
    this.#check();
    for (const version of this.#versions) {
      this.#throwHidden(version.seq);
      const { flags, expireTs, seq } = version;
      if (!isOperand(flags)) return isSeen(version, nowMs) ? seq : undefined;
      if (!hasExpired(flags, expireTs, nowMs)) return seq;
    }
    this.#throwHidden(-1);
    return undefined;
  }

  /** The row that a reader sees, or undefined; throws as `seqSeen` does, and what the merge operator throws. */
  row(nowMs: number | undefined, operator: MergeOperator | undefined): Uint8Array | undefined {
    this.#check();
    this.#throwHidden(decidedFrom(this.#versions));
    return foldVersions(this.#versions, this.key, nowMs, operator)?.value;
  }

  #check(): void {
    this.bringUp();
    assertThat(this.#isWhole, 'a key is decided about when all of its versions are known (key-history 1)');
  }

  /** Versions above `seq` may be hidden by damage. */
  #throwHidden(seq: number): void {
    const errors = this.#hidden.filter(({ maxSeq }) => maxSeq > seq).map(({ error }) => error);
    if (errors.length === 0) return;
    const findings = errors.flatMap((error) => error.findings);
    const messages = [...new Set(errors.map((error) => error.message))].join('; ');
    throw new CorruptionError(
      `${messages} A newer version of the key may be in there, so this write cannot be decided. Nothing was written.`,
      findings,
      { outcome: 'not-applied', details: { ...errors[0].details, key: this.key } },
    );
  }
}
