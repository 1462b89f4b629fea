/**
 * The info block of a table or WAL object: where its sections are, first and last key, codec, filter form. It is the only
 * section that is never compressed; its checksum is checked by the framing, not here.
 *
 * ```
 * SsTableInfo   0 first_entry         [u8], key; in a WAL object the 8 bytes BE of its first sequence number; absent without rows
 *               1 index_offset        u64     2 index_len   u64      lengths include the 4 bytes of checksum
 *               3 filter_offset       u64     4 filter_len  u64      0: no filter, and the offset is where it would be
 *               5 compression_format  u8      0 none, 1 snappy, 2 zlib, 3 lz4, 4 zstd
 *               6 sst_type            u8      0 compacted, 1 wal; fences of SlateDB 0.12.1 say 0
 *               7 last_entry          [u8], key; absent in WAL objects and in tables from before 0.11
 *               8 stats_offset        u64     9 stats_len   u64      0: no stats
 *              10 filter_format       u8      0 legacy, 1 composite; since 0.13
 * ```
 *
 * ```example slatedb-0.12.1/tiny db/compacted/01M7W60ETH9EVAJJ6RDPRXZ6HN.sst 0xf8
 * 1c 00 00 00                                      root table at +28
 * 18 00 40 00 04 00 0c 00 14 00 1c 00 24 00 00 00  vtable: 24 bytes, SsTableInfo of 64
 * 00 00 08 00 2c 00 34 00                          fields at 4 12 20 28 36 - - 8 44 52
 * 18 00 00 00                                      SsTableInfo: vtable 24 bytes before
 * 44 00 00 00                                      first_entry at +68
 * 38 00 00 00                                      last_entry at +56
 * 68 00 00 00 00 00 00 00                          index_offset=104
 * 34 00 00 00 00 00 00 00                          index_len=52
 * 5e 00 00 00 00 00 00 00                          filter_offset=94
 * 0a 00 00 00 00 00 00 00                          filter_len=10
 * 9c 00 00 00 00 00 00 00                          stats_offset=156
 * 5c 00 00 00 00 00 00 00                          stats_len=92
 * 00 00 00 00                                      padding
 * 04 00 00 00 70 65 61 72                          length 4 last_entry="pear"
 * 05 00 00 00 61 70 70 6c 65                       length 5 first_entry="apple"
 * 00 00 00                                         padding
 * ```
 *
 * A manifest repeats this for each of its tables, equal in all but field 10: 0.12.1 does not know that and drops it (filter.ts).
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
