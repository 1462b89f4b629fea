/** Damaged and missing manifests: after the repair everything that was acknowledged is there, or nothing was changed. */
import { beforeAll, describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/common/bytes.ts';
import { type DbError, isCorruption } from '../../src/common/errors.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { manifestPath, walPath } from '../../src/format/object-names.ts';
import { findManifestSeal } from '../../src/format/seal.ts';
import { listManifestIds, loadManifest, repairManifestBytes } from '../../src/lsm/manifest/manifest-store.ts';
import { type ManifestRepairOptions, manifestRepair } from '../../src/tools/manifest-repair.ts';
import type { ToolOptions } from '../../src/tools/target.ts';
import { alwaysOvertaken, type Line, rejection, rowsOf, World, worldOfFixture } from '../support/database.ts';
import { digests, expectCrashesConverge, expectDryRun, expectUnchanged, toolOptions } from '../support/tool-laws.ts';

const repair =
  (options: ManifestRepairOptions = {}) =>
  (line: Line, tool: ToolOptions) =>
    manifestRepair({ store: line, path: '' }, { ...tool, ...options });

const APPLY = { apply: true };
const APPEND = {
  merge: (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) =>
    concatBytes(existing ?? new Uint8Array(0), operand),
};

function repaired(world: World, options: ManifestRepairOptions = APPLY) {
  return world.run(repair(options)(world.line(), toolOptions(world)));
}

/** Three lives: tables, rows in the log, a crash, a clean close, another crash. */
async function ourDatabase(): Promise<World> {
  const world = new World();
  const lives = ['first', 'second', 'third'];
  for (const [i, name] of lives.entries()) {
    const { db, line } = await world.connect();
    for (let n = 0; n < 6; n++) {
      await world.run(db.put(`${name}-${n}`, `value ${n}`));
      await world.run(db.put('counter', `${name} ${n}`));
      if (n % 3 === 2) await world.run(db.flush({ type: 'memtable' }));
    }
    await world.run(db.put(`${name}-last`, 'in the log'));
    if (i === 1) await world.run(db.close());
    else line.cut();
  }
  return world;
}

const KINDS = ['missing', 'empty', 'cut', 'overwritten', 'one byte'] as const;

async function harm(world: World, id: number, kind: (typeof KINDS)[number]): Promise<void> {
  const path = manifestPath(id);
  const bytes = await world.bytes(path);
  const random = new SeededRandom(id);
  if (kind === 'missing') await world.remove(path);
  else if (kind === 'empty') await world.replace(path, new Uint8Array(0));
  else if (kind === 'cut') await world.replace(path, bytes.subarray(0, bytes.length >> 1));
  else {
    const length = kind === 'one byte' ? 1 : 40;
    const at = random.nextUint32() % (bytes.length - length);
    for (let i = 0; i < length; i++) bytes[at + i] ^= 1 + (random.nextUint32() % 255);
    await world.replace(path, bytes);
  }
}

/** The rows of a database that opens, be it after a repair. */
async function rowsAfterRepair(world: World): Promise<string[]> {
  const copy = await world.copy();
  try {
    return await rowsOf(copy, await copy.open());
  } catch (error) {
    if (!isCorruption(error)) throw error;
  }
  const before = await digests(world);
  const report = await repaired(world);
  expect(report).toMatchObject({ applied: true, rows: { lost: 0 } });
  await expectUnchanged(world, before);
  expect(report.outcome).toMatch(/^(healed|reconstructed)$/);
  return rowsOf(world, await world.open());
}

it('a repair gives way to a writer that commits whenever it is looked at', async () => {
  const world = new World();
  const { db } = await world.connect();
  await world.run(db.put('early', 'in a table'));
  const { line, lists } = alwaysOvertaken(world, db);
  const error = await rejection(world.run(repair(APPLY)(line, toolOptions(world))));
  expect(error).toMatchObject({ name: 'UnavailableError', code: 'DEADLINE' });
  expect(lists()).toBe(20);
  await world.run(db.put('still', 'its own'));
});

describe('manifests in each other’s place', () => {
  it('still show their epochs: an emptied object of the log is not taken for the fence of one that nobody claimed', async () => {
    const world = new World();
    const { db, line } = await world.connect({ compatibility: 'slatedb-0.17' });
    for (const key of ['a', 'b']) {
      await world.run(db.put(key, 'in a table'));
      await world.run(db.flush({ type: 'memtable' }));
    }
    for (const key of ['c', 'd']) await world.run(db.put(key, 'in the log'));
    line.cut();
    const [previous, newest] = (await listManifestIds(world.memory)).slice(-2).map(manifestPath);
    const moved = await world.bytes(newest);
    await world.replace(newest, await world.bytes(previous));
    await world.replace(previous, moved);
    await world.replace((await world.paths('wal/')).at(-1) as string, new Uint8Array(0));
    expect(await repaired(world)).toMatchObject({ applied: true, outcome: 'reconstructed' });
    expect(await rejection(world.open())).toMatchObject({ code: 'TRUNCATED' });
  });
});

describe('a database of ours', () => {
  let world: World;
  let rows: string[];
  let ids: number[];
  beforeAll(async () => {
    world = await ourDatabase();
    rows = await rowsOf(world, await world.openReader());
    ids = await listManifestIds(world.memory);
    expect(ids.length).toBeGreaterThan(8);
  });

  it.each(KINDS)('loses nothing when any one manifest is %s', async (kind) => {
    for (const id of ids) {
      const copy = await world.copy();
      await harm(copy, id, kind);
      expect(await rowsAfterRepair(copy), `manifest ${id}`).toEqual(rows);
    }
  });

  it.each(KINDS)('loses nothing when the newest two manifests, or more, are %s', async (kind) => {
    for (let lost = 2; lost < ids.length; lost++) {
      const copy = await world.copy();
      for (const id of ids.slice(-lost)) await harm(copy, id, kind);
      expect(await rowsAfterRepair(copy), `the newest ${lost} manifests`).toEqual(rows);
    }
  });

  it('does not go back before a manifest that a live writer commits while it reads', async () => {
    const copy = await world.copy();
    const { db } = await copy.connect();
    await copy.run(db.put('before', 'it reads'));
    const damaged = (await listManifestIds(copy.memory)).at(-1)!;
    await harm(copy, damaged, 'overwritten');
    const repairing = repair({ ...APPLY, ifLiveWriter: 'fence' })(copy.line(), toolOptions(copy));
    // The damaged manifest is looked at again and again, for more than a second.
    await copy.clock.advance(50);
    await copy.run(db.flush({ type: 'memtable' }));
    await copy.run(db.put('after', 'the flush'));
    expect(await copy.run(repairing)).toMatchObject({ outcome: 'clean', applied: false });
    await copy.run(db.put('still', 'its own'));
    expect((await listManifestIds(copy.memory)).at(-1)).toBe(damaged + 1);
  });

  it('fences the writer whose claim was the damaged manifest, also where no fence says its epoch', async () => {
    const copy = await world.copy();
    const { db } = await copy.connect({ compatibility: 'slatedb-0.17', walEnabled: false });
    await harm(copy, (await listManifestIds(copy.memory)).at(-1)!, 'overwritten');
    const report = await repaired(copy, { ...APPLY, ifLiveWriter: 'fence' });
    expect(report).toMatchObject({ applied: true, outcome: 'reconstructed' });
    expect(await rejection(copy.run(db.put('after', 'it was repaired')))).toMatchObject({ name: 'FencedError' });
  });

  it('that was cut off before its fence fences the writer when it is run again', async () => {
    const copy = await world.copy();
    const { db } = await copy.connect();
    await copy.run(db.put('before', 'it is repaired'));
    await harm(copy, (await listManifestIds(copy.memory)).at(-1)!, 'overwritten');
    const fencing = repair({ ...APPLY, ifLiveWriter: 'fence' });
    const undisturbed = await copy.copy();
    const line = undisturbed.line();
    await undisturbed.run(fencing(line, toolOptions(undisturbed)));
    const dying = copy.line();
    dying.cutAt(line.requests.findIndex(({ op, path }) => op === 'put' && path.startsWith('manifest/')) + 1, 'after');
    fencing(dying, toolOptions(copy)).catch(() => undefined);
    while (!dying.isCut) await copy.clock.advance(100);
    const report = await copy.run(fencing(copy.line(), toolOptions(copy)));
    expect(report).toMatchObject({ applied: true, alreadyDone: true });
    expect(await rejection(copy.run(db.put('after', 'it was repaired')))).toMatchObject({ name: 'FencedError' });
    const again = await copy.run(fencing(copy.line(), toolOptions(copy)));
    expect(again).toMatchObject({ applied: true, alreadyDone: true, manifestId: report.manifestId });
  });

  it('says in a dry run what it would do', async () => {
    const copy = await world.copy();
    await harm(copy, ids.at(-1)!, 'overwritten');
    const report = await expectDryRun(copy, repair());
    expect(report).toMatchObject({ outcome: 'reconstructed', evidence: [{ from: manifestPath(ids.at(-1)!) }] });
    expect(report.before[0]).toMatchObject({ object: { role: 'manifest' }, remedy: 'rebuilds' });
    expect(report.before[0].hint.commands[1]).toBe('shaledb manifest repair LOCATION');
  });

  it.each(['overwritten', 'missing', 'one byte'] as const)('can be cut off at any request (%s)', async (kind) => {
    const copy = await world.copy();
    await harm(copy, ids.at(-1)!, kind);
    const total = await expectCrashesConverge(copy, repair(APPLY), async (w) => rowsOf(w, await w.openReader()));
    expect(total).toBeGreaterThan(15);
  });

  it('heals a changed byte of the newest manifest and writes it under a new id', async () => {
    const copy = await world.copy();
    const newest = ids.at(-1)!;
    const good = loadManifest(newest, await copy.bytes(manifestPath(newest)));
    await harm(copy, newest, 'one byte');
    const report = await repaired(copy);
    expect(report).toMatchObject({ outcome: 'healed', manifestId: BigInt(newest + 1) });
    const now = loadManifest(newest + 1, await copy.bytes(manifestPath(newest + 1)));
    expect(now.manifest.l0).toEqual(good.manifest.l0);
    expect(now.manifest.writerEpoch).toBeGreaterThan(good.manifest.writerEpoch);
    expect(now.seal).toMatchObject({
      manifest: { isRepair: true, previousManifestId: newest },
      owner: { hostPid: 'tool:1' },
    });
  });

  it('keeps the content of the newest manifest whatever two to four bytes of its seal changed', async () => {
    const newest = ids.at(-1)!;
    const path = manifestPath(newest);
    const bytes = await world.bytes(path);
    const good = loadManifest(newest, bytes);
    const { start, end } = findManifestSeal(bytes)!;
    const random = new SeededRandom(53);
    const trusts = new Set<string>();
    for (let width = 2; width <= 4; width++) {
      for (let at = start; at + width <= end; at++) {
        const damaged = bytes.slice();
        for (let i = 0; i < width; i++) damaged[at + i] ^= 1 + (random.nextUint32() % 255);
        const healed = repairManifestBytes(newest, damaged);
        expect({ at, width, manifest: healed?.loaded.manifest }).toEqual({ at, width, manifest: good.manifest });
        trusts.add(healed!.trust);
      }
    }
    expect([...trusts].sort()).toEqual(['content', 'probable', 'proven']);
    const copy = await world.copy();
    const damaged = bytes.slice();
    // The time at which it was written: nothing else says it.
    for (let i = 0; i < 3; i++) damaged[start + 6 + 60 + i] ^= 0x11 * (i + 3);
    await copy.replace(path, damaged);
    const report = await repaired(copy);
    expect(report).toMatchObject({ outcome: 'healed', manifestId: BigInt(newest + 1), rows: { lost: 0 } });
    expect(report.nextSteps.join(' ')).toMatch(/content is proven by its hash/);
    const now = loadManifest(newest + 1, await copy.bytes(manifestPath(newest + 1)));
    const { l0, runs, checkpoints, lastL0Seq, replayAfterWalId } = good.manifest;
    expect(now.manifest).toMatchObject({ l0, runs, checkpoints, lastL0Seq, replayAfterWalId });
    const untouched = await world.copy();
    expect(await rowsOf(copy, await copy.open())).toEqual(await rowsOf(untouched, await untouched.open()));
  });

  it('does not take a manifest of another id with a damaged seal for the one that belongs there', async () => {
    const newest = ids.at(-1)!;
    const other = await world.bytes(manifestPath(newest - 1));
    const { start } = findManifestSeal(other)!;
    const damaged = other.slice();
    for (let i = 0; i < 3; i++) damaged[start + 6 + 60 + i] ^= 0x11 * (i + 3);
    expect(repairManifestBytes(newest - 1, damaged)?.trust).toBe('content');
    expect(repairManifestBytes(newest, damaged)).toBeUndefined();
  });

  it('does nothing to a good database, and gives the report of a repair that was done', async () => {
    expect(await repaired(await world.copy())).toMatchObject({ outcome: 'clean', applied: false });
    const copy = await world.copy();
    await harm(copy, ids.at(-1)!, 'cut');
    const done = await repaired(copy);
    const again = await repaired(copy);
    expect(again).toEqual({ ...done, alreadyDone: true, requests: again.requests, tookMs: again.tookMs });
  });

  it('refuses to go on from an older manifest if the log after it has a hole', async () => {
    const copy = await world.copy();
    await harm(copy, ids.at(-1)!, 'overwritten');
    const { manifest } = loadManifest(ids.at(-2)!, await copy.bytes(manifestPath(ids.at(-2)!)));
    await copy.remove(walPath(manifest.replayAfterWalId + 1), (await copy.paths('compacted/')).at(-1)!);
    const before = await copy.versions();
    const report = await repaired(copy);
    expect(report).toMatchObject({ outcome: 'unrecoverable', applied: false });
    expect(report.nextSteps.join('\n')).toContain('the log has no object');
    expect(await copy.versions()).toEqual(before);
  });

  it('writes the manifest of an open handle again, which goes on', async () => {
    const copy = await world.copy();
    const db = await copy.open();
    await harm(copy, ids.at(-1)! + 1, 'overwritten');
    const report = await copy.run(manifestRepair(db, { ...toolOptions(copy), ...APPLY }));
    expect(report).toMatchObject({ applied: true, outcome: 'healed', manifestId: BigInt(ids.at(-1)! + 2) });
    await copy.run(db.put('after', 'repair'));
    expect(await rowsOf(copy, await copy.openReader())).toEqual([...rows, 'after=repair'].sort());
  });

  it('is refused beside a writer that writes', async () => {
    const copy = await world.copy();
    const db = await copy.open();
    await harm(copy, ids.at(-1)! + 1, 'overwritten');
    const timer = () => new Promise<void>((resolve) => copy.clock.setTimer(300, resolve));
    const writing = (async () => {
      for (let i = 0; i < 15; i++) await db.put(`k${i}`, 'v').then(timer, timer);
    })();
    expect(await rejection(repaired(copy))).toMatchObject({ name: 'ConflictError', code: 'LIVE_WRITER' });
    await copy.run(writing);
    expect(await repaired(copy)).toMatchObject({ applied: true });
    expect(await rejection(copy.run(db.put('too', 'late')))).toMatchObject({ name: 'FencedError', owner: 'tool:1' });
  });
});

describe('a table that only a lost manifest named', () => {
  /** The newest manifest is lost, and so is the log that its table stands for. */
  async function collected(): Promise<{ world: World; rows: string[] }> {
    const world = new World();
    const { db, line } = await world.connect();
    await world.run(db.put('a', 'in the first table'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('b', 'in the second table'));
    await world.run(db.put('c', 'in the second table'));
    await world.run(db.flush({ type: 'memtable' }));
    await world.run(db.put('d', 'in the log'));
    line.cut();
    const rows = await rowsOf(world, await world.openReader());
    const newest = (await listManifestIds(world.memory)).at(-1)!;
    const { manifest } = loadManifest(newest, await world.bytes(manifestPath(newest)));
    for (let id = 1; id <= manifest.replayAfterWalId; id++) await world.remove(walPath(id));
    await harm(world, newest, 'overwritten');
    return { world, rows };
  }

  it('is adopted where the log was collected', async () => {
    const { world, rows } = await collected();
    expect(await repaired(world, { apply: true, strategy: 'previous' })).toMatchObject({ outcome: 'unrecoverable' });
    const report = await repaired(world);
    expect(report).toMatchObject({ outcome: 'reconstructed', applied: true });
    expect(await rowsOf(world, await world.open())).toEqual(rows);
  });

  it('keeps the database from going on from an older manifest if it cannot be read', async () => {
    const { world } = await collected();
    // Another table's bytes under a name of its own: what it held before is unknown.
    const paths = await world.paths('compacted/');
    await world.replace(paths.at(-1)!.replace(/.{3}\.sst$/, 'ZZZ.sst'), await world.bytes(paths.at(-1)!));
    const before = await world.versions();
    const report = await repaired(world);
    expect(report).toMatchObject({ outcome: 'unrecoverable', applied: false });
    expect(await world.versions()).toEqual(before);
  });

  /** Without a log; the newest manifest is lost. */
  async function unlogged(): Promise<{ world: World; table: string }> {
    const world = new World();
    const { db, line } = await world.connect({ walEnabled: false });
    for (const value of ['old', 'new']) {
      await world.run(db.put('key', value));
      await world.run(db.flush({ type: 'memtable' }));
    }
    line.cut();
    await harm(world, (await listManifestIds(world.memory)).at(-1)!, 'empty');
    return { world, table: (await world.paths('compacted/')).at(-1)! };
  }

  it.each([
    ['emptied', 0],
    ['cut', 100],
  ])('keeps it from that if it is %s, in a database without a log, too', async (_, bytesLeft) => {
    const { world, table } = await unlogged();
    await world.replace(table, (await world.bytes(table)).subarray(0, bytesLeft));
    const before = await world.versions();
    const report = await repaired(world);
    expect(report).toMatchObject({ outcome: 'unrecoverable', applied: false });
    expect(report.nextSteps.join('\n')).toContain('cannot be read');
    expect(await world.versions()).toEqual(before);
  });

  it('and that is gone leaves no trace without a log: no repair claims to know that there was none', async () => {
    const { world, table } = await unlogged();
    await world.remove(table);
    const report = await repaired(world);
    expect(report).toMatchObject({ outcome: 'reconstructed', rows: { lost: 0, lostExact: false } });
    expect(report.nextSteps.join('\n')).toContain('leaves no trace');
  });

  it('is missed where there is a log', async () => {
    const { world } = await collected();
    await world.remove((await world.paths('compacted/')).at(-1)!);
    expect(await repaired(world)).toMatchObject({ outcome: 'unrecoverable', applied: false });
  });
});

describe.each([
  'l0-and-wal',
  'tiny',
  'wal-only-crash',
  'two-writers',
  'compacted',
  'versions-merge-ttl',
  'wal-disabled',
  'reader-checkpoint',
])('SlateDB’s database %s', (name) => {
  it.each(['missing', 'empty', 'cut', 'overwritten'] as const)(
    'loses nothing when its newest manifests are %s',
    async (kind) => {
      const whole = await worldOfFixture(`slatedb-0.12.1/${name}`);
      const rows = await rowsOf(whole, await whole.openReader({ mergeOperator: APPEND }));
      const ids = await listManifestIds(whole.memory);
      for (let lost = 1; lost < Math.min(4, ids.length); lost++) {
        const world = await whole.copy();
        for (const id of ids.slice(-lost)) await harm(world, id, kind);
        const before = await world.versions();
        const report = await repaired(world);
        if (report.outcome === 'unrecoverable') {
          // The tables of more than one manifest are gone with it, and no log stands for them: nothing is done.
          expect({ before: await world.versions(), lost: lost > 1 }).toEqual({ before, lost: true });
          continue;
        }
        if (report.before.some((f) => f.code === 'ROLLED_BACK')) {
          // No log, and no witness: the tables that nothing names are reported.
          expect({ name, outcome: report.outcome }).toEqual({ name: 'wal-disabled', outcome: 'clean' });
          continue;
        }
        // Nothing but a witness shows that a manifest is missing; SlateDB writes none.
        if (kind === 'missing') expect(report.outcome).toMatch(/^(clean|reconstructed)$/);
        else expect(report).toMatchObject({ applied: true, outcome: 'reconstructed' });
        const got = await rowsOf(world, await world.open({ mergeOperator: APPEND }));
        expect(got, `the newest ${lost} manifests, ${report.outcome}`).toEqual(rows);
      }
    },
  );
});

describe('a manifest of SlateDB with one bit inverted', () => {
  it('is healed if exactly one bit fits, and never into anything else', async () => {
    const whole = await worldOfFixture('slatedb-0.12.1/l0-and-wal');
    const newest = (await listManifestIds(whole.memory)).at(-1)!;
    const bytes = await whole.bytes(manifestPath(newest));
    const { manifest } = loadManifest(newest, bytes);
    const essence = ({ writerEpoch, compactorEpoch, walIdLastSeen, ...rest }: typeof manifest) => rest;
    const outcomes: Record<string, number> = { clean: 0, healed: 0, unrecoverable: 0, refused: 0 };
    for (let bit = 3; bit < 8 * bytes.length; bit += 211) {
      const world = await whole.copy();
      const damaged = bytes.slice();
      damaged[bit >>> 3] ^= 1 << (bit & 7);
      await world.replace(manifestPath(newest), damaged);
      const report = await repaired(world, { apply: true, strategy: 'heal' }).catch((error: DbError) => {
        expect(error, `bit ${bit}`).toMatchObject({ code: 'FORMAT_TOO_NEW' });
      });
      outcomes[report?.outcome ?? 'refused']++;
      if (report?.outcome !== 'healed') continue;
      const now = loadManifest(newest + 1, await world.bytes(manifestPath(newest + 1)));
      expect(essence(now.manifest), `bit ${bit}`).toEqual(essence(manifest));
    }
    expect(outcomes.healed).toBeGreaterThan(5);
  });
});
