/** What a database looks like: on all databases of SlateDB, on damaged ones, beside others that replace tables, and what it costs. */
import { describe, expect, it } from 'vitest';
import { type TreeReport, type TreeTable, treeInspect } from '../../src/admin.ts';
import { MANIFEST_BOUNDARY_PATH, manifestPath } from '../../src/format/object-names.ts';
import { Author } from '../../src/lsm/manifest/author.ts';
import { NO_WITNESS, readManifest, sealManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { type Line, rejection, World, worldOfFixture } from '../support/database.ts';
import { goldenInMemory } from '../support/golden-database.ts';
import { goldenFixtures } from '../support/golden-fixtures.ts';
import { toolOptions } from '../support/tool-laws.ts';

type Options = NonNullable<Parameters<typeof treeInspect>[1]>;

function inspect(world: World, options: Options = {}, line = world.line()): Promise<TreeReport> {
  return world.run(treeInspect({ store: line, path: '' }, { ...toolOptions(world), ...options }));
}

const tablesIn = ({ trees }: TreeReport): TreeTable[] =>
  trees.flatMap(({ l0, runs }) => [...l0.tables, ...runs.flatMap((run) => run.tables)]);

async function tablesOf(world: World): Promise<string[]> {
  return world.paths('compacted/');
}

/** Level 0 of three tables. */
async function databaseOf(world: World, tables = 3): Promise<void> {
  const db = await world.open();
  for (let i = 0; i < tables; i++) {
    await world.run(db.put(`key-${i}`, 'v'.repeat(100)));
    await world.run(db.delete('gone'));
    await world.run(db.flush({ type: 'memtable' }));
  }
  await world.run(db.close());
}

describe('the tree of a database of SlateDB', () => {
  const fixtures = goldenFixtures().filter(({ expected }) => expected.latest_manifest !== undefined);

  it.each(fixtures.map((fixture) => [fixture.name, fixture] as const))('%s', async (_, fixture) => {
    const { expected } = fixture;
    const { walStore: _log, ...location } = await goldenInMemory(fixture);
    const report = await treeInspect(location, { logger: toolOptions(new World()).logger });
    expect(report.findings.filter(({ severity }) => severity !== 'note')).toEqual([]);
    // What an independent decoder read of the same objects.
    const { l0, compacted, segments } = expected.latest_manifest;
    const idsOf = (views: { id: string; sst_id?: string }[]) => views.map(({ id, sst_id }) => sst_id ?? id);
    const trees = [
      ...(l0.length + compacted.length > 0 || !segments?.length ? [{ l0, compacted }] : []),
      ...(segments ?? []),
    ];
    expect(
      report.trees.map((tree) => [
        tree.l0.tables.map(({ id }) => id),
        tree.runs.map((run) => [run.id, run.tables.map(({ id }) => id)]),
      ]),
    ).toEqual(
      trees.map((tree) => [
        idsOf(tree.l0),
        tree.compacted.map((run: { id: number; ssts: { id: string }[] }) => [BigInt(run.id), idsOf(run.ssts)]),
      ]),
    );
    for (const table of tablesIn(report)) {
      const stored = expected.compacted_ssts.find(({ object }: { object: string }) =>
        object.endsWith(`${table.id}.sst`),
      );
      const { num_puts, num_deletes, num_merges, raw_key_size, raw_val_size } = stored.stats;
      expect(table).toMatchObject({
        bytes: stored.size,
        state: 'ok',
        seal: 'none',
        rows: {
          puts: Number(num_puts),
          deletes: Number(num_deletes),
          merges: Number(num_merges),
          keyBytes: Number(raw_key_size),
          valueBytes: Number(raw_val_size),
        },
      });
    }
  });
});

describe('the tree of a database', () => {
  it('shows rows, tombstones, seals and sequence numbers, and changes nothing', async () => {
    const world = new World();
    await databaseOf(world);
    const before = await world.versions();
    await world.clock.advance(3_600_000);
    const report = await inspect(world);
    expect(await world.versions()).toEqual(before);
    expect(report).toMatchObject({ findings: [], totals: { tables: 3, rows: 6, tombstones: 3, sealed: 3, faulty: 0 } });
    const [newest] = report.trees[0].l0.tables;
    expect(newest).toMatchObject({ rows: { puts: 1, deletes: 1, merges: 0 }, seqs: { min: 5n, max: 6n }, seal: 'ok' });
    expect(report.nowMs - newest.createdAtMs).toBeGreaterThanOrEqual(3_600_000);
    expect(report.nowMs - (report.writtenAtMs ?? 0)).toBeGreaterThanOrEqual(3_600_000);
  });

  it('costs six requests and one for each table; without their ends no more than six', async () => {
    const world = new World();
    await databaseOf(world, 5);
    const line = world.line();
    const report = await inspect(world, {}, line);
    const requests = line.take();
    expect([report.requests, requests.length]).toEqual([11, 11]);
    expect(requests.filter((request) => request.startsWith('get compacted/')).length).toBe(5);
    const bare = await inspect(world, { tails: false }, line);
    expect([bare.requests, line.take().length]).toEqual([6, 6]);
    expect(tablesIn(bare).map(({ state, seal, rows }) => [state, seal, rows])).toEqual(
      Array.from({ length: 5 }, () => ['unread', 'unread', undefined]),
    );
    // What the manifest does not say is the seal with the last parts.
    for (const [i, table] of tablesIn(bare).entries()) expect(table.bytes).toBeLessThan(tablesIn(report)[i].bytes);
  });

  it('reports how far it has come', async () => {
    const world = new World();
    await databaseOf(world);
    const seen: number[] = [];
    await inspect(world, { onProgress: ({ done, of }) => void seen.push(done, of ?? -1) });
    expect(seen).toEqual([0, 3, 1, 3, 2, 3, 3, 3]);
  });

  it('is that of an open database, too', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', '1'));
    await world.run(db.flush({ type: 'memtable' }));
    expect((await world.run(treeInspect(db, toolOptions(world)))).totals.tables).toBe(1);
    await world.run(db.close());
  });
});

