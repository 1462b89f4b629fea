/**
 * Numbers as rows and blocks store them, written into a buffer that is known to be large enough.
 *
 * ```
 * varint   unsigned LEB128 below 2^32: 7 bits per byte, the lowest first, high bit set where more follow; 1 to 5 bytes
 * u16      big-endian                  lengths of version 1 rows, offsets in blocks
 * i64      big-endian                  times in milliseconds; sequence numbers, which are u64 below 2^53 and so the same bits
 * ```
 *
 * ```example
 * 00                          varint=0
 * 7f                          varint=127
 * ac 02                       varint=300
 * 80 80 01                    varint=16384
 * ff ff ff ff 0f              varint=4294967295
 * ff fe                       u16=65534
 * 00 00 01 a1 f8 60 3b 50     i64=1795168418640
 * ff ff ff ff ff ff ff ff     i64=-1
 * 80 00 00 00 00 00 00 00     i64=-9223372036854775808
 * ```
 *
 * Numbers are doubles: an i64 beyond 2^53 was rounded when it was read, and what is outside of i64 is clipped to its ends when it
 * is written (RFC 0001, Numbers).
 */

/** The high half of 2^53 - 1: the greatest of a sequence number that is stored. */
export const MAX_SEQ_HIGH = 0x1fffff;
/** Bytes of a version 2 row besides key and value, at most: three varints, seq, flags, two times. */
export const MAX_ROW_OVERHEAD = 15 + 9 + 16;
/** Every so many rows of a block, as SlateDB and this program write it, one is stored with its whole key and listed. */
export const RESTART_INTERVAL = 16;

/** Bytes of a value below 2^32 as unsigned LEB128. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

/** Unsigned LEB128 of a value below 2^32; returns the position after it. */
export function putVarint(out: Uint8Array, p: number, value: number): number {
  while (value >= 0x80) {
    out[p++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  out[p++] = value;
  return p;
}

export function putUint16(out: Uint8Array, p: number, value: number): number {
  out[p] = value >>> 8;
  out[p + 1] = value;
  return p + 2;
}

const INT64_LIMIT = 2 ** 63;

/** i64 BE of a whole number; clipped to the range of i64. */
export function putInt64(out: Uint8Array, p: number, value: number): void {
  let high = -1;
  let low = -1;
  if (value >= INT64_LIMIT) high = 0x7fff_ffff;
  else {
    const clipped = Math.max(value, -INT64_LIMIT);
    high = Math.floor(clipped / 4294967296) | 0;
    low = clipped | 0;
  }
  out[p] = high >>> 24;
  out[p + 1] = high >>> 16;
  out[p + 2] = high >>> 8;
  out[p + 3] = high;
  out[p + 4] = low >>> 24;
  out[p + 5] = low >>> 16;
  out[p + 6] = low >>> 8;
  out[p + 7] = low;
}

/** The same into a view, for the hot path; clips alike. */
export function writeInt64(out: DataView, p: number, value: number): void {
  if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
    out.setInt32(p, value / 4294967296);
    out.setInt32(p + 4, value);
    return;
  }
  if (value >= INT64_LIMIT) {
    out.setInt32(p, 0x7fff_ffff);
    out.setInt32(p + 4, -1);
    return;
  }
  const clipped = Math.max(value, -INT64_LIMIT);
  out.setInt32(p, Math.floor(clipped / 4294967296));
  out.setInt32(p + 4, clipped);
}
