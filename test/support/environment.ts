/**
 * What the machine offers to the tests beyond Node: an S3 server, containers, SlateDB 0.17 for Python, a program of SlateDB
 * 0.18. It is found once a run by `global-setup.ts`; here test files ask for it. A suite whose partner is missing is skipped and counted as
 * skipped, or, where `SHALEDB_REQUIRE_S3=1` or `SHALEDB_REQUIRE_SLATEDB=1` is set, fails.
 *
 * Only the `slow` project has these: its directories are test/integration, test/interop and test/crash.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, inject, test } from 'vitest';
import { reviveSharedS3, type S3ForTests, s3ForTests } from './s3-server.ts';

export const REPOSITORY_ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What `global-setup.ts` found; every absence comes with its reason. */
export interface TestEnvironment {
  s3:
    | {
        endpoint: string;
        accessKeyId: string;
        secretAccessKey: string;
        region: string;
        kind: S3ForTests['kind'];
        containerId?: string;
      }
    | { missing: string };
  containers: { image: string } | { missing: string };
  slateDb017: { python: string } | { missing: string };
  /** `isOptional`: it could not be made here, so that nobody can require it. */
  slateDb018: { program: string } | { missing: string; isOptional: boolean };
}

declare module 'vitest' {
  interface ProvidedContext {
    environment: TestEnvironment;
  }
}

/** Fails outside the slow project: a test that needs a partner must not be skipped because it is in the wrong directory. */
export function testEnvironment(): TestEnvironment {
  const found = inject('environment');
  if (found === undefined) {
    throw new Error(
      'tests that need a server or another SlateDB belong into test/integration, test/interop or test/crash',
    );
  }
  return found;
}

/** A suite that needs an S3 server. */
export function describeWithS3(name: string, body: (s3: S3ForTests) => void): void {
  const found = testEnvironment().s3;
  if ('missing' in found) {
    describeWithout(name, found.missing, process.env['SHALEDB_REQUIRE_S3'], body);
    return;
  }
  const s3 = s3ForTests();
  if (s3 === undefined) throw new Error('unreachable: the server was found');
  const { containers } = testEnvironment();
  const image = 'missing' in containers ? undefined : containers.image;
  describe(name, () => {
    let stopReplacement: (() => Promise<void>) | undefined;
    beforeAll(async () => {
      stopReplacement = await reviveSharedS3(image);
    });
    afterAll(() => stopReplacement?.());
    body(s3);
  });
}

/** A suite that starts containers of its own. Where none can be started it is skipped, even if S3 is required. */
export function describeWithContainers(name: string, body: (image: string) => void): void {
  const found = testEnvironment().containers;
  if (!('missing' in found)) {
    describe(name, () => body(found.image));
    return;
  }
  const required = process.env['SHALEDB_CONTAINERS'] === 'unavailable' ? undefined : process.env['SHALEDB_REQUIRE_S3'];
  describeWithout(name, found.missing, required, body);
}

/** A suite that needs SlateDB 0.17; `slateDb017()` of slatedb-017.ts finds its Python by itself. */
export function describeWithSlateDb017(name: string, body: () => void): void {
  const found = testEnvironment().slateDb017;
  if ('missing' in found) describeWithout(name, found.missing, process.env['SHALEDB_REQUIRE_SLATEDB'], body);
  else describe(name, () => body());
}

/** A suite that needs SlateDB 0.18. Where there is no cargo to build it, it is skipped, even if SlateDB is required. */
export function describeWithSlateDb018(name: string, body: () => void): void {
  const found = testEnvironment().slateDb018;
  if (!('missing' in found)) {
    describe(name, () => body());
    return;
  }
  const required = found.isOptional ? undefined : process.env['SHALEDB_REQUIRE_SLATEDB'];
  describeWithout(name, found.missing, required, body);
}

function describeWithout(
  name: string,
  reason: string,
  required: string | undefined,
  body: (nothing: never) => void,
): void {
  if (required === '1') {
    describe(name, () => {
      test('has what it needs', () => {
        throw new Error(`required, but ${reason}`);
      });
    });
    return;
  }
  // The tests are registered, so that the count of the skipped is true; the proxy stands in for what is not there.
  const nothing = new Proxy({}, { get: () => undefined }) as never;
  describe.skip(name, () => body(nothing));
}

/** Builds dist/ if a source file is newer, for tests that start processes or threads of the built package. */
export function ensureBuilt(): void {
  const built = join(REPOSITORY_ROOT, 'dist', 'index.js');
  const newest = newestMtimeMs(join(REPOSITORY_ROOT, 'src'));
  if (existsSync(built) && statSync(built).mtimeMs >= newest) return;
  try {
    execFileSync('npm', ['run', '--silent', 'build'], { cwd: REPOSITORY_ROOT, stdio: 'pipe', timeout: 180_000 });
  } catch (error) {
    const output = (error as { stdout?: Buffer }).stdout?.toString() ?? '';
    throw new Error(`npm run build failed:\n${output || String(error)}`);
  }
}

function newestMtimeMs(directory: string): number {
  let newest = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) newest = Math.max(newest, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return newest;
}
