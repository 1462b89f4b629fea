/** Views of one table under one id: how they are found, and ids of their own for them. */
import { describe, expect, it } from 'vitest';
import type { Random } from '../../../../src/common/random.ts';
import { SeededRandom } from '../../../../src/common/random.ts';
import { type Ulid, ulidFromBytes, ulidTimeMs, ulidToBytes } from '../../../../src/common/ulid.ts';
import { decodeManifest } from '../../../../src/format/manifest-codec.ts';
import type { Manifest } from '../../../../src/format/manifest-types.ts';
import { tablesWithSeveralViews, withUniqueViewIds } from '../../../../src/lsm/manifest/view-ids.ts';
import { goldenBytes, goldenFixtures } from '../../../support/golden-fixtures.ts';

const newest = (fixture: string, path: string) => decodeManifest(goldenBytes(fixture, path)).manifest;
const union = () => newest('slatedb-0.17.0/union-same-views', 'union/manifest/00000000000000000004.manifest');
const idsOf = (m: Manifest) => m.l0.map((view) => view.viewId);

describe('tables with several views', () => {
  it('are found in one tree, in level 0, in runs and in both, not across trees', () => {
    const m = union();
    const [first, second] = m.l0;
    const { id } = first.table;
    expect(tablesWithSeveralViews(m)).toEqual([id]);
    expect(tablesWithSeveralViews({ ...m, l0: [first] })).toEqual([]);
    expect(tablesWithSeveralViews({ ...m, l0: [first], runs: [{ id: 0, views: [second] }] })).toEqual([id]);
    expect(tablesWithSeveralViews({ ...m, l0: [], runs: [{ id: 0, views: [first, second] }] })).toEqual([id]);
    const segment = { prefix: Uint8Array.of(1), l0: [second], runs: [], lastCompacted: undefined };
    expect(tablesWithSeveralViews({ ...m, l0: [first], segments: [segment] })).toEqual([]);
    expect(tablesWithSeveralViews({ ...m, l0: [], segments: [{ ...segment, l0: [first, second] }] })).toEqual([id]);
  });

  it('are in the fixtures of unions and of an unfinished compaction', () => {
    const found = goldenFixtures()
      .filter(({ expected }) => expected.latest_manifest !== undefined)
      .filter(({ name, expected }) => tablesWithSeveralViews(newest(name, expected.latest_manifest.object)).length > 0);
    expect(found.map(({ name }) => name)).toEqual([
      'slatedb-0.17.0/union-same-views',
      'slatedb-0.18.0/incremental',
      'slatedb-0.18.0/union-of-projections',
    ]);
  });
});

describe('unique view ids', () => {
  it('are of the same time, differ, and leave everything else as it was', () => {
    const m = union();
    const made = withUniqueViewIds(m, new SeededRandom(1));
    const [old] = idsOf(m);
    expect(new Set([...idsOf(made), old]).size).toBe(3);
    for (const id of idsOf(made)) expect(ulidTimeMs(id)).toBe(ulidTimeMs(old));
    expect({ ...made, l0: made.l0.map((view) => ({ ...view, viewId: old })), segments: m.segments }).toEqual(m);
  });

  it('are left alone where they are unique, and in runs', () => {
    const m = union();
    const [first, second] = m.l0;
    const single = { ...m, l0: [first], runs: [{ id: 0, views: [second] }] };
    expect(withUniqueViewIds(single, new SeededRandom(1))).toEqual(single);
    const inRun = { ...m, l0: [], runs: [{ id: 0, views: [first, second] }] };
    expect(withUniqueViewIds(inRun, new SeededRandom(1))).toEqual(inRun);
  });

  it('are drawn again where they meet another view or the marker of the compactor', () => {
    const m = union();
    const [old] = idsOf(m);
    const draws: number[] = [];
    const likeOld: Random = {
      nextUint32: () => 0,
      fill: (bytes) => {
        draws.push(bytes.length);
        bytes.set(ulidToBytes(old).subarray(6));
        // The first draws repeat the old id, then the marker, then the first new one.
        const step = [0, 0, 1, 2, 2, 3][draws.length - 1];
        bytes[9] ^= step;
      },
    };
    const changed = (step: number): Ulid => {
      const bytes = ulidToBytes(old);
      bytes[15] ^= step;
      return ulidFromBytes(bytes);
    };
    const made = withUniqueViewIds({ ...m, lastCompacted: changed(1) }, likeOld);
    expect(idsOf(made)).toEqual([changed(2), changed(3)]);
    expect(draws.length).toBe(6);
  });

  it('are made in segments, too', () => {
    const m = union();
    const segment = { prefix: Uint8Array.of(1), l0: m.l0, runs: [], lastCompacted: undefined };
    const made = withUniqueViewIds({ ...m, l0: [], segments: [segment] }, new SeededRandom(1));
    expect(new Set(made.segments![0].l0.map((view) => view.viewId)).size).toBe(2);
  });
});
