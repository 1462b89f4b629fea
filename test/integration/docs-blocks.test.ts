/**
 * Every block of code in README.md and the pages of docs is run as a user would run it, and prints what the page shows below it:
 * `npm run docs` writes what has changed.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeWithS3, ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const SCRIPT = join(REPOSITORY_ROOT, 'scripts', 'run-docs.mjs');
const ALL_RIGHT = /^\d+ programs, \d+ commands, \d+ outputs of examples: all as the pages say\n$/;

async function runBlocks(s3: 'only' | 'without', env: NodeJS.ProcessEnv) {
  const args = [SCRIPT, '--check', '--s3', s3];
  const ran = await promisify(execFile)(process.execPath, args, {
    env,
    cwd: REPOSITORY_ROOT,
    maxBuffer: 2 ** 26,
  }).catch((error: { stdout: string; stderr: string }) => error);
  expect(ran.stderr).toBe('');
  expect(ran.stdout).toMatch(ALL_RIGHT);
}

describe('the code of the pages', () => {
  beforeAll(ensureBuilt);

  it('runs and prints what is shown', () => runBlocks('without', process.env));
});

describeWithS3('the code of the pages that needs a server', (s3) => {
  beforeAll(ensureBuilt);

  it('runs and prints what is shown', () =>
    runBlocks('only', {
      ...process.env,
      SHALEDB_TEST_S3_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    }));
});
