/**
 * Warnings about what is done with a handle and about where it runs, not about its data: one line in the log for each kind, however often
 * it happens, a message on `shaledb:warning`, and a count.
 */
import { WARNING_CHANNEL } from './channels.ts';
import type { Logger } from './logger.ts';

/** What a warning is about: something was dropped open, space is low, or the event loop stood still. */
export type WarningCode = 'handle-dropped' | 'scan-dropped' | 'snapshot-dropped' | 'space-low' | 'loop-stalled';

export class Warnings {
  readonly #logger: Logger;
  readonly #store: string;
  readonly #counts = new Map<WarningCode, number>();
  readonly #given = new Set<WarningCode>();

  constructor(logger: Logger, store: string) {
    this.#logger = logger;
    this.#store = store;
  }

  /** How often each has happened. */
  get counts(): ReadonlyMap<WarningCode, number> {
    return this.#counts;
  }

  /** Counts, and says it if it was not said before. */
  give(code: WarningCode, message: string, details: Record<string, unknown> = {}): void {
    this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    if (this.#given.has(code)) return;
    this.#given.add(code);
    this.#logger.warn(message, { code, store: this.#store, ...details });
    if (WARNING_CHANNEL.hasSubscribers) WARNING_CHANNEL.publish({ store: this.#store, code, message, details });
  }

  /** The reason is gone: when it comes back it is said again. */
  over(code: WarningCode): void {
    this.#given.delete(code);
  }
}
