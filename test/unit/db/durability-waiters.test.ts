/** Those who wait until a sequence number is durable: order, giving up, and no timer left. */
import { describe, expect, it } from 'vitest';
import { InternalError, UnavailableError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { DurabilityWaiters } from '../../../src/db/durability-waiters.ts';

const TIMEOUT_MS = 1000;

interface Waiting {
  answers: string[];
  clock: ManualClock;
  waiters: DurabilityWaiters;
  wait(seq: number, signal?: AbortSignal): void;
}

/** Writes down what each waiter gets, in order. */
function set(): Waiting {
  const clock = new ManualClock();
  const waiters = new DurabilityWaiters(clock, TIMEOUT_MS);
  const answers: string[] = [];
  const wait = (seq: number, signal?: AbortSignal) =>
    void waiters.add(seq, signal).then(
      (result) => answers.push(`${seq}: ${result.seq}`),
      (error: Error & { code: string }) => answers.push(`${seq}: ${error.code}`),
    );
  return { answers, clock, waiters, wait };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('those who wait', () => {
  it('are answered in order, once each, as far as everything is durable', async () => {
    const { answers, waiters, wait } = set();
    for (const seq of [3, 4, 7]) wait(seq);
    waiters.release(5);
    waiters.release(5);
    await turn();
    expect([answers, waiters.isEmpty]).toEqual([['3: 3', '4: 4'], false]);
    waiters.fail(Number.POSITIVE_INFINITY, (seq) => new UnavailableError('STORE_DOWN', `${seq}`));
    waiters.release(9);
    await turn();
    expect([answers.slice(2), waiters.isEmpty]).toEqual([['7: STORE_DOWN'], true]);
  });

  it('for the same write are answered together', async () => {
    const { answers, waiters, wait } = set();
    for (const seq of [5, 5]) wait(seq);
    waiters.release(5);
    await turn();
    expect([answers, waiters.isEmpty]).toEqual([['5: 5', '5: 5'], true]);
  });

  it('give up after the same time each, and the timer goes on for the next', async () => {
    const { answers, clock, waiters, wait } = set();
    wait(1);
    await clock.advance(400);
    wait(2);
    await clock.advance(600);
    await turn();
    expect(answers).toEqual(['1: WRITE_OUTCOME_UNKNOWN']);
    await clock.advance(400);
    await turn();
    expect([answers, waiters.isEmpty, clock.pendingTimers]).toEqual([
      ['1: WRITE_OUTCOME_UNKNOWN', '2: WRITE_OUTCOME_UNKNOWN'],
      true,
      0,
    ]);
  });

  it('and gave up are not answered again', async () => {
    const { answers, waiters, wait } = set();
    const abort = new AbortController();
    wait(1, abort.signal);
    wait(2);
    abort.abort();
    waiters.release(2);
    await turn();
    expect(answers).toHaveLength(2);
    expect(answers[1]).toBe('2: 2');
  });

  it('leave no timer', () => {
    const { clock, waiters, wait } = set();
    for (let seq = 1; seq <= 10_000; seq++) wait(seq);
    expect(clock.pendingTimers).toBe(1);
    for (let seq = 1; seq <= 10_000; seq += 500) waiters.release(seq);
    expect([waiters.isEmpty, clock.pendingTimers]).toEqual([false, 1]);
    waiters.release(10_000);
    expect([waiters.isEmpty, clock.pendingTimers]).toEqual([true, 0]);
  });
});

describe('a rule that is broken', () => {
  it.each([
    ['who comes after a newer write', (w: DurabilityWaiters) => [w.add(5).catch(() => undefined), w.add(4)]],
    ['who waits for what is durable', (w: DurabilityWaiters) => [w.release(5), w.add(5)]],
    ['what is durable is not so any more', (w: DurabilityWaiters) => [w.release(5), w.release(4)]],
  ])('(%s) is an error to report', (_, break_) => {
    expect(() => break_(set().waiters)).toThrow(InternalError);
  });
});
