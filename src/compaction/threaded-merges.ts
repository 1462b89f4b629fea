/**
 * Merges on threads of their own: the rows are there, all I/O stays with the owner. On the owner's thread in slices where no thread can start,
 * and where the code of an application is needed that only the owner's thread has. A merge whose thread dies is interrupted, and its job
 * goes on in another thread (thread-pool.ts).
 *
 * 1. A stretch leaves this thread with its memory, if it may; parts come with theirs.
 */
import { abortError, onAbort } from '../common/abort.ts';
import { present } from '../common/assert.ts';
import { type Deferred, deferred } from '../common/async.ts';
import { errorFromJson } from '../common/error-json.ts';
import type { MergeRoom } from './job-memory.ts';
import { type MergeEvent, type MergeHost, MergeInterrupted, type MergeStart, type Merges } from './merge-host.ts';
import { type FromThread, memoryOf, PARTS_AHEAD, type ToThread } from './merge-messages.ts';
import type { BlockStretch } from './stretch-cursor.ts';
import { closedError, type PooledWork, ThreadEnded, type ThreadPlace, type ThreadPool } from './thread-pool.ts';

export interface ThreadedMergesOptions {
  threads: ThreadPool;
  /** Where no thread can merge. */
  slices: Merges;
}

export class ThreadedMerges implements Merges {
  readonly room: MergeRoom = { stretches: 3, parts: 1 + PARTS_AHEAD };
  readonly #options: ThreadedMergesOptions;

  constructor(options: ThreadedMergesOptions) {
    this.#options = options;
  }

  async start(start: MergeStart): Promise<MergeHost> {
    const { slices, threads } = this.#options;
    if (!fitsThread(start)) return slices.start(start);
    const { filterModule, operatorModule, signal } = start;
    const hasForeignCode = filterModule !== undefined || operatorModule !== undefined;
    const place = await threads.place(hasForeignCode).catch((error) => {
      throw interruptedBy(error);
    });
    if (place === undefined) return slices.start(start);
    if (signal.aborted) {
      place.release();
      throw abortError(signal);
    }
    const host = new ThreadHost(place, start);
    place.attach(host);
    return host;
  }
}

/** A thread that ends takes no job with it. */
function interruptedBy(error: Error): Error {
  return error instanceof ThreadEnded ? new MergeInterrupted('thread', error.cause) : error;
}

/** Functions of an application stay on its thread. An operator is needed only where operands are. */
function fitsThread({ filter, filterModule, operator, operatorModule, needsOperator }: MergeStart): boolean {
  const hasFilter = filter === undefined || filterModule !== undefined;
  return hasFilter && (operator === undefined || operatorModule !== undefined || !needsOperator);
}

/** A merge on a thread, as its owner has it. */
class ThreadHost implements MergeHost, PooledWork {
  readonly #place: ThreadPlace;
  readonly #leaveSignal: () => void;
  #events: MergeEvent[] = [];
  #failure: Error | undefined;
  #wait: Deferred<MergeEvent> | undefined;
  /** The owner has a part that it was given last. */
  #hasPart = false;

  constructor(place: ThreadPlace, start: MergeStart) {
    const { settings, seals, codecs, filterModule: filter, operatorModule, signal } = start;
    this.#place = place;
    this.#leaveSignal = onAbort(signal, () => this.fail(abortError(signal)));
    const operator = operatorModule ?? (start.operator && 'elsewhere');
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
    this.#place.noteWaiting();
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
    this.#place.release();
  }

  /** What the thread says. */
  take(message: FromThread): void {
    if (message.kind === 'failed') this.fail(errorFromJson(message.error));
    else if (message.kind === 'operator') this.fail(new MergeInterrupted('operator'));
    else if (message.kind === 'events') {
      this.#events.push(...message.events);
      const wait = this.#takeWait();
      wait?.resolve(present(this.#events.shift(), 'a message has events'));
    }
  }

  fail(error: Error): void {
    this.#failure ??= interruptedBy(error);
    this.#takeWait()?.reject(this.#failure);
  }

  /** Of two messages that come at once the second must not settle what the first has settled. */
  #takeWait(): Deferred<MergeEvent> | undefined {
    const wait = this.#wait;
    this.#wait = undefined;
    if (wait !== undefined) this.#place.noteWaiting();
    return wait;
  }

  #post(message: MessageOfMerge, memory: ArrayBuffer[] = []): void {
    this.#place.post({ ...message, work: this.#place.id } as ToThread, memory);
  }
}

type WithoutWork<T> = T extends unknown ? Omit<T, 'work'> : never;
type MessageOfMerge = WithoutWork<ToThread>;
