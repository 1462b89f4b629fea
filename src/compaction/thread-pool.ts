/**
 * The threads of one owner: how many there are, which of them gets the next piece of work, and how long they live.
 *
 * ```
 * work    a thread without any, else a new one up to `most`, else the one with the fewest pieces
 * idle    ended THREAD_IDLE_MS after its last piece; a thread keeps the process alive only while its owner waits for something of it
 * death   its work ends with that, and a new thread is started for what comes next
 * ```
 *
 * 1. After `close` the pool has no thread and starts none. A thread that had work then has ended; one without work may have another owner.
 * 2. Where one could not start, there are no more than run by then, from then on; that is said once.
 * 3. A thread that has run code of the application is its own from then on: that code may never return, and what waits for nothing but
 *    code of this package must not wait for it.
 */
import { ignoreRejection } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import type { Clock, Timer } from '../common/clock.ts';
import { ClosedError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { FromThread, ToThread } from './merge-messages.ts';
import type { MergeThread, StartThread } from './thread.ts';

/** How long a thread without work waits for some. */
export const THREAD_IDLE_MS = 30_000;

/** A thread has ended by itself; `cause` says what is known of the reason. */
export class ThreadEnded extends Error {
  constructor(cause: Error) {
    super(`a thread has ended: ${cause.message}`, { cause });
  }
}

/** A piece of work on a thread, as the pool knows it. */
export interface PooledWork {
  /** Whether its owner waits for something of it now. */
  readonly isWaiting: boolean;
  /** What the thread says to it. */
  take(message: FromThread): void;
  /** It cannot go on: `ThreadEnded`, or the pool was closed. */
  fail(error: Error): void;
}

/** A place on a thread for one piece of work. */
export interface ThreadPlace {
  /** Names the work in messages. */
  readonly id: number;
  post(message: ToThread, memory: ArrayBuffer[]): void;
  /** From now on `work` gets what the thread says. */
  attach(work: PooledWork): void;
  /** What its owner waits for has changed: whether the process stays alive for it. */
  noteWaiting(): void;
  /** Nothing more is asked of the thread for this work. */
  release(): void;
}

export interface ThreadPoolOptions {
  clock: Clock;
  logger: Logger;
  startThread: StartThread;
  /** Numbers work, where threads have several owners one after the other; default: from 1 on. */
  newWork?: () => number;
  /** How many threads there may be. */
  most: number;
}

/** One of the threads, from the moment that it is started. */
interface PooledThread {
  started: Promise<MergeThread>;
  /** What it has, or gets when it has started. */
  work: Map<number, PooledWork | undefined>;
  /** It has run code of the application. */
  hasForeignCode: boolean;
  idle: Timer | undefined;
  /** It has ended by itself. */
  cause: Error | undefined;
}

export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #threads = new Set<PooledThread>();
  #lastId = 0;
  #isClosed = false;
  #most: number;

  constructor(options: ThreadPoolOptions) {
    this.#options = options;
    this.#most = options.most;
  }

  /** Those that run or are being started. */
  get threadCount(): number {
    return this.#threads.size;
  }

  /**
   * A place on a thread, which is started if that is needed; undefined: there is none for such work. Rejects with `ThreadEnded` if the
   * thread has ended before it could begin, and with `CLOSED`.
   * @param hasForeignCode whether the work runs code of the application
   */
  async place(hasForeignCode: boolean): Promise<ThreadPlace | undefined> {
    if (this.#isClosed) throw closedError();
    const pooled = this.#choose(hasForeignCode);
    if (pooled === undefined) return undefined;
    const id = this.#options.newWork?.() ?? ++this.#lastId;
    pooled.idle?.cancel();
    pooled.hasForeignCode ||= hasForeignCode;
    pooled.work.set(id, undefined);
    let thread: MergeThread;
    try {
      thread = await pooled.started;
    } catch (error) {
      this.#noteNoMore(pooled, error);
      return this.place(hasForeignCode);
    }
    if (this.#isClosed) throw closedError();
    if (pooled.cause !== undefined) throw new ThreadEnded(pooled.cause);
    return {
      id,
      post: (message, memory) => thread.post(message, memory),
      attach: (work) => void pooled.work.set(id, work),
      noteWaiting: () => thread.keepAlive(isWaitedFor(pooled)),
      release: () => this.#release(pooled, id),
    };
  }

  /** Ends all threads that have work, or that have run code of the application, whatever they are at; the others leave. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const threads = [...this.#threads];
    this.#threads.clear();
    await Promise.all(threads.map((pooled) => end(pooled, closedError())));
  }

  #choose(hasForeignCode: boolean): PooledThread | undefined {
    const usable = [...this.#threads].filter((pooled) => hasForeignCode || !pooled.hasForeignCode);
    const [least] = usable.sort((a, b) => a.work.size - b.work.size);
    const mayStart = this.#threads.size < this.#most;
    return mayStart && (least === undefined || least.work.size > 0) ? this.#startOne() : least;
  }

  #startOne(): PooledThread {
    const work: PooledThread['work'] = new Map();
    const started = this.#options.startThread({
      onMessage: (message) => work.get(message.work)?.take(message),
      onEnded: (cause) => {
        this.#threads.delete(pooled);
        pooled.cause = cause;
        pooled.idle?.cancel();
        for (const piece of work.values()) piece?.fail(new ThreadEnded(cause));
      },
    });
    ignoreRejection(started);
    const pooled: PooledThread = { started, work, hasForeignCode: false, idle: undefined, cause: undefined };
    this.#threads.add(pooled);
    return pooled;
  }

  #release(pooled: PooledThread, id: number): void {
    pooled.work.delete(id);
    if (pooled.work.size > 0 || !this.#threads.has(pooled)) return;
    const leave = () => {
      this.#threads.delete(pooled);
      ignoreRejection(pooled.started.then((thread) => thread.end()));
    };
    pooled.idle = this.#options.clock.setTimer(THREAD_IDLE_MS, leave, false);
  }

  #noteNoMore(pooled: PooledThread, error: unknown): void {
    // Other work that waited for the same thread has noted it.
    if (!this.#threads.delete(pooled)) return;
    this.#most = Math.min(this.#most, this.#threads.size);
    this.#options.logger.info('a thread for compaction cannot be started; it goes on with fewer, or in slices', {
      threads: this.#most,
      error: describeThrown(error),
    });
  }
}

async function end(pooled: PooledThread, error: Error): Promise<void> {
  pooled.idle?.cancel();
  const mayLeave = pooled.work.size === 0 && !pooled.hasForeignCode;
  for (const piece of pooled.work.values()) piece?.fail(error);
  const thread = await pooled.started.catch(() => undefined);
  await (mayLeave ? thread?.leave() : thread?.end());
}

function isWaitedFor({ work }: PooledThread): boolean {
  return [...work.values()].some((piece) => piece?.isWaiting === true);
}

/** What work ends with whose threads were ended. */
export function closedError(): ClosedError {
  return new ClosedError('CLOSED', 'The threads of compaction were ended.');
}
