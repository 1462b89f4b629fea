/** When a loop of calls that are answered from memory lets all other work have a turn. */
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { ROWS_PER_TURN, Turns } from '../../../src/db/turns.ts';

/** Counts turns of the event loop; `end` lets those that were asked for happen. */
function counted() {
  const clock = new ManualClock();
  let asked = 0;
  let open: (() => void)[] = [];
  clock.yieldToLoop = () => {
    asked++;
    return new Promise((resolve) => open.push(resolve));
  };
  const end = () => {
    for (const resolve of open) resolve();
    open = [];
  };
  return { turns: new Turns(clock), asked: () => asked, end };
}

/** Whether it settles by promises alone. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => {
    settled = true;
  };
  promise.then(note, note);
  for (let i = 0; i < 10; i++) await undefined;
  return settled;
}

describe('answers from memory', () => {
  it('come at once, but one in so many rows goes through the event loop', async () => {
    const { turns, asked, end } = counted();
    for (let i = 1; i < ROWS_PER_TURN; i++) expect(await turns.give(i)).toBe(i);
    expect([asked(), turns.isDue]).toEqual([0, false]);
    const due = turns.give('late');
    expect([await isSettled(due), asked()]).toEqual([false, 1]);
    end();
    expect([await due, turns.isDue]).toEqual(['late', false]);
  });

  it('count the rows that they bring', async () => {
    const { turns, asked } = counted();
    expect(await isSettled(turns.give('batch', ROWS_PER_TURN - 1))).toBe(true);
    expect(await isSettled(turns.give('one more'))).toBe(false);
    expect(asked()).toBe(1);
  });

  it('wait for one turn, however many are due before it has come', async () => {
    const { turns, asked, end } = counted();
    turns.note(ROWS_PER_TURN);
    const due = [turns.give(1), turns.give(2), turns.take().then(() => 3), turns.refuse(new Error('4'))];
    due[3].catch(() => undefined);
    expect([await isSettled(Promise.race(due)), asked()]).toEqual([false, 1]);
    end();
    expect(await Promise.all(due.slice(0, 3))).toEqual([1, 2, 3]);
    await expect(due[3]).rejects.toThrow('4');
    expect(await isSettled(turns.give('next'))).toBe(true);
  });
});

describe('refusals', () => {
  it('count more than an answer, so a loop that catches them ends its turn as well', async () => {
    const { turns, asked, end } = counted();
    let refused = 0;
    while (asked() === 0) {
      const refusal = turns.refuse(new Error('no'));
      refusal.catch(() => undefined);
      refused++;
      if (asked() === 0) expect(await isSettled(refusal)).toBe(true);
    }
    expect(refused).toBeLessThan(ROWS_PER_TURN / 4);
    end();
  });
});

describe('work that may end without the event loop', () => {
  it('counts when it ends, and ends as it does', async () => {
    const { turns, asked, end } = counted();
    expect(await turns.after(Promise.resolve('value'))).toBe('value');
    await expect(turns.after(Promise.reject(new Error('fault')))).rejects.toThrow('fault');
    turns.note(ROWS_PER_TURN);
    const due = turns.after(Promise.resolve('late'));
    expect([await isSettled(due), asked()]).toEqual([false, 1]);
    end();
    expect(await due).toBe('late');
  });
});
