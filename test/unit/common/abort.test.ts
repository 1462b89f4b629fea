/** Waits that a signal ends: one listener for all of them, none when they are settled. */
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { onAbort, untilAborted } from '../../../src/common/abort.ts';
import { deferred } from '../../../src/common/async.ts';
import { sleep } from '../../../src/common/clock.ts';
import { AbortError } from '../../../src/common/errors.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

describe('onAbort', () => {
  it('adds one listener to a signal for any number of calls, and removes it with the last of them', () => {
    const { signal } = new AbortController();
    const leaves = Array.from({ length: 100 }, () => onAbort(signal, () => undefined));
    expect(listeners(signal)).toBe(1);
    for (const leave of leaves.slice(1)) leave();
    expect(listeners(signal)).toBe(1);
    leaves[0]();
    leaves[0]();
    expect(listeners(signal)).toBe(0);
    onAbort(signal, () => undefined);
    expect(listeners(signal)).toBe(1);
  });

  it('calls each once, except those that left, in order', () => {
    const controller = new AbortController();
    const called: number[] = [];
    const leaves = [1, 2, 3].map((n) => onAbort(controller.signal, () => void called.push(n)));
    leaves[1]();
    controller.abort();
    for (const leave of leaves) leave();
    expect(called).toEqual([1, 3]);
    expect(listeners(controller.signal)).toBe(0);
  });
});

describe('untilAborted', () => {
  it('is the work itself without a signal', () => {
    const work = Promise.resolve(1);
    expect(untilAborted(work, undefined)).toBe(work);
  });

  it('gives what the work gives, and leaves nothing', async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(7), signal)).toBe(7);
    await expect(untilAborted(Promise.reject(new Error('mine')), signal)).rejects.toThrow('mine');
    expect(listeners(signal)).toBe(0);
  });

  it.each(['before', 'while'] as const)('rejects with the reason as cause if it aborts %s it waits', async (when) => {
    const controller = new AbortController();
    const work = deferred<number>();
    if (when === 'before') controller.abort('enough');
    const waiting = untilAborted(work.promise, controller.signal);
    if (when === 'while') controller.abort('enough');
    const error = await waiting.catch((e: unknown) => e);
    expect(error).toBeInstanceOf(AbortError);
    expect((error as AbortError).cause).toBe('enough');
    // What the work comes to later is nobody's unhandled rejection.
    work.reject(new Error('too late'));
    expect(listeners(controller.signal)).toBe(0);
  });
});

it('a sleep that is over has left its signal', async () => {
  const clock = new ManualClock();
  const { signal } = new AbortController();
  const slept = sleep(clock, 100, signal);
  expect(listeners(signal)).toBe(1);
  await clock.runUntilSettled(slept);
  expect(listeners(signal)).toBe(0);
});
