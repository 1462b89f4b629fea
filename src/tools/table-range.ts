/** The rows of one table within a range of keys: what other tables of a database know about what one has lost. */
import { copyBytes } from '../common/bytes.ts';
import { inRange, type KeyRange, lastKeyOf } from '../common/key-range.ts';
import type { Block } from '../format/block.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import { dataEnd } from '../format/table-layout.ts';
import { dissectTail, type KnownTable, placesOfTail } from '../lsm/table/table-anatomy.ts';
import { OPEN_END } from '../lsm/table/table-reader.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { examineBlock } from './table-blocks.ts';
import type { LooseRow } from './table-rebuild.ts';

export interface RangeRows {
  rows: LooseRow[];
  /** Whether every block that may hold keys of the range was good. */
  isWhole: boolean;
}

/** Undefined: the object is not there. One GET, and one for each stretch of blocks that may hold keys of the range. */
export async function rowsInRange(
  store: ObjectStore,
  known: KnownTable,
  keys: KeyRange,
): Promise<RangeRows | undefined> {
  const { info } = known;
  const from = info === undefined ? 0 : dataEnd(info);
  const tailBytes = await store.get(known.path, { range: { offset: from, length: OPEN_END } });
  if (tailBytes === undefined) return undefined;
  const tail = await dissectTail(tailBytes.bytes, from, known, 'repair');
  const { index } = tail;
  const places = tail.isForeign || index === undefined ? undefined : placesOfTail(tail)?.places;
  if (places === undefined || index === undefined) return { rows: [], isWhole: false };
  const result: RangeRows = { rows: [], isWhole: true };
  const first = index.findStart(keys.gte);
  let last = first;
  while (last + 1 < places.length && index.compareFirstKey(last + 1, lastKeyOf(keys)) <= 0) last++;
  if (places.length === 0) return result;
  const base = places[first].start;
  const got = await store.get(known.path, { range: { offset: base, length: places[last].roomEnd - base } });
  if (got === undefined) return undefined;
  for (let i = first; i <= last; i++) {
    const room = got.bytes.subarray(places[i].start - base, places[i].roomEnd - base);
    const { block, trust } = examineBlock(room, i, places[i], tail);
    if (block === undefined || trust === 'probable') result.isWhole = false;
    else addRows(result.rows, block, keys);
  }
  return result;
}

function addRows(out: LooseRow[], block: Block, keys: KeyRange): void {
  for (const row of looseRows(block)) if (inRange(row.key, keys)) out.push(row);
}

/** The rows of a block as values of their own. */
export function* looseRows(block: Block): Generator<LooseRow> {
  const rows = new BlockCursor();
  rows.attach(block);
  for (let more = rows.first(); more; more = rows.next()) {
    const { valueStart, valueLength, seq, flags, createTs, expireTs } = rows;
    yield {
      key: copyBytes(rows.key.subarray(0, rows.keyLength)),
      value: copyBytes(block.bytes.subarray(valueStart, valueStart + valueLength)),
      seq,
      flags,
      createTs,
      expireTs,
    };
  }
}
