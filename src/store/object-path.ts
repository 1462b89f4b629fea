/**
 * Rules that all stores share: which paths are legal, in which order they are listed, what a byte range selects.
 *
 * Order is that of the UTF-8 bytes of a path. JavaScript compares UTF-16 units, which differs where a surrogate meets a
 * unit from U+E000 on.
 */
import { InvalidArgumentError } from '../common/errors.ts';
import { describeValue, readingArgument } from '../common/option-checks.ts';
import type { ByteRange, CallOptions, ObjectStore } from './object-store.ts';
import { storeError } from './store-error.ts';

/** Throws `BAD_ARGUMENT` unless `path` has only non-empty segments, none of them `.` or `..`, and no NUL. */
export function checkPath(store: string, path: string): void {
  if (isLegalPath(path)) return;
  throw new InvalidArgumentError('BAD_ARGUMENT', `${store}: ${describeValue(path)} is not a legal object path.`, {
    details: { store, path },
  });
}

/** Whether a value has what every object store has. */
export function isObjectStore(value: unknown): value is ObjectStore {
  return (
    typeof value === 'object' &&
    value !== null &&
    ['get', 'head', 'put', 'list', 'delete'].every((m) => typeof (value as Record<string, unknown>)[m] === 'function')
  );
}

/** The store that `call` was given, or `BAD_ARGUMENT`. */
export function givenStore(call: string, store: unknown): ObjectStore {
  if (readingArgument(call, () => isObjectStore(store))) return store as ObjectStore;
  throw new InvalidArgumentError('BAD_ARGUMENT', `${call} needs an object store, not ${describeValue(store)}.`);
}

function isLegalPath(path: unknown): boolean {
  if (typeof path !== 'string' || path.length === 0 || path.includes('\0') || !path.isWellFormed()) return false;
  return !/(^|\/)(\.{0,2})(\/|$)/.test(path);
}

/** Byte order of the UTF-8 forms. */
export function comparePaths(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return utf8Rank(x) - utf8Rank(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above U+FFFF, so they sort after the units U+E000 to U+FFFF. */
function utf8Rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

/** The bytes `[start, end)` that `range` selects of an object of `size` bytes, cut at its end. */
export function rangeBounds(range: ByteRange | undefined, size: number): { start: number; end: number } {
  if (range === undefined) return { start: 0, end: size };
  if ('suffix' in range) return { start: Math.max(0, size - range.suffix), end: size };
  const start = Math.min(range.offset, size);
  return { start, end: Math.min(size, start + range.length) };
}

export function checkRange(store: string, path: string, range: ByteRange | undefined): void {
  if (range === undefined) return;
  const numbers = 'suffix' in range ? [range.suffix] : [range.offset, range.length];
  if (numbers.every((n) => Number.isSafeInteger(n) && n >= 0)) return;
  throw new InvalidArgumentError('BAD_ARGUMENT', `${store} (${path}): a byte range needs whole numbers from 0 on.`, {
    details: { store, path, range: { ...range } },
  });
}

/** Throws the `AbortError` of a request that was never sent. */
export function checkSignal(store: string, path: string, options: CallOptions | undefined): void {
  if (options?.signal?.aborted) throw cancelledError(store, path, options.signal);
}

export function cancelledError(store: string, path: string, signal: AbortSignal | undefined): Error {
  return storeError({ cls: 'cancelled', message: 'aborted by its signal', store, path, cause: signal?.reason });
}

/** ETags name the same version whether or not a server quotes them. */
export function sameEtag(a: string, b: string): boolean {
  return unquoted(a) === unquoted(b);
}

function unquoted(etag: string): string {
  return etag.length >= 2 && etag.startsWith('"') && etag.endsWith('"') ? etag.slice(1, -1) : etag;
}
