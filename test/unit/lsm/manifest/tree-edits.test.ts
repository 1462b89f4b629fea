/**
 * The edits of trees that a compactor makes, as data: the manifest before, the edit, the manifest after (the notation: manifest-script.ts),
 * and the invariants of tree-edits.ts that the case is about.
 *
 *   merge - l0 B A run 3 C D run 2 E to 2 X Y      sources of the root tree, and the run 2 of the views X and Y that was made of them
 *   merge p l0 B to 4, merge ...                   of the segment `p`, without a row; and a second job of the same commit
 *   merge - ... named 5 6                          jobs that are under way name the runs 5 and 6
 *   drain p l0 B A run 3 C                         the sources out
 *   cut                                            level 0 at its marker
 */
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../../src/common/bytes.ts';
import type { Manifest } from '../../../../src/format/manifest-types.ts';
import { brokenRules } from '../../../../src/lsm/manifest/manifest-rules.ts';
import {
  commitJobs,
  cutL0AtMarker,
  drainSegment,
  findStretch,
  isSameView,
  type MergedRun,
  sourceViewOf,
  type TreeSources,
} from '../../../../src/lsm/manifest/tree-edits.ts';
import { treesByName } from '../../../../src/lsm/manifest/view-ids.ts';
import { manifestText, parseManifest, parseView } from '../../../support/manifest-script.ts';

const treeName = (word: string) => (word === '-' ? '' : toHex(new TextEncoder().encode(word)));

function parseMerge([tree, ...words]: readonly string[]): MergedRun {
  const merged = { tree: treeName(tree!), l0: [], runs: [], destination: -1, outputs: [] } as MergedRun;
  const { l0, runs, outputs } = merged as unknown as {
    l0: unknown[];
    runs: { views: unknown[] }[];
    outputs: unknown[];
  };
  let add: (word: string) => void = () => expect.fail('sources come after their level');
  for (let i = 0; i < words.length; i++) {
    if (words[i] === 'l0') add = (word) => l0.push(sourceViewOf(parseView(word)));
    else if (words[i] === 'run') {
      const run = { id: Number(words[++i]), views: [] as unknown[] };
      runs.push(run);
      add = (word) => run.views.push(sourceViewOf(parseView(word)));
    } else if (words[i] === 'to') {
      merged.destination = Number(words[++i]);
      add = (word) => outputs.push(parseView(word));
    } else add(words[i]!);
  }
  return merged;
}

function apply(m: Manifest, edit: string): Manifest {
  const [text, named] = edit.split(' named ');
  const jobs = text!.split(', ').map((job) => job.trim().split(/ +/));
  const [verb] = jobs[0]!;
  const sources = jobs.map(([, ...words]) => (words.length === 0 ? undefined : parseMerge(words)));
  if (verb === 'merge') return commitJobs(m, sources as MergedRun[], new Set((named ?? '').split(' ').map(Number)));
  if (verb === 'drain') return drainSegment(m, sources[0]!);
  if (verb === 'cut') return cutL0AtMarker(m);
  throw new Error(`no edit: ${edit}`);
}

