/**
 * A lock beside a file, for compare-and-swap among processes of one machine: a file of its own name, created exclusively.
 *
 * A process may die with the lock, so a lock older than `STALE_MS` is broken. A holder therefore acts only within
 * `HOLD_MS`, far less than that, and checks that the lock is still its own right before it acts.
 */
import { type Clock, sleep } from '../common/clock.ts';
import { errnoOf, type LocalFiles } from './local-files.ts';
import { lockFileName } from './local-names.ts';

const STALE_MS = 30_000;
const HOLD_MS = 10_000;
const WAIT_MS = 5000;
const POLL_MS = 5;

export interface FileLock {
  /** Whether the holder may still act. */
  isHeld(): Promise<boolean>;
  release(): Promise<void>;
}

/** The lock of `target`; `undefined` if another holds it for longer than 5 s. */
export async function lockFile(
  files: LocalFiles,
  clock: Clock,
  target: string,
  temporaryPath: () => string,
  signal?: AbortSignal,
): Promise<FileLock | undefined> {
  const path = lockFileName(target);
  const startMs = clock.monotonicMs();
  for (;;) {
    const inode = await createExclusively(files, path);
    if (inode !== undefined) return heldLock(files, clock, path, inode);
    await breakIfStale(files, clock, path, temporaryPath());
    if (clock.monotonicMs() - startMs >= WAIT_MS) return undefined;
    await sleep(clock, POLL_MS, signal);
  }
}

async function createExclusively(files: LocalFiles, path: string): Promise<number | undefined> {
  try {
    const fd = await files.open(path, 'wx');
    const inode = files.fstat(fd).ino;
    files.close(fd);
    return inode;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return undefined;
    throw error;
  }
}

function heldLock(files: LocalFiles, clock: Clock, path: string, inode: number): FileLock {
  const sinceMs = clock.monotonicMs();
  return {
    async isHeld() {
      return clock.monotonicMs() - sinceMs < HOLD_MS && (await inodeOf(files, path)) === inode;
    },
    async release() {
      if ((await inodeOf(files, path)) === inode) await files.unlink(path).catch(() => undefined);
    },
  };
}

/** Moves a stale lock away; if another process was faster and a fresh one was moved, it is put back. */
async function breakIfStale(files: LocalFiles, clock: Clock, path: string, aside: string): Promise<void> {
  const stats = await files.stat(path).catch(() => undefined);
  if (stats === undefined || clock.nowMs() - stats.mtimeMs < STALE_MS) return;
  try {
    await files.rename(path, aside);
    if ((await inodeOf(files, aside)) !== stats.ino) await files.link(aside, path);
  } catch {
    // Another process breaks it at the same time.
  }
  await files.unlink(aside).catch(() => undefined);
}

async function inodeOf(files: LocalFiles, path: string): Promise<number | undefined> {
  const stats = await files.stat(path).catch(() => undefined);
  return stats?.ino;
}
