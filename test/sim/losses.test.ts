/** Tables that are merged over the keys of losses that a repair has recorded. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { LossesRun } from './losses.ts';

const RUNS = 30;
const MUST_REACH = ['a loss is shown', 'everything merged', 'get flagged', 'get rejected', 'keys in the ledger'];

const replay = (seed: number) => `npm run sim -- --mode losses --seed ${seed}`;

describe('compactions over losses that are open', () => {
  it('change no answer', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await new LossesRun(seed).run();
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(MUST_REACH.filter((state) => !coverage.states.has(state))).toEqual([]);
  });

  it('do the same every time a seed is run', async () => {
    for (let seed = 1000; seed < 1005; seed++) {
      const first = await new LossesRun(seed).run();
      expect((await new LossesRun(seed).run()).traceHash, replay(seed)).toBe(first.traceHash);
    }
  });
});
