/**
 * Encodings: what keys and values are to a program, and what bytes they are stored as.
 *
 * 1. What an encoding throws is the failure of the call that used it, and says nothing about the database: bytes that it cannot read are
 *    intact, and nothing is written that it could not make.
 * 2. Encoded keys of `utf8`, `json` and `tuple` never begin with FF, the byte that keys of sublevels begin with (level-codec.ts).
 */
import { decodeUtf8, describeBytes, encodeUtf8, isBytes, type OwnBytes, trueBytes } from '../common/bytes.ts';
import { describeThrown, isThenable } from '../common/callbacks.ts';
import { IncompatibleError, InvalidArgumentError, isDbError } from '../common/errors.ts';
import { type Check, type ChecksOf, callable, describeValue, isPlainObject, oneOf } from '../common/option-checks.ts';
import type { EncodingNames } from '../format/sidecar.ts';
import { decodeTuple, encodeTuple, type TupleElement } from '../format/tuple-key.ts';
import type { Bytes } from './keys.ts';

/**
 * An encoding of your own. Its name is remembered in the database, so change it when the bytes change.
 *
 * ```ts
 * const dates: Encoding<Date> = {
 *   name: 'date-ms',
 *   encode: (date) => new TextEncoder().encode(String(date.getTime()).padStart(15, '0')),
 *   decode: (bytes) => new Date(Number(new TextDecoder().decode(bytes))),
 * };
 * ```
 */
export interface Encoding<T> {
  /** 1 to 100 printable ASCII characters, and none of the names of built-in encodings. */
  readonly name: string;
  /** Bytes of a key or value; keys sort as these bytes do. The bytes are copied at once. What it throws fails the call. */
  encode(value: T): Uint8Array;
  /** What was encoded. The bytes are its own. What it throws fails the call that read them. */
  decode(bytes: OwnBytes): T;
  /** Of keys: bytes that all keys begin with which the option `prefix` of a range means. Default: absent, and `prefix` is refused. */
  encodePrefix?(prefix: T): Uint8Array;
}

/** Names of built-in encodings: bytes (strings are stored as UTF-8), text, JSON, and ordered tuples. */
export type EncodingName = 'bytes' | 'utf8' | 'json' | 'tuple';

/** A built-in encoding by its name, or your own. */
export type AnyEncoding = EncodingName | Encoding<unknown>;

/** A key of the encoding `tuple`. */
export type TupleKey = readonly TupleElement[];

/** What an encoding takes and, but for `bytes`, gives. */
export type EncodedBy<E> = E extends 'bytes'
  ? Bytes
  : E extends 'utf8'
    ? string
    : E extends 'json'
      ? unknown
      : E extends 'tuple'
        ? TupleKey
        : E extends Encoding<infer T>
          ? T
          : never;

/** The encodings that keys or values of a type can have. */
export type EncodingFor<T> =
  | Encoding<T>
  | ([Bytes] extends [T] ? 'bytes' : 'json')
  | ([T] extends [string] ? 'utf8' : never)
  | ([T] extends [TupleKey] ? 'tuple' : never);

/** How keys and values are encoded. */
export interface EncodingOptions<KE extends AnyEncoding = AnyEncoding, VE extends AnyEncoding = AnyEncoding> {
  /** What keys are: `bytes`, `utf8`, `json` (sorts as its text), `tuple` (arrays of strings, numbers, booleans, null and bytes, which sort as these do), or an object with `name`, `encode` and `decode`. Default bytes. */
  keyEncoding?: KE;
  /** What values are, as `keyEncoding`. Operands of merges are encoded, too. Default bytes. */
  valueEncoding?: VE;
  /** What happens if the database remembers other encodings: `refuse` rejects with `ENCODING_MISMATCH`, `ignore` opens it all the same, `replace` (of `open` only) also remembers these from now on; no stored row changes. A database that remembers none is opened with any. Default refuse. */
  encodingCheck?: EncodingCheck;
}

/** What an opening does about encodings that differ from those that the database remembers. */
export type EncodingCheck = 'refuse' | 'ignore' | 'replace';

