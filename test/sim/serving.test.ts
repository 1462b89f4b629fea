/** Damage while a writer serves: what it reads, and that its writes and flushes go on. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { DamageRun } from './damage.ts';

const RUNS = 80;
/** Outcomes that so many runs must have met, or they tested nothing. */
const MUST_REACH = [
  'get flagged',
  'get rejected',
  'losses in the ledger',
  'manifestRepair: reconstructed',
  'served',
  'served over damage',
  'sstRepair: salvaged',
  'walRepair: salvaged',
];

const replay = (seed: number) => `npm run sim -- --mode serving --seed ${seed}`;

describe('damage while a writer serves', () => {
  it('shows in typed errors and flagged values only, and stops no write, no flush and no close', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await new DamageRun(seed, false, 'serving').run();
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(MUST_REACH.filter((state) => !coverage.states.has(state))).toEqual([]);
  });

  it('is the same every time a seed is run', async () => {
    for (let seed = 1000; seed < 1010; seed++) {
      const first = await new DamageRun(seed, false, 'serving').run();
      expect((await new DamageRun(seed, false, 'serving').run()).traceHash, replay(seed)).toBe(first.traceHash);
    }
  });
});
