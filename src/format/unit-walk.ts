/**
 * Finding the units of a table or WAL object without its index: each ends with a checksum of itself, so the end of one is the
 * first place at which the four bytes after it are the CRC-32 of everything since its start.
 *
 * The filter and then the beginning of the index of a table of SlateDB 0.12.1; a search from the start finds the end of the filter:
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 94
 * 00 06 95 7d 30 18           payload
 * 24 1f 10 33                 its CRC-32: end=10
 * 0c 00 00 00 00 00           of the next unit
 * ```
 *
 * By chance that happens once in 2^32 places; what is found is a unit only if it also decodes.
 */
import { CRC_TABLE } from './checksum.ts';
import { readCrc } from './framing.ts';

/**
 * End, checksum included, of the unit that begins at `start` and ends at or before `limit`; undefined if there is none, as for
 * a unit that is damaged. One pass over at most `limit - start` bytes.
 */
export function findUnitEnd(bytes: Uint8Array, start: number, limit: number): number | undefined {
  const last = Math.min(limit, bytes.length) - 4;
  let crc = -1;
  for (let i = start; i < last; i++) {
    crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
    if (~crc >>> 0 === readCrc(bytes, i + 1)) return i + 5;
  }
  return undefined;
}
