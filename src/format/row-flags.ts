/**
 * The flag byte of a stored row.
 *
 * ```
 * bit   7 6 5 4   3      2            1            0
 *       0 0 0 0   merge  create_ts    expire_ts    tombstone
 * ```
 *
 * 1. Neither tombstone nor merge: a plain value. Both at once are damage.
 * 2. A bit of 0xf0 is a newer program's: refused as too new, because it may change what the bytes of the row mean.
 * 3. SlateDB sets 0x04 on every row, and 0x02 only on values and operands with a TTL, never on tombstones. Both are read as they
 *    are, on any row.
 */

export const FLAG_TOMBSTONE = 1;
/** An expiry time is stored. */
export const FLAG_EXPIRE = 2;
/** A creation time is stored. */
export const FLAG_CREATE = 4;
/** The value is a merge operand. */
export const FLAG_MERGE = 8;

/** What was written, in the word of the call that writes it. */
export function operationOf(flags: number): 'put' | 'delete' | 'merge' {
  if ((flags & FLAG_TOMBSTONE) !== 0) return 'delete';
  return (flags & FLAG_MERGE) !== 0 ? 'merge' : 'put';
}

/** All bits that are defined. */
export const FLAGS_KNOWN = 0x0f;

/**
 * An absent timestamp. Less than every real one, so that comparisons need no special case, and a double, so that
 * timestamp fields never change their machine representation.
 */
export const NO_TS = Number.NEGATIVE_INFINITY;
