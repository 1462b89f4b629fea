/** Objects in a local directory: what is synced in which order, what a crash leaves, and files that are in the way. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../../src/common/clock.ts';
import { SYSTEM_CLOCK } from '../../../src/common/clock.ts';
import { DbError, isDbError } from '../../../src/common/errors.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { type LocalFiles, SYSTEM_FILES } from '../../../src/store/local-files.ts';
import { LocalStore } from '../../../src/store/local-store.ts';
import type { ObjectStore, PutOptions } from '../../../src/store/object-store.ts';
import { prefixedStore } from '../../../src/store/prefixed-store.ts';
import { retryingStore } from '../../../src/store/retrying-store.ts';
import { storeErrorClass } from '../../../src/store/store-error.ts';

const scratch = mkdtempSync(join(tmpdir(), 'shaledb-local-'));
/** What a temporary file is called before its last digit. */
const MARK = '#8372657669000000000000';
const BODY = new TextEncoder().encode('some bytes');
const CREATE: PutOptions = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
const ANY: PutOptions = { ...CREATE, condition: 'any' };
let root: string;
let tests = 0;
const opened: LocalStore[] = [];

beforeEach(() => {
  root = join(scratch, String(tests++));
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});
afterAll(() => rmSync(scratch, { recursive: true }));

/** A store whose file system calls are replaced or watched; `calls` names them in order. */
function storeWith(overrides: (real: LocalFiles) => Partial<LocalFiles> = () => ({}), clock: Clock = SYSTEM_CLOCK) {
  const calls: string[] = [];
  const names: string[] = [];
  const replaced = { ...SYSTEM_FILES, ...overrides(SYSTEM_FILES) };
  const short = (value: unknown) =>
    typeof value === 'string' ? value.replace(`${root}/`, '').replace(/#\d+/, '#n') : '';
  const files = Object.fromEntries(
    Object.entries(replaced).map(([name, call]) => [
      name,
      (...args: unknown[]) => {
        if (typeof args[0] === 'string') names.push(args[0].replace(`${root}/`, ''));
        calls.push(`${name} ${args.map(short).filter(Boolean).join(' ')}`.trim());
        return (call as (...all: unknown[]) => unknown)(...args);
      },
    ]),
  ) as unknown as LocalFiles;
  const store = new LocalStore(root, { files, clock, random: new SeededRandom(1) });
  opened.push(store);
  return { store, calls, names };
}

function newStore(): LocalStore {
  return storeWith().store;
}

function errno(code: string, syscall = 'test'): Error {
  return Object.assign(new Error(`${code}: as scripted, ${syscall}`), { code, syscall });
}

function failing(code: string, syscall?: string) {
  return () => Promise.reject(errno(code, syscall));
}

async function failureOf(promise: Promise<unknown>): Promise<DbError> {
  return promise.then(
    (value) => expect.fail(`it should have been rejected, not ${JSON.stringify(value)}`),
    (error) => {
      expect(error).toBeInstanceOf(DbError);
      return error;
    },
  );
}

async function paths(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of store.list(prefix)) found.push(path);
  return found;
}

function allFiles(): string[] {
  if (!existsSync(root)) return [];
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  return entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name).slice(root.length + 1));
}

