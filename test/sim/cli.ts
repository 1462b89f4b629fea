/**
 * The simulator as a program: `npm run sim -- [--mode MODE] [--runs N] [--from SEED]`, modes below; with `--seed N` one run is
 * replayed with its trace, with `--script FILE` a shrunk one. `npm run soak -- --minutes M` goes on with new seeds for that
 * long; `npm run sim:nightly` makes the large figures.
 *
 * Progress goes to stderr, the summary to stdout. The exit code is 1 if a run failed, a promise was rejected and nobody
 * looked, or a fault that should have been injected never was.
 */
import { readFileSync } from 'node:fs';
import { type ChaosFigures, ChaosRun } from './chaos.ts';
import { Coverage } from './coverage.ts';
import { DamageRun } from './damage.ts';
import { EXHAUSTIVE_SCRIPTS, exhaustiveScript, runExhaustively } from './exhaustive.ts';
import { LossesRun } from './losses.ts';
import type { CrashPoint } from './machine.ts';
import { PressureRun } from './pressure.ts';
import { Refusals } from './refusals.ts';
import { type Disturbance, RULE_SCRIPTS, replayRuleScript, runRuleScript } from './rules.ts';
import type { RunResult } from './run-result.ts';
import { makeScript, type Script, type ScriptKind } from './script.ts';
import { shrink } from './shrink.ts';
import { SingleRun } from './single.ts';
import type { World } from './world.ts';
import { WritersRun } from './writers.ts';

interface Run {
  readonly world: World;
  run(): Promise<RunResult>;
}

const SEEDED = {
  random: (seed: number, keepTrace?: boolean): Run => new SingleRun(makeScript(seed), keepTrace),
  /** The same with a crash in every second step: as many recoveries in half the time. */
  crashes: (seed: number, keepTrace?: boolean): Run => new SingleRun(makeScript(seed, KINDS.crashes), keepTrace),
  /** Tables are made, merged and collected all the time. */
  upkeep: (seed: number, keepTrace?: boolean): Run => new SingleRun(makeScript(seed, KINDS.upkeep), keepTrace),
  refusals: (seed: number, keepTrace?: boolean): Run =>
    new SingleRun(makeScript(seed), keepTrace, [], new Refusals(seed)),
  writers: (seed: number, keepTrace?: boolean): Run => new WritersRun(seed, keepTrace),
  chaos: (seed: number, keepTrace?: boolean): Run => new ChaosRun(seed, keepTrace),
  pressure: (seed: number, keepTrace?: boolean): Run => new PressureRun(seed, keepTrace),
  damage: (seed: number, keepTrace?: boolean): Run => new DamageRun(seed, keepTrace),
  beside: (seed: number, keepTrace?: boolean): Run => new DamageRun(seed, keepTrace, 'beside'),
  recovery: (seed: number, keepTrace?: boolean): Run => new DamageRun(seed, keepTrace, 'recovery'),
  serving: (seed: number, keepTrace?: boolean): Run => new DamageRun(seed, keepTrace, 'serving'),
  /** Tables are merged over the keys of losses that a repair has recorded. */
  losses: (seed: number, keepTrace?: boolean): Run => new LossesRun(seed, keepTrace),
};
type SeededMode = keyof typeof SEEDED;
const MODES = [
  'random',
  'crashes',
  'upkeep',
  'refusals',
  'exhaustive',
  'writers',
  'chaos',
  'pressure',
  'damage',
  'beside',
  'recovery',
  'serving',
  'losses',
  'rules',
] as const;
type Mode = (typeof MODES)[number];

