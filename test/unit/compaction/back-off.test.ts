/** Waits after failures in a row. */
import { expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { BackOff } from '../../../src/compaction/back-off.ts';

it('is twice as long after each failure, in whole ms, until a success', async () => {
  const clock = new ManualClock();
  const monotonicMs = clock.monotonicMs.bind(clock);
  clock.monotonicMs = () => monotonicMs() + 0.845;
  const backOff = new BackOff(clock);
  expect(backOff.waitMs).toBe(0);
  backOff.fail();
  backOff.fail();
  clock.monotonicMs = () => monotonicMs() + 189.155;
  expect([backOff.waitMs, backOff.failures]).toEqual([1812, 2]);
  backOff.succeed();
  expect([backOff.waitMs, backOff.failures]).toEqual([0, 0]);
});
