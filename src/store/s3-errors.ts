/**
 * What a failed S3 request means: the one place that knows provider codes, statuses and socket errors.
 *
 * Order: what never left this process, then the provider's code, then the HTTP status, then the socket's code. Bodies may be
 * missing (HEAD), HTML (a proxy) or cut; then the SDK names the error `Unknown`, and the status decides. `inDoubt` says that a
 * write may have been applied; 409, 429 and 503, and whatever was not sent, say that it was not.
 */

import type { StoreErrorClass } from './store-error.ts';
import { unsentCall } from './unsent-call.ts';

/** A class of failure, or an answer that is none to those who expect it. */
export type S3Verdict = StoreErrorClass | 'absent' | 'refused' | 'range';

export interface S3Failure {
  verdict: S3Verdict;
  /** The request may have been applied although it failed. */
  inDoubt: boolean;
  httpStatus?: number;
  providerCode?: string;
  retryAfterMs?: number;
  /** What to change, where the message of the error does not say it. */
  remedy?: string;
}

export type S3Operation = 'get' | 'head' | 'put' | 'list' | 'delete';

type Rule = [S3Verdict, inDoubt?: 'in doubt'];

const CODES = new Map<string, Rule>();

function rule(verdict: S3Verdict, codes: string, inDoubt?: 'in doubt'): void {
  for (const code of codes.split(' ')) CODES.set(code, inDoubt === undefined ? [verdict] : [verdict, inDoubt]);
}

rule('refused', 'PreconditionFailed');
rule('conflict-in-flight', 'ConditionalRequestConflict OperationAborted ConcurrentModification');
rule('absent', 'NoSuchKey NotFound');
rule('range', 'InvalidRange');
rule('missing', 'NoSuchBucket InvalidBucketName PermanentRedirect AuthorizationHeaderMalformed BucketRegionError');
rule('missing', 'IllegalLocationConstraintException');
rule('denied', 'AccessDenied AllAccessDisabled InvalidAccessKeyId SignatureDoesNotMatch InvalidSecurity InvalidToken');
rule(
  'denied',
  'AccountProblem NotSignedUp UnauthorizedAccess InvalidObjectState CredentialsProviderError BadCredentials',
);
rule('auth', 'ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired');
rule('throttled', 'SlowDown SlowDownRead SlowDownWrite TooManyRequests TooManyRequestsException RequestLimitExceeded');
rule('throttled', 'BandwidthLimitExceeded RequestThrottled RequestThrottledException LimitExceededException Busy');
rule('throttled', 'ServiceUnavailable ServiceUnavailableException PriorRequestNotComplete');
rule('unavailable', 'RequestTimeTooSkewed');
rule('unavailable', 'InternalError InternalServerError InternalFailure', 'in doubt');
// A completed upload is no upload any more, so this may be the second answer to a completion that succeeded.
rule('unavailable', 'NoSuchUpload', 'in doubt');
rule('timeout', 'RequestTimeout', 'in doubt');
rule('bad-digest', 'BadDigest InvalidDigest IncompleteBody XAmzContentChecksumMismatch XAmzContentSHA256Mismatch');
rule('full', 'QuotaExceeded InsufficientStorage XMinioStorageFull XMinioAdminBucketQuotaExceeded');
rule('unsupported', 'NotImplemented MethodNotAllowed EntityTooLarge KeyTooLongError InvalidArgument InvalidRequest');
rule('unsupported', 'MalformedXML MissingContentLength');

const STATUSES: Record<number, Rule> = {
  301: ['missing'],
  307: ['unavailable'],
  308: ['missing'],
  400: ['unsupported'],
  401: ['denied'],
  403: ['denied'],
  404: ['absent'],
  405: ['unsupported'],
  408: ['timeout', 'in doubt'],
  409: ['conflict-in-flight'],
  411: ['unsupported'],
  412: ['refused'],
  413: ['unsupported'],
  416: ['range'],
  429: ['throttled'],
  501: ['unsupported'],
  503: ['throttled'],
  507: ['full'],
};

/** Errors of connections that never came about: nothing was sent. */
const NOT_CONNECTED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN']);
/** A bucket before `localhost` or before an address. */
const NEVER_A_NAME = /\.(localhost|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})$/;
const CERTIFICATE = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH|EPROTO)/;

interface S3ErrorLike {
  name?: unknown;
  code?: unknown;
  Code?: unknown;
  message?: unknown;
  $metadata?: { httpStatusCode?: unknown };
  $response?: { headers?: Record<string, unknown> };
  hostname?: unknown;
}

/** Classifies anything that a request of the SDK, or reading its body, can throw. */
export function classifyS3Error(error: unknown, op: S3Operation): S3Failure {
  const e = (typeof error === 'object' && error !== null ? error : {}) as S3ErrorLike;
  const httpStatus = statusOf(e);
  const unsent = httpStatus === undefined && e.$response === undefined ? unsentRule(e) : undefined;
  const [verdict, inDoubt] = unsent?.rule ?? ruleOf(e, httpStatus, op);
  const failure: S3Failure = { verdict, inDoubt: inDoubt !== undefined };
  if (unsent?.remedy !== undefined) failure.remedy = unsent.remedy;
  if (httpStatus !== undefined) failure.httpStatus = httpStatus;
  const providerCode = [e.Code, e.code, e.name].find((name) => typeof name === 'string' && name !== 'Error');
  if (typeof providerCode === 'string') failure.providerCode = providerCode;
  const retryAfter = retryAfterMs(e.$response?.headers?.['retry-after']);
  if (retryAfter !== undefined) failure.retryAfterMs = retryAfter;
  return failure;
}

