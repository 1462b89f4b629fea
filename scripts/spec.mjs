// `npm run spec`: checks the model of the commit protocol (specs/) exhaustively with spin. First the whole model in several
// sizes, which must keep every property; then the model without one rule at a time, which must break one, or the rule, or
// the model of it, is idle. `npm run spec -- NAME` runs the cases whose name contains NAME and prints each counterexample.
//
// Needs spin and a C compiler (Debian: `apt-get install -y spin gcc libc6-dev`). Exit code 1 if a case does not end as it must.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const MODEL = resolve(import.meta.dirname, '../specs/commit-protocol.pml');
const MEMORY_MIB = 4000;
const CASE_LIMIT_MS = 600_000;

/** Sizes of the model, by what they are about. */
const ALONE = 'WRITERS=1 WRITES=2 TOUCHES=2 SLOTS=5 MANIFESTS=6';
const TAKEOVER = 'WRITERS=2 COPIES=0 SLOTS=5 MANIFESTS=5';
/** Two rows for the previous writer: its second one uses a wrong confirmation. */
const TWO_ROWS = `${TAKEOVER} WRITES=2 SECOND_WRITES=1`;
const COPIED = 'WRITERS=2 LOSSES=false SLOTS=4 MANIFESTS=4';
const OPENERS = 'WRITERS=3 FIRST_IS_GONE LOSSES=false COPIES=0 SLOTS=4 MANIFESTS=5 WRITES=2';
const THREE =
  'WRITERS=3 LOSSES=false COPIES=0 SLOTS=4 MANIFESTS=4 WRITES=2 SECOND_WRITES=1 THIRD_WRITES=0 COMMITTERS=2';
/** An opener that is overtaken before it serves. */
const OVERTAKEN = 'WRITERS=3 LOSSES=false COPIES=0 SLOTS=3 MANIFESTS=4 SECOND_WRITES=0 THIRD_WRITES=0 COMMITTERS=2';
const NO_LOG = 'WRITERS=2 WAL_OFF COPIES=0 SLOTS=4 MANIFESTS=5 TOUCHES=2';

/** For runs without end: in a network that never stops losing responses there are some. */
const ENDS = 'WRITERS=2 LOSSES=false COPIES=0 SLOTS=5 MANIFESTS=5';

/** The whole model must keep every property. */
const WHOLE = {
  'one writer beside other roles': ALONE,
  'a takeover, with lost answers': TAKEOVER,
  'a takeover, with lost answers and two rows': TWO_ROWS,
  'a takeover, collected in any order': `${TAKEOVER} ANY_ORDER=true`,
  'a takeover, with late and doubled requests': COPIED,
  'two openers where the writer died': OPENERS,
  'a takeover of a takeover': THREE,
  'a takeover without a log': NO_LOG,
  'a takeover beside a collector that announces': `${TAKEOVER} BOUNDARY`,
  'the same without a log': `${NO_LOG} BOUNDARY`,
};

/** What must break a property when it is done, or left out, and the size of the model in which that shows. */
const WITHOUT = {
  NO_FENCE: TAKEOVER,
  NO_CLAIM_CHECK: TAKEOVER,
  CLAIM_BY_EPOCH: TAKEOVER,
  CLAIM_CONFIRMS: OVERTAKEN,
  NO_FENCE_CHECK: OVERTAKEN,
  FENCE_AGE_FROM_CLAIM: OVERTAKEN,
  FENCES_NEWER: OPENERS,
  PASSED_UNREAD: TAKEOVER,
  NO_EVIDENCE_CHECK: TAKEOVER,
  PASSED_UNCHECKED: THREE,
  NO_CONFIRMATION: TAKEOVER,
  CHECKED_AT_SENDING: TAKEOVER,
  DATED_BY_RECEIPT: TAKEOVER,
  DATED_BY_LAST_SENDING: TWO_ROWS,
  CONFIRM_BEFORE_CHECK: TAKEOVER,
  MONOTONIC_ONLY: TAKEOVER,
  COMMIT_CONFIRMS: TAKEOVER,
  NO_COMMIT_LIST: ALONE,
  LIST_ENDS_COMMIT: ALONE,
  LIST_KEEPS_BASE: ALONE,
  WAL_PUT_CONFIRMS_BASE: ALONE,
  SETTLED_COMMIT_COUNTS: NO_LOG,
  NO_BOUNDARY_AT_CLAIM: `${TAKEOVER} BOUNDARY`,
  NO_BOUNDARY_AT_COMMIT: `${NO_LOG} BOUNDARY`,
  NO_PUT_ID: TAKEOVER,
  PROOF_ONLY_IN_DOUBT: COPIED,
  NO_BINDING: TAKEOVER,
  ACK_EARLY: TAKEOVER,
};

