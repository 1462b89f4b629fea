/** Which of the legal forms are written, so that every SlateDB that uses a database can go on using it. */
import type { FilterForm } from '../format/table-info.ts';
import type { Discovery } from './discover.ts';
import type { Compatibility } from './options.ts';

export interface WriteProfile {
  manifestHeader: 1 | 2;
  fence: 'table' | 'zero-bytes';
  filter: FilterForm;
}

/** Compactions header that SlateDB writes since 0.13. */
const NEWER_COMPACTIONS = 2;

/**
 * The profile for a database. Under `auto` a new one gets what every SlateDB from 0.12.1 on opens; an existing one keeps its
 * manifest header, and gets zero-byte fences only where it shows that 0.14 or later uses it: their collectors delete
 * table-form fences, and a stalled writer could then put an object into the free id.
 */
export function chooseProfile(
  compatibility: Compatibility,
  found: Discovery,
  hasZeroByteFence: boolean,
  canSettleEmptyPuts: boolean,
): WriteProfile {
  const newerFence = canSettleEmptyPuts ? 'zero-bytes' : 'table';
  if (compatibility === 'slatedb-0.12') return { manifestHeader: 1, fence: 'table', filter: 'legacy' };
  if (compatibility === 'slatedb-0.17') return { manifestHeader: 2, fence: newerFence, filter: 'composite' };
  const header = found.newest.manifest.headerVersion;
  const showsNewer =
    hasZeroByteFence ||
    found.boundary.exists ||
    (found.compactionsVersion !== undefined && found.compactionsVersion >= NEWER_COMPACTIONS);
  return { manifestHeader: header, fence: showsNewer ? newerFence : 'table', filter: 'legacy' };
}
