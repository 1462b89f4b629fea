/**
 * Merges on threads of their own: the rows are there, all I/O stays with the owner. On the owner's thread in slices where no thread can start,
 * and where the code of an application is needed that only the owner's thread has.
 *
 * ```
 * start   a thread without work, else a new one up to `most`, else the one with the fewest merges
 * idle    ended THREAD_IDLE_MS after its last merge; a thread keeps the process alive only while its owner waits for it
 * death   its merges are interrupted, and their jobs go on in another thread
 * ```
 *
 * 1. A stretch leaves this thread with its memory, if it may; parts come with theirs.
 * 2. After `close` there is no thread and none is started.
 * 3. Where one could not start, there are no more than run by then, from then on; that is said once.
 */
import { abortError, onAbort } from '../common/abort.ts';
import { present } from '../common/assert.ts';
import { type Deferred, deferred, ignoreRejection } from '../common/async.ts';
import { describeThrown } from '../common/callbacks.ts';
import type { Clock, Timer } from '../common/clock.ts';
import { errorFromJson } from '../common/error-json.ts';
import { ClosedError } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { MergeRoom } from './job-memory.ts';
import { type MergeEvent, type MergeHost, MergeInterrupted, type MergeStart, type Merges } from './merge-host.ts';
import { type FromThread, memoryOf, PARTS_AHEAD, type ToThread } from './merge-messages.ts';
import type { BlockStretch } from './stretch-cursor.ts';
import type { MergeThread, StartThread } from './thread.ts';

/** How long a thread without work waits for some. */
export const THREAD_IDLE_MS = 30_000;

export interface ThreadedMergesOptions {
  clock: Clock;
  logger: Logger;
  startThread: StartThread;
  /** How many threads there may be. */
  most: number;
  /** Where no thread can merge. */
  slices: Merges;
}

/** One of the threads, from the moment that it is started. */
interface PooledThread {
  started: Promise<MergeThread>;
  /** Those that it has, or gets when it has started. */
  merges: Map<number, ThreadHost | undefined>;
  idle: Timer | undefined;
  /** It has ended by itself. */
  cause: Error | undefined;
}

export class ThreadedMerges implements Merges {
  readonly room: MergeRoom = { stretches: 3, parts: 1 + PARTS_AHEAD };
  readonly #options: ThreadedMergesOptions;
  readonly #threads = new Set<PooledThread>();
  #lastMerge = 0;
  #isClosed = false;
  #most: number;

  constructor(options: ThreadedMergesOptions) {
    this.#options = options;
    this.#most = options.most;
  }

  /** Those that run or are being started. */
  get threadCount(): number {
    return this.#threads.size;
  }

