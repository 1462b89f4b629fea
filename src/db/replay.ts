/** Moves the rows of a WAL object into a memtable. */
import { runSliced } from '../common/async.ts';
import type { Clock } from '../common/clock.ts';
import { BlockCursor } from '../format/block-cursor.ts';
import type { Memtable } from '../lsm/memtable/memtable.ts';
import type { WalObject } from '../lsm/wal/wal-object.ts';

const ROWS_PER_STEP = 256;

/** Adds the rows with sequence numbers above `floor`, in slices; returns the greatest create time among them (0 if none). */
export async function applyRows(object: WalObject, table: Memtable, floor: number, clock: Clock): Promise<number> {
  const rows = new BlockCursor();
  let greatestTs = 0;
  for (const block of object.blocks) {
    rows.attach(block);
    let more = rows.first();
    await runSliced(clock, () => {
      for (let n = 0; more && n < ROWS_PER_STEP; n++) {
        if (rows.seq > floor) {
          table.addSlice(
            rows.key,
            0,
            rows.keyLength,
            block.bytes,
            rows.valueStart,
            rows.valueLength,
            rows.seq,
            rows.flags,
            rows.createTs,
            rows.expireTs,
          );
          if (rows.createTs > greatestTs) greatestTs = rows.createTs;
        }
        more = rows.next();
      }
      return !more;
    });
  }
  return greatestTs;
}
