/**
 * Rounds on whole databases, as text: what is stored since when (the notation: gc-database.ts), and what a round says of each object. A dry
 * run says it and changes nothing; a round that begins at the same moment deletes exactly that.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { emptyResult } from '../../../src/gc/round-result.ts';
import type { GcOptions } from '../../../src/gc/settings.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { rejection } from '../../support/database.ts';
import { forwarding } from '../../support/forwarding-store.ts';
import { GcDatabase } from '../../support/gc-database.ts';
import { decisionText, interposed, ran, roundsOn, shortPath } from '../../support/gc-rounds.ts';

let db: GcDatabase;
beforeEach(() => {
  db = new GcDatabase();
});

/** A database in use: a compaction, an orphan, a checkpoint, a repair, fences. */
const SCRIPT = `
  0: manifest 1: nothing
  1: empty 1
  2: manifest 2: nothing
  3: job H_3 completed
  4: job J_50 completed l0 A_10 to M_30
  10: table A_10
  11: table O_11
  12: wal 2
  13: fence 3
  14: wal 4
  15: manifest 3: l0 A_10; replay 3
  16: manifest 4: l0 A_10; replay 4; cp c 3 until 2000
  30: table M_30 of A_10
  40: wal 5
  60: table N_60
  61: manifest 5: l0 N_60; run 1 M_30; replay 5; cp c 3 until 2000
  62: manifest 6: l0 N_60; run 1 M_30; replay 5; cp c 3 until 2000
  63: manifest 7: l0 N_60; run 1 M_30; replay 5; cp c 3 until 2000
  70: table P_70
  71: copy wal/1
  72: object compacted/notes.txt not ours
  73: plan REPAIR 1 makes P_70 reads wal/1
`.replaceAll('O_11', 'Q_11');

const lines = async (options: GcOptions = {}) =>
  (await ran(db, roundsOn(db, options), false)).decisions.map(decisionText);
const goes = async (options: GcOptions = {}) =>
  (await lines(options)).filter((line) => line.includes(' goes ')).map((line) => line.replace(/ goes .*/, ''));

describe('a round says of each object what becomes of it', () => {
  beforeEach(async () => {
    await db.play(SCRIPT);
    db.until(1000);
  });

  it('as text', async () => {
    const checkpoint = 'checkpoint c on manifest 3 until 2001 s';
    const newest = 'manifest 7, the newest; manifest 6, one of the newest; manifest 5, one of the newest';
    expect(await lines()).toEqual([
      `manifest 3 is needed by ${checkpoint}`,
      'manifest 5 is needed by manifest 5, one of the newest',
      'manifest 6 is needed by manifest 6, one of the newest',
      'manifest 7 is needed by manifest 7, the newest',
      'compactions 2 is the newest of its kind',
      'manifest 1 goes (manifest)',
      'manifest 2 goes (manifest)',
      'manifest 4 goes (manifest)',
      'compactions 1 goes (compactions)',
      `table A_10 is needed by ${checkpoint}`,
      'table Q_11 may be under way: a job of a compactor began at 3 s, and the table is not older',
      `table M_30 is needed by compaction J_50 (completed), as output`.replace('by ', `by ${newest}; `),
      `table N_60 is needed by ${newest}`,
      'table P_70 is needed by attempt 1 at repair REPAIR',
      'compacted/notes.txt is not named as an object of a database, so another program put it there; it is never touched',
      'wal 1 is needed by attempt 1 at repair REPAIR',
      'wal 5 is needed by manifest 7, the newest; manifest 6, one of the newest; manifest 5, one of the newest',
      'wal 2 goes (log)',
      'wal 3 is a fence, which keeps a writer that stalled from writing there (fences: "collect" deletes those that are a day old)',
      'wal 4 goes (log)',
      'shale/quarantine/REPAIR/wal/1 is needed by attempt 1 at repair REPAIR',
    ]);
  });

  it('and deletes exactly what a dry run at the same moment names', async () => {
    for (const second of [1000, 2100, 5000, 100_000, 3_000_000]) {
      db.until(second);
      const before = await db.versions();
      const planned = await ran(db, roundsOn(db), false);
      expect(await db.versions()).toEqual(before);
      const paths = await db.paths();
      const { result } = await ran(db, roundsOn(db), true);
      const left = await db.paths();
      expect(paths.filter((path) => !left.includes(path))).toEqual(
        planned.decisions.flatMap(({ path, stays }) => (stays === undefined ? path : [])).sort(),
      );
      expect(result.deleted).toEqual(planned.result.going);
      expect(result.going).toEqual(planned.result.going);
      expect(result.droppedCheckpoints).toEqual(planned.result.droppedCheckpoints);
    }
  });

  it('in requests that are counted, the second half only where something goes', async () => {
    const line = interposed(db.memory);
    const sent = () => line.sent.splice(0).map((request) => request.split(' ').map(shortPath).join(' '));
    await ran(db, roundsOn(db, {}, line), true);
    const observation = [
      'list compactions/',
      'get compactions 2',
      'get gc/compactions.boundary',
      'list manifest/',
      'get gc/manifest.boundary',
      'head manifest 8',
      'get manifest 7',
    ];
    expect(sent()).toEqual([
      ...observation,
      'get shale/identity',
      'get manifest 6',
      'get manifest 5',
      'get manifest 3',
      'list shale/repairs/',
      'get shale/repairs/REPAIR/plan-1',
      'list compacted/',
      'list wal/',
      'get wal 3',
      'list shale/quarantine/',
      'get gc/manifest.boundary',
      'get gc/manifest.boundary',
      'put gc/manifest.boundary',
      'get gc/compactions.boundary',
      'get gc/compactions.boundary',
      'put gc/compactions.boundary',
      ...observation,
      'get shale/identity',
      'list shale/repairs/',
      'delete manifest 1 manifest 2 manifest 4 compactions 1',
      'delete wal 2 wal 4',
    ]);
    await ran(db, roundsOn(db, {}, line), true);
    const again = sent();
    expect(again.filter((request) => /^(put|delete)/.test(request))).toEqual([]);
    expect(again.length).toBe(17);
  });
});

