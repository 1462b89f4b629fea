/** Uploads to a local directory: what is synced in which order, what failures and crashes leave, and how leftovers are found. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DbError } from '../../../src/common/errors.ts';
import { SeededRandom } from '../../../src/common/random.ts';
import { type LocalFiles, SYSTEM_FILES } from '../../../src/store/local-files.ts';
import { LocalStore } from '../../../src/store/local-store.ts';
import type { UploadOptions } from '../../../src/store/object-store.ts';
import { storeErrorClass } from '../../../src/store/store-error.ts';

const scratch = mkdtempSync(join(tmpdir(), 'shaledb-local-uploads-'));
const CREATE: UploadOptions = { condition: 'if-absent', putId: '01ARZ3NDEKTSV4RRFFQ69G5FAV' };
const PATH = 'compacted/1.sst';
const BODY = new TextEncoder().encode('some bytes');
/** What a temporary file is called before its last digit. */
const MARK = '#8372657669000000000000';
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

/** A store whose file system calls are noted, and some replaced. */
function storeWith(overrides: Partial<LocalFiles> = {}) {
  const calls: string[] = [];
  const replaced = { ...SYSTEM_FILES, ...overrides };
  const short = (value: unknown) =>
    typeof value === 'string' ? value.replace(`${root}/`, '').replace(/#\d+/, '#n') : '';
  const noted = Object.entries(replaced).map(([name, call]) => [
    name,
    (...args: unknown[]) => {
      calls.push(`${name} ${args.map(short).filter(Boolean).join(' ')}`.trim());
      return (call as (...all: unknown[]) => unknown)(...args);
    },
  ]);
  const files = Object.fromEntries(noted) as LocalFiles;
  const store = new LocalStore(root, { files, random: new SeededRandom(1) });
  opened.push(store);
  return { store, calls };
}

function failing(code: string, syscall: string) {
  return () => Promise.reject(Object.assign(new Error(`${code}: as scripted`), { code, syscall }));
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

function allFiles(): string[] {
  if (!existsSync(root)) return [];
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  return entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name).slice(root.length + 1));
}

describe('an upload to a directory', () => {
  it('writes its parts as they come, and syncs them before they have a name', async () => {
    const { store, calls } = storeWith();
    const upload = store.upload(PATH, CREATE);
    expect(calls).toEqual([]);
    await upload.write(BODY);
    await upload.write(BODY);
    expect(calls.filter((call) => /^(open|write|fsync)/.test(call)).slice(-3)).toEqual([
      'open compacted/1.sst#n wx',
      'write',
      'write',
    ]);
    calls.length = 0;
    await upload.complete();
    expect(calls.filter((call) => !/^(fstat|stat)/.test(call))).toEqual([
      'fsync',
      'close',
      'link compacted/1.sst#n compacted/1.sst',
      'open compacted r',
      'fsync',
      'close',
      'unlink compacted/1.sst#n',
    ]);
    expect(readFileSync(join(root, PATH))).toEqual(Buffer.concat([BODY, BODY]));
    expect(allFiles()).toEqual([PATH]);
  });

  it('continues short writes', async () => {
    const { store } = storeWith({
      write: (fd, bytes, at, length, to) => SYSTEM_FILES.write(fd, bytes, at, Math.min(3, length), to),
    });
    const upload = store.upload(PATH, CREATE);
    await upload.write(BODY);
    await upload.write(BODY);
    await upload.complete();
    expect(readFileSync(join(root, PATH))).toEqual(Buffer.concat([BODY, BODY]));
  });

  it('that is refused or aborted leaves no file', async () => {
    const { store } = storeWith();
    await store.put(PATH, BODY, CREATE);
    for (const condition of ['if-absent', { ifMatch: '"another"' }] as const) {
      const upload = store.upload(PATH, { ...CREATE, condition });
      await upload.write(BODY);
      expect(await upload.complete()).toEqual({ outcome: 'refused' });
    }
    const aborted = store.upload(PATH, CREATE);
    await aborted.write(BODY);
    expect(allFiles()).toHaveLength(2);
    await aborted.abort();
    expect(allFiles()).toEqual([PATH]);
  });

  it('whose sync fails is given up: a second sync could succeed although bytes are lost', async () => {
    const { store, calls } = storeWith({ fsync: failing('EIO', 'fsync') });
    mkdirSync(join(root, 'compacted'), { recursive: true });
    const upload = store.upload(PATH, CREATE);
    await upload.write(BODY);
    calls.length = 0;
    const failure = await failureOf(upload.complete());
    expect([storeErrorClass(failure), failure.retryable]).toEqual(['unavailable', true]);
    await upload.abort();
    expect(calls.filter((call) => call === 'fsync')).toHaveLength(1);
    expect(calls.filter((call) => call === 'close')).toHaveLength(1);
    expect(allFiles()).toEqual([]);
  });

  it('on a full disk ends with the part that did not fit', async () => {
    const { store } = storeWith({ write: failing('ENOSPC', 'write') });
    const upload = store.upload(PATH, CREATE);
    const failure = await failureOf(upload.write(BODY));
    expect(failure).toMatchObject({ code: 'STORE_FULL' });
    expect(await failureOf(upload.complete())).toBe(failure);
    await upload.abort();
    expect(allFiles()).toEqual([]);
  });

  it('whose directory was removed does not become an object elsewhere', async () => {
    const { store } = storeWith();
    const upload = store.upload(PATH, CREATE);
    await upload.write(BODY);
    rmSync(root, { recursive: true });
    expect(storeErrorClass(await failureOf(upload.complete()))).toBe('unavailable');
    await upload.abort();
    expect(allFiles()).toEqual([]);
  });

  it('replaces a version of which it is later', async () => {
    const { store } = storeWith();
    const first = await store.put(PATH, BODY, CREATE);
    const ifMatch = first.outcome === 'applied' ? first.etag : '';
    utimesSync(join(root, PATH), 1e10, 1e10);
    const upload = store.upload(PATH, { ...CREATE, condition: { ifMatch: (await store.head(PATH))!.etag } });
    await upload.write(BODY);
    const second = await upload.complete();
    expect(second).toMatchObject({ outcome: 'applied' });
    expect(second.outcome === 'applied' && second.etag).not.toBe(ifMatch);
    expect((await store.head(PATH))!.lastModifiedMs).toBeGreaterThanOrEqual(1e13);
  });

  it('has no path that is kept for temporary files, or leads out', () => {
    const { store } = storeWith();
    for (const path of [`compacted/1.sst${MARK}1`, '../x', '']) {
      expect(() => store.upload(path, CREATE)).toThrow(expect.objectContaining({ code: 'BAD_ARGUMENT' }));
    }
  });
});

