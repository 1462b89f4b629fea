/** A table as one tree sees it: its reader and the range of keys that this view shows. */
import { compareBytes } from '../../common/bytes.ts';
import type { Bound, TableView } from '../../format/manifest-types.ts';
import { showsKey } from '../rows/shown-range.ts';
import type { TableReader } from './table-reader.ts';

export interface TableHandle {
  readonly view: TableView;
  readonly reader: TableReader;
}

const UNBOUNDED: Bound = { kind: 'unbounded' };

export function startBound(handle: TableHandle): Bound {
  return handle.view.visibleRange?.start ?? UNBOUNDED;
}

export function endBound(handle: TableHandle): Bound {
  return handle.view.visibleRange?.end ?? UNBOUNDED;
}

/** Whether the table can hold rows of `key` that this view shows. */
export function mayHold(handle: TableHandle, key: Uint8Array): boolean {
  const { firstEntry, lastEntry } = handle.view.table.info;
  if (firstEntry !== undefined && compareBytes(key, firstEntry) < 0) return false;
  if (lastEntry !== undefined && compareBytes(key, lastEntry) > 0) return false;
  return showsKey(handle.view, key);
}

/** -1: every key of the view is less than `key`; otherwise 0 or greater. */
export function compareToLast(handle: TableHandle, key: Uint8Array): number {
  const end = endBound(handle);
  if (end.kind !== 'unbounded') {
    const c = compareBytes(end.key, key);
    if (c < 0 || (c === 0 && end.kind === 'excluded')) return -1;
  }
  const last = handle.view.table.info.lastEntry;
  return last !== undefined && compareBytes(last, key) < 0 ? -1 : 0;
}

/** Whether some key of the view can be less than `key`. */
export function startsBefore(handle: TableHandle, key: Uint8Array): boolean {
  const start = startBound(handle);
  if (start.kind !== 'unbounded' && compareBytes(start.key, key) >= 0) return false;
  const first = handle.view.table.info.firstEntry;
  return first === undefined || compareBytes(first, key) < 0;
}
