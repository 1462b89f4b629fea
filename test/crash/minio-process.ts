/**
 * A MinIO of its own, which can be killed and started again on the same data, on another port. Only where the program is:
 * `SHALEDB_MINIO` names it, or it is found as `minio` on the PATH.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';

const START_LIMIT_MS = 30_000;
const POLL_MS = 50;
export const MINIO_KEYS = { accessKeyId: 'shaledb', secretAccessKey: 'shaledb-tests' };

export function findMinio(): string | undefined {
  const named = process.env['SHALEDB_MINIO'];
  const candidates = named ? [named] : (process.env['PATH'] ?? '').split(delimiter).map((dir) => join(dir, 'minio'));
  return candidates.find(existsSync);
}

export class MinioProcess {
  readonly #program: string;
  readonly #directory: string;
  #child: ChildProcess | undefined;
  endpoint = '';

  constructor(program: string, directory: string) {
    this.#program = program;
    this.#directory = directory;
  }

  /** Resolves when it answers. */
  async start(): Promise<void> {
    const port = await freePort();
    this.endpoint = `http://127.0.0.1:${port}`;
    const args = ['server', this.#directory, '--quiet', '--address', `127.0.0.1:${port}`];
    const child = spawn(this.#program, args, {
      stdio: 'ignore',
      env: {
        ...process.env,
        MINIO_ROOT_USER: MINIO_KEYS.accessKeyId,
        MINIO_ROOT_PASSWORD: MINIO_KEYS.secretAccessKey,
        MINIO_BROWSER: 'off',
      },
    });
    this.#child = child;
    const limit = performance.now() + START_LIMIT_MS;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`MinIO ended with ${child.exitCode}`);
      const answer = await fetch(`${this.endpoint}/minio/health/ready`).catch(() => undefined);
      if (answer?.ok) return;
      if (performance.now() > limit) throw new Error('MinIO does not answer');
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
