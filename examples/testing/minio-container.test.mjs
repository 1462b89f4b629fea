// Tests of your own service against a real S3 server: a MinIO in a container that lives as long as the tests. A crash is a handle that is
// never closed; the next one takes over, and finds everything that was acknowledged. Runs under any test runner; here Node's own.
//
//   needs: containers (Docker)
//   npm run build && node examples/testing/minio-container.test.mjs
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { MinioContainer } from '@testcontainers/minio';
import { Client } from 'minio';
import { isDbError, open } from 'shaledb';
import { S3Store } from 'shaledb/s3';
import { findOrder, placeOrder } from './_orders.mjs';

const BUCKET = 'shop';
let container;
let store;

before(async () => {
  container = await new MinioContainer(
    process.env.SHALEDB_MINIO_IMAGE || 'minio/minio:RELEASE.2025-09-07T16-13-09Z',
  ).start();
  const [accessKey, secretKey] = [container.getUsername(), container.getPassword()];
  const endPoint = container.getHost();
  const port = container.getPort();
  await new Client({ endPoint, port, useSSL: false, accessKey, secretKey }).makeBucket(BUCKET);
  store = new S3Store({
    bucket: BUCKET,
    endpoint: `http://${endPoint}:${port}`,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
  });
});
after(async () => {
  await store?.close();
  await container?.stop();
});

test('an order that was acknowledged survives the process that took it', async () => {
  const first = await open({ store, path: 'orders' });
  const order = { id: '17', customer: 'ada', total: 20 };
  await placeOrder(first, order);

  const second = await open({ store, path: 'orders' });
  try {
    assert.deepEqual(await findOrder(second, '17'), order);
    await assert.rejects(
      placeOrder(first, { ...order, id: '18' }),
      (error) => isDbError(error) && error.kind === 'fenced',
    );
    assert.equal(await findOrder(second, '18'), undefined);
  } finally {
    await second.close();
    await first.close();
  }
});
