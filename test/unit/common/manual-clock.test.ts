/** The clock of tests: time that moves only when a test moves it, and the order in which timers fire. */
import { describe, expect, it } from 'vitest';
import { sleep } from '../../../src/common/clock.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';

describe('ManualClock', () => {
  it('stands still until a test moves it', async () => {
    const clock = new ManualClock(1000);
    let fired = false;
    clock.setTimer(0, () => {
      fired = true;
    });
    await clock.settle();
    expect([clock.nowMs(), clock.monotonicMs(), fired]).toEqual([1000, 0, false]);
  });

  it('fires timers in order of time, then of setting, at exactly their time', async () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    const note = (name: string) => () => void seen.push(`${name}@${clock.monotonicMs()}`);
    clock.setTimer(30, note('c'));
    clock.setTimer(10, note('a'));
    clock.setTimer(20, note('b1'));
    clock.setTimer(20, note('b2'));
    clock.setTimer(20, note('cancelled')).cancel();
    clock.setTimer(25, () => clock.setTimer(1, note('nested')));
    expect(clock.pendingTimers).toBe(5);
    await clock.advance(29);
    expect(seen).toEqual(['a@10', 'b1@20', 'b2@20', 'nested@26']);
    expect(clock.monotonicMs()).toBe(29);
    await clock.advance(1);
    expect(seen.at(-1)).toBe('c@30');
    expect(clock.pendingTimers).toBe(0);
  });

  it('keeps the order with many timers', async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    for (let i = 0; i < 1000; i++) {
      const delay = (i * 7919) % 1009;
      const timer = clock.setTimer(delay, () => fired.push(delay));
      if (i % 3 === 0) timer.cancel();
    }
    await clock.advance(2000);
    expect(fired.length).toBe(666);
    expect(fired).toEqual([...fired].sort((a, b) => a - b));
  });

  it('jumps from timer to timer until a promise settles', async () => {
    const clock = new ManualClock();
    const work = (async () => {
      for (let i = 0; i < 10; i++) await sleep(clock, 1000 * i);
      return 'done';
    })();
    expect(await clock.runUntilSettled(work)).toBe('done');
    expect(clock.monotonicMs()).toBe(45_000);
  });

  it('passes a rejection on', async () => {
    const clock = new ManualClock();
    const work = sleep(clock, 5).then(() => Promise.reject(new Error('as expected')));
    await expect(clock.runUntilSettled(work)).rejects.toThrow('as expected');
  });

  it('lets work that yields finish before time moves, in order', async () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    const worker = async (name: string) => {
      for (let i = 0; i < 3; i++) {
        await clock.yieldToLoop();
        seen.push(`${name}${i}@${clock.monotonicMs()}`);
      }
    };
    clock.setTimer(1, () => seen.push('timer'));
    await clock.runUntilSettled(Promise.all([worker('a'), worker('b'), sleep(clock, 2)]));
    expect(seen).toEqual(['a0@0', 'b0@0', 'a1@0', 'b1@0', 'a2@0', 'b2@0', 'timer']);
  });

  it('gives up after its limit of virtual time', async () => {
    const clock = new ManualClock();
    const tick = (): void => void clock.setTimer(1000, tick);
    tick();
    const never = new Promise<never>(() => undefined);
    await expect(clock.runUntilSettled(never, 60_000)).rejects.toThrow('60000 ms of virtual time');
  });

  it('moves wall time alone', async () => {
    const clock = new ManualClock(5000);
    clock.jumpWallMs(-3000);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([2000, 0]);
    await clock.advance(10);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([2010, 10]);
  });
});
