/**
 * Tables that lie in the store but that a manifest does not name: what newer, lost manifests may have named. Their tails say
 * what they are; nothing else of them is read.
 */
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import { unframeUnit } from '../format/framing.ts';
import { decodeInfo } from '../format/info-block.ts';
import { type Manifest, type TableRef, tablesOf } from '../format/manifest-types.ts';
import { parseTablePath, TABLE_PREFIX, tablePath } from '../format/object-names.ts';
import { decodeSeal, type Seal } from '../format/seal.ts';
import { tableObjectId } from '../format/seal-records.ts';
import { checkLayout, decodeFooter, FOOTER_BYTES, sealRange } from '../format/table-layout.ts';
import { ownersOf } from '../lsm/tree/parents.ts';
import type { ObjectStore } from '../store/object-store.ts';

const TAIL_BYTES = 64 * 1024;
/** More than any seal of a table has, so that a damaged length does not decide about memory. */
const MAX_SEAL_BYTES = 64 * 1024 * 1024;
const MAX_INFO_BYTES = 1024 * 1024;

export interface StoredTable {
  id: Ulid;
  size: number;
}

export interface TableTail {
  ref: TableRef;
  /** Absent in a table of SlateDB, and where the seal is damaged. */
  seal: Seal | undefined;
}

/** Every table in the store, by id. One LIST. */
export async function listTables(store: ObjectStore): Promise<Map<Ulid, StoredTable>> {
  const tables = new Map<Ulid, StoredTable>();
  for await (const { path, size } of store.list(TABLE_PREFIX)) {
    const id = parseTablePath(path);
    if (id !== undefined) tables.set(id, { id, size });
  }
  return tables;
}

/** Tables that a manifest names and that lie below this root: those of other databases are somebody else's. */
export function ownTables(m: Manifest): TableRef[] {
  const owners = ownersOf(m);
  return [...tablesOf(m), ...m.unviewedTables].filter((table) => !owners.has(table.id));
}

/** Undefined if the table is gone or its tail is damaged. One or two GETs. */
export async function readTableTail(store: ObjectStore, { id, size }: StoredTable): Promise<TableTail | undefined> {
  const path = tablePath(id);
  const got = await store.get(path, { range: { suffix: Math.min(size, TAIL_BYTES) } });
  if (got === undefined) return undefined;
  const start = got.size - got.bytes.length;
  try {
    const footer = decodeFooter(got.bytes, got.size);
    if (footer.infoOffset < start) return undefined;
    const stored = got.bytes.subarray(footer.infoOffset - start, got.bytes.length - FOOTER_BYTES);
    const info = decodeInfo(unframeUnit(stored, UNCOMPRESSED, 'info', MAX_INFO_BYTES));
    checkLayout(info, footer.infoOffset, got.size);
    const ref = { id, info, formatVersion: footer.formatVersion };
    const range = sealRange(info, footer.infoOffset);
    const length = range.end - range.start;
    if (length === 0 || length > MAX_SEAL_BYTES) return { ref, seal: undefined };
    const whole =
      range.start >= start
        ? got.bytes.subarray(range.start - start, range.end - start)
        : (await store.get(path, { range: { offset: range.start, length } }))?.bytes;
    return { ref, seal: whole && sealOf(id, whole) };
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

/** The seal, if it is this table's. */
function sealOf(id: Ulid, bytes: Uint8Array): Seal | undefined {
  try {
    const seal = decodeSeal(bytes, 0, bytes.length, ['table']);
    return Buffer.compare(seal.identity.objectId, tableObjectId(id)) === 0 ? seal : undefined;
  } catch (error) {
    if (!isCorruption(error)) throw error;
    return undefined;
  }
}

const UNCOMPRESSED = { name: 'none' as const, compress: (b: Uint8Array) => b, decompress: (b: Uint8Array) => b };
