/**
 * Files kept open between ranged reads: one thread-pool trip per read instead of three.
 *
 * A kept file is used only while its inode has exactly one name. A deleted or replaced file has none, so it is opened again
 * and a read never sees what was deleted before it began. Files with a second name (a writer died before it removed the
 * temporary one, or a backup links them) are never kept, because their deletion would not show.
 *
 * Invariant: after `close` no file is kept. Reads that are under way end, and each closes its own file; later reads open and
 * close theirs.
 */
import type { Stats } from 'node:fs';
import type { Clock, Timer } from '../common/clock.ts';
import { errnoOf, type LocalFiles } from './local-files.ts';

export interface OpenFile {
  readonly file: string;
  readonly fd: number;
  stats: Stats;
  users: number;
  kept: boolean;
}

/** Open files kept at most, and how long an unused one is kept: a deleted file's space is free only when it is closed. */
const MAX_FILES_KEPT = 64;
const IDLE_MS = 5000;

export class LocalReaders {
  readonly #files: LocalFiles;
  readonly #clock: Clock;
  /** In order of last use. */
  readonly #kept = new Map<string, OpenFile>();
  #sweep: Timer | undefined;
  #usedSinceSweep = false;
  #isClosed = false;

  constructor(files: LocalFiles, clock: Clock) {
    this.#files = files;
    this.#clock = clock;
  }

  /** The file, open and with fresh `stats`; `undefined` if there is none. Give it back with `release`. */
  async acquire(file: string): Promise<OpenFile | undefined> {
    return this.#take(file) ?? (await this.#open(file));
  }

  /** `keep`: further reads of this file are likely. */
  release(open: OpenFile, keep: boolean): void {
    open.users--;
    if (open.kept) return;
    if (keep && !this.#isClosed && open.stats.nlink === 1 && !this.#kept.has(open.file)) this.#keep(open);
    else if (open.users === 0) this.#files.close(open.fd);
  }

  /** How many are kept. */
  get count(): number {
    return this.#kept.size;
  }

  /** Forgets a file that is about to be replaced or deleted. */
  forget(file: string): void {
    const open = this.#kept.get(file);
    if (open !== undefined) this.#drop(open);
  }

  /** Closes what is kept, at once but for files that are being read, and keeps nothing from now on. */
  close(): void {
    this.#isClosed = true;
    this.#dropAll();
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  #dropAll(): void {
    for (const open of [...this.#kept.values()]) this.#drop(open);
  }

  #take(file: string): OpenFile | undefined {
    const open = this.#kept.get(file);
    if (open === undefined) return undefined;
    open.stats = this.#files.fstat(open.fd);
    if (open.stats.nlink !== 1) {
      this.#drop(open);
      return undefined;
    }
    this.#kept.delete(file);
    this.#kept.set(file, open);
    this.#usedSinceSweep = true;
    open.users++;
    return open;
  }

  async #open(file: string): Promise<OpenFile | undefined> {
    let fd: number;
    try {
      fd = await this.#files.open(file, 'r');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    const stats = this.#files.fstat(fd);
    if (stats.isFile()) return { file, fd, stats, users: 1, kept: false };
    this.#files.close(fd);
    return undefined;
  }

  #keep(open: OpenFile): void {
    open.kept = true;
    this.#kept.set(open.file, open);
    this.#usedSinceSweep = true;
    const [oldest] = this.#kept.values();
    if (oldest !== undefined && this.#kept.size > MAX_FILES_KEPT) this.#drop(oldest);
    this.#sweep ??= this.#clock.setTimer(IDLE_MS, () => this.#closeIdle(), false);
  }

  #closeIdle(): void {
    this.#sweep = undefined;
    if (this.#usedSinceSweep) this.#sweep = this.#clock.setTimer(IDLE_MS, () => this.#closeIdle(), false);
    else this.#dropAll();
    this.#usedSinceSweep = false;
  }

  #drop(open: OpenFile): void {
    this.#kept.delete(open.file);
    open.kept = false;
    if (open.users === 0) this.#files.close(open.fd);
  }
}
