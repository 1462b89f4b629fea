/** Jobs that give back space: rules W1 to W4 of waste-picks.ts, on trees on which nothing is to be merged by size. */
import { describe, expect, it } from 'vitest';
import { pickJobs } from '../../../src/compaction/scheduler.ts';
import { inputOf, parseTrees, picksOf, type Situation } from '../../support/tree-notation.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);
const KEPT = { keptWhole: [{ gte: utf8('k'), lte: utf8('m') }] };
const KEPT_ELSEWHERE = { keptWhole: [{ gte: utf8('zz'), lte: undefined }] };
/** A run of which nothing is known but its size cannot be wasted by W1. */
const LARGE = '1000000000{?}';

type Case = [about: string, trees: string, picks: string[], situation?: Situation];

describe('W1: space', () => {
  it.each<Case>([
    ['one run wastes nothing', 'L0: | 100', []],
    ['as much above the lowest run as in it is allowed', 'L0: | 40 60 100', []],
    ['more is not', 'L0: | 41 60 100', ['space: r2 r1 r0 > 0']],
    ['by option less', 'L0: | 30 100', ['space: r1 r0 > 0'], { options: { maxSpaceAmplification: 0.25 } }],
    ['or anything', 'L0: | 300 100', [], { options: { maxSpaceAmplification: Number.POSITIVE_INFINITY } }],
    ['what tombstones above hide in the lowest run is wasted too', 'L0: | 50{6/9} 100{0/9}', ['space: r1 r0 > 0']],
    ['they hide a row each', 'L0: | 50{4/9} 100{0/9}', []],
    ['and not more rows than there are', 'L0: | 50{900/900} 400{0/9}', ['space: r1 r0 > 0']],
    ['where rows are not counted, none', 'L0: | 50{9/9} 100{?}', []],
    ['level 0 counts where there is much of it', 'L0: 9000000 8000000 | 10000000', ['space: t2 t1 r0 > 0']],
    ['not where there is little', 'L0: 8000000 8000000 | 10000000', []],
    ['and not up to as much as in the lowest run', 'L0: 17000000 | 17000000', []],
    ['together with the runs above that one', 'L0: 17000000 | 5000000 - 20000000', ['space: t1 r2 r1 r0 > 0']],
    ['of it what is older than damage', 'L0: 9000000! 17000000 | 10000000', ['space: t1 r0 > 0']],
    ['not while it is in use', 'L0: 9000000 17000000 | 10000000', [], { jobs: 't1 > 7' }],
    ['without a run to compare it with, none', 'L0: 90000000 |', []],
    ['runs without tables go with them', 'L0: | - 80 - 50 - 100 -', ['space: r5 r4 r3 r2 r1 r0 > 0']],
    ['while one is in use, none', 'L0: | 80 50 100', [], { jobs: 'r1 r0 > 0' }],
    ['nor with damage', 'L0: | 80 50 100!', []],
  ])('%s: %s', (_, trees, picks, situation) => expect(picksOf(pickJobs, trees, situation)).toEqual(picks));
});

describe('W2: tombstones', () => {
  it.each<Case>([
    ['a run of them is merged with the next older one', 'L0: | 10{10001/20001} 100{?}', ['tombstones: r1 r0 > 0']],
    ['not where they are half of it or less', 'L0: | 10{10001/20002} 100{?}', []],
    ['nor if they are few', 'L0: | 10{10000/10000} 100{?}', []],
    ['nor if the older run is so large that it does not pay', 'L0: | 10{10001/10001} 281{?}', []],
    ['a byte less pays', 'L0: | 10{10001/10001} 280{?}', ['tombstones: r1 r0 > 0']],
    [
      'and what they hide pays: a 29th of the rewrite',
      'L0: | 1{10001/10001} 1000{0/289000}',
      ['tombstones: r1 r0 > 0'],
    ],
    ['less does not', 'L0: | 1{10001/10001} 1000{0/290000}', []],
    ['at the bottom they are rewritten alone', 'L0: | 100{?} 10000{10001/10001}', ['tombstones: r0 > 0']],
    [
      'with the empty runs after it, so that it is the bottom',
      'L0: | 10{10001/10001} - -',
      ['tombstones: r2 r1 r0 > 0'],
    ],
    ['not if a snapshot may ask for what they hide', 'L0: | 10{10001/10001,seq8}', [], { barrier: 7 }],
    ['but if none can', 'L0: | 10{10001/10001,seq7}', ['tombstones: r0 > 0'], { barrier: 7 }],
    [
      'where its numbers are not known, those of all tables count',
      'L0: | 10{10001/10001}',
      [],
      { barrier: 7, lastSeq: 8 },
    ],
    ['which may be low enough', 'L0: | 10{10001/10001}', ['tombstones: r0 > 0'], { barrier: 7, lastSeq: 7 }],
    ['not for keys of which every version is kept', 'L0: | 10{10001/10001}', [], KEPT],
    ['others are kept', 'L0: | 10{10001/10001}', ['tombstones: r0 > 0'], KEPT_ELSEWHERE],
    ['all tables of a run count together', 'L0: | 5{10001/10001}+5{0/10001} 100{?}', []],
    ['and are enough together', 'L0: | 5{6000/6000}+5{6000/6000}+5{?} 200{?}', ['tombstones: r1 r0 > 0']],
    ['runs without tables between go along', 'L0: | 10{10001/10001} - 100{?}', ['tombstones: r2 r1 r0 > 0']],
    ['level 0 goes into the first run', 'L0: 1 1{20000/20000} 1 | - 8{?} 100{?}', ['tombstones: t3 t2 t1 r2 r1 > 1']],
    ['only its part that is mostly tombstones', 'L0: 1{0/90000} 1{20000/20000} 1 | 8{?}', ['tombstones: t2 t1 r0 > 0']],
    ['without runs into one', 'L0: 1{20000/20000} 1', ['tombstones: t2 t1 > 0']],
    ['but not before snapshots have gone', 'L0: 1{20000/20000,seq9} 1', [], { barrier: 8 }],
    ['not into a run in use', 'L0: 1{20000/20000} | 8{?} 100{?}', [], { jobs: 'r1 r0 > 0' }],
    ['nor into a damaged one', 'L0: 1{20000/20000} | 8{?}!', []],
    ['a run in use is not merged again', 'L0: | 10{10001/10001} 100{?} 900{?}', [], { jobs: 'r2 r1 > 1' }],
    ['nor one with the next in use', 'L0: | 10{10001/10001} 100{?} 900{?}', [], { jobs: 'r1 r0 > 0' }],
  ])('%s: %s', (_, trees, picks, situation) => expect(picksOf(pickJobs, trees, situation)).toEqual(picks));
});

