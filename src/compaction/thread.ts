/**
 * A thread as the owner of merges has it: started from its file, spoken to, and ended. The only file that starts threads.
 *
 * In a bundle of one file there is no file for threads beside it, unless it was put there (docs/options.md): then none can start, and that
 * is no failure.
 */
import { Worker } from 'node:worker_threads';
import { type FromThread, READY, type ToThread } from './merge-messages.ts';

/** A thread that runs. */
export interface MergeThread {
  post(message: ToThread, memory: ArrayBuffer[]): void;
  /** Whether it keeps the process alive; at first it does not. */
  keepAlive(on: boolean): void;
  /** Resolves when it has ended, whatever it was at. */
  end(): Promise<void>;
  /** Its owner needs it no more, and it works on nothing: it may have another owner, or ends. */
  leave(): Promise<void>;
}

export interface ThreadListener {
  onMessage(message: FromThread): void;
  /** It has ended by itself, once, with what is known of the reason. Not before `startThread` has resolved, nor after `end`. */
  onEnded(cause: Error): void;
}

/** Rejects if none can be started. */
export type StartThread = (listener: ThreadListener) => Promise<MergeThread>;

const FILE = './merge-thread.js';

/** Where the file of threads is. A name that is no literal: bundlers leave it alone. Throws where there is no such place. */
function threadFile(): URL {
  // A bundle in CommonJS form does not know its own place.
  const here = import.meta.url as string | undefined;
  if (here === undefined) throw new Error('this program is a bundle in CommonJS form, which has no file for threads');
  return new URL(FILE, here);
}

/** Starts a thread from that file. */
export const startThread: StartThread = async (listener) => startFrom(threadFile(), listener);

/** The same from another file that runs merge-thread. */
function startFrom(file: URL, listener: ThreadListener): Promise<MergeThread> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(file, { name: 'shaledb merge' });
    let isRunning = false;
    let isEnded = false;
    let failure: Error | undefined;
    const end = async () => {
      isEnded = true;
      await worker.terminate();
    };
    const thread: MergeThread = {
      post: (message, memory) => worker.postMessage(message, memory),
      keepAlive: (on) => void (on ? worker.ref() : worker.unref()),
      end,
      leave: end,
    };
    worker.on('message', (message: FromThread | typeof READY) => {
      if (message !== READY) listener.onMessage(message);
      else {
        isRunning = true;
        worker.unref();
        resolve(thread);
      }
    });
    worker.on('error', (error) => {
      failure ??= error instanceof Error ? error : new Error(String(error));
    });
    worker.on('messageerror', (error) => {
      failure ??= error;
      void worker.terminate();
    });
    worker.once('exit', (code) => {
      const cause = failure ?? new Error(`the thread has ended with exit code ${code}`);
      if (!isRunning) reject(cause);
      else if (!isEnded) listener.onEnded(cause);
    });
  });
}
