/**
 * The info block of a table or WAL object: where its sections lie, first and last key, codec, filter form. It is the only
 * section that is never compressed; its checksum is checked by the framing, not here.
 */
import { buildTableInfo, INFO_SLOTS, readTableInfo } from './flat-tables.ts';
import { FlatBuilder, FlatReader } from './flatbuffer.ts';
import type { TableInfo } from './table-info.ts';

/** Throws `MALFORMED` damage, or `FORMAT_TOO_NEW` for an unknown codec, table type or filter form. */
export function decodeInfo(payload: Uint8Array): TableInfo {
  const reader = new FlatReader(payload, 'info');
  return readTableInfo(reader, reader.root(INFO_SLOTS));
}

/** The FlatBuffer without its checksum. */
export function encodeInfo(info: TableInfo): Uint8Array {
  const builder = new FlatBuilder(256);
  return builder.finish(buildTableInfo(builder, info));
}
