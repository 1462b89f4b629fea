/**
 * Finding units of a table by nothing but their checksum, when what says where they lie is damaged.
 *
 * Every unit is a payload and its CRC-32. Stepping the CRC's register forward from where a unit begins, each position where
 * it equals the four bytes behind it may be its end; stepping it back from a known end, each position where it is what a CRC
 * starts with may be its beginning. Both take one table look-up per byte. A wrong position passes once in 2^32, so the caller
 * still decodes what was found.
 */
import { CRC_BYTES, readCrc } from './framing.ts';

const POLYNOMIAL = 0xedb88320;
const START = 0xffffffff;
const FORWARD = forwardTable();
/** The entry of `FORWARD` with this top byte; every top byte occurs once. */
const BY_TOP_BYTE = topBytes();

function forwardTable(): Uint32Array {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? POLYNOMIAL ^ (c >>> 1) : c >>> 1;
    table[i] = c;
  }
  return table;
}

function topBytes(): Uint8Array {
  const out = new Uint8Array(256);
  for (let i = 0; i < 256; i++) out[FORWARD[i] >>> 24] = i;
  return out;
}

/** Ends (behind the checksum) that a unit beginning at `start` may have, nearest first; none behind `limit`. */
export function* unitEnds(bytes: Uint8Array, start: number, limit: number): Generator<number> {
  let register = START;
  for (let p = start; p + CRC_BYTES < limit; p++) {
    register = FORWARD[(register ^ bytes[p]) & 0xff] ^ (register >>> 8);
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
    register = (((register ^ FORWARD[entry]) << 8) | (entry ^ bytes[p])) >>> 0;
    if (register === START) yield p;
  }
}

export interface UnitPlace {
  start: number;
  end: number;
}

/**
 * The units that fill `[from, to)` back to back, as far as they can be told apart: from the front up to the first that is
 * damaged, then from the back. What lies between is one place marked as unknown. `fits` decodes a candidate.
 * @param cut whether the object was cut, so that nothing ends at `to`
 */
export function walkUnits(
  bytes: Uint8Array,
  from: number,
  to: number,
  fits: (place: UnitPlace) => boolean,
  cut = false,
): { before: UnitPlace[]; unknown: UnitPlace | undefined; after: UnitPlace[] } {
  const before: UnitPlace[] = [];
  let start = from;
  for (let next = firstFitting(unitEnds(bytes, start, to), (end) => fits({ start, end })); next !== undefined; ) {
    before.push({ start, end: next });
    start = next;
    next = start >= to ? undefined : firstFitting(unitEnds(bytes, start, to), (end) => fits({ start, end }));
  }
  const after: UnitPlace[] = [];
  let end = to;
  while (!cut && end > start) {
    const found = firstFitting(unitStarts(bytes, end, start), (p) => fits({ start: p, end }));
    if (found === undefined) break;
    after.unshift({ start: found, end });
    end = found;
  }
  return { before, unknown: start < end ? { start, end } : undefined, after };
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
