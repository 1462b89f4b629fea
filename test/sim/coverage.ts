/** What runs have exercised: faults by kind, crashes by call and fate, states reached. */
import { FAULT_KINDS, STORM_KINDS } from './faults.ts';

export interface Covered {
  /** Crashes after which a new process served again or was crashed itself. */
  cycles: number;
  commits: number;
  /** Events. */
  steps: number;
  fired: ReadonlyMap<string, number>;
  crashes: ReadonlyMap<string, number>;
  states: ReadonlySet<string>;
  /** What was done how often: merged, deleted. */
  counts: ReadonlyMap<string, number>;
}

/** Every fault that a suite must have seen fire. */
export const ALL_FAULTS: readonly string[] = [...FAULT_KINDS, ...STORM_KINDS, 'clock-jump', 'suspend', 'stall'];

export class Coverage {
  runs = 0;
  cycles = 0;
  commits = 0;
  events = 0;
  readonly faults = new Map<string, number>();
  readonly crashes = new Map<string, number>();
  readonly states = new Map<string, number>();
  readonly counts = new Map<string, number>();

  add(run: Covered): void {
    this.runs++;
    this.cycles += run.cycles;
    this.commits += run.commits;
    this.events += run.steps;
    for (const [kind, count] of run.fired) increase(this.faults, kind, count);
    for (const [call, count] of run.crashes) increase(this.crashes, call, count);
    for (const state of run.states) increase(this.states, state, 1);
    for (const [what, count] of run.counts) increase(this.counts, what, count);
  }

  merge(other: Coverage): void {
    this.runs += other.runs;
    this.cycles += other.cycles;
    this.commits += other.commits;
    this.events += other.events;
    for (const [kind, count] of other.faults) increase(this.faults, kind, count);
    for (const [call, count] of other.crashes) increase(this.crashes, call, count);
    for (const [state, count] of other.states) increase(this.states, state, count);
    for (const [what, count] of other.counts) increase(this.counts, what, count);
  }

  /** Faults that never fired. */
  missing(expected: readonly string[] = ALL_FAULTS): string[] {
    return expected.filter((kind) => !this.faults.has(kind));
  }

  summary(): string {
    const section = (title: string, counts: ReadonlyMap<string, number>) =>
      counts.size === 0
        ? []
        : [`${title}:`, ...[...counts].sort().map(([name, count]) => `  ${String(count).padStart(9)}  ${name}`)];
    return [
      `${this.runs} runs, ${this.cycles} crashes with recovery, ${this.commits} commits at the end, ${this.events} events`,
      ...section('faults injected', this.faults),
      ...section('crashes by call and fate of its request', this.crashes),
      ...section('states reached, by runs', this.states),
      ...section('merged and deleted', this.counts),
    ].join('\n');
  }
}

function increase(counts: Map<string, number>, name: string, by: number): void {
  counts.set(name, (counts.get(name) ?? 0) + by);
}
