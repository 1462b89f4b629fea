/**
 * The FlatBuffer tables that several objects share: ids, key ranges, table metadata. Each has a reader and a builder half;
 * the order in which the builder half creates children is SlateDB's, so that re-encoding gives the same bytes.
 *
 * ```
 * Ulid, Uuid           0 high u64   1 low u64                      halves of the 128-bit number
 * BytesBound           0 key [u8]   1 bound_type u8                1 unbounded, without key; 2 included; 3 excluded
 * BytesRange           0 start_bound BytesBound   1 end_bound BytesBound             both required; never empty
 * SsTableInfo          11 slots, see info-block.ts
 * CompactedSsTable     0 id Ulid   1 info SsTableInfo   2 visible_range BytesRange or absent   3 format_version u16, absent = 1
 * ```
 *
 * The ULID 01M7Q5CQG10000000000000001: 48 bits of milliseconds, 80 random ones, in text most significant 5 bits first.
 *
 * ```example
 * 0c 00 00 00                 root table at +12
 * 08 00 14 00 04 00 0c 00     vtable: 8 bytes, Ulid of 20, fields at 4 12
 * 08 00 00 00                 Ulid: vtable 8 bytes before
 * 00 00 01 5e 56 ee a1 01     high=0x01a1ee565e010000
 * 01 00 00 00 00 00 00 00     low=0x0000000000000001
 * ```
 *
 * The range of keys from "k00162" on:
 *
 * ```example
 * 0c 00 00 00                   root table at +12
 * 08 00 0c 00 04 00 08 00       vtable: 8 bytes, BytesRange of 12, fields at 4 8
 * 08 00 00 00                   BytesRange: vtable 8 bytes before
 * 20 00 00 00                   start_bound at +32
 * 0c 00 00 00                   end_bound at +12
 * 08 00 08 00 00 00 07 00       vtable: 8 bytes, BytesBound of 8, fields at - 7
 * 08 00 00 00                   BytesBound end_bound: vtable 8 bytes before
 * 00 00 00                      padding
 * 01                            bound_type=1
 * 08 00 0c 00 08 00 07 00       vtable: 8 bytes, BytesBound of 12, fields at 8 7
 * 08 00 00 00                   BytesBound start_bound: vtable 8 bytes before
 * 00 00 00                      padding
 * 02                            bound_type=2
 * 04 00 00 00                   key at +4
 * 06 00 00 00 6b 30 30 31 36 32  length 6 key="k00162"
 * 00 00                         padding
 * ```
 *
 * A ULID or UUID is converted through four 32-bit words because a manifest can name tens of thousands of them and 128-bit bigints
 * are ten times slower.
 */
import { assertThat } from '../common/assert.ts';
import { compareBytes } from '../common/bytes.ts';
import { IncompatibleError } from '../common/errors.ts';
import { isUlid, type Ulid } from '../common/ulid.ts';
import type { FlatBuilder, FlatReader, FlatRef } from './flatbuffer.ts';
import type { Bound, BytesRange, TableRef, Uuid } from './manifest-types.ts';
import { CODECS, type FilterForm, type FormatVersion, type TableInfo, type TableType } from './table-info.ts';
import { unknownVersion } from './versions.ts';

const ULID_ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const ULID_DIGITS = new Uint8Array(128);
for (let i = 0; i < 32; i++) ULID_DIGITS[ULID_ALPHABET.charCodeAt(i)] = i;
const ID_SLOTS = 2;
const BOUND_SLOTS = 2;
const RANGE_SLOTS = 2;
/** Number of known fields of `SsTableInfo`. */
export const INFO_SLOTS = 11;

/** The 128-bit number in work, most significant word first. */
const words = new Uint32Array(4);
/** The text in work; a string cut from it is flat, which makes it four times cheaper as a map key than a concatenated one. */
const ulidText = Buffer.alloc(26);

