/**
 * Boundary files of SlateDB's garbage collector, `gc/manifest.boundary` and `gc/compactions.boundary`: one decimal number.
 * Manifests (or compactions files) with an id up to it may have been deleted, so creating one of them does not count.
 *
 * ```
 * ASCII digits of a number up to 2^53 - 1, with white space around it allowed, at most 256 bytes        written without white space
 * ```
 *
 * ```example slatedb-0.17.0/collected db/gc/manifest.boundary 0
 * 31 32                       boundary=12
 * ```
 *
 * The only object of a database that SlateDB replaces in place (If-Match). Text that is no number is damage: taken for 0 it would
 * let an id count whose object was deleted.
 */
import { damage } from '../common/damage.ts';

/** More than any number with generous white space; longer files are refused unread. */
const MAX_BOUNDARY_BYTES = 256;
const PATTERN = /^[ \t\r\n\v\f]*([0-9]+)[ \t\r\n\v\f]*$/;

/** Surrounding white space is allowed. Throws damage `MALFORMED`, also for numbers above 2^53 - 1. */
export function decodeBoundary(bytes: Uint8Array): number {
  const text = bytes.length <= MAX_BOUNDARY_BYTES ? String.fromCharCode(...bytes) : '';
  const digits = PATTERN.exec(text)?.[1];
  const value = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(value)) {
    throw damage('MALFORMED', { unit: 'object', offset: 0, length: bytes.length }, 'The boundary file is not a number');
  }
  return value;
}

export function encodeBoundary(boundary: number): Uint8Array {
  return new TextEncoder().encode(String(boundary));
}
