/**
 * What a CRC-32 that does not hold says about the error: CRCs are linear, so stored checksum xor that of the stored bytes is
 * the CRC of the error alone (the syndrome). Taken back through the bytes after a place it becomes the only error that can
 * have begun there and is not longer than four bytes.
 *
 * ```
 * written   w0 w1 ... wn | crc(w)                 error e = w xor s, zero outside of the damage
 * stored    s0 s1 ... sn | crc(w)                 syndrome = crc(w) xor crc(s) = crc(e), without initial value and final xor
 *
 * for each place p exactly one u32 E(p):  the bytes of E(p) xored to s[p .. p+3] make the checksum hold
 * E(p - 1) = one step of the CRC register back from E(p):  (E << 8) xor BACK[E >>> 24]
 * ```
 *
 * "123456789" with its checksum, of which the fifth byte was changed:
 *
 * ```example
 * "1234X6789"                 syndrome=0x61a2b3fc
 * cb f4 39 26                 crc=0xcbf43926
 * ```
 *
 * At place 4 the error is 0x6d, one byte: "5" xor "X". At every other place it would have two to four. So the checksum alone finds
 * one damaged byte; another place passes for it with the odds of 255 per byte / 2^32.
 */
import { CRC_TABLE, crc32 } from './checksum.ts';

/** One step back through a zero byte is `(s << 8) ^ BACK[s >>> 24]`: the register's top byte names the table entry used. */
const BACK = new Int32Array(256);
for (let i = 0; i < 256; i++) BACK[CRC_TABLE[i] >>> 24] = (CRC_TABLE[i] << 8) | i;

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

/** Wider errors than this have no place of their own: with four bytes, every place can explain a checksum. */
export const MAX_ERROR_BYTES = 4;

/** Bytes that an error spans from its place on: 0 for no error, else 1 to 4. */
export function errorWidth(error: number): number {
  return (39 - Math.clz32(error)) >>> 3;
}

/** Syndromes of the 256 errors of one byte that is the `fromEnd`-th from the end of what is under the checksum. */
export function endSyndromes(fromEnd: number): Int32Array {
  const syndromes = new Int32Array(256);
  for (let error = 0; error < 256; error++) {
    let s = error;
    for (let i = 0; i < fromEnd; i++) s = (s >>> 8) ^ CRC_TABLE[s & 0xff];
    syndromes[error] = s;
  }
  return syndromes;
}

/** Xors an error into bytes; the same again takes it out. */
export function applyError(bytes: Uint8Array, at: number, error: number): void {
  for (let p = at; error !== 0; error >>>= 8) bytes[p++] ^= error & 0xff;
}
