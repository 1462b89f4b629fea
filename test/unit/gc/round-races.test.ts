/**
 * Rounds while others work: a writer, a compactor, a reader with a checkpoint, an operator with a repair, a second collector. What they do is a
 * list of steps, each of which takes effect at once. A stretch of these steps comes between two requests of a round, with or without
 * hours passing, at every place of the round and for every stretch; the steps before and after it come before and after the round.
 *
 * Then and after every further step everything that is needed must be there. And a round that is cut off at any request is finished
 * by the next one.
 */
import { describe, expect, it } from 'vitest';
import { AbortError } from '../../../src/common/errors.ts';
import { decodeCompactions } from '../../../src/format/compactions-codec.ts';
import type { Checkpoint, Manifest } from '../../../src/format/manifest-types.ts';
import { manifestPath, parseWalPath, tablePath, walPath } from '../../../src/format/object-names.ts';
import { emptyResult } from '../../../src/gc/round-result.ts';
import type { GcOptions } from '../../../src/gc/settings.ts';
import { liveSet, neededManifests } from '../../../src/lsm/manifest/live-set.ts';
import {
  type LoadedManifest,
  loadManifest,
  NO_WITNESS,
  sealManifest,
} from '../../../src/lsm/manifest/manifest-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { GcDatabase } from '../../support/gc-database.ts';
import { interposed, ran, roundsOn } from '../../support/gc-rounds.ts';
import { parseView, tableId } from '../../support/manifest-script.ts';

type Step = (db: GcDatabase) => Promise<void>;

// ---- what others do

async function newest(db: GcDatabase): Promise<LoadedManifest> {
  const id = await db.newestManifestId();
  return loadManifest(id, (await db.memory.get(manifestPath(id)))!.bytes);
}

/** A commit on top of the newest manifest. */
async function commit(db: GcDatabase, edit: (m: Manifest, id: number) => Manifest): Promise<void> {
  const previous = await newest(db);
  const id = previous.id + 1;
  const manifest = edit(previous.manifest, previous.id);
  const { bytes } = sealManifest({ id, manifest, previous, author: db.author, epoch: 1, witness: NO_WITNESS });
  await db.put(manifestPath(id), bytes);
}

let checkpoints = 0;
function checkpoint(db: GcDatabase, manifestId: number, lifetimeS: number): Checkpoint {
  const nowS = Math.floor(db.clock.nowMs() / 1000);
  const id = `00000000-0000-4000-8000-${String(++checkpoints).padStart(12, '0')}`;
  const expireTimeS = lifetimeS === 0 ? 0 : nowS + lifetimeS;
  return { id, manifestId, expireTimeS, createTimeS: nowS, writerEpoch: undefined, name: undefined };
}

const make =
  (what: string): Step =>
  (db) =>
    db.make(what);

const flushed =
  (table: string, replay: number): Step =>
  (db) =>
    commit(db, (m) => ({ ...m, l0: [parseView(table), ...m.l0], replayAfterWalId: replay, walIdLastSeen: replay }));

/** The result of a compaction and the checkpoint on the manifest before it. */
const compacted =
  (l0: readonly string[], run: { id: number; table: string }): Step =>
  (db) =>
    commit(db, (m, id) => ({
      ...m,
      l0: m.l0.filter((view) => !l0.map(tableId).includes(view.table.id)),
      runs: [{ id: run.id, views: [parseView(run.table)] }],
      lastCompacted: l0.length > 0 ? tableId(l0[0]!) : m.lastCompacted,
      checkpoints: [...m.checkpoints, checkpoint(db, id, 900)],
    }));

const checkpointOnNewest: Step = (db) =>
  commit(db, (m, id) => ({ ...m, checkpoints: [...m.checkpoints, checkpoint(db, id + 1, 0)] }));

/** As a program may that knows nothing of the rule that a checkpoint is made on the newest manifest. */
const checkpointOn =
  (manifestId: number): Step =>
  async (db) => {
    if ((await db.memory.head(manifestPath(manifestId))) === undefined) return;
    await commit(db, (m) => ({ ...m, checkpoints: [...m.checkpoints, checkpoint(db, manifestId, 0)] }));
  };

const dropCheckpoints: Step = (db) => commit(db, (m) => ({ ...m, checkpoints: [] }));

