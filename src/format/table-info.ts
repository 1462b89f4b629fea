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
  return differingFields(a, b).length === 0;
}

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
