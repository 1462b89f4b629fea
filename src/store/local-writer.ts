/**
 * Files that survive a power failure once they are visible.
 *
 * The bytes go to a temporary file beside the target and are synced before any name of the target leads to them. A sync that
 * failed once may succeed the second time although the bytes are lost, so its file is thrown away and written again, or given up where
 * the bytes are gone.
 * Syncs of one directory are shared: a call that comes while one runs gets the next one.
 */
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { nextInt, type Random } from '../common/random.ts';
import { errnoOf, type LocalFiles } from './local-files.ts';
import { temporaryFileName } from './local-names.ts';

export interface TemporaryFile {
  path: string;
  stats: Stats;
  /** The directory had been there before, was gone, and was made again. */
  placeWasGone: boolean;
}

/** A temporary file whose bytes come one after another. */
export interface OpenTemporary {
  path: string;
  fd: number;
  bytes: number;
  placeWasGone: boolean;
  isClosed: boolean;
}

/** Files written in vain before a put fails; names tried, because another process may draw the same ones. */
const MAX_FAILURES = 3;
const MAX_NAMES_KEPT = 100;

interface SyncQueue {
  running: Promise<void>;
  next: Promise<void> | undefined;
}

export class LocalWriter {
  readonly #files: LocalFiles;
  readonly #random: Random;
  readonly #root: string;
  /** Directories that exist and whose own entry is durable, as far as this process knows. */
  readonly #ready = new Map<string, Promise<void>>();
  readonly #syncs = new Map<string, SyncQueue>();
  /** Directories whose last sync failed: names in them may not be durable although they are visible. */
  readonly #unsynced = new Set<string>();

  constructor(files: LocalFiles, random: Random, root: string) {
    this.#files = files;
    this.#random = random;
    this.#root = root;
  }