describe('durability', () => {
  it('a create syncs the bytes, then the name, then removes the temporary file', async () => {
    const { store, calls } = storeWith();
    await store.put('wal/0', BODY, CREATE);
    calls.length = 0;
    await store.put('wal/1', BODY, CREATE);
    expect(calls.filter((call) => !/^(fstat|stat|futimes)/.test(call))).toEqual([
      'open wal/1#n wx',
      'write',
      'fsync',
      'close',
      'link wal/1#n wal/1',
      'open wal r',
      'fsync',
      'close',
      'unlink wal/1#n',
    ]);
    expect(allFiles().sort()).toEqual(['wal/0', 'wal/1']);
  });

  it('an overwrite renames over the target', async () => {
    const { store, calls } = storeWith();
    await store.put('shale/identity', BODY, ANY);
    calls.length = 0;
    await store.put('shale/identity', BODY.slice(1), ANY);
    expect(calls.filter((call) => /^(open|fsync|rename|link|unlink)/.test(call))).toEqual([
      'open shale/identity#n wx',
      'fsync',
      'rename shale/identity#n shale/identity',
      'open shale r',
      'fsync',
    ]);
  });

  it('new directories are made durable from the top, once', async () => {
    const { store, calls } = storeWith();
    await store.put('a/b/c', BODY, CREATE);
    const synced = () => calls.filter((call) => call.startsWith('open') && call.endsWith(' r'));
    expect(synced()).toEqual(['open a r', `open ${root} r`, `open ${scratch} r`, 'open a/b r']);
    calls.length = 0;
    await store.put('a/b/d', BODY, CREATE);
    expect(synced()).toEqual(['open a/b r']);
  });

  it('puts at the same time share directory syncs', async () => {
    const { store, calls } = storeWith();
    await store.put('wal/first', BODY, CREATE);
    calls.length = 0;
    await Promise.all(Array.from({ length: 40 }, (_, i) => store.put(`wal/${i}`, BODY, CREATE)));
    expect(calls.filter((call) => call === 'open wal r').length).toBeLessThan(20);
    expect((await paths(store, 'wal/')).length).toBe(41);
  });

  it('a failed sync is never repeated on the same file: it is written again', async () => {
    let failures = 2;
    const synced: number[] = [];
    const { store, calls } = storeWith((real) => ({
      fsync(fd) {
        if (real.fstat(fd).isFile()) {
          synced.push(real.fstat(fd).ino);
          if (failures-- > 0) return Promise.reject(errno('EIO', 'fsync'));
        }
        return real.fsync(fd);
      },
    }));
    expect((await store.put('wal/1', BODY, CREATE)).outcome).toBe('applied');
    expect(calls.filter((call) => call === 'open wal/1#n wx').length).toBe(3);
    expect(calls.filter((call) => call === 'write').length).toBe(3);
    expect(synced.length).toBe(3);
    expect(readFileSync(join(root, 'wal/1'))).toEqual(Buffer.from(BODY));
    expect(allFiles()).toEqual(['wal/1']);
  });

  it('a disk that goes on failing is an error without effect', async () => {
    const { store } = storeWith((real) => ({
      fsync: (fd) => (real.fstat(fd).isFile() ? failing('EIO', 'fsync')() : real.fsync(fd)),
    }));
    expect(await failureOf(store.put('wal/1', BODY, CREATE))).toMatchObject({ code: 'STORE_DOWN', retryable: true });
    expect(allFiles()).toEqual([]);
  });

  it('a name that cannot be made durable is unknown, and a later refusal makes it durable first', async () => {
    let broken = true;
    const { store, calls } = storeWith((real) => ({
      fsync: (fd) => (broken && !real.fstat(fd).isFile() ? failing('EIO', 'fsync')() : real.fsync(fd)),
    }));
    mkdirSync(join(root, 'wal'), { recursive: true });
    expect((await store.put('wal/1', BODY, CREATE)).outcome).toBe('unknown');
    expect(storeErrorClass(await failureOf(store.put('wal/1', BODY, CREATE)))).toBe('unavailable');
    broken = false;
    calls.length = 0;
    expect((await store.put('wal/1', BODY, CREATE)).outcome).toBe('refused');
    expect(calls.filter((call) => call === 'open wal r').length).toBe(1);
    // The retry wrapper then proves by the bytes that it is ours.
    broken = true;
    const retrying = retryingStore(store, {
      baseDelayMs: 1,
      maxDelayMs: 1,
      timeoutMs: 2000,
      onRetry: () => (broken = false),
    });
    expect(await retrying.put('wal/2', BODY, CREATE)).toMatchObject({ outcome: 'applied', attempt: 'earlier' });
  });

  it('a delete is durable', async () => {
    const { store, calls } = storeWith();
    for (const path of ['wal/1', 'wal/2', 'manifest/1']) await store.put(path, BODY, CREATE);
    calls.length = 0;
    await store.delete(['wal/1', 'wal/2', 'manifest/1', 'wal/absent']);
    expect(calls.filter((call) => call.startsWith('open')).sort()).toEqual(['open manifest r', 'open wal r']);
  });
});

