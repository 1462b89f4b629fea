/** What an error of S3 means for the caller, and dates of HTTP. */
import { describe, expect, it } from 'vitest';
import { classifyS3Code, classifyS3Error, httpDateMs, type S3Operation } from '../../../src/store/s3-errors.ts';

interface Shape {
  name?: string;
  code?: string;
  message?: string;
  status?: number;
  retryAfter?: string;
  hostname?: string;
}

/** As the SDK throws it. */
function sdkError({ name, code, message = 'UnknownError', status, retryAfter, hostname }: Shape): Error {
  const error = new Error(message);
  if (name !== undefined) error.name = name;
  const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
  return Object.assign(error, code === undefined ? {} : { code }, hostname === undefined ? {} : { hostname }, {
    ...(status === undefined ? {} : { $metadata: { httpStatusCode: status }, $response: { headers } }),
  });
}

const YES = true;
const NO = false;
// What happened, how the SDK shows it, on which request, what it means, whether a write may have been applied.
const TABLE: [string, Shape, S3Operation, string, boolean][] = [
  ['412', { name: 'PreconditionFailed', status: 412 }, 'put', 'refused', NO],
  [
    '409, another conditional request',
    { name: 'ConditionalRequestConflict', status: 409 },
    'put',
    'conflict-in-flight',
    NO,
  ],
  ['409, another operation', { name: 'OperationAborted', status: 409 }, 'put', 'conflict-in-flight', NO],
  ['409 of Ceph', { name: 'ConcurrentModification', status: 409 }, 'put', 'conflict-in-flight', NO],
  ['409 without a known code', { name: 'Unknown', status: 409 }, 'put', 'conflict-in-flight', NO],
  ['404 of a GET', { name: 'NoSuchKey', status: 404 }, 'get', 'absent', NO],
  ['404 of a HEAD, no body', { name: 'NotFound', status: 404 }, 'head', 'absent', NO],
  ['404 of a PUT with If-Match', { name: 'NoSuchKey', status: 404 }, 'put', 'absent', NO],
  ['412 of a HEAD, no body', { name: 'Unknown', status: 412 }, 'head', 'refused', NO],
  ['416', { name: 'InvalidRange', status: 416 }, 'get', 'range', NO],
  ['416 without a body', { name: 'Unknown', status: 416 }, 'get', 'range', NO],
  ['503', { name: 'SlowDown', status: 503 }, 'put', 'throttled', NO],
  ['503 of MinIO', { name: 'SlowDownWrite', status: 503 }, 'put', 'throttled', NO],
  ['503 with HTML', { name: 'Unknown', status: 503 }, 'put', 'throttled', NO],
  ['429', { name: 'TooManyRequests', status: 429 }, 'put', 'throttled', NO],
  ['429 with an unknown code', { name: 'Unknown', status: 429 }, 'list', 'throttled', NO],
  ['a throttling name', { name: 'ThrottlingException', status: 400 }, 'get', 'throttled', NO],
  ['500', { name: 'InternalError', status: 500 }, 'put', 'unavailable', YES],
  ['500 of Ceph on a lost race', { name: 'UnknownError', status: 500 }, 'put', 'unavailable', YES],
  ['502 with HTML', { name: 'Unknown', status: 502 }, 'put', 'unavailable', YES],
  ['504', { name: 'Unknown', status: 504 }, 'put', 'unavailable', YES],
  ['200 with <Error>, status rewritten by the SDK', { name: 'InternalError', status: 503 }, 'put', 'unavailable', YES],
  ['200 with <Error> that says slow down', { name: 'SlowDown', status: 503 }, 'put', 'throttled', NO],
  ['501', { name: 'NotImplemented', status: 501 }, 'put', 'unsupported', NO],
  ['411', { name: 'MissingContentLength', status: 411 }, 'put', 'unsupported', NO],
  ['405', { name: 'MethodNotAllowed', status: 405 }, 'delete', 'unsupported', NO],
  ['lost answer', { name: 'TimeoutError', code: 'ECONNRESET', message: 'socket hang up' }, 'put', 'unavailable', YES],
  ['broken pipe', { name: 'TimeoutError', code: 'EPIPE' }, 'put', 'unavailable', YES],
  ['request timeout of the client', { name: 'TimeoutError', code: 'ETIMEDOUT' }, 'put', 'timeout', YES],
  ['stalled socket', { name: 'TimeoutError', message: 'socket timed out' }, 'get', 'timeout', YES],
  ['request timeout of the server', { name: 'RequestTimeout', status: 400 }, 'put', 'timeout', YES],
  ['408', { name: 'Unknown', status: 408 }, 'put', 'timeout', YES],
  ['aborted', { name: 'AbortError', message: 'Request aborted' }, 'put', 'cancelled', YES],
  ['body cut short', { code: 'ECONNRESET', message: 'aborted' }, 'get', 'unavailable', YES],
  ['no connection', { code: 'ECONNREFUSED' }, 'put', 'unavailable', NO],
  ['no such host', { code: 'ENOTFOUND' }, 'put', 'unavailable', NO],
  ['name server out of order', { code: 'EAI_AGAIN' }, 'put', 'unavailable', NO],
  ['host unreachable', { code: 'EHOSTUNREACH' }, 'put', 'unavailable', YES],
  ['bad certificate', { code: 'CERT_HAS_EXPIRED' }, 'get', 'unsupported', NO],
  ['self-signed certificate', { code: 'SELF_SIGNED_CERT_IN_CHAIN' }, 'get', 'unsupported', NO],
  ['stored checksum wrong', { message: 'Checksum mismatch: expected "a" received "b"' }, 'get', 'bad-digest', YES],
  ['wrong checksum header', { name: 'XAmzContentChecksumMismatch', status: 400 }, 'put', 'bad-digest', NO],
  ['wrong Content-MD5', { name: 'BadDigest', status: 400 }, 'put', 'bad-digest', NO],
  [
    'LIST with cut XML',
    { name: 'Error', message: 'Unclosed root tag', status: 200 },
    'list',
    'malformed-response',
    YES,
  ],
  ['403', { name: 'AccessDenied', status: 403 }, 'get', 'denied', NO],
  ['403 of a HEAD, no body', { name: 'Unknown', status: 403 }, 'head', 'denied', NO],
  ['unknown key', { name: 'InvalidAccessKeyId', status: 403 }, 'get', 'denied', NO],
  ['wrong secret', { name: 'SignatureDoesNotMatch', status: 403 }, 'get', 'denied', NO],
  ['no credentials', { name: 'CredentialsProviderError' }, 'get', 'denied', NO],
  ['expired token', { name: 'ExpiredToken', status: 400 }, 'put', 'auth', NO],
  ['expired token, HEAD', { name: 'Unknown', status: 400 }, 'head', 'auth', NO],
  ['clock skew', { name: 'RequestTimeTooSkewed', status: 403 }, 'put', 'unavailable', NO],
  ['no bucket', { name: 'NoSuchBucket', status: 404 }, 'put', 'missing', NO],
  ['bucket in another region', { name: 'PermanentRedirect', status: 301 }, 'get', 'missing', NO],
  ['redirect of a HEAD', { name: 'Unknown', status: 301 }, 'head', 'missing', NO],
  ['no region', { message: 'Region is missing' }, 'get', 'unsupported', NO],
  ['region with a blank', { message: 'Region not accepted: region="eu " is no host' }, 'put', 'unsupported', NO],
  ['header with a line break', { name: 'TypeError', code: 'ERR_INVALID_CHAR' }, 'put', 'unsupported', NO],
  ['path with a blank', { name: 'TypeError', code: 'ERR_UNESCAPED_CHARACTERS' }, 'put', 'unsupported', NO],
  ['port out of range', { name: 'RangeError', code: 'ERR_SOCKET_BAD_PORT' }, 'put', 'unsupported', NO],
  ['no URL', { name: 'TypeError', code: 'ERR_INVALID_URL' }, 'list', 'unsupported', NO],
  ['a mistake of the client', { name: 'TypeError', message: 'x is not a function' }, 'put', 'unsupported', NO],
  ['endpoint rules', { name: 'EndpointError', message: 'Invalid region' }, 'get', 'unsupported', NO],
  ['key with a line break', { name: 'BadCredentials' }, 'put', 'denied', NO],
  ['permission model of Node', { code: 'ERR_ACCESS_DENIED' }, 'get', 'denied', NO],
  ['bucket before localhost', { code: 'ENOTFOUND', hostname: 'b.localhost' }, 'put', 'unsupported', NO],
  ['bucket before an address', { code: 'EAI_AGAIN', hostname: 'b.127.0.0.1' }, 'put', 'unsupported', NO],
  ['host of a network that is down', { code: 'ENOTFOUND', hostname: 'b.example.com' }, 'put', 'unavailable', NO],
  ['localhost itself', { code: 'EAI_AGAIN', hostname: 'localhost' }, 'put', 'unavailable', NO],
  ['fetch without a network', { name: 'TypeError', message: 'fetch failed' }, 'put', 'unavailable', YES],
  ['no memory', { name: 'RangeError', message: 'Array buffer allocation failed' }, 'get', 'unavailable', YES],
  ['an answer that the client cannot take', { name: 'TypeError', status: 200 }, 'put', 'malformed-response', YES],
  ['quota', { name: 'QuotaExceeded', status: 403 }, 'put', 'full', NO],
  ['disk full', { name: 'XMinioStorageFull', status: 507 }, 'put', 'full', NO],
  ['507', { name: 'Unknown', status: 507 }, 'put', 'full', NO],
  ['upload gone', { name: 'NoSuchUpload', status: 404 }, 'put', 'unavailable', YES],
  ['another 4xx', { name: 'SomethingNew', status: 418 }, 'get', 'unsupported', NO],
  ['another 5xx', { name: 'SomethingNew', status: 599 }, 'get', 'unavailable', YES],
  ['anything else', { message: 'what is this?' }, 'put', 'unavailable', YES],
];

