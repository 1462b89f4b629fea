/**
 * The frame that manifests and compactions files share: a `u16` header version, big-endian, a FlatBuffer whose offsets count
 * from behind it, and perhaps a seal of ours.
 */
import { damage } from '../common/errors.ts';
import type { FlatReader } from './flatbuffer.ts';
import { findManifestSeal } from './seal.ts';
import { unknownVersion } from './versions.ts';

/** Bytes of the header version. */
export const HEADER_BYTES = 2;

/**
 * Reads the header version that precedes the FlatBuffer of a manifest or compactions file. Throws damage `TRUNCATED` or
 * `MALFORMED`, `FORMAT_TOO_NEW` as `unknownVersion` decides.
 */
export function decodeHeaderVersion(bytes: Uint8Array, what: string): 1 | 2 {
  if (bytes.length < HEADER_BYTES) {
    const at = { unit: 'header', offset: 0, length: bytes.length } as const;
    throw damage('TRUNCATED', at, `The ${what} is empty`, { found: `${bytes.length} bytes` });
  }
  const version = (bytes[0] << 8) | bytes[1];
  if (version === 1 || version === 2) return version;
  throw unknownVersion(`The ${what} has header version`, version, 2, {
    unit: 'header',
    offset: 0,
    length: HEADER_BYTES,
  });
}

/**
 * End of the FlatBuffer that a reader went through, with the padding that other builders may leave behind it. A buffer with
 * unknown parts has no known end: then it reaches to the seal, or to the end of the object.
 */
export function bodyEnd(reader: FlatReader): number {
  const bytes = reader.bytes;
  if (reader.hasUnknownFields) return findManifestSeal(bytes)?.start ?? bytes.length;
  let end = reader.usedEnd;
  while ((end - HEADER_BYTES) % 4 !== 0 && end < bytes.length && bytes[end] === 0) end++;
  return end;
}