const COMPACTION: readonly Step[] = [
  make('job K_110 running l0 B_60 A_50'),
  make('table X_110 of A_50 B_60'),
  // A table of level 0 with a later id than the output is committed before it.
  flushed('D_120', 4),
  make('job K_110 running l0 B_60 A_50 to X_110'),
  compacted(['B_60', 'A_50'], { id: 1, table: 'X_110' }),
  make('job K_110 completed l0 B_60 A_50 to X_110'),
  make('no job J_30'),
  make('job N_400 running run 1'),
  make('table Y_400 of X_110'),
  compacted([], { id: 2, table: 'Y_400' }),
  make('job N_400 completed run 1 to Y_400'),
  make('no job K_110'),
];

const FLUSH: readonly Step[] = [
  make('wal 5'),
  make('table D_120'),
  flushed('D_120', 5),
  make('wal 6'),
  make('table E_130'),
  flushed('E_130', 6),
];

const READER: readonly Step[] = [
  checkpointOnNewest,
  flushed('D_120', 4),
  flushed('E_130', 4),
  flushed('F_140', 4),
  flushed('G_150', 4),
  dropCheckpoints,
];

const REPAIRING: readonly Step[] = [
  make('plan REPAIR 1 makes P_500 reads manifest/1 wal/2'),
  make('table P_500'),
  (db) => commit(db, (m) => ({ ...m, l0: [...m.l0, parseView('P_500')] })),
  make('report REPAIR 1'),
];

/** Tables of the steps that only a commit stores are there before it. */
const START = `
  0: manifest 1: nothing
  0: empty 1
  1: manifest 2: nothing
  2: job J_30 completed l0 A_10 to M_30
  20: table Q_20
  25: table A_10
  30: table M_30 of A_10
  40: wal 2
  41: wal 3
  50: table A_50
  60: table B_60
  61: wal 4
  62: table D_120
  62: table E_130
  62: table F_140
  62: table G_150
  65: manifest 3: l0 B_60 A_50; run 1 M_30; replay 4
  66: manifest 4: l0 B_60 A_50; run 1 M_30; replay 4
  67: manifest 5: l0 B_60 A_50; run 1 M_30; replay 4
  68: manifest 6: l0 B_60 A_50; run 1 M_30; replay 4
`;

// ---- what must be there

interface Needed {
  /** Paths that must be there. */
  needed: Set<string>;
  /** Those of them that are not. */
  missing: string[];
}

async function neededNow(db: GcDatabase): Promise<Needed> {
  const paths = new Set(await db.paths());
  const current = await newest(db);
  const others = new Map<number, Manifest>();
  const needed = new Set<string>();
  for (const { manifestId } of neededManifests({ newest: current, others })) {
    needed.add(manifestPath(manifestId));
    const got = await db.memory.get(manifestPath(manifestId));
    if (got !== undefined) others.set(manifestId, loadManifest(manifestId, got.bytes).manifest);
  }
  const file = [...paths].filter((path) => path.startsWith('compactions/')).at(-1);
  const bytes = file === undefined ? undefined : (await db.memory.get(file))!.bytes;
  const live = liveSet({
    newest: current,
    others,
    ...(bytes && { compactions: { id: 1, compactions: decodeCompactions(bytes).compactions } }),
  });
  for (const id of live.tables.keys()) needed.add(tablePath(id));
  const last = Math.max(...[...paths].map((path) => parseWalPath(path) ?? 0));
  for (const { from, to } of live.wal) {
    for (let id = Math.max(2, from); id <= Math.min(to, last); id++) needed.add(walPath(id));
  }
  return { needed, missing: [...needed].filter((path) => !paths.has(path)) };
}

async function missing(db: GcDatabase): Promise<string[]> {
  return (await neededNow(db)).missing;
}

// ---- rounds with something between two requests

async function start(): Promise<GcDatabase> {
  const db = new GcDatabase();
  await db.play(START);
  db.until(600);
  return db;
}

async function requestsOfARound(options: GcOptions = {}): Promise<string[]> {
  const db = await start();
  const line = interposed(db.memory, async () => undefined);
  await ran(db, roundsOn(db, options, line), true);
  return line.sent;
}

interface Race {
  steps: readonly Step[];
  from: number;
  to: number;
  /** Before which request. */
  at: number;
  gapS: number;
}

interface Raced {
  /** What was missing, and when. */
  lost: string[];
  /** What the first observation gave away, although it was needed then or later. */
  wrong: string[];
}

