/** Where crash cycles run: a fresh directory, a fresh path in a bucket, or a bucket of a MinIO that is killed itself. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as minio from 'minio';
import { LocalStore } from '../../src/store/local-store.ts';
import { S3Store } from '../../src/store/s3-store.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import type { CrashPlace, CrashRun } from './crash-cycles.ts';
import { MINIO_KEYS, MinioProcess } from './minio-process.ts';

const PATH = 'db';
const BUCKET = 'crash';
const REGION = 'us-east-1';

export interface DisposablePlace extends CrashPlace {
  dispose(): Promise<void>;
}

export function crashDirectory(): DisposablePlace {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-crash-'));
  return {
    child: { directory, path: PATH },
    ours: { store: new LocalStore(directory), path: PATH },
    dispose: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** A bucket that exists, on any server. */
export function crashBucket(
  server: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string },
  bucket: string,
): DisposablePlace {
  const { endpoint, region, accessKeyId, secretAccessKey } = server;
  const s3 = { bucket, endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } };
  const store = new S3Store(s3);
  return { child: { s3, path: PATH }, ours: { store, path: PATH }, dispose: () => store.close() };
}

export interface KillableServer extends DisposablePlace {
  /** Kills the server, breaks all connections, and starts it again on another port. */
  restart(): Promise<void>;
}

/** A MinIO of its own, reached through a proxy whose address stays. */
export async function killableMinio(program: string): Promise<KillableServer> {
  const directory = mkdtempSync(join(tmpdir(), 'shaledb-crash-minio-'));
  const server = new MinioProcess(program, directory);
  await server.start();
  const { port } = new URL(server.endpoint);
  const { accessKeyId: accessKey, secretAccessKey: secretKey } = MINIO_KEYS;
  const admin = new minio.Client({ endPoint: '127.0.0.1', port: Number(port), useSSL: false, accessKey, secretKey });
  await admin.makeBucket(BUCKET, REGION);
  const proxy = await startTcpProxy(server.endpoint);
  const place = crashBucket({ endpoint: proxy.endpoint, region: REGION, ...MINIO_KEYS }, BUCKET);
  return {
    ...place,
    restart: async () => {
      await server.kill();
      proxy.cutAll();
      await server.start();
      proxy.retarget(server.endpoint);
    },
    dispose: async () => {
      await place.dispose();
      await proxy.close();
      await server.kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Batches that must be acknowledged after the server came back, before the writer is asked to end. */
const BATCHES_AFTER = 20;

/** One death of the server amid the writes of a process, which must go on with it when it is back; then the check. */
export async function serverCycle(run: CrashRun, place: KillableServer, batchesBefore: number): Promise<void> {
  const life = run.startLife();
  await life.until(() => life.ready !== undefined && life.durable >= life.ready + batchesBefore);
  await place.restart();
  const back = life.submitted;
  await life.until(() => life.durable >= back + BATCHES_AFTER);
  await life.stop();
  await run.check(life);
  run.totals.cycles++;
}
