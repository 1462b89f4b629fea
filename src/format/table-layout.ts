/**
 * Where the sections of a table or WAL object are: pure arithmetic on numbers that came from storage. Everything is checked here
 * once, so that readers can slice without further checks.
 *
 * ```
 * | data block 0 | ... | filter | index | stats | seal | info | u64 BE info offset | u16 BE format version |
 *   0                                                         ^                    the last 10 bytes: the footer
 *   '--- sections: payload and CRC-32 each, without gaps ---'
 * ```
 *
 * 1. Sections follow each other in this order and without gaps; filter and stats may be absent. All lengths include the 4 bytes of
 *    checksum.
 * 2. The seal is ours: SlateDB reads by offsets and never reads between the last section and the info block.
 * 3. The info block has no stored length: it ends where the footer begins.
 * 4. For a table that a manifest names neither footer nor info block is read by SlateDB: the manifest repeats the info.
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 0x16c
 * 00 00 00 00 00 00 00 f8     info_offset=248
 * 00 02                       format_version=2: which form the blocks have, see block.ts
 * ```
 *
 * Between data blocks there may be padding: SlateDB 0.18 with block alignment puts zeros after each block, up to the next multiple
 * of its block size. The index then states the length of the block. So a block has an end, and a room that ends later:
 *
 * ```
 * 0                3834   4096                7930   8192 ...     aligned to 4,096 bytes; encodedLength 3834 and 3834
 * | block 0        | 0000 | block 1           | 0000 |
 * '---- blockEnd --^      ^-- roomEnd = offset of the next block, or the end of the data
 * ```
 *
 * The unit of alignment is stored nowhere, and nothing here needs it. No checksum covers padding and nothing reads it.
 */
import { damage } from '../common/damage.ts';
import type { CorruptionError } from '../common/errors.ts';
import type { FindingPlace } from '../common/finding.ts';
import type { TableIndex } from './index-block.ts';
import type { FormatVersion, TableInfo } from './table-info.ts';
import { unknownVersion } from './versions.ts';

/** u64 offset of the info block, u16 format version, big-endian. */
export const FOOTER_BYTES = 10;
const CHECKSUM_BYTES = 4;
/** The shortest FlatBuffer: root offset, empty vtable, empty table. */
const MIN_FLATBUFFER_BYTES = 12;
/** Info block without any field, and the footer. */
export const MIN_TABLE_BYTES = MIN_FLATBUFFER_BYTES + CHECKSUM_BYTES + FOOTER_BYTES;

export interface Footer {
  infoOffset: number;
  formatVersion: FormatVersion;
}

function wrong(unit: FindingPlace['unit'], offset: number, length: number, message: string): CorruptionError {
  return damage('MALFORMED', { unit, offset, length }, message);
}

/**
 * Decodes the footer from the last bytes of an object (at least 10, if it has as many). Offsets in errors are those of the
 * object. Throws damage `TRUNCATED` or `MALFORMED`, `FORMAT_TOO_NEW` for an unknown format version.
 */
export function decodeFooter(tail: Uint8Array, objectSize: number): Footer {
  if (objectSize < MIN_TABLE_BYTES || tail.length < FOOTER_BYTES) {
    const at = { unit: 'object', offset: 0, length: objectSize } as const;
    throw damage('TRUNCATED', at, `The object has ${objectSize} bytes, too few for a table`, {
      expected: `at least ${MIN_TABLE_BYTES} bytes`,
      found: `${objectSize} bytes`,
    });
  }
  const view = new DataView(tail.buffer, tail.byteOffset + tail.length - FOOTER_BYTES, FOOTER_BYTES);
  const footerOffset = objectSize - FOOTER_BYTES;
  const infoOffset = view.getUint32(0) * 0x1_0000_0000 + view.getUint32(4);
  if (infoOffset > footerOffset - MIN_FLATBUFFER_BYTES - CHECKSUM_BYTES) {
    throw wrong(
      'footer',
      footerOffset,
      FOOTER_BYTES,
      `The footer places the info block at ${infoOffset}, past the end`,
    );
  }
  const formatVersion = view.getUint16(8);
  if (formatVersion !== 1 && formatVersion !== 2) {
    throw unknownVersion('The footer has table format version', formatVersion, 2, {
      unit: 'footer',
      offset: footerOffset + 8,
      length: 2,
    });
  }
  return { infoOffset, formatVersion };
}

/** The last 10 bytes of an object. Offsets are below 2^53, so both halves are exact. */
export function encodeFooter(footer: Footer): Uint8Array {
  const out = new Uint8Array(FOOTER_BYTES);
  const view = new DataView(out.buffer);
  view.setUint32(0, Math.floor(footer.infoOffset / 0x1_0000_0000));
  view.setUint32(4, footer.infoOffset % 0x1_0000_0000);
  view.setUint16(8, footer.formatVersion);
  return out;
}

