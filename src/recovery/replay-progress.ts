/** Says how far a replay has come, in the log and as an event, once in `SAY_EVERY_MS`; a short one says nothing. */
import type { Clock } from '../common/clock.ts';
import type { FindingSink } from '../common/events.ts';

const SAY_EVERY_MS = 1000;
const MESSAGES = { read: 'reading the log', apply: 'applying the log' };

/** Where it is told, and the time. */
export interface ProgressOptions extends FindingSink {
  clock: Clock;
}

export class ReplayProgress {
  readonly #options: ProgressOptions;
  readonly #phase: 'read' | 'apply';
  readonly #of: number;
  #objects = 0;
  #saidAtMs: number;

  constructor(options: ProgressOptions, phase: 'read' | 'apply', of: number) {
    this.#options = options;
    this.#phase = phase;
    this.#of = of;
    this.#saidAtMs = options.clock.monotonicMs();
  }

  /** One more object is done. */
  step(): void {
    this.#objects++;
    const { clock, logger, onEvent } = this.#options;
    const now = clock.monotonicMs();
    if (now - this.#saidAtMs < SAY_EVERY_MS) return;
    this.#saidAtMs = now;
    const progress = { objects: this.#objects, of: this.#of };
    logger.info(MESSAGES[this.#phase], progress);
    onEvent({ type: 'replay', phase: this.#phase, ...progress });
  }
}
