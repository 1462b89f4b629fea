/**
 * Where the steps of a merge run. The owner of a job asks for what comes next and does the I/O; the rows are merged on a thread of their
 * own (threaded-merges.ts), or here on the owner's thread in slices, so that the event loop has its turns in between.
 *
 * 1. Between two turns of the event loop a merge takes `SLICE_MS`, or `STEPS_PER_TURN` where the clock does not move, whatever is asked for.
 * 2. Several merges on one thread share the slice.
 * 3. What else the thread has to do comes first: it gets `FOREGROUND_PART` times as long as a merge before the next slice, or until nothing is
 *    left of it; where level 0 is nearly full, and writers would have to wait soon, `URGENT_PART` times.
 */
import { SLICE_MS } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import type { ModuleRef } from '../common/module-ref.ts';
import type { MergeRoom } from './job-memory.ts';
import { type MergeParts, type MergeSettings, MergeStep, type StepResult } from './merge-step.ts';
import { type OutputName, type OutputSeals, sealOf } from './output-seal.ts';
import type { BlockStretch, HealedBlock } from './stretch-cursor.ts';

/** What the owner of a merge has to act on. */
export type MergeEvent = Exclude<StepResult, { kind: 'more' }>;

/**
 * Why a merge cannot go on where it runs, although nothing is wrong with the job: it goes on elsewhere, from the last table.
 * `thread`: its thread has ended; the cause says how. `operator`: it has met operands, and the operator is on the owner's thread.
 */
export class MergeInterrupted extends Error {
  readonly reason: 'thread' | 'operator';
  constructor(reason: MergeInterrupted['reason'], cause?: unknown) {
    super(`a merge was interrupted (${reason})`, { cause });
    this.reason = reason;
  }
}

/** A merge that runs somewhere. One call of `next` at a time. */
export interface MergeHost {
  /** Rejects with `MergeInterrupted`, with what operator and filter throw, and as soon as the signal aborts where a thread merges. */
  next(): Promise<MergeEvent>;
  feed(input: number, stretch: BlockStretch): void;
  /** The input has no more stretches. */
  end(input: number): void;
  heal(input: number, block: HealedBlock): void;
  /** The name of a table that has none yet, in the order of the tables: there is always one more than tables have come out. */
  name(name: OutputName): void;
  /** Nothing more is asked of it. */
  close(): void;
}

/** What a merge is begun with. */
export interface MergeStart extends Omit<MergeParts, 'makeSeal'> {
  settings: MergeSettings;
  seals: OutputSeals;
  /** Where a thread gets operator and filter from; undefined: there is none, or it is on the owner's thread only. */
  operatorModule: ModuleRef | undefined;
  filterModule: ModuleRef | undefined;
  /** Whether the operator has to be at hand from the beginning: operands are known to be there. */
  needsOperator: boolean;
  /** Of the job. */
  signal: AbortSignal;
}

/** A place where merges run. */
export interface Merges {
  readonly room: MergeRoom;
  start(start: MergeStart): MergeHost | Promise<MergeHost>;
}

/** Rows of a step: some tenth of a millisecond. */
export const ROWS_PER_MERGE_STEP = 128;
const STEPS_PER_TURN = 256;
const FOREGROUND_PART = 2;
const URGENT_PART = 1 / 4;
/** A turn that comes back sooner had nothing else to do, ms. */
const IDLE_TURN_MS = 0.05;
const MOST_TURNS = 64;

/** Merges on the owner's thread. */
export class SlicedMerges implements Merges {
  readonly room: MergeRoom = { stretches: 2, parts: 2 };
  readonly #clock: Clock;
  /** When the event loop had its last turn, as far as merges know. */
  #turnMs: number;
  #steps = 0;

  readonly #isUrgent: () => boolean;

  /** `isUrgent`: whether writers would have to wait soon. */
  constructor(clock: Clock, isUrgent: () => boolean) {
    this.#clock = clock;
    this.#isUrgent = isUrgent;
    this.#turnMs = clock.monotonicMs();
  }

  start({ settings, seals, codecs, operator, filter }: MergeStart): MergeHost {
    const names: OutputName[] = [];
    const makeSeal: MergeParts['makeSeal'] = (facts, place) => sealOf(seals, names.shift(), facts, place);
    const step = new MergeStep(settings, { codecs, operator, filter, makeSeal });
    return {
      next: () => this.#next(step),
      feed: (input, stretch) => step.feed(input, stretch),
      end: (input) => step.end(input),
      heal: (input, block) => step.heal(input, block),
      name: (name) => void names.push(name),
      close: () => undefined,
    };
  }

  async #next(step: MergeStep): Promise<MergeEvent> {
    for (;;) {
      if (this.#steps >= STEPS_PER_TURN || this.#clock.monotonicMs() - this.#turnMs >= SLICE_MS) await this.#turn();
      this.#steps++;
      const result = step.step(ROWS_PER_MERGE_STEP);
      if (result.kind !== 'more') return result;
    }
  }

  async #turn(): Promise<void> {
    const clock = this.#clock;
    let startMs = clock.monotonicMs();
    const part = this.#isUrgent() ? URGENT_PART : FOREGROUND_PART;
    const untilMs = startMs + part * (startMs - this.#turnMs);
    for (let turns = 0; turns < MOST_TURNS; turns++) {
      await clock.yieldToLoop();
      const endMs = clock.monotonicMs();
      if (endMs - startMs < IDLE_TURN_MS || endMs >= untilMs) break;
      startMs = endMs;
    }
    this.#turnMs = clock.monotonicMs();
    this.#steps = 0;
  }
}
