/** Unions made by SlateDB before 0.18: their views get ids of their own again, and what a compaction lost is put back. */
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import type { BytesRange, Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { listManifestIds, loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { open, openReader } from '../../src/open.ts';
import { prefixedStore } from '../../src/store/prefixed-store.ts';
import { manifestInspect } from '../../src/tools/manifest-inspect.ts';
import { type ManifestRepairOptions, manifestRepair } from '../../src/tools/manifest-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { type Line, World } from '../support/database.ts';
import { goldenFixture } from '../support/golden-fixtures.ts';
import { digests, expectCrashesConverge, expectDryRun, expectUnchanged, toolOptions } from '../support/tool-laws.ts';

const UNION = 'slatedb-0.17.0/union-same-views';
const LOSSY = 'slatedb-0.17.0/union-same-views-lossy';
const PATH = 'union';
const APPLY: ManifestRepairOptions = { apply: true };

/** All of the fixture: the parents are stored beside the union. */
async function worldOf(name: string): Promise<World> {
  const world = new World();
  world.clock.jumpWallMs(Date.parse('2026-12-01T00:00:00Z') - world.clock.nowMs());
  for (const { path, bytes } of goldenFixture(name).objects) await world.replace(path, bytes);
  return world;
}

const at = (store: Line) => ({ store, path: PATH });

function repair(world: World, options: ManifestRepairOptions = APPLY) {
  return world.run(manifestRepair(at(world.line()), { ...toolOptions(world), ...options }));
}

function check(world: World) {
  return world.run(verify(at(world.line()), toolOptions(world)));
}

async function newest(world: World) {
  const root = prefixedStore(world.memory, PATH);
  const id = (await listManifestIds(root)).at(-1)!;
  return loadManifest(id, await world.bytes(`${PATH}/${manifestPath(id)}`));
}

async function rows(world: World): Promise<string[]> {
  const { clock, random, logger } = toolOptions(world);
  const reader = await world.run(openReader(at(world.line()), { clock, random, logger }));
  const found: string[] = [];
  const scan = reader.scan();
  for (;;) {
    const batch = await world.run(scan.nextBatch(1000));
    if (batch.length === 0) break;
    found.push(...batch.map(({ key, value }) => `${toHex(key)}=${toHex(value)}`));
  }
  await world.run(reader.close());
  return found;
}

const expectedOf = (name: string) =>
  goldenFixture(name).expected.scan.map(({ key, value }: { key: string; value: string }) => `${key}=${value}`);

describe('a union whose views share an id', () => {
  it('is named with the releases at fault, before a row is lost', async () => {
    const report = await check(await worldOf(UNION));
    expect(report.verdict).toBe('degraded');
    const found = report.findings.filter((f) => f.severity !== 'note');
    expect(found).toMatchObject([{ code: 'MANIFEST_INCONSISTENT', severity: 'warning' }]);
    expect(found[0].found).toMatch(/2 views of table \w{26} under one id, .*SlateDB 0\.16 and 0\.17/);
    expect(report.nextSteps).toContain('shaledb manifest repair LOCATION');
  });

  it('is named by reading its manifest', async () => {
    const world = await worldOf(UNION);
    const { findings } = await world.run(manifestInspect(at(world.line()), undefined, toolOptions(world)));
    expect(findings.filter((f) => f.severity === 'warning')).toMatchObject([{ found: /under one id/ }]);
  });

  it('is named beside whatever else is seldom about its manifest', async () => {
    const world = await worldOf(UNION);
    const { id, manifest } = await newest(world);
    const runs = [...manifest.runs, { id: 1, views: [] }, { id: 2, views: [] }];
    await world.replace(`${PATH}/${manifestPath(id)}`, encodeManifest({ ...manifest, runs }));
    const report = await check(world);
    const found = report.findings.filter((f) => f.code === 'MANIFEST_INCONSISTENT').map((f) => f.severity);
    expect(found.sort()).toEqual(['note', 'warning']);
    expect(report.verdict).toBe('degraded');
  });

  it('is named with all tables that the views are of', async () => {
    const world = await worldOf(UNION);
    const { id, manifest } = await newest(world);
    const [view, ...others] = manifest.l0;
    const other = `${view.table.id.slice(0, -1)}${view.table.id.endsWith('0') ? '1' : '0'}` as Ulid;
    const l0 = [{ ...view, table: { ...view.table, id: other } }, ...others];
    await world.replace(`${PATH}/${manifestPath(id)}`, encodeManifest({ ...manifest, l0 }));
    const { findings } = await check(world);
    expect(findings.map((f) => f.found)).toContainEqual(
      expect.stringContaining(`2 views of tables ${other}, ${view.table.id} under one id`),
    );
  });

  it('is reported by an opening for writing', async () => {
    const world = await worldOf(UNION);
    const events: unknown[] = [];
    const { clock, random } = toolOptions(world);
    const logger = { debug() {}, info() {}, warn: (m: string) => void events.push(m), error() {} };
    const onEvent = (event: unknown) => void events.push(event);
    const db = await world.run(open(at(world.line()), { clock, random, logger, onEvent }));
    expect(events).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/views/),
        expect.objectContaining({ type: 'finding', finding: expect.objectContaining({ severity: 'warning' }) }),
      ]),
    );
    await world.run(db.close());
  });

  it('gets ids of the same time, one for each view, and keeps every row', async () => {
    const world = await worldOf(UNION);
    const before = await newest(world);
    const objects = await digests(world);
    const planned = await expectDryRun(world, (line, tool) => manifestRepair(at(line), tool));
    expect(planned).toMatchObject({ outcome: 'healed', rows: { lost: 0 } });
    expect(await repair(world)).toMatchObject({ outcome: 'healed', applied: true, planHash: planned.planHash });
    await expectUnchanged(world, objects);
    const { manifest } = await newest(world);
    const ids = manifest.l0.map((view) => view.viewId);
    expect(new Set(ids).size).toBe(manifest.l0.length);
    expect(ids.map((id) => id.slice(0, 10))).toEqual(before.manifest.l0.map((view) => view.viewId.slice(0, 10)));
    expect(manifest.l0.map((v) => [v.table, v.visibleRange])).toEqual(
      before.manifest.l0.map((v) => [v.table, v.visibleRange]),
    );
    expect(manifest.externalDbs).toEqual(before.manifest.externalDbs);
    expect(await rows(world)).toEqual(expectedOf(UNION));
    expect(await check(world)).toMatchObject({ verdict: 'clean' });
  });

  it('is repaired once: again it is found done, and later there is nothing to do', async () => {
    const world = await worldOf(UNION);
    const done = await repair(world);
    expect(await repair(world)).toMatchObject({ repairId: done.repairId, alreadyDone: true });
    const db = await world.run(open(at(world.line()), toolOptions(world)));
    await world.run(db.put('later', 'row'));
    await world.run(db.close());
    const before = await world.versions();
    expect(await repair(world)).toMatchObject({ outcome: 'clean', applied: false });
    expect(await world.versions()).toEqual(before);
  });

  it('is repaired through a database that is open', async () => {
    const world = await worldOf(UNION);
    const db = await world.run(open(at(world.line()), toolOptions(world)));
    await world.run(db.put('k0005', 'new'));
    expect(await world.run(manifestRepair(db, { ...toolOptions(world), ...APPLY }))).toMatchObject({ applied: true });
    await world.run(db.put('k0006', 'new'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.close());
    const { manifest } = await newest(world);
    expect(new Set(manifest.l0.map((view) => view.viewId)).size).toBe(manifest.l0.length);
    expect((await rows(world)).length).toBe(200);
  });

  it('ends in the same state wherever the repair was cut off', async () => {
    const requests = await expectCrashesConverge(
      await worldOf(UNION),
      (line, tool) => manifestRepair(at(line), { ...tool, ...APPLY, liveCheckMs: 0 }),
      async (world) => [String((await newest(world)).manifest.l0.length), ...(await rows(world))],
    );
    expect(requests).toBeGreaterThan(10);
  });
});

