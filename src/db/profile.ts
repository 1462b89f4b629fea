/**
 * Which of the legal forms are written, so that every SlateDB that uses a database can go on using it.
 *
 * 1. Under `auto` no form is newer than what the database shows that its programs know.
 * 2. Composite filters are only written beside manifests of version 2: programs that write version 1 call every filter legacy.
 * 3. An empty object, which nothing distinguishes from another's, is only put where the store shows whose it is.
 *
 * Not asserted: the choice is a table of constants, which its test states again.
 */
import { IncompatibleError } from '../common/errors.ts';
import type { Manifest, TableRef } from '../format/manifest-types.ts';
import type { FilterForm } from '../format/table-info.ts';
import { tablesWithSeveralViews } from '../lsm/manifest/view-ids.ts';
import type { Discovery } from '../recovery/discovery.ts';
import { NEWER_COMPACTIONS } from '../recovery/discovery.ts';
import type { Compatibility } from './open-options.ts';

export interface WriteProfile {
  manifestHeader: 1 | 2;
  fence: 'table' | 'zero-bytes';
  filter: FilterForm;
  /** Whether a sequence tracker of version 2, which SlateDB before 0.18 does not open, is kept where it is found; never begun. */
  keepsWideTracker: boolean;
}

/** The header version of the manifests to write; `found`: the newest of an existing database. */
export function manifestHeader(compatibility: Compatibility, found: Manifest | undefined): 1 | 2 {
  if (compatibility === 'slatedb-0.12') return 1;
  if (compatibility === 'slatedb-0.17') return 2;
  return found?.headerVersion ?? 1;
}

/**
 * Rejects with `PROFILE_UNSUITABLE` where the manifests to write cannot hold what the newest one says. What version 1 does not
 * hold, segments apart: ids of views, by which compactions distinguish several views of one table.
 */
export function assertProfileHolds(compatibility: Compatibility, newest: Manifest, where: string): void {
  if (manifestHeader(compatibility, newest) !== 1) return;
  const tables = tablesWithSeveralViews(newest);
  if (tables.length === 0) return;
  const cause =
    compatibility === 'auto'
      ? "its manifests have version 1, which compatibility 'auto' keeps"
      : `compatibility '${compatibility}' writes manifests of version 1`;
  const remedy =
    compatibility === 'auto' || newest.headerVersion === 1
      ? "Open it with compatibility 'slatedb-0.17', which writes version 2."
      : "Leave the option out, or open it with 'slatedb-0.17'.";
  throw new IncompatibleError(
    'PROFILE_UNSUITABLE',
    `${where}: ${cause}. That version stores no view ids, but one table has several views here (${tables.slice(0, 3).join(', ')}${tables.length > 3 ? ', …' : ''}): SlateDB's next compaction would take them for one and lose the rows of the others. ${remedy} Nothing was written.`,
    { details: { tables, compatibility, headerVersion: newest.headerVersion } },
  );
}

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
  const header = manifestHeader(compatibility, found.newest.manifest);
  if (compatibility === 'slatedb-0.12') {
    return { manifestHeader: header, fence: 'table', filter: 'legacy', keepsWideTracker: false };
  }
  if (compatibility === 'slatedb-0.17') {
    return { manifestHeader: header, fence: newerFence, filter: 'composite', keepsWideTracker: true };
  }
  const showsNewer =
    hasZeroByteFence ||
    found.boundary.exists ||
    (found.compactionsVersion !== undefined && found.compactionsVersion >= NEWER_COMPACTIONS);
  const fence = showsNewer ? newerFence : 'table';
  return { manifestHeader: header, fence, filter: 'legacy', keepsWideTracker: true };
}

/** How filters are written where no writer's option decides: as in the newest table, beside manifests that can say so. */
export function filterFormFound({ headerVersion }: Pick<Manifest, 'headerVersion'>, newest: TableRef): FilterForm {
  return headerVersion === 2 ? newest.info.filterForm : 'legacy';
}
