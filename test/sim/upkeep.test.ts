/** The compactor and the collector beside a writer that is crashed, suspended and lied to, in many settings of both. */
import { describe, expect, it } from 'vitest';
import { Coverage } from './coverage.ts';
import { FAILED_UPKEEP_SEEDS } from './failing-seeds.ts';
import { makeScript } from './script.ts';
import { SingleRun } from './single.ts';

const RUNS = 200;
const REPEATED = 15;
const MUST_COUNT = [
  'compactions files deleted',
  'jobs above an older run',
  'jobs committed',
  'jobs of several tables',
  'jobs of which nothing was left',
  'jobs that failed',
  'jobs with runs among their sources',
  'log objects deleted',
  'manifests deleted',
  'rounds that deleted nothing',
  'rounds that deleted something',
  'tables deleted',
];
const MUST_REACH = ['compactor fenced', 'everything compacted', 'long scan ended', 'snapshot read'];

function replay(seed: number): string {
  return `npm run sim -- --mode upkeep --seed ${seed}`;
}

const run = (seed: number) => new SingleRun(makeScript(seed, { upkeep: 'much' })).run();

describe('tables that are merged and garbage that is collected all the time', () => {
  it('change no row that is read, at no snapshot, and take away nothing that is needed', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await run(seed);
      coverage.add(result);
      expect(result.failure, replay(seed)).toBeUndefined();
    }
    expect(MUST_COUNT.filter((what) => !coverage.counts.has(what))).toEqual([]);
    expect(MUST_REACH.filter((state) => !coverage.states.has(state))).toEqual([]);
    expect(coverage.counts.get('jobs committed')).toBeGreaterThan(RUNS);
    expect(coverage.missing(['spoilt output', 'rival compactor', 'second compactor', 'foreign move'])).toEqual([]);
  });

  it.each(FAILED_UPKEEP_SEEDS)('of seed %d, where %s, are right', async (seed) => {
    expect((await run(seed)).failure, replay(seed)).toBeUndefined();
  });

  it('do the same every time a seed is run', async () => {
    for (let seed = 1; seed <= REPEATED; seed++) expect((await run(seed)).traceHash).toBe((await run(seed)).traceHash);
  });
});