describe('tables that are damaged or missing', () => {
  it('are shown as such beside the others', async () => {
    const world = new World();
    await databaseOf(world, 4);
    const [gone, cut, flipped] = await tablesOf(world);
    await world.remove(gone);
    await world.replace(cut, (await world.bytes(cut)).subarray(0, 20));
    const bytes = (await world.bytes(flipped)).slice();
    bytes[bytes.length - 40] ^= 1;
    await world.replace(flipped, bytes);
    const report = await inspect(world);
    const states = new Map(tablesIn(report).map((table) => [table.path, table.state]));
    expect([gone, cut, flipped].map((path) => states.get(path))).toEqual(['missing', 'damaged', 'damaged']);
    expect([...states.values()].filter((state) => state === 'ok').length).toBe(1);
    expect(report.totals).toMatchObject({ tables: 4, faulty: 3 });
    expect(new Set(report.findings.map(({ object }) => object.path))).toEqual(new Set([gone, cut, flipped]));
    expect(report.findings.find(({ object }) => object.path === gone)?.code).toBe('MISSING_OBJECT');
  });

  it('without an intact seal show that the seal is bad', async () => {
    const world = new World();
    await databaseOf(world, 1);
    const [path] = await tablesOf(world);
    const bytes = (await world.bytes(path)).slice();
    const magic = bytes.findLastIndex((_, i) => bytes[i] === 0x89 && bytes[i + 1] === 0x53 && bytes[i + 2] === 0x48);
    bytes[magic - 30] ^= 1;
    await world.replace(path, bytes);
    const [table] = tablesIn(await inspect(world));
    expect(table).toMatchObject({ seal: 'bad', state: 'damaged', rows: { puts: 1 } });
    expect(table.seqs).toBeUndefined();
  });

  it('are not missing where a newer manifest has replaced them in the meantime', async () => {
    const world = new World();
    await databaseOf(world, 2);
    const [gone] = await tablesOf(world);
    const line: Line = world.line();
    const get = line.get.bind(line);
    let isDone = false;
    line.get = async (path, options) => {
      if (path === gone && !isDone) {
        isDone = true;
        await replaceTable(world, gone);
      }
      return get(path, options);
    };
    const report = await inspect(world, {}, line);
    expect(isDone).toBe(true);
    expect(report.findings).toEqual([]);
    expect(tablesIn(report).map(({ path }) => path)).not.toContain(gone);
  });

  it('of a parent that is not found are missing where the root was stated', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/clone');
    const report = await inspect(world);
    expect(tablesIn(report).map(({ parent, state }) => [parent, state])).toContainEqual(['parent', 'missing']);
    expect(report.findings.map(({ code }) => code)).toEqual(['PARENT_MISSING']);
  });
});

