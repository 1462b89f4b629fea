/** What a check asks of a log of which the manifest says more than there is: few requests, whatever the numbers are. */
import { describe, expect, it } from 'vitest';
import { encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath, parseManifestPath, walPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { manifestInspect } from '../../src/tools/manifest-inspect.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { verify } from '../../src/tools/verify.ts';
import { World } from '../support/database.ts';
import { toolOptions } from '../support/tool-laws.ts';

/** The newest manifest names `ids` objects of the log that are not there. */
async function withMissing(ids: number): Promise<World> {
  const world = new World();
  await world.writeAndCrash(['a', 'b', 'c']);
  const newest = (await world.paths('manifest/')).at(-1)!;
  const { manifest } = loadManifest(parseManifestPath(newest)!, await world.bytes(newest));
  await world.replace(newest, encodeManifest({ ...manifest, walIdLastSeen: 4 + ids }));
  return world;
}

describe('a log of which the manifest says more than there is', () => {
  const kinds: [number, number][] = [
    [3, 10],
    [900, 60],
    [5000, 60],
    [1_000_000, 60],
    [2 ** 52, 60],
  ];
  it.each(kinds)('with %i objects missing is found with few HEADs', async (ids, most) => {
    const world = await withMissing(ids);
    const line = world.line();
    const run = sstCheck({ store: line, path: '' }, { ...toolOptions(world), level: 'refs' });
    const summary = await world.run(run.summary());
    expect(summary.verdict).toBe('corrupt');
    const heads = line.take().filter((r) => r.startsWith('head wal/'));
    expect(heads.length).toBeLessThanOrEqual(most);
  });

  it('is verified with few HEADs, too', async () => {
    const world = await withMissing(2 ** 52);
    const line = world.line();
    const report = await world.run(verify({ store: line, path: '' }, toolOptions(world)));
    expect(report.verdict).toBe('corrupt');
    expect(line.take().filter((r) => r.startsWith('head ')).length).toBeLessThan(60);
  });

  it('is not called damaged where a list lags', async () => {
    const world = await withMissing(0);
    const line = world.line();
    const list = line.list.bind(line);
    const hidden = walPath(4);
    line.list = async function* (prefix, o) {
      for await (const object of list(prefix, o)) if (object.path !== hidden) yield object;
    };
    const run = sstCheck({ store: line, path: '' }, { ...toolOptions(world), level: 'refs' });
    expect(await world.run(run.summary())).toMatchObject({ verdict: 'clean' });
  });
});

describe('what was not looked at', () => {
  it('stands in the summary of a check, by level and scope', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const target = { store: world.line(), path: '' };
    const of = async (o: object) =>
      (await world.run(sstCheck(target, { ...toolOptions(world), ...o }).summary())).notChecked;
    const usual = await of({});
    expect(usual.join()).toContain('what is in the log');
    expect(usual.join()).toContain('manifests and their tables, but for the newest one');
    expect(usual.join()).toContain('what holds between tables');
    expect((await of({ level: 'refs' })).join()).toContain('only whether they are there');
    const most = await of({ level: 'cross', scope: 'all' });
    expect(most.join()).toContain('what is in the log');
    expect(most.join()).not.toContain('tables:');
    expect(most.length).toBeLessThan(usual.length);
    expect((await of({ resumeFrom: '01JC0000000000000000000000' })).join()).toContain('01JC0000000000000000000000');
  });

  it('says that there is no manifest, and leads in no circle', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    await world.remove(...(await world.paths('manifest/')));
    const target = { store: world.line(), path: '' };
    const run = (level: 'rows' | 'cross') => sstCheck(target, { ...toolOptions(world), level });
    const checked = await world.run(run('rows').summary());
    expect(checked.notChecked.join()).toContain('there is no manifest');
    expect(checked.notChecked.join()).not.toContain('newest');
    const commands: string[] = [];
    await world.run(
      (async () => {
        for await (const f of run('cross')) commands.push(...f.hint.commands);
      })(),
    );
    expect(commands).toEqual([]);
  });

  it('says of a missing object of the log the same as the log itself', async () => {
    const world = new World();
    await world.writeAndCrash(['a', 'b', 'c']);
    await world.remove(walPath(3));
    const report = await world.run(verify({ store: world.line(), path: '' }, toolOptions(world)));
    const hints = report.findings.filter((f) => f.object.path === walPath(3)).map((f) => f.hint);
    expect(hints.length).toBeGreaterThan(0);
    for (const hint of hints) {
      expect(hint).toMatchObject({ lossIfRepaired: 'possible' });
      expect(hint.summary).toContain('if it held rows, they are lost');
    }
  });

  it('stands in the report of a manifest', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const target = { store: world.line(), path: '' };
    const report = await world.run(manifestInspect(target, undefined, toolOptions(world)));
    expect(report.notChecked.join()).toContain('the tables and in the log');
    // Of one that is gone, too.
    await world.remove(manifestPath(1));
    expect((await world.run(manifestInspect(target, 1, toolOptions(world)))).notChecked).toEqual(report.notChecked);
  });
});
