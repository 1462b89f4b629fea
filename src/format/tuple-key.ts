/**
 * Tuples as keys: the bytes sort as the tuples do, element by element, and give the tuples back.
 *
 * ```
 * tuple = element*                       an empty one has no bytes: it is a prefix, not a key
 *
 * element   bytes
 * null      10
 * false     20
 * true      21
 * number    30, 8 bytes                  IEEE 754 double, big-endian; of one that is not negative the sign bit is flipped, of a
 *                                        negative one every bit
 * string    40, escaped UTF-8, 00        escaped: 00 as 01 01, 01 as 01 02, every other byte as it is
 * bytes     50, escaped bytes, 00        escaped in the same way
 * ```
 *
 * - Order: null, false, true, numbers from -Infinity to Infinity, strings by code points (which is the order of their UTF-8; JavaScript's `<`
 *   compares UTF-16 units), bytes as unsigned. A tuple comes before every longer one that begins with it.
 * - An element says where it ends, so what begins with the bytes of a tuple is exactly what begins with its elements: no element is
 *   taken for a part of another one.
 * - Each value has one form. NaN and lone surrogates have none; -0 is stored as 0.
 * - No encoded tuple begins with FF, nor with any byte that is no tag. The free tags between those in use are for further kinds.
 *
 * `["a\u0000", -1.5, true, null, 0x00ff]` of a string, a number, a boolean, null and two bytes:
 *
 * ```example
 * 40 61 01 01 00                         string=6100
 * 30 40 07 ff ff ff ff ff ff             number=-1.5
 * 21                                     boolean=true
 * 10                                     null=null
 * 50 01 01 ff 00                         bytes=00ff
 * ```
 *
 * Bytes that are no tuple are not damage: another program may have written the key, or this one with another encoding.
 */
import { assertThat } from '../common/assert.ts';
import { copyBytes, decodeUtf8, encodeUtf8, isBytes, type OwnBytes, toHex, trueBytes } from '../common/bytes.ts';
import { IncompatibleError, InvalidArgumentError } from '../common/errors.ts';
import { MAX_KEY_BYTES } from '../common/key-range.ts';
import { describeValue } from '../common/option-checks.ts';

/** What a tuple is made of. */
export type TupleElement = string | number | boolean | null | Uint8Array;

const NULL = 0x10;
const FALSE = 0x20;
const TRUE = 0x21;
const NUMBER = 0x30;
const STRING = 0x40;
const BYTES = 0x50;

const END = 0x00;
const ESCAPE = 0x01;
const NUMBER_BYTES = 8;

/** Written to and copied from in one go; never while code of the caller runs. */
let scratch: OwnBytes = new Uint8Array(1024);
const double = new DataView(new ArrayBuffer(NUMBER_BYTES));

/** The bytes of a tuple, or of the leading elements of one. Throws `InvalidArgumentError` (`NOT_ENCODABLE`, `KEY_TOO_LARGE`). */
export function encodeTuple(tuple: readonly TupleElement[]): OwnBytes {
  if (!Array.isArray(tuple)) throw notEncodable(`a tuple is an array, not ${describeValue(tuple)}`);
  if (tuple.length > MAX_KEY_BYTES) throw tooLarge();
  // Read first: an array of the caller can run code of the caller.
  const elements = Array.from({ length: tuple.length }, (_, i) => tuple[i]);
  let at = 0;
  for (let i = 0; i < elements.length; i++) at = writeElement(elements[i], i, at);
  return scratch.slice(0, at);
}

/** Writes an element and returns where the next one begins. */
function writeElement(element: unknown, index: number, at: number): number {
  if (typeof element === 'string') {
    const ascii = writeShortText(element, at);
    if (ascii > 0) return ascii;
    const utf8 = element.length > MAX_KEY_BYTES ? undefined : encodeUtf8(element);
    if (utf8 !== undefined) return writeEscaped(STRING, utf8, at);
    if (element.length > MAX_KEY_BYTES) throw tooLarge();
    throw notEncodable(`element ${index} is not a well-formed string (it has a lone surrogate)`);
  }
  if (typeof element === 'number') {
    if (Number.isNaN(element)) throw notEncodable(`element ${index} is NaN, which has no place in an order`);
    return writeNumber(element, at);
  }
  if (element === null) return writeTag(NULL, at);
  if (typeof element === 'boolean') return writeTag(element ? TRUE : FALSE, at);
  const bytes = isBytes(element) ? trueBytes(element) : undefined;
  if (bytes !== undefined) return writeEscaped(BYTES, bytes, at);
  const what = isBytes(element) ? 'bytes whose memory is gone' : describeValue(element);
  throw notEncodable(`element ${index} is ${what}, not a string, number, boolean, null or Uint8Array`);
}

function reserve(bytes: number): void {
  if (bytes > 2 * MAX_KEY_BYTES + 2) throw tooLarge();
  if (bytes <= scratch.length) return;
  const grown = new Uint8Array(bytes * 2);
  grown.set(scratch);
  scratch = grown;
}

