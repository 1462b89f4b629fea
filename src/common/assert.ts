/** Assertions that stay on. A failed one is a bug of this package: `InternalError`, never a plain `Error`. */
import { InternalError } from './errors.ts';

export function assertThat(condition: boolean, rule: string, details?: Record<string, unknown>): asserts condition {
  if (!condition) throw new InternalError(`Internal rule broken: ${rule}`, details === undefined ? {} : { details });
}
