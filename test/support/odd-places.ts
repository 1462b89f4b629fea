/** Things that can be in a directory and are no files, and a directory as something that can be compared. */
import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';

export interface NoFile {
  make(path: string): void | Promise<void>;
  /** What messages call it. */
  named: string;
  isDirectory?: boolean;
}

const servers: Server[] = [];

/** Everything that can be in the place of an object and is none. */
export const NO_FILES: Record<string, NoFile> = {
  'a link that leads nowhere': {
    make: (path) => symlinkSync('../gone/file', path),
    named: 'a symbolic link to ../gone/file, where nothing can be found,',
  },
  'a link in a circle': {
    make: (path) => symlinkSync(basename(path), path),
    named: 'a symbolic link to ',
  },
  'a link to a directory': {
    make: (path) => {
      mkdirSync(`${path}.directory`);
      symlinkSync(`${basename(path)}.directory`, path);
    },
    named: 'a directory',
    isDirectory: true,
  },
  'a link to the directory that it is in': {
    make: (path) => symlinkSync('.', path),
    named: 'a directory',
    isDirectory: true,
  },
  'a link to a device': { make: (path) => symlinkSync('/dev/zero', path), named: 'a device' },
  'an empty directory': { make: (path) => mkdirSync(path), named: 'a directory', isDirectory: true },
  'a directory with a file': {
    make: (path) => {
      mkdirSync(path);
      writeFileSync(join(path, 'file'), 'content');
    },
    named: 'a directory',
    isDirectory: true,
  },
  'a FIFO': { make: (path) => void execFileSync('mkfifo', [path]), named: 'a FIFO' },
  'a socket': {
    make: async (path) => {
      const server = createServer();
      servers.push(server);
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
    },
    named: 'a socket',
  },
};

/** Ends what sockets need. */
export function closeOddPlaces(): void {
  for (const server of servers.splice(0)) server.close();
}

/** What is in a directory, by path: content of files, target of links, kind of everything else. */
export function fileTree(directory: string, below = ''): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(join(directory, below)).sort()) {
    const path = below === '' ? name : `${below}/${name}`;
    const stats = lstatSync(join(directory, path));
    if (stats.isDirectory()) Object.assign(found, { [path]: 'directory' }, fileTree(directory, path));
    else if (stats.isSymbolicLink()) found[path] = `link to ${readlinkSync(join(directory, path))}`;
    else found[path] = stats.isFile() ? readFileSync(join(directory, path), 'hex') : `mode ${stats.mode}`;
  }
  return found;
}
