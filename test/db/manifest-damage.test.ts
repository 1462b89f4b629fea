/** Damaged, missing and foreign manifests, and wrong lists: the true state or an error, never an empty database. */
import { beforeAll, describe, expect, it } from 'vitest';
import { equalBytes } from '../../src/common/bytes.ts';
import type { DbError, ManifestCorruptionError, WalCorruptionError } from '../../src/common/errors.ts';
import type { Finding } from '../../src/common/finding.ts';
import { SeededRandom } from '../../src/common/random.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import type { Checkpoint, Manifest } from '../../src/format/manifest-types.ts';
import { manifestPath, walPath } from '../../src/format/object-names.ts';
import { appendManifestSeal, decodeManifestSeal } from '../../src/format/seal.ts';
import { decodeTracker } from '../../src/format/sequence-tracker.ts';
import type { TableInfo } from '../../src/format/table-info.ts';
import { openReader } from '../../src/open.ts';
import { type FaultRule, FaultyStore } from '../../src/store/faulty-store.ts';
import { manifestInspect } from '../../src/tools/manifest-inspect.ts';
import { sstCheck } from '../../src/tools/sst-check.ts';
import { verify } from '../../src/tools/verify.ts';
import { walInspect } from '../../src/tools/wal-inspect.ts';
import { Line, rejection, rowsOf, World, worldOfFixture } from '../support/database.ts';

const AT_ONCE = 128;
const ROWS = ['a=value of a', 'b=value of b', 'c=value of c'];

/** Manifests 1 (empty), 2 (claim), 3 (table with a and b); c is in the log. */
async function smallDatabase(): Promise<World> {
  const world = new World();
  const { db, line } = await world.connect();
  await world.run(db.put('a', 'value of a'));
  await world.run(db.put('b', 'value of b'));
  await world.run(db.flush({ type: 'memtable' }));
  await world.run(db.put('c', 'value of c'));
  line.cut();
  return world;
}

/** What a reader gives with each set of faults: its rows, or its error. */
async function readings(world: World, faults: FaultRule[][], warned: boolean[] = []): Promise<(string[] | DbError)[]> {
  const results: (string[] | DbError)[] = [];
  for (let from = 0; from < faults.length; from += AT_ONCE) {
    const part = faults.slice(from, from + AT_ONCE).map(async (rules, i) => {
      const { clock, memory } = world;
      const store = new Line(new FaultyStore(memory, { clock, random: new SeededRandom(1), rules }), clock);
      const warn = () => void (warned[from + i] = true);
      const logger = { debug() {}, info() {}, warn, error() {} };
      try {
        const reader = await openReader({ store, path: '' }, { clock, logger });
        const rows: string[] = [];
        for await (const { key, value, seq } of reader.scan()) rows.push(`${key}=${value} ${seq}`);
        await reader.close();
        return rows;
      } catch (error) {
        return error as DbError;
      }
    });
    results.push(...(await world.run(Promise.all(part))));
  }
  return results;
}

const everyBit = (path: string, size: number): FaultRule[][] =>
  Array.from({ length: 8 * size }, (_, bit) => [{ action: 'flip', op: 'get', path, bit }]);

function isError(result: string[] | DbError): result is DbError {
  return !Array.isArray(result);
}

