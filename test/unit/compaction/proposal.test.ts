/** Which proposals and submissions can become jobs (the notation: tree-notation.ts). Rules P1 to P8 are in proposal.ts. */
import { describe, expect, it } from 'vitest';
import {
  destinationOf,
  findFault,
  findSubmissionFault,
  freshRunId,
  isMarkerUnique,
  type ProposalFault,
} from '../../../src/compaction/proposal.ts';
import type { Proposal, TreeFacts, ViewFacts } from '../../../src/compaction/scheduling.ts';
import { inputOf, parseJobs, parseTrees } from '../../support/tree-notation.ts';

const TREES = 'L0: 1 1 1 1 | 9:10 7:10 5:- 2:10; p L0: 1 1 | 4:10';

type Case = [
  rule: string,
  proposal: string,
  fault: ProposalFault | 'valid',
  situation?: { trees?: string; jobs?: string },
];

const CASES: Case[] = [
  ['P1', 't1 > 10', 'valid'],
  ['P1', 't4 t3 t2 t1 > 10', 'valid'],
  ['P1', 't4 t3 t2 t1 r9 r7 > 7', 'valid'],
  ['P1', 'r7 r5 r2 > 2', 'valid'],
  ['P1', 'r5 > 5', 'valid'],
  ['P1', 'p.t2 p.t1 r4 > 4', 'valid'],
  ['P1', 'z.t1 > 10', 'unknown-tree'],
  ['P1', '> 10', 'no-sources'],
  ['P1', 't5 > 10', 'missing-source'],
  ['P1', 'r8 > 8', 'missing-source'],
  ['P1', 'p.t1 r2 > 2', 'missing-source'],
  ['P2', 't3 t2 t1 > 0', 'ambiguous-source', { trees: 'L0: 1 1 1~T1 1' }],
  ['P2', 't1 > 0', 'valid', { trees: 'L0: 1~T2 1 1' }],
  ['P2', 't2 t1 > 0', 'ambiguous-source', { trees: 'L0: 1~T1 1 1' }],
  ['P3', 't2 t2 t1 > 10', 'repeated-source'],
  ['P3', 'r9 r7 r7 > 7', 'repeated-source'],
  ['P3', 'r9 r7 > 7', 'source-in-use', { jobs: 'r7 r5 > 5' }],
  ['P3', 't2 t1 > 11', 'source-in-use', { jobs: 't2 t1 > 10' }],
  ['P3', 'r9 r7 > 7', 'source-in-use', { jobs: 'p.t1 r4 > 4, t1 r9 > 9' }],
  ['P3', 'r9 r7 > 7', 'source-in-use', { jobs: 't2 t1 > 9' }],
  ['P3', 't2 t1 > 10', 'second-l0-job', { jobs: 't3 > 10' }],
  ['P3', 't2 t1 > 11', 'valid', { jobs: 'p.t2 p.t1 > 10' }],
  ['P3', 'r9 r7 > 7', 'valid', { jobs: 't2 t1 > 10' }],
  ['P4', 't4 t3 > 10', 'not-oldest-end'],
  ['P4', 't3 t1 > 10', 'not-consecutive'],
  ['P4', 't1 t2 > 10', 'not-consecutive'],
  ['P4', 't1 r7 > 7', 'not-consecutive'],
  ['P4', 't2 r9 > 9', 'not-consecutive'],
  ['P4', 'r9 r2 > 2', 'not-consecutive'],
  ['P4', 'r7 r9 > 7', 'not-consecutive'],
  ['P5', 't2 t1 > 0', 'ambiguous-marker', { trees: 'L0: 1=X 1 1=X 1' }],
  ['P5', 't3 t2 t1 > 0', 'valid', { trees: 'L0: 1=X 1 1=X 1' }],
  ['P5', 't4 t3 t2 t1 > 0', 'valid', { trees: 'L0: 1=X 1 1=X 1' }],
  ['P5', 't1 > 0', 'valid', { trees: 'L0: 1=X 1=X 1' }],
  ['P7', 't2 t1 > 0', 'damaged-source', { trees: 'L0: 1 1! 1' }],
  ['P7', 't1 > 0', 'valid', { trees: 'L0: 1 1! 1' }],
  ['P7', 't1 r0 > 0', 'damaged-source', { trees: 'L0: 1 | 1+1! ' }],
];

