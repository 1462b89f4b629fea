/** What differs between manifests, in words: every field of the format has some, and none of them holds a key. */
import { describe, expect, it } from 'vitest';
import { decodeManifest } from '../../../src/format/manifest-codec.ts';
import { type Manifest, NO_TICK, type TableRef, type TableView } from '../../../src/format/manifest-types.ts';
import { changeText, manifestChanges, tickText, trackerText } from '../../../src/tools/manifest-changes.ts';
import { goldenFixture, goldenFixtures } from '../../support/golden-fixtures.ts';
import { tableId } from '../../support/manifest-script.ts';
import { parseTrees } from '../../support/tree-notation.ts';

const bytes = (...values: number[]) => Uint8Array.of(...values);
const of = (text: string): Manifest => parseTrees(text).manifest;
const texts = (a: Manifest, b: Manifest) => manifestChanges(a, b).map(changeText);

/** Two runs, level 0, a segment, a checkpoint, a parent and a table that no view names. */
function rich(): Manifest {
  const m = of('L0: 10 20^ | 7:100<a,m>+100<n,z> 3:400; p L0: 10 | 20');
  return {
    ...m,
    lastCompacted: tableId('T0'),
    checkpoints: ['a', 'b'].map((name) => ({
      id: name.repeat(8),
      manifestId: 3,
      expireTimeS: 100,
      createTimeS: 50,
      writerEpoch: undefined,
      name,
    })),
    unviewedTables: [of('L0: 5').l0[0]!.table],
  };
}

const ref = (m: Manifest): TableRef => m.l0[0]!.table;
const view = (m: Manifest): TableView => m.l0[0]!;

