/**
 * Edits of manifests as data: the manifest before, the edit, the manifest after (the notation: manifest-script.ts), and the invariants
 * of manifest-edits.ts that the case is about.
 */
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../../src/common/random.ts';
import { ulidTimeMs } from '../../../../src/common/ulid.ts';
import { decodeManifest, encodeManifest } from '../../../../src/format/manifest-codec.ts';
import type { Manifest } from '../../../../src/format/manifest-types.ts';
import {
  addFlushedRows,
  changeTable,
  claimEpochs,
  describeTables,
  emptyManifest,
  moveReplayPoint,
  putViewBack,
} from '../../../../src/lsm/manifest/manifest-edits.ts';
import { manifestText, parseManifest, parseView, tableId, tableRef } from '../../../support/manifest-script.ts';

/** The words of an edit: what it is, tables, and numbers by their names. */
function apply(m: Manifest, edit: string): Manifest | undefined {
  const [verb, ...rest] = edit.split(/ +/);
  const words = rest.filter((word) => !word.includes('='));
  const given = new Map(rest.filter((word) => word.includes('=')).map((word) => word.split('=') as [string, string]));
  const number = (name: string, absent: number) => (given.has(name) ? Number(given.get(name)) : absent);
  switch (verb) {
    case 'flush':
      return addFlushedRows(m, {
        views: words.map(parseView),
        replayAfterWalId: number('replay', 0),
        walIdLastSeen: number('seen', 0),
        lastSeq: number('seq', 0),
        maxCreateTs: number('created', Number.NEGATIVE_INFINITY),
        ...(given.has('snap') && { recentSnapshotMinSeq: number('snap', 0) }),
      });
    case 'pass':
      return moveReplayPoint(m, number('replay', 0), number('seen', number('replay', 0)));
    case 'claim':
      return claimEpochs(
        m,
        {
          ...(given.has('writer') && { writer: number('writer', 0) }),
          ...(given.has('compactor') && { compactor: number('compactor', 0) }),
        },
        number('end', 0),
      );
    case 'replace':
      return changeTable(m, tableId(words[0]!), (view) =>
        words[1] === undefined ? undefined : { ...view, viewId: tableId(words[1]), table: tableRef(words[1]) },
      );
    case 'composite':
      return describeTables(m, (t) =>
        t.id === tableId(words[0]!) ? { ...t, info: { ...t.info, filterForm: 'composite' } } : t,
      );
    case 'back': {
      const [tree, run, view, parent] = words;
      const external = parent && { path: parent, sourceCheckpointId: 's', finalCheckpointId: undefined, tableIds: [] };
      const lost = { tree: tree === '-' ? '' : Buffer.from(tree!).toString('hex'), run: { id: Number(run) } };
      return putViewBack(m, { ...lost, view: parseView(view!), external: external || undefined }, new SeededRandom(1));
    }
    default:
      throw new Error(`no edit: ${edit}`);
  }
}

