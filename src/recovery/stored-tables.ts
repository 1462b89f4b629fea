/**
 * Tables as the store has them, whether or not a manifest names them. Their tails say what they are: which rows, and of what they
 * were made; nothing else of them is read.
 */
import { IncompatibleError, isCorruption } from '../common/errors.ts';
import type { Ulid } from '../common/ulid.ts';
import type { TableRef } from '../format/manifest-types.ts';
import {
  type EndBytes,
  endOf,
  footerOfKnownVersion,
  infoIn,
  MAX_INFO_BYTES,
  sealPlaceOf,
} from '../format/object-end.ts';
import { parseTablePath, TABLE_PREFIX, tablePath } from '../format/object-names.ts';
import { decodeSeal, type Seal } from '../format/seal.ts';
import { tableObjectId } from '../format/seal-records.ts';
import type { ObjectStore } from '../store/object-store.ts';

const TAIL_BYTES = 64 * 1024;
/** More than any seal of a table has, so that a damaged length does not decide about memory. */
const MAX_SEAL_BYTES = 64 * 1024 * 1024;

export interface StoredTable {
  id: Ulid;
  size: number;
}

export interface StoredTail {
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

/** Undefined if the table is gone or its tail is damaged. One GET; one more for keys or a seal that are larger than it. */
export async function readTableTail(store: ObjectStore, { id, size }: StoredTable): Promise<StoredTail | undefined> {
  const path = tablePath(id);
  const got = await store.get(path, { range: { suffix: Math.min(size, TAIL_BYTES) } });
  if (got === undefined) return undefined;
  const end = endOf(got.bytes, got.size);
  try {
    const { infoOffset, formatVersion } = footerOfKnownVersion(end);
    const whole = await withInfo(store, path, end, infoOffset);
    if (whole === undefined) return undefined;
    const info = infoIn(whole, infoOffset);
    const ref = { id, info, formatVersion };
    const place = sealPlaceOf(info, infoOffset);
    if (place === undefined || place.end - place.start > MAX_SEAL_BYTES) return { ref, seal: undefined };
    const { start } = place;
    const seal =
      start >= whole.base
        ? whole.bytes.subarray(start - whole.base, place.end - whole.base)
        : (await store.get(path, { range: { offset: start, length: place.end - start } }))?.bytes;
    return { ref, seal: seal && sealOf(id, seal) };
  } catch (error) {
    if (isCorruption(error) || error instanceof IncompatibleError) return undefined;
    throw error;
  }
}

/** The end of a table from its info block on: what was read, or more of it. Undefined if the table is gone now. */
async function withInfo(
  store: ObjectStore,
  path: string,
  end: EndBytes,
  infoOffset: number,
): Promise<EndBytes | undefined> {
  const { base, size } = end;
  // A damaged length does not decide about memory.
  if (infoOffset >= base || size - infoOffset > MAX_INFO_BYTES) return end;
  const got = await store.get(path, { range: { offset: infoOffset, length: size - infoOffset } });
  return got && endOf(got.bytes, got.size);
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
