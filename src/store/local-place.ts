/**
 * What is stored in an object's place but is no object: the one rule about it for all calls of a local store.
 *
 * A symbolic link to a file is that file. A link that leads nowhere or in a circle, a directory, a FIFO, a socket and a device are no
 * objects, and no object can be created over them: taken for absent they would be met again when something else was already
 * changed. So every call for the place reports them. The same holds for what is stored where a directory of the path has to be.
 */
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, type LocalFiles } from './local-files.ts';

export interface Obstacle {
  /** Its path. */
  path: string;
  /** What it is, with its article. */
  what: string;
  isFile: boolean;
  needed: 'file' | 'directory';
}

/** What to do, for messages. */
export function obstacleText({ path, what, needed }: Obstacle): string {
  const remedy = what.startsWith('a symbolic link')
    ? 'put back or mount what it leads to, or move the link away'
    : 'move it away';
  return `${what} is stored where a ${needed} is needed: ${path}; ${remedy}`;
}

/**
 * What keeps `target` from being read or created as an object, or as the directory of objects; undefined: nothing, it is there or
 * can be. Searches from `target` upwards to the first directory. From `root` on only links are obstacles: another kind of root is no
 * store at all, which is reported otherwise.
 */
export async function obstacleAt(
  files: LocalFiles,
  root: string,
  target: string,
  needed: Obstacle['needed'] = 'file',
): Promise<Obstacle | undefined> {
  for (let path = target; path !== dirname(path); path = dirname(path)) {
    const wanted = path === target ? needed : 'directory';
    const entry = await statIfThere(files, path, 'lstat');
    // Below a file, or nothing at all: what is above shows which.
    if (entry === undefined) continue;
    const found = entry.isSymbolicLink() ? await statIfThere(files, path, 'stat') : entry;
    if (found === undefined) return { path, what: await linkText(files, path), isFile: false, needed: wanted };
    if (path.length <= root.length || (wanted === 'file' ? found.isFile() : found.isDirectory())) return undefined;
    return { path, what: nameOf(found), isFile: found.isFile(), needed: wanted };
  }
  return undefined;
}

export async function statIfThere(files: LocalFiles, path: string, call: 'stat' | 'lstat'): Promise<Stats | undefined> {
  try {
    return await files[call](path);
  } catch (error) {
    if (isNowhere(error)) return undefined;
    throw error;
  }
}

/** Whether a call says that its path leads nowhere: nothing is there, or something else than the path needs. */
export function isNowhere(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP';
}

async function linkText(files: LocalFiles, path: string): Promise<string> {
  // Only for the message: what the link says may be gone by now.
  const to = await files.readlink(path).catch(() => undefined);
  return to === undefined ? 'a symbolic link' : `a symbolic link to ${to}, where nothing can be found,`;
}

function nameOf(stats: Stats): string {
  if (stats.isFile()) return 'a file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a FIFO';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}
