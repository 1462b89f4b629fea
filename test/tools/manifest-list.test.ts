/** The versions of a database, and what differs between two of them: good, damaged, missing, of a newer form. */
import { describe, expect, it } from 'vitest';
import { type ManifestListReport, type ManifestSummary, manifestDiff, manifestList } from '../../src/admin.ts';
import { MANIFEST_BOUNDARY_PATH, manifestPath } from '../../src/format/object-names.ts';
import { rejection, World, worldOfFixture } from '../support/database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';
import { toolOptions } from '../support/tool-laws.ts';

type Options = NonNullable<Parameters<typeof manifestList>[1]>;

function list(world: World, options: Options = {}, line = world.line()): Promise<ManifestListReport> {
  return world.run(manifestList({ store: line, path: '' }, { ...toolOptions(world), ...options }));
}

function diff(world: World, from: number, to?: number, line = world.line()) {
  return world.run(manifestDiff({ store: line, path: '' }, from, to, toolOptions(world)));
}

async function database(): Promise<World> {
  const world = new World();
  const db = await world.open();
  for (const key of ['a', 'b']) {
    await world.run(db.put(key, 'value'));
    await world.run(db.flush({ type: 'memtable' }));
  }
  await world.run(db.close());
  return world;
}

const states = ({ manifests }: ManifestListReport) => manifests.map(({ id, state }) => [Number(id), state]);
const entry = ({ manifests }: ManifestListReport, id: number): ManifestSummary =>
  manifests.find((one) => one.id === BigInt(id)) ?? expect.fail(`no entry ${id}`);

async function cut(world: World, id: number): Promise<void> {
  await world.replace(manifestPath(id), (await world.bytes(manifestPath(id))).subarray(0, 60));
}

describe('the versions of a database', () => {
  it('are listed newest first, with dates, authors and numbers, and nothing is changed', async () => {
    const world = await database();
    const before = await world.versions();
    const report = await list(world);
    expect(await world.versions()).toEqual(before);
    const ids = (await world.paths('manifest/')).length;
    expect(report.manifests.map(({ id }) => Number(id))).toEqual(Array.from({ length: ids }, (_, i) => ids - i));
    expect(report).toMatchObject({ older: 0, findings: [] });
    const [newest] = report.manifests;
    expect(newest).toMatchObject({
      state: 'ok',
      path: manifestPath(ids),
      author: { role: 'writer', epoch: 1n, software: '0.1.0' },
      content: { writerEpoch: 1n, l0: 2, runs: 0, tables: 2, lastL0Seq: 2n, closed: true },
      pinnedBy: [],
    });
    expect(newest.size).toBe((await world.bytes(newest.path)).length);
    expect(newest.storedAtMs).toBe((await world.memory.head(newest.path))?.lastModifiedMs);
    // The one that claimed the epoch names its process.
    expect(report.manifests.filter(({ author }) => author?.owner !== undefined).length).toBe(1);
    expect(report.manifests.flatMap(({ changes }) => changes ?? [])).toEqual(
      expect.arrayContaining([expect.stringMatching(/^L0 table \w+ added$/), 'writer epoch: 0 → 1']),
    );
  });

  it('cost a LIST, a HEAD, the boundary, and one GET each; a limit reads the newest and counts the others', async () => {
    const world = await database();
    const ids = (await world.paths('manifest/')).length;
    const line = world.line();
    expect((await list(world, {}, line)).requests).toBe(3 + ids);
    expect(line.take().length).toBe(3 + ids);
    const few = await list(world, { limit: 2 }, line);
    expect([few.manifests.length, few.older, line.take().length]).toEqual([2, ids - 2, 5]);
    expect(few.manifests[1].changes).toBeUndefined();
  });

  it('of SlateDB have no authors, and show which checkpoints keep them', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/compacted');
    const report = await list(world);
    expect(report.findings).toEqual([]);
    expect(report.manifests.every(({ author }) => author === undefined)).toBe(true);
    const { manifest_objects: stored, latest_manifest: newest } = goldenFixture('slatedb-0.17.0/compacted').expected;
    expect(
      report.manifests.map(({ size, content }) => [size, content?.l0, content?.runs, content?.replayAfterWalId]),
    ).toEqual(
      [...stored]
        .reverse()
        .map(({ size, l0, compacted, replay_after_wal_id: replay }) => [
          size,
          l0.length,
          compacted.length,
          BigInt(replay),
        ]),
    );
    for (const { id, manifest_id: pinned } of newest.checkpoints) {
      expect(entry(report, Number(pinned)).pinnedBy).toEqual([id]);
    }
  });

  it('of a segmented database count the tables of all segments', async () => {
    const report = await list(await worldOfFixture('slatedb-0.18.0/segments'));
    expect(report.manifests[0].content).toMatchObject({ l0: 3, runs: 2, tables: 5, segments: 3 });
  });

  it('after a collection say how far it went', async () => {
    const report = await list(await worldOfFixture('slatedb-0.17.0/collected'));
    expect(report.boundary).toBeGreaterThan(0n);
    expect(report.manifests.at(-1)?.id).toBeGreaterThan(1n);
  });
});