async function race({ steps, from, to, at, gapS }: Race, options: GcOptions = {}): Promise<Raced> {
  const db = await start();
  for (const step of steps.slice(0, from)) await step(db);
  db.clock.jumpWallMs(400_000);
  let isDone = false;
  const act = async () => {
    isDone = true;
    for (const step of steps.slice(from, to)) {
      db.clock.jumpWallMs(gapS * 1000);
      await step(db);
    }
    db.clock.jumpWallMs(gapS * 1000);
  };
  const line = interposed(db.memory, async (n) => {
    if (n === at) await act();
  });
  const said = await ran(db, roundsOn(db, options, line), true);
  // The round had fewer requests.
  if (!isDone) await act();
  const lost: string[] = [];
  const wrong: string[] = [];
  const goes = said.decisions.flatMap(({ path, stays }) => (stays === undefined ? path : []));
  const check = async (when: string) => {
    const now = await neededNow(db);
    lost.push(...now.missing.map((path) => `${path} is gone ${when}`));
    wrong.push(
      ...goes.filter((path) => now.needed.has(path)).map((path) => `${path} was to go, and is needed ${when}`),
    );
  };
  await check('after the round');
  for (const [i, step] of steps.slice(to).entries()) {
    await step(db);
    await check(`after step ${to + i}`);
  }
  return { lost, wrong };
}

/** Of all stretches, places and gaps a seventh, so that each stretch and each place is met with many of the others. `SHALEDB_RACES=all`: all. */
const EVERY = process.env['SHALEDB_RACES'] === 'all' ? 1 : 7;
const GAPS_S = [0, 400] as const;

async function everyRace(steps: readonly Step[], options: GcOptions = {}): Promise<string[]> {
  const failures: string[] = [];
  const requests = await requestsOfARound(options);
  let n = 0;
  for (let from = 0; from < steps.length; from++) {
    for (let to = from + 1; to <= steps.length; to++) {
      for (let at = 1; at <= requests.length + 3; at++) {
        n++;
        if (n % EVERY !== 0) continue;
        for (const gapS of EVERY === 1 ? GAPS_S : [GAPS_S[(n / EVERY) % GAPS_S.length]!]) {
          const { lost, wrong } = await race({ steps, from, to, at, gapS }, options);
          const what = [...lost, ...(steps === REPAIRING ? [] : wrong)][0];
          if (what !== undefined) failures.push(`steps ${from}..${to} before request ${at}, ${gapS} s apart: ${what}`);
        }
      }
      // Another stretch begins with another place.
      n++;
    }
  }
  return failures;
}

describe('a round loses nothing while', () => {
  it.each([
    ['a compactor works', COMPACTION],
    ['a writer flushes', FLUSH],
    ['a reader makes a checkpoint, and others commit after it', READER],
    ['a repair makes a table', REPAIRING],
  ])('%s', async (_, steps) => {
    expect(await everyRace(steps)).toEqual([]);
  });
});

describe('between two requests of a round', () => {
  it('a checkpoint is made on a manifest that is about to go, against the rule: it stays, with all that it names', async () => {
    const sent = await requestsOfARound();
    expect(sent.lastIndexOf('list manifest/')).toBeGreaterThan(sent.indexOf('list wal/'));
    // Made later it would not be seen: that is why checkpoints are made on the newest manifest, or on one that another pins.
    for (let at = 1; at <= sent.lastIndexOf('list manifest/') + 1; at++) {
      const { lost } = await race({ steps: [checkpointOn(2)], from: 0, to: 1, at, gapS: 0 });
      expect([at, lost]).toEqual([at, []]);
    }
  });

  it('the database is deleted and made again under the same names: nothing of the new one goes', async () => {
    const sent = await requestsOfARound();
    const again: Step = async (db) => {
      await db.memory.delete(await db.paths());
      db.author.databaseId.fill(9);
      for (const line of ['wal 1', 'wal 2', 'wal 3', 'table A_50', 'table B_60']) await db.make(line);
      for (let id = 1; id <= 9; id++) await db.make(`manifest ${id}: l0 B_60 A_50`);
    };
    for (let at = 2; at <= sent.length; at++) {
      // A request that is under way when this process stops cannot be called back.
      if (sent[at - 1]!.startsWith('delete')) continue;
      const db = await start();
      let made: string[] = [];
      const line = interposed(db.memory, async (n) => {
        if (n !== at) return;
        db.clock.jumpWallMs(3_600_000);
        await again(db);
        made = await db.paths();
      });
      await ran(db, roundsOn(db, {}, line), true).catch(() => undefined);
      const left = await db.paths();
      expect([at, made.filter((path) => !left.includes(path))]).toEqual([at, []]);
    }
  });

  it('another collector runs a whole round: each deletes what it may, and nothing else', async () => {
    const sent = await requestsOfARound();
    const alone = await start();
    await ran(alone, roundsOn(alone), true);
    for (let at = 1; at <= sent.length; at++) {
      const db = await start();
      const line = interposed(db.memory, async (n) => {
        if (n === at) await roundsOn(db).run({ apply: true, withCopies: true }, emptyResult());
      });
      const { result } = await ran(db, roundsOn(db, {}, line), true);
      expect([at, result.stopped, await missing(db)]).toEqual([at, undefined, []]);
      expect(await db.paths()).toEqual(await alone.paths());
    }
  });
});

