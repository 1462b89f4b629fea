/** The shape of trees as a report (the notation: tree-notation.ts). */
import { describe, expect, it } from 'vitest';
import type { TreeReport } from '../../../src/admin.ts';
import { treeShapes } from '../../../src/tools/tree-report.ts';
import { parseTrees } from '../../support/tree-notation.ts';
import { treeReportOf } from '../../support/tree-reports.ts';

const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

function keysOf({ totals }: Pick<TreeReport, 'totals'>): (string | undefined)[] {
  return [text(totals.keys?.gte), text(totals.keys?.lte)];
}

describe('the shape of a tree', () => {
  it('has every table where reads find it', () => {
    const { trees } = treeReportOf('L0: 10 20 30 | 7:100 4:- 2:10+20');
    expect(trees.length).toBe(1);
    expect(trees[0].l0.tables.map(({ bytes }) => bytes)).toEqual([10, 20, 30]);
    expect(trees[0].runs.map(({ id, tables }) => [id, tables.map(({ bytes }) => bytes)])).toEqual([
      [7n, [100]],
      [4n, []],
      [2n, [10, 20]],
    ]);
  });

  it('sums up rows, tombstones and seals, and says how many tables have no counts', () => {
    const { totals } = treeReportOf('L0: 10{3/9} 20{?} | 30{1/5}');
    expect(totals).toMatchObject({ tables: 3, views: 3, bytes: 60, rows: 14, tombstones: 4, uncounted: 1, sealed: 3 });
    expect(treeReportOf('L0: 10', { sealed: false }).totals.sealed).toBe(0);
  });

  it('counts of a view that is cut the part that is shown, and its table once', () => {
    const { totals, trees } = treeReportOf('L0: | 1:1000=X<ka,ku>[,kf){0/80}+1000=X<ka,ku>[kf,){0/80}');
    expect(trees[0].runs[0].tables.map(({ bytes, shownBytes, cut }) => [bytes, shownBytes, cut])).toEqual([
      [1000, 250, true],
      [1000, 750, true],
    ]);
    expect(totals).toMatchObject({ tables: 1, views: 2, bytes: 1000, rows: 80 });
  });

  it('gives the keys from the least to the greatest, and no upper end where a table does not say it', () => {
    expect(keysOf(treeReportOf('L0: 10<d,m> 10<b,f> | 10<c,x>'))).toEqual(['b', 'x']);
    const noted = parseTrees('L0: 10<d,m> 10<b,f>');
    noted.manifest.l0[1]!.table.info.lastEntry = undefined;
    expect(keysOf(treeShapes(noted.manifest, new Map()))).toEqual(['b', undefined]);
  });

  it('without tables has neither keys nor ages', () => {
    const { totals, trees } = treeReportOf('L0:');
    expect(totals).toEqual({
      tables: 0,
      views: 0,
      bytes: 0,
      rows: 0,
      tombstones: 0,
      uncounted: 0,
      sealed: 0,
      faulty: 0,
    });
    expect(trees.map(({ tablesPerGet }) => tablesPerGet)).toEqual([0]);
  });

  it('knows nothing of rows, seals and damage where ends were not read', () => {
    const { totals, trees } = treeReportOf('L0: 10{3/9} 20!', { tails: false });
    expect(trees[0].l0.tables.map(({ state, seal }) => [state, seal])).toEqual([
      ['unread', 'unread'],
      ['unread', 'unread'],
    ]);
    expect(totals).toMatchObject({ bytes: 30, rows: 0, uncounted: 2, sealed: 0, faulty: 0 });
  });

  it('of a segmented database has a tree for each segment, and the root tree only if it has tables', () => {
    const prefixes = (notation: string) => treeReportOf(notation).trees.map(({ prefix }) => text(prefix));
    expect(prefixes('L0: ; p L0: 10 | 20; q L0: 30')).toEqual(['p', 'q']);
    expect(prefixes('L0: 5 | 6; p L0: 10')).toEqual([undefined, 'p']);
    expect(treeReportOf('L0: ; p L0: 10 | 20; q L0: 30').totals).toMatchObject({ views: 3, bytes: 60 });
  });

  it('names the database that owns a table of a clone, and where it is stored', () => {
    const [own, parents] = treeReportOf('L0: 10 20^').trees[0].l0.tables;
    expect([own.parent, parents.parent]).toEqual([undefined, 'parent']);
    expect(parents.path).toBe(`parent/compacted/${parents.id}.sst`);
  });
});

describe('how many tables a read of one key asks at most', () => {
  it.each([
    ['L0: 10 10 10 | 100 400', 5, 'all overlap'],
    ['L0: 10<a,c> 10<d,f> | 100<g,k>', 1, 'none overlap'],
    ['L0: 10<a,e> 10<d,k> | 100<e,f>', 3, 'three at the key e'],
    ['L0: 10<a,e> 10<e,k> |', 2, 'an end that both have'],
    ['L0: | 1:10<a,c>+10<d,f> 0:10<a,f>', 2, 'one table of each run'],
    ['L0: | 1:10=X<a,z>[,m)+10=X<a,z>[m,)', 1, 'views that meet at a key'],
    ['L0: 10<a,m> 10<a,z>[,m) 10<m,z>', 2, 'ends with and without their key'],
    ['L0: 10<a,z>[b,d) 10<a,z>[d,f) 10<a,z>[c,e)', 2, 'cut views'],
  ])('%s: %d, %s', (notation, tables) => {
    expect(treeReportOf(notation).trees[0].tablesPerGet).toBe(tables);
  });
});
