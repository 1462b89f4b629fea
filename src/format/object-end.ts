/**
 * The end of a table or of an object of the log, from its last byte backwards: footer, info block, and the seal before that. Every
 * reader of one begins here, whether it stops at the first thing that is wrong or goes on.
 *
 * ```
 * bytes that were read                          | filter | index | stats | seal | info | footer |
 * base                                                           sealIn --^      ^-- infoIn
 * ```
 *
 * 1. A checksum is verified before anything that it covers is decoded. The info block is never compressed.
 * 2. Damage has offsets from the start of the object.
 * 3. Where footer or info block are damaged, `findInfo` finds the info block by its own checksum, in time that is linear in what was
 *    read, and within `MAX_INFO_BYTES` of the end.
 */
import { atOffset, damage } from '../common/damage.ts';
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import { NO_CODEC } from './codecs.ts';
import { type UnitPlace, unitStarts } from './frame-search.ts';
import { unframeUnit } from './framing.ts';
import { decodeInfo } from './info-block.ts';
import type { TableInfo } from './table-info.ts';
import { checkLayout, decodeFooter, FOOTER_BYTES, type Footer, sealRange } from './table-layout.ts';

/** More is no info block: it has two keys of at most 65,535 bytes each, and some numbers. */
export const MAX_INFO_BYTES = 256 * 1024;
/** Places with a checksum that holds and no info block; bytes that were made to have more are not searched further. */
const MOST_TRIED = 16;

/** The last bytes of an object, or all of it. */
export interface EndBytes {
  bytes: Uint8Array;
  /** Where they begin in the object. */
  base: number;
  /** Of the object. */
  size: number;
}

export interface ObjectEnd extends Footer {
  info: TableInfo;
}

/** @param size of the object, whose last bytes these are; default: they are all of it */
export function endOf(bytes: Uint8Array, size = bytes.length): EndBytes {
  return { bytes, base: size - bytes.length, size };
}

/** Throws damage, and `FORMAT_TOO_NEW` for a version that is not known. */
export function footerIn({ bytes, size }: EndBytes): Footer {
  return decodeFooter(bytes.subarray(Math.max(0, bytes.length - FOOTER_BYTES)), size);
}

/** The same where something else says which version the object has: an unknown one is damage. */
export function footerOfKnownVersion(end: EndBytes): Footer {
  try {
    return footerIn(end);
  } catch (error) {
    if (!(error instanceof IncompatibleError)) throw error;
    throw damage('MALFORMED', { unit: 'footer', offset: end.size - 2, length: 2 }, error.message);
  }
}

/** The info block as it is stored, checksum included: what is before the footer, of which nothing has been verified. */
export function storedInfoIn({ bytes, base, size }: EndBytes, infoOffset: number): Uint8Array {
  if (infoOffset < base) {
    const place = { unit: 'footer', offset: size - FOOTER_BYTES, length: 8 } as const;
    throw damage('MALFORMED', place, 'the info block is among the data');
  }
  return bytes.subarray(infoOffset - base, bytes.length - FOOTER_BYTES);
}

/** The info block at an offset, verified, and checked with the layout that it describes. Throws damage, and `IncompatibleError`. */
export function infoIn(end: EndBytes, infoOffset: number): TableInfo {
  return infoOfPayload(verifiedInfoIn(end, infoOffset), infoOffset, end.size);
}

/** Its payload, of which only the checksum has been verified: it says what a writer wrote, of whatever version. */
export function verifiedInfoIn(end: EndBytes, infoOffset: number): Uint8Array {
  return payloadOf(storedInfoIn(end, infoOffset), infoOffset);
}

function payloadOf(stored: Uint8Array, infoOffset: number): Uint8Array {
  return atOffset(infoOffset, () => unframeUnit(stored, NO_CODEC, 'info', MAX_INFO_BYTES));
}

export function infoOfPayload(payload: Uint8Array, infoOffset: number, objectBytes: number): TableInfo {
  const info = atOffset(infoOffset, () => decodeInfo(payload));
  checkLayout(info, infoOffset, objectBytes);
  return info;
}

/** An info block that was repaired: the bytes that are stored in place of those at an offset. */
export function infoOfStored(stored: Uint8Array, infoOffset: number, objectBytes: number): TableInfo {
  return infoOfPayload(payloadOf(stored, infoOffset), infoOffset, objectBytes);
}

/** Footer and info block of an object of which something else says which version it has. */
export function objectEndIn(end: EndBytes): ObjectEnd {
  const footer = footerOfKnownVersion(end);
  return { ...footer, info: infoIn(end, footer.infoOffset) };
}

/** The info block that ends where the footer begins, whatever the footer says; none that begins before `floor`. */
export function findInfo(end: EndBytes, floor = 0): { info: TableInfo; infoOffset: number } | undefined {
  const { bytes, base } = end;
  const to = bytes.length - FOOTER_BYTES;
  const from = Math.max(0, floor - base, to - MAX_INFO_BYTES);
  let tried = 0;
  for (const start of unitStarts(bytes, to, from)) {
    const infoOffset = start + base;
    try {
      return { info: infoIn(end, infoOffset), infoOffset };
    } catch (error) {
      if (!isCorruption(error) && !(error instanceof IncompatibleError)) throw error;
    }
    if (++tried === MOST_TRIED) return undefined;
  }
  return undefined;
}

/** Where the seal is, between the sections and the info block; undefined: the object has none. */
export function sealPlaceOf(info: TableInfo, infoOffset: number): UnitPlace | undefined {
  const place = sealRange(info, infoOffset);
  return place.end > place.start ? place : undefined;
}
