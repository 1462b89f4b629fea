/** docs/repair-story.md, played again on a real server. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { describeWithS3, ensureBuilt, REPOSITORY_ROOT } from '../support/environment.ts';

const SCRIPT = join(REPOSITORY_ROOT, 'scripts', 'make-transcript.mjs');

describeWithS3('the story of a repair', (s3) => {
  beforeAll(ensureBuilt);

  it('is what happens, command by command', async () => {
    const env = {
      ...process.env,
      SHALEDB_TEST_S3_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    };
    const played = await promisify(execFile)(process.execPath, [SCRIPT, '--check'], { env }).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    expect(played).toEqual({ stdout: 'the page shows what happens\n', stderr: '' });
  });
});
