/**
 * The simulated world: one queue of events in virtual time. Everything that takes time in the engine (a timer, a store call)
 * is an event here; the loop lets all microtasks run, takes the next event, runs it, and so on. Nothing else moves time.
 *
 * Invariants: a run is a function of its seed and script, and the trace hash says so: it covers every event in order with its
 * time. After the first failure of a run nothing counts any more: `drive` ends.
 */

import { nextFloat, nextInt, type Random, SeededRandom } from '../../src/common/random.ts';
import { loadCodec } from '../../src/format/codecs.ts';

interface SimEvent {
  atMs: number;
  order: number;
  run: () => void;
  isVoid: (() => boolean) | undefined;
}

/** Wall time at the start of every run. */
export const EPOCH_MS = 1_750_000_000_000;
/** Steps after which the real event loop gets a turn: for the reporter of the tests, and for rejections nobody handled. */
const STEPS_PER_TURN = 5000;
const PACKAGED_CODECS = ['lz4', 'snappy', 'zstd'] as const;
const MAX_STEPS = 2_000_000;

export class SimFailure extends Error {
  override name = 'SimFailure';
}

export class World {
  readonly seed: number;
  /** Decides latencies and whatever else the world draws. */
  readonly random: Random;
  nowMs = 0;
  failure: SimFailure | undefined;
  /** Readable events, if asked for. */
  readonly lines: string[] | undefined;
  steps = 0;
  readonly #heap: SimEvent[] = [];
  #order = 0;
  #h1 = 0x811c9dc5;
  #h2 = 0x9747b28c;

  constructor(seed: number, keepTrace = false) {
    this.seed = seed;
    this.random = new SeededRandom(seed);
    this.lines = keepTrace ? [] : undefined;
  }

  /** True time as a wall clock shows it. */
  get wallMs(): number {
    return EPOCH_MS + Math.floor(this.nowMs);
  }

  /** An event that `isVoid` by its time is left out: most timers are cancelled, and a turn costs more than the rest of them. */
  at(atMs: number, run: () => void, isVoid?: () => boolean): void {
    this.#push({ atMs: Math.max(atMs, this.nowMs), order: this.#order++, run, isVoid });
  }

  after(delayMs: number, run: () => void): void {
    this.at(this.nowMs + delayMs, run);
  }

  /** For actors that stand outside of every machine. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** The first failure ends the run. */
  fail(message: string, cause?: unknown): SimFailure {
    this.failure ??= new SimFailure(message, cause === undefined ? {} : { cause });
    return this.failure;
  }

  trace(text: string): void {
    let a = this.#h1 ^ Math.imul(Math.floor(this.nowMs * 1000) | 0, 0x9e3779b1);
    let b = this.#h2;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      a = Math.imul(a ^ c, 0x01000193);
      b = Math.imul(b ^ c, 0x85ebca6b) ^ (b >>> 15);
    }
    this.#h1 = a;
    this.#h2 = b;
    this.lines?.push(`${this.nowMs.toFixed(3).padStart(14)}  ${text}`);
  }

  /** Of all events so far. */
  get traceHash(): string {
    return (this.#h1 >>> 0).toString(16).padStart(8, '0') + (this.#h2 >>> 0).toString(16).padStart(8, '0');
  }

  chance(probability: number): boolean {
    return probability > 0 && nextFloat(this.random) < probability;
  }

  /** Whole, from `min` to `max`. */
  between(min: number, max: number): number {
    return min + nextInt(this.random, max - min + 1);
  }

  /**
   * Runs events until `actor` settles. Ticks of the process, not turns of its event loop, stand between two events: a tick
   * comes after all microtasks and costs a tenth.
   */
  async drive(actor: Promise<unknown>): Promise<void> {
    let settled = false;
    actor.then(
      () => {
        settled = true;
      },
      (error) => {
        settled = true;
        this.fail(error instanceof SimFailure ? error.message : `the actor failed: ${describe(error)}`, error);
      },
    );
    // Packages are loaded in real time, for which virtual time does not wait.
    await Promise.all(PACKAGED_CODECS.map(loadCodec));
    return new Promise((resolve) => {
      const next = () => process.nextTick(step);
      const step = () => {
        if (settled || this.failure !== undefined) return resolve();
        let event = this.#pop();
        while (event?.isVoid?.()) event = this.#pop();
        if (event === undefined) {
          this.fail('deadlock: nothing is under way, but something is still waited for');
          return resolve();
        }
        this.nowMs = event.atMs;
        try {
          event.run();
        } catch (error) {
          this.fail(`an event threw: ${describe(error)}`, error);
        }
        if (++this.steps > MAX_STEPS) this.fail(`more than ${MAX_STEPS} events: something runs in circles`);
        if (this.steps % STEPS_PER_TURN === 0) setImmediate(step);
        else queueMicrotask(next);
      };
      next();
    });
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(event, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) child++;
      if (child >= heap.length || isBefore(last, heap[child])) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { kind, code, outcome } = error as { kind?: string; code?: string; outcome?: string };
  const type = kind === undefined ? error.name : [error.name, code, outcome].filter((s) => s !== undefined).join(' ');
  return `${type}: ${error.message}`;
}
