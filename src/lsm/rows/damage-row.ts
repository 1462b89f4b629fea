/**
 * How a cursor shows a stretch it cannot read: as one row that stands before (reverse: after) everything inside the
 * stretch, so that a merge reaches it exactly where the damage begins in key order.
 */
import type { Gap } from './damaged-block.ts';

/** Flag bit no stored row has: this row stands for a damaged stretch; the cursor's `damage` describes it. */
export const FLAG_DAMAGED = 0x100;

/** Sorts a damage row before every version of its key. */
export const DAMAGE_SEQ = Number.POSITIVE_INFINITY;

export interface MayBeDamaged {
  damage: Gap | undefined;
}