const DEFAULT_RUNS: Record<SeededMode, number> = {
  random: 3000,
  crashes: 1000,
  upkeep: 1000,
  refusals: 1000,
  writers: 1000,
  chaos: 10,
  pressure: 100,
  damage: 1000,
  beside: 1000,
  recovery: 1000,
  serving: 1000,
  losses: 500,
};
const KINDS = {
  random: {},
  crashes: { crashes: 0.5 },
  upkeep: { upkeep: 'much' },
} as const satisfies Partial<Record<SeededMode, ScriptKind>>;
/** A million in all. */
const NIGHTLY_CYCLES = { random: 300_000, crashes: 700_000 };
const NIGHTLY_RUNS = {
  upkeep: 100_000,
  refusals: 100_000,
  writers: 100_000,
  chaos: 200,
  pressure: 3000,
  damage: 100_000,
  beside: 100_000,
  recovery: 100_000,
  serving: 100_000,
  losses: 50_000,
};
const MAX_FAILURES = 5;
/** From the end of an outage to the first success. */
const RECOVERY_MS = 2000;
/** Fewer runs cannot be expected to meet every fault. */
const RUNS_FOR_ALL_FAULTS = 500;
const PROGRESS_MS = 10_000;
/** What the roles beside a writer must have done in a mode that has them, in so many runs. */
const ROLES = ['jobs committed', 'tables deleted', 'rounds that deleted something'];
const MUST_COUNT: Partial<Record<SeededMode, readonly string[]>> = {
  random: ROLES,
  crashes: ROLES,
  upkeep: ROLES,
  refusals: ROLES,
  writers: ROLES,
};
const RUNS_FOR_ALL_ROLES = 500;

interface Options {
  modes: Mode[];
  isSoak: boolean;
  isNightly: boolean;
  seed: number | undefined;
  runs: number | undefined;
  cycles: number | undefined;
  from: number;
  minutes: number;
  script: string | undefined;
}

