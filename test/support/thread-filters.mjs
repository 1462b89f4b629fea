// Filters and operators that say where they are asked, and filters that no thread survives.
import { isMainThread } from 'node:worker_threads';

/** Drops everything, on a thread only. */
export const onThreads = { decide: () => (isMainThread ? 'keep' : 'drop') };

export const exiting = {
  decide() {
    if (!isMainThread) process.exit(7);
    return 'keep';
  },
};

/** A failure that no call can reject with. */
export const failingLater = {
  decide() {
    if (!isMainThread)
      process.nextTick(() => {
        throw new Error('too late');
      });
    return 'keep';
  },
};

export const endless = {
  decide() {
    while (!isMainThread);
    return 'keep';
  },
};

/** Adds where it was asked: m on the main thread, t on another one. */
export const signing = {
  mergeBatch(_, existing, operands) {
    return Buffer.concat([existing ?? Buffer.alloc(0), ...operands, Buffer.from(isMainThread ? 'm' : 't')]);
  },
  merge: () => new Uint8Array(0),
};