  /** A path beside `target` that no list shows. */
  temporaryPath(target: string): string {
    // From 1 on: 0 is the lock.
    return temporaryFileName(target, 1 + this.#random.nextUint32() * 1000 + nextInt(this.#random, 1000));
  }

  /** Writes and syncs a temporary file for `target`; its time is at least `notBeforeMs`. Leaves no file on failure. */
  writeTemporary(target: string, bytes: Uint8Array, notBeforeMs = 0): Promise<TemporaryFile> {
    return this.#withFreshName(target, async (path, placeWasGone) => {
      const file = await this.#open(path, placeWasGone);
      try {
        await this.append(file, bytes);
        return await this.finish(file, notBeforeMs);
      } catch (error) {
        await this.discard(file);
        throw error;
      }
    });
  }

  /** Opens a temporary file for `target`: `append` to it, then `finish` or `discard` it. */
  openTemporary(target: string): Promise<OpenTemporary> {
    return this.#withFreshName(target, (path, placeWasGone) => this.#open(path, placeWasGone));
  }

  async append(file: OpenTemporary, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const count = await this.#files.write(file.fd, bytes, at, bytes.length - at, file.bytes);
      at += count;
      file.bytes += count;
    }
  }

  /**
   * Syncs and closes the file; its time is at least `notBeforeMs`. After a failure it is to be discarded: its bytes may be lost although
   * a second sync would succeed.
   */
  async finish(file: OpenTemporary, notBeforeMs: number): Promise<TemporaryFile> {
    const { path, fd, placeWasGone } = file;
    if (notBeforeMs > 0 && this.#files.fstat(fd).mtimeMs < notBeforeMs) this.#files.futimes(fd, notBeforeMs);
    await this.#files.fsync(fd);
    const stats = this.#files.fstat(fd);
    this.#close(file);
    return { path, stats, placeWasGone };
  }

  async discard(file: OpenTemporary): Promise<void> {
    this.#close(file);
    await this.removeTemporary(file.path);
  }

  async removeTemporary(path: string): Promise<void> {
    try {
      await this.#files.unlink(path);
    } catch {
      // Lists hide it, and a list a day later removes it.
    }
  }

  /** Makes the directory's entries durable. */
  syncDirectory(directory: string): Promise<void> {
    const queue = this.#syncs.get(directory);
    if (queue === undefined) {
      const fresh: SyncQueue = { running: this.#syncNow(directory), next: undefined };
      this.#syncs.set(directory, fresh);
      this.#advance(directory, fresh);
      return fresh.running;
    }
    // The running one may have begun before our change.
    queue.next ??= queue.running.then(
      () => this.#syncNow(directory),
      () => this.#syncNow(directory),
    );
    return queue.next;
  }

  /** Whether an earlier sync failed, so that what is visible there may not be durable. */
  isUnsynced(directory: string): boolean {
    return this.#unsynced.has(directory);
  }

  /** Makes a file with one name after the other, until none is taken, its directory is there and its sync succeeds. */
  async #withFreshName<T>(target: string, make: (path: string, placeWasGone: boolean) => Promise<T>): Promise<T> {
    let failures = 0;
    let placeWasGone = false;
    for (let tries = 1; ; tries++) {
      try {
        return await make(this.temporaryPath(target), placeWasGone);
      } catch (error) {
        const kind = kindOfFailure(error);
        if (kind === 'lasting' || tries >= MAX_NAMES_KEPT) throw error;
        if (kind === 'directory gone') {
          placeWasGone = true;
          this.#forget(dirname(target));
        }
        if (kind !== 'name taken' && ++failures === MAX_FAILURES) throw error;
      }
    }
  }

  async #open(path: string, placeWasGone: boolean): Promise<OpenTemporary> {
    await this.#prepare(dirname(path));
    const fd = await this.#files.open(path, 'wx');
    return { path, fd, bytes: 0, placeWasGone, isClosed: false };
  }

  #close(file: OpenTemporary): void {
    if (file.isClosed) return;
    file.isClosed = true;
    this.#files.close(file.fd);
  }

  /** Makes the directory, and its name durable, once per process. */
  async #prepare(directory: string): Promise<void> {
    let ready = this.#ready.get(directory);
    if (ready === undefined) {
      ready = this.#makeDirectory(directory);
      this.#ready.set(directory, ready);
    }
    try {
      await ready;
    } catch (error) {
      this.#ready.delete(directory);
      throw error;
    }
  }

  async #makeDirectory(directory: string): Promise<void> {
    const firstMade = await this.#files.mkdir(directory);
    const top = firstMade === undefined ? this.#root : dirname(firstMade);
    for (let parent = directory; parent !== top && parent.length > top.length; ) {
      parent = dirname(parent);
      try {
        await this.syncDirectory(parent);
      } catch (error) {
        // Older directories of another user need not be readable for us.
        if (firstMade !== undefined) throw error;
      }
    }
  }

  #forget(directory: string): void {
    for (const known of this.#ready.keys()) if (directory.startsWith(known)) this.#ready.delete(known);
    this.#ready.delete(directory);
  }

  /** When the running sync ends, the next one takes its place. */
  #advance(directory: string, queue: SyncQueue): void {
    const onEnd = () => {
      if (queue.next === undefined) {
        this.#syncs.delete(directory);
        return;
      }
      queue.running = queue.next;
      queue.next = undefined;
      this.#advance(directory, queue);
    };
    queue.running.then(onEnd, onEnd);
  }

  async #syncNow(directory: string): Promise<void> {
    if (process.platform === 'win32') return;
    try {
      const fd = await this.#files.open(directory, 'r');
      try {
        await this.#files.fsync(fd);
      } finally {
        this.#files.close(fd);
      }
      this.#unsynced.delete(directory);
    } catch (error) {
      this.#unsynced.add(directory);
      throw error;
    }
  }
}

function kindOfFailure(error: unknown): 'name taken' | 'directory gone' | 'sync failed' | 'lasting' {
  const code = errnoOf(error);
  const { syscall } = error as { syscall?: string };
  if (code === 'EEXIST' && syscall === 'open') return 'name taken';
  if (code === 'ENOENT') return 'directory gone';
  if (syscall === 'fsync' && code !== 'ENOSPC' && code !== 'EDQUOT') return 'sync failed';
  return 'lasting';
}
