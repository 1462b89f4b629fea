/**
 * What goes and why the rest stays, as data. A line: manifests, after the bar what else is known (the notation: live-set-script.ts), after the
 * next bar an object of a list, and after the arrow what becomes of it with the rules of collectable.ts that it shows.
 *
 *   table A_10 at 100              written at 100 s by the clock of the store, the id drawn at 10 s; both after START_MS
 *   wal 3 of 0 at 100              of so many bytes, 5,000 if none are named
 *   manifest 4 at - | manifest 4 at 100 unclocked   the list does not say when, or not what time it is
 *
 * Beside what that notation knows: `collect` and `boundary` for fences, `rows 3` and `fence 3` for objects of the log that were read,
 * `loss r` for an open loss of the repair `r`, `hold table` for a class that is held back, `no file` for no compactions file.
 * The store's time is that of `now`; a job C_50 has ended unless others are named. Levels 0 have tables of 60 s.
 */
import { describe, expect, it } from 'vitest';
import type { GcClass } from '../../../src/common/collector-role.ts';
import type { Ulid } from '../../../src/common/ulid.ts';
import { compactionsPath, manifestPath, quarantinePath, tablePath, walPath } from '../../../src/format/object-names.ts';
import { assertMayGo, decide, type GcRules, stayText, tableCutoffs } from '../../../src/gc/collectable.ts';
import { liveSet } from '../../../src/lsm/manifest/live-set.ts';
import type { ListedObject } from '../../../src/store/object-store.ts';
import { thrown } from '../../support/database.ts';
import { parseLiveSetInput } from '../../support/live-set-script.ts';
import { START_MS, tableId, tableName } from '../../support/manifest-script.ts';

const REPAIR = `r-${'a'.repeat(24)}`;

function pathOf(kind: string, name: string): string {
  switch (kind) {
    case 'table':
      return tablePath(tableId(name));
    case 'wal':
      return walPath(Number(name));
    case 'manifest':
      return manifestPath(Number(name));
    case 'compactions':
      return compactionsPath(Number(name));
    case 'copy':
      return quarantinePath(REPAIR, name);
    default:
      return name;
  }
}

function parseObject(text: string, nowS: number): ListedObject {
  const [kind, name, ...more] = text.trim().split(/ +/);
  const after = (word: string) => more[more.indexOf(word) + 1];
  const at = after('at');
  return {
    path: pathOf(kind!, name!),
    size: more.includes('of') ? Number(after('of')) : 5000,
    etag: '"1"',
    lastModifiedMs: at === '-' ? 0 : START_MS + Number(at) * 1000,
    ...(!more.includes('unclocked') && { storeTimeMs: START_MS + nowS * 1000 }),
  };
}

interface Case {
  object: ListedObject;
  rules: GcRules;
}

function parseCase(manifests: string, facts: string, object: string): Case {
  const has = (word: string) => new RegExp(`\\b${word}\\b`).test(facts);
  const all = (pattern: RegExp) => [...facts.matchAll(pattern)].map(([, found]) => found!);
  const withJob = /\bjob |no file/.test(facts) ? facts : `${facts}, job C_50 completed`;
  const input = parseLiveSetInput(manifests.replaceAll('REPAIR', REPAIR), withJob.replaceAll('REPAIR', REPAIR));
  const nowS = input.nowS ?? 1000;
  const held = all(/hold (\w+)/g).map((name): [GcClass, { kind: 'no-if-match' }] => [
    name as GcClass,
    { kind: 'no-if-match' },
  ]);
  return {
    object: parseObject(object, nowS),
    rules: {
      // Times of checkpoints and outputs are those of the notation, without START_MS.
      live: liveSet(input),
      cutoffs: tableCutoffs(input.newest.manifest, input.compactions?.compactions),
      settings: { minAgeMs: 300_000, fences: has('collect') ? 'collect' : 'keep' },
      held: new Map(held),
      hasBoundary: has('boundary'),
      logKinds: new Map([
        ...all(/rows (\d+)/g).map((id) => [Number(id), 'rows'] as const),
        ...all(/fence (\d+)/g).map((id) => [Number(id), 'fence'] as const),
      ]),
      losses: all(/loss (\w*)/g).map((id) => ({ id: 'f1', repairId: id === 'r' ? REPAIR : id, state: 'open' })),
      plans: input.plans ?? [],
    },
  };
}

