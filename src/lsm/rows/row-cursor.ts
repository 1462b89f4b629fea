/**
 * The shape shared by the cursors over memtables, tables and their merges.
 *
 * A cursor exposes its row as fields, not as an object per row: a merge compares and copies bytes where they are, and the only
 * objects of a scan are those handed to the user. A cursor whose next row is not in memory says `BLOCKED` instead of
 * returning a promise for every row.
 *
 * Order: a forward cursor yields (key ascending, seq descending), so the newest version of a key comes first; a reverse
 * cursor yields exactly the opposite (key descending, seq ascending).
 */

/** The cursor stands on a row. */
export const ROW = 1;
/** No row is left in this direction; `next` keeps answering `END`, `seek` may find rows again. */
export const END = 0;
/** The next row is not in memory: await `load()`, then repeat the same call. */
export const BLOCKED = -1;

export interface RowCursor {
  /** `ROW`, `END` or `BLOCKED`: the answer of the last move. The fields below mean something only at `ROW`. */
  status: number;
  /** The current key is `keyBuf[keyStart, keyStart + keyLength)`; valid until the next move, never to be written to. */
  keyBuf: Uint8Array;
  keyStart: number;
  keyLength: number;
  /** The current value, likewise; empty for tombstones. */
  valueBuf: Uint8Array;
  valueStart: number;
  valueLength: number;
  /** Views of these two buffers, where there are any: with them short keys and values are copied for less. */
  readonly keyView: DataView | undefined;
  readonly valueView: DataView | undefined;
  seq: number;
  /** Row flags as stored. */
  flags: number;
  /** Milliseconds since the epoch, `NO_TS` if the row has none. */
  createTs: number;
  expireTs: number;
  /**
   * Forward: moves to the first row whose key is >= `key` (`undefined`: the first row of all).
   * Reverse: moves to the last row whose key is strictly less than `key` (`undefined`: the last row of all).
   * Returns the new `status`.
   */
  seek(key: Uint8Array | undefined): number;
  /** Moves to the next row in the cursor's direction and returns the new `status`. Needs a `seek` before the first call. */
  next(): number;
  /** Resolves when the move that answered `BLOCKED` can be repeated; rejects with the error of the read. */
  load(): Promise<void>;
}
