/** The one call of the file system door that is more than a name: making directories with their parents. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fileError, SYSTEM_FILES } from '../../../src/store/local-files.ts';

const scratch = mkdtempSync(join(tmpdir(), 'shaledb-files-'));
afterAll(() => rmSync(scratch, { recursive: true }));

describe('mkdir', () => {
  it('makes all parents and gives back the first one that was missing', async () => {
    expect(await SYSTEM_FILES.mkdir(join(scratch, 'a/b/c'))).toBe(join(scratch, 'a'));
    expect(statSync(join(scratch, 'a/b/c')).isDirectory()).toBe(true);
    expect(await SYSTEM_FILES.mkdir(join(scratch, 'a/b/d'))).toBe(join(scratch, 'a/b/d'));
    expect(await SYSTEM_FILES.mkdir(join(scratch, 'a/b'))).toBeUndefined();
    expect(await SYSTEM_FILES.mkdir('/')).toBeUndefined();
  });

  it('lets any number of callers make the same directory', async () => {
    const path = join(scratch, 'many/of/them');
    const made = await Promise.all(Array.from({ length: 20 }, () => SYSTEM_FILES.mkdir(path)));
    expect(existsSync(path)).toBe(true);
    expect(made.some((first) => first === join(scratch, 'many'))).toBe(true);
  });

  it('reports a file in the way', async () => {
    writeFileSync(join(scratch, 'file'), '');
    await expect(SYSTEM_FILES.mkdir(join(scratch, 'file'))).rejects.toMatchObject({ code: 'EEXIST', syscall: 'mkdir' });
    await expect(SYSTEM_FILES.mkdir(join(scratch, 'file/below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  it.runIf(process.platform === 'linux')('ends where nothing can be made although the parent exists', async () => {
    await expect(SYSTEM_FILES.mkdir('/proc/no-such-directory/below')).rejects.toMatchObject({ code: 'ENOTSUP' });
  });
});

describe('errors', () => {
  const errorOf = (fields: object, base: Error = new Error('why')) =>
    fileError('file:///d', 'a', Object.assign(base, fields));

  it('that Node raises before it asks the system are reported at once', () => {
    const denied = errorOf({ code: 'ERR_ACCESS_DENIED', permission: 'FileSystemWrite', resource: '/d/a' });
    expect(denied).toMatchObject({ code: 'STORE_DENIED', retryable: false });
    expect(denied.message).toMatch(/--allow-fs-write/);
    expect(denied.message).toContain('FileSystemWrite of /d/a');
    for (const error of [
      errorOf({ code: 'ERR_INVALID_ARG_VALUE' }, new TypeError('a null byte')),
      errorOf({ code: 'ERR_OUT_OF_RANGE' }, new RangeError('out of range')),
      errorOf({}, new TypeError('x is not a function')),
    ]) {
      expect(error).toMatchObject({ code: 'STORE_UNSUITABLE', retryable: false });
    }
  });

  it('of the system that may pass, and a lack of memory, are outages', () => {
    for (const error of [
      errorOf({ code: 'EIO' }),
      errorOf({ code: 'EMFILE' }),
      errorOf({}),
      errorOf({}, new RangeError('Array buffer allocation failed')),
    ]) {
      expect(error).toMatchObject({ code: 'STORE_DOWN', retryable: true });
    }
  });
});