  async start(start: MergeStart): Promise<MergeHost> {
    const { slices } = this.#options;
    if (!fitsThread(start)) return slices.start(start);
    if (this.#isClosed) throw closedError();
    if (this.#most === 0) return slices.start(start);
    const pooled = this.#choose();
    const id = ++this.#lastMerge;
    pooled.idle?.cancel();
    pooled.merges.set(id, undefined);
    let thread: MergeThread;
    try {
      thread = await pooled.started;
    } catch (error) {
      this.#noteNoMore(pooled, error);
      return this.start(start);
    }
    if (this.#isClosed) throw closedError();
    if (pooled.cause !== undefined) throw new MergeInterrupted('thread', pooled.cause);
    if (start.signal.aborted) {
      this.#release(pooled, id);
      throw abortError(start.signal);
    }
    const release = () => this.#release(pooled, id);
    const host = new ThreadHost({ id, thread, start, release, isLast: () => !isWaitedFor(pooled) });
    pooled.merges.set(id, host);
    return host;
  }

  /** Ends all threads, whatever they are at. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const threads = [...this.#threads];
    this.#threads.clear();
    await Promise.all(threads.map((pooled) => end(pooled, closedError())));
  }

  // ---- threads

  #choose(): PooledThread {
    const byLoad = [...this.#threads].sort((a, b) => a.merges.size - b.merges.size);
    const [least] = byLoad;
    const mayStart = this.#threads.size < this.#most;
    return least === undefined || (least.merges.size > 0 && mayStart) ? this.#startOne() : least;
  }

  #startOne(): PooledThread {
    const merges: PooledThread['merges'] = new Map();
    const started = this.#options.startThread({
      onMessage: (message) => merges.get(message.merge)?.take(message),
      onEnded: (cause) => {
        this.#threads.delete(pooled);
        pooled.cause = cause;
        pooled.idle?.cancel();
        for (const host of merges.values()) host?.fail(new MergeInterrupted('thread', cause));
      },
    });
    ignoreRejection(started);
    const pooled: PooledThread = { started, merges, idle: undefined, cause: undefined };
    this.#threads.add(pooled);
    return pooled;
  }

  #release(pooled: PooledThread, id: number): void {
    pooled.merges.delete(id);
    if (pooled.merges.size > 0 || !this.#threads.has(pooled)) return;
    const leave = () => {
      this.#threads.delete(pooled);
      ignoreRejection(end(pooled, closedError()));
    };
    pooled.idle = this.#options.clock.setTimer(THREAD_IDLE_MS, leave, false);
  }

  #noteNoMore(pooled: PooledThread, error: unknown): void {
    // Another merge that waited for the same thread has noted it.
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
  for (const host of pooled.merges.values()) host?.fail(error);
  const thread = await pooled.started.catch(() => undefined);
  await thread?.end();
}

function isWaitedFor({ merges }: PooledThread): boolean {
  return [...merges.values()].some((host) => host?.isWaiting === true);
}

/** Functions of an application stay on its thread. An operator is needed only where operands are. */
function fitsThread({ filter, filterModule, operator, operatorModule, needsOperator }: MergeStart): boolean {
  const hasFilter = filter === undefined || filterModule !== undefined;
  return hasFilter && (operator === undefined || operatorModule !== undefined || !needsOperator);
}

function closedError(): ClosedError {
  return new ClosedError('CLOSED', 'The threads of compaction were ended.');
}

interface ThreadHostOptions {
  id: number;
  thread: MergeThread;
  start: MergeStart;
  /** The thread has one merge less. */
  release(): void;
  /** Nobody waits for another merge of the thread. */
  isLast(): boolean;
}

/** A merge on a thread, as its owner has it. */
class ThreadHost implements MergeHost {
  readonly #options: ThreadHostOptions;
  readonly #leaveSignal: () => void;
  #events: MergeEvent[] = [];
  #failure: Error | undefined;
  #wait: Deferred<MergeEvent> | undefined;
  /** The owner has a part that it was given last. */
  #hasPart = false;

  constructor(options: ThreadHostOptions) {
    const { settings, seals, codecs, filterModule: filter, operatorModule, signal } = options.start;
    this.#options = options;
    this.#leaveSignal = onAbort(signal, () => this.fail(abortError(signal)));
    const operator = operatorModule ?? (options.start.operator && 'elsewhere');
    this.#post({ kind: 'begin', start: { settings, seals, codecs: [...codecs.keys()], filter, operator } });
  }

  get isWaiting(): boolean {
    return this.#wait !== undefined;
  }

  async next(): Promise<MergeEvent> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#hasPart) this.#post({ kind: 'taken' });
    const event = this.#events.shift() ?? (await this.#nextSent());
    this.#hasPart = event.kind === 'part';
    return event;
  }

  #nextSent(): Promise<MergeEvent> {
    this.#wait = deferred();
    this.#options.thread.keepAlive(true);
    return this.#wait.promise;
  }

  feed(input: number, given: BlockStretch): void {
    const { mayMove, ...stretch } = given;
    if (mayMove === true) this.#post({ kind: 'feed', input, stretch }, memoryOf(stretch.bytes));
    else {
      const bytes = new Uint8Array(stretch.bytes);
      this.#post({ kind: 'feed', input, stretch: { ...stretch, bytes } }, memoryOf(bytes));
    }
  }

  end(input: number): void {
    this.#post({ kind: 'end', input });
  }

  heal(input: number, block: Parameters<MergeHost['heal']>[1]): void {
    this.#post({ kind: 'heal', input, block });
  }

  name(name: Parameters<MergeHost['name']>[0]): void {
    this.#post({ kind: 'name', name });
  }

  close(): void {
    this.#leaveSignal();
    this.#post({ kind: 'close' });
    this.#failure ??= closedError();
    this.#options.release();
  }

  /** What the thread says. */
  take(message: FromThread): void {
    if (message.kind === 'failed') this.fail(errorFromJson(message.error));
    else if (message.kind === 'operator') this.fail(new MergeInterrupted('operator'));
    else {
      this.#events.push(...message.events);
      const wait = this.#takeWait();
      wait?.resolve(present(this.#events.shift(), 'a message has events'));
    }
  }

  fail(error: Error): void {
    this.#failure ??= error;
    this.#takeWait()?.reject(this.#failure);
  }

  /** Of two messages that come at once the second must not settle what the first has settled. */
  #takeWait(): Deferred<MergeEvent> | undefined {
    const wait = this.#wait;
    this.#wait = undefined;
    if (wait !== undefined && this.#options.isLast()) this.#options.thread.keepAlive(false);
    return wait;
  }

  #post(message: MessageOfMerge, memory: ArrayBuffer[] = []): void {
    const { id: merge, thread } = this.#options;
    thread.post({ ...message, merge } as ToThread, memory);
  }
}

type WithoutMerge<T> = T extends unknown ? Omit<T, 'merge'> : never;
type MessageOfMerge = WithoutMerge<ToThread>;
