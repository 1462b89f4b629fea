/**
 * Threads of the process whose owners need them no more: for a short time they wait for the next owner, another database or another call,
 * because a new thread begins with code that is not compiled (rfcs/0006-compaction.md).
 *
 * 1. A thread has one owner at a time; what it says while it has none is heard by nobody.
 * 2. Work has a number of its own in the whole process: what a thread says late of the work of an owner before is not taken for another's.
 * 3. A spare thread does not keep the process alive, and is ended THREAD_IDLE_MS after its last owner.
 */
import { ignoreRejection } from '../common/async.ts';
import type { Clock, Timer } from '../common/clock.ts';
import type { MergeThread, StartThread, ThreadListener } from './thread.ts';
import { THREAD_IDLE_MS } from './thread-pool.ts';

export interface SpareThreadsOptions {
  clock: Clock;
  startThread: StartThread;
  /** How many may be spare at a time. */
  most: number;
}

interface KeptThread {
  thread: MergeThread;
  owner: ThreadListener | undefined;
  idle: Timer | undefined;
}

export class SpareThreads {
  readonly #options: SpareThreadsOptions;
  /** The one that had an owner last is the last. */
  #spare: KeptThread[] = [];
  #lastWork = 0;

  constructor(options: SpareThreadsOptions) {
    this.#options = options;
  }

  /** How many are spare. */
  get count(): number {
    return this.#spare.length;
  }

  /** A number for a piece of work. */
  readonly newWork = (): number => ++this.#lastWork;

  /** Gives a spare thread, or starts one. */
  readonly start: StartThread = async (listener) => {
    const spare = this.#spare.pop();
    if (spare === undefined) return this.#startOne(listener);
    spare.idle?.cancel();
    spare.owner = listener;
    return this.#lent(spare);
  };

  async #startOne(listener: ThreadListener): Promise<MergeThread> {
    // It says nothing before it is there.
    const said: ThreadListener = {
      onMessage: (message) => kept.owner?.onMessage(message),
      onEnded: (cause) => {
        this.#remove(kept);
        kept.owner?.onEnded(cause);
      },
    };
    const kept: KeptThread = { thread: await this.#options.startThread(said), owner: listener, idle: undefined };
    return this.#lent(kept);
  }

  #lent(kept: KeptThread): MergeThread {
    const { thread } = kept;
    return {
      post: (message, memory) => thread.post(message, memory),
      keepAlive: (on) => thread.keepAlive(on),
      end: () => thread.end(),
      leave: () => this.#keep(kept),
    };
  }

  async #keep(kept: KeptThread): Promise<void> {
    const { clock, most } = this.#options;
    kept.owner = undefined;
    if (this.#spare.length >= most) return kept.thread.end();
    kept.thread.keepAlive(false);
    this.#spare.push(kept);
    const leave = () => {
      this.#remove(kept);
      ignoreRejection(kept.thread.end());
    };
    kept.idle = clock.setTimer(THREAD_IDLE_MS, leave, false);
  }

  #remove(kept: KeptThread): void {
    kept.idle?.cancel();
    this.#spare = this.#spare.filter((other) => other !== kept);
  }
}
