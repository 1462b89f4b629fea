/**
 * ULIDs (https://github.com/ulid/spec): 48-bit milliseconds, then 80 random bits; 26 upper-case Crockford characters, so
 * that text order is the order of the 128-bit number. A text form is the only form used outside FlatBuffers.
 */
import type { Random } from './random.ts';

declare const ulidBrand: unique symbol;
export type Ulid = string & { readonly [ulidBrand]: true };

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const PATTERN = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const MAX_TIME_MS = 2 ** 48 - 1;

export function isUlid(text: string): text is Ulid {
  return PATTERN.test(text);
}

export function ulidFromHalves(high: bigint, low: bigint): Ulid {
  let n = (BigInt.asUintN(64, high) << 64n) | BigInt.asUintN(64, low);
  const chars = new Array<string>(26);
  for (let i = 25; i >= 0; i--) {
    chars[i] = ALPHABET[Number(n & 31n)];
    n >>= 5n;
  }
  return chars.join('') as Ulid;
}

export function ulidToHalves(id: Ulid): { high: bigint; low: bigint } {
  let n = 0n;
  for (const c of id) n = (n << 5n) | BigInt(ALPHABET.indexOf(c));
  return { high: BigInt.asUintN(64, n >> 64n), low: BigInt.asUintN(64, n) };
}

/** The milliseconds in its first 48 bits. */
export function ulidTimeMs(id: Ulid): number {
  return Number(ulidToHalves(id).high >> 16n);
}

/** The 16 bytes of the 128-bit number, most significant first. */
export function ulidToBytes(id: Ulid): Uint8Array {
  const { high, low } = ulidToHalves(id);
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, high);
  view.setBigUint64(8, low);
  return out;
}

export function ulidFromBytes(bytes: Uint8Array): Ulid {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return ulidFromHalves(view.getBigUint64(0), view.getBigUint64(8));
}

/**
 * A new ULID of `timeMs`; if `after` is given and not older, one shortly above it. Not the very next: after a clock went back,
 * two processes that start from the same `after` would draw the same name, one of them perhaps for an object that is on its
 * way since the other died. A step of 48 random bits moves the time in the name by a millisecond in 2^32 of them.
 */
export function makeUlid(timeMs: number, random: Random, after?: Ulid): Ulid {
  const bits = new Uint8Array(10);
  random.fill(bits);
  const view = new DataView(bits.buffer);
  const time = BigInt(Math.max(0, Math.min(MAX_TIME_MS, Math.trunc(timeMs))));
  const fresh = ulidFromHalves((time << 16n) | BigInt(view.getUint16(0)), view.getBigUint64(2));
  if (after === undefined || fresh > after) return fresh;
  const { high, low } = ulidToHalves(after);
  const step = 1n + ((BigInt(view.getUint16(4)) << 32n) | BigInt(view.getUint32(6)));
  const next = (high << 64n) + low + step;
  return ulidFromHalves(next >> 64n, next);
}