describe('W3: expired', () => {
  it.each<Case>([
    ['half of a run has', `L0: | 100{0/9,50@7} ${LARGE}`, ['expired: r1 > 1'], { nowMs: 7 }],
    ['not yet', `L0: | 100{0/9,50@7} ${LARGE}`, [], { nowMs: 6 }],
    ['less than half', `L0: | 100{0/9,49@7} ${LARGE}`, [], { nowMs: 9 }],
    ['two parts make a half', `L0: | 100{0/9,25@3,25@7} ${LARGE}`, ['expired: r1 > 1'], { nowMs: 7 }],
    ['of all its tables, not of one', `L0: | 60{0/9,60@1}+70{0/9} ${LARGE}`, [], { nowMs: 7 }],
    ['at the bottom too', 'L0: | 100{0/9,50@7}', ['expired: r0 > 0'], { nowMs: 7 }],
    ['of a cut view the same part', 'L0: | 100[b,){0/9,49@7}+1{?}', [], { nowMs: 7 }],
    ['level 0, as far as half of it has', 'L0: 30{0/9,29@7} 10{0/9,9@7} 11', ['expired: t3 t2 t1 > 0'], { nowMs: 7 }],
    ['and no farther', 'L0: 30 10{0/9,9@7} 5 | 2{?}', ['expired: t2 t1 > 1'], { nowMs: 7 }],
    ['not keys of which every version is kept', 'L0: 1{0/9,1@7} | 100{0/9,50@7}', [], { nowMs: 7, ...KEPT }],
    ['not a run in use', 'L0: | 100{0/9,50@7} 100 900{?}', [], { nowMs: 7, jobs: 'r1 r0 > 0, r2 > 2' }],
    ['nothing expires without a time', 'L0: | 100{0/9,50@7}', [], { nowMs: Number.NEGATIVE_INFINITY }],
    ['a table whose rows are empty has nothing that expires', 'L0: | 0{0/9,0@7}+9', [], { nowMs: 7 }],
  ])('%s: %s', (_, trees, picks, situation) => expect(picksOf(pickJobs, trees, situation)).toEqual(picks));

  it.each<[about: string, trees: string, wakeAtMs: number | undefined, situation?: Situation]>([
    ['nothing expires', 'L0: 10 | 100', undefined],
    ['the first time at which it would ask for a job', `L0: | 100{0/9,40@5,10@9} 100{0/9,50@7} ${LARGE}`, 7],
    ['level 0 as well, whichever part of it', 'L0: 10{0/9,10@8} 10{0/9,10@6} | 100{0/9,50@7}', 6],
    ['after that the next one', 'L0: 10{0/9,10@8} 10{0/9,10@6} | 100{0/9,50@7}', 7, { nowMs: 6 }],
    ['not what has passed', 'L0: | 100{0/9,50@7}', undefined, { nowMs: 7 }],
    ['not what is too little', 'L0: | 100{0/9,49@7}', undefined],
    ['not of keys of which every version is kept', 'L0: | 100{0/9,50@7}', undefined, KEPT],
  ])('is asked again when: %s', (_, trees, wakeAtMs, situation) => {
    const { jobs: _jobs, ...rest } = situation ?? {};
    expect(pickJobs(inputOf(parseTrees(trees), rest)).wakeAtMs).toBe(wakeAtMs);
  });
});

describe('W4: empty runs', () => {
  it.each<Case>([
    ['go', 'L0: | 10 - 100', ['empty: r1 > 1']],
    ['those that follow each other together', 'L0: | - - 10 - -', ['empty: r4 r3 > 3']],
    ['also if there is nothing else', 'L0: | -', ['empty: r0 > 0']],
    ['not one that a job is to fill', 'L0: | 10 - 100', [], { jobs: 'r2 r1 > 1' }],
  ])('%s: %s', (_, trees, picks, situation) => expect(picksOf(pickJobs, trees, situation)).toEqual(picks));
});

it('space comes before tombstones, these before what has expired, and that before empty runs', () => {
  const picks = (trees: string) => picksOf(pickJobs, trees, { nowMs: 9 })[0]?.split(':')[0];
  const expired = '9{0/9,9@1}';
  expect([
    picks(`L0: | - ${expired} 200{20000/20000} 30`),
    picks(`L0: | - ${expired} 50{20000/20000} 70{?}`),
    picks(`L0: | - ${expired} 70`),
    picks('L0: | - 9 70'),
  ]).toEqual(['space', 'tombstones', 'expired', 'empty']);
});
