/**
 * What is needed, and why, as data. A line: manifests, after the bar what else is known (the notation: live-set-script.ts), then a
 * question, and after the arrow the answer with the rules of live-set.ts that it shows.
 *
 *   why table A | why wal 3 | why manifest 4 | all | parents
 */
import { describe, expect, it } from 'vitest';
import {
  checkpointsAlone,
  type LiveSetInput,
  liveSet,
  type Reason,
  reasonText,
  whyCopy,
  whyTable,
  whyWal,
} from '../../../../src/lsm/manifest/live-set.ts';
import { parseLiveSetInput } from '../../../support/live-set-script.ts';
import { tableId, tableName } from '../../../support/manifest-script.ts';

const why = (reasons: readonly Reason[]) =>
  reasons.length === 0
    ? 'not needed'
    : reasons
        .map(reasonText)
        .join('; ')
        .replaceAll(/01J0+(\w)/g, '$1')
        .replaceAll(/1970-01-01T00:(\d\d):(\d\d).000Z/g, '$1:$2');

function answer(input: LiveSetInput, question: string): string {
  const set = liveSet(input);
  const [verb, what, name] = question.split(' ');
  if (verb === 'parents') {
    const said = set.parents.map(
      (p) => `${p.path} by ${p.checkpointId}: ${p.tables.map(tableName).join(' ') || 'none'}`,
    );
    return said.join('; ') || 'none';
  }
  if (verb === 'all') {
    const unread = set.unread.length === 0 ? '' : `; unread ${set.unread.join(' ')}`;
    const file = set.compactionsId === undefined ? '' : `; compactions ${set.compactionsId}`;
    const wal = set.wal.map(({ from, to }) => `${from}..${to === Number.POSITIVE_INFINITY ? '' : to}`);
    const tables = [...set.tables].map(
      ([id, { owner }]) => `${owner === undefined ? '' : `${owner}:`}${tableName(id)}`,
    );
    return `manifests ${[...set.manifests.keys()].join(' ')}${unread}${file}; wal ${wal.join(' ')}; tables ${tables.join(' ')}`;
  }
  if (what === 'table') return why(whyTable(set, tableId(name!)));
  return why(what === 'wal' ? whyWal(set, Number(name)) : (set.manifests.get(Number(name)) ?? []));
}