/** Both encodings by the types of keys and values; bytes need no option. */
export type EncodingsFor<K, V> = NeededUnlessBytes<K, Pick<OptionsFor<K, V>, 'keyEncoding'>> &
  NeededUnlessBytes<V, Pick<OptionsFor<K, V>, 'valueEncoding'>>;

/** Both encodings that keys and values of these types can have. */
export type OptionsFor<K, V> = EncodingOptions<EncodingFor<K> & AnyEncoding, EncodingFor<V> & AnyEncoding>;

/** Options that only bytes can go without. */
export type NeededUnlessBytes<T, O> = [Bytes] extends [T] ? O : Required<O>;

/** An encoding in use. Its functions throw whatever they like: `RowCodec` makes errors of it. */
export interface UsedEncoding {
  readonly name: string;
  encode(value: unknown): Uint8Array;
  decode(bytes: OwnBytes): unknown;
  encodePrefix: ((prefix: unknown) => Uint8Array) | undefined;
  /** Whether its bytes never begin with FF. */
  readonly leavesSublevels: boolean;
}

const UTF8: UsedEncoding = {
  name: 'utf8',
  encode(value) {
    if (typeof value !== 'string') throw unfit(`it is ${describeValue(value)}, not a string`);
    const bytes = encodeUtf8(value);
    if (bytes === undefined) throw unfit('it is not a well-formed string (it has a lone surrogate)');
    return bytes;
  },
  decode: textOf,
  encodePrefix: (prefix) => UTF8.encode(prefix),
  leavesSublevels: true,
};

const JSON_TEXT: UsedEncoding = {
  name: 'json',
  encode(value) {
    if (typeof value === 'number' && !Number.isFinite(value)) throw unfit(`JSON has no ${value}`);
    // Throws for bigints and for what contains itself.
    const text = JSON.stringify(value);
    if (text === undefined) throw unfit(`JSON has no ${value === undefined ? 'undefined' : typeof value}`);
    return encodeUtf8(text) as Uint8Array;
  },
  decode: (bytes) => JSON.parse(textOf(bytes)),
  encodePrefix: undefined,
  leavesSublevels: true,
};

const TUPLE: UsedEncoding = {
  name: 'tuple',
  encode: (value) => encodeTuple(value as TupleKey),
  decode: decodeTuple,
  encodePrefix: (prefix) => encodeTuple(prefix as TupleKey),
  leavesSublevels: true,
};

const BUILT_IN: Readonly<Record<Exclude<EncodingName, 'bytes'>, UsedEncoding>> = {
  utf8: UTF8,
  json: JSON_TEXT,
  tuple: TUPLE,
};
const NAMES = ['bytes', ...Object.keys(BUILT_IN)];

function textOf(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw unfit('the bytes are not UTF-8');
  return text;
}

function unfit(why: string): InvalidArgumentError {
  return new InvalidArgumentError('NOT_ENCODABLE', why);
}

const NAME = /^[\x21-\x7e]{1,100}$/;

const MEMBERS: ChecksOf<Encoding<unknown>> = {
  name: (value, name, faults) => {
    if (typeof value !== 'string' || !NAME.test(value))
      faults.push(`${name} must be 1 to 100 printable ASCII characters without spaces, not ${describeValue(value)}`);
    else if (NAMES.includes(value)) faults.push(`${name} ${value} is the name of a built-in encoding; use another`);
    return value;
  },
  encode: callable,
  decode: callable,
  encodePrefix: callable,
};

/** An encoding; what is used of it are the members that it has now. */
export const ENCODING_CHECK: Check = (value, name, faults) => {
  if (!isPlainObject(value)) {
    oneOf(NAMES)(value, name, faults);
    if (faults.length > 0 && typeof value !== 'string') faults.push(`${name} may also be { name, encode, decode }`);
    return value;
  }
  const given = value as Record<string, unknown>;
  for (const [member, check] of Object.entries(MEMBERS)) {
    if (member !== 'encodePrefix' || given[member] !== undefined) check(given[member], `${name}.${member}`, faults);
  }
  return value;
};