function writeTag(tag: number, at: number): number {
  reserve(at + 1);
  scratch[at] = tag;
  return at + 1;
}

function writeNumber(value: number, at: number): number {
  reserve(at + 1 + NUMBER_BYTES);
  // Adding 0 makes 0 of -0.
  double.setFloat64(0, value + 0);
  const isNegative = double.getUint8(0) >= 0x80;
  scratch[at] = NUMBER;
  for (let i = 0; i < NUMBER_BYTES; i++) scratch[at + 1 + i] = double.getUint8(i) ^ (isNegative ? 0xff : 0);
  if (!isNegative) scratch[at + 1] ^= 0x80;
  return at + 1 + NUMBER_BYTES;
}

/** A text of ASCII without anything to escape, which most are: at once. 0: it is another one, and nothing counts as written. */
function writeShortText(text: string, at: number): number {
  if (text.length > 64) return 0;
  reserve(at + text.length + 2);
  scratch[at] = STRING;
  let to = at + 1;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x80 || c <= ESCAPE) return 0;
    scratch[to++] = c;
  }
  scratch[to] = END;
  return to + 1;
}

function writeEscaped(tag: number, bytes: Uint8Array, at: number): number {
  if (bytes.length > MAX_KEY_BYTES) throw tooLarge();
  // At most two bytes for each, a tag and an end.
  reserve(at + 2 * bytes.length + 2);
  scratch[at] = tag;
  let to = at + 1;
  for (const byte of bytes) {
    if (byte <= ESCAPE) scratch[to++] = ESCAPE;
    scratch[to++] = byte <= ESCAPE ? byte + 1 : byte;
  }
  scratch[to] = END;
  return to + 1;
}

/** The tuple that was encoded. Throws `IncompatibleError` (`NOT_DECODABLE`) for bytes that `encodeTuple` does not give. */
export function decodeTuple(bytes: Uint8Array): TupleElement[] {
  const tuple: TupleElement[] = [];
  for (let at = 0; at < bytes.length; ) at = readElement(bytes, at, tuple);
  return tuple;
}

/** Adds the element at `at` and returns where the next one begins. */
function readElement(bytes: Uint8Array, at: number, tuple: TupleElement[]): number {
  const tag = bytes[at];
  if (tag === STRING || tag === BYTES) {
    const end = bytes.indexOf(END, at + 1);
    if (end < 0) throw notDecodable(at, 'it does not end');
    const content = unescaped(bytes, at + 1, end);
    if (tag === BYTES) tuple.push(content);
    else {
      const text = decodeUtf8(content);
      if (text === undefined) throw notDecodable(at, 'its string is not UTF-8');
      tuple.push(text);
    }
    return end + 1;
  }
  if (tag === NUMBER) {
    tuple.push(readNumber(bytes, at));
    return at + 1 + NUMBER_BYTES;
  }
  if (tag === NULL) tuple.push(null);
  else if (tag === TRUE || tag === FALSE) tuple.push(tag === TRUE);
  else throw notDecodable(at, `its tag ${toHex(bytes.subarray(at, at + 1))} is unknown`);
  return at + 1;
}

function readNumber(bytes: Uint8Array, at: number): number {
  if (at + 1 + NUMBER_BYTES > bytes.length) throw notDecodable(at, 'its number is cut short');
  const isNegative = bytes[at + 1] < 0x80;
  for (let i = 0; i < NUMBER_BYTES; i++) double.setUint8(i, bytes[at + 1 + i] ^ (isNegative ? 0xff : 0));
  if (!isNegative) double.setUint8(0, double.getUint8(0) ^ 0x80);
  const value = double.getFloat64(0);
  if (Number.isNaN(value) || Object.is(value, -0))
    throw notDecodable(at, 'its number has a form that is never written');
  return value;
}

function unescaped(bytes: Uint8Array, from: number, to: number): OwnBytes {
  const stored = bytes.subarray(from, to);
  if (!stored.includes(ESCAPE)) return copyBytes(stored);
  const parts = new Uint8Array(stored.length);
  let length = 0;
  for (let i = 0; i < stored.length; i++) {
    if (stored[i] !== ESCAPE) {
      parts[length++] = stored[i];
      continue;
    }
    const next = stored[++i];
    if (next !== 0x01 && next !== 0x02) throw notDecodable(from - 1, 'it has an escape that is never written');
    parts[length++] = next - 1;
  }
  assertThat(length < stored.length, 'an escape stands for one byte of two');
  return parts.slice(0, length);
}

function tooLarge(): InvalidArgumentError {
  return new InvalidArgumentError(
    'KEY_TOO_LARGE',
    `the tuple has more than ${MAX_KEY_BYTES} bytes, the limit of a key`,
  );
}

function notEncodable(why: string): InvalidArgumentError {
  return new InvalidArgumentError('NOT_ENCODABLE', why);
}

function notDecodable(at: number, why: string): IncompatibleError {
  return new IncompatibleError('NOT_DECODABLE', `the bytes are no tuple: at byte ${at} is an element, but ${why}`);
}