function answer({ object, rules }: Case): string {
  const { stays, class: ofKind } = decide(object, rules);
  if (stays === undefined) {
    assertMayGo(object.path, rules);
    return `${ofKind} goes`;
  }
  const text = stayText(stays);
  return text
    .replaceAll(/01J[0-9A-Z]{23}/g, (id) => tableName(id as Ulid))
    .replaceAll(/\d{4}-[\d-]+T[\d:.]+Z/g, (at) => `${(Date.parse(at) - START_MS) / 1000} s`)
    .replaceAll(REPAIR, 'REPAIR');
}

const CASES = [
  // Tables.
  '5: l0 N_60; run 1 M_10    |                          | table A_10 at 100 => table goes (G4, G5, G8)',
  '5: l0 N_60 A_10           |                          | table A_10 at 100 => is needed by manifest 5, the newest (G2)',
  '5: l0 N_60 / 4: l0 A_10   | keep 3                   | table A_10 at 100 => is needed by manifest 4, one of the newest (G2)',
  '5: l0 N_60 / 4: l0 A_10   | keep 1                   | table A_10 at 100 => table goes (G2)',
  '5: l0 N_60; cp c 2 / 2: run 1 A_10 |                 | table A_10 at 100 => is needed by checkpoint c on manifest 2 (G2)',
  '5: l0 N_60                | job J_55 running to A_10 | table A_10 at 100 => is needed by compaction J_55 (running), as output (G2)',
  '5: l0 N_60                | job J_55 running run 1 to B_58 | table B_58 at 60 => is needed by compaction J_55 (running), as output (G2)',
  '5: l0 N_60                | plan REPAIR 2 makes A_10 | table A_10 at 100 => is needed by attempt 2 at repair REPAIR (G2)',
  '5: l0 N_60                |                          | table A_49 at 100 => table goes (G4: below the oldest job)',
  '5: l0 N_60                |                          | table A_50 at 100 => may be under way: a job of a compactor began at 50 s, and the table is not older (G4)',
  '5: l0 N_60                | job J_55 running, job C_50 completed | table A_52 at 100 => may be under way: a job of a compactor began at 50 s, and the table is not older (G4: finished entries count)',
  '5: l0 N_60                | job J_40 failed, job C_50 completed  | table A_45 at 100 => may be under way: a job of a compactor began at 40 s, and the table is not older (G4: the least of all)',
  '5: l0 N_60                | no file                  | table A_10 at 100 => stays because no compactions file names a job, so it is unknown which tables a compactor has under way (G4)',
  '5: l0 N_30                |                          | table A_30 at 100 => may be under way: the newest table of level 0 is of 30 s, and this one is not older (G5)',
  '5: l0 N_30                |                          | table A_29 at 100 => table goes (G5)',
  '5: l0 N_20 L_30           |                          | table A_29 at 100 => table goes (G5: the greatest of a tree, whatever their order)',
  '5: l0 N_30; seg p l0 F_45 |                          | table A_44 at 100 => table goes (G5: of the tree with the greatest one)',
  '5: seg p l0 F_30; seg q marker M_45 |                | table A_44 at 100 => table goes (G5: the marker of a tree without level 0)',
  '5: l0 N_30; marker M_45   |                          | table A_40 at 100 => may be under way: the newest table of level 0 is of 30 s, and this one is not older (G5: the marker only without level 0)',
  '5: marker M_45            |                          | table A_44 at 100 => table goes (G5)',
  '5: run 1 M_10             |                          | table A_10 at 100 => may be under way: no table of level 0 was ever committed (G5)',
  '5: l0 N_60                |                          | table A_10 at 701 => is too young until 1001 s (G8)',
  '5: l0 N_60                |                          | table A_10 at 700 => table goes (G8)',
  '5: l0 N_60                |                          | table A_10 at 4600 => is too young until 4900 s (G8: written in the future)',
  '5: l0 N_60                |                          | table A_10 at -   => stays because the store does not say when it was written, or what time it is (G7)',
  '5: l0 N_60                |                          | table A_10 at 100 unclocked => stays because the store does not say when it was written, or what time it is (G7)',
  '5: l0 N_60                |                          | table A_55 at 900 => may be under way: a job of a compactor began at 50 s, and the table is not older (G4, G8: age comes last)',
  '5: l0 N_60; parent q A_10 |                          | table A_10 at 100 => table goes (G2: a table of a parent is in the parent)',
  '5: l0 N_60                | hold table               | table A_10 at 100 => stays because the store does not honour If-Match, so that no boundary file can be raised (G3)',
  '5: l0 N_60 A_10           | hold table               | table A_10 at 100 => is needed by manifest 5, the newest (G2, G3)',
  '5: l0 N_60                |                          | file compacted/notes.txt at 100 => is not named as an object of a database, so another program put it there; it is never touched (G1)',
  '5: l0 N_60                |                          | file compacted/01j00000000000000000000000.sst at 100 => is not named as an object of a database, so another program put it there; it is never touched (G1)',
  '5: l0 N_60                |                          | file .deleting at 100 => is not named as an object of a database, so another program put it there; it is never touched (G1)',
  // Manifests and compactions files.
  '9: nothing                |                          | manifest 5 at 100 => manifest goes (G2)',
  '9: nothing                |                          | manifest 9 at 100 => is needed by manifest 9, the newest (G2)',
  '9: nothing / 8: nothing / 7: nothing | keep 3        | manifest 7 at 100 => is needed by manifest 7, one of the newest (G2)',
  '9: nothing / 8: nothing / 7: nothing | keep 3        | manifest 6 at 100 => manifest goes (G2)',
  '9: cp c 5 / 5: nothing    |                          | manifest 5 at 100 => is needed by checkpoint c on manifest 5 (G2)',
  '9: nothing                | plan REPAIR 1 reads manifest/5 | manifest 5 at 100 => is needed by attempt 1 at repair REPAIR (G2)',
  '9: nothing                | hold manifest            | manifest 5 at 100 => stays because the store does not honour If-Match, so that no boundary file can be raised (G3)',
  '9: nothing                |                          | manifest 5 at 900 => is too young until 1200 s (G8)',
  '9: nothing                |                          | compactions 8 at 100 => compactions goes (G2)',
  '9: nothing                |                          | compactions 9 at 100 => is the newest of its kind (G2)',
  '9: nothing                |                          | compactions 10 at 100 => is the newest of its kind (G2: a list that came later)',
  '9: nothing                | no file                  | compactions 3 at 100 => is the newest of its kind (G2: a list that came later)',
  // The log.
  '9: replay 7               |                          | wal 6 at 100 => log goes (G2)',
  '9: replay 7               |                          | wal 7 at 100 => is needed by manifest 9, the newest (G2)',
  '9: replay 7 / 8: replay 4 | keep 3                   | wal 4 at 100 => is needed by manifest 8, one of the newest (G2)',
  '9: replay 7 / 8: replay 4 | keep 3                   | wal 3 at 100 => log goes (G2)',
  '9: replay 7; cp c 5 / 5: replay 2; seen 4 |          | wal 4 at 100 => is needed by checkpoint c on manifest 5 (G2)',
  '9: replay 7; cp c 5 / 5: replay 2; seen 4 |          | wal 5 at 100 => log goes (G2: after what the checkpoint knew)',
  '9: replay 7; cp c 5 / 5: replay 2; seen 4 |          | wal 2 at 100 => log goes (G2: before what it replays)',
  '9: replay 7               | plan REPAIR 1 reads wal/3 | wal 3 at 100 => is needed by attempt 1 at repair REPAIR (G2)',
  '9: replay 7               |                          | wal 6 at 800 => is too young until 1100 s (G8)',
  '9: replay 7               |                          | wal 6 of 0 at 100 => is a fence, which keeps a writer that stalled from writing there (fences: "collect" deletes those that are a day old) (G6)',
  '9: replay 7               | collect                  | wal 6 of 0 at 100 => is a fence, and there is no boundary file yet by which a stalled writer would learn that it was deleted (G6)',
  '9: replay 7               | collect, boundary        | wal 6 of 0 at 100 => is too young until 86500 s (G6, G8: a day)',
  '9: replay 7               | collect, boundary, now 86500 | wal 6 of 0 at 100 => fence goes (G6, G8)',
  '9: replay 7               | collect, boundary, now 99999 | wal 7 of 0 at 100 => is needed by manifest 9, the newest (G2)',
  '9: replay 7               |                          | wal 6 of 512 at 100 => may be a fence and was not read (G6)',
  '9: replay 7               |                          | wal 6 of 512 at 800 => is too young until 1100 s (G6: not read while it is young)',
  '9: replay 7               |                          | wal 6 of 513 at 100 => log goes (G6: larger than fences are)',
  '9: replay 7               | rows 6                   | wal 6 of 200 at 100 => log goes (G6: it was read)',
  '9: replay 7               | fence 6                  | wal 6 of 200 at 100 => is a fence, which keeps a writer that stalled from writing there (fences: "collect" deletes those that are a day old) (G6)',
  '9: replay 7               | fence 6, collect, boundary, now 86500 | wal 6 of 200 at 100 => fence goes (G6)',
  '9: replay 7               |                          | file wal/00000000000000000006.sst.tmp at 100 => is not named as an object of a database, so another program put it there; it is never touched (G1)',
  // Small objects.
  '9: nothing                |                          | copy wal/3 at 100 => is too young until 2592100 s (G8: 30 days)',
  '9: nothing                | now 2592100              | copy wal/3 at 100 => copy goes (G8)',
  '9: nothing                | now 2592100, loss r      | copy wal/3 at 100 => is needed by the open loss f1 (G2)',
  '9: nothing                | now 2592100, loss x      | copy wal/3 at 100 => copy goes (G2: of another repair)',
  '9: nothing                | now 2592100, loss        | copy wal/3 at 100 => is needed by the open loss f1 (G2: it is unknown what is lost)',
  '9: nothing                | now 2592100, plan REPAIR 2 | copy wal/3 at 100 => is needed by attempt 2 at repair REPAIR (G2)',
  '9: nothing                |                          | file shale/identity at 100 => is kept for good (G1)',
  '9: nothing                |                          | file shale/damage/00000000000000000001 at 100 => is kept for good (G1)',
  '9: nothing                |                          | file gc/manifest.boundary at 100 => is kept for good (G1)',
  '9: nothing                |                          | file shale/store-profile at 100 => is kept for good (G1)',
  '9: nothing                |                          | file shale/consumers/a at 100 => is not named as an object of a database, so another program put it there; it is never touched (G1)',
];

