/**
 * A block made from single rows, so that rows saved from a damaged block are read like all others.
 *
 * It exists in memory only and is never stored. The form is that of a version 2 block (block.ts) with two differences that a reader
 * does not notice: rows share no prefixes, because the row before may be one that was lost, and rows beyond the reach of a
 * 16-bit offset are not listed, because a salvaged block may be larger than a stored one.
 *
 * ```
 * row       varint 0 | varint key length | varint value_len | key | value | u64 BE seq | u8 flags | i64 BE times as flags say
 * listed    every 16th row that begins at or before 65,535
 * ```
 *
 * ```example
 * 00 05 03                    shared=0 unshared=5 value_len=3
 * 61 70 70 6c 65              key="apple"
 * 72 65 64                    value="red"
 * 00 00 00 00 00 00 00 02     seq=2
 * 04                          flags=0x04
 * 00 00 01 a1 f8 60 3b 50     create_ts=1795168418640
 * 00 05 00                    shared=0 unshared=5 value_len=0; a stored block would share 4 bytes here
 * 61 70 70 6c 79              key="apply"
 * 00 00 00 00 00 00 00 03     seq=3
 * 01                          flags=0x01: a tombstone without times
 * 00 00                       offset=0
 * 00 01                       offsets=1
 * ```
 */
import { type Block, decodeBlock } from './block.ts';
import { MAX_ROW_OVERHEAD, putInt64, putUint16, putVarint, RESTART_INTERVAL } from './row-encoding.ts';
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

/** The list of restart rows has u16 offsets. */
const MAX_OFFSET = 65_535;

/** A validated block of at least one row, in the order given. */
export function blockOfRows(rows: readonly BlockRow[]): Block {
  let room = 2;
  for (const row of rows) room += MAX_ROW_OVERHEAD + row.key.length + row.value.length + 2;
  const out = new Uint8Array(room);
  const listed: number[] = [];
  let p = 0;
  for (const [i, row] of rows.entries()) {
    if (i % RESTART_INTERVAL === 0 && p <= MAX_OFFSET) listed.push(p);
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
