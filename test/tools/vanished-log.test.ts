/** Databases whose log is gone although they had one: nothing says what was in it, so no tool says clean, and none repairs. */
import { describe, expect, it } from 'vitest';
import type { Tools } from '../../src/cli/tools.ts';
import type { DbEvent } from '../../src/common/events.ts';
import type { Finding } from '../../src/common/finding.ts';
import { manifestPath, parseManifestPath, parseWalPath, walPath } from '../../src/format/object-names.ts';
import { loadManifest } from '../../src/lsm/manifest/manifest-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ListedObject } from '../../src/store/object-store.ts';
import { manifestRepair } from '../../src/tools/manifest-repair.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import type { Target } from '../../src/tools/target.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { walRepair } from '../../src/tools/wal-repair.ts';
import { runWith } from '../support/command-line.ts';
import { rejection, rowsOf, World, worldOfFixture } from '../support/database.ts';
import { digests, toolOptions } from '../support/tool-laws.ts';

/** Flushed, written to again, and cut off; the replay point is the last object before the rows `c` and `d`. */
async function flushedAndCrashed(): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect();
  for (const key of ['a', 'b']) await world.run(db.put(key, `value of ${key}`));
  await world.run(db.flush({ type: 'memtable' }));
  for (const key of ['c', 'd']) await world.run(db.put(key, `value of ${key}`));
  line.cut();
  return world;
}

const logIds = async (world: World) => (await world.paths('wal/')).map((path) => parseWalPath(path)!);

async function replayPoint(world: World): Promise<number> {
  const newest = (await world.paths('manifest/')).at(-1)!;
  return loadManifest(parseManifestPath(newest)!, await world.bytes(newest)).manifest.replayAfterWalId;
}

async function removeLog(world: World, isGone: (id: number) => boolean = () => true): Promise<void> {
  await world.remove(...(await logIds(world)).filter(isGone).map(walPath));
}

const summaryOf = (findings: readonly Finding[]) =>
  findings.filter((f) => f.severity !== 'note').map((f) => [f.severity, f.code, f.object.path]);

/** What every check says: all findings but notes. */
async function checks(world: World, target: Target = { store: world.line(), path: '' }) {
  const options = toolOptions(world);
  const report = await world.run(verify(target, options));
  const check = sstCheck(target, { ...options, level: 'refs' });
  const bySst: Finding[] = [];
  const byLog: Finding[] = [];
  await world.run(
    (async () => {
      for await (const finding of check) bySst.push(finding);
      for await (const { findings } of walInspect(target, options)) byLog.push(...findings);
    })(),
  );
  return { report, verify: summaryOf(report.findings), sstCheck: summaryOf(bySst), walInspect: summaryOf(byLog) };
}

async function expectGone(world: World): Promise<void> {
  const gone = [['unknown', 'OUT_OF_REACH', walPath(await replayPoint(world))]];
  const { report, ...said } = await checks(world);
  expect(said).toEqual({ verify: gone, sstCheck: gone, walInspect: gone });
  expect(report).toMatchObject({ verdict: 'unknown', wal: { damaged: 0, missing: 0 } });
  expect(report.nextSteps.join()).not.toContain('repair');
}

async function expectClean(world: World): Promise<void> {
  const { report, ...said } = await checks(world);
  expect(said).toEqual({ verify: [], sstCheck: [], walInspect: [] });
  expect(report.verdict).toBe('clean');
}