/** 26 digits of 5 bits, the first one of 3: digit i has the bits from 125 - 5i on, and may span two words. */
function wordsToUlid(): Ulid {
  for (let i = 0; i < 26; i++) {
    const shift = 125 - 5 * i;
    const k = 3 - (shift >> 5);
    const bit = shift & 31;
    let digit = words[k] >>> bit;
    if (bit > 27 && k > 0) digit |= words[k - 1] << (32 - bit);
    ulidText[i] = ULID_ALPHABET.charCodeAt(digit & 31);
  }
  return ulidText.toString('latin1') as Ulid;
}

/** The reverse, into `words`. Anything but 26 upper-case digits would be stored as another id: it is refused. */
function ulidToWords(id: Ulid): void {
  assertThat(isUlid(id), 'an id for storage is a ULID', { id });
  words.fill(0);
  for (let i = 0; i < 26; i++) {
    const digit = ULID_DIGITS[id.charCodeAt(i)];
    const shift = 125 - 5 * i;
    const k = 3 - (shift >> 5);
    const bit = shift & 31;
    words[k] |= digit << bit;
    if (bit > 27 && k > 0) words[k - 1] |= digit >>> (32 - bit);
  }
}

/** An absent half is 0: a builder leaves out defaults, and an id below 2^64 has an upper half of 0. */
function readWords(reader: FlatReader, table: number): void {
  const high = reader.wordsAt(table, 0);
  const low = reader.wordsAt(table, 1);
  words[0] = high === 0 ? 0 : reader.word(high + 4);
  words[1] = high === 0 ? 0 : reader.word(high);
  words[2] = low === 0 ? 0 : reader.word(low + 4);
  words[3] = low === 0 ? 0 : reader.word(low);
}

function buildWords(builder: FlatBuilder): FlatRef {
  builder.startTable();
  builder.addWords(0, words[0], words[1]);
  builder.addWords(1, words[2], words[3]);
  return builder.endTable();
}

/** An optional id; `undefined` if it is absent. */
export function readUlid(reader: FlatReader, table: number, slot: number): Ulid | undefined {
  const id = reader.table(table, slot, ID_SLOTS);
  if (id === 0) return undefined;
  readWords(reader, id);
  return wordsToUlid();
}

export function requireUlid(reader: FlatReader, table: number, slot: number, name: string): Ulid {
  readWords(reader, reader.requiredTable(table, slot, ID_SLOTS, name));
  return wordsToUlid();
}

/** A vector of ULIDs; `undefined` if it is absent. */
export function readUlids(reader: FlatReader, table: number, slot: number): Ulid[] | undefined {
  const vector = reader.vector(table, slot, 4);
  if (vector === 0) return undefined;
  const ids: Ulid[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    readWords(reader, reader.element(vector, i, ID_SLOTS));
    ids.push(wordsToUlid());
  }
  return ids;
}

export function buildUlid(builder: FlatBuilder, id: Ulid): FlatRef {
  ulidToWords(id);
  return buildWords(builder);
}

export function buildUlids(builder: FlatBuilder, ids: readonly Ulid[]): FlatRef {
  return builder.tableVector(ids.map((id) => buildUlid(builder, id)));
}

