/** Arguments of reads and writes, checked and turned into bytes. */
import {
  compareBytes,
  describeBytes,
  encodeUtf8,
  isBytes,
  keySuccessor,
  type OwnBytes,
  prefixEnd,
  trueBytes,
  trueLength,
} from '../common/bytes.ts';
import { InvalidArgumentError, memoryGone } from '../common/errors.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { describeValue } from '../common/option-checks.ts';
import { MAX_VALUE_BYTES } from '../format/block.ts';
import type { ScanRange } from '../lsm/read/visible-rows.ts';

/** A key or a value; a string stands for its UTF-8 bytes. */
export type Bytes = Uint8Array | string;

/** What reads give of a key or a value of type T: of `Bytes`, which is the default, an own `Uint8Array`; of any other T itself. */
export type Decoded<T> = 0 extends 1 & T ? T : [Bytes] extends [T] ? ([T] extends [Bytes] ? OwnBytes : T) : T;

/** A bound of a range of keys: a key, or of keys that are tuples also its leading elements. */
export type KeyBound<K> = K | (K extends readonly [...infer Leading, unknown] ? KeyBound<Leading> : never);

/** A key as bytes; strings are UTF-8. The bytes are the caller's: copy before keeping, and before any code of the caller runs. */
export function toKey(key: Bytes): Uint8Array {
  // Most keys: the length is asked for once.
  if (typeof key !== 'string' && isPlain(key, MAX_KEY_BYTES)) return key;
  const bytes = typeof key === 'string' ? textBytes(key, 'key') : readable(key, 'key');
  const length = trueLength(bytes);
  if (length === 0) throw new InvalidArgumentError('BAD_ARGUMENT', 'The key is empty; keys have 1 to 65,535 bytes.');
  if (length > MAX_KEY_BYTES) {
    throw new InvalidArgumentError(
      'KEY_TOO_LARGE',
      `The key ${describeBytes(trueBytes(bytes) ?? bytes)} has ${length} bytes; the limit is ${MAX_KEY_BYTES}. Use a hash of it, or move part of it into the value.`,
    );
  }
  return bytes;
}

/** Like `toKey`. */
export function toValue(value: Bytes): Uint8Array {
  if (typeof value !== 'string' && isPlain(value, MAX_VALUE_BYTES)) return value;
  const bytes = typeof value === 'string' ? textBytes(value, 'value') : readable(value, 'value');
  if (trueLength(bytes) > MAX_VALUE_BYTES) {
    throw new InvalidArgumentError(
      'VALUE_TOO_LARGE',
      `The value has ${trueLength(bytes)} bytes; the limit is ${MAX_VALUE_BYTES}. Split it over several keys.`,
    );
  }
  return bytes;
}

/**
 * Whether these are bytes of this realm, neither empty nor more than `maxBytes`, that say their true length now. Recognised by properties that
 * the compiler knows (a check of the prototype as well would cost 10 ns more, one of an own `length` 20). What the array says comes first:
 * its class is known by that, and the other checks cost next to nothing (2 ns instead of 7). An array that changes its length later
 * harms only the read that it was given to: writes ask the array itself.
 */
function isPlain(bytes: unknown, maxBytes: number): bytes is Uint8Array {
  if (!ArrayBuffer.isView(bytes)) return false;
  try {
    const { length } = bytes as Uint8Array;
    return length > 0 && length <= maxBytes && bytes instanceof Uint8Array && trueLength(bytes) === length;
  } catch {
    // A `length` of the caller, who throws.
    return false;
  }
}

/** Bytes of any realm that can be read in this moment, in an array that says its true length. */
function readable(bytes: unknown, what: string): Uint8Array {
  if (isPlain(bytes, Number.MAX_SAFE_INTEGER)) return bytes;
  if (!isBytes(bytes)) {
    const message = `The ${what} must be a Uint8Array or a string, not ${describeValue(bytes)}.`;
    throw new InvalidArgumentError('BAD_ARGUMENT', message);
  }
  const own = trueBytes(bytes);
  if (own === undefined) throw memoryGone(what);
  return own;
}

