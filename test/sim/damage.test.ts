/** Databases whose objects are damaged at rest: what reads, openings and repairs give, and what they never give. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { DamageRun } from './damage.ts';
import { FAILED_DAMAGE_SEEDS } from './failing-seeds.ts';

const RUNS = 200;
/** Outcomes that so many runs must have met, or they tested nothing. */
const MUST_REACH = [
  'get flagged',
  'get rejected',
  'keys in the ledger',
  'losses in the ledger',
  'manifestRepair: reconstructed',
  'opening refused: BAD_CHECKSUM',
  'opening refused: CHAIN_BREAK',
  'recovered by itself',
  'sstRepair cut off',
  'sstRepair: reconstructed',
  'sstRepair: salvaged',
  'walRepair cut off',
  'walRepair: healed',
  'walRepair: salvaged',
];

const replay = (seed: number) => `npm run sim -- --mode damage --seed ${seed}`;

describe('damage at rest', () => {
  it('never shows a wrong value, a deleted key or an unflagged old one, before repairs that are cut off and after', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await new DamageRun(seed).run();
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(MUST_REACH.filter((state) => !coverage.states.has(state))).toEqual([]);
  });

  it.each(FAILED_DAMAGE_SEEDS)('of seed %d, where %s, is judged right', async (seed) => {
    expect((await new DamageRun(seed).run()).failure, replay(seed)).toBeUndefined();
  });

  it('is the same every time a seed is run', async () => {
    for (let seed = 1000; seed < 1020; seed++) {
      const first = await new DamageRun(seed).run();
      expect((await new DamageRun(seed).run()).traceHash, replay(seed)).toBe(first.traceHash);
    }
  });
});
