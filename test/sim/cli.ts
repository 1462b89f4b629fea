/**
 * The simulator as a program: `npm run sim -- [--mode random|exhaustive|writers|chaos] [--runs N] [--seed N]`.
 *
 * With `--seed` one run is replayed with its trace. Progress goes to stderr, the summary to stdout; the exit code is 1 if a run
 * failed or a fault that should have been injected never was.
 */
import { readFileSync } from 'node:fs';
import { ALL_FAULTS, Coverage } from './coverage.ts';
import { EXHAUSTIVE_SCRIPTS, exhaustiveScript, runExhaustively } from './exhaustive.ts';
import type { CrashPoint } from './machine.ts';
import { makeScript, type Script } from './script.ts';
import { shrink } from './shrink.ts';
import { SingleRun } from './single.ts';
import { WritersRun } from './writers.ts';

const MODES = ['random', 'exhaustive', 'writers'] as const;
type Mode = (typeof MODES)[number];

const DEFAULT_RUNS: Record<Mode, number> = { random: 10_000, exhaustive: 1, writers: 3000 };
const MAX_FAILURES = 5;
/** So few runs cannot be expected to meet every fault. */
const RUNS_FOR_ALL_FAULTS = 500;
const PROGRESS_MS = 10_000;

interface Options {
  modes: Mode[];
  seed: number | undefined;
  runs: number | undefined;
  from: number;
  minutes: number | undefined;
  /** A file with a script, or with `{ script, crashPoints }`. */
  script: string | undefined;
}

