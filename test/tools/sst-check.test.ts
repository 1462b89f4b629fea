/** Checking all tables: what each level sees, what a check costs, where it goes on, and filters that another program mistook. */
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/common/finding.ts';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import type { Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { listManifestIds } from '../../src/lsm/manifest/manifest-store.ts';
import type { CheckSummary } from '../../src/tools/reports.ts';
import { type CheckLevel, type CheckProgress, type SstCheckOptions, sstCheck } from '../../src/tools/sst-check.ts';
import { sstRepair } from '../../src/tools/sst-repair.ts';
import { verify } from '../../src/tools/verify.ts';
import { rejection, type World, worldOfFixture } from '../support/database.ts';
import { damageAt, newestManifest, numbers, overwrite, tablesOf, tablesWorld } from '../support/table-database.ts';

interface Checked {
  findings: Finding[];
  summary: CheckSummary;
}

function check(world: World, options: SstCheckOptions = {}, store = world.store): Promise<Checked> {
  return world.run(
    (async () => {
      const run = sstCheck({ store, path: '' }, { clock: world.clock, ...options });
      const findings: Finding[] = [];
      for await (const finding of run) findings.push(finding);
      return { findings, summary: await run.summary() };
    })(),
  );
}

const codes = ({ findings }: Checked) => findings.map((f) => `${f.code} ${f.at.unit}`);

describe('a check reports how far it has come', () => {
  it('table by table, and object by object of the log', async () => {
    const world = await tablesWorld([numbers(0, 100), numbers(100, 200), numbers(200, 300)]);
    await world.writeAndCrash(['a', 'b']);
    const reported: CheckProgress[] = [];
    const onProgress = (progress: CheckProgress) => reported.push(progress);
    const { summary } = await check(world, { concurrency: 2, onProgress });
    expect(reported.map(({ part, done, of }) => [part, done, of])).toEqual([
      ['tables', 0, 3],
      ['tables', 2, 3],
      ['tables', 3, 3],
    ]);
    const read = reported.map((t) => t.bytesRead);
    expect(read[0]).toBe(0);
    expect(read[1]).toBeGreaterThan(0);
    expect(read[2]).toBeGreaterThan(read[1]);
    expect(read[2]).toBeLessThanOrEqual(summary.bytesRead);
    reported.length = 0;
    const report = await world.run(verify({ store: world.store, path: '' }, { clock: world.clock, onProgress }));
    const log = reported.filter(({ part }) => part === 'log');
    expect(log.map(({ done, of }) => [done, of])).toEqual(log.map((_, i) => [i + 1, undefined]));
    expect(log.length).toBe(report.wal.objects);
    expect(log.length).toBeGreaterThan(1);
  });

  it('and ends with what the function throws', async () => {
    const world = await tablesWorld([numbers(0, 10)]);
    const onProgress = () => {
      throw new RangeError('enough');
    };
    await expect(check(world, { onProgress })).rejects.toThrow(RangeError);
  });
});

describe('a level sees', () => {
  const LEVELS: readonly CheckLevel[] = ['refs', 'tails', 'blocks', 'rows', 'cross'];

  async function seenFrom(damage: (world: World) => Promise<void>): Promise<CheckLevel[]> {
    const world = await tablesWorld([numbers(0, 100), numbers(0, 100)]);
    await damage(world);
    const seen: CheckLevel[] = [];
    for (const level of LEVELS) if ((await check(world, { level })).findings.length > 0) seen.push(level);
    return seen;
  }

  it('nothing in a sound database', async () => {
    expect(await seenFrom(async () => undefined)).toEqual([]);
  });

  it('refs: a table or an object of the log that is gone, a damaged manifest', async () => {
    expect(await seenFrom(async (w) => w.remove((await tablesOf(w))[0].path))).toEqual(LEVELS);
    expect(await seenFrom(async (w) => damageAt(w, (await w.paths('manifest/')).at(-1)!, 60))).toEqual(LEVELS);
    const withTail = async (w: World) => {
      await w.writeAndCrash(['a', 'b', 'c']);
      await w.remove((await w.paths('wal/')).at(-2)!);
    };
    expect(await seenFrom(withTail)).toEqual(LEVELS);
  });

  it('tails: index, filter, stats, seal, info block, footer', async () => {
    for (const part of ['index', 'filter', 'stats', 'seal', 'info', 'footer'] as const) {
      const seen = await seenFrom(async (w) => {
        const [{ path, sections }] = await tablesOf(w);
        await damageAt(w, path, sections[part].offset + 1);
      });
      expect(seen, part).toEqual(['tails', 'blocks', 'rows', 'cross']);
    }
  });

  it('blocks: a bit of a block', async () => {
    expect(await seenFrom(async (w) => damageAt(w, (await tablesOf(w))[0].path, 50))).toEqual([
      'blocks',
      'rows',
      'cross',
    ]);
  });

  it('cross: a table that stands below an older one', async () => {
    const seen = await seenFrom(async (w) => {
      const manifest = await newestManifest(w);
      await append(w, { ...manifest, l0: [...manifest.l0].reverse() });
    });
    expect(seen).toEqual(['cross']);
  });
});

