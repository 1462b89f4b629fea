/**
 * Numbers as rows and blocks store them: LEB128 and big-endian, written into a buffer that is known to be large enough.
 */

/** Bytes of a value below 2^32 as unsigned LEB128. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

/** Unsigned LEB128 of a value below 2^32; returns the position behind it. */
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
