/**
 * How long the event loop stands still, measured only for those who ask (option `warnLoopDelayMs`): the measuring itself is a timer that
 * runs all the time, with another one beside it that compares what was measured.
 */
import * as perfHooks from 'node:perf_hooks';
import type { Clock, Timer } from './clock.ts';
import { InvalidArgumentError } from './errors.ts';

/** What measures; in ns, as Node has them: times between two runs of its timer, so the resolution is part of each. */
export interface DelayMonitor {
  enable(): void;
  disable(): void;
  readonly mean: number;
  readonly max: number;
  percentile(percentile: number): number;
}

export interface LoopDelayOptions {
  clock: Pick<Clock, 'setTimer'>;
  /** A longer delay is reported, once. */
  limitMs: number;
  onLong(delayMs: number): void;
  /** Default: that of Node. */
  monitor?: DelayMonitor;
}

/** How precise it is, and how often it is compared with the limit. */
const RESOLUTION_MS = 20;
const COMPARE_MS = 1000;

/** What is more than the resolution, in ms; before the first measurement Node says NaN. */
function delayMs(ns: number): number {
  return Math.max(0, (ns || 0) / 1e6 - RESOLUTION_MS);
}

export class LoopDelay {
  readonly #o: LoopDelayOptions;
  readonly #monitor: DelayMonitor;
  #timer: Timer | undefined;

  /** Begins to measure. Throws `BAD_OPTION` in a runtime that cannot. */
  constructor(options: LoopDelayOptions) {
    this.#o = options;
    this.#monitor = options.monitor ?? systemMonitor();
    this.#monitor.enable();
    this.#wait();
  }

  #wait(): void {
    this.#timer = this.#o.clock.setTimer(COMPARE_MS, () => this.#compare(), false);
  }

  #compare(): void {
    this.#timer = undefined;
    const longestMs = delayMs(this.#monitor.max);
    if (longestMs > this.#o.limitMs) this.#o.onLong(longestMs);
    else this.#wait();
  }

  /** Since the beginning, in seconds. */
  get seconds(): { mean: number; p99: number; max: number } {
    const { mean, max } = this.#monitor;
    const p99 = this.#monitor.percentile(99);
    return { mean: delayMs(mean) / 1000, p99: delayMs(p99) / 1000, max: delayMs(max) / 1000 };
  }

  close(): void {
    this.#timer?.cancel();
    this.#monitor.disable();
  }
}

function systemMonitor(): DelayMonitor {
  const { monitorEventLoopDelay } = perfHooks as Partial<typeof perfHooks>;
  if (typeof monitorEventLoopDelay !== 'function') {
    const message =
      'warnLoopDelayMs needs perf_hooks.monitorEventLoopDelay, which this runtime does not have; leave it out.';
    throw new InvalidArgumentError('BAD_OPTION', message, { details: { faults: [message] } });
  }
  return monitorEventLoopDelay({ resolution: RESOLUTION_MS });
}
