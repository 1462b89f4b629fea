/** A memtable as a plain sorted list: what the real one must answer. */
import { compareBytes } from '../../../../src/common/bytes.ts';
import type { Memtable } from '../../../../src/lsm/memtable/memtable.ts';
import type { RowCursor } from '../../../../src/lsm/rows/row-cursor.ts';

export interface ModelRow {
  id: number;
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

export function inRowOrder(rows: readonly ModelRow[]): ModelRow[] {
  return [...rows].sort((a, b) => compareBytes(a.key, b.key) || b.seq - a.seq);
}

export function rowAt(table: Memtable, id: number): ModelRow {
  const key = table.keyBufOf(id).slice(table.keyStartOf(id), table.keyStartOf(id) + table.keyLengthOf(id));
  const value = table.valueBufOf(id).slice(table.valueStartOf(id), table.valueStartOf(id) + table.valueLengthOf(id));
  return {
    id,
    key,
    value,
    seq: table.seqOf(id),
    flags: table.flagsOf(id),
    createTs: table.createTsOf(id),
    expireTs: table.expireTsOf(id),
  };
}

/** The cursor's row without its id, which cursors do not know. */
export function rowUnder(cursor: RowCursor): Omit<ModelRow, 'id'> {
  return {
    key: cursor.keyBuf.slice(cursor.keyStart, cursor.keyStart + cursor.keyLength),
    value: cursor.valueBuf.slice(cursor.valueStart, cursor.valueStart + cursor.valueLength),
    seq: cursor.seq,
    flags: cursor.flags,
    createTs: cursor.createTs,
    expireTs: cursor.expireTs,
  };
}

export function withoutId(row: ModelRow): Omit<ModelRow, 'id'> {
  const { id: _id, ...rest } = row;
  return rest;
}

/** The rows a cursor may show, in its order. */
export function visibleRows(rows: readonly ModelRow[], reverse: boolean, maxSeq: number): ModelRow[] {
  const visible = inRowOrder(rows.filter((r) => r.seq <= maxSeq));
  return reverse ? visible.reverse() : visible;
}

/** Where `seek(key)` leads in `visible`: the index of the row, or its length. */
export function seekIndex(visible: readonly ModelRow[], key: Uint8Array | undefined, reverse: boolean): number {
  if (key === undefined) return 0;
  const index = visible.findIndex((r) => (reverse ? compareBytes(r.key, key) < 0 : compareBytes(r.key, key) >= 0));
  return index < 0 ? visible.length : index;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Whether the cursor stands on this row; quicker than comparing by `toEqual`. */
export function standsOn(cursor: RowCursor, row: ModelRow): boolean {
  return (
    same(cursor.keyBuf.subarray(cursor.keyStart, cursor.keyStart + cursor.keyLength), row.key) &&
    same(cursor.valueBuf.subarray(cursor.valueStart, cursor.valueStart + cursor.valueLength), row.value) &&
    cursor.seq === row.seq &&
    cursor.flags === row.flags &&
    cursor.createTs === row.createTs &&
    cursor.expireTs === row.expireTs
  );
}
