/** Merge operands and how they become a value. */
import { IncompatibleError, InvalidArgumentError, isDbError } from '../common/errors.ts';

/**
 * Combines operands with what is there. Must be associative and accept operands without an existing value: they may be
 * folded among themselves first, in groups.
 */
export interface MergeOperator {
  /** `existing` is undefined where there is no value. Must not keep or change its arguments. */
  merge(key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array;
  /** The same for several operands, oldest first; used instead of `merge` where it exists. */
  mergeBatch?(key: Uint8Array, existing: Uint8Array | undefined, operands: Uint8Array[]): Uint8Array;
}

/** Folds `operands` (oldest first) into `existing`. An exception of the operator fails this call alone. */
export function foldOperands(
  operator: MergeOperator | undefined,
  key: Uint8Array,
  existing: Uint8Array | undefined,
  operands: Uint8Array[],
): Uint8Array {
  if (operator === undefined) throw missingOperator();
  try {
    const result =
      operator.mergeBatch !== undefined
        ? operator.mergeBatch(key, existing, operands)
        : operands.reduce<Uint8Array | undefined>((value, o) => operator.merge(key, value, o), existing);
    if (!(result instanceof Uint8Array)) {
      throw new InvalidArgumentError('BAD_ARGUMENT', 'The merge operator must return a Uint8Array.');
    }
    return result;
  } catch (error) {
    if (isDbError(error)) throw error;
    throw new InvalidArgumentError('BAD_ARGUMENT', 'The merge operator threw an exception; see the cause.', {
      cause: error,
    });
  }
}

export function missingOperator(): IncompatibleError {
  return new IncompatibleError(
    'MERGE_OPERATOR_MISSING',
    'A merge operand was met, but no merge operator is configured: pass the option `mergeOperator`.',
  );
}