describe('a union that lost a view to a compaction', () => {
  const { lost, scan } = goldenFixture(LOSSY).expected;

  it('is named with what is lost, where, and by which fault', async () => {
    const report = await check(await worldOf(LOSSY));
    expect(report.verdict).toBe('corrupt');
    const errors = report.findings.filter((f) => f.severity === 'error');
    expect(errors).toMatchObject([
      { code: 'LOST_DATA', affects: { rows: 100 }, remedy: 'rebuilds', object: { id: '00000000000000000011' } },
    ]);
    expect(`union/${errors[0].object.path}`).toBe(lost.lost_by.manifest);
    expect(toHex(errors[0].affects.keys!.gte)).toBe(lost.recoverable_from.visible_range.start.key);
    expect(errors[0].found).toMatch(/SlateDB 0\.16 and 0\.17/);
  });

  it('gets the view back into the run that the compaction made, and with it every row', async () => {
    const world = await worldOf(LOSSY);
    const objects = await digests(world);
    expect((await rows(world)).length).toBe(103);
    const planned = await expectDryRun(world, (line, tool) => manifestRepair(at(line), tool));
    expect(planned).toMatchObject({ outcome: 'reconstructed', rows: { recovered: 100, lost: 0 } });
    expect(await repair(world)).toMatchObject({ outcome: 'reconstructed', applied: true, planHash: planned.planHash });
    await expectUnchanged(world, objects);
    const { manifest } = await newest(world);
    const table = lost.recoverable_from.table.split('/').at(-1).replace('.sst', '');
    const run = manifest.runs.find((r) => r.views.some((v) => v.table.id === table))!;
    expect(run.views.map((v) => v.table.id)).toContain(
      lost.lost_by.compaction_output.split('/').at(-1).replace('.sst', ''),
    );
    expect(manifest.externalDbs.find((db) => db.path === 'parent')?.tableIds).toContain(table);
    const found = await rows(world);
    expect(found.length).toBe(203);
    for (const { key, value } of scan) expect(found).toContain(`${key}=${value}`);
    expect(found).toEqual(expect.arrayContaining(expectedOf(UNION)));
    expect(await check(world)).toMatchObject({ verdict: 'clean' });
  });

  /** Changes the manifest before the compaction, or the newest. */
  async function withManifest(id: number, change: (m: Manifest) => Manifest): Promise<World> {
    const world = await worldOf(LOSSY);
    const path = `${PATH}/${manifestPath(id)}`;
    const { manifest } = loadManifest(id, await world.bytes(path));
    await world.replace(path, encodeManifest(change(manifest)));
    return world;
  }

  async function expectHopeless(world: World, because: RegExp): Promise<void> {
    const before = await world.versions();
    expect((await check(world)).findings.find((f) => f.code === 'LOST_DATA')).toMatchObject({
      affects: { rows: 100 },
      remedy: 'none',
      hint: { summary: expect.stringMatching(because) },
    });
    const report = await repair(world);
    expect(report).toMatchObject({ outcome: 'unrecoverable', applied: false });
    expect(report.nextSteps.join(' ')).toMatch(because);
    expect(await world.versions()).toEqual(before);
  }

  it('is not given it back where a newer source of the compaction changed a key of its range', async () => {
    const world = await withManifest(10, (m) => {
      const view = m.l0.find((v) => v.table.id === lost.recoverable_from.table.split('/').at(-1).replace('.sst', ''))!;
      const one: BytesRange = {
        start: { kind: 'included', key: fromHex('6b30303530') },
        end: { kind: 'included', key: fromHex('6b30303530') },
      };
      const newer = { ...view, viewId: '01M8KBR46M0000000000000000' as Ulid, visibleRange: one };
      return { ...m, l0: [newer, ...m.l0] };
    });
    await expectHopeless(world, /changed 1 rows of the same range/);
  });

  it('is not given it back where the run was compacted again since', async () => {
    const world = await withManifest(14, (m) => ({
      ...m,
      runs: m.runs.map((r) => ({ ...r, views: r.views.slice(1) })),
    }));
    await expectHopeless(world, /was compacted again since manifest 11/);
  });

  it('is not called lost where a view of the table is back, whichever program put it there', async () => {
    const world = await worldOf(LOSSY);
    await repair(world);
    const first = await newest(world);
    expect(await repair(world, { ...APPLY, strategy: 'auto' })).toMatchObject({ alreadyDone: true });
    expect((await newest(world)).id).toBe(first.id);
  });

  it('ends in the same state wherever the repair was cut off', async () => {
    await expectCrashesConverge(
      await worldOf(LOSSY),
      (line, tool) => manifestRepair(at(line), { ...tool, ...APPLY, liveCheckMs: 0 }),
      async (world) => rows(world),
    );
  });
});
