/**
 * Sizes and counts from what manifest and table metadata say.
 *
 * 1. Rows of tables are never counted one by one; those of memtables only where the range is a part.
 * 2. Every table and memtable of the view adds to it, and none takes away.
 */
import { assertThat } from '../common/assert.ts';
import { compareBytes } from '../common/bytes.ts';
import { roomEnd } from '../format/table-layout.ts';
import type { ReadView } from '../lsm/read/point-lookup.ts';
import type { ScanRange } from '../lsm/read/visible-rows.ts';
import type { TableHandle } from '../lsm/table/table-handle.ts';
import { sourcesInRange } from '../lsm/tree/table-store.ts';

/** About how much is stored in a range of keys. */
export interface SizeEstimate {
  /** Rows, every version and tombstone counted; of tables without stats none. */
  rows: number;
  /** Bytes of data blocks as stored, padding included, and of rows in memory. */
  bytes: number;
  /** Tables of which a part is in the range. */
  tables: number;
}

/** Adds up the blocks that can hold keys of the range. One GET for each table whose metadata is not in memory. */
export async function estimateSize(view: ReadView, range: ScanRange): Promise<SizeEstimate> {
  const estimate: SizeEstimate = { rows: 0, bytes: 0, tables: 0 };
  for (const handles of sourcesInRange(view.tree, range.gte, range.lt)) {
    for (const handle of handles) await addTable(estimate, handle, range);
  }
  const whole = range.gte === undefined && range.lt === undefined;
  for (const m of view.memtables) {
    if (whole) {
      estimate.rows += m.rowCount;
      estimate.bytes += m.dataBytes;
      continue;
    }
    const cursor = m.cursor({ reverse: false, maxSeq: Number.MAX_SAFE_INTEGER });
    for (let status = cursor.seek(range.gte); status > 0; status = cursor.next()) {
      const key = cursor.keyBuf.subarray(cursor.keyStart, cursor.keyStart + cursor.keyLength);
      if (range.lt !== undefined && compareBytes(key, range.lt) >= 0) break;
      estimate.rows++;
      estimate.bytes += cursor.keyLength + cursor.valueLength;
    }
  }
  return estimate;
}

async function addTable(estimate: SizeEstimate, handle: TableHandle, range: ScanRange): Promise<void> {
  const meta = await handle.reader.loadMeta();
  const { index, stats } = meta;
  estimate.tables++;
  if (index.blockCount === 0) return;
  const first = range.gte === undefined ? 0 : index.findStart(range.gte);
  const last = range.lt === undefined ? index.blockCount - 1 : Math.max(first, index.findStart(range.lt));
  const bytes = roomEnd(meta.info, index, last) - index.offset(first);
  assertThat(first <= last && bytes >= 0, 'no table takes from an estimate (estimates 2)');
  estimate.bytes += bytes;
  for (let i = first; i <= last; i++) {
    const counts = stats?.blocks?.[i];
    if (counts !== undefined) estimate.rows += counts[0] + counts[1] + counts[2];
  }
}