describe('classifyS3Error', () => {
  for (const [what, shape, op, verdict, inDoubt] of TABLE) {
    it(`${what} (${op}): ${verdict}${inDoubt ? ', in doubt' : ''}`, () => {
      expect(classifyS3Error(sdkError(shape), op)).toMatchObject({ verdict, inDoubt });
    });
  }

  it('says of a server without TLS that its endpoint is written with http', () => {
    const error = sdkError({
      code: 'EPROTO',
      message: 'write EPROTO 80:error:0A00010B:SSL routines::wrong version number:',
    });
    expect(classifyS3Error(error, 'get')).toMatchObject({
      verdict: 'unsupported',
      inDoubt: false,
      remedy: expect.stringContaining('http://, not https://'),
    });
  });

  it('takes anything that can be thrown', () => {
    for (const thrown of [undefined, null, 'text', 7, {}, { $metadata: {} }, { code: 5 }]) {
      expect(classifyS3Error(thrown, 'put')).toEqual({ verdict: 'unavailable', inDoubt: true });
    }
  });

  it('keeps what the server said', () => {
    const error = sdkError({ name: 'SlowDown', status: 503, retryAfter: '7' });
    const failure = {
      verdict: 'throttled',
      inDoubt: false,
      httpStatus: 503,
      providerCode: 'SlowDown',
      retryAfterMs: 7000,
    };
    expect(classifyS3Error(error, 'put')).toEqual(failure);
    const odd = sdkError({ name: 'SlowDown', status: 503, retryAfter: 'Sun, 06 Nov 1994 08:49:37 GMT' });
    expect(classifyS3Error(odd, 'put')).not.toHaveProperty('retryAfterMs');
  });
});

it('errors inside a delete answer are classified by their code', () => {
  expect(classifyS3Code('AccessDenied')).toBe('denied');
  expect(classifyS3Code('NoSuchKey')).toBe('absent');
  expect(classifyS3Code('SlowDown')).toBe('throttled');
  expect(classifyS3Code('')).toBe('unavailable');
});

describe('httpDateMs', () => {
  it('agrees with the platform for every month and leap year', () => {
    for (let year = 1970; year < 2110; year += 1) {
      for (let month = 0; month < 12; month++) {
        const time = Date.UTC(year, month, month === 1 && year % 4 === 0 && year !== 2100 ? 29 : 28, 23, month * 5, 59);
        expect(httpDateMs(new Date(time).toUTCString())).toBe(time);
      }
    }
  });

  it('gives 0 for anything else', () => {
    const odd = [undefined, 7, '', 'yesterday', 'Sun, 06 Nov 1994 08:49:37 CET', 'Sun, 06 anF 1994 08:49:37 GMT'];
    for (const header of odd) expect(httpDateMs(header)).toBe(0);
  });
});
