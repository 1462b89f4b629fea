/**
 * The S3 server of a test run: one that runs already (`SHALEDB_TEST_S3_ENDPOINT`), else a MinIO container shared by all
 * test files, else none. Each test file takes buckets of its own. Started and stopped by `global-setup.ts`.
 */
import { randomBytes } from 'node:crypto';
import { MinioContainer } from '@testcontainers/minio';
import * as minio from 'minio';
import { getContainerRuntimeClient } from 'testcontainers';
import { inject } from 'vitest';
import type { ServerKeys } from './external-s3.ts';

/** The last image that MinIO published. */
export const DEFAULT_MINIO_IMAGE = 'minio/minio:RELEASE.2025-09-07T16-13-09Z';

export interface S3ForTests {
  /** `http://host:port`, without a slash at the end. Changes when a container is restarted. */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly kind: 'testcontainers' | 'external';
  readonly containerId?: string;
  /** Stops a server that the caller started; does nothing to the one that the test files share. */
  stop(): Promise<void>;
  /** Restarts a container that the caller started, with its data. */
  restart?(): Promise<void>;
  /** A new bucket with a name that nobody else uses. */
  freshBucket(): Promise<string>;
  /** An independent client (the `minio` package), to look at the store past the code under test. */
  client(): minio.Client;
}

/** The server shared by the test files of this run; undefined if there is none. */
export function s3ForTests(): S3ForTests | undefined {
  const found = inject('environment')?.s3;
  if (found === undefined || 'missing' in found) return undefined;
  shared ??= found;
  return {
    get endpoint() {
      return shared!.endpoint;
    },
    accessKeyId: found.accessKeyId,
    secretAccessKey: found.secretAccessKey,
    region: found.region,
    kind: found.kind,
    stop: async () => {},
    freshBucket: () => freshBucket(shared!),
    client: () => clientOf(shared!),
  };
}

type SharedServer = ServerKeys & { kind: S3ForTests['kind']; containerId?: string };

/** The shared server as this test file sees it: another one where the first has died. */
let shared: SharedServer | undefined;

/**
 * Before the tests of a file: makes sure that the shared server answers. A container that has died is reported with its
 * last words and replaced for this file, since it says nothing about the code under test; any other server is an error.
 */
export async function reviveSharedS3(image: string | undefined): Promise<(() => Promise<void>) | undefined> {
  const server = shared;
  if (server === undefined || (await answers(server.endpoint))) return undefined;
  const words = server.containerId === undefined ? '' : `: ${await lastWords(server.containerId)}`;
  const report = `the S3 server at ${server.endpoint} has stopped answering${words}`;
  if (server.kind !== 'testcontainers' || image === undefined) throw new Error(report);
  process.stdout.write(`${report}; this file goes on with a new one\n`);
  const next = await startMinio(image);
  shared = { ...server, endpoint: next.endpoint, containerId: next.containerId! };
  return async () => {
    shared = server;
    await next.stop();
  };
}

const TRIES = 5;
const LOOK_PAUSE_MS = 1000;

async function answers(endpoint: string): Promise<boolean> {
  for (let look = 0; look < TRIES; look++) {
    if (look > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_PAUSE_MS));
    const answer = await fetch(endpoint, { signal: AbortSignal.timeout(10_000) }).catch(() => undefined);
    // Whatever it says, it is there.
    if (answer !== undefined) return true;
  }
  return false;
}

async function lastWords(containerId: string): Promise<string> {
  try {
    const { dockerode } = (await getContainerRuntimeClient()).container;
    const container = dockerode.getContainer(containerId);
    const { State } = await container.inspect();
    const log = await container.logs({ stdout: true, stderr: true, tail: 15 });
    return `${JSON.stringify(State)}, its log ends with\n${log.toString()}`;
  } catch (error) {
    return `nothing is known of its container (${error instanceof Error ? error.message : String(error)})`;
  }
}

/** Starts a MinIO container. The caller stops it. */
export async function startMinio(image: string): Promise<S3ForTests & { restart(): Promise<void> }> {
  const container = await new MinioContainer(image).withUsername('shaledb').withPassword('shaledb-tests').start();
  const keys = (): ServerKeys => ({
    endpoint: `http://${container.getHost()}:${container.getPort()}`,
    accessKeyId: container.getUsername(),
    secretAccessKey: container.getPassword(),
    region: 'us-east-1',
  });
  return {
    get endpoint() {
      return keys().endpoint;
    },
    accessKeyId: keys().accessKeyId,
    secretAccessKey: keys().secretAccessKey,
    region: keys().region,
    kind: 'testcontainers',
    containerId: container.getId(),
    stop: async () => void (await container.stop()),
    restart: () => container.restart(),
    freshBucket: () => freshBucket(keys()),
    client: () => clientOf(keys()),
  };
}

function clientOf(keys: ServerKeys): minio.Client {
  const url = new URL(keys.endpoint);
  const useSSL = url.protocol === 'https:';
  return new minio.Client({
    endPoint: url.hostname,
    port: url.port === '' ? (useSSL ? 443 : 80) : Number(url.port),
    useSSL,
    accessKey: keys.accessKeyId,
    secretKey: keys.secretAccessKey,
    region: keys.region,
    pathStyle: true,
  });
}

async function freshBucket(keys: ServerKeys): Promise<string> {
  const bucket = `shaledb-test-${randomBytes(6).toString('hex')}`;
  await clientOf(keys).makeBucket(bucket, keys.region);
  return bucket;
}
