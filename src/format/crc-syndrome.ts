/**
 * What a CRC-32 that does not hold says about the error: CRCs are linear, so stored checksum xor that of the stored bytes is
 * the CRC of the error alone (the syndrome). Taken back through the bytes behind a place it becomes the only error that can
 * have begun there and is not longer than four bytes.
 */
import { crc32 } from './checksum.ts';

const POLYNOMIAL = 0xedb88320;

/** One step back through a zero byte is `(s << 8) ^ BACK[s >>> 24]`: the register's top byte names the table entry used. */
const BACK = new Int32Array(256);
const FORWARD = new Int32Array(256);
for (let i = 0; i < 256; i++) {
  let s = i;
  for (let bit = 0; bit < 8; bit++) s = s & 1 ? (s >>> 1) ^ POLYNOMIAL : s >>> 1;
  FORWARD[i] = s;
  BACK[s >>> 24] = (s << 8) | i;
}

/** CRC of the error in `bytes[0, end)` or in its checksum, unsigned; 0 if the checksum holds. */
export function syndromeOf(bytes: Uint8Array, end: number, storedCrc: number): number {
  return (crc32(bytes, 0, end) ^ storedCrc) >>> 0;
}

/**
 * For each place in `[from, to)` the only error of up to four bytes from there on that has this syndrome: a u32, first byte
 * lowest, to be xored to the bytes. `end`: number of bytes under the checksum. Errors of the last three places may reach
 * past the end; those are none. Costs about 3 ns per byte from `from` to `end`.
 */
export function errorsAt(syndrome: number, from: number, to: number, end: number): Uint32Array {
  const errors = new Uint32Array(to - from);
  let s = syndrome | 0;
  let p = end;
  while (p > to) {
    s = (s << 8) ^ BACK[s >>> 24];
    p--;
  }
  while (p > from) {
    s = (s << 8) ^ BACK[s >>> 24];
    errors[--p - from] = s;
  }
  return errors;
}

/** Bytes that an error spans from its place on: 0 for no error, else 1 to 4. */
export function errorWidth(error: number): number {
  return (39 - Math.clz32(error)) >>> 3;
}

/** Syndromes of the 256 errors of one byte that is the `fromEnd`-th from the end of what is under the checksum. */
export function endSyndromes(fromEnd: number): Int32Array {
  const syndromes = new Int32Array(256);
  for (let error = 0; error < 256; error++) {
    let s = error;
    for (let i = 0; i < fromEnd; i++) s = (s >>> 8) ^ FORWARD[s & 0xff];
    syndromes[error] = s;
  }
  return syndromes;
}

/** Xors an error into bytes; the same again takes it out. */
export function applyError(bytes: Uint8Array, at: number, error: number): void {
  for (let p = at; error !== 0; error >>>= 8) bytes[p++] ^= error & 0xff;
}
