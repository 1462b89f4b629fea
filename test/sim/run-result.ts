/** What a run of the simulator tells when it is over, whatever it simulated. */
import type { Auditor } from './auditor.ts';

export interface RunResult {
  failure: string | undefined;
  traceHash: string;
  lines: string[] | undefined;
  /** Crashes after which a new process served again or was crashed itself. */
  cycles: number;
  commits: number;
  /** Events. */
  steps: number;
  fired: ReadonlyMap<string, number>;
  crashes: ReadonlyMap<string, number>;
  states: ReadonlySet<string>;
}

/** `cycles` and `commits` are the run's own; the rest its store and its auditor know. */
export function resultOf({ store, states }: Auditor, cycles: number, commits: number): RunResult {
  const { world, faults, crashes } = store;
  const { traceHash, lines, steps } = world;
  return {
    failure: world.failure?.message,
    traceHash,
    lines,
    cycles,
    commits,
    steps,
    fired: faults.fired,
    crashes,
    states,
  };
}