describe('the newest manifest', () => {
  let world: World;
  let size: number;
  beforeAll(async () => {
    world = await smallDatabase();
    expect(await world.paths('manifest/')).toEqual([1, 2, 3].map(manifestPath));
    size = (await world.bytes(manifestPath(3))).length;
  });

  it('with any one bit inverted is refused, and the newest good one is named', async () => {
    const errors = await readings(world, everyBit(manifestPath(3), size));
    const others = errors
      .map((e, bit) => [bit, String(e)])
      .filter(([, e]) => !/^ManifestCorruptionError/.test(String(e)));
    expect(others).toEqual([]);
    for (const error of errors as ManifestCorruptionError[]) {
      expect(error.newestGoodId).toBe(2n);
      expect(error.fallback).toMatchObject({ manifestId: 2n, strategy: 'previous', walFrom: 1n, walTo: 4n });
      expect(error.findings[0].object).toMatchObject({ role: 'manifest', path: manifestPath(3), size });
      expect(error.findings[0].reads.attempts).toBe(3);
    }
  });

  it('cut to any length is refused, but for the one at which exactly the seal is gone', async () => {
    const body = decodeManifest(await world.bytes(manifestPath(3))).bodyBytes;
    const cuts = Array.from({ length: size }, (_, at): FaultRule[] => [
      { action: 'cut', op: 'get', path: manifestPath(3), at },
    ]);
    const results = await readings(world, cuts);
    const readable = results.flatMap((r, at) => (isError(r) ? [] : [at]));
    expect(readable).toEqual([body]);
    expect(results[body]).toHaveLength(3);
    for (const r of results)
      if (isError(r)) expect(r).toMatchObject({ name: 'ManifestCorruptionError', newestGoodId: 2n });
  });

  it('if damaged keeps writers out, and nothing is written', async () => {
    const copy = await world.copy();
    const bytes = await copy.bytes(manifestPath(3));
    bytes[40] ^= 4;
    await copy.replace(manifestPath(3), bytes);
    const before = await copy.versions();
    const error = (await rejection(copy.open())) as ManifestCorruptionError;
    expect(error).toMatchObject({ name: 'ManifestCorruptionError', kind: 'corruption', newestGoodId: 2n });
    expect(error.message).toContain('Manifest 2 is intact');
    expect(await copy.versions()).toEqual(before);
  });

  it('if it is an older one under a new name is refused', async () => {
    const copy = await world.copy();
    await copy.replace(manifestPath(3), await copy.bytes(manifestPath(2)));
    expect(await rejection(copy.open())).toMatchObject({ name: 'ManifestCorruptionError', code: 'IDENTITY_MISMATCH' });
  });

  it('if it breaks a rule is refused although every checksum holds', async () => {
    const copy = await world.copy();
    await copy.replace(manifestPath(3), await resealed(copy, 3, (m) => ({ ...m, recentSnapshotMinSeq: 1000 })));
    const error = await rejection(copy.open());
    expect(error).toMatchObject({ name: 'ManifestCorruptionError', code: 'MANIFEST_INCONSISTENT', retryable: false });
  });

  it('if all are damaged names none', async () => {
    const copy = await world.copy();
    for (const id of [1, 2, 3]) await copy.replace(manifestPath(id), new Uint8Array(20));
    const error = (await rejection(copy.open())) as ManifestCorruptionError;
    expect(error).toMatchObject({ name: 'ManifestCorruptionError' });
    expect(error.newestGoodId).toBeUndefined();
  });

  it('of a newer format is no damage', async () => {
    const copy = await world.copy();
    await copy.replace(manifestPath(3), await resealed(copy, 3, (m) => m, 3));
    const before = await copy.versions();
    expect(await rejection(copy.open())).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW' });
    expect(await rejection(copy.openReader())).toMatchObject({ name: 'IncompatibleError' });
    expect(await copy.versions()).toEqual(before);
  });
});

/** A manifest changed and sealed again, as its author would have written it. */
async function resealed(
  world: World,
  id: number,
  change: (m: Manifest) => Manifest,
  header?: number,
): Promise<Uint8Array> {
  const bytes = await world.bytes(manifestPath(id));
  const { manifest, bodyBytes } = decodeManifest(bytes);
  const seal = decodeManifestSeal(bytes, bodyBytes, 'manifest')!;
  const body = encodeManifest(change(manifest));
  if (header !== undefined) body[1] = header;
  const { identity, owner } = seal;
  return appendManifestSeal(body, { kind: 'manifest', identity, manifest: seal.manifest!, ...(owner && { owner }) });
}

