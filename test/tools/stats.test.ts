/** A database in numbers: on all databases of SlateDB, against what the collector decides, on damaged ones, and what it costs. */
import { describe, expect, it } from 'vitest';
import { gcOnce, type StatsReport, stats } from '../../src/admin.ts';
import { compactionsPath, manifestPath, repairFilePath } from '../../src/format/object-names.ts';
import { rejection, World, worldOfFixture } from '../support/database.ts';
import { GcDatabase } from '../support/gc-database.ts';
import { goldenInMemory } from '../support/golden-database.ts';
import { goldenFixture, goldenFixtures } from '../support/golden-fixtures.ts';
import { toolOptions } from '../support/tool-laws.ts';

type Options = NonNullable<Parameters<typeof stats>[1]>;

function numbers(world: World, options: Options = {}, line = world.line()): Promise<StatsReport> {
  return world.run(stats({ store: line, path: '' }, { ...toolOptions(world), ...options }));
}

const directory = ({ directories }: StatsReport, name: string) =>
  directories.find((one) => one.directory === name) ?? expect.fail(`no ${name}`);

async function database(tables = 3): Promise<World> {
  const world = new World();
  const db = await world.open();
  for (let i = 0; i < tables; i++) {
    await world.run(db.put(`key-${i}`, 'v'.repeat(100)));
    await world.run(db.delete('gone'));
    await world.run(db.flush({ type: 'memtable' }));
  }
  await world.run(db.put('late', 'in the log'));
  await world.run(db.close());
  await world.clock.advance(3_600_000);
  return world;
}

describe('the numbers of a database', () => {
  it('are those of its manifest, tables, log and objects, and nothing is changed', async () => {
    const world = await database();
    const before = await world.versions();
    const report = await numbers(world);
    expect(await world.versions()).toEqual(before);
    const ids = await world.paths('manifest/');
    expect(report).toMatchObject({
      manifestId: BigInt(ids.length),
      initialized: true,
      writer: { epoch: 1n, closed: true },
      compactor: { epoch: 0n },
      seqs: { durable: 7n },
      runs: { runs: 0, views: 0, bytes: 0 },
      checkpoints: [],
      parents: [],
      findings: [],
    });
    expect(report.databaseId).toMatch(/^[0-9a-f]{32}$/);
    expect(report.level0.tombstones).toBeGreaterThanOrEqual(3);
    // Tables of so few rows have no filters: each costs a block.
    const { tables } = report.gets;
    expect(tables).toBeGreaterThanOrEqual(3);
    expect(report.gets).toEqual({ tables, cold: 2 * tables, warm: tables });
    expect(report.amplification.space).toBeUndefined();
    // Every object is in one directory, with its size.
    const stored = await Promise.all((await world.paths()).map(async (path) => (await world.bytes(path)).length));
    expect(report.total.stored).toEqual({ objects: stored.length, bytes: stored.reduce((a, b) => a + b) });
    const { needed, unneeded, young, foreign } = report.total;
    expect(needed!.objects + unneeded!.objects + young!.objects + foreign.objects).toBe(stored.length);
    expect(unneeded!.objects).toBeGreaterThan(0);
    expect(report.amplification.stored).toBeCloseTo(report.total.stored.bytes / needed!.bytes);
  });

  it('count the log after the replay point, and name the writer where a manifest that is kept does', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c'], { owner: 'db1:47' });
    const report = await numbers(world);
    const wal = await world.paths('wal/');
    expect(report.log).toMatchObject({ objects: wal.length, replayAfterWalId: 0n, lastWalId: BigInt(wal.length) });
    expect(report.level0.views).toBe(0);
    expect(report.writer).toEqual({ epoch: 1n, owner: 'db1:47', closed: false });
    expect(report.gets).toEqual({ tables: 0, cold: 0, warm: 0 });
  });

  it('do not call unneeded what was stored a moment ago: it may be about to be named', async () => {
    const world = await database();
    const id = '01JZ0000000000000000000000';
    await world.replace(`compacted/${id}.sst`, new Uint8Array(50));
    expect(directory(await numbers(world), 'compacted/')).toMatchObject({
      young: { objects: 1, bytes: 50 },
      unneeded: { objects: 0 },
    });
    await world.clock.advance(300_000);
    expect(directory(await numbers(world), 'compacted/')).toMatchObject({
      young: { objects: 0 },
      unneeded: { objects: 1, bytes: 50 },
    });
  });

  it('name what is foreign', async () => {
    const world = await database();
    await world.replace('compacted/readme.md', new Uint8Array(9));
    const report = await numbers(world);
    expect(directory(report, 'compacted/').foreign).toEqual({ objects: 1, bytes: 9 });
    expect(report.total.foreign).toEqual({ objects: 1, bytes: 9 });
  });

  it('cost the requests that the documentation says, without the ends of tables none of each table', async () => {
    const world = await database(4);
    const line = world.line();
    const report = await numbers(world, {}, line);
    const tables = (await world.paths('compacted/')).length;
    const requests = line.take();
    expect([report.requests, requests.length]).toEqual([requests.length, 16 + tables]);
    const bare = await numbers(world, { tails: false }, line);
    expect(line.take().length).toBe(16);
    expect(bare.level0).toMatchObject({ rows: 0, uncounted: tables });
    expect(bare.total).toEqual(report.total);
  });

  it('are those of an open database, too', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', '1'));
    expect((await world.run(stats(db, toolOptions(world)))).log?.objects).toBeGreaterThan(0);
    await world.run(db.close());
  });
});