describe('what differs', () => {
  it.each<[string, (m: Manifest) => Partial<Manifest>, string | RegExp]>([
    ['headerVersion', () => ({ headerVersion: 1 }), 'header version: 2 → 1'],
    ['initialized', () => ({ initialized: false }), 'initialized: true → false'],
    ['writerEpoch', () => ({ writerEpoch: 9 }), 'writer epoch: 0 → 9'],
    ['compactorEpoch', () => ({ compactorEpoch: 9 }), 'compactor epoch: 0 → 9'],
    ['replayAfterWalId', () => ({ replayAfterWalId: 9 }), 'replay point: 0 → 9'],
    ['walIdLastSeen', () => ({ walIdLastSeen: 9 }), 'last WAL id seen: 0 → 9'],
    [
      'lastL0ClockTick',
      () => ({ lastL0ClockTick: 1_795_250_436_364n }),
      'last clock tick in tables: none → 2026-11-21T08:40:36.364Z',
    ],
    ['lastL0Seq', () => ({ lastL0Seq: 9 }), 'last sequence number in tables: 0 → 9'],
    ['recentSnapshotMinSeq', () => ({ recentSnapshotMinSeq: 9 }), 'least sequence number of snapshots: 0 → 9'],
    ['walStoreUri', () => ({ walStoreUri: '' }), 'store of the log: that of the tables → another one'],
    ['segmentExtractorName', () => ({ segmentExtractorName: 'f' }), 'extractor of segments: none → f'],
    [
      'sequenceTracker',
      () => ({ sequenceTracker: bytes(7) }),
      'sequence tracker: none → 1 bytes that cannot be decoded',
    ],
    ['hasUnknownFields', () => ({ hasUnknownFields: true }), 'fields that this program does not know: false → true'],
    ['lastCompacted', () => ({ lastCompacted: undefined }), /^newest L0 table that a compaction consumed: \w+ → none$/],
    ['a view more', (m) => ({ l0: [...of('L0: 7=NEW').l0, ...m.l0] }), /^L0 table \w+ \(view \w+\) added$/],
    ['a view less', (m) => ({ l0: m.l0.slice(1) }), /^L0 table \w+ removed$/],
    ['a view twice', (m) => ({ l0: [view(m), ...m.l0] }), /^L0 table \w+ added$/],
    ['the order of level 0', (m) => ({ l0: [...m.l0].reverse() }), 'the L0 tables are in another order'],
    [
      'a range of a view',
      (m) => ({
        l0: [
          { ...view(m), visibleRange: { start: { kind: 'included', key: bytes(99) }, end: { kind: 'unbounded' } } },
          ...m.l0.slice(1),
        ],
      }),
      /^L0 table \w+ shows another part of its keys$/,
    ],
    [
      'what is stated about a table',
      (m) => ({
        l0: [{ ...view(m), table: { ...ref(m), info: { ...ref(m).info, codec: 'zstd' } } }, ...m.l0.slice(1)],
      }),
      /^what is stated about table \w+ differs in codec$/,
    ],
    [
      'the filter form of a table',
      (m) => ({
        l0: [{ ...view(m), table: { ...ref(m), info: { ...ref(m).info, filterForm: 'composite' } } }, ...m.l0.slice(1)],
      }),
      /differs in filterForm$/,
    ],
    ['a run less', (m) => ({ runs: m.runs.slice(1) }), 'run 7 removed'],
    ['the order of runs', (m) => ({ runs: [...m.runs].reverse() }), 'the runs are in another order'],
    ['the id of a run', (m) => ({ runs: [{ ...m.runs[0]!, id: 9 }, m.runs[1]!] }), 'run 9 added'],
    [
      'a table of a run',
      (m) => ({ runs: [{ ...m.runs[0]!, views: m.runs[0]!.views.slice(1) }, m.runs[1]!] }),
      /^table \w+ \(view \w+\) removed from run 7$|^table \w+ removed from run 7$/,
    ],
    [
      'a checkpoint less',
      (m) => ({ checkpoints: m.checkpoints.slice(1) }),
      'checkpoint a (aaaaaaaa) on manifest 3 removed',
    ],
    [
      'the expiry of a checkpoint',
      (m) => ({ checkpoints: [{ ...m.checkpoints[0]!, expireTimeS: 0 }, m.checkpoints[1]!] }),
      'checkpoint a (aaaaaaaa) on manifest 3: without end instead of until 1970-01-01T00:01:40.000Z',
    ],
    [
      'the name of a checkpoint',
      (m) => ({ checkpoints: [{ ...m.checkpoints[0]!, name: 'c' }, m.checkpoints[1]!] }),
      'checkpoint c (aaaaaaaa) on manifest 3: name: a → c',
    ],
    [
      'the manifest of a checkpoint',
      (m) => ({ checkpoints: [{ ...m.checkpoints[0]!, manifestId: 4 }, m.checkpoints[1]!] }),
      'checkpoint a (aaaaaaaa) on manifest 4: manifest: 3 → 4',
    ],
    [
      'when a checkpoint was made',
      (m) => ({ checkpoints: [{ ...m.checkpoints[0]!, createTimeS: 51 }, m.checkpoints[1]!] }),
      /created: 1970-01-01T00:00:50.000Z → 1970-01-01T00:00:51.000Z$/,
    ],
    [
      'the epoch of a checkpoint',
      (m) => ({ checkpoints: [{ ...m.checkpoints[0]!, writerEpoch: 2 }, m.checkpoints[1]!] }),
      /writer epoch: none → 2$/,
    ],
    [
      'the order of checkpoints',
      (m) => ({ checkpoints: [...m.checkpoints].reverse() }),
      'the checkpoints are in another order',
    ],
    ['another database less', () => ({ externalDbs: [] }), 'other database parent at checkpoint s removed'],
    [
      'the checkpoint in another database',
      (m) => ({ externalDbs: [{ ...m.externalDbs[0]!, finalCheckpointId: 'f' }] }),
      'other database parent at checkpoint s: final checkpoint: none → f',
    ],
    [
      'a table of another database',
      (m) => ({ externalDbs: [{ ...m.externalDbs[0]!, tableIds: [] }] }),
      /^table of parent \w+ removed$/,
    ],
    ['a table without a view', () => ({ unviewedTables: [] }), /^table without a view \w+ removed$/],
    ['no list of segments', () => ({ segments: undefined }), 'segments: 1 → no list'],
    [
      'the prefix of a segment',
      (m) => ({ segments: [{ ...m.segments![0]!, prefix: bytes(1) }] }),
      'the segments are others',
    ],
    [
      'a table of a segment',
      (m) => ({ segments: [{ ...m.segments![0]!, l0: [] }] }),
      /^in a segment: L0 table \w+ removed$/,
    ],
  ])('in %s is said', (_, change, expected) => {
    const before = rich();
    const now = { ...before, ...change(before) };
    const said = texts(before, now);
    expect(said).toEqual(
      expect.arrayContaining([typeof expected === 'string' ? expected : expect.stringMatching(expected)]),
    );
    // The other way round as well.
    expect(texts(now, before).length).toBeGreaterThan(0);
    expect(texts(before, before)).toEqual([]);
  });

  it('names the prefix of a segment beside the words and not in them', () => {
    const changes = manifestChanges(of('L0: ; secret L0: 10'), of('L0: ; secret L0: 20=OTHER'));
    expect(changes.length).toBeGreaterThan(0);
    for (const { text, segment } of changes) {
      expect(text).not.toMatch(/secret|736563726574/);
      expect(new TextDecoder().decode(segment)).toBe('secret');
    }
  });

  it('is nothing between a manifest and itself, and something between neighbours, in every database of SlateDB', () => {
    let pairs = 0;
    for (const { name, objects } of goldenFixtures()) {
      const manifests = objects
        .filter(({ path }) => path.endsWith('.manifest'))
        .map(({ path, bytes: stored }) => ({ path, stored, manifest: decodeManifest(stored).manifest }));
      manifests.forEach(({ path, stored, manifest }, i) => {
        expect(texts(manifest, decodeManifest(stored).manifest), `${name} ${path}`).toEqual([]);
        const before = manifests[i - 1];
        if (before === undefined || Buffer.compare(before.stored, stored) === 0) return;
        pairs++;
        expect(texts(before.manifest, manifest), `${name} ${path}`).not.toEqual([]);
      });
    }
    expect(pairs).toBeGreaterThan(100);
  });

  it('in what a compaction of SlateDB committed is the tables that went and the run that came', () => {
    const { objects } = goldenFixture('slatedb-0.17.0/compacted');
    const [before, now] = [14, 15].map(
      (id) => decodeManifest(objects.find(({ path }) => path.endsWith(`${id}.manifest`))!.bytes).manifest,
    );
    expect(texts(before!, now!)).toEqual([
      'L0 table 01M7YM7E0BJGEAGF0W9GMFM753 removed',
      'L0 table 01M7YM7DRB8T046VQCPXZ2A8PD removed',
      'L0 table 01M7YM7DG6N0QZZ9RG3GVTYV43 removed',
      'L0 table 01M7YM7D82T70YTCV35JXRK7JC removed',
      'run 1 added',
      'table 01M7YM7E1SEBPYRMT796YGMKAE added to run 1',
      'newest L0 table that a compaction consumed: 01M7YM7CZZ04SKQ96D1P6XC2RM → 01M7YM7E0BJGEAGF0W9GMFM753',
    ]);
  });
});

describe('the words for', () => {
  it.each([
    [NO_TICK, 'none'],
    [0n, '1970-01-01T00:00:00.000Z'],
    [-1n, '-1'],
    [2n ** 62n, '4611686018427387904'],
  ])('the tick %s', (tick, text) => {
    expect(tickText(tick)).toBe(text);
  });

  it('a tracker say how many pairs it has, also if it cannot be decoded', () => {
    const tracker = Buffer.from('010100000000000001000000000000000100000001000000006b015902', 'hex');
    expect(trackerText(tracker)).toBe('version 1, 1 pair up to 1 at 2026-11-21T08:40:34.000Z');
    expect(trackerText(bytes(9, 9))).toBe('2 bytes that cannot be decoded');
    expect(trackerText(bytes())).toBe('0 bytes that cannot be decoded');
    expect(trackerText(undefined)).toBe('none');
  });
});
