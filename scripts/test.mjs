// Runs tests and ends with the one line `N passed, N failed[, N skipped]`; before it every failure is listed again by name.
//
//   npm test                      what every change has to pass
//   npm run test:quick            the laws, and what needs no whole database
//   npm run test:long             what takes longer: fuzzing, the sweep, the simulator, repairs while SlateDB runs
//   npm test -- test/unit/common  some files, of any project; all options of vitest
//
// What will be skipped because a server or a package is missing is listed at the start, by test/support/global-setup.ts, one line each.
// Exit code 0 only if something ran and nothing failed.
//
// A test that blocks its process cannot be stopped by its own time limit: a run without progress says where it stands, and
// after STALL_LIMIT_MS its processes are killed and the run fails.
import { execFileSync } from 'node:child_process';
import { parseCLI, startVitest } from 'vitest/node';
import { PlainReporter } from './plain-reporter.mjs';

const STALL_NOTE_MS = 60_000;
// Longer than the longest time limit of a single test (vitest.config.ts).
const STALL_LIMIT_MS = 420_000;
const CLOSE_LIMIT_MS = 20_000;

/** On two cores, measured; a busy machine takes longer. */
const SUITES = {
  test: {
    projects: ['laws', 'fast', 'slow'],
    filter: [],
    takes: 'a quarter of an hour',
    more: 'npm run test:long has the rest',
  },
  quick: {
    projects: ['laws', 'fast'],
    filter: ['test/laws', 'test/unit', 'test/contract'],
    takes: 'two minutes',
  },
  long: { projects: ['fuzz', 'sweep', 'sim', 'live'], filter: [], takes: 'ten minutes' },
};

/** The arguments of vitest: those given, or those of a suite. */
function chosen(args) {
  const name = args.length === 0 ? 'test' : /^--suite=(.*)$/.exec(args[0])?.[1];
  if (name === undefined) return args;
  const suite = SUITES[name];
  if (suite === undefined) throw new Error(`${name} is no suite; there are ${Object.keys(SUITES).join(', ')}`);
  console.log(`This takes about ${suite.takes}${suite.more === undefined ? '' : `; ${suite.more}`}.`);
  return [...suite.projects.flatMap((project) => ['--project', project]), ...suite.filter, ...args.slice(1)];
}

const reporter = new PlainReporter();
let vitest;
let ending = false;

/** Prints the verdict and ends the process: a pool that does not let go would keep it. */
function finish(broken) {
  const failed = reporter.failed + broken;
  const ran = reporter.passed + failed > 0;
  const skipped = reporter.skipped > 0 ? `, ${reporter.skipped} skipped` : '';
  if (!ran) console.log('No test ran.');
  if (reporter.failures.length > 0) console.log(['', 'Failed:', ...reporter.failures, ''].join('\n'));
  const line = `${reporter.passed} passed, ${failed} failed${skipped}\n`;
  process.stdout.write(line, () => process.exit(failed > 0 || !ran ? 1 : 0));
}

function killWorkers() {
  let children = '';
  try {
    children = execFileSync('ps', ['-o', 'pid=', '--ppid', String(process.pid)], { encoding: 'utf8' });
  } catch {
    // No ps here, or no child is left: then there is nobody to kill.
  }
  for (const pid of children.split('\n').map(Number)) {
    try {
      if (pid > 0) process.kill(pid, 'SIGKILL');
    } catch {
      // It has already ended.
    }
  }
}

async function abort(why) {
  if (ending) return;
  ending = true;
  console.log(`${why}; ${reporter.whereabouts()}`);
  killWorkers();
  // Stops the servers that the run started.
  await Promise.race([vitest?.close(), new Promise((resolve) => setTimeout(resolve, CLOSE_LIMIT_MS))]).catch(
    console.error,
  );
  finish(1);
}

const watch = setInterval(() => {
  const idleMs = reporter.idleMs();
  if (idleMs >= STALL_LIMIT_MS) void abort(`no progress for ${STALL_LIMIT_MS / 1000} s`);
  else if (idleMs >= STALL_NOTE_MS)
    console.log(`... no progress for ${Math.round(idleMs / 1000)} s; ${reporter.whereabouts()}`);
}, STALL_NOTE_MS / 2);
process.once('SIGTERM', () => abort('stopped by SIGTERM'));
process.once('SIGINT', () => abort('stopped by SIGINT'));

let broken = 0;
try {
  const { filter, options } = parseCLI(['vitest', 'run', ...chosen(process.argv.slice(2))]);
  vitest = await startVitest('test', filter, { ...options, watch: false, reporters: [reporter] });
  clearInterval(watch);
  if (!ending) await vitest.close();
} catch (error) {
  console.log(error instanceof Error ? (error.stack ?? error.message) : String(error));
  broken = 1;
}
if (!ending) finish(broken);