/** End of the data blocks. `filterOffset` says the same in most tables, but is 0 in fences of SlateDB 0.12.1. */
export function dataEnd(info: TableInfo): number {
  return info.filterLength > 0 ? info.filterOffset : info.indexOffset;
}

/** End of the last section before seal and info block. */
export function sectionsEnd(info: TableInfo): number {
  return info.statsLength > 0 ? info.statsOffset + info.statsLength : info.indexOffset + info.indexLength;
}

/** The place of a seal; empty (`start === end`) in an object without one. */
export function sealRange(info: TableInfo, infoOffset: number): { start: number; end: number } {
  return { start: sectionsEnd(info), end: infoOffset };
}

/**
 * Checks that the sections follow each other without gaps, the seal's place excepted, and end before the info block. An
 * absent filter or stats block may claim any offset. Without a footer, as for a table that a manifest describes, pass the
 * object's size as `infoOffset`.
 */
export function checkLayout(info: TableInfo, infoOffset: number, objectSize: number): void {
  const { filterOffset, filterLength, indexOffset, indexLength, statsOffset, statsLength } = info;
  const fail = (message: string) =>
    wrong('info', infoOffset, Math.max(0, objectSize - FOOTER_BYTES - infoOffset), message);
  for (const length of [filterLength, indexLength, statsLength]) {
    if (length !== 0 && length <= CHECKSUM_BYTES) throw fail(`A section has only ${length} bytes`);
  }
  if (indexLength === 0) throw fail('The table has no index');
  if (filterLength > 0 && filterOffset + filterLength !== indexOffset)
    throw fail('The filter does not end at the index');
  if (statsLength > 0 && indexOffset + indexLength !== statsOffset) throw fail('The index does not end at the stats');
  if (sectionsEnd(info) > infoOffset) throw fail('The sections reach past the info block');
}

/**
 * Checks the index against the info: the first block begins at 0, every block is longer than a checksum and ends in the room it
 * has, and a table without blocks has no data bytes. Throws damage `MALFORMED`, which names the entry of the index.
 */
export function checkIndexLayout(info: TableInfo, index: TableIndex): void {
  const end = dataEnd(info);
  const fail = (message: string) => wrong('index', info.indexOffset, info.indexLength, message);
  if (index.blockCount === 0) {
    if (end !== 0) throw fail('The index is empty although there are data blocks');
    return;
  }
  if (index.offset(0) !== 0) throw fail('The first data block does not begin at 0');
  for (let i = 0; i < index.blockCount; i++) {
    const room = roomEnd(info, index, i) - index.offset(i);
    const length = index.encodedLength(i);
    if (room <= CHECKSUM_BYTES) throw fail(`Data block ${i} has no bytes`);
    if (length === 0) continue;
    if (length <= CHECKSUM_BYTES) throw badLength(info, index, i, `more than ${CHECKSUM_BYTES} bytes, a checksum`);
    if (length > room) throw badLength(info, index, i, `at most ${room} bytes`);
  }
}

/** For a stated length that cannot be: shorter than a checksum, or longer than the room. */
function badLength(info: TableInfo, index: TableIndex, i: number, expected: string): CorruptionError {
  const length = index.encodedLength(i);
  const limit = i + 1 < index.blockCount ? 'the next block begins' : 'the data end';
  const at = { unit: 'index', index: i, offset: info.indexOffset, length: info.indexLength } as const;
  const message = `The index gives data block ${i} at ${index.offset(i)} a length of ${length} bytes; ${limit} at ${roomEnd(info, index, i)}`;
  return damage('MALFORMED', at, message, { expected, found: `${length} bytes` });
}

/** For a block that is whole, but ends elsewhere than the index says: `length` is where its own checksum holds. */
export function wrongLength(info: TableInfo, i: number, stated: number, length: number): CorruptionError {
  const at = { unit: 'index', index: i, offset: info.indexOffset, length: info.indexLength } as const;
  const message = `The index gives data block ${i} ${stated} bytes; its checksum holds at ${length}, and only zeros follow`;
  return damage('MALFORMED', at, message, { expected: `${length} bytes`, found: `${stated} bytes` });
}

/** Where data block `i` ends in the object, its checksum included. */
export function blockEnd(info: TableInfo, index: TableIndex, i: number): number {
  const length = index.encodedLength(i);
  return length > 0 ? index.offset(i) + length : roomEnd(info, index, i);
}

/** Where the room of data block `i` ends: the block, and padding if there is any. */
export function roomEnd(info: TableInfo, index: TableIndex, i: number): number {
  return i + 1 < index.blockCount ? index.offset(i + 1) : dataEnd(info);
}
