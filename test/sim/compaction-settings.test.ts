/** The same operations under fourteen settings of compaction. */
import { describe, expect, it } from 'vitest';
import { SETTING_NAMES, underSetting } from './compaction-settings.ts';
import { Coverage } from './coverage.ts';
import type { CrashPoint, Fate } from './machine.ts';
import { Draw, makeScript } from './script.ts';
import { SingleRun } from './single.ts';

/** Away from those of the random runs. */
const FROM = 700_000;
const SCRIPTS = 6;
/** Of each script and setting. */
const CRASHES = 2;
const FATES: readonly Fate[] = ['not-applied', 'applied', 'applied-later'];

describe.each(SETTING_NAMES)('where there is "%s"', (name) => {
  const coverage = new Coverage();

  async function run(seed: number, crashPoints: readonly CrashPoint[] = []): Promise<number> {
    const single = new SingleRun(underSetting(makeScript(seed, { upkeep: 'much' }), name), false, crashPoints);
    const result = await single.run();
    coverage.add(result);
    expect(result.failure, `seed ${seed}, ${JSON.stringify(crashPoints)}`).toBeUndefined();
    return single.processes[0].calls;
  }

  it('all reads are those of the model, after each step, at each snapshot, and after a crash at any store call', async () => {
    for (let seed = FROM; seed < FROM + SCRIPTS; seed++) {
      const calls = await run(seed);
      const draw = new Draw(seed);
      for (let i = 0; i < CRASHES; i++) await run(seed, [{ call: 1 + draw.int(calls), fate: draw.of(FATES) }]);
    }
    expect(coverage.states.has('snapshot read')).toBe(true);
    const merges = coverage.counts.get('jobs committed') ?? 0;
    if (name.startsWith('nothing')) expect(merges).toBe(0);
    else expect(merges).toBeGreaterThan(SCRIPTS * 3);
    const moves = coverage.counts.get('jobs that moved tables') ?? 0;
    if (name.startsWith('tables moved')) expect(moves).toBeGreaterThan(SCRIPTS * 2);
    else expect(moves).toBe(0);
    const divided = coverage.counts.get('jobs in several ranges') ?? 0;
    if (name.startsWith('jobs divided')) expect(divided).toBeGreaterThan(SCRIPTS * 2);
    else expect(divided).toBe(0);
  });
});
