/** Merge operands and how they become a value. */
import { assertThat, present } from '../../common/assert.ts';
import { copyBytes, describeBytes, isBytes, type OwnBytes, trueBytes, unsharedBytes } from '../../common/bytes.ts';
import { guarded, isThenable } from '../../common/callbacks.ts';
import { IncompatibleError, InvalidArgumentError } from '../../common/errors.ts';
import { methods } from '../../common/option-checks.ts';

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

export const OPERATOR_CHECK = methods('merge');

/** For those who ask which rows there are, not what they hold: whatever is merged has some value. */
export const ANY_VALUE: MergeOperator = {
  merge: (_key, _existing, operand) => operand,
  mergeBatch: (_key, _existing, operands) => operands[operands.length - 1],
};

/** Folds `operands` (oldest first) into `existing`. An exception of the operator fails this call alone. */
export function foldOperands(
  operator: MergeOperator | undefined,
  key: Uint8Array,
  existing: Uint8Array | undefined,
  operands: Uint8Array[],
): OwnBytes {
  assertThat(operands.length > 0, 'a fold has operands');
  if (operator === undefined) throw missingOperator();
  // The key belongs to a row as well: an operator that changes it all the same harms nothing.
  const own = copyBytes(key);
  if (operator.mergeBatch !== undefined) {
    return checkedResult(
      key,
      called(key, () => operator.mergeBatch?.(own, existing, operands)),
    );
  }
  let value: OwnBytes | undefined;
  for (const operand of operands) {
    const before = value ?? existing;
    value = checkedResult(
      key,
      called(key, () => operator.merge(own, before, operand)),
    );
  }
  return present(value, 'a fold of operands has a value');
}

/** Whatever an operator throws is a failure of its own, also if it looks like one of ours: it says nothing about the database. */
function called(key: Uint8Array, call: () => unknown): unknown {
  let failure: { cause: unknown } | undefined;
  const result = guarded(call, (cause) => {
    failure = { cause };
  });
  if (failure !== undefined) {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `The merge operator threw an exception at the key ${describeBytes(key)}; see the cause.`,
      failure as { cause: unknown },
    );
  }
  return result;
}

function checkedResult(key: Uint8Array, result: unknown): OwnBytes {
  const own = isBytes(result) ? trueBytes(result) : undefined;
  if (own !== undefined) return unsharedBytes(own);
  const what = isThenable(result) ? ', not a promise: it must answer at once' : '';
  const message = `The merge operator must return a Uint8Array${what}. It was called with the key ${describeBytes(key)}.`;
  throw new InvalidArgumentError('BAD_ARGUMENT', message);
}

export function missingOperator(): IncompatibleError {
  return new IncompatibleError(
    'MERGE_OPERATOR_MISSING',
    'A merge operand was met, but no merge operator is configured: pass the option `mergeOperator`.',
  );
}
