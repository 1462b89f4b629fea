// `npm run spec`: checks the models of specs/ exhaustively with spin. First each whole model in several sizes, which must keep every
// property; then the model without one rule at a time, which must break one, or the rule, or the model of it, is idle.
// `npm run spec -- NAME` runs the cases whose name, or whose model's file, contains NAME; of rules each counterexample is printed.
//
// Needs spin and a C compiler (Debian: `apt-get install -y spin gcc libc6-dev`). Exit code 1 if a case does not end as it must.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { COMMIT_PROTOCOL, COMPACTION } from './spec-cases.mjs';

const SPECS = resolve(import.meta.dirname, '../specs');
const MEMORY_MIB = 4000;
const CASE_LIMIT_MS = 600_000;

function spinIsMissing() {
  for (const program of ['spin', 'gcc']) {
    if (spawnSync(program, [program === 'spin' ? '-V' : '--version']).error !== undefined) return program;
  }
  return undefined;
}

/** Properties of a model by number. */
function properties(file) {
  const text = readFileSync(join(SPECS, file), 'utf8');
  const part = text.slice(text.indexOf('---- properties'), text.indexOf('#define REQUIRE'));
  return new Map([...part.matchAll(/#define (\w+) (\d+)/g)].map(([, name, n]) => [n, name.replaceAll('_', ' ')]));
}

/** Checks a model with these macros; breadth first, so a counterexample is a shortest one. */
function check(file, macros, options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'shaledb-spec-'));
  const pan = join(dir, 'pan');
  const limits = { cwd: dir, encoding: 'utf8', maxBuffer: 1 << 26 };
  const mode = options.cycles === true ? ['-DNP'] : ['-DSAFETY', '-DBFS'];
  try {
    // Under its plain name: by that `pan -r` finds the trail.
    copyFileSync(join(SPECS, file), join(dir, 'model.pml'));
    execFileSync('spin', ['-a', ...macros.split(' ').map((m) => `-D${m}`), 'model.pml'], limits);
    // No partial-order reduction: the processes share all their variables, so it would find nothing to leave out.
    // What breaks soon takes longer to compile than to run.
    const level = options.isShort === true ? '-O1' : '-O2';
    execFileSync('gcc', [level, '-w', ...mode, '-DNOREDUCE', `-DMEMLIM=${MEMORY_MIB}`, '-o', 'pan', 'pan.c'], limits);
    const run = spawnSync(pan, ['-n', '-m1000000', ...(options.cycles === true ? ['-l'] : [])], {
      ...limits,
      timeout: CASE_LIMIT_MS,
    });
    const states = Number(/^\s*([\d.e+]+) states, stored/m.exec(run.stdout)?.[1] ?? Number.NaN);
    const isComplete = run.status === 0 && !/not completed|max search depth too small|out of memory/.test(run.stdout);
    const errors = Number(/errors: (\d+)/.exec(run.stdout)?.[1] ?? Number.NaN);
    if (!(errors > 0)) return { states, errors, isComplete };
    const trail = spawnSync(pan, ['-r', '-n'], limits);
    const steps = trail.stdout
      .split('\n')
      .filter((line) => /^\s*(writer|compactor|store|network|collector|reader|time|another role)\b/.test(line));
    const broken = /BROKEN: property (\d+)/.exec(trail.stdout)?.[1];
    return { states, errors, isComplete, broken, steps: steps.map((line) => line.trim()) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const missing = spinIsMissing();
if (missing !== undefined) {
  console.log(`npm run spec needs ${missing}: apt-get install -y spin gcc libc6-dev`);
  process.exit(1);
}

const wanted = process.argv[2];
let failed = 0;

function report(ok, title, text, startMs) {
  if (!ok) failed++;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${title}: ${text} (${Math.ceil((Date.now() - startMs) / 1000)} s)`);
}

function printSteps(steps) {
  console.log((steps ?? []).map((line) => `         ${line}`).join('\n'));
}

/** Nothing breaks. */
function keeps(file, names, title, macros) {
  const startMs = Date.now();
  const { states, errors, isComplete, broken, steps } = check(file, macros);
  const ok = errors === 0 && isComplete;
  report(ok, title, ok ? `${states} states, 0 errors` : `breaks "${names.get(broken) ?? 'unfinished'}"`, startMs);
  if (!ok) printSteps(steps);
}

/** Something breaks. */
function breaks(file, names, rule, macros) {
  const startMs = Date.now();
  const { states, errors, broken, steps } = check(file, macros, { isShort: true });
  const ok = errors > 0 && broken !== undefined;
  const text = ok ? `breaks "${names.get(broken)}" in ${steps.length} steps, ${states} states` : 'breaks nothing';
  report(ok, rule, text, startMs);
  if (ok && wanted !== undefined) printSteps(steps);
}

function checkEnds(file, isWanted, { title, macros, without }) {
  if (isWanted(title)) {
    const startMs = Date.now();
    const whole = check(file, macros, { cycles: true });
    const ok = whole.errors === 0 && whole.isComplete;
    report(ok, title, ok ? `${whole.states} states, no endless run` : 'there is an endless run', startMs);
  }
  if (isWanted(without)) {
    const startMs = Date.now();
    const { errors } = check(file, `${macros} ${without}`, { cycles: true });
    report(errors > 0, without, errors > 0 ? `breaks "${title}"` : 'breaks nothing', startMs);
  }
}

function checkModel({ file, whole, without, margins, ends }) {
  const names = properties(file);
  const isWanted = (title) => wanted === undefined || title.includes(wanted) || file.includes(wanted);
  const chosen = (cases) => Object.entries(cases).filter(([title]) => isWanted(title));
  for (const [title, macros] of chosen(whole)) keeps(file, names, title, macros);
  if (ends !== undefined) checkEnds(file, isWanted, ends);
  for (const [rules, macros] of chosen(without)) {
    breaks(file, names, rules.replaceAll(' ', ' and '), `${macros} ${rules}`);
  }
  for (const [rule, macros] of chosen(margins)) keeps(file, names, `${rule} alone`, `${macros} ${rule}`);
}

for (const model of [COMMIT_PROTOCOL, COMPACTION]) checkModel(model);
console.log(failed === 0 ? 'All cases ended as they must.' : `${failed} cases did not end as they must.`);
process.exit(failed === 0 ? 0 : 1);
