/** Repairs beside a writer that lives, is suspended and wakes up: what it was told counts, and nothing goes back. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { DamageRun } from './damage.ts';
import { FAILED_BESIDE_SEEDS } from './failing-seeds.ts';

const RUNS = 150;
/** Outcomes that so many runs must have met, or they tested nothing. */
const MUST_REACH = [
  'acknowledged beside a repair',
  'fenced by a repair',
  'fenced by a repair, told afterwards',
  'manifestRepair beside a writer: reconstructed',
  'sstRepair beside a writer: reconstructed',
  'sstRepair beside a writer: salvaged',
  'sstRepair beside a writer rejects: LIVE_WRITER',
  'sstRepair beside a writer rejects: WRITER_FENCED',
  'sstRepair cut off beside a writer',
  'walRepair beside a writer: salvaged',
  'walRepair cut off beside a writer',
];

const replay = (seed: number) => `npm run sim -- --mode beside --seed ${seed}`;

describe('repairs beside a live writer', () => {
  it('lose nothing that was acknowledged and fence it for good, also when it or they are suspended', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await new DamageRun(seed, false, 'beside').run();
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(MUST_REACH.filter((state) => !coverage.states.has(state))).toEqual([]);
  });

  it.each(FAILED_BESIDE_SEEDS)('of seed %d, where %s, are judged right', async (seed) => {
    expect((await new DamageRun(seed, false, 'beside').run()).failure, replay(seed)).toBeUndefined();
  });

  it('are the same every time a seed is run', async () => {
    for (let seed = 1000; seed < 1010; seed++) {
      const first = await new DamageRun(seed, false, 'beside').run();
      expect((await new DamageRun(seed, false, 'beside').run()).traceHash, replay(seed)).toBe(first.traceHash);
    }
  });
});
