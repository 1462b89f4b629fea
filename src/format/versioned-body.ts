/**
 * The frame that manifests and compactions files share: a `u16` header version, big-endian, a FlatBuffer whose offsets count
 * from behind it, and perhaps a seal of ours.
 */
import { damage, IncompatibleError } from '../common/errors.ts';
import type { FlatReader } from './flatbuffer.ts';
import { findManifestSeal } from './seal.ts';

/** Bytes of the header version. */
export const HEADER_BYTES = 2;

/**
 * Reads the header version that precedes the FlatBuffer of a manifest or compactions file. Throws damage `TRUNCATED` or
 * `MALFORMED`, `FORMAT_TOO_NEW` for a version above 2.
 */
export function decodeHeaderVersion(bytes: Uint8Array, what: string): 1 | 2 {
  if (bytes.length < HEADER_BYTES) {
    const at = { unit: 'header', offset: 0, length: bytes.length } as const;
    throw damage('TRUNCATED', at, `The ${what} is empty`, { found: `${bytes.length} bytes` });
  }
  const version = (bytes[0] << 8) | bytes[1];
  if (version === 1 || version === 2) return version;
  if (version === 0) {
    throw damage('MALFORMED', { unit: 'header', offset: 0, length: HEADER_BYTES }, `The ${what} has header version 0`);
  }
  throw new IncompatibleError('FORMAT_TOO_NEW', `The ${what} has header version ${version}`, {
    details: { version, offset: 0 },
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