describe('creation', () => {
  it('EEXIST is ours if the names lead to the same file', async () => {
    const { store } = storeWith((real) => ({
      async link(from, to) {
        await real.link(from, to);
        throw errno('EEXIST', 'link');
      },
    }));
    expect(await store.put('wal/1', BODY, CREATE)).toMatchObject({ outcome: 'applied', attempt: 'now' });
    expect(allFiles()).toEqual(['wal/1']);
  });

  it("EEXIST is another's if they do not", async () => {
    const store = newStore();
    await newStore().put('wal/1', BODY, CREATE);
    expect(await store.put('wal/1', BODY, CREATE)).toEqual({ outcome: 'refused' });
    expect(allFiles()).toEqual(['wal/1']);
  });

  it('a file system without hard links is unsuitable', async () => {
    for (const code of ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EMLINK']) {
      const { store } = storeWith(() => ({ link: failing(code, 'link') }));
      const error = await failureOf(store.put('wal/1', BODY, CREATE));
      expect(error).toMatchObject({ code: 'STORE_UNSUITABLE', retryable: false });
      expect(error.message).toContain('hard links');
      expect(allFiles()).toEqual([]);
    }
  });

  it('of many stores on one directory one creates', async () => {
    const stores = Array.from({ length: 8 }, newStore);
    const outcomes = await Promise.all(stores.map((store) => store.put('wal/1', BODY, CREATE)));
    expect(outcomes.filter(({ outcome }) => outcome === 'applied').length).toBe(1);
    expect(allFiles()).toEqual(['wal/1']);
  });

  it('an abort before the file has its name leaves nothing', async () => {
    const controller = new AbortController();
    const { store } = storeWith((real) => ({
      write(...args) {
        controller.abort();
        return real.write(...args);
      },
    }));
    const put = store.put('wal/1', BODY, { ...CREATE, signal: controller.signal });
    expect(await failureOf(put)).toMatchObject({ code: 'ABORTED' });
    expect(allFiles()).toEqual([]);
  });

  it('short writes are continued', async () => {
    const { store } = storeWith((real) => ({
      write: (fd, bytes, offset, length, at) => real.write(fd, bytes, offset, Math.min(length, 3), at),
    }));
    await store.put('wal/1', BODY, CREATE);
    expect((await store.get('wal/1'))?.bytes).toEqual(BODY);
  });

  it('a directory that somebody removed is made again', async () => {
    const store = newStore();
    await store.put('db/wal/1', BODY, CREATE);
    rmSync(root, { recursive: true });
    expect((await store.put('db/wal/1', BODY, CREATE)).outcome).toBe('applied');
    expect(await paths(store, '')).toEqual(['db/wal/1']);
  });
});

