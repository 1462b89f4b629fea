/** What a run does: plain data drawn from a seed, so that a failing run can be shrunk step by step and replayed. */
import { nextFloat, nextInt, SeededRandom } from '../../src/common/random.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { type ConditionStep, withConditions } from './conditions.ts';
import { FAULT_KINDS, type FaultRates, STORM_KINDS, type StormKind } from './faults.ts';
import type { CrashPoint, Fate } from './machine.ts';
import type { RowOp } from './model.ts';
import type { StoreOptions } from './sim-store.ts';
import { drawUpkeep, marked, NO_UPKEEP, type UpkeepScript } from './upkeep-settings.ts';

export type Step =
  | { type: 'write'; ops: RowOp[]; durable: boolean; wait: boolean; asBatch: boolean }
  | { type: 'get'; key: string; remote: boolean }
  | { type: 'getMany'; keys: string[] }
  | { type: 'scan'; from: string; to: string; reverse: boolean; limit: number }
  | { type: 'openScan'; reverse: boolean }
  | { type: 'goOnScanning' }
  | { type: 'snapshot' }
  | { type: 'readSnapshot' }
  | { type: 'dropSnapshot' }
  | { type: 'flush'; memtable: boolean; wait: boolean }
  | { type: 'compact'; wait: boolean }
  /** Another compactor takes the epoch. */
  | { type: 'rival' }
  /** Another compactor takes the epoch and merges everything, until it is done or dies. */
  | { type: 'rivalCompacts'; at: CrashPoint | undefined }
  /** A program that does not know epochs moves the oldest table of level 0 into a run of its own. */
  | { type: 'foreignMove' }
  | { type: 'sleep'; ms: number }
  | { type: 'reopen' }
  /** Now, or as the process sends its nth store call from now; `again` counts in the recoveries after it. */
  | { type: 'crash'; at: CrashPoint | undefined; again: CrashPoint[] }
  | { type: 'reader' }
  | { type: 'jump'; ms: number }
  | { type: 'freeze'; kind: 'suspend' | 'stall'; ms: number }
  | { type: 'storm'; kind: StormKind; ms: number }
  | ConditionStep;

export interface Script {
  seed: number;
  options: OpenOptions;
  upkeep: UpkeepScript;
  store: StoreOptions;
  rates: FaultRates;
  steps: Step[];
}

const KEYS = 10;
/** Of the steps of a script with much upkeep, and of the values where a filter drops some. */
const UPKEEP_SHARE = 0.6;
const DROP_SHARE = 0.2;
/** Most bytes that fill up a value: of large ones some make a table of a run. */
const LARGE = 60_000;
const SMALL = 200;
/** Least bytes of a value that makes a table that may be moved into a run of the smallest tables. */
const MOVABLE = 17_000;
const FATES: readonly Fate[] = ['not-applied', 'applied', 'applied-later'];