describe('of an object', () => {
  it.each(CASES)('%s', (line) => {
    const [, manifests, facts, object, expected] = /^(.*?) *\|(.*?)\| *(.*?) *=> *(.*) \(G[^()]*\)$/.exec(line)!;
    expect(answer(parseCase(manifests!, facts!, object!))).toBe(expected);
  });

  it('no number is passed over because it is too large to be compared', () => {
    const { rules } = parseCase('9: nothing', '', 'wal 1 at 100');
    const object = parseObject('file manifest/18446744073709551615.manifest at 100', 1000);
    expect(thrown(() => decide(object, rules))).toMatchObject({ code: 'FORMAT_TOO_NEW' });
  });

  it('the age and the size are said, whatever becomes of it', () => {
    const { object, rules } = parseCase('9: replay 7', '', 'wal 7 of 9 at 100');
    expect(decide(object, rules)).toMatchObject({ bytes: 9, ageMs: 900_000, class: 'log' });
  });
});

describe('what is needed after all', () => {
  it.each([
    ['5: l0 N_60 A_10', 'table A_10 at 100'],
    ['5: l0 N_60', 'table A_55 at 100'],
    ['5: l0 N_5', 'table A_10 at 100'],
    ['5: replay 3', 'wal 3 at 100'],
    ['5: replay 3', 'manifest 5 at 100'],
    ['5: replay 3', 'compactions 9 at 100'],
  ])('is not deleted even if it was decided: %s, %s', (manifests, object) => {
    const { object: listed, rules } = parseCase(manifests, '', object);
    expect(thrown(() => assertMayGo(listed.path, rules))).toMatchObject({ code: 'INVARIANT' });
  });
});
