/**
 * Free space of the file systems that a database is in: asked rarely, and only while something is done anyway.
 *
 * 1. It is asked when the handle is opened, and later when rows are flushed or metrics are read, at most once a minute: an idle
 *    database asks nothing and holds no timer.
 * 2. Nothing waits for the answer. What is known is that of the last one.
 * 3. Below the limit it is a warning once, and again after it was above.
 */
import { ignoreRejection } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/logger.ts';
import type { Warnings } from '../common/warnings.ts';
import type { LocalPlace } from '../lsm/manifest/database-stores.ts';
import type { StoreSpace } from '../store/object-store.ts';

const ASK_MS = 60_000;

export interface SpaceWatchOptions {
  clock: Pick<Clock, 'monotonicMs'>;
  logger: Logger;
  warnings: Warnings;
  /** 0: no warning. */
  limitBytes: number;
  places(): LocalPlace[];
}

export class SpaceWatch {
  readonly #o: SpaceWatchOptions;
  readonly #hasSpace: boolean;
  readonly #known = new Map<LocalPlace['storeType'], StoreSpace>();
  #askedMs = Number.NEGATIVE_INFINITY;
  #isFailureLogged = false;

  constructor(options: SpaceWatchOptions) {
    this.#o = options;
    this.#hasSpace = options.places().some(({ space }) => space !== undefined);
  }

  /** By the type of the store, as of the last answer. */
  get known(): ReadonlyMap<LocalPlace['storeType'], StoreSpace> {
    return this.#known;
  }

  /** Asks if it is time. Returns at once. */
  look(): void {
    if (!this.#hasSpace) return;
    const now = this.#o.clock.monotonicMs();
    if (now - this.#askedMs < ASK_MS) return;
    this.#askedMs = now;
    for (const place of this.#o.places()) ignoreRejection(this.#ask(place));
  }

  async #ask({ storeType, space }: LocalPlace): Promise<void> {
    const { limitBytes, logger, warnings } = this.#o;
    try {
      const found = await space?.();
      if (found === undefined) return;
      this.#known.set(storeType, found);
    } catch (error) {
      if (!this.#isFailureLogged) logger.info('the free space could not be read', { error: String(error) });
      this.#isFailureLogged = true;
      return;
    }
    const free = [...this.#known.values()].map(({ freeBytes }) => freeBytes);
    const least = Math.min(...free);
    if (least >= limitBytes) {
      warnings.over('space-low');
      return;
    }
    const message = `there are ${least} bytes of free space left, less than ${limitBytes} (option warnFreeBytes): make room before writes fail`;
    warnings.give('space-low', message, { freeBytes: least, limitBytes });
  }
}