/** As a compaction and a collection do: a newer manifest without the table, and the table gone. */
async function replaceTable(world: World, path: string): Promise<void> {
  const id = (await world.paths('manifest/')).length;
  const previous = await readManifest(world.memory, id);
  if (previous?.seal === undefined) return expect.fail('the newest manifest is sealed');
  const { databaseId } = previous.seal.identity;
  const author = new Author({
    databaseId,
    role: 'compactor',
    clock: world.clock,
    random: world.random(),
    owner: 'c:1',
  });
  const l0 = previous.manifest.l0.filter(({ table }) => !path.includes(table.id));
  const manifest = { ...previous.manifest, l0 };
  const { bytes } = sealManifest({ id: id + 1, manifest, previous, author, epoch: 1, witness: NO_WITNESS });
  await world.replace(manifestPath(id + 1), bytes);
  await world.remove(path);
}

describe('no tree', () => {
  it('is shown where no database is', async () => {
    expect(await rejection(inspect(new World()))).toMatchObject({ code: 'NOT_A_DATABASE', message: /nothing is here/ });
    const foreign = new World();
    await foreign.replace('readme.txt', new Uint8Array(3));
    expect(await rejection(inspect(foreign))).toMatchObject({ code: 'NOT_A_DATABASE', message: /none of a database/ });
  });

  it('is shown of a database whose newest manifest is damaged, or of which none is left', async () => {
    const world = new World();
    await databaseOf(world);
    const ids = await world.paths('manifest/');
    const newest = ids[ids.length - 1];
    const damaged = await world.copy();
    await damaged.replace(newest, (await damaged.bytes(newest)).subarray(0, 40));
    const error = await rejection(inspect(damaged));
    expect(error).toMatchObject({
      kind: 'corruption',
      message: /is damaged. Repair it first: shaledb manifest repair/,
    });
    await world.remove(...ids);
    expect(await rejection(inspect(world))).toMatchObject({ code: 'MISSING_OBJECT' });
  });

  it('is shown of a version to come', async () => {
    const world = new World();
    await databaseOf(world);
    const ids = await world.paths('manifest/');
    const bytes = (await world.bytes(ids[ids.length - 1])).slice(0, 60);
    bytes[1] = 9;
    await world.replace(manifestPath(ids.length + 1), bytes);
    expect(await rejection(inspect(world))).toMatchObject({ code: 'FORMAT_TOO_NEW' });
  });

  it('is shown while the store does not answer', async () => {
    const world = new World();
    await databaseOf(world);
    world.faults.add({ action: 'status:503', op: 'get', path: /compacted/ });
    expect(await rejection(inspect(world))).toMatchObject({ kind: 'unavailable' });
  });

  it('is shown with options that do not exist', async () => {
    const world = new World();
    await databaseOf(world);
    const call = treeInspect({ store: world.line(), path: '' }, { tail: false } as never);
    expect(await rejection(call)).toMatchObject({ code: 'BAD_OPTION', message: /did you mean tails|tails/ });
  });

  it('needs a boundary file that can be read', async () => {
    const world = new World();
    await databaseOf(world);
    await world.replace(MANIFEST_BOUNDARY_PATH, new TextEncoder().encode('rubbish'));
    expect((await inspect(world)).totals.tables).toBe(3);
  });
});
