/** Writers that take the database from each other, and one that must bear a store in a bad state. */
import { describe, expect, it } from 'vitest';
import { ChaosRun } from './chaos.ts';
import { Coverage } from './coverage.ts';
import { FAILED_WRITERS_SEEDS } from './failing-seeds.ts';
import { PressureRun } from './pressure.ts';
import { WritersRun } from './writers.ts';

const RUNS = 300;
const CHAOS_RUNS = 5;
const PRESSURE_RUNS = 25;

describe('one to three writers with lost, late and doubled PUTs, pauses and clock jumps', () => {
  it('lose nothing, acknowledge nothing that others miss, apply nothing twice, fence no lone writer', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= RUNS; seed++) {
      const result = await new WritersRun(seed).run();
      coverage.add(result);
      expect(result.failure, `npm run sim -- --mode writers --seed ${seed}`).toBeUndefined();
    }
    expect(coverage.missing(['lost-answer', 'late-put', 'double-put', 'suspend', 'stall', 'clock-jump'])).toEqual([]);
    const roles = ['jobs committed', 'rounds that deleted something', 'tables deleted'];
    expect(roles.filter((what) => !coverage.counts.has(what))).toEqual([]);
    const states = ['fenced', 'taken over', 'manifests collected', 'log collected', 'manifest in a collected id'];
    states.push('chain extended', 'generation won', 'conflict');
    expect(states.filter((state) => !coverage.states.has(state))).toEqual([]);
  });

  it.each(FAILED_WRITERS_SEEDS)('of seed %d, where %s, are right', async (seed) => {
    const { failure } = await new WritersRun(seed, false, false).run();
    expect(failure, `npm run sim -- --mode writers --seed ${seed}`).toBeUndefined();
  });

  it('do the same every time a seed is run', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const first = await new WritersRun(seed).run();
      expect((await new WritersRun(seed).run()).traceHash).toBe(first.traceHash);
    }
  });
});

describe('more writes than the store takes', () => {
  it('stay within the budget, are refused in time, and are never applied in part or out of order', async () => {
    const coverage = new Coverage();
    for (let seed = 1; seed <= PRESSURE_RUNS; seed++) {
      const result = await new PressureRun(seed).run();
      coverage.add(result);
      expect(result.failure, `npm run sim -- --mode pressure --seed ${seed}`).toBeUndefined();
    }
    const states = [
      'OVERLOADED: not-applied',
      'ABORTED: not-applied',
      'more than half of the budget waits to be flushed',
    ];
    expect(states.filter((state) => !coverage.states.has(state))).toEqual([]);
    expect(coverage.cycles).toBeGreaterThan(10);
  });

  it('do the same every time a seed is run', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const first = await new PressureRun(seed).run();
      expect((await new PressureRun(seed).run()).traceHash).toBe(first.traceHash);
    }
  });
});

describe('a store in a bad state', () => {
  it('fails at most one operation of ten thousand outside of outages, and soon serves again after one', async () => {
    let operations = 0;
    let failed = 0;
    const coverage = new Coverage();
    const recoveriesMs: number[] = [];
    for (let seed = 1; seed <= CHAOS_RUNS; seed++) {
      const run = new ChaosRun(seed);
      const result = await run.run();
      coverage.add(result);
      expect(result.failure, `npm run sim -- --mode chaos --seed ${seed}`).toBeUndefined();
      operations += run.figures.operations;
      failed += run.figures.failed;
      recoveriesMs.push(...run.figures.recoveriesMs);
    }
    expect(operations).toBeGreaterThan(20_000);
    expect(coverage.counts.get('jobs committed')).toBeGreaterThan(CHAOS_RUNS * 5);
    expect(coverage.counts.get('rounds that deleted something')).toBeGreaterThan(CHAOS_RUNS);
    expect(failed / operations).toBeLessThanOrEqual(0.0001);
    expect(recoveriesMs.length).toBeGreaterThan(18);
    expect(Math.max(...recoveriesMs)).toBeLessThanOrEqual(2000);
  });
});
