/**
 * The two checksums of stored data: CRC-32/IEEE, which frames every unit, and xxHash32, which proves groups of rows.
 *
 * Two algorithms of different families on purpose: an error that CRC-32 misses in a block would also be missed by CRC-32
 * of the part that it is in, so a second CRC would prove nothing. The built-in CRC (4-7 GB/s) is used where the runtime has
 * it, else the `crc-32` package (2.3 GB/s); both give the same numbers.
 *
 * ```
 * CRC-32     reflected polynomial 0xedb88320, initial value and final xor 0xffffffff      stored u32 BE
 * xxHash32   lanes of 16 bytes read little-endian, 32-bit arithmetic                      stored u32 BE; seeded, see row-checks.ts
 * ```
 *
 * ```example
 * "123456789"                 crc=0xcbf43926 xx=0x937bad67
 * ```
 *
 * ```example
 * "0123456789abcdef0123"      crc=0x1dc342c2 xx=0x6350964e: one lane of 16 bytes, and 4 bytes after it
 * ```
 */
import * as zlib from 'node:zlib';
import CRC32 from 'crc-32';

type CrcFunction = (bytes: Uint8Array) => number;

const builtInCrc32 = (zlib as { crc32?: CrcFunction }).crc32;

const POLYNOMIAL = 0xedb88320;

/** What a step of the CRC's register makes of each low byte, for those that step it themselves, forward or back. */
export const CRC_TABLE: Int32Array = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? POLYNOMIAL ^ (c >>> 1) : c >>> 1;
  CRC_TABLE[i] = c;
}

/** CRC-32 by the package; exported so that both ways can be compared. */
export function crc32Portable(bytes: Uint8Array): number {
  return CRC32.buf(bytes) >>> 0;
}

const crc32Whole: CrcFunction = builtInCrc32 ?? crc32Portable;

/** CRC-32/IEEE (that of zlib and PNG) of `bytes[start, end)`, unsigned. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length): number {
  if (start === 0 && end === bytes.length) return crc32Whole(bytes);
  return crc32Whole(new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start));
}

const PRIME_1 = 0x9e3779b1 | 0;
const PRIME_2 = 0x85ebca77 | 0;
const PRIME_3 = 0xc2b2ae3d | 0;
const PRIME_4 = 0x27d4eb2f | 0;
const PRIME_5 = 0x165667b1 | 0;

/** xxHash32 of `bytes[start, end)`, unsigned. The caller guarantees `0 <= start <= end <= bytes.length`. */
export function xxHash32(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  return xxHash32View(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start, end, seed);
}

/** The same over a view that the caller keeps: making one costs as much as hashing 100 bytes. */
export function xxHash32View(view: DataView, start: number, end: number, seed: number): number {
  const length = end - start;
  let p = start;
  let h = 0;
  if (length >= 16) {
    let a = (seed + PRIME_1 + PRIME_2) | 0;
    let b = (seed + PRIME_2) | 0;
    let c = seed | 0;
    let d = (seed - PRIME_1) | 0;
    for (const last = end - 16; p <= last; p += 16) {
      a = (a + Math.imul(view.getInt32(p, true), PRIME_2)) | 0;
      a = Math.imul((a << 13) | (a >>> 19), PRIME_1);
      b = (b + Math.imul(view.getInt32(p + 4, true), PRIME_2)) | 0;
      b = Math.imul((b << 13) | (b >>> 19), PRIME_1);
      c = (c + Math.imul(view.getInt32(p + 8, true), PRIME_2)) | 0;
      c = Math.imul((c << 13) | (c >>> 19), PRIME_1);
      d = (d + Math.imul(view.getInt32(p + 12, true), PRIME_2)) | 0;
      d = Math.imul((d << 13) | (d >>> 19), PRIME_1);
    }
    h = (((a << 1) | (a >>> 31)) + ((b << 7) | (b >>> 25)) + ((c << 12) | (c >>> 20)) + ((d << 18) | (d >>> 14))) | 0;
  } else {
    h = (seed + PRIME_5) | 0;
  }
  h = (h + length) | 0;
  for (; p + 4 <= end; p += 4) {
    h = (h + Math.imul(view.getInt32(p, true), PRIME_3)) | 0;
    h = Math.imul((h << 17) | (h >>> 15), PRIME_4);
  }
  for (; p < end; p++) {
    h = (h + Math.imul(view.getUint8(p), PRIME_5)) | 0;
    h = Math.imul((h << 11) | (h >>> 21), PRIME_1);
  }
  h = Math.imul(h ^ (h >>> 15), PRIME_2);
  h = Math.imul(h ^ (h >>> 13), PRIME_3);
  return (h ^ (h >>> 16)) >>> 0;
}