describe('the uploads that a dead process left', () => {
  /** As it leaves them: `1` and `2` beside each other, one deeper, one elsewhere; a lock, and an object that only has a number. */
  function leave(): void {
    mkdirSync(join(root, 'compacted/deep'), { recursive: true });
    mkdirSync(join(root, 'wal'), { recursive: true });
    for (const file of ['compacted/1.sst', 'compacted/1.sst', 'compacted/2.sst', 'compacted/deep/3', 'wal/1'].map(
      (path, i) => `${path}${MARK}${i + 1}`,
    )) {
      writeFileSync(join(root, file), BODY);
      utimesSync(join(root, file), 1000, 1000);
    }
    writeFileSync(join(root, `compacted/1.sst${MARK}0`), '');
    writeFileSync(join(root, 'compacted/Song #1'), BODY);
  }

  it('are listed by path with their age, without locks and objects', async () => {
    leave();
    const { store } = storeWith();
    const found = await store.listUploads('compacted/');
    expect(found.map(({ path, uploadId }) => path + uploadId.slice(-1))).toEqual([
      'compacted/1.sst1',
      'compacted/1.sst2',
      'compacted/2.sst3',
      'compacted/deep/34',
    ]);
    for (const { startedMs, storeTimeMs } of found) {
      expect(startedMs).toBe(1_000_000);
      expect(storeTimeMs).toBeGreaterThan(1_700_000_000_000);
    }
    expect((await store.listUploads('compacted/2')).map(({ path }) => path)).toEqual(['compacted/2.sst']);
    expect((await store.listUploads('')).length).toBe(5);
    expect(await store.listUploads('compacted/2.sst#')).toEqual([]);
    expect(await store.listUploads('nowhere/')).toEqual([]);
    expect(await storeWith().store.listUploads('wal/1/')).toEqual([]);
  });

  it('are removed by their names, and nothing else is', async () => {
    leave();
    const { store } = storeWith();
    const all = allFiles().length;
    const [first] = await store.listUploads('compacted/');
    await store.abortUpload(first);
    await store.abortUpload(first);
    await store.abortUpload({ ...first, path: 'nowhere/1' });
    expect(allFiles()).toHaveLength(all - 1);
    const number = MARK.slice(1);
    for (const [path, uploadId] of [
      ['compacted/Song ', '1'],
      ['compacted/1.sst', `${number}0`],
      ['compacted/1.sst', ''],
      ['compacted', `/../compacted/1.sst${MARK}2`],
      ['../x', `${number}1`],
    ]) {
      expect(await failureOf(store.abortUpload({ path, uploadId }))).toMatchObject({ code: 'BAD_ARGUMENT' });
    }
    expect(allFiles()).toHaveLength(all - 1);
  });

  it('that cannot be listed or removed are an error', async () => {
    leave();
    const denied = storeWith({ readdir: failing('EACCES', 'scandir'), unlink: failing('EACCES', 'unlink') }).store;
    expect(await failureOf(denied.listUploads('compacted/'))).toMatchObject({ code: 'STORE_DENIED' });
    const upload = { path: 'compacted/1.sst', uploadId: `${MARK.slice(1)}1` };
    expect(await failureOf(denied.abortUpload(upload))).toMatchObject({ code: 'STORE_DENIED' });
  });
});