describe('a long list', () => {
  const COUNT = 2500;
  beforeEach(async () => {
    await db.make('manifest 1: nothing');
    for (let id = 1; id <= COUNT + 1; id++) await db.make(`wal ${id}`);
    await db.make(`manifest 2: replay ${COUNT + 1}`);
    db.until(1000);
  });
  const logLeft = async () => (await db.paths('wal/')).length;

  it('is deleted by a thousand at a time, and what is needed is read again once a minute', async () => {
    const line = interposed(db.memory, async () => {
      if (line.sent.at(-1)!.startsWith('delete')) db.clock.jumpWallMs(40_000);
    });
    await ran(db, roundsOn(db, { recentManifests: 1 }, line), true);
    expect(await logLeft()).toBe(1);
    const steps = line.sent.flatMap((request) => {
      if (request.startsWith('delete')) return `delete ${request.split(' ').length - 1}`;
      return request === 'list manifest/' ? 'observe' : [];
    });
    // The first DELETE is that of the manifest.
    expect(steps).toEqual(['observe', 'observe', 'delete 1', 'delete 1000', 'observe', 'delete 1000', 'delete 500']);
  });

  it('is left to the next round beyond what one holds in memory', async () => {
    const result = emptyResult();
    await roundsOn(db, { recentManifests: 1 }).run({ apply: true, withCopies: false, most: 2000 }, result);
    expect([result.hasMore, await logLeft(), result.listed.log.objects]).toEqual([true, 501, COUNT + 1]);
  });

  it('on a store that is too slow for it is not deleted', async () => {
    const line = interposed(db.memory, async () => {
      if (line.sent.at(-1) === 'list shale/repairs/') db.clock.jumpWallMs(61_000);
    });
    const error = await rejection(ran(db, roundsOn(db, { recentManifests: 1 }, line), true));
    expect(error).toMatchObject({ code: 'DEADLINE', kind: 'unavailable' });
    expect(await logLeft()).toBe(COUNT + 1);
  });
});

