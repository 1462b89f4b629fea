/** Copies of errors: the same class, with more to say. */
import { describe, expect, it } from 'vitest';
import {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  type DbError,
  FencedError,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  UnavailableError,
} from '../../../src/common/errors.ts';
import { copyOfError } from '../../../src/db/error-copy.ts';

const FIELDS = { details: { a: 1 }, cause: 'why', retryable: true };
const ERRORS: DbError[] = [
  new InvalidArgumentError('BAD_ARGUMENT', 'm', FIELDS),
  new ConflictError('CONDITION_FAILED', 'm', FIELDS),
  new FencedError('WRITER_FENCED', 'm', FIELDS),
  new ClosedError('CLOSED', 'm', FIELDS),
  new UnavailableError('STORE_DOWN', 'm', FIELDS),
  new IncompatibleError('FORMAT_TOO_NEW', 'm', FIELDS),
  new AbortError('m', FIELDS),
  new InternalError('m', FIELDS),
  new CorruptionError('m', [], { ...FIELDS, total: 7, resumeAfter: new Uint8Array([1]) }),
];

describe('a copy of an error', () => {
  it.each(ERRORS.map((error) => [error.name, error] as const))('is one of its class: %s', (_name, error) => {
    const copy = copyOfError(error, { outcome: 'not-applied' });
    expect(copy).not.toBe(error);
    expect(copy.constructor).toBe(error.constructor);
    const { name, code, message, details, cause, retryable } = error;
    expect(copy).toMatchObject({ name, code, message, details, cause, retryable, outcome: 'not-applied' });
    expect(error.outcome).toBeUndefined();
    if (error instanceof CorruptionError) {
      expect(copy).toMatchObject({ total: 7, resumeAfter: new Uint8Array([1]), findings: error.findings });
    }
  });

  it('has another message if it is given, and the error itself as its cause if that has none', () => {
    const error = new ClosedError('CLOSED', 'closed');
    const copy = copyOfError(error, {}, 'closed in the middle');
    expect(copy.message).toBe('closed in the middle');
    expect(copy.cause).toBe(error);
  });
});
