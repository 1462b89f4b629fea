/**
 * A block made from single rows, so that rows saved from a damaged block are read like all others.
 *
 * It exists in memory only and is never stored: rows share no prefixes, and those beyond the reach of a 16-bit offset are
 * not listed.
 */
import { type Block, decodeBlock } from './block.ts';
import { putInt64, putUint16, putVarint } from './row-encoding.ts';
import { FLAG_CREATE, FLAG_EXPIRE } from './row-flags.ts';

/** The content of one row; `value` is empty for a tombstone, times are NO_TS where the flags announce none. */
export interface BlockRow {
  key: Uint8Array;
  value: Uint8Array;
  seq: number;
  flags: number;
  createTs: number;
  expireTs: number;
}

const LISTED_EVERY = 16;
const MAX_OFFSET = 65_535;
/** Three varints, seq, flags, two times. */
const MAX_ROW_OVERHEAD = 15 + 9 + 16;

/** A validated block of at least one row, in the order given. */
export function blockOfRows(rows: readonly BlockRow[]): Block {
  let room = 2;
  for (const row of rows) room += MAX_ROW_OVERHEAD + row.key.length + row.value.length + 2;
  const out = new Uint8Array(room);
  const listed: number[] = [];
  let p = 0;
  for (const [i, row] of rows.entries()) {
    if (i % LISTED_EVERY === 0 && p <= MAX_OFFSET) listed.push(p);
    p = putVarint(out, p, 0);
    p = putVarint(out, p, row.key.length);
    p = putVarint(out, p, row.value.length);
    out.set(row.key, p);
    out.set(row.value, p + row.key.length);
    p += row.key.length + row.value.length;
    putInt64(out, p, row.seq);
    out[p + 8] = row.flags;
    p += 9;
    for (const [flag, time] of [[FLAG_EXPIRE, row.expireTs] as const, [FLAG_CREATE, row.createTs] as const]) {
      if ((row.flags & flag) === 0) continue;
      putInt64(out, p, time);
      p += 8;
    }
  }
  for (const offset of listed) p = putUint16(out, p, offset);
  p = putUint16(out, p, listed.length);
  return decodeBlock(out.subarray(0, p), 2);
}