/** Of submissions alone. */
const SUBMISSIONS: Case[] = [
  ['P6', 't2 t1 > 99', 'valid'],
  ['P6', 't2 t1 > 4294967295', 'valid'],
  ['P6', 't2 t1 > 4294967296', 'destination-not-fresh'],
  ['P6', 't2 t1 > 9', 'destination-not-fresh'],
  ['P6', 't2 t1 > 8', 'destination-not-fresh'],
  ['P6', 't2 t1 > 0', 'valid', { trees: 'L0: 1 1' }],
  ['P6', 'p.t2 p.t1 > 5', 'destination-not-fresh'],
  ['P6', 'r9 r7 > 9', 'wrong-destination'],
  ['P6', 'r9 r7 > 10', 'wrong-destination'],
  ['P6', 't1 r9 > 10', 'wrong-destination'],
  ['P6', 'r2 r7 > 7', 'wrong-destination', { trees: 'L0: | 2:1 7:1' }],
  ['P6', 'r2 r7 > 2', 'valid', { trees: 'L0: | 2:1 7:1' }],
  ['P6', 't2 t1 > 10', 'destination-in-use', { jobs: 'p.t2 p.t1 > 10' }],
  ['P8', 'p.t2 p.t1 r4 > drain', 'valid'],
  ['P8', 'p.t1 > drain', 'valid'],
  ['P8', 'r4 > drain', 'valid'],
  ['P8', 'p.t2 > drain', 'not-oldest-end'],
  ['P8', 'p.t2 p.t1 > drain', 'source-in-use', { jobs: 'p.t1 > drain' }],
  ['P8', 'p.t3 > drain', 'missing-source'],
  ['P8', 'p.t1 p.t1 > drain', 'repeated-source'],
  ['P8', 'p.t1 > drain', 'ambiguous-marker', { trees: 'p L0: 1=X 1=X' }],
  ['P8', 't1 > drain', 'drains-root'],
  ['P8', 'z.t1 > drain', 'unknown-tree'],
];

const treesOf = (situation: Case[3]) => situation?.trees ?? TREES;

function situationOf(situation: Case[3]) {
  const noted = parseTrees(treesOf(situation));
  return { noted, input: inputOf(noted, { active: parseJobs(situation?.jobs ?? '', noted) }) };
}

describe('a proposal', () => {
  it.each(CASES)('%s: %s is %s', (_, text, fault, situation) => {
    const { noted, input } = situationOf(situation);
    const [job] = parseJobs(text, noted);
    const tree = input.trees.find(({ name }) => name === job!.tree);
    const l0 = job!.l0ViewIds.map((id): ViewFacts => tree?.l0.find(({ viewId }) => viewId === id) ?? viewNamed(id));
    const proposal: Proposal = { tree: job!.tree, l0, runs: job!.runs, reason: 'test' };
    expect(findFault(input, proposal)?.fault ?? 'valid').toBe(fault);
  });

  it('names a view by its range too', () => {
    const { input } = situationOf({ trees: 'L0: 1[b,d) 1' });
    const [cut, whole] = input.trees[0]!.l0;
    const named = (view: ViewFacts) => findFault(input, { tree: '', l0: [view, whole!], runs: [], reason: '' })?.fault;
    expect(named({ ...cut! })).toBeUndefined();
    expect(named({ ...cut!, visibleRange: undefined })).toBe('missing-source');
    const { start } = cut!.visibleRange!;
    expect(named({ ...cut!, visibleRange: { start, end: { kind: 'unbounded' } } })).toBe('missing-source');
    expect(named({ ...cut!, visibleRange: { start, end: start } })).toBe('missing-source');
  });
});

describe('a submission', () => {
  it.each([...CASES.filter(([, text]) => text !== '> 10'), ...SUBMISSIONS])(
    '%s: %s is %s',
    (_, text, fault, situation) => {
      const { noted, input } = situationOf(situation);
      const [job] = parseJobs(text, noted);
      const found = findSubmissionFault(input, job!, freshRunId(input.trees, input.active, []));
      expect(found?.fault ?? 'valid').toBe(fault);
      if (found !== undefined) expect(found.message).toMatch(/^[A-Z].*[a-z0-9]\.$/);
    },
  );

  it('of no sources is none', () => {
    const { input } = situationOf(undefined);
    const fault = (tree: string, destination: number | undefined) =>
      findSubmissionFault(input, { tree, l0ViewIds: [], runs: [], destination }, 10)?.fault;
    expect([fault('', 10), fault('70', undefined)]).toEqual(['no-sources', 'no-sources']);
  });
});

describe('where a job goes', () => {
  it('a fresh id is above all runs, destinations of active jobs and those of finished ones', () => {
    const { noted, input } = situationOf(undefined);
    const fresh = (jobs: string, finished: number[]) => freshRunId(input.trees, parseJobs(jobs, noted), finished);
    expect([fresh('', []), fresh('p.t1 > 12', []), fresh('p.t1 > drain', []), fresh('p.t1 > 12', [30, 3])]).toEqual([
      10, 13, 10, 31,
    ]);
    expect(freshRunId([], [], [])).toBe(0);
  });

  it('runs go into the one with the lowest id, others into a fresh one', () => {
    expect(destinationOf({ runs: [2, 7] }, 10)).toBe(2);
    expect(destinationOf({ runs: [] }, 10)).toBe(10);
  });
});

it('without tables of level 0 no marker is set', () => {
  const [tree] = situationOf(undefined).input.trees as [TreeFacts];
  expect(isMarkerUnique(tree.l0, [])).toBe(true);
});

function viewNamed(viewId: ViewFacts['viewId']): ViewFacts {
  const [view] = inputOf(parseTrees('L0: 1')).trees[0]!.l0;
  return { ...view!, viewId, tableId: viewId };
}
