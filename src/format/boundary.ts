/**
 * Boundary files of SlateDB's garbage collector: one decimal number; manifests (or compactions files) with an id up to it
 * may have been deleted, so creating one of them does not count.
 */
import { damage } from '../common/errors.ts';

/** More than any number with generous white space; longer files are refused unread. */
const MAX_BYTES = 256;
const PATTERN = /^[ \t\r\n\v\f]*([0-9]+)[ \t\r\n\v\f]*$/;

/** Surrounding white space is allowed. Throws damage `MALFORMED`, also for numbers above 2^53 - 1. */
export function decodeBoundary(bytes: Uint8Array): number {
  const text = bytes.length <= MAX_BYTES ? String.fromCharCode(...bytes) : '';
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
