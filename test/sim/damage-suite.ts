/** What every suite of runs with damage expects: no run fails, together they meet what they are for, and a seed repeats. */
import { expect } from 'vitest';
import { Coverage } from './coverage.ts';
import { type DamageMode, DamageRun } from './damage.ts';

/** How a run is seen again, with its trace. */
export function replayOf(mode: DamageMode, seed: number): string {
  return `npm run sim -- --mode ${mode} --seed ${seed}`;
}

export async function expectRight(mode: DamageMode, seed: number, coverage?: Coverage): Promise<void> {
  const result = await new DamageRun(seed, false, mode).run();
  coverage?.add(result);
  expect(result.failure, replayOf(mode, seed)).toBeUndefined();
}

/** Seeds 1 to `runs`. `mustReach`: outcomes that so many runs must have met, or they tested nothing. */
export async function expectAllRight(mode: DamageMode, runs: number, mustReach: readonly string[]): Promise<void> {
  const coverage = new Coverage();
  for (let seed = 1; seed <= runs; seed++) await expectRight(mode, seed, coverage);
  expect(mustReach.filter((state) => !coverage.states.has(state))).toEqual([]);
}

/** So many seeds from 1000 on, each run twice. */
export async function expectRepeats(mode: DamageMode, runs: number): Promise<void> {
  for (let seed = 1000; seed < 1000 + runs; seed++) {
    const first = await new DamageRun(seed, false, mode).run();
    expect((await new DamageRun(seed, false, mode).run()).traceHash, replayOf(mode, seed)).toBe(first.traceHash);
  }
}
