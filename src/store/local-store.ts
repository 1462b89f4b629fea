/**
 * Objects as files in a local directory.
 *
 * An object is written to a temporary file beside its place, synced, and given its name by `link` (create) or `rename`
 * (overwrite); then the directory is synced. So an object is visible whole or not at all, a create has one winner among any
 * number of processes, and a put that was answered survives a power failure. Temporary files have names of their own
 * (`local-names.ts`) and are never listed; those that a killed process left are removed after a day, by stores that write.
 *
 * Needs hard links and a local file system: over a network, locks and `link` answers cannot be trusted. Files keep no
 * metadata, so the put id is not stored; a lost answer is settled by comparing bytes. Empty directories stay.
 */
import { constants as bufferLimits } from 'node:buffer';
import type { Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { mapLimit } from '../common/async.ts';
import { type Clock, SYSTEM_CLOCK } from '../common/clock.ts';
import { type DbError, InvalidArgumentError, isDbError } from '../common/errors.ts';
import {
  type ChecksOf,
  CLOCK_CHECK,
  checkedOptions,
  describeValue,
  methods,
  RANDOM_CHECK,
} from '../common/option-checks.ts';
import { type Random, SYSTEM_RANDOM } from '../common/random.ts';
import { errnoOf, fileError, fileEtag, type LocalFiles, SYSTEM_FILES } from './local-files.ts';
import { listDirectory, listTemporaries, topFolder } from './local-list.ts';
import { lockFile } from './local-lock.ts';
import { isOwnFileName, temporaryFileOf, temporaryOf } from './local-names.ts';
import { isNowhere, type Obstacle, obstacleAt, obstacleText } from './local-place.ts';
import { LocalReaders, type OpenFile } from './local-readers.ts';
import { LocalWriter, type OpenTemporary, type TemporaryFile } from './local-writer.ts';
import { checkPath, checkRange, checkSignal, comparePaths, rangeBounds, sameEtag } from './object-path.ts';
import type {
  CallOptions,
  GetOptions,
  GetResult,
  ListedObject,
  ListOptions,
  ObjectHead,
  ObjectStore,
  ObjectUpload,
  ObjectWriteOptions,
  PutOptions,
  PutOutcome,
  StoreSpace,
  UnfinishedUpload,
  UploadOptions,
} from './object-store.ts';
import { storeError } from './store-error.ts';
import { uploadOf } from './upload-calls.ts';

/** Options of a `LocalStore`; those of the system where absent. */
export interface LocalStoreOptions {
  /** Time of its answers and of leftovers, for tests. Default: the system's. */
  clock?: Clock;
  /** For names of temporary files. Default: the system's. */
  random?: Random;
  /**
   * For tests: the file system calls.
   * @internal
   */
  files?: LocalFiles;
}

const CHECKS: ChecksOf<LocalStoreOptions> = {
  clock: CLOCK_CHECK,
  random: RANDOM_CHECK,
  files: methods('open', 'read', 'write', 'stat'),
};

const NO_METADATA: Readonly<Record<string, string>> = Object.freeze({});
/** What `link` says where there are no hard links. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV', 'EMLINK']);
const REFUSED: PutOutcome = { outcome: 'refused' };
/** Most uploads that one answer names. */
const MAX_UPLOADS = 10_000;

/** A store in `directory`, which is made by the first put. */
export class LocalStore implements ObjectStore {
  readonly name: string;
  readonly conformance = 'known';
  readonly #root: string;
  readonly #clock: Clock;
  readonly #files: LocalFiles;
  readonly #readers: LocalReaders;
  readonly #writer: LocalWriter;
  #hasWritten = false;

  constructor(directory: string, options: LocalStoreOptions = {}) {
    if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
      throw new InvalidArgumentError('BAD_ARGUMENT', 'A local store needs the path of a directory.');
    }
    this.#root = resolve(directory);
    this.name = `file://${this.#root}`;
    const given = checkedOptions('LocalStore', options, CHECKS);
    const { clock = SYSTEM_CLOCK, files = SYSTEM_FILES, random = SYSTEM_RANDOM } = given;
    this.#clock = clock;
    this.#files = files;
    this.#readers = new LocalReaders(this.#files, this.#clock);
    this.#writer = new LocalWriter(this.#files, random, this.#root);
  }

  async get(path: string, options?: GetOptions): Promise<GetResult | undefined> {
    const file = this.#fileOf(path);
    const range = options?.range;
    checkRange(this.name, path, range);
    checkSignal(this.name, path, options);
    try {
      const open = await this.#readers.acquire(file);
      if (open === undefined) return await this.#absentOrThrow(path, file);
      try {
        const { start, end } = rangeBounds(range, open.stats.size);
        const bytes = await this.#read(open, path, start, end);
        const { size } = open.stats;
        const storeTimeMs = this.#clock.nowMs();
        return { bytes, size, etag: fileEtag(open.stats), storeTimeMs, metadata: NO_METADATA };
      } finally {
        this.#readers.release(open, range !== undefined);
      }
    } catch (error) {
      return this.#absentOrThrow(path, file, error);
    }
  }

  async head(path: string, options?: CallOptions): Promise<ObjectHead | undefined> {
    const file = this.#fileOf(path);
    checkSignal(this.name, path, options);
    const stats = await this.#fileAt(path, file);
    return (
      stats && {
        size: stats.size,
        etag: fileEtag(stats),
        lastModifiedMs: Math.floor(stats.mtimeMs),
        storeTimeMs: this.#clock.nowMs(),
        metadata: NO_METADATA,
      }
    );
  }

  openFiles(): number {
    return this.#readers.count;
  }

  /** Of the directory of `prefix`, or of the first one above it that is there. */
  async space(prefix: string): Promise<StoreSpace | undefined> {
    for (let at = resolve(this.#root, `./${prefix}`); ; at = dirname(at)) {
      try {
        const { bsize, blocks, bavail } = await this.#files.statfs(at);
        return { freeBytes: bsize * bavail, sizeBytes: bsize * blocks };
      } catch (error) {
        if (errnoOf(error) === 'ENOSYS') return undefined;
        if (errnoOf(error) !== 'ENOENT' || at === dirname(at)) throw fileError(this.name, prefix, error);
      }
    }
  }

  async put(path: string, bytes: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const target = this.#fileOf(path);
    checkSignal(this.name, path, options);
    this.#hasWritten = true;
    return this.#publish(path, target, options, (notBeforeMs) =>
      this.#writeTemporary(path, target, bytes, notBeforeMs),
    );
  }

  /** The bytes go to the temporary file of the object as they come. */
  upload(path: string, options: UploadOptions): ObjectUpload {
    const target = this.#fileOf(path);
    this.#hasWritten = true;
    let file: OpenTemporary | undefined;
    const opened = async () => {
      file ??= await this.#writing(path, target, () => this.#writer.openTemporary(target));
      return file;
    };
    const discard = async () => {
      if (file?.isClosed === false) await this.#writer.discard(file);
    };
    return uploadOf(this.name, path, options, {
      write: async (part) => {
        const open = await opened();
        await this.#writing(path, target, () => this.#writer.append(open, part));
      },
      complete: async () => {
        const open = await opened();
        const finish = (notBeforeMs: number) =>
          this.#writing(path, target, () => this.#writer.finish(open, notBeforeMs));
        try {
          return await this.#publish(path, target, options, finish);
        } finally {
          await discard();
        }
      },
      discard,
    });
  }

  /** Gives the bytes of a temporary file, which `write` makes when it is needed, their name. */
  async #publish(
    path: string,
    target: string,
    options: ObjectWriteOptions,
    write: (notBeforeMs: number) => Promise<TemporaryFile>,
  ): Promise<PutOutcome> {
    const { condition } = options;
    if (condition === 'if-absent') return this.#create(path, target, await write(0), options);
    const old = await this.#fileAt(path, target);
    const notBeforeMs = old === undefined ? 0 : old.mtimeMs + 1;
    if (condition === 'any') return this.#replace(path, target, await write(notBeforeMs), options);
    if (old === undefined || !sameEtag(fileEtag(old), condition.ifMatch)) return REFUSED;
    return this.#replaceMatching(path, target, await write(notBeforeMs), condition.ifMatch, options);
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    const folder = topFolder(prefix);
    if (folder !== '') checkPath(this.name, folder.slice(0, -1));
    try {
      const removeOlderThanMs = this.#hasWritten ? this.#clock.nowMs() - 24 * 3600 * 1000 : undefined;
      for await (const object of listDirectory(
        this.#files,
        this.#root,
        prefix,
        options.startAfter,
        removeOlderThanMs,
      )) {
        checkSignal(this.name, prefix, options);
        object.storeTimeMs = this.#clock.nowMs();
        yield object;
      }
    } catch (error) {
      if (!isNowhere(error)) throw isDbError(error) ? error : fileError(this.name, prefix, error);
      const place = folder === '' ? this.#root : this.#placeOf(folder.slice(0, -1));
      const obstacle = await this.#obstacleAt(prefix, place, 'directory');
      // Where an object is stored, nothing is stored below it.
      if (obstacle !== undefined && !obstacle.isFile) throw this.#inTheWay(prefix, obstacle, error);
      if (errnoOf(error) !== 'ENOENT') await this.#assertRoot(prefix, error);
    }
  }

  /** Temporary files: of uploads and puts under way, and of processes that died. */
  async listUploads(prefix: string, options?: CallOptions): Promise<UnfinishedUpload[]> {
    checkSignal(this.name, prefix, options);
    const found: UnfinishedUpload[] = [];
    try {
      for await (const { path: file, lastModifiedMs } of listTemporaries(this.#files, this.#root, prefix)) {
        checkSignal(this.name, prefix, options);
        found.push({ ...temporaryOf(file), startedMs: lastModifiedMs, storeTimeMs: this.#clock.nowMs() });
        if (found.length === MAX_UPLOADS) break;
      }
    } catch (error) {
      if (!isNowhere(error)) throw isDbError(error) ? error : fileError(this.name, prefix, error);
    }
    return found.sort((a, b) => comparePaths(a.path, b.path));
  }

  async abortUpload(upload: Pick<UnfinishedUpload, 'path' | 'uploadId'>, options?: CallOptions): Promise<void> {
    const { path, uploadId } = upload;
    checkPath(this.name, path);
    checkSignal(this.name, path, options);
    const file = temporaryFileOf(path, uploadId);
    if (file === undefined) {
      const message = `${this.name}: ${describeValue(uploadId)} names no upload of ${path}.`;
      throw new InvalidArgumentError('BAD_ARGUMENT', message, { details: { store: this.name, path } });
    }
    try {
      await this.#files.unlink(this.#placeOf(file));
    } catch (error) {
      if (!isNowhere(error)) throw fileError(this.name, path, error);
    }
  }

  async delete(paths: string[], options?: CallOptions): Promise<void> {
    const targets = paths.map((path) => this.#fileOf(path));
    checkSignal(this.name, paths[0] ?? '', options);
    const changed = new Set<string>();
    await mapLimit(targets, 16, async (target, i) => {
      this.#readers.forget(target);
      try {
        await this.#files.unlink(target);
        changed.add(dirname(target));
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || (await this.#isDirectory(target))) return;
        await this.#absentOrThrow(paths[i], target, error);
      }
    });
    for (const directory of changed) await this.#syncOrThrow(paths[0], directory);
  }

  /**
   * Closes the files that are kept open for reading; reads that are under way end first. The store stays usable, but opens and
   * closes a file for each read from then on.
   */
  async close(): Promise<void> {
    this.#readers.close();
  }

  async #create(path: string, target: string, temporary: TemporaryFile, options: CallOptions): Promise<PutOutcome> {
    try {
      checkSignal(this.name, path, options);
      try {
        await this.#files.link(temporary.path, target);
      } catch (error) {
        if (!(await this.#isOurs(path, target, temporary, error))) return REFUSED;
      }
      const outcome = await this.#syncedOutcome(path, target, temporary.stats);
      return temporary.placeWasGone && outcome.outcome === 'applied' ? { ...outcome, placeWasGone: true } : outcome;
    } finally {
      await this.#writer.removeTemporary(temporary.path);
    }
  }

  /** After a failed `link`: ours nevertheless, another writer's (false), or an error. */
  async #isOurs(path: string, target: string, temporary: TemporaryFile, error: unknown): Promise<boolean> {
    const code = errnoOf(error);
    if (code !== undefined && NO_LINKS.has(code)) {
      const message = `the file system has no hard links (${code}), which exclusive creation needs`;
      throw storeError({ cls: 'unsupported', message, store: this.name, path, providerCode: code, cause: error });
    }
    if (code !== 'EEXIST') throw fileError(this.name, path, error);
    const there = await this.#fileAt(path, target);
    if (there === undefined) return false;
    if (there.ino === temporary.stats.ino && there.dev === temporary.stats.dev) return true;
    // A refused caller will rely on what is there.
    if (this.#writer.isUnsynced(dirname(target))) await this.#syncOrThrow(path, dirname(target));
    return false;
  }

  async #replaceMatching(
    path: string,
    target: string,
    temporary: TemporaryFile,
    ifMatch: string,
    options: CallOptions,
  ): Promise<PutOutcome> {
    let isReplaced = false;
    try {
      const lock = await this.#lock(path, target, options);
      try {
        const now = await this.#fileAt(path, target);
        if (now === undefined || !sameEtag(fileEtag(now), ifMatch)) return REFUSED;
        if (!(await lock.isHeld())) throw this.#lockLost(path);
        isReplaced = true;
        return await this.#replace(path, target, temporary, options);
      } finally {
        await lock.release();
      }
    } finally {
      if (!isReplaced) await this.#writer.removeTemporary(temporary.path);
    }
  }

  async #lock(path: string, target: string, options: CallOptions) {
    checkSignal(this.name, path, options);
    try {
      const temporaryPath = () => this.#writer.temporaryPath(target);
      const lock = await lockFile(this.#files, this.#clock, target, temporaryPath, options.signal);
      if (lock !== undefined) return lock;
    } catch (error) {
      checkSignal(this.name, path, options);
      throw fileError(this.name, path, error);
    }
    throw this.#lockLost(path);
  }

  #lockLost(path: string): DbError {
    return storeError({ cls: 'conflict-in-flight', message: 'another writer holds its lock', store: this.name, path });
  }

  async #replace(path: string, target: string, temporary: TemporaryFile, options: CallOptions): Promise<PutOutcome> {
    try {
      checkSignal(this.name, path, options);
      this.#readers.forget(target);
      await this.#files.rename(temporary.path, target);
    } catch (error) {
      await this.#writer.removeTemporary(temporary.path);
      checkSignal(this.name, path, options);
      const obstacle = await this.#obstacleAt(path, target);
      throw obstacle === undefined ? fileError(this.name, path, error) : this.#inTheWay(path, obstacle, error);
    }
    return this.#syncedOutcome(path, target, temporary.stats);
  }

  /** The object is visible; if its name cannot be made durable, it is unknown whether it stays. */
  async #syncedOutcome(path: string, target: string, stats: Stats): Promise<PutOutcome> {
    try {
      await this.#writer.syncDirectory(dirname(target));
    } catch (error) {
      return { outcome: 'unknown', cause: fileError(this.name, path, error) };
    }
    return { outcome: 'applied', attempt: 'now', etag: fileEtag(stats), storeTimeMs: this.#clock.nowMs() };
  }

  async #syncOrThrow(path: string, directory: string): Promise<void> {
    try {
      await this.#writer.syncDirectory(directory);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw fileError(this.name, path, error);
    }
  }

  #writeTemporary(path: string, target: string, bytes: Uint8Array, notBeforeMs: number): Promise<TemporaryFile> {
    return this.#writing(path, target, () => this.#writer.writeTemporary(target, bytes, notBeforeMs));
  }

  async #writing<T>(path: string, target: string, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      throw await this.#writeError(path, target, error);
    }
  }

  async #writeError(path: string, target: string, error: unknown): Promise<DbError> {
    const isBlocked =
      isNowhere(error) || (errnoOf(error) === 'EEXIST' && (error as { syscall?: string }).syscall === 'mkdir');
    if (!isBlocked) return fileError(this.name, path, error);
    const obstacle = await this.#obstacleAt(path, target);
    if (obstacle !== undefined) return this.#inTheWay(path, obstacle, error);
    return (await this.#rootError(path, error)) ?? fileError(this.name, path, error);
  }

  async #assertRoot(path: string, error: unknown): Promise<void> {
    const fault = await this.#rootError(path, error);
    if (fault !== undefined) throw fault;
  }

  /** The error to throw if the store's own directory is not one, or cannot be made. */
  async #rootError(path: string, error: unknown): Promise<DbError | undefined> {
    const stats = await this.#files.stat(this.#root).catch(() => undefined);
    if (stats?.isDirectory()) return undefined;
    const message = stats === undefined ? 'cannot be made' : 'is not a directory';
    const { name: store } = this;
    return storeError({ cls: 'missing', message: `${this.#root} ${message}`, store, path, cause: error });
  }

  async #obstacleAt(path: string, target: string, needed?: Obstacle['needed']): Promise<Obstacle | undefined> {
    try {
      return await obstacleAt(this.#files, this.#root, target, needed);
    } catch (error) {
      throw fileError(this.name, path, error);
    }
  }

  #inTheWay(path: string, obstacle: Obstacle, cause: unknown): DbError {
    return storeError({ cls: 'unsupported', message: obstacleText(obstacle), store: this.name, path, cause });
  }

  async #read(open: OpenFile, path: string, start: number, end: number): Promise<Uint8Array> {
    const length = end - start;
    if (length > bufferLimits.MAX_LENGTH) {
      const message = `${length} bytes are more than one buffer can hold`;
      throw storeError({ cls: 'unsupported', message, store: this.name, path });
    }
    const { buffer } = Buffer.allocUnsafeSlow(length);
    const bytes = new Uint8Array(buffer, 0, length);
    let done = 0;
    while (done < length) {
      const count = await this.#files.read(open.fd, bytes, done, Math.min(length - done, 1 << 30), start + done);
      if (count === 0) {
        const message = `the file ended ${length - done} bytes early: it was cut while it was read`;
        throw storeError({ cls: 'malformed-response', message, store: this.name, path });
      }
      done += count;
    }
    return bytes;
  }

  /** A path that leads nowhere is absent, unless something else is stored there, or the store's own directory is at fault. */
  async #absentOrThrow(path: string, target: string, error?: unknown): Promise<undefined> {
    if (error !== undefined && !isMaybeAbsent(error))
      throw isDbError(error) ? error : fileError(this.name, path, error);
    const obstacle = await this.#obstacleAt(path, target);
    if (obstacle !== undefined) throw this.#inTheWay(path, obstacle, error);
    if (errnoOf(error) === 'ENOTDIR') await this.#assertRoot(path, error);
    return undefined;
  }

  /** The file that is the object; undefined: the place is free. Rejects if something else is stored there. */
  async #fileAt(path: string, target: string): Promise<Stats | undefined> {
    let reason: unknown;
    try {
      const stats = await this.#files.stat(target);
      if (stats.isFile()) return stats;
    } catch (error) {
      reason = error;
    }
    return this.#absentOrThrow(path, target, reason);
  }

  async #isDirectory(target: string): Promise<boolean> {
    const stats = await this.#files.lstat(target).catch(() => undefined);
    return stats?.isDirectory() === true;
  }

  #fileOf(path: string): string {
    checkPath(this.name, path);
    if (!path.includes('#') || !path.split('/').some(isOwnFileName)) return this.#placeOf(path);
    const message = `${this.name}: the name ${JSON.stringify(path)} is kept for temporary files of the store.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message, { details: { store: this.name, path } });
  }

  #placeOf(path: string): string {
    return this.#root === '/' ? `/${path}` : `${this.#root}/${path}`;
  }
}

/** What a system answers for a path without a file: a socket cannot be opened at all. */
function isMaybeAbsent(error: unknown): boolean {
  return isNowhere(error) || errnoOf(error) === 'ENXIO';
}
