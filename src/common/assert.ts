/** Assertions that stay on. A failed one is a bug of this package: `InternalError`, never a plain `Error`. */
import { InternalError } from './errors.ts';

export function assertThat(condition: boolean, rule: string, details?: Record<string, unknown>): asserts condition {
  if (!condition) throw ruleBroken(rule, details);
}

/** The value, which is there by a rule that the compiler cannot see. Not for hot loops, nor for what comes from a store or a caller. */
export function present<T>(value: T | undefined, rule: string): T {
  if (value === undefined) throw ruleBroken(rule);
  return value;
}

/** For places that have to do something else before they throw it. */
export function ruleBroken(rule: string, details: Record<string, unknown> = {}): InternalError {
  return new InternalError(
    `Internal rule broken: ${rule}. This is a bug of ShaleDB: report this message with its details and its stack.`,
    { details },
  );
}