describe('the numbers of a database of SlateDB', () => {
  const fixtures = goldenFixtures().filter(({ expected }) => expected.latest_manifest !== undefined);

  it.each(fixtures.map((fixture) => [fixture.name, fixture] as const))('%s', async (_, fixture) => {
    const { expected } = fixture;
    const location = await goldenInMemory(fixture);
    const { logger } = toolOptions(new World());
    const report = await stats(location, { logger });
    expect(report.findings.filter(({ severity }) => severity !== 'note')).toEqual([]);
    const { writer_epoch, compactor_epoch, last_l0_seq, checkpoints, replay_after_wal_id } = expected.latest_manifest;
    expect(report).toMatchObject({
      writer: { epoch: BigInt(writer_epoch) },
      compactor: { epoch: BigInt(compactor_epoch) },
      seqs: { inTables: BigInt(last_l0_seq) },
      log: { replayAfterWalId: BigInt(replay_after_wal_id) },
    });
    expect(report.checkpoints.map(({ id, manifestId }) => [id, String(manifestId)])).toEqual(
      checkpoints.map(({ id, manifest_id }: { id: string; manifest_id: string }) => [id, manifest_id]),
    );
  });

  it('estimate what a full compaction would leave, and what a get asks', async () => {
    const fixture = goldenFixture('slatedb-0.17.0/compacted');
    const report = await stats(await goldenInMemory(fixture), { logger: toolOptions(new World()).logger });
    const size = (id: string) =>
      fixture.expected.compacted_ssts.find(({ object }: { object: string }) => object.includes(id)).size;
    const { l0, compacted } = fixture.expected.latest_manifest;
    const sum = (views: { id: string }[]) => views.reduce((n, { id }) => n + size(id), 0);
    expect(report.level0.bytes).toBe(sum(l0));
    expect(report.runs).toMatchObject({ runs: 2, bytes: sum(compacted[0].ssts) + sum(compacted[1].ssts) });
    expect(report.amplification.space).toBeCloseTo((report.level0.bytes + report.runs.bytes) / sum(compacted[1].ssts));
    expect(report.gets).toEqual({ tables: 3, cold: 6, warm: 1 });
  });
});

