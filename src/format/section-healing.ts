/**
 * Healing of everything that is not a data block: index, filter, stats and info of tables, seals, manifests.
 *
 * ```
 * unit                       evidence besides its checksum                              undone, and called
 * index, info, stats         that it decodes, and what the caller knows (`fits`)        one bit or byte, probable
 * filter                     none: any bits are legal                                   one bit or byte, probable
 * seal of a table            its form; its magic bytes are known                        one bit or byte, probable; magic, proven
 * sealed manifest            xxHash32 of its body in the seal                           up to four bytes, proven
 *   the rest of its seal     its form                                                   one bit or byte, probable
 * manifest without a seal    none                                                       nothing
 * ```
 *
 * What is probable has to be confirmed by the caller: by rebuilding the section from the blocks, or by comparing with the manifest.
 * Where the seal of a manifest cannot be repaired, its hash may still prove the body (`isContentProven`).
 *
 * 1. Of changes that only a checksum confirms none is accepted if two explain the same bytes.
 * 2. A bit is preferred to a byte and a narrower error to a wider one: the narrower, the more seldom it passes by chance.
 * 3. The bytes that come in are never changed; what comes out is a copy.
 */
import { copyBytes, equalBytes } from '../common/bytes.ts';
import { describeHealed, type Healed, healByChecksum, tryDecode } from './block-healing.ts';
import { xxHash32 } from './checksum.ts';
import { type BlockCodec, NO_CODEC } from './codecs.ts';
import { applyError, errorsAt, errorWidth, MAX_ERROR_BYTES, syndromeOf } from './crc-syndrome.ts';
import { CRC_BYTES, readCrc } from './framing.ts';
import { decodeIndex } from './index-block.ts';
import { decodeInfo } from './info-block.ts';
import {
  decodeSeal,
  findManifestSeal,
  hashOfBody,
  provenPlaces,
  SEAL_CRC_FROM_END,
  SEAL_MAGIC,
  statedManifestBody,
} from './seal.ts';
import { decodeStats } from './stats-block.ts';

/** `info`, `index`, `filter`, `stats`: payload and CRC-32; `seal`: of a table or WAL object, records and tail. */
export type SectionKind = 'index' | 'filter' | 'stats' | 'info' | 'seal';

export interface SectionForm {
  /** Default: not compressed. The info block and the seal never are. */
  codec?: BlockCodec;
  /** Most bytes the section may have uncompressed. Default: 64 MiB. */
  maxBytes?: number;
  /** What else the caller knows about the payload (for a seal: about all of it). */
  fits?: (payload: Uint8Array) => boolean;
}

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
/** The length of a seal stands so far before its checksum. */
const LENGTH_FROM_CRC = 8;
/** Bytes hashed for one manifest at most: 1.7 s. Enough for 4 bytes in a body of 90 kB, for 3 in one of 1.4 MB. */
const MANIFEST_WORK = 2 ** 33;

const DECODERS: Record<Exclude<SectionKind, 'seal'>, (payload: Uint8Array) => unknown> = {
  index: decodeIndex,
  info: decodeInfo,
  stats: decodeStats,
  // A filter has no form that could be checked: any bits are legal.
  filter: (payload) => payload,
};

/**
 * The section with one bit or one byte changed so that its checksum holds and it decodes; undefined if there is no such
 * change or more than one, or if nothing is wrong. Another byte may have been the damaged one: with odds of bytes * 255 /
 * 2^32 (filters) or less. A damaged magic number at the end of a seal is restored as well, proven by the rest.
 */
export function healBytes(stored: Uint8Array, kind: SectionKind, how: SectionForm = {}): Healed | undefined {
  if (kind === 'seal') return healSeal(stored, how);
  const { codec = NO_CODEC, maxBytes = DEFAULT_MAX_BYTES, fits = () => true } = how;
  const end = stored.length - CRC_BYTES;
  if (end <= 0) return undefined;
  return healByChecksum(stored, end, (bytes) => {
    const body = bytes.subarray(0, end);
    const isWhole = () => {
      const payload = kind === 'info' ? body : codec.decompress(body, maxBytes);
      return DECODERS[kind](payload) !== undefined && fits(payload);
    };
    return tryDecode(isWhole) ?? false;
  });
}

function healSeal(stored: Uint8Array, { fits = () => true }: SectionForm): Healed | undefined {
  const crcAt = stored.length - SEAL_CRC_FROM_END;
  if (crcAt <= 0) return undefined;
  const accepts = (bytes: Uint8Array) =>
    tryDecode(() => decodeSeal(bytes, 0, bytes.length)) !== undefined && fits(bytes);
  const base = withMagic(stored);
  if (accepts(base)) return equalBytes(base, stored) ? undefined : describeHealed(stored, base, 'proven');
  const healed = healByChecksum(base, crcAt, accepts);
  return healed && describeHealed(stored, healed.stored, 'probable');
}

/** A copy that ends with the magic number of seals. */
function withMagic(bytes: Uint8Array): Uint8Array {
  const copy = copyBytes(bytes);
  copy.set(SEAL_MAGIC, bytes.length - SEAL_MAGIC.length);
  return copy;
}