class Session {
  readonly coverage = new Coverage();
  failures = 0;
  readonly #start = performance.now();
  readonly #cpu = process.cpuUsage();
  #saidAt = this.#start;

  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  progress(what: string): void {
    const now = performance.now();
    if (now - this.#saidAt < PROGRESS_MS) return;
    this.#saidAt = now;
    const { cycles } = this.coverage;
    process.stderr.write(
      `${what}: ${cycles} crashes with recovery, ${this.seconds.toFixed(0)} s, ${this.failures} failures\n`,
    );
  }

  failed(text: string): void {
    this.failures++;
    process.stdout.write(`FAILED ${text}\n`);
  }

  finish(): number {
    const { user, system } = process.cpuUsage(this.#cpu);
    const cpu = (user + system) / 1e6;
    const { cycles } = this.coverage;
    process.stdout.write(`${this.coverage.summary()}\n`);
    process.stdout.write(
      `${this.seconds.toFixed(1)} s, ${cpu.toFixed(1)} s of processor time: ${(cycles / cpu).toFixed(0)} crashes with recovery per second of it\n`,
    );
    process.stdout.write(this.failures === 0 ? 'all right\n' : `${this.failures} failures\n`);
    return this.failures === 0 ? 0 : 1;
  }
}

export async function main(args: string[]): Promise<number> {
  const options = parse(args);
  let unhandled: unknown;
  process.on('unhandledRejection', (reason) => {
    unhandled = reason;
    process.stdout.write(`FAILED with an unhandled rejection: ${String(reason)}\n`);
  });
  const code = await run(options);
  return unhandled === undefined ? code : 1;
}

function run(options: Options): Promise<number> {
  if (options.script !== undefined) return replay(JSON.parse(readFileSync(options.script, 'utf8')));
  if (options.seed !== undefined) {
    const isWriters = options.modes.length === 1 && options.modes[0] === 'writers';
    return show(isWriters ? new WritersRun(options.seed, true) : new SingleRun(makeScript(options.seed), true));
  }
  // Stacks of errors cost a tenth of the time; a replay has them.
  Error.stackTraceLimit = 0;
  return runModes(options);
}

async function replay(what: Script | { script: Script | string; crashPoints: CrashPoint[] }): Promise<number> {
  const { script, crashPoints } = 'script' in what ? what : { script: what, crashPoints: [] };
  return show(new SingleRun(typeof script === 'string' ? exhaustiveScript(script) : script, true, crashPoints));
}

async function show(run: SingleRun | WritersRun): Promise<number> {
  const { lines, failure, traceHash } = await run.run();
  process.stdout.write(`${(lines as string[]).join('\n')}\n`);
  process.stdout.write(`trace ${traceHash}\n${failure === undefined ? 'all right' : `FAILED ${failure}`}\n`);
  const cause = run.world.failure?.cause;
  if (cause instanceof Error) process.stdout.write(`${cause.stack}\n`);
  return failure === undefined ? 0 : 1;
}

async function runModes(options: Options): Promise<number> {
  const session = new Session();
  for (const mode of options.modes) {
    if (mode === 'random') await runRandom(session, options);
    else if (mode === 'writers') await runWriters(session, options);
    else await runAllExhaustively(session);
  }
  return session.finish();
}

async function runRandom(session: Session, { from, runs, minutes }: Options): Promise<void> {
  const end = from + (runs ?? (minutes === undefined ? DEFAULT_RUNS.random : Number.POSITIVE_INFINITY));
  const covered = new Coverage();
  for (let seed = from; seed < end; seed++) {
    if (minutes !== undefined && session.seconds > minutes * 60) break;
    const result = await new SingleRun(makeScript(seed)).run();
    covered.add(result);
    session.coverage.add(result);
    session.progress(`random, seed ${seed}`);
    if (result.failure === undefined) continue;
    session.failed(`seed ${seed}: ${result.failure}\n  npm run sim -- --seed ${seed}`);
    const small = await shrink(makeScript(seed));
    process.stdout.write(`  smaller, for --script FILE: ${JSON.stringify(small)}\n`);
    if (session.failures >= MAX_FAILURES) return;
  }
  const missing = covered.missing(ALL_FAULTS);
  if (covered.runs >= RUNS_FOR_ALL_FAULTS && missing.length > 0)
    session.failed(`faults that never fired: ${missing.join(', ')}`);
}

async function runWriters(session: Session, { from, runs, minutes }: Options): Promise<void> {
  const end = from + (runs ?? (minutes === undefined ? DEFAULT_RUNS.writers : Number.POSITIVE_INFINITY));
  for (let seed = from; seed < end; seed++) {
    if (minutes !== undefined && session.seconds > minutes * 60) break;
    const result = await new WritersRun(seed).run();
    session.coverage.add(result);
    session.progress(`writers, seed ${seed}`);
    if (result.failure === undefined) continue;
    session.failed(`writers, seed ${seed}: ${result.failure}\n  npm run sim -- --mode writers --seed ${seed}`);
    if (session.failures >= MAX_FAILURES) return;
  }
}

async function runAllExhaustively(session: Session): Promise<void> {
  for (const name of EXHAUSTIVE_SCRIPTS) {
    const { runs, coverage, failures } = await runExhaustively(name, 1, (n) => session.progress(`${name}, run ${n}`));
    session.coverage.merge(coverage);
    process.stderr.write(`exhaustive, ${name}: ${runs} runs, ${failures.length} failures\n`);
    for (const { crashPoints, failure } of failures.slice(0, MAX_FAILURES)) {
      session.failed(`${name}: ${failure}\n  for --script FILE: ${JSON.stringify({ script: name, crashPoints })}`);
    }
  }
}

function parse(args: readonly string[]): Options {
  const given = new Map<string, string>();
  for (let i = 0; i < args.length; i += 2) {
    const name = /^--(mode|seed|runs|from|minutes|script)$/.exec(args[i])?.[1];
    if (name === undefined || args[i + 1] === undefined) throw new Error(`unknown or incomplete option ${args[i]}`);
    given.set(name, args[i + 1]);
  }
  const number = (name: string) => {
    const text = given.get(name);
    if (text !== undefined && !Number.isFinite(Number(text))) throw new Error(`--${name} must be a number`);
    return text === undefined ? undefined : Number(text);
  };
  const mode = given.get('mode');
  if (mode !== undefined && !MODES.includes(mode as Mode)) throw new Error(`--mode must be one of ${MODES.join(', ')}`);
  return {
    modes: mode === undefined ? [...MODES] : [mode as Mode],
    seed: number('seed'),
    runs: number('runs'),
    from: number('from') ?? 1,
    minutes: number('minutes'),
    script: given.get('script'),
  };
}