describe('a manifest of SlateDB, which has no checksum', () => {
  let world: World;
  let newest: string;
  beforeAll(async () => {
    world = await worldOfFixture('slatedb-0.12.1/l0-and-wal');
    newest = (await world.paths('manifest/')).pop()!;
  });

  it('with any one bit inverted never changes an answer, and one in two hundred goes unseen', async () => {
    const size = (await world.bytes(newest)).length;
    const [right] = await readings(world, [[]]);
    const warned: boolean[] = [];
    const results = await readings(world, everyBit(newest, size), warned);
    const readable = results.flatMap((r, bit) => (isError(r) ? [] : [{ bit, rows: String(r) }]));
    expect(readable.filter(({ rows }) => rows !== String(right))).toEqual([]);
    const unseen = readable.filter(({ bit }) => !warned[bit]).length;
    expect({ refused: results.length - readable.length, warned: readable.length - unseen, unseen }).toEqual({
      refused: 3108,
      warned: 474,
      // 16 claim fields of a newer version, with which writers are refused; 2 are of the oldest snapshot.
      unseen: 18,
    });
    const kinds = new Set(results.filter(isError).map((e) => e.kind));
    expect([...kinds].sort()).toEqual(['corruption', 'incompatible']);
  });

  /** The newest manifest changed, as damage that keeps its form would. */
  async function changed(change: (m: Manifest) => Manifest): Promise<World> {
    const copy = await world.copy();
    const { manifest } = decodeManifest(await copy.bytes(newest));
    await copy.replace(newest, encodeManifest(change(manifest)));
    return copy;
  }

  const changes: [string, (m: Manifest) => Manifest][] = [
    ['the replay point 900 is after', (m) => ({ ...m, replayAfterWalId: 900 })],
    ['of which all rows should be in tables', (m) => ({ ...m, replayAfterWalId: 4 })],
    ['names manifest 9, which is not yet written', (m) => ({ ...m, checkpoints: [checkpointOf(9)] })],
    ['lastL0Seq went from', (m) => ({ ...m, lastL0Seq: 1, recentSnapshotMinSeq: 0 })],
    ['lastL0Seq moved', (m) => ({ ...m, lastL0Seq: m.lastL0Seq + 4, walIdLastSeen: 3 })],
    ['lastL0ClockTick moved', (m) => ({ ...m, lastL0ClockTick: m.lastL0ClockTick + 1n })],
    ['writer epoch rose', (m) => ({ ...m, writerEpoch: m.writerEpoch + 8 })],
    ['compactor epoch rose', (m) => ({ ...m, compactorEpoch: 64 })],
    ['no longer set up', (m) => ({ ...m, initialized: false })],
    ['tables vanished', (m) => ({ ...m, l0: m.l0.slice(1) })],
  ];

  it.each(changes)('that cannot follow the one before it (%s) is refused', async (reason, change) => {
    const copy = await changed(change);
    const before = await copy.versions();
    const error = await rejection(copy.open());
    expect(error).toMatchObject({ name: 'ManifestCorruptionError', code: 'MANIFEST_INCONSISTENT', newestGoodId: 4n });
    expect(error.message).toContain(reason);
    expect(await copy.versions()).toEqual(before);
  });

  it('that would hide a row of the log is refused, also where nothing is left to compare it with', async () => {
    const { manifest } = decodeManifest(await world.bytes(newest));
    const copy = await changed((m) => ({ ...m, lastL0Seq: m.lastL0Seq + 4 }));
    await copy.remove(...(await copy.paths('manifest/')).slice(0, -1));
    const before = await copy.versions();
    for (const opening of [copy.open(), copy.openReader({ allowPrefix: true })]) {
      const error = await rejection(opening);
      expect(error).toMatchObject({ name: 'ManifestCorruptionError', code: 'MANIFEST_INCONSISTENT' });
      expect(error.message).toContain(`row ${manifest.lastL0Seq + 1} of WAL object 4 is newer than any row`);
    }
    expect(await copy.versions()).toEqual(before);
  });

  it('that would hide a row of the log is no clean database for any check', async () => {
    const copy = await changed((m) => ({ ...m, lastL0Seq: m.lastL0Seq + 4 }));
    await copy.remove(...(await copy.paths('manifest/')).slice(0, -1));
    const report = await copy.run(verify({ store: copy.memory, path: '' }, { clock: copy.clock }));
    expect(report.verdict).toBe('corrupt');
    expect(report.findings.filter((f) => f.severity === 'error')).toMatchObject([
      { code: 'MANIFEST_INCONSISTENT', object: { path: newest } },
    ]);
  });

  const withTable = (m: Manifest, info: Partial<TableInfo>): Manifest => {
    const [view, ...others] = m.l0;
    const table = { ...view.table, info: { ...view.table.info, ...info } };
    return { ...m, l0: [{ ...view, table }, ...others] };
  };

  it.each([
    ['firstEntry', { firstEntry: Uint8Array.of(0x6c) }],
    ['lastEntry', { lastEntry: Uint8Array.of(0x6a, 0xff) }],
    ['statsLength', { statsLength: 3 }],
  ] as const)(
    'whose %s of a table is not what the table says is refused, also where nothing is left to compare it with',
    async (field, info) => {
      const copy = await changed((m) => withTable(m, info));
      await copy.remove(...(await copy.paths('manifest/')).slice(0, -1));
      const error = await rejection(copy.open());
      expect(error).toMatchObject({ name: 'ManifestCorruptionError', code: 'MANIFEST_INCONSISTENT' });
      expect(error.message).toContain(`${field} of table`);
      const report = await copy.run(verify({ store: copy.memory, path: '' }, { clock: copy.clock }));
      expect(report.verdict).toBe('corrupt');
    },
  );

  it('opens where another table is in the place of one that it names: reads of that table fail, and no others', async () => {
    const copy = await world.copy();
    const [first, second] = await copy.paths('compacted/');
    const bytes = await copy.bytes(second);
    await copy.replace(second, await copy.bytes(first));
    await copy.replace(first, bytes);
    await copy.run((await copy.openReader()).close());
  });

  it.each([
    // A flush that kept no row.
    ['last_l0_seq with the tick', (m: Manifest) => ({ ...m, lastL0Seq: 69, lastL0ClockTick: 2n ** 42n })],
    ['an epoch by one', (m: Manifest) => ({ ...m, writerEpoch: m.writerEpoch + 1 })],
    ['nothing', (m: Manifest) => m],
  ])('that moves %s is accepted', async (_what, change) => {
    const copy = await changed(change);
    // After every tick, which would be warned of otherwise.
    copy.clock.jumpWallMs(2 ** 42 + 1 - copy.clock.nowMs());
    await copy.run((await copy.open()).close());
    expect(copy.log.filter((l) => l.level === 'warn')).toEqual([]);
  });

  it('with a damaged sequence tracker can be written on: a new one is begun', async () => {
    const copy = await changed((m) => ({ ...m, sequenceTracker: m.sequenceTracker!.slice(0, -1) }));
    // After the last row of the log; times in the future are left out of trackers.
    copy.clock.jumpWallMs(Date.UTC(2027, 0, 1) - copy.clock.nowMs());
    const db = await copy.open();
    await copy.run(db.put('new', 'row'));
    await copy.run(db.flush({ type: 'memtable' }));
    await copy.run(db.close());
    const { manifest } = decodeManifest(await copy.bytes((await copy.paths('manifest/')).pop()!));
    expect(decodeTracker(manifest.sequenceTracker!).seqs).toHaveLength(1);
    expect(await rowsOf(copy, await copy.openReader())).toContain('new=row');
  });

  it('with a sequence tracker of a newer form is read, not written', async () => {
    const copy = await changed((m) => ({ ...m, sequenceTracker: m.sequenceTracker!.with(0, 3) }));
    const before = await copy.versions();
    const error = await rejection(copy.open());
    expect(error).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW' });
    expect(error.message).toContain(newest);
    expect(await rowsOf(copy, await copy.openReader())).toHaveLength(32);
    const place = { store: copy.memory, path: '' };
    const found = { code: 'FORMAT_TOO_NEW', severity: 'unknown', object: { path: newest } };
    expect((await copy.run(manifestInspect(place, undefined, { clock: copy.clock }))).findings).toMatchObject([found]);
    const report = await copy.run(verify(place, { clock: copy.clock }));
    expect(report.verdict).toBe('unknown');
    expect(report.findings.filter((f) => f.severity !== 'note')).toMatchObject([found]);
    expect(await copy.versions()).toEqual(before);
  });

  it.each([0, 200])(
    'with a sequence tracker of version %i, which nobody wrote, is damaged and can be written on',
    async (version) => {
      const copy = await changed((m) => ({ ...m, sequenceTracker: m.sequenceTracker!.with(0, version) }));
      const place = { store: copy.memory, path: '' };
      expect((await copy.run(manifestInspect(place, undefined, { clock: copy.clock }))).findings).toMatchObject([
        { code: 'MANIFEST_INCONSISTENT', severity: 'warning', found: /tracker cannot be decoded/ },
      ]);
      await copy.run((await copy.open()).close());
    },
  );

  it('is not judged by one that was put before it later', async () => {
    const copy = await changed((m) => ({ ...m, compactorEpoch: m.compactorEpoch + 8 }));
    copy.clock.jumpWallMs(1000);
    const before = manifestPath(4);
    await copy.replace(before, await copy.bytes(before));
    expect(await rowsOf(copy, await copy.open())).toHaveLength(32);
  });

  it('in another encoding is used, with a warning if that is new', async () => {
    const copy = await world.copy();
    await copy.replace(newest, otherwiseEncoded(await copy.bytes(newest)));
    await copy.run((await copy.openReader()).close());
    expect(copy.log).toEqual([
      expect.objectContaining({ level: 'warn', message: 'a bit of the newest manifest may have changed' }),
    ]);
    await copy.replace(manifestPath(4), otherwiseEncoded(await copy.bytes(manifestPath(4))));
    await copy.run((await copy.openReader()).close());
    expect(copy.log[1]).toMatchObject({ level: 'info', message: 'a bit of the newest manifest may have changed' });
  });
});

