/**
 * Whether finished jobs may be committed, as data: the manifest (the notation: manifest-script.ts), a job, losses, and the rule of commit.ts
 * that ends it, or `ok`.
 *
 *   job l0 B A run 4 E to 4 X, seg p ..., dropped, changed, knows L       sources, destination, outputs, and what it did
 *   loss L b..d            an open loss of keys; `loss L` of unknown ones
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '../../../src/common/bytes.ts';
import { ManualClock } from '../../../src/common/manual-clock.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { makeUlid } from '../../../src/common/ulid.ts';
import { CommitAttempt, type FinishedJob, findBrokenRule } from '../../../src/compaction/commit.ts';
import { encodeManifest } from '../../../src/format/manifest-codec.ts';
import type { TableView } from '../../../src/format/manifest-types.ts';
import { manifestPath } from '../../../src/format/object-names.ts';
import { Author } from '../../../src/lsm/manifest/author.ts';
import { EpochGuard } from '../../../src/lsm/manifest/epoch-guard.ts';
import { COMMIT_CHECKPOINT_S } from '../../../src/lsm/manifest/live-set.ts';
import { ManifestLog } from '../../../src/lsm/manifest/manifest-log.ts';
import { NO_WITNESS, readManifest } from '../../../src/lsm/manifest/manifest-store.ts';
import { type SourceRun, type SourceView, sourceViewOf } from '../../../src/lsm/manifest/tree-edits.ts';
import type { LedgerEntry } from '../../../src/lsm/tree/damage-ledger.ts';
import { FaultyStore } from '../../../src/store/faulty-store.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { manifestText, parseManifest, parseView, tableId } from '../../support/manifest-script.ts';

const utf8 = (text: string) => new TextEncoder().encode(text);

function parseJob(script: string, id = 'J'): FinishedJob {
  const [sources, ...facts] = script.split(', ');
  const l0: SourceView[] = [];
  const runs: (SourceRun & { views: SourceView[] })[] = [];
  const outputs: TableView[] = [];
  let tree = '';
  let destination = -1;
  let add: (word: string) => void = () => expect.fail('sources come after their level');
  const words = sources!.split(' ');
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (word === 'seg') tree = toHex(utf8(words[++i]!));
    else if (word === 'l0') add = (name) => l0.push(sourceViewOf(parseView(name)));
    else if (word === 'run') {
      const run = { id: Number(words[++i]), views: [] as SourceView[] };
      runs.push(run);
      add = (name) => run.views.push(sourceViewOf(parseView(name)));
    } else if (word === 'to') {
      destination = Number(words[++i]);
      add = (name) => outputs.push(parseView(name));
    } else add(word);
  }
  return {
    id: tableId(id),
    isDrain: facts.includes('drain'),
    tree,
    l0,
    runs,
    destination,
    outputs,
    hasFreshDestination: runs.length === 0,
    droppedTombstones: facts.includes('dropped'),
    changedVersions: facts.includes('changed'),
    knownLosses: new Set(facts.flatMap((fact) => (fact.startsWith('knows ') ? fact.slice(6) : []))),
  };
}

function parseLoss(script: string): LedgerEntry {
  const [, id, range] = script.split(' ');
  const [gte, lte] = range?.split('..') ?? [];
  const keys =
    gte === undefined ? [] : [{ gte: utf8(gte), lte: lte === '' || lte === undefined ? undefined : utf8(lte) }];
  return { id: id!, repairId: 'r', object: 'o', level: 'run', at: '', keys, seqs: [], exact: false, state: 'open' };
}

const CASES = [
  'l0 C B A; run 4 E      | l0 B A to 5 X => ok',
  'l0 C B A; run 4 E      | l0 C B A run 4 E to 4 X, dropped, changed => ok',
  'run 7 D; run 4 E       | run 7 D run 4 E to 4 X, dropped, changed => ok',
  'seg p l0 B A           | seg p l0 B A to 0 X => ok',
  // C2: every source, and nothing but the oldest end, without a gap.
  'l0 C B                 | l0 B A to 5 X => C2: other tables of level 0 are older than a source',
  'l0 C B                 | l0 A to 5 X => C2: table 01J0000000000000000000000A is not in level 0',
  'l0 C B A               | l0 C B to 5 X => C2: other tables of level 0 are older than a source',
  'l0 B v:A               | l0 A to 5 X => C2: table 01J0000000000000000000000A is not in level 0',
  'l0 B A[,am)            | l0 A to 5 X => C2: table 01J0000000000000000000000A is not in level 0',
  'run 4 E                | run 4 D to 4 X => C2: run 4 has other tables',
  'run 5 E                | run 4 E to 4 X => C2: run 4 is gone',
  'run 9 D; run 7 F; run 4 E | run 9 D run 4 E to 4 X => C2: run 4 does not follow the other sources',
  'l0 A; run 7 F; run 4 E | l0 A run 4 E to 4 X => C2: a run is between level 0 and run 4',
  'l0 B A                 | seg p l0 B A to 0 X => C2: its segment is gone',
  // C3: nothing is overwritten.
  'l0 B A; run 5 E        | l0 B A to 5 X => C3: run 5 is there and is no source',
  'l0 B A; seg p run 5 E  | l0 B A to 5 X => C3: run 5 is there and is no source',
  'run 9 D; run 7 F; run 4 E | run 9 D run 7 F to 4 X => C3: run 4 is there and is no source',
  'run 9 D; run 7 F       | run 9 D run 7 F to 3 X => C3: run 3 is there and is no source',
  // C5: an older version must not live again.
  'run 9 D; run 7 F; run 4 E | run 9 D run 7 F to 7 X => ok',
  'run 9 D; run 7 F; run 4 E | run 9 D run 7 F to 7 X, dropped => C5: tombstones were dropped, and run 4 is older',
  'run 9 D; run 7 F; run 4 | run 9 D run 7 F to 7 X, dropped => ok',
  'l0 B A; run 4 E        | l0 B A to 5 X, dropped => C5: tombstones were dropped, and run 4 is older',
  'l0 B A; run 4          | l0 B A to 5 X, dropped => ok',
  'l0 C B A; seg p run 4 E | l0 B A to 5 X, dropped => ok',
  // C6: losses compare sequence numbers.
  'l0 C B; run 4 E        | l0 C B to 5 X, changed; loss L b..b => C6: the loss L was recorded since, and may be of its keys',
  'l0 C B; run 4 E        | l0 C B to 5 X, dropped; loss L b..b => C5: tombstones were dropped, and run 4 is older',
  'l0 C B                 | l0 C B to 5 X, dropped; loss L cz.. => C6: the loss L was recorded since, and may be of its keys',
  'l0 C B; run 4 E        | l0 C B to 5 X; loss L b..b => ok',
  'l0 C B; run 4 E        | l0 C B to 5 X, changed, knows L; loss L b..b => ok',
  'l0 C B; run 4 E        | l0 C B to 5 X, changed, knows K; loss L b..b; loss K a..z => C6: the loss L was recorded since, and may be of its keys',
  'l0 C B; run 4 E        | l0 C B to 5 X, changed; loss L d..f => ok',
  'l0 C B; run 4 E        | l0 C B to 5 X, changed; loss L a..ay => ok',
  'l0 C B; run 4 E        | l0 C B to 5 X, changed; loss L => C6: the loss L was recorded since, and may be of its keys',
  'l0 B[,bm); run 4 E     | l0 B[,bm) to 5 X, changed; loss L bn..c => ok',
  'run 4 B E; run 2 F     | run 4 B E run 2 F to 2 X, changed; loss L eb.. => C6: the loss L was recorded since, and may be of its keys',
  // C8: ids of new runs are above those of their tree.
  'l0 B A; run 6 E        | l0 B A to 5 X => C8: run 6 has a greater id than the new run 5',
  'l0 B A; run 6          | l0 B A to 5 X => C8: run 6 has a greater id than the new run 5',
  'l0 B A; seg p run 6 E  | l0 B A to 5 X => ok',
  // C9: one view of the table of the marker.
  'l0 v:A[am,) w:A[,am)   | l0 w:A[,am) to 5 X => C9: table 01J0000000000000000000000A, of the marker, has another view that stays in level 0',
  'l0 v:A[am,) w:A[,am)   | l0 v:A[am,) w:A[,am) to 5 X => ok',
  'l0 v:A[am,) C w:A[,am) | l0 C w:A[,am) to 5 X => ok',
  'l0 C A; run 4 v:C[,c)  | l0 A to 5 X => ok',
  // Drains.
  'seg p l0 B A; seg p run 7 D; seg p run 4 E | seg p l0 A run 7 D run 4 E, drain => ok',
  'seg p l0 B A; seg p run 7 D; seg p run 4 E | seg p run 4 E, drain => ok',
  'seg p l0 B A; seg p run 7 D; seg p run 4 E | seg p run 7 D, drain => C5: run 4 is older than what is drained',
  'seg p l0 B A; seg p run 7 D; seg p run 4 E | seg p l0 A run 4 E, drain => C5: run 7 is older than what is drained',
  'seg p l0 B A; seg p run 7 D; seg p run 4 | seg p run 7 D, drain => ok',
  'seg p l0 B A           | seg p l0 B, drain => C2: other tables of level 0 are older than a source',
  'seg p run 7 D          | seg p run 6 D, drain => C2: run 6 is gone',
  'seg p run 7 D          | seg p run 7 E, drain => C2: run 7 has other tables',
  'seg p l0 v:A[am,) w:A[,am) | seg p l0 w:A[,am), drain => C9: table 01J0000000000000000000000A, of the marker, has another view that stays in level 0',
];

describe('the commit of a job', () => {
  it.each(CASES)('%s', (line) => {
    const [, manifest, script, verdict] = /^(.*?) *\| *(.*?) *=> *(.*)$/.exec(line)!;
    const [job, ...losses] = script!.split('; ');
    const m = parseManifest(manifest!);
    const broken = findBrokenRule(m, parseJob(job!), { version: 1, open: losses.map(parseLoss) });
    expect(broken === undefined ? 'ok' : `${broken.rule}: ${broken.message}`).toBe(verdict);
  });
});

describe('an attempt to commit', () => {
  let clock: ManualClock;
  let memory: MemoryStore;
  let faulty: FaultyStore;
  let author: Author;
  let log: ManifestLog;
  const random = new SeededRandom(3);
  const CHECKPOINT = '01234567-89ab-4def-8123-456789abcdef';
  const OLD = '00000000-0000-4000-8000-000000000001';
  const KEPT = '00000000-0000-4000-8000-000000000002';
  const put = (id: number, script: string) =>
    memory.put(manifestPath(id), encodeManifest(parseManifest(script)), {
      condition: 'any',
      putId: makeUlid(clock.nowMs(), random),
    });

  beforeEach(() => {
    clock = new ManualClock();
    memory = new MemoryStore({ clock });
    faulty = new FaultyStore(memory, { clock });
    author = new Author({ clock, random, owner: 'me:1', databaseId: new Uint8Array(16), role: 'compactor' });
  });

  async function logOn(id: number, script: string): Promise<void> {
    await put(id, `writer 3; compactor 5; ${script}`);
    log = new ManifestLog({
      store: faulty,
      author,
      guard: new EpochGuard(clock, () => []),
      role: 'writer',
      epoch: 3,
      current: (await readManifest(memory, id))!,
      hasBoundary: false,
      witness: () => NO_WITNESS,
      onAdopt: () => undefined,
    });
  }

  const losses = { version: 0, open: [] as LedgerEntry[] };
  const attemptOf = (
    jobs: readonly FinishedJob[],
    more: Partial<ConstructorParameters<typeof CommitAttempt>[0]> = {},
  ) =>
    new CommitAttempt({
      jobs,
      losses,
      namedRuns: new Set(),
      checkpointId: CHECKPOINT,
      nowS: () => 5000,
      areOutputsSeen: () => true,
      correct: (m) => m,
      ...more,
    });
  const commit = (attempt: CommitAttempt, epoch = 5) => log.commit(attempt.change, { asCompactor: { author, epoch } });
  const text = () => manifestText(log.current.manifest);

  it('writes one manifest with the results and a checkpoint on its predecessor', async () => {
    await logOn(7, `l0 C B A; run 4 E; cp ${OLD} 3 until 4000; cp ${KEPT} 4`);
    await commit(attemptOf([parseJob('l0 B A to 5 X')]));
    expect(log.current.id).toBe(8);
    expect(text()).toBe(
      `l0 C; run 5 X; run 4 E; marker B; writer 3; compactor 5; cp ${KEPT} 4; cp ${CHECKPOINT} 7 until ${5000 + COMMIT_CHECKPOINT_S}`,
    );
    expect(log.current.seal?.identity).toMatchObject({ role: 'compactor', epoch: 5 });
  });

  it('is made again on the manifest of another role that came first: C4', async () => {
    await logOn(7, 'l0 B A; run 4 E');
    await put(8, 'writer 3; compactor 5; l0 D C B A; run 4 E; replay 9');
    await commit(attemptOf([parseJob('l0 B A to 5 X')]));
    expect(log.current.id).toBe(9);
    expect(text()).toBe(
      `l0 D C; run 5 X; run 4 E; marker B; replay 9; writer 3; compactor 5; cp ${CHECKPOINT} 8 until 5900`,
    );
  });

  it('is decided again on it, too', async () => {
    await logOn(7, 'l0 B A');
    await put(8, 'writer 3; compactor 5; l0 B; marker A; run 4 E');
    const attempt = attemptOf([parseJob('l0 B A to 5 X')]);
    await commit(attempt);
    expect([log.current.id, [...attempt.refused.values()].map(({ rule }) => rule)]).toEqual([8, ['C2']]);
  });

  it('is nothing under another epoch: C1, on each manifest on which it is applied', async () => {
    await logOn(7, 'l0 B A');
    await expect(commit(attemptOf([parseJob('l0 B A to 5 X')]), 4)).rejects.toMatchObject({ code: 'COMPACTOR_FENCED' });
    await put(8, 'writer 3; compactor 6; l0 B A');
    await expect(commit(attemptOf([parseJob('l0 B A to 5 X')]))).rejects.toMatchObject({ code: 'COMPACTOR_FENCED' });
    expect([await memory.head(manifestPath(9)), text()]).toEqual([undefined, 'l0 B A; writer 3; compactor 6']);
  });

  it('commits the other jobs without one that a rule has ended', async () => {
    await logOn(7, 'l0 B A; run 9 D; run 7 E; run 3 F');
    const jobs = [
      parseJob('l0 B A to 10 X', 'I'),
      parseJob('run 9 D run 7 E to 7 Y, dropped', 'J'),
      parseJob('run 7 E run 3 F to 3 Z, dropped', 'K'),
    ];
    const attempt = attemptOf(jobs);
    await commit(attempt);
    expect(text()).toContain('run 10 X; run 9 D; run 3 Z; marker B;');
    expect([...attempt.refused]).toEqual([[tableId('J'), expect.objectContaining({ rule: 'C5' })]]);
  });

  it('decides on a job with those before it committed', async () => {
    await logOn(7, 'l0 B A; run 9 D; seg p l0 F');
    const attempt = attemptOf([parseJob('l0 B A to 10 X', 'I'), parseJob('seg p l0 F to 10 Y', 'J')]);
    await commit(attempt);
    expect([...attempt.refused.values()].map(({ rule }) => rule)).toEqual(['C3']);
  });

  it('takes out what is drained', async () => {
    await logOn(7, 'seg p l0 B A; seg p run 4 E; seg q l0 F');
    const attempt = attemptOf([parseJob('seg p l0 A run 4 E, drain')]);
    await commit(attempt);
    expect([attempt.manifestId, text()]).toEqual([
      8,
      `seg p l0 B; seg p marker A; seg q l0 F; writer 3; compactor 5; cp ${CHECKPOINT} 7 until 5900`,
    ]);
  });

  it('writes nothing where no job is left', async () => {
    await logOn(7, `l0 B A; cp ${OLD} 3 until 4000`);
    const attempt = attemptOf([parseJob('l0 C to 5 X')]);
    await commit(attempt);
    expect(attempt.manifestId).toBeUndefined();
    expect([log.current.id, await memory.head(manifestPath(8))]).toEqual([7, undefined]);
  });

  it('keeps runs that jobs under way name, and what the tables say of themselves', async () => {
    await logOn(7, 'l0 B A; run 6; run 4 E');
    await commit(
      attemptOf([parseJob('l0 B A to 7 X')], {
        namedRuns: new Set([6]),
        correct: (m) => ({ ...m, walIdLastSeen: 77 }),
      }),
    );
    expect(text()).toContain('run 7 X; run 6; run 4 E; marker B; seen 77;');
  });

  it.each(['apply-then-drop', 'fail-before'] as const)('is recognised when it is settled: %s', async (action) => {
    await logOn(7, 'l0 C B A');
    const attempt = attemptOf([parseJob('l0 B A to 0 X', 'I'), parseJob('run 9 D to 9 Y', 'J')]);
    faulty.add({ action: action === 'fail-before' ? 'status:500' : action, op: 'put', nth: 1 });
    await expect(commit(attempt)).rejects.toMatchObject({ code: 'WRITE_OUTCOME_UNKNOWN' });
    // Others go on from it in the meantime.
    await log.commit((m) => ({ ...m, walIdLastSeen: 3 }));
    await commit(attempt);
    expect([log.current.id, [...attempt.refused.keys()]]).toEqual([9, [tableId('J')]]);
    expect(text()).toBe(`l0 C; run 0 X; marker B; seen 3; writer 3; compactor 5; cp ${CHECKPOINT} 7 until 5900`);
  });

  it('is made again where another took its id when its answer was lost', async () => {
    await logOn(7, 'l0 C B A');
    const attempt = attemptOf([parseJob('l0 B A to 0 X')]);
    faulty.add({ action: 'status:500', op: 'put', nth: 1 });
    await expect(commit(attempt)).rejects.toMatchObject({ code: 'WRITE_OUTCOME_UNKNOWN' });
    await put(8, 'writer 3; compactor 5; l0 D C B A');
    await commit(attempt);
    expect(text()).toBe(`l0 D C; run 0 X; marker B; writer 3; compactor 5; cp ${CHECKPOINT} 8 until 5900`);
  });

  it('is postponed while a newer ledger has to be read, or the outputs were not seen lately', async () => {
    await logOn(7, 'l0 B A');
    await log.commit((m) => ({ ...m, walIdLastSeen: 3 }), { ledgerVersion: 2 });
    const old = attemptOf([parseJob('l0 B A to 5 X')]);
    await commit(old);
    expect([old.postponed, log.current.id]).toEqual(['losses', 8]);
    expect(() => old.refused).toThrow(expect.objectContaining({ code: 'INVARIANT' }));
    let isSeen = false;
    const attempt = attemptOf([parseJob('l0 B A to 5 X')], {
      losses: { version: 2, open: [] },
      areOutputsSeen: () => isSeen,
    });
    await commit(attempt);
    expect([attempt.postponed, log.current.id]).toEqual(['outputs', 8]);
    isSeen = true;
    await commit(attempt);
    expect([attempt.postponed, log.current.id, attempt.refused.size]).toEqual([undefined, 9, 0]);
  });
});
