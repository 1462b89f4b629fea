/**
 * What reads use of tables: the cache, found or not, and the filters. One for all tables of a handle; plain numbers, counted where the
 * use is.
 *
 * A hit is something that was in memory. A miss is something that was not, whether a request was sent for it or one that is under way
 * was waited for.
 */
export class TableReadCounts {
  metaHits = 0;
  metaMisses = 0;
  blockHits = 0;
  blockMisses = 0;
  /** The filter said that the key may be there. */
  filterPositives = 0;
  /** The filter said that it is not. */
  filterNegatives = 0;
  /** Of the positives: it was not. */
  filterFalsePositives = 0;
}
