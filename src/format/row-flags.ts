/** The flag byte of a stored row. Neither TOMBSTONE nor MERGE: a plain value; both at once, or a higher bit: refused. */

export const FLAG_TOMBSTONE = 1;
/** An expiry time is stored. */
export const FLAG_EXPIRE = 2;
/** A creation time is stored. */
export const FLAG_CREATE = 4;
/** The value is a merge operand. */
export const FLAG_MERGE = 8;

/** All bits that are defined. */
export const FLAGS_KNOWN = 0x0f;

/**
 * An absent timestamp. Less than every real one, so that comparisons need no special case, and a double, so that
 * timestamp fields never change their machine representation.
 */
export const NO_TS = Number.NEGATIVE_INFINITY;