describe('a database that was cut off, and has no object of its log any more', () => {
  it('gets the verdict cannot tell from every check, with what to do', async () => {
    const world = await flushedAndCrashed();
    await expectClean(world);
    await removeLog(world);
    await expectGone(world);
    const { report } = await checks(world);
    const [{ hint, expected, found }] = report.findings.filter((f) => f.severity === 'unknown');
    expect(hint.summary).toMatch(/walStore of the location.*backup or from older versions of the bucket/);
    expect(hint).toMatchObject({ lossIfRepaired: 'unknown', commands: ['shaledb doctor LOCATION'] });
    expect(`${expected} ${found}`).toContain('deleted');
    // The line about the end of a log stays: it is still true.
    expect(report.cannotKnow).toHaveLength(1);
  });

  it('is so also where objects before the replay point are left', async () => {
    const world = await flushedAndCrashed();
    const after = await replayPoint(world);
    await removeLog(world, (id) => id >= after);
    expect((await logIds(world)).length).toBeGreaterThan(0);
    await expectGone(world);
  });

  it('is changed by no repair, each of which says that it cannot tell or that there is nothing to do', async () => {
    const world = await flushedAndCrashed();
    await removeLog(world);
    const before = await digests(world);
    const target = { store: world.line(), path: '' };
    const options = { ...toolOptions(world), apply: true, liveCheckMs: 0 };
    const log = await world.run(walRepair(target, { ...options, acceptLoss: true }));
    expect(log).toMatchObject({ outcome: 'clean', applied: false, before: [{ severity: 'unknown' }] });
    const manifest = await world.run(manifestRepair(target, options));
    expect(manifest).toMatchObject({ outcome: 'clean', applied: false });
    expect(await digests(world)).toEqual(before);
  });

  it('ends the commands with the exit code of the verdict "cannot tell"', async () => {
    const world = await flushedAndCrashed();
    await removeLog(world);
    const target = { store: world.line(), path: '' };
    const options = { ...toolOptions(world), liveCheckMs: 0 };
    const tools: Partial<Tools> = {
      verify: () => verify(target, toolOptions(world)),
      sstCheck: () => sstCheck(target, toolOptions(world)),
      walInspect: (_, o) => walInspect(target, { ...toolOptions(world), rows: o?.rows ?? 'none' }),
      walRepair: () => walRepair(target, options),
    };
    for (const words of ['doctor', 'sst check', 'wal inspect', 'wal repair']) {
      const ran = await world.run(runWith([...words.split(' '), 'file:///db'], { tools }));
      expect({ words, code: ran.code }).toEqual({ words, code: 8 });
      expect(ran.out, words).toContain('OUT_OF_REACH');
    }
  });

  it('opens with what is in tables, and warns once, with the remedy', async () => {
    const world = await flushedAndCrashed();
    await removeLog(world);
    const events: DbEvent[] = [];
    const onEvent = (event: DbEvent) => events.push(event);
    const reader = await world.openReader({ onEvent });
    expect(await rowsOf(world, reader)).toEqual(['a=value of a', 'b=value of b']);
    await world.run(reader.refresh());
    await world.run(reader.close());
    const warnings = () =>
      world.log.filter(({ level, message }) => level === 'warn' && message.startsWith('the log is'));
    expect(warnings()).toMatchObject([{ fields: { code: 'OUT_OF_REACH', hint: expect.stringMatching(/backup/) } }]);
    expect(events.filter(({ type }) => type === 'finding')).toMatchObject([{ finding: { severity: 'unknown' } }]);
    const db = await world.open({ onEvent });
    expect(await rowsOf(world, db)).toEqual(['a=value of a', 'b=value of b']);
    expect(warnings()).toHaveLength(2);
    await world.run(db.put('e', 'value of e'));
    await world.run(db.close());
    await expectClean(world);
  });
});

describe('a database whose newest manifest is damaged, too', () => {
  it.each([true, false])('says whether the log goes on from an older one: gone %s', async (isGone) => {
    const world = await flushedAndCrashed();
    const db = await world.open();
    await world.run(db.put('e', 'value of e'));
    await world.run(db.flush({ type: 'memtable' }));
    const newest = (await world.paths('manifest/')).at(-1)!;
    await world.replace(newest, new Uint8Array(4));
    // So that the newest good one is that of the first flush.
    const before = (await world.paths('manifest/')).at(-2)!;
    await world.remove(before);
    if (isGone) await removeLog(world);
    const error = await rejection(world.run(world.opening()));
    expect(error).toMatchObject({ name: 'ManifestCorruptionError', fallback: { walComplete: !isGone } });
  });
});

describe('a log of which only a part is gone', () => {
  it('is not gone where the object at the replay point is left alone', async () => {
    const world = await flushedAndCrashed();
    const after = await replayPoint(world);
    await removeLog(world, (id) => id !== after);
    await expectClean(world);
  });

  it('has lost nothing where that object is missing and all later ones are there', async () => {
    const world = await flushedAndCrashed();
    const after = await replayPoint(world);
    await removeLog(world, (id) => id <= after);
    await expectClean(world);
    expect(await rowsOf(world, await world.open())).toHaveLength(4);
  });

  it('has a hole where more is missing before later ones', async () => {
    const world = await flushedAndCrashed();
    const after = await replayPoint(world);
    await removeLog(world, (id) => id <= after + 1);
    const { verify: said } = await checks(world);
    expect(said).toEqual([['error', 'MISSING_OBJECT', walPath(after + 1)]]);
  });
});

