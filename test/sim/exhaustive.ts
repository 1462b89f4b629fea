/**
 * Every crash of a fixed script: at each store call, with each fate of the request, and once more at each call of the
 * recovery. A PUT that is applied later is applied before each of the calls that follow it.
 */
import { Coverage } from './coverage.ts';
import type { CrashPoint, Fate, Process } from './machine.ts';
import type { RowOp } from './model.ts';
import type { Script, Step } from './script.ts';
import { SingleRun } from './single.ts';
import { NO_UPKEEP, type UpkeepScript } from './upkeep-settings.ts';

/** Calls after the crash before which a late PUT lands: an opening makes about 14, the claim and the fence are the last. */
const LATER_CALLS = [1, 5, 9, 12, 13, 14, 15, 20];
/** The same where a second crash follows. */
const NESTED_LATER_CALLS = [13];
/** Scripts in which tables are merged and garbage is collected. */
export const WITH_UPKEEP: readonly string[] = ['a compaction', 'a collection'];
/** They make many calls: some of the places after the crash have to do. */
const UPKEEP_LATER_CALLS = [1, 13];
const UPKEEP: UpkeepScript = {
  ...NO_UPKEEP,
  compactor: { minCompactionSources: 2 },
  gc: { minAgeMs: 1000, allowUnsafeMinAge: true, intervalMs: 30_000, recentManifests: 1 },
  l0MaxSsts: 8,
};

function write(key: string, value: string, more: Partial<Extract<Step, { type: 'write' }>> = {}): Step {
  return { type: 'write', ops: [put(key, value)], durable: true, wait: true, asBatch: false, ...more };
}

function put(key: string, value: string): RowOp {
  return { kind: 'put', key, value };
}

const LATER = { wait: false };
const PADDING = '#'.repeat(3000);
const FLUSH: Step = { type: 'flush', memtable: true, wait: true };
const REOPEN: Step = { type: 'reopen' };

const STEPS: Record<string, Step[]> = {
  create: [write('k1', 'a')],
  'batches and merges': [
    write('k1', 'a'),
    { type: 'write', ops: [put('k1', 'b'), put('k2', 'b'), put('k3', 'b')], durable: true, wait: false, asBatch: true },
    { type: 'write', ops: [{ kind: 'merge', key: 'k2', value: 'c' }], durable: true, wait: true, asBatch: false },
    { type: 'write', ops: [{ kind: 'delete', key: 'k1', value: '' }], durable: false, wait: true, asBatch: false },
  ],
  'a flush': [write('k1', 'a'), write('k2', 'b', LATER), FLUSH, write('k1', 'c')],
  'flushes in a row': [
    write('k1', `a${PADDING}`, LATER),
    write('k2', `b${PADDING}`, LATER),
    write('k3', `c${PADDING}`, LATER),
    write('k1', `d${PADDING}`),
    FLUSH,
  ],
  reopenings: [write('k1', 'a'), REOPEN, write('k2', 'b'), REOPEN, REOPEN],
  'many small writes': [
    ...Array.from({ length: 6 }, (_, i) => write(`k${i % 4}`, `v${i}`, { wait: i % 2 === 0 })),
    FLUSH,
    write('k9', 'z', { durable: false }),
    REOPEN,
    write('k0', 'y'),
  ],
  'a compaction': [
    write('k1', 'a'),
    FLUSH,
    { type: 'write', ops: [put('k1', 'b'), put('k2', 'b')], durable: true, wait: true, asBatch: true },
    FLUSH,
    { type: 'sleep', ms: 1000 },
  ],
  'a collection': [
    write('k1', 'a'),
    FLUSH,
    { type: 'write', ops: [{ kind: 'delete', key: 'k1', value: '' }], durable: true, wait: true, asBatch: true },
    FLUSH,
    // The checkpoint of the commit lasts for so long.
    { type: 'sleep', ms: 1_000_000 },
    write('k2', 'b'),
    FLUSH,
    { type: 'sleep', ms: 100_000 },
  ],
  'without a log': [write('k1', 'a'), write('k2', 'b', LATER), write('k1', 'c'), REOPEN, write('k3', 'd')],
};

export const EXHAUSTIVE_SCRIPTS: readonly string[] = Object.keys(STEPS);

export function exhaustiveScript(name: string): Script {
  return {
    seed: 1 + EXHAUSTIVE_SCRIPTS.indexOf(name),
    options: {
      memoryBytes: 8 * 1024 * 1024,
      l0SstSizeBytes: 4096,
      walEnabled: name !== 'without a log',
      flushIntervalMs: 50,
    },
    upkeep: WITH_UPKEEP.includes(name) ? UPKEEP : NO_UPKEEP,
    store: { latencyMs: [5, 5], lateMs: 200, keepsMetadata: true, isKnown: true },
    rates: {},
    steps: STEPS[name],
  };
}

export interface ExhaustiveResult {
  runs: number;
  coverage: Coverage;
  failures: { crashPoints: CrashPoint[]; failure: string }[];
}

/** `nestedStride` 1: every call of the recovery; 3: every third. */
export async function runExhaustively(
  name: string,
  nestedStride = 1,
  onRun: (runs: number) => void = () => undefined,
): Promise<ExhaustiveResult> {
  const script = exhaustiveScript(name);
  const result: ExhaustiveResult = { runs: 0, coverage: new Coverage(), failures: [] };
  const tryCrashes = async (crashPoints: CrashPoint[]): Promise<Process[]> => {
    const run = new SingleRun(script, false, crashPoints);
    const outcome = await run.run();
    result.coverage.add(outcome);
    onRun(++result.runs);
    if (outcome.failure !== undefined) result.failures.push({ crashPoints, failure: outcome.failure });
    return run.processes;
  };
  const [undisturbed] = await tryCrashes([]);
  let nth = 0;
  const laterCalls = WITH_UPKEEP.includes(name) ? UPKEEP_LATER_CALLS : LATER_CALLS;
  for (const first of crashPointsOf(undisturbed, laterCalls)) {
    const [, recovery] = await tryCrashes([first]);
    if (first.laterCalls !== undefined && !NESTED_LATER_CALLS.includes(first.laterCalls)) continue;
    for (const second of crashPointsOf(recovery, NESTED_LATER_CALLS)) {
      if (nth++ % nestedStride === 0) await tryCrashes([first, second]);
    }
  }
  return result;
}

/** Whether a read arrived or not makes no difference. */
function crashPointsOf(process: Process, laterCalls: readonly number[]): CrashPoint[] {
  const points: CrashPoint[] = [];
  const writes = new Set(process.writes);
  for (let call = 1; call <= process.calls; call++) {
    const fates: Fate[] = writes.has(call) ? ['not-applied', 'applied'] : ['not-applied'];
    for (const fate of fates) points.push({ call, fate });
    if (!writes.has(call)) continue;
    for (const n of laterCalls) points.push({ call, fate: 'applied-later', laterCalls: n });
  }
  return points;
}