/** The class of an error in the body of a DeleteObjects answer. */
export function classifyS3Code(code: string): S3Verdict {
  return CODES.get(code)?.[0] ?? (isThrottling(code) ? 'throttled' : 'unavailable');
}

/** Of errors without an answer: is it permanent, because the client cannot make such a request, or no server can take it? */
function unsentRule(e: S3ErrorLike): { rule: Rule; remedy?: string } | undefined {
  const message = typeof e.message === 'string' ? e.message : '';
  if (/^Region (is missing|not accepted)/.test(message)) {
    const remedy = 'set AWS_REGION, or region in the URL or the options, to a name such as us-east-1';
    return { rule: ['unsupported'], remedy };
  }
  if (e.name === 'EndpointError') {
    return { rule: ['unsupported'], remedy: 'check bucket, region and endpoint' };
  }
  const isNoName = e.code === 'ENOTFOUND' || e.code === 'EAI_AGAIN';
  if (isNoName && typeof e.hostname === 'string' && NEVER_A_NAME.test(e.hostname)) {
    const remedy = `${e.hostname} has the bucket in the host name, which needs a name server: leave forcePathStyle out or set it to true`;
    return { rule: ['unsupported'], remedy };
  }
  if (e.code === 'EPROTO' && /wrong version number|packet length too long/.test(message)) {
    const remedy = 'what answers there does not speak TLS: write the endpoint with http://, not https://';
    return { rule: ['unsupported'], remedy };
  }
  const refused = unsentCall(e);
  if (refused === undefined) return undefined;
  const { cls, remedy = 'check endpoint, region and credentials for characters that do not belong there' } = refused;
  return { rule: [cls], remedy };
}

function ruleOf(e: S3ErrorLike, status: number | undefined, op: S3Operation): Rule {
  for (const name of [e.Code, e.name]) {
    if (typeof name !== 'string') continue;
    const known = CODES.get(name);
    if (known !== undefined) return known;
    if (isThrottling(name)) return ['throttled'];
  }
  return (status === undefined ? undefined : ruleOfStatus(status, op)) ?? ruleOfSocket(e);
}

function isThrottling(code: string): boolean {
  return /throttl|ProvisionedThroughputExceeded/i.test(code);
}

function ruleOfStatus(status: number, op: S3Operation): Rule | undefined {
  // An expired token makes a HEAD a 400 without a body that would say so.
  if (status === 400 && op === 'head') return ['auth'];
  if (STATUSES[status] !== undefined) return STATUSES[status];
  if (status >= 500) return ['unavailable', 'in doubt'];
  // A success that cannot be read: cut XML, a body that broke off.
  if (status >= 200 && status < 300) return ['malformed-response', 'in doubt'];
  return status >= 400 ? ['unsupported'] : undefined;
}

function ruleOfSocket(e: S3ErrorLike): Rule {
  const code = typeof e.code === 'string' ? e.code : '';
  const message = typeof e.message === 'string' ? e.message : '';
  if (e.name === 'AbortError') return ['cancelled', 'in doubt'];
  if (NOT_CONNECTED.has(code)) return ['unavailable'];
  if (CERTIFICATE.test(code)) return ['unsupported'];
  if (code === 'ECONNRESET' || code === 'EPIPE') return ['unavailable', 'in doubt'];
  if (e.name === 'TimeoutError' || code === 'ETIMEDOUT') return ['timeout', 'in doubt'];
  if (message.startsWith('Checksum mismatch')) return ['bad-digest', 'in doubt'];
  return ['unavailable', 'in doubt'];
}

function statusOf(e: S3ErrorLike): number | undefined {
  const status = e.$metadata?.httpStatusCode;
  return typeof status === 'number' ? status : undefined;
}

/** Seconds only: a date would need the local clock to agree with the server's. */
function retryAfterMs(header: unknown): number | undefined {
  if (typeof header !== 'string' || !/^\d{1,6}$/.test(header)) return undefined;
  return Number(header) * 1000;
}

const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec';

/** Milliseconds since the epoch of an HTTP date such as `Sun, 06 Nov 1994 08:49:37 GMT`; 0 for anything else. */
export function httpDateMs(header: unknown): number {
  const parts =
    typeof header === 'string' ? /^\w{3}, (\d\d) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT$/.exec(header) : null;
  if (parts === null) return 0;
  const month = MONTHS.indexOf(parts[2]);
  if (month < 0 || month % 3 !== 0) return 0;
  const [day, year, hour, minute, second] = [1, 3, 4, 5, 6].map((i) => Number(parts[i]));
  const days = daysSinceEpoch(year, month / 3 + 1, day);
  return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000;
}

/** Days from 1970-01-01 in the Gregorian calendar, counted in years that begin in March. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return 365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + dayOfYear - 719468;
}
