// Uses the packed package as users do: `npm run test:consumers [-- WORD ...]`, with words for the cases whose names contain one of them.
// Each case is a fresh project with the package installed, and a program that opens, writes, scans, reads, compacts and closes, on a
// directory and on MinIO: scripts/consumers/. The last line is `N passed, N failed`.
//
// MinIO: a server that SHALEDB_TEST_S3_ENDPOINT names (with keys in AWS_*), else a process of the program that SHALEDB_MINIO names or
// `minio`, else none, said so. Compilers, bundlers and runtimes come from the package registry and are kept in SHALEDB_CI_CACHE, else
// in .cache/.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { casesOf } from './consumers/cases.mjs';
import { startS3 } from './consumers/s3.mjs';
import { TOOLS } from './consumers/tools.mjs';
import { installTools } from './tools-from-registry.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const TIME_LIMIT_MS = 180_000;
const AT_ONCE = 2;

const work = mkdtempSync(join(tmpdir(), 'shaledb-consumers-'));
const tools = join(process.env.SHALEDB_CI_CACHE ?? join(ROOT, '.cache'), 'consumers');
const running = new Set();

/** The output of a program; rejects with it if it fails or does not end in time. */
function run(program, args, { cwd, env = {}, limitMs = TIME_LIMIT_MS }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(child);
    let output = '';
    const keep = (bytes) => {
      output = (output + bytes).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    const end = (why) => {
      clearTimeout(timer);
      running.delete(child);
      if (why === undefined) resolve(output);
      else reject(new Error(`${program} ${args.join(' ')}: ${why}\n${output}`));
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) =>
      end(code === 0 ? undefined : signal === 'SIGKILL' ? `did not end within ${limitMs / 1000} s` : `exit ${code}`),
    );
  });
}

/** A directory with the package and what it depends on, from the tarball as npm installs it. */
async function installed(name, tarball, args) {
  const directory = join(work, name);
  mkdirSync(directory);
  writeFileSync(join(directory, 'package.json'), '{ "private": true }\n');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  await run('npm', ['install', ...options, tarball, ...args], { cwd: directory });
  return join(directory, 'node_modules');
}

/** Makes the fresh directory of a case: `files`, and a copy of what was installed. */
function project(name, packages, files, type = 'module') {
  const directory = join(work, name.replace(/[^\w.]+/g, '-'));
  mkdirSync(directory);
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ private: true, type }));
  if (packages !== undefined) {
    const to = join(directory, 'node_modules');
    // Links of the same files: a tenth of the time of a copy.
    if (spawnSync('cp', ['-al', packages, to]).status !== 0) cpSync(packages, to, { recursive: true });
  }
  for (const [file, text] of Object.entries(files)) writeFileSync(join(directory, file), text);
  return directory;
}

async function runCase({ name, use }, context, sums) {
  const startedMs = Date.now();
  const seconds = () => `${((Date.now() - startedMs) / 1000).toFixed(1)} s`;
  try {
    const { note } = (await use(context)) ?? {};
    sums.passed++;
    console.log(`ok   ${name} (${seconds()}${note === undefined ? '' : `; ${note}`})`);
  } catch (error) {
    sums.failed++;
    console.log(`FAIL ${name} (${seconds()})`);
    console.log(String(error instanceof Error ? error.message : error).replace(/^/gm, '  | '));
  }
}

async function main(words) {
  const startedMs = Date.now();
  if (!existsSync(join(ROOT, 'dist', 'index.js'))) throw new Error('no dist/: run "npm run build" first');
  const isLinux = process.platform === 'linux' && process.arch === 'x64';
  if (!isLinux) console.log('skip other runtimes: their binaries are fetched for Linux on x64 only');
  installTools(tools, { ...TOOLS.everywhere, ...(isLinux && TOOLS.linux) });
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', work], { cwd: ROOT });
  const { name, version } = JSON.parse(await run('npm', ['pkg', 'get', 'name', 'version'], { cwd: ROOT }));
  const tarball = join(work, `${name}-${version}.tgz`);
  const packages = await installed('installed', tarball, TOOLS.codecs);
  const withoutOptional = await installed('without-optional', tarball, ['--omit=optional']);
  const s3 = await startS3(work);
  console.log(s3 === undefined ? 'skip S3: no SHALEDB_TEST_S3_ENDPOINT, no minio program' : `S3: ${s3.endpoint}`);
  let locations = 0;
  const context = {
    run,
    project,
    tools,
    work,
    packages,
    withoutOptional,
    locations: () => {
      const directory = String(pathToFileURL(join(work, `data-${++locations}`)));
      return s3 === undefined ? [directory] : [directory, s3.location(`consumers-${process.pid}-${locations}`)];
    },
    env: s3?.env ?? {},
  };
  const all = casesOf({ isLinux });
  const chosen = words.length === 0 ? all : all.filter((each) => words.some((word) => each.name.includes(word)));
  if (chosen.length === 0) throw new Error(`no case is named ${words.join(', ')}`);
  console.log(`ready after ${Math.round((Date.now() - startedMs) / 1000)} s; ${chosen.length} cases`);
  const sums = { passed: 0, failed: 0 };
  const queue = [...chosen];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await runCase(next, context, sums);
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
  } finally {
    await s3?.stop();
  }
  console.log(`${sums.passed} passed, ${sums.failed} failed`);
  return sums.failed;
}

function cleanUp() {
  for (const child of running) child.kill('SIGKILL');
  rmSync(work, { recursive: true, force: true });
}

process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
process.once('exit', cleanUp);
try {
  process.exitCode = (await main(process.argv.slice(2))) > 0 ? 1 : 0;
} catch (error) {
  console.log(error instanceof Error ? error.message : error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
}
