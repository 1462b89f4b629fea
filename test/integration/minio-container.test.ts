/** Containers of a test's own: they keep their data over a restart, and go away. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithContainers } from '../support/environment.ts';
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
});