describe('uploads without an end', () => {
  it('are aborted when they are a day old, if they would become tables', async () => {
    await db.make('manifest 1: nothing');
    db.until(100_000);
    const storeTimeMs = db.clock.nowMs();
    const begun = (name: string, ageMs: number, uploadId: string) => ({
      path: `compacted/${name}`,
      uploadId,
      startedMs: ageMs === 0 ? 0 : storeTimeMs - ageMs,
      storeTimeMs,
    });
    const aborted: string[] = [];
    const table = '01J00000000000000000000001.sst';
    const store: ObjectStore = {
      ...forwarding(db.memory),
      conformance: 'known',
      listUploads: async () => [
        begun(table, 86_400_000, 'old'),
        begun(table, 86_399_000, 'young'),
        begun(table, 0, 'undated'),
        begun('notes.txt', 90_000_000, 'foreign'),
      ],
      abortUpload: async ({ uploadId }) => void aborted.push(uploadId),
    };
    const dry = await ran(db, roundsOn(db, {}, store), false);
    expect([dry.result.going.upload.objects, aborted]).toEqual([1, []]);
    const { result, decisions } = await ran(db, roundsOn(db, {}, store), true);
    expect([result.deleted.upload.objects, aborted]).toEqual([1, ['old']]);
    expect(result.copiesDueMs).toBe(storeTimeMs + 1000);
    expect(decisions.slice(-4).map(({ stays }) => stays?.kind)).toEqual([undefined, 'young', 'undated', 'foreign']);
  });
});

describe('tables of a compaction', () => {
  it('keep their inputs for a quarter of an hour, also without the checkpoint of the commit', async () => {
    await db.play(`
      0: manifest 1: nothing
      5: job J_50 completed
      10: table A_10
      11: table B_10
      60: table N_60
      400: table X_30 of A_10
      401: manifest 2: l0 N_60; run 1 X_30
      402: manifest 3: l0 N_60; run 1 X_30
      403: manifest 4: l0 N_60; run 1 X_30
    `);
    db.until(800);
    expect(await goes()).toEqual(['manifest 1', 'table B_10']);
    expect((await lines()).find((line) => line.startsWith('table A_10'))).toBe(
      'table A_10 is needed by table X_30, made of it, until 1301 s',
    );
    db.until(1362);
    expect(await goes()).toEqual(['manifest 1', 'table A_10', 'table B_10']);
  });
});

describe('fences', () => {
  const script = `
    0: manifest 1: nothing
    1: empty 1
    2: fence 2
    3: wal 3
    4: wal 4
    5: manifest 2: replay 4
  `;
  it('go with `collect` when they are a day old and a boundary file exists', async () => {
    await db.play(script);
    db.until(90_000);
    expect(await goes({ fences: 'collect', recentManifests: 1 })).toEqual(['manifest 1', 'wal 3']);
    await ran(db, roundsOn(db, { fences: 'collect', recentManifests: 1 }), true);
    expect(await goes({ fences: 'collect' })).toEqual(['wal 1', 'wal 2']);
    expect(await goes()).toEqual([]);
  });
});

describe('a checkpoint that has expired', () => {
  const script = `
    0: manifest 1: nothing
    2: manifest 2: cp c 1 until 100
    3: manifest 3: cp c 1 until 100
    4: manifest 4: cp c 1 until 100
  `;
  it('is dropped first, so no reader can extend what is being deleted', async () => {
    await db.play(script);
    db.until(2000);
    const { result } = await ran(db, roundsOn(db), true);
    expect([result.manifestId, result.droppedCheckpoints.length]).toEqual([5, 1]);
    expect((await db.paths('manifest/')).map(shortPath)).toEqual(['manifest 3', 'manifest 4', 'manifest 5']);
  });

  it('stays as long as the store’s clock is not a minute past it', async () => {
    await db.play(script);
    db.until(160);
    const { result } = await ran(db, roundsOn(db, { minAgeMs: 0, allowUnsafeMinAge: true, recentManifests: 1 }), true);
    expect(result.droppedCheckpoints).toEqual([]);
    expect((await db.paths('manifest/')).map(shortPath)).toEqual(['manifest 1', 'manifest 4']);
    expect(result.nextDueMs).toBeGreaterThan(db.clock.nowMs());
  });

  it('keeps what it pins if a reader extends it at that very moment', async () => {
    await db.play(script);
    db.until(2000);
    const extend = async () => db.make('manifest 5: cp c 1 until 9000');
    const line = forwarding(db.memory);
    const put: ObjectStore['put'] = async (path, bytes, options) => {
      if (path.startsWith('manifest/') && (await db.newestManifestId()) === 4) await extend();
      return db.memory.put(path, bytes, options);
    };
    const { result } = await ran(
      db,
      roundsOn(db, { recentManifests: 1 }, { ...line, conformance: 'known', put }),
      true,
    );
    expect(result.manifestId).toBe(5);
    expect((await db.paths('manifest/')).map(shortPath)).toEqual(['manifest 1', 'manifest 5']);
  });
});