export function readUuid(reader: FlatReader, table: number, slot: number): Uuid | undefined {
  const id = reader.table(table, slot, ID_SLOTS);
  if (id === 0) return undefined;
  readWords(reader, id);
  const hex = Array.from(words, (w) => w.toString(16).padStart(8, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function requireUuid(reader: FlatReader, table: number, slot: number, name: string): Uuid {
  const id = readUuid(reader, table, slot);
  if (id === undefined) throw reader.malformed(table, `Required field ${name} is absent`);
  return id;
}

export function buildUuid(builder: FlatBuilder, id: Uuid): FlatRef {
  assertThat(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id), 'an id for storage is a UUID', { id });
  const hex = id.replaceAll('-', '');
  for (let i = 0; i < 4; i++) words[i] = Number.parseInt(hex.slice(8 * i, 8 * i + 8), 16);
  return buildWords(builder);
}

// ---- key ranges

/** By stored number. 0 is what a builder leaves out, and SlateDB takes an absent type for a fault. */
const BOUND_KINDS = [undefined, 'unbounded', 'included', 'excluded'] as const;

function readBound(reader: FlatReader, table: number): Bound {
  const type = reader.u8(table, 1);
  const kind = BOUND_KINDS[type];
  const key = reader.byteVector(table, 0);
  if (kind === undefined) throw reader.malformed(table, `Unknown bound type ${type}`);
  if (kind === 'unbounded') {
    if (key !== undefined) throw reader.malformed(table, 'An unbounded bound has a key');
    return { kind };
  }
  if (key === undefined) throw reader.malformed(table, 'A bound has no key');
  return { kind, key };
}

/** Whether no key can be in a range: the ends cross, or meet at a key that one of them excludes. */
function isEmptyRange(start: Bound, end: Bound): boolean {
  if (start.kind === 'unbounded') return end.kind === 'excluded' && end.key.length === 0;
  if (end.kind === 'unbounded') return false;
  const order = compareBytes(start.key, end.key);
  return order > 0 || (order === 0 && !(start.kind === 'included' && end.kind === 'included'));
}

/** Reads a `BytesRange` table that was entered; an empty range is malformed. */
function readRangeAt(reader: FlatReader, range: number): BytesRange {
  const start = readBound(reader, reader.requiredTable(range, 0, BOUND_SLOTS, 'start_bound'));
  const end = readBound(reader, reader.requiredTable(range, 1, BOUND_SLOTS, 'end_bound'));
  if (isEmptyRange(start, end)) throw reader.malformed(range, 'A key range is empty');
  return { start, end };
}

export function requireRange(reader: FlatReader, table: number, slot: number, name: string): BytesRange {
  return readRangeAt(reader, reader.requiredTable(table, slot, RANGE_SLOTS, name));
}

/**
 * A table's visible range: it begins included or unbounded and meets the keys of the table. Both are SlateDB's rules, which
 * crashes on others; so a manifest with one was not written by it, and is damaged. Where the table's last key is not known, only
 * its first one is compared.
 */
export function readVisibleRange(
  reader: FlatReader,
  table: number,
  slot: number,
  info: TableInfo,
): BytesRange | undefined {
  const at = reader.table(table, slot, RANGE_SLOTS);
  if (at === 0) return undefined;
  const range = readRangeAt(reader, at);
  const { start, end } = range;
  if (start.kind === 'excluded') throw reader.malformed(at, 'A visible range begins with an excluded key');
  const { firstEntry, lastEntry } = info;
  const isAfter = start.kind === 'included' && lastEntry !== undefined && compareBytes(start.key, lastEntry) > 0;
  let isBefore = false;
  if (end.kind !== 'unbounded' && firstEntry !== undefined) {
    const order = compareBytes(end.key, firstEntry);
    isBefore = order < 0 || (order === 0 && end.kind === 'excluded');
  }
  if (isAfter || isBefore) throw reader.malformed(at, 'A visible range holds no key of its table');
  return range;
}

function buildBound(builder: FlatBuilder, bound: Bound): FlatRef {
  const key = bound.kind === 'unbounded' ? undefined : builder.byteVector(bound.key);
  builder.startTable();
  builder.addRef(0, key);
  builder.addU8(1, BOUND_KINDS.indexOf(bound.kind));
  return builder.endTable();
}

export function buildRange(builder: FlatBuilder, range: BytesRange): FlatRef {
  const start = buildBound(builder, range.start);
  const end = buildBound(builder, range.end);
  builder.startTable();
  builder.addRef(0, start);
  builder.addRef(1, end);
  return builder.endTable();
}

// ---- table metadata

// The position in these lists is what is stored.
const TABLE_TYPES: readonly TableType[] = ['compacted', 'wal'];
const FILTER_FORMS: readonly FilterForm[] = ['legacy', 'composite'];

/** A value above the known ones is a newer program's, and never damage: it decides how the table is read. */
function readEnum<T>(reader: FlatReader, table: number, slot: number, values: readonly T[], name: string): T {
  const value = reader.u8(table, slot);
  if (value >= values.length) throw tooNew(`Unknown ${name} ${value}`, table);
  return values[value];
}

function tooNew(message: string, offset: number): IncompatibleError {
  return new IncompatibleError('FORMAT_TOO_NEW', message, { details: { offset } });
}

/** Reads an `SsTableInfo` table that was entered with `INFO_SLOTS`. Unknown enum values: `FORMAT_TOO_NEW`. */
export function readTableInfo(reader: FlatReader, table: number): TableInfo {
  return {
    firstEntry: reader.byteVector(table, 0),
    lastEntry: reader.byteVector(table, 7),
    indexOffset: reader.u64(table, 1),
    indexLength: reader.u64(table, 2),
    filterOffset: reader.u64(table, 3),
    filterLength: reader.u64(table, 4),
    codec: readEnum(reader, table, 5, CODECS, 'compression codec'),
    tableType: readEnum(reader, table, 6, TABLE_TYPES, 'table type'),
    statsOffset: reader.u64(table, 8),
    statsLength: reader.u64(table, 9),
    filterForm: readEnum(reader, table, 10, FILTER_FORMS, 'filter form'),
  };
}

/** Children in SlateDB's order: first key, last key. */
export function buildTableInfo(builder: FlatBuilder, info: TableInfo): FlatRef {
  const first = info.firstEntry === undefined ? undefined : builder.byteVector(info.firstEntry);
  const last = info.lastEntry === undefined ? undefined : builder.byteVector(info.lastEntry);
  builder.startTable();
  builder.addRef(0, first);
  builder.addU64(1, info.indexOffset);
  builder.addU64(2, info.indexLength);
  builder.addU64(3, info.filterOffset);
  builder.addU64(4, info.filterLength);
  builder.addU8(5, CODECS.indexOf(info.codec));
  builder.addU8(6, TABLE_TYPES.indexOf(info.tableType));
  builder.addRef(7, last);
  builder.addU64(8, info.statsOffset);
  builder.addU64(9, info.statsLength);
  builder.addU8(10, FILTER_FORMS.indexOf(info.filterForm));
  return builder.endTable();
}

/**
 * Id, info and format version of a table that a manifest or compactions file lists; they have the same slots 0 and 1 in
 * both versions. A listed table has rows, so it must have a first key.
 */
export function readTableRef(reader: FlatReader, table: number, versionSlot: number): TableRef {
  const id = requireUlid(reader, table, 0, 'id');
  const infoTable = reader.requiredTable(table, 1, INFO_SLOTS, 'info');
  const info = readTableInfo(reader, infoTable);
  if (info.firstEntry === undefined) throw reader.malformed(infoTable, `Table ${id} is listed without a first key`);
  const version = reader.optionalU16(table, versionSlot) ?? 1;
  if (version !== 1 && version !== 2) {
    throw unknownVersion(`Table ${id} has format version`, version, 2, { unit: 'object', offset: table, length: 0 });
  }
  return { id, info, formatVersion: version satisfies FormatVersion };
}

const COMPACTED_TABLE_SLOTS = 4;

/** A table with its visible range, as version 1 manifests and compactions files embed it. */
export interface EmbeddedTable {
  table: TableRef;
  visibleRange: BytesRange | undefined;
}

/** A vector of `CompactedSsTable`, of an already checked vector position (0: none). */
export function readEmbeddedTables(reader: FlatReader, vector: number): EmbeddedTable[] {
  const out: EmbeddedTable[] = [];
  for (let i = 0; i < reader.count(vector); i++) {
    const at = reader.element(vector, i, COMPACTED_TABLE_SLOTS);
    const table = readTableRef(reader, at, 3);
    out.push({ table, visibleRange: readVisibleRange(reader, at, 2, table.info) });
  }
  return out;
}

/** Children in SlateDB's order: id, info, range. */
export function buildEmbeddedTables(builder: FlatBuilder, tables: readonly EmbeddedTable[]): FlatRef {
  return builder.tableVector(
    tables.map(({ table, visibleRange }) => {
      const id = buildUlid(builder, table.id);
      const info = buildTableInfo(builder, table.info);
      const range = visibleRange === undefined ? undefined : buildRange(builder, visibleRange);
      builder.startTable();
      builder.addRef(0, id);
      builder.addRef(1, info);
      builder.addRef(2, range);
      builder.addOptionalU16(3, table.formatVersion);
      return builder.endTable();
    }),
  );
}
