/** One writer whose callers make mistakes, give up and throw, under faults and crashes. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { Refusals } from './refusals.ts';
import { makeScript } from './script.ts';
import { SingleRun } from './single.ts';

const RUNS = 500;
const DETERMINISM_RUNS = 20;

const run = (seed: number, refusals = new Refusals(seed)) => new SingleRun(makeScript(seed), false, [], refusals).run();

describe('callers that are refused, give up, and throw', () => {
  it(`change no row and leave no call waiting, in ${RUNS} runs`, async () => {
    const coverage = new Coverage();
    const counts = { refused: 0, givenUp: 0, thrown: 0 };
    for (let seed = 1; seed <= RUNS; seed++) {
      const refusals = new Refusals(seed);
      const result = await run(seed, refusals);
      expect(result.failure, `npm run sim -- --mode refusals --seed ${seed}`).toBeUndefined();
      coverage.add(result);
      counts.refused += refusals.counts.refused;
      counts.givenUp += refusals.counts.givenUp;
      counts.thrown += refusals.counts.thrown;
    }
    expect(counts.refused).toBeGreaterThan(RUNS * 10);
    expect(counts.givenUp).toBeGreaterThan(RUNS);
    expect(counts.thrown).toBeGreaterThan(0);
    expect(coverage.states.get('given up')).toBeGreaterThan(RUNS / 4);
  });

  it('do so the same way every time', async () => {
    for (let seed = 1; seed <= DETERMINISM_RUNS; seed++)
      expect((await run(seed)).traceHash, `seed ${seed}`).toBe((await run(seed)).traceHash);
  });
});