const CASES = [
  '5: l0 B A; run 1 C; replay 3 / 4: l0 D          |                     | all => manifests 5; wal 3..; tables B A C (L1, L3, L4)',
  '5: l0 A                                         |                     | all => manifests 5; wal 1..; tables A (L4: the log begins at 1)',
  '5: l0 A / 4: l0 B; replay 2 / 3: l0 C           | keep 2              | all => manifests 5 4; wal 1.. 2..; tables A B (L1)',
  '5: l0 A / 3: l0 C                               | keep 3              | all => manifests 5 3; wal 1.. 1..; tables A C (L1: a collected one is not missed)',
  '1: l0 A                                         | keep 3              | all => manifests 1; wal 1..; tables A (L1: at the beginning)',
  '5: l0 A; cp c 4 / 4: l0 B                       |                     | why table B => checkpoint c on manifest 4 (L2)',
  '5: l0 A; cp c 4 / 4: l0 B A                     |                     | why table A => manifest 5, the newest; checkpoint c on manifest 4 (L2, L3)',
  '5: l0 A / 4: l0 B; cp c 3 / 3: l0 C             | keep 2              | why table C => not needed (L2: checkpoints of older manifests count no more)',
  '5: l0 A; cp c 4; cp d 4 until 900 / 4: l0 B     |                     | why manifest 4 => checkpoint c on manifest 4; checkpoint d on manifest 4 until 15:00 (L2)',
  '5: cp c 4 until 900 / 4: l0 B                   | now 960             | why table B => checkpoint c on manifest 4 until 15:00 (L2: not yet, clocks differ)',
  '5: cp c 4 until 900 / 4: l0 B                   | now 961             | why table B => not needed (L2: expired)',
  '5: cp c 4 / 4: l0 B                             | now 999999          | why table B => checkpoint c on manifest 4 (L2: without an expiry)',
  '5: cp c 5; l0 A                                 |                     | why table A => manifest 5, the newest; checkpoint c on manifest 5 (L2: as SlateDB makes them)',
  '5: l0 A; cp c 3                                 |                     | all => manifests 5 3; unread 3; wal 1..; tables A (L2: what it names is unknown)',
  '5: seg p l0 F; seg q run 2 G; loose Z           |                     | all => manifests 5; wal 1..; tables F G Z (L3: every tree, and what no view shows)',
  '5: run 1 A[,c) A[c,); l0 A                      |                     | why table A => manifest 5, the newest (L3: once)',
  '5: marker M; l0 A                               |                     | why table M => not needed (L3: the marker names no table that is read)',
  '5: replay 3; seen 9                             |                     | why wal 3 => manifest 5, the newest (L4: the object at the replay point)',
  '5: replay 3; seen 9                             |                     | why wal 2 => not needed (L4)',
  '5: replay 3; seen 9                             |                     | why wal 77 => manifest 5, the newest (L4: whatever follows)',
  '5: replay 7; cp c 4 / 4: replay 2; seen 5       |                     | why wal 3 => checkpoint c on manifest 4 (L4)',
  '5: replay 7; cp c 4 / 4: replay 2; seen 5       |                     | why wal 5 => checkpoint c on manifest 4 (L4: its last one)',
  '5: replay 7; cp c 4 / 4: replay 2; seen 5       |                     | why wal 2 => not needed (L4: that of a replay point counts for the newest only)',
  '5: replay 7; cp c 4 / 4: replay 2; seen 5       |                     | why wal 6 => not needed (L4: written after the checkpoint)',
  '5: replay 7 / 4: replay 2; seen 5               | keep 2              | why wal 2 => manifest 4, one of the newest (L4: a repair may go back to it)',
  '5: replay 7; cp c 4 / 4: replay 5; seen 5       |                     | all => manifests 5 4; wal 7..; tables  (L4: a checkpoint after a clean close needs no log)',
  '5: replay 7 / 4: replay 2; seen 5               | keep 2              | why wal 6 => manifest 4, one of the newest (L4: all after its replay point)',
  '5: l0 B A                                       | job J running l0 A to X parts Y Z | all => manifests 5; compactions 9; wal 1..; tables B A X Y Z (L5)',
  '5: l0 B A                                       | job J running l0 A to X | why table X => compaction J (running), as output (L5)',
  '5: l0 v:A; run 3 C                              | own J l0 v run 3 parts Y | why table Y => compaction J (running), as output (L5: a job of the seal)',
  '5: l0 v:A; run 3 C                              | own J l0 v run 3 parts Y | why table A => manifest 5, the newest; compaction J (running), as source (L5: a job of the seal)',
  '5: l0 A                                         | own J l0 A parts Y, job J failed l0 A | why table A => manifest 5, the newest; compaction J (running), as source (L5: which stands in the list as failed)',
  '5: l0 A                                         | own J l0 A, job J running l0 A | why table A => manifest 5, the newest; compaction J (running), as source (L5: once)',
  '5: l0 v:A; run 3 C D                            | job J scheduled l0 v run 3 | why table D => manifest 5, the newest; compaction J (scheduled), as source (L5)',
  '5: l0 v:A; run 3 C D                            | job J scheduled l0 v run 3 | why table A => manifest 5, the newest; compaction J (scheduled), as source (L5: a view is resolved)',
  '5: run 1 X                                      | job J compacted l0 A to X | why table A => compaction J (compacted), as source (L5: by its id in version 1)',
  '5: run 1 X                                      | job J completed l0 A to X | why table A => not needed (L5: the sources of a finished job)',
  '5: l0 A                                         | job J failed l0 A to X   | why table X => compaction J (failed), as output (L5)',
  '5: l0 A                                         | job J submitted run 7    | all => manifests 5; compactions 9; wal 1..; tables A (L5: a run that is not there)',
  '5: l0 A                                         | plan r 2 makes P        | why table P => attempt 2 at repair r (L6)',
  '5: l0 A; replay 9                               | plan r 2 reads wal/3 compacted/D manifest/4 | all => manifests 5 4; wal 9.. 3..3; tables A D (L6)',
  '5: l0 A; replay 9                               | plan r 2 reads wal/3     | why wal 3 => attempt 2 at repair r (L6)',
  '5: l0 A F; parent /q/ F G                       |                     | all => manifests 5; wal 1..; tables A q:F (L7)',
  '5: l0 A F; parent q F G                         |                     | parents => q by s: F (L7: what is not named is not needed)',
  '5: l0 A; parent q F                             |                     | parents => q by s: none (L7: the checkpoint in the parent may go)',
  '5: l0 A; parent q; cp c 4 / 4: l0 F; parent q F |                     | parents => q by s: F (L7: a checkpoint needs the parent)',
  '5: l0 F; parent q F                             | job J running l0 F to X | why table F => manifest 5, the newest; compaction J (running), as source (L5, L7)',
  '5: l0 A                                         |                     | parents => none (L7)',
  '5: run 1 X                                      | now 950, output X 900 of A B | why table B => table X, made of it, until 30:00 (L9)',
  '5: run 1 X                                      | now 1860, output X 900 of A | why table A => table X, made of it, until 30:00 (L9: not yet, clocks differ)',
  '5: run 1 X                                      | now 1861, output X 900 of A | why table A => not needed (L9)',
  '5: run 1 X                                      | output X 900 of A   | why table A => table X, made of it, until 30:00 (L9: the time is unknown)',
  '5: l0 F; parent q@f F                           |                     | parents => q by f: F (L7: the final checkpoint)',
];

describe('the live set', () => {
  it.each(CASES)('%s', (line) => {
    const [, manifests, facts, question, expected] = /^(.*?) *\|(.*?)\| *(.*?) *=> *(.*?) ?\(L[^()]*\)$/.exec(line)!;
    expect(answer(parseLiveSetInput(manifests!, facts!), question!)).toBe(expected);
  });

  it('is without an end only for the manifests that writers go on from', () => {
    const set = liveSet(parseLiveSetInput('5: cp c 4 / 4: seen 3', ''));
    expect(set.wal.map(({ to }) => to)).toEqual([Number.POSITIVE_INFINITY, 3]);
  });
});

describe('a copy in quarantine', () => {
  const loss = { id: 'f1', repairId: 'r1', state: 'open' };

  it.each([
    ['the open loss f1', loss],
    ['not needed', { ...loss, state: 'acknowledged' }],
    ['not needed', { ...loss, state: 'restored' }],
    ['not needed', { ...loss, repairId: 'r2' }],
    ['the open loss f1', { ...loss, repairId: '' }],
  ])('is %s', (expected, entry) => {
    expect(why(whyCopy([entry], 'r1'))).toBe(expected);
  });
});

describe('what checkpoints alone need', () => {
  it('is named by all of them, and is nothing where something else needs it or nobody does', () => {
    const input = parseLiveSetInput('5: l0 A; cp c 4; cp d 3 / 4: l0 B A / 3: l0 B', '');
    const set = liveSet(input);
    expect(['A', 'B', 'C'].map((name) => checkpointsAlone(whyTable(set, tableId(name))))).toEqual([[], ['c', 'd'], []]);
  });
});
