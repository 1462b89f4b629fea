// What is legal in a manifest but seldom is named in words, because a changed bit may be the reason for it.
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import { encodeManifest } from '../../../src/format/manifest-codec.ts';
import type { Manifest } from '../../../src/format/manifest-types.ts';
import { manifestPath } from '../../../src/format/object-names.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import {
  type LoadedManifest,
  loadManifest,
  NO_WITNESS,
  sealManifest,
} from '../../../src/lsm/manifest/manifest-store.ts';
import { contradictions, hasLostItsSeal, oddities } from '../../../src/recovery/manifest-cross-check.ts';
import { goldenBytes } from '../../support/golden-fixtures.ts';

const load = (id: number) => loadManifest(id, goldenBytes('slatedb-0.17.0/tiny', `db/${manifestPath(id)}`));
const before = load(4);
const newest = load(5);

function changed(loaded: LoadedManifest, change: Partial<Manifest>): LoadedManifest {
  return { ...loaded, manifest: { ...loaded.manifest, ...change } };
}

describe('a view in the next manifest', () => {
  const [view, ...others] = newest.manifest.l0;
  const upTo = (key: number) =>
    ({ start: { kind: 'unbounded' }, end: { kind: 'excluded', key: Uint8Array.of(key) } }) as const;
  const from = (key: number) =>
    ({ start: { kind: 'included', key: Uint8Array.of(key) }, end: { kind: 'unbounded' } }) as const;
  const shared = [
    { ...view, visibleRange: upTo(9) },
    { ...view, visibleRange: from(9) },
  ];
  const broken = (l0: Manifest['l0'], previousL0: Manifest['l0']) =>
    contradictions(6, changed(newest, { l0 }).manifest, {
      previous: changed(newest, { l0: previousL0 }).manifest,
      replayed: undefined,
    });

  it('shows what it showed before, also where several share an id', () => {
    expect(broken([view, ...others], [view, ...others])).toEqual([]);
    expect(broken([...shared, ...others], [...shared, ...others])).toEqual([]);
  });

  it('is damage if it shows another range under the same id', () => {
    const says = [`view ${view.viewId} of table ${view.table.id} shows another range than in the manifest before`];
    expect(broken([{ ...view, visibleRange: upTo(9) }, ...others], [view, ...others])).toEqual(says);
    expect(broken([shared[0], { ...view, visibleRange: from(8) }, ...others], [...shared, ...others])).toEqual(says);
  });

  it('may be a piece of one under an id of its own', () => {
    const piece = { ...view, viewId: '01M7YM7C66Y3QX79BMTWD73ZD0' as Ulid, visibleRange: upTo(9) };
    expect(broken([piece, ...others], [view, ...others])).toEqual([]);
  });
});

describe('the oddities of a manifest', () => {
  it('are none in what SlateDB wrote', () => {
    expect(newest.manifest.l0.length).toBeGreaterThan(0);
    expect([oddities(before, load(3)), oddities(newest, before), oddities(newest, undefined)]).toEqual([[], [], []]);
  });

  it('name fields that this program does not know', () => {
    expect(oddities(changed(newest, { hasUnknownFields: true }), before).join()).toMatch(
      /^it has fields that this program/,
    );
  });

  it('name a last log object that went back', () => {
    const ahead = changed(before, { walIdLastSeen: newest.manifest.walIdLastSeen + 64 });
    expect(oddities(newest, ahead).join()).toMatch(/^wal_id_last_seen went back from \d+ to \d+/);
  });

  it('name a view that is called otherwise than its table, or than the same view in the manifest before', () => {
    const id = '01M7YM7C66Y3QX79BMTWD73ZD0' as Ulid;
    const [view, ...others] = newest.manifest.l0;
    const visibleRange = { start: { kind: 'unbounded' }, end: { kind: 'excluded', key: Uint8Array.of(9) } } as const;
    expect(oddities(changed(newest, { l0: [{ ...view, viewId: id }, ...others] }), undefined)).toEqual([
      `the view of table ${view.table.id} is called ${id}; rows are found by the table's name`,
    ]);
    const cut = changed(newest, { l0: [{ ...view, visibleRange, viewId: id }, ...others] });
    expect(oddities(cut, newest)).toEqual([]);
    expect(oddities(cut, cut)).toEqual([]);
    const renamed = changed(newest, { l0: [{ ...view, visibleRange }, ...others] });
    expect(oddities(renamed, cut).length).toBe(1);
  });

  it('name runs whose ids do not descend', () => {
    const withRuns = (...ids: number[]) =>
      oddities(changed(newest, { runs: ids.map((id) => ({ id, views: [] })) }), undefined);
    expect(withRuns(5, 3, 0)).toEqual([]);
    expect(withRuns(1, 3, 0)).toEqual([
      'run 3 has a higher id than a newer one; runs are read in the order of their places',
    ]);
  });

  it('are none about view ids that version 1 does not store', () => {
    const [view, ...others] = newest.manifest.l0;
    const l0 = [{ ...view, viewId: '01M7YM7C66Y3QX79BMTWD73ZD0' as Ulid }, ...others];
    expect(oddities(changed(newest, { headerVersion: 1, l0 }), before)).toEqual([]);
  });
});

describe('a manifest without a seal', () => {
  const { manifest } = newest;
  const author = (role: 'writer' | 'tool') =>
    new Author({
      clock: new ManualClock(),
      random: new SeededRandom(1),
      owner: 'host:1',
      databaseId: new Uint8Array(16),
      role,
    });
  function sealedBy(role: 'writer' | 'tool', sealed: Manifest): LoadedManifest {
    const claim = { id: 5, manifest: sealed, previous: undefined, author: author(role), witness: NO_WITNESS };
    return loadManifest(5, sealManifest({ ...claim, epoch: sealed.writerEpoch, claims: false }).bytes);
  }
  const plain = (next: Manifest) => loadManifest(6, encodeManifest(next));
  const [table, ...others] = manifest.l0;
  const ours = sealedBy('writer', { ...manifest, l0: others });

  it('had one if our writer wrote the one before, in the same epoch, and it has a new table', () => {
    expect(hasLostItsSeal(plain({ ...ours.manifest, l0: [table, ...others] }), ours)).toBe(true);
  });
  it('had one if it says the same as that of our writer before it', () => {
    expect(hasLostItsSeal(plain(ours.manifest), ours)).toBe(true);
  });
  it('had none in another epoch: another writer has taken over', () => {
    for (const by of [1, -1]) {
      const writerEpoch = ours.manifest.writerEpoch + by;
      expect(hasLostItsSeal(plain({ ...ours.manifest, writerEpoch, l0: [table, ...others] }), ours)).toBe(false);
    }
  });
  it('had none if it changes something and adds no table, as a compactor or a collector does', () => {
    expect(hasLostItsSeal(plain({ ...ours.manifest, l0: others.slice(1) }), ours)).toBe(false);
    expect(hasLostItsSeal(plain({ ...ours.manifest, compactorEpoch: manifest.compactorEpoch + 1 }), ours)).toBe(false);
  });
  it('had none after one of a tool, after one without a seal, and after none', () => {
    const next = plain({ ...ours.manifest, l0: [table, ...others] });
    expect(hasLostItsSeal(next, sealedBy('tool', ours.manifest))).toBe(false);
    expect(hasLostItsSeal(next, plain(ours.manifest))).toBe(false);
    expect(hasLostItsSeal(next, undefined)).toBe(false);
  });
  it('is one that has none', () => {
    expect(hasLostItsSeal(sealedBy('writer', { ...ours.manifest, l0: [table, ...others] }), ours)).toBe(false);
  });
});