describe('a round that is slower than the others', () => {
  it('calls nothing damaged where another collector has raised the boundaries above all that it saw', async () => {
    const sent = await requestsOfARound();
    const trouble: unknown[] = [];
    for (let at = 1; at <= sent.length; at++) {
      const db = await start();
      const line = interposed(db.memory, async (n) => {
        if (n !== at) return;
        for (const id of ['N_400', 'P_410', 'R_420', 'S_430', 'T_440', 'V_450']) {
          await db.make(`job ${id} running run 1`);
          await commit(db, (m) => m);
        }
        db.clock.jumpWallMs(400_000);
        await roundsOn(db).run({ apply: true, withCopies: true }, emptyResult());
      });
      const { result } = await ran(db, roundsOn(db, {}, line), true);
      const found = [
        result.stopped ?? [],
        ...result.findings.map(({ code, object }) => [code, object.path]),
        await missing(db),
      ];
      if (found.flat().length > 0) trouble.push([`before ${line.sent[at - 1]}, request ${at}`, ...found.flat()]);
    }
    expect(trouble).toEqual([]);
  });
});

describe('a commit of the own process', () => {
  it('at any request of a round is none that the store hides', async () => {
    const counted = await start();
    const line = interposed(counted.memory, async () => undefined);
    await ran(counted, roundsOn(counted, {}, line), true);
    for (let at = 1; at <= line.sent.length; at++) {
      const db = await start();
      const rounds = roundsOn(
        db,
        {},
        interposed(db.memory, async (n) => {
          if (n !== at) return;
          await commit(db, (m) => m);
          rounds.know(await db.newestManifestId());
        }),
      );
      const { result } = await ran(db, rounds, true);
      expect([at, result.stopped, await missing(db)]).toEqual([at, undefined, []]);
    }
  });
});

describe('a round that is cut off', () => {
  const cut = new AbortError('the process ended');

  /** Ends with its nth request, before it arrives or before it is answered. */
  function ending(store: ObjectStore, at: number, where: 'before' | 'after'): ObjectStore {
    let n = 0;
    const call = async <T>(send: () => Promise<T>): Promise<T> => {
      n++;
      if (n > at || (n === at && where === 'before')) throw cut;
      const answer = await send();
      if (n === at) throw cut;
      return answer;
    };
    return {
      name: store.name,
      conformance: 'known',
      get: (path, options) => call(() => store.get(path, options)),
      head: (path, options) => call(() => store.head(path, options)),
      put: (path, bytes, options) => call(() => store.put(path, bytes, options)),
      async *list(prefix, options) {
        await call(() => Promise.resolve());
        yield* store.list(prefix, options);
      },
      delete: (paths, options) => call(() => store.delete(paths, options)),
    };
  }

  it('at any request leaves a sound database, which the next round goes on with', async () => {
    const withExpired = async () => {
      const db = await start();
      await commit(db, (m) => ({ ...m, checkpoints: [checkpoint(db, 2, 60)] }));
      db.clock.jumpWallMs(400_000);
      return db;
    };
    const alone = await withExpired();
    await ran(alone, roundsOn(alone), true);
    const counted = await withExpired();
    const line = interposed(counted.memory, async () => undefined);
    await ran(counted, roundsOn(counted, {}, line), true);
    expect(line.sent.length).toBeGreaterThan(30);
    for (let at = 1; at <= line.sent.length; at++) {
      for (const where of ['before', 'after'] as const) {
        const db = await withExpired();
        await ran(db, roundsOn(db, {}, ending(db.memory, at, where)), true).catch(() => undefined);
        expect([at, where, await missing(db)]).toEqual([at, where, []]);
        await ran(db, roundsOn(db), true);
        expect([at, where, await missing(db)]).toEqual([at, where, []]);
        expect([at, where, await db.paths()]).toEqual([at, where, await alone.paths()]);
      }
    }
  });
});
