/**
 * Finding the units of a table or WAL object without its index: each ends with a checksum of itself, so the end of one is the
 * first place at which the four bytes behind are the CRC-32 of everything since its start.
 *
 * By chance that happens once in 2^32 places; what is found is a unit only if it also decodes.
 */
import { readCrc } from './framing.ts';

const TABLE = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let c = i;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  TABLE[i] = c;
}

/**
 * End, checksum included, of the unit that begins at `start` and ends at or before `limit`; undefined if there is none, as for
 * a unit that is damaged. One pass over at most `limit - start` bytes.
 */
export function findUnitEnd(bytes: Uint8Array, start: number, limit: number): number | undefined {
  const last = Math.min(limit, bytes.length) - 4;
  let crc = -1;
  for (let i = start; i < last; i++) {
    crc = TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
    if (~crc >>> 0 === readCrc(bytes, i + 1)) return i + 5;
  }
  return undefined;
}