const CASES = [
  // Level 0 into a new run.
  'l0 D C B A                     | merge - l0 B A to 0 X => l0 D C; run 0 X; marker B (1, 2)',
  'l0 C B A; run 4 E              | merge - l0 C B A to 5 X Y => run 5 X Y; run 4 E; marker C (2, 3)',
  'l0 D C; marker B; run 0 X      | merge - l0 D C to 1 Y => run 1 Y; run 0 X; marker D (2)',
  'l0 v:B w:A; run 4 E            | merge - l0 w:A to 5 X => l0 v:B; run 5 X; run 4 E; marker w (2: the id of the view)',
  'l0 v:B[bm,) v:B[,bm); run 4 E  | merge - l0 v:B[,bm) to 5 X => l0 v:B[bm,); run 5 X; run 4 E; marker v (1: of equal ids only that range)',
  // Level 0 and runs.
  'l0 B A; run 4 E; run 2 F       | merge - l0 B A run 4 E to 4 X => run 4 X; run 2 F; marker B (3)',
  'l0 C B A; run 4 E; run 2 F     | merge - l0 B A run 4 E run 2 F to 2 X => l0 C; run 2 X; marker B (1, 3)',
  // Runs.
  'l0 C; run 9 D; run 7 E; run 4 F; run 1 G; marker A | merge - run 7 E run 4 F to 4 X => l0 C; run 9 D; run 4 X; run 1 G; marker A (2, 3)',
  'run 5 D; run 4 E; run 6 F; run 1 G | merge - run 4 E run 6 F to 4 X => run 5 D; run 4 X; run 1 G (3: the position is the order)',
  'run 7 D E; run 4 F             | merge - run 7 D E run 4 F to 4 D[,dm) X => run 4 D[,dm) X (a table may stay with another view)',
  'run 7 D                        | merge - run 7 D to 7 X => run 7 X (one run alone)',
  // Without a row.
  'l0 B A; run 4 E                | merge - l0 B A to 5 => run 4 E; marker B (4)',
  'l0 B A; run 4 E                | merge - l0 B A run 4 E to 4 => marker B (4)',
  'run 4 E; run 2 F               | merge - run 4 E run 2 F to 2 => nothing (4)',
  // Empty runs.
  'l0 B A; run 7; run 4 E         | merge - l0 B A to 8 X => run 8 X; run 4 E; marker B (4: next to the sources)',
  'run 9 D; run 8; run 7 E; run 6; run 4 F; run 2; run 1 G | merge - run 7 E run 4 F to 4 X => run 9 D; run 4 X; run 1 G (4: before, among and after)',
  'run 9 D; run 8; run 7 E; run 6; run 4 F; run 2; run 1 G | merge - run 7 E run 4 F to 4 X named 8 6 2 => run 9 D; run 8; run 6; run 4 X; run 2; run 1 G (4: under way)',
  'run 7; run 4 F                 | merge - run 7 run 4 F to 4 X named 7 => run 4 X (1: as a source it goes)',
  'run 7; run 6 E; run 5; run 4   | merge - run 6 E to 6 X => run 6 X (4)',
  'run 9 D; run 7; run 3 E        | merge - run 3 E to 3 => run 9 D (4: no row is left, and none next to it)',
  // Trees of segments.
  'seg p l0 B A; seg p run 3 E; seg q l0 C; seg q run 5 F | merge p l0 B A to 6 X => seg p run 6 X; seg p run 3 E; seg p marker B; seg q l0 C; seg q run 5 F (3, 6)',
  'seg p l0 A; seg q l0 C        | merge q l0 C to 6, merge p l0 A to 7 X => seg p run 7 X; seg p marker A; seg q marker C (several jobs)',
  'l0 B A; run 9 D; run 7 E; run 3 F | merge - l0 B A to 10 X, merge - run 7 E run 3 F to 3 Y => run 10 X; run 9 D; run 3 Y; marker B (several jobs)',
  // What others own.
  'l0 B A; run 4 E; replay 5; seen 8; seq 7; snap 3; writer 2; compactor 6; tick 9; cp c 4; loose Z | merge - l0 B A to 5 X => run 5 X; run 4 E; marker B; replay 5; seen 8; seq 7; snap 3; writer 2; compactor 6; tick 9; cp c 4; loose Z (6)',
  // Parents.
  'l0 B A; run 4 E; parent q A E  | merge - l0 B A to 5 X => run 5 X; run 4 E; marker B; parent q E (5)',
  'l0 B A; parent q A; parent r B | merge - l0 B A to 5 X => run 5 X; marker B; parent q; parent r (5: the entry stays)',
  'l0 B A; run 4 A[am,); parent q A | merge - l0 B A to 5 X => run 5 X; run 4 A[am,); marker B; parent q A (5: another view needs it)',
  'l0 B A; seg p l0 A; parent q A | merge - l0 B A to 5 X => run 5 X; marker B; seg p l0 A; parent q A (5: another tree needs it)',
  'l0 A; loose A; parent q A      | merge - l0 A to 5 X => run 5 X; marker A; parent q A; loose A (5: it is still listed)',
  'l0 A; parent q A Z             | merge - l0 A to 5 X => run 5 X; marker A; parent q Z (6: what was not needed before stays)',
  // Drains.
  'seg p l0 C B A; seg p run 7 D; seg p run 3 E; seg q l0 F; parent q B | drain p l0 B A run 7 D run 3 E => seg p l0 C; seg p marker B; seg q l0 F; parent q (1, 2, 5)',
  'seg p l0 A; seg p run 7 D      | drain p l0 A run 7 D => seg p marker A (the tree stays for its marker)',
  'seg p l0 A; seg p run 7 D; seg p run 3 E; seg p marker Z | drain p run 3 E => seg p l0 A; seg p run 7 D; seg p marker Z (2)',
  'seg p run 7; seg p run 3 E     | drain p run 7 => seg p run 3 E (1: an empty run by its id)',
  // The marker as writers of SlateDB follow it.
  'l0 D C B A; marker B           | cut => l0 D C; marker B (the marker and what is older)',
  'l0 D C; marker B               | cut => l0 D C; marker B (it is gone)',
  'l0 D C                         | cut => l0 D C (there is none)',
  'l0 B; marker B; seg p l0 D C; seg p marker C; parent q C D | cut => marker B; seg p l0 D; seg p marker C; parent q D (every tree; 5)',
  'l0 v:B[bm,) w:B[,bm) A; marker w | cut => l0 v:B[bm,); marker w (by view id, not by table)',
];