// ---- manifests

/**
 * A sealed manifest with up to four consecutive bytes of its body, of the hash of it or of the frame of the seal changed so that
 * the checksum of the whole and that hash hold (`proven`); else the seal with one byte changed (`probable`). Undefined if there
 * is no such change or more than one, if nothing is wrong, or if no seal can be made out. Takes up to two seconds for large
 * manifests.
 * @param bytes the whole object
 */
export function healManifest(bytes: Uint8Array): Healed | undefined {
  const crcAt = bytes.length - SEAL_CRC_FROM_END;
  if (crcAt <= 0) return undefined;
  const work = withMagic(bytes);
  if (isWholeManifest(work)) return equalBytes(work, bytes) ? undefined : describeHealed(bytes, work, 'proven');
  const syndrome = syndromeOf(work, crcAt, readCrc(work, crcAt));
  if (syndrome === 0) return undefined;
  const body = statedManifestBody(work);
  if (body !== undefined && xxHash32(work, 0, body.bytes) === body.hash) {
    const healed = healByChecksum(work, crcAt, isWholeManifest);
    return healed && describeHealed(bytes, healed.stored, 'probable');
  }
  // A seal that cannot be read is damaged itself, in its records or in its length.
  const from =
    body !== undefined ? 0 : Math.max(0, (findManifestSeal(work)?.start ?? crcAt - LENGTH_FROM_CRC) - MAX_ERROR_BYTES);
  const errors = errorsAt(syndrome, from, crcAt, crcAt);
  let left = MANIFEST_WORK;
  for (let width = 1; width <= MAX_ERROR_BYTES; width++) {
    for (let p = from; p + width <= crcAt && left > 0; p++) {
      const error = errors[p - from];
      if ((error & 0xff) === 0 || errorWidth(error) !== width) continue;
      applyError(work, p, error);
      let isCandidate = true;
      if (body !== undefined && p + width <= body.bytes) {
        isCandidate = xxHash32(work, 0, body.bytes) === body.hash;
        left -= body.bytes;
      } else left -= 2 * bytes.length;
      if (isCandidate && isWholeManifest(work) && isProvenPlace(work, p, width))
        return describeHealed(bytes, work, 'proven');
      applyError(work, p, error);
    }
  }
  // Everything else in the seal is covered by the checksum alone, which four changed bytes at any place can be made to fit.
  const healed = healByChecksum(work, crcAt, isWholeManifest);
  return healed && describeHealed(bytes, healed.stored, 'probable');
}

/**
 * Whether the body of manifest `id` is proven although the rest of its seal is not: the hash that the seal has
 * is that of the body, or it is with those of its bytes changed that a burst of up to four bytes, which the checksum confirms,
 * has reached. The seal names the id, so that a manifest of another id is not taken for this one.
 * @param bytes the whole object
 * @param bodyBytes where the body ends by its own form
 */
export function isContentProven(bytes: Uint8Array, bodyBytes: number, id: number): boolean {
  const stated = hashOfBody(bytes, bodyBytes);
  if (stated === undefined || !stated.namesId(id)) return false;
  const hash = new Uint8Array(4);
  new DataView(hash.buffer).setUint32(0, xxHash32(bytes, 0, bodyBytes));
  const changed = [0, 1, 2, 3].filter((i) => bytes[stated.at + i] !== hash[i]);
  if (changed.length === 0) return true;
  if (changed.length === 4) return false;
  const crcAt = bytes.length - SEAL_CRC_FROM_END;
  const work = copyBytes(bytes);
  work.set(hash, stated.at);
  // The rest of the burst: it and the changed bytes of the hash span four bytes at most.
  const first = stated.at + changed[0];
  const last = stated.at + changed[changed.length - 1];
  const from = last + 1 - MAX_ERROR_BYTES;
  const errors = errorsAt(syndromeOf(work, crcAt, readCrc(work, crcAt)), from, first + MAX_ERROR_BYTES, crcAt);
  return errors.some((error, i) => {
    if ((error & 0xff) === 0) return false;
    const start = Math.min(from + i, first);
    return Math.max(from + i + errorWidth(error), last + 1) - start <= MAX_ERROR_BYTES;
  });
}

/** Whether something besides the checksum proves each of these bytes. */
function isProvenPlace(bytes: Uint8Array, at: number, length: number): boolean {
  const range = findManifestSeal(bytes);
  const places = range === undefined ? [] : provenPlaces(bytes, range);
  for (let i = at; i < at + length; i++) if (!places.some(({ start, end }) => i >= start && i < end)) return false;
  return true;
}

/** Whether checksum and hash of the body both hold. */
function isWholeManifest(bytes: Uint8Array): boolean {
  const range = findManifestSeal(bytes);
  if (range === undefined) return false;
  const seal = tryDecode(() => decodeSeal(bytes, range.start, range.end, ['manifest']));
  return seal?.manifest !== undefined && seal.manifest.bodyHash === xxHash32(bytes, 0, range.start);
}
