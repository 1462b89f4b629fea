/** What handles count: times of pauses, events of the roles, operands. */
import { describe, expect, it } from 'vitest';
import type { CompactionJobState } from '../../../src/common/compactor-role.ts';
import { UnavailableError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { countedOperator, ReadCounts, Stalls, UpkeepCounts } from '../../../src/db/counts.ts';

describe('pauses', () => {
  it('are counted once each, with their times, the present one included', async () => {
    const clock = new ManualClock();
    const stalls = new Stalls(clock);
    stalls.end();
    expect([stalls.count, stalls.seconds]).toEqual([0, 0]);
    stalls.begin();
    await clock.advance(1000);
    stalls.begin();
    await clock.advance(500);
    expect([stalls.count, stalls.seconds]).toEqual([1, 1.5]);
    stalls.end();
    await clock.advance(9000);
    expect([stalls.count, stalls.seconds]).toEqual([1, 1.5]);
    stalls.begin();
    await clock.advance(250);
    expect([stalls.count, stalls.seconds]).toEqual([2, 1.75]);
  });
});

describe('events of the roles', () => {
  it('are added up', async () => {
    const clock = new ManualClock();
    const counts = new UpkeepCounts(clock);
    const job = { startedAtMs: clock.nowMs() } as CompactionJobState;
    await clock.advance(3000);
    const outcome = {
      job,
      manifestId: 1,
      tables: 2,
      tablesMoved: 0,
      rowsIn: 30,
      rowsOut: 20,
      bytesIn: 900,
      bytesOut: 600,
    };
    counts.note({ type: 'compactor', event: { type: 'committed', outcome } });
    counts.note({ type: 'compactor', event: { type: 'committed', outcome } });
    const error = new UnavailableError('STORE_DOWN', 'down');
    counts.note({ type: 'compactor', event: { type: 'ended', job, error } });
    counts.note({ type: 'compactor', event: { type: 'started', job } });
    counts.note({ type: 'clock', storedTickMs: 1, nowMs: 2 });
    expect(counts).toMatchObject({ bytesCompacted: 1800, tablesWritten: 4, rowsRead: 60, rowsWritten: 40 });
    expect(counts.lastCommitMs).toBe(clock.nowMs());
    expect([counts.committedTimes.count, counts.committedTimes.sum]).toEqual([2, 6]);
    expect([counts.endedTimes.count, counts.endedTimes.sum]).toEqual([1, 3]);
    counts.note({ type: 'collector', event: { type: 'round', round: { tookMs: 250 } as never } });
    counts.note({ type: 'collector', event: { type: 'trouble', error, retryInMs: 1 } });
    expect([counts.roundTimes.count, counts.roundTimes.sum]).toEqual([1, 0.25]);
  });
});

describe('an operator whose operands are counted', () => {
  it('is called on itself, and has mergeBatch only where the given one has it', () => {
    class Append {
      readonly end = new Uint8Array([9]);
      merge(_key: Uint8Array, _existing: Uint8Array | undefined, _operand: Uint8Array) {
        return this.end;
      }
    }
    const counts = new ReadCounts();
    const counted = countedOperator(new Append(), counts);
    expect(counted?.mergeBatch).toBeUndefined();
    expect(counted?.merge(new Uint8Array(1), undefined, new Uint8Array(1))).toEqual(new Uint8Array([9]));
    expect(counts.operands).toBe(1);
    expect(countedOperator(undefined, counts)).toBeUndefined();
  });
});