describe('an edit of a tree', () => {
  it.each(CASES)('%s', (line) => {
    const [, before, edit, after] = /^(.*?) *\| *(.*?) *=> *(.*?) *\([^()]*\)$/.exec(line)!;
    const m = parseManifest(before!);
    const copy = structuredClone(m);
    const made = apply(m, edit!);
    expect(manifestText(made)).toBe(after);
    expect(m).toEqual(copy);
    if (!line.includes('loose') && !edit!.includes('D[,dm)')) expect(brokenRules(made)).toEqual([]);
  });

  it.each([
    ['l0 B A', 'merge - l0 B to 0 X'],
    ['l0 B A', 'merge - l0 C to 0 X'],
    ['run 7 D', 'merge - run 7 E to 7 X'],
    ['seg p l0 B A', 'drain p l0 B'],
    ['seg p run 3 E', 'drain p run 3 F'],
    ['l0 A', 'drain - l0 A'],
    ['l0 A', 'merge p l0 A to 0 X'],
  ])('whose sources are not there is a fault of the program: %s | %s', (before, edit) => {
    expect(() => apply(parseManifest(before), edit)).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
  });
});

describe('sources', () => {
  const places = (before: string, words: string) => {
    const sources: TreeSources = parseMerge(words.split(' '));
    const stretch = findStretch(treesByName(parseManifest(before)).get(sources.tree)!, sources);
    return typeof stretch === 'string' ? stretch : Object.values(stretch).join(' ');
  };

  it.each([
    ['l0 C B A; run 4 E', '- l0 B A', '1 0 0'],
    ['l0 C B A; run 4 E; run 2 F', '- l0 C B A run 4 E', '0 0 1'],
    ['l0 C B A; run 4 E; run 2 F', '- run 2 F', '3 1 2'],
    ['l0 A; run 9; run 4 E; run 3; run 2 F', '- l0 A run 4 E run 2 F', '0 1 4'],
    ['run 9; run 4 E', '- run 9 run 4 E', '0 0 2'],
    ['l0 C B A', '- l0 C B', 'other tables of level 0 are older than a source'],
    ['l0 C B A', '- l0 C A', 'other tables of level 0 are older than a source'],
    ['l0 C B A', '- l0 A B', 'other tables of level 0 are older than a source'],
    ['l0 B A', '- l0 D C B A', 'table 01J0000000000000000000000D is not in level 0'],
    ['l0 C B v:A', '- l0 B A', 'table 01J0000000000000000000000A is not in level 0'],
    ['l0 C B A[am,)', '- l0 B A', 'table 01J0000000000000000000000A is not in level 0'],
    ['l0 C v:B v:A', '- l0 v:B v:D', 'table 01J0000000000000000000000D is not in level 0'],
    ['l0 A; run 9 D; run 4 E', '- l0 A run 4 E', 'a run is between level 0 and run 4'],
    ['run 9 D; run 4 E; run 2 F', '- run 9 D run 2 F', 'run 2 does not follow the other sources'],
    ['run 9 D; run 4 E', '- run 4 E run 9 D', 'run 9 does not follow the other sources'],
    ['run 9 D; run 4 E', '- run 9 D run 3 E', 'run 3 is gone'],
    ['run 9 D', '- run 4 E run 9 D', 'run 4 is gone'],
    ['run 9 D; run 4 E F', '- run 9 D run 4 E', 'run 4 has other tables'],
    ['run 9 D; run 4 E[,em)', '- run 9 D run 4 E', 'run 4 has other tables'],
    ['run 9 D; run 4 F', '- run 9 D run 4 E', 'run 4 has other tables'],
  ])('%s | %s => %s', (before, words, found) => {
    expect(places(before, words)).toBe(found);
  });

  it('are the same view by id, table and range', () => {
    const names = ['v:A', 'w:A', 'v:B', 'v:A[a,)', 'v:A[b,)', 'v:A[,b)', 'v:A[a,b)', 'v:A[,)'];
    const views = names.map((name) => sourceViewOf(parseView(name)));
    for (const [i, a] of views.entries()) for (const [j, b] of views.entries()) expect(isSameView(a, b)).toBe(i === j);
  });
});