describe('ages are the store’s', () => {
  const script = `
    0: manifest 1: nothing
    100: manifest 2: nothing
    101: manifest 3: nothing
    102: manifest 4: nothing
    103: wal 1
    104: wal 2
    105: manifest 5: replay 2
  `;
  it.each([[-3_600_000], [3_600_000]])('however wrong the clock of this host is (%i ms)', async (offMs) => {
    await db.play(script);
    db.until(250);
    const offset = offMs;
    const { clock } = db;
    const host = {
      nowMs: () => clock.nowMs() + offset,
      monotonicMs: () => clock.monotonicMs(),
      setTimer: clock.setTimer.bind(clock),
      yieldToLoop: clock.yieldToLoop.bind(clock),
    };
    const said = async () => {
      const { decisions } = await ran(db, roundsOn(db, { recentManifests: 1 }, undefined, host), false);
      return decisions.map(decisionText).filter((line) => / goes | too young /.test(line));
    };
    const young = ['manifest 1 is too young until 300 s', 'manifest 2 is too young until 400 s'];
    expect((await said()).slice(0, 2)).toEqual(young);
    db.until(400);
    expect(await said()).toEqual([
      'manifest 3 is too young until 401 s',
      'manifest 4 is too young until 402 s',
      'manifest 1 goes (manifest)',
      'manifest 2 goes (manifest)',
      'wal 1 is too young until 403 s',
    ]);
  });

  it.each([
    [
      'lists',
      (store: ObjectStore): ObjectStore => ({
        ...forwarding(store),
        conformance: 'known',
        list: (p, o) => undated(store.list(p, o)),
      }),
    ],
  ])('and in a store whose %s have no date nothing is old', async (_, wrap) => {
    await db.play(script);
    db.until(100_000);
    const { result, decisions } = await ran(db, roundsOn(db, {}, wrap(db.memory)), true);
    expect(result.going).toEqual(result.deleted);
    expect(decisions.filter(({ stays }) => stays === undefined)).toEqual([]);
    expect(decisions.filter(({ stays }) => stays?.kind === 'undated').map(({ path }) => shortPath(path))).toEqual([
      'manifest 1',
      'manifest 2',
    ]);
  });
});

async function* undated(objects: ReturnType<ObjectStore['list']>): ReturnType<ObjectStore['list']> {
  for await (const { storeTimeMs: _, ...object } of objects) yield object;
}

