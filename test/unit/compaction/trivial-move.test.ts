/** Which jobs only move tables: rules T1 to T5 of trivial-move.ts (the notation: tree-notation.ts). A full table has 40 bytes. */
import { expect, it } from 'vitest';
import { isTrivialMove, tablesToKnow } from '../../../src/compaction/trivial-move.ts';
import { tableName } from '../../support/manifest-script.ts';
import { inputOf, parseJobs, parseTrees } from '../../support/tree-notation.ts';

const FULL_BYTES = 40;
/** A table without anything to gain; `keys`: its first and last one. */
const plain = (keys: string, bytes = 10) => `${bytes}<${keys}>{0/9,0@0}`;

function jobOf(trees: string, job: string): Parameters<typeof isTrivialMove> {
  const noted = parseTrees(trees);
  for (const rows of noted.rows.values()) {
    if (rows.expiring?.every(({ bytes }) => bytes === 0)) rows.expiring = [];
  }
  const [tree] = inputOf(noted).trees;
  const [{ l0ViewIds, runs }] = parseJobs(job, noted) as [ReturnType<typeof parseJobs>[number]];
  const l0 = tree!.l0.filter(({ viewId }) => l0ViewIds.includes(viewId));
  return [{ tree: '', l0, runs, reason: '' }, tree!, FULL_BYTES];
}

const isMoved = (trees: string, job: string) => isTrivialMove(...jobOf(trees, job));

const AB = plain('a,b');
const CD = plain('c,d');
const EF = plain('e,f');

it.each<[rule: string, isMoved: boolean, trees: string, job: string]>([
  ['T1: tables without a common key', true, `L0: ${EF} ${AB} ${CD}`, 't3 t2 t1 > 0'],
  ['T1: and a run', true, `L0: ${CD} | ${AB}+${EF}`, 't1 r0 > 0'],
  ['T1: keys between each other', false, `L0: ${plain('a,c')} ${plain('b,d')}`, 't2 t1 > 0'],
  ['T1: one key in common', false, `L0: ${plain('a,c')} ${CD}`, 't2 t1 > 0'],
  ['T1: one key in common with a run', false, `L0: | ${plain('a,c')} ${CD}`, 'r1 r0 > 0'],
  ['T1: one key whose versions a run divides', true, `L0: ${EF} | ${plain('a,c')}+${CD}`, 't1 r0 > 0'],
  ['T1: a table within the gap of a run', true, `L0: | ${CD} ${AB}+${EF}`, 'r1 r0 > 0'],
  ['T1: sources that are left do not count', true, `L0: ${plain('a,z')} ${AB} ${CD}`, 't2 t1 > 0'],
  ['T2: a cut view', false, 'L0: 10<a,b>[b,){0/9,0@0} 10<c,d>{0/9,0@0}', 't2 t1 > 0'],
  ['T2: a table of a parent', false, `L0: ${AB}^ ${CD}`, 't2 t1 > 0'],
  ['T2: a table with another view', false, `L0: 10=X<a,b>{0/9,0@0} ${CD} | 10=X<a,b>{0/9,0@0}`, 't2 t1 > 0'],
  ['T3: a quarter of a full table', true, `L0: ${plain('a,b', 10)} ${CD}`, 't2 t1 > 0'],
  ['T3: less', false, `L0: ${plain('a,b', 9)} ${CD}`, 't2 t1 > 0'],
  ['T4: a tombstone', false, `L0: 10<a,b>{1/9,0@0} ${CD}`, 't2 t1 > 0'],
  ['T4: rows that expire', false, `L0: 10<a,b>{0/9,1@7} ${CD}`, 't2 t1 > 0'],
  ['T4: nobody knows whether rows expire', false, `L0: 10<a,b>{0/9} ${CD}`, 't2 t1 > 0'],
  ['T4: nothing is known', false, `L0: 10<a,b>{?} ${CD}`, 't2 t1 > 0'],
  ['T5: a run alone, which is proposed to be written again', false, `L0: | ${AB}+${CD}`, 'r0 > 0'],
  ['T5: a run and an empty one, which goes', true, `L0: | 4:- 2:${AB}+${CD}`, 'r4 r2 > 2'],
  ['T5: one table of level 0', true, `L0: ${AB}`, 't1 > 0'],
  ['no table', false, 'L0: | -', 'r0 > 0'],
])('%s: moved %s: %s', (_, moved, trees, job) => expect(isMoved(trees, job)).toBe(moved));

it('T4: operands are folded by a rewrite', () => {
  const noted = parseTrees(`L0: ${AB} ${CD}`);
  for (const rows of noted.rows.values()) Object.assign(rows, { expiring: [] });
  const tree = () => inputOf(noted).trees[0]!;
  const move = () => isTrivialMove({ tree: '', l0: tree().l0, runs: [], reason: '' }, tree(), FULL_BYTES);
  expect(move()).toBe(true);
  [...noted.rows.values()][0]!.merges = 1;
  expect(move()).toBe(false);
});

it.each<[why: string, unknown: string, trees: string, job: string]>([
  ['those of which nothing is known', 'T2', `L0: ${AB} 10<c,d>{?} ${EF}`, 't3 t2 t1 > 0'],
  ['none where all is known', '', `L0: ${AB} ${CD}`, 't2 t1 > 0'],
  ['none where another table is no move', '', 'L0: 10<a,b>{?} 10<c,d>{1/9}', 't2 t1 > 0'],
  ['none where nobody ever knows whether rows expire', '', 'L0: 10<a,b>{?} 10<c,d>{0/9}', 't2 t1 > 0'],
  ['none where keys are in common', '', 'L0: 10<a,d>{?} 10<c,d>{?}', 't2 t1 > 0'],
  ['none where tables are small', '', 'L0: 9<a,b>{?} 10<c,d>{?}', 't2 t1 > 0'],
])('of tables these are to be asked for: %s', (_, unknown, trees, job) => {
  expect(
    tablesToKnow(...jobOf(trees, job))
      .map(tableName)
      .join(' '),
  ).toBe(unknown);
});
