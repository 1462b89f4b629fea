/** Openings that recover the log by themselves, cut off at any call, and what is written while they do. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { DamageRun } from './damage.ts';

const RUNS = 100;
/** Outcomes that so many runs must have met, or they tested nothing. */
const MUST_REACH = [
  'losses in the ledger',
  'read over damage',
  'recovered by itself',
  'recovery cut off',
  'walRepair cut off',
  'walRepair: salvaged',
  'written when recovered',
];

const replay = (seed: number) => `npm run sim -- --mode recovery --seed ${seed}`;

describe('openings that recover by themselves', () => {
  it('lose only what they report, wherever they are cut off, and write what waited for them once', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await new DamageRun(seed, false, 'recovery').run();
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(MUST_REACH.filter((state) => !coverage.states.has(state))).toEqual([]);
  });

  it('are the same every time a seed is run', async () => {
    for (let seed = 1000; seed < 1010; seed++) {
      const first = await new DamageRun(seed, false, 'recovery').run();
      expect((await new DamageRun(seed, false, 'recovery').run()).traceHash, replay(seed)).toBe(first.traceHash);
    }
  });
});