/** Draws from one stream. */
export class Draw {
  readonly #random: SeededRandom;
  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }
  int(bound: number): number {
    return nextInt(this.#random, bound);
  }
  chance(p: number): boolean {
    return nextFloat(this.#random) < p;
  }
  of<T>(values: readonly T[]): T {
    return values[nextInt(this.#random, values.length)];
  }
}

export interface ScriptKind {
  /** So many of its steps are crashes besides those that it would have anyway. */
  crashes?: number;
  /** `off`: nothing is merged or collected; `beside` (default): as the seed says, beside all the rest; `much`: and most steps make work for it. */
  upkeep?: 'off' | 'beside' | 'much';
}

export function makeScript(seed: number, { crashes = 0, upkeep: kind = 'beside' }: ScriptKind = {}): Script {
  const draw = new Draw(seed);
  const options: OpenOptions = {
    memoryBytes: 8 * 1024 * 1024,
    l0SstSizeBytes: draw.of([4096, 4096, 16_384]),
    sstBlockSizeBytes: draw.of([1024, 4096]),
    compressionCodec: draw.of(['none', 'none', 'none', 'lz4']),
    minFilterKeys: draw.of([0, 1000]),
    flushIntervalMs: draw.of([1, 100, 1000]),
    minWalPutIntervalMs: draw.of([0, 0, 0, 50]),
    maxWalFlushesBeforeL0Flush: new Draw(seed ^ 0x3a1).of([4096, 4096, 3, 10]),
    walEnabled: draw.chance(0.9),
    compatibility: draw.of(['auto', 'auto', 'slatedb-0.12', 'slatedb-0.17']),
  };
  const store: StoreOptions = {
    latencyMs: draw.of([
      [1, 20],
      [5, 5],
      [1, 300],
    ] as const),
    lateMs: draw.of([100, 5000, 3_600_000]),
    keepsMetadata: draw.chance(0.8),
    isKnown: draw.chance(0.95),
    hasWalStore: new Draw(seed ^ 0x10c).chance(0.1),
  };
  const steps: Step[] = [];
  const count = 6 + draw.int(30);
  const padded = draw.chance(0.3);
  const isLarge = kind === 'much' && draw.chance(0.15);
  let writes = 0;
  for (let i = 0; i < count; i++) {
    const crash = crashes > 0 && draw.chance(crashes);
    const nextValue = () => `${seed % 1000}.${++writes}`;
    if (kind === 'much' && draw.chance(UPKEEP_SHARE)) steps.push(...drawUpkeepSteps(draw, nextValue, isLarge));
    else steps.push(crash ? drawCrash(draw) : drawStep(draw, nextValue, padded));
  }
  const rates = drawRates(draw);
  const upkeep = kind === 'off' ? NO_UPKEEP : drawUpkeep(new Draw(seed ^ 0xc0ffee));
  // Ranges of a job have memory of their own.
  if (upkeep.compactor !== false && upkeep.compactor.maxSubcompactions !== 1) options.memoryBytes = 256 * 1024 * 1024;
  const rivals = withRivals(steps, new Draw(seed ^ 0x21fa1));
  const dropped = upkeep.hasFilter ? withDrops(rivals, draw) : rivals;
  const ordered = new Draw(seed ^ 0xa5ce);
  const isOrdered = kind === 'much' && upkeep.compactor !== false && upkeep.compactor.trivialMoves === true;
  const written = isOrdered && ordered.chance(0.5) ? inKeyOrder(dropped, ordered) : dropped;
  const all = kind === 'beside' ? withConditions(written, new Draw(seed ^ 0xc0de), seed) : written;
  return { seed, options, upkeep, store, rates, steps: all };
}

/** Keys are loaded in ascending order, round after round, in values so large that tables of a few can be moved: else hardly any could be. */
function inKeyOrder(steps: readonly Step[], draw: Draw): Step[] {
  let next = 0;
  return steps.map((step) => {
    if (step.type !== 'write' || draw.chance(0.1)) return step;
    const key = `k${next++ % KEYS}`;
    const value = step.ops[0].value + '#'.repeat(MOVABLE + draw.int(MOVABLE));
    return { ...step, ops: [{ kind: 'put', key, value }] };
  });
}

/** Where another compactor takes the epoch, it merges as well, or another program changes the tree while a job runs. */
function withRivals(steps: readonly Step[], draw: Draw): Step[] {
  return steps.flatMap((step): Step[] => {
    if (step.type !== 'rival') return [step];
    const x = draw.int(10);
    if (x < 3) return [step];
    const at = draw.chance(0.6) ? { call: 1 + draw.int(60), fate: draw.of(FATES) } : undefined;
    if (x < 7)
      return [
        { type: 'rivalCompacts', at },
        { type: 'sleep', ms: draw.of([100, 3000, 60_000, 900_000]) },
      ];
    return [{ type: 'compact', wait: false }, { type: 'sleep', ms: draw.int(200) }, { type: 'foreignMove' }];
  });
}

/** What makes tables, lets them be merged, and lets time pass. */
function drawUpkeepSteps(draw: Draw, nextValue: () => string, isLarge: boolean): Step[] {
  const x = draw.int(25);
  if (x < 12) {
    const write = drawWrite(draw, nextValue, isLarge || draw.chance(0.3), isLarge ? LARGE : SMALL);
    return [write, { type: 'flush', memtable: true, wait: draw.chance(0.8) }];
  }
  if (x < 14) return [{ type: 'compact', wait: draw.chance(0.7) }];
  if (x < 19) return [{ type: 'sleep', ms: draw.of([1000, 11_000, 70_000, 400_000, 1_300_000]) }];
  if (x === 19 && draw.chance(0.3)) return [{ type: 'rival' }];
  if (x < 21) return [{ type: 'openScan', reverse: draw.chance(0.5) }];
  return [{ type: draw.of(['snapshot', 'readSnapshot', 'readSnapshot', 'goOnScanning'] as const) }];
}

/** Some values are put only to be dropped by a filter. */
function withDrops(steps: readonly Step[], draw: Draw): Step[] {
  return steps.map((step) => {
    if (step.type !== 'write') return step;
    const ops = step.ops.map((op) => {
      const isMarked = op.kind === 'put' && draw.chance(DROP_SHARE);
      return isMarked ? { ...op, value: marked(op.value) } : op;
    });
    return { ...step, ops };
  });
}

function drawRates(draw: Draw): FaultRates {
  const rates: FaultRates = {};
  if (draw.chance(0.4)) return rates;
  const kinds = 1 + draw.int(4);
  for (let i = 0; i < kinds; i++) rates[draw.of(FAULT_KINDS)] = draw.of([0.02, 0.05, 0.1, 0.2]);
  return rates;
}

function drawStep(draw: Draw, nextValue: () => string, padded: boolean): Step {
  const x = draw.int(100);
  if (x < 40) return drawWrite(draw, nextValue, padded);
  if (x < 47) return { type: 'get', key: drawKey(draw), remote: draw.chance(0.2) };
  if (x < 49) return { type: 'getMany', keys: Array.from({ length: 1 + draw.int(5) }, () => drawKey(draw)) };
  if (x < 52) {
    return { type: 'scan', from: drawKey(draw), to: drawKey(draw), reverse: draw.chance(0.5), limit: draw.int(12) };
  }
  if (x < 54) return { type: 'openScan', reverse: draw.chance(0.5) };
  if (x < 56) return { type: 'goOnScanning' };
  if (x < 58) return { type: 'snapshot' };
  if (x < 60) return { type: 'readSnapshot' };
  if (x < 61) return { type: 'dropSnapshot' };
  if (x < 67) return { type: 'flush', memtable: draw.chance(0.6), wait: draw.chance(0.6) };
  if (x < 74) return { type: 'sleep', ms: draw.of([1, 10, 50, 200, 1500, 20_000, 90_000]) };
  if (x < 77) return { type: 'reopen' };
  if (x < 92) return drawCrash(draw);
  if (x < 94) return { type: 'reader' };
  if (x < 96) return { type: 'jump', ms: draw.of([-7_200_000, -5000, -1, 500, 59_000, 3_600_000, 86_400_000]) };
  if (x < 98)
    return { type: 'freeze', kind: draw.of(['suspend', 'stall']), ms: draw.of([10, 2000, 61_000, 7_200_000]) };
  return { type: 'storm', kind: draw.of(STORM_KINDS), ms: draw.of([100, 3000, 30_000, 400_000]) };
}

function drawKey(draw: Draw): string {
  return `k${draw.int(KEYS)}`;
}

function drawWrite(draw: Draw, nextValue: () => string, padded: boolean, most = 2000): Step {
  const size = draw.chance(0.4) ? 1 + draw.int(5) : 1;
  const ops: RowOp[] = [];
  for (let i = 0; i < size; i++) {
    const kind = draw.of(['put', 'put', 'put', 'delete', 'merge'] as const);
    const value = kind === 'delete' ? '' : nextValue() + (padded && draw.chance(0.5) ? '#'.repeat(draw.int(most)) : '');
    ops.push({ kind, key: drawKey(draw), value });
  }
  // Merges of one key in one batch must live equally long: only single writes get a time to live.
  if (size === 1 && ops[0].kind !== 'delete' && draw.chance(0.25)) ops[0].ttlMs = draw.of([1, 50, 1000, 60_000]);
  return {
    type: 'write',
    ops,
    durable: draw.chance(0.7),
    wait: draw.chance(0.5),
    asBatch: size > 1 || draw.chance(0.2),
  };
}

function drawCrash(draw: Draw): Step {
  const at = draw.chance(0.75) ? { call: 1 + draw.int(8), fate: draw.of(FATES) } : undefined;
  const again: CrashPoint[] = [];
  while (again.length < 3 && draw.chance(0.3)) again.push({ call: 1 + draw.int(18), fate: draw.of(FATES) });
  return { type: 'crash', at, again };
}