/** The same content with another bit where the encoding leaves room, as between two fields. */
function otherwiseEncoded(bytes: Uint8Array): Uint8Array {
  const content = encodeManifest(decodeManifest(bytes).manifest);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const other = bytes.slice();
    other[bit >> 3] ^= 1 << (bit & 7);
    try {
      const { manifest } = decodeManifest(other);
      if (!manifest.hasUnknownFields && equalBytes(encodeManifest(manifest), content)) return other;
    } catch {
      // This bit has a meaning.
    }
  }
  throw new Error('every bit has a meaning');
}

function checkpointOf(manifestId: number): Checkpoint {
  const id = '01234567-89ab-4def-8123-456789abcdef';
  return { id, manifestId, expireTimeS: 0, createTimeS: 1, writerEpoch: undefined, name: undefined };
}

describe('missing manifests', () => {
  it('are noticed where the log was written by somebody who knew them', async () => {
    const world = await smallDatabase();
    await world.remove(manifestPath(3));
    const before = await world.versions();
    const error = await rejection(world.open());
    expect(error).toMatchObject({ name: 'RollbackError', code: 'ROLLED_BACK', expected: 3n, found: 2n });
    expect(await rejection(world.openReader())).toMatchObject({ name: 'RollbackError' });
    expect(await world.versions()).toEqual(before);
  });

  it('are reported by every tool that reads the manifest in use', async () => {
    const world = await smallDatabase();
    await world.remove(manifestPath(3));
    const place = { store: world.memory, path: '' };
    const { clock } = world;
    const codes = (findings: readonly Finding[]) => findings.filter((f) => f.severity === 'error').map((f) => f.code);
    const looked = async () => {
      const log: Finding[] = [];
      for await (const { findings } of walInspect(place, { clock })) log.push(...findings);
      const tables: Finding[] = [];
      for await (const finding of sstCheck(place, { clock })) tables.push(finding);
      const { findings } = await manifestInspect(place, undefined, { clock });
      return { log: codes(log), tables: codes(tables), manifest: codes(findings) };
    };
    const expected = ['ROLLED_BACK'];
    expect(await world.run(looked())).toEqual({ log: expected, tables: expected, manifest: expected });
    const report = await world.run(verify(place, { clock }));
    expect(report.verdict).toBe('corrupt');
    expect(codes(report.findings)).toEqual(expected);
  });

  it('are noticed where only the claim of the newest writer is gone', async () => {
    const world = await smallDatabase();
    await world.writeAndCrash(['d']);
    expect((await world.paths('manifest/')).pop()).toBe(manifestPath(4));
    await world.remove(manifestPath(4));
    expect(await rejection(world.open())).toMatchObject({ name: 'RollbackError', expected: 4n, found: 3n });
  });

  it('that nobody knew lose no row', async () => {
    const world = await smallDatabase();
    await world.run((await world.open()).close());
    const ids = await world.paths('manifest/');
    // The claim, the last table and the clean close; what they said is still in the log.
    await world.remove(ids[ids.length - 1]);
    expect(await rowsOf(world, await world.open())).toEqual(ROWS);
  });

  it('if all are gone are an error, whatever else is left, and nothing is created', async () => {
    const world = await smallDatabase();
    await world.remove(...(await world.paths('manifest/')));
    await world.replace('gc/manifest.boundary', new TextEncoder().encode('1'));
    await world.replace('compactions/00000000000000000001.compactions', new Uint8Array(8));
    const all = await world.paths();
    const groups = ['shale/', 'wal/', 'compacted/', 'gc/', 'compactions/'];
    for (const left of groups) {
      const copy = await world.copy();
      await copy.remove(...all.filter((p) => !p.startsWith(left)));
      const before = await copy.versions();
      expect(before.length, left).toBeGreaterThan(0);
      const error = await rejection(copy.open());
      expect(error, left).toMatchObject({ name: 'ManifestCorruptionError', code: 'MISSING_OBJECT' });
      expect(error.message).toContain('is not created over it');
      expect(await rejection(copy.openReader()), left).toMatchObject({ name: 'ManifestCorruptionError' });
      expect(await copy.versions()).toEqual(before);
    }
  });

  it('are no error where nothing else is left either: a new database begins', async () => {
    const world = await smallDatabase();
    await world.remove(...(await world.paths()));
    await world.replace('something/else', new Uint8Array(3));
    expect(await rowsOf(world, await world.open())).toEqual([]);
  });
});

