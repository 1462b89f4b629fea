/** Headers as they are sent to S3, and as its answers are read. */

import type { ByteRange, PutCondition } from './object-store.ts';
import { DATE_HEADER } from './s3-client.ts';
import { httpDateMs } from './s3-errors.ts';

export function conditionHeader(condition: PutCondition): { IfNoneMatch?: string; IfMatch?: string } {
  if (condition === 'if-absent') return { IfNoneMatch: '*' };
  return condition === 'any' ? {} : { IfMatch: condition.ifMatch };
}

export function rangeHeader(range: ByteRange): string {
  if ('suffix' in range) return `bytes=-${range.suffix}`;
  // The last position stays a whole number that servers can read.
  return `bytes=${range.offset}-${Math.min(Number.MAX_SAFE_INTEGER, range.offset + range.length - 1)}`;
}

/** Without the mark of a weak one; empty where there is none. */
export function etagOf(etag: string | undefined): string {
  return etag?.replace(/^W\//, '') ?? '';
}

export function storeTimeMs(output: object): number {
  return httpDateMs((output as { [DATE_HEADER]?: unknown })[DATE_HEADER]);
}
