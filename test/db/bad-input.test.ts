/** What users get wrong: a typed error that names the value, the limit and the remedy, and nothing written. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import type { Db } from '../../src/db/db.ts';
import { WriteBatch } from '../../src/db/write-batch.ts';
import { decodeManifest, encodeManifest } from '../../src/format/manifest-codec.ts';
import { manifestPath } from '../../src/format/object-names.ts';
import { open, openReader } from '../../src/open.ts';
import { type LocalFiles, SYSTEM_FILES } from '../../src/store/local-files.ts';
import { LocalStore } from '../../src/store/local-store.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { type Line, rejection, rowsOf, thrown, World, worldOfFixture } from '../support/database.ts';

// biome-ignore lint/suspicious/noExplicitAny: what plain JavaScript lets through
type Anything = any;

describe('options of open', () => {
  it('are all reported at once, with what was given, what is allowed, and what was probably meant', async () => {
    const world = new World();
    const options: Anything = {
      flushInterval: 5,
      await_durable: false,
      memoryBytes: 'lots',
      createIfMissing: 1,
      sstBlockSizeBytes: 3,
      compressionCodec: 'brotli',
      manifestPollIntervalMs: 0.5,
      zzz: true,
    };
    const error = await rejection(world.opening(options));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_OPTION', retryable: false });
    expect(error.details['faults']).toEqual([
      'flushInterval is unknown (did you mean flushIntervalMs?)',
      'await_durable is unknown (did you mean awaitDurable?)',
      'memoryBytes must be a whole number from 8388608 to 1099511627776, not "lots"',
      'createIfMissing must be true or false, not 1',
      'sstBlockSizeBytes must be a whole number from 1024 to 65536, not 3',
      'compressionCodec must be one of none, snappy, zlib, lz4, zstd, not "brotli"',
      'manifestPollIntervalMs must be a whole number from 10 to 60000, not 0.5',
      'zzz is unknown',
    ]);
    for (const fault of error.details['faults'] as string[]) expect(error.message).toContain(fault);
    expect(await world.paths()).toEqual([]);
  });

  it('that contradict each other are reported together with the others', async () => {
    const world = new World();
    const options: Anything = { l0SstSizeBytes: 1 << 20, maxUnflushedBytes: 1 << 20, zzz: 1 };
    const error = await rejection(world.opening(options));
    expect(error.details['faults']).toEqual([
      'zzz is unknown',
      'maxUnflushedBytes (1048576) must exceed l0SstSizeBytes (1048576)',
    ]);
  });

  it.each([
    [null, 'null'],
    [5, '5'],
    ['text', '"text"'],
    [[], 'an array'],
  ])('must be an object, not %j', async (options: Anything, said) => {
    const error = await rejection(open({ store: new MemoryStore(), path: '' }, options));
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    expect(error.message).toContain(said);
  });

  it.each([
    ['cache', {}],
    ['clock', { nowMs: () => 0 }],
    ['logger', console.log],
    ['onEvent', {}],
    ['mergeOperator', { mergeBatch() {} }],
    ['random', Math.random],
    ['owner', ''],
    ['defaultTtlMs', 0],
    ['handleSignals', 'yes'],
    ['compatibility', 'slatedb-1.0'],
    ['timeoutMs', Number.POSITIVE_INFINITY],
    ['l0MaxSsts', 0],
    ['filterBitsPerKey', 65],
  ])('(%s) are checked', async (name, value) => {
    const error = await rejection(open({ store: new MemoryStore(), path: '' }, { [name]: value } as Anything));
    expect(error).toMatchObject({ code: 'BAD_OPTION' });
    expect(error.message).toContain(name);
  });

  it('of a writer are unknown to a reader', async () => {
    const error = await rejection(openReader('memory:', { awaitDurable: true, allowPrefx: true } as Anything));
    expect(error.details['faults']).toEqual([
      'awaitDurable is unknown',
      'allowPrefx is unknown (did you mean allowPrefix?)',
    ]);
  });
});

describe('a location', () => {
  const store = new MemoryStore();
  const cases: [string, Anything, string[]][] = [
    ['that is missing', undefined, ['undefined']],
    ['that is null', null, ['null']],
    ['that is a number', 7, ['number']],
    ['that is a path', '/data/db', ['/data/db', 'file:///']],
    ['of an unknown scheme', 'gs://bucket/x', ['gs:', 's3:', 'file:']],
    ['with a host', 'file://server/x', ['server', 'file:///']],
    ['with parameters', 'file:///x?y=1', ['file:']],
    ['with an encoded slash', 'file:///x%2Fy', ['%2F']],
    ['with an encoded zero byte', 'file:///x%00y', ['letters']],
    ['with a path in memory', 'memory:x/y', ['memory:orders']],
    ['with parameters in memory', 'memory:x?y=1', ['memory:orders']],
    ['without a bucket', 's3:///x', ['s3://bucket/path']],
    ['with an unknown parameter', 's3://b/p?regoin=eu', ['regoin', 'region']],
    ['with a bad parameter', 's3://b/p?forcePathStyle=maybe', ['forcePathStyle', 'maybe']],
    ['with a bad escape', 's3://b/%zz', ['%zz']],
    ['with keys in it', 's3://AKIA123:verysecret@b/p', ['AWS_ACCESS_KEY_ID']],
    ['with a bad endpoint', 's3://b/p?endpoint=nonsense', ['endpoint', 'nonsense']],
    ['with a parameter twice', 's3://b/p?endpoint=http://a:1&endpoint=http://b:2', ['endpoint', 'more than once']],
    ['with a fragment', 's3://b/p#x', ['fragment', '%23']],
    ['with an empty part of the path', 's3://b/a//b', ['//']],
    ['without a path', { store }, ['path']],
    ['without a store', { path: 'x' }, ['store']],
    ['with something else for a store', { store: {}, path: 'x' }, ['store']],
    ['with an unknown member', { store, path: '', wallStore: 1 }, ['wallStore', 'walStore']],
    ['with a bad WAL store', { store, path: '', walStore: 5 }, ['walStore']],
    ['with a WAL store without a path', { store, path: '', walStore: { store } }, ['walStore.path']],
    ['with dots in its path', { store, path: 'a/../b' }, ['a/../b']],
    ['with a # in its path', { store, path: 'a#b' }, ['a#b']],
  ];

  it.each(cases)('%s is refused', async (_, location, said) => {
    for (const opening of [() => open(location), () => openReader(location)]) {
      const error = await rejection(opening());
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_ARGUMENT', retryable: false });
      for (const part of said) expect(error.message).toContain(part);
      expect(JSON.stringify(error)).not.toContain('verysecret');
    }
  });
});

describe('a call', () => {
  let world: World;
  let db: Db;
  let line: Line;
  let before: string[];
  beforeEach(async () => {
    world = new World();
    ({ db, line } = await world.connect());
    await world.run(db.put('k', 'v'));
    await world.clock.advance(5000);
    before = await world.versions();
    line.take();
  });
  afterEach(async () => {
    // No request, nothing written, nothing visible, and the handle is as good as before.
    await world.clock.advance(5000);
    expect(line.take()).toEqual([]);
    expect(await world.versions()).toEqual(before);
    expect(await rowsOf(world, db)).toEqual(['k=v']);
    await world.run(db.put('k2', 'v'));
  });

  async function expectRefused(call: () => Promise<unknown>, code: string, said: string[]): Promise<void> {
    const error = await rejection(world.run(call()));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code, retryable: false });
    for (const part of said) expect(error.message).toContain(part);
  }

  it('with a key that is too long is refused', async () => {
    const key = new Uint8Array(65_536).fill(0x61);
    const said = ['65536', '65535'];
    for (const call of [
      () => db.put(key, 'v'),
      () => db.put('a'.repeat(65_536), 'v'),
      () => db.delete(key),
      () => db.get(key),
      () => db.has(key),
      () => db.getMany(['k', key]),
      () => db.getWithMeta(key),
    ]) {
      await expectRefused(call, 'KEY_TOO_LARGE', [...said, 'hash']);
    }
    await expectRefused(() => db.scan({ gte: key }).next(), 'KEY_TOO_LARGE', said);
    expect(thrown(() => new WriteBatch().put(key, 'v'))).toMatchObject({ code: 'KEY_TOO_LARGE' });
  });

  it('with the longest key is not refused', async () => {
    const key = new Uint8Array(65_535).fill(0x61);
    const other = new World();
    const there = await other.open();
    await other.run(there.put(key, 'v'));
    await other.run(there.flush({ type: 'memtable' }));
    expect(await other.run(there.has(key))).toBe(true);
    expect((await other.run(there.scan({ lte: key }).nextBatch(9))).length).toBe(1);
  });

  it('with an empty key is refused', async () => {
    for (const key of ['', new Uint8Array(0)]) {
      await expectRefused(() => db.put(key, 'v'), 'BAD_ARGUMENT', ['empty', '65,535']);
      await expectRefused(() => db.get(key), 'BAD_ARGUMENT', ['empty']);
    }
  });

  it('with something else for a key or value is refused', async () => {
    const wrong: Anything[] = [undefined, null, 5, 5n, true, {}, ['a'], new ArrayBuffer(3), new Uint16Array(2)];
    for (const value of wrong) {
      await expectRefused(() => db.put(value, 'v'), 'BAD_ARGUMENT', ['key', 'Uint8Array', 'string']);
      await expectRefused(() => db.put('key', value), 'BAD_ARGUMENT', ['value', 'Uint8Array', 'string']);
      await expectRefused(() => db.delete(value), 'BAD_ARGUMENT', ['key']);
      await expectRefused(() => db.get(value), 'BAD_ARGUMENT', ['key']);
    }
  });

  it('with an ill-formed string is refused', async () => {
    for (const s of ['\ud800', 'a\udfff', '\udc00\ud800']) {
      await expectRefused(() => db.put(s, 'v'), 'BAD_ARGUMENT', ['surrogate', 'bytes']);
      await expectRefused(() => db.put('key', s), 'BAD_ARGUMENT', ['surrogate', 'bytes']);
      await expectRefused(() => db.get(s), 'BAD_ARGUMENT', ['surrogate']);
      await expectRefused(() => db.scan({ prefix: s }).next(), 'BAD_ARGUMENT', ['surrogate']);
    }
  });

  it('with a value that is too large is refused', async () => {
    const value = new Uint8Array(256 * 1024 * 1024 + 1);
    await expectRefused(() => db.put('key', value), 'VALUE_TOO_LARGE', [
      `${256 * 1024 * 1024 + 1}`,
      `${256 * 1024 * 1024}`,
    ]);
    expect(thrown(() => new WriteBatch().put('key', value))).toMatchObject({ code: 'VALUE_TOO_LARGE' });
  });

  it('with bad options is refused', async () => {
    const cases: [Anything, string[]][] = [
      [{ ttl: 5 }, ['ttl', 'ttlMs']],
      [{ ttlMs: 0 }, ['ttlMs', '0']],
      [{ ttlMs: -1 }, ['ttlMs', '-1']],
      [{ ttlMs: 1.5 }, ['1.5']],
      [{ ttlMs: Number.NaN }, ['NaN']],
      [{ ttlMs: '5' }, ['ttlMs']],
      [{ ttlMs: 5, expireAtMs: 5 }, ['ttlMs', 'expireAtMs']],
      [{ expireAtMs: 0.5 }, ['expireAtMs', '0.5']],
      [{ awaitDurable: 'yes' }, ['awaitDurable']],
      [{ signal: {} }, ['signal']],
      [null, ['object']],
      [5, ['object']],
    ];
    for (const [options, said] of cases) await expectRefused(() => db.put('key', 'v', options), 'BAD_OPTION', said);
    await expectRefused(() => db.get('k', { durability: 1 } as Anything), 'BAD_OPTION', [
      'durability',
      'durabilityFilter',
    ]);
    await expectRefused(() => db.get('k', { durabilityFilter: 'disk' } as Anything), 'BAD_OPTION', ['remote']);
    await expectRefused(() => db.flush({ type: 'everything' } as Anything), 'BAD_OPTION', ['memtable']);
    await expectRefused(() => db.flush({ kind: 'wal' } as Anything), 'BAD_OPTION', ['kind', 'type']);
    expect(thrown(() => new WriteBatch().put('key', 'v', { ttlMs: 0 }))).toMatchObject({ code: 'BAD_OPTION' });
  });

  it('to delete with a time to live is refused, as it would do nothing', async () => {
    const why = ['no option of a deletion', 'no time to live'];
    const batch = new WriteBatch();
    for (const options of [{ ttlMs: 5 }, { expireAtMs: 5 }, { ttlMs: Number.POSITIVE_INFINITY }] as const) {
      // @ts-expect-error Not of the type either.
      await expectRefused(() => db.delete('key', options), 'BAD_OPTION', [...why, Object.keys(options)[0]]);
      // @ts-expect-error Not of the type either.
      expect(thrown(() => batch.delete('key', options))).toMatchObject({ code: 'BAD_OPTION' });
    }
    await expectRefused(() => db.delete('key', { ttl: 5 } as Anything), 'BAD_OPTION', ['ttl is unknown']);
    await expectRefused(() => db.delete('key', { awaitDurable: 1 } as Anything), 'BAD_OPTION', ['awaitDurable']);
    await expectRefused(() => db.delete('key', { signal: 1 } as Anything), 'BAD_OPTION', ['signal']);
    expect(thrown(() => batch.delete('key', { awaitDurable: true } as Anything))).toMatchObject({ code: 'BAD_OPTION' });
    expect(batch.length).toBe(0);
    const other = new World();
    const there = await other.open();
    const { signal } = new AbortController();
    expect(await other.run(there.delete('key', { awaitDurable: false, signal }))).toEqual({ seq: 1n });
    expect(await other.run(there.write(batch.delete('key', {}), { ttlMs: 5 }))).toEqual({ seq: 2n });
  });

  it('with a bad range is refused', async () => {
    const cases: [Anything, string, string[]][] = [
      [{ gt: 'a', gte: 'a' }, 'BAD_ARGUMENT', ['gt', 'gte']],
      [{ lt: 'a', lte: 'a' }, 'BAD_ARGUMENT', ['lt', 'lte']],
      [{ gte: 5 }, 'BAD_ARGUMENT', ['gte']],
      [{ prefix: null }, 'BAD_ARGUMENT', ['prefix']],
      [{ limit: -1 }, 'BAD_OPTION', ['limit', '-1']],
      [{ limit: Number.NaN }, 'BAD_OPTION', ['limit', 'NaN']],
      [{ onCorruption: 'ignore' }, 'BAD_OPTION', ['onCorruption', 'throw', 'skip']],
      [{ limit: 1.5 }, 'BAD_OPTION', ['limit', '1.5']],
      [{ limit: '3' }, 'BAD_OPTION', ['limit', '3']],
      [{ reverse: 1 }, 'BAD_OPTION', ['reverse']],
      [{ start: 'a' }, 'BAD_OPTION', ['start', 'gte']],
      [5, 'BAD_OPTION', ['object']],
    ];
    for (const [range, code, said] of cases) {
      await expectRefused(() => db.scan(range).next(), code, said);
      await expectRefused(() => db.snapshot().scan(range).nextBatch(1), code, said);
    }
    const many = await rejection(db.scan({ limit: -1, reverse: 'x' } as Anything).next());
    expect(many.details['faults']).toHaveLength(2);
    await expectRefused(() => db.estimateSize({ gt: 'a', gte: 'b' }), 'BAD_ARGUMENT', ['gt']);
  });

  it('with an empty range is none', async () => {
    for (const range of [
      { gte: 'b', lt: 'a' },
      { gt: 'a', lt: 'a' },
      { limit: 0 },
      { lt: '' },
      { prefix: 'k', lt: 'a' },
    ]) {
      expect(await world.run(db.scan(range).nextBatch(10))).toEqual([]);
    }
    expect(await world.run(db.write(new WriteBatch()))).toEqual({ seq: 1n });
  });

  it('of a scan out of its range or back is refused', async () => {
    const scan = db.scan({ gte: 'b', lt: 'y' });
    await expectRefused(() => scan.seek('a'), 'BAD_ARGUMENT', ['range']);
    await expectRefused(() => scan.seek('z'), 'BAD_ARGUMENT', ['range']);
    await expectRefused(() => scan.nextBatch(0), 'BAD_ARGUMENT', ['0']);
    await expectRefused(() => scan.nextBatch('many' as Anything), 'BAD_ARGUMENT', ['many']);
  });

  it.each(['by its rows', 'by its limit', 'by close', 'by an empty range'])(
    'of a scan that ended %s is refused, too',
    async (how) => {
      const other = new World();
      const there = await other.open();
      for (const key of ['c', 'e', 'g']) await other.run(there.put(key, 'v'));
      const range = how === 'by an empty range' ? { gte: 'b', lt: 'b' } : { gte: 'b', lt: 'y' };
      const scan = there.scan({ ...range, ...(how === 'by its limit' && { limit: 2 }) });
      if (how === 'by close') {
        await other.run(scan.next());
        await other.run(scan.next());
        await scan.close();
      } else await other.run(scan.nextBatch(9));
      for (const key of ['a', 'y', 'z']) await expectRefused(() => scan.seek(key), 'BAD_ARGUMENT', ['range']);
      await expectRefused(() => scan.seek(''), 'BAD_ARGUMENT', ['empty']);
      await expectRefused(() => scan.seek(7 as Anything), 'BAD_ARGUMENT', ['7']);
      await expectRefused(() => scan.seek('x'.repeat(70_000)), 'KEY_TOO_LARGE', ['70000']);
      if (how === 'by an empty range') return;
      await expectRefused(() => scan.seek('d'), 'BAD_ARGUMENT', ['goes on']);
      await other.run(scan.seek(how === 'by its rows' ? 'g' : 'e'));
      await other.run(scan.seek('h'));
      await expectRefused(() => scan.seek('g'), 'BAD_ARGUMENT', ['goes on']);
      expect(await other.run(scan.next())).toEqual({ done: true, value: undefined });
    },
  );

  it('of a scan back to rows it has passed is refused', async () => {
    const other = new World();
    const there = await other.open();
    for (const key of ['c', 'k', 'p']) await other.run(there.put(key, 'v'));
    const scan = there.scan();
    await other.run(scan.nextBatch(2));
    await expectRefused(() => scan.seek('c'), 'BAD_ARGUMENT', ['goes on']);
    expect(await other.run(scan.nextBatch(9))).toHaveLength(1);
  });

  it('with something else for a batch or a list of keys is refused', async () => {
    for (const batch of [undefined, null, {}, [], new Map()]) {
      await expectRefused(() => db.write(batch as Anything), 'BAD_ARGUMENT', ['WriteBatch']);
    }
    await expectRefused(() => db.getMany('k' as Anything), 'BAD_ARGUMENT', ['array']);
    await expectRefused(() => db.getMany(['k', 5 as Anything]), 'BAD_ARGUMENT', ['key']);
  });
});

describe('a place', () => {
  it('without a database is refused, and stays empty', async () => {
    const world = new World();
    await world.replace('some/file', new Uint8Array(3));
    const before = await world.versions();
    const error = await rejection(world.open({ createIfMissing: false }));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'NOT_A_DATABASE' });
    expect(error.message).toContain('createIfMissing');
    expect(error.message).toContain('memory:');
    const reading = await rejection(world.openReader());
    expect(reading).toMatchObject({ name: 'InvalidArgumentError', code: 'NOT_A_DATABASE' });
    expect(await world.versions()).toEqual(before);
  });

  it('with a database is refused under `errorIfExists`', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    const before = await world.versions();
    const error = await rejection(world.open({ errorIfExists: true }));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'ALREADY_EXISTS' });
    expect(error.message).toContain('errorIfExists');
    expect(await world.versions()).toEqual(before);
    await new World().open({ errorIfExists: true });
  });

  it('with a database that is still being set up is refused', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/tiny');
    const newest = (await world.paths('manifest/')).pop()!;
    const { manifest } = decodeManifest(await world.bytes(newest));
    // None before it, which would show that this one cannot be true.
    await world.remove(...(await world.paths('manifest/')));
    await world.replace(newest, encodeManifest({ ...manifest, initialized: false }));
    const before = await world.versions();
    expect(await rejection(world.open())).toMatchObject({ code: 'NOT_A_DATABASE' });
    expect(await world.versions()).toEqual(before);
  });

  it('with a database of a newer format is refused, and neither repaired nor replaced', async () => {
    const world = await worldOfFixture('slatedb-0.12.1/tiny');
    const newest = (await world.paths('manifest/')).pop()!;
    const bytes = await world.bytes(newest);
    bytes[1] = 3;
    await world.replace(newest, bytes);
    const before = await world.versions();
    for (const opening of [() => world.open(), () => world.openReader()]) {
      const error = await rejection(opening());
      expect(error).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW', retryable: false });
      expect(error.message).toContain('3');
      expect(error.message).toContain(newest);
      expect(error.message).toMatch(/newer version/);
    }
    expect(await world.versions()).toEqual(before);
  });

  it('with a segmented database can be read, not written', async () => {
    const world = await worldOfFixture('slatedb-0.17.0/segments');
    const before = await world.versions();
    const error = await rejection(world.open());
    expect(error).toMatchObject({ name: 'IncompatibleError', code: 'SEGMENTS_UNSUPPORTED' });
    expect(error.message).toContain('openReader');
    expect(await world.versions()).toEqual(before);
    expect((await rowsOf(world, await world.openReader())).length).toBeGreaterThan(0);
  });

  it('whose WAL is elsewhere is not opened without it', async () => {
    const world = new World();
    const wal = new MemoryStore({ clock: world.clock });
    const environment = { clock: world.clock, logger: SILENT_LOGGER };
    const location = { store: world.memory, path: '', walStore: { store: wal, path: 'log' } };
    const db = await world.run(open(location, environment));
    await world.run(db.put('k', 'v'));
    const before = await world.versions();
    for (const opening of [() => world.open(), () => world.openReader()]) {
      const error = await rejection(opening());
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'BAD_ARGUMENT' });
      expect(error.message).toContain('walStore');
    }
    expect(await world.versions()).toEqual(before);
    expect(await rowsOf(world, await world.run(open(location, environment)))).toEqual(['k=v']);
  });

  it('in a store that ignores conditions is refused for writing, and left as it was', async () => {
    const world = new World();
    const inner = world.memory;
    const careless: ObjectStore = {
      name: 'careless:',
      get: (path, o) => inner.get(path, o),
      head: (path, o) => inner.head(path, o),
      list: (prefix, o) => inner.list(prefix, o),
      delete: (paths, o) => inner.delete(paths, o),
      put: (path, bytes, o) => inner.put(path, bytes, { ...o, condition: 'any' }),
    };
    world.store = careless;
    const error = await rejection(world.open());
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_UNSUITABLE' });
    expect(error.message).toContain('careless:');
    expect(error.message).toContain('If-None-Match');
    expect(await world.paths()).toEqual([]);
    world.store = inner;
    await world.writeAndCrash(['a']);
    world.store = careless;
    const before = await world.versions();
    expect(await rejection(world.open())).toMatchObject({ code: 'STORE_UNSUITABLE' });
    // The check puts back the bytes that are there; nothing else was touched.
    const paths = (versions: string[]) => versions.map((v) => v.split(' ')[0]);
    expect(paths(await world.versions())).toEqual(paths(before));
    world.store = inner;
    expect(await rowsOf(world, await world.open())).toEqual(['a=value of a']);
  });

  it('in a store that no longer honours conditions is refused, though it once was probed', async () => {
    const world = new World();
    const inner = world.memory;
    let isCareless = false;
    world.store = {
      name: 'changing:',
      get: (path, o) => inner.get(path, o),
      head: (path, o) => inner.head(path, o),
      list: (prefix, o) => inner.list(prefix, o),
      delete: (paths, o) => inner.delete(paths, o),
      put: (path, bytes, o) => inner.put(path, bytes, isCareless ? { ...o, condition: 'any' } : o),
    };
    await world.writeAndCrash(['a']);
    expect(await world.paths('shale/')).toContain('shale/store-profile');
    await world.writeAndCrash(['b']);
    isCareless = true;
    const manifests = await world.paths('manifest/');
    expect(await rejection(world.open())).toMatchObject({ code: 'STORE_UNSUITABLE' });
    expect(await world.paths('manifest/')).toEqual(manifests);
    isCareless = false;
    expect(await rowsOf(world, await world.open())).toHaveLength(2);
  });
});

// ---- a local directory; in real time, because files are

const QUICK: OpenOptions = { logger: SILENT_LOGGER, timeoutMs: 3000, closeTimeoutMs: 3000 };

/** Whether this process may mount file systems; the reason if not. */
function cannotMount(): string | undefined {
  const probe = mkdtempSync(join(tmpdir(), 'shaledb-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', probe], { stdio: 'pipe' });
    execFileSync('umount', [probe], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `no file system can be mounted here: ${String((error as Error).message).split('\n')[0]}`;
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

const MOUNT_FAULT = cannotMount();

describe('a local directory', () => {
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'shaledb-bad-'));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const url = (...parts: string[]) => `file://${join(root, ...parts)}`;

  it('is made with its parents where it is missing', async () => {
    const db = await open(url('a', 'b', 'c'), QUICK);
    await db.put('k', 'v');
    await db.close();
    expect(readdirSync(join(root, 'a', 'b', 'c')).sort()).toEqual(['compacted', 'manifest', 'shale', 'wal']);
  });

  it('is not made by a reader', async () => {
    const error = await rejection(openReader(url('nothing', 'here')));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'NOT_A_DATABASE' });
    expect(error.message).toContain('nothing/here');
    expect(existsSync(join(root, 'nothing'))).toBe(false);
  });

  it('is not made where a file is', async () => {
    const file = join(root, 'file');
    writeFileSync(file, 'content');
    for (const location of [url('file'), url('file', 'db'), { store: new LocalStore(file), path: '' }]) {
      const error = await rejection(open(location, QUICK));
      expect(error.name).toBe('InvalidArgumentError');
      expect(['STORE_UNSUITABLE', 'STORE_MISSING']).toContain(error.code);
      expect(error.message).toContain(file);
      expect(error.message).toMatch(/directory/);
    }
    expect(readFileSync(file, 'utf8')).toBe('content');
  });

  it('to which access is denied is reported as such', async () => {
    const denied = (call: string) => () =>
      Promise.reject(Object.assign(new Error(`EACCES: permission denied, ${call}`), { code: 'EACCES', syscall: call }));
    const files: LocalFiles = {
      ...SYSTEM_FILES,
      open: denied('open'),
      mkdir: denied('mkdir'),
      readdir: denied('scandir'),
    };
    const directory = join(root, 'denied');
    for (const broken of [files, { ...files, readdir: SYSTEM_FILES.readdir, open: SYSTEM_FILES.open }]) {
      const store = new LocalStore(directory, { files: broken });
      const start = performance.now();
      const error = await rejection(open({ store, path: 'db' }, QUICK));
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_DENIED', retryable: false });
      expect(error.message).toContain(directory);
      expect(performance.now() - start).toBeLessThan(2000);
    }
    expect(existsSync(directory)).toBe(false);
  });

  it('without hard links is refused', async () => {
    const noLinks = () =>
      Promise.reject(Object.assign(new Error('EPERM: no links'), { code: 'EPERM', syscall: 'link' }));
    const store = new LocalStore(join(root, 'no-links'), { files: { ...SYSTEM_FILES, link: noLinks } });
    const error = await rejection(open({ store, path: '' }, QUICK));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_UNSUITABLE' });
    expect(error.message).toContain('hard links');
  });

  it('on a full disk loses nothing that was acknowledged, and goes on when there is room', async () => {
    let isFull = false;
    const write: LocalFiles['write'] = (...args) =>
      isFull
        ? Promise.reject(
            Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' }),
          )
        : SYSTEM_FILES.write(...args);
    const directory = join(root, 'filling');
    const store = new LocalStore(directory, { files: { ...SYSTEM_FILES, write } });
    const db = await open({ store, path: '' }, QUICK);
    await db.put('before', 'v');
    isFull = true;
    const error = await rejection(db.put('during', 'v'));
    expect(error).toMatchObject({ name: 'UnavailableError', code: 'STORE_FULL', outcome: 'unknown', retryable: true });
    expect(error.message).toContain('ENOSPC');
    expect(await db.has('before')).toBe(true);
    isFull = false;
    await db.put('after', 'v');
    await db.close();
    const again = await open({ store, path: '' }, QUICK);
    expect(await again.has('before')).toBe(true);
    expect(await again.has('after')).toBe(true);
    await again.close();
    expect(readdirSync(directory, { recursive: true }).filter((name) => String(name).includes('#'))).toEqual([]);
  });

  const mounted = MOUNT_FAULT === undefined ? it : it.skip;
  const suffix = MOUNT_FAULT === undefined ? '' : ` (${MOUNT_FAULT})`;

  /** Runs with a tmpfs of 1 MiB at `place`. */
  async function withMount(place: string, run: () => Promise<void>): Promise<void> {
    mkdirSync(place, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place], { stdio: 'pipe' });
    try {
      await run();
    } finally {
      execFileSync('umount', ['-l', place], { stdio: 'pipe' });
    }
  }

  mounted(`that is really full is reported as such${suffix}`, async () => {
    const place = join(root, 'full');
    await withMount(place, async () => {
      const db = await open(`file://${place}/db`, QUICK);
      let written = 0;
      let error: unknown;
      while (error === undefined) {
        await db.put(`k${written}`, new Uint8Array(50_000).fill(written)).then(
          () => {
            written++;
          },
          (e: unknown) => {
            error = e;
          },
        );
        expect(written).toBeLessThan(30);
      }
      expect(error).toMatchObject({ name: 'UnavailableError', code: 'STORE_FULL' });
      expect(written).toBeGreaterThan(5);
      // Closing needs room too: it says so in time, and what was acknowledged stays.
      await db.close().catch((e: unknown) => expect(e).toMatchObject({ name: 'UnavailableError' }));
      const reader = await openReader(`file://${place}/db`, { logger: SILENT_LOGGER });
      for (let i = 0; i < written; i++) expect((await reader.get(`k${i}`))?.[7]).toBe(i);
      await reader.close();
      expect(() => {
        for (let i = 0; ; i++) writeFileSync(join(place, `filler-${i}`), new Uint8Array(4096));
      }).toThrow('ENOSPC');
      const fresh = await rejection(open(`file://${place}/other`, QUICK));
      expect(fresh).toMatchObject({ name: 'UnavailableError', code: 'STORE_FULL' });
    });
  });

  mounted(`that is read-only is refused for writing, and can be read${suffix}`, async () => {
    const place = join(root, 'read-only');
    await withMount(place, async () => {
      const db = await open(`file://${place}/db`, QUICK);
      await db.put('k', 'v');
      await db.close();
      const before = readdirSync(place, { recursive: true }).sort();
      execFileSync('mount', ['-o', 'remount,ro', place], { stdio: 'pipe' });
      for (const path of [`${place}/db`, `${place}/new`]) {
        const error = await rejection(open(`file://${path}`, QUICK));
        expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_DENIED', retryable: false });
        expect(error.message).toContain('read-only file system');
        expect(error.message).toContain(path.slice(1));
      }
      const reader = await openReader(`file://${place}/db`, { logger: SILENT_LOGGER });
      expect(await reader.has('k')).toBe(true);
      await reader.close();
      expect(readdirSync(place, { recursive: true }).sort()).toEqual(before);
    });
  });
});

describe('a manifest directory', () => {
  it('with foreign names is read past them', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    for (const name of [
      'manifest/README',
      'manifest/3.manifest',
      'wal/notes.txt',
      'wal/7.sst',
      `${manifestPath(9)}.bak`,
    ]) {
      await world.replace(name, new Uint8Array(5));
    }
    expect(await rowsOf(world, await world.open())).toEqual(['a=value of a']);
  });

  it('with an id that no number can hold is refused', async () => {
    const world = new World();
    await world.writeAndCrash(['a']);
    await world.replace('manifest/18446744073709551615.manifest', new Uint8Array(5));
    expect(await rejection(world.open())).toMatchObject({ name: 'IncompatibleError', code: 'FORMAT_TOO_NEW' });
  });
});
