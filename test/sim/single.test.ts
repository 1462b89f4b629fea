/** One writer under faults and crashes: random scripts, and every crash of fixed ones. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { EXHAUSTIVE_SCRIPTS, runExhaustively, WITH_UPKEEP } from './exhaustive.ts';
import { FAILED_RANDOM_SEEDS } from './failing-seeds.ts';
import { makeScript } from './script.ts';
import { SingleRun } from './single.ts';

const CYCLES = 7000;
const DETERMINISM_SEEDS = 120;
/** Away from the seeds of the random runs, so that both say something. */
const DETERMINISM_FROM = 500_000;

function replay(seed: number): string {
  return `npm run sim -- --seed ${seed}`;
}

describe('a run', () => {
  it('of one seed is the same every time, event for event', async () => {
    for (let seed = DETERMINISM_FROM; seed < DETERMINISM_FROM + DETERMINISM_SEEDS; seed++) {
      const first = await new SingleRun(makeScript(seed)).run();
      const second = await new SingleRun(makeScript(seed)).run();
      expect(first.failure, replay(seed)).toBeUndefined();
      expect(second.traceHash, replay(seed)).toBe(first.traceHash);
    }
  });

  it.each(FAILED_RANDOM_SEEDS)('of seed %d, where %s, is right', async (seed) => {
    const { failure } = await new SingleRun(makeScript(seed, { upkeep: 'off' })).run();
    expect(failure, replay(seed)).toBeUndefined();
  });
});

describe('random scripts', () => {
  it(`lose nothing in ${CYCLES} crashes, and meet every fault`, async () => {
    const coverage = new Coverage();
    for (let seed = 1; coverage.cycles < CYCLES; seed++) {
      const result = await new SingleRun(makeScript(seed)).run();
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(coverage.missing()).toEqual([]);
    const states = ['condition met', 'conflict', 'touched', 'range deleted'];
    expect(states.filter((state) => !coverage.states.has(state))).toEqual([]);
  });
});

describe('every crash', () => {
  it.each(EXHAUSTIVE_SCRIPTS)('of the script "%s", and of its recovery, leaves what it must', async (name) => {
    const { failures, runs } = await runExhaustively(name, WITH_UPKEEP.includes(name) ? 300 : 12);
    expect(failures).toEqual([]);
    expect(runs).toBeGreaterThan(50);
  });
});
