/**
 * From keys and values of a program to stored bytes, and back: two encodings, and of a sublevel the bytes before its keys.
 *
 * 1. Every key and every bound that goes down begins with the bytes of the sublevel, and ranges end with them: nothing outside is read
 *    or written.
 * 2. Of keys that come up these bytes are taken off; one without them was never in the range.
 */
import { assertThat } from '../common/assert.ts';
import { concatBytes, describeBytes, EMPTY_BYTES, type OwnBytes, startsWith } from '../common/bytes.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { describeValue } from '../common/option-checks.ts';
import type { ScanRow } from '../lsm/read/scan-row.ts';
import { Row } from '../lsm/read/scan-row.ts';
import { type EncodedRole, notDecodable, notEncodable, type UsedEncoding } from './encoding.ts';
import { type Bytes, boundBytes, type Decoded, type RangeOptions, toKey } from './keys.ts';
import type { ScanOptions } from './reads.ts';

/** What keys of sublevels begin with; no key of `utf8`, `json` or `tuple` does. */
export const SUBLEVEL_MARK = 0xff;
const MARK = new Uint8Array([SUBLEVEL_MARK]);

export interface CodecParts {
  /** undefined: bytes. */
  keys: UsedEncoding | undefined;
  /** undefined: bytes. */
  values: UsedEncoding | undefined;
  /** Bytes before every key. */
  prefix: Uint8Array;
}

const BOUNDS = ['gte', 'gt', 'lte', 'lt'] as const;

export class RowCodec<K, V> {
  readonly parts: CodecParts;
  /** Where ranges without an upper bound end, where sublevels are not to be seen. */
  readonly #end: Uint8Array | undefined;

  constructor(parts: CodecParts) {
    this.parts = parts;
    this.#end = parts.keys?.leavesSublevels ? concatBytes(parts.prefix, MARK) : undefined;
  }

  key(key: K): Bytes {
    const { keys, prefix } = this.parts;
    // Text goes down as it is: a database stores it as UTF-8.
    if (keys?.name === 'utf8' && prefix.length === 0 && typeof key === 'string') return key;
    const bytes = keys === undefined ? (key as Bytes) : encoded('key', keys, key, undefined);
    return prefix.length === 0 ? bytes : concatBytes(prefix, toKey(bytes));
  }

  /** @param key for messages */
  value(value: V, key: K): Bytes {
    const { values } = this.parts;
    if (values === undefined || (values.name === 'utf8' && typeof value === 'string')) return value as Bytes;
    return encoded('value', values, value, key);
  }

  readonly keyOf = (stored: OwnBytes): Decoded<K> => {
    const { keys, prefix } = this.parts;
    assertThat(startsWith(stored, prefix), 'a key of a sublevel begins with its bytes (row-codec 2)');
    const own = prefix.length === 0 ? stored : stored.slice(prefix.length);
    return (keys === undefined ? own : decoded('key', keys, own, own)) as Decoded<K>;
  };

  readonly valueOf = (stored: OwnBytes, key: Uint8Array): Decoded<V> => {
    const { values } = this.parts;
    return (values === undefined ? stored : decoded('value', values, stored, key)) as Decoded<V>;
  };

  readonly row = (stored: ScanRow): ScanRow<Decoded<K>, Decoded<V>> => {
    const { seq, expireTs, possiblyStale } = stored;
    const row = new Row(this.keyOf(stored.key), this.valueOf(stored.value, stored.key), seq);
    if (expireTs !== undefined) row.expireTs = expireTs;
    if (possiblyStale !== undefined) row.possiblyStale = possiblyStale;
    return row;
  };

  /** Options with a range, its bounds as bytes. */
  range<O extends RangeOptions<K>>(options: O): Omit<O, keyof RangeOptions> & RangeOptions {
    const { prefix } = this.parts;
    const { gte, gt, lte, lt, prefix: within, ...others } = options;
    const range: RangeOptions = {};
    for (const name of BOUNDS) {
      const bound = options[name];
      if (bound !== undefined) range[name] = this.#bound(name, bound);
    }
    if (within !== undefined) range.prefix = this.#within(within);
    else if (prefix.length > 0) range.prefix = prefix;
    if (this.#end !== undefined && lt === undefined && lte === undefined) range.lt = this.#end;
    return { ...others, ...range };
  }

  scan(options: ScanOptions<K>): ScanOptions {
    const { after, ...others } = options;
    return { ...this.range(others), ...(after !== undefined && { after: this.#bound('after', after) }) };
  }

  #bound(name: string, bound: unknown): Uint8Array {
    const { keys, prefix } = this.parts;
    const bytes = keys === undefined ? boundBytes(bound as Bytes, name) : encoded('key', keys, bound, undefined);
    return concatBytes(prefix, bytes);
  }

  #within(given: unknown): Uint8Array {
    const { keys, prefix } = this.parts;
    if (keys === undefined) return concatBytes(prefix, boundBytes(given as Bytes, 'prefix'));
    const { encodePrefix, name } = keys;
    if (encodePrefix !== undefined)
      return concatBytes(prefix, encoded('key', { name, encode: encodePrefix }, given, undefined));
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `The key encoding ${name} does not say what a prefix is; use gte and lt, ${name === 'json' ? 'or the encoding tuple or utf8' : 'or give the encoding encodePrefix'}.`,
    );
  }
}

/** The codec of a database without encodings. */
export const BYTES_CODEC = new RowCodec<Bytes, Bytes>({ keys: undefined, values: undefined, prefix: EMPTY_BYTES });

function encoded(
  role: EncodedRole,
  { name, encode }: Pick<UsedEncoding, 'name' | 'encode'>,
  value: unknown,
  key: unknown,
): Uint8Array {
  try {
    return encode(value);
  } catch (cause) {
    throw notEncodable(role, name, cause, role === 'key' ? shown(value) : shown(key));
  }
}

function shown(key: unknown): string {
  return key instanceof Uint8Array ? describeBytes(key) : describeValue(key);
}

function decoded(role: EncodedRole, { name, decode }: UsedEncoding, stored: OwnBytes, key: Uint8Array): unknown {
  try {
    return decode(stored);
  } catch (cause) {
    throw notDecodable(role, name, cause, key);
  }
}
