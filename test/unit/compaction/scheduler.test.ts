/** The default scheduler: rules D1 to D4 of scheduler.ts, and on SlateDB's trees SlateDB's jobs first. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { pickJobs } from '../../../src/compaction/scheduler.ts';
import { picksOf, type Situation } from '../../support/tree-notation.ts';

type Case = [about: string, trees: string, picks: string[], situation?: Situation];

const FEW: Situation = { options: { l0MaxSsts: 5 } };

describe('under pressure', () => {
  it.each<Case>([
    ['D1: six of eight tables are too few for it', 'L0: 1 1 1 | 100 10', ['space: r1 r0 > 0']],
    ['D2: level 0 is merged though it has few tables', 'L0: 1 1 1', ['pressure: t3 t2 t1 > 0'], FEW],
    ['D2: and not with fewer', 'L0: 1 1', [], FEW],
    [
      'D2: it comes before picks by size',
      'L0: 1 1 1 | 10 10 10 10',
      ['pressure: t3 t2 t1 > 4', 'size: r3 r2 r1 r0 > 0'],
      FEW,
    ],
    ['D2: and takes the last slot', 'L0: 1 1 1 | 10 10 10 10', ['pressure: t3 t2 t1 > 4'], { ...FEW, slots: 1 }],
    [
      'D2: one table is enough where two stop the flushes',
      'L0: 1',
      ['pressure: t1 > 0'],
      { options: { l0MaxSsts: 2 } },
    ],
    ['D2: no table is no pressure', 'L0: | 10', [], { options: { l0MaxSsts: 1 } }],
    ['D2: what is older than damage is merged', 'L0: 1 1 1 1! 1 1', ['pressure: t2 t1 > 0']],
    [
      'D2: but not before a long series of runs',
      `L0: 1 1 1 | ${'2 '.repeat(8)}`,
      ['size: r7 r6 r5 r4 r3 r2 r1 r0 > 0'],
      FEW,
    ],
    ['D4: waste waits for the job of level 0', 'L0: 1 1 1 1 1 1 | 100 10', ['l0: t6 t5 t4 t3 t2 t1 > 2']],
    ['D4: also if it is active', 'L0: 1 1 1 1 1 1 | 100 10', [], { jobs: 't6 t5 t4 t3 t2 t1 > 2' }],
    [
      'D4: also if it has to wait for runs that are being merged',
      `p L0: 1 1 1 1 1 1 | ${'2 '.repeat(8)}; q L0: | 100 10`,
      [],
      { jobs: 'r9 r8 r7 r6 r5 r4 r3 r2 > 2' },
    ],
    ['D4: in every tree', 'p L0: 1 1 1 1 1 1; q L0: | 100 10', ['l0: p.t6 p.t5 p.t4 p.t3 p.t2 p.t1 > 2']],
    ['D4: not for damage that stops it', 'L0: 1 1 1 1 1 1! | 100 10', ['space: r1 r0 > 0']],
  ])('%s: %s', (_, trees, picks, situation) => expect(picksOf(pickJobs, trees, situation)).toEqual(picks));
});

describe('without pressure', () => {
  it.each<Case>([
    ['D3: level 0 and runs by size', 'L0: 1 1 1 1 | 10 10 10 10', ['l0: t4 t3 t2 t1 > 4', 'size: r3 r2 r1 r0 > 0']],
    ['D3: no slot, no job', 'L0: 1 1 1 1 | 10 10 10 10', [], { slots: 0 }],
    [
      'D3: from nine runs on they are merged whatever their sizes are',
      `L0: | ${[0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => 9 ** i).join(' ')}`,
      ['consolidation: r8 r7 > 7'],
    ],
    ['D4: a tree with a job gets none against waste', 'L0: 1 1 1 1 | 100 10', ['l0: t4 t3 t2 t1 > 2']],
    ['D4: another does', 'p L0: 1 1 1 1 | 900; q L0: | 100 10', ['l0: p.t4 p.t3 p.t2 p.t1 > 3', 'space: r1 r0 > 0']],
    [
      'D4: one job in each',
      'p L0: | 100 10 -; q L0: | 100 10 - 1 -',
      ['space: r7 r6 r5 > 5', 'space: r4 r3 r2 r1 r0 > 0'],
    ],
    ['D4: as long as there are slots', 'p L0: | 100 10; q L0: | 100 10', ['space: r3 r2 > 2'], { slots: 1 }],
  ])('%s: %s', (_, trees, picks, situation) => expect(picksOf(pickJobs, trees, situation)).toEqual(picks));
});

it('on a tree that SlateDB merges the same jobs come first, and none if it merges nothing and nothing is wasted', () => {
  const url = new URL('./slatedb-picks.json', import.meta.url);
  const recorded: { about: string; trees: string; jobs?: string; options?: object; picks: string[] }[] = JSON.parse(
    readFileSync(url, 'utf8'),
  );
  for (const { trees, jobs, options, picks } of recorded) {
    if (options !== undefined || jobs !== undefined || trees.includes('-')) continue;
    const settings = { sortedRunConsolidationThreshold: 0, maxSpaceAmplification: Number.POSITIVE_INFINITY };
    const ours = picksOf(pickJobs, trees, { options: settings });
    expect(ours.map((text) => text.replace(/^\w+: /, '')).sort(), trees).toEqual([...picks].sort());
  }
});
