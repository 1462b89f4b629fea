/** Which manifests are inconsistent: tables that are listed several times, and sorted runs. */
import { describe, expect, it } from 'vitest';
import { decodeManifest, encodeManifest } from '../../../../src/format/manifest-codec.ts';
import type { Bound, Manifest, TableView } from '../../../../src/format/manifest-types.ts';
import { brokenRules } from '../../../../src/lsm/manifest/manifest-rules.ts';
import { goldenBytes } from '../../../support/golden-fixtures.ts';

const NAME = 'constructed/manifest-v2-views';
const views = () => decodeManifest(goldenBytes(NAME, 'db/manifest/00000000000000000001.manifest')).manifest;
const key = (text: string) => new TextEncoder().encode(text);
const from = (text: string): Bound => ({ kind: 'included', key: key(text) });
const until = (text: string): Bound => ({ kind: 'excluded', key: key(text) });
const open: Bound = { kind: 'unbounded' };

/** A version 1 manifest whose L0 is one table, once for each of these ranges. */
function listed(...ranges: [start: Bound, end: Bound][]): Manifest {
  const m = { ...views(), headerVersion: 1 as const };
  const { table } = m.l0[0];
  const l0 = ranges.map(([start, end]): TableView => ({ viewId: table.id, table, visibleRange: { start, end } }));
  return { ...m, l0 };
}

describe('a table listed several times', () => {
  it('is sound where version 1 has taken the view ids of version 2 away', () => {
    const m = views();
    expect(m.l0.length).toBe(3);
    const rewritten = decodeManifest(encodeManifest({ ...m, headerVersion: 1, segments: undefined })).manifest;
    expect(new Set(rewritten.l0.map((v) => v.viewId)).size).toBe(2);
    expect(brokenRules(rewritten)).toEqual([]);
  });

  it('is sound in version 1 only if no key is shown twice', () => {
    expect(brokenRules(listed([from('k'), open], [open, until('c')], [from('c'), until('k')]))).toEqual([]);
    const twice = [expect.stringMatching(/lists view \w+ twice/)];
    expect(brokenRules(listed([open, until('d')], [from('c'), open]))).toEqual(twice);
    expect(brokenRules(listed([from('a'), { kind: 'included', key: key('c') }], [from('c'), open]))).toEqual(twice);
    expect(brokenRules(listed([open, until('c')], [open, until('c')]))).toEqual(twice);
    const m = listed([open, until('c')], [from('c'), open]);
    m.l0[1] = { ...m.l0[1], visibleRange: undefined };
    expect(brokenRules(m)).toEqual(twice);
  });

  it('is sound in version 2 under one view id as long as no key is shown twice', () => {
    const m = views();
    expect(brokenRules(m)).toEqual([]);
    const { table } = m.l0[1];
    const view = (start: Bound, end: Bound): TableView => ({ viewId: table.id, table, visibleRange: { start, end } });
    expect(brokenRules({ ...m, l0: [view(open, until('c')), view(from('c'), open)] })).toEqual([]);
    const twice = [expect.stringMatching(/lists view \w+ twice/)];
    expect(brokenRules({ ...m, l0: [view(open, until('d')), view(from('c'), open)] })).toEqual(twice);
    expect(brokenRules({ ...m, l0: [view(open, open), view(from('c'), open)] })).toEqual(twice);
    expect(
      brokenRules({ ...m, l0: [{ ...view(open, open), visibleRange: undefined }, view(open, until('c'))] }),
    ).toEqual(twice);
    // Also where one is in level 0 and the other one in a run.
    const run = { id: 7, views: [view(from('c'), open)] };
    expect(brokenRules({ ...m, l0: [view(open, until('d'))], runs: [run] })).toEqual(twice);
    expect(brokenRules({ ...m, l0: [view(open, until('c'))], runs: [run] })).toEqual([]);
  });
});

describe('sorted runs', () => {
  const base = views();
  const { table } = base.l0[0];
  const info = { ...table.info, firstEntry: key('b'), lastEntry: key('k') };
  const cut = (n: number, start: Bound, end: Bound): TableView => ({
    viewId: `01M7Q5CQG1000000000000000${n}` as TableView['viewId'],
    table: { ...table, info },
    visibleRange: { start, end },
  });
  const whole = (n: number, first: string, last: string): TableView => ({
    viewId: `01M7Q5CQG1000000000000001${n}` as TableView['viewId'],
    table: {
      ...table,
      id: `01M7Q5CQG1000000000000002${n}` as TableView['viewId'],
      info: { ...info, firstEntry: key(first), lastEntry: key(last) },
    },
    visibleRange: undefined,
  });
  const withRuns = (...runs: Manifest['runs']): Manifest => ({ ...base, l0: [], runs });

  it('are in order by their place, whatever their ids', () => {
    const runs = [3, 9, 1].map((id, i) => ({ id, views: [whole(i, 'a', 'z')] }));
    expect(brokenRules(withRuns(...runs))).toEqual([]);
  });

  it('have one id each', () => {
    const runs = [3, 1, 3].map((id, i) => ({ id, views: [whole(i, 'a', 'z')] }));
    expect(brokenRules(withRuns(...runs))).toEqual(['the root tree lists run 3 twice']);
    const segments = [{ ...base, l0: [], runs: [{ id: 3, views: [whole(5, 'a', 'z')] }], prefix: key('a') }];
    expect(brokenRules({ ...withRuns(runs[0]), segments })).toEqual([]);
  });

  it('may be empty', () => {
    expect(
      brokenRules(withRuns({ id: 2, views: [] }, { id: 1, views: [whole(1, 'a', 'b')] }, { id: 0, views: [] })),
    ).toEqual([]);
  });

  it('show one table several times, beside others, as long as the keys ascend', () => {
    const after = (text: string): Bound => ({ kind: 'excluded', key: key(text) });
    const upTo = (text: string): Bound => ({ kind: 'included', key: key(text) });
    const pieces = [cut(1, open, until('d')), whole(1, 'd', 'f'), cut(2, after('f'), upTo('g')), whole(2, 'g', 'h')];
    expect(brokenRules(withRuns({ id: 4, views: pieces }))).toEqual([]);
    const overlap = ['tables of run 4 of the root tree overlap'];
    for (const views of [
      [cut(1, open, upTo('d')), cut(2, from('d'), open)],
      [cut(1, open, until('e')), whole(1, 'd', 'f')],
      [whole(1, 'd', 'f'), cut(2, from('e'), open)],
      [cut(2, from('f'), open), cut(1, open, until('d'))],
      [whole(1, 'a', 'f'), cut(1, open, until('d'))],
    ]) {
      expect(brokenRules(withRuns({ id: 4, views }))).toEqual(overlap);
    }
  });

  it('may end one table and begin the next with versions of one key', () => {
    expect(brokenRules(withRuns({ id: 4, views: [whole(1, 'a', 'd'), whole(2, 'd', 'f')] }))).toEqual([]);
  });
});
