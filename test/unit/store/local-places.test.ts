/** A local store where something is in the place of an object, or of a directory on the way to it, that is no object. */
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LocalStore, type ObjectStore, open } from '../../../src/index.ts';
import { type LocalFiles, SYSTEM_FILES } from '../../../src/store/local-files.ts';
import type { PutOptions } from '../../../src/store/object-store.ts';
import { closeOddPlaces, fileTree, NO_FILES } from '../../support/odd-places.ts';

const BODY = new TextEncoder().encode('0123456789');
const PUT_ID = '01ARZ3NDEKTSV4RRFFQ69G5FAV';
const CREATE: PutOptions = { condition: 'if-absent', putId: PUT_ID };
const ANY: PutOptions = { condition: 'any', putId: PUT_ID };

const scratch = mkdtempSync(join(tmpdir(), 'shaledb-places-'));
let root: string;
let cases = 0;

beforeEach(async () => {
  root = join(scratch, String(cases++));
  await new LocalStore(root).put('wal/1', BODY, CREATE);
});
afterEach(closeOddPlaces);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function failureOf(work: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('did not reject');
}

async function listed(store: ObjectStore, prefix: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path } of store.list(prefix)) paths.push(path);
  return paths;
}

const CALLS: Record<string, (store: ObjectStore, path: string) => Promise<unknown>> = {
  get: (store, path) => store.get(path),
  'get of a range': (store, path) => store.get(path, { range: { offset: 0, length: 4 } }),
  'get of a suffix': (store, path) => store.get(path, { range: { suffix: 4 } }),
  head: (store, path) => store.head(path),
  'put if absent': (store, path) => store.put(path, BODY, CREATE),
  'put over what is there': (store, path) => store.put(path, BODY, ANY),
  'put over a version': (store, path) => store.put(path, BODY, { ...CREATE, condition: { ifMatch: '"1-1-1"' } }),
};

describe.each(Object.entries(NO_FILES))('%s', (_, { make, named }) => {
  it.each(Object.entries(CALLS))('in the place of an object is reported to a %s, and stays', async (__, call) => {
    const place = join(root, 'wal/2');
    await make(place);
    const before = fileTree(root);
    const error = await failureOf(call(new LocalStore(root), 'wal/2'));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_UNSUITABLE', retryable: false });
    expect(error.message).toContain(place);
    expect(error.message).toContain(named);
    expect(error.message).toMatch(/; (move it away|put back or mount .*)$/);
    expect(fileTree(root)).toEqual(before);
  });

  it('is not listed, and hides nothing', async () => {
    await make(join(root, 'wal/0'));
    const store = new LocalStore(root);
    await store.put('wal/3', BODY, CREATE);
    const paths = (await listed(store, 'wal/')).filter((path) => !path.startsWith('wal/0/'));
    expect(paths).toEqual(['wal/1', 'wal/3']);
    expect(await listed(store, 'wal/2')).toEqual([]);
  });

  it('is deleted if it has the name of an object that is to go, but for directories, and nothing that it leads to', async () => {
    const place = join(root, 'wal/2');
    await make(place);
    const isDirectory = lstatSync(place).isDirectory();
    const before = fileTree(root);
    const store = new LocalStore(root);
    await store.delete(['wal/2', 'wal/absent']);
    const { 'wal/2': gone, ...others } = before;
    expect(gone).toBeDefined();
    expect(fileTree(root)).toEqual(isDirectory ? before : others);
    if (!isDirectory) expect(await store.get('wal/2')).toBeUndefined();
  });

  it('in a place that was read from before is noticed', async () => {
    const store = new LocalStore(root);
    await store.get('wal/1', { range: { offset: 0, length: 4 } });
    rmSync(join(root, 'wal/1'));
    await make(join(root, 'wal/1'));
    expect(await failureOf(store.get('wal/1', { range: { offset: 0, length: 4 } }))).toMatchObject({
      code: 'STORE_UNSUITABLE',
    });
    await store.close();
  });
});

const NO_DIRECTORIES = {
  ...Object.fromEntries(Object.entries(NO_FILES).filter(([, { isDirectory }]) => isDirectory !== true)),
  'a file': { make: (path: string) => writeFileSync(path, 'content'), named: 'a file' },
};

