/**
 * What the info block of a table says (info-block.ts draws its bytes), and what a manifest repeats of it. Offsets and lengths are
 * in bytes of the object; lengths include the 4 bytes of checksum.
 *
 * The values of enums are stored as their position in the lists of this file, so the lists are formats: append only.
 */
import { equalBytes } from '../common/bytes.ts';

/** How tables and objects of the log are compressed. lz4, snappy and zstd come from packages that are loaded on first use. */
export type Codec = 'none' | 'snappy' | 'zlib' | 'lz4' | 'zstd';
export const CODECS: readonly Codec[] = ['none', 'snappy', 'zlib', 'lz4', 'zstd'];

/** `wal`: rows in the order of arrival, neither filter nor stats, sequence numbers as separators. */
export type TableType = 'compacted' | 'wal';
export type FilterForm = 'legacy' | 'composite';
/** Of the blocks; 1 is only read. Other numbers: versions.ts. */
export type FormatVersion = 1 | 2;

/** The info block of a table: where its parts are, in bytes from its beginning, with their checksums. */
export interface TableInfo {
  /** First key; of a WAL object 8 bytes BE of its first sequence number. Absent in an object without rows. */
  firstEntry: Uint8Array | undefined;
  /** Last key. Absent in WAL objects and in tables from before SlateDB 0.11: then the upper end is not known. */
  lastEntry: Uint8Array | undefined;
  /** Where the index begins. */
  indexOffset: number;
  /** Bytes of the index; every table has one. */
  indexLength: number;
  /** Where the data blocks end, also without a filter; 0 in fences of SlateDB 0.12.1. */
  filterOffset: number;
  /** 0: no filter. */
  filterLength: number;
  /** Of all units but the info block. */
  codec: Codec;
  /** Not to be relied on: fences of SlateDB 0.12.1 and WAL objects from before 0.11 say `compacted`. */
  tableType: TableType;
  /** Where the stats begin. */
  statsOffset: number;
  /** 0: no stats. */
  statsLength: number;
  /** The one field in which a manifest can be wrong about a sound table, see filter.ts. */
  filterForm: FilterForm;
}

/** Equal but for the filter form, which a manifest of an older version can have wrong. */
export function isSameTable(a: TableInfo, b: TableInfo): boolean {
  return differingFields(a, b).length === 0;
}

/** Not `tableType`, which says nothing that the place of the object does not say, and not `filterForm`. */
const COMPARED = [
  'indexOffset',
  'indexLength',
  'filterOffset',
  'filterLength',
  'statsOffset',
  'statsLength',
  'codec',
] as const;

/** Names of the fields that differ, the filter form apart. */
export function differingFields(a: TableInfo, b: TableInfo): (keyof TableInfo)[] {
  const found: (keyof TableInfo)[] = COMPARED.filter((field) => a[field] !== b[field]);
  if (!isSameKey(a.firstEntry, b.firstEntry)) found.push('firstEntry');
  if (!isSameKey(a.lastEntry, b.lastEntry)) found.push('lastEntry');
  return found;
}

function isSameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b);
}
