/**
 * Picks by size, compared with SlateDB's: `slatedb-picks.json` has trees and what SlateDB 0.17 chose on them, with its own words for why
 * a tree is there (scripts/record-picks.mjs asks it again). Its order among jobs of one moment is not stored, so sets are compared.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Scheduler } from '../../../src/compaction/scheduling.ts';
import { pickBySize } from '../../../src/compaction/size-tiered.ts';
import { TreePlan } from '../../../src/compaction/tree-plan.ts';
import type { PickCase } from '../../support/slatedb-picks.ts';
import { parseJobs, parseTrees, picksOf, type Situation } from '../../support/tree-notation.ts';

const RECORDED: (PickCase & { about: string; picks: string[] })[] = JSON.parse(
  readFileSync(new URL('./slatedb-picks.json', import.meta.url), 'utf8'),
);

/** What we choose where SlateDB chooses otherwise, because of runs without tables. */
const OURS: Record<string, string[]> = {
  'an empty run ends the series of SlateDB': ['r4 r3 r2 r1 r0 > 0'],
  'empty runs count for consolidation of SlateDB': [],
};

const bySize: Scheduler = (input) => {
  const plans = input.trees.map((tree) => new TreePlan(tree, input));
  plans.sort((a, b) => b.tree.l0.length - a.tree.l0.length);
  return { proposals: pickBySize(plans, input.slots, input.options) };
};

function ours({ trees, jobs = '', options = {} }: PickCase): string[] {
  const { maxConcurrent = 4, ...rest } = options;
  const slots = maxConcurrent - parseJobs(jobs, parseTrees(trees)).length;
  const situation: Situation = { jobs, slots, options: { sortedRunConsolidationThreshold: 0, ...rest } };
  return picksOf(bySize, trees, situation).map((text) => text.replace(/^\w+: /, ''));
}

describe('SlateDB 0.17 chooses the same', () => {
  it('on ninety trees and more', () => expect(RECORDED.length).toBeGreaterThan(90));

  it.each(RECORDED.filter(({ about }) => OURS[about] === undefined))('$about: $trees', (asked) => {
    expect(ours(asked).sort()).toEqual([...asked.picks].sort());
  });

  it.each(RECORDED.filter(({ about }) => OURS[about] !== undefined))('but here: $about', (asked) => {
    expect(ours(asked)).toEqual(OURS[asked.about]);
    expect(ours(asked)).not.toEqual(asked.picks);
  });
});

describe('picks by size', () => {
  const cases: [about: string, trees: string, picks: string[], situation?: Situation][] = [
    [
      'empty runs between sources and after them go along',
      'L0: | 10 10 - - 10 10 - 9999',
      ['size: r7 r6 r5 r4 r3 r2 r1 > 1'],
    ],
    ['not one in use', 'L0: | 10 10 10 10 - 9999', ['size: r5 r4 r3 r2 > 2'], { jobs: 'r1 > 1' }],
    ['before the first source they stay', 'L0: | - 10 10 10 10', ['size: r3 r2 r1 r0 > 0']],
    ['an empty run in use ends a series', 'L0: | 10 10 - 10 10 10', [], { jobs: 'r3 > 3' }],
    [
      'level 0 does not wait for seven like runs, though there are empty ones',
      `L0: 1 1 1 1 | ${'2 - '.repeat(7)}`,
      ['l0: t4 t3 t2 t1 > 14', 'size: r13 r12 r11 r10 r9 r8 r7 r6 r5 r4 r3 r2 r1 r0 > 0'],
    ],
    [
      'but for eight',
      `L0: 1 1 1 1 | ${'2 - '.repeat(8)}`,
      ['size: r15 r14 r13 r12 r11 r10 r9 r8 r7 r6 r5 r4 r3 r2 r1 r0 > 0'],
    ],
    [
      'a run into which SlateDB 0.18 publishes a job is in use',
      'L0: 1 1 | 9 9 9 9 9',
      ['size: r3 r2 r1 r0 > 0'],
      { jobs: 't2 t1 > 4' },
    ],
    ['a damaged table of level 0 and all newer ones are left', 'L0: 1 1 1! 1 1 1 1 1', ['l0: t5 t4 t3 t2 t1 > 0']],
    ['with too few older ones nothing is taken', 'L0: 1 1 1 1 1 1! 1 1 1', []],
    ['a damaged run ends a series', 'L0: | 10 10 10 10! 10 10 10 10', ['size: r3 r2 r1 r0 > 0']],
    [
      'and nothing waits for a series that it interrupts',
      'L0: 1 1 1 1 | 2 2 2 2! 2 2 2 2',
      ['l0: t4 t3 t2 t1 > 8', 'size: r3 r2 r1 r0 > 0'],
    ],
    [
      'views with one id cannot be named, so what is newer is not taken',
      'L0: 1 1~T6 1 1 1 1 1 1',
      ['l0: t5 t4 t3 t2 t1 > 0'],
    ],
    ['several views of a table go together', 'L0: 1=X 1 1 1=X 1 1 1 1', ['l0: t8 t7 t6 t5 t4 t3 t2 t1 > 0']],
    [
      'where one would stay, and the marker name it, fewer are taken',
      'L0: 1=X 1 1 1=X 1 1 1 1',
      ['l0: t4 t3 t2 t1 > 0'],
      { options: { maxCompactionSources: 5 } },
    ],
    [
      'or more, where fewer are too few',
      'L0: 1=X 1 1 1=X 1 1 1 1',
      ['l0: t6 t5 t4 t3 t2 t1 > 0'],
      {
        options: { minCompactionSources: 5, maxCompactionSources: 5 },
      },
    ],
    [
      'a run is not merged with itself',
      'L0: | 10 100',
      [],
      { options: { minCompactionSources: 1, maxCompactionSources: 1 } },
    ],
    ['ids name a run, and its place is its age', 'L0: | 2:10 7:10 5:10 3:10', ['size: r2 r7 r5 r3 > 2']],
  ];

  it.each(cases)('%s: %s', (_, trees, picks, situation) => {
    const options = { sortedRunConsolidationThreshold: 0, ...situation?.options };
    expect(picksOf(bySize, trees, { ...situation, options })).toEqual(picks);
  });
});
