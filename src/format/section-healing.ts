/**
 * Healing of everything that is not a data block: index, filter, stats and info of tables, seals, manifests.
 *
 * Sections have a checksum only, so one byte is all that is ever undone, and it is called probable; what the caller knows
 * (rebuilding, comparing with the blocks or the manifest) has to confirm it. A sealed manifest has a second, independent
 * hash of its body: there up to four bytes are undone, proven.
 */
import type { Healed } from './block-healing.ts';
import type { BlockCodec } from './codecs.ts';

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

/**
 * The section with one bit or one byte changed so that its checksum holds and it decodes; undefined if there is no such
 * change or more than one, or if nothing is wrong. A damaged magic number at the end of a seal is restored as well.
 */
export function healBytes(_stored: Uint8Array, _kind: SectionKind, _how: SectionForm = {}): Healed | undefined {
  throw new Error('unfinished');
}

/**
 * A sealed manifest with up to four consecutive bytes changed so that the checksum of the whole and the hash of its body hold
 * (`proven`); where the body is proven already, the seal with one byte changed (`probable`). Undefined if there is no such
 * change or more than one, if nothing is wrong, or if no seal can be made out.
 * @param bytes the whole object
 */
export function healManifest(_bytes: Uint8Array): Healed | undefined {
  throw new Error('unfinished');
}
