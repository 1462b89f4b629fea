/** Assertions that stay on. A failed one is a bug of this package: `InternalError`, never a plain `Error`. */
import { InternalError } from './errors.ts';

export function assertThat(condition: boolean, rule: string, details?: Record<string, unknown>): asserts condition {
  if (!condition) throw new InternalError(`Internal rule broken: ${rule}`, details === undefined ? {} : { details });
}

/** For `switch` statements that must be complete. */
export function assertNever(value: never): never {
  throw new InternalError(`Internal rule broken: unexpected value ${String(value)}`);
}
