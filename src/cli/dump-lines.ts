/**
 * Rows as lines of JSON: what `dump` writes and `load` reads.
 *
 * ```
 * {"schemaVersion":1,"type":"dump","seq":{"$bigint":"2003"}}                             first
 * {"key":"user/1","value":"Ada"}                                                         a row
 * {"key":{"$bytes":"AP8"},"value":{"$bytes":"Af4"},"expiresAtMs":1796136175149}          a row of bytes, that expires
 * {"type":"dump-end","rows":2}                                                           last
 * ```
 *
 * Invariants:
 * 1. Reading a line back gives the same key, the same value and the same expiry.
 * 2. A line that is not exactly one of these is refused with its number; nothing is guessed.
 * 3. A file without its last line is known to be cut.
 */
import { InvalidArgumentError, type ScanRow } from '../index.ts';
import { type DataJson, dataJson } from './data-words.ts';

export const DUMP_VERSION = 1;

/** A row that is loaded. */
export interface DumpRow {
  key: Uint8Array;
  value: Uint8Array;
  expiresAtMs: number | undefined;
}

/** What a line is. */
export type DumpLine = { type: 'dump' } | { type: 'row'; row: DumpRow } | { type: 'dump-end'; rows: number };

export function headLine(): string {
  return `${JSON.stringify({ schemaVersion: DUMP_VERSION, type: 'dump' })}\n`;
}

export function rowLine({ key, value, expireTs }: Pick<ScanRow, 'key' | 'value' | 'expireTs'>): string {
  const row: { key: DataJson; value: DataJson; expiresAtMs?: number } = {
    key: dataJson(key, false),
    value: dataJson(value, false),
    ...(expireTs !== undefined && { expiresAtMs: expireTs }),
  };
  return `${JSON.stringify(row)}\n`;
}

export function endLine(rows: number): string {
  return `${JSON.stringify({ type: 'dump-end', rows })}\n`;
}

/** Members that `scan --json` gives besides. */
const KNOWN: readonly string[] = ['key', 'value', 'expiresAtMs', 'schemaVersion', 'type', 'seq'];
const MOST_KEY_BYTES = 65_535;

/** The number of the line, from 1, is for the error. */
export function parseLine(text: string, line: number): DumpLine {
  const value = parsed(text, line);
  const { type, schemaVersion } = value;
  if (schemaVersion !== undefined && schemaVersion !== DUMP_VERSION)
    throw brokenLine(
      line,
      `schemaVersion ${JSON.stringify(schemaVersion)} is not known; this program reads ${DUMP_VERSION}`,
    );
  if (type === 'dump') return { type };
  if (type === 'dump-end') {
    const { rows } = value;
    if (!Number.isSafeInteger(rows)) throw brokenLine(line, 'rows must be a whole number');
    return { type, rows: rows as number };
  }
  if (type !== undefined && type !== 'row') throw brokenLine(line, `type ${JSON.stringify(type)} is not known`);
  const alien = Object.keys(value).find((name) => !KNOWN.includes(name));
  if (alien !== undefined) throw brokenLine(line, `member ${JSON.stringify(alien)} is not known`);
  const key = bytesOf(value['key'], 'key', line);
  if (key.length === 0 || key.length > MOST_KEY_BYTES)
    throw brokenLine(line, `key has ${key.length} bytes; a key has 1 to ${MOST_KEY_BYTES}`);
  const { expiresAtMs } = value;
  if (expiresAtMs !== undefined && !Number.isSafeInteger(expiresAtMs))
    throw brokenLine(line, 'expiresAtMs must be a whole number of milliseconds');
  return {
    type: 'row',
    row: { key, value: bytesOf(value['value'], 'value', line), expiresAtMs: expiresAtMs as number | undefined },
  };
}

function parsed(text: string, line: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw brokenLine(line, `it is no JSON: ${(cause as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw brokenLine(line, 'it is no object');
  return value as Record<string, unknown>;
}

const BASE64URL = /^[A-Za-z0-9_-]*$/;

function bytesOf(value: unknown, name: string, line: number): Uint8Array {
  if (typeof value === 'string') {
    if (!value.isWellFormed())
      throw brokenLine(line, `${name} has half of a surrogate pair, which UTF-8 does not have`);
    return Buffer.from(value);
  }
  const text = (value as { $bytes?: unknown } | undefined | null)?.$bytes;
  const isBytes = typeof text === 'string' && BASE64URL.test(text) && Object.keys(value as object).length === 1;
  const bytes = isBytes ? Buffer.from(text, 'base64url') : undefined;
  // A length that base64 does not have, or bits that it ignores, would be guessed.
  if (bytes === undefined || bytes.toString('base64url') !== text)
    throw brokenLine(line, `${name} must be a string, or {"$bytes": "<base64url>"}`);
  return bytes;
}

export function brokenLine(line: number, what: string): InvalidArgumentError {
  return new InvalidArgumentError('BAD_ARGUMENT', `Line ${line} cannot be loaded: ${what}.`, { details: { line } });
}