export const ENCODING_CHECKS: ChecksOf<EncodingOptions> = {
  keyEncoding: ENCODING_CHECK,
  valueEncoding: ENCODING_CHECK,
  encodingCheck: oneOf(['refuse', 'ignore', 'replace']),
};

/** Rejects an opening whose encodings are not those that the database remembers. */
export function assertEncodings(
  where: string,
  stored: EncodingNames | undefined,
  { encodings, encodingCheck }: { readonly encodings: EncodingNames; readonly encodingCheck: EncodingCheck },
): void {
  if (stored === undefined || encodingCheck !== 'refuse' || areSameEncodings(stored, encodings)) return;
  const say = ({ key, value }: EncodingNames) => `keyEncoding ${key} and valueEncoding ${value}`;
  throw new IncompatibleError(
    'ENCODING_MISMATCH',
    `${where}: the database was created with ${say(stored)}, this opening has ${say(encodings)}. Open it with those; or pass encodingCheck 'ignore' to open it nevertheless, for example as bytes, or 'replace' to have it remember these. Nothing was changed.`,
    { details: { stored: { ...stored }, given: { ...encodings } } },
  );
}

export function areSameEncodings(a: EncodingNames, b: EncodingNames): boolean {
  return a.key === b.key && a.value === b.value;
}

export const BYTES_NAMES: EncodingNames = { key: 'bytes', value: 'bytes' };

/** The encoding that was checked; undefined for bytes. */
export function usedEncoding(encoding: AnyEncoding | undefined): UsedEncoding | undefined {
  if (encoding === undefined || encoding === 'bytes') return undefined;
  return typeof encoding === 'string' ? BUILT_IN[encoding] : ownEncoding(encoding);
}

function ownEncoding(encoding: Encoding<unknown>): UsedEncoding {
  const { name } = encoding;
  const prefixed = encoding.encodePrefix !== undefined;
  return {
    name,
    encode: (value) => bytesFrom(encoding.encode(value)),
    decode(bytes) {
      const value = encoding.decode(bytes);
      if (isThenable(value)) throw unfit(promised(value));
      return value;
    },
    encodePrefix: prefixed ? (prefix) => bytesFrom(encoding.encodePrefix?.(prefix)) : undefined,
    leavesSublevels: false,
  };
}

function bytesFrom(result: unknown): OwnBytes {
  const own = isBytes(result) ? trueBytes(result) : undefined;
  // An encoding may write into the same bytes again for the next key or value.
  if (own !== undefined) return new Uint8Array(own);
  throw unfit(
    isThenable(result) ? promised(result) : `the encoding returned ${describeValue(result)}, not a Uint8Array`,
  );
}

function promised(result: PromiseLike<unknown>): string {
  result.then(undefined, () => undefined);
  return 'the encoding returned a promise: it must answer at once';
}

/** What an encoding said when it failed. */
function reasonOf(cause: unknown): string {
  return isDbError(cause) ? cause.message : describeThrown(cause);
}

export type EncodedRole = 'key' | 'value';

/** @param key of the row, as text */
export function notEncodable(role: EncodedRole, encoding: string, cause: unknown, key: string): unknown {
  if (isDbError(cause) && cause.code === 'KEY_TOO_LARGE') return cause;
  const of = role === 'key' ? key : `of the key ${key}`;
  const message = `The ${role} ${of} does not fit the ${role} encoding ${encoding}: ${reasonOf(cause)}. Nothing was written or read; pass what the encoding can carry, or open the database with another.`;
  return new InvalidArgumentError('NOT_ENCODABLE', message, { cause, details: { role, encoding } });
}

export function notDecodable(role: EncodedRole, encoding: string, cause: unknown, key: Uint8Array): IncompatibleError {
  const of = role === 'key' ? describeBytes(key) : `of the key ${describeBytes(key)}`;
  const message = `The ${role} ${of} is intact, but the ${role} encoding ${encoding} cannot read it: ${reasonOf(cause)}. It was stored with another encoding, or by another program; read it as bytes (keyEncoding and valueEncoding 'bytes', encodingCheck 'ignore').`;
  return new IncompatibleError('NOT_DECODABLE', message, { cause, details: { role, encoding, key } });
}