describe('a sound database without a log', () => {
  it('is one that was closed: all rows are in tables', async () => {
    const world = new World();
    const db = await world.open();
    await world.run(db.put('a', 'value of a'));
    await world.run(db.close());
    await removeLog(world);
    await expectClean(world);
  });

  it('is one of which nothing was flushed, as far as anybody can know', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    await removeLog(world);
    await expectClean(world);
    expect((await checks(world)).report.cannotKnow).toEqual([expect.stringMatching(/log ever had an object/)]);
  });

  it.each(['slatedb-0.17.0/clone', 'slatedb-0.18.0/projection-clone'])(
    'is a clone that nobody has opened: %s',
    async (name) => {
      const world = await worldOfFixture(name, '');
      const inClone = (path: string) => `db/${path}`;
      const later = (await world.paths('db/manifest/')).filter((path) => path > inClone(manifestPath(2)));
      await world.remove(...later, ...(await world.paths('db/wal/')));
      const { report, ...said } = await checks(world, { store: world.line(), path: 'db' });
      expect(said).toEqual({ verify: [], sstCheck: [], walInspect: [] });
      expect(report.verdict).toBe('clean');
      // Claimed, and cut off before the fence.
      const claimed = await worldOfFixture(name, '');
      const afterClaim = (await claimed.paths('db/manifest/')).filter((path) => path > inClone(manifestPath(3)));
      await claimed.remove(...afterClaim, ...(await claimed.paths('db/wal/')));
      expect((await checks(claimed, { store: claimed.line(), path: 'db' })).report.verdict).toBe('clean');
    },
  );

  it.each(['slatedb-0.12.1/wal-disabled', 'slatedb-0.12.1/sequence-tracker'])(
    'is one of SlateDB 0.12 whose log is switched off: %s',
    async (name) => expectClean(await worldOfFixture(name)),
  );
});

describe('a database of SlateDB', () => {
  it('is judged by its older manifests, or by what is in level 0', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/tiny');
    await removeLog(world);
    await expectGone(world);
    await world.remove(...(await world.paths('manifest/')).slice(0, -1));
    await expectGone(world);
  });

  it('is judged by the first of its older manifests that can be read', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/union-same-views-lossy', '');
    await world.remove(...(await world.paths('union/wal/')));
    await world.replace(`union/${manifestPath(1)}`, new Uint8Array(4));
    await world.replace(`union/${manifestPath(2)}`, new Uint8Array(4));
    const { walInspect: said } = await checks(world, { store: world.line(), path: 'union' });
    expect(said).toEqual([['unknown', 'OUT_OF_REACH', `wal/${'2'.padStart(20, '0')}.sst`]]);
  });

  it('whose log is looked for in the wrong store is reported so', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/tiny');
    const walStore = { store: new MemoryStore({ clock: world.clock }), path: '' };
    const { report } = await checks(world, { store: world.line(), path: '', walStore });
    expect(report.verdict).toBe('unknown');
    const [finding] = report.findings.filter((f) => f.severity === 'unknown');
    expect(finding.hint.summary).toContain('whether walStore of the location is the store');
  });
});

describe('a log that is there', () => {
  it('is not called gone where lists lag', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/tiny');
    const line = world.line();
    const list = line.list.bind(line);
    line.list = async function* (prefix, o) {
      if (prefix !== 'wal/') yield* list(prefix, o);
    };
    const { report, ...said } = await checks(world, { store: line, path: '' });
    expect(said).toEqual({ verify: [], sstCheck: [], walInspect: [] });
    expect(report.verdict).toBe('clean');
  });

  it('is not called gone where a writer flushes and a collector deletes while it is looked at', async () => {
    const world = await flushedAndCrashed();
    const db = await world.open();
    const line = world.line();
    const list = line.list.bind(line);
    let rounds = 0;
    line.list = async function* (prefix, o) {
      const before: ListedObject[] = [];
      for await (const object of list(prefix, o)) before.push(object);
      // The list is from before, and the manifest that is read next from after it.
      if (prefix === 'wal/') {
        rounds++;
        await db.put('e', `value ${rounds}`);
        await db.flush({ type: 'memtable' });
        const after = await replayPoint(world);
        await removeLog(world, (id) => id < after);
      }
      yield* before;
    };
    const { report, ...said } = await checks(world, { store: line, path: '' });
    expect(said).toEqual({ verify: [], sstCheck: [], walInspect: [] });
    expect(report.verdict).toBe('clean');
    expect(rounds).toBeGreaterThan(4);
  });

  it('costs no request more', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/tiny');
    const line = world.line();
    const db = await world.run(world.opening({}, line));
    // Up to the fence: one list, and whether more follows.
    const ofLog = line.take().filter((request) => /^(list|head|put) wal/.test(request));
    const heads = [4, 5, 6].map((id) => `head ${walPath(id)}`);
    expect(ofLog.slice(0, 4)).toEqual(['list wal/', ...heads]);
    expect(ofLog[4]).toMatch(/^put /);
    await world.run(db.close());
  });
});