describe('where no boundary file can be raised', () => {
  const script = `
    0: manifest 1: nothing
    1: job J_1 completed
    2: job K_2 completed
    3: wal 1
    4: wal 2
    5: manifest 2: replay 2
  `;
  const unknown = (put: ObjectStore['put']): ObjectStore => ({ ...forwarding(db.memory), name: 'unknown', put });
  const withoutCondition: ObjectStore['put'] = (path, bytes, options) =>
    db.memory.put(path, bytes, typeof options.condition === 'object' ? { ...options, condition: 'any' } : options);
  const options: GcOptions = { recentManifests: 1 };

  it('manifests and compactions files stay, and the price is said', async () => {
    await db.play(script);
    db.until(1000);
    const rounds = roundsOn(db, options, unknown(withoutCondition));
    const { result } = await ran(db, rounds, true);
    expect((await db.paths()).map(shortPath)).toEqual(
      expect.arrayContaining(['manifest 1', 'manifest 2', 'compactions 1', 'compactions 2', 'wal 2']),
    );
    expect(await db.paths('gc/')).toEqual([]);
    expect(result.deleted).toMatchObject({ log: { objects: 1 }, manifest: { objects: 0 } });
    expect(result.notes.join()).toMatch(/does not honour If-Match.*2 manifests and compactions files \(\d+ bytes\)/);
    const again = await ran(db, rounds, true);
    expect(again.decisions.map(decisionText)).toContain(
      'manifest 1 stays because the store does not honour If-Match, so that no boundary file can be raised',
    );
  });

  it('they go without one where that is wanted', async () => {
    await db.play(script);
    db.until(1000);
    await ran(db, roundsOn(db, { ...options, boundaryFiles: 'off' }, unknown(withoutCondition)), true);
    expect((await db.paths()).map(shortPath)).toEqual(['compactions 2', 'manifest 2', 'wal 2']);
  });

  it('a dry run does not try the store', async () => {
    await db.play(script);
    db.until(1000);
    const readOnly = unknown(() => Promise.reject(new Error('a dry run wrote something')));
    expect((await ran(db, roundsOn(db, options, readOnly), false)).result.notes).toEqual([]);
  });
});