/** Writes a manifest as a program without seals would. */
async function append(world: World, manifest: Manifest): Promise<void> {
  const id = (await listManifestIds(world.memory)).at(-1)! + 1;
  await world.replace(manifestPath(id), encodeManifest(manifest));
}

it('goes on after the last table that an interrupted check had finished', async () => {
  const world = await tablesWorld([numbers(0, 30), numbers(0, 30), numbers(0, 30)]);
  for (const { path } of await tablesOf(world)) await damageAt(world, path, 40);
  const ids = (await tablesOf(world)).map((t) => t.ref.id).sort();
  const first = sstCheck({ store: world.store, path: '' }, { clock: world.clock, concurrency: 1 });
  const seen: string[] = [];
  await world.run(
    (async () => {
      for await (const f of first) {
        seen.push(f.object.id);
        if (seen.length === 2) break;
      }
    })(),
  );
  const { cursor } = await world.run(first.summary());
  expect(cursor).toBe(ids[0]);
  const rest = await check(world, { resumeFrom: cursor! });
  expect(rest.findings.map((f) => f.object.id)).toEqual(ids.slice(1));
  expect(rest.summary.cursor).toBeUndefined();
});

it.each(['zzz', 'ZZZZZZZZZZZZZZZZZZZZZZZZZZ', '7ZZZZZZZZZZZZZZZZZZZZZZZZZ'])(
  'does not go on after %s, which no check gave: nothing would be looked at',
  async (resumeFrom) => {
    const world = await tablesWorld([numbers(0, 30)]);
    await expect(check(world, { resumeFrom })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  },
);

it('keeps to a rate, in bytes of the clock', async () => {
  const world = await tablesWorld([numbers(0, 100), numbers(0, 100)]);
  const quick = await check(world);
  const slow = await check(world, { bytesPerSecond: 1000 });
  expect(quick.summary.tookMs).toBeLessThan(100);
  expect(slow.summary.tookMs).toBeGreaterThan(((await tablesOf(world))[0].size / 1000) * 1000);
});

it.each([
  ['refs', 0],
  ['tails', 1],
  ['cross', 1],
] as const)(
  'counts a table that is not there as missing, not as one without a seal (level %s)',
  async (level, sealed) => {
    const world = await tablesWorld([numbers(0, 30), numbers(0, 30)]);
    await world.remove((await tablesOf(world))[1].path);
    const { summary } = await check(world, { scope: 'live', level });
    expect(summary).toMatchObject({ objects: 2, missing: 1, sealed });
  },
);

it('does not call a table missing that was collected in the meantime', async () => {
  const world = await tablesWorld([numbers(0, 30), numbers(0, 30)]);
  const [newer, older] = await tablesOf(world);
  const manifest = await newestManifest(world);
  const line = world.line();
  let isDone = false;
  // A compactor and a collector between the read of the manifest and that of the table.
  const store = {
    name: line.name,
    head: line.head.bind(line),
    put: line.put.bind(line),
    list: line.list.bind(line),
    delete: line.delete.bind(line),
    get: async (path: string, options?: object) => {
      if (path === older.path && !isDone) {
        isDone = true;
        await append(world, { ...manifest, l0: manifest.l0.filter((v) => v.table.id === newer.ref.id) });
        await world.remove(older.path);
      }
      return line.get(path, options);
    },
  };
  const seen = await check(world, { scope: 'live' }, store as unknown as typeof world.store);
  expect(isDone).toBe(true);
  expect(codes(seen).filter((c) => c.startsWith('MISSING'))).toEqual([]);
  expect(seen.summary).toMatchObject({ objects: 1, missing: 0, sealed: 1 });
});

it('takes one bad answer for what it is', async () => {
  const world = await tablesWorld([numbers(0, 100)]);
  const [{ path }] = await tablesOf(world);
  let reads = 0;
  const line = world.line();
  const flaky = {
    name: line.name,
    head: line.head.bind(line),
    put: line.put.bind(line),
    list: line.list.bind(line),
    delete: line.delete.bind(line),
    get: async (p: string, options?: object) => {
      const got = await line.get(p, options);
      if (p !== path || got === undefined || reads++ % 2 === 1) return got;
      const bytes = got.bytes.slice();
      bytes[bytes.length >> 1] ^= 1;
      return { ...got, bytes };
    },
  };
  expect(codes(await check(world, {}, flaky as unknown as typeof world.store))).toEqual([]);
  expect(reads).toBeGreaterThan(2);
});

it('refuses options that mean nothing', async () => {
  const world = await tablesWorld([[1]]);
  const bad = { level: 'deep', concurrency: 0 } as unknown as SstCheckOptions;
  const error = await rejection(check(world, bad));
  expect(error.code).toBe('BAD_OPTION');
  expect(error.message).toMatch(/level.*concurrency/);
});

it('stops when it is asked to', async () => {
  const world = await tablesWorld([numbers(0, 30)]);
  const signal = AbortSignal.abort();
  expect(await rejection(check(world, { signal }))).toMatchObject({ name: 'AbortError', code: 'ABORTED' });
});

describe('filters whose form the manifest has wrong', () => {
  async function poisoned(): Promise<{ world: World; ids: string[] }> {
    const world = await worldOfFixture('slatedb-0.17.0/filters');
    const manifest = await newestManifest(world);
    const ids: string[] = [];
    const legacy = <T extends { table: Manifest['l0'][number]['table'] }>(view: T): T => {
      // Small tables have none: then nothing is mistaken.
      if (view.table.info.filterLength > 0) ids.push(view.table.id);
      return { ...view, table: { ...view.table, info: { ...view.table.info, filterForm: 'legacy' as const } } };
    };
    // What 0.12.1 does to each manifest it rewrites.
    await append(world, {
      ...manifest,
      l0: manifest.l0.map(legacy),
      runs: manifest.runs.map((run) => ({ ...run, views: run.views.map(legacy) })),
    });
    return { world, ids };
  }

  it('are found, and cured by a manifest that says what the tables say; no table is written', async () => {
    const { world, ids } = await poisoned();
    const tables = await world.paths('compacted/');
    const before = await check(world, { level: 'tails', scope: 'live' });
    const wrong = before.findings.filter((f) => f.code === 'MANIFEST_INCONSISTENT' && f.object.role === 'table');
    expect(wrong.map((f) => f.object.id).sort()).toEqual([...ids].sort());
    expect(wrong.every((f) => f.severity === 'error' && f.hint.lossIfRepaired === 'none')).toBe(true);
    for (const id of ids) {
      const report = await world.run(
        sstRepair({ store: world.store, path: '' }, id, {
          clock: world.clock,
          apply: true,
          acceptLoss: true,
          liveCheckMs: 0,
        }),
      );
      expect(report).toMatchObject({ outcome: 'healed', applied: true, newObjects: [], lostKeys: [] });
    }
    const { l0 } = await newestManifest(world);
    expect(l0.every(({ table }) => table.info.filterForm === 'composite' || !ids.includes(table.id))).toBe(true);
    const after = await check(world, { level: 'rows', scope: 'live' });
    expect(after.findings.filter((f) => f.severity === 'error')).toEqual([]);
    expect(await world.paths('compacted/')).toEqual(tables);
  });

  it.each(['mislabelled', 'rightly labelled'])('%s, are written again in the form that all read', async (what) => {
    const { world, ids } = await poisoned();
    const location = { store: world.store, path: '' };
    const options = { clock: world.clock, apply: true, acceptLoss: true, liveCheckMs: 0 };
    for (const id of ids) {
      if (what === 'rightly labelled') await world.run(sstRepair(location, id, options));
      const report = await world.run(sstRepair(location, id, { ...options, filterForm: 'legacy' }));
      expect(report).toMatchObject({ outcome: 'reconstructed', applied: true, lostKeys: [], rows: { lost: 0 } });
      expect(report.newObjects.length).toBe(1);
    }
    const { l0, runs } = await newestManifest(world);
    const views = [...l0, ...runs.flatMap((run) => run.views)].filter(({ table }) => table.info.filterLength > 0);
    expect(views.length).toBe(ids.length);
    expect(views.every(({ table }) => table.info.filterForm === 'legacy')).toBe(true);
    const after = await check(world, { level: 'rows', scope: 'live' });
    expect(after.findings.filter((f) => f.severity === 'error')).toEqual([]);
    for (const { table } of views) {
      const again = sstRepair(location, table.id, { ...options, filterForm: 'legacy' });
      expect(await world.run(again)).toMatchObject({ outcome: 'clean', applied: false });
    }
  });
});

it('counts what it found', async () => {
  const world = await tablesWorld([numbers(0, 100)]);
  const [{ path, sections }] = await tablesOf(world);
  await overwrite(world, path, 10, 3);
  await damageAt(world, path, sections.filter.offset);
  const { summary } = await check(world);
  expect(summary).toMatchObject({ verdict: 'corrupt', objects: 1, sealed: 1, findings: { BAD_CHECKSUM: 2 } });
  expect(summary.bytesRead).toBeGreaterThan(5000);
});
