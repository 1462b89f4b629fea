/**
 * How stores fail: one vocabulary for all of them, mapped to the public error classes.
 *
 * A store throws what `storeError` makes and nothing else; wrappers read `storeErrorClass` and `isTransient` and need not
 * know which store they wrap. The class says what is known, `transient` whether the same request may succeed later.
 */

import { AbortError, type DbError, InvalidArgumentError, isDbError, UnavailableError } from '../common/errors.ts';
import { readingArgument } from '../common/option-checks.ts';

/** What went wrong in a store: it decides whether the call is made again, and which error a user gets. */
export type StoreErrorClass =
  | 'conflict-in-flight'
  | 'throttled'
  | 'unavailable'
  | 'timeout'
  | 'auth'
  | 'denied'
  | 'missing'
  | 'full'
  | 'unsupported'
  | 'malformed-response'
  | 'bad-digest'
  | 'cancelled';

/** What a store knows of a failure. */
export interface StoreErrorInput {
  /** What is known of the failure. */
  cls: StoreErrorClass;
  /** What happened, in a sentence; the error adds store and path. */
  message: string;
  /** Name of the store, for the message. */
  store: string;
  /** Of the object or prefix, if the call was about one. */
  path?: string;
  /** The server asked to wait this long. */
  retryAfterMs?: number;
  /** Status of the answer, for `details`. */
  httpStatus?: number;
  /** Code of the answer, such as `SlowDown`, for `details`. */
  providerCode?: string;
  /** How often the request was sent, for `details`. */
  attempts?: number;
  /** What the store, its client or the system threw. */
  cause?: unknown;
}

const TRANSIENT: Record<StoreErrorClass, boolean> = {
  'conflict-in-flight': true,
  throttled: true,
  unavailable: true,
  timeout: true,
  auth: true,
  denied: false,
  missing: false,
  full: false,
  unsupported: false,
  'malformed-response': true,
  'bad-digest': true,
  cancelled: false,
};

/** The public error for a store's failure, with the store's name, path and cause in `details`. */
export function storeError(given: StoreErrorInput): DbError {
  const input = readingArgument('storeError', () => ({ ...given }));
  const { message: text, store, path } = input;
  const isText = [text, store, path ?? ''].every((t) => typeof t === 'string');
  if (!isText || !Object.hasOwn(TRANSIENT, input.cls)) {
    const known = Object.keys(TRANSIENT).join(', ');
    throw new InvalidArgumentError('BAD_ARGUMENT', `storeError needs message and store, and a cls of ${known}.`);
  }
  const { cls, cause } = input;
  const details: Record<string, unknown> = { storeClass: cls, transient: TRANSIENT[cls], store };
  for (const key of ['path', 'retryAfterMs', 'httpStatus', 'providerCode', 'attempts'] as const) {
    if (input[key] !== undefined) details[key] = input[key];
  }
  const where = path === undefined ? store : `${store} (${path})`;
  const message = `${where}: ${text}`;
  const fields = { details, cause };
  switch (cls) {
    case 'cancelled':
      return new AbortError(message, fields);
    case 'denied':
      return new InvalidArgumentError('STORE_DENIED', message, fields);
    case 'missing':
      return new InvalidArgumentError('STORE_MISSING', message, fields);
    case 'unsupported':
      return new InvalidArgumentError('STORE_UNSUITABLE', message, fields);
    case 'throttled':
      return new UnavailableError('STORE_THROTTLED', message, fields);
    case 'timeout':
      return new UnavailableError('STORE_TIMEOUT', message, fields);
    case 'auth':
      return new UnavailableError('STORE_AUTH', message, fields);
    case 'full':
      return new UnavailableError('STORE_FULL', message, fields);
    default:
      return new UnavailableError('STORE_DOWN', message, fields);
  }
}

export function storeErrorClass(error: unknown): StoreErrorClass | undefined {
  return isDbError(error) ? (error.details['storeClass'] as StoreErrorClass | undefined) : undefined;
}

/** Whether the same request may succeed later. */
export function isTransient(error: unknown): boolean {
  return isDbError(error) && error.details['transient'] === true;
}
