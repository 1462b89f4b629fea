/** What the info block of a table says, and what a manifest repeats of it. Offsets and lengths in bytes of the object. */

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
