// A database in a bucket, with two handles on it: a writer and a reader. Needs: s3.
//
//   docker compose -f docker/compose.yaml up -d
//   SHALEDB_TEST_S3_ENDPOINT=http://127.0.0.1:9000 node examples/s3-minio/s3-minio.mjs
//
// The bucket is `shaledb`, or the one that SHALEDB_S3_BUCKET names; it must exist. Keys come from the AWS SDK's usual chain
// (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a role ...). For AWS itself leave the endpoint out and name a
// bucket. The example writes below `examples/` and deletes what it wrote.
import { open, openReader, prefixedStore } from 'shaledb';
import { S3Store } from 'shaledb/s3';

const endpoint = process.env.SHALEDB_TEST_S3_ENDPOINT;
const bucket = process.env.SHALEDB_S3_BUCKET ?? (endpoint === undefined ? undefined : 'shaledb');
if (bucket === undefined) {
  console.log(
    's3-minio: nothing to do. Set SHALEDB_TEST_S3_ENDPOINT=http://host:port (MinIO), or SHALEDB_S3_BUCKET=name (AWS).',
  );
  process.exit(0);
}
if (endpoint !== undefined) {
  // What docker/compose.yaml sets.
  process.env.AWS_ACCESS_KEY_ID ??= 'minioadmin';
  process.env.AWS_SECRET_ACCESS_KEY ??= 'minioadmin';
  process.env.AWS_REGION ??= 'us-east-1';
}

const path = `examples/s3-minio-${Date.now()}`;
const parameters = endpoint === undefined ? '' : `?${new URLSearchParams({ endpoint, forcePathStyle: 'true' })}`;
const location = `s3://${bucket}/${path}${parameters}`;
const text = (bytes) => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

const db = await open(location);
try {
  let startMs = performance.now();
  await db.put('greeting', 'hello, bucket');
  console.log(`one durable put: ${Math.round(performance.now() - startMs)} ms`);

  startMs = performance.now();
  await Promise.all(Array.from({ length: 1000 }, (_, i) => db.put(`row/${String(i).padStart(4, '0')}`, `value ${i}`)));
  console.log(`1,000 durable puts at once: ${Math.round(performance.now() - startMs)} ms`);

  // A reader writes nothing and needs no permission to; any number of them, on any machine.
  const reader = await openReader(location);
  try {
    console.log('the reader sees:', text(await reader.get('greeting')));
    await db.put('greeting', 'hello again');
    console.log('before refresh: ', text(await reader.get('greeting')));
    await reader.refresh();
    console.log('after refresh:  ', text(await reader.get('greeting')));
  } finally {
    await reader.close();
  }
} finally {
  await db.close();
}
const { list, get, head, put } = db.requestCounts();
console.log(`requests of the writer: ${put} PUT, ${get} GET, ${head} HEAD, ${list} LIST`);

// Deleting a database means deleting its objects.
const store = new S3Store({ bucket, ...(endpoint !== undefined && { endpoint, forcePathStyle: true }) });
const root = prefixedStore(store, path);
const objects = [];
for await (const object of root.list('')) objects.push(object.path);
await root.delete(objects);
await store.close();
console.log(`deleted ${objects.length} objects`);
