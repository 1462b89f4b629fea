/**
 * Says how far a replay has come, in the log and as an event.
 *
 * 1. Once in `SAY_EVERY_MS`; a short one says nothing.
 * 2. Each object counts once, and never more of them than there are.
 */
import { assertThat } from '../common/assert.ts';
import type { Clock } from '../common/clock.ts';
import type { FindingSink } from '../common/events.ts';

const SAY_EVERY_MS = 1000;
const MESSAGES = { read: 'reading the log', apply: 'applying the log' };

/** Where something is reported, and the time. */
export interface ReportParts extends FindingSink {
  clock: Clock;
}

export class ReplayProgress {
  readonly #parts: ReportParts;
  readonly #phase: 'read' | 'apply';
  readonly #of: number;
  #objects = 0;
  #saidAtMs: number;

  constructor(parts: ReportParts, phase: 'read' | 'apply', of: number) {
    this.#parts = parts;
    this.#phase = phase;
    this.#of = of;
    this.#saidAtMs = parts.clock.monotonicMs();
  }

  /** One more object is done. */
  step(): void {
    this.#objects++;
    assertThat(this.#objects <= this.#of, 'no more objects are read or applied than there are (replay-progress 2)');
    const { clock, logger, onEvent } = this.#parts;
    const now = clock.monotonicMs();
    if (now - this.#saidAtMs < SAY_EVERY_MS) return;
    this.#saidAtMs = now;
    const progress = { objects: this.#objects, of: this.#of };
    logger.info(MESSAGES[this.#phase], progress);
    onEvent({ type: 'replay', phase: this.#phase, ...progress });
  }
}
