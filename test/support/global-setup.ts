/**
 * Runs once before the slow tests: finds out what the machine offers, says in one line each what is missing, starts the
 * shared S3 server and stops it at the end.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { getContainerRuntimeClient, ImageName } from 'testcontainers';
import type { TestProject } from 'vitest/node';
import type { TestEnvironment } from './environment.ts';
import { externalS3 } from './external-s3.ts';
import { DEFAULT_MINIO_IMAGE, type S3ForTests, startMinio } from './s3-server.ts';

const SLATEDB_VERSION = '0.17.0';
const SLATEDB_RUST_VERSION = '0.18.0';
const run = promisify(execFile);

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const containers = await findContainers();
  const { s3, own } = await findS3(containers);
  const slateDb017 = await findSlateDb017(project.config.root);
  const slateDb018 = await findSlateDb018(project.config.root);
  if ('missing' in s3) say('S3', s3.missing, 'SHALEDB_REQUIRE_S3');
  else if ('missing' in containers) say('container', containers.missing, 'none');
  if ('missing' in slateDb017) say(`SlateDB ${SLATEDB_VERSION}`, slateDb017.missing, 'SHALEDB_REQUIRE_SLATEDB');
  if ('missing' in slateDb018) {
    const requiredBy = slateDb018.isOptional ? 'none' : 'SHALEDB_REQUIRE_SLATEDB';
    say(`SlateDB ${SLATEDB_RUST_VERSION}`, slateDb018.missing, requiredBy);
  }
  project.provide('environment', { s3, containers, slateDb017, slateDb018 });
  return async () => own?.stop();
}

function say(what: string, reason: string, requiredBy: string): void {
  const verdict = process.env[requiredBy] === '1' ? `fail (${requiredBy}=1)` : 'are skipped';
  process.stdout.write(`${what} tests ${verdict}: ${reason}\n`);
}

async function findContainers(): Promise<TestEnvironment['containers']> {
  if (process.env['SHALEDB_CONTAINERS'] === 'unavailable') return { missing: 'SHALEDB_CONTAINERS=unavailable' };
  try {
    const client = await getContainerRuntimeClient();
    const reaper = process.env['RYUK_CONTAINER_IMAGE'] ?? 'testcontainers/ryuk:0.14.0';
    // The reaper only tidies up after a killed run; pulling its image must not decide whether tests can run.
    const present = await client.image.exists(ImageName.fromString(reaper)).catch(() => false);
    if (!present) process.env['TESTCONTAINERS_RYUK_DISABLED'] ??= 'true';
    return { image: process.env['SHALEDB_MINIO_IMAGE'] || DEFAULT_MINIO_IMAGE };
  } catch {
    return { missing: 'no Docker daemon answers and SHALEDB_TEST_S3_ENDPOINT is not set' };
  }
}

async function findS3(
  containers: TestEnvironment['containers'],
): Promise<{ s3: TestEnvironment['s3']; own: S3ForTests | undefined }> {
  const external = externalS3(process.env);
  if (external !== undefined) return { s3: external, own: undefined };
  if ('missing' in containers) return { s3: containers, own: undefined };
  try {
    const own = await startMinio(containers.image);
    const { endpoint, accessKeyId, secretAccessKey, region, kind, containerId } = own;
    return { s3: { endpoint, accessKeyId, secretAccessKey, region, kind, containerId: containerId! }, own };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { s3: { missing: `the image ${containers.image} did not start: ${reason.split('\n')[0]}` }, own: undefined };
  }
}

async function findSlateDb017(root: string): Promise<TestEnvironment['slateDb017']> {
  const named = process.env['SHALEDB_SLATEDB_PYTHON'];
  const python = named || join(root, '.cache', `slatedb-${SLATEDB_VERSION}`, 'bin', 'python');
  if (!existsSync(python)) {
    if (named) return { missing: `SHALEDB_SLATEDB_PYTHON names ${named}, which does not exist` };
    return { missing: 'it is not installed; `node scripts/install-slatedb.mjs` installs it' };
  }
  const probe = 'import importlib.metadata as m, slatedb.uniffi; print(m.version("slatedb"))';
  try {
    const { stdout } = await run(python, ['-c', probe], { timeout: 60_000 });
    if (stdout.trim() === SLATEDB_VERSION) return { python };
    return { missing: `${python} has version ${stdout.trim()}` };
  } catch (error) {
    return {
      missing: `${python} cannot import it: ${String((error as { stderr?: string }).stderr ?? error)
        .trim()
        .split('\n')
        .at(-1)}`,
    };
  }
}

async function findSlateDb018(root: string): Promise<TestEnvironment['slateDb018']> {
  const named = process.env['SHALEDB_SLATEDB_018'];
  if (named) {
    if (existsSync(named)) return { program: named };
    return { missing: `SHALEDB_SLATEDB_018 names ${named}, which does not exist`, isOptional: false };
  }
  const script = join(root, 'scripts', 'build-slatedb-018.mjs');
  const program = (await run(process.execPath, [script, '--where', join(root, '.cache')])).stdout.trim();
  if (existsSync(program)) return { program };
  const hasCargo = await run('cargo', ['--version']).then(
    () => true,
    () => false,
  );
  if (hasCargo) {
    return { missing: 'it is not built; `node scripts/build-slatedb-018.mjs` builds it', isOptional: false };
  }
  return { missing: 'it is not built, and there is no cargo here to build it with', isOptional: true };
}
