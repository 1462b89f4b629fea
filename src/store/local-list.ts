/**
 * Lists files of a directory tree in the byte order of their paths, walking only where the prefix leads and holding one
 * directory per level in memory. Left out are files that vanish in the meantime, what is no
 * file (`local-place.ts`; a call for its path reports it), and the store's own temporary files and locks
 * (`local-names.ts`): of all files in the directory these are the only ones that a list may delete.
 */
import type { Dirent, Stats } from 'node:fs';
import { fileEtag, type LocalFiles } from './local-files.ts';
import { isOwnFileName, temporaryFileOf, temporaryOf } from './local-names.ts';
import { isNowhere, statIfThere } from './local-place.ts';
import { comparePaths } from './object-path.ts';
import type { ListedObject } from './object-store.ts';

/** Files looked at together. */
const STAT_BATCH = 64;

interface Walk {
  what: 'objects' | 'temporaries';
  files: LocalFiles;
  root: string;
  prefix: string;
  startAfter: string | undefined;
  removeOlderThanMs: number | undefined;
}

/**
 * `removeOlderThanMs`: leftover temporary files last changed before this time are deleted; absent: none. Rejects as the file system does
 * if the folder of the prefix is not there.
 */
export function listDirectory(
  files: LocalFiles,
  root: string,
  prefix: string,
  startAfter: string | undefined,
  removeOlderThanMs: number | undefined,
): AsyncGenerator<ListedObject> {
  const walk = { files, root: root === '/' ? '' : root, prefix, startAfter, removeOlderThanMs };
  return listFolder({ ...walk, what: 'objects' }, topFolder(prefix));
}

/** The temporary files, by their own paths, of objects whose path starts with `prefix`. */
export function listTemporaries(files: LocalFiles, root: string, prefix: string): AsyncGenerator<ListedObject> {
  const walk = { files, root: root === '/' ? '' : root, prefix, startAfter: undefined, removeOlderThanMs: undefined };
  return listFolder({ ...walk, what: 'temporaries' }, topFolder(prefix));
}

/** The folder that all paths with this prefix are in: empty, or with a slash at its end. */
export function topFolder(prefix: string): string {
  return prefix.slice(0, prefix.lastIndexOf('/') + 1);
}

/** `folder` is empty or ends with a slash; so do the paths of folders in it, which puts them in their place in the order. */
async function* listFolder(walk: Walk, folder: string): AsyncGenerator<ListedObject> {
  const paths = (await readFolder(walk, folder)).sort(comparePaths);
  for (let i = 0; i < paths.length; ) {
    if (paths[i].endsWith('/')) {
      yield* listFolder(walk, paths[i++]);
      continue;
    }
    const batch: string[] = [];
    while (i < paths.length && batch.length < STAT_BATCH && !paths[i].endsWith('/')) batch.push(paths[i++]);
    const stats = await Promise.all(batch.map((path) => statIn(walk, path)));
    for (let j = 0; j < batch.length; j++) {
      const s = stats[j];
      if (!s?.isFile()) continue;
      yield { path: batch[j], size: s.size, etag: fileEtag(s), lastModifiedMs: Math.floor(s.mtimeMs) };
    }
  }
}

async function readFolder(walk: Walk, folder: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await walk.files.readdir(`${walk.root}/${folder}`);
  } catch (error) {
    // One that was just seen has vanished; of the one that the prefix names the store knows what to say.
    if (isNowhere(error) && folder !== topFolder(walk.prefix)) return [];
    throw error;
  }
  const paths: string[] = [];
  for (const entry of entries) {
    const path = folder + entry.name;
    if (isOwnFileName(entry.name)) {
      await removeIfOld(walk, path);
      if (walk.what === 'temporaries' && isTemporaryOf(walk.prefix, path)) paths.push(path);
      continue;
    }
    if (walk.what === 'temporaries' && entry.isFile()) continue;
    const isFolder = entry.isDirectory() || (!entry.isFile() && (await isLinkedFolder(walk, folder, path)));
    if (walk.what === 'temporaries' && !isFolder) continue;
    const listed = isFolder ? `${path}/` : path;
    if (isWanted(walk, listed, isFolder)) paths.push(listed);
  }
  return paths;
}

/** Not a lock. */
function isTemporaryOf(prefix: string, file: string): boolean {
  const { path, uploadId } = temporaryOf(file);
  return path.startsWith(prefix) && temporaryFileOf(path, uploadId) !== undefined;
}

/** Whether a link leads to a directory: to another one than those that it is in, or the walk would never end. */
async function isLinkedFolder(walk: Walk, folder: string, path: string): Promise<boolean> {
  const stats = await statIn(walk, path);
  if (!stats?.isDirectory()) return false;
  const names = folder.split('/');
  for (let n = names.length - 1; n >= 0; n--) {
    const above = await statIn(walk, names.slice(0, n).join('/'));
    if (above?.ino === stats.ino && above.dev === stats.dev) return false;
  }
  return true;
}

function isWanted({ prefix, startAfter }: Walk, path: string, isFolder: boolean): boolean {
  if (!path.startsWith(prefix) && !(isFolder && prefix.startsWith(path))) return false;
  if (startAfter === undefined || comparePaths(path, startAfter) > 0) return true;
  return isFolder && startAfter.startsWith(path);
}

async function removeIfOld(walk: Walk, path: string): Promise<void> {
  if (walk.removeOlderThanMs === undefined) return;
  const stats = await statIn(walk, path);
  if (!stats?.isFile() || stats.mtimeMs >= walk.removeOlderThanMs) return;
  // Best effort: another process may be faster, or allowed more than we are.
  await walk.files.unlink(`${walk.root}/${path}`).catch(() => undefined);
}

function statIn(walk: Walk, path: string): Promise<Stats | undefined> {
  return statIfThere(walk.files, `${walk.root}/${path}`, 'stat');
}