describe('numbers that no store can hold', () => {
  it('in the name of a WAL object are refused at once', async () => {
    const world = await smallDatabase();
    await world.replace(walPath(9_000_000_000_000), new Uint8Array(3));
    const error = (await rejection(world.open())) as WalCorruptionError;
    expect(error).toMatchObject({ name: 'WalCorruptionError', code: 'MISSING_OBJECT' });
    expect(error.total).toBeGreaterThan(8e12);
    expect(error.findings.length).toBe(1000);
    expect(error.wal.end).toBe(9_000_000_000_000n);
  });

  it('in a manifest are refused at once', async () => {
    const world = await smallDatabase();
    const huge = (m: Manifest) => ({ ...m, walIdLastSeen: 2 ** 52 });
    await world.replace(manifestPath(3), await resealed(world, 3, huge));
    expect(await rejection(world.open())).toMatchObject({ name: 'RollbackError', expected: 2n ** 52n, found: 4n });
  });
});

describe('a wrong list', () => {
  const wrongLists: FaultRule['action'][] = ['list-stale', 'empty', 'list-unordered', 'list-loop'];
  const prefixes = [/^manifest\/$/, /^wal\/$/, /^compacted\/$/, /./];
  const cases = wrongLists.flatMap((action) => prefixes.map((path) => ({ action, path })));

  it.each(cases)('$action of $path ends in the true state or in an error', async ({ action, path }) => {
    for (const count of action === 'list-stale' ? [1, 2, 3, 5] : [1]) {
      const world = await smallDatabase();
      const before = await world.versions();
      world.faults.add({ action, op: 'list', path, count });
      const opened = await world.connect().catch((error: DbError) => error);
      if ('db' in opened) {
        expect(await rowsOf(world, opened.db)).toEqual(ROWS);
        continue;
      }
      expect(['corruption', 'unavailable']).toContain(opened.kind);
      expect(await world.versions()).toEqual(before);
      world.faults.clear();
      expect(await rowsOf(world, await world.open())).toEqual(ROWS);
    }
  });

  it.each(wrongLists)('%s once is as good as a true one', async (action) => {
    for (const path of [/^manifest\/$/, /^wal\/$/]) {
      const world = await smallDatabase();
      world.faults.add({ action, op: 'list', path, nth: 1 });
      const opened = await world.connect().catch((error: DbError) => error);
      if ('db' in opened) expect(await rowsOf(world, opened.db)).toEqual(ROWS);
      else expect(['corruption', 'unavailable']).toContain(opened.kind);
    }
  });

  it('about manifests does not let a writer acknowledge what it may not own any more', async () => {
    const world = await smallDatabase();
    const { db } = await world.connect();
    await world.run(db.put('d', 'value of d'));
    world.clock.jumpWallMs(3_600_000);
    world.faults.add({ action: 'empty', op: 'list', path: 'manifest/' });
    const put = db.put('e', 'value of e');
    expect(await rejection(world.run(put))).toMatchObject({ kind: 'unavailable', outcome: 'unknown' });
    world.faults.clear();
    await world.run(db.put('f', 'value of f'));
    expect(await world.run(db.get('e'))).toBeDefined();
  });
});

describe('objects in a form of a newer program', () => {
  it('are not called damaged, and the log before them is not served as if it ended there', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/wal-only-crash');
    const bytes = await world.bytes(walPath(3));
    bytes[bytes.length - 1] = 3;
    await world.replace(walPath(3), bytes);
    const before = await world.versions();
    expect(await rejection(world.open())).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW' });
    expect(await rejection(world.openReader({ allowPrefix: true }))).toMatchObject({ name: 'IncompatibleError' });
    expect(await world.versions()).toEqual(before);
  });
});