/** One suite of runs with its figures. */
class Suite {
  readonly coverage = new Coverage();
  failures = 0;
  readonly #start = performance.now();
  #saidAt = this.#start;

  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  progress(what: string): void {
    const now = performance.now();
    if (now - this.#saidAt < PROGRESS_MS) return;
    this.#saidAt = now;
    const { runs, cycles } = this.coverage;
    process.stderr.write(
      `${what}: ${runs} runs, ${cycles} crashes, ${this.seconds.toFixed(0)} s, ${this.failures} failures\n`,
    );
  }

  failed(text: string): void {
    this.failures++;
    process.stdout.write(`FAILED ${text}\n`);
  }

  get isOver(): boolean {
    return this.failures >= MAX_FAILURES;
  }
}

export async function main(args: string[]): Promise<number> {
  const options = parse(args);
  let unhandled = 0;
  process.on('unhandledRejection', (reason) => {
    unhandled++;
    process.stdout.write(`FAILED a promise was rejected and nobody looked: ${String(reason)}\n`);
  });
  const code = await start(options);
  return unhandled === 0 ? code : 1;
}

function start(options: Options): Promise<number> {
  if (options.script !== undefined) return replayScript(JSON.parse(readFileSync(options.script, 'utf8')));
  if (options.seed !== undefined) {
    const [mode] = options.modes.length === 1 ? options.modes : ['random'];
    return show(SEEDED[mode as SeededMode](options.seed, true));
  }
  // Making stacks costs a tenth of the time; a replay has them.
  Error.stackTraceLimit = 0;
  return runModes(options);
}

type Replay = Script | { script: string; crashPoints: CrashPoint[] } | { rules: string; disturbance: Disturbance };

async function replayScript(what: Replay): Promise<number> {
  if ('rules' in what) {
    const { lines, failure } = await replayRuleScript(what.rules, what.disturbance, true);
    process.stdout.write(
      `${(lines as string[]).join('\n')}\n${failure === undefined ? 'all right' : `FAILED ${failure}`}\n`,
    );
    return failure === undefined ? 0 : 1;
  }
  if ('script' in what) return show(new SingleRun(exhaustiveScript(what.script), true, what.crashPoints));
  return show(new SingleRun(what, true));
}

async function show(run: Run): Promise<number> {
  const { lines, failure, traceHash } = await run.run();
  process.stdout.write(`${(lines as string[]).join('\n')}\ntrace ${traceHash}\n`);
  process.stdout.write(failure === undefined ? 'all right\n' : `FAILED ${failure}\n`);
  const cause = run.world.failure?.cause;
  if (cause instanceof Error) process.stdout.write(`${cause.stack}\n`);
  return failure === undefined ? 0 : 1;
}

async function runModes(options: Options): Promise<number> {
  const suite = new Suite();
  const cpuBefore = process.cpuUsage();
  for (const mode of options.modes) {
    if (suite.isOver) break;
    if (mode === 'exhaustive') await runAllExhaustively(suite);
    else if (mode === 'rules') await runRules(suite);
    else await runSeeds(suite, mode, options);
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  const cpuSeconds = (user + system) / 1e6;
  const memory = process.resourceUsage().maxRSS / 1024;
  process.stdout.write(`${suite.coverage.summary()}\n`);
  process.stdout.write(
    `${suite.seconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of processor time, ${memory.toFixed(0)} MiB at most; ` +
      `${(suite.coverage.cycles / cpuSeconds).toFixed(0)} crashes with recovery per second of processor time\n`,
  );
  process.stdout.write(suite.failures === 0 ? 'all right\n' : `${suite.failures} failures\n`);
  return suite.failures === 0 ? 0 : 1;
}

async function runSeeds(suite: Suite, mode: SeededMode, options: Options): Promise<void> {
  const covered = new Coverage();
  const figures: ChaosFigures = { operations: 0, failed: 0, failedAfterMs: [], recoveriesMs: [] };
  const isEnough = limitOf(mode, options, covered, suite.seconds);
  for (let seed = options.from; !isEnough(suite.seconds) && !suite.isOver; seed++) {
    const run = SEEDED[mode](seed);
    const result = await run.run();
    covered.add(result);
    suite.coverage.add(result);
    if (run instanceof ChaosRun) {
      addFigures(figures, run.figures);
      const slowest = Math.max(...run.figures.recoveriesMs);
      if (slowest > RECOVERY_MS) suite.failed(`${mode}, seed ${seed}: first success ${slowest} ms after an outage`);
    }
    suite.progress(`${mode}, seed ${seed}`);
    if (result.failure === undefined) continue;
    suite.failed(`${mode}, seed ${seed}: ${result.failure}\n  npm run sim -- --mode ${mode} --seed ${seed}`);
    if (mode !== 'random' && mode !== 'crashes' && mode !== 'upkeep') continue;
    const small = await shrink(makeScript(seed, KINDS[mode]));
    process.stdout.write(`  shrunk, for --script FILE: ${JSON.stringify(small)}\n`);
  }
  process.stdout.write(
    `${mode}: seeds ${options.from} to ${options.from + covered.runs - 1}, ${covered.cycles} crashes\n`,
  );
  if (mode === 'chaos') process.stdout.write(`${chaosSummary(figures)}\n`);
  const idle = covered.runs < RUNS_FOR_ALL_ROLES ? [] : MUST_COUNT[mode]?.filter((what) => !covered.counts.has(what));
  if (idle !== undefined && idle.length > 0) suite.failed(`${mode}: never seen: ${idle.join(', ')}`);
  const missing = mode === 'random' && covered.runs >= RUNS_FOR_ALL_FAULTS ? covered.missing() : [];
  if (missing.length > 0) suite.failed(`faults that never fired: ${missing.join(', ')}`);
}

/** When a suite has run long enough. */
function limitOf(mode: SeededMode, options: Options, covered: Coverage, startS: number): (nowS: number) => boolean {
  const { isSoak, isNightly, minutes, modes, runs, cycles } = options;
  if (isSoak) return (nowS) => nowS - startS > (minutes * 60) / modes.length;
  if (cycles !== undefined) return () => covered.cycles >= cycles;
  if (runs !== undefined) return () => covered.runs >= runs;
  if (!isNightly) return () => covered.runs >= DEFAULT_RUNS[mode];
  if (mode === 'random' || mode === 'crashes') return () => covered.cycles >= NIGHTLY_CYCLES[mode];
  return () => covered.runs >= NIGHTLY_RUNS[mode];
}

function addFigures(sum: ChaosFigures, run: ChaosFigures): void {
  sum.operations += run.operations;
  sum.failed += run.failed;
  sum.recoveriesMs.push(...run.recoveriesMs);
}

function chaosSummary({ operations, failed, recoveriesMs }: ChaosFigures): string {
  const sorted = [...recoveriesMs].sort((a, b) => a - b);
  const within = sorted.filter((ms) => ms <= RECOVERY_MS).length;
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return (
    `chaos: ${failed} of ${operations} operations outside of outages failed; first success after an outage: ` +
    `median ${at(0.5)} ms, 90 % ${at(0.9)} ms, most ${at(1)} ms, ${within} of ${sorted.length} within 2 s`
  );
}

async function runAllExhaustively(suite: Suite): Promise<void> {
  for (const name of EXHAUSTIVE_SCRIPTS) {
    const { runs, coverage, failures } = await runExhaustively(name, 1, () => suite.progress(`exhaustive, ${name}`));
    suite.coverage.merge(coverage);
    process.stdout.write(`exhaustive, ${name}: ${runs} runs, ${failures.length} failures\n`);
    for (const { crashPoints, failure } of failures.slice(0, MAX_FAILURES)) {
      suite.failed(`${name}: ${failure}\n  for --script FILE: ${JSON.stringify({ script: name, crashPoints })}`);
    }
  }
}

async function runRules(suite: Suite): Promise<void> {
  for (const name of Object.keys(RULE_SCRIPTS)) {
    const { runs, checks, failures } = await runRuleScript(name);
    process.stdout.write(`rules, ${name}: ${runs} runs, ${failures.length} failures\n`);
    process.stdout.write(`  ${[...checks].map(([rule, count]) => `${rule} ${count}`).join(', ')}\n`);
    for (const { disturbance, failure } of failures.slice(0, MAX_FAILURES)) {
      suite.failed(`${name}: ${failure}\n  for --script FILE: ${JSON.stringify({ rules: name, disturbance })}`);
    }
  }
}

function parse(args: readonly string[]): Options {
  const given = new Map<string, string>();
  const flags = new Set<string>(args.filter((a) => a === '--soak' || a === '--nightly'));
  const rest = args.filter((a) => !flags.has(a));
  for (let i = 0; i < rest.length; i += 2) {
    const name = /^--(mode|seed|runs|cycles|from|minutes|script)$/.exec(rest[i])?.[1];
    if (name === undefined || rest[i + 1] === undefined) throw new Error(`unknown or incomplete option ${rest[i]}`);
    given.set(name, rest[i + 1]);
  }
  const number = (name: string) => {
    const text = given.get(name);
    if (text !== undefined && !(Number(text) >= 0)) throw new Error(`--${name} must be a number`);
    return text === undefined ? undefined : Number(text);
  };
  const mode = given.get('mode');
  if (mode !== undefined && !MODES.includes(mode as Mode)) throw new Error(`--mode must be one of ${MODES.join(', ')}`);
  const isSoak = flags.has('--soak');
  // A soak begins where no other one has begun.
  const from = number('from') ?? (isSoak ? Math.floor(Date.now() / 1000) : 1);
  const all = isSoak ? (['random', 'writers'] as const) : MODES;
  return {
    modes: mode === undefined ? [...all] : [mode as Mode],
    isSoak,
    isNightly: flags.has('--nightly'),
    seed: number('seed'),
    runs: number('runs'),
    cycles: number('cycles'),
    from,
    minutes: number('minutes') ?? 10,
    script: given.get('script'),
  };
}