describe.each(Object.entries(NO_DIRECTORIES))('%s in the place of a directory', (kind, { make, named }) => {
  it.each(Object.entries(CALLS))('is reported to a %s, and stays', async (_, call) => {
    const place = join(root, 'folder');
    await make(place);
    const before = fileTree(root);
    for (const path of ['folder/1', 'folder/below/1']) {
      const error = await failureOf(call(new LocalStore(root), path));
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_UNSUITABLE', retryable: false });
      expect(error.message).toContain(named);
      expect(error.message).toContain(` is stored where a directory is needed: ${place};`);
    }
    expect(fileTree(root)).toEqual(before);
  });

  it('is reported to a list, unless it is an object', async () => {
    await make(join(root, 'folder'));
    for (const prefix of ['folder/', 'folder/1', 'folder/below/']) {
      const list = listed(new LocalStore(root), prefix);
      if (kind === 'a file') expect(await list).toEqual([]);
      else expect(await failureOf(list)).toMatchObject({ code: 'STORE_UNSUITABLE' });
    }
    expect(await listed(new LocalStore(root), 'wal/')).toEqual(['wal/1']);
  });
});

describe('links', () => {
  it('to a file are that file, which an overwrite and a delete leave alone', async () => {
    const target = join(root, 'elsewhere');
    writeFileSync(target, 'abc');
    symlinkSync(target, join(root, 'wal/2'));
    const store = new LocalStore(root);
    expect(Buffer.from((await store.get('wal/2'))!.bytes).toString()).toBe('abc');
    expect((await store.head('wal/2'))?.size).toBe(3);
    expect(await listed(store, 'wal/')).toEqual(['wal/1', 'wal/2']);
    expect(await store.put('wal/2', BODY, CREATE)).toEqual({ outcome: 'refused' });
    expect(readlinkSync(join(root, 'wal/2'))).toBe(target);
    await store.put('wal/2', BODY, ANY);
    expect((await store.get('wal/2'))?.bytes).toEqual(BODY);
    expect(readFileSync(target, 'utf8')).toBe('abc');
  });

  it('to a directory are that directory', async () => {
    mkdirSync(join(root, 'volume'));
    symlinkSync('volume', join(root, 'compacted'));
    const store = new LocalStore(root);
    await store.put('compacted/1', BODY, CREATE);
    expect(await listed(store, 'compacted/')).toEqual(['compacted/1']);
    expect(await store.get('compacted/2')).toBeUndefined();
  });

  it('that lead nowhere in the place of the root are reported', async () => {
    const link = join(root, 'root');
    symlinkSync('../gone', link);
    const calls = Object.values(CALLS).map((call) => (store: ObjectStore) => call(store, 'a/b'));
    for (const call of [...calls, (store: ObjectStore) => listed(store, '')]) {
      const error = await failureOf(call(new LocalStore(link)));
      expect(error).toMatchObject({ code: 'STORE_UNSUITABLE', message: expect.stringContaining(link) });
    }
    expect(await failureOf(open(`file://${link}`))).toMatchObject({ code: 'STORE_UNSUITABLE' });
  });
});

it('many reads of FIFOs leave the store as quick as it was', async () => {
  const store = new LocalStore(root);
  for (let i = 10; i < 30; i++) await NO_FILES['a FIFO'].make(join(root, `wal/${i}`));
  const reads = Array.from({ length: 20 }, (_, i) => failureOf(store.get(`wal/${10 + i}`)));
  expect((await store.get('wal/1'))?.bytes).toEqual(BODY);
  await Promise.all(reads);
});

it('of an absent object one question is asked for each level, up to the first directory', async () => {
  const asked: string[] = [];
  const asking = (call: 'stat' | 'lstat') => (path: string) => {
    asked.push(`${call} ${path.slice(root.length + 1)}`);
    return SYSTEM_FILES[call](path);
  };
  const store = new LocalStore(root, { files: { ...SYSTEM_FILES, stat: asking('stat'), lstat: asking('lstat') } });
  expect(await store.get('wal/9')).toBeUndefined();
  expect(asked.splice(0)).toEqual(['lstat wal/9', 'lstat wal']);
  expect(await store.get('gc/new/9')).toBeUndefined();
  expect(asked).toEqual(['lstat gc/new/9', 'lstat gc/new', 'lstat gc', 'lstat ']);
});

it('a file without permission is reported with what to do', async () => {
  const denied = (call: string) => () =>
    Promise.reject(Object.assign(new Error(`EACCES: permission denied, ${call}`), { code: 'EACCES', syscall: call }));
  const files: LocalFiles = { ...SYSTEM_FILES, open: denied('open'), stat: denied('stat') };
  const store = new LocalStore(root, { files });
  const { get, head, ...puts } = CALLS;
  for (const call of [get, head, ...Object.values(puts)]) {
    const error = await failureOf(call(store, 'wal/1'));
    expect(error).toMatchObject({ code: 'STORE_DENIED', retryable: false });
    expect(error.message).toContain('; give the user of this process access');
  }
});
