// Runs every examples/<name>/*.mjs against the built package, as a user's program would, and prints one line each:
//
//   node scripts/run-examples.mjs [NAME ...]
//
// An example whose header says `needs: s3` gets SHALEDB_TEST_S3_ENDPOINT and the AWS_* keys from the environment, and is
// skipped, said so, where there is no such server; one whose header says `needs: containers` is skipped where SHALEDB_CONTAINERS says
// that there are none, or SHALEDB_MINIO_IMAGE is not set. examples/demo has its own command, `npm run demo`. Files that begin
// with `_` are parts of others. Exit code 1 if any failed.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TIME_LIMIT_MS = 60_000;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const only = new Set(process.argv.slice(2));

function examples() {
  const directory = join(root, 'examples');
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((d) => d.isDirectory() && d.name !== 'demo' && (only.size === 0 || only.has(d.name)))
    .flatMap((d) => readdirSync(join(directory, d.name)).map((file) => join('examples', d.name, file)))
    .filter((path) => path.endsWith('.mjs') && !path.split('/').at(-1).startsWith('_'))
    .sort();
}

/** The image is named where it is there: nothing is fetched by itself. */
function hasContainers() {
  const { SHALEDB_CONTAINERS, SHALEDB_MINIO_IMAGE } = process.env;
  return SHALEDB_CONTAINERS !== 'unavailable' && SHALEDB_MINIO_IMAGE !== undefined;
}

/** Resolves to { ok, why, output }. */
function run(path) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [path], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let late = false;
    const keep = (text) => {
      output = (output + text).slice(-20_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, TIME_LIMIT_MS);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const why = late ? `did not end within ${TIME_LIMIT_MS / 1000} s` : code === 0 ? '' : `exit ${signal ?? code}`;
      resolve({ ok: code === 0 && !late, why, output });
    });
  });
}

const found = examples();
let failed = 0;
for (const path of found) {
  const header = readFileSync(join(root, path), 'utf8').slice(0, 2000);
  if (/needs: s3\b/i.test(header) && !process.env.SHALEDB_TEST_S3_ENDPOINT) {
    console.log(`skip ${path}: needs an S3 server; SHALEDB_TEST_S3_ENDPOINT is not set`);
    continue;
  }
  if (/needs: containers\b/i.test(header) && !hasContainers()) {
    console.log(`skip ${path}: needs Docker, and SHALEDB_MINIO_IMAGE, the image of a MinIO`);
    continue;
  }
  const startedMs = Date.now();
  const { ok, why, output } = await run(path);
  console.log(
    `${ok ? 'ok  ' : 'FAIL'} ${path} (${((Date.now() - startedMs) / 1000).toFixed(1)} s)${ok ? '' : `: ${why}`}`,
  );
  if (!ok) {
    failed++;
    console.log(output.replace(/^/gm, '  | '));
  }
}
if (found.length === 0) console.log(only.size > 0 ? `no example is named ${[...only].join(', ')}` : 'no examples');
process.exit(failed > 0 || (only.size > 0 && found.length === 0) ? 1 : 0);
