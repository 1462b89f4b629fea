/** Rows that a scan gave, against those of the model. */
import type { ScanRow } from '../../src/lsm/read/scan-row.ts';
import { text } from './calls.ts';
import type { Model, SeenRow } from './model.ts';

export interface Range {
  from?: string;
  to?: string;
  reverse?: boolean;
  limit?: number;
}

/** What is wrong with the rows at a sequence number and a time; undefined: nothing. */
export function difference(
  model: Model,
  rows: readonly ScanRow[],
  { seq, nowMs, from = '', to = '\u{ff}', reverse = false, limit = 1000 }: Range & { seq: number; nowMs: number },
): string | undefined {
  const found = new Map<string, SeenRow>();
  let previous: string | undefined;
  for (const row of rows) {
    const key = text(row.key);
    if (previous !== undefined && previous < key === reverse) return `${key} stands after ${previous}`;
    previous = key;
    found.set(key, { value: text(row.value), seq: Number(row.seq) });
  }
  if (found.size !== rows.length) return 'a key stands there twice';
  const keys = model.keys().filter((k) => k >= from && k < to);
  if (reverse) keys.reverse();
  let count = 0;
  for (const key of keys) {
    if (count === limit) break;
    const expected = model.readRows(key, seq, nowMs).map(rowText);
    const row = found.get(key);
    if (!expected.includes(rowText(row)))
      return `${key} is ${short(rowText(row))}, not ${expected.map(short).join(' or ')}`;
    if (row !== undefined) count++;
  }
  return count === rows.length ? undefined : `${rows.length} rows, not ${count}`;
}

function rowText(row: SeenRow | undefined): string | undefined {
  return row && `seq ${row.seq}: ${row.value}`;
}

export function short(value: string | undefined): string {
  return value === undefined ? 'nothing' : value.length > 40 ? `${value.slice(0, 40)}... (${value.length})` : value;
}