describe('errors', () => {
  it('a full disk is reported, with nothing left', async () => {
    for (const [code, call] of [
      ['ENOSPC', 'write'],
      ['EDQUOT', 'write'],
      ['ENOSPC', 'fsync'],
    ] as const) {
      const { store } = storeWith((real) => ({
        [call]: (fd: number, ...args: unknown[]) =>
          real.fstat(fd).isFile() ? failing(code, call)() : (real[call] as (...all: unknown[]) => unknown)(fd, ...args),
      }));
      for (const options of [CREATE, ANY]) {
        const error = await failureOf(store.put('wal/1', BODY, options));
        expect(error).toMatchObject({ code: 'STORE_FULL', details: { path: 'wal/1', providerCode: code } });
      }
      expect(allFiles()).toEqual([]);
    }
  });

  it('missing permissions are reported', async () => {
    for (const code of ['EACCES', 'EPERM', 'EROFS']) {
      const denied = storeWith(() => ({ open: failing(code, 'open') })).store;
      expect(await failureOf(denied.get('a'))).toMatchObject({ code: 'STORE_DENIED' });
      expect(await failureOf(denied.put('a', BODY, CREATE))).toMatchObject({ code: 'STORE_DENIED' });
      const readOnly = storeWith(() => ({ mkdir: failing(code, 'mkdir'), readdir: failing(code, 'scandir') })).store;
      expect(await failureOf(readOnly.put('b/a', BODY, CREATE))).toMatchObject({ code: 'STORE_DENIED' });
      expect(await failureOf(paths(readOnly, ''))).toMatchObject({ code: 'STORE_DENIED' });
      const undeletable = storeWith(() => ({ unlink: failing(code, 'unlink') })).store;
      expect(await failureOf(undeletable.delete(['b/a']))).toMatchObject({ code: 'STORE_DENIED' });
    }
  });

  it('other failures of a read are transient', async () => {
    mkdirSync(root, { recursive: true });
    writeFileSync(join(root, 'a'), BODY);
    for (const override of [{ open: failing('EIO') }, { open: failing('EMFILE') }, { read: failing('EIO') }]) {
      const error = await failureOf(storeWith(() => override).store.get('a'));
      expect(error).toMatchObject({ code: 'STORE_DOWN', retryable: true });
    }
  });

  it('a file that is cut while it is read is not taken for a short object', async () => {
    mkdirSync(root, { recursive: true });
    writeFileSync(join(root, 'a'), BODY);
    const { store } = storeWith((real) => ({
      read: (fd, target, offset, length, at) =>
        at > 4 ? Promise.resolve(0) : real.read(fd, target, offset, Math.min(length, 5), at),
    }));
    expect(storeErrorClass(await failureOf(store.get('a')))).toBe('malformed-response');
  });

  it('a root that is a file is named', async () => {
    mkdirSync(scratch, { recursive: true });
    writeFileSync(root, 'not a directory');
    const store = newStore();
    const put = () => store.put('a', BODY, CREATE);
    const calls = [() => store.get('a'), () => store.head('a'), put, () => paths(store, ''), () => store.delete(['a'])];
    for (const call of calls) {
      const error = await failureOf(call());
      expect(error).toMatchObject({ code: 'STORE_MISSING' });
      expect(error.message).toContain(root);
    }
    expect(await failureOf(new LocalStore(join(root, 'below')).put('a', BODY, CREATE))).toMatchObject({
      code: 'STORE_MISSING',
    });
  });

  it('a file in the place of a directory is named, and the other way round', async () => {
    const store = newStore();
    await store.put('wal', BODY, CREATE);
    await store.put('folder/object', BODY, CREATE);
    const below = await failureOf(store.put('wal/1', BODY, CREATE));
    expect(below).toMatchObject({ code: 'STORE_UNSUITABLE', message: expect.stringContaining(`${root}/wal`) });
    for (const options of [CREATE, ANY]) {
      const above = await failureOf(store.put('folder', BODY, options));
      expect(above).toMatchObject({ code: 'STORE_UNSUITABLE', message: expect.stringContaining(`${root}/folder`) });
    }
    for (const read of [() => store.get('wal/1'), () => store.head('wal/1')]) {
      expect(await failureOf(read())).toMatchObject({ code: 'STORE_UNSUITABLE' });
    }
    expect(await paths(store, 'wal/')).toEqual([]);
    expect(allFiles().sort()).toEqual(['folder/object', 'wal']);
  });

  it('a missing root is an empty store', async () => {
    const store = newStore();
    expect(await store.get('a')).toBeUndefined();
    expect(await paths(store, '')).toEqual([]);
    expect(existsSync(root)).toBe(false);
  });

  it('paths that lead out, or into reserved names, are refused', async () => {
    const store = newStore();
    for (const path of ['../a', 'a/../../b', '/etc/passwd', 'a//b', 'a\0b', `wal/1${MARK}7`, `wal${MARK}1/x`, '']) {
      expect(await failureOf(store.get(path))).toMatchObject({ code: 'BAD_ARGUMENT' });
      expect(await failureOf(store.put(path, BODY, CREATE))).toMatchObject({ code: 'BAD_ARGUMENT' });
      expect(await failureOf(store.delete([path]))).toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    for (const prefix of ['../', 'a/../../', '/etc/']) {
      expect(await failureOf(paths(store, prefix))).toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    expect(() => new LocalStore('')).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
  });
});

describe('reading', () => {
  const range = { offset: 2, length: 4 };

  it('ranged reads keep the file open', async () => {
    const { store, calls } = storeWith();
    await store.put('table', BODY, CREATE);
    calls.length = 0;
    for (let i = 0; i < 3; i++) expect((await store.get('table', { range }))?.bytes).toEqual(BODY.slice(2, 6));
    expect(calls.filter((call) => call.startsWith('open')).length).toBe(1);
    await store.close();
    expect(calls.filter((call) => call === 'close').length).toBe(1);
    expect((await store.get('table', { range }))?.bytes).toEqual(BODY.slice(2, 6));
  });

  it('another process that deletes or replaces the file is noticed', async () => {
    const store = newStore();
    const file = join(root, 'table');
    await store.put('table', BODY, CREATE);
    await store.get('table', { range });
    unlinkSync(file);
    expect(await store.get('table', { range })).toBeUndefined();
    writeFileSync(file, 'other bytes');
    expect(Buffer.from((await store.get('table', { range }))!.bytes).toString()).toBe('her ');
    await newStore().put('table', new TextEncoder().encode('third bytes, longer'), ANY);
    expect(await store.get('table', { range })).toMatchObject({ size: 19, bytes: new TextEncoder().encode('ird ') });
  });

  it('a file with a second name is not kept open, because its deletion would not show', async () => {
    const { store } = storeWith();
    await store.put('table', BODY, CREATE);
    linkSync(join(root, 'table'), join(root, `table${MARK}1`));
    expect((await store.get('table', { range }))?.size).toBe(10);
    unlinkSync(join(root, 'table'));
    expect(await store.get('table', { range })).toBeUndefined();
  });

  it('damage on the disk is read as it is', async () => {
    const store = newStore();
    await store.put('table', BODY, CREATE);
    const { etag } = (await store.get('table', { range }))!;
    writeFileSync(join(root, 'table'), 'SOM');
    const damaged = (await store.get('table', { range }))!;
    expect([damaged.size, Buffer.from(damaged.bytes).toString()]).toEqual([3, 'M']);
    expect(damaged.etag).not.toBe(etag);
  });

  it('keeps at most 64 files open, and closes all of them', async () => {
    let open = 0;
    let most = 0;
    const { store } = storeWith((real) => ({
      async open(...args) {
        const fd = await real.open(...args);
        most = Math.max(most, ++open);
        return fd;
      },
      close(fd) {
        open--;
        real.close(fd);
      },
    }));
    for (let i = 0; i < 100; i++) await store.put(`t/${i}`, BODY, CREATE);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 100; i += 10) {
        await Promise.all(Array.from({ length: 10 }, (_, j) => store.get(`t/${i + j}`, { range })));
      }
      await store.delete([`t/${round}`]);
    }
    expect(open).toBe(64);
    expect(most).toBeLessThan(80);
    await store.close();
    expect(open).toBe(0);
  });

  it('a read under way ends after a close, and neither it nor a later one leaves a file open', async () => {
    let open = 0;
    let reading: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      reading = resolve;
    });
    let go: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    const { store } = storeWith((real) => ({
      async open(...args) {
        const fd = await real.open(...args);
        open++;
        return fd;
      },
      async read(...args) {
        reading();
        await held;
        return real.read(...args);
      },
      close(fd) {
        open--;
        real.close(fd);
      },
    }));
    await store.put('t', BODY, CREATE);
    const read = store.get('t', { range });
    await begun;
    await store.close();
    go();
    expect((await read)?.bytes).toEqual(BODY.slice(2, 6));
    expect(open).toBe(0);
    expect((await store.get('t', { range }))?.bytes).toEqual(BODY.slice(2, 6));
    expect(open).toBe(0);
  });

  it('files unused for a while are closed', async () => {
    const timers: (() => void)[] = [];
    const clock: Clock = {
      monotonicMs: () => 0,
      yieldToLoop: () => SYSTEM_CLOCK.yieldToLoop(),
      nowMs: () => 0,
      setTimer(_delayMs, fn, ref) {
        expect(ref, 'an idle store lets the process end').toBe(false);
        timers.push(fn);
        return { cancel() {}, setRef() {} };
      },
    };
    const { store, calls } = storeWith(undefined, clock);
    await store.put('t', BODY, CREATE);
    calls.length = 0;
    await store.get('t', { range });
    timers.shift()!();
    expect(calls).not.toContain('close');
    timers.shift()!();
    expect(calls).toContain('close');
    expect(timers).toEqual([]);
  });
});

