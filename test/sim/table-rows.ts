/**
 * Rows of tables as they are stored, read past every fault, each table once: in the moment in which a manifest first names it. What
 * was read stays known after the table is deleted.
 */
import { compareBytes } from '../../src/common/bytes.ts';
import type { Ulid } from '../../src/common/ulid.ts';
import type { TableView } from '../../src/format/manifest-types.ts';
import { tablePath } from '../../src/format/object-names.ts';
import type { LineageRecord } from '../../src/format/seal-records.ts';
import { BLOCKED, ROW } from '../../src/lsm/rows/row-cursor.ts';
import { BlockCache } from '../../src/lsm/table/block-cache.ts';
import { TableCursor } from '../../src/lsm/table/table-cursor.ts';
import { TableReader } from '../../src/lsm/table/table-reader.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { type ModelVersion, modelOfRow } from '../support/version-model.ts';
import type { SimStore } from './sim-store.ts';

/** The auditor reads outside of time. */
const AT_ONCE = { monotonicMs: () => 0, yieldToLoop: async () => undefined };

export interface TableContent {
  /** In row order. */
  rows: readonly ModelVersion[];
  lineage: LineageRecord | undefined;
  /** Epoch under which it was written. */
  epoch: number | undefined;
}

export class TableRows {
  readonly #store: SimStore;
  readonly #fail: (message: string) => void;
  readonly #cache = new BlockCache({ capacityBytes: 1 << 20 });
  readonly #known = new Map<Ulid, Promise<TableContent>>();

  constructor(store: SimStore, fail: (message: string) => void) {
    this.#store = store;
    this.#fail = fail;
  }

  /** All that takes time is in memory: settled before the next event. */
  of(view: TableView): Promise<TableContent> {
    const { id } = view.table;
    const known = this.#known.get(id) ?? this.#read(view);
    this.#known.set(id, known);
    return known;
  }

  async #read({ table }: TableView): Promise<TableContent> {
    const { id } = table;
    const direct = { get: async (path: string, o?: { range?: never }) => this.#store.read(path, o?.range) };
    const reader = new TableReader(table, tablePath(id), direct as unknown as ObjectStore, {
      cache: this.#cache,
      clock: AT_ONCE,
      onFinding: (f) => this.#fail(`table ${id} as written: ${f.code}`),
    });
    // The whole table, whichever part of it the view shows.
    const cursor = new TableCursor([{ view: { viewId: id, table, visibleRange: undefined }, reader }], {
      reverse: false,
    });
    const { seal } = await reader.loadMeta();
    const rows = await this.#walk(id, cursor);
    reader.dispose();
    return { rows, lineage: seal?.lineage, epoch: seal?.identity.epoch };
  }

  async #walk(id: Ulid, cursor: TableCursor): Promise<ModelVersion[]> {
    const rows: ModelVersion[] = [];
    let key: Uint8Array | undefined;
    let seq = 0;
    for (let status = cursor.seek(undefined); ; ) {
      if (status === BLOCKED) {
        await cursor.load();
        status = key === undefined ? cursor.seek(undefined) : cursor.next();
        continue;
      }
      if (status !== ROW) return rows;
      if (cursor.damage !== undefined) this.#fail(`table ${id} as written is damaged`);
      const rowKey = cursor.keyBuf.slice(cursor.keyStart, cursor.keyStart + cursor.keyLength);
      const order = key === undefined ? -1 : compareBytes(key, rowKey);
      if (order > 0 || (order === 0 && cursor.seq >= seq)) this.#fail(`table ${id}: rows out of order`);
      key = rowKey;
      seq = cursor.seq;
      const { flags, createTs, expireTs, valueBuf, valueStart, valueLength } = cursor;
      const value = valueBuf.slice(valueStart, valueStart + valueLength);
      rows.push(modelOfRow({ key, value, seq, flags, createTs, expireTs }));
      status = cursor.next();
    }
  }
}
