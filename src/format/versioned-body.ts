/**
 * The frame that manifests and compactions files share.
 *
 * ```
 * u16 BE header version | FlatBuffer, offsets counted from byte 2 | seal of ours, or nothing
 * 0                     ^ VERSION_HEADER_BYTES                    ^ bodyEnd
 * ```
 *
 * Neither part has a length: the FlatBuffer ends after the last byte that its references reach, padded to 4, and the seal is found
 * from the end of the object. So 8-byte fields are not 8-aligned in the file, and SlateDB, which follows references only, never
 * sees a seal. The two bytes are no checksum; a version that no program wrote is damage (versions.ts).
 *
 * The first compactions file of a database, the smallest object of this form:
 *
 * ```example slatedb-0.12.1/compacted db/compactions/00000000000000000001.compactions 0
 * 00 01                                            version=1
 * 0c 00 00 00                                      root table at +12
 * 08 00 08 00 00 00 04 00                          vtable: 8 bytes, CompactionsV1 of 8, fields at - 4
 * 08 00 00 00                                      CompactionsV1: vtable 8 bytes before
 * 04 00 00 00                                      recent_compactions at +4
 * 00 00 00 00                                      recent_compactions: 0 entries
 * ```
 */
import { damage } from '../common/damage.ts';
import type { FlatReader } from './flatbuffer.ts';
import { findManifestSeal } from './seal.ts';
import { unknownVersion } from './versions.ts';

/** Bytes of the header version. */
export const VERSION_HEADER_BYTES = 2;

/**
 * Reads the header version that precedes the FlatBuffer of a manifest or compactions file. Throws damage `TRUNCATED` or
 * `MALFORMED`, `FORMAT_TOO_NEW` as `unknownVersion` decides.
 */
export function decodeHeaderVersion(bytes: Uint8Array, what: string): 1 | 2 {
  if (bytes.length < VERSION_HEADER_BYTES) {
    const at = { unit: 'header', offset: 0, length: bytes.length } as const;
    throw damage('TRUNCATED', at, `The ${what} is empty`, { found: `${bytes.length} bytes` });
  }
  const version = (bytes[0] << 8) | bytes[1];
  if (version === 1 || version === 2) return version;
  throw unknownVersion(`The ${what} has header version`, version, 2, {
    unit: 'header',
    offset: 0,
    length: VERSION_HEADER_BYTES,
  });
}

/**
 * End of the FlatBuffer that a reader went through, with the padding that other builders may add after it. A buffer with
 * unknown parts has no known end: then it reaches to the seal, or to the end of the object.
 */
export function bodyEnd(reader: FlatReader): number {
  const bytes = reader.bytes;
  if (reader.hasUnknownFields) return findManifestSeal(bytes)?.start ?? bytes.length;
  let end = reader.usedEnd;
  while ((end - VERSION_HEADER_BYTES) % 4 !== 0 && end < bytes.length && bytes[end] === 0) end++;
  return end;
}