describe('lists', () => {
  const day = 24 * 3600 * 1000;

  function make(name: string, ageMs: number): void {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), 'x');
    const changed = (SYSTEM_CLOCK.nowMs() - ageMs) / 1000;
    utimesSync(join(root, name), changed, changed);
  }

  it('hide temporary files and remove those that dead writers left after a day', async () => {
    const log = 'wal/00000000000000000007.sst';
    const table = 'compacted/01JC0000000000000000000000.sst';
    const removed = [`wal/1${MARK}7`, `wal/1${MARK}0`, `${log}#39123456781`, `${table}#3912345678123`];
    const young = [`wal/2${MARK}7`, `${log}#39123456782`];
    const objects = ['manifest/1', table, log, 'wal/1'].sort();
    for (const name of objects.slice(0, -1)) if (name !== 'manifest/1') make(name, 3 * day);
    make('wal/1', 3 * day);
    for (const name of removed) make(name, day + 60_000);
    for (const name of young) make(name, day - 60_000);
    const before = allFiles().sort();
    const reader = newStore();
    expect(await paths(reader, '')).toEqual(objects.filter((name) => name !== 'manifest/1'));
    expect(allFiles().sort(), 'a store that only reads changes nothing').toEqual(before);
    const writer = newStore();
    await writer.put('manifest/1', BODY, CREATE);
    expect(await paths(writer, '')).toEqual(objects);
    expect(allFiles().sort()).toEqual([...objects, ...young].sort());
  });

  it('show and never delete files that others named with # and a number, which are objects like any other', async () => {
    const log = 'wal/00000000000000000001.sst';
    const foreign = [
      'Song #1',
      'a #1/b',
      'contact#15551234567',
      'invoice#42',
      'manifest/old copy#1',
      `${log}.backup#2024`,
      `${log}#1`,
      `${log}#2024`,
      `${log}#12345678901234`,
      'notes#8372657669',
      'photo#1234567890123',
    ].sort();
    for (const name of foreign) make(name, 30 * day);
    const store = newStore();
    await store.put('x', BODY, CREATE);
    expect(await paths(store, '')).toEqual([...foreign, 'x'].sort());
    expect(allFiles().sort()).toEqual([...foreign, 'x'].sort());
    for (const name of foreign) expect((await store.get(name))?.size, name).toBe(1);
    expect((await store.put('Song #1', BODY, CREATE)).outcome).toBe('refused');
    expect((await store.put('Song #2', BODY, CREATE)).outcome).toBe('applied');
    await store.delete(['Song #1', 'Song #2']);
    expect(await paths(store, 'Song')).toEqual([]);
  });

  it('and writes name temporary files so that nobody else does', async () => {
    const { store, calls, names } = storeWith();
    const first = await store.put('a', BODY, CREATE);
    await store.put('a', BODY, { ...ANY, condition: { ifMatch: first.outcome === 'applied' ? first.etag : '' } });
    const made = calls.filter((call) => /^open .*#/.test(call));
    expect(made.length).toBe(3);
    expect(names.filter((name) => name.includes('#')).every((name) => /^a#8372657669\d{13}$/.test(name))).toBe(true);
    expect(allFiles()).toEqual(['a']);
  });

  it('walk only where the prefix leads', async () => {
    const { store, calls } = storeWith();
    for (const path of ['a/b/c', 'a/x/y', 'wal/1', 'wal/2', 'z/1']) await store.put(path, BODY, CREATE);
    calls.length = 0;
    expect(await paths(store, 'a/b')).toEqual(['a/b/c']);
    expect(calls.filter((call) => call.startsWith('readdir'))).toEqual(['readdir a/', 'readdir a/b/']);
    calls.length = 0;
    expect(await paths(store, 'wal/')).toEqual(['wal/1', 'wal/2']);
    expect(calls.filter((call) => call.startsWith('readdir'))).toEqual(['readdir wal/']);
  });

  it('leave out what vanishes in the meantime, and follow links', async () => {
    const store = newStore();
    for (const path of ['wal/1', 'wal/2', 'wal/3']) await store.put(path, BODY, CREATE);
    symlinkSync(join(root, 'wal'), join(root, 'linked'));
    symlinkSync(join(root, 'nowhere'), join(root, 'broken'));
    expect(await paths(store, '')).toEqual(['linked/1', 'linked/2', 'linked/3', 'wal/1', 'wal/2', 'wal/3']);
    const { store: racing } = storeWith((real) => ({
      async stat(path) {
        if (path.endsWith('/wal/2')) throw errno('ENOENT');
        return real.stat(path);
      },
    }));
    expect(await paths(racing, 'wal/')).toEqual(['wal/1', 'wal/3']);
  });
});

describe('If-Match', () => {
  it('versions of equal size in the same moment have different ETags', async () => {
    const store = newStore();
    const etags = new Set<string>();
    for (let i = 0; i < 30; i++) {
      const outcome = await store.put('gc/boundary', BODY, ANY);
      if (outcome.outcome === 'applied') etags.add(outcome.etag);
      expect((await store.head('gc/boundary'))?.etag).toBe([...etags].at(-1));
    }
    expect(etags.size).toBe(30);
  });

  it('a new version is later than the one it replaces, even if clocks went back', async () => {
    const store = newStore();
    await store.put('gc/boundary', BODY, CREATE);
    const file = join(root, 'gc/boundary');
    const future = SYSTEM_CLOCK.nowMs() / 1000 + 3600;
    utimesSync(file, future, future);
    const before = statSync(file).mtimeMs;
    const { etag } = (await store.head('gc/boundary'))!;
    await store.put('gc/boundary', BODY, { ...CREATE, condition: { ifMatch: etag } });
    const between = statSync(file).mtimeMs;
    await store.put('gc/boundary', BODY, ANY);
    expect(between).toBeGreaterThan(before);
    expect(statSync(file).mtimeMs).toBeGreaterThan(between);
  });

  it('many stores on one directory count without losing a step', async () => {
    const stores = Array.from({ length: 4 }, newStore);
    await stores[0].put('gc/boundary', new Uint8Array([0]), CREATE);
    const count = async (store: LocalStore) => {
      for (let done = 0; done < 10; ) {
        const { bytes, etag } = (await store.get('gc/boundary'))!;
        const next = new Uint8Array([bytes[0] + 1]);
        const put = store.put('gc/boundary', next, { ...CREATE, condition: { ifMatch: etag } });
        const applied = await put.then(
          ({ outcome }) => outcome === 'applied',
          (error) => {
            expect(storeErrorClass(error)).toBe('conflict-in-flight');
            return false;
          },
        );
        if (applied) done++;
      }
    };
    await Promise.all(stores.map(count));
    expect((await stores[0].get('gc/boundary'))?.bytes).toEqual(new Uint8Array([40]));
    expect(allFiles()).toEqual(['gc/boundary']);
  });

  it('a lock that a dead process left is broken when it is old, and respected before', async () => {
    const store = newStore();
    const first = await store.put('gc/boundary', BODY, CREATE);
    const ifMatch = first.outcome === 'applied' ? first.etag : '';
    const lock = join(root, `gc/boundary${MARK}0`);
    writeFileSync(lock, '');
    let ms = 0;
    const hurried: Clock = {
      nowMs: () => SYSTEM_CLOCK.nowMs(),
      monotonicMs: () => (ms += 1000),
      setTimer: (_delayMs, fn) => SYSTEM_CLOCK.setTimer(0, fn),
      yieldToLoop: () => SYSTEM_CLOCK.yieldToLoop(),
    };
    const { store: waiting } = storeWith(undefined, hurried);
    const error = await failureOf(waiting.put('gc/boundary', BODY, { ...CREATE, condition: { ifMatch } }));
    expect(error).toMatchObject({ details: { storeClass: 'conflict-in-flight', transient: true } });
    expect(existsSync(lock)).toBe(true);
    const old = (SYSTEM_CLOCK.nowMs() - 60_000) / 1000;
    utimesSync(lock, old, old);
    const outcome = await store.put('gc/boundary', BODY, { ...CREATE, condition: { ifMatch } });
    expect(outcome.outcome).toBe('applied');
    expect(allFiles()).toEqual(['gc/boundary']);
  });

  it('a holder that was stopped for too long does not act', async () => {
    let ms = 0;
    const slow: Clock = {
      nowMs: () => SYSTEM_CLOCK.nowMs(),
      monotonicMs: () => (ms += 11_000),
      setTimer: (delayMs, fn) => SYSTEM_CLOCK.setTimer(delayMs, fn),
      yieldToLoop: () => SYSTEM_CLOCK.yieldToLoop(),
    };
    const { store } = storeWith(undefined, slow);
    const first = await store.put('gc/boundary', BODY, CREATE);
    const ifMatch = first.outcome === 'applied' ? first.etag : '';
    const put = store.put('gc/boundary', BODY.slice(1), { ...CREATE, condition: { ifMatch } });
    expect(storeErrorClass(await failureOf(put))).toBe('conflict-in-flight');
    expect((await store.get('gc/boundary'))?.bytes).toEqual(BODY);
    expect(allFiles()).toEqual(['gc/boundary']);
  });
});

it('names the store by its URL', () => {
  expect(newStore().name).toBe(`file://${root}`);
  expect(new LocalStore('/').name).toBe('file:///');
  expect(prefixedStore(new LocalStore('/'), 'a/b').name).toBe('file:///a/b');
  expect(prefixedStore(new LocalStore('/data'), 'db').name).toBe('file:///data/db');
});

it('works at the root of the file system', async () => {
  const store = prefixedStore(new LocalStore('/'), root);
  await store.put('wal/1', BODY, CREATE);
  expect(await paths(store, '')).toEqual(['wal/1']);
  expect(statSync(join(root, 'wal/1')).size).toBe(BODY.length);
  await store.delete(['wal/1']);
});

it('every failure of a random file system call is typed and leaves no object half written', async () => {
  const random = new SeededRandom(42);
  const codes = ['EIO', 'ENOSPC', 'EACCES', 'EMFILE', 'EINTR', 'ESTALE', 'ENOENT'];
  let failures = 0;
  for (let round = 0; round < 100; round++) {
    root = join(scratch, `random-${round}`);
    const names = ['open', 'read', 'write', 'fsync', 'stat', 'link', 'rename', 'unlink', 'mkdir', 'readdir'] as const;
    const name = names[random.nextUint32() % names.length];
    let countdown = random.nextUint32() % 4;
    const code = codes[random.nextUint32() % codes.length];
    const { store } = storeWith((real) => ({
      [name]: (...args: unknown[]) =>
        countdown-- === 0 ? failing(code, name)() : (real[name] as (...all: unknown[]) => unknown)(...args),
    }));
    const steps: (() => Promise<unknown>)[] = [
      () => store.put('wal/1', BODY, CREATE),
      () => store.put('wal/1', BODY, ANY),
      async () => {
        const etag = (await store.head('wal/1'))?.etag ?? '"none"';
        return store.put('wal/1', BODY, { ...CREATE, condition: { ifMatch: etag } });
      },
      () => store.get('wal/1', { range: { offset: 1, length: 3 } }),
      () => paths(store, ''),
      () => store.delete(['wal/1']),
    ];
    for (const step of steps) {
      await step().catch((error) => {
        failures++;
        expect(isDbError(error), `${name} ${code}: ${error}`).toBe(true);
      });
      if (existsSync(join(root, 'wal/1'))) expect(readFileSync(join(root, 'wal/1')).length).toBe(BODY.length);
    }
    await store.close();
  }
  expect(failures).toBeGreaterThan(20);
});
