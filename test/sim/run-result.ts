/** What a run of the simulator reports when it is over, whatever it simulated. */
import type { Auditor } from './auditor.ts';
import type { Covered } from './coverage.ts';

export interface RunResult extends Covered {
  failure: string | undefined;
  traceHash: string;
  lines: string[] | undefined;
}

/** `cycles` and `commits` are the run's own; the rest its store and its auditor know. */
export function resultOf({ store, states, counts }: Auditor, cycles: number, commits: number): RunResult {
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
    counts,
  };
}
