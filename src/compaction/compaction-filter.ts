/**
 * A filter decides about values while they are merged, as an application asks for it: outdated formats, rows of a tenant that is gone.
 *
 * It is asked about the newest value at or below the barrier, once for each compaction that meets it, never about versions above it, which
 * snapshots still distinguish, nor about operands (V11 of `lsm/rows/visibility`). What it drops becomes a deletion, so that no older value of
 * the key appears in its place. Its decision holds for everyone: also a snapshot that is open sees it, as with SlateDB's.
 */
import { describeBytes, isBytes, trueBytes } from '../common/bytes.ts';
import { describeThrown, guarded, isThenable } from '../common/callbacks.ts';
import { InvalidArgumentError } from '../common/errors.ts';
import { MAX_VALUE_BYTES } from '../format/block.ts';

/** A value that a filter is asked about, in memory of its own. */
export interface FilteredRow {
  /** Its key. */
  key: Uint8Array;
  /** What the filter decides about. */
  value: Uint8Array;
  /** Sequence number of the version. */
  seq: bigint;
  /** When it was written, ms since the epoch; undefined if the row does not say. */
  createTs: number | undefined;
  /** When it expires; undefined: never. */
  expireTs: number | undefined;
}

/** `replace`: another value, with the same sequence number and times. */
export type FilterVerdict =
  | 'keep'
  | 'drop'
  | {
      /** The other value. */
      replace: Uint8Array;
    };

/** Decides about values while they are merged (option `compactionFilter`). */
export interface CompactionFilter {
  /** Must answer at once, and alike for the same row: a compaction that fails is done again. What it throws fails the compaction. */
  decide(row: FilteredRow): FilterVerdict;
}

/** The answer of a filter, checked. Throws `BAD_ARGUMENT` if the filter throws or answers something else, `VALUE_TOO_LARGE`. */
export function askFilter(filter: CompactionFilter, row: FilteredRow): FilterVerdict {
  const at = `the key ${describeBytes(row.key)}`;
  let failure: { cause: unknown } | undefined;
  const verdict: unknown = guarded(
    () => filter.decide(row),
    (cause) => {
      failure = { cause };
    },
  );
  if (failure !== undefined) {
    throw new InvalidArgumentError(
      'BAD_ARGUMENT',
      `The compaction filter threw an exception at ${at}; see the cause.`,
      failure as { cause: unknown },
    );
  }
  if (verdict === 'keep' || verdict === 'drop') return verdict;
  const replacement =
    typeof verdict === 'object' && verdict !== null && 'replace' in verdict ? verdict.replace : undefined;
  const own = isBytes(replacement) ? trueBytes(replacement) : undefined;
  if (own === undefined) throw badVerdict(verdict, at);
  if (own.length > MAX_VALUE_BYTES) {
    const message = `The compaction filter returned a value of ${own.length} bytes for ${at}; the limit is ${MAX_VALUE_BYTES}.`;
    throw new InvalidArgumentError('VALUE_TOO_LARGE', message);
  }
  return { replace: own };
}

function badVerdict(verdict: unknown, at: string): InvalidArgumentError {
  const found = isThenable(verdict) ? 'a promise: it must answer at once' : describeThrown(verdict);
  const message = `The compaction filter must return 'keep', 'drop' or { replace: Uint8Array } for ${at}, not ${found}.`;
  return new InvalidArgumentError('BAD_ARGUMENT', message);
}
