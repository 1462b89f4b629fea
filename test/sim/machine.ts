/**
 * Machines and the processes that live and die on them.
 *
 * A machine has a wall clock that can jump and a monotonic clock that stands still while it is suspended; while it is
 * suspended or stalled, nothing runs on it. A process has the machine's clocks, its timers and its line to the store; when it
 * is killed, its timers vanish, no answer reaches it any more, and its requests under way meet the fate that the crash says.
 */
import type { Clock, Timer } from '../../src/common/clock.ts';
import type { World } from './world.ts';
import { EPOCH_MS } from './world.ts';

export class Machine {
  readonly name: string;
  readonly #world: World;
  #wallOffsetMs = 0;
  #suspendedMs = 0;
  #frozenMs = 0;
  #frozenUntilMs = 0;
  #incarnations = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  get world(): World {
    return this.#world;
  }

  get wallMs(): number {
    return Math.floor(EPOCH_MS + this.#world.nowMs + this.#wallOffsetMs);
  }

  get monotonicMs(): number {
    return this.#world.nowMs - this.#suspendedMs;
  }

  /** Time in which this machine was running. */
  get runningMs(): number {
    const { nowMs } = this.#world;
    return nowMs - this.#frozenMs + Math.max(0, this.#frozenUntilMs - nowMs);
  }

  /** True time at which the monotonic clock will show `monotonicMs`, if nothing suspends it before. */
  trueTimeOf(monotonicMs: number): number {
    return monotonicMs + this.#suspendedMs;
  }

  jumpWall(deltaMs: number): void {
    this.#world.trace(`${this.name} clock jumps ${deltaMs}`);
    this.#wallOffsetMs += deltaMs;
  }

  /** Nothing runs here for so long; the monotonic clock stands still (`suspend`) or goes on (`stall`). */
  freeze(kind: 'suspend' | 'stall', ms: number): void {
    this.#world.trace(`${this.name} ${kind} ${ms}`);
    const now = this.#world.nowMs;
    const until = Math.max(this.#frozenUntilMs, now + ms);
    const added = until - Math.max(now, this.#frozenUntilMs);
    this.#frozenMs += added;
    if (kind === 'suspend') this.#suspendedMs += added;
    this.#frozenUntilMs = until;
  }

  /** Runs `fn` here at that time, or as soon as the machine runs again. */
  at(atMs: number, fn: () => void, isVoid?: () => boolean): void {
    const run = () => {
      if (this.#frozenUntilMs > this.#world.nowMs) this.at(this.#frozenUntilMs, fn, isVoid);
      else fn();
    };
    this.#world.at(atMs, run, isVoid);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.at(this.#world.nowMs + ms, resolve));
  }

  start(): Process {
    return new Process(this, `${this.name}.${++this.#incarnations}`);
  }
}

/** What becomes of the requests of a process that dies. */
export type Fate = 'not-applied' | 'applied' | 'applied-later';

/** A request that has not reached the store yet. */
export interface Underway {
  isWrite: boolean;
  meet(fate: Fate): void;
}

export interface CrashPoint {
  /** The process dies as it sends this call, counted from 1. */
  call: number;
  fate: Fate;
  /** When `applied-later` is: before the nth call that anybody sends afterwards; a random time later if absent. */
  laterCalls?: number;
}

export class Process {
  readonly machine: Machine;
  readonly name: string;
  readonly clock: Clock;
  isAlive = true;
  /** Store calls so far. */
  calls = 0;
  /** Which of them would change something. */
  readonly writes: number[] = [];
  crashPoint: CrashPoint | undefined;
  /** Fates of the other requests under way at a crash; drawn unless a script says it. */
  fateOfOthers: (() => Fate) | undefined;
  readonly underway = new Set<Underway>();
  readonly died: Promise<void>;
  #onDeath!: () => void;

  constructor(machine: Machine, name: string) {
    this.machine = machine;
    this.name = name;
    this.clock = new ProcessClock(this);
    this.died = new Promise((resolve) => {
      this.#onDeath = resolve;
    });
  }

  kill(): void {
    if (!this.isAlive) return;
    const { world } = this.machine;
    world.trace(`${this.name} dies`);
    this.isAlive = false;
    for (const request of this.underway) {
      if (!request.isWrite) request.meet('not-applied');
      else request.meet(this.fateOfOthers?.() ?? drawFate(world));
    }
    this.underway.clear();
    this.#onDeath();
  }

  /** Runs `fn` at that time if the process still lives. */
  at(atMs: number, fn: () => void, isVoid?: () => boolean): void {
    this.machine.at(atMs, fn, isVoid === undefined ? () => !this.isAlive : () => !this.isAlive || isVoid());
  }

  /** Ends early if the process dies. */
  sleepOrDie(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.at(this.machine.world.nowMs + ms, resolve);
      void this.died.then(resolve);
    });
  }
}

const FATES: readonly Fate[] = ['not-applied', 'applied', 'applied-later'];

export function drawFate(world: World): Fate {
  return FATES[world.between(0, FATES.length - 1)];
}

class ProcessClock implements Clock {
  readonly #process: Process;

  constructor(process: Process) {
    this.#process = process;
  }

  nowMs(): number {
    return this.#process.machine.wallMs;
  }

  monotonicMs(): number {
    return this.#process.machine.monotonicMs;
  }

  setTimer(delayMs: number, fn: () => void): Timer {
    const { machine } = this.#process;
    const dueMs = machine.monotonicMs + Math.max(0, delayMs);
    let cancelled = false;
    const onTime = () => {
      // The machine was suspended in the meantime: its clock is not there yet.
      if (machine.monotonicMs < dueMs && machine.trueTimeOf(dueMs) > machine.world.nowMs) return arm();
      cancelled = true;
      fn();
    };
    const arm = () => this.#process.at(machine.trueTimeOf(dueMs), onTime, () => cancelled);
    arm();
    return {
      cancel() {
        cancelled = true;
      },
      setRef() {},
    };
  }

  yieldToLoop(): Promise<void> {
    return new Promise((resolve) => this.#process.at(this.#process.machine.world.nowMs, resolve));
  }
}
