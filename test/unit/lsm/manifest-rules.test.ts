import { describe, expect, it } from 'vitest';
import { decodeManifest, encodeManifest } from '../../../src/format/manifest-codec.ts';
import type { Bound, Manifest, TableView } from '../../../src/format/manifest-types.ts';
import { brokenRules } from '../../../src/lsm/manifest-rules.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';

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

  it('is damage in version 2 if the view ids are the same', () => {
    const m = views();
    expect(brokenRules(m)).toEqual([]);
    m.l0[2] = { ...m.l0[2], viewId: m.l0[1].viewId };
    expect(brokenRules(m)).toEqual([expect.stringMatching(/lists view \w+ twice/)]);
  });
});
