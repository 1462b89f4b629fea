/** The payload of an index block from a list of entries, and the entries of a decoded one. */
import { IndexBuilder, type TableIndex } from '../../src/format/index-block.ts';

export interface IndexEntry {
  offset: number;
  firstKey: Uint8Array;
  /** Absent: the block ends where the next one begins. */
  encodedLength?: number;
}

export function encodeIndex(entries: readonly IndexEntry[]): Uint8Array {
  const builder = new IndexBuilder();
  for (const { offset, firstKey, encodedLength } of entries) {
    builder.add(offset, firstKey, 0, firstKey.length, encodedLength);
  }
  return builder.finish();
}

export function entriesOf(index: TableIndex): IndexEntry[] {
  return Array.from({ length: index.blockCount }, (_, i) => {
    const encodedLength = index.encodedLength(i);
    return { offset: index.offset(i), firstKey: index.firstKey(i), ...(encodedLength > 0 && { encodedLength }) };
  });
}
