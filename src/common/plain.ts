/**
 * Values as plain data for JSON and `postMessage`, which keep neither the class of an error nor, in JSON, bigints and bytes.
 *
 * Below the classes of errors, which have a `toJSON`: so it goes by their brands.
 */
import { types } from 'node:util';
import type { Hint } from './advice.ts';
import { fromBase64Url, toBase64Url } from './bytes.ts';
import { describeThrown } from './callbacks.ts';
import { brandsOf, type ErrorKind, type WriteOutcome } from './error-kind.ts';

/** Plain form of an error for worker messages and `--json`; bigints are decimal strings, bytes base64url. */
export interface ErrorJson {
  schemaVersion: 1;
  /** The class in one word. */
  kind: ErrorKind;
  /** The cause, stable across versions. */
  code: string;
  /** Name of the class, from which `errorFromJson` makes the error again. */
  name: string;
  /** What happened, with value, limit and remedy. */
  message: string;
  /** Whether the same call may succeed later without any repair. */
  retryable: boolean;
  /** Whether a write took effect; absent as in the error. */
  outcome?: WriteOutcome;
  /**
   * The values that the message names; bigints are `{ $bigint }`, bytes `{ $bytes }` or, redacted, `{ $redacted: length
   * }`.
   */
  details: Record<string, unknown>;
  /** Of damage: what to do next. */
  hint?: Hint;
  /** Of `deleteRange` and `clear`: how far they came, as plain data. */
  progress?: unknown;
  /** Of damage: its pieces as plain data, as many as the error has. */
  findings?: unknown[];
  /** Of damage: all its pieces. */
  total?: number;
  /** What only some classes have, such as `wal` and `fallback`, as plain data. */
  extra?: Record<string, unknown>;
  /** The error that led to this one; the chain ends after five. */
  cause?:
    | ErrorJson
    | {
        /** Class of an error that is not of this package. */
        name: string;
        /** What it says. */
        message: string;
      };
}

/** Fields that some classes of corruption have. */
export const EXTRA_FIELDS = [
  'wal',
  'newestGoodId',
  'fallback',
  'expected',
  'found',
  'possiblyStale',
  'resumeAfter',
] as const;

/** What of an error its plain form has. */
interface PlainSource extends Readonly<Partial<Record<(typeof EXTRA_FIELDS)[number], unknown>>> {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly name: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly outcome?: WriteOutcome;
  readonly details: Readonly<Record<string, unknown>>;
  readonly hint?: Hint;
  readonly progress?: unknown;
  readonly cause?: unknown;
  readonly findings?: readonly unknown[];
  readonly total?: number;
}

/** The chain of causes is cut here. */
export const MAX_CAUSES = 5;

/** Plain data for JSON: bigints become `{ $bigint }`, bytes `{ $bytes }` or, redacted, `{ $redacted: length }`. */
export function toPlain(value: unknown, redactKeys = false): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() };
  if (value instanceof Uint8Array) return redactKeys ? { $redacted: value.length } : { $bytes: toBase64Url(value) };
  if (Array.isArray(value)) return value.map((x) => toPlain(x, redactKeys));
  if (isBranded(value)) return plainError(value, redactKeys, MAX_CAUSES);
  if (value instanceof Error) return { name: value.name, message: value.message };
  if (typeof value === 'function' || typeof value === 'symbol') return String(value);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, v]) => v !== undefined)
        .map(([k, v]) => [k, toPlain(v, redactKeys)]),
    );
  }
  return value;
}

/** What `toPlain` was given, errors excepted. */
export function fromPlain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromPlain);
  if (typeof value !== 'object' || value === null) return value;
  const o = value as Record<string, unknown>;
  if (typeof o['$bigint'] === 'string') return BigInt(o['$bigint']);
  if (typeof o['$bytes'] === 'string') return fromBase64Url(o['$bytes']);
  return Object.fromEntries(Object.entries(o).map(([k, v]) => [k, fromPlain(v)]));
}

function isBranded(value: unknown): value is PlainSource {
  return brandsOf(value) !== undefined;
}

/** An error as plain data; `depth`: of how many it is the cause. */
export function plainError(error: PlainSource, redact: boolean, depth: number): ErrorJson {
  const json: ErrorJson = {
    schemaVersion: 1,
    kind: error.kind,
    code: error.code,
    name: error.name,
    message: error.message,
    retryable: error.retryable,
    details: toPlain(error.details, redact) as Record<string, unknown>,
  };
  if (error.outcome !== undefined) json.outcome = error.outcome;
  if (error.hint !== undefined) json.hint = error.hint;
  if (error.progress !== undefined) json.progress = toPlain(error.progress, redact);
  if (brandsOf(error)?.includes('CorruptionError')) {
    json.findings = toPlain(error.findings, redact) as unknown[];
    json.total = error.total;
    const extra: Record<string, unknown> = {};
    for (const f of EXTRA_FIELDS) {
      const v = error[f];
      if (v !== undefined) extra[f] = toPlain(v, redact);
    }
    if (Object.keys(extra).length > 0) json.extra = extra;
  }
  const { cause } = error;
  if (cause !== undefined && depth < MAX_CAUSES)
    json.cause = isBranded(cause) ? plainError(cause, redact, depth + 1) : foreignCause(cause);
  return json;
}

/** Anything can have been thrown. */
function foreignCause(cause: unknown): { name: string; message: string } {
  if (types.isNativeError(cause)) return { name: `${cause.name}`, message: `${cause.message}` };
  return { name: 'Error', message: describeThrown(cause) };
}