function textBytes(text: string, what: string): Uint8Array {
  const bytes = encodeUtf8(text);
  if (bytes === undefined) {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `The ${what} ${JSON.stringify(text.slice(0, 40))} is not a well-formed string (it has a lone surrogate); pass bytes instead.`,
    );
  }
  return bytes;
}

/** Bounds of a scan as users give them. */
export interface RangeOptions<K = Bytes> {
  /** From this key on, itself included. Not beside `gt` (`BAD_ARGUMENT`). Default: from the first key. */
  gte?: KeyBound<K>;
  /** From the first key after this one. */
  gt?: KeyBound<K>;
  /** Up to this key, itself included. Not beside `lt` (`BAD_ARGUMENT`). Default: to the last key. */
  lte?: KeyBound<K>;
  /** Up to the last key before this one. */
  lt?: KeyBound<K>;
  /** Only keys that begin with these bytes; the other bounds narrow it further. Empty: all. */
  prefix?: KeyBound<K>;
}

/** A range with the place of a cursor in it. */
export interface CursorRange extends RangeOptions {
  /** Forward the range goes on after this key, in reverse it ends before it. */
  after?: Bytes;
  reverse?: boolean;
}

export const RANGE_NAMES = ['gte', 'gt', 'lte', 'lt', 'prefix'] as const;

/** The bytes of a bound; they may be none. */
export function boundBytes(value: Bytes, name: string): Uint8Array {
  const what = `bound ${name}`;
  const bytes = typeof value === 'string' ? textBytes(value, what) : new Uint8Array(readable(value, what));
  if (bytes.length > MAX_KEY_BYTES) {
    throw new InvalidArgumentError(
      'KEY_TOO_LARGE',
      `The bound ${name} has ${bytes.length} bytes; the limit is ${MAX_KEY_BYTES}.`,
    );
  }
  return bytes;
}

/** One half-open range from all bounds; undefined if it is empty. */
export function toRange(o: CursorRange): ScanRange | undefined {
  if (o.gt !== undefined && o.gte !== undefined) {
    throw new InvalidArgumentError('BAD_ARGUMENT', 'A range cannot have both gt and gte; leave one out.');
  }
  if (o.lt !== undefined && o.lte !== undefined) {
    throw new InvalidArgumentError('BAD_ARGUMENT', 'A range cannot have both lt and lte; leave one out.');
  }
  let gte = o.gte !== undefined ? boundBytes(o.gte, 'gte') : undefined;
  if (o.gt !== undefined) gte = keySuccessor(boundBytes(o.gt, 'gt'));
  let lt = o.lt !== undefined ? boundBytes(o.lt, 'lt') : undefined;
  if (o.lte !== undefined) lt = keySuccessor(boundBytes(o.lte, 'lte'));
  if (o.prefix !== undefined) {
    const prefix = boundBytes(o.prefix, 'prefix');
    if (prefix.length > 0) {
      if (gte === undefined || compareBytes(gte, prefix) < 0) gte = prefix;
      const end = prefixEnd(prefix);
      if (end !== undefined && (lt === undefined || compareBytes(lt, end) > 0)) lt = end;
    }
  }
  if (o.after !== undefined) {
    const place = boundBytes(o.after, 'after');
    if (o.reverse) {
      if (lt === undefined || compareBytes(lt, place) > 0) lt = place;
    } else if (gte === undefined || compareBytes(gte, place) <= 0) gte = keySuccessor(place);
  }
  if (lt !== undefined && (lt.length === 0 || (gte !== undefined && compareBytes(gte, lt) >= 0))) return undefined;
  return { gte: gte?.length === 0 ? undefined : gte, lt };
}
