/**
 * Which of the legal forms are written: `compatibility | what the database shows => header, fence, filter, tracker`. Shown can be `v1` or
 * `v2` (its newest manifest), `empty fence`, `boundary`, `compactions N`, and `settles` where the store shows whose an empty object is.
 */
import { describe, expect, it } from 'vitest';
import { IncompatibleError } from '../../../src/common/errors.ts';
import type { Compatibility } from '../../../src/db/open-options.ts';
import { assertProfileHolds, chooseProfile, manifestHeader } from '../../../src/db/profile.ts';
import type { Manifest, TableView } from '../../../src/format/manifest-types.ts';
import { emptyManifest } from '../../../src/lsm/manifest/manifest-edits.ts';
import type { Discovery } from '../../../src/recovery/discovery.ts';

const CASES = `
  auto | v1                                  => 1 table legacy keeps
  auto | v2                                  => 2 table legacy keeps
  auto | v1 settles                          => 1 table legacy keeps
  auto | v2 settles empty fence              => 2 zero-bytes legacy keeps
  auto | v2 settles boundary                 => 2 zero-bytes legacy keeps
  auto | v1 settles compactions 2            => 1 zero-bytes legacy keeps
  auto | v1 settles compactions 1            => 1 table legacy keeps
  auto | v2 empty fence boundary             => 2 table legacy keeps
  slatedb-0.12 | v1                          => 1 table legacy narrows
  slatedb-0.12 | v2 settles empty fence      => 1 table legacy narrows
  slatedb-0.17 | v1                          => 2 table composite keeps
  slatedb-0.17 | v1 settles                  => 2 zero-bytes composite keeps
  slatedb-0.17 | v2 boundary                 => 2 table composite keeps
`;

describe('the profile', () => {
  it.each(
    CASES.trim()
      .split('\n')
      .map((line) => [line.trim().replace(/ +/g, ' ')]),
  )('%s', (line) => {
    const [compatibility, shown, expected] = line.split(/ \| | => /);
    const found = {
      newest: { manifest: emptyManifest(shown.startsWith('v1') ? 1 : 2, false) },
      boundary: { exists: shown.includes('boundary'), value: 0 },
      compactionsVersion: /compactions (\d)/.exec(shown)?.slice(1).map(Number)[0],
    } as Discovery;
    const p = chooseProfile(
      compatibility as Compatibility,
      found,
      shown.includes('empty fence'),
      shown.includes('settles'),
    );
    const tracker = p.keepsWideTracker ? 'keeps' : 'narrows';
    expect(`${p.manifestHeader} ${p.fence} ${p.filter} ${tracker}`).toBe(expected);
    // Programs that write version 1 call every filter legacy.
    expect(p.filter === 'legacy' || p.manifestHeader === 2).toBe(true);
  });

  it('of a new database is one that every SlateDB opens', () => {
    expect(manifestHeader('auto', undefined)).toBe(1);
  });
});

describe('several views of one table', () => {
  const view = (table: string, viewId: string) => ({ viewId, table: { id: table } }) as TableView;
  const several = (headerVersion: 1 | 2): Manifest => ({
    ...emptyManifest(headerVersion, false),
    l0: [view('A', 'v1'), view('B', 'v2')],
    runs: [{ id: 1, views: [view('A', 'v3')] }],
  });

  it.each<[Compatibility, 1 | 2, string]>([
    ['auto', 2, 'holds'],
    ['slatedb-0.17', 1, 'holds'],
    ['slatedb-0.17', 2, 'holds'],
    ['auto', 1, "Open it with compatibility 'slatedb-0.17'"],
    ['slatedb-0.12', 1, "Open it with compatibility 'slatedb-0.17'"],
    ['slatedb-0.12', 2, "Leave the option out, or open it with 'slatedb-0.17'"],
  ])('under %s of a manifest of version %i: %s', (compatibility, header, expected) => {
    try {
      assertProfileHolds(compatibility, several(header), 'memory');
      expect('holds').toBe(expected);
    } catch (error) {
      if (!(error instanceof IncompatibleError)) throw error;
      expect(error.code).toBe('PROFILE_UNSUITABLE');
      expect(error.message).toContain(expected);
      expect(error.details['tables']).toEqual(['A']);
    }
  });

  it('are no reason where each table has one', () => {
    const manifest = { ...emptyManifest(1, false), l0: [view('A', 'A'), view('B', 'B')] };
    expect(() => assertProfileHolds('slatedb-0.12', manifest, 'memory')).not.toThrow();
  });
});
