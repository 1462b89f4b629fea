/** What the info block of a table says, and what a manifest repeats of it. Offsets and lengths in bytes of the object. */
import { equalBytes } from '../common/bytes.ts';

export type Codec = 'none' | 'snappy' | 'zlib' | 'lz4' | 'zstd';
export const CODECS: readonly Codec[] = ['none', 'snappy', 'zlib', 'lz4', 'zstd'];

export type TableType = 'compacted' | 'wal';
export type FilterForm = 'legacy' | 'composite';
export type FormatVersion = 1 | 2;

export interface TableInfo {
  firstEntry: Uint8Array | undefined;
  lastEntry: Uint8Array | undefined;
  indexOffset: number;
  indexLength: number;
  filterOffset: number;
  filterLength: number;
  codec: Codec;
  tableType: TableType;
  statsOffset: number;
  statsLength: number;
  filterForm: FilterForm;
}

/** Equal but for the filter form, which a manifest of an older version can have wrong. */
export function isSameTable(a: TableInfo, b: TableInfo): boolean {
  return (
    a.indexOffset === b.indexOffset &&
    a.indexLength === b.indexLength &&
    a.filterOffset === b.filterOffset &&
    a.filterLength === b.filterLength &&
    a.statsOffset === b.statsOffset &&
    a.statsLength === b.statsLength &&
    a.codec === b.codec &&
    isSameKey(a.firstEntry, b.firstEntry) &&
    isSameKey(a.lastEntry, b.lastEntry)
  );
}

function isSameKey(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b);
}
