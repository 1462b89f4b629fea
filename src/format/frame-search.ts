/**
 * Finding units of a table by nothing but their checksum, when what says where they are is damaged.
 *
 * ```
 * forward    from a known start:  step the register over each byte; where it equals the four bytes after, a unit may end
 * backward   from a known end:    the stored checksum is the register at the end; step it back over each byte; where it is
 *                                 0xffffffff, what a CRC starts with, a unit may begin
 *
 * walkUnits  | unit | unit | unit | ?????????????? | unit | unit |
 *            --- forward ------->   unknown        <-- backward ---
 * ```
 *
 * Every unit is a payload and its CRC-32 (framing.ts). Both directions take one table look-up per byte. A wrong position passes
 * once in 2^32, so the caller still decodes what was found; and bytes made to have many such positions get 16 attempts, because
 * each costs a decoding.
 *
 * Padding (table-layout.ts) makes starts ambiguous: zeros may be padding or the first byte of a block. An uncompressed block of
 * version 2 begins with exactly one zero byte, as its first row shares nothing and no key is empty; so a unit begins one byte
 * before the first byte that is not zero.
 */
import { CRC_TABLE, crc32 } from './checksum.ts';
import { CRC_BYTES, readCrc } from './framing.ts';

const START = 0xffffffff;
/** The entry of `CRC_TABLE` with this top byte; every top byte occurs once. */
const BY_TOP_BYTE = topBytes();

function topBytes(): Uint8Array {
  const out = new Uint8Array(256);
  for (let i = 0; i < 256; i++) out[CRC_TABLE[i] >>> 24] = i;
  return out;
}

/** Ends (after the checksum) that a unit beginning at `start` may have, nearest first; none after `limit`. */
export function* unitEnds(bytes: Uint8Array, start: number, limit: number): Generator<number> {
  let register = START;
  for (let p = start; p + CRC_BYTES < limit; p++) {
    register = CRC_TABLE[(register ^ bytes[p]) & 0xff] ^ (register >>> 8);
    const end = p + 1 + CRC_BYTES;
    if (~register >>> 0 === readCrc(bytes, p + 1)) yield end;
  }
}

/** Beginnings that a unit whose checksum ends at `end` may have, nearest first; none before `floor`. */
export function* unitStarts(bytes: Uint8Array, end: number, floor: number): Generator<number> {
  const bodyEnd = end - CRC_BYTES;
  if (bodyEnd <= floor || end > bytes.length) return;
  let register = ~readCrc(bytes, bodyEnd) >>> 0;
  for (let p = bodyEnd - 1; p >= floor; p--) {
    const entry = BY_TOP_BYTE[register >>> 24];
    register = (((register ^ CRC_TABLE[entry]) << 8) | (entry ^ bytes[p])) >>> 0;
    if (register === START) yield p;
  }
}

export interface UnitPlace {
  start: number;
  end: number;
}

/**
 * The units that fill `[from, to)` back to back, as far as they can be separated: from the front up to the first that is
 * damaged, then from the back. What is between is one place marked as unknown. `fits` decodes a candidate.
 * @param cut whether the object was cut, so that nothing ends at `to`
 * @param padded whether zeros may follow each unit, the last one too; then each must begin with exactly one zero byte, as
 *   uncompressed blocks do
 */
export function walkUnits(
  bytes: Uint8Array,
  from: number,
  to: number,
  fits: (place: UnitPlace) => boolean,
  cut = false,
  padded = false,
): { before: UnitPlace[]; unknown: UnitPlace | undefined; after: UnitPlace[] } {
  const before: UnitPlace[] = [];
  let start = from;
  for (;;) {
    const at = padded && before.length > 0 ? afterZeros(bytes, start, to) : start;
    const next = at >= to ? undefined : firstFitting(unitEnds(bytes, at, to), (end) => fits({ start: at, end }));
    if (next === undefined) break;
    before.push({ start: at, end: next });
    start = next;
  }
  const after: UnitPlace[] = [];
  let end = to;
  while (!cut && end > start) {
    const found = padded ? lastPaddedUnit(bytes, start, end, fits) : lastUnit(bytes, start, end, start, fits);
    if (found === undefined) break;
    after.unshift(found);
    end = found.start;
  }
  return { before, unknown: start < end ? { start, end } : undefined, after };
}

/** Where a unit that begins with one zero byte may begin after zeros; `to` if there is nothing else. */
function afterZeros(bytes: Uint8Array, start: number, to: number): number {
  let p = start;
  while (p < to && bytes[p] === 0) p++;
  return p === to ? to : Math.max(start, p - 1);
}

function lastUnit(
  bytes: Uint8Array,
  start: number,
  end: number,
  floor: number,
  fits: (place: UnitPlace) => boolean,
): UnitPlace | undefined {
  const found = firstFitting(unitStarts(bytes, end, Math.max(floor, start)), (p) => fits({ start: p, end }));
  return found === undefined ? undefined : { start: found, end };
}

/** Units are mostly no longer: first all ends are tried at this reach, then each with all that is there. */
const NEAR_BYTES = 65_536 + CRC_BYTES;

/** The last unit before zeros. Its checksum may end with zeros itself. */
function lastPaddedUnit(
  bytes: Uint8Array,
  start: number,
  end: number,
  fits: (place: UnitPlace) => boolean,
): UnitPlace | undefined {
  const least = lastNonZeroEnd(bytes, start, end);
  if (least === start) return undefined;
  const most = Math.min(end, least + CRC_BYTES);
  for (const floor of [least - NEAR_BYTES, start]) {
    for (let stop = least; stop <= most; stop++) {
      const found = lastUnit(bytes, start, stop, floor, fits);
      if (found !== undefined) return found;
    }
    if (floor <= start) break;
  }
  return undefined;
}

function lastNonZeroEnd(bytes: Uint8Array, start: number, end: number): number {
  let p = end;
  while (p > start && bytes[p - 1] === 0) p--;
  return p;
}

/** Length of the unit at the start of `room` that nothing but zeros follows; undefined if no checksum says that there is one. */
export function lengthBeforeZeros(room: Uint8Array): number | undefined {
  const least = lastNonZeroEnd(room, 0, room.length);
  for (let end = Math.max(least, CRC_BYTES + 1); end <= Math.min(room.length, least + CRC_BYTES); end++) {
    if (crc32(room, 0, end - CRC_BYTES) === readCrc(room, end - CRC_BYTES)) return end;
  }
  return undefined;
}

/** By chance there is none; bytes made to have many must not cost a decoding each. */
const MAX_CANDIDATES = 16;

function firstFitting(candidates: Iterable<number>, fits: (position: number) => boolean): number | undefined {
  let tried = 0;
  for (const candidate of candidates) {
    if (fits(candidate)) return candidate;
    if (++tried === MAX_CANDIDATES) return undefined;
  }
  return undefined;
}