describe('a manifest that is damaged', () => {
  it('is listed as damaged with the reason and what to run next: of the newest to repair it', async () => {
    const world = await database();
    const newest = (await world.paths('manifest/')).length;
    await cut(world, newest);
    const report = await list(world);
    expect(states(report).slice(0, 2)).toEqual([
      [newest, 'damaged'],
      [newest - 1, 'ok'],
    ]);
    const damaged = entry(report, newest);
    expect(damaged.problem).not.toContain('manifest/');
    expect(damaged.problem?.length).toBeGreaterThan(10);
    expect(damaged.content).toBeUndefined();
    expect(report.findings).toMatchObject([
      {
        severity: 'error',
        reads: { attempts: 2 },
        hint: {
          commands: [`shaledb manifest inspect LOCATION ${newest}`, 'shaledb manifest repair LOCATION'],
        },
      },
    ]);
  });

  it('is a warning where it is an older one, which nothing repairs', async () => {
    const world = await database();
    await cut(world, 2);
    const report = await list(world);
    expect(entry(report, 2).state).toBe('damaged');
    expect(entry(report, 3).changes).toBeUndefined();
    expect(report.findings).toMatchObject([
      { severity: 'warning', hint: { commands: ['shaledb manifest inspect LOCATION 2'] } },
    ]);
  });

  it('or gone leaves open what changed after it', async () => {
    const world = await database();
    await world.remove(manifestPath(2));
    const report = await list(world);
    expect(report.findings).toEqual([]);
    expect([entry(report, 4).changes?.length, entry(report, 3).changes]).toEqual([expect.any(Number), undefined]);
  });

  it('is missing where a checkpoint needs it', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/compacted');
    await world.remove(manifestPath(8));
    const report = await list(world);
    expect(entry(report, 8)).toMatchObject({ state: 'missing', size: 0, pinnedBy: [expect.any(String)] });
    expect(report.findings).toMatchObject([{ code: 'MISSING_OBJECT', severity: 'warning' }]);
    // Below a limit others are there that are not read.
    expect(states(await list(world, { limit: 2 }))).toEqual([
      [16, 'ok'],
      [15, 'ok'],
    ]);
  });

  it('is unknown where a newer program wrote it', async () => {
    const world = await database();
    const newest = (await world.paths('manifest/')).length;
    const bytes = (await world.bytes(manifestPath(newest))).slice(0, 60);
    bytes[1] = 9;
    await world.replace(manifestPath(newest + 1), bytes);
    const report = await list(world);
    expect(states(report)[0]).toEqual([newest + 1, 'unknown']);
    expect(report.findings).toMatchObject([{ code: 'FORMAT_TOO_NEW', severity: 'unknown' }]);
  });

  it('or a boundary file that cannot be read hides nothing', async () => {
    const world = await database();
    await world.replace(MANIFEST_BOUNDARY_PATH, new TextEncoder().encode('rubbish'));
    const report = await list(world);
    expect(report.manifests.every(({ state }) => state === 'ok')).toBe(true);
    expect(report.boundary).toBeUndefined();
    expect(report.findings).toMatchObject([{ object: { role: 'boundary' } }]);
  });
});

describe('no versions', () => {
  it('are where no database is, and damage where other objects of one are left', async () => {
    expect(await rejection(list(new World()))).toMatchObject({ code: 'NOT_A_DATABASE' });
    const world = await database();
    await world.remove(...(await world.paths('manifest/')));
    expect(await list(world)).toMatchObject({
      manifests: [],
      findings: [{ code: 'MISSING_OBJECT', severity: 'error' }],
    });
    expect(await rejection(diff(world, 1))).toMatchObject({ code: 'MISSING_OBJECT' });
  });

  it('are shown while the store does not answer, or with a limit of none', async () => {
    const world = await database();
    world.faults.add({ action: 'status:503', op: 'list' });
    expect(await rejection(list(world))).toMatchObject({ kind: 'unavailable' });
    expect(await rejection(list(world, { limit: 0 }))).toMatchObject({ code: 'BAD_OPTION' });
  });
});

describe('what differs between two versions', () => {
  it('is said in words, in both directions, up to the newest if no other is named', async () => {
    const world = await database();
    const ids = (await world.paths('manifest/')).length;
    const line = world.line();
    const forth = await diff(world, 1, undefined, line);
    expect(forth).toMatchObject({ from: 1n, to: BigInt(ids), requests: 4 });
    expect(line.take().length).toBe(4);
    expect(forth.changes.filter(({ text }) => /^L0 table \w+ added$/.test(text)).length).toBe(2);
    const back = await diff(world, ids, 1);
    expect(back.changes.filter(({ text }) => /^L0 table \w+ removed$/.test(text)).length).toBe(2);
    expect((await diff(world, ids, ids)).changes).toEqual([]);
  });

  it('is refused for an id that is not there, with those that are', async () => {
    const world = await database();
    const error = await rejection(diff(world, 99));
    expect(error).toMatchObject({
      code: 'BAD_ARGUMENT',
      message: /there is no manifest 99; there are \d, from 1 to \d/,
    });
    expect(error.hint?.commands).toEqual(['shaledb manifest list LOCATION']);
    expect(await rejection(diff(world, -1))).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(await rejection(diff(world, 1.5))).toMatchObject({ code: 'BAD_ARGUMENT' });
    expect(await rejection(diff(new World(), 1))).toMatchObject({ code: 'NOT_A_DATABASE' });
  });

  it('is refused for one that is damaged or of a newer form, with what to do', async () => {
    const world = await database();
    await cut(world, 2);
    expect(await rejection(diff(world, 2, 3))).toMatchObject({
      kind: 'corruption',
      message: /manifest 2 is damaged and cannot be compared .*: shaledb manifest inspect LOCATION 2$/,
    });
    const bytes = (await world.bytes(manifestPath(3))).slice(0, 60);
    bytes[1] = 9;
    await world.replace(manifestPath(3), bytes);
    expect(await rejection(diff(world, 1, 3))).toMatchObject({ code: 'FORMAT_TOO_NEW' });
  });
});
