/** Wrong buckets, keys and endpoints of S3 locations: typed errors that name them, no secret in a message, nothing made. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DbError, isDbError } from '../../src/common/errors.ts';
import { SILENT_LOGGER } from '../../src/common/logger.ts';
import { open, openReader } from '../../src/open.ts';
import type { OpenOptions } from '../../src/upkeep-roles.ts';
import { describeWithS3 } from '../support/environment.ts';

const QUICK: OpenOptions = { logger: SILENT_LOGGER, timeoutMs: 3000, closeTimeoutMs: 3000 };
const SECRET = 'not-the-secret-of-this-server';

async function rejectionOf(promise: Promise<unknown>): Promise<DbError> {
  const error = await promise.then(
    () => expect.fail('it should have been rejected'),
    (reason: unknown) => reason,
  );
  if (!isDbError(error)) throw new Error('a rejection that is no DbError', { cause: error });
  expect(JSON.stringify(error)).not.toContain(SECRET);
  expect(`${error.message}${error.stack}`).not.toContain(SECRET);
  return error;
}

/** Both ways of opening, one after the other. */
async function refusals(location: string): Promise<DbError[]> {
  return [
    await rejectionOf(open(location, QUICK)),
    await rejectionOf(openReader(location, { logger: SILENT_LOGGER, timeoutMs: 3000 })),
  ];
}

const VARIABLES = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE', 'AWS_REGION'];

function useKeys(accessKeyId: string | undefined, secretAccessKey: string | undefined): void {
  for (const name of VARIABLES) delete process.env[name];
  process.env['AWS_REGION'] = 'us-east-1';
  if (accessKeyId !== undefined) process.env['AWS_ACCESS_KEY_ID'] = accessKeyId;
  if (secretAccessKey !== undefined) process.env['AWS_SECRET_ACCESS_KEY'] = secretAccessKey;
}

const saved = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
afterEach(() => {
  for (const [name, value] of Object.entries(saved)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

describeWithS3('an S3 location', (s3) => {
  let bucket: string;
  const location = (name: string, endpoint = s3.endpoint) =>
    `s3://${name}/some/path?endpoint=${encodeURIComponent(endpoint)}&forcePathStyle=true`;
  beforeEach(async () => {
    bucket ??= await s3.freshBucket();
    useKeys(s3.accessKeyId, s3.secretAccessKey);
  });

  async function objects(): Promise<unknown[]> {
    return s3.client().listObjectsV2(bucket, '', true).toArray();
  }

  it('whose bucket does not exist is refused, and the bucket is not made', async () => {
    for (const error of await refusals(location('shaledb-no-such-bucket'))) {
      expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_MISSING', retryable: false });
      expect(error.message).toContain('shaledb-no-such-bucket');
    }
    expect(await s3.client().bucketExists('shaledb-no-such-bucket')).toBe(false);
  });

  it('with wrong keys is refused', async () => {
    for (const keys of [
      [s3.accessKeyId, SECRET],
      ['nobody-here', SECRET],
    ]) {
      useKeys(keys[0], keys[1]);
      for (const error of await refusals(location(bucket))) {
        expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_DENIED', retryable: false });
        expect(error.message).toContain(bucket);
      }
    }
    expect(await objects()).toEqual([]);
  });

  it('without keys is refused', async () => {
    useKeys(undefined, undefined);
    process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
    try {
      for (const error of await refusals(location(bucket))) {
        expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'STORE_DENIED' });
      }
    } finally {
      delete process.env['AWS_EC2_METADATA_DISABLED'];
    }
    expect(await objects()).toEqual([]);
  });

  it('without a database is reported to readers and to those who do not want one made', async () => {
    expect(await rejectionOf(openReader(location(bucket)))).toMatchObject({ code: 'NOT_A_DATABASE' });
    const error = await rejectionOf(open(location(bucket), { ...QUICK, createIfMissing: false }));
    expect(error).toMatchObject({ name: 'InvalidArgumentError', code: 'NOT_A_DATABASE' });
    expect(error.message).toContain('some/path');
    expect(await objects()).toEqual([]);
  });

  it('with the right bucket and keys is opened', async () => {
    const db = await open(location(bucket), QUICK);
    await db.put('k', 'v');
    await db.close();
    const reader = await openReader(location(bucket));
    expect(await reader.has('k')).toBe(true);
    await reader.close();
    expect((await objects()).length).toBeGreaterThan(0);
  });
});

describe('an endpoint', () => {
  const servers: Server[] = [];
  afterAll(() => {
    for (const server of servers) server.close();
  });

  async function serverThat(status: number, type: string, body: string): Promise<string> {
    const server = createServer((request, response) => {
      request.resume();
      request.on('end', () => {
        response.writeHead(status, { 'content-type': type });
        response.end(request.method === 'HEAD' ? undefined : body);
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const at = (endpoint: string) => `s3://bucket/db?endpoint=${encodeURIComponent(endpoint)}&forcePathStyle=true`;

  it('where nobody listens is reported, with the time that the call had', async () => {
    useKeys('key', SECRET);
    for (const error of await refusals(at('http://127.0.0.1:9'))) {
      expect(error).toMatchObject({ name: 'UnavailableError', code: 'STORE_DOWN', retryable: true });
      expect(error.message).toContain('bucket');
      expect(error.message).toContain('within 3000 ms');
    }
  });

  it.each([
    [200, 'text/html', '<html><body>Welcome</body></html>'],
    [200, 'application/xml', ''],
    [200, 'application/json', '{}'],
    [404, 'text/html', '<html>not here</html>'],
    [500, 'text/html', '<html>oops</html>'],
    [301, 'text/html', ''],
  ])('that answers %i %s %j is never taken for an empty store', async (status, type, body) => {
    useKeys('key', SECRET);
    for (const error of await refusals(at(await serverThat(status, type, body)))) {
      expect(['invalid', 'unavailable', 'corruption']).toContain(error.kind);
      expect(error.code).not.toBe('NOT_A_DATABASE');
    }
  });
});
