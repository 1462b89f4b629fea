/**
 * Moves the rows of a WAL object into a memtable.
 *
 * 1. Every block of the object is visited, once.
 * 2. No row at or below the floor is moved: such rows are in tables.
 */
import { assertThat } from '../common/assert.ts';
import { runSliced } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import type { Memtable } from '../lsm/memtable/memtable.ts';
import type { WalObject } from '../lsm/wal/wal-object.ts';

const ROWS_PER_STEP = 256;

/** Adds the rows with sequence numbers above `floor`, in slices; returns the greatest create time among them (0 if none). */
export async function applyRows(object: WalObject, table: Memtable, floor: number, clock: Clock): Promise<number> {
  const { blocks } = object;
  const before = table.rowCount;
  const rows = new BlockCursor();
  let greatestTs = 0;
  let next = 0;
  let more = false;
  // One slice may end in any block: an object has thousands, each too short to fill a slice.
  await runSliced(clock, () => {
    for (let n = 0; n < ROWS_PER_STEP; n++) {
      while (!more) {
        if (next === blocks.length) return true;
        rows.attach(blocks[next++]);
        more = rows.first();
      }
      if (rows.seq > floor) {
        const { bytes } = blocks[next - 1];
        const { key, keyLength, valueStart, valueLength, seq, flags, createTs, expireTs } = rows;
        table.addSlice(key, 0, keyLength, bytes, valueStart, valueLength, seq, flags, createTs, expireTs);
        if (createTs > greatestTs) greatestTs = createTs;
      }
      more = rows.next();
    }
    return false;
  });
  assertThat(next === blocks.length, 'a replay visits every block of an object (replay 1)');
  const hasMoved = table.rowCount > before;
  assertThat(!hasMoved || table.lastSeq > floor, 'no row is replayed that is in a table (replay 2)');
  return greatestTs;
}
