/** Containers of a test's own: they keep their data over a restart, and go away. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithContainers, ensureBuilt } from '../support/environment.ts';
import { type S3ForTests, startMinio } from '../support/s3-server.ts';

describeWithContainers('a MinIO container', (image) => {
  let s3: S3ForTests;
  beforeAll(async () => {
    s3 = await startMinio(image);
  });
  afterAll(() => s3?.stop());

  it('keeps objects over a restart, at an endpoint that may be new', async () => {
    const bucket = await s3.freshBucket();
    await s3.client().putObject(bucket, 'o', 'bytes');
    await s3.restart!();
    expect((await s3.client().statObject(bucket, 'o')).size).toBe(5);
  });

  it('is what the example starts that tests a service against it', async () => {
    await ensureBuilt();
    const program = join(import.meta.dirname, '..', '..', 'examples', 'testing', 'minio-container.test.mjs');
    const env = { ...process.env, SHALEDB_MINIO_IMAGE: image };
    const { stdout } = await promisify(execFile)(process.execPath, [program], { env });
    expect(stdout).toMatch(/^# pass 1$/m);
  });
});
