// The S3 server of `npm run test:consumers`: one that runs, or a MinIO process.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const START_LIMIT_MS = 30_000;

/** Undefined where there is none. `location`: of a database at a path in a bucket that is there. */
export async function startS3(work) {
  const given = process.env.SHALEDB_TEST_S3_ENDPOINT;
  if (given !== undefined) {
    const bucket = process.env.SHALEDB_S3_BUCKET ?? 'shaledb';
    return serverAt(given, bucket, { AWS_REGION: process.env.AWS_REGION ?? 'us-east-1' }, async () => {});
  }
  const program = process.env.SHALEDB_MINIO ?? 'minio';
  if (spawnSync(program, ['--version']).status !== 0) return undefined;
  const env = { AWS_ACCESS_KEY_ID: 'shaledb', AWS_SECRET_ACCESS_KEY: 'shaledb-tests', AWS_REGION: 'us-east-1' };
  const data = join(work, 'minio');
  mkdirSync(join(data, 'shaledb'), { recursive: true });
  const address = `127.0.0.1:${await freePort()}`;
  const settings = {
    MINIO_ROOT_USER: env.AWS_ACCESS_KEY_ID,
    MINIO_ROOT_PASSWORD: env.AWS_SECRET_ACCESS_KEY,
    MINIO_BROWSER: 'off',
    MINIO_UPDATE: 'off',
  };
  const child = spawn(program, ['server', '--address', address, data], {
    env: { ...process.env, ...settings },
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  process.once('exit', () => child.kill('SIGKILL'));
  await ready(`http://${address}`, child);
  return serverAt(`http://${address}`, 'shaledb', env, async () => {
    child.kill();
    await ended;
  });
}

function serverAt(endpoint, bucket, env, stop) {
  return { endpoint, env, stop, location: (path) => `s3://${bucket}/${path}?endpoint=${endpoint}` };
}

async function ready(endpoint, child) {
  const endMs = Date.now() + START_LIMIT_MS;
  while (child.exitCode === null && Date.now() < endMs) {
    const answer = await fetch(`${endpoint}/minio/health/ready`).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`MinIO did not start at ${endpoint} (exit ${child.exitCode})`);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
