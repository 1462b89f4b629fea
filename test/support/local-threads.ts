/**
 * Threads that are none: the loop of a thread on this one, on virtual time. Messages are cloned with the memory that goes over, as between
 * threads; the thread can be ended at any message, and be slow to take them.
 */
import type { Clock } from '../../src/common/clock.ts';
import type { FromThread, ToThread } from '../../src/compaction/merge-messages.ts';
import type { StartThread } from '../../src/compaction/thread.ts';
import { ThreadLoop } from '../../src/compaction/thread-loop.ts';

export class LocalThreads {
  readonly #clock: Clock;
  started = 0;
  /** Memory that threads have freed. */
  bytesLetGo = 0;
  ended = 0;
  /** Whether something waits, by thread, in the order in which they were started. */
  readonly awake: boolean[] = [];
  /** Kinds of messages, with the events of those that have some. */
  readonly said: string[] = [];
  /** Called before a message comes in; true: the thread dies of it. */
  diesOf: (thread: number, message: ToThread | FromThread) => boolean = () => false;
  cannotStart = false;
  /** It has started, and is gone before anything is asked of it. */
  diesAtOnce = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get running(): number {
    return this.started - this.ended;
  }

  readonly start: StartThread = async (listener) => {
    await this.#clock.yieldToLoop();
    if (this.cannotStart) throw new Error('there is no thread for you');
    const number = this.started++;
    this.awake[number] = false;
    let isRunning = true;
    const over = () => {
      if (isRunning) this.ended++;
      isRunning = false;
    };
    const deliver = (message: ToThread | FromThread, take: () => void) => {
      if (!isRunning) return;
      if (this.diesOf(number, message)) {
        over();
        listener.onEnded(new Error(`thread ${number} fell over ${message.kind}`));
      } else take();
    };
    if (this.diesAtOnce) {
      over();
      listener.onEnded(new Error(`thread ${number} fell over nothing`));
    }
    const later = (work: () => void) => void this.#clock.yieldToLoop().then(work);
    const loop = new ThreadLoop({
      clock: this.#clock,
      letGo: (memory) => {
        for (const { byteLength } of memory) this.bytesLetGo += byteLength;
      },
      post: (message, memory) => {
        const sent = structuredClone(message, { transfer: memory });
        this.said.push(sent.kind === 'events' ? sent.events.map(({ kind }) => kind).join(' ') : sent.kind);
        later(() => deliver(sent, () => listener.onMessage(sent)));
      },
    });
    return {
      post: (message, memory) => {
        const sent = structuredClone(message, { transfer: memory });
        later(() => deliver(sent, () => loop.take(sent)));
      },
      keepAlive: (on) => {
        this.awake[number] = on;
      },
      end: async () => over(),
      leave: async () => over(),
    };
  };
}
