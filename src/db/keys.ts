/** Arguments of reads and writes, checked and turned into bytes. */
import { compareBytes, describeBytes, encodeUtf8, keySuccessor, prefixEnd } from '../common/bytes.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { MAX_BLOCK_BYTES } from '../lsm/table-reader.ts';
import type { KeyRange } from '../lsm/visible-rows.ts';

export const MAX_KEY_BYTES = 65_535;
/** 256 MiB; the format could hold 4 GiB, memory could not. */
export const MAX_VALUE_BYTES = MAX_BLOCK_BYTES - 128 * 1024;

export type Bytes = Uint8Array | string;

/** A key as bytes; strings are UTF-8. The bytes are the caller's: copy before keeping. */
export function toKey(key: Bytes): Uint8Array {
  const bytes = key instanceof Uint8Array ? key : textBytes(key, 'key');
  if (bytes.length === 0)
    throw new InvalidArgumentError('BAD_ARGUMENT', 'The key is empty; keys have 1 to 65,535 bytes.');
  if (bytes.length > MAX_KEY_BYTES) {
    throw new InvalidArgumentError(
      'KEY_TOO_LARGE',
      `The key ${describeBytes(bytes)} has ${bytes.length} bytes; the limit is ${MAX_KEY_BYTES}. Use a hash of it, or move part of it into the value.`,
    );
  }
  return bytes;
}

export function toValue(value: Bytes): Uint8Array {
  const bytes = value instanceof Uint8Array ? value : textBytes(value, 'value');
  if (bytes.length > MAX_VALUE_BYTES) {
    throw new InvalidArgumentError(
      'VALUE_TOO_LARGE',
      `The value has ${bytes.length} bytes; the limit is ${MAX_VALUE_BYTES}. Split it over several keys.`,
    );
  }
  return bytes;
}

function textBytes(text: unknown, what: string): Uint8Array {
  if (typeof text !== 'string') {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `The ${what} must be a Uint8Array or a string, not ${text === null ? 'null' : typeof text}.`,
    );
  }
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
export interface RangeOptions {
  gte?: Bytes;
  gt?: Bytes;
  lte?: Bytes;
  lt?: Bytes;
  prefix?: Bytes;
}

function boundBytes(value: Bytes, name: string): Uint8Array {
  const bytes = value instanceof Uint8Array ? new Uint8Array(value) : textBytes(value, `bound ${name}`);
  if (bytes.length > MAX_KEY_BYTES) {
    throw new InvalidArgumentError(
      'KEY_TOO_LARGE',
      `The bound ${name} has ${bytes.length} bytes; the limit is ${MAX_KEY_BYTES}.`,
    );
  }
  return bytes;
}

/** One half-open range from all bounds; undefined if it is empty. */
export function toRange(o: RangeOptions): KeyRange | undefined {
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
  if (lt !== undefined && (lt.length === 0 || (gte !== undefined && compareBytes(gte, lt) >= 0))) return undefined;
  return { gte: gte?.length === 0 ? undefined : gte, lt };
}
