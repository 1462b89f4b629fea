/**
 * Errors to plain data and back, for worker messages and `--json`: `postMessage` drops class, name and code of an error.
 *
 * What comes back is a native error of its own class, with findings, details and causes; only its stack is a new one.
 */
import {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  converted,
  type DbError,
  FencedError,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  isDbError,
  ManifestCorruptionError,
  notPlain,
  RollbackError,
  UnavailableError,
  WalCorruptionError,
} from './errors.ts';
import { type ErrorJson, EXTRA_FIELDS, fromPlain, MAX_CAUSES, plainError } from './plain.ts';

const CLASS_OF_NAME: Record<string, new (...args: never[]) => DbError> = {
  InvalidArgumentError,
  ConflictError,
  FencedError,
  ClosedError,
  UnavailableError,
  IncompatibleError,
  AbortError,
  InternalError,
  CorruptionError,
  WalCorruptionError,
  ManifestCorruptionError,
  RollbackError,
};

/** Options of `errorToJson`. */
export interface ErrorJsonOptions {
  /** Put lengths in the place of keys and values. Default false. */
  redactKeys?: boolean;
}

/** Turns an error into plain data that survives `postMessage` and JSON; the chain of causes is cut at five. */
export function errorToJson(error: DbError, options: ErrorJsonOptions = {}): ErrorJson {
  if (!isDbError(error)) throw notPlain('errorToJson needs an error of this package; look with isDbError first.');
  if (typeof options !== 'object' || options === null) throw notPlain('errorToJson: the options must be an object.');
  return converted('errorToJson', () => plainError(error, options.redactKeys === true, 0));
}

/** The error again: a native one of its own class, whose stack begins here. Throws `BAD_ARGUMENT` for what `errorToJson` never gave. */
export function errorFromJson(json: ErrorJson): DbError {
  return converted('errorFromJson', () => errorOf(json, 0));
}

function errorOf(json: ErrorJson, depth: number): DbError {
  const { name, message, kind, code, retryable, cause } = json;
  for (const text of [name, message, kind, code])
    if (typeof text !== 'string') throw notPlain('errorFromJson needs what errorToJson has given.');
  const cls = Object.hasOwn(CLASS_OF_NAME, name) ? CLASS_OF_NAME[name] : InternalError;
  const error = Object.setPrototypeOf(new Error(message), cls.prototype as object) as DbError;
  const define = (key: string, value: unknown, enumerable = true) =>
    Object.defineProperty(error, key, { value, configurable: true, writable: true, enumerable });
  define('name', name, false);
  define('kind', kind);
  define('code', code);
  define('retryable', retryable === true);
  define('details', Object.freeze(fromPlain(json.details ?? {}) as object));
  if (json.outcome !== undefined) define('outcome', json.outcome);
  if (json.hint !== undefined) define('hint', json.hint);
  if (json.progress !== undefined) define('progress', fromPlain(json.progress));
  if (json.findings !== undefined) {
    define('findings', fromPlain(json.findings));
    define('total', json.total);
  }
  for (const field of EXTRA_FIELDS) {
    const value = json.extra?.[field];
    if (value !== undefined) define(field, fromPlain(value));
  }
  if (cause !== undefined && depth < MAX_CAUSES) define('cause', causeOf(cause, depth), false);
  Error.captureStackTrace(error, errorFromJson);
  return error;
}

function causeOf(cause: NonNullable<ErrorJson['cause']>, depth: number): Error {
  if ('schemaVersion' in cause) return errorOf(cause, depth + 1);
  const error = new Error(String(cause.message));
  return Object.defineProperty(error, 'name', { value: String(cause.name), configurable: true, writable: true });
}
