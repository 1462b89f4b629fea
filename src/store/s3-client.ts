/**
 * The AWS SDK, loaded on first use and set up so that one call is one request: the retry wrapper above counts on that,
 * because a repeated conditional put whose first answer was lost looks like a lost race.
 *
 * Digests of large bodies are made in slices (`s3-payload.ts`). Every request passes `assertSendable` on its way out, and every answer `assertOfStore` on its way in.
 */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import type { Clock } from '../common/clock.ts';
import { provideRequire } from './bundled-require.ts';
import { assertOfStore } from './s3-answer-check.ts';
import type { S3ConnectionOptions } from './s3-options.ts';
import { hashInSlices } from './s3-payload.ts';
import { assertSendable, type Identity } from './s3-request-check.ts';
import { storeError } from './store-error.ts';

export type S3Sdk = typeof import('@aws-sdk/client-s3');

export interface S3Connection {
  sdk: S3Sdk;
  client: S3Client;
  isAws: boolean;
}

/** Where the middleware leaves the `Date` header of an answer. */
export const DATE_HEADER = Symbol('date header');
/** Where it leaves whether the body comes in chunks, the last of which is marked: then its end shows that it is whole. */
export const IS_CHUNKED = Symbol('is chunked');

/**
 * The SDK's module. Reading it takes a tenth of a second, several on a busy machine: done before the clock of a request runs, it costs
 * none of the request's time. Rejects with `STORE_UNSUITABLE` if it cannot be loaded.
 */
export function loadS3Sdk(store: string): Promise<S3Sdk> {
  return loaded(store, '@aws-sdk/client-s3', () => import('@aws-sdk/client-s3'));
}

/** What sends objects in parts: a small module beside the SDK's, needed by the first of them. */
export function loadS3Upload(store: string): Promise<typeof import('@aws-sdk/lib-storage')> {
  return loaded(store, '@aws-sdk/lib-storage', () => import('@aws-sdk/lib-storage'));
}

async function loaded<T>(store: string, name: string, load: () => Promise<T>): Promise<T> {
  try {
    provideRequire();
    return await load();
  } catch (cause) {
    const message = `the package ${name} cannot be loaded: ${reasonOf(cause)}`;
    throw storeError({ cls: 'unsupported', message, store, cause });
  }
}

export async function connectS3(options: S3ConnectionOptions, store: string, clock: Clock): Promise<S3Connection> {
  const sdk = await loadS3Sdk(store);
  const { endpoint } = options;
  let isAws = endpoint === undefined || isAwsHost(hostOf(endpoint));
  let client = new sdk.S3Client(clientConfig(options, isAws));
  const host = endpoint === undefined ? await configuredHost(client) : undefined;
  if (host !== undefined && !isAwsHost(host)) {
    client.destroy();
    isAws = false;
    client = new sdk.S3Client(clientConfig(options, isAws));
  }
  hashInSlices(client, clock);
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const headers = (result.response as { headers?: Record<string, string> } | undefined)?.headers;
      const output = result.output as { [DATE_HEADER]?: string | undefined; [IS_CHUNKED]?: boolean };
      output[DATE_HEADER] = headers?.['date'];
      output[IS_CHUNKED] = /\bchunked\b/i.test(headers?.['transfer-encoding'] ?? '');
      return result;
    },
    { step: 'deserialize', name: 'shaledbHeaders', priority: 'high' },
  );
  client.middlewareStack.add(
    (next, context) => async (args) => {
      assertSendable(args.request as Parameters<typeof assertSendable>[0], identityOf(context));
      const result = await next(args);
      await assertOfStore(args.request, result.response);
      return result;
    },
    { step: 'deserialize', name: 'shaledbRequestAndAnswerCheck', priority: 'low' },
  );
  return { sdk, client, isAws };
}

/** Why a package cannot be loaded: in a bundle the reason is rarely that it is absent. */
function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Whose keys the request was signed with; undefined for a signer of the user's own. */
function identityOf(context: object): Identity | undefined {
  const auth = (context as { __smithy_context?: { selectedHttpAuthScheme?: { identity?: Identity } } })
    .__smithy_context;
  return auth?.selectedHttpAuthScheme?.identity;
}

/** The host of an endpoint that the options do not name: from `clientConfig`, the environment or a profile. */
async function configuredHost(client: S3Client): Promise<string | undefined> {
  const config = client.config as unknown as {
    endpoint?: () => Promise<{ hostname?: string }>;
    serviceConfiguredEndpoint?: () => Promise<string | undefined>;
  };
  if (config.endpoint !== undefined) return (await config.endpoint()).hostname;
  const url = await config.serviceConfiguredEndpoint?.();
  return url === undefined ? undefined : hostOf(url);
}

function isAwsHost(host: string): boolean {
  return /\.amazonaws\.com(\.cn)?$/.test(host);
}

function clientConfig(options: S3ConnectionOptions, isAws: boolean): S3ClientConfig {
  const { endpoint, credentials } = options;
  const region = options.region ?? (isAws ? undefined : (process.env['AWS_REGION'] ?? 'us-east-1'));
  const agent = { keepAlive: true, maxSockets: options.maxSockets ?? 128 };
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: options.forcePathStyle ?? !isAws,
    // Building the middleware chain once instead of per request saves a fifth of the CPU time.
    cacheMiddleware: true,
    // Not every server knows the newer checksum headers; the objects carry checksums of their own.
    ...(isAws ? {} : { requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' }),
    // The header costs large uploads a round trip and their kept connection.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: options.connectionTimeoutMs ?? 2000,
      socketTimeout: options.stallTimeoutMs ?? 5000,
      requestTimeout: options.requestTimeoutMs ?? 30_000,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
    },
    ...options.clientConfig,
    maxAttempts: 1,
  };
}

function hostOf(endpoint: string): string {
  return /^[a-z]+:\/\/(?:[^/@]*@)?([^/:]+)/i.exec(endpoint)?.[1] ?? endpoint;
}