const CASES = [
  'nothing                                   | flush A replay=3 seen=4 seq=9 created=70 => l0 A; replay 3; seen 4; seq 9; tick 70 (1, 2)',
  'l0 B A; run 1 C                           | flush D replay=3 seq=9 created=70 => l0 D B A; run 1 C; replay 3; seq 9; tick 70 (1, 4)',
  'l0 A                                      | flush C B replay=3 seq=9 created=70 => l0 C B A; replay 3; seq 9; tick 70 (1: newest first)',
  'l0 A; seq 5; tick 50                      | flush replay=3 seen=3 seq=9 => l0 A; replay 3; seen 3; seq 9; tick 50 (2: no row is left, the tick stays)',
  'seq 5                                     | flush A replay=3 seq=9 => l0 A; replay 3; seq 9; tick 0 (2: a table without a time begins at 0)',
  'replay 7; seen 9; seq 5; tick 90          | flush A replay=3 seen=4 seq=5 created=70 => l0 A; replay 7; seen 9; seq 5; tick 90 (2)',
  'snap 4; seq 5                             | flush A replay=3 seq=9 created=7 => l0 A; replay 3; seq 9; snap 4; tick 7 (4)',
  'snap 4; seq 5                             | flush A replay=3 seq=9 created=7 snap=8 => l0 A; replay 3; seq 9; snap 8; tick 7 (4)',
  'run 3 D; marker B; writer 2; compactor 4  | flush A seq=1 created=7 => l0 A; run 3 D; marker B; seq 1; writer 2; compactor 4; tick 7 (4)',
  'seg p l0 F; cp c 4 until 90; parent q F   | flush A seq=1 created=7 => l0 A; seg p l0 F; seq 1; tick 7; parent q F; cp c 4 until 90 (4)',
  'seq 1                                     | flush A seq=2 created=7.9 => l0 A; seq 2; tick 7 (a tick is a whole number)',
  'l0 A; replay 3; seen 3                    | pass replay=5 => l0 A; replay 5; seen 5 (2)',
  'replay 3; seen 8                          | pass replay=5 => replay 5; seen 8 (2)',
  'replay 7; seen 8                          | pass replay=5 => replay 7; seen 8 (2)',
  'replay 3; seen 3                          | pass replay=4 seen=6 => replay 4; seen 6 (2)',
  'l0 A; writer 2; compactor 5; seen 3       | claim writer=3 end=7 => l0 A; seen 7; writer 3; compactor 5 (2, 4)',
  'writer 2; compactor 5; seen 9             | claim writer=3 compactor=6 end=7 => seen 9; writer 3; compactor 6 (2)',
  'writer 2; compactor 5                     | claim compactor=8 => writer 2; compactor 8 (4)',
  'l0 C B A; run 1 D                         | replace B X => l0 C X A; run 1 D (1)',
  'l0 A; run 2 C B; run 1 B D                | replace B X => l0 A; run 2 C X; run 1 X D (every view)',
  'seg p l0 B A; seg q run 3 B               | replace B X => seg p l0 X A; seg q run 3 X (every tree)',
  'l0 A; run 2 B; run 1 C                    | replace B => l0 A; run 1 C (3: the run goes with its last view)',
  'l0 B; run 2; run 1 C                      | replace B => run 2; run 1 C (3: an empty run stays)',
  'seg p l0 B; seg p run 2 B                 | replace B => nothing (3)',
  'l0 A; run 1 C                             | replace B X => no change (it does not name the table)',
  'loose B; run 1 C                          | replace B X => no change (no view names it)',
  'l0 B A; run 1 B; seg p l0 B; loose B      | composite B => l0 B!composite A; run 1 B!composite; seg p l0 B!composite; loose B (4)',
  'run 2 A C; run 1 D                        | back - 2 B => run 2 A *:B C; run 1 D (3: in the order of keys)',
  'run 2; run 1 D                            | back - 2 B => run 2 *:B; run 1 D (3: the empty run has waited for it)',
  'run 2 B[,bm); run 1 D                     | back - 2 B[bm,) => run 2 B[,bm) *:B[bm,); run 1 D (another view of the table)',
  'seg p run 2 A; run 2 D                    | back p 2 B => run 2 D; seg p run 2 A *:B (the tree that is named)',
  'run 1 D                                   | back - 2 B => run 1 D (the run is gone)',
  'run 2 A; parent q A                       | back - 2 B q => run 2 A *:B; parent q A B (the table of another database)',
  'run 2 A                                   | back - 2 B q => run 2 A *:B; parent q B (whose entry is gone)',
  'run 2 B; parent q B                       | back - 2 B[x,) q => run 2 B *:B[x,); parent q B (no entry twice)',
];

describe('an edit of a manifest', () => {
  it.each(CASES)('%s', (line) => {
    const [, before, edit, after] = /^(.*?) *\| *(.*?) *=> *(.*?) *\(.*\)$/.exec(line)!;
    const m = parseManifest(before!);
    const copy = structuredClone(m);
    const made = apply(m, edit!);
    expect(made === undefined ? 'no change' : manifestText(made)).toBe(after);
    expect(m).toEqual(copy);
  });

  it('that would take rows or epochs back is a fault of the program', () => {
    const m = parseManifest('seq 9; writer 3; compactor 2');
    for (const edit of ['flush A seq=8', 'claim writer=2', 'claim compactor=1']) {
      expect(() => apply(m, edit)).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
    }
  });

  it('that puts a view back gives it an id of the same time', () => {
    const made = apply(parseManifest('run 2 A'), 'back - 2 B')!;
    expect(ulidTimeMs(made.runs[0]!.views[1]!.viewId)).toBe(ulidTimeMs(tableId('B')));
  });
});

describe('the manifest of an empty database', () => {
  it.each([1, 2] as const)('can be stored in version %s', (version) => {
    for (const hasWalStore of [false, true]) {
      const m = emptyManifest(version, hasWalStore);
      expect(decodeManifest(encodeManifest(m)).manifest).toEqual(m);
    }
  });
});