describe('what is needed', () => {
  /** Where the collector says that something needs an object, or that it is kept for good. */
  const KEPT = new Set(['needed', 'newest', 'lasting']);

  it.each([
    'slatedb-0.12.1/compacted',
    'slatedb-0.12.1/reader-checkpoint',
    'slatedb-0.17.0/collected',
    'slatedb-0.17.0/compacted',
    'slatedb-0.18.0/checkpoints',
    'slatedb-0.18.0/incremental',
    'slatedb-0.18.0/segments',
  ])('of %s is what a collector keeps because something needs it', async (name) => {
    const world = await worldOfFixture(name);
    await world.clock.advance(1_800_000);
    const plan = await world.run(gcOnce({ store: world.line(), path: '' }, toolOptions(world)));
    expect(plan.stopped).toBeUndefined();
    const report = await numbers(world);
    for (const { directory: prefix, needed } of report.directories) {
      // It says nothing about boundary files.
      if (prefix === 'gc/') continue;
      // A collector drops expired checkpoints by one more manifest first.
      if (prefix === 'manifest/' && plan.droppedCheckpoints.length > 0) continue;
      const kept = plan.objects.filter(({ path, state }) => path.startsWith(prefix) && KEPT.has(state));
      expect([prefix, needed?.objects]).toEqual([prefix, kept.length]);
    }
    expect(report.total.unneeded!.objects).toBeGreaterThan(0);
  });

  it('is what an open repair names, its copies, and for a while the inputs of a compaction', async () => {
    const db = new GcDatabase();
    await db.play(`
      0: manifest 1: nothing
      5: job J_50 completed
      10: table A_10
      11: table B_10
      60: table N_60
      70: table P_70
      71: copy wal/1
      72: wal 1
      73: plan REPAIR 1 makes P_70 reads wal/1
      400: table X_30 of A_10
      401: manifest 2: l0 N_60; run 1 X_30; replay 5
      402: manifest 3: l0 N_60; run 1 X_30; replay 5
      403: manifest 4: l0 N_60; run 1 X_30; replay 5
    `);
    const unneeded = async (seconds: number) => {
      db.until(seconds);
      const options = { clock: db.clock, logger: toolOptions(new World()).logger };
      const { directories } = await db.run(stats({ store: db.memory, path: '' }, options));
      return directories.flatMap(({ directory: name, unneeded: of }) =>
        of!.objects > 0 ? [`${name} ${of!.objects}`] : [],
      );
    };
    // The table B_10; and A_10 when nobody can ask for it any more.
    expect(await unneeded(800)).toEqual(['manifest/ 1', 'compacted/ 1']);
    expect(await unneeded(2000)).toEqual(['manifest/ 1', 'compacted/ 2']);
    await db.make('report REPAIR 1');
    expect(await unneeded(3000)).toEqual(['manifest/ 1', 'wal/ 1', 'compacted/ 3', 'shale/ 1']);
  });

  it('is not known where something that names objects cannot be read', async () => {
    const cases: [string, (world: World) => Promise<void>, object][] = [
      [
        'compactions',
        (world) => world.replace(compactionsPath(13), new Uint8Array(5)),
        { object: { role: 'compactions' } },
      ],
      [
        'a pinned manifest',
        (world) => world.replace(manifestPath(8), new Uint8Array(5)),
        { object: { role: 'manifest' } },
      ],
      [
        'a recent manifest',
        (world) => world.replace(manifestPath(15), new Uint8Array(5)),
        { object: { role: 'manifest' }, severity: 'warning' },
      ],
      ['no pinned manifest', (world) => world.remove(manifestPath(8)), { code: 'MISSING_OBJECT' }],
      [
        'a plan',
        (world) => world.replace(repairFilePath(`r-${'a'.repeat(24)}`, 'plan', 1), new Uint8Array(5)),
        { object: { role: 'sidecar' } },
      ],
    ];
    for (const [name, damage, finding] of cases) {
      const world = await worldOfFixture('slatedb-0.17.0/compacted');
      await damage(world);
      const report = await numbers(world);
      expect(report.findings, name).toMatchObject([finding]);
      expect([report.total.needed, report.total.unneeded, report.amplification.stored], name).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      expect(report.total.stored.objects, name).toBeGreaterThan(40);
      expect(report.runs.runs, name).toBe(2);
    }
  });
});

describe('no numbers', () => {
  it('are where no database is, of one whose newest manifest is damaged, and while the store does not answer', async () => {
    expect(await rejection(numbers(new World()))).toMatchObject({ code: 'NOT_A_DATABASE' });
    const world = await database();
    const newest = (await world.paths('manifest/')).length;
    const damaged = await world.copy();
    await damaged.replace(manifestPath(newest), (await damaged.bytes(manifestPath(newest))).subarray(0, 40));
    expect(await rejection(numbers(damaged))).toMatchObject({ message: /Repair it first: shaledb manifest repair/ });
    const newer = await world.copy();
    const bytes = (await newer.bytes(manifestPath(newest))).slice(0, 60);
    bytes[1] = 9;
    await newer.replace(manifestPath(newest + 1), bytes);
    expect(await rejection(numbers(newer))).toMatchObject({ code: 'FORMAT_TOO_NEW' });
    world.faults.add({ action: 'status:503', op: 'list', path: 'wal/' });
    expect(await rejection(numbers(world))).toMatchObject({ kind: 'unavailable' });
  });

  it('hide that tables are missing', async () => {
    const world = await database();
    const [gone] = await world.paths('compacted/');
    await world.remove(gone);
    const report = await numbers(world);
    expect(report.level0.faulty).toBe(1);
    expect(report.findings).toMatchObject([{ code: 'MISSING_OBJECT', object: { path: gone } }]);
  });

  it('are of a log in another store, which is said', async () => {
    const location = await goldenInMemory(goldenFixture('slatedb-0.12.1/separate-wal-store'));
    const { walStore: _, ...main } = location;
    const report = await stats(main, { logger: toolOptions(new World()).logger });
    expect(report.log).toBeUndefined();
    expect(report.directories.map(({ directory: name }) => name)).not.toContain('wal/');
    expect(report.findings).toMatchObject([{ severity: 'unknown', object: { path: 'wal/' } }]);
    expect((await stats(location)).log?.objects).toBeGreaterThan(0);
  });
});
