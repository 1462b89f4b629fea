/**
 * The file system as the local store uses it: a narrow door, so that tests can make any call fail, and the place where
 * errno codes become store errors.
 *
 * Calls that may wait for the disk go through the thread pool; `fstat` and `close` of files that were only read or already
 * synced do not wait and are cheaper in place (1-2 us against 15-20 us).
 */
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { DbError } from '../common/errors.ts';
import { type StoreErrorClass, storeError } from './store-error.ts';
import { unsentCall } from './unsent-call.ts';

export interface LocalFiles {
  open(path: string, flags: string): Promise<number>;
  read(fd: number, target: Uint8Array, offset: number, length: number, position: number): Promise<number>;
  write(fd: number, bytes: Uint8Array, offset: number, length: number, position: number): Promise<number>;
  fsync(fd: number): Promise<void>;
  fstat(fd: number): fs.Stats;
  futimes(fd: number, mtimeMs: number): void;
  close(fd: number): void;
  stat(path: string): Promise<fs.Stats>;
  /** Of a symbolic link itself. */
  lstat(path: string): Promise<fs.Stats>;
  readlink(path: string): Promise<string>;
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Makes the directory with its parents; gives back the first one that was missing. */
  mkdir(path: string): Promise<string | undefined>;
  readdir(path: string): Promise<fs.Dirent[]>;
  /** Of the file system in which `path` is. */
  statfs(path: string): Promise<{ bsize: number; blocks: number; bavail: number }>;
}

const read = promisify(fs.read);
const write = promisify(fs.write);
/** The open of a FIFO, which is no object, would wait for a writer forever, and hold one of the few threads of the pool. */
const READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);
const openFile = promisify(fs.open) as (path: string, flags: string | number) => Promise<number>;

export const SYSTEM_FILES: LocalFiles = {
  open: (path, flags) => openFile(path, flags === 'r' ? READ_FLAGS : flags),
  async read(fd, target, offset, length, position) {
    return (await read(fd, target, offset, length, position)).bytesRead;
  },
  async write(fd, bytes, offset, length, position) {
    return (await write(fd, bytes, offset, length, position)).bytesWritten;
  },
  fsync: promisify(fs.fsync),
  fstat: (fd) => fs.fstatSync(fd),
  futimes: (fd, mtimeMs) => fs.futimesSync(fd, mtimeMs / 1000, mtimeMs / 1000),
  close: (fd) => fs.closeSync(fd),
  stat: promisify(fs.stat) as (path: string) => Promise<fs.Stats>,
  lstat: promisify(fs.lstat) as (path: string) => Promise<fs.Stats>,
  readlink: (path) => fs.promises.readlink(path),
  link: promisify(fs.link),
  rename: promisify(fs.rename),
  unlink: promisify(fs.unlink),
  mkdir: makeDirectories,
  readdir: (path) => fs.promises.readdir(path, { withFileTypes: true }),
  statfs: (path) => fs.promises.statfs(path),
};

/**
 * Parents first, step by step: Node's recursive `mkdir` says ENOENT for a read-only file system and never ends below
 * `/proc`, where no directory can be made although its parent exists.
 */
async function makeDirectories(path: string): Promise<string | undefined> {
  const missing = await makeDirectory(path);
  if (missing !== 'parent') return missing === 'made' ? path : undefined;
  const first = await makeDirectories(dirname(path));
  try {
    const again = await makeDirectory(path, true);
    return first ?? (again === 'made' ? path : undefined);
  } catch (error) {
    // Was the parent deleted in the meantime, or can its file system make no directories there?
    if (errnoOf(error) !== 'ENOENT' || !(await isDirectory(dirname(path)))) throw error;
    const message = `ENOTSUP: no directory can be made in ${dirname(path)}, although it exists, mkdir '${path}'`;
    throw Object.assign(new Error(message, { cause: error }), { code: 'ENOTSUP' });
  }
}

async function isDirectory(path: string): Promise<boolean> {
  const stats = await fs.promises.stat(path).catch(() => undefined);
  return stats?.isDirectory() === true;
}

async function makeDirectory(path: string, hasParent = false): Promise<'made' | 'there' | 'parent'> {
  try {
    await fs.promises.mkdir(path);
    return 'made';
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && !hasParent && dirname(path) !== path) return 'parent';
    if (await isDirectory(path)) return 'there';
    throw error;
  }
}

export function errnoOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

const CLASS_OF_ERRNO: Record<string, StoreErrorClass> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  ENAMETOOLONG: 'unsupported',
  EISDIR: 'unsupported',
  ENOTDIR: 'unsupported',
  ELOOP: 'unsupported',
  ENOTSUP: 'unsupported',
  ENOSYS: 'unsupported',
  EFBIG: 'unsupported',
};

/** Where the system does not say it. */
const REMEDY_OF_ERRNO: Record<string, string> = {
  EACCES: 'give the user of this process access to it',
  EPERM: 'give the user of this process access to it',
  EROFS: 'mount the file system for writing',
  ENOTSUP: 'choose a directory of a file system that keeps files',
  ENOSYS: 'choose a directory of a file system that keeps files',
};

/**
 * The store error of a failed file system call: what the system said, or Node before it asked the system. Whatever is not
 * known may pass and is `unavailable`.
 */
export function fileError(store: string, path: string, error: unknown): DbError {
  const code = errnoOf(error);
  const refused = unsentCall(error);
  const cls = refused?.cls ?? (code === undefined ? undefined : CLASS_OF_ERRNO[code]) ?? 'unavailable';
  const text = error instanceof Error ? error.message : String(error);
  const remedy = refused?.remedy ?? (code === undefined ? undefined : REMEDY_OF_ERRNO[code]);
  const message = remedy === undefined ? text : `${text}; ${remedy}`;
  return storeError({ cls, message, store, path, ...(code === undefined ? {} : { providerCode: code }), cause: error });
}

/** Names one version of a file: a new version is a new inode, or has a later time, or both. */
export function fileEtag(stats: fs.Stats): string {
  return `"${stats.ino.toString(16)}-${Math.round(stats.mtimeMs * 1000).toString(16)}-${stats.size.toString(16)}"`;
}
