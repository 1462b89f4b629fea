// `npm run sim:defects`: shows that the simulator sees. Each patch in test/sim/defects makes one deliberate defect in a copy of
// src/, and the simulator must fail on that copy within RUNS seeds; then the seed and the oracle are printed. A line `modes:`
// at the head of a patch says in which modes of the simulator. Exit code 1 if a defect survives or a patch no longer applies.
// `npm run sim:defects -- NAME` tries the patches whose name contains NAME.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '..');
const PATCHES = join(ROOT, 'test', 'sim', 'defects');
// Below the checkout, so that the copy finds its packages.
const COPY = join(ROOT, '.cache', 'defect');
const MODES = 'random writers';
const RUNS = 1000;
const LIMIT_MS = 180_000;

/** First failure of the simulator on the copy in `mode`; undefined if there is none. */
function firstFailure(mode) {
  const args = ['scripts/sim.mjs', '--src', join(COPY, 'src'), '--mode', mode, '--runs', String(RUNS)];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'ignore'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  let text = '';
  return new Promise((done) => {
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      // With the seed and what follows it in the first lines, nothing more is needed.
      if (/^FAILED .*\n.*\n/m.test(text)) child.kill('SIGKILL');
    });
    child.on('close', () => {
      clearTimeout(timer);
      done(/^FAILED (.*)/m.exec(text)?.[1]);
    });
  });
}

function modesOf(patch) {
  const text = readFileSync(join(PATCHES, patch), 'utf8');
  return (/^modes: (.+)$/m.exec(text)?.[1] ?? MODES).split(' ');
}

function applies(patch) {
  rmSync(COPY, { recursive: true, force: true });
  mkdirSync(COPY, { recursive: true });
  cpSync(join(ROOT, 'src'), join(COPY, 'src'), { recursive: true });
  // Outside of any repository, or git would leave out what it ignores.
  const env = { ...process.env, GIT_CEILING_DIRECTORIES: join(ROOT, '.cache') };
  return spawnSync('git', ['apply', '-p1', join(PATCHES, patch)], { cwd: COPY, env }).status === 0;
}

const wanted = process.argv[2] ?? '';
let survived = 0;
for (const patch of readdirSync(PATCHES).filter((name) => name.endsWith('.patch') && name.includes(wanted))) {
  const name = patch.replace('.patch', '');
  let verdict = 'the patch no longer applies';
  if (applies(patch)) {
    verdict = undefined;
    for (const mode of modesOf(patch)) {
      const failure = await firstFailure(mode);
      if (failure === undefined) continue;
      verdict = `caught: ${failure}`;
      break;
    }
  }
  if (verdict === undefined || !verdict.startsWith('caught')) survived++;
  console.log(`${name}: ${verdict ?? 'SURVIVES'}`);
}
rmSync(COPY, { recursive: true, force: true });
process.exit(survived === 0 ? 0 : 1);
