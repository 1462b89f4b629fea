/** What flushes have to keep for the open snapshots. */
import { describe, expect, it } from 'vitest';
import { InternalError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SnapshotPins } from '../../../src/db/snapshot-pins.ts';

describe('open snapshots', () => {
  it('hold the numbers and the time that tables must keep, until they are let go', async () => {
    const clock = new ManualClock();
    const pins = new SnapshotPins(clock);
    const at = clock.nowMs();
    const first = pins.pin(10);
    await clock.advance(50);
    const second = pins.pin(12);
    expect([pins.oldestSeq(15), pins.expireTo(at + 90)]).toEqual([10, at]);
    pins.unpin(first);
    expect([pins.oldestSeq(15), pins.expireTo(at + 90)]).toEqual([12, at + 50]);
    pins.unpin(second);
    expect(pins.oldestSeq(15)).toBe(15);
  });

  it('never let a flush drop what has not expired yet', async () => {
    const clock = new ManualClock();
    const pins = new SnapshotPins(clock);
    expect(pins.expireTo(clock.nowMs() + 1000)).toBe(clock.nowMs());
    expect(pins.expireTo(clock.nowMs() - 1000)).toBe(clock.nowMs() - 1000);
  });

  it('begin no earlier than what flushes have dropped, also where the clock was put back', async () => {
    const clock = new ManualClock();
    const pins = new SnapshotPins(clock);
    await clock.advance(50);
    const dropped = pins.expireTo(clock.nowMs() - 10);
    clock.jumpWallMs(-1000);
    expect(pins.pin(10).nowMs).toBe(dropped);
  });

  it('are of the present state: none is older than one before it', () => {
    const pins = new SnapshotPins(new ManualClock());
    pins.unpin(pins.pin(10));
    pins.pin(10);
    expect(() => pins.pin(9)).toThrow(InternalError);
    expect(pins.oldestSeq(15)).toBe(10);
  });

  it('are taken back once', () => {
    const pins = new SnapshotPins(new ManualClock());
    const pin = pins.pin(10);
    pins.unpin(pin);
    expect(() => pins.unpin(pin)).toThrow(InternalError);
  });
});
