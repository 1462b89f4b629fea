/** Errors of a handle or of damage are shared by all who meet them: who has more to say of one says it with a copy. */
import {
  AbortError,
  ClosedError,
  ConflictError,
  CorruptionError,
  type DbError,
  type ErrorFields,
  FencedError,
  IncompatibleError,
  InternalError,
  InvalidArgumentError,
  isCorruption,
  UnavailableError,
} from '../common/errors.ts';

/** An error of the same class and code, with other fields and perhaps another message; what is not given stays, and the cause is kept. */
export function copyOfError(error: DbError, given: ErrorFields, message = error.message): DbError {
  const { code, retryable, details, hint } = error;
  const fields: ErrorFields = {
    retryable,
    details,
    ...(hint !== undefined && { hint }),
    cause: error.cause ?? error,
    ...given,
  };
  if (isCorruption(error)) {
    const { findings, total, resumeAfter } = error;
    const place = resumeAfter === undefined ? {} : { resumeAfter };
    return new CorruptionError(message, findings, { ...fields, total, ...place });
  }
  switch (error.kind) {
    case 'conflict':
      return new ConflictError(code, message, fields);
    case 'fenced':
      return new FencedError(code, message, fields);
    case 'closed':
      return new ClosedError(code, message, fields);
    case 'aborted':
      return new AbortError(message, fields);
    case 'incompatible':
      return new IncompatibleError(code, message, fields);
    case 'internal':
      return new InternalError(message, fields);
    case 'invalid':
      return new InvalidArgumentError(code, message, fields);
    default:
      return new UnavailableError(code, message, fields);
  }
}
