/** The payload of an index block from a list of entries, and the entries of a decoded one. */
import { IndexBuilder, type TableIndex } from '../../src/format/index-block.ts';

export interface IndexEntry {
  offset: number;
  firstKey: Uint8Array;
}

export function encodeIndex(entries: readonly IndexEntry[]): Uint8Array {
  const builder = new IndexBuilder();
  for (const { offset, firstKey } of entries) builder.add(offset, firstKey, 0, firstKey.length);
  return builder.finish();
}

export function entriesOf(index: TableIndex): IndexEntry[] {
  return Array.from({ length: index.blockCount }, (_, i) => ({ offset: index.offset(i), firstKey: index.firstKey(i) }));
}
