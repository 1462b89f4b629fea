/**
 * Opt-in shutdown: on SIGTERM or SIGINT every database of this process that asked for it is closed, then the signal takes its
 * usual course.
 *
 * One listener for each signal, whatever the number of databases: Node warns of a leak from eleven on, and only one who knows all
 * of them knows when the last is closed.
 *
 * Invariants:
 * 1. The process ends by the signal only after every database has closed or failed to.
 * 2. The listeners stay until then, so no other shutdown (of a second copy of this package, for example) takes this one for done.
 * 3. A second signal ends the process at once.
 */
import { assertThat } from '../common/assert.ts';
import type { Logger } from '../common/logger.ts';

const SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT'];

/** What of a database a shutdown needs. */
export interface Closable {
  /** Ends within its own deadline. */
  close(): Promise<void>;
}

/** What of the process a shutdown needs. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  removeListener(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  listenerCount(signal: NodeJS.Signals): number;
  /** Sends the signal to the process again. */
  raise(signal: NodeJS.Signals): void;
}

export class SignalShutdown {
  readonly #source: SignalSource;
  readonly #open = new Map<Closable, Logger>();
  /** Databases that close because of the signal. */
  #closing = 0;
  #signal: NodeJS.Signals | undefined;
  #isListening = false;

  constructor(source: SignalSource) {
    this.#source = source;
  }

  /** Returns a function that takes the database out again, for one that was closed otherwise. Harmless when called again. */
  add(db: Closable, logger: Logger): () => void {
    this.#open.set(db, logger);
    // An opening that was under way when the signal came.
    if (this.#signal !== undefined) this.#close(db, logger);
    else this.#listen();
    return () => {
      if (this.#open.delete(db) && this.#open.size === 0 && this.#signal === undefined) this.#stop();
    };
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    if (this.#signal !== undefined) {
      this.#raise(signal);
      return;
    }
    this.#signal = signal;
    for (const [db, logger] of [...this.#open]) this.#close(db, logger);
  };

  #close(db: Closable, logger: Logger): void {
    this.#closing++;
    db.close()
      .catch((error: unknown) => logger.error('the database could not be closed in time', { error: String(error) }))
      .finally(() => {
        this.#open.delete(db);
        assertThat(this.#open.size < this.#closing, 'a signal closes every database that is open (signals 1)');
        if (--this.#closing > 0 || this.#signal === undefined) return;
        const signal = this.#signal;
        this.#signal = undefined;
        this.#raise(signal);
      });
  }

  /** Other listeners decide themselves how the process ends. */
  #raise(signal: NodeJS.Signals): void {
    this.#stop();
    if (this.#source.listenerCount(signal) === 0) this.#source.raise(signal);
  }

  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    for (const signal of SIGNALS) this.#source.on(signal, this.#onSignal);
  }

  #stop(): void {
    this.#isListening = false;
    for (const signal of SIGNALS) this.#source.removeListener(signal, this.#onSignal);
  }
}

const OF_THIS_PROCESS = new SignalShutdown({
  on: (signal, listener) => process.on(signal, listener),
  removeListener: (signal, listener) => process.removeListener(signal, listener),
  listenerCount: (signal) => process.listenerCount(signal),
  raise: (signal) => process.kill(process.pid, signal),
});

/** Has the database closed when the process gets a signal to end. Returns a function that removes it again. */
export function closeOnSignals(db: Closable, logger: Logger): () => void {
  return OF_THIS_PROCESS.add(db, logger);
}
