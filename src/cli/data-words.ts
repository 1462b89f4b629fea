/**
 * Keys and values as they are typed and as they are printed.
 *
 * Invariants:
 * 1. A key that is printed whole can be typed as it is printed: text, or in quotes as JSON, or `0x` and hex digits.
 * 2. In JSON bytes are a string exactly if they are that string in UTF-8, else `{ "$bytes": "<base64url>" }`: reading it back gives
 *    the same bytes.
 */
import { UsageError } from './arguments.ts';
import { keyText, visible } from './words.ts';

const HEX = /^(?:[0-9a-f]{2})*$/i;

/** The bytes of a key as it was typed. */
export function typedKey(word: string, name = 'KEY'): Uint8Array {
  if (word.startsWith('0x')) return hexBytes(word.slice(2), name);
  return Buffer.from(word.startsWith('"') ? quotedText(word, name) : word);
}

/** The bytes that hex digits stand for. */
export function hexBytes(digits: string, name: string): Uint8Array {
  if (HEX.test(digits)) return Buffer.from(digits, 'hex');
  throw new UsageError(`${name} must be pairs of hex digits, not ${JSON.stringify(digits)}.`);
}

function quotedText(word: string, name: string): string {
  try {
    const text: unknown = JSON.parse(word);
    if (typeof text === 'string') return text;
  } catch {
    // Said below.
  }
  throw new UsageError(
    `${name} begins with a quote and is no text in quotes as JSON has it: ${JSON.stringify(word)}. A key that begins with one is written '"\\"..."'.`,
  );
}

/** A key with all its characters. */
export function wholeKeyText(key: Uint8Array, redact: boolean): string {
  return keyText(key, redact, Number.POSITIVE_INFINITY);
}

/** A value in one line: text as it is, in quotes if it has control characters or could be taken for hex, else hex digits. */
export function valueText(value: Uint8Array, redact: boolean): string {
  if (redact) return `<${value.length} bytes>`;
  const text = utf8Text(value);
  if (text === undefined) return `0x${Buffer.from(value).toString('hex')}`;
  const isPlain = visible(text) === text && !text.startsWith('0x');
  return isPlain ? text : visible(JSON.stringify(text));
}

/** Bytes for JSON (2). */
export type DataJson = string | { readonly $bytes: string } | { readonly $redacted: number };

export function dataJson(bytes: Uint8Array, redact: boolean): DataJson {
  if (redact) return { $redacted: bytes.length };
  return utf8Text(bytes) ?? { $bytes: Buffer.from(bytes).toString('base64url') };
}

/** The text that these bytes are in UTF-8; undefined if they are none. */
function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