describe('when in doubt nothing goes, and a finding says why', () => {
  const script = `
    0: manifest 1: nothing
    1: job J_50 completed
    2: job K_60 completed
    3: wal 1
    4: wal 2
    5: wal 3
    6: table A_10
    7: table B_20
    8: table Q_10
    60: table N_60
    61: manifest 2: l0 N_60; run 1 B_20
    62: manifest 3: l0 N_60; run 1 B_20
    63: manifest 4: l0 N_60; run 1 B_20
    64: manifest 5: l0 N_60 A_10; run 1 B_20; replay 3; cp c 2
  `;

  interface Stopped {
    stopped: string | undefined;
    findings: string[];
    left: string[];
  }
  async function stoppedBy(store?: ObjectStore, options: GcOptions = { recentManifests: 1 }): Promise<Stopped> {
    const before = await db.paths();
    const { result } = await ran(db, roundsOn(db, options, store), true);
    const left = await db.paths();
    return {
      stopped: result.stopped,
      findings: result.findings.map((f) => `${f.severity} ${f.code} ${f.object.path}`),
      left: before.filter((path) => !left.includes(path)).map(shortPath),
    };
  }
  beforeEach(async () => {
    await db.play(script);
    db.until(1000);
  });

  it('but without a doubt it does', async () => {
    // The log needs that of manifest 2, which the checkpoint pins; jobs of the file before count no more.
    expect(await stoppedBy()).toEqual({
      stopped: undefined,
      findings: [],
      left: ['table Q_10', 'compactions 1', 'manifest 1', 'manifest 3', 'manifest 4', 'wal 1', 'wal 2'],
    });
  });

  it.each([
    [
      'manifest/00000000000000000002.manifest',
      /is gone, and checkpoint c of manifest 5 names it/,
      'warning MISSING_OBJECT',
    ],
    ['compacted/01J0000QAG000000000000000B.sst', /which is needed, is gone/, 'error MISSING_OBJECT'],
  ])('when %s is missing', async (path, why, finding) => {
    const named =
      (await db.paths()).find((p) => p === path) ?? (await db.paths('compacted/')).find((p) => p.endsWith('B.sst'))!;
    await db.memory.delete([named]);
    const { stopped, findings, left } = await stoppedBy();
    expect(stopped).toMatch(why);
    expect(findings).toEqual([`${finding} ${named}`]);
    expect(left).toEqual([]);
  });

  it.each([
    ['manifest/', 'manifest 5'],
    ['manifest/', 'manifest 2'],
    ['compacted/', 'table B_20'],
    ['compacted/', 'table N_60'],
  ])('when a list of %s does not show %s', async (prefix, hidden) => {
    const store: ObjectStore = {
      ...forwarding(db.memory),
      conformance: 'known',
      list: (p, o) => without(db.memory.list(p, o), hidden),
    };
    const { stopped, findings, left } = await stoppedBy(store);
    expect(stopped).toMatch(/does not list .*, which exists/);
    expect(findings[0]).toMatch(new RegExp(`^unknown OUT_OF_REACH ${prefix}`));
    expect(left).toEqual([]);
  });

  it.each([
    ['gc/manifest.boundary', 'seven', 'error MALFORMED', []],
    ['gc/manifest.boundary', '5', 'error MANIFEST_INCONSISTENT', []],
    ['gc/manifest.boundary', '99', 'error MANIFEST_INCONSISTENT', []],
    [
      'gc/compactions.boundary',
      'seven',
      'warning MALFORMED',
      ['manifest 1', 'manifest 3', 'manifest 4', 'wal 1', 'wal 2'],
    ],
    [
      'gc/compactions.boundary',
      '2',
      'warning MANIFEST_INCONSISTENT',
      ['manifest 1', 'manifest 3', 'manifest 4', 'wal 1', 'wal 2'],
    ],
  ])('when %s is %s', async (path, text, finding, expected) => {
    await db.make(`object ${path} ${text}`);
    const { findings, left } = await stoppedBy();
    expect(findings).toEqual([`${finding} ${path}`]);
    expect(left).toEqual(expected);
  });

  it('when the newest compactions file cannot be read: then no table goes', async () => {
    await db.make('object compactions/00000000000000000003.compactions rubbish');
    const { findings, left } = await stoppedBy();
    expect(findings[0]).toMatch(/^warning .* compactions\/00000000000000000003.compactions/);
    expect(left).toEqual(['manifest 1', 'manifest 3', 'manifest 4', 'wal 1', 'wal 2']);
  });

  it.each([
    ['newest', 5, 1],
    ['recent', 4, 3],
    ['pinned', 2, 1],
  ])('when a manifest that is needed is damaged: the %s', async (_, id, recentManifests) => {
    const path = `manifest/${String(id).padStart(20, '0')}.manifest`;
    const { bytes } = (await db.memory.get(path))!;
    bytes[40] ^= 1;
    bytes[60] ^= 1;
    await db.put(path, bytes);
    const { stopped, findings, left } = await stoppedBy(undefined, { recentManifests });
    expect(stopped).toContain(path);
    expect(findings[0]).toContain(path);
    expect(left).toEqual([]);
  });

  it('when the plan of a repair cannot be read, for a day', async () => {
    await db.make('object shale/repairs/REPAIR/plan-1 rubbish');
    const first = await stoppedBy();
    expect(first).toMatchObject({ stopped: undefined, left: ['compactions 1'] });
    expect(first.findings[0]).toMatch(/^warning MALFORMED shale\/repairs\//);
    db.until(90_000);
    const later = await stoppedBy();
    expect(later.left).toContain('table Q_10');
    expect(later.findings.length).toBe(1);
  });

  it('when a file has fields that a newer program wrote', async () => {
    await db.make('unsealed manifest 6: l0 N_60 A_10; run 1 B_20; replay 3; cp c 2');
    const path = 'manifest/00000000000000000006.manifest';
    const { bytes } = (await db.memory.get(path))!;
    bytes[1] = 9;
    await db.put(path, bytes);
    expect(await stoppedBy()).toMatchObject({ findings: [`unknown FORMAT_TOO_NEW ${path}`], left: [] });
  });

  it('when an older list is shown than before', async () => {
    const rounds = roundsOn(db, { recentManifests: 1 });
    rounds.know(6);
    const { result } = await ran(db, rounds, true);
    expect(result.stopped).toMatch(/does not list manifest\/0*6/);
    expect(result.deleted.manifest.objects).toBe(0);
  });

  it('where no database is, it is an error', async () => {
    await db.memory.delete(await db.paths());
    expect(await rejection(ran(db, roundsOn(db), true))).toMatchObject({ code: 'NOT_A_DATABASE' });
    await db.make('wal 1');
    expect((await ran(db, roundsOn(db), true)).result.stopped).toMatch(/no manifest is left/);
  });
});

async function* without(objects: ReturnType<ObjectStore['list']>, hidden: string): ReturnType<ObjectStore['list']> {
  for await (const object of objects) if (shortPath(object.path) !== hidden) yield object;
}