function spinIsMissing() {
  for (const program of ['spin', 'gcc']) {
    if (spawnSync(program, [program === 'spin' ? '-V' : '--version']).error !== undefined) return program;
  }
  return undefined;
}

/** Properties by number, from the model. */
function properties() {
  const text = readFileSync(MODEL, 'utf8');
  const part = text.slice(text.indexOf('---- properties'), text.indexOf('#define REQUIRE'));
  return new Map([...part.matchAll(/#define (\w+) (\d+)/g)].map(([, name, n]) => [n, name.replaceAll('_', ' ')]));
}

/** Checks the model with these macros; breadth first, so a counterexample is a shortest one. */
function check(macros, options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'shaledb-spec-'));
  const pan = join(dir, 'pan');
  const limits = { cwd: dir, encoding: 'utf8', maxBuffer: 1 << 26 };
  const mode = options.cycles === true ? ['-DNP'] : ['-DSAFETY', '-DBFS'];
  try {
    // Under its plain name: by that `pan -r` finds the trail.
    copyFileSync(MODEL, join(dir, 'model.pml'));
    execFileSync('spin', ['-a', ...macros.split(' ').map((m) => `-D${m}`), 'model.pml'], limits);
    // No partial-order reduction: the processes share all their variables, so it would find nothing to leave out.
    execFileSync('gcc', ['-O2', '-w', ...mode, '-DNOREDUCE', `-DMEMLIM=${MEMORY_MIB}`, '-o', 'pan', 'pan.c'], limits);
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
      .filter((line) => /^\s*(writer|store|network|collector|another role)\b/.test(line));
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
const names = properties();
const isWanted = (name) => wanted === undefined || name.includes(wanted);
let failed = 0;

function report(ok, title, text) {
  if (!ok) failed++;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${title}: ${text}`);
}

for (const [title, macros] of Object.entries(WHOLE).filter(([title]) => isWanted(title))) {
  const { states, errors, isComplete, broken, steps } = check(macros);
  const ok = errors === 0 && isComplete;
  report(ok, title, ok ? `${states} states, 0 errors` : `breaks "${names.get(broken) ?? 'unfinished'}"`);
  if (!ok) console.log((steps ?? []).map((line) => `         ${line}`).join('\n'));
}
if (isWanted('a takeover ends')) {
  const whole = check(ENDS, { cycles: true });
  const ok = whole.errors === 0 && whole.isComplete;
  report(ok, 'a takeover ends', ok ? `${whole.states} states, no endless run` : 'there is an endless run');
}
if (isWanted('SAME_SLOT')) {
  const { errors } = check(`${ENDS} SAME_SLOT`, { cycles: true });
  report(errors > 0, 'SAME_SLOT', errors > 0 ? 'breaks "a takeover ends"' : 'breaks nothing');
}
for (const [rule, macros] of Object.entries(WITHOUT).filter(([rule]) => isWanted(rule))) {
  const { errors, broken, steps } = check(`${macros} ${rule}`);
  const ok = errors > 0 && broken !== undefined;
  report(ok, rule, ok ? `breaks "${names.get(broken)}" in ${steps.length} steps` : 'breaks nothing');
  if (ok && wanted !== undefined) console.log(steps.map((line) => `         ${line}`).join('\n'));
}
console.log(failed === 0 ? 'All cases ended as they must.' : `${failed} cases did not end as they must.`);
process.exit(failed === 0 ? 0 : 1);
